//! Hand-off of rendered messages to the world: e-mail, webhooks, and the mailbox of development.
//!
//! Nothing here decides anything about journeys: what comes was claimed and is durable, and what becomes of it goes back
//! as a [`Settlement`](model::send::Settlement). Every channel has the same files: its module holds the configuration
//! and the hand-off, `compose` makes the outgoing form of a rendered message, `answer` says what the other side's words
//! mean. Adding a channel is adding such a folder and its lane in `dispatcher`.
//!
//! ```text
//! processor ── hand_off ──► dispatcher ── circuit ── email    ──► SMTP relay
//!                               │            └────── webhook  ──► receivers
//!     ▲                         └── mailbox (--dev: channels that are not configured)
//!     └── settled(profile, effect, settlement) ◄── one thread, which may wait for the processor
//! ```

mod circuit;
mod config;
mod dispatcher;
pub mod email;
pub mod mailbox;
mod outcome;
mod telemetry;
pub mod webhook;

pub use circuit::Open;
pub use config::{Config, Secret};
pub use dispatcher::{Channels, Configured, Health, Settled};
pub use mailbox::Mailbox;

/// A configuration that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("channels.{channel}.{key}: {why}")]
    Config { channel: &'static str, key: &'static str, why: String },
    #[error("the thread for settlements did not start")]
    Thread(#[source] std::io::Error),
}

/// The wall clock, for what is shown and signed; no decision rests on it.
fn wall_clock() -> model::Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    model::Timestamp::from_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
