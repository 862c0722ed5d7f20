//! How fast the log takes frames with every one of them synced, reads them back, and answers for one profile.
//!
//! `cargo run --release -p log-file --example append [folder]`

use log_file::{LogFile, Options};
use model::{KeySlot, Lsn, PartitionId, ProfileId, Timestamp};
use ports::log::{Error, Frame, History, Log, TraceRow};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const BODY_BYTES: usize = 250;
const PROFILES: u64 = 200_000;
const RUN: Duration = Duration::from_secs(3);

fn main() -> Result<(), Error> {
    let folder = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("log-file-append"), PathBuf::from);
    let (mut log, report) = LogFile::open(Options::at(&folder))?;
    println!("{}: {report:?}", folder.display());
    let mut lsn = report.last_lsn;

    let begun = Instant::now();
    let mut slots = Vec::new();
    for number in 0..PROFILES {
        slots.push(log.create_key(ProfileId(u128::from(number).to_le_bytes()))?);
    }
    let created = begun.elapsed();
    append(&mut log, &frame(&mut lsn, &slots, 1))?;
    println!(
        "{PROFILES} keys: {:.0} ns each, written and synced in {:?}",
        per(created, PROFILES),
        begun.elapsed() - created
    );

    for records in [1, 64, 512, 4096] {
        let (mut frames, mut slowest) = (0, Duration::ZERO);
        let begun = Instant::now();
        while begun.elapsed() < RUN {
            let frame = frame(&mut lsn, &slots, records);
            let one = Instant::now();
            append(&mut log, &frame)?;
            slowest = slowest.max(one.elapsed());
            frames += 1;
        }
        let each = begun.elapsed() / frames;
        let per_second = f64::from(frames) * f64::from(records) / begun.elapsed().as_secs_f64();
        println!("frames of {records}: {per_second:.0} records/s, {each:?} a frame, slowest {slowest:?}");
    }

    let begun = Instant::now();
    let rows: Vec<TraceRow> = (lsn.0 - 4095..=lsn.0)
        .map(|lsn| TraceRow {
            lsn: Lsn(lsn),
            partition: PartitionId(0),
            slot: slot_of(lsn, &slots),
            stamp: Timestamp::from_ms(1),
            body: vec![7; 80],
        })
        .collect();
    log.append_traces(&rows)?;
    println!("4096 trace rows: {:?}", begun.elapsed());

    let (begun, mut records) = (Instant::now(), 0);
    for entry in log.replay(Lsn(1))? {
        entry?;
        records += 1;
    }
    println!("replay: {records} records in {:?}, {:.0} ns each", begun.elapsed(), per(begun.elapsed(), records));

    let reader = log.reader();
    let begun = Instant::now();
    let moments: usize =
        slots[..100].iter().map(|slot| reader.of_profile(*slot, None, 50).map_or(0, |found| found.len())).sum();
    println!("history: {:?} a profile, {moments} moments of 100 profiles", begun.elapsed() / 100);

    drop(log);
    let begun = Instant::now();
    let (_, report) = LogFile::open(Options::at(&folder))?;
    println!("opened again in {:?}: {report:?}", begun.elapsed());
    Ok(())
}

fn per(elapsed: Duration, count: u64) -> f64 {
    elapsed.as_secs_f64() * 1e9 / f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Profiles in no particular order.
fn slot_of(lsn: u64, slots: &[KeySlot]) -> KeySlot {
    let place = lsn.wrapping_mul(0x9E37_79B9_7F4A_7C15) % slots.len() as u64;
    usize::try_from(place).map_or(KeySlot(0), |place| slots[place])
}

fn frame(lsn: &mut Lsn, slots: &[KeySlot], records: u32) -> Frame {
    let mut frame = Frame::default();
    for _ in 0..records {
        *lsn = lsn.next();
        frame.push(*lsn, PartitionId(0), slot_of(lsn.0, slots), Timestamp::from_ms(1), |out| {
            out.extend(std::iter::repeat_n(7, BODY_BYTES));
        });
    }
    frame
}

fn append(log: &mut LogFile, frame: &Frame) -> Result<(), Error> {
    log.append(frame)?;
    log.begin_sync()?;
    log.finish_sync()
}
