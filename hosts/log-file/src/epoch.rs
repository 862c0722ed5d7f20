//! The files `epoch`: how often a log was opened under these keys.
//!
//! ```text
//! 0       8     12        16      20         36
//! │ magic │ crc │ version │ epoch │ key file │
//! │ 8     │ u32 │ u32     │ u32   │ 16       │
//! ```
//!
//! Little-endian; `crc` is CRC32C over everything behind it. `version` is that of all formats of this crate. It is
//! raised durably before anything is written, because nonces rest on it; each opening replaces the file whole.
//!
//! There are two, beside the log and beside the keys, and the higher one counts. The one beside the keys is what
//! nonces rest on: whoever starts a new log under keys he kept must not number its openings as in the old one. The
//! one beside the log says which keys it needs.

use crate::disk::{self, array, damaged, failed};
use crate::record::Epoch;
use ports::log::Error;
use std::path::Path;

const MAGIC: [u8; 8] = *b"SOJOLOG\n";
const VERSION: u32 = 1;
const FILE_BYTES: usize = 36;

/// What tells one key file from another without giving away a key.
pub(crate) type Fingerprint = [u8; 16];

/// What an epoch file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub number: u32,
    pub keys: Fingerprint,
}

/// What the file says, if there is one.
pub(crate) fn read(path: &Path) -> Result<Option<Held>, Error> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed(path, "reading the file"))?,
    };
    if bytes.len() != FILE_BYTES || bytes[..8] != MAGIC {
        return Err(damaged(path, 0, "this is not the epoch file of a log"));
    }
    if u32::from_le_bytes(array(&bytes, 8)) != crc32c::crc32c(&bytes[12..]) {
        return Err(damaged(path, 8, "the checksum does not match"));
    }
    let version = u32::from_le_bytes(array(&bytes, 12));
    if version != VERSION {
        let what = format!("the log has format {version}, this program reads and writes format {VERSION}");
        return Err(damaged(path, 12, what));
    }
    Ok(Some(Held { number: u32::from_le_bytes(array(&bytes, 16)), keys: array(&bytes, 20) }))
}

/// Begins the epoch after `last`; it is durable when this returns, beside the keys first.
pub(crate) fn raise(beside_keys: &Path, beside_log: &Path, last: u32, keys: &Fingerprint) -> Result<Epoch, Error> {
    let Some(epoch) = last.checked_add(1).and_then(Epoch::new) else {
        let what =
            format!("the log was opened {} times, as often as its nonces allow; export it into a new one", Epoch::MAX);
        return Err(damaged(beside_keys, 16, what));
    };
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&epoch.number().to_le_bytes());
    bytes.extend_from_slice(keys);
    let crc = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    disk::replace(beside_keys, &bytes)?;
    disk::replace(beside_log, &bytes)?;
    Ok(epoch)
}
