//! A token's outside: three parts of base64url, a header, a signature (RFC 7515, section 7.1). Only what a key has verified is
//! opened. It never looks for a key where a token points (`jku`, `jwk`, `x5u`, `x5c`: RFC 8725, section 3.10), and reads no claim.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::json::{self, Object};
use crate::access::identity::RejectReason;
use crate::crypto::jws::{Algorithm, PublicKey};

/// The most bytes of a token; a longer one is not even decoded.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The most bytes of a `kid`.
pub const MAX_KID_BYTES: usize = 256;

/// Parameters with which a token is something else than it looks: extensions that must be understood (RFC 7515, section
/// 4.1.11), an unencoded payload (RFC 7797, which needs `crit` for it), an encrypted or compressed one (RFC 7516).
const REFUSED_PARAMETERS: [&str; 4] = ["crit", "b64", "enc", "zip"];

/// What a token may say it is, besides nothing: RFC 7519, section 5.1, and RFC 9068, section 4.
const TYPES: [&str; 2] = ["JWT", "at+jwt"];
const TYPE_PREFIX: &str = "application/";

/// A token in compact form whose header was read, and nothing else of it.
pub struct Jws<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    /// Header and payload as they were sent: what is signed.
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

/// The payload of a token whose signature was right.
pub struct Verified(Vec<u8>);

impl<'a> Jws<'a> {
    /// Reads a token that is signed by one of the `allowed` algorithms.
    ///
    /// Refuses with `Malformed` or `WrongAlgorithm`.
    pub fn parse(token: &'a str, allowed: &[Algorithm]) -> Result<Self, RejectReason> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(RejectReason::Malformed);
        }
        let mut parts = token.split('.');
        let three = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(header), Some(payload), Some(signature), None) = three else { return Err(RejectReason::Malformed) };
        let signed = &token[..header.len() + 1 + payload.len()];
        let header = json::parse(&decode(header)?).ok_or(RejectReason::Malformed)?;
        let signature = decode(signature)?;
        check_form(&header)?;
        let algorithm = algorithm(&header, allowed)?;
        let kid = json::text(&header, "kid", MAX_KID_BYTES).map_err(|_| RejectReason::Malformed)?.map(str::to_owned);
        Ok(Self { algorithm, kid, signed, payload, signature })
    }

    /// The algorithm of the header; it is allowed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key that the header names.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The payload, if `key` verifies the signature.
    ///
    /// Refuses with `WrongAlgorithm`, `BadSignature` or `Malformed`.
    pub fn open(self, key: &PublicKey) -> Result<Verified, RejectReason> {
        if key.algorithm() != self.algorithm {
            return Err(RejectReason::WrongAlgorithm);
        }
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(RejectReason::BadSignature);
        }
        decode(self.payload).map(Verified)
    }
}

impl Verified {
    /// The bytes that were signed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The issuer that a token says it is of, before anything of it is verified: only to know whose keys to ask.
pub fn stated_issuer(token: &str) -> Result<String, RejectReason> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(RejectReason::Malformed);
    }
    let payload = token.split('.').nth(1).ok_or(RejectReason::Malformed)?;
    let claims = json::parse(&decode(payload)?).ok_or(RejectReason::Malformed)?;
    let issuer = json::text(&claims, "iss", MAX_TOKEN_BYTES).map_err(|_| RejectReason::Malformed)?;
    issuer.map(str::to_owned).ok_or(RejectReason::WrongIssuer)
}

/// Base64url without padding, without white space, without bits that nobody reads.
fn decode(part: &str) -> Result<Vec<u8>, RejectReason> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| RejectReason::Malformed)
}

fn check_form(header: &Object) -> Result<(), RejectReason> {
    let is_plain = !REFUSED_PARAMETERS.iter().any(|name| header.contains_key(*name));
    let is_token = match header.get("typ") {
        None => true,
        Some(Value::String(typ)) => names_a_token(typ),
        Some(_) => false,
    };
    if is_plain && is_token { Ok(()) } else { Err(RejectReason::Malformed) }
}

fn names_a_token(typ: &str) -> bool {
    let has_prefix = typ.get(..TYPE_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE_PREFIX));
    let name = if has_prefix { &typ[TYPE_PREFIX.len()..] } else { typ };
    TYPES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn algorithm(header: &Object, allowed: &[Algorithm]) -> Result<Algorithm, RejectReason> {
    let Some(Value::String(name)) = header.get("alg") else { return Err(RejectReason::Malformed) };
    let known = Algorithm::from_name(name).filter(|algorithm| allowed.contains(algorithm));
    known.ok_or(RejectReason::WrongAlgorithm)
}
