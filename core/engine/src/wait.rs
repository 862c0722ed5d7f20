//! Waits: when they end, and what a timer means when it fires (J7–J9, J2).

use crate::Apply;
use crate::state::{Holding, OutboxState, Participant};
use crate::trace::{Entry, Ignored, WaitFlag};
use crate::transition::Effect;
use crate::walk::{Flow, id_of};
use calendar::Zone;
use catalog::{JourneyVersion, OutcomeOn, Step, StepKind, Wait, WaitFor, WaitUntil};
use model::journey::{LatePolicy, OnMissingDate};
use model::{Lsn, Text, Timestamp, Value};

/// When a wait ends.
enum End {
    At(Timestamp, Option<WaitFlag>),
    /// The date is missing or unreadable.
    MissingDate(OnMissingDate),
}

impl Apply<'_> {
    /// J7: `fire_at` is fixed here and never moved. An instant that is now or past goes on at once.
    pub(crate) fn begin_wait(
        &mut self,
        participant: &mut Participant,
        version: &JourneyVersion,
        step: &Step,
        wait: &Wait,
    ) -> Flow {
        let resolved = catalog::zone_of(self.profile.time_zone(), version);
        let mut flags: Vec<WaitFlag> = resolved.invalid.into_iter().map(WaitFlag::InvalidZone).collect();
        let fire_at = match self.wait_end(participant, version, &wait.until, &resolved.zone) {
            End::At(fire_at, flag) => {
                flags.extend(flag);
                fire_at
            }
            End::MissingDate(on_missing) => return self.missing_date(participant, step, on_missing),
        };
        if fire_at <= self.ctx.now {
            let why = Text::from(format!("{fire_at} is now or past"));
            self.trace(Entry::NotWaited { participant: participant.id, step: id_of(step), why });
            return Flow::Go(step.next);
        }
        self.hold_until(participant, step, fire_at, flags, Holding::Wait)
    }

    fn hold_until(
        &mut self,
        participant: &mut Participant,
        step: &Step,
        fire_at: Timestamp,
        flags: Vec<WaitFlag>,
        holding: Holding,
    ) -> Flow {
        participant.holding = holding;
        participant.timer = Some(self.new_timer(fire_at));
        self.trace(Entry::Waiting { participant: participant.id, step: id_of(step), until: fire_at, flags });
        Flow::Hold
    }

    fn wait_end(&self, participant: &Participant, version: &JourneyVersion, until: &WaitUntil, zone: &Zone) -> End {
        let now = self.ctx.now;
        match until {
            WaitUntil::For(span) => End::At(calendar::add(now, span, zone), None),
            WaitUntil::Time { time, days } => End::At(calendar::next_time(now, *time, *days, zone), None),
            WaitUntil::Window(window) => End::At(calendar::next_in_window(now, window, zone), None),
            WaitUntil::Instant(text) => match calendar::read_instant(text, zone) {
                Some(read) => End::At(read.at, read.local.then_some(WaitFlag::LocalDateTime)),
                None => End::MissingDate(OnMissingDate::Error),
            },
            WaitUntil::Attribute { path, offset, on_missing } => {
                let value = path.evaluate(&self.view(participant, version)).ok();
                let Some(read) =
                    value.as_ref().and_then(Value::as_text).and_then(|text| calendar::read_instant(text, zone))
                else {
                    return End::MissingDate(*on_missing);
                };
                let fire_at = offset.as_ref().map_or(read.at, |offset| calendar::add(read.at, offset, zone));
                End::At(fire_at, read.local.then_some(WaitFlag::LocalDateTime))
            }
        }
    }

    /// It never means "now" (trap T47).
    fn missing_date(&mut self, participant: &mut Participant, step: &Step, on_missing: OnMissingDate) -> Flow {
        match on_missing {
            OnMissingDate::Skip => {
                let why = "its date is missing or unreadable".into();
                self.trace(Entry::NotWaited { participant: participant.id, step: id_of(step), why });
                Flow::Go(step.next)
            }
            OnMissingDate::Exit => Flow::End("missing_date".into()),
            // A failed step like any other (J16): it parks, unless the step says otherwise.
            OnMissingDate::Error => self.fail(participant, step, "missing_date".into()),
        }
    }

    /// J9. What is already true on arrival goes on at once; of several the earliest in the log.
    pub(crate) fn begin_wait_for(
        &mut self,
        participant: &mut Participant,
        version: &JourneyVersion,
        step: &Step,
        wait: &WaitFor,
    ) -> Flow {
        if let Some(flow) = self.already_true(participant, version, wait) {
            return flow;
        }
        let resolved = catalog::zone_of(self.profile.time_zone(), version);
        let flags = resolved.invalid.into_iter().map(WaitFlag::InvalidZone).collect();
        let fire_at = calendar::add(self.ctx.now, &wait.up_to, &resolved.zone);
        self.hold_until(participant, step, fire_at, flags, Holding::WaitFor { since: self.ctx.lsn })
    }

    fn already_true(
        &mut self,
        participant: &mut Participant,
        version: &JourneyVersion,
        wait: &WaitFor,
    ) -> Option<Flow> {
        // Every candidate that could satisfy an outcome, earliest in the log first; document order breaks ties.
        let mut candidates: Vec<(Lsn, usize, Option<usize>)> = Vec::new();
        for (outcome_at, outcome) in wait.outcomes.iter().enumerate() {
            match &outcome.on {
                OutcomeOn::Trigger { .. } => {
                    let early = participant
                        .early
                        .iter()
                        .filter(|early| early.step == participant.step && usize::from(early.outcome) == outcome_at);
                    candidates.extend(early.map(|early| (early.lsn, outcome_at, None)));
                }
                OutcomeOn::Interaction { interaction, of } => {
                    let Some(sent) = participant.sends.iter().find(|sent| sent.step == *of) else { continue };
                    let seen = sent
                        .interactions
                        .iter()
                        .enumerate()
                        .filter(|(_, seen)| !seen.consumed && seen.interaction == *interaction.as_str());
                    candidates.extend(seen.map(|(at, seen)| (seen.lsn, outcome_at, Some(at))));
                }
            }
        }
        candidates.sort();
        for (lsn, outcome_at, interaction_at) in candidates {
            let outcome = &wait.outcomes[outcome_at];
            let next = match (&outcome.on, interaction_at) {
                (OutcomeOn::Interaction { interaction: _, of }, Some(at)) => {
                    let sent = participant.sends.iter().find(|sent| sent.step == *of)?;
                    let attributes = sent.interactions[at].attributes.clone();
                    self.try_outcome(participant, version, outcome, &attributes)
                }
                (OutcomeOn::Trigger { trigger, .. } | OutcomeOn::Interaction { interaction: trigger, .. }, _) => {
                    // An early match was tested on its event when that came; it is not tested again.
                    let early = participant.early.iter().find(|early| early.lsn == lsn);
                    participant.depth = participant.depth.max(early.map_or(0, |early| early.depth));
                    let (step, name) = (id_of(version.step(participant.step)), trigger.as_text().clone());
                    let seen = Vec::new();
                    self.trace(Entry::OutcomeMatched { participant: participant.id, step, outcome: name, seen });
                    Some(outcome.next)
                }
            };
            if let Some(next) = next {
                consume(participant, lsn);
                return Some(Flow::Go(next));
            }
        }
        None
    }

    /// A timer concerns whoever still holds its `seq`; nobody else (J2).
    pub(crate) fn timer(&mut self, fire_at: Timestamp, seq: u64) {
        let holds = |participant: &&Participant| participant.timer.is_some_and(|timer| timer.seq == seq);
        if let Some(participant) = self.profile.participants.iter().find(holds) {
            let id = participant.id;
            self.resume(id, |apply, participant, version| apply.timed_out(participant, version, fire_at));
            return;
        }
        let deferred = self.profile.outbox.iter_mut().find(|row| match row.state {
            OutboxState::Deferred { timer } => timer.seq == seq,
            OutboxState::Planned | OutboxState::Claimed | OutboxState::Unknown => false,
        });
        let Some(row) = deferred else {
            self.trace(Entry::Ignored(Ignored::StaleTimer));
            return;
        };
        row.state = OutboxState::Planned;
        if let crate::state::OutboxKind::Send(rendered) = &row.kind {
            self.out.effects.push(Effect::Planned { effect: row.effect, channel: rendered.channel.clone() });
        }
    }

    fn timed_out(&mut self, participant: &mut Participant, version: &JourneyVersion, fire_at: Timestamp) -> Flow {
        participant.timer = None;
        let step = version.step(participant.step);
        self.trace(Entry::TimedOut { participant: participant.id, step: id_of(step) });
        match &step.kind {
            StepKind::WaitFor(wait) => Flow::Go(wait.otherwise),
            StepKind::Wait(wait) => self.leave_wait(participant, version, step, wait, fire_at),
            StepKind::Inert => self.fail(participant, step, "version_inert".into()),
            StepKind::Send { .. }
            | StepKind::Branch { .. }
            | StepKind::Split { .. }
            | StepKind::Update { .. }
            | StepKind::Raise { .. }
            | StepKind::GoTo(_)
            | StepKind::Exit { .. } => unreachable!("INVARIANT: only waits set a participant's timer, not {}", step.id),
        }
    }

    /// O2: a timer that comes too late, since the system was down, follows the step's `late`.
    fn leave_wait(
        &mut self,
        participant: &mut Participant,
        version: &JourneyVersion,
        step: &Step,
        wait: &Wait,
        fire_at: Timestamp,
    ) -> Flow {
        let Some(limit) = &wait.if_late_over else { return Flow::Go(step.next) };
        let zone = catalog::zone_of(self.profile.time_zone(), version).zone;
        if self.ctx.now <= calendar::add(fire_at, limit, &zone) {
            return Flow::Go(step.next);
        }
        match wait.late {
            LatePolicy::Continue => Flow::Go(step.next),
            LatePolicy::Exit => Flow::End("late".into()),
            LatePolicy::Park => {
                self.park(participant, step, "late".into());
                Flow::Hold
            }
        }
    }
}

/// One event satisfies at most one wait (J9): what came with the record `lsn` is spent.
pub(crate) fn consume(participant: &mut Participant, lsn: Lsn) {
    participant.early.retain(|early| early.lsn != lsn);
    for sent in &mut participant.sends {
        for seen in sent.interactions.iter_mut().filter(|seen| seen.lsn == lsn) {
            seen.consumed = true;
        }
    }
}
