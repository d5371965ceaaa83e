//! Content: the turns of a chat, and the manifest of content that stands in objects.

use zeroize::Zeroizing;

use crate::crypto::content::Commitment;
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::record::{Speaker, TranscriptLimits, Turn};
use crate::domain::sensitive::{SensitiveKind, TextSpan};
use crate::masking;

/// Since version 2 a transcript says what is sensitive in it.
const TRANSCRIPT_VERSION: u8 = 2;
const MANIFEST_VERSION: u8 = 1;
const TRANSCRIPT: &str = "a transcript";
const MANIFEST: &str = "the manifest of a record";
/// zstd's default; higher levels gain a few per cent on chats and cost several times the time.
const ZSTD_LEVEL: i32 = 3;
/// What a span takes.
const SPAN_BYTES: usize = 13;
/// The most that a stored transcript unpacks to: its texts, 16 bytes a turn, and spans that are of every second byte.
const MAX_UNPACKED_BYTES: usize = TranscriptLimits::MAX_TEXT_BYTES
    + 16 * TranscriptLimits::MAX_TURNS
    + SPAN_BYTES * TranscriptLimits::MAX_TEXT_BYTES / 2
    + 32;

/// Length of all texts in bytes.
pub(in super::super) fn text_bytes(turns: &[Turn]) -> u64 {
    turns.iter().map(|turn| turn.text.len() as u64).sum()
}

/// A chat and what is sensitive in it, packed with zstd.
pub(in super::super) fn encode_transcript(turns: &[Turn], spans: &[TextSpan]) -> Zeroizing<Vec<u8>> {
    let texts = usize::try_from(text_bytes(turns)).unwrap_or(usize::MAX);
    let room = MAX_UNPACKED_BYTES.min(texts.saturating_add(16 * turns.len() + SPAN_BYTES * spans.len() + 32));
    let plain = Writer::with_capacity(room)
        .u8(TRANSCRIPT_VERSION)
        .list(turns.iter(), |w, turn| {
            w.u8(turn.speaker as u8).option(turn.said, |w, said| w.u64(said.as_ms())).text(&turn.text)
        })
        .list(spans.iter(), |w, span| w.u32(span.turn).u32(span.start).u32(span.end).u8(span.kind as u8))
        .finish();
    Zeroizing::new(zstd::bulk::compress(&plain, ZSTD_LEVEL).expect("zstd packs any bytes in memory"))
}

/// Reads a packed chat. In one of version 1, what is sensitive is looked for now.
pub(in super::super) fn decode_transcript(packed: &[u8]) -> Result<(Vec<Turn>, Vec<TextSpan>), Decode> {
    let damaged = || Decode::Damaged { what: TRANSCRIPT };
    let plain = Zeroizing::new(zstd::bulk::decompress(packed, MAX_UNPACKED_BYTES).map_err(|_| damaged())?);
    let (mut reader, version) = Reader::versioned(TRANSCRIPT, &plain, TRANSCRIPT_VERSION)?;
    let turns = reader.list(|r| {
        Ok(Turn {
            speaker: Speaker::from_code(r.u8()?).ok_or_else(damaged)?,
            said: r.option(|r| Timestamp::from_ms(r.u64()?).ok_or_else(damaged))?,
            text: Zeroizing::new(r.text()?.to_owned()),
        })
    })?;
    let spans = match version {
        1 => masking::find(&turns),
        _ => reader.list(|r| {
            let (turn, start, end) = (r.u32()?, r.u32()?, r.u32()?);
            Ok(TextSpan { turn, start, end, kind: SensitiveKind::from_code(r.u8()?).ok_or_else(damaged)? })
        })?,
    };
    reader.end()?;
    Ok((turns, spans))
}

/// One part of content: a sealed message of its own in an object of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Part {
    /// The last part of the object's name.
    pub object: [u8; 16],
    /// Pins the one message that may stand there.
    pub commitment: Commitment,
    /// Length of its plaintext.
    pub plain_bytes: u64,
}

/// The parts of content, in order. Stored sealed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct Manifest {
    pub parts: Vec<Part>,
}

impl Manifest {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Writer::versioned(MANIFEST_VERSION)
            .list(self.parts.iter(), |w, part| w.fixed(&part.object).fixed(&part.commitment.0).u64(part.plain_bytes))
            .finish()
    }

    pub fn decode(plain: &[u8]) -> Result<Self, Decode> {
        let (mut reader, _) = Reader::versioned(MANIFEST, plain, MANIFEST_VERSION)?;
        let parts = reader
            .list(|r| Ok(Part { object: r.array()?, commitment: Commitment(r.array()?), plain_bytes: r.u64()? }))?;
        reader.end()?;
        Ok(Self { parts })
    }

    /// Length of the whole plaintext.
    pub fn plain_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.plain_bytes).sum()
    }
}
