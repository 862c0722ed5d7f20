//! What the keeper does: indexes, retention, segments ahead of their time.

use super::*;

fn filled(data: &Path) -> (LogFile, KeySlot) {
    let (mut log, _) = open(data);
    let slot = log.create_key(profile(1)).unwrap();
    for lsn in 1..=300 {
        commit(&mut log, &frame([lsn], slot));
        log.append_traces(&[trace(lsn, slot)]).unwrap();
    }
    log.keeper_settled();
    (log, slot)
}

fn all() -> Vec<(u64, bool)> {
    (1..=300).rev().map(|lsn| (lsn, true)).collect()
}

#[test]
fn closed_segments_are_indexed_and_cut_to_their_length() {
    let data = temporary();
    let (log, slot) = filled(data.path());
    for folder in ["log", "trace"] {
        let segments = files(&data.path().join(folder), folder);
        let closed = &segments[..segments.len() - 1];
        assert_eq!(files(&data.path().join(folder), "idx").len(), closed.len());
        for path in closed {
            let bytes = fs::read(path).unwrap();
            assert!(bytes.len() <= 4096 && bytes[bytes.len() - 8..] != [0; 8], "{}", path.display());
        }
    }
    assert_eq!(timeline(&log, slot), all());
}

#[test]
fn an_index_that_is_missing_or_bad_is_made_again() {
    let data = temporary();
    let (log, slot) = filled(data.path());
    let indexes = [files(&data.path().join("log"), "idx"), files(&data.path().join("trace"), "idx")].concat();
    assert!(indexes.len() > 10);
    let good: Vec<Vec<u8>> = indexes.iter().map(|path| fs::read(path).unwrap()).collect();
    for (number, path) in indexes.iter().enumerate() {
        match number % 5 {
            0 => fs::remove_file(path).unwrap(),
            1 => fs::write(path, b"").unwrap(),
            2 => change(path, |bytes| bytes[9] ^= 1),
            3 => change(path, |bytes| bytes[4096 + 12] ^= 1),
            _ => change(path, |bytes| bytes.truncate(4096)),
        }
    }
    assert_eq!(timeline(&log, slot), all());
    let again: Vec<Vec<u8>> = indexes.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(again, good);
}

#[test]
fn indexes_missing_at_the_start_are_made_in_the_background() {
    let data = temporary();
    let (log, slot) = filled(data.path());
    drop(log);
    let indexes = files(&data.path().join("log"), "idx");
    indexes.iter().for_each(|path| fs::remove_file(path).unwrap());
    let (log, _) = open(data.path());
    log.keeper_settled();
    assert_eq!(files(&data.path().join("log"), "idx"), indexes);
    assert_eq!(timeline(&log, slot), all());
}

#[test]
fn an_index_finds_slots_over_many_blocks() {
    let data = temporary();
    let (mut log, _) = LogFile::open(Options { segment_bytes: 1 << 20, ..options(data.path()) }).unwrap();
    let slots: Vec<KeySlot> = (0..200).map(|number| log.create_key(profile(number)).unwrap()).collect();
    let mut lsn = 0;
    for round in 0..40u64 {
        let mut frame = Frame::default();
        for (number, slot) in slots.iter().enumerate() {
            // One slot has more records than fit a block, and some have none in places.
            let count = if number == 77 { 20 } else { u64::from(!(number as u64 + round).is_multiple_of(3)) };
            for _ in 0..count {
                lsn += 1;
                frame.push(Lsn(lsn), PartitionId(0), *slot, stamp(lsn), |out| out.extend(body(lsn)));
            }
        }
        commit(&mut log, &frame);
    }
    let expected: Vec<Vec<(u64, bool)>> = slots.iter().map(|slot| timeline(&log, *slot)).collect();
    assert_eq!(expected.iter().map(Vec::len).sum::<usize>() as u64, lsn);
    assert_eq!(expected[77].len(), 800);
    // A frame as large as a segment closes it; what a hash makes does not compress.
    let mut noise = vec![0; 1 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let mut last = Frame::default();
    last.push(Lsn(lsn + 1), PartitionId(0), KeySlot(0), stamp(1), |out| out.extend(&noise));
    commit(&mut log, &last);
    log.keeper_settled();
    assert_eq!(files(&data.path().join("log"), "idx").len(), 1);
    let indexed: Vec<Vec<(u64, bool)>> = slots.iter().map(|slot| timeline(&log, *slot)).collect();
    assert_eq!(indexed, expected);
}

#[test]
fn old_segments_go_once_recovery_is_past_them() {
    let data = temporary();
    let (log, slot) = filled(data.path());
    drop(log);
    let keep_50_ms = Retention { bytes: u64::MAX, age: Duration::from_millis(50) };
    let (mut log, _) = LogFile::open(Options { retention: keep_50_ms, ..options(data.path()) }).unwrap();
    let count = || files(&data.path().join("log"), "log").len();
    let before = count();
    log.release(Lsn(1));
    log.keeper_settled();
    assert_eq!(count(), before, "recovery needs them all");
    log.release(Lsn(100));
    log.keeper_settled();
    let oldest = replayed(&mut log, 0)[0].lsn;
    assert!(Lsn(1) < oldest && oldest <= Lsn(100), "the segment of 100 stays: {oldest}");
    log.release(Lsn(301));
    log.keeper_settled();
    let oldest = replayed(&mut log, 0)[0].lsn;
    assert!(Lsn(150) < oldest && oldest <= Lsn(250), "50 ms are 50 records here: {oldest}");
    let kept: Vec<(u64, bool)> = (oldest.0..=300).rev().map(|lsn| (lsn, true)).collect();
    assert_eq!(timeline(&log, slot), kept);
    let refused = log.replay(Lsn(oldest.0 - 1)).map(drop);
    assert!(matches!(refused, Err(Error::Damaged { .. })), "recovery is told what is gone: {refused:?}");
    assert_eq!(replayed(&mut log, oldest.0)[0].lsn, oldest);
    assert_eq!(files(&data.path().join("log"), "idx").len(), count() - 1);
    let first_traces = files(&data.path().join("trace"), "trace").remove(0);
    let first_traces: u64 = first_traces.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert!(first_traces > 1 && first_traces <= oldest.0, "{first_traces}");
    drop(log);
    let (mut log, report) = open(data.path());
    assert_eq!((report.frames, report.last_lsn), (300, Lsn(300)), "numbers go on where they were");
    commit(&mut log, &frame([301], slot));
    assert_eq!(timeline(&log, slot).len(), kept.len() + 1);
}

#[test]
fn too_many_bytes_remove_the_oldest_segments() {
    let data = temporary();
    let (log, _) = filled(data.path());
    drop(log);
    let retention = Retention { bytes: 60_000, ..options(data.path()).retention };
    let (mut log, _) = LogFile::open(Options { retention, ..options(data.path()) }).unwrap();
    log.release(Lsn(301));
    log.keeper_settled();
    let left = ["log", "idx"].map(|extension| files(&data.path().join("log"), extension));
    let traces = ["trace", "idx"].map(|extension| files(&data.path().join("trace"), extension));
    let bytes: u64 = left.iter().chain(&traces).flatten().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!((40_000..=60_000).contains(&bytes), "{bytes}");
}

#[test]
fn the_next_segment_is_allocated_ahead() {
    let data = temporary();
    let (mut log, _) = open(data.path());
    let prepared = data.path().join("log/prepared");
    log.keeper_settled();
    assert_eq!(fs::metadata(&prepared).unwrap().len(), SEGMENT_BYTES);
    commit(&mut log, &frame([1], KeySlot(0)));
    log.keeper_settled();
    assert_eq!(fs::metadata(&prepared).unwrap().len(), SEGMENT_BYTES, "and the one after it");
    drop(log);
    let (mut log, _) = open(data.path());
    commit(&mut log, &frame([2], KeySlot(0)));
    assert_eq!(lsns(&mut log), [1, 2]);
}
