//! What expressions evaluate to: borrowed from the data as long as nothing changes it.

use crate::data::{DataRef, Group};
use model::{Attributes, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write;
use std::rc::Rc;

#[derive(Clone)]
pub enum Val<'a> {
    Nil,
    /// The literals that `==` asks for a state with.
    Empty,
    Blank,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// Text that is HTML already: escaped, captured, or declared so by `raw`.
    Html(Cow<'a, str>),
    Items(&'a [Value]),
    List(Rc<[Val<'a>]>),
    Map(&'a Attributes),
    Group(&'a dyn Group),
}

impl<'a> From<&'a Value> for Val<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Val::Nil,
            Value::Bool(truth) => Val::Bool(*truth),
            Value::Int(number) => Val::Int(*number),
            Value::Float(number) => Val::Float(*number),
            Value::Text(text) => Val::Text(Cow::Borrowed(text)),
            Value::List(items) => Val::Items(items),
            Value::Map(map) => Val::Map(map),
        }
    }
}

impl<'a> From<DataRef<'a>> for Val<'a> {
    fn from(data: DataRef<'a>) -> Self {
        match data {
            DataRef::Value(value) => value.into(),
            DataRef::Attributes(attributes) => Val::Map(attributes),
            DataRef::Group(group) => Val::Group(group),
        }
    }
}

impl From<String> for Val<'_> {
    fn from(text: String) -> Self {
        Val::Text(Cow::Owned(text))
    }
}

impl<'a> Val<'a> {
    pub fn list(items: Vec<Val<'a>>) -> Self {
        Val::List(items.into())
    }

    /// Liquid's truth: everything but nothing and `false`.
    pub fn is_truthy(&self) -> bool {
        !matches!(self, Val::Nil | Val::Bool(false))
    }

    /// Nothing, or text of blanks alone: what must not be printed unnoticed (trap T62).
    pub fn is_valueless(&self) -> bool {
        match self {
            Val::Nil => true,
            Val::Text(text) | Val::Html(text) => text.trim().is_empty(),
            Val::Empty | Val::Blank | Val::Bool(_) | Val::Int(_) | Val::Float(_) => false,
            Val::Items(_) | Val::List(_) | Val::Map(_) | Val::Group(_) => false,
        }
    }

    /// `x == empty`.
    fn is_empty(&self) -> bool {
        match self {
            Val::Text(text) | Val::Html(text) => text.is_empty(),
            Val::Items(items) => items.is_empty(),
            Val::List(items) => items.is_empty(),
            Val::Map(map) => map.is_empty(),
            Val::Empty | Val::Blank => true,
            Val::Nil | Val::Bool(_) | Val::Int(_) | Val::Float(_) | Val::Group(_) => false,
        }
    }

    /// `x == blank`, and what `default` replaces.
    pub fn is_blank(&self) -> bool {
        !self.is_truthy() || self.is_valueless() || self.is_empty()
    }

    /// The member `name` of an object, or of any value the size and ends of lists and texts.
    pub fn member(&self, name: &str) -> Val<'a> {
        match self {
            Val::Map(map) => match (map.get(name), name) {
                (Some(value), _) => value.into(),
                (None, "size") => count(map.len()),
                (None, _) => Val::Nil,
            },
            Val::Group(group) => group.member(name).map_or(Val::Nil, Val::from),
            Val::Items(_) | Val::List(_) => match name {
                "size" => count(self.len()),
                "first" => self.item(0),
                "last" => self.item(-1),
                _ => Val::Nil,
            },
            Val::Text(text) | Val::Html(text) if name == "size" => count(text.chars().count()),
            Val::Text(_) | Val::Html(_) | Val::Nil | Val::Empty | Val::Blank => Val::Nil,
            Val::Bool(_) | Val::Int(_) | Val::Float(_) => Val::Nil,
        }
    }

    /// The item at `index` of a list; negative from its end.
    pub fn item(&self, index: i64) -> Val<'a> {
        let length = self.len();
        let place = usize::try_from(index).ok().or_else(|| {
            let from_end = usize::try_from(index.unsigned_abs()).ok()?;
            length.checked_sub(from_end)
        });
        let Some(place) = place.filter(|place| *place < length) else {
            return Val::Nil;
        };
        match self {
            Val::Items(items) => (&items[place]).into(),
            Val::List(items) => items[place].clone(),
            Val::Nil | Val::Empty | Val::Blank | Val::Bool(_) | Val::Int(_) | Val::Float(_) => Val::Nil,
            Val::Text(_) | Val::Html(_) | Val::Map(_) | Val::Group(_) => Val::Nil,
        }
    }

    /// The number of items of a list; 0 of anything else.
    pub fn len(&self) -> usize {
        match self {
            Val::Items(items) => items.len(),
            Val::List(items) => items.len(),
            Val::Nil | Val::Empty | Val::Blank | Val::Bool(_) | Val::Int(_) | Val::Float(_) => 0,
            Val::Text(_) | Val::Html(_) | Val::Map(_) | Val::Group(_) => 0,
        }
    }

    /// The items of a list; of nothing none; of anything else itself.
    pub fn items(&self) -> Vec<Val<'a>> {
        match self {
            Val::Nil | Val::Empty | Val::Blank => Vec::new(),
            Val::Items(items) => items.iter().map(Val::from).collect(),
            Val::List(items) => items.to_vec(),
            Val::Bool(_) | Val::Int(_) | Val::Float(_) | Val::Text(_) | Val::Html(_) | Val::Map(_) | Val::Group(_) => {
                vec![self.clone()]
            }
        }
    }

    /// About how many bytes it is: what handling it costs.
    pub fn bytes(&self) -> usize {
        match self {
            Val::Nil | Val::Empty | Val::Blank | Val::Bool(_) | Val::Int(_) | Val::Float(_) | Val::Group(_) => 8,
            Val::Text(text) | Val::Html(text) => text.len(),
            Val::Items(items) => items.iter().map(bytes_of).sum(),
            Val::List(items) => items.iter().map(|item| 16 + item.bytes()).sum(),
            Val::Map(map) => bytes_of_map(map),
        }
    }

    /// What is printed. Lists print their items one after the other; objects as JSON, in the order of their names.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Val::Nil | Val::Empty | Val::Blank | Val::Group(_) => Cow::Borrowed(""),
            Val::Bool(true) => Cow::Borrowed("true"),
            Val::Bool(false) => Cow::Borrowed("false"),
            Val::Int(number) => Cow::Owned(number.to_string()),
            Val::Float(number) => Cow::Owned(number.to_string()),
            Val::Text(text) | Val::Html(text) => Cow::Borrowed(text),
            Val::Items(_) | Val::List(_) => {
                Cow::Owned(self.items().iter().fold(String::new(), |all, item| all + &item.text()))
            }
            Val::Map(_) => Cow::Owned(self.json()),
        }
    }

    pub fn json(&self) -> String {
        let mut json = String::new();
        self.write_json(&mut json);
        json
    }

    fn write_json(&self, json: &mut String) {
        match self {
            Val::Nil | Val::Empty | Val::Blank | Val::Group(_) => json.push_str("null"),
            Val::Bool(_) | Val::Int(_) => json.push_str(&self.text()),
            // NOTE: JSON has no infinities.
            Val::Float(number) if number.is_finite() => json.push_str(&number.to_string()),
            Val::Float(_) => json.push_str("null"),
            Val::Text(text) | Val::Html(text) => write_json_text(json, text),
            Val::Items(_) | Val::List(_) => {
                json.push('[');
                for (at, item) in self.items().iter().enumerate() {
                    if at > 0 {
                        json.push(',');
                    }
                    item.write_json(json);
                }
                json.push(']');
            }
            Val::Map(map) => {
                json.push('{');
                for (at, (name, value)) in map.iter().enumerate() {
                    if at > 0 {
                        json.push(',');
                    }
                    write_json_text(json, name);
                    json.push(':');
                    Val::from(value).write_json(json);
                }
                json.push('}');
            }
        }
    }

    /// A number, or text that reads as one.
    pub fn number(&self) -> Option<Number> {
        match self {
            Val::Int(number) => Some(Number::Int(*number)),
            Val::Float(number) => Some(Number::Float(*number)),
            Val::Text(text) | Val::Html(text) => {
                let text = text.trim();
                let float = || text.parse().ok().filter(|number: &f64| number.is_finite()).map(Number::Float);
                text.parse().ok().map(Number::Int).or_else(float)
            }
            Val::Nil | Val::Empty | Val::Blank | Val::Bool(_) => None,
            Val::Items(_) | Val::List(_) | Val::Map(_) | Val::Group(_) => None,
        }
    }

    pub fn equals(&self, other: &Val<'_>) -> bool {
        match (self, other) {
            (Val::Empty, other) | (other, Val::Empty) => other.is_empty(),
            (Val::Blank, other) | (other, Val::Blank) => other.is_blank(),
            (Val::Nil, Val::Nil) => true,
            (Val::Bool(a), Val::Bool(b)) => a == b,
            (Val::Map(a), Val::Map(b)) => a == b,
            (Val::Items(_) | Val::List(_), Val::Items(_) | Val::List(_)) => {
                self.len() == other.len() && self.items().iter().zip(other.items()).all(|(a, b)| a.equals(&b))
            }
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// Numbers with numbers, texts with texts; nothing else has an order.
    pub fn compare(&self, other: &Val<'_>) -> Option<Ordering> {
        match (self, other) {
            (Val::Int(a), Val::Int(b)) => Some(a.cmp(b)),
            (Val::Int(a), Val::Float(b)) => (*a as f64).partial_cmp(b),
            (Val::Float(a), Val::Int(b)) => a.partial_cmp(&(*b as f64)),
            (Val::Float(a), Val::Float(b)) => a.partial_cmp(b),
            (Val::Text(a) | Val::Html(a), Val::Text(b) | Val::Html(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    pub fn contains(&self, part: &Val<'_>) -> bool {
        match self {
            Val::Text(text) | Val::Html(text) => !matches!(part, Val::Nil) && text.contains(&*part.text()),
            Val::Items(_) | Val::List(_) => self.items().iter().any(|item| item.equals(part)),
            Val::Map(map) => map.get(&part.text()).is_some(),
            Val::Group(group) => group.member(&part.text()).is_some(),
            Val::Nil | Val::Empty | Val::Blank | Val::Bool(_) | Val::Int(_) | Val::Float(_) => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub fn as_float(self) -> f64 {
        match self {
            Number::Int(number) => number as f64,
            Number::Float(number) => number,
        }
    }
}

pub fn count<'a>(items: usize) -> Val<'a> {
    Val::Int(i64::try_from(items).unwrap_or(i64::MAX))
}

fn bytes_of(value: &Value) -> usize {
    16 + match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        Value::Text(text) => text.len(),
        Value::List(items) => items.iter().map(bytes_of).sum(),
        Value::Map(map) => bytes_of_map(map),
    }
}

fn bytes_of_map(map: &Attributes) -> usize {
    map.iter().map(|(name, value)| name.len() + bytes_of(value)).sum()
}

fn write_json_text(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            c if c < ' ' => write!(json, "\\u{:04x}", u32::from(c)).expect("INVARIANT: a String takes every write"),
            c => json.push(c),
        }
    }
    json.push('"');
}
