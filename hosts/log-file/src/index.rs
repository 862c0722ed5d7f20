//! Where the records of each slot are in a segment: chains in memory while it is written, a file once it is closed.
//!
//! ```text
//! 0       8         12     16            24       28
//! │ magic │ records │ crc  │ segment_end │ blocks │ zeros …              the first 4,096 bytes
//! │ 8     │ u32     │ u32  │ u64         │ u32    │
//!
//! 0     4       8
//! │ crc │ count │ slot u32, at u32 │ slot u32, at u32 │ …  zeros         each further 4,096 bytes: up to 511 records
//! ```
//!
//! Little-endian; each `crc` is CRC32C over the rest of its 4,096 bytes. Records are sorted by slot, then by `at`, the
//! byte of the segment at which they begin; lsn rises with it. `segment_end` is where the segment's frames end.
//!
//! An index can always be made again from its segment: one that is missing or bad is.

use crate::disk::array;
use model::KeySlot;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: [u8; 8] = *b"SOJIDX1\n";
const BLOCK_BYTES: usize = 4096;
const BLOCK_RECORDS: usize = (BLOCK_BYTES - 8) / 8;

/// A record of `slot` begins at byte `at` of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub slot: KeySlot,
    pub at: u32,
}

/// The index of a segment that is being written. Each record knows the one of its slot before it.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    heads: HashMap<u32, u32>,
    links: Vec<Link>,
    /// So many of the records may be read: those that are durable.
    visible: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    at: u32,
    /// One more than the place of the record before it in `links`; 0 when there is none.
    before: u32,
}

impl Chains {
    pub fn push(&mut self, place: Place) {
        let before = self.heads.get(&place.slot.0).copied().unwrap_or(0);
        self.links.push(Link { at: place.at, before });
        let number = u32::try_from(self.links.len()).expect("INVARIANT: a segment has fewer than 2^32 records");
        self.heads.insert(place.slot.0, number);
    }

    pub fn len(&self) -> usize {
        self.links.len()
    }

    pub fn show(&mut self, records: usize) {
        self.visible = self.visible.max(records);
    }

    /// Where the visible records of `slot` begin, in order.
    pub fn find(&self, slot: KeySlot) -> Vec<u32> {
        let mut places = Vec::new();
        let mut number = self.heads.get(&slot.0).copied().unwrap_or(0);
        while let Some(at) = (number as usize).checked_sub(1) {
            if at < self.visible {
                places.push(self.links[at].at);
            }
            number = self.links[at].before;
        }
        places.reverse();
        places
    }

    /// All records, sorted as in a file.
    pub fn sorted(&self) -> Vec<Place> {
        let mut places = Vec::with_capacity(self.links.len());
        for (slot, head) in &self.heads {
            let mut number = *head;
            while let Some(at) = (number as usize).checked_sub(1) {
                places.push(Place { slot: KeySlot(*slot), at: self.links[at].at });
                number = self.links[at].before;
            }
        }
        places.sort_unstable();
        places
    }
}

/// The bytes of the index file for `places`, which are sorted.
pub(crate) fn encode(places: &[Place], segment_end: u64) -> Vec<u8> {
    let blocks = places.chunks(BLOCK_RECORDS);
    let mut bytes = vec![0; BLOCK_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&u32::try_from(places.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes[16..24].copy_from_slice(&segment_end.to_le_bytes());
    bytes[24..28].copy_from_slice(&u32::try_from(blocks.len()).unwrap_or(u32::MAX).to_le_bytes());
    let crc = header_crc(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    for block in blocks {
        let from = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&u32::try_from(block.len()).unwrap_or(u32::MAX).to_le_bytes());
        for place in block {
            bytes.extend_from_slice(&place.slot.0.to_le_bytes());
            bytes.extend_from_slice(&place.at.to_le_bytes());
        }
        bytes.resize(from + BLOCK_BYTES, 0);
        let crc = crc32c::crc32c(&bytes[from + 4..]);
        bytes[from..from + 4].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

fn header_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..BLOCK_BYTES])
}

/// Why an index file cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    Bad,
    Io(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Unusable::Bad } else { Unusable::Io(error) }
    }
}

/// Where the records of `slot` begin, in order, according to the index `file` of a segment of `segment_bytes`.
pub(crate) fn find(file: &File, segment_bytes: u64, slot: KeySlot) -> Result<Vec<u32>, Unusable> {
    let blocks = read_header(file, segment_bytes)?;
    // The first block that may hold the slot is the one before the first that begins behind it.
    let (mut low, mut high) = (0, blocks);
    while low < high {
        let middle = low + (high - low) / 2;
        let first = read_block(file, middle)?.first().map_or(KeySlot(0), |place| place.slot);
        if first < slot { low = middle + 1 } else { high = middle }
    }
    let mut places = Vec::new();
    for number in low.saturating_sub(1)..blocks {
        let block = read_block(file, number)?;
        places.extend(block.iter().filter(|place| place.slot == slot).map(|place| place.at));
        if block.last().is_none_or(|last| last.slot > slot) {
            break;
        }
    }
    Ok(places)
}

fn read_header(file: &File, segment_bytes: u64) -> Result<u32, Unusable> {
    let mut bytes = [0; BLOCK_BYTES];
    file.read_exact_at(&mut bytes, 0)?;
    let is_whole = bytes[..8] == MAGIC && u32::from_le_bytes(array(&bytes, 12)) == header_crc(&bytes);
    if !is_whole || u64::from_le_bytes(array(&bytes, 16)) > segment_bytes {
        return Err(Unusable::Bad);
    }
    Ok(u32::from_le_bytes(array(&bytes, 24)))
}

fn read_block(file: &File, number: u32) -> Result<Vec<Place>, Unusable> {
    let mut bytes = [0; BLOCK_BYTES];
    file.read_exact_at(&mut bytes, (u64::from(number) + 1) * BLOCK_BYTES as u64)?;
    let count = u32::from_le_bytes(array(&bytes, 4)) as usize;
    if u32::from_le_bytes(array(&bytes, 0)) != crc32c::crc32c(&bytes[4..]) || count > BLOCK_RECORDS {
        return Err(Unusable::Bad);
    }
    let records = bytes[8..8 + 8 * count].chunks_exact(8);
    Ok(records
        .map(|record| Place {
            slot: KeySlot(u32::from_le_bytes(array(record, 0))),
            at: u32::from_le_bytes(array(record, 4)),
        })
        .collect())
}
