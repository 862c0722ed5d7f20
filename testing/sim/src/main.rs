//! `cargo run -p sim -- --seed N` repeats one run; without a seed it tries many.

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Runs the processor under faults. A failure prints its seed.")]
struct Arguments {
    /// Only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds, from 1.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = arguments.seed.map_or(1..=arguments.seeds, |seed| seed..=seed);
    let mut failed = 0;
    for seed in seeds {
        match sim::run(seed, None) {
            Ok(summary) if arguments.seed.is_some() => println!("{summary:?}"),
            Ok(_) => {}
            Err(violation) => {
                failed += 1;
                println!("seed {seed}: {violation}; repeat it with `cargo run -p sim -- --seed {seed}`");
            }
        }
    }
    println!("{} failed", failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
