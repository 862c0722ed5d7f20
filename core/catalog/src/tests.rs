//! What the tests of the catalog share: a small published catalog, and findings as one line each.

mod findings;
mod journeys;
mod publishing;

use crate::{Built, Catalog, Change, JourneyVersion};
use model::document::{DocumentId, Kind, read_documents};
use model::{CatalogVersion, Document, Finding, Name, Severity};
use std::sync::Arc;

/// What the journeys of the tests use.
const BASE: &str = r#"
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: cart}
spec:
  binding: cart/{id}
  attributes:
    id: {type: text, required: true}
    total: {type: number, required: true}
    coupon: {type: text}
    left_at: {type: datetime}
---
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: bought}
spec: {attributes: {total: {type: number}, id: {type: text, required: true}}}
---
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: planned}
spec: {state: draft}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: mail}
spec: {channel: email, purpose: commercial, subject: "Your cart {{ event.id }}", text: "Still here"}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: sms}
spec: {channel: sms, purpose: commercial, text: "Still here"}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: aimless}
spec: {channel: sms, text: "Still here"}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: coupon}
spec: {channel: sms, purpose: commercial, text: "Use {{ event.coupon }}"}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: careful_coupon}
spec: {channel: sms, purpose: commercial, text: "{% if event.coupon %}Use {{ event.coupon }}{% endif %}"}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: misspelt}
spec: {channel: sms, purpose: commercial, text: "Over {{ event.totl }}"}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: receipt}
spec: {channel: sms, purpose: transactional, text: "Paid {{ trigger.bought.total | default: 0 }}"}
"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn read(yaml: &str) -> Vec<Document> {
    let read = read_documents(yaml);
    assert_eq!(read.findings, [], "{yaml}");
    read.documents
}

fn puts(yaml: &str) -> Vec<Change> {
    read(yaml).into_iter().map(Change::Put).collect()
}

fn remove(kind: Kind, text: &str) -> Change {
    Change::Remove(DocumentId { kind, name: name(text) })
}

fn with(catalog: &Catalog, changes: &[Change]) -> Built {
    let built = catalog.with(CatalogVersion(catalog.version().0 + 1), changes);
    for finding in &built.findings {
        let is_listed = crate::codes::CODES.iter().any(|(code, _)| *code == finding.code);
        assert!(is_listed, "{} is no listed code", finding.code);
    }
    built
}

/// The catalog after documents that have no errors.
fn published(catalog: &Catalog, yaml: &str) -> Catalog {
    let built = with(catalog, &puts(yaml));
    match built.catalog {
        Some(catalog) => catalog,
        None => panic!("refused: {:?}", lines(&built.findings)),
    }
}

fn base() -> Catalog {
    published(&Catalog::empty(), BASE)
}

/// A document of one line; `spec` is YAML in braces.
fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: sojourn/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// The journey `j`, started by `cart`, with these steps.
fn steps(steps: &str) -> String {
    document("Journey", "j", &format!("{{start: {{trigger: cart}}, steps: [{steps}]}}"))
}

fn live<'a>(catalog: &'a Catalog, journey: &str) -> &'a Arc<JourneyVersion> {
    catalog.journey(journey).and_then(|journey| journey.live()).unwrap()
}

/// Severity, code and place, without the message.
fn lines(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let places = [Some(finding.document.as_str()), finding.step.as_deref(), Some(finding.path.as_str())];
        let places: Vec<&str> = places.into_iter().flatten().filter(|place| !place.is_empty()).collect();
        format!("{severity} {} {}", finding.code, places.join(" "))
    };
    findings.iter().map(line).collect()
}
