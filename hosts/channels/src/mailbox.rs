//! The mailbox of development: takes the messages of every channel and keeps the newest to be looked at.

use model::{Attributes, EffectId, ProfileId, Text, Timestamp, Value};
use ports::channel::HandOff;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A ring of captured messages; the oldest make room for new ones. Nothing of it survives a restart.
#[derive(Debug)]
pub struct Mailbox {
    entries_max: usize,
    captured: Mutex<VecDeque<Captured>>,
    /// Messages captured so far.
    count: AtomicU64,
}

#[derive(Debug)]
struct Captured {
    number: u64,
    at: Timestamp,
    hand_off: HandOff,
}

/// One captured message, as `GET /api/v1/mailbox` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Rises with every message captured.
    #[serde(skip)]
    pub number: u64,
    /// The send's id.
    pub id: EffectId,
    pub at: Timestamp,
    pub channel: Text,
    /// The message document's name.
    pub message: Text,
    pub to: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Text>,
    pub parts: Attributes,
    pub profile: ProfileId,
}

/// Which entries to list.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// Only those to this address, in whatever case it is written.
    pub to: Option<&'a str>,
    /// Only those captured before the one of this number.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl Mailbox {
    /// How many messages are kept unless told otherwise.
    pub const ENTRIES_MAX: usize = 10_000;

    /// `entries_max`: more keeps older messages, at the memory of their bodies.
    pub fn new(entries_max: usize) -> Self {
        Mailbox { entries_max: entries_max.max(1), captured: Mutex::new(VecDeque::new()), count: AtomicU64::new(0) }
    }

    /// The newest first.
    pub fn list(&self, filter: &Filter<'_>) -> Vec<Entry> {
        let wanted = |captured: &&Captured| {
            filter.to.is_none_or(|to| to.to_lowercase() == captured.hand_off.rendered.address.to_lowercase())
                && filter.before.is_none_or(|before| captured.number < before)
        };
        self.locked().iter().rev().filter(wanted).take(filter.limit).map(Captured::entry).collect()
    }

    pub fn clear(&self) {
        self.locked().clear();
    }

    /// Takes out what was captured, the oldest first.
    pub fn drain(&self) -> Vec<HandOff> {
        self.locked().drain(..).map(|captured| captured.hand_off).collect()
    }

    pub(crate) fn capture(&self, at: Timestamp, hand_off: HandOff) {
        let mut captured = self.locked();
        if captured.len() == self.entries_max {
            captured.pop_front();
        }
        // Under the lock, so that the numbers rise along the ring.
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        captured.push_back(Captured { number, at, hand_off });
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, VecDeque<Captured>> {
        // No panic can leave the ring half changed: each change is one call.
        self.captured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Mailbox::new(Self::ENTRIES_MAX)
    }
}

impl Captured {
    fn entry(&self) -> Entry {
        let Captured { number, at, hand_off } = self;
        let rendered = &hand_off.rendered;
        Entry {
            number: *number,
            id: hand_off.effect,
            at: *at,
            channel: rendered.channel.clone(),
            message: rendered.message.clone(),
            to: rendered.address.clone(),
            subject: rendered.parts.get("subject").and_then(Value::as_text).map(Text::from),
            parts: rendered.parts.clone(),
            profile: hand_off.profile,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::send::Rendered;
    use std::sync::Arc;

    fn hand_off(number: u8, to: &str) -> HandOff {
        let rendered = Rendered {
            channel: "email".into(),
            message: "welcome".into(),
            address: to.into(),
            parts: [("subject", Value::from("Hi"))].into_iter().collect(),
        };
        let (profile, effect) = (ProfileId([number; 16]), EffectId([number; 16]));
        HandOff { profile, effect, attempt: 1, rendered: Arc::new(rendered) }
    }

    fn ids(entries: &[Entry]) -> Vec<u8> {
        entries.iter().map(|entry| entry.id.0[0]).collect()
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_make_room() {
        let mailbox = Mailbox::new(3);
        for number in 1..=5 {
            mailbox.capture(Timestamp::EPOCH, hand_off(number, if number == 4 { "B@x.org" } else { "a@x.org" }));
        }
        assert_eq!(ids(&mailbox.list(&Filter { to: None, before: None, limit: 10 })), [5, 4, 3]);
        assert_eq!(ids(&mailbox.list(&Filter { to: None, before: None, limit: 2 })), [5, 4]);
        assert_eq!(ids(&mailbox.list(&Filter { to: Some("b@X.org"), before: None, limit: 10 })), [4]);
        mailbox.clear();
        assert_eq!(mailbox.list(&Filter { to: None, before: None, limit: 10 }), []);
    }

    #[test]
    fn an_entry_reads_as_json() {
        let mailbox = Mailbox::default();
        mailbox.capture(Timestamp::from_ms(1_000), hand_off(7, "a@x.org"));
        let id = "07".repeat(16);
        assert_eq!(
            serde_json::to_value(mailbox.list(&Filter { to: None, before: None, limit: 1 })).unwrap(),
            serde_json::json!([{
                "id": id, "at": "1970-01-01T00:00:01Z", "channel": "email", "message": "welcome", "to": "a@x.org",
                "subject": "Hi", "parts": {"subject": "Hi"}, "profile": id,
            }])
        );
    }
}
