//! Documents compiled and checked: the immutable form that the engine runs on.
//!
//! `compiled` is that form, `compile` makes it from documents, `check` holds the findings of J14, `schema` reads an
//! event's attributes by its trigger's (E8), `builtin` lists the triggers that need no document (C10).

pub mod compiled;

pub use compiled::*;
