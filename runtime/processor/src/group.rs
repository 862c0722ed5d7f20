//! A group: the partitions that one thread handles, over one log and one store.
//!
//! ```text
//!   inputs ─► stage: resolve identities, stamp ─► frame ─► Log.append ─► begin_sync ─┐
//!                                                            │                       │ the disk works
//!                                                            └─► apply, in memory ◄──┤ meanwhile
//!                                                                       │            │
//!   Released { answers, hand_offs } ◄── only when both are done ◄───────┴── finish_sync
//! ```
//! After an error nothing in memory may be trusted: the host drops the group and opens it anew (design §2.5). One is
//! excepted: a full disk is found before anything is written, and all that staging took up is put back then.

mod counters;
mod stage;

pub use counters::Counters;
pub use stage::PROFILE_RATE;

use crate::checkpoint::InFlight;
use crate::directory;
use crate::dispatcher::{ChannelPolicy, Dispatcher, Waiting};
use crate::input::{Answer, Input, ProfileRead, Released, TailItem, Who};
use crate::partition::{Linking, Partition, Stopped, Surroundings};
use crate::stops::Stops;
use catalog::{Catalog, Change};
use engine::command::{Command, DocumentChange, ProfileCommand};
use engine::control::{self, Control};
use engine::{Effect, Limits, PartitionCommand};
use model::{CatalogVersion, EffectId, Finding, KeySlot, Lsn, PartitionId, ProfileId, Text, Timestamp};
use ports::log::TraceRow;
use ports::{Frame, HandOff, Log, State, codec};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use template::tracking::Signer;

pub(crate) use stage::{Own, Taken};
use stage::{Staged, Stored};

/// What a group is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many partitions there are, 1 to 1,024; fixed at the first start.
    pub partitions: u16,
    /// Profiles kept in memory over all partitions. More means fewer reads of the store, about 1.5 KiB each.
    pub hot_profiles_max: usize,
    pub limits: Limits,
    pub channels: BTreeMap<Text, ChannelPolicy>,
    /// Timers looked at in one turn; the rest follow in the next, so that inputs are not held up by a burst.
    pub timers_per_turn_max: usize,
    /// Claims appended in one turn.
    pub claims_per_turn_max: usize,
    /// Replays a tail that was written under other rules instead of refusing it (design §2.5).
    pub accept_rules_change: bool,
    /// Events and updates of one profile stored in one minute; what is over it is rejected (trap T11). Counted for
    /// profiles in memory, so that the first turn of one that was not there may pass it.
    pub profile_rate_max: u32,
    /// Bytes of the ids that a partition remembers for deduplication, 28 each. Less means a shorter window (E3).
    pub dedup_bytes_max: u64,
}

/// A turn's frame is closed to what can wait once its bodies have this many bytes.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;
/// Traces that could not be written are kept for another try, up to so many bytes.
const OWED_TRACES_BYTES_MAX: usize = 64 << 20;

impl Default for Options {
    fn default() -> Self {
        Options {
            partitions: 16,
            hot_profiles_max: 500_000,
            limits: Limits::default(),
            channels: BTreeMap::new(),
            timers_per_turn_max: 4_096,
            claims_per_turn_max: 4_096,
            accept_rules_change: false,
            profile_rate_max: 1_000,
            dedup_bytes_max: 256 << 20,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Log(#[from] ports::log::Error),
    #[error(transparent)]
    State(#[from] ports::state::Error),
    #[error("no thread to read the log: {why}")]
    NoThread { why: String },
    #[error("record {lsn} of the log cannot be read: {why}")]
    Record { lsn: Lsn, why: String },
    #[error(
        "the log's tail was written under rules {found}, this program has rules {ours}; stop it cleanly with the old \
         program first, or start with --accept-rules-change"
    )]
    RulesChanged { found: u32, ours: u32 },
    #[error("the data directory has {found} partitions; the configuration says {wanted}, and they cannot be changed")]
    Partitions { found: u16, wanted: u16 },
    #[error(
        "the log ends at record {log}, but the store holds records up to {store}: the end of the log is lost; restore \
         log and store from one backup, or move the store away if the log reaches back to record 1"
    )]
    LogTooShort { log: Lsn, store: Lsn },
    #[error(
        "the store needs the log from record {wanted} on, but the log begins at {found}: restore log and store from \
         one backup"
    )]
    LogGap { wanted: Lsn, found: Lsn },
}

/// A turn that failed, with the tickets of those who now wait in vain.
#[derive(Debug)]
pub struct Failed<T> {
    pub error: Error,
    pub tickets: Vec<T>,
    pub group: After,
    /// Granted in this turn and never handed off, which the log may hold all the same.
    pub withheld: Vec<EffectId>,
}

/// What a failed turn left of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The disk is full; the group stands as before the turn. What was given to it is to be given again.
    Unchanged,
    /// To be dropped and opened anew.
    Unusable,
}

pub struct Group<L, S: ?Sized, T> {
    pub(crate) options: Options,
    pub(crate) log: L,
    pub(crate) state: Arc<S>,
    pub(crate) secret: [u8; 32],
    pub(crate) signer: Signer,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) control: Arc<Control>,
    pub(crate) control_changes: Vec<control::Changed>,
    pub(crate) catalogs: BTreeMap<CatalogVersion, Arc<Catalog>>,
    /// Of the history; opening the group hands them out.
    pub(crate) catalog_findings: Vec<Finding>,
    pub(crate) now: Timestamp,
    /// The last record appended.
    pub(crate) last: Lsn,
    pub(crate) dispatcher: Dispatcher,
    /// What the group itself wants to append, before anybody's inputs.
    pub(crate) own: VecDeque<Own>,
    pub(crate) stops: Stops,
    pub(crate) checkpoint: Option<InFlight>,
    pub(crate) checkpointed: Lsn,
    pub(crate) counters: Counters,
    /// Could not be written yet; the next turn tries again.
    pub(crate) owed_traces: Vec<TraceRow>,
    frame: Frame,
    staged: Vec<Staged>,
    pub(crate) taken: Taken,
    publishes: Vec<(CatalogVersion, T, Answer)>,
    tail_wanted: bool,
    timers_held: bool,
    /// The partition whose timers went first in the last turn.
    timers_first: usize,
    claims_held: bool,
}

impl<L: Log, S: State + ?Sized, T> Group<L, S, T> {
    pub(crate) fn empty(log: L, state: Arc<S>, secret: [u8; 32], signer: Signer, options: Options) -> Self {
        let partitions = usize::from(options.partitions);
        let (profiles_max, links_max) =
            (options.hot_profiles_max / partitions, options.hot_profiles_max * 3 / partitions);
        Group {
            dispatcher: Dispatcher::new(&options.channels),
            partitions: (0..options.partitions)
                .map(|id| Partition::new(PartitionId(id), profiles_max, links_max))
                .collect(),
            now: log.last_stamp(),
            last: log.last_lsn(),
            options,
            log,
            state,
            secret,
            signer,
            control: Arc::default(),
            control_changes: Vec::new(),
            catalogs: [(CatalogVersion(0), Arc::new(Catalog::empty()))].into(),
            catalog_findings: Vec::new(),
            own: VecDeque::new(),
            stops: Stops::default(),
            checkpoint: None,
            checkpointed: Lsn(0),
            counters: Counters::default(),
            owed_traces: Vec::new(),
            frame: Frame::default(),
            staged: Vec::new(),
            taken: Taken::default(),
            publishes: Vec::new(),
            tail_wanted: false,
            timers_held: false,
            timers_first: 0,
            claims_held: false,
        }
    }

    /// The catalog that all running partitions apply.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalogs[&self.control.version()]
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn position(&self) -> Lsn {
        self.last
    }

    /// Everything up to here is in the store.
    pub fn checkpointed(&self) -> Lsn {
        self.checkpointed
    }

    pub fn stopped(&self) -> impl Iterator<Item = (PartitionId, &Stopped)> {
        self.partitions.iter().filter_map(|partition| Some((partition.id, partition.stopped.as_ref()?)))
    }

    pub fn timers(&self) -> usize {
        self.partitions.iter().map(|partition| partition.wheel.len()).sum()
    }

    pub fn hot_profiles(&self) -> usize {
        self.partitions.iter().map(|partition| partition.hot.len()).sum()
    }

    /// The smallest age up to which every duplicate is found (E3).
    pub fn dedup_window_held_ms(&self) -> i64 {
        let held = self.partitions.iter().map(|partition| partition.dedup.held_ms(&self.options.limits, self.now));
        held.min().unwrap_or(self.options.limits.dedup_window_ms)
    }

    pub fn waiting_sends(&self) -> impl Iterator<Item = (&Text, usize)> {
        self.dispatcher.waiting()
    }

    /// Whether every event is described to the live tail.
    pub fn watch(&mut self, wanted: bool) {
        self.tail_wanted = wanted;
    }

    /// Holds timers back, or lets them go: a journey test gives all that it has for an instant before the timers due
    /// at it (E12).
    pub fn hold_timers(&mut self, held: bool) {
        self.timers_held = held;
    }

    /// Holds claims back: planned sends stay in the outbox, so that a stop leaves none half way.
    pub fn hold_claims(&mut self, held: bool) {
        self.claims_held = held;
    }

    /// Whether a turn without inputs at `now` would do something.
    pub fn has_work(&self, now: Timestamp) -> bool {
        let has_claims = !self.claims_held && self.dispatcher.has_claims();
        let timer_is_due = !self.timers_held && self.next_timer_at().is_some_and(|at| at <= now);
        !self.own.is_empty() || !self.stops.is_empty() || has_claims || timer_is_due
    }

    pub fn next_timer_at(&self) -> Option<Timestamp> {
        let running = self.partitions.iter().filter(|partition| partition.stopped.is_none());
        running.filter_map(|partition| partition.wheel.next_at()).min()
    }

    /// One turn: stores, applies and releases. `inputs` are taken in their order, then timers due at `now` (E12).
    ///
    /// # Errors
    /// When log or store failed; nothing was released. [`Failed::group`] says whether the group may be used again.
    pub fn turn(&mut self, now: Timestamp, inputs: Vec<Input<T>>) -> Result<Released<T>, Failed<T>> {
        self.now = self.now.max(now);
        let mut released = Released::default();
        let mut stored: Vec<Stored<T>> = Vec::new();
        let staged = self.stage_turn(inputs, &mut stored, &mut released);
        let written = match staged {
            Ok(reads) => self.append().map(|()| reads),
            Err(error) => Err(error),
        };
        let (result, group) = match written {
            Ok(reads) => (self.apply_and_sync(reads, &mut released), After::Unusable),
            Err(error @ Error::Log(ports::log::Error::Full { .. })) => {
                let waiting = self.put_back();
                stored.extend(waiting.into_iter().map(Stored::all));
                (Err(error), After::Unchanged)
            }
            Err(error) => (Err(error), After::Unusable),
        };
        match result {
            Ok(()) => {
                let position = self.last;
                let answer = |Stored { ticket, refused }| (ticket, Answer::Stored { position, refused });
                released.answers.extend(stored.into_iter().map(answer));
                Ok(released)
            }
            Err(error) => {
                let mut tickets: Vec<T> = stored.into_iter().map(|stored| stored.ticket).collect();
                tickets.extend(released.answers.into_iter().map(|(ticket, _)| ticket));
                if group == After::Unusable {
                    tickets.extend(self.publishes.drain(..).map(|(_, ticket, _)| ticket));
                }
                let withheld = self.taken.claims.drain(..).map(|claim| claim.waiting.effect).collect();
                Err(Failed { error, tickets, group, withheld })
            }
        }
    }

    fn append(&mut self) -> Result<(), Error> {
        if self.frame.is_empty() { Ok(()) } else { Ok(self.log.append(&self.frame)?) }
    }

    fn apply_and_sync(&mut self, reads: Vec<(Who, T)>, released: &mut Released<T>) -> Result<(), Error> {
        if !self.frame.is_empty() {
            let begun = self.log.begin_sync();
            let applied = self.apply_staged(released);
            // NOTE: the sync is waited for in any case; an error of applying goes before its own.
            let synced = begun.and_then(|()| self.log.finish_sync());
            let traces = applied?;
            synced?;
            self.owed_traces.extend(traces);
            self.write_traces();
        }
        self.finish_publishes(released);
        for (who, ticket) in reads {
            let answer = self.read(&who)?;
            released.answers.push((ticket, answer));
        }
        Ok(())
    }

    /// Writes the traces that are owed. One that fails is kept and tried again, and no checkpoint is made before it
    /// is written: what a checkpoint holds is not replayed, so that nobody would make its traces again.
    pub(crate) fn write_traces(&mut self) {
        if self.owed_traces.is_empty() {
            return;
        }
        match self.log.append_traces(&self.owed_traces) {
            Ok(()) => self.owed_traces.clear(),
            Err(error) => {
                let bytes: usize = self.owed_traces.iter().map(|row| row.body.len()).sum();
                if bytes < OWED_TRACES_BYTES_MAX {
                    tracing::warn!(%error, rows = self.owed_traces.len(), "traces are not written yet; tried again");
                    return;
                }
                let rows = self.owed_traces.len();
                tracing::error!(%error, rows, "traces could not be written for too long: the history has a gap");
                self.owed_traces.clear();
            }
        }
    }

    /// Whether there is room to store anything.
    ///
    /// # Errors
    /// Those of the log; a full disk above all.
    pub fn room(&mut self) -> Result<(), Error> {
        Ok(self.log.room()?)
    }

    /// Applies what was staged, in memory. Hand-offs collect in `released`, which goes out only when all is durable.
    fn apply_staged(&mut self, released: &mut Released<T>) -> Result<Vec<TraceRow>, Error> {
        let staged = std::mem::take(&mut self.staged);
        let mut traces = Vec::with_capacity(staged.len());
        for Staged { lsn, partition, slot, command } in &staged {
            self.counters.records += 1;
            if let Some(trace) = self.apply_one(*lsn, *partition, *slot, command, self.now, Some(released))? {
                traces.push(trace);
            }
        }
        self.counters.frames += 1;
        self.staged = staged;
        Ok(traces)
    }

    /// Applies one record; `released` is None in a replay, whose effects are found in the outbox afterwards.
    pub(crate) fn apply_one(
        &mut self,
        lsn: Lsn,
        partition: PartitionId,
        slot: KeySlot,
        command: &Command,
        stamp: Timestamp,
        released: Option<&mut Released<T>>,
    ) -> Result<Option<TraceRow>, Error> {
        if partition != PartitionId::CONTROL && self.partitions[usize::from(partition.0)].skipped.contains(&lsn) {
            return Ok(None);
        }
        match command {
            Command::Control(command) => {
                let changed = control::apply(Arc::make_mut(&mut self.control), command, stamp);
                if let control::Changed::Catalog(version) = changed {
                    self.spread(version, released.is_none())?;
                }
                self.control_changes.push(changed);
                Ok(None)
            }
            Command::Partition(command) => {
                let linking = if released.is_some() { Linking::DoneWhenResolved } else { Linking::Replay };
                self.apply_own(lsn, partition, command, linking)?;
                Ok(None)
            }
            Command::Profile { profile, command } => {
                self.apply_profile(lsn, partition, slot, *profile, command, stamp, released)
            }
        }
    }

    /// Lets every partition know of a catalog version, in its own log.
    fn spread(&mut self, version: CatalogVersion, replaying: bool) -> Result<(), Error> {
        if replaying {
            self.compile_catalogs();
            return Ok(());
        }
        for partition in &self.partitions {
            self.own.push_back(Own::CatalogChanged { partition: partition.id, version });
        }
        Ok(())
    }

    fn apply_own(
        &mut self,
        lsn: Lsn,
        id: PartitionId,
        command: &PartitionCommand,
        linking: Linking,
    ) -> Result<(), Error> {
        let catalogs = &self.catalogs;
        let partition = &mut self.partitions[usize::from(id.0)];
        if partition.stopped.is_some() {
            return Ok(());
        }
        let catalog_of = |version: CatalogVersion| match catalogs.get(&version) {
            Some(catalog) => Arc::clone(catalog),
            None => panic!("INVARIANT: catalog version {} is compiled before partition {id} is told", version.0),
        };
        partition.apply_own(command, &catalog_of, linking);
        partition.applied = lsn;
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one record in its parts; a struct for them would have one user")]
    fn apply_profile(
        &mut self,
        lsn: Lsn,
        id: PartitionId,
        slot: KeySlot,
        profile: ProfileId,
        command: &ProfileCommand,
        stamp: Timestamp,
        released: Option<&mut Released<T>>,
    ) -> Result<Option<TraceRow>, Error> {
        let partition = &mut self.partitions[usize::from(id.0)];
        if partition.stopped.is_some() {
            self.free_lane(command, Granted::No);
            return Ok(None);
        }
        let surroundings = Surroundings {
            state: self.state.as_ref(),
            signer: &self.signer,
            limits: &self.options.limits,
            dedup_bytes_max: self.options.dedup_bytes_max,
        };
        // A broken invariant stops this partition and leaves the others running (house §3). What the panic left half
        // done is in memory that nothing reads any more.
        let applied =
            catch_unwind(AssertUnwindSafe(|| partition.apply(lsn, stamp, slot, profile, command, &surroundings)));
        let stopped = match applied {
            Ok(Ok(())) => false,
            Ok(Err(error)) => {
                partition.stop_if_damaged(error)?;
                true
            }
            Err(panic) => {
                partition.stop(lsn, panic_text(panic.as_ref()).into());
                true
            }
        };
        if stopped {
            self.free_lane(command, Granted::No);
            return Ok(None);
        }
        partition.applied = lsn;
        let applied = partition.last_applied();
        self.counters.count(command, &applied);
        let trace = if applied.trace.is_empty() {
            None
        } else {
            let mut body = Vec::new();
            codec::encode_trace(applied.trace, &mut body);
            Some(TraceRow { lsn, partition: id, slot, stamp, body })
        };
        let Some(released) = released else { return Ok(trace) };
        let mut granted = Granted::No;
        if self.tail_wanted {
            released.tail.extend(tail_item(lsn, stamp, profile, command, &applied));
        }
        for effect in applied.effects {
            match effect {
                Effect::Planned { effect, channel } => {
                    self.dispatcher.plan(channel, Waiting { profile, slot, effect: *effect })
                }
                Effect::HandOff { effect, attempt, rendered } => {
                    self.counters.hand_offs += 1;
                    granted = Granted::Yes;
                    let (effect, attempt, rendered) = (*effect, *attempt, Arc::clone(rendered));
                    released.hand_offs.push(HandOff { profile, effect, attempt, rendered });
                }
                Effect::Raise { effect, journey, raised } => {
                    let (effect, journey, raised) = (*effect, journey.clone(), Arc::clone(raised));
                    self.own.push_back(Own::Raise { profile, effect, journey, raised });
                }
            }
        }
        self.free_lane(command, granted);
        Ok(trace)
    }

    /// After a claim that was not granted, or a settled hand-off, the channel has room for another.
    fn free_lane(&mut self, command: &ProfileCommand, granted: Granted) {
        match (command, granted) {
            (ProfileCommand::Claim { .. }, Granted::Yes) => {}
            (ProfileCommand::Claim { effect, .. }, Granted::No) | (ProfileCommand::Settled { effect, .. }, _) => {
                self.dispatcher.done(*effect);
            }
            (
                ProfileCommand::Event(_)
                | ProfileCommand::Update(_)
                | ProfileCommand::Interaction(_)
                | ProfileCommand::TimerFired { .. }
                | ProfileCommand::JourneyStopped { .. },
                _,
            ) => {}
        }
    }

    /// Answers publishes that every running partition applies by now.
    fn finish_publishes(&mut self, released: &mut Released<T>) {
        let running = self.partitions.iter().filter(|partition| partition.stopped.is_none());
        let applied = running.map(|partition| partition.catalog.version()).min().unwrap_or_default();
        let position = self.last;
        for (version, ticket, mut answer) in std::mem::take(&mut self.publishes) {
            if version > applied {
                self.publishes.push((version, ticket, answer));
                continue;
            }
            if let Answer::Applied { position: at, .. } = &mut answer {
                *at = position;
            }
            released.answers.push((ticket, answer));
            released.catalog = self.catalogs.get(&applied).cloned();
            let (before, after) = (CatalogVersion(version.0 - 1), version);
            let (before, after) = (Arc::clone(&self.catalogs[&before]), Arc::clone(&self.catalogs[&after]));
            self.begin_stops(&before, &after);
        }
    }

    /// Compiles the catalogs that the control history has and memory has not. What was published once is never refused,
    /// also when the checks of this program are stricter: a server must start with what it has.
    pub(crate) fn compile_catalogs(&mut self) {
        for publish in &self.control.history {
            if self.catalogs.contains_key(&publish.version) {
                continue;
            }
            let before = CatalogVersion(publish.version.0 - 1);
            let (catalog, findings) = self.catalogs[&before].restored(publish.version, &changes_of(&publish.changes));
            self.catalog_findings.extend(findings);
            self.catalogs.insert(publish.version, Arc::new(catalog));
        }
    }

    /// Reads one profile, as of everything acknowledged. A stopped partition shows nothing half done.
    ///
    /// # Errors
    /// Those of the store.
    pub fn read(&mut self, who: &Who) -> Result<Answer, Error> {
        let state = Arc::clone(&self.state);
        let profile = match who {
            Who::Profile(profile) => *profile,
            Who::Identity(identity) => {
                let hash = directory::hash(&self.secret, identity);
                let split = &mut self.partitions[usize::from(PartitionId::of(&hash, self.options.partitions).0)];
                let found = match split.directory.find(state.as_ref(), hash) {
                    Ok(found) => found,
                    Err(error) => split.stop_if_damaged(error).map(|()| None)?,
                };
                match (found, split.unavailable()) {
                    (Some(linked), _) => linked.profile,
                    (None, Some(why)) => return Ok(Answer::Unavailable { why }),
                    (None, None) => return Ok(Answer::Profile(None)),
                }
            }
        };
        let partition = self.partition_of(profile);
        if let Err(error) = partition.find(state.as_ref(), profile) {
            partition.stop_if_damaged(error)?;
        }
        if let Some(why) = partition.unavailable() {
            return Ok(Answer::Unavailable { why });
        }
        let recent = partition.sends_in_checkpoint.values().chain(partition.sends.values());
        let sends = recent.filter(|row| row.profile == profile).cloned().collect();
        let hot = partition.hot.get(profile);
        let read = hot.map(|hot| ProfileRead { profile: Arc::clone(&hot.profile), sends });
        Ok(Answer::Profile(read.map(Box::new)))
    }
}

/// Whether applying a command granted a claim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Granted {
    Yes,
    No,
}

fn changes_of(changes: &[DocumentChange]) -> Vec<Change> {
    let change = |change: &DocumentChange| match change {
        DocumentChange::Put(document) => Change::Put(document.clone()),
        DocumentChange::Remove(id) => Change::Remove(id.clone()),
    };
    changes.iter().map(change).collect()
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
}

fn tail_item(
    lsn: Lsn,
    at: Timestamp,
    profile: ProfileId,
    command: &ProfileCommand,
    applied: &crate::partition::Applied<'_>,
) -> Option<TailItem> {
    let what = match command {
        ProfileCommand::Event(occurred) => occurred.event.trigger.clone(),
        ProfileCommand::Interaction(occurred) => occurred.interaction.clone(),
        ProfileCommand::Update(_)
        | ProfileCommand::TimerFired { .. }
        | ProfileCommand::Claim { .. }
        | ProfileCommand::Settled { .. }
        | ProfileCommand::JourneyStopped { .. } => return None,
    };
    Some(TailItem { lsn, at, profile, what, verdict: applied.verdict?, did: applied.trace.to_vec() })
}
