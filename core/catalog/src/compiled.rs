//! The immutable form of documents that the engine runs on: names resolved, conditions and templates compiled,
//! steps laid flat with every edge an index.

use calendar::Zone;
use condition::{Condition, Expression};
use model::document::Spec;
use model::journey::{JourneyState, LatePolicy, OnMissingDate, Policy, RepeatMode, Since};
use model::local_time::{LocalTime, Weekdays, Window};
use model::message::{Channel, OnMissing, Purpose};
use model::trigger::{Bind, TriggerKind, TriggerState};
use model::{AttributeName, Document, Name, Span, Text, Timestamp, Value};
use std::sync::Arc;
use template::Template;

/// The place of a step in [`JourneyVersion::steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(pub u16);

/// Where a participant goes on; None: it has come to the end and is `completed`.
pub type Next = Option<StepIndex>;

/// A trigger of the catalog, custom, business or built in.
#[derive(Clone, Debug)]
pub struct Trigger {
    pub name: Name,
    pub kind: TriggerKind,
    pub state: TriggerState,
    pub bind: Bind,
    pub binding: Option<BindingPattern>,
    /// Sorted by name.
    pub attributes: Vec<Attribute>,
    pub max_age_ms: i64,
    /// How often its document was changed, from 1.
    pub version: u32,
}

#[derive(Clone, Debug)]
pub struct Attribute {
    pub name: AttributeName,
    pub ty: model::trigger::AttributeType,
    pub required: bool,
}

/// `cart/{cart_id}`: fixed text and attributes in turn (J6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingPattern(pub Vec<BindingPart>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingPart {
    Fixed(Text),
    Attribute(AttributeName),
}

/// A message with its templates compiled.
#[derive(Clone, Debug)]
pub struct Message {
    pub name: Name,
    pub version: u32,
    pub channel: Channel,
    pub purpose: Option<Purpose>,
    pub topic: Option<Text>,
    pub address: Address,
    /// The field of the document that the part `html` is made of.
    pub(crate) html_field: &'static str,
    /// By the names of `ports::Rendered::parts`: `subject`, `html`, `text`, `from`, `reply_to`, `title`, `body`,
    /// `headers`.
    pub parts: Vec<(Text, Part)>,
    pub on_missing: OnMissing,
}

#[derive(Clone, Debug)]
pub enum Address {
    /// The profile attribute, else the identity or contact point of the channel's kind.
    Attribute(Text),
    /// A webhook's.
    Url(Template),
}

#[derive(Clone, Debug)]
pub enum Part {
    /// A text that is the same for everyone.
    Fixed(Value),
    Text(Template),
    /// HTML into which links and the open pixel are signed.
    TrackedHtml(Template),
    List(Vec<Part>),
    Map(Vec<(Text, Part)>),
}

/// One published, immutable form of a journey (J12).
#[derive(Clone, Debug)]
pub struct JourneyVersion {
    pub journey: Name,
    /// From 1.
    pub version: u32,
    /// The journey's zone (J8); None: UTC.
    pub zone: Option<Text>,
    pub start: Start,
    pub exits: Vec<Listener>,
    pub goals: Vec<Goal>,
    /// Triggers whose last event is kept while someone is inside: those that its conditions, mappings or messages
    /// read as `trigger.<name>`. Sorted.
    pub remembers: Vec<Name>,
    /// The first is where participants begin; at least one.
    pub steps: Vec<Step>,
    /// It was published once and cannot be compiled any more: nobody enters it, and who is inside stays where they
    /// are until the journey is stopped. Only a newer program makes a version inert, never a publish.
    pub is_inert: bool,
    /// What it was compiled from.
    pub(crate) document: Arc<Document>,
}

impl JourneyVersion {
    pub fn step(&self, index: StepIndex) -> &Step {
        &self.steps[usize::from(index.0)]
    }

    pub(crate) fn spec(&self) -> &model::journey::Journey {
        let Spec::Journey(spec) = &self.document.spec else {
            unreachable!("INVARIANT: {} was compiled from a journey", self.document.id())
        };
        spec
    }

    pub fn find(&self, id: &str) -> Option<StepIndex> {
        let at = self.steps.iter().position(|step| step.id == *id)?;
        u16::try_from(at).ok().map(StepIndex)
    }
}

#[derive(Clone, Debug)]
pub struct Start {
    pub listener: Listener,
    pub repeat: RepeatMode,
    /// mode `after`.
    pub delay: Option<Span>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// A trigger with a condition on its event.
#[derive(Clone, Debug)]
pub struct Listener {
    pub trigger: Name,
    pub condition: Option<Condition>,
}

#[derive(Clone, Debug)]
pub struct Goal {
    pub name: Name,
    pub listener: Listener,
    pub window_ms: i64,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub id: Name,
    pub kind: StepKind,
    /// Where it goes on. For a step with arms: the step after all of them, where the policy `continue` leads; the
    /// edges of the arms are in `kind`.
    pub next: Next,
    /// J16; the default is filled in.
    pub on_failure: Policy,
    /// Of sends; the default is filled in.
    pub on_blocked: Policy,
}

#[derive(Clone, Debug)]
pub enum StepKind {
    Send {
        message: Name,
    },
    Wait(Wait),
    WaitFor(WaitFor),
    Branch {
        arms: Vec<(Condition, Next)>,
        otherwise: Next,
    },
    /// `weights_sum` > 0.
    Split {
        arms: Vec<SplitArm>,
        weights_sum: u64,
    },
    Update {
        attributes: Vec<(Text, Mapping)>,
    },
    Raise {
        trigger: Name,
        attributes: Vec<(Text, Mapping)>,
        binding_id: Option<Mapping>,
    },
    GoTo(StepIndex),
    Exit {
        reason: Text,
    },
    /// A step of an inert version: whoever comes to it or waits in it is parked.
    Inert,
}

impl StepKind {
    /// The kind's name as documents write it.
    pub fn as_str(&self) -> &'static str {
        match self {
            StepKind::Send { .. } => "send",
            StepKind::Wait(_) => "wait",
            StepKind::WaitFor(_) => "wait_for",
            StepKind::Branch { .. } => "branch",
            StepKind::Split { .. } => "split",
            StepKind::Update { .. } => "update",
            StepKind::Raise { .. } => "raise",
            StepKind::GoTo(_) => "go_to",
            StepKind::Exit { .. } => "exit",
            StepKind::Inert => "inert",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Wait {
    pub until: WaitUntil,
    pub if_late_over: Option<Span>,
    pub late: LatePolicy,
}

#[derive(Clone, Debug)]
pub enum WaitUntil {
    For(Span),
    /// RFC 3339 or local text; readable, as checked.
    Instant(Text),
    /// `path` gives the date-time text.
    Attribute {
        path: Expression,
        offset: Option<Span>,
        on_missing: OnMissingDate,
    },
    Time {
        time: LocalTime,
        days: Weekdays,
    },
    Window(Window),
}

#[derive(Clone, Debug)]
pub struct WaitFor {
    pub outcomes: Vec<Outcome>,
    pub up_to: Span,
    pub otherwise: Next,
}

#[derive(Clone, Debug)]
pub struct Outcome {
    pub on: OutcomeOn,
    pub condition: Option<Condition>,
    pub next: Next,
}

#[derive(Clone, Debug)]
pub enum OutcomeOn {
    Trigger {
        trigger: Name,
        since: Since,
    },
    /// `of` is a send step.
    Interaction {
        interaction: Name,
        of: StepIndex,
    },
}

#[derive(Clone, Debug)]
pub struct SplitArm {
    pub name: Name,
    pub weight: u32,
    pub next: Next,
}

#[derive(Clone, Debug)]
pub enum Mapping {
    Fixed(Value),
    From(Expression),
}

/// A journey as the catalog holds it: all its versions, of which at most one takes entries.
#[derive(Clone, Debug)]
pub struct Journey {
    pub name: Name,
    /// Those people may still be inside, ascending; empty only of a draft that was never without errors.
    pub versions: Vec<Arc<JourneyVersion>>,
    pub state: JourneyState,
    /// The last version at the last stop; in it and those before it nobody is inside. 0: it was never stopped.
    pub(crate) released: u32,
}

impl Journey {
    pub fn version(&self, version: u32) -> Option<&Arc<JourneyVersion>> {
        self.versions.iter().rev().find(|held| held.version == version)
    }

    /// The version that takes entries.
    pub fn live(&self) -> Option<&Arc<JourneyVersion>> {
        let last = if self.state.is_live() { self.versions.last() } else { None };
        last.filter(|version| !version.is_inert)
    }

    /// The versions that people may be inside of: those that took entries and were not stopped since (J12).
    pub(crate) fn occupied(&self) -> impl Iterator<Item = &Arc<JourneyVersion>> {
        self.versions.iter().filter(|held| held.version > self.released && held.spec().state.is_live())
    }
}

/// Resolves a journey's zone once per version would be wrong: the profile's goes before it (J8).
pub fn zone_of(profile_zone: Option<&str>, journey: &JourneyVersion) -> calendar::Resolved {
    Zone::resolve(profile_zone, journey.zone.as_deref())
}
