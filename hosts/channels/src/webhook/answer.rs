//! What a receiver's answer, or its silence, means for a send (S5, S6; traps T59, T60, T64).
//!
//! ```text
//! 2xx                                Accepted
//! 408 425 429 5xx                    Deferred, not before Retry-After; receiver out if it says so to everyone
//! other 4xx, 3xx (none is followed)  Rejected
//! no connection                      Deferred, receiver out
//! no answer in time                  Deferred, receiver out
//! connection lost                    Deferred
//! private address                    Rejected
//! ```
//! Silence is no `Unknown` here: a receiver of Standard Webhooks knows a repeated `webhook-id` and acts on it once, so
//! that trying again is safe (S5).

use super::guard;
use crate::circuit::Peer;
use crate::outcome::{Outcome, chain};
use model::Timestamp;
use model::send::Settlement;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The longest wait that a receiver can ask for.
const RETRY_AFTER_MAX_MS: u64 = 24 * 3_600_000;

pub(super) fn outcome(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Outcome {
    let reason = format!("http {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Outcome { settlement: Settlement::Accepted { provider_id: None }, peer: Peer::Reached },
        408 | 425 | 429 | 500..=599 => Outcome {
            settlement: Settlement::Deferred {
                reason: reason.as_str().into(),
                retry_after_ms: retry_after_ms(headers, now),
            },
            peer: Peer::PutOff { reason },
        },
        _ => Outcome { settlement: Settlement::Rejected { reason: reason.into() }, peer: Peer::Reached },
    }
}

pub(super) fn failed(error: &reqwest::Error) -> Outcome {
    if let Some(denied) = guard::denied(error) {
        return Outcome::unsendable(denied.to_string());
    }
    if error.is_builder() {
        return Outcome::unsendable(chain(error));
    }
    if error.is_connect() {
        return Outcome::unreachable(format!("no connection: {}", cause(error)));
    }
    if error.is_timeout() {
        return Outcome::unreachable("timeout");
    }
    let reason = format!("connection lost: {}", cause(error));
    Outcome { settlement: Settlement::Deferred { reason: reason.into(), retry_after_ms: None }, peer: Peer::Untold }
}

/// What went wrong without the URL, which may hold personal data.
fn cause(error: &reqwest::Error) -> String {
    std::error::Error::source(error).map_or_else(|| "no cause given".to_owned(), chain)
}

/// Seconds, or a date (RFC 9110 §10.2.3).
fn retry_after_ms(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let ms = match text.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1_000),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            u64::try_from(Timestamp::from_jiff(at).ms_since(now)).unwrap_or(0)
        }
    };
    Some(ms.min(RETRY_AFTER_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(status: u16, retry_after: Option<&str>) -> Settlement {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
        }
        let now = Timestamp::parse("2026-05-01T09:00:00Z").unwrap();
        outcome(StatusCode::from_u16(status).unwrap(), &headers, now).settlement
    }

    #[test]
    fn t60_the_table_of_codes() {
        for status in [200, 201, 202, 204, 299] {
            assert!(matches!(settled(status, None), Settlement::Accepted { .. }), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(matches!(settled(status, None), Settlement::Deferred { .. }), "{status}");
        }
        for status in [301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 422, 451] {
            assert!(matches!(settled(status, None), Settlement::Rejected { .. }), "{status}");
        }
    }

    #[test]
    fn t59_retry_after_is_seconds_or_a_date_and_bounded() {
        for (text, ms) in [
            ("120", Some(120_000)),
            ("0", Some(0)),
            ("Fri, 01 May 2026 09:00:30 GMT", Some(30_000)),
            ("Fri, 01 May 2026 08:00:00 GMT", Some(0)),
            ("99999999999999", Some(RETRY_AFTER_MAX_MS)),
            ("soon", None),
            ("-5", None),
        ] {
            let expected = Settlement::Deferred { reason: "http 503".into(), retry_after_ms: ms };
            assert_eq!(settled(503, Some(text)), expected, "{text}");
        }
    }
}
