//! State and its read indexes as a checkpoint in an embedded LSM store.
//!
//! One fjall keyspace for each [`Keyspace`], and one more, `format`, whose row `version` says which layout the store
//! has (u32, little-endian). The log, not the store, is what an acknowledgement waits for: the store is written by
//! checkpoints alone, each one atomic batch that is synced (`PersistMode::SyncAll`) before the log is told that it may
//! forget. Between checkpoints nothing is written, so the store's own journal is no second log.

use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use ports::state::{Error, Keyspace, Row, Scan, State, Visit};
use std::path::Path;

const FORMAT: &str = "format";
const VERSION_ROW: &str = "version";
const VERSION: u32 = 1;

/// What the store is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Blocks kept in memory for reads. More makes cold profiles cheaper. Default 256 MiB.
    pub cache_bytes: u64,
    /// How large the store's own journal may grow before memory is flushed to tables; at least 64 MiB. Less means less
    /// to read at the next start, more means fewer small tables. Default 256 MiB.
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
    const JOURNAL_BYTES_MIN: u64 = 64 << 20;

    /// Opens the store in `folder`, or makes it.
    ///
    /// # Errors
    /// When the folder cannot be used, is damaged, has another format, or another process has it open.
    pub fn open(folder: &Path, options: &Options) -> Result<Self, Error> {
        let opened = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes.max(Self::JOURNAL_BYTES_MIN))
            .open();
        let database = opened.map_err(failed("opening"))?;
        check_format(&database)?;
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

/// Marks a new store with our format; refuses one that has another.
fn check_format(database: &Database) -> Result<(), Error> {
    let refused = |why: String| Err(Error::Io { doing: "opening", why });
    let has_rows = Keyspace::ALL.iter().any(|keyspace| database.keyspace_exists(keyspace.name()));
    let format = database.keyspace(FORMAT, || small(KeyspaceCreateOptions::default()));
    let format = format.map_err(failed("opening the format marker"))?;
    match format.get(VERSION_ROW).map_err(failed("reading the format marker"))? {
        Some(found) if *found == VERSION.to_le_bytes() => Ok(()),
        Some(found) => {
            let found = <[u8; 4]>::try_from(&*found)
                .map_or_else(|_| "unknown".to_owned(), |found| u32::from_le_bytes(found).to_string());
            refused(format!("the store has format {found}, this program reads and writes format {VERSION}"))
        }
        None if has_rows => refused("the folder holds a store that this program did not make".to_owned()),
        None => {
            let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
            batch.insert(&format, VERSION_ROW, VERSION.to_le_bytes());
            batch.commit().map_err(failed("writing the format marker"))
        }
    }
}

/// The sizes bound what the store keeps in memory beside its cache: 108 MiB of rows not yet flushed, and as much again
/// for a moment while they are.
fn options_of(keyspace: Keyspace) -> KeyspaceCreateOptions {
    const MIB: u64 = 1 << 20;
    let options = KeyspaceCreateOptions::default();
    match keyspace {
        // Point reads, each of a cold profile: small blocks, and filters in all levels as new profiles are not there.
        // Not compressed: expanding a block takes longer than all the rest of a read, and rows of one block have
        // little in common.
        Keyspace::Subjects => {
            options.data_block_compression_policy(CompressionPolicy::disabled()).max_memtable_size(48 * MIB)
        }
        // Point reads, most of them in vain.
        Keyspace::Identities => options.max_memtable_size(16 * MIB),
        // Lists, that are only scanned: filters would be of no use, and larger blocks compress better.
        Keyspace::Participants => {
            let scanned =
                options.filter_policy(FilterPolicy::disabled()).data_block_size_policy(BlockSizePolicy::all(16 << 10));
            scanned.max_memtable_size(16 * MIB)
        }
        // Scanned by profile and by time; what is found by time is then read by its key.
        Keyspace::Sends => options.max_memtable_size(16 * MIB),
        Keyspace::Meta | Keyspace::Books | Keyspace::Control => small(options),
    }
}

fn small(options: KeyspaceCreateOptions) -> KeyspaceCreateOptions {
    options.max_memtable_size(4 << 20)
}

fn failed(doing: &'static str) -> impl Fn(fjall::Error) -> Error {
    move |error| {
        let why = if matches!(error, fjall::Error::Locked) {
            "another process has it open".to_owned()
        } else if matches!(error, fjall::Error::Poisoned) {
            "an earlier write failed; the store must be opened anew".to_owned()
        } else if let fjall::Error::Io(error) = error {
            error.to_string()
        } else {
            error.to_string()
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
        visit: &mut Visit<'_>,
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

    /// As `kill -9` leaves it: the files are copied while the store has them open.
    fn killed(folder: &Path) -> tempfile::TempDir {
        fn copy(from: &Path, to: &Path) {
            std::fs::create_dir_all(to).unwrap();
            for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
                let to = to.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    copy(&entry.path(), &to);
                } else {
                    std::fs::copy(entry.path(), to).unwrap();
                }
            }
        }
        let copied = tempfile::tempdir().unwrap();
        copy(folder, copied.path());
        copied
    }

    #[test]
    fn a_batch_over_all_keyspaces_survives_a_kill_whole() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFjall::open(folder.path(), &Options::default()).unwrap();
        for round in 0..5u8 {
            state.write(Keyspace::ALL.map(|keyspace| put(keyspace, b"row", &[round])).to_vec()).unwrap();
            let copied = killed(folder.path());
            let after = StateFjall::open(copied.path(), &Options::default()).unwrap();
            for keyspace in Keyspace::ALL {
                assert_eq!(after.get(keyspace, b"row").unwrap(), Some(vec![round]), "{keyspace:?}");
            }
        }
    }

    /// The last batch is in the journal alone, and a crash may cut it anywhere.
    #[test]
    fn a_batch_cut_at_any_place_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFjall::open(folder.path(), &Options::default()).unwrap();
        let write = |round: u8| {
            state.write(Keyspace::ALL.map(|keyspace| put(keyspace, b"row", &[round; 9])).to_vec()).unwrap();
        };
        write(1);
        let journal_of = |folder: &Path| {
            let found = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            found.into_iter().find(|path| path.extension().is_some_and(|held| held == "jnl")).unwrap()
        };
        let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let before = used(&std::fs::read(journal_of(folder.path())).unwrap());
        write(2);
        let journal = std::fs::read(journal_of(folder.path())).unwrap();
        let after = used(&journal);
        assert!(after > before);
        let mut seen = std::collections::BTreeSet::new();
        for cut in (before..=after).step_by(7).chain([after]) {
            let copied = killed(folder.path());
            std::fs::write(journal_of(copied.path()), &journal[..cut]).unwrap();
            let torn = StateFjall::open(copied.path(), &Options::default()).unwrap();
            let rows = Keyspace::ALL.map(|keyspace| torn.get(keyspace, b"row").unwrap().unwrap()[0]);
            assert!(rows == [1; 7] || rows == [2; 7], "cut at {cut} of {after}: {rows:?}");
            seen.insert(rows[0]);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_store_of_another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(StateFjall::open(folder.path(), &Options::default()).unwrap());
        let database = Database::builder(folder.path()).open().unwrap();
        let format = database.keyspace(FORMAT, KeyspaceCreateOptions::default).unwrap();
        format.insert(VERSION_ROW, 2u32.to_le_bytes()).unwrap();
        drop((format, database));
        let Err(refused) = StateFjall::open(folder.path(), &Options::default()) else { panic!("it was opened") };
        assert!(refused.to_string().contains("the store has format 2, this program"), "{refused}");

        let foreign = tempfile::tempdir().unwrap();
        let database = Database::builder(foreign.path()).open().unwrap();
        drop((database.keyspace("meta", KeyspaceCreateOptions::default).unwrap(), database));
        let Err(refused) = StateFjall::open(foreign.path(), &Options::default()) else { panic!("it was opened") };
        assert!(refused.to_string().contains("did not make"), "{refused}");
    }

    #[test]
    fn a_scan_that_fails_or_stops_ends_there() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFjall::open(folder.path(), &Options::default()).unwrap();
        state.write((0..5).map(|key| put(Keyspace::Books, &[key], b"")).collect()).unwrap();
        let mut seen = 0;
        let stopped = state.scan(Keyspace::Books, b"", None, &mut |_, _| {
            seen += 1;
            Ok(if seen == 2 { Scan::Stop } else { Scan::Continue })
        });
        assert!(stopped.is_ok());
        assert_eq!(seen, 2);
        let failed = state
            .scan(Keyspace::Books, b"", None, &mut |_, _| Err(Error::Io { doing: "a test", why: "it said so".into() }));
        assert!(failed.unwrap_err().to_string().contains("it said so"));
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
