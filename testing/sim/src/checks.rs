//! What must hold, whatever happened.

use engine::command::{Command, ProfileCommand};
use engine::trace::Entry;
use model::send::Rendered;
use model::{EffectId, Text};
use ports::codec;
use ports::log::Body;
use ports::memory::Disk;
use ports::{Keyspace, rows};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn violated<T>(what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(what.into()))
}

/// The commands that are durable now.
pub(crate) fn durable(disk: &Disk) -> Vec<Command> {
    let entries = disk.durable_entries().into_iter().filter_map(|entry| match entry.body {
        Body::Command(body) => Some(body),
        Body::Erased => None,
    });
    entries.map(|body| codec::decode_command(&body).expect("INVARIANT: what was encoded decodes")).collect()
}

/// Ids of the events that are durable.
pub(crate) fn event_ids(commands: &[Command]) -> BTreeSet<Text> {
    let events = commands.iter().filter_map(|command| match command {
        Command::Profile { command: ProfileCommand::Event(occurred), .. } => occurred.event.id.clone(),
        Command::Profile { .. } | Command::Partition(_) | Command::Control(_) => None,
    });
    events.collect()
}

/// No effect leaves before the claim that grants it is durable.
pub(crate) fn claim_is_durable(disk: &Disk, effect: EffectId) -> Result<(), Violation> {
    let claimed = durable(disk).iter().any(|command| {
        matches!(command, Command::Profile { command: ProfileCommand::Claim { effect: claimed, .. }, .. } if *claimed == effect)
    });
    if claimed { Ok(()) } else { violated(format!("{effect} left before its claim was durable")) }
}

/// The same effect id never carries two different bodies.
pub(crate) fn same_body(
    bodies: &mut BTreeMap<EffectId, Arc<Rendered>>,
    effect: EffectId,
    rendered: &Arc<Rendered>,
) -> Result<(), Violation> {
    let held = bodies.entry(effect).or_insert_with(|| Arc::clone(rendered));
    if held == rendered { Ok(()) } else { violated(format!("{effect} carries two different bodies")) }
}

/// Every event was applied once: of the records with one id all but one are duplicates.
pub(crate) fn applied_once(disk: &Disk) -> Result<(), Violation> {
    let commands = disk.durable_entries();
    let mut ids: BTreeMap<u64, Text> = BTreeMap::new();
    for entry in &commands {
        let Body::Command(body) = &entry.body else { continue };
        let command = codec::decode_command(body).expect("INVARIANT: what was encoded decodes");
        if let Command::Profile { command: ProfileCommand::Event(occurred), .. } = command {
            ids.extend(occurred.event.id.map(|id| (entry.lsn.0, id)));
        }
    }
    let mut firsts: BTreeMap<Text, u32> = BTreeMap::new();
    for (lsn, _, entries) in disk.traces() {
        let Some(id) = ids.get(&lsn.0) else { continue };
        let duplicate = entries.iter().any(|entry| matches!(entry, Entry::Duplicate { .. }));
        *firsts.entry(id.clone()).or_default() += u32::from(!duplicate);
    }
    match firsts.iter().find(|(_, count)| **count != 1) {
        Some((id, count)) => violated(format!("event {id} was applied {count} times")),
        None => Ok(()),
    }
}

/// A participant leaves a wait by time at most once at a time, and ends once.
pub(crate) fn ends_once(disk: &Disk) -> Result<(), Violation> {
    let mut ended = BTreeSet::new();
    for (_, _, entries) in disk.traces() {
        for entry in entries {
            if let Entry::Ended { participant, .. } = entry
                && !ended.insert(participant)
            {
                return violated(format!("{participant} ended twice"));
            }
        }
    }
    Ok(())
}

/// The books count every event record once (E4).
pub(crate) fn books_balance(disk: &Disk) -> Result<(), Violation> {
    let counts = |command: &Command| {
        matches!(command, Command::Profile { command: ProfileCommand::Event(_) | ProfileCommand::Interaction(_), .. })
    };
    let records = durable(disk).iter().filter(|command| counts(command)).count() as u64;
    let mut counted = 0;
    for ((keyspace, _), value) in disk.rows() {
        if keyspace == Keyspace::Books {
            counted += rows::decode_book(&value).expect("INVARIANT: what was encoded decodes").received();
        }
    }
    if counted == records { Ok(()) } else { violated(format!("the books count {counted} of {records} records")) }
}

/// Two stores hold the same, but for the bookkeeping of their checkpoints.
pub(crate) fn same_state(live: &Disk, replayed: &Disk) -> Result<(), Violation> {
    let rows = |disk: &Disk| {
        let mut rows = disk.rows();
        rows.retain(|(keyspace, _), _| *keyspace != Keyspace::Meta);
        rows
    };
    let (live, replayed) = (rows(live), rows(replayed));
    if live == replayed {
        return Ok(());
    }
    let keys: BTreeSet<_> = live.keys().chain(replayed.keys()).collect();
    let different = keys.into_iter().find(|key| live.get(*key) != replayed.get(*key));
    violated(format!("the live state and a replay from nothing differ at {different:02x?}"))
}
