//! A partition that broke an invariant, and the others.

use crate::stage::{MAIL_AND_WAIT, Stage, TestGroup, accepted, with_journey};
use engine::Profile;
use model::{Lsn, PartitionId};
use ports::state::State;
use ports::{Keyspace, Row, codec, rows};
use processor::{Answer, Input, Known, doctor};

/// People of whom one breaks her partition and one shares it, and one who lives elsewhere.
struct Poisoned {
    stage: Stage,
    /// Whose profile will not be applied.
    broken: String,
    neighbour: String,
    elsewhere: String,
}

fn rewrite(stage: &mut Stage, person: &str, change: impl FnOnce(&mut Profile)) {
    let mut profile = Profile::clone(&stage.profile(person).profile);
    stage.checkpoint();
    change(&mut profile);
    let mut value = Vec::new();
    codec::encode_profile(&profile, &mut value);
    put(stage, &profile, value);
}

fn put(stage: &mut Stage, profile: &Profile, value: Vec<u8>) {
    let key = rows::profile_key(stage.partition_of(profile.id), profile.id).to_vec();
    stage.disk.open_state().write(vec![Row { keyspace: Keyspace::Subjects, key, value: Some(value) }]).unwrap();
    stage.kill();
}

fn people() -> Poisoned {
    let mut stage = Stage::publishing(&with_journey(MAIL_AND_WAIT));
    stage.know("broken");
    let broken = stage.profile("broken").profile.id;
    let (mut neighbour, mut elsewhere) = (None, None);
    for number in 0..100 {
        let person = format!("p{number}");
        stage.know(&person);
        let profile = stage.profile(&person).profile.id;
        let identity_is_with_it = true;
        if stage.partition_of(profile) == stage.partition_of(broken) && identity_is_with_it {
            neighbour.get_or_insert(person);
        } else {
            elsewhere.get_or_insert(person);
        }
    }
    let (neighbour, elsewhere) = (neighbour.unwrap(), elsewhere.unwrap());
    Poisoned { stage, broken: "broken".into(), neighbour, elsewhere }
}

impl Poisoned {
    /// Her participant stands at a step that its version does not have: applying anything to it panics.
    fn break_her(&mut self) {
        self.stage.event(&self.broken, "begun");
        self.stage.accept_all();
        rewrite(&mut self.stage, &self.broken, |profile| profile.participants[0].step = catalog::StepIndex(999));
    }

    fn poison(&mut self) -> Lsn {
        let item = self.stage.item(&self.broken, "over");
        let answer = self.stage.submit(vec![item]);
        assert!(matches!(answer, Answer::Stored { .. }), "it is in the log: {answer:?}");
        stopped_at(self.stage.group())
    }
}

fn stopped_at(group: &mut TestGroup) -> Lsn {
    let stopped: Vec<Lsn> = group.stopped().map(|(_, stopped)| stopped.lsn).collect();
    assert_eq!(stopped.len(), 1, "one partition is stopped");
    stopped[0]
}

fn is_unavailable(answer: &Answer) -> bool {
    matches!(answer, Answer::Unavailable { .. })
}

#[test]
fn a_poisoned_partition_stays_stopped_over_restarts_while_the_others_run() {
    let mut people = people();
    people.break_her();
    let lsn = people.poison();
    for _ in 0..3 {
        let Poisoned { stage, broken, neighbour, elsewhere } = &mut people;
        assert!(is_unavailable(&stage.event(broken, "begun")));
        assert!(is_unavailable(&stage.event(neighbour, "begun")));
        assert!(matches!(stage.event(elsewhere, "begun"), Answer::Stored { .. }));
        assert!(is_unavailable(&stage.read(neighbour)), "half-applied state is not shown");
        assert!(matches!(stage.read(elsewhere), Answer::Profile(Some(_))));
        stage.restart();
        assert_eq!(stopped_at(stage.group()), lsn);
    }
}

#[test]
fn what_a_partition_applied_since_its_last_cut_is_there_after_the_skip() {
    let mut people = people();
    people.break_her();
    people.stage.checkpoint();
    // Applied, acknowledged, and in no checkpoint when the partition breaks.
    let neighbour = people.neighbour.clone();
    assert!(matches!(people.stage.event(&neighbour, "begun"), Answer::Stored { .. }));
    let begun_at = people.stage.group().position();
    let lsn = people.poison();
    // Others go on, and checkpoints are made.
    for _ in 0..3 {
        let elsewhere = people.elsewhere.clone();
        people.stage.event(&elsewhere, "begun");
        people.stage.checkpoint();
    }
    assert!(people.stage.disk.released() < begun_at, "the log that the partition still needs was given up");
    people.stage.kill();
    people.stage.group = None;
    let state = people.stage.disk.open_state();
    let listed = doctor::list(&state).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].1.lsn, lsn);
    let id = listed[0].0;
    let refused = doctor::skip(&state, id, Lsn(lsn.0 + 1)).unwrap_err().to_string();
    assert!(refused.contains(&format!("stopped at record {lsn}")), "{refused}");
    assert!(doctor::skip(&state, PartitionId(99), lsn).is_err());
    doctor::skip(&state, id, lsn).unwrap();
    assert!(doctor::list(&state).unwrap().is_empty());
    assert!(matches!(doctor::skip(&state, id, lsn), Err(doctor::Error::Running { .. })));

    people.stage.kill();
    people.stage.settle();
    assert_eq!(people.stage.group().stopped().count(), 0);
    let read = people.stage.profile(&neighbour);
    assert_eq!(read.profile.participants.len(), 1, "what was acknowledged is applied");
    // The record that broke it was passed over, also by the next starts.
    people.stage.restart();
    assert_eq!(people.stage.group().stopped().count(), 0);
    let broken = people.broken.clone();
    assert_eq!(people.stage.profile(&broken).profile.participants.len(), 1);
}

#[test]
fn what_a_provider_says_of_a_stopped_partition_is_kept_until_it_runs_again() {
    let mut people = people();
    people.break_her();
    let neighbour = people.neighbour.clone();
    people.stage.event(&neighbour, "begun");
    let sent = people.stage.hand_offs.pop().unwrap();
    let lsn = people.poison();
    people.stage.turn(vec![accepted(&sent)]);
    let clicked = people.stage.interaction(&sent, "email_opened");
    assert!(is_unavailable(&clicked), "an interaction that is not stored says so: {clicked:?}");
    people.stage.restart();
    assert!(people.stage.hand_offs.is_empty(), "a stopped partition hands nothing off");
    people.stage.group = None;
    let state = people.stage.disk.open_state();
    let (id, _) = doctor::list(&state).unwrap().remove(0);
    doctor::skip(&state, id, lsn).unwrap();
    people.stage.kill();
    people.stage.settle();
    let sends = people.stage.sends();
    assert!(sends.iter().all(|send| send.contains("Accepted")), "{sends:?}");
}

#[test]
fn a_stopped_partition_gives_back_the_room_of_its_claims() {
    let mut people = people();
    people.break_her();
    let (neighbour, elsewhere) = (people.neighbour.clone(), people.elsewhere.clone());
    // Three under way, of which two wait for their answer in the partition that stops, and more behind them.
    for _ in 0..5 {
        people.stage.event(&neighbour, "begun");
    }
    let sent = std::mem::take(&mut people.stage.hand_offs);
    assert_eq!(sent.len(), 3);
    people.poison();
    people.stage.turn(sent.iter().map(accepted).collect());
    people.stage.settle();
    people.stage.event(&elsewhere, "begun");
    assert_eq!(people.stage.hand_offs.len(), 1, "the channel stands still for everyone");
}

#[test]
fn claims_of_the_turn_that_poisons_give_their_room_back() {
    let mut people = people();
    people.break_her();
    let (broken, neighbour, elsewhere) = (people.broken.clone(), people.neighbour.clone(), people.elsewhere.clone());
    for _ in 0..3 {
        let ticket = people.stage.ticket();
        let items = vec![people.stage.item(&neighbour, "begun")];
        people.stage.turn(vec![Input::Submit { items, ticket }]);
        people.stage.hand_offs.clear();
    }
    // Planned by the turn before; claimed by the turn in which the partition breaks, behind the record that breaks it.
    let ticket = people.stage.ticket();
    let items = vec![people.stage.item(&broken, "over")];
    people.stage.turn(vec![Input::Submit { items, ticket }]);
    people.stage.settle();
    assert_eq!(people.stage.group().stopped().count(), 1);
    let sent: Vec<_> = people.stage.hand_offs.drain(..).collect();
    people.stage.turn(sent.iter().map(accepted).collect());
    for _ in 0..4 {
        people.stage.event(&elsewhere, "begun");
    }
    assert!(!people.stage.hand_offs.is_empty());
}

#[test]
fn a_damaged_row_stops_its_partition_alone_and_nothing_can_be_skipped() {
    for cut in [0, 40] {
        let mut people = people();
        let broken = people.broken.clone();
        let profile = Profile::clone(&people.stage.profile(&broken).profile);
        people.stage.checkpoint();
        let mut value = Vec::new();
        codec::encode_profile(&profile, &mut value);
        value.truncate(cut.min(value.len() - 1));
        put(&mut people.stage, &profile, value);
        let elsewhere = people.elsewhere.clone();
        people.stage.event(&broken, "begun");
        assert_eq!(stopped_at(people.stage.group()), Lsn(0));
        assert!(matches!(people.stage.event(&elsewhere, "begun"), Answer::Stored { .. }));
        people.stage.restart();
        people.stage.group = None;
        let state = people.stage.disk.open_state();
        let (id, _) = doctor::list(&state).unwrap().remove(0);
        let why = doctor::skip(&state, id, Lsn(0)).unwrap_err().to_string();
        assert!(why.contains("by a row of the store"), "{why}");
    }
}

#[test]
fn an_identity_of_a_stopped_split_that_is_not_known_is_refused_and_a_known_one_is_found() {
    let mut people = people();
    people.break_her();
    people.poison();
    let Poisoned { stage, elsewhere, .. } = &mut people;
    let mut answers = Vec::new();
    for number in 0..40 {
        let also = format!("anonymous_id:a{number}");
        let item = stage.item_of(&[&format!("user_id:{elsewhere}"), &also], "begun", Some(&also));
        answers.push(stage.submit(vec![item]));
    }
    let refused = answers.iter().filter(|answer| is_unavailable(answer)).count();
    let stored = answers.iter().filter(|answer| matches!(answer, Answer::Stored { .. })).count();
    assert!(refused > 0 && stored > 0, "a quarter of the identities belong to the stopped split: {refused} {stored}");
    assert_eq!(refused + stored, 40);
}

#[test]
fn a_clean_stop_with_a_stopped_partition_keeps_who_runs_up_to_date() {
    let mut people = people();
    people.break_her();
    people.poison();
    let elsewhere = people.elsewhere.clone();
    people.stage.event(&elsewhere, "begun");
    people.stage.accept_all();
    people.stage.restart();
    assert_eq!(people.stage.profile(&elsewhere).profile.participants.len(), 1);
    // A catalog that came while it stood still is told to it when it runs again.
    people.stage.publish(&with_journey(
        "apiVersion: sojourn/v1\nkind: Trigger\nmetadata: {name: late}\nspec: {kind: custom}\n",
    ));
    people.stage.restart();
    people.stage.try_open(&Known::default()).unwrap();
    assert_eq!(people.stage.group().stopped().count(), 1);
}
