//! The rows that decide (tombstones, tokens, principals, tenants, which key signs the log, the root of the key tree) are tied to the ledger:
//! with each change of them goes an entry with a commitment to all of them as they are then. So a row that is taken out, slipped in, or put
//! back as it was is noticed at the next start, even with every key at hand: the ledger is the pinned one, and its newest
//! commitment opens to the rows that must be there.
//!
//! The commitment is salted, and only the newest salt is kept: from the entries of the past nobody can tell which row came when.

use rand::TryRng as _;
use rand::rngs::SysRng;

use super::{Database, MAX_RANGE_ROWS, StoreError, rows};
use crate::audit::multiset::{MULTISET_BYTES, Multiset};
use crate::audit::{Entry, Event, merkle};
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::TenantId;

const SALT_BYTES: usize = 32;
const VERSION: u8 = 1;
const WHAT: &str = "the row that ties what decides to the ledger";

/// All rows that decide, as they stand.
#[derive(Clone)]
pub(super) struct Deciding(Multiset);

/// Rows that decide are not those that the ledger knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAsLogged;

impl Deciding {
    /// As the database says.
    pub fn of(db: &dyn Database) -> Result<Self, StoreError> {
        Ok(Self(
            db.get(&rows::deciding())?
                .map_or(Ok(Multiset::EMPTY), |row| Ok::<_, StoreError>(Stored::decode(&row)?.rows))?,
        ))
    }

    /// Follows a write of a row that stood there as `before`; returns whether it changes anything.
    pub fn follow(&mut self, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) -> bool {
        if before != after {
            before.into_iter().for_each(|value| self.0.remove(&element(key, value)));
            after.into_iter().for_each(|value| self.0.add(&element(key, value)));
        }
        before != after
    }

    /// The entry that commits to the rows of now, to stand at `position`, and the row that opens it.
    pub fn commit(&self, position: u64) -> (Vec<u8>, Vec<u8>) {
        let mut salt = [0; SALT_BYTES];
        SysRng.try_fill_bytes(&mut salt).expect("the operating system gives random bytes once it has started");
        let event = Event::Deciding { commitment: commitment(&salt, &self.0) };
        let entry = Entry { at: Timestamp::now(), tenant: TenantId([0; 16]), caller: None, event }.encode().to_vec();
        (entry, Stored { position, salt, rows: self.0.clone() }.encode())
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
            let (mut reader, _) = Reader::versioned(WHAT, row, VERSION)?;
            let (position, salt) = (reader.u64()?, reader.array()?);
            let rows = Multiset::decode(reader.rest()).ok_or(Decode::Damaged { what: WHAT })?;
            Ok(Self { position, salt, rows })
        };
        read().map_err(StoreError::decoding)
    }
}

fn element(key: &[u8], value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], key, value].concat()
}

fn commitment(salt: &[u8; SALT_BYTES], rows: &Multiset) -> [u8; 32] {
    let mut bytes = b"oubliette deciding rows v1\n".to_vec();
    bytes.reserve(SALT_BYTES + MULTISET_BYTES);
    bytes.extend_from_slice(salt);
    bytes.extend_from_slice(&rows.encode());
    merkle::leaf(&bytes)
}

/// Whether the rows that decide are those that the newest commitment in the ledger is about. Reads all of them, and the ledger from that
/// commitment on.
pub fn check_deciding(db: &dyn Database) -> Result<Result<(), NotAsLogged>, StoreError> {
    let Some(row) = db.get(&rows::deciding())? else { return Ok(Err(NotAsLogged)) };
    let stored = match Stored::decode(&row) {
        Err(StoreError::Damaged { .. }) => return Ok(Err(NotAsLogged)),
        stored => stored?,
    };
    let mut found = Multiset::EMPTY;
    for kind in rows::DECIDING {
        each_row(db, vec![kind], vec![kind + 1], |key, value| {
            found.add(&element(key, value));
            Ok(true)
        })?;
    }
    let is_newest = each_row(db, rows::ledger(stored.position), rows::all(rows::Kind::Ledger).1, |key, entry| {
        let is_it = rows::parse_ledger(key) == Some(stored.position);
        Ok(match Entry::decode(entry).map_err(|_| StoreError::Damaged { what: "the ledger" })?.event {
            Event::Deciding { commitment: named } => is_it && named == commitment(&stored.salt, &found),
            _ => !is_it,
        })
    })?;
    let has_entry = db.get(&rows::ledger(stored.position))?.is_some();
    Ok(if has_entry && is_newest && found == stored.rows { Ok(()) } else { Err(NotAsLogged) })
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
