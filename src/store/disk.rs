//! The disk beneath the store: how much room is left, and directories that are still there after a power cut. It never looks
//! into a file.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::StoreError;

/// The bytes that this process may still write to the file system that holds `path`.
pub fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| StoreError::io("asking for the free space", e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Creates `dir` and what is missing above it, durably; only this user may enter what is new.
pub(super) fn create_dir(dir: &Path) -> Result<(), StoreError> {
    let dir = std::path::absolute(dir).map_err(|e| StoreError::io("resolving a directory", e))?;
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    created.map_err(|e| StoreError::io("creating a directory", e))?;
    // Which of them are new is not known without a race, so all are synced as far up as this process may open them.
    dir.ancestors().try_for_each(|ancestor| match sync_dir(ancestor) {
        Err(e) if ancestor != dir && e.kind() == ErrorKind::PermissionDenied => Ok(()),
        done => done.map_err(|e| StoreError::io("syncing a directory", e)),
    })
}

/// Has the system forget what it cached of the files in `dir`. After a failed write the cache may hold what never reached the disk, and call it
/// clean.
pub(super) fn forget_cached(dir: &Path) -> Result<(), StoreError> {
    let failed = |e| StoreError::io("forgetting what is cached of the database", e);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            let file = File::open(path).map_err(failed)?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).map_err(|e| failed(e.into()))?;
        }
    }
    Ok(())
}

/// Makes the entries of `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes the entries of `dir` durable, if it is still there.
pub(super) fn sync_dir_if_there(dir: &Path) -> io::Result<()> {
    match sync_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_told_and_nested_directories_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let nested = dir.path().join("a/b/c");
        create_dir(&nested).unwrap();
        create_dir(&nested).unwrap();
        assert!(nested.is_dir());
        assert!(free_bytes(&nested).unwrap() > 0);
        assert!(matches!(free_bytes(&dir.path().join("nowhere")), Err(StoreError::Io { .. })));
    }
}
