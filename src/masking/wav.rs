//! Silences spans of time in a WAV recording on its way out, for callers who may not hear them: a card number that is spoken. It works
//! on any range of the file's bytes by itself, and neither the length of the file nor the place of any sample changes. It never
//! decodes, resamples or guesses: a file that two readers could read differently is refused ([`NotSilenceable`]), and whoever must
//! not hear all of such a recording must not get any of it.
//!
//! Silence in one chunk is worth nothing if the same words stand elsewhere in the file, so each byte that leaves is one of these:
//!
//! ```text
//! header   written anew from what was read: RIFF, `fmt `, the first `data` and their sizes; all else in it becomes one JUNK chunk
//! data     as stored, but the frames of the spans are overwritten with the encoding's silence
//! behind   zero, to the end of the file
//! ```
//!
//! Why so much: `LIST INFO`, `bext`, `id3 ` and `iXML` may hold names and numbers. Readers disagree on odd files: FFmpeg plays the last
//! `data` chunk that it finds and then looks for more, others play the first, some trust sizes, some play to the end of the file. As
//! the sizes that leave are those this module went by, and nothing outside `data` is left to be played, all hear the same.
//!
//! What it cannot know: whether the spans count from the first frame of the first `data` chunk, as they must, and whether bytes within
//! a `data` chunk of unknown size are audio (a streamed file that ends in metadata).
//!
//! Sources: IBM and Microsoft, Multimedia Programming Interface and Data Specifications 1.0 (1991), chapters 2 and 3, for RIFF, WAVE
//! and JUNK; RFC 2361 for the format tags and how a sub-format's GUID holds one; ITU-T G.711 for the silence of both laws.

use std::ops::Range;

use crate::domain::sensitive::TimeSpan;

pub use layout::WavLayout;

mod layout;
#[cfg(test)]
mod tests;

/// The most spans of one recording.
pub const MAX_SPANS: usize = 10_000;

/// The first bytes of a file, within which its audio must begin.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Why a recording cannot be silenced. None of it may then go to a caller who must not hear all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSilenceable {
    /// Not RIFF with WAVE in it.
    #[error("it is no WAV file; store such recordings as WAV")]
    NotWave,
    /// RF64 or BW64 (EBU Tech 3306): sizes of 64 bits.
    #[error("it is an RF64 or BW64 file; store it as plain WAV, of less than 4 GiB")]
    LongForm,
    /// The head that was given, or all that is looked at, ends before the audio begins.
    #[error("no audio in its first {MAX_HEAD_BYTES} bytes; store metadata behind it")]
    AudioNotInHead,
    /// The file ends before any audio.
    #[error("it has no audio; check that the upload was complete")]
    NoAudio,
    /// What stands at this byte cannot be a chunk: an odd name, an odd chunk without its zero byte, or more bytes than the file has.
    #[error("no valid chunk begins at byte {at}; write the file again")]
    DamagedChunk {
        /// Its first byte in the file.
        at: u64,
    },
    /// No `fmt ` chunk before the audio, or more than one.
    #[error("there must be one `fmt ` chunk before the audio; write the file again")]
    NotOneFormat,
    /// An encoding whose silence is not known here.
    #[error("format {tag:#06x} of {bits} bits is not known; store PCM of 8, 16, 24 or 32 bits, A-law or mu-law")]
    Encoding {
        /// The format tag (RFC 2361); an extensible format's own tag if its sub-format has none.
        tag: u16,
        /// Bits of a sample.
        bits: u16,
    },
    /// The fields of the `fmt ` chunk contradict each other, so that readers disagree on which byte sounds when.
    #[error("the fields of its `fmt ` chunk do not fit together; write the file again")]
    Contradiction,
    /// Several `data` chunks, or a wave list.
    #[error("its audio is in several chunks; join them into one `data` chunk")]
    ScatteredAudio,
    /// A `data` chunk of size 0 (a streamed file?) with another chunk behind it (an empty one?).
    #[error("its audio states size 0, yet a chunk follows; write the true size into it")]
    UnclearSize,
    /// More than [`MAX_SPANS`] spans.
    #[error("more than {MAX_SPANS} spans; join those that are close to each other")]
    TooManySpans,
    /// A span that does not end after its start.
    #[error("spans[{index}] must end after its start; mend it or leave it out")]
    EmptySpan {
        /// Its place among the spans.
        index: usize,
    },
}

/// A recording's spans, ready to be silenced in any range of its bytes.
#[derive(Debug, Clone)]
pub struct Silencer {
    layout: WavLayout,
    /// Bytes of the file. Sorted, apart from each other, not empty, all within `data`.
    silent: Vec<Range<u64>>,
}

impl Silencer {
    /// Takes up to [`MAX_SPANS`] spans in any order; they may overlap. Each frame that sounds for any part of a span is silenced, on all
    /// channels. What of a span lies behind the end of the recording silences nothing. Without spans, only what is not audio is masked.
    pub fn new(layout: WavLayout, spans: &[TimeSpan]) -> Result<Self, NotSilenceable> {
        if spans.len() > MAX_SPANS {
            return Err(NotSilenceable::TooManySpans);
        }
        if let Some(index) = spans.iter().position(|span| span.start_ms >= span.end_ms) {
            return Err(NotSilenceable::EmptySpan { index });
        }
        let silent = merged(spans.iter().map(|span| layout.bytes_of(*span)).collect());
        Ok(Self { layout, silent })
    }

    /// Masks `bytes`, which are those of the file from `offset` on: a range may begin and end anywhere, in the middle of a sample too.
    /// Takes O(log spans + length).
    pub fn apply(&self, offset: u64, bytes: &mut [u8]) {
        let behind = offset.saturating_add(bytes.len() as u64);
        let first = self.silent.partition_point(|span| span.end <= offset);
        for span in self.silent[first..].iter().take_while(|span| span.start < behind) {
            part(bytes, offset, span).fill(self.layout.silence());
        }
        part(bytes, offset, &(self.layout.data().end..u64::MAX)).fill(0);
        let passed = usize::try_from(offset).unwrap_or(usize::MAX);
        bytes.iter_mut().zip(self.layout.header().iter().skip(passed)).for_each(|(byte, shown)| *byte = *shown);
    }
}

/// The same bytes, sorted and joined where they touch.
fn merged(mut spans: Vec<Range<u64>>) -> Vec<Range<u64>> {
    spans.retain(|span| !span.is_empty());
    spans.sort_unstable_by_key(|span| span.start);
    spans.dedup_by(|next, span| {
        let touches = next.start <= span.end;
        if touches {
            span.end = span.end.max(next.end);
        }
        touches
    });
    spans
}

/// What of `span` lies in `bytes`, which are those of the file from `offset` on.
fn part<'a>(bytes: &'a mut [u8], offset: u64, span: &Range<u64>) -> &'a mut [u8] {
    let length = bytes.len();
    let place = |at: u64| usize::try_from(at.saturating_sub(offset)).map_or(length, |place| place.min(length));
    &mut bytes[place(span.start)..place(span.end)]
}
