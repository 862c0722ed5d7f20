//! The `date` filter: instants and local date-times as text, in a zone if one is named.

use crate::value::Val;
use jiff::fmt::{strtime, temporal::Pieces};
use jiff::tz::TimeZone;
use jiff::{ZonedDateTime, civil};
use model::Timestamp;

/// `value` by the `strftime` pattern `pattern`. `"now"` and `"today"` are `now`; a number counts seconds since 1970.
/// The zone decides the wall clock of an instant; without one, or with one that is not known (J8), it is the offset
/// that the text itself names, or UTC. A date-time without an offset is a wall clock already.
///
/// # Errors
/// A sentence for the template's writer. An unreadable date never becomes some other date (J7).
pub fn format(value: &Val<'_>, pattern: &str, zone: Option<&str>, now: Timestamp) -> Result<String, &'static str> {
    let zone = zone.and_then(|name| TimeZone::get(name.trim()).ok());
    let zoned = read(value, zone, now).ok_or("it takes a date such as 2026-05-01T09:00:00Z")?;
    strtime::format(pattern, &zoned).map_err(|_| "the pattern of the date is not valid")
}

fn read(value: &Val<'_>, zone: Option<TimeZone>, now: Timestamp) -> Option<ZonedDateTime> {
    let at =
        |instant: Timestamp, zone: Option<TimeZone>| instant.to_jiff().to_zoned_datetime(zone.unwrap_or(TimeZone::UTC));
    if let Val::Int(seconds) = value {
        return Some(at(Timestamp::from_ms(seconds.saturating_mul(1_000)), zone));
    }
    let text = value.text();
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") || text.eq_ignore_ascii_case("today") {
        return Some(at(now, zone));
    }
    let pieces = Pieces::parse(text).ok()?;
    let wall = pieces.date().to_datetime(pieces.time().unwrap_or(civil::Time::midnight()));
    match pieces.to_numeric_offset() {
        Some(offset) => {
            let instant = offset.to_timestamp(wall).ok()?;
            Some(instant.to_zoned_datetime(zone.unwrap_or_else(|| TimeZone::fixed(offset))))
        }
        None => wall.to_zoned_datetime(zone.unwrap_or(TimeZone::UTC)).ok(),
    }
}
