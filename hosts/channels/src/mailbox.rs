//! The development channel: captures every message instead of sending it.

use model::send::{Rendered, Settlement};
use model::{EffectId, ProfileId, Timestamp};
use ports::HandOff;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Captured messages kept; the oldest go first.
const MESSAGES_MAX: usize = 10_000;

/// One captured message.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    pub effect: EffectId,
    pub profile: ProfileId,
    pub at: Timestamp,
    pub rendered: Arc<Rendered>,
}

pub struct Mailbox {
    messages: Mutex<VecDeque<Captured>>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Mailbox {
    pub fn new(now: Box<dyn Fn() -> Timestamp + Send + Sync>) -> Self {
        Mailbox { messages: Mutex::default(), now }
    }

    pub(crate) fn capture(&self, hand_off: &HandOff) -> Settlement {
        let HandOff { profile, effect, attempt: _, rendered } = hand_off;
        let captured =
            Captured { effect: *effect, profile: *profile, at: (self.now)(), rendered: Arc::clone(rendered) };
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() == MESSAGES_MAX {
            messages.pop_front();
        }
        messages.push_back(captured);
        Settlement::Accepted { provider_id: None }
    }

    /// The newest first, at most `limit`, to `address` if given.
    pub fn list(&self, address: Option<&str>, limit: usize) -> Vec<Captured> {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = messages
            .iter()
            .rev()
            .filter(|message| address.is_none_or(|address| message.rendered.address.eq_ignore_ascii_case(address)));
        wanted.take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_come_first_and_can_be_asked_for_by_address() {
        let mailbox = Mailbox::new(Box::new(|| Timestamp::MIN));
        for (number, address) in [(1, "a@x.org"), (2, "b@x.org"), (3, "A@x.org")] {
            let rendered = Arc::new(Rendered { address: address.into(), ..Rendered::default() });
            let hand_off =
                HandOff { profile: ProfileId([0; 16]), effect: EffectId([number; 16]), attempt: 1, rendered };
            assert_eq!(mailbox.capture(&hand_off), Settlement::Accepted { provider_id: None });
        }
        let numbers = |list: Vec<Captured>| list.iter().map(|message| message.effect.0[0]).collect::<Vec<_>>();
        assert_eq!(numbers(mailbox.list(None, 2)), [3, 2]);
        assert_eq!(numbers(mailbox.list(Some("a@x.org"), 9)), [3, 1]);
    }
}
