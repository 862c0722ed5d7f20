//! Commands: the bodies of the log's records.
//!
//! ```text
//! command   format 1, then tag
//!   0..=6   about a profile: profile id, then by tag
//!     0 event         event · resolution · checked_with · unknown attributes · depth
//!     1 update        id? · source · identities · attributes · received_at · resolution
//!     2 interaction   effect · name · occurred_at · received_at · machine · attributes
//!     3 timer         fire_at · seq
//!     4 claim         effect · veto?
//!     5 settled       effect · settlement
//!     6 stopped       journey
//!   16 catalog changed: version     17 linked: identity hash · profile · slot     18 rejected: list of counts
//!   32 documents: list of changes · by     33 key created: key · by     34 key revoked: id · by
//! event       id? · source · trigger · identities · occurred_at · received_at · attributes · binding? · replay_as_live
//! resolution  created · list of identities
//! settlement  0 accepted: provider id? · 1 rejected: reason · 2 deferred: reason · ms? · 3 unknown: reason ·
//!             4 not tried: reason · ms?
//! change      0 put: the document as JSON text · 1 remove: kind · name
//! key         id · name · scope 0 browser 1 server 2 admin · 32 bytes · created_at
//! ```

use super::primitive::{Error, Read, Reader, Write};
use super::value::{read_attributes, read_identity, write_attributes, write_identity};
use engine::command::{
    ApiKey, Command, ControlCommand, DocumentChange, EventOccurred, InteractionOccurred, KeyScope, PartitionCommand,
    ProfileCommand, ProfileUpdated, RejectedCount, Resolution,
};
use model::document::{DocumentId, Kind};
use model::send::Settlement;
use model::{CatalogVersion, Document, Event, Name};

const FORMAT: u8 = 1;

/// Appends the command to `out`.
pub fn encode_command(command: &Command, out: &mut Vec<u8>) {
    out.byte(FORMAT);
    match command {
        Command::Profile { profile, command } => {
            out.byte(profile_tag(command));
            out.take(&profile.0);
            write_profile_command(out, command);
        }
        Command::Partition(command) => write_partition_command(out, command),
        Command::Control(command) => write_control_command(out, command),
    }
}

/// # Errors
/// What is wrong with the bytes, and where.
pub fn decode_command(bytes: &[u8]) -> Result<Command, Error> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != FORMAT {
        return reader.fail("a command of an unknown format");
    }
    let tag = reader.byte()?;
    let command = match tag {
        0..=6 => {
            let profile = reader.profile()?;
            Command::Profile { profile, command: read_profile_command(&mut reader, tag)? }
        }
        16..=18 => Command::Partition(read_partition_command(&mut reader, tag)?),
        32..=34 => Command::Control(read_control_command(&mut reader, tag)?),
        _ => return reader.fail("an unknown kind of command"),
    };
    reader.end()?;
    Ok(command)
}

fn profile_tag(command: &ProfileCommand) -> u8 {
    match command {
        ProfileCommand::Event(_) => 0,
        ProfileCommand::Update(_) => 1,
        ProfileCommand::Interaction(_) => 2,
        ProfileCommand::TimerFired { .. } => 3,
        ProfileCommand::Claim { .. } => 4,
        ProfileCommand::Settled { .. } => 5,
        ProfileCommand::JourneyStopped { .. } => 6,
    }
}

fn write_profile_command(out: &mut Vec<u8>, command: &ProfileCommand) {
    match command {
        ProfileCommand::Event(occurred) => {
            let EventOccurred { event, resolution, checked_with, unknown_attributes, depth } = occurred.as_ref();
            write_event(out, event);
            write_resolution(out, resolution);
            out.number(checked_with.0);
            out.list(unknown_attributes, |out, name| out.text(name));
            out.byte(*depth);
        }
        ProfileCommand::Update(updated) => {
            let ProfileUpdated { id, source, identities, attributes, received_at, resolution } = updated.as_ref();
            out.option(id.as_ref(), |out, id| out.text(id));
            out.text(source);
            out.list(identities, write_identity);
            write_attributes(out, attributes);
            out.timestamp(*received_at);
            write_resolution(out, resolution);
        }
        ProfileCommand::Interaction(occurred) => {
            let InteractionOccurred { effect, interaction, occurred_at, received_at, machine, attributes } =
                occurred.as_ref();
            out.take(&effect.0);
            out.text(interaction);
            out.timestamp(*occurred_at);
            out.timestamp(*received_at);
            out.bool(*machine);
            write_attributes(out, attributes);
        }
        ProfileCommand::TimerFired { fire_at, seq } => {
            out.timestamp(*fire_at);
            out.number(*seq);
        }
        ProfileCommand::Claim { effect, veto } => {
            out.take(&effect.0);
            out.option(veto.as_ref(), |out, veto| out.text(veto));
        }
        ProfileCommand::Settled { effect, settlement } => {
            out.take(&effect.0);
            write_settlement(out, settlement);
        }
        ProfileCommand::JourneyStopped { journey } => out.text(journey),
    }
}

fn read_profile_command(reader: &mut Reader<'_>, tag: u8) -> Read<ProfileCommand> {
    Ok(match tag {
        0 => ProfileCommand::Event(Box::new(EventOccurred {
            event: read_event(reader)?,
            resolution: read_resolution(reader)?,
            checked_with: CatalogVersion(reader.number()?),
            unknown_attributes: reader.list(Reader::text)?,
            depth: reader.byte()?,
        })),
        1 => ProfileCommand::Update(Box::new(ProfileUpdated {
            id: reader.option(Reader::text)?,
            source: reader.text()?,
            identities: reader.list(read_identity)?,
            attributes: read_attributes(reader)?,
            received_at: reader.timestamp()?,
            resolution: read_resolution(reader)?,
        })),
        2 => ProfileCommand::Interaction(Box::new(InteractionOccurred {
            effect: reader.effect()?,
            interaction: reader.text()?,
            occurred_at: reader.timestamp()?,
            received_at: reader.timestamp()?,
            machine: reader.bool()?,
            attributes: read_attributes(reader)?,
        })),
        3 => ProfileCommand::TimerFired { fire_at: reader.timestamp()?, seq: reader.number()? },
        4 => ProfileCommand::Claim { effect: reader.effect()?, veto: reader.option(Reader::text)? },
        5 => ProfileCommand::Settled { effect: reader.effect()?, settlement: read_settlement(reader)? },
        6 => ProfileCommand::JourneyStopped { journey: reader.text()? },
        _ => return reader.fail("an unknown command about a profile"),
    })
}

fn write_event(out: &mut Vec<u8>, event: &Event) {
    let Event { id, source, trigger, identities, occurred_at, received_at, attributes, binding_id, replay_as_live } =
        event;
    out.option(id.as_ref(), |out, id| out.text(id));
    out.text(source);
    out.text(trigger);
    out.list(identities, write_identity);
    out.timestamp(*occurred_at);
    out.timestamp(*received_at);
    write_attributes(out, attributes);
    out.option(binding_id.as_ref(), |out, binding_id| out.text(binding_id));
    out.bool(*replay_as_live);
}

fn read_event(reader: &mut Reader<'_>) -> Read<Event> {
    Ok(Event {
        id: reader.option(Reader::text)?,
        source: reader.text()?,
        trigger: reader.text()?,
        identities: reader.list(read_identity)?,
        occurred_at: reader.timestamp()?,
        received_at: reader.timestamp()?,
        attributes: read_attributes(reader)?,
        binding_id: reader.option(Reader::text)?,
        replay_as_live: reader.bool()?,
    })
}

fn write_resolution(out: &mut Vec<u8>, resolution: &Resolution) {
    let Resolution { created, conflicts } = resolution;
    out.bool(*created);
    out.list(conflicts, write_identity);
}

fn read_resolution(reader: &mut Reader<'_>) -> Read<Resolution> {
    Ok(Resolution { created: reader.bool()?, conflicts: reader.list(read_identity)? })
}

fn write_settlement(out: &mut Vec<u8>, settlement: &Settlement) {
    match settlement {
        Settlement::Accepted { provider_id } => {
            out.byte(0);
            out.option(provider_id.as_ref(), |out, id| out.text(id));
        }
        Settlement::Rejected { reason } => {
            out.byte(1);
            out.text(reason);
        }
        Settlement::Deferred { reason, retry_after_ms } => {
            out.byte(2);
            out.text(reason);
            out.option(*retry_after_ms, Write::number);
        }
        Settlement::Unknown { reason } => {
            out.byte(3);
            out.text(reason);
        }
        Settlement::NotTried { reason, retry_after_ms } => {
            out.byte(4);
            out.text(reason);
            out.option(*retry_after_ms, Write::number);
        }
    }
}

fn read_settlement(reader: &mut Reader<'_>) -> Read<Settlement> {
    Ok(match reader.byte()? {
        0 => Settlement::Accepted { provider_id: reader.option(Reader::text)? },
        1 => Settlement::Rejected { reason: reader.text()? },
        2 => Settlement::Deferred { reason: reader.text()?, retry_after_ms: reader.option(Reader::number)? },
        3 => Settlement::Unknown { reason: reader.text()? },
        4 => Settlement::NotTried { reason: reader.text()?, retry_after_ms: reader.option(Reader::number)? },
        _ => return reader.fail("an unknown settlement"),
    })
}

fn write_partition_command(out: &mut Vec<u8>, command: &PartitionCommand) {
    match command {
        PartitionCommand::CatalogChanged { version } => {
            out.byte(16);
            out.number(version.0);
        }
        PartitionCommand::Linked { identity, profile, slot } => {
            out.byte(17);
            out.take(identity);
            out.take(&profile.0);
            out.number(u64::from(slot.0));
        }
        PartitionCommand::Rejected { counts } => {
            out.byte(18);
            out.list(counts, |out, rejected| {
                let RejectedCount { trigger, reason, received_at, count } = rejected;
                out.text(trigger);
                out.text(reason);
                out.timestamp(*received_at);
                out.number(u64::from(*count));
            });
        }
    }
}

fn read_partition_command(reader: &mut Reader<'_>, tag: u8) -> Read<PartitionCommand> {
    Ok(match tag {
        16 => PartitionCommand::CatalogChanged { version: CatalogVersion(reader.number()?) },
        17 => PartitionCommand::Linked { identity: reader.array()?, profile: reader.profile()?, slot: reader.slot()? },
        18 => PartitionCommand::Rejected {
            counts: reader.list(|reader| {
                Ok(RejectedCount {
                    trigger: reader.text()?,
                    reason: reader.text()?,
                    received_at: reader.timestamp()?,
                    count: reader.u32()?,
                })
            })?,
        },
        _ => return reader.fail("an unknown command about a partition"),
    })
}

fn write_control_command(out: &mut Vec<u8>, command: &ControlCommand) {
    match command {
        ControlCommand::DocumentsChanged { changes, by } => {
            out.byte(32);
            out.list(changes, write_change);
            out.text(by);
        }
        ControlCommand::KeyCreated { key, by } => {
            out.byte(33);
            write_key(out, key);
            out.text(by);
        }
        ControlCommand::KeyRevoked { id, by } => {
            out.byte(34);
            out.text(id);
            out.text(by);
        }
    }
}

fn read_control_command(reader: &mut Reader<'_>, tag: u8) -> Read<ControlCommand> {
    Ok(match tag {
        32 => ControlCommand::DocumentsChanged { changes: reader.list(read_change)?, by: reader.text()? },
        33 => ControlCommand::KeyCreated { key: read_key(reader)?, by: reader.text()? },
        34 => ControlCommand::KeyRevoked { id: reader.text()?, by: reader.text()? },
        _ => return reader.fail("an unknown control command"),
    })
}

pub(crate) fn write_change(out: &mut Vec<u8>, change: &DocumentChange) {
    match change {
        DocumentChange::Put(document) => {
            out.byte(0);
            out.text(&document.to_json().to_string());
        }
        DocumentChange::Remove(DocumentId { kind, name }) => {
            out.byte(1);
            out.text(kind.as_str());
            out.text(name);
        }
    }
}

pub(crate) fn read_change(reader: &mut Reader<'_>) -> Read<DocumentChange> {
    match reader.byte()? {
        0 => {
            let json = serde_json::from_str(reader.str()?).or_else(|_| reader.fail("a document is not JSON"))?;
            match Document::from_json(json) {
                Ok(document) => Ok(DocumentChange::Put(document)),
                Err(_) => reader.fail("a document cannot be read"),
            }
        }
        1 => {
            let Some(kind) = Kind::parse(reader.str()?) else { return reader.fail("an unknown kind of document") };
            let Ok(name) = Name::new(reader.str()?) else { return reader.fail("a document's name is none") };
            Ok(DocumentChange::Remove(DocumentId { kind, name }))
        }
        _ => reader.fail("an unknown change of a document"),
    }
}

pub(crate) fn write_key(out: &mut Vec<u8>, key: &ApiKey) {
    let ApiKey { id, name, scope, secret_sha256, created_at } = key;
    out.text(id);
    out.text(name);
    out.byte(match scope {
        KeyScope::Browser => 0,
        KeyScope::Server => 1,
        KeyScope::Admin => 2,
    });
    out.take(secret_sha256);
    out.timestamp(*created_at);
}

pub(crate) fn read_key(reader: &mut Reader<'_>) -> Read<ApiKey> {
    Ok(ApiKey {
        id: reader.text()?,
        name: reader.text()?,
        scope: match reader.byte()? {
            0 => KeyScope::Browser,
            1 => KeyScope::Server,
            2 => KeyScope::Admin,
            _ => return reader.fail("an unknown scope of a key"),
        },
        secret_sha256: reader.array()?,
        created_at: reader.timestamp()?,
    })
}
