//! Triggers that need no document: the interactions of sends (C10) and the business events of the reference (C8).

use model::Name;
use model::trigger::{AttributeType, Bind, TriggerKind};

/// A trigger that is always there, under a reserved name.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    pub name: &'static str,
    pub kind: TriggerKind,
    pub bind: Bind,
    pub description: &'static str,
    /// Of a business trigger: the table whose rows it tells of. Its events bind as `{table}/{row id}` (J6).
    pub table: Option<&'static str>,
    /// Name and type; none is required.
    pub attributes: &'static [(&'static str, AttributeType)],
}

const REASON: &[(&str, AttributeType)] = &[("reason", AttributeType::Text)];
const URL: &[(&str, AttributeType)] = &[("url", AttributeType::Text)];
const TEXT: &[(&str, AttributeType)] = &[("text", AttributeType::Text)];

const fn interaction(
    name: &'static str,
    description: &'static str,
    attributes: &'static [(&'static str, AttributeType)],
) -> Builtin {
    Builtin { name, kind: TriggerKind::Interaction, bind: Bind::Profile, description, table: None, attributes }
}

const fn business(name: &'static str, table: &'static str, bind: Bind, description: &'static str) -> Builtin {
    Builtin { name, kind: TriggerKind::Business, bind, description, table: Some(table), attributes: &[] }
}

/// All of them.
pub const BUILTINS: &[Builtin] = &[
    interaction("email_sent", "the provider has taken the e-mail", &[]),
    interaction("email_delivered", "the recipient's server has taken the e-mail", &[]),
    interaction("email_opened", "the e-mail was opened", &[]),
    interaction("email_link_clicked", "a link in the e-mail was followed", URL),
    interaction("email_soft_bounced", "the e-mail came back for now", REASON),
    interaction("email_hard_bounced", "the e-mail came back for good", REASON),
    interaction("email_blocked", "the e-mail was not sent, for a reason of our own", REASON),
    interaction("email_failed", "the e-mail could not be sent", REASON),
    interaction("email_spam_complaint", "the recipient called the e-mail spam", &[]),
    interaction("email_unsubscribed", "the recipient left the list", &[]),
    interaction("email_replied", "the recipient answered", TEXT),
    interaction("sms_sent", "the provider has taken the SMS", &[]),
    interaction("sms_delivered", "the SMS reached the phone", &[]),
    interaction("sms_failed", "the SMS could not be sent", REASON),
    interaction("sms_blocked", "the SMS was not sent, for a reason of our own", REASON),
    interaction("sms_received", "the recipient answered the SMS", TEXT),
    interaction("sms_link_clicked", "a link in the SMS was followed", URL),
    interaction("push_sent", "the push service has taken the notification", &[]),
    interaction("push_opened", "the notification was tapped", &[]),
    interaction("push_failed", "the notification could not be sent", REASON),
    interaction("push_blocked", "the notification was not sent, for a reason of our own", REASON),
    interaction("webhook_sent", "the receiver has taken the call", &[]),
    interaction("webhook_failed", "the call failed for good", REASON),
    interaction("webhook_blocked", "the call was not made, for a reason of our own", REASON),
    business("contact_created", "contact", Bind::Contact, "a contact was created"),
    business("contact_email_updated", "contact", Bind::Contact, "an e-mail address of a contact changed"),
    business("contact_address_updated", "contact", Bind::Contact, "a postal address of a contact changed"),
    business("contact_phone_updated", "contact", Bind::Contact, "a phone number of a contact changed"),
    business("lead_created", "lead", Bind::Lead, "a lead was created"),
    business("incident_created", "incident", Bind::Contact, "a case was opened"),
    business("incident_state_updated", "incident", Bind::Contact, "the state of a case changed"),
    business("opportunity_created", "opportunity", Bind::Contact, "an opportunity was created"),
    business("opportunity_state_updated", "opportunity", Bind::Contact, "the state of an opportunity changed"),
];

pub fn is_reserved(name: &str) -> bool {
    BUILTINS.iter().any(|builtin| builtin.name == name)
}

/// Whether an interaction is something a person did; the others are what became of a send.
pub fn is_by_person(interaction: &str) -> bool {
    let what = interaction.split_once('_').map_or("", |(_, what)| what);
    ["opened", "link_clicked", "spam_complaint", "unsubscribed", "replied", "received"].contains(&what)
}

/// The channel of an interaction trigger: what stands before its first `_`.
pub fn channel_of(interaction: &Name) -> &str {
    interaction.split('_').next().unwrap_or_default()
}
