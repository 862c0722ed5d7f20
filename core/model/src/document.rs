//! Documents: everything a person makes is a file (design §5). Reading and writing them; nothing else.

use crate::journey::Journey;
use crate::journey_test::JourneyTest;
use crate::message::Message;
use crate::trigger::Trigger;
use crate::{Finding, Name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

pub const API_VERSION: &str = "sojourn/v1";

/// Files larger than this are refused before they are parsed.
pub const FILE_BYTES_MAX: usize = 4 << 20;

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
#[serde(deny_unknown_fields)]
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

fn read_spec<T: serde::de::DeserializeOwned>(json: serde_json::Value, document: &str) -> Result<Box<T>, Finding> {
    read(json, document).map(Box::new).map_err(|finding| {
        let path = if finding.path.is_empty() { "spec".to_owned() } else { format!("spec.{}", finding.path) };
        finding.at_path(path)
    })
}

fn read<T: serde::de::DeserializeOwned>(json: serde_json::Value, document: &str) -> Result<T, Finding> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let finding = Finding::error("document_invalid", document, error.into_inner().to_string());
        if path == "." { finding } else { finding.at_path(path) }
    })
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
    let values: Vec<serde_json::Value> = match serde_saphyr::from_multiple(text) {
        Ok(values) => values,
        Err(error) => {
            read.findings.push(Finding::error("document_syntax", "", error.to_string()));
            return read;
        }
    };
    for value in values {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::Array(items) => items.into_iter().for_each(|item| read.push(item)),
            other @ (serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_)
            | serde_json::Value::Object(_)) => read.push(other),
        }
    }
    read
}

impl ReadDocuments {
    fn push(&mut self, json: serde_json::Value) {
        match Document::from_json(json) {
            Ok(document) => self.documents.push(document),
            Err(finding) => self.findings.push(finding),
        }
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
