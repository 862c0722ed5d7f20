//! E-mail against a relay that can be told to fail at any place.

mod support;

use channels::Health;
use model::send::Settlement;
use ports::channel::HandOff;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use support::{Harness, hand_off};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

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

/// When a relay with TLS begins with it.
#[derive(Clone, Copy, Debug)]
enum Begin {
    AtOnce,
    WhenAsked,
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
        Self::start_with(script, None).await
    }

    async fn start_with(
        script: impl Fn(At, &str, usize) -> Answer + Send + Sync + 'static,
        tls: Option<(TlsAcceptor, Begin)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (seen, script): (Arc<Seen>, Arc<Script>) = (Arc::default(), Arc::new(Box::new(script)));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, script, tls) = (Arc::clone(&kept), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    let number = seen.connections.fetch_add(1, Ordering::SeqCst) + 1;
                    let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
                    seen.open_max.fetch_max(open, Ordering::SeqCst);
                    // A client that goes away in the middle is an error here and part of the test there.
                    let _gone = converse(stream, number, &seen, &script, tls).await;
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

async fn converse(
    stream: TcpStream,
    number: usize,
    seen: &Seen,
    script: &Script,
    tls: Option<(TlsAcceptor, Begin)>,
) -> std::io::Result<()> {
    let (wire, starttls): (Box<dyn Wire>, _) = match tls {
        None => (Box::new(stream), None),
        Some((acceptor, Begin::WhenAsked)) => (Box::new(stream), Some(acceptor)),
        Some((acceptor, Begin::AtOnce)) => (Box::new(acceptor.accept(stream).await?), None),
    };
    let wire = BufReader::new(wire);
    Conversation { wire, line: String::new(), number, seen, script }.run(starttls).await
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<W: AsyncRead + AsyncWrite + Unpin + Send> Wire for W {}

struct Conversation<'a> {
    wire: BufReader<Box<dyn Wire>>,
    /// What was sent last.
    line: String,
    number: usize,
    seen: &'a Seen,
    script: &'a Script,
}

enum Next {
    Said(&'static str),
    Over,
}

impl Conversation<'_> {
    /// Runs until the client goes away or the script ends it.
    async fn run(mut self, tls: Option<TlsAcceptor>) -> std::io::Result<()> {
        let mut usual = Some((At::Greeting, "220 relay.example ESMTP"));
        loop {
            if let Some((at, text)) = usual {
                let Next::Said(said) = self.answer(at, text).await? else { return Ok(()) };
                if at == At::Data && said.starts_with("354") {
                    self.message().await?;
                    usual = Some((At::Message, "250 2.0.0 Ok: queued as 4F2A1C0"));
                    continue;
                }
            }
            if !self.read().await? {
                return Ok(());
            }
            let verb = self.line.split([' ', ':', '\r']).next().unwrap_or_default().to_ascii_uppercase();
            self.seen.commands.lock().expect("no panic").push(verb.clone());
            usual = match verb.as_str() {
                "EHLO" => {
                    let offer = if tls.is_some() { "250-STARTTLS\r\n" } else { "" };
                    self.say(&format!("250-relay.example\r\n{offer}250 AUTH PLAIN LOGIN")).await?;
                    None
                }
                "STARTTLS" => {
                    self.say("220 go on").await?;
                    let acceptor = tls.clone().expect("it was offered");
                    self.wire = BufReader::new(Box::new(acceptor.accept(self.wire.into_inner()).await?));
                    None
                }
                "AUTH" => Some((At::Auth, "235 2.7.0 welcome")),
                "MAIL" => Some((At::Mail, "250 2.1.0 Ok")),
                "RCPT" => Some((At::Rcpt, "250 2.1.5 Ok")),
                "DATA" => Some((At::Data, "354 go on")),
                "RSET" => {
                    self.say("250 Ok").await?;
                    None
                }
                "QUIT" => return self.say("221 bye").await,
                other => panic!("the relay does not know {other}"),
            };
        }
    }

    async fn answer(&mut self, at: At, usual: &'static str) -> std::io::Result<Next> {
        match (self.script)(at, &self.line, self.number) {
            Answer::Usual => self.say(usual).await.map(|()| Next::Said(usual)),
            Answer::Say(text) => self.say(text).await.map(|()| Next::Said(text)),
            Answer::SayAndClose(text) => self.say(text).await.map(|()| Next::Over),
            Answer::Close => Ok(Next::Over),
            Answer::Silence => {
                while self.read().await? {}
                Ok(Next::Over)
            }
        }
    }

    async fn message(&mut self) -> std::io::Result<()> {
        let mut message = String::new();
        while self.read().await? && self.line != ".\r\n" {
            message.push_str(&self.line);
        }
        self.seen.messages.lock().expect("no panic").push(message);
        Ok(())
    }

    async fn read(&mut self) -> std::io::Result<bool> {
        self.line.clear();
        Ok(self.wire.read_line(&mut self.line).await? > 0)
    }

    async fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.wire.write_all(format!("{text}\r\n").as_bytes()).await?;
        self.wire.flush().await
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
    let Settlement::NotTried { reason, retry_after_ms: Some(retry_after_ms) } = settlement else {
        panic!("{settlement:?}")
    };
    assert!(reason.starts_with("circuit_open: ") && retry_after_ms <= 5_000, "{reason} {retry_after_ms}");
    assert_eq!(relay.connections(), 5, "nobody knocks while the circuit is open");
    let Health::Open(open) = harness.channels.health()["email"].clone() else { panic!("it is open") };
    assert_eq!(open[0].peer, format!("127.0.0.1:{}", relay.port));
    assert!(open[0].retry_at.ms_since(open[0].since) > 0);
}

#[tokio::test]
async fn s6_a_relay_that_puts_everyone_off_is_left_alone_and_says_so() {
    let relay =
        Relay::start(|at, _, _| if at == At::Rcpt { Answer::Say("451 4.3.0 busy") } else { Answer::Usual }).await;
    let mut harness = relay.harness("connections_max = 1");
    let put_off = Settlement::Deferred { reason: "451 4.3.0 busy".into(), retry_after_ms: None };
    for number in 0..20 {
        // One full mailbox, however often, is nobody else's trouble.
        assert_eq!(harness.settle(mail(number, "full@example.org")).await, put_off);
    }
    for number in 21..30 {
        assert_eq!(harness.settle(mail(number, &format!("u{number}@example.org"))).await, put_off);
    }
    let settlement = harness.settle(mail(30, "ada@example.org")).await;
    let Settlement::NotTried { reason, retry_after_ms: Some(_) } = settlement else { panic!("{settlement:?}") };
    assert_eq!(reason, "circuit_open: 451 4.3.0 busy");
    let Health::Open(open) = harness.channels.health()["email"].clone() else { panic!("it is open") };
    assert_eq!(open[0].reason, "451 4.3.0 busy");
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

/// A relay's certificate, as its acceptor and as the file of authorities that trusts it.
fn certificate(host: &str) -> (TlsAcceptor, tempfile::NamedTempFile) {
    let own = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a certificate");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, own.cert.pem()).expect("room on the disk");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("a key that fits");
    (TlsAcceptor::from(Arc::new(config)), file)
}

#[tokio::test]
async fn mail_goes_encrypted_from_the_first_byte_or_by_starttls() {
    for (tls, begin) in [("implicit", Begin::AtOnce), ("required", Begin::WhenAsked), ("starttls", Begin::WhenAsked)] {
        let (acceptor, authority) = certificate("127.0.0.1");
        let relay = Relay::start_with(|_, _, _| Answer::Usual, Some((acceptor, begin))).await;
        let more = format!("username = \"u\"\npassword = \"p\"\nca_file = {:?}", authority.path());
        let config = config(relay.port, &more).replace("none", tls);
        assert_eq!(Harness::new(&config, None).settle(mail(1, "ada@example.org")).await, accepted(), "{tls}");
        let commands = relay.seen.commands.lock().unwrap().clone();
        assert_eq!(commands.contains(&"STARTTLS".to_owned()), tls != "implicit", "{commands:?}");
        assert!(commands.contains(&"AUTH".to_owned()), "{commands:?}");
    }
}

#[tokio::test]
async fn a_relay_that_proves_to_be_another_gets_nothing() {
    for (tls, begin) in [("implicit", Begin::AtOnce), ("required", Begin::WhenAsked), ("starttls", Begin::WhenAsked)] {
        let (acceptor, authority) = certificate("other.example");
        let relay = Relay::start_with(|_, _, _| Answer::Usual, Some((acceptor, begin))).await;
        let config = config(relay.port, &format!("ca_file = {:?}", authority.path())).replace("none", tls);
        let settlement = Harness::new(&config, None).settle(mail(1, "ada@example.org")).await;
        assert!(matches!(settlement, Settlement::Deferred { .. }), "{tls} {settlement:?}");
        assert!(!relay.seen.commands.lock().unwrap().contains(&"MAIL".to_owned()));
    }
}
