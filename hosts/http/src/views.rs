//! How things look in JSON. API types are seen only here (house, invariant 6).

use catalog::{Catalog, Journey, Message, Trigger};
use engine::Profile;
use engine::control::HeldKey;
use engine::state::{Holding, Participant};
use engine::trace::Entry;
use model::document::{DocumentId, Kind, Spec};
use ports::rows::{BookRow, ParticipantRow, SendRow};
use serde_json::{Value, json};

pub(crate) fn trigger(catalog: &Catalog, trigger: &Trigger) -> Value {
    let id = DocumentId { kind: Kind::Trigger, name: trigger.name.clone() };
    let spec = catalog.document(&id).and_then(|held| match &held.document.spec {
        Spec::Trigger(spec) => Some(spec),
        Spec::Message(_) | Spec::Journey(_) | Spec::JourneyTest(_) => None,
    });
    let attributes: Vec<Value> = trigger
        .attributes
        .iter()
        .map(|attribute| json!({"name": attribute.name, "type": attribute.ty, "required": attribute.required}))
        .collect();
    json!({
        "name": trigger.name,
        "title": spec.and_then(|spec| spec.title.clone()),
        "kind": trigger.kind,
        "state": trigger.state,
        "bind": trigger.bind,
        "built_in": spec.is_none(),
        "version": trigger.version,
        "attributes": attributes,
        "starts": catalog.starts(&trigger.name).iter().map(|version| version.journey.clone()).collect::<Vec<_>>(),
    })
}

pub(crate) fn journey(journey: &Journey) -> Value {
    let versions: Vec<Value> = journey
        .versions
        .iter()
        .map(|version| {
            let steps: Vec<Value> =
                version.steps.iter().map(|step| json!({"id": step.id, "kind": step.kind.as_str()})).collect();
            json!({"version": version.version, "start": version.start.listener.trigger, "steps": steps})
        })
        .collect();
    json!({"name": journey.name, "state": journey.state, "versions": versions})
}

pub(crate) fn message(message: &Message) -> Value {
    json!({
        "name": message.name,
        "version": message.version,
        "channel": message.channel,
        "purpose": message.purpose,
        "topic": message.topic,
    })
}

pub(crate) fn key(held: &HeldKey) -> Value {
    json!({
        "id": held.key.id,
        "name": held.key.name,
        "scope": held.key.scope.as_str(),
        "created_at": held.key.created_at,
        "created_by": held.created_by,
        "revoked_at": held.revoked_at,
    })
}

pub(crate) fn profile(catalog: &Catalog, profile: &Profile, sends: &[Value]) -> Value {
    let journeys: Vec<Value> = profile
        .journeys
        .iter()
        .map(|record| {
            let goals: Vec<Value> = record.goals.iter().map(|(goal, at)| json!({"goal": goal, "at": at})).collect();
            json!({
                "journey": record.journey,
                "entries": record.entries,
                "last_entered_at": record.last_entered_at,
                "last_ended_at": record.last_ended_at,
                "goals": goals,
            })
        })
        .collect();
    json!({
        "id": profile.id,
        "created_at": profile.created_at,
        "identities": profile.identities,
        "identity_conflicts": profile.conflicts,
        "attributes": profile.attributes,
        "contact": profile.marks.contact,
        "lead": profile.marks.lead,
        "journeys": journeys,
        "participants": profile.participants.iter().map(|inside| participant(catalog, inside)).collect::<Vec<_>>(),
        "sends": sends,
    })
}

fn participant(catalog: &Catalog, participant: &Participant) -> Value {
    let version = catalog.journey_version(&participant.journey, participant.version);
    let (holding, reason) = match &participant.holding {
        Holding::Wait => ("wait", None),
        Holding::WaitFor { .. } => ("wait_for", None),
        Holding::Settle { .. } => ("send", None),
        Holding::Parked { reason } => ("parked", Some(reason)),
    };
    json!({
        "id": participant.id,
        "journey": participant.journey,
        "version": participant.version,
        "entry": participant.entry,
        "started_at": participant.started_at,
        "binding_id": participant.binding_id,
        "step": version.map(|version| version.step(participant.step).id.clone()),
        "holding": holding,
        "reason": reason,
        "until": participant.timer.map(|timer| timer.fire_at),
    })
}

pub(crate) fn participant_row(row: &ParticipantRow) -> Value {
    json!({
        "id": row.id,
        "profile": row.profile,
        "state": row.place.as_str(),
        "version": row.version,
        "entry": row.entry,
        "step": row.step,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "until": row.until,
        "reason": row.reason,
    })
}

pub(crate) fn send(row: &SendRow) -> Value {
    use engine::transition::SendState;
    let send = &row.send;
    let (reason, until, provider_id) = match &send.state {
        SendState::Planned | SendState::HandedOff => (None, None, None),
        SendState::Accepted { provider_id } => (None, None, provider_id.clone()),
        SendState::Deferred { reason, until } => (Some(reason.clone()), Some(*until), None),
        SendState::Rejected { reason }
        | SendState::Unknown { reason }
        | SendState::Blocked { reason }
        | SendState::Cancelled { reason } => (Some(reason.clone()), None, None),
    };
    json!({
        "id": send.effect,
        "profile": row.profile,
        "participant": send.participant,
        "journey": send.journey,
        "step": send.step,
        "channel": send.channel,
        "message": send.message,
        "address": send.address,
        "planned_at": send.planned_at,
        "changed_at": send.changed_at,
        "attempts": send.attempts,
        "state": send.state.as_str(),
        "reason": reason,
        "retry_at": until,
        "provider_id": provider_id,
    })
}

pub(crate) fn book(row: &BookRow) -> Value {
    let rejected: serde_json::Map<String, Value> =
        row.rejected.iter().map(|(reason, count)| (reason.to_string(), json!(count))).collect();
    json!({
        "received": row.received(),
        "accepted": row.accepted(),
        "matched": row.matched,
        "unmatched": row.unmatched,
        "late": row.late,
        "duplicate": row.duplicate,
        "conflicts": row.conflicts,
        "rejected": rejected,
    })
}

/// What a command did: its sentences.
pub(crate) fn did(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(ToString::to_string).collect()
}
