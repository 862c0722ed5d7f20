//! Whatever comes, every door answers.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use catalog::{Catalog, Change};
use intake::{Context, ItemOutcome, Received, native, segment};
use model::{Attributes, CatalogVersion, Timestamp};
use processor::Item;
use std::time::Duration;

/// Requests as clients send them, to be mutated: noise alone would never get past the first brace.
const SEEDS: &[&str] = &[
    r#"[{"id":"e1","trigger":"abandoned_cart","identities":{"user_id":"42","email":"ada@example.org"},"occurred_at":"2026-05-04T10:00:00Z","attributes":{"cart_id":"c1","cart_total":80},"binding_id":"cart/c1","replay_as_live":false},{"trigger":"x","identities":{"contact":7}}]"#,
    r#"[{"id":"p1","identities":{"user_id":"42","phone":"+4915112345678"},"attributes":{"plan":"pro","tags":["a",{"b":[1,2.5,null,true]}]}}]"#,
    r#"{"sentAt":"2026-05-04T12:00:05Z","writeKey":"w","batch":[{"type":"track","event":"Abandoned Cart","userId":"42","messageId":"m1","timestamp":"2026-05-04T12:00:00Z","properties":{"cart_id":"c","cart_total":"80"}},{"type":"identify","anonymousId":"x","traits":{"email":"a@x.org"}},{"type":"page","anonymousId":"x","name":"Home"},{"type":"alias","userId":"42","previousId":"x"},{"type":"group","userId":"42","groupId":"g"}]}"#,
    r#"{"event":"orderCompleted","userId":42,"anonymousId":"x","properties":{"orderId":18446744073709551615,"total":1e400},"context":{"page":{}},"originalTimestamp":"2026-05-04T12:00:00+02:00"}"#,
];

/// What JSON is made of, to be put where it hurts.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-1",
    "1e999",
    "99999999999999999999",
    "\"\"",
    "[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "identities",
    "type",
    "user_id",
    "batch",
];

/// A seed after a few cuts and splices, as `choices` say.
fn mutated(choices: &[u8]) -> Vec<u8> {
    let mut choices = choices.iter().copied();
    let mut next = || usize::from(choices.next().unwrap_or(0));
    let mut body = SEEDS[next() % SEEDS.len()].as_bytes().to_vec();
    for _ in 0..next() % 8 {
        let at = (next() * 256 + next()) % (body.len() + 1);
        let end = (at + next() % 32).min(body.len());
        match next() % 4 {
            0 => drop(body.drain(at..end)),
            1 => drop(body.splice(at..end, PIECES[next() % PIECES.len()].bytes())),
            2 => {
                let copy = body[at..end].to_vec();
                body.splice(at..at, copy);
            }
            _ => {
                if let Some(byte) = body.get_mut(at) {
                    *byte = next() as u8;
                }
            }
        }
    }
    body
}

fn catalog() -> Catalog {
    let yaml = "apiVersion: sojourn/v1\nkind: Trigger\nmetadata: {name: abandoned_cart}\nspec: {attributes: {cart_id: \
                {type: text, required: true}, cart_total: {type: number, required: true}, left_at: {type: datetime}}}\n";
    let changes: Vec<Change> = model::document::read_documents(yaml).documents.into_iter().map(Change::Put).collect();
    Catalog::empty().with(CatalogVersion(1), &changes).catalog.unwrap()
}

#[test]
fn fuzz_intake() {
    let catalog = catalog();
    let received_at = Timestamp::parse("2026-05-04T10:00:00Z").unwrap();
    let ctx = Context { catalog: &catalog, source: "key", received_at };
    let test_time = std::env::var("SOJOURN_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(1);
    bolero::check!().with_test_time(Duration::from_secs(test_time)).for_each(|choices: &[u8]| {
        for body in [mutated(choices), choices.to_vec()] {
            let sent = count(&body);
            for received in [native::events(&body, &ctx), native::profiles(&body, &ctx)] {
                answered(received.ok(), sent);
            }
            answered(segment::receive(segment::Call::Track, &body, &ctx).ok(), Some(1));
            answered(segment::receive(segment::Call::Identify, &body, &ctx).ok(), Some(1));
            answered(segment::receive(segment::Call::Alias, &body, &ctx).ok(), Some(1));
            answered(segment::receive(segment::Call::Batch, &body, &ctx).ok(), None);
            let _key_or_none = segment::write_key(&body);
        }
    });
}

/// The items that a native request has, by another reader; None where that cannot tell.
fn count(body: &[u8]) -> Option<usize> {
    match serde_json::from_slice(body).ok()? {
        serde_json::Value::Array(items) => Some(items.len()),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_)
        | serde_json::Value::Object(_) => Some(1),
    }
}

fn answered(received: Option<Received>, sent: Option<usize>) {
    let Some(Received { items, results }) = received else { return };
    if let Some(sent) = sent {
        assert_eq!(results.len(), sent);
    }
    assert_eq!(items.len(), results.len());
    for (item, result) in items.into_iter().zip(results) {
        match (item, &result.outcome) {
            (Item::Rejected(_) | Item::RejectedUpdate, ItemOutcome::Rejected { reason }) => assert!(!reason.is_empty()),
            (Item::Event { event, .. }, ItemOutcome::Accepted) => {
                assert_eq!((&result.id, &result.trigger), (&event.id, &event.trigger));
                assert!(!event.identities.is_empty() && event.identities.is_sorted());
                stays(&event.attributes);
            }
            (Item::Update(update), ItemOutcome::Accepted) => {
                assert_eq!(result.id, update.id);
                assert!(!update.identities.is_empty() && update.identities.is_sorted());
                stays(&update.attributes);
            }
            (item, outcome) => panic!("{item:?} and {outcome:?} do not belong together"),
        }
    }
}

/// What was accepted is written as JSON that reads the same.
fn stays(attributes: &Attributes) {
    let json = serde_json::to_string(attributes).unwrap();
    assert_eq!(serde_json::from_str::<Attributes>(&json).unwrap(), *attributes, "{json}");
    assert!(attributes.iter().all(|(_, value)| !value.is_too_deep()));
}
