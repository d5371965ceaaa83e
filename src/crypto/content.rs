//! Sealing content as Cobblestone-256: <https://c2sp.org/chunked-encryption>.
//!
//! ```text
//! key (32) ‖ base nonce (12) ‖ commitment (32) =
//!     HKDF-Expand-SHA512(input key, "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM" ‖ 0x00 ‖ salt ‖ context)
//! sealed = salt (24) ‖ commitment (32) ‖ chunk 0 ‖ chunk 1 ...
//! chunk i = AES-256-GCM(key, base nonce XOR i, 16 KiB of plaintext; the last chunk less, perhaps none)
//! ```
//!
//! The commitment is checked before anything else, so a message opens under one key only; nothing of a chunk is given out before its
//! tag verifies; a message cut at a chunk's end is known by its last chunk, which must be short.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hkdf::Hkdf;
use sha2::Sha512;
use zeroize::{Zeroize as _, Zeroizing};

use super::CannotOpen;
use super::hash::same;
use super::secret::{Key, random_bytes};

/// Plaintext bytes in every chunk but the last.
pub const CHUNK: usize = 16 * 1024;
/// Bytes that the tag adds to a chunk.
pub const TAG: usize = 16;
/// Sealed bytes of every chunk but the last.
pub const SEALED_CHUNK: usize = CHUNK + TAG;
/// Bytes before the first chunk: salt and commitment.
pub const HEADER: usize = SALT + 32;

const SALT: usize = 24;
const INFO_PREFIX: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
/// The specification's limit on chunks of one message.
const MAX_CHUNKS: u64 = 1 << 38;

/// Tells which key and context a message was sealed under, and nothing else about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment(pub [u8; 32]);

/// The length of `plain` bytes when sealed.
pub fn sealed_len(plain: u64) -> u64 {
    HEADER as u64 + plain + (plain / CHUNK as u64 + 1) * TAG as u64
}

/// The length of the plaintext in `sealed` bytes; `None` for a length that no message has.
pub fn plain_len(sealed: u64) -> Option<u64> {
    let body = sealed.checked_sub(HEADER as u64)?;
    let last = (body % SEALED_CHUNK as u64).checked_sub(TAG as u64)?;
    Some(body / SEALED_CHUNK as u64 * CHUNK as u64 + last)
}

/// Seals a whole message.
pub fn seal(key: &Key, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    seal_with(Sealer::new(key, context), plaintext)
}

/// Seals a whole message with a sealer that has taken nothing yet.
pub fn seal_with(mut sealer: Sealer, plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(usize::try_from(sealed_len(plaintext.len() as u64)).unwrap_or(0));
    sealed.extend_from_slice(&sealer.header());
    sealer.push(plaintext, &mut sealed);
    sealer.finish(&mut sealed);
    sealed
}

/// Opens a whole message.
pub fn open(key: &Key, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
    let length = plain_len(sealed.len() as u64).ok_or(CannotOpen)?;
    let opener = Opener::new(key, context, &sealed[..HEADER])?;
    // Room for one tag more than the plaintext: chunks are opened in place.
    let room = usize::try_from(length).map_err(|_| CannotOpen)? + SEALED_CHUNK;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(room));
    let mut rest = &sealed[HEADER..];
    for index in 0.. {
        let (chunk, tail) = rest.split_at(rest.len().min(SEALED_CHUNK));
        let is_last = chunk.len() < SEALED_CHUNK;
        opener.chunk(index, chunk, is_last, &mut plaintext)?;
        if is_last {
            break;
        }
        rest = tail;
    }
    Ok(plaintext)
}

/// Seals a message that comes bit by bit.
pub struct Sealer {
    salt: [u8; SALT],
    keys: MessageKeys,
    pending: Zeroizing<Vec<u8>>,
    index: u64,
}

impl Sealer {
    /// Begins a message under a fresh random salt.
    pub fn new(key: &Key, context: &[u8]) -> Self {
        let salt = random_bytes();
        let keys = MessageKeys::derive(key, &salt, context);
        Self { salt, keys, pending: Zeroizing::new(Vec::with_capacity(SEALED_CHUNK)), index: 0 }
    }

    /// What stands before the first chunk.
    pub fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..SALT].copy_from_slice(&self.salt);
        header[SALT..].copy_from_slice(&self.keys.commitment.0);
        header
    }

    /// The message's commitment.
    pub fn commitment(&self) -> Commitment {
        self.keys.commitment
    }

    /// Takes the next plaintext, and appends the chunks that are full to `out`.
    pub fn push(&mut self, mut plaintext: &[u8], out: &mut Vec<u8>) {
        while self.pending.len() + plaintext.len() >= CHUNK {
            let (head, tail) = plaintext.split_at(CHUNK - self.pending.len());
            self.pending.extend_from_slice(head);
            self.seal_pending(out);
            plaintext = tail;
        }
        self.pending.extend_from_slice(plaintext);
    }

    /// Appends the last, short chunk to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.seal_pending(out);
    }

    fn seal_pending(&mut self, out: &mut Vec<u8>) {
        assert!(self.index < MAX_CHUNKS, "a message is far below 4 PiB");
        let nonce = self.keys.nonce(self.index);
        let tag = self
            .keys
            .cipher
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut self.pending)
            .expect("AES-GCM seals a chunk of 16 KiB");
        out.extend_from_slice(&self.pending);
        out.extend_from_slice(tag.as_ref());
        self.pending.clear();
        self.index += 1;
    }
}

/// Opens the chunks of a message, in any order.
pub struct Opener {
    keys: MessageKeys,
}

impl Opener {
    /// Checks the commitment in a message's header.
    pub fn new(key: &Key, context: &[u8], header: &[u8]) -> Result<Self, CannotOpen> {
        let (salt, commitment) = header.split_at_checked(SALT).ok_or(CannotOpen)?;
        let keys = MessageKeys::derive(key, salt.try_into().map_err(|_| CannotOpen)?, context);
        if same(&keys.commitment.0, commitment) { Ok(Self { keys }) } else { Err(CannotOpen) }
    }

    /// The message's commitment.
    pub fn commitment(&self) -> Commitment {
        self.keys.commitment
    }

    /// Opens chunk `index` and appends its plaintext to `out`; on failure `out` is as before. The last chunk is the one that is short.
    pub fn chunk(&self, index: u64, sealed: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), CannotOpen> {
        let has_right_length =
            if is_last { (TAG..SEALED_CHUNK).contains(&sealed.len()) } else { sealed.len() == SEALED_CHUNK };
        if !has_right_length || index >= MAX_CHUNKS {
            return Err(CannotOpen);
        }
        let start = out.len();
        out.extend_from_slice(sealed);
        let opened = self.keys.cipher.open_in_place(self.keys.nonce(index), Aad::empty(), &mut out[start..]);
        let length = opened.map(|plaintext| plaintext.len()).map_err(|_| CannotOpen);
        if length.is_err() {
            out[start..].zeroize();
        }
        out.truncate(start + length.unwrap_or(0));
        length.map(|_| ())
    }
}

struct MessageKeys {
    cipher: LessSafeKey,
    base_nonce: [u8; 12],
    commitment: Commitment,
}

impl MessageKeys {
    fn derive(input: &Key, salt: &[u8; SALT], context: &[u8]) -> Self {
        let mut okm = Zeroizing::new([0; 32 + 12 + 32]);
        Hkdf::<Sha512>::from_prk(&extended(input)[..])
            .expect("the key is as long as the hash")
            .expand_multi_info(&[INFO_PREFIX, salt, context], &mut okm[..])
            .expect("76 bytes are within HKDF's output");
        let cipher = UnboundKey::new(&AES_256_GCM, &okm[..32]).expect("AES-256 takes 32 bytes");
        Self {
            cipher: LessSafeKey::new(cipher),
            base_nonce: okm[32..44].try_into().expect("12 bytes"),
            commitment: Commitment(okm[44..].try_into().expect("32 bytes")),
        }
    }

    /// The base nonce XOR the index of the chunk, as a big-endian integer of 96 bits.
    fn nonce(&self, index: u64) -> Nonce {
        let mut nonce = self.base_nonce;
        nonce[4..].iter_mut().zip(index.to_be_bytes()).for_each(|(byte, counter)| *byte ^= counter);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The input key with zeros up to the length of SHA-512's output. The `hkdf` crate wants a pseudo-random key of at least that length, and HMAC
/// pads a shorter key with zeros (RFC 2104, 2), so both give the same.
fn extended(input: &Key) -> Zeroizing<[u8; 64]> {
    let mut prk = Zeroizing::new([0; 64]);
    prk[..32].copy_from_slice(input.expose());
    prk
}
