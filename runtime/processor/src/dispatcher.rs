//! The dispatcher: which planned sends ask for their claim now (design §2.6).
//!
//! It keeps the hand-offs under way per channel below a bound; what is over it waits in the outbox, unclaimed and
//! still cancellable. A channel that is not configured is asked for at once with the veto `no_channel`.
//!
//! INVARIANT: what takes up a channel's room is exactly what is in `under_way`. An effect is there from its claim until
//! the claim came to nothing or its settlement was seen, whatever became of profile, partition or ledger meanwhile.

use crate::hot::IdMap;
use model::{EffectId, KeySlot, ProfileId, Text};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    lanes: BTreeMap<Text, Lane>,
    under_way: IdMap<EffectId, UnderWay>,
    /// May have gone out under other rules: asked for with a veto, so that nothing goes out twice.
    claimed_before: BTreeSet<EffectId>,
}

#[derive(Debug)]
struct Lane {
    policy: Option<ChannelPolicy>,
    waiting: VecDeque<Waiting>,
    in_flight: usize,
}

#[derive(Clone, Debug)]
struct UnderWay {
    channel: Text,
    slot: KeySlot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub profile: ProfileId,
    pub slot: KeySlot,
    pub effect: EffectId,
}

/// A claim to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub channel: Text,
    pub waiting: Waiting,
    pub veto: Option<Text>,
}

impl Lane {
    fn new(policy: Option<ChannelPolicy>) -> Self {
        Lane { policy, waiting: VecDeque::new(), in_flight: 0 }
    }

    fn room(&self) -> usize {
        self.policy.as_ref().map_or(usize::MAX, |policy| policy.in_flight_max.saturating_sub(self.in_flight))
    }
}

impl Dispatcher {
    pub fn new(policies: &BTreeMap<Text, ChannelPolicy>) -> Self {
        let lanes = policies.iter().map(|(channel, policy)| (channel.clone(), Lane::new(Some(policy.clone()))));
        Dispatcher { lanes: lanes.collect(), ..Dispatcher::default() }
    }

    fn lane(&mut self, channel: &Text) -> &mut Lane {
        self.lanes.entry(channel.clone()).or_insert_with(|| Lane::new(None))
    }

    pub fn plan(&mut self, channel: &Text, waiting: Waiting) {
        self.lane(channel).waiting.push_back(waiting);
    }

    /// Takes up to `limit` claims that may be appended now.
    pub fn claims(&mut self, limit: usize) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (channel, lane) in &mut self.lanes {
            let count = lane.room().min(limit - claims.len()).min(lane.waiting.len());
            for waiting in lane.waiting.drain(..count) {
                let veto = match lane.policy {
                    None => Some("no_channel"),
                    Some(_) if self.claimed_before.contains(&waiting.effect) => Some("claimed_under_other_rules"),
                    Some(_) => None,
                };
                if veto.is_none() {
                    let under_way = UnderWay { channel: channel.clone(), slot: waiting.slot };
                    if self.under_way.insert(waiting.effect, under_way).is_none() {
                        lane.in_flight += 1;
                    }
                }
                claims.push(Claim { channel: channel.clone(), waiting, veto: veto.map(Text::from) });
            }
        }
        claims
    }

    /// The claim was not appended: it is asked for again, before all others.
    pub fn put_back(&mut self, claim: Claim) {
        self.done(claim.waiting.effect);
        self.lane(&claim.channel).waiting.push_front(claim.waiting);
    }

    /// Takes up a hand-off that was under way before the group was opened.
    pub fn resume(&mut self, channel: &Text, waiting: Waiting) {
        let under_way = UnderWay { channel: channel.clone(), slot: waiting.slot };
        if self.under_way.insert(waiting.effect, under_way).is_none() {
            self.lane(channel).in_flight += 1;
        }
    }

    /// The claim led to no hand-off, or its hand-off was settled: there is room for another. Once is enough; for an
    /// effect that is not under way nothing happens.
    pub fn done(&mut self, effect: EffectId) {
        let Some(UnderWay { channel, .. }) = self.under_way.remove(&effect) else { return };
        let lane = self.lane(&channel);
        assert!(lane.in_flight > 0, "INVARIANT: effect {effect} is under way in {channel}, which has none");
        lane.in_flight -= 1;
    }

    /// The key slot of the profile whose effect is under way.
    pub fn slot_of(&self, effect: EffectId) -> Option<KeySlot> {
        self.under_way.get(&effect).map(|under_way| under_way.slot)
    }

    /// Effects that may have gone out under other rules.
    pub fn hold_back(&mut self, effects: BTreeSet<EffectId>) {
        self.claimed_before = effects;
    }

    /// Whether a claim could be taken now.
    pub fn has_claims(&self) -> bool {
        self.lanes.values().any(|lane| lane.room() > 0 && !lane.waiting.is_empty())
    }

    pub fn retries_unknown(&self, channel: &str) -> bool {
        let policy = self.lanes.get(channel).and_then(|lane| lane.policy.as_ref());
        policy.is_some_and(|policy| policy.retry_unknown)
    }

    /// Sends that wait for their claim, by channel.
    pub fn waiting(&self) -> impl Iterator<Item = (&Text, usize)> {
        self.lanes.iter().map(|(channel, lane)| (channel, lane.waiting.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: u8) -> Waiting {
        Waiting { profile: ProfileId([number; 16]), slot: KeySlot(7), effect: EffectId([number; 16]) }
    }

    fn with_two_at_once() -> Dispatcher {
        let policy = ChannelPolicy { in_flight_max: 2, retry_unknown: false };
        Dispatcher::new(&[("email".into(), policy)].into())
    }

    fn claimed(dispatcher: &mut Dispatcher) -> Vec<u8> {
        dispatcher.claims(100).iter().map(|claim| claim.waiting.effect.0[0]).collect()
    }

    #[test]
    fn a_channel_has_no_more_under_way_than_it_may_and_an_unknown_one_is_vetoed() {
        let mut dispatcher = with_two_at_once();
        for number in 1..=3 {
            dispatcher.plan(&"email".into(), waiting(number));
        }
        dispatcher.plan(&"fax".into(), waiting(9));
        let claims = dispatcher.claims(100);
        let effects: Vec<u8> = claims.iter().map(|claim| claim.waiting.effect.0[0]).collect();
        assert_eq!(effects, [1, 2, 9]);
        assert_eq!(claims[2].veto.as_deref(), Some("no_channel"));
        assert!(!dispatcher.has_claims());
        dispatcher.done(EffectId([1; 16]));
        assert_eq!(claimed(&mut dispatcher), [3]);
    }

    #[test]
    fn room_is_given_back_once_for_each_effect_and_never_by_a_stranger() {
        let mut dispatcher = with_two_at_once();
        (1..=4).for_each(|number| dispatcher.plan(&"email".into(), waiting(number)));
        assert_eq!(claimed(&mut dispatcher), [1, 2]);
        for effect in [1, 1, 1, 77] {
            dispatcher.done(EffectId([effect; 16]));
        }
        assert_eq!(claimed(&mut dispatcher), [3], "two answers about one hand-off free one place");
    }

    #[test]
    fn a_claim_that_was_not_appended_is_asked_for_again_first() {
        let mut dispatcher = with_two_at_once();
        (1..=3).for_each(|number| dispatcher.plan(&"email".into(), waiting(number)));
        let claims = dispatcher.claims(100);
        claims.into_iter().rev().for_each(|claim| dispatcher.put_back(claim));
        assert_eq!(claimed(&mut dispatcher), [1, 2]);
    }

    #[test]
    fn what_was_under_way_when_the_group_was_opened_takes_up_room() {
        let mut dispatcher = with_two_at_once();
        (1..=2).for_each(|number| dispatcher.resume(&"email".into(), waiting(number)));
        dispatcher.plan(&"email".into(), waiting(3));
        assert!(!dispatcher.has_claims());
        assert_eq!(dispatcher.slot_of(EffectId([1; 16])), Some(KeySlot(7)));
        dispatcher.done(EffectId([1; 16]));
        assert_eq!(claimed(&mut dispatcher), [3]);
    }

    #[test]
    fn what_may_have_gone_out_under_other_rules_is_asked_for_with_a_veto() {
        let mut dispatcher = with_two_at_once();
        dispatcher.hold_back([EffectId([1; 16])].into());
        (1..=3).for_each(|number| dispatcher.plan(&"email".into(), waiting(number)));
        let claims = dispatcher.claims(100);
        assert_eq!(claims[0].veto.as_deref(), Some("claimed_under_other_rules"));
        assert_eq!(claims[1].veto, None);
    }
}
