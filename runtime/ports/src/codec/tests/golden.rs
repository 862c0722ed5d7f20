//! Bytes as the released formats wrote them, committed: they are read for ever.
//!
//! ```text
//! # name of a record
//! its bytes in hexadecimal digits, 40 bytes a line
//! ```
//! A record that is not in its file is added to it when `SOJOURN_BLESS` is set; one that is there is never changed. If
//! what is written differs from it, the format was changed: give the new one a new number and keep reading the old.

use super::rich;
use super::written;
use crate::codec::{decode_command, decode_profile, decode_trace, encode_command, encode_profile, encode_trace, rows};
use crate::{Keyspace, Row};
use engine::command::Command;
use engine::command::KeyScope;
use engine::control::{HeldKey, Publish};
use engine::state::Holding;
use model::{CatalogVersion, Lsn, PartitionId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Whether the bytes are the only ones that can be written for the value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Exact,
    /// It holds documents as JSON, which may come to be written otherwise.
    Json,
}

struct Fixture {
    path: PathBuf,
    held: Vec<(String, Vec<u8>)>,
    missing: Vec<(String, Vec<u8>)>,
    checked: BTreeSet<String>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    assert!(hex.is_ascii() && hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn parse(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(name) => records.push((name.to_owned(), Vec::new())),
            None => records.last_mut().expect("a name comes first").1.extend(bytes_of(line)),
        }
    }
    records
}

fn print(records: &[(String, Vec<u8>)]) -> String {
    let record = |(name, bytes): &(String, Vec<u8>)| {
        let lines: String = bytes.chunks(40).map(|chunk| hex(chunk) + "\n").collect();
        format!("# {name}\n{lines}")
    };
    records.iter().map(record).collect()
}

impl Fixture {
    fn open(file: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testing/fixtures/codec/v1").join(file);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => panic!("{}: {error}", path.display()),
        };
        Fixture { path, held: parse(&text), missing: Vec::new(), checked: BTreeSet::new() }
    }

    /// `read` asserts that the bytes it is given mean what was written.
    fn check(&mut self, name: &str, written: Vec<u8>, form: Form, read: impl Fn(&[u8])) {
        assert!(self.checked.insert(name.to_owned()), "{name} twice");
        match self.held.iter().find(|(held, _)| held == name) {
            Some((_, held)) => {
                read(held);
                if form == Form::Exact {
                    assert_eq!(hex(&written), hex(held), "the format of `{name}` changed; see the head of this file");
                }
            }
            None => {
                read(&written);
                self.missing.push((name.to_owned(), written));
            }
        }
    }

    fn finish(mut self) {
        for (name, _) in &self.held {
            assert!(self.checked.contains(name), "nobody reads the record `{name}` any more");
        }
        if self.missing.is_empty() {
            return;
        }
        let names: Vec<&str> = self.missing.iter().map(|(name, _)| name.as_str()).collect();
        let place = self.path.display();
        assert!(std::env::var_os("SOJOURN_BLESS").is_some(), "not in {place}: {names:?}; SOJOURN_BLESS=1 adds them");
        self.held.append(&mut self.missing);
        std::fs::create_dir_all(self.path.parent().unwrap()).unwrap();
        std::fs::write(&self.path, print(&self.held)).unwrap();
    }
}

#[test]
fn commands_of_format_1_are_read() {
    let mut fixture = Fixture::open("commands.hex");
    for (name, command) in rich::commands() {
        let form = match &command {
            Command::Control(_) => Form::Json,
            Command::Profile { .. } | Command::Partition(_) => Form::Exact,
        };
        let bytes = written(|out| encode_command(&command, out));
        fixture.check(name, bytes, form, |bytes| assert_eq!(decode_command(bytes).unwrap(), command));
    }
    fixture.finish();
}

#[test]
fn profiles_of_format_1_are_read() {
    let mut fixture = Fixture::open("profiles.hex");
    let stub = engine::Profile::new(rich::PROFILE, rich::SLOT, rich::at(0));
    for (name, profile) in [("every field", rich::profile()), ("a stub", stub)] {
        let bytes = written(|out| encode_profile(&profile, out));
        fixture.check(name, bytes, Form::Exact, |bytes| assert_eq!(decode_profile(bytes).unwrap(), profile));
    }
    fixture.finish();
}

#[test]
fn traces_of_format_1_are_read() {
    let mut fixture = Fixture::open("traces.hex");
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for entry in rich::trace() {
        let bytes = written(|out| encode_trace(std::slice::from_ref(&entry), out));
        let variant: String = format!("{entry:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
        let count = counts.entry(variant.clone()).or_default();
        *count += 1;
        let name = format!("{variant} {count}");
        fixture.check(&name, bytes, Form::Exact, |bytes| {
            assert_eq!(decode_trace(bytes).unwrap(), std::slice::from_ref(&entry));
        });
    }
    let all = rich::trace();
    let bytes = written(|out| encode_trace(&all, out));
    fixture.check("all of them", bytes, Form::Exact, |bytes| assert_eq!(decode_trace(bytes).unwrap(), all));
    fixture.finish();
}

/// Checks key and value of a row.
fn check_row(fixture: &mut Fixture, name: &str, row: Row, form: Form, read: impl Fn(&[u8])) {
    let Row { keyspace, key, value } = row;
    let name = format!("{}: {name}", keyspace.name());
    fixture.check(&format!("{name}, key"), key, Form::Exact, |_| {});
    fixture.check(&format!("{name}, value"), value.expect("a row that is written"), form, read);
}

#[test]
fn rows_of_format_1_are_read() {
    let mut fixture = Fixture::open("rows.hex");
    let exact = Form::Exact;
    let installation = rows::InstallationRow { partitions: 16, rules_version: 3, checkpointed: Lsn(4_711) };
    check_row(&mut fixture, "installation", rows::installation_row(&installation), exact, |bytes| {
        assert_eq!(rows::decode_installation(bytes).unwrap(), installation);
    });
    let partition = rows::PartitionRow {
        applied_lsn: Lsn(900),
        now: rich::at(0),
        catalog_version: CatalogVersion(7),
        poisoned: Some((Lsn(901), "a broken invariant".into())),
        skipped: vec![Lsn(5), Lsn(600)],
        dedup_hours: vec![(492_000, 0), (492_001, 1_300)],
    };
    check_row(&mut fixture, "partition 9", rows::partition_row(PartitionId(9), &partition), exact, |bytes| {
        assert_eq!(rows::decode_partition(bytes).unwrap(), partition);
    });
    fixture.check(
        "subjects: key of a profile in partition 9",
        rows::profile_key(PartitionId(9), rich::PROFILE).to_vec(),
        exact,
        |_| {},
    );
    let identity = rows::identity_row([0xe5; 16], rich::PROFILE, rich::SLOT);
    check_row(&mut fixture, "identity", identity, exact, |bytes| {
        assert_eq!(rows::decode_identity(bytes).unwrap(), (rich::PROFILE, rich::SLOT));
    });
    check_participants(&mut fixture);
    check_sends(&mut fixture);
    let book = super::rows::book();
    let row = Row {
        keyspace: Keyspace::Books,
        key: rows::book_key("signup", 29_000_000, PartitionId(9)),
        value: Some(rows::encode_book(&book)),
    };
    check_row(&mut fixture, "book", row, exact, |bytes| assert_eq!(rows::decode_book(bytes).unwrap(), book));
    check_control(&mut fixture);
    fixture.finish();
}

fn check_participants(fixture: &mut Fixture) {
    let profile = rich::profile();
    let [waiting, _, _, parked] = profile.participants.as_slice() else { panic!("four participants") };
    let inside = rows::inside_row(&profile, waiting, &"opened".into());
    let expected = rows::ParticipantRow {
        id: waiting.id,
        profile: rich::PROFILE,
        slot: rich::SLOT,
        place: rows::Place::Inside,
        version: 3,
        entry: 2,
        step: "opened".into(),
        started_at: rich::at(0),
        ended_at: None,
        until: Some(rich::at(86_400_000)),
        reason: None,
    };
    check_row(fixture, "inside", inside, Form::Exact, |bytes| {
        assert_eq!(rows::decode_participant(bytes).unwrap(), expected);
    });
    let expected = rows::ParticipantRow {
        place: rows::Place::Parked,
        until: None,
        reason: Some("missing_date".into()),
        ..expected
    };
    let row = rows::inside_row(&profile, parked, &"opened".into());
    check_row(fixture, "parked", row, Form::Exact, |bytes| {
        assert_eq!(parked.holding, Holding::Parked { reason: "missing_date".into() });
        assert_eq!(rows::decode_participant(bytes).unwrap(), expected);
    });
    let expected = rows::ParticipantRow {
        place: rows::Place::Ended,
        ended_at: Some(rich::at(5000)),
        reason: Some("purchase_completed".into()),
        ..expected
    };
    let row = rows::ended_row(&rich::ended(), rich::PROFILE, rich::SLOT);
    check_row(fixture, "ended", row, Form::Exact, |bytes| {
        assert_eq!(rows::decode_participant(bytes).unwrap(), expected);
    });
}

fn check_sends(fixture: &mut Fixture) {
    for (name, send) in rich::sends() {
        let row = rows::SendRow { profile: rich::PROFILE, send };
        let [of_profile, by_time] = rows::send_rows(&row);
        let key = of_profile.key.clone();
        check_row(fixture, name, of_profile, Form::Exact, |bytes| assert_eq!(rows::decode_send(bytes).unwrap(), row));
        let time_key = by_time.key.clone();
        check_row(fixture, &format!("{name} by time"), by_time, Form::Exact, |bytes| {
            assert_eq!(rows::send_key_by_time(&time_key, bytes).unwrap(), key);
        });
    }
}

fn check_control(fixture: &mut Fixture) {
    let publish = Publish { version: CatalogVersion(7), changes: rich::changes(), by: "ada".into(), at: rich::at(0) };
    check_row(fixture, "publish", rows::publish_row(&publish), Form::Json, |bytes| {
        assert_eq!(rows::decode_publish(bytes).unwrap(), publish);
    });
    let key = rich::api_key(KeyScope::Server);
    let held = HeldKey { key, created_by: "ada".into(), revoked_at: Some(rich::at(1)) };
    check_row(fixture, "key", rows::key_row(&held), Form::Exact, |bytes| {
        assert_eq!(rows::decode_key(bytes).unwrap(), held);
    });
}

/// The second byte of a command and the first of an entry say what it is: each that is read must have a fixture.
#[test]
fn every_kind_has_a_fixture() {
    let zeros = [0; 300];
    let known = |prefix: &[u8], decode: &dyn Fn(&[u8]) -> Option<&'static str>| -> BTreeSet<u8> {
        let is_known = |tag: &u8| {
            let bytes = [prefix, &[*tag], &zeros].concat();
            decode(&bytes).is_none_or(|what| !what.starts_with("an unknown"))
        };
        (0..=u8::MAX).filter(is_known).collect()
    };
    let held = |file: &str, at: usize| -> BTreeSet<u8> {
        let records = Fixture::open(file).held;
        records.iter().filter(|(name, _)| name != "all of them").map(|(_, bytes)| bytes[at]).collect()
    };
    let of_commands = known(&[1], &|bytes| decode_command(bytes).err().map(|error| error.what));
    assert_eq!(held("commands.hex", 1), of_commands);
    let of_entries = known(&[1, 1], &|bytes| decode_trace(bytes).err().map(|error| error.what));
    assert_eq!(held("traces.hex", 2), of_entries);
    assert!(of_commands.len() >= 13 && of_entries.len() >= 35);
}
