//! The door to the network: accepts connections, no more at a time than may be open, and backs off when the operating system
//! has no more to give.
//!
//! tonic's own listener has no cap and goes on at once after every failed accept: out of file descriptors it would spin. TLS is
//! not done here; a connection here is the bytes below it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, PollSemaphore};
use tonic::transport::server::{Connected, TcpIncoming};

use crate::config::Limits;
use crate::telemetry::metrics::{Counted, Metrics};

/// The first pause after a failed accept; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause after a failed accept.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How many signs of life TCP sends before it gives a connection up.
const TCP_KEEPALIVE_RETRIES: u32 = 3;

/// A bound socket.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds. Port 0 takes any free one; [`Listener::address`] tells which.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections as they come. All of them end when `cut` is cancelled.
    pub(super) fn incoming(self, limits: &Limits, metrics: Arc<Metrics>, cut: CancellationToken) -> Incoming {
        let idle = Some(Duration::from_millis(limits.keepalive_interval_ms));
        let socket = TcpIncoming::from(self.socket)
            .with_nodelay(Some(true))
            .with_keepalive(idle)
            .with_keepalive_interval(Some(Duration::from_millis(limits.keepalive_timeout_ms)))
            .with_keepalive_retries(Some(TCP_KEEPALIVE_RETRIES));
        Incoming {
            socket,
            slots: PollSemaphore::new(Arc::new(Semaphore::new(limits.connections))),
            slot: None,
            pause: None,
            next_pause: FIRST_PAUSE,
            // No new calls after its age, so the last one ends within its own deadline: then nothing is left to wait for.
            longest_life: Duration::from_millis(
                limits.connection_age_ms + limits.stream_deadline_ms + limits.connection_grace_ms,
            ),
            calls_per_connection: limits.calls_per_connection,
            metrics,
            cut,
        }
    }
}

/// The connections as they come. Never ends, never fails.
pub(super) struct Incoming {
    socket: TcpIncoming,
    slots: PollSemaphore,
    /// The slot of the connection that comes next.
    slot: Option<OwnedSemaphorePermit>,
    pause: Option<Pin<Box<Sleep>>>,
    next_pause: Duration,
    longest_life: Duration,
    calls_per_connection: usize,
    metrics: Arc<Metrics>,
    cut: CancellationToken,
}

impl Incoming {
    fn connection(&self, stream: TcpStream, slot: OwnedSemaphorePermit) -> Connection {
        let peer =
            Peer { address: stream.peer_addr().ok(), calls: Arc::new(Semaphore::new(self.calls_per_connection)) };
        let (life, cut) = (self.longest_life, self.cut.clone());
        let end = async move {
            let _ = tokio::time::timeout(life, cut.cancelled_owned()).await;
        };
        Connection {
            stream,
            peer,
            end: Box::pin(end),
            ended: false,
            metrics: self.metrics.clone(),
            _open: Counted::new(&self.metrics.open_connections),
            _slot: slot,
        }
    }

    fn back_off(&mut self, error: &io::Error) {
        let pause_ms = self.next_pause.as_millis();
        tracing::warn!(%error, pause_ms, "cannot accept a connection; check the limit of open files");
        self.pause = Some(Box::pin(tokio::time::sleep(self.next_pause)));
        self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            if this.slot.is_none() {
                this.slot = ready!(this.slots.poll_acquire(cx));
            }
            match ready!(Pin::new(&mut this.socket).poll_next(cx)) {
                Some(Ok(stream)) => {
                    this.next_pause = FIRST_PAUSE;
                    let slot = this.slot.take().expect("a slot was taken above, and the semaphore is never closed");
                    return Poll::Ready(Some(Ok(this.connection(stream, slot))));
                }
                Some(Err(error)) => this.back_off(&error),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Who is at the other end of a connection. Stands in the extensions of every request of that connection.
#[derive(Clone)]
pub struct Peer {
    /// The address, where the connection still knows it.
    pub address: Option<SocketAddr>,
    /// The calls that may be worked on at once, shared by all requests of the connection.
    pub(super) calls: Arc<Semaphore>,
}

/// One connection: counts its bytes, holds its slot, and ends when its time is over.
pub(super) struct Connection {
    stream: TcpStream,
    peer: Peer,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
    metrics: Arc<Metrics>,
    _open: Counted,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    /// Fails once the connection's time is over. The task of a connection always waits to read, so it is woken then.
    fn check_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.ended = self.ended || self.end.as_mut().poll(cx).is_ready();
        if self.ended { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check_end(cx)?;
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut this.stream).poll_read(cx, buffer));
        this.metrics.bytes_in.inc_by((buffer.filled().len() - before) as u64);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check_end(cx)?;
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.metrics.bytes_out.inc_by(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check_end(cx)?;
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        this.metrics.bytes_out.inc_by(written as u64);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
