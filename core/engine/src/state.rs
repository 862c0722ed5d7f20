//! The state of one profile: everything that [`crate::apply`] reads and changes.

use catalog::StepIndex;
use model::send::Rendered;
use model::{Attributes, EffectId, Identity, KeySlot, Lsn, ParticipantId, ProfileId, Text, Timestamp};
use std::sync::Arc;

/// One customer with all that concerns her.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub id: ProfileId,
    pub slot: KeySlot,
    pub created_at: Timestamp,
    pub identities: Vec<Identity>,
    /// Identities that came with hers but belong to another profile (E11).
    pub conflicts: Vec<Identity>,
    pub attributes: Attributes,
    pub marks: Marks,
    /// `contactpoint_email` / `contactpoint_phone` of events, used while there is no other address (C5).
    pub contact_email: Option<Text>,
    pub contact_phone: Option<Text>,
    pub dedup: DedupWindow,
    /// One for each journey she ever entered, sorted by name.
    pub journeys: Vec<JourneyRecord>,
    /// Those inside, in the order they started.
    pub participants: Vec<Participant>,
    /// Effects that are not settled, in the order they were planned.
    pub outbox: Vec<OutboxRow>,
}

impl Profile {
    pub fn new(id: ProfileId, slot: KeySlot, created_at: Timestamp) -> Self {
        Profile {
            id,
            slot,
            created_at,
            identities: Vec::new(),
            conflicts: Vec::new(),
            attributes: Attributes::new(),
            marks: Marks::default(),
            contact_email: None,
            contact_phone: None,
            dedup: DedupWindow::default(),
            journeys: Vec::new(),
            participants: Vec::new(),
            outbox: Vec::new(),
        }
    }

    /// Her zone's name, if she has one (J8).
    pub fn time_zone(&self) -> Option<&str> {
        time_zone_of(&self.attributes)
    }

    pub fn participant(&self, id: ParticipantId) -> Option<&Participant> {
        self.participants.iter().find(|participant| participant.id == id)
    }

    pub fn journey(&self, name: &str) -> Option<&JourneyRecord> {
        self.journeys.binary_search_by(|record| record.journey.as_str().cmp(name)).ok().map(|at| &self.journeys[at])
    }

    pub fn outbox_row(&self, effect: EffectId) -> Option<&OutboxRow> {
        self.outbox.iter().find(|row| row.effect == effect)
    }

    /// The timers that must fire, of participants and of sends to be tried again.
    pub fn timers(&self) -> impl Iterator<Item = Timer> {
        let of_participants = self.participants.iter().filter_map(|participant| participant.timer);
        of_participants.chain(self.outbox.iter().filter_map(|row| match row.state {
            OutboxState::Deferred { timer, .. } => Some(timer),
            OutboxState::Planned | OutboxState::Claimed | OutboxState::Unknown => None,
        }))
    }
}

/// The zone that a profile with these attributes names, valid or not (J8).
pub(crate) fn time_zone_of(profile: &Attributes) -> Option<&str> {
    profile.get("time_zone")?.as_text()
}

/// Which kinds of record the person is known as (C5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub contact: bool,
    pub lead: bool,
}

/// The ids already seen from this profile's senders (E3), oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DedupWindow {
    pub keys: Vec<DedupKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupKey {
    /// Of (source, id).
    pub hash: [u8; 16],
    /// Of what the event said, to tell a conflict from a retry (trap T05).
    pub payload: u32,
    /// The record's stamp: the window is measured in the log's time (E12).
    pub seen_at: Timestamp,
}

/// What is kept of a journey for a profile that entered it, also after the end.
#[derive(Clone, Debug, PartialEq)]
pub struct JourneyRecord {
    pub journey: Text,
    /// How often she entered, over all versions (J4). The next entry's number is one more.
    pub entries: u32,
    pub last_entered_at: Timestamp,
    pub last_ended_at: Option<Timestamp>,
    /// Goals counted, each once (J18).
    pub goals: Vec<(Text, Timestamp)>,
}

/// One profile's passage through one journey version.
#[derive(Clone, Debug, PartialEq)]
pub struct Participant {
    pub id: ParticipantId,
    pub journey: Text,
    pub version: u32,
    pub entry: u32,
    pub started_at: Timestamp,
    pub started_lsn: Lsn,
    pub binding_id: Option<Text>,
    /// How many raise steps led to where it stands: the most of any event that started it or let it go on (trap T18).
    pub depth: u8,
    /// Attributes of the event that started it: `event` in its steps and messages (J10).
    pub event: Attributes,
    /// The last event of each trigger seen while inside: `trigger.<name>`.
    pub seen: Vec<SeenEvent>,
    /// Outcomes with `since: start` that matched before their wait was reached (J9).
    pub early: Vec<EarlyMatch>,
    /// Its latest send of each send step, with what was done with it.
    pub sends: Vec<SentStep>,
    /// How often send and raise steps were visited; makes effect ids (S4).
    pub visits: Vec<(StepIndex, u32)>,
    pub step: StepIndex,
    pub holding: Holding,
    pub timer: Option<Timer>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SeenEvent {
    pub trigger: Text,
    pub lsn: Lsn,
    pub attributes: Attributes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyMatch {
    pub step: StepIndex,
    pub outcome: u16,
    pub lsn: Lsn,
    /// How many raise steps led to the event.
    pub depth: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SentStep {
    pub step: StepIndex,
    pub effect: EffectId,
    pub interactions: Vec<SeenInteraction>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SeenInteraction {
    pub interaction: Text,
    pub lsn: Lsn,
    /// Has satisfied a wait already; one event satisfies at most one (J9).
    pub consumed: bool,
    pub attributes: Attributes,
}

/// Why a participant is still at its step.
#[derive(Clone, Debug, PartialEq)]
pub enum Holding {
    /// At a `wait`, until its timer.
    Wait,
    /// At a `wait_for`, since the record `since`, until an outcome or its timer.
    WaitFor { since: Lsn },
    /// At a send whose policies need to know what became of it (S4).
    Settle { effect: EffectId },
    /// Visibly, until an operator acts.
    Parked { reason: Text },
}

/// A durable promise. `seq` rises with creation over the partition: lsn of the creating record × 4,096 + n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    pub fire_at: Timestamp,
    pub seq: u64,
}

/// An effect made durable, waiting for hand-off or for what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    pub effect: EffectId,
    pub participant: ParticipantId,
    pub journey: Text,
    /// The step's id.
    pub step: Text,
    pub planned_at: Timestamp,
    pub kind: OutboxKind,
    pub state: OutboxState,
    /// How often a hand-off was tried.
    pub attempts: u32,
    /// The profile attribute that holds the address, looked up until the first hand-off (S1). None: the address was
    /// rendered (a webhook's), or it is a raise.
    pub to: Option<Text>,
    /// Why it is not to be tried again: its participant left by an exit, restart or stop while it was on its way (J3).
    pub unwanted: Option<Text>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum OutboxKind {
    Send(Arc<Rendered>),
    Raise(Arc<Raised>),
}

/// An event to be appended for the same profile (design §2.6).
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    pub trigger: Text,
    pub attributes: Attributes,
    pub binding_id: Option<Text>,
    pub depth: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxState {
    /// Not yet claimed: may still be cancelled.
    Planned,
    /// Granted; handed off or about to be. After a restart: unknown.
    Claimed,
    /// To be tried again when its timer fires.
    Deferred { timer: Timer },
    /// May have gone out; held for an operator (S5).
    Unknown,
}
