//! The welcome workload: profile and sign-up of each person over HTTP, mails into the mailbox, opens over HTTP.
//!
//! ```text
//!   load thread ── /v1/profiles, /v1/events ──► server ──► mailbox ◄── sink thread, looks every half millisecond
//!        ▲                                        ▲                         │ every second reader opens at once
//!        └────────── the same two cores ──────────┴──── /t/o/{token} ◄──────┘
//! ```
//! Load, sink and server share one process and its cores, so that clocks need no comparing; all that is counted as
//! load goes through sockets.

use super::client::Connection;
use super::measure::{Latencies, cpu_time, disk_bytes, mib, resident_bytes};
use crate::clock::Clock;
use crate::config::Config;
use crate::serve;
use channels::Mailbox;
use hyper::StatusCode;
use ports::HandOff;
use processor::Status;
use serde_json::Value;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

#[derive(clap::Args)]
pub struct Arguments {
    /// People who are known before the measurement begins.
    #[arg(long, default_value_t = 1_000_000)]
    profiles: u64,
    /// How long each of the four phases takes.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Items in one request of the batch phases.
    #[arg(long, default_value_t = 100)]
    batch: u64,
    /// Connections of the batch phases.
    #[arg(long, default_value_t = 8)]
    batch_connections: u64,
    /// Connections of the phases with single items.
    #[arg(long, default_value_t = 64)]
    connections: u64,
}

const DOCUMENTS: &str = include_str!("welcome.yaml");
const SERVER_KEY: &str = "dev-server";
const ADMIN_KEY: &str = "dev-admin";
/// Events a second that two cores are to do, in batches and as single requests. Half of it, or half of what was reached
/// where that is less, is the load at which times count.
const BATCHES_TARGET: f64 = 50_000.0;
const SINGLES_TARGET: f64 = 12_000.0;
/// Connections that fetch pixels.
const READERS: usize = 8;
/// After the load: five seconds of waiting for opens, and the rest for what is still under way.
const QUIET_WITHIN: Duration = Duration::from_secs(120);

/// # Errors
/// What could not be run, or what does not balance.
pub fn run(arguments: &Arguments, data: &Path) -> Result<(), String> {
    let server = Server::start(data)?;
    let load = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = load.map_err(|error| error.to_string())?.block_on(measure(arguments, &server, data));
    result.and(server.stop())
}

// ---- the server, as `sojourn serve --dev` runs it ----

struct Server {
    runtime: tokio::runtime::Runtime,
    running: serve::Running,
    mailbox: Arc<Mailbox>,
    address: SocketAddr,
}

impl Server {
    fn start(data: &Path) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let arguments = serve::Arguments {
            data: data.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            config: None,
            dev: true,
            accept_rules_change: false,
        };
        let _in_runtime = runtime.enter();
        let (listener, address) = runtime.block_on(serve::listen(arguments.listen))?;
        let running = serve::start(&arguments, Config::default(), address, &Arc::new(Clock::start()))?;
        let mailbox = running.mailbox.clone().ok_or("no mailbox")?;
        let shared = Arc::clone(&running.shared);
        runtime.spawn(async move { serve::accept(listener, shared, std::future::pending()).await });
        drop(_in_runtime);
        Ok(Server { runtime, running, mailbox, address })
    }

    fn stop(self) -> Result<(), String> {
        self.running.shared.handle.shut_down();
        let joined = self.running.worker.join().map_err(|_| "the worker ended in a panic".to_owned());
        self.runtime.shutdown_background();
        joined
    }

    fn status(&self) -> Status {
        Status::clone(&self.running.shared.status.load())
    }
}

// ---- people ----

/// Who was sent when, and what came of it.
struct People {
    count: u64,
    /// Coprime to `count`: people come in an order that has nothing to do with that of the store.
    stride: u64,
    next: AtomicU64,
    began: Instant,
    /// When each one's sign-up was due, in µs since `began`, plus one; 0 for not yet.
    due_us: Vec<AtomicU32>,
    /// Mails each one got: the first one counts 1, the second 16.
    mails: Vec<AtomicU8>,
    first_mails: AtomicU64,
    second_mails: AtomicU64,
    opened: AtomicU64,
    to_hand_off: Mutex<Latencies>,
}

impl People {
    fn new(count: u64) -> Self {
        let gcd = |mut a: u64, mut b: u64| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        let stride = (0..).map(|step| 0x9e37_79b1 + 2 * step).find(|stride| gcd(*stride, count) == 1).unwrap_or(1);
        People {
            count,
            stride,
            next: AtomicU64::new(0),
            began: Instant::now(),
            due_us: (0..count).map(|_| AtomicU32::new(0)).collect(),
            mails: (0..count).map(|_| AtomicU8::new(0)).collect(),
            first_mails: AtomicU64::new(0),
            second_mails: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            to_hand_off: Mutex::default(),
        }
    }

    /// The next `batch` people who have not signed up yet. None: there are no more.
    fn take(&self, batch: u64) -> Option<Vec<u64>> {
        let from = self.next.fetch_add(batch, Ordering::Relaxed);
        let people = (from..from + batch).map(|place| place.wrapping_mul(self.stride) % self.count);
        (from + batch <= self.count).then(|| people.collect())
    }

    fn are_due(&self, people: &[u64], at: Instant) {
        let since_us = at.saturating_duration_since(self.began).as_micros() as u32;
        people.iter().for_each(|person| self.due_us[*person as usize].store(since_us + 1, Ordering::Relaxed));
    }

    fn signed_up(&self) -> impl Iterator<Item = u64> {
        (0..self.count).filter(|person| self.due_us[*person as usize].load(Ordering::Relaxed) != 0)
    }

    /// Latencies to the first mail since this was asked last.
    fn take_to_hand_off(&self) -> Latencies {
        std::mem::take(&mut self.to_hand_off.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_pro(person: u64) -> bool {
    person.is_multiple_of(2)
}

fn is_reader(person: u64) -> bool {
    person.is_multiple_of(4)
}

fn plan(person: u64) -> &'static str {
    if is_pro(person) { "pro" } else { "free" }
}

fn json_of(people: &[u64], write: impl Fn(&mut String, u64)) -> String {
    let mut body = String::with_capacity(people.len() * 160 + 2);
    if let [person] = people {
        write(&mut body, *person);
        return body;
    }
    for person in people {
        body.push(if body.is_empty() { '[' } else { ',' });
        write(&mut body, *person);
    }
    body.push(']');
    body
}

fn profiles_of(people: &[u64]) -> String {
    json_of(people, |body, person| {
        let written = write!(
            body,
            r#"{{"identities":{{"user_id":"{person}","email":"{person}@example.org"}},"attributes":{{"first_name":"Ada {person}","plan":"{}"}}}}"#,
            plan(person)
        );
        written.expect("INVARIANT: a String takes what is written");
    })
}

fn sign_ups_of(people: &[u64]) -> String {
    json_of(people, |body, person| {
        let written = write!(
            body,
            r#"{{"id":"s{person}","trigger":"signed_up","identities":{{"user_id":"{person}"}},"attributes":{{"plan":"{}"}}}}"#,
            plan(person)
        );
        written.expect("INVARIANT: a String takes what is written");
    })
}

// ---- the load ----

/// One phase of the load.
#[derive(Clone, Copy)]
struct Phase {
    connections: u64,
    batch: u64,
    during: Duration,
    /// Items a second that are aimed at. None: as many as can be.
    pace: Option<f64>,
}

#[derive(Default)]
struct Outcome {
    items: u64,
    turned_away: u64,
    acknowledged: Latencies,
    position: u64,
    took: Duration,
}

impl Outcome {
    fn per_second(&self) -> f64 {
        self.items as f64 / self.took.as_secs_f64()
    }
}

async fn play(phase: Phase, people: &Arc<People>, address: SocketAddr) -> Result<Outcome, String> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..phase.connections)
        .map(|number| tokio::spawn(connection(phase, number, Arc::clone(people), address, began)))
        .collect();
    let mut all = Outcome::default();
    for task in tasks {
        let one = task.await.map_err(|error| error.to_string())??;
        all.items += one.items;
        all.turned_away += one.turned_away;
        all.acknowledged.append(one.acknowledged);
        all.position = all.position.max(one.position);
    }
    all.took = began.elapsed();
    Ok(all)
}

/// Sends both requests for a batch of people, one batch after the other. At a pace, times count from when a request
/// was due, so that waiting behind a slow one is seen.
async fn connection(
    phase: Phase,
    number: u64,
    people: Arc<People>,
    address: SocketAddr,
    began: Instant,
) -> Result<Outcome, String> {
    let mut connection = Connection::open(address).await?;
    let mut outcome = Outcome::default();
    // Two requests of `batch` items each, on each of the connections in turn.
    let every = phase.pace.map(|pace| (phase.batch * 2 * phase.connections) as f64 / pace);
    for round in 0u64.. {
        let mut due = Instant::now();
        if let Some(every) = every {
            due = began + Duration::from_secs_f64(every * (round as f64 + number as f64 / phase.connections as f64));
            tokio::time::sleep_until(due.into()).await;
        }
        if due.saturating_duration_since(began) >= phase.during {
            break;
        }
        let Some(batch) = people.take(phase.batch) else { break };
        send(&mut connection, "/v1/profiles", profiles_of(&batch), due, &mut outcome).await?;
        let due = if every.is_some() { due } else { Instant::now() };
        people.are_due(&batch, due);
        send(&mut connection, "/v1/events", sign_ups_of(&batch), due, &mut outcome).await?;
        outcome.items += 2 * phase.batch;
    }
    Ok(outcome)
}

/// Sends until it is taken: what was turned away was not stored.
async fn send(
    connection: &mut Connection,
    path: &str,
    body: String,
    due: Instant,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let body = axum::body::Bytes::from(body);
    loop {
        let answer = connection.post(path, SERVER_KEY, body.clone()).await?;
        match answer.status {
            StatusCode::ACCEPTED => {
                outcome.acknowledged.push(due.elapsed());
                outcome.position = outcome.position.max(answer.position);
                return Ok(());
            }
            StatusCode::TOO_MANY_REQUESTS => {
                outcome.turned_away += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            status => return Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&answer.body))),
        }
    }
}

/// Makes all people known, without counting it as load.
async fn introduce(people: &Arc<People>, address: SocketAddr) -> Result<Duration, String> {
    const AT_ONCE: u64 = 500;
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let task = || {
        let (people, next) = (Arc::clone(people), Arc::clone(&next));
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut outcome = Outcome::default();
            loop {
                let from = next.fetch_add(AT_ONCE, Ordering::Relaxed);
                let batch: Vec<u64> = (from..people.count.min(from + AT_ONCE)).collect();
                if batch.is_empty() {
                    return Ok::<(), String>(());
                }
                send(&mut connection, "/v1/profiles", profiles_of(&batch), Instant::now(), &mut outcome).await?;
                if from % 100_000 == 0 {
                    eprint!("\r{from} of {} people …", people.count);
                }
            }
        })
    };
    let tasks: Vec<_> = (0..8).map(|_| task()).collect();
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    eprintln!("\r{} people are known", people.count);
    Ok(began.elapsed())
}

// ---- the sink: reads the mailbox, and opens for those who read their mail ----

/// Runs on a thread of its own until told to stop. Each reader's pixel goes to one of `openers`.
fn sink(mailbox: &Mailbox, people: &People, openers: &[mpsc::UnboundedSender<HandOff>], stop: &AtomicBool) {
    let mut opener = 0;
    while !stop.load(Ordering::Relaxed) {
        let captured = mailbox.drain();
        let now = Instant::now();
        let mut latencies = people.to_hand_off.lock().unwrap_or_else(PoisonError::into_inner);
        for hand_off in captured {
            let address = hand_off.rendered.address.split('@').next().and_then(|person| person.parse::<u64>().ok());
            let Some(person) = address else { continue };
            if hand_off.rendered.message == "second_mail" {
                people.second_mails.fetch_add(1, Ordering::Relaxed);
                people.mails[person as usize].fetch_add(16, Ordering::Relaxed);
                continue;
            }
            people.first_mails.fetch_add(1, Ordering::Relaxed);
            people.mails[person as usize].fetch_add(1, Ordering::Relaxed);
            let due_us = people.due_us[person as usize].load(Ordering::Relaxed).saturating_sub(1);
            latencies.push(now.saturating_duration_since(people.began + Duration::from_micros(due_us.into())));
            if is_reader(person) {
                opener = (opener + 1) % openers.len();
                // The load has ended when nobody takes it; then it is not opened.
                let _unread = openers[opener].send(hand_off);
            }
        }
        drop(latencies);
        std::thread::sleep(Duration::from_micros(500));
    }
}

async fn open_mails(
    mut mails: mpsc::UnboundedReceiver<HandOff>,
    people: Arc<People>,
    address: SocketAddr,
    signer: template::tracking::Signer,
) -> Result<(), String> {
    let mut connection = Connection::open(address).await?;
    while let Some(HandOff { profile, effect, .. }) = mails.recv().await {
        let url = signer.open_url(profile, effect);
        let Some(path) = url.find("/t/o/").map(|at| &url[at..]) else { return Err(format!("no pixel: {url}")) };
        let answer = connection.get(path, "").await?;
        if answer.status != StatusCode::OK {
            return Err(format!("{path}: {}", answer.status));
        }
        people.opened.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

// ---- the run ----

async fn measure(arguments: &Arguments, server: &Server, data: &Path) -> Result<(), String> {
    let address = server.address;
    let mut admin = Connection::open(address).await?;
    let applied = admin.post("/api/v1/documents", ADMIN_KEY, DOCUMENTS).await?;
    if !applied.status.is_success() {
        return Err(format!("the documents were refused: {}", String::from_utf8_lossy(&applied.body)));
    }
    let people = Arc::new(People::new(arguments.profiles.max(1)));
    let introduced = introduce(&people, address).await?;
    println!("introduced          {} people in {:.1} s", people.count, introduced.as_secs_f64());

    let signer = server.running.shared.signer.load_full().ok_or("the store is not open")?.as_ref().clone();
    let (openers, queues): (Vec<_>, Vec<_>) = (0..READERS).map(|_| mpsc::unbounded_channel()).unzip();
    let open = |queue| tokio::spawn(open_mails(queue, Arc::clone(&people), address, signer.clone()));
    let opening: Vec<_> = queues.into_iter().map(open).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let watching = {
        let (mailbox, people, stop) = (Arc::clone(&server.mailbox), Arc::clone(&people), Arc::clone(&stop));
        std::thread::spawn(move || sink(&mailbox, &people, &openers, &stop))
    };

    let during = Duration::from_secs(arguments.seconds);
    let batches = Phase { connections: arguments.batch_connections, batch: arguments.batch, during, pace: None };
    let singles = Phase { connections: arguments.connections, batch: 1, during, pace: None };
    let mut items = 0;
    let mut phase_of = async |name: &str, phase: Phase| -> Result<f64, String> {
        let opened_before = people.opened.load(Ordering::Relaxed);
        let _of_before = people.take_to_hand_off();
        let cpu_before = cpu_time();
        let mut outcome = play(phase, &people, address).await?;
        if outcome.items == 0 {
            return Err(format!("{name}: everyone has signed up already; more --profiles or fewer --seconds"));
        }
        let cpu_us = (cpu_time() - cpu_before).as_secs_f64() * 1e6;
        let opened = (people.opened.load(Ordering::Relaxed) - opened_before) as f64 / outcome.took.as_secs_f64();
        println!(
            "{name:<20}{:.0} events/s ({:.0} journeys/s) and {opened:.0} opens/s; turned away {}; {:.1} µs of CPU an event",
            outcome.per_second(),
            outcome.per_second() / 2.0,
            outcome.turned_away,
            cpu_us / outcome.items as f64
        );
        println!("  acknowledged      {}", outcome.acknowledged.summary());
        println!("  first mail        {}", people.take_to_hand_off().summary());
        items += outcome.items;
        // What the phase left behind does not weigh on the next.
        quiet(server).await?;
        Ok(outcome.per_second())
    };
    let batched = phase_of("batches", batches).await?;
    let single = phase_of("single requests", singles).await?;
    let half = |reached: f64, target: f64| Some(reached.min(target) / 2.0);
    phase_of("half, batches", Phase { pace: half(batched, BATCHES_TARGET), ..batches }).await?;
    phase_of("half, single", Phase { pace: half(single, SINGLES_TARGET), ..singles }).await?;

    stop.store(true, Ordering::Relaxed);
    watching.join().map_err(|_| "the sink ended in a panic".to_owned())?;
    for task in opening {
        task.await.map_err(|error| error.to_string())??;
    }
    println!("memory, disk        {}, {}", mib(resident_bytes()), mib(disk_bytes(data)));
    balance(&people, items, &mut admin).await
}

/// Waits until nothing waits and nothing is under way.
async fn quiet(server: &Server) -> Result<(), String> {
    let until = Instant::now() + QUIET_WITHIN;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Status::Running(running) = server.status()
            && running.timers == 0
            && running.waiting_sends.iter().all(|(_, count)| *count == 0)
            && running.counters.settled == running.counters.hand_offs
        {
            return Ok(());
        }
    }
    Err(format!("it did not become quiet within {} s", QUIET_WITHIN.as_secs()))
}

/// # Errors
/// What does not add up.
async fn balance(people: &People, items: u64, admin: &mut Connection) -> Result<(), String> {
    let signed_up = people.signed_up().count() as u64;
    let pro = people.signed_up().filter(|person| is_pro(*person)).count() as u64;
    let [first, second, opened] =
        [&people.first_mails, &people.second_mails, &people.opened].map(|count| count.load(Ordering::Relaxed));
    let doubled = people
        .mails
        .iter()
        .filter(|mails| matches!(mails.load(Ordering::Relaxed) % 16, 2..) || mails.load(Ordering::Relaxed) >= 32);
    let doubled = doubled.count();
    let answer = admin.get("/api/v1/books?trigger=signed_up", ADMIN_KEY).await?;
    let books: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    let (received, accepted) = (&books["total"]["received"], &books["total"]["accepted"]);
    println!(
        "books               {items} items sent, {signed_up} sign-ups = received {received} = accepted {accepted}"
    );
    println!(
        "mails               {first} first for {pro} on the pro plan, {second} second, {opened} opened, {doubled} doubled"
    );
    let is_balanced = items == 2 * signed_up
        && received.as_u64() == Some(signed_up)
        && accepted.as_u64() == Some(signed_up)
        && first == pro
        && second + opened >= pro
        && second <= pro
        && doubled == 0;
    if !is_balanced {
        return Err("the books do not balance".to_owned());
    }
    println!("the books balance");
    Ok(())
}
