//! One key for each use: HKDF-SHA256. It turns one secret into keys that tell nothing of each other or of the secret; it never
//! stretches passwords.

use aws_lc_rs::hkdf;

use super::framing::framed;
use super::secret::Key;

/// More output asked for than HKDF-SHA256 gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HKDF-SHA256 gives at most 8160 bytes; ask for less, or derive a second time under another label")]
pub struct TooLong;

/// The key for the use `label` and the things named by `parts`, derived from `secret`.
///
/// `HKDF-SHA256(salt = "", ikm = secret, info = framed(label, parts))` (RFC 5869). The secret is uniformly random, so no
/// salt is needed (section 3.1); the framing keeps ("ab", "c") apart from ("a", "bc").
pub fn derive(secret: &Key, label: &str, parts: &[&[u8]]) -> Key {
    let info = framed(label.as_bytes(), parts);
    Key::fill_with(|out| {
        hkdf_sha256(&[], secret.expose(), &info, out).expect("one key is shorter than what HKDF gives");
    })
}

/// `out = HKDF-Expand(PRK = HKDF-Extract(salt, ikm), info, len(out))` with HMAC-SHA256 (RFC 5869, sections 2.2 and 2.3).
/// AWS-LC does both in one call and wipes the PRK itself. On failure nothing is written.
pub fn hkdf_sha256(salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), TooLong> {
    let length = OutputLength(out.len());
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(ikm);
    prk.expand(&[info], length).map_err(|_| TooLong)?.fill(out).expect("the length asked for is that of the buffer");
    Ok(())
}

/// How many bytes an expansion gives.
pub(super) struct OutputLength(pub(super) usize);

impl hkdf::KeyType for OutputLength {
    fn len(&self) -> usize {
        self.0
    }
}
