//! What handlers see of the running system.

use crate::auth::KeyRing;
use crate::live::{self, Watched};
use crate::problem::Problem;
use arc_swap::{ArcSwap, ArcSwapOption};
use axum::http::StatusCode;
use catalog::Catalog;
use engine::control::Control;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use model::{Lsn, Text, Timestamp};
use ports::State;
use ports::log::History;
use processor::{Answer, Handle, Input, NotTaken, Recovered, Reply, Status, TailItem};
use std::sync::Arc;
use std::time::Duration;
use template::tracking::Signer;
use tokio::sync::{Semaphore, broadcast, oneshot, watch};

/// How long `?at_least=` waits (design §2.8).
const AT_LEAST_MAX: Duration = Duration::from_secs(5);
/// Lists read from the store at once; more wait for their turn.
const SCANS_MAX: usize = 4;
/// Hand-offs take from a tenth of a millisecond (a relay beside us) to the longest time-out.
const SECONDS: [f64; 11] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0];

pub struct Shared {
    pub handle: Handle,
    pub catalog: ArcSwap<Catalog>,
    pub control: ArcSwap<Control>,
    pub keys: ArcSwap<KeyRing>,
    /// The store and the history, while they are open.
    pub storage: ArcSwapOption<Storage>,
    /// Checks tokens of links. Kept while the store is away: a reader still gets to where her link leads.
    pub signer: ArcSwapOption<Signer>,
    pub status: ArcSwap<Status>,
    /// What the last opening found, and how long it took.
    pub recovered: ArcSwapOption<(Recovered, Duration)>,
    /// What the last checkpoint holds, and when it was made.
    pub checkpointed: watch::Sender<(Lsn, Timestamp)>,
    pub(crate) outside: Outside,
    pub(crate) tail: broadcast::Sender<Arc<live::Item>>,
    pub(crate) watched: Watched,
    pub(crate) scans: Arc<Semaphore>,
    pub(crate) recorder: Arc<PrometheusRecorder>,
}

/// What the API is given by the program that runs it.
pub struct Outside {
    pub mailbox: Option<Arc<dyn Mailbox>>,
    pub circuits: Option<Arc<dyn Circuits>>,
    /// `--dev`: development keys from this machine are accepted.
    pub development: bool,
    /// Where we are reached from outside, such as `https://go.example.org`. None: as the request says.
    pub public_url: Option<String>,
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// What can be read besides the processor.
pub struct Storage {
    pub state: Arc<dyn State>,
    pub history: Box<dyn History>,
}

/// Captured messages, as the development channel shows them.
pub trait Mailbox: Send + Sync {
    /// The newest first, at most `limit`, to `address` if given, older than the message numbered `before`.
    fn list(&self, address: Option<&str>, before: Option<u64>, limit: usize) -> Vec<Captured>;
}

pub struct Captured {
    /// Rises with every message captured.
    pub number: u64,
    pub message: serde_json::Value,
}

/// Which channels hold back what they should hand off (S6).
pub trait Circuits: Send + Sync {
    /// All channels that could.
    fn channels(&self) -> Vec<Text>;

    fn open(&self) -> Vec<OpenCircuit>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCircuit {
    pub channel: Text,
    pub since: Timestamp,
    pub retry_at: Timestamp,
}

impl Shared {
    pub fn new(handle: Handle, outside: Outside) -> Self {
        let recorder =
            PrometheusBuilder::new().set_buckets(&SECONDS).expect("INVARIANT: there are buckets").build_recorder();
        Shared {
            handle,
            catalog: ArcSwap::from_pointee(Catalog::empty()),
            control: ArcSwap::from_pointee(Control::default()),
            keys: ArcSwap::from_pointee(KeyRing::default()),
            storage: ArcSwapOption::empty(),
            signer: ArcSwapOption::empty(),
            status: ArcSwap::from_pointee(Status::Starting),
            recovered: ArcSwapOption::empty(),
            checkpointed: watch::Sender::new((Lsn(0), Timestamp::EPOCH)),
            outside,
            tail: broadcast::Sender::new(1_024),
            watched: Watched::default(),
            scans: Arc::new(Semaphore::new(SCANS_MAX)),
            recorder: Arc::new(recorder),
        }
    }

    /// Shows events to those who watch the live tail.
    pub fn tell(&self, items: Vec<TailItem>) {
        for item in items {
            // Nobody may be looking any more; then it is for nobody.
            let _unseen = self.tail.send(Arc::new(live::Item::Stored(item)));
        }
    }

    /// What counts and measures by the `metrics` crate is shown at `/metrics` from now on. One process has one such
    /// place: the first to ask has it.
    pub fn count_here(&self) {
        if metrics::set_global_recorder(Arc::clone(&self.recorder)).is_err() {
            tracing::debug!("another recorder of metrics is installed");
        }
    }

    /// Takes measured durations together, so that they do not pile up when nobody reads `/metrics`. Call it now and
    /// then.
    pub fn tidy_metrics(&self) {
        self.recorder.handle().run_upkeep();
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.outside.now)()
    }

    /// Hands an input in and waits for its answer.
    pub(crate) async fn ask(&self, input: impl FnOnce(Reply) -> Input<Reply>) -> Result<Answer, Problem> {
        let (sender, receiver) = oneshot::channel();
        let reply: Reply = Box::new(move |answer| {
            // Nobody waits any more when the client has gone; what was stored is stored all the same.
            let _gone = sender.send(answer);
        });
        self.handle.submit(input(reply)).map_err(|not_taken| match not_taken {
            NotTaken::Overloaded(_) => Problem {
                retry_after_s: Some(1),
                ..Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "overloaded",
                    "more comes than can be stored; nothing of this was taken",
                )
            },
            NotTaken::Ended(_) => Problem::unavailable("the server is shutting down"),
        })?;
        match receiver.await {
            Ok(Answer::Unavailable { why }) => Err(Problem::unavailable(why)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(Problem::unavailable("the server stopped before it could answer")),
        }
    }

    /// Reads store or history on a thread that may wait for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Storage) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = Arc::clone(&self.scans).acquire_owned().await.expect("INVARIANT: the semaphore is never closed");
        let storage = self.storage.load_full().ok_or_else(|| Problem::unavailable("the store is not open now"))?;
        let read = tokio::task::spawn_blocking(move || {
            let _turn = permit;
            act(&storage)
        });
        read.await.map_err(Problem::internal)?
    }

    /// Waits until lists and counters show everything up to `position`; answers as of when they are.
    pub(crate) async fn wait_for(&self, position: Option<u64>) -> Result<Timestamp, Problem> {
        let Some(position) = position.map(Lsn) else { return Ok(self.checkpointed.borrow().1) };
        let mut checkpointed = self.checkpointed.subscribe();
        let reached = async {
            loop {
                let (lsn, at) = *checkpointed.borrow_and_update();
                if lsn >= position {
                    return at;
                }
                self.handle.checkpoint();
                if checkpointed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(AT_LEAST_MAX, reached).await.map_err(|_| {
            let detail = format!("position {position} was not reached within 5 s");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "position_not_reached", detail)
        })
    }
}
