//! What comes in: bad input, repeated input, and what the books say of it.

use crate::server::{Start, sign_up};
use serde_json::{Value, json};

#[test]
fn bad_input_gets_a_clear_answer_and_breaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Start::new(&folder.path().join("data")).run();
    server.apply_examples();
    let large = format!("[{}]", vec![sign_up(1).to_string(); 100_000].join(","));
    assert!(large.len() > 10 << 20);
    let deep = "[".repeat(200_000);
    for (body, status) in [
        ("{", 400),
        ("", 400),
        ("\0\0", 400),
        (deep.as_str(), 400),
        (large.as_str(), 413),
        (r#"{"trigger":5}"#, 202),
        ("7", 202),
    ] {
        let (answered, problem) = server.send("POST", "/v1/events", "dev-server", body);
        assert_eq!(answered, status, "{}: {problem}", &body[..body.len().min(20)]);
    }
    let mut batch: Vec<Value> = (0..1000).map(sign_up).collect();
    batch[500] = json!({"id": "bad", "trigger": "signed_up", "identities": {"user_id": "x"}});
    let (status, answer) = server.post("/v1/events", &Value::from(batch));
    assert_eq!(status, 202);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 1000);
    assert_eq!(results[500]["outcome"], "rejected");
    assert_eq!(results[500]["reason"], "attribute `plan`: expected a text, nothing came");
    assert_eq!(results.iter().filter(|result| result["outcome"] == "accepted").count(), 999);
    let (_, unknown) = server.post("/v1/events", &json!({"trigger": "sined_up", "identities": {"user_id": "1"}}));
    assert_eq!(unknown["results"][0]["outcome"], "accepted");
    let (_, timeline) = server.get("/api/v1/profiles/user_id:1/timeline");
    let did = timeline.to_string();
    assert!(did.contains("no trigger is named sined_up; the nearest is signed_up"), "{timeline}");
    for path in [
        "/api/v1/profiles/nonsense",
        "/api/v1/journeys/none/participants",
        "/t/c/forged",
        "/nowhere",
        "/api/v1/sends?cursor=zz",
    ] {
        let (status, problem) = server.get(path);
        assert!((400..500).contains(&status), "{path}: {status}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{path}: {problem}");
        // What the type points to is there: each code has its heading on the page, see `docs`.
        let heading = format!("/docs/errors.md#{}", problem["code"].as_str().unwrap());
        assert!(problem["type"].as_str().unwrap().ends_with(&heading), "{problem}");
    }
    let (status, problem) = server.send(
        "POST",
        "/api/v1/documents",
        "dev-admin",
        "apiVersion: sojourn/v1\nkind: Journey\nmetadata: {name: x}\nspec: {start: {trigger: nothing}, steps: []}",
    );
    assert_eq!(status, 422);
    assert_eq!(problem["findings"][0]["code"], "trigger_unknown", "{problem}");
    assert_eq!(server.get("/readyz").0, 200);
}

#[test]
fn t03_a_repeated_id_is_answered_as_the_first_and_the_books_balance() {
    let folder = tempfile::tempdir().unwrap();
    let server = Start::new(&folder.path().join("data")).run();
    server.apply_examples();
    let first = server.post("/v1/events", &sign_up(1));
    assert_eq!(server.post("/v1/events", &sign_up(1)), first);
    let mut other = sign_up(1);
    other["attributes"]["plan"] = "free".into();
    assert_eq!(server.post("/v1/events", &other).0, 202);
    assert_eq!(server.post("/v1/events", &json!({"trigger": "signed_up", "identities": {"user_id": "1"}})).0, 202);
    let late = json!({"trigger": "signed_up", "identities": {"user_id": "2"}, "attributes": {"plan": "pro"}, "occurred_at": "2020-01-01T00:00:00Z"});
    assert_eq!(server.post("/v1/events", &late).0, 202);
    let position = server.stored(&json!({"trigger": "never_heard", "identities": {"user_id": "1"}}));
    let (_, books) = server.get(&format!("/api/v1/books?at_least={position}"));
    let signed_up = &books["triggers"]["signed_up"];
    let counts = ["received", "accepted", "matched", "unmatched", "late", "duplicate", "conflicts"]
        .map(|name| signed_up[name].as_u64().unwrap());
    assert_eq!(counts, [5, 2, 1, 0, 1, 2, 1], "{books}");
    assert_eq!(signed_up["rejected"]["attribute"], 1);
    assert_eq!(books["triggers"]["never_heard"]["unmatched"], 1);
    // Once is once: one participant, one mail.
    let (_, sends) = server.get(&format!("/api/v1/sends?profile=user_id:1&at_least={position}"));
    assert_eq!(sends["sends"].as_array().unwrap().len(), 1, "{sends}");
}
