//! Recordings up and down, a chunk at a time. No more than a few chunks are in memory, however long the recording is: whoever is
//! slower, the wire or the file, holds the other back.
//!
//! An upload counts as complete when its stream ends, so the stream ends only after [`Piece::End`]. When anything else stops it
//! (the file cannot be read, the caller goes away), the service gets a message that it must refuse, and stores nothing. A process
//! that dies cannot send it: there the service itself has to tell a reset from an end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::crypto::hash::Sha256;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{Authorized, Client, MAX_MESSAGE_BYTES, STREAM_IDLE};
use crate::api::v1::record_service_client::RecordServiceClient;
use crate::api::v1::{self, download_recording_response as down, upload_recording_request as up};
use crate::cli::errors::CliError;
use crate::domain::codec::hex;

/// The usual size of a chunk.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// The largest chunk: a message less its frame.
pub const MAX_CHUNK_BYTES: usize = MAX_MESSAGE_BYTES - 1024;
/// How many chunks may wait for the wire.
const QUEUED_CHUNKS: usize = 4;
/// How long the service may take to be told that an upload is broken off.
const BREAK_OFF: Duration = Duration::from_secs(5);

/// What an upload came to.
pub struct Uploaded {
    /// The stored record.
    pub record: v1::Record,
    /// The bytes that were sent; fewer than the content where the service knew the request already.
    pub sent_bytes: u64,
}

/// What a download came to.
pub struct Downloaded {
    /// What is known about the recording.
    pub record: v1::Record,
    /// The bytes that were read.
    pub range: v1::ByteRange,
    /// What was silenced on its way.
    pub silenced: Vec<v1::SpokenSpan>,
    /// SHA-256 of these bytes. That of a whole recording was already compared with the record's.
    pub sha256: [u8; 32],
}

impl Client {
    /// Stores a recording, reading `content` to its end in chunks of `chunk_bytes` (1 to [`MAX_CHUNK_BYTES`]).
    /// `progress` gets the number of bytes handed to the wire so far.
    pub async fn upload_recording<R: AsyncRead + Unpin>(
        &self,
        metadata: v1::RecordingMetadata,
        content: R,
        chunk_bytes: usize,
        progress: impl FnMut(u64),
    ) -> Result<Uploaded, CliError> {
        let (sender, receiver) = mpsc::channel(QUEUED_CHUNKS);
        let (_present, gone) = oneshot::channel();
        let mut call = tokio::spawn(send(self.records.clone(), Upload { receiver, is_over: false }, gone));
        let mut feed = Feed { sender, hash: Sha256::new(), sent_bytes: 0 };
        let chunk_bytes = chunk_bytes.clamp(1, MAX_CHUNK_BYTES);
        let fed = tokio::select! {
            // The service may answer before it has all: it refuses, or it knows the request id.
            answer = &mut call => return uploaded(answer, feed.sent_bytes),
            fed = feed.all(metadata, content, chunk_bytes, progress) => fed,
        };
        let Feed { sender, hash, sent_bytes } = feed;
        drop(sender);
        let fed = match fed {
            Ok(fed) => fed,
            Err(error) => {
                // What the service says to the breaking-off is of no interest, only that it was told.
                let _ = tokio::time::timeout(BREAK_OFF, call).await;
                return Err(error);
            }
        };
        let wait = self.call_timeout.max(STREAM_IDLE);
        let answer = tokio::time::timeout(wait, call).await.map_err(|_| CliError::Deadline { waited: wait })?;
        let done = uploaded(answer, sent_bytes)?;
        match fed {
            Fed::All => compare(&done.record.content_sha256, &hash.finish()).map(|()| done),
            Fed::Stopped => Ok(done),
        }
    }

    /// Reads a recording, or the given bytes of it, into `sink`. `progress` gets the bytes written so far and their total.
    pub async fn download_recording<W: AsyncWrite + Unpin>(
        &self,
        request: v1::DownloadRecordingRequest,
        mut sink: W,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Downloaded, CliError> {
        let mut records = self.records.clone();
        let mut stream = self.answer(records.download_recording(Request::new(request))).await?;
        let v1::DownloadHeader { record, range, silenced } = header(&mut stream).await?;
        let (record, range) = (record.unwrap_or_default(), range.unwrap_or_default());
        progress(0, range.length);
        let mut hash = Sha256::new();
        let mut received: u64 = 0;
        while let Some(message) = next(&mut stream).await? {
            let Some(down::Payload::Chunk(chunk)) = message.payload else {
                return Err(CliError::Protocol { what: "a message behind the first is no chunk" });
            };
            received = received.saturating_add(chunk.len() as u64);
            if received > range.length {
                return Err(CliError::Protocol { what: "more bytes than it said" });
            }
            hash.update(&chunk);
            sink.write_all(&chunk).await.map_err(|source| CliError::Sink { source })?;
            progress(received, range.length);
        }
        if received != range.length {
            return Err(CliError::Protocol { what: "fewer bytes than it said" });
        }
        sink.flush().await.map_err(|source| CliError::Sink { source })?;
        let sha256 = hash.finish();
        // What was silenced on its way has another hash.
        if range.offset == 0 && range.length == record.content_bytes && silenced.is_empty() {
            compare(&record.content_sha256, &sha256)?;
        }
        Ok(Downloaded { record, range, silenced, sha256 })
    }
}

type Answer = Result<Response<v1::UploadRecordingResponse>, Status>;

/// Makes the call in a task of its own, which outlives the caller by [`BREAK_OFF`] at most: a call that is merely dropped resets
/// the stream, and tonic shows a reset to a service as if the stream had ended.
async fn send(
    mut records: RecordServiceClient<Authorized>,
    upload: Upload,
    gone: oneshot::Receiver<Infallible>,
) -> Answer {
    let broken_off = async {
        let _ = gone.await;
        tokio::time::sleep(BREAK_OFF).await;
    };
    tokio::select! {
        answer = records.upload_recording(Request::new(upload)) => answer,
        () = broken_off => Err(Status::cancelled("the caller is gone")),
    }
}

fn uploaded(answer: Result<Answer, JoinError>, sent_bytes: u64) -> Result<Uploaded, CliError> {
    let answer = answer.map_err(|error| CliError::Broken { reason: error.to_string() })?;
    let record = answer?.into_inner().record.ok_or(CliError::Protocol { what: "no `record` in it" })?;
    Ok(Uploaded { record, sent_bytes })
}

fn compare(expected: &[u8], found: &[u8; 32]) -> Result<(), CliError> {
    if expected == found {
        return Ok(());
    }
    Err(CliError::ContentDiffers { expected: hex(expected), found: hex(found) })
}

/// Has a record and a range.
async fn header(stream: &mut Streaming<v1::DownloadRecordingResponse>) -> Result<v1::DownloadHeader, CliError> {
    match next(stream).await?.and_then(|message| message.payload) {
        Some(down::Payload::Header(header)) if header.record.is_some() && header.range.is_some() => Ok(header),
        _ => Err(CliError::Protocol { what: "the first message does not describe the recording" }),
    }
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, CliError> {
    within(STREAM_IDLE, stream.message()).await?.map_err(CliError::from)
}

async fn within<T>(idle: Duration, step: impl Future<Output = T>) -> Result<T, CliError> {
    tokio::time::timeout(idle, step).await.map_err(|_| CliError::Idle { waited: idle })
}

/// What the feeding of an upload came to.
enum Fed {
    /// All of the content is on its way.
    All,
    /// The call takes no more; its answer says why.
    Stopped,
}

/// Reads the content and hands it to the stream.
struct Feed {
    sender: mpsc::Sender<Piece>,
    hash: Sha256,
    sent_bytes: u64,
}

impl Feed {
    async fn all<R: AsyncRead + Unpin>(
        &mut self,
        metadata: v1::RecordingMetadata,
        mut content: R,
        chunk_bytes: usize,
        mut progress: impl FnMut(u64),
    ) -> Result<Fed, CliError> {
        if !self.send(Piece::Metadata(Box::new(metadata))).await? {
            return Ok(Fed::Stopped);
        }
        loop {
            let chunk = read_chunk(&mut content, chunk_bytes).await.map_err(|source| CliError::Content { source })?;
            if chunk.is_empty() {
                break;
            }
            let length = chunk.len() as u64;
            self.hash.update(&chunk);
            if !self.send(Piece::Chunk(chunk)).await? {
                return Ok(Fed::Stopped);
            }
            self.sent_bytes += length;
            progress(self.sent_bytes);
        }
        let ended = self.send(Piece::End).await?;
        Ok(if ended { Fed::All } else { Fed::Stopped })
    }

    /// Whether the call still takes pieces.
    async fn send(&self, piece: Piece) -> Result<bool, CliError> {
        Ok(within(STREAM_IDLE, self.sender.send(piece)).await?.is_ok())
    }
}

/// Fills a chunk, so that a pipe that gives a little at a time does not make many small messages.
async fn read_chunk(content: &mut (impl AsyncRead + Unpin), chunk_bytes: usize) -> std::io::Result<Bytes> {
    let mut chunk = BytesMut::with_capacity(chunk_bytes);
    while chunk.len() < chunk_bytes {
        let room = (chunk_bytes - chunk.len()) as u64;
        if (&mut *content).take(room).read_buf(&mut chunk).await? == 0 {
            break;
        }
    }
    Ok(chunk.freeze())
}

/// What goes to the wire.
enum Piece {
    /// The first message, and only that.
    Metadata(Box<v1::RecordingMetadata>),
    Chunk(Bytes),
    /// The content is complete.
    End,
}

/// The stream of an upload's messages.
struct Upload {
    receiver: mpsc::Receiver<Piece>,
    is_over: bool,
}

impl Stream for Upload {
    type Item = v1::UploadRecordingRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let payload = match ready!(self.receiver.poll_recv(context)) {
            Some(Piece::Metadata(metadata)) => Some(up::Payload::Metadata(*metadata)),
            Some(Piece::Chunk(chunk)) => Some(up::Payload::Chunk(chunk)),
            Some(Piece::End) => {
                self.is_over = true;
                return Poll::Ready(None);
            }
            // Broken off. A mere end would look complete; a message without payload is refused by the API's rules.
            None => {
                self.is_over = true;
                None
            }
        };
        Poll::Ready(Some(v1::UploadRecordingRequest { payload }))
    }
}
