//! The trace: what one command did and why (J17), as data, and as the sentence that people and tests read.

use model::{EffectId, Identity, ParticipantId, Text, Timestamp, Value};

/// What a condition saw: path and value.
pub type Seen = Vec<(Text, Value)>;

/// One thing that a command did, decided or found.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    // the event itself
    /// `occurred_at` by the sender's clock, as far as it is believed (E6).
    Received {
        trigger: Text,
        occurred_at: Timestamp,
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
    /// The profile has no room for them; what it held stays.
    AttributesRefused {
        names: Vec<Text>,
    },
    /// The profile has no room for it. It leads to the profile all the same.
    IdentityRefused {
        identity: Identity,
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
        /// What the start's condition saw.
        seen: Seen,
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
    /// An event that satisfies an outcome `since: start` of a wait not yet reached (J9).
    NotedEarly {
        participant: ParticipantId,
        step: Text,
        outcome: Text,
        seen: Seen,
    },
    /// An exit, goal or outcome that listens to the event and does not act on it.
    NotMatched {
        /// None: of a goal, after the end.
        participant: Option<ParticipantId>,
        journey: Text,
        /// Such as `exit purchase_completed`.
        what: Text,
        why: NoMatch,
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
        /// What the exit's condition saw.
        seen: Seen,
    },
    GoalReached {
        journey: Text,
        goal: Text,
        seen: Seen,
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
    ConditionFalse {
        seen: Seen,
    },
    ConditionError {
        why: Text,
    },
    BeforeWindow,
    AfterWindow,
    AlreadyOnce,
    StillInside,
    TooSoon {
        next_at: Timestamp,
    },
    SameBinding,
    /// The profile has as many participants as it may ([`crate::Limits::participants_max`]).
    TooManyInside,
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
            Refusal::TooManyInside => "too_many_inside",
        }
    }
}

/// Why a listener does not act on an event that it listens to.
#[derive(Clone, Debug, PartialEq)]
pub enum NoMatch {
    ConditionFalse {
        seen: Seen,
    },
    /// It lacked data (J10).
    ConditionError {
        why: Text,
    },
    /// The event is about something else than what the participant was started with (J6).
    OtherBinding {
        started_with: Text,
    },
    /// As many early events are kept for the outcome as may be; the oldest are.
    Full,
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
    /// As many interactions of the send as are remembered wait to be used; the oldest are (J9).
    TooManyInteractions,
}
