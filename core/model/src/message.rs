//! The message document: what a send step sends, bodies in Liquid over `profile`, `event`, `trigger`, `record`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The `spec` of a `kind: Message` document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub channel: Channel,
    /// What it is for; decides consent (S2). A journey that sends a message without one is warned of (J14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// The topic within the purpose that a person can leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The profile attribute that holds the address. Default: `email` for email, `phone` for sms, `push_token` for
    /// push. Not for webhooks, which have `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The sender. Default: the channel's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// email: required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// email: the body as HTML; outputs are escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// email: the body as MJML, in place of `html`, which is made of it; outputs are escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mjml: Option<String>,
    /// email: the body, or its alternative, as plain text; sms: the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// push: the body. webhook: the JSON body, each text in it a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<crate::Value>,
    /// webhook: where to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// webhook: further headers, each value a template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What a variable without value and without a `default` filter does (trap T62). Default: `fail`.
    #[serde(default, skip_serializing_if = "OnMissing::is_fail")]
    pub on_missing: OnMissing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Sms,
    Push,
    Webhook,
}

impl Channel {
    pub const ALL: [Channel; 4] = [Channel::Email, Channel::Sms, Channel::Push, Channel::Webhook];

    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Email => "email",
            Channel::Sms => "sms",
            Channel::Push => "push",
            Channel::Webhook => "webhook",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Channel::ALL.into_iter().find(|channel| channel.as_str() == text)
    }

    /// The profile attribute that holds the address when a message names none.
    pub fn address_attribute(self) -> Option<&'static str> {
        match self {
            Channel::Email => Some("email"),
            Channel::Sms => Some("phone"),
            Channel::Push => Some("push_token"),
            Channel::Webhook => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Commercial,
    Transactional,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// The send step fails and its policy decides (J16).
    #[default]
    Fail,
    /// The place stays empty.
    Allow,
}

impl OnMissing {
    fn is_fail(&self) -> bool {
        *self == OnMissing::Fail
    }
}
