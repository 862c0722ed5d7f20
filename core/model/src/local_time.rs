//! Local times of day, weekdays and windows as documents write them (J7). The arithmetic is in `calendar`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A time of day without a date or zone: `09:00` or `09:00:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime {
    second_of_day: u32,
}

impl LocalTime {
    /// # Errors
    /// What is wrong with `text`, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a time of day; expected HH:MM or HH:MM:SS, such as \"09:00\"");
        let mut numbers = [0u32; 3];
        let parts: Vec<&str> = text.split(':').collect();
        if !(2..=3).contains(&parts.len()) {
            return Err(wrong());
        }
        for (number, part) in numbers.iter_mut().zip(&parts) {
            if part.len() != 2 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(wrong());
            }
            *number = part.parse().map_err(|_| wrong())?;
        }
        let [hour, minute, second] = numbers;
        if hour > 23 || minute > 59 || second > 59 {
            return Err(wrong());
        }
        Ok(LocalTime { second_of_day: hour * 3600 + minute * 60 + second })
    }

    pub fn hour(self) -> u8 {
        (self.second_of_day / 3600) as u8
    }

    pub fn minute(self) -> u8 {
        (self.second_of_day / 60 % 60) as u8
    }

    pub fn second(self) -> u8 {
        (self.second_of_day % 60) as u8
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour(), self.minute())?;
        if self.second() > 0 { write!(f, ":{:02}", self.second()) } else { Ok(()) }
    }
}

impl Serialize for LocalTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LocalTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        LocalTime::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for LocalTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LocalTime".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9](:[0-5][0-9])?$"})
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    pub const ALL: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
}

/// A set of weekdays that is never empty. A document that names none means every day; an empty list is refused,
/// since it would mean "never" (trap T45).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weekdays(u8);

impl Weekdays {
    pub const ALL: Weekdays = Weekdays(0b111_1111);

    /// None for no day at all.
    pub fn of(days: &[Weekday]) -> Option<Self> {
        let bits = days.iter().fold(0, |bits, day| bits | 1 << *day as u8);
        if bits == 0 { None } else { Some(Weekdays(bits)) }
    }

    pub fn contains(self, day: Weekday) -> bool {
        self.0 & 1 << day as u8 != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Weekday> {
        Weekday::ALL.into_iter().filter(move |day| self.contains(*day))
    }
}

impl Default for Weekdays {
    fn default() -> Self {
        Weekdays::ALL
    }
}

impl fmt::Debug for Weekdays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Weekdays {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Weekdays {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let days = Vec::<Weekday>::deserialize(deserializer)?;
        Weekdays::of(&days).ok_or_else(|| {
            serde::de::Error::custom(
                "an empty list of days means never; name at least one day, or leave `days` out for every day",
            )
        })
    }
}

impl JsonSchema for Weekdays {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Weekdays".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let day = generator.subschema_for::<Weekday>();
        schemars::json_schema!({"type": "array", "items": day, "minItems": 1, "uniqueItems": true})
    }
}

/// From `from` (inside) to `to` (outside) on the days it starts on; spans midnight when `to` is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub from: LocalTime,
    pub to: LocalTime,
    #[serde(default)]
    pub days: Weekdays,
}
