//! Traps that other systems fell into, each played through the processor: what happened, as a journey test says it.

use super::{Line, Played, Stage};
use model::document::{Spec, read_documents};
use model::{Attributes, Event, Identity, Timestamp};
use processor::Item;

const CATALOG: &str = "
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: go}
spec: {kind: custom, binding: 'order/{order}', attributes: {order: {type: text}, at: {type: datetime}}}
---
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: halt}
spec: {kind: custom, binding: 'order/{order}', attributes: {order: {type: text}}}
---
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: sign}
spec: {kind: custom}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: mail}
spec: {channel: email, purpose: transactional, subject: Hello, text: Hello}
";

/// Plays `given` on a journey of the catalog above; `journey` is its spec. What cannot be played fails the test.
fn play(journey: &str, given: &str) -> Played {
    let text = format!(
        "{CATALOG}---\napiVersion: sojourn/v1\nkind: Journey\nmetadata: {{name: j}}\nspec: {journey}\n---\n\
         apiVersion: sojourn/v1\nkind: JourneyTest\nmetadata: {{name: t}}\nspec:\n  journey: j\n  \
         profile: {{identities: ['user_id:1'], attributes: {{email: a@x.org, time_zone: Europe/Berlin}}}}\n  \
         given: {given}\n  expect: []\n"
    );
    let read = read_documents(&text);
    assert_eq!(read.findings, []);
    let tests = read.documents.iter().find_map(|document| match &document.spec {
        Spec::JourneyTest(test) => Some(test),
        Spec::Trigger(_) | Spec::Message(_) | Spec::Journey(_) => None,
    });
    super::play(tests.unwrap(), &read.documents).unwrap_or_else(|why| panic!("{why}"))
}

fn happened(journey: &str, given: &str) -> Vec<String> {
    play(journey, given).happened.iter().map(|happened| Line(&happened.what).to_string()).collect()
}

fn traced(journey: &str, given: &str, part: &str) -> usize {
    play(journey, given).trace.iter().filter(|line| line.contains(part)).count()
}

const WAITS: &str = "{start: {trigger: go}, exits: [{trigger: halt}], steps: [{id: w, wait: {for: 1h}}, {id: m, send: {message: mail}}]}";

#[test]
fn t01_an_event_before_the_person_exists_makes_the_person_and_starts() {
    let mut stage = stage();
    stage.event("e1", "email:new@x.org");
    assert_eq!(stage.traced("profile created"), 1);
    assert_eq!(stage.traced("identity email:new@x.org linked"), 1);
    assert_eq!(stage.traced("entered j v1 as"), 1);
}

#[test]
fn t04_the_same_id_of_another_person_is_another_event() {
    let mut stage = stage();
    stage.event("e1", "user_id:1");
    stage.event("e1", "user_id:2");
    stage.event("e1", "user_id:1");
    assert_eq!(stage.traced("entered j v1 as"), 2);
    assert_eq!(stage.traced("duplicate"), 1, "the second of the first person");
}

#[test]
fn t07_what_a_client_sends_again_once_it_knows_the_person_is_another_event() {
    let mut stage = stage();
    stage.event("anonymous", "anonymous_id:x");
    stage.event("identified", "user_id:1");
    assert_eq!(stage.traced("entered j v1 as"), 2, "under a new id, so nothing says that it is the same (E3)");
}

fn stage() -> Stage {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: w, wait: {for: 1h}}]}";
    let text = format!("{CATALOG}---\napiVersion: sojourn/v1\nkind: Journey\nmetadata: {{name: j}}\nspec: {journey}\n");
    let now = Timestamp::parse("2026-05-04T10:00:00Z").unwrap();
    Stage::new(&read_documents(&text).documents, now).unwrap()
}

impl Stage {
    fn event(&mut self, id: &str, identity: &str) {
        let event = Event {
            id: Some(id.into()),
            source: "test".into(),
            trigger: "go".into(),
            identities: vec![Identity::parse(identity).unwrap()],
            occurred_at: self.now,
            received_at: self.now,
            attributes: Attributes::new(),
            binding_id: None,
            replay_as_live: false,
        };
        let checked_with = self.catalog().version();
        self.submit(Item::Event { event, checked_with, unknown_attributes: Vec::new() }).unwrap();
        self.settle().unwrap();
    }

    /// How many entries of all traces say `part`.
    fn traced(&self, part: &str) -> usize {
        let entries = self.disk.traces().into_iter().flat_map(|(_, _, entries)| entries);
        entries.filter(|entry| entry.to_string().contains(part)).count()
    }
}

#[test]
fn t08_an_exit_that_comes_before_the_start_ends_nothing_later() {
    let given = "[{at: '2026-05-04T10:00:00Z', event: halt, attributes: {order: a}}, {after: 5s, event: go, attributes: {order: a}}]";
    assert_eq!(
        happened(WAITS, given),
        ["{at: 2026-05-04T11:00:05Z, send: mail}", "{at: 2026-05-04T11:00:05Z, exit: completed}"]
    );
}

#[test]
fn t13_an_unknown_name_is_kept_and_the_nearest_is_told() {
    let given = "[{at: '2026-05-04T10:00:00Z', event: hallt}]";
    assert_eq!(traced(WAITS, given, "the nearest is halt"), 1);
}

#[test]
fn t17_an_update_with_the_same_value_leaves_no_mark() {
    let given = "[{at: '2026-05-04T10:00:00Z', profile: {attributes: {email: a@x.org}}}, {after: 1s, profile: {attributes: {email: b@x.org}}}]";
    assert_eq!(traced(WAITS, given, "attributes changed: email"), 2, "the first setting and the change");
}

#[test]
fn t18_a_journey_that_raises_its_own_start_ends_at_the_tenth() {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: again, raise: {trigger: go}}]}";
    let given = "[{at: '2026-05-04T10:00:00Z', event: go}]";
    assert_eq!(traced(journey, given, "entered j v1 as"), 11);
    assert_eq!(traced(journey, given, "parked at again: raise_depth"), 1);
}

#[test]
fn t19_a_start_while_inside_is_refused_and_leaves_the_timer() {
    let given = "[{at: '2026-05-04T10:00:00Z', event: go}, {after: 30m, event: go}]";
    assert_eq!(traced(WAITS, given, "still_inside"), 1);
    assert_eq!(happened(WAITS, given)[0], "{at: 2026-05-04T11:00:00Z, send: mail}");
}

#[test]
fn t20_a_restart_ends_the_first_and_its_timer_with_it() {
    let journey = WAITS.replace("trigger: go}", "trigger: go, repeat: {mode: restart}}");
    let given = "[{at: '2026-05-04T10:00:00Z', event: go}, {after: 30m, event: go}]";
    assert_eq!(
        happened(&journey, given),
        [
            "{at: 2026-05-04T10:30:00Z, exit: restarted}",
            "{at: 2026-05-04T11:30:00Z, send: mail}",
            "{at: 2026-05-04T11:30:00Z, exit: completed}"
        ]
    );
}

#[test]
fn t21_one_run_for_each_key_and_an_exit_with_a_key_ends_that_one() {
    let journey = WAITS.replace("trigger: go}", "trigger: go, repeat: {mode: always}}");
    let given = "[{at: '2026-05-04T10:00:00Z', event: go, attributes: {order: a}}, {after: 1m, event: go, attributes: {order: b}}, \
                 {after: 1m, event: go, attributes: {order: b}}, {after: 1m, event: halt, attributes: {order: a}}]";
    assert_eq!(traced(&journey, given, "same_binding"), 1);
    assert_eq!(
        happened(&journey, given),
        [
            "{at: 2026-05-04T10:03:00Z, exit: halt}",
            "{at: 2026-05-04T11:01:00Z, send: mail}",
            "{at: 2026-05-04T11:01:00Z, exit: completed}"
        ]
    );
}

#[test]
fn t22_two_starts_at_one_instant_are_one_entry_for_once() {
    let journey = WAITS.replace("trigger: go}", "trigger: go, repeat: {mode: once}}");
    let given = "[{at: '2026-05-04T10:00:00Z', event: go}, {after: 0s, event: go}]";
    assert_eq!(traced(&journey, given, "entered j v1 as"), 1);
    assert_eq!(traced(&journey, given, "already_once"), 1);
}

#[test]
fn t24_of_one_event_the_exit_goes_before_the_wait_and_both_before_the_start() {
    let journey = "{start: {trigger: go}, exits: [{trigger: go}], steps: [{id: w, wait_for: {outcomes: [{trigger: go, steps: [{id: m, send: {message: mail}}]}], up_to: 1h}}]}";
    let given = "[{at: '2026-05-04T10:00:00Z', event: go}, {after: 1m, event: go}]";
    assert_eq!(
        happened(journey, given),
        ["{at: 2026-05-04T10:01:00Z, exit: go}", "{at: 2026-05-04T11:01:00Z, exit: completed}"]
    );
}

#[test]
fn t33_what_a_wait_was_fixed_to_does_not_move_with_the_zone() {
    let journey = "{start: {trigger: go}, steps: [{id: w, wait: {until: {time: '09:00'}}}]}";
    let given =
        "[{at: '2026-05-04T10:00:00Z', event: go}, {after: 1h, profile: {attributes: {time_zone: Asia/Tokyo}}}]";
    assert_eq!(happened(journey, given), ["{at: 2026-05-05T07:00:00Z, exit: completed}"]);
}

#[test]
fn t36_an_event_at_the_instant_of_the_timer_wins() {
    let given = "[{at: '2026-05-04T10:00:00Z', event: go}, {after: 1h, event: halt}]";
    assert_eq!(happened(WAITS, given), ["{at: 2026-05-04T11:00:00Z, exit: halt}"]);
}

#[test]
fn t38_what_came_before_the_wait_counts_only_since_start() {
    let journey = |since: &str| {
        format!(
            "{{start: {{trigger: go}}, steps: [{{id: w, wait: {{for: 1h}}}}, {{id: f, wait_for: {{outcomes: \
             [{{trigger: sign, since: {since}, steps: [{{id: seen, exit: {{}}}}]}}], up_to: 1h}}}}]}}"
        )
    };
    let given = "[{at: '2026-05-04T10:00:00Z', event: go}, {after: 10m, event: sign}]";
    assert_eq!(happened(&journey("start"), given), ["{at: 2026-05-04T11:00:00Z, exit: seen}"]);
    assert_eq!(happened(&journey("step"), given), ["{at: 2026-05-04T12:00:00Z, exit: completed}"]);
}

#[test]
fn t39_two_who_wait_for_the_same_event_both_get_it_once() {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: f, wait_for: {outcomes: [{trigger: sign}], up_to: 1h}}, \
                   {id: g, wait_for: {outcomes: [{trigger: sign}], up_to: 1h}}]}";
    let given = "[{at: '2026-05-04T10:00:00Z', event: go, attributes: {order: a}}, {after: 0s, event: go, attributes: {order: b}}, {after: 1m, event: sign}]";
    assert_eq!(traced(journey, given, "goes on from f: sign"), 2);
    assert_eq!(traced(journey, given, "goes on from g: sign"), 0, "one event satisfies one wait of each");
}

#[test]
fn t41_a_branch_behind_a_wait_sees_what_changed_meanwhile() {
    let journey = "{start: {trigger: go}, steps: [{id: w, wait: {for: 1h}}, {id: b, branch: {when: [{if: \"profile.plan == 'pro'\", \
                   steps: [{id: pro, exit: {}}]}], otherwise: [{id: free, exit: {}}]}}]}";
    let given = "[{at: '2026-05-04T10:00:00Z', event: go}, {after: 30m, profile: {attributes: {plan: pro}}}]";
    assert_eq!(happened(journey, given), ["{at: 2026-05-04T11:00:00Z, exit: pro}"]);
}

#[test]
fn t47_a_missing_date_never_means_now() {
    let journey = |on_missing: &str| {
        format!(
            "{{start: {{trigger: go}}, steps: [{{id: w, wait: {{until: {{attribute: event.at{on_missing}}}}}}}, {{id: m, send: {{message: mail}}}}]}}"
        )
    };
    let given = "[{at: '2026-05-04T10:00:00Z', event: go}]";
    assert_eq!(happened(&journey(""), given), Vec::<String>::new(), "parked, visibly");
    assert_eq!(traced(&journey(""), given, "parked at w: missing_date"), 1);
    assert_eq!(happened(&journey(", on_missing: exit"), given), ["{at: 2026-05-04T10:00:00Z, exit: missing_date}"]);
    assert_eq!(happened(&journey(", on_missing: skip"), given).len(), 2);
}

#[test]
fn t52_a_split_gives_the_same_arms_on_every_run() {
    let journey = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: s, split: {arms: [{name: a, weight: 1, steps: [{id: x, exit: {}}]}, \
                   {name: b, weight: 1, steps: [{id: y, exit: {}}]}]}}]}";
    let given: String =
        (1..8).map(|order| format!(", {{after: 1m, event: go, attributes: {{order: '{order}'}}}}")).collect();
    let given = format!("[{{at: '2026-05-04T10:00:00Z', event: go}}{given}]");
    let arms =
        || -> String { happened(journey, &given).iter().map(|line| &line[line.len() - 2..line.len() - 1]).collect() };
    assert_eq!(arms(), "xxyyyxxx", "another answer would move people who are inside");
    assert_eq!(arms(), arms());
}
