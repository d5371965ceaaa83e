//! What ties the rows that decide to the ledger: with each change of one of them, an entry commits to all of them as they are then.
//!
//! So a start notices when somebody wrote past the service: a tombstone taken out, a role or a token slipped in, an older row put back. The
//! commitment is made under a key that stands in the key tree, and for its position in the ledger: who can write to the disk and has no key
//! makes none, and none of an older time passes for that of another position. What of the ledger stands behind the newest commitment is hashed
//! anew, up to the root that the pin remembers.
//!
//! A commitment is salted, and the salt stands only in the row that is replaced each time: the entries of the past tell nothing about which
//! rows there were, so no time is tied to a tombstone.

use std::sync::Arc;

use rand::TryRng as _;
use rand::rngs::SysRng;

use super::{Database, LogTree, MAX_RANGE_ROWS, StoreError, rows};
use crate::audit::merkle::{self, Frontier, Hash};
use crate::audit::multiset::Multiset;
use crate::audit::{Entry, Event};
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::TenantId;

const SALT_BYTES: usize = 32;
const VERSION: u8 = 2;
const WHAT: &str = "the row that ties what decides to the ledger";

/// A keyed hash of framed parts, in a field of its own. The key stays with who made it: this room sees none.
pub type Tie = Arc<dyn Fn(&str, &[&[u8]]) -> [u8; 32] + Send + Sync>;

/// All rows that decide, as they stand.
#[derive(Clone)]
pub(super) struct Deciding {
    rows: Multiset,
    tie: Tie,
}

/// Rows that decide are not those that the ledger knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAsLogged;

impl Deciding {
    /// As the database says.
    pub fn of(db: &dyn Database, tie: Tie) -> Result<Self, StoreError> {
        let stored = db.get(&rows::deciding())?.map(|row| Stored::decode(&row)).transpose()?;
        Ok(Self { rows: stored.map_or(Multiset::EMPTY, |stored| stored.rows), tie })
    }

    /// Follows a write of a row that stood there as `before`; returns whether it changes anything.
    pub fn follow(&mut self, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) -> bool {
        if before != after {
            before.into_iter().for_each(|value| self.rows.remove(&element(&self.tie, key, value)));
            after.into_iter().for_each(|value| self.rows.add(&element(&self.tie, key, value)));
        }
        before != after
    }

    /// The entry that commits to the rows of now, to stand at `position`, and the row that opens it.
    pub fn commit(&self, position: u64) -> (Vec<u8>, Vec<u8>) {
        let mut salt = [0; SALT_BYTES];
        SysRng.try_fill_bytes(&mut salt).expect("the operating system gives random bytes once it has started");
        let stored = Stored { position, salt, rows: self.rows.clone() };
        let event = Event::Deciding { commitment: stored.commitment(&self.tie) };
        let entry = Entry { at: Timestamp::now(), tenant: TenantId([0; 16]), caller: None, event }.encode().to_vec();
        (entry, stored.encode())
    }
}

struct Stored {
    position: u64,
    salt: [u8; SALT_BYTES],
    rows: Multiset,
}

impl Stored {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::versioned(VERSION).u64(self.position).fixed(&self.salt).fixed(&self.rows.encode());
        row.finish().to_vec()
    }

    fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let read = || {
            let (mut reader, version) = Reader::versioned(WHAT, row, VERSION)?;
            if version < VERSION {
                return Err(Decode::Damaged { what: WHAT });
            }
            let stored =
                Self { position: reader.u64()?, salt: reader.array()?, rows: Multiset::decode(&reader.array()?) };
            reader.end()?;
            Ok(stored)
        };
        read().map_err(StoreError::decoding)
    }

    fn commitment(&self, tie: &Tie) -> [u8; 32] {
        tie("deciding rows", &[&self.position.to_be_bytes(), &self.salt, &self.rows.encode()])
    }
}

/// The keyed hash of a row.
fn element(tie: &Tie, key: &[u8], value: &[u8]) -> [u8; 32] {
    tie("deciding row", &[key, value])
}

/// Whether the rows that decide are those that the newest commitment in the ledger is about, and what of the ledger comes behind it is that of
/// the pinned log (its size and root, where one is pinned). Reads all of these rows, and the ledger from that commitment on.
pub fn check_deciding(
    db: &dyn Database,
    tie: &Tie,
    pinned: Option<(u64, Hash)>,
) -> Result<Result<(), NotAsLogged>, StoreError> {
    let Some(row) = db.get(&rows::deciding())? else { return Ok(Err(NotAsLogged)) };
    let stored = match Stored::decode(&row) {
        Err(StoreError::Damaged { .. }) => return Ok(Err(NotAsLogged)),
        stored => stored?,
    };
    let mut found = Multiset::EMPTY;
    for kind in rows::DECIDING {
        each_row(db, vec![kind], vec![kind + 1], |key, value| {
            found.add(&element(tie, key, value));
            Ok(true)
        })?;
    }
    if found != stored.rows || db.get(&rows::ledger(stored.position))?.is_none() {
        return Ok(Err(NotAsLogged));
    }
    let expected = stored.commitment(tie);
    let mut frontier = Frontier::of(&LogTree::new(db), stored.position)?;
    let is_ours = each_row(db, rows::ledger(stored.position), rows::all(rows::Kind::Ledger).1, |key, entry| {
        let is_it = rows::parse_ledger(key) == Some(stored.position);
        let is_in_order = rows::parse_ledger(key) == Some(frontier.size());
        frontier.push(merkle::leaf(entry));
        let is_pinned = pinned.is_none_or(|(size, root)| frontier.size() != size || frontier.root() == root);
        let is_newest = match Entry::decode(entry).map_err(|_| StoreError::Damaged { what: "the ledger" })?.event {
            Event::Deciding { commitment } => is_it && commitment == expected,
            _ => !is_it,
        };
        Ok(is_in_order && is_pinned && is_newest)
    })?;
    Ok(if is_ours { Ok(()) } else { Err(NotAsLogged) })
}

/// Goes through a span until `each` says `false`; returns whether it came to the end.
fn each_row(
    db: &dyn Database,
    mut from: Vec<u8>,
    to: Vec<u8>,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    loop {
        let some = db.range(&from, &to, MAX_RANGE_ROWS)?;
        let Some((last, _)) = some.last() else { return Ok(true) };
        from = rows::behind(last.clone());
        for (key, value) in &some {
            if !each(key, value)? {
                return Ok(false);
            }
        }
    }
}
