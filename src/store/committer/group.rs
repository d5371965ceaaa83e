//! One group of batches on its way to the database: what each would write, on top of those before it. It reads, and writes
//! nothing.

use std::collections::BTreeMap;

use super::{CommitError, Committed};
use crate::store::batch::{Batch, Op, Requirement};
use crate::store::{Database, StoreError, Write};

const POSITION_BYTES: usize = 8;

/// Writes by key; `None` is a delete. Sorted, because the engine then touches each of its pages once.
type Overlay = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The accepted batches of a group.
pub(super) struct Group<'a> {
    db: &'a dyn Database,
    ledger_prefix: u8,
    next_position: u64,
    overlay: Overlay,
}

/// What one batch would write; dropped if the batch turns out not to hold.
struct Staged<'a> {
    group: &'a Group<'a>,
    overlay: Overlay,
    ledger_positions: Vec<u64>,
}

impl<'a> Group<'a> {
    pub(super) fn new(db: &'a dyn Database, ledger_prefix: u8, next_position: u64) -> Self {
        Self { db, ledger_prefix, next_position, overlay: Overlay::new() }
    }

    /// Takes `batch` in, if all it requires holds; otherwise the group is as before.
    pub(super) fn add(&mut self, batch: Batch) -> Result<Committed, CommitError> {
        let (ops, requirements) = batch.into_parts();
        for (precondition, Requirement { key, expected }) in requirements.into_iter().enumerate() {
            if self.value(&key)? != expected {
                return Err(CommitError::Conflict { precondition });
            }
        }
        let mut staged = Staged { group: self, overlay: Overlay::new(), ledger_positions: Vec::new() };
        ops.into_iter().try_for_each(|op| staged.write(op))?;
        let Staged { overlay, ledger_positions, .. } = staged;
        self.next_position += ledger_positions.len() as u64;
        self.overlay.extend(overlay);
        Ok(Committed { ledger_positions })
    }

    /// The writes of the group, one a key, and the next position of the ledger once they are there.
    pub(super) fn finish(self) -> (Vec<Write>, u64) {
        let write = |(key, value)| match value {
            Some(value) => Write::Put { key, value },
            None => Write::Delete { key },
        };
        (self.overlay.into_iter().map(write).collect(), self.next_position)
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
            Op::Append { value } => (self.take_position(), Some(value)),
            Op::Add { key, delta } => {
                let sum = self.counter(&key)?.saturating_add_signed(delta);
                (key, Some(sum.to_be_bytes().to_vec()))
            }
        };
        self.overlay.insert(key, value);
        Ok(())
    }

    fn take_position(&mut self) -> Vec<u8> {
        let position = self.group.next_position + self.ledger_positions.len() as u64;
        self.ledger_positions.push(position);
        ledger_key(self.group.ledger_prefix, position).to_vec()
    }

    fn counter(&self, key: &[u8]) -> Result<u64, StoreError> {
        let value = match self.overlay.get(key) {
            Some(value) => value.clone(),
            None => self.group.value(key)?,
        };
        value.map_or(Ok(0), |bytes| {
            bytes.try_into().map(u64::from_be_bytes).map_err(|_| StoreError::Damaged { what: "a counter" })
        })
    }
}

/// One more than the position of the last row of the ledger.
pub(super) fn next_ledger_position(db: &dyn Database, ledger_prefix: u8) -> Result<u64, StoreError> {
    // Ends behind every possible row of the ledger, also where the prefix is 255 and has no successor.
    let end = [&ledger_key(ledger_prefix, u64::MAX)[..], &[0]].concat();
    let Some((key, _)) = db.last(&[ledger_prefix], &end)? else { return Ok(0) };
    let position = key[1..].try_into().map(u64::from_be_bytes);
    position.ok().and_then(|p| p.checked_add(1)).ok_or(StoreError::Damaged { what: "the key of a ledger row" })
}

fn ledger_key(prefix: u8, position: u64) -> [u8; 1 + POSITION_BYTES] {
    let mut key = [prefix; 1 + POSITION_BYTES];
    key[1..].copy_from_slice(&position.to_be_bytes());
    key
}
