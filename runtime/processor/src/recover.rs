//! Opening a group: the last checkpoint, then the tail of the log, then what is still owed to the outside.

use crate::dispatcher::Waiting;
use crate::group::{Error, Group, Options, Own};
use crate::input::Released;
use crate::partition::Stopped;
use crossbeam_channel::Sender;
use engine::command::Command;
use engine::control::Control;
use engine::state::{OutboxKind, OutboxState};
use engine::{Profile, RULES_VERSION};
use model::send::Settlement;
use model::{KeySlot, Lsn, PartitionId, ProfileId, Text, Timestamp};
use ports::log::{Body, Entry, Replay};
use ports::rows;
use ports::state::Scan;
use ports::{Keyspace, Log, State, codec, state};
use std::collections::BTreeSet;
use std::sync::Arc;
use template::tracking::Signer;

/// What opening found, for the operator's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Up to here the store had everything.
    pub checkpointed: Lsn,
    pub records_replayed: u64,
    pub profiles_scanned: u64,
    pub timers: u64,
    pub sends_unsettled: u64,
}

impl<L: Log, S: State + ?Sized, T> Group<L, S, T> {
    /// Opens the group over its log and store.
    ///
    /// # Errors
    /// See [`Error`]; each says what an operator can do.
    pub fn open(
        log: L,
        state: Arc<S>,
        secret: [u8; 32],
        signer: Signer,
        options: Options,
    ) -> Result<(Self, Recovered), Error> {
        let mut group = Group::empty(log, state, secret, signer, options);
        let mut recovered = Recovered::default();
        let rules_version = group.load_meta()?;
        group.load_control()?;
        group.replay(rules_version, &mut recovered)?;
        group.scan_profiles(&mut recovered)?;
        group.finish_spread();
        group.finish_stops();
        Ok((group, recovered))
    }

    /// Reads the rows of the partitions; answers the rules that the last checkpoint was made under.
    fn load_meta(&mut self) -> Result<u32, Error> {
        let Some(row) = self.state.get(Keyspace::Meta, &rows::installation_key())? else { return Ok(RULES_VERSION) };
        let installation =
            rows::decode_installation(&row).map_err(|error| damaged(Keyspace::Meta, "installation", &error))?;
        if installation.partitions != self.options.partitions {
            return Err(Error::Partitions { found: installation.partitions, wanted: self.options.partitions });
        }
        let mut checkpointed = None;
        for partition in &mut self.partitions {
            let Some(row) = self.state.get(Keyspace::Meta, &rows::partition_key(partition.id))? else { continue };
            let row = rows::decode_partition(&row).map_err(|error| damaged(Keyspace::Meta, "partition", &error))?;
            partition.applied = row.applied_lsn;
            partition.skipped = row.skipped;
            partition.stopped = row.poisoned.map(|(lsn, why)| Stopped { lsn, why });
            // The catalog itself is compiled from the control history, which is read next.
            checkpointed = checkpointed.max(Some(row.applied_lsn));
            self.now = self.now.max(row.now);
        }
        self.checkpointed = checkpointed.unwrap_or_default();
        Ok(installation.rules_version)
    }

    fn load_control(&mut self) -> Result<(), Error> {
        let state = Arc::clone(&self.state);
        self.control = read_control(state.as_ref())?;
        self.compile_catalogs()?;
        for at in 0..self.partitions.len() {
            let Some(row) = state.get(Keyspace::Meta, &rows::partition_key(self.partitions[at].id))? else { continue };
            let row = rows::decode_partition(&row).map_err(|error| damaged(Keyspace::Meta, "partition", &error))?;
            if let Some(catalog) = self.catalogs.get(&row.catalog_version) {
                self.partitions[at].catalog = Arc::clone(catalog);
            }
        }
        Ok(())
    }

    /// Applies the log behind the checkpoint again. Nothing leaves: what is owed is found in the outbox afterwards.
    /// Another thread reads and decodes ahead.
    fn replay(&mut self, rules_version: u32, recovered: &mut Recovered) -> Result<(), Error> {
        recovered.checkpointed = self.checkpointed;
        let applied: Vec<Lsn> = self.partitions.iter().map(|partition| partition.applied).collect();
        // A stopped partition applies nothing, so that it does not make everyone read from where it stands.
        let running = self.partitions.iter().filter(|partition| partition.stopped.is_none());
        let from = running.map(|partition| partition.applied).min().unwrap_or(self.checkpointed).next();
        let tail = Tail { entries: self.log.replay(from)?, applied, control_applied: self.checkpointed };
        std::thread::scope(|scope| {
            let (sender, batches) = crossbeam_channel::bounded(READ_AHEAD_BATCHES);
            // NOTE: it ends when the tail does or when nobody takes its batches any more.
            let reading = std::thread::Builder::new().name("replay".into());
            let spawned = reading.spawn_scoped(scope, move || tail.read_into(&sender));
            spawned.map_err(|error| Error::NoThread { why: error.to_string() })?;
            for batch in batches {
                self.replay_batch(batch?, rules_version, recovered)?;
            }
            Ok(())
        })
    }

    fn replay_batch(&mut self, batch: Vec<Read>, rules_version: u32, recovered: &mut Recovered) -> Result<(), Error> {
        // Control commands decide nothing about profiles: a key made offline is the same under any rules.
        let ruled = |read: &Read| read.partition != PartitionId::CONTROL;
        if rules_version != RULES_VERSION && batch.iter().any(ruled) && !self.options.accept_rules_change {
            return Err(Error::RulesChanged { found: rules_version, ours: RULES_VERSION });
        }
        let last_traced = self.log.last_traced();
        let mut traces = Vec::with_capacity(batch.len());
        for Read { lsn, partition, slot, stamp, command } in batch {
            self.now = self.now.max(stamp);
            let nobody: Option<&mut Released<T>> = None;
            let trace = self.apply_one(lsn, partition, slot, &command, stamp, nobody)?;
            traces.extend(trace.filter(|trace| trace.lsn > last_traced));
            recovered.records_replayed += 1;
        }
        if !traces.is_empty() {
            self.log.append_traces(&traces)?;
        }
        Ok(())
    }

    /// Finds every timer and every unsettled send: of the profiles in memory there, of all others in the store.
    fn scan_profiles(&mut self, recovered: &mut Recovered) -> Result<(), Error> {
        let state = Arc::clone(&self.state);
        for at in 0..self.partitions.len() {
            self.partitions[at].wheel = crate::wheel::Wheel::default();
            let in_memory: Vec<Arc<Profile>> =
                self.partitions[at].hot.iter().map(|(_, hot)| Arc::clone(&hot.profile)).collect();
            for profile in &in_memory {
                self.owe_profile(at, profile, recovered);
            }
            let in_memory: BTreeSet<ProfileId> = in_memory.iter().map(|profile| profile.id).collect();
            let prefix = rows::partition_prefix(self.partitions[at].id);
            let mut unsettled: Vec<ProfileId> = Vec::new();
            let wheel = &mut self.partitions[at].wheel;
            state.scan(Keyspace::Subjects, &prefix, None, &mut |key, value| {
                let header = codec::profile_header(value)
                    .map_err(|error| damaged_row(Keyspace::Subjects, &format!("{key:02x?}"), &error))?;
                recovered.profiles_scanned += 1;
                if in_memory.contains(&header.id) {
                    return Ok(Scan::Continue);
                }
                for timer in header.timers {
                    wheel.insert(header.slot, timer);
                    recovered.timers += 1;
                }
                if !header.outbox.is_empty() {
                    unsettled.push(header.id);
                }
                Ok(Scan::Continue)
            })?;
            for id in unsettled {
                let Some(hot) = self.partitions[at].find(state.as_ref(), id)? else { continue };
                let profile = Arc::clone(&hot.profile);
                self.owe_outbox(&profile, recovered);
            }
        }
        Ok(())
    }

    fn owe_profile(&mut self, at: usize, profile: &Profile, recovered: &mut Recovered) {
        for timer in profile.timers() {
            self.partitions[at].wheel.insert(profile.slot, timer);
            recovered.timers += 1;
        }
        self.owe_outbox(profile, recovered);
    }

    /// Takes up what the outbox holds: planned ones ask for their claim, raises are appended, and of what was handed
    /// off nobody knows what became (S5, trap T56).
    fn owe_outbox(&mut self, profile: &Profile, recovered: &mut Recovered) {
        for row in &profile.outbox {
            recovered.sends_unsettled += 1;
            let (id, effect) = (profile.id, row.effect);
            match (&row.kind, row.state) {
                (OutboxKind::Raise(raised), _) => {
                    let (journey, raised) = (row.journey.clone(), Arc::clone(raised));
                    self.own.push_back(Own::Raise { profile: id, effect, journey, raised });
                }
                (OutboxKind::Send(rendered), OutboxState::Planned) => {
                    self.dispatcher.plan(&rendered.channel, Waiting { profile: id, effect });
                }
                (OutboxKind::Send(rendered), OutboxState::Claimed) => {
                    let reason = Text::from("the process ended between hand-off and answer");
                    let settlement = if self.dispatcher.retries_unknown(&rendered.channel) {
                        Settlement::Deferred { reason, retry_after_ms: None }
                    } else {
                        Settlement::Unknown { reason }
                    };
                    self.own.push_back(Own::Settled { profile: id, effect, settlement });
                }
                (OutboxKind::Send(_), OutboxState::Deferred { .. } | OutboxState::Unknown) => {}
            }
        }
    }

    /// Completes a publish that some partitions had not heard of (design §2.9).
    fn finish_spread(&mut self) {
        let version = self.control.version();
        for partition in &self.partitions {
            if partition.catalog.version() < version {
                self.own.push_back(Own::CatalogChanged { partition: partition.id, version });
            }
        }
    }
}

/// The control state of the last checkpoint.
pub(crate) fn read_control<S: State + ?Sized>(state: &S) -> Result<Control, Error> {
    let (mut history, mut keys) = (Vec::new(), Vec::new());
    state.scan(Keyspace::Control, rows::PUBLISH_PREFIX, None, &mut |_, value| {
        history.push(rows::decode_publish(value).map_err(|error| damaged_row(Keyspace::Control, "history", &error))?);
        Ok(Scan::Continue)
    })?;
    state.scan(Keyspace::Control, rows::KEY_PREFIX, None, &mut |_, value| {
        keys.push(rows::decode_key(value).map_err(|error| damaged_row(Keyspace::Control, "key", &error))?);
        Ok(Scan::Continue)
    })?;
    let keys = keys.into_iter().map(|held| (held.key.id.clone(), held)).collect();
    Ok(Control { history, keys })
}

/// The store has everything up to here.
pub(crate) fn checkpointed<S: State + ?Sized>(state: &S) -> Result<Lsn, Error> {
    let Some(row) = state.get(Keyspace::Meta, &rows::installation_key())? else { return Ok(Lsn(0)) };
    let installation =
        rows::decode_installation(&row).map_err(|error| damaged(Keyspace::Meta, "installation", &error))?;
    let mut checkpointed = Lsn(0);
    for id in (0..installation.partitions).map(PartitionId) {
        let Some(row) = state.get(Keyspace::Meta, &rows::partition_key(id))? else { continue };
        let row = rows::decode_partition(&row).map_err(|error| damaged(Keyspace::Meta, "partition", &error))?;
        checkpointed = checkpointed.max(row.applied_lsn);
    }
    Ok(checkpointed)
}

/// Records read at once, and batches read ahead of what is applied.
const READ_BATCH_RECORDS: usize = 1_024;
const READ_AHEAD_BATCHES: usize = 8;

/// The log behind the checkpoint.
struct Tail {
    entries: Replay,
    /// What each partition has already.
    applied: Vec<Lsn>,
    control_applied: Lsn,
}

/// A record that is to be applied again.
struct Read {
    lsn: Lsn,
    partition: PartitionId,
    slot: KeySlot,
    stamp: Timestamp,
    command: Command,
}

impl Tail {
    fn read_into(self, batches: &Sender<Result<Vec<Read>, Error>>) {
        let Tail { entries, applied, control_applied } = self;
        let mut batch = Vec::with_capacity(READ_BATCH_RECORDS);
        for entry in entries {
            let read = entry.map_err(Error::from).and_then(|entry| {
                let has = match entry.partition {
                    PartitionId::CONTROL => control_applied,
                    PartitionId(partition) => applied[usize::from(partition)],
                };
                if entry.lsn <= has { Ok(None) } else { read(entry) }
            });
            match read {
                Ok(None) => continue,
                Ok(Some(read)) => batch.push(read),
                Err(error) => {
                    let before = std::mem::take(&mut batch);
                    // Nobody takes it when applying what was before went wrong already; that error is told then.
                    let _untold = batches.send(Ok(before)).and_then(|()| batches.send(Err(error)));
                    return;
                }
            }
            if batch.len() == READ_BATCH_RECORDS
                && batches.send(Ok(std::mem::replace(&mut batch, Vec::with_capacity(READ_BATCH_RECORDS)))).is_err()
            {
                return;
            }
        }
        if !batch.is_empty() {
            let _untold = batches.send(Ok(batch));
        }
    }
}

/// None: its profile was erased. That needs no replay: the checkpoint that holds the erasure was durable before the key
/// went.
fn read(entry: Entry) -> Result<Option<Read>, Error> {
    let Entry { lsn, partition, slot, stamp, body } = entry;
    let Body::Command(body) = body else { return Ok(None) };
    let command = codec::decode_command(&body).map_err(|error| Error::Record { lsn, why: error.to_string() })?;
    Ok(Some(Read { lsn, partition, slot, stamp, command }))
}

fn damaged(keyspace: Keyspace, key: &str, error: &codec::Error) -> Error {
    Error::State(damaged_row(keyspace, key, error))
}

fn damaged_row(keyspace: Keyspace, key: &str, error: &codec::Error) -> state::Error {
    state::Error::Damaged { keyspace, key: key.to_owned(), why: error.to_string() }
}
