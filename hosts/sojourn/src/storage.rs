//! The data directory: what a worker opens, and who may open it.

use crate::clock::Clock;
use crate::config::{self, Bytes};
use log_file::{LogFile, LogReader, Options};
use model::Timestamp;
use ports::Log;
use processor::{Opened, Storage};
use rustix::fs::{FlockOperation, flock, statvfs};
use rustix::io::Errno;
use state_fjall::StateFjall;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use template::tracking::Signer;

/// One process at a time has a data directory.
pub struct DataDir {
    /// Held as long as it lives.
    _lock: File,
}

impl DataDir {
    /// Makes it if it is not there.
    ///
    /// # Errors
    /// One sentence: it cannot be made, read or locked.
    pub fn open(path: &Path) -> Result<Self, String> {
        make_private(path).map_err(|error| unusable(path, "it cannot be made", &error))?;
        Self::lock(path)
    }

    /// # Errors
    /// As [`open`](Self::open), and that it is not there.
    pub fn open_existing(path: &Path) -> Result<Self, String> {
        if !path.join("lock").exists() {
            return Err(format!("{} is no data directory; `sojourn serve --data` makes one", path.display()));
        }
        Self::lock(path)
    }

    fn lock(path: &Path) -> Result<Self, String> {
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = opened.map_err(|error| unusable(path, "it cannot be written", &error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DataDir { _lock: lock }),
            Err(Errno::WOULDBLOCK) => {
                Err(format!("data directory {}: another process uses it; stop that one first", path.display()))
            }
            Err(error) => Err(unusable(path, "it cannot be locked", &error)),
        }
    }
}

/// Makes a folder that only its owner may enter: what people did and their addresses lie in it.
fn make_private(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn unusable(path: &Path, what: &str, error: &dyn std::fmt::Display) -> String {
    format!("data directory {}: {what}: {error}", path.display())
}

/// Free bytes on the disk of `path`.
///
/// # Errors
/// When the disk does not say.
pub fn free_bytes(path: &Path) -> Result<Bytes, String> {
    let status = statvfs(path).map_err(|error| unusable(path, "its disk cannot be asked", &error))?;
    Ok(Bytes(status.f_bavail.saturating_mul(status.f_frsize)))
}

/// # Errors
/// One sentence: there is less room than is to be kept free.
pub fn has_room(data: &Path, config: &config::Storage) -> Result<(), String> {
    let (free, reserve) = (free_bytes(data)?, config.reserve);
    if free >= reserve {
        return Ok(());
    }
    let data = data.display();
    Err(format!("data directory {data}: {free} are free and [storage] reserve wants {reserve}; make room, or lower it"))
}

/// The log as the configuration wants it.
///
/// # Errors
/// One sentence for the operator.
pub fn open_log(data: &Path, config: &config::Storage) -> Result<LogFile, String> {
    let mut options = Options::at(data);
    options.reserve_bytes = config.reserve.0;
    options.retention.bytes = config.history_bytes.0;
    options.retention.age = config.history_age;
    let (log, report) = LogFile::open(options).map_err(|error| told(&error))?;
    if let Some(torn) = &report.torn {
        let segment = torn.segment.display();
        tracing::warn!(%segment, at_byte = torn.at_byte, bytes = torn.bytes, what = torn.what,
            "the end of the log was cut: a write that nobody was told is stored");
    }
    if report.keys_cut > 0 {
        tracing::warn!(keys = report.keys_cut, "keys were cut that no stored record is under");
    }
    if let Some(torn) = &report.torn_traces {
        let segment = torn.segment.display();
        tracing::warn!(%segment, at_byte = torn.at_byte, bytes = torn.bytes, what = torn.what,
            "the end of the traces was cut: they are made again from the log, as far as no checkpoint is past them");
    }
    for bad in &report.unreadable_traces {
        let segment = bad.segment.display();
        tracing::warn!(%segment, at_byte = bad.at_byte, bytes = bad.bytes, what = bad.what,
            "traces cannot be read and are passed over: timelines may lack their reasons");
    }
    Ok(log)
}

/// The store beside the log. Opened on a thread in the background: those that the store starts inherit that.
///
/// # Errors
/// One sentence for the operator.
pub fn open_state(data: &Path) -> Result<StateFjall, String> {
    let path = data.join("state");
    make_private(&path).map_err(|error| unusable(&path, "it cannot be made", &error))?;
    let opened = std::thread::spawn(move || {
        DiskStorage::enter_background();
        StateFjall::open(&path, &state_fjall::Options::default())
    });
    let opened = opened.join().map_err(|_| "opening the store ended in a panic".to_owned())?;
    opened.map_err(|error| told(&error))
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
        let log = open_log(&self.data, &self.config)?;
        // O2: a restart adopts the wall clock, but not below what the log has seen.
        self.clock.not_before(log.last_stamp());
        let state = Arc::new(open_state(&self.data)?);
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

/// An error with its causes.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{KeySlot, Lsn, PartitionId};
    use ports::Frame;

    #[test]
    fn t43_a_restart_goes_on_from_the_log_when_the_wall_clock_is_behind_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let hour_ahead = Timestamp::from_ms(Clock::start().now().as_ms() + 3_600_000);
        let mut log = open_log(folder.path(), &config::Storage::default()).expect("a log");
        let mut frame = Frame::default();
        frame.push(Lsn(1), PartitionId(0), KeySlot::INSTALLATION, hour_ahead, |bytes| bytes.push(0));
        log.append(&frame).and_then(|()| log.begin_sync()).and_then(|()| log.finish_sync()).expect("a record");
        drop(log);
        let clock = Arc::new(Clock::start());
        let (data, config) = (folder.path().to_owned(), config::Storage::default());
        let mut storage = DiskStorage::new(data, config, "http://localhost".to_owned(), clock);
        assert!(storage.now() < hour_ahead);
        let _opened = storage.open().unwrap_or_else(|why| panic!("{why}"));
        assert!(storage.now() >= hour_ahead, "or no timer fires for an hour");
    }
}
