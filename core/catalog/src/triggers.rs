//! Trigger documents and built-in triggers compiled (C2–C5), with the findings about them.

use crate::builtin::{self, Builtin};
use crate::compiled::{Attribute, BindingPart, BindingPattern, Trigger};
use model::trigger::{AttributeSpec, Trigger as Spec, TriggerKind, TriggerState};
use model::{AttributeName, Finding, Name, Span};

pub(crate) fn builtin_trigger(builtin: &Builtin) -> Trigger {
    let name = |text| Name::new(text).expect("INVARIANT: built-in names are names");
    let attribute_name = |text: &str| AttributeName::new(text).expect("INVARIANT: built-in attributes have names");
    let mut attributes: Vec<Attribute> = builtin
        .attributes
        .iter()
        .map(|(attribute, ty)| Attribute { name: attribute_name(attribute), ty: *ty, required: false })
        .collect();
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    Trigger {
        name: name(builtin.name),
        kind: builtin.kind,
        state: TriggerState::Ready,
        bind: builtin.bind,
        // A row is named by its table and the column that table's key has (J6).
        binding: builtin.table.map(|table| {
            let key = attribute_name(&format!("{table}id"));
            BindingPattern(vec![BindingPart::Fixed(format!("{table}/").into()), BindingPart::Attribute(key)])
        }),
        attributes,
        max_age_ms: Spec::MAX_AGE_DEFAULT_MS,
        version: 0,
    }
}

pub(crate) fn trigger(name: &Name, spec: &Spec, version: u32, findings: &mut Vec<Finding>) -> Trigger {
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
    if spec.attributes.len() > Spec::ATTRIBUTES_MAX {
        let message = format!("{} attributes; at most {} are allowed", spec.attributes.len(), Spec::ATTRIBUTES_MAX);
        error("attribute_limit", "spec.attributes", message);
    }
    let binding = spec.binding.as_deref().and_then(|pattern| binding(pattern, spec, &mut error));
    if spec.max_age.as_ref().is_some_and(|span| span.negative || span.is_zero()) {
        error("trigger_max_age", "spec.max_age", "an age is more than nothing, such as 24h".to_owned());
    }
    let attribute = |(name, spec): (&AttributeName, &AttributeSpec)| Attribute {
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
        max_age_ms: spec.max_age.as_ref().map_or(Spec::MAX_AGE_DEFAULT_MS, Span::at_most_ms),
        version,
    }
}

fn binding(pattern: &str, spec: &Spec, error: &mut impl FnMut(&'static str, &str, String)) -> Option<BindingPattern> {
    let pattern = match binding_pattern(pattern) {
        Ok(pattern) => pattern,
        Err(message) => {
            error("binding_syntax", "spec.binding", message);
            return None;
        }
    };
    for part in &pattern.0 {
        let BindingPart::Attribute(attribute) = part else { continue };
        if !spec.attributes.contains_key(attribute) {
            let hint = crate::hint(attribute, spec.attributes.keys().map(AttributeName::as_str));
            let message = format!("{{{attribute}}} is not an attribute of the trigger{hint}");
            error("binding_unknown_attribute", "spec.binding", message);
        }
    }
    Some(pattern)
}

/// Reads `cart/{cart_id}`.
fn binding_pattern(pattern: &str) -> Result<BindingPattern, String> {
    let wrong = |why: &str| format!("`{pattern}`: {why}; expected for example cart/{{cart_id}}");
    if pattern.trim().is_empty() {
        return Err(wrong("it is empty"));
    }
    let mut parts = Vec::new();
    let fixed = |text: &str, parts: &mut Vec<BindingPart>| {
        if text.contains('}') {
            return Err(wrong("a `}` closes nothing"));
        }
        parts.extend((!text.is_empty()).then(|| BindingPart::Fixed(text.into())));
        Ok(())
    };
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let (attribute, tail) = after.split_once('}').ok_or_else(|| wrong("a `{` is not closed"))?;
        fixed(before, &mut parts)?;
        let attribute =
            AttributeName::new(attribute).map_err(|_| wrong("between `{` and `}` stands an attribute's name"))?;
        parts.push(BindingPart::Attribute(attribute));
        rest = tail;
    }
    fixed(rest, &mut parts)?;
    Ok(BindingPattern(parts))
}
