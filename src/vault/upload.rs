//! Storing what is too large for rows, a recording or a long chat, as it arrives: part by part, each sealed and durable before the next one's last byte is taken.
//!
//! The wrapped secret and the upload's row are durable before the first part. A part that fails is never sealed again under the same salt. If
//! the stream breaks, what was stored is removed; nothing of it was ever visible. After a crash the sweep at start does that.
//!
//! A task of its own does all the work, and an [`Upload`] is the way to it: a caller who goes away in the middle of a write drops the
//! way, and the task ends that write before it removes what is there. A file that came to be after its removal would never be found again.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::customer::WriteKeys;
use super::fence::{Fenced, Inside};
use super::format::{Manifest, Part, Place, UploadRow, Use, use_key};
use super::quota::Reservation;
use super::record_rows::{Draft, Sealed, Storing, check_details};
use super::records::{Admitted, RequestKey, new_record_id};
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::crypto::content::{self, Sealer};
use crate::crypto::hash::{Sha256, same};
use crate::crypto::secret::random_bytes;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{CustomerId, Revision};
use crate::domain::record::{NewRecording, Record, RecordKind};
use crate::store::{Batch, ObjectName, ObjectWriter, rows};

/// Uploads looked at in one go by the sweep.
const SWEEP_AT_ONCE: usize = 256;
/// The most parts: the manifest then still fits the pieces of one record.
const MAX_PARTS: usize = 65_536;

/// What [`Vault::begin_upload`] finds.
pub enum Begun {
    /// The request stored this record before.
    Done(Box<Fenced<Record>>),
    /// The content may come.
    Started(Upload),
}

/// A record that is about to arrive.
pub(super) struct BegunUpload {
    pub admitted: Admitted,
    pub draft: Draft,
    pub customer: CustomerId,
    pub expected_sha256: Option<[u8; 32]>,
    pub reservation: Reservation,
    pub inside: Inside,
}

/// The way to a record whose content is arriving. Dropped before [`Upload::finish`], nothing of the record stays.
pub struct Upload {
    steps: mpsc::Sender<Step>,
    erased: CancellationToken,
}

type Answer<T> = oneshot::Sender<Result<T, VaultError>>;

/// What the task is told.
enum Step {
    Push(Bytes, Answer<()>),
    Finish(Answer<Fenced<Record>>),
    Abort(Answer<()>),
}

/// A record whose content is arriving, in the hands of its task.
struct Arrival {
    vault: Arc<Vault>,
    permit: Permit<TenantScope>,
    admitted: Option<Admitted>,
    customer: CustomerId,
    expected_sha256: Option<[u8; 32]>,
    draft: Option<Draft>,
    place: Place,
    keys: WriteKeys,
    hash: Sha256,
    taken: u64,
    part: Option<OpenPart>,
    parts: Vec<Part>,
    stored_bytes: u64,
    /// Until the batch of the record has it.
    reservation: Option<Reservation>,
    inside: Inside,
}

struct OpenPart {
    object: [u8; 16],
    writer: ObjectWriter,
    sealer: Sealer,
    plain_bytes: u64,
}

impl Vault {
    /// Begins to store a recording.
    pub async fn begin_upload(
        self: &Arc<Self>,
        permit: Permit<TenantScope>,
        new: NewRecording,
        request: RequestKey,
    ) -> Result<Begun, VaultError> {
        let tenant = permit.resource().tenant;
        let admitted = match self.admit(&permit, &new.customer, request).await? {
            Ok(admitted) => admitted,
            Err(record) => return Ok(Begun::Done(Box::new(record))),
        };
        let NewRecording { customer, details, media_type, spoken, expected_sha256 } = new;
        let checked = details.clone();
        self.core.blocking(move |core| check_details(core, tenant, &checked)).await?;
        let reservation = self.reserve(tenant, 0).await?;
        let handle = self.customer_handle(tenant, &customer).await?;
        let inside = self.core.fences.enter(tenant, handle)?;
        let place = Place { tenant, handle, record: new_record_id(), revision: Revision::FIRST };
        let draft = Draft {
            place,
            kind: RecordKind::Recording,
            created: Timestamp::now(),
            details,
            content_bytes: 0,
            content_sha256: None,
            media_type: Some(media_type),
            spoken,
        };
        let begun = BegunUpload { admitted, draft, customer, expected_sha256, reservation, inside };
        Ok(Begun::Started(self.start_upload(permit, begun).await?))
    }

    /// Makes the upload's rows durable; then its content may come.
    pub(super) async fn start_upload(
        self: &Arc<Self>,
        permit: Permit<TenantScope>,
        begun: BegunUpload,
    ) -> Result<Upload, VaultError> {
        let (steps, told) = mpsc::channel(1);
        let (started, is_started) = oneshot::channel();
        let erased = begun.inside.closed().clone();
        let vault = Arc::clone(self);
        tokio::spawn(async move {
            let place = begun.draft.place;
            let arrival = match vault.begin_record(place).await {
                Ok(keys) => Ok(Arrival::new(Arc::clone(&vault), permit, begun, keys)),
                Err(error) => {
                    remove_or_warn(&vault.core, &place).await;
                    Err(error)
                }
            };
            let (arrival, outcome) = arrival.map_or_else(|error| (None, Err(error)), |arrival| (Some(arrival), Ok(())));
            // Whoever asked may have gone; then the way is closed, and the task removes what it has.
            drop(started.send(outcome));
            if let Some(arrival) = arrival {
                arrival.run(told).await;
            }
        });
        is_started.await.unwrap_or(Err(VaultError::Stopping))?;
        Ok(Upload { steps, erased })
    }

    /// Makes the secret and the upload's row durable.
    async fn begin_record(&self, place: Place) -> Result<WriteKeys, VaultError> {
        let (keys, batch) = self
            .core
            .blocking(move |core| {
                let mut batch = Batch::new();
                let keys = core.add_secret(&mut batch, &place)?;
                let key = rows::upload(place.tenant, place.record);
                let row = UploadRow { handle: place.handle, created: Timestamp::now() };
                let job = core.jobs.signed(&key, row.encode());
                batch.put(key, job);
                Ok((keys, batch))
            })
            .await?;
        self.core.committer.commit(batch).await?;
        Ok(keys)
    }

    /// Removes what uploads left behind that no process carries on. One whose row is not ours keeps no other back, and removes nothing.
    pub(super) async fn sweep_uploads(&self) -> Result<(), VaultError> {
        let (mut from, to) = rows::all(rows::Kind::Upload);
        loop {
            let span = (from.clone(), to.clone());
            let left = self.core.blocking(move |core| Ok(core.db.range(&span.0, &span.1, SWEEP_AT_ONCE)?)).await?;
            let Some((last, _)) = left.last() else { return Ok(()) };
            from = rows::behind(last.clone());
            for (key, row) in left {
                let look = move |core: &Arc<Core>| core.accepted(&key, &row, core.upload_job(&key, &row));
                if let Some(place) = self.core.blocking(look).await? {
                    remove_upload(&self.core, &place).await?;
                }
            }
        }
    }
}

/// Removes the parts, the secret and the row of an upload, in this order; and nothing where the row is gone, since then the record is
/// stored. Waits first until what stands in the database is sure to stay: a write that failed may be there after a restart, or not.
async fn remove_upload(core: &Arc<Core>, place: &Place) -> Result<(), VaultError> {
    core.committer.commit(Batch::new()).await?;
    let row = rows::upload(place.tenant, place.record);
    let looked_for = row.clone();
    if core.blocking(move |core| Ok(core.db.get(&looked_for)?)).await?.is_none() {
        return Ok(());
    }
    core.objects.delete_prefix(place.handle, Some(place.record)).await?;
    let mut batch = Batch::new();
    // An epoch that wraps the customer's secrets afresh meanwhile would write this one back.
    batch.hold(Arc::clone(&core.wrapping).read_owned().await);
    batch.delete(rows::secret(place.handle, place.record, place.revision));
    batch.delete(row);
    core.committer.commit(batch).await?;
    Ok(())
}

async fn remove_or_warn(core: &Arc<Core>, place: &Place) {
    if let Err(error) = remove_upload(core, place).await {
        tracing::warn!(record = %place.record, %error, "an upload's remains stay until the next start");
    }
}

impl Upload {
    /// Fires when the customer is being erased; the upload then fails with [`VaultError::CustomerErased`].
    pub fn erased(&self) -> CancellationToken {
        self.erased.clone()
    }

    /// Takes the next bytes. Returns when they are handed to the store, so that a slow disk slows the sender. After an error nothing of
    /// the upload is left.
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), VaultError> {
        self.tell(|answer| Step::Push(bytes, answer)).await
    }

    /// Ends the recording: everything is durable and visible when this returns. Goes on to its end also when the caller goes away.
    pub async fn finish(self) -> Result<Fenced<Record>, VaultError> {
        self.tell(Step::Finish).await
    }

    /// Removes what was stored so far. What cannot be removed now is removed at the next start.
    pub async fn abort(self) {
        // An error says that the task has removed it already.
        drop(self.tell(Step::Abort).await);
    }

    async fn tell<T>(&self, step: impl FnOnce(Answer<T>) -> Step) -> Result<T, VaultError> {
        let (answer, answered) = oneshot::channel();
        let is_told = self.steps.send(step(answer)).await.is_ok();
        let ended = || if self.erased.is_cancelled() { VaultError::CustomerErased } else { VaultError::Stopping };
        if is_told { answered.await.unwrap_or_else(|_| Err(ended())) } else { Err(ended()) }
    }
}

impl Arrival {
    fn new(vault: Arc<Vault>, permit: Permit<TenantScope>, begun: BegunUpload, keys: WriteKeys) -> Self {
        let BegunUpload { admitted, draft, customer, expected_sha256, reservation, inside } = begun;
        Self {
            vault,
            permit,
            admitted: Some(admitted),
            customer,
            expected_sha256,
            place: draft.place,
            draft: Some(draft),
            keys,
            hash: Sha256::new(),
            taken: 0,
            part: None,
            parts: Vec::new(),
            stored_bytes: 0,
            reservation: Some(reservation),
            inside,
        }
    }

    /// Does what it is told, until the end, an error, an erasure, or until nobody can tell it anything any more.
    async fn run(mut self, mut told: mpsc::Receiver<Step>) {
        let erased = self.inside.closed().clone();
        loop {
            let step = tokio::select! {
                step = told.recv() => step,
                () = erased.cancelled() => None,
            };
            match step {
                Some(Step::Push(bytes, answer)) => match self.take(&bytes).await {
                    Ok(()) => drop(answer.send(Ok(()))),
                    Err(error) => {
                        self.remove().await;
                        return drop(answer.send(Err(error)));
                    }
                },
                Some(Step::Finish(answer)) => {
                    let outcome = match self.complete().await {
                        Ok(content) => {
                            let watches = vec![self.inside.watch()];
                            // Outside the fence, and no longer being worked on, before anybody hears of it.
                            drop(self);
                            Ok(Fenced { content, watches })
                        }
                        Err(error) => {
                            self.remove().await;
                            Err(error)
                        }
                    };
                    return drop(answer.send(outcome));
                }
                Some(Step::Abort(answer)) => {
                    self.remove().await;
                    return drop(answer.send(Ok(())));
                }
                None => return self.remove().await,
            }
        }
    }

    async fn remove(mut self) {
        if let Some(part) = self.part.take() {
            drop(part.writer.abort().await);
        }
        remove_or_warn(&self.vault.core, &self.place).await;
    }

    async fn take(&mut self, mut bytes: &[u8]) -> Result<(), VaultError> {
        let limits = &self.vault.core.limits;
        let (limit_bytes, part_bytes) = (limits.recording_bytes, limits.part_bytes);
        if self.inside.closed().is_cancelled() {
            return Err(VaultError::CustomerErased);
        }
        if self.taken + bytes.len() as u64 > limit_bytes {
            return Err(VaultError::ContentTooLarge { limit_bytes });
        }
        self.hash.update(bytes);
        self.taken += bytes.len() as u64;
        while !bytes.is_empty() {
            let mut part = match self.part.take() {
                Some(part) => part,
                None => self.open_part().await?,
            };
            let room = usize::try_from(part_bytes - part.plain_bytes).unwrap_or(usize::MAX);
            let (head, tail) = bytes.split_at(bytes.len().min(room));
            let mut sealed = Vec::with_capacity(head.len() + content::SEALED_CHUNK);
            part.sealer.push(head, &mut sealed);
            part.plain_bytes += head.len() as u64;
            self.take_room(sealed.len())?;
            part.writer.write(sealed).await?;
            bytes = tail;
            if part.plain_bytes == part_bytes {
                self.close_part(part).await?;
            } else {
                self.part = Some(part);
            }
        }
        Ok(())
    }

    async fn complete(&mut self) -> Result<Record, VaultError> {
        if let Some(part) = self.part.take() {
            self.close_part(part).await?;
        }
        if self.taken == 0 {
            return Err(VaultError::ContentEmpty);
        }
        let sha256 = std::mem::take(&mut self.hash).finish();
        if self.expected_sha256.is_some_and(|expected| !same(&expected, &sha256)) {
            return Err(VaultError::HashMismatch);
        }
        let (Some(mut draft), Some(admitted)) = (self.draft.take(), self.admitted.take()) else {
            return Err(VaultError::Stopping);
        };
        // A chat is measured by its text, not by the form in which it is stored.
        if draft.kind == RecordKind::Recording {
            draft.content_bytes = self.taken;
            draft.content_sha256 = Some(sha256);
        }
        let manifest = Manifest { parts: std::mem::take(&mut self.parts) };
        let sealed = Sealed::Parts { manifest, stored_bytes: self.stored_bytes };
        let mut batch = Batch::new();
        batch.hold(self.reservation.take());
        batch.delete(rows::upload(self.place.tenant, self.place.record));
        let (customer, keys) = (self.customer.clone(), self.keys.duplicate());
        let storing = Storing { admitted, draft, customer, keys, sealed, batch };
        self.vault.store(&self.permit, storing).await
    }

    async fn open_part(&mut self) -> Result<OpenPart, VaultError> {
        if self.parts.len() >= MAX_PARTS {
            let limit_bytes = self.vault.core.limits.part_bytes.saturating_mul(MAX_PARTS as u64);
            return Err(VaultError::ContentTooLarge { limit_bytes });
        }
        let object = random_bytes();
        let number = u32::try_from(self.parts.len()).expect("parts are bounded");
        let key = use_key(&self.keys.secret, Use::Part, &self.place);
        let (sealer, header) = Sealer::new(&key, &number.to_be_bytes());
        let name = ObjectName::new(self.place.handle, self.place.record, object);
        self.take_room(content::HEADER)?;
        let mut writer = self.vault.core.objects.create(name).await?;
        writer.write(header.to_vec()).await?;
        Ok(OpenPart { object, writer, sealer, plain_bytes: 0 })
    }

    /// Takes room for sealed bytes that are about to be stored.
    fn take_room(&mut self, sealed_bytes: usize) -> Result<(), VaultError> {
        let Some(reservation) = &mut self.reservation else { return Err(VaultError::Stopping) };
        reservation.grow(sealed_bytes as u64)?;
        self.stored_bytes += sealed_bytes as u64;
        Ok(())
    }

    async fn close_part(&mut self, part: OpenPart) -> Result<(), VaultError> {
        let OpenPart { object, mut writer, sealer, plain_bytes } = part;
        let commitment = sealer.commitment();
        let mut sealed = Vec::with_capacity(content::SEALED_CHUNK);
        sealer.finish(&mut sealed);
        self.take_room(sealed.len())?;
        writer.write(sealed).await?;
        writer.finish().await?;
        self.parts.push(Part { object, commitment, plain_bytes });
        Ok(())
    }
}
