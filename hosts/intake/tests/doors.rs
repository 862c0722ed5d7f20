//! What each door makes of requests, good and bad.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use catalog::{Catalog, Change};
use intake::{Context, ItemOutcome, Received, native, segment};
use model::{CatalogVersion, Timestamp};
use processor::Item;
use proptest::prelude::*;

fn catalog() -> Catalog {
    let documents = model::document::read_documents(
        r"
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: abandoned_cart}
spec: {kind: custom, attributes: {cart_id: {type: text, required: true}, cart_total: {type: number, required: true}}}
",
    );
    let changes: Vec<Change> = documents.documents.into_iter().map(Change::Put).collect();
    Catalog::empty().with(CatalogVersion(1), &changes).catalog.unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn with<T>(act: impl FnOnce(&Context<'_>) -> T) -> T {
    let catalog = catalog();
    act(&Context { catalog: &catalog, source: "key", received_at: at("2026-05-04T10:00:00Z") })
}

/// One line an item: what is stored, or why not.
fn told(received: &Received) -> Vec<String> {
    let items = received.items.iter().zip(&received.results);
    let line = |(item, result): (&Item, &intake::ItemResult)| match (item, &result.outcome) {
        (Item::Event { event, unknown_attributes, .. }, ItemOutcome::Accepted) => {
            let identities: Vec<String> = event.identities.iter().map(ToString::to_string).collect();
            format!(
                "{} {} {} {} {:?} id={:?}",
                event.trigger,
                identities.join("+"),
                event.occurred_at,
                serde_json::to_string(&event.attributes).unwrap(),
                unknown_attributes,
                result.id.as_deref()
            )
        }
        (Item::Update(update), ItemOutcome::Accepted) => {
            let identities: Vec<String> = update.identities.iter().map(ToString::to_string).collect();
            format!("update {} {}", identities.join("+"), serde_json::to_string(&update.attributes).unwrap())
        }
        (Item::Rejected(count), ItemOutcome::Rejected { reason }) => {
            format!("rejected[{}] {}: {reason}", count.reason, count.trigger)
        }
        (item, outcome) => panic!("{item:?} and {outcome:?} do not belong together"),
    };
    items.map(line).collect()
}

#[test]
fn t14_one_bad_item_rejects_only_itself_in_order() {
    let body = br#"[
        {"id":"1","trigger":"abandoned_cart","identities":{"user_id":42,"email":"A@x.org"},"attributes":{"cart_id":"c","cart_total":80}},
        {"id":"2","trigger":"abandoned_cart","identities":{"user_id":"42"},"attributes":{"cart_id":"c"}},
        {"id":"3","trigger":"abandoned_cart","attributes":{"cart_id":"c","cart_total":1}},
        {"id":"4","trigger":7},
        "nonsense",
        {"id":"6","trigger":"email_opened","identities":{"user_id":"42"}},
        {"id":"7","trigger":"abandond_cart","identities":{"user_id":"42"},"occurred_at":"2026-05-04T09:00:00Z"},
        {"id":"8","trigger":"x","identities":{"user_id":"42"},"occurred_at":"yesterday"},
        {"id":"9","trigger":"x","identities":{"user_id":"a\u0000b"}},
        {"id":"10","trigger":"x","identities":{"user_id":"42"},"colour":"red"}
    ]"#;
    let told = with(|ctx| told(&native::events(body, ctx).unwrap()));
    insta::assert_snapshot!(told.join("\n"), @r#"
    abandoned_cart user_id:42+email:a@x.org 2026-05-04T10:00:00Z {"cart_id":"c","cart_total":80} [] id=Some("1")
    rejected[attribute] abandoned_cart: attribute `cart_total`: expected a number, nothing came
    rejected[identity] abandoned_cart: `identities`: expected at least one, such as {"user_id": "42"}
    rejected[malformed] : invalid type: integer `7`, expected a string at line 1 column 21
    rejected[malformed] : invalid type: string "nonsense", expected an event object at line 1 column 10
    rejected[interaction_trigger] email_opened: email_opened is an interaction trigger; it comes from sends and cannot be sent as an event
    abandond_cart user_id:42 2026-05-04T09:00:00Z {} [] id=Some("7")
    rejected[malformed] : `yesterday` is not an instant; expected RFC 3339 with an offset, such as "2026-05-01T09:00:00Z" at line 1 column 80
    rejected[identity] : the identity `user_id` must be at most 512 bytes of text without control characters
    rejected[malformed] : unknown field `colour`, expected one of `id`, `trigger`, `identities`, `occurred_at`, `attributes`, `binding_id`, `replay_as_live` at line 1 column 63
    "#);
}

#[test]
fn t02_a_batch_keeps_its_order_and_the_clients_clock_is_corrected() {
    let body = br#"{"sentAt":"2026-05-04T12:00:05Z","writeKey":"w","batch":[
        {"type":"track","event":"Abandoned Cart","userId":"42","messageId":"m1","timestamp":"2026-05-04T12:00:00Z",
         "properties":{"cart_id":"c","cart_total":"80"}},
        {"type":"identify","userId":"42","anonymousId":"x","traits":{"email":"a@x.org","plan":"pro"}},
        {"type":"page","anonymousId":"x","name":"Home","properties":{"path":"/"}},
        {"type":"alias","userId":"42","previousId":"41"},
        {"type":"group","userId":"42","groupId":"g","traits":{"size":3}},
        {"type":"dance","userId":"42"},
        {"type":"track","userId":"42"},
        7
    ]}"#;
    let told = with(|ctx| told(&segment::receive(segment::Call::Batch, body, ctx).unwrap()));
    insta::assert_snapshot!(told.join("\n"), @r#"
    abandoned_cart user_id:42 2026-05-04T09:59:55Z {"cart_id":"c","cart_total":80} [] id=Some("m1")
    update user_id:42+anonymous_id:x {"email":"a@x.org","plan":"pro"}
    page anonymous_id:x 2026-05-04T10:00:00Z {"name":"Home","path":"/"} [] id=None
    update user_id:41+user_id:42 {}
    group user_id:42 2026-05-04T10:00:00Z {"group_id":"g","size":3} [] id=None
    rejected[malformed] : `type`: expected track, identify, page, screen, group or alias, `dance` came
    rejected[malformed] : `event`: expected the name of the event
    rejected[malformed] : invalid type: integer `7`, expected a message object at line 1 column 1
    "#);
    assert_eq!(segment::write_key(body).as_deref(), Some("w"));
}

#[test]
fn what_is_not_json_is_refused_as_a_whole() {
    let deep = "[".repeat(100_000);
    for body in ["", "{", "nul\0", "[1,", deep.as_str(), "\u{feff}{}"] {
        with(|ctx| {
            assert!(native::events(body.as_bytes(), ctx).is_err(), "{}", &body[..body.len().min(9)]);
            assert!(segment::receive(segment::Call::Batch, body.as_bytes(), ctx).is_err());
        });
    }
    let nested = format!(
        r#"{{"trigger":"x","identities":{{"user_id":"1"}},"attributes":{{"a":{}1{}}}}}"#,
        "[".repeat(20),
        "]".repeat(20)
    );
    let told = with(|ctx| told(&native::events(nested.as_bytes(), ctx).unwrap()));
    assert_eq!(told, ["rejected[attribute] : `attributes`: they nest deeper than 16 levels"]);
}

proptest! {
    /// Whatever comes, every door answers, and as many results as items.
    #[test]
    fn fuzz_intake(noise in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..300, at in 0usize..300) {
        let template = br#"[{"id":"1","trigger":"abandoned_cart","identities":{"user_id":42},"attributes":{"cart_id":"c","cart_total":80}},{"type":"track","event":"x","userId":"1","properties":{}}]"#;
        let mut body = template.to_vec();
        let at = at.min(body.len());
        let cut = (at + cut).min(body.len());
        body.splice(at..cut, noise);
        with(|ctx| {
            let results = [
                native::events(&body, ctx),
                native::profiles(&body, ctx),
                segment::receive(segment::Call::Track, &body, ctx),
                segment::receive(segment::Call::Batch, &body, ctx),
            ];
            for received in results.into_iter().flatten() {
                assert_eq!(received.items.len(), received.results.len());
            }
        });
    }
}
