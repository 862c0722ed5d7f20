//! A channel hands rendered messages to the world. It decides nothing: what may go out was claimed before.

use model::{EffectId, ProfileId};
use std::sync::Arc;

pub use model::send::{Rendered, Settlement};

/// One granted, durable claim on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct HandOff {
    pub profile: ProfileId,
    /// The idempotency key towards the provider (S4).
    pub effect: EffectId,
    /// How often it was handed off before.
    pub attempt: u32,
    pub rendered: Arc<Rendered>,
}

/// Where hand-offs go. Must not block: the settlement comes back as an input of the processor.
pub trait Channel {
    fn hand_off(&mut self, hand_off: HandOff);
}
