//! Writes one stream, log or traces: frames into the segment that is open, then into the next.

use crate::disk::{self, failed};
use crate::frame::{Builder, FRAME_BYTES_MAX};
use crate::index::{Chains, Place};
use crate::keeper::PreparedPlace;
use crate::keys::Keys;
use crate::record::{Epoch, Kind};
use crate::segment::{self, Segment, Segments};
use crate::syncer::Target;
use model::{KeySlot, Lsn, Timestamp};
use ports::log::{Error, RecordRef};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// The segment that is being written.
pub(crate) struct Active {
    pub segment: Arc<Segment>,
    pub file: Arc<File>,
    pub end: u64,
    pub capacity: u64,
}

pub(crate) struct Writer {
    pub kind: Kind,
    pub directory: PathBuf,
    pub segment_bytes: u64,
    pub reserve_bytes: u64,
    pub epoch: Epoch,
    pub segments: Arc<Segments>,
    /// None while the stream is empty.
    pub active: Option<Active>,
    /// Where allocated files come from; None: the writer allocates its own.
    pub prepared: Option<PreparedPlace>,
    /// Of the last frame.
    pub sequence: u64,
    pub last_lsn: Lsn,
    pub last_stamp: Timestamp,
    /// The sequence of the last frame that is known to be synced.
    pub durable: Arc<AtomicU64>,
    pub builder: Builder,
    /// Records of the open segment that its index does not have yet.
    pub unindexed: Vec<Place>,
    /// What was written since the last sync was begun.
    pub unsynced: Vec<Written>,
    pub directory_changed: bool,
    /// A write was begun and did not end well: what is in the file is not known.
    pub is_torn: bool,
}

/// A segment that was written to.
#[derive(Clone)]
pub(crate) struct Written {
    pub segment: Arc<Segment>,
    pub file: Arc<File>,
    /// Records in its index, and where its frames end, when the sync was begun.
    pub records: usize,
    pub end: u64,
    pub is_closed: bool,
}

impl Writer {
    /// Appends one frame with all `records`, in one write.
    ///
    /// A failure leaves everything as it was, unless `is_torn` says otherwise.
    pub fn append<'a>(&mut self, records: impl Iterator<Item = RecordRef<'a>>, keys: &mut Keys) -> Result<(), Error> {
        let (mut places, mut last_lsn, mut last_stamp) = (Vec::new(), self.last_lsn, self.last_stamp);
        let mut first = None;
        self.builder.clear();
        for record in records {
            assert!(
                record.lsn > last_lsn,
                "lsn must rise: {} came after {last_lsn}, and its nonce may have been used",
                record.lsn
            );
            let key = keys.key(record.slot)?;
            let at = self.builder.push(self.kind, self.epoch, &record, key.as_ref());
            places.push((record.slot, at));
            (last_lsn, last_stamp) = (record.lsn, record.stamp);
            first.get_or_insert((record.lsn, record.stamp));
        }
        let Some((first_lsn, first_stamp)) = first else { return Ok(()) };
        let durable = self.durable.load(Ordering::Acquire);
        // NOTE: the buffer leaves the builder while `self` finds room for it.
        let mut builder = std::mem::take(&mut self.builder);
        let written = match builder.finish(self.kind, self.epoch, self.sequence + 1, durable) {
            Some(bytes) => self.write(bytes, first_lsn, first_stamp),
            None => {
                Err(Error::TooLarge { frame_bytes: builder.bytes() as u64, frame_bytes_max: FRAME_BYTES_MAX as u64 })
            }
        };
        self.builder = builder;
        let from = written?;
        self.unindexed.extend(places.into_iter().map(|(slot, at)| place(slot, from, at)));
        self.sequence += 1;
        (self.last_lsn, self.last_stamp) = (last_lsn, last_stamp);
        Ok(())
    }

    /// Writes a frame behind the last; answers where it begins.
    fn write(&mut self, frame: &[u8], first_lsn: Lsn, first_stamp: Timestamp) -> Result<u64, Error> {
        let frame_bytes = frame.len() as u64;
        let has_room = self.active.as_ref().is_some_and(|active| active.end + frame_bytes <= active.capacity);
        if !has_room {
            self.rotate(first_lsn, first_stamp, frame_bytes)?;
        }
        let Some(active) = &mut self.active else { unreachable!("INVARIANT: there is a segment after a rotation") };
        self.is_torn = true;
        let from = active.end;
        active.file.write_all_at(frame, from).map_err(failed(&active.segment.path, "writing a frame"))?;
        self.is_torn = false;
        active.end += frame_bytes;
        if self.unsynced.last().is_none_or(|written| !Arc::ptr_eq(&written.segment, &active.segment)) {
            let (segment, file) = (Arc::clone(&active.segment), Arc::clone(&active.file));
            self.unsynced.push(Written { segment, file, records: 0, end: 0, is_closed: false });
        }
        Ok(from)
    }

    /// Goes on in a new segment with room for `frame_bytes`.
    fn rotate(&mut self, first_lsn: Lsn, first_stamp: Timestamp, frame_bytes: u64) -> Result<(), Error> {
        let path = segment::path(self.kind, &self.directory, first_lsn);
        let (file, capacity) = self.new_file(&path, frame_bytes)?;
        self.directory_changed = true;
        self.index_written();
        self.close_active();
        let segment = Segment::open(self.kind, path, first_lsn, first_stamp, Chains::default(), 0);
        let segment = Arc::new(segment);
        self.segments.push(Arc::clone(&segment));
        self.active = Some(Active { segment, file: Arc::new(file), end: 0, capacity });
        Ok(())
    }

    fn new_file(&self, path: &std::path::Path, frame_bytes: u64) -> Result<(File, u64), Error> {
        let prepared = self.prepared.as_ref().map(|place| place.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(mut place) = prepared
            && let Some(ready) = place.take_if(|prepared| prepared.bytes >= frame_bytes)
        {
            std::fs::rename(&ready.path, path).map_err(failed(path, "naming the segment"))?;
            return Ok((ready.file, ready.bytes));
        }
        let capacity = self.segment_bytes.max(frame_bytes);
        let free_bytes = disk::free_bytes(&self.directory).map_err(failed(&self.directory, "asking for free space"))?;
        let needed_bytes = self.reserve_bytes.saturating_add(capacity);
        if free_bytes < needed_bytes {
            return Err(Error::Full { place: self.directory.display().to_string(), free_bytes, needed_bytes });
        }
        let file = disk::create(path).map_err(failed(path, "creating the segment"))?;
        match disk::allocate(&file, 0, capacity) {
            Ok(()) => Ok((file, capacity)),
            Err(error) => {
                disk::remove(path)?;
                Err(failed(path, "allocating the segment")(error))
            }
        }
    }

    fn close_active(&mut self) {
        let Some(Active { segment, file, end, .. }) = self.active.take() else { return };
        match self.unsynced.last_mut().filter(|written| Arc::ptr_eq(&written.segment, &segment)) {
            Some(written) => written.is_closed = true,
            None => self.unsynced.push(Written { segment, file, records: 0, end, is_closed: true }),
        }
    }

    /// Gives the records that were written to the index of the open segment, where nobody sees them yet.
    fn index_written(&mut self) {
        let Some(Active { segment, end, .. }) = &self.active else { return };
        let records = segment.index(self.unindexed.drain(..));
        if let Some(written) = self.unsynced.last_mut().filter(|written| Arc::ptr_eq(&written.segment, segment)) {
            (written.records, written.end) = (records, *end);
        }
    }

    /// What has to be synced for everything written to be durable.
    pub fn sync_targets(&mut self) -> Vec<Target> {
        let segments = self.unsynced.iter();
        let mut targets: Vec<Target> =
            segments.map(|written| Target::Segment(written.segment.path.clone(), Arc::clone(&written.file))).collect();
        if std::mem::take(&mut self.directory_changed) {
            targets.push(Target::Directory(self.directory.clone()));
        }
        targets
    }

    /// What readers may see once it is synced.
    pub fn take_written(&mut self) -> Vec<Written> {
        self.index_written();
        std::mem::take(&mut self.unsynced)
    }
}

fn place(slot: KeySlot, from: u64, at: usize) -> Place {
    let at = u32::try_from(from + at as u64).expect("INVARIANT: a segment is smaller than 4 GiB");
    Place { slot, at }
}
