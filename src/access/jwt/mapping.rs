//! From the claims of an issuer to an identity of ours: which claim holds the tenant, the name, the roles, the teams. A role that
//! is not ours is passed over; everything else that does not fit is refused. No claim can name the tenant that runs the service.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::claims::Claims;
use super::json::{MOST_LEVELS, Object};
use crate::access::identity::RejectReason;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{PrincipalName, TeamName, TenantName};
use crate::domain::principal::Role;
use crate::domain::{Invalid, Problem};

/// The most teams of one bearer.
pub const MOST_TEAMS: usize = 64;

/// Who calls, as its issuer says. There is no `Debug`: most of it is personal.
pub struct Identity {
    /// Who says so.
    pub issuer: String,
    /// The tenant it belongs to.
    pub tenant: TenantName,
    /// Its name.
    pub name: PrincipalName,
    /// What it is.
    pub roles: BTreeSet<Role>,
    /// The teams it belongs to.
    pub teams: BTreeSet<TeamName>,
    /// Who calls for it (RFC 8693), such as the platform through which an agent works.
    pub actor: Option<PrincipalName>,
    /// The token's own name (`jti`).
    pub token_id: Option<String>,
    /// When the token's time ends. It is taken for a minute longer.
    pub expires: Timestamp,
}

/// Where an issuer's tokens say what we need.
pub struct Mapping {
    /// The tenant.
    pub tenant: TenantFrom,
    /// The name: a string.
    pub name: ClaimPath,
    /// What stands in front of each name, so that none is one of another issuer.
    pub name_prefix: String,
    /// The name of who calls for the principal, within `act`: a string.
    pub actor: ClaimPath,
    /// The roles: an array of strings, or a string with spaces between them. A token without the claim has none.
    pub roles: ClaimPath,
    /// Which value stands for which role. Where it is empty, values are our own names of the roles.
    pub role_names: BTreeMap<String, Role>,
    /// The teams: an array of strings. A token without the claim has none.
    pub teams: Option<ClaimPath>,
}

/// How the tenant of a token is found.
pub enum TenantFrom {
    /// Every token of the issuer is of this tenant.
    Fixed(TenantName),
    /// A claim names it: a string. It cannot name [`TenantName::SYSTEM`]: whoever runs the service says so in its configuration.
    Claim {
        /// Which.
        path: ClaimPath,
        /// The tenants that it may name; all others where empty.
        among: BTreeSet<TenantName>,
    },
}

/// Where a claim stands: names with dots between them (`realm_access.roles`), or a JSON pointer (RFC 6901) for names that
/// have dots themselves (`/https:~1~1example.com~1roles`). Only objects are entered.
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// Reads a path of 1 to [`MOST_LEVELS`] names, none of them empty.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let names: Option<Vec<String>> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(unescaped).collect(),
            None => Some(text.split('.').map(str::to_owned).collect()),
        };
        let is_path = |names: &Vec<String>| names.len() <= MOST_LEVELS && !names.iter().any(String::is_empty);
        names.filter(is_path).map(Self).ok_or_else(|| {
            let expected = "names with dots between them, or a JSON pointer (RFC 6901)";
            Invalid::new("claim", Problem::Malformed { expected })
        })
    }

    fn find<'a>(&self, claims: &'a Object) -> Option<&'a Value> {
        let (last, parents) = self.0.split_last()?;
        let parent = parents.iter().try_fold(claims, |object, name| object.get(name)?.as_object());
        parent?.get(last)
    }
}

/// RFC 6901, section 4: `~1` is `/`, `~0` is `~`, and no other escape is one.
fn unescaped(name: &str) -> Option<String> {
    let is_escaped = name.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    is_escaped.then(|| name.replace("~1", "/").replace("~0", "~"))
}

impl Mapping {
    /// The identity that these claims give. Refuses with `BadClaims`.
    pub fn identity(&self, claims: &Claims) -> Result<Identity, RejectReason> {
        let named = |path: &ClaimPath, claims| {
            let name = path.find(claims).and_then(Value::as_str).filter(|name| !name.is_empty());
            name.and_then(|name| PrincipalName::parse(&[&self.name_prefix, name].concat()).ok()).ok_or(BAD)
        };
        Ok(Identity {
            issuer: claims.issuer().to_owned(),
            tenant: self.tenant(claims)?,
            name: named(&self.name, claims.all())?,
            roles: self.roles(claims)?,
            teams: self.teams(claims)?,
            actor: claims.actor().map(|act| named(&self.actor, act)).transpose()?,
            token_id: claims.token_id().map(str::to_owned),
            expires: claims.expires(),
        })
    }

    fn tenant(&self, claims: &Claims) -> Result<TenantName, RejectReason> {
        match &self.tenant {
            TenantFrom::Fixed(tenant) => Ok(tenant.clone()),
            TenantFrom::Claim { path, among } => {
                let name = text(path, claims).filter(|name| *name != TenantName::SYSTEM);
                let name = name.and_then(|name| TenantName::parse(name).ok());
                name.filter(|name| among.is_empty() || among.contains(name)).ok_or(BAD)
            }
        }
    }

    fn roles(&self, claims: &Claims) -> Result<BTreeSet<Role>, RejectReason> {
        let role = |name: &str| match self.role_names.is_empty() {
            true => Role::from_name(name),
            false => self.role_names.get(name).copied(),
        };
        match self.roles.find(claims.all()) {
            None => Ok(BTreeSet::new()),
            Some(Value::String(names)) => Ok(names.split(' ').filter_map(role).collect()),
            Some(names) => Ok(strings(names)?.into_iter().filter_map(role).collect()),
        }
    }

    fn teams(&self, claims: &Claims) -> Result<BTreeSet<TeamName>, RejectReason> {
        let Some(teams) = self.teams.as_ref().and_then(|path| path.find(claims.all())) else {
            return Ok(BTreeSet::new());
        };
        let names = Some(strings(teams)?).filter(|names| names.len() <= MOST_TEAMS).ok_or(BAD)?;
        names.into_iter().map(|name| TeamName::parse(name).map_err(|_| BAD)).collect()
    }
}

const BAD: RejectReason = RejectReason::BadClaims;

fn text<'a>(path: &ClaimPath, claims: &'a Claims) -> Option<&'a str> {
    path.find(claims.all()).and_then(Value::as_str)
}

fn strings(value: &Value) -> Result<Vec<&str>, RejectReason> {
    let items = value.as_array().ok_or(BAD)?;
    items.iter().map(|item| item.as_str().ok_or(BAD)).collect()
}
