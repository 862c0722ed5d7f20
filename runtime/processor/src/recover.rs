//! Opening a group: the last checkpoint, then the tail of the log, then what is still owed to the outside.

use crate::checkpoint::partition_row;
use crate::dedup::Dedup;
use crate::dispatcher::Waiting;
use crate::group::{Error, Group, Options, Own};
use crate::input::Released;
use crate::partition::{Stopped, Stored};
use crossbeam_channel::Sender;
use engine::command::{Command, ProfileCommand};
use engine::control::Control;
use engine::state::{OutboxKind, OutboxState};
use engine::{Profile, RULES_VERSION};
use model::send::Settlement;
use model::{EffectId, Finding, KeySlot, Lsn, PartitionId, ProfileId, Text, Timestamp};
use ports::log::{Body, Entry, Replay};
use ports::rows::{self, InstallationRow};
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
    /// What would refuse documents today that were published before: nothing is done about it but to tell.
    pub findings: Vec<Finding>,
}

/// What a process that opens its group again knows of its own hand-offs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Handed off, and not answered yet: their answers are still to come.
    pub under_way: BTreeSet<EffectId>,
    /// Claimed in a turn that failed, so that they were never handed off.
    pub withheld: BTreeSet<EffectId>,
}

impl<L: Log, S: State + ?Sized, T> Group<L, S, T> {
    /// Opens the group over its log and store, in a process that has handed off nothing.
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
        Self::reopen(log, state, secret, signer, options, &Known::default())
    }

    /// Opens the group after a failure, in a process that may have hand-offs under way.
    ///
    /// # Errors
    /// See [`Error`]; each says what an operator can do.
    pub fn reopen(
        log: L,
        state: Arc<S>,
        secret: [u8; 32],
        signer: Signer,
        options: Options,
        known: &Known,
    ) -> Result<(Self, Recovered), Error> {
        let mut group = Group::empty(log, state, secret, signer, options);
        let mut recovered = Recovered::default();
        let installation = group.load_meta()?;
        group.load_control()?;
        group.replay(installation.as_ref(), &mut recovered)?;
        group.scan_profiles(known, &mut recovered)?;
        group.finish_spread();
        group.finish_stops();
        group.save_opening(installation.as_ref())?;
        recovered.findings = std::mem::take(&mut group.catalog_findings);
        Ok((group, recovered))
    }

    /// Reads the rows of installation and partitions. None at the first start.
    fn load_meta(&mut self) -> Result<Option<InstallationRow>, Error> {
        let Some(row) = self.state.get(Keyspace::Meta, &rows::installation_key())? else { return Ok(None) };
        let installation = rows::decode_installation(&row)
            .map_err(|error| state::Error::damaged(Keyspace::Meta, "installation", &error))?;
        if installation.partitions != self.options.partitions {
            return Err(Error::Partitions { found: installation.partitions, wanted: self.options.partitions });
        }
        for partition in &mut self.partitions {
            let Some(row) = self.state.get(Keyspace::Meta, &rows::partition_key(partition.id))? else { continue };
            let row = rows::decode_partition(&row)
                .map_err(|error| state::Error::damaged(Keyspace::Meta, "partition", &error))?;
            let rows::PartitionRow { applied_lsn, now, catalog_version, poisoned, skipped, dedup_hours } = row;
            partition.applied = applied_lsn;
            partition.dedup = Dedup::of_rows(&dedup_hours);
            // The catalog itself is compiled from the control history, which is read next.
            partition.stored = Stored { applied: applied_lsn, now, catalog: catalog_version, dedup_hours };
            partition.skipped = skipped;
            partition.stopped = poisoned.map(|(lsn, why)| Stopped { lsn, why });
            self.now = self.now.max(now);
        }
        self.checkpointed = installation.checkpointed;
        let log = self.log.last_lsn();
        if log < self.checkpointed {
            return Err(Error::LogTooShort { log, store: self.checkpointed });
        }
        Ok(Some(installation))
    }

    /// Writes down what must be known before the first record is appended: how many partitions there are, and the
    /// rules that what comes is applied under. Partitions that were found to be damaged stop for good.
    fn save_opening(&mut self, found: Option<&InstallationRow>) -> Result<(), Error> {
        let installation = InstallationRow {
            partitions: self.options.partitions,
            rules_version: RULES_VERSION,
            checkpointed: self.checkpointed,
        };
        let mut rows = Vec::new();
        if found != Some(&installation) {
            rows.push(rows::installation_row(&installation));
        }
        let stopped = self.partitions.iter().filter(|partition| partition.stopped.is_some());
        rows.extend(
            stopped.map(|partition| rows::partition_row(partition.id, &partition_row(partition, &partition.stored))),
        );
        if rows.is_empty() { Ok(()) } else { Ok(self.state.write(rows)?) }
    }

    fn load_control(&mut self) -> Result<(), Error> {
        self.control = Arc::new(read_control(self.state.as_ref())?);
        self.compile_catalogs();
        for partition in &mut self.partitions {
            if let Some(catalog) = self.catalogs.get(&partition.stored.catalog) {
                partition.catalog = Arc::clone(catalog);
            }
        }
        Ok(())
    }

    /// Applies the log behind the checkpoint again. Nothing leaves: what is owed is found in the outbox afterwards.
    /// Another thread reads and decodes ahead.
    fn replay(&mut self, installation: Option<&InstallationRow>, recovered: &mut Recovered) -> Result<(), Error> {
        recovered.checkpointed = self.checkpointed;
        // A stopped partition applies nothing, so that it does not make everyone read from where it stands.
        let running = self.partitions.iter().filter(|partition| partition.stopped.is_none());
        let from = running.map(|partition| partition.applied).min().unwrap_or(self.checkpointed).next();
        let other_rules = installation.map(|row| row.rules_version).filter(|found| *found != RULES_VERSION);
        let tail = Tail {
            entries: self.log.replay(from)?,
            from,
            control_applied: self.checkpointed,
            partitions: self.partitions.iter().map(|held| (held.applied, held.skipped.clone())).collect(),
        };
        let mut claimed: BTreeSet<EffectId> = BTreeSet::new();
        std::thread::scope(|scope| {
            let (sender, batches) = crossbeam_channel::bounded(READ_AHEAD_BATCHES);
            // NOTE: it ends when the tail does or when nobody takes its batches any more.
            let reading = std::thread::Builder::new().name("replay".into());
            let spawned = reading.spawn_scoped(scope, move || tail.read_into(&sender));
            spawned.map_err(|error| Error::NoThread { why: error.to_string() })?;
            for batch in batches {
                let batch = batch?;
                if let Some(found) = other_rules {
                    self.accept_other_rules(found, &batch, &mut claimed)?;
                }
                self.replay_batch(batch, recovered)?;
            }
            Ok::<(), Error>(())
        })?;
        self.dispatcher.hold_back(claimed);
        Ok(())
    }

    /// What was claimed under other rules may have gone out, whatever these rules make of it: noted, so that it is not
    /// handed off anew. Control commands decide nothing about profiles: a key made offline is the same under any rules.
    fn accept_other_rules(&self, found: u32, batch: &[Read], claimed: &mut BTreeSet<EffectId>) -> Result<(), Error> {
        let is_ruled = batch.iter().any(|read| read.partition != PartitionId::CONTROL);
        if is_ruled && !self.options.accept_rules_change {
            return Err(Error::RulesChanged { found, ours: RULES_VERSION });
        }
        batch.iter().filter_map(|read| read.command.as_ref().ok()).for_each(|command| note_claim(claimed, command));
        Ok(())
    }

    fn replay_batch(&mut self, batch: Vec<Read>, recovered: &mut Recovered) -> Result<(), Error> {
        let last_traced = self.log.last_traced();
        for Read { lsn, partition, slot, stamp, command } in batch {
            let command = match command {
                Ok(command) => command,
                Err(why) => {
                    // A record that cannot be read stops its partition alone.
                    let partition = &mut self.partitions[usize::from(partition.0)];
                    if partition.stopped.is_none() {
                        partition.stop(lsn, why);
                    }
                    continue;
                }
            };
            self.now = self.now.max(stamp);
            let nobody: Option<&mut Released<T>> = None;
            let trace = self.apply_one(lsn, partition, slot, &command, stamp, nobody)?;
            self.owed_traces.extend(trace.filter(|trace| trace.lsn > last_traced));
            recovered.records_replayed += 1;
        }
        self.write_traces();
        Ok(())
    }

    /// Finds every timer and every unsettled send: of the profiles in memory there, of all others in the store.
    fn scan_profiles(&mut self, known: &Known, recovered: &mut Recovered) -> Result<(), Error> {
        let state = Arc::clone(&self.state);
        for at in 0..self.partitions.len() {
            if self.partitions[at].stopped.is_some() {
                continue;
            }
            if let Err(error) = self.scan_partition(at, state.as_ref(), known, recovered) {
                self.partitions[at].stop_if_damaged(error)?;
            }
        }
        Ok(())
    }

    fn scan_partition(
        &mut self,
        at: usize,
        state: &S,
        known: &Known,
        recovered: &mut Recovered,
    ) -> Result<(), state::Error> {
        self.partitions[at].wheel = crate::wheel::Wheel::default();
        let in_memory: Vec<Arc<Profile>> =
            self.partitions[at].hot.iter().map(|(_, hot)| Arc::clone(&hot.profile)).collect();
        for profile in &in_memory {
            self.owe_profile(at, profile, known, recovered);
        }
        let in_memory: BTreeSet<ProfileId> = in_memory.iter().map(|profile| profile.id).collect();
        let prefix = rows::profiles_prefix(self.partitions[at].id);
        let mut unsettled: Vec<ProfileId> = Vec::new();
        let wheel = &mut self.partitions[at].wheel;
        state.scan(Keyspace::Subjects, &prefix, None, &mut |key, value| {
            let header = codec::profile_header(value)
                .map_err(|error| state::Error::damaged(Keyspace::Subjects, format!("{key:02x?}"), &error))?;
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
            let Some(hot) = self.partitions[at].find(state, id)? else { continue };
            let profile = Arc::clone(&hot.profile);
            self.owe_outbox(&profile, known, recovered);
        }
        Ok(())
    }

    fn owe_profile(&mut self, at: usize, profile: &Profile, known: &Known, recovered: &mut Recovered) {
        for timer in profile.timers() {
            self.partitions[at].wheel.insert(profile.slot, timer);
            recovered.timers += 1;
        }
        self.owe_outbox(profile, known, recovered);
    }

    /// Takes up what the outbox holds: planned ones ask for their claim, raises are appended. Of what was handed off
    /// this process knows whether the answer is still to come; of what another did, nobody does (S5, trap T56).
    fn owe_outbox(&mut self, profile: &Profile, known: &Known, recovered: &mut Recovered) {
        for row in &profile.outbox {
            recovered.sends_unsettled += 1;
            let (id, effect) = (profile.id, row.effect);
            let waiting = Waiting { profile: id, slot: profile.slot, effect };
            match (&row.kind, row.state) {
                (OutboxKind::Raise(raised), _) => {
                    let (journey, raised) = (row.journey.clone(), Arc::clone(raised));
                    self.own.push_back(Own::Raise { profile: id, effect, journey, raised });
                }
                (OutboxKind::Send(rendered), OutboxState::Planned) => {
                    self.dispatcher.plan(&rendered.channel, waiting);
                }
                (OutboxKind::Send(rendered), OutboxState::Claimed) if known.under_way.contains(&effect) => {
                    self.dispatcher.resume(&rendered.channel, waiting);
                }
                (OutboxKind::Send(rendered), OutboxState::Claimed) => {
                    let settlement = if known.withheld.contains(&effect) {
                        let reason = Text::from("storage failed before it was handed off");
                        Settlement::Deferred { reason, retry_after_ms: None }
                    } else {
                        self.lost_answer(&rendered.channel)
                    };
                    self.own.push_back(Own::Settled { profile: id, effect, settlement });
                }
                (OutboxKind::Send(_), OutboxState::Deferred { .. } | OutboxState::Unknown) => {}
            }
        }
    }

    fn lost_answer(&self, channel: &str) -> Settlement {
        let reason = Text::from("the process ended between hand-off and answer");
        if self.dispatcher.retries_unknown(channel) {
            Settlement::Deferred { reason, retry_after_ms: None }
        } else {
            Settlement::Unknown { reason }
        }
    }

    /// Completes a publish that some partitions had not heard of (design §2.9).
    fn finish_spread(&mut self) {
        let version = self.control.version();
        // NOTE: a stopped one is told when it runs again.
        for partition in self.partitions.iter().filter(|partition| partition.stopped.is_none()) {
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
        history.push(
            rows::decode_publish(value).map_err(|error| state::Error::damaged(Keyspace::Control, "history", &error))?,
        );
        Ok(Scan::Continue)
    })?;
    state.scan(Keyspace::Control, rows::KEY_PREFIX, None, &mut |_, value| {
        keys.push(rows::decode_key(value).map_err(|error| state::Error::damaged(Keyspace::Control, "key", &error))?);
        Ok(Scan::Continue)
    })?;
    let keys = keys.into_iter().map(|held| (held.key.id.clone(), held)).collect();
    Ok(Control { history, keys })
}

/// The store has everything up to here.
pub(crate) fn checkpointed<S: State + ?Sized>(state: &S) -> Result<Lsn, Error> {
    let Some(row) = state.get(Keyspace::Meta, &rows::installation_key())? else { return Ok(Lsn(0)) };
    let installation = rows::decode_installation(&row);
    Ok(installation.map_err(|error| state::Error::damaged(Keyspace::Meta, "installation", &error))?.checkpointed)
}

/// Records read at once, and batches read ahead of what is applied.
const READ_BATCH_RECORDS: usize = 1_024;
const READ_AHEAD_BATCHES: usize = 8;

/// The log behind the checkpoint.
struct Tail {
    entries: Replay,
    /// Where it must begin, if it has anything.
    from: Lsn,
    control_applied: Lsn,
    /// What each partition has already, and which records it passes over.
    partitions: Vec<(Lsn, Vec<Lsn>)>,
}

/// A record that is to be applied again.
struct Read {
    lsn: Lsn,
    partition: PartitionId,
    slot: KeySlot,
    stamp: Timestamp,
    /// Or why it cannot be read.
    command: Result<Command, Text>,
}

impl Tail {
    fn read_into(mut self, batches: &Sender<Result<Vec<Read>, Error>>) {
        let mut batch = Vec::with_capacity(READ_BATCH_RECORDS);
        let mut expected = Some(self.from);
        while let Some(entry) = self.entries.next() {
            let read = entry.map_err(Error::from).and_then(|entry| {
                match expected.take().filter(|wanted| entry.lsn > *wanted) {
                    Some(wanted) => Err(Error::LogGap { wanted, found: entry.lsn }),
                    None => self.read(entry),
                }
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

    /// None: the store has it, it is passed over, or its profile was erased. That needs no replay: the checkpoint that
    /// holds the erasure was durable before the key went.
    fn read(&self, entry: Entry) -> Result<Option<Read>, Error> {
        let Entry { lsn, partition, slot, stamp, body } = entry;
        let Body::Command(body) = body else { return Ok(None) };
        let unreadable = |error: &codec::Error| Error::Record { lsn, why: error.to_string() };
        let command = if partition == PartitionId::CONTROL {
            if lsn <= self.control_applied {
                return Ok(None);
            }
            // Without it nothing behind it means anything, in any partition.
            Ok(codec::decode_command(&body).map_err(|error| unreadable(&error))?)
        } else {
            let Some((applied, skipped)) = self.partitions.get(usize::from(partition.0)) else {
                let wanted = u16::try_from(self.partitions.len()).unwrap_or(u16::MAX);
                return Err(Error::Partitions { found: partition.0.saturating_add(1), wanted });
            };
            if lsn <= *applied || skipped.contains(&lsn) {
                return Ok(None);
            }
            codec::decode_command(&body).map_err(|error| Text::from(unreadable(&error).to_string()))
        };
        Ok(Some(Read { lsn, partition, slot, stamp, command }))
    }
}

/// Keeps which effects may have gone out: asked for with no veto, and not known to be owed again since.
fn note_claim(claimed: &mut BTreeSet<EffectId>, command: &Command) {
    let Command::Profile { command, .. } = command else { return };
    match command {
        ProfileCommand::Claim { effect, veto: None } => {
            claimed.insert(*effect);
        }
        ProfileCommand::Settled { effect, settlement: Settlement::Deferred { .. } } => {
            claimed.remove(effect);
        }
        ProfileCommand::Claim { .. }
        | ProfileCommand::Settled { .. }
        | ProfileCommand::Event(_)
        | ProfileCommand::Update(_)
        | ProfileCommand::Interaction(_)
        | ProfileCommand::TimerFired { .. }
        | ProfileCommand::JourneyStopped { .. } => {}
    }
}
