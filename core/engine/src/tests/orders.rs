//! Every order of a few commands about one person who waits with a mail on its way: what may never happen, whatever comes
//! first (J2, J3, J9, S1, S5).

use super::stage;
use super::stage::Stage;
use crate::trace::Entry;
use model::{EffectId, ParticipantId, Text};
use std::collections::BTreeMap;

const JOURNEY: &str = "{start: {trigger: go, repeat: {mode: restart}}, exits: [{trigger: halt}], steps: [
    {id: m, send: {message: mail}},
    {id: f, wait_for: {outcomes: [{interaction: email_opened, of: m}, {trigger: sign}], up_to: 1h}},
    {id: n, on_failure: exit, send: {message: mail}}]}";

/// `m` and `n` are the latest sends of those steps; what was not planned yet is passed over.
const COMMANDS: [&str; 10] = [
    "event go",
    "event sign",
    "event halt",
    "open m",
    "claim m",
    "defer m",
    "unknown m",
    "accept m",
    "sent n",
    "timer",
];

const LENGTH: usize = 5;

#[test]
fn in_no_order_is_anyone_mailed_after_an_exit_or_twice_or_walks_on_after_the_end() {
    let mut begin = stage(JOURNEY);
    begin.play("10:00 event go");
    let mut played = 0;
    follow(&begin, &mut Vec::new(), &mut played);
    let all: usize = (1..=LENGTH).map(|length| COMMANDS.len().pow(u32::try_from(length).unwrap())).sum();
    assert_eq!(played, all);
}

/// Tries every command behind `stage`, and every one behind that.
fn follow(stage: &Stage, path: &mut Vec<&'static str>, played: &mut usize) {
    if path.len() == LENGTH {
        return;
    }
    for command in COMMANDS {
        let mut next = stage.clone();
        path.push(command);
        *played += 1;
        match command.split_once(' ') {
            None => next.fire_next(),
            Some((_, "n")) if !next.has_sent("n") => {}
            Some(_) => {
                next.play(&format!("10:00 {command}")).clear();
            }
        }
        check(&next, path);
        follow(&next, path, played);
        path.pop();
    }
}

fn check(stage: &Stage, path: &[&str]) {
    let mut left: BTreeMap<ParticipantId, &Text> = BTreeMap::new();
    let mut planned_by: BTreeMap<EffectId, ParticipantId> = BTreeMap::new();
    let mut under_way: BTreeMap<EffectId, bool> = BTreeMap::new();
    for entry in &stage.entries {
        if let Some(participant) = entry.participant() {
            assert!(!left.contains_key(&participant), "{path:?}: {entry} after its end");
        }
        if let Entry::Ended { participant, reason, .. } = entry {
            left.insert(*participant, reason);
        } else if let Entry::Planned { participant, effect, .. } = entry {
            assert_eq!(planned_by.insert(*effect, *participant), None, "{path:?}: {effect} is planned twice");
        } else if let Entry::Granted { effect, .. } = entry {
            let reason = left.get(&planned_by[effect]).map(|reason| reason.as_str());
            assert!(
                reason.is_none_or(|reason| reason == "completed"),
                "{path:?}: {entry}, though it left by {reason:?}"
            );
            let was = under_way.insert(*effect, true);
            assert!(was != Some(true), "{path:?}: {entry}, though it was handed off and nobody said that it failed");
        } else if let Entry::Settled { effect, outcome } = entry
            && outcome.starts_with("deferred")
        {
            under_way.insert(*effect, false);
        }
    }
    for participant in &stage.profile.participants {
        assert!(!left.contains_key(&participant.id), "{path:?}: {} is inside and has left", participant.id);
    }
    for timer in stage.profile.timers() {
        assert!(stage.timers.contains(&timer), "{path:?}: a timer is held that was never set or has fired");
    }
}
