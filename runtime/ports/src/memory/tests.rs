use super::*;
use crate::log::{Body, Error, Frame, History, Log};
use crate::state::{Row, Scan, State};
use model::{KeySlot, PartitionId};
use std::sync::atomic::{AtomicU8, Ordering};

fn frame(lsns: impl IntoIterator<Item = u64>, slot: KeySlot) -> Frame {
    let mut frame = Frame::default();
    for lsn in lsns {
        frame.push(Lsn(lsn), PartitionId(1), slot, stamp(lsn), |body| body.extend(lsn.to_le_bytes()));
    }
    frame
}

fn stamp(lsn: u64) -> Timestamp {
    Timestamp::from_ms(lsn as i64 * 10)
}

/// A crash after which so many frames that were not synced survive, with everything else.
fn frames(kept: usize) -> Survivors {
    Survivors { frames: kept, ..Survivors::ALL }
}

fn trace(lsn: u64) -> TraceRow {
    let body = vec![lsn as u8];
    TraceRow { lsn: Lsn(lsn), partition: PartitionId(1), slot: KeySlot(0), stamp: stamp(lsn), body }
}

fn commit(log: &mut MemoryLog, frame: &Frame) {
    log.append(frame).unwrap();
    log.begin_sync().unwrap();
    log.finish_sync().unwrap();
}

fn replayed(log: &mut MemoryLog, from: u64) -> Vec<u64> {
    let entries = log.replay(Lsn(from)).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            assert_eq!(entry.body, Body::Command(entry.lsn.0.to_le_bytes().to_vec()));
            entry.lsn.0
        })
        .collect()
}

/// A disk on which the fault goes wrong at the place, from when it is armed.
struct Planned {
    disk: Disk,
    armed: Arc<AtomicU8>,
}

fn planned(place: Place, fault: Fault) -> Planned {
    let armed = Arc::new(AtomicU8::new(0));
    let asked = Arc::clone(&armed);
    let faults: Faults =
        Arc::new(move |at| if at == place && asked.load(Ordering::Relaxed) != 0 { fault } else { Fault::None });
    Planned { disk: Disk::with_faults(faults), armed }
}

impl Planned {
    fn arm(&self) {
        self.armed.store(1, Ordering::Relaxed);
    }
}

#[test]
fn records_come_back_in_order_from_where_they_are_asked() {
    let disk = Disk::new();
    let mut log = disk.open_log();
    assert_eq!((log.last_lsn(), log.last_stamp(), log.last_traced()), (Lsn(0), Timestamp::EPOCH, Lsn(0)));
    commit(&mut log, &frame([1, 2], KeySlot(0)));
    commit(&mut log, &frame([3, 4, 5], KeySlot(0)));
    assert_eq!((log.last_lsn(), log.last_stamp()), (Lsn(5), stamp(5)));
    assert_eq!(replayed(&mut log, 0), [1, 2, 3, 4, 5]);
    assert_eq!(replayed(&mut log, 4), [4, 5]);
    assert_eq!(disk.durable_entries().len(), 5);
}

#[test]
fn a_crash_leaves_what_is_durable_and_the_chosen_frames_after_it() {
    for (kept, survive) in [(0, vec![1, 2]), (1, vec![1, 2, 3]), (2, vec![1, 2, 3, 4, 5]), (9, vec![1, 2, 3, 4, 5])] {
        let disk = Disk::new();
        let mut log = disk.open_log();
        commit(&mut log, &frame([1, 2], KeySlot(0)));
        log.append(&frame([3], KeySlot(0))).unwrap();
        log.append(&frame([4, 5], KeySlot(0))).unwrap();
        assert_eq!(disk.durable_entries().len(), 2);
        drop(log);
        disk.crash(frames(kept));
        let mut log = disk.open_log();
        assert_eq!(replayed(&mut log, 0), survive);
        assert_eq!(Some(&log.last_lsn().0), survive.last());
        let next = log.last_lsn().next().0;
        commit(&mut log, &frame([next], KeySlot(0)));
    }
}

/// A sync makes durable what was appended before it was begun: who acknowledges more is found out.
#[test]
fn what_is_appended_while_a_sync_runs_is_not_durable_by_it() {
    let disk = Disk::new();
    let mut log = disk.open_log();
    let first = log.create_key(ProfileId([1; 16])).unwrap();
    log.append(&frame([1], first)).unwrap();
    log.begin_sync().unwrap();
    let second = log.create_key(ProfileId([2; 16])).unwrap();
    log.append(&frame([2], second)).unwrap();
    log.finish_sync().unwrap();
    assert_eq!(disk.durable_entries().len(), 1);
    disk.crash(Survivors::default());
    let mut log = disk.open_log();
    assert_eq!(replayed(&mut log, 0), [1]);
    assert_eq!(log.profile_of(first).unwrap(), Some(ProfileId([1; 16])));
    assert_eq!(log.profile_of(second).unwrap(), None);
    assert_eq!(log.create_key(ProfileId([3; 16])).unwrap(), second, "a slot that did not survive is given out again");
}

#[test]
fn a_frame_whose_key_is_lost_is_lost_with_it() {
    for (keys, survive) in [(2, vec![1]), (1, vec![]), (3, vec![1, 2])] {
        let disk = Disk::new();
        let mut log = disk.open_log();
        let slots = [1, 2, 3].map(|byte| log.create_key(ProfileId([byte; 16])).unwrap());
        assert_eq!(slots, [KeySlot(1), KeySlot(2), KeySlot(3)], "slot 0 is the installation's");
        log.append(&frame([1], slots[1])).unwrap();
        log.append(&frame([2], slots[2])).unwrap();
        disk.crash(Survivors { keys, ..Survivors::ALL });
        let mut log = disk.open_log();
        assert_eq!(replayed(&mut log, 0), survive);
        let held = slots.map(|slot| log.profile_of(slot).unwrap());
        let drawn = [1, 2, 3].map(|byte| Some(ProfileId([byte; 16])).filter(|_| usize::from(byte) <= keys));
        assert_eq!(held, drawn);
        assert_eq!(log.profile_of(KeySlot::INSTALLATION).unwrap(), None);
    }
}

#[test]
fn a_process_that_was_killed_finds_all_that_it_wrote() {
    let disk = Disk::new();
    disk.open_log().append(&frame([1, 2], KeySlot(0))).unwrap();
    assert_eq!(replayed(&mut disk.open_log(), 0), [1, 2]);
    assert_eq!(disk.durable_entries().len(), 2, "opening makes durable what it finds, before anyone acts on it");
}

#[test]
fn a_log_that_failed_answers_errors_until_it_is_opened_anew() {
    for (place, written) in [(Place::Append, 0), (Place::BeginSync, 1), (Place::FinishSync, 1)] {
        for (fault, more) in [(Fault::FailBefore, 0), (Fault::FailAfter, u64::from(place == Place::Append))] {
            let planned = planned(place, fault);
            let mut log = planned.disk.open_log();
            planned.arm();
            let done = log.append(&frame([1], KeySlot(0)));
            let done = done.and_then(|()| log.begin_sync()).and_then(|()| log.finish_sync());
            assert!(matches!(done, Err(Error::Io { .. })), "{place:?} {fault:?}: {done:?}");
            assert!(matches!(log.append(&frame([2], KeySlot(0))), Err(Error::Stopped)));
            assert!(matches!(log.create_key(ProfileId([1; 16])), Err(Error::Stopped)));
            let mut log = planned.disk.open_log();
            assert_eq!(replayed(&mut log, 0).len() as u64, written + more, "{place:?} {fault:?}");
        }
    }
}

#[test]
fn a_sync_that_fails_is_not_taken_for_durable() {
    for (fault, durable) in [(Fault::FailBefore, 0), (Fault::Full, 0), (Fault::FailAfter, 1)] {
        let planned = planned(Place::FinishSync, fault);
        let mut log = planned.disk.open_log();
        planned.arm();
        log.append(&frame([1], KeySlot(0))).unwrap();
        log.begin_sync().unwrap();
        log.finish_sync().unwrap_err();
        assert!(matches!(log.begin_sync(), Err(Error::Stopped)), "{fault:?}");
        planned.disk.crash(frames(0));
        assert_eq!(planned.disk.durable_entries().len(), durable, "{fault:?}");
    }
}

#[test]
fn t16_a_full_disk_takes_nothing_and_the_log_goes_on_when_there_is_room() {
    let planned = planned(Place::Append, Fault::Full);
    let mut log = planned.disk.open_log();
    planned.arm();
    let full = log.append(&frame([1], KeySlot(0)));
    assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
    assert_eq!(log.last_lsn(), Lsn(0));
    planned.armed.store(0, Ordering::Relaxed);
    commit(&mut log, &frame([1], KeySlot(0)));
    assert_eq!(replayed(&mut log, 0), [1]);
}

#[test]
fn traces_that_cannot_be_written_stop_nobody_and_are_given_again() {
    let planned = planned(Place::AppendTraces, Fault::FailBefore);
    let mut log = planned.disk.open_log();
    commit(&mut log, &frame([1, 2, 3], KeySlot(0)));
    log.append_traces(&[trace(1)]).unwrap();
    planned.arm();
    log.append_traces(&[trace(2)]).unwrap_err();
    planned.armed.store(0, Ordering::Relaxed);
    assert_eq!(log.last_traced(), Lsn(1));
    commit(&mut log, &frame([4], KeySlot(0)));
    log.append_traces(&[trace(1), trace(2), trace(3), trace(4)]).unwrap();
    assert_eq!(log.last_traced(), Lsn(4));
}

#[test]
fn a_sync_of_traces_that_failed_is_not_repeated_on_the_same_data() {
    let planned = planned(Place::SyncTraces, Fault::FailBefore);
    let mut log = planned.disk.open_log();
    commit(&mut log, &frame([1], KeySlot(0)));
    log.append_traces(&[trace(1)]).unwrap();
    planned.arm();
    log.sync_traces().run().unwrap_err();
    planned.armed.store(0, Ordering::Relaxed);
    assert!(matches!(log.sync_traces().run(), Err(Error::Stopped)));
    planned.disk.crash(Survivors::default());
    assert_eq!(planned.disk.open_log().last_traced(), Lsn(0));
}

#[test]
fn a_crash_loses_traces_of_lost_records_and_those_that_were_not_synced() {
    let disk = Disk::new();
    let mut log = disk.open_log();
    commit(&mut log, &frame([1, 2], KeySlot(0)));
    log.append_traces(&[trace(1), trace(2)]).unwrap();
    let sync = log.sync_traces();
    commit(&mut log, &frame([3, 4, 5], KeySlot(0)));
    log.append(&frame([6], KeySlot(0))).unwrap();
    log.append_traces(&[trace(3), trace(4), trace(5), trace(6)]).unwrap();
    sync.run().unwrap();
    disk.crash(frames(0));
    assert_eq!(disk.open_log().last_traced(), Lsn(5), "record 6 was lost");
    disk.crash(Survivors { traces: 2, ..Survivors::ALL });
    assert_eq!(disk.open_log().last_traced(), Lsn(4));
    disk.crash(Survivors { traces: 0, ..Survivors::ALL });
    assert_eq!(disk.open_log().last_traced(), Lsn(2), "the sync was begun before the others were appended");
}

#[test]
fn what_was_released_is_gone_and_asking_for_it_is_refused() {
    let disk = Disk::new();
    let mut log = disk.open_log();
    for lsns in [1..=2, 3..=5, 6..=6] {
        commit(&mut log, &frame(lsns, KeySlot(0)));
    }
    log.release(Lsn(4));
    assert_eq!(disk.released(), Lsn(4));
    assert_eq!(replayed(&mut log, 0), [3, 4, 5, 6], "whole frames go");
    assert_eq!(replayed(&mut log, 4), [4, 5, 6]);
    let refused = log.replay(Lsn(2)).map(drop);
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    log.release(Lsn(99));
    assert_eq!(replayed(&mut log, 0), [6], "the last one says where the next goes on");
    assert_eq!(disk.durable_entries().len(), 6, "checkers still see all");
    assert_eq!(replayed(&mut disk.without_state().open_log(), 1), [1, 2, 3, 4, 5, 6]);
    disk.forget_state();
    assert_eq!(replayed(&mut log, 1), [1, 2, 3, 4, 5, 6], "as if retention had kept them");
}

#[test]
fn a_disk_that_lies_has_lost_its_last_synced_frame() {
    let disk = Disk::new();
    let mut log = disk.open_log();
    commit(&mut log, &frame([1], KeySlot(0)));
    commit(&mut log, &frame([2, 3], KeySlot(0)));
    log.append_traces(&[trace(1), trace(3)]).unwrap();
    disk.lose_synced_frame();
    assert_eq!((disk.durable_count(), disk.durable_entries_from(1).len()), (1, 0));
    assert_eq!((disk.open_log().last_lsn(), disk.open_log().last_traced()), (Lsn(1), Lsn(1)));
}

#[test]
fn reading_can_fail_too() {
    for place in [Place::Replay, Place::ProfileOf, Place::StateGet, Place::StateScan] {
        let planned = planned(place, Fault::FailBefore);
        let (mut log, state) = (planned.disk.open_log(), planned.disk.open_state());
        planned.arm();
        let replayed = log.replay(Lsn(1)).is_err();
        let held = log.profile_of(KeySlot(1)).is_err();
        let got = state.get(Keyspace::Meta, b"a").is_err();
        let scanned = state.scan(Keyspace::Meta, b"", None, &mut |_, _| Ok(Scan::Continue)).is_err();
        let failed =
            [(Place::Replay, replayed), (Place::ProfileOf, held), (Place::StateGet, got), (Place::StateScan, scanned)];
        assert_eq!(failed.into_iter().find(|(_, is_failed)| *is_failed), Some((place, true)));
        assert_eq!(failed.iter().filter(|(_, is_failed)| *is_failed).count(), 1);
        assert!(!place.is_write());
    }
}

#[test]
#[should_panic(expected = "lsn must rise: 1 came after 1")]
fn an_lsn_that_does_not_rise_is_a_broken_invariant() {
    let mut log = Disk::new().open_log();
    commit(&mut log, &frame([1], KeySlot(0)));
    log.append(&frame([1], KeySlot(0))).unwrap();
}

#[test]
#[should_panic(expected = "record 1 has no key")]
fn a_record_under_a_slot_that_was_not_given_out_is_a_broken_invariant() {
    Disk::new().open_log().append(&frame([1], KeySlot(1))).unwrap();
}

#[test]
fn history_is_one_profile_newest_first_with_its_traces() {
    let disk = Disk::new();
    let mut log = disk.open_log();
    let mine = log.create_key(ProfileId([1; 16])).unwrap();
    for lsn in 1..=4 {
        commit(&mut log, &frame([lsn], if lsn == 2 { KeySlot(0) } else { mine }));
    }
    log.append(&frame([5], mine)).unwrap();
    log.append_traces(&[trace(3)]).unwrap();
    let lsns = |before, limit| -> Vec<(u64, bool)> {
        let moments = disk.of_profile(mine, before, limit).unwrap();
        moments.into_iter().map(|moment| (moment.entry.lsn.0, moment.trace.is_some())).collect()
    };
    assert_eq!(lsns(None, 9), [(4, false), (3, true), (1, false)], "record 5 is not durable");
    assert_eq!(lsns(Some(Lsn(4)), 1), [(3, true)]);
    assert_eq!(lsns(Some(Lsn(1)), 9), []);
}

#[test]
fn without_its_state_a_disk_is_the_durable_log() {
    let disk = Disk::new();
    let mut log = disk.open_log();
    commit(&mut log, &frame([1], KeySlot(0)));
    log.append(&frame([2], KeySlot(0))).unwrap();
    disk.open_state().write(vec![put(Keyspace::Meta, b"a", b"1")]).unwrap();
    let bare = disk.without_state();
    assert_eq!(replayed(&mut bare.open_log(), 0), [1]);
    assert!(bare.rows().is_empty());
    assert_eq!(disk.rows().len(), 1);
}

fn put(keyspace: Keyspace, key: &[u8], value: &[u8]) -> Row {
    Row { keyspace, key: key.to_vec(), value: Some(value.to_vec()) }
}

fn scanned(state: &MemoryState, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let visit = &mut |key: &[u8], _: &[u8]| {
        keys.push(String::from_utf8(key.to_vec()).unwrap());
        Ok(if keys.len() == limit { Scan::Stop } else { Scan::Continue })
    };
    state.scan(Keyspace::Sends, prefix, after, visit).unwrap();
    keys
}

#[test]
fn a_scan_sees_its_prefix_in_order_after_a_key() {
    let state = Disk::new().open_state();
    let rows = ["b1", "a", "b3", "c", "b2"].map(|key| put(Keyspace::Sends, key.as_bytes(), b""));
    state
        .write(rows.into_iter().chain([put(Keyspace::Books, b"b4", b""), put(Keyspace::Meta, b"b0", b"")]).collect())
        .unwrap();
    assert_eq!(scanned(&state, b"b", None, 9), ["b1", "b2", "b3"]);
    assert_eq!(scanned(&state, b"", None, 9), ["a", "b1", "b2", "b3", "c"]);
    assert_eq!(scanned(&state, b"b", None, 2), ["b1", "b2"]);
    assert_eq!(scanned(&state, b"b", Some(b"b1"), 9), ["b2", "b3"]);
    assert_eq!(scanned(&state, b"b", Some(b"b10"), 9), ["b2", "b3"], "a key that is not there");
    assert_eq!(scanned(&state, b"b", Some(b"a"), 9), ["b1", "b2", "b3"], "a key before the prefix");
    assert_eq!(scanned(&state, b"b", Some(b"c"), 9), Vec::<String>::new());
}

#[test]
fn a_batch_is_written_whole_or_not_at_all_and_outlives_a_crash() {
    for (fault, survives) in [(Fault::FailBefore, false), (Fault::Full, false), (Fault::FailAfter, true)] {
        let planned = planned(Place::StateWrite, fault);
        let state = planned.disk.open_state();
        state.write(vec![put(Keyspace::Meta, b"a", b"1"), put(Keyspace::Meta, b"b", b"1")]).unwrap();
        planned.arm();
        let delete = Row { keyspace: Keyspace::Meta, key: b"b".to_vec(), value: None };
        state.write(vec![put(Keyspace::Meta, b"a", b"2"), delete]).unwrap_err();
        planned.disk.crash(frames(0));
        let state = planned.disk.open_state();
        let held = [b"a", b"b"].map(|key| state.get(Keyspace::Meta, key).unwrap());
        let expected = if survives { [Some(b"2".to_vec()), None] } else { [Some(b"1".to_vec()), Some(b"1".to_vec())] };
        assert_eq!(held, expected, "{fault:?}");
        assert_eq!(state.get(Keyspace::Books, b"a").unwrap(), None);
    }
}
