//! A processor over a disk in memory, with a clock set by hand and faults said from outside.

use engine::command::{DocumentChange, InteractionOccurred};
use engine::state::OutboxState;
use engine::trace::Entry;
use model::send::Settlement;
use model::{Attributes, EffectId, Event, Identity, PartitionId, ProfileId, Text, Timestamp, Value};
use ports::memory::{Disk, Fault, MemoryLog, MemoryState, Place, Survivors};
use ports::rows::{self, BookRow};
use ports::state::{Scan, State};
use ports::{HandOff, Keyspace};
use processor::{
    Answer, ChannelPolicy, ControlRequest, Failed, Group, Input, Item, Known, Options, ProfileRead, Recovered,
    Released, Update, Who,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use template::tracking::Signer;

pub const BEGIN_MS: i64 = 1_770_000_000_000;
pub const HOUR_MS: i64 = 3_600_000;
/// The secret that keys the directory.
const SECRET: [u8; 32] = [2; 32];

/// What goes wrong next, and where: `None` in between.
#[derive(Clone, Default)]
pub struct Planned(Arc<Mutex<BTreeMap<Place, (Fault, u32)>>>);

impl Planned {
    /// The next `times` at `place` go wrong.
    pub fn at(&self, place: Place, fault: Fault, times: u32) {
        self.0.lock().unwrap().insert(place, (fault, times));
    }

    pub fn none(&self) {
        self.0.lock().unwrap().clear();
    }

    fn next(&self, place: Place) -> Fault {
        let mut planned = self.0.lock().unwrap();
        match planned.get_mut(&place) {
            Some((fault, times)) if *times > 0 => {
                *times -= 1;
                *fault
            }
            _ => Fault::None,
        }
    }

    pub fn disk(&self) -> Disk {
        let planned = self.clone();
        Disk::with_faults(Arc::new(move |place| planned.next(place)))
    }
}

pub type TestGroup = Group<MemoryLog, MemoryState, u64>;

pub fn options() -> Options {
    let policy = ChannelPolicy { in_flight_max: 3, retry_unknown: false };
    let channels = ["email", "sms"].map(|channel| (channel.into(), policy.clone())).into_iter().collect();
    Options { partitions: 4, channels, ..Options::default() }
}

pub struct Stage {
    pub disk: Disk,
    pub faults: Planned,
    pub options: Options,
    pub now: Timestamp,
    pub recovered: Recovered,
    /// None between a failure and the next opening.
    pub group: Option<TestGroup>,
    /// Handed off and not looked at yet.
    pub hand_offs: Vec<HandOff>,
    pub answers: BTreeMap<u64, Answer>,
    next_ticket: u64,
}

pub fn open(disk: &Disk, options: Options, known: &Known) -> Result<(TestGroup, Recovered), processor::Error> {
    let signer = Signer::new([1; 32], "https://test.invalid");
    Group::reopen(disk.open_log(), Arc::new(disk.open_state()), SECRET, signer, options, known)
}

impl Stage {
    pub fn new() -> Self {
        Self::with(options())
    }

    pub fn with(options: Options) -> Self {
        let faults = Planned::default();
        let disk = faults.disk();
        let (group, recovered) = open(&disk, options.clone(), &Known::default()).unwrap();
        Stage {
            disk,
            faults,
            options,
            now: Timestamp::from_ms(BEGIN_MS),
            recovered,
            group: Some(group),
            hand_offs: Vec::new(),
            answers: BTreeMap::new(),
            next_ticket: 0,
        }
    }

    /// With `yaml` published.
    pub fn publishing(yaml: &str) -> Self {
        let mut stage = Self::new();
        stage.publish(yaml);
        stage
    }

    pub fn group(&mut self) -> &mut TestGroup {
        self.group.as_mut().expect("the group is open")
    }

    pub fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    // ---- turns ----

    pub fn try_turn(&mut self, inputs: Vec<Input<u64>>) -> Result<(), Failed<u64>> {
        let now = self.now;
        let Released { answers, hand_offs, .. } = self.group().turn(now, inputs)?;
        self.answers.extend(answers);
        self.hand_offs.extend(hand_offs);
        Ok(())
    }

    pub fn turn(&mut self, inputs: Vec<Input<u64>>) {
        self.try_turn(inputs).map_err(|failed| failed.error.to_string()).unwrap();
    }

    /// Works off everything that wants to happen now.
    pub fn settle(&mut self) {
        for _ in 0..1_000 {
            let now = self.now;
            if !self.group().has_work(now) {
                return;
            }
            self.turn(Vec::new());
        }
        panic!("it does not come to rest");
    }

    pub fn wait(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
        self.settle();
    }

    /// The answer to one request.
    pub fn ask(&mut self, input: impl FnOnce(u64) -> Input<u64>) -> Answer {
        let ticket = self.ticket();
        self.turn(vec![input(ticket)]);
        self.settle();
        self.answers.remove(&ticket).expect("it was answered")
    }

    pub fn submit(&mut self, items: Vec<Item>) -> Answer {
        self.ask(|ticket| Input::Submit { items, ticket })
    }

    pub fn event(&mut self, person: &str, trigger: &str) -> Answer {
        let item = self.item(person, trigger);
        self.submit(vec![item])
    }

    pub fn publish(&mut self, yaml: &str) -> Answer {
        let read = model::document::read_documents(yaml);
        assert!(read.findings.is_empty(), "{:?}", read.findings);
        let changes = read.documents.into_iter().map(DocumentChange::Put).collect();
        let request = ControlRequest::Documents { changes, expected: None, by: "test".into() };
        let answer = self.ask(|ticket| Input::Control { request, ticket });
        assert!(matches!(answer, Answer::Applied { .. }), "{answer:?}");
        answer
    }

    // ---- items ----

    pub fn item(&mut self, person: &str, trigger: &str) -> Item {
        let id = format!("e{}", self.ticket());
        self.item_of(&[&format!("user_id:{person}")], trigger, Some(&id))
    }

    pub fn item_of(&self, identities: &[&str], trigger: &str, id: Option<&str>) -> Item {
        let event = Event {
            id: id.map(Text::from),
            source: "test".into(),
            trigger: trigger.into(),
            identities: identities.iter().map(|identity| parse(identity)).collect(),
            occurred_at: self.now,
            received_at: self.now,
            attributes: Attributes::new(),
            binding_id: None,
            replay_as_live: false,
        };
        let checked_with = self.group.as_ref().map(|group| group.catalog().version()).unwrap_or_default();
        Item::Event { event, checked_with, unknown_attributes: Vec::new() }
    }

    pub fn know(&mut self, person: &str) {
        let email = Value::Text(format!("{person}@example.org").into());
        let update = Update {
            id: None,
            source: "test".into(),
            identities: vec![parse(&format!("user_id:{person}"))],
            attributes: [("email", email)].into_iter().collect(),
            received_at: self.now,
        };
        let answer = self.submit(vec![Item::Update(update)]);
        assert!(matches!(answer, Answer::Stored { .. }), "{answer:?}");
    }

    // ---- sends ----

    pub fn accept_all(&mut self) {
        for _ in 0..1_000 {
            let settled: Vec<Input<u64>> = self.hand_offs.drain(..).map(|hand_off| accepted(&hand_off)).collect();
            if settled.is_empty() {
                return;
            }
            self.turn(settled);
            self.settle();
        }
        panic!("hand-offs without end");
    }

    pub fn interaction(&mut self, hand_off: &HandOff, interaction: &str) -> Answer {
        let (profile, effect, now) = (hand_off.profile, hand_off.effect, self.now);
        let occurred = InteractionOccurred {
            effect,
            interaction: interaction.into(),
            occurred_at: now,
            received_at: now,
            machine: false,
            attributes: Attributes::new(),
        };
        self.ask(|ticket| Input::Interaction { profile, occurred, ticket })
    }

    /// How the ledger says that sends stand, after a checkpoint.
    pub fn sends(&mut self) -> Vec<String> {
        self.checkpoint();
        let mut states = Vec::new();
        let prefix = rows::SENDS_BY_TIME_PREFIX;
        let state = self.disk.open_state();
        state
            .scan(Keyspace::Sends, prefix, None, &mut |key, value| {
                let key = rows::send_key_by_time(key, value).unwrap();
                let row = rows::decode_send(&state.get(Keyspace::Sends, &key)?.unwrap()).unwrap();
                states.push(format!("{} {:?}", row.send.step, row.send.state));
                Ok(Scan::Continue)
            })
            .unwrap();
        states.sort();
        states
    }

    // ---- restarts ----

    pub fn checkpoint(&mut self) {
        let state = self.disk.open_state();
        while let Some(cut) = self.group().begin_checkpoint() {
            cut.write(&state).unwrap();
            self.group().finish_checkpoint();
        }
    }

    pub fn try_open(&mut self, known: &Known) -> Result<(), processor::Error> {
        self.group = None;
        let (group, recovered) = open(&self.disk, self.options.clone(), known)?;
        (self.group, self.recovered) = (Some(group), recovered);
        Ok(())
    }

    /// `kill -9`, then a start.
    pub fn kill(&mut self) {
        self.group = None;
        self.disk.crash(Survivors::default());
        self.hand_offs.clear();
        self.try_open(&Known::default()).unwrap();
    }

    /// A clean stop, then a start.
    pub fn restart(&mut self) {
        self.checkpoint();
        self.kill();
    }

    // ---- what can be seen ----

    pub fn read(&mut self, person: &str) -> Answer {
        let who = Who::Identity(parse(&format!("user_id:{person}")));
        self.ask(|ticket| Input::Read { who, ticket })
    }

    pub fn profile(&mut self, person: &str) -> ProfileRead {
        let answer = self.read(person);
        let Answer::Profile(Some(read)) = answer else { panic!("{person} is not to be read: {answer:?}") };
        *read
    }

    pub fn outbox(&mut self, person: &str) -> Vec<OutboxState> {
        self.profile(person).profile.outbox.iter().map(|row| row.state).collect()
    }

    pub fn trace(&self) -> Vec<String> {
        let traces = self.disk.traces();
        traces.into_iter().flat_map(|(_, _, entries)| entries.into_iter().map(|entry| entry.to_string())).collect()
    }

    /// Entries of the trace that `wanted` tells apart, in order, with their place in the log.
    pub fn traced(&self, wanted: impl Fn(&Entry) -> bool) -> usize {
        self.disk.traces().iter().flat_map(|(_, _, entries)| entries).filter(|entry| wanted(entry)).count()
    }

    pub fn started(&self) -> usize {
        self.traced(|entry| matches!(entry, Entry::Started { .. }))
    }

    pub fn ended(&self, wanted: &str) -> usize {
        self.traced(|entry| matches!(entry, Entry::Ended { reason, .. } if reason == wanted))
    }

    pub fn book(&mut self, trigger: &str) -> BookRow {
        self.checkpoint();
        let mut total = BookRow::default();
        let state = self.disk.open_state();
        state
            .scan(Keyspace::Books, &rows::book_prefix(trigger), None, &mut |_, value| {
                total.add(&rows::decode_book(value).unwrap());
                Ok(Scan::Continue)
            })
            .unwrap();
        total
    }

    pub fn partition_of(&self, profile: ProfileId) -> PartitionId {
        PartitionId::of(&profile.0, self.options.partitions)
    }
}

pub fn parse(identity: &str) -> Identity {
    let (kind, value) = identity.split_once(':').unwrap();
    Identity::new(kind, value).unwrap()
}

pub fn accepted(hand_off: &HandOff) -> Input<u64> {
    settled(hand_off.profile, hand_off.effect, Settlement::Accepted { provider_id: None })
}

pub fn settled(profile: ProfileId, effect: EffectId, settlement: Settlement) -> Input<u64> {
    Input::Settled { profile, effect, settlement }
}

/// Triggers `begun` and `over`; a mail `hello`; the journey is what each story needs.
pub fn with_journey(journey: &str) -> String {
    format!("{TRIGGERS}---\n{journey}")
}

const TRIGGERS: &str = "\
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: begun}
spec: {kind: custom}
---
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: over}
spec: {kind: custom}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: hello}
spec: {channel: email, purpose: transactional, subject: Hello, html: '<p>Hello</p>'}
";

/// Sends, then waits a day.
pub const MAIL_AND_WAIT: &str = "\
apiVersion: sojourn/v1
kind: Journey
metadata: {name: greet}
spec:
  start: {trigger: begun, repeat: {mode: always}}
  exits: [{trigger: over}]
  steps:
    - {id: mail, send: {message: hello}}
    - {id: rest, wait: {for: 24h}}
";

/// Waits an hour, once.
pub const WAIT_ONCE: &str = "\
apiVersion: sojourn/v1
kind: Journey
metadata: {name: rest}
spec:
  start: {trigger: begun, repeat: {mode: once}}
  exits: [{trigger: over}]
  steps:
    - {id: rest, wait: {for: 1h}}
";
