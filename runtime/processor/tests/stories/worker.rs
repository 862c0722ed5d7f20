//! The worker over storage that fails: who is told what, and what comes after.

use crate::stage::{BEGIN_MS, MAIL_AND_WAIT, Planned, options, parse, with_journey};
use engine::command::DocumentChange;
use engine::control::Control;
use model::send::Settlement;
use model::{Attributes, Lsn, Timestamp, Value};
use ports::memory::{Disk, Fault, MemoryLog, MemoryState, Place};
use ports::state::{self, State, Visit};
use ports::{HandOff, Keyspace, Row};
use processor::{
    Answer, ControlRequest, Handle, Input, Item, NotTaken, Opened, Recovered, Reply, Sink, Status, Storage, TailItem,
    Update, Who, Worker,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use template::tracking::Signer;

const PATIENCE: Duration = Duration::from_secs(20);

/// What the test does to the storage, and sees of it.
#[derive(Clone, Default)]
struct Ours {
    faults: Planned,
    times_opened: Arc<AtomicUsize>,
    write_panics: Arc<AtomicBool>,
    clock_panics: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    statuses: Vec<Status>,
    hand_offs: Vec<HandOff>,
    times_closed: usize,
}

struct FakeStorage {
    ours: Ours,
    disk: Disk,
}

struct FakeState {
    inner: MemoryState,
    write_panics: Arc<AtomicBool>,
}

impl State for FakeState {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, state::Error> {
        self.inner.get(keyspace, key)
    }
    fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), state::Error> {
        self.inner.scan(keyspace, prefix, after, visit)
    }
    fn write(&self, rows: Vec<Row>) -> Result<(), state::Error> {
        assert!(!self.write_panics.swap(false, Ordering::SeqCst), "INVARIANT: broken on purpose");
        self.inner.write(rows)
    }
}

impl Storage for FakeStorage {
    type Log = MemoryLog;
    type State = FakeState;

    fn open(&mut self) -> Result<Opened<MemoryLog, FakeState>, String> {
        self.ours.times_opened.fetch_add(1, Ordering::SeqCst);
        let write_panics = Arc::clone(&self.ours.write_panics);
        let state = Arc::new(FakeState { inner: self.disk.open_state(), write_panics });
        let signer = Signer::new([1; 32], "https://test.invalid");
        Ok(Opened { log: self.disk.open_log(), state, secret: [2; 32], signer })
    }

    fn now(&mut self) -> Timestamp {
        assert!(!self.ours.clock_panics.load(Ordering::SeqCst), "INVARIANT: the clock is broken on purpose");
        Timestamp::from_ms(BEGIN_MS)
    }
}

struct FakeSink(Ours);

impl Sink for FakeSink {
    fn hand_off(&mut self, hand_off: HandOff) {
        self.0.seen.lock().unwrap().hand_offs.push(hand_off);
    }
    fn catalog(&mut self, _: &Arc<catalog::Catalog>) {}
    fn keys(&mut self, _: &Control) {}
    fn tail(&mut self, _: Vec<TailItem>) {}
    fn closed(&mut self) {
        self.0.seen.lock().unwrap().times_closed += 1;
    }
    fn checkpointed(&mut self, _: Lsn, _: Timestamp) {}
    fn status(&mut self, status: Status) {
        self.0.seen.lock().unwrap().statuses.push(status);
    }
    fn recovered(&mut self, _: &Recovered, _: Duration) {}
}

struct Running {
    ours: Ours,
    disk: Disk,
    handle: Handle,
    thread: JoinHandle<()>,
}

fn spawn(ours: &Ours) -> (Running, Receiver<Result<(), String>>) {
    let disk = ours.faults.disk();
    let storage = FakeStorage { ours: ours.clone(), disk: disk.clone() };
    let (worker, handle) = Worker::new(storage, FakeSink(ours.clone()), options());
    let (started, opened) = channel();
    let thread = std::thread::spawn(move || worker.run(|result| started.send(result).unwrap()));
    (Running { ours: ours.clone(), disk, handle, thread }, opened)
}

fn start() -> Running {
    let (running, opened) = spawn(&Ours::default());
    opened.recv().unwrap().unwrap();
    let changes = model::document::read_documents(&with_journey(MAIL_AND_WAIT)).documents;
    let changes = changes.into_iter().map(DocumentChange::Put).collect();
    let request = ControlRequest::Documents { changes, expected: None, by: "test".into() };
    let answer = running.ask(|ticket| Input::Control { request, ticket });
    assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
    running
}

fn update(person: &str) -> Item {
    let email = Value::Text(format!("{person}@example.org").into());
    Item::Update(Update {
        id: None,
        source: "test".into(),
        identities: vec![parse(&format!("user_id:{person}"))],
        attributes: [("email", email)].into_iter().collect(),
        received_at: Timestamp::from_ms(BEGIN_MS),
    })
}

fn begun(person: &str) -> Item {
    let at = Timestamp::from_ms(BEGIN_MS);
    let event = model::Event {
        id: Some(format!("e-{person}").into()),
        source: "test".into(),
        trigger: "begun".into(),
        identities: vec![parse(&format!("user_id:{person}"))],
        occurred_at: at,
        received_at: at,
        attributes: Attributes::new(),
        binding_id: None,
        replay_as_live: false,
    };
    Item::Event { event, checked_with: model::CatalogVersion(1), unknown_attributes: Vec::new() }
}

impl Running {
    fn ask(&self, input: impl FnOnce(Reply) -> Input<Reply>) -> Answer {
        let (sender, receiver): (Sender<Answer>, _) = channel();
        let reply: Reply = Box::new(move |answer| sender.send(answer).unwrap());
        assert!(self.handle.submit(input(reply)).is_ok(), "it was taken");
        receiver.recv_timeout(PATIENCE).expect("it was answered")
    }

    fn submit(&self, items: Vec<Item>) -> Answer {
        self.ask(|ticket| Input::Submit { items, ticket })
    }

    fn read(&self, person: &str) -> Answer {
        let who = Who::Identity(parse(&format!("user_id:{person}")));
        self.ask(|ticket| Input::Read { who, ticket })
    }

    fn until<T>(&self, what: &str, found: impl Fn(&Seen) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = found(&self.ours.seen.lock().unwrap()) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "{what} does not come");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn until_unavailable(&self) -> String {
        self.until("a status that tells why", |seen| match seen.statuses.last() {
            Some(Status::Unavailable { why }) => Some(why.clone()),
            Some(Status::Starting | Status::Running(_) | Status::Ended) | None => None,
        })
    }

    fn until_running(&self) {
        self.until("a status that says it runs", |seen| {
            matches!(seen.statuses.last(), Some(Status::Running(_))).then_some(())
        });
    }

    /// Ends it in order; answers its disk.
    fn end(self) -> Disk {
        self.handle.shut_down();
        self.thread.join().unwrap();
        assert_eq!(self.ours.seen.lock().unwrap().statuses.last(), Some(&Status::Ended));
        self.disk
    }
}

fn is_unavailable(answer: &Answer) -> bool {
    matches!(answer, Answer::Unavailable { .. })
}

#[test]
fn t16_a_full_disk_is_told_reads_go_on_and_it_mends_itself_without_opening_anew() {
    let running = start();
    assert!(matches!(running.submit(vec![update("ada")]), Answer::Stored { .. }));
    running.ours.faults.at(Place::Append, Fault::Full, u32::MAX);
    running.ours.faults.at(Place::Room, Fault::Full, u32::MAX);
    assert!(is_unavailable(&running.submit(vec![begun("ada")])));
    assert!(running.until_unavailable().contains("no room"));
    assert!(is_unavailable(&running.submit(vec![begun("ada")])));
    assert!(matches!(running.read("ada"), Answer::Profile(Some(_))), "what is stored can be read");
    running.ours.faults.none();
    running.until_running();
    assert!(matches!(running.submit(vec![begun("ada")]), Answer::Stored { .. }));
    assert_eq!(running.ours.times_opened.load(Ordering::SeqCst), 1);
    assert_eq!(running.ours.seen.lock().unwrap().times_closed, 0);
    running.end();
}

#[test]
fn a_start_on_a_full_disk_fails_with_one_line() {
    let ours = Ours::default();
    ours.faults.at(Place::Room, Fault::Full, 1);
    let (running, opened) = spawn(&ours);
    let why = opened.recv().unwrap().unwrap_err();
    assert!(why.contains("no room for the log") && !why.contains('\n'), "{why}");
    running.thread.join().unwrap();
}

#[test]
fn what_a_provider_said_while_storage_failed_is_stored_afterwards() {
    let running = start();
    running.submit(vec![update("ada"), begun("ada")]);
    let sent = running.until("a hand-off", |seen| seen.hand_offs.first().cloned());
    running.ours.faults.at(Place::FinishSync, Fault::FailBefore, 1);
    let (profile, effect) = (sent.profile, sent.effect);
    let settlement = Settlement::Accepted { provider_id: Some("250 queued".into()) };
    running.handle.settle(Input::Settled { profile, effect, settlement });
    let why = running.until_unavailable();
    assert!(why.contains("a planned failure"), "{why}");
    running.until_running();
    let began = Instant::now();
    loop {
        let Answer::Profile(Some(read)) = running.read("ada") else { panic!("she is there") };
        if read.profile.outbox.is_empty() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the answer was lost: {:?}", read.profile.outbox);
    }
    assert_eq!(running.ours.seen.lock().unwrap().times_closed, 1);
    assert_eq!(running.ours.seen.lock().unwrap().hand_offs.len(), 1, "it went out once");
    let disk = running.end();
    let traces = disk.traces();
    let settled: Vec<String> = traces.iter().flat_map(|(_, _, entries)| entries).map(ToString::to_string).collect();
    assert!(settled.iter().any(|entry| entry.contains("accepted")), "{settled:?}");
    assert!(!settled.iter().any(|entry| entry.contains("unknown")), "{settled:?}");
}

#[test]
fn a_checkpoint_thread_that_panics_is_noticed_and_checkpoints_go_on() {
    let running = start();
    running.ours.write_panics.store(true, Ordering::SeqCst);
    running.submit(vec![update("ada")]);
    running.handle.checkpoint();
    let why = running.until_unavailable();
    assert!(why.contains("the checkpoint thread ended") && why.contains("broken on purpose"), "{why}");
    running.until_running();
    assert!(matches!(running.read("ada"), Answer::Profile(Some(_))));
    let disk = running.end();
    assert!(disk.rows().keys().any(|(keyspace, _)| *keyspace == Keyspace::Subjects), "a checkpoint was made");
}

#[test]
fn a_panic_that_is_no_partitions_own_ends_the_worker_and_the_status_says_why() {
    let running = start();
    running.ours.clock_panics.store(true, Ordering::SeqCst);
    running.handle.checkpoint();
    let why = running.until_unavailable();
    assert!(why.contains("the worker broke down") && why.contains("the clock is broken"), "{why}");
    assert!(running.thread.join().is_err(), "who runs it hears of it too");
    let ticket: Reply = Box::new(|_| {});
    let read = Input::Read { who: Who::Identity(parse("user_id:ada")), ticket };
    assert!(matches!(running.handle.submit(read), Err(NotTaken::Ended(_))));
}

#[test]
fn t15_what_waits_is_bounded_by_number_and_by_bytes_and_what_is_over_it_is_not_taken() {
    let ours = Ours::default();
    let storage = FakeStorage { ours: ours.clone(), disk: ours.faults.disk() };
    // Never run: nothing is taken out.
    let (_worker, handle) = Worker::new(storage, FakeSink(ours), options());
    let submit = |bytes: usize| {
        let Item::Update(mut item) = update("ada") else { panic!("an update") };
        item.attributes.insert("note", Value::Text("x".repeat(bytes).into()));
        let ticket: Reply = Box::new(|answer| panic!("nobody answers: {answer:?}"));
        handle.submit(Input::Submit { items: vec![Item::Update(item)], ticket })
    };
    let large = (0..1_000).take_while(|_| submit(1 << 20).is_ok()).count();
    assert!((200..=256).contains(&large), "{large} of 1 MiB each");
    assert!(matches!(submit(1 << 20), Err(NotTaken::Overloaded(_))));
    // Small ones find no room in bytes or number at some time, too.
    let small = (0..100_000).take_while(|_| submit(1).is_ok()).count();
    assert!(large + small <= 16_384, "{small}");
}
