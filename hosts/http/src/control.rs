//! Documents and keys.

use crate::auth::{Admin, hash_secret};
use crate::intake_routes::POSITION;
use crate::payload::{Body, DOCUMENTS_BYTES_MAX, Payload};
use crate::precondition::{etag, if_match, is_held, moved};
use crate::problem::Problem;
use crate::query::{Nothing, Page, Path, Query};
use crate::shared::Shared;
use crate::views;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use catalog::{Built, Catalog, Change, PlanLine};
use engine::command::{ApiKey, DocumentChange, KeyScope};
use model::document::{self, DocumentId, Kind};
use model::{CatalogVersion, Finding, Name, Severity};
use processor::{Answer, ControlRequest, Input};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// All documents
///
/// As JSON, or as YAML with `Accept: application/yaml`. Applying what was exported changes nothing.
#[utoipa::path(get, path = "/api/v1/documents", tag = "documents",
    responses((status = 200, body = views::Documents, headers(("ETag" = String, description = "the catalog's version"))),
        (status = 304, description = "`If-None-Match` names this version"), views::Refusals))]
pub async fn export(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(Nothing {}): Query<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wants_yaml = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().ends_with(b"yaml"));
    of_catalog(&shared, &headers, |catalog| {
        if wants_yaml {
            let texts: Vec<String> = catalog.documents().map(|(_, held)| held.document.to_yaml()).collect();
            return ([(header::CONTENT_TYPE, "application/yaml")], texts.join("---\n")).into_response();
        }
        let documents = catalog.documents().map(|(_, held)| held.document.to_json()).collect();
        Json(views::Documents { catalog_version: catalog.version(), documents }).into_response()
    })
}

/// What the catalog says, with its version as entity tag; nothing when the caller has it.
fn of_catalog(
    shared: &Shared,
    headers: &HeaderMap,
    answer: impl FnOnce(&Catalog) -> Response,
) -> Result<Response, Problem> {
    let catalog = shared.catalog.load();
    let tag = [(header::ETAG, etag(catalog.version()))];
    if is_held(headers, catalog.version())? {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok((tag, answer(&catalog)).into_response())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApplyQuery {
    /// Only plans.
    #[serde(default)]
    dry_run: bool,
}

/// Apply documents
///
/// The body is YAML or JSON, one or more documents, at most 16 MiB. All or nothing: with an error nothing changes.
/// `If-Match` with the catalog's version refuses when somebody else published in between.
#[utoipa::path(post, path = "/api/v1/documents", tag = "documents",
    params(ApplyQuery, ("If-Match" = Option<String>, Header, description = "the catalog version in quotes")),
    request_body(content = String, content_type = "application/yaml"),
    responses((status = 200, body = views::Applied), views::Moved, views::TooLarge, views::Refused, views::Refusals))]
pub async fn apply(
    State(shared): State<Arc<Shared>>,
    Admin(caller): Admin,
    Query(ApplyQuery { dry_run }): Query<ApplyQuery>,
    headers: HeaderMap,
    Payload(body): Payload<DOCUMENTS_BYTES_MAX>,
) -> Result<Response, Problem> {
    let text = std::str::from_utf8(&body).map_err(|_| Problem::bad_request("malformed", "the body is not UTF-8"))?;
    let catalog = shared.catalog.load_full();
    let expected = if_match(&headers, catalog.version())?;
    let read = document::read_documents(text);
    if read.findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(refused(&read.findings));
    }
    if dry_run {
        let changes: Vec<Change> = read.documents.into_iter().map(Change::Put).collect();
        let Built { catalog: built, findings, plan } = catalog.with(CatalogVersion(catalog.version().0 + 1), &changes);
        if built.is_none() {
            return Err(refused(&findings));
        }
        return Ok(Json(applied(catalog.version(), &plan, &findings, true)).into_response());
    }
    let changes = read.documents.into_iter().map(DocumentChange::Put).collect();
    change(&shared, ControlRequest::Documents { changes, expected, by: caller.key }).await
}

/// Delete a document
///
/// `If-Match` with the catalog's version refuses when somebody else published in between.
#[utoipa::path(delete, path = "/api/v1/documents/{kind}/{name}", tag = "documents",
    params(("kind" = String, Path, description = "Trigger, Message, Journey or JourneyTest"), ("name" = String, Path, description = "its name"),
        ("If-Match" = Option<String>, Header, description = "the catalog version in quotes")),
    responses((status = 200, body = views::Applied), views::NotFound, views::Moved, views::Refused, views::Refusals))]
pub async fn remove(
    State(shared): State<Arc<Shared>>,
    Admin(caller): Admin,
    Path((kind, name)): Path<(String, String)>,
    Query(Nothing {}): Query<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let catalog = shared.catalog.load_full();
    let expected = if_match(&headers, catalog.version())?;
    let id = Kind::parse(&kind).zip(Name::new(&name).ok()).map(|(kind, name)| DocumentId { kind, name });
    let id = id.filter(|id| catalog.document(id).is_some());
    let Some(id) = id else { return Err(Problem::not_found(format!("there is no {kind}/{name}"))) };
    let changes = vec![DocumentChange::Remove(id)];
    change(&shared, ControlRequest::Documents { changes, expected, by: caller.key }).await
}

async fn change(shared: &Shared, request: ControlRequest) -> Result<Response, Problem> {
    match shared.ask(|ticket| Input::Control { request, ticket }).await? {
        Answer::Applied { version, position, plan, findings } => {
            let body = applied(version, &plan, &findings, false);
            let headers = [(POSITION, position.0.into()), (header::ETAG, etag(version))];
            Ok((headers, Json(body)).into_response())
        }
        Answer::Refused { findings } => Err(refused(&findings)),
        Answer::Conflict { version } => Err(moved(version)),
        other => Err(Problem::unexpected(&other)),
    }
}

fn applied(version: CatalogVersion, plan: &[PlanLine], findings: &[Finding], dry_run: bool) -> views::Applied {
    views::Applied {
        catalog_version: version,
        plan: plan.iter().map(views::Planned::of).collect(),
        findings: findings.iter().map(views::Finding::of).collect(),
        dry_run,
    }
}

fn refused(findings: &[Finding]) -> Problem {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let detail = format!("{errors} error(s); nothing was changed");
    let shown: Vec<views::Finding> = findings.iter().map(views::Finding::of).collect();
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "documents_refused", detail).with("findings", json!(shown))
}

/// The JSON Schema of documents
#[utoipa::path(get, path = "/api/v1/schema", tag = "documents", security(()), responses((status = 200, body = Object)))]
pub async fn schema(Query(Nothing {}): Query<Nothing>) -> Json<Value> {
    Json(document::json_schema())
}

/// The trigger catalog
#[utoipa::path(get, path = "/api/v1/triggers", tag = "catalog", params(Page),
    responses((status = 200, body = views::Triggers, headers(("ETag" = String, description = "the catalog's version"))),
        (status = 304, description = "`If-None-Match` names this version"), views::Refusals))]
pub async fn triggers(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    of_catalog(&shared, &headers, |catalog| {
        let (triggers, next_cursor) = page.of(catalog.triggers(), |trigger| trigger.name.as_str());
        let triggers = triggers.into_iter().map(|trigger| views::Trigger::of(catalog, trigger)).collect();
        listed(views::Triggers { triggers, next_cursor })
    })
}

/// Journeys with their versions
#[utoipa::path(get, path = "/api/v1/journeys", tag = "catalog", params(Page),
    responses((status = 200, body = views::Journeys, headers(("ETag" = String, description = "the catalog's version"))),
        (status = 304, description = "`If-None-Match` names this version"), views::Refusals))]
pub async fn journeys(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    of_catalog(&shared, &headers, |catalog| {
        let (journeys, next_cursor) = page.of(catalog.journeys(), |journey| journey.name.as_str());
        let journeys = journeys.into_iter().map(|journey| views::Journey::of(journey)).collect();
        listed(views::Journeys { journeys, next_cursor })
    })
}

/// Messages
#[utoipa::path(get, path = "/api/v1/messages", tag = "catalog", params(Page),
    responses((status = 200, body = views::Messages, headers(("ETag" = String, description = "the catalog's version"))),
        (status = 304, description = "`If-None-Match` names this version"), views::Refusals))]
pub async fn messages(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    of_catalog(&shared, &headers, |catalog| {
        let (messages, next_cursor) = page.of(catalog.messages(), |message| message.name.as_str());
        let messages = messages.into_iter().map(|message| views::Message::of(message)).collect();
        listed(views::Messages { messages, next_cursor })
    })
}

fn listed(list: impl Serialize) -> Response {
    Json(list).into_response()
}

/// Keys, without their secrets
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", params(Page),
    responses((status = 200, body = views::Keys), views::Refusals))]
pub async fn keys(State(shared): State<Arc<Shared>>, _: Admin, Query(page): Query<Page>) -> Json<views::Keys> {
    let control = shared.control.load();
    let (keys, next_cursor) = page.of(control.keys.values(), |held| held.key.id.as_str());
    Json(views::Keys { keys: keys.into_iter().map(views::Key::of).collect(), next_cursor })
}

/// Create a key
///
/// The answer shows the secret once; it is not kept.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", request_body = views::NewKey,
    responses((status = 201, body = views::MadeKey), views::Refusals))]
pub async fn create_key(
    State(shared): State<Arc<Shared>>,
    Admin(caller): Admin,
    Query(Nothing {}): Query<Nothing>,
    Body(views::NewKey { name, scope }): Body<views::NewKey>,
) -> Result<Response, Problem> {
    let (secret, key) = new_key(&name, scope.into(), shared.now())?;
    let id = key.id.clone();
    let request = ControlRequest::CreateKey { key, by: caller.key };
    match shared.ask(|ticket| Input::Control { request, ticket }).await? {
        Answer::Stored { .. } => {
            let body = views::MadeKey { id, name, scope, key: secret };
            Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
        }
        other => Err(Problem::unexpected(&other)),
    }
}

/// A new key and its secret.
///
/// # Errors
/// When the machine gives no random bytes.
pub fn new_key(name: &str, scope: KeyScope, now: model::Timestamp) -> Result<(String, ApiKey), Problem> {
    let mut bytes = [0; 40];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    let secret = format!("sj_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes[..32]));
    let id: String = bytes[32..].iter().map(|byte| format!("{byte:02x}")).collect();
    let key = ApiKey {
        id: format!("key_{id}").into(),
        name: name.into(),
        scope,
        secret_sha256: hash_secret(&secret),
        created_at: now,
    };
    Ok((secret, key))
}

/// Revoke a key
///
/// It opens nothing from now on.
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "its id")),
    responses((status = 204), views::NotFound, views::Refusals))]
pub async fn revoke_key(
    State(shared): State<Arc<Shared>>,
    Admin(caller): Admin,
    Path(id): Path<String>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<StatusCode, Problem> {
    let request = ControlRequest::RevokeKey { id: id.as_str().into(), by: caller.key };
    match shared.ask(|ticket| Input::Control { request, ticket }).await? {
        Answer::Stored { .. } => Ok(StatusCode::NO_CONTENT),
        Answer::UnknownKey => Err(Problem::not_found(format!("there is no key {id}"))),
        other => Err(Problem::unexpected(&other)),
    }
}
