//! A peer that cannot be reached is left alone for a while (S6): one refusal after the other helps nobody.
//!
//! There is one circuit per peer (the mail relay; the host of each webhook), so that a dead webhook does not touch
//! the others. After [`FAILURES_MAX`] failures in a row it opens: hand-offs are deferred at once, without being tried.
//! When its pause is over, one hand-off is let through as a probe. Its success closes the circuit, its failure doubles
//! the pause.

use model::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Fewer would open on a hiccup, more would knock longer at a door that nobody opens.
pub(crate) const FAILURES_MAX: u32 = 5;
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Peers with failures that are remembered. Past it a new one is tried every time, as if it had no circuit.
const PEERS_MAX: usize = 10_000;

/// Why and how long nothing is handed to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// `host:port`
    pub peer: String,
    /// When the circuit opened.
    pub since: Timestamp,
    /// The failure that was seen last.
    pub reason: String,
    /// When the next hand-off is let through as a probe.
    pub retry_at: Timestamp,
}

/// Whether a hand-off may be tried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Try,
    Probe,
    Refused { reason: String, retry_after: Duration },
}

/// What an attempt said about the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It answered, whatever it said of this one message.
    Reached,
    /// It would have failed for every message: not there, or it serves nobody.
    Unreachable { reason: String },
    /// Nothing can be said: it was not tried, or was lost on the way.
    Untold,
}

/// What changed for a peer, for the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Opened(Open),
    Closed,
}

/// A moment on both clocks: the monotonic one decides, the other is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub monotonic: Instant,
    pub wall: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Circuits {
    failing: BTreeMap<String, Circuit>,
}

#[derive(Debug)]
enum Circuit {
    Failing { failures: u32 },
    Open { since: Timestamp, reason: String, pause: Duration, retry_at: Moment },
}

impl Circuits {
    pub fn enter(&mut self, peer: &str, now: Moment) -> Pass {
        let Some(Circuit::Open { reason, pause, retry_at, .. }) = self.failing.get_mut(peer) else {
            return Pass::Try;
        };
        let retry_after = retry_at.monotonic.saturating_duration_since(now.monotonic);
        if !retry_after.is_zero() {
            return Pass::Refused { reason: reason.clone(), retry_after };
        }
        // NOTE: the next probe is due one pause from now whatever becomes of this one, so that a probe that never
        // comes back does not keep the circuit open for ever.
        *retry_at = now.plus(*pause);
        Pass::Probe
    }

    /// `pass` is what `enter` answered to this attempt.
    pub fn leave(&mut self, peer: &str, pass: &Pass, said: &Peer, now: Moment) -> Change {
        match said {
            Peer::Untold => Change::None,
            Peer::Reached => match self.failing.remove(peer) {
                Some(Circuit::Open { .. }) => Change::Closed,
                Some(Circuit::Failing { .. }) | None => Change::None,
            },
            Peer::Unreachable { reason } => self.failed(peer, *pass == Pass::Probe, reason, now),
        }
    }

    pub fn open(&self) -> Vec<Open> {
        let open = |(peer, circuit): (&String, &Circuit)| match circuit {
            Circuit::Failing { .. } => None,
            Circuit::Open { since, reason, retry_at, .. } => {
                Some(Open { peer: peer.clone(), since: *since, reason: reason.clone(), retry_at: retry_at.wall })
            }
        };
        self.failing.iter().filter_map(open).collect()
    }

    fn failed(&mut self, peer: &str, was_probe: bool, why: &str, now: Moment) -> Change {
        if self.failing.len() >= PEERS_MAX && !self.failing.contains_key(peer) {
            return Change::None;
        }
        let circuit = self.failing.entry(peer.to_owned()).or_insert(Circuit::Failing { failures: 0 });
        match circuit {
            Circuit::Failing { failures } => {
                *failures += 1;
                if *failures < FAILURES_MAX {
                    return Change::None;
                }
                let retry_at = now.plus(PAUSE_FIRST);
                *circuit = Circuit::Open { since: now.wall, reason: why.to_owned(), pause: PAUSE_FIRST, retry_at };
                let peer = peer.to_owned();
                Change::Opened(Open { peer, since: now.wall, reason: why.to_owned(), retry_at: retry_at.wall })
            }
            Circuit::Open { reason, pause, retry_at, .. } => {
                why.clone_into(reason);
                // Attempts that were under way when it opened fail late; only a probe says that the pause was too short.
                if was_probe {
                    *pause = (*pause * 2).min(PAUSE_MAX);
                    *retry_at = now.plus(*pause);
                }
                Change::None
            }
        }
    }
}

impl Moment {
    pub fn now() -> Self {
        Moment { monotonic: Instant::now(), wall: crate::wall_clock() }
    }

    fn plus(self, pause: Duration) -> Self {
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        Moment { monotonic: self.monotonic + pause, wall: self.wall.plus_ms(pause_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> Peer {
        Peer::Unreachable { reason: "connection refused".into() }
    }

    fn opened(circuits: &mut Circuits, at: Moment) -> Change {
        for _ in 1..FAILURES_MAX {
            assert_eq!(circuits.leave("a:25", &Pass::Try, &unreachable(), at), Change::None);
        }
        circuits.leave("a:25", &Pass::Try, &unreachable(), at)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_only_for_that_peer() {
        let (mut circuits, start) = (Circuits::default(), Moment::now());
        assert!(matches!(opened(&mut circuits, start), Change::Opened(open) if open.peer == "a:25"));
        assert_eq!(
            circuits.enter("a:25", start),
            Pass::Refused { reason: "connection refused".into(), retry_after: PAUSE_FIRST }
        );
        assert_eq!(circuits.enter("b:25", start), Pass::Try);
        assert_eq!(circuits.open().len(), 1);
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let (mut circuits, start) = (Circuits::default(), Moment::now());
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                circuits.leave("a:25", &Pass::Try, &unreachable(), start);
            }
            circuits.leave("a:25", &Pass::Try, &Peer::Reached, start);
        }
        assert_eq!(circuits.enter("a:25", start), Pass::Try);
    }

    #[test]
    fn one_probe_after_the_pause_whose_failure_doubles_it_and_whose_success_closes() {
        let (mut circuits, start) = (Circuits::default(), Moment::now());
        opened(&mut circuits, start);
        // Late failures of attempts that were under way do not lengthen the pause.
        circuits.leave("a:25", &Pass::Try, &unreachable(), start);
        let first = start.plus(PAUSE_FIRST);
        assert_eq!(circuits.enter("a:25", first), Pass::Probe);
        assert!(matches!(circuits.enter("a:25", first), Pass::Refused { .. }));
        circuits.leave("a:25", &Pass::Probe, &unreachable(), first);
        assert!(matches!(circuits.enter("a:25", first.plus(PAUSE_FIRST)), Pass::Refused { .. }));
        let second = first.plus(PAUSE_FIRST * 2);
        assert_eq!(circuits.enter("a:25", second), Pass::Probe);
        assert_eq!(circuits.leave("a:25", &Pass::Probe, &Peer::Reached, second), Change::Closed);
        assert_eq!(circuits.enter("a:25", second), Pass::Try);
        assert_eq!(circuits.open(), []);
    }

    #[test]
    fn a_probe_that_never_comes_back_is_followed_by_another() {
        let (mut circuits, start) = (Circuits::default(), Moment::now());
        opened(&mut circuits, start);
        let first = start.plus(PAUSE_FIRST);
        assert_eq!(circuits.enter("a:25", first), Pass::Probe);
        assert_eq!(circuits.enter("a:25", first.plus(PAUSE_FIRST)), Pass::Probe);
    }
}
