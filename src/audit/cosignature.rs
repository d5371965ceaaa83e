//! Cosignatures: what witnesses add to a checkpoint once they saw that the log only grew (c2sp.org/tlog-cosignature, the Ed25519 form).
//! A log that is cosigned cannot show one history to one person and another to the next.
//!
//! ```text
//! cosignature/v1
//! time <seconds since 1970>
//! <the checkpoint's text>
//! ```
//!
//! That is what a witness signs; the time (eight bytes, big-endian) stands in front of the signature. The signed message does not name the
//! witness, so one public key counts for one witness, whatever names it is given.

use std::fmt;

use super::note::{
    Checkpoint, KeyId, MAX_SIGNATURES, Note, NoteError, Origin, Signature, VerifierKey, key_id, parse_key,
    signature_line, write_key,
};
use crate::crypto::sign::{self, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey};
use crate::domain::clock::Timestamp;

#[cfg(test)]
mod tests;

/// The type byte of keys that sign a text with a time (c2sp.org/signed-note).
const COSIGNATURE_V1: u8 = 4;
const TIME_BYTES: usize = 8;

/// A public key of a witness, with the name under which it cosigns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    /// The name.
    pub name: Origin,
    /// The key.
    pub public: [u8; PUBLIC_KEY_BYTES],
}

/// That a witness saw a checkpoint, and no larger one that it does not continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The name of the witness.
    pub witness: Origin,
    /// When, by the clock of the witness, in whole seconds.
    pub at: Timestamp,
}

/// A checkpoint, with all who were found to have signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Those of the log's keys that signed it: at least one.
    pub signed_by: Vec<VerifierKey>,
    /// Those of the known witnesses that cosigned it, each once, with the latest time.
    pub cosignatures: Vec<Cosignature>,
}

impl WitnessKey {
    /// Reads what `Display` writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        parse_key(text, COSIGNATURE_V1).map(|(name, public)| Self { name, public })
    }

    fn id(&self) -> KeyId {
        key_id(&self.name, COSIGNATURE_V1, &self.public)
    }

    fn is_of(&self, signature: &Signature<'_>) -> bool {
        signature.is_by(&self.name, self.id())
    }

    /// The time at which this witness cosigned `text`; `None` if the signature is not its own, or its time none that can be told.
    fn time_of(&self, text: &str, signature: &Signature<'_>) -> Option<Timestamp> {
        let (time_s, signature) = signature.bytes.split_first_chunk::<TIME_BYTES>()?;
        let time_s = u64::from_be_bytes(*time_s);
        let is_its_own = sign::verifies(&self.public, message(time_s, text).as_bytes(), signature);
        Timestamp::from_ms(time_s.checked_mul(1_000)?).filter(|_| is_its_own)
    }
}

/// `<name>+<key id, hexadecimal>+<type and public key, base64>`.
impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, &self.name, COSIGNATURE_V1, &self.public)
    }
}

impl Cosigned {
    /// Reads a signed note, checks that one of `keys` signed it under the log's name, and finds which of `witnesses` cosigned it. Who else
    /// signed is passed over; a signature that names one of these and is not its own spoils the note.
    pub fn open(note: &str, keys: &[VerifierKey], witnesses: &[WitnessKey]) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        let signed_by: Vec<_> = note.signed_by(keys)?.into_iter().map(|(key, _)| key.clone()).collect();
        // The log is no witness of itself.
        let witnesses = witnesses.iter().filter(|witness| keys.iter().all(|key| key.public != witness.public));
        let cosignatures = cosignatures(&note, witnesses)?;
        Ok(Self { checkpoint: note.checkpoint, signed_by, cosignatures })
    }
}

fn cosignatures<'k>(
    note: &Note<'_>,
    witnesses: impl Iterator<Item = &'k WitnessKey>,
) -> Result<Vec<Cosignature>, NoteError> {
    let mut found: Vec<(&WitnessKey, Timestamp)> = Vec::new();
    for witness in witnesses {
        let by_it = note.signatures.iter().filter(|signature| witness.is_of(signature));
        let times = by_it.map(|signature| witness.time_of(note.text, signature).ok_or(NoteError::NotCosigned));
        let Some(at) = times.collect::<Result<Vec<_>, _>>()?.into_iter().max() else { continue };
        let same = found.iter_mut().find(|(one, _)| one.name == witness.name || one.public == witness.public);
        match same {
            Some((_, latest)) => *latest = at.max(*latest),
            None => found.push((witness, at)),
        }
    }
    Ok(found.into_iter().map(|(witness, at)| Cosignature { witness: witness.name.clone(), at }).collect())
}

/// The line that the witness `name` adds to a note with this text.
pub(super) fn cosign(text: &str, name: &Origin, key: &SigningKey, at: Timestamp) -> String {
    let by = WitnessKey { name: name.clone(), public: *key.public() };
    // No cosignature may be without a time, whatever the clock says.
    let time_s = (at.as_ms() / 1_000).max(1);
    let mut timed = [0; TIME_BYTES + SIGNATURE_BYTES];
    let (time, signature) = timed.split_at_mut(TIME_BYTES);
    time.copy_from_slice(&time_s.to_be_bytes());
    signature.copy_from_slice(&key.sign(message(time_s, text).as_bytes()));
    signature_line(&by.name, by.id(), &timed)
}

fn message(time_s: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

/// Whether a witness's answer has a line of this one.
pub fn is_answer_of(answer: &str, witness: &WitnessKey) -> bool {
    Signature::parse_lines(answer).is_some_and(|lines| lines.iter().any(|line| witness.is_of(line)))
}

/// Adds to a signed note what a witness answered (c2sp.org/tlog-witness): those of its lines that are cosignatures of known witnesses.
/// Other lines are left out, and an older line of the same key gives way. An error if the note would have too many lines to be read.
pub fn add(note: &str, answer: &str, witnesses: &[WitnessKey]) -> Result<String, NoteError> {
    let parsed = Note::parse(note)?;
    let answered = Signature::parse_lines(answer).ok_or(NoteError::Malformed)?;
    let mut lines: Vec<&Signature<'_>> = parsed.signatures.iter().collect();
    for line in &answered {
        let Some(witness) = witnesses.iter().find(|witness| witness.is_of(line)) else { continue };
        witness.time_of(parsed.text, line).ok_or(NoteError::NotCosigned)?;
        lines.retain(|older| !witness.is_of(older));
        lines.push(line);
    }
    if lines.len() > MAX_SIGNATURES {
        return Err(NoteError::Malformed);
    }
    let lines: String = lines.iter().map(|signature| format!("{}\n", signature.line)).collect();
    Ok(format!("{}\n{lines}", parsed.text))
}
