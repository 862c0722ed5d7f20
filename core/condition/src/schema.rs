//! What a path may be, as the catalog says, and what a check finds.

use std::fmt;

/// The static type of an expression (C4). `Any` is known only when it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Number,
    Text,
    Datetime,
    Duration,
    List,
    Map,
    Null,
    Any,
}

impl Type {
    pub fn as_str(self) -> &'static str {
        match self {
            Type::Bool => "a boolean",
            Type::Number => "a number",
            Type::Text => "a text",
            Type::Datetime => "a date-time",
            Type::Duration => "a duration",
            Type::List => "a list",
            Type::Map => "an object",
            Type::Null => "null",
            Type::Any => "a value",
        }
    }
}

/// What the catalog knows of a path such as `event.cart_total`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    Known {
        ty: Type,
        required: bool,
    },
    /// Anything may be there: a profile attribute, say.
    Open,
    /// Nothing of that name can be there. `why` is a sentence that names what could be meant.
    Unknown {
        why: String,
    },
}

pub trait Schema {
    /// `path` has its root first: `["event", "cart_total"]`, `["trigger", "bought", "sum"]`.
    fn lookup(&self, path: &[&str]) -> Lookup;
}

/// One thing wrong, or to be wary of, in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: &'static str,
    pub message: String,
    /// From 1, in characters.
    pub column: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (column {})", self.message, self.column)
    }
}
