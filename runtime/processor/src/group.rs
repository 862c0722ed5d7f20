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

use crate::checkpoint::InFlight;
use crate::directory::{self, IdentityHash, Linked};
use crate::dispatcher::{ChannelPolicy, Claim, Dispatcher, Waiting};
use crate::input::{Answer, ControlRequest, Input, Item, ProfileRead, Released, TailItem, Update, Who};
use crate::partition::{Linking, Partition, Stopped, Surroundings};
use crate::stops::Stops;
use crate::wheel::Due;
use catalog::{Built, Catalog, Change};
use engine::command::{
    Command, ControlCommand, DocumentChange, EventOccurred, ProfileCommand, ProfileUpdated, RejectedCount, Resolution,
};
use engine::control::{self, Control};
use engine::state::{Raised, Timer};
use engine::{Effect, Limits, PartitionCommand};
use model::send::Settlement;
use model::{
    CatalogVersion, EffectId, Event, Finding, Identity, KeySlot, Lsn, PartitionId, ProfileId, Text, Timestamp,
};
use ports::log::TraceRow;
use ports::{Frame, HandOff, Log, State, codec};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use template::tracking::Signer;

/// What a group is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many partitions there are, 1 to 1,024; fixed at the first start.
    pub partitions: u16,
    /// Profiles kept in memory over all partitions. More means fewer reads of the store, about 1 KiB each.
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

/// Appended by the group on its own account.
#[derive(Debug)]
pub(crate) enum Own {
    Raise { profile: ProfileId, effect: EffectId, journey: Text, raised: Arc<Raised> },
    CatalogChanged { partition: PartitionId, version: CatalogVersion },
    JourneyStopped { profile: ProfileId, journey: Text },
    Settled { profile: ProfileId, effect: EffectId, settlement: Settlement },
}

/// What staging a turn took up, so that it can be put back when there is no room for its frame.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The last record before the turn.
    last: Lsn,
    own: Vec<Own>,
    claims: Vec<Claim>,
    timers: Vec<(usize, Due)>,
    /// As they stood before a slice was taken.
    pub(crate) stops: Option<Stops>,
    /// Publishes that were under way before.
    publishes: usize,
}

/// A record of the frame that is being written, to be applied.
#[derive(Debug)]
struct Staged {
    lsn: Lsn,
    partition: PartitionId,
    slot: KeySlot,
    command: Command,
}

/// What happened so far; monotonic since the group was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub records: u64,
    pub frames: u64,
    pub events: u64,
    pub duplicates: u64,
    pub timers_fired: u64,
    pub timers_stale: u64,
    pub hand_offs: u64,
    pub settled: u64,
    pub checkpoints: u64,
    /// Items refused because their profile sends too many (trap T11).
    pub profile_rate: u64,
    /// Refused entries by code (J4).
    pub refusals: BTreeMap<&'static str, u64>,
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

    /// Stages everything there is for this turn; answers the reads, which come last.
    fn stage_turn(
        &mut self,
        inputs: Vec<Input<T>>,
        stored: &mut Vec<Stored<T>>,
        released: &mut Released<T>,
    ) -> Result<Vec<(Who, T)>, Error> {
        self.frame.clear();
        self.staged.clear();
        self.taken = Taken { last: self.last, publishes: self.publishes.len(), ..Taken::default() };
        let mut failed = self.stage_own().and_then(|()| self.stage_stops()).and_then(|()| self.stage_claims()).err();
        let mut reads = Vec::new();
        for input in inputs {
            // NOTE: after a failure the rest is only emptied of its tickets, so that nobody waits for ever.
            if failed.is_none() {
                failed = self.stage(input, stored, &mut reads, released).err();
            } else {
                stored.extend(ticket_of(input).map(Stored::all));
            }
        }
        match failed.map_or_else(|| self.stage_timers(), Err) {
            Ok(()) => Ok(reads),
            Err(error) => {
                stored.extend(reads.into_iter().map(|(_, ticket)| Stored::all(ticket)));
                Err(error)
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

    /// Puts back what staging took up, in the order in which it was. Answers who waits for a publish of this turn.
    fn put_back(&mut self) -> Vec<T> {
        let Taken { last, own, claims, timers, stops, publishes } = std::mem::take(&mut self.taken);
        self.last = last;
        for Staged { partition, command, .. } in self.staged.drain(..) {
            if let Command::Partition(PartitionCommand::Linked { identity, .. }) = command {
                self.partitions[usize::from(partition.0)].directory.unlink(identity);
            }
        }
        own.into_iter().rev().for_each(|own| self.own.push_front(own));
        claims.into_iter().rev().for_each(|claim| self.dispatcher.put_back(claim));
        for (at, Due { fire_at, seq, slot }) in timers {
            self.partitions[at].wheel.insert(slot, Timer { fire_at, seq });
            self.counters.timers_fired -= 1;
        }
        if let Some(stops) = stops {
            self.stops = stops;
        }
        let withdrawn = self.publishes.split_off(publishes);
        withdrawn
            .into_iter()
            .map(|(version, ticket, _)| {
                self.catalogs.remove(&version);
                ticket
            })
            .collect()
    }

    /// Whether there is room to store anything.
    ///
    /// # Errors
    /// Those of the log; a full disk above all.
    pub fn room(&mut self) -> Result<(), Error> {
        Ok(self.log.room()?)
    }

    // ---- staging: inputs become records ----

    fn push(&mut self, partition: PartitionId, slot: KeySlot, command: Command) {
        self.last = self.last.next();
        let lsn = self.last;
        self.frame.push(lsn, partition, slot, self.now, |bytes| codec::encode_command(&command, bytes));
        self.staged.push(Staged { lsn, partition, slot, command });
    }

    pub(crate) fn push_profile(&mut self, slot: KeySlot, profile: ProfileId, command: ProfileCommand) {
        let partition = PartitionId::of(&profile.0, self.options.partitions);
        self.push(partition, slot, Command::Profile { profile, command });
    }

    pub(crate) fn partition_of(&mut self, profile: ProfileId) -> &mut Partition {
        let id = PartitionId::of(&profile.0, self.options.partitions);
        &mut self.partitions[usize::from(id.0)]
    }

    /// The slot of a profile that is known and whose partition runs.
    pub(crate) fn slot_of(&mut self, profile: ProfileId) -> Result<Option<KeySlot>, Error> {
        let state = Arc::clone(&self.state);
        let partition = self.partition_of(profile);
        if partition.stopped.is_some() {
            return Ok(None);
        }
        match partition.find(state.as_ref(), profile) {
            Ok(hot) => Ok(hot.map(|hot| hot.profile.slot)),
            Err(error) => Ok(partition.stop_if_damaged(error).map(|()| None)?),
        }
    }

    fn stage_own(&mut self) -> Result<(), Error> {
        for _ in 0..self.own.len().min(4_096) {
            if self.frame.body_bytes() >= FRAME_BYTES_MAX {
                break;
            }
            let Some(own) = self.own.pop_front() else { break };
            let staged = self.stage_one_own(&own);
            self.taken.own.push(own);
            staged?;
        }
        Ok(())
    }

    fn stage_one_own(&mut self, own: &Own) -> Result<(), Error> {
        match own {
            Own::Raise { profile, effect, journey, raised } => self.stage_raise(*profile, *effect, journey, raised)?,
            Own::CatalogChanged { partition, version } => {
                let command = Command::Partition(PartitionCommand::CatalogChanged { version: *version });
                self.push(*partition, KeySlot::INSTALLATION, command);
            }
            Own::JourneyStopped { profile, journey } => {
                if let Some(slot) = self.slot_of(*profile)? {
                    self.push_profile(slot, *profile, ProfileCommand::JourneyStopped { journey: journey.clone() });
                }
            }
            Own::Settled { profile, effect, settlement } => {
                self.stage_settled(*profile, *effect, settlement.clone())?
            }
        }
        Ok(())
    }

    /// A raised event is one like any other, with id = effect id (design §2.6).
    fn stage_raise(
        &mut self,
        profile: ProfileId,
        effect: EffectId,
        journey: &str,
        raised: &Raised,
    ) -> Result<(), Error> {
        let Some(slot) = self.slot_of(profile)? else { return Ok(()) };
        let Raised { trigger, attributes, binding_id, depth } = raised;
        let event = Event {
            id: Some(effect.to_string().into()),
            source: format!("journey:{journey}").into(),
            trigger: trigger.clone(),
            identities: Vec::new(),
            occurred_at: self.now,
            received_at: self.now,
            attributes: attributes.clone(),
            binding_id: binding_id.clone(),
            replay_as_live: false,
        };
        let occurred = EventOccurred {
            event,
            resolution: Resolution::default(),
            checked_with: self.catalog().version(),
            unknown_attributes: Vec::new(),
            depth: *depth,
        };
        self.push_profile(slot, profile, ProfileCommand::Event(Box::new(occurred)));
        Ok(())
    }

    fn stage_claims(&mut self) -> Result<(), Error> {
        if self.claims_held {
            return Ok(());
        }
        for claim in self.dispatcher.claims(self.options.claims_per_turn_max) {
            let Waiting { profile, slot, effect } = claim.waiting;
            if self.partition_of(profile).stopped.is_some() {
                // It stays in the outbox, and is found there when the partition runs again.
                self.dispatcher.done(effect);
                continue;
            }
            self.push_profile(slot, profile, ProfileCommand::Claim { effect, veto: claim.veto.clone() });
            self.taken.claims.push(claim);
        }
        Ok(())
    }

    fn stage_timers(&mut self) -> Result<(), Error> {
        if self.timers_held {
            return Ok(());
        }
        let (now, state) = (self.now, Arc::clone(&self.state));
        let mut room = self.options.timers_per_turn_max;
        // Another partition goes first in each turn, so that a burst of one does not hold up the others.
        self.timers_first = (self.timers_first + 1) % self.partitions.len();
        for at in (self.timers_first..self.partitions.len()).chain(0..self.timers_first) {
            if self.partitions[at].stopped.is_some() {
                continue;
            }
            while room > 0 {
                let Some(due) = self.partitions[at].wheel.pop_due(now) else { break };
                // NOTE: one that nobody holds counts too: finding that out may have read the store.
                room -= 1;
                let Some(profile) = self.log.profile_of(due.slot)? else { continue };
                let is_held = match self.partitions[at].find(state.as_ref(), profile) {
                    Ok(hot) => hot.is_some_and(|hot| hot.profile.timers().any(|timer| timer.seq == due.seq)),
                    Err(error) => {
                        self.partitions[at].stop_if_damaged(error)?;
                        break;
                    }
                };
                // A timer that nobody holds any more needs no record: nothing would come of it (J2).
                if !is_held {
                    self.counters.timers_stale += 1;
                    continue;
                }
                let command = ProfileCommand::TimerFired { fire_at: due.fire_at, seq: due.seq };
                self.push_profile(due.slot, profile, command);
                self.taken.timers.push((at, due));
                self.counters.timers_fired += 1;
            }
        }
        Ok(())
    }

    /// An answer about a hand-off of a stopped partition is appended too: it is applied when the partition runs again.
    fn stage_settled(&mut self, profile: ProfileId, effect: EffectId, settlement: Settlement) -> Result<(), Error> {
        let slot = match self.dispatcher.slot_of(effect) {
            Some(slot) => Some(slot),
            None => self.slot_of(profile)?,
        };
        let Some(slot) = slot else { return Ok(()) };
        self.push_profile(slot, profile, ProfileCommand::Settled { effect, settlement });
        Ok(())
    }

    fn stage(
        &mut self,
        input: Input<T>,
        stored: &mut Vec<Stored<T>>,
        reads: &mut Vec<(Who, T)>,
        released: &mut Released<T>,
    ) -> Result<(), Error> {
        match input {
            Input::Submit { items, ticket } => match self.stage_items(items) {
                Ok(Taking::Taken { refused }) => stored.push(Stored { ticket, refused }),
                Ok(Taking::Unavailable(why)) => released.answers.push((ticket, Answer::Unavailable { why })),
                Err(error) => {
                    stored.push(Stored::all(ticket));
                    return Err(error);
                }
            },
            Input::Interaction { profile, occurred, ticket } => {
                let slot = match self.slot_of(profile) {
                    Ok(slot) => slot,
                    Err(error) => {
                        stored.push(Stored::all(ticket));
                        return Err(error);
                    }
                };
                let unavailable = self.partition_of(profile).unavailable();
                match (slot, unavailable) {
                    (Some(slot), _) => {
                        self.push_profile(slot, profile, ProfileCommand::Interaction(Box::new(occurred)));
                        stored.push(Stored::all(ticket));
                    }
                    (None, Some(why)) => released.answers.push((ticket, Answer::Unavailable { why })),
                    (None, None) => released.answers.push((ticket, Answer::UnknownProfile)),
                }
            }
            Input::Settled { profile, effect, settlement } => self.stage_settled(profile, effect, settlement)?,
            Input::Control { request, ticket } => self.stage_control(request, ticket, stored, released),
            Input::Read { who, ticket } => reads.push((who, ticket)),
        }
        Ok(())
    }

    /// Stages the items of one request, all or none of them but those that are refused for good. Links made for a
    /// request that cannot be taken now stay: they are true.
    fn stage_items(&mut self, items: Vec<Item>) -> Result<Taking, Error> {
        let mut rejected: Vec<RejectedCount> = Vec::new();
        let mut commands = Vec::with_capacity(items.len());
        let mut refused = Vec::new();
        for (number, item) in items.into_iter().enumerate() {
            let identities = match &item {
                Item::Rejected(count) => {
                    rejected.push(count.clone());
                    continue;
                }
                Item::RejectedUpdate => continue,
                Item::Event { event, .. } => &event.identities,
                Item::Update(update) => &update.identities,
            };
            let (linked, resolution) = match self.resolve(identities)? {
                Ok(resolved) => resolved,
                Err(why) => return Ok(Taking::Unavailable(why)),
            };
            if !self.admits(linked.profile) {
                refused.push(number);
                rejected.extend(self.refused_for_rate(&item));
                continue;
            }
            commands.push((linked, command_of(item, resolution)));
        }
        for (linked, command) in commands {
            self.push_profile(linked.slot, linked.profile, command);
        }
        if !rejected.is_empty() {
            let command = Command::Partition(PartitionCommand::Rejected { counts: rejected });
            self.push(PartitionId(0), KeySlot::INSTALLATION, command);
        }
        Ok(Taking::Taken { refused })
    }

    /// Whether the profile may send another one in this minute (trap T11).
    fn admits(&mut self, profile: ProfileId) -> bool {
        let (now, rate_max) = (self.now, self.options.profile_rate_max);
        let Some(hot) = self.partition_of(profile).hot.get(profile) else { return true };
        hot.admits(now, rate_max)
    }

    /// How an item that was refused so counts. Updates have no books; a name that no trigger has stands under the
    /// empty one (E4).
    fn refused_for_rate(&mut self, item: &Item) -> Option<RejectedCount> {
        self.counters.profile_rate += 1;
        let Item::Event { event, .. } = item else { return None };
        let is_known = self.catalog().trigger(&event.trigger).is_some();
        let trigger = if is_known { event.trigger.clone() } else { Text::default() };
        Some(RejectedCount { trigger, reason: PROFILE_RATE.into(), received_at: event.received_at, count: 1 })
    }

    /// E11: the first known identity decides; if none is known, the first makes the profile. The rest is linked.
    /// Answers why not, when that is for a partition to say which is stopped.
    fn resolve(&mut self, identities: &[Identity]) -> Result<Result<(Linked, Resolution), String>, Error> {
        let mut resolution = Resolution::default();
        let mut found: Option<Linked> = None;
        let mut unknown: Vec<IdentityHash> = Vec::new();
        let state = Arc::clone(&self.state);
        for identity in identities {
            let hash = directory::hash(&self.secret, identity);
            let split = &mut self.partitions[usize::from(PartitionId::of(&hash, self.options.partitions).0)];
            let held = match split.directory.find(state.as_ref(), hash) {
                Ok(held) => held,
                Err(error) => {
                    split.stop_if_damaged(error)?;
                    None
                }
            };
            match (held, found) {
                (None, _) => {
                    // A stopped split may know it from records that it has not applied.
                    if let Some(why) = split.unavailable() {
                        return Ok(Err(why));
                    }
                    unknown.push(hash);
                }
                (Some(linked), None) => found = Some(linked),
                (Some(linked), Some(first)) if linked.profile != first.profile => {
                    resolution.conflicts.push(identity.clone())
                }
                (Some(_), Some(_)) => {}
            }
        }
        let profile = match (found, unknown.first()) {
            (Some(linked), _) => linked.profile,
            (None, Some(first)) => ProfileId(*first),
            (None, None) => unreachable!("INVARIANT: a front door gives at least one identity"),
        };
        if let Some(why) = self.partition_of(profile).unavailable() {
            return Ok(Err(why));
        }
        let linked = match found {
            Some(linked) => linked,
            None => {
                resolution.created = true;
                Linked { profile, slot: self.log.create_key(profile)? }
            }
        };
        for hash in unknown {
            let split = PartitionId::of(&hash, self.options.partitions);
            self.partitions[usize::from(split.0)].directory.link(hash, linked);
            let Linked { profile, slot } = linked;
            let command = PartitionCommand::Linked { identity: hash, profile, slot };
            self.push(split, KeySlot::INSTALLATION, Command::Partition(command));
        }
        Ok(Ok((linked, resolution)))
    }

    fn stage_control(
        &mut self,
        request: ControlRequest,
        ticket: T,
        stored: &mut Vec<Stored<T>>,
        released: &mut Released<T>,
    ) {
        let command = match request {
            ControlRequest::CreateKey { key, by } => ControlCommand::KeyCreated { key, by },
            ControlRequest::RevokeKey { id, by } => {
                if !self.control.keys.contains_key(&id) {
                    released.answers.push((ticket, Answer::UnknownKey));
                    return;
                }
                ControlCommand::KeyRevoked { id, by }
            }
            ControlRequest::Documents { changes, expected, by } => {
                self.stage_documents(changes, expected, by, ticket, released);
                return;
            }
        };
        stored.push(Stored::all(ticket));
        released.keys_changed = true;
        self.push(PartitionId::CONTROL, KeySlot::INSTALLATION, Command::Control(command));
    }

    /// A publish is validated here, at its place in the log, so that two at once cannot both pass on the same catalog.
    fn stage_documents(
        &mut self,
        changes: Vec<DocumentChange>,
        expected: Option<CatalogVersion>,
        by: Text,
        ticket: T,
        released: &mut Released<T>,
    ) {
        let current = *self.catalogs.last_key_value().expect("INVARIANT: catalog version 0 is always there").0;
        if expected.is_some_and(|expected| expected != current) {
            released.answers.push((ticket, Answer::Conflict { version: current }));
            return;
        }
        let version = CatalogVersion(current.0 + 1);
        let Built { catalog, findings, plan } = self.catalogs[&current].with(version, &changes_of(&changes));
        let Some(catalog) = catalog else {
            released.answers.push((ticket, Answer::Refused { findings }));
            return;
        };
        let position = self.last;
        if plan.iter().all(|line| line.action == catalog::Action::Unchanged) {
            released.answers.push((ticket, Answer::Applied { version: current, position, plan, findings }));
            return;
        }
        self.catalogs.insert(version, Arc::new(catalog));
        self.publishes.push((version, ticket, Answer::Applied { version, position, plan, findings }));
        let command = Command::Control(ControlCommand::DocumentsChanged { changes, by });
        self.push(PartitionId::CONTROL, KeySlot::INSTALLATION, command);
    }

    // ---- applying ----

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

/// Why items of [`Answer::Stored`] were refused, as books and results say it.
pub const PROFILE_RATE: &str = "profile_rate";

/// Someone whose request is in the frame.
#[derive(Debug)]
struct Stored<T> {
    ticket: T,
    refused: Vec<usize>,
}

impl<T> Stored<T> {
    fn all(ticket: T) -> Self {
        Stored { ticket, refused: Vec::new() }
    }
}

/// What became of a request at staging.
enum Taking {
    Taken { refused: Vec<usize> },
    Unavailable(String),
}

/// Whether applying a command granted a claim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Granted {
    Yes,
    No,
}

fn command_of(item: Item, resolution: Resolution) -> ProfileCommand {
    match item {
        Item::Event { event, checked_with, unknown_attributes } => {
            let occurred = EventOccurred { event, resolution, checked_with, unknown_attributes, depth: 0 };
            ProfileCommand::Event(Box::new(occurred))
        }
        Item::Update(Update { id, source, identities, attributes, received_at }) => {
            let updated = ProfileUpdated { id, source, identities, attributes, received_at, resolution };
            ProfileCommand::Update(Box::new(updated))
        }
        Item::Rejected(_) | Item::RejectedUpdate => unreachable!("INVARIANT: what the door refused is no command"),
    }
}

/// Who waits for the answer of an input; nobody for a settlement.
fn ticket_of<T>(input: Input<T>) -> Option<T> {
    match input {
        Input::Submit { ticket, .. }
        | Input::Interaction { ticket, .. }
        | Input::Control { ticket, .. }
        | Input::Read { ticket, .. } => Some(ticket),
        Input::Settled { .. } => None,
    }
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

impl Counters {
    fn count(&mut self, command: &ProfileCommand, applied: &crate::partition::Applied<'_>) {
        match command {
            ProfileCommand::Event(_) => self.events += 1,
            ProfileCommand::Settled { .. } => self.settled += 1,
            ProfileCommand::Update(_)
            | ProfileCommand::Interaction(_)
            | ProfileCommand::TimerFired { .. }
            | ProfileCommand::Claim { .. }
            | ProfileCommand::JourneyStopped { .. } => {}
        }
        if let Some(engine::Verdict::Duplicate { .. }) = applied.verdict {
            self.duplicates += 1;
        }
        for entry in applied.trace {
            if let engine::trace::Entry::StartRefused { refusal, .. } = entry {
                *self.refusals.entry(refusal.code()).or_default() += 1;
            }
        }
    }
}
