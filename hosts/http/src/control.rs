//! Documents and keys.

use crate::auth::{Admin, hash_secret};
use crate::intake_routes::POSITION;
use crate::payload::Payload;
use crate::problem::Problem;
use crate::shared::Shared;
use crate::views;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use catalog::{Built, Change, PlanLine};
use engine::command::{ApiKey, DocumentChange, KeyScope};
use model::document::{self, DocumentId, Kind};
use model::{CatalogVersion, Finding, Name, Severity};
use processor::{Answer, ControlRequest, Input};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// All documents
///
/// As JSON, or as YAML with `Accept: application/yaml`. Applying what was exported changes nothing.
#[utoipa::path(get, path = "/api/v1/documents", tag = "documents", responses((status = 200, body = Value), (status = 401)))]
pub async fn export(State(shared): State<Arc<Shared>>, _: Admin, headers: HeaderMap) -> Response {
    let catalog = shared.catalog.load();
    let etag = [(header::ETAG, format!("\"{}\"", catalog.version().0))];
    let wants_yaml = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().ends_with(b"yaml"));
    if wants_yaml {
        let texts: Vec<String> = catalog.documents().map(|(_, held)| held.document.to_yaml()).collect();
        return (etag, [(header::CONTENT_TYPE, "application/yaml")], texts.join("---\n")).into_response();
    }
    let documents: Vec<Value> = catalog.documents().map(|(_, held)| held.document.to_json()).collect();
    (etag, Json(json!({"catalog_version": catalog.version(), "documents": documents}))).into_response()
}

#[derive(Deserialize, utoipa::IntoParams)]
pub struct ApplyQuery {
    /// Only plans.
    #[serde(default)]
    dry_run: bool,
}

/// Apply documents
///
/// The body is YAML or JSON, one or more documents. All or nothing: with an error nothing changes. `If-Match` with the
/// catalog version refuses when somebody else published in between.
#[utoipa::path(post, path = "/api/v1/documents", tag = "documents", params(ApplyQuery), request_body = String,
    responses((status = 200, body = Value), (status = 409), (status = 422, description = "findings")))]
pub async fn apply(
    State(shared): State<Arc<Shared>>,
    Admin(caller): Admin,
    Query(ApplyQuery { dry_run }): Query<ApplyQuery>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    let text = std::str::from_utf8(&body).map_err(|_| Problem::bad_request("malformed", "the body is not UTF-8"))?;
    let read = document::read_documents(text);
    if read.findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(refused(&read.findings));
    }
    let if_match = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let expected = if_match.and_then(|value| value.trim_matches('"').parse().ok()).map(CatalogVersion);
    if dry_run {
        let catalog = shared.catalog.load();
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
#[utoipa::path(delete, path = "/api/v1/documents/{kind}/{name}", tag = "documents",
    params(("kind" = String, Path, description = "Trigger, Message, Journey or JourneyTest"), ("name" = String, Path, description = "its name")),
    responses((status = 200, body = Value), (status = 404), (status = 422, description = "it is in use")))]
pub async fn remove(
    State(shared): State<Arc<Shared>>,
    Admin(caller): Admin,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = Kind::parse(&kind).zip(Name::new(&name).ok()).map(|(kind, name)| DocumentId { kind, name });
    let id = id.filter(|id| shared.catalog.load().document(id).is_some());
    let Some(id) = id else { return Err(Problem::not_found(format!("there is no {kind}/{name}"))) };
    let changes = vec![DocumentChange::Remove(id)];
    change(&shared, ControlRequest::Documents { changes, expected: None, by: caller.key }).await
}

async fn change(shared: &Shared, request: ControlRequest) -> Result<Response, Problem> {
    match shared.ask(|ticket| Input::Control { request, ticket }).await? {
        Answer::Applied { version, position, plan, findings } => {
            let body = applied(version, &plan, &findings, false);
            Ok(([(POSITION, position.to_string())], Json(body)).into_response())
        }
        Answer::Refused { findings } => Err(refused(&findings)),
        Answer::Conflict { version } => {
            let detail = format!("the catalog is at version {} by now; plan again", version.0);
            Err(Problem::new(StatusCode::CONFLICT, "catalog_moved", detail))
        }
        other => Err(Problem::internal(format!("an unexpected answer: {other:?}"))),
    }
}

fn applied(version: CatalogVersion, plan: &[PlanLine], findings: &[Finding], dry_run: bool) -> Value {
    let plan: Vec<Value> = plan
        .iter()
        .map(|line| json!({"document": line.id.to_string(), "action": line.action.as_str(), "version": line.version}))
        .collect();
    json!({"catalog_version": version, "plan": plan, "findings": findings, "dry_run": dry_run})
}

fn refused(findings: &[Finding]) -> Problem {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let detail = format!("{errors} error(s); nothing was changed");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "documents_refused", detail).with("findings", json!(findings))
}

/// The JSON Schema of documents
#[utoipa::path(get, path = "/api/v1/schema", tag = "documents", responses((status = 200, body = Value)))]
pub async fn schema() -> Json<Value> {
    Json(document::json_schema())
}

/// The trigger catalog
#[utoipa::path(get, path = "/api/v1/triggers", tag = "catalog", responses((status = 200, body = Value), (status = 401)))]
pub async fn triggers(State(shared): State<Arc<Shared>>, _: Admin) -> Json<Value> {
    let catalog = shared.catalog.load();
    let triggers: Vec<Value> = catalog.triggers().map(|trigger| views::trigger(&catalog, trigger)).collect();
    Json(json!({"triggers": triggers}))
}

/// Journeys with their versions
#[utoipa::path(get, path = "/api/v1/journeys", tag = "catalog", responses((status = 200, body = Value), (status = 401)))]
pub async fn journeys(State(shared): State<Arc<Shared>>, _: Admin) -> Json<Value> {
    let catalog = shared.catalog.load();
    let journeys: Vec<Value> = catalog.journeys().map(|journey| views::journey(journey)).collect();
    Json(json!({"journeys": journeys}))
}

/// Messages
#[utoipa::path(get, path = "/api/v1/messages", tag = "catalog", responses((status = 200, body = Value), (status = 401)))]
pub async fn messages(State(shared): State<Arc<Shared>>, _: Admin) -> Json<Value> {
    let catalog = shared.catalog.load();
    let messages: Vec<Value> = catalog.messages().map(|message| views::message(message)).collect();
    Json(json!({"messages": messages}))
}

/// Keys, without their secrets
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", responses((status = 200, body = Value), (status = 401)))]
pub async fn keys(State(shared): State<Arc<Shared>>, _: Admin) -> Json<Value> {
    let control = shared.control.load();
    Json(json!({"keys": control.keys.values().map(views::key).collect::<Vec<_>>()}))
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct NewKey {
    /// What it is for, in words.
    name: String,
    /// `browser`, `server` or `admin`.
    scope: String,
}

/// Create a key
///
/// The answer shows the secret once; it is not kept.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", request_body = NewKey,
    responses((status = 201, body = Value), (status = 400), (status = 401)))]
pub async fn create_key(
    State(shared): State<Arc<Shared>>,
    Admin(caller): Admin,
    Json(NewKey { name, scope }): Json<NewKey>,
) -> Result<Response, Problem> {
    let Some(scope) = KeyScope::parse(&scope) else {
        let detail = format!("`scope`: expected browser, server or admin, `{scope}` came");
        return Err(Problem::bad_request("scope_unknown", detail));
    };
    let (secret, key) = new_key(&name, scope, (shared.now)())?;
    let id = key.id.clone();
    let request = ControlRequest::CreateKey { key, by: caller.key };
    match shared.ask(|ticket| Input::Control { request, ticket }).await? {
        Answer::Stored { .. } => {
            let body = json!({"id": id, "name": name, "scope": scope.as_str(), "key": secret});
            Ok((StatusCode::CREATED, Json(body)).into_response())
        }
        other => Err(Problem::internal(format!("an unexpected answer: {other:?}"))),
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
    responses((status = 204), (status = 404), (status = 401)))]
pub async fn revoke_key(
    State(shared): State<Arc<Shared>>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let request = ControlRequest::RevokeKey { id: id.as_str().into(), by: caller.key };
    match shared.ask(|ticket| Input::Control { request, ticket }).await? {
        Answer::Stored { .. } => Ok(StatusCode::NO_CONTENT),
        Answer::UnknownKey => Err(Problem::not_found(format!("there is no key {id}"))),
        other => Err(Problem::internal(format!("an unexpected answer: {other:?}"))),
    }
}
