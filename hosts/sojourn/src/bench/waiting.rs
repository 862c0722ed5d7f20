//! Many waiting people, and a burst of timers, on a clock of its own: the worker and its disks without HTTP.

use super::measure::{disk_bytes, mib, resident_bytes};
use crate::clock::Clock;
use crate::config;
use crate::storage::DiskStorage;
use engine::command::DocumentChange;
use engine::control::Control;
use model::{Attributes, CatalogVersion, Document, Event, Identity, Lsn, Timestamp, Value};
use ports::state::Scan;
use ports::{HandOff, Keyspace, State, codec, rows};
use processor::{
    Answer, ControlRequest, Handle, Input, Item, NotTaken, Opened, Options, Recovered, Reply, Sink, Status, Storage,
    TailItem, Worker,
};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct Arguments {
    /// People who wait.
    #[arg(long, default_value_t = 10_000_000)]
    people: u64,
    /// How many of them wait for the same instant, and have entered so long ago that they are not in memory.
    #[arg(long, default_value_t = 1_000_000)]
    burst: u64,
    /// How many of them wait for another instant, and are in memory: fewer than the profiles kept there.
    #[arg(long, default_value_t = 400_000)]
    hot_burst: u64,
    /// Profiles kept in memory, as `[storage] hot_profiles_max` says it. Fewer leave more memory for those who wait.
    #[arg(long, default_value_t = 500_000)]
    hot_profiles: usize,
}

const DOCUMENTS: &str = include_str!("waiting.yaml");
const DAY_MS: i64 = 86_400_000;
const BATCH: u64 = 100;
/// Requests under way at once.
const IN_FLIGHT_MAX: u64 = 64;

/// # Errors
/// What could not be run, or that timers are missing at the end.
pub fn run(arguments: &Arguments, data: &Path) -> Result<(), String> {
    let now_ms = Arc::new(AtomicI64::new(Clock::start().now().as_ms()));
    let seen: Arc<Mutex<Vec<Sample>>> = Arc::default();
    let storage = OwnClock { disk: disk(data), now_ms: Arc::clone(&now_ms) };
    let options = Options { hot_profiles_max: arguments.hot_profiles, ..Options::default() };
    let (worker, handle) = Worker::new(storage, Samples(Arc::clone(&seen)), options);
    let (started, opened) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        worker.run(|result| started.send(result).expect("INVARIANT: the bench waits for the start"));
    });
    opened.recv().map_err(|_| "the worker ended before it had started".to_owned())??;
    let result = measure(arguments, data, &handle, &seen, &now_ms);
    handle.shut_down();
    thread.join().map_err(|_| "the worker ended in a panic".to_owned())?;
    result?;
    rows_of_waiting(data)
}

fn measure(
    arguments: &Arguments,
    data: &Path,
    handle: &Handle,
    seen: &Mutex<Vec<Sample>>,
    now_ms: &AtomicI64,
) -> Result<(), String> {
    let Arguments { people, burst, hot_burst, .. } = *arguments;
    if burst + hot_burst > people {
        return Err(format!("{burst} and {hot_burst} people in bursts are more than the {people} there are"));
    }
    let began = Timestamp::from_ms(now_ms.load(Ordering::Relaxed));
    let (hot_at, cold_at) = (began.plus_ms(DAY_MS), began.plus_ms(2 * DAY_MS));
    let catalog_version = publish(handle)?;

    let resident_before = resident_bytes();
    let filling = Instant::now();
    let wake_at = |person: u64| match person {
        person if person < burst => cold_at,
        person if person >= people - hot_burst => hot_at,
        person => cold_at.plus_ms(later_ms(person)),
    };
    fill(handle, people, began, catalog_version, wake_at)?;
    println!(
        "waiting             {people} people entered at {:.0} a second",
        people as f64 / filling.elapsed().as_secs_f64()
    );
    let waiting = wait_for(handle, seen, "the last checkpoint", |running| running.checkpointed == running.position)?;
    let resident = resident_bytes().saturating_sub(resident_before);
    let disk = disk_bytes(&data.join("state"));
    println!("timers              {}", waiting.timers);
    println!(
        "per waiting person  {} B of memory ({}), {} B of store on disk ({})",
        resident / people.max(1),
        mib(resident),
        disk / people.max(1),
        mib(disk)
    );
    let work_off = |name: &str, at: Timestamp, due: u64, left: u64| -> Result<(), String> {
        let begun = Instant::now();
        seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        now_ms.store(at.as_ms(), Ordering::Relaxed);
        let left = left as usize;
        wait_for(handle, seen, name, |running| running.timers == left)?;
        // Statuses come once a second: the rate is that up to the last one before the end.
        let samples = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = samples.iter().rev().find(|sample| sample.timers > left).or(samples.last());
        let sample = worked.ok_or("no status came")?;
        let (fired, took) = (left + due as usize - sample.timers, sample.at.duration_since(begun));
        println!("{name:<20}{:.0} timers a second, {due} due at once", fired as f64 / took.as_secs_f64());
        Ok(())
    };
    work_off("burst, in memory", hot_at, hot_burst, people - hot_burst)?;
    work_off("burst, cold", cold_at, burst, people - hot_burst - burst)
}

/// What the rows of one who waits hold, without what her profile would hold anyway, on a sample.
fn rows_of_waiting(data: &Path) -> Result<(), String> {
    const SAMPLE: usize = 10_000;
    let Opened { state, .. } = disk(data).open()?;
    let (mut people, mut state_bytes) = (0, 0);
    let damaged = |error: codec::Error| ports::state::Error::Io { doing: "reading a profile", why: error.to_string() };
    let counted = state.scan(Keyspace::Subjects, b"", None, &mut |_, row| {
        let mut profile = codec::decode_profile(row).map_err(damaged)?;
        if profile.participants.is_empty() {
            return Ok(Scan::Continue);
        }
        profile.participants.clear();
        let mut without = Vec::new();
        codec::encode_profile(&profile, &mut without);
        (people, state_bytes) = (people + 1, state_bytes + row.len() - without.len());
        Ok(if people == SAMPLE { Scan::Stop } else { Scan::Continue })
    });
    counted.map_err(|error| error.to_string())?;
    let (mut rows, mut index_bytes) = (0, 0);
    let prefix = rows::participant_prefix("reminder", Some(rows::Place::Inside), None);
    let counted = state.scan(Keyspace::Participants, &prefix, None, &mut |key, value| {
        (rows, index_bytes) = (rows + 1, index_bytes + key.len() + value.len());
        Ok(if rows == SAMPLE { Scan::Stop } else { Scan::Continue })
    });
    counted.map_err(|error| error.to_string())?;
    println!(
        "rows of one waiting {} B of state, {} B of index, uncompressed, on a sample of {people}",
        state_bytes / people.max(1),
        index_bytes / rows.max(1)
    );
    Ok(())
}

/// Between one day and 300 days after the burst, a different time for each.
fn later_ms(person: u64) -> i64 {
    DAY_MS + (person.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (299 * DAY_MS as u64)) as i64
}

pub(super) fn disk(data: &Path) -> DiskStorage {
    let public_url = "http://127.0.0.1".to_owned();
    DiskStorage::new(data.to_owned(), config::Storage::default(), public_url, Arc::new(Clock::start()))
}

pub(super) fn documents() -> Result<Vec<DocumentChange>, String> {
    let read = model::document::read_documents(DOCUMENTS);
    match read.findings.first() {
        Some(finding) => Err(finding.to_string()),
        None => Ok(read.documents.into_iter().map(|document: Document| DocumentChange::Put(document)).collect()),
    }
}

/// A booking that makes its person wait until `wake_at`.
pub(super) fn booking(person: u64, number: u64, at: Timestamp, version: CatalogVersion, wake_at: Timestamp) -> Item {
    let identity = Identity::new("user_id", &person.to_string()).expect("INVARIANT: a number is an identity");
    let wake_at = Value::Text(wake_at.to_string().as_str().into());
    let event = Event {
        id: Some(format!("b{number}").as_str().into()),
        source: "bench".into(),
        trigger: "booked".into(),
        identities: vec![identity],
        occurred_at: at,
        received_at: at,
        attributes: [("wake_at", wake_at)].into_iter().collect::<Attributes>(),
        binding_id: None,
        replay_as_live: false,
    };
    Item::Event { event, checked_with: version, unknown_attributes: Vec::new() }
}

fn publish(handle: &Handle) -> Result<CatalogVersion, String> {
    let request = ControlRequest::Documents { changes: documents()?, expected: None, by: "bench".into() };
    let (sender, answer) = mpsc::channel();
    let ticket: Reply = Box::new(move |answer| sender.send(answer).expect("INVARIANT: the bench waits for the answer"));
    if handle.submit(Input::Control { request, ticket }).is_err() {
        return Err("the worker takes nothing".to_owned());
    }
    let answer = answer.recv().map_err(|error| error.to_string())?;
    let Answer::Applied { version, .. } = answer else {
        return Err(format!("the documents were not applied: {answer:?}"));
    };
    Ok(version)
}

fn fill(
    handle: &Handle,
    people: u64,
    at: Timestamp,
    version: CatalogVersion,
    wake_at: impl Fn(u64) -> Timestamp,
) -> Result<(), String> {
    let under_way = Arc::new(AtomicU64::new(0));
    let refused: Arc<Mutex<Option<String>>> = Arc::default();
    for from in (0..people).step_by(BATCH as usize) {
        if from % 500_000 == 0 {
            eprint!("\r{from} of {people} people …");
        }
        while under_way.load(Ordering::Acquire) >= IN_FLIGHT_MAX {
            std::thread::sleep(Duration::from_micros(50));
        }
        let until = people.min(from + BATCH);
        let items = (from..until).map(|person| booking(person, person, at, version, wake_at(person))).collect();
        let (counted, told) = (Arc::clone(&under_way), Arc::clone(&refused));
        let ticket: Reply = Box::new(move |answer| {
            if !matches!(answer, Answer::Stored { .. }) {
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{answer:?}"));
            }
            counted.fetch_sub(1, Ordering::Release);
        });
        under_way.fetch_add(1, Ordering::Relaxed);
        match handle.submit(Input::Submit { items, ticket }) {
            Ok(()) => {}
            Err(NotTaken::Overloaded(_)) => return Err("the inbox is full at 64 requests".to_owned()),
            Err(NotTaken::Ended(_)) => return Err("the worker has ended".to_owned()),
        }
        if let Some(why) = refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(why);
        }
    }
    while under_way.load(Ordering::Acquire) > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    eprintln!("\r{people} people wait          ");
    Ok(())
}

fn wait_for(
    handle: &Handle,
    seen: &Mutex<Vec<Sample>>,
    what: &str,
    is_reached: impl Fn(&Sample) -> bool,
) -> Result<Sample, String> {
    let until = Instant::now() + Duration::from_secs(300);
    // It sleeps until its next timer by the clock it knew; a message wakes it.
    handle.checkpoint();
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
        let sample = seen.lock().unwrap_or_else(PoisonError::into_inner).last().copied();
        if let Some(sample) = sample.filter(&is_reached) {
            return Ok(sample);
        }
    }
    Err(format!("{what} did not come within 300 s"))
}

/// The disks of a server under a clock that the bench sets.
struct OwnClock {
    disk: DiskStorage,
    now_ms: Arc<AtomicI64>,
}

impl Storage for OwnClock {
    type Log = <DiskStorage as Storage>::Log;
    type State = <DiskStorage as Storage>::State;

    fn open(&mut self) -> Result<Opened<Self::Log, Self::State>, String> {
        self.disk.open()
    }

    fn now(&mut self) -> Timestamp {
        Timestamp::from_ms(self.now_ms.load(Ordering::Relaxed))
    }

    fn enter_background() {
        DiskStorage::enter_background();
    }
}

/// What a status told, and when.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    timers: usize,
    position: Lsn,
    checkpointed: Lsn,
}

struct Samples(Arc<Mutex<Vec<Sample>>>);

impl Sink for Samples {
    fn hand_off(&mut self, _: HandOff) {}
    fn catalog(&mut self, _: &Arc<catalog::Catalog>) {}
    fn keys(&mut self, _: &Control) {}
    fn tail(&mut self, _: Vec<TailItem>) {}
    fn closed(&mut self) {}
    fn checkpointed(&mut self, _: Lsn, _: Timestamp) {}
    fn recovered(&mut self, _: &Recovered, _: Duration) {}

    fn status(&mut self, status: Status) {
        if let Status::Running(running) = status {
            let (timers, position, checkpointed) = (running.timers, running.position, running.checkpointed);
            let sample = Sample { at: Instant::now(), timers, position, checkpointed };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
        }
    }
}
