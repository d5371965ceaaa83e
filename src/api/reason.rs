//! The stable reasons that stand in `ErrorInfo.reason`, in one list. Programs decide by them; a reason is never re-used.

use tonic::Code;

/// Writes the reasons once: the variant, its text, and its meaning.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Why a call failed, for programs: stable, never re-used for something else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The text that stands in `ErrorInfo.reason`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// A required field is not set.
    Missing = "MISSING",
    /// A field has more bytes than it may.
    TooLong = "TOO_LONG",
    /// A field has fewer bytes than it must.
    TooShort = "TOO_SHORT",
    /// A list has more items than it may.
    TooMany = "TOO_MANY",
    /// A number or time is outside of its range.
    OutOfRange = "OUT_OF_RANGE",
    /// A field has another form than expected.
    Malformed = "MALFORMED",
    /// An enum value is unknown or unspecified.
    UnknownValue = "UNKNOWN_VALUE",
    /// A name is not in the tenant's settings.
    NotConfigured = "NOT_CONFIGURED",
    /// A time lies in the future.
    InFuture = "IN_FUTURE",
    /// Something is given twice.
    Duplicate = "DUPLICATE",
    /// Two fields exclude each other.
    Conflicts = "CONFLICTS",
    /// A message of a stream is out of its place.
    OutOfOrder = "OUT_OF_ORDER",
    /// The message is not protobuf, or not this protobuf, or has text that is not UTF-8.
    MalformedMessage = "MALFORMED_MESSAGE",
    /// One message is larger than the service takes or sends.
    MessageTooLarge = "MESSAGE_TOO_LARGE",
    /// The message is compressed; the service takes none that are.
    UnsupportedCompression = "UNSUPPORTED_COMPRESSION",
    /// There is no such method.
    UnknownMethod = "UNKNOWN_METHOD",
    /// No valid token.
    Unauthenticated = "UNAUTHENTICATED",
    /// The policy does not allow the call.
    PermissionDenied = "PERMISSION_DENIED",
    /// Not there, or not for this caller: never told which.
    NotFound = "NOT_FOUND",
    /// The tenant is suspended.
    TenantSuspended = "TENANT_SUSPENDED",
    /// Nothing of the tenant's content is read for now.
    TenantFrozen = "TENANT_FROZEN",
    /// Some of the recording may not be heard by the caller, and it cannot be silenced.
    NotMaskable = "NOT_MASKABLE",
    /// The certificate's name stands for another principal.
    CertificateBound = "CERTIFICATE_BOUND",
    /// The caller has read as much as it may.
    ReadCeiling = "READ_CEILING",
    /// A report would name more records than it can.
    ExposureTooLarge = "EXPOSURE_TOO_LARGE",
    /// The request id was used with other content.
    RequestIdReused = "REQUEST_ID_REUSED",
    /// A request with this id is being carried out.
    RequestInProgress = "REQUEST_IN_PROGRESS",
    /// The customer is erased; nothing can be stored for that customer.
    CustomerErased = "CUSTOMER_ERASED",
    /// The record is erased.
    RecordErased = "RECORD_ERASED",
    /// The newest revision cannot be erased alone.
    RevisionIsNewest = "REVISION_IS_NEWEST",
    /// The revision to replace is not the newest one.
    RevisionOutdated = "REVISION_OUTDATED",
    /// There are as many revisions as there may be.
    TooManyRevisions = "TOO_MANY_REVISIONS",
    /// The tenant has asked for as many erasures as it may within an hour.
    ErasureCeiling = "ERASURE_CEILING",
    /// A second person must approve it first.
    ApprovalNeeded = "APPROVAL_NEEDED",
    /// The caller has asked for as many approvals as may stand.
    TooManyApprovals = "TOO_MANY_APPROVALS",
    /// Whoever asked for it cannot approve it.
    SecondPerson = "SECOND_PERSON",
    /// The delay has not passed.
    TooEarly = "TOO_EARLY",
    /// The customer is not erased.
    NotErased = "NOT_ERASED",
    /// The record was erased while it was read.
    ErasedWhileReading = "ERASED_WHILE_READING",
    /// The erasure is asked for and not final.
    ErasureNotFinal = "ERASURE_NOT_FINAL",
    /// It is done, and a mirror does not have it.
    NotMirrored = "NOT_MIRRORED",
    /// The content has another hash than stated.
    HashMismatch = "HASH_MISMATCH",
    /// The range of bytes is not within the recording.
    RangeNotSatisfiable = "RANGE_NOT_SATISFIABLE",
    /// A tenant with this name exists.
    AlreadyExists = "ALREADY_EXISTS",
    /// A quota of the tenant is used up.
    QuotaExceeded = "QUOTA_EXCEEDED",
    /// Too many calls in a short time.
    RateLimited = "RATE_LIMITED",
    /// Too much at once for the service or the connection.
    Overloaded = "OVERLOADED",
    /// The disk's reserve is reached.
    DiskReserve = "DISK_RESERVE",
    /// The store takes no writes after a failed one.
    ClosedToWrites = "CLOSED_TO_WRITES",
    /// The service is shutting down.
    ShuttingDown = "SHUTTING_DOWN",
    /// A stream stood still for too long.
    StreamIdle = "STREAM_IDLE",
    /// The call took longer than it may.
    Deadline = "DEADLINE",
    /// The caller's stream broke off before its end.
    StreamBroken = "STREAM_BROKEN",
    /// The stored bytes of a record do not verify.
    RecordDamaged = "RECORD_DAMAGED",
    /// A page of the key tree is not the one that the audit log vouches for, or a customer's rows have no key in it.
    KeyTreeDamaged = "KEY_TREE_DAMAGED",
    /// A fault of the service.
    Internal = "INTERNAL",
    /// An error of the transport that has no reason of its own.
    Transport = "TRANSPORT",
}

/// The code's name, as the protocol spells it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reasons_are_distinct_and_of_the_form_that_error_info_asks_for() {
        let texts: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(texts.len(), Reason::ALL.len());
        // google.rpc.ErrorInfo: [A-Z][A-Z0-9_]+[A-Z0-9], at most 63 characters.
        let allowed =
            |text: &str| text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        assert!(texts.into_iter().all(allowed));
    }
}
