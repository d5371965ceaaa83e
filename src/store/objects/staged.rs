//! Staged files: what an upload writes before it is complete. `object_store` names them `object#1`, `object#2` and so on, in the
//! directory of the object, hides them from its listings, and forgets them when the process stops.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::store::disk::sync_dir_if_there;

/// Removes the staged files below `dir`, and directories left empty, which are `depth` levels deep; returns how many files.
/// `dir` itself stays.
pub(super) fn sweep(dir: &Path, depth: u32) -> io::Result<u64> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    let mut changed = false;
    for entry in entries {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        if is_dir && depth > 0 {
            removed += sweep_away(&entry.path(), depth - 1)?;
            changed = true;
        } else if !is_dir && is_staged(&entry.file_name().to_string_lossy()) {
            remove_file(&entry.path())?;
            removed += 1;
            changed = true;
        }
    }
    if changed {
        sync_dir_if_there(dir)?;
    }
    Ok(removed)
}

/// As [`sweep`], and `dir` goes too if it is left empty.
pub(super) fn sweep_away(dir: &Path, depth: u32) -> io::Result<u64> {
    let removed = sweep(dir, depth)?;
    // Fails where something is left, or where it is gone already.
    let _ = fs::remove_dir(dir);
    Ok(removed)
}

fn is_staged(name: &str) -> bool {
    name.split_once('#').is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()))
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
