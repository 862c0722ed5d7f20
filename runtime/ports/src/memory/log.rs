//! The log in memory.

use super::{Content, Disk, Fault, Place, planned_failure};
use crate::log::{Body, Entry, Error, Frame, History, Log, Moment, Replay, TraceRow, TraceSync};
use model::{KeySlot, Lsn, ProfileId, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct MemoryLog {
    disk: Disk,
    stopped: bool,
    syncing: Option<Written>,
    /// A sync of them failed: no checkpoint is written until the log is opened anew.
    traces_unsyncable: Arc<AtomicBool>,
}

/// What was written when a sync was begun: all that it makes durable.
#[derive(Clone, Copy)]
struct Written {
    frames: usize,
    keys: usize,
}

impl Disk {
    /// Opens the log. What is found is made durable before anyone reads it, as by the host: after a process was
    /// killed, and the machine was not, it is all that was written.
    pub fn open_log(&self) -> MemoryLog {
        let mut content = self.content();
        content.frames_durable = content.frames.len();
        content.keys_durable = content.keys.len();
        drop(content);
        MemoryLog { disk: self.clone(), stopped: false, syncing: None, traces_unsyncable: Arc::default() }
    }

    /// Does `act`, or what the faults say instead.
    fn guarded(&self, place: Place, act: impl FnOnce(&mut Content)) -> Result<(), Error> {
        let fault = self.fault(place);
        if matches!(fault, Fault::None | Fault::FailAfter) {
            act(&mut self.content());
        }
        match fault {
            Fault::None => Ok(()),
            Fault::FailBefore | Fault::FailAfter => Err(failure()),
            Fault::Full => Err(full()),
        }
    }
}

fn full() -> Error {
    Error::Full { place: "memory".into(), free_bytes: 0, needed_bytes: 1 }
}

fn failure() -> Error {
    Error::Io { place: "memory".into(), doing: "a planned failure", source: std::io::Error::other(planned_failure()) }
}

impl MemoryLog {
    /// Does `act`, or fails; the log stops as [`Error`] says.
    fn try_to(&mut self, place: Place, act: impl FnOnce(&mut Content)) -> Result<(), Error> {
        self.check_running()?;
        let done = self.disk.guarded(place, act);
        self.stopped = match (&done, place) {
            (Ok(()), _) => false,
            (Err(Error::Full { .. } | Error::TooLarge { .. }), Place::Append | Place::CreateKey) => false,
            (Err(_), _) => true,
        };
        done
    }

    fn check_running(&self) -> Result<(), Error> {
        if self.stopped { Err(Error::Stopped) } else { Ok(()) }
    }
}

impl Log for MemoryLog {
    fn last_lsn(&self) -> Lsn {
        self.disk.content().last_lsn()
    }

    fn last_stamp(&self) -> Timestamp {
        self.disk.content().last().map_or(Timestamp::EPOCH, |entry| entry.stamp)
    }

    fn last_traced(&self) -> Lsn {
        self.disk.content().last_traced()
    }

    fn room(&mut self) -> Result<(), Error> {
        self.check_running()?;
        match self.disk.fault(Place::Room) {
            Fault::None => Ok(()),
            Fault::FailBefore | Fault::FailAfter | Fault::Full => Err(full()),
        }
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
        self.try_to(Place::Append, |content| content.frames.push(entries))
    }

    fn begin_sync(&mut self) -> Result<(), Error> {
        assert!(self.syncing.is_none(), "a sync was begun before the last one was waited for");
        let mut written = None;
        self.try_to(Place::BeginSync, |content| {
            written = Some(Written { frames: content.frames.len(), keys: content.keys.len() });
        })?;
        self.syncing = written;
        Ok(())
    }

    fn finish_sync(&mut self) -> Result<(), Error> {
        let begun = self.syncing.take();
        self.try_to(Place::FinishSync, |content| {
            let Some(Written { frames, keys }) = begun else { return };
            content.frames_durable = content.frames_durable.max(frames);
            content.keys_durable = content.keys_durable.max(keys);
        })
    }

    fn replay(&mut self, from: Lsn) -> Result<Replay, Error> {
        self.disk.guarded(Place::Replay, |_| {})?;
        let content = self.disk.content();
        let removed = content.removed.last().map_or(Lsn(0), |entry| entry.lsn);
        if from != Lsn(0) && from <= removed {
            let what = format!("records up to {removed} were removed, and {from} is asked for");
            return Err(Error::Damaged { place: "memory".into(), at_byte: 0, what });
        }
        let entries = content.frames.iter().flatten().filter(|entry| entry.lsn >= from);
        Ok(Box::new(entries.cloned().map(Ok).collect::<Vec<_>>().into_iter()))
    }

    /// Removes whole frames below, as a host removes whole segments: who releases too much does not open again.
    fn release(&mut self, before: Lsn) {
        let mut content = self.disk.content();
        content.released = content.released.max(before);
        let frames = content.frames[..content.frames_durable].iter();
        let gone = frames.take_while(|frame| frame.last().is_none_or(|entry| entry.lsn < before)).count();
        // The last frame stays: it says where lsn and stamps go on.
        let gone = gone.min(content.frames_durable.saturating_sub(1));
        let removed: Vec<Entry> = content.frames.drain(..gone).flatten().collect();
        content.removed.extend(removed);
        content.frames_durable -= gone;
    }

    fn create_key(&mut self, profile: ProfileId) -> Result<KeySlot, Error> {
        let mut slot = KeySlot::default();
        self.try_to(Place::CreateKey, |content| {
            content.keys.push(profile);
            slot = KeySlot(u32::try_from(content.keys.len()).expect("INVARIANT: a simulation has few profiles"));
        })?;
        Ok(slot)
    }

    fn profile_of(&self, slot: KeySlot) -> Result<Option<ProfileId>, Error> {
        self.disk.guarded(Place::ProfileOf, |_| {})?;
        let at = (slot.0 as usize).checked_sub(1);
        Ok(at.and_then(|at| self.disk.content().keys.get(at).copied()))
    }

    /// # Panics
    /// When rows do not ascend.
    fn append_traces(&mut self, rows: &[TraceRow]) -> Result<(), Error> {
        self.check_running()?;
        assert!(rows.is_sorted_by(|row, next| row.lsn < next.lsn), "trace rows must ascend");
        let last_traced = self.last_traced();
        let new: Vec<TraceRow> = rows.iter().filter(|row| row.lsn > last_traced).cloned().collect();
        self.disk.guarded(Place::AppendTraces, |content| {
            content.traces.extend(new.into_iter().map(|row| (row.lsn, row)));
        })
    }

    fn sync_traces(&mut self) -> TraceSync {
        let (disk, written) = (self.disk.clone(), self.last_traced());
        let unsyncable = Arc::clone(&self.traces_unsyncable);
        TraceSync::new(move || {
            if unsyncable.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let synced = disk.guarded(Place::SyncTraces, |content| {
                content.traced_durably = content.traced_durably.max(written);
            });
            unsyncable.fetch_or(synced.is_err(), Ordering::Relaxed);
            synced
        })
    }
}

impl History for Disk {
    fn of_profile(&self, slot: KeySlot, before: Option<Lsn>, limit: usize) -> Result<Vec<Moment>, Error> {
        let content = self.content();
        // A host keeps what was released for a while: the history shows it still.
        let held = content.frames[..content.frames_durable].iter().flatten();
        let entries = content.removed.iter().chain(held).rev();
        let wanted = entries.filter(|entry| entry.slot == slot && before.is_none_or(|before| entry.lsn < before));
        let moments = wanted.take(limit).map(|entry| Moment {
            entry: entry.clone(),
            trace: content.traces.get(&entry.lsn).map(|row| row.body.clone()),
        });
        Ok(moments.collect())
    }
}
