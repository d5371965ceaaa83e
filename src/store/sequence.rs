//! Where the database stands: every group of the committer has a number, and every run of a service a name of its own. So of two copies
//! it can be told which is newer, and whether one went on from the other.

use rand::TryRng as _;
use rand::rngs::SysRng;

use super::{Database, StoreError, rows};
use crate::domain::codec::{Reader, Writer};

const VERSION: u8 = 1;

/// A place in the history of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// How many groups were written.
    pub sequence: u64,
    /// Which run of a service wrote the last of them: random.
    pub history: [u8; 16],
}

impl Position {
    /// Before anything was written.
    pub const BEGIN: Self = Self { sequence: 0, history: [0; 16] };

    /// The place behind this one, in the same run.
    pub fn next(self) -> Self {
        Self { sequence: self.sequence + 1, ..self }
    }

    /// The same place, from which a new run goes on.
    pub fn in_new_run(self) -> Self {
        let mut history = [0; 16];
        SysRng.try_fill_bytes(&mut history).expect("the operating system gives random bytes once it has started");
        Self { history, ..self }
    }

    /// A place in a new run that is behind this one and behind all of `others`, by their numbers: nothing that they hold goes on from it.
    pub fn behind_all(self, others: impl Iterator<Item = u64>) -> Self {
        let newest = others.fold(self.sequence, u64::max);
        Self { sequence: newest, ..self.in_new_run() }.next()
    }

    /// Where `db` stands.
    pub fn of(db: &dyn Database) -> Result<Self, StoreError> {
        let Some(row) = db.get(&rows::position())? else { return Ok(Self::BEGIN) };
        let read = || {
            let (mut reader, _) = Reader::versioned("the number of the last group", &row, VERSION)?;
            let at = Self { sequence: reader.u64()?, history: reader.array()? };
            reader.end()?;
            Ok(at)
        };
        read().map_err(StoreError::decoding)
    }

    /// The value of its row.
    pub fn encode(self) -> Vec<u8> {
        Writer::versioned(VERSION).u64(self.sequence).fixed(&self.history).finish().to_vec()
    }
}
