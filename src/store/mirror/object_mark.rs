//! What a mirror's directory says about its objects.
//!
//! The *mark* (`objects-complete`) says up to which position the objects are complete: every object that the rows up to there name, and
//! whose key still exists, is durable on this mirror. It is bound to the generation of the rows and written only after the objects are
//! synced. An absent, damaged or foreign mark means "not complete".
//!
//! The *progress* (`objects-progress`) is for people only: nothing is decided by it, and it is not synced.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::audit::merkle;
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::store::disk::sync_dir;
use crate::store::{Position, StoreError};

const MARK_FILE: &str = "objects-complete";
const PROGRESS_FILE: &str = "objects-progress";
/// What a file is written as before it takes its place.
const NEW_SUFFIX: &str = ".new";
const VERSION: u8 = 1;
const WHAT: &str = "the mark of a mirror's objects";
/// No mark and no progress is longer.
const MAX_FILE_BYTES: u64 = 4096;
const HASH_BYTES: usize = 32;

/// Up to where the objects of a mirror are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ObjectMark {
    /// Whose mirror it is.
    pub vault: [u8; 32],
    /// The random name of the generation of rows.
    pub generation: [u8; 16],
    /// All objects named by the rows up to here are on the mirror.
    pub at: Position,
}

impl ObjectMark {
    /// The mark in a mirror's directory; `None` where there is none that can be trusted.
    pub fn read(directory: &Path) -> Result<Option<Self>, StoreError> {
        let Some(stored) = read_small(&directory.join(MARK_FILE))? else { return Ok(None) };
        let Some((body, hash)) = stored.split_at_checked(stored.len().saturating_sub(HASH_BYTES)) else {
            return Ok(None);
        };
        if merkle::leaf(body)[..] != *hash {
            return Ok(None);
        }
        match Self::decode(body) {
            Ok(mark) => Ok(Some(mark)),
            Err(Decode::Damaged { .. }) => Ok(None),
            Err(newer) => Err(StoreError::decoding(newer)),
        }
    }

    fn decode(body: &[u8]) -> Result<Self, Decode> {
        let (mut reader, _) = Reader::versioned(WHAT, body, VERSION)?;
        let mark = Self {
            vault: reader.array()?,
            generation: reader.array()?,
            at: Position { sequence: reader.u64()?, history: reader.array()? },
        };
        reader.end()?;
        Ok(mark)
    }

    /// Writes the mark durably. A crash leaves the mark before it, or this one.
    pub fn write(&self, directory: &Path) -> Result<(), StoreError> {
        let Position { sequence, history } = self.at;
        let body = Writer::versioned(VERSION).fixed(&self.vault).fixed(&self.generation).u64(sequence).fixed(&history);
        let body = body.finish();
        let stored = [&body[..], &merkle::leaf(&body)].concat();
        replace(directory, MARK_FILE, &stored, true).map_err(|e| StoreError::io("marking a mirror's objects", e))
    }

    /// Removes the mark durably: nothing is known of the objects any more.
    pub fn remove(directory: &Path) -> Result<(), StoreError> {
        match fs::remove_file(directory.join(MARK_FILE)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| sync_dir(directory))
                .map_err(|e| StoreError::io("removing the mark of a mirror's objects", e)),
        }
    }
}

/// How far the copy of the objects to a mirror is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyProgress {
    /// Objects that were compared or copied, and all of them, in the comparison that runs; both 0 where none does.
    pub objects: (u64, u64),
    /// The same in bytes.
    pub bytes: (u64, u64),
    /// Objects that the mirror does not have yet, or has still to delete.
    pub behind: u64,
    /// About how many seconds the comparison still takes.
    pub seconds_left: Option<u64>,
    /// When this was written, in milliseconds since 1970.
    pub at_ms: u64,
}

impl CopyProgress {
    /// What the service wrote last; `None` where it wrote nothing that can be read.
    pub fn read(directory: &Path) -> Option<Self> {
        let stored = read_small(&directory.join(PROGRESS_FILE)).ok()??;
        let read = || {
            let (mut reader, _) = Reader::versioned("the progress of a mirror's objects", &stored, VERSION)?;
            let progress = Self {
                objects: (reader.u64()?, reader.u64()?),
                bytes: (reader.u64()?, reader.u64()?),
                behind: reader.u64()?,
                seconds_left: reader.option(Reader::u64)?,
                at_ms: reader.u64()?,
            };
            reader.end()?;
            Ok::<_, Decode>(progress)
        };
        read().ok()
    }

    /// Writes it, for `mirror status`.
    pub fn write(&self, directory: &Path) -> Result<(), StoreError> {
        let stored = Writer::versioned(VERSION)
            .u64(self.objects.0)
            .u64(self.objects.1)
            .u64(self.bytes.0)
            .u64(self.bytes.1)
            .u64(self.behind)
            .option(self.seconds_left, |w, seconds| w.u64(seconds))
            .u64(Timestamp::now().as_ms())
            .finish();
        replace(directory, PROGRESS_FILE, &stored, false)
            .map_err(|e| StoreError::io("writing how far a mirror's objects are", e))
    }
}

/// The bytes of a file; `None` where there is none. One that is too long is cut, and then cannot be read.
fn read_small(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    use std::io::Read as _;
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|e| StoreError::io("reading a mirror", e))?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(|e| StoreError::io("reading a mirror", e))?;
    Ok(Some(bytes))
}

/// Replaces a small file as a whole.
fn replace(directory: &Path, name: &str, bytes: &[u8], is_durable: bool) -> std::io::Result<()> {
    let (new, place) = (directory.join(format!("{name}{NEW_SUFFIX}")), directory.join(name));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    if is_durable {
        file.sync_all()?;
    }
    fs::rename(&new, &place)?;
    if is_durable { sync_dir(directory) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_cut_or_changed_at_any_byte_is_no_mark() {
        let folder = tempfile::tempdir().unwrap();
        let at = Position { sequence: 7, history: [3; 16] };
        let mark = ObjectMark { vault: [1; 32], generation: [2; 16], at };
        assert_eq!(ObjectMark::read(folder.path()).unwrap(), None);
        mark.write(folder.path()).unwrap();
        assert_eq!(ObjectMark::read(folder.path()).unwrap(), Some(mark));
        let file = folder.path().join(MARK_FILE);
        let whole = fs::read(&file).unwrap();
        for cut in 0..whole.len() {
            fs::write(&file, &whole[..cut]).unwrap();
            assert_eq!(ObjectMark::read(folder.path()).unwrap(), None, "cut at {cut}");
            let mut changed = whole.clone();
            changed[cut] ^= 1;
            fs::write(&file, &changed).unwrap();
            assert_eq!(ObjectMark::read(folder.path()).unwrap(), None, "changed at {cut}");
        }
        ObjectMark::remove(folder.path()).unwrap();
        ObjectMark::remove(folder.path()).unwrap();
    }
}
