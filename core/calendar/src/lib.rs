//! "Next 09:00 on a weekday in her zone": instants from rules and a given now (J7, J8).
//!
//! Zone rules are bundled with the program, never the machine's. A local time stands for the first instant at which
//! the clock shows it or a later one. So a time that a change of the clocks skips is the first valid instant after
//! the gap, and a time that happens twice is its first occurrence.
//!
//! ```
//! use calendar::{Zone, add};
//! use model::{Span, Timestamp};
//! let berlin = Zone::find("Europe/Berlin").unwrap();
//! let before_summer_time = Timestamp::parse("2026-03-28T10:00:00Z").unwrap();
//! let day = Span::parse("1d").unwrap();
//! // A day later it is 11:00 again on the wall, but only 23 hours have gone by.
//! assert_eq!(add(before_summer_time, &day, &berlin).to_string(), "2026-03-29T09:00:00Z");
//! ```

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::temporal::Pieces;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use model::local_time::{LocalTime, Weekday, Weekdays, Window};
use model::{Span, Text, Timestamp};

/// A time zone's rules. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

/// The zone that holds for somebody, and the names that were passed over since they name none (J8).
#[derive(Clone, Debug)]
pub struct Resolved {
    pub zone: Zone,
    pub invalid: Vec<Text>,
}

impl Zone {
    pub fn utc() -> Self {
        Zone(TimeZone::UTC)
    }

    /// By IANA name, in any case; names that were replaced, such as `Europe/Kiev`, are valid.
    pub fn find(name: &str) -> Option<Self> {
        // NOTE: the bundled rules by name, since the global ones become the machine's as soon as any dependency asks
        // jiff for those. It holds nothing and is free to make; jiff keeps each zone once it is parsed.
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        // `Etc/Unknown` is a way to say that there is none.
        if zone.is_unknown() { None } else { Some(Zone(zone)) }
    }

    /// The profile's zone, else the journey's, else UTC.
    pub fn resolve(profile: Option<&str>, journey: Option<&str>) -> Resolved {
        let mut invalid = Vec::new();
        for name in [profile, journey].into_iter().flatten() {
            match Zone::find(name) {
                Some(zone) => return Resolved { zone, invalid },
                None => invalid.push(name.into()),
            }
        }
        Resolved { zone: Zone::utc(), invalid }
    }

    fn local(&self, at: jiff::Timestamp) -> DateTime {
        self.0.to_datetime(at)
    }

    /// The first instant at which the clock shows `local` or later. None only beyond the years that can be told.
    fn instant(&self, local: DateTime) -> Option<jiff::Timestamp> {
        let ambiguous = self.0.to_ambiguous_timestamp(local);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            // NOTE: where a zone's table of changes passes over into its yearly rule, jiff can tell of a fold that did
            // not happen (Greenland, October 2023), so the first occurrence must be one that the clock showed.
            AmbiguousOffset::Fold { before, after } => [before, after]
                .into_iter()
                .filter_map(|offset| offset.to_timestamp(local).ok())
                .find(|at| self.local(*at) == local),
            // Read with the offset that holds after the gap, a local time within it lies before the change.
            AmbiguousOffset::Gap { after, .. } => {
                let before_change = after.to_timestamp(local).ok()?;
                Some(self.0.following(before_change).next()?.timestamp())
            }
        }
    }

    /// The instant of `time` on `date`. None on a date that the zone skipped as a whole: it is nobody's day, neither
    /// "every day" nor "on Fridays".
    fn instant_on(&self, date: Date, time: LocalTime) -> Option<jiff::Timestamp> {
        let at = self.instant(date_time(date, time))?;
        if self.local(at).date() > date {
            let begin = self.instant(date.to_datetime(Time::midnight()))?;
            let end = self.instant(date.tomorrow().ok()?.to_datetime(Time::midnight()))?;
            if begin == end {
                return None;
            }
        }
        Some(at)
    }
}

/// `at` plus `span`: its calendar part first, months before days, keeping the local time, then its exact part.
/// Results beyond what a [`Timestamp`] holds are clamped to it.
///
/// A month's end clamps: 31 January plus `1mo` is the last of February. To repeat without drift, add to the anchor
/// and not to the last result: 31 January plus `2mo` is 31 March, while `1mo` twice is 28 March.
pub fn add(at: Timestamp, span: &Span, zone: &Zone) -> Timestamp {
    let sign = if span.negative { -1 } else { 1 };
    let shifted = if span.has_calendar_part() { add_calendar(at, span, sign, zone) } else { at };
    shifted.plus_ms(sign * span.ms)
}

fn add_calendar(at: Timestamp, span: &Span, sign: i64, zone: &Zone) -> Timestamp {
    let beyond = if sign < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let months = jiff::Span::new().try_months(sign * i64::from(span.months));
    let days = jiff::Span::new().try_days(sign * i64::from(span.days));
    let (Ok(months), Ok(days)) = (months, days) else { return beyond };
    let moved = zone.local(at.to_jiff()).checked_add(months).and_then(|local| local.checked_add(days));
    moved.ok().and_then(|local| zone.instant(local)).map_or(beyond, Timestamp::from_jiff)
}

/// The first instant at or after `from` at which the local clock shows `time` on one of `days`.
/// [`Timestamp::MAX`] when there is none any more.
pub fn next_time(from: Timestamp, time: LocalTime, days: Weekdays, zone: &Zone) -> Timestamp {
    let from = from.to_jiff();
    dates_around(from, days, zone)
        .filter_map(|date| zone.instant_on(date, time))
        .find(|at| *at >= from)
        .map_or(Timestamp::MAX, Timestamp::from_jiff)
}

/// `now` when it is inside the window, else the start of the next one.
/// [`Timestamp::MAX`] when there is none any more.
///
/// A window that lies wholly within a gap does not take place on that day, since no instant is inside it.
pub fn next_in_window(now: Timestamp, window: &Window, zone: &Zone) -> Timestamp {
    let now = now.to_jiff();
    dates_around(now, window.days, zone)
        .filter_map(|date| Some((zone.instant_on(date, window.from)?, window_end(date, window, zone)?)))
        .find(|(start, end)| start < end && now < *end)
        .map_or(Timestamp::MAX, |(start, _)| Timestamp::from_jiff(start.max(now)))
}

/// The end of the window that starts on `date`: on that date, or on the next when it spans midnight.
fn window_end(date: Date, window: &Window, zone: &Zone) -> Option<jiff::Timestamp> {
    let end_date = if window.from < window.to { date } else { date.tomorrow().ok()? };
    zone.instant(date_time(end_date, window.to))
}

/// The dates on `days` that can matter at `at`, ascending.
fn dates_around(at: jiff::Timestamp, days: Weekdays, zone: &Zone) -> impl Iterator<Item = Date> + '_ {
    /// Where the clocks skip midnight, yesterday's time or window can begin today; in a zone that skips a day, that
    /// is a date further back.
    const DAYS_BEFORE: i64 = 2;
    /// Three weeks: the one day a week that is asked for may be skipped, and its window lie within a gap.
    const DAYS_AFTER: i64 = 21;
    let today = zone.local(at).date();
    (-DAYS_BEFORE..=DAYS_AFTER)
        .filter_map(move |days_on| today.checked_add(jiff::Span::new().days(days_on)).ok())
        .filter(move |date| days.contains(weekday(*date)))
}

fn date_time(date: Date, time: LocalTime) -> DateTime {
    date.at(time.hour() as i8, time.minute() as i8, time.second() as i8, 0)
}

fn weekday(date: Date) -> Weekday {
    match date.weekday() {
        jiff::civil::Weekday::Monday => Weekday::Monday,
        jiff::civil::Weekday::Tuesday => Weekday::Tuesday,
        jiff::civil::Weekday::Wednesday => Weekday::Wednesday,
        jiff::civil::Weekday::Thursday => Weekday::Thursday,
        jiff::civil::Weekday::Friday => Weekday::Friday,
        jiff::civil::Weekday::Saturday => Weekday::Saturday,
        jiff::civil::Weekday::Sunday => Weekday::Sunday,
    }
}

/// A date-time read from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadInstant {
    pub at: Timestamp,
    /// It had no offset and was read in the zone.
    pub local: bool,
}

/// Reads an instant with an offset, a local date-time without, or a date alone (its midnight) (J7).
/// Instants outside [`Timestamp::MIN`] ..= [`Timestamp::MAX`] are clamped to it.
pub fn read_instant(text: &str, zone: &Zone) -> Option<ReadInstant> {
    if let Some(at) = Timestamp::parse(text) {
        return Some(ReadInstant { at, local: false });
    }
    let pieces = Pieces::parse(text.trim()).ok()?;
    // NOTE: what names an offset or a zone of its own, and was no instant above, must not be read in another zone.
    if pieces.offset().is_some() || pieces.time_zone_annotation().is_some() {
        return None;
    }
    let local = pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()));
    zone.instant(local).map(|at| ReadInstant { at: Timestamp::from_jiff(at), local: true })
}

#[cfg(test)]
mod tests;
