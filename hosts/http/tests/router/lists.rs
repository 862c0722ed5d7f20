//! Lists: every page joins the next, filters hold, and nothing is missing.

use crate::support::{System, signed_up};
use serde_json::Value;

/// All items of a list, read in pages of `limit`.
async fn all(system: &System, path: &str, list: &str, limit: usize) -> Vec<Value> {
    let mut items: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    for _ in 0..1_000 {
        let join = if path.contains('?') { '&' } else { '?' };
        let page = system.read(&format!("{path}{join}limit={limit}{cursor}")).await;
        let shown = page[list].as_array().unwrap();
        assert!(shown.len() <= limit, "{page}");
        items.extend(shown.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
    panic!("{path} has no end");
}

#[tokio::test]
async fn pages_of_every_list_join_into_the_whole() {
    let system = System::start().await;
    for number in 0..7 {
        system.make_key("server").await;
        system.store("dev-server", "/v1/events", signed_up(&number.to_string())).await;
    }
    let other = r#"{"trigger":"never_heard","identities":{"user_id":"0"}}"#;
    let stored = system.post("/v1/events").key("dev-server").body(other).send().await;
    let position = stored.header("sojourn-position").to_owned();
    for (path, list, count) in [
        ("/api/v1/triggers".to_owned(), "triggers", None),
        ("/api/v1/journeys".to_owned(), "journeys", Some(1)),
        ("/api/v1/messages".to_owned(), "messages", Some(2)),
        ("/api/v1/keys".to_owned(), "keys", Some(7)),
        ("/api/v1/mailbox".to_owned(), "messages", Some(5)),
        ("/api/v1/profiles/user_id:0/timeline".to_owned(), "timeline", None),
        (format!("/api/v1/journeys/welcome/participants?at_least={position}"), "participants", Some(7)),
        (
            format!("/api/v1/journeys/welcome/participants?state=inside&step=clicked&at_least={position}"),
            "participants",
            Some(7),
        ),
        (format!("/api/v1/journeys/welcome/participants?step=hello&at_least={position}"), "participants", Some(0)),
        (format!("/api/v1/sends?at_least={position}"), "sends", Some(7)),
        (format!("/api/v1/sends?state=cancelled&at_least={position}"), "sends", Some(0)),
        (format!("/api/v1/sends?profile=user_id:3&at_least={position}"), "sends", Some(1)),
        (format!("/api/v1/books?at_least={position}"), "minutes", Some(2)),
    ] {
        let whole = all(&system, &path, list, 1_000).await;
        assert_eq!(whole.len(), count.unwrap_or(whole.len()), "{path}");
        for limit in [1, 2, 3] {
            assert_eq!(all(&system, &path, list, limit).await, whole, "{path} by {limit}");
        }
    }
}

#[tokio::test]
async fn the_books_of_a_range_add_up_and_are_those_of_the_whole() {
    let system = System::start().await;
    system.store("dev-server", "/v1/events", signed_up("1")).await;
    let stored = system.post("/v1/events").key("dev-server").body(signed_up("2")).send().await;
    let position = stored.header("sojourn-position").to_owned();
    for (range, matched) in [
        ("", 2),
        ("&from=2026-05-04T10:00:30Z", 2),
        ("&to=2026-05-04T10:00:30Z", 2),
        ("&from=2026-05-04T10:01:00Z", 0),
        ("&to=2026-05-04T09:59:59Z", 0),
        ("&from=2026-05-04T12:00:00%2B02:00&to=2026-05-04T12:00:00%2B02:00", 2),
        ("&trigger=signed_up", 2),
        ("&trigger=signed", 0),
    ] {
        let books = system.read(&format!("/api/v1/books?at_least={position}{range}")).await;
        assert_eq!(books["total"]["matched"], matched, "{range}: {books}");
        assert_eq!(books["minutes"].as_array().unwrap().len(), usize::from(matched > 0), "{range}: {books}");
    }
}

#[tokio::test]
async fn a_profile_shows_her_newest_sends_first() {
    let system = System::start().await;
    let stored = system.post("/v1/events").key("dev-server").body(signed_up("ada")).send().await;
    let position = stored.header("sojourn-position").to_owned();
    let before = system.read("/api/v1/profiles/user_id:ada").await;
    assert_eq!(before["sends"][0]["message"], "hello", "{before}");
    // The same again from the store.
    let sends = system.read(&format!("/api/v1/sends?profile=user_id:ada&at_least={position}")).await;
    let after = system.read("/api/v1/profiles/user_id:ada").await;
    assert_eq!(after["sends"], sends["sends"], "{after}");
    assert_eq!(after["participants"][0]["step"], "clicked", "{after}");
}
