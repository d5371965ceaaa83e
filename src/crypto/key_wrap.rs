//! Wrapping keys and pages of keys: AES-256-GCM (NIST SP 800-38D) with a random nonce.
//!
//! `sealed = nonce (12) ‖ AES-256-GCM(key, nonce, plaintext, associated data) ‖ tag (16)`.
//!
//! Random 96-bit nonces are safe for 2^32 messages under one key (SP 800-38D, 8.3); a page is rewritten far less often, and gets
//! a fresh key at every erasure on its path. `aes-gcm` is used here because it wipes its key schedule.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use zeroize::{Zeroize as _, Zeroizing};

use super::CannotOpen;
use super::secret::{Key, random_bytes};

const NONCE: usize = 12;
const TAG: usize = 16;

/// How many bytes sealing adds.
pub const OVERHEAD: usize = NONCE + TAG;
/// The length of a wrapped key.
pub const WRAPPED_KEY: usize = 32 + OVERHEAD;

/// Seals `plaintext`, bound to `associated_data`.
pub fn seal(key: &Key, associated_data: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce = random_bytes::<NONCE>();
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let tag = cipher(key)
        .encrypt_inout_detached(&Nonce::from(nonce), associated_data, (&mut sealed[NONCE..]).into())
        .expect("AES-GCM seals up to 64 GiB");
    sealed.extend_from_slice(&tag);
    sealed
}

/// Opens what [`seal`] made.
pub fn open(key: &Key, associated_data: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
    let body = sealed.len().checked_sub(OVERHEAD).ok_or(CannotOpen)?;
    let mut plaintext = Zeroizing::new(sealed[NONCE..NONCE + body].to_vec());
    open_in_place(key, associated_data, sealed, &mut plaintext)?;
    Ok(plaintext)
}

/// Wraps a key, bound to `associated_data`.
pub fn wrap(key: &Key, associated_data: &[u8], inner: &Key) -> [u8; WRAPPED_KEY] {
    let sealed = seal(key, associated_data, inner.expose());
    sealed.try_into().expect("a sealed key has this length")
}

/// Unwraps what [`wrap`] made, straight into the key's own memory.
pub fn unwrap(key: &Key, associated_data: &[u8], wrapped: &[u8]) -> Result<Key, CannotOpen> {
    if wrapped.len() != WRAPPED_KEY {
        return Err(CannotOpen);
    }
    let mut outcome = Ok(());
    let inner = Key::fill_with(|inner| {
        inner.copy_from_slice(&wrapped[NONCE..NONCE + 32]);
        outcome = open_in_place(key, associated_data, wrapped, inner);
    });
    outcome.map(|()| inner)
}

/// Opens the ciphertext in `body`, with the nonce and tag of `sealed`. A failed tag leaves no plaintext behind
/// (RUSTSEC-2023-0096): the body is wiped.
fn open_in_place(key: &Key, associated_data: &[u8], sealed: &[u8], body: &mut [u8]) -> Result<(), CannotOpen> {
    let nonce: [u8; NONCE] = sealed[..NONCE].try_into().map_err(|_| CannotOpen)?;
    let tag: [u8; TAG] = sealed[sealed.len() - TAG..].try_into().map_err(|_| CannotOpen)?;
    let opened =
        cipher(key).decrypt_inout_detached(&Nonce::from(nonce), associated_data, (&mut *body).into(), &Tag::from(tag));
    opened.map_err(|_| {
        body.zeroize();
        CannotOpen
    })
}

fn cipher(key: &Key) -> Aes256Gcm {
    Aes256Gcm::new(key.expose().into())
}
