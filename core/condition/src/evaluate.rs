//! Evaluation of the compiled form over borrowed state.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an operator names the values it is defined for; every other, also one to come, is refused and named"
)]

use crate::node::{Constant, Function, Node, Path, Root};
use crate::operate::{Refused, Val, compare, compute, equals, exact_duration, instant};
use model::{Attributes, Text, Timestamp, Value};
use std::fmt;

/// The state a condition reads.
pub trait Facts {
    /// None: there is nothing of that kind now.
    fn root(&self, root: &Root) -> Option<&Attributes>;
    /// The record's stamp (E12).
    fn now(&self) -> Timestamp;
    /// In which a date-time without offset is read: the profile's, else the journey's, else UTC (J8). Asked for only
    /// when there is such a date-time.
    fn zone(&self) -> calendar::Zone;
}

struct Nothing;

impl Facts for Nothing {
    fn root(&self, _: &Root) -> Option<&Attributes> {
        None
    }
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }
    fn zone(&self) -> calendar::Zone {
        calendar::Zone::utc()
    }
}

/// Why there is no answer (J10).
#[derive(Clone, Debug, PartialEq, Eq)]
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

type Evaluated<T> = Result<T, Lack>;

fn unfit<T>(why: impl Into<Text>) -> Evaluated<T> {
    Err(Lack::Unfit(why.into()))
}

/// The value of a node that reads nothing; None if a constant cannot hold it.
///
/// # Errors
/// Why it has none.
pub(crate) fn constant(node: &Node) -> Evaluated<Option<Constant>> {
    node.val(&Nothing).map(Val::into_constant)
}

impl Path {
    pub(crate) fn find<'f>(&self, facts: &'f dyn Facts) -> Option<&'f Value> {
        self.find_in(facts.root(&self.root)?)
    }

    fn read<'f>(&'f self, facts: &'f dyn Facts) -> Evaluated<Val<'f>> {
        let Some(value) = self.find(facts) else { return Err(Lack::Missing(self.text.clone())) };
        match (self.is_datetime, value) {
            (true, Value::Text(text)) => match instant(text, facts) {
                Some(at) => Ok(Val::Time(at)),
                None => unfit(format!("{} holds `{text}`, which is not a date-time", self.text)),
            },
            (_, value) => Ok(Val::of(value)),
        }
    }
}

impl Node {
    pub(crate) fn truth(&self, facts: &dyn Facts) -> Evaluated<bool> {
        match self {
            Node::And(left, right) => decide(false, left.truth(facts), || right.truth(facts)),
            Node::Or(left, right) => decide(true, left.truth(facts), || right.truth(facts)),
            Node::Not(one) => one.truth(facts).map(|truth| !truth),
            Node::Has(path) => Ok(path.find(facts).is_some_and(|value| *value != Value::Null)),
            Node::HasMember(of, name) => has_member(of, name, facts),
            Node::Compare(comparison, left, right) => {
                let (a, b) = (left.val(facts)?, right.val(facts)?);
                compare(*comparison, &a, &b, facts).ok_or_else(|| incomparable(left, &a, right, &b))
            }
            Node::In(item, list) => contained(item, list, facts),
            Node::Matches(text, pattern) => match text.val(facts)? {
                Val::Text(text) => Ok(pattern.is_match(&text)),
                other => unfit(format!("`matches` needs a text, not {}{}", other.kind(), text.label())),
            },
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
                other => unfit(format!("true or false was expected, {}{} came", other.kind(), self.label())),
            },
        }
    }

    /// Of a bare path the value as it is held.
    pub(crate) fn value(&self, facts: &dyn Facts) -> Evaluated<Value> {
        if let Node::Path(path) = self {
            return path.find(facts).cloned().ok_or_else(|| Lack::Missing(path.text.clone()));
        }
        self.val(facts).map(Val::into_value)
    }

    fn val<'f>(&'f self, facts: &'f dyn Facts) -> Evaluated<Val<'f>> {
        match self {
            Node::Constant(constant) => Ok(Val::of_constant(constant)),
            Node::Now => Ok(Val::Time(facts.now().to_jiff())),
            Node::Path(path) => path.read(facts),
            Node::And(..)
            | Node::Or(..)
            | Node::Not(_)
            | Node::Has(_)
            | Node::HasMember(..)
            | Node::Compare(..)
            | Node::In(..)
            | Node::Matches(..) => self.truth(facts).map(Val::Bool),
            Node::Negate(one) => negate(one, facts),
            Node::Arithmetic(operator, left, right) => {
                let (a, b) = (left.val(facts)?, right.val(facts)?);
                compute(*operator, &a, &b).or_else(|refused| match refused {
                    Refused::Why(why) => unfit(why),
                    Refused::Types => unfit(format!(
                        "`{}` is not defined for {}{} and {}{}",
                        operator.symbol(),
                        a.kind(),
                        left.label(),
                        b.kind(),
                        right.label()
                    )),
                })
            }
            Node::Index(list, index) => item(list, index, facts),
            Node::Ternary(parts) => {
                let [condition, yes, no] = parts.as_ref();
                if condition.truth(facts)? { yes.val(facts) } else { no.val(facts) }
            }
            Node::List(nodes) => nodes.iter().map(|node| node.val(facts)).collect::<Evaluated<_>>().map(Val::Items),
            Node::Call(function, nodes) => call(*function, nodes, facts),
        }
    }
}

/// `&&` (decided by false) and `||` (by true), as in CEL: the deciding truth decides alone, on either side, whatever
/// the other side lacks.
fn decide(deciding: bool, left: Evaluated<bool>, right: impl FnOnce() -> Evaluated<bool>) -> Evaluated<bool> {
    match left {
        Ok(truth) if truth == deciding => Ok(deciding),
        Ok(_) => right(),
        Err(lack) => match right() {
            Ok(truth) if truth == deciding => Ok(deciding),
            Ok(_) | Err(_) => Err(lack),
        },
    }
}

fn incomparable(left: &Node, a: &Val<'_>, right: &Node, b: &Val<'_>) -> Lack {
    let not_a_time = |node: &Node, text: &str| {
        format!("{} holds `{text}`, which is not a date-time", node.name().unwrap_or("a text"))
    };
    Lack::Unfit(Text::from(match (a, b) {
        (Val::Text(text), Val::Time(_)) => not_a_time(left, text),
        (Val::Time(_), Val::Text(text)) => not_a_time(right, text),
        (a, b) => format!("{}{} cannot be compared with {}{}", a.kind(), left.label(), b.kind(), right.label()),
    }))
}

/// Nothing there is no member, as for a path; something without members is a mistake.
fn has_member(of: &Node, name: &str, facts: &dyn Facts) -> Evaluated<bool> {
    match of.val(facts) {
        Ok(Val::Map(map)) => Ok(map.get(name).is_some_and(|value| *value != Value::Null)),
        Ok(Val::Null) | Err(Lack::Missing(_)) => Ok(false),
        Ok(other) => unfit(format!("`has` needs an object, not {}{}", other.kind(), of.label())),
        Err(lack @ Lack::Unfit(_)) => Err(lack),
    }
}

/// `in` is `==` with each item, joined by `||`: one that fits decides, else one that cannot be compared is a mistake.
fn contained(item: &Node, list: &Node, facts: &dyn Facts) -> Evaluated<bool> {
    let wanted = item.val(facts)?;
    let mut unfit_item = None;
    let mut is_it = |held: &Val<'_>| {
        equals(&wanted, held, facts).unwrap_or_else(|| {
            unfit_item.get_or_insert_with(|| held.kind());
            false
        })
    };
    let found = match list.val(facts)? {
        Val::List(items) => items.iter().any(|held| is_it(&Val::of(held))),
        Val::Items(items) => items.iter().any(is_it),
        Val::Map(map) => match &wanted {
            Val::Text(name) => map.get(name).is_some(),
            other => return unfit(format!("the names of an object are texts, not {}{}", other.kind(), item.label())),
        },
        other => return unfit(format!("`in` needs a list, not {}{}", other.kind(), list.label())),
    };
    match unfit_item {
        Some(kind) if !found => {
            unfit(format!("{}{} cannot be compared with {kind} in a list{}", wanted.kind(), item.label(), list.label()))
        }
        Some(_) | None => Ok(found),
    }
}

fn negate<'f>(one: &'f Node, facts: &'f dyn Facts) -> Evaluated<Val<'f>> {
    let negated = match one.val(facts)? {
        Val::Int(number) => number.checked_neg().map(Val::Int),
        Val::Float(number) => Some(Val::Float(-number)),
        Val::Duration(duration) => duration.checked_neg().map(Val::Duration),
        other => return unfit(format!("`-` needs a number, not {}{}", other.kind(), one.label())),
    };
    negated.map_or_else(|| unfit("a number is too large"), Ok)
}

fn item<'f>(list: &'f Node, index: &'f Node, facts: &'f dyn Facts) -> Evaluated<Val<'f>> {
    let (held, at) = (list.val(facts)?, index.val(facts)?);
    let at = match at {
        // A whole number may come as 1.0.
        Val::Float(number) if number.fract() == 0.0 && number.abs() < 1e9 => Val::Int(number as i64),
        other => other,
    };
    let no_item = |at: i64, length: usize| {
        let list = list.name().unwrap_or("a list");
        Err(Lack::Missing(format!("item {at} of {list}, which has {length},").into()))
    };
    match (held, at) {
        (Val::List(items), Val::Int(at)) => match usize::try_from(at).ok().and_then(|at| items.get(at)) {
            Some(value) => Ok(Val::of(value)),
            None => no_item(at, items.len()),
        },
        (Val::Items(items), Val::Int(at)) => {
            let length = items.len();
            let found = usize::try_from(at).ok().and_then(|at| items.into_iter().nth(at));
            found.map_or_else(|| no_item(at, length), Ok)
        }
        (Val::Map(map), Val::Text(name)) => match map.get(&name) {
            Some(value) => Ok(Val::of(value)),
            None => Err(Lack::Missing(name.as_ref().into())),
        },
        (held, at) => unfit(format!("{}{} has no item named by {}", held.kind(), list.label(), at.kind())),
    }
}

fn call<'f>(function: Function, nodes: &'f [Node], facts: &'f dyn Facts) -> Evaluated<Val<'f>> {
    let (first, second) = match nodes {
        [one] => (one.val(facts)?, None),
        [one, other] => (one.val(facts)?, Some(other.val(facts)?)),
        _ => unreachable!("INVARIANT: the check lets one or two arguments pass, not {}", nodes.len()),
    };
    match (function, first, second) {
        (Function::Size, Val::Text(text), _) => Ok(Val::Int(length(text.chars().count()))),
        (Function::Size, Val::List(items), _) => Ok(Val::Int(length(items.len()))),
        (Function::Size, Val::Items(items), _) => Ok(Val::Int(length(items.len()))),
        (Function::Size, Val::Map(map), _) => Ok(Val::Int(length(map.len()))),
        (Function::Contains, Val::Text(text), Some(Val::Text(part))) => Ok(Val::Bool(text.contains(&*part))),
        (Function::StartsWith, Val::Text(text), Some(Val::Text(part))) => Ok(Val::Bool(text.starts_with(&*part))),
        (Function::EndsWith, Val::Text(text), Some(Val::Text(part))) => Ok(Val::Bool(text.ends_with(&*part))),
        (Function::LowerAscii, Val::Text(text), _) => Ok(Val::Text(text.to_ascii_lowercase().into())),
        (Function::UpperAscii, Val::Text(text), _) => Ok(Val::Text(text.to_ascii_uppercase().into())),
        (Function::Timestamp, at @ Val::Time(_), _) => Ok(at),
        (Function::Timestamp, Val::Text(text), _) => {
            instant(&text, facts).map_or_else(|| unfit(format!("`{text}` is not a date-time")), |at| Ok(Val::Time(at)))
        }
        (Function::Duration, duration @ Val::Duration(_), _) => Ok(duration),
        (Function::Duration, Val::Text(text), _) => match exact_duration(&text) {
            Some(duration) => Ok(Val::Duration(duration)),
            None => unfit(format!("`{text}` is not an exact duration; expected h, m and s, such as 36h")),
        },
        (Function::Int | Function::Double, number @ (Val::Int(_) | Val::Float(_) | Val::Text(_)), _) => {
            convert(function, number)
        }
        (Function::String, text @ Val::Text(_), _) => Ok(text),
        (Function::String, Val::Int(number), _) => Ok(Val::Text(number.to_string().into())),
        (Function::String, Val::Float(number), _) => Ok(Val::Text(number.to_string().into())),
        (Function::String, Val::Bool(truth), _) => Ok(Val::Text(truth.to_string().into())),
        (Function::String, Val::Time(at), _) => Ok(Val::Text(at.to_string().into())),
        (_, first, second) => {
            let labels: Vec<String> = [Some(first), second]
                .into_iter()
                .flatten()
                .zip(nodes)
                .map(|(val, node)| format!("{}{}", val.kind(), node.label()))
                .collect();
            unfit(format!("`{}` cannot be applied to {}", function.signature().name, labels.join(" and ")))
        }
    }
}

fn convert<'f>(function: Function, number: Val<'f>) -> Evaluated<Val<'f>> {
    let is_whole = function == Function::Int;
    let converted = match &number {
        Val::Int(whole) => Some(if is_whole { Val::Int(*whole) } else { Val::Float(*whole as f64) }),
        // 2^63 is the first float past the whole numbers; a cast beyond it would saturate silently.
        Val::Float(float) if is_whole => (float.abs() < 9_223_372_036_854_775_808.0).then_some(Val::Int(*float as i64)),
        Val::Float(float) => Some(Val::Float(*float)),
        Val::Text(text) if is_whole => text.trim().parse().ok().map(Val::Int),
        Val::Text(text) => text.trim().parse().ok().filter(|float: &f64| float.is_finite()).map(Val::Float),
        _ => None,
    };
    match (converted, number) {
        (Some(converted), _) => Ok(converted),
        (None, Val::Text(text)) if is_whole => unfit(format!("`{text}` is not a whole number")),
        (None, Val::Text(text)) => unfit(format!("`{text}` is not a number")),
        (None, _) => unfit("a number is too large"),
    }
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
