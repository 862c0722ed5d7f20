//! The key file: one key per profile, apart from log and store, so that destroying a key erases what was written
//! under it wherever that lies.
//!
//! ```text
//! 0            16       48     52        56      60    64
//! │ profile id │ key    │ slot │ durable │ state │ crc │ … the next slot
//! │ 16         │ 32     │ u32  │ u32     │ u32   │ u32 │
//! ```
//!
//! Little-endian; `crc` is CRC32C over what is before it. `state`: 1 live, 2 destroyed (profile and key are zeros
//! then). `durable` is how many slots were known to be synced when this one was written: as in a frame of the log, it
//! tells a slot that was never synced from one that was damaged. Slot 0 is the installation's. The file grows by
//! zeros, a chunk at a time, so that a sync need not change its size.
//!
//! NOTE: destroying overwrites the slot in place. File systems and disks that write elsewhere may keep the old bytes
//! for a while, and backups of the key file keep theirs.

use crate::disk::{self, array, damaged, failed};
use crate::epoch::Fingerprint;
use crate::record::Key;
use model::{KeySlot, ProfileId};
use ports::log::Error;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const SLOT_BYTES: usize = 64;
const GROW_BYTES: u64 = 1 << 20;
const LIVE: u32 = 1;
const DESTROYED: u32 = 2;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Live { profile: ProfileId, key: Key },
    Destroyed,
}

fn encode(number: u32, durable: u32, slot: Slot) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    let state = match slot {
        Slot::Live { profile, key } => {
            bytes[0..16].copy_from_slice(&profile.0);
            bytes[16..48].copy_from_slice(&key);
            LIVE
        }
        Slot::Destroyed => DESTROYED,
    };
    bytes[48..52].copy_from_slice(&number.to_le_bytes());
    bytes[52..56].copy_from_slice(&durable.to_le_bytes());
    bytes[56..60].copy_from_slice(&state.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The slot and its `durable`; None if these bytes are not slot `number` as it was written.
fn decode(number: u32, bytes: &[u8; SLOT_BYTES]) -> Option<(Slot, u32)> {
    let is_whole = u32::from_le_bytes(array(bytes, 60)) == crc32c::crc32c(&bytes[..60]);
    if !is_whole || u32::from_le_bytes(array(bytes, 48)) != number {
        return None;
    }
    let slot = match u32::from_le_bytes(array(bytes, 56)) {
        LIVE => Slot::Live { profile: ProfileId(array(bytes, 0)), key: array(bytes, 16) },
        DESTROYED => Slot::Destroyed,
        _ => return None,
    };
    Some((slot, u32::from_le_bytes(array(bytes, 52))))
}

fn offset(number: u32) -> u64 {
    u64::from(number) * SLOT_BYTES as u64
}

/// The file, as the writer and all readers see it.
#[derive(Debug)]
pub(crate) struct KeyFile {
    path: PathBuf,
    file: File,
    /// How many slots are written.
    written: AtomicU32,
}

impl KeyFile {
    pub fn written(&self) -> u32 {
        self.written.load(Ordering::Acquire)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `slot` holds; None for one that was never given out.
    pub fn read(&self, slot: KeySlot) -> Result<Option<Slot>, Error> {
        if slot.0 >= self.written() {
            return Ok(None);
        }
        let mut bytes = [0; SLOT_BYTES];
        self.file.read_exact_at(&mut bytes, offset(slot.0)).map_err(failed(&self.path, "reading a key"))?;
        match decode(slot.0, &bytes) {
            Some((held, _)) => Ok(Some(held)),
            None => Err(damaged(&self.path, offset(slot.0), "this is not the key that was written here")),
        }
    }
}

/// The keys used lately. Two generations: when the newer one is full it becomes the older one, which is dropped.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    newer: HashMap<u32, Slot>,
    older: HashMap<u32, Slot>,
}

impl Cache {
    /// Some 64 B each, so that both generations take about 16 MB.
    const GENERATION_MAX: usize = 131_072;

    pub fn get(&mut self, file: &KeyFile, slot: KeySlot) -> Result<Option<Slot>, Error> {
        if let Some(held) = self.newer.get(&slot.0) {
            return Ok(Some(*held));
        }
        let held = match self.older.get(&slot.0) {
            Some(held) => Some(*held),
            None => file.read(slot)?,
        };
        if let Some(held) = held {
            self.insert(slot, held);
        }
        Ok(held)
    }

    fn insert(&mut self, slot: KeySlot, held: Slot) {
        if self.newer.len() >= Self::GENERATION_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(slot.0, held);
    }

    pub fn forget(&mut self, slot: KeySlot) {
        self.newer.remove(&slot.0);
        self.older.remove(&slot.0);
    }
}

/// The writer's side: draws keys and writes them.
pub(crate) struct Keys {
    pub file: Arc<KeyFile>,
    cache: Cache,
    /// Drawn and not yet written: the slots behind those written.
    pending: Vec<Slot>,
    pending_bytes: Vec<u8>,
    capacity_bytes: u64,
    durable: u32,
}

impl Keys {
    /// Draws a key for `profile`. It is in memory only until [`Keys::flush`].
    pub fn create(&mut self, profile: ProfileId) -> Result<KeySlot, Error> {
        let pending = u32::try_from(self.pending.len()).ok();
        let number =
            pending.and_then(|pending| self.file.written().checked_add(pending)).filter(|number| *number < u32::MAX);
        let Some(number) = number else {
            return Err(damaged(&self.file.path, 0, "all of its 4,294,967,295 slots are given out"));
        };
        let key = draw(&self.file.path)?;
        self.pending.push(Slot::Live { profile, key });
        Ok(KeySlot(number))
    }

    /// Writes what was drawn; not yet durable. A failure because the disk is full leaves everything as it was.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let first = self.file.written();
        self.pending_bytes.clear();
        for (number, slot) in (first..).zip(&self.pending) {
            self.pending_bytes.extend_from_slice(&encode(number, self.durable, *slot));
        }
        let end = offset(first) + self.pending_bytes.len() as u64;
        if end > self.capacity_bytes {
            let capacity_bytes = end.next_multiple_of(GROW_BYTES);
            disk::allocate(&self.file.file, self.capacity_bytes, capacity_bytes)
                .map_err(failed(&self.file.path, "growing the key file"))?;
            self.capacity_bytes = capacity_bytes;
        }
        self.file
            .file
            .write_all_at(&self.pending_bytes, offset(first))
            .map_err(failed(&self.file.path, "writing keys"))?;
        let mut next = first;
        for slot in self.pending.drain(..) {
            self.cache.insert(KeySlot(next), slot);
            next += 1;
        }
        self.file.written.store(next, Ordering::Release);
        Ok(())
    }

    /// Whether something was written that no sync has finished for.
    pub fn is_unsynced(&self) -> bool {
        self.durable < self.file.written()
    }

    /// A sync that was begun when `written` slots were written has ended well.
    pub fn synced(&mut self, written: u32) {
        self.durable = self.durable.max(written);
    }

    /// Makes the keys durable by itself.
    pub fn sync(&mut self) -> Result<(), Error> {
        let written = self.file.written();
        sync(&self.file)?;
        self.synced(written);
        Ok(())
    }

    /// The key to write a record of `slot` under; None when it was destroyed.
    pub fn key(&mut self, slot: KeySlot) -> Result<Option<Key>, Error> {
        match self.cache.get(&self.file, slot)? {
            Some(Slot::Live { key, .. }) => Ok(Some(key)),
            Some(Slot::Destroyed) => Ok(None),
            None => Err(damaged(&self.file.path, offset(slot.0), format!("the slot {} was never given out", slot.0))),
        }
    }

    pub fn profile_of(&self, slot: KeySlot) -> Result<Option<ProfileId>, Error> {
        let pending = slot.0.checked_sub(self.file.written()).and_then(|at| self.pending.get(at as usize));
        let held = match pending {
            Some(held) => Some(*held),
            None => self.file.read(slot)?,
        };
        Ok(match held {
            Some(Slot::Live { profile, .. }) if slot != KeySlot::INSTALLATION => Some(profile),
            Some(Slot::Live { .. } | Slot::Destroyed) | None => None,
        })
    }

    /// Overwrites the key of `slot`; gone from the file when this returns.
    pub fn destroy(&mut self, slot: KeySlot) -> Result<(), Error> {
        assert!(slot != KeySlot::INSTALLATION, "the installation's key is not a profile's and is never destroyed");
        self.flush()?;
        if self.file.read(slot)?.is_none() {
            return Err(damaged(&self.file.path, offset(slot.0), format!("the slot {} was never given out", slot.0)));
        }
        self.cache.forget(slot);
        let bytes = encode(slot.0, self.durable, Slot::Destroyed);
        self.file.file.write_all_at(&bytes, offset(slot.0)).map_err(failed(&self.file.path, "destroying a key"))?;
        self.sync()
    }
}

fn draw(place: &Path) -> Result<Key, Error> {
    let mut key = [0; 32];
    let drawn = getrandom::fill(&mut key).map_err(|error| std::io::Error::other(error.to_string()));
    drawn.map_err(failed(place, "drawing a key"))?;
    Ok(key)
}

pub(crate) fn sync(file: &KeyFile) -> Result<(), Error> {
    file.file.sync_data().map_err(failed(&file.path, "syncing keys"))
}

/// What only this installation can compute.
pub(crate) struct Secrets {
    key: Key,
}

impl Secrets {
    pub fn fingerprint(&self) -> Fingerprint {
        array(&self.of("log: fingerprint of the key file"), 0)
    }

    pub fn of(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(&format!("sojourn {purpose}"), &self.key)
    }
}

/// What is there besides the key file when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// A log that was written under it.
    Log,
    /// No log; an epoch file tells how often one was opened under these keys.
    Epoch,
    /// Neither.
    Nothing,
}

pub(crate) struct Opened {
    pub keys: Keys,
    pub secrets: Secrets,
    /// How many slots were cut.
    pub cut: u32,
    /// Nothing was ever written under these keys.
    pub is_new: bool,
}

/// Opens the key file in `directory`; creates it, with the installation's key, unless there is a log that was written
/// under another.
pub(crate) fn open(directory: &Path, beside: Beside) -> Result<Opened, Error> {
    disk::create_directory(directory)?;
    let path = directory.join("keys");
    let found_bytes = match std::fs::metadata(&path) {
        Ok(metadata) => Some(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&path, "reading its size")(error)),
    };
    let is_new = match (beside, found_bytes) {
        (Beside::Log, None) => {
            return Err(damaged(&path, 0, "there is a log but the key file it was written under is missing"));
        }
        (Beside::Epoch, None) | (Beside::Nothing, None) => true,
        (Beside::Log | Beside::Epoch, Some(_)) => false,
        // A first start that was interrupted left the installation's key and no profile's.
        (Beside::Nothing, Some(bytes)) if bytes <= SLOT_BYTES as u64 => true,
        (Beside::Nothing, Some(_)) => {
            let what = "there are keys but no epoch file beside them, without which nothing can be written under them \
                        safely; put it back from where the keys came from";
            return Err(damaged(&path, 0, what));
        }
    };
    if is_new {
        let key = draw(&path)?;
        disk::replace(&path, &encode(0, 0, Slot::Live { profile: ProfileId::default(), key }))?;
    }
    let file = disk::open(&path).map_err(failed(&path, "opening the key file"))?;
    let capacity_bytes = file.metadata().map_err(failed(&path, "reading its size"))?.len();
    let found = find_end(&file, &path, capacity_bytes)?;
    let cut = cut_and_rewrite(&file, &path, &found, capacity_bytes)?;
    let file = Arc::new(KeyFile { path, file, written: AtomicU32::new(found.end) });
    let Some(Slot::Live { key, .. }) = file.read(KeySlot::INSTALLATION)? else {
        return Err(damaged(&file.path, 0, "the installation's key is not in its place"));
    };
    let secrets = Secrets { key };
    let keys = Keys {
        file,
        cache: Cache::default(),
        pending: Vec::new(),
        pending_bytes: Vec::new(),
        capacity_bytes,
        durable: found.end,
    };
    Ok(Opened { keys, secrets, cut, is_new })
}

/// What the end of the file looks like.
struct Found {
    /// Slots below were certainly synced.
    durable: u32,
    /// Slots below are whole.
    end: u32,
    /// Slots below have been written to.
    touched: u32,
}

/// Reads slot after slot, many at a time.
struct Block<'a> {
    file: &'a File,
    path: &'a Path,
    first: u32,
    bytes: Vec<u8>,
}

impl Block<'_> {
    const SLOTS: u32 = 1024;

    fn slot(&mut self, number: u32) -> Result<[u8; SLOT_BYTES], Error> {
        let first = number - number % Self::SLOTS;
        if self.bytes.is_empty() || first != self.first {
            self.first = first;
            self.bytes.resize(Self::SLOTS as usize * SLOT_BYTES, 0);
            let read = disk::read_up_to(self.file, &mut self.bytes, offset(first));
            read.map_err(failed(self.path, "reading keys"))?;
        }
        Ok(array(&self.bytes, (number - first) as usize * SLOT_BYTES))
    }
}

/// Walks back to the last whole slot, and from what it proves to be durable forward to the first that is not whole.
fn find_end(file: &File, path: &Path, file_bytes: u64) -> Result<Found, Error> {
    let slots = u32::try_from(file_bytes / SLOT_BYTES as u64).unwrap_or(u32::MAX);
    let mut block = Block { file, path, first: 0, bytes: Vec::new() };
    let (mut touched, mut last) = (0, None);
    for number in (0..slots).rev() {
        let bytes = block.slot(number)?;
        if touched == 0 && bytes != [0; SLOT_BYTES] {
            touched = number + 1;
        }
        last = decode(number, &bytes).map(|(_, durable)| (number, durable));
        if last.is_some() {
            break;
        }
    }
    let Some((last, mut durable)) = last else {
        return Err(damaged(path, 0, "there is no whole key in the key file"));
    };
    let mut end = durable.min(last);
    while end <= last && decode(end, &block.slot(end)?).is_some() {
        end += 1;
    }
    for number in end..=last {
        let Some((_, proved)) = decode(number, &block.slot(number)?) else { continue };
        durable = durable.max(proved);
    }
    if durable > end {
        return Err(damaged(path, offset(end), "this key had been durable and is not whole"));
    }
    Ok(Found { durable, end, touched })
}

/// Zeros what is behind the last whole slot, and writes those once more that may never have reached the disk.
fn cut_and_rewrite(file: &File, path: &Path, found: &Found, file_bytes: u64) -> Result<u32, Error> {
    let (from, to) = (offset(found.durable), offset(found.end));
    let mut bytes = vec![0; usize::try_from(to - from).expect("INVARIANT: the keys of one sync fit in memory")];
    file.read_exact_at(&mut bytes, from).map_err(failed(path, "reading keys"))?;
    file.write_all_at(&bytes, from).map_err(failed(path, "writing keys"))?;
    let touched = offset(found.touched).next_multiple_of(SLOT_BYTES as u64).min(file_bytes);
    if touched > to {
        disk::write_zeros(file, to, touched, |_| Ok(())).map_err(failed(path, "cutting keys"))?;
    }
    file.sync_all().map_err(failed(path, "syncing keys"))?;
    Ok(found.touched.saturating_sub(found.end))
}
