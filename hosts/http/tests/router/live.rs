//! The live tail.

use crate::support::{PATIENCE, System, signed_up};
use axum::body::BodyDataStream;
use serde_json::Value;
use tokio_stream::StreamExt;

struct Tail {
    stream: BodyDataStream,
    text: String,
}

impl Tail {
    async fn open(system: &System, query: &str) -> Self {
        let response = system.get(&format!("/api/v1/tail{query}")).key("dev-admin").open().await;
        assert_eq!(response.status().as_u16(), 200, "{query}");
        Tail { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(data) = event.strip_prefix("data: ") {
                    return serde_json::from_str(data).unwrap();
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("the tail shows it in time");
            self.text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
    }
}

#[tokio::test]
async fn closing_one_of_two_tails_leaves_the_other_alive() {
    let system = System::start().await;
    let first = Tail::open(&system, "").await;
    let mut second = Tail::open(&system, "").await;
    let third = Tail::open(&system, "?trigger=none").await;
    drop(first);
    system.store("dev-server", "/v1/events", signed_up("1")).await;
    let seen = second.next().await;
    assert_eq!((&seen["what"], &seen["verdict"]), (&"signed_up".into(), &"matched".into()), "{seen}");
    assert!(seen["did"].to_string().contains("welcome"), "{seen}");
    drop(third);
    system.store("dev-server", "/v1/events", signed_up("2")).await;
    assert_eq!(second.next().await["verdict"], "matched");
}

#[tokio::test]
async fn what_was_rejected_at_a_door_is_seen_with_its_reason() {
    let system = System::start().await;
    let mut tail = Tail::open(&system, "?verdict=rejected").await;
    let mut of_trigger = Tail::open(&system, "?trigger=signed_up").await;
    system.store("dev-server", "/v1/events", signed_up("1")).await;
    let bad = r#"{"id":"b1","trigger":"signed_up","identities":{"user_id":"1"}}"#;
    system.store("dev-server", "/v1/events", bad).await;
    // Segment's clients are told that all is well, whatever becomes of an item.
    let segment = r#"{"writeKey":"dev-server","batch":[{"type":"track","event":"Signed Up","userId":"1","messageId":"s1"},{"type":"odd"}]}"#;
    assert_eq!(system.post("/v1/batch").body(segment).send().await.status.as_u16(), 200);
    let reason = "attribute `plan`: expected a text, nothing came";
    for id in ["b1", "s1"] {
        let seen = tail.next().await;
        assert_eq!(
            (&seen["id"], &seen["what"], &seen["source"]),
            (&id.into(), &"signed_up".into(), &"dev-server".into())
        );
        assert_eq!((&seen["verdict"], &seen["reason"]), (&"rejected".into(), &reason.into()), "{seen}");
        assert_eq!((&seen["lsn"], &seen["profile"]), (&Value::Null, &Value::Null));
    }
    assert!(tail.next().await["reason"].as_str().unwrap().contains("`type`"));
    assert_eq!(of_trigger.next().await["verdict"], "matched");
    assert_eq!(of_trigger.next().await["id"], "b1");
    assert_eq!(of_trigger.next().await["id"], "s1");
}

#[tokio::test]
async fn a_tail_of_one_profile_shows_nobody_else() {
    let system = System::start().await;
    system.store("dev-server", "/v1/events", signed_up("ada")).await;
    let mut tail = Tail::open(&system, "?profile=user_id:ada&verdict=duplicate").await;
    system.store("dev-server", "/v1/events", signed_up("bob")).await;
    system.store("dev-server", "/v1/events", signed_up("bob")).await;
    system.store("dev-server", "/v1/events", signed_up("ada")).await;
    let ada = system.read("/api/v1/profiles/user_id:ada").await;
    assert_eq!(tail.next().await["profile"], ada["id"]);
    system.get("/api/v1/tail?profile=user_id:nobody").key("dev-admin").send().await.problem(404, "not_found");
}
