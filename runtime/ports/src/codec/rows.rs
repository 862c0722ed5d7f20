//! The rows of the state store: their keys, drawn, and their values.
//!
//! ```text
//! keyspace      key                                                          value
//! meta          "installation"                                               format · InstallationRow
//!               "partition" u16                                              format · PartitionRow
//! subjects      partition u16 · kind u8 · subject 16                         kind 1: the profile (codec::profile)
//! identities    keyed hash 16                                                profile 16 · slot
//! participants  journey 00 · place u8 · step 00 · participant 16             format · ParticipantRow
//! sends         'p' · profile 16 · planned_at u64 · effect 16                format · SendRow
//!               't' · (u64::MAX − planned_at) · effect 16                    profile 16: the newest first over all
//! books         trigger 00 · minute u32 · partition u16                      format · BookRow
//! control       'h' · version u64                                            format · Publish
//!               'k' · key id                                                 format · HeldKey
//! ```
//! Numbers in keys are big-endian, so that their order is the keys'. Journeys, steps and triggers known to the catalog
//! hold no byte 00; the name of an unknown trigger, which a sender chose, is cut at one.
//!
//! A subject is what a partition holds state of. Kind 2 is kept free for addresses (`channel:address`, S1): their caps
//! and suppression come with those rules, beside the profiles of the partition and not between them.

use super::command::{read_change, read_key, write_change, write_key};
use super::primitive::{Error, Read, Reader, Write};
use crate::{Keyspace, Row};
use engine::Profile;
use engine::control::{HeldKey, Publish};
use engine::state::{Holding, Participant};
use engine::transition::{Ended, SendChanged, SendState};
use model::{CatalogVersion, EffectId, KeySlot, Lsn, ParticipantId, PartitionId, ProfileId, Text, Timestamp};

const FORMAT: u8 = 1;

fn versioned(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![FORMAT];
    write(&mut out);
    out
}

fn read_versioned<T>(bytes: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Read<T>) -> Result<T, Error> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != FORMAT {
        return reader.fail("a row of an unknown format");
    }
    let row = read(&mut reader)?;
    reader.end()?;
    Ok(row)
}

// ---- meta ----

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstallationRow {
    pub partitions: u16,
    /// The rules under which the log behind `checkpointed` was applied.
    pub rules_version: u32,
    /// The last checkpoint holds what the control partition did up to here, and all running ones with it.
    pub checkpointed: Lsn,
}

pub fn installation_key() -> Vec<u8> {
    b"installation".to_vec()
}

pub fn installation_row(row: &InstallationRow) -> Row {
    let InstallationRow { partitions, rules_version, checkpointed } = row;
    let value = versioned(|out| {
        out.number(u64::from(*partitions));
        out.number(u64::from(*rules_version));
        out.number(checkpointed.0);
    });
    Row { keyspace: Keyspace::Meta, key: installation_key(), value: Some(value) }
}

/// # Errors
/// What is wrong with the bytes.
pub fn decode_installation(bytes: &[u8]) -> Result<InstallationRow, Error> {
    read_versioned(bytes, |reader| {
        Ok(InstallationRow { partitions: reader.u16()?, rules_version: reader.u32()?, checkpointed: reader.lsn()? })
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRow {
    /// The checkpoint holds everything up to here.
    pub applied_lsn: Lsn,
    pub now: Timestamp,
    pub catalog_version: CatalogVersion,
    /// The record that broke an invariant, and how. Lsn 0: it was no record, but a row that cannot be read.
    pub poisoned: Option<(Lsn, Text)>,
    /// Records behind `applied_lsn` that an operator said to pass over.
    pub skipped: Vec<Lsn>,
    /// Ids remembered for deduplication, by the hour since the epoch in which they came (E3).
    pub dedup_hours: Vec<(u32, u64)>,
}

pub fn partition_key(id: PartitionId) -> Vec<u8> {
    [b"partition".as_slice(), &id.0.to_be_bytes()].concat()
}

pub fn partition_row(id: PartitionId, row: &PartitionRow) -> Row {
    let PartitionRow { applied_lsn, now, catalog_version, poisoned, skipped, dedup_hours } = row;
    let value = versioned(|out| {
        out.number(applied_lsn.0);
        out.timestamp(*now);
        out.number(catalog_version.0);
        out.option(poisoned.as_ref(), |out, (lsn, why)| {
            out.number(lsn.0);
            out.text(why);
        });
        out.list(skipped, |out, lsn| out.number(lsn.0));
        out.list(dedup_hours, |out, (hour, keys)| {
            out.number(u64::from(*hour));
            out.number(*keys);
        });
    });
    Row { keyspace: Keyspace::Meta, key: partition_key(id), value: Some(value) }
}

/// # Errors
/// What is wrong with the bytes.
pub fn decode_partition(bytes: &[u8]) -> Result<PartitionRow, Error> {
    read_versioned(bytes, |reader| {
        Ok(PartitionRow {
            applied_lsn: reader.lsn()?,
            now: reader.timestamp()?,
            catalog_version: CatalogVersion(reader.number()?),
            poisoned: reader.option(|reader| Ok((reader.lsn()?, reader.text()?)))?,
            skipped: reader.list(Reader::lsn)?,
            dedup_hours: reader.list(|reader| Ok((reader.u32()?, reader.number()?)))?,
        })
    })
}

// ---- subjects and identities ----

const KIND_PROFILE: u8 = 1;

/// Of all profiles of a partition.
pub fn profiles_prefix(partition: PartitionId) -> [u8; 3] {
    let [high, low] = partition.0.to_be_bytes();
    [high, low, KIND_PROFILE]
}

pub fn profile_key(partition: PartitionId, profile: ProfileId) -> [u8; 19] {
    let mut key = [0; 19];
    key[..3].copy_from_slice(&profiles_prefix(partition));
    key[3..].copy_from_slice(&profile.0);
    key
}

pub fn identity_row(identity: [u8; 16], profile: ProfileId, slot: KeySlot) -> Row {
    let mut value = profile.0.to_vec();
    value.number(u64::from(slot.0));
    Row { keyspace: Keyspace::Identities, key: identity.to_vec(), value: Some(value) }
}

/// # Errors
/// What is wrong with the bytes.
pub fn decode_identity(bytes: &[u8]) -> Result<(ProfileId, KeySlot), Error> {
    let mut reader = Reader::new(bytes);
    let linked = (reader.profile()?, reader.slot()?);
    reader.end()?;
    Ok(linked)
}

// ---- participants ----

/// Where a participant is, as lists filter it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Inside = 0,
    Parked = 1,
    Ended = 2,
}

impl Place {
    pub const ALL: [Place; 3] = [Place::Inside, Place::Parked, Place::Ended];

    pub fn inside(parked: bool) -> Self {
        if parked { Place::Parked } else { Place::Inside }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Place::Inside => "inside",
            Place::Parked => "parked",
            Place::Ended => "ended",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Place::ALL.into_iter().find(|place| place.as_str() == text)
    }
}

/// A participant in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ParticipantRow {
    pub id: ParticipantId,
    pub profile: ProfileId,
    pub slot: KeySlot,
    pub place: Place,
    pub version: u32,
    pub entry: u32,
    pub step: Text,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Until when it waits.
    pub until: Option<Timestamp>,
    /// Of the end, or why it is parked.
    pub reason: Option<Text>,
}

pub fn participant_key(journey: &str, place: Place, step: &str, participant: ParticipantId) -> Vec<u8> {
    [participant_prefix(journey, Some(place), Some(step)).as_slice(), &participant.0].concat()
}

/// Of all participants of a journey, or of those at a place, or at a step there.
pub fn participant_prefix(journey: &str, place: Option<Place>, step: Option<&str>) -> Vec<u8> {
    let mut prefix = [journey.as_bytes(), &[0]].concat();
    let Some(place) = place else { return prefix };
    prefix.push(place as u8);
    if let Some(step) = step {
        prefix.extend_from_slice(step.as_bytes());
        prefix.push(0);
    }
    prefix
}

pub fn inside_row(profile: &Profile, participant: &Participant, step: &Text) -> Row {
    let (place, reason) = match &participant.holding {
        Holding::Parked { reason } => (Place::Parked, Some(reason.clone())),
        Holding::Wait | Holding::WaitFor { .. } | Holding::Settle { .. } => (Place::Inside, None),
    };
    let row = ParticipantRow {
        id: participant.id,
        profile: profile.id,
        slot: profile.slot,
        place,
        version: participant.version,
        entry: participant.entry,
        step: step.clone(),
        started_at: participant.started_at,
        ended_at: None,
        until: participant.timer.map(|timer| timer.fire_at),
        reason,
    };
    participant_row(&participant.journey, &row)
}

pub fn ended_row(ended: &Ended, profile: ProfileId, slot: KeySlot) -> Row {
    let Ended { participant, journey, version, entry, started_at, ended_at, step, reason } = ended;
    let row = ParticipantRow {
        id: *participant,
        profile,
        slot,
        place: Place::Ended,
        version: *version,
        entry: *entry,
        step: step.clone(),
        started_at: *started_at,
        ended_at: Some(*ended_at),
        until: None,
        reason: Some(reason.clone()),
    };
    participant_row(journey, &row)
}

/// NOTE: id, place and step are in the key and again in the value: a list is read without taking keys apart.
fn participant_row(journey: &str, row: &ParticipantRow) -> Row {
    let ParticipantRow { id, profile, slot, place, version, entry, step, started_at, ended_at, until, reason } = row;
    let value = versioned(|out| {
        out.take(&id.0);
        out.take(&profile.0);
        out.number(u64::from(slot.0));
        out.byte(*place as u8);
        out.number(u64::from(*version));
        out.number(u64::from(*entry));
        out.text(step);
        out.timestamp(*started_at);
        out.option(*ended_at, Write::timestamp);
        out.option(*until, Write::timestamp);
        out.option(reason.as_ref(), |out, reason| out.text(reason));
    });
    let key = participant_key(journey, *place, step, *id);
    Row { keyspace: Keyspace::Participants, key, value: Some(value) }
}

/// # Errors
/// What is wrong with the bytes.
pub fn decode_participant(bytes: &[u8]) -> Result<ParticipantRow, Error> {
    read_versioned(bytes, |reader| {
        Ok(ParticipantRow {
            id: reader.participant()?,
            profile: reader.profile()?,
            slot: reader.slot()?,
            place: match reader.byte()? {
                0 => Place::Inside,
                1 => Place::Parked,
                2 => Place::Ended,
                _ => return reader.fail("an unknown place"),
            },
            version: reader.u32()?,
            entry: reader.u32()?,
            step: reader.text()?,
            started_at: reader.timestamp()?,
            ended_at: reader.option(Reader::timestamp)?,
            until: reader.option(Reader::timestamp)?,
            reason: reader.option(Reader::text)?,
        })
    })
}

// ---- sends ----

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct SendRow {
    pub profile: ProfileId,
    pub send: SendChanged,
}

/// A stamp as bytes that sort like it.
fn ordered(at: Timestamp) -> u64 {
    u64::try_from(at.as_ms()).expect("INVARIANT: no record is stamped before the epoch")
}

pub fn sends_of_profile_prefix(profile: ProfileId) -> Vec<u8> {
    [b"p".as_slice(), &profile.0].concat()
}

/// Of the rows that list all sends, the newest first.
pub const SENDS_BY_TIME_PREFIX: &[u8] = b"t";

pub fn send_key(profile: ProfileId, planned_at: Timestamp, effect: EffectId) -> Vec<u8> {
    [sends_of_profile_prefix(profile).as_slice(), &ordered(planned_at).to_be_bytes(), &effect.0].concat()
}

/// From a key and value below [`SENDS_BY_TIME_PREFIX`] to the key of the send.
///
/// # Errors
/// What is wrong with the bytes.
pub fn send_key_by_time(key: &[u8], value: &[u8]) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::new(key);
    if reader.take(SENDS_BY_TIME_PREFIX.len())? != SENDS_BY_TIME_PREFIX {
        return reader.fail("a key that lists no send by time");
    }
    let planned_at = u64::MAX - u64::from_be_bytes(reader.array()?);
    let effect = reader.effect()?;
    reader.end()?;
    let mut reader = Reader::new(value);
    let profile = reader.profile()?;
    reader.end()?;
    Ok([sends_of_profile_prefix(profile).as_slice(), &planned_at.to_be_bytes(), &effect.0].concat())
}

pub fn send_rows(row: &SendRow) -> [Row; 2] {
    let SendRow { profile, send } = row;
    let SendChanged {
        effect,
        participant,
        journey,
        step,
        channel,
        message,
        address,
        planned_at,
        changed_at,
        attempts,
        state,
    } = send;
    let value = versioned(|out| {
        out.take(&profile.0);
        out.take(&effect.0);
        out.take(&participant.0);
        for text in [journey, step, channel, message, address] {
            out.text(text);
        }
        out.timestamp(*planned_at);
        out.timestamp(*changed_at);
        out.number(u64::from(*attempts));
        write_send_state(out, state);
    });
    let by_time = [SENDS_BY_TIME_PREFIX, &(u64::MAX - ordered(*planned_at)).to_be_bytes(), &effect.0].concat();
    [
        Row { keyspace: Keyspace::Sends, key: send_key(*profile, *planned_at, *effect), value: Some(value) },
        Row { keyspace: Keyspace::Sends, key: by_time, value: Some(profile.0.to_vec()) },
    ]
}

fn write_send_state(out: &mut Vec<u8>, state: &SendState) {
    match state {
        SendState::Planned => out.byte(0),
        SendState::HandedOff => out.byte(1),
        SendState::Accepted { provider_id } => {
            out.byte(2);
            out.option(provider_id.as_ref(), |out, id| out.text(id));
        }
        SendState::Rejected { reason } => {
            out.byte(3);
            out.text(reason);
        }
        SendState::Deferred { reason, until } => {
            out.byte(4);
            out.text(reason);
            out.timestamp(*until);
        }
        SendState::Unknown { reason } => {
            out.byte(5);
            out.text(reason);
        }
        SendState::Blocked { reason } => {
            out.byte(6);
            out.text(reason);
        }
        SendState::Cancelled { reason } => {
            out.byte(7);
            out.text(reason);
        }
    }
}

/// # Errors
/// What is wrong with the bytes.
pub fn decode_send(bytes: &[u8]) -> Result<SendRow, Error> {
    read_versioned(bytes, |reader| {
        Ok(SendRow {
            profile: reader.profile()?,
            send: SendChanged {
                effect: reader.effect()?,
                participant: reader.participant()?,
                journey: reader.text()?,
                step: reader.text()?,
                channel: reader.text()?,
                message: reader.text()?,
                address: reader.text()?,
                planned_at: reader.timestamp()?,
                changed_at: reader.timestamp()?,
                attempts: reader.u32()?,
                state: match reader.byte()? {
                    0 => SendState::Planned,
                    1 => SendState::HandedOff,
                    2 => SendState::Accepted { provider_id: reader.option(Reader::text)? },
                    3 => SendState::Rejected { reason: reader.text()? },
                    4 => SendState::Deferred { reason: reader.text()?, until: reader.timestamp()? },
                    5 => SendState::Unknown { reason: reader.text()? },
                    6 => SendState::Blocked { reason: reader.text()? },
                    7 => SendState::Cancelled { reason: reader.text()? },
                    _ => return reader.fail("an unknown state of a send"),
                },
            },
        })
    })
}

// ---- books ----

/// How the events of one trigger counted in one minute (E4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookRow {
    pub matched: u64,
    pub unmatched: u64,
    pub late: u64,
    pub duplicate: u64,
    /// Of the duplicates, those whose payload differed from the first (trap T05).
    pub conflicts: u64,
    /// By reason, sorted.
    pub rejected: Vec<(Text, u64)>,
}

impl BookRow {
    pub fn accepted(&self) -> u64 {
        self.matched + self.unmatched + self.late
    }

    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().map(|(_, count)| count).sum()
    }

    pub fn received(&self) -> u64 {
        self.accepted() + self.duplicate + self.rejected_total()
    }

    pub fn reject(&mut self, reason: &Text, count: u64) {
        match self.rejected.binary_search_by(|(held, _)| held.cmp(reason)) {
            Ok(at) => self.rejected[at].1 += count,
            Err(at) => self.rejected.insert(at, (reason.clone(), count)),
        }
    }

    pub fn add(&mut self, other: &BookRow) {
        let BookRow { matched, unmatched, late, duplicate, conflicts, rejected } = other;
        self.matched += matched;
        self.unmatched += unmatched;
        self.late += late;
        self.duplicate += duplicate;
        self.conflicts += conflicts;
        rejected.iter().for_each(|(reason, count)| self.reject(reason, *count));
    }
}

/// Of all minutes of a trigger.
pub fn book_prefix(trigger: &str) -> Vec<u8> {
    let name = trigger.as_bytes().split(|byte| *byte == 0).next().unwrap_or_default();
    [name, &[0]].concat()
}

pub fn book_key(trigger: &str, minute: u32, partition: PartitionId) -> Vec<u8> {
    [book_prefix(trigger).as_slice(), &minute.to_be_bytes(), &partition.0.to_be_bytes()].concat()
}

/// The trigger and minute of a key.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_book_key(key: &[u8]) -> Result<(Text, u32), Error> {
    let mut reader = Reader::new(key);
    let Some(end) = key.iter().position(|byte| *byte == 0) else {
        return reader.fail("a key without an end of its name");
    };
    let name = reader.take(end)?;
    let trigger = std::str::from_utf8(name).or_else(|_| reader.fail("a name that is not UTF-8"))?;
    reader.byte()?;
    Ok((trigger.into(), u32::from_be_bytes(reader.array()?)))
}

pub fn encode_book(row: &BookRow) -> Vec<u8> {
    let BookRow { matched, unmatched, late, duplicate, conflicts, rejected } = row;
    versioned(|out| {
        for count in [matched, unmatched, late, duplicate, conflicts] {
            out.number(*count);
        }
        out.list(rejected, |out, (reason, count)| {
            out.text(reason);
            out.number(*count);
        });
    })
}

/// # Errors
/// What is wrong with the bytes.
pub fn decode_book(bytes: &[u8]) -> Result<BookRow, Error> {
    read_versioned(bytes, |reader| {
        Ok(BookRow {
            matched: reader.number()?,
            unmatched: reader.number()?,
            late: reader.number()?,
            duplicate: reader.number()?,
            conflicts: reader.number()?,
            rejected: reader.list(|reader| Ok((reader.text()?, reader.number()?)))?,
        })
    })
}

// ---- control ----

pub const PUBLISH_PREFIX: &[u8] = b"h";
pub const KEY_PREFIX: &[u8] = b"k";

pub fn publish_row(publish: &Publish) -> Row {
    let Publish { version, changes, by, at } = publish;
    let value = versioned(|out| {
        out.number(version.0);
        out.list(changes, write_change);
        out.text(by);
        out.timestamp(*at);
    });
    let key = [PUBLISH_PREFIX, &version.0.to_be_bytes()].concat();
    Row { keyspace: Keyspace::Control, key, value: Some(value) }
}

/// # Errors
/// What is wrong with the bytes.
pub fn decode_publish(bytes: &[u8]) -> Result<Publish, Error> {
    read_versioned(bytes, |reader| {
        Ok(Publish {
            version: CatalogVersion(reader.number()?),
            changes: reader.list(read_change)?,
            by: reader.text()?,
            at: reader.timestamp()?,
        })
    })
}

pub fn key_row(held: &HeldKey) -> Row {
    let HeldKey { key, created_by, revoked_at } = held;
    let value = versioned(|out| {
        write_key(out, key);
        out.text(created_by);
        out.option(*revoked_at, Write::timestamp);
    });
    Row { keyspace: Keyspace::Control, key: [KEY_PREFIX, key.id.as_bytes()].concat(), value: Some(value) }
}

/// # Errors
/// What is wrong with the bytes.
pub fn decode_key(bytes: &[u8]) -> Result<HeldKey, Error> {
    read_versioned(bytes, |reader| {
        Ok(HeldKey {
            key: read_key(reader)?,
            created_by: reader.text()?,
            revoked_at: reader.option(Reader::timestamp)?,
        })
    })
}
