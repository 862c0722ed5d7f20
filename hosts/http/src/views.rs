//! How things look in JSON. API types are seen only here (house, invariant 6); the OpenAPI document is made of them.

use catalog::{Catalog, PlanLine};
use engine::command::KeyScope;
use engine::control::HeldKey;
use engine::state::Holding;
use engine::trace::Entry;
use engine::transition;
use model::document::{DocumentId, Kind, Spec};
use model::{
    AttributeName, Attributes, CatalogVersion, EffectId, Identity, Lsn, Name, ParticipantId, ProfileId, Severity, Text,
    Timestamp, trigger,
};
use ports::rows::{self, BookRow, ParticipantRow, SendRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::{IntoResponses, ToSchema};

/// What every path may answer instead.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers; they are made by `Problem`")]
pub enum Refusals {
    /// Something of the request cannot be read; `detail` says what was expected.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(crate::problem::Body),
    /// No key, or one that opens nothing.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(crate::problem::Body),
    /// The key's scope is another.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(crate::problem::Body),
    /// More comes than can be stored; nothing of this was taken. `Retry-After` says when to try again.
    #[response(status = 429, content_type = "application/problem+json")]
    Overloaded(crate::problem::Body),
    /// Nothing can be stored or read now. `Retry-After` says when to try again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(crate::problem::Body),
}

#[derive(IntoResponses)]
#[response(status = 404, content_type = "application/problem+json", description = "There is none of that name.")]
#[expect(dead_code, reason = "describes answers; they are made by `Problem`")]
pub struct NotFound(crate::problem::Body);

#[derive(IntoResponses)]
#[response(status = 413, content_type = "application/problem+json", description = "Send it in several requests.")]
#[expect(dead_code, reason = "describes answers; they are made by `Problem`")]
pub struct TooLarge(crate::problem::Body);

#[derive(IntoResponses)]
#[response(status = 412, content_type = "application/problem+json", description = "`If-Match` names another version.")]
#[expect(dead_code, reason = "describes answers; they are made by `Problem`")]
pub struct Moved(crate::problem::Body);

/// `detail` says how many errors there are, `findings` which; nothing was changed.
#[derive(IntoResponses)]
#[response(status = 422, content_type = "application/problem+json")]
#[expect(dead_code, reason = "describes answers; they are made by `Problem`")]
pub struct Refused(crate::problem::Body);

// ---- intake ----

/// One event object or an array of them.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes bodies that the doors read")]
pub enum Events {
    One(Event),
    Many(Vec<Event>),
}

/// Something that happened to one person.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes bodies that the doors read")]
pub struct Event {
    /// The sender's; of two with the same id, from the same key, for the same person, the first counts.
    id: Option<String>,
    /// A trigger's name.
    trigger: String,
    /// Who: `{"user_id": "42", "email": "ada@example.org"}`.
    #[schema(value_type = BTreeMap<String, String>)]
    identities: BTreeMap<String, String>,
    /// RFC 3339; default: when it is received.
    occurred_at: Option<String>,
    #[schema(value_type = Option<Object>)]
    attributes: Option<Value>,
    /// `{type}/{id}`: what it is about, where several things of one person go on beside each other.
    binding_id: Option<String>,
    /// Act on it although it is old.
    replay_as_live: Option<bool>,
}

/// One profile object or an array of them.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes bodies that the doors read")]
pub enum Updates {
    One(Update),
    Many(Vec<Update>),
}

/// What is known about one person.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes bodies that the doors read")]
pub struct Update {
    id: Option<String>,
    /// Who: `{"user_id": "42", "email": "ada@example.org"}`.
    #[schema(value_type = BTreeMap<String, String>)]
    identities: BTreeMap<String, String>,
    /// Null removes one.
    #[schema(value_type = Option<Object>)]
    attributes: Option<Value>,
}

/// What became of each item, in the order they were sent.
#[derive(Serialize, ToSchema)]
pub struct Results {
    pub results: Vec<ItemResult>,
}

#[derive(Serialize, ToSchema)]
pub struct ItemResult {
    #[schema(value_type = Option<String>)]
    pub id: Option<Text>,
    pub outcome: Outcome,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Accepted,
    Rejected,
}

/// A call of Segment's clients.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes bodies that the doors read")]
pub struct SegmentCall {
    /// The key, where no `Authorization` header carries it.
    write_key: Option<String>,
    /// Of `batch` and `import`: the calls.
    #[schema(value_type = Option<Vec<Object>>)]
    batch: Option<Vec<Value>>,
    user_id: Option<String>,
    anonymous_id: Option<String>,
    event: Option<String>,
    #[schema(value_type = Option<Object>)]
    properties: Option<Value>,
    #[schema(value_type = Option<Object>)]
    traits: Option<Value>,
    message_id: Option<String>,
    timestamp: Option<String>,
    sent_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Success {
    pub success: bool,
}

/// What Segment's browser library asks for at its start.
#[derive(Serialize, ToSchema)]
pub struct SegmentSettings {
    pub integrations: BTreeMap<&'static str, SegmentIntegration>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SegmentIntegration {
    pub api_key: String,
    pub api_host: String,
    pub protocol: String,
}

// ---- documents ----

/// All documents as the catalog holds them.
#[derive(Serialize, ToSchema)]
pub struct Documents {
    #[schema(value_type = u64)]
    pub catalog_version: CatalogVersion,
    /// Each as `GET /api/v1/schema` describes it.
    #[schema(value_type = Vec<Object>)]
    pub documents: Vec<Value>,
}

/// What applying documents changes, or changed.
#[derive(Serialize, ToSchema)]
pub struct Applied {
    #[schema(value_type = u64)]
    pub catalog_version: CatalogVersion,
    pub plan: Vec<Planned>,
    pub findings: Vec<Finding>,
    pub dry_run: bool,
}

#[derive(Serialize, ToSchema)]
pub struct Planned {
    /// `Journey/abandoned_cart`.
    pub document: String,
    /// `created`, `changed`, `removed` or `unchanged`.
    pub action: &'static str,
    pub version: u32,
}

impl Planned {
    pub fn of(line: &PlanLine) -> Self {
        Planned { document: line.id.to_string(), action: line.action.as_str(), version: line.version }
    }
}

/// What a check says of a document.
#[derive(Serialize, ToSchema)]
pub struct Finding {
    #[schema(value_type = String)]
    pub severity: Severity,
    /// Stable.
    pub code: &'static str,
    /// `Journey/abandoned_cart`; empty when it could not be read that far.
    pub document: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The place within the document, such as `spec.start.where`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    pub message: String,
}

impl Finding {
    pub fn of(finding: &model::Finding) -> Self {
        let model::Finding { severity, code, document, step, path, message, line: _, file: _ } = finding.clone();
        Finding { severity, code, document, step, path, message }
    }
}

// ---- catalog ----

#[derive(Serialize, ToSchema)]
pub struct Triggers {
    pub triggers: Vec<Trigger>,
    pub next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Trigger {
    #[schema(value_type = String)]
    pub name: Name,
    #[schema(value_type = Option<String>)]
    pub title: Option<Text>,
    /// `custom`, `interaction` or `business`.
    #[schema(value_type = String)]
    pub kind: trigger::TriggerKind,
    /// `draft`, `ready` or `stopped`.
    #[schema(value_type = String)]
    pub state: trigger::TriggerState,
    /// `contact`, `lead` or `profile`.
    #[schema(value_type = String)]
    pub bind: trigger::Bind,
    pub built_in: bool,
    pub version: u32,
    pub attributes: Vec<TriggerAttribute>,
    /// Journeys that it starts.
    #[schema(value_type = Vec<String>)]
    pub starts: Vec<Name>,
}

#[derive(Serialize, ToSchema)]
pub struct TriggerAttribute {
    #[schema(value_type = String)]
    pub name: AttributeName,
    /// `text`, `number`, `boolean`, `datetime` or `reference`.
    #[schema(value_type = String)]
    pub r#type: trigger::AttributeType,
    pub required: bool,
}

impl Trigger {
    pub fn of(catalog: &Catalog, trigger: &catalog::Trigger) -> Self {
        let id = DocumentId { kind: Kind::Trigger, name: trigger.name.clone() };
        let spec = catalog.document(&id).and_then(|held| match &held.document.spec {
            Spec::Trigger(spec) => Some(spec),
            Spec::Message(_) | Spec::Journey(_) | Spec::JourneyTest(_) => None,
        });
        let attribute = |attribute: &catalog::Attribute| TriggerAttribute {
            name: attribute.name.clone(),
            r#type: attribute.ty,
            required: attribute.required,
        };
        Trigger {
            name: trigger.name.clone(),
            title: spec.and_then(|spec| spec.title.clone()).map(Into::into),
            kind: trigger.kind,
            state: trigger.state,
            bind: trigger.bind,
            built_in: spec.is_none(),
            version: trigger.version,
            attributes: trigger.attributes.iter().map(attribute).collect(),
            starts: catalog.starts(&trigger.name).iter().map(|version| version.journey.clone()).collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct Journeys {
    pub journeys: Vec<Journey>,
    pub next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Journey {
    #[schema(value_type = String)]
    pub name: Name,
    /// `draft`, `live` or `stopped`.
    #[schema(value_type = String)]
    pub state: model::journey::JourneyState,
    /// Those people may still be inside, the newest last.
    pub versions: Vec<JourneyVersion>,
}

#[derive(Serialize, ToSchema)]
pub struct JourneyVersion {
    pub version: u32,
    /// The trigger that starts it.
    #[schema(value_type = String)]
    pub start: Name,
    pub steps: Vec<Step>,
}

#[derive(Serialize, ToSchema)]
pub struct Step {
    #[schema(value_type = String)]
    pub id: Text,
    pub kind: &'static str,
}

impl Journey {
    pub fn of(journey: &catalog::Journey) -> Self {
        let version = |version: &std::sync::Arc<catalog::JourneyVersion>| JourneyVersion {
            version: version.version,
            start: version.start.listener.trigger.clone(),
            steps: version
                .steps
                .iter()
                .map(|step| Step { id: step.id.as_str().into(), kind: step.kind.as_str() })
                .collect(),
        };
        Journey {
            name: journey.name.clone(),
            state: journey.state,
            versions: journey.versions.iter().map(version).collect(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct Messages {
    pub messages: Vec<Message>,
    pub next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Message {
    #[schema(value_type = String)]
    pub name: Name,
    pub version: u32,
    /// `email`, `sms`, `push` or `webhook`.
    #[schema(value_type = String)]
    pub channel: model::message::Channel,
    /// `commercial` or `transactional`.
    #[schema(value_type = Option<String>)]
    pub purpose: Option<model::message::Purpose>,
    #[schema(value_type = Option<String>)]
    pub topic: Option<Text>,
}

impl Message {
    pub fn of(message: &catalog::Message) -> Self {
        Message {
            name: message.name.clone(),
            version: message.version,
            channel: message.channel,
            purpose: message.purpose,
            topic: message.topic.clone(),
        }
    }
}

// ---- keys ----

#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Sends events of pages; reads nothing.
    Browser,
    /// Sends events and profiles.
    Server,
    /// Everything.
    Admin,
}

impl Scope {
    fn of(scope: KeyScope) -> Self {
        match scope {
            KeyScope::Browser => Scope::Browser,
            KeyScope::Server => Scope::Server,
            KeyScope::Admin => Scope::Admin,
        }
    }
}

impl From<Scope> for KeyScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Browser => KeyScope::Browser,
            Scope::Server => KeyScope::Server,
            Scope::Admin => KeyScope::Admin,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What it is for, in words.
    pub name: String,
    pub scope: Scope,
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub struct MadeKey {
    #[schema(value_type = String)]
    pub id: Text,
    pub name: String,
    pub scope: Scope,
    /// The secret, shown this once.
    pub key: String,
}

#[derive(Serialize, ToSchema)]
pub struct Keys {
    pub keys: Vec<Key>,
    pub next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Key {
    #[schema(value_type = String)]
    pub id: Text,
    #[schema(value_type = String)]
    pub name: Text,
    pub scope: Scope,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String)]
    pub created_by: Text,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

impl Key {
    pub fn of(held: &HeldKey) -> Self {
        Key {
            id: held.key.id.clone(),
            name: held.key.name.clone(),
            scope: Scope::of(held.key.scope),
            created_at: held.key.created_at,
            created_by: held.created_by.clone(),
            revoked_at: held.revoked_at,
        }
    }
}

// ---- profiles ----

/// One person with all that concerns her.
#[derive(Serialize, ToSchema)]
pub struct Profile {
    #[schema(value_type = String)]
    pub id: ProfileId,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Each as kind:value.
    #[schema(value_type = Vec<String>)]
    pub identities: Vec<Identity>,
    /// Came with hers but belong to another profile.
    #[schema(value_type = Vec<String>)]
    pub identity_conflicts: Vec<Identity>,
    #[schema(value_type = Object)]
    pub attributes: Attributes,
    pub contact: bool,
    pub lead: bool,
    pub journeys: Vec<JourneyRecord>,
    /// Journeys she is in now.
    pub participants: Vec<Participant>,
    /// The newest first, at most 100.
    pub sends: Vec<Send>,
}

/// A journey she was ever in.
#[derive(Serialize, ToSchema)]
pub struct JourneyRecord {
    #[schema(value_type = String)]
    pub journey: Text,
    pub entries: u32,
    #[schema(value_type = String, format = DateTime)]
    pub last_entered_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_ended_at: Option<Timestamp>,
    pub goals: Vec<ReachedGoal>,
}

#[derive(Serialize, ToSchema)]
pub struct ReachedGoal {
    #[schema(value_type = String)]
    pub goal: Text,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Her passage through one journey version.
#[derive(Serialize, ToSchema)]
pub struct Participant {
    #[schema(value_type = String)]
    pub id: ParticipantId,
    #[schema(value_type = String)]
    pub journey: Text,
    pub version: u32,
    pub entry: u32,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = Option<String>)]
    pub binding_id: Option<Text>,
    #[schema(value_type = Option<String>)]
    pub step: Option<Text>,
    /// `wait`, `wait_for`, `send` or `parked`.
    pub holding: &'static str,
    /// Why she is parked.
    #[schema(value_type = Option<String>)]
    pub reason: Option<Text>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

impl Profile {
    pub fn of(catalog: &Catalog, profile: &engine::Profile, sends: Vec<Send>) -> Self {
        let goal = |(goal, at): &(Text, Timestamp)| ReachedGoal { goal: goal.clone(), at: *at };
        let record = |record: &engine::state::JourneyRecord| JourneyRecord {
            journey: record.journey.clone(),
            entries: record.entries,
            last_entered_at: record.last_entered_at,
            last_ended_at: record.last_ended_at,
            goals: record.goals.iter().map(goal).collect(),
        };
        Profile {
            id: profile.id,
            created_at: profile.created_at,
            identities: profile.identities.clone(),
            identity_conflicts: profile.conflicts.clone(),
            attributes: profile.attributes.clone(),
            contact: profile.marks.contact,
            lead: profile.marks.lead,
            journeys: profile.journeys.iter().map(record).collect(),
            participants: profile.participants.iter().map(|inside| Participant::of(catalog, inside)).collect(),
            sends,
        }
    }
}

impl Participant {
    fn of(catalog: &Catalog, participant: &engine::state::Participant) -> Self {
        let version = catalog.journey_version(&participant.journey, participant.version);
        let (holding, reason) = match &participant.holding {
            Holding::Wait => ("wait", None),
            Holding::WaitFor { .. } => ("wait_for", None),
            Holding::Settle { .. } => ("send", None),
            Holding::Parked { reason } => ("parked", Some(reason.clone())),
        };
        Participant {
            id: participant.id,
            journey: participant.journey.clone(),
            version: participant.version,
            entry: participant.entry,
            started_at: participant.started_at,
            binding_id: participant.binding_id.clone(),
            step: version.map(|version| version.step(participant.step).id.as_str().into()),
            holding,
            reason,
            until: participant.timer.map(|timer| timer.fire_at),
        }
    }
}

/// Records about one profile, the newest first.
#[derive(Serialize, ToSchema)]
pub struct Timeline {
    pub timeline: Vec<Moment>,
    pub next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Moment {
    #[schema(value_type = u64)]
    pub lsn: Lsn,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `event signed_up`, `timer`, `settled` …
    #[schema(value_type = String)]
    pub what: Text,
    /// What it did, as sentences.
    pub did: Vec<String>,
}

/// Why somebody is, was or is not in a journey.
#[derive(Serialize, ToSchema)]
pub struct Explanation {
    #[schema(value_type = String)]
    pub profile: ProfileId,
    pub journey: String,
    pub summary: String,
    /// The oldest first.
    pub why: Vec<Moment>,
}

// ---- lists ----

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Inside,
    Parked,
    Ended,
}

impl From<Place> for rows::Place {
    fn from(place: Place) -> Self {
        match place {
            Place::Inside => rows::Place::Inside,
            Place::Parked => rows::Place::Parked,
            Place::Ended => rows::Place::Ended,
        }
    }
}

/// A page of a journey's participants. It may be short, even empty, while `next_cursor` says that there is more.
#[derive(Serialize, ToSchema)]
pub struct Participants {
    pub participants: Vec<ListedParticipant>,
    pub next_cursor: Option<String>,
    /// The moment that the list shows.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub struct ListedParticipant {
    #[schema(value_type = String)]
    pub id: ParticipantId,
    #[schema(value_type = String)]
    pub profile: ProfileId,
    /// `inside`, `parked` or `ended`.
    pub state: &'static str,
    pub version: u32,
    pub entry: u32,
    #[schema(value_type = String)]
    pub step: Text,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    pub reason: Option<Text>,
}

impl ListedParticipant {
    pub fn of(row: &ParticipantRow) -> Self {
        ListedParticipant {
            id: row.id,
            profile: row.profile,
            state: row.place.as_str(),
            version: row.version,
            entry: row.entry,
            step: row.step.clone(),
            started_at: row.started_at,
            ended_at: row.ended_at,
            until: row.until,
            reason: row.reason.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SendState {
    Planned,
    HandedOff,
    Accepted,
    Rejected,
    Deferred,
    Unknown,
    Blocked,
    Cancelled,
}

impl SendState {
    pub fn of(state: &transition::SendState) -> Self {
        match state {
            transition::SendState::Planned => SendState::Planned,
            transition::SendState::HandedOff => SendState::HandedOff,
            transition::SendState::Accepted { .. } => SendState::Accepted,
            transition::SendState::Rejected { .. } => SendState::Rejected,
            transition::SendState::Deferred { .. } => SendState::Deferred,
            transition::SendState::Unknown { .. } => SendState::Unknown,
            transition::SendState::Blocked { .. } => SendState::Blocked,
            transition::SendState::Cancelled { .. } => SendState::Cancelled,
        }
    }
}

/// A page of the ledger. It may be short, even empty, while `next_cursor` says that there is more.
#[derive(Serialize, ToSchema)]
pub struct Sends {
    pub sends: Vec<Send>,
    pub next_cursor: Option<String>,
    /// The moment that the list shows.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
}

/// One message to one address, and what became of it.
#[derive(Serialize, ToSchema)]
pub struct Send {
    #[schema(value_type = String)]
    pub id: EffectId,
    #[schema(value_type = String)]
    pub profile: ProfileId,
    #[schema(value_type = String)]
    pub participant: ParticipantId,
    #[schema(value_type = String)]
    pub journey: Text,
    #[schema(value_type = String)]
    pub step: Text,
    #[schema(value_type = String)]
    pub channel: Text,
    #[schema(value_type = String)]
    pub message: Text,
    #[schema(value_type = String)]
    pub address: Text,
    #[schema(value_type = String, format = DateTime)]
    pub planned_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
    pub attempts: u32,
    pub state: SendState,
    #[schema(value_type = Option<String>)]
    pub reason: Option<Text>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    pub provider_id: Option<Text>,
}

impl Send {
    pub fn of(row: &SendRow) -> Self {
        let send = &row.send;
        let (reason, retry_at, provider_id) = match &send.state {
            transition::SendState::Planned | transition::SendState::HandedOff => (None, None, None),
            transition::SendState::Accepted { provider_id } => (None, None, provider_id.clone()),
            transition::SendState::Deferred { reason, until } => (Some(reason.clone()), Some(*until), None),
            transition::SendState::Rejected { reason }
            | transition::SendState::Unknown { reason }
            | transition::SendState::Blocked { reason }
            | transition::SendState::Cancelled { reason } => (Some(reason.clone()), None, None),
        };
        Send {
            id: send.effect,
            profile: row.profile,
            participant: send.participant,
            journey: send.journey.clone(),
            step: send.step.clone(),
            channel: send.channel.clone(),
            message: send.message.clone(),
            address: send.address.clone(),
            planned_at: send.planned_at,
            changed_at: send.changed_at,
            attempts: send.attempts,
            state: SendState::of(&send.state),
            reason,
            retry_at,
            provider_id,
        }
    }
}

/// How events counted.
#[derive(Serialize, ToSchema)]
pub struct Books {
    /// Of the whole range.
    pub total: Counts,
    /// Of the whole range, by trigger.
    #[schema(value_type = BTreeMap<String, Counts>)]
    pub triggers: BTreeMap<Text, Counts>,
    /// A page of it, minute by minute.
    pub minutes: Vec<Minute>,
    pub next_cursor: Option<String>,
    /// The moment that the books show.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub struct Minute {
    #[schema(value_type = String)]
    pub trigger: Text,
    #[schema(value_type = String, format = DateTime)]
    pub minute: Timestamp,
    pub counts: Counts,
}

/// received = accepted + duplicate + rejected; accepted = matched + unmatched + late.
#[derive(Serialize, ToSchema)]
pub struct Counts {
    pub received: u64,
    pub accepted: u64,
    pub matched: u64,
    pub unmatched: u64,
    pub late: u64,
    pub duplicate: u64,
    /// Duplicates that said something else than the first.
    pub conflicts: u64,
    /// By reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub rejected: BTreeMap<Text, u64>,
}

impl Counts {
    pub fn of(row: &BookRow) -> Self {
        Counts {
            received: row.received(),
            accepted: row.accepted(),
            matched: row.matched,
            unmatched: row.unmatched,
            late: row.late,
            duplicate: row.duplicate,
            conflicts: row.conflicts,
            rejected: row.rejected.iter().map(|(reason, count)| (reason.clone(), *count)).collect(),
        }
    }
}

/// Captured messages, the newest first.
#[derive(Serialize, ToSchema)]
pub struct Mailbox {
    #[schema(value_type = Vec<CapturedMessage>)]
    pub messages: Vec<Value>,
    pub next_cursor: Option<String>,
}

/// A message as it would have left.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the mailbox shows")]
pub struct CapturedMessage {
    /// The send's.
    id: String,
    #[schema(format = DateTime)]
    at: String,
    channel: String,
    message: String,
    to: String,
    subject: Option<String>,
    #[schema(value_type = Object)]
    parts: Value,
    profile: String,
}

// ---- the tail ----

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Its trigger is known.
    Matched,
    /// Its trigger is not.
    Unmatched,
    /// Too old to act.
    Late,
    Duplicate,
    /// The same id with another payload; the first holds.
    DuplicateConflict,
    /// Refused at the door.
    Rejected,
}

impl Verdict {
    pub fn of(verdict: engine::Verdict) -> Self {
        match verdict {
            engine::Verdict::Matched => Verdict::Matched,
            engine::Verdict::Unmatched => Verdict::Unmatched,
            engine::Verdict::Late => Verdict::Late,
            engine::Verdict::Duplicate { conflict: false } => Verdict::Duplicate,
            engine::Verdict::Duplicate { conflict: true } => Verdict::DuplicateConflict,
        }
    }
}

/// One event of the tail.
#[derive(Serialize, ToSchema)]
pub struct TailEvent {
    /// None of a rejected one: it has no place in the log.
    #[schema(value_type = Option<u64>)]
    pub lsn: Option<Lsn>,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    #[schema(value_type = Option<String>)]
    pub profile: Option<ProfileId>,
    /// The trigger or interaction.
    #[schema(value_type = String)]
    pub what: Text,
    pub verdict: Verdict,
    /// What it did, as sentences.
    pub did: Vec<String>,
    /// Of a rejected one: the key it came by.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<Text>,
    /// Of a rejected one: the sender's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<Text>,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a command did: its sentences.
pub(crate) fn did(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(ToString::to_string).collect()
}

// ---- operation ----

/// Whether everything can be stored and sent.
#[derive(Serialize, ToSchema)]
pub struct Readiness {
    pub ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub position: Option<Lsn>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stopped: Vec<StoppedPartition>,
    /// Channels that hold back what they should hand off; events are taken all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<Degraded>,
}

#[derive(Serialize, ToSchema)]
pub struct StoppedPartition {
    pub partition: String,
    #[schema(value_type = u64)]
    pub lsn: Lsn,
    pub why: String,
}

/// A circuit that is open: one of the channel's peers fails for everyone.
#[derive(Serialize, ToSchema)]
pub struct Degraded {
    #[schema(value_type = String)]
    pub channel: Text,
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub retry_at: Timestamp,
}
