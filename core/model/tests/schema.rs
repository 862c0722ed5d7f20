//! The published JSON Schema takes what the reader takes, and refuses what it refuses.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use boon::{Compiler, SchemaIndex, Schemas};
use model::Document;
use model::document::{json_schema, read_documents};
use serde_json::Value;
use std::path::Path;

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn published() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("sojourn.json", json_schema()).unwrap();
        let index = compiler.compile("sojourn.json", &mut schemas).unwrap();
        Schema { schemas, index }
    }

    fn takes(&self, json: &Value) -> Result<(), String> {
        self.schemas.validate(json, self.index).map_err(|error| format!("{error:#}"))
    }
}

/// Every field there is, each at least once.
const EVERYTHING: &str = r##"
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: abandoned_cart}
spec:
  title: Cart abandoned
  description: Somebody left with something in the cart.
  kind: custom
  state: ready
  bind: contact
  binding: cart/{cartId}
  max_age: 48h
  attributes:
    cartId: {type: text, required: true}
    cart_total: {type: number, required: true, description: in the shop's currency}
    is_gift: {type: boolean}
    left_at: {type: datetime}
    shop: {type: reference}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: mail}
spec: {title: Mail, channel: email, purpose: commercial, topic: news, to: email, from: a@x.org, reply_to: b@x.org, subject: Hi,
  html: <p>Hi</p>, text: Hi, on_missing: allow}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: mail_in_mjml}
spec: {channel: email, purpose: transactional, subject: Hi, mjml: <mjml><mj-body></mj-body></mjml>}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: push}
spec: {channel: push, subject: Hi, body: There}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: hook}
spec: {channel: webhook, url: "https://x.example", body: {who: "{{ profile.id }}", list: [1, 2.5, null, true]}, headers: {x-a: b}}
---
apiVersion: sojourn/v1
kind: Journey
metadata: {name: abandoned_cart}
spec:
  title: Abandoned cart
  description: Brings them back.
  state: live
  time_zone: Europe/Berlin
  start:
    trigger: abandoned_cart
    where: event.cart_total > 50
    repeat: {mode: after, delay: 7d}
    window: {from: "2026-01-01T00:00:00Z", to: "2027-01-01T00:00:00Z"}
  exits: [{trigger: purchase_completed, where: event.total > 0}]
  goals: [{name: bought, trigger: purchase_completed, where: event.total > 0, target: 50%, window: 3d}, {name: seen, trigger: t, target: 500}]
  steps:
    - {id: reminder, title: Remind, send: {message: cart_reminder}, on_blocked: exit, on_failure: park}
    - {id: day, wait: {for: 1d, if_late_over: 2h, late: continue}}
    - {id: instant, wait: {until: "2026-05-01T09:00:00Z"}}
    - {id: date, wait: {until: {attribute: event.starts_at, offset: -24h, on_missing: skip}}}
    - {id: morning, wait: {until: {time: "09:00", days: [monday, friday]}}}
    - {id: office, wait: {until: {window: {from: "09:00", to: "17:00", days: [monday]}}}}
    - id: opened
      wait_for:
        outcomes:
          - {interaction: email_opened, of: reminder, where: "true", steps: [{id: done, exit: {reason: engaged}}]}
          - {trigger: came_back, since: start}
        up_to: 1d
        otherwise: [{id: text, send: {message: cart_sms}}]
    - id: plan
      branch: {when: [{if: profile.plan == "pro", steps: [{id: back, go_to: reminder}]}], otherwise: [{id: out, exit: {}}]}
    - id: lots
      split: {arms: [{name: a, weight: 1, steps: []}, {name: b, weight: 0}]}
    - id: note
      update: {attributes: {lastCart: {from: event.cartId}, seen: true, tags: [a, {b: 1}]}}
    - id: tell
      raise: {trigger: vip, attributes: {total: {from: event.cart_total}}, binding_id: {from: '"cart/" + event.cartId'}}
---
apiVersion: sojourn/v1
kind: JourneyTest
metadata: {name: abandoned_cart_no_open}
spec:
  journey: abandoned_cart
  profile: {identities: ["user_id:42"], attributes: {email: ada@example.org}}
  given:
    - {at: "2026-03-28T10:00:00Z", event: abandoned_cart, attributes: {cartId: c1}, binding_id: cart/c1, identities: ["email:a@x.org"]}
    - {after: 1h, interaction: email_opened, of: reminder}
    - {after: 1h, profile: {attributes: {plan: pro}}}
  expect:
    - {at: "2026-03-28T10:00:00Z", send: cart_reminder}
    - {at: "2026-03-28T10:00:00Z", blocked: cart_sms, reason: no_address}
    - {at: "2026-03-29T09:00:00Z", exit: completed}
"##;

fn documents(text: &str) -> Vec<Document> {
    let read = read_documents(text);
    assert_eq!(read.findings, []);
    read.documents
}

#[test]
fn every_field_and_every_example_is_taken() {
    let schema = Schema::published();
    let mut count = 0;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut texts = vec![EVERYTHING.to_owned()];
    for folder in std::fs::read_dir(examples).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            let files = std::fs::read_dir(folder).unwrap();
            texts.extend(files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()));
        }
    }
    for document in texts.iter().flat_map(|text| documents(text)) {
        let json = document.to_json();
        schema.takes(&json).unwrap_or_else(|error| panic!("{}: {error}", document.id()));
        count += 1;
    }
    assert!(count > 20, "{count}");
}

/// The places of every object in `json`, as pointers.
fn objects(json: &Value, pointer: String, found: &mut Vec<String>) {
    match json {
        Value::Object(map) => {
            map.iter().for_each(|(name, value)| objects(value, format!("{pointer}/{name}"), found));
            found.push(pointer);
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| objects(value, format!("{pointer}/{at}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// With a field more that nothing has, in any object: the reader refuses it where the schema does, and only there.
#[test]
fn an_unknown_field_is_an_error_to_both() {
    let schema = Schema::published();
    let (mut refused, mut taken) = (0, 0);
    for document in documents(EVERYTHING) {
        let json = document.to_json();
        let mut places = Vec::new();
        objects(&json, String::new(), &mut places);
        for place in places {
            let mut changed = json.clone();
            changed.pointer_mut(&place).unwrap().as_object_mut().unwrap().insert("zzz".into(), "1".into());
            let read = Document::from_json(changed.clone());
            let by_schema = schema.takes(&changed);
            assert_eq!(read.is_ok(), by_schema.is_ok(), "{} {place}: {read:?} {by_schema:?}", document.id());
            *(if read.is_ok() { &mut taken } else { &mut refused }) += 1;
        }
    }
    // Open are attributes of tests and values, and what a webhook is told.
    assert!(refused > 50 && (1..20).contains(&taken), "{refused} {taken}");
}

/// File, line, place, and the field that was meant.
#[test]
fn an_unknown_field_is_told_with_its_line_and_what_was_meant() {
    for (wrong, right, message) in [
        ("    wher: event", "    where: event", "unknown field `wher`; did you mean `where`? There is one of"),
        ("on_faillure: park", "on_failure: park", "unknown field `on_faillure`; did you mean `on_failure`?"),
        ("  max_ago: 48h", "  max_age: 48h", "unknown field `max_ago`; did you mean `max_age`?"),
        ("up_too: 1d", "up_to: 1d", "unknown field `up_too`; did you mean `up_to`?"),
    ] {
        let text = EVERYTHING.replacen(right, wrong, 1);
        assert_ne!(text, EVERYTHING);
        let read = read_documents(&text);
        assert_eq!(read.findings.len(), 1, "{:?}", read.findings);
        let finding = &read.findings[0];
        let line = text.lines().position(|line| line.contains(wrong)).unwrap() + 1;
        assert_eq!(finding.line, Some(line), "{finding}");
        assert!(finding.message.starts_with(message), "{}", finding.message);
        let told = model::Finding { file: Some("cart.yaml".into()), ..finding.clone() }.to_string();
        assert!(told.starts_with(&format!("error[document_invalid] cart.yaml:{line} ")), "{told}");
    }
}
