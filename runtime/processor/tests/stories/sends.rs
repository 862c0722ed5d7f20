//! Claims, hand-offs and what becomes of them.

use crate::stage::{MAIL_AND_WAIT, Stage, accepted, options, settled, with_journey};
use engine::state::OutboxState;
use model::send::Settlement;
use ports::memory::{Fault, Place};
use processor::{ChannelPolicy, Known};

fn stage() -> Stage {
    Stage::publishing(&with_journey(MAIL_AND_WAIT))
}

/// With people 0.. who have an address and have begun.
fn begun(people: usize) -> Stage {
    let mut stage = stage();
    for person in 0..people {
        stage.know(&person.to_string());
        stage.event(&person.to_string(), "begun");
    }
    stage
}

#[test]
fn a_send_cancelled_between_claim_and_checkpoint_gives_its_room_back() {
    let mut stage = begun(3);
    assert_eq!(stage.hand_offs.len(), 3, "the channel takes three at once");
    // More than the channel takes at once, each cancelled while it waits, over checkpoints.
    for person in 10..20 {
        let person = person.to_string();
        stage.know(&person);
        stage.event(&person, "begun");
        stage.checkpoint();
        stage.event(&person, "over");
        stage.checkpoint();
    }
    assert_eq!(stage.ended("over"), 10);
    stage.accept_all();
    stage.know("last");
    stage.event("last", "begun");
    assert_eq!(stage.hand_offs.len(), 1, "the channel stands still");
}

#[test]
fn t54_a_send_whose_journey_is_left_between_planning_and_claim_is_not_handed_off() {
    let mut stage = begun(3);
    stage.know("4");
    stage.event("4", "begun");
    assert_eq!(stage.hand_offs.len(), 3);
    stage.event("4", "over");
    stage.accept_all();
    let sends = stage.sends();
    assert_eq!(sends.iter().filter(|send| send.contains("Accepted")).count(), 3);
    assert_eq!(sends.iter().filter(|send| send.contains("Cancelled")).count(), 1, "{sends:?}");
    stage.restart();
    stage.settle();
    assert!(stage.hand_offs.is_empty(), "a restart hands a cancelled send off");
}

#[test]
fn t55_an_unknown_send_is_never_tried_again_unless_the_channel_says_so() {
    for retry_unknown in [false, true] {
        let policy = ChannelPolicy { in_flight_max: 3, retry_unknown };
        let mut stage = Stage::with(processor::Options { channels: [("email".into(), policy)].into(), ..options() });
        stage.publish(&with_journey(MAIL_AND_WAIT));
        stage.know("ada");
        stage.event("ada", "begun");
        let sent = stage.hand_offs.remove(0);
        stage.kill();
        stage.wait(0);
        for _ in 0..10 {
            stage.wait(2 * crate::stage::HOUR_MS);
        }
        let again = stage.hand_offs.iter().filter(|hand_off| hand_off.effect == sent.effect).count();
        assert_eq!(again, usize::from(retry_unknown), "{:?}", stage.sends());
        if !retry_unknown {
            assert_eq!(stage.outbox("ada"), [OutboxState::Unknown]);
        }
    }
}

#[test]
fn t55_a_time_out_is_unknown_and_stays_so_for_ever() {
    let mut stage = begun(1);
    let sent = stage.hand_offs.remove(0);
    stage.turn(vec![settled(sent.profile, sent.effect, Settlement::Unknown { reason: "time-out".into() })]);
    for _ in 0..5 {
        stage.wait(2 * crate::stage::HOUR_MS);
        stage.restart();
    }
    assert!(stage.hand_offs.is_empty());
    assert_eq!(stage.sends(), ["mail Unknown { reason: \"time-out\" }"]);
    // What the provider says later is heard.
    stage.turn(vec![accepted(&sent)]);
    assert_eq!(stage.sends(), ["mail Accepted { provider_id: None }"]);
}

#[test]
fn t56_what_was_handed_off_when_the_process_died_is_unknown_and_shown() {
    let mut stage = begun(1);
    stage.kill();
    stage.settle();
    assert!(stage.hand_offs.is_empty(), "it is not handed off again");
    let sends = stage.sends();
    assert_eq!(sends, ["mail Unknown { reason: \"the process ended between hand-off and answer\" }"]);
}

#[test]
fn t57_a_send_is_claimed_once_over_every_order_of_checkpoint_and_crash() {
    for (checkpoint_before, checkpoint_after) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut stage = stage();
        stage.know("ada");
        if checkpoint_before {
            stage.checkpoint();
        }
        stage.event("ada", "begun");
        let mut effects: Vec<_> = stage.hand_offs.iter().map(|hand_off| hand_off.effect).collect();
        if checkpoint_after {
            stage.checkpoint();
        }
        for _ in 0..3 {
            stage.kill();
            stage.settle();
            effects.extend(stage.hand_offs.iter().map(|hand_off| hand_off.effect));
        }
        assert_eq!(effects.len(), 1, "handed off once: checkpoints {checkpoint_before} {checkpoint_after}");
    }
}

#[test]
fn an_answer_that_comes_after_a_failure_of_storage_is_heard() {
    let mut stage = begun(3);
    let sent = stage.hand_offs.clone();
    let known = Known { under_way: sent.iter().map(|hand_off| hand_off.effect).collect(), ..Known::default() };
    stage.try_open(&known).unwrap();
    stage.settle();
    assert!(stage.sends().iter().all(|send| send.contains("HandedOff")), "{:?}", stage.sends());
    // Their room is still taken.
    stage.know("more");
    stage.event("more", "begun");
    assert_eq!(stage.hand_offs.len(), 3, "nothing new is handed off");
    stage.hand_offs = sent;
    stage.accept_all();
    assert!(stage.sends().iter().all(|send| send.contains("Accepted")), "{:?}", stage.sends());
}

#[test]
fn what_was_claimed_in_a_failed_turn_was_never_handed_off_and_is_tried_again() {
    let mut stage = stage();
    stage.know("ada");
    let begun = stage.item("ada", "begun");
    let ticket = stage.ticket();
    stage.turn(vec![processor::Input::Submit { items: vec![begun], ticket }]);
    // The next turn appends the claim; its sync is done and says that it failed.
    stage.faults.at(Place::FinishSync, Fault::FailAfter, 1);
    let failed = stage.try_turn(Vec::new()).expect_err("the sync fails");
    assert_eq!(failed.withheld.len(), 1);
    assert_eq!(failed.group, processor::After::Unusable);
    let known = Known { withheld: failed.withheld.into_iter().collect(), ..Known::default() };
    stage.try_open(&known).unwrap();
    stage.settle();
    stage.wait(crate::stage::HOUR_MS);
    assert_eq!(stage.hand_offs.len(), 1, "{:?}", stage.sends());
}
