//! Message bodies from template plus data, with what was missing.
//!
//! The language is Liquid; the face below is ours, so that the engine behind it can change. What differs from Liquid:
//! - A variable without value is nothing, never an error. What was *printed* (or counted on by a `for` or a filter)
//!   without having a value is reported in [`Rendered::missing`], and the caller decides what that means (trap T62).
//!   A `default` filter takes the report away, and so does an `if` around it. Text of blanks alone is no value.
//! - In [`Format::Html`] every output is escaped. `| raw` as the last filter prints as is; `escape` and
//!   `newline_to_br` escape themselves and are not escaped again; what `capture` caught is escaped already.
//! - Same source, same data, same bytes (S4): `"now" | date: "%Y"` is the `now` of the data. `date` takes a zone as a
//!   second argument: `event.starts_at | date: "%H:%M", profile.time_zone`.
//! - Tags: `if unless case for capture assign break continue echo raw comment #`. No `include`, `render`, `cycle`,
//!   `tablerow`, `increment`, `decrement`.
//! - `and` with `or` in one condition is refused, because Liquids disagree on what it means.
//! - Everything has a limit (trap T61): source, nesting, output and, in place of time, which would not be
//!   deterministic, work: see [`Limits`].
//!
//! Why an engine of our own, when there is the `liquid` crate (0.26): its objects are hash maps with a random seed, so
//! the order they print in differs from run to run; its `date` reads the clock; a missing variable is an error almost
//! everywhere; and what a template or its data holds can make it panic (a literal of 20 digits, `divided_by: -1` of
//! the smallest number, `slice` by a huge length, `cycle` without values) or run without end. It stays as the oracle
//! of a test: where data is complete, both say the same.
//!
//! ```
//! use template::{Format, Limits, Template, data::Roots};
//!
//! let template = Template::compile("Hello {{ profile.first_name | upcase }},", Format::Text)?;
//! let nobody = model::Attributes::new();
//! let data = Roots::new(model::Timestamp::EPOCH).with("profile", &nobody);
//! let rendered = template.render(&data, &Limits::default())?;
//! assert_eq!(rendered.text, "Hello ,");
//! assert_eq!(rendered.missing, ["profile.first_name"]);
//! # Ok::<(), template::Error>(())
//! ```

pub mod data;
mod date;
mod filters;
mod lexer;
pub mod mjml;
mod render;
mod syntax;
pub mod tracking;
mod value;
mod variables;

pub use data::{Data, DataRef, Group};

use std::sync::Arc;

/// What the text is for; decides whether outputs are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Html,
}

/// What one rendering may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest text, and longest value on the way to it. More lets bigger mails through. Default: 1 MiB.
    pub output_bytes_max: usize,
    /// Steps: one for each output, variable, filter and piece in a turn of a loop, and one for every 64 bytes a filter
    /// handles. The default of 200,000 is some ten milliseconds; a usual mail takes under 1,000.
    pub work_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { output_bytes_max: 1 << 20, work_max: 200_000 }
    }
}

/// Why a template cannot be compiled or rendered. A failed rendering is a failed step (J16).
/// The messages name lines, tags and filters of the template, never a value of the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the template has {bytes} bytes; at most {}", Template::SOURCE_BYTES_MAX)]
    SourceTooLong { bytes: usize },
    #[error("line {line}: {message}")]
    Syntax { line: usize, message: String },
    #[error("line {line}: {message}")]
    Render { line: usize, message: String },
    #[error("line {line}: the text grows over {bytes_max} bytes")]
    OutputTooLong { line: usize, bytes_max: usize },
    #[error("line {line}: it takes more than {work_max} steps")]
    TooMuchWork { line: usize, work_max: u64 },
}

/// A path that a template reads: `profile.first_name`, `event.items[].price` for one of a list's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub path: String,
    /// The template copes without a value: every reading has a `default`, is a condition, or stands inside an `if`
    /// about this path.
    pub has_default: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// The paths that had no value where one was needed, each once, in the order met; at most 100.
    pub missing: Vec<String>,
}

/// A compiled template. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Template {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    format: Format,
    body: Body,
    variables: Vec<Variable>,
    source_bytes: usize,
}

#[derive(Debug)]
enum Body {
    /// Nothing to evaluate: the most frequent subject and the cheapest.
    Plain(String),
    Liquid(Vec<syntax::Node>),
}

impl Template {
    pub const SOURCE_BYTES_MAX: usize = 256 * 1024;

    /// # Errors
    /// `SourceTooLong`, or `Syntax` with the line and what is wrong there.
    pub fn compile(source: &str, format: Format) -> Result<Self, Error> {
        if source.len() > Self::SOURCE_BYTES_MAX {
            return Err(Error::SourceTooLong { bytes: source.len() });
        }
        let (body, variables) = if lexer::is_plain(source) {
            (Body::Plain(source.to_owned()), Vec::new())
        } else {
            let nodes = syntax::parse(lexer::cut(source)?)?;
            let variables = variables::read_by(&nodes);
            (Body::Liquid(nodes), variables)
        };
        Ok(Template { inner: Arc::new(Inner { format, body, variables, source_bytes: source.len() }) })
    }

    pub fn format(&self) -> Format {
        self.inner.format
    }

    /// What it reads of the data, sorted by path; for the checks before publishing (J14, C6).
    pub fn variables(&self) -> &[Variable] {
        &self.inner.variables
    }

    /// # Errors
    /// `OutputTooLong` and `TooMuchWork` by `limits`; `Render` for what a filter cannot do (`divided_by: 0`).
    pub fn render(&self, data: &dyn Data, limits: &Limits) -> Result<Rendered, Error> {
        let inner = &*self.inner;
        match &inner.body {
            Body::Plain(text) if text.len() > limits.output_bytes_max => {
                Err(Error::OutputTooLong { line: 1, bytes_max: limits.output_bytes_max })
            }
            Body::Plain(text) => Ok(Rendered { text: text.clone(), missing: Vec::new() }),
            Body::Liquid(nodes) => render::render(nodes, inner.source_bytes, inner.format, data, limits),
        }
    }
}
