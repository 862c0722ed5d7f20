//! What goes wrong on the disk, and when.

use crate::Chance;
use ports::memory::{Fault, Faults, Place};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which faults a run meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// By chance: failed reads and writes, a disk that is full for a while.
    ByChance,
    /// One crash at one write, so that a caller can try them all.
    CrashAt {
        /// The first write has the number 1.
        write: u64,
        side: Side,
        /// Once more at that place, reading or writing, after the process began again.
        again: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// Decides, at every place that the disk asks about.
#[derive(Clone)]
pub(crate) struct Trouble(Arc<Mutex<State>>);

struct State {
    plan: Plan,
    chance: Chance,
    /// By chance nothing happens now.
    is_calm: bool,
    /// At so many places where something is written the disk is full.
    full_for: u64,
    /// The process has met its crash: it does nothing any more.
    is_dead: bool,
    writes: u64,
    crashes: u32,
    /// Places since the process began again.
    places: u64,
}

impl Trouble {
    pub fn new(plan: Plan, seed: u64) -> Self {
        Trouble(Arc::new(Mutex::new(State {
            plan,
            chance: Chance::new(seed ^ 0xfa17),
            is_calm: true,
            full_for: 0,
            is_dead: false,
            writes: 0,
            crashes: 0,
            places: 0,
        })))
    }

    pub fn faults(&self) -> Faults {
        let trouble = self.clone();
        Arc::new(move |place| trouble.state().at(place))
    }

    /// Whether faults by chance stop.
    pub fn calm(&self, is_calm: bool) {
        let mut state = self.state();
        state.is_calm = is_calm;
        state.full_for = 0;
    }

    /// A new process begins.
    pub fn begin_process(&self) {
        let mut state = self.state();
        state.is_dead = false;
        state.places = 0;
    }

    /// Whether the process met its crash, and is still to be buried.
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// How many writes were asked for.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn at(&mut self, place: Place) -> Fault {
        self.writes += u64::from(place.is_write());
        self.places += 1;
        match self.plan {
            _ if self.is_dead => Fault::FailBefore,
            Plan::ByChance if self.is_calm => Fault::None,
            Plan::ByChance => self.by_chance(place),
            Plan::CrashAt { write, side, again } => {
                let is_first = self.crashes == 0 && place.is_write() && self.writes == write;
                let is_second = self.crashes == 1 && again == Some(self.places);
                if !is_first && !is_second {
                    return Fault::None;
                }
                self.crashes += 1;
                self.is_dead = true;
                match side {
                    Side::Before => Fault::FailBefore,
                    Side::After => Fault::FailAfter,
                }
            }
        }
    }

    fn by_chance(&mut self, place: Place) -> Fault {
        if self.full_for > 0 && place.is_write() {
            self.full_for -= 1;
            return Fault::Full;
        }
        let odds = if place.is_write() { 80 } else { 800 };
        match (self.chance.below(odds), place) {
            (0, _) => Fault::FailBefore,
            (1, _) => Fault::FailAfter,
            (2, Place::Append | Place::CreateKey | Place::StateWrite | Place::AppendTraces) => {
                self.full_for = self.chance.below(10);
                Fault::Full
            }
            _ => Fault::None,
        }
    }
}
