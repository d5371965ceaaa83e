//! Signatures: Ed25519 (RFC 8032), by `aws-lc-rs`. They are deterministic: the same key gives the same bytes for the same message.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::secret::Key;

/// The length of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// The length of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A key that signs. `Debug` prints a fixed word.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: [u8; PUBLIC_KEY_BYTES],
}

impl SigningKey {
    /// The key of a seed (RFC 8032's private key); any 32 bytes are one.
    pub fn from_seed(seed: &Key) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("a seed of 32 bytes is a key");
        let public = *pair.public_key().as_ref().first_chunk().expect("a public key has 32 bytes");
        Self { pair, public }
    }

    /// The public key.
    pub fn public(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        *self.pair.sign(message).as_ref().first_chunk().expect("a signature has 64 bytes")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// Whether `signature` is that of `message` under `public`.
pub fn verifies(public: &[u8; PUBLIC_KEY_BYTES], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn the_published_signature_comes_out_and_no_changed_one_passes() {
        let seed = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SigningKey::from_seed(&Key::copy_of(&seed));
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(key.public(), &unhex(public));
        let signature = key.sign(&[0x72]);
        assert_eq!(signature, unhex::<64>(expected));
        assert!(verifies(key.public(), &[0x72], &signature));
        for place in 0..SIGNATURE_BYTES {
            let mut changed = signature;
            changed[place] ^= 1;
            assert!(!verifies(key.public(), &[0x72], &changed));
        }
        assert!(!verifies(key.public(), &[0x73], &signature) && !verifies(key.public(), &[0x72], &signature[..63]));
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }
}
