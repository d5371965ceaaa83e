//! Bulk content: Cobblestone-256, that is c2sp.org/chunked-encryption with SHA-512 and AES-256-GCM, over AWS-LC. A message is
//! a header (salt, key commitment) and chunks of 16 KiB, each sealed by itself, so that any range opens alone. The commitment
//! is checked before anything else, and no byte of a chunk is released before the whole chunk verified. The last chunk, and
//! only the last, is shorter than 16 KiB: a cut at any place is noticed, once the last chunk is asked for.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use zeroize::{Zeroize as _, Zeroizing};

use super::CannotOpen;
use super::hash::same;
use super::kdf::OutputLength;
use super::secret::{KEY_BYTES, Key, random_bytes};

/// Plaintext bytes in every chunk but the last, which has fewer.
pub const CHUNK: usize = 16 * 1024;
/// Bytes before the first chunk: salt and commitment.
pub const HEADER: usize = SALT + COMMITMENT;
/// Bytes that sealing adds to a chunk.
pub const TAG: usize = 16;
/// Sealed bytes in every chunk but the last.
pub const SEALED_CHUNK: usize = CHUNK + TAG;
/// The most chunks of a message: 4 PiB.
pub const MAX_CHUNKS: u64 = 1 << 38;

const SALT: usize = 24;
const COMMITMENT: usize = 32;
const NONCE: usize = 12;

/// What ties a message to the one key, salt and context that open it. Not secret: it stands in the message's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment(pub [u8; COMMITMENT]);

/// How long a message of `plain` bytes is when sealed. Beyond 4 PiB, a length that no message has.
pub fn sealed_len(plain: u64) -> u64 {
    let chunks = plain / CHUNK as u64 + 1;
    plain.saturating_add(chunks * TAG as u64).saturating_add(HEADER as u64)
}

/// How long the content of a message of `sealed` bytes is; `None` for a length that no message has.
pub fn plain_len(sealed: u64) -> Option<u64> {
    let chunks = sealed.checked_sub(HEADER as u64)?;
    let (full, last) = (chunks / SEALED_CHUNK as u64, chunks % SEALED_CHUNK as u64);
    let last = last.checked_sub(TAG as u64)?;
    (full < MAX_CHUNKS).then_some(full * CHUNK as u64 + last)
}

/// Seals a whole message.
pub fn seal(key: &Key, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let (mut sealer, header) = Sealer::new(key, context);
    let length =
        usize::try_from(sealed_len(plaintext.len() as u64)).expect("sealing adds a thousandth to what fits in memory");
    let mut sealed = Vec::with_capacity(length);
    sealed.extend_from_slice(&header);
    sealer.push(plaintext, &mut sealed);
    sealer.finish(&mut sealed);
    sealed
}

/// Opens a whole message: all of it, or nothing.
pub fn open(key: &Key, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
    let length = plain_len(sealed.len() as u64).ok_or(CannotOpen)?;
    let (header, chunks) = sealed.split_at(HEADER);
    let opener = Opener::new(key, context, header)?;
    let length = usize::try_from(length).expect("shorter than the sealed message, which is in memory");
    let mut plaintext = Zeroizing::new(Vec::with_capacity(length));
    for (index, chunk) in (0..).zip(chunks.chunks(SEALED_CHUNK)) {
        opener.chunk(index, chunk, chunk.len() < SEALED_CHUNK, &mut plaintext)?;
    }
    Ok(plaintext)
}

/// Seals a message piece by piece.
pub struct Sealer {
    message: MessageKey,
    header: [u8; HEADER],
    /// Less than a chunk, in a buffer of a chunk's size: it never grows, so it leaves nothing behind.
    pending: Zeroizing<Vec<u8>>,
    next: u64,
}

impl Sealer {
    /// Begins a message under `key`, bound to `context`. The header goes before what [`Sealer::push`] gives.
    pub fn new(key: &Key, context: &[u8]) -> (Self, [u8; HEADER]) {
        // 192 random bits: no salt comes twice, so neither does a key with a nonce (c2sp.org/chunked-encryption, "Security
        // analysis"). No caller can choose one.
        let sealer = Self::with_salt(key, context, &random_bytes());
        let header = sealer.header;
        (sealer, header)
    }

    /// The header of the message.
    pub fn header(&self) -> [u8; HEADER] {
        self.header
    }

    /// What ties the message to its key and context.
    pub fn commitment(&self) -> Commitment {
        self.message.commitment
    }

    /// Takes the next bytes of the message and appends to `out` every chunk that is now complete.
    ///
    /// # Panics
    ///
    /// Beyond 4 PiB, where the specification says to stop.
    pub fn push(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        let wanted = if self.pending.is_empty() { 0 } else { CHUNK - self.pending.len() };
        let (head, rest) = plaintext.split_at(wanted.min(plaintext.len()));
        self.pending.extend_from_slice(head);
        if self.pending.len() == CHUNK {
            self.seal_pending(out);
        }
        let mut chunks = rest.chunks_exact(CHUNK);
        for chunk in &mut chunks {
            self.seal_next(chunk, out);
        }
        self.pending.extend_from_slice(chunks.remainder());
    }

    /// Ends the message: appends the last chunk, which may be empty, to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.seal_pending(out);
    }

    /// Private, so that a salt can be chosen by nobody but [`Sealer::new`] and the test beside it.
    fn with_salt(key: &Key, context: &[u8], salt: &[u8; SALT]) -> Self {
        let message = MessageKey::derive(key, salt, context);
        let mut header = [0; HEADER];
        header[..SALT].copy_from_slice(salt);
        header[SALT..].copy_from_slice(&message.commitment.0);
        Self { message, header, pending: Zeroizing::new(Vec::with_capacity(CHUNK)), next: 0 }
    }

    fn seal_pending(&mut self, out: &mut Vec<u8>) {
        let mut pending = std::mem::take(&mut self.pending);
        self.seal_next(&pending, out);
        pending.zeroize();
        self.pending = pending;
    }

    fn seal_next(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        assert!(self.next < MAX_CHUNKS, "a message has at most 2^38 chunks");
        self.message.seal_chunk(self.next, plaintext, out);
        self.next += 1;
    }
}

/// Opens a message chunk by chunk, in any order.
pub struct Opener {
    message: MessageKey,
}

impl Opener {
    /// Takes the header of a message and checks that this key and context are the ones it commits to.
    pub fn new(key: &Key, context: &[u8], header: &[u8]) -> Result<Self, CannotOpen> {
        let (salt, commitment) = header.split_first_chunk().ok_or(CannotOpen)?;
        let message = MessageKey::derive(key, salt, context);
        if same(&message.commitment.0, commitment) { Ok(Self { message }) } else { Err(CannotOpen) }
    }

    /// What ties the message to its key and context.
    pub fn commitment(&self) -> Commitment {
        self.message.commitment
    }

    /// Opens the chunk with number `index`, which begins at `HEADER + index * SEALED_CHUNK`, and appends its plaintext to
    /// `out`; on failure `out` is as it was. `is_last` says whether the message ends with this chunk: whoever tells it false
    /// of every chunk never learns whether the message was cut.
    ///
    /// Where `out` has no room, it moves to a larger buffer and the old one is wiped.
    pub fn chunk(&self, index: u64, sealed: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), CannotOpen> {
        let may_be_last = sealed.len() < SEALED_CHUNK;
        if index >= MAX_CHUNKS || sealed.len() > SEALED_CHUNK || is_last != may_be_last {
            return Err(CannotOpen);
        }
        self.message.open_chunk(index, sealed, out)
    }
}

/// What one message is sealed with.
struct MessageKey {
    /// On AWS-LC's heap, which wipes what it frees.
    aead: LessSafeKey,
    base_nonce: [u8; NONCE],
    commitment: Commitment,
}

impl MessageKey {
    /// `key || base nonce || commitment = HKDF-Expand-SHA512(prk = input key, info = "c2sp.org/chunked-encryption@v1+" || aead
    /// || 0x00 || salt || context)` (c2sp.org/chunked-encryption, "Key derivation"; RFC 5869, section 2.3).
    /// A key of its own for every message makes counted nonces safe; the commitment lets no message open under two keys.
    fn derive(key: &Key, salt: &[u8; SALT], context: &[u8]) -> Self {
        const INFO: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
        let mut derived = Zeroizing::new([0; KEY_BYTES + NONCE + COMMITMENT]);
        hkdf::Prk::new_less_safe(hkdf::HKDF_SHA512, key.expose())
            .expand(&[INFO, salt, context], OutputLength(derived.len()))
            .and_then(|okm| okm.fill(derived.as_mut_slice()))
            .expect("76 bytes are far below what HKDF gives");
        let (aead_key, rest) = derived.split_at(KEY_BYTES);
        let (base_nonce, commitment) = rest.split_at(NONCE);
        Self {
            aead: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, aead_key).expect("AES-256 takes 32 bytes")),
            base_nonce: base_nonce.try_into().expect("cut to this length"),
            commitment: Commitment(commitment.try_into().expect("cut to this length")),
        }
    }

    /// `nonce = base nonce XOR chunk number`, the number big-endian and as wide (c2sp.org/chunked-encryption, "AEAD usage").
    /// Every chunk has its own place: none can stand for another.
    fn nonce(&self, index: u64) -> Nonce {
        let mut nonce = self.base_nonce;
        for (byte, counter) in nonce[NONCE - size_of::<u64>()..].iter_mut().zip(index.to_be_bytes()) {
            *byte ^= counter;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// `ciphertext || tag = AES-256-GCM(key, nonce, aad = "", plaintext)` (NIST SP 800-38D, section 7.1), in the place where
    /// the ciphertext will stay: no copy of the plaintext to wipe.
    fn seal_chunk(&self, index: u64, plaintext: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(plaintext);
        let tag = self.aead.seal_in_place_separate_tag(self.nonce(index), Aad::empty(), &mut out[start..]);
        out.extend_from_slice(tag.expect("a chunk is far shorter than GCM's limit").as_ref());
    }

    /// `plaintext = AES-256-GCM^-1(key, nonce, aad = "", ciphertext, tag)` (NIST SP 800-38D, section 7.2), in place. AWS-LC
    /// decrypts while it authenticates, so where the tag is wrong the place is wiped and cut off again.
    fn open_chunk(&self, index: u64, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), CannotOpen> {
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG>().ok_or(CannotOpen)?;
        let start = out.len();
        make_room(out, ciphertext.len());
        out.extend_from_slice(ciphertext);
        let nonce = self.nonce(index);
        if self.aead.open_in_place_separate_tag(nonce, Aad::empty(), tag, &mut out[start..]).is_err() {
            out[start..].zeroize();
            out.truncate(start);
            return Err(CannotOpen);
        }
        Ok(())
    }
}

/// Room for `more` bytes in a buffer of plaintext. `Vec` would free the smaller buffer with its content in it.
fn make_room(buffer: &mut Vec<u8>, more: usize) {
    if buffer.capacity() - buffer.len() < more {
        let mut larger = Vec::with_capacity((buffer.len() + more).max(2 * buffer.capacity()));
        larger.extend_from_slice(buffer);
        buffer.zeroize();
        *buffer = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wycheproof's Cobblestone-256 case 9. All others are opened by the promise tests; this one is also sealed, which takes
    /// its salt.
    #[test]
    fn a_published_message_is_sealed_bit_by_bit() {
        let hex = "dbedaefc1c35dc6c0f22b743b03e488747166a51f33479e7ceb8b7e11cc0d2710f624a127501bc4aea7d0af6f83cfe359b9e6941\
                   5aa537f36adf86eb35b070475baa039bb7791432adbca49578bbd3";
        let sealed: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let key = Key::copy_of(b"YELLOW SUBMARINE YELLOW SUBMARIN");
        let mut sealer = Sealer::with_salt(&key, b"test context", sealed.first_chunk().unwrap());
        let mut out = sealer.header().to_vec();
        sealer.push(b"chunked", &mut out);
        sealer.finish(&mut out);
        assert_eq!(out, sealed);
    }

    #[test]
    fn lengths_go_there_and_back_and_no_other_length_is_a_message() {
        const FULL: u64 = SEALED_CHUNK as u64;
        for plain in (0..70_000).chain([(MAX_CHUNKS * CHUNK as u64) - 1]) {
            assert_eq!(plain_len(sealed_len(plain)), Some(plain));
        }
        let known = (0..70_000).map(sealed_len).collect::<std::collections::BTreeSet<_>>();
        assert!((0..4 * FULL).all(|sealed| plain_len(sealed).is_some() == known.contains(&sealed)));
        assert!([MAX_CHUNKS * CHUNK as u64, u64::MAX].into_iter().all(|plain| plain_len(sealed_len(plain)).is_none()));
    }
}
