//! Issuers of the configuration, made ready: their algorithms, claims and keys.

use std::time::Duration;

use crate::access::jwks::source::{BadSource, JwksSource};
use crate::access::jwks::{Jwks, Rhythm};
use crate::access::jwt::mapping::{ClaimPath, Mapping, TenantFrom};
use crate::access::jwt::{Issuer, Issuers};
use crate::config::{Identity, IssuerConfig};
use crate::crypto::jws::Algorithm;
use crate::domain::ids::TenantName;
use crate::domain::principal::Role;

/// Why an issuer of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("identity.issuers, {issuer}: {problem}")]
pub struct BadIssuer {
    issuer: String,
    #[source]
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(
        "{0:?} is no algorithm that is taken: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA"
    )]
    Algorithm(String),
    #[error("{0:?} is no path of a claim, such as realm_access.roles")]
    Claim(String),
    #[error("{0:?} is no tenant's name")]
    Tenant(String),
    #[error("{0:?} is no role: ingest, agent, supervisor, privacy_officer, auditor or admin")]
    Role(String),
    #[error(transparent)]
    Source(#[from] BadSource),
}

/// The issuers, whose keys are kept fresh from now on. To be called in the runtime.
pub(super) fn issuers(config: &Identity) -> Result<Issuers, BadIssuer> {
    let one =
        |config: &IssuerConfig| issuer(config).map_err(|problem| BadIssuer { issuer: config.issuer.clone(), problem });
    Ok(Issuers::new(config.issuers.iter().map(one).collect::<Result<_, _>>()?))
}

fn issuer(config: &IssuerConfig) -> Result<Issuer, Problem> {
    let algorithm = |name: &String| Algorithm::from_name(name).ok_or_else(|| Problem::Algorithm(name.clone()));
    let claim = |text: &String| ClaimPath::parse(text).map_err(|_| Problem::Claim(text.clone()));
    let role = |(value, name): (&String, &String)| {
        Ok::<_, Problem>((value.clone(), Role::from_name(name).ok_or_else(|| Problem::Role(name.clone()))?))
    };
    let tenant = match (&config.tenant, &config.tenant_claim) {
        (Some(name), _) => TenantFrom::Fixed(TenantName::parse(name).map_err(|_| Problem::Tenant(name.clone()))?),
        (None, path) => {
            let named = |name: &String| TenantName::parse(name).map_err(|_| Problem::Tenant(name.clone()));
            let among = config.tenants.iter().map(named).collect::<Result<_, _>>()?;
            TenantFrom::Claim { path: claim(&path.clone().unwrap_or_default())?, among }
        }
    };
    let source = match (&config.keys_file, &config.keys_url) {
        (Some(path), _) => JwksSource::File(path.clone()),
        (None, address) => {
            let address = address.clone().unwrap_or_default();
            JwksSource::address(&address, config.authorities_file.as_deref())?
        }
    };
    let rhythm = Rhythm {
        refresh: Duration::from_secs(config.refresh_s),
        pause: Duration::from_secs(config.pause_s),
        max_stale: Duration::from_secs(config.max_stale_s),
    };
    Ok(Issuer {
        name: config.issuer.clone(),
        audience: config.audience.clone(),
        max_life_ms: config.max_life_s * 1_000,
        algorithms: config.algorithms.iter().map(algorithm).collect::<Result<_, _>>()?,
        mapping: Mapping {
            tenant,
            name: claim(&config.name_claim)?,
            name_prefix: config.name_prefix.clone(),
            actor: claim(config.actor_claim.as_ref().unwrap_or(&config.name_claim))?,
            roles: claim(&config.roles_claim)?,
            role_names: config.role_names.iter().map(role).collect::<Result<_, _>>()?,
            teams: config.teams_claim.as_ref().map(claim).transpose()?,
        },
        keys: Jwks::keep(&config.issuer, source, rhythm),
    })
}
