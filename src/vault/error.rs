//! What can go wrong in the vault, once a caller was admitted.

use std::sync::Arc;

use crate::domain::Invalid;
use crate::domain::ceiling::CeilingKind;
use crate::domain::clock::Timestamp;
use crate::domain::codec::Decode;
use crate::keys::{SourceError, TreeError};
use crate::masking::wav::NotSilenceable;
use crate::root_key::{KeyFileError, RootKeyError};
use crate::store::{CommitError, StoreError};

/// Why the vault did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A value does not fit what the tenant has set, or what is stored.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// What is asked for is not there, or not for this caller.
    #[error("not found")]
    NotFound,
    /// The customer is erased, or is being erased.
    #[error("the customer is erased: nothing can be stored or read for it")]
    CustomerErased,
    /// Nothing of the tenant is read for now.
    #[error("the tenant is frozen: nothing of its content is read until it is unfrozen")]
    TenantFrozen,
    /// The certificate's name stands for another principal.
    #[error("the certificate's name stands for another principal")]
    CertificateBound,
    /// The principal has read as much as it may.
    #[error("the principal has met its ceiling of {limit} ({})", kind.name())]
    ReadCeiling {
        /// Of what.
        kind: CeilingKind,
        /// How high it is.
        limit: u32,
        /// In how many milliseconds it begins anew.
        retry_ms: u64,
    },
    /// A report would name too much.
    #[error("more than {limit} records were touched")]
    ExposureTooLarge {
        /// How many a report names at most.
        limit: u64,
    },
    /// The mirrors do not have the log yet.
    #[error("the log is not on all mirrors yet")]
    NotSettled,
    /// The record is erased, or is being erased; with its customer, or alone.
    #[error("the record is erased")]
    RecordErased,
    /// The revision to erase is the newest one.
    #[error("this is the newest revision: erase the record, or store another revision first")]
    RevisionIsNewest,
    /// The revision that was to be replaced is not the newest one.
    #[error("the record has revision {newest} by now")]
    RevisionOutdated {
        /// The newest one.
        newest: u32,
    },
    /// There is no room for one more revision.
    #[error("{limit} secrets stand where this record's does: erase revisions that are not needed any more")]
    TooManyRevisions {
        /// How many there may be.
        limit: u64,
    },
    /// More erasures were asked for in an hour than the ceiling allows.
    #[error("the tenant has asked for {limit} erasures within an hour, which is the ceiling")]
    ErasureCeiling {
        /// The ceiling.
        limit: u64,
    },
    /// Who asked for something must not approve it.
    #[error("whoever asked for it cannot approve it: a second person must")]
    SecondPerson,
    /// More erasures in a day than one person may ask for alone.
    #[error("more than {limit} erasures in a day need a second person")]
    ApprovalNeeded {
        /// How many need none.
        limit: u32,
    },
    /// Somebody has asked for as many approvals as may stand.
    #[error("the principal has asked for {limit} approvals that still stand")]
    TooManyApprovals {
        /// How many may.
        limit: u64,
    },
    /// The delay before the erasure of a tenant has not passed.
    #[error("the erasure of the tenant cannot be approved yet")]
    TooEarly {
        /// When it can.
        not_before: Timestamp,
    },
    /// The customer is not erased, so there is nothing to lift.
    #[error("the customer is not erased")]
    NotErased,
    /// The request id was used for another request.
    #[error("this request id was used for another request; choose a new one")]
    RequestIdReused,
    /// A request with this id is being worked on.
    #[error("a request with this id is being worked on; wait for it, or repeat it later")]
    RequestInProgress,
    /// The content does not hash to what was announced.
    #[error("the content does not have the announced SHA-256; send it again")]
    HashMismatch,
    /// The content is larger than the service takes.
    #[error("the content is larger than {limit_bytes} bytes")]
    ContentTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// Some of the recording may not be heard by the caller, and it cannot be silenced.
    #[error("some of the recording may not be heard by this caller, and it cannot be silenced: {0}")]
    NotSilenceable(#[from] NotSilenceable),
    /// An upload without a byte.
    #[error("the recording has no content")]
    ContentEmpty,
    /// The range does not lie within the recording.
    #[error("the range does not lie within the recording's {size_bytes} bytes")]
    RangeNotSatisfiable {
        /// The recording's length.
        size_bytes: u64,
    },
    /// The tenant has used up what it may.
    #[error("the tenant has used up its quota of {limit} ({which:?})")]
    QuotaExceeded {
        /// Of what.
        which: QuotaKind,
        /// How much.
        limit: u64,
    },
    /// The tenant makes more calls a second than it may.
    #[error("the tenant makes more than {limit_per_second} calls a second")]
    TooManyCalls {
        /// How many it may.
        limit_per_second: u32,
    },
    /// The disk is too full for new content.
    #[error("the disk is nearly full: only erasure, audit and reads go on")]
    DiskReserve,
    /// There is a tenant of this name.
    #[error("there is a tenant of this name already")]
    TenantExists,
    /// Quotas that only the operator may change.
    #[error("only the operator of the vault may change a tenant's quotas")]
    QuotasNotYours,
    /// Only a root key in files has replicas.
    #[error("this root key is not in a file: its copies are its security module's to look after")]
    NoReplicas,
    /// What several callers waited for together failed.
    #[error(transparent)]
    Shared(#[from] Arc<VaultError>),
    /// The service stops.
    #[error("the service is stopping")]
    Stopping,
    /// The erasure has happened as far as it could, and is not final.
    #[error("the erasure is not final: {why}; repeat the request")]
    ErasureNotFinal {
        /// What is missing.
        why: &'static str,
    },
    /// Something stored does not open.
    #[error("{what} is damaged: check the disk, and keep a copy of the data directory for whoever examines it")]
    Damaged {
        /// What.
        what: &'static str,
    },
    /// A customer's rows are there, and the key tree does not name the customer.
    #[error(
        "integrity check failed: rows of the customer are stored, and the key tree does not name the customer, so nothing was erased; keep a copy of the data directory, and restore from a mirror (oubliette restore)"
    )]
    CustomerNotInTree,
    /// Something stored cannot be read.
    #[error(transparent)]
    Decode(#[from] Decode),
    /// The key tree cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The root key cannot be used.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// The signing key's file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A batch was not committed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaKind {
    /// Bytes of sealed content.
    ContentBytes,
    /// Records.
    Records,
}

impl VaultError {
    /// Whether it says that one stored thing does not open: then the work can go on with others.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Decode(_) => true,
            Self::Store(error) | Self::Commit(CommitError::Store(error)) => matches!(error, StoreError::Damaged { .. }),
            Self::Tree(TreeError::Source(error)) => matches!(error, SourceError::NotAsLogged { .. }),
            Self::Tree(_) => true,
            Self::Shared(error) => error.is_damage(),
            _ => false,
        }
    }

    /// Whether the key tree is not what the audit log vouches for, or does not open.
    pub fn is_of_the_key_tree(&self) -> bool {
        match self {
            Self::CustomerNotInTree => true,
            Self::Shared(error) => error.is_of_the_key_tree(),
            Self::Tree(error) => matches!(
                error,
                TreeError::MissingPage(_)
                    | TreeError::CannotOpen(_)
                    | TreeError::Decode(_)
                    | TreeError::Source(SourceError::NotAsLogged { .. })
            ),
            _ => false,
        }
    }

    /// Something stored that does not open.
    pub(super) fn damaged(what: &'static str) -> Self {
        Self::Damaged { what }
    }
}
