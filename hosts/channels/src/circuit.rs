//! A peer that cannot be reached is left alone for a while (S6): one refusal after the other helps nobody.
//!
//! There is one circuit per peer (the mail relay; the host of each webhook), so that a dead webhook does not touch
//! the others. After [`FAILURES_MAX`] failures in a row it opens: hand-offs are held back at once, without being tried.
//! When its pause is over, one hand-off is let through as a probe. Its success closes the circuit, its failure doubles
//! the pause.
//!
//! A peer that can be reached and puts messages off (a relay's 451, a receiver's 503) may have something against one
//! recipient. It is out only when it has put off [`PUT_OFF_MAX`] in a row, each for somebody else.

use model::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;

/// Fewer would open on a hiccup, more would knock longer at a door that nobody opens.
pub(crate) const FAILURES_MAX: u32 = 5;
/// More than failures: mailboxes that are full and addresses that are greylisted come in rows, too.
pub(crate) const PUT_OFF_MAX: usize = 10;
/// Recipients that are remembered of those put off in a row.
const PUT_OFF_REMEMBERED_MAX: usize = 1_000;
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
    /// It answered, and took the message or refused it for good.
    Reached,
    /// It answered that it cannot take this message now.
    PutOff { reason: String },
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

#[derive(Debug, Default)]
struct Circuit {
    /// Times in a row that it could not be reached.
    failures: u32,
    /// For whom it put messages off in a row, hashed.
    put_off: BTreeSet<u64>,
    pause: Option<Pause>,
}

/// It is open.
#[derive(Debug)]
struct Pause {
    since: Timestamp,
    reason: String,
    length: Duration,
    retry_at: Moment,
}

impl Circuits {
    pub fn enter(&mut self, peer: &str, now: Moment) -> Pass {
        let Some(Pause { reason, length, retry_at, .. }) =
            self.failing.get_mut(peer).and_then(|circuit| circuit.pause.as_mut())
        else {
            return Pass::Try;
        };
        let retry_after = retry_at.monotonic.saturating_duration_since(now.monotonic);
        if !retry_after.is_zero() {
            return Pass::Refused { reason: reason.clone(), retry_after };
        }
        // NOTE: the next probe is due one pause from now whatever becomes of this one, so that a probe that never
        // comes back does not keep the circuit open for ever.
        *retry_at = now.plus(*length);
        Pass::Probe
    }

    /// `pass` is what `enter` answered to this attempt, `whom` who the message was for.
    pub fn leave(&mut self, peer: &str, pass: &Pass, whom: &str, said: &Peer, now: Moment) -> Change {
        match said {
            Peer::Untold => Change::None,
            Peer::Reached => match self.failing.remove(peer) {
                Some(Circuit { pause: Some(_), .. }) => Change::Closed,
                Some(Circuit { pause: None, .. }) | None => Change::None,
            },
            Peer::PutOff { reason } => self.failed(peer, pass, Failure::PutOff { whom }, reason, now),
            Peer::Unreachable { reason } => self.failed(peer, pass, Failure::Unreachable, reason, now),
        }
    }

    pub fn open(&self) -> Vec<Open> {
        let open = |(peer, circuit): (&String, &Circuit)| {
            let Pause { since, reason, length: _, retry_at } = circuit.pause.as_ref()?;
            Some(Open { peer: peer.clone(), since: *since, reason: reason.clone(), retry_at: retry_at.wall })
        };
        self.failing.iter().filter_map(open).collect()
    }

    fn failed(&mut self, peer: &str, pass: &Pass, failure: Failure<'_>, why: &str, now: Moment) -> Change {
        if self.failing.len() >= PEERS_MAX && !self.failing.contains_key(peer) {
            return Change::None;
        }
        let circuit = self.failing.entry(peer.to_owned()).or_default();
        let says_something = circuit.count(failure);
        match &mut circuit.pause {
            None if circuit.failures >= FAILURES_MAX || circuit.put_off.len() >= PUT_OFF_MAX => {
                let (since, retry_at) = (now.wall, now.plus(PAUSE_FIRST));
                circuit.pause = Some(Pause { since, reason: why.to_owned(), length: PAUSE_FIRST, retry_at });
                let (peer, reason, retry_at) = (peer.to_owned(), why.to_owned(), retry_at.wall);
                Change::Opened(Open { peer, since, reason, retry_at })
            }
            None => Change::None,
            Some(pause) => {
                why.clone_into(&mut pause.reason);
                // Attempts that were under way when it opened fail late; only a probe says that the pause was too short.
                if *pass == Pass::Probe && says_something {
                    pause.length = (pause.length * 2).min(PAUSE_MAX);
                    pause.retry_at = now.plus(pause.length);
                }
                Change::None
            }
        }
    }
}

enum Failure<'a> {
    Unreachable,
    PutOff { whom: &'a str },
}

impl Circuit {
    /// Whether it says more of the peer than was known: a message put off once more for the same person does not.
    fn count(&mut self, failure: Failure<'_>) -> bool {
        match failure {
            Failure::Unreachable => {
                self.failures += 1;
                true
            }
            Failure::PutOff { whom } => {
                // It answered.
                self.failures = 0;
                let mut hasher = DefaultHasher::new();
                whom.hash(&mut hasher);
                self.put_off.len() < PUT_OFF_REMEMBERED_MAX && self.put_off.insert(hasher.finish())
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
            assert_eq!(circuits.leave("a:25", &Pass::Try, "ada", &unreachable(), at), Change::None);
        }
        circuits.leave("a:25", &Pass::Try, "ada", &unreachable(), at)
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
                circuits.leave("a:25", &Pass::Try, "ada", &unreachable(), start);
            }
            circuits.leave("a:25", &Pass::Try, "ada", &Peer::Reached, start);
        }
        assert_eq!(circuits.enter("a:25", start), Pass::Try);
    }

    #[test]
    fn one_probe_after_the_pause_whose_failure_doubles_it_and_whose_success_closes() {
        let (mut circuits, start) = (Circuits::default(), Moment::now());
        opened(&mut circuits, start);
        // Late failures of attempts that were under way do not lengthen the pause.
        circuits.leave("a:25", &Pass::Try, "ada", &unreachable(), start);
        let first = start.plus(PAUSE_FIRST);
        assert_eq!(circuits.enter("a:25", first), Pass::Probe);
        assert!(matches!(circuits.enter("a:25", first), Pass::Refused { .. }));
        circuits.leave("a:25", &Pass::Probe, "ada", &unreachable(), first);
        assert!(matches!(circuits.enter("a:25", first.plus(PAUSE_FIRST)), Pass::Refused { .. }));
        let second = first.plus(PAUSE_FIRST * 2);
        assert_eq!(circuits.enter("a:25", second), Pass::Probe);
        assert_eq!(circuits.leave("a:25", &Pass::Probe, "ada", &Peer::Reached, second), Change::Closed);
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

    fn put_off(circuits: &mut Circuits, pass: &Pass, whom: &str, at: Moment) -> Change {
        circuits.leave("a:25", pass, whom, &Peer::PutOff { reason: "451 later".into() }, at)
    }

    #[test]
    fn s6_one_bad_recipient_never_opens_it_and_many_in_a_row_do() {
        let (mut circuits, start) = (Circuits::default(), Moment::now());
        for _ in 0..100 {
            assert_eq!(put_off(&mut circuits, &Pass::Try, "full@x.org", start), Change::None);
        }
        for number in 2..PUT_OFF_MAX {
            assert_eq!(put_off(&mut circuits, &Pass::Try, &number.to_string(), start), Change::None);
        }
        // One that goes through says that it is not everyone.
        circuits.leave("a:25", &Pass::Try, "ada", &Peer::Reached, start);
        for number in 1..PUT_OFF_MAX {
            assert_eq!(put_off(&mut circuits, &Pass::Try, &number.to_string(), start), Change::None);
        }
        let change = put_off(&mut circuits, &Pass::Try, "the last", start);
        assert!(matches!(&change, Change::Opened(open) if open.reason == "451 later"), "{change:?}");
        assert!(matches!(circuits.enter("a:25", start), Pass::Refused { .. }));
    }

    #[test]
    fn s6_a_probe_for_one_who_was_put_off_before_does_not_lengthen_the_pause() {
        let (mut circuits, start) = (Circuits::default(), Moment::now());
        (0..PUT_OFF_MAX).for_each(|number| drop(put_off(&mut circuits, &Pass::Try, &number.to_string(), start)));
        let first = start.plus(PAUSE_FIRST);
        assert_eq!(circuits.enter("a:25", first), Pass::Probe);
        put_off(&mut circuits, &Pass::Probe, "0", first);
        let second = first.plus(PAUSE_FIRST);
        assert_eq!(circuits.enter("a:25", second), Pass::Probe);
        put_off(&mut circuits, &Pass::Probe, "somebody new", second);
        assert!(matches!(circuits.enter("a:25", second.plus(PAUSE_FIRST)), Pass::Refused { .. }));
    }

    #[test]
    fn refusals_and_silence_are_not_added_up() {
        let (mut circuits, start) = (Circuits::default(), Moment::now());
        for number in 0..PUT_OFF_MAX - 1 {
            assert_eq!(circuits.leave("a:25", &Pass::Try, "ada", &unreachable(), start), Change::None);
            assert_eq!(put_off(&mut circuits, &Pass::Try, &number.to_string(), start), Change::None);
        }
    }
}
