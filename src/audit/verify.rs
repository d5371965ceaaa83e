//! Checking a whole copy of the log, offline: with the public keys, and with checkpoints that were kept elsewhere. It is pure: the files
//! come through [`Files`]. Every entry is hashed anew, and every tile and the root are held against that; so a byte that was edited, an
//! entry that was dropped, added or moved, and a history that was rewritten are found, and the first of them is named. In memory are one
//! bundle of entries, at most one tile for each level, and the right edge of the tree.
//!
//! A history that was rewritten by whoever has the log's key is whole in itself: it is found from an earlier checkpoint, or missed by its
//! witnesses. So is one that was cut back to a checkpoint that was once true. Files that the checkpoint does not call for are not looked at.

use std::iter::Peekable;
use std::vec;

use super::copy::{self, CHECKPOINT, CopyError, Files};
use super::cosignature::{Cosigned, WitnessKey};
use super::merkle::{Frontier, leaf};
use super::note::{Checkpoint, MAX_NOTE_BYTES, NoteError, VerifierKey};
use super::tile::{self, FULL, HEIGHT, Kind, LEVELS, NotABundle, Tile};
use super::{Entry, Event};
use crate::crypto::hash::{SHA256_BYTES, same};
use crate::crypto::sign::PUBLIC_KEY_BYTES;
use crate::domain::clock::Timestamp;
use crate::domain::codec::Decode;

#[cfg(test)]
mod tests;

/// What a copy is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Trusted<'a> {
    /// The log's public keys, of which one must have signed the checkpoint.
    pub keys: &'a [VerifierKey],
    /// Witnesses whose cosignatures are looked for.
    pub witnesses: &'a [WitnessKey],
    /// Checkpoints that were kept elsewhere, as signed notes in any order: the copy must continue each of them.
    pub earlier: &'a [&'a str],
    /// How far an entry may be dated before one in front of it without being counted, in milliseconds.
    pub tolerance_ms: u64,
}

/// What was found in a copy that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the log signed; the copy has exactly its entries. With who signed it.
    pub signed: Cosigned,
    /// The times of the entries.
    pub times: Times,
}

/// The times of the entries, in the order in which they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// Of the first entry.
    pub first: Option<Timestamp>,
    /// Of the last one.
    pub last: Option<Timestamp>,
    /// The latest.
    pub latest: Option<Timestamp>,
    /// How many entries are dated before an earlier one by more than the tolerance: somebody's clock was set back.
    pub set_back: u64,
    /// The one of them that is dated back the furthest.
    pub furthest: Option<SetBack>,
}

/// An entry that is dated before one in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetBack {
    /// Its position.
    pub entry: u64,
    /// By how many milliseconds.
    pub by_ms: u64,
}

/// The first thing that is wrong with a copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified<E: std::error::Error + 'static> {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] CopyError<E>),
    /// The copy's own checkpoint cannot be accepted.
    #[error("the checkpoint of the copy cannot be accepted: {0}")]
    Checkpoint(NoteError),
    /// A checkpoint that was kept elsewhere cannot be accepted.
    #[error("the earlier checkpoint {number}, counted from 1, cannot be accepted: {source}")]
    Earlier {
        /// Which.
        number: usize,
        /// Why.
        source: NoteError,
    },
    /// The copy has fewer entries than the log had before.
    #[error(
        "the copy has {size} entries, and the log has signed that it had {earlier}: entries were taken off its end"
    )]
    Shortened {
        /// Entries of the copy.
        size: u64,
        /// Entries that the log had.
        earlier: u64,
    },
    /// A bundle cannot be read.
    #[error("{path} is not the bundle of {width} entries that it must be: {source}")]
    Bundle {
        /// Which.
        path: String,
        /// How many entries it must hold.
        width: u16,
        /// Why.
        source: NotABundle,
    },
    /// An entry is not the one that was logged.
    #[error("entry {entry} is not the one whose hash stands in {path}: one of them was changed")]
    Entry {
        /// Its position.
        entry: u64,
        /// The tile that says otherwise.
        path: String,
    },
    /// A tile does not follow from those below it.
    #[error("hash {place} of {path} does not follow from the entries: the tile was changed")]
    Tile {
        /// Which.
        path: String,
        /// Which of its hashes, counted from 0.
        place: usize,
    },
    /// An entry cannot be read.
    #[error("entry {entry} cannot be read: {source}")]
    Unreadable {
        /// Its position.
        entry: u64,
        /// Why.
        source: Decode,
    },
    /// A key signed it that had been replaced by then.
    #[error(
        "entry {entry} says that another key signs the log from there on than the one that signed the checkpoint: a key that was replaced was used again"
    )]
    Replaced {
        /// Where it says so.
        entry: u64,
    },
    /// An earlier checkpoint is of another history.
    #[error("the first {size} entries are not those that the log had signed before: its history was rewritten")]
    Forked {
        /// How many entries the log had then.
        size: u64,
    },
    /// The root is another one.
    #[error(
        "the {size} entries and their tiles agree with each other, but not with the checkpoint: they were replaced"
    )]
    Root {
        /// How many entries the checkpoint speaks of.
        size: u64,
    },
}

/// Checks a copy. `progress` is told after each bundle how many entries were checked.
pub fn verify<F: Files>(
    files: &F,
    trusted: &Trusted<'_>,
    mut progress: impl FnMut(u64),
) -> Result<Report, NotVerified<F::Error>> {
    let note = copy::read(files, CHECKPOINT, MAX_NOTE_BYTES)?;
    let note = str::from_utf8(&note).ok().filter(|note| note.len() <= MAX_NOTE_BYTES);
    let note = note.ok_or(NotVerified::Checkpoint(NoteError::Malformed))?;
    let signed = Cosigned::open(note, trusted.keys, trusted.witnesses).map_err(NotVerified::Checkpoint)?;
    let Checkpoint { size, root, .. } = signed.checkpoint;
    let earlier = open_earlier(&signed.checkpoint, trusted)?;
    let mut walk = Walk::new(files, size, earlier, trusted.tolerance_ms)?;
    for index in 0..size.div_ceil(u64::from(FULL)) {
        walk.bundle(index)?;
        progress(walk.frontier.size());
    }
    if !same(&walk.frontier.root(), &root) {
        return Err(NotVerified::Root { size });
    }
    if let Some((entry, public)) = walk.signs
        && signed.signed_by.iter().all(|key| key.public != public)
    {
        return Err(NotVerified::Replaced { entry });
    }
    Ok(Report { signed, times: walk.times })
}

/// The earlier checkpoints of the log, the smallest first.
fn open_earlier<E: std::error::Error>(
    now: &Checkpoint,
    trusted: &Trusted<'_>,
) -> Result<Vec<Checkpoint>, NotVerified<E>> {
    let mut earlier = Vec::new();
    for (number, note) in (1..).zip(trusted.earlier) {
        let of_this_log = |checkpoint: &Checkpoint| checkpoint.origin == now.origin;
        let opened = Checkpoint::open(note, trusted.keys);
        let opened = opened.and_then(|checkpoint| Some(checkpoint).filter(of_this_log).ok_or(NoteError::NotSigned));
        let checkpoint = opened.map_err(|source| NotVerified::Earlier { number, source })?;
        if checkpoint.size > now.size {
            return Err(NotVerified::Shortened { size: now.size, earlier: checkpoint.size });
        }
        earlier.push(checkpoint);
    }
    earlier.sort_by_key(|checkpoint| checkpoint.size);
    Ok(earlier)
}

/// Where the check stands on its way through the entries.
struct Walk<'a, F> {
    files: &'a F,
    size: u64,
    frontier: Frontier,
    /// For each level of tiles, the hashes of the one that is not full yet.
    levels: [Vec<u8>; LEVELS as usize],
    /// The checkpoints that are still ahead, the smallest first.
    earlier: Peekable<vec::IntoIter<Checkpoint>>,
    tolerance_ms: u64,
    times: Times,
    /// The key that signs from some entry on, as that entry says.
    signs: Option<(u64, [u8; PUBLIC_KEY_BYTES])>,
}

impl<'a, F: Files> Walk<'a, F> {
    fn new(
        files: &'a F,
        size: u64,
        earlier: Vec<Checkpoint>,
        tolerance_ms: u64,
    ) -> Result<Self, NotVerified<F::Error>> {
        let mut walk = Self {
            files,
            size,
            frontier: Frontier::EMPTY,
            levels: Default::default(),
            earlier: earlier.into_iter().peekable(),
            tolerance_ms,
            times: Times::default(),
            signs: None,
        };
        walk.fork().map_or(Ok(walk), Err)
    }

    /// Checks a bundle, and all tiles that end with it.
    fn bundle(&mut self, index: u64) -> Result<(), NotVerified<F::Error>> {
        let tile = Tile::of(Kind::Entries, index, self.size).expect("the bundle holds entries of the log");
        let path = tile.to_string();
        let bytes = copy::read(self.files, &path, tile::longest_bundle(tile.width))?;
        let entries = tile::unbundle(&bytes, tile.width);
        let entries = entries.map_err(|source| NotVerified::Bundle { path, width: tile.width, source })?;
        let mut forked = None;
        for entry in &entries {
            self.hash(entry);
            forked = forked.or_else(|| self.fork());
        }
        let is_last = self.frontier.size() == self.size;
        for level in 0..LEVELS {
            self.tile(level, is_last)?;
        }
        // What was changed in a file is told before this and what follows: it says where.
        forked.map_or(Ok(()), Err)?;
        (tile.first()..).zip(entries).try_for_each(|(position, entry)| self.read(position, entry))
    }

    /// Takes the hash of the next entry into the tree, and into the tiles that it or what it completes belongs to.
    fn hash(&mut self, entry: &[u8]) {
        for (node, hash) in self.frontier.push(leaf(entry)) {
            if node.level.is_multiple_of(HEIGHT) {
                self.levels[usize::from(node.level / HEIGHT)].extend_from_slice(&hash);
            }
        }
    }

    fn read(&mut self, position: u64, entry: &[u8]) -> Result<(), NotVerified<F::Error>> {
        let unreadable = |source| NotVerified::Unreadable { entry: position, source };
        let entry = Entry::decode(entry).map_err(unreadable)?;
        self.times.add(position, entry.at, self.tolerance_ms);
        if let Event::LogKey { public, .. } = entry.event {
            self.signs = Some((position, public));
        }
        Ok(())
    }

    /// Compares with the earlier checkpoints of the size that is reached.
    fn fork(&mut self) -> Option<NotVerified<F::Error>> {
        let size = self.frontier.size();
        let root = self.earlier.peek().filter(|earlier| earlier.size == size).map(|_| self.frontier.root())?;
        let mut differs = false;
        while let Some(earlier) = self.earlier.next_if(|earlier| earlier.size == size) {
            differs |= !same(&earlier.root, &root);
        }
        differs.then_some(NotVerified::Forked { size })
    }

    /// Compares the tile of a level with the hashes that were found, once it is full or the log ends.
    fn tile(&mut self, level: u8, is_last: bool) -> Result<(), NotVerified<F::Error>> {
        let hashes = &mut self.levels[usize::from(level)];
        let width = hashes.len() / SHA256_BYTES;
        if width < usize::from(FULL) && !(is_last && width > 0) {
            return Ok(());
        }
        let kind = Kind::Hashes { level };
        let index = (kind.count(self.frontier.size()) - 1) / u64::from(FULL);
        let tile = Tile::of(kind, index, self.size).expect("the tile holds hashes of the log");
        let found = copy::read_hashes(self.files, tile)?;
        let mut pairs = found.chunks(SHA256_BYTES).zip(hashes.chunks(SHA256_BYTES));
        if let Some(place) = pairs.position(|(found, hash)| found != hash) {
            let path = tile.to_string();
            let entry = tile.first() + place as u64;
            return Err(if level == 0 {
                NotVerified::Entry { entry, path }
            } else {
                NotVerified::Tile { path, place }
            });
        }
        hashes.clear();
        Ok(())
    }
}

impl Times {
    fn add(&mut self, entry: u64, at: Timestamp, tolerance_ms: u64) {
        let latest = self.latest.unwrap_or(at);
        let by_ms = latest.as_ms().saturating_sub(at.as_ms());
        if by_ms > tolerance_ms {
            self.set_back += 1;
            if self.furthest.is_none_or(|furthest| furthest.by_ms < by_ms) {
                self.furthest = Some(SetBack { entry, by_ms });
            }
        }
        self.first = self.first.or(Some(at));
        (self.last, self.latest) = (Some(at), Some(latest.max(at)));
    }
}
