//! Webhooks over HTTP, signed as Standard Webhooks: `compose` makes the request, `signature` signs it, `guard` keeps it
//! out of our own network, `answer` says what the receiver's words mean.

mod answer;
mod compose;
mod guard;
mod signature;

use crate::Error;
use crate::config::{Secret, secrets, timeout};
use crate::outcome::{Outcome, chain};
use ports::channel::HandOff;
use reqwest::Response;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// `[channels.webhook]`: calls to the URLs that messages name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What requests are signed with, each `whsec_` and base64. With several, every request carries a signature of
    /// each, so that receivers can go over from one to the next. Default: none, and requests are not signed.
    #[serde(default, deserialize_with = "secrets")]
    pub secrets: Vec<Secret>,
    /// How long a receiver may take for its answer, connecting included. Default 20 s. Less calls slow receivers again
    /// that have done their work; more lets them hold up others.
    #[serde(default = "default_timeout", deserialize_with = "timeout")]
    pub timeout: Duration,
    /// Requests under way at once. Default 64.
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
    /// Whether URLs may lead to this machine and to private networks. Default false: whoever writes a message could
    /// otherwise call what only this machine can reach, such as a cloud's metadata service.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Further authorities to trust, as a PEM file. Default: those that browsers trust.
    pub ca_file: Option<PathBuf>,
}

fn default_timeout() -> Duration {
    Duration::from_secs(20)
}

fn default_connections_max() -> usize {
    64
}

impl Default for Config {
    fn default() -> Self {
        Config {
            secrets: Vec::new(),
            timeout: default_timeout(),
            connections_max: default_connections_max(),
            allow_private_addresses: false,
            ca_file: None,
        }
    }
}

/// Bytes of an answer that are read, so that its connection can be used again. Its status alone counts.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The channel, ready to call.
pub(crate) struct Webhook {
    client: reqwest::Client,
    signer: signature::Signer,
    private_addresses: guard::PrivateAddresses,
}

impl Webhook {
    /// # Errors
    /// What in the configuration cannot work.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let wrong = |key: &'static str, why: String| Error::Config { channel: "webhook", key, why };
        let secrets = config.secrets.iter().map(Secret::reveal);
        let signer = signature::Signer::new(secrets).map_err(|why| wrong("secrets", why))?;
        let private_addresses = if config.allow_private_addresses {
            guard::PrivateAddresses::Allowed
        } else {
            guard::PrivateAddresses::Denied
        };
        let tls = crate::tls::client(config.ca_file.as_deref()).map_err(|why| wrong("ca_file", why))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            // A redirect would lead the signed body elsewhere; it is answered like any other refusal.
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would resolve names itself, past the guard.
            .no_proxy()
            .retry(reqwest::retry::never())
            .timeout(config.timeout)
            .user_agent(concat!("Sojourn/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(guard::Resolver { private_addresses })
            .build()
            .map_err(|error| wrong("tls", chain(&error)))?;
        Ok(Webhook { client, signer, private_addresses })
    }

    pub async fn hand_off(&self, hand_off: &HandOff) -> Outcome {
        let call = match compose::compose(hand_off.effect, &hand_off.rendered) {
            Ok(call) => call,
            Err(reason) => return Outcome::unsendable(reason),
        };
        if let Err(denied) = self.private_addresses.check_literal(&call.url) {
            return Outcome::unsendable(denied.to_string());
        }
        let now = crate::wall_clock();
        let mut request = self
            .client
            .request(call.method, call.url)
            .headers(call.headers)
            .header("webhook-id", &call.id)
            .header("webhook-timestamp", (now.as_ms() / 1_000).to_string());
        if let Some(signatures) = self.signer.sign(&call.id, now.as_ms() / 1_000, &call.body) {
            request = request.header("webhook-signature", signatures);
        }
        match request.body(call.body).send().await {
            Ok(response) => {
                let outcome = answer::outcome(response.status(), response.headers(), now);
                drain(response).await;
                outcome
            }
            Err(error) => answer::failed(&error),
        }
    }

    /// The peer whose circuit counts: each receiver has its own, so that a dead one does not touch the others.
    pub fn peer(&self, hand_off: &HandOff) -> String {
        compose::peer(&hand_off.rendered.address)
    }
}

/// Reads a short answer to its end. Whatever goes wrong here, the status has been given.
async fn drain(mut response: Response) {
    let mut bytes = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes += chunk.len();
        if bytes > ANSWER_BYTES_MAX {
            return;
        }
    }
}
