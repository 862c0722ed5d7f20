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
        schemars::json_schema!({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"})
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_print_as_they_were_read() {
        for text in ["00:00", "09:00", "23:59", "09:00:30", "23:59:59"] {
            assert_eq!(LocalTime::parse(text).unwrap().to_string(), text);
        }
        let time = LocalTime::parse("21:05:09").unwrap();
        assert_eq!((time.hour(), time.minute(), time.second()), (21, 5, 9));
        assert_eq!(LocalTime::parse("09:00:00"), LocalTime::parse("09:00"));
        assert!(LocalTime::parse("09:00") < LocalTime::parse("09:00:01"));
    }

    #[test]
    fn a_bad_time_of_day_is_refused_with_an_example() {
        for text in
            ["", "9:00", "09", "24:00", "09:60", "09:00:60", "09:00:00:00", "+9:00", "09:00Z", " 09:00", "٠٩:٠٠"]
        {
            let error = LocalTime::parse(text).unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is not a time of day")), "{error}");
        }
    }

    #[test]
    fn a_window_reads_from_yaml_without_quotes() {
        // NOTE: to the YAML of old, 09:00 was the number 540.
        let read: Window = serde_saphyr::from_str("from: 09:00\nto: 17:30\ndays: [monday, friday]\n").unwrap();
        assert_eq!((read.from.to_string(), read.to.to_string()), ("09:00".to_owned(), "17:30".to_owned()));
        assert_eq!(read.days.iter().collect::<Vec<_>>(), [Weekday::Monday, Weekday::Friday]);
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(json, r#"{"from":"09:00","to":"17:30","days":["monday","friday"]}"#);
        assert_eq!(serde_json::from_str::<Window>(&json).unwrap(), read);
    }

    #[test]
    fn a_window_that_names_no_days_is_open_every_day() {
        let read: Window = serde_json::from_str(r#"{"from":"23:00","to":"01:00"}"#).unwrap();
        assert_eq!(read.days, Weekdays::ALL);
        assert_eq!(read.days.iter().collect::<Vec<_>>(), Weekday::ALL);
    }

    #[test]
    fn t45_a_set_of_days_is_never_empty() {
        assert_eq!(Weekdays::of(&[]), None);
        let error = serde_json::from_str::<Weekdays>("[]").unwrap_err().to_string();
        assert!(error.contains("an empty list of days means never"), "{error}");
    }

    #[test]
    fn a_window_with_a_wrong_word_says_which() {
        for (json, names) in [
            (r#"{"from":"09:00","to":"17:00","day":["monday"]}"#, "`day`"),
            (r#"{"from":"09:00","to":"17:00","days":["mon"]}"#, "`mon`"),
            (r#"{"from":"09:00","to":"25:00"}"#, "`25:00`"),
            (r#"{"from":"09:00"}"#, "`to`"),
        ] {
            let error = serde_json::from_str::<Window>(json).unwrap_err().to_string();
            assert!(error.contains(names), "{json}: {error}");
        }
    }

    #[test]
    fn any_set_of_days_holds_what_it_was_made_of() {
        for bits in 1u8..128 {
            let days: Vec<Weekday> = Weekday::ALL.into_iter().filter(|day| bits & 1 << *day as u8 != 0).collect();
            let set = Weekdays::of(&days).unwrap();
            assert_eq!(set.iter().collect::<Vec<_>>(), days);
            assert_eq!(serde_json::from_str::<Weekdays>(&serde_json::to_string(&set).unwrap()).unwrap(), set);
        }
    }
}
