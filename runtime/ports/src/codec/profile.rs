//! The row of a profile.
//!
//! ```text
//! row      format 1 · header · body
//! header   profile id · slot · list of timers (fire_at · seq) · list of unsettled effects     what the scan at start reads
//! body     created_at · identities · conflicts · attributes · marks (bit 0 contact, bit 1 lead) · contact email? ·
//!          contact phone? · dedup keys · journeys · participants · outbox rows
//! dedup    16 bytes · payload 4 bytes LE · seen_at
//! journey  name · entries · last entered · last ended? · list of (goal · at)
//! ```
//! The header holds what must be found without reading the body, and the body does not repeat it: a participant or
//! deferred send says only that it has a timer, which is the next of the header's; the outbox has a row for each effect.
//! Participants and outbox rows: see the functions that write them; each names every field in order.

use super::primitive::{Error, Read, Reader, Write};
use super::value::{read_attributes, read_identity, write_attributes, write_identity};
use catalog::StepIndex;
use engine::Profile;
use engine::state::{
    DedupKey, DedupWindow, EarlyMatch, Holding, JourneyRecord, Marks, OutboxKind, OutboxRow, OutboxState, Participant,
    Raised, SeenEvent, SeenInteraction, SentStep, Timer,
};
use model::send::Rendered;
use model::{EffectId, KeySlot, ProfileId};
use std::sync::Arc;
use std::vec;

const FORMAT: u8 = 1;

/// What the scan at start needs of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub id: ProfileId,
    pub slot: KeySlot,
    pub timers: Vec<Timer>,
    /// Effects that are not settled.
    pub outbox: Vec<EffectId>,
}

/// Reads the header alone: at start this is done for every profile there is.
///
/// # Errors
/// What is wrong with the bytes, and where.
pub fn profile_header(bytes: &[u8]) -> Result<Header, Error> {
    read_header(&mut Reader::new(bytes))
}

fn read_header(reader: &mut Reader<'_>) -> Read<Header> {
    if reader.byte()? != FORMAT {
        return reader.fail("a profile of an unknown format");
    }
    Ok(Header {
        id: reader.profile()?,
        slot: reader.slot()?,
        timers: reader.list(read_timer)?,
        outbox: reader.list(Reader::effect)?,
    })
}

/// Appends the row to `out`.
pub fn encode_profile(profile: &Profile, out: &mut Vec<u8>) {
    let Profile {
        id,
        slot,
        created_at,
        identities,
        conflicts,
        attributes,
        marks,
        contact_email,
        contact_phone,
        dedup,
        journeys,
        participants,
        outbox,
    } = profile;
    out.byte(FORMAT);
    out.take(&id.0);
    out.number(u64::from(slot.0));
    out.number(profile.timers().count() as u64);
    profile.timers().for_each(|timer| write_timer(out, timer));
    out.list(outbox, |out, row| out.take(&row.effect.0));

    out.timestamp(*created_at);
    out.list(identities, write_identity);
    out.list(conflicts, write_identity);
    write_attributes(out, attributes);
    let Marks { contact, lead } = marks;
    out.byte(u8::from(*contact) | u8::from(*lead) << 1);
    out.option(contact_email.as_ref(), |out, email| out.text(email));
    out.option(contact_phone.as_ref(), |out, phone| out.text(phone));
    let DedupWindow { keys } = dedup;
    out.list(keys, |out, key| {
        let DedupKey { hash, payload, seen_at } = key;
        out.take(hash);
        out.take(&payload.to_le_bytes());
        out.timestamp(*seen_at);
    });
    out.list(journeys, write_journey);
    out.list(participants, write_participant);
    outbox.iter().for_each(|row| write_outbox_row(out, row));
}

/// # Errors
/// What is wrong with the bytes, and where.
pub fn decode_profile(bytes: &[u8]) -> Result<Profile, Error> {
    let mut reader = Reader::new(bytes);
    let Header { id, slot, timers, outbox: effects } = read_header(&mut reader)?;
    let mut timers = timers.into_iter();
    let profile = Profile {
        id,
        slot,
        created_at: reader.timestamp()?,
        identities: reader.list(read_identity)?,
        conflicts: reader.list(read_identity)?,
        attributes: read_attributes(&mut reader)?,
        marks: read_marks(&mut reader)?,
        contact_email: reader.option(Reader::text)?,
        contact_phone: reader.option(Reader::text)?,
        dedup: DedupWindow {
            keys: reader.list(|reader| {
                Ok(DedupKey {
                    hash: reader.array()?,
                    payload: u32::from_le_bytes(reader.array()?),
                    seen_at: reader.timestamp()?,
                })
            })?,
        },
        journeys: reader.list(read_journey)?,
        participants: reader.list(|reader| read_participant(reader, &mut timers))?,
        outbox: effects
            .into_iter()
            .map(|effect| read_outbox_row(&mut reader, effect, &mut timers))
            .collect::<Read<Vec<OutboxRow>>>()?,
    };
    if timers.next().is_some() {
        return reader.fail("the header has a timer that is nobody's");
    }
    reader.end()?;
    Ok(profile)
}

fn read_marks(reader: &mut Reader<'_>) -> Read<Marks> {
    match reader.byte()? {
        bits @ 0..=3 => Ok(Marks { contact: bits & 1 != 0, lead: bits & 2 != 0 }),
        _ => reader.fail("unknown marks"),
    }
}

fn write_timer(out: &mut Vec<u8>, timer: Timer) {
    let Timer { fire_at, seq } = timer;
    out.timestamp(fire_at);
    out.number(seq);
}

fn read_timer(reader: &mut Reader<'_>) -> Read<Timer> {
    Ok(Timer { fire_at: reader.timestamp()?, seq: reader.number()? })
}

fn next_timer(reader: &Reader<'_>, timers: &mut vec::IntoIter<Timer>) -> Read<Timer> {
    timers.next().map_or_else(|| reader.fail("a timer is not in the header"), Ok)
}

fn write_journey(out: &mut Vec<u8>, record: &JourneyRecord) {
    let JourneyRecord { journey, entries, last_entered_at, last_ended_at, goals } = record;
    out.text(journey);
    out.number(u64::from(*entries));
    out.timestamp(*last_entered_at);
    out.option(*last_ended_at, Write::timestamp);
    out.list(goals, |out, (goal, at)| {
        out.text(goal);
        out.timestamp(*at);
    });
}

fn read_journey(reader: &mut Reader<'_>) -> Read<JourneyRecord> {
    Ok(JourneyRecord {
        journey: reader.text()?,
        entries: reader.u32()?,
        last_entered_at: reader.timestamp()?,
        last_ended_at: reader.option(Reader::timestamp)?,
        goals: reader.list(|reader| Ok((reader.text()?, reader.timestamp()?)))?,
    })
}

fn write_step(out: &mut Vec<u8>, step: StepIndex) {
    out.number(u64::from(step.0));
}

fn read_step(reader: &mut Reader<'_>) -> Read<StepIndex> {
    reader.u16().map(StepIndex)
}

/// In this order: id · journey · version · entry · started_at · started_lsn · binding? · depth · event · seen ·
/// early · sends · visits · step · holding · whether it has a timer
fn write_participant(out: &mut Vec<u8>, participant: &Participant) {
    let Participant {
        id,
        journey,
        version,
        entry,
        started_at,
        started_lsn,
        binding_id,
        depth,
        event,
        seen,
        early,
        sends,
        visits,
        step,
        holding,
        timer,
    } = participant;
    out.take(&id.0);
    out.text(journey);
    out.number(u64::from(*version));
    out.number(u64::from(*entry));
    out.timestamp(*started_at);
    out.number(started_lsn.0);
    out.option(binding_id.as_ref(), |out, binding_id| out.text(binding_id));
    out.byte(*depth);
    write_attributes(out, event);
    out.list(seen, |out, seen| {
        let SeenEvent { trigger, lsn, attributes } = seen;
        out.text(trigger);
        out.number(lsn.0);
        write_attributes(out, attributes);
    });
    out.list(early, |out, early| {
        let EarlyMatch { step, outcome, lsn, depth } = early;
        write_step(out, *step);
        out.number(u64::from(*outcome));
        out.number(lsn.0);
        out.byte(*depth);
    });
    out.list(sends, write_sent);
    out.list(visits, |out, (step, count)| {
        write_step(out, *step);
        out.number(u64::from(*count));
    });
    write_step(out, *step);
    match holding {
        Holding::Wait => out.byte(0),
        Holding::WaitFor { since } => {
            out.byte(1);
            out.number(since.0);
        }
        Holding::Settle { effect } => {
            out.byte(2);
            out.take(&effect.0);
        }
        Holding::Parked { reason } => {
            out.byte(3);
            out.text(reason);
        }
    }
    out.bool(timer.is_some());
}

fn read_participant(reader: &mut Reader<'_>, timers: &mut vec::IntoIter<Timer>) -> Read<Participant> {
    Ok(Participant {
        id: reader.participant()?,
        journey: reader.text()?,
        version: reader.u32()?,
        entry: reader.u32()?,
        started_at: reader.timestamp()?,
        started_lsn: reader.lsn()?,
        binding_id: reader.option(Reader::text)?,
        depth: reader.byte()?,
        event: read_attributes(reader)?,
        seen: reader.list(|reader| {
            Ok(SeenEvent { trigger: reader.text()?, lsn: reader.lsn()?, attributes: read_attributes(reader)? })
        })?,
        early: reader.list(|reader| {
            let (step, outcome) = (read_step(reader)?, reader.u16()?);
            Ok(EarlyMatch { step, outcome, lsn: reader.lsn()?, depth: reader.byte()? })
        })?,
        sends: reader.list(read_sent)?,
        visits: reader.list(|reader| Ok((read_step(reader)?, reader.u32()?)))?,
        step: read_step(reader)?,
        holding: match reader.byte()? {
            0 => Holding::Wait,
            1 => Holding::WaitFor { since: reader.lsn()? },
            2 => Holding::Settle { effect: reader.effect()? },
            3 => Holding::Parked { reason: reader.text()? },
            _ => return reader.fail("an unknown reason to hold"),
        },
        timer: reader.option(|reader| next_timer(reader, timers))?,
    })
}

fn write_sent(out: &mut Vec<u8>, sent: &SentStep) {
    let SentStep { step, effect, interactions } = sent;
    write_step(out, *step);
    out.take(&effect.0);
    out.list(interactions, |out, seen| {
        let SeenInteraction { interaction, lsn, consumed, attributes } = seen;
        out.text(interaction);
        out.number(lsn.0);
        out.bool(*consumed);
        write_attributes(out, attributes);
    });
}

fn read_sent(reader: &mut Reader<'_>) -> Read<SentStep> {
    Ok(SentStep {
        step: read_step(reader)?,
        effect: reader.effect()?,
        interactions: reader.list(|reader| {
            Ok(SeenInteraction {
                interaction: reader.text()?,
                lsn: reader.lsn()?,
                consumed: reader.bool()?,
                attributes: read_attributes(reader)?,
            })
        })?,
    })
}

/// In this order, the effect being in the header: participant · journey · step · planned_at · kind · state · attempts ·
/// to? · unwanted?
fn write_outbox_row(out: &mut Vec<u8>, row: &OutboxRow) {
    let OutboxRow { effect: _, participant, journey, step, planned_at, kind, state, attempts, to, unwanted } = row;
    out.take(&participant.0);
    out.text(journey);
    out.text(step);
    out.timestamp(*planned_at);
    match kind {
        OutboxKind::Send(rendered) => {
            let Rendered { channel, message, address, parts } = rendered.as_ref();
            out.byte(0);
            out.text(channel);
            out.text(message);
            out.text(address);
            write_attributes(out, parts);
        }
        OutboxKind::Raise(raised) => {
            let Raised { trigger, attributes, binding_id, depth } = raised.as_ref();
            out.byte(1);
            out.text(trigger);
            write_attributes(out, attributes);
            out.option(binding_id.as_ref(), |out, binding_id| out.text(binding_id));
            out.byte(*depth);
        }
    }
    match state {
        OutboxState::Planned => out.byte(0),
        OutboxState::Claimed => out.byte(1),
        OutboxState::Deferred { timer: _ } => out.byte(2),
        OutboxState::Unknown => out.byte(3),
    }
    out.number(u64::from(*attempts));
    out.option(to.as_ref(), |out, to| out.text(to));
    out.option(unwanted.as_ref(), |out, unwanted| out.text(unwanted));
}

fn read_outbox_row(reader: &mut Reader<'_>, effect: EffectId, timers: &mut vec::IntoIter<Timer>) -> Read<OutboxRow> {
    Ok(OutboxRow {
        effect,
        participant: reader.participant()?,
        journey: reader.text()?,
        step: reader.text()?,
        planned_at: reader.timestamp()?,
        kind: match reader.byte()? {
            0 => OutboxKind::Send(Arc::new(Rendered {
                channel: reader.text()?,
                message: reader.text()?,
                address: reader.text()?,
                parts: read_attributes(reader)?,
            })),
            1 => OutboxKind::Raise(Arc::new(Raised {
                trigger: reader.text()?,
                attributes: read_attributes(reader)?,
                binding_id: reader.option(Reader::text)?,
                depth: reader.byte()?,
            })),
            _ => return reader.fail("an unknown kind of effect"),
        },
        state: match reader.byte()? {
            0 => OutboxState::Planned,
            1 => OutboxState::Claimed,
            2 => OutboxState::Deferred { timer: next_timer(reader, timers)? },
            3 => OutboxState::Unknown,
            _ => return reader.fail("an unknown state of an effect"),
        },
        attempts: reader.u32()?,
        to: reader.option(Reader::text)?,
        unwanted: reader.option(Reader::text)?,
    })
}
