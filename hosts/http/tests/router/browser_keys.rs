//! What anyone may do who reads a page's source (`docs/rules.md`, Keys).

use crate::support::System;
use serde_json::{Value, json};

async fn outcome(system: &System, key: &str, path: &str, item: Value) -> Result<(), String> {
    let results = system.store(key, path, item.to_string()).await;
    match results[0]["outcome"].as_str().unwrap() {
        "accepted" => Ok(()),
        _ => Err(results[0]["reason"].as_str().unwrap().to_owned()),
    }
}

fn event(identities: Value, more: Value) -> Value {
    let mut event = json!({"trigger": "signed_up", "identities": identities, "attributes": {"plan": "pro"}});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

#[tokio::test]
async fn a_browser_key_tells_what_happened_and_not_who_is_who() {
    let system = System::start().await;
    let browser = system.make_key("browser").await;
    let allowed = [
        ("/v1/events", event(json!({"anonymous_id": "a"}), json!({}))),
        ("/v1/events", event(json!({"user_id": "42"}), json!({}))),
        ("/v1/events", event(json!({"user_id": "42", "anonymous_id": "a2"}), json!({}))),
        ("/v1/events", json!({"trigger": "never_heard", "identities": {"user_id": "42"}})),
        ("/v1/profiles", json!({"identities": {"anonymous_id": "a"}, "attributes": {"theme": "dark"}})),
    ];
    for (path, item) in allowed {
        assert_eq!(outcome(&system, &browser, path, item.clone()).await, Ok(()), "{item}");
    }
    let refused = [
        ("/v1/events", event(json!({"email": "a@x.org"}), json!({})), "not by email"),
        ("/v1/events", event(json!({"user_id": "42", "phone": "+491"}), json!({})), "not by phone"),
        ("/v1/events", event(json!({"contact": "7"}), json!({})), "not by contact"),
        ("/v1/events", event(json!({"user_id": "42"}), json!({"replay_as_live": true})), "cannot replay"),
        (
            "/v1/events",
            event(json!({"user_id": "42"}), json!({"attributes": {"plan": "pro", "contactpoint_email": "e@x.org"}})),
            "cannot set an address",
        ),
        ("/v1/events", json!({"trigger": "contact_created", "identities": {"user_id": "42"}}), "a record changed"),
        ("/v1/profiles", json!({"identities": {"user_id": "42"}, "attributes": {"a": 1}}), "not by user_id"),
        ("/v1/profiles", json!({"identities": {"anonymous_id": "a", "user_id": "42"}}), "not by user_id"),
        ("/v1/profiles", json!({"identities": {"anonymous_id": "a"}, "attributes": {"email": "e@x.org"}}), "`email`"),
        ("/v1/profiles", json!({"identities": {"anonymous_id": "a"}, "attributes": {"phone": null}}), "`phone`"),
        (
            "/v1/profiles",
            json!({"identities": {"anonymous_id": "a"}, "attributes": {"push_token": "t"}}),
            "`push_token`",
        ),
        // hello_at_work is sent there.
        (
            "/v1/profiles",
            json!({"identities": {"anonymous_id": "a"}, "attributes": {"work_email": "e@x.org"}}),
            "`work_email`",
        ),
    ];
    let server = system.make_key("server").await;
    for (path, item, why) in refused {
        let reason = outcome(&system, &browser, path, item.clone()).await.unwrap_err();
        assert!(reason.starts_with("key_scope: ") && reason.contains(why), "{item}: {reason}");
        assert_eq!(outcome(&system, &server, path, item.clone()).await, Ok(()), "{item}");
    }
}

/// Whoever could link her own anonymous id to somebody could speak for him ever after.
#[tokio::test]
async fn a_browser_key_links_nothing() {
    let system = System::start().await;
    let (browser, server) = (system.make_key("browser").await, system.make_key("server").await);
    let known = json!({"identities": {"user_id": "42"}, "attributes": {"email": "ada@example.org"}});
    assert_eq!(outcome(&system, &server, "/v1/profiles", known).await, Ok(()));
    let both = event(json!({"user_id": "42", "anonymous_id": "attacker"}), json!({}));
    assert_eq!(outcome(&system, &browser, "/v1/events", both).await, Ok(()));
    let told = json!({"identities": {"anonymous_id": "attacker"}, "attributes": {"first_name": "Mallory"}});
    assert_eq!(outcome(&system, &browser, "/v1/profiles", told).await, Ok(()));
    let ada = system.read("/api/v1/profiles/user_id:42").await;
    assert_eq!(ada["identities"], json!(["user_id:42"]));
    assert_eq!(ada["attributes"], json!({"email": "ada@example.org"}));
    assert_eq!(ada["journeys"][0]["entries"], 1, "the event itself is hers: {ada}");
}

#[tokio::test]
async fn what_a_browser_key_may_not_send_spoils_no_batch_and_counts_in_the_books() {
    let system = System::start().await;
    let browser = system.make_key("browser").await;
    let batch = json!({"writeKey": browser, "batch": [
        {"type": "track", "event": "Signed Up", "anonymousId": "a", "properties": {"plan": "pro"}},
        {"type": "identify", "userId": "42", "traits": {"email": "e@x.org"}},
        {"type": "track", "event": "Signed Up", "anonymousId": "b",
         "properties": {"plan": "pro", "contactpoint_email": "e@x.org"}},
        {"type": "page", "anonymousId": "a", "name": "Home"},
    ]});
    let answer = system.post("/v1/b").header("origin", "https://shop.example").body(batch.to_string()).send().await;
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    let position = answer.header("sojourn-position").to_owned();
    let books = system.read(&format!("/api/v1/books?at_least={position}")).await;
    // The books are those of events: a refused identify is in none (E4).
    assert_eq!(books["total"]["rejected"], json!({"key_scope": 1}), "{books}");
    assert_eq!(books["triggers"]["signed_up"]["rejected"], json!({"key_scope": 1}), "{books}");
    assert_eq!(books["triggers"]["signed_up"]["matched"], 1, "{books}");
    assert_eq!(system.get("/api/v1/profiles/user_id:42").key("dev-admin").send().await.status.as_u16(), 404);
}
