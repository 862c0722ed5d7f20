//! The compiled form: what is left of a source after the check, ready to be evaluated.

use crate::Type;
use model::{Attributes, Text, Value};

#[derive(Debug)]
pub(crate) enum Node {
    Constant(Constant),
    Now,
    Path(Path),
    Has(Path),
    /// `has(profile.items[0].sku)`: of something that a path alone does not reach.
    HasMember(Box<Node>, Text),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
    Index(Box<Node>, Box<Node>),
    Ternary(Box<[Node; 3]>),
    List(Vec<Node>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Box<regex::Regex>),
}

#[derive(Clone, Debug)]
pub(crate) enum Constant {
    Value(Value),
    Time(jiff::Timestamp),
    Duration(jiff::SignedDuration),
}

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

#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub root: Root,
    /// INVARIANT: not empty.
    pub rest: Vec<Text>,
    /// As people write it.
    pub text: Text,
    pub is_datetime: bool,
}

impl Path {
    pub(crate) fn find_in<'f>(&self, attributes: &'f Attributes) -> Option<&'f Value> {
        let (first, rest) = self.rest.split_first()?;
        let mut value = attributes.get(first)?;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Arithmetic {
    pub(crate) fn symbol(self) -> char {
        match self {
            Arithmetic::Add => '+',
            Arithmetic::Subtract => '-',
            Arithmetic::Multiply => '*',
            Arithmetic::Divide => '/',
            Arithmetic::Modulo => '%',
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    LowerAscii,
    UpperAscii,
    Timestamp,
    Duration,
    Int,
    Double,
    String,
}

/// What a function is called, takes and gives.
pub(crate) struct Signature {
    pub name: &'static str,
    /// With the target first: `a.contains(b)` takes two.
    pub arguments: &'static [&'static [Type]],
    pub result: Type,
}

impl Function {
    pub(crate) const ALL: [Function; 12] = [
        Function::Size,
        Function::Contains,
        Function::StartsWith,
        Function::EndsWith,
        Function::Matches,
        Function::LowerAscii,
        Function::UpperAscii,
        Function::Timestamp,
        Function::Duration,
        Function::Int,
        Function::Double,
        Function::String,
    ];

    pub(crate) fn signature(self) -> Signature {
        const TEXT: &[Type] = &[Type::Text];
        let of = |name, arguments, result| Signature { name, arguments, result };
        match self {
            Function::Size => of("size", &[&[Type::Text, Type::List, Type::Map]], Type::Number),
            Function::Contains => of("contains", &[TEXT, TEXT], Type::Bool),
            Function::StartsWith => of("startsWith", &[TEXT, TEXT], Type::Bool),
            Function::EndsWith => of("endsWith", &[TEXT, TEXT], Type::Bool),
            Function::Matches => of("matches", &[TEXT, TEXT], Type::Bool),
            Function::LowerAscii => of("lowerAscii", &[TEXT], Type::Text),
            Function::UpperAscii => of("upperAscii", &[TEXT], Type::Text),
            Function::Timestamp => of("timestamp", &[&[Type::Text, Type::Datetime]], Type::Datetime),
            Function::Duration => of("duration", &[&[Type::Text, Type::Duration]], Type::Duration),
            Function::Int => of("int", &[&[Type::Number, Type::Text]], Type::Number),
            Function::Double => of("double", &[&[Type::Number, Type::Text]], Type::Number),
            Function::String => of("string", &[&[Type::Text, Type::Number, Type::Bool, Type::Datetime]], Type::Text),
        }
    }
}

impl Node {
    pub(crate) fn is_constant(&self) -> bool {
        matches!(self, Node::Constant(_))
    }

    /// Whether it is `truth` whatever the data.
    pub(crate) fn is_always(&self, truth: bool) -> bool {
        matches!(self, Node::Constant(Constant::Value(Value::Bool(constant))) if *constant == truth)
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = &Node> {
        let (pair, slice): ([Option<&Node>; 2], &[Node]) = match self {
            Node::Constant(_) | Node::Now | Node::Path(_) | Node::Has(_) => ([None, None], &[]),
            Node::Not(one) | Node::Negate(one) | Node::HasMember(one, _) | Node::Matches(one, _) => {
                ([Some(one), None], &[])
            }
            Node::And(left, right)
            | Node::Or(left, right)
            | Node::Compare(_, left, right)
            | Node::Arithmetic(_, left, right)
            | Node::In(left, right)
            | Node::Index(left, right) => ([Some(left), Some(right)], &[]),
            Node::Ternary(parts) => ([None, None], parts.as_slice()),
            Node::List(nodes) | Node::Call(_, nodes) => ([None, None], nodes),
        };
        pair.into_iter().flatten().chain(slice)
    }

    /// Every path it reads, in order of appearance, each once.
    pub(crate) fn paths(&self) -> Vec<Path> {
        let mut paths: Vec<Path> = Vec::new();
        self.collect_paths(&mut paths);
        paths
    }

    fn collect_paths(&self, paths: &mut Vec<Path>) {
        if let Node::Path(path) | Node::Has(path) = self
            && !paths.iter().any(|known| known.text == path.text)
        {
            paths.push(path.clone());
        }
        self.children().for_each(|child| child.collect_paths(paths));
    }

    /// The path, of a path.
    pub(crate) fn name(&self) -> Option<&str> {
        if let Node::Path(path) = self { Some(&path.text) } else { None }
    }

    /// ` (event.cart_total)` behind a type, where it has a name.
    pub(crate) fn label(&self) -> String {
        self.name().map(|name| format!(" ({name})")).unwrap_or_default()
    }
}
