//! Log as preallocated, checksummed segment files with group commit.
//!
//! ```text
//! data/
//!   log/epoch                        how often the log was opened, and under which keys    (epoch)
//!   log/00000000000000000001.log     frames of records, named by their first lsn           (segment, frame, record)
//!   log/00000000000000000001.idx     where each profile's records are, once it is closed   (index)
//!   log/prepared                     the next segment, allocated ahead of its time         (keeper)
//!   trace/00000000000000000001.trace, .idx    the same for the rows that `apply` returned
//!   keys/keys                        one key per profile, apart from log and store         (keys)
//!   keys/epoch                       how often a log was opened under them                 (epoch)
//! ```
//!
//! The way of a frame: `append` seals each record under its profile's key and writes new keys and the frame, one
//! write each; `begin_sync` sets two threads to sync log and keys at the same time; `finish_sync` waits for both and
//! only then shows the records to readers.
//!
//! **New keys.** A key must be durable no later than the first record under it, yet syncing keys before the frame is
//! written would double the time of a commit. So both are synced at once, and the order is restored when the log is
//! opened: a frame that no later frame proves to have been synced, and that names a key which did not survive, was
//! never acknowledged and is cut like any torn frame. A frame that was proved and whose key is missing is damage.
//!
//! **Torn or damaged.** Every frame says up to which frame the log was durable when it was written. A bad frame
//! followed by one that says it had been durable is damage, and nothing is cut; otherwise it belongs to a sync that
//! never finished, and the tail from it on is cut.
//!
//! **Traces** are a comfort, and replay can make again those whose records no checkpoint holds. So nothing in them stops
//! the log: what cannot be read is passed over and told, and what lies behind it is kept. They are synced before each
//! checkpoint, because nobody makes again what it holds.
//!
//! **Failed syncs.** After one, the kernel may hold pages that read well and will never reach the disk. Opening
//! therefore writes whatever is not proved durable once more, and syncs it, before anyone acts upon it.

mod disk;
mod epoch;
mod frame;
mod history;
mod index;
mod keeper;
mod keys;
mod log;
mod open;
mod record;
mod replay;
mod segment;
mod syncer;
mod writer;

#[cfg(test)]
mod tests;

pub use history::LogReader;
pub use log::LogFile;
pub use open::Torn;

use model::{Lsn, Timestamp};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the log lies and how much of it is kept.
#[derive(Clone, Debug)]
pub struct Options {
    pub log_dir: PathBuf,
    pub trace_dir: PathBuf,
    /// Apart from the others, so that it can lie on another disk and be backed up on its own.
    pub keys_dir: PathBuf,
    /// Size of one segment, at most [`Options::SEGMENT_BYTES_MAX`]. More: fewer files. Less: retention works in
    /// finer steps. A larger frame gets a segment of its own size. Default 64 MiB.
    pub segment_bytes: u64,
    pub retention: Retention,
    /// Free disk space below which `append` answers `Full`, so that the store, which shares the disk, can still write
    /// its checkpoints. Default 256 MiB.
    pub reserve_bytes: u64,
}

/// How long history is kept. Whole segments go, oldest first, when either limit is passed and recovery needs them no
/// more.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Of log, traces and indexes together. Default 20 GiB.
    pub bytes: u64,
    /// Measured against the last record's stamp, not the machine's clock. Default 90 days.
    pub age: Duration,
}

impl Options {
    pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

    /// The default layout and limits under `data_dir`.
    pub fn at(data_dir: &Path) -> Self {
        Options {
            log_dir: data_dir.join("log"),
            trace_dir: data_dir.join("trace"),
            keys_dir: data_dir.join("keys"),
            segment_bytes: 64 << 20,
            retention: Retention { bytes: 20 << 30, age: Duration::from_secs(90 * 24 * 60 * 60) },
            reserve_bytes: 256 << 20,
        }
    }
}

/// What opening the log found, for the host to tell its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// How often the log was opened, this time included.
    pub epoch: u32,
    pub segments: usize,
    /// Frames ever written to it.
    pub frames: u64,
    pub last_lsn: Lsn,
    pub last_stamp: Timestamp,
    pub last_traced: Lsn,
    /// Keys ever given out, the installation's and destroyed ones included.
    pub keys: u32,
    /// The cut tail of the log: writes that no sync had finished for.
    pub torn: Option<Torn>,
    /// The cut tail of the traces, which replay makes again unless a checkpoint holds their records.
    pub torn_traces: Option<Torn>,
    /// Traces that cannot be read, with others behind them. Replay makes again what no checkpoint holds.
    pub unreadable_traces: Vec<Torn>,
    /// Keys of writes that no sync had finished for.
    pub keys_cut: u32,
}
