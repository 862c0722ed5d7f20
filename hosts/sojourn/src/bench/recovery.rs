//! A tail that no checkpoint holds, as a crash leaves it, and how long opening it takes.

use super::measure::{disk_bytes, mib};
use super::waiting::{booking, disk, documents};
use crate::clock::Clock;
use model::Timestamp;
use processor::{Answer, ControlRequest, Group, Input, Opened, Options, Storage};
use std::path::Path;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Arguments {
    /// How long the tail is, in MiB of log.
    #[arg(long, default_value_t = 1024)]
    tail_mib: u64,
    /// People the tail is about.
    #[arg(long, default_value_t = 1_000_000)]
    people: u64,
}

const ITEMS_PER_TURN: u64 = 4_096;
const WAKES_AFTER_MS: i64 = 30 * 86_400_000;

/// # Errors
/// What could not be run, or that recovery found something else than was written.
pub fn run(arguments: &Arguments, data: &Path) -> Result<(), String> {
    let now = Clock::start().now();
    let (position, timers) = write_tail(arguments, data, now)?;
    let began = Instant::now();
    let Opened { log, state, secret, signer } = disk(data).open()?;
    let opened = Instant::now();
    let group = Group::<_, _, ()>::open(log, state, secret, signer, Options::default());
    let (group, recovered) = group.map_err(|error| error.to_string())?;
    let took = began.elapsed().as_secs_f64();
    println!(
        "recovery            {took:.2} s ({:.2} s of it to open log and store), {} records at {:.0} a second",
        opened.duration_since(began).as_secs_f64(),
        recovered.records_replayed,
        recovered.records_replayed as f64 / opened.elapsed().as_secs_f64()
    );
    if (group.position(), group.timers()) != (position, timers) {
        return Err(format!(
            "recovered position {} with {} timers; there were {position} and {timers}",
            group.position(),
            group.timers()
        ));
    }
    Ok(())
}

/// Fills the log without a checkpoint; answers where it ended and how many timers waited.
fn write_tail(arguments: &Arguments, data: &Path, now: Timestamp) -> Result<(model::Lsn, usize), String> {
    let Opened { log, state, secret, signer } = disk(data).open()?;
    let group = Group::<_, _, ()>::open(log, state, secret, signer, Options::default());
    let (mut group, _) = group.map_err(|error| error.to_string())?;
    let request = ControlRequest::Documents { changes: documents()?, expected: None, by: "bench".into() };
    let mut inputs = vec![Input::Control { request, ticket: () }];
    while group.catalog().version().0 == 0 || group.has_work(now) {
        let released = group.turn(now, std::mem::take(&mut inputs)).map_err(|failed| failed.error.to_string())?;
        if let Some((_, answer)) = released.answers.iter().find(|(_, answer)| !matches!(answer, Answer::Applied { .. }))
        {
            return Err(format!("the documents were not applied: {answer:?}"));
        }
    }
    let version = group.catalog().version();
    let wake_at = Timestamp::from_ms(now.as_ms() + WAKES_AFTER_MS);
    let mut number = 0;
    loop {
        let bytes = disk_bytes(&data.join("log"));
        if bytes >= arguments.tail_mib << 20 {
            println!("tail                {} of log, {} events", mib(bytes), number);
            return Ok((group.position(), group.timers()));
        }
        eprint!("\r{} of {} MiB …  ", bytes >> 20, arguments.tail_mib);
        for _ in 0..16 {
            let numbers = number..number + ITEMS_PER_TURN;
            let items = numbers.map(|number| booking(number % arguments.people.max(1), number, now, version, wake_at));
            let input = Input::Submit { items: items.collect(), ticket: () };
            group.turn(now, vec![input]).map_err(|failed| failed.error.to_string())?;
            number += ITEMS_PER_TURN;
        }
    }
}
