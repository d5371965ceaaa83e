//! A backup: a cold copy of a mirror's newest whole generation, made while the mirror is written to. What is there already is not copied
//! again: a mirror's files only grow.

use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::stream::{self, Generation, Whole};
use super::{Medium, Sort};
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
    to: PathBuf,
}

impl Backup {
    /// Begins to bring the backup in `to` up to the mirror in `from`. Refused, before anything is changed, if there is no mirror of everything,
    /// or if `to` holds something of another vault.
    pub fn begin(from: &Path, to: &Path) -> Result<Self, StoreError> {
        let source = Directory::to_read(from);
        let mirror = stream::whole(&source)?.filter(|mirror| mirror.generation.sort == Sort::Whole);
        let mirror = mirror.ok_or_else(|| StoreError::NoMirror { path: from.to_owned() })?;
        Directory::create(to)?;
        let target = Directory::to_write(to)?;
        match stream::whole(&target)? {
            Some(earlier) if earlier.vault != mirror.vault => Err(StoreError::MirrorOfOther { path: to.to_owned() }),
            _ => Ok(Self { source, target, from: from.to_owned(), to: to.to_owned() }),
        }
    }

    /// Copies the rows. `progress` gets the bytes that are there, and those that there are to be. Returns up to which group.
    pub fn copy_rows(&mut self, mut progress: impl FnMut(u64, u64)) -> Result<u64, StoreError> {
        for tried in 1.. {
            let Some(whole) = stream::whole(&self.source)? else { break };
            // What an earlier attempt left half done.
            let good = stream::whole(&self.target)?.map(|good| good.generation);
            stream::keep_only(&mut self.target, good)?;
            match self.copy_generation(&whole, &mut progress) {
                Ok(copied) => {
                    stream::keep_only(&mut self.target, Some(copied))?;
                    let newest = stream::newest(&self.target)?;
                    return newest.map(|(_, at)| at.sequence).ok_or_else(|| self.no_mirror());
                }
                // The old generation went while it was copied.
                Err(StoreError::Io { .. }) if tried < TRIES => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.no_mirror())
    }

    /// Marks that the backup has every object that its rows name. They must be durable there already.
    pub fn mark_objects(&self) -> Result<(), StoreError> {
        let Some((_, at)) = stream::newest(&self.target)? else { return Err(self.no_mirror()) };
        super::mark_objects(&self.to, at).map(drop)
    }

    fn no_mirror(&self) -> StoreError {
        StoreError::NoMirror { path: self.from.clone() }
    }

    /// Copies a generation, or what it has more than the copy that is there; returns under which name it stands in the backup.
    fn copy_generation(
        &mut self,
        whole: &Whole,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Generation, StoreError> {
        let (mut done, mut all) = (0, 0);
        for part in &whole.parts {
            all += self.source.length(&whole.generation.file(*part))?;
        }
        // By the generation's own name: two mirrors number theirs alike, and their files are not the same.
        let earlier = stream::whole(&self.target)?.filter(|earlier| earlier.name == whole.name);
        let (copy, known) = match earlier {
            Some(earlier) => (earlier.generation, earlier.parts),
            None => {
                let number = stream::next_number(&self.target)?;
                (Generation { number, sort: whole.generation.sort }, Vec::new())
            }
        };
        for part in &whole.parts {
            let (from, to) = (whole.generation.file(*part), copy.file(*part));
            let is_known = known.contains(part);
            let mut at = match known.last() {
                // What a crash left behind the last whole frame is not trusted.
                Some(last) if last == part => stream::end_of(&self.target, &to)?,
                _ if is_known => self.target.length(&to)?,
                _ => 0,
            };
            at = at.min(self.source.length(&from)?);
            done += at;
            loop {
                let piece = self.source.read(&from, at, PIECE_BYTES)?;
                if piece.is_empty() && (at > 0 || is_known) {
                    break;
                }
                self.target.append(&to, at, &piece)?;
                if piece.is_empty() {
                    break;
                }
                at += piece.len() as u64;
                done += piece.len() as u64;
                progress(done, all.max(done));
            }
        }
        if known.is_empty() {
            // Last: now it is whole.
            let mark = self.source.read(&whole.generation.mark(), 0, PIECE_BYTES)?;
            self.target.append(&copy.mark(), 0, &mark)?;
        }
        Ok(copy)
    }
}
