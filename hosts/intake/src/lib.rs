//! The front doors: native, segment; each maps to events.
//!
//! A door takes the bytes of a request and gives items for the processor and an answer for each, in order. It knows
//! no sockets: authentication, limits and status codes are `http`'s. Whatever comes, it answers; nothing panics.

mod item;
pub mod native;
pub mod segment;

pub use item::{Context, ItemOutcome, ItemResult, Malformed, Received};
