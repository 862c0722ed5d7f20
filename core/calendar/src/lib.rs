//! "Next 09:00 on a weekday in her zone": instants from rules and a given now (J7, J8).
//!
//! Zone rules are bundled with the program, never the machine's. A local time that a change of the clocks skips is
//! taken as the first valid instant after the gap; one that happens twice is taken at its first occurrence.
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

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
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
        TimeZone::get(name).ok().map(Zone)
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

    fn local(&self, at: Timestamp) -> DateTime {
        self.0.to_datetime(at.to_jiff())
    }

    /// The instant of a local time. None only beyond the years that can be told.
    fn instant(&self, local: DateTime) -> Option<Timestamp> {
        let ambiguous = self.0.to_ambiguous_timestamp(local);
        let found = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
            // Read with the offset that holds after the gap, a local time within it lies before the change.
            AmbiguousOffset::Gap { after, .. } => {
                let before_change = after.to_timestamp(local).ok()?;
                self.0.following(before_change).next()?.timestamp()
            }
        };
        Some(Timestamp::from_jiff(found))
    }
}

/// `at` plus `span`: its calendar part first, keeping the local time, then its exact part. A month's end clamps:
/// 31 January plus `1mo` is the last of February; plus `2mo` it is 31 March, since nothing drifts.
/// Results beyond what a [`Timestamp`] holds are clamped to it.
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
    let moved = zone.local(at).checked_add(months).and_then(|local| local.checked_add(days));
    moved.ok().and_then(|local| zone.instant(local)).unwrap_or(beyond)
}

/// The first instant at or after `from` at which the local clock shows `time` on one of `days`.
pub fn next_time(from: Timestamp, time: LocalTime, days: Weekdays, zone: &Zone) -> Timestamp {
    // A day before, too: in a zone that skips a day the local date of `from` may lie behind.
    starts_from(from, time, days, zone, -1).find(|at| *at >= from).unwrap_or(Timestamp::MAX)
}

/// `now` when it is inside the window, else the start of the next one.
pub fn next_in_window(now: Timestamp, window: &Window, zone: &Zone) -> Timestamp {
    for start in starts_from(now, window.from, window.days, zone, -2) {
        if start > now {
            return start;
        }
        if now < window_end(start, window, zone) {
            return now;
        }
    }
    Timestamp::MAX
}

/// The end of the window that starts at `start`: the next time the clock shows `to`.
fn window_end(start: Timestamp, window: &Window, zone: &Zone) -> Timestamp {
    next_time(start.plus_ms(1), window.to, Weekdays::ALL, zone)
}

/// The instants of `time` on each of `days`, from `offset_days` before the local date of `from` on, ascending.
fn starts_from(
    from: Timestamp,
    time: LocalTime,
    days: Weekdays,
    zone: &Zone,
    offset_days: i64,
) -> impl Iterator<Item = Timestamp> + '_ {
    /// More than any zone ever skipped, and than a set of weekdays can be apart.
    const DAYS_MAX: i64 = 24;
    let first = zone.local(from).date();
    (offset_days..DAYS_MAX).filter_map(move |days_on| {
        let date = first.checked_add(jiff::Span::new().days(days_on)).ok()?;
        let local = date.at(time.hour() as i8, time.minute() as i8, time.second() as i8, 0);
        if days.contains(weekday(date)) { zone.instant(local) } else { None }
    })
}

fn weekday(date: Date) -> Weekday {
    let from_monday = date.weekday().to_monday_zero_offset();
    Weekday::ALL[usize::try_from(from_monday).unwrap_or(0)]
}

/// A date-time read from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadInstant {
    pub at: Timestamp,
    /// It had no offset and was read in the zone.
    pub local: bool,
}

/// Reads an instant with an offset, a local date-time without, or a date alone (its midnight) (J7).
pub fn read_instant(text: &str, zone: &Zone) -> Option<ReadInstant> {
    if let Some(at) = Timestamp::parse(text) {
        return Some(ReadInstant { at, local: false });
    }
    let text = text.trim();
    // NOTE: a text with an offset that was no instant above must not be read as local.
    let has_offset = text.ends_with(['Z', 'z']) || text.get(10..).is_some_and(|time| time.contains(['+', '-']));
    if has_offset {
        return None;
    }
    let local: DateTime = text.parse().ok()?;
    zone.instant(local).map(|at| ReadInstant { at, local: true })
}

#[cfg(test)]
mod tests;
