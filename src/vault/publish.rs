//! The log as files for others (`c2sp.org/tlog-tiles`): written beside the data as the log grows, the tiles first and the checkpoint last, so
//! that no checkpoint speaks of a tile that is not there. After a crash in between, the next time goes on from the old checkpoint. The
//! entries themselves stand in the ledger; what is written here can be thrown away and is made again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::{Vault, VaultError};
use crate::audit::copy::CHECKPOINT;
use crate::audit::note::Checkpoint;
use crate::audit::tile::{self, FULL, Kind, LEVELS, Tile};
use crate::crypto::hash::SHA256_BYTES;
use crate::store::{LogFiles, LogTree, StoreError, rows};

/// Where in the data directory they stand.
pub const LOG_FOLDER: &str = "log";

impl Vault {
    /// Brings the files up to the log as it is durable here and on all mirrors; returns how many entries they have then.
    pub async fn publish_log(&self) -> Result<u64, VaultError> {
        let _one_at_a_time = self.publishing.lock().await;
        let folder = self.core.data.join(LOG_FOLDER);
        let files = self.core.blocking(move |_| Ok(LogFiles::open(&folder)?)).await?;
        let before = self.published(&files).await?;
        self.mend(&files, before).await?;
        let Some(log) = self.core.committer.settled_log().filter(|log| log.size() > before) else { return Ok(before) };
        let size = log.size();
        for tile in tile::grown(before, size) {
            let bytes = self.core.blocking(move |core| core.tile(tile)).await?;
            files.write(&tile.to_string(), bytes).await?;
        }
        let core = &self.core;
        let checkpoint = Checkpoint { origin: core.log.origin.clone(), size, root: log.root() };
        let note = core.log.with_key(|key| checkpoint.sign(key));
        files.write(CHECKPOINT, note.into_bytes()).await?;
        for full in filled(before, size) {
            files.remove_below(&format!("{full}.p")).await?;
        }
        Ok(size)
    }

    /// Makes again what is lost of the files, once after each start.
    async fn mend(&self, files: &LogFiles, size: u64) -> Result<(), VaultError> {
        if self.mended.load(Ordering::Relaxed) {
            return Ok(());
        }
        for tile in tile::grown(0, size) {
            let found = files.length(&tile.to_string()).await?;
            let is_whole = match tile.kind {
                Kind::Hashes { .. } => found == Some(u64::from(tile.width) * SHA256_BYTES as u64),
                // How long a bundle must be is known only to who makes it.
                Kind::Entries => found.is_some_and(|length| length > 0),
            };
            if !is_whole {
                let bytes = self.core.blocking(move |core| core.tile(tile)).await?;
                files.write(&tile.to_string(), bytes).await?;
            }
        }
        self.mended.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// How many entries the files have: 0 where there are none, or they are of another log.
    async fn published(&self, files: &LogFiles) -> Result<u64, VaultError> {
        let Some(note) = files.read(CHECKPOINT).await? else { return Ok(0) };
        let keys = self.core.blocking(|core| core.log_keys()).await?;
        let note = String::from_utf8_lossy(&note).into_owned();
        let Ok(found) = Checkpoint::open(&note, &keys) else { return Ok(0) };
        let is_ours = move |core: &Arc<Core>| {
            let is_within = found.size <= core.committer.log().size();
            let is_ours =
                is_within && crate::audit::merkle::root(&LogTree::new(core.db.as_ref()), found.size)? == found.root;
            Ok(if is_ours { found.size } else { 0 })
        };
        self.core.blocking(is_ours).await
    }
}

impl Core {
    /// The bytes of a tile.
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, VaultError> {
        match tile.kind {
            // A tree of its own for each: it remembers every hash that it was asked for.
            Kind::Hashes { .. } => Ok(tile::hashes(&LogTree::new(self.db.as_ref()), tile)?),
            Kind::Entries => {
                let (from, to) = (rows::ledger(tile.first()), rows::ledger(tile.first() + u64::from(tile.width)));
                let entries = self.db.range(&from, &to, usize::from(tile.width))?;
                if entries.len() != usize::from(tile.width) {
                    return Err(StoreError::Damaged { what: "the ledger" }.into());
                }
                let bundle = tile::bundle(entries.iter().map(|(_, entry)| entry.as_slice()));
                Ok(bundle.map_err(|_| StoreError::Damaged { what: "the ledger" })?)
            }
        }
    }
}

/// The tiles that were partial with `before` entries and are full with `size`: only then do their partial ones go, as whoever has an earlier
/// checkpoint reads those (c2sp.org/tlog-tiles).
fn filled(before: u64, size: u64) -> impl Iterator<Item = Tile> {
    let kinds = std::iter::once(Kind::Entries).chain((0..LEVELS).map(|level| Kind::Hashes { level }));
    kinds.filter_map(move |kind| {
        let last = kind.count(before) / u64::from(FULL);
        Tile::of(kind, last, size).filter(|tile| tile.width == FULL)
    })
}
