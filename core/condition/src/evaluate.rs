//! Evaluation of the compiled form over borrowed state.

use crate::compile::{Arithmetic, Comparison, Constant, Function, Node, exact_ms};
use model::{Attributes, Text, Timestamp, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// Where a path begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    Event,
    Profile,
    Record,
    /// The last event of that name.
    Trigger(Text),
    Step(Text),
}

/// The state a condition reads.
pub trait Facts {
    /// None: there is nothing of that kind now.
    fn root(&self, root: &Root) -> Option<&Attributes>;
    /// The record's stamp (E12).
    fn now(&self) -> Timestamp;
}

pub(crate) struct Nothing;

impl Facts for Nothing {
    fn root(&self, _: &Root) -> Option<&Attributes> {
        None
    }
    fn now(&self) -> Timestamp {
        Timestamp::MIN
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Lack {
    /// Nothing is at this path.
    Missing(Text),
    /// What is there does not fit what is done with it.
    Unfit(Text),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Missing(path) => write!(f, "{path} has no value"),
            Lack::Unfit(why) => f.write_str(why),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path {
    pub root: Root,
    pub rest: Vec<Text>,
    /// As written, with dots.
    pub text: Text,
    pub is_datetime: bool,
}

impl Path {
    pub fn find<'f>(&self, facts: &'f dyn Facts) -> Option<&'f Value> {
        let (first, rest) = self.rest.split_first()?;
        let mut value = facts.root(&self.root)?.get(first)?;
        for segment in rest {
            value = match value {
                Value::Map(map) => map.get(segment)?,
                Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => {
                    return None;
                }
            };
        }
        Some(value)
    }
}

#[derive(Clone, Debug)]
enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Time(Timestamp),
    Duration(i64),
    List(&'a [Value]),
    Map(&'a Attributes),
    /// Built in the condition itself.
    Items(Vec<Val<'a>>),
}

impl<'a> Val<'a> {
    fn of(value: &'a Value) -> Self {
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

    fn kind(&self) -> &'static str {
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

    fn into_value(self) -> Value {
        match self {
            Val::Null => Value::Null,
            Val::Bool(truth) => Value::Bool(truth),
            Val::Int(number) => Value::Int(number),
            Val::Float(number) => Value::Float(number),
            Val::Text(text) => Value::Text(text.into()),
            Val::Time(at) => Value::Text(at.to_string().into()),
            Val::Duration(ms) => Value::Text(format!("{}s", ms / 1000).into()),
            Val::List(items) => Value::List(items.to_vec()),
            Val::Map(map) => Value::Map(map.clone()),
            Val::Items(items) => Value::List(items.into_iter().map(Val::into_value).collect()),
        }
    }
}

type Evaluated<T> = Result<T, Lack>;

fn unfit<T>(why: impl Into<Text>) -> Evaluated<T> {
    Err(Lack::Unfit(why.into()))
}

impl Node {
    pub(crate) fn truth(&self, facts: &dyn Facts) -> Evaluated<bool> {
        match self {
            Node::And(left, right) => match (left.truth(facts), right) {
                (Ok(false), _) => Ok(false),
                (Ok(true), right) => right.truth(facts),
                // CEL: false decides alone, whatever the other operand lacks.
                (Err(lack), right) => match right.truth(facts) {
                    Ok(false) => Ok(false),
                    Ok(true) | Err(_) => Err(lack),
                },
            },
            Node::Or(left, right) => match (left.truth(facts), right) {
                (Ok(true), _) => Ok(true),
                (Ok(false), right) => right.truth(facts),
                (Err(lack), right) => match right.truth(facts) {
                    Ok(true) => Ok(true),
                    Ok(false) | Err(_) => Err(lack),
                },
            },
            Node::Not(one) => one.truth(facts).map(|truth| !truth),
            Node::Has(path) => Ok(path.find(facts).is_some_and(|value| *value != Value::Null)),
            Node::Compare(comparison, left, right) => compare(*comparison, &left.val(facts)?, &right.val(facts)?),
            Node::In(item, list) => contains(&item.val(facts)?, &list.val(facts)?),
            Node::Constant(_)
            | Node::Now
            | Node::Path(_)
            | Node::Negate(_)
            | Node::Arithmetic(..)
            | Node::Index(..)
            | Node::Ternary(_)
            | Node::List(_)
            | Node::Call(..) => match self.val(facts)? {
                Val::Bool(truth) => Ok(truth),
                other => unfit(format!("true or false was expected, {} came", other.kind())),
            },
        }
    }

    pub(crate) fn value(&self, facts: &dyn Facts) -> Evaluated<Value> {
        match self {
            Node::Path(path) => path.find(facts).cloned().ok_or_else(|| Lack::Missing(path.text.clone())),
            _ => Ok(self.val(facts)?.into_value()),
        }
    }

    fn val<'f>(&'f self, facts: &'f dyn Facts) -> Evaluated<Val<'f>> {
        match self {
            Node::Constant(constant) => Ok(match constant {
                Constant::Null => Val::Null,
                Constant::Bool(truth) => Val::Bool(*truth),
                Constant::Int(number) => Val::Int(*number),
                Constant::Float(number) => Val::Float(*number),
                Constant::Text(text) => Val::Text(Cow::Borrowed(text)),
                Constant::Time(at) => Val::Time(*at),
                Constant::Duration(ms) => Val::Duration(*ms),
            }),
            Node::Now => Ok(Val::Time(facts.now())),
            Node::Path(path) => read(path, facts),
            Node::And(..) | Node::Or(..) | Node::Not(_) | Node::Has(_) | Node::Compare(..) | Node::In(..) => {
                self.truth(facts).map(Val::Bool)
            }
            Node::Negate(one) => match one.val(facts)? {
                Val::Int(number) => {
                    number.checked_neg().map_or_else(|| unfit("a number is too large"), |n| Ok(Val::Int(n)))
                }
                Val::Float(number) => Ok(Val::Float(-number)),
                other => unfit(format!("`-` needs a number, {} came", other.kind())),
            },
            Node::Arithmetic(operator, left, right) => compute(*operator, left.val(facts)?, right.val(facts)?),
            Node::Index(list, index) => at(list.val(facts)?, &index.val(facts)?),
            Node::Ternary(parts) => {
                let [condition, yes, no] = parts.as_ref();
                if condition.truth(facts)? { yes.val(facts) } else { no.val(facts) }
            }
            Node::List(nodes) => {
                Ok(Val::Items(nodes.iter().map(|node| node.val(facts)).collect::<Evaluated<Vec<_>>>()?))
            }
            Node::Call(function, nodes) => call(*function, nodes, facts),
        }
    }
}

fn read<'f>(path: &'f Path, facts: &'f dyn Facts) -> Evaluated<Val<'f>> {
    let Some(value) = path.find(facts) else { return Err(Lack::Missing(path.text.clone())) };
    match (path.is_datetime, value) {
        (true, Value::Text(text)) => instant(text)
            .map(Val::Time)
            .ok_or_else(|| Lack::Unfit(format!("{} holds `{text}`, which is not a date-time", path.text).into())),
        (_, value) => Ok(Val::of(value)),
    }
}

/// A date-time without an offset is read as UTC here: a condition has no zone of its own.
fn instant(text: &str) -> Option<Timestamp> {
    if let Some(at) = Timestamp::parse(text) {
        return Some(at);
    }
    let local: jiff::civil::DateTime = text.trim().parse().ok()?;
    jiff::tz::TimeZone::UTC.to_timestamp(local).ok().map(Timestamp::from_jiff)
}

fn order(left: &Val<'_>, right: &Val<'_>) -> Evaluated<Ordering> {
    let order = match (left, right) {
        (Val::Int(left), Val::Int(right)) => Some(left.cmp(right)),
        (Val::Int(left), Val::Float(right)) => compare_mixed(*left, *right),
        (Val::Float(left), Val::Int(right)) => compare_mixed(*right, *left).map(Ordering::reverse),
        (Val::Float(left), Val::Float(right)) => left.partial_cmp(right),
        (Val::Text(left), Val::Text(right)) => Some(left.cmp(right)),
        (Val::Time(left), Val::Time(right)) => Some(left.cmp(right)),
        (Val::Duration(left), Val::Duration(right)) => Some(left.cmp(right)),
        (Val::Bool(left), Val::Bool(right)) => Some(left.cmp(right)),
        // An undeclared attribute holds its date-time as text.
        (Val::Text(left), Val::Time(right)) => instant(left).map(|left| left.cmp(right)),
        (Val::Time(left), Val::Text(right)) => instant(right).map(|right| left.cmp(&right)),
        _ => None,
    };
    order.map_or_else(|| unfit(format!("{} cannot be compared with {}", left.kind(), right.kind())), Ok)
}

/// Exact, where a cast to f64 would round.
fn compare_mixed(whole: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= 9_223_372_036_854_775_808.0 {
        return Some(Ordering::Less);
    }
    if float < -9_223_372_036_854_775_808.0 {
        return Some(Ordering::Greater);
    }
    let truncated = float.trunc() as i64;
    Some(whole.cmp(&truncated).then_with(|| 0.0_f64.partial_cmp(&(float - float.trunc())).unwrap_or(Ordering::Equal)))
}

fn equals(left: &Val<'_>, right: &Val<'_>) -> Evaluated<bool> {
    match (left, right) {
        (Val::Null, Val::Null) => Ok(true),
        (Val::Null, _) | (_, Val::Null) => Ok(false),
        (Val::List(left), Val::List(right)) => Ok(left == right),
        (Val::Map(left), Val::Map(right)) => Ok(left == right),
        (Val::Items(left), Val::List(right)) | (Val::List(right), Val::Items(left)) => {
            all_equal(left.iter(), right.iter().map(Val::of), left.len() == right.len())
        }
        (Val::Items(left), Val::Items(right)) => {
            all_equal(left.iter(), right.iter().cloned(), left.len() == right.len())
        }
        (left, right) => order(left, right).map(Ordering::is_eq),
    }
}

fn all_equal<'a, 'b>(
    left: impl Iterator<Item = &'b Val<'a>>,
    right: impl Iterator<Item = Val<'b>>,
    same_length: bool,
) -> Evaluated<bool>
where
    'a: 'b,
{
    if !same_length {
        return Ok(false);
    }
    for (left, right) in left.zip(right) {
        if !equals(left, &right)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn compare(comparison: Comparison, left: &Val<'_>, right: &Val<'_>) -> Evaluated<bool> {
    Ok(match comparison {
        Comparison::Equal => equals(left, right)?,
        Comparison::NotEqual => !equals(left, right)?,
        Comparison::Less => order(left, right)?.is_lt(),
        Comparison::LessOrEqual => order(left, right)?.is_le(),
        Comparison::Greater => order(left, right)?.is_gt(),
        Comparison::GreaterOrEqual => order(left, right)?.is_ge(),
    })
}

/// An item of another type than what is looked for is not it; that is no error here, as in CEL.
fn contains(item: &Val<'_>, list: &Val<'_>) -> Evaluated<bool> {
    match list {
        Val::List(items) => Ok(items.iter().any(|held| equals(item, &Val::of(held)).unwrap_or(false))),
        Val::Items(items) => Ok(items.iter().any(|held| equals(item, held).unwrap_or(false))),
        Val::Map(map) => match item {
            Val::Text(name) => Ok(map.get(name).is_some()),
            other => unfit(format!("the names of an object are texts, {} came", other.kind())),
        },
        other => unfit(format!("`in` needs a list, {} came", other.kind())),
    }
}

fn at<'f>(list: Val<'f>, index: &Val<'_>) -> Evaluated<Val<'f>> {
    let missing = |what: String| Err(Lack::Missing(what.into()));
    match (list, index) {
        (Val::List(items), Val::Int(index)) => match usize::try_from(*index).ok().and_then(|index| items.get(index)) {
            Some(value) => Ok(Val::of(value)),
            None => missing(format!("item {index} of a list of {}", items.len())),
        },
        (Val::Map(map), Val::Text(name)) => match map.get(name) {
            Some(value) => Ok(Val::of(value)),
            None => missing(name.to_string()),
        },
        (list, index) => unfit(format!("{} has no [{}]", list.kind(), index.kind())),
    }
}

fn compute<'f>(operator: Arithmetic, left: Val<'f>, right: Val<'f>) -> Evaluated<Val<'f>> {
    let overflow = || Lack::Unfit("a number is too large".into());
    Ok(match (operator, left, right) {
        (operator, Val::Int(left), Val::Int(right)) => {
            let result = match operator {
                Arithmetic::Add => left.checked_add(right),
                Arithmetic::Subtract => left.checked_sub(right),
                Arithmetic::Multiply => left.checked_mul(right),
                Arithmetic::Divide | Arithmetic::Modulo if right == 0 => return unfit("a division by zero"),
                Arithmetic::Divide => left.checked_div(right),
                Arithmetic::Modulo => left.checked_rem(right),
            };
            Val::Int(result.ok_or_else(overflow)?)
        }
        (operator, Val::Int(left), Val::Float(right)) => float(operator, left as f64, right)?,
        (operator, Val::Float(left), Val::Int(right)) => float(operator, left, right as f64)?,
        (operator, Val::Float(left), Val::Float(right)) => float(operator, left, right)?,
        (Arithmetic::Add, Val::Text(left), Val::Text(right)) => Val::Text(Cow::Owned(format!("{left}{right}"))),
        (Arithmetic::Add, Val::Time(at), Val::Duration(ms)) => Val::Time(at.plus_ms(ms)),
        (Arithmetic::Subtract, Val::Time(at), Val::Duration(ms)) => Val::Time(at.plus_ms(-ms)),
        (Arithmetic::Subtract, Val::Time(left), Val::Time(right)) => Val::Duration(left.ms_since(right)),
        (Arithmetic::Add, Val::Duration(left), Val::Duration(right)) => {
            Val::Duration(left.checked_add(right).ok_or_else(overflow)?)
        }
        (Arithmetic::Subtract, Val::Duration(left), Val::Duration(right)) => {
            Val::Duration(left.checked_sub(right).ok_or_else(overflow)?)
        }
        (operator, left, right) => {
            return unfit(format!("`{}` is not defined for {} and {}", operator.symbol(), left.kind(), right.kind()));
        }
    })
}

fn float<'f>(operator: Arithmetic, left: f64, right: f64) -> Evaluated<Val<'f>> {
    Ok(Val::Float(match operator {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide => left / right,
        Arithmetic::Modulo => left % right,
    }))
}

fn call<'f>(function: Function, nodes: &'f [Node], facts: &'f dyn Facts) -> Evaluated<Val<'f>> {
    let first = nodes[0].val(facts)?;
    let second = nodes.get(1).map(|node| node.val(facts)).transpose()?;
    let came = format!("{:?} cannot be applied to {}", function, first.kind());
    match (function, first, second) {
        (Function::Size, Val::Text(text), _) => Ok(Val::Int(length(text.chars().count()))),
        (Function::Size, Val::List(items), _) => Ok(Val::Int(length(items.len()))),
        (Function::Size, Val::Items(items), _) => Ok(Val::Int(length(items.len()))),
        (Function::Size, Val::Map(map), _) => Ok(Val::Int(length(map.len()))),
        (Function::Contains, Val::Text(text), Some(Val::Text(part))) => Ok(Val::Bool(text.contains(part.as_ref()))),
        (Function::StartsWith, Val::Text(text), Some(Val::Text(part))) => {
            Ok(Val::Bool(text.starts_with(part.as_ref())))
        }
        (Function::EndsWith, Val::Text(text), Some(Val::Text(part))) => Ok(Val::Bool(text.ends_with(part.as_ref()))),
        (Function::LowerAscii, Val::Text(text), _) => Ok(Val::Text(text.to_ascii_lowercase().into())),
        (Function::UpperAscii, Val::Text(text), _) => Ok(Val::Text(text.to_ascii_uppercase().into())),
        (Function::Timestamp, at @ Val::Time(_), _) => Ok(at),
        (Function::Timestamp, Val::Text(text), _) => {
            instant(&text).map_or_else(|| unfit(format!("`{text}` is not a date-time")), |at| Ok(Val::Time(at)))
        }
        (Function::Duration, ms @ Val::Duration(_), _) => Ok(ms),
        (Function::Duration, Val::Text(text), _) => exact_ms(&text)
            .map_or_else(|| unfit(format!("`{text}` is not an exact duration")), |ms| Ok(Val::Duration(ms))),
        (Function::Int, number @ Val::Int(_), _) => Ok(number),
        (Function::Int, Val::Float(number), _) if number.abs() < 9.2e18 => Ok(Val::Int(number.trunc() as i64)),
        (Function::Int, Val::Text(text), _) => {
            text.trim().parse().map_or_else(|_| unfit(format!("`{text}` is not a whole number")), |n| Ok(Val::Int(n)))
        }
        (Function::Double, Val::Int(number), _) => Ok(Val::Float(number as f64)),
        (Function::Double, number @ Val::Float(_), _) => Ok(number),
        (Function::Double, Val::Text(text), _) => {
            text.trim().parse().map_or_else(|_| unfit(format!("`{text}` is not a number")), |n| Ok(Val::Float(n)))
        }
        (Function::String, text @ Val::Text(_), _) => Ok(text),
        (Function::String, Val::Int(number), _) => Ok(Val::Text(number.to_string().into())),
        (Function::String, Val::Float(number), _) => Ok(Val::Text(number.to_string().into())),
        (Function::String, Val::Bool(truth), _) => Ok(Val::Text(truth.to_string().into())),
        (Function::String, Val::Time(at), _) => Ok(Val::Text(at.to_string().into())),
        _ => unfit(came),
    }
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
