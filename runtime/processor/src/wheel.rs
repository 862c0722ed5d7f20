//! Timers in memory: hour buckets, of which only the current one is kept in order (design §2.7).
//!
//! A timer costs 16 bytes in its bucket: milliseconds into the hour (4), key slot of the profile (4), seq (8). A bucket
//! knows its earliest one, so that nobody looks through it before its hour. The
//! store is not written for timers; the wheel is filled at start by one scan over the profiles.

use engine::state::Timer;
use model::{KeySlot, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const HOUR_MS: i64 = 3_600_000;

#[derive(Clone, Copy, Debug)]
struct Far {
    offset_ms: u32,
    slot: KeySlot,
    seq: u64,
}

/// Ordered as E12 fires them: by `fire_at`, then by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub fire_at: Timestamp,
    pub seq: u64,
    pub slot: KeySlot,
}

#[derive(Debug, Default)]
pub(crate) struct Wheel {
    /// Timers of hours before `near_until`.
    near: BinaryHeap<Reverse<Due>>,
    /// The first hour (since the epoch) that is still in `far`.
    near_until: i64,
    far: BTreeMap<i64, Bucket>,
    len: usize,
}

#[derive(Debug)]
struct Bucket {
    earliest_ms: u32,
    timers: Vec<Far>,
}

impl Wheel {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn insert(&mut self, slot: KeySlot, timer: Timer) {
        let Timer { fire_at, seq } = timer;
        let hour = fire_at.as_ms().div_euclid(HOUR_MS);
        self.len += 1;
        if hour < self.near_until {
            self.near.push(Reverse(Due { fire_at, seq, slot }));
            return;
        }
        let offset_ms = u32::try_from(fire_at.as_ms().rem_euclid(HOUR_MS)).expect("INVARIANT: an hour's ms fit u32");
        let bucket = self.far.entry(hour).or_insert_with(|| Bucket { earliest_ms: offset_ms, timers: Vec::new() });
        bucket.earliest_ms = bucket.earliest_ms.min(offset_ms);
        bucket.timers.push(Far { offset_ms, slot, seq });
    }

    /// The next timer with `fire_at` ≤ `now`, in order.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<Due> {
        self.draw_near(now);
        let due = self.near.peek().filter(|Reverse(due)| due.fire_at <= now)?.0;
        self.near.pop();
        self.len -= 1;
        Some(due)
    }

    /// When the next timer is due at the earliest.
    pub fn next_at(&self) -> Option<Timestamp> {
        if let Some(Reverse(due)) = self.near.peek() {
            return Some(due.fire_at);
        }
        let (hour, bucket) = self.far.first_key_value()?;
        Some(Timestamp::from_ms(hour * HOUR_MS + i64::from(bucket.earliest_ms)))
    }

    fn draw_near(&mut self, now: Timestamp) {
        let until = now.as_ms().div_euclid(HOUR_MS) + 1;
        if until <= self.near_until {
            return;
        }
        self.near_until = until;
        while let Some(bucket) = self.far.first_entry().filter(|bucket| *bucket.key() < until) {
            let (hour, Bucket { timers, .. }) = bucket.remove_entry();
            self.near.extend(timers.into_iter().map(|Far { offset_ms, slot, seq }| {
                let fire_at = Timestamp::from_ms(hour * HOUR_MS + i64::from(offset_ms));
                Reverse(Due { fire_at, seq, slot })
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_by_instant_then_by_creation_and_never_early() {
        let mut wheel = Wheel::default();
        let at = |ms| Timestamp::from_ms(ms);
        for (seq, ms) in [(1, 5 * HOUR_MS), (2, 10), (3, 10), (4, 9), (5, 2 * HOUR_MS), (6, 400 * 24 * HOUR_MS)] {
            wheel.insert(KeySlot(7), Timer { fire_at: at(ms), seq });
        }
        assert_eq!(wheel.pop_due(at(8)), None);
        assert_eq!(wheel.next_at(), Some(at(9)));
        let mut order = Vec::new();
        while let Some(due) = wheel.pop_due(at(5 * HOUR_MS)) {
            order.push(due.seq);
        }
        assert_eq!(order, [4, 2, 3, 5, 1]);
        wheel.insert(KeySlot(7), Timer { fire_at: at(5 * HOUR_MS + 1), seq: 8 });
        assert_eq!(wheel.next_at(), Some(at(5 * HOUR_MS + 1)));
        assert_eq!(wheel.len(), 2);
        assert_eq!(wheel.pop_due(at(401 * 24 * HOUR_MS)).map(|due| due.seq), Some(8));
        assert_eq!(wheel.pop_due(at(401 * 24 * HOUR_MS)).map(|due| due.seq), Some(6));
        assert_eq!(wheel.pop_due(at(401 * 24 * HOUR_MS)), None);
    }
}
