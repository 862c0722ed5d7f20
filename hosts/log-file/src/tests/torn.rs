//! Crashes: what is torn is cut, what is damaged is refused, and nothing is ever sealed twice the same way.

use super::*;
use crate::frame::{Frame as FrameRead, HEADER_BYTES};
use crate::record::{self, Kind};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn first_segment(data: &Path) -> PathBuf {
    files(&data.join("log"), "log").remove(0)
}

/// Where the frames of a segment begin, and where the last ends.
fn frame_starts(segment: &Path) -> Vec<usize> {
    let bytes = fs::read(segment).unwrap();
    let mut starts = vec![0];
    while let Ok(frame) = FrameRead::read(Kind::Log, &bytes[*starts.last().unwrap()..]) {
        starts.push(starts.last().unwrap() + frame.bytes);
    }
    starts
}

/// Opens a changed copy and checks that it goes on well from what it kept.
fn check_torn(data: &Path, kept: &[u64], slot: KeySlot, change_segment: impl FnOnce(&mut Vec<u8>)) -> OpenReport {
    let copied = copy(data);
    change(&first_segment(copied.path()), change_segment);
    let (mut log, report) = open(copied.path());
    assert_eq!(lsns(&mut log), kept);
    assert_eq!(timeline(&log, slot).len(), kept.len());
    // A shorter frame over what was cut must not let the rest of it show up again.
    commit(&mut log, &frame([9], KeySlot(0)));
    drop(log);
    let (mut log, again) = open(copied.path());
    assert_eq!(again.torn, None);
    assert_eq!(lsns(&mut log), [kept, &[9]].concat());
    report
}

#[test]
fn a_frame_torn_at_any_byte_is_absent_and_those_before_it_are_there() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let slot = log.create_key(profile(1)).unwrap();
    commit(&mut log, &frame([1], slot));
    commit(&mut log, &frame([2, 3], slot));
    drop(log);
    let starts = frame_starts(&first_segment(data.path()));
    let (start, end) = (starts[1], starts[2]);
    let whole = fs::read(first_segment(data.path())).unwrap();
    for at in start..end {
        let is_torn = whole[at..end].iter().any(|byte| *byte != 0);
        let kept: &[u64] = if is_torn { &[1] } else { &[1, 2, 3] };
        check_torn(data.path(), kept, slot, |bytes| bytes[at..].fill(0));
        check_torn(data.path(), &[1], slot, |bytes| bytes.truncate(at));
        let report = check_torn(data.path(), &[1], slot, |bytes| bytes[at] ^= 0x41);
        let torn = report.torn.unwrap();
        assert_eq!(torn.at_byte, start as u64, "byte {at}");
        assert!(torn.bytes > 0 && torn.bytes <= (end - start) as u64, "byte {at}: {torn:?}");
    }
}

#[test]
fn damage_before_what_was_acknowledged_is_refused_and_named() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    for lsn in 1..=4 {
        commit(&mut log, &frame([lsn], KeySlot(0)));
    }
    drop(log);
    let segment = first_segment(data.path());
    let starts = frame_starts(&segment);
    for at in starts[1]..starts[2] {
        let copied = copy(data.path());
        let segment = first_segment(copied.path());
        change(&segment, |bytes| bytes[at] ^= 0x41);
        let before = fs::read(&segment).unwrap();
        let Err(Error::Damaged { at_byte, place, what }) = LogFile::open(options(copied.path())) else {
            panic!("byte {at} was not missed")
        };
        assert_eq!((at_byte, place), (starts[1] as u64, segment.display().to_string()), "{what}");
        assert_eq!(fs::read(&segment).unwrap(), before, "nothing is cut");
    }
}

#[test]
fn damage_in_a_segment_that_was_closed_long_ago_is_found_when_it_is_read() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    for lsn in 1..=200 {
        commit(&mut log, &frame([lsn], KeySlot(0)));
    }
    drop(log);
    assert!(files(&data.path().join("log"), "log").len() > 3);
    change(&first_segment(data.path()), |bytes| bytes[HEADER_BYTES + record::HEADER_BYTES] ^= 1);
    let (mut log, _) = open(data.path());
    let refused = read_all(&mut log);
    assert!(matches!(refused, Err(Error::Damaged { at_byte: 0, .. })), "{refused:?}");
    let refused = log.reader().of_profile(KeySlot(0), None, usize::MAX);
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    assert_eq!(replayed(&mut log, 200).len(), 1, "what is needed now is there");
}

#[test]
fn frames_of_one_sync_may_reach_the_disk_in_any_order() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    commit(&mut log, &frame([1], KeySlot(0)));
    log.append(&frame([2], KeySlot(0))).unwrap();
    log.append(&frame([3], KeySlot(0))).unwrap();
    drop(log);
    let starts = frame_starts(&first_segment(data.path()));
    for hole in [starts[1]..starts[2], starts[1]..starts[1] + 8] {
        let report = check_torn(data.path(), &[1], KeySlot(0), |bytes| bytes[hole].fill(0));
        assert_eq!(report.torn.unwrap().at_byte, starts[1] as u64);
    }
}

#[test]
fn a_sync_over_two_segments_is_cut_where_the_first_is_torn() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    commit(&mut log, &frame([1], KeySlot(0)));
    log.append(&frame(2..=40, KeySlot(0))).unwrap();
    log.append(&frame(41..=80, KeySlot(0))).unwrap();
    drop(log);
    assert_eq!(files(&data.path().join("log"), "log").len(), 2);
    let starts = frame_starts(&first_segment(data.path()));
    change(&first_segment(data.path()), |bytes| bytes[starts[1]..].fill(0));
    let (mut log, report) = open(data.path());
    assert_eq!(lsns(&mut log), [1]);
    assert!(report.torn.is_some());
    assert_eq!(files(&data.path().join("log"), "log").len(), 1);
    commit(&mut log, &frame([2], KeySlot(0)));
    drop(log);
    assert_eq!(lsns(&mut open(data.path()).0), [1, 2]);
}

#[test]
fn a_segment_missing_in_the_middle_is_found_when_it_is_read() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    for lsn in 1..=300 {
        commit(&mut log, &frame([lsn], KeySlot(0)));
    }
    drop(log);
    fs::remove_file(&files(&data.path().join("log"), "log")[2]).unwrap();
    let (mut log, _) = open(data.path());
    let refused = read_all(&mut log);
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
}

#[test]
fn a_frame_whose_key_was_lost_with_it_is_torn() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let ada = log.create_key(profile(1)).unwrap();
    commit(&mut log, &frame([1], ada));
    let bob = log.create_key(profile(2)).unwrap();
    log.append(&frame([2], bob)).unwrap();
    drop(log);
    let lose_key = |data: &Path, slot: KeySlot| {
        let at = slot.0 as usize * 64;
        change(&data.join("keys/keys"), |bytes| bytes[at..at + 64].fill(0));
    };
    let lost = copy(data.path());
    lose_key(lost.path(), bob);
    let (mut log, report) = open(lost.path());
    assert_eq!((lsns(&mut log), report.keys), (vec![1], 2));
    assert_eq!(report.torn.unwrap().what, "a frame with a record whose key is missing");
    assert_eq!(log.create_key(profile(3)).unwrap(), bob, "the slot is given out again");
    commit(&mut log, &frame([2], bob));
    drop(log);
    let (mut log, _) = open(lost.path());
    assert_eq!((lsns(&mut log), log.profile_of(bob).unwrap()), (vec![1, 2], Some(profile(3))));

    // The keys of an acknowledged record are not lost by a crash: here an older key file was put in place.
    let older = copy(data.path());
    change(&older.path().join("keys/keys"), |bytes| bytes.truncate(64));
    let refused = LogFile::open(options(older.path())).map(|(_, report)| report);
    assert!(matches!(refused, Err(Error::Damaged { at_byte: 0, .. })), "{refused:?}");
    // And this one is damaged in a place that opening does not look at.
    lose_key(data.path(), ada);
    let (mut log, _) = open(data.path());
    let refused = read_all(&mut log);
    assert!(matches!(refused, Err(Error::Damaged { at_byte: 64, .. })), "{refused:?}");
}

#[test]
fn keys_torn_at_any_byte_are_given_out_again() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let ada = log.create_key(profile(1)).unwrap();
    commit(&mut log, &frame([1], ada));
    // As a crash leaves it that lost the frame, and of two keys the first.
    let (bob, _) = (log.create_key(profile(2)).unwrap(), log.create_key(profile(3)).unwrap());
    log.append(&frame([2], bob)).unwrap();
    drop(log);
    let segment = first_segment(data.path());
    let start = frame_starts(&segment)[1];
    change(&segment, |bytes| bytes[start..].fill(0));
    for at in 128..192 {
        let copied = copy(data.path());
        change(&copied.path().join("keys/keys"), |bytes| bytes[at] ^= 0x41);
        let (mut log, report) = open(copied.path());
        assert_eq!((report.keys, report.keys_cut), (2, 2), "byte {at}");
        assert_eq!((log.profile_of(ada).unwrap(), log.profile_of(bob).unwrap()), (Some(profile(1)), None));
        assert_eq!(log.create_key(profile(4)).unwrap(), bob);
        commit(&mut log, &frame([2], bob));
        drop(log);
        let (mut log, report) = open(copied.path());
        assert_eq!((report.keys, report.keys_cut, lsns(&mut log)), (3, 0, vec![1, 2]));
    }
}

#[test]
fn a_log_without_its_keys_or_epoch_is_refused() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    commit(&mut log, &frame([1], KeySlot(0)));
    drop(log);
    let refused = |change: &dyn Fn(&Path)| {
        let copied = copy(data.path());
        change(copied.path());
        match LogFile::open(options(copied.path())) {
            Err(Error::Damaged { what, .. }) => what,
            other => panic!("{:?}", other.map(|(_, report)| report)),
        }
    };
    // A key of a profile: only then is it certain that something was written under the keys.
    let (mut log, _) = open(data.path());
    let slot = log.create_key(profile(1)).unwrap();
    commit(&mut log, &frame([2], slot));
    drop(log);
    let missing = refused(&|data| fs::remove_file(data.join("keys/keys")).unwrap());
    assert!(missing.contains("key file it was written under is missing"), "{missing}");
    let other = refused(&|data| {
        let elsewhere = temporary();
        drop(open(elsewhere.path()));
        fs::copy(elsewhere.path().join("keys/keys"), data.join("keys/keys")).unwrap();
    });
    assert!(other.contains("under other keys"), "{other}");
    let no_epoch = refused(&|data| fs::remove_file(data.join("log/epoch")).unwrap());
    assert!(no_epoch.contains("epoch file beside them is missing"), "{no_epoch}");
    let no_epoch_beside_keys = refused(&|data| {
        ["log", "trace"].iter().for_each(|folder| fs::remove_dir_all(data.join(folder)).unwrap());
        fs::remove_file(data.join("keys/epoch")).unwrap();
    });
    assert!(no_epoch_beside_keys.contains("keys but no epoch file beside them"), "{no_epoch_beside_keys}");
    let worn_out = refused(&|data| {
        change(&data.join("log/epoch"), |bytes| {
            bytes[16..20].copy_from_slice(&((1u32 << 24) - 1).to_le_bytes());
            let crc = crc32c::crc32c(&bytes[12..]);
            bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        });
    });
    assert!(worn_out.contains("16777215 times"), "{worn_out}");
}

#[test]
fn torn_traces_are_cut_and_made_again() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let slot = log.create_key(profile(1)).unwrap();
    for lsn in 1..=3 {
        commit(&mut log, &frame([lsn], slot));
        log.append_traces(&[trace(lsn, slot)]).unwrap();
    }
    assert_eq!(log.last_traced(), Lsn(3));
    drop(log);
    let traces = files(&data.path().join("trace"), "trace").remove(0);
    let used = fs::read(&traces).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    change(&traces, |bytes| bytes[used] ^= 1);
    let (mut log, report) = open(data.path());
    assert_eq!((log.last_traced(), report.last_traced, report.torn), (Lsn(2), Lsn(2), None));
    assert!(report.torn_traces.is_some());
    assert_eq!(timeline(&log, slot), [(3, false), (2, true), (1, true)]);
    log.append_traces(&[trace(1, slot), trace(2, slot), trace(3, slot)]).unwrap();
    assert_eq!(timeline(&log, slot), [(3, true), (2, true), (1, true)]);
    let rows: Vec<u64> = log.traces_of(slot).iter().map(|lsn| lsn.0).collect();
    assert_eq!(rows, [3, 2, 1], "those that were there are not written twice");
}

#[test]
fn traces_of_records_that_were_torn_off_are_cut_with_them() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let slot = log.create_key(profile(1)).unwrap();
    for lsn in 1..=3 {
        commit(&mut log, &frame([lsn], slot));
        log.append_traces(&[trace(lsn, slot)]).unwrap();
    }
    drop(log);
    let segment = first_segment(data.path());
    let start = frame_starts(&segment)[2];
    change(&segment, |bytes| bytes[start..].fill(0));
    let (mut log, report) = open(data.path());
    assert_eq!((log.last_lsn(), log.last_traced()), (Lsn(2), Lsn(2)));
    assert_eq!(report.torn_traces.unwrap().what, "traces of records that the log does not have");
    commit(&mut log, &frame([3], slot));
    assert_eq!(timeline(&log, slot), [(3, false), (2, true), (1, true)]);
}

/// A log whose records each have a trace, in a frame of its own; a checkpoint was written at `synced`.
fn traced(data: &Path, count: u64, synced: Option<u64>) -> KeySlot {
    let (mut log, _) = open(data);
    let slot = log.create_key(profile(1)).unwrap();
    for lsn in 1..=count {
        commit(&mut log, &frame([lsn], slot));
        log.append_traces(&[trace(lsn, slot)]).unwrap();
        if synced == Some(lsn) {
            log.sync_traces().run().unwrap();
        }
    }
    log.keeper_settled();
    slot
}

/// Changes one byte of the trace of record `lsn`.
fn spoil_trace(data: &Path, lsn: u64) {
    for path in files(&data.join("trace"), "trace") {
        change(&path, |bytes| {
            let mut at = 0;
            while let Ok(frame) = FrameRead::read(Kind::Trace, &bytes[at..]) {
                let (bytes_of_frame, last) = (frame.bytes, frame.header.last_lsn);
                if last == Lsn(lsn) {
                    bytes[at + HEADER_BYTES + record::HEADER_BYTES] ^= 1;
                    return;
                }
                at += bytes_of_frame;
            }
        });
    }
}

/// The traces that are missing.
fn untraced(log: &LogFile, slot: KeySlot) -> Vec<u64> {
    let without = timeline(log, slot).into_iter().rev().filter(|(_, is_traced)| !is_traced);
    without.map(|(lsn, _)| lsn).collect()
}

#[test]
fn one_bad_trace_is_passed_over_and_those_behind_it_are_kept() {
    // In the first frame, in the middle, at the end of a segment; in the open segment and in those before it.
    for spoiled in [1, 2, 30, 99, 100] {
        let data = temporary();
        let slot = traced(data.path(), 100, None);
        assert!(files(&data.path().join("trace"), "trace").len() > 2);
        spoil_trace(data.path(), spoiled);
        let (mut log, report) = open(data.path());
        assert_eq!(untraced(&log, slot), [spoiled]);
        assert_eq!(
            (report.unreadable_traces.len(), report.torn_traces.is_some()),
            (usize::from(spoiled < 100), spoiled == 100)
        );
        assert_eq!(report.last_traced, if spoiled == 100 { Lsn(99) } else { Lsn(100) });
        commit(&mut log, &frame([101], slot));
        log.append_traces(&[trace(101, slot)]).unwrap_or_else(|error| panic!("{error}"));
        drop(log);
        let (log, _) = open(data.path());
        assert_eq!(untraced(&log, slot), [spoiled], "also when it is opened again, and when its index is made");
    }
}

#[test]
fn what_replay_makes_again_takes_the_place_of_traces_that_cannot_be_read() {
    let spoiled = 30;
    for (from, last_traced, made_again) in
        [(20, 29, true), (30, 29, true), (31, 29, false), (50, 49, false), (101, 100, false)]
    {
        let data = temporary();
        let slot = traced(data.path(), 100, None);
        spoil_trace(data.path(), spoiled);
        let (mut log, report) = open(data.path());
        assert_eq!(report.unreadable_traces.len(), 1);
        let replayed: Vec<u64> = replayed(&mut log, from).iter().map(|entry| entry.lsn.0).collect();
        assert_eq!(log.last_traced(), Lsn(last_traced), "from {from}");
        let rows: Vec<TraceRow> = replayed.iter().map(|lsn| trace(*lsn, slot)).collect();
        log.append_traces(&rows).unwrap();
        let missing: &[u64] = if made_again { &[] } else { &[spoiled] };
        assert_eq!(untraced(&log, slot), missing, "from {from}");
        let rows = log.traces_of(slot);
        assert!(rows.is_sorted_by(|row, older| row > older), "none is there twice: {rows:?}");
    }
}

#[test]
fn a_trace_segment_that_is_missing_or_holds_nothing_readable_hides_no_other() {
    for spoil in [|path: &Path| fs::remove_file(path).unwrap(), |path: &Path| change(path, |bytes| bytes.fill(7))] {
        let data = temporary();
        let slot = traced(data.path(), 100, None);
        let segments = files(&data.path().join("trace"), "trace");
        let gone: Vec<u64> = {
            let bytes = fs::read(&segments[1]).unwrap();
            let first = FrameRead::read(Kind::Trace, &bytes).unwrap().header.first_lsn.0;
            let last = FrameRead::read(Kind::Trace, &fs::read(&segments[2]).unwrap()).unwrap().header.first_lsn.0;
            (first..last).collect()
        };
        fs::remove_file(segments[1].with_extension("idx")).unwrap();
        spoil(&segments[1]);
        let (log, report) = open(data.path());
        assert_eq!(untraced(&log, slot), gone);
        assert_eq!((report.unreadable_traces.len(), report.torn_traces, report.last_traced), (1, None, Lsn(100)));
    }
}

#[test]
fn traces_that_could_not_be_written_are_taken_when_they_are_given_again() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let slot = log.create_key(profile(1)).unwrap();
    commit(&mut log, &frame([1, 2, 3], slot));
    log.append_traces(&[trace(1, slot)]).unwrap();
    log.reserve_bytes(u64::MAX / 2);
    assert!(matches!(log.append_traces(&[trace(2, slot)]), Err(Error::Full { .. })));
    assert_eq!(log.last_traced(), Lsn(1));
    log.reserve_bytes(0);
    log.append_traces(&[trace(2, slot), trace(3, slot)]).unwrap();
    log.sync_traces().run().unwrap();
    assert_eq!(untraced(&log, slot), Vec::<u64>::new());
}

#[test]
fn traces_are_synced_before_a_checkpoint_and_later_frames_say_so() {
    let data = temporary();
    traced(data.path(), 4, Some(2));
    let bytes = fs::read(files(&data.path().join("trace"), "trace").remove(0)).unwrap();
    let (mut at, mut durable) = (0, Vec::new());
    while let Ok(frame) = FrameRead::read(Kind::Trace, &bytes[at..]) {
        durable.push(frame.header.durable);
        at += frame.bytes;
    }
    assert_eq!(durable, [0, 0, 2, 2]);
}

#[test]
fn the_traces_of_a_long_replay_fit() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    commit(&mut log, &frame(1..=40, KeySlot(0)));
    let mut noise = vec![0; 100_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let rows: Vec<TraceRow> = (1..=40).map(|lsn| TraceRow { body: noise.clone(), ..trace(lsn, KeySlot(0)) }).collect();
    log.append_traces(&rows).unwrap();
    drop(log);
    let (log, report) = open(data.path());
    assert_eq!((report.last_traced, untraced(&log, KeySlot(0))), (Lsn(40), vec![]));
}

type SlotAndNonce = (u32, [u8; 12]);

/// Every sealed record in the log and trace files: its slot and nonce, and what was sealed.
fn sealed_records(data: &Path) -> Vec<(SlotAndNonce, Vec<u8>)> {
    let mut records = Vec::new();
    for (kind, folder) in [(Kind::Log, "log"), (Kind::Trace, "trace")] {
        for path in files(&data.join(folder), folder) {
            let bytes = fs::read(path).unwrap();
            let mut at = 0;
            while let Ok(frame) = FrameRead::read(kind, &bytes[at..]) {
                for located in &frame.records {
                    let header = located.sealed.header;
                    let from = at + located.at + record::HEADER_BYTES;
                    let sealed = bytes[from..from + header.sealed_bytes as usize].to_vec();
                    records.push(((header.slot.0, record::nonce(kind, header.epoch, header.lsn)), sealed));
                }
                at += frame.bytes;
            }
        }
    }
    records
}

/// Whoever keeps the keys and begins a new log has copies of the old one: nothing may be sealed again as it was there.
#[test]
fn a_new_log_under_old_keys_uses_no_nonce_of_the_old_one() {
    let data = temporary();
    let old = |data: &Path| {
        let (mut log, _) = open(data);
        let slot = if log.last_lsn() == Lsn(0) { log.create_key(profile(1)).unwrap() } else { KeySlot(1) };
        for lsn in log.last_lsn().0 + 1..=log.last_lsn().0 + 5 {
            commit(&mut log, &frame([lsn], slot));
            log.append_traces(&[trace(lsn, slot)]).unwrap();
        }
        slot
    };
    old(data.path());
    let earlier = copy(data.path());
    old(data.path());
    let mut used: BTreeMap<SlotAndNonce, Vec<u8>> = sealed_records(data.path()).into_iter().collect();
    let lose = |folders: &[&str]| {
        for folder in folders {
            fs::remove_dir_all(data.path().join(folder)).unwrap();
            fs::create_dir(data.path().join(folder)).unwrap();
        }
    };
    let put_back = |folders: &[&str]| {
        for folder in folders {
            for entry in fs::read_dir(earlier.path().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, data.path().join(folder).join(path.file_name().unwrap())).unwrap();
            }
        }
    };
    let cases: [&dyn Fn(); 3] = [
        &|| lose(&["log", "trace"]),
        // A backup of the log under the keys of now, and the other way round.
        &|| {
            lose(&["log", "trace"]);
            put_back(&["log", "trace"]);
        },
        &|| {
            lose(&["keys"]);
            put_back(&["keys"]);
        },
    ];
    for (number, case) in cases.into_iter().enumerate() {
        case();
        let before = sealed_records(data.path());
        old(data.path());
        for (nonce, bytes) in sealed_records(data.path()) {
            let is_old = before.iter().any(|(held, _)| *held == nonce);
            assert!(is_old || used.insert(nonce, bytes).is_none(), "case {number}: {nonce:?} was used before");
        }
    }
    // What an interrupted first start leaves is no reason to refuse the second.
    let data = temporary();
    drop(open(data.path()));
    fs::remove_file(data.path().join("keys/epoch")).unwrap();
    fs::remove_dir_all(data.path().join("log")).unwrap();
    let (mut log, report) = open(data.path());
    commit(&mut log, &frame([1], KeySlot(0)));
    assert_eq!(report.epoch, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A step appends some records and syncs them or not; then the process may crash and lose a part of what was
    /// not synced. The records that come afterwards, with the same lsn, differ from those lost.
    #[test]
    fn acknowledged_records_survive_and_no_nonce_is_used_twice(
        steps in prop::collection::vec((1u64..20, any::<bool>(), prop::option::of(0usize..=100)), 1..12)
    ) {
        let data = temporary();
        let (mut log, _) = open(data.path());
        let slot = log.create_key(profile(1)).unwrap();
        commit(&mut log, &frame([1], slot));
        let mut expected: Vec<(u64, Vec<u8>)> = vec![(1, body(1))];
        let mut acknowledged = 1;
        let mut sealed: BTreeMap<SlotAndNonce, Vec<u8>> = BTreeMap::new();
        for (number, (count, is_synced, crash)) in steps.into_iter().enumerate() {
            let next = expected.last().map_or(1, |(lsn, _)| lsn + 1);
            let mut frame = Frame::default();
            for lsn in next..next + count {
                let body = format!("{lsn} in step {number}").into_bytes();
                frame.push(Lsn(lsn), PartitionId(0), slot, stamp(lsn), |out| out.extend(&body));
                expected.push((lsn, body));
            }
            log.append(&frame).unwrap();
            let rows: Vec<TraceRow> = (next..next + count)
                .map(|lsn| TraceRow { body: format!("{lsn} in step {number}").into_bytes(), ..trace(lsn, slot) })
                .collect();
            log.append_traces(&rows).unwrap();
            if is_synced {
                sync(&mut log);
                acknowledged = expected.len();
            }
            for (nonce, bytes) in sealed_records(data.path()) {
                let before = sealed.entry(nonce).or_insert_with(|| bytes.clone());
                prop_assert_eq!(&*before, &bytes, "a nonce was used for something else");
            }
            if let Some(kept) = crash {
                drop(log);
                lose_tail(data.path(), acknowledged as u64, kept);
                (log, _) = open(data.path());
                let found: Vec<(u64, Vec<u8>)> = replayed(&mut log, 0)
                    .into_iter()
                    .map(|entry| match entry.body {
                        Body::Command(body) => (entry.lsn.0, body),
                        Body::Erased => panic!("nothing was erased"),
                    })
                    .collect();
                prop_assert!(found.len() >= acknowledged, "{} of {acknowledged} are left", found.len());
                prop_assert_eq!(&found[..], &expected[..found.len()]);
                expected = found;
                acknowledged = expected.len();
            }
        }
    }
}

/// Zeros a part of what lies behind the frame with the last acknowledged record: `kept_percent` of the bytes stay.
fn lose_tail(data: &Path, acknowledged: u64, kept_percent: usize) {
    for path in files(&data.join("log"), "log") {
        let mut bytes = fs::read(&path).unwrap();
        let mut at = 0;
        while let Ok(frame) = FrameRead::read(Kind::Log, &bytes[at..]) {
            if frame.header.last_lsn.0 > acknowledged {
                break;
            }
            at += frame.bytes;
        }
        let unsynced = bytes[at..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let keep = unsynced * kept_percent / 100;
        bytes[at + keep..].fill(0);
        fs::write(&path, bytes).unwrap();
    }
}
