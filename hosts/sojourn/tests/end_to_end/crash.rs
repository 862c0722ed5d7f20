//! kill -9 at random moments under load.

use crate::mail::{Mail, MailSink};
use crate::server::{Server, Start, client, wait_until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// People of each plan end in their own way.
const PLANS: [&str; 3] = ["reader", "silent", "buyer"];
/// Few, so that what a kill finds half way is little.
const CONNECTIONS_MAX: usize = 4;

fn plan_of(number: u64) -> &'static str {
    PLANS[usize::try_from(number % 3).unwrap()]
}

fn is_reader(number: u64) -> bool {
    plan_of(number) == "reader"
}

/// Whose address it is.
fn person_at(address: &str) -> Option<u64> {
    address.strip_prefix('u')?.strip_suffix("@example.org")?.parse().ok()
}

fn joined(number: u64) -> Value {
    json!({
        "id": format!("j{number}"),
        "trigger": "joined",
        "identities": {"user_id": number.to_string(), "email": format!("u{number}@example.org")},
        "attributes": {"plan": plan_of(number)},
    })
}

/// What a person came to: how her journey ended, and the messages of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    reason: String,
    messages: Vec<String>,
}

/// Sends people in until told to stop, each request again until it is acknowledged, as SDKs do; people who buy do so in
/// a request of its own.
fn send_people(base: String, next: Arc<AtomicU64>, stop: Arc<AtomicBool>, joined_people: Arc<Mutex<Vec<u64>>>) {
    let client = client();
    let until_acknowledged = |body: Value| {
        let body = body.to_string();
        wait_until("acknowledged", || {
            let request = client.post(format!("{base}/v1/events")).bearer_auth("dev-server").body(body.clone());
            request.send().is_ok_and(|answer| answer.status() == 202).then_some(())
        });
    };
    while !stop.load(Ordering::Relaxed) {
        let first = next.fetch_add(6, Ordering::Relaxed);
        let people = first..first + 6;
        until_acknowledged(people.clone().map(joined).collect());
        let buyers = people.clone().filter(|number| plan_of(*number) == "buyer");
        until_acknowledged(
            buyers
                .map(|number| json!({"id": format!("b{number}"), "trigger": "bought", "identities": {"user_id": number.to_string()}}))
                .collect(),
        );
        joined_people.lock().unwrap().extend(people);
        // The load is bounded, since every person is looked at afterwards.
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// Follows the link of every mail that came to a reader, until the server answered.
fn read_mails(base: String, sink: MailSink, stop: Arc<AtomicBool>) {
    let client = client();
    let mut followed = BTreeSet::new();
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        for (id, Mail { to, link, .. }) in sink.mails() {
            let Some(link) = link.filter(|_| person_at(&to).is_some_and(is_reader)) else { continue };
            if followed.contains(&id) {
                continue;
            }
            if client.get(format!("{base}{link}")).send().is_ok_and(|answer| answer.status() == 302) {
                followed.insert(id);
            }
        }
        if stopping {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// People who come in, and readers who click.
struct Load {
    stop: Arc<AtomicBool>,
    stop_reading: Arc<AtomicBool>,
    senders: Vec<std::thread::JoinHandle<()>>,
    reader: std::thread::JoinHandle<()>,
    people: Arc<Mutex<Vec<u64>>>,
}

impl Load {
    fn start(base: &str, sink: &MailSink) -> Self {
        let next: Arc<AtomicU64> = Arc::default();
        let (stop, stop_reading): (Arc<AtomicBool>, Arc<AtomicBool>) = (Arc::default(), Arc::default());
        let people: Arc<Mutex<Vec<u64>>> = Arc::default();
        let senders = (0..3).map(|_| {
            let (base, next, stop, people) =
                (base.to_owned(), Arc::clone(&next), Arc::clone(&stop), Arc::clone(&people));
            std::thread::spawn(move || send_people(base, next, stop, people))
        });
        let senders = senders.collect();
        let (base, sink, told) = (base.to_owned(), sink.clone(), Arc::clone(&stop_reading));
        let reader = std::thread::spawn(move || read_mails(base, sink, told));
        Load { stop, stop_reading, senders, reader, people }
    }

    fn acknowledged(&self) -> usize {
        self.people.lock().unwrap().len()
    }

    /// Everyone who was sent is acknowledged when it returns.
    fn end(self, server: &Server) -> (Vec<u64>, BTreeMap<u64, End>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.senders.into_iter().for_each(|sender| sender.join().unwrap());
        let people = self.people.lock().unwrap().clone();
        let reasons = wait_until_all_ended(server, people.len());
        self.stop_reading.store(true, Ordering::Relaxed);
        self.reader.join().unwrap();
        let mut unknown = 0;
        let mut ends = BTreeMap::new();
        for number in &people {
            let (end, of_person) = end_of(server, *number, &reasons);
            unknown += of_person;
            ends.insert(*number, end);
        }
        (people, ends, unknown)
    }
}

/// Waits until everybody's journey has ended, but for readers whose mail is unknown: who never had it cannot click.
/// Answers the reasons by profile.
fn wait_until_all_ended(server: &Server, people: usize) -> BTreeMap<String, Vec<String>> {
    wait_until("every journey ended", || {
        let (mut reasons, mut cursor) = (BTreeMap::<String, Vec<String>>::new(), String::new());
        loop {
            let (status, page) =
                server.get(&format!("/api/v1/journeys/crash/participants?state=ended&limit=1000{cursor}"));
            assert_eq!(status, 200, "{page}");
            for row in page["participants"].as_array().unwrap() {
                let text = |name: &str| row[name].as_str().unwrap().to_owned();
                reasons.entry(text("profile")).or_default().push(text("reason"));
            }
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let (_, unknown) = server.get("/api/v1/sends?state=unknown&limit=1000");
        let unknown = unknown["sends"].as_array().unwrap().iter();
        let readers = unknown.filter(|send| send["address"].as_str().and_then(person_at).is_some_and(is_reader));
        let waiting: BTreeSet<&str> = readers.map(|send| send["profile"].as_str().unwrap()).collect();
        let ended = reasons.keys().filter(|profile| !waiting.contains(profile.as_str())).count();
        (ended + waiting.len() >= people).then_some(reasons)
    })
}

/// What one person came to, and how many of her sends are unknown. Every send is at an end.
fn end_of(server: &Server, number: u64, reasons: &BTreeMap<String, Vec<String>>) -> (End, u64) {
    let profile = wait_until("every send is settled", || {
        let (status, profile) = server.get(&format!("/api/v1/profiles/user_id:{number}"));
        assert_eq!(status, 200, "person {number} is lost: {profile}");
        let states = profile["sends"].as_array().unwrap().iter().map(|send| send["state"].as_str().unwrap());
        let settled = |state: &str| ["accepted", "unknown", "cancelled"].contains(&state);
        states.clone().all(settled).then_some(profile)
    });
    assert_eq!(profile["journeys"].as_array().unwrap().len(), 1, "{profile}");
    assert_eq!(profile["journeys"][0]["entries"], 1, "{profile}");
    let sends = profile["sends"].as_array().unwrap();
    let text = |send: &Value, name: &str| send[name].as_str().unwrap().to_owned();
    let unknown = sends.iter().filter(|send| send["state"] == "unknown").count();
    let mut messages: Vec<String> = sends.iter().map(|send| text(send, "message")).collect();
    messages.sort();
    let reason = match reasons.get(profile["id"].as_str().unwrap()).map(Vec::as_slice) {
        Some([reason]) => reason.clone(),
        Some(several) => panic!("person {number} ended more than once: {several:?}"),
        // She waits for a mail of which nobody knows whether it came.
        None if unknown > 0 && is_reader(number) => "waits".to_owned(),
        None => panic!("person {number} has not ended: {profile}"),
    };
    (End { reason, messages }, unknown as u64)
}

fn start(folder: &Path, sink: &MailSink) -> Start {
    Start::new(&folder.join("data")).config(&sink.config(CONNECTIONS_MAX))
}

fn documents() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/crash.yaml")
}

/// How people of each plan end when nothing is disturbed.
fn undisturbed() -> BTreeMap<&'static str, End> {
    let folder = tempfile::tempdir().unwrap();
    let sink = MailSink::start(Duration::ZERO);
    let server = start(folder.path(), &sink).run();
    server.apply(&documents());
    let load = Load::start(&server.base, &sink);
    wait_until("some people", || (load.acknowledged() >= 12).then_some(()));
    let (_, ends, unknown) = load.end(&server);
    assert_eq!(unknown, 0);
    let mut by_plan = BTreeMap::new();
    for (number, end) in ends {
        // A buyer may be faster than her first mail: it is cancelled then. Her end is the same.
        assert_eq!(*by_plan.entry(plan_of(number)).or_insert_with(|| end.clone()), end, "person {number}");
    }
    by_plan
}

/// SOJOURN_KILLS says how often (default 5; `cargo xtask crash` 50).
#[test]
fn t71_kill_9_under_load_loses_nothing_and_doubles_nothing() {
    let kills: u32 = std::env::var("SOJOURN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let expected = undisturbed();
    let reasons: Vec<&str> = expected.values().map(|end| end.reason.as_str()).collect();
    assert_eq!(reasons, ["bought", "engaged", "silent"], "{expected:?}");

    let folder = tempfile::tempdir().unwrap();
    let sink = MailSink::start(Duration::from_millis(5));
    let start = start(folder.path(), &sink);
    let mut server = start.run();
    server.apply(&documents());
    let load = Load::start(&server.base, &sink);
    let mut recoveries_ms = Vec::new();
    for kill in 0..kills {
        let before = load.acknowledged();
        wait_until("people between two kills", || (load.acknowledged() > before).then_some(()));
        // Moments that differ from run to run are the point here; what holds must hold at any of them.
        let spread = u64::from(std::process::id()).wrapping_mul(2_654_435_761).wrapping_add(u64::from(kill) * 7919);
        std::thread::sleep(Duration::from_millis(spread % 500));
        drop(server);
        let began = Instant::now();
        server = start.run();
        recoveries_ms.push(began.elapsed().as_millis());
    }
    let before = load.acknowledged();
    wait_until("people after the last kill", || (load.acknowledged() > before).then_some(()));
    let (people, ends, unknown) = load.end(&server);

    for (number, end) in &ends {
        let End { reason, messages } = &expected[plan_of(*number)];
        assert_eq!(&end.messages, messages, "person {number}");
        assert!(end.reason == *reason || end.reason == "waits", "person {number}: {end:?}, expected {reason}");
    }
    let mails = sink.mails();
    let doubled: Vec<_> = mails.iter().filter(|(_, mail)| mail.times != 1).map(|(id, _)| id).collect();
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    check_ledger(&server, &mails);
    // At most what was under way, and what waited for its turn, at each kill.
    let unknown_max = u64::from(kills) * CONNECTIONS_MAX as u64 * 2;
    assert!(unknown <= unknown_max, "{unknown} unknown after {kills} kills");

    let buyers = people.iter().filter(|number| plan_of(**number) == "buyer").count();
    let position = server.get("/readyz").1["position"].to_string();
    let (_, books) = server.get(&format!("/api/v1/books?at_least={}", position.trim_matches('"')));
    for (trigger, acknowledged) in [("joined", people.len()), ("bought", buyers)] {
        let book = &books["triggers"][trigger];
        let count = |name: &str| book[name].as_u64().unwrap();
        assert_eq!(count("accepted"), acknowledged as u64, "{trigger}: {book}");
        assert_eq!(count("matched"), acknowledged as u64, "{trigger}: {book}");
        assert_eq!(count("received"), count("accepted") + count("duplicate"), "{trigger}: {book}");
    }
    recoveries_ms.sort_unstable();
    println!(
        "{kills} kills, {} people acknowledged, {} mails, {unknown} sends shown as unknown; \
         from start to ready: median {} ms, longest {} ms",
        people.len(),
        mails.len(),
        recoveries_ms.get(recoveries_ms.len() / 2).copied().unwrap_or_default(),
        recoveries_ms.last().copied().unwrap_or_default(),
    );
}

/// What the ledger says was accepted is at the sink, and what is at the sink the ledger knows.
fn check_ledger(server: &Server, mails: &BTreeMap<String, Mail>) {
    let (mut states, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let (status, page) = server.get(&format!("/api/v1/sends?limit=1000{cursor}"));
        assert_eq!(status, 200, "{page}");
        for send in page["sends"].as_array().unwrap() {
            states.insert(send["id"].as_str().unwrap().to_owned(), send["state"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let accepted = states.iter().filter(|(_, state)| *state == "accepted");
    let missing: Vec<_> = accepted.filter(|(id, _)| !mails.contains_key(*id)).collect();
    assert!(missing.is_empty(), "accepted and not there: {missing:?}");
    let wrong: Vec<_> = mails
        .keys()
        .filter(|id| !states.get(*id).is_some_and(|state| ["accepted", "unknown"].contains(&state.as_str())))
        .collect();
    assert!(wrong.is_empty(), "there, and neither accepted nor unknown: {wrong:?}");
}
