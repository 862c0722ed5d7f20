//! Seeded simulator: virtual time, crashes at every write, lost and doubled messages; checkers.
//!
//! The real processor runs over in-memory ports on a disk where, by a seeded chance, a write fails, fails after it was
//! done, or the process ends with part of what was not yet synced. Clients send again until they are answered;
//! providers answer late, twice, or never; clocks jump. What must hold is checked on the way and at the end. The same
//! seed gives the same run.

mod checks;
mod world;

pub use checks::Violation;
pub use world::{Bug, Summary, run};

/// A small generator with a good spread (SplitMix64): the same numbers from the same seed on any machine.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Chance(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit.max(1)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[cfg(test)]
mod tests;
