//! Whether the ledger's rows are those that were logged. A start compares the root of the tree with what is pinned; the hashes of complete
//! subtrees are taken from their rows for that, and what lies below them is not read. So each block of entries is held against the root when
//! something of it is shown or signed, and all of them once after a start, in the background. A block that was found right is remembered.

use std::sync::{Mutex, PoisonError};

use super::core::Core;
use super::{Vault, VaultError};
use crate::audit::merkle::{self, Frontier, Node, Nodes as _};
use crate::store::{LogTree, MAX_RANGE_ROWS, rows};

/// Entries whose subtree has a row of its own.
const BLOCK: u64 = 256;

/// The blocks that were found right: a bit each.
#[derive(Default)]
pub(super) struct Checked(Mutex<Vec<u64>>);

impl Checked {
    fn has(&self, block: u64) -> bool {
        let bits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(block / 64).ok().and_then(|at| bits.get(at)).is_some_and(|bits| bits >> (block % 64) & 1 == 1)
    }

    fn add(&self, block: u64) {
        let Ok(at) = usize::try_from(block / 64) else { return };
        let mut bits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bits.len() <= at {
            bits.resize(at + 1, 0);
        }
        bits[at] |= 1 << (block % 64);
    }
}

impl Vault {
    /// Holds all of the ledger, as it is now, against the root of its tree, until `is_over`. `Damaged` where a row was changed, slipped in or
    /// taken out past the service.
    pub async fn check_log(&self, is_over: impl Fn() -> bool + Send + 'static) -> Result<(), VaultError> {
        self.core.blocking(move |core| core.walk_ledger(&is_over, |_| Ok(()))).await
    }
}

impl Core {
    /// Goes through the whole ledger, as it is now, and holds it against the root of its tree: what `each` was given is worth something only if
    /// that comes out right.
    pub fn walk_ledger(
        &self,
        is_over: &dyn Fn() -> bool,
        mut each: impl FnMut(&[u8]) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let log = self.committer.log();
        let (mut from, to) = (rows::ledger(0), rows::ledger(log.size()));
        let mut frontier = Frontier::EMPTY;
        loop {
            let some = self.db.range(&from, &to, MAX_RANGE_ROWS)?;
            let Some((last, _)) = some.last().filter(|_| !is_over()) else { break };
            from = rows::behind(last.clone());
            for (key, bytes) in &some {
                if rows::parse_ledger(key) != Some(frontier.size()) {
                    return Err(VaultError::damaged("the ledger"));
                }
                frontier.push(merkle::leaf(bytes));
                each(bytes)?;
            }
        }
        if is_over() {
            return Ok(());
        }
        if frontier.size() != log.size() || frontier.root() != log.root() {
            return Err(VaultError::damaged("the ledger"));
        }
        (0..log.size() / BLOCK).for_each(|block| self.checked.add(block));
        Ok(())
    }

    /// Holds the entries of a span, up to but not including `until`, against the root of the tree, as far as they stand in complete blocks. Those
    /// behind them were hashed when the service started, or were written since.
    pub fn check_ledger(&self, from: u64, until: u64) -> Result<(), VaultError> {
        let log = self.committer.log();
        for block in from / BLOCK..until.div_ceil(BLOCK).min(log.size() / BLOCK) {
            if self.checked.has(block) {
                continue;
            }
            // Nothing below a block has a row: its first entry is proven with the hashes of all others.
            let tree = LogTree::new(self.db.as_ref());
            let first = block * BLOCK;
            let leaf = tree.hash(Node { level: 0, index: first })?;
            let proof = merkle::inclusion(&tree, first, log.size())?;
            merkle::check_inclusion(&leaf, first, log.size(), &proof, &log.root())
                .map_err(|_| VaultError::damaged("the ledger"))?;
            self.checked.add(block);
        }
        Ok(())
    }
}
