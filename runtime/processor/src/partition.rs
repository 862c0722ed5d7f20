//! One partition: its share of the profiles, applied one record after the other.

use crate::books::Books;
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
    pub catalog: Arc<Catalog>,
    /// The last record applied.
    pub applied: Lsn,
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

/// A poisoned partition: applying the record broke an invariant. It stays so over restarts (design §2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    pub lsn: Lsn,
    pub why: Text,
}

/// What all partitions of a group apply under.
pub(crate) struct Surroundings<'a, S: ?Sized> {
    pub state: &'a S,
    pub signer: &'a Signer,
    pub limits: &'a Limits,
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
            catalog: Arc::new(Catalog::empty()),
            applied: Lsn(0),
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
        let key = rows::subject_key(self.id, id);
        let Some(row) = state.get(Keyspace::Subjects, &key)? else { return Ok(None) };
        let profile = codec::decode_profile(&row).map_err(|error| Error::Damaged {
            keyspace: Keyspace::Subjects,
            key: id.to_string(),
            why: error.to_string(),
        })?;
        Ok(Some(self.hot.insert(profile)))
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
        let Surroundings { signer, limits, .. } = surroundings;
        let context = Context { lsn, now, catalog: &self.catalog, signer, limits };
        engine::apply(changed, command, &context, &mut self.transition);
        self.note(slot, profile, command);
        Ok(())
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
                self.books.count(&event.trigger, event.received_at, verdict);
            }
            ProfileCommand::Interaction(occurred) => {
                self.books.count(&occurred.interaction, occurred.received_at, verdict);
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
