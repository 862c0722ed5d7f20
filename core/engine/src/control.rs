//! The control partition's state: documents with their history, and keys (design §2.9).

use crate::command::{ApiKey, ControlCommand, DocumentChange};
use model::{CatalogVersion, Text, Timestamp};
use std::collections::BTreeMap;

/// Everything that was ever published and every key, as the control log says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Control {
    /// One for each catalog version, from 1, ascending. A catalog is all of them applied in order.
    pub history: Vec<Publish>,
    pub keys: BTreeMap<Text, HeldKey>,
}

/// What one catalog version changed. It is the audit log too: who, when, what.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    pub version: CatalogVersion,
    pub changes: Vec<DocumentChange>,
    pub by: Text,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HeldKey {
    pub key: ApiKey,
    pub created_by: Text,
    /// From then on it opens nothing.
    pub revoked_at: Option<Timestamp>,
}

/// What a control command changed, for the checkpoint and for those who must hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    Catalog(CatalogVersion),
    Key(Text),
    /// A revoke of a key that is not there.
    Nothing,
}

impl Control {
    pub fn version(&self) -> CatalogVersion {
        self.history.last().map_or(CatalogVersion(0), |publish| publish.version)
    }
}

/// Applies `command`, which was validated before it was appended.
pub fn apply(control: &mut Control, command: &ControlCommand, now: Timestamp) -> Changed {
    match command {
        ControlCommand::DocumentsChanged { changes, by } => {
            let version = CatalogVersion(control.version().0 + 1);
            control.history.push(Publish { version, changes: changes.clone(), by: by.clone(), at: now });
            Changed::Catalog(version)
        }
        ControlCommand::KeyCreated { key, by } => {
            let held = HeldKey { key: key.clone(), created_by: by.clone(), revoked_at: None };
            control.keys.insert(key.id.clone(), held);
            Changed::Key(key.id.clone())
        }
        ControlCommand::KeyRevoked { id, by: _ } => match control.keys.get_mut(id) {
            Some(held) => {
                held.revoked_at.get_or_insert(now);
                Changed::Key(id.clone())
            }
            None => Changed::Nothing,
        },
    }
}
