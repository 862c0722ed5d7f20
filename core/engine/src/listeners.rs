//! Exits, goals and waits: what an event means for those who are inside (J1 (3)–(5), J3, J9, J18).

use crate::Apply;
use crate::event::Occurrence;
use crate::facts::View;
use crate::state::{EarlyMatch, Holding, OutboxKind, OutboxState, Participant, SeenEvent};
use crate::trace::{Entry, Seen};
use crate::transition::SendState;
use catalog::{JourneyVersion, Listener, Outcome, OutcomeOn, StepIndex, StepKind, binding};
use condition::{Condition, Outcome as Truth};
use model::journey::Since;
use model::{ParticipantId, Text};
use std::sync::Arc;

/// What became of testing a condition.
pub(crate) enum Tested {
    True(Seen),
    False(Seen),
    /// It lacked data (J10).
    Failed(Text),
}

pub(crate) fn test(condition: Option<&Condition>, view: &View<'_>) -> Tested {
    let Some(condition) = condition else { return Tested::True(Seen::new()) };
    match condition.evaluate(view) {
        Truth::True => Tested::True(condition.seen(view)),
        Truth::False => Tested::False(condition.seen(view)),
        Truth::Failed(lack) => Tested::Failed(lack.to_string().into()),
    }
}

impl Apply<'_> {
    /// The version a participant is on. Catalogs keep every version that someone may be inside of.
    pub(crate) fn version_of(&self, participant: &Participant) -> Arc<JourneyVersion> {
        let Participant { journey, version, id, .. } = participant;
        let found = self.ctx.catalog.journey_version(journey, *version);
        let Some(found) = found else {
            panic!(
                "INVARIANT: the catalog keeps the versions people are on; {journey} version {version} of {id} is gone"
            )
        };
        Arc::clone(found)
    }

    /// J1 (3): exits act at once, wherever the participant stands (J3).
    pub(crate) fn exits(&mut self, occurrence: Occurrence<'_>) {
        let mut leaving: Vec<ParticipantId> = Vec::new();
        let mut failed: Vec<Entry> = Vec::new();
        for participant in &self.profile.participants {
            let version = self.version_of(participant);
            for exit in version.exits.iter().filter(|exit| exit.trigger == *occurrence.trigger.as_str()) {
                if !binding::acts(participant.binding_id.as_deref(), occurrence.binding_id) {
                    continue;
                }
                let view = self.view(participant, &version).of_event(occurrence.attributes);
                match test(exit.condition.as_ref(), &view) {
                    Tested::True(_) => {
                        leaving.push(participant.id);
                        break;
                    }
                    Tested::False(_) => {}
                    Tested::Failed(why) => failed.push(listener_failed(participant, exit, "exit", why)),
                }
            }
        }
        failed.into_iter().for_each(|entry| self.trace(entry));
        if !leaving.is_empty() {
            self.end_where(|participant| leaving.contains(&participant.id), occurrence.trigger);
        }
    }

    /// J1 (4), J18: once per profile, while inside and for the goal's window after the end.
    pub(crate) fn goals(&mut self, occurrence: Occurrence<'_>) {
        let now = self.ctx.now;
        for at in 0..self.profile.journeys.len() {
            let journey = self.profile.journeys[at].journey.clone();
            let inside = self.profile.participants.iter().find(|participant| participant.journey == journey);
            let version = match inside {
                Some(participant) => Some(self.version_of(participant)),
                None => self.ctx.catalog.journey(&journey).and_then(|journey| journey.versions.last().cloned()),
            };
            let Some(version) = version else { continue };
            for goal in version.goals.iter().filter(|goal| goal.listener.trigger == *occurrence.trigger.as_str()) {
                let record = &self.profile.journeys[at];
                let in_window = record.last_ended_at.is_some_and(|ended_at| now.ms_since(ended_at) <= goal.window_ms);
                let counted = record.goals.iter().any(|(name, _)| *name == *goal.name.as_text());
                if counted || (inside_of(self.profile, &journey).is_none() && !in_window) {
                    continue;
                }
                let view = match inside_of(self.profile, &journey) {
                    Some(participant) => self.view(participant, &version).of_event(occurrence.attributes),
                    None => self.view_of_event(occurrence.attributes),
                };
                match test(goal.listener.condition.as_ref(), &view) {
                    Tested::True(_) => {
                        let name = goal.name.as_text().clone();
                        self.profile.journeys[at].goals.push((name.clone(), now));
                        self.trace(Entry::GoalReached { journey: journey.clone(), goal: name });
                    }
                    Tested::False(_) => {}
                    Tested::Failed(why) => {
                        let what = model::Text::from(format!("goal {}", goal.name));
                        self.trace(Entry::ListenerFailed { journey: journey.clone(), what, why });
                    }
                }
            }
        }
    }

    /// J1 (5): continues the waits that the event satisfies; remembers it for waits still to come (J9).
    pub(crate) fn waits(&mut self, occurrence: Occurrence<'_>) {
        let ids: Vec<ParticipantId> = self.profile.participants.iter().map(|participant| participant.id).collect();
        for id in ids {
            let Some(at) = self.profile.participants.iter().position(|participant| participant.id == id) else {
                continue;
            };
            // NOTE: the participant is taken out while it walks, so that steps may change the rest of the profile.
            let mut participant = self.profile.participants.remove(at);
            let version = self.version_of(&participant);
            self.remember(&mut participant, &version, occurrence);
            let mut next = None;
            if binding::acts(participant.binding_id.as_deref(), occurrence.binding_id) {
                next = self.outcome_of_trigger(&participant, &version, occurrence);
                if next.is_none() {
                    self.note_early(&mut participant, &version, occurrence);
                }
            }
            match next {
                Some(outcome_next) => {
                    participant.timer = None;
                    self.walk_at(at, participant, &version, outcome_next);
                }
                None => self.profile.participants.insert(at, participant),
            }
        }
    }

    /// Keeps the event as the last of its trigger if the journey reads it.
    fn remember(&self, participant: &mut Participant, version: &JourneyVersion, occurrence: Occurrence<'_>) {
        if version.remembers.binary_search_by(|name| name.as_str().cmp(occurrence.trigger)).is_err() {
            return;
        }
        let (lsn, attributes) = (self.ctx.lsn, occurrence.attributes.clone());
        match participant.seen.iter_mut().find(|seen| seen.trigger == *occurrence.trigger) {
            Some(seen) => (seen.lsn, seen.attributes) = (lsn, attributes),
            None => participant.seen.push(SeenEvent { trigger: occurrence.trigger.clone(), lsn, attributes }),
        }
    }

    /// Where the wait it holds at goes on, if the event satisfies one of its outcomes.
    fn outcome_of_trigger(
        &mut self,
        participant: &Participant,
        version: &JourneyVersion,
        occurrence: Occurrence<'_>,
    ) -> Option<catalog::Next> {
        let Holding::WaitFor { .. } = participant.holding else { return None };
        let step = version.step(participant.step);
        let StepKind::WaitFor(wait) = &step.kind else { return None };
        for outcome in &wait.outcomes {
            let OutcomeOn::Trigger { trigger, .. } = &outcome.on else { continue };
            if *trigger != *occurrence.trigger.as_str() {
                continue;
            }
            if let Some(next) =
                self.try_outcome(participant, version, outcome, occurrence.attributes, trigger.as_text())
            {
                return Some(next);
            }
        }
        None
    }

    /// Tests one outcome's condition on an event or interaction and says so in the trace.
    pub(crate) fn try_outcome(
        &mut self,
        participant: &Participant,
        version: &JourneyVersion,
        outcome: &Outcome,
        event: &model::Attributes,
        name: &Text,
    ) -> Option<catalog::Next> {
        let step = version.step(participant.step).id.as_text().clone();
        let tested = test(outcome.condition.as_ref(), &self.view(participant, version).of_event(event));
        let (id, outcome_name) = (participant.id, name.clone());
        match tested {
            Tested::True(seen) => {
                self.trace(Entry::OutcomeMatched { participant: id, step, outcome: outcome_name, seen });
                Some(outcome.next)
            }
            Tested::False(_) => None,
            Tested::Failed(why) => {
                self.trace(Entry::OutcomeUnmatched { participant: id, step, outcome: outcome_name, why });
                None
            }
        }
    }

    /// Notes the outcomes `since: start` of waits not yet reached that this event satisfies.
    fn note_early(&self, participant: &mut Participant, version: &JourneyVersion, occurrence: Occurrence<'_>) {
        for (step_at, step) in version.steps.iter().enumerate() {
            let StepKind::WaitFor(wait) = &step.kind else { continue };
            for (outcome_at, outcome) in wait.outcomes.iter().enumerate() {
                let OutcomeOn::Trigger { trigger, since: Since::Start } = &outcome.on else { continue };
                if *trigger != *occurrence.trigger.as_str() {
                    continue;
                }
                let view = self.view(participant, version).of_event(occurrence.attributes);
                let (Ok(step_at), Ok(outcome_at)) = (u16::try_from(step_at), u16::try_from(outcome_at)) else {
                    continue;
                };
                let matched = EarlyMatch { step: StepIndex(step_at), outcome: outcome_at, lsn: self.ctx.lsn };
                let held =
                    participant.early.iter().any(|early| (early.step, early.outcome) == (matched.step, outcome_at));
                if !held && matches!(test(outcome.condition.as_ref(), &view), Tested::True(_)) {
                    participant.early.push(matched);
                }
            }
        }
    }

    /// Ends every participant that `leaves`, at once: timers are gone with it, planned sends are cancelled (J3).
    pub(crate) fn end_where(&mut self, mut leaves: impl FnMut(&Participant) -> bool, reason: &str) {
        let mut at = 0;
        while at < self.profile.participants.len() {
            if leaves(&self.profile.participants[at]) {
                let participant = self.profile.participants.remove(at);
                self.cancel_sends(participant.id, reason);
                self.end(&participant, reason);
            } else {
                at += 1;
            }
        }
    }

    /// Takes the sends of a participant that were not yet claimed out of the outbox.
    fn cancel_sends(&mut self, participant: ParticipantId, reason: &str) {
        let mut cancelled = Vec::new();
        self.profile.outbox.retain(|row| {
            let waits = match row.state {
                OutboxState::Planned | OutboxState::Deferred { .. } => true,
                OutboxState::Claimed | OutboxState::Unknown => false,
            };
            let cancel = match row.kind {
                OutboxKind::Send(_) => waits && row.participant == participant,
                // NOTE: a raise is the step's own act, done when the step was; only sends have a later moment.
                OutboxKind::Raise(_) => false,
            };
            if cancel {
                cancelled.push(row.clone());
            }
            !cancel
        });
        for row in cancelled {
            let OutboxKind::Send(rendered) = &row.kind else { continue };
            self.trace(Entry::Cancelled { effect: row.effect, message: rendered.message.clone() });
            self.send_changed(&row, SendState::Cancelled { reason: reason.into() });
        }
    }
}

fn inside_of<'a>(profile: &'a crate::Profile, journey: &str) -> Option<&'a Participant> {
    profile.participants.iter().find(|participant| participant.journey == *journey)
}

fn listener_failed(participant: &Participant, listener: &Listener, kind: &str, why: Text) -> Entry {
    let what = Text::from(format!("{kind} {}", listener.trigger));
    Entry::ListenerFailed { journey: participant.journey.clone(), what, why }
}
