//! A request's body, bounded in bytes and time.
//!
//! A body that is too long is read to its end and dropped, within reason, before it is answered: a client that is still
//! sending would see a broken connection in place of the answer.

use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio_stream::StreamExt;

/// The longest body of events, unpacked.
pub const EVENTS_BYTES_MAX: usize = 1 << 20;
/// The longest body of documents: some files of the longest a document file may be, four times over.
pub const DOCUMENTS_BYTES_MAX: usize = 4 * model::document::FILE_BYTES_MAX;
/// The longest body of everything else.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// What is read beyond the longest body before the connection is given up.
const DRAINED_BYTES_MAX: usize = 32 << 20;
/// How long a body may take to come, whatever its length.
const WITHIN: Duration = Duration::from_secs(60);

/// The body, unpacked, of at most `BYTES_MAX` bytes.
pub struct Payload<const BYTES_MAX: usize>(pub Bytes);

impl<const BYTES_MAX: usize, S: Sync> FromRequest<S> for Payload<BYTES_MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        tokio::time::timeout(WITHIN, read(request, BYTES_MAX)).await.map_err(|_| {
            let detail = format!("the body did not come within {} s", WITHIN.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail)
        })?
    }
}

async fn read<const BYTES_MAX: usize>(request: Request, bytes_max: usize) -> Result<Payload<BYTES_MAX>, Problem> {
    let mut stream = request.into_body().into_data_stream();
    let mut body: Vec<u8> = Vec::new();
    let mut read_bytes = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| Problem::bad_request("malformed", format!("the body broke off: {error}")))?;
        read_bytes += chunk.len();
        if read_bytes <= bytes_max {
            body.extend_from_slice(&chunk);
        } else if read_bytes > bytes_max + DRAINED_BYTES_MAX {
            break;
        }
    }
    if read_bytes > bytes_max {
        let detail = format!("the body has more than {bytes_max} bytes, unpacked; send it in several requests");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
    }
    Ok(Payload(body.into()))
}

/// A body that is JSON, whatever its content type says.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Payload(body) = Payload::<SMALL_BYTES_MAX>::from_request(request, state).await?;
        let read = serde_json::from_slice(&body);
        read.map(Body).map_err(|error| Problem::bad_request("malformed", format!("the body cannot be read: {error}")))
    }
}
