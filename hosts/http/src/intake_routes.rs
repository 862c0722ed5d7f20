//! The front doors over HTTP.

use crate::auth::{Caller, Sender, Whence, key_of};
use crate::key_scope;
use crate::live::{Item, Rejected};
use crate::payload::{EVENTS_BYTES_MAX, Payload};
use crate::problem::Problem;
use crate::query::Path;
use crate::shared::Shared;
use crate::views;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::IntoResponse;
use engine::command::KeyScope;
use intake::{Context, ItemOutcome, ItemResult, Malformed, Received, native, segment as door};
use model::{Lsn, Text, Timestamp};
use processor::{Answer, Input, PROFILE_RATE};
use std::sync::Arc;

/// The place in the log that a write reached; `?at_least=` waits for it.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("sojourn-position");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Its longest: with the number of an item it is still an id.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 100;

/// Store events
///
/// One event object or an array of them. Answered when they are durable, item by item, in order. Items without an id
/// are not recognised when they are sent again, unless the request has an `Idempotency-Key`: the first is then
/// `KEY#0`, the next `KEY#1`, and so on. A browser key may not send everything (`docs/rules.md`, Keys).
#[utoipa::path(post, path = "/v1/events", tag = "intake", request_body = views::Events,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 100 visible characters; the same for every attempt")),
    responses((status = 202, body = views::Results, headers(("Sojourn-Position" = u64, description = "`?at_least=` waits for it"))),
        views::TooLarge, views::Refusals))]
pub async fn events(
    State(shared): State<Arc<Shared>>,
    Sender(caller): Sender,
    headers: HeaderMap,
    Payload(body): Payload<EVENTS_BYTES_MAX>,
) -> Result<impl IntoResponse, Problem> {
    let received = map(&shared, &caller, |ctx| native::events(&body, ctx))?;
    store(&shared, &caller, with_ids(received, &headers)?).await
}

/// Store profile attributes and identities
///
/// One profile object or an array of them, answered as events are.
#[utoipa::path(post, path = "/v1/profiles", tag = "intake", request_body = views::Updates,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 100 visible characters; the same for every attempt")),
    responses((status = 202, body = views::Results, headers(("Sojourn-Position" = u64, description = "`?at_least=` waits for it"))),
        views::TooLarge, views::Refusals))]
pub async fn profiles(
    State(shared): State<Arc<Shared>>,
    Sender(caller): Sender,
    headers: HeaderMap,
    Payload(body): Payload<EVENTS_BYTES_MAX>,
) -> Result<impl IntoResponse, Problem> {
    let received = map(&shared, &caller, |ctx| native::profiles(&body, ctx))?;
    store(&shared, &caller, with_ids(received, &headers)?).await
}

/// Segment's calls
///
/// `track identify page screen group alias batch import`, and the browser's `t i p s g a b`; `m` is taken and dropped.
/// Items that are rejected are in the books and in the live tail.
#[utoipa::path(post, path = "/v1/{call}", tag = "intake", params(("call" = String, Path, description = "the call's name")),
    request_body = views::SegmentCall, security(("key" = []), ("write_key" = [])),
    responses((status = 200, body = views::Success), views::NotFound, views::TooLarge, views::Refusals))]
pub async fn segment(
    State(shared): State<Arc<Shared>>,
    Path(call): Path<String>,
    whence: Whence,
    headers: HeaderMap,
    Payload(body): Payload<EVENTS_BYTES_MAX>,
) -> Result<impl IntoResponse, Problem> {
    let success = Json(views::Success { success: true });
    if call == "m" {
        return Ok((StatusCode::OK, HeaderMap::new(), success));
    }
    let Some(call) = door::Call::of_path(&call) else {
        return Err(Problem::not_found(format!("there is no call /v1/{call}")));
    };
    let secret = key_of(&headers).filter(|key| !key.is_empty()).or_else(|| door::write_key(&body));
    let caller = shared.caller(secret.as_deref(), &whence)?;
    let received = map(&shared, &caller, |ctx| door::receive(call, &body, ctx))?;
    let (position, _) = store_items(&shared, &caller, received).await?;
    let position = [(POSITION, HeaderValue::from(position.0))].into_iter().collect();
    Ok((StatusCode::OK, position, success))
}

/// Settings for Segment's browser library
#[utoipa::path(get, path = "/v1/projects/{key}/settings", tag = "intake", security(()),
    params(("key" = String, Path, description = "the write key")), responses((status = 200, body = views::SegmentSettings)))]
pub async fn segment_settings(
    State(shared): State<Arc<Shared>>,
    Path(key): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Json<views::SegmentSettings> {
    let (protocol, host) = reached_at(&shared, &uri, &headers);
    let integration = views::SegmentIntegration { api_key: key, api_host: format!("{host}/v1"), protocol };
    Json(views::SegmentSettings { integrations: [("Segment.io", integration)].into() })
}

/// Protocol and host that pages reach us by: what is configured, else what the request says.
fn reached_at(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> (String, String) {
    if let Some((protocol, rest)) = shared.outside.public_url.as_deref().and_then(|url| url.split_once("://")) {
        return (protocol.to_owned(), rest.trim_end_matches('/').to_owned());
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let forwarded = text("x-forwarded-proto").and_then(|list| list.split(',').next()).map(str::trim);
    let protocol = if forwarded.is_some_and(|said| said.eq_ignore_ascii_case("https")) { "https" } else { "http" };
    let host = uri.authority().map(|host| host.as_str()).or_else(|| text(header::HOST.as_str()));
    (protocol.to_owned(), host.unwrap_or("localhost").to_owned())
}

fn map(
    shared: &Shared,
    caller: &Caller,
    door: impl FnOnce(&Context<'_>) -> Result<Received, Malformed>,
) -> Result<Received, Problem> {
    let catalog = shared.catalog.load();
    let ctx = Context { catalog: &catalog, source: &caller.key, received_at: shared.now() };
    let mut received = door(&ctx).map_err(|malformed| Problem::bad_request("malformed", malformed.to_string()))?;
    match caller.scope {
        KeyScope::Browser => key_scope::restrict(&mut received, &catalog, ctx.received_at),
        KeyScope::Server | KeyScope::Admin => {}
    }
    Ok(received)
}

/// Gives items that have no id one made of the request's `Idempotency-Key`, so that a request sent again stores
/// nothing twice (E3).
fn with_ids(mut received: Received, headers: &HeaderMap) -> Result<Received, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(received) };
    let key = key.to_str().ok().filter(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()));
    let Some(key) = key else {
        let detail = format!("`Idempotency-Key`: expected 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible characters");
        return Err(Problem::bad_request("idempotency_key", detail));
    };
    for (number, (item, result)) in received.items.iter_mut().zip(&mut received.results).enumerate() {
        let id = match item {
            processor::Item::Event { event, .. } => &mut event.id,
            processor::Item::Update(update) => &mut update.id,
            processor::Item::Rejected(_) | processor::Item::RejectedUpdate => continue,
        };
        if id.is_none() {
            let made = Text::from(format!("{key}#{number}"));
            *id = Some(made.clone());
            result.id = Some(made);
        }
    }
    Ok(received)
}

async fn store(shared: &Shared, caller: &Caller, received: Received) -> Result<impl IntoResponse + use<>, Problem> {
    let (position, results) = store_items(shared, caller, received).await?;
    let shown = |ItemResult { id, outcome, trigger: _ }| match outcome {
        ItemOutcome::Accepted => views::ItemResult { id, outcome: views::Outcome::Accepted, reason: None },
        ItemOutcome::Rejected { reason } => {
            views::ItemResult { id, outcome: views::Outcome::Rejected, reason: Some(reason) }
        }
    };
    let results = views::Results { results: results.into_iter().map(shown).collect() };
    Ok((StatusCode::ACCEPTED, [(POSITION, HeaderValue::from(position.0))], Json(results)))
}

async fn store_items(
    shared: &Shared,
    caller: &Caller,
    mut received: Received,
) -> Result<(Lsn, Vec<ItemResult>), Problem> {
    let rejected = if shared.watched.by_someone() { rejected(caller, &received, shared.now()) } else { Vec::new() };
    received.make_ids();
    let Received { items, mut results } = received;
    match shared.ask(|ticket| Input::Submit { items, ticket }).await? {
        Answer::Stored { position, refused } => {
            // Each result has its item, at the same place.
            for number in refused {
                if let Some(result) = results.get_mut(number) {
                    let reason = format!("{PROFILE_RATE}: this profile sends more than it may in a minute");
                    result.outcome = ItemOutcome::Rejected { reason };
                }
            }
            for item in rejected {
                // Nobody may be looking any more; then it is for nobody.
                let _unseen = shared.tail.send(Arc::new(Item::Rejected(item)));
            }
            Ok((position, results))
        }
        other => Err(Problem::unexpected(&other)),
    }
}

/// What the live tail shows of items refused at the door.
fn rejected(caller: &Caller, received: &Received, now: Timestamp) -> Vec<Rejected> {
    let pairs = received.items.iter().zip(&received.results);
    let shown = pairs.filter_map(|(item, result)| match (item, &result.outcome) {
        (processor::Item::Rejected(_) | processor::Item::RejectedUpdate, ItemOutcome::Rejected { reason }) => {
            Some(Rejected {
                at: now,
                trigger: result.trigger.clone(),
                source: caller.key.clone(),
                id: result.id.clone(),
                reason: reason.clone(),
            })
        }
        _ => None,
    });
    shown.collect()
}
