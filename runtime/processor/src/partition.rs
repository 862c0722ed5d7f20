//! One partition: its share of the profiles, applied one record after the other.

use crate::books::{Books, Name};
use crate::dedup::Dedup;
use crate::directory::{Directory, Linked};
use crate::hot::{Hot, HotSet};
use crate::wheel::Wheel;
use catalog::Catalog;
use engine::command::{EventOccurred, ProfileCommand};
use engine::transition::Ended;
use engine::{Context, Effect, Limits, PartitionCommand, Profile, Transition};
use model::{CatalogVersion, EffectId, KeySlot, Lsn, PartitionId, ProfileId, Text, Timestamp};
use ports::rows::SendRow;
use ports::state::{Error, Keyspace};
use ports::{State, codec, rows};
use std::collections::BTreeMap;
use std::sync::Arc;
use template::tracking::Signer;

#[derive(Debug)]
pub(crate) struct Partition {
    pub id: PartitionId,
    pub hot: HotSet,
    pub directory: Directory,
    pub wheel: Wheel,
    pub books: Books,
    pub dedup: Dedup,
    pub catalog: Arc<Catalog>,
    /// The last record applied.
    pub applied: Lsn,
    /// Where the store's copy of it stands.
    pub stored: Stored,
    /// Where it will stand when the checkpoint that is being written is durable.
    pub in_cut: Option<Stored>,
    pub stopped: Option<Stopped>,
    /// Records that an operator said to pass over.
    pub skipped: Vec<Lsn>,
    /// Ledger rows that changed since the last checkpoint.
    pub sends: BTreeMap<EffectId, SendRow>,
    /// Those of the last cut: readers find them here until the store has them.
    pub sends_in_checkpoint: Arc<BTreeMap<EffectId, SendRow>>,
    /// Participants that ended since the last checkpoint.
    pub ended: Vec<(Ended, ProfileId, KeySlot)>,
    transition: Transition,
}

/// A poisoned partition: applying the record broke an invariant, or it could not be read. It stays so over restarts
/// (design §2.5); what is appended for it meanwhile is applied when it runs again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The record. Lsn 0: it was no record, but a row of the store.
    pub lsn: Lsn,
    pub why: Text,
}

/// Up to where the last durable checkpoint has a partition: from here recovery goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub applied: Lsn,
    pub now: Timestamp,
    pub catalog: CatalogVersion,
    pub dedup_hours: Vec<(u32, u64)>,
}

/// What all partitions of a group apply under.
pub(crate) struct Surroundings<'a, S: ?Sized> {
    pub state: &'a S,
    pub signer: &'a Signer,
    pub limits: &'a Limits,
    pub dedup_bytes_max: u64,
}

/// What applying one record of a profile gave.
#[derive(Debug)]
pub(crate) struct Applied<'a> {
    pub effects: &'a [Effect],
    pub trace: &'a [engine::trace::Entry],
    pub verdict: Option<engine::Verdict>,
}

impl Partition {
    pub fn new(id: PartitionId, profiles_max: usize, links_max: usize) -> Self {
        Partition {
            id,
            hot: HotSet::new(profiles_max),
            directory: Directory::new(links_max),
            wheel: Wheel::default(),
            books: Books::default(),
            dedup: Dedup::default(),
            catalog: Arc::new(Catalog::empty()),
            applied: Lsn(0),
            stored: Stored::default(),
            in_cut: None,
            stopped: None,
            skipped: Vec::new(),
            sends: BTreeMap::new(),
            sends_in_checkpoint: Arc::default(),
            ended: Vec::new(),
            transition: Transition::default(),
        }
    }

    /// The profile, from memory or the store.
    pub fn find<S: State + ?Sized>(&mut self, state: &S, id: ProfileId) -> Result<Option<&mut Hot>, Error> {
        // NOTE: looked up twice, since the borrow checker does not see that the first borrow ends on None.
        if self.hot.get(id).is_some() {
            return Ok(self.hot.get(id));
        }
        let key = rows::profile_key(self.id, id);
        let Some(row) = state.get(Keyspace::Subjects, &key)? else { return Ok(None) };
        let profile = codec::decode_profile(&row).map_err(|error| Error::damaged(Keyspace::Subjects, id, &error))?;
        Ok(Some(self.hot.insert(profile)))
    }

    /// Stops it: its memory is not to be trusted, and nothing of it is written any more. The directory stays, since
    /// each link of it is right by itself and others are found by it.
    pub fn stop(&mut self, lsn: Lsn, why: Text) {
        tracing::error!(partition = %self.id, %lsn, %why, "a partition is stopped; see `sojourn doctor`");
        self.stopped = Some(Stopped { lsn, why });
        self.hot = HotSet::new(1);
        self.wheel = Wheel::default();
        self.books = Books::default();
        self.sends.clear();
        self.sends_in_checkpoint = Arc::default();
        self.ended.clear();
        self.transition.clear();
    }

    /// A row that cannot be read stops this partition alone.
    ///
    /// # Errors
    /// Every other error of the store.
    pub fn stop_if_damaged(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Damaged { keyspace: Keyspace::Subjects | Keyspace::Identities, .. } => {
                self.stop(Lsn(0), error.to_string().into());
                Ok(())
            }
            Error::Damaged { .. } | Error::Io { .. } => Err(error),
        }
    }

    /// Why nothing can be stored for it now.
    pub fn unavailable(&self) -> Option<String> {
        let Stopped { lsn, why } = self.stopped.as_ref()?;
        Some(format!("partition {} is stopped at record {lsn}: {why}", self.id))
    }

    /// Applies one command about a profile. Effects are not acted on here: nothing may leave before it is durable.
    pub fn apply<S: State + ?Sized>(
        &mut self,
        lsn: Lsn,
        now: Timestamp,
        slot: KeySlot,
        profile: ProfileId,
        command: &ProfileCommand,
        surroundings: &Surroundings<'_, S>,
    ) -> Result<(), Error> {
        self.transition.clear();
        if self.find(surroundings.state, profile)?.is_none() {
            match command {
                // E7: an event whose profile is unknown creates it in the same step.
                ProfileCommand::Event(_) | ProfileCommand::Update(_) => {
                    self.hot.insert(Profile::new(profile, slot, now));
                }
                ProfileCommand::Interaction(_)
                | ProfileCommand::TimerFired { .. }
                | ProfileCommand::Claim { .. }
                | ProfileCommand::Settled { .. }
                | ProfileCommand::JourneyStopped { .. } => return Ok(()),
            }
        }
        let Some(changed) = self.hot.change(profile) else {
            panic!("INVARIANT: profile {profile} was just found or made")
        };
        let Surroundings { signer, limits, dedup_bytes_max, .. } = surroundings;
        let own_limits = self.dedup.limits(limits, now);
        let held = &changed.dedup.keys;
        let crowded_out = held.first().filter(|_| held.len() >= limits.dedup_keys_max).map(|key| key.seen_at);
        let context = Context { lsn, now, catalog: &self.catalog, signer, limits: &own_limits };
        engine::apply(changed, command, &context, &mut self.transition);
        if self.remembers_its_id(command) {
            self.dedup.add(now, crowded_out, limits.dedup_window_ms, *dedup_bytes_max);
        }
        self.note(slot, profile, command);
        Ok(())
    }

    /// Whether the command that was just applied had an id, and a new one (E3).
    fn remembers_its_id(&self, command: &ProfileCommand) -> bool {
        let has_id = match command {
            ProfileCommand::Event(occurred) => occurred.event.id.is_some(),
            ProfileCommand::Update(updated) => updated.id.is_some(),
            ProfileCommand::Interaction(_)
            | ProfileCommand::TimerFired { .. }
            | ProfileCommand::Claim { .. }
            | ProfileCommand::Settled { .. }
            | ProfileCommand::JourneyStopped { .. } => false,
        };
        has_id && !matches!(self.transition.verdict, Some(engine::Verdict::Duplicate { .. }))
    }

    /// What the last `apply` gave.
    pub fn last_applied(&self) -> Applied<'_> {
        let Transition { effects, trace, verdict, .. } = &self.transition;
        Applied { effects, trace, verdict: *verdict }
    }

    /// Takes over what the transition says besides effects and trace.
    fn note(&mut self, slot: KeySlot, profile: ProfileId, command: &ProfileCommand) {
        for timer in self.transition.timers.drain(..) {
            self.wheel.insert(slot, timer);
        }
        for send in self.transition.sends.drain(..) {
            self.sends.insert(send.effect, SendRow { profile, send });
        }
        self.ended.extend(self.transition.ended.drain(..).map(|ended| (ended, profile, slot)));
        let Some(verdict) = self.transition.verdict else { return };
        match command {
            ProfileCommand::Event(occurred) => {
                let EventOccurred { event, .. } = occurred.as_ref();
                let is_known = self.catalog.trigger(&event.trigger).is_some();
                let name = if is_known { Name::Known } else { Name::Unknown };
                self.books.count(&event.trigger, name, event.received_at, verdict);
            }
            ProfileCommand::Interaction(occurred) => {
                self.books.count(&occurred.interaction, Name::Known, occurred.received_at, verdict);
            }
            ProfileCommand::Update(_)
            | ProfileCommand::TimerFired { .. }
            | ProfileCommand::Claim { .. }
            | ProfileCommand::Settled { .. }
            | ProfileCommand::JourneyStopped { .. } => {}
        }
    }

    /// Applies one command about the partition itself. `link` says whether a link is to be made: while running it was
    /// made when the identity was resolved.
    pub fn apply_own(
        &mut self,
        command: &PartitionCommand,
        catalog_of: &dyn Fn(CatalogVersion) -> Arc<Catalog>,
        linking: Linking,
    ) {
        match command {
            PartitionCommand::CatalogChanged { version } => self.catalog = catalog_of(*version),
            PartitionCommand::Linked { identity, profile, slot } => match linking {
                Linking::Replay => self.directory.link(*identity, Linked { profile: *profile, slot: *slot }),
                Linking::DoneWhenResolved => {}
            },
            PartitionCommand::Rejected { counts } => counts.iter().for_each(|count| self.books.reject(count)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linking {
    Replay,
    DoneWhenResolved,
}
