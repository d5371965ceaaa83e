//! A backup: a cold copy of a mirror's newest whole generation, made while the mirror is written to. What is there already is not copied
//! again: a mirror's files only grow.

use std::path::{Path, PathBuf};

use super::Medium;
use super::directory::Directory;
use super::stream::{self, Generation, Whole};
use crate::store::StoreError;

/// Copied in one go.
const PIECE_BYTES: usize = 16 * 1024 * 1024;
/// How often it is begun again where the mirror went on to a new generation meanwhile.
const TRIES: usize = 3;

/// A backup that is being made. Nobody else writes to it meanwhile.
pub struct Backup {
    source: Directory,
    target: Directory,
    from: PathBuf,
}

impl Backup {
    /// Begins to bring the backup in `to` up to the mirror in `from`. Refused, before anything is changed, if there is no mirror, or if `to`
    /// holds something of another vault.
    pub fn begin(from: &Path, to: &Path) -> Result<Self, StoreError> {
        let source = Directory::to_read(from);
        let mirror = stream::whole(&source)?.ok_or_else(|| StoreError::NoMirror { path: from.to_owned() })?;
        Directory::create(to)?;
        let target = Directory::to_write(to)?;
        match stream::whole(&target)? {
            Some(earlier) if earlier.vault != mirror.vault => Err(StoreError::MirrorOfOther { path: to.to_owned() }),
            _ => Ok(Self { source, target, from: from.to_owned() }),
        }
    }

    /// Copies the rows. `progress` gets the bytes that are there, and those that there are to be.
    pub fn copy_rows(mut self, mut progress: impl FnMut(u64, u64)) -> Result<(), StoreError> {
        for tried in 1.. {
            let Some(Whole { generation, parts, .. }) = stream::whole(&self.source)? else { break };
            match copy_generation(&self.source, &mut self.target, (generation, &parts), &mut progress) {
                Ok(()) => return stream::keep_only(&mut self.target, Some(generation)),
                // The old generation went while it was copied.
                Err(StoreError::Io { .. }) if tried < TRIES => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::NoMirror { path: self.from })
    }
}

fn copy_generation(
    source: &Directory,
    target: &mut Directory,
    (generation, parts): (Generation, &[u32]),
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), StoreError> {
    let (mut done, mut all) = (0, 0);
    for part in parts {
        all += source.length(&generation.file(*part))?;
    }
    for part in parts {
        let name = generation.file(*part);
        let mut at = target.length(&name).unwrap_or(0).min(source.length(&name)?);
        done += at;
        loop {
            let piece = source.read(&name, at, PIECE_BYTES)?;
            if piece.is_empty() {
                break;
            }
            target.append(&name, at, &piece)?;
            at += piece.len() as u64;
            done += piece.len() as u64;
            progress(done, all.max(done));
        }
    }
    // Last: now it is whole.
    let mark = source.read(&generation.mark(), 0, PIECE_BYTES)?;
    target.append(&generation.mark(), 0, &mark)
}
