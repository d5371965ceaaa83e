//! The log laid out as files, as c2sp.org/tlog-tiles has it: the hashes of the tree in tiles, the entries in bundles.
//!
//! ```text
//! tile/<level>/<index>[.p/<width>]     hashes of subtrees with 256^level entries, 32 bytes each
//! tile/entries/<index>[.p/<width>]     entries, each behind its length in two bytes, big-endian
//! ```
//!
//! A full tile is 256 wide; only the last of its level may be narrower, and then says so in its path. What was full never changes, so a
//! copy grows by the tiles that [`grown`] names. An index is written in groups of three digits: 1234067 is `x001/x234/067`. This room
//! gives the paths and the bytes; who has the files writes them, the tiles first and the checkpoint last, so that no checkpoint speaks of
//! a tile that is not there.

use std::fmt;
use std::iter;

use super::merkle::{Node, Nodes};
use super::note::parse_decimal;

#[cfg(test)]
mod tests;

/// How many hashes or entries a full tile holds.
pub const FULL: u16 = 256;
/// How many levels of the tree lie between the hashes of one tile and those of the next.
pub const HEIGHT: u8 = 8;
/// A log has at most 2^64 - 1 entries, so its tiles have at most so many levels.
pub const LEVELS: u8 = 8;
/// The bytes in front of each entry of a bundle.
const LENGTH_BYTES: usize = 2;

/// One file of a log: a tile of hashes or a bundle of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// What it holds.
    pub kind: Kind,
    /// Its place among those of its kind, from the left.
    pub index: u64,
    /// How many it holds: 1 to [`FULL`].
    pub width: u16,
}

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Entries.
    Entries,
    /// The hashes of complete subtrees with 256^level entries; of level 0, those of the entries.
    Hashes {
        /// The level, below [`LEVELS`].
        level: u8,
    },
}

/// An entry that no bundle can hold: it has 64 KiB or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry has {0} bytes, which is more than a bundle of entries can hold (c2sp.org/tlog-tiles)")]
pub struct TooLong(pub usize);

/// A file that is not the bundle of entries that it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotABundle {
    /// It ends before its last entry does.
    #[error("it ends within its entry {0}, counted from 0")]
    EndsIn(u16),
    /// It goes on after its last entry.
    #[error("{0} bytes follow its last entry")]
    RunsOn(usize),
}

impl Kind {
    /// How many hashes or entries of this kind the log has when it has `size` entries.
    pub fn count(self, size: u64) -> u64 {
        match self {
            Self::Entries => size,
            Self::Hashes { level } => size.checked_shr(u32::from(level) * u32::from(HEIGHT)).unwrap_or(0),
        }
    }

    /// The level of the tree at which the hashes stand: that of the leaves for entries.
    fn tree_level(self) -> u8 {
        match self {
            Self::Entries => 0,
            Self::Hashes { level } => level * HEIGHT,
        }
    }
}

impl Tile {
    /// The `index`-th tile of its kind, as it is when the log has `size` entries; `None` if there is none yet.
    pub fn of(kind: Kind, index: u64, size: u64) -> Option<Self> {
        let left_of_it = index.checked_mul(u64::from(FULL))?;
        let width = kind.count(size).checked_sub(left_of_it)?.min(u64::from(FULL));
        let width = u16::try_from(width).expect("a tile is at most 256 wide");
        (width > 0).then_some(Self { kind, index, width })
    }

    /// Reads a path as `Display` writes it; `None` for anything else. The specification lets a path name levels up to 63 and any index;
    /// what no log of 2^64 - 1 entries has is refused here.
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, place) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes { level: parse_decimal(level).filter(|level| *level < LEVELS.into())? as u8 },
        };
        let (index, width) = match place.split_once(".p/") {
            None => (place, FULL),
            Some((index, width)) => {
                let is_partial = |width: &u64| (1..u64::from(FULL)).contains(width);
                (index, parse_decimal(width).filter(is_partial)? as u16)
            }
        };
        let index = parse_index(index).filter(|index| *index <= u64::MAX / u64::from(FULL))?;
        let tile = Self { kind, index, width };
        // There is one way to write a path: no empty group in front, an `x` before each group but the last.
        (tile.to_string() == path).then_some(tile)
    }

    /// The number of the first of its hashes or entries.
    pub fn first(self) -> u64 {
        self.index * u64::from(FULL)
    }

    /// The subtrees whose hashes it holds, from the left; those of its entries for a bundle.
    pub fn nodes(self) -> impl Iterator<Item = Node> {
        let level = self.kind.tree_level();
        (self.first()..).take(usize::from(self.width)).map(move |index| Node { level, index })
    }
}

/// The path, from the top of the log.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Entries => f.write_str("tile/entries/")?,
            Kind::Hashes { level } => write!(f, "tile/{level}/")?,
        }
        let above =
            iter::successors(Some(self.index / 1_000), |above| Some(above / 1_000)).take_while(|above| *above > 0);
        for group in above.collect::<Vec<_>>().iter().rev() {
            write!(f, "x{:03}/", group % 1_000)?;
        }
        write!(f, "{:03}", self.index % 1_000)?;
        if self.width < FULL { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// An index in groups of three digits, whatever stands before them.
fn parse_index(text: &str) -> Option<u64> {
    text.split('/').try_fold(0, |index: u64, group| {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let group = Some(digits).filter(|digits| digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()))?;
        index.checked_mul(1_000)?.checked_add(group.parse().ok()?)
    })
}

/// The tiles and bundles that a log with `size` entries has and one with `before` had not: new ones, and those that were narrower. From 0
/// on: all of them. Bundles come first, then tiles from level 0 upwards.
pub fn grown(before: u64, size: u64) -> impl Iterator<Item = Tile> {
    let kinds = iter::once(Kind::Entries).chain((0..LEVELS).map(|level| Kind::Hashes { level }));
    kinds.flat_map(move |kind| {
        let has_more = kind.count(before) < kind.count(size);
        let first = kind.count(before) / u64::from(FULL);
        (first..).map_while(move |index| Tile::of(kind, index, size)).take_while(move |_| has_more)
    })
}

/// The bytes of a tile of hashes, out of the tree that has them: 32 for each.
pub fn hashes<N: Nodes>(nodes: &N, tile: Tile) -> Result<Vec<u8>, N::Error> {
    let hashes = tile.nodes().map(|node| nodes.hash(node)).collect::<Result<Vec<_>, _>>()?;
    Ok(hashes.concat())
}

/// The bytes of a bundle of these entries.
pub fn bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TooLong> {
    let mut bytes = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| TooLong(entry.len()))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The entries of a bundle that must hold `width` of them, and nothing else.
pub fn unbundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, NotABundle> {
    let mut rest = bytes;
    let entries = (0..width).map(|number| {
        let (entry, behind) = split_entry(rest).ok_or(NotABundle::EndsIn(number))?;
        rest = behind;
        Ok(entry)
    });
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    if rest.is_empty() { Ok(entries) } else { Err(NotABundle::RunsOn(rest.len())) }
}

/// The most bytes that a bundle of `width` entries can have.
pub fn longest_bundle(width: u16) -> usize {
    usize::from(width) * (LENGTH_BYTES + usize::from(u16::MAX))
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
