//! One run: the processor's group between clients and providers, on a disk where things go wrong.

use crate::bugs::{Bug, BuggyLog, BuggyState, Planted};
use crate::checks::{self, Violation, violated};
use crate::clients::{Ask, Clients, changes, update_mark};
use crate::faults::{Plan, Side, Trouble};
use crate::ledger::Ledger;
use crate::providers::Providers;
use crate::reference::Reference;
use crate::{Chance, DOCUMENTS};
use model::send::{Rendered, Settlement};
use model::{EffectId, ProfileId, Timestamp};
use ports::HandOff;
use ports::log::Body;
use ports::memory::{Disk, Survivors};
use processor::{
    After, Answer, ChannelPolicy, ControlRequest, Cut, Group, Input, Item, Known, Options, Released, Update,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use template::tracking::Signer;

const BEGIN_MS: i64 = 1_770_000_000_000;
const HOUR_MS: i64 = 3_600_000;
/// More than any wait, so that a timer that was lost is due at the end.
const FAR_MS: i64 = 400 * 24 * HOUR_MS;
/// After so many turns without faults everything must have come to rest.
const REST_TURNS: u32 = 3_000;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub seed: u64,
    pub plan: Plan,
    /// Turns in which clients have new wishes; then everything comes to rest.
    pub turns: u64,
    pub bug: Option<Bug>,
}

/// How to repeat it from a shell.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { seed, plan, turns, bug: _ } = self;
        write!(f, "cargo run -p sim -- --seed {seed} --turns {turns}")?;
        let Plan::CrashAt { write, side, again } = plan else { return Ok(()) };
        write!(f, " --crash-at {write}{}", if *side == Side::After { " --after" } else { "" })?;
        again.map_or(Ok(()), |again| write!(f, " --again {again}"))
    }
}

/// What a run did; that it did something is worth a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub acknowledged: usize,
    pub crashes: u32,
    /// Failures after which the process opened its group anew.
    pub reopened: u32,
    /// Turns refused by a full disk.
    pub full: u32,
    pub hand_offs: usize,
    pub checkpoints: u32,
    pub publishes: usize,
    /// Turns with a stopped partition, and what was stored for the others in them.
    pub turns_stopped: u32,
    pub stored_beside_stopped: usize,
    pub records: usize,
    /// Writes that the disk was asked for.
    pub writes: u64,
    /// Of all durable records and traces.
    pub digest: u64,
}

type Sim = Group<BuggyLog, BuggyState, u64>;

struct World {
    run: Run,
    chance: Chance,
    trouble: Trouble,
    disk: Disk,
    planted: Planted,
    is_calm: bool,
    now: Timestamp,
    /// None only while it is being opened.
    group: Option<Sim>,
    /// A checkpoint that is being written, and how many turns that still takes.
    cut: Option<(Cut, u64)>,
    clients: Clients,
    providers: Providers,
    ledger: Ledger,
    bodies: BTreeMap<EffectId, Arc<Rendered>>,
    handed_off: BTreeSet<(EffectId, u32)>,
    summary: Summary,
}

/// Runs it.
///
/// # Errors
/// The first thing that did not hold.
pub fn run(run: &Run) -> Result<Summary, Violation> {
    let trouble = Trouble::new(run.plan, run.seed);
    let mut world = World {
        run: *run,
        chance: Chance::new(run.seed),
        disk: Disk::with_faults(trouble.faults()),
        trouble,
        planted: Planted::new(run.bug),
        is_calm: true,
        now: Timestamp::from_ms(BEGIN_MS),
        group: None,
        cut: None,
        clients: Clients::new(),
        providers: Providers::default(),
        ledger: Ledger::default(),
        bodies: BTreeMap::new(),
        handed_off: BTreeSet::new(),
        summary: Summary::default(),
    };
    // A panic that nobody caught is told with its seed like everything else.
    let played = catch_unwind(AssertUnwindSafe(|| world.play().and_then(|()| world.check())));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        violated(format!("it panicked: {}", text.unwrap_or("without a message")))
    })?;
    Ok(world.summarize())
}

fn options() -> Options {
    let policy = |retry_unknown| ChannelPolicy { in_flight_max: 3, retry_unknown };
    let channels = [("email".into(), policy(false)), ("sms".into(), policy(true))].into();
    Options { partitions: 3, hot_profiles_max: 6, channels, timers_per_turn_max: 4, ..Options::default() }
}

fn open(disk: &Disk, planted: &Planted, known: &Known) -> Result<Sim, processor::Error> {
    let log = BuggyLog::new(disk.open_log(), planted);
    let state = Arc::new(BuggyState::new(disk.open_state(), planted));
    let signer = Signer::new([1; 32], "https://sim.invalid");
    Group::reopen(log, state, [2; 32], signer, options(), known).map(|(group, _)| group)
}

impl World {
    fn play(&mut self) -> Result<(), Violation> {
        self.open(Known::default())?;
        let request = ControlRequest::Documents { changes: changes(DOCUMENTS), expected: None, by: "sim".into() };
        self.clients.ask(Ask::Control(request));
        self.rest()?;
        self.calm(false);
        for _ in 0..self.run.turns {
            self.clients.wish(self.now, &self.providers.sends, &mut self.chance);
            self.advance();
            self.turn()?;
            self.keep_checkpoints()?;
            if self.run.plan == Plan::ByChance && self.chance.once_in(25) {
                self.crash()?;
            }
        }
        self.calm(true);
        self.settle_down()
    }

    fn calm(&mut self, is_calm: bool) {
        self.is_calm = is_calm;
        self.trouble.calm(is_calm);
    }

    fn group(&mut self) -> &mut Sim {
        self.group.as_mut().expect("INVARIANT: there is a group between two crashes")
    }

    /// Time goes on a little, or by hours, or not at all; the host's clock may also say it went back.
    fn advance(&mut self) {
        let hours = i64::try_from(self.chance.below(30)).unwrap_or(0);
        let ms = match self.chance.below(12) {
            0 => HOUR_MS * hours,
            1 => 0,
            2 => -60_000 * hours,
            _ => i64::try_from(self.chance.below(5_000)).unwrap_or(0),
        };
        self.now = self.now.plus_ms(ms);
    }

    fn turn(&mut self) -> Result<(), Violation> {
        if self.is_calm && self.group().stopped().next().is_some() {
            self.move_store_away()?;
        }
        let mut inputs = self.providers.inputs();
        let settled: Vec<(ProfileId, EffectId, Settlement)> = inputs.iter().filter_map(settlement).collect();
        inputs.extend(self.clients.inputs(&mut self.chance, !self.is_calm));
        let now = self.now;
        match self.group().turn(now, inputs) {
            Ok(released) => {
                self.release(released)?;
                // What nobody needs to hear of, such as traces that were not written, ends the process all the same.
                if self.trouble.is_dead() { self.crash() } else { Ok(()) }
            }
            Err(failed) => {
                self.providers.put_back(&settled);
                match failed.group {
                    After::Unchanged => {
                        self.summary.full += 1;
                        Ok(())
                    }
                    // The process goes on, or ends with it.
                    After::Unusable if self.run.plan == Plan::ByChance && self.chance.once_in(2) => {
                        self.summary.reopened += 1;
                        let under_way = self.providers.under_way.clone();
                        self.open(Known { under_way, withheld: failed.withheld.into_iter().collect() })
                    }
                    After::Unusable => self.crash(),
                }
            }
        }
    }

    /// What leaves the group leaves it after it is durable.
    fn release(&mut self, released: Released<u64>) -> Result<(), Violation> {
        self.ledger.read_on(&self.disk)?;
        if self.group().stopped().next().is_some() {
            self.summary.turns_stopped += 1;
            let stored = |(_, answer): &&(u64, Answer)| matches!(answer, Answer::Stored { .. });
            self.summary.stored_beside_stopped += released.answers.iter().filter(stored).count();
        }
        released.hand_offs.iter().try_for_each(|hand_off| self.hand_off(hand_off))?;
        for (ticket, answer) in released.answers {
            let Some(ask) = self.clients.take(ticket, &answer)? else { continue };
            if let Some(lacking) = self.ledger.lacks(&ask) {
                return violated(format!("{lacking} was acknowledged before it was durable"));
            }
            if let Answer::Applied { version, .. } = answer
                && version.0 > self.ledger.publishes as u64
            {
                return violated(format!("catalog version {} was answered before it was durable", version.0));
            }
        }
        Ok(())
    }

    fn hand_off(&mut self, hand_off: &HandOff) -> Result<(), Violation> {
        let HandOff { effect, attempt, rendered, .. } = hand_off;
        if self.ledger.claims(*effect) < *attempt {
            return violated(format!("attempt {attempt} of {effect} left before its claim was durable"));
        }
        if !self.handed_off.insert((*effect, *attempt)) {
            return violated(format!("attempt {attempt} of {effect} was handed off twice"));
        }
        if *attempt > self.ledger.deferred(*effect) + 1 {
            return violated(format!("{effect} was sent again, and nobody had said that it did not go out"));
        }
        let held = self.bodies.entry(*effect).or_insert_with(|| Arc::clone(rendered));
        if held != rendered {
            return violated(format!("{effect} carries two different bodies"));
        }
        self.providers.take(hand_off, self.is_calm, &mut self.chance);
        Ok(())
    }

    /// Begins checkpoints, and ends them some turns later.
    fn keep_checkpoints(&mut self) -> Result<(), Violation> {
        match self.cut.take() {
            Some((cut, 0)) => self.write(&cut),
            Some((cut, turns)) => {
                self.cut = Some((cut, turns - 1));
                Ok(())
            }
            None => {
                if self.chance.once_in(4) {
                    let turns = self.chance.below(5);
                    self.cut = self.group().begin_checkpoint().map(|cut| (cut, turns));
                }
                Ok(())
            }
        }
    }

    fn write(&mut self, cut: &Cut) -> Result<(), Violation> {
        let state = BuggyState::new(self.disk.open_state(), &self.planted);
        match cut.write(&state) {
            Ok(()) => {
                self.group().finish_checkpoint();
                self.summary.checkpoints += 1;
                Ok(())
            }
            Err(_) => self.crash(),
        }
    }

    /// The process ends, and with it what it knew; the machine may lose what was not synced.
    fn crash(&mut self) -> Result<(), Violation> {
        self.group = None;
        self.summary.crashes += 1;
        self.providers.lose_process();
        self.lose_unsynced();
        if self.planted.bug == Some(Bug::LosesASyncedFrame) {
            self.disk.lose_synced_frame();
        }
        if self.chance.once_in(4) {
            self.now = self.now.plus_ms(-HOUR_MS);
        }
        self.open(Known::default())
    }

    /// What an operator does when the store has a bad row and the log reaches back to record 1.
    fn move_store_away(&mut self) -> Result<(), Violation> {
        self.group = None;
        self.providers.lose_process();
        self.disk.forget_state();
        self.open(Known::default())
    }

    fn lose_unsynced(&mut self) {
        let survivors = match self.chance.below(3) {
            0 => Survivors::ALL,
            _ => Survivors { frames: self.chance.index(3), keys: self.chance.index(4), traces: self.chance.index(8) },
        };
        self.disk.crash(survivors);
    }

    /// Opens the group, which may fail too, and end the process again.
    fn open(&mut self, mut known: Known) -> Result<(), Violation> {
        self.group = None;
        self.cut = None;
        for attempt in 0.. {
            self.trouble.begin_process();
            self.trouble.calm(self.is_calm || attempt >= 3);
            let opened = open(&self.disk, &self.planted, &known);
            self.trouble.calm(self.is_calm);
            match opened {
                Ok(group) => {
                    self.group = Some(group);
                    return self.ledger.read_on(&self.disk);
                }
                Err(error) if attempt > 3 => return violated(format!("it does not open again: {error}")),
                Err(_) => {
                    self.summary.crashes += 1;
                    self.providers.lose_process();
                    self.lose_unsynced();
                    known = Known::default();
                }
            }
        }
        unreachable!("INVARIANT: a few attempts decide")
    }

    /// Faults have stopped: everything open is answered, every due timer fires, and a checkpoint holds it all.
    fn settle_down(&mut self) -> Result<(), Violation> {
        self.rest()?;
        self.now = self.now.plus_ms(FAR_MS);
        for _ in 0..10 {
            self.rest()?;
            let Some(cut) = self.group().begin_checkpoint() else { return Ok(()) };
            self.write(&cut)?;
        }
        violated("there is always something left to checkpoint")
    }

    /// Turns until there is nothing to do any more, going from timer to timer.
    fn rest(&mut self) -> Result<(), Violation> {
        for _ in 0..REST_TURNS {
            self.turn()?;
            if let Some((cut, _)) = self.cut.take() {
                self.write(&cut)?;
            }
            let now = self.now;
            let is_done = self.clients.are_answered() && self.providers.are_done() && !self.group().has_work(now);
            if !is_done {
                continue;
            }
            match self.group().next_timer_at() {
                Some(at) => self.now = now.max(at),
                None => return Ok(()),
            }
        }
        let waiting: Vec<String> =
            self.group().waiting_sends().map(|(channel, count)| format!("{count} sends by {channel}")).collect();
        violated(format!(
            "it never comes to rest: {} asks are not answered, {waiting:?} wait, the next timer is at {:?}",
            self.clients.waiting(),
            self.group().next_timer_at()
        ))
    }

    /// Everything that must hold at the end; tells all that does not.
    fn check(&mut self) -> Result<(), Violation> {
        if let Some((partition, stopped)) = self.group().stopped().next() {
            return violated(format!("partition {partition} is stopped at {}: {}", stopped.lsn, stopped.why));
        }
        let mut ledger = Ledger::default();
        ledger.read_on(&self.disk)?;
        self.ledger.read_on(&self.disk)?;
        let replayed = self.replay_from_nothing()?;
        let (disk, now, marks) = (self.disk.clone(), self.now, self.marks());
        let (profiles, traces) = (checks::profiles(&disk), disk.traces());
        let checked = [
            self.what_was_answered_is_there(&ledger),
            checks::publishes_are_there(self.group().control(), ledger.publishes),
            checks::every_due_timer_fired(&profiles, now),
            checks::nothing_is_stuck(&profiles),
            checks::updates_are_there(&profiles, &marks),
            checks::ends_once(&traces),
            checks::same_state(&disk, &replayed),
        ];
        // NOTE: what a stopped partition applies later is traced behind rows of the others that came after it, where
        // the trace file, which ascends, has no place for it: those rows are missing.
        let of_traces = [
            checks::hand_offs_were_granted(&traces, &self.handed_off),
            Reference::check(&disk),
            checks::same_traces(&disk, &replayed),
        ];
        let of_traces = if self.summary.turns_stopped == 0 { &of_traces[..] } else { &[] };
        let all = checked.iter().chain(of_traces);
        let found: Vec<&str> = all.filter_map(|check| Some(check.as_ref().err()?.0.as_str())).collect();
        if found.is_empty() { Ok(()) } else { violated(found.join("; and ")) }
    }

    fn what_was_answered_is_there(&self, ledger: &Ledger) -> Result<(), Violation> {
        if let Some(lost) = self.clients.answered.iter().find_map(|ask| ledger.lacks(ask)) {
            return violated(format!("{lost} was acknowledged and is lost"));
        }
        match ledger.made_up(&self.clients.sent) {
            Some(number) => violated(format!("number {number} is stored more often than it was sent")),
            None => Ok(()),
        }
    }

    /// A disk on which the whole log was replayed into an empty store.
    fn replay_from_nothing(&self) -> Result<Disk, Violation> {
        let replayed = self.disk.without_state();
        let opened = open(&replayed, &Planted::default(), &Known::default());
        let mut group = opened.map_err(|error| Violation(format!("the log alone does not open: {error}")))?;
        if let Some(cut) = group.begin_checkpoint() {
            let state = BuggyState::new(replayed.open_state(), &Planted::default());
            cut.write(&state).map_err(|error| Violation(error.to_string()))?;
        }
        Ok(replayed)
    }

    /// What the acknowledged updates set.
    fn marks(&self) -> Vec<model::Text> {
        let items = self.clients.answered.iter().filter_map(|ask| match ask {
            Ask::Items(items) => Some(items),
            Ask::Interaction { .. } | Ask::Control(_) => None,
        });
        let numbers = items.flatten().filter_map(|item| match item {
            Item::Update(Update { attributes, .. }) => crate::clients::number_of_mark(attributes),
            Item::Event { .. } | Item::Rejected(_) | Item::RejectedUpdate => None,
        });
        numbers.map(update_mark).collect()
    }

    fn summarize(mut self) -> Summary {
        let mut hasher = DefaultHasher::new();
        let entries = self.disk.durable_entries();
        for entry in &entries {
            (entry.lsn.0, entry.partition.0, entry.slot.0, entry.stamp.as_ms()).hash(&mut hasher);
            if let Body::Command(body) = &entry.body {
                body.hash(&mut hasher);
            }
        }
        for row in self.disk.trace_rows() {
            (row.lsn.0, row.stamp.as_ms(), row.body).hash(&mut hasher);
        }
        self.summary.records = entries.len();
        self.summary.acknowledged = self.clients.answered.len();
        self.summary.hand_offs = self.handed_off.len();
        self.summary.publishes = self.ledger.publishes;
        self.summary.writes = self.trouble.writes();
        self.summary.digest = hasher.finish();
        self.summary
    }
}

fn settlement(input: &Input<u64>) -> Option<(ProfileId, EffectId, Settlement)> {
    match input {
        Input::Settled { profile, effect, settlement } => Some((*profile, *effect, settlement.clone())),
        Input::Submit { .. } | Input::Interaction { .. } | Input::Control { .. } | Input::Read { .. } => None,
    }
}
