//! Conditions over events and profiles: parse, type-check against the catalog, evaluate.
//!
//! The language is a part of CEL. The `cel` crate gives the syntax tree; the type check against the catalog and the
//! compiled form are ours, since building an interpreter's context for each event costs fifty times what evaluating
//! does. The compiled form reads borrowed state; reading, comparing, `&&`, `||`, `has`, and `in` with a list of literals
//! allocate nothing.
//!
//! What there is: literals, paths (`event.cart_total`, ``profile.`first name` ``, `profile["Größe"]`,
//! `profile.tags[0]`), `== != < <= > >=`, `&& || !`, `+ - * / %`, `in`, `?:`, `has(…)`, and the functions `size contains
//! startsWith endsWith matches lowerAscii upperAscii timestamp duration int double string`. Roots are those of [`Root`]
//! and `now`, the record's stamp.
//!
//! Where we differ from CEL on purpose, so that nothing is silently false (J10, trap T12) and no answer hangs on how a
//! sender writes a number:
//! - numbers are one type: whole and not may be mixed, they are compared exactly, and `7 / 2` is 3.5 (`int(7 / 2)` is 3);
//! - dividing by zero, and a number too large to hold, are errors, also of floats;
//! - comparing values of different types is an error, also with `==`, `!=` and `in`, except with `null`;
//! - an attribute of type datetime is compared as an instant; a text is read as one beside `now` or `timestamp(…)`.
//!   Without an offset it is local to the person (J8), except in a literal, where it is refused;
//! - `has(…)` is whether there is a value: it is false of null, and of what lies below something absent;
//! - the pattern of `matches` is a literal, compiled once.

mod check;
mod evaluate;
mod node;
mod operate;
mod schema;
mod syntax;

pub use evaluate::{Facts, Lack};
pub use node::Root;
pub use schema::{Lookup, Problem, Schema, Type};

use model::{Text, Value};
use node::{Node, Path};
use std::sync::Arc;

/// The longest source that is read.
pub const SOURCE_BYTES_MAX: usize = 4_096;
/// The deepest nesting of brackets and `?:` that is read.
pub const NESTING_MAX: u16 = 32;

/// A condition, checked and compiled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Condition(Arc<Compiled>);

/// An expression of any type, for mappings.
#[derive(Clone, Debug)]
pub struct Expression(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    source: Text,
    node: Node,
    ty: Type,
    /// What `node` reads, each once.
    paths: Vec<Path>,
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    True,
    False,
    /// It lacks data, or the data do not fit; never taken for false (J10).
    Failed(Lack),
}

impl Condition {
    /// Parses and checks `source`; answers warnings beside the condition.
    ///
    /// # Errors
    /// Every problem found, each with its column.
    pub fn compile(source: &str, schema: &dyn Schema) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (compiled, warnings) = Compiled::new(source, schema)?;
        match compiled.ty {
            Type::Bool | Type::Any => Ok((Condition(Arc::new(compiled)), warnings)),
            ty
            @ (Type::Number | Type::Text | Type::Datetime | Type::Duration | Type::List | Type::Map | Type::Null) => {
                let source = syntax::excerpt(source);
                let message = format!("the condition `{source}` gives {}; expected true or false", ty.as_str());
                Err(vec![Problem { code: "condition_type", message, column: 1 }])
            }
        }
    }

    pub fn evaluate(&self, facts: &dyn Facts) -> Outcome {
        match self.0.node.truth(facts) {
            Ok(true) => Outcome::True,
            Ok(false) => Outcome::False,
            Err(lack) => Outcome::Failed(lack),
        }
    }

    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Each path it reads with its value now, in order of appearance; absent ones are null.
    pub fn seen(&self, facts: &dyn Facts) -> Vec<(Text, Value)> {
        let value = |path: &Path| path.find(facts).cloned().unwrap_or_default();
        self.0.paths.iter().map(|path| (path.text.clone(), value(path))).collect()
    }

    /// Whether it says the same whatever the data: `Some(truth)` then.
    pub fn constant(&self) -> Option<bool> {
        [true, false].into_iter().find(|truth| self.0.node.is_always(*truth))
    }

    /// The triggers it reads as `trigger.<name>`.
    pub fn triggers(&self) -> Vec<Text> {
        self.0.triggers()
    }
}

impl Expression {
    /// # Errors
    /// Every problem found, each with its column.
    pub fn compile(source: &str, schema: &dyn Schema) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (compiled, warnings) = Compiled::new(source, schema)?;
        Ok((Expression(Arc::new(compiled)), warnings))
    }

    /// The value; of a bare path the value as it is held, so that a date-time keeps its text (J7).
    ///
    /// # Errors
    /// What it lacks.
    pub fn evaluate(&self, facts: &dyn Facts) -> Result<Value, Lack> {
        self.0.node.value(facts)
    }

    pub fn source(&self) -> &str {
        &self.0.source
    }

    pub fn ty(&self) -> Type {
        self.0.ty
    }

    /// The triggers it reads as `trigger.<name>`.
    pub fn triggers(&self) -> Vec<Text> {
        self.0.triggers()
    }
}

impl Compiled {
    fn new(source: &str, schema: &dyn Schema) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let check::Checked { node, ty, warnings } = check::check(source, schema)?;
        let paths = node.paths();
        Ok((Compiled { source: source.into(), node, ty, paths }, warnings))
    }

    fn triggers(&self) -> Vec<Text> {
        let mut triggers: Vec<Text> = Vec::new();
        for path in &self.paths {
            if let Root::Trigger(name) = &path.root {
                triggers.push(name.clone());
            }
        }
        triggers.sort();
        triggers.dedup();
        triggers
    }
}

#[cfg(test)]
mod tests;
