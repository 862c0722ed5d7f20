//! What a browser key may not do.
//!
//! It stands in a page for everyone to read, so whatever it opens, anyone may do. It tells what happened, to one
//! identity at a time; it does not say who is who, where somebody is written to, or what somebody else is like
//! (`docs/rules.md`, Keys). What it may not do is refused item by item, with the reason `key_scope`.

use catalog::{Address, Catalog};
use engine::command::RejectedCount;
use intake::{ItemOutcome, Received};
use model::trigger::TriggerKind;
use model::{Event, Identity, IdentityKind, Text, Timestamp};
use processor::{Item, Update};

/// Attributes of profiles that say where somebody is written to; besides, those that messages name as their address.
const PROFILE_ADDRESSES: [&str; 3] = ["email", "phone", "push_token"];
/// Attributes of events that do (C5).
const EVENT_ADDRESSES: [&str; 2] = ["contactpoint_email", "contactpoint_phone"];

/// Puts a rejection in the place of every item that a browser key may not send.
pub(crate) fn restrict(received: &mut Received, catalog: &Catalog, now: Timestamp) {
    for (item, result) in received.items.iter_mut().zip(&mut received.results) {
        let (trigger, checked) = match item {
            Item::Event { event, .. } => (event.trigger.clone(), check_event(event, catalog)),
            Item::Update(update) => (Text::default(), check_update(update, catalog)),
            Item::Rejected(_) | Item::RejectedUpdate => continue,
        };
        let Err(why) = checked else { continue };
        // As at the door: names that nothing has are not kept in the books.
        let trigger = if catalog.trigger(&trigger).is_some() { trigger } else { Text::default() };
        *item = match item {
            Item::Update(_) => Item::RejectedUpdate,
            Item::Event { .. } | Item::Rejected(_) | Item::RejectedUpdate => {
                Item::Rejected(RejectedCount { trigger, reason: "key_scope".into(), received_at: now, count: 1 })
            }
        };
        result.outcome = ItemOutcome::Rejected { reason: format!("key_scope: {why}; send it from your server") };
    }
}

fn check_event(event: &mut Event, catalog: &Catalog) -> Result<(), String> {
    if event.replay_as_live {
        return Err("a browser key cannot replay events".to_owned());
    }
    if catalog.trigger(&event.trigger).is_some_and(|trigger| trigger.kind == TriggerKind::Business) {
        return Err(format!("a browser key cannot say that a record changed, as {} does", event.trigger));
    }
    if let Some(name) = EVENT_ADDRESSES.iter().find(|name| event.attributes.get(name).is_some()) {
        return Err(format!("a browser key cannot set an address, as `{name}` does"));
    }
    let allowed = [IdentityKind::UserId, IdentityKind::AnonymousId];
    if let Some(other) = other_than(&allowed, &event.identities) {
        return Err(format!("a browser key knows people by user_id and anonymous_id alone, not by {other}"));
    }
    // INVARIANT: they are sorted as they are tried (E11). With one identity left nothing is linked to anything.
    event.identities.truncate(1);
    Ok(())
}

fn check_update(update: &Update, catalog: &Catalog) -> Result<(), String> {
    let is_address = |name: &str| {
        let named = |message: &catalog::Message| matches!(&message.address, Address::Attribute(used) if used == name);
        PROFILE_ADDRESSES.contains(&name) || catalog.messages().any(|message| named(message))
    };
    if let Some((name, _)) = update.attributes.iter().find(|(name, _)| is_address(name)) {
        return Err(format!("a browser key cannot set an address, as `{name}` does"));
    }
    match other_than(&[IdentityKind::AnonymousId], &update.identities) {
        Some(other) => Err(format!("a browser key changes profiles by anonymous_id alone, not by {other}")),
        None => Ok(()),
    }
}

fn other_than<'a>(kinds: &[IdentityKind], identities: &'a [Identity]) -> Option<&'a str> {
    identities.iter().map(|identity| &identity.kind).find(|kind| !kinds.contains(kind)).map(IdentityKind::as_str)
}
