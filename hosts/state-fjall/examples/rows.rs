//! What a checkpoint and a cold profile cost: a million rows of about 300 B written in batches, then read by point.
//!
//! `cargo run --release -p state-fjall --example rows [folder]`

use ports::state::{Error, Keyspace, Row, State};
use state_fjall::{Options, StateFjall};
use std::path::PathBuf;
use std::time::Instant;

const ROWS: u32 = 1_000_000;
const BATCH_ROWS: u32 = 20_000;
const READS: u32 = 200_000;

fn main() -> Result<(), Error> {
    let folder = std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("state-fjall-rows"), PathBuf::from);
    let state = StateFjall::open(&folder, &Options::default())?;
    for round in ["new", "over"] {
        let (begun, mut slowest_ms) = (Instant::now(), 0);
        for batch in 0..ROWS / BATCH_ROWS {
            let rows = (0..BATCH_ROWS).map(|number| row(scatter(batch * BATCH_ROWS + number)));
            let one = Instant::now();
            state.write(rows.collect())?;
            slowest_ms = slowest_ms.max(one.elapsed().as_millis());
        }
        let rows_per_s = f64::from(ROWS) / begun.elapsed().as_secs_f64();
        println!("{round}: {rows_per_s:.0} rows/s in synced batches of {BATCH_ROWS}, slowest batch {slowest_ms} ms");
    }
    drop(state);
    let begun = Instant::now();
    let state = StateFjall::open(&folder, &Options::default())?;
    println!("opened again in {:?}, {} MB on disk", begun.elapsed(), state.disk_bytes()? / 1_000_000);
    for (name, from) in [("first", 0), ("again", 0), ("missing", ROWS)] {
        let begun = Instant::now();
        let mut found = 0;
        for number in 0..READS {
            let key = key(scatter(from + number.wrapping_mul(7919) % ROWS));
            found += u32::from(state.get(Keyspace::Subjects, &key)?.is_some());
        }
        println!("{name}: {:?} a read, {found} of {READS} found", begun.elapsed() / READS);
    }
    Ok(())
}

/// A number in another order, one to one.
fn scatter(number: u32) -> u32 {
    number.wrapping_mul(0x9E37_79B1)
}

fn key(number: u32) -> Vec<u8> {
    let mut key = vec![0, 3];
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(&number.wrapping_mul(0x85EB_CA77).to_be_bytes());
    key.extend_from_slice(&[7; 8]);
    key
}

/// Half of a row repeats from profile to profile, the other half does not.
fn row(number: u32) -> Row {
    let mut value =
        b"email ada@example.org phone +4915112345678 time_zone Europe/Berlin journey welcome step reminder".to_vec();
    value.resize(150, b'.');
    let mut noise = number;
    while value.len() < 300 {
        noise = noise.wrapping_mul(0x0019_660D).wrapping_add(0x3C6E_F35F);
        value.extend_from_slice(&noise.to_le_bytes());
    }
    Row { keyspace: Keyspace::Subjects, key: key(number), value: Some(value) }
}
