//! MJML, the markup for mails that look the same everywhere, turned into HTML when a message is compiled.
//!
//! Liquid stands anywhere in it, as in HTML: in texts, in values of attributes, and around elements. Each piece is put
//! aside as a word before the MJML is read, so that `{% if event.total < 5 %}` breaks no markup, and put back into the
//! HTML, which is the template. Nothing is fetched: `mj-include` is refused, and fonts are named, not linked.

use crate::lexer::{self, syntax};
use crate::{Error, Format, Template};
use mrml::prelude::parser::{Error as Unreadable, Span};
use mrml::prelude::render::RenderOptions;

/// How deep elements may stand within each other: what reads and writes them goes down as deep as they do.
const DEPTH_MAX: usize = 64;

/// Elements that are never closed.
const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];

/// All there are, sorted, so that a typing error is found: whatever else is written is taken for HTML.
const ELEMENTS: [&str; 33] = [
    "mj-accordion",
    "mj-accordion-element",
    "mj-accordion-text",
    "mj-accordion-title",
    "mj-all",
    "mj-attributes",
    "mj-body",
    "mj-breakpoint",
    "mj-button",
    "mj-carousel",
    "mj-carousel-image",
    "mj-class",
    "mj-column",
    "mj-divider",
    "mj-font",
    "mj-group",
    "mj-head",
    "mj-hero",
    "mj-image",
    "mj-navbar",
    "mj-navbar-link",
    "mj-preview",
    "mj-raw",
    "mj-section",
    "mj-social",
    "mj-social-element",
    "mj-spacer",
    "mj-style",
    "mj-table",
    "mj-text",
    "mj-title",
    "mj-wrapper",
    "mjml",
];

/// The HTML of `source`, with its Liquid still in it.
///
/// # Errors
/// What cannot be read, with its line in `source`.
pub fn to_html(source: &str) -> Result<String, Error> {
    // Liquid's own mistakes first: in the HTML they would have another line.
    Template::compile(source, Format::Html)?;
    let (markup, aside) = Aside::take(source)?;
    check(&markup)?;
    let line = |position: Option<Span>| line_of(&markup, position.map_or(markup.len(), |position| position.start));
    let parsed = mrml::parse(&markup).map_err(|error| syntax(line(position(&error)), readable(&error)))?;
    let options = RenderOptions { disable_comments: false, social_icon_origin: None, fonts: Default::default() };
    let html = parsed.element.render(&options).map_err(|error| syntax(1, format!("it has no HTML: {error}")))?;
    Ok(aside.put_back(&html))
}

/// The pieces of Liquid of a source, each with a word in its place.
struct Aside<'a> {
    /// What such a word begins with; nowhere in the source.
    word: String,
    pieces: Vec<&'a str>,
}

impl<'a> Aside<'a> {
    /// # Errors
    /// When a piece is not closed.
    fn take(source: &'a str) -> Result<(String, Self), Error> {
        let mut word = "liquid".to_owned();
        while source.contains(&word) {
            word.push('q');
        }
        let (mut markup, mut pieces) = (String::with_capacity(source.len()), Vec::new());
        let mut rest = source;
        while let Some(open) = lexer::find_open(rest) {
            let close = if rest[open..].starts_with("{{") { "}}" } else { "%}" };
            let Some(end) = lexer::find_close(&rest[open + 2..], close) else {
                return Err(syntax(line_of(source, source.len() - rest.len() + open), "a tag is never closed"));
            };
            let end = open + 2 + end + close.len();
            markup.push_str(&rest[..open]);
            // The lines of the piece stay, so that those behind it keep their numbers.
            markup.push_str(&format!("{word}{}x", pieces.len()));
            markup.extend(rest[open..end].chars().filter(|c| *c == '\n'));
            pieces.push(&rest[open..end]);
            rest = &rest[end..];
        }
        markup.push_str(rest);
        Ok((markup, Aside { word, pieces }))
    }

    fn put_back(&self, html: &str) -> String {
        let mut parts = html.split(&self.word);
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let piece = part.split_once('x').and_then(|(number, rest)| {
                let number: usize = number.parse().ok()?;
                Some((self.pieces.get(number)?, rest))
            });
            match piece {
                Some((piece, rest)) => {
                    whole.push_str(piece);
                    whole.push_str(rest);
                }
                None => unreachable!("INVARIANT: {} begins a piece and nothing else", self.word),
            }
        }
        whole
    }
}

/// What the reader itself would take, though it is a mistake, or run out of stack for.
fn check(markup: &str) -> Result<(), Error> {
    let mut around: Vec<(&str, usize)> = Vec::new();
    let mut at = 0;
    while let Some(open) = markup[at..].find('<').map(|open| at + open) {
        let inside = &markup[open + 1..];
        if let Some(comment) = inside.strip_prefix("!--") {
            at = comment.find("-->").map_or(markup.len(), |end| open + 4 + end + 3);
            continue;
        }
        let (is_end, inside) = inside.strip_prefix('/').map_or((false, inside), |inside| (true, inside));
        let name_bytes = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(inside.len());
        let name = &inside[..name_bytes];
        if name.is_empty() {
            at = open + 1;
            continue;
        }
        let end = lexer::find_close(inside, ">").unwrap_or(inside.len());
        let is_empty = inside[..end].ends_with('/') || VOID.contains(&name);
        let line = line_of(markup, open);
        if name == "mj-include" {
            return Err(syntax(line, "mj-include is not available; put what it includes into the message"));
        }
        if name.starts_with("mj") && !ELEMENTS.contains(&name) {
            let near = model::nearest::nearest(name, ELEMENTS);
            let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            return Err(syntax(line, format!("there is no element {name}{hint}")));
        }
        if is_end {
            match around.pop() {
                Some((begun, _)) if begun == name => {}
                Some((begun, since)) => {
                    let message = format!("</{name}> closes nothing; it is <{begun}> of line {since} that is open");
                    return Err(syntax(line, message));
                }
                None => return Err(syntax(line, format!("</{name}> closes nothing"))),
            }
        } else if !is_empty {
            around.push((name, line));
        }
        if around.len() > DEPTH_MAX {
            return Err(syntax(line, format!("elements are nested more than {DEPTH_MAX} deep")));
        }
        at = open + 1;
    }
    match around.pop() {
        Some((name, line)) => Err(syntax(line, format!("<{name}> is never closed"))),
        None => Ok(()),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

fn position(error: &Unreadable) -> Option<Span> {
    match error {
        Unreadable::UnexpectedElement { position, .. }
        | Unreadable::UnexpectedToken { position, .. }
        | Unreadable::MissingAttribute { position, .. }
        | Unreadable::InvalidAttribute { position, .. }
        | Unreadable::InvalidFormat { position, .. }
        | Unreadable::IncludeLoaderError { position, .. } => Some(*position),
        Unreadable::EndOfStream { .. }
        | Unreadable::SizeLimit { .. }
        | Unreadable::ParserError { .. }
        | Unreadable::NoRootNode => None,
    }
}

fn readable(error: &Unreadable) -> String {
    match error {
        Unreadable::UnexpectedElement { .. } => "the element cannot stand here".to_owned(),
        Unreadable::UnexpectedToken { .. } => "this cannot stand here".to_owned(),
        Unreadable::MissingAttribute { name, .. } => format!("the element needs the attribute {name}"),
        Unreadable::InvalidAttribute { .. } => "the attribute has a value that it cannot have".to_owned(),
        Unreadable::InvalidFormat { .. } | Unreadable::IncludeLoaderError { .. } => "it cannot be read".to_owned(),
        Unreadable::EndOfStream { .. } => "it ends before its last element is closed".to_owned(),
        Unreadable::SizeLimit { .. } => "it is too long".to_owned(),
        Unreadable::ParserError { source, .. } => format!("it is no markup: {source}"),
        Unreadable::NoRootNode => "it has no element mjml around it".to_owned(),
    }
}
