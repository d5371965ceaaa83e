//! Copies a folder as a thief or a backup would: file by file, while the service runs. It never writes into what it copies.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::error::DemoError;

/// A data folder is four levels deep.
const MAX_DEPTH: usize = 8;

/// What a copy came to.
#[derive(Default)]
pub(super) struct Copied {
    pub files: usize,
    pub bytes: u64,
}

/// Copies all of `from` into the new folder `to`. A file that vanishes meanwhile is left out: the service runs on. Blocks.
pub(super) fn copy(from: &Path, to: &Path) -> Result<Copied, DemoError> {
    let mut copied = Copied::default();
    copy_level(from, to, MAX_DEPTH, &mut copied)?;
    Ok(copied)
}

fn copy_level(from: &Path, to: &Path, depth: usize, copied: &mut Copied) -> Result<(), DemoError> {
    let depth = depth.checked_sub(1).ok_or_else(|| DemoError::TooDeep(from.to_owned()))?;
    fs::create_dir_all(to).map_err(DemoError::io("make", to))?;
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(DemoError::io("read", from))?,
    };
    for entry in entries {
        let entry = entry.map_err(DemoError::io("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy_level(&source, &target, depth, copied)?;
            continue;
        }
        match fs::copy(&source, &target) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => {
                copied.bytes += done.map_err(DemoError::io("copy", &source))?;
                copied.files += 1;
            }
        }
    }
    Ok(())
}
