//! What must hold at the end, whatever happened, besides what the [`reference`](crate::reference) knows.

use engine::state::OutboxState;
use engine::trace::Entry;
use engine::{Profile, control::Control};
use model::{EffectId, Lsn, Timestamp};
use ports::memory::Disk;
use ports::{Keyspace, codec};
use std::collections::BTreeSet;
use std::fmt;

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The trace of one record.
pub(crate) type Traced = (Lsn, Timestamp, Vec<Entry>);

pub(crate) fn violated<T>(what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(what.into()))
}

/// Every profile of the store.
pub(crate) fn profiles(disk: &Disk) -> Vec<Profile> {
    let rows = disk.rows();
    let subjects = rows.iter().filter(|((keyspace, _), _)| *keyspace == Keyspace::Subjects);
    subjects.map(|(_, row)| codec::decode_profile(row).expect("INVARIANT: what was encoded decodes")).collect()
}

/// After faults stop every due timer fires. The profiles say so, not the wheel, which may have lost it.
pub(crate) fn every_due_timer_fired(profiles: &[Profile], now: Timestamp) -> Result<(), Violation> {
    for profile in profiles {
        if let Some(timer) = profile.timers().find(|timer| timer.fire_at <= now) {
            return violated(format!("a timer of {} due at {} did not fire by {now}", profile.id, timer.fire_at));
        }
    }
    Ok(())
}

/// Nothing is stuck: every send was handed off and settled, or is held as unknown; every raise was appended.
pub(crate) fn nothing_is_stuck(profiles: &[Profile]) -> Result<(), Violation> {
    for profile in profiles {
        let stuck = profile.outbox.iter().find(|row| row.state != OutboxState::Unknown);
        if let Some(row) = stuck {
            return violated(format!("{} of {} is stuck: {:?}", row.effect, profile.id, row.state));
        }
    }
    Ok(())
}

/// An update that was acknowledged is in its profile.
pub(crate) fn updates_are_there(profiles: &[Profile], marks: &[model::Text]) -> Result<(), Violation> {
    match marks.iter().find(|mark| profiles.iter().all(|profile| profile.attributes.get(mark.as_str()).is_none())) {
        Some(mark) => violated(format!("the update {mark} was acknowledged and no profile has it: lost")),
        None => Ok(()),
    }
}

/// A participant ends once.
pub(crate) fn ends_once(traces: &[Traced]) -> Result<(), Violation> {
    let mut ended = BTreeSet::new();
    for (_, _, entries) in traces {
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

/// Every hand-off was granted, as that attempt, and every attempt was granted once.
pub(crate) fn hand_offs_were_granted(
    traces: &[Traced],
    handed_off: &BTreeSet<(EffectId, u32)>,
) -> Result<(), Violation> {
    let mut granted = BTreeSet::new();
    for (_, _, entries) in traces {
        for entry in entries {
            if let Entry::Granted { effect, attempt } = entry
                && !granted.insert((*effect, *attempt))
            {
                return violated(format!("attempt {attempt} of {effect} was granted twice"));
            }
        }
    }
    match handed_off.difference(&granted).next() {
        Some((effect, attempt)) => violated(format!("attempt {attempt} of {effect} was handed off and never granted")),
        None => Ok(()),
    }
}

/// The catalog has one version for each publish of the log.
pub(crate) fn publishes_are_there(control: &Control, publishes: usize) -> Result<(), Violation> {
    let held = control.history.len();
    if held == publishes { Ok(()) } else { violated(format!("{publishes} publishes made {held} catalog versions")) }
}

/// Two stores hold the same, but for the bookkeeping of their checkpoints.
pub(crate) fn same_state(live: &Disk, replayed: &Disk) -> Result<(), Violation> {
    let rows = |disk: &Disk| {
        let mut rows = disk.rows();
        rows.retain(|(keyspace, _), _| *keyspace != Keyspace::Meta);
        rows
    };
    let (live, replayed) = (rows(live), rows(replayed));
    let keys: BTreeSet<_> = live.keys().chain(replayed.keys()).collect();
    match keys.into_iter().find(|key| live.get(*key) != replayed.get(*key)) {
        Some((keyspace, key)) => {
            let key = String::from_utf8_lossy(key);
            violated(format!("the live state and a replay from nothing differ in {keyspace:?} at {key:?}"))
        }
        None => Ok(()),
    }
}

/// Invariant 7: the traces of the run, many of them remade by recoveries, are those of a replay from nothing.
pub(crate) fn same_traces(live: &Disk, replayed: &Disk) -> Result<(), Violation> {
    let (live, replayed) = (live.trace_rows(), replayed.trace_rows());
    let differs = live.iter().zip(&replayed).find(|(live, replayed)| live != replayed);
    if let Some((live, replayed)) = differs {
        let (live, replayed) = (live.lsn, replayed.lsn);
        return violated(format!("the traces of the run and of a replay differ: {live} there, {replayed} here"));
    }
    if live.len() == replayed.len() {
        return Ok(());
    }
    violated(format!("the traces of the run and of a replay differ: {} and {} rows", live.len(), replayed.len()))
}
