//! A connection, in two layers: the wire, which counts bytes as they go over the network, holds the slot and ends when its time is over; and
//! what is read and written over it, in the clear or through TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::Connected;

use crate::telemetry::metrics::{Counted, Metrics};
use crate::tls::PeerCertificate;

/// Who is at the other end of a connection. Stands in the extensions of every request of that connection.
#[derive(Clone)]
pub struct Peer {
    /// The address, where the connection still knows it.
    pub address: Option<SocketAddr>,
    /// The client's certificate, verified in the handshake; whether it is still believed is asked anew for every call.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// The calls that may be worked on at once, shared by all requests of the connection.
    pub(in crate::api) calls: Arc<Semaphore>,
    /// How many calls of the connection have begun.
    pub(in crate::api) begun: Arc<AtomicU64>,
}

/// Ends when the connection must.
type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection as TCP has it: counts its bytes, holds its slot, and ends when its time is over, also within a handshake.
pub(super) struct Wire {
    stream: TcpStream,
    end: End,
    ended: bool,
    metrics: Arc<Metrics>,
    _open: Counted,
    _slot: OwnedSemaphorePermit,
}

impl Wire {
    pub fn new(stream: TcpStream, end: End, metrics: Arc<Metrics>, slot: OwnedSemaphorePermit) -> Self {
        let _open = Counted::new(&metrics.open_connections);
        Self { stream, end, ended: false, metrics, _open, _slot: slot }
    }

    /// Fails once the connection's time is over. The task of a connection always waits to read, so it is woken then.
    fn check_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.ended = self.ended || self.end.as_mut().poll(cx).is_ready();
        if self.ended { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check_end(cx)?;
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut this.stream).poll_read(cx, buffer));
        this.metrics.bytes_in.inc_by((buffer.filled().len() - before) as u64);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Wire {
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

/// A connection that tonic serves.
pub(in crate::api) struct Connection {
    bytes: Either<Wire, Box<TlsStream<Wire>>>,
    peer: Peer,
    /// Cancels [`Connection::lost`] when this is dropped.
    _held: DropGuard,
    lost: CancellationToken,
}

impl Connection {
    pub(super) fn in_the_clear(wire: Wire, peer: Peer) -> Self {
        Self::new(Either::Left(wire), peer)
    }

    pub(super) fn over_tls(stream: TlsStream<Wire>, peer: Peer) -> Self {
        Self::new(Either::Right(Box::new(stream)), peer)
    }

    fn new(bytes: Either<Wire, Box<TlsStream<Wire>>>, peer: Peer) -> Self {
        let lost = CancellationToken::new();
        Self { bytes, peer, _held: lost.clone().drop_guard(), lost }
    }

    /// Cancelled once the connection is gone.
    pub(in crate::api) fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Who is at the other end. All permits of `calls` are there while no call is open.
    pub(in crate::api) fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

// Only what `Either` does; tonic's `Connected` cannot be given to a type of another crate.

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.bytes.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }
}
