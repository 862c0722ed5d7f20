//! What a publish changes, what it leaves, and what it refuses for the sake of live journeys (C3, C6, J12).

use super::*;
use crate::{Action, Role};

const JOURNEY: &str = "{start: {trigger: cart, where: event.total > 50}, exits: [{trigger: bought}], steps: [{id: a, \
                       send: {message: mail}}]}";

fn plan(built: &Built) -> Vec<(String, Action, u32)> {
    built.plan.iter().map(|line| (line.id.to_string(), line.action, line.version)).collect()
}

#[test]
fn what_is_published_again_unchanged_is_no_change() {
    let yaml = document("Journey", "j", JOURNEY);
    let first = published(&base(), &yaml);
    let again = with(&first, &puts(&yaml));
    assert_eq!(plan(&again), [("Journey/j".into(), Action::Unchanged, 1)]);
    let again = again.catalog.unwrap();
    assert!(Arc::ptr_eq(live(&first, "j"), live(&again, "j")));
}

#[test]
fn a_changed_journey_gets_a_new_version_beside_the_old_one() {
    let first = published(&base(), &document("Journey", "j", JOURNEY));
    let second = with(&first, &puts(&document("Journey", "j", &JOURNEY.replace("50", "60"))));
    assert_eq!(plan(&second), [("Journey/j".into(), Action::Update, 2)]);
    let second = second.catalog.unwrap();
    assert_eq!(live(&second, "j").version, 2);
    assert!(Arc::ptr_eq(second.journey_version("j", 1).unwrap(), live(&first, "j")));
    assert_eq!(second.starts("cart").len(), 1);
    let condition = second.starts("cart")[0].start.listener.condition.as_ref().unwrap();
    assert_eq!(condition.source(), "event.total > 60");
}

#[test]
fn a_removed_journey_takes_nobody_in_and_goes_on_counting_versions_when_it_comes_again() {
    let first = published(&base(), &document("Journey", "j", JOURNEY));
    let removed = with(&first, &[remove(Kind::Journey, "j")]);
    assert_eq!(plan(&removed), [("Journey/j".into(), Action::Delete, 1)]);
    let removed = removed.catalog.unwrap();
    assert!(removed.starts("cart").is_empty());
    // Those inside still find their version.
    assert!(removed.journey_version("j", 1).is_some());
    let again = published(&removed, &document("Journey", "j", JOURNEY));
    assert_eq!(live(&again, "j").version, 2);
}

#[test]
fn nothing_is_changed_when_one_document_has_an_error() {
    let yaml = format!("{}---\n{}", document("Trigger", "fine", "{}"), document("Trigger", "sms_sent", "{}"));
    let built = with(&base(), &puts(&yaml));
    assert!(built.catalog.is_none());
    assert_eq!(built.plan.len(), 2, "the plan is told all the same");
}

#[test]
fn one_name_twice_is_refused_and_so_is_deleting_nothing() {
    let twice = with(&base(), &[puts(&document("Trigger", "t", "{}")), puts(&document("Trigger", "t", "{}"))].concat());
    assert_eq!(lines(&twice.findings), ["error document_duplicate Trigger/t"]);
    let gone = with(&base(), &[remove(Kind::Message, "nobody")]);
    assert_eq!(lines(&gone.findings), ["error document_unknown Message/nobody"]);
}

#[test]
fn t26_only_live_versions_are_started() {
    let mut catalog = base();
    for (state, started) in [("draft", 0), ("live", 1), ("stopped", 0), ("live", 1)] {
        let spec = JOURNEY.replacen('{', &format!("{{state: {state}, "), 1);
        catalog = published(&catalog, &document("Journey", "j", &spec));
        assert_eq!(catalog.starts("cart").len(), started, "{state}");
    }
    assert!(catalog.starts("bought").is_empty());
}

#[test]
fn starts_are_in_order_of_names() {
    let both = format!("{}---\n{}", document("Journey", "z", JOURNEY), document("Journey", "b", JOURNEY));
    let catalog = published(&base(), &both);
    let names: Vec<&str> = catalog.starts("cart").iter().map(|version| version.journey.as_str()).collect();
    assert_eq!(names, ["b", "z"]);
}

#[test]
fn a_draft_with_errors_is_kept_with_warnings() {
    let draft = "{state: draft, start: {trigger: crt}, steps: [{id: a}]}";
    let built = with(&base(), &puts(&document("Journey", "j", draft)));
    assert_eq!(
        lines(&built.findings),
        ["warning trigger_unknown Journey/j spec.start.trigger", "warning step_kind Journey/j a"]
    );
    let catalog = built.catalog.unwrap();
    assert!(catalog.journey("j").unwrap().versions.is_empty());
    let id = DocumentId { kind: Kind::Journey, name: name("j") };
    assert!(catalog.document(&id).is_some());
}

#[test]
fn what_a_live_journey_uses_cannot_be_deleted_but_with_it() {
    let catalog = published(&base(), &document("Journey", "j", JOURNEY));
    for (kind, used, place) in
        [(Kind::Trigger, "bought", "exit"), (Kind::Trigger, "cart", "start"), (Kind::Message, "mail", "send in step a")]
    {
        let built = with(&catalog, &[remove(kind, used)]);
        assert_eq!(lines(&built.findings), [format!("error in_use {kind}/{used}")]);
        assert!(built.findings[0].message.starts_with(&format!("the live journey j ({place}) uses it")));
        let both = with(&catalog, &[remove(kind, used), remove(Kind::Journey, "j")]);
        assert_eq!(lines(&both.findings), Vec::<String>::new());
    }
    let unused = with(&catalog, &[remove(Kind::Message, "sms"), remove(Kind::Trigger, "planned")]);
    assert_eq!(lines(&unused.findings), Vec::<String>::new());
    assert!(unused.catalog.unwrap().message("sms").is_none());
}

#[test]
fn stopping_a_trigger_names_the_live_journeys_it_silences() {
    let catalog = published(&base(), &document("Journey", "j", JOURNEY));
    let stop = "{state: stopped, attributes: {id: {type: text, required: true}}}";
    let built = with(&catalog, &puts(&document("Trigger", "bought", stop)));
    assert_eq!(lines(&built.findings), ["warning trigger_stopped Trigger/bought spec.state"]);
    assert_eq!(built.findings[0].message, "stopping it silences the live journey j (exit)");
    // Told once; what is published later does not hear of it again.
    let later = with(
        &built.catalog.unwrap(),
        &puts(&document("Trigger", "cart", "{attributes: {total: {type: number}, id: {type: text}}}")),
    );
    assert_eq!(lines(&later.findings), Vec::<String>::new());
    let draft = with(&catalog, &puts(&document("Trigger", "bought", &stop.replace("stopped", "draft"))));
    assert_eq!(lines(&draft.findings), ["error trigger_not_ready Trigger/bought spec.state"]);
}

#[test]
fn t12_a_changed_type_that_breaks_a_live_condition_is_refused_with_its_place() {
    let catalog = published(&base(), &document("Journey", "j", JOURNEY));
    let change = |ty: &str| {
        let spec =
            format!("{{attributes: {{id: {{type: text, required: true}}, total: {{type: {ty}, required: true}}}}}}");
        lines(&with(&catalog, &puts(&document("Trigger", "cart", &spec))).findings)
    };
    assert_eq!(change("text"), ["error condition_type Journey/j spec.start.where"]);
    assert_eq!(change("number"), Vec::<String>::new());
    // So is one that takes away what a live journey's message prints.
    let without_id = "{attributes: {total: {type: number, required: true}}}";
    let built = with(&catalog, &puts(&document("Trigger", "cart", without_id)));
    assert_eq!(lines(&built.findings), ["error template_unknown_path Journey/j a Message/mail spec.subject"]);
    // An optional attribute more is always allowed (C6).
    let more =
        "{attributes: {id: {type: text, required: true}, total: {type: number, required: true}, x: {type: text}}}";
    assert_eq!(lines(&with(&catalog, &puts(&document("Trigger", "cart", more))).findings), Vec::<String>::new());
}

#[test]
fn a_draft_does_not_keep_a_trigger_from_changing() {
    let draft = JOURNEY.replacen('{', "{state: draft, ", 1);
    let catalog = published(&base(), &document("Journey", "j", &draft));
    let built = with(&catalog, &[remove(Kind::Trigger, "bought")]);
    assert_eq!(lines(&built.findings), Vec::<String>::new());
}

#[test]
fn a_journey_keeps_the_events_that_its_messages_read_now() {
    let remembered =
        |catalog: &Catalog| -> Vec<String> { live(catalog, "j").remembers.iter().map(ToString::to_string).collect() };
    let catalog = published(&base(), &document("Journey", "j", JOURNEY));
    assert_eq!(remembered(&catalog), Vec::<String>::new());
    let mail =
        "{channel: email, purpose: commercial, subject: Hi, text: 'Paid {{ trigger.bought.total | default: 0 }}'}";
    let catalog = published(&catalog, &document("Message", "mail", mail));
    assert_eq!(remembered(&catalog), ["bought"]);
    assert_eq!(live(&catalog, "j").version, 1, "the journey itself is unchanged");
}

#[test]
fn everything_that_is_read_of_triggers_is_remembered() {
    let reads = [
        "{id: s, send: {message: receipt}}",
        "{id: s, branch: {when: [{if: has(trigger.bought.total)}]}}",
        "{id: s, wait: {until: {attribute: trigger.bought.id}}}",
        "{id: s, update: {attributes: {last: {from: trigger.bought.id}}}}",
        "{id: s, raise: {trigger: bought, attributes: {id: {from: trigger.bought.id}}}}",
        "{id: s, raise: {trigger: bought, attributes: {id: a}, binding_id: {from: trigger.bought.id}}}",
        "{id: s, wait_for: {outcomes: [{trigger: cart, where: has(trigger.bought.total)}], up_to: 1d}}",
    ];
    for read in reads {
        let catalog = published(&base(), &steps(read));
        assert_eq!(live(&catalog, "j").remembers, [name("bought")], "{read}");
        let uses = catalog.used_in(&DocumentId { kind: Kind::Trigger, name: name("bought") });
        assert!(uses.iter().any(|by| by.role == Role::Reads), "{read}");
    }
}

#[test]
fn a_trigger_says_who_uses_it() {
    let draft = document("Journey", "k", "{state: draft, start: {trigger: bought}, steps: [{id: a, exit: {}}]}");
    let catalog = published(&base(), &format!("{}---\n{draft}", document("Journey", "j", JOURNEY)));
    let uses = catalog.used_in(&DocumentId { kind: Kind::Trigger, name: name("bought") });
    let uses: Vec<String> = uses.iter().map(ToString::to_string).collect();
    assert_eq!(uses, ["the live journey j (exit)", "the journey k (start)"]);
}

#[test]
fn an_unknown_name_finds_its_nearest() {
    let catalog = base();
    assert_eq!(catalog.nearest_trigger("bougth"), Some("bought"));
    assert_eq!(catalog.nearest_trigger("email_opend"), Some("email_opened"));
    assert_eq!(catalog.nearest_trigger("weather_report"), None);
}

#[test]
fn the_empty_catalog_has_the_built_in_triggers() {
    let catalog = Catalog::empty();
    let of_kind = |kind| catalog.triggers().filter(|trigger| trigger.kind == kind).count();
    assert_eq!(of_kind(model::trigger::TriggerKind::Business), 9);
    assert_eq!(of_kind(model::trigger::TriggerKind::Interaction), crate::builtin::BUILTINS.len() - 9);
    let clicked = catalog.trigger("email_link_clicked").unwrap();
    assert_eq!(clicked.attributes[0].name, "url");
    assert!(Catalog::empty().starts("lead_created").is_empty());
}
