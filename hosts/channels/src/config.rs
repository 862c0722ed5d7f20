//! What the operator writes about channels, as sections of the configuration file.
//!
//! ```toml
//! [channels.email]
//! host = "smtp.example.org"
//! username = "sojourn"
//! password = "…"
//! from = "Shop <hello@example.org>"
//! timeout = "30 s"
//!
//! [channels.webhook]
//! secrets = ["whsec_…"]
//! ```

use crate::{email, webhook};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::time::Duration;

/// One section per channel; a channel without one is not configured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub email: Option<email::Config>,
    pub webhook: Option<webhook::Config>,
}

/// A text that no log and no error message shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Reads a list of secrets, or one text with commas between them, as an environment variable has it.
pub(crate) fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Secret>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a list of secrets, or one text with commas between them")]
    enum Written {
        Text(String),
        List(Vec<Secret>),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Text(text) => {
            text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(Secret::new).collect()
        }
        Written::List(secrets) => secrets,
    })
}

/// Reads a time-out such as `"30 s"`: a whole number and one of `ms`, `s`, `min`, `h`; more than zero.
pub(crate) fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_timeout(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "`{text}` is not a time-out; expected a whole number above zero and a unit (ms, s, min, h), such as \"30 s\""
        ))
    })
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit_ms = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let ms = number.checked_mul(unit_ms)?;
    (ms > 0).then(|| Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_carries_its_unit() {
        let read = [("30 s", 30_000), ("500ms", 500), (" 2 min ", 120_000), ("1 h", 3_600_000)];
        for (text, ms) in read {
            assert_eq!(parse_timeout(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "30", "s", "0 s", "-1 s", "1.5 s", "30 S", "30 s s", "99999999999999999999 s"] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_are_a_list_or_one_text_as_the_environment_has_it() {
        let read = |text: &str| toml::from_str::<Config>(&format!("[webhook]\nsecrets = {text}"));
        let two = vec![Secret::new("whsec_a"), Secret::new("whsec_b")];
        for text in ["[\"whsec_a\", \"whsec_b\"]", "\"whsec_a,whsec_b\"", "\" whsec_a , whsec_b,\""] {
            assert_eq!(read(text).unwrap().webhook.unwrap().secrets, two, "{text}");
        }
        let error = read("7").unwrap_err().to_string();
        assert!(error.contains("expected a list of secrets"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_named_and_a_secret_is_not_shown() {
        let error = toml::from_str::<Config>("[email]\nhost = \"h\"\nhots = 1").unwrap_err().to_string();
        assert!(error.contains("hots"), "{error}");
        let config: Config =
            toml::from_str("[email]\nhost = \"h\"\nusername = \"u\"\npassword = \"hunter2\"\ntimeout = \"5 s\"")
                .unwrap();
        assert_eq!(config.email.as_ref().unwrap().timeout, Duration::from_secs(5));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
