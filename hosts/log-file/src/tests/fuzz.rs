//! Arbitrary bytes in place of a segment, an index, the key file: errors or cuts, never a panic.

use super::*;
use crate::frame::{self, Frame as FrameRead, HEADER_BYTES, proves_durable};
use crate::record::{Epoch, Kind, Sealed};
use ports::log::RecordRef;

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

/// How long each fuzz test runs.
fn fuzz_time() -> Duration {
    let seconds = std::env::var("SOJOURN_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

/// Arbitrary bytes are never a record of ours: nobody without a key can make one.
#[test]
fn fuzz_log_record() {
    bolero::check!().with_test_time(fuzz_time()).for_each(|bytes| {
        read_all(bytes);
        read_all(&with_checksums(bytes));
    });
}

/// A frame of ours, and what a disk can do to it: no changed byte is taken for a record that was written, and a frame
/// cut short is told from a whole one wherever the cut is.
#[test]
fn fuzz_log_record_changed() {
    let mut sealer = frame::Builder::default();
    let (key, epoch) = ([7; 32], Epoch::new(3).unwrap());
    bolero::check!().with_test_time(fuzz_time()).with_type::<(Vec<Vec<u8>>, Vec<(u16, u8)>, u16)>().for_each(
        |(bodies, changes, cut)| {
            let first: [&[u8]; 1] = [b"at least one"];
            let bodies: Vec<&[u8]> = first.into_iter().chain(bodies.iter().map(Vec::as_slice)).collect();
            sealer.clear();
            for (lsn, body) in (1..).zip(&bodies) {
                let record =
                    RecordRef { lsn: Lsn(lsn), partition: PartitionId(1), slot: KeySlot(0), stamp: stamp(lsn), body };
                sealer.push(Kind::Log, epoch, &record, Some(&key));
            }
            let whole = sealer.finish(Kind::Log, epoch, 1, 0).unwrap().to_vec();
            let read = FrameRead::read(Kind::Log, &whole).unwrap();
            let opened: Vec<Vec<u8>> =
                read.records.iter().map(|located| located.sealed.open(Kind::Log, &key).unwrap()).collect();
            assert_eq!((opened, read.bytes), (bodies.iter().map(|body| body.to_vec()).collect(), whole.len()));

            let mut changed = whole.clone();
            for (at, by) in changes {
                let at = usize::from(*at) % whole.len();
                changed[at] ^= by;
            }
            assert_eq!(FrameRead::read(Kind::Log, &changed).is_ok(), changed == whole, "a change went unseen");
            // Also where the checksums are made right again: the seal says no.
            for at in HEADER_BYTES..whole.len() {
                let Ok((sealed, used)) = Sealed::read(&changed[at..]) else { continue };
                assert!(at + used <= changed.len());
                if let Ok(body) = sealed.open(Kind::Log, &key) {
                    let lsn = usize::try_from(sealed.header.lsn.0).unwrap();
                    assert_eq!(bodies.get(lsn - 1), Some(&body.as_slice()), "a body that nobody wrote");
                }
            }
            let cut = usize::from(*cut) % whole.len();
            let torn = FrameRead::read(Kind::Log, &whole[..cut]);
            assert!(torn.is_err(), "a frame of {} bytes cut at {cut}", whole.len());
            assert!(!proves_durable(Kind::Log, &whole[..cut], 1), "what is cut short is torn, and no damage");
        },
    );
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
            let mut read = || {
                for entry in log.replay(Lsn(0))? {
                    let entry = entry?;
                    assert_eq!(entry.lsn.0, last + 1, "no record is left out silently");
                    assert_eq!(entry.body, Body::Command(body(entry.lsn.0)));
                    last += 1;
                }
                Ok::<(), ports::log::Error>(())
            };
            let replayed = read();
            prop_assert!(replayed.is_err() || last == log.last_lsn().0);
            let history = log.reader().of_profile(KeySlot(0), None, 1000);
            let moments = history.as_deref().unwrap_or_default();
            prop_assert!(moments.iter().all(|moment| moment.entry.body == Body::Command(body(moment.entry.lsn.0))));
        }
    });
}
