//! Reads: of one profile by its partition, of lists and counters from the last checkpoint (design §2.8).

use crate::auth::Admin;
use crate::problem::Problem;
use crate::shared::Shared;
use crate::views;
use axum::Json;
use axum::extract::{Path, Query, State};
use engine::command::{Command, ProfileCommand};
use engine::trace::Entry;
use model::{EffectId, Identity, KeySlot, Lsn, ParticipantId, ProfileId, Text, Timestamp};
use ports::codec;
use ports::log::Body;
use ports::rows::{self, BookRow, Place};
use ports::state::{Keyspace, Scan};
use processor::{Answer, Input, ProfileRead, Who};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const LIMIT_MAX: usize = 1_000;
/// Records that `explain` looks through, the newest.
const EXPLAIN_RECORDS_MAX: usize = 2_000;

fn who_of(text: &str) -> Result<Who, Problem> {
    if let Some(profile) = ProfileId::parse(text) {
        return Ok(Who::Profile(profile));
    }
    Identity::parse(text).map(Who::Identity).map_err(|why| Problem::bad_request("identity", why))
}

async fn find(shared: &Shared, text: &str) -> Result<ProfileRead, Problem> {
    let who = who_of(text)?;
    match shared.ask(|ticket| Input::Read { who, ticket }).await? {
        Answer::Profile(Some(read)) => Ok(*read),
        Answer::Profile(None) => Err(Problem::not_found(format!("no profile is known as {text}"))),
        other => Err(Problem::internal(format!("an unexpected answer: {other:?}"))),
    }
}

/// One profile
///
/// By identity (`user_id:42`) or id, with its participants and its latest sends. Sees everything acknowledged.
#[utoipa::path(get, path = "/api/v1/profiles/{identity}", tag = "profiles",
    params(("identity" = String, Path, description = "kind:value, or the profile's id")),
    responses((status = 200, body = Value), (status = 404), (status = 401)))]
pub async fn profile(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Path(identity): Path<String>,
) -> Result<Json<Value>, Problem> {
    let read = find(&shared, &identity).await?;
    let storage = shared.storage()?;
    // The ledger of the last checkpoint, with what changed since on top.
    let mut sends: BTreeMap<(std::cmp::Reverse<Timestamp>, EffectId), Value> = BTreeMap::new();
    let mut put = |row: &rows::SendRow| {
        sends.insert((std::cmp::Reverse(row.send.planned_at), row.send.effect), views::send(row));
    };
    let prefix = rows::sends_of_profile_prefix(read.profile.id);
    storage
        .state
        .scan(Keyspace::Sends, &prefix, None, &mut |_, value| {
            put(&rows::decode_send(value).map_err(|error| damaged(Keyspace::Sends, &error))?);
            Ok(Scan::Continue)
        })
        .map_err(Problem::internal)?;
    read.sends.iter().for_each(put);
    let sends: Vec<Value> = sends.into_values().take(100).collect();
    Ok(Json(views::profile(&shared.catalog.load(), &read.profile, &sends)))
}

#[derive(Deserialize, utoipa::IntoParams)]
pub struct Page {
    /// Only what is before this record.
    before: Option<u64>,
    /// 1 to 1,000, default 100.
    limit: Option<usize>,
}

/// A profile's timeline
///
/// Every record about it with what it did and why, the newest first.
#[utoipa::path(get, path = "/api/v1/profiles/{identity}/timeline", tag = "profiles",
    params(("identity" = String, Path, description = "kind:value, or the profile's id"), Page),
    responses((status = 200, body = Value), (status = 404), (status = 401)))]
pub async fn timeline(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Path(identity): Path<String>,
    Query(Page { before, limit }): Query<Page>,
) -> Result<Json<Value>, Problem> {
    let read = find(&shared, &identity).await?;
    let limit = limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let moments = moments(&shared, read.profile.slot, before.map(Lsn), limit).await?;
    let next = moments.last().filter(|_| moments.len() == limit).map(|moment| moment.lsn);
    let shown: Vec<Value> = moments
        .iter()
        .map(|moment| json!({"lsn": moment.lsn, "at": moment.at, "what": moment.what, "did": views::did(&moment.did)}))
        .collect();
    Ok(Json(json!({"timeline": shown, "next_before": next})))
}

struct Moment {
    lsn: Lsn,
    at: Timestamp,
    what: Text,
    did: Vec<Entry>,
}

/// Reads the history on a thread that may wait for the disk.
async fn moments(shared: &Shared, slot: KeySlot, before: Option<Lsn>, limit: usize) -> Result<Vec<Moment>, Problem> {
    let storage = shared.storage()?;
    let read = tokio::task::spawn_blocking(move || storage.history.of_profile(slot, before, limit));
    let moments = read.await.map_err(Problem::internal)?.map_err(Problem::internal)?;
    moments
        .into_iter()
        .map(|moment| {
            let what = match &moment.entry.body {
                Body::Erased => Text::from("erased"),
                Body::Command(body) => what_of(&codec::decode_command(body).map_err(Problem::internal)?),
            };
            let did = match &moment.trace {
                Some(trace) => codec::decode_trace(trace).map_err(Problem::internal)?,
                None => Vec::new(),
            };
            Ok(Moment { lsn: moment.entry.lsn, at: moment.entry.stamp, what, did })
        })
        .collect()
}

fn what_of(command: &Command) -> Text {
    match command {
        Command::Profile { command, .. } => match command {
            ProfileCommand::Event(occurred) => format!("event {}", occurred.event.trigger).into(),
            ProfileCommand::Update(_) => "profile".into(),
            ProfileCommand::Interaction(occurred) => format!("interaction {}", occurred.interaction).into(),
            ProfileCommand::TimerFired { .. } => "timer".into(),
            ProfileCommand::Claim { .. } => "claim".into(),
            ProfileCommand::Settled { .. } => "settled".into(),
            ProfileCommand::JourneyStopped { .. } => "journey stopped".into(),
        },
        Command::Partition(_) => "partition".into(),
        Command::Control(_) => "control".into(),
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
pub struct ExplainQuery {
    /// kind:value, or the profile's id.
    profile: String,
    journey: String,
}

/// Why in, why not
///
/// Everything that a profile's records did in one journey: entries refused with their reason, steps, sends, the end.
#[utoipa::path(get, path = "/api/v1/explain", tag = "profiles", params(ExplainQuery),
    responses((status = 200, body = Value), (status = 404), (status = 401)))]
pub async fn explain(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(ExplainQuery { profile, journey }): Query<ExplainQuery>,
) -> Result<Json<Value>, Problem> {
    let catalog = shared.catalog.load_full();
    let Some(found) = catalog.journey(&journey) else {
        let near = model::nearest::nearest(&journey, catalog.journeys().map(|journey| journey.name.as_str()));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(Problem::not_found(format!("there is no journey {journey}{hint}")));
    };
    let read = find(&shared, &profile).await?;
    let moments = moments(&shared, read.profile.slot, None, EXPLAIN_RECORDS_MAX).await?;
    let mut inside: BTreeSet<ParticipantId> = BTreeSet::new();
    let mut effects: BTreeSet<EffectId> = BTreeSet::new();
    let mut lines = Vec::new();
    for moment in moments.iter().rev() {
        let about: Vec<String> = moment
            .did
            .iter()
            .filter(|entry| concerns(entry, &journey, &mut inside, &mut effects))
            .map(ToString::to_string)
            .collect();
        if !about.is_empty() {
            lines.push(json!({"lsn": moment.lsn, "at": moment.at, "what": moment.what, "did": about}));
        }
    }
    let is_inside = read.profile.participants.iter().any(|participant| participant.journey == *journey);
    let entered = read.profile.journey(&journey).is_some();
    let start = found.versions.last().map(|version| version.start.listener.trigger.to_string()).unwrap_or_default();
    let summary = match (is_inside, entered, lines.is_empty()) {
        (true, ..) => format!("is in {journey} now"),
        (false, true, _) => format!("was in {journey} and has left it"),
        (false, false, false) => format!("has not entered {journey}; the reasons are below"),
        (false, false, true) => {
            format!("has not entered {journey}: no event {start} came for this profile while it was live")
        }
    };
    Ok(Json(json!({"profile": read.profile.id, "journey": journey, "summary": summary, "why": lines})))
}

/// Whether an entry is about the journey; learns its participants and effects on the way.
fn concerns(
    entry: &Entry,
    journey: &str,
    inside: &mut BTreeSet<ParticipantId>,
    effects: &mut BTreeSet<EffectId>,
) -> bool {
    if let Some(named) = entry.journey() {
        if let Entry::Started { participant, .. } = entry
            && *named == *journey
        {
            inside.insert(*participant);
        }
        return *named == *journey;
    }
    if let Entry::Planned { participant, effect, .. } = entry
        && inside.contains(participant)
    {
        effects.insert(*effect);
    }
    if let Some(participant) = entry.participant() {
        return inside.contains(&participant);
    }
    entry.effect().is_some_and(|effect| effects.contains(&effect))
}

#[derive(Deserialize, utoipa::IntoParams)]
pub struct ParticipantsQuery {
    step: Option<String>,
    /// `inside`, `parked` or `ended`.
    state: Option<String>,
    /// From the answer before.
    cursor: Option<String>,
    /// 1 to 1,000, default 100.
    limit: Option<usize>,
    /// A `Sojourn-Position` to wait for, at most 5 s.
    at_least: Option<u64>,
}

/// Participants of a journey
#[utoipa::path(get, path = "/api/v1/journeys/{name}/participants", tag = "journeys",
    params(("name" = String, Path, description = "the journey"), ParticipantsQuery),
    responses((status = 200, body = Value), (status = 404), (status = 401)))]
pub async fn participants(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Path(name): Path<String>,
    Query(query): Query<ParticipantsQuery>,
) -> Result<Json<Value>, Problem> {
    if shared.catalog.load().journey(&name).is_none() {
        return Err(Problem::not_found(format!("there is no journey {name}")));
    }
    let place = match query.state.as_deref() {
        None => None,
        Some(text) => Some(Place::parse(text).ok_or_else(|| {
            Problem::bad_request("state", format!("`state`: expected inside, parked or ended, `{text}` came"))
        })?),
    };
    let as_of = shared.wait_for(query.at_least).await?;
    let limit = query.limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let prefix = rows::participant_prefix(&name, place, query.step.as_deref().filter(|_| place.is_some()));
    let (mut shown, mut cursor) = (Vec::new(), None);
    let after = query.cursor.as_deref().map(from_hex).transpose()?;
    let storage = shared.storage()?;
    storage
        .state
        .scan(Keyspace::Participants, &prefix, after.as_deref(), &mut |key, value| {
            let row = rows::decode_participant(value).map_err(|error| damaged(Keyspace::Participants, &error))?;
            if query.step.as_deref().is_none_or(|step| row.step == *step) {
                shown.push(views::participant_row(&row));
            }
            if shown.len() == limit {
                cursor = Some(to_hex(key));
                return Ok(Scan::Stop);
            }
            Ok(Scan::Continue)
        })
        .map_err(Problem::internal)?;
    Ok(Json(json!({"participants": shown, "next_cursor": cursor, "as_of": as_of})))
}

#[derive(Deserialize, utoipa::IntoParams)]
pub struct SendsQuery {
    /// kind:value, or the profile's id.
    profile: Option<String>,
    /// `planned`, `handed_off`, `accepted`, `rejected`, `deferred`, `unknown`, `blocked` or `cancelled`.
    state: Option<String>,
    cursor: Option<String>,
    /// 1 to 1,000, default 100.
    limit: Option<usize>,
    /// A `Sojourn-Position` to wait for, at most 5 s.
    at_least: Option<u64>,
}

/// The ledger of sends
///
/// The newest first; of one profile in order of planning.
#[utoipa::path(get, path = "/api/v1/sends", tag = "sends", params(SendsQuery),
    responses((status = 200, body = Value), (status = 401)))]
pub async fn sends(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(query): Query<SendsQuery>,
) -> Result<Json<Value>, Problem> {
    let profile = match &query.profile {
        Some(text) => Some(find(&shared, text).await?.profile.id),
        None => None,
    };
    let as_of = shared.wait_for(query.at_least).await?;
    let limit = query.limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let after = query.cursor.as_deref().map(from_hex).transpose()?;
    let (mut shown, mut cursor) = (Vec::new(), None);
    let storage = shared.storage()?;
    let prefix = profile.map_or_else(|| rows::SENDS_BY_TIME_PREFIX.to_vec(), rows::sends_of_profile_prefix);
    let visit = &mut |key: &[u8], value: &[u8]| {
        let row = if profile.is_some() {
            rows::decode_send(value).map_err(|error| damaged(Keyspace::Sends, &error))?
        } else {
            let key = rows::send_key_by_time(key, value).map_err(|error| damaged(Keyspace::Sends, &error))?;
            let Some(value) = storage.state.get(Keyspace::Sends, &key)? else { return Ok(Scan::Continue) };
            rows::decode_send(&value).map_err(|error| damaged(Keyspace::Sends, &error))?
        };
        if query.state.as_deref().is_none_or(|state| row.send.state.as_str() == state) {
            shown.push(views::send(&row));
        }
        if shown.len() == limit {
            cursor = Some(to_hex(key));
            return Ok(Scan::Stop);
        }
        Ok(Scan::Continue)
    };
    storage.state.scan(Keyspace::Sends, &prefix, after.as_deref(), visit).map_err(Problem::internal)?;
    Ok(Json(json!({"sends": shown, "next_cursor": cursor, "as_of": as_of})))
}

#[derive(Deserialize, utoipa::IntoParams)]
pub struct BooksQuery {
    /// All triggers if not given.
    trigger: Option<String>,
    /// RFC 3339; the minute it lies in is counted.
    from: Option<String>,
    /// RFC 3339; the minute it lies in is counted.
    to: Option<String>,
    /// A `Sojourn-Position` to wait for, at most 5 s.
    at_least: Option<u64>,
}

/// The books
///
/// How events counted, per trigger and minute of receipt: received = accepted + duplicate + rejected, accepted =
/// matched + unmatched + late. Rejected events whose trigger is not known stand under an empty name.
#[utoipa::path(get, path = "/api/v1/books", tag = "books", params(BooksQuery),
    responses((status = 200, body = Value), (status = 401)))]
pub async fn books(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(query): Query<BooksQuery>,
) -> Result<Json<Value>, Problem> {
    let minute = |name: &str, text: &Option<String>, default: u32| match text {
        None => Ok(default),
        Some(text) => Timestamp::parse(text).map(processor::minute_of).ok_or_else(|| {
            Problem::bad_request("instant", format!("`{name}`: expected RFC 3339 with an offset, `{text}` came"))
        }),
    };
    let (from, to) = (minute("from", &query.from, 0)?, minute("to", &query.to, u32::MAX)?);
    let as_of = shared.wait_for(query.at_least).await?;
    let prefix = query.trigger.as_deref().map(rows::book_prefix).unwrap_or_default();
    let mut minutes: BTreeMap<(Text, u32), BookRow> = BTreeMap::new();
    let storage = shared.storage()?;
    storage
        .state
        .scan(Keyspace::Books, &prefix, None, &mut |key, value| {
            let (trigger, minute) = rows::decode_book_key(key).map_err(|error| damaged(Keyspace::Books, &error))?;
            if (from..=to).contains(&minute) {
                let row = rows::decode_book(value).map_err(|error| damaged(Keyspace::Books, &error))?;
                minutes.entry((trigger, minute)).or_default().add(&row);
            }
            Ok(Scan::Continue)
        })
        .map_err(Problem::internal)?;
    let mut total = BookRow::default();
    let mut by_trigger: BTreeMap<&Text, BookRow> = BTreeMap::new();
    for ((trigger, _), row) in &minutes {
        total.add(row);
        by_trigger.entry(trigger).or_default().add(row);
    }
    let triggers: serde_json::Map<String, Value> =
        by_trigger.into_iter().map(|(trigger, row)| (trigger.to_string(), views::book(&row))).collect();
    let minutes: Vec<Value> = minutes
        .iter()
        .map(|((trigger, minute), row)| {
            let at = Timestamp::from_ms(i64::from(*minute) * 60_000);
            json!({"trigger": trigger, "minute": at, "counts": views::book(row)})
        })
        .collect();
    Ok(Json(json!({"total": views::book(&total), "triggers": triggers, "minutes": minutes, "as_of": as_of})))
}

#[derive(Deserialize, utoipa::IntoParams)]
pub struct MailboxQuery {
    /// Only messages to this address.
    to: Option<String>,
    /// 1 to 1,000, default 100.
    limit: Option<usize>,
}

/// Captured messages
///
/// What the development channel holds back, the newest first.
#[utoipa::path(get, path = "/api/v1/mailbox", tag = "sends", params(MailboxQuery),
    responses((status = 200, body = Value), (status = 404, description = "no channel is captured"), (status = 401)))]
pub async fn mailbox(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(query): Query<MailboxQuery>,
) -> Result<Json<Value>, Problem> {
    let Some(mailbox) = &shared.mailbox else {
        return Err(Problem::not_found("no channel is captured; `sojourn serve --dev` captures those not configured"));
    };
    let limit = query.limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let messages = mailbox.list(query.to.as_deref(), limit);
    Ok(Json(json!({"messages": messages})))
}

fn damaged(keyspace: Keyspace, error: &codec::Error) -> ports::state::Error {
    ports::state::Error::Damaged { keyspace, key: String::new(), why: error.to_string() }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>, Problem> {
    let wrong = || Problem::bad_request("cursor", "`cursor`: expected what `next_cursor` said");
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(wrong());
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())).collect()
}
