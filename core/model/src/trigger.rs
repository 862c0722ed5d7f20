//! The trigger document: an entry of the catalog (C1–C5).

use crate::{AttributeName, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The `spec` of a `kind: Trigger` document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// What people call it. Default: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default)]
    pub kind: TriggerKind,
    /// Only a ready trigger may be used by a live journey (C3). Default: `ready`.
    #[serde(default, skip_serializing_if = "TriggerState::is_ready")]
    pub state: TriggerState,
    /// Which kind of record the person is marked as (C5). Default: `profile`.
    #[serde(default)]
    pub bind: Bind,
    /// How the binding id is made of attributes, `cart/{cart_id}` (J6). An event's own `binding_id` goes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<String>,
    /// At most 100 (C4).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<AttributeName, AttributeSpec>,
    /// Events older than this are `late` (E6). Default: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
}

impl Trigger {
    pub const ATTRIBUTES_MAX: usize = 100;
    /// The `max_age` of a trigger that names none (E6).
    pub const MAX_AGE_DEFAULT_MS: i64 = 24 * 3_600_000;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// Defined by a marketer, sent by developers' code.
    #[default]
    Custom,
    /// From sends and from the channels; continues journeys, never starts or ends one (C2). Built in.
    Interaction,
    /// From record changes in business applications.
    Business,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerState {
    Draft,
    #[default]
    Ready,
    Stopped,
}

impl TriggerState {
    pub fn is_ready(&self) -> bool {
        matches!(self, TriggerState::Ready)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bind {
    Contact,
    Lead,
    #[default]
    Profile,
}

impl Bind {
    pub fn as_str(self) -> &'static str {
        match self {
            Bind::Contact => "contact",
            Bind::Lead => "lead",
            Bind::Profile => "profile",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributeSpec {
    #[serde(rename = "type")]
    pub ty: AttributeType,
    /// An event that lacks a required attribute is rejected (E8). Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The type decides the comparators (C4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttributeType {
    Text,
    Number,
    Boolean,
    /// RFC 3339, or a local date-time without offset (J7).
    Datetime,
    /// To a record, as `table/id`.
    Reference,
}

impl AttributeType {
    pub fn as_str(self) -> &'static str {
        match self {
            AttributeType::Text => "text",
            AttributeType::Number => "number",
            AttributeType::Boolean => "boolean",
            AttributeType::Datetime => "datetime",
            AttributeType::Reference => "reference",
        }
    }
}
