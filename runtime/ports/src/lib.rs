//! Log, State, Channel as traits; codecs with their formats drawn; in-memory ones with faults for tests.
//!
//! These traits are the seam of design §4: nothing above them may assume that log, snapshots or owner are local.
//! They are synchronous; a host that waits for a disk or a network does so on a thread of its own.

pub mod channel;
pub mod codec;
pub mod log;
pub mod memory;
pub mod state;

pub use channel::{Channel, HandOff};
pub use codec::rows;
pub use log::{Entry, Frame, Log};
pub use state::{Keyspace, Row, State};
