//! Stories of a group over ports in memory: what is stored, released, lost and found again.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what went wrong by panicking")]

mod control;
mod dedup;
mod faults;
mod poison;
mod recovery;
mod sends;
mod stage;
mod timers;
mod worker;
