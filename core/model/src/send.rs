//! A rendered message on its way out, and what can become of it (S4–S6).

use crate::{Attributes, Text};

/// A message as it leaves: the same bytes at every attempt.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rendered {
    /// `email`, `sms`, `push`, `webhook`.
    pub channel: Text,
    /// The message document's name.
    pub message: Text,
    /// E-mail address, E.164 number, push token or URL.
    pub address: Text,
    /// The parts, by the names the message document gives them: `subject`, `html`, `text`, `from`, `title`, `body` …
    pub parts: Attributes,
}

/// What became of a hand-off (S5, S6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The provider has it; its own id if it gave one.
    Accepted { provider_id: Option<Text> },
    /// Refused for good; the same bytes would be refused again.
    Rejected { reason: Text },
    /// Refused for now; may be tried again, not before `retry_after_ms` if given. The message surely did not go out,
    /// or the receiver is known to honour the idempotency key.
    Deferred { reason: Text, retry_after_ms: Option<u64> },
    /// Not tried at all, since its turn did not come or the receiver is known to be out; costs no attempt. May be tried
    /// again, not before `retry_after_ms` if given.
    NotTried { reason: Text, retry_after_ms: Option<u64> },
    /// It may or may not have gone out (a time-out or broken connection after the data).
    Unknown { reason: Text },
}
