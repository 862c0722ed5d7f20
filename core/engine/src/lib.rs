//! apply(profile state, command, catalog, now): the whole decision, pure.
//!
//! ```text
//!   command ──► apply ──► event ──► profile changes ─► exits ─► goals ─► waits ─► starts      (J1)
//!                 │                                                │          │
//!                 ├──► timer, interaction, claim, settled ─────────┴──► walk ◄┘   one step after the other,
//!                 │                                                      │        until it must hold
//!                 ▼                                                      ▼
//!              Profile (changed in place)                  Transition { effects, timers, sends, ended, trace }
//! ```
//! Nothing here does I/O, reads a clock or draws a number: the same profile, command, catalog and stamp give the same
//! answer in the processor, the replay, the simulator and the cluster.

pub mod command;
pub mod control;
pub mod state;
pub mod trace;
pub mod transition;

mod dedup;
mod display;
mod entry;
mod event;
mod facts;
mod interaction;
mod listeners;
mod profile;
mod room;
mod send;
mod wait;
mod walk;

pub use command::{Command, ControlCommand, PartitionCommand, ProfileCommand};
pub use state::Profile;
pub use transition::{Effect, Transition, Verdict};

use catalog::Catalog;
use model::{Lsn, Text, Timestamp};
use state::Timer;
use template::tracking::Signer;
use trace::Entry;

/// Raised whenever a golden trace changes (a test enforces it): a log tail written under other rules is refused.
pub const RULES_VERSION: u32 = 1;

/// More than this many steps in one applied command park the participant with `runaway` (J15).
pub const STEPS_MAX: u32 = 1_000;

/// Raise steps deeper than this fail with `raise_depth` (trap T18).
pub const RAISE_DEPTH_MAX: u8 = 10;

/// What a command is applied under. Two calls with equal contexts, commands and profiles give equal transitions.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The place of the command in its partition.
    pub lsn: Lsn,
    /// The record's stamp; never below the one before it (E12).
    pub now: Timestamp,
    pub catalog: &'a Catalog,
    /// Signs links and pixels in messages (S9).
    pub signer: &'a Signer,
    pub limits: &'a Limits,
}

/// Bounds of a profile's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ids kept for deduplication per profile, the oldest go first. Default 512; more costs 28 bytes each.
    pub dedup_keys_max: usize,
    /// How long an id is kept. Default 7 days (E3).
    pub dedup_window_ms: i64,
    /// Tried hand-offs of one send before a temporary failure counts as permanent. Default 12, about a day.
    pub attempts_max: u32,
    /// Participants inside at once, over all journeys; a start past it is refused (`too_many_inside`). Default 1,000,
    /// at most 2,000: each may set a timer in one command.
    pub participants_max: usize,
    /// Names of profile attributes. Default 1,000.
    pub attributes_max: usize,
    /// Names and values of profile attributes together. Default 64 KiB.
    pub attributes_bytes_max: usize,
    /// Identities of one profile, and as many conflicts. Default 100.
    pub identities_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            dedup_keys_max: 512,
            dedup_window_ms: 7 * 86_400_000,
            attempts_max: 12,
            participants_max: 1_000,
            attributes_max: 1_000,
            attributes_bytes_max: 64 << 10,
            identities_max: 100,
        }
    }
}

/// Applies `command` to `profile`: changes it in place and fills `transition`, which must be clear.
///
/// # Panics
/// When an invariant is broken. The processor stops the partition then and throws its memory away.
pub fn apply(profile: &mut Profile, command: &ProfileCommand, ctx: &Context<'_>, transition: &mut Transition) {
    debug_assert!(transition.trace.is_empty(), "INVARIANT: a transition is clear before it is filled");
    let mut apply = Apply { ctx, profile, out: transition, timers_set: 0 };
    match command {
        ProfileCommand::Event(occurred) => apply.event(occurred),
        ProfileCommand::Update(updated) => apply.update(updated),
        ProfileCommand::Interaction(occurred) => apply.interaction(occurred),
        ProfileCommand::TimerFired { fire_at, seq } => apply.timer(*fire_at, *seq),
        ProfileCommand::Claim { effect, veto } => apply.claim(*effect, veto.as_ref()),
        ProfileCommand::Settled { effect, settlement } => apply.settled(*effect, settlement),
        ProfileCommand::JourneyStopped { journey } => apply.journey_stopped(journey),
    }
    room::release(&mut profile.participants);
    room::release(&mut profile.outbox);
}

/// One application under way.
struct Apply<'a> {
    ctx: &'a Context<'a>,
    profile: &'a mut Profile,
    out: &'a mut Transition,
    timers_set: u64,
}

/// Timers that one command can set: `seq` is lsn × this + n. Those inside set at most one each as they go on, and as
/// many again may have ended and made room for starts; [`Limits::participants_max`] keeps both far below it.
const TIMERS_PER_COMMAND: u64 = 4_096;

impl Apply<'_> {
    fn trace(&mut self, entry: Entry) {
        self.out.trace.push(entry);
    }

    fn new_timer(&mut self, fire_at: Timestamp) -> Timer {
        assert!(
            self.timers_set < TIMERS_PER_COMMAND,
            "INVARIANT: one command sets fewer than {TIMERS_PER_COMMAND} timers; lsn {}",
            self.ctx.lsn
        );
        let timer = Timer { fire_at, seq: self.ctx.lsn.0 * TIMERS_PER_COMMAND + self.timers_set };
        self.timers_set += 1;
        self.out.timers.push(timer);
        timer
    }

    fn journey_stopped(&mut self, journey: &Text) {
        let leaving = self.all_inside(journey);
        self.end_all(leaving, "stopped");
    }
}

#[cfg(test)]
mod tests;
