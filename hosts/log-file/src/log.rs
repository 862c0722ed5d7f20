//! [`LogFile`]: the log of one machine.

use crate::disk::{self, damaged, failed};
use crate::frame::{Frame as FrameRead, NoFrame};
use crate::history::{LogReader, erased_or_open};
use crate::keeper::{House, Job, Keeper, PreparedPlace};
use crate::keys::{self, Cache, Keys, Secrets};
use crate::open::{Opening, any_segment};
use crate::record::Kind;
use crate::segment::Segment;
use crate::syncer::{Syncer, Target};
use crate::writer::{Writer, Written};
use crate::{OpenReport, Options, epoch};
use model::{KeySlot, Lsn, ProfileId, Timestamp};
use ports::log::{Entry, Error, Frame, Log, RecordRef, TraceRow};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// The log, its traces and its keys in a folder each. There must be one at a time: the host locks its data folder.
pub struct LogFile {
    options: Options,
    keys: Keys,
    log: Writer,
    traces: Writer,
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
        let epoch_path = options.log_dir.join("epoch");
        let last_epoch = epoch::read(&epoch_path)?;
        let has_segments = any_segment(Kind::Log, &options.log_dir)? || any_segment(Kind::Trace, &options.trace_dir)?;
        if has_segments && last_epoch.is_none() {
            return Err(damaged(&epoch_path, 0, "there are segments but the epoch file beside them is missing"));
        }
        let (keys, secrets, keys_cut) = keys::open(&options.keys_dir, last_epoch.is_none())?;
        if last_epoch.is_some_and(|(_, fingerprint)| fingerprint != secrets.fingerprint()) {
            return Err(damaged(
                &epoch_path,
                20,
                format!("the log was written under other keys than {}", keys.file.path().display()),
            ));
        }
        let epoch = epoch::raise(&epoch_path, last_epoch.map_or(0, |(number, _)| number), &secrets.fingerprint())?;

        let prepared = PreparedPlace::default();
        let opening = |kind, directory| Opening {
            kind,
            directory,
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            epoch,
            keys: &keys.file,
            lsn_max: None,
            prepared: None,
        };
        let log = Opening { prepared: Some(Arc::clone(&prepared)), ..opening(Kind::Log, &options.log_dir) };
        let (log, torn) = log.open()?;
        let traces = Opening { lsn_max: Some(log.last_lsn), ..opening(Kind::Trace, &options.trace_dir) };
        let (traces, torn_traces) = traces.open()?;

        let report = OpenReport {
            epoch: epoch.number(),
            segments: log.segments.all().len(),
            frames: log.sequence,
            last_lsn: log.last_lsn,
            last_stamp: log.last_stamp,
            last_traced: traces.last_lsn,
            keys: keys.file.written(),
            torn,
            torn_traces,
            keys_cut,
        };
        Ok((LogFile::start(options, keys, log, traces, prepared, secrets)?, report))
    }

    fn start(
        options: Options,
        keys: Keys,
        log: Writer,
        traces: Writer,
        prepared: PreparedPlace,
        secrets: Secrets,
    ) -> Result<Self, Error> {
        let house = House {
            options: options.clone(),
            log: Arc::clone(&log.segments),
            traces: Arc::clone(&traces.segments),
            prepared,
            traces_durable: Arc::clone(&traces.durable),
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
            Err(Error::Full { .. }) => self.log.is_torn,
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
        let new = rows.iter().filter(|row| row.lsn > last_traced);
        let records = new.map(|row| RecordRef {
            lsn: row.lsn,
            partition: row.partition,
            slot: row.slot,
            stamp: row.stamp,
            body: &row.body,
        });
        let appended = self.traces.append(records, &mut self.keys);
        // NOTE: a row that was half written is written over by the next: no frame is there until it is whole.
        appended?;
        let written = self.traces.take_written();
        for closed in written.iter().filter(|written| written.is_closed) {
            // The last frame of the closed segment is the one before the first of the open one.
            let sequence = self.traces.sequence.saturating_sub(1);
            self.keeper.ask(Job::SyncTraces { file: Arc::clone(&closed.file), sequence });
        }
        self.show(written);
        Ok(())
    }
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

    fn replay(&mut self, from: Lsn, visit: &mut dyn FnMut(Entry) -> Result<(), Error>) -> Result<(), Error> {
        let segments = self.log.segments.all();
        let start = segments.partition_point(|segment| segment.first_lsn <= from).saturating_sub(1);
        let mut sequence = None;
        for segment in &segments[start..] {
            replay_segment(segment, &mut self.keys, from, &mut sequence, visit)?;
        }
        Ok(())
    }

    fn release(&mut self, before: Lsn) {
        if let Some(active) = &self.traces.active {
            // What a checkpoint holds is not replayed: its traces must be on disk, as nobody makes them again.
            self.keeper.ask(Job::SyncTraces { file: Arc::clone(&active.file), sequence: self.traces.sequence });
        }
        self.keeper.ask(Job::Retain { released: before, now: self.log.last_stamp });
    }

    fn create_key(&mut self, profile: ProfileId) -> Result<KeySlot, Error> {
        self.check_running()?;
        let created = self.keys.create(profile);
        self.stop_if_failed(created)
    }

    fn profile_of(&self, slot: KeySlot) -> Option<ProfileId> {
        let profile = self.keys.profile_of(slot);
        profile.inspect_err(|error| tracing::error!(%error, slot = slot.0, "a key cannot be read")).ok().flatten()
    }

    fn append_traces(&mut self, rows: &[TraceRow]) -> Result<(), Error> {
        self.check_running()?;
        self.try_append_traces(rows)
    }
}

/// Visits the records of a segment from lsn `from` on. `sequence` is that of the frame before.
fn replay_segment(
    segment: &Segment,
    keys: &mut Keys,
    from: Lsn,
    sequence: &mut Option<u64>,
    visit: &mut dyn FnMut(Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(bytes) = segment.read()? else { return Ok(()) };
    let mut at = 0;
    loop {
        let damaged = |what: &str| damaged(&segment.path, at as u64, what);
        let frame = match FrameRead::read(segment.kind, &bytes[at..]) {
            Ok(frame) => frame,
            Err(NoFrame::Empty) => return Ok(()),
            Err(NoFrame::Bad(what)) => return Err(damaged(what)),
        };
        if sequence.is_some_and(|last| frame.header.sequence != last + 1) {
            return Err(damaged("the frames before this one are missing"));
        }
        *sequence = Some(frame.header.sequence);
        let wanted = frame.records.iter().filter(|record| record.sealed.header.lsn >= from);
        for record in wanted {
            let header = record.sealed.header;
            let body = erased_or_open(&record.sealed, segment.kind, keys.slot(header.slot)?).map_err(damaged)?;
            visit(Entry {
                lsn: header.lsn,
                partition: header.partition,
                slot: header.slot,
                stamp: header.stamp,
                body,
            })?;
        }
        at += frame.bytes;
    }
}
