//! The trace: what one command did and why (J17), as data, and as the sentence that people and tests read.

use model::{EffectId, Identity, ParticipantId, Text, Timestamp, Value};

/// What a condition saw: path and value.
pub type Seen = Vec<(Text, Value)>;

/// One thing that a command did, decided or found.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    // the event itself
    Received {
        trigger: Text,
    },
    Duplicate {
        conflict: bool,
    },
    Late {
        age_ms: i64,
    },
    ClockAhead {
        by_ms: i64,
    },
    Unmatched {
        trigger: Text,
        nearest: Option<Text>,
    },
    /// The trigger is a draft or stopped: the event is kept and does nothing (C3).
    TriggerNotReady {
        trigger: Text,
    },
    UnknownAttributes {
        names: Vec<Text>,
    },
    // the profile
    ProfileCreated,
    Linked {
        identity: Identity,
    },
    IdentityConflict {
        identity: Identity,
    },
    AttributesChanged {
        names: Vec<Text>,
    },
    // entry
    StartRefused {
        journey: Text,
        version: u32,
        refusal: Refusal,
    },
    Started {
        participant: ParticipantId,
        journey: Text,
        version: u32,
        entry: u32,
    },
    // on the way
    Entered {
        participant: ParticipantId,
        step: Text,
    },
    Waiting {
        participant: ParticipantId,
        step: Text,
        until: Timestamp,
        flags: Vec<WaitFlag>,
    },
    NotWaited {
        participant: ParticipantId,
        step: Text,
        why: Text,
    },
    TimedOut {
        participant: ParticipantId,
        step: Text,
    },
    OutcomeMatched {
        participant: ParticipantId,
        step: Text,
        outcome: Text,
        seen: Seen,
    },
    OutcomeUnmatched {
        participant: ParticipantId,
        step: Text,
        outcome: Text,
        why: Text,
    },
    Branched {
        participant: ParticipantId,
        step: Text,
        arm: Text,
        seen: Seen,
    },
    SplitInto {
        participant: ParticipantId,
        step: Text,
        arm: Text,
    },
    Updated {
        participant: ParticipantId,
        step: Text,
        names: Vec<Text>,
    },
    Raised {
        participant: ParticipantId,
        step: Text,
        trigger: Text,
    },
    Failed {
        participant: ParticipantId,
        step: Text,
        why: Text,
    },
    Parked {
        participant: ParticipantId,
        step: Text,
        reason: Text,
    },
    Ended {
        participant: ParticipantId,
        journey: Text,
        step: Text,
        reason: Text,
    },
    GoalReached {
        journey: Text,
        goal: Text,
    },
    /// An exit or goal listener whose condition lacked data (J10).
    ListenerFailed {
        journey: Text,
        what: Text,
        why: Text,
    },
    // sends
    Planned {
        participant: ParticipantId,
        effect: EffectId,
        step: Text,
        message: Text,
    },
    Granted {
        effect: EffectId,
        attempt: u32,
    },
    Blocked {
        effect: EffectId,
        message: Text,
        reason: Text,
    },
    Cancelled {
        effect: EffectId,
        message: Text,
    },
    Settled {
        effect: EffectId,
        outcome: Text,
    },
    Interaction {
        effect: EffectId,
        interaction: Text,
        machine: bool,
    },
    // nobody is concerned any more; normal and counted (J2)
    Ignored(Ignored),
}

/// Why an entry was refused; each is counted (J4, J5, J10).
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    ConditionFalse { seen: Seen },
    ConditionError { why: Text },
    BeforeWindow,
    AfterWindow,
    AlreadyOnce,
    StillInside,
    TooSoon { next_at: Timestamp },
    SameBinding,
}

impl Refusal {
    /// The stable code, as counted and shown.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::ConditionFalse { .. } => "condition_false",
            Refusal::ConditionError { .. } => "condition_error",
            Refusal::BeforeWindow => "before_window",
            Refusal::AfterWindow => "after_window",
            Refusal::AlreadyOnce => "already_once",
            Refusal::StillInside => "still_inside",
            Refusal::TooSoon { .. } => "too_soon",
            Refusal::SameBinding => "same_binding",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitFlag {
    /// The named zone is invalid and was passed over (J8).
    InvalidZone(Text),
    /// A date-time without offset was read as local (J7).
    LocalDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Its `seq` is no longer current.
    StaleTimer,
    /// The effect is settled or was cancelled.
    UnknownEffect,
    /// The send's participant has left; kept in the ledger only.
    NobodyInside,
}
