//! Giving dead space back while reads and writes go on. sled keeps what was replaced or removed in its log, and its file never shrinks: the
//! rows that count are copied into a second engine beside the first, and the two folders are exchanged.
//!
//! While the copy runs, each write goes to both engines for keys that were copied already, and to the first alone for the others: the copy
//! meets those later. A write waits for at most one chunk of the copy ([`CHUNK_ROWS`]), and at the end for one sync of what was
//! written last, the exchange and the sync of the directory.
//!
//! | step | durable effect | if we crash right after |
//! |---|---|---|
//! | 1 the rows are copied to `db.compact`, and synced now and then | half a copy | the next open removes it |
//! | 2 writes wait; the copy is synced | two databases with the same rows | the next open removes the copy |
//! | 3 the folders are exchanged (`renameat2`) | the one or the other is `db`; both have every acknowledged row | the next open syncs the directory, then removes the other |
//! | 4 the directory is synced; from here on writes go to the new one alone | `db` is the new one | the next open removes the old one |
//! | 5 the old folder is removed | the space is given back | the next open removes the rest |
//!
//! A copy that fails or finds no room is given up, and the database goes on as it was. Only a failure between steps 3 and 4 closes the store:
//! then it is not known which of the two a restart finds, and nothing may be acknowledged.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::disk::{free_bytes, sync_dir};
use super::{Database, Row, SledEngine, StoreError, Write, rows};

/// The copy beside the database, in the data directory.
pub const COPY_FOLDER: &str = "db.compact";
/// Rows copied in one go; a write waits for one go at most. A row has 4 KiB and a key at most.
const CHUNK_ROWS: usize = 64;
/// The copy is synced after so many bytes, so that the last sync is short.
const SYNC_EVERY_BYTES: u64 = 8 * 1024 * 1024;
/// A copy is given up when less is free on the disk: what is left belongs to erasures, audit and reads.
const LEAST_FREE_BYTES: u64 = 32 * 1024 * 1024;
/// A copy takes about so many percent of the bytes of its rows at least; small databases take more, which the first copy shows.
const LEAST_COPY_PERCENT: u64 = 160;
/// What a copy was seen to take is believed up to here.
const MOST_COPY_PERCENT: u64 = 2_000;
/// How long the old engine is waited for by who still reads from it.
const OLD_PATIENCE: Duration = Duration::from_secs(5);

/// What a database takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Bytes of its files.
    pub file_bytes: u64,
    /// Bytes of the keys and values that count.
    pub live_bytes: u64,
    /// How many rows there are.
    pub rows: u64,
    /// How many percent of the bytes that count a fresh copy takes.
    pub copy_percent: u64,
}

impl DiskUse {
    /// About how many bytes a compaction would give back.
    pub fn dead_bytes(&self) -> u64 {
        self.file_bytes.saturating_sub(self.copy_bytes())
    }

    /// About how many bytes a copy takes.
    pub fn copy_bytes(&self) -> u64 {
        self.live_bytes.saturating_mul(self.copy_percent) / 100
    }
}

/// What a compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the database before.
    pub before: u64,
    /// Bytes afterwards.
    pub after: u64,
    /// Rows in it.
    pub rows: u64,
    /// The longest time for which a write had to wait.
    pub longest_pause: Duration,
}

/// A copy that is being made.
struct Copying {
    to: Arc<SledEngine>,
    /// Keys before this one are copied: writes to them go to both. `None` once all are.
    next: Option<Vec<u8>>,
}

impl Copying {
    fn has(&self, key: &[u8]) -> bool {
        self.next.as_deref().is_none_or(|next| key < next)
    }
}

/// sled with a compaction that runs beside reads and writes.
pub struct CompactingEngine {
    data: PathBuf,
    folder: PathBuf,
    cache_bytes: u64,
    live: RwLock<Arc<SledEngine>>,
    /// Held for each write, and for each go of the copy.
    copying: Mutex<Option<Copying>>,
    /// One compaction at a time.
    compacting: Mutex<()>,
    /// After an exchange that may or may not be durable nothing is written any more.
    is_undecided: AtomicBool,
    longest_pause_us: AtomicU64,
    /// What the last copy took, so that what a compaction cannot give back is not taken for dead.
    copy_percent: AtomicU64,
}

impl CompactingEngine {
    /// Opens the database in `folder` of the directory `data`, and removes what a compaction that was interrupted left beside it.
    pub fn open(data: &Path, folder: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let live = Arc::new(SledEngine::open_with_cache(folder, cache_bytes)?);
        remove_copy(data)?;
        Ok(Self {
            data: data.to_owned(),
            folder: folder.to_owned(),
            cache_bytes,
            live: RwLock::new(live),
            copying: Mutex::new(None),
            compacting: Mutex::new(()),
            is_undecided: AtomicBool::new(false),
            longest_pause_us: AtomicU64::new(0),
            copy_percent: AtomicU64::new(LEAST_COPY_PERCENT),
        })
    }

    fn live(&self) -> Arc<SledEngine> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn copying(&self) -> MutexGuard<'_, Option<Copying>> {
        self.copying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies all rows and exchanges the two engines. `observe` is called between the steps, and says whether to go on.
    fn compact_observed(&self, observe: &mut dyn FnMut(u64) -> bool) -> Result<Option<Compacted>, StoreError> {
        let _one_at_a_time = self.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = bytes_of(&self.folder)?;
        self.longest_pause_us.store(0, Ordering::Relaxed);
        let copied = self.copy(observe).and_then(|copied| copied.map_or(Ok(None), |copied| self.exchange(copied)));
        let exchanged = match copied {
            Ok(Some(exchanged)) => exchanged,
            given_up => {
                drop(self.copying().take());
                if !self.is_undecided.load(Ordering::Acquire) {
                    remove_copy(&self.data)?;
                }
                return given_up.map(|_| None);
            }
        };
        observe(exchanged.rows);
        self.let_go(exchanged.old);
        remove_copy(&self.data)?;
        observe(exchanged.rows);
        let longest_pause = Duration::from_micros(self.longest_pause_us.load(Ordering::Relaxed));
        let after = exchanged.file_bytes;
        let percent = after.saturating_mul(100) / exchanged.row_bytes.max(1);
        self.copy_percent.store(percent.clamp(LEAST_COPY_PERCENT, MOST_COPY_PERCENT), Ordering::Relaxed);
        Ok(Some(Compacted { before, after, rows: exchanged.rows, longest_pause }))
    }

    /// Step 1. Returns how many rows were copied, and their bytes; `None` if it was told to stop.
    fn copy(&self, observe: &mut dyn FnMut(u64) -> bool) -> Result<Option<(u64, u64)>, StoreError> {
        remove_copy(&self.data)?;
        let to = Arc::new(SledEngine::open_with_cache(&self.data.join(COPY_FOLDER), self.cache_bytes)?);
        *self.copying() = Some(Copying { to: Arc::clone(&to), next: Some(Vec::new()) });
        let (mut rows, mut row_bytes, mut unsynced) = (0, 0, 0);
        loop {
            let Some((copied, bytes)) = self.copy_chunk()? else { return Ok(None) };
            (rows, row_bytes, unsynced) = (rows + copied, row_bytes + bytes, unsynced + bytes);
            if copied == 0 || unsynced >= SYNC_EVERY_BYTES {
                to.sync()?;
                unsynced = 0;
                refuse_without_room(&self.data, 0)?;
            }
            if !observe(rows) {
                return Ok(None);
            }
            if copied == 0 {
                return Ok(Some((rows, row_bytes)));
            }
        }
    }

    /// Copies some rows while no write is applied; returns how many, and their bytes. None where the copy was given up by a write.
    fn copy_chunk(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let mut guard = self.copying();
        let began = Instant::now();
        let Some(copying) = &mut *guard else { return Ok(None) };
        let from = copying.next.clone().unwrap_or_default();
        let some = self.live().range(&from, &[0xff; 16], CHUNK_ROWS)?;
        copying.next = some.last().map(|(key, _)| rows::behind(key.clone()));
        let count = some.len() as u64;
        let writes: Vec<Write> = some.into_iter().map(|(key, value)| Write::Put { key, value }).collect();
        copying.to.apply(&writes)?;
        self.note_pause(began);
        Ok(Some((count, writes.iter().map(|write| write.bytes() as u64).sum())))
    }

    /// Steps 2 to 4, while no write is applied.
    fn exchange(&self, (rows, row_bytes): (u64, u64)) -> Result<Option<Exchanged>, StoreError> {
        let mut guard = self.copying();
        let began = Instant::now();
        let Some(copying) = guard.take() else { return Ok(None) };
        copying.to.sync()?;
        // Before anything more is written to it: what is written later is no part of what a copy takes.
        let file_bytes = bytes_of(&self.data.join(COPY_FOLDER))?;
        let failed = |source: std::io::Error| StoreError::io("exchanging the database for its copy", source);
        let exchanged = renameat_with(CWD, &self.folder, CWD, self.data.join(COPY_FOLDER), RenameFlags::EXCHANGE);
        exchanged.map_err(|error| failed(error.into()))?;
        if let Err(error) = sync_dir(&self.data) {
            self.is_undecided.store(true, Ordering::Release);
            return Err(failed(error));
        }
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *live, copying.to);
        drop(live);
        self.note_pause(began);
        Ok(Some(Exchanged { old, rows, row_bytes, file_bytes }))
    }

    /// Drops the old engine once nobody reads from it any more, so that its last writes are over before its folder goes.
    fn let_go(&self, old: Arc<SledEngine>) {
        let end = Instant::now() + OLD_PATIENCE;
        while Arc::strong_count(&old) > 1 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(old);
    }

    fn note_pause(&self, began: Instant) {
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.longest_pause_us.fetch_max(took, Ordering::Relaxed);
    }
}

/// What an exchange leaves.
struct Exchanged {
    old: Arc<SledEngine>,
    rows: u64,
    row_bytes: u64,
    /// What the files of the copy took when it was exchanged.
    file_bytes: u64,
}

impl Database for CompactingEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.live().get(key)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.live().range(from, to, limit)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        self.live().last(from, to)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut guard = self.copying();
        if self.is_undecided.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        self.live().apply(writes)?;
        if let Some(copying) = &*guard {
            let known: Vec<Write> = writes.iter().filter(|write| copying.has(write.key())).cloned().collect();
            if let Err(error) = copying.to.apply(&known) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a compaction is given up: its copy cannot be written"
                );
                *guard = None;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        // What the copy was exchanged for meanwhile was synced before.
        if self.is_undecided.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        self.live().sync()
    }

    fn has_failed(&self) -> bool {
        self.is_undecided.load(Ordering::Acquire) || self.live().has_failed()
    }

    fn file_use(&self) -> Result<Option<DiskUse>, StoreError> {
        let copy_percent = self.copy_percent.load(Ordering::Relaxed);
        Ok(Some(DiskUse { file_bytes: bytes_of(&self.folder)?, copy_percent, ..DiskUse::default() }))
    }

    fn compact(&self, observe: &mut dyn FnMut(u64) -> bool) -> Result<Option<Compacted>, StoreError> {
        self.compact_observed(observe)
    }
}

/// What `db` takes, and how much of it counts; reads every row. `None` if `observe`, which is called now and then, says to stop.
pub fn disk_use(db: &dyn Database, observe: &mut dyn FnMut(u64) -> bool) -> Result<Option<DiskUse>, StoreError> {
    let Some(mut found) = db.file_use()? else { return Ok(None) };
    let mut next = Vec::new();
    loop {
        let some = db.range(&next, &[0xff; 16], CHUNK_ROWS)?;
        let Some((last, _)) = some.last() else { return Ok(Some(found)) };
        next = rows::behind(last.clone());
        found.rows += some.len() as u64;
        found.live_bytes += some.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
        if !observe(found.rows) {
            return Ok(None);
        }
    }
}

/// Refuses a compaction for which there is no room in `directory`; `needed` bytes, and what always stays free.
pub fn refuse_without_room(directory: &Path, needed: u64) -> Result<(), StoreError> {
    let (needed, free) = (needed.saturating_add(LEAST_FREE_BYTES), free_bytes(directory)?);
    if free >= needed { Ok(()) } else { Err(StoreError::NoRoomToCompact { path: directory.to_owned(), needed, free }) }
}

/// Removes the copy beside the database in `data`: half of one, or the database that was exchanged for it. First the exchange is made durable.
pub fn remove_copy(data: &Path) -> Result<(), StoreError> {
    let copy = data.join(COPY_FOLDER);
    let failed = |source| StoreError::io("removing what a compaction left", source);
    if !copy.exists() {
        return Ok(());
    }
    sync_dir(data).map_err(failed)?;
    match fs::remove_dir_all(&copy) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
        _ => File::open(data).and_then(|data| data.sync_all()).map_err(failed),
    }
}

/// What the files in a folder take.
pub fn bytes_of(folder: &Path) -> Result<u64, StoreError> {
    fn sum(folder: &Path) -> std::io::Result<u64> {
        fs::read_dir(folder)?.try_fold(0, |total, entry| {
            let entry = entry?;
            let is_dir = entry.file_type()?.is_dir();
            let bytes = if is_dir { sum(&entry.path()) } else { entry.metadata().map(|about| about.len()) };
            match bytes {
                // A file that was removed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(total),
                bytes => Ok(total + bytes?),
            }
        })
    }
    sum(folder).map_err(|e| StoreError::io("looking at the database's files", e))
}

#[cfg(test)]
mod tests;
