//! Clients: they ask, and ask again until they are answered; now and then twice at once. They remember what they were
//! told is stored.
//!
//! Everything a client sends has a number of its own in it, so that it is found again in the log whatever its id is.

use crate::Chance;
use crate::checks::{Violation, violated};
use engine::command::{ApiKey, DocumentChange, InteractionOccurred, KeyScope, RejectedCount};
use model::{Attributes, CatalogVersion, EffectId, Event, Identity, ProfileId, Text, Timestamp, Value};
use processor::{Answer, ControlRequest, Input, Item, Update};
use std::collections::BTreeMap;

/// What a client wants stored.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Items(Vec<Item>),
    Interaction { profile: ProfileId, occurred: InteractionOccurred },
    Control(ControlRequest),
}

/// The attribute that holds the number of an event or interaction.
pub(crate) const NUMBER: &str = "n";

/// The attribute that an update sets, which no other sets.
pub(crate) fn update_mark(number: u64) -> Text {
    format!("u{number}").into()
}

pub(crate) struct Clients {
    /// Not answered yet.
    open: BTreeMap<u64, Ask>,
    tickets: BTreeMap<u64, u64>,
    next_ask: u64,
    next_ticket: u64,
    next_number: u64,
    /// Ids that were used, to be used again by mistake.
    ids: Vec<(Text, Text)>,
    keys: u64,
    /// Told to be stored.
    pub answered: Vec<Ask>,
    /// How often each ask was sent, by its number.
    pub sent: BTreeMap<u64, u64>,
}

const TRIGGERS: [&str; 6] = ["joined", "joined", "bought", "left", "unheard_of", "praised"];
const SOURCES: [&str; 2] = ["shop", "app"];

impl Clients {
    pub fn new() -> Self {
        Clients {
            open: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ask: 0,
            next_ticket: 0,
            next_number: 0,
            ids: Vec::new(),
            keys: 0,
            answered: Vec::new(),
            sent: BTreeMap::new(),
        }
    }

    pub fn are_answered(&self) -> bool {
        self.open.is_empty()
    }

    pub fn waiting(&self) -> usize {
        self.open.len()
    }

    pub fn ask(&mut self, ask: Ask) {
        self.next_ask += 1;
        self.open.insert(self.next_ask, ask);
    }

    /// Has new wishes. `sends` are those that a person may open.
    pub fn wish(&mut self, now: Timestamp, sends: &[(ProfileId, EffectId)], chance: &mut Chance) {
        for _ in 0..chance.below(4) {
            let items = (0..=chance.below(2)).map(|_| self.item(now, chance)).collect();
            self.ask(Ask::Items(items));
        }
        if chance.once_in(3) && !sends.is_empty() {
            let (profile, effect) = sends[chance.index(sends.len())];
            let occurred = self.interaction(now, effect, chance);
            self.ask(Ask::Interaction { profile, occurred });
        }
        if chance.once_in(15) {
            let request = self.control(now, chance);
            self.ask(Ask::Control(request));
        }
    }

    /// Everything that is open, asked for (again).
    pub fn inputs(&mut self, chance: &mut Chance, is_impatient: bool) -> Vec<Input<u64>> {
        let mut inputs = Vec::new();
        for (id, ask) in &self.open {
            let times = 1 + u64::from(is_impatient && chance.once_in(10));
            for _ in 0..times {
                self.next_ticket += 1;
                let ticket = self.next_ticket;
                self.tickets.insert(ticket, *id);
                inputs.push(match ask.clone() {
                    Ask::Items(items) => Input::Submit { items, ticket },
                    Ask::Interaction { profile, occurred } => Input::Interaction { profile, occurred, ticket },
                    Ask::Control(request) => Input::Control { request, ticket },
                });
                for number in numbers_of(ask) {
                    *self.sent.entry(number).or_default() += 1;
                }
            }
        }
        inputs
    }

    /// Takes an answer; gives what it says is stored.
    pub fn take(&mut self, ticket: u64, answer: &Answer) -> Result<Option<Ask>, Violation> {
        let Some(id) = self.tickets.remove(&ticket) else { return Ok(None) };
        match answer {
            Answer::Stored { .. } | Answer::Applied { .. } => {}
            Answer::Unavailable { .. } => return Ok(None),
            Answer::Refused { .. }
            | Answer::Conflict { .. }
            | Answer::UnknownKey
            | Answer::UnknownProfile
            | Answer::Profile(_) => {
                return violated(format!("a good request was answered {answer:?}"));
            }
        }
        let ask = self.open.remove(&id);
        self.answered.extend(ask.clone());
        Ok(ask)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn item(&mut self, now: Timestamp, chance: &mut Chance) -> Item {
        let person = chance.below(12);
        let mut identities = vec![identity("user_id", person)];
        if chance.once_in(3) {
            identities.push(identity("anonymous_id", chance.below(15)));
        }
        match chance.below(12) {
            0 => Item::Rejected(RejectedCount {
                trigger: TRIGGERS[chance.index(TRIGGERS.len())].into(),
                reason: ["missing_attribute", "wrong_type"][chance.index(2)].into(),
                received_at: now,
                count: 1,
            }),
            1 | 2 => self.update(now, person, identities, chance),
            _ => self.event(now, identities, chance),
        }
    }

    fn update(&mut self, now: Timestamp, person: u64, identities: Vec<Identity>, chance: &mut Chance) -> Item {
        let number = self.number();
        let mut attributes: Attributes = [(update_mark(number), Value::Bool(true))].into_iter().collect();
        attributes.insert("email", Value::Text(format!("p{person}@example.org").into()));
        attributes.insert("phone", Value::Text(format!("+49151{person:07}").into()));
        let id = if chance.once_in(2) { Some(update_mark(number)) } else { None };
        Item::Update(Update { id, source: "crm".into(), identities, attributes, received_at: now })
    }

    fn event(&mut self, now: Timestamp, identities: Vec<Identity>, chance: &mut Chance) -> Item {
        let number = self.number();
        let source = Text::from(SOURCES[chance.index(SOURCES.len())]);
        let (source, id) = match chance.below(10) {
            0 => (source, None),
            1 if !self.ids.is_empty() => {
                let (source, id) = self.ids[chance.index(self.ids.len())].clone();
                (source, Some(id))
            }
            // The same id from another source is another event.
            _ => (source, Some(Text::from(format!("e{}", chance.below(100_000))))),
        };
        self.ids.extend(id.clone().map(|id| (source.clone(), id)));
        let total = Value::Int(i64::try_from(chance.below(100)).unwrap_or(0));
        let occurred_at = match chance.below(12) {
            0 => now.plus_ms(-30 * 3_600_000),
            1 => now.plus_ms(3_600_000),
            _ => now,
        };
        let event = Event {
            id,
            source,
            trigger: TRIGGERS[chance.index(TRIGGERS.len())].into(),
            identities,
            occurred_at,
            received_at: now,
            attributes: [("total", total), (NUMBER, value(number))].into_iter().collect(),
            binding_id: if chance.once_in(3) { Some(format!("order/{}", chance.below(4)).into()) } else { None },
            replay_as_live: chance.once_in(2),
        };
        Item::Event { event, checked_with: CatalogVersion(1), unknown_attributes: Vec::new() }
    }

    fn interaction(&mut self, now: Timestamp, effect: EffectId, chance: &mut Chance) -> InteractionOccurred {
        let number = self.number();
        InteractionOccurred {
            effect,
            interaction: ["email_opened", "email_link_clicked"][chance.index(2)].into(),
            occurred_at: now,
            received_at: now,
            machine: chance.once_in(6),
            attributes: [(NUMBER, value(number))].into_iter().collect(),
        }
    }

    fn control(&mut self, now: Timestamp, chance: &mut Chance) -> ControlRequest {
        let by = Text::from("marketer");
        if chance.once_in(3) {
            self.keys += 1;
            let id = Text::from(format!("k{}", self.keys));
            let (scope, secret_sha256) = (KeyScope::Server, [7; 32]);
            let key = ApiKey { id, name: "a key".into(), scope, secret_sha256, created_at: now };
            return ControlRequest::CreateKey { key, by };
        }
        let documents = match chance.below(3) {
            0 => format!(
                "apiVersion: sojourn/v1\nkind: Message\nmetadata: {{name: note}}\nspec: {{channel: push, purpose: \
                 transactional, body: 'edition {}'}}\n",
                chance.below(1_000)
            ),
            1 => crate::document("Journey", "thanks").replacen("spec:\n", "spec:\n  state: stopped\n", 1),
            _ => crate::document("Journey", "thanks"),
        };
        ControlRequest::Documents { changes: changes(&documents), expected: None, by }
    }
}

/// Documents to be published.
pub(crate) fn changes(text: &str) -> Vec<DocumentChange> {
    let read = model::document::read_documents(text);
    assert!(read.findings.is_empty(), "INVARIANT: the simulator's documents are good: {:?}", read.findings);
    read.documents.into_iter().map(DocumentChange::Put).collect()
}

/// The numbers of what an ask wants stored.
pub(crate) fn numbers_of(ask: &Ask) -> Vec<u64> {
    match ask {
        Ask::Items(items) => items.iter().filter_map(number_of_item).collect(),
        Ask::Interaction { occurred, .. } => number_in(&occurred.attributes).into_iter().collect(),
        Ask::Control(_) => Vec::new(),
    }
}

fn number_of_item(item: &Item) -> Option<u64> {
    match item {
        Item::Event { event, .. } => number_in(&event.attributes),
        Item::Update(update) => number_of_mark(&update.attributes),
        Item::Rejected(_) | Item::RejectedUpdate => None,
    }
}

pub(crate) fn number_in(attributes: &Attributes) -> Option<u64> {
    match attributes.get(NUMBER)? {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
    }
}

pub(crate) fn number_of_mark(attributes: &Attributes) -> Option<u64> {
    attributes.iter().find_map(|(name, _)| name.strip_prefix('u')?.parse().ok())
}

fn value(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn identity(kind: &str, number: u64) -> Identity {
    Identity::new(kind, &number.to_string()).expect("INVARIANT: a kind and a number make an identity")
}
