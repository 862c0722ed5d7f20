//! What is logged and counted: ids and codes, never addresses or bodies.

use crate::circuit::Open;
use model::EffectId;
use model::send::Settlement;
use std::time::Duration;

/// A hand-off was answered.
pub(crate) struct HandedOff<'a> {
    pub channel: &'a str,
    pub effect: EffectId,
    pub settlement: &'a Settlement,
    pub took: Duration,
}

impl HandedOff<'_> {
    pub fn emit(&self) {
        let outcome = match self.settlement {
            Settlement::Accepted { .. } => "accepted",
            Settlement::Rejected { .. } => "rejected",
            Settlement::Deferred { .. } => "deferred",
            Settlement::NotTried { .. } => "not_tried",
            Settlement::Unknown { .. } => "unknown",
        };
        let channel = self.channel.to_owned();
        metrics::counter!("sojourn_channel_hand_offs_total", "channel" => channel.clone(), "outcome" => outcome)
            .increment(1);
        metrics::histogram!("sojourn_channel_hand_off_seconds", "channel" => channel).record(self.took);
        tracing::debug!(channel = self.channel, effect = %self.effect, outcome, took = ?self.took, "handed off");
    }
}

/// A peer cannot be reached and is left alone for a while.
pub(crate) struct CircuitOpened<'a> {
    pub channel: &'a str,
    pub open: &'a Open,
}

impl CircuitOpened<'_> {
    pub fn emit(&self) {
        let Open { peer, since: _, reason, retry_at } = self.open;
        metrics::counter!("sojourn_channel_circuits_opened_total", "channel" => self.channel.to_owned()).increment(1);
        tracing::warn!(channel = self.channel, peer, reason, %retry_at, "circuit opened: hand-offs are held back");
    }
}

/// The peer answers again.
pub(crate) struct CircuitClosed<'a> {
    pub channel: &'a str,
    pub peer: &'a str,
}

impl CircuitClosed<'_> {
    pub fn emit(&self) {
        tracing::info!(channel = self.channel, peer = self.peer, "circuit closed: hand-offs go out again");
    }
}
