//! The only room that names ciphers. Few calls, each with its formula and its source.
//!
//! Keys are wrapped with AES-256-GCM ([`key_wrap`]), derived with HKDF-SHA256 ([`kdf`]), content is sealed as Cobblestone-256
//! ([`content`]), names are blinded with HMAC-SHA256 ([`pseudonym`]). This room knows nothing of records, trees or files, and all
//! its failures to open look alike.

pub mod content;
pub mod hash;
pub mod kdf;
pub mod key_wrap;
pub mod pseudonym;
pub mod secret;

/// Sealed bytes do not open: damaged, cut short, or not sealed under this key in this place. Which of these is never told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed data cannot be opened: it is damaged, or was not sealed under this key in this place")]
pub struct CannotOpen;

/// Writes `part` with its length in front, so that no two lists of parts give the same bytes.
fn framed(part: &[u8], mut write: impl FnMut(&[u8])) {
    let length = u32::try_from(part.len()).expect("parts of a context are short");
    write(&length.to_be_bytes());
    write(part);
}
