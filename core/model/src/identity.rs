//! An identity names a profile: `user_id:42`, `email:a@x.org`. The order in which they are tried is E11's.

use crate::Text;
use std::fmt;

/// A `kind:value` that names a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub kind: IdentityKind,
    /// As the sender gave it, trimmed; `email` is in lower case. 1 to 512 bytes, no control characters.
    pub value: Text,
}

/// Ordered as E11 tries them: user_id, contact, lead, other kinds by name, email, phone, anonymous_id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityKind {
    UserId,
    Contact,
    Lead,
    Other(Text),
    Email,
    Phone,
    AnonymousId,
}

impl IdentityKind {
    pub fn as_str(&self) -> &str {
        match self {
            IdentityKind::UserId => "user_id",
            IdentityKind::Contact => "contact",
            IdentityKind::Lead => "lead",
            IdentityKind::Other(kind) => kind,
            IdentityKind::Email => "email",
            IdentityKind::Phone => "phone",
            IdentityKind::AnonymousId => "anonymous_id",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "user_id" => IdentityKind::UserId,
            "contact" => IdentityKind::Contact,
            "lead" => IdentityKind::Lead,
            "email" => IdentityKind::Email,
            "phone" => IdentityKind::Phone,
            "anonymous_id" => IdentityKind::AnonymousId,
            other => IdentityKind::Other(crate::Name::new(other).ok()?.as_text().clone()),
        })
    }
}

impl Identity {
    pub const VALUE_BYTES_MAX: usize = 512;

    /// # Errors
    /// What is wrong with `kind` or `value`, as a sentence for the sender.
    pub fn new(kind: &str, value: &str) -> Result<Self, String> {
        let Some(kind) = IdentityKind::parse(kind) else {
            return Err(format!(
                "`{kind}` is not a kind of identity; expected a name such as user_id, email or contact"
            ));
        };
        let value = value.trim();
        if value.is_empty() {
            return Err(format!("the identity `{}` is empty", kind.as_str()));
        }
        if value.len() > Self::VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            return Err(format!(
                "the identity `{}` must be at most {} bytes of text without control characters",
                kind.as_str(),
                Self::VALUE_BYTES_MAX
            ));
        }
        let value = if kind == IdentityKind::Email { value.to_lowercase().into() } else { value.into() };
        Ok(Identity { kind, value })
    }

    /// Reads `kind:value`, as it stands in addresses, files and on the command line.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((kind, value)) = text.split_once(':') else {
            return Err(format!("`{text}` is not an identity; expected kind:value, such as user_id:42"));
        };
        Self::new(kind, value)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.value)
    }
}

impl serde::Serialize for Identity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Identity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Identity::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Identity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Identity".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[a-z][a-z0-9_]*:.+$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_sort_in_the_order_they_are_tried() {
        let mut identities: Vec<Identity> =
            ["anonymous_id:x", "phone:+1", "email:A@X.org", "shop:9", "lead:3", "contact:2", "user_id:1"]
                .iter()
                .map(|text| Identity::parse(text).unwrap())
                .collect();
        identities.sort();
        let kinds: Vec<&str> = identities.iter().map(|identity| identity.kind.as_str()).collect();
        assert_eq!(kinds, ["user_id", "contact", "lead", "shop", "email", "phone", "anonymous_id"]);
        assert_eq!(identities[4].value, "a@x.org");
    }

    #[test]
    fn bad_identities_are_refused_with_a_sentence() {
        for bad in ["user_id", "user_id:", "User:1", "user_id:a\0b"] {
            assert!(Identity::parse(bad).is_err(), "{bad}");
        }
    }
}
