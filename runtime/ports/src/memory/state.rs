//! The state store in memory.

use super::{Disk, Fault, Place, planned_failure};
use crate::state::{Error, Keyspace, Row, Scan, State, Visit};

pub struct MemoryState {
    disk: Disk,
}

impl Disk {
    pub fn open_state(&self) -> MemoryState {
        MemoryState { disk: self.clone() }
    }
}

impl MemoryState {
    /// Fails if the faults say so; reading does nothing that could be half done.
    fn check(&self, place: Place, doing: &'static str) -> Result<(), Error> {
        match self.disk.fault(place) {
            Fault::None => Ok(()),
            Fault::FailBefore | Fault::FailAfter | Fault::Full => Err(Error::Io { doing, why: planned_failure() }),
        }
    }
}

impl State for MemoryState {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.check(Place::StateGet, "a read")?;
        Ok(self.disk.content().rows.get(&(keyspace, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        self.check(Place::StateScan, "a scan")?;
        let rows: Vec<(Vec<u8>, Vec<u8>)> = {
            let content = self.disk.content();
            let from = after.map_or(prefix, |after| after.max(prefix)).to_vec();
            let from = content.rows.range((keyspace, from)..);
            let within = from.take_while(|((held, key), _)| *held == keyspace && key.starts_with(prefix));
            within.map(|((_, key), value)| (key.clone(), value.clone())).collect()
        };
        for (key, value) in rows {
            if after.is_some_and(|after| key.as_slice() <= after) {
                continue;
            }
            if visit(&key, &value)? == Scan::Stop {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, rows: Vec<Row>) -> Result<(), Error> {
        let fault = self.disk.fault(Place::StateWrite);
        if matches!(fault, Fault::None | Fault::FailAfter) {
            let mut content = self.disk.content();
            for Row { keyspace, key, value } in rows {
                match value {
                    Some(value) => content.rows.insert((keyspace, key), value),
                    None => content.rows.remove(&(keyspace, key)),
                };
            }
        }
        match fault {
            Fault::None => Ok(()),
            Fault::FailBefore | Fault::FailAfter | Fault::Full => {
                Err(Error::Io { doing: "a write", why: planned_failure() })
            }
        }
    }
}
