//! `cargo run -p sim -- --seed N` repeats one run; without a seed it tries many. With `--crash-at N` it repeats a short
//! run with one crash at its N-th write.

use clap::Parser;
use sim::{Plan, Run, Side};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Runs the processor under faults. A failure prints how to repeat it.")]
struct Arguments {
    /// Only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds, from 1.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Turns in which clients have wishes.
    #[arg(long, default_value_t = 120)]
    turns: u64,
    /// Instead of faults by chance, one crash before the write with this number, from 1.
    #[arg(long)]
    crash_at: Option<u64>,
    /// The crash comes after that write.
    #[arg(long, requires = "crash_at")]
    after: bool,
    /// Crashes again at this place, counted from when the process began again.
    #[arg(long, requires = "crash_at")]
    again: Option<u64>,
}

fn main() -> ExitCode {
    let Arguments { seed, seeds, turns, crash_at, after, again } = Arguments::parse();
    let side = if after { Side::After } else { Side::Before };
    let plan = crash_at.map_or(Plan::ByChance, |write| Plan::CrashAt { write, side, again });
    let mut failed = 0;
    for number in seed.map_or(1..=seeds, |seed| seed..=seed) {
        let run = Run { seed: number, plan, turns, bug: None };
        match sim::run(&run) {
            Ok(summary) if seed.is_some() => println!("{summary:?}"),
            Ok(_) => {}
            Err(violation) => {
                failed += 1;
                println!("{violation}; repeat it with `{run}`");
            }
        }
    }
    println!("{failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
