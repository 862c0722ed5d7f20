//! What all doors share: from a drafted event to a checked item or a reason for its sender (E8, E6, E9).

use catalog::Catalog;
use engine::command::RejectedCount;
use model::trigger::TriggerKind;
use model::{Attributes, Event, Identity, Text, Timestamp, Value};
use processor::{Item, Update};

/// Items of one request; more are refused as a whole.
pub(crate) const ITEMS_MAX: usize = 10_000;
/// Longest name of a trigger and longest id of an event.
const NAME_BYTES_MAX: usize = 200;
/// Identities of one item.
const IDENTITIES_MAX: usize = 20;
/// Longest binding id.
const BINDING_BYTES_MAX: usize = 256;

/// What a request is mapped under.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub catalog: &'a Catalog,
    /// The key it came by; with an event's id the key of deduplication (E3).
    pub source: &'a str,
    pub received_at: Timestamp,
}

/// A request that is none: nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// A request mapped: what to store, and what to answer if that works.
#[derive(Debug, Default)]
pub struct Received {
    /// One for each item of the request, in order; rejected ones too, since those of events count in the books (E4).
    pub items: Vec<Item>,
    /// The same.
    pub results: Vec<ItemResult>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemResult {
    /// The sender's, or the one that [`Received::make_ids`] made.
    pub id: Option<Text>,
    /// Of events: the trigger, as far as it could be read; empty else.
    pub trigger: Text,
    pub outcome: ItemOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    Accepted,
    Rejected { reason: String },
}

/// Why one item is not stored.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// The reason the books count by.
    pub code: &'static str,
    pub reason: String,
}

impl Rejection {
    pub fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Rejection { code, reason: reason.into() }
    }
}

/// An event as a door reads it, not yet checked.
pub(crate) struct Draft {
    pub id: Option<Text>,
    pub trigger: Text,
    pub identities: Vec<Identity>,
    pub occurred_at: Timestamp,
    pub attributes: Attributes,
    pub binding_id: Option<Text>,
    pub replay_as_live: bool,
}

impl Received {
    /// Gives events that came without an id one (E3). It is like no other, so nothing is a duplicate of such an event.
    pub fn make_ids(&mut self) {
        for (item, result) in self.items.iter_mut().zip(&mut self.results) {
            let Item::Event { event, .. } = item else { continue };
            if event.id.is_none() {
                event.id = Some(uuid::Uuid::now_v7().to_string().into());
                result.id.clone_from(&event.id);
            }
        }
    }

    pub(crate) fn event(&mut self, ctx: &Context<'_>, draft: Result<Draft, (Option<Text>, Text, Rejection)>) {
        let checked = draft.and_then(|draft| {
            let (id, trigger) = (draft.id.clone(), draft.trigger.clone());
            check(ctx, draft).map_err(|rejection| (id, trigger, rejection))
        });
        match checked {
            Ok((event, unknown_attributes)) => {
                let (id, trigger) = (event.id.clone(), event.trigger.clone());
                let checked_with = ctx.catalog.version();
                self.items.push(Item::Event { event, checked_with, unknown_attributes });
                self.results.push(ItemResult { id, trigger, outcome: ItemOutcome::Accepted });
            }
            Err((id, trigger, rejection)) => self.reject(ctx, id, trigger, rejection),
        }
    }

    pub(crate) fn update(&mut self, update: Result<Update, (Option<Text>, Rejection)>) {
        let checked = update.and_then(|mut update| {
            let id = update.id.clone();
            update
                .id
                .as_ref()
                .map_or(Ok(()), |id| check_text("id", id, NAME_BYTES_MAX))
                .and_then(|()| check_identities(&mut update.identities))
                .and_then(|()| check_shape(&update.attributes))
                .map_err(|rejection| (id, rejection))?;
            Ok(update)
        });
        let (id, outcome) = match checked {
            Ok(update) => {
                let id = update.id.clone();
                self.items.push(Item::Update(update));
                (id, ItemOutcome::Accepted)
            }
            // The books are of events; a profile is in none of them.
            Err((id, Rejection { reason, .. })) => {
                self.items.push(Item::RejectedUpdate);
                (id.and_then(plausible), ItemOutcome::Rejected { reason })
            }
        };
        self.results.push(ItemResult { id, trigger: Text::default(), outcome });
    }

    pub(crate) fn reject(&mut self, ctx: &Context<'_>, id: Option<Text>, trigger: Text, rejection: Rejection) {
        let Rejection { code, reason } = rejection;
        // Of names that nothing has, senders could make any number; the books keep those that are known.
        let counted = if ctx.catalog.trigger(&trigger).is_some() { trigger.clone() } else { Text::default() };
        self.items.push(Item::Rejected(RejectedCount {
            trigger: counted,
            reason: code.into(),
            received_at: ctx.received_at,
            count: 1,
        }));
        let (id, trigger) = (id.and_then(plausible), plausible(trigger).unwrap_or_default());
        self.results.push(ItemResult { id, trigger, outcome: ItemOutcome::Rejected { reason } });
    }
}

/// What is shown again of a rejected item: nothing that could be an attack on who reads it.
fn plausible(text: Text) -> Option<Text> {
    check_text("text", &text, NAME_BYTES_MAX).is_ok().then_some(text)
}

/// The event, and its attributes that the trigger does not declare.
fn check(ctx: &Context<'_>, draft: Draft) -> Result<(Event, Vec<Text>), Rejection> {
    let Draft { id, trigger, mut identities, occurred_at, attributes, binding_id, replay_as_live } = draft;
    check_text("trigger", &trigger, NAME_BYTES_MAX)?;
    if let Some(id) = &id {
        check_text("id", id, NAME_BYTES_MAX)?;
    }
    if let Some(binding_id) = &binding_id {
        check_text("binding_id", binding_id, BINDING_BYTES_MAX)?;
    }
    check_identities(&mut identities)?;
    check_shape(&attributes)?;
    let known = ctx.catalog.trigger(&trigger);
    if known.is_some_and(|known| known.kind == TriggerKind::Interaction) {
        let reason = format!("{trigger} is an interaction trigger; it comes from sends and cannot be sent as an event");
        return Err(Rejection::new("interaction_trigger", reason));
    }
    let (attributes, unknown_attributes) = match known {
        Some(known) => {
            let checked = known.check(attributes).map_err(|misfit| Rejection::new("attribute", misfit.to_string()))?;
            (checked.attributes, checked.unknown)
        }
        // E9: kept, and shown as unmatched.
        None => (attributes, Vec::new()),
    };
    let event = Event {
        id,
        source: ctx.source.into(),
        trigger,
        identities,
        occurred_at,
        received_at: ctx.received_at,
        attributes,
        binding_id,
        replay_as_live,
    };
    Ok((event, unknown_attributes))
}

fn check_text(what: &'static str, text: &str, bytes_max: usize) -> Result<(), Rejection> {
    if text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) {
        let reason = format!("`{what}`: expected 1 to {bytes_max} bytes of text without control characters");
        return Err(Rejection::new("malformed", reason));
    }
    Ok(())
}

/// Sorts them as they are tried (E11) and drops repetitions.
fn check_identities(identities: &mut Vec<Identity>) -> Result<(), Rejection> {
    identities.sort();
    identities.dedup();
    if identities.is_empty() {
        let reason = "`identities`: expected at least one, such as {\"user_id\": \"42\"}";
        return Err(Rejection::new("identity", reason));
    }
    if identities.len() > IDENTITIES_MAX {
        return Err(Rejection::new("identity", format!("`identities`: at most {IDENTITIES_MAX} are allowed")));
    }
    Ok(())
}

fn check_shape(attributes: &Attributes) -> Result<(), Rejection> {
    if attributes.iter().any(|(_, value)| value.is_too_deep()) {
        return Err(Rejection::new(
            "attribute",
            format!("`attributes`: they nest deeper than {} levels", Value::DEPTH_MAX),
        ));
    }
    Ok(())
}

/// Identities as an object of texts or numbers: `{"user_id": "42", "email": "a@x.org"}`.
pub(crate) fn identities_of(given: &Attributes) -> Result<Vec<Identity>, Rejection> {
    let mut identities = Vec::with_capacity(given.len());
    for (kind, value) in given.iter() {
        let identity = match value {
            Value::Null => continue,
            Value::Text(text) => Identity::new(kind, text),
            Value::Int(number) => Identity::new(kind, &number.to_string()),
            Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => {
                Err(format!("the identity `{kind}` is a {}; expected a text", value.kind()))
            }
        };
        identities.push(identity.map_err(|reason| Rejection::new("identity", reason))?);
    }
    Ok(identities)
}

/// One item or a list of them, each still as it came, so that one bad item spoils no other.
pub(crate) fn split(body: &[u8]) -> Result<Vec<&serde_json::value::RawValue>, Malformed> {
    let malformed = |error: serde_json::Error| Malformed(format!("the body is not JSON: {error}"));
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let items: Vec<&serde_json::value::RawValue> = if is_list {
        serde_json::from_slice(body).map_err(malformed)?
    } else {
        vec![serde_json::from_slice(body).map_err(malformed)?]
    };
    if items.len() > ITEMS_MAX {
        return Err(Malformed(format!("{} items; at most {ITEMS_MAX} are allowed in one request", items.len())));
    }
    Ok(items)
}
