//! The sentences of the trace: what people read under "why", and what data tests expect.
//!
//! One line an entry. Ids are shortened to their first eight digits: enough to tell the few of one profile apart.

use crate::trace::{Entry, Ignored, NoMatch, Refusal, Seen, WaitFlag};
use model::{EffectId, ParticipantId, Text, Value};
use std::fmt::{self, Display, Formatter};

impl Display for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Received { trigger, occurred_at } => write!(f, "event {trigger} of {occurred_at}"),
            Entry::Duplicate { conflict: false } => f.write_str("duplicate: this id was seen before"),
            Entry::Duplicate { conflict: true } => {
                f.write_str("duplicate: this id was seen before with another payload, the first holds")
            }
            Entry::Late { age_ms } => write!(f, "late: {} s old when received, acts on nothing", age_ms / 1000),
            Entry::ClockAhead { by_ms } => {
                write!(f, "the sender's clock is {} s ahead, taken as received", by_ms / 1000)
            }
            Entry::Unmatched { trigger, nearest: None } => write!(f, "unmatched: no trigger is named {trigger}"),
            Entry::Unmatched { trigger, nearest: Some(nearest) } => {
                write!(f, "unmatched: no trigger is named {trigger}; the nearest is {nearest}")
            }
            Entry::TriggerNotReady { trigger } => write!(f, "the trigger {trigger} is not ready, it acts on nothing"),
            Entry::UnknownAttributes { names } => write!(f, "attributes the trigger does not declare: {}", join(names)),
            Entry::ProfileCreated => f.write_str("profile created"),
            Entry::Linked { identity } => write!(f, "identity {identity} linked"),
            Entry::IdentityConflict { identity } => {
                write!(f, "identity_conflict: {identity} belongs to another profile and stays there")
            }
            Entry::AttributesChanged { names } => write!(f, "attributes changed: {}", join(names)),
            Entry::AttributesRefused { names } => {
                write!(f, "attributes refused, the profile has no room for them: {}", join(names))
            }
            Entry::IdentityRefused { identity } => {
                write!(f, "identity {identity} is not shown, the profile has no room for it")
            }
            Entry::StartRefused { journey, version, refusal } => {
                write!(f, "not entered {journey} v{version}: {refusal}")
            }
            Entry::Started { participant, journey, version, entry, seen } => {
                write!(f, "entered {journey} v{version} as {} (entry {entry}){}", Short(participant), Saw(seen))
            }
            Entry::Entered { participant, step } => write!(f, "{} at step {step}", Short(participant)),
            Entry::Waiting { participant, step, until, flags } => {
                write!(f, "{} waits at {step} until {until}", Short(participant))?;
                flags.iter().try_for_each(|flag| write!(f, " ({flag})"))
            }
            Entry::NotWaited { participant, step, why } => {
                write!(f, "{} goes on from {step}: {why}", Short(participant))
            }
            Entry::TimedOut { participant, step } => write!(f, "{} time is up at {step}", Short(participant)),
            Entry::OutcomeMatched { participant, step, outcome, seen } => {
                write!(f, "{} goes on from {step}: {outcome}{}", Short(participant), Saw(seen))
            }
            Entry::NotedEarly { participant, step, outcome, seen } => {
                write!(f, "{} keeps {outcome} for {step}{}", Short(participant), Saw(seen))
            }
            Entry::NotMatched { participant: Some(participant), journey: _, what, why } => {
                write!(f, "{} {what} does not act: {why}", Short(participant))
            }
            Entry::NotMatched { participant: None, journey, what, why } => {
                write!(f, "{what} of {journey} does not act: {why}")
            }
            Entry::Branched { participant, step, arm, seen } => {
                write!(f, "{} takes {arm} at {step}{}", Short(participant), Saw(seen))
            }
            Entry::SplitInto { participant, step, arm } => {
                write!(f, "{} falls into {arm} at {step}", Short(participant))
            }
            Entry::Updated { participant, step, names } if names.is_empty() => {
                write!(f, "{} changes nothing of the profile at {step}", Short(participant))
            }
            Entry::Updated { participant, step, names } => {
                write!(f, "{} changes the profile at {step}: {}", Short(participant), join(names))
            }
            Entry::Raised { participant, step, trigger } => {
                write!(f, "{} raises {trigger} at {step}", Short(participant))
            }
            Entry::Failed { participant, step, why } => write!(f, "{} failed at {step}: {why}", Short(participant)),
            Entry::Parked { participant, step, reason } => {
                write!(f, "{} parked at {step}: {reason}", Short(participant))
            }
            Entry::Ended { participant, journey, step, reason, seen } => {
                write!(f, "{} left {journey} at {step}: {reason}{}", Short(participant), Saw(seen))
            }
            Entry::GoalReached { journey, goal, seen } => write!(f, "goal {goal} of {journey} reached{}", Saw(seen)),
            Entry::Planned { participant, effect, step, message } => {
                write!(f, "{} plans send {message} at {step} as {}", Short(participant), ShortEffect(effect))
            }
            Entry::Granted { effect, attempt } => write!(f, "send {} granted, attempt {attempt}", ShortEffect(effect)),
            Entry::Blocked { effect, message, reason } => {
                write!(f, "send {message} {} blocked: {reason}", ShortEffect(effect))
            }
            Entry::Cancelled { effect, message } => write!(f, "send {message} {} cancelled", ShortEffect(effect)),
            Entry::Settled { effect, outcome } => write!(f, "send {} {outcome}", ShortEffect(effect)),
            Entry::Interaction { effect, interaction, machine: false } => {
                write!(f, "{interaction} of send {}", ShortEffect(effect))
            }
            Entry::Interaction { effect, interaction, machine: true } => {
                write!(f, "{interaction} of send {} by a machine, counts for nothing", ShortEffect(effect))
            }
            Entry::Ignored(ignored) => ignored.fmt(f),
        }
    }
}

impl Entry {
    /// The participant it is about, if it is about one.
    pub fn participant(&self) -> Option<ParticipantId> {
        match self {
            Entry::Started { participant, .. }
            | Entry::Entered { participant, .. }
            | Entry::Waiting { participant, .. }
            | Entry::NotWaited { participant, .. }
            | Entry::TimedOut { participant, .. }
            | Entry::OutcomeMatched { participant, .. }
            | Entry::NotedEarly { participant, .. }
            | Entry::NotMatched { participant: Some(participant), .. }
            | Entry::Branched { participant, .. }
            | Entry::SplitInto { participant, .. }
            | Entry::Updated { participant, .. }
            | Entry::Raised { participant, .. }
            | Entry::Planned { participant, .. }
            | Entry::Failed { participant, .. }
            | Entry::Parked { participant, .. }
            | Entry::Ended { participant, .. } => Some(*participant),
            Entry::Received { .. }
            | Entry::Duplicate { .. }
            | Entry::Late { .. }
            | Entry::ClockAhead { .. }
            | Entry::Unmatched { .. }
            | Entry::TriggerNotReady { .. }
            | Entry::UnknownAttributes { .. }
            | Entry::ProfileCreated
            | Entry::Linked { .. }
            | Entry::IdentityConflict { .. }
            | Entry::AttributesChanged { .. }
            | Entry::AttributesRefused { .. }
            | Entry::IdentityRefused { .. }
            | Entry::StartRefused { .. }
            | Entry::GoalReached { .. }
            | Entry::NotMatched { participant: None, .. }
            | Entry::Granted { .. }
            | Entry::Blocked { .. }
            | Entry::Cancelled { .. }
            | Entry::Settled { .. }
            | Entry::Interaction { .. }
            | Entry::Ignored(_) => None,
        }
    }

    /// The effect it is about, if it is about one.
    pub fn effect(&self) -> Option<EffectId> {
        if let Entry::Planned { effect, .. }
        | Entry::Granted { effect, .. }
        | Entry::Blocked { effect, .. }
        | Entry::Cancelled { effect, .. }
        | Entry::Settled { effect, .. }
        | Entry::Interaction { effect, .. } = self
        {
            Some(*effect)
        } else {
            None
        }
    }

    /// The journey it names, if it names one.
    pub fn journey(&self) -> Option<&Text> {
        match self {
            Entry::Started { journey, .. }
            | Entry::StartRefused { journey, .. }
            | Entry::Ended { journey, .. }
            | Entry::GoalReached { journey, .. }
            | Entry::NotMatched { journey, .. } => Some(journey),
            Entry::Received { .. }
            | Entry::Duplicate { .. }
            | Entry::Late { .. }
            | Entry::ClockAhead { .. }
            | Entry::Unmatched { .. }
            | Entry::TriggerNotReady { .. }
            | Entry::UnknownAttributes { .. }
            | Entry::ProfileCreated
            | Entry::Linked { .. }
            | Entry::IdentityConflict { .. }
            | Entry::AttributesChanged { .. }
            | Entry::AttributesRefused { .. }
            | Entry::IdentityRefused { .. }
            | Entry::Entered { .. }
            | Entry::Waiting { .. }
            | Entry::NotWaited { .. }
            | Entry::TimedOut { .. }
            | Entry::OutcomeMatched { .. }
            | Entry::NotedEarly { .. }
            | Entry::Branched { .. }
            | Entry::SplitInto { .. }
            | Entry::Updated { .. }
            | Entry::Raised { .. }
            | Entry::Failed { .. }
            | Entry::Parked { .. }
            | Entry::Planned { .. }
            | Entry::Granted { .. }
            | Entry::Blocked { .. }
            | Entry::Cancelled { .. }
            | Entry::Settled { .. }
            | Entry::Interaction { .. }
            | Entry::Ignored(_) => None,
        }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        match self {
            Refusal::ConditionFalse { seen } => Saw(seen).fmt(f),
            Refusal::ConditionError { why } => write!(f, ": {why}"),
            Refusal::TooSoon { next_at } => write!(f, ": not before {next_at}"),
            Refusal::BeforeWindow
            | Refusal::AfterWindow
            | Refusal::AlreadyOnce
            | Refusal::StillInside
            | Refusal::SameBinding
            | Refusal::TooManyInside => Ok(()),
        }
    }
}

impl Display for NoMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            NoMatch::ConditionFalse { seen } => write!(f, "condition_false{}", Saw(seen)),
            NoMatch::ConditionError { why } => write!(f, "condition_error: {why}"),
            NoMatch::OtherBinding { started_with } => write!(f, "other_binding: it was started with {started_with}"),
            NoMatch::Full => f.write_str("full: as many as are kept wait already"),
        }
    }
}

impl Display for WaitFlag {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            WaitFlag::InvalidZone(zone) => write!(f, "the zone {zone} is invalid and was passed over"),
            WaitFlag::LocalDateTime => f.write_str("a date-time without offset, read as local"),
        }
    }
}

impl Display for Ignored {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ignored::StaleTimer => "ignored: the timer is no longer current",
            Ignored::UnknownEffect => "ignored: the effect is settled, cancelled or claimed already",
            Ignored::NobodyInside => {
                "noted: whom it was sent to has left the journey, or was sent a later one by the step"
            }
            Ignored::TooManyInteractions => "noted: as many of this send as are remembered wait to be used",
        })
    }
}

struct Short<'a>(&'a ParticipantId);

impl Display for Short<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

struct ShortEffect<'a>(&'a EffectId);

impl Display for ShortEffect<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

struct Saw<'a>(&'a Seen);

impl Display for Saw<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str(" (")?;
        for (at, (path, value)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{path} = {}", Shown(value))?;
        }
        f.write_str(")")
    }
}

struct Shown<'a>(&'a Value);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(truth) => truth.fmt(f),
            Value::Int(number) => number.fmt(f),
            Value::Float(number) => number.fmt(f),
            Value::Text(text) => fmt::Debug::fmt(text.as_str(), f),
            Value::List(items) => write!(f, "a list of {}", items.len()),
            Value::Map(map) => write!(f, "an object of {}", map.len()),
        }
    }
}

fn join(names: &[Text]) -> String {
    names.iter().map(Text::as_str).collect::<Vec<_>>().join(", ")
}
