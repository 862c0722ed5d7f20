//! Publishing, over crashes too.

use crate::stage::{Stage, WAIT_ONCE, with_journey};
use engine::command::DocumentChange;
use processor::{Answer, ControlRequest, Input};

fn put(yaml: &str) -> Vec<DocumentChange> {
    model::document::read_documents(yaml).documents.into_iter().map(DocumentChange::Put).collect()
}

fn stopped() -> String {
    WAIT_ONCE.replace("spec:\n", "spec:\n  state: stopped\n")
}

#[test]
fn t26_events_before_a_publish_start_nothing_and_after_it_do() {
    let mut stage = Stage::new();
    stage.event("ada", "begun");
    stage.publish(&with_journey(WAIT_ONCE));
    stage.settle();
    assert_eq!(stage.started(), 0);
    assert_eq!(stage.book("begun").unmatched, 1);
    stage.event("ada", "begun");
    assert_eq!(stage.started(), 1);
    stage.kill();
    assert_eq!(stage.started(), 1);
}

#[test]
fn of_two_publishes_on_one_catalog_the_second_conflicts() {
    let mut stage = Stage::new();
    let request = |yaml: &str| ControlRequest::Documents {
        changes: put(yaml),
        expected: Some(model::CatalogVersion(0)),
        by: "test".into(),
    };
    let (first, second) = (stage.ticket(), stage.ticket());
    let yaml = with_journey(WAIT_ONCE);
    stage.turn(vec![
        Input::Control { request: request(&yaml), ticket: first },
        Input::Control { request: request(&yaml), ticket: second },
    ]);
    stage.settle();
    assert!(matches!(stage.answers[&first], Answer::Applied { .. }));
    assert!(matches!(stage.answers[&second], Answer::Conflict { version } if version.0 == 1));
}

#[test]
fn a_publish_that_not_all_partitions_had_heard_of_is_completed_by_the_next_start() {
    let mut stage = Stage::new();
    let request =
        ControlRequest::Documents { changes: put(&with_journey(WAIT_ONCE)), expected: None, by: "test".into() };
    let ticket = stage.ticket();
    // One turn: it is in the control partition's log and in no other.
    stage.turn(vec![Input::Control { request, ticket }]);
    assert!(stage.answers.is_empty(), "it is answered only when all apply it");
    stage.kill();
    stage.settle();
    for person in 0..12 {
        stage.event(&person.to_string(), "begun");
    }
    assert_eq!(stage.started(), 12, "every partition has it");
    stage.restart();
    assert_eq!(stage.group().catalog().version().0, 1);
}

#[test]
fn a_stop_that_a_crash_interrupted_ends_everyone() {
    let mut stage = Stage::publishing(&with_journey(WAIT_ONCE));
    for person in 0..12 {
        stage.event(&person.to_string(), "begun");
    }
    stage.checkpoint();
    let request = ControlRequest::Documents { changes: put(&stopped()), expected: None, by: "test".into() };
    let ticket = stage.ticket();
    stage.turn(vec![Input::Control { request, ticket }]);
    // The partitions hear of it, and have not ended anyone yet.
    stage.turn(Vec::new());
    assert_eq!(stage.ended("stopped"), 0);
    stage.kill();
    stage.settle();
    assert_eq!(stage.ended("stopped"), 12);
    stage.wait(2 * crate::stage::HOUR_MS);
    assert_eq!(stage.ended("completed"), 0);
}
