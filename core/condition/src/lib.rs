//! Conditions over events and profiles: parse, type-check against the catalog, evaluate.
//!
//! The language is a part of CEL. The `cel` crate gives the syntax tree; the type check against the catalog and the
//! compiled form are ours, since building an interpreter's context for each event costs fifty times what evaluating
//! does. The compiled form reads borrowed state and allocates nothing on its way to a truth value.
//!
//! Where we differ from CEL on purpose, so that nothing is silently false (J10, trap T12):
//! - numbers are one type: `1 == 1.0`, whole or not;
//! - comparing values of different types is an error, also with `==`, except with `null`;
//! - an attribute of type datetime is compared with `timestamp("…")` or `now` as an instant;
//! - a value that is absent is an error, except in `has(…)` and beside an operand of `&&` or `||` that decides alone.

mod compile;
mod evaluate;
mod schema;

pub use evaluate::{Facts, Lack, Root};
pub use schema::{Lookup, Problem, Schema, Type};

use compile::Node;
use model::{Text, Value};
use std::sync::Arc;

/// The longest source that is read.
pub const SOURCE_BYTES_MAX: usize = 4_096;
/// The deepest nesting that is read.
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
        let (compiled, warnings) = compile::compile(source, schema)?;
        match compiled.ty {
            Type::Bool | Type::Any => Ok((Condition(Arc::new(compiled)), warnings)),
            ty
            @ (Type::Number | Type::Text | Type::Datetime | Type::Duration | Type::List | Type::Map | Type::Null) => {
                Err(vec![Problem {
                    code: "condition_type",
                    message: format!("the condition `{source}` gives {}; expected true or false", ty.as_str()),
                    column: 1,
                }])
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
        self.0.seen(facts)
    }

    /// Whether it says the same whatever the data: `Some(truth)` then.
    pub fn constant(&self) -> Option<bool> {
        match &self.0.node {
            Node::Constant(compile::Constant::Bool(truth)) => Some(*truth),
            node if !node.reads_anything() => node.truth(&evaluate::Nothing).ok(),
            _ => None,
        }
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
        let (compiled, warnings) = compile::compile(source, schema)?;
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
    fn seen(&self, facts: &dyn Facts) -> Vec<(Text, Value)> {
        let mut seen: Vec<(Text, Value)> = Vec::new();
        self.node.for_each_path(&mut |path| {
            if !seen.iter().any(|(name, _)| *name == path.text) {
                let value = path.find(facts).cloned().unwrap_or_default();
                seen.push((path.text.clone(), value));
            }
        });
        seen
    }

    fn triggers(&self) -> Vec<Text> {
        let mut triggers: Vec<Text> = Vec::new();
        self.node.for_each_path(&mut |path| {
            if let Root::Trigger(name) = &path.root {
                triggers.push(name.clone());
            }
        });
        triggers.sort();
        triggers.dedup();
        triggers
    }
}

#[cfg(test)]
mod tests;
