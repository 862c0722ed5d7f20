//! Configuration: one TOML file, over it the environment (`SOJOURN__SECTION__KEY`). Unknown keys are errors.

use config::{Config as Reader, Environment, File, FileFormat};
use serde::Deserialize;
use std::path::Path;

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

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where readers of messages reach us: links and pixels begin with it. Default: `http://` and the listen address.
    pub public_url: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Fixed at the first start, 1 to 1,024. More partitions spread over more machines later.
    pub partitions: u16,
    /// Profiles kept in memory, about 1 KiB each. More means fewer reads of the store.
    pub hot_profiles_max: usize,
    /// Free disk space under which nothing more is accepted, in MiB.
    pub reserve_mib: u64,
    /// History kept, in GiB. Whole segments of 64 MiB are deleted.
    pub history_gib: u64,
    /// History kept, in days.
    pub history_days: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Storage { partitions: 16, hot_profiles_max: 500_000, reserve_mib: 256, history_gib: 20, history_days: 90 }
    }
}

/// # Errors
/// One sentence with the key's path and what is wrong.
pub fn read(path: Option<&Path>) -> Result<Config, String> {
    let mut reader = Reader::builder();
    if let Some(path) = path {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        reader = reader.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let environment = Environment::with_prefix("SOJOURN").prefix_separator("__").separator("__").try_parsing(true);
    let read = reader.add_source(environment).build().and_then(Reader::try_deserialize::<Config>);
    let config = read.map_err(|error| format!("configuration: {error}"))?;
    if !(1..=1024).contains(&config.storage.partitions) {
        return Err(format!("configuration: storage.partitions is {}; expected 1 to 1024", config.storage.partitions));
    }
    Ok(config)
}
