//! The data directory: what a worker opens, and who may open it.

use crate::clock::Clock;
use crate::config;
use log_file::{LogFile, LogReader, Options};
use model::Timestamp;
use processor::{Opened, Storage};
use rustix::fs::{FlockOperation, flock};
use state_fjall::StateFjall;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use template::tracking::Signer;

/// One process at a time has a data directory.
pub struct DataDir {
    /// Held as long as it lives.
    _lock: File,
}

impl DataDir {
    /// # Errors
    /// One sentence: it cannot be made, read or locked.
    pub fn open(path: &Path) -> Result<Self, String> {
        let failed =
            |what: &str, error: &dyn std::fmt::Display| format!("data directory {}: {what}: {error}", path.display());
        fs::create_dir_all(path).map_err(|error| failed("it cannot be made", &error))?;
        let lock_path = path.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(lock_path);
        let lock = opened.map_err(|error| failed("it cannot be written", &error))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| format!("data directory {}: another process uses it; stop that one first", path.display()))?;
        Ok(DataDir { _lock: lock })
    }
}

/// What the API reads beside the worker; replaced whenever storage was opened anew.
#[derive(Clone)]
pub struct Readers {
    pub state: Arc<StateFjall>,
    pub history: LogReader,
    pub signer: Signer,
}

pub struct DiskStorage {
    data: PathBuf,
    config: config::Storage,
    public_url: String,
    clock: Arc<Clock>,
    opened: Arc<Mutex<Option<Readers>>>,
}

impl DiskStorage {
    pub fn new(data: PathBuf, config: config::Storage, public_url: String, clock: Arc<Clock>) -> Self {
        DiskStorage { data, config, public_url, clock, opened: Arc::default() }
    }

    /// Where the readers of what was opened last are put.
    pub fn readers(&self) -> Arc<Mutex<Option<Readers>>> {
        Arc::clone(&self.opened)
    }
}

impl Storage for DiskStorage {
    type Log = LogFile;
    type State = StateFjall;

    fn open(&mut self) -> Result<Opened<LogFile, StateFjall>, String> {
        // The store can be opened again only when nobody has it any more.
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut options = Options::at(&self.data);
        options.reserve_bytes = self.config.reserve_mib << 20;
        options.retention.bytes = self.config.history_gib << 30;
        options.retention.age = Duration::from_secs(self.config.history_days * 86_400);
        let (log, report) = LogFile::open(options).map_err(|error| told(&error))?;
        if let Some(torn) = &report.torn {
            let segment = torn.segment.display();
            tracing::warn!(%segment, at_byte = torn.at_byte, bytes = torn.bytes, what = torn.what,
                "the end of the log was cut: a write that nobody was told is stored");
        }
        let state = Arc::new(self.open_state()?);
        let secret = log.installation_secret("sojourn identity hashes v1");
        let signer = Signer::new(log.installation_secret("sojourn signed links v1"), &self.public_url);
        let readers = Readers { state: Arc::clone(&state), history: log.reader(), signer: signer.clone() };
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(readers);
        Ok(Opened { log, state, secret, signer })
    }

    fn now(&mut self) -> Timestamp {
        self.clock.now()
    }

    fn enter_background() {
        // 5 of 19: about a third of the weight of the threads that answer events, and never nothing.
        if let Err(error) = rustix::process::setpriority_process(None, 5) {
            tracing::debug!(%error, "a background thread keeps its priority");
        }
    }
}

impl DiskStorage {
    /// Opened on a thread in the background: those that the store starts inherit that.
    fn open_state(&self) -> Result<StateFjall, String> {
        let folder = self.data.join("state");
        let opened = std::thread::spawn(move || {
            Self::enter_background();
            StateFjall::open(&folder, &state_fjall::Options::default())
        });
        let opened = opened.join().map_err(|_| "opening the store ended in a panic".to_owned())?;
        opened.map_err(|error| told(&error))
    }
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
