//! A file that states something out of the log, signed: lines, then a blank line, then a signed note (c2sp.org/signed-note) over their hash.
//!
//! ```text
//! <lines>
//!
//! oubliette exposure report v1
//! <origin>
//! <how many lines>
//! <SHA-256 of the lines, base64>
//!
//! <em dash> <origin> <base64>
//! ```
//!
//! The first line of the note is one that no checkpoint has, so that neither passes for the other.

use super::note::{NoteError, Origin, Signature, VerifierKey, decode_hash, encode_hash, parse_decimal, signature_line};
use crate::crypto::hash::{SHA256_BYTES, same, sha256};
use crate::crypto::sign::{self, SigningKey};

const TITLE: &str = "oubliette exposure report v1";
/// The longest note below the lines.
const MAX_NOTE_BYTES: usize = 64 * 1024;

/// Why a report cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAReport {
    /// It is not written as one.
    #[error("it is not a signed exposure report")]
    Malformed,
    /// None of the keys signed it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The lines are not those that were signed.
    #[error("the lines are not those that were signed: the report was changed or cut")]
    Changed,
}

/// What stands below `lines` lines whose hash is `hash`, the blank line in front of it included.
pub fn sign(lines: u64, hash: &[u8; SHA256_BYTES], origin: &Origin, key: &SigningKey) -> String {
    let text = format!("{TITLE}\n{}\n{lines}\n{}\n", origin.as_str(), encode_hash(hash));
    let by = VerifierKey { name: origin.clone(), public: *key.public() };
    format!("\n{text}\n{}", signature_line(&by.name, by.id(), &key.sign(text.as_bytes())))
}

/// The lines of a report that one of `keys` signed.
pub fn open<'a>(report: &'a [u8], keys: &[VerifierKey]) -> Result<&'a str, NotAReport> {
    // The title cannot stand in a line: those are JSON.
    let title = format!("\n\n{TITLE}\n");
    let tail = report.len().saturating_sub(MAX_NOTE_BYTES);
    let at = report[tail..].windows(title.len()).rposition(|window| window == title.as_bytes());
    let at = tail + at.ok_or(NotAReport::Malformed)?;
    let (lines, note) = (&report[..=at], &report[at + 2..]);
    let note = std::str::from_utf8(note).map_err(|_| NotAReport::Malformed)?;
    let (text, signatures) = note.split_once("\n\n").ok_or(NotAReport::Malformed)?;
    let text = format!("{text}\n");
    let (origin, count, hash) = stated(&text).ok_or(NotAReport::Malformed)?;
    let signatures = Signature::parse_lines(signatures).ok_or(NotAReport::Malformed)?;
    let is_by = |key: &VerifierKey| {
        let by = signatures.iter().find(|signature| signature.is_by(&key.name, key.id()));
        key.name == origin && by.is_some_and(|by| sign::verifies(&key.public, text.as_bytes(), &by.bytes))
    };
    if !keys.iter().any(is_by) {
        return Err(NoteError::NotSigned.into());
    }
    let lines_text = std::str::from_utf8(lines).map_err(|_| NotAReport::Changed)?;
    let is_whole = same(&sha256(lines), &hash) && lines_text.lines().count() as u64 == count;
    if is_whole { Ok(lines_text) } else { Err(NotAReport::Changed) }
}

fn stated(text: &str) -> Option<(Origin, u64, [u8; SHA256_BYTES])> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    (lines.next()? == TITLE).then_some(())?;
    let stated = (Origin::parse(lines.next()?)?, parse_decimal(lines.next()?)?, decode_hash(lines.next()?)?);
    lines.next().is_none().then_some(stated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::Key;

    #[test]
    fn every_changed_cut_or_doubled_byte_of_a_report_is_refused_and_so_is_another_key() {
        let [key, other] = [1, 2].map(|seed| SigningKey::from_seed(&Key::copy_of(&[seed; 32])));
        let origin = Origin::parse("vault.example/tests").unwrap();
        let lines = "{\"a\": 1}\n{\"b\": \"ü\"}\n";
        let report = format!("{lines}{}", sign(2, &sha256(lines.as_bytes()), &origin, &key));
        let named =
            |key: &SigningKey, name: &str| VerifierKey { name: Origin::parse(name).unwrap(), public: *key.public() };
        let keys = [named(&other, "vault.example/tests"), named(&key, "vault.example/tests")];
        assert_eq!(open(report.as_bytes(), &keys), Ok(lines));
        for wrong in [&keys[..1], &[named(&key, "vault.example/other")], &[]] {
            assert_eq!(open(report.as_bytes(), wrong), Err(NotAReport::Note(NoteError::NotSigned)));
        }
        for at in 0..report.len() {
            let (mut changed, mut cut, mut doubled) =
                (report.clone().into_bytes(), report.clone().into_bytes(), report.clone().into_bytes());
            changed[at] ^= 1;
            cut.remove(at);
            doubled.insert(at, report.as_bytes()[at]);
            for bad in [changed, cut, doubled, report.as_bytes()[..at].to_vec()] {
                // A letter that is doubled among equal ones is no change.
                assert!(bad == report.as_bytes() || open(&bad, &keys).is_err(), "byte {at}");
            }
        }
    }
}
