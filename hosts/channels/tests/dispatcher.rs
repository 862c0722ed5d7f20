//! What all channels have in common: the mailbox, what is configured, and that every hand-off is settled.

mod support;

use channels::mailbox::Filter;
use channels::{Channels, Config, Health, Mailbox};
use model::send::Settlement;
use ports::channel::Channel;
use std::sync::{Arc, mpsc};
use support::{Harness, hand_off};

#[tokio::test]
async fn the_mailbox_takes_every_channel_that_is_not_configured() {
    let mailbox = Arc::new(Mailbox::default());
    let mut harness = Harness::new("[webhook]", Some(Arc::clone(&mailbox)));
    let configured = harness.channels.configured();
    assert_eq!(configured.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["email", "push", "sms", "webhook"]);
    for (number, channel) in [(1, "email"), (2, "sms"), (3, "push")] {
        let settlement = harness.settle(hand_off(number, channel, "x", &[("text", "Hi".into())])).await;
        assert_eq!(settlement, Settlement::Accepted { provider_id: None });
    }
    harness.settle(hand_off(4, "webhook", "http://127.0.0.1/", &[])).await;
    let entries = mailbox.list(&Filter { to: None, before: None, limit: 100 });
    assert_eq!(entries.iter().map(|entry| entry.channel.as_str()).collect::<Vec<_>>(), ["push", "sms", "email"]);
    assert!(harness.channels.health().values().all(|health| *health == Health::Working));
}

#[tokio::test]
async fn without_mailbox_only_what_is_configured_takes_hand_offs() {
    let mut harness = Harness::new("", None);
    assert!(harness.channels.configured().is_empty());
    let settlement = harness.settle(hand_off(1, "sms", "+491", &[])).await;
    assert_eq!(settlement, Settlement::Rejected { reason: "no_channel".into() });
}

/// The callback may wait for a processor that is itself handing off: neither side may then stand still.
#[test]
fn a_callback_that_waits_for_room_blocks_no_hand_off() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (sender, receiver) = mpsc::sync_channel(1);
    let settled = Arc::new(move |_, effect, _| sender.send(effect).unwrap());
    let mailbox = Some(Arc::new(Mailbox::new(10)));
    let mut channels = Channels::new(&Config::default(), mailbox, runtime.handle().clone(), settled).unwrap();
    for number in 0..100 {
        channels.hand_off(hand_off(number, "email", "a@x.org", &[]));
    }
    let numbers: Vec<u8> = receiver.iter().take(100).map(|effect: model::EffectId| effect.0[0]).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
    runtime.block_on(channels.idle());
}

/// Hand-offs that the end of the runtime cut off are settled by what is known: what was not begun did not go out.
#[test]
fn t56_the_end_of_the_runtime_settles_what_was_under_way() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let relay = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = relay.local_addr().unwrap().port();
    let config = format!(
        "[email]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"a@x.org\"\nconnections_max = 1"
    );
    let (sender, receiver) = mpsc::channel();
    let settled =
        Arc::new(move |_, effect: model::EffectId, settlement| sender.send((effect.0[0], settlement)).unwrap());
    let mut channels =
        Channels::new(&toml::from_str(&config).unwrap(), None, runtime.handle().clone(), settled).unwrap();
    channels.hand_off(hand_off(1, "email", "a@x.org", &[("text", "x".into())]));
    // The relay takes the connection and says nothing: the first is under way, the second waits for its connection.
    let _connection = relay.accept().unwrap();
    channels.hand_off(hand_off(2, "email", "a@x.org", &[("text", "x".into())]));
    drop(runtime);
    let mut settlements: Vec<(u8, Settlement)> = receiver.iter().take(2).collect();
    settlements.sort_by_key(|(number, _)| *number);
    assert!(matches!(settlements[0], (1, Settlement::Unknown { .. })), "{settlements:?}");
    assert!(matches!(settlements[1], (2, Settlement::NotTried { .. })), "{settlements:?}");
}
