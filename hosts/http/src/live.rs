//! The live tail: events as they come, with their verdict and what they did, as server-sent events.

use crate::auth::Admin;
use crate::shared::Shared;
use crate::views;
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use engine::Verdict;
use processor::TailItem;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

#[derive(Deserialize, utoipa::IntoParams)]
pub struct TailQuery {
    /// Only events of this trigger.
    trigger: Option<String>,
}

/// Live events
///
/// One server-sent event for each; a reader that is too slow misses some and is told how many.
#[utoipa::path(get, path = "/api/v1/tail", tag = "live", params(TailQuery),
    responses((status = 200, content_type = "text/event-stream"), (status = 401)))]
pub async fn tail(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(TailQuery { trigger }): Query<TailQuery>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let watcher = Watcher::new(Arc::clone(&shared));
    let stream = BroadcastStream::new(shared.tail.subscribe()).filter_map(move |item| {
        // The watcher lives as long as the stream: the processor describes events only while somebody looks.
        let _watching = &watcher;
        match item {
            Ok(item) if trigger.as_deref().is_none_or(|trigger| item.what == *trigger) => Some(Ok(event(&item))),
            Ok(_) => None,
            Err(missed) => Some(Ok(Event::default().event("missed").data(missed.to_string()))),
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

struct Watcher(Arc<Shared>);

impl Watcher {
    fn new(shared: Arc<Shared>) -> Self {
        shared.handle.watch(true);
        Watcher(shared)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The stream that is being dropped still counts.
        if self.0.tail.receiver_count() <= 1 {
            self.0.handle.watch(false);
        }
    }
}

fn event(item: &TailItem) -> Event {
    let verdict = match item.verdict {
        Verdict::Matched => "matched",
        Verdict::Unmatched => "unmatched",
        Verdict::Late => "late",
        Verdict::Duplicate { conflict: false } => "duplicate",
        Verdict::Duplicate { conflict: true } => "duplicate_conflict",
    };
    let body = serde_json::json!({
        "lsn": item.lsn,
        "at": item.at,
        "profile": item.profile,
        "what": item.what,
        "verdict": verdict,
        "did": views::did(&item.did),
    });
    Event::default().data(body.to_string())
}
