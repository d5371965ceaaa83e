//! The store: rows in an ordered database, written by one committer, and large sealed content as objects.
//!
//! It is the only room that names `sled` and `object_store`. Keys and values are opaque bytes, sealed before they come here: this
//! room never sees a secret, knows no cipher and does not interpret a row. Over the entries of the ledger it keeps their Merkle tree, and
//! has the ledger commit to the control rows (`control_rows`). What is committed goes on to other disks (`mirror`, `objects/copies`). An
//! answer to a write means that it survives a power cut.

mod batch;
mod committer;
mod compaction;
mod control_rows;
pub mod disk;
mod log;
mod log_files;
pub mod mirror;
mod objects;
pub mod rows;
mod sequence;
mod sled_engine;

use std::io;
use std::path::PathBuf;

use crate::domain::codec::Decode;

pub use batch::{
    Batch, BatchError, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_OPS_PER_BATCH, MAX_REQUIREMENTS_PER_BATCH, MAX_VALUE_BYTES,
};
pub use committer::{CommitError, Committed, Committer};
pub use compaction::{Compacted, CompactingEngine, DiskUse, bytes_of, disk_use, refuse_without_room, remove_copy};
pub use control_rows::{AsLogged, ControlRows, NotAsLogged, RowMac, check_control_rows, page_digest};
pub use disk::free_bytes;
pub use log::{LogTree, ledger_size};
pub use log_files::LogFiles;
pub use mirror::{MirrorPlace, MirrorStatus, Mirrors};
pub use objects::{
    CopyStatus, FindContent, MAX_READ_BYTES, NamedContent, Needed, ObjectName, ObjectRows, ObjectStream, ObjectWriter,
    Objects,
};
pub use sequence::Position;
pub use sled_engine::{DEFAULT_CACHE_BYTES, SledEngine};

/// The most rows that one [`Database::range`] returns.
pub const MAX_RANGE_ROWS: usize = 4096;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// An ordered key-value database. Calls block: make them on a blocking thread. Only the [`Committer`] writes.
pub trait Database: Send + Sync + 'static {
    /// The value of `key`, if it is there. It may have been applied and not yet be durable: an empty batch through the
    /// [`Committer`] waits until all that was seen is.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The rows with keys in `[from, to)`, ascending, at most `limit` of them (and `limit` at most [`MAX_RANGE_ROWS`]). Sees
    /// each write of [`Database::apply`] whole or not at all.
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// The row with the greatest key in `[from, to)`.
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError>;

    /// Writes all of `writes` or none. Not durable before [`Database::sync`] has returned. After an error nothing more may be
    /// written: what of it will be there after a restart is open, whole or not at all.
    fn apply(&self, writes: &[Write]) -> Result<(), StoreError>;

    /// Makes all that was applied durable: it survives a power cut. After an error it must not be tried again: the kernel may
    /// have dropped the pages that it could not write, and the next attempt would succeed without them.
    fn sync(&self) -> Result<(), StoreError>;

    /// Whether the engine has met an error of the disk, in a read or a write, and must be opened anew.
    fn has_failed(&self) -> bool {
        false
    }

    /// Bytes of its files, and what a copy takes; `None` where that is not known. What counts of it is not looked at ([`disk_use`]).
    fn file_use(&self) -> Result<Option<DiskUse>, StoreError> {
        Ok(None)
    }

    /// Gives back what replaced and removed rows take, while reads and writes go on. `observe` gets how many rows are copied, and says whether to
    /// go on. `None` where it was told to stop, or cannot do that.
    fn compact(&self, _observe: &mut dyn FnMut(u64) -> bool) -> Result<Option<Compacted>, StoreError> {
        Ok(None)
    }
}

/// One write to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets the value of a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Removes a key; nothing happens if it is not there.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

impl Write {
    /// Which key it writes.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }
}

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the data directory.
    #[error("{path} is in use by another process: stop that one, or give this one a data directory of its own")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A write or a sync has failed before.
    #[error("closed to writes since a write failed; restart the service after checking the disk")]
    Closed,
    /// The service is being shut down.
    #[error("closed to writes because the service is stopping; send the request again once it is back")]
    Stopping,
    /// Written by a newer program, or with other settings.
    #[error("{what} have a format that this program does not read: use the program that wrote them")]
    NewerFormat {
        /// What was read.
        what: &'static str,
    },
    /// Bytes that cannot be what they should be.
    #[error("{what} cannot be read: check the disk, and restore from a mirror")]
    Damaged {
        /// What was read.
        what: &'static str,
    },
    /// The mirror is ahead of the database.
    #[error(
        "the mirror {path} is newer than this database, which is an older copy: put the newest data back, or restore from the mirror (oubliette restore); nothing was changed"
    )]
    MirrorIsNewer {
        /// The mirror's directory.
        path: PathBuf,
    },
    /// The mirror is of another vault.
    #[error("{path} holds the mirror of another vault: name an empty directory; nothing was changed")]
    MirrorOfOther {
        /// The mirror's directory.
        path: PathBuf,
    },
    /// Nobody has made a mirror there.
    #[error("{path} is no mirror: mount its disk; or make a new one there (oubliette mirror add)")]
    NotAMirror {
        /// The directory.
        path: PathBuf,
    },
    /// There is nothing whole in a mirror.
    #[error(
        "{path} holds no whole mirror: name the right directory; a mirror whose first copy was not finished holds nothing"
    )]
    NoMirror {
        /// The directory.
        path: PathBuf,
    },
    /// The objects of a mirror are not complete.
    #[error(
        "the mirror {path} does not have every object that its rows name: wait until it has (oubliette mirror status), take another mirror, or accept that recordings are missing (--allow-incomplete)"
    )]
    MirrorIncomplete {
        /// The mirror's directory.
        path: PathBuf,
    },
    /// No room for a compaction.
    #[error(
        "no room to compact the database: it needs {needed} bytes free in {path}, and {free} are; make room there (limits.disk_reserve_bytes is not kept from it), or stop the service and compact by way of another disk (oubliette compact --via DIR)"
    )]
    NoRoomToCompact {
        /// Where.
        path: PathBuf,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// No room on the disk.
    #[error("the disk is full, or a quota is: make room and restart the service")]
    Full,
    /// More was asked for in one read than is allowed.
    #[error("one read returns at most {limit}: ask for less and go on from there")]
    TooMuch {
        /// The limit, in rows or bytes.
        limit: u64,
    },
    /// An object that is not there.
    #[error("the object {name} is not there: it was deleted, or the objects directory is not the one of this database")]
    ObjectMissing {
        /// Its name.
        name: ObjectName,
    },
    /// A name that is already used.
    #[error("the object {name} exists already: objects are never overwritten, choose another random name")]
    ObjectExists {
        /// Its name.
        name: ObjectName,
    },
    /// An upload that was interrupted within a write.
    #[error("an earlier write of this object was interrupted: begin it again under another name")]
    Interrupted,
    /// The system refused an operation on a file.
    #[error("{doing} failed: check the disk and the permissions of the data directory")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The database engine refused an operation.
    #[error("{doing} failed in the database engine: check the disk; if it stays, restore from a mirror")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object store refused an operation.
    #[error("{doing} failed in the object store: check the disk and the permissions of the objects directory")]
    Objects {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Something stored that cannot be read.
    fn decoding(error: Decode) -> Self {
        match error {
            Decode::NewerVersion { what, .. } => Self::NewerFormat { what },
            Decode::Damaged { what } => Self::Damaged { what },
        }
    }

    /// Wraps an error of the system; a full disk gets its own variant.
    fn io(doing: &'static str, source: io::Error) -> Self {
        if is_full(&source) { Self::Full } else { Self::Io { doing, source } }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Functions without a key, for tests of this module.
#[cfg(test)]
fn unkeyed_control_rows(db: &dyn Database) -> ControlRows {
    let mac = RowMac::new(
        |field, parts| crate::audit::merkle::leaf(&[field.as_bytes(), &parts.concat()].concat()),
        |_, plain| plain.to_vec(),
        |_, sealed| Some(sealed.to_vec()),
    );
    ControlRows::unchecked(db, mac).expect("the row is readable")
}
