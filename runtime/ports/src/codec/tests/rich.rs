//! Fixed values that use every field and every variant: what the committed fixtures hold. They never change; a field
//! that is added gets the value it reads as in old bytes.

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
use engine::transition::{Ended, SendChanged, SendState};
use model::document::{DocumentId, read_documents};
use model::send::{Rendered, Settlement};
use model::{
    Attributes, CatalogVersion, Document, EffectId, Event, Identity, KeySlot, Kind, Lsn, Name, ParticipantId,
    ProfileId, Timestamp, Value,
};
use std::sync::Arc;

pub(super) const PROFILE: ProfileId = ProfileId([0xa1; 16]);
pub(super) const SLOT: KeySlot = KeySlot(300);
const PARTICIPANT: ParticipantId = ParticipantId([0xb2; 16]);
const EFFECT: EffectId = EffectId([0xc3; 16]);

/// Saturday, 28 March 2026, 10:00 in UTC, and so many milliseconds later.
pub(super) fn at(later_ms: i64) -> Timestamp {
    Timestamp::parse("2026-03-28T10:00:00Z").unwrap().plus_ms(later_ms)
}

/// One of each kind.
pub(super) fn documents() -> Vec<Document> {
    let read = read_documents(include_str!("documents.yaml"));
    assert_eq!(read.findings, []);
    read.documents
}

fn identity(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

/// Every kind of value.
fn attributes() -> Attributes {
    let inner: Attributes = [("größe", Value::from("42½")), ("list", Value::List(vec![]))].into_iter().collect();
    let pairs = [
        ("cart_id", Value::from("c1")),
        ("count", Value::Int(-3)),
        ("empty", Value::Map(Attributes::new())),
        ("gift", Value::Bool(true)),
        ("large", Value::Int(i64::MIN)),
        ("nested", Value::List(vec![Value::Map(inner), Value::Null, Value::Bool(false)])),
        ("total", Value::Float(80.25)),
    ];
    pairs.into_iter().collect()
}

fn event() -> Event {
    Event {
        id: Some("evt-1".into()),
        source: "key_shop".into(),
        trigger: "abandoned_cart".into(),
        identities: [
            "user_id:42",
            "contact:7",
            "lead:8",
            "loyalty:9",
            "email:ada@example.org",
            "phone:+4915112345678",
            "anonymous_id:x-1",
        ]
        .map(identity)
        .to_vec(),
        occurred_at: at(-1500),
        received_at: at(0),
        attributes: attributes(),
        binding_id: Some("cart/c1".into()),
        replay_as_live: true,
    }
}

fn profile_commands() -> Vec<(&'static str, ProfileCommand)> {
    let resolution = Resolution { created: true, conflicts: vec![identity("email:bob@example.org")] };
    let accepted = Settlement::Accepted { provider_id: Some("SM123".into()) };
    let deferred = Settlement::Deferred { reason: "busy".into(), retry_after_ms: Some(30_000) };
    let settled = |settlement| ProfileCommand::Settled { effect: EFFECT, settlement };
    vec![
        (
            "event",
            ProfileCommand::Event(Box::new(EventOccurred {
                event: event(),
                resolution: resolution.clone(),
                checked_with: CatalogVersion(7),
                unknown_attributes: vec!["gift".into(), "nested".into()],
                depth: 2,
            })),
        ),
        (
            "update",
            ProfileCommand::Update(Box::new(ProfileUpdated {
                id: Some("upd-1".into()),
                source: "key_crm".into(),
                identities: vec![identity("user_id:42")],
                attributes: attributes(),
                received_at: at(1),
                resolution,
            })),
        ),
        (
            "interaction",
            ProfileCommand::Interaction(Box::new(InteractionOccurred {
                effect: EFFECT,
                interaction: "email_link_clicked".into(),
                occurred_at: at(2),
                received_at: at(3),
                machine: true,
                attributes: [("url", Value::from("https://shop.example/cart"))].into_iter().collect(),
            })),
        ),
        ("timer fired", ProfileCommand::TimerFired { fire_at: at(86_400_000), seq: 4096 * 9 + 1 }),
        ("claim", ProfileCommand::Claim { effect: EFFECT, veto: None }),
        ("claim with a veto", ProfileCommand::Claim { effect: EFFECT, veto: Some("no_channel".into()) }),
        ("settled accepted", settled(accepted)),
        ("settled accepted without id", settled(Settlement::Accepted { provider_id: None })),
        ("settled rejected", settled(Settlement::Rejected { reason: "no such user".into() })),
        ("settled deferred", settled(deferred)),
        (
            "settled not tried",
            settled(Settlement::NotTried { reason: "circuit_open".into(), retry_after_ms: Some(9_000) }),
        ),
        ("settled unknown", settled(Settlement::Unknown { reason: "time-out".into() })),
        ("journey stopped", ProfileCommand::JourneyStopped { journey: "welcome".into() }),
    ]
}

/// One put of each kind of document, and a removal.
pub(super) fn changes() -> Vec<DocumentChange> {
    let removed = DocumentId { kind: Kind::Message, name: Name::new("old_message").unwrap() };
    documents().into_iter().map(DocumentChange::Put).chain([DocumentChange::Remove(removed)]).collect()
}

pub(super) fn api_key(scope: KeyScope) -> ApiKey {
    ApiKey {
        id: "key_shop".into(),
        name: "The shop's pages".into(),
        scope,
        secret_sha256: [0xd4; 32],
        created_at: at(0),
    }
}

pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let about_profile = |(name, command)| (name, Command::Profile { profile: PROFILE, command });
    let rejected = RejectedCount { trigger: "x".into(), reason: "attribute".into(), received_at: at(0), count: 70_000 };
    let linked = PartitionCommand::Linked { identity: [0xe5; 16], profile: PROFILE, slot: SLOT };
    let created = |scope| ControlCommand::KeyCreated { key: api_key(scope), by: "ada".into() };
    let revoked = ControlCommand::KeyRevoked { id: "key_shop".into(), by: "ada".into() };
    let mut commands: Vec<_> = profile_commands().into_iter().map(about_profile).collect();
    commands.extend([
        ("catalog changed", Command::Partition(PartitionCommand::CatalogChanged { version: CatalogVersion(128) })),
        ("linked", Command::Partition(linked)),
        ("rejected", Command::Partition(PartitionCommand::Rejected { counts: vec![rejected] })),
        ("documents changed", {
            let (changes, by) = (changes(), "ada".into());
            Command::Control(ControlCommand::DocumentsChanged { changes, by })
        }),
        ("browser key created", Command::Control(created(KeyScope::Browser))),
        ("server key created", Command::Control(created(KeyScope::Server))),
        ("admin key created", Command::Control(created(KeyScope::Admin))),
        ("key revoked", Command::Control(revoked)),
    ]);
    commands
}

pub(super) fn participant(holding: Holding, timer: Option<Timer>) -> Participant {
    let opened = SeenInteraction {
        interaction: "email_opened".into(),
        lsn: Lsn(41),
        consumed: true,
        attributes: [("user_agent", Value::from("x"))].into_iter().collect(),
    };
    Participant {
        id: PARTICIPANT,
        journey: "abandoned_cart".into(),
        version: 3,
        entry: 2,
        started_at: at(0),
        started_lsn: Lsn(40),
        binding_id: Some("cart/c1".into()),
        depth: 1,
        event: attributes(),
        seen: vec![SeenEvent { trigger: "abandoned_cart".into(), lsn: Lsn(40), attributes: attributes() }],
        early: vec![EarlyMatch { step: StepIndex(4), outcome: 1, lsn: Lsn(42), depth: 2 }],
        sends: vec![SentStep { step: StepIndex(0), effect: EFFECT, interactions: vec![opened] }],
        visits: vec![(StepIndex(0), 1), (StepIndex(300), 70_000)],
        step: StepIndex(1),
        holding,
        timer,
    }
}

fn outbox_rows() -> Vec<OutboxRow> {
    let row = |number: u8, kind: OutboxKind, state: OutboxState| OutboxRow {
        effect: EffectId([number; 16]),
        participant: PARTICIPANT,
        journey: "abandoned_cart".into(),
        step: "reminder".into(),
        planned_at: at(0),
        kind,
        state,
        attempts: u32::from(number),
        to: Some("work_email".into()),
        unwanted: if number == 1 { Some("purchase_completed".into()) } else { None },
    };
    let rendered = Rendered {
        channel: "email".into(),
        message: "cart_reminder".into(),
        address: "ada@example.org".into(),
        parts: [("html", Value::from("<p>Hello</p>")), ("subject", Value::from("Your cart"))].into_iter().collect(),
    };
    let send = || OutboxKind::Send(Arc::new(rendered.clone()));
    let raised =
        Raised { trigger: "vip".into(), attributes: attributes(), binding_id: Some("cart/c1".into()), depth: 3 };
    vec![
        row(0, send(), OutboxState::Planned),
        row(1, send(), OutboxState::Claimed),
        row(2, send(), OutboxState::Deferred { timer: Timer { fire_at: at(60_000), seq: 4096 * 50 } }),
        row(3, send(), OutboxState::Unknown),
        row(4, OutboxKind::Raise(Arc::new(raised)), OutboxState::Planned),
    ]
}

pub(super) fn profile() -> Profile {
    let timer = Timer { fire_at: at(86_400_000), seq: 4096 * 40 + 1 };
    let welcomed = JourneyRecord {
        journey: "welcome".into(),
        entries: 1,
        last_entered_at: at(-9000),
        last_ended_at: Some(at(-8000)),
        goals: vec![("bought".into(), at(-8500))],
    };
    let abandoned = JourneyRecord {
        journey: "abandoned_cart".into(),
        entries: 2,
        last_entered_at: at(0),
        last_ended_at: None,
        goals: vec![],
    };
    Profile {
        id: PROFILE,
        slot: SLOT,
        created_at: at(-10_000),
        identities: event().identities,
        conflicts: vec![identity("email:bob@example.org")],
        attributes: attributes(),
        marks: Marks { contact: true, lead: true },
        contact_email: Some("ada@work.example".into()),
        contact_phone: Some("+15550100".into()),
        dedup: DedupWindow { keys: vec![DedupKey { hash: [0xf6; 16], payload: 0xdead_beef, seen_at: at(0) }] },
        journeys: vec![abandoned, welcomed],
        participants: vec![
            participant(Holding::Wait, Some(timer)),
            participant(Holding::WaitFor { since: Lsn(44) }, Some(Timer { seq: timer.seq + 1, ..timer })),
            participant(Holding::Settle { effect: EFFECT }, None),
            participant(Holding::Parked { reason: "missing_date".into() }, None),
        ],
        outbox: outbox_rows(),
    }
}

fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::ConditionFalse { seen: vec![("event.total".into(), Value::Float(1.5))] },
        Refusal::ConditionError { why: "profile.plan is not there".into() },
        Refusal::BeforeWindow,
        Refusal::AfterWindow,
        Refusal::AlreadyOnce,
        Refusal::StillInside,
        Refusal::TooSoon { next_at: at(1000) },
        Refusal::SameBinding,
        Refusal::TooManyInside,
    ]
}

fn trace_of_event() -> Vec<Entry> {
    let refused = |refusal| Entry::StartRefused { journey: "welcome".into(), version: 2, refusal };
    let mut trace = vec![
        Entry::Received { trigger: "signup".into(), occurred_at: at(-5000) },
        Entry::Duplicate { conflict: true },
        Entry::Late { age_ms: 90_000_000 },
        Entry::ClockAhead { by_ms: -1 },
        Entry::Unmatched { trigger: "sing_up".into(), nearest: Some("signup".into()) },
        Entry::Unmatched { trigger: "sing_up".into(), nearest: None },
        Entry::TriggerNotReady { trigger: "signup".into() },
        Entry::UnknownAttributes { names: vec!["a".into(), "b".into()] },
        Entry::ProfileCreated,
        Entry::Linked { identity: identity("user_id:42") },
        Entry::IdentityConflict { identity: identity("loyalty:9") },
        Entry::AttributesChanged { names: vec!["plan".into()] },
        Entry::AttributesRefused { names: vec!["essay".into()] },
        Entry::IdentityRefused { identity: identity("loyalty:10") },
    ];
    trace.extend(refusals().into_iter().map(refused));
    trace
}

fn trace_of_participant() -> Vec<Entry> {
    let (participant, step) = (PARTICIPANT, "opened");
    let seen = vec![("event.total".into(), Value::Int(5)), ("profile.plan".into(), Value::Null)];
    let flags = vec![WaitFlag::InvalidZone("Mars/Olympus".into()), WaitFlag::LocalDateTime];
    vec![
        Entry::Started { participant, journey: "welcome".into(), version: 2, entry: 1, seen: seen.clone() },
        Entry::Entered { participant, step: step.into() },
        Entry::Waiting { participant, step: step.into(), until: at(86_400_000), flags },
        Entry::NotWaited { participant, step: step.into(), why: "it is past".into() },
        Entry::TimedOut { participant, step: step.into() },
        Entry::OutcomeMatched { participant, step: step.into(), outcome: "email_opened".into(), seen: seen.clone() },
        Entry::NotedEarly { participant, step: step.into(), outcome: "bought".into(), seen: seen.clone() },
        Entry::Branched { participant, step: step.into(), arm: "otherwise".into(), seen: seen.clone() },
        Entry::SplitInto { participant, step: step.into(), arm: "b".into() },
        Entry::Updated { participant, step: step.into(), names: vec!["plan".into()] },
        Entry::Raised { participant, step: step.into(), trigger: "vip".into() },
        Entry::Failed { participant, step: step.into(), why: "raise_depth".into() },
        Entry::Parked { participant, step: step.into(), reason: "missing_date".into() },
        Entry::Ended {
            participant,
            journey: "welcome".into(),
            step: step.into(),
            reason: "bought".into(),
            seen: seen.clone(),
        },
        Entry::GoalReached { journey: "welcome".into(), goal: "bought".into(), seen: seen.clone() },
        unmatched(Some(participant), NoMatch::ConditionFalse { seen }),
        unmatched(Some(participant), NoMatch::OtherBinding { started_with: "cart/c1".into() }),
        unmatched(Some(participant), NoMatch::Full),
        unmatched(None, NoMatch::ConditionError { why: "no total".into() }),
    ]
}

fn unmatched(participant: Option<ParticipantId>, why: NoMatch) -> Entry {
    Entry::NotMatched { participant, journey: "welcome".into(), what: "exit bought".into(), why }
}

/// Every entry that there is.
pub(super) fn trace() -> Vec<Entry> {
    let (effect, message) = (EFFECT, "cart_reminder");
    let mut trace = trace_of_event();
    trace.extend(trace_of_participant());
    trace.extend([
        Entry::Planned { participant: PARTICIPANT, effect, step: "reminder".into(), message: message.into() },
        Entry::Granted { effect, attempt: 1 },
        Entry::Blocked { effect, message: message.into(), reason: "no_channel".into() },
        Entry::Cancelled { effect, message: message.into() },
        Entry::Settled { effect, outcome: "accepted".into() },
        Entry::Interaction { effect, interaction: "email_opened".into(), machine: true },
        Entry::Ignored(Ignored::StaleTimer),
        Entry::Ignored(Ignored::UnknownEffect),
        Entry::Ignored(Ignored::NobodyInside),
        Entry::Ignored(Ignored::TooManyInteractions),
    ]);
    trace
}

pub(super) fn ended() -> Ended {
    Ended {
        participant: PARTICIPANT,
        journey: "abandoned_cart".into(),
        version: 3,
        entry: 2,
        started_at: at(0),
        ended_at: at(5000),
        step: "opened".into(),
        reason: "purchase_completed".into(),
    }
}

pub(super) fn sends() -> Vec<(&'static str, SendChanged)> {
    let reason = || "x".into();
    let states = [
        ("planned", SendState::Planned),
        ("handed off", SendState::HandedOff),
        ("accepted", SendState::Accepted { provider_id: Some("SM123".into()) }),
        ("rejected", SendState::Rejected { reason: reason() }),
        ("deferred", SendState::Deferred { reason: reason(), until: at(9000) }),
        ("unknown", SendState::Unknown { reason: reason() }),
        ("blocked", SendState::Blocked { reason: reason() }),
        ("cancelled", SendState::Cancelled { reason: reason() }),
    ];
    let send = |(name, state)| {
        let send = SendChanged {
            effect: EFFECT,
            participant: PARTICIPANT,
            journey: "abandoned_cart".into(),
            step: "reminder".into(),
            channel: "email".into(),
            message: "cart_reminder".into(),
            address: "ada@example.org".into(),
            planned_at: at(0),
            changed_at: at(10),
            attempts: 1,
            state,
        };
        (name, send)
    };
    states.map(send).to_vec()
}
