//! Giving disk space back: the rows that count, written anew. sled keeps what was replaced or removed in its log, and never shrinks it by
//! much.

use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::start::{StartError, database_folder, on_a_thread};
use super::{Vault, VaultPaths};
use crate::store::{Database, SledEngine, StoreError, Write};

/// Rows written in one go.
const AT_ONCE: usize = 1024;

/// What a compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the database before.
    pub before: u64,
    /// Bytes afterwards.
    pub after: u64,
    /// Rows in it.
    pub rows: u64,
}

impl Vault {
    /// Writes the database anew, beside the old one, and exchanges the two. The vault must not be open; `progress` gets how many rows
    /// were written. A crash leaves the one or the other.
    pub async fn compact(paths: VaultPaths, progress: impl Fn(u64) + Send + 'static) -> Result<Compacted, StartError> {
        on_a_thread(move || {
            if !database_folder(&paths.data).is_dir() {
                return Err(StartError::NoVault(paths.data.display().to_string()));
            }
            Ok(compact(&paths.data, progress)?)
        })
        .await
    }
}

fn compact(data: &Path, progress: impl Fn(u64)) -> Result<Compacted, StoreError> {
    let (old, new) = (database_folder(data), data.join("db.compact"));
    // Of an attempt that was interrupted: before the exchange it is half of a copy, after it the old database.
    let failed = |source| StoreError::Io { doing: "compacting the database", source };
    let remove = || match std::fs::remove_dir_all(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    };
    let from = SledEngine::open(&old)?;
    remove()?;
    let to = SledEngine::open(&new)?;
    let before = bytes_of(&old).map_err(failed)?;
    let (mut next, mut rows) = (Vec::new(), 0);
    loop {
        let some = from.range(&next, &[0xff; 16], AT_ONCE)?;
        let Some((last, _)) = some.last() else { break };
        next = crate::store::rows::behind(last.clone());
        rows += some.len() as u64;
        let writes: Vec<_> = some.into_iter().map(|(key, value)| Write::Put { key, value }).collect();
        to.apply(&writes)?;
        progress(rows);
    }
    to.sync()?;
    drop(to);
    // The lock on the old one is held until it is out of the way.
    let exchanged = renameat_with(CWD, &old, CWD, &new, RenameFlags::EXCHANGE).map_err(std::io::Error::from);
    exchanged.and_then(|()| std::fs::File::open(data)?.sync_all()).map_err(failed)?;
    drop(from);
    remove()?;
    Ok(Compacted { before, after: bytes_of(&old).map_err(failed)?, rows })
}

/// What the files in a folder take.
fn bytes_of(folder: &Path) -> std::io::Result<u64> {
    std::fs::read_dir(folder)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        Ok(sum + if entry.file_type()?.is_dir() { bytes_of(&entry.path())? } else { entry.metadata()?.len() })
    })
}
