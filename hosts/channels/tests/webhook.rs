//! Webhooks against a local receiver.

mod support;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use channels::Health;
use model::send::Settlement;
use model::{EffectId, Value};
use ring::hmac;
use std::sync::{Arc, Mutex};
use support::{Harness, hand_off};
use tokio::net::TcpListener;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Clone)]
struct Call {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Clone)]
struct Receiver {
    calls: Arc<Mutex<Vec<Call>>>,
    answer: Arc<dyn Fn(&Call) -> Response + Send + Sync>,
}

impl Receiver {
    /// Answers each call as told, or never where `answer` gives 102.
    async fn start(answer: impl Fn(&Call) -> Response + Send + Sync + 'static) -> (Self, String) {
        let receiver = Receiver { calls: Arc::default(), answer: Arc::new(answer) };
        let app = Router::new().fallback(receive).with_state(receiver.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hook?a=1", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, app).await.expect("the receiver serves") });
        (receiver, url)
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no panic").clone()
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let call = Call { method, uri, headers, body };
    receiver.calls.lock().expect("no panic").push(call.clone());
    let answer = (receiver.answer)(&call);
    if answer.status() == 102 {
        std::future::pending::<()>().await;
    }
    answer
}

fn config(more: &str) -> String {
    format!("[webhook]\nsecrets = [\"{SECRET}\"]\nallow_private_addresses = true\n{more}\n")
}

fn ok() -> Response {
    ().into_response()
}

fn body() -> Vec<(&'static str, Value)> {
    vec![("body", Value::Map([("hello", Value::from("wörld"))].into_iter().collect()))]
}

#[tokio::test]
async fn a_call_is_signed_and_carries_the_effect_as_its_id() {
    let (receiver, url) = Receiver::start(|_| ok()).await;
    let mut harness = Harness::new(&config(""), None);
    let mut parts = body();
    parts.push(("headers", Value::Map([("X-Shop", Value::from("42"))].into_iter().collect())));
    let settlement = harness.settle(hand_off(0xab, "webhook", &url, &parts)).await;
    assert_eq!(settlement, Settlement::Accepted { provider_id: None });

    let call = &receiver.calls()[0];
    assert_eq!((call.method.as_str(), call.uri.to_string().as_str()), ("POST", "/hook?a=1"));
    let header = |name: &str| call.headers[name].to_str().unwrap();
    let effect = "ab".repeat(16);
    assert_eq!(header("webhook-id"), format!("msg_{effect}"));
    assert_eq!(header("x-sojourn-send"), effect);
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("x-shop"), "42");
    assert_eq!(call.body, "{\"hello\":\"wörld\"}".as_bytes());

    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let signed = [format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes(), &call.body].concat();
    let signature = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed, &signature).expect("the signature verifies");
}

#[tokio::test]
async fn t59_retry_after_is_honoured() {
    let (_receiver, url) =
        Receiver::start(|_| (axum::http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "17")]).into_response()).await;
    let settlement = Harness::new(&config(""), None).settle(hand_off(1, "webhook", &url, &body())).await;
    assert_eq!(settlement, Settlement::Deferred { reason: "http 429".into(), retry_after_ms: Some(17_000) });
}

#[tokio::test]
async fn t60_a_refusal_is_final_and_a_redirect_is_not_followed() {
    let (target, target_url) = Receiver::start(|_| ok()).await;
    let (_receiver, url) = Receiver::start(move |_| {
        (axum::http::StatusCode::TEMPORARY_REDIRECT, [("location", target_url.clone())]).into_response()
    })
    .await;
    let settlement = Harness::new(&config(""), None).settle(hand_off(1, "webhook", &url, &body())).await;
    assert_eq!(settlement, Settlement::Rejected { reason: "http 307".into() });
    assert_eq!(target.calls().len(), 0);

    let (_receiver, url) = Receiver::start(|_| axum::http::StatusCode::GONE.into_response()).await;
    let settlement = Harness::new(&config(""), None).settle(hand_off(1, "webhook", &url, &body())).await;
    assert_eq!(settlement, Settlement::Rejected { reason: "http 410".into() });
}

#[tokio::test]
async fn t64_a_receiver_that_is_too_slow_is_tried_again_with_the_same_id() {
    let (receiver, url) = Receiver::start(|_| axum::http::StatusCode::PROCESSING.into_response()).await;
    let mut harness = Harness::new(&config("timeout = \"200 ms\""), None);
    for _attempt in 0..2 {
        let settlement = harness.settle(hand_off(1, "webhook", &url, &body())).await;
        assert_eq!(settlement, Settlement::Deferred { reason: "timeout".into(), retry_after_ms: None });
    }
    let calls = receiver.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].headers["webhook-id"], calls[1].headers["webhook-id"]);
    assert_eq!(calls[0].body, calls[1].body);
}

#[tokio::test]
async fn an_endless_answer_holds_nobody_up() {
    let (_receiver, url) = Receiver::start(|_| {
        let endless =
            tokio_stream::iter(std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 8_192]))));
        axum::body::Body::from_stream(endless).into_response()
    })
    .await;
    let settlement =
        Harness::new(&config("timeout = \"30 s\""), None).settle(hand_off(1, "webhook", &url, &body())).await;
    assert_eq!(settlement, Settlement::Accepted { provider_id: None });
}

#[tokio::test]
async fn t58_a_dead_receiver_opens_its_own_circuit_and_touches_no_other() {
    let (receiver, url) = Receiver::start(|_| ok()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = listener.local_addr().unwrap();
    drop(listener);
    let mut harness = Harness::new(&config(""), None);
    for number in 0..5 {
        let settlement = harness.settle(hand_off(number, "webhook", &format!("http://{dead}/"), &body())).await;
        let Settlement::Deferred { reason, retry_after_ms: None } = settlement else { panic!("{settlement:?}") };
        assert!(reason.starts_with("no connection: "), "{reason}");
    }
    let settlement = harness.settle(hand_off(6, "webhook", &format!("http://{dead}/"), &body())).await;
    assert!(
        matches!(&settlement, Settlement::NotTried { reason, retry_after_ms: Some(_) } if reason.starts_with("circuit_open")),
        "{settlement:?}"
    );
    let settlement = harness.settle(hand_off(7, "webhook", &url, &body())).await;
    assert_eq!(settlement, Settlement::Accepted { provider_id: None });
    assert_eq!(receiver.calls().len(), 1);
    let Health::Open(open) = harness.channels.health()["webhook"].clone() else { panic!("one is open") };
    assert_eq!(open.iter().map(|open| open.peer.clone()).collect::<Vec<_>>(), [dead.to_string()]);
}

#[tokio::test]
async fn s6_a_receiver_that_fails_for_everyone_is_left_alone() {
    let (receiver, url) = Receiver::start(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    let mut harness = Harness::new(&config(""), None);
    for number in 0..10 {
        let settlement = harness.settle(hand_off(number, "webhook", &url, &body())).await;
        assert!(matches!(settlement, Settlement::Deferred { .. }), "{settlement:?}");
    }
    let settlement = harness.settle(hand_off(11, "webhook", &url, &body())).await;
    assert!(
        matches!(&settlement, Settlement::NotTried { reason, .. } if reason == "circuit_open: http 503"),
        "{settlement:?}"
    );
    assert_eq!(receiver.calls().len(), 10);
}

#[tokio::test]
async fn a_private_address_is_refused_by_number_and_by_name() {
    let (receiver, url) = Receiver::start(|_| ok()).await;
    let mut harness = Harness::new("[webhook]", None);
    for url in [url.clone(), url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "0x7f.1")] {
        let settlement = harness.settle(hand_off(1, "webhook", &url, &body())).await;
        let Settlement::Rejected { reason } = settlement else { panic!("{url} {settlement:?}") };
        assert!(reason.starts_with("private_address"), "{url} {reason}");
    }
    assert_eq!(receiver.calls().len(), 0);
    assert_eq!(harness.channels.health()["webhook"], Health::Working);
}

#[tokio::test]
async fn without_secrets_a_call_is_not_signed_but_has_its_id() {
    let (receiver, url) = Receiver::start(|_| ok()).await;
    let mut harness = Harness::new("[webhook]\nallow_private_addresses = true", None);
    harness.settle(hand_off(1, "webhook", &url, &[("method", "put".into())])).await;
    let call = &receiver.calls()[0];
    assert_eq!(call.method, Method::PUT);
    assert!(!call.headers.contains_key("webhook-signature"));
    assert_eq!(call.headers["webhook-id"], format!("msg_{}", EffectId([1; 16])).as_str());
}
