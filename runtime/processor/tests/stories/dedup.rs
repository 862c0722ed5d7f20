//! Duplicates, identities and admission.

use crate::stage::{Stage, WAIT_ONCE, options, parse, with_journey};
use model::Text;
use processor::{Answer, Options};

#[test]
fn t03_t06_an_event_sent_twice_counts_once_also_over_a_restart_and_again_after_the_window() {
    let mut stage = Stage::publishing(&with_journey(WAIT_ONCE).replace("mode: once}", "mode: always}"));
    let item = stage.item_of(&["user_id:ada"], "begun", Some("e1"));
    for restart in [false, true, true] {
        let answer = stage.submit(vec![item.clone()]);
        assert!(matches!(answer, Answer::Stored { .. }), "the second answer is the first's");
        if restart {
            stage.kill();
            stage.restart();
        }
    }
    assert_eq!(stage.started(), 1);
    assert_eq!((stage.book("begun").matched, stage.book("begun").duplicate), (1, 2));
    // Another source's id is another id (trap T04).
    let processor::Item::Event { mut event, checked_with, unknown_attributes } = item else { panic!("an event") };
    event.source = "other".into();
    let other = processor::Item::Event { event, checked_with, unknown_attributes };
    stage.submit(vec![other]);
    assert_eq!(stage.started(), 2);
}

#[test]
fn t06_after_the_window_a_keyed_entry_is_still_the_same_one() {
    let mut stage = Stage::publishing(&with_journey(WAIT_ONCE));
    let item = |stage: &Stage| stage.item_of(&["user_id:ada"], "begun", Some("e1"));
    let first = item(&stage);
    stage.submit(vec![first]);
    for day in 0..9 {
        stage.wait(24 * crate::stage::HOUR_MS);
        let other = stage.item_of(&["user_id:ada"], "over", Some(&format!("d{day}")));
        stage.submit(vec![other]);
    }
    let again = item(&stage);
    stage.submit(vec![again]);
    assert_eq!(stage.book("begun").duplicate, 0, "the id is forgotten by now");
    assert_eq!(stage.started(), 1, "`once` is for ever, whatever the ids");
}

#[test]
fn ids_of_a_partition_take_no_more_than_their_bytes_and_the_window_says_so() {
    let mut stage = Stage::with(Options { partitions: 1, dedup_bytes_max: 28 * 10, ..options() });
    stage.publish(&with_journey(WAIT_ONCE));
    let whole = stage.group().dedup_window_held_ms();
    assert_eq!(whole, 7 * 24 * crate::stage::HOUR_MS);
    let item = stage.item_of(&["user_id:ada"], "over", Some("early"));
    stage.submit(vec![item.clone()]);
    for number in 0..12 {
        stage.wait(crate::stage::HOUR_MS);
        stage.event(&format!("p{number}"), "over");
    }
    let held = stage.group().dedup_window_held_ms();
    assert!(held < 13 * crate::stage::HOUR_MS, "{held}");
    stage.kill();
    assert_eq!(stage.group().dedup_window_held_ms(), held, "a replay counts as the first run did");
    stage.restart();
    assert_eq!(stage.group().dedup_window_held_ms(), held, "and a checkpoint keeps it");
}

#[test]
fn t11_one_who_sends_without_end_is_held_and_nobody_else_loses_anything() {
    let mut stage = Stage::with(Options { profile_rate_max: 10, ..options() });
    stage.publish(&with_journey(WAIT_ONCE));
    stage.event("loop", "over");
    let mut items = Vec::new();
    for number in 0..30 {
        items.push(stage.item_of(&["user_id:loop"], "over", Some(&format!("l{number}"))));
        if number % 3 == 0 {
            items.push(stage.item_of(&["user_id:quiet"], "over", Some(&format!("q{number}"))));
        }
    }
    let total = items.len();
    let Answer::Stored { refused, .. } = stage.submit(items.clone()) else { panic!("it was taken") };
    assert_eq!(refused.len(), 20, "ten are taken; the very first one was not counted, as she was not in memory");
    for (number, item) in items.iter().enumerate() {
        let processor::Item::Event { event, .. } = item else { panic!("an event") };
        let is_quiet = event.identities == [parse("user_id:quiet")];
        assert!(!(is_quiet && refused.contains(&number)), "item {number} is somebody else's");
    }
    let book = stage.book("over");
    assert_eq!(book.rejected, [(Text::from("profile_rate"), 20)]);
    assert_eq!(book.received(), 1 + total as u64, "every event is accounted for");
    assert_eq!(stage.group().counters().profile_rate, 20);
    // The next minute is a new one.
    stage.wait(60_000);
    let Answer::Stored { refused, .. } = stage.event("loop", "over") else { panic!("it was taken") };
    assert!(refused.is_empty());
}

#[test]
fn identities_are_tried_in_their_order_and_a_conflict_is_shown() {
    let mut stage = Stage::publishing(&with_journey(WAIT_ONCE));
    stage.know("ada");
    let mailed = stage.item_of(&["email:bob@example.org"], "over", None);
    stage.submit(vec![mailed]);
    // Sorted as the door does it: user_id decides, the address is somebody else's, the device is new.
    let mixed = stage.item_of(&["user_id:ada", "email:bob@example.org", "anonymous_id:phone"], "over", None);
    stage.submit(vec![mixed]);
    let ada = stage.profile("ada").profile;
    assert_eq!(ada.conflicts, [parse("email:bob@example.org")]);
    assert_eq!(ada.identities, [parse("user_id:ada"), parse("anonymous_id:phone")]);
    // What was linked leads to her from now on.
    let device = stage.item_of(&["anonymous_id:phone"], "begun", None);
    stage.submit(vec![device]);
    stage.restart();
    assert_eq!(stage.profile("ada").profile.participants.len(), 1);
}

#[test]
fn t22_two_starts_in_one_batch_make_one_entry() {
    let mut stage = Stage::publishing(&with_journey(WAIT_ONCE));
    let items = vec![stage.item("ada", "begun"), stage.item("ada", "begun")];
    stage.submit(items);
    assert_eq!(stage.started(), 1);
    let (one, other) = (stage.item("bob", "begun"), stage.item("bob", "begun"));
    let (first, second) = (stage.ticket(), stage.ticket());
    stage.turn(vec![
        processor::Input::Submit { items: vec![one], ticket: first },
        processor::Input::Submit { items: vec![other], ticket: second },
    ]);
    assert_eq!(stage.started(), 2, "one for each person");
    stage.kill();
    assert_eq!(stage.profile("bob").profile.participants.len(), 1);
}

#[test]
fn a_small_hot_set_forgets_nobody() {
    let mut stage = Stage::with(Options { hot_profiles_max: 4, ..options() });
    stage.publish(&with_journey(WAIT_ONCE));
    for round in 0..3 {
        for person in 0..40 {
            let person = person.to_string();
            if round == 0 {
                stage.know(&person);
                stage.event(&person, "begun");
            }
            assert_eq!(stage.profile(&person).profile.participants.len(), 1, "{person} in round {round}");
            if person.ends_with('7') {
                stage.checkpoint();
            }
        }
    }
    assert!(stage.group().hot_profiles() < 40, "nobody was let go: {}", stage.group().hot_profiles());
    stage.wait(2 * crate::stage::HOUR_MS);
    assert_eq!(stage.ended("completed"), 40);
}
