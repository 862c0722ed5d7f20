//! [`LogFile`]: the log of one machine.

use crate::disk::{self, damaged, failed};
use crate::frame::{self, FRAME_BYTES_MAX};
use crate::history::LogReader;
use crate::keeper::{House, Job, Keeper, PreparedPlace};
use crate::keys::{self, Beside, Cache, Keys, Secrets};
use crate::open::{Opened, Opening, any_segment};
use crate::record::{Epoch, Kind};
use crate::replay::Replay;
use crate::syncer::{Syncer, Target};
use crate::writer::{Writer, Written};
use crate::{OpenReport, Options, epoch};
use model::{KeySlot, Lsn, ProfileId, Timestamp};
use ports::log::{Error, Frame, Log, RecordRef, TraceRow, TraceSync};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The log, its traces and its keys in a folder each. There must be one at a time: the host locks its data folder.
pub struct LogFile {
    options: Options,
    keys: Keys,
    log: Writer,
    traces: Writer,
    /// Where there are traces that cannot be read: the last row before the first of them.
    traces_readable_to: Option<Lsn>,
    /// What was written to the traces since a sync of them was last asked for.
    traces_unsynced: Vec<Target>,
    /// A sync of them failed, and is never repeated on the same data: no checkpoint is written until the log is opened
    /// anew.
    traces_unsyncable: Arc<AtomicBool>,
    log_syncer: Syncer,
    key_syncer: Syncer,
    syncing: Syncing,
    keeper: Keeper,
    reader: LogReader,
    secrets: Secrets,
    is_stopped: bool,
}

/// What is durable once the sync that was begun has ended well.
#[derive(Default)]
struct Syncing {
    sequence: u64,
    keys_written: u32,
    written: Vec<Written>,
}

impl LogFile {
    /// Opens the log, or begins one where there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`] names the file and the byte when something that was durable cannot be read: nothing is cut
    /// or written then, but for the number of the epoch.
    pub fn open(options: Options) -> Result<(LogFile, OpenReport), Error> {
        assert!(
            (1..=Options::SEGMENT_BYTES_MAX).contains(&options.segment_bytes),
            "segment_bytes is {}, expected 1 to {}",
            options.segment_bytes,
            Options::SEGMENT_BYTES_MAX
        );
        disk::create_directory(&options.log_dir)?;
        let (keys, epoch) = open_keys(&options)?;
        let keys::Opened { keys, secrets, cut: keys_cut, is_new: _ } = keys;

        let prepared = PreparedPlace::default();
        let log = Opening {
            kind: Kind::Log,
            directory: &options.log_dir,
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            epoch,
            keys: &keys.file,
            lsn_max: None,
            prepared: Some(Arc::clone(&prepared)),
        };
        let Opened { writer: log, torn, .. } = log.open()?;
        let traces = open_traces(&options, epoch, &keys, log.last_lsn)?;

        let report = OpenReport {
            epoch: epoch.number(),
            segments: log.segments.all().len(),
            frames: log.sequence,
            last_lsn: log.last_lsn,
            last_stamp: log.last_stamp,
            last_traced: traces.writer.last_lsn,
            keys: keys.file.written(),
            torn,
            torn_traces: traces.torn.clone(),
            unreadable_traces: traces.unreadable.clone(),
            keys_cut,
        };
        Ok((LogFile::start(options, keys, log, traces, prepared, secrets)?, report))
    }

    fn start(
        options: Options,
        keys: Keys,
        log: Writer,
        traces: Opened,
        prepared: PreparedPlace,
        secrets: Secrets,
    ) -> Result<Self, Error> {
        let Opened { writer: traces, readable_to: traces_readable_to, .. } = traces;
        let house = House {
            options: options.clone(),
            log: Arc::clone(&log.segments),
            traces: Arc::clone(&traces.segments),
            prepared,
        };
        let reader = LogReader {
            keys: Arc::clone(&keys.file),
            cache: Arc::new(Mutex::new(Cache::default())),
            log: Arc::clone(&log.segments),
            traces: Arc::clone(&traces.segments),
        };
        let started = failed_start(&options.log_dir);
        let log = LogFile {
            keeper: Keeper::start(house).map_err(started)?,
            log_syncer: Syncer::start("log-sync").map_err(failed_start(&options.log_dir))?,
            key_syncer: Syncer::start("key-sync").map_err(failed_start(&options.log_dir))?,
            options,
            keys,
            log,
            traces,
            traces_readable_to,
            traces_unsynced: Vec::new(),
            traces_unsyncable: Arc::default(),
            syncing: Syncing::default(),
            reader,
            secrets,
            is_stopped: false,
        };
        log.keeper.ask(Job::Prepare);
        for segments in [log.log.segments.all(), log.traces.segments.all()] {
            let closed = segments.split_last().map_or(&[][..], |(_, closed)| closed);
            for segment in closed.iter().filter(|segment| !segment.is_indexed()) {
                log.keeper.ask(Job::Close(Arc::clone(segment)));
            }
        }
        Ok(log)
    }

    /// Reads history beside the writer, from any thread.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// A secret that only this installation has, another one for each `purpose`: hashing identities, signing links.
    pub fn installation_secret(&self, purpose: &str) -> [u8; 32] {
        self.secrets.of(purpose)
    }

    /// Destroys the key of `slot` (P2): what was written under it reads as erased, here and in every copy of the log,
    /// and so does what is written under it later. It is gone from the key file when this returns.
    ///
    /// The caller makes sure that recovery needs nothing under it any more: a checkpoint that holds the erasure is
    /// durable (design §3).
    ///
    /// # Errors
    /// See [`Error`]; the log must be opened anew then, and the key may be gone or not.
    ///
    /// # Panics
    /// For the installation's slot.
    pub fn destroy_key(&mut self, slot: KeySlot) -> Result<(), Error> {
        self.check_running()?;
        let destroyed = self.keys.destroy(slot);
        // NOTE: after the file was overwritten: a reader that fills its cache in between is emptied here.
        self.reader.cache.lock().unwrap_or_else(PoisonError::into_inner).forget(slot);
        self.stop_if_failed(destroyed)
    }

    /// Changes [`Options::reserve_bytes`] while the log is open.
    pub fn reserve_bytes(&mut self, reserve_bytes: u64) {
        self.options.reserve_bytes = reserve_bytes;
        self.log.reserve_bytes = reserve_bytes;
        self.traces.reserve_bytes = reserve_bytes;
    }

    fn check_running(&self) -> Result<(), Error> {
        if self.is_stopped { Err(Error::Stopped) } else { Ok(()) }
    }

    /// After a failure the log is stopped; a full disk is none as long as nothing was written.
    fn stop_if_failed<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.is_stopped |= match &result {
            Ok(_) => false,
            Err(Error::Full { .. } | Error::TooLarge { .. }) => self.log.is_torn,
            Err(Error::Io { .. } | Error::Damaged { .. } | Error::Stopped) => true,
        };
        result
    }

    fn check_room(&self) -> Result<(), Error> {
        let Options { log_dir, reserve_bytes, .. } = &self.options;
        let free_bytes = disk::free_bytes(log_dir).map_err(failed(log_dir, "asking for free space"))?;
        if free_bytes < *reserve_bytes {
            let place = log_dir.display().to_string();
            return Err(Error::Full { place, free_bytes, needed_bytes: *reserve_bytes });
        }
        Ok(())
    }

    fn try_append(&mut self, frame: &Frame) -> Result<(), Error> {
        self.check_room()?;
        check_size(frame)?;
        self.keys.flush()?;
        let segments_before = self.log.active.as_ref().map(|active| active.segment.first_lsn);
        self.log.append(frame.iter(), &mut self.keys)?;
        if self.log.active.as_ref().map(|active| active.segment.first_lsn) != segments_before {
            self.keeper.ask(Job::Prepare);
        }
        Ok(())
    }

    fn try_begin_sync(&mut self) -> Result<(), Error> {
        let keys_written = self.keys.file.written();
        let keys = if self.keys.is_unsynced() { vec![Target::Keys(Arc::clone(&self.keys.file))] } else { Vec::new() };
        self.key_syncer.begin(keys)?;
        self.log_syncer.begin(self.log.sync_targets())?;
        // While the disk syncs, the index takes up what it syncs.
        self.syncing = Syncing { sequence: self.log.sequence, keys_written, written: self.log.take_written() };
        Ok(())
    }

    fn try_finish_sync(&mut self) -> Result<(), Error> {
        // NOTE: both are waited for in any case.
        let (log, keys) = (self.log_syncer.finish(), self.key_syncer.finish());
        log.and(keys)?;
        let Syncing { sequence, keys_written, written } = std::mem::take(&mut self.syncing);
        self.keys.synced(keys_written);
        self.log.durable.fetch_max(sequence, Ordering::AcqRel);
        self.show(written);
        Ok(())
    }

    fn show(&self, written: Vec<Written>) {
        for Written { segment, records, end, is_closed, .. } in written {
            segment.show(records, end);
            if is_closed {
                self.keeper.ask(Job::Close(segment));
            }
        }
    }

    fn try_append_traces(&mut self, rows: &[TraceRow]) -> Result<(), Error> {
        self.check_room()?;
        let last_traced = self.traces.last_lsn;
        let mut rows = &rows[rows.partition_point(|row| row.lsn <= last_traced)..];
        while !rows.is_empty() {
            let (frame, rest) = rows.split_at(rows_per_frame(rows));
            self.append_trace_frame(frame)?;
            rows = rest;
        }
        Ok(())
    }

    fn append_trace_frame(&mut self, rows: &[TraceRow]) -> Result<(), Error> {
        let records = rows.iter().map(|row| {
            let TraceRow { lsn, partition, slot, stamp, body } = row;
            RecordRef { lsn: *lsn, partition: *partition, slot: *slot, stamp: *stamp, body }
        });
        self.traces.append(records, &mut self.keys)?;
        for target in self.traces.sync_targets() {
            if self.traces_unsynced.iter().all(|held| held.path() != target.path()) {
                self.traces_unsynced.push(target);
            }
        }
        let written = self.traces.take_written();
        self.show(written);
        Ok(())
    }

    /// Cuts the traces where what cannot be read begins, as far as a replay from `from` on makes them again.
    fn cut_unreadable_traces(&mut self, from: Lsn) -> Result<(), Error> {
        let Some(readable_to) = self.traces_readable_to.take() else { return Ok(()) };
        let made_again_after = readable_to.max(Lsn(from.0.saturating_sub(1)));
        if self.traces.last_lsn <= made_again_after {
            return Ok(());
        }
        tracing::warn!(after = %made_again_after, "traces are made again, for some of them cannot be read");
        let Opened { mut writer, .. } = open_traces(&self.options, self.traces.epoch, &self.keys, made_again_after)?;
        // Keeper and readers know the list, which stays the same.
        self.traces.segments.replace(writer.segments.all());
        writer.segments = Arc::clone(&self.traces.segments);
        self.traces = writer;
        self.traces_unsynced.clear();
        Ok(())
    }
}

/// Opens the keys, and begins an epoch in which no nonce was used under them.
fn open_keys(options: &Options) -> Result<(keys::Opened, Epoch), Error> {
    let beside_keys = options.keys_dir.join("epoch");
    let beside_log = options.log_dir.join("epoch");
    let (of_keys, of_log) = (epoch::read(&beside_keys)?, epoch::read(&beside_log)?);
    let has_segments = any_segment(Kind::Log, &options.log_dir)? || any_segment(Kind::Trace, &options.trace_dir)?;
    let beside = match (of_log, of_keys) {
        (None, _) if has_segments => {
            return Err(damaged(&beside_log, 0, "there are segments but the epoch file beside them is missing"));
        }
        (Some(_), _) => Beside::Log,
        (None, Some(_)) => Beside::Epoch,
        (None, None) => Beside::Nothing,
    };
    let opened = keys::open(&options.keys_dir, beside)?;
    let fingerprint = opened.secrets.fingerprint();
    for (path, held) in [(&beside_log, of_log), (&beside_keys, of_keys)] {
        if held.is_some_and(|held| held.keys != fingerprint) && !opened.is_new {
            let keys = opened.keys.file.path().display();
            return Err(damaged(path, 20, format!("it was written under other keys than {keys}")));
        }
    }
    let last = [of_log, of_keys].into_iter().flatten().map(|held| held.number).max().unwrap_or(0);
    let epoch = epoch::raise(&beside_keys, &beside_log, last, &fingerprint)?;
    Ok((opened, epoch))
}

/// Opens the traces, without those of records behind `lsn_max`.
fn open_traces(options: &Options, epoch: Epoch, keys: &Keys, lsn_max: Lsn) -> Result<Opened, Error> {
    let opening = Opening {
        kind: Kind::Trace,
        directory: &options.trace_dir,
        segment_bytes: options.segment_bytes,
        reserve_bytes: options.reserve_bytes,
        epoch,
        keys: &keys.file,
        lsn_max: Some(lsn_max),
        prepared: None,
    };
    opening.open()
}

/// How many of `rows`, of which there is one, go into one frame: replay offers those of its whole tail at once.
fn rows_per_frame(rows: &[TraceRow]) -> usize {
    const BYTES_MAX: usize = 1 << 20;
    let mut bytes = 0;
    let fits = |row: &&TraceRow| {
        bytes += row.body.len();
        bytes <= BYTES_MAX
    };
    rows.iter().take_while(fits).count().max(1)
}

/// Whether the frame fits, before anything of it is written.
fn check_size(frame: &Frame) -> Result<(), Error> {
    let (frame_bytes, frame_bytes_max) = (frame::bytes_at_most(frame), FRAME_BYTES_MAX as u64);
    if frame_bytes > frame_bytes_max {
        return Err(Error::TooLarge { frame_bytes, frame_bytes_max });
    }
    Ok(())
}

#[cfg(test)]
impl LogFile {
    /// Waits until the keeper has nothing left to do.
    pub(crate) fn keeper_settled(&self) {
        self.keeper.settle();
    }

    /// Of which records there are rows of `slot`, newest first.
    pub(crate) fn traces_of(&self, slot: KeySlot) -> Vec<Lsn> {
        let segments = self.traces.segments.all();
        let rows = segments.iter().map(|segment| {
            let bytes = segment.read().unwrap().unwrap();
            let at = segment.find(slot).unwrap();
            at.into_iter().map(move |at| Lsn(u64::from_le_bytes(disk::array(&bytes, at as usize)))).collect::<Vec<_>>()
        });
        rows.flatten().collect::<Vec<_>>().into_iter().rev().collect()
    }
}

fn failed_start(directory: &Path) -> impl FnOnce(std::io::Error) -> Error {
    failed(directory, "starting a thread")
}

impl Log for LogFile {
    fn last_lsn(&self) -> Lsn {
        self.log.last_lsn
    }

    fn last_stamp(&self) -> Timestamp {
        self.log.last_stamp
    }

    fn last_traced(&self) -> Lsn {
        self.traces.last_lsn
    }

    fn room(&mut self) -> Result<(), Error> {
        self.check_running()?;
        self.check_room()
    }

    fn append(&mut self, frame: &Frame) -> Result<(), Error> {
        self.check_running()?;
        let appended = self.try_append(frame);
        self.stop_if_failed(appended)
    }

    fn begin_sync(&mut self) -> Result<(), Error> {
        self.check_running()?;
        let begun = self.try_begin_sync();
        self.is_stopped |= begun.is_err();
        begun
    }

    fn finish_sync(&mut self) -> Result<(), Error> {
        self.check_running()?;
        let finished = self.try_finish_sync();
        self.is_stopped |= finished.is_err();
        finished
    }

    fn replay(&mut self, from: Lsn) -> Result<ports::log::Replay, Error> {
        self.cut_unreadable_traces(from)?;
        let segments = self.log.segments.all();
        if let Some(oldest) = segments.first().filter(|oldest| from != Lsn(0) && from < oldest.first_lsn) {
            let what = format!("the records before {} are gone, and those from {from} on are needed", oldest.first_lsn);
            return Err(damaged(&oldest.path, 0, what));
        }
        Ok(Box::new(Replay::new(segments, Arc::clone(&self.keys.file), from)))
    }

    fn release(&mut self, before: Lsn) {
        self.keeper.ask(Job::Retain { released: before, now: self.log.last_stamp });
    }

    fn create_key(&mut self, profile: ProfileId) -> Result<KeySlot, Error> {
        self.check_running()?;
        let created = self.keys.create(profile);
        self.stop_if_failed(created)
    }

    fn profile_of(&self, slot: KeySlot) -> Result<Option<ProfileId>, Error> {
        self.keys.profile_of(slot)
    }

    fn append_traces(&mut self, rows: &[TraceRow]) -> Result<(), Error> {
        self.check_running()?;
        // NOTE: a frame that was half written is written over by the next: none is there until it is whole.
        self.try_append_traces(rows)
    }

    fn sync_traces(&mut self) -> TraceSync {
        let targets = std::mem::take(&mut self.traces_unsynced);
        let (sequence, durable) = (self.traces.sequence, Arc::clone(&self.traces.durable));
        let unsyncable = Arc::clone(&self.traces_unsyncable);
        TraceSync::new(move || {
            if unsyncable.load(Ordering::Acquire) {
                return Err(Error::Stopped);
            }
            let synced = targets.iter().try_for_each(Target::sync);
            match &synced {
                Ok(()) => drop(durable.fetch_max(sequence, Ordering::AcqRel)),
                Err(_) => unsyncable.store(true, Ordering::Release),
            }
            synced
        })
    }
}
