//! Tenants, principals and tokens; stored sealed.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::domain::Invalid;
use crate::domain::certificate_name::CertificateName;
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::{PrincipalName, Purpose, TeamName, TenantName, TokenId};
use crate::domain::principal::{PrincipalEntry, Role, TokenEntry};
use crate::domain::tenant::{Quotas, RuleSet, TenantEntry, TenantSettings};

const VERSION: u8 = 1;
/// Since this version, a tenant may be frozen, and a principal blocked.
const NEWER_VERSION: u8 = 2;
const TENANT: &str = "a tenant";
const PRINCIPAL: &str = "a principal";
const TOKEN: &str = "a token";

pub(in super::super) fn encode_tenant(tenant: &TenantEntry) -> Zeroizing<Vec<u8>> {
    let settings = &tenant.settings;
    Writer::versioned(NEWER_VERSION)
        .text(tenant.name.as_str())
        .u8(u8::from(tenant.suspended))
        .u8(u8::from(tenant.frozen))
        .u64(tenant.created.as_ms())
        .list(settings.purposes.iter(), |w, purpose| w.text(purpose.as_str()))
        .option(settings.retention_default_days, Writer::u32)
        .u8(settings.rule_set as u8)
        .list(settings.teams.iter(), |w, team| w.text(team.as_str()))
        .option(settings.quotas.content_bytes, Writer::u64)
        .option(settings.quotas.records, Writer::u64)
        .option(settings.quotas.requests_per_second, Writer::u32)
        .finish()
}

pub(in super::super) fn decode_tenant(plain: &[u8]) -> Result<TenantEntry, Decode> {
    let (mut r, version) = Reader::versioned(TENANT, plain, NEWER_VERSION)?;
    let tenant = TenantEntry {
        name: parsed(TENANT, TenantName::parse(r.text()?))?,
        suspended: r.u8()? == 1,
        frozen: version >= NEWER_VERSION && r.u8()? == 1,
        created: known(TENANT, Timestamp::from_ms(r.u64()?))?,
        settings: TenantSettings {
            purposes: r.list(|r| parsed(TENANT, Purpose::parse(r.text()?)))?,
            retention_default_days: r.option(Reader::u32)?,
            rule_set: {
                let code = r.u8()?;
                known(TENANT, RuleSet::ALL.into_iter().find(|rules| *rules as u8 == code))?
            },
            teams: r.list(|r| parsed(TENANT, TeamName::parse(r.text()?)))?,
            quotas: Quotas {
                content_bytes: r.option(Reader::u64)?,
                records: r.option(Reader::u64)?,
                requests_per_second: r.option(Reader::u32)?,
            },
        },
    };
    r.end()?;
    Ok(tenant)
}

pub(in super::super) fn encode_principal(principal: &PrincipalEntry) -> Zeroizing<Vec<u8>> {
    Writer::versioned(NEWER_VERSION)
        .u8(u8::from(principal.blocked))
        .text(principal.name.as_str())
        .list(principal.roles.iter(), |w, role| w.u8(*role as u8))
        .list(principal.teams.iter(), |w, team| w.text(team.as_str()))
        .finish()
}

pub(in super::super) fn decode_principal(plain: &[u8]) -> Result<PrincipalEntry, Decode> {
    let (mut r, version) = Reader::versioned(PRINCIPAL, plain, NEWER_VERSION)?;
    let principal = PrincipalEntry {
        blocked: version >= NEWER_VERSION && r.u8()? == 1,
        name: parsed(PRINCIPAL, PrincipalName::parse(r.text()?))?,
        roles: BTreeSet::from_iter(r.list(|r| known(PRINCIPAL, Role::from_code(r.u8()?)))?),
        teams: BTreeSet::from_iter(r.list(|r| parsed(PRINCIPAL, TeamName::parse(r.text()?)))?),
    };
    r.end()?;
    Ok(principal)
}

pub(in super::super) fn encode_token(token: &TokenEntry) -> Zeroizing<Vec<u8>> {
    Writer::versioned(NEWER_VERSION)
        .fixed(&token.secret_hash)
        .text(token.principal.as_str())
        .u64(token.created.as_ms())
        .u64(token.expires.as_ms())
        .u8(u8::from(token.revoked))
        .option(token.certificate.as_ref(), |w, name| w.text(name.as_str()))
        .finish()
}

pub(in super::super) fn decode_token(id: TokenId, plain: &[u8]) -> Result<TokenEntry, Decode> {
    let (mut r, version) = Reader::versioned(TOKEN, plain, NEWER_VERSION)?;
    let token = TokenEntry {
        id,
        secret_hash: r.array()?,
        principal: parsed(TOKEN, PrincipalName::parse(r.text()?))?,
        created: known(TOKEN, Timestamp::from_ms(r.u64()?))?,
        expires: known(TOKEN, Timestamp::from_ms(r.u64()?))?,
        revoked: r.u8()? == 1,
        certificate: match version {
            VERSION => None,
            _ => r.option(|r| known(TOKEN, CertificateName::parse(r.text()?).ok()))?,
        },
    };
    r.end()?;
    Ok(token)
}

fn known<T>(what: &'static str, value: Option<T>) -> Result<T, Decode> {
    value.ok_or(Decode::Damaged { what })
}

fn parsed<T>(what: &'static str, value: Result<T, Invalid>) -> Result<T, Decode> {
    known(what, value.ok())
}
