//! What conditions, mappings and templates can see: borrowed views of the state, nothing copied.

use crate::state::{Participant, time_zone_of};
use calendar::Zone;
use catalog::JourneyVersion;
use model::{Attributes, Timestamp};
use template::DataRef;

/// The roots `event`, `profile`, `trigger.<name>` at one moment (design §5).
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The event under test in a `where`; in steps and messages the one that started the participant (J10).
    pub event: &'a Attributes,
    pub profile: &'a Attributes,
    pub inside: Option<Inside<'a>>,
    /// The journey's (J8).
    pub zone: Option<&'a str>,
    pub now: Timestamp,
}

#[derive(Clone, Copy)]
pub(crate) struct Inside<'a> {
    pub participant: &'a Participant,
    pub version: &'a JourneyVersion,
}

impl<'a> View<'a> {
    /// As the steps of `participant` see it.
    pub fn of_steps(
        participant: &'a Participant,
        version: &'a JourneyVersion,
        profile: &'a Attributes,
        now: Timestamp,
    ) -> Self {
        let (inside, zone) = (Some(Inside { participant, version }), version.zone.as_deref());
        View { event: &participant.event, profile, inside, zone, now }
    }

    /// As a `where` sees the event `event`.
    pub fn of_event(self, event: &'a Attributes) -> Self {
        View { event, ..self }
    }

    /// The last event of the trigger `name` seen while inside.
    pub fn trigger(&self, name: &str) -> Option<&'a Attributes> {
        let Inside { participant, version } = self.inside?;
        match participant.seen.iter().find(|seen| seen.trigger == *name) {
            Some(seen) => Some(&seen.attributes),
            None if version.start.listener.trigger == *name => Some(&participant.event),
            None => None,
        }
    }
}

impl condition::Facts for View<'_> {
    fn root(&self, root: &condition::Root) -> Option<&Attributes> {
        match root {
            condition::Root::Event => Some(self.event),
            condition::Root::Profile => Some(self.profile),
            condition::Root::Trigger(name) => self.trigger(name),
            // Records of business applications and answers of steps are not kept yet: what reads them lacks data.
            condition::Root::Record | condition::Root::Step(_) => None,
        }
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn zone(&self) -> Zone {
        Zone::resolve(time_zone_of(self.profile), self.zone).zone
    }
}

impl template::Data for View<'_> {
    fn root(&self, name: &str) -> Option<DataRef<'_>> {
        match name {
            "event" => Some(DataRef::Attributes(self.event)),
            "profile" => Some(DataRef::Attributes(self.profile)),
            "trigger" => Some(DataRef::Group(self)),
            _ => None,
        }
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

impl template::Group for View<'_> {
    fn member(&self, name: &str) -> Option<DataRef<'_>> {
        self.trigger(name).map(DataRef::Attributes)
    }
}
