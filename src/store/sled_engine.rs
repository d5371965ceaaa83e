//! sled 0.34.7 behind the [`Database`] trait, with its known faults mended. It never retries a sync.
//!
//! | what sled does | what is done here |
//! |---|---|
//! | `flush` ends in `sync_file_range`, which is no fsync; it never syncs `conf`, nor the directory | `sync_data` on a descriptor of our own, opened before sled's first write so that no error of the kernel is missed; `conf` and the directories are synced at open |
//! | a leftover `snap.*.generating` stops it from opening | removed first |
//! | it fails or panics at open on a damaged snapshot | the snapshots are set aside and the log is replayed once |
//! | that replay can find nothing, and then overwrites the log: segments that only a snapshot accounts for are a gap to it (about one in fifty, on a database that was opened three times) | the log is copied aside first; where the replay finds nothing, all is put back as it was and the start is refused |
//! | it still holds its lock for a moment after it was dropped | the lock is tried for five seconds |
//! | an iterator takes its lock row by row, so that it sees half a batch | a lock of our own around `apply`, and around each range |
//! | a batch that fails midway counts as whole once the log is written, which happens on drop | after a failed `apply` it is never dropped |
//! | it panics where others return an error | every call is caught |
//! | values above about 128 KiB become files that it never syncs | the committer refuses values above 4 KiB |

use std::fs::{self, File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{create_dir, forget_cached, sync_dir};
use super::{Database, MAX_RANGE_ROWS, Row, StoreError, Write};

/// sled's cache takes several times of what it is told (its issues 1309 and 1410), so it is told little unless the operator says otherwise.
pub const DEFAULT_CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// How long another holder of a lock is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(50);
/// The most folders of snapshots that were set aside. Many of them mean a failing disk, and an operator who should know.
const MAX_SET_ASIDE: u32 = 100;

const LOCK_FILE: &str = "oubliette.lock";
const DATA_FILE: &str = "db";
const CONFIG_FILE: &str = "conf";
const SNAPSHOT_PREFIX: &str = "snap.";
const UNFINISHED_SUFFIX: &str = ".generating";
const SET_ASIDE_PREFIX: &str = "set-aside-";

/// The embedded engine: one sled tree in a directory of its own.
pub struct SledEngine {
    // The fields are dropped in this order: sled writes once more, then the lock goes.
    db: sled::Db,
    data_file: File,
    whole_batches: RwLock<()>,
    /// Once sled met an error of the disk, it answers most reads with it, too.
    has_failed: AtomicBool,
    _lock: File,
}

/// How a database is opened.
#[derive(Clone, Copy)]
struct Opening {
    patience: Duration,
    cache_bytes: u64,
}

impl Default for Opening {
    fn default() -> Self {
        Self { patience: LOCK_PATIENCE, cache_bytes: DEFAULT_CACHE_BYTES }
    }
}

impl SledEngine {
    /// Opens the database in `dir`, or creates it. Blocks, for five seconds if another process has it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_as(dir, Opening::default())
    }

    /// The same, with about so many bytes of it in memory.
    pub fn open_with_cache(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        Self::open_as(dir, Opening { cache_bytes, ..Opening::default() })
    }

    fn open_as(dir: &Path, opening: Opening) -> Result<Self, StoreError> {
        create_dir(dir)?;
        let lock = lock_dir(dir, opening.patience)?;
        remove_unfinished_snapshots(dir)?;
        let data_file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(DATA_FILE));
        let data_file = data_file.map_err(|e| StoreError::io("opening the database file", e))?;
        if let Err(error) = forget_cached(dir) {
            tracing::warn!(%error, "the database may be read from the system's cache instead of the disk");
        }
        let db = open_or_replay(dir, opening)?;
        let engine =
            Self { db, data_file, whole_batches: RwLock::new(()), has_failed: AtomicBool::new(false), _lock: lock };
        engine.sync()?;
        sync_new_files(dir).map_err(|e| StoreError::io("syncing the database directory", e))?;
        Ok(engine)
    }

    fn read<T>(&self, read: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StoreError> {
        let _whole = self.whole_batches.read().unwrap_or_else(PoisonError::into_inner);
        guarded("reading", || read(&self.db)).inspect_err(|error| self.remember(error))
    }

    fn remember(&self, error: &StoreError) {
        // One page that does not open is no failing disk: the others do, and will.
        if matches!(error, StoreError::Io { .. } | StoreError::Full) {
            self.has_failed.store(true, Ordering::Relaxed);
        }
    }
}

impl Database for SledEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|db| Ok(db.get(key)?.map(|value| value.to_vec())))
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if limit > MAX_RANGE_ROWS {
            return Err(StoreError::TooMuch { limit: MAX_RANGE_ROWS as u64 });
        }
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(|db| db.range(from..to).take(limit).map(|row| row.map(to_row)).collect())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        if from >= to {
            return Ok(None);
        }
        self.read(|db| db.range(from..to).next_back().map(|row| row.map(to_row)).transpose())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for write in writes {
            match write {
                Write::Put { key, value } => batch.insert(key.as_slice(), value.as_slice()),
                Write::Delete { key } => batch.remove(key.as_slice()),
            }
        }
        let _whole = self.whole_batches.write().unwrap_or_else(PoisonError::into_inner);
        guarded("writing", || self.db.apply_batch(batch)).inspect_err(|error| {
            self.remember(error);
            // Dropping the last handle would write what is in memory, half a batch included: this one stays until the end.
            std::mem::forget(self.db.clone());
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        let synced = guarded("flushing", || self.db.flush());
        let synced =
            synced.and_then(|_| self.data_file.sync_data().map_err(|e| StoreError::io("syncing the database file", e)));
        synced.inspect_err(|error| self.remember(error))
    }

    fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }
}

fn to_row((key, value): (sled::IVec, sled::IVec)) -> Row {
    (key.to_vec(), value.to_vec())
}

/// Runs a call of sled; its panics are errors like the others.
fn guarded<T>(doing: &'static str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(source))) => Err(StoreError::io(doing, source)),
        Ok(Err(source)) => Err(StoreError::Engine { doing, source: source.into() }),
        Err(_) => Err(StoreError::Engine { doing, source: "the engine panicked; the log has the details".into() }),
    }
}

/// Takes the directory for this process, until the file is closed.
fn lock_dir(dir: &Path, patience: Duration) -> Result<File, StoreError> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK_FILE));
    let file = file.map_err(|e| StoreError::io("opening the lock file", e))?;
    let give_up = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("locking the data directory", e)),
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: dir.to_owned() }),
        }
    }
}

/// sled reads a half-written snapshot as if it were one. They are not needed: the log has all.
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StoreError> {
    for path in snapshots(dir)?.iter().filter(|path| path.to_string_lossy().ends_with(UNFINISHED_SUFFIX)) {
        fs::remove_file(path).map_err(|e| StoreError::io("removing an unfinished snapshot", e))?;
        tracing::warn!("removed an unfinished snapshot of the database, left by a crash at start");
    }
    Ok(())
}

fn open_or_replay(dir: &Path, opening: Opening) -> Result<sled::Db, StoreError> {
    let first = match open_sled(dir, opening) {
        Err(e @ (StoreError::Io { .. } | StoreError::Engine { .. })) => e,
        settled => return settled,
    };
    let Some(aside) = set_aside(dir)? else { return Err(first) };
    tracing::warn!(
        error = &first as &dyn std::error::Error,
        copy = %aside.display(),
        "replaying the whole log, without the snapshots; the files as they were stay in the copy until you remove them"
    );
    // Snapshots over an empty log: the log was lost, or this replay does not find it. An empty database would say that there never was a
    // customer.
    match open_sled(dir, opening) {
        Ok(db) if !db.is_empty() => Ok(db),
        emptied_or_failed => {
            drop(emptied_or_failed);
            put_back(dir, &aside).map_err(|e| StoreError::io("putting the database files back", e))?;
            Err(StoreError::Damaged { what: "the database file" })
        }
    }
}

/// Opens sled, waiting for a lock that it may still hold since it was last dropped.
fn open_sled(dir: &Path, Opening { patience, cache_bytes }: Opening) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(None).use_compression(false);
    let give_up = Instant::now() + patience;
    loop {
        let mut locked = false;
        let mut unsupported = false;
        let opened = guarded("opening", || {
            config.open().inspect_err(|e| {
                locked = is_lock_error(e);
                unsupported = matches!(e, sled::Error::Unsupported(_));
            })
        });
        match opened {
            Err(_) if unsupported => return Err(StoreError::NewerFormat { what: "the database files" }),
            Err(_) if locked && Instant::now() < give_up => thread::sleep(LOCK_RETRY),
            Err(_) if locked => return Err(StoreError::InUse { path: dir.to_owned() }),
            settled => return settled,
        }
    }
}

/// sled has no variant for this, only its words.
fn is_lock_error(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(e) if e.to_string().starts_with("could not acquire lock"))
}

/// Copies the log and moves all snapshots into a folder of their own; `None` if there are no snapshots.
fn set_aside(dir: &Path) -> Result<Option<PathBuf>, StoreError> {
    let snapshots = snapshots(dir)?;
    if snapshots.is_empty() {
        return Ok(None);
    }
    let mut candidates = (1..=MAX_SET_ASIDE).map(|n| dir.join(format!("{SET_ASIDE_PREFIX}{n}")));
    let aside = candidates.find(|path| !path.exists());
    let aside = aside.ok_or(StoreError::Damaged { what: "the database, after many snapshots were set aside," })?;
    create_dir(&aside)?;
    let failed = |e| StoreError::io("setting the database files aside", e);
    copy_durably(&dir.join(DATA_FILE), &aside.join(DATA_FILE)).map_err(failed)?;
    for path in snapshots {
        let name = path.file_name().expect("a listed file has a name");
        fs::rename(&path, aside.join(name)).map_err(failed)?;
    }
    sync_dir(&aside).and_then(|()| sync_dir(dir)).map_err(failed)?;
    Ok(Some(aside))
}

/// Undoes [`set_aside`] after a replay that found nothing.
fn put_back(dir: &Path, aside: &Path) -> std::io::Result<()> {
    let written_by_the_replay = fs::read_dir(dir)?.filter_map(Result::ok).map(|entry| entry.path());
    for path in written_by_the_replay.filter(|path| is_snapshot(path)) {
        fs::remove_file(path)?;
    }
    copy_durably(&aside.join(DATA_FILE), &dir.join(DATA_FILE))?;
    for entry in fs::read_dir(aside)? {
        let entry = entry?;
        if is_snapshot(&entry.path()) {
            fs::rename(entry.path(), dir.join(entry.file_name()))?;
        }
    }
    sync_dir(dir)?;
    fs::remove_file(aside.join(DATA_FILE))?;
    fs::remove_dir(aside)
}

/// Copies into the file of that name, and not over it: descriptors of it stay good.
fn copy_durably(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut copy = fs::OpenOptions::new().write(true).create(true).truncate(true).open(to)?;
    std::io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()
}

fn is_snapshot(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SNAPSHOT_PREFIX))
}

fn snapshots(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listed = || fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>();
    let listed = listed().map_err(|e| StoreError::io("listing the database directory", e))?;
    Ok(listed.into_iter().filter(|path| is_snapshot(path)).collect())
}

/// What sled creates at open and does not sync; the data file is synced with every commit.
fn sync_new_files(dir: &Path) -> std::io::Result<()> {
    File::open(dir.join(CONFIG_FILE))?.sync_all()?;
    sync_dir(dir)
}

#[cfg(test)]
mod tests;
