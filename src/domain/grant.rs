//! Why a record is read, and what lets somebody read it beyond a role: a case that was assigned, a glass that was broken.

use super::clock::Timestamp;
use super::ids::{BlindIndex, CaseId, CustomerId, Handle, PrincipalName, Purpose, WrittenReason};

/// Why somebody reads: stated with every read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// One of the tenant's purposes.
    pub purpose: Purpose,
    /// The case that the caller works on. That it is the caller's is not taken from this, but from an assignment.
    pub case: Option<CaseId>,
}

/// Somebody is to work on a case of a customer, until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseAssignment {
    /// The customer whose case it is.
    pub customer: CustomerId,
    /// The case.
    pub case: CaseId,
    /// Who works on it.
    pub assignee: PrincipalName,
    /// From when on it is worth nothing.
    pub expires: Timestamp,
}

impl CaseAssignment {
    /// The longest time for which a case can be assigned: 90 days.
    pub const MAX_MS: u64 = 90 * 24 * 60 * 60 * 1_000;
}

/// Somebody takes the right to read a customer's records for a short time, for a reason that is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenGlass {
    /// Whose records.
    pub customer: CustomerId,
    /// Why, in words. It may be personal.
    pub reason: WrittenReason,
    /// From when on it is worth nothing.
    pub expires: Timestamp,
}

impl BrokenGlass {
    /// The longest time: an hour.
    pub const MAX_MS: u64 = 60 * 60 * 1_000;
    /// The time where the caller does not say: a quarter of an hour.
    pub const DEFAULT_MS: u64 = 15 * 60 * 1_000;
}

/// What lets a principal read a customer's records beyond its roles, as far as it is not expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grants {
    /// The case that the caller states is assigned to it, and is one of this customer.
    pub case_is_assigned: bool,
    /// The caller broke the glass for this customer.
    pub glass_is_broken: bool,
}

/// A grant as the ledger names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// The customer.
    pub handle: Handle,
    /// To whom: the keyed hash of the name.
    pub to: BlindIndex,
    /// Until when; `None` where it is taken back.
    pub until: Option<Timestamp>,
}
