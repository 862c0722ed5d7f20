//! Ends and goals (J3, J18).

use super::{stage, story};
use insta::assert_snapshot;
use model::Name;
use model::document::{DocumentId, Kind};

const SENDS: &str = "{start: {trigger: go, repeat: {mode: always}}, exits: [{trigger: halt, where: event.total > 5}], steps: [{id: m, send: {message: mail}}, {id: w, wait: {for: 1h}}]}";

#[test]
fn coming_to_the_end_cancels_nothing_the_last_mail_still_goes() {
    let journey = "{start: {trigger: go}, steps: [{id: m, send: {message: mail}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go
        10:01 sent m
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 left j at m: completed
        10:01    send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 accepted
                 email_sent of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
}

#[test]
fn an_exit_acts_at_once_and_cancels_what_is_planned() {
    assert_snapshot!(story(SENDS, "
        10:00 event go order=a
        10:00 event go order=b
        10:01 event halt order=a total=5
        10:02 event halt order=a
        10:03 event halt order=a total=6
        10:04 claim m.1
        10:04 sent m.2
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 event go of 2026-05-04T10:00:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step m
                 P2 plans send mail at m as m.2
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:00:00Z
        10:01    event halt of 2026-05-04T10:01:00Z
                 P1 exit halt does not act: condition_false (event.total = 5)
                 P2 exit halt does not act: other_binding: it was started with order/b
        10:02    event halt of 2026-05-04T10:02:00Z
                 P1 exit halt does not act: condition_error: event.total has no value
                 P2 exit halt does not act: other_binding: it was started with order/b
        10:03    event halt of 2026-05-04T10:03:00Z
                 P2 exit halt does not act: other_binding: it was started with order/b
                 send mail m.1 cancelled
                 P1 left j at w: halt (event.total = 6)
        10:04    ignored: the effect is settled, cancelled or claimed already
                 send m.2 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.2 accepted
                 email_sent of send m.2
        11:00    P2 time is up at w
                 P2 left j at w: completed
    ");
}

/// An exit while the mail is on its way: what the provider has is sent, what it turned away is not tried again.
#[test]
fn t54_after_an_exit_a_deferred_send_is_not_tried_again() {
    assert_snapshot!(story(SENDS, "
        10:00 event go
        10:00 claim m
        10:01 event halt total=6
        10:02 defer m
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    event halt of 2026-05-04T10:01:00Z
                 P1 left j at w: halt (event.total = 6)
        10:02    send m.1 not sent: busy
                 send mail m.1 cancelled
    ");
    assert_snapshot!(story(SENDS, "
        10:00 event go
        10:00 claim m
        10:01 event halt total=6
        10:02 accept m
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    event halt of 2026-05-04T10:01:00Z
                 P1 left j at w: halt (event.total = 6)
        10:02    send m.1 accepted
                 email_sent of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
    assert_snapshot!(story(SENDS, "
        10:00 event go
        10:00 claim m
        10:01 defer m
        10:02 event halt total=6
        10:03 stale
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    send m.1 deferred until 2026-05-04T10:01:30.146Z: busy
        10:02    event halt of 2026-05-04T10:02:00Z
                 send mail m.1 cancelled
                 P1 left j at w: halt (event.total = 6)
    ");
    assert_snapshot!(story(SENDS, "
        10:00 event go
        10:00 claim m
        10:01 unknown m
        10:02 event halt total=6
        10:03 not_tried m
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    send m.1 unknown: time-out
        10:02    event halt of 2026-05-04T10:02:00Z
                 P1 left j at w: halt (event.total = 6)
        10:03    send m.1 not sent: circuit_open
                 send mail m.1 cancelled
    ");
}

#[test]
fn a_stop_ends_everyone_and_cancels_what_is_planned() {
    assert_snapshot!(story(SENDS, "
        10:00 event go order=a
        10:00 event go order=b
        10:01 stop j
        10:02 claim m
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 event go of 2026-05-04T10:00:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step m
                 P2 plans send mail at m as m.2
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:00:00Z
        10:01    send mail m.1 cancelled
                 P1 left j at w: stopped
                 send mail m.2 cancelled
                 P2 left j at w: stopped
        10:02    ignored: the effect is settled, cancelled or claimed already
    ");
}

#[test]
fn t54_a_journey_stopped_between_planning_and_claim_blocks() {
    let mut stage = stage("{start: {trigger: go}, steps: [{id: m, send: {message: mail}}]}");
    let planned = stage.play("10:00 event go");
    stage.remove(DocumentId { kind: Kind::Journey, name: Name::new("j").unwrap() });
    assert_snapshot!(planned + &stage.play("10:01 claim m"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 left j at m: completed
        10:01    send mail m.1 blocked: journey_stopped
                 email_blocked of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
}

#[test]
fn an_exit_step_says_why_and_a_reason_is_its_id_by_default() {
    let journey = |reason: &str| format!("{{start: {{trigger: go}}, steps: [{{id: x, exit: {{{reason}}}}}]}}");
    assert_snapshot!(story(&journey(""), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step x
                 P1 left j at x: x
    ");
    assert_snapshot!(story(&journey("reason: engaged"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step x
                 P1 left j at x: engaged
    ");
}

const GOALS: &str = "{start: {trigger: go, repeat: {mode: always}}, exits: [{trigger: halt}],
    goals: [{name: bought, trigger: halt, where: event.total > 50}], steps: [{id: w, wait: {for: 1h}}]}";

#[test]
fn a_goal_counts_once_with_what_it_saw_and_a_false_one_is_told() {
    assert_snapshot!(story(GOALS, "
        10:00 event go order=a
        10:01 event halt order=a total=50
        10:02 event go order=b
        10:03 event halt order=b total=51
        10:04 event halt order=b total=52
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:01    event halt of 2026-05-04T10:01:00Z
                 P1 left j at w: halt
                 P1 goal bought does not act: condition_false (event.total = 50)
        10:02    event go of 2026-05-04T10:02:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:02:00Z
        10:03    event halt of 2026-05-04T10:03:00Z
                 P2 left j at w: halt
                 goal bought of j reached (event.total = 51)
        10:04    event halt of 2026-05-04T10:04:00Z
    ");
}

#[test]
fn a_goal_counts_for_three_days_after_the_end_and_no_longer() {
    assert_snapshot!(story(GOALS, "
        10:00 event go
        3d11:00 event halt total=51
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:00    P1 time is up at w
                 P1 left j at w: completed
        3d11:00  event halt of 2026-05-07T11:00:00Z
                 goal bought of j reached (event.total = 51)
    ");
    assert_snapshot!(story(GOALS, "
        10:00 event go
        3d11:00:00.001 event halt total=51
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:00    P1 time is up at w
                 P1 left j at w: completed
        3d11:00:00.001 event halt of 2026-05-07T11:00:00.001Z
    ");
}

#[test]
fn a_goal_that_lacks_data_is_told_and_one_of_a_journey_never_entered_counts_for_nobody() {
    assert_snapshot!(story(GOALS, "
        09:00 event halt total=51
        10:00 event go
        10:01 event halt
    "), @"
        09:00    event halt of 2026-05-04T09:00:00Z
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:01    event halt of 2026-05-04T10:01:00Z
                 P1 left j at w: halt
                 P1 goal bought does not act: condition_error: event.total has no value
    ");
}

/// The exit on the same event goes first (J1), and the goal still sees what the participant knew.
#[test]
fn a_goal_on_the_event_of_an_exit_sees_the_participant_as_it_was() {
    let journey = "{start: {trigger: go}, exits: [{trigger: halt}], goals: [{name: bought, trigger: halt, where: trigger.sign.total > 50}],
        steps: [{id: w, wait: {for: 1h}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go
        10:01 event sign total=51
        10:02 event halt
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:01    event sign of 2026-05-04T10:01:00Z
        10:02    event halt of 2026-05-04T10:02:00Z
                 P1 left j at w: halt
                 goal bought of j reached (trigger.sign.total = 51)
    ");
}
