//! Reading a recording, or a span of it: only the chunks that hold the span are fetched, and each is given out after it verified.

use zeroize::Zeroizing;

use super::core::Core;
use super::fence::{Inside, Watch};
use super::format::{Manifest, Part, Place, Use, use_key};
use super::record_rows::Sealed;
use super::{Vault, VaultError};
use crate::access::permit::Permit;
use crate::crypto::content::{CHUNK, HEADER, Opener, SEALED_CHUNK, sealed_len};
use crate::crypto::secret::Key;
use crate::domain::record::{ByteSpan, Record, RecordFacts, RecordKind};
use crate::domain::sensitive::SpokenSpan;
use crate::masking::wav::{MAX_HEAD_BYTES, Silencer, WavLayout};
use crate::store::ObjectName;
use std::sync::Arc;

/// Chunks fetched and opened in one go: 256 KiB.
const CHUNKS_AT_ONCE: u64 = 16;

/// A span that a caller asks for; a length of 0 means up to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedSpan {
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// A recording that is being read. While it lives, its reader stands inside the customer's fence.
pub struct Download {
    core: Arc<Core>,
    record: Record,
    span: ByteSpan,
    place: Place,
    secret: Key,
    manifest: Manifest,
    /// The next plaintext byte to give out.
    next: u64,
    part: Option<OpenPart>,
    /// Silences what the caller may not hear, where there is something.
    silencer: Option<Silencer>,
    /// What that is.
    silenced: Vec<SpokenSpan>,
    inside: Inside,
}

struct OpenPart {
    number: usize,
    /// The part's first byte in the recording.
    start: u64,
    opener: Opener,
}

impl Vault {
    /// Begins to read a recording. Its ledger entry is durable when this returns.
    pub async fn open_recording(
        &self,
        permit: Permit<RecordFacts>,
        requested: Option<RequestedSpan>,
    ) -> Result<Download, VaultError> {
        let facts = permit.resource().clone();
        if facts.kind != RecordKind::Recording {
            return self.not_of_this_kind(&permit).await;
        }
        let inside = self.begin_read(&permit).await?;
        let opened = self.core.blocking(move |core| core.open_record(&facts)).await?;
        let Sealed::Parts { manifest, .. } = opened.content else {
            return Err(VaultError::damaged("a recording"));
        };
        let span = resolve(requested, manifest.plain_bytes())?;
        let silenced: Vec<_> = opened.record.spoken.iter().copied().filter(|one| !permit.sees(one.kind)).collect();
        let mut download = Download {
            core: Arc::clone(&self.core),
            record: opened.record,
            span,
            place: opened.place,
            secret: opened.secret,
            manifest,
            next: span.offset,
            part: None,
            silencer: None,
            silenced,
            inside,
        };
        if !download.silenced.is_empty() {
            download.silencer = Some(download.silencer().await?);
        }
        Ok(download)
    }

    /// All of some content that stands in parts. Only for content that is bounded otherwise: a chat.
    pub(super) async fn read_whole(
        &self,
        place: &Place,
        secret: &Key,
        manifest: &Manifest,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let mut whole = Zeroizing::new(Vec::new());
        open_all(&self.core, place, secret, manifest, &mut |plain| whole.extend_from_slice(&plain)).await?;
        Ok(whole)
    }
}

impl Download {
    /// Made of the head of the recording, whatever span is asked for.
    async fn silencer(&self) -> Result<Silencer, VaultError> {
        let mut head = Zeroizing::new(Vec::new());
        let part = self.open_part_at(0).await?;
        let sealed = self.manifest.parts.first().ok_or(VaultError::damaged("a recording"))?;
        read_chunks(&self.core, &self.place, sealed, &part.opener, 0, &mut head).await?;
        let layout = WavLayout::parse(&head[..head.len().min(MAX_HEAD_BYTES)], self.manifest.plain_bytes())?;
        let times: Vec<_> = self.silenced.iter().map(|one| one.time).collect();
        Ok(Silencer::new(layout, &times)?)
    }

    /// What is silent in what is given out, and not in the recording.
    pub fn silenced(&self) -> &[SpokenSpan] {
        &self.silenced
    }

    /// The recording.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The span that is given out.
    pub fn span(&self) -> ByteSpan {
        self.span
    }

    /// A watch of the customer's fence, for what is given out.
    pub fn watch(&self) -> Watch {
        self.inside.watch()
    }

    /// Fires when the customer is being erased; nothing is given out after it.
    pub fn erased(&self) -> tokio_util::sync::CancellationToken {
        self.inside.closed().clone()
    }

    /// Fires when the tenant is frozen; nothing is given out after it.
    pub fn frozen(&self) -> tokio_util::sync::CancellationToken {
        self.inside.frozen()
    }

    /// The next bytes, at most 256 KiB; `None` at the end of the span.
    pub async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let end = self.span.offset + self.span.length;
        if self.next >= end {
            return Ok(None);
        }
        if self.inside.closed().is_cancelled() {
            return Err(VaultError::CustomerErased);
        }
        if self.inside.frozen().is_cancelled() {
            return Err(VaultError::TenantFrozen);
        }
        let part = match self.part.take() {
            Some(part) => part,
            None => self.open_part_at(self.next).await?,
        };
        let sealed = self.manifest.parts.get(part.number).ok_or(VaultError::damaged("a recording"))?;
        let within = self.next - part.start;
        let first = within / CHUNK as u64;
        let mut plain = Zeroizing::new(Vec::new());
        read_chunks(&self.core, &self.place, sealed, &part.opener, first, &mut plain).await?;
        let skip = usize::try_from(within - first * CHUNK as u64).unwrap_or(usize::MAX);
        if skip >= plain.len() {
            return Err(VaultError::damaged("a recording"));
        }
        let keep = usize::try_from(end - self.next).unwrap_or(usize::MAX).min(plain.len() - skip);
        let part_end = part.start + sealed.plain_bytes;
        if let Some(silencer) = &self.silencer {
            silencer.apply(self.next, &mut plain[skip..skip + keep]);
        }
        self.next += keep as u64;
        if self.next < part_end {
            self.part = Some(part);
        }
        if skip == 0 && keep == plain.len() {
            return Ok(Some(plain));
        }
        Ok(Some(Zeroizing::new(plain[skip..skip + keep].to_vec())))
    }

    async fn open_part_at(&self, at: u64) -> Result<OpenPart, VaultError> {
        let mut start = 0;
        for (number, part) in self.manifest.parts.iter().enumerate() {
            if at < start + part.plain_bytes {
                let opener = open_part(&self.core, &self.place, &self.secret, number, part).await?;
                return Ok(OpenPart { number, start, opener });
            }
            start += part.plain_bytes;
        }
        Err(VaultError::damaged("a recording"))
    }
}

fn resolve(requested: Option<RequestedSpan>, size_bytes: u64) -> Result<ByteSpan, VaultError> {
    let Some(RequestedSpan { offset, length }) = requested else {
        return Ok(ByteSpan { offset: 0, length: size_bytes });
    };
    let refused = VaultError::RangeNotSatisfiable { size_bytes };
    let rest = size_bytes.checked_sub(offset).filter(|rest| *rest > 0);
    match rest {
        Some(rest) if length == 0 => Ok(ByteSpan { offset, length: rest }),
        Some(rest) if length <= rest => Ok(ByteSpan { offset, length }),
        _ => Err(refused),
    }
}

/// Opens all parts, and gives what is in them to `each`, 256 KiB at a time.
pub(super) async fn open_all(
    core: &Core,
    place: &Place,
    secret: &Key,
    manifest: &Manifest,
    each: &mut (dyn FnMut(Zeroizing<Vec<u8>>) + Send),
) -> Result<(), VaultError> {
    for (number, part) in manifest.parts.iter().enumerate() {
        let opener = open_part(core, place, secret, number, part).await?;
        let chunks = part.plain_bytes / CHUNK as u64 + 1;
        for first in (0..chunks).step_by(CHUNKS_AT_ONCE as usize) {
            let mut plain = Zeroizing::new(Vec::new());
            read_chunks(core, place, part, &opener, first, &mut plain).await?;
            each(plain);
        }
    }
    Ok(())
}

async fn open_part(core: &Core, place: &Place, secret: &Key, number: usize, part: &Part) -> Result<Opener, VaultError> {
    let damaged = || VaultError::damaged("a part of a record");
    let header = core.objects.read(name(place, part), 0..HEADER as u64).await?;
    let number = u32::try_from(number).map_err(|_| damaged())?;
    let key = use_key(secret, Use::Part, place);
    let opener = Opener::new(&key, &number.to_be_bytes(), &header).map_err(|_| damaged())?;
    if opener.commitment() == part.commitment { Ok(opener) } else { Err(damaged()) }
}

/// Appends the plaintext of up to [`CHUNKS_AT_ONCE`] chunks of a part from `first` on.
async fn read_chunks(
    core: &Core,
    place: &Place,
    part: &Part,
    opener: &Opener,
    first: u64,
    out: &mut Zeroizing<Vec<u8>>,
) -> Result<(), VaultError> {
    let last = part.plain_bytes / CHUNK as u64;
    let behind = (first + CHUNKS_AT_ONCE).min(last + 1);
    let from = HEADER as u64 + first * SEALED_CHUNK as u64;
    let to = (HEADER as u64 + behind * SEALED_CHUNK as u64).min(sealed_len(part.plain_bytes));
    let sealed = core.objects.read(name(place, part), from..to).await?;
    out.reserve_exact(sealed.len());
    for (index, chunk) in (first..behind).zip(sealed.chunks(SEALED_CHUNK)) {
        opener.chunk(index, chunk, index == last, out).map_err(|_| VaultError::damaged("a part of a record"))?;
    }
    Ok(())
}

fn name(place: &Place, part: &Part) -> ObjectName {
    ObjectName::new(place.handle, place.record, part.object)
}
