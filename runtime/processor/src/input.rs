//! What comes into a group of partitions, and what it answers.

use catalog::PlanLine;
use engine::Profile;
use engine::command::{ApiKey, DocumentChange, InteractionOccurred, RejectedCount};
use model::send::Settlement;
use model::{Attributes, CatalogVersion, EffectId, Event, Finding, Identity, Lsn, ProfileId, Text, Timestamp, Value};
use ports::rows::SendRow;
use std::sync::Arc;

/// One thing to do. `T` is how the sender finds his answer again: a channel in the host, a number in the simulator.
#[derive(Debug)]
pub enum Input<T> {
    /// The accepted items of one request, stored together or not at all (E2).
    Submit {
        items: Vec<Item>,
        ticket: T,
    },
    /// What a person did with a send, from a tracking link or a provider.
    Interaction {
        profile: ProfileId,
        occurred: InteractionOccurred,
        ticket: T,
    },
    /// What became of a hand-off; nobody waits for an answer. Stored also for a stopped partition.
    Settled {
        profile: ProfileId,
        effect: EffectId,
        settlement: Settlement,
    },
    Control {
        request: ControlRequest,
        ticket: T,
    },
    /// Reads one profile, seeing everything acknowledged (design §2.8).
    Read {
        who: Who,
        ticket: T,
    },
}

impl<T> Input<T> {
    /// About how many bytes it takes while it waits.
    pub fn approximate_bytes(&self) -> usize {
        match self {
            Input::Submit { items, .. } => items.iter().map(Item::approximate_bytes).sum(),
            Input::Interaction { occurred, .. } => ITEM_BYTES + bytes_of(&occurred.attributes),
            Input::Settled { .. } | Input::Read { .. } => ITEM_BYTES,
            Input::Control { request, .. } => match request {
                ControlRequest::Documents { changes, .. } => changes.len() * DOCUMENT_BYTES,
                ControlRequest::CreateKey { .. } | ControlRequest::RevokeKey { .. } => ITEM_BYTES,
            },
        }
    }
}

/// What an item takes besides its attributes, about.
const ITEM_BYTES: usize = 256;
/// What a document takes, about; the door bounds a request of them.
const DOCUMENT_BYTES: usize = 16 << 10;

impl Item {
    fn approximate_bytes(&self) -> usize {
        match self {
            Item::Event { event, .. } => ITEM_BYTES + bytes_of(&event.attributes),
            Item::Update(update) => ITEM_BYTES + bytes_of(&update.attributes),
            Item::Rejected(_) | Item::RejectedUpdate => ITEM_BYTES,
        }
    }
}

fn bytes_of(attributes: &Attributes) -> usize {
    attributes.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    let inner = match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        Value::Text(text) => text.len(),
        Value::List(items) => items.iter().map(value_bytes).sum(),
        Value::Map(map) => bytes_of(map),
    };
    std::mem::size_of::<Value>() + inner
}

/// An item as a front door made it: schema checked, identities not yet resolved.
#[derive(Clone, Debug)]
pub enum Item {
    Event {
        event: Event,
        checked_with: CatalogVersion,
        unknown_attributes: Vec<Text>,
    },
    Update(Update),
    /// Refused at the door; stored for the books only (E4).
    Rejected(RejectedCount),
    /// Refused at the door, and in no books: they are of events.
    RejectedUpdate,
}

/// An `identify`, or an item of the profiles API.
#[derive(Clone, Debug)]
pub struct Update {
    pub id: Option<Text>,
    pub source: Text,
    pub identities: Vec<Identity>,
    pub attributes: Attributes,
    pub received_at: Timestamp,
}

#[derive(Clone, Debug)]
pub enum ControlRequest {
    /// Puts or removes documents. `expected`: refuse when the catalog has moved on since the plan was made.
    Documents {
        changes: Vec<DocumentChange>,
        expected: Option<CatalogVersion>,
        by: Text,
    },
    CreateKey {
        key: ApiKey,
        by: Text,
    },
    RevokeKey {
        id: Text,
        by: Text,
    },
}

#[derive(Clone, Debug)]
pub enum Who {
    Identity(Identity),
    Profile(ProfileId),
}

#[derive(Clone, Debug)]
pub enum Answer {
    /// Durable. Reads that ask for `at_least` this position see it.
    Stored {
        position: Lsn,
        /// Which of the request's items, by number, were refused for good: their profile sends too many (trap T11).
        refused: Vec<usize>,
    },
    /// Nothing was stored that was not there before; try again (E2).
    Unavailable {
        why: String,
    },
    Applied {
        version: CatalogVersion,
        position: Lsn,
        plan: Vec<PlanLine>,
        findings: Vec<Finding>,
    },
    /// The documents have errors; nothing was changed.
    Refused {
        findings: Vec<Finding>,
    },
    /// Somebody else published in between.
    Conflict {
        version: CatalogVersion,
    },
    /// No such key.
    UnknownKey,
    /// An interaction with a send of nobody who is known: there is nothing to store.
    UnknownProfile,
    Profile(Option<Box<ProfileRead>>),
}

/// A profile with what its partition knows beyond the last checkpoint.
#[derive(Clone, Debug)]
pub struct ProfileRead {
    pub profile: Arc<Profile>,
    /// Ledger rows that changed since the last checkpoint.
    pub sends: Vec<SendRow>,
}

/// What a turn lets go, everything in it durable.
#[derive(Debug)]
pub struct Released<T> {
    pub answers: Vec<(T, Answer)>,
    pub hand_offs: Vec<ports::HandOff>,
    /// Filled only while somebody watches.
    pub tail: Vec<TailItem>,
    /// All running partitions apply it since this turn.
    pub catalog: Option<Arc<catalog::Catalog>>,
    /// Keys were created or revoked.
    pub keys_changed: bool,
}

impl<T> Default for Released<T> {
    fn default() -> Self {
        Released { answers: Vec::new(), hand_offs: Vec::new(), tail: Vec::new(), catalog: None, keys_changed: false }
    }
}

/// One event or interaction with what it did, for the live tail.
#[derive(Clone, Debug)]
pub struct TailItem {
    pub lsn: Lsn,
    pub at: Timestamp,
    pub profile: ProfileId,
    pub what: Text,
    pub verdict: engine::Verdict,
    pub did: Vec<engine::trace::Entry>,
}
