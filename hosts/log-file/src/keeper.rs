//! A thread that keeps house beside the hot path: allocates the next segment, indexes closed ones, removes old ones.
//!
//! Nothing here decides whether a record is durable. What fails is told and tried again later: a segment that is not
//! there yet is allocated by the writer, an index that is missing is made when it is first needed.

use crate::disk;
use crate::segment::{Segment, Segments};
use crate::{Options, Retention};
use model::{Lsn, Timestamp};
use ports::log::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub(crate) enum Job {
    /// Allocate a segment for the log if there is none ahead.
    Prepare,
    /// The segment gets no more records.
    Close(Arc<Segment>),
    /// Remove what is past its retention and below `released`.
    Retain { released: Lsn, now: Timestamp },
    /// Say when all before it is done.
    #[cfg(test)]
    Settle(Sender<()>),
}

/// A file that is allocated and not yet a segment.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub path: PathBuf,
    pub file: File,
    pub bytes: u64,
}

/// At most one, made by the keeper and taken by the writer.
pub(crate) type PreparedPlace = Arc<Mutex<Option<Prepared>>>;

pub(crate) struct Keeper {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works on.
pub(crate) struct House {
    pub options: Options,
    pub log: Arc<Segments>,
    pub traces: Arc<Segments>,
    pub prepared: PreparedPlace,
}

impl Keeper {
    pub fn start(house: House) -> std::io::Result<Self> {
        let (jobs, received) = channel();
        let work = move || {
            for job in received {
                if let Err(error) = house.work(job) {
                    tracing::warn!(%error, "keeping the log in order failed and will be tried again");
                }
            }
        };
        let thread = std::thread::Builder::new().name("log-keeper".to_owned()).spawn(work)?;
        Ok(Keeper { jobs: Some(jobs), thread: Some(thread) })
    }

    pub fn ask(&self, job: Job) {
        let is_sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if !is_sent {
            tracing::error!("the thread that keeps the log in order has ended");
        }
    }

    #[cfg(test)]
    pub fn settle(&self) {
        let (done, settled) = channel();
        self.ask(Job::Settle(done));
        settled.recv().unwrap();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that keeps the log in order panicked");
        }
    }
}

impl House {
    fn work(&self, job: Job) -> Result<(), Error> {
        match job {
            Job::Prepare => self.prepare(),
            Job::Close(segment) => segment.close(),
            Job::Retain { released, now } => self.retain(released, now),
            #[cfg(test)]
            Job::Settle(done) => {
                done.send(()).unwrap();
                Ok(())
            }
        }
    }

    /// NOTE: zeros are written, not only reserved: a sync into them takes half the time, as the file system has
    /// nothing of its own to write. They are synced a few MiB at a time, so that a commit never waits behind them all.
    fn prepare(&self) -> Result<(), Error> {
        const SYNC_CHUNKS: u32 = 4;
        let Options { log_dir, segment_bytes, reserve_bytes, .. } = &self.options;
        if self.prepared.lock().unwrap_or_else(PoisonError::into_inner).is_some()
            || !has_room(log_dir, *segment_bytes, *reserve_bytes)
        {
            return Ok(());
        }
        let path = log_dir.join("prepared");
        disk::remove(&path)?;
        let mut chunks = 0;
        let mut write = || {
            let file = disk::create(&path)?;
            disk::allocate(&file, 0, *segment_bytes)?;
            disk::write_zeros(&file, 0, *segment_bytes, |file| {
                chunks += 1;
                if chunks % SYNC_CHUNKS == 0 { file.sync_data() } else { Ok(()) }
            })?;
            file.sync_all()?;
            Ok(file)
        };
        let file = write().map_err(disk::failed(&path, "allocating the next segment"))?;
        let prepared = Prepared { path, file, bytes: *segment_bytes };
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some(prepared);
        Ok(())
    }

    fn retain(&self, released: Lsn, now: Timestamp) -> Result<(), Error> {
        let (log, traces) = (self.log.all(), self.traces.all());
        let kept = kept(&measure(&log), &measure(&traces), released, now, self.options.retention);
        // The oldest first, so that a crash in between leaves no hole.
        let gone =
            self.log.take_oldest(kept.log_removed).into_iter().chain(self.traces.take_oldest(kept.traces_removed));
        for segment in gone {
            tracing::info!(segment = %segment.path.display(), "removed a segment of the log past its retention");
            segment.remove()?;
        }
        Ok(())
    }
}

fn has_room(directory: &Path, needed_bytes: u64, reserve_bytes: u64) -> bool {
    disk::free_bytes(directory).is_ok_and(|free_bytes| free_bytes >= reserve_bytes.saturating_add(needed_bytes))
}

/// What retention must know of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    first_lsn: Lsn,
    first_stamp: Timestamp,
    bytes: u64,
}

fn measure(segments: &[Arc<Segment>]) -> Vec<Measured> {
    let measured = segments.iter().map(|segment| Measured {
        first_lsn: segment.first_lsn,
        first_stamp: segment.first_stamp,
        bytes: segment.bytes(),
    });
    measured.collect()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Removed {
    log_removed: usize,
    traces_removed: usize,
}

/// How many of the oldest segments go. The last of each stream stays: it is being written, and it says where lsn and
/// frames go on.
fn kept(log: &[Measured], traces: &[Measured], released: Lsn, now: Timestamp, retention: Retention) -> Removed {
    let age_ms = i64::try_from(retention.age.as_millis()).unwrap_or(i64::MAX);
    let mut bytes = log.iter().chain(traces).map(|segment| segment.bytes).sum::<u64>();
    let mut removed = Removed::default();
    for pair in log.windows(2) {
        let [segment, next] = pair else { break };
        let is_old = now.ms_since(next.first_stamp) > age_ms;
        if next.first_lsn > released || !(is_old || bytes > retention.bytes) {
            break;
        }
        removed.log_removed += 1;
        bytes -= segment.bytes;
        // Traces go with the records they explain.
        while let Some([trace, later]) = traces.get(removed.traces_removed..removed.traces_removed + 2) {
            if later.first_lsn > next.first_lsn {
                break;
            }
            removed.traces_removed += 1;
            bytes -= trace.bytes;
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RETENTION: Retention = Retention { bytes: 1000, age: Duration::from_millis(100) };

    fn segments(of: &[(u64, i64, u64)]) -> Vec<Measured> {
        let measured = of.iter().map(|(lsn, ms, bytes)| Measured {
            first_lsn: Lsn(*lsn),
            first_stamp: Timestamp::from_ms(*ms),
            bytes: *bytes,
        });
        measured.collect()
    }

    fn removed(log: &[(u64, i64, u64)], traces: &[(u64, i64, u64)], released: u64, now: i64) -> (usize, usize) {
        let removed = kept(&segments(log), &segments(traces), Lsn(released), Timestamp::from_ms(now), RETENTION);
        (removed.log_removed, removed.traces_removed)
    }

    #[test]
    fn segments_go_when_their_last_record_is_too_old_and_recovery_is_past_them() {
        let log = [(1, 0, 10), (5, 50, 10), (9, 90, 10)];
        assert_eq!(removed(&log, &[], 9, 150), (0, 0), "a record as old as the limit stays");
        assert_eq!(removed(&log, &[], 9, 151), (1, 0));
        assert_eq!(removed(&log, &[], 9, 1000), (2, 0), "the segment being written stays however old it is");
        assert_eq!(removed(&log, &[], 8, 1000), (1, 0), "lsn 8 is in the second segment");
        assert_eq!(removed(&log, &[], 4, 1000), (0, 0));
    }

    #[test]
    fn too_many_bytes_remove_the_oldest_until_it_fits() {
        let log = [(1, 0, 500), (5, 1, 500), (9, 2, 500)];
        assert_eq!(removed(&log, &[], 100, 2), (1, 0));
        assert_eq!(removed(&log, &[(1, 0, 100), (6, 1, 1)], 100, 2), (2, 1), "traces count, and go with their records");
    }

    #[test]
    fn traces_of_kept_records_stay() {
        let log = [(1, 0, 10), (5, 50, 10), (9, 90, 10)];
        assert_eq!(removed(&log, &[(1, 0, 1), (5, 0, 1), (6, 0, 1)], 9, 151), (1, 1));
        assert_eq!(removed(&log, &[(1, 0, 1), (6, 0, 1)], 9, 151), (1, 0), "the first holds the trace of 5");
    }
}
