//! Staging: the inputs of a turn become records of one frame, in their order, behind what the group itself appends and
//! before the timers that are due (E12). What is taken up can be put back: a full disk is found before anything is
//! written.

use super::{Error, FRAME_BYTES_MAX, Group, changes_of};
use crate::directory::{self, IdentityHash, Linked};
use crate::dispatcher::{Claim, Waiting};
use crate::input::{Answer, ControlRequest, Input, Item, Released, Update, Who};
use crate::partition::Partition;
use crate::stops::Stops;
use crate::wheel::Due;
use catalog::Built;
use engine::PartitionCommand;
use engine::command::{
    Command, ControlCommand, DocumentChange, EventOccurred, ProfileCommand, ProfileUpdated, RejectedCount, Resolution,
};
use engine::state::{Raised, Timer};
use model::send::Settlement;
use model::{CatalogVersion, EffectId, Event, Identity, KeySlot, Lsn, PartitionId, ProfileId, Text};
use ports::{Log, State, codec};
use std::sync::Arc;

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
    pub(super) claims: Vec<Claim>,
    timers: Vec<(usize, Due)>,
    /// As they stood before a slice was taken.
    pub(crate) stops: Option<Stops>,
    /// Publishes that were under way before.
    publishes: usize,
}

/// A record of the frame that is being written, to be applied.
#[derive(Debug)]
pub(super) struct Staged {
    pub lsn: Lsn,
    pub partition: PartitionId,
    pub slot: KeySlot,
    pub command: Command,
}

/// Why items of [`Answer::Stored`] were refused, as books and results say it.
pub const PROFILE_RATE: &str = "profile_rate";

/// Someone whose request is in the frame.
#[derive(Debug)]
pub(super) struct Stored<T> {
    pub ticket: T,
    /// The items of it that were refused.
    pub refused: Vec<usize>,
}

impl<T> Stored<T> {
    pub fn all(ticket: T) -> Self {
        Stored { ticket, refused: Vec::new() }
    }
}

/// What became of a request at staging.
enum Taking {
    Taken { refused: Vec<usize> },
    Unavailable(String),
}

impl<L: Log, S: State + ?Sized, T> Group<L, S, T> {
    /// Stages everything there is for this turn; answers the reads, which come last.
    pub(super) fn stage_turn(
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

    /// Puts back what staging took up, in the order in which it was. Answers who waits for a publish of this turn.
    pub(super) fn put_back(&mut self) -> Vec<T> {
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
