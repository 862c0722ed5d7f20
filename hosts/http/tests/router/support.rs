//! A system in memory, and requests to it.

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use engine::control::Control;
use http_api::{Captured, Circuits, KeyRing, OpenCircuit, Outside, Shared, Storage};
use model::{Lsn, Text, Timestamp};
use ports::HandOff;
use ports::memory::{Disk, Fault, MemoryLog, MemoryState};
use processor::{ChannelPolicy, Handle, Opened, Options, Recovered, Sink, Status, TailItem, Worker};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use template::tracking::Signer;
use tower::ServiceExt;

pub const DOCUMENTS: &str = r#"
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: signed_up}
spec: {kind: custom, attributes: {plan: {type: text, required: true}}}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: hello}
spec: {channel: email, purpose: transactional, subject: Hello, html: "<a href=\"https://shop.example/\">shop</a>"}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: hello_at_work}
spec: {channel: email, purpose: transactional, to: work_email, subject: Hello, text: Hello}
---
apiVersion: sojourn/v1
kind: Journey
metadata: {name: welcome}
spec:
  start: {trigger: signed_up}
  steps:
    - {id: hello, send: {message: hello}}
    - id: clicked
      wait_for: {outcomes: [{interaction: email_link_clicked, of: hello, steps: []}], up_to: 1d, otherwise: []}
"#;

/// How long a test waits for what happens on other threads.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn now() -> Timestamp {
    Timestamp::parse("2026-05-04T10:00:00Z").unwrap()
}

pub fn signer() -> Signer {
    Signer::new([9; 32], "https://go.example.org")
}

struct InMemory {
    disk: Disk,
    is_full: Arc<AtomicBool>,
}

impl processor::Storage for InMemory {
    type Log = MemoryLog;
    type State = MemoryState;

    fn open(&mut self) -> Result<Opened<MemoryLog, MemoryState>, String> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err("the disk is full".to_owned());
        }
        let (log, state) = (self.disk.open_log(), Arc::new(self.disk.open_state()));
        Ok(Opened { log, state, secret: [7; 32], signer: signer() })
    }

    fn now(&mut self) -> Timestamp {
        now()
    }
}

struct InMemorySink {
    shared: Arc<OnceLock<Arc<Shared>>>,
    disk: Disk,
}

impl InMemorySink {
    fn shared(&self) -> &Shared {
        self.shared.wait()
    }
}

impl Sink for InMemorySink {
    fn hand_off(&mut self, _: HandOff) {}

    fn catalog(&mut self, catalog: &Arc<catalog::Catalog>) {
        self.shared().catalog.store(Arc::clone(catalog));
    }

    fn keys(&mut self, control: &Control) {
        self.shared().keys.store(Arc::new(KeyRing::of(control)));
        self.shared().control.store(Arc::new(control.clone()));
    }

    fn tail(&mut self, items: Vec<TailItem>) {
        self.shared().tell(items);
    }

    fn checkpointed(&mut self, lsn: Lsn, now: Timestamp) {
        self.shared().checkpointed.send_replace((lsn, now));
    }

    fn closed(&mut self) {
        self.shared().storage.store(None);
    }

    fn status(&mut self, status: Status) {
        self.shared().status.store(Arc::new(status));
    }

    fn recovered(&mut self, _: &Recovered, _: Duration) {
        let (state, history) = (Arc::new(self.disk.open_state()), Box::new(self.disk.clone()));
        self.shared().storage.store(Some(Arc::new(Storage { state, history })));
        self.shared().signer.store(Some(Arc::new(signer())));
    }
}

/// A mailbox of numbered messages.
struct Messages(u64);

impl http_api::Mailbox for Messages {
    fn list(&self, _: Option<&str>, before: Option<u64>, limit: usize) -> Vec<Captured> {
        let numbers = (0..before.unwrap_or(self.0)).rev().take(limit);
        numbers.map(|number| Captured { number, message: number.into() }).collect()
    }
}

/// Channels of which the test says which are open.
#[derive(Default)]
pub struct Channels(pub Mutex<Vec<OpenCircuit>>);

impl Circuits for Channels {
    fn channels(&self) -> Vec<Text> {
        vec!["email".into(), "webhook".into()]
    }

    fn open(&self) -> Vec<OpenCircuit> {
        self.0.lock().unwrap().clone()
    }
}

pub struct System {
    pub shared: Arc<Shared>,
    pub channels: Arc<Channels>,
    is_full: Arc<AtomicBool>,
    worker: Option<std::thread::JoinHandle<()>>,
}

impl System {
    /// Running, with [`DOCUMENTS`] published.
    pub async fn start() -> Self {
        let system = Self::start_at(None);
        let applied = system.post("/api/v1/documents").key("dev-admin").body(DOCUMENTS).send().await;
        assert_eq!(applied.status, StatusCode::OK, "{applied:?}");
        system
    }

    pub fn start_at(public_url: Option<&str>) -> Self {
        let is_full = Arc::new(AtomicBool::new(false));
        let filled = Arc::clone(&is_full);
        let faults = Arc::new(move |_| if filled.load(Ordering::SeqCst) { Fault::FailBefore } else { Fault::None });
        let disk = Disk::with_faults(faults);
        let policy = ChannelPolicy { in_flight_max: 100, retry_unknown: false };
        let options = Options { partitions: 4, channels: [("email".into(), policy)].into(), ..Options::default() };
        let shared_cell: Arc<OnceLock<Arc<Shared>>> = Arc::default();
        let sink = InMemorySink { shared: Arc::clone(&shared_cell), disk: disk.clone() };
        let storage = InMemory { disk, is_full: Arc::clone(&is_full) };
        let (worker, handle) = Worker::new(storage, sink, options);
        let (shared, channels) = shared(handle, public_url);
        assert!(shared_cell.set(Arc::clone(&shared)).is_ok());
        let (started, opened) = std::sync::mpsc::channel();
        let worker = std::thread::spawn(move || worker.run(|result| started.send(result).unwrap()));
        opened.recv().unwrap().unwrap();
        System { shared, channels, is_full, worker: Some(worker) }
    }

    /// A system whose worker takes nothing: what is sent to it stays in its inbox.
    pub fn stuck() -> (Self, impl Sized) {
        let disk = Disk::new();
        let storage = InMemory { disk: disk.clone(), is_full: Arc::default() };
        let sink = InMemorySink { shared: Arc::default(), disk };
        let (worker, handle) = Worker::new(storage, sink, Options::default());
        let (shared, channels) = shared(handle, None);
        shared.status.store(Arc::new(Status::Unavailable { why: "the worker is stuck".to_owned() }));
        (System { shared, channels, is_full: Arc::default(), worker: None }, worker)
    }

    /// From now on nothing can be written, until it is `false` again.
    pub async fn fill_disk(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
        if is_full {
            // The next thing to be stored finds out.
            let refused = self.post("/v1/events").key("dev-server").body(signed_up("finds_out")).send().await;
            assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
            self.until(|shared| shared.storage.load().is_none()).await;
        } else {
            self.until(|shared| shared.storage.load().is_some()).await;
        }
    }

    pub async fn until(&self, holds: impl Fn(&Shared) -> bool) {
        let waiting = async {
            while !holds(&self.shared) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it comes true in time");
    }

    pub fn get(&self, path: &str) -> Asking {
        self.ask(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Asking {
        self.ask(Method::POST, path)
    }

    pub fn ask(&self, method: Method, path: &str) -> Asking {
        let request = Request::builder().method(method).uri(path);
        Asking {
            router: http_api::router(Arc::clone(&self.shared)),
            request,
            host: "localhost:8080".to_owned(),
            peer: SocketAddr::from(([127, 0, 0, 1], 40_000)),
            body: Body::empty(),
        }
    }

    /// What an admin reads there.
    pub async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).key("dev-admin").send().await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        answer.json()
    }

    /// Stores events and answers their results.
    pub async fn store(&self, key: &str, path: &str, body: impl Into<Body>) -> Value {
        let answer = self.post(path).key(key).body(body).send().await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.json()["results"].clone()
    }

    /// A key that is no development key.
    pub async fn make_key(&self, scope: &str) -> String {
        let body = serde_json::json!({"name": "made", "scope": scope}).to_string();
        let made = self.post("/api/v1/keys").key("dev-admin").body(body).send().await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.json()["key"].as_str().unwrap().to_owned()
    }
}

fn shared(handle: Handle, public_url: Option<&str>) -> (Arc<Shared>, Arc<Channels>) {
    let channels: Arc<Channels> = Arc::default();
    let outside = Outside {
        mailbox: Some(Arc::new(Messages(5))),
        circuits: Some(Arc::clone(&channels) as Arc<dyn Circuits>),
        development: true,
        public_url: public_url.map(str::to_owned),
        now: Box::new(now),
    };
    (Arc::new(Shared::new(handle, outside)), channels)
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.is_full.store(false, Ordering::SeqCst);
            self.shared.handle.shut_down();
            worker.join().unwrap();
        }
    }
}

/// A request that is being made; from this machine, by the name localhost, unless told otherwise.
pub struct Asking {
    router: axum::Router,
    request: axum::http::request::Builder,
    host: String,
    peer: SocketAddr,
    body: Body,
}

impl Asking {
    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub fn peer(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn send(self) -> Answer {
        let response = self.open().await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, body }
    }

    /// The answer with its body still to come.
    pub async fn open(self) -> axum::response::Response {
        let request = self.request.header("host", self.host).extension(ConnectInfo(self.peer)).body(self.body);
        self.router.oneshot(request.unwrap()).await.unwrap()
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that it is a problem of that code and answers its sentence.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        let detail = problem["detail"].as_str().unwrap().to_owned();
        assert!(detail.len() > 10, "{problem}");
        detail
    }
}

/// A sign-up of that person.
pub fn signed_up(person: &str) -> String {
    serde_json::json!({
        "id": format!("e-{person}"),
        "trigger": "signed_up",
        "identities": {"user_id": person, "email": format!("{person}@example.org")},
        "attributes": {"plan": "pro"},
    })
    .to_string()
}
