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
    let catalog = stopped_triggers(&published(&base(), &document("Journey", "j", JOURNEY)));
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

const CART: &str = "attributes: {id: {type: text, required: true}, total: {type: number, required: true}}";
const BOUGHT: &str = "attributes: {id: {type: text, required: true}}";

/// `cart` and `bought` stopped, so that they may be deleted if nobody uses them.
fn stopped_triggers(catalog: &Catalog) -> Catalog {
    let stopped = |name: &str, spec: &str| document("Trigger", name, &format!("{{state: stopped, {spec}}}"));
    let yaml = format!("{}---\n{}", stopped("cart", CART), stopped("bought", BOUGHT));
    let (catalog, findings) = catalog.restored(CatalogVersion(catalog.version().0 + 1), &puts(&yaml));
    assert_eq!(findings, []);
    catalog
}

#[test]
fn a_trigger_goes_from_draft_to_ready_to_stopped_and_is_deleted_while_it_is_not_ready() {
    let put = |state: &str| puts(&document("Trigger", "t", &format!("{{state: {state}}}")));
    let t = || [remove(Kind::Trigger, "t")];
    let after =
        |states: &[&str]| states.iter().fold(base(), |catalog, state| with(&catalog, &put(state)).catalog.unwrap());
    for (states, next, refused) in [
        (&["draft"][..], "ready", None),
        (&["ready"], "stopped", None),
        (&["ready", "stopped"], "ready", None),
        (&["ready"], "draft", Some("error trigger_state Trigger/t spec.state")),
        (&["ready", "stopped"], "draft", Some("error trigger_state Trigger/t spec.state")),
        (&["draft"], "deleted", None),
        (&["ready"], "deleted", Some("error trigger_state Trigger/t")),
        (&["ready", "stopped"], "deleted", None),
    ] {
        let catalog = after(states);
        let built = if next == "deleted" { with(&catalog, &t()) } else { with(&catalog, &put(next)) };
        let refused: Vec<&str> = refused.into_iter().collect();
        assert_eq!(lines(&built.findings), refused, "{states:?} → {next}");
    }
}

#[test]
fn a_live_journey_is_stopped_and_never_a_draft_again() {
    let put = |state: &str| document("Journey", "j", &JOURNEY.replacen('{', &format!("{{state: {state}, "), 1));
    let catalog = published(&base(), &put("live"));
    let built = with(&catalog, &puts(&put("draft")));
    assert_eq!(lines(&built.findings), ["error journey_state Journey/j spec.state"]);
    // Nobody is inside a stopped one.
    let stopped = published(&catalog, &put("stopped"));
    published(&published(&stopped, &put("draft")), &put("live"));
}

/// Version 1 sends `mail` and ends on `bought`; version 2 does neither, but people are still on 1 (J12).
#[test]
fn what_people_on_an_older_version_need_cannot_be_deleted() {
    let bare = "{start: {trigger: cart}, steps: [{id: a, wait: {for: 1d}}]}";
    let first = published(&base(), &document("Journey", "j", JOURNEY));
    let second = stopped_triggers(&published(&first, &document("Journey", "j", bare)));
    for (kind, used, place) in [(Kind::Message, "mail", "send in step a"), (Kind::Trigger, "bought", "exit")] {
        let change = [remove(kind, used)];
        let in_use = format!("error in_use {kind}/{used}");
        let built = with(&second, &change);
        assert_eq!(lines(&built.findings), std::slice::from_ref(&in_use));
        let message = &built.findings[0].message;
        assert!(message.starts_with(&format!("version 1 of the live journey j ({place}) uses it")), "{message}");
        // In the same publish as the journey's change it is no different.
        let both = with(&first, &[puts(&document("Journey", "j", bare)), change.to_vec()].concat());
        assert!(lines(&both.findings).contains(&in_use), "{:?}", both.findings);
        // Who stops the journey sends everyone out of it, and out of its versions for good.
        let (stopped, _) = second
            .restored(CatalogVersion(9), &puts(&document("Journey", "j", &bare.replacen('{', "{state: stopped, ", 1))));
        assert_eq!(lines(&with(&stopped, &change).findings), Vec::<String>::new());
        let (removed, _) = second.restored(CatalogVersion(9), &[remove(Kind::Journey, "j")]);
        assert_eq!(lines(&with(&removed, &change).findings), Vec::<String>::new());
    }
}

/// Nobody was ever inside a draft, and nobody enters an older version any more.
#[test]
fn what_only_a_draft_or_an_older_start_used_is_free() {
    let draft = "{state: draft, start: {trigger: cart}, steps: [{id: a, send: {message: sms}}]}";
    let catalog = published(&base(), &document("Journey", "k", draft));
    let other = document("Trigger", "other", "{}");
    let catalog =
        published(&catalog, &format!("{other}---\n{}", document("Journey", "k", &draft.replace("state: draft, ", ""))));
    let live = "{start: {trigger: other}, steps: [{id: a, wait: {for: 1d}}]}";
    let catalog = stopped_triggers(&published(&catalog, &document("Journey", "k", live)));
    assert_eq!(lines(&with(&catalog, &[remove(Kind::Trigger, "cart")]).findings), Vec::<String>::new());
    assert_eq!(lines(&with(&catalog, &[remove(Kind::Message, "sms")]).findings), ["error in_use Message/sms"]);
    let only_draft = published(&base(), &document("Journey", "k", draft));
    assert_eq!(lines(&with(&only_draft, &[remove(Kind::Message, "sms")]).findings), Vec::<String>::new());
}

/// What was published is there after a restart, whatever a newer program's checks say of it.
#[test]
fn what_was_published_is_restored_whatever_the_checks_say_now() {
    let restored = |catalog: &Catalog, yaml: &str| catalog.restored(CatalogVersion(2), &puts(yaml));
    // A check alone: it is as it was.
    let (catalog, findings) = restored(&base(), &steps("{id: w, wait: {for: 2y}}, {id: a, send: {message: mail}}"));
    assert_eq!(lines(&findings), ["warning wait_too_long Journey/j w wait.for"]);
    assert_eq!(catalog.version(), CatalogVersion(2));
    assert_eq!(live(&catalog, "j").steps.len(), 2);
    assert_eq!(catalog.starts("cart").len(), 1);
    // What has no compiled form takes nobody in, and those inside find their version and their step.
    let (catalog, findings) =
        restored(&base(), &steps("{id: a, wait: {for: 1d}}, {id: b, branch: {when: [{if: 'event.totl > 1'}]}}"));
    assert_eq!(lines(&findings), ["warning condition_unknown_path Journey/j b branch.when[0].if"]);
    assert!(catalog.starts("cart").is_empty());
    assert!(catalog.journey("j").unwrap().live().is_none());
    let version = catalog.journey_version("j", 1).unwrap();
    assert!(version.is_inert);
    let ids: Vec<&str> = version.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    // The next publish mends it.
    let mended = published(&catalog, &steps("{id: a, wait: {for: 1d}}"));
    assert_eq!(live(&mended, "j").version, 2);
    assert_eq!(mended.starts("cart").len(), 1);
    // A message that has none fails its sends, and no journey.
    let both =
        format!("{}---\n{}", document("Message", "mail", "{channel: sms}"), steps("{id: a, send: {message: mail}}"));
    let (catalog, findings) = restored(&base(), &both);
    assert_eq!(
        lines(&findings),
        ["warning message_channel_field Message/mail spec.text", "warning message_unknown Journey/j a send.message"]
    );
    assert!(catalog.message("mail").is_none());
    assert_eq!(catalog.starts("cart").len(), 1);
    // Nor is anything refused that was taken before: what is gone is gone.
    let (catalog, findings) = catalog.restored(
        CatalogVersion(3),
        &[remove(Kind::Trigger, "bought"), remove(Kind::Message, "nobody"), remove(Kind::Message, "sms")],
    );
    assert_eq!(lines(&findings), ["warning trigger_state Trigger/bought", "warning document_unknown Message/nobody"]);
    assert!(catalog.trigger("bought").is_none());
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
    assert_eq!(lines(&draft.findings), ["error trigger_state Trigger/bought spec.state"]);
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
    let built = with(&stopped_triggers(&catalog), &[remove(Kind::Trigger, "bought")]);
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
