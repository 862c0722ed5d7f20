//! `sojourn serve`: wires the worker, the channels and the API together, and ends them in order.

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::storage::{DataDir, DiskStorage, Readers};
use axum::serve::ListenerExt;
use channels::mailbox::Filter;
use channels::{Channels, Configured, Mailbox};
use engine::control::Control;
use http_api::{KeyRing, Shared};
use model::{Lsn, Text, Timestamp};
use ports::{Channel, HandOff};
use processor::{ChannelPolicy, Input, Options, Recovered, Sink, Status, TailItem, Worker};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

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

/// # Errors
/// One sentence: why it could not start.
pub fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let config = config::read(arguments.config.as_deref())?;
    let _data = DataDir::open(&arguments.data)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(serve(arguments, config))
}

async fn serve(arguments: &Arguments, config: Config) -> Result<ExitCode, String> {
    let (listener, address) = listen(arguments.listen).await?;
    let clock = Arc::new(Clock::start());
    let running = start(arguments, config, address, &clock)?;
    let shared = Arc::clone(&running.shared);
    tracing::info!(%address, data = %arguments.data.display(), development = arguments.dev, "serving");
    tokio::select! {
        result = accept(listener, shared, until_told()) => result?,
        // Live tails never end by themselves.
        () = async { until_told().await; tokio::time::sleep(Duration::from_secs(5)).await } => {}
    }
    tracing::info!("shutting down: taking in what has come, then a checkpoint");
    running.shared.handle.shut_down();
    let joined = tokio::task::spawn_blocking(move || running.worker.join()).await;
    match joined {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(_)) | Err(_) => Err("the worker ended in a panic; the log has everything".to_owned()),
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
///
/// # Errors
/// The listener failed.
pub async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    told: impl Future<Output = ()> + Send + 'static,
) -> Result<(), String> {
    // An answer leaves at once instead of waiting for the other side's acknowledgement (Nagle).
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection has no TCP_NODELAY");
        }
    });
    let app = http_api::router(shared).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(told).await.map_err(|error| format!("serving: {error}"))
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
}

/// Starts worker and channels.
///
/// # Errors
/// One sentence: what cannot be opened.
pub fn start(
    arguments: &Arguments,
    config: Config,
    address: SocketAddr,
    clock: &Arc<Clock>,
) -> Result<Running, String> {
    let public_url = config.server.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
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
    let sink = HostSink { shared: Arc::clone(&shared_cell), readers: storage.readers(), channels };
    let (worker, handle) = Worker::new(storage, sink, options);
    let captured = mailbox.clone().map(|mailbox| Arc::new(CapturedMail(mailbox)) as Arc<dyn http_api::Mailbox>);
    let shared = Arc::new(Shared::new(handle, captured, arguments.dev, now_of(clock)));
    if shared_cell.set(Arc::clone(&shared)).is_err() {
        return Err("the system was started twice".to_owned());
    }
    let (started, opened) = std::sync::mpsc::channel();
    let spawned = std::thread::Builder::new().name("partitions".into()).spawn(move || {
        // The mail pool, which the sink owns, needs a runtime also when it is dropped.
        let _in_runtime = runtime.enter();
        worker.run(|result| {
            if started.send(result).is_err() {
                tracing::error!("nobody waits for the start any more");
            }
        });
    });
    let worker = spawned.map_err(|error| format!("no thread for the partitions: {error}"))?;
    opened.recv().map_err(|_| "the worker ended before it had started".to_owned())??;
    Ok(Running { shared, mailbox, worker })
}

fn policies(channels: &Channels) -> BTreeMap<Text, ChannelPolicy> {
    let policy =
        |(name, Configured { in_flight_max, retry_unknown })| (name, ChannelPolicy { in_flight_max, retry_unknown });
    channels.configured().into_iter().map(policy).collect()
}

struct CapturedMail(Arc<Mailbox>);

impl http_api::Mailbox for CapturedMail {
    fn list(&self, address: Option<&str>, limit: usize) -> Vec<serde_json::Value> {
        let entries = self.0.list(&Filter { to: address, limit });
        entries.iter().map(|entry| serde_json::to_value(entry).unwrap_or_default()).collect()
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
        self.with(|shared| {
            for item in items {
                // Nobody may be looking any more; then it is for nobody.
                let _unseen = shared.tail.send(Arc::new(item));
            }
        });
    }

    fn checkpointed(&mut self, lsn: Lsn, now: Timestamp) {
        self.with(|shared| {
            shared.checkpointed.send_replace((lsn, now));
        });
    }

    fn status(&mut self, status: Status) {
        if let Status::Unavailable { .. } = status {
            self.with(|shared| shared.storage.store(None));
        }
        self.with(|shared| shared.status.store(Arc::new(status)));
    }

    fn recovered(&mut self, recovered: &Recovered, took: Duration) {
        let Recovered { checkpointed, records_replayed, profiles_scanned, timers, sends_unsettled } = recovered;
        tracing::info!(%checkpointed, records_replayed, profiles_scanned, timers, sends_unsettled,
            took_ms = took.as_millis(), "opened");
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.with(|shared| {
            let storage = readers.map(|Readers { state, history, signer }| {
                Arc::new(http_api::Storage { state, history: Box::new(history), signer })
            });
            shared.storage.store(storage);
        });
    }
}
