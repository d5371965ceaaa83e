//! Checkpoints: signed statements of how large the log is and what its root is, as C2SP writes them (c2sp.org/signed-note,
//! c2sp.org/tlog-checkpoint), so that existing tools and witnesses can check them.
//!
//! ```text
//! <origin>
//! <size>
//! <root hash, base64>
//!
//! — <origin> <key id and signature, base64>
//! ```
//!
//! A verifier's key is written as `<name>+<key id, hexadecimal>+<type and public key, base64>`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::merkle::Hash;
use crate::crypto::hash::sha256;
use crate::crypto::sign::{self, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey};
use crate::domain::codec::{hex, unhex};

/// The type byte of Ed25519 keys (c2sp.org/signed-note).
const ED25519: u8 = 1;
const KEY_ID_BYTES: usize = 4;
/// The longest name that is accepted; ours are far shorter.
const MAX_NAME_BYTES: usize = 256;
/// The most signatures that are looked at.
const MAX_SIGNATURES: usize = 64;
/// How a line with a signature begins: an em dash and a space.
const SIGNATURE_LINE: &str = "\u{2014} ";

/// The name of a log and of the keys that sign it: not empty, without spaces and `+`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// Parses a name.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        (!text.is_empty() && text.len() <= MAX_NAME_BYTES && text.chars().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A public key of a log, with the name under which it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    /// The name.
    pub name: Origin,
    /// The key.
    pub public: [u8; PUBLIC_KEY_BYTES],
}

impl VerifierKey {
    /// Reads what `Display` writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '+');
        let (name, id, key) = (Origin::parse(parts.next()?)?, unhex(parts.next()?)?, parts.next()?);
        let key = BASE64.decode(key).ok()?;
        let (ED25519, public) = key.split_first().map(|(of, key)| (*of, key))? else { return None };
        let key = Self { name, public: public.try_into().ok()? };
        (key.id() == id).then_some(key)
    }

    /// What names the key in a signature.
    fn id(&self) -> [u8; KEY_ID_BYTES] {
        let named = [self.name.as_str().as_bytes(), b"\n", &[ED25519], &self.public].concat();
        *sha256(&named).first_chunk().expect("a hash is longer than four bytes")
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519][..], &self.public].concat();
        write!(f, "{}+{}+{}", self.name.as_str(), hex(&self.id()), BASE64.encode(key))
    }
}

/// How large a log is, and what its root is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub origin: Origin,
    /// How many entries it has.
    pub size: u64,
    /// The root of their Merkle tree.
    pub root: Hash,
}

/// A signed checkpoint that cannot be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is not written as one.
    #[error("it is not a signed checkpoint (c2sp.org/tlog-checkpoint)")]
    Malformed,
    /// None of the keys signed it.
    #[error(
        "none of the given keys has signed it: it was changed, or it is of another log, or an older or newer key is needed"
    )]
    NotSigned,
}

impl Checkpoint {
    /// The signed note.
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.to_string();
        let signature = key.sign(text.as_bytes());
        let by = VerifierKey { name: self.origin.clone(), public: *key.public() };
        let signed = BASE64.encode([&by.id()[..], &signature].concat());
        format!("{text}\n{SIGNATURE_LINE}{} {signed}\n", self.origin.as_str())
    }

    /// Reads a signed note, and checks that one of `keys` signed it under the log's name.
    pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Self, NoteError> {
        let (text, signatures) = note.split_once("\n\n").ok_or(NoteError::Malformed)?;
        let text = format!("{text}\n");
        let checkpoint = Self::parse(&text).ok_or(NoteError::Malformed)?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let mut is_signed = false;
        for (number, line) in signatures.split('\n').enumerate() {
            let signature = Signature::parse(line).filter(|_| number < MAX_SIGNATURES).ok_or(NoteError::Malformed)?;
            let known = keys.iter().find(|key| key.name.as_str() == signature.name && key.id() == signature.key_id);
            let Some(key) = known.filter(|key| key.name == checkpoint.origin) else { continue };
            if !sign::verifies(&key.public, text.as_bytes(), &signature.bytes) {
                return Err(NoteError::NotSigned);
            }
            is_signed = true;
        }
        is_signed.then_some(checkpoint).ok_or(NoteError::NotSigned)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = Origin::parse(lines.next()?)?;
        let size = parse_decimal(lines.next()?)?;
        let root = decode_hash(lines.next()?)?;
        lines.next().is_none().then_some(Self { origin, size, root })
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin.as_str(), self.size, BASE64.encode(self.root))
    }
}

struct Signature<'a> {
    name: &'a str,
    key_id: [u8; KEY_ID_BYTES],
    bytes: Vec<u8>,
}

impl<'a> Signature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, signed) = line.strip_prefix(SIGNATURE_LINE)?.split_once(' ')?;
        Origin::parse(name)?;
        let signed = BASE64.decode(signed).ok()?;
        let (key_id, bytes) = signed.split_first_chunk()?;
        (!bytes.is_empty() && signed.len() <= 16 * SIGNATURE_BYTES).then(|| Self {
            name,
            key_id: *key_id,
            bytes: bytes.to_vec(),
        })
    }
}

/// A number in decimal, written in the one way.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A hash in base64.
pub(super) fn decode_hash(text: &str) -> Option<Hash> {
    BASE64.decode(text).ok()?.try_into().ok()
}
