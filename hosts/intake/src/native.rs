//! Our own door: `POST /v1/events` and `POST /v1/profiles`.
//!
//! ```json
//! {"id": "e1", "trigger": "abandoned_cart", "identities": {"user_id": "42"}, "occurred_at": "2026-05-04T10:00:00Z",
//!  "attributes": {"cart_id": "c1", "cart_total": 80}, "binding_id": "cart/c1", "replay_as_live": false}
//! ```
//! `trigger` and `identities` are needed, all else may be left out. One object or an array of them.

use crate::item::{self, Context, Draft, Malformed, Received, Rejection};
use model::{Attributes, Text, Timestamp};
use processor::Update;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an event object")]
struct EventBody {
    id: Option<Text>,
    trigger: Text,
    #[serde(default)]
    identities: Attributes,
    occurred_at: Option<Timestamp>,
    #[serde(default)]
    attributes: Option<Attributes>,
    binding_id: Option<Text>,
    #[serde(default)]
    replay_as_live: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a profile object")]
struct ProfileBody {
    id: Option<Text>,
    #[serde(default)]
    identities: Attributes,
    #[serde(default)]
    attributes: Option<Attributes>,
}

/// What can be told of an item that does not read.
#[derive(Deserialize, Default)]
struct Glimpse {
    id: Option<Text>,
    trigger: Option<Text>,
}

/// # Errors
/// When the body is not JSON; bad items are answered one by one.
pub fn events(body: &[u8], ctx: &Context<'_>) -> Result<Received, Malformed> {
    let mut received = Received::default();
    for raw in item::split(body)? {
        let draft = serde_json::from_str::<EventBody>(raw.get())
            .map_err(|error| {
                let Glimpse { id, trigger } = serde_json::from_str(raw.get()).unwrap_or_default();
                (id, trigger.unwrap_or_default(), Rejection::new("malformed", error.to_string()))
            })
            .and_then(|body| {
                let EventBody { id, trigger, identities, occurred_at, attributes, binding_id, replay_as_live } = body;
                match item::identities_of(&identities) {
                    Ok(identities) => Ok(Draft {
                        id,
                        trigger,
                        identities,
                        occurred_at: occurred_at.unwrap_or(ctx.received_at),
                        attributes: attributes.unwrap_or_default(),
                        binding_id: binding_id.filter(|binding_id| !binding_id.is_empty()),
                        replay_as_live,
                    }),
                    Err(rejection) => Err((id, trigger, rejection)),
                }
            });
        received.event(ctx, draft);
    }
    Ok(received)
}

/// # Errors
/// When the body is not JSON; bad items are answered one by one.
pub fn profiles(body: &[u8], ctx: &Context<'_>) -> Result<Received, Malformed> {
    let mut received = Received::default();
    for raw in item::split(body)? {
        let update = serde_json::from_str::<ProfileBody>(raw.get())
            .map_err(|error| {
                let Glimpse { id, .. } = serde_json::from_str(raw.get()).unwrap_or_default();
                (id, Rejection::new("malformed", error.to_string()))
            })
            .and_then(|ProfileBody { id, identities, attributes }| match item::identities_of(&identities) {
                Ok(identities) => Ok(Update {
                    id,
                    source: ctx.source.into(),
                    identities,
                    attributes: attributes.unwrap_or_default(),
                    received_at: ctx.received_at,
                }),
                Err(rejection) => Err((id, rejection)),
            });
        received.update(update);
    }
    Ok(received)
}
