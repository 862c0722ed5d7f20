//! The API through its router, without a socket: a real worker over log and store in memory.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod browser_keys;
mod documents;
mod from_pages;
mod intake;
mod lists;
mod live;
mod operation;
mod problems;
mod sockets;
mod support;
mod tracking;
