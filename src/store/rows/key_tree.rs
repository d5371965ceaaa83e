//! Rows of the key tree, and which rows the ledger vouches for.

use super::{Kind, key};

/// Control rows: rows that decide something. With each change of one, the ledger commits to all of them. The digests of pages are
/// among them, so the ledger vouches for the key tree without a start that reads it.
pub(crate) const CONTROL: [u8; 14] = [
    Kind::Format as u8,
    Kind::PageDigest as u8,
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

/// Those of them with as many rows as there are customers, or nearly.
pub(crate) const MANY: [u8; 2] = [Kind::PageDigest as u8, Kind::Tombstone as u8];

/// Whether a batch that changes a row of this kind is acknowledged only once the mirrors have it. A page that a new customer changes
/// does not wait, nor does its digest: what comes back without them is an older database as a whole, and never an older page.
pub(in crate::store) fn waits_for_mirrors(kind: u8) -> bool {
    CONTROL.contains(&kind) && kind != Kind::PageDigest as u8
}

/// A page of the key tree.
pub fn page(node: &[u8; 16]) -> Vec<u8> {
    key(Kind::Page, &[node])
}

/// The hash of a page of the key tree.
pub fn page_digest(node: &[u8; 16]) -> Vec<u8> {
    key(Kind::PageDigest, &[node])
}

/// The node in the key of a page or of its digest.
pub fn parse_page(key: &[u8]) -> Option<[u8; 16]> {
    key.get(1..)?.try_into().ok()
}
