//! What a relay's answer, or its silence, means for a send (S5, S6; traps T55, T59, T60).
//!
//! ```text
//! what happened                        before the message   after its first byte
//! 4yz (relay out if to everyone)       Deferred             Deferred
//! 421 (the relay closes)               Deferred, relay out  Deferred, relay out
//! 530 534 535 538 (our login)          Deferred, relay out  Deferred, relay out
//! other 5yz                            Rejected             Rejected
//! connection lost, no answer in time   Deferred, relay out  Unknown
//! ```
//! An answer always settles: a relay that refuses the message after having read it has not taken it. "Relay out" counts
//! towards its circuit, since every other message would have fared alike.

use crate::circuit::Peer;
use crate::outcome::{Outcome, brief};
use lettre::transport::smtp::Error;
use model::send::Settlement;
use std::error::Error as _;

/// How far a transaction had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not a byte of the message was sent.
    Before,
    /// Some or all of it was.
    Message,
}

/// Why a command did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Reply {
        code: u16,
        text: String,
    },
    /// The connection broke, or what came was not SMTP.
    Lost {
        why: String,
    },
    TimedOut,
}

impl Failure {
    pub fn of(error: &Error) -> Self {
        let text = error.source().map(|source| brief(&source.to_string())).unwrap_or_default();
        match error.status() {
            Some(code) => Failure::Reply { code: code.into(), text },
            None => Failure::Lost { why: brief(&error.to_string()) },
        }
    }

    /// Whether the connection may be used for the next message.
    pub fn leaves_connection_usable(&self) -> bool {
        match self {
            Failure::Reply { code, .. } => *code != 421,
            Failure::Lost { .. } | Failure::TimedOut => false,
        }
    }

    pub fn reason(&self) -> String {
        match self {
            Failure::Reply { code, text } => brief(&format!("{code} {text}")),
            Failure::Lost { why } => why.clone(),
            Failure::TimedOut => "timeout".into(),
        }
    }
}

pub(super) fn outcome(stage: Stage, failure: &Failure) -> Outcome {
    let reason = failure.reason();
    match (failure, stage) {
        (Failure::Reply { code: 421 | 530 | 534 | 535 | 538, .. }, Stage::Before | Stage::Message)
        | (Failure::Lost { .. } | Failure::TimedOut, Stage::Before) => Outcome::unreachable(reason),
        (Failure::Reply { code: 500..=599, .. }, Stage::Before | Stage::Message) => {
            Outcome { settlement: Settlement::Rejected { reason: reason.into() }, peer: Peer::Reached }
        }
        (Failure::Reply { .. }, Stage::Before | Stage::Message) => Outcome {
            settlement: Settlement::Deferred { reason: reason.as_str().into(), retry_after_ms: None },
            peer: Peer::PutOff { reason },
        },
        (Failure::Lost { .. } | Failure::TimedOut, Stage::Message) => Outcome {
            settlement: Settlement::Unknown { reason: format!("no answer to the message: {reason}").into() },
            peer: Peer::Untold,
        },
    }
}

/// The relay's own id of a message it took: postfix says `queued as 4F2A…`, exim `id=1tXyz-…`.
pub(super) fn queue_id(answer: &str) -> Option<&str> {
    let after = |mark: &str| answer.split_once(mark).map(|(_, rest)| rest);
    let id = after("queued as ").or_else(|| after("id="))?;
    let id = id.split(|c: char| c.is_whitespace() || c == '>').next()?.trim_end_matches(['.', ';', ',']);
    (!id.is_empty() && id.len() <= 100).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Means {
        Rejected,
        Deferred,
        DeferredRelayOut,
        Unknown,
    }

    fn means(stage: Stage, failure: &Failure) -> Means {
        let Outcome { settlement, peer } = outcome(stage, failure);
        match (settlement, peer) {
            (Settlement::Rejected { .. }, Peer::Reached) => Means::Rejected,
            (Settlement::Deferred { .. }, Peer::PutOff { .. }) => Means::Deferred,
            (Settlement::Deferred { .. }, Peer::Unreachable { .. }) => Means::DeferredRelayOut,
            (Settlement::Unknown { .. }, Peer::Untold) => Means::Unknown,
            other => panic!("no row of the table: {other:?}"),
        }
    }

    #[test]
    fn t60_the_table_of_codes() {
        let reply = |code| Failure::Reply { code, text: "why".into() };
        for stage in [Stage::Before, Stage::Message] {
            for code in [500, 501, 503, 521, 541, 550, 551, 552, 553, 554, 556, 571] {
                assert_eq!(means(stage, &reply(code)), Means::Rejected, "{code}");
            }
            for code in [420, 422, 431, 432, 450, 451, 452, 454, 455, 471] {
                assert_eq!(means(stage, &reply(code)), Means::Deferred, "{code}");
            }
            for code in [421, 530, 534, 535, 538] {
                assert_eq!(means(stage, &reply(code)), Means::DeferredRelayOut, "{code}");
            }
        }
    }

    #[test]
    fn t55_silence_is_unknown_only_once_the_message_may_have_gone() {
        for failure in [Failure::TimedOut, Failure::Lost { why: "broken pipe".into() }] {
            assert_eq!(means(Stage::Before, &failure), Means::DeferredRelayOut);
            assert_eq!(means(Stage::Message, &failure), Means::Unknown);
        }
    }

    #[test]
    fn a_relays_id_is_found_where_it_gives_one() {
        assert_eq!(queue_id("2.0.0 Ok: queued as 4F2A1C0"), Some("4F2A1C0"));
        assert_eq!(queue_id("OK id=1tXyz-0001-AB"), Some("1tXyz-0001-AB"));
        assert_eq!(queue_id("OK"), None);
        assert_eq!(queue_id("queued as "), None);
    }
}
