//! Small secrets under other keys: wrapped keys, pages of the key tree, sealed rows. AES-256-GCM with a random nonce, by the
//! `aes-gcm` crate, which wipes its key schedule. It never seals bulk content and never takes a nonce from a caller.

use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _, Nonce, Tag};
use zeroize::Zeroizing;

use super::CannotOpen;
use super::secret::{KEY_BYTES, Key, random_bytes};

/// How much longer sealed data is: a nonce of 12 bytes before it, a tag of 16 behind it.
pub const OVERHEAD: usize = NONCE + TAG;
/// The length of a wrapped key.
pub const WRAPPED_KEY: usize = KEY_BYTES + OVERHEAD;

const NONCE: usize = 12;
const TAG: usize = 16;

/// Seals `plaintext` under `key`, bound to `aad`, which must be given again to open it.
pub fn seal(key: &Key, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    // All the room at once: a buffer that grew would leave plaintext behind.
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
    sealed.extend_from_slice(&random_bytes::<NONCE>());
    sealed.extend_from_slice(plaintext);
    let (nonce, text) = sealed.split_first_chunk_mut().expect("the nonce was just put in front");
    let tag = encrypt(key, nonce, aad, text);
    sealed.extend_from_slice(&tag);
    sealed
}

/// Opens what [`seal`] gave. Where it does not open, no plaintext is left anywhere.
pub fn open(key: &Key, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
    let Parts { nonce, text, tag } = Parts::of(sealed)?;
    let mut plaintext = Zeroizing::new(text.to_vec());
    decrypt(key, nonce, aad, &mut plaintext, tag)?;
    Ok(plaintext)
}

/// Seals the key `inner` under `key`, bound to `aad`. The same format as [`seal`] gives, of fixed length.
pub fn wrap(key: &Key, aad: &[u8], inner: &Key) -> [u8; WRAPPED_KEY] {
    let mut wrapped = [0; WRAPPED_KEY];
    wrapped[..NONCE].copy_from_slice(&random_bytes::<NONCE>());
    wrapped[NONCE..NONCE + KEY_BYTES].copy_from_slice(inner.expose());
    let (nonce, text) = wrapped.split_first_chunk_mut().expect("a wrapped key is longer than a nonce");
    let tag = encrypt(key, nonce, aad, &mut text[..KEY_BYTES]);
    wrapped[NONCE + KEY_BYTES..].copy_from_slice(&tag);
    wrapped
}

/// Opens what [`wrap`] gave, straight into the place where the key will stay.
pub fn unwrap(key: &Key, aad: &[u8], wrapped: &[u8]) -> Result<Key, CannotOpen> {
    let Parts { nonce, text, tag } = Parts::of(wrapped)?;
    let text: &[u8; KEY_BYTES] = text.try_into().map_err(|_| CannotOpen)?;
    Key::try_fill_with(|inner| {
        inner.copy_from_slice(text);
        decrypt(key, nonce, aad, inner, tag)
    })
}

/// `sealed = nonce || text || tag`
struct Parts<'a> {
    nonce: &'a [u8; NONCE],
    text: &'a [u8],
    tag: &'a [u8; TAG],
}

impl<'a> Parts<'a> {
    fn of(sealed: &'a [u8]) -> Result<Self, CannotOpen> {
        let (nonce, rest) = sealed.split_first_chunk().ok_or(CannotOpen)?;
        let (text, tag) = rest.split_last_chunk().ok_or(CannotOpen)?;
        Ok(Self { nonce, text, tag })
    }
}

/// `ciphertext, tag = AES-256-GCM(key, nonce, aad, text)`, in place (NIST SP 800-38D, section 7.1).
/// The nonce is 96 random bits (8.2.2), so a key may seal 2^32 times (8.3): far more often than a page is written, or a
/// customer has records.
fn encrypt(key: &Key, nonce: &[u8; NONCE], aad: &[u8], text: &mut [u8]) -> [u8; TAG] {
    let nonce: &Nonce<_> = nonce.into();
    let tag = Aes256Gcm::new(key.expose().into()).encrypt_inout_detached(nonce, aad, text.into());
    tag.expect("sealed things are far shorter than GCM's limit of 64 GiB").into()
}

/// `text = AES-256-GCM^-1(key, nonce, aad, ciphertext, tag)`, in place (NIST SP 800-38D, section 7.2).
/// The tag is compared before a byte is decrypted: on failure `text` still holds ciphertext (compare RUSTSEC-2023-0096).
fn decrypt(key: &Key, nonce: &[u8; NONCE], aad: &[u8], text: &mut [u8], tag: &[u8; TAG]) -> Result<(), CannotOpen> {
    let (nonce, tag): (&Nonce<_>, &Tag<_>) = (nonce.into(), tag.into());
    Aes256Gcm::new(key.expose().into()).decrypt_inout_detached(nonce, aad, text.into(), tag).map_err(|_| CannotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RUSTSEC-2023-0096: a crate that decrypted first and compared the tag afterwards left the plaintext with the caller.
    #[test]
    fn a_failed_tag_leaves_ciphertext_in_the_buffer() {
        let key = Key::random();
        let sealed = seal(&key, b"row", b"what the customer said");
        let Parts { nonce, text, tag } = Parts::of(&sealed).unwrap();
        let mut buffer = text.to_vec();
        assert_eq!(decrypt(&key, nonce, b"another row", &mut buffer, tag), Err(CannotOpen));
        assert_eq!(buffer, text);
    }
}
