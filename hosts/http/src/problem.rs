//! Errors as problem+json (RFC 9457): a status, a stable code, and a sentence that says what to do.

use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use processor::Answer;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

pub const CONTENT_TYPE: &str = "application/problem+json";
/// Has a heading for every code; a test of the binary compares.
const ERRORS_PAGE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/errors.md");

#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub detail: String,
    pub retry_after_s: Option<u32>,
    /// Further members, such as `findings`.
    pub extra: serde_json::Map<String, Value>,
}

/// What went wrong, and what to do about it.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body {
    /// The documentation's page about `code`.
    r#type: String,
    /// The status in words.
    title: &'static str,
    status: u16,
    /// Stable: for programs.
    code: &'static str,
    /// For people.
    detail: String,
    /// `documents_refused`: what is wrong with the documents.
    #[serde(flatten)]
    #[schema(value_type = Option<Findings>)]
    extra: serde_json::Map<String, Value>,
}

/// Further members of a problem.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what a problem may carry besides")]
struct Findings {
    findings: Option<Vec<crate::views::Finding>>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Problem { status, code, detail: detail.into(), retry_after_s: None, extra: serde_json::Map::new() }
    }

    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Nothing was stored; the same request may be sent again (E2).
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Problem { retry_after_s: Some(1), ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }

    /// Our own fault. What failed is for the log alone; the client is told where it stands there.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        let mut bytes = [0; 4];
        // Without chance the incidents have one name; the log tells them apart by their time.
        let _all_zero = getrandom::fill(&mut bytes);
        let incident = format!("{:08x}", u32::from_be_bytes(bytes));
        tracing::error!(incident, %error, "a request failed inside");
        let detail = format!("something failed in the server; its log has it as incident {incident}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// The processor answered something else than was asked: a bug. What it answered may hold what people wrote, so
    /// only its kind is told.
    pub fn unexpected(answer: &Answer) -> Self {
        Problem::internal(match answer {
            Answer::Stored { .. } => "an unexpected answer: stored",
            Answer::Unavailable { .. } => "an unexpected answer: unavailable",
            Answer::Applied { .. } => "an unexpected answer: applied",
            Answer::Refused { .. } => "an unexpected answer: refused",
            Answer::Conflict { .. } => "an unexpected answer: conflict",
            Answer::UnknownKey => "an unexpected answer: unknown key",
            Answer::UnknownProfile => "an unexpected answer: unknown profile",
            Answer::Profile(_) => "an unexpected answer: a profile",
        })
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.extra.insert(name.to_owned(), value);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { status, code, detail, retry_after_s, extra } = self;
        let body = Body {
            r#type: format!("{ERRORS_PAGE}#{code}"),
            title: status.canonical_reason().unwrap_or("error"),
            status: status.as_u16(),
            code,
            detail,
            extra,
        };
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

pub async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}; the API is described at /openapi.json", uri.path()))
}

/// Errors that no handler of ours made get the same form; their headers, such as `Allow`, stay.
pub async fn in_one_form(response: Response) -> Response {
    let status = response.status();
    let headers = response.headers();
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_json = content_type.ends_with(b"json");
    if !(status.is_client_error() || status.is_server_error()) || is_json {
        return response;
    }
    let problem = if status == StatusCode::METHOD_NOT_ALLOWED {
        Problem::new(status, "method_not_allowed", "this path takes other methods; the header `Allow` names them")
    } else if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        let detail = "`Content-Encoding`: expected gzip or none; the body was not read";
        Problem::new(status, "content_encoding", detail)
    } else {
        Problem::new(status, "refused", status.canonical_reason().unwrap_or("the request was refused"))
    };
    let (mut before, _) = response.into_parts();
    before.headers.remove(header::CONTENT_TYPE);
    before.headers.remove(header::CONTENT_LENGTH);
    let mut response = problem.into_response();
    response.headers_mut().extend(before.headers);
    response
}
