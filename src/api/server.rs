//! Builds the server with every limit set, serves the routes it is given, and drains when told to stop.
//!
//! Health and reflection are the only services without a gate: they tell that the service is up and what its methods are,
//! which is public, and nothing of any tenant.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::DESCRIPTORS;
use super::listener::{Connection, Listener, Peer};
use super::manners::MannersLayer;
use super::methods::SERVICES;
use crate::config::{Config, Limits};
use crate::telemetry::metrics::Metrics;
use crate::tls::{Tls, TlsError};

/// Why the service cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}; check listen.address, and that nothing else listens there")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up as the configuration says.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The API's own descriptors cannot be served.
    #[error("the API's descriptors cannot be served: {0}; this build is broken, use another")]
    Descriptors(#[from] tonic_reflection::server::Error),
}

/// What the server needs of the configuration.
pub struct ServerSettings {
    limits: Limits,
    tls: Option<Arc<Tls>>,
    erasures: watch::Receiver<u64>,
}

/// How long a connection must have been idle after an erasure before it is closed. Long enough that its client is hardly about to call: a call
/// that is sent at the moment of the close fails in clients that do not repeat it.
const IDLE_BEFORE_CLOSE: Duration = Duration::from_secs(5);
/// How often it is looked at.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The most bytes of a question to health or reflection.
const SMALL_MESSAGE_BYTES: usize = 16 * 1024;

impl ServerSettings {
    /// Reads the files of `[listen.tls]` where the configuration has it.
    pub fn from_config(config: &Config) -> Result<Self, ServeError> {
        let tls = config.listen.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
        Ok(Self::new(config.limits.clone(), tls))
    }

    /// These limits, and this TLS.
    pub fn new(limits: Limits, tls: Option<Arc<Tls>>) -> Self {
        Self { limits, tls, erasures: watch::channel(0).1 }
    }

    /// Closes idle connections whenever `erasures` changes.
    #[must_use]
    pub fn closing_after(self, erasures: watch::Receiver<u64>) -> Self {
        Self { erasures, ..self }
    }

    /// TLS, where there is any.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Every limit that tonic, hyper and h2 know; what they leave unlimited is limited by [`MannersLayer`] and [`Listener`].
    fn builder(&self) -> Server {
        let limits = &self.limits;
        Server::builder()
            .max_concurrent_streams(limits.streams_per_connection)
            .http2_max_local_error_reset_streams(Some(limits.local_error_resets))
            .http2_max_pending_accept_reset_streams(Some(limits.pending_reset_streams))
            .http2_max_header_list_size(limits.header_list_bytes)
            .initial_stream_window_size(limits.stream_window_bytes)
            .initial_connection_window_size(limits.connection_window_bytes)
            .http2_keepalive_interval(Some(Duration::from_millis(limits.keepalive_interval_ms)))
            .http2_keepalive_timeout(Some(Duration::from_millis(limits.keepalive_timeout_ms)))
            // Without tonic's grace: with one, it sends no GOAWAY at the age and cuts running streams at its end.
            .max_connection_age(Duration::from_millis(limits.connection_age_ms))
    }
}

/// Binds the address of the configuration.
pub async fn bind(address: SocketAddr) -> Result<Listener, ServeError> {
    Listener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
}

/// Serves `routes` until `shutdown`, then drains: health says "not serving", no connection takes new calls, open calls may go
/// on for `limits.shutdown_grace_ms`, and what is open then is cut.
pub async fn run(
    settings: ServerSettings,
    routes: Routes,
    listener: Listener,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (stopping, cut) = (CancellationToken::new(), CancellationToken::new());
    let (health, health_service) = tonic_health::server::health_reporter();
    report(&health, ServingStatus::Serving).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let routes = routes
        .add_service(health_service.max_decoding_message_size(SMALL_MESSAGE_BYTES))
        .add_service(reflection.max_decoding_message_size(SMALL_MESSAGE_BYTES));
    let limits = &settings.limits;
    let manners = MannersLayer::new(limits, metrics.clone(), stopping.clone());
    let incoming = listener.incoming(limits, settings.tls.clone(), metrics, cut.clone());
    let routes = routes.prepare();
    let serving = accept(&settings, &routes, manners, incoming, &stopping);
    let ending = async {
        shutdown.await;
        report(&health, ServingStatus::NotServing).await;
        stopping.cancel();
        tokio::time::sleep(Duration::from_millis(limits.shutdown_grace_ms)).await;
        tracing::warn!("calls are still open after limits.shutdown_grace_ms; they are cut");
        cut.cancel();
        std::future::pending().await
    };
    tokio::select! {
        () = serving => Ok(()),
        never = ending => never,
    }
}

/// Serves each connection in a task of its own, so that each can be closed alone. Ends when `stopping` is cancelled and the last one is closed.
async fn accept(
    settings: &ServerSettings,
    routes: &Routes,
    manners: MannersLayer,
    incoming: impl Stream<Item = io::Result<Connection>>,
    stopping: &CancellationToken,
) {
    let mut connections = JoinSet::new();
    {
        let mut incoming = std::pin::pin!(incoming);
        while let Some(Some(Ok(connection))) = stopping.run_until_cancelled(incoming.next()).await {
            let closing = stopping.child_token();
            let end = end_of(&connection, settings, closing.clone());
            let server = settings.builder().layer(manners.of_connection(closing));
            let only_this = tokio_stream::once(Ok::<_, io::Error>(connection)).chain(tokio_stream::pending());
            connections.spawn(server.serve_with_incoming_shutdown(routes.clone(), only_this, end));
            while connections.try_join_next().is_some() {}
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Until a connection takes no new calls, because it is lost, the service stops, or it is idle after an erasure; `closing` is cancelled then.
///
/// The buffers of HTTP/2 and TLS keep the last bytes that went over a connection until others take their place. Closing the connection frees
/// and wipes them. A client learns of it by GOAWAY, loses no call, and connects for its next one.
fn end_of(
    connection: &Connection,
    settings: &ServerSettings,
    closing: CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let (lost, Peer { calls, begun, .. }) = (connection.lost(), connection.peer().clone());
    let mut erasures = settings.erasures.clone();
    erasures.mark_unchanged();
    let most = settings.limits.calls_per_connection;
    let idle_after_an_erasure = async move {
        if erasures.changed().await.is_err() {
            return std::future::pending().await;
        }
        let (mut idle_since, mut seen) = (Instant::now(), begun.load(Ordering::Acquire));
        while idle_since.elapsed() < IDLE_BEFORE_CLOSE {
            tokio::time::sleep(IDLE_CHECK_INTERVAL).await;
            let now = begun.load(Ordering::Acquire);
            if calls.available_permits() < most || now != seen {
                (idle_since, seen) = (Instant::now(), now);
            }
        }
    };
    async move {
        tokio::select! {
            () = lost.cancelled() => {}
            () = closing.cancelled() => {}
            () = idle_after_an_erasure => {}
        }
        closing.cancel();
    }
}

/// Sets the health of the whole ("") and of each service.
async fn report(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES.iter().chain(&[""]) {
        health.set_service_status(*service, status).await;
    }
}
