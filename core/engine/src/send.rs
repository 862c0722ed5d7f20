//! Sends: planned, claimed, settled (S1, S4–S6).

use crate::Apply;
use crate::facts::View;
use crate::room;
use crate::state::{Holding, OutboxKind, OutboxRow, OutboxState, Participant, SentStep};
use crate::trace::{Entry, Ignored};
use crate::transition::{Effect, SendChanged, SendState};
use crate::walk::{Flow, id_of};
use catalog::{Address, JourneyVersion, Message, Part, Step};
use model::identity::IdentityKind;
use model::journey::Policy;
use model::message::{Channel, OnMissing};
use model::send::{Rendered, Settlement};
use model::{Attributes, EffectId, Name, Text, Timestamp, Value};
use std::sync::Arc;

/// The first wait before a temporary failure is tried again; doubled each time up to the last.
const BACKOFF_FIRST_MS: i64 = 30_000;
const BACKOFF_MAX_MS: i64 = 4 * 3_600_000;

impl Apply<'_> {
    /// Renders now, so that every attempt sends the same bytes, and leaves the step at once unless its policies need
    /// to know what becomes of the send (S4).
    pub(crate) fn plan_send(
        &mut self,
        participant: &mut Participant,
        version: &JourneyVersion,
        step: &Step,
        message_name: &Name,
    ) -> Flow {
        let effect = self.visit(participant, step);
        let Some(message) = self.ctx.catalog.message(message_name).cloned() else {
            return self.fail(participant, step, format!("the message {message_name} is gone").into());
        };
        let rendered = match self.render(participant, version, &message, effect) {
            Ok(rendered) => Arc::new(rendered),
            Err(why) => return self.fail(participant, step, why),
        };
        self.note_send(participant, effect);
        let to = match &message.address {
            Address::Attribute(attribute) => Some(attribute.clone()),
            Address::Url(_) => None,
        };
        let row = OutboxRow {
            effect,
            participant: participant.id,
            journey: participant.journey.clone(),
            step: id_of(step),
            planned_at: self.ctx.now,
            kind: OutboxKind::Send(Arc::clone(&rendered)),
            state: OutboxState::Planned,
            attempts: 0,
            to,
            unwanted: None,
        };
        self.trace(Entry::Planned {
            participant: participant.id,
            effect,
            step: id_of(step),
            message: rendered.message.clone(),
        });
        self.send_changed(&row, SendState::Planned);
        room::push(&mut self.profile.outbox, row);
        self.out.effects.push(Effect::Planned { effect, channel: rendered.channel.clone() });
        if step.on_blocked == Policy::Continue && step.on_failure == Policy::Continue {
            return Flow::Go(step.next);
        }
        participant.holding = Holding::Settle { effect };
        Flow::Hold
    }

    /// A new visit of a send step takes the place of the one before: interactions count for the latest (J9).
    fn note_send(&self, participant: &mut Participant, effect: EffectId) {
        let step = participant.step;
        let sent = SentStep { step, effect, interactions: Vec::new() };
        match participant.sends.iter_mut().find(|held| held.step == step) {
            Some(held) => *held = sent,
            None => room::push(&mut participant.sends, sent),
        }
    }

    fn render(
        &self,
        participant: &Participant,
        version: &JourneyVersion,
        message: &Message,
        effect: EffectId,
    ) -> Result<Rendered, Text> {
        let view = self.view(participant, version);
        let mut renderer = Renderer { view, apply: self, effect, missing: Vec::new() };
        let address = match &message.address {
            Address::Attribute(attribute) => self.address(message.channel, attribute),
            Address::Url(template) => renderer.text(template)?.into(),
        };
        let mut parts = Attributes::new();
        for (name, part) in &message.parts {
            parts.insert(name.clone(), renderer.part(part)?);
        }
        if message.on_missing == OnMissing::Fail && !renderer.missing.is_empty() {
            let missing = renderer.missing.join(", ");
            return Err(format!("the message {} has no value for {missing}", message.name).into());
        }
        let channel = message.channel.as_str().into();
        Ok(Rendered { channel, message: message.name.as_text().clone(), address, parts })
    }

    /// The attribute. The channel's own one is stood in for by an identity of its kind, else by the contact point of the
    /// last event (E11, C5); who names another attribute means that one. Empty: none.
    fn address(&self, channel: Channel, attribute: &str) -> Text {
        let profile = &self.profile;
        if let Some(text) = profile.attributes.get(attribute).and_then(Value::as_text)
            && !text.trim().is_empty()
        {
            return text.trim().into();
        }
        if channel.address_attribute() != Some(attribute) {
            return Text::default();
        }
        let (kind, contact_point) = match channel {
            Channel::Email => (IdentityKind::Email, &profile.contact_email),
            Channel::Sms => (IdentityKind::Phone, &profile.contact_phone),
            Channel::Push | Channel::Webhook => return Text::default(),
        };
        let identity = profile.identities.iter().find(|identity| identity.kind == kind);
        identity.map(|identity| &identity.value).or(contact_point.as_ref()).cloned().unwrap_or_default()
    }

    /// S1: the last checks, on the state at this place in the log. The address is looked up here, so that one which came
    /// after the planning is seen; once a hand-off was tried it is kept.
    pub(crate) fn claim(&mut self, effect: EffectId, veto: Option<&Text>) {
        let claimable =
            self.profile.outbox.iter().position(|row| row.effect == effect && row.state == OutboxState::Planned);
        let Some(at) = claimable else {
            // Cancelled by an exit (J3), or claimed already: a second claim is never granted (trap T57).
            self.trace(Entry::Ignored(Ignored::UnknownEffect));
            return;
        };
        let address_now = self.address_now(&self.profile.outbox[at]);
        let row = &mut self.profile.outbox[at];
        let OutboxKind::Send(rendered) = &mut row.kind else {
            self.trace(Entry::Ignored(Ignored::UnknownEffect));
            return;
        };
        if row.attempts == 0 && rendered.address != address_now {
            Arc::make_mut(rendered).address = address_now.clone();
        }
        let row = row.clone();
        let OutboxKind::Send(rendered) = &row.kind else { return };
        if let Some(reason) = self.refuses(&row, rendered, &address_now, veto) {
            self.profile.outbox.remove(at);
            self.block(&row, rendered, reason);
            return;
        }
        let row = &mut self.profile.outbox[at];
        row.state = OutboxState::Claimed;
        row.attempts += 1;
        let row = row.clone();
        self.trace(Entry::Granted { effect, attempt: row.attempts });
        self.send_changed(&row, SendState::HandedOff);
        self.out.effects.push(Effect::HandOff { effect, attempt: row.attempts, rendered: Arc::clone(rendered) });
    }

    /// Where the send would go as the profile is now.
    fn address_now(&self, row: &OutboxRow) -> Text {
        let OutboxKind::Send(rendered) = &row.kind else { return Text::default() };
        match (&row.to, Channel::parse(&rendered.channel)) {
            (Some(attribute), Some(channel)) => self.address(channel, attribute),
            (None, _) | (_, None) => rendered.address.clone(),
        }
    }

    /// The first reason against the hand-off, in the order of S1.
    fn refuses(&self, row: &OutboxRow, rendered: &Rendered, address_now: &str, veto: Option<&Text>) -> Option<Text> {
        let stopped = self
            .ctx
            .catalog
            .journey(&row.journey)
            .is_some_and(|journey| journey.state == model::journey::JourneyState::Stopped);
        if stopped {
            return Some("journey_stopped".into());
        }
        if let Some(veto) = veto {
            return Some(veto.clone());
        }
        if address_now.is_empty() {
            return Some("no_address".into());
        }
        // One effect goes to one address: it may have gone to the first one, and that is no longer hers.
        if rendered.address != *address_now {
            return Some("address_changed".into());
        }
        if !is_valid_address(&rendered.channel, &rendered.address) {
            return Some("invalid_address".into());
        }
        None
    }

    fn block(&mut self, row: &OutboxRow, rendered: &Rendered, reason: Text) {
        let effect = row.effect;
        self.trace(Entry::Blocked { effect, message: rendered.message.clone(), reason: reason.clone() });
        self.send_changed(row, SendState::Blocked { reason: reason.clone() });
        self.leave_send(row, |step| (step.on_blocked, "blocked"), Some(reason.clone()));
        self.interacted_by_send(row, rendered, "blocked", Some(reason));
    }

    /// What became of a hand-off. Only what was claimed can be settled; a second answer finds nobody.
    pub(crate) fn settled(&mut self, effect: EffectId, settlement: &Settlement) {
        let open =
            self.profile.outbox.iter().position(|row| {
                row.effect == effect && matches!(row.state, OutboxState::Claimed | OutboxState::Unknown)
            });
        let Some(at) = open else {
            self.trace(Entry::Ignored(Ignored::UnknownEffect));
            return;
        };
        let row = self.profile.outbox[at].clone();
        let OutboxKind::Send(rendered) = &row.kind else { return };
        match settlement {
            Settlement::Accepted { provider_id } => {
                self.profile.outbox.remove(at);
                self.trace(Entry::Settled { effect, outcome: "accepted".into() });
                self.send_changed(&row, SendState::Accepted { provider_id: provider_id.clone() });
                self.leave_send(&row, |step| (step.on_failure, ""), None);
                self.interacted_by_send(&row, rendered, "sent", None);
            }
            Settlement::Rejected { reason } => self.reject(at, &row, rendered, reason.clone()),
            Settlement::Deferred { reason, .. } if row.attempts >= self.ctx.limits.attempts_max => {
                let reason = format!("given up after {} attempts: {reason}", row.attempts);
                self.reject(at, &row, rendered, reason.into());
            }
            Settlement::Deferred { reason, retry_after_ms } => self.defer(at, reason, *retry_after_ms),
            Settlement::NotTried { reason, retry_after_ms } => {
                let row = &mut self.profile.outbox[at];
                row.attempts = row.attempts.saturating_sub(1);
                self.defer(at, reason, *retry_after_ms);
            }
            Settlement::Unknown { reason } => {
                self.profile.outbox[at].state = OutboxState::Unknown;
                self.trace(Entry::Settled { effect, outcome: format!("unknown: {reason}").into() });
                self.send_changed(&row, SendState::Unknown { reason: reason.clone() });
                // S4: unknown counts as sent; the ledger shows it until it is known (S5).
                self.leave_send(&row, |step| (step.on_failure, ""), None);
            }
        }
    }

    /// It did not go out: it is tried again later, unless nobody wants it any more (J3).
    fn defer(&mut self, at: usize, reason: &Text, retry_after_ms: Option<u64>) {
        let row = self.profile.outbox[at].clone();
        if let Some(unwanted) = &row.unwanted {
            self.profile.outbox.remove(at);
            self.trace(Entry::Settled { effect: row.effect, outcome: format!("not sent: {reason}").into() });
            self.cancel(&row, unwanted);
            return;
        }
        let until = self.retry_at(&row, retry_after_ms);
        let timer = self.new_timer(until);
        self.profile.outbox[at].state = OutboxState::Deferred { timer };
        let outcome = format!("deferred until {until}: {reason}").into();
        self.trace(Entry::Settled { effect: row.effect, outcome });
        self.send_changed(&row, SendState::Deferred { reason: reason.clone(), until });
    }

    fn reject(&mut self, at: usize, row: &OutboxRow, rendered: &Rendered, reason: Text) {
        self.profile.outbox.remove(at);
        self.trace(Entry::Settled { effect: row.effect, outcome: format!("rejected: {reason}").into() });
        self.send_changed(row, SendState::Rejected { reason: reason.clone() });
        self.leave_send(row, |step| (step.on_failure, "failed"), Some(reason.clone()));
        self.interacted_by_send(row, rendered, "failed", Some(reason));
    }

    /// S6: doubling, with a jitter that depends on effect and attempt alone, and never before the provider allows.
    fn retry_at(&self, row: &OutboxRow, retry_after_ms: Option<u64>) -> Timestamp {
        let doubled = BACKOFF_FIRST_MS << row.attempts.saturating_sub(1).min(20);
        let backoff_ms = doubled.min(BACKOFF_MAX_MS);
        let jitter = i64::from(row.effect.0[usize::try_from(row.attempts % 16).unwrap_or(0)]);
        let jittered_ms = backoff_ms + backoff_ms * jitter / 1024;
        let asked_ms = i64::try_from(retry_after_ms.unwrap_or(0)).unwrap_or(i64::MAX);
        self.ctx.now.plus_ms(jittered_ms.max(asked_ms))
    }

    /// Lets the participant go on that holds at the send until it is settled. `reason` is why it went wrong.
    fn leave_send(
        &mut self,
        row: &OutboxRow,
        policy: impl FnOnce(&Step) -> (Policy, &'static str),
        reason: Option<Text>,
    ) {
        let effect = row.effect;
        let holds = self
            .profile
            .participant(row.participant)
            .is_some_and(|participant| participant.holding == Holding::Settle { effect });
        if !holds {
            return;
        }
        self.resume(row.participant, |apply, participant, version| {
            let step = version.step(participant.step);
            let Some(reason) = reason else { return Flow::Go(step.next) };
            let (policy, end) = policy(step);
            apply.follow(policy, participant, step, reason, end)
        });
    }

    /// "E-mail sent" continues a journey like any other interaction (design §2.6).
    fn interacted_by_send(&mut self, row: &OutboxRow, rendered: &Rendered, what: &str, reason: Option<Text>) {
        let attributes = reason.map(|reason| ("reason", Value::Text(reason))).into_iter().collect();
        let interaction = Text::from(format!("{}_{what}", rendered.channel));
        self.interacted(row.effect, &interaction, &attributes, false);
    }

    pub(crate) fn send_changed(&mut self, row: &OutboxRow, state: SendState) {
        let OutboxKind::Send(rendered) = &row.kind else { return };
        self.out.sends.push(SendChanged {
            effect: row.effect,
            participant: row.participant,
            journey: row.journey.clone(),
            step: row.step.clone(),
            channel: rendered.channel.clone(),
            message: rendered.message.clone(),
            address: rendered.address.clone(),
            planned_at: row.planned_at,
            changed_at: self.ctx.now,
            attempts: row.attempts,
            state,
        });
    }
}

struct Renderer<'a, 'b> {
    view: View<'a>,
    apply: &'a Apply<'b>,
    effect: EffectId,
    missing: Vec<String>,
}

impl Renderer<'_, '_> {
    fn part(&mut self, part: &Part) -> Result<Value, Text> {
        Ok(match part {
            Part::Fixed(value) => value.clone(),
            Part::Text(template) => Value::Text(self.text(template)?.into()),
            Part::TrackedHtml(template) => {
                let html = self.text(template)?;
                let (profile, signer) = (self.apply.profile.id, self.apply.ctx.signer);
                Value::Text(template::tracking::instrument(&html, signer, profile, self.effect).into())
            }
            Part::List(items) => Value::List(items.iter().map(|item| self.part(item)).collect::<Result<_, _>>()?),
            Part::Map(pairs) => {
                let pairs: Result<Vec<(Text, Value)>, Text> =
                    pairs.iter().map(|(name, part)| Ok((name.clone(), self.part(part)?))).collect();
                Value::Map(pairs?.into_iter().collect())
            }
        })
    }

    fn text(&mut self, template: &template::Template) -> Result<String, Text> {
        let rendered =
            template.render(&self.view, &template::Limits::default()).map_err(|error| Text::from(error.to_string()))?;
        for path in rendered.missing {
            if !self.missing.contains(&path) {
                self.missing.push(path);
            }
        }
        Ok(rendered.text)
    }
}

/// Whether the address could be one of its channel's at all; whether it is, only the provider knows.
fn is_valid_address(channel: &str, address: &str) -> bool {
    match Channel::parse(channel) {
        Some(Channel::Email) => {
            let Some((local, domain)) = address.rsplit_once('@') else { return false };
            !local.is_empty()
                && domain.len() > 2
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && address.len() <= 254
                && !address.chars().any(|c| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"".contains(c))
        }
        Some(Channel::Sms) => {
            let digits = address.strip_prefix('+').unwrap_or(address);
            (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        }
        Some(Channel::Webhook) => address.starts_with("https://") || address.starts_with("http://"),
        Some(Channel::Push) => true,
        None => false,
    }
}
