//! Values as they are met in evaluation, and what the operators do with them.

use crate::Facts;
use crate::node::{Arithmetic, Comparison, Constant};
use jiff::{SignedDuration, Timestamp};
use model::{Attributes, Span, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

/// INVARIANT: a float is finite; what would not be is an error where it arises, so that the order is total.
#[derive(Clone, Debug)]
pub(crate) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// NOTE: jiff's instant and not `model::Timestamp`, which ends at 1970: people are older.
    Time(Timestamp),
    Duration(SignedDuration),
    List(&'a [Value]),
    Map(&'a Attributes),
    /// A list made in the condition itself.
    Items(Vec<Val<'a>>),
}

impl<'a> Val<'a> {
    pub(crate) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Val::Null,
            Value::Bool(truth) => Val::Bool(*truth),
            Value::Int(number) => Val::Int(*number),
            Value::Float(number) => Val::Float(*number),
            Value::Text(text) => Val::Text(Cow::Borrowed(text)),
            Value::List(items) => Val::List(items),
            Value::Map(map) => Val::Map(map),
        }
    }

    pub(crate) fn of_constant(constant: &'a Constant) -> Self {
        match constant {
            Constant::Value(value) => Val::of(value),
            Constant::Time(at) => Val::Time(*at),
            Constant::Duration(duration) => Val::Duration(*duration),
        }
    }

    /// With its article, as messages say it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Val::Null => "null",
            Val::Bool(_) => "a boolean",
            Val::Int(_) | Val::Float(_) => "a number",
            Val::Text(_) => "a text",
            Val::Time(_) => "a date-time",
            Val::Duration(_) => "a duration",
            Val::List(_) | Val::Items(_) => "a list",
            Val::Map(_) => "an object",
        }
    }

    /// As it is kept: a date-time as RFC 3339, a duration in h, m and whole s (J7).
    pub(crate) fn into_value(self) -> Value {
        match self {
            Val::Null => Value::Null,
            Val::Bool(truth) => Value::Bool(truth),
            Val::Int(number) => Value::Int(number),
            Val::Float(number) => Value::Float(number),
            Val::Text(text) => Value::Text(text.into()),
            Val::Time(at) => Value::Text(at.to_string().into()),
            Val::Duration(duration) => Value::Text(duration_text(duration).into()),
            Val::List(items) => Value::List(items.to_vec()),
            Val::Map(map) => Value::Map(map.clone()),
            Val::Items(items) => Value::List(items.into_iter().map(Val::into_value).collect()),
        }
    }

    /// None: of a list that holds a date-time or a duration, which a kept value would not tell from texts.
    pub(crate) fn into_constant(self) -> Option<Constant> {
        if let Val::Items(items) = &self
            && items.iter().any(|item| matches!(item, Val::Time(_) | Val::Duration(_)))
        {
            return None;
        }
        Some(match self {
            Val::Time(at) => Constant::Time(at),
            Val::Duration(duration) => Constant::Duration(duration),
            value @ (Val::Null
            | Val::Bool(_)
            | Val::Int(_)
            | Val::Float(_)
            | Val::Text(_)
            | Val::List(_)
            | Val::Map(_)
            | Val::Items(_)) => Constant::Value(value.into_value()),
        })
    }
}

fn duration_text(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().unsigned_abs();
    let mut text = if duration.as_secs() < 0 { "-".to_owned() } else { String::new() };
    for (count, unit) in [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')] {
        if count > 0 || (seconds == 0 && unit == 's') {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

/// A date-time without an offset is local to the person it is about, as a wait reads it too (J7, J8).
pub(crate) fn instant(text: &str, facts: &dyn Facts) -> Option<Timestamp> {
    // NOTE: the zone is looked up only when it is needed; most date-times have an offset.
    match text.trim().parse::<Timestamp>() {
        Ok(at) => Some(at),
        Err(_) => calendar::read_instant(text, &facts.zone()).map(|read| read.at.to_jiff()),
    }
}

/// Of a duration without calendar units (J7).
pub(crate) fn exact_duration(text: &str) -> Option<SignedDuration> {
    let span = Span::parse(text).ok().filter(|span| !span.has_calendar_part())?;
    Some(SignedDuration::from_millis(if span.negative { -span.ms } else { span.ms }))
}

/// None: they cannot be compared so.
pub(crate) fn compare(comparison: Comparison, left: &Val<'_>, right: &Val<'_>, facts: &dyn Facts) -> Option<bool> {
    Some(match comparison {
        Comparison::Equal => equals(left, right, facts)?,
        Comparison::NotEqual => !equals(left, right, facts)?,
        Comparison::Less => order(left, right, facts)?.is_lt(),
        Comparison::LessOrEqual => order(left, right, facts)?.is_le(),
        Comparison::Greater => order(left, right, facts)?.is_gt(),
        Comparison::GreaterOrEqual => order(left, right, facts)?.is_ge(),
    })
}

fn order(left: &Val<'_>, right: &Val<'_>, facts: &dyn Facts) -> Option<Ordering> {
    match (left, right) {
        (Val::Int(left), Val::Int(right)) => Some(left.cmp(right)),
        (Val::Int(left), Val::Float(right)) => order_mixed(*left, *right),
        (Val::Float(left), Val::Int(right)) => order_mixed(*right, *left).map(Ordering::reverse),
        (Val::Float(left), Val::Float(right)) => left.partial_cmp(right),
        (Val::Text(left), Val::Text(right)) => Some(left.cmp(right)),
        (Val::Time(left), Val::Time(right)) => Some(left.cmp(right)),
        (Val::Duration(left), Val::Duration(right)) => Some(left.cmp(right)),
        // An undeclared attribute holds its date-time as text.
        (Val::Text(left), Val::Time(right)) => Some(instant(left, facts)?.cmp(right)),
        (Val::Time(left), Val::Text(right)) => Some(left.cmp(&instant(right, facts)?)),
        _ => None,
    }
}

/// Exact, where a cast to f64 would round.
fn order_mixed(whole: i64, float: f64) -> Option<Ordering> {
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0; // 2^63
    if float.is_nan() {
        return None;
    }
    if float >= TOO_LARGE {
        return Some(Ordering::Less);
    }
    if float < -TOO_LARGE {
        return Some(Ordering::Greater);
    }
    let fraction = float - float.trunc();
    Some(whole.cmp(&(float.trunc() as i64)).then_with(|| 0.0.partial_cmp(&fraction).unwrap_or(Ordering::Equal)))
}

/// None: they are of types that are never equal, which is a mistake and not `false` (T12).
pub(crate) fn equals(left: &Val<'_>, right: &Val<'_>, facts: &dyn Facts) -> Option<bool> {
    match (left, right) {
        (Val::Null, Val::Null) => Some(true),
        (Val::Null, _) | (_, Val::Null) => Some(false),
        (Val::Bool(left), Val::Bool(right)) => Some(left == right),
        (Val::List(left), Val::List(right)) => all_equal(left.iter().map(Val::of), right.iter().map(Val::of), facts),
        (Val::Items(left), Val::List(right)) | (Val::List(right), Val::Items(left)) => {
            all_equal(left.iter().cloned(), right.iter().map(Val::of), facts)
        }
        (Val::Items(left), Val::Items(right)) => all_equal(left.iter().cloned(), right.iter().cloned(), facts),
        (Val::Map(left), Val::Map(right)) => {
            if left.len() != right.len() || left.iter().zip(right.iter()).any(|((one, _), (other, _))| one != other) {
                return Some(false);
            }
            all_equal(left.iter().map(|(_, held)| Val::of(held)), right.iter().map(|(_, held)| Val::of(held)), facts)
        }
        (left, right) => order(left, right, facts).map(Ordering::is_eq),
    }
}

fn all_equal<'a, 'b>(
    left: impl ExactSizeIterator<Item = Val<'a>>,
    right: impl ExactSizeIterator<Item = Val<'b>>,
    facts: &dyn Facts,
) -> Option<bool> {
    if left.len() != right.len() {
        return Some(false);
    }
    let mut fits = true;
    for (left, right) in left.zip(right) {
        match equals(&left, &right, facts) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => fits = false,
        }
    }
    fits.then_some(true)
}

/// Why an operator gives nothing.
pub(crate) enum Refused {
    /// It is not defined for these types.
    Types,
    Why(&'static str),
}

const TOO_LARGE: Refused = Refused::Why("a number is too large");
const BY_ZERO: Refused = Refused::Why("a division by zero");
const OUT_OF_TIME: Refused = Refused::Why("a date-time is out of range");

pub(crate) fn compute<'f>(operator: Arithmetic, left: &Val<'f>, right: &Val<'f>) -> Result<Val<'f>, Refused> {
    match (operator, left, right) {
        (operator, Val::Int(left), Val::Int(right)) => whole(operator, *left, *right),
        (operator, Val::Int(left), Val::Float(right)) => float(operator, *left as f64, *right),
        (operator, Val::Float(left), Val::Int(right)) => float(operator, *left, *right as f64),
        (operator, Val::Float(left), Val::Float(right)) => float(operator, *left, *right),
        (Arithmetic::Add, Val::Text(left), Val::Text(right)) => Ok(Val::Text(Cow::Owned(format!("{left}{right}")))),
        (Arithmetic::Add, Val::Time(at), Val::Duration(span))
        | (Arithmetic::Add, Val::Duration(span), Val::Time(at)) => {
            at.checked_add(*span).map(Val::Time).map_err(|_| OUT_OF_TIME)
        }
        (Arithmetic::Subtract, Val::Time(at), Val::Duration(span)) => {
            at.checked_sub(*span).map(Val::Time).map_err(|_| OUT_OF_TIME)
        }
        (Arithmetic::Subtract, Val::Time(left), Val::Time(right)) => Ok(Val::Duration(left.duration_since(*right))),
        (Arithmetic::Add, Val::Duration(left), Val::Duration(right)) => {
            left.checked_add(*right).map(Val::Duration).ok_or(TOO_LARGE)
        }
        (Arithmetic::Subtract, Val::Duration(left), Val::Duration(right)) => {
            left.checked_sub(*right).map(Val::Duration).ok_or(TOO_LARGE)
        }
        _ => Err(Refused::Types),
    }
}

/// NOTE: `/` does not round, unlike in CEL: the catalog knows one type of number, and a sender who writes 81.0 as 81
/// must not change an answer.
fn whole<'f>(operator: Arithmetic, left: i64, right: i64) -> Result<Val<'f>, Refused> {
    let result = match operator {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide | Arithmetic::Modulo if right == 0 => return Err(BY_ZERO),
        Arithmetic::Divide if left.checked_rem(right).is_some_and(|rest| rest != 0) => {
            return float(operator, left as f64, right as f64);
        }
        Arithmetic::Divide => left.checked_div(right),
        Arithmetic::Modulo => left.checked_rem(right),
    };
    result.map(Val::Int).ok_or(TOO_LARGE)
}

fn float<'f>(operator: Arithmetic, left: f64, right: f64) -> Result<Val<'f>, Refused> {
    let result = match operator {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide | Arithmetic::Modulo if right == 0.0 => return Err(BY_ZERO),
        Arithmetic::Divide => left / right,
        Arithmetic::Modulo => left % right,
    };
    if result.is_finite() { Ok(Val::Float(result)) } else { Err(TOO_LARGE) }
}
