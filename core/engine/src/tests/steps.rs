//! What each kind of step does besides waiting and sending (J10, J11, J15, J16, design §5).

use super::{stage, story};
use insta::assert_snapshot;

#[test]
fn a_branch_takes_the_first_that_holds_else_otherwise_with_all_it_saw() {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: b, branch: {when: [
        {if: event.total > 50, steps: [{id: much, exit: {}}]},
        {if: event.total > 10, steps: [{id: some, exit: {}}]},
        {if: profile.plan == 'pro'}],
        otherwise: [{id: little, exit: {}}]}}, {id: behind, exit: {}}]}";
    assert_snapshot!(story(journey, "
        10:00 update plan=free
        10:00 event go total=60 order=a
        10:01 event go total=50 order=b
        10:02 event go total=5 order=c
        10:03 update plan=pro
        10:04 event go total=5 order=d
    "), @r#"
        10:00    attributes changed: plan
                 event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step b
                 P1 takes event.total > 50 at b (event.total = 60)
                 P1 at step much
                 P1 left j at much: much
        10:01    event go of 2026-05-04T10:01:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step b
                 P2 takes event.total > 10 at b (event.total = 50)
                 P2 at step some
                 P2 left j at some: some
        10:02    event go of 2026-05-04T10:02:00Z
                 entered j v1 as P3 (entry 3)
                 P3 at step b
                 P3 takes otherwise at b (event.total = 5, profile.plan = "free")
                 P3 at step little
                 P3 left j at little: little
        10:03    attributes changed: plan
        10:04    event go of 2026-05-04T10:04:00Z
                 entered j v1 as P4 (entry 4)
                 P4 at step b
                 P4 takes profile.plan == 'pro' at b (profile.plan = "pro")
                 P4 at step behind
                 P4 left j at behind: behind
    "#);
}

#[test]
fn a_branch_that_lacks_data_parks_and_an_exit_still_takes_the_parked() {
    let journey = "{start: {trigger: go}, exits: [{trigger: halt}], steps: [{id: b, branch: {when: [{if: profile.plan == 'pro'}]}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go
        10:01 event go
        10:02 event halt
        10:03 event go
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step b
                 P1 failed at b: profile.plan has no value
                 P1 parked at b: profile.plan has no value
        10:01    event go of 2026-05-04T10:01:00Z
                 not entered j v1: still_inside
        10:02    event halt of 2026-05-04T10:02:00Z
                 P1 left j at b: halt
        10:03    event go of 2026-05-04T10:03:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step b
                 P2 failed at b: profile.plan has no value
                 P2 parked at b: profile.plan has no value
    ");
}

#[test]
fn a_failed_step_follows_its_policy() {
    let journey = |policy: &str| {
        format!(
            "{{start: {{trigger: go}}, steps: [{{id: b, on_failure: {policy}, branch: {{when: [{{if: profile.plan == 'pro'}}]}}}}, {{id: x, exit: {{}}}}]}}"
        )
    };
    assert_snapshot!(story(&journey("continue"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step b
                 P1 failed at b: profile.plan has no value
                 P1 at step x
                 P1 left j at x: x
    ");
    assert_snapshot!(story(&journey("exit"), "10:00 event go"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step b
                 P1 failed at b: profile.plan has no value
                 P1 left j at b: failed
    ");
}

#[test]
fn update_maps_values_and_says_what_changed() {
    let journey = "{start: {trigger: go}, steps: [{id: u, update: {attributes: {last_order: {from: event.order}, plan: pro, gone: null}}}]}";
    assert_snapshot!(story(journey, "
        10:00 update gone=1
        10:00 event go order=a
        10:01 event go order=a
    "), @"
        10:00    attributes changed: gone
                 event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step u
                 P1 changes the profile at u: gone, last_order, plan
                 P1 left j at u: completed
        10:01    event go of 2026-05-04T10:01:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step u
                 P2 changes nothing of the profile at u
                 P2 left j at u: completed
    ");
}

#[test]
fn a_raise_carries_mapped_attributes_and_a_binding_and_settles_its_effect() {
    let journey = "{start: {trigger: go}, steps: [{id: r, raise: {trigger: pong, attributes: {number: {from: event.total}, note: hi}, binding_id: {from: event.order}}}]}";
    let other = "---\napiVersion: sojourn/v1\nkind: Journey\nmetadata: {name: k}\nspec: {start: {trigger: pong, where: event.note == 'hi' && event.number == 7}, exits: [{trigger: pong}], steps: [{id: w, wait: {for: 1h}}]}\n";
    let mut stage = super::Stage::new(&(super::documents(journey) + other));
    let told = stage.play("10:00 event go total=7 order=ping/1");
    assert_snapshot!(told, @r#"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step r
                 P1 raises pong at r
                 P1 left j at r: completed
                 event pong of 2026-05-04T10:00:00Z
                 entered k v1 as P2 (entry 1) (event.note = "hi", event.number = 7)
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:00:00Z
    "#);
    assert!(stage.profile.outbox.is_empty(), "the raise is settled by its event");
    let started = stage.profile.participants.last().unwrap();
    assert_eq!(started.binding_id.as_deref(), Some("ping/1"));
    assert_eq!(started.depth, 1);
}

#[test]
fn a_raise_that_does_not_fit_its_trigger_is_a_failed_step() {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: r, raise: {trigger: pong, attributes: {number: {from: profile.age}}}}]}";
    assert_snapshot!(story(journey, "
        10:00 update age=old
        10:00 event go
        10:01 update age=\"41\"
        10:02 event go
    "), @r#"
        10:00    attributes changed: age
                 event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step r
                 P1 failed at r: attribute `number`: expected a number, the text "old" came
                 P1 parked at r: attribute `number`: expected a number, the text "old" came
        10:01    attributes changed: age
        10:02    event go of 2026-05-04T10:02:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step r
                 P2 raises pong at r
                 P2 left j at r: completed
                 event pong of 2026-05-04T10:02:00Z
    "#);
}

#[test]
fn t18_a_journey_that_raises_its_own_start_ends_at_the_tenth() {
    let journey = "{start: {trigger: pong, repeat: {mode: always}}, steps: [{id: r, raise: {trigger: pong, attributes: {number: {from: event.number + 1}}}}]}";
    let told = story(journey, "10:00 event pong number=0");
    assert_eq!(told.matches("entered j v1").count(), 11);
    assert_eq!(told.matches("parked at r: raise_depth").count(), 1);
}

#[test]
fn t18_a_journey_that_raises_what_it_waits_for_ends_at_the_tenth_too() {
    let journey = "{start: {trigger: go}, steps: [{id: r, raise: {trigger: pong, attributes: {number: 1}}},
        {id: w, wait_for: {outcomes: [{trigger: pong, steps: [{id: again, go_to: r}]}], up_to: 1h}}]}";
    let told = story(journey, "10:00 event go");
    assert_eq!(told.matches("raises pong").count(), 10, "{told}");
    assert_eq!(told.matches("parked at r: raise_depth").count(), 1, "{told}");
}

#[test]
fn t18_also_when_the_event_comes_before_its_wait() {
    let journey = "{start: {trigger: go}, steps: [{id: r, raise: {trigger: pong, attributes: {number: 1}}}, {id: p, wait: {for: 1s}},
        {id: w, wait_for: {outcomes: [{trigger: pong, since: start, steps: [{id: again, go_to: r}]}], up_to: 1h}}]}";
    let told = story(journey, "10:00 event go");
    assert_eq!(told.matches("raises pong").count(), 10, "{told}");
    assert_eq!(told.matches("parked at r: raise_depth").count(), 1, "{told}");
}

#[test]
fn an_event_as_deep_as_may_be_starts_but_raises_no_more() {
    let journey = "{start: {trigger: go}, steps: [{id: r, on_failure: continue, raise: {trigger: pong, attributes: {number: 1}}}]}";
    assert_snapshot!(story(journey, "10:00 event go @depth=10"), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step r
                 P1 failed at r: raise_depth
                 P1 left j at r: completed
    ");
}

#[test]
fn go_to_visits_again_with_a_new_effect_and_the_latest_send_counts() {
    let journey = "{start: {trigger: go}, steps: [{id: m, send: {message: mail}},
        {id: f, wait_for: {outcomes: [{interaction: email_opened, of: m, steps: [{id: opened, exit: {}}]}], up_to: 1h, otherwise: [{id: again, go_to: m}]}}]}";
    assert_snapshot!(story(journey, "
        10:00 event go
        10:00 sent m
        11:30 open m.1
        11:31 open m.2
    "), @"
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
        11:00    P1 time is up at f
                 P1 at step again
                 P1 at step m
                 P1 plans send mail at m as m.2
                 P1 at step f
                 P1 waits at f until 2026-05-04T12:00:00Z
        11:30    email_opened of send m.1
                 noted: whom it was sent to has left the journey, or was sent a later one by the step
        11:31    email_opened of send m.2
                 P1 goes on from f: email_opened
                 P1 at step opened
                 P1 left j at opened: opened
    ");
}

#[test]
fn j15_more_than_a_thousand_steps_at_once_park_as_runaway_and_others_go_on() {
    let steps: String = (0..1_001).map(|at| format!("{{id: u{at}, update: {{attributes: {{at: {at}}}}}}},")).collect();
    let journey = format!("{{start: {{trigger: go}}, steps: [{steps}]}}");
    let other = "---\napiVersion: sojourn/v1\nkind: Journey\nmetadata: {name: k}\nspec: {start: {trigger: go}, steps: [{id: x, exit: {}}]}\n";
    let mut stage = super::Stage::new(&(super::documents(&journey) + other));
    let told = stage.play_to_the_end("10:00 event go");
    assert_eq!(told.matches("P1 at step").count(), 1_000);
    let last: Vec<&str> = told.lines().skip(2 + 2 * 1_000).collect();
    assert_snapshot!(last.join("\n"), @"
        P1 parked at u1000: runaway
        entered k v1 as P2 (entry 1)
        P2 at step x
        P2 left k at x: x
    ");
}

const SPLIT: &str = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: s, split: {arms: [
    {name: a, weight: 1, steps: [{id: x, exit: {}}]}, {name: none, weight: 0}, {name: b, weight: 3, steps: [{id: y, exit: {}}]}]}}]}";

/// Pinned: another answer for one of these would move people who are inside (trap T52).
#[test]
fn t52_the_arm_hangs_on_participant_and_step_alone() {
    let script: String = (0..12).map(|order| format!("10:00 event go order={order}\n")).collect();
    let arms = |told: String| -> String {
        told.lines()
            .filter_map(|line| line.split_once("falls into "))
            .map(|(_, arm)| arm.split(' ').next().unwrap().to_owned() + " ")
            .collect()
    };
    let first = arms(story(SPLIT, &script));
    assert_snapshot!(first, @"b b b a b a b a a b a b");
    assert_eq!(arms(story(SPLIT, &script)), first, "again the same");
    // A step of another name is another draw.
    let other = arms(story(&SPLIT.replace("id: s,", "id: other,"), &script));
    assert_ne!(other, first);
}

#[test]
fn a_split_spreads_by_weight_and_a_weight_of_nothing_gets_nobody() {
    let mut stage = stage(SPLIT);
    let script: String = (0..4_000).map(|order| format!("10:00 event go order={order}\n")).collect();
    let told = stage.play(&script);
    let (a, b) = (told.matches("falls into a ").count(), told.matches("falls into b ").count());
    assert_eq!(a + b, 4_000);
    assert!((900..1_100).contains(&a), "{a} of 4,000 at a weight of 1 to 3");
}

#[test]
fn t53_edited_weights_do_not_move_those_inside() {
    let journey = |a: u32, b: u32| {
        format!("{{start: {{trigger: go, repeat: {{mode: always}}}}, steps: [{{id: w, wait: {{for: 1h}}}}, {{id: s, split: {{arms: [
            {{name: a, weight: {a}}}, {{name: b, weight: {b}}}]}}}}]}}")
    };
    let mut stage = stage(&journey(1, 0));
    let mut told = stage.play("10:00 event go order=1");
    stage.publish(&super::documents(&journey(0, 1)));
    told += &stage.play_to_the_end("10:01 event go order=2");
    assert!(told.contains("P1 falls into a") && told.contains("P2 falls into b"), "{told}");
}
