//! The log read forward, for recovery: from the files, beside whoever opened it.

use crate::disk::damaged;
use crate::frame::{Frame, NoFrame};
use crate::history::erased_or_open;
use crate::keys::{Cache, KeyFile};
use crate::segment::Segment;
use model::Lsn;
use ports::log::{Entry, Error};
use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) struct Replay {
    /// Not begun yet, in order.
    segments: VecDeque<Arc<Segment>>,
    reading: Option<Reading>,
    /// Records of the frame that was read last.
    entries: VecDeque<Entry>,
    from: Lsn,
    /// Of the frame before; None before the first.
    sequence: Option<u64>,
    keys: Arc<KeyFile>,
    cache: Cache,
}

/// A segment whose bytes are in memory.
struct Reading {
    segment: Arc<Segment>,
    bytes: Vec<u8>,
    at: usize,
}

impl Replay {
    pub fn new(segments: Vec<Arc<Segment>>, keys: Arc<KeyFile>, from: Lsn) -> Self {
        let start = segments.partition_point(|segment| segment.first_lsn <= from).saturating_sub(1);
        Replay {
            segments: segments.into_iter().skip(start).collect(),
            reading: None,
            entries: VecDeque::new(),
            from,
            sequence: None,
            keys,
            cache: Cache::default(),
        }
    }

    /// Reads the next frame. False at the end of the log.
    fn read(&mut self) -> Result<bool, Error> {
        let Some(Reading { segment, bytes, at }) = &mut self.reading else {
            let Some(segment) = self.segments.pop_front() else { return Ok(false) };
            // None: retention was here.
            self.reading = segment.read()?.map(|bytes| Reading { segment, bytes, at: 0 });
            return Ok(true);
        };
        let damaged = |what: &str| damaged(&segment.path, *at as u64, what);
        let frame = match Frame::read(segment.kind, &bytes[*at..]) {
            Ok(frame) => frame,
            Err(NoFrame::Empty) => {
                self.reading = None;
                return Ok(true);
            }
            Err(NoFrame::Bad(what)) => return Err(damaged(what)),
        };
        if self.sequence.is_some_and(|last| frame.header.sequence != last + 1) {
            return Err(damaged("the frames before this one are missing"));
        }
        self.sequence = Some(frame.header.sequence);
        for record in frame.records.iter().filter(|record| record.sealed.header.lsn >= self.from) {
            let header = record.sealed.header;
            let held = self.cache.get(&self.keys, header.slot)?;
            let body = erased_or_open(&record.sealed, segment.kind, held).map_err(damaged)?;
            let (lsn, partition, slot, stamp) = (header.lsn, header.partition, header.slot, header.stamp);
            self.entries.push_back(Entry { lsn, partition, slot, stamp, body });
        }
        *at += frame.bytes;
        Ok(true)
    }
}

impl Iterator for Replay {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.entries.is_empty() {
            match self.read() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    (self.reading, self.entries) = (None, VecDeque::new());
                    self.segments.clear();
                    return Some(Err(error));
                }
            }
        }
        self.entries.pop_front().map(Ok)
    }
}
