//! What a group counts, for metrics and benches.

use crate::partition::Applied;
use engine::ProfileCommand;
use std::collections::BTreeMap;

/// What happened so far; monotonic since the group was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub records: u64,
    pub frames: u64,
    pub events: u64,
    pub duplicates: u64,
    pub timers_fired: u64,
    pub timers_stale: u64,
    pub hand_offs: u64,
    pub settled: u64,
    pub checkpoints: u64,
    /// Items refused because their profile sends too many (trap T11).
    pub profile_rate: u64,
    /// Refused entries by code (J4).
    pub refusals: BTreeMap<&'static str, u64>,
}

impl Counters {
    pub(super) fn count(&mut self, command: &ProfileCommand, applied: &Applied<'_>) {
        match command {
            ProfileCommand::Event(_) => self.events += 1,
            ProfileCommand::Settled { .. } => self.settled += 1,
            ProfileCommand::Update(_)
            | ProfileCommand::Interaction(_)
            | ProfileCommand::TimerFired { .. }
            | ProfileCommand::Claim { .. }
            | ProfileCommand::JourneyStopped { .. } => {}
        }
        if let Some(engine::Verdict::Duplicate { .. }) = applied.verdict {
            self.duplicates += 1;
        }
        for entry in applied.trace {
            if let engine::trace::Entry::StartRefused { refusal, .. } = entry {
                *self.refusals.entry(refusal.code()).or_default() += 1;
            }
        }
    }
}
