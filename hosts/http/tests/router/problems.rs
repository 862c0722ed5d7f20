//! Every error is a problem that says what was expected.

use crate::support::{System, signed_up};
use axum::http::{Method, StatusCode};

#[tokio::test]
async fn queries_that_cannot_be_read_say_so() {
    let system = System::start().await;
    for (path, expected) in [
        ("/api/v1/sends?limit=abc", "limit"),
        ("/api/v1/sends?limit=0", "expected 1 to 1000, 0 came"),
        ("/api/v1/sends?limit=1001", "expected 1 to 1000, 1001 came"),
        ("/api/v1/sends?at_least=x", "at_least"),
        ("/api/v1/explain", "profile"),
        ("/api/v1/explain?profile=user_id:1", "journey"),
        ("/api/v1/sends?stat=accepted", "stat"),
        ("/api/v1/triggers?kind=custom", "kind"),
        ("/api/v1/profiles/user_id:1?fields=id", "fields"),
        ("/api/v1/documents?dry_run=true", "dry_run"),
        ("/api/v1/books?minute=1", "minute"),
        ("/api/v1/mailbox?from=a", "from"),
        ("/api/v1/tail?verdicts=late", "verdicts"),
        (
            "/api/v1/sends?state=foo",
            "`planned`, `handed_off`, `accepted`, `rejected`, `deferred`, `unknown`, `blocked`, `cancelled`",
        ),
        ("/api/v1/journeys/welcome/participants?state=in", "`inside`, `parked`, `ended`"),
        ("/api/v1/tail?verdict=good", "`matched`, `unmatched`, `late`, `duplicate`, `duplicate_conflict`, `rejected`"),
    ] {
        let detail = system.get(path).key("dev-admin").send().await.problem(400, "query");
        assert!(detail.contains(expected), "{path}: {detail}");
    }
    for (path, code) in [
        ("/api/v1/sends?cursor=zz", "cursor"),
        ("/api/v1/mailbox?cursor=zz", "cursor"),
        ("/api/v1/profiles/user_id:1/timeline?cursor=zz", "cursor"),
        ("/api/v1/books?from=yesterday", "instant"),
        ("/api/v1/profiles/nonsense", "identity"),
    ] {
        system.get(path).key("dev-admin").send().await.problem(400, code);
    }
    system.get("/api/v1/profiles/%ff").key("dev-admin").send().await.problem(400, "path");
}

#[tokio::test]
async fn a_wrong_method_names_the_right_ones() {
    let system = System::start().await;
    for (method, path, allow) in [
        (Method::PUT, "/api/v1/triggers", "GET,HEAD"),
        (Method::PUT, "/api/v1/keys", "GET,HEAD,POST"),
        (Method::GET, "/v1/events", "POST"),
        (Method::POST, "/t/c/x", "GET,HEAD"),
        (Method::DELETE, "/healthz", "GET,HEAD"),
    ] {
        let answer = system.ask(method, path).key("dev-admin").send().await;
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn without_a_key_the_answer_says_which_kind_is_wanted() {
    let system = System::start().await;
    for (method, path) in [(Method::GET, "/api/v1/triggers"), (Method::POST, "/v1/events"), (Method::POST, "/v1/t")] {
        for key in [None, Some("wrong"), Some("")] {
            let mut request = system.ask(method.clone(), path).body("{}");
            if let Some(key) = key {
                request = request.key(key);
            }
            let answer = request.send().await;
            answer.problem(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    let server = system.make_key("server").await;
    system.get("/api/v1/triggers").key(&server).send().await.problem(403, "forbidden");
    system.get("/nowhere").send().await.problem(404, "not_found");
}

#[tokio::test]
async fn a_key_is_made_from_json_whatever_its_content_type_says() {
    let system = System::start().await;
    let body = r#"{"name":"shop","scope":"server"}"#;
    for content_type in [None, Some("application/json"), Some("application/x-www-form-urlencoded")] {
        let mut request = system.post("/api/v1/keys").key("dev-admin").body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let made = request.send().await;
        assert_eq!((made.status, made.header("cache-control")), (StatusCode::CREATED, "no-store"));
    }
    for (body, expected) in [
        ("{", "EOF"),
        (r#"{"name":"shop"}"#, "scope"),
        (r#"{"name":"shop","scope":"root"}"#, "`browser`, `server`, `admin`"),
        (r#"{"name":"shop","scope":"admin","expires":1}"#, "expires"),
    ] {
        let detail = system.post("/api/v1/keys").key("dev-admin").body(body).send().await.problem(400, "malformed");
        assert!(detail.contains(expected), "{body}: {detail}");
    }
    assert_eq!(system.read("/api/v1/keys").await["keys"].as_array().unwrap().len(), 3);
}

/// What failed inside is for the log: a client learns nothing of paths, rows or partitions.
#[tokio::test]
async fn an_internal_error_shows_an_incident_and_nothing_else() {
    let system = System::start().await;
    system.store("dev-server", "/v1/events", signed_up("ada")).await;
    system.until(|shared| shared.checkpointed.borrow().0.0 > 0).await;
    struct Broken;
    impl ports::State for Broken {
        fn get(&self, _: ports::state::Keyspace, _: &[u8]) -> Result<Option<Vec<u8>>, ports::state::Error> {
            Ok(None)
        }
        fn scan(
            &self,
            _: ports::state::Keyspace,
            _: &[u8],
            _: Option<&[u8]>,
            _: &mut ports::state::Visit<'_>,
        ) -> Result<(), ports::state::Error> {
            Err(ports::state::Error::Io { doing: "a scan", why: "/var/lib/secret is broken".into() })
        }
        fn write(&self, _: Vec<ports::state::Row>) -> Result<(), ports::state::Error> {
            Ok(())
        }
    }
    let storage =
        http_api::Storage { state: std::sync::Arc::new(Broken), history: Box::new(ports::memory::Disk::new()) };
    system.shared.storage.store(Some(std::sync::Arc::new(storage)));
    for path in
        ["/api/v1/sends", "/api/v1/books", "/api/v1/journeys/welcome/participants", "/api/v1/profiles/user_id:ada"]
    {
        let detail = system.get(path).key("dev-admin").send().await.problem(500, "internal");
        let incident = detail.strip_prefix("something failed in the server; its log has it as incident ");
        assert!(incident.is_some_and(|incident| incident.len() == 8), "{path}: {detail}");
    }
}
