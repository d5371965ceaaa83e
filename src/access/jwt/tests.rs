//! The attacks, through the doors that the service uses. Each test counts what was tried; nothing false may be taken.

mod attacks;
mod claims;
pub mod forge;
mod measure;
mod sets;
mod wycheproof;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::claims::Claims;
use super::jws::{Jws, Verified};
use super::keys::KeySet;
use super::mapping::{ClaimPath, Identity, Mapping, TenantFrom};
use crate::access::identity::RejectReason;
use crate::crypto::jws::Algorithm;
use crate::domain::clock::Timestamp;

pub const ISSUER: &str = "https://id.example.com/realms/acme";
pub const AUDIENCE: &str = "oubliette";
/// Seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

pub fn now() -> Timestamp {
    Timestamp::from_ms(NOW * 1000).unwrap()
}

/// The claims of a good token.
pub fn good_claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": ["account", AUDIENCE],
        "sub": "ana",
        "exp": NOW + 300,
        "nbf": NOW - 5,
        "iat": NOW - 5,
        "jti": "7c1f",
        "tenant": "acme",
        "realm_access": {"roles": ["agent", "offline_access"]},
        "teams": ["billing"],
    })
}

pub fn mapping() -> Mapping {
    Mapping {
        tenant: TenantFrom::Claim { path: path("tenant"), among: Default::default() },
        name: path("sub"),
        name_prefix: String::new(),
        actor: path("sub"),
        roles: path("realm_access.roles"),
        role_names: BTreeMap::new(),
        teams: Some(path("teams")),
    }
}

pub fn path(text: &str) -> ClaimPath {
    ClaimPath::parse(text).unwrap()
}

pub fn set_of(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

/// The signature layer: what a token of the set's keys holds.
pub fn open(set: &KeySet, token: &str) -> Result<Verified, RejectReason> {
    let jws = Jws::parse(token, &Algorithm::ALL)?;
    let key = set.find(jws.algorithm(), jws.kid())?;
    jws.open(&key)
}

/// All layers, as [`super::Issuer::identify`] goes through them.
pub fn identify(set: &KeySet, token: &str, mapping: &Mapping) -> Result<Identity, RejectReason> {
    mapping.identity(&Claims::check(&open(set, token)?, (ISSUER, AUDIENCE), 86_400_000, now())?)
}

pub fn reason<T>(outcome: Result<T, RejectReason>) -> Option<&'static str> {
    outcome.err().map(RejectReason::name)
}
