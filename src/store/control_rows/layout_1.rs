//! What tied control rows to the ledger in layout 1: the sum stood in the clear, under another key, and without the digests of pages and the
//! row of the layout. It is only checked, before an upgrade; the first group of writes replaces it.

use super::{Multiset, NotAsLogged, RowMac, is_newest_commitment, sum_of};
use crate::audit::merkle::Hash;
use crate::domain::codec::Reader;
use crate::store::rows::Kind;
use crate::store::{Database, StoreError};

const VERSION: u8 = 2;
const WHAT: &str = "the row that ties the control rows to the ledger in layout 1";
const KINDS: [u8; 12] = [
    Kind::Root as u8,
    Kind::Tombstone as u8,
    Kind::Erasing as u8,
    Kind::Duty as u8,
    Kind::TenantErasure as u8,
    Kind::LogKey as u8,
    Kind::Token as u8,
    Kind::Principal as u8,
    Kind::Tenant as u8,
    Kind::Assignment as u8,
    Kind::Glass as u8,
    Kind::Approval as u8,
];

/// Whether the row that ties the control rows is one of layout 1.
pub fn is_of_it(row: &[u8]) -> bool {
    row.first() == Some(&VERSION)
}

/// Whether the control rows are those that the row and the newest commitment in the ledger are about.
pub fn check(
    db: &dyn Database,
    row: &[u8],
    mac: &RowMac,
    pinned: Option<(u64, Hash)>,
) -> Result<Result<(), NotAsLogged>, StoreError> {
    let read = || {
        let (mut reader, _) = Reader::versioned(WHAT, row, VERSION)?;
        let stored = (reader.u64()?, reader.array::<32>()?, Multiset::decode(&reader.array()?));
        reader.end().map(|()| stored)
    };
    let Ok((position, salt, sum)) = read() else { return Ok(Err(NotAsLogged)) };
    if sum_of(db, &KINDS, |key, value| (mac.mac)("deciding row", &[key, value]))? != sum {
        return Ok(Err(NotAsLogged));
    }
    let expected = (mac.mac)("deciding rows", &[&position.to_be_bytes(), &salt, &sum.encode()]);
    is_newest_commitment(db, (position, expected), pinned)
}
