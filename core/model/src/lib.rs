//! Words everyone shares and the documents people write: ids, Event, Profile, Trigger, Journey, Message; their checks.
//!
//! `value`, `time`, `span`, `ids`, `identity` and `event` are the words; `document` reads the files people write
//! into `trigger`, `journey`, `message` and `journey_test`. Nothing here decides anything about a journey.

pub mod document;
pub mod event;
pub mod finding;
pub mod identity;
pub mod ids;
pub mod journey;
pub mod journey_test;
pub mod local_time;
pub mod message;
pub mod nearest;
pub mod places;
pub mod send;
pub mod span;
pub mod time;
pub mod trigger;
pub mod value;

pub use document::{Document, Documents, Kind};
pub use event::Event;
pub use finding::{Finding, Severity};
pub use identity::{Identity, IdentityKind};
pub use ids::{
    AttributeName, CatalogVersion, EffectId, KeySlot, Lsn, Name, ParticipantId, PartitionId, ProfileId, Text,
};
pub use span::Span;
pub use time::Timestamp;
pub use value::{Attributes, Value};
