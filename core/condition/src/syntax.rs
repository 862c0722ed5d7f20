//! From text to CEL's syntax tree, with limits that no source gets past.

use crate::{NESTING_MAX, Problem, SOURCE_BYTES_MAX};
use cel::ParseError;
use cel::common::ast::{CallExpr, Expr, IdedExpr, SelectExpr, SourceInfo};
use cel::parser::Parser;

/// How many operators may follow each other without `&&`, `||`, `?`, `:` or `,` in between.
const CHAIN_MAX: usize = 256;

/// A source, parsed.
pub(crate) struct Syntax<'a> {
    source: &'a str,
    positions: SourceInfo,
}

/// # Errors
/// Why `source` cannot be read, at the first place where it cannot.
pub(crate) fn parse(source: &str) -> Result<(IdedExpr, Syntax<'_>), Problem> {
    let problem = |message: String, column: usize| Problem { code: "condition_syntax", message, column };
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("the condition has {} bytes; at most {SOURCE_BYTES_MAX} are allowed", source.len());
        return Err(problem(message, 1));
    }
    if source.trim().is_empty() {
        return Err(problem("the condition is empty".to_owned(), 1));
    }
    if longest_chain(source) > CHAIN_MAX {
        return Err(problem(format!("the condition has more than {CHAIN_MAX} operators in a row"), 1));
    }
    // With profile.`first name`, since `has` takes no profile["first name"].
    let parser = Parser::new().max_recursion_depth(NESTING_MAX).enable_ident_escape_syntax(true);
    match parser.parse_with_source_info(source) {
        Ok((tree, positions)) => Ok((tree, Syntax { source, positions })),
        Err(errors) if errors.errors.iter().any(|error| error.msg.contains("Recursion limit")) => {
            Err(problem(format!("the condition nests deeper than {NESTING_MAX} levels"), 1))
        }
        Err(errors) => {
            let first = errors.errors.first();
            let why = first.map_or_else(|| "it cannot be read".to_owned(), |error| readable(&error.msg));
            let column = first.map_or(1, |error| column_of(source, error));
            Err(problem(format!("`{}` is not a condition: {why}", excerpt(source)), column))
        }
    }
}

/// The most operators between two separators: what bounds the depth to which the parser recurses on chains such as
/// `1 + 1 + 1`, which it does not bound itself (brackets and `?:` it does).
///
/// NOTE: It does not know texts. One full of operators counts as a chain, and one that holds a separator ends it; a
/// level that hides behind such a text takes four bytes, so that the limit on the source still bounds the depth.
fn longest_chain(source: &str) -> usize {
    let (mut chain, mut longest) = (0, 0);
    let mut before = ' ';
    for c in source.chars() {
        match c {
            '&' | '|' | '?' | ':' | ',' => chain = 0,
            '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' | '.' | '[' => chain += 1,
            // The operator `in`; that some names hold these letters only makes the chain look longer.
            'n' if before == 'i' => chain += 1,
            _ => {}
        }
        before = c;
        longest = longest.max(chain);
    }
    longest
}

/// The parser's message in words for people, without its enumeration of all tokens that could have come.
fn readable(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting ").next().unwrap_or(message).replace("'<EOF>'", "the end");
    let unexpected = ["mismatched input ", "extraneous input ", "no viable alternative at input "];
    let no_token = "token recognition error at: ";
    if let Some(what) = unexpected.iter().find_map(|kind| message.strip_prefix(kind)) {
        return format!("{what} was not expected");
    }
    match message.strip_prefix(no_token) {
        Some(what) if what.starts_with("'=") => "`=` compares nothing; write ==".to_owned(),
        Some(what) if what.starts_with("''") || what.starts_with("'\"") => "a text has no closing quote".to_owned(),
        Some(what) => format!("{what} was not expected"),
        None => message,
    }
}

/// The beginning of `source` in one line, for messages.
pub(crate) fn excerpt(source: &str) -> String {
    const CHARS_MAX: usize = 80;
    let (beginning, more) = match source.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => (&source[..end], "…"),
        None => (source, ""),
    };
    format!("{}{more}", beginning.replace(['\n', '\r'], " "))
}

/// From line and column, both from 1, to the column in the whole source.
fn column_of(source: &str, error: &ParseError) -> usize {
    let (line, column) = error.pos;
    let (line, column) = (usize::try_from(line).unwrap_or(1).max(1), usize::try_from(column).unwrap_or(1).max(1));
    let before: usize = source.split_inclusive('\n').take(line - 1).map(|line| line.chars().count()).sum();
    before + column
}

impl Syntax<'_> {
    /// Where `expr` begins, in characters from 1.
    pub(crate) fn column(&self, expr: &IdedExpr) -> usize {
        let byte = self.first_byte(expr);
        self.source.get(..byte).map_or(1, |before| before.chars().count() + 1)
    }

    fn first_byte(&self, expr: &IdedExpr) -> usize {
        let at = self.positions.offset_for(expr.id).and_then(|(start, _)| usize::try_from(start).ok()).unwrap_or(0);
        match &expr.expr {
            // The parser's own place is the dot or the operator; they begin where their first operand does.
            Expr::Select(SelectExpr { operand, .. }) => self.first_byte(operand).min(at),
            Expr::Call(CallExpr { target: Some(target), .. }) => self.first_byte(target).min(at),
            Expr::Call(CallExpr { func_name, target: None, args }) => {
                if func_name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    // Of `size (x)` it is the bracket.
                    let name_end = self.source.get(..at).map_or(0, |before| before.trim_end().len());
                    return name_end.saturating_sub(func_name.len());
                }
                args.first().map_or(at, |first| self.first_byte(first)).min(at)
            }
            Expr::Unspecified
            | Expr::Comprehension(_)
            | Expr::Ident(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_) => at,
        }
    }
}
