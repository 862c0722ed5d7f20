//! Events and updates as they come: duplicates, clocks, unknown names, identities, bounds (E1–E12, C3, C5).

use super::{stage, story};
use insta::assert_snapshot;

const WAITS: &str =
    "{start: {trigger: go, repeat: {mode: always}}, exits: [{trigger: halt}], steps: [{id: w, wait: {for: 1h}}]}";

#[test]
fn t03_the_same_id_from_the_same_source_counts_once() {
    assert_snapshot!(story(WAITS, "
        10:00 event go @id=1
        10:01 event go @id=1
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:01    event go of 2026-05-04T10:01:00Z
                 duplicate: this id was seen before
        11:00    P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn t04_the_same_id_from_another_source_is_another_event() {
    assert_snapshot!(story(WAITS, "
        10:00 event go @id=1
        10:01 event go @id=1 @source=app
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:01    event go of 2026-05-04T10:01:00Z
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:01:00Z
        11:00    P1 time is up at w
                 P1 left j at w: completed
        11:01    P2 time is up at w
                 P2 left j at w: completed
    ");
}

#[test]
fn t05_the_same_id_with_another_payload_is_a_conflict_and_the_first_holds() {
    let mut stage = stage(WAITS);
    assert_snapshot!(stage.play("
        10:00 event go order=a @id=1
        10:01 event go order=b @id=1
    "), @"
        10:00    event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:01    event go of 2026-05-04T10:01:00Z
                 duplicate: this id was seen before with another payload, the first holds
    ");
    assert_eq!(stage.profile.participants.len(), 1);
    assert_eq!(stage.profile.participants[0].binding_id.as_deref(), Some("order/a"));
}

#[test]
fn t06_an_id_counts_for_seven_days_of_the_log_and_512_ids() {
    let told = story(
        WAITS,
        "
        10:00 event sign @id=1
        7d10:00 event sign @id=1
        7d10:00:00.001 event sign @id=1
    ",
    );
    assert_snapshot!(told, @"
        10:00    event sign of 2026-05-04T10:00:00Z
        7d10:00  event sign of 2026-05-11T10:00:00Z
                 duplicate: this id was seen before
        7d10:00:00.001 event sign of 2026-05-11T10:00:00.001Z
    ");
    let ids: String = (1..=512).map(|id| format!("10:00 event sign @id={id}\n")).collect();
    let told = story(WAITS, &format!("10:00 event sign @id=0\n{ids}10:01 event sign @id=1\n10:01 event sign @id=0\n"));
    assert_eq!(told.matches("duplicate").count(), 1, "1 is the oldest held, 0 is gone");
}

#[test]
fn t07_what_is_sent_again_under_a_new_id_is_another_event() {
    assert_snapshot!(story(WAITS, "
        10:00 event go @id=anonymous @identity=anonymous_id:x @occurred=-60
        10:01 event go @id=identified @identity=user_id:42 @occurred=-120
    "), @"
        10:00    event go of 2026-05-04T09:59:00Z
                 identity anonymous_id:x linked
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:00Z
        10:01    event go of 2026-05-04T09:59:00Z
                 identity user_id:42 linked
                 entered j v1 as P2 (entry 2)
                 P2 at step w
                 P2 waits at w until 2026-05-04T11:01:00Z
        11:00    P1 time is up at w
                 P1 left j at w: completed
        11:01    P2 time is up at w
                 P2 left j at w: completed
    ");
}

#[test]
fn an_update_and_an_event_of_one_id_are_two() {
    assert_snapshot!(story(WAITS, "
        10:00 update plan=pro @id=1
        10:00 event sign @id=1
        10:01 update plan=pro @id=1
        10:01 update plan=free @id=1
    "), @"
        10:00    attributes changed: plan
                 event sign of 2026-05-04T10:00:00Z
        10:01    duplicate: this id was seen before
                 duplicate: this id was seen before with another payload, the first holds
    ");
}

#[test]
fn t08_log_order_decides_also_where_the_senders_clock_says_otherwise() {
    assert_snapshot!(story(WAITS, "
        10:00:05 event halt order=a
        10:00:06 event go order=a @occurred=-6
    "), @"
        10:00:05 event halt of 2026-05-04T10:00:05Z
        10:00:06 event go of 2026-05-04T10:00:00Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:00:06Z
        11:00:06 P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn t09_a_clock_ahead_is_taken_as_received() {
    assert_snapshot!(story(WAITS, "
        10:00 event sign @occurred=300
        10:01 event go @occurred=7200
    "), @"
        10:00    event sign of 2026-05-04T10:05:00Z
        10:01    event go of 2026-05-04T10:01:00Z
                 the sender's clock is 7200 s ahead, taken as received
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:01:00Z
        11:01    P1 time is up at w
                 P1 left j at w: completed
    ");
}

#[test]
fn t10_a_late_event_acts_on_nothing_unless_it_says_replay_as_live() {
    let journey = WAITS.replace("trigger: halt", "trigger: old_news");
    let mut stage = stage(&journey);
    assert_snapshot!(stage.play("
        10:00 event go @occurred=-86401
        10:01 event go @occurred=-86401 @live
        10:02 event old_news @occurred=-3601 contactpoint_email=old@x.org
        10:03 event old_news @occurred=-3600
    "), @"
        10:00    event go of 2026-05-03T09:59:59Z
                 late: 86401 s old when received, acts on nothing
        10:01    event go of 2026-05-03T10:00:59Z
                 entered j v1 as P1 (entry 1)
                 P1 at step w
                 P1 waits at w until 2026-05-04T11:01:00Z
        10:02    event old_news of 2026-05-04T09:01:59Z
                 late: 3601 s old when received, acts on nothing
        10:03    event old_news of 2026-05-04T09:03:00Z
                 P1 left j at w: old_news
    ");
    assert_eq!(stage.profile.contact_email, None, "a late event leaves no contact point");
}

#[test]
fn t13_an_unknown_name_is_kept_and_the_nearest_told_and_leaves_no_contact_point() {
    let mut stage = stage(WAITS);
    assert_snapshot!(stage.play("10:00 event hallt contactpoint_email=a@x.org"), @"
        10:00    event hallt of 2026-05-04T10:00:00Z
                 unmatched: no trigger is named hallt; the nearest is halt
    ");
    assert_eq!(stage.profile.contact_email, None);
}

#[test]
fn c3_events_of_a_draft_trigger_act_on_nothing() {
    assert_snapshot!(story(WAITS, "10:00 event planned"), @"
        10:00    event planned of 2026-05-04T10:00:00Z
                 the trigger planned is not ready, it acts on nothing
    ");
}

#[test]
fn c5_a_trigger_marks_the_person_and_contact_points_are_kept() {
    let mut stage = stage(WAITS);
    stage.play("10:00 event go contactpoint_email=a@x.org contactpoint_phone=\"+4915112345678\"\n10:01 event old_news");
    assert!(stage.profile.marks.contact && stage.profile.marks.lead);
    assert_eq!(stage.profile.contact_email.as_deref(), Some("a@x.org"));
    assert_eq!(stage.profile.contact_phone.as_deref(), Some("+4915112345678"));
}

#[test]
fn t17_an_update_that_changes_nothing_leaves_no_mark() {
    assert_snapshot!(story(WAITS, "
        10:00 update email=ada@example.org plan=pro
        10:01 update plan=pro gone=null
        10:02 update plan=null
    "), @"
        10:00    attributes changed: plan
        10:02    attributes changed: plan
    ");
}

#[test]
fn identities_are_linked_once_and_anothers_are_shown_as_conflicts() {
    let mut stage = stage(WAITS);
    assert_snapshot!(stage.play("
        10:00 update @created @identity=user_id:42 @identity=email:a@x.org
        10:01 event sign @identity=user_id:42 @conflict=email:b@x.org extra=1
    "), @"
        10:00    profile created
                 identity user_id:42 linked
                 identity email:a@x.org linked
        10:01    event sign of 2026-05-04T10:01:00Z
                 identity_conflict: email:b@x.org belongs to another profile and stays there
                 attributes the trigger does not declare: extra
    ");
    assert_eq!(stage.profile.conflicts.len(), 1);
}

#[test]
fn a_profile_holds_so_many_identities_and_no_more() {
    let mut stage = stage(WAITS);
    stage.limits.identities_max = 2;
    assert_snapshot!(stage.play("
        10:00 update @identity=user_id:1 @identity=anonymous_id:a @identity=anonymous_id:b
        10:01 update @conflict=anonymous_id:c @conflict=anonymous_id:d @conflict=anonymous_id:e
    "), @"
        10:00    identity user_id:1 linked
                 identity anonymous_id:a linked
                 identity anonymous_id:b is not shown, the profile has no room for it
        10:01    identity_conflict: anonymous_id:c belongs to another profile and stays there
                 identity_conflict: anonymous_id:d belongs to another profile and stays there
                 identity_conflict: anonymous_id:e belongs to another profile and stays there
    ");
    assert_eq!((stage.profile.identities.len(), stage.profile.conflicts.len()), (2, 2));
}

#[test]
fn a_profile_holds_so_many_attributes_and_bytes_and_the_old_ones_stay() {
    let mut stage = stage(WAITS);
    stage.profile.attributes = model::Attributes::new();
    (stage.limits.attributes_max, stage.limits.attributes_bytes_max) = (3, 36);
    assert_snapshot!(stage.play("
        10:00 update a=ten_bytes_ b=x
        10:01 update c=twenty_seven_bytes_and_no_room
        10:02 update c=1 d=1
        10:03 update a=null d=1
        10:04 update d=twenty_seven_bytes_and_no_room
        10:05 update b=y
    "), @"
        10:00    attributes changed: a, b
        10:01    attributes refused, the profile has no room for them: c
        10:02    attributes refused, the profile has no room for them: d
                 attributes changed: c
        10:03    attributes changed: a, d
        10:04    attributes refused, the profile has no room for them: d
        10:05    attributes changed: b
    ");
    let held: Vec<String> = stage.profile.attributes.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    assert_eq!(held, [r#"b=Text("y")"#, "c=Int(1)", "d=Int(1)"]);
}
