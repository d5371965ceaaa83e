//! Signatures that others made: the asymmetric algorithms of JSON Web Signature (RFC 7518, section 3; RFC 8037; RFC 9864),
//! verified by `aws-lc-rs`. It holds public keys only: it never signs, and has no word for `none` or for a shared secret.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};

/// The least bits of an RSA modulus (RFC 7518, section 3.3).
pub const LEAST_RSA_BITS: usize = 2048;
/// The most bits of an RSA modulus that `aws-lc-rs` verifies with; a longer one only costs time.
pub const MOST_RSA_BITS: usize = 8192;
/// The most bytes of an RSA exponent. All that are in use have one or three.
const MOST_EXPONENT_BYTES: usize = 4;

/// How a token is signed: the `alg` of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256 and a salt of as many bytes as the hash.
    Ps256,
    /// RSASSA-PSS with SHA-384 and a salt of as many bytes as the hash.
    Ps384,
    /// RSASSA-PSS with SHA-512 and a salt of as many bytes as the hash.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
}

/// What kind of key an algorithm needs: `kty`, and `crv` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// The curve P-256.
    P256,
    /// The curve P-384.
    P384,
    /// The curve P-521.
    P521,
    /// The curve Ed25519.
    Ed25519,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with this name, in exactly this case. `Ed25519` is the newer name of what `EdDSA` means here (RFC 9864).
    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The kind of key that it needs.
    pub fn key_kind(self) -> KeyKind {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => KeyKind::Rsa,
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::Es512 => KeyKind::P521,
            Self::EdDsa => KeyKind::Ed25519,
        }
    }

    fn method(self) -> Method {
        match self {
            Self::Rs256 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Method::Rsa(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Method::Rsa(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Method::Rsa(&RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Method::Curve(&ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Method::Curve(&ECDSA_P384_SHA384_FIXED),
            Self::Es512 => Method::Curve(&ECDSA_P521_SHA512_FIXED),
            Self::EdDsa => Method::Curve(&ED25519),
        }
    }
}

enum Method {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

impl KeyKind {
    /// The bytes of one coordinate of a point of the curve; 0 for RSA, which has none.
    pub fn coordinate_bytes(self) -> usize {
        match self {
            Self::Rsa => 0,
            Self::P256 | Self::Ed25519 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// The numbers of a public key, big-endian.
pub enum Numbers {
    /// RSA.
    Rsa {
        /// The modulus, without leading zeros.
        modulus: Vec<u8>,
        /// The exponent, without leading zeros.
        exponent: Vec<u8>,
    },
    /// A point of a curve of NIST: each coordinate has all of its bytes.
    Point {
        /// x.
        x: Vec<u8>,
        /// y.
        y: Vec<u8>,
    },
    /// A point of Ed25519, as RFC 8032 encodes it: 32 bytes.
    Ed25519(Vec<u8>),
}

/// A public key that verifies by one algorithm only (RFC 8725, section 3.1).
pub struct PublicKey {
    algorithm: Algorithm,
    parsed: ParsedPublicKey,
}

/// Numbers that are no public key for the algorithm, or too weak a one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The algorithm needs another kind of key, or the numbers are none of its kind.
    #[error("the numbers are no public key of this kind")]
    NoKey,
    /// An RSA modulus that is too short or too long.
    #[error("the RSA modulus has {0} bits; at least {LEAST_RSA_BITS} and at most {MOST_RSA_BITS} are taken")]
    Modulus(usize),
    /// An RSA exponent that is even, 1, or longer than any in use.
    #[error("the RSA exponent is even, 1, or too long")]
    Exponent,
}

impl PublicKey {
    /// The key of these numbers, for this algorithm only. A point that is not on its curve is no key.
    pub fn new(algorithm: Algorithm, numbers: &Numbers) -> Result<Self, Unfit> {
        let parsed = match (algorithm.method(), numbers) {
            (Method::Rsa(parameters), Numbers::Rsa { modulus, exponent }) => rsa(parameters, modulus, exponent)?,
            (Method::Curve(curve), Numbers::Point { x, y }) if algorithm != Algorithm::EdDsa => {
                let length = algorithm.key_kind().coordinate_bytes();
                if x.len() != length || y.len() != length {
                    return Err(Unfit::NoKey);
                }
                // SEC 1, section 2.3.3: 04 || x || y, the uncompressed form.
                ParsedPublicKey::new(curve, [&[4], &x[..], &y[..]].concat()).map_err(|_| Unfit::NoKey)?
            }
            (Method::Curve(curve), Numbers::Ed25519(point)) if algorithm == Algorithm::EdDsa => {
                if point.len() != KeyKind::Ed25519.coordinate_bytes() {
                    return Err(Unfit::NoKey);
                }
                ParsedPublicKey::new(curve, point).map_err(|_| Unfit::NoKey)?
            }
            _ => return Err(Unfit::NoKey),
        };
        Ok(Self { algorithm, parsed })
    }

    /// The algorithm by which it verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is that of `message`. ECDSA: `r || s`, each with all of its bytes (RFC 7518, section 3.4).
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

/// The library checks lengths only when it verifies; here they are checked once, so that a weak key is never taken.
fn rsa(parameters: &'static RsaParameters, modulus: &[u8], exponent: &[u8]) -> Result<ParsedPublicKey, Unfit> {
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if !(LEAST_RSA_BITS..=MOST_RSA_BITS).contains(&bits) {
        return Err(Unfit::Modulus(bits));
    }
    let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
    if !is_odd || exponent == [1] || exponent.len() > MOST_EXPONENT_BYTES {
        return Err(Unfit::Exponent);
    }
    let components = RsaPublicKeyComponents { n: modulus, e: exponent };
    components.to_parsed_public_key(parameters).map_err(|_| Unfit::NoKey)
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.algorithm.name())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    fn b64(text: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// RFC 8037, appendices A.2 and A.4.
    #[test]
    fn the_published_signature_verifies_and_no_changed_one() {
        let numbers = Numbers::Ed25519(b64("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
        let key = PublicKey::new(Algorithm::EdDsa, &numbers).unwrap();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = b64("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
        assert!(key.verifies(message, &signature));
        for at in 0..signature.len() {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!key.verifies(message, &changed));
        }
        assert!(!key.verifies(&message[1..], &signature) && !key.verifies(message, &signature[1..]));
        assert_eq!(format!("{key:?}"), "PublicKey(EdDSA)");
    }

    #[test]
    fn a_name_is_taken_in_its_own_case_only_and_there_is_no_none_and_no_shared_secret() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::from_name(&algorithm.name().to_ascii_lowercase()), None);
        }
        assert_eq!(Algorithm::from_name("Ed25519"), Some(Algorithm::EdDsa));
        for name in ["", "none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "ES256K", "ES521", "RS1", "RS256 "]
        {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_key_is_taken_by_the_algorithms_of_its_kind_only() {
        let p256 = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = p256.public_key().as_ref()[1..].to_vec();
        let all = [
            Numbers::Rsa { modulus: vec![0xff; 256], exponent: vec![1, 0, 1] },
            Numbers::Point { x: point[..32].to_vec(), y: point[32..].to_vec() },
            Numbers::Ed25519(b64("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")),
        ];
        for algorithm in Algorithm::ALL {
            let taken = all.iter().map(|numbers| PublicKey::new(algorithm, numbers).is_ok());
            let kind = algorithm.key_kind();
            let expected = [kind == KeyKind::Rsa, kind == KeyKind::P256, kind == KeyKind::Ed25519];
            assert!(taken.eq(expected), "{}", algorithm.name());
        }
    }

    #[test]
    fn weak_and_false_keys_are_not_taken() {
        let rsa = |modulus: Vec<u8>, exponent: &[u8]| {
            PublicKey::new(Algorithm::Rs256, &Numbers::Rsa { modulus, exponent: exponent.to_vec() }).err()
        };
        let f4 = [1, 0, 1];
        assert_eq!(rsa(vec![0xff; 256], &f4), None);
        assert_eq!(rsa(vec![0xff; 128], &f4), Some(Unfit::Modulus(1024)));
        assert_eq!(rsa([&[0x7f][..], &[0xff; 255]].concat(), &f4), Some(Unfit::Modulus(2047)));
        assert_eq!(rsa([&[0; 128][..], &[0xff; 128]].concat(), &f4), Some(Unfit::Modulus(2040)));
        assert_eq!(rsa([&[0][..], &[0xff; 256]].concat(), &f4), Some(Unfit::NoKey), "a leading zero");
        assert_eq!(rsa(vec![0xff; 1025], &f4), Some(Unfit::Modulus(8200)));
        assert_eq!(rsa(Vec::new(), &f4), Some(Unfit::Modulus(0)));
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
            assert_eq!(rsa(vec![0xff; 256], exponent), Some(Unfit::Exponent), "{exponent:?}");
        }
        assert_eq!(rsa(vec![0xff; 256], &[0, 1]), Some(Unfit::NoKey), "a leading zero");
        for (x, y) in [(vec![1; 32], vec![2; 32]), (vec![0; 32], vec![0; 32]), (vec![1; 31], vec![1; 33])] {
            assert_eq!(PublicKey::new(Algorithm::Es256, &Numbers::Point { x, y }).err(), Some(Unfit::NoKey));
        }
        let pair = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let cut = |at: usize| {
            let (x, y) = pair.public_key().as_ref()[1..].split_at(at);
            PublicKey::new(Algorithm::Es256, &Numbers::Point { x: x.to_vec(), y: y.to_vec() }).err()
        };
        assert_eq!((cut(31), cut(32), cut(33)), (Some(Unfit::NoKey), None, Some(Unfit::NoKey)));
        for point in [vec![1; 31], vec![1; 33], Vec::new()] {
            assert_eq!(PublicKey::new(Algorithm::EdDsa, &Numbers::Ed25519(point)).err(), Some(Unfit::NoKey));
        }
    }

    /// RFC 7520, section 4.3 (figures 27 to 30).
    #[test]
    fn the_published_p521_signature_verifies() {
        let numbers = Numbers::Point {
            x: b64("AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt"),
            y: b64("AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"),
        };
        let key = PublicKey::new(Algorithm::Es512, &numbers).unwrap();
        let message = "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.\
                       SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGU\
                       gcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2\
                       h0IGJlIHN3ZXB0IG9mZiB0by4";
        let signature = b64(
            "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAM\
             DxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2",
        );
        assert!(key.verifies(message.as_bytes(), &signature));
        assert!(!key.verifies(message.as_bytes(), &signature[..131]));
    }
}
