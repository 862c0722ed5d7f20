//! Documents are read as they were written, and what is wrong with one is said with its place.

#![allow(clippy::unwrap_used, reason = "strategies are built outside of test functions")]

use model::document::{DEPTH_MAX, FILE_BYTES_MAX, json_schema, read_documents};
use model::journey::{self, Branch, ExitStep, Mapping, MappingFrom, Send, Split, Step, Until, UntilAttribute, When};
use model::{AttributeName, Attributes, Document, Name, Span, Value};
use proptest::prelude::*;
use std::path::Path;

/// The documents that the design shows, with the messages they need.
const DESIGN: &str = r#"
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: abandoned_cart}
spec:
  title: Cart abandoned
  kind: custom
  bind: contact                       # contact | lead | profile
  binding: cart/{cart_id}             # optional: correlates start, continue and exit (J6)
  attributes:
    cart_id:    {type: text, required: true}
    cart_total: {type: number, required: true, description: in the shop's currency}
---
apiVersion: sojourn/v1
kind: Journey
metadata: {name: abandoned_cart}
spec:
  title: Abandoned cart
  start: {trigger: abandoned_cart, where: event.cart_total > 50, repeat: {mode: once_at_a_time}}
  exits: [{trigger: purchase_completed}]
  goals: [{name: bought, trigger: purchase_completed, target: 50%}]
  steps:
    - id: reminder
      send: {message: cart_reminder}
    - id: opened
      wait_for:
        outcomes:
          - {interaction: email_opened, of: reminder, steps: [{id: done, exit: {reason: engaged}}]}
        up_to: 1d
        otherwise:
          - {id: text, send: {message: cart_sms}}
          - {id: pause, wait: {for: 1d}}
          - {id: push, send: {message: cart_push}}
---
apiVersion: sojourn/v1
kind: JourneyTest
metadata: {name: abandoned_cart_no_open}
spec:
  journey: abandoned_cart
  profile: {identities: ["user_id:42"], attributes: {email: ada@example.org, phone: "+4915112345678", push_token: demo, time_zone: Europe/Berlin}}
  given:
    - {at: "2026-03-28T10:00:00Z", event: abandoned_cart, attributes: {cart_id: c1, cart_total: 80}}
  expect:
    - {at: "2026-03-28T10:00:00Z", send: cart_reminder}
    - {at: "2026-03-29T09:00:00Z", send: cart_sms}
    - {at: "2026-03-30T09:00:00Z", send: cart_push}
    - {at: "2026-03-30T09:00:00Z", exit: completed}
"#;

fn read(text: &str) -> Vec<Document> {
    let read = read_documents(text);
    assert_eq!(read.findings, [], "{text}");
    read.documents
}

/// The one finding about `text`.
fn finding(text: &str) -> String {
    let read = read_documents(text);
    assert_eq!(read.findings.len(), 1, "{text}: {:?}", read.findings);
    // Its line is told of in the tests of the schema.
    model::Finding { line: None, ..read.findings[0].clone() }.to_string()
}

fn document(kind: &str, spec: &str) -> String {
    format!("apiVersion: sojourn/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n")
}

fn steps(steps: &str) -> String {
    document("Journey", &format!("{{start: {{trigger: t}}, steps: [{steps}]}}"))
}

fn assert_round_trip(document: &Document) {
    let yaml = document.to_yaml();
    assert_eq!(read(&yaml), std::slice::from_ref(document), "{yaml}");
    let json = document.to_json().to_string();
    assert_eq!(read(&json), std::slice::from_ref(document), "{json}");
}

#[test]
fn the_documents_of_the_design_are_read_and_written_back() {
    let documents = read(DESIGN);
    let ids: Vec<String> = documents.iter().map(|document| document.id().to_string()).collect();
    assert_eq!(ids, ["Trigger/abandoned_cart", "Journey/abandoned_cart", "JourneyTest/abandoned_cart_no_open"]);
    documents.iter().for_each(assert_round_trip);
}

#[test]
fn the_examples_are_read_and_written_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let folders = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut count = 0;
    for folder in folders {
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "yaml") {
                let documents = read(&std::fs::read_to_string(&file).unwrap());
                documents.iter().for_each(assert_round_trip);
                count += documents.len();
            }
        }
    }
    assert!(count > 10, "the examples are where they are expected");
}

#[test]
fn an_exported_document_is_in_the_order_people_write_it() {
    insta::assert_snapshot!(read(DESIGN)[1].to_yaml(), @r"
    apiVersion: sojourn/v1
    kind: Journey
    metadata:
      name: abandoned_cart
    spec:
      title: Abandoned cart
      start:
        trigger: abandoned_cart
        where: event.cart_total > 50
        repeat:
          mode: once_at_a_time
      exits:
      - trigger: purchase_completed
      goals:
      - name: bought
        trigger: purchase_completed
        target: 50%
      steps:
      - id: reminder
        send:
          message: cart_reminder
      - id: opened
        wait_for:
          outcomes:
          - interaction: email_opened
            of: reminder
            steps:
            - id: done
              exit:
                reason: engaged
          up_to: 1d
          otherwise:
          - id: text
            send:
              message: cart_sms
          - id: pause
            wait:
              for: 1d
          - id: push
            send:
              message: cart_push
    ");
}

#[test]
fn json_is_read_with_everything_that_is_json() {
    let json = r#"{"apiVersion": "sojourn/v1", "kind": "Trigger", "metadata": {"name": "x"}, "spec": {"title": "\ud83d\ude00\/\u007f"}}"#;
    assert_eq!(read(json)[0].to_json()["spec"]["title"], "\u{1f600}/\u{7f}");
}

#[test]
fn json_and_lists_of_documents_are_read_too() {
    let documents = read(DESIGN);
    let list = serde_json::Value::Array(documents.iter().map(Document::to_json).collect());
    assert_eq!(read(&list.to_string()), documents);
    assert_eq!(read(""), []);
    assert_eq!(read("---\n---\n# nothing\n"), []);
}

#[test]
fn a_text_that_other_yaml_takes_for_something_else_stays_a_text() {
    let yaml = document(
        "JourneyTest",
        "{journey: j, profile: {identities: ['user_id:1'], attributes: {a: no, b: y, c: 01234, d: 1_000, e: on, \
         f: 12:30, g: 2026-05-01}}, given: [], expect: []}",
    );
    let json = read(&yaml)[0].to_json();
    assert_eq!(
        json["spec"]["profile"]["attributes"].to_string(),
        r#"{"a":"no","b":"y","c":"01234","d":"1_000","e":"on","f":"12:30","g":"2026-05-01"}"#
    );
}

#[test]
fn a_field_nobody_knows_is_named_with_its_place() {
    insta::assert_snapshot!(finding(&document("Trigger", "{atributes: {}}")), @"error[document_invalid] Trigger/x spec.atributes: unknown field `atributes`; did you mean `attributes`? There is one of `title`, `description`, `kind`, `state`, `bind`, `binding`, `attributes`, `max_age`");
    insta::assert_snapshot!(finding(&document("Trigger", "{attributes: {total: {typ: number}}}")), @"error[document_invalid] Trigger/x spec.attributes.total.typ: unknown field `typ`; did you mean `type`? There is one of `type`, `required`, `description`");
    insta::assert_snapshot!(finding(&steps("{id: a, send: {mesage: m}}")), @"error[document_invalid] Journey/x spec.steps[0].send.mesage: unknown field `mesage`; did you mean `message`? There is `message`");
    insta::assert_snapshot!(finding(&steps("{id: a, branch: {when: [{if: 'true', steps: [{id: b, wiat: {for: 1d}}]}]}}")), @"error[document_invalid] Journey/x spec.steps[0].branch.when[0].steps[0].wiat: unknown field `wiat`; did you mean `wait`? There is one of `id`, `title`, `send`, `wait`, `wait_for`, `branch`, `split`, `update`, `raise`, `go_to`, `exit`, `on_failure`, `on_blocked`");
    insta::assert_snapshot!(finding(&document("Message", "{channel: email, subjekt: Hi}")), @"error[document_invalid] Message/x spec.subjekt: unknown field `subjekt`; did you mean `subject`? There is one of `title`, `channel`, `purpose`, `topic`, `to`, `from`, `reply_to`, `subject`, `html`, `mjml`, `text`, `body`, `url`, `headers`, `on_missing`");
    insta::assert_snapshot!(finding("apiVersion: sojourn/v1\nkind: Trigger\nmetadata: {name: x, label: y}\nspec: {}"), @"error[document_invalid] metadata.label: unknown field `label`, expected `name`");
}

#[test]
fn a_value_of_the_wrong_kind_says_what_was_expected() {
    insta::assert_snapshot!(finding("apiVersion: sojourn/v2\nkind: Trigger\nmetadata: {name: x}\nspec: {}"), @"error[document_api_version]: `apiVersion` is `sojourn/v2`; expected `sojourn/v1`");
    insta::assert_snapshot!(finding("apiVersion: sojourn/v1\nkind: Triger\nmetadata: {name: x}\nspec: {}"), @"error[document_kind] Triger/x: `kind` is `Triger`; expected one of Trigger, Message, Journey, JourneyTest");
    insta::assert_snapshot!(finding("apiVersion: sojourn/v1\nkind: Trigger\nmetadata: {name: Cart-Left}\nspec: {}"), @"error[document_invalid] metadata.name: `Cart-Left` is not a name; expected a lower-case letter, then letters, digits and `_`, at most 100 in all");
    insta::assert_snapshot!(finding("apiVersion: sojourn/v1\nkind: Trigger\nmetadata: {name: x}"), @"error[document_invalid]: missing field `spec`");
    insta::assert_snapshot!(finding("just a text"), @r#"error[document_invalid]: invalid type: string "just a text", expected a document, an object with apiVersion, kind, metadata and spec"#);
    insta::assert_snapshot!(finding(&document("Trigger", "{attributes: {total: {type: money}}}")), @"error[document_invalid] Trigger/x spec.attributes.total.type: unknown variant `money`, expected one of `text`, `number`, `boolean`, `datetime`, `reference`");
    insta::assert_snapshot!(finding(&document("Journey", "{start: {trigger: t}}")), @"error[document_invalid] Journey/x spec: missing field `steps`");
    insta::assert_snapshot!(finding(&steps("{id: a, wait: {for: 1 day}}")), @"error[document_invalid] Journey/x spec.steps[0].wait.for: `1 day` is not a duration: the units are y, mo, w, d, h, m, s; expected for example 1d, 24h, 1mo 2w or -2h30m");
    insta::assert_snapshot!(finding(&steps("{id: a, wait: {until: {attribut: event.at}}}")), @"error[document_invalid] Journey/x spec.steps[0].wait.until: `until` is a date-time as text, or an object with `attribute`, `time` or `window`");
    insta::assert_snapshot!(finding(&steps("{id: a, wait: {until: {attribute: event.at, ofset: 1d}}}")), @"error[document_invalid] Journey/x spec.steps[0].wait.until: unknown field `ofset`; did you mean `offset`? There is one of `attribute`, `offset`, `on_missing`");
    insta::assert_snapshot!(finding(&steps("{id: a, wait: {until: {time: '9:00'}}}")), @r#"error[document_invalid] Journey/x spec.steps[0].wait.until: `9:00` is not a time of day; expected HH:MM or HH:MM:SS, such as "09:00""#);
    insta::assert_snapshot!(finding(&steps("{id: a, split: {arms: [{name: x, weight: -1}]}}")), @"error[document_invalid] Journey/x spec.steps[0].split.arms[0].weight: invalid value: integer `-1`, expected u32");
    insta::assert_snapshot!(finding(&steps("{id: a, raise: {trigger: t, attributes: {a: {from: 7}}}}")), @"error[document_invalid] Journey/x spec.steps[0].raise.attributes.a: `from` is an expression as text and stands alone, as in {from: event.cart_total}");
    insta::assert_snapshot!(finding(&document("Journey", "{start: {trigger: t}, steps: [], goals: [{name: g, trigger: t, target: -5}]}")), @"error[document_invalid] Journey/x spec.goals[0].target: a target is a count such as 500 or a share such as 50%");
}

#[test]
fn a_text_that_is_no_yaml_says_where() {
    insta::assert_snapshot!(finding("apiVersion: sojourn/v1\nkind: [Trigger\n"), @"error[document_syntax]: unclosed bracket '[' at line 2, column 7");
    insta::assert_snapshot!(finding("a: 1\na: 2\n"), @"error[document_syntax]: duplicate mapping key: a at line 2, column 1");
}

#[test]
fn t45_days_that_exclude_every_day_are_refused() {
    insta::assert_snapshot!(finding(&steps("{id: a, wait: {until: {time: '09:00', days: []}}}")), @"error[document_invalid] Journey/x spec.steps[0].wait.until: an empty list of days means never; name at least one day, or leave `days` out for every day");
    insta::assert_snapshot!(finding(&steps("{id: a, wait: {until: {window: {from: '09:00', to: '17:00', days: []}}}}")), @"error[document_invalid] Journey/x spec.steps[0].wait.until: an empty list of days means never; name at least one day, or leave `days` out for every day");
}

// ---- what nobody should send us ----

/// Branches within branches, `levels` of them.
fn nested(levels: usize) -> String {
    let open = "{id: a, branch: {when: [{if: 'true', steps: [";
    steps(&format!("{}{}", open.repeat(levels), "]}]}}".repeat(levels)))
}

#[test]
fn eleven_branches_within_each_other_are_read_and_a_thousand_are_refused() {
    // Each branch nests five levels deeper. On three quarters of what a thread has when nobody says otherwise.
    let read_on_a_thread = |levels: usize| {
        let read = move || read_documents(&nested(levels)).documents.len();
        std::thread::Builder::new().stack_size(3 << 19).spawn(read).unwrap().join().unwrap()
    };
    assert_eq!(read_on_a_thread(11), 1);
    assert_eq!(read_on_a_thread(1_000), 0);
    assert_eq!(read_on_a_thread(50_000), 0);
}

#[test]
fn a_document_that_nests_too_deep_is_refused_however_it_comes() {
    let deep = (0..DEPTH_MAX).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    let json = serde_json::json!({
        "apiVersion": "sojourn/v1", "kind": "Message", "metadata": {"name": "x"},
        "spec": {"channel": "webhook", "body": deep},
    });
    let finding = Document::from_json(json.clone()).unwrap_err();
    assert_eq!(finding.code, "document_too_deep");
    assert!(read_documents(&json.to_string()).documents.is_empty());
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = level - 1;
        let aliases = vec![format!("*a{before}"); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(finding(&bomb).starts_with("error[document_syntax]"));
}

#[test]
fn hostile_texts_are_refused_and_nothing_else_happens() {
    let huge = "9".repeat(400);
    let long_name = "a".repeat(1 << 20);
    for text in [
        "\0".to_owned(),
        "a: \0b".to_owned(),
        "\u{feff}\u{feff}: [".to_owned(),
        "&a [*a]".to_owned(),
        "*nobody".to_owned(),
        "? [a, b]\n: c".to_owned(),
        "!!binary x".to_owned(),
        "!!python/object:os.system [ls]".to_owned(),
        "%YAML 9.9\n---\na".to_owned(),
        "<<: *x".to_owned(),
        "- - - - - - - -".to_owned(),
        "{".repeat(100_000),
        "[".repeat(100_000),
        "- ".repeat(100_000),
        "a: ".repeat(10_000),
        "'".repeat(99_999),
        "---\n".repeat(2_000),
        "x".repeat(FILE_BYTES_MAX + 1),
        document("Trigger", &format!("{{attributes: {{{long_name}: {{type: text}}}}}}")),
        steps(&format!("{{id: a, split: {{arms: [{{name: a, weight: {huge}}}]}}}}")),
        steps("{id: a, split: {arms: [{name: a, weight: 4294967296}]}}"),
        steps("{id: a, wait: {for: 99999999999999999999d}}"),
        document(
            "Journey",
            &format!("{{start: {{trigger: t}}, steps: [], goals: [{{name: g, trigger: t, target: {huge}}}]}}"),
        ),
        document(
            "JourneyTest",
            "{journey: j, profile: {identities: [], attributes: {a: .nan}}, given: [], expect: []}",
        ),
        document(
            "JourneyTest",
            "{journey: j, profile: {identities: [], attributes: {a: 1e999}}, given: [], expect: []}",
        ),
    ] {
        let read = read_documents(&text);
        let start: String = text.chars().take(60).collect();
        assert!(read.documents.is_empty(), "{start}");
        assert!(!read.findings.is_empty() || text.starts_with("---"), "{start}");
        assert!(read.findings.iter().all(|finding| finding.message.len() < 4_096), "{start}: too much is said");
    }
}

// ---- any document ----

fn name() -> impl Strategy<Value = Name> {
    "[a-z][a-z0-9_]{0,8}".prop_map(|text| Name::new(&text).unwrap())
}

fn attribute_name() -> impl Strategy<Value = AttributeName> {
    "[A-Za-z_][A-Za-z0-9_]{0,8}".prop_map(|text| AttributeName::new(&text).unwrap())
}

/// Texts among them that YAML could take for something else.
fn text() -> impl Strategy<Value = String> {
    const TRICKY: &[&str] = &[
        "",
        " ",
        "no",
        "yes",
        "null",
        "~",
        "true",
        "1",
        "01",
        "0x1f",
        "1_000",
        "1e3",
        ".nan",
        "-",
        "- a",
        "a: b",
        "# a",
        "a #b",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "`a",
        "'",
        "\"",
        "\n",
        "a\n",
        "\na",
        " a",
        "a ",
        "a\tb",
        "\t",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\\",
        "\u{0}",
        "\u{7f}",
        "...",
        "---",
        "---\na",
        "?",
        "? a",
        "{",
        "}",
        "[a]",
        ",",
        "<<",
        "=",
        "2026-05-01",
        "12:30:45",
        "a\r\nb",
        "\r",
        "é",
        "😀",
        "{{ event.a }}",
        "+1",
        "-.inf",
        "0o7",
    ];
    prop_oneof![proptest::sample::select(TRICKY).prop_map(str::to_owned), ".{0,40}", "(?s).{0,40}"]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        // Whole floats are read back as whole numbers, as JSON has it.
        any::<f64>()
            .prop_filter("JSON has it", |float| float.is_finite() && float.fract() != 0.0)
            .prop_map(Value::Float),
        text().prop_map(|text| Value::Text(text.into())),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::vec((text(), inner), 0..4).prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

fn span() -> impl Strategy<Value = Span> {
    "-?[1-9][0-9]{0,2}(mo|w|d|h|m|s)".prop_map(|text| Span::parse(&text).unwrap())
}

fn mapping() -> impl Strategy<Value = Mapping> {
    let fixed = value().prop_filter(
        "an object with `from` is an expression",
        |value| !matches!(value, Value::Map(map) if map.get("from").is_some()),
    );
    prop_oneof![text().prop_map(|from| Mapping::From(MappingFrom { from })), fixed.prop_map(Mapping::Fixed)]
}

/// A step of any one kind, made from the document's own words.
fn step() -> impl Strategy<Value = Step> {
    let bare = |id: Name| -> Step { serde_json::from_value(serde_json::json!({"id": id})).unwrap() };
    let leaf = prop_oneof![
        (name(), name(), proptest::option::of(text())).prop_map(move |(id, message, title)| Step {
            title,
            send: Some(Send { message }),
            ..bare(id)
        }),
        (name(), span()).prop_map(move |(id, span)| {
            let wait = journey::Wait { duration: Some(span), until: None, if_late_over: Some(span), late: None };
            Step { wait: Some(wait), ..bare(id) }
        }),
        (name(), text(), proptest::option::of(span())).prop_map(move |(id, attribute, offset)| {
            let on_missing = journey::OnMissingDate::Skip;
            let until = Some(Until::Attribute(UntilAttribute { attribute, offset, on_missing }));
            let wait = journey::Wait { duration: None, until, if_late_over: None, late: None };
            Step { wait: Some(wait), ..bare(id) }
        }),
        (name(), text()).prop_map(move |(id, at)| {
            let wait =
                journey::Wait { duration: None, until: Some(Until::Instant(at)), if_late_over: None, late: None };
            Step { wait: Some(wait), ..bare(id) }
        }),
        (name(), proptest::collection::btree_map(attribute_name(), mapping(), 0..3))
            .prop_map(move |(id, attributes)| Step { update: Some(journey::Update { attributes }), ..bare(id) }),
        (name(), name(), proptest::option::of(mapping())).prop_map(move |(id, trigger, binding_id)| {
            // A binding id that is null is none.
            let binding_id = binding_id.filter(|mapping| *mapping != Mapping::Fixed(Value::Null));
            let raise = journey::Raise { trigger, attributes: Default::default(), binding_id };
            Step { raise: Some(raise), ..bare(id) }
        }),
        (name(), name()).prop_map(move |(id, target)| Step { go_to: Some(target), ..bare(id) }),
        (name(), proptest::option::of(name()))
            .prop_map(move |(id, reason)| Step { exit: Some(ExitStep { reason }), ..bare(id) }),
    ];
    leaf.prop_recursive(3, 16, 3, move |inner| {
        let arm = || proptest::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            (name(), text(), arm(), arm()).prop_map(move |(id, condition, steps, otherwise)| {
                let branch = Branch { when: vec![When { condition, steps }], otherwise };
                Step { branch: Some(branch), ..bare(id) }
            }),
            (name(), any::<u32>(), arm()).prop_map(move |(id, weight, steps)| {
                let arms = vec![journey::Arm { name: id.clone(), weight, steps }];
                Step { split: Some(Split { arms }), ..bare(id) }
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_journey_is_read_as_it_was_written(steps in proptest::collection::vec(step(), 0..4), title in proptest::option::of(text())) {
        let mut document = read("{apiVersion: sojourn/v1, kind: Journey, metadata: {name: x}, spec: {start: {trigger: t}, steps: []}}").remove(0);
        if let model::document::Spec::Journey(journey) = &mut document.spec {
            journey.steps = steps;
            journey.title = title;
        }
        assert_round_trip(&document);
    }

    #[test]
    fn any_attributes_are_read_as_they_were_written(pairs in proptest::collection::vec((text(), value()), 0..5)) {
        let mut document = read("{apiVersion: sojourn/v1, kind: JourneyTest, metadata: {name: x}, spec: {journey: j, profile: {identities: []}, given: [], expect: []}}").remove(0);
        if let model::document::Spec::JourneyTest(test) = &mut document.spec {
            test.profile.attributes = pairs.into_iter().collect::<Attributes>();
        }
        assert_round_trip(&document);
    }
}

// ---- the published schema ----

#[test]
fn the_schema_has_every_kind_and_no_loose_end() {
    fn references(json: &serde_json::Value, found: &mut Vec<String>) {
        match json {
            serde_json::Value::Object(map) => {
                found.extend(map.get("$ref").and_then(|target| target.as_str()).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_) => {}
        }
    }
    let schema = json_schema();
    let kinds: Vec<&serde_json::Value> =
        schema["oneOf"].as_array().unwrap().iter().map(|kind| &kind["properties"]["kind"]["const"]).collect();
    assert_eq!(kinds, ["Trigger", "Message", "Journey", "JourneyTest"]);
    let mut found = Vec::new();
    references(&schema, &mut found);
    assert!(found.len() > 20, "{}", found.len());
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(schema.pointer(pointer).is_some(), "{target} is not there");
    }
    let step = &schema["$defs"]["Step"];
    assert_eq!(step["additionalProperties"], serde_json::json!(false));
    for kind in ["send", "wait", "wait_for", "branch", "split", "update", "raise", "go_to", "exit"] {
        assert!(step["properties"][kind].is_object(), "{kind}");
    }
}
