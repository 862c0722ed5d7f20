//! E-mail over SMTP: `compose` makes the message, `transport` speaks to the relay, `answer` says what its words mean.

mod answer;
mod compose;
mod transport;

use crate::Error;
use crate::config::{Secret, timeout};
use crate::outcome::{Outcome, chain};
use lettre::message::dkim::{
    DkimCanonicalization, DkimCanonicalizationType, DkimConfig, DkimSigningAlgorithm, DkimSigningKey,
};
use lettre::message::header::HeaderName;
use ports::channel::HandOff;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// `[channels.email]`: the relay that takes our mail.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub host: String,
    /// Default 587, where relays take mail from those who log in; 465 goes with `tls = "implicit"`.
    #[serde(default = "default_port")]
    pub port: u16,
    /// How the connection is encrypted. Default `required`.
    #[serde(default)]
    pub tls: Tls,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// The sender of messages that name none: `Shop <hello@example.org>`.
    pub from: Option<String>,
    /// How long to wait for a connection and for each answer but the last. Default 30 s. Less gives up on a slow relay
    /// sooner, which costs only a later attempt.
    #[serde(default = "default_timeout", deserialize_with = "timeout")]
    pub timeout: Duration,
    /// How long to wait for the answer to the message itself. Default 10 min, as RFC 5321 §4.5.3.2.6 asks. Less makes
    /// more sends `unknown`, since a relay that is slow to answer may have taken the message.
    #[serde(default = "default_data_timeout", deserialize_with = "timeout")]
    pub data_timeout: Duration,
    /// Connections at once. Default 8. More is faster until the relay refuses some; fewer is gentler with it.
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
    /// The name we greet with. Default `localhost`; some relays want a name that resolves to us.
    #[serde(default = "default_helo")]
    pub helo: String,
    /// Further authorities to trust, as a PEM file. Default: those that browsers trust.
    pub ca_file: Option<PathBuf>,
    pub dkim: Option<Dkim>,
    /// What a send becomes when the relay took the message and said nothing (S5). Default `hold`.
    #[serde(default)]
    pub on_unknown: OnUnknown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// STARTTLS if the relay offers it, else in the clear: stops listeners, not attackers. Never logs in in the clear.
    Starttls,
    /// STARTTLS, or no mail.
    #[default]
    Required,
    /// TLS from the first byte.
    Implicit,
    /// In the clear, password included: for a relay on this machine, and for tests.
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// It is shown, and an operator decides.
    #[default]
    Hold,
    /// It is tried again: rather twice than not at all.
    Retry,
}

/// `[channels.email.dkim]`: our signature under each message. One of `private_key` and `private_key_file`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dkim {
    pub domain: String,
    pub selector: String,
    /// RSA as PKCS#1 PEM (`BEGIN RSA PRIVATE KEY`), or Ed25519 as the base64 of its 32 bytes.
    pub private_key: Option<Secret>,
    pub private_key_file: Option<PathBuf>,
}

fn default_port() -> u16 {
    587
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_data_timeout() -> Duration {
    Duration::from_secs(600)
}

fn default_connections_max() -> usize {
    8
}

fn default_helo() -> String {
    "localhost".into()
}

/// The channel, ready to send.
pub(crate) struct Email {
    composer: Arc<compose::Composer>,
    relay: transport::Relay,
}

impl Email {
    /// # Errors
    /// What in the configuration cannot work.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let wrong = |key: &'static str, why: String| Error::Config { channel: "email", key, why };
        let from = match &config.from {
            None => None,
            Some(from) => Some(compose::mailbox(from).map_err(|why| wrong("from", why))?),
        };
        let dkim = config.dkim.as_ref().map(Dkim::load).transpose()?;
        Ok(Email { composer: Arc::new(compose::Composer { from, dkim }), relay: transport::Relay::new(config)? })
    }

    pub async fn hand_off(&self, hand_off: &HandOff) -> Outcome {
        let (composer, effect, rendered) =
            (Arc::clone(&self.composer), hand_off.effect, Arc::clone(&hand_off.rendered));
        // A signature and the plain form of a large page take milliseconds: too long for a thread of the runtime.
        let composed =
            tokio::task::spawn_blocking(move || composer.compose(effect, &rendered, std::time::SystemTime::now()))
                .await;
        match composed {
            Ok(Ok(mail)) => self.relay.send(&mail).await,
            Ok(Err(reason)) => Outcome::unsendable(reason),
            Err(error) => Outcome::unsendable(format!("the message could not be composed: {error}")),
        }
    }

    /// The peer whose circuit counts: all mail goes through the one relay.
    pub fn peer(&self) -> &str {
        self.relay.peer()
    }
}

impl Dkim {
    fn load(&self) -> Result<DkimConfig, Error> {
        let wrong = |key: &'static str, why: String| Error::Config { channel: "email", key, why };
        let key = match (&self.private_key, &self.private_key_file) {
            (Some(key), None) => key.reveal().to_owned(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| wrong("dkim.private_key_file", format!("{}: {error}", path.display())))?,
            (Some(_), Some(_)) | (None, None) => {
                return Err(wrong("dkim", "give one of `private_key` and `private_key_file`".into()));
            }
        };
        let key = key.trim();
        if key.contains("BEGIN PRIVATE KEY") {
            let why = "this is PKCS#8; `openssl pkey -traditional -in key.pem` prints the PKCS#1 form of an RSA key";
            return Err(wrong("dkim.private_key", why.into()));
        }
        let algorithm = if key.contains("BEGIN ") { DkimSigningAlgorithm::Rsa } else { DkimSigningAlgorithm::Ed25519 };
        let key = DkimSigningKey::new(key, algorithm).map_err(|error| wrong("dkim.private_key", chain(&error)))?;
        let canonicalization =
            DkimCanonicalization { header: DkimCanonicalizationType::Relaxed, body: DkimCanonicalizationType::Relaxed };
        let headers = SIGNED_HEADERS.map(HeaderName::new_from_ascii_str).to_vec();
        Ok(DkimConfig::new(self.selector.clone(), self.domain.clone(), key, headers, canonicalization))
    }
}

/// What the DKIM signature covers. One that a message lacks is covered too: nobody on the way can add it.
/// The two for one-click unsubscribe must be signed for mailbox providers to act on them (RFC 8058 §4).
const SIGNED_HEADERS: [&str; 12] = [
    "From",
    "Reply-To",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "X-Sojourn-Send",
];
