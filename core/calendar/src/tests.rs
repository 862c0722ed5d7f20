use super::*;
use proptest::prelude::*;

fn zone(name: &str) -> Zone {
    Zone::find(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn time(text: &str) -> LocalTime {
    LocalTime::parse(text).unwrap()
}

fn added(from: &str, span: &str, name: &str) -> String {
    add(at(from), &Span::parse(span).unwrap(), &zone(name)).to_string()
}

fn next(from: &str, clock: &str, days: Weekdays, name: &str) -> String {
    next_time(at(from), time(clock), days, &zone(name)).to_string()
}

const EVERY_DAY: Weekdays = Weekdays::ALL;

#[test]
fn t29_a_time_in_the_spring_gap_is_the_first_valid_instant_after_it() {
    // 02:30 does not exist in Berlin on 29 March 2026: the clocks go from 02:00 to 03:00, which is 01:00Z.
    assert_eq!(next("2026-03-28T12:00:00Z", "02:30", EVERY_DAY, "Europe/Berlin"), "2026-03-29T01:00:00Z");
    assert_eq!(next("2026-03-07T12:00:00Z", "02:30", EVERY_DAY, "America/New_York"), "2026-03-08T07:00:00Z");
    // Lord Howe moves by half an hour only.
    assert_eq!(next("2026-10-03T12:00:00Z", "02:15", EVERY_DAY, "Australia/Lord_Howe"), "2026-10-03T15:30:00Z");
    // Nine in the morning stays nine on both sides.
    assert_eq!(next("2026-03-28T07:59:00Z", "09:00", EVERY_DAY, "Europe/Berlin"), "2026-03-28T08:00:00Z");
    assert_eq!(next("2026-03-28T08:00:01Z", "09:00", EVERY_DAY, "Europe/Berlin"), "2026-03-29T07:00:00Z");
}

#[test]
fn t30_a_time_that_happens_twice_fires_at_its_first_occurrence_only() {
    // 25 October 2026: 02:30 in Berlin at 00:30Z and again at 01:30Z.
    assert_eq!(next("2026-10-24T12:00:00Z", "02:30", EVERY_DAY, "Europe/Berlin"), "2026-10-25T00:30:00Z");
    assert_eq!(next("2026-10-25T00:30:01Z", "02:30", EVERY_DAY, "Europe/Berlin"), "2026-10-26T01:30:00Z");
}

#[test]
fn t31_a_day_keeps_the_local_time_and_24_hours_do_not() {
    assert_eq!(added("2026-03-28T10:00:00Z", "1d", "Europe/Berlin"), "2026-03-29T09:00:00Z");
    assert_eq!(added("2026-03-28T10:00:00Z", "24h", "Europe/Berlin"), "2026-03-29T10:00:00Z");
    assert_eq!(added("2026-10-24T10:00:00Z", "1d", "Europe/Berlin"), "2026-10-25T11:00:00Z");
    assert_eq!(added("2026-10-24T10:00:00Z", "1d", "Asia/Kolkata"), "2026-10-25T10:00:00Z");
    // The calendar part is added first, then the exact one.
    assert_eq!(added("2026-03-28T10:00:00Z", "1d2h", "Europe/Berlin"), "2026-03-29T11:00:00Z");
    assert_eq!(added("2026-03-29T09:00:00Z", "-1d", "Europe/Berlin"), "2026-03-28T10:00:00Z");
}

#[test]
fn t32_month_ends_clamp_and_do_not_drift() {
    assert_eq!(added("2026-01-31T12:00:00Z", "1mo", "UTC"), "2026-02-28T12:00:00Z");
    assert_eq!(added("2028-01-31T12:00:00Z", "1mo", "UTC"), "2028-02-29T12:00:00Z");
    assert_eq!(added("2028-02-29T12:00:00Z", "1y", "UTC"), "2029-02-28T12:00:00Z");
    assert_eq!(added("2026-01-31T12:00:00Z", "2mo", "UTC"), "2026-03-31T12:00:00Z");
    assert_eq!(added("2026-03-31T12:00:00Z", "-1mo", "UTC"), "2026-02-28T12:00:00Z");
}

#[test]
fn t34_an_invalid_zone_falls_through_and_is_told_and_an_old_name_is_valid() {
    let resolved = Zone::resolve(Some("Europe/Atlantis"), Some("europe/kiev"));
    assert_eq!(resolved.invalid, ["Europe/Atlantis"]);
    assert_eq!(resolved.zone.local(at("2026-01-01T00:00:00Z")).to_string(), "2026-01-01T02:00:00");
    let resolved = Zone::resolve(Some("Mars/Base"), Some("Moon/Base"));
    assert_eq!(resolved.invalid, ["Mars/Base", "Moon/Base"]);
    assert_eq!(resolved.zone.local(at("2026-01-01T00:00:00Z")).to_string(), "2026-01-01T00:00:00");
    assert!(Zone::resolve(None, None).invalid.is_empty());
}

#[test]
fn t45_a_window_over_midnight_belongs_to_the_day_it_starts_on() {
    let friday = Weekdays::of(&[Weekday::Friday]).unwrap();
    let night = Window { from: time("23:00"), to: time("01:00"), days: friday };
    let berlin = zone("Europe/Berlin");
    // Friday, 6 February 2026.
    for (now, expected) in [
        ("2026-02-06T21:59:59Z", "2026-02-06T22:00:00Z"),
        ("2026-02-06T22:00:00Z", "2026-02-06T22:00:00Z"),
        ("2026-02-06T23:59:59Z", "2026-02-06T23:59:59Z"),
        ("2026-02-07T00:00:00Z", "2026-02-13T22:00:00Z"),
        ("2026-02-05T23:30:00Z", "2026-02-06T22:00:00Z"),
    ] {
        assert_eq!(next_in_window(at(now), &night, &berlin).to_string(), expected, "{now}");
    }
    let office = Window { from: time("09:00"), to: time("17:00"), days: EVERY_DAY };
    assert_eq!(next_in_window(at("2026-02-06T16:00:00Z"), &office, &berlin).to_string(), "2026-02-07T08:00:00Z");
    assert_eq!(next_in_window(at("2026-02-06T15:59:59Z"), &office, &berlin).to_string(), "2026-02-06T15:59:59Z");
}

#[test]
fn only_the_named_weekdays_count() {
    let days = Weekdays::of(&[Weekday::Monday, Weekday::Friday]).unwrap();
    // 24 November 2026 is a Tuesday.
    assert_eq!(next("2026-11-24T12:00:00Z", "09:00", days, "UTC"), "2026-11-27T09:00:00Z");
    assert_eq!(next("2026-11-27T09:00:00Z", "09:00", days, "UTC"), "2026-11-27T09:00:00Z");
    assert_eq!(next("2026-11-27T09:00:01Z", "09:00", days, "UTC"), "2026-11-30T09:00:00Z");
}

#[test]
fn a_zone_that_skips_a_whole_day_skips_it_here_too() {
    // Samoa had no 30 December 2011, a Friday: the clocks went from the 29th, 24:00, to the 31st, 00:00.
    let friday = Weekdays::of(&[Weekday::Friday]).unwrap();
    assert_eq!(next("2011-12-29T12:00:00Z", "09:00", EVERY_DAY, "Pacific/Apia"), "2011-12-29T19:00:00Z");
    assert_eq!(next("2011-12-29T19:00:01Z", "09:00", EVERY_DAY, "Pacific/Apia"), "2011-12-30T10:00:00Z");
    assert_eq!(next("2011-12-29T19:00:01Z", "09:00", friday, "Pacific/Apia"), "2011-12-30T10:00:00Z");
    assert_eq!(added("2011-12-29T19:00:00Z", "1d", "Pacific/Apia"), "2011-12-30T10:00:00Z");
}

#[test]
fn a_date_time_without_offset_is_local_and_flagged() {
    let berlin = zone("Europe/Berlin");
    let read = |text| read_instant(text, &berlin).map(|read| (read.at.to_string(), read.local));
    assert_eq!(read("2026-05-01T09:00:00Z"), Some(("2026-05-01T09:00:00Z".into(), false)));
    assert_eq!(read("2026-05-01T09:00:00+05:30"), Some(("2026-05-01T03:30:00Z".into(), false)));
    assert_eq!(read("2026-05-01T09:00"), Some(("2026-05-01T07:00:00Z".into(), true)));
    assert_eq!(read("2026-05-01 09:00:00"), Some(("2026-05-01T07:00:00Z".into(), true)));
    assert_eq!(read("2026-05-01"), Some(("2026-04-30T22:00:00Z".into(), true)));
    for bad in ["", "soon", "2026-13-01", "2026-02-30T00:00:00", "2026-02-30T00:00:00Z", "9:00"] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn what_goes_beyond_all_years_stays_at_the_last_instant() {
    assert_eq!(add(at("2026-01-01T00:00:00Z"), &Span::parse("999999y").unwrap(), &Zone::utc()), Timestamp::MAX);
    assert_eq!(add(at("2026-01-01T00:00:00Z"), &Span::parse("-999999d").unwrap(), &Zone::utc()), Timestamp::MIN);
    assert_eq!(add(Timestamp::MAX, &Span::parse("1d").unwrap(), &zone("Pacific/Apia")), Timestamp::MAX);
}

fn any_zone() -> impl Strategy<Value = Zone> {
    let names =
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"];
    proptest::sample::select(names.to_vec()).prop_map(zone)
}

proptest! {
    #[test]
    fn the_next_time_is_not_before_and_within_eight_days(
        ms in 946_684_800_000i64..2_524_608_000_000,
        hour in 0u8..24, minute in 0u8..60, days in 1u8..128, zone in any_zone(),
    ) {
        let from = Timestamp::from_ms(ms);
        let clock = time(&format!("{hour:02}:{minute:02}"));
        let chosen: Vec<Weekday> = Weekday::ALL.into_iter().filter(|day| days & 1 << *day as u8 != 0).collect();
        let found = next_time(from, clock, Weekdays::of(&chosen).unwrap(), &zone);
        prop_assert!(found >= from);
        prop_assert!(found.ms_since(from) <= 8 * 86_400_000);
        let local = zone.local(found);
        let shows = (local.hour() as u8, local.minute() as u8) == (hour, minute);
        // In a gap the clock shows a later time; then one millisecond before it showed another offset.
        let changed = zone.0.to_offset(found.to_jiff()) != zone.0.to_offset(found.plus_ms(-1).to_jiff());
        prop_assert!(shows || changed, "{found} shows {local}");
    }

    #[test]
    fn a_later_start_never_ends_earlier(ms in 946_684_800_000i64..2_524_608_000_000, gap in 0i64..10_000_000_000,
        days in 0u32..800, months in 0u32..30, zone in any_zone()) {
        let span = Span::parse(&format!("{months}mo{days}d")).unwrap();
        let (early, late) = (Timestamp::from_ms(ms), Timestamp::from_ms(ms + gap));
        // Folds may swap two instants less than an hour apart; nothing more.
        prop_assert!(add(late, &span, &zone).plus_ms(3_600_000) >= add(early, &span, &zone));
    }
}
