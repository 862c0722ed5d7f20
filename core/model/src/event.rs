//! An event: an immutable fact about one profile, an occurrence of a trigger (E1).

use crate::{Attributes, Identity, Text, Timestamp};

/// What a front door makes of one item of a request, before identities are resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The sender's id; with `source` the key of deduplication (E3). None: no deduplication.
    pub id: Option<Text>,
    /// The key or connector it came by.
    pub source: Text,
    /// The trigger's name as sent; need not be known (E9).
    pub trigger: Text,
    /// At least one, sorted in the order they are tried (E11).
    pub identities: Vec<Identity>,
    /// By the sender's clock, already corrected where its protocol defines how.
    pub occurred_at: Timestamp,
    pub received_at: Timestamp,
    pub attributes: Attributes,
    /// Correlates start, continue and exit (J6).
    pub binding_id: Option<Text>,
    /// An old event that shall act as if it had just happened (E6).
    pub replay_as_live: bool,
}
