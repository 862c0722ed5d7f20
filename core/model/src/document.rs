//! Documents: everything a person makes is a file (design §5). Reading and writing them; nothing else.

use crate::journey::Journey;
use crate::journey_test::JourneyTest;
use crate::message::Message;
use crate::places::Places;
use crate::trigger::Trigger;
use crate::{Finding, Name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

pub const API_VERSION: &str = "sojourn/v1";

/// Files larger than this are refused before they are parsed.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// How deep lists and objects may nest in each other in one document: eight branches within each other and more.
/// The bound is what keeps reading from running out of stack.
pub const DEPTH_MAX: usize = 64;
/// How much the aliases of one file (`*name`) may repeat, in nodes: a few lines can stand for gigabytes.
const ALIASED_NODES_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    Trigger,
    Message,
    Journey,
    JourneyTest,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Trigger, Kind::Message, Kind::Journey, Kind::JourneyTest];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Trigger => "Trigger",
            Kind::Message => "Message",
            Kind::Journey => "Journey",
            Kind::JourneyTest => "JourneyTest",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `kind` and `name` of a document; unique in a catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    pub kind: Kind,
    pub name: Name,
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// One document, of which only `spec` differs by kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub name: Name,
    pub spec: Spec,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    Trigger(Box<Trigger>),
    Message(Box<Message>),
    Journey(Box<Journey>),
    JourneyTest(Box<JourneyTest>),
}

impl Spec {
    pub fn kind(&self) -> Kind {
        match self {
            Spec::Trigger(_) => Kind::Trigger,
            Spec::Message(_) => Kind::Message,
            Spec::Journey(_) => Kind::Journey,
            Spec::JourneyTest(_) => Kind::JourneyTest,
        }
    }
}

/// A list of documents as read from files or held by a server.
pub type Documents = Vec<Document>;

/// The four fields every document has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a document, an object with apiVersion, kind, metadata and spec")]
struct Envelope {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: serde_json::Value,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: Name,
}

impl Document {
    pub fn id(&self) -> DocumentId {
        DocumentId { kind: self.spec.kind(), name: self.name.clone() }
    }

    /// The document as JSON, with its envelope.
    pub fn to_json(&self) -> serde_json::Value {
        let spec = match &self.spec {
            Spec::Trigger(spec) => serde_json::to_value(spec),
            Spec::Message(spec) => serde_json::to_value(spec),
            Spec::Journey(spec) => serde_json::to_value(spec),
            Spec::JourneyTest(spec) => serde_json::to_value(spec),
        }
        .expect("INVARIANT: documents hold only what JSON can hold");
        serde_json::json!({
            "apiVersion": API_VERSION,
            "kind": self.spec.kind().as_str(),
            "metadata": {"name": self.name},
            "spec": spec,
        })
    }

    /// The document as YAML, without the `---` before it.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(&self.to_json()).expect("INVARIANT: any JSON value can be written as YAML")
    }

    /// Reads one document from its JSON form.
    ///
    /// # Errors
    /// A finding that names the field, what was expected and what came.
    pub fn from_json(json: serde_json::Value) -> Result<Self, Finding> {
        if nests_deeper(&json, DEPTH_MAX) {
            let message = format!("it nests deeper than {DEPTH_MAX} levels; cut the journey into several");
            return Err(Finding::error("document_too_deep", "", message));
        }
        let envelope: Envelope = read(json, "")?;
        if envelope.api_version != API_VERSION {
            return Err(Finding::error(
                "document_api_version",
                "",
                format!("`apiVersion` is `{}`; expected `{API_VERSION}`", envelope.api_version),
            ));
        }
        let name = envelope.metadata.name;
        let place = format!("{}/{name}", envelope.kind);
        let Some(kind) = Kind::parse(&envelope.kind) else {
            let kinds = Kind::ALL.map(Kind::as_str).join(", ");
            return Err(Finding::error(
                "document_kind",
                place,
                format!("`kind` is `{}`; expected one of {kinds}", envelope.kind),
            ));
        };
        let spec = match kind {
            Kind::Trigger => Spec::Trigger(read_spec(envelope.spec, &place)?),
            Kind::Message => Spec::Message(read_spec(envelope.spec, &place)?),
            Kind::Journey => Spec::Journey(read_spec(envelope.spec, &place)?),
            Kind::JourneyTest => Spec::JourneyTest(read_spec(envelope.spec, &place)?),
        };
        Ok(Document { name, spec })
    }
}

fn nests_deeper(json: &serde_json::Value, levels: usize) -> bool {
    match json {
        serde_json::Value::Array(items) => levels == 0 || items.iter().any(|item| nests_deeper(item, levels - 1)),
        serde_json::Value::Object(map) => levels == 0 || map.values().any(|item| nests_deeper(item, levels - 1)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => false,
    }
}

fn read_spec<T: serde::de::DeserializeOwned>(json: serde_json::Value, document: &str) -> Result<Box<T>, Finding> {
    read(json, document).map(Box::new).map_err(|finding| {
        let path = if finding.path.is_empty() { "spec".to_owned() } else { format!("spec.{}", finding.path) };
        finding.at_path(path)
    })
}

fn read<T: serde::de::DeserializeOwned>(json: serde_json::Value, document: &str) -> Result<T, Finding> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let finding = Finding::error("document_invalid", document, readable(&error.into_inner().to_string()));
        if path == "." { finding } else { finding.at_path(path) }
    })
}

/// The reader's message in words of documents, and with the name that was meant.
fn readable(message: &str) -> String {
    if let Some((before, name)) = message.split_once("expected struct ") {
        let rest = name.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        return format!("{before}expected an object{rest}");
    }
    if !message.starts_with("unknown ") {
        return message.to_owned();
    }
    // Names stand between backticks: the one that came, then those that are known.
    let mut names = message.split('`').skip(1).step_by(2);
    let came = names.next().unwrap_or_default();
    match (crate::nearest::nearest(came, names), message.split_once(", expected ")) {
        (Some(near), Some((unknown, known))) => format!("{unknown}; did you mean `{near}`? There is {known}"),
        (_, _) => message.to_owned(),
    }
}

/// What reading a file gave: the documents that could be read, and a finding for each that could not.
#[derive(Debug, Default)]
pub struct ReadDocuments {
    pub documents: Documents,
    pub findings: Vec<Finding>,
}

/// Reads a YAML or JSON text of one or more documents (`---` between them; a JSON array is a list of documents).
pub fn read_documents(text: &str) -> ReadDocuments {
    let mut read = ReadDocuments::default();
    if text.len() > FILE_BYTES_MAX {
        read.findings.push(Finding::error(
            "document_too_large",
            "",
            format!("{} bytes; a file holds at most {FILE_BYTES_MAX}", text.len()),
        ));
        return read;
    }
    let values = match values_of(text) {
        Ok(values) => values,
        Err(message) => {
            read.findings.push(Finding::error("document_syntax", "", message));
            return read;
        }
    };
    let documents = values.into_iter().flat_map(|value| match value {
        serde_json::Value::Null => Vec::new(),
        serde_json::Value::Array(items) => items,
        other @ (serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_)
        | serde_json::Value::Object(_)) => vec![other],
    });
    // Made only when something is wrong.
    let mut places = None;
    for (nth, json) in documents.enumerate() {
        match Document::from_json(json) {
            Ok(document) => read.documents.push(document),
            Err(finding) => {
                let line = places.get_or_insert_with(|| Places::of(text)).line_in(nth, &finding.path);
                read.findings.push(Finding { line, ..finding });
            }
        }
    }
    read
}

/// # Errors
/// What is wrong with the text, and where.
fn values_of(text: &str) -> Result<Vec<serde_json::Value>, String> {
    // NOTE: YAML has JSON within it but for some texts: it knows no pairs of surrogates, as in "\ud83d\ude00", and
    // refuses some characters that JSON takes as they are.
    if text.trim_start().starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(vec![value]);
    }
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| {
        // The library's advice to programmers is of no use to who wrote the file.
        error.to_string().replace(", set DuplicateKeyPolicy in Options if acceptable", "")
    })
}

/// YAML 1.2, in which a `no` or a post code of 01234 is the text it looks like, and with limits that hold for files
/// nobody has looked at.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX + 1, flow_nesting_limit: DEPTH_MAX + 1 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: ALIASED_NODES_MAX },
    }
}

/// The published JSON Schema of all kinds (draft 2020-12).
pub fn json_schema() -> serde_json::Value {
    let mut generator = schemars::SchemaGenerator::default();
    let mut kinds = Vec::new();
    for kind in Kind::ALL {
        let spec = match kind {
            Kind::Trigger => generator.subschema_for::<Trigger>(),
            Kind::Message => generator.subschema_for::<Message>(),
            Kind::Journey => generator.subschema_for::<Journey>(),
            Kind::JourneyTest => generator.subschema_for::<JourneyTest>(),
        };
        let metadata = generator.subschema_for::<Metadata>();
        kinds.push(serde_json::json!({
            "type": "object",
            "required": ["apiVersion", "kind", "metadata", "spec"],
            "additionalProperties": false,
            "properties": {
                "apiVersion": {"const": API_VERSION},
                "kind": {"const": kind.as_str()},
                "metadata": metadata,
                "spec": spec,
            },
        }));
    }
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sojourn documents",
        "oneOf": kinds,
        "$defs": generator.take_definitions(true),
    })
}
