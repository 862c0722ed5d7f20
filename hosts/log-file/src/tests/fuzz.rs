//! Arbitrary bytes in place of a segment, an index, the key file: errors or cuts, never a panic.

use super::*;
use crate::frame::{Frame as FrameRead, HEADER_BYTES, proves_durable};
use crate::record::{Kind, Sealed};

/// Gives the header at the start a right checksum, so that what is behind it is looked at too.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= HEADER_BYTES {
        let payload_bytes = u32::try_from(bytes.len() - HEADER_BYTES).unwrap();
        bytes[..4].copy_from_slice(b"SJL1");
        bytes[8..12].copy_from_slice(&payload_bytes.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[HEADER_BYTES..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..HEADER_BYTES]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

fn read_all(bytes: &[u8]) {
    for kind in [Kind::Log, Kind::Trace] {
        let mut at = 0;
        while let Ok(frame) = FrameRead::read(kind, &bytes[at..]) {
            for located in &frame.records {
                assert!(located.sealed.open(kind, &[7; 32]).is_err(), "no key opens what nobody sealed");
            }
            assert!(frame.bytes >= HEADER_BYTES);
            at += frame.bytes;
        }
        proves_durable(kind, bytes, 0);
    }
    if let Ok((sealed, used)) = Sealed::read(bytes) {
        assert!(used <= bytes.len());
        sealed.open(Kind::Log, &[7; 32]).unwrap_err();
    }
}

#[test]
fn fuzz_log_record() {
    bolero::check!().for_each(|bytes| {
        read_all(bytes);
        read_all(&with_checksums(bytes));
    });
}

#[test]
fn arbitrary_bytes_for_a_file_are_an_error_or_a_cut() {
    use proptest::prelude::*;
    let data = temporary();
    let (mut log, _) = open(data.path());
    for lsn in 1..=150 {
        commit(&mut log, &frame([lsn], KeySlot(0)));
        log.append_traces(&[trace(lsn, KeySlot(0))]).unwrap();
    }
    log.keeper_settled();
    drop(log);
    let all = ["log", "trace", "keys"].map(|folder| {
        let entries = fs::read_dir(data.path().join(folder)).unwrap();
        entries.map(|entry| PathBuf::from(folder).join(entry.unwrap().file_name())).collect::<Vec<_>>()
    });
    let all = all.concat();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) };
    let garbage = prop::collection::vec(any::<u8>(), 0..300);
    proptest!(config, |(file in prop::sample::select(all), at in 0usize..5000, garbage in garbage, is_cut: bool)| {
        let copied = copy(data.path());
        change(&copied.path().join(&file), |bytes| {
            let at = at.min(bytes.len());
            bytes.resize(bytes.len().max(at + garbage.len()), 0);
            bytes[at..at + garbage.len()].copy_from_slice(&garbage);
            if is_cut {
                bytes.truncate(at + garbage.len());
            }
        });
        if let Ok((mut log, _)) = LogFile::open(options(copied.path())) {
            let mut last = 0;
            let replayed = log.replay(Lsn(0), &mut |entry| {
                assert_eq!(entry.lsn.0, last + 1, "no record is left out silently");
                assert_eq!(entry.body, Body::Command(body(entry.lsn.0)));
                last += 1;
                Ok(())
            });
            prop_assert!(replayed.is_err() || last == log.last_lsn().0);
            let history = log.reader().of_profile(KeySlot(0), None, 1000);
            let moments = history.as_deref().unwrap_or_default();
            prop_assert!(moments.iter().all(|moment| moment.entry.body == Body::Command(body(moment.entry.lsn.0))));
        }
    });
}
