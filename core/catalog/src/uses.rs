//! Who uses which triggers and messages (C7), read from the documents.

use crate::{Catalog, JourneyVersion, mappings};
use model::Name;
use model::document::{DocumentId, Kind};
use model::journey::{self as doc, Journey, JourneyState};
use std::collections::BTreeSet;
use std::fmt;

/// One place where a journey uses a trigger or a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub journey: Name,
    pub live: bool,
    /// Of an older version that people may still be inside of; None: the journey as its document says it now.
    pub version: Option<u32>,
    pub role: Role,
    /// Of roles within a step.
    pub step: Option<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Start,
    Exit,
    Goal,
    WaitFor,
    Raise,
    /// A condition, mapping or message reads `trigger.<name>`.
    Reads,
    Send,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Start => "start",
            Role::Exit => "exit",
            Role::Goal => "goal",
            Role::WaitFor => "wait_for",
            Role::Raise => "raise",
            Role::Reads => "reads",
            Role::Send => "send",
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(version) = self.version {
            write!(f, "version {version} of ")?;
        }
        let live = if self.live { "live " } else { "" };
        write!(f, "the {live}journey {} ({}", self.journey, self.role.as_str())?;
        match &self.step {
            Some(step) => write!(f, " in step {step})"),
            None => f.write_str(")"),
        }
    }
}

/// What `journey` uses as its document says it now, and where.
pub(crate) fn of_document(catalog: &Catalog, journey: &Name, spec: &Journey) -> BTreeSet<(DocumentId, Use)> {
    let compiled = catalog.journey(journey).and_then(|journey| journey.versions.last());
    of(catalog, journey, spec, compiled.map(AsRef::as_ref), None)
}

/// What those inside an older version of a journey need; nobody enters it any more.
pub(crate) fn of_older(catalog: &Catalog, version: &JourneyVersion) -> BTreeSet<(DocumentId, Use)> {
    let mut found = of(catalog, &version.journey, version.spec(), Some(version), Some(version.version));
    found.retain(|(_, by)| by.role != Role::Start);
    found
}

fn of(
    catalog: &Catalog,
    journey: &Name,
    spec: &Journey,
    compiled: Option<&JourneyVersion>,
    version: Option<u32>,
) -> BTreeSet<(DocumentId, Use)> {
    let mut found = BTreeSet::new();
    let live = spec.state == JourneyState::Live;
    let mut add = |kind: Kind, name: &Name, role: Role, step: Option<&Name>| {
        let id = DocumentId { kind, name: name.clone() };
        found.insert((id, Use { journey: journey.clone(), live, version, role, step: step.cloned() }));
    };
    add(Kind::Trigger, &spec.start.trigger, Role::Start, None);
    spec.exits.iter().for_each(|exit| add(Kind::Trigger, &exit.trigger, Role::Exit, None));
    spec.goals.iter().for_each(|goal| add(Kind::Trigger, &goal.trigger, Role::Goal, None));
    doc::for_each_step(&spec.steps, &mut |step| {
        let outcomes = step.wait_for.iter().flat_map(|wait| &wait.outcomes);
        for name in outcomes.flat_map(|outcome| outcome.trigger.iter().chain(&outcome.interaction)) {
            add(Kind::Trigger, name, Role::WaitFor, Some(&step.id));
        }
        if let Some(raise) = &step.raise {
            add(Kind::Trigger, &raise.trigger, Role::Raise, Some(&step.id));
        }
        if let Some(send) = &step.send {
            add(Kind::Message, &send.message, Role::Send, Some(&step.id));
        }
    });
    for name in compiled.map(|compiled| mappings::remembers(catalog, compiled)).unwrap_or_default() {
        add(Kind::Trigger, &name, Role::Reads, None);
    }
    found
}
