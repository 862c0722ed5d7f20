//! Sends: planned, claimed, settled (S1, S4–S6).

use super::{stage, story};
use insta::assert_snapshot;

const ONE: &str =
    "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: m, send: {message: mail}}, {id: w, wait: {for: 1h}}]}";

#[test]
fn a_send_is_planned_granted_and_accepted_and_the_step_left_at_once() {
    assert_snapshot!(story(ONE, "
        10:00 event go
        10:00 claim m
        10:01 accept m
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    send m.1 accepted
                 email_sent of send m.1
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn t57_a_second_claim_is_never_granted_and_a_second_answer_finds_nobody() {
    assert_snapshot!(story(ONE, "
        10:00 event go
        10:00 claim m
        10:00 claim m
        10:01 accept m
        10:02 accept m
        10:03 reject m
        10:04 claim m
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 ignored: the effect is settled, cancelled or claimed already
        10:01    send m.1 accepted
                 email_sent of send m.1
        10:02    ignored: the effect is settled, cancelled or claimed already
        10:03    ignored: the effect is settled, cancelled or claimed already
        10:04    ignored: the effect is settled, cancelled or claimed already
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn s1_the_first_reason_against_it_is_told() {
    let journey = "{start: {trigger: go}, steps: [{id: m, send: {message: mail}}]}";
    assert_snapshot!(story(journey, "
        09:00 update email=null
        10:00 event go
        10:00 claim m no_channel
    "), @"
        09:00    attributes changed: email
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 left j at m: completed
                 send mail m.1 blocked: no_channel
                 email_blocked of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
    assert_snapshot!(story(journey, "
        09:00 update email=null
        10:00 event go
        10:00 claim m
    "), @"
        09:00    attributes changed: email
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 left j at m: completed
                 send mail m.1 blocked: no_address
                 email_blocked of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
    assert_snapshot!(story(journey, "
        09:00 update email=ada
        10:00 event go
        10:00 claim m
    "), @"
        09:00    attributes changed: email
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 left j at m: completed
                 send mail m.1 blocked: invalid_address
                 email_blocked of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
}

#[test]
fn an_address_is_her_attribute_else_an_identity_else_the_contact_point() {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: m, send: {message: mail}}]}";
    assert_snapshot!(story(journey, "
        09:00 update email=null
        10:00 event go contactpoint_email=point@x.org
        10:00 claim m
        10:01 event go @identity=email:identity@x.org
        10:01 claim m
        10:02 update email=attribute@x.org
        10:02 event go
        10:02 claim m
    "), @"
        09:00    attributes changed: email
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 left j at m: completed
                 send m.1 granted, attempt 1
                 => mail to point@x.org: Hello
        10:01    event go of 2026-05-04T10:01:00Z
                 identity email:identity@x.org linked
                 entered j v1 as P2 (entry 2)
                 P2 at step m
                 P2 plans send mail at m as m.2
                 P2 left j at m: completed
                 send m.2 granted, attempt 1
                 => mail to identity@x.org: Hello
        10:02    attributes changed: email
                 event go of 2026-05-04T10:02:00Z
                 entered j v1 as P3 (entry 3)
                 P3 at step m
                 P3 plans send mail at m as m.3
                 P3 left j at m: completed
                 send m.3 granted, attempt 1
                 => mail to attribute@x.org: Hello
    ");
}

/// In one batch `track` before `identify`: the send is planned before the address is known.
#[test]
fn the_address_is_looked_up_when_the_send_is_claimed() {
    assert_snapshot!(story(ONE, "
        09:00 update email=null
        10:00 event go
        10:00 update email=ada@new.example
        10:00 claim m
    "), @"
        09:00    attributes changed: email
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 attributes changed: email
                 send m.1 granted, attempt 1
                 => mail to ada@new.example: Hello
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn once_tried_it_goes_to_the_same_address_or_nowhere() {
    let deferred = "
        10:00 event go
        10:00 claim m
        10:00 defer m
        10:00 update email=ada@new.example
    ";
    assert_snapshot!(story(ONE, &format!("{deferred} 10:10 claim m")), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 deferred until 2026-05-04T10:00:30.146Z: busy
                 attributes changed: email
        10:10    send mail m.1 blocked: address_changed
                 email_blocked of send m.1
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
    // What was not tried was not sent: the new address may have it.
    let not_tried = deferred.replace("defer", "not_tried");
    assert_snapshot!(story(ONE, &format!("{not_tried} 10:10 claim m")), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 deferred until 2026-05-04T10:00:36.679Z: circuit_open
                 attributes changed: email
        10:10    send m.1 granted, attempt 1
                 => mail to ada@new.example: Hello
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn a_message_to_another_attribute_does_not_fall_back_to_her_own() {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: m, send: {message: to_work}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go @identity=email:identity@x.org
        10:00 claim m
        10:01 update work_email=ada@work.example
        10:01 event go
        10:01 claim m
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 identity email:identity@x.org linked
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send to_work at m as m.1
                 P1 left j at m: completed
                 send to_work m.1 blocked: no_address
                 email_blocked of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
        10:01    attributes changed: work_email
                 event go of 2026-05-04T10:01:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step m
                 P2 plans send to_work at m as m.2
                 P2 left j at m: completed
                 send m.2 granted, attempt 1
                 => to_work to ada@work.example: Work
    ");
}

#[test]
fn the_body_stays_as_it_was_when_the_send_was_planned() {
    let journey = "{start: {trigger: go}, steps: [{id: m, send: {message: greeting}}]}";
    assert_snapshot!(story(journey, "
        09:00 update first_name=Ada
        10:00 event go
        10:01 update first_name=Grace
        10:02 claim m
        10:02 defer m
        10:10 claim m
    "), @"
        09:00    attributes changed: first_name
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send greeting at m as m.1
                 P1 left j at m: completed
        10:01    attributes changed: first_name
        10:02    send m.1 granted, attempt 1
                 => greeting to ada@example.org: Hello Ada
                 send m.1 deferred until 2026-05-04T10:02:30.146Z: busy
        10:10    send m.1 granted, attempt 2
                 => greeting to ada@example.org: Hello Ada
    ");
}

#[test]
fn t62_a_variable_without_value_fails_the_send_step_as_its_policy_says() {
    let journey = |policy: &str| {
        format!(
            "{{start: {{trigger: go}}, steps: [{{id: m, send: {{message: greeting}}{policy}}}, {{id: x, exit: {{}}}}]}}"
        )
    };
    assert_snapshot!(story(&journey(""), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 failed at m: the message greeting has no value for profile.first_name
                 P1 at step x
                 P1 left j at x: x
    ");
    assert_snapshot!(story(&journey(", on_failure: exit"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 failed at m: the message greeting has no value for profile.first_name
                 P1 left j at m: failed
    ");
    assert_snapshot!(story(&journey(", on_failure: park"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 failed at m: the message greeting has no value for profile.first_name
                 P1 parked at m: the message greeting has no value for profile.first_name
    ");
}

fn policies(policies: &str) -> String {
    format!(
        "{{start: {{trigger: go}}, steps: [{{id: m, {policies}, send: {{message: mail}}}}, {{id: x, exit: {{}}}}]}}"
    )
}

#[test]
fn a_send_with_a_policy_is_left_when_it_is_settled() {
    let accepted = "10:00 event go\n10:00 claim m\n10:01 accept m";
    assert_snapshot!(story(&policies("on_failure: exit"), accepted), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    send m.1 accepted
                 P1 at step x
                 P1 left j at x: x
                 email_sent of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
    let unknown = "10:00 event go\n10:00 claim m\n10:01 unknown m";
    assert_snapshot!(story(&policies("on_failure: exit"), unknown), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    send m.1 unknown: time-out
                 P1 at step x
                 P1 left j at x: x
    ");
}

#[test]
fn on_failure_and_on_blocked_exit_park_or_go_on() {
    let rejected = "10:00 event go\n10:00 claim m\n10:01 reject m";
    assert_snapshot!(story(&policies("on_failure: exit"), rejected), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    send m.1 rejected: no such box
                 P1 left j at m: failed
                 email_failed of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
    assert_snapshot!(story(&policies("on_failure: park"), rejected), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    send m.1 rejected: no such box
                 P1 parked at m: no such box
                 email_failed of send m.1
    ");
    assert_snapshot!(story(&policies("on_blocked: exit"), rejected), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    send m.1 rejected: no such box
                 P1 at step x
                 P1 left j at x: x
                 email_failed of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
    let blocked = "09:00 update email=null\n10:00 event go\n10:00 claim m";
    assert_snapshot!(story(&policies("on_blocked: exit"), blocked), @"
        09:00    attributes changed: email
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 send mail m.1 blocked: no_address
                 P1 left j at m: blocked
                 email_blocked of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
    assert_snapshot!(story(&policies("on_blocked: park"), blocked), @"
        09:00    attributes changed: email
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 send mail m.1 blocked: no_address
                 P1 parked at m: no_address
                 email_blocked of send m.1
    ");
    assert_snapshot!(story(&policies("on_failure: exit"), blocked), @"
        09:00    attributes changed: email
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 send mail m.1 blocked: no_address
                 P1 at step x
                 P1 left j at x: x
                 email_blocked of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
}

#[test]
fn sent_blocked_and_failed_continue_a_journey() {
    let journey = "{start: {trigger: go}, steps: [{id: m, send: {message: mail}}, {id: f, wait_for: {outcomes: [
        {interaction: email_sent, of: m, steps: [{id: sent, exit: {}}]},
        {interaction: email_blocked, of: m, where: event.reason == 'no_address', steps: [{id: blocked, exit: {}}]},
        {interaction: email_failed, of: m, steps: [{id: failed, exit: {}}]}], up_to: 1h}}]}";
    assert_snapshot!(story(journey, "10:00 event go\n10:00 sent m"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step f
                 P1 waits at f until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 accepted
                 email_sent of send m.1
                 P1 goes on from f: email_sent
                 P1 at step sent
                 P1 left j at sent: sent
    ");
    assert_snapshot!(story(journey, "09:00 update email=null\n10:00 event go\n10:00 claim m"), @r#"
        09:00    attributes changed: email
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step f
                 P1 waits at f until 2026-05-04T11:00:00Z
                 send mail m.1 blocked: no_address
                 email_blocked of send m.1
                 P1 goes on from f: email_blocked (event.reason = "no_address")
                 P1 at step blocked
                 P1 left j at blocked: blocked
    "#);
    assert_snapshot!(story(journey, "10:00 event go\n10:00 claim m\n10:01 reject m"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step f
                 P1 waits at f until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
        10:01    send m.1 rejected: no such box
                 email_failed of send m.1
                 P1 goes on from f: email_failed
                 P1 at step failed
                 P1 left j at failed: failed
    ");
}

#[test]
fn s6_a_temporary_failure_backs_off_twice_as_long_each_time_and_gives_up_at_the_last() {
    let mut stage = stage("{start: {trigger: go}, steps: [{id: m, send: {message: mail}}]}");
    let mut told = stage.play("10:00 event go\n10:00 claim m\n10:00 defer m");
    for day in 1..12 {
        told += &stage.play(&format!("{day}d10:00 claim m\n{day}d10:00 defer m"));
    }
    let outcomes: Vec<&str> =
        told.lines().filter(|line| line.contains("deferred") || line.contains("rejected")).collect();
    assert_snapshot!(outcomes.join("\n"), @"
        send m.1 deferred until 2026-05-04T10:00:30.146Z: busy
        send m.1 deferred until 2026-05-05T10:01:14.062Z: busy
        send m.1 deferred until 2026-05-06T10:02:04.921Z: busy
        send m.1 deferred until 2026-05-07T10:04:03.046Z: busy
        send m.1 deferred until 2026-05-08T10:08:04.687Z: busy
        send m.1 deferred until 2026-05-09T10:17:15Z: busy
        send m.1 deferred until 2026-05-10T10:38:00Z: busy
        send m.1 deferred until 2026-05-11T11:19:56.25Z: busy
        send m.1 deferred until 2026-05-12T12:23:00Z: busy
        send m.1 deferred until 2026-05-13T14:48:16.875Z: busy
        send m.1 deferred until 2026-05-14T14:28:21.562Z: busy
        send m.1 rejected: given up after 12 attempts: busy
    ");
}

#[test]
fn s6_never_before_the_provider_allows() {
    assert_snapshot!(story(ONE, "
        10:00 event go
        10:00 claim m
        10:00 defer m 7200000
        10:00 event go order=b
        10:00 claim m.2
        10:00 defer m.2 1
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 deferred until 2026-05-04T12:00:00Z: busy
                 event go of 2026-05-04T10:00:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step m
                 P2 plans send mail at m as m.2
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:00:00Z
                 send m.2 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.2 deferred until 2026-05-04T10:00:33.955Z: busy
        11:00    P1 time is up at w
                 P1 left j at w: completed
                 P2 time is up at w
                 P2 left j at w: completed
    ");
}

#[test]
fn s6_an_open_circuit_costs_no_attempts() {
    let mut stage = stage("{start: {trigger: go}, steps: [{id: m, send: {message: mail}}]}");
    stage.limits.attempts_max = 2;
    let told = stage.play(
        "
        10:00 event go
        10:00 claim m
        10:00 not_tried m 1000
        10:10 claim m
        10:10 not_tried m 1000
        10:20 claim m
        10:20 not_tried m 1000
        10:30 claim m
        10:30 defer m
        10:40 claim m
        10:40 not_tried m
        10:50 claim m
        10:50 defer m
    ",
    );
    assert_snapshot!(told, @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step m
                 P1 plans send mail at m as m.1
                 P1 left j at m: completed
                 send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 deferred until 2026-05-04T10:00:36.679Z: circuit_open
        10:10    send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 deferred until 2026-05-04T10:10:36.679Z: circuit_open
        10:20    send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 deferred until 2026-05-04T10:20:36.679Z: circuit_open
        10:30    send m.1 granted, attempt 1
                 => mail to ada@example.org: Hello
                 send m.1 deferred until 2026-05-04T10:30:30.146Z: busy
        10:40    send m.1 granted, attempt 2
                 => mail to ada@example.org: Hello
                 send m.1 deferred until 2026-05-04T10:40:30.146Z: circuit_open
        10:50    send m.1 granted, attempt 2
                 => mail to ada@example.org: Hello
                 send m.1 rejected: given up after 2 attempts: busy
                 email_failed of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
    ");
}

#[test]
fn t55_an_unknown_send_is_held_and_never_tried_again_by_itself() {
    assert_snapshot!(story(ONE, "
        10:00 event go
        10:00 claim m
        10:01 unknown m
        10:30 claim m
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
        10:30    ignored: the effect is settled, cancelled or claimed already
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
    assert_snapshot!(story(ONE, "
        10:00 event go
        10:00 claim m
        10:01 unknown m
        10:30 accept m
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
        10:30    send m.1 accepted
                 email_sent of send m.1
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
}
