//! Proofs that can be checked offline: that an entry is in a log which was signed at some size (c2sp.org/tlog-proof).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <the entry, base64>
//! index <its position>
//! <hash, base64>
//! ...
//!
//! <signed checkpoint>
//! ```
//!
//! The specification leaves open what `extra` is, and warns not to trust it. Here it is the entry itself: it is hashed to the leaf that
//! the proof includes, so a changed entry is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::merkle::{self, Hash, Nodes};
use super::note::{Checkpoint, NoteError, Origin, VerifierKey, decode_hash, parse_decimal};
use crate::crypto::sign::SigningKey;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// The longest proof that is read. One with 64 hashes and the longest entry has less than 12 KiB.
pub const MAX_PROOF_BYTES: usize = 64 * 1024;
/// A tree has at most so many levels.
const MAX_HASHES: usize = 64;

/// A proof that does not prove what it is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is not written as one.
    #[error("it is not a proof of an entry (c2sp.org/tlog-proof)")]
    Malformed,
    /// Its checkpoint cannot be accepted.
    #[error("its checkpoint cannot be accepted: {0}")]
    Checkpoint(#[from] NoteError),
    /// The entry is not in the log.
    #[error("the entry in it is not in the log that was signed: it was changed")]
    NotIncluded,
}

/// An entry that is proven to be in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The entry.
    pub entry: Vec<u8>,
    /// Its position.
    pub index: u64,
    /// The log, as it was signed.
    pub checkpoint: Checkpoint,
}

/// Proves that `entry` stands at `index`, in the log of `origin` as it was with that entry at its end.
///
/// That size makes the proof the same whenever it is made, while the key is the same.
pub fn prove<N: Nodes>(
    nodes: &N,
    (index, entry): (u64, &[u8]),
    origin: &Origin,
    key: &SigningKey,
) -> Result<String, N::Error> {
    let size = index + 1;
    let hashes = merkle::inclusion(nodes, index, size)?;
    let checkpoint = Checkpoint { origin: origin.clone(), size, root: merkle::root(nodes, size)? };
    let mut text = format!("{FIRST_LINE}\nextra {}\nindex {index}\n", BASE64.encode(entry));
    for hash in hashes {
        text.push_str(&BASE64.encode(hash));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&checkpoint.sign(key));
    Ok(text)
}

/// Checks a proof against the keys of the log.
pub fn check(proof: &str, keys: &[VerifierKey]) -> Result<Proven, ProofError> {
    let (entry, index, hashes, note) = parse(proof).ok_or(ProofError::Malformed)?;
    let checkpoint = Checkpoint::open(note, keys)?;
    let leaf = merkle::leaf(&entry);
    let included = merkle::check_inclusion(&leaf, index, checkpoint.size, &hashes, &checkpoint.root);
    included.map_err(|_| ProofError::NotIncluded)?;
    Ok(Proven { entry, index, checkpoint })
}

fn parse(proof: &str) -> Option<(Vec<u8>, u64, Vec<Hash>, &str)> {
    if proof.len() > MAX_PROOF_BYTES {
        return None;
    }
    let (head, note) = proof.split_once("\n\n")?;
    let mut lines = head.split('\n');
    (lines.next()? == FIRST_LINE).then_some(())?;
    let entry = BASE64.decode(lines.next()?.strip_prefix("extra ")?).ok()?;
    let index = parse_decimal(lines.next()?.strip_prefix("index ")?)?;
    let hashes = lines.map(decode_hash).collect::<Option<Vec<_>>>()?;
    (hashes.len() <= MAX_HASHES).then_some((entry, index, hashes, note))
}
