//! `sojourn bench`: what this machine can do, over real disks and sockets, and whether the books balance afterwards.
//!
//! `welcome`, the default, sends sign-ups over HTTP; `waiting` fills the wheel with timers and lets many come due at once;
//! `recovery` leaves a long tail in the log and opens it again. `client` is the HTTP client of the load, `measure`
//! reads clocks, memory and disk.

mod client;
mod measure;
mod recovery;
mod waiting;
mod welcome;

use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
#[group(id = "bench")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    workload: Option<Workload>,
    #[command(flatten)]
    welcome: welcome::Arguments,
    /// An empty folder for the data, on the disk to be measured. Default: one that is deleted afterwards.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Workload {
    /// Many people who wait, then a burst of timers.
    Waiting(waiting::Arguments),
    /// How long a start takes after a crash that leaves a long tail in the log.
    Recovery(recovery::Arguments),
}

/// # Errors
/// What could not be run, or that the books do not balance.
pub fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures say nothing; build with --release");
    }
    let data = Data::new(arguments.data.as_ref())?;
    let result = match &arguments.workload {
        None => welcome::run(&arguments.welcome, &data.path),
        Some(Workload::Waiting(arguments)) => waiting::run(arguments, &data.path),
        Some(Workload::Recovery(arguments)) => recovery::run(arguments, &data.path),
    };
    result.map(|()| ExitCode::SUCCESS)
}

/// The folder of one run. One that the bench made is deleted at its end, however it ends.
struct Data {
    path: PathBuf,
    is_ours: bool,
}

impl Data {
    fn new(wanted: Option<&PathBuf>) -> Result<Self, String> {
        let ours = || std::env::temp_dir().join(format!("sojourn-bench-{}", std::process::id()));
        let path = wanted.cloned().unwrap_or_else(ours);
        let is_used = path.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        if is_used {
            return Err(format!("{}: the folder is not empty; the bench wants one of its own", path.display()));
        }
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Data { path, is_ours: wanted.is_none() })
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("{} could not be deleted: {error}", self.path.display());
        }
    }
}
