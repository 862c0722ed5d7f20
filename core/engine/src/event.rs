//! One event on one profile, in the order of J1: duplicates, profile changes, exits, goals, waits, starts.

use crate::Apply;
use crate::command::EventOccurred;
use crate::dedup::Kind;
use crate::trace::Entry;
use crate::transition::Verdict;
use catalog::Trigger;
use model::{Attributes, Text};

/// `occurred_at` further ahead of `received_at` than this is clamped (E6).
const AHEAD_MAX_MS: i64 = 5 * 60_000;

/// An event as listeners test it.
#[derive(Clone, Copy)]
pub(crate) struct Occurrence<'a> {
    pub trigger: &'a Text,
    pub attributes: &'a Attributes,
    pub binding_id: Option<&'a str>,
    pub depth: u8,
}

impl Apply<'_> {
    pub(crate) fn event(&mut self, occurred: &EventOccurred) {
        let EventOccurred { event, resolution, checked_with: _, unknown_attributes, depth } = occurred;
        let ahead_ms = event.occurred_at.ms_since(event.received_at);
        let occurred_at = if ahead_ms > AHEAD_MAX_MS { event.received_at } else { event.occurred_at };
        self.trace(Entry::Received { trigger: event.trigger.clone(), occurred_at });
        self.settle_raise(event);
        if self.is_duplicate(Kind::Event, event.id.as_ref(), &event.source, &event.trigger, &event.attributes) {
            return;
        }
        self.link(&event.identities, resolution);
        let catalog = self.ctx.catalog;
        let trigger = catalog.trigger(&event.trigger);
        if !unknown_attributes.is_empty() {
            self.trace(Entry::UnknownAttributes { names: unknown_attributes.clone() });
        }
        let Some(trigger) = trigger else {
            let nearest = catalog.nearest_trigger(&event.trigger).map(Text::from);
            self.out.verdict = Some(Verdict::Unmatched);
            self.trace(Entry::Unmatched { trigger: event.trigger.clone(), nearest });
            return;
        };
        if !self.is_in_time(occurred, trigger) {
            return;
        }
        self.out.verdict = Some(Verdict::Matched);
        if !trigger.state.is_ready() {
            self.trace(Entry::TriggerNotReady { trigger: event.trigger.clone() });
            return;
        }
        self.mark(event, trigger.bind);
        let derived = match event.binding_id {
            Some(_) => None,
            None => trigger.binding_id(&event.attributes),
        };
        let binding_id = event.binding_id.as_deref().or(derived.as_deref());
        let occurrence =
            Occurrence { trigger: &event.trigger, attributes: &event.attributes, binding_id, depth: *depth };
        if !self.profile.participants.is_empty() || !self.profile.journeys.is_empty() {
            let left = self.exits(occurrence);
            self.goals(occurrence, &left);
            self.waits(occurrence);
        }
        self.starts(occurrence);
    }

    /// E6: clamps a clock that is ahead, and turns away what is too old to act.
    fn is_in_time(&mut self, occurred: &EventOccurred, trigger: &Trigger) -> bool {
        let event = &occurred.event;
        let ahead_ms = event.occurred_at.ms_since(event.received_at);
        if ahead_ms > AHEAD_MAX_MS {
            self.trace(Entry::ClockAhead { by_ms: ahead_ms });
        }
        let age_ms = -ahead_ms;
        if age_ms > trigger.max_age_ms && !event.replay_as_live {
            self.out.verdict = Some(Verdict::Late);
            self.trace(Entry::Late { age_ms });
            return false;
        }
        true
    }
}
