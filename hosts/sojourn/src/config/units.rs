//! Values with their unit in the text: `"256 MiB"`, `"90 d"`.

use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::time::Duration;

/// A number of bytes, written as a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const BYTE_UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
const TIME_UNITS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 24 * 3_600_000)];

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse(&String::deserialize(deserializer)?, &BYTE_UNITS, "256 MiB").map(Bytes).map_err(de::Error::custom)
    }
}

impl fmt::Display for Bytes {
    /// In the largest unit that leaves at least one of it, rounded down.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = BYTE_UNITS.iter().rev().find(|(_, size)| self.0 >= *size);
        let (unit, size) = fitting.unwrap_or(&BYTE_UNITS[0]);
        write!(f, "{} {unit}", self.0 / size)
    }
}

/// Reads a time such as `"10 s"`: a whole number and one of `ms`, `s`, `min`, `h`, `d`.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text, &TIME_UNITS_MS, "90 d").map(Duration::from_millis).map_err(de::Error::custom)
}

fn parse(text: &str, units: &[(&str, u64)], example: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let size = units.iter().find(|(name, _)| *name == unit.trim_start()).map(|(_, size)| size);
    let number: Option<u64> = number.parse().ok();
    number.zip(size).and_then(|(number, size)| number.checked_mul(*size)).ok_or_else(|| {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        format!("expected a whole number and a unit ({}), such as \"{example}\"; `{text}` came", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_carries_its_unit_and_never_overflows() {
        for (text, bytes) in
            [("0 B", 0), ("256 MiB", 256 << 20), (" 20GiB ", 20 << 30), ("16777215 TiB", 16777215 << 40)]
        {
            assert_eq!(parse(text, &BYTE_UNITS, ""), Ok(bytes), "{text}");
        }
        for text in ["", "256", "MiB", "256 MB", "256 mib", "-1 B", "1.5 GiB", "16777216 TiB", "99999999999999999999 B"]
        {
            let error = parse(text, &BYTE_UNITS, "256 MiB").expect_err(text);
            assert!(
                error.ends_with(&format!("(B, KiB, MiB, GiB, TiB), such as \"256 MiB\"; `{}` came", text.trim())),
                "{error}"
            );
        }
        assert_eq!(parse("90 d", &TIME_UNITS_MS, ""), Ok(90 * 24 * 3_600_000));
        assert!(parse("213503982335 d", &TIME_UNITS_MS, "").is_err());
    }

    #[test]
    fn bytes_are_shown_in_their_largest_unit() {
        let shown = [Bytes(0), Bytes(1023), Bytes(256 << 20), Bytes((3 << 30) - 1)].map(|bytes| bytes.to_string());
        assert_eq!(shown, ["0 B", "1023 B", "256 MiB", "2 GiB"]);
    }
}
