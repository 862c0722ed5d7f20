//! The same engine over recorded events: journey tests with a virtual clock.
//!
//! A test runs through the very processor that serves, over in-memory ports: what passes here is what happens there.
//! Every channel is captured and accepts; the clock stands still unless it is moved.

use catalog::Catalog;
use engine::command::{DocumentChange, InteractionOccurred};
use engine::trace::Entry;
use model::document::Spec;
use model::journey_test::{Expect, Given, JourneyTest};
use model::send::Settlement;
use model::{Document, EffectId, Event, Identity, Name, ParticipantId, ProfileId, Text, Timestamp};
use ports::memory::{Disk, MemoryLog, MemoryState};
use processor::{Answer, ChannelPolicy, ControlRequest, Group, Input, Item, Options, Released, Update, Who};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use template::tracking::Signer;

/// How far a virtual clock runs after the last thing given; a journey that goes on longer is not at its end.
const HORIZON_MS: i64 = 5 * 366 * 86_400_000;
/// Turns after which a test counts as endless.
const TURNS_MAX: usize = 100_000;

/// What a test found.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub test: Name,
    /// Empty: it passed.
    pub failures: Vec<String>,
    /// What happened, as the test's `expect` would say it.
    pub happened: Vec<Expect>,
    /// The whole trace, a line each: for the reader who asks why.
    pub trace: Vec<String>,
}

/// Runs every journey test among `documents` against the catalog that the others make.
pub fn run_tests(documents: &[Document]) -> Vec<Outcome> {
    let tests = documents.iter().filter_map(|document| match &document.spec {
        Spec::JourneyTest(test) => Some((&document.name, test.as_ref())),
        Spec::Trigger(_) | Spec::Message(_) | Spec::Journey(_) => None,
    });
    tests.map(|(name, test)| run_test(name, test, documents)).collect()
}

fn run_test(name: &Name, test: &JourneyTest, documents: &[Document]) -> Outcome {
    let mut outcome = Outcome { test: name.clone(), failures: Vec::new(), happened: Vec::new(), trace: Vec::new() };
    match play(test, documents) {
        Ok(played) => {
            outcome.failures = differences(&test.expect, &played.happened);
            outcome.happened = played.happened;
            outcome.trace = played.trace;
        }
        Err(why) => outcome.failures.push(why),
    }
    outcome
}

/// The first place where what happened is not what was expected, and what is left over.
fn differences(expected: &[Expect], happened: &[Expect]) -> Vec<String> {
    let at = expected.iter().zip(happened).position(|(expected, happened)| expected != happened);
    let at = at.unwrap_or(expected.len().min(happened.len()));
    let mut failures = Vec::new();
    match (expected.get(at), happened.get(at)) {
        (None, None) => return failures,
        (Some(expected), Some(happened)) => {
            failures.push(format!("expect[{at}]: expected {}, but {} happened", Line(expected), Line(happened)));
        }
        (Some(expected), None) => {
            failures.push(format!("expect[{at}]: expected {}, but nothing happened", Line(expected)))
        }
        (None, Some(happened)) => {
            failures.push(format!("expect[{at}]: nothing more was expected, but {} happened", Line(happened)))
        }
    }
    let left = happened.iter().skip(at + 1).map(|happened| Line(happened).to_string());
    let left: Vec<String> = left.collect();
    if !left.is_empty() {
        failures.push(format!("  and then: {}", left.join("; ")));
    }
    failures
}

struct Line<'a>(&'a Expect);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expect { at, send, blocked, reason, exit } = self.0;
        write!(f, "{{at: {at}")?;
        for (name, value) in [
            ("send", send.as_deref()),
            ("blocked", blocked.as_deref()),
            ("reason", reason.as_deref()),
            ("exit", exit.as_deref()),
        ] {
            if let Some(value) = value {
                write!(f, ", {name}: {value}")?;
            }
        }
        f.write_str("}")
    }
}

struct Played {
    happened: Vec<Expect>,
    trace: Vec<String>,
}

fn play(test: &JourneyTest, documents: &[Document]) -> Result<Played, String> {
    let times = times(&test.given)?;
    let begin = times.first().copied().ok_or("`given` is empty; a test needs at least one event")?;
    let mut stage = Stage::new(documents, begin)?;
    stage.profile(test)?;
    for (given, at) in test.given.iter().zip(&times) {
        // E12: timers before the instant, then what is given at it, then timers due at it.
        stage.run_timers_before(*at)?;
        stage.give(test, given, *at)?;
    }
    stage.run_to_the_end()?;
    stage.played(test.journey.as_str())
}

/// When each item happens: `at`, or `after` the one before.
fn times(given: &[Given]) -> Result<Vec<Timestamp>, String> {
    let mut times: Vec<Timestamp> = Vec::with_capacity(given.len());
    for (nth, item) in given.iter().enumerate() {
        let before = times.last().copied();
        let at = match (item.at, &item.after, before) {
            (Some(at), None, _) => at,
            (None, Some(after), Some(before)) => calendar::add(before, after, &calendar::Zone::utc()),
            (None, None, Some(before)) => before,
            (None, _, None) => return Err(format!("given[{nth}]: the first item needs `at`")),
            (Some(_), Some(_), _) => return Err(format!("given[{nth}]: either `at` or `after`, not both")),
        };
        if before.is_some_and(|before| at < before) {
            return Err(format!("given[{nth}]: it is at {at}, before the item before it; sort them by time"));
        }
        times.push(at);
    }
    Ok(times)
}

/// A processor over memory with a clock that is set by hand.
pub struct Stage {
    group: Group<MemoryLog, MemoryState, u64>,
    disk: Disk,
    now: Timestamp,
    profile: Option<ProfileId>,
    turns: usize,
    answers: BTreeMap<u64, Answer>,
    next_ticket: u64,
}

impl Stage {
    /// # Errors
    /// When the documents cannot be published.
    pub fn new(documents: &[Document], now: Timestamp) -> Result<Self, String> {
        let disk = Disk::new();
        let policy = ChannelPolicy { in_flight_max: usize::MAX, retry_unknown: false };
        let channels = model::message::Channel::ALL.map(|channel| (channel.as_str().into(), policy.clone()));
        let options = Options { partitions: 1, channels: channels.into_iter().collect(), ..Options::default() };
        let signer = Signer::new([0; 32], "https://test.invalid");
        let (log, state) = (disk.open_log(), Arc::new(disk.open_state()));
        let opened = Group::open(log, state, [0; 32], signer, options);
        let (group, _) = opened.map_err(|error| error.to_string())?;
        let mut stage = Stage { group, disk, now, profile: None, turns: 0, answers: BTreeMap::new(), next_ticket: 0 };
        let changes = documents.iter().cloned().map(DocumentChange::Put).collect();
        let request = ControlRequest::Documents { changes, expected: None, by: "test".into() };
        let ticket = stage.ticket();
        stage.turn(vec![Input::Control { request, ticket }])?;
        stage.settle()?;
        match stage.answers.remove(&ticket) {
            Some(Answer::Applied { .. }) => Ok(stage),
            Some(Answer::Refused { findings }) => {
                let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
                Err(format!("the documents have errors: {}", findings.join("; ")))
            }
            other => Err(format!("the documents were not published: {other:?}")),
        }
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        self.group.catalog()
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// One turn; hand-offs are accepted in the next.
    fn turn(&mut self, mut inputs: Vec<Input<u64>>) -> Result<(), String> {
        loop {
            self.turns += 1;
            if self.turns > TURNS_MAX {
                return Err("the journey does not come to an end".to_owned());
            }
            let turn = self.group.turn(self.now, std::mem::take(&mut inputs));
            let Released { answers, hand_offs, .. } = turn.map_err(|failed| failed.error.to_string())?;
            self.answers.extend(answers);
            inputs.extend(hand_offs.into_iter().map(|hand_off| Input::Settled {
                profile: hand_off.profile,
                effect: hand_off.effect,
                settlement: Settlement::Accepted { provider_id: None },
            }));
            if inputs.is_empty() {
                return Ok(());
            }
        }
    }

    /// Works off everything that wants to happen now.
    fn settle(&mut self) -> Result<(), String> {
        while self.group.has_work(self.now) {
            self.turn(Vec::new())?;
        }
        Ok(())
    }

    fn run_timers_before(&mut self, instant: Timestamp) -> Result<(), String> {
        if self.now < instant {
            self.group.hold_timers(false);
            self.settle()?;
        }
        while let Some(at) = self.group.next_timer_at().filter(|at| *at < instant) {
            self.now = self.now.max(at);
            self.settle()?;
        }
        self.now = self.now.max(instant);
        self.group.hold_timers(true);
        Ok(())
    }

    fn run_to_the_end(&mut self) -> Result<(), String> {
        self.group.hold_timers(false);
        self.settle()?;
        let horizon = self.now.plus_ms(HORIZON_MS);
        while let Some(at) = self.group.next_timer_at().filter(|at| *at <= horizon) {
            self.now = self.now.max(at);
            self.settle()?;
        }
        Ok(())
    }

    fn profile(&mut self, test: &JourneyTest) -> Result<(), String> {
        let mut identities = test.profile.identities.clone();
        identities.sort();
        let first = identities.first().cloned().ok_or("the test's profile needs at least one identity")?;
        let update = Update {
            id: None,
            source: "test".into(),
            identities,
            attributes: test.profile.attributes.clone(),
            received_at: self.now,
        };
        self.submit(Item::Update(update))?;
        let ticket = self.ticket();
        self.turn(vec![Input::Read { who: Who::Identity(first), ticket }])?;
        if let Some(Answer::Profile(Some(read))) = self.answers.remove(&ticket) {
            self.profile = Some(read.profile.id);
        }
        Ok(())
    }

    fn submit(&mut self, item: Item) -> Result<(), String> {
        let ticket = self.ticket();
        self.turn(vec![Input::Submit { items: vec![item], ticket }])
    }

    fn give(&mut self, test: &JourneyTest, given: &Given, at: Timestamp) -> Result<(), String> {
        match (&given.event, &given.interaction, &given.profile) {
            (Some(trigger), None, None) => self.give_event(test, given, trigger, at),
            (None, Some(interaction), None) => self.give_interaction(given, interaction, at),
            (None, None, Some(profile)) => {
                let update = Update {
                    id: None,
                    source: "test".into(),
                    identities: sorted(&test.profile.identities),
                    attributes: profile.attributes.clone(),
                    received_at: at,
                };
                self.submit(Item::Update(update))
            }
            _ => Err(format!("given at {at}: exactly one of `event`, `interaction` and `profile`")),
        }?;
        self.settle()
    }

    fn give_event(&mut self, test: &JourneyTest, given: &Given, trigger: &Name, at: Timestamp) -> Result<(), String> {
        let (mut attributes, mut unknown_attributes) = (given.attributes.clone(), Vec::new());
        if let Some(known) = self.catalog().trigger(trigger) {
            let checked =
                known.check(attributes).map_err(|misfit| format!("given at {at}: event {trigger}: {misfit}"))?;
            (attributes, unknown_attributes) = (checked.attributes, checked.unknown);
        }
        let identities = if given.identities.is_empty() { &test.profile.identities } else { &given.identities };
        let event = Event {
            id: None,
            source: "test".into(),
            trigger: trigger.as_text().clone(),
            identities: sorted(identities),
            occurred_at: at,
            received_at: at,
            attributes,
            binding_id: given.binding_id.as_deref().map(Text::from),
            replay_as_live: false,
        };
        let checked_with = self.catalog().version();
        self.submit(Item::Event { event, checked_with, unknown_attributes })
    }

    fn give_interaction(&mut self, given: &Given, interaction: &Name, at: Timestamp) -> Result<(), String> {
        let of = given.of.as_ref().ok_or_else(|| format!("given at {at}: {interaction} `of` which send step?"))?;
        let profile = self.profile.ok_or("the test's profile is not there")?;
        // What was sent before this instant has been settled by then.
        let effect =
            self.latest_send(of).ok_or_else(|| format!("given at {at}: the step {of} has sent nothing yet"))?;
        let occurred = InteractionOccurred {
            effect,
            interaction: interaction.as_text().clone(),
            occurred_at: at,
            received_at: at,
            machine: false,
            attributes: given.attributes.clone(),
        };
        let ticket = self.ticket();
        self.turn(vec![Input::Interaction { profile, occurred, ticket }])
    }

    fn latest_send(&self, step: &str) -> Option<EffectId> {
        let mut latest = None;
        for (_, _, entries) in self.disk.traces() {
            for entry in entries {
                if let Entry::Planned { effect, step: planned_at, .. } = entry {
                    latest = if planned_at == step { Some(effect) } else { latest };
                }
            }
        }
        latest
    }

    /// What happened to the profile in `journey`, in log order. A send stands where it was planned, if it was granted
    /// or blocked there; one that was cancelled before is none.
    fn played(self, journey: &str) -> Result<Played, String> {
        let mut trace = Vec::new();
        let mut happened: Vec<Option<Expect>> = Vec::new();
        let mut inside: BTreeSet<ParticipantId> = BTreeSet::new();
        let mut planned: BTreeMap<EffectId, (usize, Name)> = BTreeMap::new();
        for (_, at, entries) in self.disk.traces() {
            for entry in &entries {
                trace.push(format!("{at} {entry}"));
                let nothing = Expect { at, send: None, blocked: None, reason: None, exit: None };
                if let Entry::Started { journey: started, participant, .. } = entry {
                    if started == journey {
                        inside.insert(*participant);
                    }
                } else if let Entry::Planned { participant, effect, message, .. } = entry {
                    if inside.contains(participant) {
                        planned.insert(*effect, (happened.len(), Name::new(message)?));
                        happened.push(None);
                    }
                } else if let Entry::Granted { effect, attempt: 1 } = entry {
                    if let Some((place, message)) = planned.get(effect) {
                        happened[*place] = Some(Expect { send: Some(message.clone()), ..nothing });
                    }
                } else if let Entry::Blocked { effect, reason, .. } = entry {
                    if let Some((place, message)) = planned.get(effect) {
                        let (blocked, reason) = (Some(message.clone()), Some(reason.to_string()));
                        happened[*place] = Some(Expect { blocked, reason, ..nothing });
                    }
                } else if let Entry::Ended { participant, reason, .. } = entry
                    && inside.contains(participant)
                {
                    happened.push(Some(Expect { exit: Some(reason.to_string()), ..nothing }));
                }
            }
        }
        Ok(Played { happened: happened.into_iter().flatten().collect(), trace })
    }
}

fn sorted(identities: &[Identity]) -> Vec<Identity> {
    let mut identities = identities.to_vec();
    identities.sort();
    identities
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod traps;
