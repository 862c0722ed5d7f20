//! The log over real files. `torn` is about crashes, `keeping` about what happens to old segments.

mod fuzz;
mod keeping;
mod torn;

use crate::{LogFile, OpenReport, Options, Retention};
use model::{KeySlot, Lsn, PartitionId, ProfileId, Timestamp};
use ports::log::{Body, Entry, Error, Frame, History, Log, TraceRow};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const SEGMENT_BYTES: u64 = 4096;

fn options(data: &Path) -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        reserve_bytes: 0,
        retention: Retention { bytes: u64::MAX, age: Duration::from_secs(u64::MAX / 1000) },
        ..Options::at(data)
    }
}

fn open(data: &Path) -> (LogFile, OpenReport) {
    LogFile::open(options(data)).unwrap()
}

/// A folder in memory where there is one: hundreds of openings sync a lot.
fn temporary() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn profile(number: u8) -> ProfileId {
    ProfileId([number; 16])
}

fn body(lsn: u64) -> Vec<u8> {
    format!("the command {lsn}").into_bytes()
}

fn frame(lsns: impl IntoIterator<Item = u64>, slot: KeySlot) -> Frame {
    let mut frame = Frame::default();
    for lsn in lsns {
        frame.push(Lsn(lsn), PartitionId(3), slot, stamp(lsn), |out| out.extend(body(lsn)));
    }
    frame
}

fn stamp(lsn: u64) -> Timestamp {
    Timestamp::from_ms(1_700_000_000_000 + i64::try_from(lsn).unwrap())
}

fn entry(lsn: u64, slot: KeySlot) -> Entry {
    let body = Body::Command(body(lsn));
    Entry { lsn: Lsn(lsn), partition: PartitionId(3), slot, stamp: stamp(lsn), body }
}

fn trace(lsn: u64, slot: KeySlot) -> TraceRow {
    let body = format!("why {lsn}").into_bytes();
    TraceRow { lsn: Lsn(lsn), partition: PartitionId(3), slot, stamp: stamp(lsn), body }
}

fn sync(log: &mut LogFile) {
    log.begin_sync().unwrap();
    log.finish_sync().unwrap();
}

fn commit(log: &mut LogFile, frame: &Frame) {
    log.append(frame).unwrap();
    sync(log);
}

fn replayed(log: &mut LogFile, from: u64) -> Vec<Entry> {
    log.replay(Lsn(from)).unwrap().map(Result::unwrap).collect()
}

/// Reads every record, for whether that works.
fn read_all(log: &mut LogFile) -> Result<(), Error> {
    log.replay(Lsn(1))?.try_for_each(|entry| entry.map(drop))
}

fn lsns(log: &mut LogFile) -> Vec<u64> {
    replayed(log, 0).iter().map(|entry| entry.lsn.0).collect()
}

fn timeline(log: &LogFile, slot: KeySlot) -> Vec<(u64, bool)> {
    let moments = log.reader().of_profile(slot, None, usize::MAX).unwrap();
    moments.iter().map(|moment| (moment.entry.lsn.0, moment.trace.is_some())).collect()
}

/// The files of `folder` with this extension, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|held| held == extension)).collect();
    found.sort();
    found
}

fn copy(from: &Path) -> TempDir {
    let to = temporary();
    for folder in ["log", "trace", "keys"] {
        fs::create_dir(to.path().join(folder)).unwrap();
        for entry in fs::read_dir(from.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.path().join(folder).join(path.file_name().unwrap())).unwrap();
        }
    }
    to
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_was_written_reads_back_after_opening_again() {
    let data = temporary();
    let (mut log, report) = open(data.path());
    assert_eq!((report.epoch, report.frames, report.last_lsn, report.keys), (1, 0, Lsn(0), 1));
    assert_eq!((log.last_lsn(), log.last_stamp(), log.last_traced()), (Lsn(0), Timestamp::EPOCH, Lsn(0)));
    let slot = log.create_key(profile(7)).unwrap();
    assert_eq!(log.profile_of(slot).unwrap(), Some(profile(7)), "also before it is written");
    commit(&mut log, &frame([1, 2, 5], slot));
    commit(&mut log, &frame([6], KeySlot::INSTALLATION));
    let long = vec![b'x'; 2000];
    let mut last = Frame::default();
    last.push(Lsn(7), PartitionId::CONTROL, slot, stamp(7), |out| out.extend(&long));
    commit(&mut log, &last);
    let secret = log.installation_secret("identities");
    drop(log);

    let (mut log, report) = open(data.path());
    assert_eq!((report.epoch, report.frames, report.last_lsn, report.keys), (2, 3, Lsn(7), 2));
    assert_eq!((&report.torn, &report.torn_traces, report.keys_cut), (&None, &None, 0));
    assert_eq!((log.last_lsn(), log.last_stamp()), (Lsn(7), stamp(7)));
    let entries = replayed(&mut log, 2);
    assert_eq!(entries[..3], [entry(2, slot), entry(5, slot), entry(6, KeySlot::INSTALLATION)]);
    assert_eq!((entries[3].partition, &entries[3].body), (PartitionId::CONTROL, &Body::Command(long)));
    assert_eq!(entries.len(), 4);
    assert_eq!(
        (log.profile_of(slot).unwrap(), log.profile_of(KeySlot::INSTALLATION).unwrap()),
        (Some(profile(7)), None)
    );
    assert_eq!(log.profile_of(KeySlot(9)).unwrap(), None);
    assert_eq!(log.installation_secret("identities"), secret);
    assert_ne!(log.installation_secret("links"), secret);
}

#[test]
fn a_long_body_is_compressed_and_nothing_is_stored_in_clear() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let mut long = Frame::default();
    let text = "ada@example.org ".repeat(100);
    long.push(Lsn(1), PartitionId(0), KeySlot(0), stamp(1), |out| out.extend(text.as_bytes()));
    commit(&mut log, &long);
    let segment = fs::read(&files(&data.path().join("log"), "log")[0]).unwrap();
    assert!(!segment.windows(15).any(|window| window == b"ada@example.org"));
    let used = segment.iter().rposition(|byte| *byte != 0).unwrap();
    assert!(used < 300, "{used} bytes for {} that repeat", text.len());
    assert_eq!(replayed(&mut log, 1)[0].body, Body::Command(text.into_bytes()));
}

#[test]
fn a_segment_ends_where_a_frame_no_longer_fits_and_a_larger_frame_gets_its_own() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    commit(&mut log, &frame(1..=10, KeySlot(0)));
    commit(&mut log, &frame(11..=210, KeySlot(0)));
    for lsn in 211..=400 {
        commit(&mut log, &frame([lsn], KeySlot(0)));
    }
    log.keeper_settled();
    let segments = files(&data.path().join("log"), "log");
    assert!(segments.len() > 5, "{segments:?}");
    let sizes: Vec<u64> = segments.iter().map(|path| fs::metadata(path).unwrap().len()).collect();
    assert!(sizes[1] > SEGMENT_BYTES, "the large frame has a segment of its own: {sizes:?}");
    assert!(sizes[2..].iter().all(|size| *size <= SEGMENT_BYTES), "{sizes:?}");
    assert_eq!(lsns(&mut log), (1..=400).collect::<Vec<_>>());
    drop(log);
    let (mut log, report) = open(data.path());
    assert_eq!((report.frames, report.segments), (192, segments.len()));
    assert_eq!(lsns(&mut log), (1..=400).collect::<Vec<_>>());
    assert_eq!(replayed(&mut log, 395).len(), 6);
}

#[test]
fn the_history_of_a_profile_is_its_records_and_traces_newest_first() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let (ada, bob) = (log.create_key(profile(1)).unwrap(), log.create_key(profile(2)).unwrap());
    for lsn in 1..=300 {
        let slot = if lsn % 3 == 0 { ada } else { bob };
        commit(&mut log, &frame([lsn], slot));
        if lsn % 2 == 0 {
            log.append_traces(&[trace(lsn, slot)]).unwrap();
        }
    }
    let expected: Vec<(u64, bool)> =
        (1..=300).rev().filter(|lsn| lsn % 3 == 0).map(|lsn| (lsn, lsn % 2 == 0)).collect();
    assert_eq!(timeline(&log, ada), expected);
    let page = log.reader().of_profile(ada, Some(Lsn(151)), 2).unwrap();
    assert_eq!(page[0].entry, entry(150, ada));
    assert_eq!(page[0].trace, Some(b"why 150".to_vec()));
    assert_eq!((page[1].entry.lsn, &page[1].trace, page.len()), (Lsn(147), &None, 2));
    assert_eq!(log.reader().of_profile(ada, Some(Lsn(3)), 9).unwrap(), []);
    assert_eq!(log.reader().of_profile(KeySlot(77), None, 9).unwrap(), []);
    drop(log);
    let (log, _) = open(data.path());
    assert_eq!(timeline(&log, ada), expected, "also when it is opened again");
}

#[test]
fn readers_see_only_what_is_durable() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let slot = log.create_key(profile(1)).unwrap();
    commit(&mut log, &frame([1], slot));
    log.append(&frame(2..=90, slot)).unwrap();
    assert_eq!((timeline(&log, slot).len(), lsns(&mut log)), (1, vec![1]));
    log.begin_sync().unwrap();
    assert_eq!((timeline(&log, slot).len(), lsns(&mut log)), (1, vec![1]));
    log.finish_sync().unwrap();
    assert_eq!((timeline(&log, slot).len(), lsns(&mut log).len()), (90, 90));
}

#[test]
fn history_is_read_while_another_thread_appends() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let slots: Vec<KeySlot> = (0..5).map(|number| log.create_key(profile(number)).unwrap()).collect();
    let reader = log.reader();
    let durable = Arc::new(AtomicU64::new(0));
    let seen_by_reader = Arc::clone(&durable);
    let appending = std::thread::spawn(move || {
        for lsn in 1..=1000 {
            commit(&mut log, &frame([lsn], slots[usize::try_from(lsn % 5).unwrap()]));
            durable.store(lsn, Ordering::Release);
        }
    });
    let mut reads = 0;
    while seen_by_reader.load(Ordering::Acquire) < 1000 {
        let acknowledged = seen_by_reader.load(Ordering::Acquire);
        let moments = reader.of_profile(KeySlot(1), None, usize::MAX).unwrap();
        let expected: Vec<u64> = (1..=1000).filter(|lsn| lsn % 5 == 0).collect();
        let seen: Vec<u64> = moments.iter().rev().map(|moment| moment.entry.lsn.0).collect();
        assert_eq!(seen, expected[..seen.len()], "in order and without a hole");
        assert!(seen.len() as u64 >= acknowledged / 5, "everything acknowledged is seen");
        reads += 1;
    }
    appending.join().unwrap();
    assert!(reads > 0);
}

#[test]
fn what_was_written_under_a_destroyed_key_reads_as_erased() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let (ada, bob) = (log.create_key(profile(1)).unwrap(), log.create_key(profile(2)).unwrap());
    commit(&mut log, &frame([1], ada));
    commit(&mut log, &frame([2], bob));
    log.append_traces(&[trace(1, ada), trace(2, bob)]).unwrap();
    assert_eq!(timeline(&log, ada), [(1, true)], "and now its key is in the reader's cache");
    let keys = data.path().join("keys/keys");
    let slot_of = |bytes: &[u8]| bytes[64..128].to_vec();
    let before = slot_of(&fs::read(&keys).unwrap());
    log.destroy_key(ada).unwrap();
    let after = slot_of(&fs::read(&keys).unwrap());
    assert_eq!(before[..16], profile(1).0);
    assert_eq!(after[..48], [0; 48], "profile and key are gone from the file");

    let check = |log: &mut LogFile| {
        let bodies: Vec<Body> = replayed(log, 0).into_iter().map(|entry| entry.body).collect();
        assert_eq!(bodies, [Body::Erased, Body::Command(body(2)), Body::Erased]);
        assert_eq!((timeline(log, ada), timeline(log, bob)), (vec![(3, false), (1, false)], vec![(2, true)]));
        assert_eq!(log.profile_of(ada).unwrap(), None);
    };
    commit(&mut log, &frame([3], ada));
    check(&mut log);
    drop(log);
    check(&mut open(data.path()).0);
}

#[test]
fn t16_a_nearly_full_disk_refuses_before_anything_is_written() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    commit(&mut log, &frame([1], KeySlot(0)));
    drop(log);
    let before = fs::read(&files(&data.path().join("log"), "log")[0]).unwrap();
    let full = Options { reserve_bytes: u64::MAX / 2, ..options(data.path()) };
    let (mut log, _) = LogFile::open(full).unwrap();
    for _ in 0..2 {
        let slot = log.create_key(profile(1)).unwrap();
        let refused = log.append(&frame([2], slot));
        assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    }
    drop(log);
    assert_eq!(fs::read(&files(&data.path().join("log"), "log")[0]).unwrap(), before);
    let (mut log, report) = open(data.path());
    assert_eq!(report.keys, 1, "the keys were not written either");
    commit(&mut log, &frame([2], KeySlot(0)));
    assert_eq!(lsns(&mut log), [1, 2]);
}

#[test]
fn t16_room_that_comes_back_is_used_without_opening_anew() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    log.reserve_bytes(u64::MAX / 2);
    let slot = log.create_key(profile(1)).unwrap();
    assert!(matches!(log.append(&frame([1], slot)), Err(Error::Full { .. })));
    log.reserve_bytes(0);
    commit(&mut log, &frame([1], slot));
    assert_eq!(replayed(&mut log, 0), [entry(1, slot)]);
}

#[test]
fn a_frame_that_is_too_large_is_told_and_leaves_the_log_as_it_was() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    // Many empty bodies: what a record takes besides its body is enough.
    let mut large = Frame::default();
    for lsn in 1..=(1 << 30) / 40 {
        large.push(Lsn(lsn), PartitionId(0), KeySlot(0), stamp(lsn), |_| {});
    }
    let refused = log.append(&large);
    let Err(Error::TooLarge { frame_bytes, frame_bytes_max }) = refused else { panic!("{refused:?}") };
    assert_eq!((frame_bytes > frame_bytes_max, frame_bytes_max), (true, 1 << 30));
    commit(&mut log, &frame([1], KeySlot(0)));
    assert_eq!(lsns(&mut log), [1]);
}

#[test]
fn a_key_that_cannot_be_read_is_not_a_key_that_is_not_there() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let slot = log.create_key(profile(1)).unwrap();
    commit(&mut log, &frame([1], slot));
    change(&data.path().join("keys/keys"), |bytes| bytes[70] ^= 1);
    assert!(matches!(log.profile_of(slot), Err(Error::Damaged { at_byte: 64, .. })), "{:?}", log.profile_of(slot));
}

#[test]
fn after_a_failure_everything_answers_stopped_until_it_is_opened_anew() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let slot = log.create_key(profile(1)).unwrap();
    commit(&mut log, &frame([1], slot));
    commit(&mut log, &frame([2], KeySlot(0)));
    drop(log);
    let (mut log, _) = open(data.path());
    let broken = log.append(&frame([3], KeySlot(5)));
    assert!(matches!(broken, Err(Error::Damaged { .. })), "a slot that was never given out: {broken:?}");
    assert!(matches!(log.append(&frame([3], slot)), Err(Error::Stopped)));
    assert!(matches!(log.begin_sync(), Err(Error::Stopped)));
    assert!(matches!(log.finish_sync(), Err(Error::Stopped)));
    assert!(matches!(log.create_key(profile(2)), Err(Error::Stopped)));
    assert!(matches!(log.append_traces(&[]), Err(Error::Stopped)));
    drop(log);
    let (mut log, _) = open(data.path());
    commit(&mut log, &frame([3], slot));
    assert_eq!(lsns(&mut log), [1, 2, 3]);
}

#[test]
#[should_panic(expected = "lsn must rise")]
fn an_lsn_is_never_written_twice() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    commit(&mut log, &frame([1, 2], KeySlot(0)));
    let again = log.append(&frame([2], KeySlot(0)));
    unreachable!("{again:?}");
}

#[test]
fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let data = temporary();
    let (mut log, _) = open(data.path());
    commit(&mut log, &frame([1], KeySlot(0)));
    let mode = |path: &str| fs::metadata(data.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("keys/keys"), 0o600);
    assert_eq!((mode("keys"), mode("log")), (0o700, 0o700));
    assert_eq!(mode("log/00000000000000000001.log"), 0o600);
}
