//! The same engine over recorded events: journey tests with a virtual clock.
//!
//! A test runs through the very processor that serves, over in-memory ports: what passes here is what happens there.
//! Every channel is captured and accepts; the clock stands still unless it is moved.

use catalog::Catalog;
use engine::command::{DocumentChange, InteractionOccurred};
use engine::trace::{Entry, Refusal};
use model::document::Spec;
use model::journey_test::{Expect, Given, JourneyTest};
use model::send::Settlement;
use model::{Document, EffectId, Event, Identity, KeySlot, Name, ParticipantId, ProfileId, Text, Timestamp};
use ports::codec;
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
    /// What does not fail the test and explains it: entries that were refused.
    pub notes: Vec<String>,
    /// What happened, as the test's `expect` would say it.
    pub happened: Vec<Happened>,
    /// The whole trace, a line each: for the reader who asks why.
    pub trace: Vec<String>,
}

/// A send or an end, and the step it was at.
#[derive(Clone, Debug, PartialEq)]
pub struct Happened {
    pub what: Expect,
    pub step: Text,
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
    let (mut failures, played) = match play(test, documents) {
        Ok(played) => (differences(&test.expect, &played.happened), played),
        Err(why) => (vec![why], Played::default()),
    };
    let Played { happened, untested, notes, trace } = played;
    failures.extend(untested);
    Outcome { test: name.clone(), failures, notes, happened, trace }
}

/// The first place where what happened is not what was expected, and what is left over.
fn differences(expected: &[Expect], happened: &[Happened]) -> Vec<String> {
    let at = expected.iter().zip(happened).position(|(expected, happened)| *expected != happened.what);
    let at = at.unwrap_or(expected.len().min(happened.len()));
    let mut failures = Vec::new();
    match (expected.get(at), happened.get(at)) {
        (None, None) => return failures,
        (Some(expected), Some(happened)) => {
            let (expected, Happened { what, step }) = (Line(expected), happened);
            failures.push(format!("expect[{at}]: expected {expected}, but {} happened at step {step}", Line(what)));
        }
        (Some(expected), None) => {
            failures.push(format!("expect[{at}]: expected {}, but nothing happened", Line(expected)))
        }
        (None, Some(happened)) => {
            let Happened { what, step } = happened;
            failures
                .push(format!("expect[{at}]: nothing more was expected, but {} happened at step {step}", Line(what)))
        }
    }
    let left = happened.iter().skip(at + 1).map(|happened| Line(&happened.what).to_string());
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

#[derive(Default)]
struct Played {
    happened: Vec<Happened>,
    /// What the test's writer cannot have meant: a start that lacked data, an event nobody knows.
    untested: Vec<String>,
    notes: Vec<String>,
    trace: Vec<String>,
}

fn play(test: &JourneyTest, documents: &[Document]) -> Result<Played, String> {
    perform(test, documents)?.played(test.journey.as_str())
}

/// The stage when everything given has come and everything that waits has come to its end.
fn perform(test: &JourneyTest, documents: &[Document]) -> Result<Stage, String> {
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
    Ok(stage)
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
    /// The test's profile.
    profile: Option<(ProfileId, KeySlot)>,
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
            self.profile = Some((read.profile.id, read.profile.slot));
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
            (None, Some(interaction), None) => self.give_interaction(test, given, interaction, at),
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

    fn give_interaction(
        &mut self,
        test: &JourneyTest,
        given: &Given,
        interaction: &Name,
        at: Timestamp,
    ) -> Result<(), String> {
        let of = given.of.as_ref().ok_or_else(|| format!("given at {at}: {interaction} `of` which send step?"))?;
        let (profile, _) = self.profile.ok_or("the test's profile is not there")?;
        // What was sent before this instant has been settled by then.
        let effect = self.latest_send(&test.journey, of);
        let effect = effect.ok_or_else(|| format!("given at {at}: the step {of} has sent nothing yet"))?;
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

    /// The trace of the test's profile alone: others may be named in `given`, and do what they do.
    fn own_traces(&self) -> impl Iterator<Item = (Timestamp, Vec<Entry>)> {
        let own = self.profile.map(|(_, slot)| slot);
        let rows = self.disk.trace_rows().into_iter().filter(move |row| Some(row.slot) == own);
        rows.map(|row| {
            let entries = codec::decode_trace(&row.body).expect("INVARIANT: a trace that was encoded decodes");
            (row.stamp, entries)
        })
    }

    /// The last send that the step of this journey planned for the test's profile.
    fn latest_send(&self, journey: &str, of: &str) -> Option<EffectId> {
        let mut inside: BTreeSet<ParticipantId> = BTreeSet::new();
        let mut latest = None;
        for entry in self.own_traces().flat_map(|(_, entries)| entries) {
            if let Entry::Started { journey: started, participant, .. } = &entry {
                if started == journey {
                    inside.insert(*participant);
                }
            } else if let Entry::Planned { participant, effect, step, .. } = &entry
                && inside.contains(participant)
                && step == of
            {
                latest = Some(*effect);
            }
        }
        latest
    }

    fn played(self, journey: &str) -> Result<Played, String> {
        let mut telling = Telling::default();
        let mut played = Played::default();
        for (at, entries) in self.own_traces() {
            for entry in &entries {
                played.trace.push(format!("{at} {entry}"));
                telling.tell(journey, at, entry)?;
                if let Entry::StartRefused { journey: refused, refusal, .. } = entry
                    && refused == journey
                {
                    played.notes.push(format!("{at} {entry}"));
                    if let Refusal::ConditionError { why } = refusal {
                        played.untested.push(format!(
                            "given at {at}: whether to enter could not be told: {why}; give the event or the profile \
                             what `where` reads, or test for it with has(…)"
                        ));
                    }
                } else if let Entry::Unmatched { .. } = entry {
                    played.untested.push(format!("given at {at}: {entry}"));
                }
            }
        }
        played.happened = telling.happened.into_iter().flatten().collect();
        Ok(played)
    }
}

/// Makes of a trace what happened in one journey, in log order. A send stands where it was planned, if it was granted or
/// blocked there; one that was cancelled before is none.
#[derive(Default)]
struct Telling {
    happened: Vec<Option<Happened>>,
    inside: BTreeSet<ParticipantId>,
    planned: BTreeMap<EffectId, PlannedAt>,
}

struct PlannedAt {
    place: usize,
    message: Name,
    step: Text,
}

impl Telling {
    fn tell(&mut self, journey: &str, at: Timestamp, entry: &Entry) -> Result<(), String> {
        let nothing = Expect { at, send: None, blocked: None, reason: None, exit: None };
        if let Entry::Started { journey: started, participant, .. } = entry {
            if started == journey {
                self.inside.insert(*participant);
            }
        } else if let Entry::Planned { participant, effect, step, message } = entry {
            if self.inside.contains(participant) {
                let planned =
                    PlannedAt { place: self.happened.len(), message: Name::new(message)?, step: step.clone() };
                self.planned.insert(*effect, planned);
                self.happened.push(None);
            }
        } else if let Entry::Granted { effect, attempt: 1 } = entry {
            if let Some(PlannedAt { place, message, step }) = self.planned.get(effect) {
                let what = Expect { send: Some(message.clone()), ..nothing };
                self.happened[*place] = Some(Happened { what, step: step.clone() });
            }
        } else if let Entry::Blocked { effect, reason, .. } = entry {
            if let Some(PlannedAt { place, message, step }) = self.planned.get(effect) {
                let what = Expect { blocked: Some(message.clone()), reason: Some(reason.to_string()), ..nothing };
                self.happened[*place] = Some(Happened { what, step: step.clone() });
            }
        } else if let Entry::Ended { participant, step, reason, .. } = entry
            && self.inside.contains(participant)
        {
            let what = Expect { exit: Some(reason.to_string()), ..nothing };
            self.happened.push(Some(Happened { what, step: step.clone() }));
        }
        Ok(())
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
