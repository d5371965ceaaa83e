//! The Merkle tree over the ledger, read from stored rows.
//!
//! Stored are the hashes of the subtrees with 256, 256^2, ... entries; they take less than one row in 255. What lies between is hashed
//! anew when it is asked for: at most 255 entries for what lies below the first of them.

use std::cell::RefCell;
use std::collections::HashMap;

use super::{Database, StoreError, rows};
use crate::audit::merkle::{self, Hash, Node, Nodes};

/// Subtrees of every so many levels are stored.
const STORED_LEVELS: u8 = 8;

/// The tree. It remembers every hash that it was asked for, so several proofs from one of them cost little more than one.
pub struct LogTree<'a> {
    db: &'a dyn Database,
    known: RefCell<HashMap<Node, Hash>>,
}

impl<'a> LogTree<'a> {
    /// The tree over the ledger in `db`. What is asked of it must lie within the ledger.
    pub fn new(db: &'a dyn Database) -> Self {
        Self { db, known: RefCell::default() }
    }

    fn read(&self, node: Node) -> Result<Hash, StoreError> {
        let stored = |key: Vec<u8>| self.db.get(&key)?.ok_or(StoreError::Damaged { what: "the ledger" });
        if node.level == 0 {
            return Ok(merkle::leaf(&stored(rows::ledger(node.index))?));
        }
        if is_stored(node) {
            let hash = stored(rows::subtree(node.level, node.index))?;
            return hash.try_into().map_err(|_| StoreError::Damaged { what: "the tree over the ledger" });
        }
        let child = |side| Node { level: node.level - 1, index: node.index * 2 + side };
        Ok(merkle::inner(&self.hash(child(0))?, &self.hash(child(1))?))
    }
}

impl Nodes for LogTree<'_> {
    type Error = StoreError;

    fn hash(&self, node: Node) -> Result<Hash, StoreError> {
        if let Some(known) = self.known.borrow().get(&node) {
            return Ok(*known);
        }
        let hash = self.read(node)?;
        self.known.borrow_mut().insert(node, hash);
        Ok(hash)
    }
}

/// Whether the hash of a subtree has a row of its own.
pub(super) fn is_stored(node: Node) -> bool {
    node.level > 0 && node.level.is_multiple_of(STORED_LEVELS)
}

/// How many entries the ledger has: one more than the position of its last row.
pub fn ledger_size(db: &dyn Database) -> Result<u64, StoreError> {
    let (from, to) = rows::all(rows::Kind::Ledger);
    let Some((key, _)) = db.last(&from, &to)? else { return Ok(0) };
    let position = rows::parse_ledger(&key);
    position.and_then(|p| p.checked_add(1)).ok_or(StoreError::Damaged { what: "the key of a ledger row" })
}
