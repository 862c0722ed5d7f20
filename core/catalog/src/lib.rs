//! Documents compiled and checked: the immutable form that the engine runs on.
//!
//! `compiled` is that form. `triggers`, `messages`, `compile` with `steps` and `mappings`, and `tests_of_journeys` make
//! it from documents and find what is wrong with them (J14); `codes` lists what they can find, `scope` says what may be
//! read where, `flow` looks at a journey's steps as a graph, `uses` at who uses what. `schema` reads an event's
//! attributes by its trigger's (E8), `builtin` lists the triggers that need no document (C8, C10), `binding` compares
//! binding ids (J6).
//!
//! Only findings about live journeys refuse a publish: those about a draft or stopped one are warnings, so that
//! half-done work can be kept. What nobody uses is no finding.

pub mod binding;
pub mod builtin;
pub mod codes;
mod compile;
pub mod compiled;
mod flow;
mod mappings;
mod messages;
mod schema;
mod scope;
mod steps;
mod tests_of_journeys;
mod triggers;
mod uses;

pub use compiled::*;
pub use schema::{Checked, Misfit};
pub use uses::{Role, Use};

use model::document::{DocumentId, Kind, Spec};
use model::journey::JourneyState;
use model::trigger::TriggerState;
use model::{CatalogVersion, Document, Finding, Name, Severity, Text};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything published, at one version. Cheap to share and never changed: a publish makes a new one.
#[derive(Clone, Debug)]
pub struct Catalog {
    version: CatalogVersion,
    documents: BTreeMap<DocumentId, Held>,
    triggers: BTreeMap<Text, Arc<Trigger>>,
    messages: BTreeMap<Text, Arc<Message>>,
    journeys: BTreeMap<Text, Arc<Journey>>,
    /// The live versions that a trigger starts, in order of journeys' names.
    starts: BTreeMap<Text, Vec<Arc<JourneyVersion>>>,
}

/// A document with how often it was changed.
#[derive(Clone, Debug)]
pub struct Held {
    pub version: u32,
    pub document: Arc<Document>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Put(Document),
    Remove(DocumentId),
}

/// What [`Catalog::with`] gives.
#[derive(Debug)]
pub struct Built {
    /// None when a finding is an error: nothing is changed then.
    pub catalog: Option<Catalog>,
    pub findings: Vec<Finding>,
    pub plan: Vec<PlanLine>,
}

/// Where the documents that are compiled come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Somebody wants to publish them: what is wrong refuses them.
    Publish,
    /// They were published, perhaps when the checks were others: people are inside, and there is no refusing them.
    History,
}

/// What a change does to one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanLine {
    pub id: DocumentId,
    pub action: Action,
    /// The document's version afterwards.
    pub version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Update,
    Delete,
    Unchanged,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Unchanged => "unchanged",
        }
    }
}

impl Catalog {
    /// The built-in triggers alone, version 0.
    pub fn empty() -> Self {
        let triggers = builtin::BUILTINS.iter().map(|builtin| {
            let trigger = triggers::builtin_trigger(builtin);
            (trigger.name.as_text().clone(), Arc::new(trigger))
        });
        Catalog {
            version: CatalogVersion(0),
            documents: BTreeMap::new(),
            triggers: triggers.collect(),
            messages: BTreeMap::new(),
            journeys: BTreeMap::new(),
            starts: BTreeMap::new(),
        }
    }

    pub fn version(&self) -> CatalogVersion {
        self.version
    }

    pub fn trigger(&self, name: &str) -> Option<&Arc<Trigger>> {
        self.triggers.get(name)
    }

    pub fn message(&self, name: &str) -> Option<&Arc<Message>> {
        self.messages.get(name)
    }

    pub fn journey(&self, name: &str) -> Option<&Arc<Journey>> {
        self.journeys.get(name)
    }

    pub fn journey_version(&self, name: &str, version: u32) -> Option<&Arc<JourneyVersion>> {
        self.journeys.get(name)?.version(version)
    }

    /// The live journey versions that `trigger` starts.
    pub fn starts(&self, trigger: &str) -> &[Arc<JourneyVersion>] {
        self.starts.get(trigger).map_or(&[], Vec::as_slice)
    }

    pub fn triggers(&self) -> impl Iterator<Item = &Arc<Trigger>> {
        self.triggers.values()
    }

    pub fn messages(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.messages.values()
    }

    pub fn journeys(&self) -> impl Iterator<Item = &Arc<Journey>> {
        self.journeys.values()
    }

    /// All documents, ordered by kind and name.
    pub fn documents(&self) -> impl Iterator<Item = (&DocumentId, &Held)> {
        self.documents.iter()
    }

    pub fn document(&self, id: &DocumentId) -> Option<&Held> {
        self.documents.get(id)
    }

    /// The known trigger whose name is nearest (E9).
    pub fn nearest_trigger(&self, name: &str) -> Option<&str> {
        model::nearest::nearest(name, self.triggers.keys().map(Text::as_str))
    }

    /// The catalog after `changes`, all or nothing: an error refuses them (J14). Documents that do not change are no change, and a journey whose
    /// document changed gets a new version beside the old ones, on which people may still be (J12).
    pub fn with(&self, version: CatalogVersion, changes: &[Change]) -> Built {
        let (next, findings, plan) = self.changed(version, changes, Source::Publish);
        let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
        Built { catalog: if refused { None } else { Some(next) }, findings, plan }
    }

    /// The catalog after `changes` that were published before, by this program or an older one. It cannot fail: a
    /// server must start with what it has, whatever newer checks say of it. What would refuse a publish today is answered
    /// as warnings. A live journey that cannot be compiled any more gets a version that is inert ([`JourneyVersion::is_inert`]); a message
    /// that cannot is gone, and its sends fail visibly.
    pub fn restored(&self, version: CatalogVersion, changes: &[Change]) -> (Catalog, Vec<Finding>) {
        let (next, findings, _) = self.changed(version, changes, Source::History);
        let refusing = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        (next, refusing.map(|finding| Finding { severity: Severity::Warning, ..finding }).collect())
    }

    fn changed(
        &self,
        version: CatalogVersion,
        changes: &[Change],
        source: Source,
    ) -> (Catalog, Vec<Finding>, Vec<PlanLine>) {
        let mut next = Catalog { version, ..self.clone() };
        let mut findings = duplicates(changes);
        let mut plan = Vec::new();
        let mut changed: BTreeSet<DocumentId> = BTreeSet::new();
        for change in changes {
            let line = next.take_over(change, &mut findings);
            if line.action != Action::Unchanged {
                changed.insert(line.id.clone());
            }
            plan.push(line);
        }
        for kind in Kind::ALL {
            // Triggers before messages before journeys: each is checked against those before it.
            let of_kind = changed.iter().filter(|id| id.kind == kind);
            of_kind.for_each(|id| next.compile(id, source, &mut findings));
        }
        if source == Source::Publish {
            next.check_dependents(&changed, &mut findings);
        }
        next.renew_remembers(&changed);
        next.index_starts();
        (next, findings, plan)
    }

    fn take_over(&mut self, change: &Change, findings: &mut Vec<Finding>) -> PlanLine {
        match change {
            Change::Put(document) => {
                let id = document.id();
                let held = self.documents.get(&id);
                findings.extend(held.and_then(|held| of_states(&held.document.spec, &document.spec, &id)));
                let (action, version) = match held {
                    Some(held) if *held.document == *document => (Action::Unchanged, held.version),
                    Some(held) => (Action::Update, held.version + 1),
                    // A journey that was removed and comes again goes on counting: its old versions still have a name.
                    None => (Action::Create, self.last_version(&id) + 1),
                };
                if action != Action::Unchanged {
                    self.documents.insert(id.clone(), Held { version, document: Arc::new(document.clone()) });
                }
                PlanLine { id, action, version }
            }
            Change::Remove(id) => match self.documents.remove(id) {
                Some(held) => {
                    findings.extend(deletes_ready(&held.document.spec, id));
                    PlanLine { id: id.clone(), action: Action::Delete, version: held.version }
                }
                None => {
                    let message = format!("there is no {id}; nothing to delete");
                    findings.push(Finding::error("document_unknown", id.to_string(), message));
                    PlanLine { id: id.clone(), action: Action::Unchanged, version: 0 }
                }
            },
        }
    }

    fn last_version(&self, id: &DocumentId) -> u32 {
        let journey = if id.kind == Kind::Journey { self.journeys.get(id.name.as_str()) } else { None };
        journey.and_then(|journey| journey.versions.last()).map_or(0, |version| version.version)
    }

    /// Makes the compiled form of one document that changed or went.
    fn compile(&mut self, id: &DocumentId, source: Source, findings: &mut Vec<Finding>) {
        let name = id.name.as_text().clone();
        let Some(Held { version, document }) = self.documents.get(id).cloned() else {
            self.forget(id.kind, &name);
            return;
        };
        match &document.spec {
            Spec::Trigger(spec) => {
                let trigger = triggers::trigger(&document.name, spec, version, findings);
                self.triggers.insert(name, Arc::new(trigger));
            }
            Spec::Message(spec) => {
                let message = messages::message(&document.name, spec, version, findings);
                match message {
                    Some(message) => self.messages.insert(name, Arc::new(message)),
                    None => self.messages.remove(&name),
                };
            }
            Spec::Journey(spec) => {
                let compiled = compile::journey(self, &document, spec, version, source, findings);
                let held = self.journeys.get(&name);
                let versions = held.map(|journey| journey.versions.clone()).unwrap_or_default();
                let versions = versions.into_iter().chain(compiled.map(Arc::new)).collect();
                let released = match spec.state {
                    JourneyState::Stopped => version,
                    JourneyState::Draft | JourneyState::Live => held.map_or(0, |journey| journey.released),
                };
                let journey = Journey { name: document.name.clone(), versions, state: spec.state, released };
                self.journeys.insert(name, Arc::new(journey));
            }
            Spec::JourneyTest(spec) => tests_of_journeys::check(self, id, spec, findings),
        }
    }

    fn forget(&mut self, kind: Kind, name: &Text) {
        match kind {
            Kind::Trigger => {
                self.triggers.remove(name);
            }
            Kind::Message => {
                self.messages.remove(name);
            }
            // People inside stay on their version until they come to its end or the journey is stopped.
            Kind::Journey => {
                if let Some(journey) = self.journeys.get_mut(name) {
                    let journey = Arc::make_mut(journey);
                    journey.state = JourneyState::Stopped;
                    journey.released = journey.versions.last().map_or(0, |version| version.version);
                }
            }
            Kind::JourneyTest => {}
        }
    }

    /// What uses something that changed: every version that people may be inside of (J12), and the live journeys that
    /// did not change themselves (C3, C6).
    fn check_dependents(&self, changed: &BTreeSet<DocumentId>, findings: &mut Vec<Finding>) {
        for journey in self.journeys.values() {
            let newest = self.documents.get(&DocumentId { kind: Kind::Journey, name: journey.name.clone() });
            for older in journey.occupied().filter(|held| newest.is_none_or(|newest| newest.version != held.version)) {
                let uses = uses::of_older(self, older);
                findings
                    .extend(uses.iter().filter_map(|(used, by)| changed.contains(used).then(|| self.loses(used, by))?));
            }
        }
        for (id, held) in &self.documents {
            let Spec::Journey(spec) = &held.document.spec else { continue };
            if changed.contains(id) || spec.state != JourneyState::Live {
                continue;
            }
            let uses: Vec<(DocumentId, Use)> = uses::of_document(self, &id.name, spec)
                .into_iter()
                .filter(|(used, _)| changed.contains(used))
                .collect();
            if uses.is_empty() {
                continue;
            }
            for (used, by) in &uses {
                findings.extend(self.loses(used, by));
            }
            let mut found = Vec::new();
            compile::journey(self, &held.document, spec, held.version, Source::Publish, &mut found);
            // Its warnings were told when it was published; what is new is what breaks. What is gone or not ready was
            // said of the trigger or message itself.
            let told = ["trigger_unknown", "trigger_not_ready", "message_unknown"];
            let breaks = |finding: &Finding| finding.severity == Severity::Error && !told.contains(&finding.code);
            findings.extend(found.into_iter().filter(breaks));
        }
    }

    /// What it means to those inside, or who may enter, that `used` went or is no longer ready.
    fn loses(&self, used: &DocumentId, by: &Use) -> Option<Finding> {
        let Some(held) = self.documents.get(used) else {
            let message = match by.version {
                None => format!("{by} uses it; take it out there, or stop the journey, before deleting it"),
                Some(_) => format!("{by} uses it, and people may be inside; keep it, or stop the journey first"),
            };
            return Some(Finding::error("in_use", used.to_string(), message));
        };
        let Spec::Trigger(trigger) = &held.document.spec else { return None };
        match trigger.state {
            // That it cannot be a draft again is said of the trigger itself.
            TriggerState::Ready | TriggerState::Draft => None,
            TriggerState::Stopped => {
                let message = format!("stopping it silences {by}");
                Some(Finding::warning("trigger_stopped", used.to_string(), message).at_path("spec.state"))
            }
        }
    }

    /// A message that changed may read other events than it did, also for those inside an older version.
    fn renew_remembers(&mut self, changed: &BTreeSet<DocumentId>) {
        if !changed.iter().any(|id| id.kind == Kind::Message) {
            return;
        }
        let journeys: Vec<Arc<Journey>> = self.journeys.values().cloned().collect();
        for mut journey in journeys {
            for at in 0..journey.versions.len() {
                let remembers = mappings::remembers(self, &journey.versions[at]);
                if remembers != journey.versions[at].remembers {
                    let versions = &mut Arc::make_mut(&mut journey).versions;
                    Arc::make_mut(&mut versions[at]).remembers = remembers;
                }
            }
            self.journeys.insert(journey.name.as_text().clone(), journey);
        }
    }

    /// Who uses a trigger or a message: every journey as its document says it now, live or not (C7).
    pub fn used_in(&self, id: &DocumentId) -> Vec<Use> {
        let mut found = Vec::new();
        for (journey, held) in &self.documents {
            let Spec::Journey(spec) = &held.document.spec else { continue };
            let uses = uses::of_document(self, &journey.name, spec).into_iter();
            found.extend(uses.filter(|(used, _)| used == id).map(|(_, by)| by));
        }
        found
    }

    fn index_starts(&mut self) {
        self.starts.clear();
        for journey in self.journeys.values() {
            let Some(live) = journey.live() else { continue };
            let trigger = live.start.listener.trigger.as_text().clone();
            self.starts.entry(trigger).or_default().push(Arc::clone(live));
        }
    }

    pub(crate) fn names(&self, kind: Kind) -> Vec<&str> {
        match kind {
            Kind::Trigger => self.triggers.keys().map(Text::as_str).collect(),
            Kind::Message => self.messages.keys().map(Text::as_str).collect(),
            Kind::Journey => self.journeys.keys().map(Text::as_str).collect(),
            Kind::JourneyTest => Vec::new(),
        }
    }
}

/// `; did you mean …?` where a known name is near, else nothing.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    model::nearest::nearest(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// A document that would go back to a state which it has left for good (C3, J13).
fn of_states(before: &Spec, after: &Spec, id: &DocumentId) -> Option<Finding> {
    let (code, message) = match (before, after) {
        (Spec::Trigger(before), Spec::Trigger(after)) => match (before.state, after.state) {
            (TriggerState::Ready | TriggerState::Stopped, TriggerState::Draft) => (
                "trigger_state",
                "it was ready, so it cannot be a draft again; say `state: stopped` for a trigger that shall not act",
            ),
            (TriggerState::Draft | TriggerState::Ready | TriggerState::Stopped, _) => return None,
        },
        (Spec::Journey(before), Spec::Journey(after)) => match (before.state, after.state) {
            (JourneyState::Live, JourneyState::Draft) => (
                "journey_state",
                "it is live and people may be inside, so it cannot be a draft again; say `state: stopped`, which ends \
                 them",
            ),
            (JourneyState::Draft | JourneyState::Live | JourneyState::Stopped, _) => return None,
        },
        (Spec::Trigger(_) | Spec::Message(_) | Spec::Journey(_) | Spec::JourneyTest(_), _) => return None,
    };
    Some(Finding::error(code, id.to_string(), message).at_path("spec.state"))
}

/// C3: a ready trigger is stopped before it is deleted, so that whoever still sends it is seen to.
fn deletes_ready(held: &Spec, id: &DocumentId) -> Option<Finding> {
    let Spec::Trigger(trigger) = held else { return None };
    let message = "it is ready; say `state: stopped` first, and delete it when nothing is sent any more";
    trigger.state.is_ready().then(|| Finding::error("trigger_state", id.to_string(), message))
}

fn duplicates(changes: &[Change]) -> Vec<Finding> {
    let mut seen: BTreeSet<(Kind, &Name)> = BTreeSet::new();
    let mut findings = Vec::new();
    for change in changes {
        let (kind, name) = match change {
            Change::Put(document) => (document.spec.kind(), &document.name),
            Change::Remove(id) => (id.kind, &id.name),
        };
        if !seen.insert((kind, name)) {
            let place = format!("{kind}/{name}");
            let message = format!("{place} is given more than once; keep one of them");
            findings.push(Finding::error("document_duplicate", place, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests;
