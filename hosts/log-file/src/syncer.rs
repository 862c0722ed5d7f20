//! A thread that syncs what it is given, while the one that asked goes on.

use crate::disk::{self, failed};
use crate::keys::{self, KeyFile};
use ports::log::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// What is to be made durable.
pub(crate) enum Target {
    Segment(PathBuf, Arc<File>),
    Directory(PathBuf),
    Keys(Arc<KeyFile>),
}

impl Target {
    pub fn path(&self) -> &Path {
        match self {
            Target::Segment(path, _) | Target::Directory(path) => path,
            Target::Keys(file) => file.path(),
        }
    }

    pub fn sync(&self) -> Result<(), Error> {
        match self {
            Target::Segment(path, file) => file.sync_data().map_err(failed(path, "syncing the segment")),
            Target::Directory(path) => disk::sync_directory(path),
            Target::Keys(file) => keys::sync(file),
        }
    }
}

pub(crate) struct Syncer {
    /// None only while it is being dropped.
    requests: Option<Sender<Vec<Target>>>,
    replies: Receiver<Result<(), Error>>,
    thread: Option<JoinHandle<()>>,
    begun: bool,
}

impl Syncer {
    pub fn start(name: &str) -> std::io::Result<Self> {
        let (requests, requested) = channel::<Vec<Target>>();
        let (reply, replies) = channel();
        let work = move || {
            for targets in requested {
                if reply.send(targets.iter().try_for_each(Target::sync)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Syncer { requests: Some(requests), replies, thread: Some(thread), begun: false })
    }

    /// Begins to sync `targets`, in their order.
    pub fn begin(&mut self, targets: Vec<Target>) -> Result<(), Error> {
        assert!(!self.begun, "a sync was begun before the last one was waited for");
        if targets.is_empty() {
            return Ok(());
        }
        let requests = self.requests.as_ref().ok_or(Error::Stopped)?;
        requests.send(targets).map_err(|_| Error::Stopped)?;
        self.begun = true;
        Ok(())
    }

    /// Waits for what was begun, if anything was.
    pub fn finish(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        self.replies.recv().map_err(|_| Error::Stopped)?
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.requests = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that syncs the log panicked");
        }
    }
}
