//! The listener: clients that are slow on purpose, and the end.

use crate::support::{PATIENCE, System};
use http_api::server::{Limits, serve};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

async fn listen(system: &System, limits: Limits) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, told) = oneshot::channel();
    let shared = Arc::clone(&system.shared);
    let serving = tokio::spawn(async move {
        serve(listener, shared, limits, async { drop(told.await) }).await;
    });
    (address, end, serving)
}

async fn within<T>(act: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, act).await.expect("it happens in time")
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// What comes until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    text
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_head_that_never_comes_ends_its_connection() {
    let system = System::start().await;
    let limits = Limits { head_within: Duration::from_millis(200), ..Limits::default() };
    let (address, _end, _serving) = listen(&system, limits).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    say(&mut slow, "GET /healthz HTTP/1.1\r\nhost: local").await;
    // Neither is answered; both are let go.
    assert!(!rest(&mut silent).await.contains("200 OK"));
    assert!(!rest(&mut slow).await.contains("200 OK"));
    let mut prompt = TcpStream::connect(address).await.unwrap();
    say(&mut prompt, HEALTH).await;
    assert!(rest(&mut prompt).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_their_turn() {
    let system = System::start().await;
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let (address, _end, _serving) = listen(&system, limits).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    say(&mut first, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut answered = [0; 15];
    within(first.read_exact(&mut answered)).await.unwrap();
    assert_eq!(&answered, b"HTTP/1.1 200 OK");
    let mut second = TcpStream::connect(address).await.unwrap();
    say(&mut second, HEALTH).await;
    let mut byte = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second was answered beside the first");
    drop(first);
    assert!(rest(&mut second).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn development_keys_know_their_peer_through_the_socket_and_an_end_waits_for_answers() {
    let system = System::start().await;
    let (address, end, serving) = listen(&system, Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/keys HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer dev-admin\r\ncontent-length: 31\r\n\r\n"
    );
    say(&mut stream, &head).await;
    say(&mut stream, r#"{"name":"last","#).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    end.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!serving.is_finished(), "a request is still being said");
    say(&mut stream, r#""scope":"admin"}"#).await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
    within(serving).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the port is free");
}
