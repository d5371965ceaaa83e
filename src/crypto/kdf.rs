//! Deriving one key per use from a secret: HKDF-SHA256 (RFC 5869).

use hkdf::Hkdf;
use sha2::Sha256;

use super::framed;
use super::secret::Key;

/// More output was asked for than HKDF gives: 255 times the hash's length (RFC 5869, 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HKDF-SHA256 gives at most 8,160 bytes")]
pub struct TooLong;

/// `HKDF-SHA256(salt = none, ikm = secret, info = framed(label) ‖ framed(part) ...)`, 32 bytes.
///
/// Label and parts are length-framed, so that no two uses share an info.
pub fn derive(secret: &Key, label: &str, parts: &[&[u8]]) -> Key {
    let mut info = Vec::with_capacity(128);
    std::iter::once(label.as_bytes())
        .chain(parts.iter().copied())
        .for_each(|part| framed(part, |bytes| info.extend_from_slice(bytes)));
    Key::fill_with(|key| {
        hkdf_sha256(&[], secret.expose(), &info, key).expect("32 bytes are within HKDF's output");
    })
}

/// `okm = HKDF-SHA256(salt, ikm, info)`, filling `okm` (RFC 5869).
pub fn hkdf_sha256(salt: &[u8], ikm: &[u8], info: &[u8], okm: &mut [u8]) -> Result<(), TooLong> {
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, okm).map_err(|_| TooLong)
}
