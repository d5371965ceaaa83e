//! Objects: large sealed content, in files under `handle/record/object`. It streams in pieces of about a mebibyte, so that a part
//! is never whole in memory; it never overwrites an object and never sees what is in it.
//!
//! The life of an object: 1. a staged file, `…#1`, is written; until it is complete nothing is visible, and a crash leaves
//! something to sweep; 2. it is synced and renamed; a crash leaves the object or the staged file; 3. the directories are synced:
//! from here on it survives a power cut, and [`ObjectWriter::finish`] returns. An object whose row was never committed is left
//! over, and found by listing.
//!
//! `object_store` 0.14 with its fsync option syncs what it writes, with two gaps that are closed here. It passes `fsync: false`
//! for deletes (`delete_stream` in its `local.rs`, and `strace` shows no fsync after the `unlink`). And it syncs the parent
//! of a new directory only in the call that created it, so that a second writer may be done before the first has synced the name
//! of their directory.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::{MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, path::Path as ObjectPath};
use tokio_stream::{Stream, StreamExt};

use copies::{Change, Copies, tell};

pub use copies::{CopyStatus, FindContent, NamedContent, Needed, ObjectRows};

use super::disk::{create_dir, sync_dir_if_there};
use super::{StoreError, is_full};
use crate::domain::codec::{hex, unhex};
use crate::domain::ids::{Handle, RecordId};

mod copies;
mod staged;
#[cfg(test)]
mod tests;

/// The most bytes that one [`Objects::read`] returns.
pub const MAX_READ_BYTES: u64 = 16 * 1024 * 1024;
/// Once this much waits in a writer, it goes to the disk.
const PIECE_BYTES: usize = 1024 * 1024;
/// Or once it is in so many buffers.
const PIECE_BUFFERS: usize = 1024;

/// The name of an object. It is made of random ids only and says nothing about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    handle: Handle,
    record: RecordId,
    object: [u8; 16],
}

impl ObjectName {
    /// The object `object` (random) of a record of a customer.
    pub fn new(handle: Handle, record: RecordId, object: [u8; 16]) -> Self {
        Self { handle, record, object }
    }

    /// The customer.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// The record.
    pub fn record(&self) -> RecordId {
        self.record
    }

    /// The object's own random id.
    pub fn object(&self) -> [u8; 16] {
        self.object
    }

    /// Reads what `Display` writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut ids = text.split('/');
        let (handle, record, object) = (ids.next()?, ids.next()?, ids.next()?);
        let name = Self::new(Handle::parse(handle)?, RecordId::from_bytes(unhex(record)?), unhex(object)?);
        ids.next().is_none().then_some(name)
    }

    fn path(&self) -> ObjectPath {
        ObjectPath::from(self.to_string())
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.handle, hex(self.record.as_bytes()), hex(&self.object))
    }
}

/// Names with the sizes in bytes of what they name.
pub type ObjectStream = Pin<Box<dyn Stream<Item = Result<(ObjectName, u64), StoreError>> + Send>>;

/// The objects in a local directory. All calls need the async runtime; the work is done on its blocking threads.
#[derive(Clone)]
pub struct Objects {
    store: LocalFileSystem,
    root: PathBuf,
    copies: Copies,
}

impl Objects {
    /// Opens the directory, or creates it durably. Blocks.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        create_dir(dir)?;
        Self::open_existing(dir)
    }

    /// Opens the directory, which must be there. Blocks.
    pub fn open_existing(dir: &Path) -> Result<Self, StoreError> {
        let root = dir.canonicalize().map_err(|e| StoreError::io("opening the objects directory", e))?;
        let store = LocalFileSystem::new_with_prefix(&root).map_err(|e| failed("opening the objects directory", e))?;
        Ok(Self { store: store.with_fsync(true).with_automatic_cleanup(true), root, copies: Copies::default() })
    }

    /// Begins an object. Nothing of it is visible before [`ObjectWriter::finish`].
    pub async fn create(&self, name: ObjectName) -> Result<ObjectWriter, StoreError> {
        match self.store.head(&name.path()).await {
            Err(object_store::Error::NotFound { .. }) => {}
            Ok(_) => return Err(StoreError::ObjectExists { name }),
            Err(e) => return Err(failed("creating an object", e)),
        }
        // Makes directories and syncs them, in this very poll: hence a task of its own, on a blocking thread.
        let (store, runtime) = (self.store.clone(), tokio::runtime::Handle::current());
        let upload = blocking(move || {
            let begun = runtime.block_on(store.put_multipart(&name.path()));
            begun.map_err(|e| failed("creating an object", e))
        });
        Ok(ObjectWriter {
            upload: upload.await?,
            name,
            copies: Copies::clone(&self.copies),
            parents: self.directories(name.handle, None),
            pending: Vec::new(),
            pending_bytes: 0,
            bytes: 0,
            interrupted: false,
        })
    }

    /// The bytes of `range` of an object: exactly those, or an error. At most [`MAX_READ_BYTES`].
    pub async fn read(&self, name: ObjectName, range: Range<u64>) -> Result<Bytes, StoreError> {
        let length = range.end.saturating_sub(range.start);
        if length > MAX_READ_BYTES {
            return Err(StoreError::TooMuch { limit: MAX_READ_BYTES });
        }
        if length == 0 {
            return Ok(Bytes::new());
        }
        match self.store.get_range(&name.path(), range).await {
            Ok(bytes) if bytes.len() as u64 == length => Ok(bytes),
            Ok(_) => Err(StoreError::Damaged { what: "an object that is shorter than its record says" }),
            Err(object_store::Error::NotFound { .. }) => Err(StoreError::ObjectMissing { name }),
            Err(e) => Err(failed("reading an object", e)),
        }
    }

    /// Deletes an object, durably. Nothing happens if it is not there.
    pub async fn delete(&self, name: ObjectName) -> Result<(), StoreError> {
        self.remove(name).await?;
        tell(&self.copies, Change::Deleted(name));
        // Also if it was gone already: the one who removed it may have stopped before its sync.
        sync_all(self.directories(name.handle, Some(name.record))).await
    }

    /// The objects of a customer, or of one record, in no order. They are read as they are asked for.
    pub fn list_prefix(&self, handle: Handle, record: Option<RecordId>) -> ObjectStream {
        self.list_under(Some(&prefix(handle, record)))
    }

    /// All objects, in no order.
    pub fn list_all(&self) -> ObjectStream {
        self.list_under(None)
    }

    fn list_under(&self, prefix: Option<&ObjectPath>) -> ObjectStream {
        let objects = self.store.list(prefix).filter_map(|listed| match listed {
            Ok(ObjectMeta { location, size, .. }) => named(&location).map(|name| Ok((name, size))),
            Err(e) => Some(Err(failed("listing objects", e))),
        });
        Box::pin(objects)
    }

    /// Deletes the objects of a customer, or of one record, durably, and what unfinished uploads left there: such an upload
    /// then fails. Returns how many objects there were. If it stops on the way, call it again.
    pub async fn delete_prefix(&self, handle: Handle, record: Option<RecordId>) -> Result<u64, StoreError> {
        let mut objects = self.list_prefix(handle, record);
        let mut count = 0;
        while let Some(listed) = objects.next().await {
            let (name, _) = listed?;
            self.remove(name).await?;
            count += 1;
        }
        let directories = self.directories(handle, record);
        let (prefix, depth) = (directories[0].clone(), if record.is_some() { 0 } else { 1 });
        blocking(move || staged::sweep_away(&prefix, depth).map_err(|e| StoreError::io("removing staged objects", e)))
            .await?;
        sync_all(directories).await?;
        tell(&self.copies, Change::DeletedAll(handle, record));
        Ok(count)
    }

    /// Removes what uploads left behind when the process stopped within them; returns how many files. Call it once at start,
    /// before the first upload: it cannot tell a leftover from an upload that runs.
    pub async fn sweep_staged(&self) -> Result<u64, StoreError> {
        let root = self.root.clone();
        blocking(move || staged::sweep(&root, 2).map_err(|e| StoreError::io("removing staged objects", e))).await
    }

    async fn remove(&self, name: ObjectName) -> Result<(), StoreError> {
        match self.store.delete(&name.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failed("deleting an object", e)),
        }
    }

    /// The directory of a prefix and those above it, innermost first.
    fn directories(&self, handle: Handle, record: Option<RecordId>) -> Vec<PathBuf> {
        let of_handle = self.root.join(handle.to_string());
        let of_record = record.map(|record| of_handle.join(hex(record.as_bytes())));
        of_record.into_iter().chain([of_handle, self.root.clone()]).collect()
    }
}

/// Writes one object. Dropped before [`ObjectWriter::finish`], it leaves nothing visible.
pub struct ObjectWriter {
    upload: Box<dyn MultipartUpload>,
    name: ObjectName,
    copies: Copies,
    /// The directories above the record's own, which `object_store` syncs itself.
    parents: Vec<PathBuf>,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    bytes: u64,
    /// Set while a piece is on its way: a future dropped there leaves it set, since nobody saw whether the piece arrived.
    interrupted: bool,
}

impl ObjectWriter {
    /// Adds `bytes` at the end. Returns when they are with the system or in the writer's bounded buffer.
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        let bytes = bytes.into();
        self.bytes += bytes.len() as u64;
        self.pending_bytes += bytes.len();
        self.pending.push(bytes);
        if self.pending_bytes >= PIECE_BYTES || self.pending.len() >= PIECE_BUFFERS {
            self.send_piece().await
        } else {
            Ok(())
        }
    }

    /// Completes the object and returns its size in bytes; it is durable then. If the future is dropped, it may be there or not.
    pub async fn finish(mut self) -> Result<u64, StoreError> {
        self.send_piece().await?;
        self.upload.complete().await.map_err(|e| failed("completing an object", e))?;
        sync_all(self.parents).await?;
        tell(&self.copies, Change::Made(self.name));
        Ok(self.bytes)
    }

    /// Gives the object up; returns when its staged file is gone.
    pub async fn abort(mut self) -> Result<(), StoreError> {
        self.upload.abort().await.map_err(|e| failed("giving up an object", e))
    }

    async fn send_piece(&mut self) -> Result<(), StoreError> {
        if self.interrupted {
            return Err(StoreError::Interrupted);
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        self.interrupted = true;
        self.pending_bytes = 0;
        let piece: PutPayload = self.pending.drain(..).collect();
        self.upload.put_part(piece).await.map_err(|e| failed("writing an object", e))?;
        self.interrupted = false;
        Ok(())
    }
}

fn prefix(handle: Handle, record: Option<RecordId>) -> ObjectPath {
    let handle = ObjectPath::from(handle.to_string());
    match record {
        Some(record) => handle.join(hex(record.as_bytes())),
        None => handle,
    }
}

fn named(location: &ObjectPath) -> Option<ObjectName> {
    let name = ObjectName::parse(location.as_ref());
    if name.is_none() {
        tracing::warn!("a file in the objects directory is not an object; it is left alone");
    }
    name
}

/// Makes the entries of these directories durable, as far as they are still there.
async fn sync_all(directories: Vec<PathBuf>) -> Result<(), StoreError> {
    blocking(move || {
        let synced = directories.iter().try_for_each(|dir| sync_dir_if_there(dir));
        synced.map_err(|e| StoreError::io("syncing an objects directory", e))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|e| Err(StoreError::io("working on a blocking thread", e.into())))
}

/// Wraps an error of the object store; a full disk, which it hides among its causes, gets its own variant.
pub(super) fn failed(doing: &'static str, error: object_store::Error) -> StoreError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<io::Error>().is_some_and(is_full) {
            return StoreError::Full;
        }
        cause = inner.source();
    }
    StoreError::Objects { doing, source: error.into() }
}
