//! Plain hashes, and comparing bytes without telling where they differ. Nothing personal or secret is ever named by a plain
//! hash: that is what [`pseudonym`](super::pseudonym) is for.

use aws_lc_rs::digest;
use subtle::ConstantTimeEq as _;

/// The length of a SHA-256 hash.
pub const SHA256_BYTES: usize = 32;

/// SHA-256 (FIPS 180-4) of `data`.
pub fn sha256(data: &[u8]) -> [u8; SHA256_BYTES] {
    fixed(digest::digest(&digest::SHA256, data))
}

/// SHA-256 (FIPS 180-4) of data that comes piece by piece.
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Begins with no data.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// The next piece.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The hash of all pieces.
    pub fn finish(self) -> [u8; SHA256_BYTES] {
        fixed(self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether `a` and `b` are the same bytes, in a time that tells only whether their lengths are.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn fixed(digest: digest::Digest) -> [u8; SHA256_BYTES] {
    *digest.as_ref().first_chunk().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's example "abc".
    #[test]
    fn whole_and_in_pieces_give_the_published_hash() {
        let mut pieces = Sha256::new();
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(
            sha256(b"abc"),
            [
                0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0,
                0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad
            ]
        );
        assert_eq!(pieces.finish(), sha256(b"abc"));
    }
}
