//! The dispatcher: which planned sends ask for their claim now (design §2.6).
//!
//! It keeps the hand-offs under way per channel below a bound; what is over it waits in the outbox, unclaimed and
//! still cancellable. A channel that is not configured is asked for at once with the veto `no_channel`.

use model::{EffectId, ProfileId, Text};
use std::collections::{BTreeMap, VecDeque};

/// What the host says of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPolicy {
    /// Hand-offs under way at once. More is faster until the provider slows down; fewer is gentler with it.
    pub in_flight_max: usize,
    /// A hand-off whose outcome was lost is tried again: its receiver honours the idempotency key, or the operator
    /// would rather have it twice than not (S5). Else it is held as `unknown`.
    pub retry_unknown: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    channels: BTreeMap<Text, Lane>,
}

#[derive(Debug)]
struct Lane {
    policy: Option<ChannelPolicy>,
    waiting: VecDeque<Waiting>,
    in_flight: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub profile: ProfileId,
    pub effect: EffectId,
}

/// A claim to append.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub waiting: Waiting,
    pub veto: Option<Text>,
}

impl Dispatcher {
    pub fn new(policies: &BTreeMap<Text, ChannelPolicy>) -> Self {
        let lane =
            |policy: &ChannelPolicy| Lane { policy: Some(policy.clone()), waiting: VecDeque::new(), in_flight: 0 };
        Dispatcher { channels: policies.iter().map(|(channel, policy)| (channel.clone(), lane(policy))).collect() }
    }

    pub fn plan(&mut self, channel: &Text, waiting: Waiting) {
        let lane = self.channels.entry(channel.clone());
        lane.or_insert_with(|| Lane { policy: None, waiting: VecDeque::new(), in_flight: 0 })
            .waiting
            .push_back(waiting);
    }

    /// Takes up to `limit` claims that may be appended now.
    pub fn claims(&mut self, limit: usize) -> Vec<Claim> {
        let mut claims = Vec::new();
        for lane in self.channels.values_mut() {
            let room = match &lane.policy {
                Some(policy) => policy.in_flight_max.saturating_sub(lane.in_flight),
                None => usize::MAX,
            };
            let count = room.min(limit - claims.len()).min(lane.waiting.len());
            let veto = if lane.policy.is_none() { Some(Text::from("no_channel")) } else { None };
            if lane.policy.is_some() {
                lane.in_flight += count;
            }
            claims.extend(lane.waiting.drain(..count).map(|waiting| Claim { waiting, veto: veto.clone() }));
        }
        claims
    }

    /// A claim that was appended led to no hand-off, or its hand-off was settled: there is room for another.
    pub fn done(&mut self, channel: &str) {
        if let Some(lane) = self.channels.get_mut(channel) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
        }
    }

    /// Whether a claim could be taken now.
    pub fn has_claims(&self) -> bool {
        self.channels.values().any(|lane| {
            let room = lane.policy.as_ref().is_none_or(|policy| lane.in_flight < policy.in_flight_max);
            room && !lane.waiting.is_empty()
        })
    }

    pub fn retries_unknown(&self, channel: &str) -> bool {
        let policy = self.channels.get(channel).and_then(|lane| lane.policy.as_ref());
        policy.is_some_and(|policy| policy.retry_unknown)
    }

    /// Sends that wait for their claim, by channel.
    pub fn waiting(&self) -> impl Iterator<Item = (&Text, usize)> {
        self.channels.iter().map(|(channel, lane)| (channel, lane.waiting.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: u8) -> Waiting {
        Waiting { profile: ProfileId([number; 16]), effect: EffectId([number; 16]) }
    }

    #[test]
    fn a_channel_has_no_more_under_way_than_it_may_and_an_unknown_one_is_vetoed() {
        let policy = ChannelPolicy { in_flight_max: 2, retry_unknown: false };
        let mut dispatcher = Dispatcher::new(&[("email".into(), policy)].into());
        for number in 1..=3 {
            dispatcher.plan(&"email".into(), waiting(number));
        }
        dispatcher.plan(&"fax".into(), waiting(9));
        let claims = dispatcher.claims(100);
        let claimed: Vec<u8> = claims.iter().map(|claim| claim.waiting.effect.0[0]).collect();
        assert_eq!(claimed, [1, 2, 9]);
        assert_eq!(claims[2].veto.as_deref(), Some("no_channel"));
        assert!(!dispatcher.has_claims());
        dispatcher.done("email");
        assert_eq!(dispatcher.claims(100)[0].waiting, waiting(3));
    }
}
