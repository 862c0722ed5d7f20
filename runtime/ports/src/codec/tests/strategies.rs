//! Anything that can be on disk: one strategy for each type, every field drawn.

use catalog::StepIndex;
use engine::Profile;
use engine::command::{
    ApiKey, Command, ControlCommand, DocumentChange, EventOccurred, InteractionOccurred, KeyScope, PartitionCommand,
    ProfileCommand, ProfileUpdated, RejectedCount, Resolution,
};
use engine::state::{
    DedupKey, DedupWindow, EarlyMatch, Holding, JourneyRecord, Marks, OutboxKind, OutboxRow, OutboxState, Participant,
    Raised, SeenEvent, SeenInteraction, SentStep, Timer,
};
use engine::trace::{Entry, Ignored, NoMatch, Refusal, WaitFlag};
use engine::transition::{SendChanged, SendState};
use model::document::DocumentId;
use model::send::{Rendered, Settlement};
use model::{
    Attributes, CatalogVersion, EffectId, Event, Identity, IdentityKind, KeySlot, Lsn, ParticipantId, ProfileId, Text,
    Timestamp, Value,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::sync::Arc;

/// Inline and on the heap, empty, with every plane of Unicode and NUL.
pub(super) fn text() -> impl Strategy<Value = Text> {
    prop_oneof!["[a-z_]{0,12}", ".{0,40}", "\\PC{0,4}\0\\PC{0,4}"].prop_map(Text::from)
}

pub(super) fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(Timestamp::EPOCH),
        Just(Timestamp::MAX),
        (Timestamp::EPOCH.as_ms()..=Timestamp::MAX.as_ms()).prop_map(Timestamp::from_ms)
    ]
}

/// Small ones, large ones, and those around every power of two.
pub(super) fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, any::<u64>(), (0..64u32, 0..3u64).prop_map(|(bit, below)| (1u64 << bit).wrapping_sub(below))]
}

pub(super) fn lsn() -> impl Strategy<Value = Lsn> {
    number().prop_map(Lsn)
}

fn version() -> impl Strategy<Value = CatalogVersion> {
    number().prop_map(CatalogVersion)
}

pub(super) fn slot() -> impl Strategy<Value = KeySlot> {
    any::<u32>().prop_map(KeySlot)
}

pub(super) fn profile_id() -> impl Strategy<Value = ProfileId> {
    any::<[u8; 16]>().prop_map(ProfileId)
}

pub(super) fn participant_id() -> impl Strategy<Value = ParticipantId> {
    any::<[u8; 16]>().prop_map(ParticipantId)
}

pub(super) fn effect_id() -> impl Strategy<Value = EffectId> {
    any::<[u8; 16]>().prop_map(EffectId)
}

fn step() -> impl Strategy<Value = StepIndex> {
    any::<u16>().prop_map(StepIndex)
}

pub(super) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        text().prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec((text(), inner), 0..4).prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

pub(super) fn attributes() -> impl Strategy<Value = Attributes> {
    vec((text(), value()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn identity() -> impl Strategy<Value = Identity> {
    let kind = prop_oneof![
        Just(IdentityKind::UserId),
        Just(IdentityKind::Contact),
        Just(IdentityKind::Lead),
        Just(IdentityKind::Email),
        Just(IdentityKind::Phone),
        Just(IdentityKind::AnonymousId),
        "[a-z]{3,30}".prop_map(|kind| IdentityKind::Other(kind.into())),
    ];
    (kind, text()).prop_map(|(kind, value)| Identity { kind, value })
}

fn resolution() -> impl Strategy<Value = Resolution> {
    (any::<bool>(), vec(identity(), 0..3)).prop_map(|(created, conflicts)| Resolution { created, conflicts })
}

fn event() -> impl Strategy<Value = Event> {
    let named = (option::of(text()), text(), text(), vec(identity(), 0..4));
    let said = (timestamp(), timestamp(), attributes(), option::of(text()), any::<bool>());
    (named, said).prop_map(|((id, source, trigger, identities), said)| {
        let (occurred_at, received_at, attributes, binding_id, replay_as_live) = said;
        Event { id, source, trigger, identities, occurred_at, received_at, attributes, binding_id, replay_as_live }
    })
}

pub(super) fn settlement() -> impl Strategy<Value = Settlement> {
    prop_oneof![
        option::of(text()).prop_map(|provider_id| Settlement::Accepted { provider_id }),
        text().prop_map(|reason| Settlement::Rejected { reason }),
        (text(), option::of(number()))
            .prop_map(|(reason, retry_after_ms)| Settlement::Deferred { reason, retry_after_ms }),
        text().prop_map(|reason| Settlement::Unknown { reason }),
        (text(), option::of(number()))
            .prop_map(|(reason, retry_after_ms)| Settlement::NotTried { reason, retry_after_ms }),
    ]
}

fn profile_command() -> impl Strategy<Value = ProfileCommand> {
    let occurred = (event(), resolution(), version(), vec(text(), 0..3), any::<u8>()).prop_map(
        |(event, resolution, checked_with, unknown_attributes, depth)| {
            let occurred = EventOccurred { event, resolution, checked_with, unknown_attributes, depth };
            ProfileCommand::Event(Box::new(occurred))
        },
    );
    let updated = (option::of(text()), text(), vec(identity(), 0..4), attributes(), timestamp(), resolution())
        .prop_map(|(id, source, identities, attributes, received_at, resolution)| {
            let updated = ProfileUpdated { id, source, identities, attributes, received_at, resolution };
            ProfileCommand::Update(Box::new(updated))
        });
    let interaction = (effect_id(), text(), timestamp(), timestamp(), any::<bool>(), attributes()).prop_map(
        |(effect, interaction, occurred_at, received_at, machine, attributes)| {
            let occurred = InteractionOccurred { effect, interaction, occurred_at, received_at, machine, attributes };
            ProfileCommand::Interaction(Box::new(occurred))
        },
    );
    prop_oneof![
        occurred,
        updated,
        interaction,
        (timestamp(), number()).prop_map(|(fire_at, seq)| ProfileCommand::TimerFired { fire_at, seq }),
        (effect_id(), option::of(text())).prop_map(|(effect, veto)| ProfileCommand::Claim { effect, veto }),
        (effect_id(), settlement()).prop_map(|(effect, settlement)| ProfileCommand::Settled { effect, settlement }),
        text().prop_map(|journey| ProfileCommand::JourneyStopped { journey }),
    ]
}

fn partition_command() -> impl Strategy<Value = PartitionCommand> {
    let count = (text(), text(), timestamp(), any::<u32>())
        .prop_map(|(trigger, reason, received_at, count)| RejectedCount { trigger, reason, received_at, count });
    prop_oneof![
        version().prop_map(|version| PartitionCommand::CatalogChanged { version }),
        (any::<[u8; 16]>(), profile_id(), slot()).prop_map(|(identity, profile, slot)| PartitionCommand::Linked {
            identity,
            profile,
            slot
        }),
        vec(count, 0..4).prop_map(|counts| PartitionCommand::Rejected { counts }),
    ]
}

pub(super) fn changes() -> impl Strategy<Value = Vec<DocumentChange>> {
    let change = (prop::sample::select(super::rich::documents()), any::<bool>()).prop_map(|(document, is_put)| {
        if is_put {
            DocumentChange::Put(document)
        } else {
            let DocumentId { kind, name } = document.id();
            DocumentChange::Remove(DocumentId { kind, name })
        }
    });
    vec(change, 0..4)
}

pub(super) fn api_key() -> impl Strategy<Value = ApiKey> {
    (text(), text(), prop::sample::select(KeyScope::ALL.to_vec()), any::<[u8; 32]>(), timestamp())
        .prop_map(|(id, name, scope, secret_sha256, created_at)| ApiKey { id, name, scope, secret_sha256, created_at })
}

fn control_command() -> impl Strategy<Value = ControlCommand> {
    prop_oneof![
        (changes(), text()).prop_map(|(changes, by)| ControlCommand::DocumentsChanged { changes, by }),
        (api_key(), text()).prop_map(|(key, by)| ControlCommand::KeyCreated { key, by }),
        (text(), text()).prop_map(|(id, by)| ControlCommand::KeyRevoked { id, by }),
    ]
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (profile_id(), profile_command()).prop_map(|(profile, command)| Command::Profile { profile, command }),
        1 => partition_command().prop_map(Command::Partition),
        1 => control_command().prop_map(Command::Control),
    ]
}

fn timer() -> impl Strategy<Value = Timer> {
    (timestamp(), number()).prop_map(|(fire_at, seq)| Timer { fire_at, seq })
}

fn holding() -> impl Strategy<Value = Holding> {
    prop_oneof![
        Just(Holding::Wait),
        lsn().prop_map(|since| Holding::WaitFor { since }),
        effect_id().prop_map(|effect| Holding::Settle { effect }),
        text().prop_map(|reason| Holding::Parked { reason }),
    ]
}

fn sent() -> impl Strategy<Value = SentStep> {
    let interaction =
        (text(), lsn(), any::<bool>(), attributes()).prop_map(|(interaction, lsn, consumed, attributes)| {
            SeenInteraction { interaction, lsn, consumed, attributes }
        });
    (step(), effect_id(), vec(interaction, 0..3)).prop_map(|(step, effect, interactions)| SentStep {
        step,
        effect,
        interactions,
    })
}

pub(super) fn participant() -> impl Strategy<Value = Participant> {
    let named = (participant_id(), text(), any::<u32>(), any::<u32>(), timestamp(), lsn());
    let known = (option::of(text()), any::<u8>(), attributes());
    let seen =
        (text(), lsn(), attributes()).prop_map(|(trigger, lsn, attributes)| SeenEvent { trigger, lsn, attributes });
    let early = (step(), any::<u16>(), lsn(), any::<u8>()).prop_map(|(step, outcome, lsn, depth)| EarlyMatch {
        step,
        outcome,
        lsn,
        depth,
    });
    let lists = (vec(seen, 0..3), vec(early, 0..3), vec(sent(), 0..3), vec((step(), any::<u32>()), 0..3));
    let held = (step(), holding(), option::of(timer()));
    (named, known, lists, held).prop_map(|(named, known, lists, held)| {
        let (id, journey, version, entry, started_at, started_lsn) = named;
        let (binding_id, depth, event) = known;
        let (seen, early, sends, visits) = lists;
        let (step, holding, timer) = held;
        Participant {
            id,
            journey,
            version,
            entry,
            started_at,
            started_lsn,
            binding_id,
            depth,
            event,
            seen,
            early,
            sends,
            visits,
            step,
            holding,
            timer,
        }
    })
}

fn outbox_row() -> impl Strategy<Value = OutboxRow> {
    let rendered = (text(), text(), text(), attributes()).prop_map(|(channel, message, address, parts)| Rendered {
        channel,
        message,
        address,
        parts,
    });
    let raised = (text(), attributes(), option::of(text()), any::<u8>())
        .prop_map(|(trigger, attributes, binding_id, depth)| Raised { trigger, attributes, binding_id, depth });
    let kind = prop_oneof![
        rendered.prop_map(|rendered| OutboxKind::Send(Arc::new(rendered))),
        raised.prop_map(|raised| OutboxKind::Raise(Arc::new(raised))),
    ];
    let state = prop_oneof![
        Just(OutboxState::Planned),
        Just(OutboxState::Claimed),
        timer().prop_map(|timer| OutboxState::Deferred { timer }),
        Just(OutboxState::Unknown),
    ];
    let named = (effect_id(), participant_id(), text(), text(), timestamp());
    let further = (any::<u32>(), option::of(text()), option::of(text()));
    (named, kind, state, further).prop_map(|(named, kind, state, (attempts, to, unwanted))| {
        let (effect, participant, journey, step, planned_at) = named;
        OutboxRow { effect, participant, journey, step, planned_at, kind, state, attempts, to, unwanted }
    })
}

fn journey_record() -> impl Strategy<Value = JourneyRecord> {
    (text(), any::<u32>(), timestamp(), option::of(timestamp()), vec((text(), timestamp()), 0..3)).prop_map(
        |(journey, entries, last_entered_at, last_ended_at, goals)| JourneyRecord {
            journey,
            entries,
            last_entered_at,
            last_ended_at,
            goals,
        },
    )
}

pub(super) fn profile() -> impl Strategy<Value = Profile> {
    let key = (any::<[u8; 16]>(), any::<u32>(), timestamp()).prop_map(|(hash, payload, seen_at)| DedupKey {
        hash,
        payload,
        seen_at,
    });
    let marks = (any::<bool>(), any::<bool>()).prop_map(|(contact, lead)| Marks { contact, lead });
    let known = (profile_id(), slot(), timestamp(), vec(identity(), 0..4), vec(identity(), 0..2), attributes());
    let contact = (marks, option::of(text()), option::of(text()), vec(key, 0..4));
    let inside = (vec(journey_record(), 0..3), vec(participant(), 0..3), vec(outbox_row(), 0..3));
    (known, contact, inside).prop_map(|(known, contact, inside)| {
        let (id, slot, created_at, identities, conflicts, attributes) = known;
        let (marks, contact_email, contact_phone, keys) = contact;
        let (journeys, participants, outbox) = inside;
        let dedup = DedupWindow { keys };
        Profile {
            id,
            slot,
            created_at,
            identities,
            conflicts,
            attributes,
            marks,
            contact_email,
            contact_phone,
            dedup,
            journeys,
            participants,
            outbox,
        }
    })
}

fn seen() -> impl Strategy<Value = Vec<(Text, Value)>> {
    vec((text(), value()), 0..3)
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        seen().prop_map(|seen| Refusal::ConditionFalse { seen }),
        text().prop_map(|why| Refusal::ConditionError { why }),
        timestamp().prop_map(|next_at| Refusal::TooSoon { next_at }),
        prop::sample::select(vec![
            Refusal::BeforeWindow,
            Refusal::AfterWindow,
            Refusal::AlreadyOnce,
            Refusal::StillInside,
            Refusal::SameBinding,
            Refusal::TooManyInside,
        ]),
    ]
}

fn no_match() -> impl Strategy<Value = NoMatch> {
    prop_oneof![
        seen().prop_map(|seen| NoMatch::ConditionFalse { seen }),
        text().prop_map(|why| NoMatch::ConditionError { why }),
        text().prop_map(|started_with| NoMatch::OtherBinding { started_with }),
        Just(NoMatch::Full),
    ]
}

fn wait_flag() -> impl Strategy<Value = WaitFlag> {
    prop_oneof![text().prop_map(WaitFlag::InvalidZone), Just(WaitFlag::LocalDateTime)]
}

/// Entries without a participant.
fn entry_of_event() -> BoxedStrategy<Entry> {
    prop_oneof![
        (text(), timestamp()).prop_map(|(trigger, occurred_at)| Entry::Received { trigger, occurred_at }),
        any::<bool>().prop_map(|conflict| Entry::Duplicate { conflict }),
        any::<i64>().prop_map(|age_ms| Entry::Late { age_ms }),
        any::<i64>().prop_map(|by_ms| Entry::ClockAhead { by_ms }),
        (text(), option::of(text())).prop_map(|(trigger, nearest)| Entry::Unmatched { trigger, nearest }),
        text().prop_map(|trigger| Entry::TriggerNotReady { trigger }),
        vec(text(), 0..3).prop_map(|names| Entry::UnknownAttributes { names }),
        Just(Entry::ProfileCreated),
        identity().prop_map(|identity| Entry::Linked { identity }),
        identity().prop_map(|identity| Entry::IdentityConflict { identity }),
        vec(text(), 0..3).prop_map(|names| Entry::AttributesChanged { names }),
        (text(), any::<u32>(), refusal()).prop_map(|(journey, version, refusal)| Entry::StartRefused {
            journey,
            version,
            refusal
        }),
        vec(text(), 0..3).prop_map(|names| Entry::AttributesRefused { names }),
        identity().prop_map(|identity| Entry::IdentityRefused { identity }),
        (text(), text(), seen()).prop_map(|(journey, goal, seen)| Entry::GoalReached { journey, goal, seen }),
        (option::of(participant_id()), text(), text(), no_match())
            .prop_map(|(participant, journey, what, why)| Entry::NotMatched { participant, journey, what, why }),
        prop::sample::select(vec![
            Ignored::StaleTimer,
            Ignored::UnknownEffect,
            Ignored::NobodyInside,
            Ignored::TooManyInteractions
        ])
        .prop_map(Entry::Ignored),
    ]
    .boxed()
}

fn entry_of_participant() -> BoxedStrategy<Entry> {
    let at = || (participant_id(), text());
    prop_oneof![
        (participant_id(), text(), any::<u32>(), any::<u32>(), seen()).prop_map(
            |(participant, journey, version, entry, seen)| Entry::Started {
                participant,
                journey,
                version,
                entry,
                seen
            }
        ),
        at().prop_map(|(participant, step)| Entry::Entered { participant, step }),
        (at(), timestamp(), vec(wait_flag(), 0..3)).prop_map(|((participant, step), until, flags)| Entry::Waiting {
            participant,
            step,
            until,
            flags
        }),
        (at(), text()).prop_map(|((participant, step), why)| Entry::NotWaited { participant, step, why }),
        at().prop_map(|(participant, step)| Entry::TimedOut { participant, step }),
        (at(), text(), seen()).prop_map(|((participant, step), outcome, seen)| Entry::OutcomeMatched {
            participant,
            step,
            outcome,
            seen
        }),
        (at(), text(), seen()).prop_map(|((participant, step), outcome, seen)| Entry::NotedEarly {
            participant,
            step,
            outcome,
            seen
        }),
        (at(), text(), seen()).prop_map(|((participant, step), arm, seen)| Entry::Branched {
            participant,
            step,
            arm,
            seen
        }),
        (at(), text()).prop_map(|((participant, step), arm)| Entry::SplitInto { participant, step, arm }),
        (at(), vec(text(), 0..3)).prop_map(|((participant, step), names)| Entry::Updated { participant, step, names }),
        (at(), text()).prop_map(|((participant, step), trigger)| Entry::Raised { participant, step, trigger }),
        (at(), text()).prop_map(|((participant, step), why)| Entry::Failed { participant, step, why }),
        (at(), text()).prop_map(|((participant, step), reason)| Entry::Parked { participant, step, reason }),
        (participant_id(), text(), text(), text(), seen()).prop_map(|(participant, journey, step, reason, seen)| {
            Entry::Ended { participant, journey, step, reason, seen }
        }),
    ]
    .boxed()
}

fn entry_of_send() -> BoxedStrategy<Entry> {
    prop_oneof![
        (participant_id(), effect_id(), text(), text())
            .prop_map(|(participant, effect, step, message)| Entry::Planned { participant, effect, step, message }),
        (effect_id(), any::<u32>()).prop_map(|(effect, attempt)| Entry::Granted { effect, attempt }),
        (effect_id(), text(), text()).prop_map(|(effect, message, reason)| Entry::Blocked { effect, message, reason }),
        (effect_id(), text()).prop_map(|(effect, message)| Entry::Cancelled { effect, message }),
        (effect_id(), text()).prop_map(|(effect, outcome)| Entry::Settled { effect, outcome }),
        (effect_id(), text(), any::<bool>()).prop_map(|(effect, interaction, machine)| Entry::Interaction {
            effect,
            interaction,
            machine
        }),
    ]
    .boxed()
}

pub(super) fn trace() -> impl Strategy<Value = Vec<Entry>> {
    vec(prop_oneof![entry_of_event(), entry_of_participant(), entry_of_send()], 0..8)
}

fn send_state() -> impl Strategy<Value = SendState> {
    prop_oneof![
        prop::sample::select(vec![SendState::Planned, SendState::HandedOff]),
        option::of(text()).prop_map(|provider_id| SendState::Accepted { provider_id }),
        text().prop_map(|reason| SendState::Rejected { reason }),
        (text(), timestamp()).prop_map(|(reason, until)| SendState::Deferred { reason, until }),
        text().prop_map(|reason| SendState::Unknown { reason }),
        text().prop_map(|reason| SendState::Blocked { reason }),
        text().prop_map(|reason| SendState::Cancelled { reason }),
    ]
}

pub(super) fn send_changed() -> impl Strategy<Value = SendChanged> {
    let named = (effect_id(), participant_id(), text(), text(), text(), text(), text());
    (named, timestamp(), timestamp(), any::<u32>(), send_state()).prop_map(
        |(named, planned_at, changed_at, attempts, state)| {
            let (effect, participant, journey, step, channel, message, address) = named;
            SendChanged {
                effect,
                participant,
                journey,
                step,
                channel,
                message,
                address,
                planned_at,
                changed_at,
                attempts,
                state,
            }
        },
    )
}
