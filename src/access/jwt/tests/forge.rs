//! An issuer of our own: keys made anew in each run, and tokens of any form, also such as no issuer makes.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::crypto::jws::Algorithm;

pub enum Pair {
    Rsa(RsaKeyPair),
    Curve(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A private key and how it signs.
pub struct Signer {
    pub algorithm: Algorithm,
    pub kid: &'static str,
    pub pair: Pair,
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub fn new(algorithm: Algorithm, kid: &'static str) -> Self {
        let pair = match curve(algorithm) {
            Some(curve) => Pair::Curve(EcdsaKeyPair::generate(curve).unwrap()),
            None if algorithm == Algorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::generate().unwrap()),
            None => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        };
        Self { algorithm, kid, pair }
    }

    /// One of each algorithm, named after it; made once, as RSA keys take long.
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Signer>> = OnceLock::new();
        ALL.get_or_init(|| Algorithm::ALL.into_iter().map(|algorithm| Self::new(algorithm, algorithm.name())).collect())
    }

    pub fn of(algorithm: Algorithm) -> &'static Self {
        Self::all().iter().find(|signer| signer.algorithm == algorithm).unwrap()
    }

    /// The public key, with nothing that is optional but the name.
    pub fn bare_jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                // RFC 8017, appendix A.1.1, of 2048 bits: 9 bytes before n with its sign, 2 before e.
                let der = pair.public_key().as_ref();
                let (n, e) = (&der[9..265], &der[267..]);
                json!({"kty": "RSA", "kid": self.kid, "n": b64(n), "e": b64(e)})
            }
            Pair::Curve(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(self.algorithm.key_kind().coordinate_bytes());
                let crv = match self.algorithm {
                    Algorithm::Es256 => "P-256",
                    Algorithm::Es384 => "P-384",
                    _ => "P-521",
                };
                json!({"kty": "EC", "kid": self.kid, "crv": crv, "x": b64(x), "y": b64(y)})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "kid": self.kid, "crv": "Ed25519", "x": b64(pair.public_key())})
            }
        }
    }

    /// The public key as issuers publish it.
    pub fn jwk(&self) -> Value {
        with(self.bare_jwk(), json!({"use": "sig", "alg": self.algorithm.name()}))
    }

    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm.name(), "kid": self.kid, "typ": "JWT"})
    }

    /// A token of these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_of(self.header().to_string(), claims.to_string())
    }

    /// A token of any header and payload; the signature is right.
    pub fn token_of(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", b64(header), b64(payload));
        let signature = b64(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(padding(self.algorithm), &SystemRandom::new(), message, &mut bytes).unwrap();
                bytes
            }
            Pair::Curve(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// `object` with the members of `more`.
pub fn with(mut object: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

/// `object` without a member.
pub fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

fn curve(algorithm: Algorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    match algorithm {
        Algorithm::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::Es512 => Some(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        _ => None,
    }
}

fn padding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        _ => &signature::RSA_PSS_SHA512,
    }
}
