//! From trigger and journey documents to their compiled form, with every finding on the way (C2–C4, J14).

use crate::builtin::{self, Builtin};
use crate::compiled::{
    Attribute, BindingPart, BindingPattern, Goal, JourneyVersion, Listener, Mapping, Message, Next, Outcome, OutcomeOn,
    SplitArm, Start, Step, StepIndex, StepKind, Trigger, Wait, WaitFor, WaitUntil,
};
use crate::scope::{Scope, type_of};
use crate::{Catalog, flow};
use condition::{Condition, Expression, Lookup, Problem, Schema, Type};
use model::document::{DocumentId, Kind};
use model::journey::{self as doc, JourneyState, Policy, RepeatMode, Since, Until};
use model::trigger::{AttributeType, Trigger as TriggerSpec, TriggerKind, TriggerState};
use model::{Finding, Name, Severity, Span, Text, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Steps of one journey, all arms counted.
pub(crate) const STEPS_MAX: usize = 2_000;
/// The longest wait whose length is known beforehand, days taken as 24 hours (trap T42).
const WAIT_MAX_MS: i64 = 365 * 86_400_000;

pub(crate) fn builtin_trigger(builtin: &Builtin) -> Trigger {
    let name = |text| Name::new(text).expect("INVARIANT: built-in names are names");
    let mut attributes: Vec<Attribute> = builtin
        .attributes
        .iter()
        .map(|(attribute, ty)| Attribute { name: name(attribute), ty: *ty, required: false })
        .collect();
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    Trigger {
        name: name(builtin.name),
        kind: builtin.kind,
        state: TriggerState::Ready,
        bind: builtin.bind,
        binding: None,
        attributes,
        max_age_ms: TriggerSpec::MAX_AGE_DEFAULT_MS,
        version: 0,
    }
}

pub(crate) fn trigger(name: &Name, spec: &TriggerSpec, version: u32, findings: &mut Vec<Finding>) -> Trigger {
    let document = format!("Trigger/{name}");
    let mut error = |code, path: &str, message: String| {
        findings.push(Finding::error(code, document.clone(), message).at_path(path));
    };
    if builtin::is_reserved(name) {
        error("trigger_reserved", "metadata.name", format!("{name} is a built-in trigger; choose another name"));
    }
    match spec.kind {
        TriggerKind::Custom | TriggerKind::Business => {}
        TriggerKind::Interaction => {
            let message = "interaction triggers are built in and come from sends; a document defines custom ones";
            error("trigger_kind", "spec.kind", message.to_owned());
        }
    }
    if spec.attributes.len() > TriggerSpec::ATTRIBUTES_MAX {
        let message =
            format!("{} attributes; at most {} are allowed", spec.attributes.len(), TriggerSpec::ATTRIBUTES_MAX);
        error("trigger_attributes", "spec.attributes", message);
    }
    let binding = spec.binding.as_ref().map(|pattern| match binding_pattern(pattern) {
        Ok(pattern) => {
            for part in &pattern.0 {
                let BindingPart::Attribute(attribute) = part else { continue };
                if !spec.attributes.contains_key(attribute) {
                    let names = spec.attributes.keys().map(Name::as_str);
                    let near = model::nearest::nearest(attribute, names).map(|near| format!("; did you mean {near}?"));
                    let message =
                        format!("{{{attribute}}} is not an attribute of the trigger{}", near.unwrap_or_default());
                    error("binding_attribute", "spec.binding", message);
                }
            }
            pattern
        }
        Err(message) => {
            error("binding_syntax", "spec.binding", message);
            BindingPattern(Vec::new())
        }
    });
    let max_age_ms = spec.max_age.as_ref().map_or(TriggerSpec::MAX_AGE_DEFAULT_MS, Span::at_most_ms);
    if spec.max_age.as_ref().is_some_and(|span| span.negative || span.is_zero()) {
        error("trigger_max_age", "spec.max_age", "an age is more than nothing, such as 24h".to_owned());
    }
    let attribute = |(name, spec): (&Name, &model::trigger::AttributeSpec)| Attribute {
        name: name.clone(),
        ty: spec.ty,
        required: spec.required,
    };
    Trigger {
        name: name.clone(),
        kind: spec.kind,
        state: spec.state,
        bind: spec.bind,
        binding,
        attributes: spec.attributes.iter().map(attribute).collect(),
        max_age_ms,
        version,
    }
}

fn binding_pattern(pattern: &str) -> Result<BindingPattern, String> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some((fixed, after)) = rest.split_once('{') {
        let Some((attribute, tail)) = after.split_once('}') else {
            return Err(format!("`{pattern}`: a `{{` is not closed; expected for example cart/{{cart_id}}"));
        };
        if !fixed.is_empty() {
            parts.push(BindingPart::Fixed(fixed.into()));
        }
        parts.push(BindingPart::Attribute(Name::new(attribute)?));
        rest = tail;
    }
    if !rest.is_empty() {
        parts.push(BindingPart::Fixed(rest.into()));
    }
    Ok(BindingPattern(parts))
}

/// The finding for a name that nothing of the catalog has.
pub(crate) fn unknown(catalog: &Catalog, kind: Kind, name: &str, from: &DocumentId) -> Finding {
    let near = model::nearest::nearest(name, catalog.names(kind)).map(|near| format!("; did you mean {near}?"));
    let (code, word) = match kind {
        Kind::Trigger => ("trigger_unknown", "trigger"),
        Kind::Message => ("message_unknown", "message"),
        Kind::Journey | Kind::JourneyTest => ("journey_unknown", "journey"),
    };
    Finding::error(code, from.to_string(), format!("there is no {word} {name}{}", near.unwrap_or_default()))
}

/// The compiled version; None when a finding is an error. Of a journey that is not live every error is only a
/// warning, so that half-done work can be kept and a broken journey be stopped.
pub(crate) fn journey(
    catalog: &Catalog,
    name: &Name,
    spec: &doc::Journey,
    version: u32,
    findings: &mut Vec<Finding>,
) -> Option<JourneyVersion> {
    let id = DocumentId { kind: Kind::Journey, name: name.clone() };
    let mut compiler = Compiler { catalog, id, spec, findings: Vec::new(), steps: Vec::new(), index: BTreeMap::new() };
    let compiled = compiler.journey(version);
    let failed = compiler.findings.iter().any(|finding| finding.severity == Severity::Error);
    let live = spec.state == JourneyState::Live;
    findings.extend(compiler.findings.into_iter().map(|finding| match live {
        true => finding,
        false => Finding { severity: Severity::Warning, ..finding },
    }));
    compiled.filter(|_| !failed)
}

struct Compiler<'a> {
    catalog: &'a Catalog,
    id: DocumentId,
    spec: &'a doc::Journey,
    findings: Vec<Finding>,
    steps: Vec<Step>,
    /// By id; of a duplicate the first.
    index: BTreeMap<&'a str, (StepIndex, &'a doc::Step)>,
}

/// A part of a step that is laid flat after the steps of its level.
type Block<'a> = &'a [doc::Step];

impl<'a> Compiler<'a> {
    fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn error(&mut self, code: &'static str, step: Option<&str>, path: &str, message: impl Into<String>) {
        let mut finding = Finding::error(code, self.id.to_string(), message);
        finding.step = step.map(str::to_owned);
        self.find(finding.at_path(path));
    }

    fn warn(&mut self, code: &'static str, step: Option<&str>, path: &str, message: impl Into<String>) {
        let mut finding = Finding::warning(code, self.id.to_string(), message);
        finding.step = step.map(str::to_owned);
        self.find(finding.at_path(path));
    }

    fn journey(&mut self, version: u32) -> Option<JourneyVersion> {
        let spec = self.spec;
        if let Some(zone) = &spec.time_zone
            && calendar::Zone::find(zone).is_none()
        {
            let message = format!("`{zone}` is not a time zone; expected an IANA name such as Europe/Berlin");
            self.error("time_zone_unknown", None, "spec.time_zone", message);
        }
        let start = self.start(&spec.start);
        let exits = spec.exits.iter().enumerate().map(|(at, exit)| {
            self.listener(&exit.trigger, exit.condition.as_deref(), &format!("spec.exits[{at}]"), Role::Exit)
        });
        let exits = exits.collect::<Vec<_>>();
        let goals = self.goals(&spec.goals);
        self.number(&spec.steps);
        if self.index.len() > STEPS_MAX {
            let message = format!("{} steps; at most {STEPS_MAX} are allowed", self.index.len());
            self.error("journey_too_large", None, "spec.steps", message);
            return None;
        }
        if spec.steps.is_empty() {
            self.error("journey_empty", None, "spec.steps", "a journey needs at least one step");
            return None;
        }
        let mut flat: BTreeMap<StepIndex, Step> = BTreeMap::new();
        self.block(&spec.steps, None, &mut flat);
        if self.findings.iter().any(|finding| finding.severity == Severity::Error) {
            return None;
        }
        self.steps = flat.into_values().collect();
        let problems = flow::check(&self.steps);
        problems.into_iter().for_each(|problem| {
            let finding = problem.finding(&self.id.to_string());
            self.find(finding);
        });
        let mut compiled = JourneyVersion {
            journey: self.id.name.clone(),
            version,
            zone: spec.time_zone.as_deref().map(Text::from),
            start,
            exits: exits.into_iter().flatten().collect(),
            goals,
            remembers: Vec::new(),
            steps: std::mem::take(&mut self.steps),
        };
        compiled.remembers = self.remembers(&compiled);
        Some(compiled)
    }

    // ---- start, exits, goals ----

    fn start(&mut self, start: &doc::Start) -> Start {
        let listener = self.listener(&start.trigger, start.condition.as_deref(), "spec.start", Role::Start);
        let doc::Repeat { mode, delay } = &start.repeat;
        match (mode, delay) {
            (RepeatMode::After, None) => {
                self.error("repeat_delay", None, "spec.start.repeat", "mode `after` needs a `delay`, such as 7d");
            }
            (RepeatMode::After, Some(delay)) if delay.negative => {
                self.error("repeat_delay", None, "spec.start.repeat.delay", "a delay is not negative");
            }
            (RepeatMode::After, Some(_)) | (_, None) => {}
            (_, Some(_)) => {
                let message = "only mode `after` has a `delay`; leave it out or say `mode: after`";
                self.error("repeat_delay", None, "spec.start.repeat.delay", message);
            }
        }
        let (from, to) = start.window.as_ref().map_or((None, None), |window| (window.from, window.to));
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            self.error("start_window", None, "spec.start.window", format!("it ends ({to}) before it begins ({from})"));
        }
        let listener = listener.unwrap_or_else(|| Listener { trigger: start.trigger.clone(), condition: None });
        Start { listener, repeat: *mode, delay: *delay, from, to }
    }

    fn goals(&mut self, goals: &[doc::Goal]) -> Vec<Goal> {
        let mut names = BTreeSet::new();
        let mut compiled = Vec::new();
        for (at, goal) in goals.iter().enumerate() {
            let path = format!("spec.goals[{at}]");
            if !names.insert(goal.name.clone()) {
                self.error("goal_duplicate", None, &path, format!("two goals are named {}", goal.name));
            }
            if let Some(doc::Target::Share(share)) = &goal.target {
                let percent = share.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                if !percent.is_some_and(|percent| (0.0..=100.0).contains(&percent)) {
                    let message =
                        format!("`{share}` is no target; expected a count such as 500 or a share such as 50%");
                    self.error("goal_target", None, &format!("{path}.target"), message);
                }
            }
            let window_ms = goal.window.as_ref().map_or(doc::Goal::WINDOW_DEFAULT_MS, Span::at_most_ms);
            let listener = self.listener(&goal.trigger, goal.condition.as_deref(), &path, Role::Goal);
            compiled.extend(listener.map(|listener| Goal { name: goal.name.clone(), listener, window_ms }));
        }
        compiled
    }

    fn listener(&mut self, trigger: &Name, condition: Option<&str>, path: &str, role: Role) -> Option<Listener> {
        let found = self.trigger(trigger, None, &format!("{path}.trigger"))?;
        if found.kind == TriggerKind::Interaction && role != Role::Goal {
            let does = if role == Role::Start { "start" } else { "end" };
            let message = format!(
                "{trigger} is an interaction trigger and cannot {does} a journey; it continues one in a `wait_for` with \
                 `of` a send step"
            );
            self.error("interaction_trigger_role", None, &format!("{path}.trigger"), message);
            return None;
        }
        let condition = self.condition(condition, Some(found), None, &format!("{path}.where"))?;
        Some(Listener { trigger: trigger.clone(), condition })
    }

    /// The trigger, if it is there; findings where it is not, or not ready (C3).
    fn trigger(&mut self, name: &Name, step: Option<&str>, path: &str) -> Option<&'a Trigger> {
        let Some(trigger) = self.catalog.trigger(name) else {
            let mut finding = unknown(self.catalog, Kind::Trigger, name, &self.id).at_path(path);
            finding.step = step.map(str::to_owned);
            self.find(finding);
            return None;
        };
        if !trigger.state.is_ready() {
            let message = format!("the trigger {name} is not ready; set its `state: ready` first");
            self.error("trigger_not_ready", step, path, message);
        }
        Some(trigger)
    }

    /// `Some(None)` without a condition, None when it has an error.
    #[expect(clippy::option_option, reason = "absent and wrong are two different things here")]
    fn condition(
        &mut self,
        source: Option<&str>,
        event: Option<&Trigger>,
        step: Option<&str>,
        path: &str,
    ) -> Option<Option<Condition>> {
        let Some(source) = source else { return Some(None) };
        let scope = Scope { catalog: self.catalog, event };
        match Condition::compile(source, &scope) {
            Ok((condition, warnings)) => {
                self.problems(warnings, Severity::Warning, step, path);
                Some(Some(condition))
            }
            Err(problems) => {
                self.problems(problems, Severity::Error, step, path);
                None
            }
        }
    }

    fn problems(&mut self, problems: Vec<Problem>, severity: Severity, step: Option<&str>, path: &str) {
        for problem in problems {
            let message = problem.to_string();
            match severity {
                Severity::Error => self.error(problem.code, step, path, message),
                Severity::Warning => self.warn(problem.code, step, path, message),
            }
        }
    }

    fn start_trigger(&self) -> Option<&'a Trigger> {
        self.catalog.trigger(&self.spec.start.trigger).map(AsRef::as_ref)
    }

    // ---- steps ----

    /// Gives every step its index in document order, so that edges can be written before their targets are.
    fn number(&mut self, steps: &'a [doc::Step]) {
        let mut all: Vec<&'a doc::Step> = Vec::new();
        doc::for_each_step(steps, &mut |step| all.push(step));
        for (at, step) in all.into_iter().enumerate() {
            let Ok(at) = u16::try_from(at) else { return };
            if self.index.contains_key(step.id.as_str()) {
                let message = format!("two steps are named {}; each id is there once in a journey", step.id);
                self.error("step_duplicate_id", Some(&step.id), "", message);
                continue;
            }
            self.index.insert(step.id.as_str(), (StepIndex(at), step));
        }
    }

    fn first_of(&self, block: Block<'a>, next: Next) -> Next {
        block.first().and_then(|step| self.index.get(step.id.as_str())).map(|(index, _)| *index).or(next)
    }

    /// Lays the steps of one level flat; the last goes on with `next` (J11).
    fn block(&mut self, block: Block<'a>, next: Next, flat: &mut BTreeMap<StepIndex, Step>) {
        for (at, step) in block.iter().enumerate() {
            let next = self.first_of(&block[at + 1..], next);
            let Some((index, _)) = self.index.get(step.id.as_str()).copied() else { continue };
            if let Some(compiled) = self.step(step, next, flat) {
                flat.entry(index).or_insert(compiled);
            }
        }
    }

    fn step(&mut self, step: &'a doc::Step, next: Next, flat: &mut BTreeMap<StepIndex, Step>) -> Option<Step> {
        let kind = match step.kind() {
            Ok(kind) => kind,
            Err(message) => {
                self.error("step_kind", Some(&step.id), "", message);
                return None;
            }
        };
        let is_send = matches!(kind, doc::StepKind::Send(_));
        if step.on_blocked.is_some() && !is_send {
            self.error("step_policy", Some(&step.id), "on_blocked", "only a send step can be blocked");
        }
        let default = if is_send { Policy::Continue } else { Policy::Park };
        let kind = match kind {
            doc::StepKind::Send(send) => self.send(step, send)?,
            doc::StepKind::Wait(wait) => self.wait(step, wait)?,
            doc::StepKind::WaitFor(wait) => self.wait_for(step, wait, next, flat)?,
            doc::StepKind::Branch(branch) => self.branch(step, branch, next, flat)?,
            doc::StepKind::Split(split) => self.split(step, split, next, flat)?,
            doc::StepKind::Update(update) => {
                StepKind::Update { attributes: self.mappings(step, &update.attributes, "update.attributes")? }
            }
            doc::StepKind::Raise(raise) => self.raise(step, raise)?,
            doc::StepKind::GoTo(target) => self.go_to(step, target)?,
            doc::StepKind::Exit(exit) => {
                StepKind::Exit { reason: exit.reason.as_ref().unwrap_or(&step.id).as_text().clone() }
            }
        };
        Some(Step {
            id: step.id.clone(),
            kind,
            next,
            on_failure: step.on_failure.unwrap_or(default),
            on_blocked: step.on_blocked.unwrap_or(Policy::Continue),
        })
    }

    fn send(&mut self, step: &doc::Step, send: &doc::Send) -> Option<StepKind> {
        let Some(message) = self.catalog.message(&send.message) else {
            let finding = unknown(self.catalog, Kind::Message, &send.message, &self.id);
            self.find(finding.at_step(step.id.as_str()).at_path("send.message"));
            return None;
        };
        self.check_message(step, message);
        Some(StepKind::Send { message: send.message.clone() })
    }

    /// What the message reads must be there in this journey (J14).
    fn check_message(&mut self, step: &doc::Step, message: &Message) {
        let scope = Scope { catalog: self.catalog, event: self.start_trigger() };
        for (part, template) in message.templates() {
            for variable in template.variables() {
                let path: Vec<&str> = variable.path.split('.').map(|name| name.trim_end_matches("[]")).collect();
                let place = format!("Message/{} {part}", message.name);
                match scope.lookup(&path) {
                    Lookup::Unknown { why } => {
                        self.error("template_unknown_path", Some(&step.id), &place, why);
                    }
                    Lookup::Known { required: false, .. } if !variable.has_default => {
                        let path = &variable.path;
                        let message =
                            format!("{path} may be missing; give it a value with {{{{ {path} | default: \"…\" }}}}");
                        self.warn("template_may_lack_data", Some(&step.id), &place, message);
                    }
                    Lookup::Known { .. } | Lookup::Open => {}
                }
            }
        }
    }

    fn wait(&mut self, step: &doc::Step, wait: &doc::Wait) -> Option<StepKind> {
        let until = match (&wait.duration, &wait.until) {
            (Some(span), None) => {
                self.check_length(step, span, "wait.for");
                WaitUntil::For(*span)
            }
            (None, Some(until)) => self.until(step, until)?,
            (Some(_), Some(_)) | (None, None) => {
                let message = "a wait has either `for` a duration or `until` something";
                self.error("wait_kind", Some(&step.id), "wait", message);
                return None;
            }
        };
        if wait.late.is_some() && wait.if_late_over.is_none() {
            self.error("wait_kind", Some(&step.id), "wait.late", "`late` needs `if_late_over`, such as 2h");
        }
        Some(StepKind::Wait(Wait { until, if_late_over: wait.if_late_over, late: wait.late.unwrap_or_default() }))
    }

    /// T42: what is too long is refused, not cut short.
    fn check_length(&mut self, step: &doc::Step, span: &Span, path: &str) {
        if span.negative || span.is_zero() {
            self.error(
                "wait_negative",
                Some(&step.id),
                path,
                format!("`{span}` is no time to wait; expected such as 1d"),
            );
        }
        if span.at_most_ms() > WAIT_MAX_MS + 86_400_000 {
            let message = format!("`{span}` is longer than 365 days, the longest a wait can be");
            self.error("wait_too_long", Some(&step.id), path, message);
        }
    }

    fn until(&mut self, step: &doc::Step, until: &Until) -> Option<WaitUntil> {
        Some(match until {
            Until::Instant(text) => {
                if calendar::read_instant(text, &calendar::Zone::utc()).is_none() {
                    let message = format!("`{text}` is no date-time; expected such as 2026-05-01T09:00:00Z");
                    self.error("wait_instant", Some(&step.id), "wait.until", message);
                }
                WaitUntil::Instant(text.as_str().into())
            }
            Until::Attribute(until) => {
                let path = self.expression(step, &until.attribute, "wait.until.attribute")?;
                if !matches!(path.ty(), Type::Datetime | Type::Text | Type::Any) {
                    let message = format!("`{}` is {}, not a date-time", until.attribute, path.ty().as_str());
                    self.error("wait_attribute", Some(&step.id), "wait.until.attribute", message);
                }
                WaitUntil::Attribute { path, offset: until.offset, on_missing: until.on_missing }
            }
            Until::Time(until) => WaitUntil::Time { time: until.time, days: until.days },
            Until::Window(until) => {
                if until.window.from == until.window.to {
                    let message = "a window that begins when it ends is empty; leave the wait out if any time will do";
                    self.error("window_empty", Some(&step.id), "wait.until.window", message);
                }
                WaitUntil::Window(until.window)
            }
        })
    }

    fn expression(&mut self, step: &doc::Step, source: &str, path: &str) -> Option<Expression> {
        let scope = Scope { catalog: self.catalog, event: self.start_trigger() };
        match Expression::compile(source, &scope) {
            Ok((expression, warnings)) => {
                self.problems(warnings, Severity::Warning, Some(&step.id), path);
                Some(expression)
            }
            Err(problems) => {
                self.problems(problems, Severity::Error, Some(&step.id), path);
                None
            }
        }
    }

    fn wait_for(
        &mut self,
        step: &'a doc::Step,
        wait: &'a doc::WaitFor,
        next: Next,
        flat: &mut BTreeMap<StepIndex, Step>,
    ) -> Option<StepKind> {
        if wait.outcomes.is_empty() {
            let message = "it waits for nothing; name at least one outcome, or use `wait`";
            self.error("wait_for_outcomes", Some(&step.id), "wait_for.outcomes", message);
        }
        self.check_length(step, &wait.up_to, "wait_for.up_to");
        let mut outcomes = Vec::new();
        for (at, outcome) in wait.outcomes.iter().enumerate() {
            let path = format!("wait_for.outcomes[{at}]");
            self.block(&outcome.steps, next, flat);
            let first = self.first_of(&outcome.steps, next);
            outcomes.extend(self.outcome(step, outcome, first, &path));
        }
        self.block(&wait.otherwise, next, flat);
        let otherwise = self.first_of(&wait.otherwise, next);
        Some(StepKind::WaitFor(WaitFor { outcomes, up_to: wait.up_to, otherwise }))
    }

    fn outcome(&mut self, step: &doc::Step, outcome: &doc::Outcome, next: Next, path: &str) -> Option<Outcome> {
        let (on, trigger) = match (&outcome.trigger, &outcome.interaction) {
            (Some(trigger), None) => {
                if outcome.of.is_some() {
                    self.error(
                        "wait_for_outcomes",
                        Some(&step.id),
                        path,
                        "`of` belongs to an interaction, not a trigger",
                    );
                }
                let found = self.trigger(trigger, Some(&step.id), &format!("{path}.trigger"))?;
                if found.kind == TriggerKind::Interaction {
                    let message =
                        format!("{trigger} is an interaction: say `interaction: {trigger}` and `of` a send step");
                    self.error("interaction_trigger_role", Some(&step.id), path, message);
                    return None;
                }
                (OutcomeOn::Trigger { trigger: trigger.clone(), since: outcome.since.unwrap_or(Since::Step) }, found)
            }
            (None, Some(interaction)) => {
                let found = self.interaction(step, interaction, path)?;
                let of = self.send_step(step, interaction, outcome.of.as_ref(), path)?;
                (OutcomeOn::Interaction { interaction: interaction.clone(), of }, found)
            }
            (Some(_), Some(_)) | (None, None) => {
                let message = "an outcome is either a `trigger`, or an `interaction` `of` a send step";
                self.error("wait_for_outcomes", Some(&step.id), path, message);
                return None;
            }
        };
        let condition =
            self.condition(outcome.condition.as_deref(), Some(trigger), Some(&step.id), &format!("{path}.where"))?;
        Some(Outcome { on, condition, next })
    }

    fn interaction(&mut self, step: &doc::Step, interaction: &Name, path: &str) -> Option<&'a Trigger> {
        let found = self.catalog.trigger(interaction).filter(|trigger| trigger.kind == TriggerKind::Interaction);
        if found.is_none() {
            let names = builtin::BUILTINS.iter().filter(|builtin| builtin.kind == TriggerKind::Interaction);
            let near = model::nearest::nearest(interaction, names.map(|builtin| builtin.name));
            let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let message = format!("there is no interaction {interaction}{hint}");
            self.error("interaction_unknown", Some(&step.id), &format!("{path}.interaction"), message);
        }
        found.map(AsRef::as_ref)
    }

    /// The send step an interaction is of; its message must go by the interaction's channel.
    fn send_step(&mut self, step: &doc::Step, interaction: &Name, of: Option<&Name>, path: &str) -> Option<StepIndex> {
        let place = format!("{path}.of");
        let Some(of) = of else {
            let message = format!("{interaction} of which send? Name the send step with `of`");
            self.error("interaction_of", Some(&step.id), &place, message);
            return None;
        };
        let target = self.index.get(of.as_str()).and_then(|(index, step)| Some((*index, step.send.as_ref()?)));
        let Some((index, send)) = target else {
            let sends = self.index.iter().filter(|(_, (_, step))| step.send.is_some()).map(|(id, _)| *id);
            let near = model::nearest::nearest(of, sends).map(|near| format!("; did you mean {near}?"));
            let message = format!("{of} is not a send step of this journey{}", near.unwrap_or_default());
            self.error("interaction_of", Some(&step.id), &place, message);
            return None;
        };
        let channel = self.catalog.message(&send.message).map(|message| message.channel.as_str());
        if channel.is_some_and(|channel| channel != builtin::channel_of(interaction)) {
            let channel = channel.unwrap_or_default();
            let message = format!("{of} sends by {channel}, of which there is no {interaction}");
            self.error("interaction_of", Some(&step.id), &place, message);
            return None;
        }
        Some(index)
    }

    fn branch(
        &mut self,
        step: &'a doc::Step,
        branch: &'a doc::Branch,
        next: Next,
        flat: &mut BTreeMap<StepIndex, Step>,
    ) -> Option<StepKind> {
        let mut arms = Vec::new();
        let mut before: BTreeSet<&str> = BTreeSet::new();
        let mut always = false;
        for (at, when) in branch.when.iter().enumerate() {
            let path = format!("branch.when[{at}].if");
            let condition = self.condition(Some(&when.condition), self.start_trigger(), Some(&step.id), &path);
            self.block(&when.steps, next, flat);
            let Some(Some(condition)) = condition else { continue };
            let never = always || condition.constant() == Some(false) || !before.insert(when.condition.trim());
            if never {
                let message = format!(
                    "`{}` can never be what is taken: it is never true, or one before it always is",
                    when.condition
                );
                self.error("branch_never", Some(&step.id), &path, message);
            }
            always |= condition.constant() == Some(true);
            arms.push((condition, self.first_of(&when.steps, next)));
        }
        if branch.when.is_empty() {
            self.error("branch_empty", Some(&step.id), "branch.when", "a branch needs at least one condition");
        }
        self.block(&branch.otherwise, next, flat);
        Some(StepKind::Branch { arms, otherwise: self.first_of(&branch.otherwise, next) })
    }

    fn split(
        &mut self,
        step: &'a doc::Step,
        split: &'a doc::Split,
        next: Next,
        flat: &mut BTreeMap<StepIndex, Step>,
    ) -> Option<StepKind> {
        let weights_sum: u64 = split.arms.iter().map(|arm| u64::from(arm.weight)).sum();
        let too_heavy = split.arms.iter().any(|arm| arm.weight > doc::Arm::WEIGHT_MAX);
        if weights_sum == 0 || too_heavy {
            let message = format!("weights are 0 to {} and not all 0", doc::Arm::WEIGHT_MAX);
            self.error("split_weights", Some(&step.id), "split.arms", message);
        }
        let mut arms = Vec::new();
        let mut names = BTreeSet::new();
        for arm in &split.arms {
            if !names.insert(&arm.name) {
                let message = format!("two arms are named {}", arm.name);
                self.error("split_arm_duplicate", Some(&step.id), "split.arms", message);
            }
            self.block(&arm.steps, next, flat);
            arms.push(SplitArm { name: arm.name.clone(), weight: arm.weight, next: self.first_of(&arm.steps, next) });
        }
        Some(StepKind::Split { arms, weights_sum })
    }

    fn go_to(&mut self, step: &doc::Step, target: &Name) -> Option<StepKind> {
        match self.index.get(target.as_str()) {
            Some((index, _)) => Some(StepKind::GoTo(*index)),
            None => {
                let near = model::nearest::nearest(target, self.index.keys().copied());
                let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                self.error("go_to_unknown", Some(&step.id), "go_to", format!("there is no step {target}{hint}"));
                None
            }
        }
    }

    // ---- mappings ----

    fn mapping(&mut self, step: &doc::Step, mapping: &doc::Mapping, path: &str) -> Option<Mapping> {
        match mapping {
            doc::Mapping::Fixed(value) => Some(Mapping::Fixed(value.clone())),
            doc::Mapping::From(from) => self.expression(step, &from.from, path).map(Mapping::From),
        }
    }

    fn mappings(
        &mut self,
        step: &doc::Step,
        mappings: &BTreeMap<Name, doc::Mapping>,
        path: &str,
    ) -> Option<Vec<(Text, Mapping)>> {
        let compiled: Vec<_> = mappings
            .iter()
            .map(|(name, mapping)| {
                let mapping = self.mapping(step, mapping, &format!("{path}.{name}"))?;
                Some((name.as_text().clone(), mapping))
            })
            .collect();
        compiled.into_iter().collect()
    }

    fn raise(&mut self, step: &doc::Step, raise: &doc::Raise) -> Option<StepKind> {
        let trigger = self.trigger(&raise.trigger, Some(&step.id), "raise.trigger")?;
        if trigger.kind != TriggerKind::Custom {
            let message = format!("{} is not a custom trigger; only those can be raised", raise.trigger);
            self.error("raise_not_custom", Some(&step.id), "raise.trigger", message);
        }
        for declared in trigger.attributes.iter().filter(|declared| declared.required) {
            if !raise.attributes.contains_key(&declared.name) {
                let message = format!("the trigger {} needs the attribute {}", trigger.name, declared.name);
                self.error("raise_attribute", Some(&step.id), "raise.attributes", message);
            }
        }
        let attributes = self.mappings(step, &raise.attributes, "raise.attributes")?;
        for (name, mapping) in &attributes {
            self.check_raised(step, trigger, name, mapping);
        }
        let binding_id = match &raise.binding_id {
            Some(mapping) => Some(self.mapping(step, mapping, "raise.binding_id")?),
            None => None,
        };
        Some(StepKind::Raise { trigger: raise.trigger.clone(), attributes, binding_id })
    }

    fn check_raised(&mut self, step: &doc::Step, trigger: &Trigger, name: &Text, mapping: &Mapping) {
        let path = format!("raise.attributes.{name}");
        let declared = trigger.attributes.iter().find(|declared| *declared.name.as_text() == *name);
        let Some(declared) = declared else {
            let names = trigger.attributes.iter().map(|declared| declared.name.as_str());
            let near = model::nearest::nearest(name, names).map(|near| format!("; did you mean {near}?"));
            let message =
                format!("{name} is not an attribute of the trigger {}{}", trigger.name, near.unwrap_or_default());
            self.error("raise_attribute", Some(&step.id), &path, message);
            return;
        };
        let came = match mapping {
            Mapping::From(expression) => expression.ty(),
            Mapping::Fixed(value) => match value {
                Value::Null => Type::Null,
                Value::Bool(_) => Type::Bool,
                Value::Int(_) | Value::Float(_) => Type::Number,
                Value::Text(_) => Type::Text,
                Value::List(_) => Type::List,
                Value::Map(_) => Type::Map,
            },
        };
        let wanted = type_of(declared.ty);
        let fits = came == wanted
            || came == Type::Any
            || (came == Type::Null && !declared.required)
            || (declared.ty == AttributeType::Datetime && came == Type::Text)
            || (wanted == Type::Text && came == Type::Datetime);
        if !fits {
            let message =
                format!("{name} of {} is {}; {} is mapped to it", trigger.name, declared.ty.as_str(), came.as_str());
            self.error("raise_type", Some(&step.id), &path, message);
        }
    }

    /// The triggers whose last event must be kept: whoever reads `trigger.<name>`.
    fn remembers(&self, compiled: &JourneyVersion) -> Vec<Name> {
        let mut names: BTreeSet<Text> = BTreeSet::new();
        let mut of_condition = |condition: Option<&Condition>| {
            names.extend(condition.into_iter().flat_map(Condition::triggers));
        };
        compiled.exits.iter().for_each(|exit| of_condition(exit.condition.as_ref()));
        compiled.goals.iter().for_each(|goal| of_condition(goal.listener.condition.as_ref()));
        for step in &compiled.steps {
            match &step.kind {
                StepKind::Send { message } => {
                    let message = self.catalog.message(message);
                    let templates = message.iter().flat_map(|message| message.templates());
                    for (_, template) in templates {
                        let paths = template.variables().iter().map(|variable| variable.path.as_str());
                        let read = paths.filter_map(|path| path.strip_prefix("trigger.")?.split('.').next());
                        names.extend(read.map(Text::from));
                    }
                }
                StepKind::Wait(Wait { until: WaitUntil::Attribute { path, .. }, .. }) => names.extend(path.triggers()),
                StepKind::WaitFor(wait) => {
                    let conditions = wait.outcomes.iter().filter_map(|outcome| outcome.condition.as_ref());
                    names.extend(conditions.flat_map(Condition::triggers));
                }
                StepKind::Branch { arms, .. } => {
                    names.extend(arms.iter().flat_map(|(condition, _)| condition.triggers()))
                }
                StepKind::Update { attributes } => names.extend(of_mappings(attributes)),
                StepKind::Raise { attributes, .. } => names.extend(of_mappings(attributes)),
                StepKind::Wait(_) | StepKind::Split { .. } | StepKind::GoTo(_) | StepKind::Exit { .. } => {}
            }
        }
        names.iter().filter_map(|name| Name::new(name).ok()).collect()
    }
}

fn of_mappings(mappings: &[(Text, Mapping)]) -> Vec<Text> {
    let expressions = mappings.iter().filter_map(|(_, mapping)| match mapping {
        Mapping::From(expression) => Some(expression),
        Mapping::Fixed(_) => None,
    });
    expressions.flat_map(Expression::triggers).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Start,
    Exit,
    Goal,
}
