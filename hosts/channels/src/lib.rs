//! Hand-off of rendered messages: email, webhook, mailbox.
//!
//! Thin: what may go out was claimed before, what it means is the engine's. A channel tries once and says what became
//! of it ([`Settlement`]); trying again is decided by the engine, on its timers.

pub mod email;
pub mod mailbox;
pub mod webhook;

pub use mailbox::Mailbox;

use model::send::Settlement;
use model::{EffectId, ProfileId, Text};
use ports::{Channel, HandOff};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Where settlements go. Called on a task of the runtime.
pub type Settle = Arc<dyn Fn(ProfileId, EffectId, Settlement) + Send + Sync>;

/// A configured way out.
#[derive(Clone)]
enum Way {
    Email(Arc<email::Email>),
    Webhook(Arc<webhook::Webhook>),
    Mailbox(Arc<Mailbox>),
}

/// All channels of an installation; hands off on the runtime's tasks.
pub struct Channels {
    ways: BTreeMap<Text, Way>,
    settle: Settle,
    runtime: Handle,
}

impl Channels {
    /// `mailbox` captures what has no channel of its own.
    pub fn new(
        email: Option<email::Email>,
        webhook: Option<webhook::Webhook>,
        mailbox: Option<Arc<Mailbox>>,
        settle: Settle,
        runtime: Handle,
    ) -> Self {
        let mut ways: BTreeMap<Text, Way> = BTreeMap::new();
        if let Some(mailbox) = mailbox {
            let captured = model::message::Channel::ALL
                .map(|channel| (channel.as_str().into(), Way::Mailbox(Arc::clone(&mailbox))));
            ways.extend(captured);
        }
        ways.extend(email.map(|email| ("email".into(), Way::Email(Arc::new(email)))));
        ways.extend(webhook.map(|webhook| ("webhook".into(), Way::Webhook(Arc::new(webhook)))));
        Channels { ways, settle, runtime }
    }

    /// The channels that lead somewhere.
    pub fn configured(&self) -> impl Iterator<Item = &Text> {
        self.ways.keys()
    }
}

impl Channel for Channels {
    fn hand_off(&mut self, hand_off: HandOff) {
        let settle = Arc::clone(&self.settle);
        let HandOff { profile, effect, .. } = hand_off;
        let Some(way) = self.ways.get(&hand_off.rendered.channel).cloned() else {
            let reason = format!("no channel {}", hand_off.rendered.channel).into();
            settle(profile, effect, Settlement::Rejected { reason });
            return;
        };
        self.runtime.spawn(async move {
            let settlement = match way {
                Way::Email(email) => email.send(&hand_off).await,
                Way::Webhook(webhook) => webhook.send(&hand_off).await,
                Way::Mailbox(mailbox) => mailbox.capture(&hand_off),
            };
            settle(profile, effect, settlement);
        });
    }
}

/// A text part of a message.
fn part<'a>(hand_off: &'a HandOff, name: &str) -> Option<&'a str> {
    hand_off.rendered.parts.get(name).and_then(model::Value::as_text)
}
