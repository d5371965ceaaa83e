//! A small text file with the signing key in it, 0600, outside the data directory. (A root key's file is replaced far more often, and
//! is overwritten in place: see `file`.)
//!
//! Every change writes a new file beside it (`.new`), fsyncs it, exchanges the two, fsyncs the folder, and overwrites the old file, which
//! now has the name `.new`, before letting go of it. So the old bytes have a name until they are gone: whatever stands at `.new` after a
//! crash or a failure is never the file that counts, and is overwritten by the next change. What the disk under it keeps in spite of
//! that, only the disk knows: see the manual.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// Longer files are not ours.
pub(super) const MAX_FILE_BYTES: u64 = 4096;

/// What a file holds, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    /// The name of the key.
    pub what: &'static str,
    /// What it is needed for.
    pub without: &'static str,
}

/// What can go wrong with the file of a key. Says what to do; never shows a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is no file.
    #[error(
        "there is no {} at {path}: put the file back from its safe copy (the newest one); without it {}", of.what, of.without
    )]
    Missing {
        /// What it holds.
        of: &'static Holds,
        /// Where it should be.
        path: PathBuf,
    },
    /// There is a file already.
    #[error("{path} exists already: a {} is never overwritten; name another file", of.what)]
    Exists {
        /// What it would hold.
        of: &'static Holds,
        /// Where it is.
        path: PathBuf,
    },
    /// The file is readable for others.
    #[error("others than its owner may read {path}: run chmod 600 on it")]
    TooOpen {
        /// Where it is.
        path: PathBuf,
    },
    /// The file is not one of this version.
    #[error(
        "{path} is not a {} file that this program can read: put the right file back, or use the newer program that wrote it", of.what
    )]
    Malformed {
        /// What it should hold.
        of: &'static Holds,
        /// Where it is.
        path: PathBuf,
    },
    /// The medium failed.
    #[error("the {}'s medium failed at {path}: {action}", of.what)]
    Io {
        /// What it holds.
        of: &'static Holds,
        /// Where.
        path: PathBuf,
        /// Doing what.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// The file.
pub(super) struct PrivateFile {
    path: PathBuf,
    of: &'static Holds,
}

impl PrivateFile {
    pub fn at(path: &Path, of: &'static Holds) -> Self {
        Self { path: path.to_owned(), of }
    }

    /// Writes the file, which must not exist. Twice: the second time it is exchanged, and a file system that cannot do so is found now
    /// and not by the first change.
    pub fn create(&self, text: &str) -> Result<(), KeyFileError> {
        if self.path.exists() {
            return Err(KeyFileError::Exists { of: self.of, path: self.path.clone() });
        }
        // Of an attempt that was stopped before the file had its name.
        self.wipe_leftover()?;
        self.write(text).and_then(|()| self.write(text))
    }

    /// What stands in it.
    pub fn read(&self) -> Result<Zeroizing<String>, KeyFileError> {
        let (of, path) = (self.of, || self.path.clone());
        let mut file = File::open(&self.path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => KeyFileError::Missing { of, path: path() },
            _ => self.io("opening it", source),
        })?;
        let metadata = file.metadata().map_err(|source| self.io("looking at it", source))?;
        if metadata.mode() & 0o077 != 0 {
            return Err(KeyFileError::TooOpen { path: path() });
        }
        if metadata.len() > MAX_FILE_BYTES || !metadata.is_file() {
            return Err(self.malformed());
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
        file.read_to_string(&mut text).map_err(|_| self.malformed())?;
        Ok(text)
    }

    /// Puts a file with this text in the place of the present one. When it returns, that is durable and the old bytes are gone.
    pub fn write(&self, text: &str) -> Result<(), KeyFileError> {
        let successor = self.successor();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&successor)
            .map_err(|source| self.io("writing its successor", source))?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| self.take_place(&successor))
            .and_then(|()| self.sync_folder())
            .map_err(|source| self.io("replacing it", source))?;
        self.wipe_leftover()
    }

    /// Overwrites and removes what stands beside the file: a successor that did not take its place, or the one whose place was taken.
    pub fn wipe_leftover(&self) -> Result<(), KeyFileError> {
        let failed = |source| self.io("wiping the old file", source);
        let leftover = self.successor();
        let file = match OpenOptions::new().write(true).open(&leftover) {
            Ok(file) => file,
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(failed(source)),
        };
        wipe(&file).and_then(|()| fs::remove_file(&leftover)).and_then(|()| self.sync_folder()).map_err(failed)
    }

    pub fn malformed(&self) -> KeyFileError {
        KeyFileError::Malformed { of: self.of, path: self.path.clone() }
    }

    fn successor(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        PathBuf::from(name)
    }

    /// Gives the successor its place; what stood there gets the successor's name.
    fn take_place(&self, successor: &Path) -> std::io::Result<()> {
        match renameat_with(CWD, successor, CWD, &self.path, RenameFlags::EXCHANGE) {
            // There is no file yet.
            Err(Errno::NOENT) => fs::rename(successor, &self.path),
            exchanged => exchanged.map_err(std::io::Error::from),
        }
    }

    fn sync_folder(&self) -> std::io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn io(&self, action: &'static str, source: std::io::Error) -> KeyFileError {
        KeyFileError::Io { of: self.of, path: self.path.clone(), action, source }
    }
}

/// Overwrites a file's bytes in place and waits for the disk.
fn wipe(mut file: &File) -> std::io::Result<()> {
    let length = usize::try_from(file.metadata()?.len().min(MAX_FILE_BYTES)).unwrap_or(0);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&vec![0; length])?;
    file.sync_all()
}
