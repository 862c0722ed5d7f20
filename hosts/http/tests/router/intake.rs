//! The front doors: what is taken, what is refused, and that no batch is half taken without saying so.

use crate::support::{System, signed_up};
use axum::http::StatusCode;
use base64::Engine;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn t14_one_bad_item_of_a_thousand_is_rejected_alone() {
    let system = System::start().await;
    let mut batch: Vec<Value> = (0..1_000).map(|n| serde_json::from_str(&signed_up(&n.to_string())).unwrap()).collect();
    batch[500] = json!({"id": "bad", "trigger": "signed_up", "identities": {"user_id": "x"}});
    let results = system.store("dev-server", "/v1/events", Value::from(batch).to_string()).await;
    let results = results.as_array().unwrap();
    assert_eq!(results.len(), 1_000);
    let reason = "attribute `plan`: expected a text, nothing came";
    assert_eq!(results[500], json!({"id": "bad", "outcome": "rejected", "reason": reason}));
    for (number, result) in results.iter().enumerate().filter(|(number, _)| *number != 500) {
        assert_eq!(*result, json!({"id": format!("e-{number}"), "outcome": "accepted"}));
    }
}

#[tokio::test]
async fn bad_input_gets_a_clear_answer() {
    let system = System::start().await;
    let deep_attribute = format!(
        r#"{{"trigger":"signed_up","identities":{{"user_id":"1"}},"attributes":{{"plan":"pro","deep":{}1{}}}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    for (body, outcome) in [
        (r#"{"trigger":5}"#, "expected"),
        ("7", "expected an event object"),
        ("null", "expected an event object"),
        (r#"{"trigger":"signed_up","identities":{"user_id":"1"},"attributes":{"plan":[7]}}"#, "expected a text"),
        (r#"{"trigger":"signed_up","identities":{"user_id":{"a":1}}}"#, "user_id"),
        (r#"{"trigger":"signed_up","identities":{}}"#, "identities"),
        (r#"{"trigger":"a\u0000b","identities":{"user_id":"1"}}"#, "control characters"),
        (r#"{"trigger":"signed_up","identities":{"user_id":"a\u0000b"}}"#, "user_id"),
        (r#"{"trigger":"signed_up","identity":{"user_id":"1"}}"#, "unknown field `identity`"),
        (r#"{"trigger":"signed_up","identities":{"user_id":"1"},"occurred_at":"yesterday"}"#, ""),
        (deep_attribute.as_str(), "deeper"),
    ] {
        let results = system.store("dev-server", "/v1/events", body.to_owned()).await;
        assert_eq!(results[0]["outcome"], "rejected", "{body}: {results}");
        assert!(results[0]["reason"].as_str().unwrap().contains(outcome), "{body}: {results}");
    }
    let deep = "[".repeat(200_000);
    for body in ["{", "", "\0\0", "[1,", deep.as_str(), "\u{feff}{}"] {
        for path in ["/v1/events", "/v1/profiles", "/v1/batch", "/v1/track"] {
            let answer = system.post(path).key("dev-server").body(body.to_owned()).send().await;
            answer.problem(400, "malformed");
        }
    }
    let not_utf8 = system.post("/v1/events").key("dev-server").body(&b"\"\xff\xfe\""[..]).send().await;
    not_utf8.problem(400, "malformed");
    let unknown = json!({"trigger": "sined_up", "identities": {"user_id": "1"}}).to_string();
    assert_eq!(system.store("dev-server", "/v1/events", unknown).await[0]["outcome"], "accepted");
    let ten_mb = vec![b' '; 10 << 20];
    let detail = system.post("/v1/events").key("dev-server").body(ten_mb).send().await.problem(413, "body_too_large");
    assert_eq!(detail, "the body has more than 1048576 bytes, unpacked; send it in several requests");
    assert_eq!(system.get("/readyz").send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_small_body_that_unpacks_to_a_huge_one_is_refused() {
    let system = System::start().await;
    let bomb = gzip(&vec![b' '; 200 << 20]);
    assert!(bomb.len() < 1 << 20);
    for path in ["/v1/events", "/v1/profiles", "/v1/batch", "/v1/m"] {
        let request = system.post(path).key("dev-server").header("content-encoding", "gzip").body(bomb.clone());
        request.send().await.problem(413, "body_too_large");
    }
    let cut = &gzip(signed_up("1").as_bytes())[..20];
    let request = system.post("/v1/events").key("dev-server").header("content-encoding", "gzip").body(cut.to_vec());
    request.send().await.problem(400, "malformed");
}

/// RudderStack's node client says that its gzipped JSON is a form; Segment's browser library that it is plain text.
#[tokio::test]
async fn clients_that_name_another_content_type_are_read_as_json() {
    let system = System::start().await;
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("dev-server:"));
    let batch = json!({"batch": [{
        "type": "track", "event": "signed_up", "userId": "rudder", "properties": {"plan": "pro"},
        "messageId": "m1", "originalTimestamp": "2026-05-04T09:59:00Z", "sentAt": "2026-05-04T10:00:00Z",
        "channel": "server",
    }]});
    let request = system
        .post("/v1/batch")
        .header("authorization", &basic)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("content-encoding", "gzip")
        .body(gzip(batch.to_string().as_bytes()));
    let answer = request.send().await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"success": true})));
    let profile = system.read("/api/v1/profiles/user_id:rudder").await;
    assert_eq!(profile["journeys"][0]["entries"], 1, "{profile}");
    let call =
        json!({"writeKey": "dev-browser", "event": "signed_up", "anonymousId": "p", "properties": {"plan": "pro"}});
    let request = system.post("/v1/t").header("content-type", "text/plain").body(call.to_string());
    assert_eq!(request.send().await.status, StatusCode::OK);
    assert_eq!(system.read("/api/v1/profiles/anonymous_id:p").await["journeys"][0]["entries"], 1);
}

#[tokio::test]
async fn segments_browser_library_is_told_the_address_it_came_by() {
    let asked = async |system: &System, proto: Option<&str>| {
        let mut request = system.get("/v1/projects/wk/settings").host("in.example.org");
        if let Some(proto) = proto {
            request = request.header("x-forwarded-proto", proto);
        }
        request.send().await.json()["integrations"]["Segment.io"].clone()
    };
    let system = System::start_at(None);
    for (proto, protocol) in
        [(None, "http"), (Some("https"), "https"), (Some("https, http"), "https"), (Some("gopher"), "http")]
    {
        let expected = json!({"apiKey": "wk", "apiHost": "in.example.org/v1", "protocol": protocol});
        assert_eq!(asked(&system, proto).await, expected);
    }
    let system = System::start_at(Some("https://go.example.org/"));
    let expected = json!({"apiKey": "wk", "apiHost": "go.example.org/v1", "protocol": "https"});
    assert_eq!(asked(&system, None).await, expected);
}

#[tokio::test]
async fn an_idempotency_key_makes_a_request_without_ids_safe_to_send_again() {
    let system = System::start().await;
    let event = |person: &str| json!({"trigger": "signed_up", "identities": {"user_id": person}, "attributes": {"plan": "pro"}});
    let mut named = event("c");
    named["id"] = "mine".into();
    let batch = json!([event("a"), {"trigger": "signed_up"}, event("a"), named]).to_string();
    let send = async |key: &str| {
        let request = system.post("/v1/events").key("dev-server").header("idempotency-key", key);
        request.body(batch.clone()).send().await
    };
    let first = send("order-7").await.json();
    let ids: Vec<&Value> = first["results"].as_array().unwrap().iter().map(|result| &result["id"]).collect();
    assert_eq!(
        ids,
        ["order-7#0", "", "order-7#2", "mine"]
            .map(|id| if id.is_empty() { Value::Null } else { id.into() })
            .iter()
            .collect::<Vec<_>>()
    );
    let again = send("order-7").await;
    assert_eq!(again.json(), first);
    let position = again.header("sojourn-position").to_owned();
    let books = system.read(&format!("/api/v1/books?trigger=signed_up&at_least={position}")).await;
    assert_eq!((&books["total"]["matched"], &books["total"]["duplicate"]), (&json!(3), &json!(3)), "{books}");
    // One object, another key: another event.
    let one = |key: &str| system.post("/v1/profiles").key("dev-server").header("idempotency-key", key);
    let profile = json!({"identities": {"user_id": "a"}, "attributes": {"n": 1}}).to_string();
    assert_eq!(one("p-1").body(profile).send().await.json()["results"][0]["id"], "p-1#0");
    for key in ["", &"k".repeat(101)] {
        send(key).await.problem(400, "idempotency_key");
    }
}

#[tokio::test]
async fn t15_overload_is_answered_before_anything_is_taken() {
    let (system, _worker) = System::stuck();
    let mut taken = 0;
    // Nobody takes from the inbox; the API's own reads fill it as well as anything.
    loop {
        let who = processor::Who::Profile(model::ProfileId([0; 16]));
        let input = processor::Input::Read { who, ticket: Box::new(|_| {}) as processor::Reply };
        if system.shared.handle.submit(input).is_err() {
            break;
        }
        taken += 1;
        assert!(taken < 10_000_000, "the inbox has no end");
    }
    for (path, body) in
        [("/v1/events", signed_up("1")), ("/v1/batch", r#"{"batch":[{"type":"page","anonymousId":"a"}]}"#.to_owned())]
    {
        let answer = system.post(path).key("dev-server").body(body).send().await;
        let detail = answer.problem(429, "overloaded");
        assert_eq!(detail, "more comes than can be stored; nothing of this was taken");
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn t16_a_full_disk_takes_nothing_and_is_mended_by_room() {
    let system = System::start().await;
    system.fill_disk(true).await;
    for (path, body) in
        [("/v1/events", signed_up("1")), ("/v1/profiles", r#"{"identities":{"user_id":"1"}}"#.to_owned())]
    {
        let answer = system.post(path).key("dev-server").body(body).send().await;
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let readiness = system.get("/readyz").send().await;
    assert_eq!((readiness.status, &readiness.json()["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
    system.get("/api/v1/sends").key("dev-admin").send().await.problem(503, "unavailable");
    system.fill_disk(false).await;
    assert_eq!(system.store("dev-server", "/v1/events", signed_up("1")).await[0]["outcome"], "accepted");
    assert_eq!(system.get("/readyz").send().await.status, StatusCode::OK);
}
