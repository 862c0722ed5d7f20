//! Codecs of what is kept on disk. Hand-written: every conversion names every field, so that a new field breaks the
//! build here and a format is changed knowingly (house, invariant 6). Each top-level row begins with its format.
//!
//! Reading is total: damaged bytes give an error with their place, never a panic or an absurd allocation.

mod command;
mod primitive;
mod profile;
pub mod rows;
mod trace;
mod value;

pub use command::{decode_command, encode_command};
pub use primitive::Error;
pub use profile::{Header, decode_profile, encode_profile, profile_header};
pub use trace::{decode_trace, encode_trace};

#[cfg(test)]
mod tests;
