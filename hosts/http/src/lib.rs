//! axum: control API, intake, tracking endpoints; OpenAPI generated and committed.
//!
//! Thin: a handler authenticates, asks the processor or the store, and puts the answer into JSON. `shared` is what
//! handlers see of the running system; it is filled by the binary, which wires the parts. Pages of other origins reach
//! the front doors alone: nothing else answers CORS.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an answer of another kind than was asked for is a bug, and told as one"
)]

mod auth;
mod control;
mod intake_routes;
mod key_scope;
mod lists;
mod live;
mod ops;
mod payload;
mod precondition;
mod problem;
mod profiles;
mod query;
pub mod server;
mod shared;
mod tracking;
mod views;

pub use auth::{KeyRing, hash_secret};
pub use control::new_key;
pub use shared::{Captured, Circuits, Mailbox, OpenCircuit, Outside, Shared, Storage};

use axum::Router;
use axum::http::{HeaderName, Method, header};
use axum::middleware::map_response;
use std::sync::Arc;
use std::time::Duration;
use tower_http::cors::{Any, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[derive(OpenApi)]
#[openapi(
    info(title = "Sojourn", description = "Events in, journeys on. Errors are problem+json (RFC 9457) with a stable `code`."),
    components(schemas(problem::Body)),
    modifiers(&Securities),
    security(("key" = []))
)]
struct Document;

/// How keys are shown.
struct Securities;

impl Modify for Securities {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let http = |scheme, description: &str| {
            let mut http = Http::new(scheme);
            http.description = Some(description.to_owned());
            SecurityScheme::Http(http)
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", http(HttpAuthScheme::Bearer, "`sojourn keys create` makes one."));
        let write_key = "The key as user name, no password: as Segment's clients send it.";
        components.add_security_scheme("write_key", http(HttpAuthScheme::Basic, write_key));
    }
}

/// The front doors, which pages of any origin may use.
fn intake() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(intake_routes::events))
        .routes(routes!(intake_routes::profiles))
        .routes(routes!(intake_routes::segment))
        .routes(routes!(intake_routes::segment_settings))
}

fn others() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(tracking::open))
        .routes(routes!(tracking::click))
        .routes(routes!(control::export, control::apply))
        .routes(routes!(control::remove))
        .routes(routes!(control::schema))
        .routes(routes!(control::triggers))
        .routes(routes!(control::journeys))
        .routes(routes!(control::messages))
        .routes(routes!(control::keys, control::create_key))
        .routes(routes!(control::revoke_key))
        .routes(routes!(profiles::profile))
        .routes(routes!(profiles::timeline))
        .routes(routes!(profiles::explain))
        .routes(routes!(lists::participants))
        .routes(routes!(lists::sends))
        .routes(routes!(lists::books))
        .routes(routes!(lists::mailbox))
        .routes(routes!(live::tail))
        .routes(routes!(ops::healthz))
        .routes(routes!(ops::readyz))
        .routes(routes!(ops::metrics))
}

/// The headers that the clients we accept unchanged send from pages.
const CLIENT_HEADERS: [HeaderName; 11] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CACHE_CONTROL,
    HeaderName::from_static("x-retry-count"),
    HeaderName::from_static("apikey"),
    HeaderName::from_static("client-id"),
    HeaderName::from_static("client-version"),
    HeaderName::from_static("upload-time"),
    HeaderName::from_static("time-delta-to-apply-millis"),
    HeaderName::from_static("idempotency-key"),
];

/// Any origin, and no cookies: a key is in the request or there is none.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(CLIENT_HEADERS)
        .expose_headers([intake_routes::POSITION, header::RETRY_AFTER])
        .max_age(Duration::from_secs(2 * 3_600))
}

fn documented() -> OpenApiRouter<Arc<Shared>> {
    // NOTE: problems get their form within CORS, so that a page can read why it was refused.
    let unpacked = RequestDecompressionLayer::new();
    let intake = intake().layer(unpacked.clone()).layer(map_response(problem::in_one_form)).layer(cors());
    let others = others().layer(unpacked).layer(map_response(problem::in_one_form));
    OpenApiRouter::with_openapi(Document::openapi()).merge(intake).merge(others)
}

/// The whole API over `shared`. Serve it with connect info, so that development keys can be told by their peer.
pub fn router(shared: Arc<Shared>) -> Router {
    let (router, document) = documented().split_for_parts();
    let document = Arc::new(document);
    let openapi = axum::routing::get(move || {
        let document = Arc::clone(&document);
        async move { axum::Json(document.as_ref().clone()) }
    });
    router.route("/openapi.json", openapi).fallback(problem::no_such_path).with_state(shared)
}

/// The OpenAPI document, as it is committed.
pub fn openapi_json() -> String {
    let document = documented().split_for_parts().1;
    let mut text = document.to_pretty_json().expect("INVARIANT: an OpenAPI document can be written as JSON");
    text.push('\n');
    text
}
