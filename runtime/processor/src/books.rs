//! The books: how events counted, per trigger and minute (E4).

use engine::Verdict;
use engine::command::RejectedCount;
use model::{Text, Timestamp};
use ports::rows::BookRow;
use std::collections::{BTreeMap, BTreeSet};

/// Names that no trigger has are chosen by senders: so many different ones are told apart per partition and minute,
/// the rest is counted under the empty name (E9).
const UNKNOWN_NAMES_MAX: usize = 100;

/// The minute of `received_at`, since the epoch.
pub fn minute_of(received_at: Timestamp) -> u32 {
    u32::try_from(received_at.max(Timestamp::EPOCH).as_ms() / 60_000).unwrap_or(u32::MAX)
}

/// Whether the catalog has a trigger of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Known,
    Unknown,
}

/// What was counted since the last checkpoint; a checkpoint adds it to what the store has.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub rows: BTreeMap<(Text, u32), BookRow>,
    /// The names without a trigger that were counted, of this minute and the one before.
    unknown: BTreeMap<u32, BTreeSet<Text>>,
}

impl Books {
    pub fn count(&mut self, trigger: &Text, name: Name, received_at: Timestamp, verdict: Verdict) {
        let minute = minute_of(received_at);
        let trigger = match name {
            Name::Known => trigger.clone(),
            Name::Unknown => self.told_apart(trigger, minute),
        };
        let row = self.rows.entry((trigger, minute)).or_default();
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
        let row = self.rows.entry((trigger.clone(), minute_of(*received_at))).or_default();
        row.reject(reason, u64::from(*count));
    }

    /// The name under which an event of an unknown trigger is counted.
    fn told_apart(&mut self, trigger: &Text, minute: u32) -> Text {
        while self.unknown.len() > 2 {
            self.unknown.pop_first();
        }
        let names = self.unknown.entry(minute).or_default();
        if names.contains(trigger) {
            return trigger.clone();
        }
        if names.len() == UNKNOWN_NAMES_MAX {
            return Text::default();
        }
        names.insert(trigger.clone());
        trigger.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_who_invent_names_do_not_grow_the_books_and_every_event_is_counted() {
        let mut books = Books::default();
        let at = Timestamp::from_ms(600_000);
        for number in 0..1_000 {
            books.count(&format!("name_{number}").into(), Name::Unknown, at, Verdict::Unmatched);
            books.count(&"bought".into(), Name::Known, at, Verdict::Matched);
        }
        books.count(&"name_7".into(), Name::Unknown, at, Verdict::Duplicate { conflict: false });
        assert_eq!(books.rows.len(), UNKNOWN_NAMES_MAX + 2);
        assert_eq!(books.rows[&(Text::default(), 10)].unmatched, 900);
        assert_eq!(books.rows[&("name_7".into(), 10)].duplicate, 1, "a name that is told apart stays so");
        assert_eq!(books.rows[&("bought".into(), 10)].matched, 1_000);
        assert_eq!(books.rows.values().map(BookRow::received).sum::<u64>(), 2_001);
        books.count(&"name_999".into(), Name::Unknown, at.plus_ms(60_000), Verdict::Unmatched);
        assert_eq!(books.rows[&("name_999".into(), 11)].unmatched, 1, "each minute has its own names");
    }
}
