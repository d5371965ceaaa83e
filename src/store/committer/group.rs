//! One group of batches on its way to the database: what each would write, on top of those before it. It reads, and writes
//! nothing.

use std::collections::BTreeMap;

use super::{CommitError, Committed};
use crate::audit::merkle::{self, Frontier};
use crate::store::batch::{Batch, Op, Requirement};
use crate::store::control_rows::ControlRows;
use crate::store::{Database, StoreError, Write, log, page_digest, rows};

/// Writes by key; `None` is a delete. Sorted, because the engine then touches each of its pages once.
type Overlay = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The accepted batches of a group.
pub(super) struct Group<'a> {
    db: &'a dyn Database,
    frontier: Frontier,
    overlay: Overlay,
}

/// What one batch would write; dropped if the batch turns out not to hold.
struct Staged<'a> {
    group: &'a Group<'a>,
    overlay: Overlay,
    leaves: Vec<merkle::Hash>,
}

impl<'a> Group<'a> {
    pub(super) fn new(db: &'a dyn Database, frontier: Frontier) -> Self {
        Self { db, frontier, overlay: Overlay::new() }
    }

    /// Takes `batch` in, if all it requires holds; otherwise the group is as before.
    pub(super) fn add(&mut self, batch: Batch) -> Result<Committed, CommitError> {
        let (ops, requirements) = batch.into_parts();
        for (precondition, Requirement { key, expected }) in requirements.into_iter().enumerate() {
            if self.value(&key)? != expected {
                return Err(CommitError::Conflict { precondition });
            }
        }
        let mut staged = Staged { group: self, overlay: Overlay::new(), leaves: Vec::new() };
        ops.into_iter().try_for_each(|op| staged.write(op))?;
        let Staged { overlay, leaves, .. } = staged;
        self.overlay.extend(overlay);
        let begin = self.frontier.size();
        leaves.into_iter().for_each(|leaf| self.grow(leaf));
        Ok(Committed { ledger_positions: (begin..self.frontier.size()).collect() })
    }

    fn grow(&mut self, leaf: merkle::Hash) {
        let completed = self.frontier.push(leaf).into_iter().filter(|(node, _)| log::is_stored(*node));
        let row =
            |(node, hash): (merkle::Node, merkle::Hash)| (rows::subtree(node.level, node.index), Some(hash.to_vec()));
        self.overlay.extend(completed.map(row));
    }

    /// Follows the control rows, and has the ledger commit to them if one of them changes. Digests of pages are written here, so that nothing
    /// that changes a page can leave its digest out.
    pub(super) fn commit_to(&mut self, control_rows: &mut ControlRows) -> Result<(), StoreError> {
        self.digest_pages();
        let (mut is_changed, mut was_foreign) = (false, false);
        for kind in rows::CONTROL {
            for (key, after) in self.overlay.range(vec![kind]..vec![kind + 1]) {
                let followed = control_rows.follow(key, self.db.get(key)?.as_deref(), after.as_deref());
                is_changed |= followed.changes;
                was_foreign |= followed.was_foreign;
            }
        }
        if was_foreign {
            self.append(ControlRows::alert());
        }
        if is_changed {
            let position = self.frontier.size();
            let (entry, row) = control_rows.commit(position);
            self.append(entry);
            self.overlay.insert(rows::deciding(), Some(row));
        }
        Ok(())
    }

    fn append(&mut self, entry: Vec<u8>) {
        let position = self.frontier.size();
        self.grow(merkle::leaf(&entry));
        self.overlay.insert(rows::ledger(position), Some(entry));
    }

    /// Gives each page that is written its digest, and takes that of each page that is removed away.
    fn digest_pages(&mut self) {
        let (from, to) = rows::all(rows::Kind::Page);
        let digest = |(key, page): (&Vec<u8>, &Option<Vec<u8>>)| {
            let node = rows::parse_page(key)?;
            Some((rows::page_digest(&node), page.as_ref().map(|page| page_digest(key, page).to_vec())))
        };
        let digests: Vec<_> = self.overlay.range(from..to).filter_map(digest).collect();
        self.overlay.extend(digests);
    }

    /// The writes of the group, one a key, and the edge of the ledger's tree once they are there.
    pub(super) fn finish(self) -> (Vec<Write>, Frontier) {
        let write = |(key, value)| match value {
            Some(value) => Write::Put { key, value },
            None => Write::Delete { key },
        };
        (self.overlay.into_iter().map(write).collect(), self.frontier)
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.overlay.get(key).map_or_else(|| self.db.get(key), |value| Ok(value.clone()))
    }
}

impl Staged<'_> {
    fn write(&mut self, op: Op) -> Result<(), StoreError> {
        let (key, value) = match op {
            Op::Put { key, value } => (key, Some(value)),
            Op::Delete { key } => (key, None),
            Op::Append { value, named } => {
                let position = self.group.frontier.size() + self.leaves.len() as u64;
                self.leaves.push(merkle::leaf(&value));
                if let Some(key) = named {
                    self.overlay.insert(key, Some(position.to_be_bytes().to_vec()));
                }
                (rows::ledger(position), Some(value))
            }
            Op::DigestPage { node } => {
                let (page, digest) = (rows::page(&node), rows::page_digest(&node));
                // A digest that is there stays, whatever the page is by now: it may be the page that was changed.
                let (Some(stored), None) = (self.value(&page)?, self.value(&digest)?) else { return Ok(()) };
                (digest, Some(page_digest(&page, &stored).to_vec()))
            }
            Op::Add { key, delta } => {
                let sum = self.counter(&key)?.saturating_add_signed(delta);
                (key, Some(sum.to_be_bytes().to_vec()))
            }
        };
        self.overlay.insert(key, value);
        Ok(())
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.overlay.get(key).map_or_else(|| self.group.value(key), |value| Ok(value.clone()))
    }

    fn counter(&self, key: &[u8]) -> Result<u64, StoreError> {
        self.value(key)?.map_or(Ok(0), |bytes| {
            bytes.try_into().map(u64::from_be_bytes).map_err(|_| StoreError::Damaged { what: "a counter" })
        })
    }
}
