//! The tree of a template, and the parser that makes it from the lexer's pieces.
//!
//! ```text
//! output    = chain
//! chain     = value { "|" filter [ ":" value { "," value } ] }
//! value     = literal | path
//! path      = word { "." word | "[" value "]" }
//! literal   = "text" | 'text' | 12 | 1.5 | true | false | nil | empty | blank
//! condition = test { "and" test } | test { "or" test }
//! test      = value [ ( == | != | <> | < | > | <= | >= | contains ) value ]
//! for       = word "in" ( value | "(" value ".." value ")" ) { reversed | limit ":" value | offset ":" value }
//! ```

use crate::Error;
use crate::filters::{self, Filter};
use crate::lexer::{Kind, Piece, syntax};
use std::iter::Peekable;

/// Deepest nesting of blocks, and of `a[b[c]]`: what bounds the recursion of parser and renderer.
const DEPTH_MAX: usize = 40;

#[derive(Debug)]
pub enum Node {
    Text(String),
    Output { line: usize, chain: Chain },
    Assign { line: usize, name: String, chain: Chain },
    Capture { name: String, body: Vec<Node> },
    If { line: usize, arms: Vec<Arm>, otherwise: Vec<Node> },
    Case { line: usize, subject: Expression, arms: Vec<(Vec<Expression>, Vec<Node>)>, otherwise: Vec<Node> },
    For(Box<For>),
    Break,
    Continue,
}

/// One `if`, `unless` or `elsif` with what follows it.
#[derive(Debug)]
pub struct Arm {
    pub condition: Condition,
    pub body: Vec<Node>,
}

#[derive(Debug)]
pub struct Condition {
    /// `unless`: the arm is taken when the tests fail.
    pub is_negated: bool,
    pub joined_by: Joint,
    pub tests: Vec<Test>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    And,
    Or,
}

#[derive(Debug)]
pub enum Test {
    Truthy(Expression),
    Compare(Expression, Operator, Expression),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
}

#[derive(Debug)]
pub struct For {
    pub line: usize,
    pub variable: String,
    pub over: Over,
    pub limit: Option<Expression>,
    pub offset: Option<Expression>,
    pub is_reversed: bool,
    pub body: Vec<Node>,
    /// What one turn costs: itself, and all nodes it can touch.
    pub body_nodes: u64,
    /// None: there is no `else`, so a list that is not there is missing.
    pub otherwise: Option<Vec<Node>>,
}

#[derive(Debug)]
pub enum Over {
    List(Expression),
    Range(Expression, Expression),
}

#[derive(Debug)]
pub struct Chain {
    pub entry: Expression,
    pub calls: Vec<Call>,
}

impl Chain {
    pub fn has_default(&self) -> bool {
        self.calls.iter().any(|call| call.filter.name == "default")
    }
}

#[derive(Debug)]
pub struct Call {
    pub filter: &'static Filter,
    pub arguments: Vec<Expression>,
}

#[derive(Debug)]
pub enum Expression {
    Nil,
    Empty,
    Blank,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Path(Path),
}

#[derive(Debug)]
pub struct Path {
    pub root: String,
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub enum Step {
    Name(String),
    Index(Expression),
}

/// # Errors
/// `Error::Syntax` with the line and what is wrong there.
pub fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>, Error> {
    let mut parser = Parser { pieces: pieces.into_iter().peekable(), depth: 0 };
    let (nodes, end) = parser.nodes(&[], false)?;
    match end {
        None => Ok(nodes),
        Some(end) => Err(syntax(end.line, format!("`{}` stands outside of its block", end.name))),
    }
}

struct Parser {
    pieces: Peekable<std::vec::IntoIter<Piece>>,
    depth: usize,
}

/// The tag that ended a run of nodes: an arm such as `else`, or the end of the block.
struct End {
    line: usize,
    name: String,
    code: String,
}

impl Parser {
    /// The nodes up to one of the tags in `ends`.
    fn nodes(&mut self, ends: &[&str], is_in_loop: bool) -> Result<(Vec<Node>, Option<End>), Error> {
        let mut nodes = Vec::new();
        while let Some(Piece { line, kind }) = self.pieces.next() {
            match kind {
                Kind::Text(text) => nodes.push(Node::Text(text)),
                Kind::Output(code) => nodes.push(Node::Output { line, chain: Code::whole(&code, line, Code::chain)? }),
                Kind::Tag { name, code } if ends.contains(&name.as_str()) => {
                    return Ok((nodes, Some(End { line, name, code })));
                }
                Kind::Tag { name, code } => match self.tag(line, &name, &code, is_in_loop)? {
                    Some(node) => nodes.push(node),
                    None => return Ok((nodes, Some(End { line, name, code }))),
                },
            }
        }
        Ok((nodes, None))
    }

    /// The node of one tag with its block; None for a tag that only makes sense inside another block.
    fn tag(&mut self, line: usize, name: &str, code: &str, is_in_loop: bool) -> Result<Option<Node>, Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(syntax(line, format!("blocks are nested more than {DEPTH_MAX} deep")));
        }
        let node = match name {
            "assign" => {
                let (name, chain) = Code::whole(code, line, |code| {
                    let name = code.word()?;
                    code.expect("=")?;
                    Ok((name, code.chain()?))
                })?;
                Node::Assign { line, name, chain }
            }
            "capture" => {
                let name = Code::whole(code, line, Code::word)?;
                let body = self.block(line, "capture", &["endcapture"], is_in_loop)?.0;
                Node::Capture { name, body }
            }
            "if" | "unless" => self.conditional(line, name, code, is_in_loop)?,
            "case" => self.case(line, code, is_in_loop)?,
            "for" => self.for_loop(line, code)?,
            "break" | "continue" if !is_in_loop => {
                return Err(syntax(line, format!("`{name}` stands outside of a `for`")));
            }
            "break" => Node::Break,
            "continue" => Node::Continue,
            "else" | "elsif" | "when" | "endif" | "endunless" | "endcase" | "endfor" | "endcapture" => {
                self.depth -= 1;
                return Ok(None);
            }
            _ => return Err(syntax(line, format!("the tag `{name}` is not known"))),
        };
        self.depth -= 1;
        Ok(Some(node))
    }

    /// The nodes up to one of `ends`, which must come: the first of them closes the block.
    fn block(&mut self, line: usize, name: &str, ends: &[&str], is_in_loop: bool) -> Result<(Vec<Node>, End), Error> {
        let (nodes, end) = self.nodes(ends, is_in_loop)?;
        match end {
            Some(end) if ends.contains(&end.name.as_str()) => Ok((nodes, end)),
            Some(end) => {
                Err(syntax(end.line, format!("`{}` where the `{name}` of line {line} is to be closed", end.name)))
            }
            None => Err(syntax(line, format!("`{{% {name} %}}` is never closed by `{{% end{name} %}}`"))),
        }
    }

    fn conditional(&mut self, line: usize, name: &str, code: &str, is_in_loop: bool) -> Result<Node, Error> {
        let close: &str = if name == "if" { "endif" } else { "endunless" };
        let mut condition = Code::whole(code, line, Code::condition)?;
        condition.is_negated = name == "unless";
        let mut arms = Vec::new();
        loop {
            let (body, end) = self.block(line, name, &[close, "elsif", "else"], is_in_loop)?;
            arms.push(Arm { condition, body });
            match end.name.as_str() {
                "elsif" => condition = Code::whole(&end.code, end.line, Code::condition)?,
                "else" => {
                    let otherwise = self.block(line, name, &[close], is_in_loop)?.0;
                    return Ok(Node::If { line, arms, otherwise });
                }
                _ => {
                    return Ok(Node::If { line, arms, otherwise: Vec::new() });
                }
            }
        }
    }

    fn case(&mut self, line: usize, code: &str, is_in_loop: bool) -> Result<Node, Error> {
        const ENDS: [&str; 3] = ["endcase", "when", "else"];
        let subject = Code::whole(code, line, Code::value)?;
        // NOTE: what stands between `case` and the first `when` is never rendered, as in every Liquid.
        let (_, mut end) = self.block(line, "case", &ENDS, is_in_loop)?;
        let mut arms = Vec::new();
        loop {
            match end.name.as_str() {
                "when" => {
                    let values = Code::whole(&end.code, end.line, Code::alternatives)?;
                    let (body, next) = self.block(line, "case", &ENDS, is_in_loop)?;
                    arms.push((values, body));
                    end = next;
                }
                "else" => {
                    let otherwise = self.block(line, "case", &["endcase"], is_in_loop)?.0;
                    return Ok(Node::Case { line, subject, arms, otherwise });
                }
                _ => {
                    return Ok(Node::Case { line, subject, arms, otherwise: Vec::new() });
                }
            }
        }
    }

    fn for_loop(&mut self, line: usize, code: &str) -> Result<Node, Error> {
        let mut head = Code::whole(code, line, |code| code.for_head(line))?;
        let (body, end) = self.block(line, "for", &["endfor", "else"], true)?;
        if end.name == "else" {
            head.otherwise = Some(self.block(line, "for", &["endfor"], true)?.0);
        }
        // The turn itself counts too: an empty body would make an endless loop free.
        head.body_nodes = 1 + body.iter().map(Node::weight).sum::<u64>();
        head.body = body;
        Ok(Node::For(Box::new(head)))
    }
}

impl Node {
    /// How many nodes it has, itself included.
    fn weight(&self) -> u64 {
        let inside = |nodes: &[Node]| nodes.iter().map(Node::weight).sum::<u64>();
        1 + match self {
            Node::Text(_) | Node::Output { .. } | Node::Assign { .. } | Node::Break | Node::Continue => 0,
            Node::Capture { body, .. } => inside(body),
            Node::If { arms, otherwise, .. } => {
                arms.iter().map(|arm| arm.condition.tests.len() as u64 + inside(&arm.body)).sum::<u64>()
                    + inside(otherwise)
            }
            Node::Case { arms, otherwise, .. } => {
                arms.iter().map(|(values, body)| values.len() as u64 + inside(body)).sum::<u64>() + inside(otherwise)
            }
            Node::For(inner) => inner.body_nodes + inner.otherwise.as_deref().map_or(0, inside),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Int(i64),
    Float(f64),
    Sign(&'static str),
}

/// The inside of one tag.
struct Code {
    line: usize,
    tokens: std::vec::IntoIter<Token>,
    brackets: usize,
}

impl Code {
    /// Reads all of `code` with `read`.
    fn whole<T>(code: &str, line: usize, read: impl FnOnce(&mut Code) -> Result<T, Error>) -> Result<T, Error> {
        let mut code = Code { line, tokens: tokens(code, line)?.into_iter(), brackets: 0 };
        let read = read(&mut code)?;
        match code.tokens.next() {
            None => Ok(read),
            Some(token) => Err(syntax(line, format!("{} is not expected here", describe(Some(&token))))),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.as_slice().first()
    }

    /// Takes the sign `sign` if it comes next.
    fn takes(&mut self, sign: &str) -> bool {
        let comes = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        if comes {
            self.tokens.next();
        }
        comes
    }

    /// Takes the word `word` if it comes next.
    fn takes_word(&mut self, word: &str) -> bool {
        let comes = matches!(self.peek(), Some(Token::Word(next)) if next == word);
        if comes {
            self.tokens.next();
        }
        comes
    }

    fn expect(&mut self, sign: &str) -> Result<(), Error> {
        if self.takes(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, expected: &str) -> Error {
        syntax(self.line, format!("expected {expected}, found {}", describe(self.peek())))
    }

    fn word(&mut self) -> Result<String, Error> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.tokens.next();
                Ok(word)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn value(&mut self) -> Result<Expression, Error> {
        let Some(token) = self.peek().cloned() else {
            return Err(self.unexpected("a value"));
        };
        if let Token::Sign(_) = token {
            return Err(self.unexpected("a value"));
        }
        self.tokens.next();
        Ok(match token {
            Token::Text(text) => Expression::Text(text),
            Token::Int(number) => Expression::Int(number),
            Token::Float(number) => Expression::Float(number),
            Token::Word(word) => match word.as_str() {
                "nil" | "null" => Expression::Nil,
                "true" => Expression::Bool(true),
                "false" => Expression::Bool(false),
                "empty" => Expression::Empty,
                "blank" => Expression::Blank,
                _ => Expression::Path(self.path(word)?),
            },
            Token::Sign(_) => return Err(self.unexpected("a value")),
        })
    }

    fn path(&mut self, root: String) -> Result<Path, Error> {
        let mut steps = Vec::new();
        loop {
            if self.takes(".") {
                steps.push(Step::Name(self.word()?));
            } else if self.takes("[") {
                self.brackets += 1;
                if self.brackets > DEPTH_MAX {
                    return Err(syntax(self.line, format!("`[` is nested more than {DEPTH_MAX} deep")));
                }
                let index = self.value()?;
                self.expect("]")?;
                self.brackets -= 1;
                steps.push(if let Expression::Text(name) = index { Step::Name(name) } else { Step::Index(index) });
            } else {
                return Ok(Path { root, steps });
            }
        }
    }

    fn chain(&mut self) -> Result<Chain, Error> {
        let entry = self.value()?;
        let mut calls = Vec::new();
        while self.takes("|") {
            calls.push(self.call()?);
        }
        Ok(Chain { entry, calls })
    }

    fn call(&mut self) -> Result<Call, Error> {
        let name = self.word()?;
        let Some(filter) = filters::find(&name) else {
            return Err(syntax(self.line, format!("the filter `{name}` is not known")));
        };
        let mut arguments = Vec::new();
        if self.takes(":") {
            arguments.push(self.value()?);
            while self.takes(",") {
                arguments.push(self.value()?);
            }
        }
        if filter.arguments.contains(&arguments.len()) {
            return Ok(Call { filter, arguments });
        }
        let (from, to) = (filter.arguments.start(), filter.arguments.end());
        let takes = if from == to { from.to_string() } else { format!("{from} to {to}") };
        Err(syntax(self.line, format!("the filter `{name}` takes {takes} arguments, not {}", arguments.len())))
    }

    fn condition(&mut self) -> Result<Condition, Error> {
        let mut tests = vec![self.test()?];
        let mut joint = None;
        loop {
            let next = if self.takes_word("and") {
                Joint::And
            } else if self.takes_word("or") {
                Joint::Or
            } else {
                return Ok(Condition { is_negated: false, joined_by: joint.unwrap_or(Joint::And), tests });
            };
            if joint.is_some_and(|joint| joint != next) {
                // NOTE: Liquids disagree on what `a and b or c` means; guessing would send the wrong mail.
                return Err(syntax(self.line, "`and` and `or` in one condition are ambiguous; nest two `if`s"));
            }
            joint = Some(next);
            tests.push(self.test()?);
        }
    }

    fn test(&mut self) -> Result<Test, Error> {
        let left = self.value()?;
        let operator = match self.peek() {
            Some(Token::Sign("==")) => Operator::Equal,
            Some(Token::Sign("!=" | "<>")) => Operator::NotEqual,
            Some(Token::Sign("<")) => Operator::Less,
            Some(Token::Sign("<=")) => Operator::LessOrEqual,
            Some(Token::Sign(">")) => Operator::Greater,
            Some(Token::Sign(">=")) => Operator::GreaterOrEqual,
            Some(Token::Word(word)) if word == "contains" => Operator::Contains,
            _ => return Ok(Test::Truthy(left)),
        };
        self.tokens.next();
        Ok(Test::Compare(left, operator, self.value()?))
    }

    fn alternatives(&mut self) -> Result<Vec<Expression>, Error> {
        let mut values = vec![self.value()?];
        while self.takes(",") || self.takes_word("or") {
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn for_head(&mut self, line: usize) -> Result<For, Error> {
        let variable = self.word()?;
        if !self.takes_word("in") {
            return Err(self.unexpected("`in`"));
        }
        let over = if self.takes("(") {
            let first = self.value()?;
            self.expect("..")?;
            let last = self.value()?;
            self.expect(")")?;
            Over::Range(first, last)
        } else {
            Over::List(self.value()?)
        };
        let (mut limit, mut offset, mut is_reversed) = (None, None, false);
        while self.peek().is_some() {
            if self.takes_word("reversed") {
                is_reversed = true;
            } else if self.takes_word("limit") {
                self.expect(":")?;
                limit = Some(self.value()?);
            } else if self.takes_word("offset") {
                self.expect(":")?;
                offset = Some(self.value()?);
            } else if !self.takes(",") {
                return Err(self.unexpected("`limit`, `offset` or `reversed`"));
            }
        }
        let (body, body_nodes, otherwise) = (Vec::new(), 0, None);
        Ok(For { line, variable, over, limit, offset, is_reversed, body, body_nodes, otherwise })
    }
}

fn describe(token: Option<&Token>) -> String {
    match token {
        None => "the end of the tag".to_owned(),
        Some(Token::Word(word)) => format!("`{word}`"),
        Some(Token::Text(_)) => "a text".to_owned(),
        Some(Token::Int(number)) => format!("`{number}`"),
        Some(Token::Float(number)) => format!("`{number}`"),
        Some(Token::Sign(sign)) => format!("`{sign}`"),
    }
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 18] =
    ["==", "!=", "<>", "<=", ">=", "..", "<", ">", "=", ".", "[", "]", "(", ")", "|", ":", ",", "-"];

fn tokens(code: &str, line: usize) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => {
                let Some(length) = rest[1..].find(first) else {
                    return Err(syntax(line, "a text is not closed"));
                };
                tokens.push(Token::Text(rest[1..=length].to_owned()));
                length + 2
            }
            '0'..='9' => number(rest, false, line, &mut tokens)?,
            '-' | '+' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest, true, line, &mut tokens)?,
            'a'..='z' | 'A'..='Z' | '_' => {
                // NOTE: Liquid's names may hold `-`, and CloudEvents attributes do.
                let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                let length = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..length].to_owned()));
                length
            }
            _ => {
                let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) else {
                    return Err(syntax(line, format!("`{}` is not expected here", first.escape_debug())));
                };
                tokens.push(Token::Sign(sign));
                sign.len()
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn number(rest: &str, has_sign: bool, line: usize, tokens: &mut Vec<Token>) -> Result<usize, Error> {
    let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
    let whole = usize::from(has_sign) + digits(usize::from(has_sign));
    let fraction = if rest[whole..].starts_with('.') { digits(whole + 1) } else { 0 };
    let length = if fraction == 0 { whole } else { whole + 1 + fraction };
    let text = &rest[..length];
    let token = if fraction == 0 { text.parse().ok().map(Token::Int) } else { text.parse().ok().map(Token::Float) };
    tokens.push(token.ok_or_else(|| syntax(line, format!("the number `{text}` is too large")))?);
    Ok(length)
}
