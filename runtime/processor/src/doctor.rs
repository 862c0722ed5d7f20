//! The way out for a poisoned partition (design §2.5), offline: nobody else has the store open.

use model::{Lsn, PartitionId};
use ports::State;
use ports::rows::{self, PartitionRow};
use ports::state::{self, Keyspace};

use crate::partition::Stopped;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error("there is no partition {id}; there are {partitions}, from 0 on")]
    NoPartition { id: PartitionId, partitions: u16 },
    #[error("partition {id} is not stopped")]
    Running { id: PartitionId },
    #[error("partition {id} is stopped at record {stopped_at}, not at {asked}; nothing was changed")]
    OtherRecord { id: PartitionId, stopped_at: Lsn, asked: Lsn },
    #[error(
        "partition {id} is stopped by a row of the store, not by a record, so that nothing can be skipped: {why}. Move \
         the store away if the log reaches back to record 1, else restore log and store from one backup"
    )]
    Row { id: PartitionId, why: String },
}

/// The partitions that are stopped, with the record that stopped each and why.
///
/// # Errors
/// Those of the store.
pub fn list(state: &dyn State) -> Result<Vec<(PartitionId, Stopped)>, Error> {
    let mut stopped = Vec::new();
    for id in (0..partitions(state)?).map(PartitionId) {
        let row = partition(state, id)?;
        stopped.extend(row.and_then(|row| row.poisoned).map(|(lsn, why)| (id, Stopped { lsn, why })));
    }
    Ok(stopped)
}

/// Says that the record which stopped the partition is to be passed over: the next start replays from the partition's
/// last checkpoint, without that record, and it runs again. What the record said is lost; it stays in the log.
///
/// # Errors
/// When the partition is not stopped at `lsn`; nothing is changed then.
pub fn skip(state: &dyn State, id: PartitionId, lsn: Lsn) -> Result<Stopped, Error> {
    let partitions = partitions(state)?;
    if id.0 >= partitions {
        return Err(Error::NoPartition { id, partitions });
    }
    let Some(mut row) = partition(state, id)? else { return Err(Error::Running { id }) };
    let Some((stopped_at, why)) = row.poisoned.take() else { return Err(Error::Running { id }) };
    if stopped_at == Lsn(0) {
        return Err(Error::Row { id, why: why.to_string() });
    }
    if stopped_at != lsn {
        return Err(Error::OtherRecord { id, stopped_at, asked: lsn });
    }
    row.skipped.push(lsn);
    state.write(vec![rows::partition_row(id, &row)])?;
    Ok(Stopped { lsn, why })
}

/// How many there are; 0 when nothing was ever started here.
fn partitions(state: &dyn State) -> Result<u16, Error> {
    let Some(row) = state.get(Keyspace::Meta, &rows::installation_key())? else { return Ok(0) };
    Ok(rows::decode_installation(&row)
        .map_err(|error| state::Error::damaged(Keyspace::Meta, "installation", &error))?
        .partitions)
}

fn partition(state: &dyn State, id: PartitionId) -> Result<Option<PartitionRow>, Error> {
    let Some(row) = state.get(Keyspace::Meta, &rows::partition_key(id))? else { return Ok(None) };
    Ok(Some(rows::decode_partition(&row).map_err(|error| state::Error::damaged(Keyspace::Meta, "partition", &error))?))
}
