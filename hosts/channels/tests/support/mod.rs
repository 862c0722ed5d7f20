//! Hands messages to channels and waits for what became of them.

use channels::{Channels, Config, Mailbox};
use model::send::{Rendered, Settlement};
use model::{EffectId, ProfileId, Value};
use ports::channel::{Channel, HandOff};
use std::sync::Arc;
use tokio::sync::mpsc;

pub struct Harness {
    pub channels: Channels,
    settled: mpsc::UnboundedReceiver<(ProfileId, EffectId, Settlement)>,
}

impl Harness {
    pub fn new(config: &str, mailbox: Option<Arc<Mailbox>>) -> Self {
        let config: Config = toml::from_str(config).expect("the configuration reads");
        let (sender, settled) = mpsc::unbounded_channel();
        let report = move |profile, effect, settlement| {
            sender.send((profile, effect, settlement)).expect("the harness listens");
        };
        let channels = Channels::new(&config, mailbox, tokio::runtime::Handle::current(), Arc::new(report))
            .expect("the configuration works");
        Harness { channels, settled }
    }

    pub fn hand_off(&mut self, hand_off: HandOff) {
        self.channels.hand_off(hand_off);
    }

    pub async fn next(&mut self) -> (EffectId, Settlement) {
        let (profile, effect, settlement) = self.settled.recv().await.expect("every hand-off is settled");
        assert_eq!(profile, profile_of(effect));
        (effect, settlement)
    }

    /// Hands off one message alone and answers what became of it.
    pub async fn settle(&mut self, hand_off: HandOff) -> Settlement {
        let sent = hand_off.effect;
        self.hand_off(hand_off);
        let (effect, settlement) = self.next().await;
        assert_eq!(effect, sent);
        settlement
    }
}

fn profile_of(effect: EffectId) -> ProfileId {
    ProfileId(effect.0.map(|byte| byte ^ 0xff))
}

pub fn hand_off(number: u8, channel: &str, address: &str, parts: &[(&str, Value)]) -> HandOff {
    let effect = EffectId([number; 16]);
    let parts = parts.iter().map(|(name, value)| (*name, value.clone())).collect();
    let rendered = Rendered { channel: channel.into(), message: "welcome".into(), address: address.into(), parts };
    HandOff { profile: profile_of(effect), effect, attempt: 1, rendered: Arc::new(rendered) }
}
