//! Documents: preconditions, limits, entity tags.

use crate::support::{DOCUMENTS, System};
use axum::http::{Method, StatusCode};

const MORE: &str = "apiVersion: sojourn/v1\nkind: Trigger\nmetadata: {name: more}\nspec: {kind: custom}\n";

#[tokio::test]
async fn if_match_prevents_a_lost_update_in_every_form_of_change() {
    let system = System::start().await;
    let put = |path: &str| system.post(path).key("dev-admin").body(MORE);
    let remove = || system.ask(Method::DELETE, "/api/v1/documents/Message/hello_at_work").key("dev-admin");
    for request in [put("/api/v1/documents"), put("/api/v1/documents?dry_run=true"), remove()] {
        let detail = request.header("if-match", "\"9\"").send().await.problem(412, "catalog_moved");
        assert_eq!(detail, "the catalog is at version 1 by now; plan again");
    }
    for request in [put("/api/v1/documents"), put("/api/v1/documents?dry_run=true"), remove()] {
        request.header("if-match", "W/\"1\"").send().await.problem(412, "catalog_moved");
    }
    // A tag that cannot be read is no tag: it must not pass for one that matches.
    for request in [put("/api/v1/documents"), put("/api/v1/documents?dry_run=true"), remove()] {
        let detail = request.header("if-match", "1").send().await.problem(400, "precondition_malformed");
        assert_eq!(detail, "`if-match`: expected an entity tag in quotes, such as \"7\", `1` came");
    }
    assert_eq!(system.read("/api/v1/documents").await["catalog_version"], 1);
    let applied = put("/api/v1/documents").header("if-match", "\"1\"").send().await;
    assert_eq!((applied.status, applied.header("etag")), (StatusCode::OK, "\"2\""));
    let removed = remove().header("if-match", "\"2\"").send().await;
    assert_eq!(removed.status, StatusCode::OK, "{removed:?}");
    let any = put("/api/v1/documents").header("if-match", "*").send().await;
    assert_eq!(any.status, StatusCode::OK);
}

#[tokio::test]
async fn lists_carry_the_catalogs_version_and_are_not_sent_twice() {
    let system = System::start().await;
    for path in ["/api/v1/triggers", "/api/v1/journeys", "/api/v1/messages", "/api/v1/documents"] {
        let first = system.get(path).key("dev-admin").send().await;
        let tag = first.header("etag").to_owned();
        assert_eq!(tag, "\"1\"", "{path}");
        let again = system.get(path).key("dev-admin").header("if-none-match", &tag).send().await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        let other = system.get(path).key("dev-admin").header("if-none-match", "\"0\"").send().await;
        assert_eq!((other.status, &other.body), (StatusCode::OK, &first.body), "{path}");
    }
}

#[tokio::test]
async fn documents_may_be_longer_than_events_but_not_endless() {
    let system = System::start().await;
    let trigger = |number: usize| {
        let title = "x".repeat(100_000);
        format!(
            "apiVersion: sojourn/v1\nkind: Trigger\nmetadata: {{name: long_{number}}}\nspec: {{kind: custom, title: {title}}}\n"
        )
    };
    let two_mib: Vec<String> = (0..20).map(trigger).collect();
    let answer =
        system.post("/api/v1/documents?dry_run=true").key("dev-admin").body(two_mib.join("---\n")).send().await;
    assert_ne!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    let endless = vec![b'#'; (16 << 20) + 1];
    let detail =
        system.post("/api/v1/documents").key("dev-admin").body(endless).send().await.problem(413, "body_too_large");
    assert_eq!(detail, "the body has more than 16777216 bytes, unpacked; send it in several requests");
}

#[tokio::test]
async fn what_is_refused_names_every_finding_and_changes_nothing() {
    let system = System::start().await;
    let broken = DOCUMENTS.replace("{trigger: signed_up}", "{trigger: sined_up}");
    let answer = system.post("/api/v1/documents").key("dev-admin").body(broken).send().await;
    answer.problem(422, "documents_refused");
    let findings = answer.json()["findings"].clone();
    assert_eq!(findings[0]["code"], "trigger_unknown", "{findings}");
    assert_eq!(findings[0]["document"], "Journey/welcome", "{findings}");
    assert_eq!(system.read("/api/v1/documents").await["catalog_version"], 1);
}
