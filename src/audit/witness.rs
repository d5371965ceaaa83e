//! A witness: whoever keeps the last checkpoint of a log, and cosigns the next one once it is shown that the log only grew
//! (c2sp.org/tlog-witness, `add-checkpoint`).
//!
//! ```text
//! old <size>
//! <hash of the consistency proof, base64>
//! ...
//!
//! <signed checkpoint>
//! ```
//!
//! The life of a cosignature, and what holds if the witness stops after each step:
//!
//! 1. The request is checked against the latest checkpoint. Nothing has changed.
//! 2. The new checkpoint becomes the latest one, and is cosigned, in memory. Nobody has seen that; the one before it stands on the disk.
//! 3. The caller keeps [`Witnessed::note`], durably. From now on nothing that does not continue it is cosigned.
//! 4. The caller gives out [`Witnessed::answer`].
//!
//! This room does 1 and 2. If 3 fails, nothing may be given out: the memory is ahead of the disk then, which only refuses more.

use std::fmt;

use super::cosignature::{Cosigned, WitnessKey, cosign};
use super::merkle::{Frontier, Hash, check_consistency};
use super::note::{
    Checkpoint, MAX_NOTE_BYTES, Note, NoteError, Origin, VerifierKey, decode_hash, encode_hash, parse_decimal,
};
use crate::crypto::sign::SigningKey;
use crate::domain::clock::Timestamp;

#[cfg(test)]
mod tests;

/// The most hashes of a proof that the specification allows.
const MAX_HASHES: usize = 63;
/// The longest request that is read: a note, and less than 4 KiB of proof.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + 4 * 1024;

/// What a log asks of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint<'a> {
    /// How many entries the log had in the checkpoint that the witness cosigned last; 0 for the first.
    pub old_size: u64,
    /// The proof that the new tree continues that one.
    pub proof: Vec<Hash>,
    /// The new checkpoint, signed.
    pub note: &'a str,
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not written as a request, or its old size is larger than its new one (400).
    #[error("it is not a request to cosign a checkpoint (c2sp.org/tlog-witness)")]
    Malformed,
    /// The witness does not watch this log (404).
    #[error("this witness does not watch the log that the checkpoint names")]
    UnknownLog,
    /// None of the log's keys signed it, or one that is named did not (403).
    #[error("the checkpoint is not signed by the log's keys that this witness knows")]
    NotSigned,
    /// The witness has last cosigned another size (409).
    #[error("this witness has last cosigned the log with {latest} entries: prove from there")]
    Conflict {
        /// How many entries the log had then.
        latest: u64,
    },
    /// The log does not continue the one that was cosigned before (422).
    #[error("the log is not shown to continue what this witness cosigned before: its history may have been rewritten")]
    Inconsistent,
}

/// What came of a request that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// The checkpoint with the log's own signatures and the cosignature, and no others: to be kept, durably, before anything is answered.
    pub note: String,
    /// The line to answer with.
    pub answer: String,
}

/// A witness of some logs, and what it cosigned last of each.
#[derive(Debug)]
pub struct Witness {
    name: Origin,
    key: SigningKey,
    logs: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    origin: Origin,
    keys: Vec<VerifierKey>,
    size: u64,
    root: Hash,
}

impl<'a> AddCheckpoint<'a> {
    /// Reads what `Display` writes; `None` for anything else. The checkpoint is not looked at.
    pub fn parse(body: &'a str) -> Option<Self> {
        let (head, note) = Some(body).filter(|body| body.len() <= MAX_REQUEST_BYTES)?.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old_size = parse_decimal(lines.next()?.strip_prefix("old ")?)?;
        let proof = lines.take(MAX_HASHES + 1).map(decode_hash).collect::<Option<Vec<_>>>()?;
        (proof.len() <= MAX_HASHES).then_some(Self { old_size, proof, note })
    }
}

impl fmt::Display for AddCheckpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", encode_hash(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

impl Witness {
    /// A witness that watches no log yet.
    pub fn new(name: Origin, key: SigningKey) -> Self {
        Self { name, key, logs: Vec::new() }
    }

    /// The public key by which its cosignatures are checked.
    pub fn public(&self) -> WitnessKey {
        WitnessKey { name: self.name.clone(), public: *self.key.public() }
    }

    /// Watches the log `origin`, which signs with those of `keys` that bear its name: from `kept` on, the last note that it cosigned, or
    /// from the log's beginning. An error if `kept` is not such a note, with the witness's own cosignature.
    pub fn watch(&mut self, origin: Origin, keys: Vec<VerifierKey>, kept: Option<&str>) -> Result<(), NoteError> {
        let latest = match kept {
            None => None,
            Some(note) => {
                let Cosigned { checkpoint, cosignatures, .. } = Cosigned::open(note, &keys, &[self.public()])?;
                let is_its_own = checkpoint.origin == origin && !cosignatures.is_empty();
                Some(is_its_own.then_some(checkpoint).ok_or(NoteError::NotCosigned)?)
            }
        };
        let (size, root) = latest.map_or((0, Frontier::EMPTY.root()), |latest| (latest.size, latest.root));
        self.logs.retain(|log| log.origin != origin);
        self.logs.push(Watched { origin, keys, size, root });
        Ok(())
    }

    /// Cosigns the checkpoint of a request at the time `now`, if it continues the last one of its log.
    pub fn add_checkpoint(&mut self, request: &AddCheckpoint<'_>, now: Timestamp) -> Result<Witnessed, Refused> {
        let note = Note::parse(request.note).map_err(|_| Refused::Malformed)?;
        let log = self.logs.iter_mut().find(|log| log.origin == note.checkpoint.origin).ok_or(Refused::UnknownLog)?;
        let signed_by = note.signed_by(&log.keys).map_err(|_| Refused::NotSigned)?;
        let of_the_log: String = signed_by.iter().map(|(_, signature)| format!("{}\n", signature.line)).collect();
        log.advance(request, &note.checkpoint)?;
        let answer = cosign(note.text, &self.name, &self.key, now);
        Ok(Witnessed { note: format!("{}\n{of_the_log}{answer}", note.text), answer })
    }
}

impl Watched {
    /// Takes `next` for the latest checkpoint, if it continues that.
    fn advance(&mut self, request: &AddCheckpoint<'_>, next: &Checkpoint) -> Result<(), Refused> {
        if request.old_size > next.size {
            return Err(Refused::Malformed);
        }
        if request.old_size != self.size {
            return Err(Refused::Conflict { latest: self.size });
        }
        let continues = check_consistency((self.size, &self.root), (next.size, &next.root), &request.proof);
        continues.map_err(|_| Refused::Inconsistent)?;
        (self.size, self.root) = (next.size, next.root);
        Ok(())
    }
}
