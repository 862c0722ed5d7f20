//! An instant: milliseconds since the Unix epoch, UTC. What log records are stamped with (E12).

use std::fmt;

/// An instant in milliseconds since 1970-01-01T00:00:00Z, before it too: people have birth dates. Names of fields that
/// hold one end in `_at`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000);
    /// No record is stamped earlier, whatever the machine's clock says: the log and the books count from here.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// 9999-12-30T22:00:00Z, the latest instant that every part of the system can print.
    pub const MAX: Timestamp = Timestamp(253_402_207_200_000);

    /// `ms` is clamped to [`Timestamp::MIN`] ..= [`Timestamp::MAX`]: an absurd clock must not panic later on.
    pub fn from_ms(ms: i64) -> Self {
        Timestamp(ms.clamp(Self::MIN.0, Self::MAX.0))
    }

    pub fn as_ms(self) -> i64 {
        self.0
    }

    pub fn plus_ms(self, ms: i64) -> Self {
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; negative when `earlier` is later.
    pub fn ms_since(self, earlier: Timestamp) -> i64 {
        self.0 - earlier.0
    }

    pub fn from_jiff(instant: jiff::Timestamp) -> Self {
        Self::from_ms(instant.as_millisecond())
    }

    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).expect("INVARIANT: a Timestamp lies within jiff's range")
    }

    /// Reads an RFC 3339 instant (`2026-03-28T10:00:00Z`, any offset). A date-time without an offset is not an
    /// instant and is refused here; `calendar` resolves those in a zone (J7, J8).
    pub fn parse(text: &str) -> Option<Self> {
        text.trim().parse::<jiff::Timestamp>().ok().map(Self::from_jiff)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is not an instant; expected RFC 3339 with an offset, such as \"2026-05-01T09:00:00Z\""
            ))
        })
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_the_epoch_are_what_they_say() {
        for text in ["1965-03-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-30T22:00:00Z"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Timestamp::from_ms(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(Timestamp::EPOCH, Timestamp::default());
    }
}
