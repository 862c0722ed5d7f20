//! What is asked of the file system, and how its failures are told.

use ports::log::Error;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Tells a failure at `place`; a full disk is [`Error::Full`].
pub(crate) fn failed(place: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        let place = place.display().to_string();
        if !matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Error::Io { place, doing, source };
        }
        let folder = Path::new(&place).parent().unwrap_or(Path::new("/"));
        let free_bytes = free_bytes(folder).unwrap_or(0);
        Error::Full { place, free_bytes, needed_bytes: free_bytes.saturating_add(1) }
    }
}

pub(crate) fn damaged(place: &Path, at_byte: u64, what: impl Into<String>) -> Error {
    Error::Damaged { place: place.display().to_string(), at_byte, what: what.into() }
}

/// Bytes that this process may still write to the disk of `place`.
pub(crate) fn free_bytes(place: &Path) -> io::Result<u64> {
    let status = rustix::fs::statvfs(place)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// Creates `directory` and what is above it, for its owner alone, and makes that durable.
pub(crate) fn create_directory(directory: &Path) -> Result<(), Error> {
    let missing = directory.ancestors().take_while(|ancestor| !ancestor.exists()).collect::<Vec<_>>();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).map_err(failed(directory, "creating the folder"))?;
    missing.into_iter().filter_map(Path::parent).try_for_each(|parent| {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        sync_directory(parent)
    })
}

/// Makes creations, renames and removals in `directory` durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(failed(directory, "syncing the folder"))
}

/// Opens `path` for reading and writing; only its owner may.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Creates `path`, which must not exist; only its owner may read it.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Removes `path`, or finds that it is not there.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, "removing the file")(error)),
        _ => Ok(()),
    }
}

/// Replaces `path` with a file that holds `bytes`: after a crash it is the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let draft = path.with_extension("draft");
    remove(&draft)?;
    let file = create(&draft).map_err(failed(&draft, "creating the file"))?;
    file.write_all_at(bytes, 0).and_then(|()| file.sync_all()).map_err(failed(&draft, "writing the file"))?;
    std::fs::rename(&draft, path).map_err(failed(path, "renaming the file"))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Reserves `from .. to` of `file` on the disk, reading as zeros.
pub(crate) fn allocate(file: &File, from: u64, to: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), from, to.saturating_sub(from)) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => write_zeros(file, from, to, |_| Ok(())),
        Err(error) => Err(error.into()),
    }
}

/// Writes zeros over `from .. to`; `after_chunk` is told after each MiB.
pub(crate) fn write_zeros(
    file: &File,
    from: u64,
    to: u64,
    mut after_chunk: impl FnMut(&File) -> io::Result<()>,
) -> io::Result<()> {
    const CHUNK_BYTES: usize = 1 << 20;
    let zeros = vec![0; CHUNK_BYTES];
    let mut at = from;
    while at < to {
        let chunk_bytes = usize::try_from(to - at).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        file.write_all_at(&zeros[..chunk_bytes], at)?;
        after_chunk(file)?;
        at += chunk_bytes as u64;
    }
    Ok(())
}

/// Fills `bytes` from `from` on as far as the file goes; answers how many were read.
pub(crate) fn read_up_to(file: &File, bytes: &mut [u8], from: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The `N` bytes at `at`, which the caller has made sure are there.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("INVARIANT: a slice of N bytes is an array of N bytes")
}
