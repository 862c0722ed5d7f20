//! The state store: a cache of the log, written only by checkpoints, each one atomic batch (design §2.5).
//!
//! It is rows under keys in a few keyspaces. What the rows mean is drawn in `codec`; the store does not know.

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("state store: {doing} failed: {why}")]
    Io { doing: &'static str, why: String },
    #[error("state store: the row {keyspace:?} {key} cannot be read: {why}")]
    Damaged { keyspace: Keyspace, key: String, why: String },
}

impl Error {
    /// The row `key` is there and does not decode.
    pub fn damaged(keyspace: Keyspace, key: impl ToString, error: &crate::codec::Error) -> Self {
        Error::Damaged { keyspace, key: key.to_string(), why: error.to_string() }
    }
}

/// One ordered map of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keyspace {
    /// A few rows: format, partitions' `applied_lsn` and counters.
    Meta,
    /// Subjects by partition and id. Random point reads; the hot path of a cold profile.
    Subjects,
    /// The directory: keyed hash of an identity to profile and key slot. Random point reads, many misses.
    Identities,
    /// Participants by journey, for lists. Written often, read by prefix.
    Participants,
    /// The ledger of sends. Written often, read by prefix.
    Sends,
    /// Counters per trigger and minute (E4).
    Books,
    /// Documents, keys and the audit log of the control partition.
    Control,
}

impl Keyspace {
    pub const ALL: [Keyspace; 7] = [
        Keyspace::Meta,
        Keyspace::Subjects,
        Keyspace::Identities,
        Keyspace::Participants,
        Keyspace::Sends,
        Keyspace::Books,
        Keyspace::Control,
    ];

    /// The name of it in a store.
    pub fn name(self) -> &'static str {
        match self {
            Keyspace::Meta => "meta",
            Keyspace::Subjects => "subjects",
            Keyspace::Identities => "identities",
            Keyspace::Participants => "participants",
            Keyspace::Sends => "sends",
            Keyspace::Books => "books",
            Keyspace::Control => "control",
        }
    }
}

/// A change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub keyspace: Keyspace,
    pub key: Vec<u8>,
    /// None deletes the row.
    pub value: Option<Vec<u8>>,
}

/// Whether a scan goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    Continue,
    Stop,
}

/// Is shown key and value of a row, and says whether the scan goes on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<Scan, Error> + 'a;

pub trait State: Send + Sync {
    /// # Errors
    /// See [`Error`].
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Visits the rows whose key begins with `prefix` and is greater than `after` (when given), in order of keys.
    ///
    /// # Errors
    /// See [`Error`], or what `visit` answers.
    fn scan(&self, keyspace: Keyspace, prefix: &[u8], after: Option<&[u8]>, visit: &mut Visit<'_>)
    -> Result<(), Error>;

    /// Writes all rows as one atomic batch; durable (synced) when it returns.
    ///
    /// # Errors
    /// See [`Error`]; nothing of the batch was written then, or the store must be opened anew.
    fn write(&self, rows: Vec<Row>) -> Result<(), Error>;
}
