//! The e-mail as it leaves, made of a rendered message.
//!
//! ```text
//! Message-ID: <{effect}@{domain of From}>       the idempotency key (S4)
//! X-Sojourn-Send: {effect}
//! From, Reply-To?, To, Subject, Date, further headers
//! multipart/alternative: text/plain, text/html  or text/plain alone
//! DKIM-Signature?
//! ```
//! Every attempt makes the same body, boundaries included; only `Date` and the signature's time move on.

use lettre::Address;
use lettre::message::dkim::{DkimConfig, dkim_sign};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MessageBuilder, MultiPart, MultiPartKind, SinglePart};
use model::send::Rendered;
use model::{Attributes, EffectId, Value};
use std::time::SystemTime;

/// Characters of a subject; more is cut. RFC 5322 holds lines to 998.
const SUBJECT_CHARS_MAX: usize = 500;
/// Bytes of the value of one further header, and of all of them.
const HEADER_BYTES_MAX: usize = 2_000;
const HEADERS_BYTES_MAX: usize = 8_000;
/// Columns of the plain form of an HTML body.
const TEXT_COLUMNS: usize = 78;

/// Headers that are ours to set, in lower case.
const RESERVED_HEADERS: [&str; 16] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "return-path",
    "received",
    "dkim-signature",
    "x-sojourn-send",
];

pub(super) struct Composer {
    pub from: Option<Mailbox>,
    pub dkim: Option<DkimConfig>,
}

/// What the relay is given.
#[derive(Debug)]
pub(super) struct Mail {
    pub sender: Address,
    pub recipient: Address,
    pub bytes: Vec<u8>,
}

impl Composer {
    /// # Errors
    /// Why the message can never be sent as it is.
    pub fn compose(&self, effect: EffectId, rendered: &Rendered, date: SystemTime) -> Result<Mail, String> {
        let Rendered { channel: _, message: _, address, parts } = rendered;
        let recipient = address_of(address).map_err(|why| format!("invalid_address: {why}"))?;
        let from = match text(parts, "from")? {
            Some(from) => mailbox(from).map_err(|why| format!("from: {why}"))?,
            None => self.from.clone().ok_or("no sender: neither the message nor the channel has `from`")?,
        };
        let sender = from.email.clone();
        let mut builder = Message::builder()
            .message_id(Some(format!("<{effect}@{}>", sender.domain())))
            .raw_header(raw_header("X-Sojourn-Send", &effect.to_string())?)
            .from(from)
            .to(Mailbox::new(None, recipient.clone()))
            .subject(subject(text(parts, "subject")?.unwrap_or_default()))
            .date(date);
        if let Some(reply_to) = text(parts, "reply_to")? {
            builder = builder.reply_to(mailbox(reply_to).map_err(|why| format!("reply_to: {why}"))?);
        }
        builder = further_headers(builder, parts)?;
        let mut message = body(builder, effect, parts)?;
        if let Some(dkim) = &self.dkim {
            dkim_sign(&mut message, dkim);
        }
        Ok(Mail { sender, recipient, bytes: message.formatted() })
    }
}

/// Reads `Shop <hello@example.org>` or `hello@example.org`.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err("it holds a line break or another control character".into());
    }
    if let Some(address) = text.strip_suffix('>') {
        let (name, address) = address.rsplit_once('<').ok_or_else(|| format!("`{text}` is no sender"))?;
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        let name = (!name.is_empty()).then(|| name.to_owned());
        return Ok(Mailbox::new(name, address_of(address)?));
    }
    Ok(Mailbox::new(None, address_of(text)?))
}

/// The address with its domain in the form that DNS knows.
fn address_of(text: &str) -> Result<Address, String> {
    let text = text.trim();
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '<' || c == '>') {
        return Err("an address holds no spaces, line breaks or angle brackets".into());
    }
    let (local, domain) = text.rsplit_once('@').ok_or_else(|| format!("`{text}` has no @"))?;
    let domain = idna::domain_to_ascii(domain).map_err(|_| format!("`{domain}` is no domain"))?;
    Address::new(local, domain).map_err(|error| error.to_string())
}

/// One line: templates and profile attributes bring line breaks in, and a line break here would begin a header.
fn subject(text: &str) -> String {
    let one_line = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    one_line.collect::<Vec<_>>().join(" ").chars().take(SUBJECT_CHARS_MAX).collect()
}

fn further_headers(mut builder: MessageBuilder, parts: &Attributes) -> Result<MessageBuilder, String> {
    let headers = match parts.get("headers") {
        None | Some(Value::Null) => return Ok(builder),
        Some(Value::Map(headers)) => headers,
        Some(other) => return Err(format!("`headers` is {}, not an object", other.kind())),
    };
    let mut bytes = 0;
    for (name, value) in headers.iter() {
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!("the header `{name}` is set by the channel"));
        }
        let value = value.as_text().ok_or_else(|| format!("the header `{name}` is {}, not text", value.kind()))?;
        bytes += name.len() + value.len();
        if value.len() > HEADER_BYTES_MAX || bytes > HEADERS_BYTES_MAX {
            return Err(format!("the header `{name}` is too long"));
        }
        builder = builder.raw_header(raw_header(name, value)?);
    }
    Ok(builder)
}

fn raw_header(name: &str, value: &str) -> Result<HeaderValue, String> {
    if value.chars().any(char::is_control) {
        return Err(format!("the header `{name}` holds a line break or another control character"));
    }
    let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    let header_name = HeaderName::new_from_ascii(name.to_owned()).ok().filter(|_| is_token);
    let header_name = header_name.ok_or_else(|| format!("`{name}` is no header name"))?;
    Ok(HeaderValue::new(header_name, value.to_owned()))
}

fn body(builder: MessageBuilder, effect: EffectId, parts: &Attributes) -> Result<Message, String> {
    let (html, plain) = (text(parts, "html")?, text(parts, "text")?);
    let message = match (html, plain) {
        (None, None) => return Err("it has neither `html` nor `text`".into()),
        (None, Some(plain)) => builder.singlepart(SinglePart::plain(plain.to_owned())),
        (Some(html), plain) => {
            let plain = match plain {
                Some(plain) => plain.to_owned(),
                None => plain_of(html)?,
            };
            let alternative = MultiPart::builder()
                .header(ContentType::parse("multipart/alternative").expect("INVARIANT: a constant that parses"))
                .kind(MultiPartKind::Alternative)
                .boundary(format!("=_{effect}"))
                .singlepart(SinglePart::plain(plain))
                .singlepart(SinglePart::html(html.to_owned()));
            builder.multipart(alternative)
        }
    };
    message.map_err(|error| error.to_string())
}

/// For readers without HTML, and because mail without a plain form looks like spam.
fn plain_of(html: &str) -> Result<String, String> {
    html2text::config::plain()
        .allow_width_overflow()
        .string_from_read(html.as_bytes(), TEXT_COLUMNS)
        .map_err(|error| format!("the HTML has no plain form: {error}"))
}

fn text<'a>(parts: &'a Attributes, name: &str) -> Result<Option<&'a str>, String> {
    match parts.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(other @ (Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) | Value::Map(_))) => {
            Err(format!("`{name}` is {}, not text", other.kind()))
        }
    }
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
