//! State and its read indexes as a checkpoint in an embedded LSM store.
//!
//! One fjall keyspace for each [`Keyspace`]. The log, not the store, is what an acknowledgement waits for: the store is
//! written by checkpoints alone, each one atomic batch that is synced (`PersistMode::SyncAll`) before the log is told
//! that it may forget. Between checkpoints nothing is written, so the store's own journal is no second log.

use fjall::config::FilterPolicy;
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use ports::state::{Error, Keyspace, Row, Scan, State};
use std::path::Path;

/// What the store is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Blocks kept in memory for reads. More makes cold profiles cheaper. Default 256 MiB.
    pub cache_bytes: u64,
    /// How large the store's own journal may grow before memory is flushed to tables. Less means less to read at the
    /// next start, more means fewer small tables. Default 256 MiB.
    pub journal_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { cache_bytes: 256 << 20, journal_bytes: 256 << 20 }
    }
}

pub struct StateFjall {
    database: Database,
    /// In the order of [`Keyspace::ALL`].
    keyspaces: Vec<fjall::Keyspace>,
}

impl StateFjall {
    /// Opens the store in `folder`, or makes it.
    ///
    /// # Errors
    /// When the folder cannot be used, is damaged, or another process has it open.
    pub fn open(folder: &Path, options: &Options) -> Result<Self, Error> {
        let opened = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes)
            .open();
        let database = opened.map_err(failed("opening"))?;
        let mut keyspaces = Vec::with_capacity(Keyspace::ALL.len());
        for keyspace in Keyspace::ALL {
            let opened = database.keyspace(keyspace.name(), || options_of(keyspace));
            keyspaces.push(opened.map_err(failed("opening a keyspace"))?);
        }
        Ok(StateFjall { database, keyspaces })
    }

    /// Bytes on disk.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn disk_bytes(&self) -> Result<u64, Error> {
        self.database.disk_space().map_err(failed("measuring"))
    }

    fn keyspace(&self, keyspace: Keyspace) -> &fjall::Keyspace {
        let at = Keyspace::ALL.iter().position(|held| *held == keyspace);
        &self.keyspaces[at.expect("INVARIANT: ALL has every keyspace")]
    }
}

/// Identities and sends are looked up by point, mostly in vain for new ones: their filters are worth their memory.
/// Lists are only scanned.
fn options_of(keyspace: Keyspace) -> KeyspaceCreateOptions {
    let options = KeyspaceCreateOptions::default();
    match keyspace {
        Keyspace::Subjects | Keyspace::Identities => options,
        Keyspace::Participants | Keyspace::Sends => options.filter_policy(FilterPolicy::disabled()),
        Keyspace::Meta | Keyspace::Books | Keyspace::Control => options,
    }
}

fn failed(doing: &'static str) -> impl Fn(fjall::Error) -> Error {
    move |error| {
        let why = match &error {
            fjall::Error::Locked => "another process has it open".to_owned(),
            other => other.to_string(),
        };
        Error::Io { doing, why }
    }
}

impl State for StateFjall {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let found = self.keyspace(keyspace).get(key).map_err(failed("reading"))?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Result<Scan, Error>,
    ) -> Result<(), Error> {
        let keyspace = self.keyspace(keyspace);
        let rows = match after.filter(|after| *after >= prefix) {
            // The first key after `after` is `after` and a zero byte.
            Some(after) => keyspace.range([after, &[0]].concat()..),
            None => keyspace.range(prefix.to_vec()..),
        };
        for guard in rows {
            let (key, value) = guard.into_inner().map_err(failed("scanning"))?;
            if !key.starts_with(prefix) || visit(&key, &value)? == Scan::Stop {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, rows: Vec<Row>) -> Result<(), Error> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for Row { keyspace, key, value } in rows {
            let keyspace = self.keyspace(keyspace);
            match value {
                Some(value) => batch.insert(keyspace, key, value),
                None => batch.remove(keyspace, key),
            }
        }
        batch.commit().map_err(failed("writing a checkpoint"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn put(keyspace: Keyspace, key: &[u8], value: &[u8]) -> Row {
        Row { keyspace, key: key.to_vec(), value: Some(value.to_vec()) }
    }

    fn scanned(state: &StateFjall, keyspace: Keyspace, prefix: &[u8], after: Option<&[u8]>) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        state
            .scan(keyspace, prefix, after, &mut |key, _| {
                keys.push(key.to_vec());
                Ok(Scan::Continue)
            })
            .unwrap();
        keys
    }

    #[test]
    fn rows_are_there_after_it_was_opened_again_and_a_second_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFjall::open(folder.path(), &Options::default()).unwrap();
        state.write(vec![put(Keyspace::Meta, b"a", b"1"), put(Keyspace::Subjects, b"a", b"2")]).unwrap();
        let Err(second) = StateFjall::open(folder.path(), &Options::default()) else { panic!("opened twice") };
        assert!(second.to_string().contains("another process has it open"), "{second}");
        drop(state);
        let state = StateFjall::open(folder.path(), &Options::default()).unwrap();
        assert_eq!(state.get(Keyspace::Meta, b"a").unwrap(), Some(b"1".to_vec()));
        assert_eq!(state.get(Keyspace::Subjects, b"a").unwrap(), Some(b"2".to_vec()));
        assert_eq!(state.get(Keyspace::Books, b"a").unwrap(), None);
    }

    #[test]
    fn a_scan_begins_after_a_key_and_ends_with_its_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFjall::open(folder.path(), &Options::default()).unwrap();
        let keys: [&[u8]; 5] = [b"a", b"b1", b"b2", b"b3", b"c"];
        state.write(keys.map(|key| put(Keyspace::Sends, key, b"")).to_vec()).unwrap();
        assert_eq!(scanned(&state, Keyspace::Sends, b"b", None), [b"b1", b"b2", b"b3"]);
        assert_eq!(scanned(&state, Keyspace::Sends, b"b", Some(b"b1")), [b"b2", b"b3"]);
        assert_eq!(scanned(&state, Keyspace::Sends, b"b", Some(b"a")), [b"b1", b"b2", b"b3"]);
        assert_eq!(scanned(&state, Keyspace::Sends, b"", None).len(), 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn it_holds_what_a_map_holds(writes in prop::collection::vec(
            prop::collection::vec((0u8..20, prop::option::of(0u8..9)), 1..20), 1..8))
        {
            let folder = tempfile::tempdir().unwrap();
            let state = StateFjall::open(folder.path(), &Options::default()).unwrap();
            let mut model = BTreeMap::new();
            for batch in writes {
                let rows = batch.iter().map(|(key, value)| Row {
                    keyspace: Keyspace::Books, key: vec![*key], value: value.map(|value| vec![value]),
                });
                // A key twice in one batch has no order in the store; a checkpoint never has one twice.
                let once: BTreeMap<Vec<u8>, Row> = rows.map(|row| (row.key.clone(), row)).collect();
                for row in once.values() {
                    match &row.value {
                        Some(value) => { model.insert(row.key.clone(), value.clone()); }
                        None => { model.remove(&row.key); }
                    }
                }
                state.write(once.into_values().collect()).unwrap();
            }
            let keys: Vec<Vec<u8>> = model.keys().cloned().collect();
            prop_assert_eq!(scanned(&state, Keyspace::Books, b"", None), keys);
            for (key, value) in &model {
                prop_assert_eq!(state.get(Keyspace::Books, key).unwrap(), Some(value.clone()));
            }
        }
    }
}
