//! What went wrong in the vault or at its door, as callers see it. Beside `status`, the only place where errors change their type.

use super::status::{ApiError, Quota};
use crate::access::Refused;
use crate::domain::clock::Timestamp;
use crate::domain::{Invalid, Problem};
use crate::vault::{CommitError, QuotaKind, StoreError, VaultError};

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        of_vault(&error)
    }
}

fn of_vault(error: &VaultError) -> ApiError {
    match error {
        VaultError::Shared(error) => of_vault(error),
        VaultError::Invalid(invalid) => ApiError::Invalid(invalid.clone()),
        VaultError::NotFound => ApiError::NotFound,
        VaultError::CustomerErased => ApiError::CustomerErased,
        VaultError::RecordErased => ApiError::RecordErased,
        VaultError::RevisionIsNewest => ApiError::RevisionIsNewest,
        VaultError::RevisionOutdated { newest } => ApiError::RevisionOutdated { newest: *newest },
        VaultError::TooManyRevisions { limit } => ApiError::TooManyRevisions { limit: *limit },
        VaultError::ErasureCeiling { limit } => ApiError::ErasureCeiling { limit: *limit },
        VaultError::SecondPerson => ApiError::SecondPerson,
        VaultError::ApprovalNeeded { limit } => ApiError::ApprovalNeeded { limit: *limit },
        VaultError::TooManyApprovals { limit } => ApiError::TooManyApprovals { limit: *limit },
        VaultError::TooEarly { not_before } => {
            ApiError::TooEarly { retry_ms: not_before.as_ms().saturating_sub(Timestamp::now().as_ms()) }
        }
        VaultError::TenantFrozen => ApiError::TenantFrozen,
        VaultError::CertificateBound => ApiError::CertificateBound,
        VaultError::ExposureTooLarge { limit } => ApiError::ExposureTooLarge { limit: *limit },
        VaultError::ReadCeiling { kind, limit, retry_ms } => {
            ApiError::ReadCeiling { kind: kind.name(), limit: *limit, retry_ms: *retry_ms }
        }
        VaultError::NotSettled => ApiError::NotMirrored,
        VaultError::NotSilenceable(_) => ApiError::NotMaskable,
        VaultError::NotErased => ApiError::NotErased,
        VaultError::RequestIdReused => ApiError::RequestIdReused,
        VaultError::RequestInProgress => ApiError::RequestInProgress,
        VaultError::HashMismatch => ApiError::HashMismatch,
        VaultError::ContentTooLarge { limit_bytes } => {
            ApiError::Invalid(Invalid::new("chunk", Problem::TooLong { limit_bytes: *limit_bytes }))
        }
        VaultError::ContentEmpty => ApiError::Invalid(Invalid::new("chunk", Problem::Missing)),
        VaultError::RangeNotSatisfiable { size_bytes } => ApiError::RangeNotSatisfiable { size_bytes: *size_bytes },
        VaultError::QuotaExceeded { which, limit } => ApiError::QuotaExceeded { which: (*which).into(), limit: *limit },
        VaultError::QuotasNotYours => ApiError::QuotasNotYours,
        VaultError::TooManyCalls { limit_per_second } => {
            ApiError::RateLimited { limit_per_second: *limit_per_second, retry_ms: 1_000 }
        }
        VaultError::DiskReserve => ApiError::DiskReserve,
        VaultError::TenantExists => ApiError::AlreadyExists,
        VaultError::Stopping => ApiError::ShuttingDown,
        VaultError::Store(error) | VaultError::Commit(CommitError::Store(error)) => of_store(error),
        VaultError::Damaged { .. } | VaultError::Decode(_) => {
            tracing::error!(%error, "something stored does not verify");
            ApiError::RecordDamaged
        }
        VaultError::CustomerNotInTree | VaultError::Tree(_) if error.is_of_the_key_tree() => {
            tracing::error!(%error, "the key tree does not verify");
            ApiError::KeyTreeDamaged
        }
        VaultError::Commit(CommitError::NotMirrored(error)) => {
            tracing::error!(%error, "not acknowledged");
            ApiError::NotMirrored
        }
        // The root key is used while the service runs by erasures only.
        VaultError::ErasureNotFinal { .. } | VaultError::RootKey(_) => {
            tracing::error!(%error, "an erasure is not final");
            ApiError::ErasureNotFinal
        }
        // Something changed between the look and the batch: the next look sees it.
        VaultError::Commit(CommitError::Conflict { .. }) => ApiError::RequestInProgress,
        error => ApiError::internal(error),
    }
}

impl From<QuotaKind> for Quota {
    fn from(kind: QuotaKind) -> Self {
        match kind {
            QuotaKind::ContentBytes => Self::ContentBytes,
            QuotaKind::Records => Self::Records,
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unauthenticated(_) => Self::Unauthenticated,
            Refused::Suspended => Self::TenantSuspended,
            Refused::NoPurpose => Self::Invalid(Invalid::new("purpose", Problem::Missing)),
            Refused::NotAllowed => Self::PermissionDenied,
            Refused::NotThisRecord => Self::NotFound,
        }
    }
}

fn of_store(error: &StoreError) -> ApiError {
    match error {
        StoreError::Closed => ApiError::ClosedToWrites,
        StoreError::Stopping => ApiError::ShuttingDown,
        StoreError::Full => ApiError::DiskReserve,
        StoreError::Damaged { .. } | StoreError::ObjectMissing { .. } => {
            tracing::error!(%error, "something stored is damaged");
            ApiError::RecordDamaged
        }
        other => ApiError::internal(other),
    }
}
