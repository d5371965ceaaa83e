//! `oubliette.v1.RecordService`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use super::gate::Gate;
use super::leash::Leash;
use super::leaving::{leaving, leaving_write};
use super::manners::amend;
use super::page_token;
use super::presented::Presented;
use super::status::ApiError;
use super::v1::record_service_server::RecordService;
use super::{from_proto, to_proto, v1};
use crate::crypto::hash::sha256;
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::grant::Why;
use crate::domain::ids::{RecordId, Revision};
use crate::domain::record::{Record, RecordFacts};
use crate::vault::{Begun, Download, Fenced, Page, RequestKey, RequestedSpan, Upload, VaultError};

/// Messages of a download that wait for a slow reader.
const CHUNKS_WAITING: usize = 1;

/// The service.
pub(super) struct Records {
    gate: Arc<Gate>,
}

type Permit = crate::access::permit::Permit<RecordFacts>;

impl Records {
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    async fn create(&self, request: Request<v1::CreateTranscriptRequest>) -> Result<Fenced<Record>, ApiError> {
        let caller = self.gate.caller(&Presented::of(&request)).await?;
        let permit = self.gate.door(&caller, Action::CreateTranscript, None, None).await?;
        let message = request.into_inner();
        let hash = hash_of(&message);
        let (id, new) = from_proto::create_transcript(message, Timestamp::now())?;
        let record = self.gate.vault.create_transcript(permit, new, RequestKey { id, hash }).await?;
        self.gate.metrics.records_stored.inc();
        Ok(record)
    }

    async fn revise(&self, request: Request<v1::ReviseTranscriptRequest>) -> Result<Fenced<Record>, ApiError> {
        let caller = self.gate.caller(&Presented::of(&request)).await?;
        let permit = self.gate.door(&caller, Action::ReviseTranscript, None, None).await?;
        let message = request.into_inner();
        let hash = hash_of(&message);
        let (id, which, new) = from_proto::revise_transcript(message, Timestamp::now())?;
        Ok(self.gate.vault.revise_transcript(permit, which, new, RequestKey { id, hash }).await?)
    }

    async fn upload(&self, request: Request<Streaming<v1::UploadRecordingRequest>>) -> Result<Fenced<Record>, Status> {
        let presented = Arc::new(Presented::of(&request));
        let caller = self.gate.caller(&presented).await?;
        let mut stream = request.into_inner();
        let permit = self.gate.door(&caller, Action::UploadRecording, None, None).await?;
        let leash = self.gate.leash_of_door(presented, &permit);
        let _room = self.gate.room_for_a_stream()?;
        let first = stream.message().await.map_err(amend)?;
        let hash = first.as_ref().map_or([0; 32], hash_of);
        let (id, new) = from_proto::upload_metadata(first, Timestamp::now()).map_err(ApiError::from)?;
        let begun = self.gate.vault.begin_upload(permit, new, RequestKey { id, hash }).await;
        let record = match begun.map_err(of_metadata)? {
            Begun::Done(record) => *record,
            Begun::Started(upload) => take_all(upload, stream, &leash).await?,
        };
        self.gate.metrics.records_stored.inc();
        Ok(record)
    }

    async fn download(&self, request: Request<v1::DownloadRecordingRequest>) -> Result<Fenced<Chunks>, ApiError> {
        let presented = Arc::new(Presented::of(&request));
        let caller = self.gate.caller(&presented).await?;
        let (record, why, range) = from_proto::download(request.into_inner())?;
        let permit = self.permit(&caller, Action::DownloadRecording, (record, None), why).await?;
        let room = self.gate.room_for_a_stream()?;
        let length = range.length.map_or(0, std::num::NonZeroU64::get);
        let is_whole = range.offset == 0 && length == 0;
        let span = (!is_whole).then_some(RequestedSpan { offset: range.offset, length });
        let leash = self.gate.leash_of_record(presented, &permit);
        let download = self.gate.vault.open_recording(permit, span).await?;
        let watches = vec![download.watch()];
        Ok(Fenced { content: Chunks::of(download, leash, room, self.gate.stream_idle), watches })
    }

    async fn transcript(
        &self,
        request: Request<v1::GetTranscriptRequest>,
    ) -> Result<Response<v1::GetTranscriptResponse>, ApiError> {
        let caller = self.gate.caller(&Presented::of(&request)).await?;
        let message = request.into_inner();
        let (record, why) = from_proto::read(&message.record_id, &message.purpose, message.reader_case_id)?;
        let which = (record, from_proto::revision(message.revision));
        let permit = self.permit(&caller, Action::GetTranscript, which, why).await?;
        let read = self.gate.vault.get_transcript(permit).await?;
        Ok(leaving(read, |(record, turns)| v1::GetTranscriptResponse {
            record: Some(to_proto::record(record)),
            turns: to_proto::turns(turns),
        }))
    }

    async fn record(&self, request: Request<v1::GetRecordRequest>) -> Result<Fenced<Record>, ApiError> {
        let caller = self.gate.caller(&Presented::of(&request)).await?;
        let message = request.into_inner();
        let (record, why) = from_proto::read(&message.record_id, &message.purpose, message.reader_case_id)?;
        let permit = self.permit(&caller, Action::GetRecord, (record, None), why).await?;
        Ok(self.gate.vault.get_record(permit).await?)
    }

    async fn list(
        &self,
        request: Request<v1::ListRecordsRequest>,
    ) -> Result<Response<v1::ListRecordsResponse>, ApiError> {
        let caller = self.gate.caller(&Presented::of(&request)).await?;
        let message = request.into_inner();
        let question = page_token::question(&message);
        let asked = from_proto::list_records(message)?;
        let mark = asked.page.token.as_deref().map(page_token::read).transpose()?;
        let page = Page { question, mark, size: asked.page.size };
        let door = Arc::new(self.gate.door(&caller, Action::ListRecords, None, Some(asked.why)).await?);
        let vault = &self.gate.vault;
        let found = vault.find(&door, &asked.filter, page, self.gate.visible(&door)).await?;
        let records = vault.show(&door, &asked.filter, found.handle, found.permits).await?;
        Ok(leaving(records, |records| v1::ListRecordsResponse {
            records: records.into_iter().map(to_proto::record).collect(),
            next_page_token: found.next.map(|next| page_token::write(&next)).unwrap_or_default(),
        }))
    }

    async fn permit(
        &self,
        caller: &crate::domain::principal::Principal,
        action: Action,
        (record, revision): (RecordId, Option<Revision>),
        why: Why,
    ) -> Result<Permit, ApiError> {
        let door = self.gate.door(caller, action, None, Some(why)).await?;
        self.gate.record(&door, record, revision).await
    }
}

/// What the vault says about a request stands, in an upload, in its metadata.
fn of_metadata(error: VaultError) -> ApiError {
    match error {
        VaultError::Invalid(invalid) => invalid.within("metadata").into(),
        other => other.into(),
    }
}

/// SHA-256 of a request's encoding, which is wiped.
fn hash_of(message: &impl prost::Message) -> [u8; 32] {
    sha256(&Zeroizing::new(message.encode_to_vec()))
}

/// Takes the chunks of an upload until its end. Whatever goes wrong, nothing of it stays.
async fn take_all(
    mut upload: Upload,
    mut stream: Streaming<v1::UploadRecordingRequest>,
    leash: &Leash,
) -> Result<Fenced<Record>, Status> {
    let (erased, pulled) = (upload.erased(), leash.pulled());
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            () = erased.cancelled() => Err(ApiError::CustomerErased.into()),
            () = pulled.cancelled() => Err(leash.why().unwrap_or(ApiError::Unauthenticated).into()),
        };
        let taken = match message {
            Ok(None) => return Ok(upload.finish().await.map_err(ApiError::from)?),
            Ok(Some(message)) => match from_proto::upload_chunk(message) {
                Ok(chunk) => upload.push(chunk).await.map_err(|error| ApiError::from(error).into()),
                Err(invalid) => Err(ApiError::from(invalid).into()),
            },
            Err(status) => Err(amend(status)),
        };
        if let Err(status) = taken {
            upload.abort().await;
            return Err(status);
        }
    }
}

type Sent = Result<v1::DownloadRecordingResponse, Status>;

/// The messages of a download. A task reads ahead by one; once the customer is being erased, the tenant frozen or the caller's right gone,
/// nothing more comes out of here, not even what was read already.
pub(super) struct Chunks {
    /// `None` says that all was sent. A channel that closes without it broke off.
    waiting: mpsc::Receiver<Option<Sent>>,
    erased: CancellationToken,
    frozen: CancellationToken,
    leash: Leash,
    limit_ms: u64,
    has_ended: bool,
    _room: OwnedSemaphorePermit,
}

impl Chunks {
    fn of(download: Download, leash: Leash, room: OwnedSemaphorePermit, idle: Duration) -> Self {
        let limit_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let (sender, waiting) = mpsc::channel(CHUNKS_WAITING);
        let (erased, frozen) = (download.erased(), download.frozen());
        let ends = [erased.clone(), frozen.clone(), leash.pulled()];
        tokio::spawn(async move {
            let [erased, frozen, pulled] = ends;
            tokio::select! {
                () = erased.cancelled() => {}
                () = frozen.cancelled() => {}
                () = pulled.cancelled() => {}
                () = read_ahead(download, sender, idle) => {}
            }
        });
        Self { waiting, erased, frozen, leash, limit_ms, has_ended: false, _room: room }
    }

    /// Why nothing more may come, if so.
    fn over(&self) -> Option<ApiError> {
        if self.erased.is_cancelled() {
            return Some(ApiError::ErasedWhileReading);
        }
        if self.frozen.is_cancelled() {
            return Some(ApiError::TenantFrozen);
        }
        self.leash.why()
    }
}

/// Reads until the end, until nobody listens, or until nothing was taken for `idle`: then the stream ends with an error. The reader stands inside the customer's fence until then.
async fn read_ahead(mut download: Download, sender: mpsc::Sender<Option<Sent>>, idle: Duration) {
    let header = to_proto::download_header(download.record().clone(), download.span(), download.silenced());
    if sender.send_timeout(Some(Ok(header)), idle).await.is_err() {
        return;
    }
    loop {
        let message = match download.next().await {
            Ok(None) => return drop(sender.send_timeout(None, idle).await),
            Ok(Some(mut chunk)) => Ok(to_proto::download_chunk(Bytes::from(std::mem::take(&mut *chunk)))),
            Err(VaultError::CustomerErased) => Err(ApiError::ErasedWhileReading.into()),
            Err(error) => Err(ApiError::from(error).into()),
        };
        let is_last = message.is_err();
        if sender.send_timeout(Some(message), idle).await.is_err() || is_last {
            return;
        }
    }
}

impl Stream for Chunks {
    type Item = Sent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Sent>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.waiting.poll_recv(context));
        // Looked at after the wait: what came before the end and was not sent stays here.
        if let Some(error) = self.over() {
            self.has_ended = true;
            return Poll::Ready(Some(Err(error.into())));
        }
        match next {
            Some(Some(message)) => Poll::Ready(Some(message)),
            Some(None) => {
                self.has_ended = true;
                Poll::Ready(None)
            }
            None => {
                self.has_ended = true;
                Poll::Ready(Some(Err(ApiError::StreamIdle { limit_ms: self.limit_ms }.into())))
            }
        }
    }
}

#[tonic::async_trait]
impl RecordService for Records {
    type DownloadRecordingStream = Chunks;

    async fn create_transcript(
        &self,
        request: Request<v1::CreateTranscriptRequest>,
    ) -> Result<Response<v1::CreateTranscriptResponse>, Status> {
        let record = self.create(request).await?;
        Ok(leaving_write(record, |record| v1::CreateTranscriptResponse { record: Some(to_proto::record(record)) }))
    }

    async fn revise_transcript(
        &self,
        request: Request<v1::ReviseTranscriptRequest>,
    ) -> Result<Response<v1::ReviseTranscriptResponse>, Status> {
        let record = self.revise(request).await?;
        Ok(leaving_write(record, |record| v1::ReviseTranscriptResponse { record: Some(to_proto::record(record)) }))
    }

    async fn upload_recording(
        &self,
        request: Request<Streaming<v1::UploadRecordingRequest>>,
    ) -> Result<Response<v1::UploadRecordingResponse>, Status> {
        let record = self.upload(request).await?;
        Ok(leaving_write(record, |record| v1::UploadRecordingResponse { record: Some(to_proto::record(record)) }))
    }

    async fn get_transcript(
        &self,
        request: Request<v1::GetTranscriptRequest>,
    ) -> Result<Response<v1::GetTranscriptResponse>, Status> {
        Ok(self.transcript(request).await?)
    }

    async fn download_recording(
        &self,
        request: Request<v1::DownloadRecordingRequest>,
    ) -> Result<Response<Chunks>, Status> {
        Ok(leaving(self.download(request).await?, |chunks| chunks))
    }

    async fn get_record(
        &self,
        request: Request<v1::GetRecordRequest>,
    ) -> Result<Response<v1::GetRecordResponse>, Status> {
        let record = self.record(request).await?;
        Ok(leaving(record, |record| v1::GetRecordResponse { record: Some(to_proto::record(record)) }))
    }

    async fn list_records(
        &self,
        request: Request<v1::ListRecordsRequest>,
    ) -> Result<Response<v1::ListRecordsResponse>, Status> {
        Ok(self.list(request).await?)
    }
}
