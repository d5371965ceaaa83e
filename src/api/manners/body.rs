//! The two halves of a call's bytes, each watched: what comes from the client must keep coming and end cleanly, what goes to it
//! ends in time and with a whole status.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Body as HttpBody;
use tonic::codegen::http::HeaderMap;

use super::Call;
use super::amend::amend_headers;
use crate::api::reason::code_name;
use crate::api::status::ApiError;
use crate::vault::{Ended, Watch};

/// The request's body. It turns whatever breaks the stream into [`ApiError::StreamBroken`]: tonic takes a client's reset for
/// the end of the stream, and the half of an upload that came before it would be stored as the whole.
pub(super) struct FromClient {
    inner: Body,
    idle_ms: u64,
    /// Runs only while we wait for the client, not while the client waits for us.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl FromClient {
    pub(super) fn new(inner: Body, idle_ms: u64) -> Self {
        Self { inner, idle_ms, waiting: None }
    }
}

impl HttpBody for FromClient {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.waiting = None;
            // hyper ends the body without an error where the client resets with NO_ERROR; h2 still knows that no end came.
            let is_cut = frame.is_none() && !this.inner.is_end_stream();
            let frame = if is_cut { Some(Err(ApiError::StreamBroken.into())) } else { frame.map(whole) };
            return Poll::Ready(frame);
        }
        let limit_ms = this.idle_ms;
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(limit_ms))));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Some(Err(ApiError::StreamIdle { limit_ms }.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn whole(frame: Result<Frame<Bytes>, Status>) -> Result<Frame<Bytes>, Status> {
    frame.map_err(|_| ApiError::StreamBroken.into())
}

/// Whose erasure cuts an answer off. Travels with the answer in its extensions.
#[derive(Clone, Default)]
pub struct Watches {
    watches: Arc<Vec<Watch>>,
    is_of_write: bool,
}

impl Watches {
    /// Those of one answer.
    pub fn new(watches: Vec<Watch>) -> Self {
        Self { watches: Arc::new(watches), is_of_write: false }
    }

    /// Those of the answer to a write.
    pub fn of_write(watches: Vec<Watch>) -> Self {
        Self { is_of_write: true, ..Self::new(watches) }
    }

    /// What the caller is told instead of the rest, if it must end. Who stored something for a customer is told that she is erased, as if it had
    /// come later.
    pub fn over(&self) -> Option<ApiError> {
        Some(match self.watches.iter().find_map(Watch::ended)? {
            Ended::Erased if self.is_of_write => ApiError::CustomerErased,
            Ended::Erased => ApiError::ErasedWhileReading,
            Ended::Frozen => ApiError::TenantFrozen,
        })
    }
}

/// The most bytes handed to HTTP/2 at once: one frame. It asks for the next only when the stream's window has room; so where the client
/// takes nothing, no more than this waits there, out of our reach, while a customer is erased. (Where only the socket is full, up to
/// hyper's send buffer may: 400 KiB, which tonic does not let us set.)
const PIECE: usize = 16 * 1024;

/// The response's body, and with it the call.
pub(super) struct ToClient {
    /// `None` once the end was sent.
    inner: Option<Body>,
    call: Call,
    watches: Watches,
    /// What the last frame had more than one piece.
    rest: Bytes,
    end: Pin<Box<Sleep>>,
    limit_ms: u64,
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl ToClient {
    pub(super) fn new(
        inner: Body,
        call: Call,
        watches: Watches,
        end: Instant,
        limit_ms: u64,
        stopping: Option<CancellationToken>,
    ) -> Self {
        let stopping = stopping.map(|token| Box::pin(token.cancelled_owned()));
        let end = Box::pin(tokio::time::sleep_until(end));
        Self { inner: Some(inner), call, watches, rest: Bytes::new(), end, limit_ms, stopping }
    }

    /// Why the stream must end now, if it must.
    fn over(&mut self, cx: &mut Context<'_>) -> Option<ApiError> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Some(ApiError::Deadline { limit_ms: self.limit_ms });
        }
        let stopping = self.stopping.as_mut()?;
        stopping.as_mut().poll(cx).is_ready().then_some(ApiError::ShuttingDown)
    }

    fn piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE)))
    }

    fn cut_off(&mut self, error: ApiError) -> Option<Result<Frame<Bytes>, Status>> {
        self.inner = None;
        self.rest = Bytes::new();
        let status = Status::from(error);
        self.call.code = Some(code_name(status.code()));
        let mut trailers = HeaderMap::new();
        Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers)))
    }
}

impl HttpBody for ToClient {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        // A stream that always has something to send must end in time too; so the clock is asked before it.
        if this.end.is_elapsed() {
            let limit_ms = this.limit_ms;
            return Poll::Ready(this.cut_off(ApiError::Deadline { limit_ms }));
        }
        if let Some(error) = this.watches.over() {
            return Poll::Ready(this.cut_off(error));
        }
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    this.piece()
                }
                Err(mut frame) => {
                    if let Some(code) = frame.trailers_mut().and_then(amend_headers) {
                        this.call.code = Some(code_name(code));
                    }
                    frame
                }
            }))),
            Poll::Ready(other) => Poll::Ready(other),
            Poll::Pending => match this.over(cx) {
                Some(error) => Poll::Ready(this.cut_off(error)),
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    /// Unknown: an erasure can cut it short.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
