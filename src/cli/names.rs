//! The names of the API's enum values, as flags, files and JSON spell them.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::api::v1;

/// An enum of the API whose values have names.
pub trait Named: Copy + Send + Sync + Into<i32> + 'static {
    /// All values that may be stated, with their names.
    const NAMES: &'static [(Self, &'static str)];

    /// The name of the value with this number; a newer service may send one that has none here.
    fn name_of(number: i32) -> String {
        let known = Self::NAMES.iter().find(|(value, _)| (*value).into() == number);
        known.map_or_else(|| format!("unknown({number})"), |(_, name)| (*name).to_owned())
    }

    /// The value with this name.
    fn from_name(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, name)| *name == text).map(|(value, _)| *value)
    }

    /// Parses a flag; help and completions show the names.
    fn parser() -> impl TypedValueParser<Value = Self>
    where
        Self: Sized,
    {
        PossibleValuesParser::new(Self::NAMES.iter().map(|(_, name)| *name))
            .map(|text| Self::from_name(&text).expect("the parser lets only known names through"))
    }
}

macro_rules! named {
    ($type:ident: $($variant:ident = $name:literal),+) => {
        impl Named for v1::$type {
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$variant, $name)),+];
        }
    };
}

named!(Speaker: Customer = "customer", Agent = "agent", Bot = "bot", System = "system");
named!(RecordKind: Transcript = "transcript", Recording = "recording");
named!(Channel: Chat = "chat", Voice = "voice", Email = "email", Messaging = "messaging", Video = "video");
named!(LegalBasis: Consent = "consent", Contract = "contract", LegalObligation = "legal_obligation",
    VitalInterests = "vital_interests", PublicTask = "public_task", LegitimateInterests = "legitimate_interests");
named!(Role: Ingest = "ingest", Agent = "agent", Supervisor = "supervisor", PrivacyOfficer = "privacy_officer",
    Auditor = "auditor", Admin = "admin");
named!(SensitiveKind: PaymentCard = "payment_card", NationalId = "national_id", BankAccount = "bank_account", Phone = "phone",
    Email = "email", Password = "password", PolicyNumber = "policy_number", ClaimNumber = "claim_number", Name = "name",
    Address = "address", Username = "username", AccountId = "account_id", BookingNumber = "booking_number", Other = "other");
named!(MediumClass: File = "file", Hsm = "hsm");
named!(ErasureSubject: Customer = "customer", Record = "record", Tenant = "tenant", Revision = "revision");
named!(Ground: Expression = "expression", LegalObligation = "legal_obligation", PublicHealth = "public_health",
    Archiving = "archiving", LegalClaims = "legal_claims");
named!(ApprovalGround: CustomersAsked = "customers_asked", RetentionOver = "retention_over", LegalClaim = "legal_claim",
    Incident = "incident", Review = "review", Migration = "migration");
