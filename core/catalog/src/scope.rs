//! What conditions, mappings and templates of a journey may read, as the catalog knows it.

use crate::compiled::Trigger;
use crate::{Catalog, hint};
use condition::{Lookup, Schema, Type};
use model::trigger::{AttributeType, TriggerKind};

/// The roots at one place of a journey.
pub(crate) struct Scope<'a> {
    pub catalog: &'a Catalog,
    /// What `event` is there: the event under test in a `where`, the start's in steps and messages (J10).
    pub event: Option<&'a Trigger>,
    /// Not in the `where` of the start.
    pub inside: bool,
}

impl Schema for Scope<'_> {
    fn lookup(&self, path: &[&str]) -> Lookup {
        match path {
            ["event", attribute, rest @ ..] => match self.event {
                Some(trigger) => attribute_of(trigger, "event", attribute, rest),
                // That its trigger is not there is told already; nothing more can be said of it.
                None => Lookup::Known { ty: Type::Any, required: true },
            },
            ["trigger", ..] if !self.inside => Lookup::Unknown {
                why: "`trigger` is of those inside, and at the start nobody is; read `event` or `profile`".to_owned(),
            },
            ["trigger", name, rest @ ..] => self.trigger(name, rest),
            [root @ ("record" | "steps"), ..] => Lookup::Unknown { why: comes_later(root) },
            _ => Lookup::Open,
        }
    }
}

/// A root that has no value yet: to read it would fail for everyone, which nobody means.
pub(crate) fn comes_later(root: &str) -> String {
    let with = if root == "record" { "business records" } else { "steps that answer" };
    format!("`{root}` has no value yet: it comes with {with}; read `event`, `profile` or `trigger.<name>`")
}

impl Scope<'_> {
    fn trigger(&self, name: &str, rest: &[&str]) -> Lookup {
        let Some(trigger) = self.catalog.trigger(name) else {
            let names = self.catalog.triggers().map(|trigger| trigger.name.as_str());
            return Lookup::Unknown { why: format!("there is no trigger {name}{}", hint(name, names)) };
        };
        if trigger.kind == TriggerKind::Interaction {
            let why = format!("{name} is an interaction, of which nothing is kept; wait for it with `wait_for`");
            return Lookup::Unknown { why };
        }
        let [attribute, rest @ ..] = rest else { return Lookup::Open };
        // It may not have come yet, so even a required attribute may be missing.
        match attribute_of(trigger, &format!("trigger.{name}"), attribute, rest) {
            Lookup::Known { ty, .. } => Lookup::Known { ty, required: false },
            other @ (Lookup::Open | Lookup::Unknown { .. }) => other,
        }
    }
}

fn attribute_of(trigger: &Trigger, root: &str, attribute: &str, rest: &[&str]) -> Lookup {
    if let Ok(at) = trigger.attributes.binary_search_by(|declared| declared.name.as_str().cmp(attribute)) {
        let declared = &trigger.attributes[at];
        if !rest.is_empty() {
            return Lookup::Open;
        }
        return Lookup::Known { ty: type_of(declared.ty), required: declared.required };
    }
    // Records bring whatever columns their table has.
    if trigger.kind == TriggerKind::Business || attribute.starts_with("contactpoint_") {
        return Lookup::Open;
    }
    let names = trigger.attributes.iter().map(|declared| declared.name.as_str());
    let hint = match model::nearest::nearest(attribute, names.clone()) {
        Some(near) => format!("; did you mean {near}?"),
        None if trigger.attributes.is_empty() => "; it declares none".to_owned(),
        None => format!("; it declares {}", names.collect::<Vec<_>>().join(", ")),
    };
    Lookup::Unknown { why: format!("{root}.{attribute} is not an attribute of the trigger {}{hint}", trigger.name) }
}

pub(crate) fn type_of(ty: AttributeType) -> Type {
    match ty {
        AttributeType::Text | AttributeType::Reference => Type::Text,
        AttributeType::Number => Type::Number,
        AttributeType::Boolean => Type::Bool,
        AttributeType::Datetime => Type::Datetime,
    }
}
