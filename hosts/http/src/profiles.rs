//! Reads of one profile: by its partition, so that they see everything acknowledged (design §2.8), and from the history.

use crate::auth::Admin;
use crate::problem::Problem;
use crate::query::{Limit, Nothing, Path, Query, number_of_cursor};
use crate::shared::{Shared, Storage};
use crate::views;
use axum::Json;
use axum::extract::State;
use engine::command::{Command, ProfileCommand};
use engine::trace::Entry;
use model::{EffectId, Identity, KeySlot, Lsn, ParticipantId, ProfileId, Text, Timestamp};
use ports::codec;
use ports::log::Body;
use ports::rows::{self, SendRow};
use ports::state::{Keyspace, Scan};
use processor::{Answer, Input, ProfileRead, Who};
use serde::Deserialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Records that `explain` looks through, the newest.
const EXPLAIN_RECORDS_MAX: usize = 2_000;
/// Sends that are shown with a profile.
const SENDS_SHOWN: usize = 100;

fn who_of(text: &str) -> Result<Who, Problem> {
    if let Some(profile) = ProfileId::parse(text) {
        return Ok(Who::Profile(profile));
    }
    Identity::parse(text).map(Who::Identity).map_err(|why| Problem::bad_request("identity", why))
}

pub(crate) async fn find(shared: &Shared, text: &str) -> Result<ProfileRead, Problem> {
    let who = who_of(text)?;
    match shared.ask(|ticket| Input::Read { who, ticket }).await? {
        Answer::Profile(Some(read)) => Ok(*read),
        Answer::Profile(None) => Err(Problem::not_found(format!("no profile is known as {text}"))),
        other => Err(Problem::unexpected(&other)),
    }
}

/// One profile
///
/// By identity (`user_id:42`) or id, with its participants and its latest sends. Sees everything acknowledged.
#[utoipa::path(get, path = "/api/v1/profiles/{identity}", tag = "profiles",
    params(("identity" = String, Path, description = "kind:value, or the profile's id")),
    responses((status = 200, body = views::Profile), views::NotFound, views::Refusals))]
pub async fn profile(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Path(identity): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Json<views::Profile>, Problem> {
    let read = find(&shared, &identity).await?;
    let (profile, now) = (read.profile.id, shared.now());
    let checkpointed = shared.read(move |storage| latest_sends(storage, profile, now)).await?;
    // The ledger of the last checkpoint, with what changed since on top.
    let mut sends: BTreeMap<(Reverse<Timestamp>, EffectId), views::Send> = BTreeMap::new();
    for row in checkpointed.iter().chain(&read.sends) {
        sends.insert((Reverse(row.send.planned_at), row.send.effect), views::Send::of(row));
    }
    let sends = sends.into_values().take(SENDS_SHOWN).collect();
    Ok(Json(views::Profile::of(&shared.catalog.load(), &read.profile, sends)))
}

/// The newest sends of a profile as of the last checkpoint. The ledger of a profile begins with its oldest, so ever
/// earlier days are looked at until there are enough.
fn latest_sends(storage: &Storage, profile: ProfileId, now: Timestamp) -> Result<VecDeque<SendRow>, Problem> {
    const DAY_MS: i64 = 86_400_000;
    let mut newest = VecDeque::new();
    for days in [Some(1), Some(30), Some(365), None] {
        newest.clear();
        let from = days.map(|days| rows::send_key(profile, now.plus_ms(-days * DAY_MS), EffectId([0; 16])));
        let prefix = rows::sends_of_profile_prefix(profile);
        let scanned = storage.state.scan(Keyspace::Sends, &prefix, from.as_deref(), &mut |_, value| {
            newest.push_back(rows::decode_send(value).map_err(|error| damaged(Keyspace::Sends, &error))?);
            if newest.len() > SENDS_SHOWN {
                newest.pop_front();
            }
            Ok(Scan::Continue)
        });
        scanned.map_err(Problem::internal)?;
        if newest.len() == SENDS_SHOWN {
            break;
        }
    }
    Ok(newest)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TimelineQuery {
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Default 100.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Limit,
}

/// A profile's timeline
///
/// Every record about it with what it did and why, the newest first.
#[utoipa::path(get, path = "/api/v1/profiles/{identity}/timeline", tag = "profiles",
    params(("identity" = String, Path, description = "kind:value, or the profile's id"), TimelineQuery),
    responses((status = 200, body = views::Timeline), views::NotFound, views::Refusals))]
pub async fn timeline(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Path(identity): Path<String>,
    Query(TimelineQuery { cursor, limit }): Query<TimelineQuery>,
) -> Result<Json<views::Timeline>, Problem> {
    let before = cursor.as_deref().map(number_of_cursor).transpose()?.map(Lsn);
    let read = find(&shared, &identity).await?;
    let moments = moments(&shared, read.profile.slot, before, limit.0).await?;
    let next = moments.last().filter(|_| moments.len() == limit.0).map(|moment| moment.lsn.0.to_string());
    let timeline = moments.into_iter().map(|moment| moment.shown()).collect();
    Ok(Json(views::Timeline { timeline, next_cursor: next }))
}

struct Moment {
    lsn: Lsn,
    at: Timestamp,
    what: Text,
    did: Vec<Entry>,
}

impl Moment {
    fn shown(&self) -> views::Moment {
        views::Moment { lsn: self.lsn, at: self.at, what: self.what.clone(), did: views::did(&self.did) }
    }
}

async fn moments(shared: &Shared, slot: KeySlot, before: Option<Lsn>, limit: usize) -> Result<Vec<Moment>, Problem> {
    let read = move |storage: &Storage| {
        let moments = storage.history.of_profile(slot, before, limit).map_err(Problem::internal)?;
        moments.into_iter().map(moment).collect()
    };
    shared.read(read).await
}

fn moment(moment: ports::log::Moment) -> Result<Moment, Problem> {
    let what = match &moment.entry.body {
        Body::Erased => Text::from("erased"),
        Body::Command(body) => what_of(&codec::decode_command(body).map_err(Problem::internal)?),
    };
    let did = match &moment.trace {
        Some(trace) => codec::decode_trace(trace).map_err(Problem::internal)?,
        None => Vec::new(),
    };
    Ok(Moment { lsn: moment.entry.lsn, at: moment.entry.stamp, what, did })
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
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// kind:value, or the profile's id.
    profile: String,
    journey: String,
}

/// Why in, why not
///
/// Everything that a profile's records did in one journey: entries refused with their reason, steps, sends, the end.
#[utoipa::path(get, path = "/api/v1/explain", tag = "profiles", params(ExplainQuery),
    responses((status = 200, body = views::Explanation), views::NotFound, views::Refusals))]
pub async fn explain(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(ExplainQuery { profile, journey }): Query<ExplainQuery>,
) -> Result<Json<views::Explanation>, Problem> {
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
            lines.push(views::Moment { did: about, ..moment.shown() });
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
    Ok(Json(views::Explanation { profile: read.profile.id, journey, summary, why: lines }))
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

pub(crate) fn damaged(keyspace: Keyspace, error: &codec::Error) -> ports::state::Error {
    ports::state::Error::damaged(keyspace, "", error)
}
