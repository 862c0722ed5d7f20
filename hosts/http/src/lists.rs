//! Lists and counters from the last checkpoint, a page at a time (design §2.8).
//!
//! A page ends when it is full or when enough rows were looked at: a filter that little passes costs many short pages,
//! never one that is waited for.

use crate::auth::Admin;
use crate::problem::Problem;
use crate::profiles::{self, damaged};
use crate::query::{Limit, Path, Query, cursor_of, key_of_cursor, number_of_cursor};
use crate::shared::{Shared, Storage};
use crate::views;
use axum::Json;
use axum::extract::State;
use model::{PartitionId, ProfileId, Text, Timestamp};
use ports::rows::{self, BookRow};
use ports::state::{Keyspace, Scan};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows that one page looks at.
const ROWS_MAX: usize = 10_000;
/// Rows that one look into the books adds up: one is one minute of one trigger in one partition.
const BOOK_ROWS_MAX: usize = 1_000_000;

/// A page that is being read.
struct Page<T> {
    limit: usize,
    rows: usize,
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    fn new(limit: Limit) -> Self {
        Page { limit: limit.0, rows: 0, items: Vec::new(), next_cursor: None }
    }

    /// Takes in what a row is to the list, and says whether there is room for more.
    fn take(&mut self, key: &[u8], item: Option<T>) -> Scan {
        self.rows += 1;
        self.items.extend(item);
        if self.items.len() == self.limit || self.rows == ROWS_MAX {
            self.next_cursor = Some(cursor_of(key));
            return Scan::Stop;
        }
        Scan::Continue
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ParticipantsQuery {
    /// Only those at, or last at, this step.
    step: Option<String>,
    #[param(inline)]
    state: Option<views::Place>,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Default 100.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Limit,
    /// A `Sojourn-Position` to wait for, at most 5 s.
    at_least: Option<u64>,
}

/// Participants of a journey
#[utoipa::path(get, path = "/api/v1/journeys/{name}/participants", tag = "journeys",
    params(("name" = String, Path, description = "the journey"), ParticipantsQuery),
    responses((status = 200, body = views::Participants), views::NotFound, views::Refusals))]
pub async fn participants(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Path(name): Path<String>,
    Query(query): Query<ParticipantsQuery>,
) -> Result<Json<views::Participants>, Problem> {
    let ParticipantsQuery { step, state, cursor, limit, at_least } = query;
    if shared.catalog.load().journey(&name).is_none() {
        return Err(Problem::not_found(format!("there is no journey {name}")));
    }
    let after = cursor.as_deref().map(key_of_cursor).transpose()?;
    let as_of = shared.wait_for(at_least).await?;
    let read = move |storage: &Storage| {
        let place = state.map(rows::Place::from);
        let prefix = rows::participant_prefix(&name, place, step.as_deref().filter(|_| place.is_some()));
        let mut page = Page::new(limit);
        let visit = &mut |key: &[u8], value: &[u8]| {
            let row = rows::decode_participant(value).map_err(|error| damaged(Keyspace::Participants, &error))?;
            let is_wanted = step.as_deref().is_none_or(|step| row.step == *step);
            Ok(page.take(key, is_wanted.then(|| views::ListedParticipant::of(&row))))
        };
        storage.state.scan(Keyspace::Participants, &prefix, after.as_deref(), visit).map_err(Problem::internal)?;
        Ok(page)
    };
    let Page { items: participants, next_cursor, .. } = shared.read(read).await?;
    Ok(Json(views::Participants { participants, next_cursor, as_of }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SendsQuery {
    /// Only those of this profile: kind:value, or its id.
    profile: Option<String>,
    #[param(inline)]
    state: Option<views::SendState>,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Default 100.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Limit,
    /// A `Sojourn-Position` to wait for, at most 5 s.
    at_least: Option<u64>,
}

/// The ledger of sends
///
/// The newest first; of one profile in order of planning.
#[utoipa::path(get, path = "/api/v1/sends", tag = "sends", params(SendsQuery),
    responses((status = 200, body = views::Sends), views::NotFound, views::Refusals))]
pub async fn sends(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(query): Query<SendsQuery>,
) -> Result<Json<views::Sends>, Problem> {
    let SendsQuery { profile, state, cursor, limit, at_least } = query;
    let after = cursor.as_deref().map(key_of_cursor).transpose()?;
    let profile: Option<ProfileId> = match &profile {
        Some(text) => Some(profiles::find(&shared, text).await?.profile.id),
        None => None,
    };
    let as_of = shared.wait_for(at_least).await?;
    let read = move |storage: &Storage| {
        let wrong = |error: ports::codec::Error| damaged(Keyspace::Sends, &error);
        let prefix = profile.map_or_else(|| rows::SENDS_BY_TIME_PREFIX.to_vec(), rows::sends_of_profile_prefix);
        let mut page = Page::new(limit);
        let visit = &mut |key: &[u8], value: &[u8]| {
            let row = if profile.is_some() {
                Some(rows::decode_send(value).map_err(wrong)?)
            } else {
                let key = rows::send_key_by_time(key, value).map_err(wrong)?;
                let held = storage.state.get(Keyspace::Sends, &key)?;
                held.map(|value| rows::decode_send(&value).map_err(wrong)).transpose()?
            };
            let wanted = row.filter(|row| state.is_none_or(|state| views::SendState::of(&row.send.state) == state));
            Ok(page.take(key, wanted.as_ref().map(views::Send::of)))
        };
        storage.state.scan(Keyspace::Sends, &prefix, after.as_deref(), visit).map_err(Problem::internal)?;
        Ok(page)
    };
    let Page { items: sends, next_cursor, .. } = shared.read(read).await?;
    Ok(Json(views::Sends { sends, next_cursor, as_of }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BooksQuery {
    /// All triggers if not given.
    trigger: Option<String>,
    /// RFC 3339; the minute it lies in is counted.
    from: Option<String>,
    /// RFC 3339; the minute it lies in is counted.
    to: Option<String>,
    /// `next_cursor` of the answer before: further minutes.
    cursor: Option<String>,
    /// Minutes shown, default 100.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Limit,
    /// A `Sojourn-Position` to wait for, at most 5 s.
    at_least: Option<u64>,
}

/// The books
///
/// How events counted, per trigger and minute of receipt: received = accepted + duplicate + rejected, accepted =
/// matched + unmatched + late. Rejected events whose trigger is not known stand under an empty name. Totals are of the
/// whole range; the minutes come in pages.
#[utoipa::path(get, path = "/api/v1/books", tag = "books", params(BooksQuery),
    responses((status = 200, body = views::Books), views::Refusals))]
pub async fn books(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(query): Query<BooksQuery>,
) -> Result<Json<views::Books>, Problem> {
    let BooksQuery { trigger, from, to, cursor, limit, at_least } = query;
    let minute = |name: &str, text: &Option<String>, default: u32| match text {
        None => Ok(default),
        Some(text) => Timestamp::parse(text).map(processor::minute_of).ok_or_else(|| {
            Problem::bad_request("instant", format!("`{name}`: expected RFC 3339 with an offset, `{text}` came"))
        }),
    };
    let mut reading = Reading {
        range: (minute("from", &from, 0)?, minute("to", &to, u32::MAX)?),
        after: cursor.as_deref().map(key_of_cursor).transpose()?,
        limit: limit.0,
        rows: 0,
        triggers: BTreeMap::new(),
        minutes: BTreeMap::new(),
        has_more: false,
    };
    let as_of = shared.wait_for(at_least).await?;
    let read = move |storage: &Storage| {
        reading.read(storage, trigger.as_deref())?;
        Ok(reading)
    };
    Ok(Json(shared.read(read).await?.answer(as_of)))
}

/// The books being added up.
struct Reading {
    /// First and last minute that count.
    range: (u32, u32),
    /// Minutes behind this one are shown.
    after: Option<Vec<u8>>,
    limit: usize,
    rows: usize,
    triggers: BTreeMap<Text, BookRow>,
    minutes: BTreeMap<(Text, u32), BookRow>,
    has_more: bool,
}

/// Behind every row of that trigger up to and with that minute.
fn behind(trigger: &str, minute: u32) -> Vec<u8> {
    rows::book_key(trigger, minute, PartitionId(u16::MAX))
}

impl Reading {
    /// Jumps over what lies outside of the range, trigger by trigger.
    fn read(&mut self, storage: &Storage, trigger: Option<&str>) -> Result<(), Problem> {
        let (from, to) = self.range;
        let prefix = trigger.map(rows::book_prefix).unwrap_or_default();
        let mut place: Option<Vec<u8>> = None;
        loop {
            let mut jump: Option<Vec<u8>> = None;
            let scanned = storage.state.scan(Keyspace::Books, &prefix, place.as_deref(), &mut |key, value| {
                let wrong = |error: ports::codec::Error| damaged(Keyspace::Books, &error);
                let (trigger, minute) = rows::decode_book_key(key).map_err(wrong)?;
                if minute < from {
                    jump = Some(behind(&trigger, from - 1));
                } else if minute > to {
                    jump = Some(behind(&trigger, u32::MAX));
                } else {
                    self.add(trigger, minute, &rows::decode_book(value).map_err(wrong)?);
                }
                Ok(if jump.is_some() || self.rows > BOOK_ROWS_MAX { Scan::Stop } else { Scan::Continue })
            });
            scanned.map_err(Problem::internal)?;
            if self.rows > BOOK_ROWS_MAX {
                let detail = "there is too much in this range; narrow `from` and `to`, or name a `trigger`";
                return Err(Problem::bad_request("range_too_large", detail));
            }
            let Some(jump) = jump else { return Ok(()) };
            place = Some(jump);
        }
    }

    fn add(&mut self, trigger: Text, minute: u32, row: &BookRow) {
        self.rows += 1;
        self.triggers.entry(trigger.clone()).or_default().add(row);
        if self.after.as_ref().is_some_and(|after| behind(&trigger, minute) <= *after) {
            return;
        }
        let place = (trigger, minute);
        if self.minutes.len() == self.limit && !self.minutes.contains_key(&place) {
            self.has_more = true;
            return;
        }
        self.minutes.entry(place).or_default().add(row);
    }

    fn answer(self, as_of: Timestamp) -> views::Books {
        let mut total = BookRow::default();
        self.triggers.values().for_each(|row| total.add(row));
        let last = self.minutes.last_key_value().filter(|_| self.has_more);
        let next_cursor = last.map(|((trigger, minute), _)| cursor_of(&behind(trigger, *minute)));
        let minute = |((trigger, minute), row): ((Text, u32), BookRow)| views::Minute {
            trigger,
            minute: Timestamp::from_ms(i64::from(minute) * 60_000),
            counts: views::Counts::of(&row),
        };
        views::Books {
            total: views::Counts::of(&total),
            triggers: self.triggers.iter().map(|(trigger, row)| (trigger.clone(), views::Counts::of(row))).collect(),
            minutes: self.minutes.into_iter().map(minute).collect(),
            next_cursor,
            as_of,
        }
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MailboxQuery {
    /// Only messages to this address.
    to: Option<String>,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Default 100.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Limit,
}

/// Captured messages
///
/// What the development channel holds back, the newest first.
#[utoipa::path(get, path = "/api/v1/mailbox", tag = "sends", params(MailboxQuery),
    responses((status = 200, body = views::Mailbox), views::NotFound, views::Refusals))]
pub async fn mailbox(
    State(shared): State<Arc<Shared>>,
    _: Admin,
    Query(MailboxQuery { to, cursor, limit }): Query<MailboxQuery>,
) -> Result<Json<views::Mailbox>, Problem> {
    let Some(mailbox) = &shared.outside.mailbox else {
        return Err(Problem::not_found("no channel is captured; `sojourn serve --dev` captures those not configured"));
    };
    let before = cursor.as_deref().map(number_of_cursor).transpose()?;
    let captured = mailbox.list(to.as_deref(), before, limit.0);
    let last = captured.last().filter(|_| captured.len() == limit.0);
    let next_cursor = last.map(|last| last.number.to_string());
    let messages = captured.into_iter().map(|captured| captured.message).collect();
    Ok(Json(views::Mailbox { messages, next_cursor }))
}
