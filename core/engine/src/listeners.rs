//! Exits, goals and waits: what an event means for those who are inside (J1 (3)–(5), J3, J9, J18).

use crate::Apply;
use crate::event::Occurrence;
use crate::facts::View;
use crate::room;
use crate::state::{EarlyMatch, Holding, JourneyRecord, OutboxKind, OutboxRow, OutboxState, Participant, SeenEvent};
use crate::trace::{Entry, NoMatch, Seen};
use crate::transition::SendState;
use catalog::{Goal, JourneyVersion, Outcome, OutcomeOn, StepIndex, StepKind, binding};
use condition::{Condition, Outcome as Truth};
use model::journey::Since;
use model::{ParticipantId, Text};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many events are kept for one outcome of a wait not yet reached. The oldest are: of several the earliest wins
/// (J9), and the rest is for the next visits.
const EARLY_MAX: usize = 16;

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

/// What the condition of a listener saw when it holds, else why it does not.
fn holds(condition: Option<&Condition>, view: &View<'_>) -> Result<Seen, NoMatch> {
    match test(condition, view) {
        Tested::True(seen) => Ok(seen),
        Tested::False(seen) => Err(NoMatch::ConditionFalse { seen }),
        Tested::Failed(why) => Err(NoMatch::ConditionError { why }),
    }
}

/// What a goal was found to be.
struct GoalTested {
    journey: Text,
    goal: Text,
    participant: Option<ParticipantId>,
    found: Result<Seen, NoMatch>,
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

    /// J1 (3): exits act at once, wherever the participant stands (J3). Answers who left, as they were.
    pub(crate) fn exits(&mut self, occurrence: Occurrence<'_>) -> Vec<Participant> {
        let mut leaving: BTreeMap<ParticipantId, Seen> = BTreeMap::new();
        let mut unmatched: Vec<Entry> = Vec::new();
        for participant in &self.profile.participants {
            let version = self.version_of(participant);
            for exit in version.exits.iter().filter(|exit| exit.trigger == *occurrence.trigger.as_str()) {
                let view = self.view(participant, &version).of_event(occurrence.attributes);
                let found = concerns(participant, occurrence).and_then(|()| holds(exit.condition.as_ref(), &view));
                match found {
                    Ok(seen) => {
                        leaving.insert(participant.id, seen);
                        break;
                    }
                    Err(why) => unmatched.push(not_matched(participant, format!("exit {}", exit.trigger), why)),
                }
            }
        }
        unmatched.into_iter().for_each(|entry| self.trace(entry));
        self.end_all(leaving, occurrence.trigger)
    }

    /// J1 (4), J18: once per profile, while inside and for the goal's window after the end. Of those who just `left`,
    /// a goal sees what it would have seen a moment before.
    pub(crate) fn goals(&mut self, occurrence: Occurrence<'_>, left: &[Participant]) {
        let mut tested: Vec<GoalTested> = Vec::new();
        let mut inside: BTreeSet<&Text> = BTreeSet::new();
        for participant in left.iter().chain(&self.profile.participants) {
            let version = self.version_of(participant);
            inside.insert(&participant.journey);
            let Some(record) = self.profile.journey(&participant.journey) else { continue };
            let view = self.view(participant, &version).of_event(occurrence.attributes);
            for goal in open_goals(&version, record, occurrence) {
                tested.push(test_goal(record, goal, Some(participant.id), &view));
            }
        }
        for record in self.profile.journeys.iter().filter(|record| !inside.contains(&record.journey)) {
            let Some(ended_at) = record.last_ended_at else { continue };
            let journey = self.ctx.catalog.journey(&record.journey);
            let Some(version) = journey.and_then(|journey| journey.versions.last()) else { continue };
            let after_ms = self.ctx.now.ms_since(ended_at);
            let view = self.view_of_event(occurrence.attributes, version);
            for goal in open_goals(version, record, occurrence).filter(|goal| after_ms <= goal.window_ms) {
                tested.push(test_goal(record, goal, None, &view));
            }
        }
        tested.into_iter().for_each(|tested| self.note_goal(tested));
    }

    fn note_goal(&mut self, tested: GoalTested) {
        let GoalTested { journey, goal, participant, found } = tested;
        let now = self.ctx.now;
        let Ok(at) = self.profile.journeys.binary_search_by(|record| record.journey.cmp(&journey)) else { return };
        let reached = &mut self.profile.journeys[at].goals;
        if reached.iter().any(|(name, _)| *name == goal) {
            return; // by another participant, on this very event
        }
        match found {
            Ok(seen) => {
                reached.push((goal.clone(), now));
                self.trace(Entry::GoalReached { journey, goal, seen });
            }
            Err(why) => {
                let what = Text::from(format!("goal {goal}"));
                self.trace(Entry::NotMatched { participant, journey, what, why });
            }
        }
    }

    /// J1 (5): continues the waits that the event satisfies; remembers it for waits still to come (J9).
    pub(crate) fn waits(&mut self, occurrence: Occurrence<'_>) {
        // NOTE: they are taken out while they walk, so that steps may change the rest of the profile.
        let mut participants = std::mem::take(&mut self.profile.participants);
        participants.retain_mut(|participant| {
            let version = self.version_of(participant);
            let Some(next) = self.outcome_of_event(participant, &version, occurrence) else { return true };
            participant.timer = None;
            participant.depth = participant.depth.max(occurrence.depth);
            self.walk(participant, &version, next)
        });
        self.profile.participants = participants;
    }

    /// Where the participant goes on by the event; else the event is kept for what is still to come.
    fn outcome_of_event(
        &mut self,
        participant: &mut Participant,
        version: &JourneyVersion,
        occurrence: Occurrence<'_>,
    ) -> Option<catalog::Next> {
        if let Err(why) = concerns(participant, occurrence) {
            if let Some(outcome) = outcomes_on(participant, version, occurrence.trigger).next() {
                let what = what_of(version, participant.step, outcome);
                self.trace(not_matched(participant, what, why));
            }
            return None;
        }
        self.remember(participant, version, occurrence);
        let next = outcomes_on(participant, version, occurrence.trigger)
            .find_map(|outcome| self.try_outcome(participant, version, outcome, occurrence.attributes));
        if next.is_none() {
            self.note_early(participant, version, occurrence);
        }
        next
    }

    /// Keeps the event as the last of its trigger if the journey reads it.
    fn remember(&self, participant: &mut Participant, version: &JourneyVersion, occurrence: Occurrence<'_>) {
        if version.remembers.binary_search_by(|name| name.as_str().cmp(occurrence.trigger)).is_err() {
            return;
        }
        let (lsn, attributes) = (self.ctx.lsn, occurrence.attributes.clone());
        match participant.seen.iter_mut().find(|seen| seen.trigger == *occurrence.trigger) {
            Some(seen) => (seen.lsn, seen.attributes) = (lsn, attributes),
            None => {
                let trigger = occurrence.trigger.clone();
                room::push(&mut participant.seen, SeenEvent { trigger, lsn, attributes });
            }
        }
    }

    /// Tests one outcome's condition on an event or interaction and says so in the trace.
    pub(crate) fn try_outcome(
        &mut self,
        participant: &Participant,
        version: &JourneyVersion,
        outcome: &Outcome,
        event: &model::Attributes,
    ) -> Option<catalog::Next> {
        let found = holds(outcome.condition.as_ref(), &self.view(participant, version).of_event(event));
        match found {
            Ok(seen) => {
                let (step, name) = (version.step(participant.step).id.as_text().clone(), name_of(outcome).clone());
                self.trace(Entry::OutcomeMatched { participant: participant.id, step, outcome: name, seen });
                Some(outcome.next)
            }
            Err(why) => {
                let what = what_of(version, participant.step, outcome);
                self.trace(not_matched(participant, what, why));
                None
            }
        }
    }

    /// Notes the outcomes `since: start` of waits not yet reached that this event satisfies. Those of the wait it holds
    /// at were tested already.
    fn note_early(&mut self, participant: &mut Participant, version: &JourneyVersion, occurrence: Occurrence<'_>) {
        let holds_at = match participant.holding {
            Holding::WaitFor { .. } => Some(participant.step),
            Holding::Wait | Holding::Settle { .. } | Holding::Parked { .. } => None,
        };
        for (step_at, step) in (0..).map(StepIndex).zip(&version.steps) {
            let StepKind::WaitFor(wait) = &step.kind else { continue };
            if holds_at == Some(step_at) {
                continue;
            }
            for (outcome_at, outcome) in (0..).zip(&wait.outcomes) {
                let OutcomeOn::Trigger { trigger, since: Since::Start } = &outcome.on else { continue };
                if *trigger != *occurrence.trigger.as_str() {
                    continue;
                }
                let view = self.view(participant, version).of_event(occurrence.attributes);
                let of_this = |early: &&EarlyMatch| (early.step, early.outcome) == (step_at, outcome_at);
                let is_full = participant.early.iter().filter(of_this).count() >= EARLY_MAX;
                let found = holds(outcome.condition.as_ref(), &view);
                match found.and_then(|seen| if is_full { Err(NoMatch::Full) } else { Ok(seen) }) {
                    Ok(seen) => {
                        let (lsn, depth) = (self.ctx.lsn, occurrence.depth);
                        participant.early.push(EarlyMatch { step: step_at, outcome: outcome_at, lsn, depth });
                        let (id, step) = (participant.id, step.id.as_text().clone());
                        let outcome = trigger.as_text().clone();
                        self.trace(Entry::NotedEarly { participant: id, step, outcome, seen });
                    }
                    Err(why) => {
                        let what = what_of(version, step_at, outcome);
                        self.trace(not_matched(participant, what, why));
                    }
                }
            }
        }
    }

    /// Everyone inside the journey, for [`Apply::end_all`].
    pub(crate) fn all_inside(&self, journey: &str) -> BTreeMap<ParticipantId, Seen> {
        let inside = self.profile.participants.iter().filter(|participant| participant.journey == *journey);
        inside.map(|participant| (participant.id, Seen::new())).collect()
    }

    /// Ends the participants at once: timers are gone with them, planned sends are cancelled (J3). `leaving` says what
    /// the exit's condition saw. Answers who left, as they were.
    pub(crate) fn end_all(&mut self, mut leaving: BTreeMap<ParticipantId, Seen>, reason: &str) -> Vec<Participant> {
        if leaving.is_empty() {
            return Vec::new();
        }
        let leaves = |participant: &mut Participant| leaving.contains_key(&participant.id);
        let left: Vec<Participant> = self.profile.participants.extract_if(.., leaves).collect();
        let mut cancelled = self.take_sends(&leaving, reason);
        for participant in &left {
            for row in cancelled.remove(&participant.id).unwrap_or_default() {
                self.cancel(&row, reason);
            }
            self.end_by(participant, reason, leaving.remove(&participant.id).unwrap_or_default());
        }
        left
    }

    /// Takes the sends that are not on their way out of the outbox; those that are shall not be tried again.
    fn take_sends(
        &mut self,
        leaving: &BTreeMap<ParticipantId, Seen>,
        reason: &str,
    ) -> BTreeMap<ParticipantId, Vec<OutboxRow>> {
        let mut taken: BTreeMap<ParticipantId, Vec<OutboxRow>> = BTreeMap::new();
        self.profile.outbox.retain_mut(|row| {
            match row.kind {
                OutboxKind::Send(_) if leaving.contains_key(&row.participant) => {}
                // NOTE: a raise is the step's own act, done when the step was; only sends have a later moment.
                OutboxKind::Send(_) | OutboxKind::Raise(_) => return true,
            }
            match row.state {
                OutboxState::Planned | OutboxState::Deferred { .. } => {
                    taken.entry(row.participant).or_default().push(row.clone());
                    false
                }
                OutboxState::Claimed | OutboxState::Unknown => {
                    row.unwanted = Some(reason.into());
                    true
                }
            }
        });
        taken
    }

    /// Tells of a send that was taken out of the outbox because nobody wants it any more.
    pub(crate) fn cancel(&mut self, row: &OutboxRow, reason: &str) {
        let OutboxKind::Send(rendered) = &row.kind else { return };
        self.trace(Entry::Cancelled { effect: row.effect, message: rendered.message.clone() });
        self.send_changed(row, SendState::Cancelled { reason: reason.into() });
    }
}

/// Whether the event acts on the participant at all (J6).
fn concerns(participant: &Participant, occurrence: Occurrence<'_>) -> Result<(), NoMatch> {
    if binding::acts(participant.binding_id.as_deref(), occurrence.binding_id) {
        return Ok(());
    }
    Err(NoMatch::OtherBinding { started_with: participant.binding_id.clone().unwrap_or_default() })
}

/// The goals on the event's trigger that are not yet reached.
fn open_goals<'a>(
    version: &'a JourneyVersion,
    record: &'a JourneyRecord,
    occurrence: Occurrence<'a>,
) -> impl Iterator<Item = &'a Goal> {
    let on_trigger = |goal: &&Goal| goal.listener.trigger == *occurrence.trigger.as_str();
    let goals = version.goals.iter().filter(on_trigger);
    goals.filter(|goal| !record.goals.iter().any(|(name, _)| *name == *goal.name.as_text()))
}

fn test_goal(record: &JourneyRecord, goal: &Goal, participant: Option<ParticipantId>, view: &View<'_>) -> GoalTested {
    let found = holds(goal.listener.condition.as_ref(), view);
    GoalTested { journey: record.journey.clone(), goal: goal.name.as_text().clone(), participant, found }
}

/// The outcomes on `trigger` of the wait that the participant holds at.
fn outcomes_on<'a>(
    participant: &Participant,
    version: &'a JourneyVersion,
    trigger: &'a str,
) -> impl Iterator<Item = &'a Outcome> {
    let outcomes: &[Outcome] = match (&participant.holding, &version.step(participant.step).kind) {
        (Holding::WaitFor { .. }, StepKind::WaitFor(wait)) => &wait.outcomes,
        _ => &[],
    };
    outcomes.iter().filter(move |outcome| match &outcome.on {
        OutcomeOn::Trigger { trigger: wanted, .. } => *wanted == *trigger,
        OutcomeOn::Interaction { .. } => false,
    })
}

fn name_of(outcome: &Outcome) -> &Text {
    match &outcome.on {
        OutcomeOn::Trigger { trigger, .. } => trigger.as_text(),
        OutcomeOn::Interaction { interaction, .. } => interaction.as_text(),
    }
}

fn what_of(version: &JourneyVersion, step: StepIndex, outcome: &Outcome) -> String {
    format!("{} at {}", name_of(outcome), version.step(step).id)
}

fn not_matched(participant: &Participant, what: String, why: NoMatch) -> Entry {
    let (id, journey) = (participant.id, participant.journey.clone());
    Entry::NotMatched { participant: Some(id), journey, what: what.into(), why }
}
