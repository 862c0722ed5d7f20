//! From CEL's syntax tree to our compiled form, with its types checked on the way.

use crate::evaluate::{Path, Root};
use crate::{Compiled, Lookup, NESTING_MAX, Problem, SOURCE_BYTES_MAX, Schema, Type};
use cel::common::ast::operators;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr};
use cel::parser::Parser;
use model::{Span, Text, Timestamp};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Constant(Constant),
    Now,
    Path(Path),
    Has(Path),
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
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
    Time(Timestamp),
    /// Exact, in milliseconds.
    Duration(i64),
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
    LowerAscii,
    UpperAscii,
    Timestamp,
    Duration,
    Int,
    Double,
    String,
}

/// Name, arguments with the target first, result.
const FUNCTIONS: [(&str, Function, &[&[Type]], Type); 11] = [
    ("size", Function::Size, &[&[Type::Text, Type::List, Type::Map]], Type::Number),
    ("contains", Function::Contains, &[&[Type::Text], &[Type::Text]], Type::Bool),
    ("startsWith", Function::StartsWith, &[&[Type::Text], &[Type::Text]], Type::Bool),
    ("endsWith", Function::EndsWith, &[&[Type::Text], &[Type::Text]], Type::Bool),
    ("lowerAscii", Function::LowerAscii, &[&[Type::Text]], Type::Text),
    ("upperAscii", Function::UpperAscii, &[&[Type::Text]], Type::Text),
    ("timestamp", Function::Timestamp, &[&[Type::Text, Type::Datetime]], Type::Datetime),
    ("duration", Function::Duration, &[&[Type::Text, Type::Duration]], Type::Duration),
    ("int", Function::Int, &[&[Type::Number, Type::Text]], Type::Number),
    ("double", Function::Double, &[&[Type::Number, Type::Text]], Type::Number),
    ("string", Function::String, &[&[Type::Text, Type::Number, Type::Bool, Type::Datetime]], Type::Text),
];

pub(crate) fn compile(source: &str, schema: &dyn Schema) -> Result<(Compiled, Vec<Problem>), Vec<Problem>> {
    let syntax = |message: String, column: usize| vec![Problem { code: "condition_syntax", message, column }];
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("the condition has {} bytes; at most {SOURCE_BYTES_MAX} are allowed", source.len());
        return Err(syntax(message, 1));
    }
    if nesting(source) > usize::from(NESTING_MAX) {
        return Err(syntax(format!("the condition nests deeper than {NESTING_MAX} levels"), 1));
    }
    let parsed = Parser::new().max_recursion_depth(NESTING_MAX * 4).parse(source);
    let tree = parsed.map_err(|errors| {
        let first = errors.errors.first();
        let column = first.and_then(|error| usize::try_from(error.pos.1).ok()).unwrap_or(1).max(1);
        let why = first.map_or_else(|| "it cannot be read".to_owned(), |error| error.msg.clone());
        syntax(format!("`{source}` is not a condition: {why}"), column)
    })?;
    let mut compiler = Compiler { source, schema, problems: Vec::new(), warnings: Vec::new(), guarded: Vec::new() };
    let (node, ty) = compiler.node(&tree);
    if compiler.problems.is_empty() {
        Ok((Compiled { source: source.into(), node, ty }, compiler.warnings))
    } else {
        Err(compiler.problems)
    }
}

/// How deep brackets and prefix operators nest: an upper bound of what a recursive reader needs, found without one.
fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest, mut prefixes) = (0usize, 0usize, 0usize);
    for c in source.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        prefixes = match c {
            '!' | '-' | '?' => prefixes + 1,
            c if c.is_whitespace() || c == '(' => prefixes,
            _ => 0,
        };
        deepest = deepest.max(depth + prefixes);
    }
    deepest
}

struct Compiler<'a> {
    source: &'a str,
    schema: &'a dyn Schema,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Paths that a `has(…)` around here has asked for.
    guarded: Vec<Text>,
}

type Typed = (Node, Type);

impl Compiler<'_> {
    fn problem(&mut self, code: &'static str, place: &str, message: String) -> Typed {
        let column = self.column(place);
        self.problems.push(Problem { code, message, column });
        (Node::Constant(Constant::Null), Type::Any)
    }

    /// Where `place` first stands in the source; the tree carries no positions.
    fn column(&self, place: &str) -> usize {
        let byte = self.source.find(place).unwrap_or(0);
        self.source[..byte].chars().count() + 1
    }

    fn node(&mut self, expr: &IdedExpr) -> Typed {
        match &expr.expr {
            Expr::Literal(literal) => constant(literal),
            Expr::Ident(name) if name == "now" => (Node::Now, Type::Datetime),
            Expr::Ident(_) | Expr::Select(_) => self.select(expr),
            Expr::Call(call) if call.func_name == operators::INDEX && segments_of(expr).is_some() => self.select(expr),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                let nodes = list.elements.iter().map(|element| self.node(element).0).collect();
                (Node::List(nodes), Type::List)
            }
            Expr::Comprehension(_) => self.unsupported("all, exists, exists_one, map and filter"),
            Expr::Map(_) => self.unsupported("an object literal"),
            Expr::Struct(_) => self.unsupported("a message literal"),
            Expr::Unspecified => self.problem("condition_syntax", "", "the condition is empty".to_owned()),
        }
    }

    fn unsupported(&mut self, what: &str) -> Typed {
        self.problem("condition_unsupported", "", format!("{what} cannot be used in a condition"))
    }

    fn select(&mut self, expr: &IdedExpr) -> Typed {
        if let Expr::Select(SelectExpr { operand, field, test: true }) = &expr.expr {
            let Some(mut segments) = segments_of(operand) else {
                return self.unsupported("has() of something computed");
            };
            segments.push(field.clone());
            let (path, _, _) = match self.path(&segments) {
                Ok(found) => found,
                Err(problem) => return problem,
            };
            self.guarded.push(path.text.clone());
            return (Node::Has(path), Type::Bool);
        }
        let Some(segments) = segments_of(expr) else {
            let Expr::Select(SelectExpr { operand, field, .. }) = &expr.expr else {
                return self.unsupported("this");
            };
            let (inner, _) = self.node(operand);
            let key = Node::Constant(Constant::Text(field.as_str().into()));
            return (Node::Index(Box::new(inner), Box::new(key)), Type::Any);
        };
        match self.path(&segments) {
            Ok((path, ty, required)) => {
                if !required && !self.guarded.contains(&path.text) {
                    let message = format!("{} may be missing; guard it with has({})", path.text, path.text);
                    let column = self.column(&path.text);
                    self.warnings.push(Problem { code: "condition_may_lack_data", message, column });
                }
                (Node::Path(path), ty)
            }
            Err(problem) => problem,
        }
    }

    fn path(&mut self, segments: &[String]) -> Result<(Path, Type, bool), Typed> {
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        let text = Text::from(names.join("."));
        let (root, rest) = match names.as_slice() {
            ["event", rest @ ..] => (Root::Event, rest),
            ["profile", rest @ ..] => (Root::Profile, rest),
            ["record", rest @ ..] => (Root::Record, rest),
            ["trigger", name, rest @ ..] => (Root::Trigger((*name).into()), rest),
            ["steps", id, rest @ ..] => (Root::Step((*id).into()), rest),
            _ => {
                let message = format!(
                    "`{text}` is not known; a condition reads event, profile, trigger.<name>, record, steps.<id> and now"
                );
                return Err(self.problem("condition_unknown_path", &text, message));
            }
        };
        if rest.is_empty() {
            let message = format!("`{text}` alone is not a value; name an attribute of it, such as {text}.id");
            return Err(self.problem("condition_unknown_path", &text, message));
        }
        let (ty, required) = match self.schema.lookup(&names) {
            Lookup::Known { ty, required } => (ty, required),
            // NOTE: no warning for what is not declared at all: every profile attribute would have one.
            Lookup::Open => (Type::Any, true),
            Lookup::Unknown { why } => return Err(self.problem("condition_unknown_path", &text, why)),
        };
        let rest = rest.iter().map(|segment| Text::from(*segment)).collect();
        Ok((Path { root, rest, text, is_datetime: ty == Type::Datetime }, ty, required))
    }

    fn call(&mut self, call: &CallExpr) -> Typed {
        let CallExpr { func_name, target, args } = call;
        let operands: Vec<&IdedExpr> = target.iter().map(AsRef::as_ref).chain(args).collect();
        match (func_name.as_str(), operands.as_slice()) {
            (operators::LOGICAL_NOT, [one]) => {
                let node = self.expect(one, Type::Bool, "!");
                (Node::Not(Box::new(node)), Type::Bool)
            }
            (operators::NEGATE, [one]) => {
                let node = self.expect(one, Type::Number, "-");
                (Node::Negate(Box::new(node)), Type::Number)
            }
            (operators::LOGICAL_AND, [left, right]) => {
                let (left, right) = (self.expect(left, Type::Bool, "&&"), self.expect(right, Type::Bool, "&&"));
                (Node::And(Box::new(left), Box::new(right)), Type::Bool)
            }
            (operators::LOGICAL_OR, [left, right]) => {
                let (left, right) = (self.expect(left, Type::Bool, "||"), self.expect(right, Type::Bool, "||"));
                (Node::Or(Box::new(left), Box::new(right)), Type::Bool)
            }
            (operators::CONDITIONAL, [condition, yes, no]) => self.ternary(condition, yes, no),
            (operators::IN, [item, list]) => {
                let (item, (list, ty)) = (self.node(item).0, self.node(list));
                if !matches!(ty, Type::List | Type::Map | Type::Any) {
                    return self.problem("condition_type", " in ", format!("`in` needs a list, not {}", ty.as_str()));
                }
                (Node::In(Box::new(item), Box::new(list)), Type::Bool)
            }
            (operators::INDEX, [list, index]) => {
                let (list, index) = (self.node(list).0, self.node(index).0);
                (Node::Index(Box::new(list), Box::new(index)), Type::Any)
            }
            (operator, [left, right]) => match (comparison(operator), arithmetic(operator)) {
                (Some(comparison), _) => self.compare(comparison, left, right),
                (None, Some(arithmetic)) => self.arithmetic(arithmetic, left, right),
                (None, None) => self.function(operator, &[left, right]),
            },
            (name, operands) => self.function(name, operands),
        }
    }

    fn expect(&mut self, expr: &IdedExpr, wanted: Type, operator: &str) -> Node {
        let (node, ty) = self.node(expr);
        if ty != wanted && ty != Type::Any {
            let message = format!("`{operator}` needs {}, not {}{}", wanted.as_str(), ty.as_str(), name_of(&node));
            self.problem("condition_type", operator, message);
        }
        node
    }

    fn ternary(&mut self, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Typed {
        let condition = self.expect(condition, Type::Bool, "?");
        let ((yes, yes_type), (no, no_type)) = (self.node(yes), self.node(no));
        let ty = if yes_type == no_type { yes_type } else { Type::Any };
        (Node::Ternary(Box::new([condition, yes, no])), ty)
    }

    /// The type decides the comparators (C4).
    fn compare(&mut self, comparison: Comparison, left: &IdedExpr, right: &IdedExpr) -> Typed {
        let ((left, left_type), (right, right_type)) = (self.node(left), self.node(right));
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let any = left_type == Type::Any || right_type == Type::Any;
        let null = left_type == Type::Null || right_type == Type::Null;
        let ordered = matches!(left_type, Type::Number | Type::Text | Type::Datetime | Type::Duration | Type::Any);
        let fits = if is_equality { any || null || left_type == right_type } else { any || left_type == right_type };
        if !fits || (!is_equality && !(ordered || any)) {
            let message = format!(
                "{}{} cannot be compared with {}{}",
                left_type.as_str(),
                name_of(&left),
                right_type.as_str(),
                name_of(&right)
            );
            return self.problem("condition_type", &place_of(&left, &right), message);
        }
        (Node::Compare(comparison, Box::new(left), Box::new(right)), Type::Bool)
    }

    fn arithmetic(&mut self, arithmetic: Arithmetic, left: &IdedExpr, right: &IdedExpr) -> Typed {
        let ((left, left_type), (right, right_type)) = (self.node(left), self.node(right));
        let ty = match (arithmetic, left_type, right_type) {
            (_, Type::Any, _) | (_, _, Type::Any) => Type::Any,
            (_, Type::Number, Type::Number) => Type::Number,
            (Arithmetic::Add, Type::Text, Type::Text) => Type::Text,
            (Arithmetic::Add | Arithmetic::Subtract, Type::Datetime, Type::Duration) => Type::Datetime,
            (Arithmetic::Subtract, Type::Datetime, Type::Datetime) => Type::Duration,
            (Arithmetic::Add | Arithmetic::Subtract, Type::Duration, Type::Duration) => Type::Duration,
            _ => {
                let message = format!(
                    "`{}` is not defined for {}{} and {}{}",
                    arithmetic.symbol(),
                    left_type.as_str(),
                    name_of(&left),
                    right_type.as_str(),
                    name_of(&right)
                );
                return self.problem("condition_type", &place_of(&left, &right), message);
            }
        };
        (Node::Arithmetic(arithmetic, Box::new(left), Box::new(right)), ty)
    }

    fn function(&mut self, name: &str, operands: &[&IdedExpr]) -> Typed {
        let Some((_, function, arguments, result)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
            let names = FUNCTIONS.map(|(known, ..)| known).join(", ");
            let message = format!("there is no function `{name}`; there are has, {names}");
            return self.problem("condition_unknown_function", name, message);
        };
        if operands.len() != arguments.len() {
            let message = format!("`{name}` takes {} argument(s), not {}", arguments.len(), operands.len());
            return self.problem("condition_type", name, message);
        }
        let mut nodes = Vec::with_capacity(operands.len());
        for (operand, allowed) in operands.iter().zip(*arguments) {
            let (node, ty) = self.node(operand);
            if ty != Type::Any && !allowed.contains(&ty) {
                let message = format!("`{name}` needs {}, not {}{}", allowed[0].as_str(), ty.as_str(), name_of(&node));
                return self.problem("condition_type", name, message);
            }
            nodes.push(node);
        }
        if let Some(folded) = self.fold(*function, &nodes) {
            return folded;
        }
        (Node::Call(*function, nodes), *result)
    }

    /// Reads `timestamp("…")` and `duration("…")` of a literal once, here.
    fn fold(&mut self, function: Function, nodes: &[Node]) -> Option<Typed> {
        let [Node::Constant(Constant::Text(text))] = nodes else { return None };
        match function {
            Function::Timestamp => Some(match Timestamp::parse(text) {
                Some(at) => (Node::Constant(Constant::Time(at)), Type::Datetime),
                None => {
                    let message = format!("`{text}` is not an instant; expected RFC 3339 with an offset");
                    self.problem("condition_type", text, message)
                }
            }),
            Function::Duration => Some(match exact_ms(text) {
                Some(ms) => (Node::Constant(Constant::Duration(ms)), Type::Duration),
                None => {
                    let message = format!("`{text}` is not an exact duration; expected h, m and s, such as 36h");
                    self.problem("condition_type", text, message)
                }
            }),
            Function::Size
            | Function::Contains
            | Function::StartsWith
            | Function::EndsWith
            | Function::LowerAscii
            | Function::UpperAscii
            | Function::Int
            | Function::Double
            | Function::String => None,
        }
    }
}

/// The milliseconds of a duration without calendar units.
pub(crate) fn exact_ms(text: &str) -> Option<i64> {
    let span = Span::parse(text).ok().filter(|span| !span.has_calendar_part())?;
    Some(if span.negative { -span.ms } else { span.ms })
}

fn constant(literal: &LiteralValue) -> Typed {
    let (constant, ty) = match literal {
        LiteralValue::Boolean(truth) => (Constant::Bool(*truth.inner()), Type::Bool),
        LiteralValue::Int(number) => (Constant::Int(*number.inner()), Type::Number),
        LiteralValue::UInt(number) => {
            let number = *number.inner();
            (i64::try_from(number).map_or(Constant::Float(number as f64), Constant::Int), Type::Number)
        }
        LiteralValue::Double(number) => (Constant::Float(*number.inner()), Type::Number),
        LiteralValue::String(text) => (Constant::Text(text.inner().into()), Type::Text),
        LiteralValue::Bytes(bytes) => (Constant::Text(String::from_utf8_lossy(bytes.inner()).into()), Type::Text),
        LiteralValue::Null => (Constant::Null, Type::Null),
    };
    (Node::Constant(constant), ty)
}

/// `a.b.c` as its segments; also `a["b"].c`, whose index is a literal text.
fn segments_of(expr: &IdedExpr) -> Option<Vec<String>> {
    match &expr.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(SelectExpr { operand, field, test: false }) => {
            let mut segments = segments_of(operand)?;
            segments.push(field.clone());
            Some(segments)
        }
        Expr::Call(CallExpr { func_name, target, args }) if func_name == operators::INDEX => {
            let operands: Vec<&IdedExpr> = target.iter().map(AsRef::as_ref).chain(args).collect();
            let [list, index] = operands.as_slice() else { return None };
            let Expr::Literal(LiteralValue::String(key)) = &index.expr else { return None };
            let mut segments = segments_of(list)?;
            segments.push(key.inner().to_owned());
            Some(segments)
        }
        _ => None,
    }
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn arithmetic(operator: &str) -> Option<Arithmetic> {
    Some(match operator {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        operators::MODULO => Arithmetic::Modulo,
        _ => return None,
    })
}

/// ` (event.cart_total)` behind a type, where the operand has a name.
fn name_of(node: &Node) -> String {
    match node {
        Node::Path(path) => format!(" ({})", path.text),
        _ => String::new(),
    }
}

fn place_of(left: &Node, right: &Node) -> String {
    match (left, right) {
        (Node::Path(path), _) | (_, Node::Path(path)) => path.text.to_string(),
        _ => String::new(),
    }
}

impl Node {
    pub(crate) fn for_each_path<'a>(&'a self, visit: &mut dyn FnMut(&'a Path)) {
        match self {
            Node::Constant(_) | Node::Now => {}
            Node::Path(path) | Node::Has(path) => visit(path),
            Node::Not(one) | Node::Negate(one) => one.for_each_path(visit),
            Node::And(left, right)
            | Node::Or(left, right)
            | Node::Compare(_, left, right)
            | Node::Arithmetic(_, left, right)
            | Node::In(left, right)
            | Node::Index(left, right) => {
                left.for_each_path(visit);
                right.for_each_path(visit);
            }
            Node::Ternary(parts) => parts.iter().for_each(|part| part.for_each_path(visit)),
            Node::List(nodes) | Node::Call(_, nodes) => nodes.iter().for_each(|node| node.for_each_path(visit)),
        }
    }

    /// Whether its value depends on anything but itself.
    pub(crate) fn reads_anything(&self) -> bool {
        match self {
            Node::Constant(_) => false,
            Node::Now | Node::Path(_) | Node::Has(_) => true,
            Node::Not(one) | Node::Negate(one) => one.reads_anything(),
            Node::And(left, right)
            | Node::Or(left, right)
            | Node::Compare(_, left, right)
            | Node::Arithmetic(_, left, right)
            | Node::In(left, right)
            | Node::Index(left, right) => left.reads_anything() || right.reads_anything(),
            Node::Ternary(parts) => parts.iter().any(Node::reads_anything),
            Node::List(nodes) | Node::Call(_, nodes) => nodes.iter().any(Node::reads_anything),
        }
    }
}
