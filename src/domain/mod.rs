//! The words everyone may use: ids, records, tenants, principals, purposes, the clock.
//!
//! Everything from outside is parsed here, once, into a type of its own; whoever holds a value of such a type need not check it
//! again. This room does no I/O and knows no ciphers. Types that hold something personal print nothing of it.

pub mod action;
pub mod approval;
pub mod ceiling;
pub mod certificate_name;
pub mod clock;
pub mod codec;
pub mod erasure;
pub mod grant;
pub mod ids;
pub mod principal;
pub mod record;
pub mod sensitive;
pub mod tenant;

use std::fmt;

/// A value from outside that cannot be accepted: which field, and what is wrong with it. Never holds the value itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field, as the API spells it, with a path where it is nested (`turns[3].text`).
    pub field: String,
    /// What is wrong.
    pub problem: Problem,
}

impl Invalid {
    /// Says that `field` has `problem`.
    pub fn new(field: impl Into<String>, problem: Problem) -> Self {
        Self { field: field.into(), problem }
    }

    /// The same complaint, with the field named as part of `parent`.
    #[must_use]
    pub fn within(mut self, parent: impl fmt::Display) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

/// What can be wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Required and not there.
    #[error("is required; set it")]
    Missing,
    /// More bytes than the limit.
    #[error("is too long; at most {limit_bytes} bytes")]
    TooLong {
        /// The limit.
        limit_bytes: u64,
    },
    /// Fewer bytes than needed.
    #[error("is too short; at least {limit_bytes} bytes")]
    TooShort {
        /// The least number of bytes.
        limit_bytes: u64,
    },
    /// More items than the limit.
    #[error("has too many items; at most {limit}")]
    TooMany {
        /// The limit.
        limit: u64,
    },
    /// A number or an instant that is not in the allowed range.
    #[error("is out of range; {allowed}")]
    OutOfRange {
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// A form that is not the expected one.
    #[error("has the wrong form; expected {expected}")]
    Malformed {
        /// What is expected, in words.
        expected: &'static str,
    },
    /// An enum value that this version does not know, or "unspecified".
    #[error("is not a known value; see the enum in the API")]
    UnknownValue,
    /// A name that the tenant's settings do not have.
    #[error("is not in the tenant's settings; use one of its names or have an admin add it")]
    NotConfigured,
    /// An instant ahead of the service's clock.
    #[error("lies in the future; check the clock of the caller")]
    InFuture,
    /// Given twice.
    #[error("is given twice; give it once")]
    Duplicate,
    /// Cannot be given together with another field.
    #[error("cannot be given together with {other}; give one of them")]
    Conflicts {
        /// The other field.
        other: &'static str,
    },
    /// A message of a stream out of its place.
    #[error("is out of order; {expected}")]
    OutOfOrder {
        /// What was expected, in words.
        expected: &'static str,
    },
}
