//! One run: clients, providers, faults and crashes around the processor.

use crate::Chance;
use crate::checks::{self, Violation, violated};
use engine::command::{DocumentChange, InteractionOccurred};
use model::send::{Rendered, Settlement};
use model::{Attributes, EffectId, Event, Identity, ProfileId, Text, Timestamp, Value};
use ports::log::{Error, Frame, Log, Replay, TraceRow};
use ports::memory::{Disk, Fault, MemoryLog, MemoryState, Place};
use ports::state::{self, State};
use ports::{Keyspace, Row};
use processor::{Answer, ChannelPolicy, ControlRequest, Group, Input, Item, Options, Released, Update};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use template::tracking::Signer;

const BEGIN_MS: i64 = 1_770_000_000_000;
const TURNS: u64 = 120;
const DOCUMENTS: &str = include_str!("../documents.yaml");

/// A bug planted into a port, to see that the checkers find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The log says that a sync has ended which never began: acknowledgements come before durability.
    AcknowledgesBeforeSync,
    /// The store loses a profile of a checkpoint and says it is written.
    LosesARow,
    /// After a restart the log gives its timers once more, under the numbers that come next.
    FiresTimersTwice,
}

/// What a run did; that it did something is worth a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub acknowledged: usize,
    pub crashes: u32,
    pub hand_offs: u32,
    pub interactions: u32,
    pub checkpoints: u32,
    pub records: usize,
}

struct BuggyLog {
    inner: MemoryLog,
    bug: Option<Bug>,
    /// A sync was begun, and its end was reported but not waited for.
    owes_sync: bool,
}

impl Log for BuggyLog {
    fn last_lsn(&self) -> model::Lsn {
        self.inner.last_lsn()
    }
    fn last_stamp(&self) -> Timestamp {
        self.inner.last_stamp()
    }
    fn last_traced(&self) -> model::Lsn {
        self.inner.last_traced()
    }
    fn room(&mut self) -> Result<(), Error> {
        self.inner.room()
    }
    fn append(&mut self, frame: &Frame) -> Result<(), Error> {
        self.inner.append(frame)
    }
    fn begin_sync(&mut self) -> Result<(), Error> {
        // The sync that nobody waited for ends when the next one begins.
        if std::mem::take(&mut self.owes_sync) {
            self.inner.finish_sync()?;
        }
        self.inner.begin_sync()
    }
    fn finish_sync(&mut self) -> Result<(), Error> {
        if self.bug == Some(Bug::AcknowledgesBeforeSync) {
            self.owes_sync = true;
            return Ok(());
        }
        self.inner.finish_sync()
    }
    fn replay(&mut self, from: model::Lsn) -> Result<Replay, Error> {
        self.inner.replay(from)
    }
    fn release(&mut self, before: model::Lsn) {
        self.inner.release(before);
    }
    fn create_key(&mut self, profile: ProfileId) -> Result<model::KeySlot, Error> {
        self.inner.create_key(profile)
    }
    fn profile_of(&self, slot: model::KeySlot) -> Result<Option<ProfileId>, Error> {
        self.inner.profile_of(slot)
    }
    fn sync_traces(&mut self) -> ports::log::TraceSync {
        self.inner.sync_traces()
    }
    fn append_traces(&mut self, rows: &[TraceRow]) -> Result<(), Error> {
        if self.bug != Some(Bug::FiresTimersTwice) {
            return self.inner.append_traces(rows);
        }
        // An end that is traced at two places in the log is what a timer that fired twice would leave.
        let shifted = rows.iter().cloned().map(|row| TraceRow { lsn: model::Lsn(row.lsn.0 + 1_000_000), ..row });
        let doubled: Vec<TraceRow> = rows.iter().cloned().chain(shifted).collect();
        self.inner.append_traces(&doubled)
    }
}

struct BuggyState {
    inner: MemoryState,
    bug: Option<Bug>,
}

impl State for BuggyState {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, state::Error> {
        self.inner.get(keyspace, key)
    }
    fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut state::Visit<'_>,
    ) -> Result<(), state::Error> {
        self.inner.scan(keyspace, prefix, after, visit)
    }
    fn write(&self, mut rows: Vec<Row>) -> Result<(), state::Error> {
        if self.bug == Some(Bug::LosesARow)
            && let Some(at) = rows.iter().position(|row| row.keyspace == Keyspace::Subjects)
        {
            rows.remove(at);
        }
        self.inner.write(rows)
    }
}

type Sim = Group<BuggyLog, BuggyState, u64>;

struct World {
    chance: Chance,
    disk: Disk,
    calm: Arc<AtomicBool>,
    bug: Option<Bug>,
    now: Timestamp,
    /// Requests that were not answered yet; they are sent again.
    open: BTreeMap<u64, Vec<Item>>,
    tickets: BTreeMap<u64, u64>,
    next_request: u64,
    next_ticket: u64,
    bodies: BTreeMap<EffectId, Arc<Rendered>>,
    /// What providers will answer, some of it twice.
    settlements: Vec<(ProfileId, EffectId, Settlement)>,
    sent: Vec<(ProfileId, EffectId)>,
    acknowledged: Vec<Text>,
    summary: Summary,
}

/// Runs one seed.
///
/// # Errors
/// The first thing that did not hold.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<Summary, Violation> {
    let calm = Arc::new(AtomicBool::new(true));
    let faults = Arc::new(Mutex::new(Chance::new(seed ^ 0xfa17)));
    let is_calm = Arc::clone(&calm);
    let disk = Disk::with_faults(Arc::new(move |place| {
        let mut chance = faults.lock().unwrap_or_else(PoisonError::into_inner);
        let roll = chance.below(60);
        if is_calm.load(Ordering::Relaxed) {
            return Fault::None;
        }
        match (roll, place) {
            (0, _) => Fault::FailBefore,
            (1, _) => Fault::FailAfter,
            (2, Place::Append | Place::CreateKey | Place::StateWrite) => Fault::Full,
            _ => Fault::None,
        }
    }));
    let mut world = World {
        chance: Chance::new(seed),
        disk,
        calm,
        bug,
        now: Timestamp::from_ms(BEGIN_MS),
        open: BTreeMap::new(),
        tickets: BTreeMap::new(),
        next_request: 0,
        next_ticket: 0,
        bodies: BTreeMap::new(),
        settlements: Vec::new(),
        sent: Vec::new(),
        acknowledged: Vec::new(),
        summary: Summary::default(),
    };
    world.play()
}

fn options() -> Options {
    let policy = ChannelPolicy { in_flight_max: 3, retry_unknown: false };
    let channels = ["email", "sms"].map(|channel| (channel.into(), policy.clone())).into_iter().collect();
    Options { partitions: 3, hot_profiles_max: 6, channels, timers_per_turn_max: 4, ..Options::default() }
}

fn open(disk: &Disk, bug: Option<Bug>) -> Result<Sim, Violation> {
    let log = BuggyLog { inner: disk.open_log(), bug, owes_sync: false };
    let state = Arc::new(BuggyState { inner: disk.open_state(), bug });
    let signer = Signer::new([1; 32], "https://sim.invalid");
    let opened = Group::open(log, state, [2; 32], signer, options());
    opened.map(|(group, _)| group).map_err(|error| Violation(format!("it does not open again: {error}")))
}

impl World {
    fn play(&mut self) -> Result<Summary, Violation> {
        let mut group = open(&self.disk, self.bug)?;
        group = self.publish(group)?;
        for _ in 0..TURNS {
            self.calm.store(false, Ordering::Relaxed);
            let inputs = self.inputs();
            self.advance();
            group = self.turn(group, inputs)?;
            if self.chance.once_in(5) {
                group = self.checkpoint(group)?;
            }
            if self.chance.once_in(25) {
                group = self.crash(group)?;
            }
        }
        self.calm.store(true, Ordering::Relaxed);
        group = self.finish(group)?;
        self.check_all(group)?;
        Ok(self.summary.clone())
    }

    fn publish(&mut self, group: Sim) -> Result<Sim, Violation> {
        let documents = model::document::read_documents(DOCUMENTS).documents;
        let changes = documents.into_iter().map(DocumentChange::Put).collect();
        let request = ControlRequest::Documents { changes, expected: None, by: "sim".into() };
        let mut group = self.turn(group, vec![Input::Control { request, ticket: 0 }])?;
        group = self.turn(group, Vec::new())?;
        if group.catalog().version().0 == 1 { Ok(group) } else { violated("the documents were not published") }
    }

    /// Time goes on a little, or by hours, or not at all; the host's clock may also say it went back.
    fn advance(&mut self) {
        let ms = match self.chance.below(12) {
            0 => 3_600_000 * i64::try_from(self.chance.below(30)).unwrap_or(0),
            1 => 0,
            2 => -60_000,
            _ => i64::try_from(self.chance.below(5_000)).unwrap_or(0),
        };
        self.now = self.now.plus_ms(ms);
    }

    fn inputs(&mut self) -> Vec<Input<u64>> {
        for _ in 0..self.chance.below(4) {
            let items = (0..=self.chance.below(2)).map(|_| self.item()).collect();
            self.next_request += 1;
            self.open.insert(self.next_request, items);
        }
        let mut inputs = Vec::new();
        let requests: Vec<(u64, Vec<Item>)> = self.open.iter().map(|(id, items)| (*id, items.clone())).collect();
        for (request, items) in requests {
            // A request may be sent twice at once, as by a client that lost patience.
            for _ in 0..=u64::from(self.chance.once_in(10)) {
                self.next_ticket += 1;
                self.tickets.insert(self.next_ticket, request);
                inputs.push(Input::Submit { items: items.clone(), ticket: self.next_ticket });
            }
        }
        for (profile, effect, settlement) in std::mem::take(&mut self.settlements) {
            inputs.push(Input::Settled { profile, effect, settlement });
        }
        if let Some((profile, effect)) = self.pick_sent() {
            let names = ["email_opened", "email_link_clicked"];
            let interaction = names[usize::from(self.chance.once_in(2))].into();
            let (occurred_at, received_at) = (self.now, self.now);
            let (machine, attributes) = (self.chance.once_in(6), Attributes::new());
            let occurred = InteractionOccurred { effect, interaction, occurred_at, received_at, machine, attributes };
            inputs.push(Input::Interaction { profile, occurred, ticket: 0 });
            self.summary.interactions += 1;
        }
        inputs
    }

    fn pick_sent(&mut self) -> Option<(ProfileId, EffectId)> {
        if self.sent.is_empty() || !self.chance.once_in(3) {
            return None;
        }
        let at = self.chance.below(self.sent.len() as u64);
        self.sent.get(usize::try_from(at).ok()?).copied()
    }

    fn item(&mut self) -> Item {
        let person = self.chance.below(12);
        let mut identities = vec![identity("user_id", person)];
        if self.chance.once_in(3) {
            identities.push(identity("anonymous_id", self.chance.below(15)));
        }
        if self.chance.once_in(5) {
            let email = Value::Text(format!("p{person}@example.org").into());
            let attributes = [("email", email)].into_iter().collect();
            return Item::Update(Update {
                id: None,
                source: "sim".into(),
                identities,
                attributes,
                received_at: self.now,
            });
        }
        let names = ["joined", "bought", "left", "unheard_of"];
        let at = usize::try_from(self.chance.below(names.len() as u64)).unwrap_or(0);
        let id = Text::from(format!("e{}", self.chance.number()));
        let total = Value::Int(i64::try_from(self.chance.below(100)).unwrap_or(0));
        let event = Event {
            id: Some(id),
            source: "sim".into(),
            trigger: names[at].into(),
            identities,
            occurred_at: self.now,
            received_at: self.now,
            attributes: [("total", total)].into_iter().collect(),
            binding_id: None,
            replay_as_live: false,
        };
        Item::Event { event, checked_with: model::CatalogVersion(1), unknown_attributes: Vec::new() }
    }

    fn turn(&mut self, mut group: Sim, inputs: Vec<Input<u64>>) -> Result<Sim, Violation> {
        match group.turn(self.now, inputs) {
            Ok(released) => {
                self.released(released)?;
                Ok(group)
            }
            // The memory is thrown away; what was not answered is sent again.
            Err(_) => self.crash(group),
        }
    }

    fn released(&mut self, released: Released<u64>) -> Result<(), Violation> {
        let durable = checks::event_ids(&checks::durable(&self.disk));
        for (ticket, answer) in released.answers {
            let Answer::Stored { .. } = answer else { continue };
            let Some(request) = self.tickets.remove(&ticket) else { continue };
            let Some(items) = self.open.remove(&request) else { continue };
            for item in items {
                let Item::Event { event, .. } = item else { continue };
                let id = event.id.unwrap_or_default();
                if !durable.contains(&id) {
                    return violated(format!("{id} was acknowledged before it was durable"));
                }
                self.acknowledged.push(id);
            }
        }
        for hand_off in released.hand_offs {
            checks::claim_is_durable(&self.disk, hand_off.effect)?;
            checks::same_body(&mut self.bodies, hand_off.effect, &hand_off.rendered)?;
            self.summary.hand_offs += 1;
            self.sent.push((hand_off.profile, hand_off.effect));
            let settlement = match self.chance.below(8) {
                0 => continue, // its answer is lost
                1 => Settlement::Rejected { reason: "no such box".into() },
                2 => Settlement::Deferred { reason: "busy".into(), retry_after_ms: Some(60_000) },
                3 => Settlement::Unknown { reason: "time-out".into() },
                _ => Settlement::Accepted { provider_id: None },
            };
            for _ in 0..=u64::from(self.chance.once_in(6)) {
                self.settlements.push((hand_off.profile, hand_off.effect, settlement.clone()));
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, mut group: Sim) -> Result<Sim, Violation> {
        let Some(cut) = group.begin_checkpoint() else { return Ok(group) };
        // Turns go on while the cut is being written.
        let late = self.chance.once_in(3);
        if late {
            let inputs = self.inputs();
            let began = self.summary.crashes;
            group = self.turn(group, inputs)?;
            if self.summary.crashes != began {
                return Ok(group);
            }
        }
        let state = BuggyState { inner: self.disk.open_state(), bug: self.bug };
        match cut.write(&state) {
            Ok(()) => {
                group.finish_checkpoint();
                self.summary.checkpoints += 1;
                Ok(group)
            }
            Err(_) => self.crash(group),
        }
    }

    /// The process ends: unsynced frames survive or not, traces may be behind, answers of providers may be lost.
    fn crash(&mut self, group: Sim) -> Result<Sim, Violation> {
        drop(group);
        self.summary.crashes += 1;
        let kept = usize::try_from(self.chance.below(3)).unwrap_or(0);
        self.disk.crash(ports::memory::Survivors { frames: kept, ..ports::memory::Survivors::ALL });
        if self.chance.once_in(2) {
            self.settlements.clear();
        }
        let was_calm = self.calm.swap(true, Ordering::Relaxed);
        let group = open(&self.disk, self.bug)?;
        self.calm.store(was_calm, Ordering::Relaxed);
        Ok(group)
    }

    /// Faults have stopped: everything open is answered, every due timer fires.
    fn finish(&mut self, mut group: Sim) -> Result<Sim, Violation> {
        for _ in 0..400 {
            let inputs = self.inputs_left();
            group = self.turn(group, inputs)?;
            let soon = group.next_timer_at().unwrap_or(self.now).max(self.now);
            self.now = soon.max(group.now());
            if self.open.is_empty()
                && self.settlements.is_empty()
                && !group.has_work(self.now)
                && group.next_timer_at().is_none()
            {
                break;
            }
        }
        if !self.open.is_empty() {
            return violated(format!("{} requests are never answered", self.open.len()));
        }
        if let Some(at) = group.next_timer_at().filter(|at| *at <= self.now) {
            return violated(format!("a timer due at {at} did not fire by {}", self.now));
        }
        self.checkpoint(group)
    }

    fn inputs_left(&mut self) -> Vec<Input<u64>> {
        let mut inputs = Vec::new();
        for (request, items) in self.open.clone() {
            self.next_ticket += 1;
            self.tickets.insert(self.next_ticket, request);
            inputs.push(Input::Submit { items, ticket: self.next_ticket });
        }
        for (profile, effect, settlement) in std::mem::take(&mut self.settlements) {
            inputs.push(Input::Settled { profile, effect, settlement });
        }
        inputs
    }

    fn check_all(&mut self, mut group: Sim) -> Result<(), Violation> {
        while let Some(cut) = group.begin_checkpoint() {
            let state = BuggyState { inner: self.disk.open_state(), bug: self.bug };
            cut.write(&state).map_err(|error| Violation(error.to_string()))?;
            group.finish_checkpoint();
        }
        if let Some((partition, stopped)) = group.stopped().next() {
            return violated(format!("partition {partition} is stopped at {}: {}", stopped.lsn, stopped.why));
        }
        let durable = checks::durable(&self.disk);
        self.summary.records = durable.len();
        self.summary.acknowledged = self.acknowledged.len();
        let ids = checks::event_ids(&durable);
        if let Some(lost) = self.acknowledged.iter().find(|id| !ids.contains(*id)) {
            return violated(format!("{lost} was acknowledged and is lost"));
        }
        checks::applied_once(&self.disk)?;
        checks::ends_once(&self.disk)?;
        checks::books_balance(&self.disk)?;
        let replayed = self.disk.without_state();
        let mut again = open(&replayed, None)?;
        if let Some(cut) = again.begin_checkpoint() {
            cut.write(&replayed.open_state()).map_err(|error| Violation(error.to_string()))?;
        }
        checks::same_state(&self.disk, &replayed)
    }
}

fn identity(kind: &str, number: u64) -> Identity {
    Identity::new(kind, &number.to_string()).expect("INVARIANT: a kind and a number make an identity")
}
