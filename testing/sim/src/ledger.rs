//! What is durable, read from the log as it grows: what acknowledgements and hand-offs are held against.

use crate::checks::{Violation, violated};
use crate::clients::{Ask, number_in, number_of_mark, numbers_of};
use engine::command::{Command, ControlCommand, PartitionCommand, ProfileCommand};
use model::EffectId;
use model::send::Settlement;
use ports::codec;
use ports::log::{Body, Entry};
use ports::memory::Disk;
use processor::{ControlRequest, Item};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(crate) struct Ledger {
    read: usize,
    /// How often an ask with this number is stored.
    numbers: BTreeMap<u64, u64>,
    /// By trigger, minute and reason.
    rejected: BTreeMap<(String, u32, String), u64>,
    /// Claims that were not refused from the start.
    claims: BTreeMap<EffectId, u32>,
    /// Settlements that allow another attempt.
    deferred: BTreeMap<EffectId, u32>,
    pub publishes: usize,
    keys: BTreeSet<String>,
}

/// Reads a record.
pub(crate) fn command_of(entry: &Entry) -> Command {
    let Body::Command(body) = &entry.body else { unreachable!("INVARIANT: nothing is erased here") };
    codec::decode_command(body).expect("INVARIANT: what was encoded decodes")
}

impl Ledger {
    /// Takes up what has become durable.
    ///
    /// # Errors
    /// When something that was durable is not there any more.
    pub fn read_on(&mut self, disk: &Disk) -> Result<(), Violation> {
        let count = disk.durable_count();
        if count < self.read {
            return violated(format!("{} records were durable, and {} of them are lost", self.read, self.read - count));
        }
        for entry in &disk.durable_entries_from(self.read) {
            self.take(&command_of(entry));
        }
        self.read = count;
        Ok(())
    }

    fn take(&mut self, command: &Command) {
        match command {
            Command::Profile { command, .. } => self.take_profile(command),
            Command::Partition(PartitionCommand::Rejected { counts }) => {
                for count in counts {
                    let minute = processor::minute_of(count.received_at);
                    let key = (count.trigger.to_string(), minute, count.reason.to_string());
                    *self.rejected.entry(key).or_default() += u64::from(count.count);
                }
            }
            Command::Partition(PartitionCommand::CatalogChanged { .. } | PartitionCommand::Linked { .. }) => {}
            Command::Control(ControlCommand::DocumentsChanged { .. }) => self.publishes += 1,
            Command::Control(ControlCommand::KeyCreated { key, .. }) => drop(self.keys.insert(key.id.to_string())),
            Command::Control(ControlCommand::KeyRevoked { .. }) => {}
        }
    }

    fn take_profile(&mut self, command: &ProfileCommand) {
        let number = match command {
            ProfileCommand::Event(occurred) if occurred.depth == 0 => number_in(&occurred.event.attributes),
            ProfileCommand::Update(updated) => number_of_mark(&updated.attributes),
            ProfileCommand::Interaction(occurred) => number_in(&occurred.attributes),
            ProfileCommand::Claim { effect, veto: None } => {
                *self.claims.entry(*effect).or_default() += 1;
                None
            }
            ProfileCommand::Settled { effect, settlement: Settlement::Deferred { .. } } => {
                *self.deferred.entry(*effect).or_default() += 1;
                None
            }
            ProfileCommand::Event(_)
            | ProfileCommand::Claim { .. }
            | ProfileCommand::Settled { .. }
            | ProfileCommand::TimerFired { .. }
            | ProfileCommand::JourneyStopped { .. } => None,
        };
        if let Some(number) = number {
            *self.numbers.entry(number).or_default() += 1;
        }
    }

    /// The first thing of `ask` that is not durable.
    pub fn lacks(&self, ask: &Ask) -> Option<String> {
        let lost = numbers_of(ask).into_iter().find(|number| !self.numbers.contains_key(number));
        if let Some(number) = lost {
            return Some(format!("number {number}"));
        }
        match ask {
            Ask::Items(items) => items.iter().find_map(|item| match item {
                Item::Rejected(count) => {
                    let minute = processor::minute_of(count.received_at);
                    let key = (count.trigger.to_string(), minute, count.reason.to_string());
                    if self.rejected.contains_key(&key) { None } else { Some(format!("the rejection of {key:?}")) }
                }
                Item::Event { .. } | Item::Update(_) | Item::RejectedUpdate => None,
            }),
            Ask::Control(ControlRequest::CreateKey { key, .. }) if !self.keys.contains(key.id.as_str()) => {
                Some(format!("key {}", key.id))
            }
            Ask::Control(_) | Ask::Interaction { .. } => None,
        }
    }

    /// A number that is stored more often than it was sent, which nobody can have asked for.
    pub fn made_up(&self, sent: &BTreeMap<u64, u64>) -> Option<u64> {
        let mut numbers = self.numbers.iter();
        numbers.find_map(|(number, count)| (sent.get(number).unwrap_or(&0) < count).then_some(*number))
    }

    pub fn claims(&self, effect: EffectId) -> u32 {
        self.claims.get(&effect).copied().unwrap_or(0)
    }

    pub fn deferred(&self, effect: EffectId) -> u32 {
        self.deferred.get(&effect).copied().unwrap_or(0)
    }
}
