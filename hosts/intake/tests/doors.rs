//! What each door makes of requests, good and bad.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use catalog::{Catalog, Change};
use intake::{Context, ItemOutcome, Received, native, segment};
use model::{CatalogVersion, Timestamp};
use processor::Item;

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

/// One line a result: what is stored, or why not.
fn told(received: &Received) -> Vec<String> {
    assert_eq!(received.items.len(), received.results.len());
    let pairs = received.items.iter().zip(&received.results);
    pairs.map(|(item, result)| of_item(item, result, &result.outcome)).collect()
}

fn of_item(item: &Item, result: &intake::ItemResult, outcome: &ItemOutcome) -> String {
    match (item, outcome) {
        (Item::Event { event, unknown_attributes, .. }, ItemOutcome::Accepted) => {
            let identities: Vec<String> = event.identities.iter().map(ToString::to_string).collect();
            assert_eq!((&result.id, &result.trigger), (&event.id, &event.trigger));
            let id = event.id.as_deref().unwrap_or("without id");
            format!(
                "{} {} {} {} {:?} {id}",
                event.trigger,
                identities.join("+"),
                event.occurred_at,
                serde_json::to_string(&event.attributes).unwrap(),
                unknown_attributes,
            )
        }
        (Item::Update(update), ItemOutcome::Accepted) => {
            let identities: Vec<String> = update.identities.iter().map(ToString::to_string).collect();
            format!("update {} {}", identities.join("+"), serde_json::to_string(&update.attributes).unwrap())
        }
        (Item::Rejected(count), ItemOutcome::Rejected { reason }) => {
            format!("rejected[{}] {}: {reason}", count.reason, count.trigger)
        }
        // Nothing is stored of a profile that is rejected.
        (Item::RejectedUpdate, ItemOutcome::Rejected { reason }) => {
            format!("not stored {}: {reason}", result.id.as_deref().unwrap_or_default())
        }
        (item, outcome) => panic!("{item:?} and {outcome:?} do not belong together"),
    }
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
        {"id":"10","trigger":"x","identities":{"user_id":"42"},"colour":"red"},
        {"trigger":"x","identities":{"user_id":"42"},"binding_id":"cart/1"}
    ]"#;
    let told = with(|ctx| told(&native::events(body, ctx).unwrap()));
    insta::assert_snapshot!(told.join("\n"), @r#"
    abandoned_cart user_id:42+email:a@x.org 2026-05-04T10:00:00Z {"cart_id":"c","cart_total":80} [] 1
    rejected[attribute] abandoned_cart: attribute `cart_total`: expected a number, nothing came
    rejected[identity] abandoned_cart: `identities`: expected at least one, such as {"user_id": "42"}
    rejected[malformed] : invalid type: integer `7`, expected a string at line 1 column 21
    rejected[malformed] : invalid type: string "nonsense", expected an event object at line 1 column 10
    rejected[interaction_trigger] email_opened: email_opened is an interaction trigger; it comes from sends and cannot be sent as an event
    abandond_cart user_id:42 2026-05-04T09:00:00Z {} [] 7
    rejected[malformed] : `yesterday` is not an instant; expected RFC 3339 with an offset, such as "2026-05-01T09:00:00Z" at line 1 column 80
    rejected[identity] : the identity `user_id` must be at most 512 bytes of text without control characters
    rejected[malformed] : unknown field `colour`, expected one of `id`, `trigger`, `identities`, `occurred_at`, `attributes`, `binding_id`, `replay_as_live` at line 1 column 63
    x user_id:42 2026-05-04T10:00:00Z {} [] without id
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
        {"type":"alias","userId":"42","anonymousId":"x","previousId":"x"},
        {"type":"track","event":"Abandoned Cart","messageId":"m10"},
        {"type":"dance","userId":"42"},
        {"type":"track","userId":"42"},
        7
    ]}"#;
    let told = with(|ctx| told(&segment::receive(segment::Call::Batch, body, ctx).unwrap()));
    insta::assert_snapshot!(told.join("\n"), @r#"
    abandoned_cart user_id:42 2026-05-04T09:59:55Z {"cart_id":"c","cart_total":80} [] m1
    update user_id:42+anonymous_id:x {"email":"a@x.org","plan":"pro"}
    page anonymous_id:x 2026-05-04T10:00:00Z {"name":"Home","path":"/"} [] without id
    update user_id:41+user_id:42+anonymous_id:41 {}
    group user_id:42 2026-05-04T10:00:00Z {"group_id":"g","size":3} [] without id
    update user_id:42+anonymous_id:x {}
    rejected[identity] abandoned_cart: `identities`: expected at least one, such as {"user_id": "42"}
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

/// What a sender chooses is bounded before anything is kept of it.
#[test]
fn names_ids_and_bindings_are_bounded() {
    let long = |bytes: usize| "x".repeat(bytes);
    let event = |field: &str, text: &str| {
        let mut event = serde_json::json!({"id": "1", "trigger": "t", "identities": {"user_id": "1"}});
        event[field] = text.into();
        event.to_string()
    };
    for (field, bytes_max) in [("id", 200), ("trigger", 200), ("binding_id", 256)] {
        let told = |text: &str| with(|ctx| told(&native::events(event(field, text).as_bytes(), ctx).unwrap()));
        assert!(!told(&long(bytes_max))[0].starts_with("rejected"), "{field}");
        let expected = format!(
            "rejected[malformed] : `{field}`: expected 1 to {bytes_max} bytes of text without control characters"
        );
        for bad in [long(bytes_max + 1), "a\0b".to_owned(), "a\nb".to_owned()] {
            assert_eq!(told(&bad), [expected.as_str()], "{field}");
        }
    }
    let profile = format!(r#"{{"id":"{}","identities":{{"user_id":"1"}}}}"#, long(201));
    let told = with(|ctx| told(&native::profiles(profile.as_bytes(), ctx).unwrap()));
    assert_eq!(told, ["not stored : `id`: expected 1 to 200 bytes of text without control characters"]);
    // A message id is an id.
    let track = format!(r#"{{"event":"x","userId":"1","messageId":"{}"}}"#, long(201));
    let told = with(|ctx| self::told(&segment::receive(segment::Call::Track, track.as_bytes(), ctx).unwrap()));
    assert_eq!(told, ["rejected[malformed] : `id`: expected 1 to 200 bytes of text without control characters"]);
}

#[test]
fn a_rejected_message_of_segment_is_named_and_has_its_reason() {
    let body = br#"{"batch":[
        {"type":"identify","messageId":"m1","traits":{"plan":"pro"}},
        {"type":"identify","messageId":"m2","userId":"42","traits":["pro"]},
        {"type":"alias","messageId":"m3","userId":"","previousId":null}
    ]}"#;
    let told = with(|ctx| told(&segment::receive(segment::Call::Batch, body, ctx).unwrap()));
    insta::assert_snapshot!(told.join("\n"), @r#"
    not stored m1: `identities`: expected at least one, such as {"user_id": "42"}
    not stored m2: invalid type: sequence, expected an object of attributes at line 1 column 59
    not stored m3: `identities`: expected at least one, such as {"user_id": "42"}
    "#);
    // A single call that is JSON and no message is one rejected item, not a request that cannot be read.
    let told = with(|ctx| self::told(&segment::receive(segment::Call::Page, b"7", ctx).unwrap()));
    assert_eq!(told, ["rejected[malformed] : invalid type: integer `7`, expected a message object at line 1 column 1"]);
}

/// E3: without an id one is made, a UUID of the time it was made at, and the answer tells it.
#[test]
fn an_event_without_an_id_is_given_one() {
    let body =
        br#"[{"trigger":"x","identities":{"user_id":"1"}},{"id":"e1","trigger":"x","identities":{"user_id":"1"}},{}]"#;
    let mut received = with(|ctx| native::events(body, ctx).unwrap());
    received.make_ids();
    let ids: Vec<Option<&str>> = received.results.iter().map(|result| result.id.as_deref()).collect();
    assert_eq!(uuid::Uuid::parse_str(ids[0].unwrap()).unwrap().get_version_num(), 7);
    assert_eq!(ids[1..], [Some("e1"), None]);
    let Item::Event { event, .. } = &received.items[0] else { panic!("{received:?}") };
    assert_eq!(event.id.as_deref(), ids[0]);
}

/// E4: the books are of events; a profile that is rejected is answered, and counted nowhere.
#[test]
fn a_rejected_profile_is_in_no_book() {
    let body =
        br#"[{"id":"1","identities":{"user_id":"1"}}, {"id":"2"}, {"id":"3","identities":{"user_id":"1"},"x":1}, 7]"#;
    let received = with(|ctx| native::profiles(body, ctx).unwrap());
    let counted = received.items.iter().filter(|item| matches!(item, Item::Rejected(_))).count();
    assert_eq!((counted, received.results.len()), (0, 4));
    let ids: Vec<Option<&str>> = received.results.iter().map(|result| result.id.as_deref()).collect();
    assert_eq!(ids, [Some("1"), Some("2"), Some("3"), None]);
}

#[test]
fn t14_one_bad_item_among_a_thousand() {
    let item = |at: usize| match at {
        500 => r#"{"id":"500","trigger":"abandoned_cart","identities":{"user_id":"1"},"attributes":{"cart_id":"c"}}"#
            .to_owned(),
        _ => format!(
            r#"{{"id":"{at}","trigger":"abandoned_cart","identities":{{"user_id":"{at}"}},"attributes":{{"cart_id":"c","cart_total":{at}}}}}"#
        ),
    };
    let body = format!("[{}]", (0..1_000).map(item).collect::<Vec<_>>().join(","));
    let received = with(|ctx| native::events(body.as_bytes(), ctx).unwrap());
    assert_eq!((received.items.len(), received.results.len()), (1_000, 1_000));
    for (at, result) in received.results.iter().enumerate() {
        assert_eq!(result.id.as_deref(), Some(at.to_string().as_str()));
        assert_eq!(result.outcome == ItemOutcome::Accepted, at != 500, "{at}");
    }
    let one_more = body.replacen('[', &format!("[{},", vec!["{}"; 10_000].join(",")), 1);
    assert!(with(|ctx| native::events(one_more.as_bytes(), ctx)).is_err());
}

/// `event_time = receivedAt − (sentAt − timestamp)`; received at 10:00:00 by our clock.
#[test]
fn what_clocks_of_clients_say_is_corrected() {
    let occurred_at = |item: &str, sent_at: &str| {
        let body = format!(r#"{{"batch":[{{"type":"track","event":"x","userId":"1"{item}}}]{sent_at}}}"#);
        let received = with(|ctx| segment::receive(segment::Call::Batch, body.as_bytes(), ctx).unwrap());
        let Item::Event { event, .. } = &received.items[0] else { panic!("{received:?}") };
        event.occurred_at.to_string()
    };
    let sent_at = r#","sentAt":"2026-05-04T12:00:05Z""#;
    for (item, sent_at, expected) in [
        // Two hours ahead, and the event five seconds old.
        (r#","timestamp":"2026-05-04T12:00:00Z""#, sent_at, "2026-05-04T09:59:55Z"),
        // Of another zone, which is no other instant.
        (r#","timestamp":"2026-05-04T14:00:00+02:00""#, sent_at, "2026-05-04T09:59:55Z"),
        // A clock years behind.
        (r#","timestamp":"2001-01-01T00:00:00Z""#, r#","sentAt":"2001-01-01T00:01:00Z""#, "2026-05-04T09:59:00Z"),
        // RudderStack's server SDK puts both into the item.
        (r#","originalTimestamp":"2026-05-04T12:00:00Z","sentAt":"2026-05-04T12:00:07Z""#, "", "2026-05-04T09:59:53Z"),
        // Nothing to correct by, nothing said, nothing readable.
        (r#","timestamp":"2026-05-04T09:00:00Z""#, "", "2026-05-04T09:00:00Z"),
        ("", sent_at, "2026-05-04T10:00:00Z"),
        (r#","timestamp":"noon""#, sent_at, "2026-05-04T10:00:00Z"),
    ] {
        assert_eq!(occurred_at(item, sent_at), expected, "{item} {sent_at}");
    }
}

#[test]
fn every_path_of_segment_is_a_call() {
    use segment::Call;
    for (paths, call) in [
        (&["track", "t"][..], Call::Track),
        (&["identify", "i"], Call::Identify),
        (&["page", "p"], Call::Page),
        (&["screen", "s"], Call::Screen),
        (&["group", "g"], Call::Group),
        (&["alias", "a"], Call::Alias),
        (&["batch", "b", "import"], Call::Batch),
    ] {
        assert!(paths.iter().all(|path| Call::of_path(path) == Some(call)), "{paths:?}");
    }
    // `m` is for the library's own measurements, which are dropped.
    assert_eq!(Call::of_path("m"), None);
}
