use super::*;
use catalog::Change;
use engine::command::{Command, ControlCommand, PartitionCommand};
use engine::{Context, Limits, Profile, Transition};
use model::CatalogVersion;
use model::document::read_documents;
use ports::log::{Body, TraceRow};
use std::path::Path;

fn documents_of(folder: &Path) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            documents.extend(documents_of(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let read = read_documents(&std::fs::read_to_string(&path).unwrap());
            assert!(read.findings.is_empty(), "{}: {:?}", path.display(), read.findings);
            documents.extend(read.documents);
        }
    }
    documents
}

fn examples() -> Vec<Document> {
    documents_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"))
}

#[test]
fn nothing_is_found_against_the_examples() {
    let changes: Vec<Change> = examples().into_iter().map(Change::Put).collect();
    let findings = Catalog::empty().with(CatalogVersion(1), &changes).findings;
    assert_eq!(findings, [], "{findings:#?}");
}

#[test]
fn the_examples_do_what_their_tests_say() {
    let outcomes = run_tests(&examples());
    assert!(outcomes.len() >= 15, "{} tests", outcomes.len());
    for outcome in outcomes {
        assert!(outcome.failures.is_empty(), "{}: {:#?}\n{}", outcome.test, outcome.failures, outcome.trace.join("\n"));
    }
}

#[test]
fn a_test_that_expects_something_else_fails_and_says_what_happened() {
    let mut documents = examples();
    for document in &mut documents {
        let Spec::JourneyTest(test) = &mut document.spec else { continue };
        if document.name == "abandoned_cart_no_open" {
            test.expect[1].at = test.expect[1].at.plus_ms(1);
        }
    }
    let failed: Vec<Outcome> =
        run_tests(&documents).into_iter().filter(|outcome| !outcome.failures.is_empty()).collect();
    assert_eq!(failed.len(), 1);
    let failures = &failed[0].failures;
    assert!(failures[0].contains("expected {at: 2026-03-29T09:00:00.001Z, send: cart_sms}"), "{failures:?}");
    assert!(
        failures[0].contains("but {at: 2026-03-29T09:00:00Z, send: cart_sms} happened at step text"),
        "{failures:?}"
    );
}

const WELCOME: &str = "
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: signed_up}
spec: {attributes: {plan: {type: text}}}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: mail}
spec: {channel: email, purpose: transactional, subject: Hello, text: Hello}
---
apiVersion: sojourn/v1
kind: Journey
metadata: {name: welcome}
spec:
  start: {trigger: signed_up, where: event.plan == 'pro'}
  steps:
    - {id: hello, send: {message: mail}}
    - {id: read, wait_for: {outcomes: [{interaction: email_opened, of: hello, steps: [{id: opened, exit: {}}]}], up_to: 1h}}
---
apiVersion: sojourn/v1
kind: Journey
metadata: {name: another}
spec:
  start: {trigger: signed_up}
  steps:
    - {id: pause, wait: {for: 1m}}
    - {id: hello, send: {message: mail}}
---
apiVersion: sojourn/v1
kind: JourneyTest
metadata: {name: t}
spec:
  journey: welcome
  profile: {identities: ['user_id:1'], attributes: {email: a@x.org}}
";

/// Runs one test on the journey `welcome`; `spec` is its `given` and `expect`.
fn run(spec: &str) -> Outcome {
    let read = read_documents(&format!("{WELCOME}  {spec}\n"));
    assert_eq!(read.findings, []);
    run_tests(&read.documents).remove(0)
}

#[test]
fn what_others_do_is_theirs() {
    let outcome = run("given: [{at: '2026-05-04T10:00:00Z', event: signed_up, attributes: {plan: pro}},
        {after: 1m, event: signed_up, identities: ['user_id:2', 'email:b@x.org'], attributes: {plan: pro}},
        {after: 2m, interaction: email_opened, of: hello}]
  expect: [{at: '2026-05-04T10:00:00Z', send: mail}, {at: '2026-05-04T10:03:00Z', exit: opened}]");
    assert_eq!(outcome.failures, Vec::<String>::new(), "{:#?}", outcome.trace);
}

#[test]
fn a_refused_entry_is_a_note_and_fails_nothing() {
    let outcome =
        run("given: [{at: '2026-05-04T10:00:00Z', event: signed_up, attributes: {plan: free}}]\n  expect: []");
    assert_eq!(outcome.failures, Vec::<String>::new());
    assert_eq!(outcome.notes, ["2026-05-04T10:00:00Z not entered welcome v1: condition_false (event.plan = \"free\")"]);
}

#[test]
fn a_start_that_lacks_data_fails_the_test_which_cannot_have_meant_it() {
    let outcome = run("given: [{at: '2026-05-04T10:00:00Z', event: signed_up}]\n  expect: []");
    assert_eq!(outcome.failures.len(), 1);
    assert!(outcome.failures[0].contains("event.plan has no value; give the event"), "{:?}", outcome.failures);
}

#[test]
fn an_event_nobody_knows_fails_the_test_and_names_the_nearest() {
    let outcome = run("given: [{at: '2026-05-04T10:00:00Z', event: sign_up}]\n  expect: []");
    assert!(
        outcome.failures[0].contains("no trigger is named sign_up; the nearest is signed_up"),
        "{:?}",
        outcome.failures
    );
}

/// A stage after everything that the examples' tests give, and some that wait.
fn played_examples() -> Vec<Disk> {
    let documents = examples();
    let tests = documents.iter().filter_map(|document| match &document.spec {
        Spec::JourneyTest(test) => Some(test),
        Spec::Trigger(_) | Spec::Message(_) | Spec::Journey(_) => None,
    });
    let played = tests.map(|test| {
        let disk = perform(test, &documents).unwrap().disk;
        assert!(disk.trace_rows().len() > 1, "{} leaves a trace", test.journey);
        disk
    });
    played.collect()
}

/// Invariant 7: a recovery from nothing but the log makes the very traces again that the processor made while it ran.
#[test]
fn traces_made_again_from_the_log_are_those_made_live() {
    for disk in played_examples() {
        let copy = disk.without_state();
        assert_eq!(copy.trace_rows(), []);
        let (log, state) = (copy.open_log(), Arc::new(copy.open_state()));
        let signer = Signer::new([0; 32], "https://test.invalid");
        let options = Options { partitions: 1, ..Options::default() };
        let opened: Result<(Group<MemoryLog, MemoryState, u64>, _), _> =
            Group::open(log, state, [0; 32], signer, options);
        opened.unwrap();
        assert_eq!(copy.trace_rows(), disk.trace_rows());
    }
}

/// Invariant 7: nor does the processor add anything to the traces; the engine alone makes them of the same commands.
#[test]
fn the_engine_alone_makes_the_same_traces_of_the_same_commands() {
    for disk in played_examples() {
        assert_eq!(engine_alone(&disk), disk.trace_rows());
    }
}

/// Applies the log's commands with nothing around the engine: one catalog, profiles in a map.
fn engine_alone(disk: &Disk) -> Vec<TraceRow> {
    let (signer, limits) = (Signer::new([0; 32], "https://test.invalid"), Limits::default());
    let mut published: Vec<Catalog> = vec![Catalog::empty()];
    let mut catalog = Catalog::empty();
    let mut profiles: BTreeMap<ProfileId, Profile> = BTreeMap::new();
    let mut rows = Vec::new();
    for entry in disk.durable_entries() {
        let Body::Command(bytes) = &entry.body else { continue };
        match codec::decode_command(bytes).unwrap() {
            Command::Control(ControlCommand::DocumentsChanged { changes, .. }) => {
                let changes: Vec<Change> = changes.into_iter().map(change_of).collect();
                let last = published.last().unwrap();
                let next = last.with(CatalogVersion(last.version().0 + 1), &changes).catalog.unwrap();
                published.push(next);
            }
            Command::Partition(PartitionCommand::CatalogChanged { version }) => {
                catalog = published[usize::try_from(version.0).unwrap()].clone();
            }
            Command::Profile { profile, command } => {
                let held = profiles.entry(profile).or_insert_with(|| Profile::new(profile, entry.slot, entry.stamp));
                let mut transition = Transition::default();
                let (lsn, now) = (entry.lsn, entry.stamp);
                let context = Context { lsn, now, catalog: &catalog, signer: &signer, limits: &limits };
                engine::apply(held, &command, &context, &mut transition);
                if transition.trace.is_empty() {
                    continue;
                }
                let mut body = Vec::new();
                codec::encode_trace(&transition.trace, &mut body);
                rows.push(TraceRow { lsn, partition: entry.partition, slot: entry.slot, stamp: now, body });
            }
            Command::Control(ControlCommand::KeyCreated { .. } | ControlCommand::KeyRevoked { .. })
            | Command::Partition(PartitionCommand::Linked { .. } | PartitionCommand::Rejected { .. }) => {}
        }
    }
    rows
}

fn change_of(change: DocumentChange) -> Change {
    match change {
        DocumentChange::Put(document) => Change::Put(document),
        DocumentChange::Remove(id) => Change::Remove(id),
    }
}

/// An exit while a mail is on its way, then a crash: the receiver would honour a second try, and nobody wants it any more.
#[test]
fn t54_t71_after_an_exit_and_a_crash_a_hand_off_without_answer_is_not_tried_again() {
    let text = WELCOME.replace(
        "start: {trigger: signed_up,",
        "exits: [{trigger: signed_up, where: event.plan == 'free'}]\n  start: {trigger: signed_up,",
    );
    let now = Timestamp::parse("2026-05-04T10:00:00Z").unwrap();
    let documents: Vec<Document> =
        read_documents(text.split_once("---\napiVersion: sojourn/v1\nkind: JourneyTest").unwrap().0).documents;
    let policy = ChannelPolicy { in_flight_max: 1, retry_unknown: true };
    let options =
        || Options { partitions: 1, channels: [("email".into(), policy.clone())].into(), ..Options::default() };
    let open = |disk: &Disk| -> Group<MemoryLog, MemoryState, u64> {
        let signer = Signer::new([0; 32], "https://test.invalid");
        Group::open(disk.open_log(), Arc::new(disk.open_state()), [0; 32], signer, options()).unwrap().0
    };
    // Turns until nothing is left to do at `now`; answers how many hand-offs were let go.
    fn run(group: &mut Group<MemoryLog, MemoryState, u64>, now: Timestamp, input: Option<Input<u64>>) -> usize {
        let mut inputs: Vec<Input<u64>> = input.into_iter().collect();
        let mut hand_offs = 0;
        while !inputs.is_empty() || group.has_work(now) {
            hand_offs += group.turn(now, std::mem::take(&mut inputs)).unwrap().hand_offs.len();
        }
        hand_offs
    }
    let signed_up = |plan: &str| {
        let event = Event {
            id: None,
            source: "test".into(),
            trigger: "signed_up".into(),
            identities: vec![Identity::parse("email:a@x.org").unwrap()],
            occurred_at: now,
            received_at: now,
            attributes: [("plan", model::Value::from(plan))].into_iter().collect(),
            binding_id: None,
            replay_as_live: false,
        };
        let item = Item::Event { event, checked_with: CatalogVersion(1), unknown_attributes: Vec::new() };
        Input::Submit { items: vec![item], ticket: 1 }
    };
    let disk = Disk::new();
    let mut group = open(&disk);
    let changes = documents.into_iter().map(DocumentChange::Put).collect();
    let request = ControlRequest::Documents { changes, expected: None, by: "test".into() };
    run(&mut group, now, Some(Input::Control { request, ticket: 0 }));
    assert_eq!(run(&mut group, now, Some(signed_up("pro"))), 1);
    assert_eq!(run(&mut group, now, Some(signed_up("free"))), 0);
    drop(group);
    let mut group = open(&disk);
    let later = now.plus_ms(10 * 60_000);
    assert_eq!(run(&mut group, later, None), 1, "the mail of the other journey, whose minute is over");
    let told: Vec<String> =
        disk.traces().iter().flat_map(|(_, _, entries)| entries.iter().map(ToString::to_string)).collect();
    let tail = told.iter().filter(|line| line.contains("not sent: the process ended") || line.contains("cancelled"));
    assert_eq!(tail.count(), 2, "{told:#?}");
}
