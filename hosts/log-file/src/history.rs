//! The log read as history. Readers open the files for themselves, read beside the writer, and see what is durable.

use crate::disk::{self, damaged, failed};
use crate::keys::{Cache, KeyFile, Slot};
use crate::record::{HEADER_BYTES, Key, Kind, Sealed};
use crate::segment::{Segment, Segments};
use model::{KeySlot, Lsn};
use ports::log::{Body, Entry, Error, History, Moment};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// Reads the history of profiles. Clones share their cache of keys.
#[derive(Clone)]
pub struct LogReader {
    pub(crate) keys: Arc<KeyFile>,
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) log: Arc<Segments>,
    pub(crate) traces: Arc<Segments>,
}

/// The records of one slot in one stream, newest first.
struct Newest {
    slot: KeySlot,
    before: Option<Lsn>,
    /// Not looked into yet; the newest is the last.
    segments: Vec<Arc<Segment>>,
    open: Option<(Arc<Segment>, File)>,
    /// Where the records of the open segment are; the newest is the last.
    places: Vec<u32>,
}

/// A record that was read, still sealed.
struct Raw {
    segment: Arc<Segment>,
    at: u32,
    bytes: Vec<u8>,
}

impl Raw {
    fn sealed(&self) -> Result<Sealed<'_>, Error> {
        let (sealed, _) = Sealed::read(&self.bytes).map_err(|what| self.damaged(what))?;
        Ok(sealed)
    }

    fn open(&self, key: &Key) -> Result<Vec<u8>, Error> {
        self.sealed()?.open(self.segment.kind, key).map_err(|what| self.damaged(what))
    }

    fn damaged(&self, what: &str) -> Error {
        damaged(&self.segment.path, u64::from(self.at), what)
    }
}

impl Newest {
    fn new(segments: &Segments, slot: KeySlot, before: Option<Lsn>) -> Self {
        let mut segments = segments.all();
        segments.retain(|segment| before.is_none_or(|before| segment.first_lsn < before));
        Newest { slot, before, segments, open: None, places: Vec::new() }
    }

    fn next(&mut self) -> Result<Option<Raw>, Error> {
        loop {
            let Some(at) = self.places.pop() else {
                let Some(segment) = self.segments.pop() else { return Ok(None) };
                self.enter(segment)?;
                continue;
            };
            let Some((segment, file)) = &self.open else { continue };
            let raw = Raw { segment: Arc::clone(segment), at, bytes: read_record(segment, file, at)? };
            let header = raw.sealed()?.header;
            if header.slot != self.slot {
                return Err(raw.damaged("another profile's record where the index says this one's"));
            }
            return Ok(Some(raw));
        }
    }

    /// The next trace that can be read. What was decided may be lost, what happened is not: a bad one is passed over.
    fn next_readable(&mut self) -> Result<Option<(Raw, Lsn)>, Error> {
        loop {
            match self.next() {
                Ok(Some(raw)) => {
                    let lsn = raw.sealed()?.header.lsn;
                    return Ok(Some((raw, lsn)));
                }
                Ok(None) => return Ok(None),
                Err(Error::Damaged { .. }) => {}
                Err(error @ (Error::Io { .. } | Error::Full { .. } | Error::TooLarge { .. } | Error::Stopped)) => {
                    return Err(error);
                }
            }
        }
    }

    fn enter(&mut self, segment: Arc<Segment>) -> Result<(), Error> {
        self.places = segment.find(self.slot)?;
        if self.places.is_empty() {
            return Ok(());
        }
        let file = match File::open(&segment.path) {
            // Retention was here.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.places.clear();
                return Ok(());
            }
            opened => opened.map_err(failed(&segment.path, "opening the segment"))?,
        };
        if let Some(before) = self.before {
            self.places.truncate(count_before(&segment, &file, &self.places, before)?);
        }
        self.open = Some((segment, file));
        Ok(())
    }
}

/// How many of the records at `places`, in order, are before `before`.
fn count_before(segment: &Segment, file: &File, places: &[u32], before: Lsn) -> Result<usize, Error> {
    let (mut low, mut high) = (0, places.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let mut lsn = [0; 8];
        file.read_exact_at(&mut lsn, u64::from(places[middle])).map_err(failed(&segment.path, "reading a record"))?;
        if u64::from_le_bytes(lsn) < before.0 { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// The bytes of the record that begins at `at`, and some more.
fn read_record(segment: &Segment, file: &File, at: u32) -> Result<Vec<u8>, Error> {
    const GUESS_BYTES: usize = 1024;
    let read = |bytes: &mut [u8], from: u64| {
        disk::read_up_to(file, bytes, from).map_err(failed(&segment.path, "reading a record"))
    };
    let mut bytes = vec![0; GUESS_BYTES];
    let filled = read(&mut bytes, u64::from(at))?;
    bytes.truncate(filled);
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(damaged(&segment.path, u64::from(at), "the segment ends where the index says there is a record"));
    };
    let header = crate::record::Header::decode(header).map_err(|what| damaged(&segment.path, u64::from(at), what))?;
    let record_bytes = HEADER_BYTES.saturating_add(header.sealed_bytes as usize);
    if record_bytes > filled {
        let segment_bytes = file.metadata().map_err(failed(&segment.path, "reading its size"))?.len();
        if u64::from(at) + record_bytes as u64 > segment_bytes {
            return Err(damaged(&segment.path, u64::from(at), "a record longer than its segment"));
        }
        bytes.resize(record_bytes, 0);
        read(&mut bytes[filled..], u64::from(at) + filled as u64)?;
    }
    Ok(bytes)
}

impl LogReader {
    fn key(&self, slot: KeySlot) -> Result<Option<Key>, Error> {
        // NOTE: the file is read under the lock, so that a key that is being destroyed cannot come back into the cache.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(cache.get(&self.keys, slot)?.and_then(|held| match held {
            Slot::Live { key, .. } => Some(key),
            Slot::Destroyed => None,
        }))
    }
}

impl History for LogReader {
    fn of_profile(&self, slot: KeySlot, before: Option<Lsn>, limit: usize) -> Result<Vec<Moment>, Error> {
        let key = self.key(slot)?;
        let mut moments = Vec::new();
        let mut records = Newest::new(&self.log, slot, before);
        let mut traces = Newest::new(&self.traces, slot, before);
        let mut trace = traces.next_readable()?;
        while moments.len() < limit {
            let Some(record) = records.next()? else { break };
            let sealed = record.sealed()?;
            let header = sealed.header;
            while trace.as_ref().is_some_and(|(_, lsn)| *lsn > header.lsn) {
                trace = traces.next_readable()?;
            }
            let key = key.as_ref().filter(|_| !sealed.is_erased());
            let body = key.map(|key| record.open(key)).transpose()?.map_or(Body::Erased, Body::Command);
            let entry = Entry { lsn: header.lsn, partition: header.partition, slot, stamp: header.stamp, body };
            let row = trace.as_ref().filter(|(_, lsn)| *lsn == header.lsn);
            let explained = row.zip(key).and_then(|((row, _), key)| row.open(key).ok());
            moments.push(Moment { entry, trace: explained });
        }
        Ok(moments)
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").field("keys", &self.keys.path()).finish_non_exhaustive()
    }
}

/// The body of a record whose slot holds `slot`.
pub(crate) fn erased_or_open(sealed: &Sealed<'_>, kind: Kind, slot: Option<Slot>) -> Result<Body, &'static str> {
    match slot {
        Some(Slot::Live { key, .. }) if !sealed.is_erased() => Ok(Body::Command(sealed.open(kind, &key)?)),
        Some(Slot::Live { .. } | Slot::Destroyed) => Ok(Body::Erased),
        None => Err("a record whose key was never given out"),
    }
}
