//! What a page of another origin can reach: the front doors, and nothing of ours with a key that everyone knows.

use crate::support::{System, signed_up};
use axum::http::{Method, StatusCode};

const EVIL: &str = "https://evil.example";

#[tokio::test]
async fn a_page_makes_no_key_with_the_development_key() {
    let system = System::start().await;
    let body = r#"{"name":"mine","scope":"admin"}"#;
    for origin in [EVIL, "null", "http://127.0.0.1.evil.example", "file://"] {
        let request = system.post("/api/v1/keys").key("dev-admin").header("origin", origin).body(body);
        let answer = request.send().await;
        let detail = answer.problem(401, "unauthorized");
        assert!(detail.contains(origin), "{detail}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{answer:?}");
    }
    assert_eq!(system.read("/api/v1/keys").await["keys"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn the_control_api_answers_no_cors_to_anyone() {
    let system = System::start().await;
    let key = system.make_key("admin").await;
    for (method, path) in [
        (Method::GET, "/api/v1/triggers"),
        (Method::GET, "/api/v1/profiles/user_id:1"),
        (Method::OPTIONS, "/api/v1/keys"),
        (Method::GET, "/metrics"),
        (Method::GET, "/openapi.json"),
        (Method::GET, "/nowhere"),
    ] {
        let request = system.ask(method, path).key(&key).header("origin", EVIL);
        let request = request.header("access-control-request-method", "POST");
        let answer = request.send().await;
        let cors = answer.headers.keys().find(|name| name.as_str().starts_with("access-control"));
        assert_eq!(cors, None, "{path}");
    }
}

#[tokio::test]
async fn the_front_doors_answer_pre_flights_with_every_header_that_clients_send() {
    let system = System::start().await;
    for path in ["/v1/events", "/v1/profiles", "/v1/t", "/v1/batch", "/v1/projects/k/settings"] {
        let request = system
            .ask(Method::OPTIONS, path)
            .header("origin", EVIL)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let answer = request.send().await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        let allowed = answer.header("access-control-allow-headers").to_owned();
        let allowed: Vec<&str> = allowed.split(',').collect();
        for header in [
            "authorization",
            "content-type",
            "x-retry-count",
            "apikey",
            "client-id",
            "client-version",
            "upload-time",
            "time-delta-to-apply-millis",
            "cache-control",
            "content-encoding",
        ] {
            assert!(allowed.contains(&header), "{path}: {header} is not in {allowed:?}");
        }
    }
}

#[tokio::test]
async fn a_page_reads_its_position_and_why_it_was_refused() {
    let system = System::start().await;
    let key = system.make_key("browser").await;
    let event = r#"{"trigger":"signed_up","identities":{"anonymous_id":"a"},"attributes":{"plan":"pro"}}"#;
    for (key, status) in [(key.as_str(), 202), ("wrong", 401)] {
        let answer = system.post("/v1/events").key(key).header("origin", EVIL).body(event).send().await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("access-control-expose-headers"), "sojourn-position,retry-after");
    }
    let encoded = system.post("/v1/events").key(&key).header("origin", EVIL).header("content-encoding", "br");
    let answer = encoded.body(event).send().await;
    answer.problem(415, "content_encoding");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

/// DNS rebinding: the page's own name leads to 127.0.0.1 by now, so that its origin is ours.
#[tokio::test]
async fn development_keys_open_nothing_under_a_foreign_name() {
    let system = System::start().await;
    for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1"] {
        let answer = system.get("/api/v1/triggers").key("dev-admin").host(host).send().await;
        let detail = answer.problem(401, "unauthorized");
        assert!(detail.contains("this request was for the host"), "{detail}");
    }
    for host in ["localhost", "127.0.0.1:8080", "[::1]:8080", "shop.localhost:8080", "LOCALHOST"] {
        let answer = system.get("/api/v1/triggers").key("dev-admin").host(host).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
    // Other keys are secrets; they open under any name.
    let key = system.make_key("admin").await;
    let answer = system.get("/api/v1/triggers").key(&key).host("journeys.example.org").send().await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn development_keys_are_for_this_machine_and_its_own_pages() {
    let system = System::start().await;
    let answer = system.get("/api/v1/triggers").key("dev-admin").peer("192.0.2.7:999").send().await;
    answer.problem(401, "unauthorized");
    let answer = system.get("/api/v1/triggers").key("dev-admin").peer("[::ffff:127.0.0.1]:999").send().await;
    assert_eq!(answer.status, StatusCode::OK);
    // A developer's own page, from her own server.
    let request = system.post("/v1/events").key("dev-server").header("origin", "http://localhost:3000");
    assert_eq!(request.body(signed_up("1")).send().await.status, StatusCode::ACCEPTED);
    // A key in the body needs no pre-flight.
    let body = r#"{"writeKey":"dev-server","event":"signed_up","userId":"1","properties":{"plan":"pro"}}"#;
    let request = system.post("/v1/track").header("origin", EVIL).header("content-type", "text/plain").body(body);
    request.send().await.problem(401, "unauthorized");
    let request = system.post("/v1/track").header("content-type", "text/plain").body(body);
    assert_eq!(request.send().await.status, StatusCode::OK);
}
