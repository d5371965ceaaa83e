//! What one person may not do alone: ceilings of a day that are raised for a time, when a second person approves.
//!
//! Why it is needed comes from a closed list. A free text would outlive the customers that it names.

use std::fmt;

use super::ceiling::Ceiling;
use super::clock::Timestamp;
use super::codec::{hex, unhex};
use super::ids::{BlindIndex, PrincipalName};

/// An approval that is asked for or given: whose it is, as the ledger names that one, and a random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApprovalId {
    /// Who asked.
    pub of: BlindIndex,
    /// Which of that one's.
    pub number: [u8; 8],
}

impl ApprovalId {
    /// Reads 48 digits of lower-case hexadecimal.
    pub fn parse(text: &str) -> Option<Self> {
        let (of, number) = text.split_at_checked(32)?;
        Some(Self { of: BlindIndex::parse(of)?, number: unhex(number)? })
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.of, hex(&self.number))
    }
}

/// Why more is needed than one person may do alone. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ApprovalGround {
    /// Customers asked for it.
    CustomersAsked = 1,
    /// What is kept is not needed any more.
    RetentionOver = 2,
    /// A claim, or a court.
    LegalClaim = 3,
    /// An incident is looked into.
    Incident = 4,
    /// Work of many is reviewed.
    Review = 5,
    /// A platform is moved or left.
    Migration = 6,
}

impl ApprovalGround {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::CustomersAsked, Self::RetentionOver, Self::LegalClaim, Self::Incident, Self::Review, Self::Migration];

    /// The ground with this stored number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|ground| *ground as u8 == code)
    }

    /// In words, as the ledger shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CustomersAsked => "customers_asked",
            Self::RetentionOver => "retention_over",
            Self::LegalClaim => "legal_claim",
            Self::Incident => "incident",
            Self::Review => "review",
            Self::Migration => "migration",
        }
    }
}

/// What one may do more: so many erasures in all, and so many reads and customers on each day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Raise {
    /// Erasures, in all.
    pub erasures: u32,
    /// Reads, on each day.
    pub reads: u32,
    /// Different customers of whom something is read, on each day.
    pub customers: u32,
}

impl Raise {
    /// The most of each.
    pub const MAX: u32 = 1_000_000;

    /// A ceiling of reading, raised. What has no ceiling gets none.
    #[must_use]
    pub fn of(self, ceiling: Ceiling) -> Ceiling {
        let raised = |limit: u32, by: u32| if limit == 0 { 0 } else { limit.saturating_add(by) };
        Ceiling {
            reads_per_day: raised(ceiling.reads_per_day, self.reads),
            customers_per_day: raised(ceiling.customers_per_day, self.customers),
            ..ceiling
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// By how much.
    pub raise: Raise,
    /// Why.
    pub ground: ApprovalGround,
    /// From when on it is worth nothing, approved or not.
    pub expires: Timestamp,
}

impl Wanted {
    /// The longest time: a day.
    pub const MAX_MS: u64 = 24 * 60 * 60 * 1_000;
    /// The time where the caller does not say: a working day.
    pub const DEFAULT_MS: u64 = 8 * 60 * 60 * 1_000;
}

/// An approval, asked for and perhaps given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// Who asked.
    pub requested_by: PrincipalName,
    /// When.
    pub requested: Timestamp,
    /// For what.
    pub wanted: Wanted,
    /// Who gave it.
    pub given_by: Option<PrincipalName>,
}

/// An approval as the ledger names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approved {
    /// Its id.
    pub id: ApprovalId,
    /// What it is about.
    pub wanted: Wanted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_itself_and_nothing_else_is_one() {
        let id = ApprovalId { of: BlindIndex([0xab; 16]), number: [7; 8] };
        let text = id.to_string();
        assert_eq!((text.len(), ApprovalId::parse(&text)), (48, Some(id)));
        for wrong in ["", &text[1..], &text.to_uppercase(), &format!("{text}0"), &text.replace("ab", "g0"), "é"] {
            assert_eq!(ApprovalId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_has_no_ceiling_gets_none_and_no_raise_overflows() {
        let ceiling =
            Ceiling { reads_per_day: 10, customers_per_day: 0, erasures_per_day: u32::MAX, reads_per_minute: 5 };
        let raised = Raise { erasures: 1, reads: 2, customers: 3 }.of(ceiling);
        let expected = Ceiling { reads_per_day: 12, ..ceiling };
        assert_eq!(raised, expected);
    }
}
