//! Who else says who calls, beside the vault's own tokens: issuers of OpenID Connect.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// The most issuers.
const MAX_ISSUERS: usize = 16;

/// Who says who calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Issuers whose tokens (JWT) are taken.
    pub issuers: Vec<IssuerConfig>,
}

/// An issuer of OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its name: exactly the `iss` of its tokens.
    pub issuer: String,
    /// Our name: one of the `aud` of its tokens.
    pub audience: String,
    /// The algorithms by which it may sign.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<String>,
    /// The file of its keys (JWK Set); this or the next.
    pub keys_file: Option<PathBuf>,
    /// The address of its keys: https, or http on a loopback address.
    pub keys_url: Option<String>,
    /// The certificate authorities by which that address is known; Mozilla's where absent.
    pub authorities_file: Option<PathBuf>,
    /// After how many seconds its keys are fetched anew.
    #[serde(default = "default_refresh_s")]
    pub refresh_s: u64,
    /// How many seconds lie between two fetches at least, whatever keys tokens name.
    #[serde(default = "default_pause_s")]
    pub pause_s: u64,
    /// For how many seconds keys are good that cannot be fetched anew.
    #[serde(default = "default_max_stale_s")]
    pub max_stale_s: u64,
    /// The tenant of all its tokens; this or the next.
    pub tenant: Option<String>,
    /// The claim that names the tenant. It cannot name `system`.
    pub tenant_claim: Option<String>,
    /// The tenants that the claim may name; all but `system` where empty.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// The claim that names the principal.
    #[serde(default = "default_name_claim")]
    pub name_claim: String,
    /// What stands in front of each name that it gives, so that it never is one of another issuer.
    #[serde(default)]
    pub name_prefix: String,
    /// The claim within `act` that names who calls for the principal; as `name_claim` where absent.
    pub actor_claim: Option<String>,
    /// The longest life of its tokens, in seconds, from `iat` to `exp`.
    #[serde(default = "default_max_life_s")]
    pub max_life_s: u64,
    /// The claim that names the roles.
    #[serde(default = "default_roles_claim")]
    pub roles_claim: String,
    /// Which value of that claim stands for which role; where empty, values are the roles' own names.
    #[serde(default)]
    pub role_names: BTreeMap<String, String>,
    /// The claim that names the teams; none where absent.
    pub teams_claim: Option<String>,
}

fn default_algorithms() -> Vec<String> {
    ["RS256", "PS256", "ES256", "EdDSA"].map(str::to_owned).to_vec()
}

fn default_refresh_s() -> u64 {
    300
}

fn default_pause_s() -> u64 {
    10
}

fn default_max_stale_s() -> u64 {
    3_600
}

fn default_max_life_s() -> u64 {
    86_400
}

fn default_name_claim() -> String {
    "sub".to_owned()
}

fn default_roles_claim() -> String {
    "roles".to_owned()
}

impl IssuerConfig {
    /// Whether two issuers may name principals of one tenant.
    fn may_share_tenant(&self, other: &Self) -> bool {
        let named = |one: &Self| one.tenant.clone().map_or_else(|| one.tenants.clone(), |tenant| vec![tenant]);
        let (ours, theirs) = (named(self), named(other));
        ours.is_empty() || theirs.is_empty() || ours.iter().any(|tenant| theirs.contains(tenant))
    }
}

impl Identity {
    /// The first value that is not allowed, and what to do.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.issuers.len() > MAX_ISSUERS {
            return Err(("issuers", "are too many; name at most 16"));
        }
        for (number, one) in self.issuers.iter().enumerate() {
            if one.issuer.is_empty() || one.audience.is_empty() {
                return Err(("issuers", "need an issuer and an audience each"));
            }
            if self.issuers[..number].iter().any(|other| other.issuer == one.issuer) {
                return Err(("issuers", "name one issuer twice; name it once"));
            }
            if one.keys_file.is_some() == one.keys_url.is_some() {
                return Err(("issuers", "need keys_file or keys_url each, and not both"));
            }
            if one.tenant.is_some() == one.tenant_claim.is_some() {
                return Err(("issuers", "need tenant or tenant_claim each, and not both"));
            }
            if one.tenant.as_deref() == Some("system") || one.tenants.iter().any(|name| name == "system") {
                return Err(("issuers", "cannot be of the tenant system"));
            }
            if !one.tenants.is_empty() && one.tenant_claim.is_none() {
                return Err(("issuers", "have tenants only beside tenant_claim"));
            }
            let is_unclear = |other: &IssuerConfig| {
                let (ours, theirs) = (&one.name_prefix, &other.name_prefix);
                // A name behind the shorter one could begin with the rest of the longer one.
                (ours.starts_with(theirs.as_str()) || theirs.starts_with(ours.as_str())) && other.may_share_tenant(one)
            };
            if self.issuers[..number].iter().any(is_unclear) {
                return Err((
                    "issuers",
                    "may name the same tenant: say which tenants each has, or give each a name_prefix with which none of the others begins",
                ));
            }
            if !(60..=2_592_000).contains(&one.max_life_s) {
                return Err(("issuers", "need 60 <= max_life_s <= 2592000"));
            }
            let is_in_order = (1..=60).contains(&one.pause_s)
                && (one.pause_s..=86_400).contains(&one.refresh_s)
                && (one.refresh_s..=604_800).contains(&one.max_stale_s);
            if !is_in_order {
                return Err((
                    "issuers",
                    "need 1 <= pause_s <= 60, pause_s <= refresh_s <= 86400 and refresh_s <= max_stale_s <= 604800",
                ));
            }
        }
        Ok(())
    }

    /// Its paths.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.issuers.iter_mut().flat_map(|one| one.keys_file.iter_mut().chain(&mut one.authorities_file))
    }
}
