//! What a tenant sets.

use super::clock::Timestamp;
use super::ids::{Purpose, TeamName, TenantName};

/// The rules that decide how customers' rights are met. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RuleSet {
    /// Regulation (EU) 2016/679.
    Gdpr = 1,
    /// California Civil Code 1798.100 and following.
    Ccpa = 2,
}

impl RuleSet {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Gdpr, Self::Ccpa];

    /// The name, as the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gdpr => "gdpr",
            Self::Ccpa => "ccpa",
        }
    }
}

/// How much a tenant may use. `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    /// Bytes of sealed content.
    pub content_bytes: Option<u64>,
    /// Records.
    pub records: Option<u64>,
    /// Calls a second, over all principals.
    pub requests_per_second: Option<u32>,
}

/// What a tenant sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSettings {
    /// The purposes for which records may be read. A purpose's place in this list is stored in records: the list only grows.
    pub purposes: Vec<Purpose>,
    /// For how many days records are kept where nothing else is said; `None` until they are erased.
    pub retention_default_days: Option<u32>,
    /// The rules for customers' rights.
    pub rule_set: RuleSet,
    /// The teams.
    pub teams: Vec<TeamName>,
    /// How much it may use.
    pub quotas: Quotas,
}

impl TenantSettings {
    /// The most purposes: one bit each in a record's header.
    pub const MAX_PURPOSES: usize = 64;
    /// The most teams.
    pub const MAX_TEAMS: usize = 256;
}

/// A tenant as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantEntry {
    /// Its name.
    pub name: TenantName,
    /// What it set.
    pub settings: TenantSettings,
    /// Whether every call of its principals is refused.
    pub suspended: bool,
    /// Whether nothing of its content is read.
    pub frozen: bool,
    /// When it was created.
    pub created: Timestamp,
}

/// What a tenant uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of sealed content.
    pub content_bytes: u64,
    /// Records.
    pub records: u64,
}
