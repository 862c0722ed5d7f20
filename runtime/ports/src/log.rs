//! The log: the truth and the history. Records go in as frames, a frame is whole or absent after a crash.
//!
//! One log serves all partitions of a machine, so that one sync makes the batches of all of them durable (group
//! commit). `lsn` rises by one with every record over all partitions; what matters to a partition is only the order.
//! Record bodies are compressed and encrypted under the key of their profile below this trait; a body whose key was
//! destroyed reads as [`Body::Erased`].

use model::{KeySlot, Lsn, PartitionId, ProfileId, Timestamp};

/// Why a log could not do what was asked. After an error of `append`, `begin_sync` or `finish_sync` the log answers
/// errors until it is opened anew: a failed sync is never repeated on the same data (design §2.5). Only `append` with
/// [`Error::Full`] or [`Error::TooLarge`] leaves it as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk is full, or so nearly that a frame might not fit. Recovers by itself when there is room.
    #[error("no room for the log in {place}: {free_bytes} bytes free, {needed_bytes} needed")]
    Full { place: String, free_bytes: u64, needed_bytes: u64 },
    /// Nothing of it was written, and the log goes on: a caller that makes smaller frames is not stopped by it.
    #[error("a frame of {frame_bytes} bytes does not fit the log, whose frames have at most {frame_bytes_max}")]
    TooLarge { frame_bytes: u64, frame_bytes_max: u64 },
    #[error("log {place}: {doing} failed")]
    Io { place: String, doing: &'static str, source: std::io::Error },
    /// Bytes in the middle of the log are not what was written. An operator must act.
    #[error("log {place} is damaged at byte {at_byte}: {what}")]
    Damaged { place: String, at_byte: u64, what: String },
    #[error("the log stopped after an earlier failure; it must be opened anew")]
    Stopped,
}

/// A batch of records that become durable together. Reused from batch to batch, so that records allocate nothing.
#[derive(Debug, Default)]
pub struct Frame {
    records: Vec<FrameRecord>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct FrameRecord {
    lsn: Lsn,
    partition: PartitionId,
    slot: KeySlot,
    stamp: Timestamp,
    end: usize,
}

/// One record of a frame that is being written.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    pub lsn: Lsn,
    pub partition: PartitionId,
    pub slot: KeySlot,
    pub stamp: Timestamp,
    /// The encoded command, in clear.
    pub body: &'a [u8],
}

impl Frame {
    pub fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes of all bodies together.
    pub fn body_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record whose body `write` appends to the buffer it is given.
    pub fn push(
        &mut self,
        lsn: Lsn,
        partition: PartitionId,
        slot: KeySlot,
        stamp: Timestamp,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        write(&mut self.bytes);
        self.records.push(FrameRecord { lsn, partition, slot, stamp, end: self.bytes.len() });
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> {
        self.records.iter().enumerate().map(|(at, record)| {
            let start = if at == 0 { 0 } else { self.records[at - 1].end };
            let FrameRecord { lsn, partition, slot, stamp, end } = *record;
            RecordRef { lsn, partition, slot, stamp, body: &self.bytes[start..end] }
        })
    }

    pub fn last_lsn(&self) -> Option<Lsn> {
        self.records.last().map(|record| record.lsn)
    }
}

/// One record read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub lsn: Lsn,
    pub partition: PartitionId,
    pub slot: KeySlot,
    pub stamp: Timestamp,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The encoded command, in clear.
    Command(Vec<u8>),
    /// The key of its profile was destroyed (P2).
    Erased,
}

/// One row of the trace file: what applying the record `lsn` decided about the profile of `slot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRow {
    pub lsn: Lsn,
    pub partition: PartitionId,
    pub slot: KeySlot,
    pub stamp: Timestamp,
    /// The encoded trace, in clear.
    pub body: Vec<u8>,
}

/// Makes those trace rows durable that were appended before it was made; runs on any thread, beside the log.
pub struct TraceSync(Box<dyn Fn() -> Result<(), Error> + Send>);

impl TraceSync {
    pub fn new(sync: impl Fn() -> Result<(), Error> + Send + 'static) -> Self {
        TraceSync(Box::new(sync))
    }

    /// Waits for the disk.
    ///
    /// # Errors
    /// See [`Error`]; no checkpoint may then be written over these rows.
    pub fn run(&self) -> Result<(), Error> {
        self.0()
    }
}

impl std::fmt::Debug for TraceSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TraceSync")
    }
}

/// The records of a log as they are read back, one by one.
pub type Replay = Box<dyn Iterator<Item = Result<Entry, Error>> + Send>;

pub trait Log: Send {
    /// The last record that was found when the log was opened or was appended since; `Lsn(0)` when there is none.
    fn last_lsn(&self) -> Lsn;

    /// The stamp of that record; `Timestamp::EPOCH` when there is none (O2: a restart never goes below it).
    fn last_stamp(&self) -> Timestamp;

    /// The last record whose trace is in the trace file; replay makes those behind it again.
    fn last_traced(&self) -> Lsn;

    /// Whether there is room for another frame, as far as can be told without writing one.
    ///
    /// # Errors
    /// [`Error::Full`] when there is not, else see [`Error`].
    fn room(&mut self) -> Result<(), Error>;

    /// Writes `frame` after everything before it. Durable only when a sync that was begun afterwards has finished.
    /// After a crash the frame is there whole or not at all, and never without all the frames before it.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::TooLarge`] before anything was written, else see [`Error`].
    fn append(&mut self, frame: &Frame) -> Result<(), Error>;

    /// Begins to make all that was appended, all new keys included, durable; returns at once.
    ///
    /// # Errors
    /// See [`Error`].
    fn begin_sync(&mut self) -> Result<(), Error>;

    /// Waits until the sync that was begun has ended.
    ///
    /// # Errors
    /// See [`Error`]; nothing appended since the last good sync may then be taken for durable.
    fn finish_sync(&mut self) -> Result<(), Error>;

    /// Every durable record from `from` on, in order; `Lsn(0)`: from the oldest that is kept. What it answers borrows
    /// nothing, so that one thread reads ahead while another applies, and ends at its first error. Recovery makes the
    /// traces of all of them again: where some of those in the trace file cannot be read, `last_traced` is before them
    /// afterwards.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Damaged`] where records from `from` on are there no more.
    fn replay(&mut self, from: Lsn) -> Result<Replay, Error>;

    /// Says that recovery will not ask for records before `before` any more: a checkpoint that holds them is durable.
    /// Retention may delete whole segments below.
    fn release(&mut self, before: Lsn);

    /// Draws a key for a new profile. The key is durable no later than the first record under its slot. A slot given
    /// out before a crash and not made durable may be given out again.
    ///
    /// # Errors
    /// See [`Error`].
    fn create_key(&mut self, profile: ProfileId) -> Result<KeySlot, Error>;

    /// Whose slot it is; None for a slot that was never given out or whose key was destroyed.
    ///
    /// # Errors
    /// See [`Error`]: the key may be there and cannot be read, so that nobody may act as if it were not.
    fn profile_of(&self, slot: KeySlot) -> Result<Option<ProfileId>, Error>;

    /// Appends rows to the trace file, unsynced: a crash may lose the last of them, and replay makes them again. Rows
    /// ascend by lsn, at most one for a record; those up to `last_traced` are there already and are left out.
    ///
    /// # Errors
    /// See [`Error`]; the log goes on, and `last_traced` says how far the rows are there. The caller keeps the others
    /// and gives them again before any later ones, for behind a gap nobody makes them again, and no checkpoint may be
    /// written meanwhile, for what it holds is not replayed.
    fn append_traces(&mut self, rows: &[TraceRow]) -> Result<(), Error>;

    /// What makes the rows appended so far durable. Run it before a checkpoint is written: what the checkpoint holds
    /// is not replayed, so that rows which a loss of power takes after it would be made again by nobody.
    fn sync_traces(&mut self) -> TraceSync;
}

/// The log read as history: a profile's timeline, "why" and "why not" (design §3). Used from many threads.
pub trait History: Send + Sync {
    /// The records of one profile with their traces, newest first, before `before` if given, at most `limit`.
    ///
    /// # Errors
    /// See [`Error`].
    fn of_profile(&self, slot: KeySlot, before: Option<Lsn>, limit: usize) -> Result<Vec<Moment>, Error>;
}

/// A record and what applying it decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    pub entry: Entry,
    /// None while the trace was lost in a crash and not yet made again, or where the record left none.
    pub trace: Option<Vec<u8>>,
}
