//! Starts: who may enter, and with what (J4, J5, J10; J1 (6)).

use crate::Apply;
use crate::event::Occurrence;
use crate::listeners::{Tested, test};
use crate::room;
use crate::state::{Holding, JourneyRecord, Participant};
use crate::trace::{Entry, Refusal, Seen};
use catalog::{JourneyVersion, StepIndex};
use model::journey::RepeatMode;
use model::{ParticipantId, Text};
use std::sync::Arc;

impl Apply<'_> {
    /// J1 (6): every live journey that the trigger starts, in order of names.
    pub(crate) fn starts(&mut self, occurrence: Occurrence<'_>) {
        let catalog = self.ctx.catalog;
        for version in catalog.starts(occurrence.trigger) {
            match self.may_enter(version, occurrence) {
                Ok(seen) => self.enter(version, occurrence, seen),
                Err(refusal) => {
                    let (journey, version) = (version.journey.as_text().clone(), version.version);
                    self.trace(Entry::StartRefused { journey, version, refusal });
                }
            }
        }
    }

    /// What the condition saw, or the first reason against it.
    fn may_enter(&self, version: &JourneyVersion, occurrence: Occurrence<'_>) -> Result<Seen, Refusal> {
        let now = self.ctx.now;
        let start = &version.start;
        if start.from.is_some_and(|from| now < from) {
            return Err(Refusal::BeforeWindow);
        }
        if start.to.is_some_and(|to| now >= to) {
            return Err(Refusal::AfterWindow);
        }
        let seen = match test(start.listener.condition.as_ref(), &self.view_of_event(occurrence.attributes, version)) {
            Tested::True(seen) => seen,
            Tested::False(seen) => return Err(Refusal::ConditionFalse { seen }),
            Tested::Failed(why) => return Err(Refusal::ConditionError { why }),
        };
        self.may_repeat(version, occurrence)?;
        // Those whom a restart ends make room.
        let ends = |participant: &&Participant| {
            start.repeat == RepeatMode::Restart && participant.journey == *version.journey.as_str()
        };
        let staying = self.profile.participants.iter().filter(|participant| !ends(participant)).count();
        if staying >= self.ctx.limits.participants_max {
            return Err(Refusal::TooManyInside);
        }
        Ok(seen)
    }

    /// J4.
    fn may_repeat(&self, version: &JourneyVersion, occurrence: Occurrence<'_>) -> Result<(), Refusal> {
        let (now, start) = (self.ctx.now, &version.start);
        let journey = version.journey.as_str();
        let record = self.profile.journey(journey);
        let mut inside = self.profile.participants.iter().filter(|participant| participant.journey == *journey);
        match start.repeat {
            RepeatMode::Once if record.is_some() => Err(Refusal::AlreadyOnce),
            RepeatMode::OnceAtATime if inside.next().is_some() => Err(Refusal::StillInside),
            RepeatMode::After => {
                let (Some(record), Some(delay)) = (record, &start.delay) else { return Ok(()) };
                let zone = catalog::zone_of(self.profile.time_zone(), version).zone;
                let next_at = calendar::add(record.last_entered_at, delay, &zone);
                if now < next_at { Err(Refusal::TooSoon { next_at }) } else { Ok(()) }
            }
            RepeatMode::Always => {
                let same = inside.any(|participant| {
                    catalog::binding::is_same(participant.binding_id.as_deref(), occurrence.binding_id)
                });
                if same { Err(Refusal::SameBinding) } else { Ok(()) }
            }
            RepeatMode::Once | RepeatMode::OnceAtATime | RepeatMode::Restart => Ok(()),
        }
    }

    fn enter(&mut self, version: &Arc<JourneyVersion>, occurrence: Occurrence<'_>, seen: Seen) {
        let journey = version.journey.as_text();
        if version.start.repeat == RepeatMode::Restart {
            let leaving = self.all_inside(journey);
            self.end_all(leaving, "restarted");
        }
        let entry = self.count_entry(journey);
        let participant = Participant {
            id: ParticipantId::of(self.profile.id, journey, entry),
            journey: journey.clone(),
            version: version.version,
            entry,
            started_at: self.ctx.now,
            started_lsn: self.ctx.lsn,
            binding_id: occurrence.binding_id.map(Text::from),
            depth: occurrence.depth,
            event: occurrence.attributes.clone(),
            seen: Vec::new(),
            early: Vec::new(),
            sends: Vec::new(),
            visits: Vec::new(),
            step: StepIndex(0),
            holding: Holding::Wait,
            timer: None,
        };
        let (id, version_number) = (participant.id, version.version);
        self.trace(Entry::Started { participant: id, journey: journey.clone(), version: version_number, entry, seen });
        let at = self.profile.participants.len();
        self.walk_at(at, participant, version, Some(StepIndex(0)));
    }

    /// Notes the entry in the journey's record; answers its number, from 1.
    fn count_entry(&mut self, journey: &Text) -> u32 {
        let now = self.ctx.now;
        match self.profile.journeys.binary_search_by(|record| record.journey.cmp(journey)) {
            Ok(at) => {
                let record = &mut self.profile.journeys[at];
                record.entries += 1;
                record.last_entered_at = now;
                record.entries
            }
            Err(at) => {
                let record = JourneyRecord {
                    journey: journey.clone(),
                    entries: 1,
                    last_entered_at: now,
                    last_ended_at: None,
                    goals: Vec::new(),
                };
                room::insert(&mut self.profile.journeys, at, record);
                1
            }
        }
    }
}
