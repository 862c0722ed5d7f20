//! What events and updates change of a profile: identities, addresses, attributes, marks.

use crate::Apply;
use crate::command::{ProfileUpdated, Resolution};
use crate::dedup::{self, Seen};
use crate::state::OutboxKind;
use crate::trace::Entry;
use crate::transition::Verdict;
use catalog::Trigger;
use model::trigger::Bind;
use model::{Attributes, Event, Identity, Text, Timestamp, Value};

impl Apply<'_> {
    /// An `identify`: attributes and identities. What changes nothing leaves no mark (E10, trap T17).
    pub(crate) fn update(&mut self, updated: &ProfileUpdated) {
        let ProfileUpdated { id, source, identities, attributes, received_at, resolution } = updated;
        if self.is_duplicate(id.as_ref(), source, "", attributes, *received_at) {
            return;
        }
        self.link(identities, resolution);
        let mut names: Vec<Text> = Vec::new();
        for (name, value) in attributes.iter() {
            if self.set_attribute(name, value.clone()) {
                names.push(name.clone());
            }
        }
        if !names.is_empty() {
            self.trace(Entry::AttributesChanged { names });
        }
    }

    /// Whether the attribute changed. Null removes it.
    pub(crate) fn set_attribute(&mut self, name: &Text, value: Value) -> bool {
        if value == Value::Null {
            return self.profile.attributes.remove(name).is_some();
        }
        if self.profile.attributes.get(name) == Some(&value) {
            return false;
        }
        self.profile.attributes.insert(name.clone(), value);
        true
    }

    /// J1 (1). Traces and answers true when (source, id) was seen before.
    pub(crate) fn is_duplicate(
        &mut self,
        id: Option<&Text>,
        source: &Text,
        name: &str,
        attributes: &Attributes,
        received_at: Timestamp,
    ) -> bool {
        let Some(id) = id else { return false };
        let key = dedup::key(source, id, name, attributes, received_at);
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
        for identity in identities {
            if conflicts.contains(identity) {
                if !self.profile.conflicts.contains(identity) {
                    self.profile.conflicts.push(identity.clone());
                }
                self.trace(Entry::IdentityConflict { identity: identity.clone() });
            } else if !self.profile.identities.contains(identity) {
                self.profile.identities.push(identity.clone());
                self.trace(Entry::Linked { identity: identity.clone() });
            }
        }
    }

    /// J1 (2): what an event says of the person besides its identities (C5).
    pub(crate) fn mark(&mut self, event: &Event, trigger: Option<&Trigger>) {
        match trigger.map(|trigger| trigger.bind) {
            Some(Bind::Contact) => self.profile.marks.contact = true,
            Some(Bind::Lead) => self.profile.marks.lead = true,
            Some(Bind::Profile) | None => {}
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

/// The source of raised events is this and the journey's name.
pub const RAISE_SOURCE_PREFIX: &str = "journey:";
