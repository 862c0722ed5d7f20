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
    links: IdMap<IdentityHash, Linked>,
    ring: VecDeque<IdentityHash>,
    links_max: usize,
    /// Made since the last checkpoint; not to be forgotten before it.
    pub fresh: Vec<(IdentityHash, Linked)>,
    /// In the checkpoint that is being written.
    pub in_checkpoint: Vec<(IdentityHash, Linked)>,
}

impl Directory {
    pub fn new(links_max: usize) -> Self {
        Directory {
            links: IdMap::default(),
            ring: VecDeque::new(),
            links_max: links_max.max(1),
            fresh: Vec::new(),
            in_checkpoint: Vec::new(),
        }
    }

    pub fn find<S: State + ?Sized>(&mut self, state: &S, identity: IdentityHash) -> Result<Option<Linked>, Error> {
        if let Some(linked) = self.links.get(&identity) {
            return Ok(Some(*linked));
        }
        let Some(row) = state.get(Keyspace::Identities, &identity)? else { return Ok(None) };
        let (profile, slot) = rows::decode_identity(&row).map_err(|error| Error::Damaged {
            keyspace: Keyspace::Identities,
            key: format!("{identity:02x?}"),
            why: error.to_string(),
        })?;
        let linked = Linked { profile, slot };
        self.keep(identity, linked);
        Ok(Some(linked))
    }

    /// A new link.
    pub fn link(&mut self, identity: IdentityHash, linked: Linked) {
        self.fresh.push((identity, linked));
        self.keep(identity, linked);
    }

    fn keep(&mut self, identity: IdentityHash, linked: Linked) {
        while self.links.len() >= self.links_max {
            let Some(oldest) = self.ring.pop_front() else { break };
            let is_fresh = |(held, _): &(IdentityHash, Linked)| *held == oldest;
            // NOTE: what no checkpoint holds yet stays; the lists are short, and the oldest is seldom in them.
            if self.fresh.iter().any(is_fresh) || self.in_checkpoint.iter().any(is_fresh) {
                self.ring.push_back(oldest);
                break;
            }
            self.links.remove(&oldest);
        }
        if self.links.insert(identity, linked).is_none() {
            self.ring.push_back(identity);
        }
    }
}
