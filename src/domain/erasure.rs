//! What a receipt of an erasure states.

use super::clock::Timestamp;
use super::ids::{BlindIndex, ReceiptId, RecordId, Revision};

/// Of which kind the medium is that holds the root key: it bounds what destruction can mean. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MediumClass {
    /// A file: overwritten, then unlinked. As final as the disk under it lets an overwrite be.
    File = 1,
    /// A hardware security module: the object is destroyed in it. As final as its own backups are.
    Hsm = 2,
}

/// What was erased. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Subject {
    /// A customer, with all records.
    Customer = 1,
    /// One record.
    Record = 2,
    /// A tenant, with all customers.
    Tenant = 3,
    /// One revision of a record.
    Revision = 4,
}

/// What of a customer was erased, where it was not everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A record, with all its revisions.
    Record(RecordId),
    /// One revision of a record.
    Revision(RecordId, Revision),
}

impl Part {
    /// The record that it is, or is one of.
    pub fn record(self) -> RecordId {
        match self {
            Self::Record(record) | Self::Revision(record, _) => record,
        }
    }

    /// Which revision it is; `None` if it is all of them.
    pub fn revision(self) -> Option<Revision> {
        match self {
            Self::Record(_) => None,
            Self::Revision(_, revision) => Some(revision),
        }
    }

    /// Whether this revision of this record is in it.
    pub fn holds(self, record: RecordId, revision: Revision) -> bool {
        self.record() == record && self.revision().is_none_or(|one| one == revision)
    }
}

/// Why something was kept: the grounds of GDPR Article 17(3). The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Ground {
    /// Freedom of expression and information.
    Expression = 1,
    /// A legal obligation, or a task in the public interest.
    LegalObligation = 2,
    /// Public health.
    PublicHealth = 3,
    /// Archiving, research or statistics.
    Archiving = 4,
    /// Legal claims.
    LegalClaims = 5,
}

macro_rules! from_code {
    ($($name:ident: $($variant:ident),+;)+) => {
        $(impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The one with this stored number.
            pub fn from_code(code: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| *one as u8 == code)
            }
        })+
    };
}

from_code! {
    MediumClass: File, Hsm;
    Subject: Customer, Record, Tenant, Revision;
    Ground: Expression, LegalObligation, PublicHealth, Archiving, LegalClaims;
}

impl MediumClass {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Hsm => "a hardware security module",
        }
    }
}

impl Subject {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Customer => "a customer",
            Self::Record => "one record of a customer",
            Self::Tenant => "a whole tenant",
            Self::Revision => "one revision of a record of a customer",
        }
    }
}

impl Ground {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Expression => "freedom of expression and information",
            Self::LegalObligation => "a legal obligation",
            Self::PublicHealth => "public health",
            Self::Archiving => "archiving, research or statistics",
            Self::LegalClaims => "legal claims",
        }
    }
}

/// An erasure that is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// The receipt's id.
    pub receipt: ReceiptId,
    /// What was erased.
    pub subject: Subject,
    /// A salted hash of whom or what; who has the opening can tell.
    pub commitment: [u8; 32],
    /// The epoch that began with the erasure.
    pub epoch: u64,
    /// Who asked: the keyed hash of the principal's name.
    pub requested_by: BlindIndex,
    /// Who approved it, where a second person had to.
    pub approved_by: Option<BlindIndex>,
    /// The provider that held the root key.
    pub provider: String,
    /// The class of its medium.
    pub medium: MediumClass,
    /// Whether the root key stood on the device of the data, so that one image of it could hold both.
    pub shares_device: bool,
    /// How many copies of earlier root keys were lost, so that nobody saw them destroyed: with one of them, images of its time open.
    pub lost_replicas: u32,
    /// From when on the destruction of the old root key is final.
    pub final_at: Timestamp,
    /// Where something was kept, why. Then the erasure is partial.
    pub kept_under: Vec<Ground>,
}
