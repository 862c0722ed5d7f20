//! The directory: whose identity is it (E11)?
//!
//! It is split over the partitions by the identity's keyed hash; a split's links are records of its partition, so
//! that replay makes it again. Within a frame a link stands before the event that brought it, and a frame is durable
//! whole: a link is durable with, and before, its event.

use crate::hot::IdMap;
use model::{Identity, KeySlot, ProfileId};
use ports::State;
use ports::rows;
use ports::state::{Error, Keyspace};
use std::collections::VecDeque;
use std::sync::Arc;

/// Of `kind:value`, keyed with the installation's secret: the directory does not tell who is in it.
pub(crate) type IdentityHash = [u8; 16];

pub(crate) fn hash(secret: &[u8; 32], identity: &Identity) -> IdentityHash {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(identity.kind.as_str().as_bytes());
    hasher.update(b":");
    hasher.update(identity.value.as_bytes());
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linked {
    pub profile: ProfileId,
    pub slot: KeySlot,
}

/// One split, kept in memory as far as it was used lately.
#[derive(Debug)]
pub(crate) struct Directory {
    links: IdMap<IdentityHash, Held>,
    ring: VecDeque<IdentityHash>,
    links_max: usize,
    /// Made since the last cut.
    fresh: Vec<(IdentityHash, Linked)>,
    /// In the checkpoint that is being written.
    in_checkpoint: Arc<Vec<(IdentityHash, Linked)>>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    linked: Linked,
    /// Whether the store has it, so that it may be forgotten here.
    is_stored: bool,
}

impl Directory {
    pub fn new(links_max: usize) -> Self {
        Directory {
            links: IdMap::default(),
            ring: VecDeque::new(),
            links_max: links_max.max(1),
            fresh: Vec::new(),
            in_checkpoint: Arc::default(),
        }
    }

    pub fn find<S: State + ?Sized>(&mut self, state: &S, identity: IdentityHash) -> Result<Option<Linked>, Error> {
        if let Some(held) = self.links.get(&identity) {
            return Ok(Some(held.linked));
        }
        let Some(row) = state.get(Keyspace::Identities, &identity)? else { return Ok(None) };
        let (profile, slot) = rows::decode_identity(&row)
            .map_err(|error| Error::damaged(Keyspace::Identities, format!("{identity:02x?}"), &error))?;
        let linked = Linked { profile, slot };
        self.keep(identity, Held { linked, is_stored: true });
        Ok(Some(linked))
    }

    /// A new link.
    pub fn link(&mut self, identity: IdentityHash, linked: Linked) {
        self.fresh.push((identity, linked));
        self.keep(identity, Held { linked, is_stored: false });
    }

    /// Takes back a link whose record was not written.
    pub fn unlink(&mut self, identity: IdentityHash) {
        self.fresh.retain(|(fresh, _)| *fresh != identity);
        self.links.remove(&identity);
    }

    /// Takes the links made since the last cut. Until [`Directory::finish_checkpoint`] none of them is forgotten.
    pub fn cut(&mut self) -> Arc<Vec<(IdentityHash, Linked)>> {
        self.in_checkpoint = Arc::new(std::mem::take(&mut self.fresh));
        Arc::clone(&self.in_checkpoint)
    }

    /// The store has the last cut.
    pub fn finish_checkpoint(&mut self) {
        for (identity, linked) in std::mem::take(&mut self.in_checkpoint).iter() {
            // NOTE: one that was linked anew meanwhile waits for the next cut.
            if let Some(held) = self.links.get_mut(identity).filter(|held| held.linked == *linked) {
                held.is_stored = true;
            }
        }
    }

    /// Forgets a few that the store has when there are too many. When none of them is stored yet it grows past its
    /// limit until the next checkpoint.
    fn keep(&mut self, identity: IdentityHash, held: Held) {
        let mut looked_at = 0;
        while self.links.len() >= self.links_max && looked_at < 4 {
            looked_at += 1;
            let Some(oldest) = self.ring.pop_front() else { break };
            match self.links.get(&oldest) {
                Some(held) if !held.is_stored => self.ring.push_back(oldest),
                Some(_) => drop(self.links.remove(&oldest)),
                None => {}
            }
        }
        if self.links.insert(identity, held).is_none() {
            self.ring.push_back(identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ports::memory::Disk;

    #[test]
    fn a_link_is_forgotten_only_when_the_store_has_it() {
        let (state, linked) = (Disk::new().open_state(), Linked { profile: ProfileId([1; 16]), slot: KeySlot(1) });
        let mut directory = Directory::new(2);
        for number in 0..10 {
            directory.link([number; 16], linked);
        }
        assert_eq!(directory.cut().len(), 10);
        directory.link([10; 16], linked);
        for number in 0..=10 {
            assert_eq!(directory.find(&state, [number; 16]).unwrap(), Some(linked), "{number} is in no store yet");
        }
        directory.finish_checkpoint();
        for number in 11..40 {
            directory.link([number; 16], linked);
        }
        assert_eq!(directory.find(&state, [0; 16]).unwrap(), None, "forgotten: this store never got it");
        assert_eq!(directory.find(&state, [10; 16]).unwrap(), Some(linked));
    }
}
