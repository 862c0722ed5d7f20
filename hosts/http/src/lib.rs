//! axum: control API, intake, tracking endpoints; OpenAPI generated and committed.
//!
//! Thin: a handler authenticates, asks the processor or the store, and puts the answer into JSON. `shared` is what
//! handlers see of the running system; it is filled by the binary, which wires the parts.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an answer of another kind than was asked for is a bug, and told as one"
)]

mod auth;
mod control;
mod intake_routes;
mod live;
mod ops;
mod payload;
mod problem;
mod read;
mod shared;
mod tracking;
mod views;

pub use auth::{KeyRing, hash_secret};
pub use control::new_key;
pub use shared::{Mailbox, Shared, Storage};

use axum::Router;
use axum::http::{HeaderName, Method, header};
use std::sync::Arc;
use tower_http::cors::{Any, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The longest body of a request, unpacked.
pub const BODY_BYTES_MAX: usize = 1 << 20;

#[derive(OpenApi)]
#[openapi(info(
    title = "Sojourn",
    description = "Events in, journeys on. Errors are problem+json (RFC 9457) with a stable `code`."
))]
struct Document;

fn routed() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(intake_routes::events))
        .routes(routes!(intake_routes::profiles))
        .routes(routes!(intake_routes::segment))
        .routes(routes!(intake_routes::segment_settings))
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
        .routes(routes!(read::profile))
        .routes(routes!(read::timeline))
        .routes(routes!(read::explain))
        .routes(routes!(read::participants))
        .routes(routes!(read::sends))
        .routes(routes!(read::books))
        .routes(routes!(read::mailbox))
        .routes(routes!(live::tail))
        .routes(routes!(ops::healthz))
        .routes(routes!(ops::readyz))
        .routes(routes!(ops::metrics))
}

/// The whole API over `shared`. Serve it with connect info, so that development keys can be told by their peer.
pub fn router(shared: Arc<Shared>) -> Router {
    let (router, document) = routed().split_for_parts();
    let document = Arc::new(document);
    let openapi = axum::routing::get(move || {
        let document = Arc::clone(&document);
        async move { axum::Json(document.as_ref().clone()) }
    });
    let cors = CorsLayer::new().allow_origin(Any).allow_methods([Method::GET, Method::POST]).allow_headers([
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CACHE_CONTROL,
        HeaderName::from_static("x-retry-count"),
    ]);
    router
        .route("/openapi.json", openapi)
        .fallback(problem::no_such_path)
        .layer(RequestDecompressionLayer::new())
        .layer(cors)
        .with_state(shared)
}

/// The OpenAPI document, as it is committed.
pub fn openapi_json() -> String {
    let document = routed().split_for_parts().1;
    let mut text = document.to_pretty_json().expect("INVARIANT: an OpenAPI document can be written as JSON");
    text.push('\n');
    text
}
