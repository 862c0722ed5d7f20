//! Seeded simulator: virtual time, crashes at every write, lost and doubled messages; checkers.
//!
//! The real processor runs over in-memory ports on a disk where things go wrong: by a seeded chance, or in one crash at
//! one write of a short run, which is tried for each of them. Clients send again until they are answered; providers
//! answer late, twice, differently, or never; clocks jump. What must hold is checked on the way and at the end. The
//! same seed gives the same run.
//!
//! ```text
//!   clients ──asks──►┌───────────┐──hand-offs──► providers
//!           ◄answers─│   world   │◄───answers───
//!                    │  (turns)  │
//!                    └─────┬─────┘
//!              the processor's Group, as it is
//!                          │
//!              bugs (planted, or none) ─► memory ports ─► Disk ◄── faults
//!                                                          │
//!                     ledger, reference, checks ◄──reads───┘
//! ```

mod bugs;
mod checks;
mod clients;
mod faults;
mod ledger;
mod providers;
mod reference;
mod world;

pub use bugs::Bug;
pub use checks::Violation;
pub use faults::{Plan, Side};
pub use world::{Run, Summary, run};

const DOCUMENTS: &str = include_str!("../documents.yaml");

/// One of the simulator's documents.
fn document(kind: &str, name: &str) -> String {
    let head = format!("kind: {kind}\nmetadata: {{name: {name}}}\n");
    let found = DOCUMENTS.split("---\n").find(|document| document.contains(&head));
    found.expect("INVARIANT: the simulator has that document").to_owned()
}

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

    /// The place of one of `len` things.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("INVARIANT: below a usize is one")
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[cfg(test)]
mod tests;
