//! The manners of every call, whatever its method: it waits its turn, has an end, is counted, and if it fails it fails with the
//! right code, a reason and words, also where tonic refuses it before a handler runs.
//!
//! tonic has settings of the same names (`timeout`, `concurrency_limit_per_connection`, `load_shed`). They are not used: their
//! time-out cuts an upload like any other call and does not see a download's body, the other two forget a call at its first
//! byte, and all three answer with bare statuses from outside of any layer. Nothing here reads a message.

mod amend;
mod body;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tower::Layer;

use super::listener::Peer;
use super::methods::{Flow, Method, SERVICES};
use super::reason::code_name;
use super::status::ApiError;
use crate::config::Limits;
use crate::telemetry::metrics::{Counted, Metrics};

pub use amend::amend;
use amend::amend_headers;
pub use body::Watches;
use body::{FromClient, ToClient};

/// Puts [`Manners`] around the routes.
#[derive(Clone)]
pub struct MannersLayer {
    rules: Arc<Rules>,
    stopping: CancellationToken,
}

impl MannersLayer {
    /// With these limits. Calls that never end by themselves end once `stopping` is cancelled.
    pub fn new(limits: &Limits, metrics: Arc<Metrics>, stopping: CancellationToken) -> Self {
        let rules = Rules {
            queue_timeout_ms: limits.call_queue_timeout_ms,
            calls_per_connection: limits.calls_per_connection,
            call_timeout_ms: limits.call_timeout_ms,
            stream_deadline_ms: limits.stream_deadline_ms,
            stream_idle_timeout_ms: limits.stream_idle_timeout_ms,
            metrics,
        };
        Self { rules: Arc::new(rules), stopping }
    }

    /// The same for one connection, which takes no new calls once `closing` is cancelled.
    #[must_use]
    pub fn of_connection(&self, closing: CancellationToken) -> Self {
        Self { rules: self.rules.clone(), stopping: closing }
    }
}

impl<S> Layer<S> for MannersLayer {
    type Service = Manners<S>;

    fn layer(&self, inner: S) -> Manners<S> {
        Manners { inner, rules: self.rules.clone(), stopping: self.stopping.clone() }
    }
}

struct Rules {
    queue_timeout_ms: u64,
    calls_per_connection: usize,
    call_timeout_ms: u64,
    stream_deadline_ms: u64,
    stream_idle_timeout_ms: u64,
    metrics: Arc<Metrics>,
}

/// The service with manners.
#[derive(Clone)]
pub struct Manners<S> {
    inner: S,
    rules: Arc<Rules>,
    stopping: CancellationToken,
}

impl<S> Service<Request<Body>> for Manners<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone was not asked whether it is ready; the one that was takes the call.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(self.rules.clone().carry_out(inner, request, self.stopping.clone()))
    }
}

impl Rules {
    async fn carry_out<S>(
        self: Arc<Self>,
        mut inner: S,
        request: Request<Body>,
        stopping: CancellationToken,
    ) -> Result<Response<Body>, Infallible>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let method = Method::at(request.uri().path());
        let mut call = Call::begin(method, self.metrics.clone());
        // Watchers of health and users of reflection never hang up: they take no turn, and must not keep a stopping service or an idle
        // connection alive.
        let is_endless = !SERVICES.contains(&method.service);
        if !is_endless {
            match self.turn(request.extensions().get::<Peer>()).await {
                Ok(turn) => call.turn = turn,
                Err(refused) => return Ok(call.refuse(refused)),
            }
        }
        let limit_ms = match method.flow {
            Flow::Unary => self.call_timeout_ms,
            Flow::Stream => self.stream_deadline_ms,
        };
        let end = Instant::now() + Duration::from_millis(limit_ms);
        let idle_ms = self.stream_idle_timeout_ms;
        let request = request.map(|body| Body::new(FromClient::new(body, idle_ms)));
        let Ok(answer) = tokio::time::timeout_at(end, inner.call(request)).await else {
            return Ok(call.refuse(ApiError::Deadline { limit_ms }));
        };
        let mut response = answer.unwrap_or_else(|never| match never {});
        let watches = response.extensions_mut().remove().unwrap_or_default();
        call.code = amend_headers(response.headers_mut()).map(code_name);
        let stopping = is_endless.then_some(stopping);
        Ok(response.map(|body| Body::new(ToClient::new(body, call, watches, end, limit_ms, stopping))))
    }

    /// Waits until fewer calls of the same connection are open than may be.
    async fn turn(&self, peer: Option<&Peer>) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        let Some(Peer { calls, begun, .. }) = peer.cloned() else { return Ok(None) };
        begun.fetch_add(1, Ordering::AcqRel);
        let wait = Duration::from_millis(self.queue_timeout_ms);
        match tokio::time::timeout(wait, Semaphore::acquire_owned(calls)).await {
            Ok(turn) => Ok(turn.ok()),
            Err(_) => Err(ApiError::Overloaded {
                what: "the number of calls of this connection",
                limit: self.calls_per_connection as u64,
                retry_ms: RETRY_MS,
            }),
        }
    }
}

/// When a call that found no turn should come again.
const RETRY_MS: u64 = 1_000;

/// A call from its headers to its last byte. Counted when it is dropped; without a code, its caller gave it up.
struct Call {
    method: Method,
    code: Option<&'static str>,
    begun: Instant,
    turn: Option<OwnedSemaphorePermit>,
    metrics: Arc<Metrics>,
    _open: Counted,
}

impl Call {
    fn begin(method: Method, metrics: Arc<Metrics>) -> Self {
        let _open = Counted::new(&metrics.open_calls);
        Self { method, code: None, begun: Instant::now(), turn: None, metrics, _open }
    }

    fn refuse(mut self, error: ApiError) -> Response<Body> {
        let status = Status::from(error);
        self.code = Some(code_name(status.code()));
        status.into_http()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(code_name(tonic::Code::Cancelled));
        self.metrics.call_ended(self.method.name, code, self.begun.elapsed());
    }
}
