//! A request's body, bounded.
//!
//! A body that is too long is read to its end and dropped, within reason, before it is answered: a client that is still
//! sending would see a broken connection in place of the answer.

use crate::BODY_BYTES_MAX;
use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use tokio_stream::StreamExt;

/// What is read of a body that is too long before the connection is given up.
const DRAINED_BYTES_MAX: usize = 32 << 20;

pub struct Payload(pub Bytes);

impl<S: Sync> FromRequest<S> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let mut stream = request.into_body().into_data_stream();
        let mut body: Vec<u8> = Vec::new();
        let mut read_bytes = 0;
        while let Some(chunk) = stream.next().await {
            let chunk =
                chunk.map_err(|error| Problem::bad_request("malformed", format!("the body broke off: {error}")))?;
            read_bytes += chunk.len();
            if read_bytes <= BODY_BYTES_MAX {
                body.extend_from_slice(&chunk);
            } else if read_bytes > DRAINED_BYTES_MAX {
                break;
            }
        }
        if read_bytes > BODY_BYTES_MAX {
            let detail = format!("the body has more than {BODY_BYTES_MAX} bytes; send it in several requests");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
        }
        Ok(Payload(body.into()))
    }
}
