//! The journey test document: what is given, and the whole list of sends and ends expected (design §5).

use crate::{Attributes, Identity, Name, Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `spec` of a `kind: JourneyTest` document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JourneyTest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The journey whose participants are watched; all journeys of the catalog run.
    pub journey: Name,
    pub profile: TestProfile,
    pub given: Vec<Given>,
    /// Every send and end of the profile's participants in this journey, in log order.
    pub expect: Vec<Expect>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestProfile {
    pub identities: Vec<Identity>,
    #[serde(default)]
    pub attributes: Attributes,
}

/// One thing that happens, `at` an instant or `after` the item before it; exactly one of event, interaction, profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Given {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// A duration in UTC after the item before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// The name of a trigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Name>,
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_id: Option<String>,
    /// event: those of the test's profile if not given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Identity>,
    /// An interaction trigger such as `email_opened`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interaction: Option<Name>,
    /// interaction: the send step whose latest send it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Name>,
    /// New values of profile attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<GivenProfile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GivenProfile {
    pub attributes: Attributes,
}

/// One send, blocked send or end; exactly one of `send`, `blocked`, `exit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub at: Timestamp,
    /// The message that is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Name>,
    /// The message that is blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Name>,
    /// blocked: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason of the end (J3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
}
