//! The hot set: profiles in memory, over the state store as write-behind.
//!
//! A profile that changed since the last checkpoint is dirty and stays; a clean one may be dropped and read again.

use engine::Profile;
use engine::state::Holding;
use model::{ParticipantId, ProfileId, Text};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Ids are hashes already: eight of their bytes are a hash value.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        // NOTE: the last eight bytes; the first ones chose the partition and are alike within it.
        let tail = bytes.len().saturating_sub(8);
        for (at, byte) in bytes[tail..].iter().enumerate() {
            self.0 ^= u64::from(*byte) << (8 * at);
        }
    }
    fn write_usize(&mut self, _: usize) {}
}

pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

#[derive(Debug)]
pub(crate) struct Hot {
    pub profile: Arc<Profile>,
    /// Where its participants stood at the last checkpoint, kept from the first change on: the index rows to replace.
    /// None: clean.
    pub indexed: Option<Vec<Indexed>>,
    /// In a checkpoint that is being written; the store does not have this state yet.
    pub in_checkpoint: bool,
    used: bool,
}

/// What the row of a participant in the list index is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub participant: ParticipantId,
    pub journey: Text,
    pub version: u32,
    pub step: catalog::StepIndex,
    pub parked: bool,
}

pub(crate) fn indexed(profile: &Profile) -> Vec<Indexed> {
    let rows = profile.participants.iter().map(|participant| Indexed {
        participant: participant.id,
        journey: participant.journey.clone(),
        version: participant.version,
        step: participant.step,
        parked: matches!(participant.holding, Holding::Parked { .. }),
    });
    rows.collect()
}

impl Hot {
    fn new(profile: Arc<Profile>) -> Self {
        Hot { profile, indexed: None, in_checkpoint: false, used: true }
    }

    pub fn is_dirty(&self) -> bool {
        self.indexed.is_some()
    }

    /// The profile, to be changed. Copies it only while a checkpoint or a reader holds the state before.
    pub fn change(&mut self) -> &mut Profile {
        if self.indexed.is_none() {
            self.indexed = Some(indexed(&self.profile));
        }
        Arc::make_mut(&mut self.profile)
    }
}

#[derive(Debug)]
pub(crate) struct HotSet {
    profiles: IdMap<ProfileId, Hot>,
    /// The clock hand's order: each profile once.
    ring: VecDeque<ProfileId>,
    profiles_max: usize,
}

impl HotSet {
    pub fn new(profiles_max: usize) -> Self {
        HotSet { profiles: IdMap::default(), ring: VecDeque::new(), profiles_max: profiles_max.max(1) }
    }

    pub fn len(&self) -> usize {
        self.profiles.len()
    }

    pub fn get(&mut self, id: ProfileId) -> Option<&mut Hot> {
        let hot = self.profiles.get_mut(&id)?;
        hot.used = true;
        Some(hot)
    }

    pub fn insert(&mut self, profile: Profile) -> &mut Hot {
        let id = profile.id;
        self.evict();
        self.ring.push_back(id);
        self.profiles.entry(id).or_insert_with(|| Hot::new(Arc::new(profile)))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ProfileId, &Hot)> {
        self.profiles.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&ProfileId, &mut Hot)> {
        self.profiles.iter_mut()
    }

    /// Drops a few clean, long unused profiles when there are too many (the clock algorithm). When all are dirty the
    /// set grows past its limit until the next checkpoint.
    fn evict(&mut self) {
        let mut looked_at = 0;
        while self.profiles.len() >= self.profiles_max && looked_at < 16 {
            looked_at += 1;
            let Some(id) = self.ring.pop_front() else { return };
            let Some(hot) = self.profiles.get_mut(&id) else { continue };
            if hot.used || hot.is_dirty() || hot.in_checkpoint {
                hot.used = false;
                self.ring.push_back(id);
            } else {
                self.profiles.remove(&id);
            }
        }
    }
}
