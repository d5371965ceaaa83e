//! Kinds of details in a chat that not every role may see. A kind says what a span of text is, never what stands in it.

use super::record::Turn;

/// What a sensitive span is. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SensitiveKind {
    /// A payment card's number, whole or its last digits, or its security code.
    PaymentCard = 1,
    /// A number that a state gives to a person: social security, tax, identity card, passport, driving licence; whole or its last digits.
    NationalId = 2,
    /// A bank account's number or IBAN, whole or its last digits.
    BankAccount = 3,
    /// A telephone number.
    Phone = 4,
    /// An e-mail address.
    Email = 5,
    /// A password, PIN, or one-time code.
    Password = 6,
    /// An insurance policy's number.
    PolicyNumber = 7,
    /// An insurance claim's number.
    ClaimNumber = 8,
    /// A person's name.
    Name = 9,
    /// A postal address or postcode.
    Address = 10,
    /// The name that someone signs in with.
    Username = 11,
    /// The number or name of an account that is not a bank's.
    AccountId = 12,
    /// A booking's or reservation's number.
    BookingNumber = 13,
    /// Anything else that points to one person or one of their affairs: an order number, a date of birth, a long number of unknown use.
    Other = 14,
}

impl SensitiveKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::PaymentCard,
        Self::NationalId,
        Self::BankAccount,
        Self::Phone,
        Self::Email,
        Self::Password,
        Self::PolicyNumber,
        Self::ClaimNumber,
        Self::Name,
        Self::Address,
        Self::Username,
        Self::AccountId,
        Self::BookingNumber,
        Self::Other,
    ];

    /// All kinds, the one whose loss harms most before the others. Where bytes are of several kinds, the first of these rules: first what
    /// the default policy hides from agents, then what others are reached by, and last what is known least.
    const BY_SEVERITY: [Self; 14] = [
        Self::Password,
        Self::PaymentCard,
        Self::NationalId,
        Self::BankAccount,
        Self::Email,
        Self::Phone,
        Self::Address,
        Self::Name,
        Self::Username,
        Self::AccountId,
        Self::PolicyNumber,
        Self::ClaimNumber,
        Self::BookingNumber,
        Self::Other,
    ];

    /// The one of two kinds whose loss harms more.
    pub fn stricter(self, other: Self) -> Self {
        Self::BY_SEVERITY.into_iter().find(|kind| *kind == self || *kind == other).unwrap_or(self)
    }

    /// The kind with this stored number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }

    /// The name, as the policy and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PaymentCard => "payment_card",
            Self::NationalId => "national_id",
            Self::BankAccount => "bank_account",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Password => "password",
            Self::PolicyNumber => "policy_number",
            Self::ClaimNumber => "claim_number",
            Self::Name => "name",
            Self::Address => "address",
            Self::Username => "username",
            Self::AccountId => "account_id",
            Self::BookingNumber => "booking_number",
            Self::Other => "other",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What a person reads in place of a hidden value. It has one form for each kind, so it tells nothing of the value, not even how long
    /// it is.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::PaymentCard => "[payment card]",
            Self::NationalId => "[national id]",
            Self::BankAccount => "[bank account]",
            Self::Phone => "[phone]",
            Self::Email => "[email]",
            Self::Password => "[password]",
            Self::PolicyNumber => "[policy number]",
            Self::ClaimNumber => "[claim number]",
            Self::Name => "[name]",
            Self::Address => "[address]",
            Self::Username => "[username]",
            Self::AccountId => "[account id]",
            Self::BookingNumber => "[booking number]",
            Self::Other => "[hidden]",
        }
    }
}

/// Something sensitive in the text of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextSpan {
    /// The turn, counted from 0.
    pub turn: u32,
    /// Its first byte in the turn's text.
    pub start: u32,
    /// One after its last byte.
    pub end: u32,
    /// What it is.
    pub kind: SensitiveKind,
}

/// Something sensitive that is spoken in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpokenSpan {
    /// When.
    pub time: TimeSpan,
    /// What it is.
    pub kind: SensitiveKind,
}

/// A span of time in a recording: milliseconds from its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan {
    /// The first millisecond.
    pub start_ms: u64,
    /// The one behind the last.
    pub end_ms: u64,
}

/// How many spans there may be.
pub struct SpanLimits;

impl SpanLimits {
    /// The most that a caller may mark in one turn.
    pub const MAX_MARKED_IN_TURN: usize = 1_000;
    /// The most that a caller may mark in one recording.
    pub const MAX_SPOKEN: usize = 1_000;
    /// The most that are told with a chat; behind them spans are hidden and shown like all, but not told.
    pub const MAX_TOLD: usize = 4_096;
}

/// A turn as somebody sees it: with what that one may not see replaced.
pub struct ShownTurn {
    /// The turn.
    pub turn: Turn,
    /// What is sensitive in it, by its place in the text as it is shown.
    pub spans: Vec<ShownSpan>,
}

/// Something sensitive in a turn as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownSpan {
    /// Its first byte in the text that is shown.
    pub start: u32,
    /// One after its last byte.
    pub end: u32,
    /// What it is.
    pub kind: SensitiveKind,
    /// Whether it is replaced.
    pub is_hidden: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_kinds_the_stricter_is_the_same_whichever_comes_first_and_what_agents_may_not_see_is_stricter_than_the_rest()
     {
        let hidden = [
            SensitiveKind::PaymentCard,
            SensitiveKind::NationalId,
            SensitiveKind::BankAccount,
            SensitiveKind::Password,
        ];
        for one in SensitiveKind::ALL {
            assert!(SensitiveKind::BY_SEVERITY.contains(&one));
            for other in SensitiveKind::ALL {
                assert_eq!(one.stricter(other), other.stricter(one));
                assert!(one.stricter(other) == one || one.stricter(other) == other);
                assert_eq!(hidden.contains(&one.stricter(other)), hidden.contains(&one) || hidden.contains(&other));
            }
        }
    }

    #[test]
    fn every_kind_comes_back_from_its_stored_number_and_has_its_own_placeholder() {
        for (index, kind) in SensitiveKind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind as u8), index + 1);
            assert_eq!(SensitiveKind::from_code(kind as u8), Some(kind));
            let twins = SensitiveKind::ALL.into_iter().filter(|other| other.placeholder() == kind.placeholder());
            assert_eq!(twins.count(), 1);
            assert_eq!(SensitiveKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(SensitiveKind::from_code(0), None);
        assert_eq!(SensitiveKind::from_code(15), None);
    }
}
