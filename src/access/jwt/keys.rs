//! The keys of an issuer: a JWK Set (RFC 7517), read into keys that verify by one algorithm each. It takes public keys only: a
//! shared secret or a private key that an issuer published is left out, and what a key says of its use is held against it.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::json::{self, Object};
use super::jws::MAX_KID_BYTES;
use crate::access::identity::RejectReason;
use crate::crypto::jws::{Algorithm, KeyKind, Numbers, PublicKey, Unfit};

/// The most bytes of a set.
pub const MAX_SET_BYTES: usize = 256 * 1024;
/// The most keys of a set, whether they can be used or not.
pub const MOST_KEYS: usize = 64;

/// The keys of an issuer that can be used.
pub struct KeySet {
    keys: Vec<Key>,
}

/// One key of a set: its name, and itself once for each algorithm that it may verify by.
struct Key {
    kid: Option<String>,
    fitting: Vec<Arc<PublicKey>>,
}

/// A set that is not taken at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSet {
    /// Too many bytes.
    #[error("the key set has more than {MAX_SET_BYTES} bytes")]
    TooLong,
    /// Not a JSON object with an array `keys`, or one with a member twice.
    #[error("the key set is no JSON object with an array `keys`")]
    NoSet,
    /// Too many keys.
    #[error("the key set has more than {MOST_KEYS} keys")]
    TooManyKeys,
    /// Not one key can be used.
    #[error("no key of the set can be used; the log says of each why")]
    NoUsableKey,
}

/// Why a key of a set is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// A member is missing, or is not what the kind of key needs.
    #[error("`{0}` is missing or malformed")]
    Member(&'static str),
    /// Not an asymmetric key for signatures that we know.
    #[error("`kty` and `crv` name no kind of key that verifies tokens")]
    Kind,
    /// The key is meant for something else.
    #[error("`use`, `key_ops` or `alg` say that the key is not for verifying tokens by an algorithm of its kind")]
    Use,
    /// The private half stands there too: whoever read the set can sign.
    #[error("its private half is published with it; the issuer must replace the key")]
    Private,
    /// Weak, or no key.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Another key has the same name and an algorithm in common.
    #[error("its `kid` is that of a key before it")]
    SecondOfItsName,
}

impl KeySet {
    /// Reads a set. Keys that cannot be used are left out (RFC 7517, section 5), and the log says why.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadSet> {
        if bytes.len() > MAX_SET_BYTES {
            return Err(BadSet::TooLong);
        }
        let set = json::parse(bytes).ok_or(BadSet::NoSet)?;
        let Some(Value::Array(all)) = set.get("keys") else { return Err(BadSet::NoSet) };
        if all.len() > MOST_KEYS {
            return Err(BadSet::TooManyKeys);
        }
        let mut keys: Vec<Key> = Vec::with_capacity(all.len());
        for (place, jwk) in all.iter().enumerate() {
            match Key::parse(jwk).and_then(|key| key.beside(&keys)) {
                Ok(key) => keys.push(key),
                // Issuers publish their keys for encryption in the same set.
                Err(error @ (BadKey::Use | BadKey::Kind)) => tracing::debug!(place, %error, "a key is not for tokens"),
                Err(error) => tracing::warn!(place, %error, "a key of the issuer is not used"),
            }
        }
        if keys.is_empty() { Err(BadSet::NoUsableKey) } else { Ok(Self { keys }) }
    }

    /// How many keys can be used.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The key for a token: the one that it names; where it names none, the only one of the set that fits.
    ///
    /// Refuses with `UnknownKey`, or `WrongAlgorithm` where the key is there and may not verify by `algorithm`.
    pub fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<Arc<PublicKey>, RejectReason> {
        let fitting = |key: &Key| key.fitting.iter().find(|key| key.algorithm() == algorithm).map(Arc::clone);
        let Some(kid) = kid else {
            let mut all = self.keys.iter().filter_map(fitting);
            let only = all.next().filter(|_| all.next().is_none());
            return only.ok_or(RejectReason::UnknownKey);
        };
        let mut named = self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid)).peekable();
        if named.peek().is_none() {
            return Err(RejectReason::UnknownKey);
        }
        named.find_map(fitting).ok_or(RejectReason::WrongAlgorithm)
    }
}

impl Key {
    fn parse(jwk: &Value) -> Result<Self, BadKey> {
        let Value::Object(jwk) = jwk else { return Err(BadKey::Kind) };
        let kind = kind(jwk)?;
        if jwk.contains_key("d") {
            return Err(BadKey::Private);
        }
        let algorithms = algorithms(jwk, kind)?;
        let numbers = numbers(jwk, kind)?;
        let fitting = algorithms.into_iter().map(|algorithm| PublicKey::new(algorithm, &numbers).map(Arc::new));
        let kid = json::text(jwk, "kid", MAX_KID_BYTES).map_err(|_| BadKey::Member("kid"))?.map(str::to_owned);
        Ok(Self { kid, fitting: fitting.collect::<Result<_, _>>()? })
    }

    /// Two keys may have one name if no token could mean both (RFC 7517, section 4.5).
    fn beside(self, others: &[Self]) -> Result<Self, BadKey> {
        let verifies_by = |algorithm| self.fitting.iter().any(|key| key.algorithm() == algorithm);
        let is_ambiguous = self.kid.is_some()
            && others
                .iter()
                .filter(|other| other.kid == self.kid)
                .any(|other| other.fitting.iter().any(|key| verifies_by(key.algorithm())));
        if is_ambiguous { Err(BadKey::SecondOfItsName) } else { Ok(self) }
    }
}

fn kind(jwk: &Object) -> Result<KeyKind, BadKey> {
    let text = |name| jwk.get(name).and_then(Value::as_str);
    match (text("kty").ok_or(BadKey::Member("kty"))?, text("crv")) {
        ("RSA", _) => Ok(KeyKind::Rsa),
        ("EC", Some("P-256")) => Ok(KeyKind::P256),
        ("EC", Some("P-384")) => Ok(KeyKind::P384),
        ("EC", Some("P-521")) => Ok(KeyKind::P521),
        ("OKP", Some("Ed25519")) => Ok(KeyKind::Ed25519),
        _ => Err(BadKey::Kind),
    }
}

/// The algorithms of the key's kind, or the one of them that it names; none if it is for something else.
fn algorithms(jwk: &Object, kind: KeyKind) -> Result<Vec<Algorithm>, BadKey> {
    let is_for_signatures = jwk.get("use").is_none_or(|value| value == "sig");
    let may_verify = match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        Some(_) => false,
    };
    let of_kind = Algorithm::ALL.into_iter().filter(|algorithm| algorithm.key_kind() == kind);
    let algorithms: Vec<Algorithm> = match jwk.get("alg") {
        None => of_kind.collect(),
        Some(name) => {
            let named = name.as_str().and_then(Algorithm::from_name);
            of_kind.filter(|algorithm| Some(*algorithm) == named).collect()
        }
    };
    let is_fit = is_for_signatures && may_verify && !algorithms.is_empty();
    if is_fit { Ok(algorithms) } else { Err(BadKey::Use) }
}

/// RFC 7518, sections 6.2.1 and 6.3.1; RFC 8037, section 2.
fn numbers(jwk: &Object, kind: KeyKind) -> Result<Numbers, BadKey> {
    let number = |name| {
        let text = jwk.get(name).and_then(Value::as_str).ok_or(BadKey::Member(name))?;
        BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| BadKey::Member(name))
    };
    match kind {
        KeyKind::Rsa => Ok(Numbers::Rsa { modulus: number("n")?, exponent: number("e")? }),
        KeyKind::Ed25519 => number("x").map(Numbers::Ed25519),
        KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => Ok(Numbers::Point { x: number("x")?, y: number("y")? }),
    }
}
