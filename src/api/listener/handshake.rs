//! One TLS handshake: from bytes on a wire to a connection with a known peer, within its time, or to nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, Peer, Wire};
use crate::telemetry::metrics::Metrics;
use crate::tls::{CertificateRefused, PeerCertificate, Tls, UnfitCertificate};

/// What handshakes are made with.
#[derive(Clone)]
pub(super) struct Handshake {
    tls: Arc<Tls>,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("it took longer than limits.handshake_timeout_ms")]
    TooSlow,
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error(transparent)]
    Unfit(#[from] UnfitCertificate),
}

impl Handshake {
    pub fn new(tls: Arc<Tls>, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self { tls, timeout, metrics }
    }

    /// Shakes hands by what is believed now. A failure is the client's to mend: it is counted, and told at level debug only, as anybody can
    /// make as many as they like.
    pub async fn shake(self, wire: Wire, peer: Peer) -> Option<Connection> {
        let address = peer.address;
        match self.try_to_shake(wire, peer).await {
            Ok(connection) => Some(connection),
            Err(error) => {
                let reason = error.reason();
                self.metrics.handshake_failed(reason);
                tracing::debug!(%error, reason, address = address.map(tracing::field::display), "a TLS handshake failed");
                None
            }
        }
    }

    async fn try_to_shake(&self, wire: Wire, mut peer: Peer) -> Result<Connection, Failed> {
        let accepting = TlsAcceptor::from(self.tls.server_config()).accept(wire);
        let stream = tokio::time::timeout(self.timeout, accepting).await.map_err(|_| Failed::TooSlow)??;
        peer.certificate = certificate(&stream)?;
        Ok(Connection::over_tls(stream, peer))
    }
}

fn certificate(stream: &TlsStream<Wire>) -> Result<Option<Arc<PeerCertificate>>, UnfitCertificate> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().map(|chain| PeerCertificate::read(chain).map(Arc::new)).transpose()
}

impl Failed {
    /// A word for metrics, from a closed list.
    fn reason(&self) -> &'static str {
        let error = match self {
            Self::TooSlow => return "timeout",
            Self::Unfit(_) => return CertificateRefused::Unfit.name(),
            Self::Broken(error) => error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        };
        match error {
            None => "connection_lost",
            Some(rustls::Error::NoCertificatesPresented) => "certificate_missing",
            Some(error) => CertificateRefused::of(error).map_or("not_our_tls", CertificateRefused::name),
        }
    }
}
