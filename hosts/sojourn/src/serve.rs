//! `sojourn serve`: wires the worker, the channels and the API together, and ends them in order.

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::progress;
use crate::storage::{DataDir, DiskStorage, Readers, has_room};
use channels::mailbox::Filter;
use channels::{Channels, Configured, Health, Mailbox};
use engine::control::Control;
use http_api::{Captured, KeyRing, OpenCircuit, Outside, Shared};
use model::{Lsn, Text, Timestamp};
use ports::{Channel, HandOff};
use processor::{ChannelPolicy, Input, Options, Recovered, Sink, Status, TailItem, Worker};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

#[derive(clap::Args, Clone)]
pub struct Arguments {
    /// Where everything is kept.
    #[arg(long, default_value = "data", env = "SOJOURN_DATA")]
    pub data: PathBuf,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Configuration in TOML.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Accept the keys dev-admin, dev-server and dev-browser from this machine, and capture what no channel is
    /// configured for; captured messages are at GET /api/v1/mailbox.
    #[arg(long)]
    pub dev: bool,
    /// Replay a log that was written under other rules instead of refusing it.
    #[arg(long)]
    pub accept_rules_change: bool,
}

/// How long requests under way have to end once the server was told to stop; live tails never end by themselves.
const REQUESTS_END_WITHIN: Duration = Duration::from_secs(5);

/// # Errors
/// One sentence: why it could not start, or why it ended.
pub fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    // The store tells its own housekeeping at INFO.
    log_to_stderr("info,fjall=warn,lsm_tree=warn");
    let config = config::read(arguments.config.as_deref())?;
    let _data = DataDir::open(&arguments.data)?;
    has_room(&arguments.data, &config.storage)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
    let result = runtime.block_on(serve(arguments, config));
    // Whatever still runs, such as a live tail, is not waited for.
    runtime.shutdown_background();
    result
}

/// Unless RUST_LOG says otherwise, what is told is `usual`.
pub fn log_to_stderr(usual: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| usual.into());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
}

async fn serve(arguments: &Arguments, config: Config) -> Result<ExitCode, String> {
    let (listener, address) = listen(arguments.listen).await?;
    if config.server.public_url.is_none() && address.ip().is_unspecified() {
        tracing::warn!(%address, "links in mails will lead nowhere: set [server] public_url to where readers reach us");
    }
    let drain = config.server.drain;
    let Launched { running, opened, mut ended } = launch(arguments, config, address, &Arc::new(Clock::start()))?;
    // Health is answered from now on, while the log is still being read.
    let told = Arc::new(tokio::sync::Notify::new());
    let (stop, shared) = (Arc::clone(&told), Arc::clone(&running.shared));
    let mut accepting = tokio::spawn(accept(listener, shared, async move { stop.notified().await }));
    let mut terminated = std::pin::pin!(until_told());
    tokio::select! {
        result = with_progress(opened) => result?,
        () = &mut terminated => {
            tracing::info!("stopped before the log was read; the next start reads it again");
            return Ok(ExitCode::SUCCESS);
        }
    }
    tracing::info!(%address, data = %arguments.data.display(), development = arguments.dev, "serving");
    tokio::select! {
        () = &mut terminated => {}
        why = &mut ended => return Err(ended_early(why)),
        result = &mut accepting => return Err(listener_ended(result)),
    }
    tracing::info!("shutting down: no new requests, no new claims; waiting for hand-offs under way");
    told.notify_one();
    let requests = tokio::time::timeout(REQUESTS_END_WITHIN, accepting);
    let (_ended_or_not, left) = tokio::join!(requests, running.drain(drain));
    if left > 0 {
        tracing::warn!(left, "hand-offs that nobody answered in time; the next start shows them as unknown");
    }
    running.shared.handle.shut_down();
    match ended.await {
        Ok(Ok(())) => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        why => Err(ended_early(why)),
    }
}

/// Waits for the first opening; one that takes long says so.
async fn with_progress(mut opened: oneshot::Receiver<Result<(), String>>) -> Result<(), String> {
    let began = Instant::now();
    loop {
        match tokio::time::timeout(progress::EVERY, &mut opened).await {
            Ok(result) => return result.map_err(|_| "the worker ended before it had started".to_owned())?,
            Err(_) => tracing::info!(seconds = began.elapsed().as_secs(), "opening: reading the log"),
        }
    }
}

fn ended_early(why: Result<Result<(), String>, oneshot::error::RecvError>) -> String {
    let why = match why {
        Ok(Ok(())) => "nobody told it to".to_owned(),
        Ok(Err(why)) => why,
        Err(_) => "it said nothing".to_owned(),
    };
    format!("the thread of the partitions ended ({why}); the log has everything, start again")
}

fn listener_ended(result: Result<(), tokio::task::JoinError>) -> String {
    match result {
        Ok(()) => "the listener ended by itself".to_owned(),
        Err(panic) => format!("the listener ended: {panic}"),
    }
}

/// # Errors
/// The address is taken, or not one of ours.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let failed = |error: std::io::Error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Serves the API until `told`, then lets requests under way end.
pub async fn accept(listener: TcpListener, shared: Arc<Shared>, told: impl Future<Output = ()>) {
    http_api::server::serve(listener, shared, http_api::server::Limits::default(), told).await;
}

/// SIGTERM or Ctrl-C.
async fn until_told() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be waited for");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => {
            if let Err(error) = result {
                tracing::error!(%error, "Ctrl-C cannot be waited for");
            }
        }
    }
}

/// A running system without its socket.
pub struct Running {
    pub shared: Arc<Shared>,
    /// What development captures; None without `--dev`.
    pub mailbox: Option<Arc<Mailbox>>,
    pub worker: std::thread::JoinHandle<()>,
    channels: Channels,
}

/// A system that is being opened.
struct Launched {
    running: Running,
    /// How the first opening went.
    opened: oneshot::Receiver<Result<(), String>>,
    /// How the worker's thread ended.
    ended: Ended,
}

/// How a thread ended: by itself, or with a reason.
type Ended = oneshot::Receiver<Result<(), String>>;

impl Running {
    /// Claims no more and waits for the hand-offs under way, at most for `patience`; answers how many nobody answered.
    async fn drain(&self, patience: Duration) -> usize {
        let (told, drained) = oneshot::channel();
        // The receiver is there until this function ends.
        self.shared.handle.drain(move || {
            let _gone = told.send(());
        });
        let began = Instant::now();
        // An error is a worker that has ended, which hands off nothing.
        let _ended = tokio::time::timeout(patience, drained).await;
        self.channels.drain(patience.saturating_sub(began.elapsed())).await
    }
}

/// Starts worker and channels, and waits until they are open.
///
/// # Errors
/// One sentence: what cannot be opened.
pub fn start(
    arguments: &Arguments,
    config: Config,
    address: SocketAddr,
    clock: &Arc<Clock>,
) -> Result<Running, String> {
    let Launched { running, opened, .. } = launch(arguments, config, address, clock)?;
    opened.blocking_recv().map_err(|_| "the worker ended before it had started".to_owned())??;
    Ok(running)
}

/// Starts worker and channels.
fn launch(arguments: &Arguments, config: Config, address: SocketAddr, clock: &Arc<Clock>) -> Result<Launched, String> {
    let configured_url = config.server.public_url.as_ref().map(|url| url.as_str().to_owned());
    let public_url = configured_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let now_of = |clock: &Arc<Clock>| {
        let clock = Arc::clone(clock);
        Box::new(move || clock.now()) as Box<dyn Fn() -> Timestamp + Send + Sync>
    };
    let mailbox = arguments.dev.then(|| Arc::new(Mailbox::new(Mailbox::ENTRIES_MAX)));
    let shared_cell: Arc<OnceLock<Arc<Shared>>> = Arc::default();
    let settle_cell = Arc::clone(&shared_cell);
    let settled: channels::Settled = Arc::new(move |profile, effect, settlement| {
        if let Some(shared) = settle_cell.get() {
            shared.handle.settle(Input::Settled { profile, effect, settlement });
        }
    });
    let runtime = tokio::runtime::Handle::current();
    let channels = Channels::new(&config.channels, mailbox.clone(), runtime.clone(), settled);
    let channels = channels.map_err(|error| format!("configuration: {error}"))?;
    let options = Options {
        partitions: config.storage.partitions,
        hot_profiles_max: config.storage.hot_profiles_max,
        channels: policies(&channels),
        accept_rules_change: arguments.accept_rules_change,
        ..Options::default()
    };
    let storage = DiskStorage::new(arguments.data.clone(), config.storage.clone(), public_url, Arc::clone(clock));
    let sink = HostSink { shared: Arc::clone(&shared_cell), readers: storage.readers(), channels: channels.clone() };
    let circuits = Arc::new(ChannelCircuits(channels.clone())) as Arc<dyn http_api::Circuits>;
    let (worker, handle) = Worker::new(storage, sink, options);
    let captured = mailbox.clone().map(|mailbox| Arc::new(CapturedMail(mailbox)) as Arc<dyn http_api::Mailbox>);
    let outside = Outside {
        mailbox: captured,
        circuits: Some(circuits),
        development: arguments.dev,
        public_url: configured_url,
        now: now_of(clock),
    };
    let shared = Arc::new(Shared::new(handle, outside));
    shared.count_here();
    runtime.spawn(tidy_metrics(Arc::downgrade(&shared)));
    if shared_cell.set(Arc::clone(&shared)).is_err() {
        return Err("the system was started twice".to_owned());
    }
    let (started, opened) = oneshot::channel();
    let (worker, ended) = watched("partitions", move || {
        // The mail pool, which the sink owns, needs a runtime also when it is dropped.
        let _in_runtime = runtime.enter();
        worker.run(|result| {
            if started.send(result).is_err() {
                tracing::debug!("nobody waits for the start any more");
            }
        });
    })?;
    Ok(Launched { running: Running { shared, mailbox, worker, channels }, opened, ended })
}

/// A thread whose end somebody hears of, also when it is a panic.
fn watched(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(std::thread::JoinHandle<()>, Ended), String> {
    let (ended, end) = oneshot::channel();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let why = |panic: Box<dyn std::any::Any + Send>| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("a panic: {}", text.unwrap_or("without a message"))
        };
        if ended.send(result.map_err(why)).is_err() {
            tracing::debug!("nobody waits for the end any more");
        }
    });
    Ok((spawned.map_err(|error| format!("no thread for {name}: {error}"))?, end))
}

/// Every few seconds, as long as anybody has the system.
async fn tidy_metrics(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let Some(shared) = shared.upgrade() else { return };
        shared.tidy_metrics();
    }
}

fn policies(channels: &Channels) -> BTreeMap<Text, ChannelPolicy> {
    let policy =
        |(name, Configured { in_flight_max, retry_unknown })| (name, ChannelPolicy { in_flight_max, retry_unknown });
    channels.configured().into_iter().map(policy).collect()
}

struct CapturedMail(Arc<Mailbox>);

impl http_api::Mailbox for CapturedMail {
    fn list(&self, address: Option<&str>, before: Option<u64>, limit: usize) -> Vec<Captured> {
        let entries = self.0.list(&Filter { to: address, before, limit });
        let shown = entries
            .iter()
            .map(|entry| Captured { number: entry.number, message: serde_json::to_value(entry).unwrap_or_default() });
        shown.collect()
    }
}

struct ChannelCircuits(Channels);

impl http_api::Circuits for ChannelCircuits {
    fn channels(&self) -> Vec<Text> {
        self.0.health().into_keys().collect()
    }

    fn open(&self) -> Vec<OpenCircuit> {
        let open = |(channel, health): (Text, Health)| match health {
            Health::Working => Vec::new(),
            Health::Open(circuits) => circuits
                .into_iter()
                .map(|open| OpenCircuit { channel: channel.clone(), since: open.since, retry_at: open.retry_at })
                .collect(),
        };
        self.0.health().into_iter().flat_map(open).collect()
    }
}

/// Where the worker's output goes: to the channels, and to what the API shows.
struct HostSink {
    shared: Arc<OnceLock<Arc<Shared>>>,
    readers: Arc<Mutex<Option<Readers>>>,
    channels: Channels,
}

impl HostSink {
    fn with(&self, act: impl FnOnce(&Shared)) {
        if let Some(shared) = self.shared.get() {
            act(shared);
        }
    }
}

impl Sink for HostSink {
    fn hand_off(&mut self, hand_off: HandOff) {
        self.channels.hand_off(hand_off);
    }

    fn catalog(&mut self, catalog: &Arc<catalog::Catalog>) {
        self.with(|shared| shared.catalog.store(Arc::clone(catalog)));
    }

    fn keys(&mut self, control: &Control) {
        self.with(|shared| {
            shared.keys.store(Arc::new(KeyRing::of(control)));
            shared.control.store(Arc::new(control.clone()));
        });
    }

    fn tail(&mut self, items: Vec<TailItem>) {
        self.with(|shared| shared.tell(items));
    }

    fn checkpointed(&mut self, lsn: Lsn, now: Timestamp) {
        self.with(|shared| {
            shared.checkpointed.send_replace((lsn, now));
        });
    }

    fn closed(&mut self) {
        self.with(|shared| shared.storage.store(None));
    }

    fn status(&mut self, status: Status) {
        self.with(|shared| shared.status.store(Arc::new(status)));
    }

    fn recovered(&mut self, recovered: &Recovered, took: Duration) {
        let Recovered { checkpointed, records_replayed, profiles_scanned, timers, sends_unsettled, findings } =
            recovered;
        tracing::info!(%checkpointed, records_replayed, profiles_scanned, timers, sends_unsettled,
            took_ms = took.as_millis(), "opened");
        for finding in findings {
            tracing::warn!(%finding, "a published document would be refused today; publish it again without the mistake");
        }
        self.with(|shared| shared.recovered.store(Some(Arc::new((recovered.clone(), took)))));
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.with(|shared| {
            let Some(Readers { state, history, signer }) = readers else { return };
            shared.signer.store(Some(Arc::new(signer)));
            shared.storage.store(Some(Arc::new(http_api::Storage { state, history: Box::new(history) })));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_heard_of() {
        let (thread, ended) = watched("doomed", || panic!("INVARIANT: broken on purpose")).unwrap();
        let why = ended_early(ended.blocking_recv());
        assert_eq!(
            why,
            "the thread of the partitions ended (a panic: INVARIANT: broken on purpose); the log has everything, start \
             again"
        );
        thread.join().unwrap();
    }

    #[test]
    fn a_thread_that_ends_without_being_told_is_heard_of() {
        let (_thread, ended) = watched("idle", || {}).unwrap();
        assert!(ended_early(ended.blocking_recv()).contains("nobody told it to"));
    }
}
