//! `sojourn bench`: the welcome workload on this machine, with its own server over real disks and sockets.

use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct Arguments {
    /// How many different people the events are about.
    #[arg(long, default_value_t = 100_000)]
    profiles: u64,
    /// How long events are sent.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Events in one request; 1 sends single ones.
    #[arg(long, default_value_t = 100)]
    batch: u64,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 8)]
    connections: u64,
    /// An empty folder for the data; default: one that is deleted afterwards.
    #[arg(long)]
    data: Option<PathBuf>,
}

const WELCOME: &str = include_str!("../../../examples/welcome/journey.yaml");

/// Kills the server when the bench ends, however it ends.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            // It is reaped; how it ended says nothing.
            let _ended = self.0.wait();
        }
    }
}

/// # Errors
/// What could not be run, or that the books do not balance.
pub fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let temporary = std::env::temp_dir().join(format!("sojourn-bench-{}", std::process::id()));
    let data = arguments.data.clone().unwrap_or_else(|| temporary.clone());
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = port.map_err(|error| error.to_string())?.port();
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let child = Command::new(program)
        .args(["serve", "--dev", "--data", &data.display().to_string(), "--listen", &format!("127.0.0.1:{port}")])
        .env("RUST_LOG", "warn")
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("the server cannot be started: {error}"))?;
    let served = Served(child);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let result = runtime.map_err(|error| error.to_string())?.block_on(measure(arguments, port));
    drop(served);
    if arguments.data.is_none()
        && let Err(error) = std::fs::remove_dir_all(&temporary)
    {
        eprintln!("{} could not be deleted: {error}", temporary.display());
    }
    result
}

async fn measure(arguments: &Arguments, port: u16) -> Result<ExitCode, String> {
    let base = format!("http://127.0.0.1:{port}");
    let client = reqwest::Client::new();
    wait_until_ready(&client, &base).await?;
    let request = client.post(format!("{base}/api/v1/documents")).bearer_auth("dev-admin").body(WELCOME);
    let applied = request.send().await.map_err(|error| error.to_string())?;
    if !applied.status().is_success() {
        return Err(format!("the welcome journey was refused: {}", applied.text().await.unwrap_or_default()));
    }
    eprintln!(
        "{} connections, batches of {}, {} people, {} s …",
        arguments.connections, arguments.batch, arguments.profiles, arguments.seconds
    );
    let sent = Arc::new(Sent::default());
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let until = began + Duration::from_secs(arguments.seconds);
    let tasks: Vec<_> = (0..arguments.connections)
        .map(|_| {
            tokio::spawn(send(
                client.clone(),
                base.clone(),
                arguments.batch,
                arguments.profiles,
                Arc::clone(&next),
                Arc::clone(&sent),
                until,
            ))
        })
        .collect();
    let mut latencies_us = Vec::new();
    for task in tasks {
        latencies_us.extend(task.await.map_err(|error| error.to_string())??);
    }
    let took = began.elapsed();
    report(arguments, &client, &base, &sent, took, latencies_us).await
}

#[derive(Default)]
struct Sent {
    events: AtomicU64,
    refused: AtomicU64,
    position: AtomicU64,
}

/// Half of the events are of the plan that gets a mail; each person comes again and again.
async fn send(
    client: reqwest::Client,
    base: String,
    batch: u64,
    profiles: u64,
    next: Arc<AtomicU64>,
    sent: Arc<Sent>,
    until: Instant,
) -> Result<Vec<u32>, String> {
    let mut latencies_us = Vec::new();
    while Instant::now() < until {
        let from = next.fetch_add(batch, Ordering::Relaxed);
        let events: Vec<Value> = (from..from + batch)
            .map(|number| {
                let person = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % profiles;
                let plan = if person.is_multiple_of(2) { "pro" } else { "free" };
                json!({
                    "id": format!("e{number}"),
                    "trigger": "signed_up",
                    "identities": {"user_id": person.to_string(), "email": format!("{person}@example.org")},
                    "attributes": {"plan": plan},
                })
            })
            .collect();
        let body = serde_json::to_vec(&events).map_err(|error| error.to_string())?;
        let asked = Instant::now();
        let request = client.post(format!("{base}/v1/events")).bearer_auth("dev-server").body(body);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        if answer.status() == 202 {
            let position = answer.headers().get("sojourn-position").and_then(|value| value.to_str().ok());
            let position = position.and_then(|value| value.parse().ok()).unwrap_or(0);
            sent.position.fetch_max(position, Ordering::Relaxed);
            sent.events.fetch_add(batch, Ordering::Relaxed);
            latencies_us.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        } else {
            sent.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The body is read, so that the connection can be used again.
        let _drained = answer.bytes().await;
    }
    Ok(latencies_us)
}

async fn report(
    arguments: &Arguments,
    client: &reqwest::Client,
    base: &str,
    sent: &Sent,
    took: Duration,
    mut latencies_us: Vec<u32>,
) -> Result<ExitCode, String> {
    latencies_us.sort_unstable();
    let at = |share: f64| {
        latencies_us.get((latencies_us.len() as f64 * share) as usize).copied().unwrap_or(0) as f64 / 1000.0
    };
    let events = sent.events.load(Ordering::Relaxed);
    let position = sent.position.load(Ordering::Relaxed);
    let books: Value = client
        .get(format!("{base}/api/v1/books?trigger=signed_up&at_least={position}"))
        .bearer_auth("dev-admin")
        .send()
        .await
        .map_err(|error| error.to_string())?
        .json()
        .await
        .map_err(|error| error.to_string())?;
    let total = &books["total"];
    println!("events/s            {:.0}", events as f64 / took.as_secs_f64());
    println!(
        "requests            {} of {} event(s), {} turned away",
        latencies_us.len(),
        arguments.batch,
        sent.refused.load(Ordering::Relaxed)
    );
    println!("acknowledged in ms  p50 {:.2}  p99 {:.2}  max {:.2}", at(0.5), at(0.99), at(0.999_999));
    println!(
        "books               sent {events} = received {} = accepted {} + duplicate {}",
        total["received"], total["accepted"], total["duplicate"]
    );
    if total["received"].as_u64() == Some(events) {
        println!("the books balance");
        Ok(ExitCode::SUCCESS)
    } else {
        Err(format!("the books do not balance: {total}"))
    }
}

async fn wait_until_ready(client: &reqwest::Client, base: &str) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let answer = client.get(format!("{base}/readyz")).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("the server did not become ready within a minute".to_owned())
}
