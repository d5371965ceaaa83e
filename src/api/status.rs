//! The one map from errors to what a caller sees: the gRPC code, a stable reason, the field or limit, and what to do next.
//!
//! Every error of the service becomes an [`ApiError`] and leaves as a [`Status`] with a `google.rpc.ErrorInfo`, and, where they
//! apply, `BadRequest`, `QuotaFailure` and `RetryInfo`. Nothing here ever holds a value that a caller sent, a secret, or the
//! text of an inner error.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::reason::Reason;
use crate::domain::{Invalid, Problem};

/// The `domain` of every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "oubliette";

/// The quotas that can be used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Bytes of sealed content.
    ContentBytes,
    /// Records.
    Records,
}

impl Quota {
    /// The quota's field in `oubliette.v1.Quotas`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContentBytes => "content_bytes",
            Self::Records => "records",
        }
    }
}

/// Everything that a call can end with other than its answer. The text is what the caller reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// A field of the request cannot be accepted.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The bytes are not the message that the method takes. `field` names the place where that is known.
    #[error(
        "the message cannot be read{}: {problem}; encode it with the protobuf definitions of oubliette.v1",
        at(field)
    )]
    MalformedMessage {
        /// The field's path, or empty.
        field: String,
        /// What is wrong, in fixed words.
        problem: &'static str,
    },
    /// One message is too large.
    #[error("the message is too large; at most {limit_bytes} bytes: send less at once")]
    MessageTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The answer would be larger than one message may be.
    #[error("the answer is too large for one message; ask for less, for example with a smaller page_size")]
    AnswerTooLarge,
    /// The message is compressed.
    #[error("compressed messages are not accepted; send them with grpc-encoding: identity")]
    UnsupportedCompression,
    /// No such method.
    #[error(
        "the service has no such method; compare the client's version with the server's, or list the methods by reflection"
    )]
    UnknownMethod,
    /// No valid token. Why it is not valid is not told.
    #[error("the token is missing, unknown, expired or revoked; send `authorization: Bearer ...` with a valid one")]
    Unauthenticated,
    /// The policy does not allow it.
    #[error(
        "the policy does not allow this; ask an admin of the tenant for a role that may do it, or state another purpose"
    )]
    PermissionDenied,
    /// Absent, foreign or forbidden: the same answer, so that nothing can be learnt from it.
    #[error("there is no such thing, or it is not for this caller; check the id and the purpose")]
    NotFound,
    /// The caller's tenant is suspended.
    #[error("the tenant is suspended; ask the operator of the vault to resume it")]
    TenantSuspended,
    /// Nothing of the tenant is read for now.
    #[error("the tenant is frozen and nothing of its content is read; an admin of the tenant can unfreeze it")]
    TenantFrozen,
    /// Some of the recording may not be heard by the caller, and it cannot be silenced.
    #[error(
        "some of the recording may not be heard by this caller, and only WAV files (PCM of 8 to 32 bits, A-law or mu-law) can be silenced; ask a supervisor, or have it stored as one"
    )]
    NotMaskable,
    /// The certificate's name stands for another principal.
    #[error("certificate_name stands for another principal; revoke that first, by the token_id that ListTokens shows")]
    CertificateBound,
    /// The caller has read as much as it may.
    #[error(
        "the caller has met its ceiling of {limit} {kind}; what is left is refused for {retry_ms} ms, or until a second person approves more (RequestApproval)"
    )]
    ReadCeiling {
        /// Of what.
        kind: &'static str,
        /// How high it is.
        limit: u32,
        /// In how many milliseconds it begins anew.
        retry_ms: u64,
    },
    /// A report would name more records than it can.
    #[error("more than {limit} records were touched, which is more than a report names; ask for shorter spans of time")]
    ExposureTooLarge {
        /// How many it names at most.
        limit: u64,
    },
    /// The same request id with other content.
    #[error("request_id was already used for a request with other content; choose a new one")]
    RequestIdReused,
    /// The same request is being carried out.
    #[error("a request with this request_id is being carried out; repeat it in a moment to get its answer")]
    RequestInProgress,
    /// Nothing can be stored for an erased customer.
    #[error(
        "the customer is erased and nothing more can be stored under this customer_id; a new relation needs a new customer_id"
    )]
    CustomerErased,
    /// The record is erased.
    #[error(
        "the record is erased; nothing of it can be read, and a repeat of the request that stored it stores nothing"
    )]
    RecordErased,
    /// The newest revision goes only with its record.
    #[error(
        "this is the newest revision, and a record is never left without one; erase the whole record, or store another revision first"
    )]
    RevisionIsNewest,
    /// Another revision came in between.
    #[error(
        "base_revision is not the newest one; the record has revision {newest} by now: read it, and revise that one"
    )]
    RevisionOutdated {
        /// The newest one.
        newest: u32,
    },
    /// There is no room for one more revision.
    #[error(
        "{limit} records and revisions of this customer stand around this record, which is the limit; erase revisions that are not needed any more"
    )]
    TooManyRevisions {
        /// How many there may be.
        limit: u64,
    },
    /// Too many erasures within an hour.
    #[error(
        "the tenant has asked for {limit} erasures within an hour, which is the ceiling; go on later, or have the operator of the vault raise limits.erasures_per_hour"
    )]
    ErasureCeiling {
        /// The ceiling.
        limit: u64,
    },
    /// Whoever asked cannot approve.
    #[error(
        "whoever asked for it cannot approve it, nor can who comes through the same account; have another person do it"
    )]
    SecondPerson,
    /// Too much for one person alone.
    #[error("more than {limit} erasures in a day need a second person; ask for it with RequestApproval")]
    ApprovalNeeded {
        /// How many need none.
        limit: u32,
    },
    /// Too many approvals stand.
    #[error("{limit} approvals that the caller asked for still stand; use them, have some withdrawn, or wait")]
    TooManyApprovals {
        /// How many may.
        limit: u64,
    },
    /// The delay has not passed.
    #[error(
        "the erasure of the tenant cannot be approved before {} ms from now; until then it can be taken back",
        retry_ms
    )]
    TooEarly {
        /// When it can.
        retry_ms: u64,
    },
    /// There is no fence to take away.
    #[error("the customer is not erased, so there is nothing to readmit; records can be stored at once")]
    NotErased,
    /// The customer was erased while the record was read.
    #[error("the record was erased while it was read; discard what was received")]
    ErasedWhileReading,
    /// The content's hash is not the one stated.
    #[error(
        "the content does not have the SHA-256 stated in metadata.content_sha256; nothing was stored: check both and upload again"
    )]
    HashMismatch,
    /// The range leaves the recording.
    #[error("range is not within the recording of {size_bytes} bytes; ask for bytes that lie within it")]
    RangeNotSatisfiable {
        /// The recording's length.
        size_bytes: u64,
    },
    /// A tenant with this name exists.
    #[error("a tenant with this name exists; choose another name, or change its settings with UpdateTenantSettings")]
    AlreadyExists,
    /// A quota is used up.
    #[error("the tenant's quota {} of {limit} is used up; erase what is no longer needed, or ask the operator for more", which.name())]
    QuotaExceeded {
        /// Which one.
        which: Quota,
        /// Its limit.
        limit: u64,
    },
    /// Too many calls.
    #[error("too many calls; at most {limit_per_second} a second: wait {retry_ms} ms and repeat")]
    RateLimited {
        /// The limit.
        limit_per_second: u32,
        /// When to try again.
        retry_ms: u64,
    },
    /// Too much at once.
    #[error("{what} is at its limit of {limit}; wait {retry_ms} ms and repeat")]
    Overloaded {
        /// What is at its limit, in fixed words.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// When to try again.
        retry_ms: u64,
    },
    /// The erasure is asked for and not final.
    #[error(
        "the erasure is not final: the customer's records are refused to everybody, but the old root key is not proven to be destroyed; repeat the call, and tell the operator of the vault if it stays so"
    )]
    ErasureNotFinal,
    /// It is done, and a mirror does not have it.
    #[error(
        "it stands in the vault, but not on its mirrors yet, so it is not acknowledged; repeat the call, and tell the operator of the vault if it stays so"
    )]
    NotMirrored,
    /// The quotas of a tenant are the operator's.
    #[error("settings.quotas can only be changed by the operator of the vault; leave it out, or as it is")]
    QuotasNotYours,
    /// The disk's reserve is reached.
    #[error(
        "the vault's disk is full up to its reserve; nothing was stored: the operator must free space, reads and erasures go on"
    )]
    DiskReserve,
    /// The store is closed to writes.
    #[error(
        "the vault is closed to writes after a failed write; whether the last one is stored is known after a restart: repeat it then with the same request_id"
    )]
    ClosedToWrites,
    /// The service ends.
    #[error("the service is shutting down; repeat the call with the same request_id on a new connection")]
    ShuttingDown,
    /// A stream stood still.
    #[error("the stream stood still for more than {limit_ms} ms; start again and keep sending or receiving")]
    StreamIdle {
        /// The limit.
        limit_ms: u64,
    },
    /// The call took too long.
    #[error("the call took more than {limit_ms} ms; a write may have happened: repeat it with the same request_id")]
    Deadline {
        /// The limit.
        limit_ms: u64,
    },
    /// The call was given up by its caller, or by its deadline.
    #[error(
        "the call was cancelled or its deadline passed; a write may have happened: repeat it with the same request_id"
    )]
    Cancelled,
    /// The caller's stream broke off.
    #[error("the stream broke before its end; nothing was stored: repeat it with the same request_id")]
    StreamBroken,
    /// What is stored does not verify.
    #[error("what is stored of this record does not verify and was not released; tell the operator of the vault")]
    RecordDamaged,
    /// The key tree does not verify.
    #[error(
        "the keys of this customer do not verify: what is stored was changed past the service, and nothing was done; tell the operator of the vault at once"
    )]
    KeyTreeDamaged,
    /// A fault of the service. What it was stands in the log, beside the id.
    #[error("the service failed; repeat the call, and give the operator the fault id {fault_id} if it fails again")]
    Internal {
        /// Random; stands in the log too.
        fault_id: u64,
    },
}

fn at(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!(" at {field}") }
}

impl ApiError {
    /// A fault of the service: writes `cause` to the log with a new id, and tells the caller the id only.
    ///
    /// `cause` must obey the rules of [`crate::telemetry`]: an error of ours, which names no person and holds no value.
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        // An id, not a secret: the seed that the standard library draws for its maps is random enough.
        let fault_id = RandomState::new().build_hasher().finish();
        let mut chain = cause.to_string();
        let mut source = cause.source();
        for _ in 0..MAX_CAUSES {
            let Some(inner) = source else { break };
            chain.push_str(": ");
            chain.push_str(&inner.to_string());
            source = inner.source();
        }
        tracing::error!(fault_id, cause = chain, "a call failed by a fault of the service");
        Self::Internal { fault_id }
    }

    /// The gRPC code and the reason.
    pub fn kind(&self) -> (Code, Reason) {
        match self {
            Self::Invalid(invalid) => (Code::InvalidArgument, reason_of(&invalid.problem)),
            Self::MalformedMessage { .. } => (Code::InvalidArgument, Reason::MalformedMessage),
            // Other servers of gRPC say RESOURCE_EXHAUSTED here; tonic's own OUT_OF_RANGE is for reading behind an end.
            Self::MessageTooLarge { .. } | Self::AnswerTooLarge => (Code::ResourceExhausted, Reason::MessageTooLarge),
            Self::UnsupportedCompression => (Code::Unimplemented, Reason::UnsupportedCompression),
            Self::UnknownMethod => (Code::Unimplemented, Reason::UnknownMethod),
            Self::Unauthenticated => (Code::Unauthenticated, Reason::Unauthenticated),
            Self::PermissionDenied => (Code::PermissionDenied, Reason::PermissionDenied),
            Self::NotFound => (Code::NotFound, Reason::NotFound),
            Self::TenantSuspended => (Code::PermissionDenied, Reason::TenantSuspended),
            Self::ExposureTooLarge { .. } => (Code::FailedPrecondition, Reason::ExposureTooLarge),
            Self::CertificateBound => (Code::AlreadyExists, Reason::CertificateBound),
            Self::ReadCeiling { .. } => (Code::ResourceExhausted, Reason::ReadCeiling),
            Self::NotMaskable => (Code::FailedPrecondition, Reason::NotMaskable),
            Self::TenantFrozen => (Code::FailedPrecondition, Reason::TenantFrozen),
            Self::RequestIdReused => (Code::AlreadyExists, Reason::RequestIdReused),
            Self::RequestInProgress => (Code::Aborted, Reason::RequestInProgress),
            Self::CustomerErased => (Code::FailedPrecondition, Reason::CustomerErased),
            Self::RecordErased => (Code::FailedPrecondition, Reason::RecordErased),
            Self::RevisionIsNewest => (Code::FailedPrecondition, Reason::RevisionIsNewest),
            Self::RevisionOutdated { .. } => (Code::FailedPrecondition, Reason::RevisionOutdated),
            Self::TooManyRevisions { .. } => (Code::ResourceExhausted, Reason::TooManyRevisions),
            Self::ErasureCeiling { .. } => (Code::ResourceExhausted, Reason::ErasureCeiling),
            Self::SecondPerson => (Code::PermissionDenied, Reason::SecondPerson),
            Self::ApprovalNeeded { .. } => (Code::FailedPrecondition, Reason::ApprovalNeeded),
            Self::TooManyApprovals { .. } => (Code::ResourceExhausted, Reason::TooManyApprovals),
            Self::TooEarly { .. } => (Code::FailedPrecondition, Reason::TooEarly),
            Self::NotErased => (Code::FailedPrecondition, Reason::NotErased),
            // Not NOT_FOUND: bytes of it were sent already, and the caller must throw them away.
            Self::ErasedWhileReading => (Code::Aborted, Reason::ErasedWhileReading),
            Self::HashMismatch => (Code::InvalidArgument, Reason::HashMismatch),
            Self::RangeNotSatisfiable { .. } => (Code::OutOfRange, Reason::RangeNotSatisfiable),
            Self::AlreadyExists => (Code::AlreadyExists, Reason::AlreadyExists),
            Self::QuotaExceeded { .. } => (Code::ResourceExhausted, Reason::QuotaExceeded),
            Self::RateLimited { .. } => (Code::ResourceExhausted, Reason::RateLimited),
            Self::Overloaded { .. } => (Code::ResourceExhausted, Reason::Overloaded),
            Self::ErasureNotFinal => (Code::Unavailable, Reason::ErasureNotFinal),
            Self::NotMirrored => (Code::Unavailable, Reason::NotMirrored),
            Self::QuotasNotYours => (Code::PermissionDenied, Reason::PermissionDenied),
            Self::DiskReserve => (Code::ResourceExhausted, Reason::DiskReserve),
            Self::ClosedToWrites => (Code::Unavailable, Reason::ClosedToWrites),
            Self::ShuttingDown => (Code::Unavailable, Reason::ShuttingDown),
            Self::StreamIdle { .. } => (Code::DeadlineExceeded, Reason::StreamIdle),
            Self::Deadline { .. } => (Code::DeadlineExceeded, Reason::Deadline),
            Self::Cancelled => (Code::Cancelled, Reason::Deadline),
            Self::StreamBroken => (Code::Aborted, Reason::StreamBroken),
            Self::RecordDamaged => (Code::DataLoss, Reason::RecordDamaged),
            Self::KeyTreeDamaged => (Code::DataLoss, Reason::KeyTreeDamaged),
            Self::Internal { .. } => (Code::Internal, Reason::Internal),
        }
    }

    /// The field that is to blame.
    fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid(invalid) => Some(&invalid.field),
            Self::MalformedMessage { field, .. } if !field.is_empty() => Some(field),
            Self::HashMismatch => Some("metadata.content_sha256"),
            Self::RangeNotSatisfiable { .. } => Some("range"),
            Self::RequestIdReused => Some("request_id"),
            Self::RevisionOutdated { .. } => Some("base_revision"),
            Self::RevisionIsNewest => Some("revision"),
            Self::QuotasNotYours => Some("settings.quotas"),
            _ => None,
        }
    }

    /// The limit that was met.
    fn limit(&self) -> Option<u64> {
        match self {
            Self::Invalid(invalid) => match invalid.problem {
                Problem::TooLong { limit_bytes } | Problem::TooShort { limit_bytes } => Some(limit_bytes),
                Problem::TooMany { limit } => Some(limit),
                _ => None,
            },
            Self::MessageTooLarge { limit_bytes } => Some(*limit_bytes),
            Self::RangeNotSatisfiable { size_bytes } => Some(*size_bytes),
            Self::QuotaExceeded { limit, .. } | Self::Overloaded { limit, .. } => Some(*limit),
            Self::ErasureCeiling { limit } | Self::TooManyRevisions { limit } | Self::TooManyApprovals { limit } => {
                Some(*limit)
            }
            Self::ApprovalNeeded { limit } => Some(u64::from(*limit)),
            Self::RevisionOutdated { newest } => Some(u64::from(*newest)),
            Self::RateLimited { limit_per_second: limit, .. } | Self::ReadCeiling { limit, .. } => {
                Some(u64::from(*limit))
            }
            Self::StreamIdle { limit_ms } | Self::Deadline { limit_ms } => Some(*limit_ms),
            _ => None,
        }
    }

    fn retry_ms(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_ms, .. } | Self::Overloaded { retry_ms, .. } => Some(*retry_ms),
            Self::TooEarly { retry_ms } | Self::ReadCeiling { retry_ms, .. } => Some(*retry_ms),
            Self::RequestInProgress | Self::ShuttingDown | Self::ErasureNotFinal | Self::NotMirrored => {
                Some(DEFAULT_RETRY_MS)
            }
            Self::ErasureCeiling { .. } => Some(CEILING_RETRY_MS),
            _ => None,
        }
    }

    fn metadata(&self) -> HashMap<String, String> {
        let field = self.field().map(|field| ("field".to_owned(), field.to_owned()));
        let limit = self.limit().map(|limit| ("limit".to_owned(), limit.to_string()));
        let quota = match self {
            Self::QuotaExceeded { which, .. } => Some(("quota".to_owned(), which.name().to_owned())),
            Self::Internal { fault_id } => Some(("fault_id".to_owned(), fault_id.to_string())),
            _ => None,
        };
        field.into_iter().chain(limit).chain(quota).collect()
    }
}

/// The most causes of a fault that are written to the log.
const MAX_CAUSES: usize = 8;

/// When some of an hour's erasures are forgotten, at the earliest.
const CEILING_RETRY_MS: u64 = 5 * 60 * 1_000;

/// When to try again, where nothing better is known.
const DEFAULT_RETRY_MS: u64 = 500;

fn reason_of(problem: &Problem) -> Reason {
    match problem {
        Problem::Missing => Reason::Missing,
        Problem::TooLong { .. } => Reason::TooLong,
        Problem::TooShort { .. } => Reason::TooShort,
        Problem::TooMany { .. } => Reason::TooMany,
        Problem::OutOfRange { .. } => Reason::OutOfRange,
        Problem::Malformed { .. } => Reason::Malformed,
        Problem::UnknownValue => Reason::UnknownValue,
        Problem::NotConfigured => Reason::NotConfigured,
        Problem::InFuture => Reason::InFuture,
        Problem::Duplicate => Reason::Duplicate,
        Problem::Conflicts { .. } => Reason::Conflicts,
        Problem::OutOfOrder { .. } => Reason::OutOfOrder,
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let (code, reason) = error.kind();
        let mut details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, error.metadata());
        if let (Code::InvalidArgument, Some(field)) = (code, error.field()) {
            let words = match &error {
                ApiError::Invalid(invalid) => invalid.problem.to_string(),
                other => other.to_string(),
            };
            details.add_bad_request_violation(field, words);
        }
        if let ApiError::QuotaExceeded { which, .. } = &error {
            details.add_quota_failure_violation(which.name(), error.to_string());
        }
        if let Some(retry_ms) = error.retry_ms() {
            details.set_retry_info(Some(Duration::from_millis(retry_ms)));
        }
        Self::with_error_details(code, error.to_string(), details)
    }
}

#[cfg(test)]
mod tests;
