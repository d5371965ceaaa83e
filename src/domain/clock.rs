//! Instants, and where they come from.

use std::time::{SystemTime, UNIX_EPOCH};

/// An instant: milliseconds since 1970-01-01 00:00 UTC. Between the years 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last instant that can be told: the end of the year 9999 (RFC 3339's limit).
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds; `None` behind [`Timestamp::MAX`].
    pub fn from_ms(ms: u64) -> Option<Self> {
        (ms <= Self::MAX.0).then_some(Self(ms))
    }

    /// Milliseconds since the epoch of Unix.
    pub fn as_ms(self) -> u64 {
        self.0
    }

    /// This instant, `ms` later; at most [`Timestamp::MAX`].
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms).min(Self::MAX.0))
    }

    /// The instant now, by the system's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).min(Self::MAX.0))
    }
}

/// How far a caller's clock may run ahead before an instant counts as in the future.
pub const CLOCK_SKEW_MS: u64 = 60_000;
