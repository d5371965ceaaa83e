//! Where the audio of a WAV file lies and how it is encoded, read from the file's first bytes; and the header that a masked caller gets
//! in the place of the stored one. It trusts no number in the file before it fits the others, and keeps nothing that it did not parse.

use std::ops::Range;

use super::{MAX_HEAD_BYTES, NotSilenceable, TimeSpan};

/// `RIFF`, the size of the form, `WAVE`.
const FORM_BYTES: usize = 12;
/// A chunk's name and the size of its content.
const CHUNK_HEADER_BYTES: usize = 8;
/// The fields that every `fmt ` chunk has.
const FORMAT_BYTES: usize = 16;
/// The same with the size of the extension, the valid bits, the speakers and the sub-format.
const EXTENSIBLE_BYTES: usize = 40;

const TAG_PCM: u16 = 0x0001;
const TAG_A_LAW: u16 = 0x0006;
const TAG_MU_LAW: u16 = 0x0007;
const TAG_EXTENSIBLE: u16 = 0xFFFE;

/// What follows the format tag in the GUID of a sub-format that has one (RFC 2361): `0000XXXX-0000-0010-8000-00AA00389B71`.
const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];

/// A WAV file as far as silencing needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WavLayout {
    header: Vec<u8>,
    data: Range<u64>,
    format: Format,
}

impl WavLayout {
    /// Reads the layout from `head`, the first bytes of a file of `total_bytes`: all of it, or at least [`MAX_HEAD_BYTES`].
    ///
    /// A `data` chunk that states the size 0, `0xFFFF_FFFF`, or more than the file has, ends with the file, as those of streams do.
    /// Chunks behind the audio are looked at only as far as the head shows them: to refuse a second `data` chunk by name. One further
    /// on is never heard, as everything behind the first is zeroed.
    pub fn parse(head: &[u8], total_bytes: u64) -> Result<Self, NotSilenceable> {
        let head = Head::new(head, total_bytes)?;
        let (fmt, audio) = head.format_and_audio()?;
        let format = Format::parse(fmt)?;
        let data = head.extent(&audio)?;
        Ok(Self { header: masked_header(fmt, format.fields_bytes, &data, total_bytes), data, format })
    }

    /// What a masked caller gets in the place of all bytes before the audio; it has as many.
    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    /// The bytes of the file that are audio.
    pub(super) fn data(&self) -> &Range<u64> {
        &self.data
    }

    /// The byte that, repeated, is silence.
    pub(super) fn silence(&self) -> u8 {
        self.format.silence
    }

    /// The bytes of all frames that sound for any part of `span`: from the frame that its start falls in to the one that its end falls
    /// in. Nothing behind the end of the audio.
    pub(super) fn bytes_of(&self, span: TimeSpan) -> Range<u64> {
        let frames = |ms: u64| u128::from(ms) * u128::from(self.format.frames_per_second);
        self.frame_at(frames(span.start_ms) / 1_000)..self.frame_at(frames(span.end_ms).div_ceil(1_000))
    }

    /// The first byte of a frame, or the end of the audio if it has fewer.
    fn frame_at(&self, frame: u128) -> u64 {
        let within = frame * u128::from(self.format.frame_bytes);
        let length = self.data.end - self.data.start;
        self.data.start + u64::try_from(within).map_or(length, |within| within.min(length))
    }
}

/// The header that says the same of the audio and nothing else: the form, `fmt ` with only the fields that were parsed, a `JUNK` chunk
/// over the rest, and `data` with the size that was gone by. Sizes of 4 GiB and more become `0xFFFF_FFFF`, as in streamed files.
fn masked_header(fmt: &[u8], fields_bytes: usize, data: &Range<u64>, total_bytes: u64) -> Vec<u8> {
    let data_bytes = data.end - data.start;
    let form_end = total_bytes.min(data.end + data_bytes % 2);
    let junk_at = FORM_BYTES + CHUNK_HEADER_BYTES + fmt.len().next_multiple_of(2);
    let data_at = usize::try_from(data.start).expect("the audio begins in the head") - CHUNK_HEADER_BYTES;

    let mut header = Vec::with_capacity(data_at + CHUNK_HEADER_BYTES);
    header.extend(chunk_header(*b"RIFF", form_end - CHUNK_HEADER_BYTES as u64));
    header.extend(b"WAVE");
    header.extend(chunk_header(*b"fmt ", fmt.len() as u64));
    header.extend(&fmt[..fields_bytes]);
    header.resize(junk_at, 0);
    // Each chunk fills an even number of bytes, at least those of its header, so a `JUNK` chunk fits into what the others left.
    if data_at > junk_at {
        header.extend(chunk_header(*b"JUNK", (data_at - junk_at - CHUNK_HEADER_BYTES) as u64));
        header.resize(data_at, 0);
    }
    header.extend(chunk_header(*b"data", data_bytes));
    header
}

fn chunk_header([a, b, c, d]: [u8; 4], size: u64) -> [u8; CHUNK_HEADER_BYTES] {
    let [e, f, g, h] = u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

/// How the audio is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Format {
    /// How much of the `fmt ` chunk was parsed.
    fields_bytes: usize,
    frames_per_second: u32,
    /// A frame is one sample of each channel.
    frame_bytes: u16,
    silence: u8,
}

impl Format {
    /// Parses a `fmt ` chunk. A byte rate that contradicts the sample rate is refused too: there are tools that tell the time by it.
    fn parse(fmt: &[u8]) -> Result<Self, NotSilenceable> {
        let fields: &[u8; FORMAT_BYTES] = fmt.first_chunk().ok_or(NotSilenceable::Contradiction)?;
        let short = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
        let long = |at: usize| u32::from_le_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
        let (channels, frames_per_second, bytes_per_second) = (short(2), long(4), long(8));
        let (frame_bytes, bits) = (short(12), short(14));

        let (tag, fields_bytes) = match short(0) {
            TAG_EXTENSIBLE => (sub_format(fmt, bits)?, EXTENSIBLE_BYTES),
            tag => (tag, FORMAT_BYTES),
        };
        let silence = silence(tag, bits).ok_or(NotSilenceable::Encoding { tag, bits })?;
        let fits = u32::from(channels) * u32::from(bits / 8) == u32::from(frame_bytes)
            && u64::from(frames_per_second) * u64::from(frame_bytes) == u64::from(bytes_per_second)
            && bytes_per_second > 0;
        if !fits {
            return Err(NotSilenceable::Contradiction);
        }
        Ok(Self { fields_bytes, frames_per_second, frame_bytes, silence })
    }
}

/// The format tag in the GUID of an extensible format. Fewer valid bits than a sample has are refused: FFmpeg takes them for the size of
/// the sample.
fn sub_format(fmt: &[u8], bits: u16) -> Result<u16, NotSilenceable> {
    let fields: &[u8; EXTENSIBLE_BYTES] = fmt.first_chunk().ok_or(NotSilenceable::Contradiction)?;
    let short = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
    let (extension_bytes, valid_bits, tag) = (short(16), short(18), short(24));
    if usize::from(extension_bytes) != EXTENSIBLE_BYTES - FORMAT_BYTES - 2 || valid_bits != bits {
        return Err(NotSilenceable::Contradiction);
    }
    if fields[26..] == GUID_TAIL { Ok(tag) } else { Err(NotSilenceable::Encoding { tag: TAG_EXTENSIBLE, bits }) }
}

/// The byte that, repeated, is silence. Samples of 8 bits are unsigned, wider ones signed (1991, chapter 3); the laws' smallest positive
/// values as they go over the wire are those of G.711, tables 1a and 2a.
fn silence(tag: u16, bits: u16) -> Option<u8> {
    match (tag, bits) {
        (TAG_PCM, 8) => Some(0x80),
        (TAG_PCM, 16 | 24 | 32) => Some(0x00),
        (TAG_A_LAW, 8) => Some(0xD5),
        (TAG_MU_LAW, 8) => Some(0xFF),
        _ => None,
    }
}

/// The first bytes of a file.
struct Head<'a> {
    bytes: &'a [u8],
    total_bytes: u64,
}

/// A chunk whose header was read. Its content may reach behind the head, and behind the file.
struct Chunk {
    at: u64,
    name: [u8; 4],
    size: u32,
}

impl Chunk {
    /// Its first byte of content.
    fn start(&self) -> u64 {
        self.at + CHUNK_HEADER_BYTES as u64
    }

    /// Where the next chunk begins: contents of odd size are followed by a zero byte.
    fn end(&self) -> u64 {
        self.start() + u64::from(self.size).next_multiple_of(2)
    }
}

impl<'a> Head<'a> {
    fn new(bytes: &'a [u8], total_bytes: u64) -> Result<Self, NotSilenceable> {
        let most = usize::try_from(total_bytes).unwrap_or(usize::MAX).min(MAX_HEAD_BYTES);
        let bytes = &bytes[..bytes.len().min(most)];
        match (bytes.get(..4), bytes.get(8..FORM_BYTES)) {
            (Some(b"RIFF"), Some(b"WAVE")) => Ok(Self { bytes, total_bytes }),
            (Some(b"RF64" | b"BW64"), Some(b"WAVE")) => Err(NotSilenceable::LongForm),
            _ => Err(NotSilenceable::NotWave),
        }
    }

    /// The content of the one `fmt ` chunk, and the `data` chunk that follows it.
    fn format_and_audio(&self) -> Result<(&'a [u8], Chunk), NotSilenceable> {
        let (mut at, mut fmt) = (FORM_BYTES as u64, None);
        loop {
            let chunk = self.chunk(at)?;
            if chunk.name == *b"data" {
                return fmt.map(|fmt| (fmt, chunk)).ok_or(NotSilenceable::NotOneFormat);
            }
            if self.is_audio(&chunk) {
                return Err(NotSilenceable::ScatteredAudio);
            }
            let content = self.content(&chunk)?;
            if chunk.name == *b"fmt " && fmt.replace(content).is_some() {
                return Err(NotSilenceable::NotOneFormat);
            }
            at = chunk.end();
        }
    }

    /// The chunk that begins at a byte.
    fn chunk(&self, at: u64) -> Result<Chunk, NotSilenceable> {
        let header: Option<&[u8; CHUNK_HEADER_BYTES]> = self.from(at).first_chunk();
        let Some(&[a, b, c, d, size @ ..]) = header else { return Err(self.too_short()) };
        let name = [a, b, c, d];
        let is_name = name.iter().all(|letter| (b' '..=b'~').contains(letter));
        if is_name { Ok(Chunk { at, name, size: u32::from_le_bytes(size) }) } else { Err(damaged(at)) }
    }

    /// All content of a chunk. Where its zero byte is missing, readers disagree on where the next one begins.
    fn content(&self, chunk: &Chunk) -> Result<&'a [u8], NotSilenceable> {
        if chunk.end() > self.total_bytes {
            return Err(damaged(chunk.at));
        }
        let padded = usize::try_from(chunk.end() - chunk.start()).ok();
        let padded = padded.and_then(|padded| self.from(chunk.start()).get(..padded)).ok_or(self.too_short())?;
        match padded.split_at_checked(chunk.size as usize) {
            Some((content, [] | [0])) => Ok(content),
            _ => Err(damaged(chunk.at)),
        }
    }

    /// Whether a chunk holds audio: `data`, or a wave list (`LIST` of the type `wavl`), in which several are.
    fn is_audio(&self, chunk: &Chunk) -> bool {
        chunk.name == *b"data" || (chunk.name == *b"LIST" && self.from(chunk.start()).starts_with(b"wavl"))
    }

    /// The bytes that a `data` chunk holds, where that is clear.
    fn extent(&self, audio: &Chunk) -> Result<Range<u64>, NotSilenceable> {
        let start = audio.start();
        match audio.size {
            0 => return self.check_unsized(start).map(|()| start..self.total_bytes),
            u32::MAX => return Ok(start..self.total_bytes),
            _ => {}
        }
        let mut at = audio.end();
        while let Ok(chunk) = self.chunk(at) {
            if self.is_audio(&chunk) {
                return Err(NotSilenceable::ScatteredAudio);
            }
            at = chunk.end();
        }
        Ok(start..self.total_bytes.min(start + u64::from(audio.size)))
    }

    /// What follows a `data` chunk of size 0 must be audio. If it can be read as a chunk, the size may be meant: FFmpeg plays that
    /// chunk, others skip it, and the time of all that follows depends on it.
    fn check_unsized(&self, start: u64) -> Result<(), NotSilenceable> {
        match self.chunk(start) {
            Ok(next) if self.is_audio(&next) || next.end() <= self.total_bytes => Err(NotSilenceable::UnclearSize),
            Err(NotSilenceable::AudioNotInHead) => Err(NotSilenceable::AudioNotInHead),
            _ => Ok(()),
        }
    }

    fn from(&self, at: u64) -> &'a [u8] {
        usize::try_from(at).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }

    /// Why there is nothing more to read.
    fn too_short(&self) -> NotSilenceable {
        match self.bytes.len() as u64 == self.total_bytes {
            true => NotSilenceable::NoAudio,
            false => NotSilenceable::AudioNotInHead,
        }
    }
}

fn damaged(at: u64) -> NotSilenceable {
    NotSilenceable::DamagedChunk { at }
}
