//! Giving disk space back: the rows that count, written to a new database. sled keeps what was replaced or removed in its log, and its file
//! never shrinks. A running service does so by itself once enough is dead (`store::compaction`); `oubliette compact` does so for one that is
//! stopped.
//!
//! Of what was erased, the old files hold ciphertext whose keys are gone: an erasure never waits for a compaction, and none is part of it.

pub(super) mod via;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::start::{StartError, database_folder, on_a_thread};
use super::{Compacted, DiskUse, Vault, VaultError, VaultPaths};
use crate::store::{CompactingEngine, DEFAULT_CACHE_BYTES, Database, disk_use, refuse_without_room};

/// How long a compaction leaves the database alone after each chunk, so that others get their turn.
const TURN: Duration = Duration::from_millis(1);

/// When a running service compacts its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionRules {
    /// Once this share of the file is dead, in percent; 0 for never.
    pub dead_percent: u64,
    /// And once so many bytes are.
    pub dead_bytes: u64,
}

impl CompactionRules {
    fn is_due(&self, found: &DiskUse) -> bool {
        let dead = found.dead_bytes();
        self.dead_percent > 0 && dead >= self.dead_bytes && dead >= found.file_bytes / 100 * self.dead_percent
    }
}

impl Vault {
    /// Writes the database of a vault that is not open anew, beside the old one, and exchanges the two; `progress` gets how many rows were
    /// written. A crash leaves the one or the other, and a repeat begins again.
    pub async fn compact(paths: VaultPaths, progress: impl Fn(u64) + Send + 'static) -> Result<Compacted, StartError> {
        on_a_thread(move || {
            via::refuse_interrupted(&paths.data)?;
            let folder = database_folder(&paths.data);
            if !folder.is_dir() {
                return Err(StartError::NoVault(paths.data.display().to_string()));
            }
            let db = CompactingEngine::open(&paths.data, &folder, DEFAULT_CACHE_BYTES)?;
            let found = disk_use(&db, &mut |_| true)?.unwrap_or_default();
            refuse_without_room(&paths.data, found.copy_bytes())?;
            let compacted = db.compact(&mut |rows| {
                progress(rows);
                true
            })?;
            Ok(compacted.expect("nobody stops it or writes beside it"))
        })
        .await
    }

    /// The same by way of a directory on another disk, where the data's disk has no room for both. A repeat goes on where it was interrupted; in
    /// between no start opens the vault.
    pub async fn compact_via(
        paths: VaultPaths,
        directory: PathBuf,
        progress: impl Fn(u64) + Send + 'static,
    ) -> Result<Compacted, StartError> {
        on_a_thread(move || via::compact_via(&paths.data, &directory, &progress)).await
    }

    /// What the database takes, and how much of it counts. Reads every row, in turns with others; `None` where it is not known, or if
    /// `is_over` says so.
    pub async fn disk_use(&self, is_over: impl Fn() -> bool + Send + 'static) -> Result<Option<DiskUse>, VaultError> {
        self.core.blocking(move |core| Ok(disk_use(&*core.db, &mut in_turns(is_over))?)).await
    }

    /// Compacts the database while it is used, if by `found` and the rules that is due. Refused where there is no room; the reserve of the disk
    /// may be used, since space is given back.
    pub async fn compact_if_due(
        &self,
        rules: CompactionRules,
        found: DiskUse,
        is_over: impl Fn() -> bool + Send + 'static,
    ) -> Result<Option<Compacted>, VaultError> {
        if !rules.is_due(&found) {
            return Ok(None);
        }
        let compact = move |core: &Arc<Core>| {
            refuse_without_room(&core.data, found.copy_bytes())?;
            Ok(core.db.compact(&mut in_turns(is_over))?)
        };
        self.core.blocking(compact).await
    }
}

/// Goes on, after a moment, until `is_over` says so.
fn in_turns(is_over: impl Fn() -> bool) -> impl FnMut(u64) -> bool {
    move |_| {
        std::thread::sleep(TURN);
        !is_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compaction_is_due_by_share_and_by_least_bytes() {
        let found = |file_bytes, live_bytes| DiskUse { file_bytes, live_bytes, rows: 1, copy_percent: 160 };
        let rules = CompactionRules { dead_percent: 50, dead_bytes: 1_000 };
        assert!(rules.is_due(&found(10_000, 1_000)));
        assert!(!rules.is_due(&found(10_000, 6_000)), "less than half is dead");
        assert!(!rules.is_due(&found(1_200, 200)), "less than a thousand bytes are dead");
        assert!(!CompactionRules { dead_percent: 0, dead_bytes: 0 }.is_due(&found(10_000, 0)), "it is switched off");
    }
}
