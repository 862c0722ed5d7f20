//! Ids as newtypes. Those of profiles, participants and effects are computed, never drawn (design §2.10), so that the
//! same commands give the same ids on any machine and after any restart.

use std::fmt;

/// A short string, stored inline up to 24 bytes.
pub type Text = compact_str::CompactString;

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Reads the 32 hexadecimal digits that `Display` writes.
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != 32 || !text.is_ascii() {
                    return None;
                }
                let mut bytes = [0; 16];
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
                }
                Some($name(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

hash_id!(
    /// One customer: BLAKE3 (128 bit, keyed with the installation's secret) of the first identity (E11).
    ProfileId
);
hash_id!(
    /// One profile's passage through one journey: a hash of (profile, journey, entry number).
    ParticipantId
);
hash_id!(
    /// One effect: a hash of (participant, step, visit). It goes to providers as idempotency key (S4).
    EffectId
);

fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    id
}

impl ParticipantId {
    pub fn of(profile: ProfileId, journey: &str, entry: u32) -> Self {
        ParticipantId(hash(&[b"participant", &profile.0, journey.as_bytes(), &entry.to_le_bytes()]))
    }

    /// A number in `0..2^32` that depends on participant and step alone: what a random split is decided by (J11).
    pub fn split_point(self, step: &str) -> u32 {
        let id = hash(&[b"split", &self.0, step.as_bytes()]);
        u32::from_le_bytes([id[0], id[1], id[2], id[3]])
    }
}

impl EffectId {
    pub fn of(participant: ParticipantId, step: &str, visit: u32) -> Self {
        EffectId(hash(&[b"effect", &participant.0, step.as_bytes(), &visit.to_le_bytes()]))
    }
}

/// A share of the profiles, handled by one processor at a time. Fixed in number at the first start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

impl PartitionId {
    /// Where the catalog, drafts and keys live (design §2.9). It holds no profiles.
    pub const CONTROL: PartitionId = PartitionId(u16::MAX);

    /// The partition of a subject whose id is `id`, among `partitions` of them.
    pub fn of(id: &[u8; 16], partitions: u16) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *id;
        let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]) % u64::from(partitions);
        PartitionId(u16::try_from(number).expect("INVARIANT: a remainder is smaller than its u16 divisor"))
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::CONTROL { f.write_str("control") } else { self.0.fmt(f) }
    }
}

/// A place in the log. Rises with every record; within one partition it orders everything (J2). The first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Lsn(pub u64);

impl Lsn {
    pub fn next(self) -> Self {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which publish the catalog is at. Rises by one with every change of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct CatalogVersion(pub u64);

/// The place of a profile's key in the key file, and with it the profile's short number on this machine.
/// Slot 0 is the installation's own and belongs to no profile. A slot is never used for a second profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeySlot(pub u32);

impl KeySlot {
    /// Under which records that concern no profile are written.
    pub const INSTALLATION: KeySlot = KeySlot(0);
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Text);

        impl $name {
            pub const BYTES_MAX: usize = 100;

            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub fn as_text(&self) -> &Text {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                $name::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": $pattern, "maxLength": $name::BYTES_MAX})
            }
        }
    };
}

name!(
    /// The name of a document, and the id of a step: `[a-z][a-z0-9_]*`, at most 100 bytes.
    Name,
    "^[a-z][a-z0-9_]*$"
);
name!(
    /// The name of an attribute: `[A-Za-z_][A-Za-z0-9_]*`, at most 100 bytes. Senders choose theirs, `orderId` too, and
    /// conditions and templates can read any of them as a path.
    AttributeName,
    "^[A-Za-z_][A-Za-z0-9_]*$"
);

impl Name {
    /// # Errors
    /// What is wrong with `text`, as a sentence for its writer.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut chars = text.chars();
        let first_is_letter = chars.next().is_some_and(|c| c.is_ascii_lowercase());
        let rest_fits = chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if first_is_letter && rest_fits && text.len() <= Self::BYTES_MAX {
            Ok(Name(text.into()))
        } else {
            Err(format!(
                "`{text}` is not a name; expected a lower-case letter, then letters, digits and `_`, at most {} in all",
                Self::BYTES_MAX
            ))
        }
    }
}

impl AttributeName {
    /// # Errors
    /// What is wrong with `text`, as a sentence for its writer.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut chars = text.chars();
        let first_fits = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let rest_fits = chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if first_fits && rest_fits && text.len() <= Self::BYTES_MAX {
            Ok(AttributeName(text.into()))
        } else {
            Err(format!(
                "`{text}` is not the name of an attribute; expected a letter or `_`, then letters, digits and `_`, at \
                 most {} in all",
                Self::BYTES_MAX
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_print() {
        let id = ParticipantId::of(ProfileId([7; 16]), "welcome", 1);
        assert_eq!(ParticipantId::parse(&id.to_string()), Some(id));
        assert_eq!(ParticipantId::parse("zz"), None);
        assert_eq!(ParticipantId::parse(&"é".repeat(16)), None);
    }

    #[test]
    fn parts_of_an_id_do_not_run_into_each_other() {
        let id = ParticipantId::of(ProfileId([7; 16]), "welcome", 1);
        assert_ne!(EffectId::of(id, "a", 1), EffectId::of(id, "a1", 1));
        assert_ne!(EffectId::of(id, "a", 1), EffectId::of(id, "a", 2));
    }

    #[test]
    fn a_name_is_lower_case_and_starts_with_a_letter() {
        assert!(Name::new("abandoned_cart2").is_ok());
        for bad in ["", "2cart", "Cart", "cart-left", "cart left", &"a".repeat(101)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_attribute_is_named_as_its_sender_likes() {
        for good in ["orderId", "OrderID", "_internal", "order_id", "utm2"] {
            assert!(AttributeName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "2nd", "order id", "order-id", "größe", "a.b", &"a".repeat(101)] {
            assert!(AttributeName::new(bad).is_err(), "{bad}");
        }
    }
}
