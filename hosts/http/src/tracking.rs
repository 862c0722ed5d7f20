//! Opens and clicks: signed tokens only, so that nobody can forge an interaction or redirect through us (S9).

use crate::problem::Problem;
use crate::shared::Shared;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::command::InteractionOccurred;
use model::{Attributes, Value};
use processor::Input;
use std::sync::Arc;
use template::tracking::{Kind, Token};

/// A transparent GIF of one pixel.
const PIXEL: [u8; 43] = [
    0x47, 0x49, 0x46, 0x38, 0x39, 0x61, 0x01, 0x00, 0x01, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
    0x21, 0xf9, 0x04, 0x01, 0x00, 0x00, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0x02,
    0x02, 0x44, 0x01, 0x00, 0x3b,
];

/// The open pixel of a message
#[utoipa::path(get, path = "/t/o/{token}", tag = "tracking", params(("token" = String, Path, description = "signed, with or without .gif")),
    responses((status = 200, content_type = "image/gif")))]
pub async fn open(State(shared): State<Arc<Shared>>, Path(token): Path<String>) -> Response {
    let token = token.strip_suffix(".gif").unwrap_or(&token);
    let verified = shared.storage().ok().and_then(|storage| storage.signer.verify(token).ok());
    if let Some(token @ Token { kind: Kind::Open, .. }) = verified {
        interacted(&shared, token, "email_opened", Attributes::new()).await;
    }
    // The picture comes in any case: a mail must not look broken.
    let headers = [(header::CONTENT_TYPE, "image/gif"), (header::CACHE_CONTROL, "no-store, no-cache, private")];
    (headers, PIXEL).into_response()
}

/// A link of a message
#[utoipa::path(get, path = "/t/c/{token}", tag = "tracking", params(("token" = String, Path, description = "signed, with the target in it")),
    responses((status = 302), (status = 404)))]
pub async fn click(State(shared): State<Arc<Shared>>, Path(token): Path<String>) -> Result<Response, Problem> {
    let verified = shared.storage()?.signer.verify(&token);
    let Ok(Token { profile, effect, kind: Kind::Click { url } }) = verified else {
        return Err(Problem::not_found("this link is not one of ours, or it was cut"));
    };
    let location = HeaderValue::from_str(&url).map_err(|_| Problem::not_found("this link leads nowhere"))?;
    let attributes = [("url", Value::Text(url.as_str().into()))].into_iter().collect();
    let token = Token { profile, effect, kind: Kind::Click { url } };
    interacted(&shared, token, "email_link_clicked", attributes).await;
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::FOUND, headers).into_response())
}

/// Stores the interaction. Should that fail, the reader still gets to where the link leads.
async fn interacted(shared: &Shared, token: Token, interaction: &str, attributes: Attributes) {
    let now = (shared.now)();
    let occurred = InteractionOccurred {
        effect: token.effect,
        interaction: interaction.into(),
        occurred_at: now,
        received_at: now,
        machine: false,
        attributes,
    };
    let asked = shared.ask(|ticket| Input::Interaction { profile: token.profile, occurred, ticket }).await;
    if let Err(problem) = asked {
        tracing::warn!(interaction, why = problem.detail, "an interaction was not stored");
    }
}
