//! A journey's steps laid flat: every edge an index, every kind checked (J7, J9, J11, J14).

use crate::builtin;
use crate::compile::{Compiler, Place, unknown};
use crate::compiled::{
    Message, Next, Outcome, OutcomeOn, SplitArm, Step, StepIndex, StepKind, Trigger, Wait, WaitFor, WaitUntil,
};
use crate::{Source, hint};
use condition::{Lookup, Schema, Type};
use model::document::Kind;
use model::journey::{self as doc, OnMissingDate, Policy, Since, Until};
use model::message::OnMissing;
use model::trigger::TriggerKind;
use model::{Name, Severity, Span};
use std::collections::{BTreeMap, BTreeSet};

/// The longest wait (J9, trap T42): what is longer is refused, never cut short.
const WAIT_DAYS_MAX: i64 = 365;
const DAY_MS: i64 = 86_400_000;

/// The steps of one level, in their order.
type Block<'a> = &'a [doc::Step];
/// What has been laid flat so far.
type Flat = BTreeMap<StepIndex, Step>;

impl<'a> Compiler<'a> {
    /// Gives every step its index in document order, so that edges can be written before their targets are.
    pub(crate) fn number(&mut self, steps: Block<'a>) {
        let mut all: Vec<&'a doc::Step> = Vec::new();
        doc::for_each_step(steps, &mut |step| all.push(step));
        for (at, step) in all.into_iter().enumerate() {
            // More than an index can name is more than is allowed, which the caller says.
            let Ok(at) = u16::try_from(at) else {
                self.is_whole = false;
                return;
            };
            if self.index.contains_key(step.id.as_str()) {
                let message = format!("two steps are named {}; give one of them another id", step.id);
                self.error("step_duplicate_id", Place::Step(step), "id", message);
                self.is_whole = false;
                continue;
            }
            self.index.insert(step.id.as_str(), (StepIndex(at), step));
        }
    }

    fn first_of(&self, block: Block<'a>, next: Next) -> Next {
        block.first().and_then(|step| self.index.get(step.id.as_str())).map(|(index, _)| *index).or(next)
    }

    /// Lays the steps of one level flat; the last goes on with `next` (J11).
    pub(crate) fn block(&mut self, block: Block<'a>, next: Next, flat: &mut Flat) {
        for (at, step) in block.iter().enumerate() {
            let next = self.first_of(&block[at + 1..], next);
            let Some((index, _)) = self.index.get(step.id.as_str()).copied() else { continue };
            match self.step(step, next, flat) {
                Some(compiled) => {
                    flat.entry(index).or_insert(compiled);
                }
                None => self.is_whole = false,
            }
        }
    }

    /// Lays one arm flat; answers where it begins.
    fn arm(&mut self, block: Block<'a>, next: Next, flat: &mut Flat) -> Next {
        self.block(block, next, flat);
        self.first_of(block, next)
    }

    fn step(&mut self, step: &'a doc::Step, next: Next, flat: &mut Flat) -> Option<Step> {
        let kind = match step.kind() {
            Ok(kind) => kind,
            Err(message) => {
                self.error("step_kind", Place::Step(step), "", message);
                return None;
            }
        };
        let is_send = matches!(kind, doc::StepKind::Send(_));
        if step.on_blocked.is_some() && !is_send {
            let message = "only a send step can be blocked; leave `on_blocked` out";
            self.error("step_policy", Place::Step(step), "on_blocked", message);
        }
        let default = if is_send { Policy::Continue } else { Policy::Park };
        let kind = match kind {
            doc::StepKind::Send(send) => self.send(step, send)?,
            doc::StepKind::Wait(wait) => self.wait(step, wait)?,
            doc::StepKind::WaitFor(wait) => self.wait_for(step, wait, next, flat),
            doc::StepKind::Branch(branch) => self.branch(step, branch, next, flat),
            doc::StepKind::Split(split) => self.split(step, split, next, flat),
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

    // ---- send ----

    fn send(&mut self, step: &doc::Step, send: &doc::Send) -> Option<StepKind> {
        let place = Place::Step(step);
        let Some(message) = self.catalog.message(&send.message) else {
            self.add(unknown(self.catalog, Kind::Message, &send.message, &self.id), place, "send.message");
            // A message of the history that cannot be compiled any more fails its sends, and nothing else.
            return (self.source == Source::History).then(|| StepKind::Send { message: send.message.clone() });
        };
        if message.purpose.is_none() {
            // S2: without a consent model nobody is kept from anything, so this refuses nothing yet.
            let why = format!(
                "the message {} has no purpose; say `purpose: commercial` or `transactional` in it, which decides \
                 about consent",
                message.name
            );
            self.warn("send_without_purpose", place, "send.message", why);
        }
        self.check_message(step, message);
        Some(StepKind::Send { message: send.message.clone() })
    }

    /// What the message reads must be there in this journey (J14).
    fn check_message(&mut self, step: &doc::Step, message: &Message) {
        let mut found = Vec::new();
        let scope = self.scope(self.start_trigger(), Place::Step(step));
        for (part, template) in message.templates() {
            for variable in template.variables() {
                let path: Vec<&str> = crate::messages::segments(&variable.path).collect();
                let may_lack = match scope.lookup(&path) {
                    Lookup::Unknown { why } => {
                        found.push((Severity::Error, part.clone(), why));
                        continue;
                    }
                    Lookup::Known { required, .. } => !required,
                    Lookup::Open => true,
                };
                if may_lack && !variable.has_default && message.on_missing == OnMissing::Fail {
                    let path = &variable.path;
                    let why = format!(
                        "{path} may be missing, and then nothing is sent; give it a value with {{{{ {path} | default: \
                         \"…\" }}}} or ask for it with {{% if {path} %}}"
                    );
                    found.push((Severity::Warning, part.clone(), why));
                }
            }
        }
        for (severity, part, why) in found {
            let path = format!("Message/{} spec.{part}", message.name);
            match severity {
                Severity::Error => self.error("template_unknown_path", Place::Step(step), &path, why),
                Severity::Warning => self.warn("template_may_lack_data", Place::Step(step), &path, why),
            }
        }
    }

    // ---- wait ----

    fn wait(&mut self, step: &doc::Step, wait: &doc::Wait) -> Option<StepKind> {
        let place = Place::Step(step);
        if wait.late.is_some() && wait.if_late_over.is_none() {
            self.error("wait_late", place, "wait.late", "`late` needs `if_late_over`, such as 2h");
        }
        if let Some(span) = wait.if_late_over.filter(|span| span.negative) {
            let message = format!("`{span}` is no lateness; expected such as 2h");
            self.error("wait_late", place, "wait.if_late_over", message);
        }
        let until = match (&wait.duration, &wait.until) {
            (Some(span), None) => {
                self.check_length(step, span, "wait.for");
                WaitUntil::For(*span)
            }
            (None, Some(until)) => self.until(step, until)?,
            (Some(_), Some(_)) | (None, None) => {
                let message = "a wait has either `for` a duration or `until` something";
                self.error("wait_kind", place, "wait", message);
                return None;
            }
        };
        Some(StepKind::Wait(Wait { until, if_late_over: wait.if_late_over, late: wait.late.unwrap_or_default() }))
    }

    fn check_length(&mut self, step: &doc::Step, span: &Span, path: &str) {
        if span.negative || span.is_zero() {
            let message = format!("`{span}` is no time to wait; expected such as 1d");
            self.error("wait_negative", Place::Step(step), path, message);
        }
        // By the most it can come to, whenever someone arrives: a year may have a leap day, so `1y` is not allowed.
        if span.at_most_ms() > WAIT_DAYS_MAX * DAY_MS {
            let message = format!(
                "`{span}` can be longer than {WAIT_DAYS_MAX} days, the longest a wait can be; say `{WAIT_DAYS_MAX}d` or \
                 less (a month counts as 31 days)"
            );
            self.error("wait_too_long", Place::Step(step), path, message);
        }
    }

    fn until(&mut self, step: &doc::Step, until: &Until) -> Option<WaitUntil> {
        let place = Place::Step(step);
        Some(match until {
            Until::Instant(text) => {
                if calendar::read_instant(text, &calendar::Zone::utc()).is_none() {
                    let message = format!("`{text}` is no date-time; expected such as 2026-05-01T09:00:00Z");
                    self.error("wait_instant", place, "wait.until", message);
                }
                WaitUntil::Instant(text.as_str().into())
            }
            Until::Attribute(until) => self.until_attribute(step, until)?,
            Until::Time(until) => WaitUntil::Time { time: until.time, days: until.days },
            Until::Window(until) => {
                if until.window.from == until.window.to {
                    let message = "a window that begins when it ends is empty; leave the wait out if any time will do";
                    self.error("window_empty", place, "wait.until.window", message);
                }
                WaitUntil::Window(until.window)
            }
        })
    }

    fn until_attribute(&mut self, step: &doc::Step, until: &doc::UntilAttribute) -> Option<WaitUntil> {
        const PATH: &str = "wait.until.attribute";
        let before = self.findings.len();
        let path = self.expression(step, &until.attribute, PATH)?;
        match path.ty() {
            Type::Datetime | Type::Text | Type::Any => {}
            ty @ (Type::Bool | Type::Number | Type::Duration | Type::List | Type::Map | Type::Null) => {
                let message = format!("`{}` is {}, not a date-time", until.attribute, ty.as_str());
                self.error("wait_attribute", Place::Step(step), PATH, message);
            }
        }
        // Who says what a missing date does has thought of it.
        if until.on_missing != OnMissingDate::Error {
            let mut found = self.findings.split_off(before);
            found.retain(|finding| finding.code != "condition_may_lack_data");
            self.findings.append(&mut found);
        }
        Some(WaitUntil::Attribute { path, offset: until.offset, on_missing: until.on_missing })
    }

    // ---- wait_for ----

    fn wait_for(&mut self, step: &'a doc::Step, wait: &'a doc::WaitFor, next: Next, flat: &mut Flat) -> StepKind {
        if wait.outcomes.is_empty() {
            let message = "it waits for nothing; name at least one outcome, or use `wait`";
            self.error("wait_for_outcomes_empty", Place::Step(step), "wait_for.outcomes", message);
        }
        self.check_length(step, &wait.up_to, "wait_for.up_to");
        let mut outcomes = Vec::new();
        for (at, outcome) in wait.outcomes.iter().enumerate() {
            let first = self.arm(&outcome.steps, next, flat);
            let compiled = self.outcome(step, outcome, first, &format!("wait_for.outcomes[{at}]"));
            self.is_whole &= compiled.is_some();
            outcomes.extend(compiled);
        }
        let otherwise = self.arm(&wait.otherwise, next, flat);
        StepKind::WaitFor(WaitFor { outcomes, up_to: wait.up_to, otherwise })
    }

    fn outcome(&mut self, step: &doc::Step, outcome: &doc::Outcome, next: Next, path: &str) -> Option<Outcome> {
        let place = Place::Step(step);
        let (on, trigger) = match (&outcome.trigger, &outcome.interaction) {
            (Some(trigger), None) => self.trigger_outcome(step, outcome, trigger, path)?,
            (None, Some(interaction)) => {
                if outcome.since.is_some() {
                    let message = "`since` belongs to a trigger; an interaction counts from its send on";
                    self.error("wait_for_kind", place, &format!("{path}.since"), message);
                }
                let found = self.interaction(step, interaction, path)?;
                let of = self.send_step(step, interaction, outcome.of.as_ref(), path)?;
                (OutcomeOn::Interaction { interaction: interaction.clone(), of }, found)
            }
            (Some(_), Some(_)) | (None, None) => {
                let message = "an outcome is either a `trigger`, or an `interaction` `of` a send step";
                self.error("wait_for_kind", place, path, message);
                return None;
            }
        };
        let condition = match &outcome.condition {
            Some(source) => Some(self.condition(source, Some(trigger), place, &format!("{path}.where"))?),
            None => None,
        };
        Some(Outcome { on, condition, next })
    }

    fn trigger_outcome(
        &mut self,
        step: &doc::Step,
        outcome: &doc::Outcome,
        trigger: &Name,
        path: &str,
    ) -> Option<(OutcomeOn, &'a Trigger)> {
        let place = Place::Step(step);
        if outcome.of.is_some() {
            let message = "`of` belongs to an interaction, not a trigger; leave it out";
            self.error("wait_for_kind", place, &format!("{path}.of"), message);
        }
        let found = self.trigger(trigger, place, &format!("{path}.trigger"))?;
        if found.kind == TriggerKind::Interaction {
            let message = format!("{trigger} is an interaction: say `interaction: {trigger}` and `of` a send step");
            self.error("interaction_trigger_role", place, &format!("{path}.trigger"), message);
            return None;
        }
        let since = outcome.since.unwrap_or(Since::Step);
        Some((OutcomeOn::Trigger { trigger: trigger.clone(), since }, found))
    }

    fn interaction(&mut self, step: &doc::Step, interaction: &Name, path: &str) -> Option<&'a Trigger> {
        let found = self.catalog.trigger(interaction).filter(|trigger| trigger.kind == TriggerKind::Interaction);
        if found.is_none() {
            let names = builtin::BUILTINS.iter().filter(|builtin| builtin.kind == TriggerKind::Interaction);
            let hint = hint(interaction, names.map(|builtin| builtin.name));
            let message = format!("there is no interaction {interaction}{hint}");
            self.error("interaction_unknown", Place::Step(step), &format!("{path}.interaction"), message);
        }
        found.map(AsRef::as_ref)
    }

    /// The send step an interaction is of; its message must go by the interaction's channel.
    fn send_step(&mut self, step: &doc::Step, interaction: &Name, of: Option<&Name>, path: &str) -> Option<StepIndex> {
        let target = of.and_then(|of| self.index.get(of.as_str()));
        let target = target.and_then(|(index, step)| Some((*index, step.send.as_ref()?)));
        let message = match (of, target) {
            (None, _) => format!("{interaction} of which send? Name the send step with `of`"),
            (Some(of), None) => {
                let sends = self.index.iter().filter(|(_, (_, step))| step.send.is_some()).map(|(id, _)| *id);
                format!("{of} is not a send step of this journey{}", hint(of, sends))
            }
            (Some(of), Some((index, send))) => {
                let channel = self.catalog.message(&send.message).map(|message| message.channel.as_str());
                let Some(channel) = channel.filter(|channel| *channel != builtin::channel_of(interaction)) else {
                    return Some(index);
                };
                format!("{of} sends by {channel}, of which there is no {interaction}")
            }
        };
        self.error("interaction_of_unknown", Place::Step(step), &format!("{path}.of"), message);
        None
    }

    // ---- branch, split, go_to ----

    fn branch(&mut self, step: &'a doc::Step, branch: &'a doc::Branch, next: Next, flat: &mut Flat) -> StepKind {
        let place = Place::Step(step);
        if branch.when.is_empty() {
            self.error("branch_empty", place, "branch.when", "a branch needs at least one condition");
        }
        let mut arms = Vec::new();
        let mut before: BTreeSet<&str> = BTreeSet::new();
        let mut always = None;
        for (at, when) in branch.when.iter().enumerate() {
            let path = format!("branch.when[{at}].if");
            let condition = self.condition(&when.condition, self.start_trigger(), place, &path);
            let first = self.arm(&when.steps, next, flat);
            let Some(condition) = condition else {
                self.is_whole = false;
                continue;
            };
            let why = if let Some(always) = always {
                Some(format!("`{always}` before it is always true"))
            } else if condition.constant() == Some(false) {
                Some("it is never true".to_owned())
            } else if !before.insert(when.condition.trim()) {
                Some("the same stands before it".to_owned())
            } else {
                None
            };
            if let Some(why) = why {
                let message = format!("`{}` can never be taken: {why}", when.condition);
                self.error("branch_never", place, &path, message);
            }
            if condition.constant() == Some(true) {
                always = always.or(Some(when.condition.as_str()));
            }
            arms.push((condition, first));
        }
        if let Some(always) = always.filter(|_| !branch.otherwise.is_empty()) {
            let message = format!("it can never be taken: `{always}` before it is always true");
            self.error("branch_never", place, "branch.otherwise", message);
        }
        StepKind::Branch { arms, otherwise: self.arm(&branch.otherwise, next, flat) }
    }

    fn split(&mut self, step: &'a doc::Step, split: &'a doc::Split, next: Next, flat: &mut Flat) -> StepKind {
        let place = Place::Step(step);
        let weights_sum: u64 = split.arms.iter().map(|arm| u64::from(arm.weight)).sum();
        let too_heavy = split.arms.iter().any(|arm| arm.weight > doc::Arm::WEIGHT_MAX);
        if weights_sum == 0 || too_heavy {
            let message = format!("weights are 0 to {} and not all 0", doc::Arm::WEIGHT_MAX);
            self.error("split_weights", place, "split.arms", message);
            self.is_whole = false;
        }
        let mut arms = Vec::new();
        let mut names = BTreeSet::new();
        for arm in &split.arms {
            if !names.insert(&arm.name) {
                let message = format!("two arms are named {}", arm.name);
                self.error("split_arm_duplicate", place, "split.arms", message);
            }
            let next = self.arm(&arm.steps, next, flat);
            arms.push(SplitArm { name: arm.name.clone(), weight: arm.weight, next });
        }
        StepKind::Split { arms, weights_sum }
    }

    fn go_to(&mut self, step: &doc::Step, target: &Name) -> Option<StepKind> {
        if let Some((index, _)) = self.index.get(target.as_str()) {
            return Some(StepKind::GoTo(*index));
        }
        let message = format!("there is no step {target}{}", hint(target, self.index.keys().copied()));
        self.error("go_to_unknown", Place::Step(step), "go_to", message);
        None
    }
}
