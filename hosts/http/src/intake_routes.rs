//! The front doors over HTTP.

use crate::auth::{Peer, Sender, key_of};
use crate::payload::Payload;
use crate::problem::Problem;
use crate::shared::Shared;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::IntoResponse;
use intake::{Context, ItemOutcome, Malformed, Received, native, segment as door};
use model::Lsn;
use processor::{Answer, Input};
use serde_json::{Value, json};
use std::sync::Arc;

/// The place in the log that a write reached; `?at_least=` waits for it.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("sojourn-position");

/// Store events
///
/// One event object or an array of them. Answered when they are durable, item by item, in order.
#[utoipa::path(post, path = "/v1/events", tag = "intake", request_body = Value,
    responses((status = 202, body = Value, description = "{\"results\": [{\"id\", \"outcome\", \"reason\"?}]}"),
        (status = 400, description = "not JSON"), (status = 401), (status = 429), (status = 503)))]
pub async fn events(
    State(shared): State<Arc<Shared>>,
    Sender(caller): Sender,
    Payload(body): Payload,
) -> Result<impl IntoResponse, Problem> {
    let received = map(&shared, &caller.key, |ctx| native::events(&body, ctx))?;
    store(&shared, received).await
}

/// Store profile attributes and identities
///
/// One profile object or an array of them, answered as events are.
#[utoipa::path(post, path = "/v1/profiles", tag = "intake", request_body = Value,
    responses((status = 202, body = Value), (status = 400), (status = 401), (status = 429), (status = 503)))]
pub async fn profiles(
    State(shared): State<Arc<Shared>>,
    Sender(caller): Sender,
    Payload(body): Payload,
) -> Result<impl IntoResponse, Problem> {
    let received = map(&shared, &caller.key, |ctx| native::profiles(&body, ctx))?;
    store(&shared, received).await
}

/// Segment's calls
///
/// `track identify page screen group alias batch import`, and the browser's `t i p s g a b`; `m` is taken and dropped.
#[utoipa::path(post, path = "/v1/{call}", tag = "intake", params(("call" = String, Path, description = "the call's name")),
    request_body = Value, responses((status = 200, body = Value), (status = 400), (status = 401), (status = 429), (status = 503)))]
pub async fn segment(
    State(shared): State<Arc<Shared>>,
    Path(call): Path<String>,
    Peer(peer): Peer,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<impl IntoResponse, Problem> {
    if call == "m" {
        return Ok((StatusCode::OK, [(POSITION, String::new())], Json(json!({"success": true}))));
    }
    let Some(call) = door::Call::of_path(&call) else {
        return Err(Problem::not_found(format!("there is no call /v1/{call}")));
    };
    let secret = key_of(&headers).filter(|key| !key.is_empty()).or_else(|| door::write_key(&body));
    let caller = shared.caller(secret.as_deref(), peer)?;
    let received = map(&shared, &caller.key, |ctx| door::receive(call, &body, ctx))?;
    let position = store_items(&shared, received.items).await?;
    Ok((StatusCode::OK, [(POSITION, position.to_string())], Json(json!({"success": true}))))
}

/// Settings for Segment's browser library
#[utoipa::path(get, path = "/v1/projects/{key}/settings", tag = "intake", params(("key" = String, Path, description = "the write key")),
    responses((status = 200, body = Value)))]
pub async fn segment_settings(Path(key): Path<String>, headers: HeaderMap) -> Json<Value> {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let api_host = format!("{host}/v1");
    Json(json!({"integrations": {"Segment.io": {"apiKey": key, "apiHost": api_host, "protocol": "http"}}}))
}

fn map(
    shared: &Shared,
    source: &str,
    door: impl FnOnce(&Context<'_>) -> Result<Received, Malformed>,
) -> Result<Received, Problem> {
    let catalog = shared.catalog.load();
    let ctx = Context { catalog: &catalog, source, received_at: (shared.now)() };
    door(&ctx).map_err(|malformed| Problem::bad_request("malformed", malformed.to_string()))
}

async fn store(shared: &Shared, received: Received) -> Result<impl IntoResponse + use<>, Problem> {
    let Received { items, results } = received;
    let position = store_items(shared, items).await?;
    let results: Vec<Value> = results
        .into_iter()
        .map(|result| match result.outcome {
            ItemOutcome::Accepted => json!({"id": result.id, "outcome": "accepted"}),
            ItemOutcome::Rejected { reason } => json!({"id": result.id, "outcome": "rejected", "reason": reason}),
        })
        .collect();
    Ok((StatusCode::ACCEPTED, [(POSITION, position.to_string())], Json(json!({"results": results}))))
}

async fn store_items(shared: &Shared, items: Vec<processor::Item>) -> Result<Lsn, Problem> {
    match shared.ask(|ticket| Input::Submit { items, ticket }).await? {
        Answer::Stored { position } => Ok(position),
        other => Err(Problem::internal(format!("an unexpected answer: {other:?}"))),
    }
}
