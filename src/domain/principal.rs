//! Who calls, and what they may be.

use std::collections::BTreeSet;

use super::certificate_name::CertificateName;
use super::clock::Timestamp;
use super::ids::{BlindIndex, PrincipalName, TeamName, TenantId, TenantName, TokenId};

/// What a principal may be. The number is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Stores records, reads none.
    Ingest = 1,
    /// Reads the records of its teams, and those it handled.
    Agent = 2,
    /// Reads the records of the tenant.
    Supervisor = 3,
    /// Carries out customers' rights.
    PrivacyOfficer = 4,
    /// Reads the ledger, no content.
    Auditor = 5,
    /// Sets up tenants, principals and tokens; reads no content.
    Admin = 6,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ingest, Self::Agent, Self::Supervisor, Self::PrivacyOfficer, Self::Auditor, Self::Admin];

    /// The role with this stored number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| *role as u8 == code)
    }

    /// These roles as one number: a bit for each, at the place of its own number.
    pub fn bits(roles: &BTreeSet<Self>) -> u16 {
        roles.iter().fold(0, |bits, role| bits | 1 << *role as u8)
    }

    /// The name, as the policy and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Agent => "agent",
            Self::Supervisor => "supervisor",
            Self::PrivacyOfficer => "privacy_officer",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// The role with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A caller whose identity was checked.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// That tenant's name.
    pub tenant_name: TenantName,
    /// Its name.
    pub name: PrincipalName,
    /// The keyed hash of its name, which stands for it in the ledger.
    pub alias: BlindIndex,
    /// What it is.
    pub roles: BTreeSet<Role>,
    /// The teams it belongs to.
    pub teams: BTreeSet<TeamName>,
    /// What it came with: its token's id, or what stands for an issuer's token.
    pub token: TokenId,
    /// Who calls for it: the keyed hash of that one's name.
    pub actor: Option<BlindIndex>,
    /// What that one came with, where it was shown here.
    pub actor_token: Option<TokenId>,
}

impl Principal {
    /// Whether it belongs to the tenant that runs the service.
    pub fn is_of_system(&self) -> bool {
        self.tenant_name.as_str() == TenantName::SYSTEM
    }
}

/// A principal as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalEntry {
    /// Its name.
    pub name: PrincipalName,
    /// What it is.
    pub roles: BTreeSet<Role>,
    /// The teams it belongs to.
    pub teams: BTreeSet<TeamName>,
    /// Whether all its calls are refused, whatever it comes with.
    pub blocked: bool,
}

/// What the vault knows of somebody whom an issuer names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outsider {
    /// The tenant.
    pub tenant: TenantId,
    /// The keyed hash of its name.
    pub alias: BlindIndex,
    /// The keyed hash of the name of who calls for it.
    pub actor: Option<BlindIndex>,
    /// Whether the tenant is suspended.
    pub suspended: bool,
    /// Whether one of the two is blocked.
    pub blocked: bool,
    /// Whether this one token was revoked here.
    pub revoked: bool,
    /// The roles that the tenant gives to this name, where it knows it.
    pub roles: Option<BTreeSet<Role>>,
    /// How many calls a second the tenant may make.
    pub calls_per_second: Option<u32>,
}

/// What shows who somebody is, as it is stored: a bearer token, never the secret, only its hash; or the name of a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenEntry {
    /// Its id.
    pub id: TokenId,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// The principal it stands for.
    pub principal: PrincipalName,
    /// When it was created.
    pub created: Timestamp,
    /// From when on it is worth nothing.
    pub expires: Timestamp,
    /// Whether it was revoked.
    pub revoked: bool,
    /// The certificate's name; then there is no secret, and no secret has this hash.
    pub certificate: Option<CertificateName>,
}

/// All that is stored about a token, as it was found by the token's id: what a caller's identity is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIdentity {
    /// The token.
    pub token: TokenEntry,
    /// The principal it stands for.
    pub principal: PrincipalEntry,
    /// The principal's tenant.
    pub tenant: TenantId,
    /// That tenant's name.
    pub tenant_name: TenantName,
    /// The keyed hash of the principal's name.
    pub alias: BlindIndex,
    /// Whether the tenant is suspended.
    pub suspended: bool,
}
