//! What went wrong in the vault or at its door, as callers see it. Beside `status`, the only place where errors change their type.

use super::status::{ApiError, Quota};
use crate::access::Refused;
use crate::domain::{Invalid, Problem};
use crate::vault::{CommitError, QuotaKind, StoreError, VaultError};

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Invalid(invalid) => Self::Invalid(invalid),
            VaultError::NotFound => Self::NotFound,
            VaultError::CustomerErased => Self::CustomerErased,
            VaultError::RequestIdReused => Self::RequestIdReused,
            VaultError::RequestInProgress => Self::RequestInProgress,
            VaultError::HashMismatch => Self::HashMismatch,
            VaultError::ContentTooLarge { limit_bytes } => {
                Self::Invalid(Invalid::new("chunk", Problem::TooLong { limit_bytes }))
            }
            VaultError::ContentEmpty => Self::Invalid(Invalid::new("chunk", Problem::Missing)),
            VaultError::RangeNotSatisfiable { size_bytes } => Self::RangeNotSatisfiable { size_bytes },
            VaultError::QuotaExceeded { which, limit } => Self::QuotaExceeded { which: which.into(), limit },
            VaultError::TooManyCalls { limit_per_second } => Self::RateLimited { limit_per_second, retry_ms: 1_000 },
            VaultError::DiskReserve => Self::DiskReserve,
            VaultError::TenantExists => Self::AlreadyExists,
            VaultError::Stopping => Self::ShuttingDown,
            VaultError::Store(error) | VaultError::Commit(CommitError::Store(error)) => of_store(&error),
            VaultError::Damaged { .. } | VaultError::Decode(_) => {
                tracing::error!(%error, "something stored does not verify");
                Self::RecordDamaged
            }
            // Something changed between the look and the batch: the next look sees it.
            VaultError::Commit(CommitError::Conflict { .. }) => Self::RequestInProgress,
            error => Self::internal(&error),
        }
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
