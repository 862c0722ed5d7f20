//! What a door maps, through the processor that serves.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use engine::command::DocumentChange;
use intake::{Context, Received, native, segment};
use model::{Identity, Timestamp};
use ports::memory::{Disk, MemoryLog, MemoryState};
use processor::{Answer, ControlRequest, Group, Input, Options, ProfileRead, Who};
use std::sync::Arc;
use template::tracking::Signer;

/// Only those whose plan is known to be `pro` may enter.
const DOCUMENTS: &str = r"
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: signed_up}
spec: {attributes: {orderId: {type: text}}}
---
apiVersion: sojourn/v1
kind: Journey
metadata: {name: welcome}
spec:
  start: {trigger: signed_up, where: profile.plan == 'pro'}
  steps: [{id: hold, wait: {for: 1d}}]
---
apiVersion: sojourn/v1
kind: Journey
metadata: {name: camel}
spec:
  start: {trigger: signed_up, where: has(event.orderId) && event.orderId == 'A1'}
  steps: [{id: hold, wait: {for: 1d}}]
";

struct Server(Group<MemoryLog, MemoryState, u8>);

fn now() -> Timestamp {
    Timestamp::parse("2026-05-04T10:00:00Z").unwrap()
}

impl Server {
    fn new() -> Self {
        let disk = Disk::new();
        let (log, state) = (disk.open_log(), Arc::new(disk.open_state()));
        let options = Options { partitions: 4, ..Options::default() };
        let signer = Signer::new([7; 32], "https://go.example.org");
        let (group, _) = Group::open(log, state, [3; 32], signer, options).unwrap();
        let mut server = Server(group);
        let documents = model::document::read_documents(DOCUMENTS).documents;
        let changes = documents.into_iter().map(DocumentChange::Put).collect();
        let request = ControlRequest::Documents { changes, expected: None, by: "test".into() };
        let answer = server.answer(Input::Control { request, ticket: 1 });
        assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
        server
    }

    fn answer(&mut self, input: Input<u8>) -> Answer {
        // A publish is answered when all partitions have applied it, a turn later.
        let mut inputs = vec![input];
        for _ in 0..10 {
            let released = self.0.turn(now(), std::mem::take(&mut inputs)).unwrap();
            if let Some((_, answer)) = released.answers.into_iter().next() {
                return answer;
            }
        }
        panic!("no answer in ten turns")
    }

    fn submit(&mut self, map: impl FnOnce(&Context<'_>) -> Received) {
        let catalog = Arc::clone(self.0.catalog());
        let mut received = map(&Context { catalog: &catalog, source: "key", received_at: now() });
        received.make_ids();
        let answer = self.answer(Input::Submit { items: received.items, ticket: 1 });
        assert!(matches!(answer, Answer::Stored { .. }), "{answer:?}");
    }

    fn profile(&mut self, identity: &str) -> Option<Box<ProfileRead>> {
        let who = Who::Identity(Identity::parse(identity).unwrap());
        let answer = self.answer(Input::Read { who, ticket: 1 });
        let Answer::Profile(read) = answer else { panic!("{answer:?}") };
        read
    }

    fn is_in(&mut self, identity: &str, journey: &str) -> bool {
        let read = self.profile(identity).unwrap();
        read.profile.participants.iter().any(|participant| participant.journey == *journey)
    }
}

fn batch(items: &[&str]) -> String {
    format!(r#"{{"batch":[{}]}}"#, items.join(","))
}

const IDENTIFY: &str = r#"{"type":"identify","userId":"42","traits":{"plan":"pro"},"messageId":"i"}"#;
const TRACK: &str = r#"{"type":"track","userId":"42","event":"Signed Up","messageId":"t"}"#;

/// A batch keeps its order (E5): what an identify says is seen by the start of the event behind it, and by no event
/// before it.
#[test]
fn t02_an_identify_is_seen_by_the_start_of_the_event_behind_it_in_the_same_batch() {
    for (items, enters) in [([IDENTIFY, TRACK], true), ([TRACK, IDENTIFY], false)] {
        let mut server = Server::new();
        let body = batch(&items);
        server.submit(|ctx| segment::receive(segment::Call::Batch, body.as_bytes(), ctx).unwrap());
        assert_eq!(server.is_in("user_id:42", "welcome"), enters, "{items:?}");
    }
}

/// C4: the attribute is declared as the SDK sends it.
#[test]
fn an_attribute_in_camel_case_is_read_by_a_condition() {
    for (order, enters) in [("A1", true), ("A2", false)] {
        let mut server = Server::new();
        let body =
            format!(r#"{{"userId":"42","event":"signedUp","properties":{{"orderId":"{order}"}},"messageId":"t"}}"#);
        server.submit(|ctx| segment::receive(segment::Call::Track, body.as_bytes(), ctx).unwrap());
        assert_eq!(server.is_in("user_id:42", "camel"), enters, "{order}");
    }
}

/// E11: `previousId` may be the anonymous id of before or another user id; whoever is known by it is the person.
#[test]
fn an_alias_links_the_user_to_who_was_known_before() {
    for (before, previous) in [(r#""anonymousId":"x""#, "x"), (r#""userId":"41""#, "41")] {
        let mut server = Server::new();
        let track = format!(r#"{{"type":"track",{before},"event":"Signed Up","messageId":"t"}}"#);
        let alias = format!(r#"{{"type":"alias","userId":"42","previousId":"{previous}"}}"#);
        let body = batch(&[&track, &alias]);
        server.submit(|ctx| segment::receive(segment::Call::Batch, body.as_bytes(), ctx).unwrap());
        let known = if previous == "x" { "anonymous_id:x" } else { "user_id:41" };
        let (one, other) = (server.profile(known).unwrap(), server.profile("user_id:42").unwrap());
        assert_eq!(one.profile.id, other.profile.id, "{previous}");
    }
}

/// E3: without an id one is made, and the same event sent again is another one.
#[test]
fn an_event_without_an_id_is_never_a_duplicate() {
    let mut server = Server::new();
    let event = br#"{"trigger":"signed_up","identities":{"user_id":"1"},"attributes":{"orderId":"A1"}}"#;
    for _ in 0..2 {
        server.submit(|ctx| native::events(event, ctx).unwrap());
    }
    assert_eq!((server.0.counters().events, server.0.counters().duplicates), (2, 0));
}
