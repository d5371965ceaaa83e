//! Tokens that an OpenID Connect issuer made: from the text of a token to who calls (RFC 7519, RFC 8725, RFC 9068). A token is
//! taken apart in steps, each a type that only the step before gives: [`jws::Jws`], its outside; [`jws::Verified`], what a key of
//! the issuer signed; [`claims::Claims`], made for us and in its time; [`mapping::Identity`]. It never stores or logs a token, and
//! never takes a key from one.

pub mod claims;
pub mod json;
pub mod jws;
pub mod keys;
pub mod mapping;
#[cfg(test)]
pub(super) mod tests;

use claims::Claims;
use jws::Jws;
use mapping::{Identity, Mapping};

use super::identity::RejectReason;
use super::jwks::Jwks;
use crate::crypto::jws::Algorithm;
use crate::domain::clock::Timestamp;

/// An issuer whose tokens are taken.
pub struct Issuer {
    /// Its name: exactly the `iss` of its tokens.
    pub name: String,
    /// Our name: one of the `aud` of its tokens.
    pub audience: String,
    /// The longest life of its tokens, in milliseconds.
    pub max_life_ms: u64,
    /// The algorithms by which it may sign.
    pub algorithms: Vec<Algorithm>,
    /// Where its tokens say what we need.
    pub mapping: Mapping,
    /// Its keys.
    pub keys: Jwks,
}

impl Issuer {
    /// Who calls with `token` (without `Bearer`). Waits only where the token names a key that we do not know, and then at most for
    /// one look at the issuer's keys.
    ///
    /// To the caller all refusals look alike; their names are for the metrics.
    pub async fn identify(&self, token: &str, now: Timestamp) -> Result<Identity, RejectReason> {
        let jws = Jws::parse(token, &self.algorithms)?;
        let key = self.keys.find(jws.algorithm(), jws.kid()).await?;
        let payload = jws.open(&key)?;
        let claims = Claims::check(&payload, (&self.name, &self.audience), self.max_life_ms, now)?;
        self.mapping.identity(&claims)
    }
}

/// All issuers whose tokens are taken.
pub struct Issuers(Vec<Issuer>);

impl Issuers {
    /// These.
    pub fn new(issuers: Vec<Issuer>) -> Self {
        Self(issuers)
    }

    /// Who calls with `token`, by the one issuer that it says it is of. What it says is held against that issuer's keys afterwards; here it
    /// only tells which are asked.
    pub async fn identify(&self, token: &str, now: Timestamp) -> Result<Identity, RejectReason> {
        let stated = jws::stated_issuer(token)?;
        let issuer = self.0.iter().find(|issuer| issuer.name == stated).ok_or(RejectReason::WrongIssuer)?;
        issuer.identify(token, now).await
    }
}
