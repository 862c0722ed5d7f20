//! Journey tests checked: whether each item says one thing, and of something that is there.

use crate::compile::unknown;
use crate::{Catalog, hint};
use model::Finding;
use model::document::{DocumentId, Kind, Spec};
use model::journey::{Step, for_each_step};
use model::journey_test::{Expect, Given, JourneyTest};
use model::trigger::TriggerKind;

pub(crate) fn check(catalog: &Catalog, id: &DocumentId, spec: &JourneyTest, findings: &mut Vec<Finding>) {
    let mut checker = Checker { catalog, document: id.to_string(), findings };
    let journey = DocumentId { kind: Kind::Journey, name: spec.journey.clone() };
    if catalog.document(&journey).is_none() {
        checker.findings.push(unknown(catalog, Kind::Journey, &spec.journey, id).at_path("spec.journey"));
    }
    if spec.profile.identities.is_empty() {
        checker.error("test_profile", "spec.profile.identities", "a profile needs at least one, such as user_id:42");
    }
    if spec.profile.attributes.iter().any(|(_, value)| value.is_too_deep()) {
        checker.error("value_too_deep", "spec.profile.attributes", crate::mappings::too_deep());
    }
    if spec.given.is_empty() {
        checker.error("test_given", "spec.given", "nothing is given; a test needs at least one event");
    }
    spec.given.iter().enumerate().for_each(|(at, given)| checker.given(at, given));
    spec.expect.iter().enumerate().for_each(|(at, expect)| checker.expect(at, expect));
}

struct Checker<'a> {
    catalog: &'a Catalog,
    document: String,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Checker<'a> {
    fn error(&mut self, code: &'static str, path: &str, message: impl Into<String>) {
        self.findings.push(Finding::error(code, self.document.clone(), message).at_path(path));
    }

    fn given(&mut self, at: usize, given: &Given) {
        let path = format!("spec.given[{at}]");
        let kinds = [given.event.is_some(), given.interaction.is_some(), given.profile.is_some()];
        if kinds.iter().filter(|is_given| **is_given).count() != 1 {
            self.error("test_given", &path, "an item is exactly one of `event`, `interaction` and `profile`");
        }
        if given.at.is_some() && given.after.is_some() {
            self.error("test_given", &path, "an item is either `at` an instant or `after` the one before it");
        }
        if at == 0 && given.at.is_none() {
            self.error("test_given", &path, "the first item needs `at`, such as \"2026-05-04T10:00:00Z\"");
        }
        let given_attributes = given.profile.iter().flat_map(|profile| profile.attributes.iter());
        if given.attributes.iter().chain(given_attributes).any(|(_, value)| value.is_too_deep()) {
            self.error("value_too_deep", &format!("{path}.attributes"), crate::mappings::too_deep());
        }
        if let Some(event) = &given.event {
            match self.catalog.trigger(event).map(|trigger| trigger.kind) {
                Some(TriggerKind::Custom | TriggerKind::Business) => {}
                Some(TriggerKind::Interaction) => {
                    let message = format!("{event} is an interaction: say `interaction: {event}` and `of` a send step");
                    self.error("test_given", &format!("{path}.event"), message);
                }
                // A test may show what an event nobody knows does, which is nothing.
                None => {
                    let hint = hint(event, self.catalog.names(Kind::Trigger));
                    let message = format!("there is no trigger {event}, so this does nothing{hint}");
                    let finding = Finding::warning("trigger_unknown", self.document.clone(), message);
                    self.findings.push(finding.at_path(format!("{path}.event")));
                }
            }
        }
        if let Some(interaction) = &given.interaction {
            self.interaction(interaction, given.of.as_deref(), &path);
        }
    }

    fn interaction(&mut self, interaction: &str, of: Option<&str>, path: &str) {
        let names = crate::builtin::BUILTINS.iter().filter(|builtin| builtin.kind == TriggerKind::Interaction);
        let names: Vec<&str> = names.map(|builtin| builtin.name).collect();
        if !names.contains(&interaction) {
            let message = format!("there is no interaction {interaction}{}", hint(interaction, names));
            self.error("interaction_unknown", &format!("{path}.interaction"), message);
        }
        let Some(of) = of else {
            let message = format!("{interaction} of which send? Name the send step with `of`");
            self.error("interaction_of_unknown", &format!("{path}.of"), message);
            return;
        };
        // All journeys of the catalog run in a test, so the send may be of any of them.
        let mut sends: Vec<&str> = Vec::new();
        for (_, held) in self.catalog.documents() {
            let Spec::Journey(journey) = &held.document.spec else { continue };
            let mut note = |step: &'a Step| sends.extend(step.send.iter().map(|_| step.id.as_str()));
            for_each_step(&journey.steps, &mut note);
        }
        if !sends.contains(&of) {
            let message = format!("{of} is not a send step of any journey{}", hint(of, sends));
            self.error("interaction_of_unknown", &format!("{path}.of"), message);
        }
    }

    fn expect(&mut self, at: usize, expect: &Expect) {
        let path = format!("spec.expect[{at}]");
        let kinds = [expect.send.is_some(), expect.blocked.is_some(), expect.exit.is_some()];
        if kinds.iter().filter(|is_given| **is_given).count() != 1 {
            self.error("test_expect", &path, "an item is exactly one of `send`, `blocked` and `exit`");
        } else if expect.blocked.is_some() != expect.reason.is_some() {
            let message = "a `blocked` send has a `reason`, nothing else has one; the reason of an end is `exit`";
            self.error("test_expect", &path, message);
        }
        for (field, name) in [("send", &expect.send), ("blocked", &expect.blocked)] {
            let Some(name) = name.as_ref().filter(|name| self.catalog.message(name).is_none()) else { continue };
            let message = format!("there is no message {name}{}", hint(name, self.catalog.names(Kind::Message)));
            self.error("message_unknown", &format!("{path}.{field}"), message);
        }
    }
}
