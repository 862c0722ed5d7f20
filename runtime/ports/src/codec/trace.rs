//! Traces: the bodies of the trace file's rows.
//!
//! ```text
//! trace   format 1 · list of entries
//! entry   tag · its fields in the order of the table below
//! seen    list of (path · value)
//! ```

use super::primitive::{Error, Read, Reader, Write};
use super::value::{read_identity, read_value, write_identity, write_value};
use engine::trace::{Entry, Ignored, NoMatch, Refusal, Seen, WaitFlag};
use model::{EffectId, Identity, ParticipantId, Text, Timestamp};

const FORMAT: u8 = 1;

/// Appends the trace to `out`.
pub fn encode_trace(entries: &[Entry], out: &mut Vec<u8>) {
    out.byte(FORMAT);
    out.list(entries, write_entry);
}

/// # Errors
/// What is wrong with the bytes, and where.
pub fn decode_trace(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != FORMAT {
        return reader.fail("a trace of an unknown format");
    }
    let entries = reader.list(read_entry)?;
    reader.end()?;
    Ok(entries)
}

/// A kind of field: how it is written and read.
trait Field: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Read<Self>;
}

macro_rules! entries {
    ($($tag:literal $name:ident { $($field:ident),* })*) => {
        fn write_entry(out: &mut Vec<u8>, entry: &Entry) {
            match entry {
                $(Entry::$name { $($field),* } => {
                    out.byte($tag);
                    $(Field::write($field, out);)*
                })*
                Entry::Ignored(ignored) => {
                    out.byte(255);
                    out.byte(match ignored {
                        Ignored::StaleTimer => 0,
                        Ignored::UnknownEffect => 1,
                        Ignored::NobodyInside => 2,
                        Ignored::TooManyInteractions => 3,
                    });
                }
            }
        }

        fn read_entry(reader: &mut Reader<'_>) -> Read<Entry> {
            Ok(match reader.byte()? {
                $($tag => Entry::$name { $($field: Field::read(reader)?),* },)*
                255 => Entry::Ignored(match reader.byte()? {
                    0 => Ignored::StaleTimer,
                    1 => Ignored::UnknownEffect,
                    2 => Ignored::NobodyInside,
                    3 => Ignored::TooManyInteractions,
                    _ => return reader.fail("an unknown reason to ignore"),
                }),
                _ => return reader.fail("an unknown entry of a trace"),
            })
        }
    };
}

entries! {
    0 Received { trigger, occurred_at }
    1 Duplicate { conflict }
    2 Late { age_ms }
    3 ClockAhead { by_ms }
    4 Unmatched { trigger, nearest }
    5 TriggerNotReady { trigger }
    6 UnknownAttributes { names }
    7 ProfileCreated {}
    8 Linked { identity }
    9 IdentityConflict { identity }
    10 AttributesChanged { names }
    11 StartRefused { journey, version, refusal }
    12 Started { participant, journey, version, entry, seen }
    13 Entered { participant, step }
    14 Waiting { participant, step, until, flags }
    15 NotWaited { participant, step, why }
    16 TimedOut { participant, step }
    17 OutcomeMatched { participant, step, outcome, seen }
    18 NotMatched { participant, journey, what, why }
    19 Branched { participant, step, arm, seen }
    20 SplitInto { participant, step, arm }
    21 Updated { participant, step, names }
    22 Raised { participant, step, trigger }
    23 Failed { participant, step, why }
    24 Parked { participant, step, reason }
    25 Ended { participant, journey, step, reason, seen }
    26 GoalReached { journey, goal, seen }
    27 NotedEarly { participant, step, outcome, seen }
    28 Planned { participant, effect, step, message }
    29 Granted { effect, attempt }
    30 Blocked { effect, message, reason }
    31 Cancelled { effect, message }
    32 Settled { effect, outcome }
    33 Interaction { effect, interaction, machine }
    34 AttributesRefused { names }
    35 IdentityRefused { identity }
}

impl Field for Text {
    fn write(&self, out: &mut Vec<u8>) {
        out.text(self);
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.text()
    }
}

impl Field for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.bool(*self);
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.bool()
    }
}

impl Field for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.signed(*self);
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.signed()
    }
}

impl Field for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        out.number(u64::from(*self));
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.u32()
    }
}

impl Field for Timestamp {
    fn write(&self, out: &mut Vec<u8>) {
        out.timestamp(*self);
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.timestamp()
    }
}

impl Field for ParticipantId {
    fn write(&self, out: &mut Vec<u8>) {
        out.take(&self.0);
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.participant()
    }
}

impl Field for EffectId {
    fn write(&self, out: &mut Vec<u8>) {
        out.take(&self.0);
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.effect()
    }
}

impl Field for Identity {
    fn write(&self, out: &mut Vec<u8>) {
        write_identity(out, self);
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        read_identity(reader)
    }
}

impl Field for Option<Text> {
    fn write(&self, out: &mut Vec<u8>) {
        out.option(self.as_ref(), |out, text| out.text(text));
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.option(Reader::text)
    }
}

impl Field for Vec<Text> {
    fn write(&self, out: &mut Vec<u8>) {
        out.list(self, |out, text| out.text(text));
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.list(Reader::text)
    }
}

impl Field for Seen {
    fn write(&self, out: &mut Vec<u8>) {
        out.list(self, |out, (path, value)| {
            out.text(path);
            write_value(out, value);
        });
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.list(|reader| Ok((reader.text()?, read_value(reader)?)))
    }
}

impl Field for Vec<WaitFlag> {
    fn write(&self, out: &mut Vec<u8>) {
        out.list(self, |out, flag| match flag {
            WaitFlag::InvalidZone(zone) => {
                out.byte(0);
                out.text(zone);
            }
            WaitFlag::LocalDateTime => out.byte(1),
        });
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.list(|reader| match reader.byte()? {
            0 => reader.text().map(WaitFlag::InvalidZone),
            1 => Ok(WaitFlag::LocalDateTime),
            _ => reader.fail("an unknown flag of a wait"),
        })
    }
}

impl Field for Option<ParticipantId> {
    fn write(&self, out: &mut Vec<u8>) {
        out.option(self.as_ref(), |out, participant| participant.write(out));
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        reader.option(ParticipantId::read)
    }
}

impl Field for NoMatch {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            NoMatch::ConditionFalse { seen } => {
                out.byte(0);
                seen.write(out);
            }
            NoMatch::ConditionError { why } => {
                out.byte(1);
                out.text(why);
            }
            NoMatch::OtherBinding { started_with } => {
                out.byte(2);
                out.text(started_with);
            }
            NoMatch::Full => out.byte(3),
        }
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(match reader.byte()? {
            0 => NoMatch::ConditionFalse { seen: Field::read(reader)? },
            1 => NoMatch::ConditionError { why: reader.text()? },
            2 => NoMatch::OtherBinding { started_with: reader.text()? },
            3 => NoMatch::Full,
            _ => return reader.fail("an unknown reason not to act"),
        })
    }
}

impl Field for Refusal {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Refusal::ConditionFalse { seen } => {
                out.byte(0);
                seen.write(out);
            }
            Refusal::ConditionError { why } => {
                out.byte(1);
                out.text(why);
            }
            Refusal::BeforeWindow => out.byte(2),
            Refusal::AfterWindow => out.byte(3),
            Refusal::AlreadyOnce => out.byte(4),
            Refusal::StillInside => out.byte(5),
            Refusal::TooSoon { next_at } => {
                out.byte(6);
                out.timestamp(*next_at);
            }
            Refusal::SameBinding => out.byte(7),
            Refusal::TooManyInside => out.byte(8),
        }
    }
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        Ok(match reader.byte()? {
            0 => Refusal::ConditionFalse { seen: Field::read(reader)? },
            1 => Refusal::ConditionError { why: reader.text()? },
            2 => Refusal::BeforeWindow,
            3 => Refusal::AfterWindow,
            4 => Refusal::AlreadyOnce,
            5 => Refusal::StillInside,
            6 => Refusal::TooSoon { next_at: reader.timestamp()? },
            7 => Refusal::SameBinding,
            8 => Refusal::TooManyInside,
            _ => return reader.fail("an unknown refusal"),
        })
    }
}
