//! Where the values of update and raise steps come from, and which events a journey must keep for what reads them.

use crate::compile::{Compiler, Place};
use crate::compiled::{JourneyVersion, Mapping, StepKind, Trigger, Wait, WaitUntil};
use crate::scope::type_of;
use crate::{Catalog, hint};
use condition::{Condition, Expression, Type};
use model::journey as doc;
use model::trigger::{AttributeType, TriggerKind};
use model::{AttributeName, Name, Text, Value};
use std::collections::{BTreeMap, BTreeSet};

impl Compiler<'_> {
    fn mapping(&mut self, step: &doc::Step, mapping: &doc::Mapping, path: &str) -> Option<Mapping> {
        match mapping {
            doc::Mapping::Fixed(value) if value.is_too_deep() => {
                self.error("value_too_deep", Place::Step(step), path, too_deep());
                None
            }
            doc::Mapping::Fixed(value) => Some(Mapping::Fixed(value.clone())),
            doc::Mapping::From(from) => self.expression(step, &from.from, path).map(Mapping::From),
        }
    }

    pub(crate) fn mappings(
        &mut self,
        step: &doc::Step,
        mappings: &BTreeMap<AttributeName, doc::Mapping>,
        path: &str,
    ) -> Option<Vec<(Text, Mapping)>> {
        // Each is compiled before any is given up, so that all their findings are told at once.
        let compiled: Vec<_> = mappings
            .iter()
            .map(|(name, mapping)| {
                let mapping = self.mapping(step, mapping, &format!("{path}.{name}"))?;
                Some((name.as_text().clone(), mapping))
            })
            .collect();
        compiled.into_iter().collect()
    }

    pub(crate) fn raise(&mut self, step: &doc::Step, raise: &doc::Raise) -> Option<StepKind> {
        let place = Place::Step(step);
        let trigger = self.trigger(&raise.trigger, place, "raise.trigger")?;
        if trigger.kind != TriggerKind::Custom {
            let message = format!("{} is not a custom trigger; only those can be raised", raise.trigger);
            self.error("raise_not_custom", place, "raise.trigger", message);
            return None;
        }
        for declared in trigger.attributes.iter().filter(|declared| declared.required) {
            if !raise.attributes.contains_key(&declared.name) {
                let message = format!("the trigger {} needs the attribute {}; map it", trigger.name, declared.name);
                self.error("raise_missing_attribute", place, "raise.attributes", message);
            }
        }
        let attributes = self.mappings(step, &raise.attributes, "raise.attributes");
        let binding_id = match &raise.binding_id {
            Some(mapping) => Some(self.mapping(step, mapping, "raise.binding_id")?),
            None => None,
        };
        let attributes = attributes?;
        for (name, mapping) in &attributes {
            self.check_raised(step, trigger, name, mapping);
        }
        if let Some(mapping) = &binding_id {
            let ty = type_of_mapping(mapping);
            if !matches!(ty, Type::Text | Type::Any) {
                let message = format!("a binding id is a text such as cart/42; {} is mapped to it", ty.as_str());
                self.error("raise_type", place, "raise.binding_id", message);
            }
        }
        Some(StepKind::Raise { trigger: raise.trigger.clone(), attributes, binding_id })
    }

    fn check_raised(&mut self, step: &doc::Step, trigger: &Trigger, name: &Text, mapping: &Mapping) {
        let path = format!("raise.attributes.{name}");
        let declared = trigger.attributes.iter().find(|declared| *declared.name.as_text() == *name);
        let Some(declared) = declared else {
            let hint = hint(name, trigger.attributes.iter().map(|declared| declared.name.as_str()));
            let message = format!("{name} is not an attribute of the trigger {}{hint}", trigger.name);
            self.error("raise_unknown_attribute", Place::Step(step), &path, message);
            return;
        };
        let (came, wanted) = (type_of_mapping(mapping), type_of(declared.ty));
        let fits = came == wanted
            || came == Type::Any
            || (came == Type::Null && !declared.required)
            || (declared.ty == AttributeType::Datetime && came == Type::Text)
            || (wanted == Type::Text && came == Type::Datetime);
        if !fits {
            let message =
                format!("{name} of {} is {}; {} is mapped to it", trigger.name, declared.ty.as_str(), came.as_str());
            self.error("raise_type", Place::Step(step), &path, message);
        }
    }
}

/// What is said of a value that nothing could keep.
pub(crate) fn too_deep() -> String {
    format!("the value nests deeper than {} levels, the most that is kept of one", Value::DEPTH_MAX)
}

fn type_of_mapping(mapping: &Mapping) -> Type {
    match mapping {
        Mapping::From(expression) => expression.ty(),
        Mapping::Fixed(Value::Null) => Type::Null,
        Mapping::Fixed(Value::Bool(_)) => Type::Bool,
        Mapping::Fixed(Value::Int(_) | Value::Float(_)) => Type::Number,
        Mapping::Fixed(Value::Text(_)) => Type::Text,
        Mapping::Fixed(Value::List(_)) => Type::List,
        Mapping::Fixed(Value::Map(_)) => Type::Map,
    }
}

/// The triggers whose last event must be kept: those that conditions, mappings or messages read as `trigger.<name>`.
pub(crate) fn remembers(catalog: &Catalog, journey: &JourneyVersion) -> Vec<Name> {
    let mut names: BTreeSet<Text> = BTreeSet::new();
    let listeners = journey.exits.iter().chain(journey.goals.iter().map(|goal| &goal.listener));
    names.extend(listeners.flat_map(|listener| of_condition(listener.condition.as_ref())));
    for step in &journey.steps {
        match &step.kind {
            StepKind::Send { message } => names.extend(of_message(catalog, message)),
            StepKind::Wait(Wait { until: WaitUntil::Attribute { path, .. }, .. }) => names.extend(path.triggers()),
            StepKind::WaitFor(wait) => {
                names.extend(wait.outcomes.iter().flat_map(|outcome| of_condition(outcome.condition.as_ref())));
            }
            StepKind::Branch { arms, .. } => {
                names.extend(arms.iter().flat_map(|(condition, _)| condition.triggers()));
            }
            StepKind::Update { attributes } => {
                names.extend(attributes.iter().flat_map(|(_, mapping)| of_mapping(mapping)))
            }
            StepKind::Raise { attributes, binding_id, .. } => {
                let mappings = attributes.iter().map(|(_, mapping)| mapping).chain(binding_id);
                names.extend(mappings.flat_map(of_mapping));
            }
            StepKind::Wait(_)
            | StepKind::Split { .. }
            | StepKind::GoTo(_)
            | StepKind::Exit { .. }
            | StepKind::Inert => {}
        }
    }
    names.iter().filter_map(|name| Name::new(name).ok()).collect()
}

fn of_condition(condition: Option<&Condition>) -> Vec<Text> {
    condition.map(Condition::triggers).unwrap_or_default()
}

fn of_mapping(mapping: &Mapping) -> Vec<Text> {
    match mapping {
        Mapping::From(expression) => Expression::triggers(expression),
        Mapping::Fixed(_) => Vec::new(),
    }
}

fn of_message(catalog: &Catalog, message: &Name) -> Vec<Text> {
    let Some(message) = catalog.message(message) else { return Vec::new() };
    let mut names = Vec::new();
    for (_, template) in message.templates() {
        let paths = template.variables().iter().map(|variable| variable.path.as_str());
        names.extend(paths.filter_map(|path| path.strip_prefix("trigger.")?.split(['.', '[']).next()).map(Text::from));
    }
    names
}
