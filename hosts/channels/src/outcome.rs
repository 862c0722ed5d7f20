//! What one attempt of a channel came to: for the send, and for the peer's circuit.

use crate::circuit::Peer;
use model::send::Settlement;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub settlement: Settlement,
    pub peer: Peer,
}

impl Outcome {
    /// The message cannot go out as it is; nobody was asked.
    pub fn unsendable(reason: impl AsRef<str>) -> Self {
        Outcome { settlement: Settlement::Rejected { reason: brief(reason.as_ref()).into() }, peer: Peer::Untold }
    }

    /// The peer serves nobody now; the message surely did not go out.
    pub fn unreachable(reason: impl AsRef<str>) -> Self {
        let reason = brief(reason.as_ref());
        Outcome {
            settlement: Settlement::Deferred { reason: reason.as_str().into(), retry_after_ms: None },
            peer: Peer::Unreachable { reason },
        }
    }
}

/// A foreign text as part of a reason: one line of bounded length.
pub(crate) fn brief(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect::<String>().trim().to_owned()
}

/// An error with what caused it, as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors print their cause themselves.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    brief(&text)
}
