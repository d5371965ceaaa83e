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
//! A verifier's key is written as `<name>+<key id, hexadecimal>+<type and public key, base64>`. Its type tells what it signs: the log's
//! keys the text as it is, those of witnesses the text and a time ([`cosignature`](super::cosignature)).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::merkle::Hash;
use crate::crypto::hash::sha256;
use crate::crypto::sign::{self, PUBLIC_KEY_BYTES, SigningKey};
use crate::domain::codec::{hex, unhex};

/// The type byte of Ed25519 keys (c2sp.org/signed-note).
const ED25519: u8 = 1;
const KEY_ID_BYTES: usize = 4;
/// The longest name that is accepted; ours are far shorter.
const MAX_NAME_BYTES: usize = 256;
/// The longest note that should be read: room for 16 of the longest signatures, and more.
pub const MAX_NOTE_BYTES: usize = 256 * 1024;
/// The most signatures that are looked at.
pub(super) const MAX_SIGNATURES: usize = 64;
/// The longest signature that is read over, with the id of its key: those that withstand quantum computers have up to 5 KB.
const MAX_SIGNATURE_BYTES: usize = 8 * 1024;
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
        parse_key(text, ED25519).map(|(name, public)| Self { name, public })
    }

    /// What names the key in a signature.
    pub(super) fn id(&self) -> KeyId {
        key_id(&self.name, ED25519, &self.public)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, &self.name, ED25519, &self.public)
    }
}

/// What names a key in a signature: the beginning of a hash over its name, type and public key.
pub(super) type KeyId = [u8; KEY_ID_BYTES];

/// The id of an Ed25519 key that signs in the way `of_type`.
pub(super) fn key_id(name: &Origin, of_type: u8, public: &[u8; PUBLIC_KEY_BYTES]) -> KeyId {
    let named = [name.as_str().as_bytes(), b"\n", &[of_type], public].concat();
    *sha256(&named).first_chunk().expect("a hash is longer than four bytes")
}

/// Reads an Ed25519 key that signs in the way `of_type`; `None` for anything else.
pub(super) fn parse_key(text: &str, of_type: u8) -> Option<(Origin, [u8; PUBLIC_KEY_BYTES])> {
    let mut parts = text.splitn(3, '+');
    let (name, id, key) = (Origin::parse(parts.next()?)?, unhex(parts.next()?)?, parts.next()?);
    let key = BASE64.decode(key).ok()?;
    let (_, public) = key.split_first().filter(|(found, _)| **found == of_type)?;
    let public = public.try_into().ok()?;
    (key_id(&name, of_type, &public) == id).then_some((name, public))
}

/// Writes what [`parse_key`] reads.
pub(super) fn write_key(
    f: &mut fmt::Formatter<'_>,
    name: &Origin,
    of_type: u8,
    public: &[u8; PUBLIC_KEY_BYTES],
) -> fmt::Result {
    let key = [&[of_type][..], public].concat();
    write!(f, "{}+{}+{}", name.as_str(), hex(&key_id(name, of_type, public)), BASE64.encode(key))
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
    /// A cosignature that names a known witness is not that witness's.
    #[error("a cosignature in it is not the known witness's whose name it bears: it or the checkpoint was changed")]
    NotCosigned,
}

impl Checkpoint {
    /// The signed note.
    pub fn sign(&self, key: &SigningKey) -> String {
        let text = self.to_string();
        let by = VerifierKey { name: self.origin.clone(), public: *key.public() };
        format!("{text}\n{}", signature_line(&by.name, by.id(), &key.sign(text.as_bytes())))
    }

    /// Reads a signed note, and checks that one of `keys` signed it under the log's name.
    pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        note.signed_by(keys)?;
        Ok(note.checkpoint)
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
        writeln!(f, "{}\n{}\n{}", self.origin.as_str(), self.size, encode_hash(&self.root))
    }
}

/// A signed note whose text is a checkpoint: read, and not yet to be believed.
pub(super) struct Note<'a> {
    /// The text that is signed, to the end of its last line.
    pub text: &'a str,
    /// What the text says.
    pub checkpoint: Checkpoint,
    /// The lines below it.
    pub signatures: Vec<Signature<'a>>,
}

impl<'a> Note<'a> {
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        let parts = || {
            let (text, signatures) = note.split_at_checked(note.find("\n\n")? + 1)?;
            Some(Self {
                text,
                checkpoint: Checkpoint::parse(text)?,
                signatures: Signature::parse_lines(signatures.strip_prefix('\n')?)?,
            })
        };
        parts().ok_or(NoteError::Malformed)
    }

    /// Those of `keys` that signed it under the log's name, each with its line: at least one. A wrong signature of any of them spoils the
    /// note.
    pub fn signed_by<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<(&'k VerifierKey, &Signature<'a>)>, NoteError> {
        let mut signers: Vec<(&VerifierKey, _)> = Vec::new();
        for key in keys.iter().filter(|key| key.name == self.checkpoint.origin) {
            for signature in self.signatures.iter().filter(|signature| signature.is_by(&key.name, key.id())) {
                if !sign::verifies(&key.public, self.text.as_bytes(), &signature.bytes) {
                    return Err(NoteError::NotSigned);
                }
                if signers.iter().all(|(signer, _)| *signer != key) {
                    signers.push((key, signature));
                }
            }
        }
        if signers.is_empty() { Err(NoteError::NotSigned) } else { Ok(signers) }
    }
}

/// One line below the text of a note.
pub(super) struct Signature<'a> {
    /// The line, without its end.
    pub line: &'a str,
    name: &'a str,
    key_id: KeyId,
    /// What stands behind the id of the key.
    pub bytes: Vec<u8>,
}

impl<'a> Signature<'a> {
    /// Reads lines, each with its end; at least one, and not too many.
    pub fn parse_lines(lines: &'a str) -> Option<Vec<Self>> {
        let lines = lines.strip_suffix('\n')?.split('\n').take(MAX_SIGNATURES + 1);
        let signatures = lines.map(Self::parse).collect::<Option<Vec<_>>>()?;
        (signatures.len() <= MAX_SIGNATURES).then_some(signatures)
    }

    fn parse(line: &'a str) -> Option<Self> {
        let (name, signed) = line.strip_prefix(SIGNATURE_LINE)?.split_once(' ')?;
        Origin::parse(name)?;
        let signed = BASE64.decode(signed).ok().filter(|signed| signed.len() <= MAX_SIGNATURE_BYTES)?;
        let (key_id, bytes) = signed.split_first_chunk()?;
        (!bytes.is_empty()).then(|| Self { line, name, key_id: *key_id, bytes: bytes.to_vec() })
    }

    /// Whether it names this key.
    pub fn is_by(&self, name: &Origin, id: KeyId) -> bool {
        self.name == name.as_str() && self.key_id == id
    }
}

/// A line that [`Signature::parse_lines`] reads.
pub(super) fn signature_line(name: &Origin, id: KeyId, signature: &[u8]) -> String {
    format!("{SIGNATURE_LINE}{} {}\n", name.as_str(), BASE64.encode([&id[..], signature].concat()))
}

/// A number in decimal, written in the one way.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A hash in base64.
pub(super) fn encode_hash(hash: &Hash) -> String {
    BASE64.encode(hash)
}

/// Reads a hash in base64.
pub(super) fn decode_hash(text: &str) -> Option<Hash> {
    BASE64.decode(text).ok()?.try_into().ok()
}
