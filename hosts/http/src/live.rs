//! The live tail: events as they come, with their verdict and what they did, as server-sent events.

use crate::auth::Admin;
use crate::problem::Problem;
use crate::profiles;
use crate::query::Query;
use crate::shared::Shared;
use crate::views;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use model::{ProfileId, Text, Timestamp};
use processor::{Handle, TailItem};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

/// What the tail shows.
pub(crate) enum Item {
    Stored(TailItem),
    Rejected(Rejected),
}

/// An item refused at the door (E8): it has no place in the log but in the books.
pub(crate) struct Rejected {
    pub at: Timestamp,
    /// Empty when the trigger is not known.
    pub trigger: Text,
    /// The key it came by.
    pub source: Text,
    pub id: Option<Text>,
    pub reason: String,
}

/// How many look at the tail: the processor describes events only while somebody does.
#[derive(Default)]
pub(crate) struct Watched(Mutex<usize>);

impl Watched {
    pub fn by_someone(&self) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) > 0
    }

    /// The handle is told under the lock, so that what it hears last is true.
    fn change(&self, handle: &Handle, change: impl FnOnce(usize) -> usize) {
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *watchers = change(*watchers);
        handle.watch(*watchers > 0);
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TailQuery {
    /// Only events of this trigger.
    trigger: Option<String>,
    /// Only what came to this verdict.
    #[param(inline)]
    verdict: Option<views::Verdict>,
    /// Only events of this profile: kind:value, or its id.
    profile: Option<String>,
}

/// Live events
///
/// One server-sent event for each, also for those that were rejected; its data is a `TailEvent`. A reader that is too
/// slow misses some and is told how many by an event `missed`.
#[utoipa::path(get, path = "/api/v1/tail", tag = "live", params(TailQuery),
    responses((status = 200, content_type = "text/event-stream", body = views::TailEvent), views::Refusals))]
pub async fn tail(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(query): Query<TailQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let profile = match &query.profile {
        Some(text) => Some(profiles::find(&shared, text).await?.profile.id),
        None => None,
    };
    let items = BroadcastStream::new(shared.tail.subscribe());
    let watcher = Watcher::new(Arc::clone(&shared));
    let stream = items.filter_map(move |item| {
        // The watcher lives as long as the stream.
        let _watching = &watcher;
        match item {
            Ok(item) => query.shows(&item, profile).then(|| Ok(event(&item))),
            Err(missed) => Some(Ok(Event::default().event("missed").data(missed.to_string()))),
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

impl TailQuery {
    fn shows(&self, item: &Item, wanted: Option<ProfileId>) -> bool {
        let (what, verdict, profile) = match item {
            Item::Stored(item) => (&item.what, views::Verdict::of(item.verdict), Some(item.profile)),
            Item::Rejected(item) => (&item.trigger, views::Verdict::Rejected, None),
        };
        self.trigger.as_deref().is_none_or(|trigger| *what == *trigger)
            && self.verdict.is_none_or(|wanted| verdict == wanted)
            && wanted.is_none_or(|wanted| profile == Some(wanted))
    }
}

struct Watcher(Arc<Shared>);

impl Watcher {
    fn new(shared: Arc<Shared>) -> Self {
        shared.watched.change(&shared.handle, |watchers| watchers + 1);
        Watcher(shared)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.watched.change(&self.0.handle, |watchers| watchers - 1);
    }
}

fn event(item: &Item) -> Event {
    let shown = match item {
        Item::Stored(item) => views::TailEvent {
            lsn: Some(item.lsn),
            at: item.at,
            profile: Some(item.profile),
            what: item.what.clone(),
            verdict: views::Verdict::of(item.verdict),
            did: views::did(&item.did),
            source: None,
            id: None,
            reason: None,
        },
        Item::Rejected(Rejected { at, trigger, source, id, reason }) => views::TailEvent {
            lsn: None,
            at: *at,
            profile: None,
            what: trigger.clone(),
            verdict: views::Verdict::Rejected,
            did: Vec::new(),
            source: Some(source.clone()),
            id: id.clone(),
            reason: Some(reason.clone()),
        },
    };
    let text = serde_json::to_string(&shown).expect("INVARIANT: what is shown can be written as JSON");
    Event::default().data(text)
}
