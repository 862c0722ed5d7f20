//! A frame: records that were appended together, whole or absent after a crash.
//!
//! ```text
//! 0       4            8               12            16         24        32          40         48            56        60      64
//! │ magic │ header_crc │ payload_bytes │ payload_crc │ sequence │ durable │ first_lsn │ last_lsn │ first_stamp │ records │ epoch │ payload …
//! │ 4     │ u32        │ u32           │ u32         │ u64      │ u64     │ u64       │ u64      │ i64         │ u32     │ u32   │
//! ```
//!
//! Little-endian. The payload is records back to back; zeros fill the frame up to a multiple of 8 bytes. `header_crc`
//! is CRC32C of the header behind it, `payload_crc` that of the payload. `sequence` rises by one from frame to frame
//! over all segments of a stream, from 1. `durable` is the sequence of the last frame that was known to be synced when
//! this one was written: it proves that the frames up to there were acknowledged.
//!
//! A segment is frames back to back, then zeros. Payloads are sealed, so that no sender can put what looks like a
//! frame into one.

use crate::disk::array;
use crate::record::{self, Epoch, Key, Kind, Sealed, Sealer};
use model::{Lsn, Timestamp};
use ports::log::RecordRef;

pub(crate) const HEADER_BYTES: usize = 64;
const ALIGN_BYTES: usize = 8;
/// What a frame may have at most, header included.
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    payload_bytes: u32,
    payload_crc: u32,
    pub sequence: u64,
    pub durable: u64,
    pub first_lsn: Lsn,
    pub last_lsn: Lsn,
    pub first_stamp: Timestamp,
    records: u32,
    epoch: Epoch,
}

/// Why there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// Zeros, or the end of the file: nothing was written here.
    Empty,
    Bad(&'static str),
}

const fn magic(kind: Kind) -> [u8; 4] {
    match kind {
        Kind::Log => *b"SJL1",
        Kind::Trace => *b"SJT1",
    }
}

impl Header {
    fn encode(&self, kind: Kind) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&magic(kind));
        bytes[8..12].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first_lsn.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.last_lsn.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.first_stamp.as_ms().to_le_bytes());
        bytes[56..60].copy_from_slice(&self.records.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.epoch.number().to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`.
    pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Self, NoFrame> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            let is_empty = bytes.iter().all(|byte| *byte == 0);
            return Err(if is_empty { NoFrame::Empty } else { NoFrame::Bad("a frame header cut short") });
        };
        if *bytes == [0; HEADER_BYTES] {
            return Err(NoFrame::Empty);
        }
        if bytes[..4] != magic(kind) {
            return Err(NoFrame::Bad("no frame begins here"));
        }
        if u32::from_le_bytes(array(bytes, 4)) != crc32c::crc32c(&bytes[8..]) {
            return Err(NoFrame::Bad("the checksum of a frame header does not match"));
        }
        let Some(epoch) = Epoch::new(u32::from_le_bytes(array(bytes, 60))) else {
            return Err(NoFrame::Bad("a frame of an impossible epoch"));
        };
        Ok(Header {
            payload_bytes: u32::from_le_bytes(array(bytes, 8)),
            payload_crc: u32::from_le_bytes(array(bytes, 12)),
            sequence: u64::from_le_bytes(array(bytes, 16)),
            durable: u64::from_le_bytes(array(bytes, 24)),
            first_lsn: Lsn(u64::from_le_bytes(array(bytes, 32))),
            last_lsn: Lsn(u64::from_le_bytes(array(bytes, 40))),
            first_stamp: Timestamp::from_ms(i64::from_le_bytes(array(bytes, 48))),
            records: u32::from_le_bytes(array(bytes, 56)),
            epoch,
        })
    }
}

/// A record, and where it begins, counted from the start of its frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located<'a> {
    pub at: usize,
    pub sealed: Sealed<'a>,
}

/// A frame in a file, checked.
#[derive(Clone, Debug)]
pub(crate) struct Frame<'a> {
    pub header: Header,
    pub records: Vec<Located<'a>>,
    /// Header and padding included.
    pub bytes: usize,
}

impl<'a> Frame<'a> {
    /// Reads and checks the frame at the start of `bytes`.
    pub fn read(kind: Kind, bytes: &'a [u8]) -> Result<Self, NoFrame> {
        let header = Header::decode(kind, bytes)?;
        let payload_end = HEADER_BYTES.saturating_add(header.payload_bytes as usize);
        let frame_bytes = payload_end.next_multiple_of(ALIGN_BYTES);
        let Some(frame) = bytes.get(..frame_bytes) else {
            return Err(NoFrame::Bad("a frame longer than its segment"));
        };
        let (payload, padding) = frame[HEADER_BYTES..].split_at(payload_end - HEADER_BYTES);
        if header.payload_crc != crc32c::crc32c(payload) || padding.iter().any(|byte| *byte != 0) {
            return Err(NoFrame::Bad("the checksum of a frame does not match"));
        }
        let records = read_records(&header, payload).map_err(NoFrame::Bad)?;
        Ok(Frame { header, records, bytes: frame_bytes })
    }
}

fn read_records<'a>(header: &Header, payload: &'a [u8]) -> Result<Vec<Located<'a>>, &'static str> {
    let records_max = payload.len() / record::HEADER_BYTES;
    let mut records: Vec<Located<'a>> = Vec::with_capacity(records_max.min(header.records as usize));
    let mut at = 0;
    while at < payload.len() {
        let (sealed, bytes) = Sealed::read(&payload[at..])?;
        if records.last().is_some_and(|before| before.sealed.header.lsn >= sealed.header.lsn) {
            return Err("records out of order");
        }
        if sealed.header.epoch != header.epoch {
            return Err("a record of another epoch than its frame");
        }
        records.push(Located { at: HEADER_BYTES + at, sealed });
        at += bytes;
    }
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Err("a frame without records") };
    let is_as_said = records.len() == header.records as usize
        && first.sealed.header.lsn == header.first_lsn
        && last.sealed.header.lsn == header.last_lsn;
    if is_as_said { Ok(records) } else { Err("a frame with other records than its header says") }
}

/// Whether `bytes` hold a frame that says that the frame `sequence` had been durable before it was written. Its header
/// is proof enough: the rest of it may be torn.
pub(crate) fn proves_durable(kind: Kind, bytes: &[u8], sequence: u64) -> bool {
    let mut headers = (0..bytes.len()).step_by(ALIGN_BYTES).filter_map(|at| Header::decode(kind, &bytes[at..]).ok());
    headers.any(|header| header.sequence > sequence && header.durable >= sequence)
}

/// What the frame takes at most, whether its bodies compress or not.
pub(crate) fn bytes_at_most(frame: &ports::log::Frame) -> u64 {
    let records_bytes = frame.body_bytes() + frame.len() * record::OVERHEAD_BYTES_MAX;
    (HEADER_BYTES + records_bytes).next_multiple_of(ALIGN_BYTES) as u64
}

/// The first whole frame that begins behind byte `from`, and where. Frames begin at multiples of 8 bytes.
pub(crate) fn next(kind: Kind, bytes: &[u8], from: usize) -> Option<(usize, Frame<'_>)> {
    let mut places = ((from + 1).next_multiple_of(ALIGN_BYTES)..bytes.len()).step_by(ALIGN_BYTES);
    places.find_map(|at| Some((at, Frame::read(kind, &bytes[at..]).ok()?)))
}

/// Builds frames in a buffer that is used again and again.
#[derive(Default)]
pub(crate) struct Builder {
    sealer: Sealer,
    bytes: Vec<u8>,
    first: Option<(Lsn, Timestamp)>,
    last_lsn: Lsn,
    records: u32,
}

impl Builder {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
        (self.first, self.last_lsn, self.records) = (None, Lsn(0), 0);
    }

    /// Adds a record; answers where it begins, counted from the start of the frame.
    pub fn push(&mut self, kind: Kind, epoch: Epoch, record: &RecordRef<'_>, key: Option<&Key>) -> usize {
        let at = self.bytes.len();
        self.sealer.seal(kind, epoch, record, key, &mut self.bytes);
        self.first.get_or_insert((record.lsn, record.stamp));
        self.last_lsn = record.lsn;
        self.records += 1;
        at
    }

    /// How large the frame is so far, its padding left out.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The frame, or None if it has grown past [`FRAME_BYTES_MAX`].
    pub fn finish(&mut self, kind: Kind, epoch: Epoch, sequence: u64, durable: u64) -> Option<&[u8]> {
        let payload = &self.bytes[HEADER_BYTES..];
        let (first_lsn, first_stamp) = self.first.expect("INVARIANT: a frame has a record");
        let header = Header {
            payload_bytes: u32::try_from(payload.len()).ok()?,
            payload_crc: crc32c::crc32c(payload),
            sequence,
            durable,
            first_lsn,
            last_lsn: self.last_lsn,
            first_stamp,
            records: self.records,
            epoch,
        };
        self.bytes[..HEADER_BYTES].copy_from_slice(&header.encode(kind));
        let frame_bytes = self.bytes.len().next_multiple_of(ALIGN_BYTES);
        self.bytes.resize(frame_bytes, 0);
        (frame_bytes <= FRAME_BYTES_MAX).then_some(self.bytes.as_slice())
    }
}
