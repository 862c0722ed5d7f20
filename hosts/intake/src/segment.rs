//! Segment's door, for its SDKs and those shaped like it: `POST /v1/{track,identify,page,screen,group,alias,batch,import}`
//! and the browser's short forms.
//!
//! - `track` is an event of the trigger of that name: exactly, else in snake_case (`Order Completed` →
//!   `order_completed`), else unmatched under its own name.
//! - `identify` gives traits as profile attributes; `userId` and `anonymousId` are identities, a trait `email` is not.
//! - `page`, `screen` and `group` are events of the triggers `page`, `screen` and `group`.
//! - `alias` links `userId` with `previousId`, which may be the anonymous id that the person had or another user id, and
//!   does not say which: it is looked for as both (E11), so that the profile that knows either is found. Where both sides
//!   are known already as different people it is kept as `identity_conflict`.
//! - `event_time = received_at − (sentAt − timestamp)`: the client's clock may be wrong, its differences are not.

use crate::item::{self, Context, Draft, Malformed, Received, Rejection};
use model::{Attributes, Identity, Text, Timestamp, Value};
use processor::Update;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What one call says. `batch` and `import` hold several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Track,
    Identify,
    Page,
    Screen,
    Group,
    Alias,
    Batch,
}

impl Call {
    /// The call of a path below `/v1/`: `track` or `t`, and so on.
    pub fn of_path(path: &str) -> Option<Self> {
        Some(match path {
            "track" | "t" => Call::Track,
            "identify" | "i" => Call::Identify,
            "page" | "p" => Call::Page,
            "screen" | "s" => Call::Screen,
            "group" | "g" => Call::Group,
            "alias" | "a" => Call::Alias,
            "batch" | "b" | "import" => Call::Batch,
            _ => return None,
        })
    }

    /// The trigger that an event of this call is of; a track names its own.
    fn trigger(self) -> &'static str {
        match self {
            Call::Page => "page",
            Call::Screen => "screen",
            Call::Group => "group",
            Call::Track | Call::Identify | Call::Alias | Call::Batch => "",
        }
    }
}

/// What can be told of a message that does not read.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Glimpse {
    #[serde(rename = "type")]
    kind: Option<Text>,
    message_id: Option<Text>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, expecting = "a message object")]
struct Message {
    #[serde(rename = "type")]
    kind: Option<Text>,
    event: Option<Text>,
    name: Option<Text>,
    user_id: Option<Value>,
    anonymous_id: Option<Value>,
    previous_id: Option<Value>,
    group_id: Option<Value>,
    properties: Option<Attributes>,
    traits: Option<Attributes>,
    timestamp: Option<Text>,
    original_timestamp: Option<Text>,
    sent_at: Option<Text>,
    message_id: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch<'a> {
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
    sent_at: Option<Text>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keyed {
    write_key: Option<String>,
}

/// The write key that older clients and browsers put into the body.
pub fn write_key(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Keyed>(body).ok()?.write_key
}

/// # Errors
/// When the body is not JSON of the call's shape; bad items of a batch are told one by one.
pub fn receive(call: Call, body: &[u8], ctx: &Context<'_>) -> Result<Received, Malformed> {
    let malformed = |error: serde_json::Error| Malformed(format!("the body cannot be read: {error}"));
    let mut received = Received::default();
    if call == Call::Batch {
        let Batch { batch, sent_at } = serde_json::from_slice(body).map_err(malformed)?;
        if batch.len() > item::ITEMS_MAX {
            return Err(Malformed(format!("{} items; at most {} are allowed", batch.len(), item::ITEMS_MAX)));
        }
        for raw in batch {
            receive_raw(&mut received, None, raw, sent_at.as_deref(), ctx);
        }
    } else {
        let raw: &RawValue = serde_json::from_slice(body).map_err(malformed)?;
        receive_raw(&mut received, Some(call), raw, None, ctx);
    }
    Ok(received)
}

/// `call`: None in a batch, where the message's `type` says it.
fn receive_raw(received: &mut Received, call: Option<Call>, raw: &RawValue, sent_at: Option<&str>, ctx: &Context<'_>) {
    let of_kind = |kind: Option<&Text>| Call::of_path(kind?).filter(|call| *call != Call::Batch);
    match serde_json::from_str::<Message>(raw.get()) {
        Ok(message) => {
            let call = call.or_else(|| of_kind(message.kind.as_ref()));
            receive_one(received, call, message, sent_at, ctx);
        }
        Err(error) => {
            let Glimpse { kind, message_id } = serde_json::from_str(raw.get()).unwrap_or_default();
            let rejection = Rejection::new("malformed", error.to_string());
            match call.or_else(|| of_kind(kind.as_ref())) {
                Some(Call::Identify | Call::Alias) => received.update(Err((message_id, rejection))),
                Some(Call::Track | Call::Page | Call::Screen | Call::Group | Call::Batch) | None => {
                    received.reject(ctx, message_id, Text::default(), rejection);
                }
            }
        }
    }
}

fn receive_one(
    received: &mut Received,
    call: Option<Call>,
    message: Message,
    sent_at: Option<&str>,
    ctx: &Context<'_>,
) {
    let id = message.message_id.clone();
    let identities = match identities(call, &message) {
        Ok(identities) => identities,
        Err(rejection) => {
            return match (call, &message.event) {
                (Some(Call::Identify | Call::Alias), _) => received.update(Err((id, rejection))),
                (Some(Call::Track), Some(name)) => received.reject(ctx, id, trigger_of(name, ctx), rejection),
                (Some(call @ (Call::Page | Call::Screen | Call::Group)), _) => {
                    received.reject(ctx, id, call.trigger().into(), rejection);
                }
                (Some(Call::Track | Call::Batch) | None, _) => received.reject(ctx, id, Text::default(), rejection),
            };
        }
    };
    let occurred_at = occurred_at(&message, sent_at, ctx.received_at);
    let event = |trigger: Text, attributes: Attributes, identities: Vec<Identity>| {
        let (binding_id, replay_as_live) = (None, false);
        Ok(Draft { id: id.clone(), trigger, identities, occurred_at, attributes, binding_id, replay_as_live })
    };
    let properties = message.properties.unwrap_or_default();
    match call {
        Some(Call::Track) => match &message.event {
            Some(name) => received.event(ctx, event(trigger_of(name, ctx), properties, identities)),
            None => {
                let rejection = Rejection::new("malformed", "`event`: expected the name of the event");
                received.reject(ctx, id, Text::default(), rejection);
            }
        },
        Some(call @ (Call::Page | Call::Screen)) => {
            let mut attributes = properties;
            if let Some(name) = message.name {
                attributes.insert("name", Value::Text(name));
            }
            received.event(ctx, event(call.trigger().into(), attributes, identities));
        }
        Some(call @ Call::Group) => {
            let mut attributes = message.traits.unwrap_or_default();
            attributes.insert("group_id", message.group_id.unwrap_or_default());
            received.event(ctx, event(call.trigger().into(), attributes, identities));
        }
        Some(Call::Identify | Call::Alias) => {
            let update = Update {
                id: message.message_id,
                source: ctx.source.into(),
                identities,
                attributes: message.traits.unwrap_or_default(),
                received_at: ctx.received_at,
            };
            received.update(Ok(update));
        }
        Some(Call::Batch) | None => {
            let kind = message.kind.unwrap_or_default();
            let reason = format!("`type`: expected track, identify, page, screen, group or alias, `{kind}` came");
            received.reject(ctx, id, Text::default(), Rejection::new("malformed", reason));
        }
    }
}

fn identities(call: Option<Call>, message: &Message) -> Result<Vec<Identity>, Rejection> {
    let mut given = vec![("user_id", &message.user_id), ("anonymous_id", &message.anonymous_id)];
    if call == Some(Call::Alias) {
        given.push(("anonymous_id", &message.previous_id));
        if message.previous_id != message.anonymous_id {
            given.push(("user_id", &message.previous_id));
        }
    }
    let mut identities = Vec::new();
    for (kind, value) in given {
        // Clients send an empty text for a user they do not know yet.
        let Some(value) = value.as_ref().filter(|value| **value != Value::from("")) else { continue };
        identities.extend(item::identities_of(&[(kind, value.clone())].into_iter().collect())?);
    }
    Ok(identities)
}

fn occurred_at(message: &Message, batch_sent_at: Option<&str>, received_at: Timestamp) -> Timestamp {
    let read = |text: Option<&str>| text.and_then(Timestamp::parse);
    let timestamp = read(message.timestamp.as_deref().or(message.original_timestamp.as_deref()));
    let Some(timestamp) = timestamp else { return received_at };
    match read(message.sent_at.as_deref().or(batch_sent_at)) {
        Some(sent_at) => received_at.plus_ms(-sent_at.ms_since(timestamp)),
        None => timestamp,
    }
}

/// The trigger of that name, exactly or in snake_case.
fn trigger_of(name: &Text, ctx: &Context<'_>) -> Text {
    if ctx.catalog.trigger(name).is_some() {
        return name.clone();
    }
    let snake = snake_case(name);
    if ctx.catalog.trigger(&snake).is_some() { snake } else { name.clone() }
}

/// `Order Completed`, `orderCompleted` and `Order-Completed` are all `order_completed`.
fn snake_case(name: &str) -> Text {
    let mut snake = Text::default();
    let mut before = '_';
    for c in name.chars() {
        if c.is_alphanumeric() {
            if c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()) {
                snake.push('_');
            }
            snake.extend(c.to_lowercase());
        } else if before.is_alphanumeric() {
            snake.push('_');
        }
        before = c;
    }
    snake.trim_end_matches('_').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_snake_case() {
        for (name, expected) in [
            ("Order Completed", "order_completed"),
            ("orderCompleted", "order_completed"),
            ("Order-Completed!", "order_completed"),
            ("order_completed", "order_completed"),
            ("Viewed 2FA Page", "viewed_2_fa_page"),
        ] {
            assert_eq!(snake_case(name), expected, "{name}");
        }
    }
}
