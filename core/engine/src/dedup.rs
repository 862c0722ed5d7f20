//! Deduplication by (source, id) within one profile (E3). Events and profile updates are told apart: a sender may number
//! both from one.

use crate::state::{DedupKey, DedupWindow};
use crate::{Limits, room};
use model::{Attributes, Timestamp, Value};

pub(crate) enum Seen {
    First,
    /// `conflict`: the same id with another payload; the first wins (trap T05).
    Again {
        conflict: bool,
    },
}

/// What has an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Event,
    Update,
}

impl DedupWindow {
    /// Looks for the key among those the window still holds, and remembers it when it is new.
    pub(crate) fn check(&mut self, key: DedupKey, limits: &Limits) -> Seen {
        // INVARIANT: keys stand in the order of their stamps, which never go back.
        let oldest = key.seen_at.plus_ms(-limits.dedup_window_ms);
        let expired = self.keys.iter().take_while(|held| held.seen_at < oldest).count();
        self.keys.drain(..expired);
        if let Some(held) = self.keys.iter().rev().find(|held| held.hash == key.hash) {
            return Seen::Again { conflict: held.payload != key.payload };
        }
        let over = (self.keys.len() + 1).saturating_sub(limits.dedup_keys_max);
        self.keys.drain(..over.min(self.keys.len()));
        room::push(&mut self.keys, key);
        Seen::First
    }
}

/// The key of an event or update that was stamped `seen_at`.
pub(crate) fn key(
    kind: Kind,
    source: &str,
    id: &str,
    name: &str,
    attributes: &Attributes,
    seen_at: Timestamp,
) -> DedupKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(match kind {
        Kind::Event => b"e",
        Kind::Update => b"u",
    });
    hasher.update(&(source.len() as u64).to_le_bytes());
    hasher.update(source.as_bytes());
    hasher.update(id.as_bytes());
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    DedupKey { hash, payload: payload(name, attributes), seen_at }
}

/// A checksum of what was said: FNV-1a over name and attributes. It tells an honest retry from a reused id; nothing
/// is trusted to it. Times are left out, since clients that correct their clock resend with another one.
fn payload(name: &str, attributes: &Attributes) -> u32 {
    let mut sum = Fnv(0x811c_9dc5);
    sum.bytes(name.as_bytes());
    sum.attributes(attributes);
    sum.0
}

struct Fnv(u32);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn attributes(&mut self, attributes: &Attributes) {
        for (name, value) in attributes.iter() {
            self.bytes(name.as_bytes());
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.bytes(b"n"),
            Value::Bool(truth) => self.bytes(&[b'b', u8::from(*truth)]),
            Value::Int(number) => self.bytes(&number.to_le_bytes()),
            Value::Float(number) => self.bytes(&number.to_bits().to_le_bytes()),
            Value::Text(text) => self.bytes(text.as_bytes()),
            Value::List(items) => {
                self.bytes(b"[");
                items.iter().for_each(|item| self.value(item));
            }
            Value::Map(map) => {
                self.bytes(b"{");
                self.attributes(map);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(id: &str, ms: i64) -> DedupKey {
        key(Kind::Event, "shop", id, "bought", &Attributes::new(), Timestamp::from_ms(ms))
    }

    #[test]
    fn an_event_and_an_update_of_one_id_are_two() {
        let of = |kind| key(kind, "shop", "7", "", &Attributes::new(), Timestamp::from_ms(0)).hash;
        assert_ne!(of(Kind::Event), of(Kind::Update));
    }

    #[test]
    fn a_key_is_kept_for_its_window_and_the_oldest_go_first() {
        let limits = Limits { dedup_keys_max: 2, dedup_window_ms: 1000, ..Limits::default() };
        let mut window = DedupWindow::default();
        assert!(matches!(window.check(at("a", 0), &limits), Seen::First));
        assert!(matches!(window.check(at("a", 1000), &limits), Seen::Again { conflict: false }));
        assert!(
            matches!(window.check(at("a", 1001), &limits), Seen::First),
            "out of its window, though nothing came since"
        );
        assert!(matches!(window.check(at("b", 1500), &limits), Seen::First));
        assert!(matches!(window.check(at("c", 1600), &limits), Seen::First));
        assert!(matches!(window.check(at("a", 1600), &limits), Seen::First), "only two are kept");
        assert_eq!(window.keys.len(), 2);
    }
}
