//! `If-Match` and `If-None-Match` (RFC 9110 §13) over the catalog's version.

use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use model::CatalogVersion;

/// The catalog's entity tag.
pub(crate) fn etag(version: CatalogVersion) -> HeaderValue {
    HeaderValue::from_str(&tag(version)).expect("INVARIANT: a number in quotes is a header value")
}

fn tag(version: CatalogVersion) -> String {
    format!("\"{}\"", version.0)
}

/// Of an `If-Match`, the version that the change is for. None: whichever there is.
///
/// # Errors
/// 400 when it is no list of entity tags, 412 when the catalog is none of them.
pub(crate) fn if_match(headers: &HeaderMap, current: CatalogVersion) -> Result<Option<CatalogVersion>, Problem> {
    match tags(headers, &header::IF_MATCH)? {
        None | Some(Tags::Any) => Ok(None),
        // A weak tag (`W/"5"`) never matches here: it does not say that nothing has changed.
        Some(Tags::These(tags)) if tags.contains(&tag(current)) => Ok(Some(current)),
        Some(Tags::These(_)) => Err(moved(current)),
    }
}

/// Whether the caller has what would be answered.
///
/// # Errors
/// 400 when it is no list of entity tags.
pub(crate) fn is_held(headers: &HeaderMap, current: CatalogVersion) -> Result<bool, Problem> {
    Ok(match tags(headers, &header::IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::These(tags)) => tags.iter().any(|held| held.trim_start_matches("W/") == tag(current)),
    })
}

pub(crate) fn moved(current: CatalogVersion) -> Problem {
    let detail = format!("the catalog is at version {} by now; plan again", current.0);
    Problem::new(StatusCode::PRECONDITION_FAILED, "catalog_moved", detail)
}

enum Tags {
    Any,
    These(Vec<String>),
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        let text = String::from_utf8_lossy(value.as_bytes());
        if text.trim() == "*" {
            return Ok(Some(Tags::Any));
        }
        for tag in text.split(',').map(str::trim) {
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            if inner.is_none_or(|inner| inner.contains('"')) {
                let detail = format!("`{name}`: expected an entity tag in quotes, such as \"7\", `{tag}` came");
                return Err(Problem::bad_request("precondition_malformed", detail));
            }
            tags.push(tag.to_owned());
        }
    }
    Ok((!tags.is_empty()).then_some(Tags::These(tags)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(value: &str) -> Result<Option<u64>, StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, HeaderValue::from_str(value).expect("a header value"));
        if_match(&headers, CatalogVersion(7)).map(|version| version.map(|version| version.0)).map_err(|no| no.status)
    }

    #[test]
    fn only_the_current_tag_matches_and_nothing_is_guessed() {
        assert_eq!(matched("\"7\""), Ok(Some(7)));
        assert_eq!(matched("\"6\", \"7\""), Ok(Some(7)));
        assert_eq!(matched("*"), Ok(None));
        for other in ["\"6\"", "W/\"7\"", "\"07\"", "\"\"", "\"x\""] {
            assert_eq!(matched(other), Err(StatusCode::PRECONDITION_FAILED), "{other}");
        }
        for broken in ["7", "\"7", "7\"", "", "\"6\" \"7\"", "\"7\",", "w/\"7\""] {
            assert_eq!(matched(broken), Err(StatusCode::BAD_REQUEST), "{broken}");
        }
    }
}
