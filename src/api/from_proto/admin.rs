//! Tenants, principals and tokens.

use std::collections::BTreeSet;

use super::details::distinct;
use super::{from_number, named, optional_timestamp};
use crate::api::v1;
use crate::domain::certificate_name::CertificateName;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{PrincipalName, Purpose, RequestId, TeamName, TenantName, TokenId};
use crate::domain::principal::{PrincipalEntry, Role};
use crate::domain::tenant::{Quotas, RuleSet, TenantSettings};
use crate::domain::{Invalid, Problem};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// How long a token is valid where the caller does not say.
const DEFAULT_TOKEN_MS: u64 = 90 * DAY_MS;
/// How long a token may be valid: ten years with their leap days.
const MAX_TOKEN_MS: u64 = 3_653 * DAY_MS;
/// The longest retention that can be set.
const MAX_RETENTION_DAYS: u32 = 36_500;
/// The most teams of one principal.
const MAX_PRINCIPAL_TEAMS: usize = 64;

/// A token that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// The tenant; the caller's own where `None`.
    pub tenant: Option<TenantName>,
    /// The principal that it stands for.
    pub principal: PrincipalName,
    /// When it ends.
    pub expires: Timestamp,
}

/// The tenant to be created.
pub fn create_tenant(message: v1::CreateTenantRequest) -> Result<(TenantName, TenantSettings), Invalid> {
    Ok((tenant_name(&message.name)?, settings(message.settings)?))
}

/// The request that approves the erasure of a tenant, and the tenant.
pub fn approve_tenant_erasure(message: &v1::ApproveTenantErasureRequest) -> Result<(RequestId, TenantName), Invalid> {
    Ok((RequestId::parse(&message.request_id)?, tenant_name(&message.name)?))
}

/// The settings that replace those of a tenant (the caller's own where `None`).
pub fn update_settings(
    message: v1::UpdateTenantSettingsRequest,
) -> Result<(Option<TenantName>, TenantSettings), Invalid> {
    Ok((tenant_or_own("name", &message.name)?, settings(message.settings)?))
}

/// The principal to be created or replaced, and its tenant (the caller's own where `None`).
pub fn set_principal(message: v1::SetPrincipalRequest) -> Result<(Option<TenantName>, PrincipalEntry), Invalid> {
    let tenant = tenant_or_own("tenant", &message.tenant)?;
    let principal = message.principal.ok_or_else(|| Invalid::new("principal", Problem::Missing))?;
    let entry = principal_entry(principal).map_err(|invalid| invalid.within("principal"))?;
    Ok((tenant, entry))
}

/// The token to be created.
pub fn create_token(message: v1::CreateTokenRequest, now: Timestamp) -> Result<TokenRequest, Invalid> {
    let tenant = tenant_or_own("tenant", &message.tenant)?;
    let principal = PrincipalName::parse(&message.principal)?;
    Ok(TokenRequest { tenant, principal, expires: token_end(message.expires_at, now)? })
}

/// The certificate's name to be bound, and to whom.
pub fn bind_certificate(
    message: v1::BindCertificateRequest,
    now: Timestamp,
) -> Result<(TokenRequest, CertificateName), Invalid> {
    let v1::BindCertificateRequest { tenant, principal, certificate_name, expires_at } = message;
    let tenant = tenant_or_own("tenant", &tenant)?;
    let principal = PrincipalName::parse(&principal)?;
    if certificate_name.is_empty() {
        return Err(Invalid::new("certificate_name", Problem::Missing));
    }
    let expected = "a SPIFFE ID, or a subject in the form of RFC 4514, as the service writes it";
    let name = CertificateName::parse(&certificate_name);
    let name = name.map_err(|_| Invalid::new("certificate_name", Problem::Malformed { expected }))?;
    Ok((TokenRequest { tenant, principal, expires: token_end(expires_at, now)? }, name))
}

fn token_end(stated: Option<prost_types::Timestamp>, now: Timestamp) -> Result<Timestamp, Invalid> {
    match optional_timestamp("expires_at", stated)? {
        None => Ok(now.plus_ms(DEFAULT_TOKEN_MS)),
        Some(expires) if expires > now && expires <= now.plus_ms(MAX_TOKEN_MS) => Ok(expires),
        Some(_) => {
            let allowed = "it must lie in the future, at most 10 years from now";
            Err(Invalid::new("expires_at", Problem::OutOfRange { allowed }))
        }
    }
}

/// The token to be revoked, and its tenant (the caller's own where `None`).
pub fn revoke_token(
    message: &v1::RevokeTokenRequest,
) -> Result<(Option<TenantName>, TokenId, Option<PrincipalName>), Invalid> {
    let tenant = tenant_or_own("tenant", &message.tenant)?;
    if message.token_id.is_empty() {
        return Err(Invalid::new("token_id", Problem::Missing));
    }
    let expected = "32 digits of lower-case hexadecimal";
    let token = TokenId::parse(&message.token_id);
    let issued_to = (!message.issued_to.is_empty())
        .then(|| named("issued_to", PrincipalName::parse(&message.issued_to)))
        .transpose()?;
    Ok((tenant, token.ok_or_else(|| Invalid::new("token_id", Problem::Malformed { expected }))?, issued_to))
}

/// A tenant's name that must be there, in the field `name`.
pub fn tenant_name(text: &str) -> Result<TenantName, Invalid> {
    named("name", TenantName::parse(text))
}

/// A tenant's name in `field`; `None`, the caller's own, where it is empty.
pub fn tenant_or_own(field: &str, text: &str) -> Result<Option<TenantName>, Invalid> {
    if text.is_empty() { Ok(None) } else { named(field, TenantName::parse(text)).map(Some) }
}

fn settings(message: Option<v1::TenantSettings>) -> Result<TenantSettings, Invalid> {
    let message = message.ok_or_else(|| Invalid::new("settings", Problem::Missing))?;
    settings_parts(&message).map_err(|invalid| invalid.within("settings"))
}

fn settings_parts(message: &v1::TenantSettings) -> Result<TenantSettings, Invalid> {
    if message.purposes.is_empty() {
        return Err(Invalid::new("purposes", Problem::Missing));
    }
    let retention_default_days = match message.retention_default_days {
        0 => None,
        days @ 1..=MAX_RETENTION_DAYS => Some(days),
        _ => {
            let allowed = "1 to 36,500 days, or 0 for no end";
            return Err(Invalid::new("retention_default_days", Problem::OutOfRange { allowed }));
        }
    };
    let rule_set = match message.rule_set.as_str() {
        "" => return Err(Invalid::new("rule_set", Problem::Missing)),
        name => RuleSet::ALL.into_iter().find(|rules| rules.name() == name),
    };
    Ok(TenantSettings {
        purposes: distinct("purposes", &message.purposes, TenantSettings::MAX_PURPOSES, Purpose::parse)?,
        retention_default_days,
        rule_set: rule_set
            .ok_or_else(|| Invalid::new("rule_set", Problem::Malformed { expected: "`gdpr` or `ccpa`" }))?,
        teams: distinct("teams", &message.teams, TenantSettings::MAX_TEAMS, TeamName::parse)?,
        quotas: message.quotas.as_ref().map_or_else(Quotas::default, quotas),
    })
}

/// 0 means no limit.
fn quotas(message: &v1::Quotas) -> Quotas {
    Quotas {
        content_bytes: Some(message.content_bytes).filter(|bytes| *bytes > 0),
        records: Some(message.records).filter(|records| *records > 0),
        requests_per_second: Some(message.requests_per_second).filter(|requests| *requests > 0),
    }
}

fn principal_entry(message: v1::Principal) -> Result<PrincipalEntry, Invalid> {
    let name = named("name", PrincipalName::parse(&message.name))?;
    if message.roles.is_empty() {
        return Err(Invalid::new("roles", Problem::Missing));
    }
    if message.roles.len() > Role::ALL.len() {
        return Err(Invalid::new("roles", Problem::TooMany { limit: Role::ALL.len() as u64 }));
    }
    let mut roles = BTreeSet::new();
    for (index, number) in message.roles.iter().enumerate() {
        let field = format!("roles[{index}]");
        if !roles.insert(from_number(&field, *number, Role::from_code)?) {
            return Err(Invalid::new(field, Problem::Duplicate));
        }
    }
    let teams = distinct("teams", &message.teams, MAX_PRINCIPAL_TEAMS, TeamName::parse)?;
    Ok(PrincipalEntry { name, roles, teams: teams.into_iter().collect(), blocked: message.blocked })
}
