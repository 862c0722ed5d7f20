//! Tables of instants. Where the answer surprises, the comment says what the clocks did.

use super::*;
use proptest::prelude::*;

const EVERY_DAY: Weekdays = Weekdays::ALL;

fn zone(name: &str) -> Zone {
    Zone::find(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn time(text: &str) -> LocalTime {
    LocalTime::parse(text).unwrap()
}

fn on(days: &[Weekday]) -> Weekdays {
    Weekdays::of(days).unwrap()
}

fn window(text: &str, days: Weekdays) -> Window {
    let (from, to) = text.split_once('-').unwrap();
    Window { from: time(from), to: time(to), days }
}

fn local_text(zone: &Zone, at: Timestamp) -> String {
    zone.local(at.to_jiff()).to_string()
}

fn added(from: &str, span: &str, name: &str) -> String {
    add(at(from), &Span::parse(span).unwrap(), &zone(name)).to_string()
}

/// Rows of (zone, from, span, expected).
fn check_add(rows: &[(&str, &str, &str, &str)]) {
    for (name, from, span, expected) in rows {
        assert_eq!(added(from, span, name), *expected, "{from} plus {span} in {name}");
    }
}

/// Rows of (zone, from, time, expected).
fn check_next(days: Weekdays, rows: &[(&str, &str, &str, &str)]) {
    for (name, from, clock, expected) in rows {
        let found = next_time(at(from), time(clock), days, &zone(name)).to_string();
        assert_eq!(found, *expected, "{clock} in {name} from {from} on {days:?}");
    }
}

/// Rows of (zone, now, window, expected).
fn check_window(days: Weekdays, rows: &[(&str, &str, &str, &str)]) {
    for (name, now, text, expected) in rows {
        let found = next_in_window(at(now), &window(text, days), &zone(name)).to_string();
        assert_eq!(found, *expected, "{text} in {name} at {now} on {days:?}");
    }
}

#[test]
fn t29_a_time_in_the_spring_gap_is_the_first_valid_instant_after_it() {
    check_next(
        EVERY_DAY,
        &[
            // The clocks go from 02:00 to 03:00, which is 01:00Z.
            ("Europe/Berlin", "2026-03-28T12:00:00Z", "02:30", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-28T12:00:00Z", "02:00", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-28T12:00:00Z", "01:59:59", "2026-03-29T00:59:59Z"),
            ("Europe/Berlin", "2026-03-28T12:00:00Z", "03:00", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T01:00:00Z", "02:30", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T01:00:01Z", "02:30", "2026-03-30T00:30:00Z"),
            ("America/New_York", "2026-03-07T12:00:00Z", "02:30", "2026-03-08T07:00:00Z"),
            // Half an hour only.
            ("Australia/Lord_Howe", "2026-10-03T12:00:00Z", "02:15", "2026-10-03T15:30:00Z"),
            // Morocco leaves its summer time for Ramadan and comes back to it after.
            ("Africa/Casablanca", "2026-03-21T12:00:00Z", "02:30", "2026-03-22T02:00:00Z"),
            // From 24:00 to 01:00: the day has no midnight.
            ("Africa/Cairo", "2026-04-23T12:00:00Z", "00:00", "2026-04-23T22:00:00Z"),
            // From 23:00 to 24:00: what falls on that evening comes at midnight, half an hour late.
            ("America/Nuuk", "2026-03-28T12:00:00Z", "23:30", "2026-03-29T01:00:00Z"),
            ("America/Nuuk", "2026-03-29T01:00:00Z", "23:30", "2026-03-29T01:00:00Z"),
            ("America/Nuuk", "2026-03-29T01:00:01Z", "23:30", "2026-03-30T00:30:00Z"),
        ],
    );
    check_add(&[
        ("Europe/Berlin", "2026-03-28T01:30:00Z", "1d", "2026-03-29T01:00:00Z"),
        ("America/New_York", "2026-02-08T07:30:00Z", "1mo", "2026-03-08T07:00:00Z"),
        // Backwards it is the first valid instant after the gap, too.
        ("Europe/Berlin", "2026-03-30T00:30:00Z", "-1d", "2026-03-29T01:00:00Z"),
        // Two days go over the gap, and 02:30 is 02:30 again.
        ("Europe/Berlin", "2026-03-28T01:30:00Z", "2d", "2026-03-30T00:30:00Z"),
    ]);
}

#[test]
fn t29_nine_in_the_morning_stays_nine_over_a_change() {
    check_next(
        EVERY_DAY,
        &[
            ("Europe/Berlin", "2026-03-28T08:00:01Z", "09:00", "2026-03-29T07:00:00Z"),
            ("Europe/Berlin", "2026-10-24T07:00:01Z", "09:00", "2026-10-25T08:00:00Z"),
            ("America/New_York", "2026-03-07T14:00:01Z", "09:00", "2026-03-08T13:00:00Z"),
            ("America/New_York", "2026-10-31T13:00:01Z", "09:00", "2026-11-01T14:00:00Z"),
            ("Asia/Kathmandu", "2026-03-28T08:00:00Z", "09:00", "2026-03-29T03:15:00Z"),
        ],
    );
}

#[test]
fn t30_a_time_that_happens_twice_fires_at_its_first_occurrence_only() {
    check_next(
        EVERY_DAY,
        &[
            // 02:30 in Berlin is 00:30Z and again 01:30Z.
            ("Europe/Berlin", "2026-10-24T12:00:00Z", "02:30", "2026-10-25T00:30:00Z"),
            ("Europe/Berlin", "2026-10-25T00:30:00Z", "02:30", "2026-10-25T00:30:00Z"),
            ("Europe/Berlin", "2026-10-25T00:30:01Z", "02:30", "2026-10-26T01:30:00Z"),
            ("Europe/Berlin", "2026-10-24T12:00:00Z", "03:00", "2026-10-25T02:00:00Z"),
            ("America/New_York", "2026-10-31T12:00:00Z", "01:30", "2026-11-01T05:30:00Z"),
            ("America/New_York", "2026-11-01T05:30:01Z", "01:30", "2026-11-02T06:30:00Z"),
            ("Australia/Lord_Howe", "2026-04-04T12:00:00Z", "01:45", "2026-04-04T14:45:00Z"),
            ("Africa/Casablanca", "2026-02-14T12:00:00Z", "02:30", "2026-02-15T01:30:00Z"),
            // Greenland kept its summer time as the new standard time: this autumn nothing happened twice.
            ("America/Nuuk", "2023-10-28T12:00:00Z", "23:30", "2023-10-29T01:30:00Z"),
            ("America/Nuuk", "2024-10-26T12:00:00Z", "23:30", "2024-10-27T00:30:00Z"),
        ],
    );
    check_add(&[
        ("Europe/Berlin", "2026-10-24T00:30:00Z", "1d", "2026-10-25T00:30:00Z"),
        ("Europe/Berlin", "2026-10-26T01:30:00Z", "-1d", "2026-10-25T00:30:00Z"),
        // Someone who stands at the second 02:30 goes on from there.
        ("Europe/Berlin", "2026-10-25T01:30:00Z", "1d", "2026-10-26T01:30:00Z"),
    ]);
}

#[test]
fn t31_a_day_keeps_the_local_time_and_24_hours_do_not() {
    check_add(&[
        ("Europe/Berlin", "2026-03-28T10:00:00Z", "1d", "2026-03-29T09:00:00Z"),
        ("Europe/Berlin", "2026-03-28T10:00:00Z", "24h", "2026-03-29T10:00:00Z"),
        ("Europe/Berlin", "2026-10-24T10:00:00Z", "1d", "2026-10-25T11:00:00Z"),
        ("Europe/Berlin", "2026-10-24T10:00:00Z", "24h", "2026-10-25T10:00:00Z"),
        ("America/New_York", "2026-03-07T15:00:00Z", "1d", "2026-03-08T14:00:00Z"),
        ("America/New_York", "2026-10-31T15:00:00Z", "1w", "2026-11-07T16:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T00:00:00Z", "1d", "2026-10-03T23:30:00Z"),
        ("Asia/Kolkata", "2026-10-24T10:00:00Z", "1d", "2026-10-25T10:00:00Z"),
        // The calendar part is added first, then the exact one.
        ("Europe/Berlin", "2026-03-28T10:00:00Z", "1d2h", "2026-03-29T11:00:00Z"),
        ("Europe/Berlin", "2026-03-28T00:30:00Z", "1d1h", "2026-03-29T01:30:00Z"),
        ("Europe/Berlin", "2026-03-29T09:00:00Z", "-1d", "2026-03-28T10:00:00Z"),
        ("Europe/Berlin", "2026-03-29T09:00:00Z", "-1d2h", "2026-03-28T08:00:00Z"),
    ]);
}

#[test]
fn t32_month_ends_clamp() {
    check_add(&[
        ("UTC", "2026-01-31T12:00:00Z", "1mo", "2026-02-28T12:00:00Z"),
        ("UTC", "2028-01-31T12:00:00Z", "1mo", "2028-02-29T12:00:00Z"),
        ("UTC", "2028-02-29T12:00:00Z", "1y", "2029-02-28T12:00:00Z"),
        ("UTC", "2028-02-29T12:00:00Z", "4y", "2032-02-29T12:00:00Z"),
        ("UTC", "2096-02-29T12:00:00Z", "4y", "2100-02-28T12:00:00Z"),
        ("UTC", "2026-03-31T12:00:00Z", "-1mo", "2026-02-28T12:00:00Z"),
        ("UTC", "2026-05-31T12:00:00Z", "-1y1mo", "2025-04-30T12:00:00Z"),
        // Months before days: the last of February and then a day, not a day and then a month.
        ("UTC", "2026-01-31T12:00:00Z", "1mo1d", "2026-03-01T12:00:00Z"),
        // The local month counts: it is still 31 January in New York.
        ("America/New_York", "2026-02-01T04:00:00Z", "1mo", "2026-03-01T04:00:00Z"),
        ("Europe/Berlin", "2026-02-28T11:00:00Z", "1mo", "2026-03-28T11:00:00Z"),
        ("Europe/Berlin", "2026-02-28T11:00:00Z", "2mo", "2026-04-28T10:00:00Z"),
    ]);
}

#[test]
fn t32_months_counted_from_the_anchor_do_not_drift() {
    let anchor = at("2026-01-31T12:00:00Z");
    let counted = |months: u32| {
        let at = add(anchor, &Span::parse(&format!("{months}mo")).unwrap(), &Zone::utc());
        Zone::utc().local(at.to_jiff()).day()
    };
    assert_eq!((1..=12).map(counted).collect::<Vec<_>>(), [28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31]);
    // From result to result the end of the month is lost. This is what the doc of `add` warns of.
    assert_eq!(added(&added("2026-01-31T12:00:00Z", "1mo", "UTC"), "1mo", "UTC"), "2026-03-28T12:00:00Z");
}

#[test]
fn t34_an_invalid_zone_falls_through_and_is_told() {
    let midnight = at("2026-01-01T00:00:00Z");
    for (profile, journey, shows, invalid) in [
        (None, None, "2026-01-01T00:00:00", &[][..]),
        (Some("Asia/Tokyo"), Some("Europe/Berlin"), "2026-01-01T09:00:00", &[]),
        (None, Some("Europe/Berlin"), "2026-01-01T01:00:00", &[]),
        (Some("Europe/Atlantis"), Some("Europe/Berlin"), "2026-01-01T01:00:00", &["Europe/Atlantis"]),
        (Some("Mars/Base"), Some("Moon/Base"), "2026-01-01T00:00:00", &["Mars/Base", "Moon/Base"]),
        // A bad zone of the journey is not looked at when the profile's holds.
        (Some("Asia/Tokyo"), Some("Moon/Base"), "2026-01-01T09:00:00", &[]),
        (Some(""), None, "2026-01-01T00:00:00", &[""]),
        (Some("+02:00"), None, "2026-01-01T00:00:00", &["+02:00"]),
        (Some("Etc/Unknown"), Some("Europe/Berlin"), "2026-01-01T01:00:00", &["Etc/Unknown"]),
        (Some("../../etc/passwd"), None, "2026-01-01T00:00:00", &["../../etc/passwd"]),
    ] {
        let resolved = Zone::resolve(profile, journey);
        assert_eq!(local_text(&resolved.zone, midnight), shows, "{profile:?} {journey:?}");
        assert_eq!(resolved.invalid, invalid, "{profile:?} {journey:?}");
    }
}

#[test]
fn t34_replaced_names_are_valid_and_case_does_not_matter() {
    let midnight = at("2026-01-01T00:00:00Z");
    for (old, new) in [
        ("Europe/Kiev", "Europe/Kyiv"),
        ("Asia/Calcutta", "Asia/Kolkata"),
        ("America/Godthab", "America/Nuuk"),
        ("US/Eastern", "America/New_York"),
        ("europe/BERLIN", "Europe/Berlin"),
        ("utc", "Etc/UTC"),
    ] {
        assert_eq!(local_text(&zone(old), midnight), local_text(&zone(new), midnight), "{old}");
    }
}

#[test]
fn t45_a_window_over_midnight_belongs_to_the_day_it_starts_on() {
    // Friday, 6 February 2026.
    check_window(
        on(&[Weekday::Friday]),
        &[
            ("Europe/Berlin", "2026-02-06T21:59:59Z", "23:00-01:00", "2026-02-06T22:00:00Z"),
            ("Europe/Berlin", "2026-02-06T22:00:00Z", "23:00-01:00", "2026-02-06T22:00:00Z"),
            ("Europe/Berlin", "2026-02-06T23:59:59Z", "23:00-01:00", "2026-02-06T23:59:59Z"),
            // 01:00 on Saturday: it is over, and the next one is a week away.
            ("Europe/Berlin", "2026-02-07T00:00:00Z", "23:00-01:00", "2026-02-13T22:00:00Z"),
            // 00:30 on Friday belongs to Thursday's window, which there is none of.
            ("Europe/Berlin", "2026-02-05T23:30:00Z", "23:00-01:00", "2026-02-06T22:00:00Z"),
            // To midnight exactly.
            ("Europe/Berlin", "2026-02-06T22:59:59Z", "20:00-00:00", "2026-02-06T22:59:59Z"),
            ("Europe/Berlin", "2026-02-06T23:00:00Z", "20:00-00:00", "2026-02-13T19:00:00Z"),
        ],
    );
}

#[test]
fn t45_weekdays_and_weekends_leave_no_hole() {
    let workdays = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
    check_window(
        on(&workdays),
        &[
            ("Europe/Berlin", "2026-02-06T15:59:59Z", "09:00-17:00", "2026-02-06T15:59:59Z"),
            ("Europe/Berlin", "2026-02-06T16:00:00Z", "09:00-17:00", "2026-02-09T08:00:00Z"),
            ("Europe/Berlin", "2026-02-08T12:00:00Z", "09:00-17:00", "2026-02-09T08:00:00Z"),
        ],
    );
    check_window(
        on(&[Weekday::Saturday, Weekday::Sunday]),
        &[("Europe/Berlin", "2026-02-06T16:00:00Z", "09:00-17:00", "2026-02-07T08:00:00Z")],
    );
    check_next(
        on(&[Weekday::Monday, Weekday::Friday]),
        &[
            // 24 November 2026 is a Tuesday.
            ("UTC", "2026-11-24T12:00:00Z", "09:00", "2026-11-27T09:00:00Z"),
            ("UTC", "2026-11-27T09:00:00Z", "09:00", "2026-11-27T09:00:00Z"),
            ("UTC", "2026-11-27T09:00:01Z", "09:00", "2026-11-30T09:00:00Z"),
            // The weekday is the local one: it is Friday in Auckland already.
            ("Pacific/Auckland", "2026-11-26T19:00:00Z", "09:00", "2026-11-26T20:00:00Z"),
        ],
    );
}

#[test]
fn a_window_over_a_change_begins_and_ends_by_the_clock() {
    check_window(
        EVERY_DAY,
        &[
            // It begins within the gap: open from 03:00.
            ("Europe/Berlin", "2026-03-29T00:59:59Z", "02:30-09:00", "2026-03-29T01:00:00Z"),
            // It ends within the gap: closed from 03:00.
            ("Europe/Berlin", "2026-03-29T00:59:59Z", "23:00-02:30", "2026-03-29T00:59:59Z"),
            ("Europe/Berlin", "2026-03-29T01:00:00Z", "23:00-02:30", "2026-03-29T21:00:00Z"),
            // It lies within the gap as a whole: there is none that day, and above all it is not open until tomorrow.
            ("Europe/Berlin", "2026-03-28T12:00:00Z", "02:15-02:45", "2026-03-30T00:15:00Z"),
            ("Europe/Berlin", "2026-03-29T01:00:00Z", "02:15-02:45", "2026-03-30T00:15:00Z"),
            ("Europe/Berlin", "2026-03-29T10:00:00Z", "02:15-02:45", "2026-03-30T00:15:00Z"),
            // The hour that happens twice: only its first run counts.
            ("Europe/Berlin", "2026-10-25T00:44:59Z", "02:15-02:45", "2026-10-25T00:44:59Z"),
            ("Europe/Berlin", "2026-10-25T01:20:00Z", "02:15-02:45", "2026-10-26T01:15:00Z"),
            ("Europe/Berlin", "2026-10-25T00:30:00Z", "23:00-02:30", "2026-10-25T22:00:00Z"),
            // The clocks skip midnight's last hour, and the window begins as the new day does.
            ("America/Nuuk", "2026-03-28T12:00:00Z", "23:30-02:00", "2026-03-29T01:00:00Z"),
            ("America/Nuuk", "2026-03-29T02:30:00Z", "23:30-02:00", "2026-03-29T02:30:00Z"),
            ("America/Nuuk", "2026-03-29T03:00:00Z", "23:30-02:00", "2026-03-30T00:30:00Z"),
        ],
    );
}

#[test]
fn a_day_that_a_zone_skipped_is_nobodys_day() {
    // Samoa had no 30 December 2011, a Friday: the clocks went from the 29th, 24:00, to the 31st, 00:00, at 10:00Z.
    check_next(
        EVERY_DAY,
        &[
            ("Pacific/Apia", "2011-12-29T12:00:00Z", "09:00", "2011-12-29T19:00:00Z"),
            ("Pacific/Apia", "2011-12-29T19:00:01Z", "09:00", "2011-12-30T19:00:00Z"),
            ("Pacific/Apia", "2011-12-29T19:00:01Z", "00:00", "2011-12-30T10:00:00Z"),
        ],
    );
    let friday = on(&[Weekday::Friday]);
    check_next(friday, &[("Pacific/Apia", "2011-12-29T19:00:01Z", "09:00", "2012-01-05T19:00:00Z")]);
    check_window(friday, &[("Pacific/Apia", "2011-12-30T12:00:00Z", "09:00-17:00", "2012-01-05T19:00:00Z")]);
    check_add(&[
        // A date that was reckoned, not chosen by its weekday: the first valid instant after the gap.
        ("Pacific/Apia", "2011-12-29T19:00:00Z", "1d", "2011-12-30T10:00:00Z"),
        ("Pacific/Apia", "2011-12-29T19:00:00Z", "2d", "2011-12-30T19:00:00Z"),
    ]);
}

#[test]
fn offsets_of_old_have_seconds() {
    // Liberia kept Monrovia's mean time, 44 min 30 s behind, until 7 January 1972.
    check_next(EVERY_DAY, &[("Africa/Monrovia", "1971-06-01T00:00:00Z", "09:00", "1971-06-01T09:44:30Z")]);
    check_add(&[("Africa/Monrovia", "1972-01-06T09:44:30Z", "1d", "1972-01-07T09:00:00Z")]);
}

#[test]
fn a_date_time_without_offset_is_local_and_flagged() {
    for (name, text, expected, local) in [
        ("Europe/Berlin", "2026-05-01T09:00:00Z", "2026-05-01T09:00:00Z", false),
        ("Europe/Berlin", "2026-05-01T09:00:00+05:30", "2026-05-01T03:30:00Z", false),
        ("Europe/Berlin", " 2026-05-01T09:00:00-00:00 ", "2026-05-01T09:00:00Z", false),
        ("Europe/Berlin", "2026-05-01T09:00", "2026-05-01T07:00:00Z", true),
        ("Europe/Berlin", "2026-05-01 09:00:00", "2026-05-01T07:00:00Z", true),
        ("Europe/Berlin", "2026-05-01T09:00:00.250", "2026-05-01T07:00:00.25Z", true),
        ("Europe/Berlin", " 2026-05-01 ", "2026-04-30T22:00:00Z", true),
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00:00Z", true),
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30:00Z", true),
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z", true),
        ("Europe/Berlin", "1950-05-01", "1950-04-30T23:00:00Z", true),
    ] {
        let read = read_instant(text, &zone(name)).map(|read| (read.at.to_string(), read.local));
        assert_eq!(read, Some((expected.to_owned(), local)), "{text}");
    }
}

#[test]
fn what_is_no_date_is_never_read_as_one() {
    for text in [
        "",
        "soon",
        "9:00",
        "1777618800",
        "2026-13-01",
        "2026-02-30T00:00:00",
        "2026-02-30T00:00:00Z",
        "2026-05-01T25:00",
        "2026-05-01 and later",
        "01/05/2026",
        // A zone of its own that is not ours to replace by another.
        "2026-05-01T09:00[America/New_York]",
        "2026-05-01[America/New_York]",
    ] {
        assert_eq!(read_instant(text, &zone("Europe/Berlin")), None, "{text}");
    }
}

#[test]
fn what_goes_beyond_all_years_stays_at_the_last_instant() {
    let plus = |at, span: &str| add(at, &Span::parse(span).unwrap(), &zone("Pacific/Apia"));
    let now = at("2026-01-01T00:00:00Z");
    for span in ["999999y", "1000000mo", "1000000y1000000mo1000000w1000000d1000000h", "999999w"] {
        assert_eq!(plus(now, span), Timestamp::MAX, "{span}");
        assert_eq!(plus(now, &format!("-{span}")), Timestamp::MIN, "-{span}");
    }
    for span in ["1d", "1mo", "1s"] {
        assert_eq!(plus(Timestamp::MAX, span), Timestamp::MAX, "{span}");
        assert_eq!(plus(Timestamp::MIN, &format!("-{span}")), Timestamp::MIN, "-{span}");
    }
    let friday = on(&[Weekday::Friday]);
    assert_eq!(next_time(Timestamp::MAX, time("12:00"), friday, &zone("Pacific/Kiritimati")), Timestamp::MAX);
    assert_eq!(next_in_window(Timestamp::MAX, &window("01:00-02:00", friday), &Zone::utc()), Timestamp::MAX);
}

#[test]
fn at_the_first_instant_the_clock_shows_midnight_and_not_what_was_asked() {
    check_next(
        EVERY_DAY,
        &[
            ("UTC", "0001-01-01T00:00:00Z", "09:00", "0001-01-01T09:00:00Z"),
            ("UTC", "0001-01-01T00:00:00Z", "00:00", "0001-01-01T00:00:00Z"),
        ],
    );
    // The window that holds now began before time did.
    check_window(EVERY_DAY, &[("UTC", "0001-01-01T00:00:00Z", "23:00-01:00", "0001-01-01T00:00:00Z")]);
}

/// Every change of the clocks from 1970 to 2100 in every zone there is, and the local times around each.
#[test]
fn a_local_time_is_the_first_instant_that_shows_it_or_later_in_every_zone_at_every_change() {
    let until = at("2100-01-01T00:00:00Z").to_jiff();
    let (mut changes, mut gaps, mut folds) = (0, 0, 0);
    for name in TimeZoneDatabase::bundled().available() {
        let Some(zone) = Zone::find(name.as_str()) else { continue };
        for change in zone.0.following(Timestamp::EPOCH.to_jiff()).take_while(|change| change.timestamp() < until) {
            let just_before = change.timestamp() - jiff::SignedDuration::from_millis(1);
            let after = zone.local(change.timestamp());
            let before = zone.0.to_offset(just_before).to_datetime(change.timestamp());
            changes += 1;
            gaps += usize::from(before < after);
            folds += usize::from(before > after);
            let (low, high) = (before.min(after), before.max(after));
            let middle = low + (high.duration_since(low) / 2);
            let minute = jiff::SignedDuration::from_mins(1);
            for local in [low - minute, low, middle, high - minute, high, high + minute] {
                let found = zone.instant(local).unwrap();
                let earlier = found - jiff::SignedDuration::from_millis(1);
                assert!(zone.local(found) >= local, "{}: {local} is not {found}", name.as_str());
                assert!(zone.local(earlier) < local, "{}: {local} is before {found}", name.as_str());
                // The clock only falls at a change, so nothing before it shows more than the instant just before it.
                let first = found <= just_before || zone.local(just_before) < local;
                assert!(first, "{}: {local} is before the change, not {found}", name.as_str());
            }
        }
    }
    assert!(gaps > 10_000 && folds > 10_000, "{changes} changes, {gaps} gaps, {folds} folds");
}

const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Nuuk",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Pacific/Apia",
];
const DAY_MS: i64 = 86_400_000;

fn any_zone() -> impl Strategy<Value = Zone> {
    proptest::sample::select(ZONES.to_vec()).prop_map(zone)
}

/// An instant between 2000 and 2050, every other one within two days of a change of the clocks.
fn any_zone_and_instant() -> impl Strategy<Value = (Zone, Timestamp)> {
    let anywhere = 946_684_800_000i64..2_524_608_000_000;
    (any_zone(), anywhere, proptest::option::of(-2 * DAY_MS..2 * DAY_MS)).prop_map(|(zone, ms, near_change)| {
        let at = Timestamp::from_ms(ms);
        let change = zone.0.following(at.to_jiff()).next().map(|change| Timestamp::from_jiff(change.timestamp()));
        match (change, near_change) {
            (Some(change), Some(distance_ms)) => (zone, change.plus_ms(distance_ms)),
            (Some(_) | None, None) | (None, Some(_)) => (zone, at),
        }
    })
}

fn any_time() -> impl Strategy<Value = LocalTime> {
    (0u8..24, 0u8..60).prop_map(|(hour, minute)| time(&format!("{hour:02}:{minute:02}")))
}

fn any_days() -> impl Strategy<Value = Weekdays> {
    proptest::sample::subsequence(Weekday::ALL.to_vec(), 1..=7).prop_map(|days| on(&days))
}

fn shows(zone: &Zone, at: Timestamp) -> Time {
    zone.local(at.to_jiff()).time()
}

fn clock(time: LocalTime) -> Time {
    date_time(Date::constant(2000, 1, 1), time).time()
}

/// Whether the zone's offset changed in the 25 hours up to `at`: then its clock needs not show what was asked.
fn changed_lately(zone: &Zone, at: Timestamp) -> bool {
    zone.0.to_offset(at.to_jiff()) != zone.0.to_offset(at.plus_ms(-25 * 3_600_000).to_jiff())
}

proptest! {
    #[test]
    fn the_next_time_is_not_before_now_and_the_clock_shows_it_or_was_changed_just_then(
        (zone, from) in any_zone_and_instant(), time in any_time(), days in any_days(),
    ) {
        let found = next_time(from, time, days, &zone);
        prop_assert!(found >= from);
        prop_assert!(found.ms_since(from) <= 14 * DAY_MS + 3_600_000);
        let on_time = shows(&zone, found) == clock(time)
            && days.contains(weekday(zone.local(found.to_jiff()).date()));
        let in_gap = zone.0.to_offset(found.to_jiff()) != zone.0.to_offset(found.plus_ms(-1).to_jiff());
        prop_assert!(on_time || in_gap, "{found} shows {}", local_text(&zone, found));
        prop_assert_eq!(next_time(found, time, days, &zone), found, "who arrives then goes on at once");
    }

    #[test]
    fn who_asks_later_is_never_served_earlier(
        (zone, from) in any_zone_and_instant(), later_ms in 0..3 * DAY_MS, time in any_time(), to in any_time(),
        days in any_days(),
    ) {
        let later = from.plus_ms(later_ms);
        prop_assert!(next_time(from, time, days, &zone) <= next_time(later, time, days, &zone));
        prop_assume!(time != to);
        let window = Window { from: time, to, days };
        prop_assert!(next_in_window(from, &window, &zone) <= next_in_window(later, &window, &zone));
    }

    #[test]
    fn a_window_is_entered_inside_it(
        (zone, now) in any_zone_and_instant(), from in any_time(), to in any_time(), days in any_days(),
    ) {
        prop_assume!(from != to);
        let found = next_in_window(now, &Window { from, to, days }, &zone);
        prop_assert!(found >= now);
        prop_assert_eq!(next_in_window(found, &Window { from, to, days }, &zone), found);
        let local = zone.local(found.to_jiff());
        let (time, begin, end) = (local.time(), clock(from), clock(to));
        let (inside, started_on) = if begin < end {
            (begin <= time && time < end, local.date())
        } else if time < end {
            (true, local.date().yesterday().unwrap())
        } else {
            (begin <= time, local.date())
        };
        let right = inside && days.contains(weekday(started_on));
        prop_assert!(right || changed_lately(&zone, found), "{found} shows {local}");
    }

    #[test]
    fn days_keep_the_order_of_the_local_times(
        (zone, early) in any_zone_and_instant(), later_ms in 0..100 * DAY_MS, days in 0u32..800,
    ) {
        let late = early.plus_ms(later_ms);
        let span = Span::parse(&format!("{days}d")).unwrap();
        // NOTE: of two instants in the hour that happens twice, the later one can show the earlier time.
        prop_assume!(zone.local(early.to_jiff()) <= zone.local(late.to_jiff()));
        prop_assert!(days == 0 || add(early, &span, &zone) <= add(late, &span, &zone));
    }

    #[test]
    fn a_longer_span_never_ends_earlier(
        (zone, from) in any_zone_and_instant(), days in 1u32..800, more_days in 0u32..40, months in 1u32..30,
    ) {
        let plus = |count: u32, unit: &str| add(from, &Span::parse(&format!("{count}{unit}")).unwrap(), &zone);
        let minus = |count: u32, unit: &str| add(from, &Span::parse(&format!("-{count}{unit}")).unwrap(), &zone);
        prop_assert!(plus(days, "d") <= plus(days + more_days, "d"));
        prop_assert!(minus(days, "d") >= minus(days + more_days, "d"));
        prop_assert!(plus(months, "mo") <= plus(months + 1, "mo"));
        prop_assert!(minus(months, "mo") >= minus(months + 1, "mo"));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-+0-9TZ:. \\[\\]A-Za-z/]{0,40}", zone in any_zone()) {
        let read = read_instant(&text, &zone);
        prop_assert!(read.is_none_or(|read| read.local == Timestamp::parse(&text).is_none()));
    }
}

/// Sixty-five years after a birth long before the epoch.
#[test]
fn a_birthday_before_the_epoch_is_counted_from() {
    let zone = zone("Europe/Berlin");
    let born = read_instant("1965-03-01", &zone).unwrap().at;
    assert_eq!(born.to_string(), "1965-02-28T23:00:00Z");
    assert_eq!(add(born, &Span::parse("65y").unwrap(), &zone).to_string(), "2030-02-28T23:00:00Z");
}
