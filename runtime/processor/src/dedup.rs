//! How long a partition remembers ids for deduplication (E3).
//!
//! The ids themselves lie in their profiles, for `Limits::dedup_window_ms` and so many a profile. Over all profiles of a
//! partition they are counted by the hour in which they came; when they take more than their bytes the oldest hours are
//! forgotten, which is to say that the partition's window gets shorter. The count follows from the log alone, so that
//! a replay decides as the first run did.

use engine::Limits;
use model::Timestamp;
use std::collections::BTreeMap;

/// What an id takes, on disk and in memory: its hash, a checksum, an instant.
const KEY_BYTES: u64 = 28;
const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Default)]
pub(crate) struct Dedup {
    /// Ids by hour since the epoch. 0: those of this hour, and all before, are forgotten.
    hours: BTreeMap<u32, u64>,
    keys: u64,
    /// The youngest hour that is forgotten: asked for with every record, and seldom another one.
    forgotten: Option<u32>,
    /// The youngest id that had to go because its profile had too many.
    crowded_out_at: Option<Timestamp>,
}

fn hour_of(at: Timestamp) -> u32 {
    u32::try_from(at.as_ms() / HOUR_MS).unwrap_or(u32::MAX)
}

fn begin_of(hour: u32) -> Timestamp {
    Timestamp::from_ms(i64::from(hour) * HOUR_MS)
}

impl Dedup {
    pub fn of_rows(rows: &[(u32, u64)]) -> Self {
        let hours: BTreeMap<u32, u64> = rows.iter().copied().collect();
        let forgotten = youngest_forgotten(&hours);
        Dedup { keys: hours.values().sum(), hours, forgotten, crowded_out_at: None }
    }

    pub fn rows(&self) -> Vec<(u32, u64)> {
        self.hours.iter().map(|(hour, keys)| (*hour, *keys)).collect()
    }

    /// `limits` with the window that this partition holds at `now`.
    pub fn limits(&self, limits: &Limits, now: Timestamp) -> Limits {
        let until = self.forgotten.map(|hour| begin_of(hour.saturating_add(1)));
        let forgotten = until.map_or(i64::MAX, |until| now.ms_since(until));
        Limits { dedup_window_ms: limits.dedup_window_ms.min(forgotten.max(0)), ..limits.clone() }
    }

    /// The smallest age that any profile of this partition remembers.
    pub fn held_ms(&self, limits: &Limits, now: Timestamp) -> i64 {
        let crowded = self.crowded_out_at.map_or(i64::MAX, |at| now.ms_since(at));
        self.limits(limits, now).dedup_window_ms.min(crowded.max(0))
    }

    /// Counts an id that was new. `crowded_out` is one that its profile dropped for it.
    pub fn add(&mut self, now: Timestamp, crowded_out: Option<Timestamp>, window_ms: i64, bytes_max: u64) {
        self.crowded_out_at = self.crowded_out_at.max(crowded_out).filter(|at| now.ms_since(*at) < window_ms);
        let expired = hour_of(now.plus_ms(-window_ms));
        let mut forgotten_changes = false;
        while let Some(oldest) = self.hours.first_entry().filter(|oldest| *oldest.key() < expired) {
            self.keys -= oldest.remove();
            forgotten_changes = true;
        }
        let this_hour = hour_of(now);
        forgotten_changes |= self.forgotten == Some(this_hour);
        *self.hours.entry(this_hour).or_default() += 1;
        self.keys += 1;
        while self.keys * KEY_BYTES > bytes_max {
            let Some((_, keys)) = self.hours.iter_mut().find(|(_, keys)| **keys > 0) else { break };
            self.keys -= std::mem::take(keys);
            forgotten_changes = true;
        }
        if forgotten_changes {
            self.forgotten = youngest_forgotten(&self.hours);
        }
    }
}

fn youngest_forgotten(hours: &BTreeMap<u32, u64>) -> Option<u32> {
    hours.iter().rev().find(|(_, keys)| **keys == 0).map(|(hour, _)| *hour)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_MS: i64 = 7 * 24 * HOUR_MS;

    fn hour(number: i64) -> Timestamp {
        Timestamp::from_ms((1_000 + number) * HOUR_MS)
    }

    #[test]
    fn the_window_is_whole_while_its_ids_fit_and_says_so_when_they_do_not() {
        let limits = Limits::default();
        let mut dedup = Dedup::default();
        for number in 0..10 {
            dedup.add(hour(number), None, WINDOW_MS, 10 * KEY_BYTES);
        }
        assert_eq!(dedup.limits(&limits, hour(9)), limits);
        dedup.add(hour(10), None, WINDOW_MS, 10 * KEY_BYTES);
        assert_eq!(dedup.limits(&limits, hour(10)).dedup_window_ms, 9 * HOUR_MS, "hour 0 is forgotten");
        let again = Dedup::of_rows(&dedup.rows());
        assert_eq!(again.limits(&limits, hour(10)).dedup_window_ms, 9 * HOUR_MS, "and stays so over a restart");
        dedup.add(hour(10 + 7 * 24), None, WINDOW_MS, 10 * KEY_BYTES);
        assert_eq!(dedup.limits(&limits, hour(10 + 7 * 24)), limits, "what is forgotten has expired by now");
    }

    #[test]
    fn a_profile_that_sends_too_many_shortens_the_window_that_is_shown_but_not_that_of_others() {
        let limits = Limits::default();
        let mut dedup = Dedup::default();
        dedup.add(hour(5), Some(hour(3)), WINDOW_MS, u64::MAX);
        assert_eq!(dedup.held_ms(&limits, hour(5)), 2 * HOUR_MS);
        assert_eq!(dedup.limits(&limits, hour(5)), limits);
    }

    #[test]
    fn the_forgotten_hour_is_the_one_that_its_rows_say() {
        let mut dedup = Dedup::default();
        for step in 0..2_000_i64 {
            // Hours of many ids and hours of few, gaps, and days that are longer than the window.
            let at = hour(step / 7 + (step / 300) * 60);
            dedup.add(at, None, WINDOW_MS, (3 + step as u64 % 40) * KEY_BYTES);
            assert_eq!(dedup.forgotten, youngest_forgotten(&dedup.hours), "at step {step}");
        }
        assert!(dedup.forgotten.is_some());
    }
}
