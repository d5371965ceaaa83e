//! The door to the network: accepts connections, no more at a time than may be open, shakes hands with them where there is TLS, and backs off
//! when the operating system has no more to give.
//!
//! tonic's own listener has no cap and goes on at once after every failed accept: out of file descriptors it would spin; and its TLS knows no
//! revocation lists. Each handshake is a task of its own with an end, so that a client which is slow or sends garbage takes its own slot and
//! nobody's time. Who a certificate belongs to is told to the handlers; what it may do is not decided here.

mod connection;
mod handshake;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, PollSemaphore};
use tonic::transport::server::TcpIncoming;

use crate::config::Limits;
use crate::telemetry::metrics::Metrics;
use crate::tls::Tls;
use connection::Wire;
use handshake::Handshake;

pub(super) use connection::Connection;
pub use connection::Peer;

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

    /// The connections as they come, in the clear where there is no `tls`. All of them end when `cut` is cancelled.
    pub(super) fn incoming(
        self,
        limits: &Limits,
        tls: Option<Arc<Tls>>,
        metrics: Arc<Metrics>,
        cut: CancellationToken,
    ) -> Incoming {
        let idle = Some(Duration::from_millis(limits.keepalive_interval_ms));
        let socket = TcpIncoming::from(self.socket)
            .with_nodelay(Some(true))
            .with_keepalive(idle)
            .with_keepalive_interval(Some(Duration::from_millis(limits.keepalive_timeout_ms)))
            .with_keepalive_retries(Some(TCP_KEEPALIVE_RETRIES));
        let handshake_timeout = Duration::from_millis(limits.handshake_timeout_ms);
        Incoming {
            socket,
            slots: PollSemaphore::new(Arc::new(Semaphore::new(limits.connections))),
            slot: None,
            pause: None,
            next_pause: FIRST_PAUSE,
            handshake: tls.map(|tls| Handshake::new(tls, handshake_timeout, metrics.clone())),
            handshakes: JoinSet::new(),
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
    handshake: Option<Handshake>,
    /// Those under way; each holds its connection's slot, so there are no more than connections may be open. They end with this.
    handshakes: JoinSet<Option<Connection>>,
    longest_life: Duration,
    calls_per_connection: usize,
    metrics: Arc<Metrics>,
    cut: CancellationToken,
}

impl Incoming {
    /// The next connection as TCP has it.
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Wire, Peer)>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if self.slot.is_none() {
                self.slot = ready!(self.slots.poll_acquire(cx));
            }
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(stream)) => {
                    self.next_pause = FIRST_PAUSE;
                    let slot = self.slot.take().expect("a slot was taken above, and the semaphore is never closed");
                    return Poll::Ready(Some(self.wire(stream, slot)));
                }
                Some(Err(error)) => self.back_off(&error),
                None => return Poll::Ready(None),
            }
        }
    }

    fn wire(&self, stream: TcpStream, slot: OwnedSemaphorePermit) -> (Wire, Peer) {
        let peer = Peer {
            address: stream.peer_addr().ok(),
            calls: Arc::new(Semaphore::new(self.calls_per_connection)),
            begun: Arc::default(),
            certificate: None,
        };
        let (life, cut) = (self.longest_life, self.cut.clone());
        let end = async move {
            let _ = tokio::time::timeout(life, cut.cancelled_owned()).await;
        };
        (Wire::new(stream, Box::pin(end), self.metrics.clone(), slot), peer)
    }

    fn back_off(&mut self, error: &io::Error) {
        let pause_ms = self.next_pause.as_millis();
        tracing::warn!(%error, pause_ms, "cannot accept a connection; check the limit of open files");
        self.pause = Some(Box::pin(tokio::time::sleep(self.next_pause)));
        self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
    }

    /// The next connection whose handshake is done and was good.
    fn poll_shaken(&mut self, cx: &mut Context<'_>) -> Poll<Connection> {
        while let Some(ended) = ready!(self.handshakes.poll_join_next(cx)) {
            match ended {
                Ok(Some(connection)) => return Poll::Ready(connection),
                Ok(None) => {}
                Err(panicked) => tracing::error!(%panicked, "a handshake ended by a fault of ours; please report it"),
            }
        }
        Poll::Pending
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            // What is ready goes first: a flood of new connections does not hold it back.
            if let Poll::Ready(connection) = this.poll_shaken(cx) {
                return Poll::Ready(Some(Ok(connection)));
            }
            let Some((wire, peer)) = ready!(this.poll_wire(cx)) else { return Poll::Ready(None) };
            match &this.handshake {
                None => return Poll::Ready(Some(Ok(Connection::in_the_clear(wire, peer)))),
                // Polled again above, so that the end of this one wakes us.
                Some(handshake) => drop(this.handshakes.spawn(handshake.clone().shake(wire, peer))),
            }
        }
    }
}
