//! A profile, a catalog and a clock that is set by hand: plays a script of commands and writes down the whole trace.
//!
//! ```text
//! 10:00 event go order=a @id=e1       a line: when, what, and with what; attributes are JSON or text
//! 1d09:30 open m                      a day later; timers due before fire by themselves, in their order (E12)
//! ```
//! Times count from Monday, 4 May 2026, UTC; one with a `T` in it is a whole instant. What a step raises is appended at
//! once. Participants are called P1, P2 … in the order they start, sends by their step and visit: `m.1`.

use crate::command::{EventOccurred, InteractionOccurred, ProfileCommand, ProfileUpdated, Resolution};
use crate::state::{Raised, Timer};
use crate::trace::Entry;
use crate::{Context, Effect, Limits, Profile, Transition, apply};
use catalog::{Catalog, Change};
use model::document::{DocumentId, read_documents};
use model::send::Settlement;
use model::{Attributes, CatalogVersion, EffectId, Event, Identity, KeySlot, Lsn, ProfileId, Text, Timestamp, Value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use template::tracking::Signer;

const DAY_MS: i64 = 86_400_000;
/// A journey that goes on longer than this after its script is not at its end.
const HORIZON_MS: i64 = 3 * 366 * DAY_MS;

/// How ids are told: as P1 and `m.1`, or as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    Named,
    Raw,
}

#[derive(Clone)]
pub(super) struct Stage {
    catalog: Catalog,
    pub profile: Profile,
    pub limits: Limits,
    signer: Signer,
    now: Timestamp,
    lsn: Lsn,
    /// Every timer ever set and not fired.
    pub timers: Vec<Timer>,
    /// The whole trace as data.
    pub entries: Vec<Entry>,
    raised: VecDeque<(EffectId, Text, Arc<Raised>)>,
    effects: Vec<(EffectId, String)>,
    /// What the short forms of ids are called in what is told.
    names: BTreeMap<String, String>,
    starts: usize,
    out: String,
    told_at: Option<Timestamp>,
    ids: Ids,
}

impl Stage {
    pub fn new(documents: &str) -> Self {
        let id = ProfileId([7; 16]);
        let begin = Timestamp::parse("2026-05-04T00:00:00Z").unwrap();
        let mut profile = Profile::new(id, KeySlot(1), begin);
        profile.attributes.insert("email", Value::from("ada@example.org"));
        let mut stage = Stage {
            catalog: Catalog::empty(),
            profile,
            limits: Limits::default(),
            signer: Signer::new([0; 32], "https://test.invalid"),
            now: begin,
            lsn: Lsn(0),
            timers: Vec::new(),
            entries: Vec::new(),
            raised: VecDeque::new(),
            effects: Vec::new(),
            names: BTreeMap::new(),
            starts: 0,
            out: String::new(),
            told_at: None,
            ids: Ids::Named,
        };
        stage.publish(documents);
        stage
    }

    pub fn with_ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
    }

    pub fn publish(&mut self, documents: &str) {
        let read = read_documents(documents);
        assert_eq!(read.findings, [], "{documents}");
        self.change(&read.documents.into_iter().map(Change::Put).collect::<Vec<_>>());
    }

    pub fn remove(&mut self, id: DocumentId) {
        self.change(&[Change::Remove(id)]);
    }

    fn change(&mut self, changes: &[Change]) {
        let built = self.catalog.with(CatalogVersion(self.catalog.version().0 + 1), changes);
        let Some(catalog) = built.catalog else { panic!("not published: {:#?}", built.findings) };
        self.catalog = catalog;
    }

    /// Plays the script and answers what happened, a line for each entry of the trace.
    pub fn play(&mut self, script: &str) -> String {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let (when, verb) = (words.next().unwrap(), words.next().unwrap_or_else(|| panic!("{line}: does what?")));
            let at = time(when);
            assert!(at >= self.now, "{line}: before what went before");
            if verb != "wake" {
                self.run_timers(|fire_at| fire_at < at, None);
            }
            self.now = at;
            self.act(verb, &words.collect::<Vec<_>>());
        }
        std::mem::take(&mut self.out)
    }

    /// Lets every timer fire that is still held, then answers what happened.
    pub fn play_to_the_end(&mut self, script: &str) -> String {
        let mut told = self.play(script);
        let horizon = self.now.plus_ms(HORIZON_MS);
        self.run_timers(|fire_at| fire_at <= horizon, None);
        told.push_str(&std::mem::take(&mut self.out));
        told
    }

    /// Lets the next timer that is held fire, if there is one.
    pub fn fire_next(&mut self) {
        let held: Vec<u64> = self.profile.timers().map(|timer| timer.seq).collect();
        let next = self.timers.iter().filter(|timer| held.contains(&timer.seq)).min().copied();
        let Some(Timer { fire_at, seq }) = next else { return };
        self.timers.retain(|timer| timer.seq != seq);
        // NOTE: the clock stays where it is, so that every order can be tried; a timer means what its record says.
        self.apply(&ProfileCommand::TimerFired { fire_at, seq });
    }

    pub fn has_sent(&self, step: &str) -> bool {
        self.effects.iter().any(|(_, name)| name.split('.').next() == Some(step))
    }

    fn act(&mut self, verb: &str, words: &[&str]) {
        match verb {
            "event" => self.event(words),
            "update" => self.update(words),
            "open" => self.interaction("email_opened", words),
            "click" => self.interaction("email_link_clicked", words),
            "claim" => {
                let veto = words.get(1).map(|veto| Text::from(*veto));
                let effect = self.effect(words[0]);
                self.apply(&ProfileCommand::Claim { effect, veto });
            }
            "sent" => {
                self.act("claim", words);
                self.act("accept", words);
            }
            "accept" => self.settle(words, Settlement::Accepted { provider_id: None }),
            "reject" => self.settle(words, Settlement::Rejected { reason: "no such box".into() }),
            "unknown" => self.settle(words, Settlement::Unknown { reason: "time-out".into() }),
            "defer" => {
                let retry_after_ms = words.get(1).map(|ms| ms.parse().unwrap());
                self.settle(words, Settlement::Deferred { reason: "busy".into(), retry_after_ms });
            }
            "not_tried" => {
                let retry_after_ms = words.get(1).map(|ms| ms.parse().unwrap());
                self.settle(words, Settlement::NotTried { reason: "circuit_open".into(), retry_after_ms });
            }
            "stop" => self.apply(&ProfileCommand::JourneyStopped { journey: words[0].into() }),
            // Timers due now or before, all at this instant: the system was down.
            "wake" => {
                let now = self.now;
                self.run_timers(|fire_at| fire_at <= now, Some(now));
            }
            // Timers that were due and that nobody holds any more, delivered all the same.
            "stale" => {
                let now = self.now;
                let due: Vec<Timer> = self.timers.iter().copied().filter(|timer| timer.fire_at <= now).collect();
                self.timers.retain(|timer| !due.contains(timer));
                for Timer { fire_at, seq } in due {
                    self.apply(&ProfileCommand::TimerFired { fire_at, seq });
                }
            }
            _ => panic!("the stage knows no `{verb}`"),
        }
    }

    fn run_timers(&mut self, is_due: impl Fn(Timestamp) -> bool, all_at: Option<Timestamp>) {
        while self.timers.iter().any(|timer| is_due(timer.fire_at)) {
            let held: Vec<u64> = self.profile.timers().map(|timer| timer.seq).collect();
            let next = self.timers.iter().filter(|timer| held.contains(&timer.seq) && is_due(timer.fire_at)).min();
            let Some(timer) = next.copied() else { return };
            self.timers.retain(|other| *other != timer);
            self.now = all_at.unwrap_or(self.now.max(timer.fire_at));
            self.apply(&ProfileCommand::TimerFired { fire_at: timer.fire_at, seq: timer.seq });
        }
    }

    fn event(&mut self, words: &[&str]) {
        let said = Said::read(&words[1..]);
        let (trigger, known) = (Text::from(words[0]), self.catalog.trigger(words[0]));
        let checked = known.map(|known| known.check(said.attributes.clone()).unwrap());
        let (attributes, unknown_attributes) =
            checked.map_or((said.attributes, Vec::new()), |checked| (checked.attributes, checked.unknown));
        let event = Event {
            id: said.id,
            source: said.source,
            trigger,
            identities: said.identities,
            occurred_at: self.now.plus_ms(said.ago_ms),
            received_at: self.now,
            attributes,
            binding_id: said.binding_id,
            replay_as_live: said.live,
        };
        let (resolution, checked_with) = (said.resolution, self.catalog.version());
        let occurred = EventOccurred { event, resolution, checked_with, unknown_attributes, depth: said.depth };
        self.apply(&ProfileCommand::Event(Box::new(occurred)));
    }

    fn update(&mut self, words: &[&str]) {
        let Said { id, source, identities, attributes, resolution, .. } = Said::read(words);
        let received_at = self.now;
        let updated = ProfileUpdated { id, source, identities, attributes, received_at, resolution };
        self.apply(&ProfileCommand::Update(Box::new(updated)));
    }

    fn interaction(&mut self, interaction: &str, words: &[&str]) {
        let machine = words.contains(&"@machine");
        let said: Vec<&str> = words[1..].iter().copied().filter(|word| *word != "@machine").collect();
        let occurred = InteractionOccurred {
            effect: self.effect(words[0]),
            interaction: interaction.into(),
            occurred_at: self.now,
            received_at: self.now,
            machine,
            attributes: Said::read(&said).attributes,
        };
        self.apply(&ProfileCommand::Interaction(Box::new(occurred)));
    }

    fn settle(&mut self, words: &[&str], settlement: Settlement) {
        let effect = self.effect(words[0]);
        self.apply(&ProfileCommand::Settled { effect, settlement });
    }

    /// `m` is the latest send of the step m, `m.1` its first.
    fn effect(&self, name: &str) -> EffectId {
        let is_named = |held: &str| held == name || held.split('.').next() == Some(name);
        let found = self.effects.iter().rev().find(|(_, held)| is_named(held));
        found.unwrap_or_else(|| panic!("{name} has sent nothing: {:?}", self.effects)).0
    }

    fn apply(&mut self, command: &ProfileCommand) {
        self.lsn = self.lsn.next();
        let mut transition = Transition::default();
        let context = Context {
            lsn: self.lsn,
            now: self.now,
            catalog: &self.catalog,
            signer: &self.signer,
            limits: &self.limits,
        };
        apply(&mut self.profile, command, &context, &mut transition);
        self.timers.extend(transition.timers);
        for entry in &transition.trace {
            self.learn(entry);
            self.tell(&entry.to_string());
        }
        self.entries.append(&mut transition.trace);
        for effect in transition.effects {
            match effect {
                Effect::Planned { .. } => {}
                Effect::HandOff { effect: _, attempt: _, rendered } => {
                    let subject = rendered.parts.get("subject").and_then(Value::as_text).unwrap_or_default();
                    self.tell(&format!("=> {} to {}: {subject}", rendered.message, rendered.address));
                }
                Effect::Raise { effect, journey, raised } => self.raised.push_back((effect, journey, raised)),
            }
        }
        while let Some((effect, journey, raised)) = self.raised.pop_front() {
            self.raise(effect, &journey, &raised);
        }
    }

    fn raise(&mut self, effect: EffectId, journey: &str, raised: &Raised) {
        let Raised { trigger, attributes, binding_id, depth } = raised;
        let event = Event {
            id: Some(effect.to_string().into()),
            source: format!("journey:{journey}").into(),
            trigger: trigger.clone(),
            identities: Vec::new(),
            occurred_at: self.now,
            received_at: self.now,
            attributes: attributes.clone(),
            binding_id: binding_id.clone(),
            replay_as_live: false,
        };
        let occurred = EventOccurred {
            event,
            resolution: Resolution::default(),
            checked_with: self.catalog.version(),
            unknown_attributes: Vec::new(),
            depth: *depth,
        };
        self.apply(&ProfileCommand::Event(Box::new(occurred)));
    }

    fn learn(&mut self, entry: &Entry) {
        let mut name = |id: &str, name: String| {
            if self.ids == Ids::Named {
                self.names.insert(id[..8].to_owned(), name);
            }
        };
        if let Entry::Started { participant, .. } = entry {
            self.starts += 1;
            name(&participant.to_string(), format!("P{}", self.starts));
        } else if let Entry::Planned { effect, step, .. } = entry {
            let visit = self.effects.iter().filter(|(_, name)| name.split('.').next() == Some(step)).count() + 1;
            name(&effect.to_string(), format!("{step}.{visit}"));
            self.effects.push((*effect, format!("{step}.{visit}")));
        }
    }

    fn tell(&mut self, what: &str) {
        let named = |word: &str| self.names.get(word).cloned().unwrap_or_else(|| word.to_owned());
        let what = what.split(' ').map(named).collect::<Vec<_>>().join(" ");
        let when = if self.told_at == Some(self.now) { String::new() } else { clock(self.now) };
        self.told_at = Some(self.now);
        self.out.push_str(&format!("{when:<8} {what}\n"));
    }
}

/// What the words behind a verb say.
struct Said {
    attributes: Attributes,
    id: Option<Text>,
    source: Text,
    binding_id: Option<Text>,
    identities: Vec<Identity>,
    resolution: Resolution,
    ago_ms: i64,
    live: bool,
    depth: u8,
}

impl Said {
    fn read(words: &[&str]) -> Self {
        let mut said = Said {
            attributes: Attributes::new(),
            id: None,
            source: "shop".into(),
            binding_id: None,
            identities: Vec::new(),
            resolution: Resolution::default(),
            ago_ms: 0,
            live: false,
            depth: 0,
        };
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "@id" => said.id = Some(value.into()),
                "@source" => said.source = value.into(),
                "@binding" => said.binding_id = Some(value.into()),
                "@identity" => said.identities.push(Identity::parse(value).unwrap()),
                "@conflict" => {
                    let identity = Identity::parse(value).unwrap();
                    said.identities.push(identity.clone());
                    said.resolution.conflicts.push(identity);
                }
                "@created" => said.resolution.created = true,
                "@occurred" => said.ago_ms = value.parse::<i64>().unwrap() * 1000,
                "@live" => said.live = true,
                "@depth" => said.depth = value.parse().unwrap(),
                _ => {
                    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
                    said.attributes.insert(name, value);
                }
            }
        }
        said
    }
}

fn monday() -> i64 {
    Timestamp::parse("2026-05-04T00:00:00Z").unwrap().as_ms()
}

/// `10:00`, `10:00:05`, `10:00:00.001`, `3d10:00`, or a whole instant.
fn time(text: &str) -> Timestamp {
    if text.contains('T') {
        return Timestamp::parse(text).unwrap_or_else(|| panic!("{text} is no instant"));
    }
    let (days, clock) = text.split_once('d').unwrap_or(("0", text));
    let whole = format!("2026-05-04T{clock}{}Z", if clock.len() == 5 { ":00" } else { "" });
    let at = Timestamp::parse(&whole).unwrap_or_else(|| panic!("{text} is no time"));
    at.plus_ms(days.parse::<i64>().unwrap() * DAY_MS)
}

/// As [`time`] reads it; an instant far away as a whole.
fn clock(at: Timestamp) -> String {
    let ms = at.as_ms() - monday();
    if !(0..100 * DAY_MS).contains(&ms) {
        return at.to_string();
    }
    let text = at.to_string();
    let clock = text[11..].trim_end_matches('Z');
    let clock = clock.strip_suffix(":00").unwrap_or(clock);
    match ms / DAY_MS {
        0 => clock.to_owned(),
        days => format!("{days}d{clock}"),
    }
}
