//! Waits (J7–J9, J2) and what satisfies them.

use super::{stage, story};
use insta::assert_snapshot;

fn wait(wait: &str) -> String {
    format!(
        "{{start: {{trigger: go, repeat: {{mode: always}}}}, time_zone: Europe/Berlin, steps: [{{id: w, wait: {wait}}}]}}"
    )
}

#[test]
fn for_a_day_keeps_the_local_time_and_24_hours_do_not() {
    let berlin = "2027-03-27T12:00:00Z event go";
    assert_snapshot!(story(&wait("{for: 1d}"), berlin), @"
        2027-03-27T12:00:00Z event go of 2027-03-27T12:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2027-03-28T11:00:00Z
        2027-03-28T11:00:00Z P1 time is up at w
                 P1 left j at w: completed
    ");
    assert_snapshot!(story(&wait("{for: 24h}"), berlin), @"
        2027-03-27T12:00:00Z event go of 2027-03-27T12:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2027-03-28T12:00:00Z
        2027-03-28T12:00:00Z P1 time is up at w
                 P1 left j at w: completed
    ");
    assert_snapshot!(story(&wait("{for: 1d2h}"), berlin), @"
        2027-03-27T12:00:00Z event go of 2027-03-27T12:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2027-03-28T13:00:00Z
        2027-03-28T13:00:00Z P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn until_an_instant_with_and_without_offset_and_one_that_is_past() {
    assert_snapshot!(story(&wait("{until: '2026-05-05T09:00:00Z'}"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-05T09:00:00Z
        1d09:00  P1 time is up at w
                 P1 left j at w: completed
    ");
    assert_snapshot!(story(&wait("{until: '2026-05-05T09:00:00'}"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-05T07:00:00Z (a date-time without offset, read as local)
        1d07:00  P1 time is up at w
                 P1 left j at w: completed
    ");
    assert_snapshot!(story(&wait("{until: '2026-05-04T10:00:00Z'}"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 goes on from w: 2026-05-04T10:00:00Z is now or past
                 P1 left j at w: completed
    ");
}

#[test]
fn until_an_attribute_before_and_after() {
    let at = "10:00 event go at=2026-05-06T09:00:00+02:00";
    assert_snapshot!(story(&wait("{until: {attribute: event.at, offset: -1d}}"), at), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-05T07:00:00Z
        1d07:00  P1 time is up at w
                 P1 left j at w: completed
    ");
    assert_snapshot!(story(&wait("{until: {attribute: event.at, offset: 90m}}"), at), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-06T08:30:00Z
        2d08:30  P1 time is up at w
                 P1 left j at w: completed
    ");
    assert_snapshot!(story(&wait("{until: {attribute: event.at}}"), "10:00 event go at=2026-05-06T09:00:00"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-06T07:00:00Z (a date-time without offset, read as local)
        2d07:00  P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn until_a_time_on_some_days_and_within_a_window() {
    assert_snapshot!(story(&wait("{until: {time: '09:00', days: [wednesday, sunday]}}"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-06T07:00:00Z
        2d07:00  P1 time is up at w
                 P1 left j at w: completed
    ");
    let window = "{until: {window: {from: '09:00', to: '17:00', days: [monday, tuesday]}}}";
    assert_snapshot!(story(&wait(window), "
        10:00 event go order=inside
        15:00 event go order=after
        1d15:00 event go order=over_the_days
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 goes on from w: 2026-05-04T10:00:00Z is now or past
                 P1 left j at w: completed
        15:00    event go of 2026-05-04T15:00:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 waits at w until 2026-05-05T07:00:00Z
        1d07:00  P2 time is up at w
                 P2 left j at w: completed
        1d15:00  event go of 2026-05-05T15:00:00Z
                 entered j v1 as P3 (entry 3)
                 P3 at step w
                 P3 waits at w until 2026-05-11T07:00:00Z
        7d07:00  P3 time is up at w
                 P3 left j at w: completed
    ");
}

#[test]
fn an_invalid_zone_falls_through_to_the_journeys_and_is_told() {
    assert_snapshot!(story(&wait("{until: {time: '09:00'}}"), "
        09:00 update time_zone=Europe/Atlantis
        10:00 event go
    "), @"
        09:00    attributes changed: time_zone
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-05T07:00:00Z (the zone Europe/Atlantis is invalid and was passed over)
        1d07:00  P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn t47_a_missing_or_unreadable_date_never_means_now() {
    let journey = |on_missing: &str| {
        format!(
            "{{start: {{trigger: go, repeat: {{mode: always}}}}, steps: [{{id: w, wait: {{until: {{attribute: profile.due{on_missing}}}}}}}]}}"
        )
    };
    let script = "
        10:00 event go order=missing
        10:01 update due=soon
        10:02 event go order=garbage
        10:03 update due=17
        10:04 event go order=number
    ";
    assert_snapshot!(story(&journey(""), script), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 failed at w: missing_date
                 P1 parked at w: missing_date
        10:01    attributes changed: due
        10:02    event go of 2026-05-04T10:02:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 failed at w: missing_date
                 P2 parked at w: missing_date
        10:03    attributes changed: due
        10:04    event go of 2026-05-04T10:04:00Z
                 entered j v1 as P3 (entry 3)
                 P3 at step w
                 P3 failed at w: missing_date
                 P3 parked at w: missing_date
    ");
    assert_snapshot!(story(&journey(", on_missing: exit"), script), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 left j at w: missing_date
        10:01    attributes changed: due
        10:02    event go of 2026-05-04T10:02:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 left j at w: missing_date
        10:03    attributes changed: due
        10:04    event go of 2026-05-04T10:04:00Z
                 entered j v1 as P3 (entry 3)
                 P3 at step w
                 P3 left j at w: missing_date
    ");
    assert_snapshot!(story(&journey(", on_missing: skip"), script), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 goes on from w: its date is missing or unreadable
                 P1 left j at w: completed
        10:01    attributes changed: due
        10:02    event go of 2026-05-04T10:02:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 goes on from w: its date is missing or unreadable
                 P2 left j at w: completed
        10:03    attributes changed: due
        10:04    event go of 2026-05-04T10:04:00Z
                 entered j v1 as P3 (entry 3)
                 P3 at step w
                 P3 goes on from w: its date is missing or unreadable
                 P3 left j at w: completed
    ");
}

#[test]
fn a_missing_date_is_a_failed_step_that_follows_its_policy() {
    let journey = |policy: &str| {
        format!(
            "{{start: {{trigger: go}}, steps: [{{id: w, on_failure: {policy}, wait: {{until: {{attribute: profile.due}}}}}}, {{id: x, exit: {{}}}}]}}"
        )
    };
    assert_snapshot!(story(&journey("exit"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 failed at w: missing_date
                 P1 left j at w: failed
    ");
    assert_snapshot!(story(&journey("continue"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 failed at w: missing_date
                 P1 at step x
                 P1 left j at x: x
    ");
}

#[test]
fn t33_a_change_of_zone_does_not_move_a_wait_that_has_begun() {
    assert_snapshot!(story(&wait("{until: {time: '09:00'}}"), "
        10:00 event go
        11:00 update time_zone=Asia/Tokyo
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-05T07:00:00Z
        11:00    attributes changed: time_zone
        1d07:00  P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn t33_a_timer_delivered_again_does_not_start_the_wait_anew() {
    assert_snapshot!(story(&wait("{for: 1h}"), "
        10:00 event go
        11:30 stale
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn purchase_before_timeout_exits_and_late_timer_is_ignored() {
    let journey = "{start: {trigger: go}, exits: [{trigger: halt}], steps: [{id: w, wait: {for: 1h}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go
        10:59 event halt
        11:00 stale
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:59    event halt of 2026-05-04T10:59:00Z
                 P1 left j at w: halt
        11:00    ignored: the timer is no longer current
    ");
}

#[test]
fn t36_an_event_at_the_very_instant_of_the_timer_wins_when_it_is_logged_first() {
    let journey = "{start: {trigger: go}, exits: [{trigger: halt}], steps: [{id: w, wait: {for: 1h}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go
        11:00 event halt
        11:00 stale
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:00    event halt of 2026-05-04T11:00:00Z
                 P1 left j at w: halt
                 ignored: the timer is no longer current
    ");
    // And the other way round the timer has been first.
    assert_snapshot!(story(journey, "
        10:00 event go
        11:00 wake
        11:00 event halt
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:00    P1 time is up at w
                 P1 left j at w: completed
                 event halt of 2026-05-04T11:00:00Z
    ");
}

#[test]
fn t37_an_event_that_occurred_in_time_but_is_logged_after_the_timer_changes_nothing() {
    let journey = "{start: {trigger: go}, steps: [{id: f, wait_for: {outcomes: [{trigger: sign, steps: [{id: signed, exit: {}}]}], up_to: 1h, otherwise: [{id: late, exit: {}}]}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go
        11:00:01 event sign @occurred=-2
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step f
                 P1 waits at f until 2026-05-04T11:00:00Z
        11:00    P1 time is up at f
                 P1 at step late
                 P1 left j at late: late
        11:00:01 event sign of 2026-05-04T10:59:59Z
    ");
}

#[test]
fn t42_a_wait_of_a_year_and_one_far_ahead_run_to_their_day() {
    assert_snapshot!(story(&wait("{for: 365d}"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2027-05-04T10:00:00Z
        2027-05-04T10:00:00Z P1 time is up at w
                 P1 left j at w: completed
    ");
    assert_snapshot!(story(&wait("{until: '2028-02-29T09:00:00Z'}"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2028-02-29T09:00:00Z
        2028-02-29T09:00:00Z P1 time is up at w
                 P1 left j at w: completed
    ");
    let journey = |up_to: &str| {
        format!(
            "{{start: {{trigger: go}}, steps: [{{id: f, wait_for: {{outcomes: [{{trigger: sign}}], up_to: {up_to}}}}}]}}"
        )
    };
    assert_snapshot!(story(&journey("365d"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step f
                 P1 waits at f until 2027-05-04T10:00:00Z
        2027-05-04T10:00:00Z P1 time is up at f
                 P1 left j at f: completed
    ");
    let refused = std::panic::catch_unwind(|| stage(&journey("400d"))).err().expect("400 days are refused at publish");
    let why = refused.downcast_ref::<String>().unwrap();
    assert!(why.contains("wait_too_long"), "{why}");
}

#[test]
fn a_late_timer_goes_on_exits_or_parks_as_the_step_says() {
    let late = |late: &str| wait(&format!("{{for: 1h, if_late_over: 30m{late}}}"));
    let on_time = "10:00 event go\n11:30 wake";
    let too_late = "10:00 event go\n11:30:00.001 wake";
    assert_snapshot!(story(&late(""), on_time), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:30    P1 time is up at w
                 P1 left j at w: completed
    ");
    assert_snapshot!(story(&late(""), too_late), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:30:00.001 P1 time is up at w
                 P1 left j at w: late
    ");
    assert_snapshot!(story(&late(", late: continue"), too_late), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:30:00.001 P1 time is up at w
                 P1 left j at w: completed
    ");
    assert_snapshot!(story(&late(", late: park"), too_late), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:30:00.001 P1 time is up at w
                 P1 parked at w: late
    ");
}

const WAIT_FOR: &str = "{start: {trigger: go}, steps: [{id: m, send: {message: mail}}, {id: w, wait: {for: 1h}},
    {id: f, wait_for: {outcomes: [
        {interaction: email_link_clicked, of: m, where: event.url == 'https://x.org/buy', steps: [{id: clicked, exit: {}}]},
        {interaction: email_opened, of: m, steps: [{id: opened, exit: {}}]},
        {trigger: sign, where: event.total > 50, steps: [{id: signed, exit: {}}]}],
      up_to: 1h, otherwise: [{id: nothing, exit: {}}]}}]}";

#[test]
fn the_first_outcome_in_log_order_wins_and_a_false_where_says_what_it_saw() {
    assert_snapshot!(story(WAIT_FOR, "
        10:00 event go
        10:00 sent m
        11:10 event sign total=50
        11:11 event sign
        11:12 click m url=https://x.org/help
        11:13 event sign total=51
        11:14 open m
    "), @r#"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 accepted
                 email_sent of send m.1
        11:00    P1 time is up at w
                 P1 at step f
                 P1 waits at f until 2026-05-04T12:00:00Z
        11:10    event sign of 2026-05-04T11:10:00Z
                 P1 sign at f does not act: condition_false (event.total = 50)
        11:11    event sign of 2026-05-04T11:11:00Z
                 P1 sign at f does not act: condition_error: event.total has no value
        11:12    email_link_clicked of send m.1
                 P1 email_link_clicked at f does not act: condition_false (event.url = "https://x.org/help")
        11:13    event sign of 2026-05-04T11:13:00Z
                 P1 goes on from f: sign (event.total = 51)
                 P1 at step signed
                 P1 left j at signed: signed
        11:14    email_opened of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    "#);
}

#[test]
fn a_time_out_takes_otherwise() {
    assert_snapshot!(story(WAIT_FOR, "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:00    P1 time is up at w
                 P1 at step f
                 P1 waits at f until 2026-05-04T12:00:00Z
        12:00    P1 time is up at f
                 P1 at step nothing
                 P1 left j at nothing: nothing
    ");
}

#[test]
fn of_interactions_before_the_wait_the_earliest_that_fits_wins() {
    assert_snapshot!(story(WAIT_FOR, "
        10:00 event go
        10:00 sent m
        10:10 click m url=https://x.org/help
        10:20 open m
        10:30 click m url=https://x.org/buy
    "), @r#"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 accepted
                 email_sent of send m.1
        10:10    email_link_clicked of send m.1
        10:20    email_opened of send m.1
        10:30    email_link_clicked of send m.1
        11:00    P1 time is up at w
                 P1 at step f
                 P1 email_link_clicked at f does not act: condition_false (event.url = "https://x.org/help")
                 P1 goes on from f: email_opened
                 P1 at step opened
                 P1 left j at opened: opened
    "#);
}

#[test]
fn one_interaction_satisfies_one_wait() {
    let journey = "{start: {trigger: go}, steps: [{id: m, send: {message: mail}},
        {id: f, wait_for: {outcomes: [{interaction: email_opened, of: m}], up_to: 1h, otherwise: [{id: no, exit: {}}]}},
        {id: g, wait_for: {outcomes: [{interaction: email_opened, of: m}], up_to: 1h, otherwise: [{id: once, exit: {}}]}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go
        10:10 open m
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step f
                 P1 waits at f until 2026-05-04T11:00:00Z
        10:10    email_opened of send m.1
                 P1 goes on from f: email_opened
                 P1 at step g
                 P1 waits at g until 2026-05-04T11:10:00Z
        11:10    P1 time is up at g
                 P1 at step once
                 P1 left j at once: once
    ");
    assert_snapshot!(story(journey, "
        10:00 event go
        10:10 open m
        10:11 open m
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step f
                 P1 waits at f until 2026-05-04T11:00:00Z
        10:10    email_opened of send m.1
                 P1 goes on from f: email_opened
                 P1 at step g
                 P1 waits at g until 2026-05-04T11:10:00Z
        10:11    email_opened of send m.1
                 P1 goes on from g: email_opened
                 P1 left j at g: completed
    ");
}

#[test]
fn a_machine_that_opens_satisfies_nothing() {
    assert_snapshot!(story(WAIT_FOR, "
        10:00 event go
        10:10 open m @machine
        11:10 open m @machine
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:10    email_opened of send m.1 by a machine, counts for nothing
        11:00    P1 time is up at w
                 P1 at step f
                 P1 waits at f until 2026-05-04T12:00:00Z
        11:10    email_opened of send m.1 by a machine, counts for nothing
        12:00    P1 time is up at f
                 P1 at step nothing
                 P1 left j at nothing: nothing
    ");
}

#[test]
fn what_a_scanner_that_clicks_everything_leaves_does_not_push_out_the_first() {
    let clicks: String = (1..=17).map(|link| format!("10:10 click m url=https://x.org/{link}\n")).collect();
    let told = story(WAIT_FOR, &format!("10:00 event go\n{clicks}10:20 click m url=https://x.org/buy\n11:05 open m"));
    assert_eq!(told.matches("noted: as many of this send").count(), 3, "the 17th, the 18th and the opening:\n{told}");
    assert!(told.contains("left j at opened"), "what is awaited when it comes need not be remembered:\n{told}");
    let journey = WAIT_FOR.replace("https://x.org/buy", "https://x.org/1");
    let told = story(&journey, &format!("10:00 event go\n{clicks}"));
    assert!(told.contains("left j at clicked"), "the first of them is the one that counts:\n{told}");
}

fn since(since: &str) -> String {
    format!("{{start: {{trigger: go}}, steps: [{{id: w, wait: {{for: 1h}}}},
        {{id: f, wait_for: {{outcomes: [{{trigger: sign, since: {since}, where: event.total > 50, steps: [{{id: seen, exit: {{}}}}]}}], up_to: 1h}}}}]}}")
}

#[test]
fn t38_what_came_before_the_wait_counts_only_since_start_and_is_told_when_it_comes() {
    let script = "
        10:00 event go
        10:10 event sign total=50
        10:11 event sign
        10:12 event sign total=60
    ";
    assert_snapshot!(story(&since("start"), script), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:10    event sign of 2026-05-04T10:10:00Z
                 P1 sign at f does not act: condition_false (event.total = 50)
        10:11    event sign of 2026-05-04T10:11:00Z
                 P1 sign at f does not act: condition_error: event.total has no value
        10:12    event sign of 2026-05-04T10:12:00Z
                 P1 keeps sign for f (event.total = 60)
        11:00    P1 time is up at w
                 P1 at step f
                 P1 goes on from f: sign
                 P1 at step seen
                 P1 left j at seen: seen
    ");
    assert_snapshot!(story(&since("step"), script), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:10    event sign of 2026-05-04T10:10:00Z
        10:11    event sign of 2026-05-04T10:11:00Z
        10:12    event sign of 2026-05-04T10:12:00Z
        11:00    P1 time is up at w
                 P1 at step f
                 P1 waits at f until 2026-05-04T12:00:00Z
        12:00    P1 time is up at f
                 P1 left j at f: completed
    ");
}

#[test]
fn only_what_is_later_in_the_log_than_the_start_counts() {
    let journey =
        "{start: {trigger: sign}, steps: [{id: f, wait_for: {outcomes: [{trigger: sign, since: start}], up_to: 1h}}]}";
    assert_snapshot!(story(journey, "
        09:00 event sign
        11:30 event sign
    "), @"
        09:00    event sign of 2026-05-04T09:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step f
                 P1 waits at f until 2026-05-04T10:00:00Z
        10:00    P1 time is up at f
                 P1 left j at f: completed
        11:30    event sign of 2026-05-04T11:30:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step f
                 P2 waits at f until 2026-05-04T12:30:00Z
        12:30    P2 time is up at f
                 P2 left j at f: completed
    ");
}

/// Two waits since the start and two purchases before either: each gets one.
#[test]
fn the_second_early_event_is_for_the_second_wait() {
    let journey = "{start: {trigger: go}, steps: [{id: w, wait: {for: 1h}},
        {id: f, wait_for: {outcomes: [{trigger: sign, since: start}], up_to: 1h, otherwise: [{id: no, exit: {}}]}},
        {id: g, wait_for: {outcomes: [{trigger: sign, since: start}], up_to: 1h, otherwise: [{id: once, exit: {}}]}},
        {id: twice, exit: {}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go
        10:10 event sign
        10:20 event sign
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:10    event sign of 2026-05-04T10:10:00Z
                 P1 keeps sign for f
                 P1 keeps sign for g
        10:20    event sign of 2026-05-04T10:20:00Z
                 P1 keeps sign for f
                 P1 keeps sign for g
        11:00    P1 time is up at w
                 P1 at step f
                 P1 goes on from f: sign
                 P1 at step g
                 P1 goes on from g: sign
                 P1 at step twice
                 P1 left j at twice: twice
    ");
    assert_snapshot!(story(journey, "
        10:00 event go
        10:10 event sign
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:10    event sign of 2026-05-04T10:10:00Z
                 P1 keeps sign for f
                 P1 keeps sign for g
        11:00    P1 time is up at w
                 P1 at step f
                 P1 goes on from f: sign
                 P1 at step g
                 P1 waits at g until 2026-05-04T12:00:00Z
        12:00    P1 time is up at g
                 P1 at step once
                 P1 left j at once: once
    ");
}

#[test]
fn early_events_are_kept_up_to_a_bound_the_oldest_first() {
    let script: String = (0..18).map(|_| "10:10 event sign total=60\n").collect();
    let told = story(&since("start"), &format!("10:00 event go\n{script}"));
    assert_eq!(told.matches("P1 keeps sign for f (event.total = 60)").count(), 16);
    assert_eq!(told.matches("P1 sign at f does not act: full").count(), 2);
}

#[test]
fn t39_two_who_wait_for_one_event_both_get_it_once() {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: f, wait_for: {outcomes: [{trigger: sign}], up_to: 1h}},
        {id: g, wait_for: {outcomes: [{trigger: sign}], up_to: 1h}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go order=a
        10:00 event go order=b
        10:01 event sign
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step f
                 P1 waits at f until 2026-05-04T11:00:00Z
                 event go of 2026-05-04T10:00:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step f
                 P2 waits at f until 2026-05-04T11:00:00Z
        10:01    event sign of 2026-05-04T10:01:00Z
                 P1 goes on from f: sign
                 P1 at step g
                 P1 waits at g until 2026-05-04T11:01:00Z
                 P2 goes on from f: sign
                 P2 at step g
                 P2 waits at g until 2026-05-04T11:01:00Z
        11:01    P1 time is up at g
                 P1 left j at g: completed
                 P2 time is up at g
                 P2 left j at g: completed
    ");
}

#[test]
fn j6_an_event_of_another_order_acts_on_nobody_and_is_not_remembered() {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [
        {id: f, wait_for: {outcomes: [{trigger: halt}], up_to: 1h}},
        {id: b, branch: {when: [{if: has(trigger.halt.total) && trigger.halt.total > 5, steps: [{id: much, exit: {}}]}], otherwise: [{id: little, exit: {}}]}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go order=a
        10:01 event halt order=b total=9
        10:02 event halt order=a total=1
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step f
                 P1 waits at f until 2026-05-04T11:00:00Z
        10:01    event halt of 2026-05-04T10:01:00Z
                 P1 halt at f does not act: other_binding: it was started with order/a
        10:02    event halt of 2026-05-04T10:02:00Z
                 P1 goes on from f: halt
                 P1 at step b
                 P1 takes otherwise at b (trigger.halt.total = 1)
                 P1 at step little
                 P1 left j at little: little
    ");
    assert_snapshot!(story(journey, "
        10:00 event go order=a
        10:01 event halt order=b total=9
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step f
                 P1 waits at f until 2026-05-04T11:00:00Z
        10:01    event halt of 2026-05-04T10:01:00Z
                 P1 halt at f does not act: other_binding: it was started with order/a
        11:00    P1 time is up at f
                 P1 at step b
                 P1 takes otherwise at b (trigger.halt.total = null)
                 P1 at step little
                 P1 left j at little: little
    ");
}

#[test]
fn trigger_is_the_last_of_its_name_while_inside() {
    let journey = "{start: {trigger: go}, steps: [{id: w, wait: {for: 1h}}, {id: b, branch: {when: [{if: trigger.sign.total > 5, steps: [{id: much, exit: {}}]}],
        otherwise: [{id: little, exit: {}}]}}]}";
    assert_snapshot!(story(journey, "
        09:00 event sign total=9
        10:00 event go
        10:10 event sign total=9
        10:20 event sign total=1
    "), @"
        09:00    event sign of 2026-05-04T09:00:00Z
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:10    event sign of 2026-05-04T10:10:00Z
        10:20    event sign of 2026-05-04T10:20:00Z
        11:00    P1 time is up at w
                 P1 at step b
                 P1 takes otherwise at b (trigger.sign.total = 1)
                 P1 at step little
                 P1 left j at little: little
    ");
    assert_snapshot!(story(journey, "
        09:00 event sign total=9
        10:00 event go
    "), @"
        09:00    event sign of 2026-05-04T09:00:00Z
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:00    P1 time is up at w
                 P1 at step b
                 P1 failed at b: trigger.sign.total has no value
                 P1 parked at b: trigger.sign.total has no value
    ");
}

/// What the zone said when the wait began is kept as an instant: other rules for the zone, or another zone of the journey,
/// do not move it.
#[test]
fn t35_a_wait_is_kept_as_an_instant_and_not_as_a_rule() {
    let journey = |zone: &str| {
        format!("{{start: {{trigger: go}}, time_zone: {zone}, steps: [{{id: w, wait: {{until: {{time: '09:00'}}}}}}]}}")
    };
    let mut stage = stage(&journey("Europe/Berlin"));
    stage.play("10:00 event go");
    let nine_in_berlin = model::Timestamp::parse("2026-05-05T07:00:00Z").unwrap();
    assert_eq!(stage.profile.participants[0].timer.unwrap().fire_at, nine_in_berlin);
    stage.publish(&super::documents(&journey("Asia/Tokyo")));
    assert_snapshot!(stage.play_to_the_end("11:00 update plan=pro"), @"
        11:00    attributes changed: plan
        1d07:00  P1 time is up at w
                 P1 left j at w: completed
    ");
}
