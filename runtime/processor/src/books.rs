//! The books: how events counted, per trigger and minute (E4).

use engine::Verdict;
use engine::command::RejectedCount;
use model::{Text, Timestamp};
use ports::rows::BookRow;
use std::collections::BTreeMap;

/// The minute of `received_at`, since the epoch.
pub fn minute_of(received_at: Timestamp) -> u32 {
    u32::try_from(received_at.as_ms() / 60_000).unwrap_or(u32::MAX)
}

/// What was counted since the last checkpoint; a checkpoint adds it to what the store has.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub rows: BTreeMap<(Text, u32), BookRow>,
}

impl Books {
    pub fn count(&mut self, trigger: &Text, received_at: Timestamp, verdict: Verdict) {
        let row = self.row(trigger, received_at);
        match verdict {
            Verdict::Matched => row.matched += 1,
            Verdict::Unmatched => row.unmatched += 1,
            Verdict::Late => row.late += 1,
            Verdict::Duplicate { conflict } => {
                row.duplicate += 1;
                row.conflicts += u64::from(conflict);
            }
        }
    }

    pub fn reject(&mut self, rejected: &RejectedCount) {
        let RejectedCount { trigger, reason, received_at, count } = rejected;
        self.row(trigger, *received_at).reject(reason, u64::from(*count));
    }

    fn row(&mut self, trigger: &Text, received_at: Timestamp) -> &mut BookRow {
        self.rows.entry((trigger.clone(), minute_of(received_at))).or_default()
    }
}
