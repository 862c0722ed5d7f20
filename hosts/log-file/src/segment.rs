//! Segments as everyone sees them: writer, keeper and readers share the list.

use crate::disk::{self, damaged, failed};
use crate::frame::{self, Frame, NoFrame};
use crate::index::{self, Chains, Place, Unusable};
use crate::record::Kind;
use model::{KeySlot, Lsn, Timestamp};
use ports::log::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

impl Kind {
    pub fn extension(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::Trace => "trace",
        }
    }
}

/// One file of frames.
#[derive(Debug)]
pub(crate) struct Segment {
    pub kind: Kind,
    pub path: PathBuf,
    pub first_lsn: Lsn,
    pub first_stamp: Timestamp,
    /// Frames behind this byte may not be read yet.
    visible_end: AtomicU64,
    index: RwLock<Index>,
}

#[derive(Debug)]
enum Index {
    Chains(Chains),
    /// In its file, if that is whole.
    File,
}

pub(crate) fn path(kind: Kind, directory: &Path, first_lsn: Lsn) -> PathBuf {
    directory.join(format!("{first_lsn:020}.{}", kind.extension(), first_lsn = first_lsn.0))
}

impl Segment {
    /// One that is being written.
    pub fn open(kind: Kind, path: PathBuf, first_lsn: Lsn, first_stamp: Timestamp, chains: Chains, end: u64) -> Self {
        let index = RwLock::new(Index::Chains(chains));
        Segment { kind, path, first_lsn, first_stamp, visible_end: AtomicU64::new(end), index }
    }

    /// One that was closed.
    pub fn closed(kind: Kind, path: PathBuf, first_lsn: Lsn, first_stamp: Timestamp) -> Self {
        let (visible_end, index) = (AtomicU64::new(u64::MAX), RwLock::new(Index::File));
        Segment { kind, path, first_lsn, first_stamp, visible_end, index }
    }

    pub fn index_path(&self) -> PathBuf {
        self.path.with_extension("idx")
    }

    /// Takes up records that are written; they are not shown yet. Answers how many there are now.
    pub fn index(&self, places: impl Iterator<Item = Place>) -> usize {
        match &mut *self.index.write().unwrap_or_else(PoisonError::into_inner) {
            Index::Chains(chains) => {
                places.for_each(|place| chains.push(place));
                chains.len()
            }
            Index::File => unreachable!("INVARIANT: only a segment that is being written gets records"),
        }
    }

    /// Lets readers see the first `records`, which end at byte `end`.
    pub fn show(&self, records: usize, end: u64) {
        self.visible_end.fetch_max(end, Ordering::AcqRel);
        match &mut *self.index.write().unwrap_or_else(PoisonError::into_inner) {
            Index::Chains(chains) => chains.show(records),
            Index::File => {}
        }
    }

    /// The visible bytes of it, or None if retention has removed it.
    pub fn read(&self) -> Result<Option<Vec<u8>>, Error> {
        use std::io::Read;
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed(&self.path, "opening the segment"))?,
        };
        let mut bytes = Vec::new();
        let mut visible = file.take(self.visible_end.load(Ordering::Acquire));
        visible.read_to_end(&mut bytes).map_err(failed(&self.path, "reading the segment"))?;
        Ok(Some(bytes))
    }

    /// Where the records of `slot` begin, in order.
    pub fn find(&self, slot: KeySlot) -> Result<Vec<u32>, Error> {
        if let Index::Chains(chains) = &*self.index.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(chains.find(slot));
        }
        match self.find_in_file(slot) {
            Ok(places) => Ok(places),
            Err(Unusable::Bad) => {
                self.reindex()?;
                self.find_in_file(slot).map_err(|unusable| match unusable {
                    Unusable::Bad => damaged(&self.index_path(), 0, "the index was made anew and still cannot be read"),
                    Unusable::Io(error) => failed(&self.index_path(), "reading the index")(error),
                })
            }
            Err(Unusable::Io(error)) => Err(failed(&self.index_path(), "reading the index")(error)),
        }
    }

    fn find_in_file(&self, slot: KeySlot) -> Result<Vec<u32>, Unusable> {
        let segment_bytes = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            // Retention was here.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Unusable::Io(error)),
        };
        match File::open(self.index_path()) {
            Ok(file) => index::find(&file, segment_bytes, slot),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Unusable::Bad),
            Err(error) => Err(Unusable::Io(error)),
        }
    }

    /// Writes the index of a segment that gets no more records, and gives back the room behind its frames.
    pub fn close(&self) -> Result<(), Error> {
        let end = self.visible_end.load(Ordering::Acquire);
        let sorted = match &*self.index.read().unwrap_or_else(PoisonError::into_inner) {
            Index::Chains(chains) => Some(chains.sorted()),
            Index::File => None,
        };
        let Some(sorted) = sorted else { return self.reindex() };
        disk::replace(&self.index_path(), &index::encode(&sorted, end))?;
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Index::File;
        self.cut_to(end)
    }

    /// Makes the index of a closed segment from its frames.
    fn reindex(&self) -> Result<(), Error> {
        // Held throughout, so that two of them do not write the same file.
        let _index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let Some(bytes) = self.read()? else { return Ok(()) };
        let (mut places, mut at) = (Vec::new(), 0);
        loop {
            match Frame::read(self.kind, &bytes[at..]) {
                Ok(frame) => {
                    places.extend(frame.places(at));
                    at += frame.bytes;
                }
                Err(NoFrame::Empty) if bytes[at..].iter().all(|byte| *byte == 0) => break,
                // What was traced and cannot be read is passed over; what can be read behind it still is.
                Err(_) if self.kind == Kind::Trace => match frame::next(self.kind, &bytes, at) {
                    Some((next, _)) => at = next,
                    None => break,
                },
                Err(NoFrame::Empty) => return Err(damaged(&self.path, at as u64, "zeros in the middle of a segment")),
                Err(NoFrame::Bad(what)) => return Err(damaged(&self.path, at as u64, what)),
            }
        }
        places.sort_unstable();
        disk::replace(&self.index_path(), &index::encode(&places, at as u64))?;
        self.cut_to(at as u64)
    }

    pub fn is_indexed(&self) -> bool {
        self.index_path().exists()
    }

    fn cut_to(&self, end: u64) -> Result<(), Error> {
        let cut = disk::open(&self.path).and_then(|file| file.set_len(end));
        cut.map_err(failed(&self.path, "cutting the segment to its length"))
    }

    /// Its size with its index.
    pub fn bytes(&self) -> u64 {
        let bytes_of = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        bytes_of(&self.path) + bytes_of(&self.index_path())
    }

    /// Removes its files.
    pub fn remove(&self) -> Result<(), Error> {
        disk::remove(&self.index_path())?;
        disk::remove(&self.path)
    }
}

impl Frame<'_> {
    /// Where its records are, if it begins at byte `from` of its segment.
    pub fn places(&self, from: usize) -> impl Iterator<Item = Place> {
        self.records.iter().map(move |record| {
            let at = u32::try_from(from + record.at).expect("INVARIANT: a segment is smaller than 4 GiB");
            Place { slot: record.sealed.header.slot, at }
        })
    }
}

/// All segments of a stream, oldest first. The last is being written.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    list: RwLock<Vec<Arc<Segment>>>,
}

impl Segments {
    pub fn new(list: Vec<Arc<Segment>>) -> Self {
        Segments { list: RwLock::new(list) }
    }

    /// As they are now.
    pub fn all(&self) -> Vec<Arc<Segment>> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn replace(&self, list: Vec<Arc<Segment>>) {
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = list;
    }

    pub fn push(&self, segment: Arc<Segment>) {
        self.list.write().unwrap_or_else(PoisonError::into_inner).push(segment);
    }

    /// Takes the `count` oldest out of the list.
    pub fn take_oldest(&self, count: usize) -> Vec<Arc<Segment>> {
        self.list.write().unwrap_or_else(PoisonError::into_inner).drain(..count).collect()
    }
}
