//! The log as files that others read: the tiles of `c2sp.org/tlog-tiles` and the newest checkpoint, in the object store. All of it can be made
//! again from the ledger's rows; what stands here is a copy for those who check the log without the service.

use std::path::Path;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload};

use super::StoreError;
use super::disk::create_dir;
use super::objects::failed;

/// The files. All calls need the async runtime; the work is done on its blocking threads.
#[derive(Clone)]
pub struct LogFiles {
    store: LocalFileSystem,
}

impl LogFiles {
    /// Opens the directory, or creates it durably. Blocks.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        create_dir(dir)?;
        let store = LocalFileSystem::new_with_prefix(dir).map_err(|e| failed("opening the directory of the log", e))?;
        Ok(Self { store: store.with_fsync(true) })
    }

    /// The file at `path`; `None` if there is none.
    pub async fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        match self.store.get(&ObjectPath::from(path)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|e| failed("reading a file of the log", e)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed("reading a file of the log", e)),
        }
    }

    /// Writes the file at `path`, whole and durable, or not at all.
    pub async fn write(&self, path: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let written = self.store.put(&ObjectPath::from(path), PutPayload::from(bytes)).await;
        written.map(drop).map_err(|e| failed("writing a file of the log", e))
    }

    /// How many bytes the file at `path` has; `None` if there is none.
    pub async fn length(&self, path: &str) -> Result<Option<u64>, StoreError> {
        match self.store.head(&ObjectPath::from(path)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed("looking for a file of the log", e)),
        }
    }

    /// Removes the files in the folder at `path`.
    pub async fn remove_below(&self, path: &str) -> Result<(), StoreError> {
        let found = self.store.list_with_delimiter(Some(&ObjectPath::from(path))).await;
        for file in found.map_err(|e| failed("listing files of the log", e))?.objects {
            match self.store.delete(&file.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(failed("removing a file of the log", e)),
            }
        }
        Ok(())
    }
}
