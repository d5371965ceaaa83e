//! Receipts: the entry of an erasure that is final, proven to be in the log. Checked offline, with the log's public key alone.

use super::note::VerifierKey;
use super::proof::{self, ProofError, Proven};
use super::{Entry, Event};
use crate::crypto::hash::{Sha256, same};
use crate::domain::codec::Decode;
use crate::domain::erasure::{Erased, Part};
use crate::domain::ids::TenantId;

/// What a commitment begins with.
const COMMITMENT: &[u8] = b"oubliette erasure commitment v1\n";

/// A receipt that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The tenant in which something was erased.
    pub tenant: TenantId,
    /// What it states.
    pub erased: Erased,
    /// The log that says so, and where.
    pub proven: Proven,
}

/// A receipt that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAReceipt {
    /// It proves nothing.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The entry cannot be read.
    #[error("its entry is in the log, but cannot be read: {0}")]
    Decode(#[from] Decode),
    /// The entry is about something else.
    #[error("its entry is in the log, but is not that of an erasure")]
    OtherEntry,
}

/// Checks a receipt against the keys of the log.
pub fn check(receipt: &str, keys: &[VerifierKey]) -> Result<Checked, NotAReceipt> {
    let proven = proof::check(receipt, keys)?;
    let entry = Entry::decode(&proven.entry)?;
    match entry.event {
        Event::ErasureFinal(erased) => Ok(Checked { tenant: entry.tenant, erased: *erased, proven }),
        _ => Err(NotAReceipt::OtherEntry),
    }
}

/// Commits to who or what was erased: SHA-256 over a fixed text, the opening, the length of the customer id (four bytes, big-endian), the
/// customer id, the bytes of the record's id where it was one record or a revision of one, and the number of the revision (four bytes) where
/// it was one. Nobody without the opening can tell whom it is about, or try out
/// whom; who has it cannot show it for anybody else.
pub fn commitment(opening: &[u8; 32], customer: &str, part: Option<Part>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(COMMITMENT);
    hash.update(opening);
    hash.update(&u32::try_from(customer.len()).unwrap_or(u32::MAX).to_be_bytes());
    hash.update(customer.as_bytes());
    if let Some(part) = part {
        hash.update(part.record().as_bytes());
    }
    if let Some(revision) = part.and_then(Part::revision) {
        hash.update(&revision.0.to_be_bytes());
    }
    hash.finish()
}

/// Whether an erasure is that of this customer, and of this record or revision where one is named.
pub fn is_of(erased: &Erased, opening: &[u8; 32], customer: &str, part: Option<Part>) -> bool {
    same(&erased.commitment, &commitment(opening, customer, part))
}
