//! Webhooks, signed as Standard Webhooks say (standardwebhooks.com): `webhook-id`, `webhook-timestamp` and
//! `webhook-signature: v1,<base64 of HMAC-SHA256 over id.timestamp.body>`.
//!
//! The id is the effect's, the same at every attempt: a receiver that honours it takes a repeated call once. So what
//! broke off is tried again, where a mail would be held as unknown (S5).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::send::Settlement;
use model::{Span, Value};
use ports::HandOff;
use reqwest::{Client, StatusCode, redirect};
use ring::hmac;
use serde::Deserialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The `[webhook]` table of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `whsec_` and the key in base64. Without it calls go out unsigned.
    pub secret: Option<String>,
    /// How long a call may take. Default `15s`.
    pub timeout: Option<Span>,
    /// Calls under way at once. Default 64.
    pub connections_max: Option<u32>,
}

impl Config {
    pub const CONNECTIONS_MAX_DEFAULT: u32 = 64;
}

pub struct Webhook {
    client: Client,
    key: Option<hmac::Key>,
}

impl Webhook {
    /// # Errors
    /// A sentence that names the key and what is wrong with it.
    pub fn new(config: &Config) -> Result<Self, String> {
        let key = config.secret.as_deref().map(signing_key).transpose()?;
        let timeout_ms = config.timeout.map_or(15_000, |span| span.at_most_ms());
        let client = Client::builder()
            .timeout(Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(15_000)))
            .redirect(redirect::Policy::none())
            .user_agent("Sojourn")
            .build()
            .map_err(|error| format!("webhook: {error}"))?;
        Ok(Webhook { client, key })
    }

    pub(crate) async fn send(&self, hand_off: &HandOff) -> Settlement {
        let body = match hand_off.rendered.parts.get("body") {
            Some(Value::Text(text)) => text.to_string(),
            Some(value) => serde_json::to_string(value).unwrap_or_default(),
            None => "{}".to_owned(),
        };
        let id = format!("msg_{}", hand_off.effect);
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut request = self
            .client
            .post(hand_off.rendered.address.as_str())
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp.to_string());
        if let Some(key) = &self.key {
            request = request.header("webhook-signature", signature(key, &id, timestamp, &body));
        }
        if let Some(Value::Map(headers)) = hand_off.rendered.parts.get("headers") {
            for (name, value) in headers.iter() {
                request = request.header(name.as_str(), value.as_text().unwrap_or_default());
            }
        }
        match request.body(body).send().await {
            Ok(response) => answered(response.status(), retry_after_ms(&response)),
            Err(error) if error.is_builder() => Settlement::Rejected { reason: error.to_string().into() },
            Err(error) => {
                let reason = if error.is_timeout() { "time-out".to_owned() } else { error.to_string() };
                Settlement::Deferred { reason: reason.into(), retry_after_ms: None }
            }
        }
    }
}

/// Which answers are for good (T60).
fn answered(status: StatusCode, retry_after_ms: Option<u64>) -> Settlement {
    let reason: model::Text = format!("HTTP {status}").into();
    if status.is_success() {
        return Settlement::Accepted { provider_id: None };
    }
    if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        return Settlement::Deferred { reason, retry_after_ms };
    }
    Settlement::Rejected { reason }
}

fn retry_after_ms(response: &reqwest::Response) -> Option<u64> {
    let seconds: u64 = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1000))
}

fn signing_key(secret: &str) -> Result<hmac::Key, String> {
    let encoded = secret.strip_prefix("whsec_").ok_or("webhook.secret: expected whsec_ and base64")?;
    let bytes = STANDARD.decode(encoded).map_err(|error| format!("webhook.secret: {error}"))?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn signature(key: &hmac::Key, id: &str, timestamp: u64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the specification.
    #[test]
    fn a_signature_is_what_the_standard_says() {
        let key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(signing_key("secret").is_err());
    }

    #[test]
    fn t60_answers_are_for_good_or_for_now() {
        let told = |status: u16| match answered(StatusCode::from_u16(status).unwrap(), Some(7)) {
            Settlement::Accepted { .. } => "accepted",
            Settlement::Rejected { .. } => "rejected",
            Settlement::Deferred { retry_after_ms: Some(7), .. } => "deferred",
            Settlement::Deferred { .. } | Settlement::Unknown { .. } => "something else",
        };
        for (status, expected) in [
            (200, "accepted"),
            (204, "accepted"),
            (301, "rejected"),
            (400, "rejected"),
            (401, "rejected"),
            (408, "deferred"),
            (410, "rejected"),
            (429, "deferred"),
            (500, "deferred"),
            (503, "deferred"),
        ] {
            assert_eq!(told(status), expected, "{status}");
        }
    }
}
