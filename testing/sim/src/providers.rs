//! Providers: they answer late, twice, differently the second time, or never. Of a hand-off that nobody answers, the
//! host says after a while that it timed out.

use crate::Chance;
use model::send::Settlement;
use model::{EffectId, ProfileId};
use ports::HandOff;
use processor::Input;
use std::collections::BTreeSet;

#[derive(Default)]
pub(crate) struct Providers {
    turn: u64,
    /// On their way, each with the turn in which it comes.
    answers: Vec<Answer>,
    /// Everything that was ever handed off.
    pub sends: Vec<(ProfileId, EffectId)>,
    /// Handed off by this process and not answered.
    pub under_way: BTreeSet<EffectId>,
}

#[derive(Clone)]
struct Answer {
    at_turn: u64,
    profile: ProfileId,
    effect: EffectId,
    settlement: Settlement,
    /// Comes by the host's own call, and is lost with the process. Else by the provider's.
    is_ours: bool,
}

/// How long the host waits for an answer.
const TIME_OUT_TURNS: u64 = 6;

impl Providers {
    /// Takes a hand-off; `is_calm`: answers it well.
    pub fn take(&mut self, hand_off: &HandOff, is_calm: bool, chance: &mut Chance) {
        let HandOff { profile, effect, .. } = hand_off;
        self.sends.push((*profile, *effect));
        self.under_way.insert(*effect);
        let accepted = Settlement::Accepted { provider_id: None };
        if is_calm {
            self.answer(*profile, *effect, accepted, 1, true);
            return;
        }
        let settlement = match chance.below(8) {
            0 => {
                let reason = "no answer in time".into();
                self.answer(*profile, *effect, Settlement::Unknown { reason }, TIME_OUT_TURNS, true);
                return;
            }
            1 => Settlement::Rejected { reason: "no such box".into() },
            2 => Settlement::Deferred { reason: "busy".into(), retry_after_ms: Some(60_000) },
            3 => Settlement::Unknown { reason: "the line broke".into() },
            _ => accepted,
        };
        let after = 1 + chance.below(3);
        self.answer(*profile, *effect, settlement.clone(), after, true);
        match chance.below(8) {
            0 => self.answer(*profile, *effect, settlement, after + chance.below(3), false),
            1 => {
                let reason = "we changed our mind".into();
                self.answer(*profile, *effect, Settlement::Rejected { reason }, after + chance.below(3), false);
            }
            _ => {}
        }
    }

    fn answer(&mut self, profile: ProfileId, effect: EffectId, settlement: Settlement, after: u64, is_ours: bool) {
        self.answers.push(Answer { at_turn: self.turn + after, profile, effect, settlement, is_ours });
    }

    /// A turn goes by: what comes in it.
    pub fn inputs(&mut self) -> Vec<Input<u64>> {
        self.turn += 1;
        let turn = self.turn;
        let due: Vec<Answer> = self.answers.extract_if(.., |answer| answer.at_turn <= turn).collect();
        let inputs = due.into_iter().map(|answer| {
            let Answer { profile, effect, settlement, .. } = answer;
            self.under_way.remove(&effect);
            Input::Settled { profile, effect, settlement }
        });
        inputs.collect()
    }

    /// Answers that a failed turn had taken come once more.
    pub fn put_back(&mut self, inputs: &[(ProfileId, EffectId, Settlement)]) {
        for (profile, effect, settlement) in inputs {
            self.under_way.insert(*effect);
            self.answer(*profile, *effect, settlement.clone(), 1, true);
        }
    }

    pub fn are_done(&self) -> bool {
        self.answers.is_empty()
    }

    /// The process ends: what only it would have heard is lost.
    pub fn lose_process(&mut self) {
        self.answers.retain(|answer| !answer.is_ours);
        self.under_way.clear();
    }
}
