//! Opens and clicks: signed tokens only, so that nobody can forge an interaction or redirect through us (S9).
//!
//! Programs look at mails too. One that only asks for the head of an answer has seen nothing; one that says that it
//! fetches ahead is a machine, whose interactions satisfy no wait (S8).

use crate::problem::Problem;
use crate::query::Path;
use crate::shared::Shared;
use crate::views;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::command::InteractionOccurred;
use model::{Attributes, Value};
use processor::Input;
use std::sync::Arc;
use std::time::Duration;
use template::tracking::{Kind, Token};

/// A transparent GIF of one pixel.
const PIXEL: [u8; 43] = [
    0x47, 0x49, 0x46, 0x38, 0x39, 0x61, 0x01, 0x00, 0x01, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
    0x21, 0xf9, 0x04, 0x01, 0x00, 0x00, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0x02,
    0x02, 0x44, 0x01, 0x00, 0x3b,
];

/// How long a reader waits for us to store that she came. What is handed in is stored all the same.
const STORED_WITHIN: Duration = Duration::from_secs(2);

/// The open pixel of a message
#[utoipa::path(get, path = "/t/o/{token}", tag = "tracking", security(()),
    params(("token" = String, Path, description = "signed, with or without .gif")),
    responses((status = 200, content_type = "image/gif")))]
pub async fn open(
    State(shared): State<Arc<Shared>>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let token = token.strip_suffix(".gif").unwrap_or(&token);
    let verified = shared.signer.load().as_ref().and_then(|signer| signer.verify(token).ok());
    if let Some(token @ Token { kind: Kind::Open, .. }) = verified {
        interacted(&shared, token, "email_opened", Attributes::new(), &method, &headers).await;
    }
    // The picture comes in any case: a mail must not look broken.
    let headers = [(header::CONTENT_TYPE, "image/gif"), (header::CACHE_CONTROL, "no-store, no-cache, private")];
    (headers, PIXEL).into_response()
}

/// A link of a message
#[utoipa::path(get, path = "/t/c/{token}", tag = "tracking", security(()),
    params(("token" = String, Path, description = "signed, with the target in it")),
    responses((status = 302, description = "to where the message said"), views::NotFound))]
pub async fn click(
    State(shared): State<Arc<Shared>>,
    Path(token): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let signer = shared.signer.load_full().ok_or_else(|| Problem::unavailable("the server is starting"))?;
    let Ok(Token { profile, effect, kind: Kind::Click { url } }) = signer.verify(&token) else {
        return Err(Problem::not_found("this link is not one of ours, or it was cut"));
    };
    let location = HeaderValue::from_str(&url).map_err(|_| Problem::not_found("this link leads nowhere"))?;
    let attributes = [("url", Value::Text(url.as_str().into()))].into_iter().collect();
    let token = Token { profile, effect, kind: Kind::Click { url } };
    interacted(&shared, token, "email_link_clicked", attributes, &method, &headers).await;
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::FOUND, headers).into_response())
}

/// Stores the interaction. Should that fail, the reader still gets to where the link leads.
async fn interacted(
    shared: &Shared,
    token: Token,
    interaction: &str,
    attributes: Attributes,
    method: &Method,
    headers: &HeaderMap,
) {
    if method == Method::HEAD {
        return;
    }
    let now = shared.now();
    let occurred = InteractionOccurred {
        effect: token.effect,
        interaction: interaction.into(),
        occurred_at: now,
        received_at: now,
        machine: fetches_ahead(headers),
        attributes,
    };
    let asked = shared.ask(|ticket| Input::Interaction { profile: token.profile, occurred, ticket });
    match tokio::time::timeout(STORED_WITHIN, asked).await {
        Ok(Ok(_)) => {}
        Ok(Err(problem)) => tracing::warn!(interaction, why = problem.detail, "an interaction was not stored"),
        Err(_) => tracing::warn!(interaction, "an interaction is not stored yet; its reader did not wait"),
    }
}

/// Whether a browser or mail program says that nobody has asked for this yet.
fn fetches_ahead(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| {
        let said = headers.get(*name).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
        said.is_some_and(|said| said.contains("prefetch") || said.contains("prerender") || said.contains("preview"))
    })
}
