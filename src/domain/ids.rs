//! The names of things. Each is parsed once; none is ever used as a path.

use std::fmt;

use zeroize::Zeroize;

use super::{Invalid, Problem, codec};

/// Defines a name given from outside: UTF-8, bounded, without control characters. It may be personal: `Debug` prints a fixed
/// word, and the text is wiped when dropped.
macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $field:literal, max $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The most bytes it may have.
            pub const MAX_BYTES: usize = $max;

            /// Parses the text of a request.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                plain_text($field, text, $max).map(|text| Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }
    };
}

fn plain_text<'a>(field: &'static str, text: &'a str, limit: usize) -> Result<&'a str, Invalid> {
    let problem = if text.is_empty() {
        Problem::Missing
    } else if text.len() > limit {
        Problem::TooLong { limit_bytes: limit as u64 }
    } else if text.chars().any(char::is_control) {
        Problem::Malformed { expected: "text without control characters" }
    } else {
        return Ok(text);
    };
    Err(Invalid::new(field, problem))
}

text_name!(
    /// The platform's id of a customer (the data subject).
    CustomerId, "customer_id", max 256
);
text_name!(
    /// A support case.
    CaseId, "case_id", max 128
);
text_name!(
    /// The name of a principal: a caller, and in a record the agent who handled the contact.
    PrincipalName, "principal", max 128
);
text_name!(
    /// Why somebody takes a right for a short time, in that person's words.
    WrittenReason, "reason", max 1024
);
text_name!(
    /// A team of a tenant.
    TeamName, "team", max 64
);
text_name!(
    /// A free label on a record.
    Tag, "tags", max 64
);

/// Defines an id of 16 bytes that may be shown: random, or a keyed hash.
macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads 32 digits of lower-case hexadecimal.
            pub fn parse(text: &str) -> Option<Self> {
                codec::unhex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&codec::hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

opaque_id!(
    /// A tenant, everywhere but in its own settings: a keyed hash of its name.
    TenantId
);
opaque_id!(
    /// The name that stands for a customer everywhere but in the directory; as good as random once she is erased.
    Handle
);
opaque_id!(
    /// A keyed hash of a customer id, used only to find the customer.
    Pseudonym
);
opaque_id!(
    /// A keyed hash under a tenant's index key of a case, an agent, a team, a principal or a request id.
    BlindIndex
);
opaque_id!(
    /// A bearer token, without its secret.
    TokenId
);
opaque_id!(
    /// A receipt of an erasure.
    ReceiptId
);

impl ReceiptId {
    /// A new id: the milliseconds in front, then random bits, so that receipts stand in the order in which they were asked for.
    pub fn new(now: super::clock::Timestamp, random: [u8; 10]) -> Self {
        Self(*RecordId::new(now, random).as_bytes())
    }

    /// No receipt that was asked for at `instant` or later has a lesser id, and none of before a greater one.
    pub fn since(instant: super::clock::Timestamp) -> Self {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&instant.as_ms().to_be_bytes()[2..]);
        Self(id)
    }
}

/// A record: a UUID of version 7 (RFC 9562), so that records stand in the order in which they were stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId([u8; 16]);

impl RecordId {
    /// The reserved id under which a customer's profile secret is kept. No record has it.
    pub const PROFILE: Self = Self([0; 16]);

    /// A new id: the milliseconds in front, then random bits.
    pub fn new(now: super::clock::Timestamp, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.as_ms(), &random).into_uuid().into_bytes())
    }

    /// The least id behind this one; `None` behind the last.
    pub fn next(self) -> Option<Self> {
        u128::from_be_bytes(self.0).checked_add(1).map(|next| Self(next.to_be_bytes()))
    }

    /// Takes stored bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses the canonical text form only: lower case, with hyphens, version 7.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new("record_id", Problem::Missing));
        }
        uuid::Uuid::try_parse(text)
            .ok()
            .filter(|id| id.get_version_num() == 7 && id.hyphenated().to_string() == text)
            .map(|id| Self(id.into_bytes()))
            .ok_or_else(|| {
                let expected = "a UUID of version 7 in lower case with hyphens";
                Invalid::new("record_id", Problem::Malformed { expected })
            })
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordId({self})")
    }
}

/// A revision of a record; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u32);

impl Revision {
    /// The first one.
    pub const FIRST: Self = Self(1);

    /// The one behind this.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A caller's name for a request, by which a repeat is known. It is wiped when dropped.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// Parses 8 to 64 of `A-Z a-z 0-9 . _ -`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        let problem = match text.len() {
            0 => Problem::Missing,
            8..=64 if text.bytes().all(allowed) => return Ok(Self(text.to_owned())),
            65.. => Problem::TooLong { limit_bytes: 64 },
            1..=7 => Problem::TooShort { limit_bytes: 8 },
            _ => Problem::Malformed { expected: "8 to 64 of A-Z a-z 0-9 . _ -" },
        };
        Err(Invalid::new("request_id", problem))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for RequestId {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestId(..)")
    }
}

/// A tenant's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(String);

impl TenantName {
    /// The tenant whose admins run the service. It holds no records.
    pub const SYSTEM: &'static str = "system";

    /// Parses 2 to 63 of `a-z 0-9 -`, beginning with a letter, not ending with `-`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let problem = match text.as_bytes() {
            [] => Problem::Missing,
            long if long.len() > 63 => Problem::TooLong { limit_bytes: 63 },
            [b'a'..=b'z', .., last] if *last != b'-' && text.bytes().all(allowed) => return Ok(Self(text.to_owned())),
            _ => Problem::Malformed { expected: "2 to 63 of a-z 0-9 -, beginning with a letter and not ending with -" },
        };
        Err(Invalid::new("tenant", problem))
    }

    /// The name of the tenant whose admins run the service.
    pub fn system() -> Self {
        Self(Self::SYSTEM.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantName(..)")
    }
}

/// A purpose for which records are read: 1 to 64 of `a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purpose(String);

impl Purpose {
    /// Parses the name of a purpose.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-');
        let problem = match text.len() {
            0 => Problem::Missing,
            65.. => Problem::TooLong { limit_bytes: 64 },
            _ if text.bytes().all(allowed) => return Ok(Self(text.to_owned())),
            _ => Problem::Malformed { expected: "1 to 64 of a-z 0-9 _ -" },
        };
        Err(Invalid::new("purpose", problem))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
