//! What a request's address says: path and query, and the pages of lists.
//!
//! A parameter that is not known is refused by its name: a filter that does nothing would look like one that found
//! everything.

use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The query, read into `T`, which denies unknown fields.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        let axum::extract::Query(query) =
            read.map_err(|rejection| Problem::bad_request("query", rejection.body_text()))?;
        Ok(Query(query))
    }
}

/// Of a path that takes no query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        let axum::extract::Path(path) =
            read.map_err(|rejection| Problem::bad_request("path", rejection.body_text()))?;
        Ok(Path(path))
    }
}

/// How long a page may be: 1 to 1,000, default 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct Limit(pub usize);

impl Default for Limit {
    fn default() -> Self {
        Limit(100)
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;
    fn try_from(limit: usize) -> Result<Self, String> {
        if (1..=1_000).contains(&limit) { Ok(Limit(limit)) } else { Err(format!("expected 1 to 1000, {limit} came")) }
    }
}

/// `cursor` and `limit` of a list by name.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Default 100.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Limit,
}

impl Page {
    /// The page of items that are sorted by `name`, and the cursor of the next.
    pub fn of<'a, T>(&self, items: impl Iterator<Item = T>, name: impl Fn(&T) -> &'a str) -> (Vec<T>, Option<String>) {
        let after = |item: &T| self.cursor.as_deref().is_none_or(|cursor| name(item) > cursor);
        let mut rest = items.filter(after).peekable();
        let page: Vec<T> = rest.by_ref().take(self.limit.0).collect();
        let next = rest.peek().and(page.last()).map(|last| name(last).to_owned());
        (page, next)
    }
}

/// A place in a store's keyspace, as a cursor.
pub(crate) fn cursor_of(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn key_of_cursor(text: &str) -> Result<Vec<u8>, Problem> {
    let wrong = || Problem::bad_request("cursor", "`cursor`: expected what `next_cursor` said");
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(wrong());
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())).collect()
}

/// A cursor that is a number.
pub(crate) fn number_of_cursor(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::bad_request("cursor", "`cursor`: expected what `next_cursor` said"))
}
