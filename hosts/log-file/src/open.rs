//! Opening a stream: where it ends, and whether what is behind the end is torn or damaged.
//!
//! ```text
//! segments   │ a │ b │ c         │ d            │
//!                    └─ the first segment all before which is proved durable
//! scanned            │ 7 │ 8 │ 9 │ 10 │ x │ 12 │ zeros
//!                                     └─ frame 11 is bad; 12 says `durable 9`: torn, cut here
//!                                                  had it said 11: damaged, nothing is cut
//! ```
//!
//! Traces are never damaged in this sense. What is bad and has good frames behind it is passed over, and said; replay
//! makes it again where it can. What is bad at the end is cut.

use crate::disk::{self, damaged, failed};
use crate::frame::{self, Builder, Frame, Header, NoFrame};
use crate::index::{Chains, Place};
use crate::keeper::PreparedPlace;
use crate::keys::KeyFile;
use crate::record::{Epoch, Kind};
use crate::segment::{Segment, Segments};
use crate::writer::{Active, Writer};
use model::{Lsn, Timestamp};
use ports::log::Error;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Bytes that are no frame: a tail that was cut, writes that no sync had finished for; or traces that were passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    pub segment: PathBuf,
    /// Where they begin.
    pub at_byte: u64,
    /// How many they are, without the zeros behind a cut.
    pub bytes: u64,
    /// What was wrong there.
    pub what: &'static str,
}

/// How to open a stream.
pub(crate) struct Opening<'a> {
    pub kind: Kind,
    pub directory: &'a Path,
    pub segment_bytes: u64,
    pub reserve_bytes: u64,
    pub epoch: Epoch,
    pub keys: &'a KeyFile,
    /// Frames behind it are cut. For traces: those of records that the log lost.
    pub lsn_max: Option<Lsn>,
    pub prepared: Option<PreparedPlace>,
}

/// A segment file before it is looked into.
#[derive(Clone, Debug)]
struct Listed {
    first_lsn: Lsn,
    path: PathBuf,
}

/// A segment whose frames were read.
struct Scanned {
    listed: Listed,
    /// Sequence and place of its good frames.
    frames: Vec<(u64, u64)>,
    first_stamp: Timestamp,
    places: Vec<Place>,
    /// Where its good frames end.
    end: u64,
    file_bytes: u64,
}

/// The tail of a stream, up to the first bad frame.
#[derive(Default)]
struct Scan {
    segments: Vec<Scanned>,
    /// Of the last good frame.
    sequence: Option<u64>,
    last_lsn: Lsn,
    last_stamp: Timestamp,
    /// The highest that a good frame says was durable.
    durable: u64,
    torn: Option<Torn>,
    /// Traces that were passed over.
    unreadable: Vec<Torn>,
    /// The last row before the first of them.
    readable_to: Option<Lsn>,
}

/// A stream that was opened.
pub(crate) struct Opened {
    pub writer: Writer,
    pub torn: Option<Torn>,
    pub unreadable: Vec<Torn>,
    /// The last row before the first that is unreadable, if one is.
    pub readable_to: Option<Lsn>,
}

/// Whether there are segments of `kind` in `directory`.
pub(crate) fn any_segment(kind: Kind, directory: &Path) -> Result<bool, Error> {
    Ok(!list(kind, directory)?.is_empty())
}

fn list(kind: Kind, directory: &Path) -> Result<Vec<Listed>, Error> {
    let mut segments = Vec::new();
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(segments),
        entries => entries.map_err(failed(directory, "listing the folder"))?,
    };
    for entry in entries {
        let path = entry.map_err(failed(directory, "listing the folder"))?.path();
        let is_segment = path.extension().is_some_and(|extension| extension == kind.extension());
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(number) = number.filter(|_| is_segment) {
            segments.push(Listed { first_lsn: Lsn(number), path });
        }
    }
    segments.sort_unstable_by_key(|segment| segment.first_lsn);
    Ok(segments)
}

fn first_header(kind: Kind, path: &Path) -> Result<Result<Header, NoFrame>, Error> {
    let file = File::open(path).map_err(failed(path, "opening the segment"))?;
    let mut bytes = Vec::with_capacity(frame::HEADER_BYTES);
    let read = file.take(frame::HEADER_BYTES as u64).read_to_end(&mut bytes);
    read.map_err(failed(path, "reading the segment"))?;
    Ok(Header::decode(kind, &bytes))
}

fn remove(segments: &[Listed]) -> Result<(), Error> {
    // The newest first, so that a crash in between leaves the same to do.
    segments.iter().rev().try_for_each(|segment| {
        disk::remove(&segment.path.with_extension("idx"))?;
        disk::remove(&segment.path)
    })
}

impl Opening<'_> {
    /// Finds the end of the stream, cuts what is torn, and makes what is left durable.
    pub fn open(self) -> Result<Opened, Error> {
        disk::create_directory(self.directory)?;
        disk::remove(&self.directory.join("prepared"))?;
        let mut listed = list(self.kind, self.directory)?;
        let lost = listed.partition_point(|segment| self.lsn_max.is_none_or(|lsn_max| segment.first_lsn <= lsn_max));
        remove(&listed.split_off(lost))?;

        let start = self.scan_start(&listed)?;
        let mut segments = self.closed_segments(&listed[..start])?;
        let mut scan = self.scan(&listed[start..])?;
        let kept = scan.segments.iter().rposition(|scanned| scanned.end > 0).map_or(0, |last| last + 1);
        remove(&listed[start + kept..])?;
        disk::sync_directory(self.directory)?;
        scan.segments.truncate(kept);
        let last = scan.segments.pop();
        for scanned in &scan.segments {
            scanned.make_durable(scan.durable, scanned.file_bytes)?;
            segments.push(Arc::new(scanned.closed(self.kind)));
        }
        let active = match last {
            Some(last) => {
                let keep_bytes = if scan.torn.is_some() { last.end } else { last.file_bytes };
                let file = last.make_durable(scan.durable, keep_bytes)?;
                // It gets records again: an index that was made when it was closed is no longer right.
                disk::remove(&last.listed.path.with_extension("idx"))?;
                let active = last.active(self.kind, file);
                segments.push(Arc::clone(&active.segment));
                Some(active)
            }
            None => None,
        };
        let (torn, unreadable, readable_to) =
            (scan.torn.take(), std::mem::take(&mut scan.unreadable), scan.readable_to);
        let writer = self.into_writer(segments, active, &scan);
        Ok(Opened { writer, torn, unreadable, readable_to })
    }

    fn into_writer(self, segments: Vec<Arc<Segment>>, active: Option<Active>, scan: &Scan) -> Writer {
        let sequence = scan.sequence.unwrap_or(0);
        Writer {
            kind: self.kind,
            directory: self.directory.to_owned(),
            segment_bytes: self.segment_bytes,
            reserve_bytes: self.reserve_bytes,
            epoch: self.epoch,
            segments: Arc::new(Segments::new(segments)),
            active,
            prepared: self.prepared,
            sequence,
            last_lsn: scan.last_lsn,
            last_stamp: scan.last_stamp,
            durable: Arc::new(AtomicU64::new(sequence)),
            builder: Builder::default(),
            unindexed: Vec::new(),
            unsynced: Vec::new(),
            directory_changed: false,
            is_torn: false,
        }
    }

    /// The segment before the last whose first frame proves that all before it is durable: one that cannot be gone.
    fn scan_start(&self, listed: &[Listed]) -> Result<usize, Error> {
        for (number, segment) in listed.iter().enumerate().rev() {
            let proves = |header: Header| header.durable + 1 >= header.sequence;
            if first_header(self.kind, &segment.path)?.is_ok_and(proves) {
                return Ok(number.saturating_sub(1));
            }
        }
        Ok(0)
    }

    fn closed_segments(&self, listed: &[Listed]) -> Result<Vec<Arc<Segment>>, Error> {
        let closed = listed.iter().map(|Listed { first_lsn, path }| {
            let first_stamp = match (first_header(self.kind, path)?, self.kind) {
                (Ok(header), _) if header.first_lsn == *first_lsn => header.first_stamp,
                (Ok(_), Kind::Log) => return Err(damaged(path, 0, "the segment does not begin as its name says")),
                (Err(NoFrame::Empty), Kind::Log) => return Err(damaged(path, 0, "the segment is empty")),
                (Err(NoFrame::Bad(what)), Kind::Log) => return Err(damaged(path, 0, what)),
                (Ok(_) | Err(_), Kind::Trace) => Timestamp::EPOCH,
            };
            Ok(Arc::new(Segment::closed(self.kind, path.clone(), *first_lsn, first_stamp)))
        });
        closed.collect()
    }

    /// Reads the frames of `listed`. The log's up to the first bad one, about which it decides whether that is torn or
    /// damaged; of traces all that can be read.
    fn scan(&self, listed: &[Listed]) -> Result<Scan, Error> {
        let mut scan = Scan::default();
        for (number, segment) in listed.iter().enumerate() {
            let bytes = std::fs::read(&segment.path).map_err(failed(&segment.path, "reading the segment"))?;
            let bad = self.scan_segment(segment, &bytes, &mut scan);
            let Some((at, what)) = bad else { continue };
            let touched = bytes[at..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            let torn = Torn { segment: segment.path.clone(), at_byte: at as u64, bytes: touched, what };
            match self.kind {
                Kind::Log => {
                    let sequence = scan.sequence.unwrap_or(0) + 1;
                    self.refuse_damage(&bytes, at, sequence, &listed[number..], what)?;
                    scan.torn = Some(torn);
                    break;
                }
                // Whether there is something good behind it, the next segment says.
                Kind::Trace => drop(scan.torn.get_or_insert(torn)),
            }
        }
        Ok(scan)
    }

    /// Takes up the good frames of a segment; answers where and why they stop, if not by its end.
    fn scan_segment(&self, listed: &Listed, bytes: &[u8], scan: &mut Scan) -> Option<(usize, &'static str)> {
        let file_bytes = bytes.len() as u64;
        let (mut at, mut bad) = (0, None);
        let mut scanned = Scanned {
            listed: listed.clone(),
            frames: Vec::new(),
            first_stamp: Timestamp::EPOCH,
            places: Vec::new(),
            end: 0,
            file_bytes,
        };
        loop {
            let what = match Frame::read(self.kind, &bytes[at..]) {
                Ok(frame) => match self.refuse_frame(&frame, at, listed, scan) {
                    None => {
                        scan.note_gap(frame.header.sequence, at, listed);
                        scanned.take(&frame, at);
                        scan.take(&frame);
                        at += frame.bytes;
                        continue;
                    }
                    Some(what) => what,
                },
                Err(NoFrame::Empty) if bytes[at..].iter().all(|byte| *byte == 0) => break,
                Err(NoFrame::Empty) => "bytes behind a frame that is not there",
                Err(NoFrame::Bad(what)) => what,
            };
            let Some(next) = self.next_readable(bytes, at, listed, scan) else {
                bad = Some((at, what));
                break;
            };
            let unreadable = Torn { segment: listed.path.clone(), at_byte: at as u64, bytes: (next - at) as u64, what };
            if let Some(before) = scan.torn.replace(unreadable) {
                scan.pass_over(before);
            }
            at = next;
        }
        scanned.end = at as u64;
        scan.segments.push(scanned);
        bad
    }

    /// Where reading goes on behind bad traces.
    fn next_readable(&self, bytes: &[u8], at: usize, listed: &Listed, scan: &Scan) -> Option<usize> {
        if self.kind == Kind::Log {
            return None;
        }
        let mut from = at;
        loop {
            let (at, frame) = frame::next(self.kind, bytes, from)?;
            if self.refuse_frame(&frame, at, listed, scan).is_none() {
                return Some(at);
            }
            from = at;
        }
    }

    /// What is wrong with a whole frame at this place.
    fn refuse_frame(&self, frame: &Frame<'_>, at: usize, listed: &Listed, scan: &Scan) -> Option<&'static str> {
        let Header { sequence, first_lsn, last_lsn, .. } = frame.header;
        let mut slots = frame.records.iter().map(|record| record.sealed.header.slot);
        let is_next = |last: u64| match self.kind {
            Kind::Log => sequence == last + 1,
            Kind::Trace => sequence > last,
        };
        if !scan.sequence.is_none_or(is_next) {
            Some("the frames before this one are missing")
        } else if first_lsn <= scan.last_lsn {
            Some("a frame with an lsn that was there before")
        } else if at == 0 && first_lsn != listed.first_lsn {
            Some("the segment does not begin as its name says")
        } else if self.lsn_max.is_some_and(|lsn_max| last_lsn > lsn_max) {
            Some("traces of records that the log does not have")
        } else if slots.any(|slot| slot.0 >= self.keys.written()) {
            Some("a frame with a record whose key is missing")
        } else {
            None
        }
    }

    /// Frames behind the bad one that prove it had been durable make it damage.
    fn refuse_damage(
        &self,
        bytes: &[u8],
        at: usize,
        sequence: u64,
        from: &[Listed],
        what: &'static str,
    ) -> Result<(), Error> {
        let [segment, later @ ..] = from else { return Ok(()) };
        let mut proved = frame::proves_durable(self.kind, &bytes[at..], sequence);
        for later in later {
            let bytes = std::fs::read(&later.path).map_err(failed(&later.path, "reading the segment"))?;
            proved |= frame::proves_durable(self.kind, &bytes, sequence);
        }
        if !proved {
            return Ok(());
        }
        let what = format!("{what}, and frame {sequence}, which should be here, was durable: later frames say so");
        Err(damaged(&segment.path, at as u64, what))
    }
}

impl Scan {
    /// Passes over traces that cannot be read: there are good ones behind them.
    fn pass_over(&mut self, unreadable: Torn) {
        self.readable_to.get_or_insert(self.last_lsn);
        self.unreadable.push(unreadable);
    }

    /// What was bad before a good frame, or is missing altogether, was not the end.
    fn note_gap(&mut self, sequence: u64, at: usize, listed: &Listed) {
        if let Some(torn) = self.torn.take() {
            self.pass_over(torn);
        } else if self.sequence.is_some_and(|last| sequence != last + 1) {
            let what = "the frames before this one are missing";
            self.pass_over(Torn { segment: listed.path.clone(), at_byte: at as u64, bytes: 0, what });
        }
    }

    fn take(&mut self, frame: &Frame<'_>) {
        self.sequence = Some(frame.header.sequence);
        self.durable = self.durable.max(frame.header.durable);
        if let Some(last) = frame.records.last() {
            (self.last_lsn, self.last_stamp) = (last.sealed.header.lsn, last.sealed.header.stamp);
        }
    }
}

impl Scanned {
    fn take(&mut self, frame: &Frame<'_>, at: usize) {
        if self.frames.is_empty() {
            self.first_stamp = frame.header.first_stamp;
        }
        self.frames.push((frame.header.sequence, at as u64));
        self.places.extend(frame.places(at));
    }

    /// Cuts the file to `keep_bytes` and gives it its size back, in zeros, so that what was there is never read as
    /// frames. Writes once more what no frame proves to be durable: after a failed sync it may be in memory only.
    fn make_durable(&self, durable: u64, keep_bytes: u64) -> Result<File, Error> {
        let Listed { path, .. } = &self.listed;
        let file = disk::open(path).map_err(failed(path, "opening the segment"))?;
        if keep_bytes < self.file_bytes {
            let cut = file.set_len(keep_bytes).and_then(|()| disk::allocate(&file, keep_bytes, self.file_bytes));
            cut.map_err(failed(path, "cutting the torn tail"))?;
        }
        if let Some((_, from)) = self.frames.iter().find(|(sequence, _)| *sequence > durable) {
            let unproved = usize::try_from(self.end - from).expect("INVARIANT: a segment fits in memory");
            let mut bytes = vec![0; unproved];
            let rewritten = file.read_exact_at(&mut bytes, *from).and_then(|()| file.write_all_at(&bytes, *from));
            rewritten.map_err(failed(path, "writing the tail once more"))?;
        }
        file.sync_all().map_err(failed(path, "syncing the segment"))?;
        Ok(file)
    }

    fn closed(&self, kind: Kind) -> Segment {
        Segment::closed(kind, self.listed.path.clone(), self.listed.first_lsn, self.first_stamp)
    }

    fn active(self, kind: Kind, file: File) -> Active {
        let mut chains = Chains::default();
        let records = self.places.len();
        self.places.into_iter().for_each(|place| chains.push(place));
        chains.show(records);
        let Listed { first_lsn, path } = self.listed;
        let segment = Segment::open(kind, path, first_lsn, self.first_stamp, chains, self.end);
        Active { segment: Arc::new(segment), file: Arc::new(file), end: self.end, capacity: self.file_bytes }
    }
}
