//! The host's now (O2): the wall clock at start plus the monotonic clock that counts suspension.
//!
//! A wall clock that was set while we run does not make timers fire early or twice. A small difference is slewed, a
//! large one is told as an error and slewed all the same, never jumped. A restart adopts the wall clock, but not below
//! the log's last stamp: it runs on from there, or no timer would fire until the wall clock has caught up.

use model::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// For each millisecond that goes by, so many microseconds of the difference are taken away.
const SLEW_US_PER_MS: i64 = 5;
/// A difference that an operator should know of.
const LARGE_MS: i64 = 10_000;

pub struct Clock {
    /// Wall clock minus boot clock at the start, in ms.
    offset_ms: i64,
    /// What was slewed since, in µs.
    slewed_us: AtomicI64,
    looked_at_ms: AtomicI64,
    told: AtomicI64,
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    i64::try_from(since).unwrap_or(i64::MAX)
}

fn boot_ms() -> i64 {
    let at = clock_gettime(ClockId::Boottime);
    at.tv_sec * 1000 + at.tv_nsec / 1_000_000
}

impl Clock {
    pub fn start() -> Self {
        Clock::at_start(wall_ms(), boot_ms())
    }

    fn at_start(wall_ms: i64, boot_ms: i64) -> Self {
        Clock {
            offset_ms: wall_ms - boot_ms,
            slewed_us: AtomicI64::new(0),
            looked_at_ms: AtomicI64::new(boot_ms),
            told: AtomicI64::new(0),
        }
    }

    /// Goes on from `stamp` if it is ahead of now, and from there slowly to the wall clock.
    pub fn not_before(&self, stamp: Timestamp) {
        self.slew_to(stamp, self.now());
    }

    fn slew_to(&self, stamp: Timestamp, now: Timestamp) {
        let behind_ms = stamp.as_ms().saturating_sub(now.as_ms());
        if behind_ms <= 0 {
            return;
        }
        self.slewed_us.fetch_add(behind_ms.saturating_mul(1000), Ordering::Relaxed);
        if behind_ms >= LARGE_MS && self.told.swap(1, Ordering::Relaxed) == 0 {
            tracing::error!(
                behind_ms,
                "the wall clock is behind the log's last record; timers go on from that record, \
                and follow the wall clock slowly: set it right"
            );
        }
    }

    pub fn now(&self) -> Timestamp {
        self.at(wall_ms(), boot_ms())
    }

    fn at(&self, wall_ms: i64, boot_ms: i64) -> Timestamp {
        let gone_ms = boot_ms - self.looked_at_ms.swap(boot_ms, Ordering::Relaxed);
        let slewed_us = self.slewed_us.load(Ordering::Relaxed);
        let now_ms = boot_ms + self.offset_ms + slewed_us / 1000;
        let off_ms = wall_ms - now_ms;
        if off_ms.abs() >= LARGE_MS && self.told.swap(1, Ordering::Relaxed) == 0 {
            tracing::error!(
                off_ms,
                "the wall clock was set while we run; timers follow it slowly, a restart adopts it"
            );
        } else if off_ms.abs() < LARGE_MS {
            self.told.store(0, Ordering::Relaxed);
        }
        let step_us = (gone_ms.max(0) * SLEW_US_PER_MS).min(off_ms.abs() * 1000) * off_ms.signum();
        self.slewed_us.fetch_add(step_us, Ordering::Relaxed);
        Timestamp::from_ms(now_ms).max(Timestamp::EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t43_a_wall_clock_behind_the_log_stops_no_timer() {
        let clock = Clock::at_start(1_000_000, 0);
        clock.slew_to(Timestamp::from_ms(900_000), Timestamp::from_ms(1_000_000));
        assert_eq!(clock.at(1_000_000, 0).as_ms(), 1_000_000, "what is behind us changes nothing");
        // The log was written while the wall clock was an hour ahead.
        clock.slew_to(Timestamp::from_ms(4_600_000), Timestamp::from_ms(1_000_000));
        let mut before = clock.at(1_000_000, 0).as_ms();
        assert_eq!(before, 4_600_000);
        for second in 1..=100 {
            let now = clock.at(1_000_000 + second * 1000, second * 1000).as_ms();
            let gone = now - before;
            assert!((990..=1000).contains(&gone), "time goes on, a little slower: {gone} ms in a second");
            before = now;
        }
        assert!(before < 4_600_000 + 100_000, "slower");
        // And arrives where the wall is.
        let months_ms = 90 * 24 * 3_600_000;
        clock.at(1_000_000 + months_ms, months_ms);
        assert_eq!(clock.at(1_000_000 + months_ms, months_ms).as_ms(), 1_000_000 + months_ms);
    }

    #[test]
    fn t43_a_clock_that_jumps_is_followed_slowly_and_never_backwards() {
        let clock = Clock::at_start(1_000_000, 0);
        let at = |boot_ms, jump_ms| clock.at(1_000_000 + boot_ms + jump_ms, boot_ms).as_ms() - 1_000_000;
        assert_eq!(at(1000, 0), 1000);
        // An hour ahead: nothing jumps, a thousandth or so is gained.
        assert_eq!(at(2000, 3_600_000), 2000);
        let later = at(3000, 3_600_000);
        assert!((3000..3010).contains(&later), "{later}");
        // An hour back: time goes on, a little slower.
        let mut before = later;
        for second in 4..60 {
            let now = at(second * 1000, -3_600_000);
            assert!(now > before, "{now} after {before}");
            before = now;
        }
    }
}
