//! Checkpoints: a consistent cut at one lsn, copied on write, written by another thread as one atomic batch.
//!
//! Between two turns everything applied is durable in the log. A cut takes the changed profiles as they are then (a
//! later change copies them first) and whatever else changed; encoding and writing need the group no more. When the
//! batch is durable the log is told that recovery begins behind it.

use crate::directory::{IdentityHash, Linked};
use crate::group::{Error, Group};
use crate::hot::{Indexed, indexed};
use crate::partition::{Partition, Stored};
use catalog::Catalog;
use engine::control::{Changed, Control};
use engine::transition::Ended;
use engine::{Profile, RULES_VERSION};
use model::{EffectId, KeySlot, Lsn, PartitionId, ProfileId, Text, Timestamp};
use ports::log::TraceSync;
use ports::rows::{self, BookRow, InstallationRow, PartitionRow, SendRow};
use ports::{Keyspace, Log, Row, State, codec, state};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What changed up to one lsn. Send it to a thread that may wait for the disk.
#[derive(Debug)]
pub struct Cut {
    /// Everything up to here is in it.
    pub lsn: Lsn,
    installation: InstallationRow,
    partitions: Vec<PartitionCut>,
    control: Arc<Control>,
    control_changes: Vec<Changed>,
    traces: TraceSync,
}

#[derive(Debug)]
struct PartitionCut {
    id: PartitionId,
    row: PartitionRow,
    catalog: Arc<Catalog>,
    profiles: Vec<(Arc<Profile>, Vec<Indexed>)>,
    links: Arc<Vec<(IdentityHash, Linked)>>,
    sends: Arc<BTreeMap<EffectId, SendRow>>,
    /// Those of the cut before, which the store has: let go by the thread that writes, not by the one that has events
    /// to answer.
    _sends_before: Arc<BTreeMap<EffectId, SendRow>>,
    ended: Vec<(Ended, ProfileId, KeySlot)>,
    books: BTreeMap<(Text, u32), BookRow>,
}

/// The cut that is being written.
#[derive(Debug)]
pub(crate) struct InFlight {
    lsn: Lsn,
}

impl<L: Log, S: State + ?Sized, T> Group<L, S, T> {
    /// Begins a checkpoint if something changed, none is under way and no traces are owed.
    pub fn begin_checkpoint(&mut self) -> Option<Cut> {
        if self.checkpoint.is_some() || self.last == self.checkpointed {
            return None;
        }
        self.write_traces();
        if !self.owed_traces.is_empty() {
            return None;
        }
        let lsn = self.last;
        self.checkpoint = Some(InFlight { lsn });
        let now = self.now;
        let partitions = self.partitions.iter_mut().filter(|partition| partition.stopped.is_none());
        let running = partitions.map(|partition| PartitionCut::take(partition, lsn, now)).collect::<Vec<_>>();
        let stopped = self.partitions.iter().filter(|partition| partition.stopped.is_some());
        let all = running.into_iter().chain(stopped.map(PartitionCut::of_stopped)).collect();
        Some(Cut {
            lsn,
            installation: InstallationRow {
                partitions: self.options.partitions,
                rules_version: RULES_VERSION,
                checkpointed: lsn,
            },
            partitions: all,
            control: Arc::clone(&self.control),
            control_changes: std::mem::take(&mut self.control_changes),
            traces: self.log.sync_traces(),
        })
    }

    /// Ends the checkpoint that was begun, once its cut is durable in the store. After a failed write the group must
    /// be opened anew instead.
    pub fn finish_checkpoint(&mut self) {
        let Some(InFlight { lsn }) = self.checkpoint.take() else { return };
        self.checkpointed = lsn;
        self.counters.checkpoints += 1;
        for partition in &mut self.partitions {
            if let Some(cut) = partition.in_cut.take() {
                partition.stored = cut;
            }
            partition.directory.finish_checkpoint();
            partition.hot.finish_checkpoint();
        }
        let stopped = self.partitions.iter().filter(|partition| partition.stopped.is_some());
        // A stopped partition still needs the log from where the store has it.
        let needed = stopped.map(|partition| partition.stored.applied).chain([lsn]).min().unwrap_or(lsn);
        self.log.release(needed.next());
    }
}

impl PartitionCut {
    fn take(partition: &mut Partition, lsn: Lsn, now: Timestamp) -> Self {
        let profiles = partition.hot.cut();
        partition.applied = lsn;
        let catalog = partition.catalog.version();
        partition.in_cut = Some(Stored { applied: lsn, now, catalog, dedup_hours: partition.dedup.rows() });
        partition.skipped.retain(|skipped| *skipped > lsn);
        let sends = Arc::new(std::mem::take(&mut partition.sends));
        let sends_before = std::mem::replace(&mut partition.sends_in_checkpoint, sends);
        let links = partition.directory.cut();
        PartitionCut {
            id: partition.id,
            row: partition_row(partition, partition.in_cut.as_ref().unwrap_or(&partition.stored)),
            catalog: Arc::clone(&partition.catalog),
            profiles,
            links,
            sends: Arc::clone(&partition.sends_in_checkpoint),
            _sends_before: sends_before,
            ended: std::mem::take(&mut partition.ended),
            books: std::mem::take(&mut partition.books.rows),
        }
    }

    /// Of a stopped partition nothing is written but that it is: its memory is not to be trusted, and what the store
    /// has of it is as of the last cut before.
    fn of_stopped(partition: &Partition) -> Self {
        PartitionCut {
            id: partition.id,
            row: partition_row(partition, &partition.stored),
            catalog: Arc::clone(&partition.catalog),
            profiles: Vec::new(),
            links: Arc::default(),
            sends: Arc::default(),
            _sends_before: Arc::default(),
            ended: Vec::new(),
            books: BTreeMap::new(),
        }
    }
}

pub(crate) fn partition_row(partition: &Partition, stored: &Stored) -> PartitionRow {
    let Stored { applied, now, catalog, dedup_hours } = stored;
    let stopped = partition.stopped.as_ref();
    PartitionRow {
        applied_lsn: *applied,
        now: *now,
        catalog_version: *catalog,
        poisoned: stopped.map(|stopped| (stopped.lsn, stopped.why.clone())),
        skipped: partition.skipped.clone(),
        dedup_hours: dedup_hours.clone(),
    }
}

impl Cut {
    /// Writes the cut; durable when it returns. The traces of what it holds are made durable before it, because no
    /// replay will make them again.
    ///
    /// # Errors
    /// Those of log and store. The group must be opened anew then.
    pub fn write<S: State + ?Sized>(&self, state: &S) -> Result<(), Error> {
        self.traces.run()?;
        let mut rows = vec![rows::installation_row(&self.installation)];
        for partition in &self.partitions {
            partition.rows(state, &mut rows)?;
        }
        for changed in &self.control_changes {
            rows.extend(self.control_row(changed));
        }
        Ok(state.write(rows)?)
    }

    fn control_row(&self, changed: &Changed) -> Option<Row> {
        match changed {
            Changed::Catalog(version) => {
                let publish = self.control.history.iter().find(|publish| publish.version == *version)?;
                Some(rows::publish_row(publish))
            }
            Changed::Key(id) => Some(rows::key_row(self.control.keys.get(id)?)),
            Changed::Nothing => None,
        }
    }
}

impl PartitionCut {
    fn rows<S: State + ?Sized>(&self, state: &S, rows: &mut Vec<Row>) -> Result<(), state::Error> {
        let PartitionCut { id, row, catalog, profiles, links, sends, _sends_before: _, ended, books } = self;
        rows.push(rows::partition_row(*id, row));
        for (profile, before) in profiles {
            let mut value = Vec::with_capacity(256);
            codec::encode_profile(profile, &mut value);
            let key = rows::profile_key(*id, profile.id).to_vec();
            rows.push(Row { keyspace: Keyspace::Subjects, key, value: Some(value) });
            index_rows(catalog, profile, before, rows);
        }
        for (identity, Linked { profile, slot }) in links.iter() {
            rows.push(rows::identity_row(*identity, *profile, *slot));
        }
        for send in sends.values() {
            rows.extend(rows::send_rows(send));
        }
        for (ended, profile, slot) in ended {
            rows.push(rows::ended_row(ended, *profile, *slot));
        }
        for ((trigger, minute), counted) in books {
            let key = rows::book_key(trigger, *minute, *id);
            let mut total = match state.get(Keyspace::Books, &key)? {
                Some(row) => {
                    rows::decode_book(&row).map_err(|error| state::Error::damaged(Keyspace::Books, trigger, &error))?
                }
                None => BookRow::default(),
            };
            total.add(counted);
            rows.push(Row { keyspace: Keyspace::Books, key, value: Some(rows::encode_book(&total)) });
        }
        Ok(())
    }
}

/// Replaces the rows of the list index: those of the last checkpoint go where they differ, those of now come.
fn index_rows(catalog: &Catalog, profile: &Profile, before: &[Indexed], rows: &mut Vec<Row>) {
    let step_of = |journey: &str, version: u32, step: catalog::StepIndex| -> Text {
        let version = catalog.journey_version(journey, version);
        version.map_or_else(Text::default, |version| version.step(step).id.as_text().clone())
    };
    let now = indexed(profile);
    for old in before.iter().filter(|old| !now.contains(old)) {
        let step = step_of(&old.journey, old.version, old.step);
        let key = rows::participant_key(&old.journey, rows::Place::inside(old.parked), &step, old.participant);
        rows.push(Row { keyspace: Keyspace::Participants, key, value: None });
    }
    for participant in &profile.participants {
        let step = step_of(&participant.journey, participant.version, participant.step);
        rows.push(rows::inside_row(profile, participant, &step));
    }
}
