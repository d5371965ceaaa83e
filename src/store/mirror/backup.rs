//! A backup: a cold copy of a mirror's newest whole generation, made while the mirror is written to. What is there already is not copied
//! again: a mirror's files only grow.

use std::path::Path;

use super::Medium;
use super::directory::Directory;
use super::stream::{self, Generation};
use crate::store::StoreError;

/// Copied in one go.
const PIECE_BYTES: usize = 16 * 1024 * 1024;
/// How often it is begun again where the mirror went on to a new generation meanwhile.
const TRIES: usize = 3;

/// Brings the rows of the backup in `to` up to those of the mirror in `from`. `progress` gets the bytes copied and those there are to copy.
pub fn copy_rows(from: &Path, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), StoreError> {
    let source = Directory::to_read(from);
    Directory::create(to)?;
    let mut target = Directory::to_write(to)?;
    for tried in 1.. {
        let Some((generation, parts)) = stream::whole(&source)? else {
            return Err(StoreError::NoMirror { path: from.to_owned() });
        };
        match copy_generation(&source, &mut target, (generation, &parts), &mut progress) {
            Ok(()) => return stream::keep_only(&mut target, generation),
            // The old generation went while it was copied.
            Err(StoreError::Io { .. }) if tried < TRIES => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last try returns")
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
