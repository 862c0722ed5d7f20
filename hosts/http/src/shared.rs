//! What handlers see of the running system.

use crate::auth::KeyRing;
use crate::problem::Problem;
use arc_swap::{ArcSwap, ArcSwapOption};
use axum::http::StatusCode;
use catalog::Catalog;
use engine::control::Control;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use model::{Lsn, Timestamp};
use ports::State;
use ports::log::History;
use processor::{Answer, Handle, Input, NotTaken, Recovered, Reply, Status, TailItem};
use std::sync::Arc;
use std::time::Duration;
use template::tracking::Signer;
use tokio::sync::{broadcast, oneshot, watch};

/// How long `?at_least=` waits (design §2.8).
const AT_LEAST_MAX: Duration = Duration::from_secs(5);

pub struct Shared {
    pub handle: Handle,
    pub catalog: ArcSwap<Catalog>,
    pub control: ArcSwap<Control>,
    pub keys: ArcSwap<KeyRing>,
    /// The store and the history, while they are open.
    pub storage: ArcSwapOption<Storage>,
    pub status: ArcSwap<Status>,
    /// What the last opening found, and how long it took.
    pub recovered: ArcSwapOption<(Recovered, Duration)>,
    /// What the last checkpoint holds, and when it was made.
    pub checkpointed: watch::Sender<(Lsn, Timestamp)>,
    pub tail: broadcast::Sender<Arc<TailItem>>,
    pub mailbox: Option<Arc<dyn Mailbox>>,
    /// `--dev`: development keys from this machine are accepted.
    pub development: bool,
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    pub(crate) recorder: PrometheusRecorder,
}

/// What can be read besides the processor.
pub struct Storage {
    pub state: Arc<dyn State>,
    pub history: Box<dyn History>,
    pub signer: Signer,
}

/// Captured messages, as the development channel shows them.
pub trait Mailbox: Send + Sync {
    /// The newest first, at most `limit`, to `address` if given.
    fn list(&self, address: Option<&str>, limit: usize) -> Vec<serde_json::Value>;
}

impl Shared {
    pub fn new(
        handle: Handle,
        mailbox: Option<Arc<dyn Mailbox>>,
        development: bool,
        now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Self {
        Shared {
            handle,
            catalog: ArcSwap::from_pointee(Catalog::empty()),
            control: ArcSwap::from_pointee(Control::default()),
            keys: ArcSwap::from_pointee(KeyRing::default()),
            storage: ArcSwapOption::empty(),
            status: ArcSwap::from_pointee(Status::Starting),
            recovered: ArcSwapOption::empty(),
            checkpointed: watch::Sender::new((Lsn(0), Timestamp::MIN)),
            tail: broadcast::Sender::new(1_024),
            mailbox,
            development,
            now,
            recorder: PrometheusBuilder::new().build_recorder(),
        }
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

    pub(crate) fn storage(&self) -> Result<Arc<Storage>, Problem> {
        self.storage.load_full().ok_or_else(|| Problem::unavailable("the store is not open yet"))
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
