//! `sojourn doctor`: whether a data directory is whole, what is stopped in it and why, and the way out.

use crate::config::{self, Config};
use crate::progress;
use crate::serve::log_to_stderr;
use crate::storage::{DataDir, free_bytes, has_room, open_log, open_state, told};
use engine::RULES_VERSION;
use model::{Lsn, PartitionId};
use ports::log::Body;
use ports::rows::InstallationRow;
use ports::{Keyspace, Log, State, codec, rows};
use processor::{Stopped, doctor};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The data directory of a server that is not running.
    #[arg(long, global = true, default_value = "data", env = "SOJOURN_DATA")]
    data: PathBuf,
    /// The configuration that `serve` has.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Pass over the one record that stopped a partition; what it said is lost, and stays in the log.
    #[command(after_help = "Examples:\n  sojourn doctor skip --data /var/lib/sojourn --partition 3 --lsn 4711")]
    Skip {
        /// Its number, as `sojourn doctor` shows it.
        #[arg(long)]
        partition: u16,
        /// The record that it is stopped at, as `sojourn doctor` shows it.
        #[arg(long)]
        lsn: u64,
    },
}

/// # Errors
/// That the directory cannot be used, or that there is nothing to skip.
pub fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let config = config::read(arguments.config.as_deref())?;
    let _data = DataDir::open_existing(&arguments.data)?;
    log_to_stderr("warn");
    match arguments.command {
        None => Ok(progress::of("looking", || look(arguments, &config))),
        Some(Command::Skip { partition, lsn }) => {
            let state = open_state(&arguments.data)?;
            let skipped = doctor::skip(&state, PartitionId(partition), Lsn(lsn)).map_err(|error| told(&error))?;
            println!("partition {partition} passes over record {lsn} ({}); start the server", skipped.why);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Looks at one thing after the other and goes on when one is wrong.
fn look(arguments: &Arguments, config: &Config) -> ExitCode {
    let mut findings = Findings::default();
    findings.note("free space", free_space(arguments, config));
    let log = open_log(&arguments.data, &config.storage);
    let log = findings
        .took("log", log, |log| format!("opens; its last record is {}, of {}", log.last_lsn(), log.last_stamp()));
    let state = findings.took("store", open_state(&arguments.data), |_| "opens".to_owned());
    if let Some(state) = &state {
        findings.note("versions", versions(state));
        match doctor::list(state) {
            Err(error) => findings.note("partitions", Err(told(&error))),
            Ok(stopped) if stopped.is_empty() => findings.note("partitions", Ok("none is stopped".to_owned())),
            Ok(stopped) => {
                for (id, stopped) in stopped {
                    findings.note("partition", Err(way_out(id, stopped)));
                }
            }
        }
    }
    if let (Some(mut log), Some(state)) = (log, &state) {
        findings.note("tail of the log", tail(&mut log, state));
    }
    findings.end()
}

/// What stopped the partition, and what can be done about it.
fn way_out(id: PartitionId, Stopped { lsn, why }: Stopped) -> String {
    if lsn == Lsn(0) {
        return doctor::Error::Row { id, why: why.to_string() }.to_string();
    }
    let command = format!("sojourn doctor skip --partition {} --lsn {lsn}", id.0);
    format!("{id} is stopped at record {lsn}: {why}; `{command}` passes over it")
}

#[derive(Default)]
struct Findings {
    wrong: usize,
}

impl Findings {
    fn note(&mut self, what: &str, found: Result<String, String>) {
        match found {
            Ok(found) => println!("ok     {what}: {found}"),
            Err(why) => {
                self.wrong += 1;
                println!("WRONG  {what}: {why}");
            }
        }
    }

    fn took<T>(&mut self, what: &str, found: Result<T, String>, say: impl FnOnce(&T) -> String) -> Option<T> {
        match found {
            Ok(found) => {
                self.note(what, Ok(say(&found)));
                Some(found)
            }
            Err(why) => {
                self.note(what, Err(why));
                None
            }
        }
    }

    fn end(self) -> ExitCode {
        match self.wrong {
            0 => {
                println!("nothing is wrong");
                ExitCode::SUCCESS
            }
            wrong => {
                println!("{wrong} wrong");
                ExitCode::FAILURE
            }
        }
    }
}

fn free_space(arguments: &Arguments, config: &Config) -> Result<String, String> {
    has_room(&arguments.data, &config.storage)?;
    Ok(format!("{}; [storage] reserve is {}", free_bytes(&arguments.data)?, config.storage.reserve))
}

fn versions(state: &dyn State) -> Result<String, String> {
    let row = state.get(Keyspace::Meta, &rows::installation_key()).map_err(|error| told(&error))?;
    let Some(row) = row else { return Ok("nothing was started here yet".to_owned()) };
    let row = rows::decode_installation(&row).map_err(|error| told(&error))?;
    let InstallationRow { partitions, rules_version, .. } = row;
    let rules = if rules_version == RULES_VERSION {
        format!("rules {rules_version}, as this program")
    } else {
        format!("rules {rules_version}, this program has {RULES_VERSION}")
    };
    Ok(format!("{partitions} partitions, {rules}"))
}

/// Reads what the next start would: the log behind the checkpoints of all partitions.
fn tail(log: &mut impl Log, state: &dyn State) -> Result<String, String> {
    let from = replayed_from(state)?;
    let (mut read, mut erased) = (0u64, 0u64);
    for entry in log.replay(from).map_err(|error| told(&error))? {
        let entry = entry.map_err(|error| told(&error))?;
        read += 1;
        match entry.body {
            Body::Erased => erased += 1,
            Body::Command(body) => {
                codec::decode_command(&body)
                    .map_err(|error| format!("record {} cannot be read: {error}", entry.lsn))?;
            }
        }
    }
    Ok(format!("{read} records from {from} on can be read, {erased} of them erased"))
}

fn replayed_from(state: &dyn State) -> Result<Lsn, String> {
    let Some(row) = state.get(Keyspace::Meta, &rows::installation_key()).map_err(|error| told(&error))? else {
        return Ok(Lsn(1));
    };
    let installation = rows::decode_installation(&row).map_err(|error| told(&error))?;
    let mut applied: Option<Lsn> = None;
    for id in (0..installation.partitions).map(PartitionId) {
        let Some(row) = state.get(Keyspace::Meta, &rows::partition_key(id)).map_err(|error| told(&error))? else {
            return Ok(Lsn(1));
        };
        let row = rows::decode_partition(&row).map_err(|error| told(&error))?;
        applied = Some(applied.map_or(row.applied_lsn, |applied| applied.min(row.applied_lsn)));
    }
    Ok(applied.unwrap_or_default().next())
}
