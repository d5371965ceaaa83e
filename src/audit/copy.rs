//! Reading a copy of the log: its checkpoint and tiles, wherever their bytes come from. A file that is missing or has another size than
//! the log's size calls for is refused by name. What a tile says is not believed here: [`verify`](super::verify) holds it against the
//! entries and the checkpoint, and a proof made from it is worth what its check says.

use std::cell::RefCell;

use super::merkle::{self, Hash, Node, Nodes};
use super::tile::{FULL, HEIGHT, Kind, LEVELS, Tile};
use crate::crypto::hash::SHA256_BYTES;

#[cfg(test)]
mod tests;

/// The path of the checkpoint, from the top of the copy.
pub const CHECKPOINT: &str = "checkpoint";

/// The files of a copy.
pub trait Files {
    /// Why a file that is there cannot be read.
    type Error: std::error::Error + 'static;

    /// The file at `path`, which is relative, with `/`; all of it, or its first `at_most` bytes if it is longer. `None` if there is none.
    fn read(&self, path: &str, at_most: usize) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// A file of a copy that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError<E: std::error::Error + 'static> {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: E,
    },
    /// It is not there.
    #[error("{path} is missing")]
    Missing {
        /// Which.
        path: String,
    },
    /// It has another size than it must have.
    #[error("{path} has not the size of {hashes} hashes of 32 bytes, which it must hold")]
    Size {
        /// Which.
        path: String,
        /// How many hashes it must hold.
        hashes: u16,
    },
    /// A hash was asked for that the tree of this size does not have.
    #[error("the tree with {size} entries has no complete subtree {index} of 2^{level} entries")]
    Outside {
        /// The size of the tree.
        size: u64,
        /// The level of the subtree.
        level: u8,
        /// Its place among those of its level.
        index: u64,
    },
}

/// The file at `path`: all of it, or a little more than `at_most` bytes, so that a longer one can be told.
pub(super) fn read<F: Files>(files: &F, path: &str, at_most: usize) -> Result<Vec<u8>, CopyError<F::Error>> {
    let found = files.read(path, at_most + 1).map_err(|source| CopyError::Read { path: path.to_owned(), source })?;
    found.ok_or_else(|| CopyError::Missing { path: path.to_owned() })
}

/// The bytes of a tile of hashes, as many as it must have.
pub(super) fn read_hashes<F: Files>(files: &F, tile: Tile) -> Result<Vec<u8>, CopyError<F::Error>> {
    let (path, bytes) = (tile.to_string(), usize::from(tile.width) * SHA256_BYTES);
    let found = read(files, &path, bytes)?;
    if found.len() == bytes { Ok(found) } else { Err(CopyError::Size { path, hashes: tile.width }) }
}

/// The tree over a copied log, read from its tiles: roots and proofs can be made from it as from the log itself. It remembers one tile a
/// level, at most 64 KiB.
pub struct TileNodes<'a, F> {
    files: &'a F,
    size: u64,
    known: RefCell<[Option<Known>; LEVELS as usize]>,
}

/// A tile, and its bytes.
type Known = (Tile, Vec<u8>);

impl<'a, F: Files> TileNodes<'a, F> {
    /// The tree of the first `size` entries; the copy must have the tiles of exactly that size.
    pub fn new(files: &'a F, size: u64) -> Self {
        Self { files, size, known: RefCell::default() }
    }

    /// The part of a tile from which a subtree is hashed: 2^(level within the tile) hashes.
    fn hashes(&self, node: Node) -> Result<Vec<Hash>, CopyError<F::Error>> {
        let Node { level, index } = node;
        let outside = || CopyError::Outside { size: self.size, level, index };
        let (tile_level, count) = (level / HEIGHT, 1_u64 << (level % HEIGHT));
        let first = index.checked_mul(count).ok_or_else(outside)?;
        let kind = Kind::Hashes { level: tile_level };
        let tile = Tile::of(kind, first / u64::from(FULL), self.size).ok_or_else(outside)?;
        let begin = (first - tile.first()) as usize;
        let mut known = self.known.borrow_mut();
        let slot = known.get_mut(usize::from(tile_level)).ok_or_else(outside)?;
        let bytes = match slot.take().filter(|(of, _)| *of == tile) {
            Some((_, bytes)) => bytes,
            None => read_hashes(self.files, tile)?,
        };
        let (_, bytes) = slot.insert((tile, bytes));
        let hashes = bytes.as_chunks::<SHA256_BYTES>().0;
        hashes.get(begin..begin + count as usize).map(<[Hash]>::to_vec).ok_or_else(outside)
    }
}

impl<F: Files> Nodes for TileNodes<'_, F> {
    type Error = CopyError<F::Error>;

    fn hash(&self, node: Node) -> Result<Hash, Self::Error> {
        let mut hashes = self.hashes(node)?;
        // A power of two of them, so each pass joins all in pairs.
        while let [_, _, ..] = hashes[..] {
            hashes = hashes.as_chunks().0.iter().map(|[left, right]| merkle::inner(left, right)).collect();
        }
        Ok(hashes[0])
    }
}
