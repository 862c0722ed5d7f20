//! The journey document: start, exits, goals and steps, without pixels (design §5).

use crate::local_time::{LocalTime, Weekdays, Window};
use crate::{AttributeName, Name, Span, Timestamp, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The `spec` of a `kind: Journey` document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Journey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Default: `live`: what is applied acts.
    #[serde(default, skip_serializing_if = "JourneyState::is_live")]
    pub state: JourneyState,
    /// The zone of those whose profile names none (J8), an IANA name. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    pub start: Start,
    /// Each ends a participant at once, wherever it stands (J3).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exits: Vec<Exit>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<Goal>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JourneyState {
    Draft,
    #[default]
    Live,
    /// Everyone inside ends with reason `stopped` (J13).
    Stopped,
}

impl JourneyState {
    pub fn is_live(&self) -> bool {
        matches!(self, JourneyState::Live)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    pub trigger: Name,
    /// A condition over `event` (the one under test) and `profile`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    #[serde(default)]
    pub repeat: Repeat,
    /// Events outside it start nothing (J5). Default: always open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<StartWindow>,
}

/// How often one profile may enter (J4).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    #[serde(default)]
    pub mode: RepeatMode,
    /// mode `after`: how long after the last entry the next is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RepeatMode {
    Once,
    #[default]
    OnceAtATime,
    Restart,
    After,
    Always,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartWindow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    pub trigger: Name,
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// Counted once per profile while inside and for `window` after the end (J18).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    pub name: Name,
    pub trigger: Name,
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What is hoped for, a count (`500`) or a share (`50%`). Shown, decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Default: `3d`, of 24 hours each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
}

impl Goal {
    pub const WINDOW_DEFAULT_MS: i64 = 3 * 86_400_000;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a target is a count such as 500 or a share such as 50%")]
pub enum Target {
    Count(u64),
    Share(String),
}

/// One node: an id and exactly one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Unique in the journey (J11).
    pub id: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Send>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for: Option<WaitFor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raise: Option<Raise>,
    /// The id of the step to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go_to: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStep>,
    /// What a failure of the step does (J16). Default: `continue` for send, `park` for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Policy>,
    /// send only: what a blocked send does. Default: `continue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_blocked: Option<Policy>,
}

/// A step's kind with what it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepKind<'a> {
    Send(&'a Send),
    Wait(&'a Wait),
    WaitFor(&'a WaitFor),
    Branch(&'a Branch),
    Split(&'a Split),
    Update(&'a Update),
    Raise(&'a Raise),
    GoTo(&'a Name),
    Exit(&'a ExitStep),
}

impl Step {
    /// # Errors
    /// A sentence when the step has no kind or more than one.
    pub fn kind(&self) -> Result<StepKind<'_>, String> {
        let kinds = [
            ("send", self.send.as_ref().map(StepKind::Send)),
            ("wait", self.wait.as_ref().map(StepKind::Wait)),
            ("wait_for", self.wait_for.as_ref().map(StepKind::WaitFor)),
            ("branch", self.branch.as_ref().map(StepKind::Branch)),
            ("split", self.split.as_ref().map(StepKind::Split)),
            ("update", self.update.as_ref().map(StepKind::Update)),
            ("raise", self.raise.as_ref().map(StepKind::Raise)),
            ("go_to", self.go_to.as_ref().map(StepKind::GoTo)),
            ("exit", self.exit.as_ref().map(StepKind::Exit)),
        ];
        let mut given = kinds.iter().filter_map(|(name, kind)| kind.map(|kind| (*name, kind)));
        match (given.next(), given.next()) {
            (Some((_, kind)), None) => Ok(kind),
            (None, _) => {
                Err(format!("the step does nothing; expected one of {}", kinds.map(|(name, _)| name).join(", ")))
            }
            (Some((first, _)), Some((second, _))) => {
                Err(format!("the step is both `{first}` and `{second}`; a step is of one kind, make two of it"))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    Continue,
    /// End the participant with reason `blocked` or `failed`.
    Exit,
    /// Hold the participant visibly until an operator acts.
    Park,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Send {
    pub message: Name,
}

/// Exactly one of `for` and `until` (J7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// A timer that fires more than this after its instant (the system was down) goes on by `late` (O2).
    /// Default: it goes on as if on time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_late_over: Option<Span>,
    /// What lateness does. Default: `exit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<LatePolicy>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LatePolicy {
    Continue,
    #[default]
    Exit,
    Park,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Until {
    /// An instant as text, with an offset, or local without (J7).
    Instant(String),
    Attribute(UntilAttribute),
    Time(UntilTime),
    Window(UntilWindow),
}

/// By the field that tells the kinds apart, so that an error is about what was meant.
impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn read<T: serde::de::DeserializeOwned, E: serde::de::Error>(json: serde_json::Value) -> Result<T, E> {
            serde_json::from_value(json).map_err(E::custom)
        }
        let json = serde_json::Value::deserialize(deserializer)?;
        if let serde_json::Value::String(instant) = json {
            Ok(Until::Instant(instant))
        } else if json.get("attribute").is_some() {
            read(json).map(Until::Attribute)
        } else if json.get("time").is_some() {
            read(json).map(Until::Time)
        } else if json.get("window").is_some() {
            read(json).map(Until::Window)
        } else {
            Err(serde::de::Error::custom(
                "`until` is a date-time as text, or an object with `attribute`, `time` or `window`",
            ))
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UntilAttribute {
    /// A path such as `event.starts_at` or `profile.renewal_date`.
    pub attribute: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Span>,
    /// What a missing or unreadable date does. Default: `error`, which parks the participant.
    #[serde(default)]
    pub on_missing: OnMissingDate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMissingDate {
    /// Go on with the next step at once.
    Skip,
    /// End with reason `missing_date`.
    Exit,
    #[default]
    Error,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UntilTime {
    pub time: LocalTime,
    #[serde(default)]
    pub days: Weekdays,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UntilWindow {
    pub window: Window,
}

/// Holds until the first of its outcomes, or `up_to` (J9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitFor {
    pub outcomes: Vec<Outcome>,
    /// At most 365 days from arrival.
    pub up_to: Span,
    /// The arm of the time-out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<Step>,
}

impl WaitFor {
    pub const UP_TO_MAX_MS: i64 = 365 * 86_400_000;
}

/// Exactly one of `trigger` and `interaction`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Name>,
    /// trigger: from when on it counts. Default: `step`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// An interaction trigger such as `email_opened`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interaction: Option<Name>,
    /// interaction: the id of the send step it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Name>,
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// From the participant's start on.
    Start,
    /// From the wait's start on.
    #[default]
    Step,
}

/// Multi-way, first match in order, else `otherwise` (J11).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    pub when: Vec<When>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    #[serde(rename = "if")]
    pub condition: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// At random by weight, the same for one participant for ever (J11).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    pub arms: Vec<Arm>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    pub name: Name,
    /// The arm's share is its weight over the sum of all. 0 to 1,000,000.
    pub weight: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

impl Arm {
    pub const WEIGHT_MAX: u32 = 1_000_000;
}

/// Sets profile attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Update {
    pub attributes: BTreeMap<AttributeName, Mapping>,
}

/// Raises a custom trigger for the same profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Raise {
    pub trigger: Name,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<AttributeName, Mapping>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_id: Option<Mapping>,
}

/// Where a value comes from: `{from: event.cart_total}` is an expression, anything else is the value itself. An object
/// with a field `from` is never taken for a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Mapping {
    From(MappingFrom),
    Fixed(Value),
}

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let Value::Map(map) = &value else { return Ok(Mapping::Fixed(value)) };
        match (map.get("from"), map.len()) {
            (None, _) => Ok(Mapping::Fixed(value)),
            (Some(Value::Text(from)), 1) => Ok(Mapping::From(MappingFrom { from: from.to_string() })),
            (Some(_), _) => Err(serde::de::Error::custom(
                "`from` is an expression as text and stands alone, as in {from: event.cart_total}",
            )),
        }
    }
}

impl JsonSchema for Mapping {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mapping".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let from = generator.subschema_for::<MappingFrom>();
        let value = serde_json::json!({"not": {"type": "object", "required": ["from"]}});
        schemars::json_schema!({"anyOf": [from, value]})
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingFrom {
    /// A CEL expression.
    pub from: String,
}

/// Ends the participant; cancels nothing that was planned (J3).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExitStep {
    /// Default: the step's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Name>,
}

impl Mapping {
    pub fn fixed(value: impl Into<Value>) -> Self {
        Mapping::Fixed(value.into())
    }
}

/// Calls `visit` for every step of `steps` and of their arms, in document order.
pub fn for_each_step<'a>(steps: &'a [Step], visit: &mut dyn FnMut(&'a Step)) {
    for step in steps {
        visit(step);
        let arms: Vec<&'a [Step]> = step.arms();
        arms.into_iter().for_each(|arm| for_each_step(arm, visit));
    }
}

impl Step {
    /// The arms that branch off here, in document order; the last of a branch or wait_for is `otherwise`.
    pub fn arms(&self) -> Vec<&[Step]> {
        let mut arms: Vec<&[Step]> = Vec::new();
        if let Some(wait) = &self.wait_for {
            arms.extend(wait.outcomes.iter().map(|outcome| outcome.steps.as_slice()));
            arms.push(&wait.otherwise);
        }
        if let Some(branch) = &self.branch {
            arms.extend(branch.when.iter().map(|when| when.steps.as_slice()));
            arms.push(&branch.otherwise);
        }
        if let Some(split) = &self.split {
            arms.extend(split.arms.iter().map(|arm| arm.steps.as_slice()));
        }
        arms
    }
}
