//! Writes that fail: what was acknowledged is there, what was not may be sent again.

use crate::stage::{MAIL_AND_WAIT, Stage, with_journey};
use ports::memory::{Fault, Place};
use processor::{After, Input, Known};

#[test]
fn after_any_failed_write_the_state_is_that_of_an_undisturbed_run() {
    let undisturbed = {
        let mut stage = Stage::publishing(&with_journey(MAIL_AND_WAIT));
        stage.know("ada");
        stage.event("ada", "begun");
        stage.accept_all();
        stage.profile("ada").profile
    };
    for place in [Place::Append, Place::BeginSync, Place::FinishSync] {
        for fault in [Fault::FailBefore, Fault::FailAfter] {
            let mut stage = Stage::publishing(&with_journey(MAIL_AND_WAIT));
            stage.know("ada");
            let item = stage.item("ada", "begun");
            let ticket = stage.ticket();
            stage.faults.at(place, fault, 1);
            let submit = |ticket| Input::Submit { items: vec![item.clone()], ticket };
            let failed = stage.try_turn(vec![submit(ticket)]).expect_err("it fails");
            assert_eq!((failed.group, failed.tickets), (After::Unusable, vec![ticket]));
            stage.try_open(&Known::default()).unwrap();
            // The sender heard that nothing was stored, and sends again.
            stage.turn(vec![submit(ticket)]);
            stage.settle();
            stage.accept_all();
            let found = stage.profile("ada").profile;
            assert_eq!(found.participants.len(), undisturbed.participants.len(), "{place:?} {fault:?}");
            assert_eq!(found.dedup.keys, undisturbed.dedup.keys, "{place:?} {fault:?}");
            assert_eq!(stage.started(), 1);
        }
    }
}
