//! Bugs planted into the ports, to see that the checkers find them.

use engine::state::OutboxKind;
use model::{KeySlot, Lsn, ProfileId, Timestamp, Value};
use ports::log::{Error, Frame, Log, Replay, TraceRow, TraceSync};
use ports::memory::{MemoryLog, MemoryState};
use ports::state::{self, Scan, State};
use ports::{Keyspace, Row, codec};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is wrong with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The log says that a sync has ended which has not: acknowledgements come before durability.
    AcknowledgesBeforeSync,
    /// The log takes a frame, syncs it, and does not have it after a crash.
    LosesASyncedFrame,
    /// The log removes records that recovery still needs.
    ReleasesTooMuch,
    /// The log hands a record to recovery twice.
    ReplaysTwice,
    /// The log takes trace rows and does not keep them all.
    LosesTraces,
    /// The store says that a profile of a checkpoint is written and does not have it.
    LosesARow,
    /// The store says that a profile of a checkpoint is written and keeps the one before.
    KeepsAStaleRow,
    /// The same for profiles that send nothing then: what happens twice is found elsewhere.
    KeepsAStaleRowAtRest,
    /// The store says that counters of a checkpoint are written and does not have them.
    LosesABook,
    /// A scan of the store leaves rows out: their timers are not found at the start.
    ScansNotAll,
    /// The store answers once with bytes that are no profile. Not for the checkers to find: the partition stops, the
    /// others go on, and the log has everything.
    DamagesARow,
    /// The store answers a message with other words than were written.
    ChangesABody,
}

/// What bugs need to know over restarts.
#[derive(Clone, Default)]
pub(crate) struct Planted {
    pub bug: Option<Bug>,
    count: Arc<AtomicU64>,
}

impl Planted {
    pub fn new(bug: Option<Bug>) -> Self {
        Planted { bug, count: Arc::default() }
    }

    /// Whether it is this bug's turn, once in `times`.
    fn strikes(&self, bug: Bug, times: u64) -> bool {
        self.bug == Some(bug) && self.count.fetch_add(1, Ordering::Relaxed) % times == times - 1
    }
}

impl Planted {
    /// Whether it is this bug's turn, the `number`th time and never again.
    fn strikes_once(&self, bug: Bug, number: u64) -> bool {
        self.bug == Some(bug) && self.count.fetch_add(1, Ordering::Relaxed) + 1 == number
    }
}

pub(crate) struct BuggyLog {
    inner: MemoryLog,
    planted: Planted,
    /// A sync was begun, and its end was reported but not waited for.
    owes_sync: bool,
}

impl BuggyLog {
    pub fn new(inner: MemoryLog, planted: &Planted) -> Self {
        BuggyLog { inner, planted: planted.clone(), owes_sync: false }
    }
}

impl Log for BuggyLog {
    fn last_lsn(&self) -> Lsn {
        self.inner.last_lsn()
    }

    fn last_stamp(&self) -> Timestamp {
        self.inner.last_stamp()
    }

    fn last_traced(&self) -> Lsn {
        self.inner.last_traced()
    }

    fn room(&mut self) -> Result<(), Error> {
        self.inner.room()
    }

    fn append(&mut self, frame: &Frame) -> Result<(), Error> {
        self.inner.append(frame)
    }

    fn begin_sync(&mut self) -> Result<(), Error> {
        // The sync that nobody waited for ends when the next one begins.
        if std::mem::take(&mut self.owes_sync) {
            self.inner.finish_sync()?;
        }
        self.inner.begin_sync()
    }

    fn finish_sync(&mut self) -> Result<(), Error> {
        if self.planted.strikes(Bug::AcknowledgesBeforeSync, 5) {
            self.owes_sync = true;
            return Ok(());
        }
        self.inner.finish_sync()
    }

    fn replay(&mut self, from: Lsn) -> Result<Replay, Error> {
        let entries = self.inner.replay(from)?;
        if self.planted.bug != Some(Bug::ReplaysTwice) {
            return Ok(entries);
        }
        let twice = entries.flat_map(|entry| [entry.as_ref().ok().cloned().map(Ok), Some(entry)]);
        Ok(Box::new(twice.flatten()))
    }

    fn release(&mut self, before: Lsn) {
        let much = self.planted.bug == Some(Bug::ReleasesTooMuch);
        self.inner.release(if much { self.inner.last_lsn().next() } else { before });
    }

    fn create_key(&mut self, profile: ProfileId) -> Result<KeySlot, Error> {
        self.inner.create_key(profile)
    }

    fn profile_of(&self, slot: KeySlot) -> Result<Option<ProfileId>, Error> {
        self.inner.profile_of(slot)
    }

    fn append_traces(&mut self, rows: &[TraceRow]) -> Result<(), Error> {
        let kept = if self.planted.strikes(Bug::LosesTraces, 9) { &rows[..rows.len() / 2] } else { rows };
        self.inner.append_traces(kept)
    }

    fn sync_traces(&mut self) -> TraceSync {
        self.inner.sync_traces()
    }
}

pub(crate) struct BuggyState {
    inner: MemoryState,
    planted: Planted,
}

impl BuggyState {
    pub fn new(inner: MemoryState, planted: &Planted) -> Self {
        BuggyState { inner, planted: planted.clone() }
    }
}

impl BuggyState {
    /// Whether the row is a profile that is there already and sends nothing, neither as it was nor as it will be.
    fn is_at_rest(&self, row: &Row) -> bool {
        let sends_nothing =
            |row: &[u8]| codec::decode_profile(row).expect("INVARIANT: what was encoded decodes").outbox.is_empty();
        row.keyspace == Keyspace::Subjects
            && row.value.as_deref().is_some_and(sends_nothing)
            && self.inner.get(row.keyspace, &row.key).is_ok_and(|held| held.as_deref().is_some_and(sends_nothing))
    }
}

impl State for BuggyState {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, state::Error> {
        let row = self.inner.get(keyspace, key)?;
        if row.is_some() && keyspace == Keyspace::Subjects && self.planted.strikes_once(Bug::DamagesARow, 40) {
            return Ok(Some(b"no profile".to_vec()));
        }
        let is_changed = self.planted.bug == Some(Bug::ChangesABody) && keyspace == Keyspace::Subjects;
        Ok(if is_changed { row.map(|row| with_other_words(&row)) } else { row })
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut state::Visit<'_>,
    ) -> Result<(), state::Error> {
        self.inner.scan(keyspace, prefix, after, &mut |key, value| {
            let is_left_out = keyspace == Keyspace::Subjects && self.planted.strikes(Bug::ScansNotAll, 3);
            if is_left_out { Ok(Scan::Continue) } else { visit(key, value) }
        })
    }

    fn write(&self, mut rows: Vec<Row>) -> Result<(), state::Error> {
        let is_one_of = |wanted: Keyspace| move |row: &Row| row.keyspace == wanted;
        let lost = match self.planted.bug {
            Some(Bug::LosesARow) => rows.iter().position(is_one_of(Keyspace::Subjects)),
            Some(Bug::LosesABook) => rows.iter().position(is_one_of(Keyspace::Books)),
            Some(Bug::KeepsAStaleRow) => {
                let held = |row: &Row| matches!(self.inner.get(row.keyspace, &row.key), Ok(Some(_)));
                rows.iter().position(|row| row.keyspace == Keyspace::Subjects && held(row))
            }
            Some(Bug::KeepsAStaleRowAtRest) => rows.iter().position(|row| self.is_at_rest(row)),
            Some(_) | None => None,
        };
        if let Some(lost) = lost {
            rows.remove(lost);
        }
        self.inner.write(rows)
    }
}

/// The same profile, its messages with another word.
fn with_other_words(row: &[u8]) -> Vec<u8> {
    let mut profile = codec::decode_profile(row).expect("INVARIANT: what was encoded decodes");
    for held in &mut profile.outbox {
        if let OutboxKind::Send(rendered) = &mut held.kind {
            Arc::make_mut(rendered).parts.insert("subject", Value::Text("something else".into()));
        }
    }
    let mut changed = Vec::new();
    codec::encode_profile(&profile, &mut changed);
    changed
}
