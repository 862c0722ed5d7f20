//! Who may enter: repeat modes, windows, conditions, and the order of one event (J1, J4, J5, J10).

use super::{documents, stage, story};
use insta::assert_snapshot;

fn waits(start: &str) -> String {
    format!("{{start: {{trigger: go{start}}}, exits: [{{trigger: halt}}], steps: [{{id: w, wait: {{for: 1h}}}}]}}")
}

#[test]
fn once_at_a_time_refuses_a_second_while_inside_and_leaves_the_timer_alone() {
    assert_snapshot!(story(&waits(""), "
        10:00 event go
        10:30 event go
        11:30 event go
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:30    event go of 2026-05-04T10:30:00Z
                 not entered j v1: still_inside
        11:00    P1 time is up at w
                 P1 left j at w: completed
        11:30    event go of 2026-05-04T11:30:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 waits at w until 2026-05-04T12:30:00Z
        12:30    P2 time is up at w
                 P2 left j at w: completed
    ");
}

#[test]
fn once_is_once_also_after_the_end_and_over_versions() {
    let mut stage = stage(&waits(", repeat: {mode: once}"));
    let first = stage.play_to_the_end("10:00 event go");
    stage.publish(&documents("{start: {trigger: go, repeat: {mode: once}}, steps: [{id: w, wait: {for: 2h}}]}"));
    let again = stage.play_to_the_end("1d10:00 event go");
    assert_snapshot!(first + &again, @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        11:00    P1 time is up at w
                 P1 left j at w: completed
        1d10:00  event go of 2026-05-05T10:00:00Z
                 not entered j v2: already_once
    ");
}

#[test]
fn restart_ends_the_first_and_cancels_what_it_planned() {
    let journey = "{start: {trigger: go, repeat: {mode: restart}}, steps: [{id: m, send: {message: mail}}, {id: w, wait: {for: 1h}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go
        10:30 event go
        10:30 claim m.1
        10:30 sent m
        11:10 stale
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:30    event go of 2026-05-04T10:30:00Z
                 send mail m.1 cancelled
                 P1 left j at w: restarted
                 entered j v1 as P2 (entry 2)
                 P2 at step m
                 P2 plans send mail at m as m.2
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:30:00Z
                 ignored: the effect is settled, cancelled or claimed already
                 send m.2 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.2 accepted
                 email_sent of send m.2
        11:10    ignored: the timer is no longer current
        11:30    P2 time is up at w
                 P2 left j at w: completed
    ");
}

#[test]
fn after_lets_the_next_in_when_the_delay_is_over_in_her_zone() {
    let mut stage = stage(&waits(", repeat: {mode: after, delay: 1d}"));
    // Summer time begins on 29 March: the calendar day has 23 hours.
    let told = stage.play(
        "
        2026-05-04T00:00:00Z update time_zone=Europe/Berlin
        2027-03-27T12:00:00Z event go
        2027-03-28T10:59:59Z event go
        2027-03-28T11:00:00Z event go
    ",
    );
    assert_snapshot!(told, @"
        00:00    attributes changed: time_zone
        2027-03-27T12:00:00Z event go of 2027-03-27T12:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2027-03-27T13:00:00Z
        2027-03-27T13:00:00Z P1 time is up at w
                 P1 left j at w: completed
        2027-03-28T10:59:59Z event go of 2027-03-28T10:59:59Z
                 not entered j v1: too_soon: not before 2027-03-28T11:00:00Z
        2027-03-28T11:00:00Z event go of 2027-03-28T11:00:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 waits at w until 2027-03-28T12:00:00Z
    ");
}

#[test]
fn always_enters_for_each_binding_and_refuses_one_of_someone_inside() {
    assert_snapshot!(story(&waits(", repeat: {mode: always}"), "
        10:00 event go order=a
        10:01 event go order=b
        10:02 event go order=b
        10:03 event go
        10:04 event go
        10:05 event halt order=a
        10:06 event go order=a
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:01    event go of 2026-05-04T10:01:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:01:00Z
        10:02    event go of 2026-05-04T10:02:00Z
                 not entered j v1: same_binding
        10:03    event go of 2026-05-04T10:03:00Z
                 entered j v1 as P3 (entry 3)
                 P3 at step w
                 P3 waits at w until 2026-05-04T11:03:00Z
        10:04    event go of 2026-05-04T10:04:00Z
                 entered j v1 as P4 (entry 4)
                 P4 at step w
                 P4 waits at w until 2026-05-04T11:04:00Z
        10:05    event halt of 2026-05-04T10:05:00Z
                 P2 exit halt does not act: other_binding: it was started with order/b
                 P1 left j at w: halt
                 P3 left j at w: halt
                 P4 left j at w: halt
        10:06    event go of 2026-05-04T10:06:00Z
                 entered j v1 as P5 (entry 5)
                 P5 at step w
                 P5 waits at w until 2026-05-04T11:06:00Z
        11:01    P2 time is up at w
                 P2 left j at w: completed
        11:06    P5 time is up at w
                 P5 left j at w: completed
    ");
}

#[test]
fn too_many_inside_are_refused_and_a_restart_makes_its_own_room() {
    let mut stage = stage(&waits(", repeat: {mode: always}"));
    stage.limits.participants_max = 2;
    let told = stage.play(
        "
        10:00 event go order=a
        10:00 event go order=b
        10:00 event go order=c
        10:01 event halt order=a
        10:02 event go order=c
    ",
    );
    assert_snapshot!(told, @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 event go of 2026-05-04T10:00:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:00:00Z
                 event go of 2026-05-04T10:00:00Z
                 not entered j v1: too_many_inside
        10:01    event halt of 2026-05-04T10:01:00Z
                 P2 exit halt does not act: other_binding: it was started with order/b
                 P1 left j at w: halt
        10:02    event go of 2026-05-04T10:02:00Z
                 entered j v1 as P3 (entry 3)
                 P3 at step w
                 P3 waits at w until 2026-05-04T11:02:00Z
    ");
}

/// One event of a loop in a client must not grow a profile without bound, nor take longer with everyone inside.
#[test]
fn as_many_as_may_be_inside_go_on_with_one_event() {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: f, wait_for: {outcomes: [{trigger: sign}], up_to: 1h}}, {id: w, wait: {for: 1h}}]}";
    let mut stage = stage(journey);
    let script: String = (0..1_100).map(|order| format!("10:00 event go order={order}\n")).collect();
    let told = stage.play(&script);
    assert_eq!(told.matches("too_many_inside").count(), 100);
    assert_eq!(stage.profile.participants.len(), 1_000);
    let told = stage.play("10:30 event sign");
    assert_eq!(told.matches("waits at w until 2026-05-04T11:30:00Z").count(), 1_000);
}

#[test]
fn t22_two_starts_with_one_stamp_are_one_entry_for_once() {
    assert_snapshot!(story(&waits(", repeat: {mode: once}"), "
        10:00 event go @id=1
        10:00 event go @id=2
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 event go of 2026-05-04T10:00:00Z
                 not entered j v1: already_once
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn a_start_window_opens_and_closes_entries_only() {
    let window = ", window: {from: '2026-05-04T10:00:00Z', to: '2026-05-04T11:00:00Z'}, repeat: {mode: always}";
    assert_snapshot!(story(&waits(window), "
        09:59:59.999 event go order=a
        10:00 event go order=b
        10:59:59.999 event go order=c
        11:00 event go order=d
    "), @"
        09:59:59.999 event go of 2026-05-04T09:59:59.999Z
                 not entered j v1: before_window
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:59:59.999 event go of 2026-05-04T10:59:59.999Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:59:59.999Z
        11:00    event go of 2026-05-04T11:00:00Z
                 not entered j v1: after_window
                 P1 time is up at w
                 P1 left j at w: completed
        11:59:59.999 P2 time is up at w
                 P2 left j at w: completed
    ");
}

#[test]
fn a_start_condition_says_what_it_saw_and_lacking_data_is_not_false() {
    assert_snapshot!(story(&waits(", where: event.total > 50 && profile.plan == 'pro'"), "
        10:00 event go total=80
        10:00 update plan=pro
        10:01 event go total=50
        10:02 event go
        10:03 event go total=80
    "), @r#"
        10:00    event go of 2026-05-04T10:00:00Z
                 not entered j v1: condition_error: profile.plan has no value
                 attributes changed: plan
        10:01    event go of 2026-05-04T10:01:00Z
                 not entered j v1: condition_false (event.total = 50, profile.plan = "pro")
        10:02    event go of 2026-05-04T10:02:00Z
                 not entered j v1: condition_error: event.total has no value
        10:03    event go of 2026-05-04T10:03:00Z
                 entered j v1 as P1 (entry 1) (event.total = 80, profile.plan = "pro")
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:03:00Z
        11:03    P1 time is up at w
                 P1 left j at w: completed
    "#);
}

#[test]
fn t24_an_exit_goes_before_a_continue_and_both_before_a_start() {
    let journey = "{start: {trigger: go}, exits: [{trigger: go, where: event.total > 50}],
        steps: [{id: f, wait_for: {outcomes: [{trigger: go}], up_to: 1h}}, {id: w, wait: {for: 5m}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go total=1
        10:01 event go total=1
        10:02 event go total=60
        10:03 event go total=1
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step f
                 P1 waits at f until 2026-05-04T11:00:00Z
        10:01    event go of 2026-05-04T10:01:00Z
                 P1 exit go does not act: condition_false (event.total = 1)
                 P1 goes on from f: go
                 P1 at step w
                 P1 waits at w until 2026-05-04T10:06:00Z
                 not entered j v1: still_inside
        10:02    event go of 2026-05-04T10:02:00Z
                 P1 left j at w: go (event.total = 60)
                 entered j v1 as P2 (entry 2)
                 P2 at step f
                 P2 waits at f until 2026-05-04T11:02:00Z
        10:03    event go of 2026-05-04T10:03:00Z
                 P2 exit go does not act: condition_false (event.total = 1)
                 P2 goes on from f: go
                 P2 at step w
                 P2 waits at w until 2026-05-04T10:08:00Z
                 not entered j v1: still_inside
        10:08    P2 time is up at w
                 P2 left j at w: completed
    ");
}

#[test]
fn j1_one_event_changes_the_profile_then_exits_goals_waits_starts() {
    let other = "---\napiVersion: sojourn/v1\nkind: Journey\nmetadata: {name: k}\nspec: {start: {trigger: go}, steps: [{id: f, wait_for: {outcomes: [{trigger: sign}], up_to: 1h}}]}\n
---\napiVersion: sojourn/v1\nkind: Journey\nmetadata: {name: l}\nspec: {start: {trigger: sign}, steps: [{id: x, exit: {}}]}\n";
    let journey = "{start: {trigger: go}, exits: [{trigger: sign}], goals: [{name: signed, trigger: sign}], steps: [{id: w, wait: {for: 1h}}]}";
    let mut stage = super::Stage::new(&(documents(journey) + other));
    let told = stage.play_to_the_end(
        "
        10:00 event go
        10:01 event sign @identity=email:a@x.org
    ",
    );
    assert_snapshot!(told, @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 entered k v1 as P2 (entry 1)
                 P2 at step f
                 P2 waits at f until 2026-05-04T11:00:00Z
        10:01    event sign of 2026-05-04T10:01:00Z
                 identity email:a@x.org linked
                 P1 left j at w: sign
                 goal signed of j reached
                 P2 goes on from f: sign
                 P2 left k at f: completed
                 entered l v1 as P3 (entry 1)
                 P3 at step x
                 P3 left l at x: x
    ");
}

#[test]
fn those_inside_stay_on_their_version_and_new_ones_take_the_new() {
    let mut stage = stage(&waits(", repeat: {mode: always}"));
    let first = stage.play("10:00 event go order=a");
    stage.publish(&documents(
        "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: quick, wait: {for: 10m}}, {id: x, exit: {reason: new}}]}",
    ));
    let then = stage.play_to_the_end(
        "
        10:05 event go order=b
        10:20 event halt order=b
    ",
    );
    assert_snapshot!(first + &then, @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:05    event go of 2026-05-04T10:05:00Z
                 entered j v2 as P2 (entry 2)
                 P2 at step quick
                 P2 waits at quick until 2026-05-04T10:15:00Z
        10:15    P2 time is up at quick
                 P2 at step x
                 P2 left j at x: new
        10:20    event halt of 2026-05-04T10:20:00Z
                 P1 exit halt does not act: other_binding: it was started with order/a
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
}
