//! One partition: append a batch to the log, apply it, release effects, tick timers, checkpoint, recover.
//!
//! `group` is the heart: the partitions of one thread over one log and store, synchronous and generic over the ports,
//! so that the simulator runs the very same code. `worker` runs a group on a thread for the host.

mod books;
mod checkpoint;
mod dedup;
mod directory;
mod dispatcher;
pub mod doctor;
mod group;
mod hot;
mod input;
mod offline;
mod partition;
mod recover;
mod stops;
mod wheel;
mod worker;

pub use books::minute_of;
pub use checkpoint::Cut;
pub use dispatcher::ChannelPolicy;
pub use group::{After, Counters, Error, Failed, Group, Options, PROFILE_RATE};
pub use input::{Answer, ControlRequest, Input, Item, ProfileRead, Released, TailItem, Update, Who};
pub use offline::Offline;
pub use partition::Stopped;
pub use recover::{Known, Recovered};
pub use worker::{Handle, NotTaken, Opened, Reply, Running, Sink, Status, Storage, Worker};
