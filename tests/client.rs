//! The client's streams against a service that is only played: what the wire carries when things go wrong.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use oubliette::api::v1::record_service_server::{RecordService, RecordServiceServer};
use oubliette::api::v1::{self, download_recording_response as down, upload_recording_request as up};
use oubliette::cli::client::{CHUNK_BYTES, Client, Connection};
use oubliette::cli::errors::{CliError, Kind};
use oubliette::cli::settings::{BearerToken, Settings};
use oubliette::crypto::hash::{Sha256, sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};

/// How an upload ended for the service.
#[derive(Debug, PartialEq)]
enum Ending {
    Complete { bytes: usize },
    Refused,
    Broken,
}

/// What the played service does with uploads.
#[derive(Clone, Copy)]
enum Manner {
    Store,
    RefuseAtOnce,
    NeverRead,
}

struct Played {
    manner: Manner,
    endings: mpsc::UnboundedSender<Ending>,
    downloads: Arc<Mutex<Vec<v1::DownloadRecordingResponse>>>,
}

#[tonic::async_trait]
impl RecordService for Played {
    async fn upload_recording(
        &self,
        request: Request<Streaming<v1::UploadRecordingRequest>>,
    ) -> Result<Response<v1::UploadRecordingResponse>, Status> {
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer a-token");
        match self.manner {
            Manner::Store => {}
            Manner::RefuseAtOnce => return Err(Status::permission_denied("not yours")),
            Manner::NeverRead => std::future::pending().await,
        }
        let (ending, hash) = consume(request.into_inner()).await;
        let bytes = if let Ending::Complete { bytes } = ending { bytes } else { 0 };
        self.endings.send(ending).unwrap();
        let content_sha256 = hash.finish().to_vec().into();
        let record = v1::Record { content_bytes: bytes as u64, content_sha256, ..v1::Record::default() };
        Ok(Response::new(v1::UploadRecordingResponse { record: Some(record) }))
    }

    type DownloadRecordingStream = ReceiverStream<Result<v1::DownloadRecordingResponse, Status>>;

    async fn download_recording(
        &self,
        _: Request<v1::DownloadRecordingRequest>,
    ) -> Result<Response<Self::DownloadRecordingStream>, Status> {
        let messages = std::mem::take(&mut *self.downloads.lock().unwrap());
        let (sender, receiver) = mpsc::channel(messages.len().max(1));
        for message in messages {
            sender.send(Ok(message)).await.unwrap();
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn create_transcript(
        &self,
        _: Request<v1::CreateTranscriptRequest>,
    ) -> Result<Response<v1::CreateTranscriptResponse>, Status> {
        std::future::pending().await
    }

    async fn revise_transcript(
        &self,
        _: Request<v1::ReviseTranscriptRequest>,
    ) -> Result<Response<v1::ReviseTranscriptResponse>, Status> {
        std::future::pending().await
    }

    async fn get_transcript(
        &self,
        _: Request<v1::GetTranscriptRequest>,
    ) -> Result<Response<v1::GetTranscriptResponse>, Status> {
        Err(Status::not_found("no such record, or not yours"))
    }

    async fn get_record(&self, _: Request<v1::GetRecordRequest>) -> Result<Response<v1::GetRecordResponse>, Status> {
        Ok(Response::new(v1::GetRecordResponse { record: None }))
    }

    async fn list_records(
        &self,
        _: Request<v1::ListRecordsRequest>,
    ) -> Result<Response<v1::ListRecordsResponse>, Status> {
        Err(Status::resource_exhausted("too many calls"))
    }
}

async fn consume(mut stream: Streaming<v1::UploadRecordingRequest>) -> (Ending, Sha256) {
    let (mut bytes, mut hash, mut is_first) = (0, Sha256::new(), true);
    loop {
        match stream.message().await.map(|message| message.map(|message| message.payload)) {
            Ok(Some(Some(up::Payload::Metadata(_)))) if is_first => is_first = false,
            Ok(Some(Some(up::Payload::Chunk(chunk)))) if !is_first => {
                bytes += chunk.len();
                hash.update(&chunk);
            }
            Ok(Some(_)) => return (Ending::Refused, hash),
            Ok(None) => return (Ending::Complete { bytes }, hash),
            Err(_) => return (Ending::Broken, hash),
        }
    }
}

struct Scene {
    client: Client,
    endings: mpsc::UnboundedReceiver<Ending>,
    downloads: Arc<Mutex<Vec<v1::DownloadRecordingResponse>>>,
}

async fn scene(manner: Manner) -> Scene {
    let (sender, endings) = mpsc::unbounded_channel();
    let downloads = Arc::default();
    let played = Played { manner, endings: sender, downloads: Arc::clone(&downloads) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let server = tonic::transport::Server::builder().add_service(RecordServiceServer::new(played));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let settings = Settings {
        endpoint,
        ca_pem: None,
        server_name: None,
        token: Some(BearerToken::parse("a-token\n").unwrap()),
        identity: None,
        call_timeout: Duration::from_millis(500),
    };
    Scene { client: Connection::open(&settings).await.unwrap(), endings, downloads }
}

/// Gives zeros, then fails.
struct FailsAfter(usize);

impl AsyncRead for FailsAfter {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.0 == 0 {
            return Poll::Ready(Err(std::io::Error::other("the disk is gone")));
        }
        let count = self.0.min(buffer.remaining());
        buffer.initialize_unfilled_to(count).fill(0);
        buffer.advance(count);
        self.0 -= count;
        Poll::Ready(Ok(()))
    }
}

fn metadata() -> v1::RecordingMetadata {
    v1::RecordingMetadata::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_arrives_whole() {
    let mut scene = scene(Manner::Store).await;
    let size = 3 * CHUNK_BYTES + 17;
    let content = tokio::io::repeat(7).take(size as u64);
    let done = scene.client.upload_recording(metadata(), content, CHUNK_BYTES, |_| {}).await.unwrap();
    assert_eq!(done.sent_bytes, size as u64);
    assert_eq!(scene.endings.recv().await, Some(Ending::Complete { bytes: size }));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_cannot_be_read_to_its_end_never_looks_complete() {
    for size in [0, 1, CHUNK_BYTES, 5 * CHUNK_BYTES] {
        let mut scene = scene(Manner::Store).await;
        let done = scene.client.upload_recording(metadata(), FailsAfter(size), CHUNK_BYTES, |_| {}).await;
        assert!(matches!(done.err(), Some(CliError::Content { .. })));
        assert_eq!(scene.endings.recv().await, Some(Ending::Refused), "after {size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_caller_goes_away_never_looks_complete() {
    let mut scene = scene(Manner::Store).await;
    let content = tokio::io::repeat(7).take(1000).chain(NeverReady);
    let upload = scene.client.upload_recording(metadata(), content, 500, |_| {});
    assert!(tokio::time::timeout(Duration::from_millis(200), upload).await.is_err());
    assert_eq!(scene.endings.recv().await, Some(Ending::Refused));
}

/// A pipe whose other end says nothing.
struct NeverReady;

impl AsyncRead for NeverReady {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_ends_an_endless_upload() {
    let scene = scene(Manner::RefuseAtOnce).await;
    let done = scene.client.upload_recording(metadata(), tokio::io::repeat(7), CHUNK_BYTES, |_| {}).await;
    assert_eq!(done.err().unwrap().kind(), Kind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_read_holds_the_reader_back() {
    let scene = scene(Manner::NeverRead).await;
    let mut sent = 0;
    let upload = scene.client.upload_recording(metadata(), tokio::io::repeat(7), CHUNK_BYTES, |bytes| sent = bytes);
    assert!(tokio::time::timeout(Duration::from_millis(500), upload).await.is_err());
    assert!(sent <= 16 * CHUNK_BYTES as u64, "{sent} bytes were read ahead");
}

fn download(content: &[u8], says: u64, hash: &[u8]) -> Vec<v1::DownloadRecordingResponse> {
    let record = v1::Record {
        content_bytes: content.len() as u64,
        content_sha256: hash.to_vec().into(),
        ..v1::Record::default()
    };
    let range = v1::ByteRange { offset: 0, length: says };
    let header =
        down::Payload::Header(v1::DownloadHeader { record: Some(record), range: Some(range), silenced: Vec::new() });
    let chunks = content.chunks(3).map(|chunk| down::Payload::Chunk(chunk.to_vec().into()));
    std::iter::once(header)
        .chain(chunks)
        .map(|payload| v1::DownloadRecordingResponse { payload: Some(payload) })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_taken_only_if_length_and_hash_are_right() {
    let scene = scene(Manner::Store).await;
    let content = b"ring ring";
    let right = sha256(content);
    let protocol = |error: &CliError| matches!(error, CliError::Protocol { .. });
    let differs = |error: &CliError| matches!(error, CliError::ContentDiffers { .. });
    type Check<'a> = &'a dyn Fn(&CliError) -> bool;
    let wrong: [(Vec<_>, Check<'_>); 5] = [
        (download(content, 10, &right), &protocol),
        (download(content, 8, &right), &protocol),
        (download(content, 9, &[0; 32]), &differs),
        (download(content, 9, &right).split_off(1), &protocol),
        (Vec::new(), &protocol),
    ];
    for (messages, is_expected) in wrong {
        *scene.downloads.lock().unwrap() = messages;
        let done =
            scene.client.download_recording(v1::DownloadRecordingRequest::default(), Vec::new(), |_, _| {}).await;
        let error = done.err().unwrap();
        assert!(is_expected(&error), "{error}");
    }
    *scene.downloads.lock().unwrap() = download(content, 9, &right);
    let mut sink = Vec::new();
    scene.client.download_recording(v1::DownloadRecordingRequest::default(), &mut sink, |_, _| {}).await.unwrap();
    assert_eq!(sink, content);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_silence_are_told_apart() {
    let scene = scene(Manner::Store).await;
    let client = &scene.client;
    let error = client.get_transcript(v1::GetTranscriptRequest::default()).await.err().unwrap();
    assert_eq!((error.kind(), error.refusal().unwrap().code), (Kind::NotFound, Code::NotFound));
    let error = client.list_records(v1::ListRecordsRequest::default()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    let error = client.get_record(v1::GetRecordRequest::default()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Other);
    let error = client.create_transcript(v1::CreateTranscriptRequest::default()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    // A service that this one does not have at all.
    let error = client.list_tenants(v1::ListTenantsRequest::default()).await.err().unwrap();
    assert_eq!(error.refusal().unwrap().code, Code::Unimplemented);
}
