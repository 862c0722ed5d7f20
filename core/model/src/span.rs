//! Durations as people write them (J7): `1d`, `24h`, `-2h 30m`, `1mo 2w`.

use std::fmt;

/// Optional `-`, then one or more `<integer><unit>`, units `y mo w d h m s`, largest first, each at most once.
/// `h m s` are exact; `y mo w d` are calendar units in a zone and are added first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    pub negative: bool,
    pub months: u32,
    pub days: u32,
    pub ms: i64,
    text: Units,
}

/// The units as written, so that a span prints as it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Units([u32; 7]);

const UNITS: [&str; 7] = ["y", "mo", "w", "d", "h", "m", "s"];

impl Span {
    /// The largest number in front of one unit.
    const COUNT_MAX: u32 = 1_000_000;

    /// # Errors
    /// What is wrong with `text`, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            Err(format!("`{text}` is not a duration: {why}; expected for example 1d, 24h, 1mo 2w or -2h30m"))
        };
        let trimmed = text.trim();
        let (negative, mut rest) = match trimmed.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, trimmed),
        };
        let mut units = [0u32; 7];
        let mut next_unit = 0;
        if rest.is_empty() {
            return wrong("it is empty");
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (unit, tail) = tail.split_at(letters);
            let Ok(number) = number.parse::<u32>() else {
                return wrong("a whole number must stand before each unit");
            };
            if number > Self::COUNT_MAX {
                return wrong("a number is larger than 1,000,000");
            }
            let Some(position) = UNITS.iter().position(|known| *known == unit) else {
                return wrong("the units are y, mo, w, d, h, m, s");
            };
            if position < next_unit {
                return wrong("units go from the largest to the smallest, each once");
            }
            units[position] = number;
            next_unit = position + 1;
            rest = tail.trim_start();
        }
        let [years, months, weeks, days, hours, minutes, seconds] = units;
        Ok(Span {
            negative,
            months: years * 12 + months,
            days: weeks * 7 + days,
            ms: (i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds)) * 1000,
            text: Units(units),
        })
    }

    /// The span in milliseconds with days of 24 hours and months of 31 days: an upper bound for limits,
    /// never a way to compute an instant.
    pub fn at_most_ms(&self) -> i64 {
        (i64::from(self.months) * 31 + i64::from(self.days)) * 86_400_000 + self.ms
    }

    pub fn is_zero(&self) -> bool {
        self.months == 0 && self.days == 0 && self.ms == 0
    }

    /// Whether the length depends on the calendar (`y mo w d`).
    pub fn has_calendar_part(&self) -> bool {
        self.months > 0 || self.days > 0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        if self.is_zero() {
            return f.write_str("0s");
        }
        for (unit, count) in UNITS.iter().zip(self.text.0) {
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Span::parse(text)
    }
}

impl serde::Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Span::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "examples": ["1d", "24h", "1mo 2w", "-2h30m"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_print_as_they_were_read() {
        for text in ["1d", "24h", "1mo2w", "-2h30m", "1y6mo", "90s", "0s"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Span::parse(" 1mo 2w ").unwrap().days, 14);
    }

    #[test]
    fn a_bad_span_says_why() {
        for (text, why) in [
            ("", "empty"),
            ("d", "whole number"),
            ("1", "units are"),
            ("1h1d", "largest to the smallest"),
            ("1d1d", "each once"),
            ("1.5h", "units are"),
            ("99999999d", "larger than"),
            ("99999999999d", "whole number"),
        ] {
            let error = Span::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
