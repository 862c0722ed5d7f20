//! In-memory ports with faults, for the simulator and for journey tests. One thread, no clock, no chance: what goes
//! wrong is said from outside.
//!
//! A [`Disk`] outlives the process it plays: after a crash it is opened again and holds what was durable, and of the
//! log what the caller lets survive of the frames that were written but not yet synced.

use crate::log::{Body, Entry, Error, Frame, History, Log, Moment, TraceRow};
use crate::state::{self, Keyspace, Row, Scan, State};
use model::{KeySlot, Lsn, ProfileId, Timestamp};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A place where something can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Append,
    BeginSync,
    FinishSync,
    CreateKey,
    AppendTraces,
    StateWrite,
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

#[derive(Default)]
struct Content {
    frames: Vec<Vec<Entry>>,
    /// So many of the frames are durable.
    frames_durable: usize,
    keys: Vec<ProfileId>,
    keys_durable: usize,
    traces: BTreeMap<Lsn, TraceRow>,
    /// Traces up to here are durable: a checkpoint holds their records, nobody makes them again.
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

    /// The process ends: of the frames that were not durable the first `frames_kept` survive, and all traces after
    /// the last of them are lost.
    pub fn crash(&self, frames_kept: usize) {
        let mut content = self.content();
        let kept = (content.frames_durable + frames_kept).min(content.frames.len());
        content.frames.truncate(kept);
        content.frames_durable = kept;
        // A frame whose key is gone is torn: the host cuts it. Here the keys of what survives survive.
        let slots = content.frames.iter().flatten().map(|entry| entry.slot.0 as usize).max().unwrap_or(0);
        let keys = content.keys_durable.max(slots);
        content.keys.truncate(keys);
        content.keys_durable = content.keys.len();
        let last = content.last_lsn();
        content.traces.retain(|lsn, _| *lsn <= last);
        content.traced_durably = content.traced_durably.min(last);
    }

    /// Traces are written unsynced: of those that a crash can take, the first `kept` survive it.
    pub fn lose_traces(&self, kept: usize) {
        let mut content = self.content();
        let unsynced = (Bound::Excluded(content.traced_durably), Bound::Unbounded);
        let lost = content.traces.range(unsynced).nth(kept).map(|(lsn, _)| *lsn);
        if let Some(lost) = lost {
            content.traces.split_off(&lost);
        }
    }

    /// Recovery said that it will not ask for records before this one.
    pub fn released(&self) -> Lsn {
        self.content().released
    }

    /// Every durable record, for checkers.
    pub fn durable_entries(&self) -> Vec<Entry> {
        let content = self.content();
        content.frames[..content.frames_durable].iter().flatten().cloned().collect()
    }

    /// Every trace, in log order.
    ///
    /// # Panics
    /// When a trace does not decode: the codec is broken then.
    pub fn traces(&self) -> Vec<(Lsn, Timestamp, Vec<engine::trace::Entry>)> {
        let rows = self.content().traces.values().cloned().collect::<Vec<_>>();
        let decoded = rows.into_iter().map(|row| {
            let entries = crate::codec::decode_trace(&row.body).expect("INVARIANT: a trace that was encoded decodes");
            (row.lsn, row.stamp, entries)
        });
        decoded.collect()
    }

    /// All rows of the store, for checkers.
    pub fn rows(&self) -> BTreeMap<(Keyspace, Vec<u8>), Vec<u8>> {
        self.content().rows.clone()
    }

    /// A disk with the same log and an empty store: recovery from it replays everything.
    pub fn without_state(&self) -> Disk {
        let content = self.content();
        let copy = Content {
            frames: content.frames[..content.frames_durable].to_vec(),
            frames_durable: content.frames_durable,
            keys: content.keys.clone(),
            keys_durable: content.keys.len(),
            ..Content::default()
        };
        Disk { content: Arc::new(Mutex::new(copy)), faults: None }
    }

    /// Opens the log. What is found is made durable before anyone reads it, as by the host: after a process was
    /// killed, and the machine was not, it is all that was written.
    pub fn open_log(&self) -> MemoryLog {
        let mut content = self.content();
        content.frames_durable = content.frames.len();
        content.keys_durable = content.keys.len();
        drop(content);
        MemoryLog { disk: self.clone(), stopped: false, syncing: None }
    }

    pub fn open_state(&self) -> MemoryState {
        MemoryState { disk: self.clone() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // NOTE: a panic under the lock is the test's own; what it left is looked at all the same.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, place: Place) -> Fault {
        self.faults.as_ref().map_or(Fault::None, |faults| faults(place))
    }
}

pub struct MemoryLog {
    disk: Disk,
    stopped: bool,
    syncing: Option<Written>,
}

/// What was written when a sync was begun: all that it makes durable.
#[derive(Clone, Copy)]
struct Written {
    frames: usize,
    keys: usize,
}

impl MemoryLog {
    fn guarded(&mut self, place: Place, act: impl FnOnce(&mut Content)) -> Result<(), Error> {
        if self.stopped {
            return Err(Error::Stopped);
        }
        let failure = || Error::Io {
            place: "memory".into(),
            doing: "a planned failure",
            source: std::io::Error::other("the simulator said so"),
        };
        let fault = self.disk.fault(place);
        self.stopped = stops(place, fault);
        match fault {
            Fault::None => {
                act(&mut self.disk.content());
                Ok(())
            }
            Fault::FailBefore => Err(failure()),
            Fault::FailAfter => {
                act(&mut self.disk.content());
                Err(failure())
            }
            Fault::Full => Err(Error::Full { place: "memory".into(), free_bytes: 0, needed_bytes: 1 }),
        }
    }
}

/// Whether the log must be opened anew after a fault (see [`Error`]).
fn stops(place: Place, fault: Fault) -> bool {
    match (place, fault) {
        (_, Fault::None) | (Place::AppendTraces, _) => false,
        (_, Fault::FailBefore | Fault::FailAfter) => true,
        (Place::BeginSync | Place::FinishSync, Fault::Full) => true,
        (Place::Append | Place::CreateKey | Place::StateWrite, Fault::Full) => false,
    }
}

impl Log for MemoryLog {
    fn last_lsn(&self) -> Lsn {
        self.disk.content().last_lsn()
    }

    fn last_stamp(&self) -> Timestamp {
        self.disk.content().last().map_or(Timestamp::MIN, |entry| entry.stamp)
    }

    fn last_traced(&self) -> Lsn {
        self.disk.content().last_traced()
    }

    /// # Panics
    /// When a record's lsn does not rise, or nobody drew the key of its slot: no log can hold such a record.
    fn append(&mut self, frame: &Frame) -> Result<(), Error> {
        let (mut last, keys) = (self.last_lsn(), self.disk.content().keys.len());
        for record in frame.iter() {
            assert!(record.lsn > last, "lsn must rise: {} came after {last}", record.lsn);
            assert!(record.slot.0 as usize <= keys, "record {} has no key: {:?}", record.lsn, record.slot);
            last = record.lsn;
        }
        let entries: Vec<Entry> = frame
            .iter()
            .map(|record| Entry {
                lsn: record.lsn,
                partition: record.partition,
                slot: record.slot,
                stamp: record.stamp,
                body: Body::Command(record.body.to_vec()),
            })
            .collect();
        self.guarded(Place::Append, |content| content.frames.push(entries))
    }

    fn begin_sync(&mut self) -> Result<(), Error> {
        assert!(self.syncing.is_none(), "a sync was begun before the last one was waited for");
        let mut written = None;
        self.guarded(Place::BeginSync, |content| {
            written = Some(Written { frames: content.frames.len(), keys: content.keys.len() });
        })?;
        self.syncing = written;
        Ok(())
    }

    fn finish_sync(&mut self) -> Result<(), Error> {
        let begun = self.syncing.take();
        self.guarded(Place::FinishSync, |content| {
            let Some(Written { frames, keys }) = begun else { return };
            content.frames_durable = content.frames_durable.max(frames);
            content.keys_durable = content.keys_durable.max(keys);
        })
    }

    fn replay(&mut self, from: Lsn, visit: &mut dyn FnMut(Entry) -> Result<(), Error>) -> Result<(), Error> {
        let entries = self.disk.content().frames.iter().flatten().cloned().collect::<Vec<_>>();
        entries.into_iter().filter(|entry| entry.lsn >= from).try_for_each(visit)
    }

    fn release(&mut self, before: Lsn) {
        let mut content = self.disk.content();
        content.released = before;
        content.traced_durably = content.last_traced();
    }

    fn create_key(&mut self, profile: ProfileId) -> Result<KeySlot, Error> {
        let mut slot = KeySlot::default();
        self.guarded(Place::CreateKey, |content| {
            content.keys.push(profile);
            slot = KeySlot(u32::try_from(content.keys.len()).expect("INVARIANT: a simulation has few profiles"));
        })?;
        Ok(slot)
    }

    fn profile_of(&self, slot: KeySlot) -> Option<ProfileId> {
        let at = usize::try_from(slot.0).ok()?.checked_sub(1)?;
        self.disk.content().keys.get(at).copied()
    }

    fn append_traces(&mut self, rows: &[TraceRow]) -> Result<(), Error> {
        let rows = rows.to_vec();
        self.guarded(Place::AppendTraces, |content| {
            content.traces.extend(rows.into_iter().map(|row| (row.lsn, row)));
        })
    }
}

impl History for Disk {
    fn of_profile(&self, slot: KeySlot, before: Option<Lsn>, limit: usize) -> Result<Vec<Moment>, Error> {
        let content = self.content();
        let entries = content.frames[..content.frames_durable].iter().flatten().rev();
        let wanted = entries.filter(|entry| entry.slot == slot && before.is_none_or(|before| entry.lsn < before));
        let moments = wanted.take(limit).map(|entry| Moment {
            entry: entry.clone(),
            trace: content.traces.get(&entry.lsn).map(|row| row.body.clone()),
        });
        Ok(moments.collect())
    }
}

pub struct MemoryState {
    disk: Disk,
}

impl State for MemoryState {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, state::Error> {
        Ok(self.disk.content().rows.get(&(keyspace, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut state::Visit<'_>,
    ) -> Result<(), state::Error> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = {
            let content = self.disk.content();
            let from = after.map_or(prefix, |after| after.max(prefix)).to_vec();
            let from = content.rows.range((keyspace, from)..);
            let within = from.take_while(|((held, key), _)| *held == keyspace && key.starts_with(prefix));
            within.map(|((_, key), value)| (key.clone(), value.clone())).collect()
        };
        for (key, value) in rows {
            if after.is_some_and(|after| key.as_slice() <= after) {
                continue;
            }
            if visit(&key, &value)? == Scan::Stop {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, rows: Vec<Row>) -> Result<(), state::Error> {
        let fault = self.disk.fault(Place::StateWrite);
        if matches!(fault, Fault::None | Fault::FailAfter) {
            let mut content = self.disk.content();
            for Row { keyspace, key, value } in rows {
                match value {
                    Some(value) => content.rows.insert((keyspace, key), value),
                    None => content.rows.remove(&(keyspace, key)),
                };
            }
        }
        match fault {
            Fault::None => Ok(()),
            Fault::FailBefore | Fault::FailAfter | Fault::Full => {
                Err(state::Error::Io { doing: "a write", why: "the simulator said so".into() })
            }
        }
    }
}

#[cfg(test)]
mod tests;
