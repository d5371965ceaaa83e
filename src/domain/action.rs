//! Every operation that needs a permit, as one closed list.
//!
//! The policy, the ledger and the tests go through this list; an operation that is not in it cannot be permitted.

/// Defines the actions: variant, stored number, what it does.
macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $code:literal),+ $(,)?) => {
        /// A gated operation. The number is what is stored: it is never given to another action.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Action {
            $($(#[$doc])* $variant = $code),+
        }

        impl Action {
            /// All of them.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$variant),+];

            /// The name, as the API's method and the policy spell it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant)),+
                }
            }
        }
    };
}

actions! {
    /// Stores a chat.
    CreateTranscript = 1,
    /// Stores a recording.
    UploadRecording = 2,
    /// Reads a chat.
    GetTranscript = 3,
    /// Reads a recording or a span of it.
    DownloadRecording = 4,
    /// Reads what is known about a record.
    GetRecord = 5,
    /// Lists records.
    ListRecords = 6,
    /// Destroys a customer's key.
    EraseCustomer = 7,
    /// Creates a tenant.
    CreateTenant = 8,
    /// Reads a tenant's settings and usage.
    GetTenant = 9,
    /// Lists the tenants.
    ListTenants = 10,
    /// Replaces a tenant's settings.
    UpdateTenantSettings = 11,
    /// Has every call of a tenant's principals refused.
    SuspendTenant = 12,
    /// Ends a suspension.
    ResumeTenant = 13,
    /// Creates a principal, or replaces what it may do.
    SetPrincipal = 14,
    /// Lists a tenant's principals.
    ListPrincipals = 15,
    /// Creates a bearer token.
    CreateToken = 16,
    /// Revokes a bearer token.
    RevokeToken = 17,
    /// Lists a tenant's tokens.
    ListTokens = 18,
    /// Gets a receipt of an erasure.
    GetReceipt = 19,
    /// Lists receipts of erasures.
    ListReceipts = 20,
    /// Lists the public keys that have signed the log.
    ListLogKeys = 21,
    /// Destroys the keys of a list of customers.
    EraseCustomers = 22,
    /// Destroys a record's secret.
    EraseRecord = 23,
    /// Takes the fence of an erased customer away.
    ReadmitCustomer = 24,
    /// Asks for the erasure of a tenant.
    RequestTenantErasure = 25,
    /// Takes that back.
    CancelTenantErasure = 26,
    /// Approves it, and has it carried out.
    ApproveTenantErasure = 27,
    /// Stores a new revision of a chat.
    ReviseTranscript = 28,
    /// Opens every record, and tells which do not open.
    VerifyRecords = 29,
    /// Gives somebody a case of a customer to work on.
    AssignCase = 30,
    /// Takes it back.
    UnassignCase = 31,
    /// Lists who works on a customer's cases.
    ListCaseAssignments = 32,
    /// Takes the right to read a customer's records for a short time.
    BreakGlass = 33,
    /// Stops all reading of a tenant's content.
    FreezeTenant = 34,
    /// Lets it go on.
    UnfreezeTenant = 35,
    /// Tells by which rules somebody may do something.
    ExplainAccess = 36,
    /// Lists entries of the ledger.
    ListEntries = 37,
    /// Follows the ledger.
    WatchEntries = 38,
    /// Gets the signed log.
    GetCheckpoint = 39,
    /// Proves that an entry is in the log.
    GetInclusionProof = 40,
    /// Proves that the log was only continued.
    GetConsistencyProof = 41,
    /// Reports what somebody has seen.
    ReportExposure = 42,
    /// Lets the name of a client's certificate stand for a principal.
    BindCertificate = 43,
    /// Asks for more than one person may do alone.
    RequestApproval = 44,
    /// Gives that, as a second person.
    GiveApproval = 45,
    /// Takes it back.
    WithdrawApproval = 46,
    /// Lists what is asked for and given.
    ListApprovals = 47,
}

impl Action {
    /// The stored number.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The action with this stored number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.code() == code)
    }

    /// The action with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// Whether it reads one record that the caller names.
    pub fn is_record_read(self) -> bool {
        matches!(self, Self::GetTranscript | Self::DownloadRecording | Self::GetRecord)
    }

    /// Whether the caller must state a purpose: the reads of one record, and the list, whose every record is checked in turn.
    pub fn needs_purpose(self) -> bool {
        self.is_record_read() || self == Self::ListRecords
    }

    /// Whether it stores, reads or erases what belongs to customers. Nobody does that in a tenant not their own.
    pub fn touches_records(self) -> bool {
        self.needs_purpose()
            || matches!(
                self,
                Self::CreateTranscript
                    | Self::ReviseTranscript
                    | Self::UploadRecording
                    | Self::EraseCustomer
                    | Self::EraseCustomers
                    | Self::EraseRecord
                    | Self::ReadmitCustomer
                    | Self::AssignCase
                    | Self::UnassignCase
                    | Self::ListCaseAssignments
                    | Self::BreakGlass
                    | Self::RequestApproval
                    | Self::GiveApproval
                    | Self::WithdrawApproval
                    | Self::ListApprovals
                    | Self::ReportExposure
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_back_to_their_action() {
        for action in Action::ALL {
            assert_eq!(Action::from_code(action.code()), Some(action));
        }
        assert_eq!(Action::from_code(0), None);
        assert_eq!(Action::from_code(Action::ALL.len() as u8 + 1), None);
    }
}
