//! One record, or one row of the trace file, sealed under the key of its profile.
//!
//! ```text
//! 0     8       14     18      21     22          24             28
//! │ lsn │ stamp │ slot │ epoch │ form │ partition │ sealed_bytes │ sealed body … │ tag 16 │
//! │ u64 │ u48   │ u32  │ u24   │ u8   │ u16       │ u32          │
//! ```
//!
//! Little-endian. The header has a fixed size, so that a record can be read on its own, without its frame; it is the
//! associated data of the seal. `sealed_bytes` counts body and tag. `form`: 0 the body as it is; 1 its length as u32,
//! then its LZ4 block; 2 nothing, because the key was destroyed before the record was written.
//!
//! The cipher is ChaCha20-Poly1305. Every profile has a key of its own, and expanding one for AES costs as much as
//! sealing a record with it. The nonce is
//!
//! ```text
//! 0      1       4     12
//! │ kind │ epoch │ lsn │
//! ```
//!
//! INVARIANT: it never repeats under a key. Within one epoch lsn rises with every record that is written, and with
//! every row; a lsn that is written again after its frame was torn off is written in a later epoch.

use crate::disk::array;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress, get_maximum_output_size};
use model::{KeySlot, Lsn, PartitionId, Timestamp};
use ports::log::RecordRef;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

pub(crate) const HEADER_BYTES: usize = 28;
const TAG_BYTES: usize = 16;
/// What a record takes besides its body in clear: one is compressed only when it gets smaller by that.
pub(crate) const OVERHEAD_BYTES_MAX: usize = HEADER_BYTES + TAG_BYTES;
/// Shorter bodies gain a few percent at most, at the price of two seals.
const COMPRESS_BYTES_MIN: usize = 512;

/// Which of the two streams a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Log = 1,
    Trace = 2,
}

/// How often the log was opened. Fits the three bytes it has in a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Epoch(u32);

impl Epoch {
    pub const MAX: u32 = (1 << 24) - 1;

    pub fn new(number: u32) -> Option<Self> {
        (number <= Self::MAX).then_some(Epoch(number))
    }

    pub fn number(self) -> u32 {
        self.0
    }
}

/// The key of one slot.
pub(crate) type Key = [u8; 32];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Compressed,
    Erased,
}

/// What stands in clear before a sealed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub lsn: Lsn,
    pub stamp: Timestamp,
    pub slot: KeySlot,
    pub epoch: Epoch,
    pub partition: PartitionId,
    pub sealed_bytes: u32,
    form: Form,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.lsn.0.to_le_bytes());
        bytes[8..14].copy_from_slice(&self.stamp.as_ms().to_le_bytes()[..6]);
        bytes[14..18].copy_from_slice(&self.slot.0.to_le_bytes());
        bytes[18..21].copy_from_slice(&self.epoch.0.to_le_bytes()[..3]);
        bytes[21] = match self.form {
            Form::Plain => 0,
            Form::Compressed => 1,
            Form::Erased => 2,
        };
        bytes[22..24].copy_from_slice(&self.partition.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.sealed_bytes.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, &'static str> {
        let mut stamp = [0; 8];
        stamp[..6].copy_from_slice(&bytes[8..14]);
        let form = match bytes[21] {
            0 => Form::Plain,
            1 => Form::Compressed,
            2 => Form::Erased,
            _ => return Err("a record of an unknown form"),
        };
        Ok(Header {
            lsn: Lsn(u64::from_le_bytes(array(bytes, 0))),
            stamp: Timestamp::from_ms(i64::from_le_bytes(stamp)),
            slot: KeySlot(u32::from_le_bytes(array(bytes, 14))),
            epoch: Epoch(u32::from_le_bytes([bytes[18], bytes[19], bytes[20], 0])),
            partition: PartitionId(u16::from_le_bytes(array(bytes, 22))),
            sealed_bytes: u32::from_le_bytes(array(bytes, 24)),
            form,
        })
    }
}

pub(crate) fn nonce(kind: Kind, epoch: Epoch, lsn: Lsn) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[0] = kind as u8;
    nonce[1..4].copy_from_slice(&epoch.0.to_le_bytes()[..3]);
    nonce[4..].copy_from_slice(&lsn.0.to_le_bytes());
    nonce
}

fn cipher(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("INVARIANT: the cipher's keys have 32 bytes"))
}

/// Seals records; keeps what compression needs from one to the next.
#[derive(Default)]
pub(crate) struct Sealer {
    table: CompressTable,
    compressed: Vec<u8>,
}

impl Sealer {
    /// Appends `record` to `out`, sealed under `key`; without one it will read as erased.
    pub fn seal(&mut self, kind: Kind, epoch: Epoch, record: &RecordRef<'_>, key: Option<&Key>, out: &mut Vec<u8>) {
        let RecordRef { lsn, partition, slot, stamp, body } = *record;
        let form = match key {
            None => Form::Erased,
            Some(_) if self.compress(body) => Form::Compressed,
            Some(_) => Form::Plain,
        };
        let clear = match form {
            Form::Plain => body,
            Form::Compressed => &self.compressed,
            Form::Erased => &[],
        };
        let tag_bytes = if key.is_some() { TAG_BYTES } else { 0 };
        let sealed_bytes =
            u32::try_from(clear.len() + tag_bytes).expect("INVARIANT: bodies are bounded by the size of a frame");
        let header = Header { lsn, stamp, slot, epoch, partition, sealed_bytes, form }.encode();
        out.extend_from_slice(&header);
        let from = out.len();
        out.extend_from_slice(clear);
        if let Some(key) = key {
            let nonce = Nonce::assume_unique_for_key(nonce(kind, epoch, lsn));
            let tag = cipher(key)
                .seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[from..])
                .expect("INVARIANT: the cipher seals up to 256 GiB");
            out.extend_from_slice(tag.as_ref());
        }
    }

    /// Whether compression is worth it; its result is in `compressed` then.
    fn compress(&mut self, body: &[u8]) -> bool {
        if body.len() < COMPRESS_BYTES_MIN {
            return false;
        }
        let Ok(body_bytes) = u32::try_from(body.len()) else { return false };
        self.compressed.resize(4 + get_maximum_output_size(body.len()), 0);
        self.compressed[..4].copy_from_slice(&body_bytes.to_le_bytes());
        match compress_into_with_table(body, &mut self.compressed[4..], &mut self.table) {
            Ok(compressed_bytes) if 4 + compressed_bytes < body.len() => {
                self.compressed.truncate(4 + compressed_bytes);
                true
            }
            _ => false,
        }
    }
}

/// A record as it lies in a file: header, body, tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed<'a> {
    pub header: Header,
    bytes: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Reads the record at the start of `bytes`, and how many of them it takes.
    pub fn read(bytes: &'a [u8]) -> Result<(Self, usize), &'static str> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Err("a record cut short") };
        let header = Header::decode(header)?;
        let end = HEADER_BYTES.saturating_add(header.sealed_bytes as usize);
        let Some(bytes) = bytes.get(..end) else { return Err("a record longer than its frame") };
        Ok((Sealed { header, bytes }, end))
    }

    /// Whether it was written after its key was destroyed.
    pub fn is_erased(&self) -> bool {
        self.header.form == Form::Erased
    }

    /// The body in clear.
    pub fn open(&self, kind: Kind, key: &Key) -> Result<Vec<u8>, &'static str> {
        let (header, sealed) = self.bytes.split_at(HEADER_BYTES);
        let mut body = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce(kind, self.header.epoch, self.header.lsn));
        let opened = cipher(key).open_in_place(nonce, Aad::from(header), &mut body);
        let clear_bytes = opened.map_err(|_| "a record that its key does not open")?.len();
        body.truncate(clear_bytes);
        match self.header.form {
            Form::Plain | Form::Erased => Ok(body),
            Form::Compressed => {
                let Some((body_bytes, block)) = body.split_first_chunk::<4>() else {
                    return Err("a compressed record without its length");
                };
                // NOTE: the length was sealed by us, so that it can be trusted with an allocation.
                decompress(block, u32::from_le_bytes(*body_bytes) as usize)
                    .map_err(|_| "a compressed record that does not expand")
            }
        }
    }
}
