//! From journey documents to their compiled form, with every finding on the way (C2, C3, J14): the whole of a journey
//! but its steps, which `steps` does.

use crate::compiled::{Goal, JourneyVersion, Listener, Start, Step, StepIndex, StepKind, Trigger};
use crate::scope::Scope;
use crate::{Catalog, Source, flow, hint, mappings};
use condition::{Condition, Expression, Problem};
use model::document::{DocumentId, Kind};
use model::journey::{self as doc, JourneyState, Policy, RepeatMode};
use model::trigger::TriggerKind;
use model::{Document, Finding, Name, Severity, Span, Text};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Steps of one journey, all arms counted.
pub(crate) const STEPS_MAX: usize = 2_000;

/// The finding for a name that nothing of the catalog has.
pub(crate) fn unknown(catalog: &Catalog, kind: Kind, name: &str, from: &DocumentId) -> Finding {
    let (code, word) = match kind {
        Kind::Trigger => ("trigger_unknown", "trigger"),
        Kind::Message => ("message_unknown", "message"),
        Kind::Journey | Kind::JourneyTest => ("journey_unknown", "journey"),
    };
    let hint = hint(name, catalog.names(kind));
    Finding::error(code, from.to_string(), format!("there is no {word} {name}{hint}"))
}

/// The compiled version; None when a finding is an error. Of a journey that is not live every error is only a
/// warning, so that half-done work can be kept and a broken journey be stopped.
///
/// Of a live one from the history there is always a version: people may be inside of it. What today's checks say
/// against it does not matter, and what cannot be compiled at all is inert.
pub(crate) fn journey(
    catalog: &Catalog,
    document: &Arc<Document>,
    spec: &doc::Journey,
    version: u32,
    source: Source,
    findings: &mut Vec<Finding>,
) -> Option<JourneyVersion> {
    let id = document.id();
    let index = Index::new();
    let mut compiler = Compiler { catalog, id, document, spec, source, findings: Vec::new(), index, is_whole: true };
    let compiled = compiler.journey(version);
    let failed = compiler.has_errors();
    let compiled = match (source, spec.state) {
        (Source::History, JourneyState::Live) => compiled.or_else(|| Some(inert(document, spec, version))),
        (Source::History, JourneyState::Draft | JourneyState::Stopped) | (Source::Publish, _) => {
            compiled.filter(|_| !failed)
        }
    };
    let severity = |finding: &Finding| match spec.state {
        JourneyState::Live => finding.severity,
        JourneyState::Draft | JourneyState::Stopped => Severity::Warning,
    };
    let found = compiler.findings.into_iter();
    findings.extend(found.map(|finding| Finding { severity: severity(&finding), ..finding }));
    compiled
}

/// A version with its steps in their places, and nothing in them.
fn inert(document: &Arc<Document>, spec: &doc::Journey, version: u32) -> JourneyVersion {
    let mut steps = Vec::new();
    doc::for_each_step(&spec.steps, &mut |step| {
        let (on_failure, on_blocked) = (Policy::Park, Policy::Park);
        steps.push(Step { id: step.id.clone(), kind: StepKind::Inert, next: None, on_failure, on_blocked });
    });
    JourneyVersion {
        journey: document.name.clone(),
        version,
        zone: spec.time_zone.as_deref().map(Text::from),
        start: Start {
            listener: Listener { trigger: spec.start.trigger.clone(), condition: None },
            repeat: spec.start.repeat.mode,
            delay: None,
            from: None,
            to: None,
        },
        exits: Vec::new(),
        goals: Vec::new(),
        remembers: Vec::new(),
        steps,
        is_inert: true,
        document: Arc::clone(document),
    }
}

/// Steps by id; of a duplicate the first.
pub(crate) type Index<'a> = BTreeMap<&'a str, (StepIndex, &'a doc::Step)>;

pub(crate) struct Compiler<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) id: DocumentId,
    document: &'a Arc<Document>,
    pub(crate) spec: &'a doc::Journey,
    pub(crate) source: Source,
    pub(crate) findings: Vec<Finding>,
    pub(crate) index: Index<'a>,
    /// Nothing had to be left out so far: what is compiled says all that the document says.
    pub(crate) is_whole: bool,
}

/// Where a condition stands, which decides what it may read (J10).
#[derive(Clone, Copy)]
pub(crate) enum Place<'p> {
    /// The start's `where`: nobody is inside yet.
    Start,
    /// Of an exit or goal.
    Journey,
    Step(&'p doc::Step),
}

impl Place<'_> {
    fn step(&self) -> Option<&str> {
        match self {
            Place::Start | Place::Journey => None,
            Place::Step(step) => Some(&step.id),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Start,
    Exit,
    Goal,
}

impl<'a> Compiler<'a> {
    pub(crate) fn error(&mut self, code: &'static str, place: Place<'_>, path: &str, message: impl Into<String>) {
        self.add(Finding::error(code, self.id.to_string(), message), place, path);
    }

    pub(crate) fn warn(&mut self, code: &'static str, place: Place<'_>, path: &str, message: impl Into<String>) {
        self.add(Finding::warning(code, self.id.to_string(), message), place, path);
    }

    pub(crate) fn add(&mut self, mut finding: Finding, place: Place<'_>, path: &str) {
        finding.step = place.step().map(str::to_owned);
        self.findings.push(finding.at_path(path));
    }

    fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn journey(&mut self, version: u32) -> Option<JourneyVersion> {
        let spec = self.spec;
        if let Some(zone) = &spec.time_zone
            && calendar::Zone::find(zone).is_none()
        {
            let message = format!("`{zone}` is not a time zone; expected an IANA name such as Europe/Berlin");
            self.error("time_zone_unknown", Place::Journey, "spec.time_zone", message);
        }
        self.number(&spec.steps);
        let start = self.start(&spec.start);
        let exits = self.exits(&spec.exits);
        let goals = self.goals(&spec.goals);
        if self.index.len() > STEPS_MAX {
            let message =
                format!("more than {STEPS_MAX} steps; make it several journeys that raise each other's start");
            self.error("journey_too_large", Place::Journey, "spec.steps", message);
            return None;
        }
        if spec.steps.is_empty() {
            self.error("journey_empty", Place::Journey, "spec.steps", "a journey needs at least one step");
            self.is_whole = false;
        }
        let mut flat = BTreeMap::new();
        self.block(&spec.steps, None, &mut flat);
        if !self.is_whole {
            return None;
        }
        let steps: Vec<_> = flat.into_values().collect();
        if !self.has_errors() {
            let document = self.id.to_string();
            self.findings.extend(flow::check(&steps).into_iter().map(|problem| problem.finding(&document)));
        }
        let zone = spec.time_zone.as_deref().map(Text::from);
        let journey = self.id.name.clone();
        let mut compiled = JourneyVersion {
            journey,
            version,
            zone,
            start,
            exits,
            goals,
            remembers: Vec::new(),
            steps,
            is_inert: false,
            document: Arc::clone(self.document),
        };
        compiled.remembers = mappings::remembers(self.catalog, &compiled);
        Some(compiled)
    }

    fn start(&mut self, start: &doc::Start) -> Start {
        let listener =
            self.listener(&start.trigger, start.condition.as_deref(), "spec.start", Role::Start, Place::Start);
        let doc::Repeat { mode, delay } = &start.repeat;
        let wrong = match (mode, delay) {
            (RepeatMode::After, None) => Some("mode `after` needs a `delay`, such as 7d"),
            (RepeatMode::After, Some(delay)) if delay.negative || delay.is_zero() => {
                Some("a delay is more than nothing, such as 7d; to let everyone in at once say `mode: once_at_a_time`")
            }
            (RepeatMode::After, Some(_))
            | (RepeatMode::Once | RepeatMode::OnceAtATime | RepeatMode::Restart | RepeatMode::Always, None) => None,
            (RepeatMode::Once | RepeatMode::OnceAtATime | RepeatMode::Restart | RepeatMode::Always, Some(_)) => {
                Some("only mode `after` has a `delay`; leave it out or say `mode: after`")
            }
        };
        if let Some(message) = wrong {
            self.error("repeat_delay", Place::Start, "spec.start.repeat.delay", message);
        }
        let (from, to) = start.window.as_ref().map_or((None, None), |window| (window.from, window.to));
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            let message = format!("it ends ({to}) before it begins ({from}); nobody could enter");
            self.error("start_window", Place::Start, "spec.start.window", message);
        }
        self.is_whole &= listener.is_some();
        let listener = listener.unwrap_or_else(|| Listener { trigger: start.trigger.clone(), condition: None });
        Start { listener, repeat: *mode, delay: *delay, from, to }
    }

    fn exits(&mut self, exits: &[doc::Exit]) -> Vec<Listener> {
        let mut compiled = Vec::new();
        for (at, exit) in exits.iter().enumerate() {
            let path = format!("spec.exits[{at}]");
            if exit.trigger == self.spec.start.trigger {
                // T28; for a passage that starts anew there is `repeat`.
                let message = format!(
                    "{} also starts the journey: each one ends the passage and begins another; \
                     `repeat: {{mode: restart}}` says the same more plainly",
                    exit.trigger
                );
                self.warn("exit_is_start", Place::Journey, &format!("{path}.trigger"), message);
            }
            let condition = exit.condition.as_deref();
            let listener = self.listener(&exit.trigger, condition, &path, Role::Exit, Place::Journey);
            self.is_whole &= listener.is_some();
            compiled.extend(listener);
        }
        compiled
    }

    fn goals(&mut self, goals: &[doc::Goal]) -> Vec<Goal> {
        let mut names = BTreeSet::new();
        let mut compiled = Vec::new();
        for (at, goal) in goals.iter().enumerate() {
            let path = format!("spec.goals[{at}]");
            if !names.insert(&goal.name) {
                self.error("goal_duplicate", Place::Journey, &path, format!("two goals are named {}", goal.name));
            }
            if let Some(doc::Target::Share(share)) = &goal.target {
                let percent = share.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                if !percent.is_some_and(|percent| (0.0..=100.0).contains(&percent)) {
                    let message =
                        format!("`{share}` is no target; expected a count such as 500 or a share such as 50%");
                    self.error("goal_target", Place::Journey, &format!("{path}.target"), message);
                }
            }
            if let Some(window) = goal.window.filter(|window| window.negative) {
                let message = format!("`{window}` lies before the end; expected such as 3d, or 0s for none");
                self.error("goal_window", Place::Journey, &format!("{path}.window"), message);
            }
            let window_ms = goal.window.as_ref().map_or(doc::Goal::WINDOW_DEFAULT_MS, Span::at_most_ms);
            let condition = goal.condition.as_deref();
            let listener = self.listener(&goal.trigger, condition, &path, Role::Goal, Place::Journey);
            self.is_whole &= listener.is_some();
            compiled.extend(listener.map(|listener| Goal { name: goal.name.clone(), listener, window_ms }));
        }
        compiled
    }

    fn listener(
        &mut self,
        trigger: &Name,
        condition: Option<&str>,
        path: &str,
        role: Role,
        place: Place<'_>,
    ) -> Option<Listener> {
        let found = self.trigger(trigger, place, &format!("{path}.trigger"))?;
        if found.kind == TriggerKind::Interaction {
            let does = match role {
                Role::Start => "start a journey",
                Role::Exit => "end a journey",
                Role::Goal => "be a journey's goal",
            };
            let message = format!(
                "{trigger} is an interaction trigger and cannot {does}; it continues one in a `wait_for` with `of` a \
                 send step"
            );
            self.error("interaction_trigger_role", place, &format!("{path}.trigger"), message);
            return None;
        }
        let condition = match condition {
            Some(source) => Some(self.condition(source, Some(found), place, &format!("{path}.where"))?),
            None => None,
        };
        Some(Listener { trigger: trigger.clone(), condition })
    }

    /// The trigger, if it is there; findings where it is not, or not ready (C3).
    pub(crate) fn trigger(&mut self, name: &Name, place: Place<'_>, path: &str) -> Option<&'a Trigger> {
        let Some(trigger) = self.catalog.trigger(name) else {
            self.add(unknown(self.catalog, Kind::Trigger, name, &self.id), place, path);
            return None;
        };
        if !trigger.state.is_ready() {
            let message = format!("the trigger {name} is not ready; set its `state: ready` first");
            self.error("trigger_not_ready", place, path, message);
        }
        Some(trigger)
    }

    /// The trigger whose event is `event` in steps and messages (J10).
    pub(crate) fn start_trigger(&self) -> Option<&'a Trigger> {
        self.catalog.trigger(&self.spec.start.trigger).map(AsRef::as_ref)
    }

    pub(crate) fn scope(&self, event: Option<&'a Trigger>, place: Place<'_>) -> Scope<'_> {
        let inside = match place {
            Place::Start => false,
            Place::Journey | Place::Step(_) => true,
        };
        Scope { catalog: self.catalog, event, inside }
    }

    pub(crate) fn condition(
        &mut self,
        source: &str,
        event: Option<&'a Trigger>,
        place: Place<'_>,
        path: &str,
    ) -> Option<Condition> {
        let compiled = Condition::compile(source, &self.scope(event, place));
        self.noted(compiled, place, path)
    }

    pub(crate) fn expression(&mut self, step: &doc::Step, source: &str, path: &str) -> Option<Expression> {
        let place = Place::Step(step);
        let compiled = Expression::compile(source, &self.scope(self.start_trigger(), place));
        self.noted(compiled, place, path)
    }

    fn noted<T>(
        &mut self,
        compiled: Result<(T, Vec<Problem>), Vec<Problem>>,
        place: Place<'_>,
        path: &str,
    ) -> Option<T> {
        match compiled {
            Ok((compiled, warnings)) => {
                for warning in warnings {
                    self.warn(warning.code, place, path, warning.to_string());
                }
                Some(compiled)
            }
            Err(problems) => {
                for problem in problems {
                    self.error(problem.code, place, path, problem.to_string());
                }
                None
            }
        }
    }
}
