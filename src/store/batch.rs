//! A batch: writes that become durable together, and what must hold for them to be written at all. It only collects; the
//! committer checks and decides, so that two batches can never both rely on the same state.

use super::rows::{self, Kind};

/// The most bytes of a value. Larger values would make the engine keep them in files of their own, which it never syncs.
pub const MAX_VALUE_BYTES: usize = 4096;
/// The most bytes of a key.
pub const MAX_KEY_BYTES: usize = 128;
/// The most writes in a batch.
pub const MAX_OPS_PER_BATCH: usize = 16 * 1024;
/// The most preconditions of a batch.
pub const MAX_REQUIREMENTS_PER_BATCH: usize = 16 * 1024;
/// The most bytes in a batch: keys and values, preconditions included.
pub const MAX_BATCH_BYTES: usize = 32 * 1024 * 1024;

/// The kinds of rows that only the committer writes.
const COMMITTERS_OWN: [u8; 5] =
    [Kind::Ledger as u8, Kind::Subtree as u8, Kind::Position as u8, Kind::Deciding as u8, Kind::PageDigest as u8];
/// What a row costs beyond its bytes, so that many tiny rows count as well.
const ROW_OVERHEAD_BYTES: usize = 64;

/// Writes that happen all or not at all. An empty one is a fence: once it is answered, all that was seen in the database
/// before is durable.
#[derive(Default)]
pub struct Batch {
    ops: Vec<Op>,
    requirements: Vec<Requirement>,
    held: Vec<Box<dyn Send>>,
    bytes: usize,
}

/// One write, before the committer knows what it comes to.
pub(super) enum Op {
    Put { key: Vec<u8>, value: Vec<u8> },
    Delete { key: Vec<u8> },
    Append { value: Vec<u8>, named: Option<Vec<u8>> },
    Add { key: Vec<u8>, delta: i64 },
    DigestPage { node: [u8; 16] },
}

/// What `key` must hold; `None`: it must not be there.
pub(super) struct Requirement {
    pub(super) key: Vec<u8>,
    pub(super) expected: Option<Vec<u8>>,
}

/// A batch that breaks a limit. A mistake of the program, never of a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A key without bytes.
    #[error("a key is empty; every row needs one")]
    KeyEmpty,
    /// A key too long.
    #[error("a key has {bytes} bytes, the limit is {MAX_KEY_BYTES}")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A value too long.
    #[error("a value has {bytes} bytes, the limit is {MAX_VALUE_BYTES}: spread it over several rows")]
    ValueTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Too many writes.
    #[error("a batch has {count} writes, the limit is {MAX_OPS_PER_BATCH}: split it")]
    TooManyOps {
        /// How many.
        count: usize,
    },
    /// Too many preconditions.
    #[error("a batch has {count} preconditions, the limit is {MAX_REQUIREMENTS_PER_BATCH}: split it")]
    TooManyRequirements {
        /// How many.
        count: usize,
    },
    /// Too many bytes.
    #[error("a batch has {bytes} bytes, the limit is {MAX_BATCH_BYTES}: split it")]
    TooManyBytes {
        /// How many.
        bytes: usize,
    },
    /// A direct write among the rows of the ledger and those that tie others to it.
    #[error("a write names a row that only the committer writes (the ledger is only appended to)")]
    LedgerRow,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`. Of several writes to one key the last one counts.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), value.into());
        self.count(key.len() + value.len());
        self.ops.push(Op::Put { key, value });
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.count(key.len());
        self.ops.push(Op::Delete { key });
    }

    /// Appends `value` to the ledger: the committer gives it the next position.
    pub fn append(&mut self, value: impl Into<Vec<u8>>) {
        let value = value.into();
        self.count(value.len());
        self.ops.push(Op::Append { value, named: None });
    }

    /// Appends `value` to the ledger, and sets `key` to the position that it gets (8 bytes, big-endian).
    pub fn append_named(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), value.into());
        self.count(key.len() + value.len());
        self.ops.push(Op::Append { value, named: Some(key) });
    }

    /// Adds `delta` to the counter at `key` (8 bytes, big-endian; absent is 0). It stays between 0 and the greatest `u64`.
    pub fn add(&mut self, key: impl Into<Vec<u8>>, delta: i64) {
        let key = key.into();
        self.count(key.len());
        self.ops.push(Op::Add { key, delta });
    }

    /// Gives the page of this node a digest, if it has none: pages of layout 1 have none. With each write of a page the committer does so
    /// by itself.
    pub fn digest_page(&mut self, node: [u8; 16]) {
        self.count(node.len());
        self.ops.push(Op::DigestPage { node });
    }

    /// Requires that `key` is not there when the batch is written. Returns the number by which a conflict names it.
    pub fn require_absent(&mut self, key: impl Into<Vec<u8>>) -> usize {
        self.require(key.into(), None)
    }

    /// Requires that `key` holds exactly `value` when the batch is written. Returns the number by which a conflict names it.
    pub fn require_value(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> usize {
        self.require(key.into(), Some(value.into()))
    }

    /// Keeps `held` until the batch is in the database, or is given up. What stands for the batch until its rows do, such as room in
    /// a quota, ends there: also when the caller has gone away.
    pub fn hold(&mut self, held: impl Send + 'static) {
        self.held.push(Box::new(held));
    }

    /// Whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// How many writes it has.
    pub fn writes(&self) -> usize {
        self.ops.len()
    }

    /// The bytes it takes in the queue, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it changes control rows that must be on the mirrors before it is acknowledged.
    pub(super) fn waits_for_mirrors(&self) -> bool {
        let keys = self.ops.iter().filter_map(|op| match op {
            Op::Put { key, .. } | Op::Delete { key } | Op::Add { key, .. } => Some(key),
            Op::Append { named, .. } => named.as_ref(),
            Op::DigestPage { .. } => None,
        });
        keys.filter_map(|key| key.first()).any(|kind| rows::waits_for_mirrors(*kind))
    }

    /// What is held. It stays with the caller, so that it outlives the writes.
    pub(super) fn take_held(&mut self) -> Vec<Box<dyn Send>> {
        std::mem::take(&mut self.held)
    }

    pub(super) fn into_parts(self) -> (Vec<Op>, Vec<Requirement>) {
        (self.ops, self.requirements)
    }

    /// Checks every limit.
    pub(super) fn check(&self) -> Result<(), BatchError> {
        let (ops, requirements) = (self.ops.len(), self.requirements.len());
        if ops > MAX_OPS_PER_BATCH {
            return Err(BatchError::TooManyOps { count: ops });
        }
        if requirements > MAX_REQUIREMENTS_PER_BATCH {
            return Err(BatchError::TooManyRequirements { count: requirements });
        }
        if self.bytes > MAX_BATCH_BYTES {
            return Err(BatchError::TooManyBytes { bytes: self.bytes });
        }
        self.requirements.iter().try_for_each(|r| check_key(&r.key))?;
        self.ops.iter().try_for_each(Op::check)
    }

    fn require(&mut self, key: Vec<u8>, expected: Option<Vec<u8>>) -> usize {
        self.count(key.len() + expected.as_ref().map_or(0, Vec::len));
        self.requirements.push(Requirement { key, expected });
        self.requirements.len() - 1
    }

    fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(ROW_OVERHEAD_BYTES);
    }
}

impl Op {
    fn check(&self) -> Result<(), BatchError> {
        let (key, value) = match self {
            Self::Put { key, value } => (Some(key), Some(value)),
            Self::Delete { key } | Self::Add { key, .. } => (Some(key), None),
            Self::Append { value, named } => (named.as_ref(), Some(value)),
            Self::DigestPage { .. } => (None, None),
        };
        if let Some(key) = key {
            check_key(key)?;
            if key.first().is_some_and(|kind| COMMITTERS_OWN.contains(kind)) {
                return Err(BatchError::LedgerRow);
            }
        }
        match value.map_or(0, Vec::len) {
            bytes if bytes > MAX_VALUE_BYTES => Err(BatchError::ValueTooLong { bytes }),
            _ => Ok(()),
        }
    }
}

fn check_key(key: &[u8]) -> Result<(), BatchError> {
    match key.len() {
        0 => Err(BatchError::KeyEmpty),
        bytes if bytes > MAX_KEY_BYTES => Err(BatchError::KeyTooLong { bytes }),
        _ => Ok(()),
    }
}
