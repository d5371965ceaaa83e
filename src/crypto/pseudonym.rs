//! Blinding names: HMAC-SHA256 (RFC 2104) under an index key, so that a name can be found again and not be read.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::framed;
use super::secret::Key;

/// The first 16 bytes of `HMAC-SHA256(index key, framed(field) ‖ framed(part) ...)`.
///
/// 128 bits: among 2^40 names of a tenant, two meet with a chance of 2^-49.
pub fn blind(index_key: &Key, field: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = Hmac::<Sha256>::new_from_slice(index_key.expose()).expect("HMAC takes keys of any length");
    std::iter::once(field.as_bytes())
        .chain(parts.iter().copied())
        .for_each(|part| framed(part, |bytes| mac.update(bytes)));
    let full = mac.finalize().into_bytes();
    full[..16].try_into().expect("HMAC-SHA256 gives 32 bytes")
}
