//! A mirror in a directory: row files under `rows/`, objects under `objects/`.

use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Medium;
use crate::store::StoreError;
use crate::store::disk::{create_dir, sync_dir};

const LOCK_FILE: &str = "oubliette.lock";
const ROWS: &str = "rows";

/// A directory.
pub(super) struct Directory {
    rows: PathBuf,
    /// The file that was last appended to.
    open: Option<(String, File)>,
    /// Held as long as somebody writes.
    _lock: Option<File>,
}

impl Directory {
    /// Makes one, where it is not there yet; durable.
    pub fn create(dir: &Path) -> Result<(), StoreError> {
        create_dir(&dir.join(ROWS))?;
        let made = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join(LOCK_FILE));
        made.and_then(|file| file.sync_all())
            .and_then(|()| sync_dir(dir))
            .map_err(|e| StoreError::io("making a mirror", e))
    }

    /// Whether one was made there.
    pub fn is_made(dir: &Path) -> bool {
        dir.join(LOCK_FILE).is_file()
    }

    /// To be written to, one writer at a time. It must have been made: where a disk is not mounted, its mount point is another disk's, and
    /// nothing may be written there as if it were the mirror.
    pub fn to_write(dir: &Path) -> Result<Self, StoreError> {
        let rows = dir.join(ROWS);
        let lock = match OpenOptions::new().write(true).open(dir.join(LOCK_FILE)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(StoreError::NotAMirror { path: dir.to_owned() }),
            lock => lock.map_err(|e| StoreError::io("opening a mirror's lock file", e))?,
        };
        match lock.try_lock() {
            Ok(()) => Ok(Self { rows, open: None, _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: dir.to_owned() }),
            Err(TryLockError::Error(e)) => Err(StoreError::io("locking a mirror", e)),
        }
    }

    /// Whether a process writes to it now. Changes nothing, so the disk may be mounted read-only.
    pub fn is_written_to(dir: &Path) -> Result<bool, StoreError> {
        let lock = match File::open(dir.join(LOCK_FILE)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            lock => lock.map_err(|e| StoreError::io("opening a mirror's lock file", e))?,
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => Err(StoreError::io("looking at a mirror's lock", e)),
        }
    }

    /// To be read, also while somebody writes.
    pub fn to_read(dir: &Path) -> Self {
        Self { rows: dir.join(ROWS), open: None, _lock: None }
    }

    /// How long a file is.
    pub fn length(&self, name: &str) -> Result<u64, StoreError> {
        let about = self.rows.join(name).metadata();
        Ok(about.map_err(|e| StoreError::io("reading a mirror", e))?.len())
    }

    fn file(&mut self, name: &str) -> std::io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            let path = self.rows.join(name);
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
            sync_dir(&self.rows)?;
            self.open = Some((name.to_owned(), file));
        }
        Ok(&mut self.open.as_mut().expect("it was opened above").1)
    }
}

impl Medium for Directory {
    fn list(&self) -> Result<Vec<String>, StoreError> {
        let entries = match fs::read_dir(&self.rows) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| StoreError::io("listing a mirror", e))?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<Result<Vec<_>, _>>().map_err(|e| StoreError::io("listing a mirror", e))?;
        names.sort();
        Ok(names)
    }

    fn read(&self, name: &str, from: u64, most: usize) -> Result<Vec<u8>, StoreError> {
        let read = || {
            let mut file = File::open(self.rows.join(name))?;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.take(most as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|e| StoreError::io("reading a mirror", e))
    }

    fn append(&mut self, name: &str, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.rows.join(name);
        let append = |file: &mut File| {
            let open = file.metadata()?;
            match open.len().cmp(&at) {
                Ordering::Equal => {}
                Ordering::Greater => file.set_len(at)?,
                // What is to stand in front is not there: a hole of zeros must not take its place.
                Ordering::Less => return Err(std::io::Error::other("the file is shorter than what was written to it")),
            }
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)?;
            file.sync_data()?;
            // Whoever removed or moved the directory would otherwise see everything go well, into a file without a name.
            let named = path.metadata()?;
            if (named.dev(), named.ino()) == (open.dev(), open.ino()) {
                Ok(())
            } else {
                Err(ErrorKind::NotFound.into())
            }
        };
        let appended = self.file(name).and_then(append);
        appended.map_err(|e| {
            // What the kernel could not write it may have dropped: this descriptor is not trusted any more.
            self.open = None;
            StoreError::io("writing to a mirror", e)
        })
    }

    fn sync(&mut self, name: &str) -> Result<(), StoreError> {
        let synced = File::open(self.rows.join(name)).and_then(|file| file.sync_all());
        synced.map_err(|e| StoreError::io("syncing a mirror", e))
    }

    fn remove(&mut self, name: &str) -> Result<(), StoreError> {
        self.open.take_if(|(open, _)| open == name);
        let removed = fs::remove_file(self.rows.join(name)).and_then(|()| sync_dir(&self.rows));
        removed.map_err(|e| StoreError::io("removing an old file of a mirror", e))
    }
}
