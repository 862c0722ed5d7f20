//! What a start finds, and what it refuses.

use crate::stage::{MAIL_AND_WAIT, Stage, WAIT_ONCE, open, options, with_journey};
use model::Lsn;
use ports::Keyspace;
use ports::memory::{Fault, Place};
use ports::rows::{self, InstallationRow};
use ports::state::State;
use processor::{Answer, Error, Known, Options};

fn installation(stage: &Stage) -> InstallationRow {
    let row = stage.disk.open_state().get(Keyspace::Meta, &rows::installation_key()).unwrap().expect("it is there");
    rows::decode_installation(&row).unwrap()
}

fn refused(stage: &Stage, options: Options) -> Error {
    match open(&stage.disk, options, &Known::default()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// As an older program with other rules would have left it.
fn written_under_rules(stage: &Stage, rules_version: u32) {
    let row = InstallationRow { rules_version, ..installation(stage) };
    stage.disk.open_state().write(vec![rows::installation_row(&row)]).unwrap();
}

#[test]
fn the_number_of_partitions_is_durable_before_the_first_record() {
    let mut stage = Stage::new();
    stage.know("ada");
    stage.group = None;
    stage.disk.crash(ports::memory::Survivors::default());
    let error = refused(&stage, Options { partitions: 2, ..options() });
    assert!(matches!(error, Error::Partitions { found: 4, wanted: 2 }), "{error}");
    stage.try_open(&Known::default()).unwrap();
    stage.profile("ada");
}

#[test]
fn a_program_with_new_rules_takes_its_own_tail_after_a_clean_upgrade() {
    let mut stage = Stage::publishing(&with_journey(WAIT_ONCE));
    stage.restart();
    written_under_rules(&stage, 77);
    stage.try_open(&Known::default()).unwrap();
    stage.event("ada", "begun");
    // Killed before its first checkpoint.
    stage.kill();
    assert_eq!(stage.profile("ada").profile.participants.len(), 1);
}

#[test]
fn a_tail_of_other_rules_is_refused_unless_told_otherwise() {
    let mut stage = Stage::publishing(&with_journey(WAIT_ONCE));
    stage.event("ada", "begun");
    stage.group = None;
    written_under_rules(&stage, 77);
    let error = refused(&stage, options());
    assert!(matches!(error, Error::RulesChanged { found: 77, .. }), "{error}");
    assert!(error.to_string().contains("--accept-rules-change"), "{error}");
    stage.options.accept_rules_change = true;
    stage.try_open(&Known::default()).unwrap();
    assert_eq!(stage.profile("ada").profile.participants.len(), 1);
}

#[test]
fn what_was_claimed_under_other_rules_is_not_handed_off_anew() {
    let mut stage = Stage::publishing(&with_journey(MAIL_AND_WAIT));
    stage.know("ada");
    stage.event("ada", "begun");
    let sent = stage.hand_offs.remove(0);
    stage.group = None;
    written_under_rules(&stage, 77);
    stage.options.accept_rules_change = true;
    stage.try_open(&Known::default()).unwrap();
    stage.settle();
    for _ in 0..30 {
        stage.wait(crate::stage::HOUR_MS);
    }
    assert!(stage.hand_offs.iter().all(|hand_off| hand_off.effect != sent.effect));
}

#[test]
fn a_log_that_ends_before_the_store_is_refused_with_both_places() {
    let mut stage = Stage::new();
    stage.know("ada");
    stage.know("bob");
    stage.restart();
    let position = stage.group().position();
    stage.group = None;
    let row = InstallationRow { checkpointed: Lsn(position.0 + 5), ..installation(&stage) };
    stage.disk.open_state().write(vec![rows::installation_row(&row)]).unwrap();
    let error = refused(&stage, options());
    assert!(
        matches!(error, Error::LogTooShort { log, store } if log == position && store.0 == position.0 + 5),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains(&position.to_string()) && text.contains("backup"), "{text}");
}

#[test]
fn a_clean_stop_replays_nothing() {
    let mut stage = Stage::publishing(&with_journey(MAIL_AND_WAIT));
    stage.know("ada");
    stage.event("ada", "begun");
    stage.accept_all();
    stage.restart();
    assert_eq!(stage.recovered.records_replayed, 0);
    assert_eq!(stage.recovered.timers, 1);
    stage.event("ada", "over");
    stage.kill();
    assert!(stage.recovered.records_replayed > 0);
}

#[test]
fn traces_that_could_not_be_written_are_made_again() {
    let mut stage = Stage::publishing(&with_journey(WAIT_ONCE));
    let wanted = {
        let mut undisturbed = Stage::publishing(&with_journey(WAIT_ONCE));
        undisturbed.event("ada", "begun");
        undisturbed.event("ada", "over");
        undisturbed.trace()
    };
    stage.faults.at(Place::AppendTraces, Fault::FailBefore, 2);
    stage.event("ada", "begun");
    assert!(stage.group().begin_checkpoint().is_none(), "what a checkpoint holds nobody makes again");
    stage.event("ada", "over");
    assert_eq!(stage.trace(), wanted, "written with the next that could be written");
    stage.checkpoint();
    assert_eq!(stage.group().checkpointed(), stage.group().position());
}

#[test]
fn traces_that_were_owed_at_a_crash_are_made_by_the_next_start_and_a_failure_then_is_no_reason_not_to_open() {
    let mut stage = Stage::publishing(&with_journey(WAIT_ONCE));
    stage.faults.at(Place::AppendTraces, Fault::FailBefore, 100);
    stage.event("ada", "begun");
    assert_eq!(stage.started(), 0);
    stage.group = None;
    stage.try_open(&Known::default()).unwrap();
    assert_eq!(stage.started(), 0);
    stage.faults.none();
    stage.event("ada", "over");
    assert_eq!((stage.started(), stage.ended("over")), (1, 1));
}

#[test]
fn t16_a_full_disk_loses_nothing_and_the_group_goes_on_when_there_is_room() {
    let mut stage = Stage::publishing(&with_journey(MAIL_AND_WAIT));
    stage.know("ada");
    stage.event("ada", "begun");
    let sent = std::mem::take(&mut stage.hand_offs);
    let position = stage.group().position();
    for place in [Place::Append, Place::CreateKey] {
        stage.faults.at(place, Fault::Full, 2);
        for attempt in 0..2 {
            // A new person, a claim and a due timer are staged and put back.
            let item = stage.item_of(&["user_id:new", "anonymous_id:n"], "begun", Some("new"));
            let ticket = stage.ticket();
            let items = vec![item];
            let failed = stage.try_turn(vec![processor::Input::Submit { items, ticket }]).expect_err("it is full");
            assert_eq!(failed.group, processor::After::Unchanged, "{place:?} {attempt}: {}", failed.error);
            assert_eq!(failed.tickets, [ticket]);
            assert_eq!(stage.group().position(), position);
        }
        stage.faults.none();
    }
    assert!(matches!(stage.event("new", "begun"), Answer::Stored { .. }));
    let ids: Vec<u64> = stage.disk.durable_entries().iter().map(|entry| entry.lsn.0).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "lsn without gaps: {ids:?}");
    stage.hand_offs.extend(sent);
    stage.accept_all();
    assert_eq!(stage.profile("new").profile.participants.len(), 1);
    let before = stage.profile("new").profile;
    stage.kill();
    assert_eq!(stage.profile("new").profile, before, "a replay finds the same");
}

#[test]
fn t16_what_a_turn_took_up_before_the_disk_was_full_is_done_later() {
    let mut stage = Stage::publishing(&with_journey(MAIL_AND_WAIT));
    stage.know("ada");
    let item = stage.item("ada", "begun");
    let ticket = stage.ticket();
    stage.turn(vec![processor::Input::Submit { items: vec![item], ticket }]);
    stage.now = stage.now.plus_ms(25 * crate::stage::HOUR_MS);
    // Now a claim waits and a timer is due.
    stage.faults.at(Place::Append, Fault::Full, 3);
    for _ in 0..3 {
        let failed = stage.try_turn(Vec::new()).expect_err("it is full");
        assert_eq!(failed.group, processor::After::Unchanged);
    }
    stage.settle();
    assert_eq!(stage.hand_offs.len(), 1);
    assert_eq!(stage.ended("completed"), 1);
    assert_eq!(stage.group().counters().timers_fired, 1);
}

#[test]
fn a_publish_that_found_no_room_is_not_published() {
    let mut stage = Stage::new();
    let documents = model::document::read_documents(&with_journey(WAIT_ONCE)).documents;
    let request = processor::ControlRequest::Documents {
        changes: documents.into_iter().map(engine::command::DocumentChange::Put).collect(),
        expected: None,
        by: "test".into(),
    };
    stage.faults.at(Place::Append, Fault::Full, 1);
    let ticket = stage.ticket();
    let input = processor::Input::Control { request, ticket };
    let failed = stage.try_turn(vec![input]).expect_err("it is full");
    assert_eq!(failed.tickets, [ticket]);
    assert_eq!(stage.group().catalog().version().0, 0);
    stage.publish(&with_journey(WAIT_ONCE));
    assert_eq!(stage.group().catalog().version().0, 1);
}
