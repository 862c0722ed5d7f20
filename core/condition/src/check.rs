//! From CEL's syntax tree to our compiled form, with its types checked on the way.

use crate::evaluate::{self, Lack};
use crate::node::{Arithmetic, Comparison, Constant, Function, Node, Path, Root};
use crate::syntax::{self, Syntax};
use crate::{Lookup, Problem, Schema, Type};
use cel::common::ast::operators;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr};
use model::{Text, Timestamp, Value};

/// How deep the tree may be. Brackets are limited more tightly; this bounds chains such as `1 + 1 + 1`.
const TREE_DEPTH_MAX: usize = 128;
/// The most memory a pattern of `matches` may take, compiled. A word in any script (`\w+`) takes about a tenth.
const PATTERN_BYTES_MAX: usize = 1 << 20;

pub(crate) struct Checked {
    pub node: Node,
    pub ty: Type,
    pub warnings: Vec<Problem>,
}

/// # Errors
/// Every problem found.
pub(crate) fn check(source: &str, schema: &dyn Schema) -> Result<Checked, Vec<Problem>> {
    let (tree, syntax) = syntax::parse(source).map_err(|problem| vec![problem])?;
    let mut checker = Checker { syntax, schema, problems: vec![], warnings: vec![], guarded: vec![], depth: 0 };
    let (node, ty) = checker.node(&tree);
    if checker.problems.is_empty() {
        Ok(Checked { node, ty, warnings: checker.warnings })
    } else {
        Err(checker.problems)
    }
}

struct Checker<'a> {
    syntax: Syntax<'a>,
    schema: &'a dyn Schema,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Paths that have a value wherever the place being checked decides anything: `has(…)` around it says so.
    guarded: Vec<Text>,
    depth: usize,
}

type Typed = (Node, Type);

impl Checker<'_> {
    /// Notes the problem and answers a stand-in of any type, so that one mistake is reported once.
    fn problem(&mut self, code: &'static str, at: &IdedExpr, message: String) -> Typed {
        let column = self.syntax.column(at);
        self.problems.push(Problem { code, message, column });
        (Node::Now, Type::Any)
    }

    fn ill_typed(&mut self, at: &IdedExpr, message: String) -> Typed {
        self.problem("condition_type", at, message)
    }

    fn unsupported(&mut self, at: &IdedExpr, what: &str) -> Typed {
        self.problem("condition_unsupported", at, format!("{what} cannot be used in a condition"))
    }

    fn node(&mut self, expr: &IdedExpr) -> Typed {
        if self.depth == TREE_DEPTH_MAX {
            let message = format!("the condition has more than {TREE_DEPTH_MAX} operators within each other");
            return self.problem("condition_syntax", expr, message);
        }
        self.depth += 1;
        let (node, ty) = self.of_kind(expr);
        self.depth -= 1;
        self.folded(expr, node, ty)
    }

    fn of_kind(&mut self, expr: &IdedExpr) -> Typed {
        match &expr.expr {
            Expr::Literal(literal) => match constant(literal) {
                Some((value, ty)) => (Node::Constant(Constant::Value(value)), ty),
                None => self.unsupported(expr, "a literal of bytes"),
            },
            Expr::Ident(name) if name == "now" => (Node::Now, Type::Datetime),
            Expr::Select(SelectExpr { operand, field, test: true }) => self.has(expr, operand, field),
            Expr::Ident(_) => self.read(expr, &segments_of(expr).unwrap_or_default()),
            Expr::Select(SelectExpr { operand, field, test: false }) => match segments_of(expr) {
                Some(segments) => self.read(expr, &segments),
                None => {
                    let key = Node::Constant(Constant::Value(field.as_str().into()));
                    let (node, ty) = self.node(operand);
                    self.index(expr, (node, ty), (key, Type::Text))
                }
            },
            Expr::Call(call) => match segments_of(expr) {
                Some(segments) => self.read(expr, &segments),
                None => self.call(expr, call),
            },
            Expr::List(list) => self.list(&list.elements, None),
            Expr::Comprehension(_) => self.unsupported(expr, "all, exists, exists_one, map and filter"),
            Expr::Map(_) => self.unsupported(expr, "an object literal"),
            Expr::Struct(_) => self.unsupported(expr, "a message literal"),
            Expr::Unspecified => self.problem("condition_syntax", expr, "a part of the condition is empty".to_owned()),
        }
    }

    /// Computes now what depends on nothing.
    fn folded(&mut self, expr: &IdedExpr, node: Node, ty: Type) -> Typed {
        let decided = match &node {
            Node::And(left, right) if left.is_always(false) || right.is_always(false) => true,
            Node::Or(left, right) if left.is_always(true) || right.is_always(true) => true,
            Node::Not(_)
            | Node::Negate(_)
            | Node::HasMember(..)
            | Node::And(..)
            | Node::Or(..)
            | Node::Compare(..)
            | Node::Arithmetic(..)
            | Node::In(..)
            | Node::Index(..)
            | Node::Ternary(_)
            | Node::List(_)
            | Node::Call(..)
            | Node::Matches(..) => node.children().all(Node::is_constant),
            Node::Constant(_) | Node::Now | Node::Path(_) | Node::Has(_) => false,
        };
        if !decided {
            return (node, ty);
        }
        match evaluate::constant(&node) {
            Ok(Some(constant)) => (Node::Constant(constant), ty),
            Ok(None) => (node, ty),
            Err(Lack::Missing(what)) => {
                self.problem("condition_always_fails", expr, format!("this always fails: {what} has no value"))
            }
            Err(Lack::Unfit(why)) => self.problem("condition_always_fails", expr, format!("this always fails: {why}")),
        }
    }

    fn has(&mut self, expr: &IdedExpr, operand: &IdedExpr, field: &str) -> Typed {
        let Some(mut segments) = segments_of(operand) else {
            let (node, ty) = self.node(operand);
            if !ty.meets(Type::Map) {
                return self.ill_typed(expr, format!("`has` needs an object, not {}{}", ty.as_str(), node.label()));
            }
            return (Node::HasMember(Box::new(node), field.into()), Type::Bool);
        };
        segments.push(field);
        match self.path(expr, &segments) {
            Ok((path, ..)) => (Node::Has(path), Type::Bool),
            Err(stand_in) => stand_in,
        }
    }

    fn read(&mut self, expr: &IdedExpr, segments: &[&str]) -> Typed {
        let (path, ty, required) = match self.path(expr, segments) {
            Ok(found) => found,
            Err(stand_in) => return stand_in,
        };
        if !required && !self.guarded.contains(&path.text) {
            let message = format!("{0} may be missing; guard it with has({0})", path.text);
            if !self.warnings.iter().any(|warning| warning.message == message) {
                let column = self.syntax.column(expr);
                self.warnings.push(Problem { code: "condition_may_lack_data", message, column });
            }
        }
        (Node::Path(path), ty)
    }

    fn path(&mut self, expr: &IdedExpr, segments: &[&str]) -> Result<(Path, Type, bool), Typed> {
        let text = text_of(segments);
        let (root, rest) = match segments {
            ["event", rest @ ..] => (Root::Event, rest),
            ["profile", rest @ ..] => (Root::Profile, rest),
            ["record", rest @ ..] => (Root::Record, rest),
            ["trigger", name, rest @ ..] => (Root::Trigger((*name).into()), rest),
            ["steps", id, rest @ ..] => (Root::Step((*id).into()), rest),
            [] | [_, ..] => return Err(self.unknown_root(expr, segments, &text)),
        };
        if rest.is_empty() {
            let message = format!("`{text}` alone is not a value; name an attribute of it, such as {text}.id");
            return Err(self.problem("condition_unknown_path", expr, message));
        }
        let (ty, required) = match self.schema.lookup(segments) {
            Lookup::Known { ty, required } => (ty, required),
            // NOTE: no warning for what is not declared at all: every profile attribute would have one.
            Lookup::Open => (Type::Any, true),
            Lookup::Unknown { why } => return Err(self.problem("condition_unknown_path", expr, why)),
        };
        let rest = rest.iter().map(|segment| Text::from(*segment)).collect();
        Ok((Path { root, rest, text, is_datetime: ty == Type::Datetime }, ty, required))
    }

    fn unknown_root(&mut self, expr: &IdedExpr, segments: &[&str], text: &str) -> Typed {
        let root = segments.first().copied().unwrap_or_default();
        let hint = if matches!(self.schema.lookup(&["event", root]), Lookup::Known { .. }) {
            format!("; did you mean event.{root}?")
        } else {
            let near = model::nearest::nearest(root, ["event", "profile", "trigger", "now"]);
            near.map(|near| format!("; did you mean {near}?")).unwrap_or_default()
        };
        let message = format!("`{text}` is not known; a condition reads event, profile, trigger.<name> and now{hint}");
        self.problem("condition_unknown_path", expr, message)
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Typed {
        let CallExpr { func_name, target, args } = call;
        let operands: Vec<&IdedExpr> = target.iter().map(AsRef::as_ref).chain(args).collect();
        match (func_name.as_str(), operands.as_slice()) {
            (operators::LOGICAL_NOT, [one]) => (Node::Not(Box::new(self.expect(one, Type::Bool, "!"))), Type::Bool),
            (operators::NEGATE, [one]) => self.negate(one),
            (operators::LOGICAL_AND, [left, right]) => {
                // Each side is guarded by the other: a false one decides alone, whatever the other lacks.
                let one = self.guarded_by(&assured(right, true), left, "&&");
                let other = self.guarded_by(&assured(left, true), right, "&&");
                (Node::And(Box::new(one), Box::new(other)), Type::Bool)
            }
            (operators::LOGICAL_OR, [left, right]) => {
                let one = self.guarded_by(&assured(right, false), left, "||");
                let other = self.guarded_by(&assured(left, false), right, "||");
                (Node::Or(Box::new(one), Box::new(other)), Type::Bool)
            }
            (operators::CONDITIONAL, [condition, yes, no]) => self.ternary(expr, condition, yes, no),
            (operators::IN, [item, list]) => self.contained(expr, item, list),
            (operators::INDEX, [list, index]) => {
                let (list, index) = (self.node(list), self.node(index));
                self.index(expr, list, index)
            }
            (operator, [left, right]) => match (comparison(operator), arithmetic(operator)) {
                (Some(comparison), _) => self.compare(expr, comparison, left, right),
                (None, Some(arithmetic)) => self.arithmetic(expr, arithmetic, left, right),
                (None, None) => self.function(expr, operator, &[left, right]),
            },
            (name, operands) => self.function(expr, name, operands),
        }
    }

    fn expect(&mut self, expr: &IdedExpr, wanted: Type, operator: &str) -> Node {
        let (node, ty) = self.node(expr);
        if ty != wanted && ty != Type::Any {
            let message = format!("`{operator}` needs {}, not {}{}", wanted.as_str(), ty.as_str(), node.label());
            self.ill_typed(expr, message);
        }
        node
    }

    fn guarded_by(&mut self, guards: &[Text], expr: &IdedExpr, operator: &str) -> Node {
        self.within(guards, |checker| checker.expect(expr, Type::Bool, operator))
    }

    fn within<T>(&mut self, guards: &[Text], check: impl FnOnce(&mut Self) -> T) -> T {
        let outside = self.guarded.len();
        self.guarded.extend_from_slice(guards);
        let checked = check(self);
        self.guarded.truncate(outside);
        checked
    }

    fn negate(&mut self, one: &IdedExpr) -> Typed {
        let (node, ty) = self.node(one);
        match ty {
            Type::Number | Type::Duration | Type::Any => (Node::Negate(Box::new(node)), ty),
            Type::Bool | Type::Text | Type::Datetime | Type::List | Type::Map | Type::Null => {
                self.ill_typed(one, format!("`-` needs a number, not {}{}", ty.as_str(), node.label()))
            }
        }
    }

    fn ternary(&mut self, expr: &IdedExpr, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Typed {
        let (if_true, if_false) = (assured(condition, true), assured(condition, false));
        let condition = self.expect(condition, Type::Bool, "?");
        let (yes, yes_type) = self.within(&if_true, |checker| checker.node(yes));
        let (no, no_type) = self.within(&if_false, |checker| checker.node(no));
        if !yes_type.meets(no_type) {
            let message = format!(
                "both sides of `:` must be of one type, not {}{} and {}{}",
                yes_type.as_str(),
                yes.label(),
                no_type.as_str(),
                no.label()
            );
            return self.ill_typed(expr, message);
        }
        let ty = if yes_type == no_type { yes_type } else { Type::Any };
        (Node::Ternary(Box::new([condition, yes, no])), ty)
    }

    /// The items of a list, each checked to be comparable with what is looked for among them.
    fn list(&mut self, elements: &[IdedExpr], wanted: Option<&Typed>) -> Typed {
        let mut nodes = Vec::with_capacity(elements.len());
        for element in elements {
            let (node, ty) = self.node(element);
            if let Some((item, item_type)) = wanted
                && !item_type.meets(ty)
            {
                let message = incomparable((item, *item_type), (&node, ty));
                self.ill_typed(element, message);
            }
            nodes.push(node);
        }
        (Node::List(nodes), Type::List)
    }

    fn contained(&mut self, expr: &IdedExpr, item: &IdedExpr, list: &IdedExpr) -> Typed {
        let item = self.node(item);
        let (list, ty) = if let Expr::List(literal) = &list.expr {
            let (list_node, ty) = self.list(&literal.elements, Some(&item));
            self.folded(list, list_node, ty)
        } else {
            self.node(list)
        };
        match ty {
            Type::List | Type::Map | Type::Any => (Node::In(Box::new(item.0), Box::new(list)), Type::Bool),
            Type::Bool | Type::Number | Type::Text | Type::Datetime | Type::Duration | Type::Null => {
                let hint = if ty == Type::Text { "; to look into a text write text.contains(part)" } else { "" };
                self.ill_typed(expr, format!("`in` needs a list, not {}{}{hint}", ty.as_str(), list.label()))
            }
        }
    }

    fn index(&mut self, expr: &IdedExpr, (list, list_type): Typed, (index, index_type): Typed) -> Typed {
        let fits = match list_type {
            Type::List => index_type.meets(Type::Number),
            Type::Map => index_type.meets(Type::Text),
            Type::Any => index_type.meets(Type::Number) || index_type.meets(Type::Text),
            Type::Bool | Type::Number | Type::Text | Type::Datetime | Type::Duration | Type::Null => false,
        };
        if !fits {
            let message =
                format!("{}{} has no item named by {}", list_type.as_str(), list.label(), index_type.as_str());
            return self.ill_typed(expr, message);
        }
        (Node::Index(Box::new(list), Box::new(index)), Type::Any)
    }

    /// The type decides the comparators (C4).
    fn compare(&mut self, expr: &IdedExpr, comparison: Comparison, left: &IdedExpr, right: &IdedExpr) -> Typed {
        let ((left, left_type), (right, right_type)) = (self.node(left), self.node(right));
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        if !left_type.meets(right_type) {
            return self.ill_typed(expr, incomparable((&left, left_type), (&right, right_type)));
        }
        if !is_equality
            && let Some((node, ty)) =
                [(&left, left_type), (&right, right_type)].into_iter().find(|(_, ty)| !ty.has_order())
        {
            let message =
                format!("{}{} has no order; it can be compared with == and != only", ty.as_str(), node.label());
            return self.ill_typed(expr, message);
        }
        (Node::Compare(comparison, Box::new(left), Box::new(right)), Type::Bool)
    }

    fn arithmetic(&mut self, expr: &IdedExpr, arithmetic: Arithmetic, left: &IdedExpr, right: &IdedExpr) -> Typed {
        let ((left, left_type), (right, right_type)) = (self.node(left), self.node(right));
        let ty = match (arithmetic, left_type, right_type) {
            (_, Type::Any, _) | (_, _, Type::Any) => Type::Any,
            (_, Type::Number, Type::Number) => Type::Number,
            (Arithmetic::Add, Type::Text, Type::Text) => Type::Text,
            (Arithmetic::Add | Arithmetic::Subtract, Type::Datetime, Type::Duration)
            | (Arithmetic::Add, Type::Duration, Type::Datetime) => Type::Datetime,
            (Arithmetic::Subtract, Type::Datetime, Type::Datetime) => Type::Duration,
            (Arithmetic::Add | Arithmetic::Subtract, Type::Duration, Type::Duration) => Type::Duration,
            _ => {
                let message = format!(
                    "`{}` is not defined for {}{} and {}{}",
                    arithmetic.symbol(),
                    left_type.as_str(),
                    left.label(),
                    right_type.as_str(),
                    right.label()
                );
                return self.ill_typed(expr, message);
            }
        };
        (Node::Arithmetic(arithmetic, Box::new(left), Box::new(right)), ty)
    }

    fn function(&mut self, expr: &IdedExpr, name: &str, operands: &[&IdedExpr]) -> Typed {
        let Some(function) = Function::ALL.into_iter().find(|function| function.signature().name == name) else {
            let names = Function::ALL.map(|function| function.signature().name);
            let message = match model::nearest::nearest(name, names) {
                Some(near) => format!("there is no function `{name}`; did you mean {near}?"),
                None => format!("there is no function `{name}`; there are has, {}", names.join(", ")),
            };
            return self.problem("condition_unknown_function", expr, message);
        };
        let arguments = function.signature().arguments;
        if operands.len() != arguments.len() {
            let message = format!("`{name}` takes {} argument(s), not {}", arguments.len(), operands.len());
            return self.ill_typed(expr, message);
        }
        let mut nodes = Vec::with_capacity(operands.len());
        for (operand, allowed) in operands.iter().zip(arguments) {
            let (node, ty) = self.node(operand);
            if ty != Type::Any && !allowed.contains(&ty) {
                let wanted: Vec<&str> = allowed.iter().map(|ty| ty.as_str()).collect();
                let message = format!("`{name}` needs {}, not {}{}", wanted.join(" or "), ty.as_str(), node.label());
                return self.ill_typed(operand, message);
            }
            nodes.push(node);
        }
        let result = function.signature().result;
        match (function, nodes.as_slice(), operands) {
            (Function::Matches, [_, _], [_, pattern]) => self.matches(pattern, nodes),
            (Function::Timestamp, [Node::Constant(Constant::Value(Value::Text(text)))], [literal, ..])
                if Timestamp::parse(text).is_none() =>
            {
                // A condition has no zone of its own, so what a person writes into it must name one.
                let message = format!("`{text}` is not an instant; expected RFC 3339 with an offset");
                self.ill_typed(literal, message)
            }
            _ => (Node::Call(function, nodes), result),
        }
    }

    /// The pattern is compiled once, here; so it must stand in the condition itself.
    fn matches(&mut self, expr: &IdedExpr, mut nodes: Vec<Node>) -> Typed {
        let (Some(Node::Constant(Constant::Value(Value::Text(pattern)))), Some(text)) = (nodes.pop(), nodes.pop())
        else {
            return self.unsupported(expr, "a pattern that is not a literal text");
        };
        let built = regex::RegexBuilder::new(&pattern)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .nest_limit(u32::from(crate::NESTING_MAX))
            .build();
        match built {
            Ok(regex) => (Node::Matches(Box::new(text), Box::new(regex)), Type::Bool),
            Err(error) => {
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
                self.ill_typed(expr, format!("`{}` is not a pattern: {why}", syntax::excerpt(&pattern)))
            }
        }
    }
}

fn incomparable((left, left_type): (&Node, Type), (right, right_type): (&Node, Type)) -> String {
    let hint = match (left_type, right_type) {
        (Type::Datetime, Type::Text) | (Type::Text, Type::Datetime) => "; write timestamp(…) around the text",
        (Type::Number, Type::Text) | (Type::Text, Type::Number) => "; a number is written without quotes",
        _ => "",
    };
    let (left_type, right_type) = (left_type.as_str(), right_type.as_str());
    format!("{left_type}{} cannot be compared with {right_type}{}{hint}", left.label(), right.label())
}

/// The paths that have a value whenever `expr` is `truth`.
fn assured(expr: &IdedExpr, truth: bool) -> Vec<Text> {
    if let Expr::Select(SelectExpr { operand, field, test: true }) = &expr.expr {
        let segments = segments_of(operand).filter(|_| truth);
        return segments
            .map(|mut segments| {
                segments.push(field);
                vec![text_of(&segments)]
            })
            .unwrap_or_default();
    }
    let Expr::Call(CallExpr { func_name, target: None, args }) = &expr.expr else { return vec![] };
    match (func_name.as_str(), args.as_slice()) {
        (operators::LOGICAL_NOT, [one]) => assured(one, !truth),
        (operators::LOGICAL_AND, [left, right]) if truth => [assured(left, true), assured(right, true)].concat(),
        (operators::LOGICAL_OR, [left, right]) if !truth => [assured(left, false), assured(right, false)].concat(),
        _ => vec![],
    }
}

/// None: of bytes, which are no value here.
fn constant(literal: &LiteralValue) -> Option<(Value, Type)> {
    Some(match literal {
        LiteralValue::Boolean(truth) => (Value::Bool(*truth.inner()), Type::Bool),
        LiteralValue::Int(number) => (Value::Int(*number.inner()), Type::Number),
        LiteralValue::UInt(number) => {
            let number = *number.inner();
            // As JSON is read (`model::Value`).
            (i64::try_from(number).map_or(Value::Float(number as f64), Value::Int), Type::Number)
        }
        LiteralValue::Double(number) => (Value::Float(*number.inner()), Type::Number),
        LiteralValue::String(text) => (Value::Text(text.inner().into()), Type::Text),
        LiteralValue::Bytes(_) => return None,
        LiteralValue::Null => (Value::Null, Type::Null),
    })
}

/// `a.b.c` as its segments; also `a["b"].c`, whose index is a literal text.
fn segments_of(mut expr: &IdedExpr) -> Option<Vec<&str>> {
    let mut segments = Vec::new();
    loop {
        if let Expr::Ident(name) = &expr.expr {
            segments.push(name.as_str());
            segments.reverse();
            return Some(segments);
        }
        if let Expr::Select(SelectExpr { operand, field, test: false }) = &expr.expr {
            segments.push(field);
            expr = operand;
            continue;
        }
        let Expr::Call(CallExpr { func_name, target: None, args }) = &expr.expr else { return None };
        let [list, IdedExpr { expr: Expr::Literal(LiteralValue::String(key)), .. }] = args.as_slice() else {
            return None;
        };
        if func_name != operators::INDEX {
            return None;
        }
        segments.push(key.inner());
        expr = list;
    }
}

/// As people write it: profile.plan, profile.`first name`, and only where that cannot be written, profile["Größe"].
fn text_of(segments: &[&str]) -> Text {
    let mut text = Text::default();
    for segment in segments {
        let is_name = !segment.starts_with(|c: char| c.is_ascii_digit())
            && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let can_be_quoted = segment.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/ ".contains(c));
        match (segment.is_empty(), is_name, can_be_quoted) {
            _ if text.is_empty() => text.push_str(segment),
            (false, true, _) => text.extend([".", segment]),
            (false, false, true) => text.extend([".`", segment, "`"]),
            (true, _, _) | (false, false, false) => text.push_str(&format!("[{segment:?}]")),
        }
    }
    text
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
