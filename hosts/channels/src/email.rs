//! E-mail over SMTP (RFC 5321).
//!
//! The `Message-ID` is made of the effect's id, so that every attempt of a send bears the same (S4). What the server
//! answers decides: 5xx is for good, 4xx for now; a connection that could not be made sent nothing. What breaks off
//! later may have gone out and is `unknown` (S5, trap T55).

use crate::part;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::{Error as SmtpError, PoolConfig};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use model::Span;
use model::send::Settlement;
use ports::HandOff;
use serde::Deserialize;
use std::time::Duration;

/// The `[email]` table of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub host: String,
    /// Default: 587, or 465 with `tls = "implicit"`.
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: Tls,
    pub username: Option<String>,
    pub password: Option<String>,
    /// The sender of messages that name none: `Shop <shop@example.org>`.
    pub from: String,
    /// How long one command may take. Default `30s`; longer leaves slow servers more time and holds a place longer.
    pub timeout: Option<Span>,
    /// Connections, and so mails under way, at once. Default 8.
    pub connections_max: Option<u32>,
    /// Try again what may have gone out, rather twice than not (S5). Default false: it is held as `unknown`.
    #[serde(default)]
    pub retry_unknown: bool,
}

impl Config {
    pub const CONNECTIONS_MAX_DEFAULT: u32 = 8;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// STARTTLS or nothing is sent.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// In clear: for a relay on the same machine, and for tests.
    None,
}

pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Email {
    /// # Errors
    /// A sentence that names the key and what is wrong with it.
    pub fn new(config: &Config) -> Result<Self, String> {
        let from = config.from.parse().map_err(|error| format!("email.from: `{}`: {error}", config.from))?;
        let host = config.host.as_str();
        let builder = match config.tls {
            Tls::Starttls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
            Tls::Implicit => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
            Tls::None => Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)),
        };
        let mut builder = builder.map_err(|error| format!("email.host: `{host}`: {error}"))?;
        if let Some(port) = config.port {
            builder = builder.port(port);
        }
        if let (Some(username), Some(password)) = (&config.username, &config.password) {
            builder = builder.credentials(Credentials::new(username.clone(), password.clone()));
        }
        let timeout_ms = config.timeout.map_or(30_000, |span| span.at_most_ms());
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(30_000));
        let connections = config.connections_max.unwrap_or(Config::CONNECTIONS_MAX_DEFAULT);
        let pool = PoolConfig::new().max_size(connections);
        Ok(Email { transport: builder.timeout(Some(timeout)).pool_config(pool).build(), from })
    }

    pub(crate) async fn send(&self, hand_off: &HandOff) -> Settlement {
        let message = match self.message(hand_off) {
            Ok(message) => message,
            Err(reason) => return Settlement::Rejected { reason: reason.into() },
        };
        match self.transport.send(message).await {
            Ok(response) => {
                let provider_id = response.first_line().map(model::Text::from);
                Settlement::Accepted { provider_id }
            }
            Err(error) => settlement(&error),
        }
    }

    /// The message; an error is the message's own fault and would be the same the next time.
    fn message(&self, hand_off: &HandOff) -> Result<Message, String> {
        let to: Address = hand_off.rendered.address.parse().map_err(|error| format!("the address: {error}"))?;
        let from = match part(hand_off, "from") {
            Some(from) => from.parse().map_err(|error| format!("from: {error}"))?,
            None => self.from.clone(),
        };
        let domain = from.email.domain().to_owned();
        // NOTE: a line break in a subject would begin a header of its own.
        let subject: String =
            part(hand_off, "subject").unwrap_or_default().split(['\r', '\n']).collect::<Vec<_>>().join(" ");
        let mut builder = Message::builder()
            .from(from)
            .to(Mailbox::new(None, to))
            .subject(subject)
            .message_id(Some(format!("<{}@{domain}>", hand_off.effect)))
            .header(SendId(hand_off.effect.to_string()));
        if let Some(reply_to) = part(hand_off, "reply_to") {
            builder = builder.reply_to(reply_to.parse().map_err(|error| format!("reply_to: {error}"))?);
        }
        let message = match (part(hand_off, "html"), part(hand_off, "text")) {
            (Some(html), Some(text)) => {
                builder.multipart(MultiPart::alternative_plain_html(text.to_owned(), html.to_owned()))
            }
            (Some(html), None) => builder.singlepart(SinglePart::html(html.to_owned())),
            (None, text) => builder.singlepart(SinglePart::plain(text.unwrap_or_default().to_owned())),
        };
        message.map_err(|error| error.to_string())
    }
}

/// Says which send a mail is, for those who look at it.
#[derive(Clone)]
struct SendId(String);

impl Header for SendId {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Sojourn-Send")
    }
    fn parse(value: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(SendId(value.to_owned()))
    }
    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

/// S6, T60: what an error means for this send alone.
fn settlement(error: &SmtpError) -> Settlement {
    let reason: model::Text = text_of(error).into();
    if error.is_permanent() {
        return Settlement::Rejected { reason };
    }
    if error.is_transient() || error.is_tls() || never_connected(error) {
        return Settlement::Deferred { reason, retry_after_ms: None };
    }
    Settlement::Unknown { reason }
}

/// Whether the connection was never made: nothing can have gone out.
fn never_connected(error: &SmtpError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind;
            return matches!(
                io.kind(),
                ErrorKind::ConnectionRefused
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
                    | ErrorKind::AddrNotAvailable
                    | ErrorKind::NotFound
            ) || io.to_string().contains("lookup address");
        }
        source = inner.source();
    }
    false
}

fn text_of(error: &SmtpError) -> String {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        text = format!("{text}: {source}");
    }
    text
}
