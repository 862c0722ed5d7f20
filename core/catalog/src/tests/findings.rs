//! Every finding has a document that has it, at the place it names, and one beside it that does not.

use super::*;
use crate::codes::CODES;
use std::collections::BTreeSet;

struct Case {
    /// The one finding of `bad`.
    finding: &'static str,
    bad: String,
    /// The same without the mistake, and without any finding.
    good: String,
}

fn case(finding: &'static str, bad: String, good: String) -> Case {
    Case { finding, bad, good }
}

fn trigger(spec: &str) -> String {
    document("Trigger", "t", spec)
}

fn message(spec: &str) -> String {
    document("Message", "m", spec)
}

fn journey(spec: &str) -> String {
    document("Journey", "j", spec)
}

/// A text in so many lists.
fn nested(depth: usize) -> String {
    format!("{}x{}", "[".repeat(depth), "]".repeat(depth))
}

const TEST_JOURNEY: &str = "{start: {trigger: cart}, steps: [{id: send, send: {message: mail}}]}";

/// A journey test `x` beside the journey it is about.
fn test(spec: &str) -> String {
    format!("{}---\n{}", journey(TEST_JOURNEY), document("JourneyTest", "x", spec))
}

fn of_documents() -> Vec<Case> {
    let attributes = |count: usize| {
        let all: Vec<String> = (0..count).map(|at| format!("a{at}: {{type: text}}")).collect();
        trigger(&format!("{{attributes: {{{}}}}}", all.join(", ")))
    };
    vec![
        case(
            "error trigger_reserved Trigger/email_opened metadata.name",
            document("Trigger", "email_opened", "{}"),
            trigger("{}"),
        ),
        case("error trigger_kind Trigger/t spec.kind", trigger("{kind: interaction}"), trigger("{kind: business}")),
        case("error attribute_limit Trigger/t spec.attributes", attributes(101), attributes(100)),
        case(
            "error binding_syntax Trigger/t spec.binding",
            trigger("{binding: 'cart/{id', attributes: {id: {type: text}}}"),
            trigger("{binding: 'cart/{id}', attributes: {id: {type: text}}}"),
        ),
        case(
            "error binding_syntax Trigger/t spec.binding",
            trigger("{binding: 'cart/id}', attributes: {id: {type: text}}}"),
            trigger("{binding: 'cart/{id}/x', attributes: {id: {type: text}}}"),
        ),
        case("error binding_syntax Trigger/t spec.binding", trigger("{binding: ''}"), trigger("{binding: cart}")),
        case(
            "error binding_unknown_attribute Trigger/t spec.binding",
            trigger("{binding: 'cart/{idd}', attributes: {id: {type: text}}}"),
            trigger("{binding: 'cart/{id}', attributes: {id: {type: text}}}"),
        ),
        case("error trigger_max_age Trigger/t spec.max_age", trigger("{max_age: -1h}"), trigger("{max_age: 1h}")),
        case(
            "error message_channel_field Message/m spec.html",
            message("{channel: sms, purpose: commercial, text: Hi, html: Hi}"),
            message("{channel: sms, purpose: commercial, text: Hi}"),
        ),
        case(
            "error message_channel_field Message/m spec.subject",
            message("{channel: email, purpose: commercial, text: Hi}"),
            message("{channel: email, purpose: commercial, subject: Hi, text: Hi}"),
        ),
        case(
            "error message_channel_field Message/m spec.html",
            message("{channel: email, purpose: commercial, subject: Hi}"),
            message("{channel: email, purpose: commercial, subject: Hi, html: Hi}"),
        ),
        case(
            "error message_channel_field Message/m spec.mjml",
            message("{channel: email, subject: Hi, html: Hi, mjml: '<mjml><mj-body></mj-body></mjml>'}"),
            message("{channel: email, subject: Hi, mjml: '<mjml><mj-body></mj-body></mjml>'}"),
        ),
        case(
            "error template_syntax Message/m spec.mjml",
            message("{channel: email, subject: Hi, mjml: '<mjml><mj-bdy></mj-bdy></mjml>'}"),
            message("{channel: email, subject: Hi, mjml: '<mjml><mj-body></mj-body></mjml>'}"),
        ),
        case(
            "error template_unknown_path Message/m spec.mjml",
            message("{channel: email, subject: Hi, mjml: '<mjml><mj-body>{{ profil.name }}</mj-body></mjml>'}"),
            message("{channel: email, subject: Hi, mjml: '<mjml><mj-body>{{ profile.name }}</mj-body></mjml>'}"),
        ),
        case(
            "error message_channel_field Message/m spec.body",
            message("{channel: push, purpose: commercial, subject: Hi}"),
            message("{channel: push, purpose: commercial, subject: Hi, body: Hi}"),
        ),
        case(
            "error message_url Message/m spec.url",
            message("{channel: webhook, purpose: commercial, url: 'ftp://x.example'}"),
            message("{channel: webhook, purpose: commercial, url: 'https://x.example/{{ profile.id | default: 0 }}'}"),
        ),
        case(
            "error message_header Message/m spec.headers",
            message("{channel: webhook, purpose: commercial, url: 'https://x.example', headers: {'a: b': c}}"),
            message("{channel: webhook, purpose: commercial, url: 'https://x.example', headers: {x-a: c}}"),
        ),
        case(
            "error topic_without_purpose Message/m spec.topic",
            message("{channel: sms, topic: news, text: Hi}"),
            message("{channel: sms, topic: news, purpose: commercial, text: Hi}"),
        ),
        case(
            "error template_syntax Message/m spec.text",
            message("{channel: sms, purpose: commercial, text: 'Hi {{ profile.name'}"),
            message("{channel: sms, purpose: commercial, text: 'Hi {{ profile.name }}'}"),
        ),
        case(
            "error template_unknown_path Message/m spec.body.who",
            message("{channel: webhook, url: 'https://x.example', body: {who: '{{ profil.name }}'}}"),
            message("{channel: webhook, url: 'https://x.example', body: {who: '{{ profile.name }}'}}"),
        ),
        case(
            "error template_unknown_path Message/m spec.text",
            message("{channel: sms, text: '{{ record.name | default: 1 }}'}"),
            message("{channel: sms, text: '{{ profile.name | default: 1 }}'}"),
        ),
        case(
            "error template_unknown_path Message/m spec.text",
            message("{channel: sms, text: '{% if steps.a.answer %}x{% endif %}'}"),
            message("{channel: sms, text: '{% if event.answer %}x{% endif %}'}"),
        ),
        case(
            "error value_too_deep Message/m spec.body",
            message(&format!("{{channel: webhook, url: 'https://x.example', body: {}}}", nested(17))),
            message(&format!("{{channel: webhook, url: 'https://x.example', body: {}}}", nested(16))),
        ),
        case(
            "error template_unknown_path Message/m spec.text",
            message("{channel: sms, text: '{% assign x = profile.name %}{{ x }}{{ y }}'}"),
            message("{channel: sms, text: '{% assign x = profile.name %}{{ x }}'}"),
        ),
        case(
            "error template_unknown_path Message/m spec.text",
            message("{channel: sms, text: '{{ trigger[profile.last].total }}'}"),
            message("{channel: sms, text: '{{ trigger[\"bought\"].total }}'}"),
        ),
    ]
}

fn of_journeys() -> Vec<Case> {
    const STEPS: &str = "steps: [{id: send, send: {message: sms}}]";
    let rest = |rest: &str| journey(&format!("{{start: {{trigger: cart}}, {rest}, {STEPS}}}"));
    let start = |start: &str| journey(&format!("{{start: {{{start}}}, {STEPS}}}"));
    let many = |count: usize| {
        let all: Vec<String> = (0..count).map(|at| format!("{{id: s{at}, exit: {{}}}}")).collect();
        journey(&format!("{{start: {{trigger: cart}}, state: draft, steps: [{}]}}", all.join(", ")))
    };
    vec![
        case(
            "error time_zone_unknown Journey/j spec.time_zone",
            rest("time_zone: Europe/Berlim"),
            rest("time_zone: Europe/Kiev"),
        ),
        case("error trigger_unknown Journey/j spec.start.trigger", start("trigger: crt"), start("trigger: cart")),
        case(
            "error trigger_not_ready Journey/j spec.start.trigger",
            start("trigger: planned"),
            start("trigger: contact_created"),
        ),
        case(
            "error interaction_trigger_role Journey/j spec.start.trigger",
            start("trigger: email_opened"),
            start("trigger: lead_created"),
        ),
        case(
            "error interaction_trigger_role Journey/j spec.exits[1].trigger",
            rest("exits: [{trigger: bought}, {trigger: email_unsubscribed}]"),
            rest("exits: [{trigger: bought}, {trigger: lead_created}]"),
        ),
        case(
            "error interaction_trigger_role Journey/j spec.goals[0].trigger",
            rest("goals: [{name: g, trigger: email_link_clicked}]"),
            rest("goals: [{name: g, trigger: bought}]"),
        ),
        case(
            "error repeat_delay Journey/j spec.start.repeat.delay",
            start("trigger: cart, repeat: {mode: after}"),
            start("trigger: cart, repeat: {mode: after, delay: 7d}"),
        ),
        case(
            "error repeat_delay Journey/j spec.start.repeat.delay",
            start("trigger: cart, repeat: {mode: after, delay: 0s}"),
            start("trigger: cart, repeat: {mode: once}"),
        ),
        case(
            "error repeat_delay Journey/j spec.start.repeat.delay",
            start("trigger: cart, repeat: {delay: 7d}"),
            start("trigger: cart, repeat: {}"),
        ),
        case(
            "error start_window Journey/j spec.start.window",
            start("trigger: cart, window: {from: '2026-05-01T00:00:00Z', to: '2026-05-01T00:00:00Z'}"),
            start("trigger: cart, window: {from: '2026-05-01T00:00:00Z'}"),
        ),
        case(
            "warning exit_is_start Journey/j spec.exits[0].trigger",
            rest("exits: [{trigger: cart}]"),
            rest("exits: [{trigger: bought}]"),
        ),
        case(
            "error goal_duplicate Journey/j spec.goals[1]",
            rest("goals: [{name: g, trigger: bought}, {name: g, trigger: bought}]"),
            rest("goals: [{name: g, trigger: bought}, {name: h, trigger: bought}]"),
        ),
        case(
            "error goal_target Journey/j spec.goals[0].target",
            rest("goals: [{name: g, trigger: bought, target: half}]"),
            rest("goals: [{name: g, trigger: bought, target: 50%}]"),
        ),
        case(
            "error goal_window Journey/j spec.goals[0].window",
            rest("goals: [{name: g, trigger: bought, window: -3d}]"),
            rest("goals: [{name: g, trigger: bought, window: 0s}]"),
        ),
        case("error journey_empty Journey/j spec.steps", steps(""), steps("{id: end, exit: {}}")),
        case(
            "error step_duplicate_id Journey/j a id",
            steps("{id: a, send: {message: mail}}, {id: a, send: {message: sms}}"),
            steps("{id: a, send: {message: mail}}, {id: b, send: {message: sms}}"),
        ),
        case("warning journey_too_large Journey/j spec.steps", many(2_001), journey(TEST_JOURNEY)),
    ]
}

fn of_conditions() -> Vec<Case> {
    let start = |condition: &str| {
        journey(&format!(
            "{{start: {{trigger: cart, where: '{condition}'}}, steps: [{{id: send, send: {{message: mail}}}}]}}"
        ))
    };
    let branch = |condition: &str| steps(&format!("{{id: b, branch: {{when: [{{if: '{condition}'}}]}}}}"));
    vec![
        case("error condition_syntax Journey/j spec.start.where", start("event.total >"), start("event.total > 50")),
        case(
            "error condition_type Journey/j spec.start.where",
            start("event.total > \"50\""),
            start("event.id == \"5\""),
        ),
        case(
            "error condition_unknown_path Journey/j spec.start.where",
            start("event.totl > 50"),
            start("event.total > 50"),
        ),
        case(
            "error condition_unknown_path Journey/j spec.start.where",
            start("has(trigger.bought.total)"),
            branch("has(trigger.bought.total)"),
        ),
        case(
            "error condition_unknown_path Journey/j b branch.when[0].if",
            branch("has(trigger.email_opened.url)"),
            branch("has(trigger.lead_created.anything)"),
        ),
        case(
            "error condition_unknown_path Journey/j b branch.when[0].if",
            branch("has(steps.b.answer)"),
            branch("has(profile.answer)"),
        ),
        case(
            "error condition_unknown_path Journey/j b branch.when[0].if",
            branch("record.statecode == 1"),
            branch("profile.statecode == 1"),
        ),
        case(
            "error condition_unknown_function Journey/j spec.start.where",
            start("event.id.startWith(\"5\")"),
            start("event.id.startsWith(\"5\")"),
        ),
        case(
            "error condition_unsupported Journey/j spec.start.where",
            start("[1, 2].exists(x, x == event.total)"),
            start("event.total in [1, 2]"),
        ),
        case(
            "error condition_always_fails Journey/j spec.start.where",
            start("event.total > 1 / 0"),
            start("event.total > 1 / 2"),
        ),
        case(
            "warning condition_may_lack_data Journey/j spec.start.where",
            start("event.coupon == \"x\""),
            start("has(event.coupon) && event.coupon == \"x\""),
        ),
        case(
            "warning condition_may_lack_data Journey/j b branch.when[0].if",
            // Required of the trigger, but it may not have come.
            branch("trigger.bought.id == \"x\""),
            branch("has(trigger.bought.id) && trigger.bought.id == \"x\""),
        ),
    ]
}

fn of_steps() -> Vec<Case> {
    let wait = |wait: &str| steps(&format!("{{id: w, wait: {{{wait}}}}}"));
    let wait_for = |outcome: &str| {
        steps(&format!(
            "{{id: send, send: {{message: mail}}}}, {{id: w, wait_for: {{outcomes: [{{{outcome}}}], up_to: 1d}}}}"
        ))
    };
    let send = |message: &str| steps(&format!("{{id: send, send: {{message: {message}}}}}"));
    vec![
        case("error step_kind Journey/j a", steps("{id: a}"), steps("{id: a, exit: {}}")),
        case(
            "error step_kind Journey/j a",
            steps("{id: a, exit: {}, send: {message: mail}}"),
            steps("{id: a, send: {message: mail}}"),
        ),
        case(
            "error step_policy Journey/j a on_blocked",
            steps("{id: a, wait: {for: 1d}, on_blocked: exit}"),
            steps("{id: a, send: {message: mail}, on_blocked: exit}"),
        ),
        case("error message_unknown Journey/j send send.message", send("mial"), send("mail")),
        case("warning send_without_purpose Journey/j send send.message", send("aimless"), send("sms")),
        case(
            "error template_unknown_path Journey/j send Message/misspelt spec.text",
            send("misspelt"),
            send("receipt"),
        ),
        case(
            "warning template_may_lack_data Journey/j send Message/coupon spec.text",
            send("coupon"),
            send("careful_coupon"),
        ),
        case("error wait_kind Journey/j w wait", wait(""), wait("for: 1d")),
        case(
            "error wait_kind Journey/j w wait",
            wait("for: 1d, until: {time: '09:00'}"),
            wait("until: {time: '09:00'}"),
        ),
        case("error wait_negative Journey/j w wait.for", wait("for: -1d"), wait("for: 1s")),
        case("error wait_negative Journey/j w wait.for", wait("for: 0d"), wait("for: 1d")),
        case("error wait_too_long Journey/j w wait.for", wait("for: 366d"), wait("for: 365d")),
        case("error wait_too_long Journey/j w wait.for", wait("for: 365d1s"), wait("for: 365d")),
        // Over a leap day a year has 366 days, and so have twelve months.
        case("error wait_too_long Journey/j w wait.for", wait("for: 1y"), wait("for: 11mo24d")),
        case(
            "error wait_too_long Journey/j w wait_for.up_to",
            steps("{id: w, wait_for: {outcomes: [{trigger: bought}], up_to: 12mo}}"),
            steps("{id: w, wait_for: {outcomes: [{trigger: bought}], up_to: 365d}}"),
        ),
        case("error wait_late Journey/j w wait.late", wait("for: 1d, late: park"), wait("for: 1d, if_late_over: 2h")),
        case(
            "error wait_late Journey/j w wait.if_late_over",
            wait("for: 1d, if_late_over: -2h"),
            wait("for: 1d, if_late_over: 2h, late: park"),
        ),
        case(
            "error wait_instant Journey/j w wait.until",
            wait("until: '2026-02-30T09:00:00Z'"),
            wait("until: '2026-02-28T09:00:00'"),
        ),
        case(
            "error wait_attribute Journey/j w wait.until.attribute",
            wait("until: {attribute: event.total}"),
            wait("until: {attribute: event.left_at, on_missing: skip}"),
        ),
        case(
            "warning condition_may_lack_data Journey/j w wait.until.attribute",
            wait("until: {attribute: event.left_at, offset: -1d}"),
            wait("until: {attribute: event.left_at, offset: -1d, on_missing: exit}"),
        ),
        case(
            "error window_empty Journey/j w wait.until.window",
            wait("until: {window: {from: '09:00', to: '09:00'}}"),
            wait("until: {window: {from: '23:00', to: '01:00'}}"),
        ),
        case(
            "error wait_for_outcomes_empty Journey/j w wait_for.outcomes",
            steps("{id: w, wait_for: {outcomes: [], up_to: 1d}}"),
            wait_for("trigger: bought"),
        ),
        case("error wait_for_kind Journey/j w wait_for.outcomes[0]", wait_for(""), wait_for("trigger: bought")),
        case(
            "error wait_for_kind Journey/j w wait_for.outcomes[0].of",
            wait_for("trigger: bought, of: send"),
            wait_for("trigger: bought, since: start"),
        ),
        case(
            "error wait_for_kind Journey/j w wait_for.outcomes[0].since",
            wait_for("interaction: email_opened, of: send, since: start"),
            wait_for("interaction: email_opened, of: send"),
        ),
        case(
            "error interaction_trigger_role Journey/j w wait_for.outcomes[0].trigger",
            wait_for("trigger: email_opened"),
            wait_for("interaction: email_opened, of: send"),
        ),
        case(
            "error interaction_unknown Journey/j w wait_for.outcomes[0].interaction",
            wait_for("interaction: email_opend, of: send"),
            wait_for("interaction: email_opened, of: send"),
        ),
        case(
            "error interaction_of_unknown Journey/j w wait_for.outcomes[0].of",
            wait_for("interaction: email_opened"),
            wait_for("interaction: email_opened, of: send"),
        ),
        case(
            "error interaction_of_unknown Journey/j w wait_for.outcomes[0].of",
            wait_for("interaction: email_opened, of: w"),
            wait_for("interaction: email_link_clicked, of: send, where: 'has(event.url) && event.url.contains(\"a\")'"),
        ),
        case(
            "error interaction_of_unknown Journey/j w wait_for.outcomes[0].of",
            wait_for("interaction: sms_delivered, of: send"),
            wait_for("interaction: email_delivered, of: send"),
        ),
        case(
            "error branch_empty Journey/j b branch.when",
            steps("{id: b, branch: {when: []}}"),
            steps("{id: b, branch: {when: [{if: event.total > 50}]}}"),
        ),
        case(
            "error branch_never Journey/j b branch.when[0].if",
            steps("{id: b, branch: {when: [{if: 1 > 2}]}}"),
            steps("{id: b, branch: {when: [{if: 2 > 1}]}}"),
        ),
        case(
            "error branch_never Journey/j b branch.when[1].if",
            steps("{id: b, branch: {when: [{if: event.total > 50}, {if: ' event.total > 50'}]}}"),
            steps("{id: b, branch: {when: [{if: event.total > 50}, {if: event.total > 5}]}}"),
        ),
        case(
            "error branch_never Journey/j b branch.when[1].if",
            steps("{id: b, branch: {when: [{if: 'true'}, {if: event.total > 5}]}}"),
            steps("{id: b, branch: {when: [{if: event.total > 5}, {if: 'true'}]}}"),
        ),
        case(
            "error branch_never Journey/j b branch.otherwise",
            steps("{id: b, branch: {when: [{if: 'true'}], otherwise: [{id: x, wait: {for: 1d}}]}}"),
            steps("{id: b, branch: {when: [{if: event.total > 5}], otherwise: [{id: x, wait: {for: 1d}}]}}"),
        ),
        case(
            "error split_weights Journey/j s split.arms",
            steps("{id: s, split: {arms: [{name: a, weight: 0}, {name: b, weight: 0}]}}"),
            steps("{id: s, split: {arms: [{name: a, weight: 0}, {name: b, weight: 1}]}}"),
        ),
        case(
            "error split_weights Journey/j s split.arms",
            steps("{id: s, split: {arms: [{name: a, weight: 1000001}]}}"),
            steps("{id: s, split: {arms: [{name: a, weight: 1000000}]}}"),
        ),
        case(
            "error split_arm_duplicate Journey/j s split.arms",
            steps("{id: s, split: {arms: [{name: a, weight: 1}, {name: a, weight: 1}]}}"),
            steps("{id: s, split: {arms: [{name: a, weight: 1}, {name: b, weight: 1}]}}"),
        ),
        case(
            "error go_to_unknown Journey/j g go_to",
            steps(
                "{id: pause, wait: {for: 1d}}, {id: b, branch: {when: [{if: event.total > 5}], otherwise: [{id: g, go_to: puase}]}}",
            ),
            steps(
                "{id: pause, wait: {for: 1d}}, {id: b, branch: {when: [{if: event.total > 5}], otherwise: [{id: g, go_to: pause}]}}",
            ),
        ),
    ]
}

fn of_raise() -> Vec<Case> {
    let raise = |raise: &str| steps(&format!("{{id: r, raise: {{{raise}}}}}"));
    let good = || raise("trigger: bought, attributes: {id: {from: event.id}, total: {from: event.total}}");
    vec![
        case("error trigger_unknown Journey/j r raise.trigger", raise("trigger: bougt"), good()),
        case("error raise_not_custom Journey/j r raise.trigger", raise("trigger: lead_created"), good()),
        case(
            "error raise_missing_attribute Journey/j r raise.attributes",
            raise("trigger: bought, attributes: {total: 7}"),
            raise("trigger: bought, attributes: {id: fixed}"),
        ),
        case(
            "error raise_unknown_attribute Journey/j r raise.attributes.totl",
            raise("trigger: bought, attributes: {id: a, totl: 7}"),
            raise("trigger: bought, attributes: {id: a, total: 7}"),
        ),
        case(
            "error raise_type Journey/j r raise.attributes.total",
            raise("trigger: bought, attributes: {id: a, total: {from: event.id}}"),
            raise("trigger: bought, attributes: {id: a, total: {from: double(event.id)}}"),
        ),
        case(
            "error raise_type Journey/j r raise.attributes.total",
            raise("trigger: bought, attributes: {id: a, total: seven}"),
            raise("trigger: bought, attributes: {id: a, total: 7.5}"),
        ),
        case(
            "error raise_type Journey/j r raise.binding_id",
            raise("trigger: bought, attributes: {id: a}, binding_id: {from: event.total}"),
            raise("trigger: bought, attributes: {id: a}, binding_id: {from: '\"cart/\" + event.id'}"),
        ),
        case(
            "error value_too_deep Journey/j u update.attributes.x",
            steps(&format!("{{id: u, update: {{attributes: {{x: {}}}}}}}", nested(17))),
            steps(&format!("{{id: u, update: {{attributes: {{x: {}}}}}}}", nested(16))),
        ),
        case(
            "error condition_unknown_path Journey/j r raise.attributes.total",
            raise("trigger: bought, attributes: {id: a, total: {from: event.totl}}"),
            good(),
        ),
    ]
}

fn of_flow() -> Vec<Case> {
    let branch = |when: &str, rest: &str| {
        steps(&format!("{{id: a, branch: {{when: [{{if: event.total > 5, steps: [{when}]}}]}}}}{rest}"))
    };
    let wait_for = |interaction: &str| {
        steps(&format!(
            "{{id: send, send: {{message: mail}}}}, {{id: w, wait_for: {{up_to: 1d, outcomes: [{{interaction: \
             {interaction}, of: send, steps: [{{id: again, go_to: send}}]}}]}}}}"
        ))
    };
    vec![
        case(
            "warning step_unreachable Journey/j b",
            steps("{id: a, exit: {}}, {id: b, wait: {for: 1d}}, {id: c, wait: {for: 1d}}"),
            branch("{id: x, exit: {}}", ", {id: b, wait: {for: 1d}}, {id: c, wait: {for: 1d}}"),
        ),
        case(
            "error loop_without_time Journey/j a",
            branch("{id: x, send: {message: mail}}, {id: g, go_to: a}", ""),
            branch("{id: x, wait: {for: 1h}}, {id: g, go_to: a}", ""),
        ),
        case(
            // Nine o'clock is at once when it is nine.
            "error loop_without_time Journey/j a",
            branch("{id: x, wait: {until: {time: '09:00'}}}, {id: g, go_to: a}", ""),
            branch("{id: x, wait: {until: {time: '09:00'}}}, {id: y, wait: {for: 1h}}, {id: g, go_to: a}", ""),
        ),
        case(
            // A mail at once for each that was taken is a flood.
            "error loop_without_time Journey/j send",
            wait_for("email_sent"),
            wait_for("email_link_clicked"),
        ),
        case(
            "warning no_way_to_end Journey/j a",
            steps("{id: a, wait: {for: 1d}}, {id: g, go_to: a}"),
            branch("{id: x, wait: {for: 1d}}, {id: g, go_to: a}", ""),
        ),
    ]
}

fn of_tests() -> Vec<Case> {
    let given = |given: &str| {
        test(&format!(
            "{{journey: j, profile: {{identities: ['user_id:1']}}, given: [{{at: '2026-05-04T10:00:00Z', event: cart, \
             attributes: {{id: a, total: 5}}}}, {{{given}}}], expect: []}}"
        ))
    };
    let expect = |expect: &str| {
        test(&format!(
            "{{journey: j, profile: {{identities: ['user_id:1']}}, given: [{{at: '2026-05-04T10:00:00Z', event: cart}}], \
             expect: [{{at: '2026-05-04T10:00:00Z', {expect}}}]}}"
        ))
    };
    let good = || given("after: 1h, interaction: email_opened, of: send");
    let whole = |spec: &str| test(&format!("{{{spec}, expect: []}}"));
    vec![
        case(
            "error journey_unknown JourneyTest/x spec.journey",
            whole(
                "journey: k, profile: {identities: ['user_id:1']}, given: [{at: '2026-05-04T10:00:00Z', event: cart}]",
            ),
            good(),
        ),
        case(
            "error test_profile JourneyTest/x spec.profile.identities",
            whole("journey: j, profile: {identities: []}, given: [{at: '2026-05-04T10:00:00Z', event: cart}]"),
            good(),
        ),
        case(
            "error test_given JourneyTest/x spec.given",
            whole("journey: j, profile: {identities: ['user_id:1']}, given: []"),
            good(),
        ),
        case(
            "error test_given JourneyTest/x spec.given[0]",
            whole("journey: j, profile: {identities: ['user_id:1']}, given: [{after: 1h, event: cart}]"),
            good(),
        ),
        case("error test_given JourneyTest/x spec.given[1]", given("after: 1h"), given("event: cart")),
        case(
            "error value_too_deep JourneyTest/x spec.given[1].attributes",
            given(&format!("event: cart, attributes: {{x: {}}}", nested(17))),
            given(&format!("event: cart, attributes: {{x: {}}}", nested(16))),
        ),
        case(
            "error value_too_deep JourneyTest/x spec.given[1].attributes",
            given(&format!("profile: {{attributes: {{x: {}}}}}", nested(17))),
            given(&format!("profile: {{attributes: {{x: {}}}}}", nested(16))),
        ),
        case(
            "error value_too_deep JourneyTest/x spec.profile.attributes",
            whole(&format!(
                "journey: j, profile: {{identities: ['user_id:1'], attributes: {{x: {}}}}}, given: [{{at: \
                 '2026-05-04T10:00:00Z', event: cart}}]",
                nested(17)
            )),
            good(),
        ),
        case(
            "error test_given JourneyTest/x spec.given[1]",
            given("after: 1h, at: '2026-05-05T10:00:00Z', event: cart"),
            given("at: '2026-05-05T10:00:00Z', event: cart"),
        ),
        case("error test_given JourneyTest/x spec.given[1].event", given("event: email_opened"), good()),
        case("warning trigger_unknown JourneyTest/x spec.given[1].event", given("event: crt"), good()),
        case(
            "error interaction_unknown JourneyTest/x spec.given[1].interaction",
            given("interaction: email_opend, of: send"),
            good(),
        ),
        case("error interaction_of_unknown JourneyTest/x spec.given[1].of", given("interaction: email_opened"), good()),
        case(
            "error interaction_of_unknown JourneyTest/x spec.given[1].of",
            given("interaction: email_opened, of: sent"),
            good(),
        ),
        case("error test_expect JourneyTest/x spec.expect[0]", expect("send: mail, exit: done"), expect("send: mail")),
        case(
            "error test_expect JourneyTest/x spec.expect[0]",
            expect("blocked: mail"),
            expect("blocked: mail, reason: no_address"),
        ),
        case("error message_unknown JourneyTest/x spec.expect[0].send", expect("send: mial"), expect("send: mail")),
    ]
}

fn cases() -> Vec<Case> {
    [of_documents(), of_journeys(), of_conditions(), of_steps(), of_raise(), of_flow(), of_tests()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn each_mistake_is_found_at_its_place_and_nothing_else_is() {
    let catalog = base();
    for Case { finding, bad, good } in cases() {
        let built = with(&catalog, &puts(&bad));
        assert_eq!(lines(&built.findings), [finding], "{bad}\n{:#?}", built.findings);
        let refused = finding.starts_with("error");
        assert_eq!(built.catalog.is_none(), refused, "{finding}");
        let built = with(&catalog, &puts(&good));
        assert_eq!(lines(&built.findings), Vec::<String>::new(), "beside {finding}:\n{good}\n{:#?}", built.findings);
    }
}

/// Those that need what was published before: `publishing` has their cases.
const OF_CHANGES: [&str; 6] =
    ["document_duplicate", "document_unknown", "in_use", "journey_state", "trigger_state", "trigger_stopped"];

#[test]
fn every_code_has_a_case_and_a_remedy() {
    let cases = cases();
    let found: BTreeSet<&str> =
        cases.iter().filter_map(|case| case.finding.split(' ').nth(1)).chain(OF_CHANGES).collect();
    let listed: Vec<&str> = CODES.iter().map(|(code, _)| *code).collect();
    assert_eq!(listed, found.into_iter().collect::<Vec<_>>(), "codes are sorted, and each has a case");
    assert!(CODES.iter().all(|(_, remedy)| remedy.ends_with('.')));
}

#[test]
fn messages_say_what_came_and_what_to_do() {
    let catalog = base();
    let first = |yaml: String| with(&catalog, &puts(&yaml)).findings.first().map(ToString::to_string).unwrap();
    insta::assert_snapshot!(first(journey("{start: {trigger: crt}, steps: [{id: a, exit: {}}]}")), @"error[trigger_unknown] Journey/j spec.start.trigger: there is no trigger crt; did you mean cart?");
    insta::assert_snapshot!(first(journey("{start: {trigger: cart, where: event.totl > 5}, steps: [{id: a, exit: {}}]}")), @"error[condition_unknown_path] Journey/j spec.start.where: event.totl is not an attribute of the trigger cart; did you mean total? (column 1)");
    insta::assert_snapshot!(first(steps("{id: a, send: {message: mail}, exit: {}}")), @"error[step_kind] Journey/j a: the step is both `send` and `exit`; a step is of one kind, make two of it");
    insta::assert_snapshot!(first(steps("{id: a, send: {message: coupon}}")), @r#"warning[template_may_lack_data] Journey/j a Message/coupon spec.text: event.coupon may be missing, and then nothing is sent; give it a value with {{ event.coupon | default: "…" }} or ask for it with {% if event.coupon %}"#);
    insta::assert_snapshot!(first(steps("{id: a, raise: {trigger: bought, attributes: {id: {from: event.total}}}}")), @"error[raise_type] Journey/j a raise.attributes.id: id of bought is text; a number is mapped to it");
    insta::assert_snapshot!(first(message("{channel: sms, text: Hi, subject: Hi}")), @"error[message_channel_field] Message/m spec.subject: a message by sms has no `subject`; it has to, from, text");
    insta::assert_snapshot!(first(trigger("{binding: 'cart/{cart id}'}")), @"error[binding_syntax] Trigger/t spec.binding: `cart/{cart id}`: between `{` and `}` stands an attribute's name; expected for example cart/{cart_id}");
}
