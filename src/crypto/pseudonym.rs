//! Keyed hashes: those that find things without naming them, and those that authenticate. Without the index key a pseudonym can be neither computed nor tested
//! against a guess; nothing leads back from it.

use aws_lc_rs::hmac;

use super::framing::framed;
use super::secret::Key;

/// The length of a pseudonym. At 128 bits two of 2^40 names collide with a chance of 2^-49.
pub const PSEUDONYM_BYTES: usize = 16;
/// The length of a tag.
pub const TAG_BYTES: usize = 32;

/// The pseudonym of the thing that `parts` name, in the field (the kind of index) `field`.
///
/// `HMAC-SHA256(index key, framed(field, parts))[..16]` (RFC 2104; truncation by its section 5). A plain hash of a customer
/// id could be found by trying all ids; a keyed one cannot.
pub fn blind(index_key: &Key, field: &str, parts: &[&[u8]]) -> [u8; PSEUDONYM_BYTES] {
    *tag(index_key, field, parts).first_chunk().expect("a tag is longer than a pseudonym")
}

/// The whole of it, where it authenticates and does not name: `HMAC-SHA256(key, framed(field, parts))`.
pub fn tag(key: &Key, field: &str, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
    let tag = hmac::sign(&key, &framed(field.as_bytes(), parts));
    *tag.as_ref().first_chunk().expect("HMAC-SHA256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer is from Python's `hmac` and `struct` modules.
    #[test]
    fn a_pseudonym_is_the_first_half_of_an_hmac_over_framed_parts() {
        let key = Key::copy_of(&[7; 32]);
        assert_eq!(
            blind(&key, "customer", &[b"acme", b"c-1"]),
            [0xa5, 0x0a, 0x15, 0x41, 0x08, 0x0f, 0xcf, 0xec, 0xc1, 0x41, 0xde, 0x2c, 0x59, 0x10, 0x71, 0x89]
        );
        assert_ne!(blind(&key, "customer", &[b"acmec", b"-1"]), blind(&key, "customer", &[b"acme", b"c-1"]));
        assert_ne!(blind(&key, "case", &[b"acme", b"c-1"]), blind(&key, "customer", &[b"acme", b"c-1"]));
    }
}
