//! The hot set: profiles in memory, over the state store as write-behind.
//!
//! A profile that changed since the last checkpoint is dirty and stays; a clean one may be dropped and read again.

use engine::Profile;
use engine::state::Holding;
use model::{ParticipantId, ProfileId, Text, Timestamp};
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
    /// Items taken for it in one minute since the epoch (trap T11).
    rate: (i64, u32),
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
        Hot { profile, indexed: None, in_checkpoint: false, used: true, rate: (0, 0) }
    }

    /// Whether another item may be taken for it in this minute; counts it if so.
    pub fn admits(&mut self, now: Timestamp, rate_max: u32) -> bool {
        let minute = now.as_ms() / 60_000;
        if self.rate.0 != minute {
            self.rate = (minute, 0);
        }
        let admits = self.rate.1 < rate_max;
        self.rate.1 += u32::from(admits);
        admits
    }

    pub fn is_dirty(&self) -> bool {
        self.indexed.is_some()
    }
}

#[derive(Debug)]
pub(crate) struct HotSet {
    profiles: IdMap<ProfileId, Hot>,
    /// The clock hand's order: each profile once.
    ring: VecDeque<ProfileId>,
    profiles_max: usize,
    /// Those that changed since the last cut: a cut must not look at all that are held.
    dirty: Vec<ProfileId>,
    /// Those in the checkpoint that is being written.
    in_checkpoint: Vec<ProfileId>,
}

impl HotSet {
    pub fn new(profiles_max: usize) -> Self {
        HotSet {
            profiles: IdMap::default(),
            ring: VecDeque::new(),
            profiles_max: profiles_max.max(1),
            dirty: Vec::new(),
            in_checkpoint: Vec::new(),
        }
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

    /// The profile, to be changed, if it is held. Copied only while a checkpoint or a reader holds the state before.
    pub fn change(&mut self, id: ProfileId) -> Option<&mut Profile> {
        let hot = self.profiles.get_mut(&id)?;
        hot.used = true;
        if hot.indexed.is_none() {
            hot.indexed = Some(indexed(&hot.profile));
            self.dirty.push(id);
        }
        Some(Arc::make_mut(&mut hot.profile))
    }

    /// Takes what changed since the last cut, each with where its participants stood then. Until
    /// [`HotSet::finish_checkpoint`] none of it is dropped.
    pub fn cut(&mut self) -> Vec<(Arc<Profile>, Vec<Indexed>)> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut changed = Vec::with_capacity(dirty.len());
        for id in &dirty {
            let hot = self.profiles.get_mut(id).expect("INVARIANT: what changed stays until a checkpoint has it");
            let before = hot.indexed.take().expect("INVARIANT: what is on the list of changes changed");
            hot.in_checkpoint = true;
            changed.push((Arc::clone(&hot.profile), before));
        }
        self.in_checkpoint = dirty;
        changed
    }

    /// The store has the last cut.
    pub fn finish_checkpoint(&mut self) {
        for id in std::mem::take(&mut self.in_checkpoint) {
            if let Some(hot) = self.profiles.get_mut(&id) {
                hot.in_checkpoint = false;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::{KeySlot, Timestamp};

    fn profile(number: u8) -> Profile {
        Profile::new(ProfileId([number; 16]), KeySlot(1), Timestamp::EPOCH)
    }

    #[test]
    fn what_changed_stays_until_the_store_has_it_and_is_cut_once() {
        let mut hot = HotSet::new(2);
        for number in 1..=2 {
            hot.insert(profile(number));
            hot.change(ProfileId([number; 16])).unwrap();
            hot.change(ProfileId([number; 16])).unwrap();
        }
        assert_eq!(hot.cut().len(), 2);
        assert_eq!(hot.cut().len(), 0);
    }

    #[test]
    fn a_profile_in_a_checkpoint_is_kept_and_a_clean_one_makes_room() {
        let mut hot = HotSet::new(2);
        hot.insert(profile(1));
        hot.change(ProfileId([1; 16])).unwrap();
        hot.cut();
        (2..=20).for_each(|number| drop(hot.insert(profile(number)).profile.clone()));
        assert!(hot.get(ProfileId([1; 16])).is_some(), "dropped while the store does not have it");
        assert!(hot.len() <= 3, "{} held", hot.len());
        hot.finish_checkpoint();
        (21..=40).for_each(|number| drop(hot.insert(profile(number)).profile.clone()));
        assert!(hot.get(ProfileId([1; 16])).is_none(), "kept though it is clean and unused");
    }
}
