//! What events and updates change of a profile: identities, addresses, attributes, marks.

use crate::Apply;
use crate::command::{ProfileUpdated, Resolution};
use crate::dedup::{self, Kind, Seen};
use crate::room;
use crate::state::OutboxKind;
use crate::trace::Entry;
use crate::transition::Verdict;
use model::trigger::Bind;
use model::{Attributes, Event, Identity, Text, Value};

impl Apply<'_> {
    /// An `identify`: attributes and identities. What changes nothing leaves no mark (E10, trap T17).
    pub(crate) fn update(&mut self, updated: &ProfileUpdated) {
        let ProfileUpdated { id, source, identities, attributes, received_at: _, resolution } = updated;
        if self.is_duplicate(Kind::Update, id.as_ref(), source, "", attributes) {
            return;
        }
        self.link(identities, resolution);
        let names = self.set_attributes(attributes);
        if !names.is_empty() {
            self.trace(Entry::AttributesChanged { names });
        }
    }

    /// Sets those that differ, as far as the profile has room for them; null removes. Answers the names that changed.
    pub(crate) fn set_attributes(&mut self, values: &Attributes) -> Vec<Text> {
        let limits = self.ctx.limits;
        let held = &mut self.profile.attributes;
        let mut bytes: usize = held.iter().map(|(name, value)| size(name, value)).sum();
        let (mut changed, mut refused) = (Vec::new(), Vec::new());
        for (name, value) in values.iter() {
            let before = held.get(name);
            if before == Some(value) || (before.is_none() && *value == Value::Null) {
                continue;
            }
            let before_bytes = before.map_or(0, |before| size(name, before));
            let after_bytes = if *value == Value::Null { 0 } else { size(name, value) };
            let has_room = (before.is_some() || held.len() < limits.attributes_max)
                && bytes - before_bytes + after_bytes <= limits.attributes_bytes_max;
            // What makes the profile smaller is taken also of one that holds too much.
            if !has_room && after_bytes > before_bytes {
                refused.push(name.clone());
                continue;
            }
            bytes = bytes - before_bytes + after_bytes;
            match value {
                Value::Null => held.remove(name),
                Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                    held.insert(name.clone(), value.clone())
                }
            };
            changed.push(name.clone());
        }
        if !refused.is_empty() {
            self.trace(Entry::AttributesRefused { names: refused });
        }
        changed
    }

    /// J1 (1). Traces and answers true when (source, id) was seen before.
    pub(crate) fn is_duplicate(
        &mut self,
        kind: Kind,
        id: Option<&Text>,
        source: &Text,
        name: &str,
        attributes: &Attributes,
    ) -> bool {
        let Some(id) = id else { return false };
        let key = dedup::key(kind, source, id, name, attributes, self.ctx.now);
        match self.profile.dedup.check(key, self.ctx.limits) {
            Seen::First => false,
            Seen::Again { conflict } => {
                self.out.verdict = Some(Verdict::Duplicate { conflict });
                self.trace(Entry::Duplicate { conflict });
                true
            }
        }
    }

    /// Takes identities over (E11); those of other profiles are kept as conflicts and shown.
    pub(crate) fn link(&mut self, identities: &[Identity], resolution: &Resolution) {
        let Resolution { created, conflicts } = resolution;
        if *created && self.profile.identities.is_empty() {
            self.trace(Entry::ProfileCreated);
        }
        let most = self.ctx.limits.identities_max;
        for identity in identities {
            let identity = identity.clone();
            if conflicts.contains(&identity) {
                let held = &mut self.profile.conflicts;
                if !held.contains(&identity) && held.len() < most {
                    held.push(identity.clone());
                }
                self.trace(Entry::IdentityConflict { identity });
            } else if !self.profile.identities.contains(&identity) {
                if self.profile.identities.len() < most {
                    room::push(&mut self.profile.identities, identity.clone());
                    self.trace(Entry::Linked { identity });
                } else {
                    self.trace(Entry::IdentityRefused { identity });
                }
            }
        }
    }

    /// J1 (2): what an event says of the person besides its identities (C5).
    pub(crate) fn mark(&mut self, event: &Event, bind: Bind) {
        match bind {
            Bind::Contact => self.profile.marks.contact = true,
            Bind::Lead => self.profile.marks.lead = true,
            Bind::Profile => {}
        }
        if let Some(email) = event.attributes.get("contactpoint_email").and_then(Value::as_text) {
            self.profile.contact_email = Some(email.into());
        }
        if let Some(phone) = event.attributes.get("contactpoint_phone").and_then(Value::as_text) {
            self.profile.contact_phone = Some(phone.into());
        }
    }

    /// An event that a raise step planned settles its effect when it is appended (design §2.6).
    pub(crate) fn settle_raise(&mut self, event: &Event) {
        if !event.source.starts_with(RAISE_SOURCE_PREFIX) {
            return;
        }
        let Some(effect) = event.id.as_deref().and_then(model::EffectId::parse) else { return };
        self.profile.outbox.retain(|row| match row.kind {
            OutboxKind::Raise(_) => row.effect != effect,
            OutboxKind::Send(_) => true,
        });
    }
}

/// About what an attribute takes, for [`crate::Limits::attributes_bytes_max`].
fn size(name: &Text, value: &Value) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::Null | Value::Bool(_) => 1,
            Value::Int(_) | Value::Float(_) => 8,
            Value::Text(text) => text.len(),
            Value::List(items) => 1 + items.iter().map(of).sum::<usize>(),
            Value::Map(map) => 1 + map.iter().map(|(name, value)| size(name, value)).sum::<usize>(),
        }
    }
    name.len() + of(value)
}

/// The source of raised events is this and the journey's name.
pub const RAISE_SOURCE_PREFIX: &str = "journey:";
