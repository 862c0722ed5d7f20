//! The reference: what must have become of every record, told from the log alone by rules written a second time.
//!
//! It knows duplicates (E3), unknown triggers (E9), late events (E6) and the books (E4), and nothing else; it shares no
//! code with the engine. A verdict of the engine is read from the trace that the record left.

use crate::checks::{Violation, violated};
use crate::ledger::command_of;
use engine::command::{
    Command, ControlCommand, DocumentChange, EventOccurred, PartitionCommand, ProfileCommand, ProfileUpdated,
};
use engine::trace::{Entry as Trace, Ignored};
use model::document::Kind;
use model::{Attributes, Lsn, PartitionId, ProfileId, Text, Timestamp};
use ports::memory::Disk;
use ports::rows::{self, BookRow};
use ports::{Keyspace, log};
use std::collections::{BTreeMap, BTreeSet};

const WINDOW_MS: i64 = 7 * 24 * 3_600_000;
const MAX_AGE_MS: i64 = 24 * 3_600_000;

#[derive(Default)]
pub(crate) struct Reference {
    /// By profile, source and id; events and updates apart.
    seen: BTreeMap<(Kinds, ProfileId, Text, Text), Seen>,
    /// Names of triggers, by catalog version, from 0.
    triggers: Vec<BTreeSet<Text>>,
    /// What each partition applies.
    catalogs: BTreeMap<PartitionId, usize>,
    books: BTreeMap<(Text, u32), BookRow>,
    /// Timers that fired, by profile and seq.
    fired: BTreeSet<(ProfileId, u64)>,
    traces: BTreeMap<Lsn, Vec<Trace>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kinds {
    Event,
    Update,
}

#[derive(Clone)]
struct Seen {
    /// The stamp of the record.
    at: Timestamp,
    said: (Text, Attributes),
}

/// How an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Matched,
    Unmatched,
    Late,
    Duplicate { conflict: bool },
}

impl Reference {
    /// Goes through the whole log and holds traces and books against it.
    pub fn check(disk: &Disk) -> Result<(), Violation> {
        let traces = disk.traces().into_iter().map(|(lsn, _, entries)| (lsn, entries)).collect();
        let mut reference = Reference { traces, triggers: vec![BTreeSet::new()], ..Reference::default() };
        for entry in disk.durable_entries() {
            reference.take(&entry, command_of(&entry))?;
        }
        reference.check_books(disk)
    }

    fn take(&mut self, entry: &log::Entry, command: Command) -> Result<(), Violation> {
        match command {
            Command::Profile { profile, command } => self.take_profile(entry, profile, command),
            Command::Partition(PartitionCommand::CatalogChanged { version }) => {
                let version = usize::try_from(version.0).unwrap_or(usize::MAX);
                self.catalogs.insert(entry.partition, version);
                Ok(())
            }
            Command::Partition(PartitionCommand::Rejected { counts }) => {
                for count in counts {
                    let row = self.book(&count.trigger, count.received_at);
                    row.reject(&count.reason, u64::from(count.count));
                }
                Ok(())
            }
            Command::Partition(PartitionCommand::Linked { .. }) => Ok(()),
            Command::Control(ControlCommand::DocumentsChanged { changes, .. }) => {
                let mut triggers = self.triggers.last().cloned().unwrap_or_default();
                for change in changes {
                    match change {
                        DocumentChange::Put(document) if document.id().kind == Kind::Trigger => {
                            triggers.insert(document.name.as_text().clone());
                        }
                        DocumentChange::Remove(id) if id.kind == Kind::Trigger => {
                            triggers.remove(id.name.as_text());
                        }
                        DocumentChange::Put(_) | DocumentChange::Remove(_) => {}
                    }
                }
                self.triggers.push(triggers);
                Ok(())
            }
            Command::Control(ControlCommand::KeyCreated { .. } | ControlCommand::KeyRevoked { .. }) => Ok(()),
        }
    }

    fn take_profile(
        &mut self,
        entry: &log::Entry,
        profile: ProfileId,
        command: ProfileCommand,
    ) -> Result<(), Violation> {
        match command {
            ProfileCommand::Event(occurred) => self.take_event(entry, profile, &occurred),
            ProfileCommand::Update(updated) => self.take_update(entry, profile, &updated),
            ProfileCommand::Interaction(occurred) => {
                if !self.has(entry.lsn, |trace| matches!(trace, Trace::Interaction { .. } | Trace::Duplicate { .. })) {
                    return violated(format!("the interaction at {} left no trace", entry.lsn));
                }
                let is_again = self.has(entry.lsn, |trace| matches!(trace, Trace::Duplicate { .. }));
                let row = self.book(&occurred.interaction, occurred.received_at);
                if is_again {
                    row.duplicate += 1
                } else {
                    row.matched += 1
                }
                Ok(())
            }
            ProfileCommand::TimerFired { fire_at, seq } => {
                if fire_at > entry.stamp {
                    return violated(format!("a timer due at {fire_at} fired early, at {}", entry.stamp));
                }
                let is_stale = self.has(entry.lsn, |trace| matches!(trace, Trace::Ignored(Ignored::StaleTimer)));
                if !is_stale && !self.fired.insert((profile, seq)) {
                    return violated(format!("timer {seq} of {profile} fired twice, again at {}", entry.lsn));
                }
                Ok(())
            }
            ProfileCommand::Claim { .. } | ProfileCommand::Settled { .. } | ProfileCommand::JourneyStopped { .. } => {
                Ok(())
            }
        }
    }

    fn take_event(
        &mut self,
        entry: &log::Entry,
        profile: ProfileId,
        occurred: &EventOccurred,
    ) -> Result<(), Violation> {
        let event = &occurred.event;
        let Some(found) = self.verdict_in_trace(entry.lsn) else {
            return violated(format!("the event {:?} at {} left no trace", event.id, entry.lsn));
        };
        let said = (event.trigger.clone(), event.attributes.clone());
        let key = event.id.clone().map(|id| (Kinds::Event, profile, event.source.clone(), id));
        let again = self.seen_before(key, entry.stamp, said);
        let expected = match again {
            Some(conflict) => Verdict::Duplicate { conflict },
            None if !self.knows(entry.partition, &event.trigger) => Verdict::Unmatched,
            None if event.received_at.ms_since(event.occurred_at) > MAX_AGE_MS && !event.replay_as_live => {
                Verdict::Late
            }
            None => Verdict::Matched,
        };
        if found != expected {
            let (source, id) = (&event.source, &event.id);
            return violated(format!("event {source} {id:?} at {} was {found:?}, expected {expected:?}", entry.lsn));
        }
        let row = self.book(&event.trigger, event.received_at);
        match expected {
            Verdict::Matched => row.matched += 1,
            Verdict::Unmatched => row.unmatched += 1,
            Verdict::Late => row.late += 1,
            Verdict::Duplicate { conflict } => {
                row.duplicate += 1;
                row.conflicts += u64::from(conflict);
            }
        }
        Ok(())
    }

    fn take_update(
        &mut self,
        entry: &log::Entry,
        profile: ProfileId,
        updated: &ProfileUpdated,
    ) -> Result<(), Violation> {
        let found = match self.has(entry.lsn, |trace| matches!(trace, Trace::Duplicate { .. })) {
            true => Verdict::Duplicate { conflict: false },
            false => Verdict::Matched,
        };
        let said = (Text::default(), updated.attributes.clone());
        let key = updated.id.clone().map(|id| (Kinds::Update, profile, updated.source.clone(), id));
        let again = self.seen_before(key, entry.stamp, said);
        let expected = again.map_or(Verdict::Matched, |conflict| Verdict::Duplicate { conflict });
        if found == expected {
            return Ok(());
        }
        violated(format!("update {:?} at {} was {found:?}, expected {expected:?}", updated.id, entry.lsn))
    }

    /// Whether it was seen within the window before, and if so, whether it said something else then.
    fn seen_before(
        &mut self,
        key: Option<(Kinds, ProfileId, Text, Text)>,
        at: Timestamp,
        said: (Text, Attributes),
    ) -> Option<bool> {
        let key = key?;
        if let Some(seen) = self.seen.get(&key).filter(|seen| at.ms_since(seen.at) <= WINDOW_MS) {
            return Some(seen.said != said);
        }
        self.seen.insert(key, Seen { at, said });
        None
    }

    fn verdict_in_trace(&self, lsn: Lsn) -> Option<Verdict> {
        let trace = self.traces.get(&lsn)?;
        let told = trace.iter().find_map(|entry| {
            if let Trace::Duplicate { conflict } = entry {
                return Some(Verdict::Duplicate { conflict: *conflict });
            }
            if matches!(entry, Trace::Unmatched { .. }) {
                return Some(Verdict::Unmatched);
            }
            matches!(entry, Trace::Late { .. }).then_some(Verdict::Late)
        });
        let is_received = trace.iter().any(|entry| matches!(entry, Trace::Received { .. }));
        told.or(if is_received { Some(Verdict::Matched) } else { None })
    }

    fn has(&self, lsn: Lsn, wanted: impl Fn(&Trace) -> bool) -> bool {
        self.traces.get(&lsn).is_some_and(|trace| trace.iter().any(wanted))
    }

    fn knows(&self, partition: PartitionId, trigger: &Text) -> bool {
        let version = self.catalogs.get(&partition).copied().unwrap_or(0);
        self.triggers.get(version).is_some_and(|triggers| triggers.contains(trigger))
    }

    fn book(&mut self, trigger: &Text, received_at: Timestamp) -> &mut BookRow {
        self.books.entry((trigger.clone(), processor::minute_of(received_at))).or_default()
    }

    fn check_books(&self, disk: &Disk) -> Result<(), Violation> {
        let mut held: BTreeMap<(Text, u32), BookRow> = BTreeMap::new();
        for ((keyspace, key), value) in disk.rows() {
            if keyspace == Keyspace::Books {
                let key = rows::decode_book_key(&key).expect("INVARIANT: what was encoded decodes");
                let row = rows::decode_book(&value).expect("INVARIANT: what was encoded decodes");
                held.entry(key).or_default().add(&row);
            }
        }
        let keys: BTreeSet<_> = held.keys().chain(self.books.keys()).collect();
        match keys.into_iter().find(|key| held.get(*key) != self.books.get(*key)) {
            Some(key) => {
                let (held, counted) = (held.get(key), self.books.get(key));
                violated(format!("the books of {key:?} say {held:?}, and the records {counted:?}"))
            }
            None => Ok(()),
        }
    }
}
