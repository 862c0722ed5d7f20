//! What [`crate::apply`] answers besides the new state: effects, timers, changes of the ledger, and the trace.

use crate::state::{Raised, Timer};
use crate::trace::Entry;
use model::send::Rendered;
use model::{EffectId, ParticipantId, Text, Timestamp};
use std::sync::Arc;

/// Filled by one application of a command. Reused: `clear` it before the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transition {
    pub effects: Vec<Effect>,
    /// Timers set; those cancelled are found stale when they fire.
    pub timers: Vec<Timer>,
    /// Sends whose ledger row changed (S5).
    pub sends: Vec<SendChanged>,
    /// Participants that ended.
    pub ended: Vec<Ended>,
    /// How the event counts (E4); None for commands that are not events.
    pub verdict: Option<Verdict>,
    pub trace: Vec<Entry>,
}

impl Transition {
    pub fn clear(&mut self) {
        self.effects.clear();
        self.timers.clear();
        self.sends.clear();
        self.ended.clear();
        self.verdict = None;
        self.trace.clear();
    }
}

/// What is decided about the outside, as data. Leaves the process only when its record is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A send waits for its claim.
    Planned { effect: EffectId, channel: Text },
    /// The claim was granted: hand it off.
    HandOff { effect: EffectId, attempt: u32, rendered: Arc<Rendered> },
    /// Append this event for the same profile, with id = effect id and source `journey:<name>`.
    Raise { effect: EffectId, journey: Text, raised: Arc<Raised> },
}

/// How an event counts in the books (E4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its trigger is known.
    Matched,
    /// Its trigger is not (E9).
    Unmatched,
    /// Too old to act (E6).
    Late,
    Duplicate {
        conflict: bool,
    },
}

/// A row of the ledger of sends as it is now (S5).
#[derive(Clone, Debug, PartialEq)]
pub struct SendChanged {
    pub effect: EffectId,
    pub participant: ParticipantId,
    pub journey: Text,
    pub step: Text,
    pub channel: Text,
    pub message: Text,
    pub address: Text,
    pub planned_at: Timestamp,
    pub changed_at: Timestamp,
    pub attempts: u32,
    pub state: SendState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendState {
    Planned,
    /// Handed off; the provider has not answered yet.
    HandedOff,
    Accepted {
        provider_id: Option<Text>,
    },
    Rejected {
        reason: Text,
    },
    /// Will be tried again.
    Deferred {
        reason: Text,
        until: Timestamp,
    },
    Unknown {
        reason: Text,
    },
    /// Refused by its claim (S1).
    Blocked {
        reason: Text,
    },
    /// Its participant left before it was claimed (J3).
    Cancelled {
        reason: Text,
    },
}

impl SendState {
    pub fn as_str(&self) -> &'static str {
        match self {
            SendState::Planned => "planned",
            SendState::HandedOff => "handed_off",
            SendState::Accepted { .. } => "accepted",
            SendState::Rejected { .. } => "rejected",
            SendState::Deferred { .. } => "deferred",
            SendState::Unknown { .. } => "unknown",
            SendState::Blocked { .. } => "blocked",
            SendState::Cancelled { .. } => "cancelled",
        }
    }
}

/// A participant's end, for lists; its state is gone from the profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    pub participant: ParticipantId,
    pub journey: Text,
    pub version: u32,
    pub entry: u32,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    /// The step where it was.
    pub step: Text,
    pub reason: Text,
}
