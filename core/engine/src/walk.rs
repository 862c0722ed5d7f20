//! One step after the other, until the participant must hold or has come to its end (J10–J12, J15, J16).

use crate::facts::View;
use crate::listeners::{Tested, test};
use crate::room;
use crate::state::{Holding, OutboxKind, OutboxRow, OutboxState, Participant, Raised};
use crate::trace::{Entry, Seen};
use crate::transition::{Effect, Ended};
use crate::{Apply, RAISE_DEPTH_MAX, STEPS_MAX};
use catalog::{JourneyVersion, Mapping, Next, SplitArm, Step, StepKind};
use condition::Condition;
use model::journey::Policy;
use model::{Attributes, EffectId, Name, ParticipantId, Text, Value};
use std::sync::Arc;

/// Where a step leads.
pub(crate) enum Flow {
    Go(Next),
    /// `holding` and `timer` are set: the participant stays.
    Hold,
    /// The participant ends with this reason; nothing planned is cancelled (J3).
    End(Text),
}

impl Apply<'_> {
    pub(crate) fn view<'v>(&'v self, participant: &'v Participant, version: &'v JourneyVersion) -> View<'v> {
        View::of_steps(participant, version, &self.profile.attributes, self.ctx.now)
    }

    /// As the condition of a start sees an event: nobody is inside yet.
    pub(crate) fn view_of_event<'v>(&'v self, event: &'v Attributes, version: &'v JourneyVersion) -> View<'v> {
        let zone = version.zone.as_deref();
        View { event, profile: &self.profile.attributes, inside: None, zone, now: self.ctx.now }
    }

    /// Walks the participant, which was taken out of the profile, from `next` on, and puts it back at `at` unless it
    /// came to its end.
    pub(crate) fn walk_at(&mut self, at: usize, mut participant: Participant, version: &JourneyVersion, next: Next) {
        if self.walk(&mut participant, version, next) {
            room::insert(&mut self.profile.participants, at, participant);
        }
    }

    /// Whether the participant is still inside.
    pub(crate) fn walk(&mut self, participant: &mut Participant, version: &JourneyVersion, mut next: Next) -> bool {
        let mut steps = 0;
        loop {
            let Some(index) = next else {
                self.end(participant, "completed");
                return false;
            };
            participant.step = index;
            let step = version.step(index);
            steps += 1;
            if steps > STEPS_MAX {
                self.park(participant, step, "runaway".into());
                return true;
            }
            self.trace(Entry::Entered { participant: participant.id, step: step.id.as_text().clone() });
            match self.step(participant, version, step) {
                Flow::Go(onwards) => next = onwards,
                Flow::Hold => return true,
                Flow::End(reason) => {
                    self.end(participant, &reason);
                    return false;
                }
            }
        }
    }

    fn step(&mut self, participant: &mut Participant, version: &JourneyVersion, step: &Step) -> Flow {
        match &step.kind {
            StepKind::Send { message } => self.plan_send(participant, version, step, message),
            StepKind::Wait(wait) => self.begin_wait(participant, version, step, wait),
            StepKind::WaitFor(wait) => self.begin_wait_for(participant, version, step, wait),
            StepKind::Branch { arms, otherwise } => self.branch(participant, version, step, arms, *otherwise),
            StepKind::Split { arms, weights_sum } => self.split(participant, step, arms, *weights_sum),
            StepKind::Update { attributes } => self.update_attributes(participant, version, step, attributes),
            StepKind::Raise { trigger, attributes, binding_id } => {
                self.raise(participant, version, step, trigger, attributes, binding_id.as_ref())
            }
            StepKind::GoTo(target) => Flow::Go(Some(*target)),
            StepKind::Exit { reason } => Flow::End(reason.clone()),
            // A timer or provider that comes back to a version which cannot be compiled any more.
            StepKind::Inert => self.fail(participant, step, "version_inert".into()),
        }
    }

    /// J11: the first arm whose condition holds, else `otherwise`. A condition that lacks data fails the step (J10).
    fn branch(
        &mut self,
        participant: &mut Participant,
        version: &JourneyVersion,
        step: &Step,
        arms: &[(Condition, Next)],
        otherwise: Next,
    ) -> Flow {
        let mut seen_by_all = Seen::new();
        for (condition, next) in arms {
            match test(Some(condition), &self.view(participant, version)) {
                Tested::True(seen) => {
                    let arm = Text::from(condition.source());
                    self.trace(Entry::Branched { participant: participant.id, step: id_of(step), arm, seen });
                    return Flow::Go(*next);
                }
                Tested::False(seen) => {
                    let new: Seen = seen.into_iter().filter(|one| !seen_by_all.contains(one)).collect();
                    seen_by_all.extend(new);
                }
                Tested::Failed(why) => return self.fail(participant, step, why),
            }
        }
        let seen = seen_by_all;
        self.trace(Entry::Branched { participant: participant.id, step: id_of(step), arm: "otherwise".into(), seen });
        Flow::Go(otherwise)
    }

    /// J11: by hash of participant and step, the same for ever (trap T52).
    fn split(&mut self, participant: &Participant, step: &Step, arms: &[SplitArm], weights_sum: u64) -> Flow {
        let point = (u64::from(participant.id.split_point(&step.id)) * weights_sum) >> 32;
        let mut upper = 0;
        for arm in arms {
            upper += u64::from(arm.weight);
            if point < upper {
                let name = arm.name.as_text().clone();
                self.trace(Entry::SplitInto { participant: participant.id, step: id_of(step), arm: name });
                return Flow::Go(arm.next);
            }
        }
        unreachable!("INVARIANT: the weights of step {} sum to {weights_sum}", step.id)
    }

    fn update_attributes(
        &mut self,
        participant: &mut Participant,
        version: &JourneyVersion,
        step: &Step,
        mappings: &[(Text, Mapping)],
    ) -> Flow {
        let values = match self.map(participant, version, mappings) {
            Ok(values) => values,
            Err(why) => return self.fail(participant, step, why),
        };
        let names = self.set_attributes(&values);
        self.trace(Entry::Updated { participant: participant.id, step: id_of(step), names });
        Flow::Go(step.next)
    }

    fn raise(
        &mut self,
        participant: &mut Participant,
        version: &JourneyVersion,
        step: &Step,
        trigger: &Name,
        mappings: &[(Text, Mapping)],
        binding_id: Option<&Mapping>,
    ) -> Flow {
        if participant.depth >= RAISE_DEPTH_MAX {
            return self.fail(participant, step, "raise_depth".into());
        }
        // What the steps of a journey say is checked like what a sender says (E8).
        let attributes =
            self.map(participant, version, mappings).and_then(|attributes| self.check_raised(trigger, attributes));
        let attributes = match attributes {
            Ok(attributes) => attributes,
            Err(why) => return self.fail(participant, step, why),
        };
        let binding_id = match binding_id.map(|mapping| self.map_one(participant, version, mapping)).transpose() {
            Ok(value) => value.and_then(|value| binding_text(&value)),
            Err(why) => return self.fail(participant, step, why),
        };
        let effect = self.visit(participant, step);
        let depth = participant.depth + 1;
        let raised = Arc::new(Raised { trigger: trigger.as_text().clone(), attributes, binding_id, depth });
        let row = OutboxRow {
            effect,
            participant: participant.id,
            journey: participant.journey.clone(),
            step: id_of(step),
            planned_at: self.ctx.now,
            kind: OutboxKind::Raise(Arc::clone(&raised)),
            state: OutboxState::Planned,
            attempts: 0,
            to: None,
            unwanted: None,
        };
        room::push(&mut self.profile.outbox, row);
        let name = trigger.as_text().clone();
        self.trace(Entry::Raised { participant: participant.id, step: id_of(step), trigger: name });
        self.out.effects.push(Effect::Raise { effect, journey: participant.journey.clone(), raised });
        Flow::Go(step.next)
    }

    fn check_raised(&self, trigger: &Name, attributes: Attributes) -> Result<Attributes, Text> {
        let Some(declared) = self.ctx.catalog.trigger(trigger) else {
            return Err(format!("the trigger {trigger} is gone").into());
        };
        let checked = declared.check(attributes).map_err(|misfit| Text::from(misfit.to_string()))?;
        Ok(checked.attributes)
    }

    fn map(
        &self,
        participant: &Participant,
        version: &JourneyVersion,
        mappings: &[(Text, Mapping)],
    ) -> Result<Attributes, Text> {
        mappings
            .iter()
            .map(|(name, mapping)| Ok((name.clone(), self.map_one(participant, version, mapping)?)))
            .collect()
    }

    fn map_one(&self, participant: &Participant, version: &JourneyVersion, mapping: &Mapping) -> Result<Value, Text> {
        match mapping {
            Mapping::Fixed(value) => Ok(value.clone()),
            Mapping::From(expression) => {
                let value = expression
                    .evaluate(&self.view(participant, version))
                    .map_err(|lack| Text::from(lack.to_string()))?;
                // A step that wraps what it reads would nest deeper at each visit.
                if value.depth() > Value::DEPTH_MAX {
                    return Err(format!("{} nests deeper than {} levels", expression.source(), Value::DEPTH_MAX).into());
                }
                Ok(value)
            }
        }
    }

    /// The id of the effect of this visit of a send or raise step (S4).
    pub(crate) fn visit(&self, participant: &mut Participant, step: &Step) -> EffectId {
        let index = participant.step;
        let visit = match participant.visits.iter_mut().find(|(visited, _)| *visited == index) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                room::push(&mut participant.visits, (index, 1));
                1
            }
        };
        EffectId::of(participant.id, &step.id, visit)
    }

    /// J16: a failed step follows its policy and never stalls anyone else.
    pub(crate) fn fail(&mut self, participant: &mut Participant, step: &Step, why: Text) -> Flow {
        self.trace(Entry::Failed { participant: participant.id, step: id_of(step), why: why.clone() });
        self.follow(step.on_failure, participant, step, why, "failed")
    }

    pub(crate) fn follow(
        &mut self,
        policy: Policy,
        participant: &mut Participant,
        step: &Step,
        why: Text,
        end: &str,
    ) -> Flow {
        match policy {
            Policy::Continue => Flow::Go(step.next),
            Policy::Exit => Flow::End(end.into()),
            Policy::Park => {
                self.park(participant, step, why);
                Flow::Hold
            }
        }
    }

    pub(crate) fn park(&mut self, participant: &mut Participant, step: &Step, reason: Text) {
        participant.timer = None;
        participant.holding = Holding::Parked { reason: reason.clone() };
        self.trace(Entry::Parked { participant: participant.id, step: id_of(step), reason });
    }

    /// Notes the end of a participant that was taken out of the profile.
    pub(crate) fn end(&mut self, participant: &Participant, reason: &str) {
        self.end_by(participant, reason, Seen::new());
    }

    /// `seen` is what the exit's condition saw.
    pub(crate) fn end_by(&mut self, participant: &Participant, reason: &str, seen: Seen) {
        let now = self.ctx.now;
        let version = self.version_of(participant);
        let step = id_of(version.step(participant.step));
        if let Ok(at) = self.profile.journeys.binary_search_by(|record| record.journey.cmp(&participant.journey)) {
            self.profile.journeys[at].last_ended_at = Some(now);
        }
        self.trace(Entry::Ended {
            participant: participant.id,
            journey: participant.journey.clone(),
            step: step.clone(),
            reason: reason.into(),
            seen,
        });
        self.out.ended.push(Ended {
            participant: participant.id,
            journey: participant.journey.clone(),
            version: participant.version,
            entry: participant.entry,
            started_at: participant.started_at,
            ended_at: now,
            step,
            reason: reason.into(),
        });
    }

    /// Takes the participant `id` out of the profile and lets `act` say where it goes.
    pub(crate) fn resume(
        &mut self,
        id: ParticipantId,
        act: impl FnOnce(&mut Self, &mut Participant, &JourneyVersion) -> Flow,
    ) {
        let Some(at) = self.profile.participants.iter().position(|participant| participant.id == id) else { return };
        let mut participant = self.profile.participants.remove(at);
        let version = self.version_of(&participant);
        match act(self, &mut participant, &version) {
            Flow::Go(next) => self.walk_at(at, participant, &version, next),
            Flow::Hold => room::insert(&mut self.profile.participants, at, participant),
            Flow::End(reason) => self.end(&participant, &reason),
        }
    }
}

pub(crate) fn id_of(step: &Step) -> Text {
    step.id.as_text().clone()
}

/// A binding id is text; a number is written as one.
fn binding_text(value: &Value) -> Option<Text> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string().into()),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
    }
}
