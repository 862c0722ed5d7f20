//! E-mail against a relay that can be told to fail at any place.

mod support;

use channels::Health;
use model::send::Settlement;
use ports::channel::HandOff;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use support::{Harness, hand_off};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Where in the conversation the relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Greeting,
    Auth,
    Mail,
    Rcpt,
    Data,
    Message,
}

enum Answer {
    Usual,
    Say(&'static str),
    SayAndClose(&'static str),
    Close,
    Silence,
}

/// Asked at each place with the line that was sent and the number of the connection, from 1.
type Script = Box<dyn Fn(At, &str, usize) -> Answer + Send + Sync>;

struct Relay {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    open_max: AtomicUsize,
    /// Bodies of all messages that came whole, whatever was answered.
    messages: Mutex<Vec<String>>,
    commands: Mutex<Vec<String>>,
}

impl Relay {
    async fn start(script: impl Fn(At, &str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (seen, script): (Arc<Seen>, Arc<Script>) = (Arc::default(), Arc::new(Box::new(script)));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, script) = (Arc::clone(&kept), Arc::clone(&script));
                tokio::spawn(async move {
                    let number = seen.connections.fetch_add(1, Ordering::SeqCst) + 1;
                    let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
                    seen.open_max.fetch_max(open, Ordering::SeqCst);
                    // A client that goes away in the middle is an error here and part of the test there.
                    let _gone = serve(stream, number, &seen, &script).await;
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Relay { port, seen }
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    fn messages(&self) -> Vec<String> {
        self.seen.messages.lock().expect("no panic").clone()
    }

    fn harness(&self, more: &str) -> Harness {
        Harness::new(&config(self.port, more), None)
    }
}

fn config(port: u16, more: &str) -> String {
    format!(
        "[email]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"Shop <hello@shop.example>\"\n\
         timeout = \"5 s\"\n{more}\n"
    )
}

async fn serve(stream: TcpStream, number: usize, seen: &Seen, script: &Script) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut line = String::new();
    let mut at = Some((At::Greeting, "220 relay.example ESMTP"));
    loop {
        if let Some((place, usual)) = at {
            let answer = match script(place, &line, number) {
                Answer::Usual => usual,
                Answer::Say(answer) => answer,
                Answer::SayAndClose(answer) => {
                    write.write_all(format!("{answer}\r\n").as_bytes()).await?;
                    return Ok(());
                }
                Answer::Close => return Ok(()),
                Answer::Silence => {
                    while lines.next_line().await?.is_some() {}
                    return Ok(());
                }
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await?;
            if place == At::Data && answer.starts_with("354") {
                line.clear();
                while let Some(part) = lines.next_line().await? {
                    if part == "." {
                        break;
                    }
                    line.push_str(&part);
                    line.push('\n');
                }
                seen.messages.lock().expect("no panic").push(line.clone());
                at = Some((At::Message, "250 2.0.0 Ok: queued as 4F2A1C0"));
                continue;
            }
        }
        let Some(next) = lines.next_line().await? else { return Ok(()) };
        line = next;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        seen.commands.lock().expect("no panic").push(verb.clone());
        at = match verb.as_str() {
            "EHLO" => {
                write.write_all(b"250-relay.example\r\n250 AUTH PLAIN LOGIN\r\n").await?;
                None
            }
            "AUTH" => Some((At::Auth, "235 2.7.0 welcome")),
            "MAIL" => Some((At::Mail, "250 2.1.0 Ok")),
            "RCPT" => Some((At::Rcpt, "250 2.1.5 Ok")),
            "DATA" => Some((At::Data, "354 go on")),
            "RSET" | "NOOP" => {
                write.write_all(b"250 Ok\r\n").await?;
                None
            }
            "QUIT" => return write.write_all(b"221 bye\r\n").await,
            other => panic!("the relay does not know {other}"),
        };
    }
}

fn mail(number: u8, to: &str) -> HandOff {
    hand_off(number, "email", to, &[("subject", "Hi".into()), ("html", "<p>Hello</p>".into())])
}

fn accepted() -> Settlement {
    Settlement::Accepted { provider_id: Some("4F2A1C0".into()) }
}

#[tokio::test]
async fn a_message_arrives_with_its_effect_as_idempotency_key() {
    let relay = Relay::start(|_, _, _| Answer::Usual).await;
    let mut harness = relay.harness("");
    assert_eq!(harness.settle(mail(0xab, "ada@example.org")).await, accepted());
    let messages = relay.messages();
    let effect = "ab".repeat(16);
    assert!(messages[0].contains(&format!("Message-ID: <{effect}@shop.example>")), "{}", messages[0]);
    assert!(messages[0].contains(&format!("X-Sojourn-Send: {effect}")), "{}", messages[0]);
    assert_eq!(messages.len(), 1);
    harness.channels.idle().await;
}

#[tokio::test]
async fn t55_silence_after_the_message_is_unknown_and_it_is_not_sent_again() {
    for answer in [|| Answer::Silence, || Answer::Close, || Answer::SayAndClose("what?")] {
        let relay = Relay::start(move |at, _, _| if at == At::Message { answer() } else { Answer::Usual }).await;
        let mut harness = relay.harness("data_timeout = \"200 ms\"");
        let settlement = harness.settle(mail(1, "ada@example.org")).await;
        assert!(matches!(settlement, Settlement::Unknown { .. }), "{settlement:?}");
        harness.channels.idle().await;
        assert_eq!(relay.messages().len(), 1);
    }
}

#[tokio::test]
async fn t55_who_would_rather_have_it_twice_says_so() {
    let relay = Relay::start(|at, _, _| if at == At::Message { Answer::Close } else { Answer::Usual }).await;
    let mut harness = relay.harness("on_unknown = \"retry\"");
    assert!(harness.channels.configured()["email"].retry_unknown);
    let settlement = harness.settle(mail(1, "ada@example.org")).await;
    assert!(matches!(settlement, Settlement::Deferred { .. }), "{settlement:?}");
}

#[tokio::test]
async fn t55_what_fails_before_the_message_surely_did_not_go_out() {
    for place in [At::Greeting, At::Mail, At::Rcpt, At::Data] {
        for answer in [|| Answer::Close, || Answer::Silence, || Answer::SayAndClose("421 4.3.2 shutting down")] {
            let relay = Relay::start(move |at, _, _| if at == place { answer() } else { Answer::Usual }).await;
            let config = config(relay.port, "").replace("5 s", "500 ms");
            let settlement = Harness::new(&config, None).settle(mail(1, "ada@example.org")).await;
            assert!(matches!(settlement, Settlement::Deferred { .. }), "{place:?} {settlement:?}");
            assert_eq!(relay.messages(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn t58_one_bad_recipient_does_not_touch_the_others() {
    let relay = Relay::start(|at, line, _| {
        if at == At::Rcpt && line.contains("bad@") { Answer::Say("554 5.7.1 no such person") } else { Answer::Usual }
    })
    .await;
    let mut harness = relay.harness("connections_max = 1");
    for (number, to) in [(1, "ada@example.org"), (2, "bad@example.org"), (3, "eve@example.org")] {
        harness.hand_off(mail(number, to));
    }
    for number in 1..=3 {
        let (effect, settlement) = harness.next().await;
        assert_eq!(effect.0[0], number);
        if number == 2 {
            assert_eq!(settlement, Settlement::Rejected { reason: "554 5.7.1 no such person".into() });
        } else {
            assert_eq!(settlement, accepted());
        }
    }
    assert_eq!(relay.messages().len(), 2);
    assert_eq!(relay.connections(), 1, "a refused recipient costs no connection");
    assert!(relay.seen.commands.lock().unwrap().contains(&"RSET".to_owned()));
    assert_eq!(harness.channels.health()["email"], Health::Working);
}

#[tokio::test]
async fn t60_permanent_and_temporary_refusals_at_every_place() {
    for place in [At::Mail, At::Rcpt, At::Data, At::Message] {
        for (answer, permanent) in [("550 5.1.1 no", true), ("451 4.7.1 later", false), ("452 full", false)] {
            let relay =
                Relay::start(move |at, _, _| if at == place { Answer::Say(answer) } else { Answer::Usual }).await;
            let settlement = relay.harness("").settle(mail(1, "ada@example.org")).await;
            let expected = if permanent {
                Settlement::Rejected { reason: answer.into() }
            } else {
                Settlement::Deferred { reason: answer.into(), retry_after_ms: None }
            };
            assert_eq!(settlement, expected, "{place:?}");
        }
    }
}

#[tokio::test]
async fn t60_a_wrong_password_of_ours_loses_no_mail_and_opens_the_circuit() {
    let relay =
        Relay::start(|at, _, _| if at == At::Auth { Answer::Say("535 5.7.8 bad credentials") } else { Answer::Usual })
            .await;
    let mut harness = relay.harness("connections_max = 1\nusername = \"u\"\npassword = \"p\"");
    for number in 0..5 {
        let settlement = harness.settle(mail(number, "ada@example.org")).await;
        let Settlement::Deferred { reason, retry_after_ms: None } = settlement else { panic!("{settlement:?}") };
        assert!(reason.contains("535 5.7.8 bad credentials"), "{reason}");
    }
    let settlement = harness.settle(mail(6, "ada@example.org")).await;
    let Settlement::Deferred { reason, retry_after_ms: Some(retry_after_ms) } = settlement else {
        panic!("{settlement:?}")
    };
    assert!(reason.starts_with("circuit_open: ") && retry_after_ms <= 5_000, "{reason} {retry_after_ms}");
    assert_eq!(relay.connections(), 5, "nobody knocks while the circuit is open");
    let Health::Open(open) = harness.channels.health()["email"].clone() else { panic!("it is open") };
    assert_eq!(open[0].peer, format!("127.0.0.1:{}", relay.port));
    assert!(open[0].retry_at.ms_since(open[0].since) > 0);
}

#[tokio::test]
async fn a_relay_that_is_not_there_defers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut harness = Harness::new(&config(port, ""), None);
    let settlement = harness.settle(mail(1, "ada@example.org")).await;
    assert!(matches!(settlement, Settlement::Deferred { .. }), "{settlement:?}");
    let named = config(port, "").replace("127.0.0.1", "no-such-host.invalid");
    let settlement = Harness::new(&named, None).settle(mail(1, "ada@example.org")).await;
    assert!(matches!(settlement, Settlement::Deferred { .. }), "{settlement:?}");
}

#[tokio::test]
async fn t59_an_idle_connection_that_the_relay_closed_is_replaced_without_loss_or_double() {
    let relay = Relay::start(|at, _, connection| match (at, connection) {
        (At::Message, 1) => Answer::SayAndClose("250 2.0.0 Ok: queued as 4F2A1C0"),
        _ => Answer::Usual,
    })
    .await;
    let mut harness = relay.harness("connections_max = 1");
    assert_eq!(harness.settle(mail(1, "ada@example.org")).await, accepted());
    assert_eq!(harness.settle(mail(2, "ada@example.org")).await, accepted());
    assert_eq!(harness.settle(mail(3, "ada@example.org")).await, accepted());
    assert_eq!(relay.messages().len(), 3);
    assert_eq!(relay.connections(), 2);
    assert_eq!(harness.channels.health()["email"], Health::Working);
}

#[tokio::test]
async fn no_more_connections_than_configured() {
    let relay = Relay::start(|_, _, _| Answer::Usual).await;
    let mut harness = relay.harness("connections_max = 2");
    assert_eq!(harness.channels.configured()["email"].in_flight_max, 4);
    for number in 0..40 {
        harness.hand_off(mail(number, "ada@example.org"));
    }
    for _ in 0..40 {
        assert_eq!(harness.next().await.1, accepted());
    }
    assert_eq!(relay.messages().len(), 40);
    assert!(relay.seen.open_max.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn nothing_goes_in_the_clear_where_tls_is_required() {
    let relay = Relay::start(|_, _, _| Answer::Usual).await;
    for tls in ["required", "starttls"] {
        let config = config(relay.port, "username = \"u\"\npassword = \"p\"").replace("none", tls);
        let settlement = Harness::new(&config, None).settle(mail(1, "ada@example.org")).await;
        assert!(matches!(settlement, Settlement::Deferred { .. }), "{tls} {settlement:?}");
    }
    let commands = relay.seen.commands.lock().unwrap().clone();
    assert!(!commands.iter().any(|verb| verb == "AUTH" || verb == "MAIL"), "{commands:?}");
    let config = config(relay.port, "").replace("none", "starttls");
    assert_eq!(Harness::new(&config, None).settle(mail(1, "ada@example.org")).await, accepted());
}
