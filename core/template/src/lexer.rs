//! Cuts a template into text, outputs and tags: the outer layer of Liquid, with whitespace control (`{%-`, `-%}`),
//! `raw`, `comment`, `echo` and `{% # remarks %}` already worked off. Linear in the length of the source.

use crate::Error;

/// Longest single tag or output.
const CODE_BYTES_MAX: usize = 4096;
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The line of the source it begins in, from 1.
    pub line: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Copied as it is.
    Text(String),
    /// `{{ code }}`.
    Output(String),
    /// `{% name code %}`.
    Tag { name: String, code: String },
}

/// Whether `source` has nothing to evaluate.
pub fn is_plain(source: &str) -> bool {
    !source.contains("{{") && !source.contains("{%")
}

/// # Errors
/// `Error::Syntax` with the line of what is not closed, not known, too deep or too long.
pub fn cut(source: &str) -> Result<Vec<Piece>, Error> {
    let mut lexer = Lexer { source, at: 0, line: 1, pieces: Vec::new(), trims_next: false };
    while lexer.at < source.len() {
        lexer.step()?;
    }
    Ok(lexer.pieces)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// The line of `at`.
    line: usize,
    pieces: Vec<Piece>,
    /// The last tag ended in `-`, so blanks after it go.
    trims_next: bool,
}

impl<'a> Lexer<'a> {
    /// Takes the text up to the next tag, and that tag.
    fn step(&mut self) -> Result<(), Error> {
        let rest = &self.source[self.at..];
        let Some(open) = find_open(rest) else {
            self.text(rest, false);
            self.advance(rest.len());
            return Ok(());
        };
        self.text(&rest[..open], rest[open + 2..].starts_with('-'));
        self.advance(open);

        let line = self.line;
        let is_output = rest[open..].starts_with("{{");
        let inner = self.inside(if is_output { "}}" } else { "%}" })?;
        if is_output {
            let code = limited(inner, line)?;
            self.push(line, Kind::Output(code));
            return Ok(());
        }
        let trimmed = inner.trim();
        let name_bytes = trimmed.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(trimmed.len());
        let (name, code) = trimmed.split_at(name_bytes);
        match name {
            "raw" => {
                let body = self.until_end("raw", line)?;
                self.text(body, false);
                self.trims_next = false;
                Ok(())
            }
            "comment" => self.until_end("comment", line).map(drop),
            "echo" => {
                let code = limited(code, line)?;
                self.push(line, Kind::Output(code));
                Ok(())
            }
            "" if code.starts_with('#') => Ok(()),
            _ => {
                let code = limited(code, line)?;
                self.push(line, Kind::Tag { name: name.to_owned(), code });
                Ok(())
            }
        }
    }

    /// What stands between `self.at`, an opening `{{` or `{%`, and `close`; moves past it.
    fn inside(&mut self, close: &str) -> Result<&'a str, Error> {
        let rest = &self.source[self.at + 2..];
        // NOTE: an apostrophe in a `{% # don't %}` opens no text literal.
        let is_remark = close == "%}" && rest.trim_start_matches('-').trim_start().starts_with('#');
        let Some(length) = (if is_remark { rest.find(close) } else { find_close(rest, close) }) else {
            return Err(syntax(
                self.line,
                format!("`{}` is not closed by `{close}`", &self.source[self.at..self.at + 2]),
            ));
        };
        let inner = &rest[..length];
        self.advance(length + 4);
        let inner = inner.strip_prefix('-').unwrap_or(inner);
        self.trims_next = inner.ends_with('-');
        Ok(inner.strip_suffix('-').unwrap_or(inner))
    }

    /// The source up to `{% end<name> %}`, whatever it holds; moves past the end tag.
    fn until_end(&mut self, name: &str, line: usize) -> Result<&'a str, Error> {
        let start = self.at;
        let end_name = format!("end{name}");
        while let Some(found) = self.source[self.at..].find("{%") {
            let stop = self.at + found;
            self.advance(found + 2);
            let rest = &self.source[self.at..];
            let Some(after) = after_name(rest, &end_name) else {
                continue;
            };
            let (after, trims) = after.strip_prefix('-').map_or((after, false), |after| (after, true));
            if let Some(after) = after.strip_prefix("%}") {
                self.advance(rest.len() - after.len());
                self.trims_next = trims;
                return Ok(&self.source[start..stop]);
            }
        }
        Err(syntax(line, format!("`{{% {name} %}}` is never closed by `{{% {end_name} %}}`")))
    }

    fn text(&mut self, text: &str, trims_end: bool) {
        let line = self.line;
        let text = if self.trims_next { text.trim_start() } else { text };
        let text = if trims_end { text.trim_end() } else { text };
        if !text.is_empty() {
            self.push(line, Kind::Text(text.to_owned()));
        }
    }

    fn push(&mut self, line: usize, kind: Kind) {
        self.pieces.push(Piece { line, kind });
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.source.as_bytes()[self.at..self.at + bytes];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at += bytes;
    }
}

/// What follows `name` (and blanks around it) at the start of a tag's inside.
fn after_name<'a>(inside: &'a str, name: &str) -> Option<&'a str> {
    let inside = inside.strip_prefix('-').unwrap_or(inside);
    inside.trim_start().strip_prefix(name).map(str::trim_start)
}

pub(crate) fn find_open(text: &str) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| pair == b"{{" || pair == b"{%")
}

/// The place of `close` in `code`, not counting those inside text literals.
pub(crate) fn find_close(code: &str, close: &str) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate() {
        match quote {
            Some(open) if open == *byte => quote = None,
            Some(_) => {}
            None if matches!(byte, b'"' | b'\'') => quote = Some(*byte),
            None if bytes[at..].starts_with(close.as_bytes()) => return Some(at),
            None => {}
        }
    }
    None
}

/// # Errors
/// When one tag is longer than any that a person would write.
fn limited(code: &str, line: usize) -> Result<String, Error> {
    let code = code.trim();
    if code.len() > CODE_BYTES_MAX {
        return Err(syntax(line, format!("a tag has {} bytes; at most {CODE_BYTES_MAX}", code.len())));
    }
    Ok(code.to_owned())
}

pub fn syntax(line: usize, message: impl Into<String>) -> Error {
    Error::Syntax { line, message: message.into() }
}
