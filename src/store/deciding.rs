//! The rows that decide (tombstones, tokens, principals, tenants, which key signs the log, the root of the key tree) are tied to the ledger:
//! with each change of them goes an entry with a commitment to all of them as they are then. So a row that is taken out, slipped in, or put
//! back as it was is noticed at the next start, even with every key at hand: the ledger is the pinned one, and its newest
//! commitment opens to the rows that must be there.
//!
//! The commitment is salted, and only the newest salt is kept: from the entries of the past nobody can tell which row came when.

use rand::TryRng as _;
use rand::rngs::SysRng;

use super::{Database, MAX_RANGE_ROWS, StoreError, Write, rows};
use crate::audit::multiset::{MULTISET_BYTES, Multiset};
use crate::audit::{Entry, Event, merkle};
use crate::domain::clock::Timestamp;
use crate::domain::ids::TenantId;

const SALT_BYTES: usize = 32;
const DAMAGED: StoreError = StoreError::Damaged { what: "the row that ties what decides to the ledger" };

/// All rows that decide, as they stand.
#[derive(Clone)]
pub(super) struct Deciding {
    rows: Multiset,
    is_changed: bool,
}

/// Rows that decide are not those that the ledger knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAsLogged;

impl Deciding {
    /// As the database says.
    pub fn of(db: &dyn Database) -> Result<Self, StoreError> {
        let rows = match db.get(&rows::deciding())? {
            None => Multiset::EMPTY,
            Some(row) => Stored::decode(&row).ok_or(DAMAGED)?.rows,
        };
        Ok(Self { rows, is_changed: false })
    }

    /// Follows a write of a row that stood there as `before`.
    pub fn follow(&mut self, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        if before == after {
            return;
        }
        self.is_changed = true;
        before.into_iter().for_each(|value| self.rows.remove(&element(key, value)));
        after.into_iter().for_each(|value| self.rows.add(&element(key, value)));
    }

    /// Whether a row changed since [`Deciding::commit`].
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// The entry that commits to the rows of now, and the row that opens it, at whatever position it gets.
    pub fn commit(&mut self) -> (Vec<u8>, impl FnOnce(u64) -> Write) {
        self.is_changed = false;
        let mut salt = [0; SALT_BYTES];
        SysRng.try_fill_bytes(&mut salt).expect("the operating system gives random bytes once it has started");
        let rows = self.rows.clone();
        let event = Event::Deciding { commitment: commitment(&salt, &rows) };
        let entry = Entry { at: Timestamp::now(), tenant: TenantId([0; 16]), caller: None, event }.encode().to_vec();
        let row = move |position: u64| {
            let value = [&position.to_be_bytes()[..], &salt, &rows.encode()].concat();
            Write::Put { key: rows::deciding(), value }
        };
        (entry, row)
    }
}

struct Stored {
    position: u64,
    salt: [u8; SALT_BYTES],
    rows: Multiset,
}

impl Stored {
    fn decode(row: &[u8]) -> Option<Self> {
        let (position, rest) = row.split_first_chunk()?;
        let (salt, rows) = rest.split_first_chunk()?;
        Some(Self { position: u64::from_be_bytes(*position), salt: *salt, rows: Multiset::decode(rows)? })
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
    let Some(stored) = db.get(&rows::deciding())?.and_then(|row| Stored::decode(&row)) else {
        return Ok(Err(NotAsLogged));
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
