//! The Merkle tree over the ledger (RFC 6962, section 2.1): roots, proofs that an entry is in the tree, proofs that one tree continues
//! another, and their checks (RFC 9162, sections 2.1.3.2 and 2.1.4.2).
//!
//! ```text
//! leaf  = SHA-256(0x00 || entry)
//! inner = SHA-256(0x01 || left || right)
//! ```
//!
//! Only hashes of complete subtrees are asked for ([`Node`]); they never change once they are there, so a tree of any earlier size can
//! still be proven. A tree grows at its [`Frontier`].

use crate::crypto::hash::{SHA256_BYTES, Sha256, same};

#[cfg(test)]
mod tests;

/// A hash of the tree.
pub type Hash = [u8; SHA256_BYTES];

/// A complete subtree: the `index`-th of those with 2^`level` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// How often its leaves were joined; 0 is a leaf.
    pub level: u8,
    /// Its place among those of its level, from the left.
    pub index: u64,
}

/// Where the hashes of complete subtrees come from. All that lie within the tree that is asked about must be there.
pub trait Nodes {
    /// Why a hash cannot be had.
    type Error;

    /// The hash of a complete subtree.
    fn hash(&self, node: Node) -> Result<Hash, Self::Error>;
}

/// A proof does not prove what it is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not fit: it was changed, or belongs to another entry or another tree")]
pub struct NotProven;

/// The hash of an entry.
pub fn leaf(entry: &[u8]) -> Hash {
    hash(&[&[0], entry])
}

/// The hash over two subtrees.
pub fn inner(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[1], left, right])
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finish()
}

/// The right edge of a tree that grows: the roots of the complete subtrees that it is made of, the largest first. It is all that growing
/// needs to know, at most 64 hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// The edge of the tree with no leaves.
    pub const EMPTY: Self = Self { size: 0, roots: Vec::new() };

    /// The edge of the tree of the first `size` leaves.
    pub fn of<N: Nodes>(nodes: &N, size: u64) -> Result<Self, N::Error> {
        let mut roots = Vec::new();
        let mut begin = 0;
        for level in (0..u64::BITS as u8).rev().filter(|level| size >> level & 1 == 1) {
            roots.push(nodes.hash(Node { level, index: begin >> level })?);
            begin += 1 << level;
        }
        Ok(Self { size, roots })
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        let mut from_the_right = self.roots.iter().rev();
        let Some(last) = from_the_right.next() else { return hash(&[]) };
        from_the_right.fold(*last, |right, left| inner(left, &right))
    }

    /// Adds a leaf; returns it and each subtree that it completes.
    pub fn push(&mut self, leaf: Hash) -> Vec<(Node, Hash)> {
        let mut node = Node { level: 0, index: self.size };
        let mut hash = leaf;
        let mut completed = vec![(node, hash)];
        while node.index & 1 == 1 {
            let left = self.roots.pop().expect("each one in the size is a complete subtree");
            hash = inner(&left, &hash);
            node = Node { level: node.level + 1, index: node.index >> 1 };
            completed.push((node, hash));
        }
        self.roots.push(hash);
        self.size += 1;
        completed
    }
}

/// The root of the tree of the first `size` leaves.
pub fn root<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    if size == 0 { Ok(hash(&[])) } else { Span::whole(size).root(nodes) }
}

/// The proof that leaf `index` is in the tree of the first `size` leaves, of which it must be one.
pub fn inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    debug_assert!(index < size, "the leaf is in the tree");
    let (mut span, mut beside) = (Span::whole(size), Vec::new());
    while let Some((left, right)) = span.split() {
        let (within, other) = if index < right.begin { (left, right) } else { (right, left) };
        beside.push(other);
        span = within;
    }
    // From the leaf upwards.
    beside.iter().rev().map(|span| span.root(nodes)).collect()
}

/// The proof that the tree of the first `size` leaves continues that of the first `earlier`, which must not be more.
pub fn consistency<N: Nodes>(nodes: &N, earlier: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    debug_assert!(earlier <= size, "a tree continues a smaller one");
    if earlier == 0 || earlier == size {
        return Ok(Vec::new());
    }
    let (mut span, mut beside) = (Span::whole(size), Vec::new());
    // Down to the span that ends where the earlier tree ends.
    while span.begin + span.count > earlier {
        let Some((left, right)) = span.split() else { break };
        let (within, other) = if earlier <= right.begin { (left, right) } else { (right, left) };
        beside.push(other);
        span = within;
    }
    // If that span is the whole earlier tree, whoever checks has its root.
    if span.begin > 0 {
        beside.push(span);
    }
    beside.iter().rev().map(|span| span.root(nodes)).collect()
}

/// Leaves from `begin` on, of which the left ones make a complete subtree, the rest in turn, and so on.
#[derive(Clone, Copy)]
struct Span {
    begin: u64,
    count: u64,
}

impl Span {
    fn whole(size: u64) -> Self {
        Self { begin: 0, count: size }
    }

    /// The largest complete subtree on the left that is not all of it, and the rest.
    fn split(self) -> Option<(Self, Self)> {
        let left = 1_u64 << (self.count - 1).checked_ilog2()?;
        let right = Self { begin: self.begin + left, count: self.count - left };
        Some((Self { begin: self.begin, count: left }, right))
    }

    fn root<N: Nodes>(self, nodes: &N) -> Result<Hash, N::Error> {
        if self.count.is_power_of_two() {
            let level = self.count.ilog2();
            return nodes.hash(Node { level: level as u8, index: self.begin >> level });
        }
        let Some((left, right)) = self.split() else { return nodes.hash(Node { level: 0, index: self.begin }) };
        Ok(inner(&left.root(nodes)?, &right.root(nodes)?))
    }
}

/// Where a check is on its way up: the number of the subtree it comes from, and that of the last one on the same level.
struct Climb {
    at: u64,
    last: u64,
}

impl Climb {
    /// Whether the next hash of a proof stands on the left. Where the subtree has no sister on the right, it climbs until it has one on
    /// the left.
    fn is_right(&mut self) -> bool {
        let is_right = self.at & 1 == 1 || self.at == self.last;
        while is_right && self.at & 1 == 0 && self.at != 0 {
            self.up();
        }
        is_right
    }

    fn up(&mut self) {
        self.at >>= 1;
        self.last >>= 1;
    }
}

/// Checks that the entry with the hash `leaf` is entry `index` of the tree with `size` entries and this root.
pub fn check_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), NotProven> {
    if index >= size {
        return Err(NotProven);
    }
    let (mut climb, mut hash) = (Climb { at: index, last: size - 1 }, *leaf);
    for beside in proof {
        if climb.last == 0 {
            return Err(NotProven);
        }
        hash = if climb.is_right() { inner(beside, &hash) } else { inner(&hash, beside) };
        climb.up();
    }
    if climb.last == 0 && same(&hash, root) { Ok(()) } else { Err(NotProven) }
}

/// Checks that the tree with `size` entries and `root` continues the one with `earlier` entries and `earlier_root`.
pub fn check_consistency(
    (earlier, earlier_root): (u64, &Hash),
    (size, root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), NotProven> {
    let proven = |is_proven| if is_proven { Ok(()) } else { Err(NotProven) };
    if earlier == size {
        return proven(proof.is_empty() && same(earlier_root, root));
    }
    if earlier == 0 {
        return proven(proof.is_empty() && same(earlier_root, &hash(&[])));
    }
    if earlier > size {
        return Err(NotProven);
    }
    // A whole earlier tree begins with its own root, which is not sent.
    let (first, rest) = match earlier.is_power_of_two() {
        true => (earlier_root, proof),
        false => proof.split_first().ok_or(NotProven)?,
    };
    let mut climb = Climb { at: earlier - 1, last: size - 1 };
    while climb.at & 1 == 1 {
        climb.up();
    }
    let (mut before, mut now) = (*first, *first);
    for beside in rest {
        if climb.last == 0 {
            return Err(NotProven);
        }
        if climb.is_right() {
            before = inner(beside, &before);
            now = inner(beside, &now);
        } else {
            now = inner(&now, beside);
        }
        climb.up();
    }
    proven(climb.last == 0 && same(&before, earlier_root) && same(&now, root))
}
