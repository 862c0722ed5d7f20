//! Configuration: one TOML file, over it the environment (`SOJOURN__SECTION__KEY`). Unknown keys are errors.
//!
//! `docs/configuration.md` has every key; a test holds it against these structs.

mod units;

pub use units::Bytes;

use config::{Config as Reader, Environment, File, FileFormat};
use serde::{Deserialize, Deserializer, de};
use std::path::Path;
use std::time::Duration;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub server: Server,
    #[serde(default)]
    pub storage: Storage,
    /// The ways out; those without a section are not configured.
    #[serde(default)]
    pub channels: channels::Config,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where readers of messages reach us: links and pixels begin with it. Default: `http://` and the listen address.
    pub public_url: Option<PublicUrl>,
    /// How long a stop waits for hand-offs under way. More: fewer sends end as `unknown` when a provider is slow. Less:
    /// a faster stop. Default 10 s.
    #[serde(deserialize_with = "units::time")]
    pub drain: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Server { public_url: None, drain: Duration::from_secs(10) }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Fixed at the first start, 1 to 1,024. More partitions spread over more machines later.
    pub partitions: u16,
    /// Profiles kept in memory, about 1.5 KiB each; at least 1,000. More means fewer reads of the store.
    pub hot_profiles_max: usize,
    /// Free disk space under which nothing more is accepted. More leaves the store more room for its own work; less
    /// uses the disk up to its end.
    pub reserve: Bytes,
    /// History kept, in bytes. Whole segments of 64 MiB are deleted. More reaches further back; recovery never needs it.
    pub history_bytes: Bytes,
    /// History kept, in time. The limit that is reached first counts.
    #[serde(deserialize_with = "units::time")]
    pub history_age: Duration,
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            partitions: 16,
            hot_profiles_max: 500_000,
            reserve: Bytes(256 << 20),
            history_bytes: Bytes(20 << 30),
            history_age: Duration::from_secs(90 * 24 * 60 * 60),
        }
    }
}

/// `http` or `https` and a host, perhaps a port and a path; without the slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wanted = "expected an address such as https://sojourn.example.org";
        let url = reqwest::Url::parse(text).map_err(|error| format!("{wanted}; `{text}` came ({error})"))?;
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !["http", "https"].contains(&url.scheme()) || url.host().is_none() || !is_plain {
            return Err(format!("{wanted}: http or https, a host, and no query; `{text}` came"));
        }
        Ok(PublicUrl(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PublicUrl::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// # Errors
/// One sentence with the key's path and what is wrong.
pub fn read(path: Option<&Path>) -> Result<Config, String> {
    let text = match path {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("configuration {}: {error}", path.display()))?
        }
        None => String::new(),
    };
    let at = path.map(|path| format!(" {}", path.display())).unwrap_or_default();
    parse(&text, std::env::vars()).map_err(|why| format!("configuration{at}: {why}"))
}

fn parse(toml: &str, variables: impl Iterator<Item = (String, String)>) -> Result<Config, String> {
    // NOTE: what the environment says stays text, and is read as what the key wants: a password 012345 keeps its zero.
    let environment =
        Environment::with_prefix("SOJOURN").prefix_separator("__").separator("__").source(Some(variables.collect()));
    let sources = Reader::builder().add_source(File::from_str(toml, FileFormat::Toml)).add_source(environment);
    let reader = sources.build().map_err(|error| error.to_string().trim_end().replace('\n', " "))?;
    let config: Config = serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        // NOTE: config adds the key again, as its own kind of path.
        let why = error.into_inner().to_string();
        let why = why.split(" for key `").next().unwrap_or_default().to_owned();
        if path == "." { why } else { format!("{path}: {why}") }
    })?;
    check(&config)?;
    Ok(config)
}

fn check(Config { storage, .. }: &Config) -> Result<(), String> {
    if !(1..=1024).contains(&storage.partitions) {
        return Err(format!("storage.partitions: expected 1 to 1024; {} came", storage.partitions));
    }
    if storage.hot_profiles_max < 1_000 {
        return Err(format!("storage.hot_profiles_max: expected at least 1000; {} came", storage.hot_profiles_max));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn read(toml: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let owned: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        parse(toml, owned.into_iter())
    }

    #[test]
    fn the_environment_goes_over_the_file_and_a_secret_stays_as_it_was_written() {
        let toml = "[storage]\nreserve = \"1 GiB\"\npartitions = 4\n[channels.email]\nhost = \"file\"\n";
        let variables = [
            ("SOJOURN__STORAGE__PARTITIONS", "8"),
            ("SOJOURN__CHANNELS__EMAIL__HOST", "relay"),
            ("SOJOURN__CHANNELS__EMAIL__USERNAME", "true"),
            ("SOJOURN__CHANNELS__EMAIL__PASSWORD", "012345"),
            ("SOJOURN__CHANNELS__WEBHOOK__SECRETS", "whsec_YQ==,whsec_Yg=="),
            ("SOJOURN__CHANNELS__WEBHOOK__ALLOW_PRIVATE_ADDRESSES", "true"),
            ("SOJOURN_DATA", "elsewhere"),
        ];
        let config = read(toml, &variables).unwrap();
        assert_eq!((config.storage.reserve, config.storage.partitions), (Bytes(1 << 30), 8));
        let (email, webhook) = (config.channels.email.unwrap(), config.channels.webhook.unwrap());
        assert_eq!((email.host.as_str(), email.username.as_deref()), ("relay", Some("true")));
        assert_eq!(email.password, Some(channels::Secret::new("012345")));
        assert_eq!(webhook.secrets, ["whsec_YQ==", "whsec_Yg=="].map(channels::Secret::new));
        assert!(webhook.allow_private_addresses);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        for (toml, expected) in [
            ("[storage]\nresreve = \"1 GiB\"", "storage.resreve: unknown field `resreve`"),
            ("[channels.email]\nhots = 1", "channels.email.hots: unknown field `hots`"),
            ("[channels.fax]\n", "channels.fax: unknown field `fax`"),
            ("[storage]\nreserve = 256", "storage.reserve: expected a whole number and a unit"),
            (
                "[storage]\nhistory_age = \"99999999999999999 d\"",
                "storage.history_age: expected a whole number and a unit",
            ),
            ("[storage]\npartitions = 0", "storage.partitions: expected 1 to 1024; 0 came"),
            ("[storage]\npartitions = 70000", "storage.partitions: "),
            ("[storage]\nhot_profiles_max = 1", "storage.hot_profiles_max: expected at least 1000; 1 came"),
            ("[channels.email]\nhost = \"h\"\ntimeout = \"5\"", "channels.email.timeout: `5` is not a time-out"),
            ("[server]\npublic_url = \"sojourn.example.org\"", "server.public_url: expected an address such as"),
            ("[server]\npublic_url = \"ftp://x\"", "server.public_url: expected an address such as"),
            ("[server]\npublic_url = \"https://x?y=1\"", "server.public_url: expected an address such as"),
        ] {
            let error = read(toml, &[]).unwrap_err();
            assert!(error.starts_with(expected), "{toml}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        let error = read("", &[("SOJOURN__STORAGE__NONE", "1")]).unwrap_err();
        assert!(error.starts_with("storage.none: unknown field `none`"), "{error}");
        let error = read("[storage\n", &[]).unwrap_err();
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn a_public_url_loses_its_last_slash() {
        let read = |text: &str| PublicUrl::parse(text).unwrap().as_str().to_owned();
        assert_eq!(read("https://sojourn.example.org/"), "https://sojourn.example.org");
        assert_eq!(read("http://localhost:8080"), "http://localhost:8080");
        assert_eq!(read("https://example.org/sojourn/"), "https://example.org/sojourn");
    }

    /// The keys that a section takes: what it says when it is given one that it does not take.
    fn keys_of(section: &str) -> BTreeSet<String> {
        let toml = format!("{}zzz = 1\n", if section.is_empty() { String::new() } else { format!("[{section}]\n") });
        let error = read(&toml, &[]).unwrap_err();
        let listed = error.split_once("expected ").unwrap().1;
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_documentation_has_every_key_and_no_other() {
        let page = include_str!("../../../docs/configuration.md");
        let documented: BTreeSet<String> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(key, _)| key.to_owned())
            .collect();
        let sections = ["server", "storage", "channels.email", "channels.email.dkim", "channels.webhook"];
        let mut keys: BTreeSet<String> = sections
            .iter()
            .flat_map(|section| keys_of(section).into_iter().map(move |key| format!("{section}.{key}")))
            .collect();
        // Sections are not keys themselves.
        keys.remove("channels.email.dkim");
        assert_eq!(documented, keys);
        assert_eq!(keys_of(""), ["channels", "server", "storage"].map(str::to_owned).into());
        assert_eq!(keys_of("channels"), ["email", "webhook"].map(str::to_owned).into());
    }

    #[test]
    fn the_example_in_the_documentation_is_read() {
        let page = include_str!("../../../docs/configuration.md");
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let config = read(example, &[]).unwrap();
        assert!(config.channels.email.is_some() && config.channels.webhook.is_some());
    }
}
