//! What an attribute can hold, and a sorted set of attributes.

use crate::Text;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use std::fmt;

/// The value of an attribute: JSON's values, with whole numbers kept whole.
/// A date-time is text here; the trigger's schema says that it is one, and who reads it resolves it (J7).
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
    List(Vec<Value>),
    Map(Attributes),
}

impl Value {
    /// How deep lists and maps may nest in each other, everywhere: intake refuses more, so does a publish, and a mapping
    /// that makes more fails. The codecs read no more and write no more.
    pub const DEPTH_MAX: usize = 16;

    /// The kind of value, as error messages say it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::Float(_) => "number",
            Value::Text(_) => "text",
            Value::List(_) => "list",
            Value::Map(_) => "object",
        }
    }

    /// How deep lists and maps nest in it; 0 for what is neither.
    pub fn depth(&self) -> usize {
        match self {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => 0,
            Value::List(items) => 1 + items.iter().map(Value::depth).max().unwrap_or(0),
            Value::Map(map) => 1 + map.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
        }
    }

    pub fn is_too_deep(&self) -> bool {
        self.depth() > Self::DEPTH_MAX
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

/// Named values, sorted by name, each name once.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Attributes(Vec<(Text, Value)>);

impl Attributes {
    /// Names in one object that comes from outside. More are refused while they are read, at the first one too many.
    pub const COUNT_MAX: usize = 1_000;

    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.position(name).ok().map(|at| &self.0[at].1)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.position(name).ok().map(|at| &mut self.0[at].1)
    }

    /// Sets `name`; answers what it held before.
    pub fn insert(&mut self, name: impl Into<Text>, value: Value) -> Option<Value> {
        let name = name.into();
        match self.position(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.position(name).ok().map(|at| self.0.remove(at).1)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Value)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        // NOTE: most sets are small and arrive sorted or nearly so; a binary search over a Vec beats a tree here.
        self.0.binary_search_by(|(held, _)| held.as_str().cmp(name))
    }
}

impl<N: Into<Text>> FromIterator<(N, Value)> for Attributes {
    /// Of a name given twice the last value holds, as in JSON.
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(pairs: I) -> Self {
        let mut pairs: Vec<(Text, Value)> = pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
        // NOTE: sorted once. To insert each at its place would move half of them for every name that comes late.
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        // The sort is stable, so of equal names the last given stands last; it moves to the place that is kept.
        pairs.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                std::mem::swap(later, kept);
            }
            is_same
        });
        Attributes(pairs)
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Value::Map(map) => map.serialize(serializer),
        }
    }
}

impl serde::Serialize for Attributes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        self.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl<'de> serde::Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> serde::Deserialize<'de> for Attributes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributesVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        // A float would round it: as text it keeps its digits, and a trigger's schema says whether that will do (E8).
        Ok(i64::try_from(number).map_or_else(|_| Value::Text(number.to_string().into()), Value::Int))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        AttributesVisitor.visit_map(map).map(Value::Map)
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = Attributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of attributes")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
        let mut pairs: Vec<(Text, Value)> = Vec::new();
        while let Some(pair) = map.next_entry::<Text, Value>()? {
            if pairs.len() == Attributes::COUNT_MAX {
                let message = format!("an object has more than {} attributes", Attributes::COUNT_MAX);
                return Err(serde::de::Error::custom(message));
            }
            pairs.push(pair);
        }
        Ok(pairs.into_iter().collect())
    }
}

impl schemars::JsonSchema for Value {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Value".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!(true)
    }
}

impl schemars::JsonSchema for Attributes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Attributes".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_and_written_back() {
        let json = r#"{"a":[1,2.5,null],"b":{"x":true},"c":"text"}"#;
        let attributes: Attributes = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&attributes).unwrap(), json);
    }

    #[test]
    fn of_a_name_given_twice_the_last_value_holds() {
        let attributes: Attributes = serde_json::from_str(r#"{"b":1,"a":2,"b":3}"#).unwrap();
        assert_eq!(attributes.get("b"), Some(&Value::Int(3)));
        assert_eq!(attributes.len(), 2);
        let attributes: Attributes =
            [("a", 1), ("b", 2), ("a", 3), ("a", 4)].map(|(n, v)| (n, Value::Int(v))).into_iter().collect();
        assert_eq!(serde_json::to_string(&attributes).unwrap(), r#"{"a":4,"b":2}"#);
    }

    /// Named from the last to the first, each had to be put before all others: 400 GB moved for one request of 1 MiB.
    #[test]
    fn too_many_attributes_are_refused_before_they_are_kept() {
        let object = |count: usize| {
            let pairs: Vec<String> = (0..count).rev().map(|at| format!(r#""{at:06}":1"#)).collect();
            format!("{{{}}}", pairs.join(","))
        };
        let most: Attributes = serde_json::from_str(&object(Attributes::COUNT_MAX)).unwrap();
        assert_eq!(most.len(), Attributes::COUNT_MAX);
        assert!(most.iter().map(|(name, _)| name).is_sorted());
        // What stands behind the first one too many is not even looked at: it is no JSON.
        let flood = object(Attributes::COUNT_MAX + 1).replace('}', ",\"x\":nonsense");
        let error = serde_json::from_str::<Attributes>(&flood).unwrap_err().to_string();
        assert!(error.starts_with("an object has more than 1000 attributes"), "{error}");
        let nested = format!(r#"{{"a":[{flood}]}}"#);
        assert!(serde_json::from_str::<Attributes>(&nested).is_err());
    }

    #[test]
    fn a_whole_number_is_never_rounded() {
        let read = |json: &str| serde_json::from_str::<Value>(json).unwrap();
        assert_eq!(read("9223372036854775807"), Value::Int(i64::MAX));
        assert_eq!(read("-9223372036854775808"), Value::Int(i64::MIN));
        assert_eq!(read("9223372036854775808"), Value::from("9223372036854775808"));
        assert_eq!(read("18446744073709551615"), Value::from("18446744073709551615"));
    }
}
