//! Walks the tree of a template over its data: evaluates, escapes, meters, and notes what was missing.

use crate::data::Data;
use crate::syntax::{Chain, Condition, Expression, For, Joint, Node, Operator, Over, Path, Step, Test};
use crate::value::{Val, count};
use crate::{Error, Format, Limits, Rendered};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Most paths reported as missing.
const MISSING_MAX: usize = 100;

/// # Errors
/// What stopped the rendering, with the line it stopped at.
pub fn render(
    nodes: &[Node],
    text_bytes: usize,
    format: Format,
    data: &dyn Data,
    limits: &Limits,
) -> Result<Rendered, Error> {
    let meter = Meter { limits: *limits, format, now: data.now(), work_left: limits.work_max };
    let mut renderer = Renderer {
        data,
        meter,
        line: 1,
        locals: Vec::new(),
        loops: Vec::new(),
        text: String::with_capacity((text_bytes + 256).min(limits.output_bytes_max)),
        is_noting: false,
        pending: Vec::new(),
        missing: Vec::new(),
    };
    match renderer.nodes(nodes) {
        Ok(_) => Ok(Rendered { text: renderer.text, missing: renderer.missing }),
        Err(failure) => Err(failure.at(renderer.line, limits)),
    }
}

/// Why a rendering stops.
#[derive(Debug)]
pub enum Failure {
    Work,
    Bytes,
    Filter { name: &'static str, message: String },
    Range,
}

impl Failure {
    fn at(self, line: usize, limits: &Limits) -> Error {
        match self {
            Failure::Work => Error::TooMuchWork { line, work_max: limits.work_max },
            Failure::Bytes => Error::OutputTooLong { line, bytes_max: limits.output_bytes_max },
            Failure::Filter { name, message } => Error::Render { line, message: format!("`{name}`: {message}") },
            Failure::Range => {
                let message = "the ends of a range, `limit` and `offset` are whole numbers".to_owned();
                Error::Render { line, message }
            }
        }
    }
}

/// What a rendering may still cost, and what filters know of it.
pub struct Meter {
    limits: Limits,
    pub format: Format,
    pub now: model::Timestamp,
    work_left: u64,
}

impl Meter {
    /// # Errors
    /// `Failure::Work` when the work of this rendering is used up.
    pub fn work(&mut self, steps: u64) -> Result<(), Failure> {
        self.work_left = self.work_left.checked_sub(steps).ok_or(Failure::Work)?;
        Ok(())
    }

    /// Pays for handling `bytes`.
    ///
    /// # Errors
    /// `Failure::Bytes` when that is longer than the whole text may be.
    pub fn handle(&mut self, bytes: usize) -> Result<(), Failure> {
        if bytes > self.limits.output_bytes_max {
            return Err(Failure::Bytes);
        }
        self.work(bytes as u64 / 64)
    }

    /// Pays for a comparison, which may look at all of both.
    fn compare(&mut self, left: &Val<'_>, right: &Val<'_>) -> Result<(), Failure> {
        self.work(1 + (left.bytes() + right.bytes()) as u64 / 64)
    }
}

struct Renderer<'a> {
    data: &'a dyn Data,
    meter: Meter,
    line: usize,
    /// The template's own variables; the last of a name holds.
    locals: Vec<Local<'a>>,
    loops: Vec<Turn>,
    text: String,
    /// A printed value is being evaluated: readings without a value are noted in `pending`.
    is_noting: bool,
    pending: Vec<String>,
    missing: Vec<String>,
}

struct Local<'a> {
    name: &'a str,
    value: Val<'a>,
    /// What was missing for `value`, when it is nothing: reported once it is printed.
    origins: Vec<String>,
}

/// Where a `for` stands.
#[derive(Clone, Copy)]
struct Turn {
    index: usize,
    length: usize,
}

/// How a run of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl<'a> Renderer<'a> {
    fn nodes(&mut self, nodes: &'a [Node]) -> Result<Flow, Failure> {
        for node in nodes {
            let flow = self.node(node)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &'a Node) -> Result<Flow, Failure> {
        self.meter.work(1)?;
        match node {
            Node::Text(text) => self.push(text)?,
            Node::Output { line, chain } => {
                self.line = *line;
                let value = self.printed(chain)?;
                self.report();
                self.print(&value)?;
            }
            Node::Assign { line, name, chain } => {
                self.line = *line;
                let value = self.printed(chain)?;
                // NOTE: nothing in a variable is not missing yet; an `if` may ask for it.
                let is_carried = value.is_valueless();
                let origins = if is_carried { std::mem::take(&mut self.pending) } else { Vec::new() };
                self.report();
                self.assign(name, value, origins)?;
            }
            Node::Capture { name, body } => {
                let outer = std::mem::take(&mut self.text);
                let flow = self.nodes(body)?;
                let caught = Cow::Owned(std::mem::replace(&mut self.text, outer));
                let value = match self.meter.format {
                    Format::Html => Val::Html(caught),
                    Format::Text => Val::Text(caught),
                };
                self.assign(name, value, Vec::new())?;
                return Ok(flow);
            }
            Node::If { line, arms, otherwise } => {
                self.line = *line;
                for arm in arms {
                    if self.holds(&arm.condition)? {
                        return self.nodes(&arm.body);
                    }
                }
                return self.nodes(otherwise);
            }
            Node::Case { line, subject, arms, otherwise } => {
                self.line = *line;
                let subject = self.evaluate(subject)?;
                for (values, body) in arms {
                    for value in values {
                        let value = self.evaluate(value)?;
                        self.meter.compare(&value, &subject)?;
                        if value.equals(&subject) {
                            return self.nodes(body);
                        }
                    }
                }
                return self.nodes(otherwise);
            }
            Node::For(each) => return self.for_each(each),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn for_each(&mut self, each: &'a For) -> Result<Flow, Failure> {
        self.line = each.line;
        let items = self.items(each)?;
        let first = self.count_of(each.offset.as_ref())?.unwrap_or(0).min(items.len());
        let limit = self.count_of(each.limit.as_ref())?.unwrap_or(usize::MAX);
        let length = (items.len() - first).min(limit);
        if length == 0 {
            return self.nodes(each.otherwise.as_deref().unwrap_or_default());
        }
        let depth = self.locals.len();
        // INVARIANT: `assign` writes into the place of a variable that exists, so the loop's own stays at `depth`
        // until the loop ends; what the body assigns anew lives on after it, as in every Liquid.
        self.locals.push(Local { name: &each.variable, value: Val::Nil, origins: Vec::new() });
        self.loops.push(Turn { index: 0, length });
        for index in 0..length {
            self.meter.work(each.body_nodes)?;
            let place = first + if each.is_reversed { length - 1 - index } else { index };
            self.locals[depth].value = items.item(place);
            if let Some(turn) = self.loops.last_mut() {
                turn.index = index;
            }
            if self.nodes(&each.body)? == Flow::Break {
                break;
            }
        }
        self.loops.pop();
        self.locals.remove(depth);
        Ok(Flow::On)
    }

    fn items(&mut self, each: &'a For) -> Result<Items<'a>, Failure> {
        match &each.over {
            Over::Range(first, last) => {
                let (first, last) = (self.evaluate(first)?, self.evaluate(last)?);
                Ok(Items::Range(whole(&first)?, whole(&last)?))
            }
            Over::List(list) => {
                // A list that is not there is missing, unless an `else` speaks for it.
                self.is_noting = each.otherwise.is_none();
                let list = self.evaluate(list)?;
                self.report();
                Ok(Items::Of(match list {
                    // Objects give pairs of name and value, in the order of the names.
                    Val::Map(map) => {
                        self.meter.work(map.len() as u64)?;
                        Val::list(
                            map.iter()
                                .map(|(name, value)| {
                                    Val::list(vec![Val::Text(Cow::Borrowed(name.as_str())), Val::from(value)])
                                })
                                .collect(),
                        )
                    }
                    // NOTE: text is one item, but blank text none: `for` over an empty attribute does nothing.
                    Val::Text(text) if text.trim().is_empty() => Val::Nil,
                    Val::Items(_) | Val::List(_) | Val::Nil | Val::Empty | Val::Blank | Val::Group(_) => list,
                    Val::Text(_) | Val::Html(_) | Val::Bool(_) | Val::Int(_) | Val::Float(_) => Val::list(vec![list]),
                }))
            }
        }
    }

    fn count_of(&mut self, expression: Option<&'a Expression>) -> Result<Option<usize>, Failure> {
        let Some(expression) = expression else {
            return Ok(None);
        };
        let number = self.evaluate(expression)?;
        Ok(Some(usize::try_from(whole(&number)?.max(0)).unwrap_or(usize::MAX)))
    }

    /// Evaluates what will be printed; what it misses is `pending` until `report`.
    fn printed(&mut self, chain: &'a Chain) -> Result<Val<'a>, Failure> {
        self.pending.clear();
        self.is_noting = true;
        let mut value = self.evaluate(&chain.entry)?;
        for call in &chain.calls {
            let mut arguments = Vec::with_capacity(call.arguments.len());
            for argument in &call.arguments {
                let argument = self.evaluate(argument)?;
                self.meter.handle(argument.bytes())?;
                arguments.push(argument);
            }
            self.meter.work(1)?;
            self.meter.handle(value.bytes())?;
            value = call.filter.apply(value, &arguments, &mut self.meter)?;
            self.meter.handle(value.bytes())?;
            if call.filter.name == "default" {
                // What the default stands in for was seen to; if the default is itself nothing, so it was meant.
                self.pending.clear();
            }
        }
        Ok(value)
    }

    /// What was evaluated last is used: its pending paths are missing.
    fn report(&mut self) {
        self.is_noting = false;
        for path in std::mem::take(&mut self.pending) {
            if self.missing.len() < MISSING_MAX && !self.missing.contains(&path) {
                self.missing.push(path);
            }
        }
    }

    fn assign(&mut self, name: &'a str, value: Val<'a>, origins: Vec<String>) -> Result<(), Failure> {
        self.meter.handle(value.bytes())?;
        match self.locals.iter_mut().rev().find(|local| local.name == name) {
            Some(local) => (local.value, local.origins) = (value, origins),
            None => self.locals.push(Local { name, value, origins }),
        }
        Ok(())
    }

    fn holds(&mut self, condition: &'a Condition) -> Result<bool, Failure> {
        let mut holds = condition.joined_by == Joint::And;
        for test in &condition.tests {
            self.meter.work(1)?;
            holds = self.passes(test)?;
            if holds == (condition.joined_by == Joint::Or) {
                break;
            }
        }
        Ok(holds != condition.is_negated)
    }

    fn passes(&mut self, test: &'a Test) -> Result<bool, Failure> {
        let (left, operator, right) = match test {
            Test::Truthy(value) => return Ok(self.evaluate(value)?.is_truthy()),
            Test::Compare(left, operator, right) => (self.evaluate(left)?, operator, self.evaluate(right)?),
        };
        self.meter.compare(&left, &right)?;
        Ok(match operator {
            Operator::Equal => left.equals(&right),
            Operator::NotEqual => !left.equals(&right),
            Operator::Less => left.compare(&right) == Some(Ordering::Less),
            Operator::LessOrEqual => left.compare(&right).is_some_and(Ordering::is_le),
            Operator::Greater => left.compare(&right) == Some(Ordering::Greater),
            Operator::GreaterOrEqual => left.compare(&right).is_some_and(Ordering::is_ge),
            Operator::Contains => left.contains(&right),
        })
    }

    fn evaluate(&mut self, expression: &'a Expression) -> Result<Val<'a>, Failure> {
        match expression {
            Expression::Nil => Ok(Val::Nil),
            Expression::Empty => Ok(Val::Empty),
            Expression::Blank => Ok(Val::Blank),
            Expression::Bool(truth) => Ok(Val::Bool(*truth)),
            Expression::Int(number) => Ok(Val::Int(*number)),
            Expression::Float(number) => Ok(Val::Float(*number)),
            Expression::Text(text) => Ok(Val::Text(Cow::Borrowed(text))),
            Expression::Path(path) => self.read(path),
        }
    }

    fn read(&mut self, path: &'a Path) -> Result<Val<'a>, Failure> {
        self.meter.work(1)?;
        let local = self.locals.iter().rposition(|local| local.name == path.root);
        let mut value = match local {
            Some(place) => {
                // NOTE: what the template made itself is copied when read; long texts pay for it.
                self.meter.work(owned_bytes(&self.locals[place].value) as u64 / 64)?;
                self.locals[place].value.clone()
            }
            None if path.root == "forloop" && !self.loops.is_empty() => {
                return self.read_loop(path);
            }
            None => self.data.root(&path.root).map_or(Val::Nil, Val::from),
        };
        let mut indexes = Vec::new();
        for step in &path.steps {
            self.meter.work(1)?;
            value = match step {
                Step::Name(name) => {
                    if let Val::Text(text) | Val::Html(text) = &value {
                        // `size` counts characters, so it looks at all of them.
                        self.meter.work(text.len() as u64 / 64)?;
                    }
                    value.member(name)
                }
                Step::Index(index) => {
                    let index = self.evaluate(index)?;
                    let item =
                        if let Val::Int(place) = index { value.item(place) } else { value.member(&index.text()) };
                    indexes.push(index);
                    item
                }
            };
        }
        if self.is_noting && value.is_valueless() && self.pending.len() < MISSING_MAX {
            match local.map(|place| &self.locals[place].origins) {
                Some(origins) if !origins.is_empty() => self.pending.extend(origins.iter().cloned()),
                _ => self.pending.push(display(path, &indexes)),
            }
        }
        Ok(value)
    }

    /// `forloop.index` and its kin; `forloop.parentloop` is the loop around.
    fn read_loop(&self, path: &'a Path) -> Result<Val<'a>, Failure> {
        let mut level = self.loops.len();
        for step in &path.steps {
            let Step::Name(name) = step else { break };
            let Some(turn) = level.checked_sub(1).map(|at| self.loops[at]) else {
                break;
            };
            match name.as_str() {
                "parentloop" => level -= 1,
                "index" => return Ok(count(turn.index + 1)),
                "index0" => return Ok(count(turn.index)),
                "rindex" => return Ok(count(turn.length - turn.index)),
                "rindex0" => return Ok(count(turn.length - turn.index - 1)),
                "first" => return Ok(Val::Bool(turn.index == 0)),
                "last" => return Ok(Val::Bool(turn.index + 1 == turn.length)),
                "length" => return Ok(count(turn.length)),
                _ => break,
            }
        }
        Ok(Val::Nil)
    }

    fn print(&mut self, value: &Val<'_>) -> Result<(), Failure> {
        if matches!(value, Val::Items(_) | Val::List(_) | Val::Map(_)) {
            // Laid out as a whole before the first byte is printed.
            self.meter.handle(value.bytes())?;
        }
        match (value, self.meter.format) {
            (Val::Html(text), _) => self.push(text),
            (other, Format::Text) => self.push(&other.text()),
            (other, Format::Html) => {
                escape(&other.text(), &mut self.text);
                self.push("")
            }
        }
    }

    fn push(&mut self, text: &str) -> Result<(), Failure> {
        if self.text.len() + text.len() > self.meter.limits.output_bytes_max {
            return Err(Failure::Bytes);
        }
        self.text.push_str(text);
        Ok(())
    }
}

/// What a `for` goes over. A range is never laid out: `(1..1000000000)` costs nothing by itself.
enum Items<'a> {
    Of(Val<'a>),
    Range(i64, i64),
}

impl<'a> Items<'a> {
    fn len(&self) -> usize {
        match self {
            Items::Of(list) => list.len(),
            Items::Range(first, last) => usize::try_from(i128::from(*last) - i128::from(*first) + 1)
                .unwrap_or(if first > last { 0 } else { usize::MAX }),
        }
    }

    fn item(&self, place: usize) -> Val<'a> {
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        match self {
            Items::Of(list) => list.item(place),
            Items::Range(first, _) => Val::Int(first.saturating_add(place)),
        }
    }
}

fn whole(value: &Val<'_>) -> Result<i64, Failure> {
    match value.number() {
        Some(crate::value::Number::Int(number)) => Ok(number),
        Some(crate::value::Number::Float(number)) if number.fract() == 0.0 => Ok(number as i64),
        // NOTE: a range up to a variable without value is empty, like a list that is not there.
        None if matches!(value, Val::Nil) => Ok(0),
        Some(crate::value::Number::Float(_)) | None => Err(Failure::Range),
    }
}

/// The bytes that cloning copies.
fn owned_bytes(value: &Val<'_>) -> usize {
    if let Val::Text(Cow::Owned(text)) | Val::Html(Cow::Owned(text)) = value { text.len() } else { 0 }
}

/// `event.items[0].name`, with the indexes that were used.
fn display(path: &Path, indexes: &[Val<'_>]) -> String {
    let mut text = path.root.clone();
    let mut indexes = indexes.iter();
    for step in &path.steps {
        match step {
            Step::Name(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Index(_) => {
                let index = indexes.next().map_or(Cow::Borrowed(""), |index| index.text());
                text.push_str(&format!("[{index}]"));
            }
        }
    }
    text
}

/// Escapes for text and for attribute values in either kind of quotes.
pub fn escape(text: &str, output: &mut String) {
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let entity = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => continue,
        };
        output.push_str(&text[done..at]);
        output.push_str(entity);
        done = at + 1;
    }
    output.push_str(&text[done..]);
}
