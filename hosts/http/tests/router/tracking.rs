//! Links and pixels: the reader gets where she wants to, and only readers count.

use crate::support::{System, signed_up, signer};
use axum::http::{Method, StatusCode};
use model::{EffectId, ProfileId};
use serde_json::Value;
use template::tracking::{Kind, Token};

/// A person with a mail, and the paths of its link and its pixel.
async fn mailed(system: &System) -> (String, String) {
    system.store("dev-server", "/v1/events", signed_up("ada")).await;
    let profile = system.read("/api/v1/profiles/user_id:ada").await;
    let id = |value: &Value| value.as_str().unwrap().to_owned();
    let profile_id = ProfileId::parse(&id(&profile["id"])).unwrap();
    let effect = EffectId::parse(&id(&profile["sends"][0]["id"])).unwrap();
    let token = |kind| signer().sign(&Token { profile: profile_id, effect, kind }).unwrap();
    let click = Kind::Click { url: "https://shop.example/?a=1&b=2".to_owned() };
    (format!("/t/c/{}", token(click)), format!("/t/o/{}.gif", token(Kind::Open)))
}

async fn is_inside(system: &System) -> bool {
    let profile = system.read("/api/v1/profiles/user_id:ada").await;
    !profile["participants"].as_array().unwrap().is_empty()
}

/// What the timeline says of interactions, the newest first.
async fn interactions(system: &System) -> Vec<String> {
    let timeline = system.read("/api/v1/profiles/user_id:ada/timeline").await;
    let moments = timeline["timeline"].as_array().unwrap().iter();
    let of_readers = moments.filter(|moment| moment["what"].as_str().unwrap().starts_with("interaction"));
    of_readers.map(|moment| moment.to_string()).collect()
}

#[tokio::test]
async fn a_click_leads_to_the_target_and_continues_the_journey() {
    let system = System::start().await;
    let (click, _) = mailed(&system).await;
    let answer = system.get(&click).send().await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::FOUND, "https://shop.example/?a=1&b=2"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!is_inside(&system).await);
}

#[tokio::test]
async fn a_reader_gets_to_the_target_while_nothing_can_be_stored() {
    let system = System::start().await;
    let (click, open) = mailed(&system).await;
    system.fill_disk(true).await;
    let answer = system.get(&click).send().await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::FOUND, "https://shop.example/?a=1&b=2"));
    let answer = system.get(&open).send().await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 43));
    // A forged link still leads nowhere.
    system.get(&format!("{click}x")).send().await.problem(404, "not_found");
    system.fill_disk(false).await;
    assert!(is_inside(&system).await);
}

/// Scanners ask for the head of every link in a mail.
#[tokio::test]
async fn t50_a_head_request_leads_on_and_counts_for_nobody() {
    let system = System::start().await;
    let (click, open) = mailed(&system).await;
    let answer = system.ask(Method::HEAD, &click).send().await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::FOUND, "https://shop.example/?a=1&b=2"));
    assert_eq!(system.ask(Method::HEAD, &open).send().await.status, StatusCode::OK);
    assert_eq!(interactions(&system).await, Vec::<String>::new());
    assert!(is_inside(&system).await);
}

#[tokio::test]
async fn t51_what_is_fetched_ahead_is_a_machines() {
    let system = System::start().await;
    let (click, _) = mailed(&system).await;
    for (number, (name, value)) in [
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
        ("x-purpose", "preview"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = system.get(&click).header(name, value).send().await;
        assert_eq!(answer.status, StatusCode::FOUND);
        let told = interactions(&system).await;
        assert_eq!(told.len(), number + 1);
        assert!(told[0].contains("machine"), "{name}: {told:?}");
        assert!(is_inside(&system).await, "{name}");
    }
    assert_eq!(system.get(&click).send().await.status, StatusCode::FOUND);
    assert!(!is_inside(&system).await);
}

#[tokio::test]
async fn nobody_redirects_through_us_to_a_foreign_address() {
    let system = System::start().await;
    let (click, open) = mailed(&system).await;
    let token = click.trim_start_matches("/t/c/");
    let foreign = template::tracking::Signer::new([1; 32], "https://go.example.org");
    let kind = Kind::Click { url: "https://evil.example/".to_owned() };
    let theirs = foreign.sign(&Token { profile: ProfileId([1; 16]), effect: EffectId([1; 16]), kind }).unwrap();
    for path in [
        format!("/t/c/{theirs}"),
        format!("/t/c/{token}?url=https://evil.example/"),
        format!("/t/c/{}", &token[1..]),
        "/t/c/https%3A%2F%2Fevil.example".to_owned(),
        // An open's token is no click's.
        open.replace("/t/o/", "/t/c/").replace(".gif", ""),
    ] {
        let answer = system.get(&path).send().await;
        assert_ne!(answer.header("location"), "https://evil.example/", "{path}");
        if !path.contains('?') {
            answer.problem(404, "not_found");
        }
    }
}
