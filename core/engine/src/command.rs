//! Commands: the records of a partition's log, the only thing that changes a profile's state.

use model::document::{Document, DocumentId};
use model::send::Settlement;
use model::{Attributes, CatalogVersion, EffectId, Event, Identity, KeySlot, ProfileId, Text, Timestamp};

/// What one record of the log says.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// About one profile; applied by [`crate::apply`].
    Profile { profile: ProfileId, command: ProfileCommand },
    /// About the partition as a whole; applied by its processor.
    Partition(PartitionCommand),
    /// About catalog and keys, in the control partition; applied by [`crate::control::apply`].
    Control(ControlCommand),
}

#[derive(Clone, Debug, PartialEq)]
pub enum ProfileCommand {
    /// An occurrence of a trigger (E1), its identities resolved (E11).
    Event(Box<EventOccurred>),
    /// Attributes and identities from an `identify` or the profiles API.
    Update(Box<ProfileUpdated>),
    /// What a person did with a send.
    Interaction(Box<InteractionOccurred>),
    /// A timer is due. It concerns whoever still holds `seq`, else nobody (J2).
    TimerFired { fire_at: Timestamp, seq: u64 },
    /// Asks whether the effect may be handed off, at this place in the log (S1). `veto` is a reason to refuse that
    /// the dispatcher knows and the profile does not: `no_channel`; later what the address's own state says.
    Claim { effect: EffectId, veto: Option<Text> },
    /// What became of a hand-off.
    Settled { effect: EffectId, settlement: Settlement },
    /// The journey was stopped (J13): ends the profile's participants in it.
    JourneyStopped { journey: Text },
}

/// Where the identities of an event or update led.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolution {
    /// Whether the profile was unknown until now (E7).
    pub created: bool,
    /// Identities that belong to other profiles: shown as `identity_conflict` until merge exists (E11).
    pub conflicts: Vec<Identity>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventOccurred {
    pub event: Event,
    pub resolution: Resolution,
    /// The catalog its attributes were checked against (E8); replay does not check again.
    pub checked_with: CatalogVersion,
    /// Attributes the trigger does not declare: kept, flagged (E8).
    pub unknown_attributes: Vec<Text>,
    /// How many raise steps led here; 0 for an event from outside (trap T18).
    pub depth: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ProfileUpdated {
    /// The sender's id, for deduplication (E3).
    pub id: Option<Text>,
    pub source: Text,
    pub identities: Vec<Identity>,
    /// New values; null removes.
    pub attributes: Attributes,
    pub received_at: Timestamp,
    pub resolution: Resolution,
}

#[derive(Clone, Debug, PartialEq)]
pub struct InteractionOccurred {
    pub effect: EffectId,
    /// The interaction trigger's name, such as `email_opened`.
    pub interaction: Text,
    pub occurred_at: Timestamp,
    pub received_at: Timestamp,
    /// By a scanner or mail proxy; satisfies no wait (S8).
    pub machine: bool,
    /// `url` of a click, `reason` of a failure …
    pub attributes: Attributes,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PartitionCommand {
    /// From here on this catalog holds (design §2.9).
    CatalogChanged { version: CatalogVersion },
    /// The directory learns whose identity it is (E11). `identity` is the keyed hash.
    Linked { identity: [u8; 16], profile: ProfileId, slot: KeySlot },
    /// Events refused at the door, for the books (E4).
    Rejected { counts: Vec<RejectedCount> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedCount {
    pub trigger: Text,
    pub reason: Text,
    pub received_at: Timestamp,
    pub count: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ControlCommand {
    /// Documents were put or removed; makes the next catalog version.
    DocumentsChanged {
        changes: Vec<DocumentChange>,
        by: Text,
    },
    KeyCreated {
        key: ApiKey,
        by: Text,
    },
    KeyRevoked {
        id: Text,
        by: Text,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum DocumentChange {
    Put(Document),
    Remove(DocumentId),
}

/// A key that opens the API. The secret itself is never kept (design §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Public, shown in lists; also the `source` of what comes by it.
    pub id: Text,
    pub name: Text,
    pub scope: KeyScope,
    /// SHA-256 of the secret.
    pub secret_sha256: [u8; 32],
    pub created_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyScope {
    /// Sends events and profiles, from pages; reads nothing.
    Browser,
    /// Sends events and profiles.
    Server,
    /// Everything.
    Admin,
}

impl KeyScope {
    pub const ALL: [KeyScope; 3] = [KeyScope::Browser, KeyScope::Server, KeyScope::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            KeyScope::Browser => "browser",
            KeyScope::Server => "server",
            KeyScope::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        KeyScope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}
