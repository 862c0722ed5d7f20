//! What a person did with a send, or what became of it, and the waits that it satisfies (J9, S8).

use crate::Apply;
use crate::command::InteractionOccurred;
use crate::room;
use crate::state::{Holding, Participant, SeenInteraction};
use crate::trace::{Entry, Ignored};
use crate::transition::Verdict;
use crate::wait::consume;
use catalog::{JourneyVersion, Next, OutcomeOn, StepKind};
use model::{Attributes, EffectId, Text};

/// How many interactions that have satisfied nothing yet are remembered per send step. The oldest are kept, since of
/// several outcomes already true the earliest wins (J9).
const INTERACTIONS_MAX: usize = 16;

impl Apply<'_> {
    pub(crate) fn interaction(&mut self, occurred: &InteractionOccurred) {
        let InteractionOccurred { effect, interaction, occurred_at: _, received_at: _, machine, attributes } = occurred;
        self.out.verdict = Some(Verdict::Matched);
        self.interacted(*effect, interaction, attributes, *machine);
    }

    /// Notes the interaction with the participant that planned the send, and lets it go on if it waits for this.
    pub(crate) fn interacted(&mut self, effect: EffectId, interaction: &Text, attributes: &Attributes, machine: bool) {
        self.trace(Entry::Interaction { effect, interaction: interaction.clone(), machine });
        let sent_by = |participant: &Participant| participant.sends.iter().any(|sent| sent.effect == effect);
        let Some(at) = self.profile.participants.iter().position(sent_by) else {
            self.trace(Entry::Ignored(Ignored::NobodyInside));
            return;
        };
        if machine {
            return;
        }
        let mut participant = self.profile.participants.remove(at);
        let version = self.version_of(&participant);
        self.note(&mut participant, effect, interaction, attributes);
        match self.outcome_of_interaction(&participant, &version, effect, interaction, attributes) {
            Some(next) => {
                consume(&mut participant, self.ctx.lsn);
                participant.timer = None;
                self.walk_at(at, participant, &version, next);
            }
            None => room::insert(&mut self.profile.participants, at, participant),
        }
    }

    fn note(&mut self, participant: &mut Participant, effect: EffectId, interaction: &Text, attributes: &Attributes) {
        let Some(sent) = participant.sends.iter_mut().find(|sent| sent.effect == effect) else { return };
        let again = |seen: &SeenInteraction| {
            !seen.consumed && seen.interaction == *interaction && seen.attributes == *attributes
        };
        if sent.interactions.iter().any(again) {
            return;
        }
        if sent.interactions.len() == INTERACTIONS_MAX {
            let Some(spent) = sent.interactions.iter().position(|seen| seen.consumed) else {
                self.trace(Entry::Ignored(Ignored::TooManyInteractions));
                return;
            };
            sent.interactions.remove(spent);
        }
        sent.interactions.push(SeenInteraction {
            interaction: interaction.clone(),
            lsn: self.ctx.lsn,
            consumed: false,
            attributes: attributes.clone(),
        });
    }

    fn outcome_of_interaction(
        &mut self,
        participant: &Participant,
        version: &JourneyVersion,
        effect: EffectId,
        interaction: &Text,
        attributes: &Attributes,
    ) -> Option<Next> {
        let Holding::WaitFor { .. } = participant.holding else { return None };
        let StepKind::WaitFor(wait) = &version.step(participant.step).kind else { return None };
        let sent = participant.sends.iter().find(|sent| sent.effect == effect)?;
        for outcome in &wait.outcomes {
            let OutcomeOn::Interaction { interaction: wanted, of } = &outcome.on else { continue };
            if *of != sent.step || *wanted != *interaction.as_str() {
                continue;
            }
            if let Some(next) = self.try_outcome(participant, version, outcome, attributes) {
                return Some(next);
            }
        }
        None
    }
}
