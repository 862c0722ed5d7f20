//! The filters: one line in the table and one function each. None reads a clock, panics, or works for free: the
//! renderer charges every filter for the bytes of its input, arguments and result.

use crate::Format;
use crate::date;
use crate::render::{Failure, Meter, escape};
use crate::value::{Number, Val};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::RangeInclusive;

#[derive(Debug)]
pub struct Filter {
    pub name: &'static str,
    /// How many arguments it takes.
    pub arguments: RangeInclusive<usize>,
    /// What it makes of nothing. Most filters leave nothing as nothing, so that it is noticed when printed.
    on_nil: OnNil,
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnNil {
    Stays,
    Applies,
}

type Body = for<'a> fn(Val<'a>, &[Val<'a>], &mut Meter) -> Result<Val<'a>, Problem>;

/// Why a filter has no result: a limit, or a sentence for the template's writer, without any value of the data.
enum Problem {
    Limit(Failure),
    Says(&'static str),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Problem::Limit(failure)
    }
}

impl Filter {
    const fn new(name: &'static str, arguments: RangeInclusive<usize>, body: Body) -> Self {
        Filter { name, arguments, on_nil: OnNil::Stays, body }
    }

    const fn also_of_nothing(name: &'static str, arguments: RangeInclusive<usize>, body: Body) -> Self {
        Filter { name, arguments, on_nil: OnNil::Applies, body }
    }

    /// # Errors
    /// A limit, or what the filter cannot do.
    pub fn apply<'a>(&self, input: Val<'a>, arguments: &[Val<'a>], meter: &mut Meter) -> Result<Val<'a>, Failure> {
        if matches!(input, Val::Nil) && self.on_nil == OnNil::Stays {
            return Ok(Val::Nil);
        }
        (self.body)(input, arguments, meter).map_err(|problem| match problem {
            Problem::Limit(failure) => failure,
            Problem::Says(message) => Failure::Filter { name: self.name, message: message.to_owned() },
        })
    }
}

pub fn find(name: &str) -> Option<&'static Filter> {
    FILTERS.iter().find(|filter| filter.name == name)
}

static FILTERS: [Filter; 50] = [
    Filter::also_of_nothing("default", 1..=1, |input, arguments, _| {
        Ok(if input.is_blank() { arguments[0].clone() } else { input })
    }),
    Filter::new("date", 1..=2, |input, arguments, meter| {
        let zone = arguments.get(1).map(Val::text);
        let text = date::format(&input, &arguments[0].text(), zone.as_deref(), meter.now);
        text.map(Val::from).map_err(Problem::Says)
    }),
    Filter::new("json", 0..=0, |input, _, _| Ok(input.json().into())),
    // Text and HTML.
    Filter::new("raw", 0..=0, |input, _, _| Ok(Val::Html(into_text(input)))),
    Filter::new("escape", 0..=0, |input, _, _| Ok(Val::Html(Cow::Owned(escaped(&input))))),
    Filter::new("newline_to_br", 0..=0, |input, _, meter| {
        let text = if meter.format == Format::Html { escaped(&input) } else { input.text().into_owned() };
        Ok(Val::Html(Cow::Owned(text.replace("\r\n", "\n").replace('\n', "<br />\n"))))
    }),
    Filter::new("strip_html", 0..=0, |input, _, _| Ok(strip_html(&input.text()).into())),
    Filter::new("url_encode", 0..=0, |input, _, _| Ok(url_encode(&input.text()).into())),
    Filter::new("url_decode", 0..=0, |input, _, _| url_decode(&input.text()).map(Val::from)),
    // Text.
    Filter::also_of_nothing("append", 1..=1, |input, arguments, _| {
        Ok((input.text() + arguments[0].text()).into_owned().into())
    }),
    Filter::also_of_nothing("prepend", 1..=1, |input, arguments, _| {
        Ok((arguments[0].text() + input.text()).into_owned().into())
    }),
    Filter::new("upcase", 0..=0, |input, _, _| Ok(input.text().to_uppercase().into())),
    Filter::new("downcase", 0..=0, |input, _, _| Ok(input.text().to_lowercase().into())),
    Filter::new("capitalize", 0..=0, |input, _, _| Ok(capitalize(&input.text()).into())),
    Filter::new("strip", 0..=0, |input, _, _| Ok(input.text().trim().to_owned().into())),
    Filter::new("lstrip", 0..=0, |input, _, _| Ok(input.text().trim_start().to_owned().into())),
    Filter::new("rstrip", 0..=0, |input, _, _| Ok(input.text().trim_end().to_owned().into())),
    Filter::new("strip_newlines", 0..=0, |input, _, _| Ok(input.text().replace(['\n', '\r'], "").into())),
    Filter::new("replace", 1..=2, |input, arguments, meter| replace(&input, arguments, usize::MAX, meter)),
    Filter::new("replace_first", 1..=2, |input, arguments, meter| replace(&input, arguments, 1, meter)),
    Filter::new("remove", 1..=1, |input, arguments, meter| replace(&input, arguments, usize::MAX, meter)),
    Filter::new("remove_first", 1..=1, |input, arguments, meter| replace(&input, arguments, 1, meter)),
    Filter::new("truncate", 0..=2, |input, arguments, _| truncate(&input, arguments)),
    Filter::new("truncatewords", 0..=2, |input, arguments, _| truncate_words(&input, arguments)),
    Filter::new("split", 1..=1, |input, arguments, meter| split(&input, &arguments[0], meter)),
    Filter::new("slice", 1..=2, |input, arguments, _| slice(&input, arguments)),
    Filter::also_of_nothing("size", 0..=0, |input, _, _| {
        let size = input.member("size");
        Ok(if matches!(size, Val::Nil) { Val::Int(0) } else { size })
    }),
    // Numbers.
    Filter::new("plus", 1..=1, |a, b, _| arithmetic(&a, &b[0], i64::checked_add, |a, b| a + b)),
    Filter::new("minus", 1..=1, |a, b, _| arithmetic(&a, &b[0], i64::checked_sub, |a, b| a - b)),
    Filter::new("times", 1..=1, |a, b, _| arithmetic(&a, &b[0], i64::checked_mul, |a, b| a * b)),
    Filter::new("divided_by", 1..=1, |a, b, _| arithmetic(&a, &b[0], divide, |a, b| a / b)),
    Filter::new("modulo", 1..=1, |a, b, _| arithmetic(&a, &b[0], modulo, |a, b| a - b * (a / b).floor())),
    Filter::new("at_least", 1..=1, |a, b, _| arithmetic(&a, &b[0], |a, b| Some(a.max(b)), f64::max)),
    Filter::new("at_most", 1..=1, |a, b, _| arithmetic(&a, &b[0], |a, b| Some(a.min(b)), f64::min)),
    Filter::new("abs", 0..=0, |input, _, _| {
        Ok(match number(&input)? {
            Number::Int(whole) => whole.checked_abs().map(Val::Int).ok_or(Problem::Says(TOO_LARGE))?,
            Number::Float(float) => Val::Float(float.abs()),
        })
    }),
    Filter::new("ceil", 0..=0, |input, _, _| rounded(&input, 0, f64::ceil)),
    Filter::new("floor", 0..=0, |input, _, _| rounded(&input, 0, f64::floor)),
    Filter::new("round", 0..=1, |input, arguments, _| {
        rounded(&input, arguments.first().map_or(Ok(0), whole)?, f64::round)
    }),
    // Lists.
    Filter::new("first", 0..=0, |input, _, _| Ok(input.item(0))),
    Filter::new("last", 0..=0, |input, _, _| Ok(input.item(-1))),
    Filter::new("join", 0..=1, |input, arguments, meter| join(&input, arguments, meter)),
    Filter::new("map", 1..=1, |input, arguments, _| {
        let name = arguments[0].text();
        Ok(Val::list(input.items().iter().map(|item| item.member(&name)).collect()))
    }),
    Filter::new("where", 1..=2, |input, arguments, _| {
        let name = arguments[0].text();
        let mut items = input.items();
        items.retain(|item| {
            let value = item.member(&name);
            arguments.get(1).map_or(value.is_truthy(), |wanted| value.equals(wanted))
        });
        Ok(Val::list(items))
    }),
    Filter::new("sort", 0..=1, |input, arguments, meter| sort(&input, arguments, meter, Clone::clone)),
    Filter::new("sort_natural", 0..=1, |input, arguments, meter| {
        sort(&input, arguments, meter, |key| {
            if matches!(key, Val::Nil) { Val::Nil } else { key.text().to_lowercase().into() }
        })
    }),
    Filter::new("concat", 1..=1, |input, arguments, _| {
        let mut items = input.items();
        items.extend(arguments[0].items());
        Ok(Val::list(items))
    }),
    Filter::new("sum", 0..=1, |input, arguments, _| {
        let name = arguments.first().map(Val::text);
        let value = |item: &Val<'_>| name.as_ref().map_or_else(|| number(item), |name| number(&item.member(name)));
        input.items().iter().try_fold(Val::Int(0), |sum, item| {
            let value = match value(item)? {
                Number::Int(whole) => Val::Int(whole),
                Number::Float(float) => Val::Float(float),
            };
            arithmetic(&sum, &value, i64::checked_add, |a, b| a + b)
        })
    }),
    Filter::new("reverse", 0..=0, |input, _, _| {
        let mut items = input.items();
        items.reverse();
        Ok(Val::list(items))
    }),
    Filter::new("compact", 0..=0, |input, _, _| {
        let mut items = input.items();
        items.retain(|item| !matches!(item, Val::Nil));
        Ok(Val::list(items))
    }),
    Filter::new("uniq", 0..=0, |input, _, meter| uniq(&input, meter)),
];

const TOO_LARGE: &str = "the result is too large";

fn into_text(value: Val<'_>) -> Cow<'_, str> {
    if let Val::Text(text) | Val::Html(text) = value { text } else { Cow::Owned(value.text().into_owned()) }
}

/// As HTML; what is HTML already stays.
fn escaped(value: &Val<'_>) -> String {
    let text = value.text();
    if matches!(value, Val::Html(_)) {
        return text.into_owned();
    }
    let mut html = String::with_capacity(text.len() + 16);
    escape(&text, &mut html);
    html
}

/// Drops tags, comments, and scripts and styles with what they hold. One that is never closed takes all that follows.
fn strip_html(html: &str) -> String {
    const WITH_CONTENT: [(&str, &str); 3] = [("<!--", "-->"), ("<script", "</script"), ("<style", "</style")];
    let mut text = String::with_capacity(html.len());
    // NOTE: ASCII only, so that places in `lower` are places in `html`.
    let lower = html.to_ascii_lowercase();
    let mut at = 0;
    while let Some(open) = html[at..].find('<').map(|open| at + open) {
        text.push_str(&html[at..open]);
        let close = WITH_CONTENT
            .iter()
            .find(|(start, _)| lower[open..].starts_with(start))
            .map_or(Some(open), |(_, end)| lower[open..].find(end).map(|end| open + end));
        let Some(end) = close.and_then(|close| html[close..].find('>').map(|end| close + end)) else {
            return text;
        };
        at = end + 1;
    }
    text.push_str(&html[at..]);
    text
}

fn url_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    encoded
}

fn url_decode(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (b'%', &rest[1..]),
            },
            (b'+', after) => (b' ', after),
            (byte, after) => (*byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| Problem::Says("the decoded bytes are not UTF-8"))
}

fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn replace<'a>(input: &Val<'_>, arguments: &[Val<'_>], most: usize, meter: &mut Meter) -> Result<Val<'a>, Problem> {
    let (text, search) = (input.text(), arguments[0].text());
    let with = arguments.get(1).map_or(Cow::Borrowed(""), Val::text);
    // Paid for before it is made: `replace: "", long` multiplies.
    let found = text.matches(&*search).take(most).count();
    meter.handle(text.len() + found.saturating_mul(with.len()))?;
    Ok(text.replacen(&*search, &with, most).into())
}

fn truncate<'a>(input: &Val<'_>, arguments: &[Val<'_>]) -> Result<Val<'a>, Problem> {
    let text = input.text();
    let length = size_argument(arguments.first(), 50)?;
    let end = arguments.get(1).map_or(Cow::Borrowed("..."), Val::text);
    if text.chars().count() <= length {
        return Ok(text.into_owned().into());
    }
    let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    Ok((kept + &end).into())
}

fn truncate_words<'a>(input: &Val<'_>, arguments: &[Val<'_>]) -> Result<Val<'a>, Problem> {
    let text = input.text();
    let length = size_argument(arguments.first(), 15)?.max(1);
    let end = arguments.get(1).map_or(Cow::Borrowed("..."), Val::text);
    let mut words = text.split_whitespace();
    let kept: Vec<&str> = words.by_ref().take(length).collect();
    if words.next().is_none() {
        return Ok(text.into_owned().into());
    }
    Ok((kept.join(" ") + &end).into())
}

fn split<'a>(input: &Val<'_>, separator: &Val<'_>, meter: &mut Meter) -> Result<Val<'a>, Problem> {
    let (text, separator) = (input.text(), separator.text());
    let part = |part: &str| Val::from(part.to_owned());
    // An item costs more than its bytes, and single characters make the most of them.
    meter.work(text.len() as u64 / 4)?;
    let mut parts: Vec<Val<'_>> = if text.is_empty() {
        Vec::new()
    } else if separator.is_empty() {
        text.chars().map(|c| Val::from(c.to_string())).collect()
    } else if separator == " " {
        text.split_whitespace().map(part).collect()
    } else {
        text.split(&*separator).map(part).collect()
    };
    // As in Ruby, whose `split` Liquid's is.
    while parts.last().is_some_and(|last| last.text().is_empty()) {
        parts.pop();
    }
    Ok(Val::list(parts))
}

fn slice<'a>(input: &Val<'a>, arguments: &[Val<'_>]) -> Result<Val<'a>, Problem> {
    let offset = whole(&arguments[0])?;
    let length = size_argument(arguments.get(1), 1)?;
    let is_list = matches!(input, Val::Items(_) | Val::List(_));
    let size = if is_list { input.len() } else { input.text().chars().count() };
    let from_end = || size.checked_sub(usize::try_from(offset.unsigned_abs()).ok()?);
    let Some(start) = usize::try_from(offset).ok().or_else(from_end) else {
        return Ok(if is_list { Val::list(Vec::new()) } else { String::new().into() });
    };
    Ok(if is_list {
        Val::list(input.items().into_iter().skip(start).take(length).collect())
    } else {
        input.text().chars().skip(start).take(length).collect::<String>().into()
    })
}

fn number(value: &Val<'_>) -> Result<Number, Problem> {
    value.number().ok_or(Problem::Says("it takes numbers"))
}

fn whole(value: &Val<'_>) -> Result<i64, Problem> {
    match number(value)? {
        Number::Int(whole) => Ok(whole),
        Number::Float(_) => Err(Problem::Says("it takes a whole number here")),
    }
}

fn size_argument(argument: Option<&Val<'_>>, otherwise: usize) -> Result<usize, Problem> {
    let Some(argument) = argument else {
        return Ok(otherwise);
    };
    usize::try_from(whole(argument)?).map_err(|_| Problem::Says("it takes no negative length"))
}

fn arithmetic<'a>(
    a: &Val<'_>,
    b: &Val<'_>,
    wholes: impl Fn(i64, i64) -> Option<i64>,
    floats: impl Fn(f64, f64) -> f64,
) -> Result<Val<'a>, Problem> {
    match (number(a)?, number(b)?) {
        (Number::Int(a), Number::Int(b)) => wholes(a, b).map(Val::Int).ok_or(Problem::Says(NO_RESULT)),
        (a, b) => {
            let result = floats(a.as_float(), b.as_float());
            if result.is_finite() { Ok(Val::Float(result)) } else { Err(Problem::Says(NO_RESULT)) }
        }
    }
}

const NO_RESULT: &str = "there is no such number (division by zero, or too large)";

/// Rounded down, as in Ruby: -7 / 2 = -4.
fn divide(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

/// With the sign of the divisor.
fn modulo(a: i64, b: i64) -> Option<i64> {
    let rest = a.checked_rem(b)?;
    Some(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
}

fn rounded<'a>(input: &Val<'_>, places: i64, round: impl Fn(f64) -> f64) -> Result<Val<'a>, Problem> {
    let float = match number(input)? {
        Number::Int(whole) => return Ok(Val::Int(whole)),
        Number::Float(float) => float,
    };
    if places > 0 {
        let factor = 10_f64.powi(i32::try_from(places.min(15)).unwrap_or(15));
        return Ok(Val::Float(round(float * factor) / factor));
    }
    let result = round(float);
    // Within ±2^53 every whole number is exact as a float, and the cast is too.
    if result.abs() <= 9_007_199_254_740_992.0 { Ok(Val::Int(result as i64)) } else { Err(Problem::Says(TOO_LARGE)) }
}

fn join<'a>(input: &Val<'_>, arguments: &[Val<'_>], meter: &mut Meter) -> Result<Val<'a>, Problem> {
    let separator = arguments.first().map_or(Cow::Borrowed(" "), Val::text);
    let items = input.items();
    meter.handle(items.len().saturating_mul(separator.len()))?;
    let mut text = String::new();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push_str(&separator);
        }
        text.push_str(&item.text());
    }
    Ok(text.into())
}

/// By the items or by one attribute of them: numbers, then texts, then the rest as they came; nothing comes last.
fn sort<'a>(
    input: &Val<'a>,
    arguments: &[Val<'_>],
    meter: &mut Meter,
    fold: impl Fn(&Val<'a>) -> Val<'a>,
) -> Result<Val<'a>, Problem> {
    let name = arguments.first().map(Val::text);
    let key = |item: &Val<'a>| name.as_ref().map_or_else(|| fold(item), |name| fold(&item.member(name)));
    let mut items: Vec<(Val<'a>, Val<'a>)> = input.items().into_iter().map(|item| (key(&item), item)).collect();
    meter.work(items.len() as u64)?;
    items.sort_by(|(a, _), (b, _)| order(a, b));
    Ok(Val::list(items.into_iter().map(|(_, item)| item).collect()))
}

/// A total order: sorting by anything less may panic.
fn order(a: &Val<'_>, b: &Val<'_>) -> Ordering {
    let rank = |value: &Val<'_>| match value {
        Val::Int(_) | Val::Float(_) => 0,
        Val::Text(_) | Val::Html(_) => 1,
        Val::Bool(_) | Val::Items(_) | Val::List(_) | Val::Map(_) | Val::Group(_) => 2,
        Val::Nil | Val::Empty | Val::Blank => 3,
    };
    rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
        (Val::Int(_) | Val::Float(_), Val::Int(_) | Val::Float(_)) => {
            // NOTE: whole numbers too, or three of them around 2^53 would have no consistent order with a float.
            let float = |value: &Val<'_>| value.number().map_or(0.0, Number::as_float);
            float(a).total_cmp(&float(b))
        }
        _ => a.compare(b).unwrap_or(Ordering::Equal),
    })
}

/// The first of each, in their order. Two are the same when their JSON is.
fn uniq<'a>(input: &Val<'a>, meter: &mut Meter) -> Result<Val<'a>, Problem> {
    let mut items = input.items();
    meter.work(items.len() as u64)?;
    let mut seen = std::collections::BTreeSet::new();
    items.retain(|item| seen.insert(item.json()));
    Ok(Val::list(items))
}
