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
    /// With its article, as messages say it.
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

    /// Whether `<` and its kin are offered for it (C4).
    pub(crate) fn has_order(self) -> bool {
        match self {
            Type::Number | Type::Text | Type::Datetime | Type::Duration | Type::Any => true,
            Type::Bool | Type::List | Type::Map | Type::Null => false,
        }
    }

    /// Whether values of both can be equal.
    pub(crate) fn meets(self, other: Type) -> bool {
        self == other || [self, other].iter().any(|ty| matches!(ty, Type::Any | Type::Null))
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
    /// Stable: `condition_syntax`, `condition_type`, `condition_unknown_path`, `condition_unknown_function`,
    /// `condition_unsupported`, `condition_always_fails`; as a warning `condition_may_lack_data`.
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
