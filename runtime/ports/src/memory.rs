//! In-memory ports with faults, for the simulator and for journey tests. One thread, no clock, no chance: what goes
//! wrong is said from outside.
//!
//! A [`Disk`] outlives the process it plays: after a crash it is opened again and holds what was durable, and of what
//! was written but not yet synced as much as the caller lets survive.

mod log;
mod state;

pub use log::MemoryLog;
pub use state::MemoryState;

use crate::log::{Entry, TraceRow};
use crate::state::Keyspace;
use model::{Lsn, ProfileId, Timestamp};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A place where something can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Only asked, never written: every fault is a full disk here.
    Room,
    Append,
    BeginSync,
    FinishSync,
    CreateKey,
    AppendTraces,
    SyncTraces,
    StateWrite,
    Replay,
    ProfileOf,
    StateGet,
    StateScan,
}

impl Place {
    /// Whether something is changed there, so that before and after it are different moments to crash.
    pub fn is_write(self) -> bool {
        match self {
            Place::Append
            | Place::BeginSync
            | Place::FinishSync
            | Place::CreateKey
            | Place::AppendTraces
            | Place::SyncTraces
            | Place::StateWrite => true,
            Place::Room | Place::Replay | Place::ProfileOf | Place::StateGet | Place::StateScan => false,
        }
    }
}

/// What goes wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is not done, and an error says so.
    FailBefore,
    /// It is done, and an error says that it is not.
    FailAfter,
    /// The disk is full: not done. A log goes on after that, unless it was a sync.
    Full,
}

/// Asked at every place, in order. A crash is played by failing and then dropping the process over the disk.
pub type Faults = Arc<dyn Fn(Place) -> Fault + Send + Sync>;

/// How much of what was written and not synced survives a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survivors {
    /// The first so many frames. The one behind them is torn, and cut with all that follows.
    pub frames: usize,
    /// The first so many keys. A frame that names a key which is lost is torn.
    pub keys: usize,
    /// The first so many trace rows.
    pub traces: usize,
}

impl Survivors {
    /// The process was killed and the machine was not.
    pub const ALL: Survivors = Survivors { frames: usize::MAX, keys: usize::MAX, traces: usize::MAX };
}

#[derive(Default)]
struct Content {
    /// Those that were released are not in it any more.
    frames: Vec<Vec<Entry>>,
    /// So many of the frames are durable.
    frames_durable: usize,
    /// Entries of released frames; kept for checkers and for the history.
    removed: Vec<Entry>,
    keys: Vec<ProfileId>,
    keys_durable: usize,
    traces: BTreeMap<Lsn, TraceRow>,
    /// Traces up to here are synced.
    traced_durably: Lsn,
    rows: BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>,
    released: Lsn,
}

impl Content {
    fn last(&self) -> Option<&Entry> {
        self.frames.iter().rev().find_map(|frame| frame.last())
    }

    fn last_lsn(&self) -> Lsn {
        self.last().map_or(Lsn(0), |entry| entry.lsn)
    }

    fn last_traced(&self) -> Lsn {
        self.traces.last_key_value().map_or(Lsn(0), |(lsn, _)| *lsn)
    }

    fn durable(&self) -> impl Iterator<Item = &Entry> {
        self.removed.iter().chain(self.frames[..self.frames_durable].iter().flatten())
    }
}

/// What survives a crash. Clones share it.
#[derive(Clone, Default)]
pub struct Disk {
    content: Arc<Mutex<Content>>,
    faults: Option<Faults>,
}

impl Disk {
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk on which `faults` says what goes wrong.
    pub fn with_faults(faults: Faults) -> Self {
        Disk { content: Arc::default(), faults: Some(faults) }
    }

    /// Loses what was not durable and does not survive.
    pub fn crash(&self, survivors: Survivors) {
        let mut content = self.content();
        let Survivors { frames, keys, traces } = survivors;
        let keys = content.keys_durable.saturating_add(keys).min(content.keys.len());
        content.keys.truncate(keys);
        content.keys_durable = keys;
        let wanted = content.frames_durable.saturating_add(frames).min(content.frames.len());
        let unsynced = &content.frames[content.frames_durable..wanted];
        let whole = unsynced.iter().take_while(|frame| frame.iter().all(|entry| entry.slot.0 as usize <= keys)).count();
        let kept = content.frames_durable + whole;
        content.frames.truncate(kept);
        content.frames_durable = kept;

        let unsynced = (Bound::Excluded(content.traced_durably), Bound::Unbounded);
        let lost = content.traces.range(unsynced).nth(traces).map(|(lsn, _)| *lsn);
        // Traces of records that are lost are cut with them.
        let lost = lost.unwrap_or(Lsn(u64::MAX)).min(content.last_lsn().next());
        content.traces.split_off(&lost);
        content.traced_durably = content.traced_durably.min(content.last_traced());
    }

    /// Recovery said that it will not ask for records before this one.
    pub fn released(&self) -> Lsn {
        self.content().released
    }

    /// Every durable record, released ones included, for checkers.
    pub fn durable_entries(&self) -> Vec<Entry> {
        self.content().durable().cloned().collect()
    }

    pub fn durable_count(&self) -> usize {
        self.content().durable().count()
    }

    /// Durable records but the first `count`.
    pub fn durable_entries_from(&self, count: usize) -> Vec<Entry> {
        self.content().durable().skip(count).cloned().collect()
    }

    /// A disk that lied: the last frame that was synced is gone.
    pub fn lose_synced_frame(&self) {
        let mut content = self.content();
        if content.frames.len() > 1 {
            content.frames.pop();
        }
        content.frames_durable = content.frames_durable.min(content.frames.len());
        let last = content.last_lsn().next();
        content.traces.split_off(&last);
    }

    /// Every row of the trace file, in log order.
    pub fn trace_rows(&self) -> Vec<TraceRow> {
        self.content().traces.values().cloned().collect()
    }

    /// Every trace, in log order.
    ///
    /// # Panics
    /// When a trace does not decode: the codec is broken then.
    pub fn traces(&self) -> Vec<(Lsn, Timestamp, Vec<engine::trace::Entry>)> {
        let decoded = self.trace_rows().into_iter().map(|row| {
            let entries = crate::codec::decode_trace(&row.body).expect("INVARIANT: a trace that was encoded decodes");
            (row.lsn, row.stamp, entries)
        });
        decoded.collect()
    }

    /// All rows of the store, for checkers.
    pub fn rows(&self) -> BTreeMap<(Keyspace, Vec<u8>), Vec<u8>> {
        self.content().rows.clone()
    }

    /// The store is moved away, and retention has kept the whole log.
    pub fn forget_state(&self) {
        let mut content = self.content();
        content.rows.clear();
        let removed: Vec<Vec<Entry>> = content.removed.drain(..).map(|entry| vec![entry]).collect();
        content.frames_durable += removed.len();
        content.frames.splice(0..0, removed);
        content.released = Lsn(0);
    }

    /// A disk with the whole log and an empty store: recovery from it replays everything.
    pub fn without_state(&self) -> Disk {
        let content = self.content();
        let frames: Vec<Vec<Entry>> = content.durable().map(|entry| vec![entry.clone()]).collect();
        let copy = Content {
            frames_durable: frames.len(),
            frames,
            keys: content.keys.clone(),
            keys_durable: content.keys.len(),
            ..Content::default()
        };
        Disk { content: Arc::new(Mutex::new(copy)), faults: None }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // NOTE: a panic under the lock is the test's own; what it left is looked at all the same.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, place: Place) -> Fault {
        self.faults.as_ref().map_or(Fault::None, |faults| faults(place))
    }
}

fn planned_failure() -> String {
    "the simulator said so".to_owned()
}

#[cfg(test)]
mod tests;
