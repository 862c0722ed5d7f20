//! Time: what fires when.

use crate::stage::{HOUR_MS, Stage, WAIT_ONCE, with_journey};
use model::Timestamp;
use processor::Input;

fn waiting() -> Stage {
    let mut stage = Stage::publishing(&with_journey(WAIT_ONCE));
    stage.event("ada", "begun");
    stage
}

#[test]
fn t36_an_exit_at_the_very_instant_of_the_timer_wins() {
    let mut stage = waiting();
    stage.now = stage.now.plus_ms(HOUR_MS);
    let item = stage.item("ada", "over");
    let ticket = stage.ticket();
    stage.turn(vec![Input::Submit { items: vec![item], ticket }]);
    stage.settle();
    assert_eq!((stage.ended("over"), stage.ended("completed")), (1, 0), "inputs go before timers in one turn (E12)");
}

#[test]
fn t43_a_clock_that_jumps_forward_and_back_fires_nothing_early_and_nothing_twice() {
    let mut stage = Stage::with(processor::Options { partitions: 1, ..crate::stage::options() });
    stage.publish(&with_journey(WAIT_ONCE));
    let began = stage.now;
    stage.event("first", "begun");
    stage.wait(30 * 60_000);
    stage.event("second", "begun");
    // Back by an hour: nothing fires, and the stamps do not go back.
    let stamped = stage.group().now();
    stage.now = began.plus_ms(-HOUR_MS);
    stage.settle();
    stage.event("third", "begun");
    assert_eq!(stage.group().now(), stamped);
    assert_eq!(stage.ended("completed"), 0);
    // Forward by hours: all of them, in the order they were due.
    stage.now = began.plus_ms(5 * HOUR_MS);
    stage.settle();
    let ends: Vec<Timestamp> = stage
        .disk
        .traces()
        .into_iter()
        .filter(|(_, _, entries)| entries.iter().any(|entry| entry.to_string().contains("completed")))
        .map(|(_, at, _)| at)
        .collect();
    assert_eq!(ends.len(), 3);
    let order: Vec<String> = fired(&stage);
    assert_eq!(order, ["first", "second", "third"]);
    stage.kill();
    stage.wait(24 * HOUR_MS);
    assert_eq!(stage.ended("completed"), 3, "nothing twice");
}

/// Whose participants ended, in the order of the log.
fn fired(stage: &Stage) -> Vec<String> {
    let entries = stage.disk.durable_entries();
    let ended: Vec<_> = stage
        .disk
        .traces()
        .into_iter()
        .filter(|(_, _, entries)| entries.iter().any(|entry| entry.to_string().contains("completed")))
        .map(|(lsn, _, _)| entries.iter().find(|entry| entry.lsn == lsn).unwrap().slot)
        .collect();
    // Slots are given out in the order in which people came.
    let mut slots = ended.clone();
    slots.sort();
    let names = ["first", "second", "third"];
    ended.iter().map(|slot| names[slots.iter().position(|held| held == slot).unwrap()].to_owned()).collect()
}

#[test]
fn t35_what_a_wait_was_fixed_to_is_the_same_after_a_restart() {
    let mut stage = waiting();
    let due = stage.group().next_timer_at();
    assert_eq!(due, Some(stage.now.plus_ms(HOUR_MS)));
    for clean in [true, false, true] {
        if clean {
            stage.restart()
        } else {
            stage.kill()
        }
        assert_eq!(stage.group().next_timer_at(), due);
    }
    stage.wait(HOUR_MS - 1);
    assert_eq!(stage.ended("completed"), 0);
    stage.wait(1);
    assert_eq!(stage.ended("completed"), 1);
}

#[test]
fn a_burst_of_timers_is_worked_off_in_slices_and_inputs_go_between() {
    let mut stage = Stage::with(processor::Options { timers_per_turn_max: 3, ..crate::stage::options() });
    stage.publish(&with_journey(WAIT_ONCE));
    for person in 0..20 {
        stage.event(&person.to_string(), "begun");
    }
    stage.now = stage.now.plus_ms(2 * HOUR_MS);
    stage.turn(Vec::new());
    assert!(stage.ended("completed") <= 3);
    // The last to be due leaves before her timer's turn comes.
    let item = stage.item("19", "over");
    let ticket = stage.ticket();
    stage.turn(vec![Input::Submit { items: vec![item], ticket }]);
    stage.settle();
    assert_eq!((stage.ended("completed"), stage.ended("over")), (19, 1));
}
