//! TLS: who the server is, and whose client certificates it believes. Here a verifier is built, certificates become names, and revocation is
//! followed while the service runs. Nothing here accepts connections, and a certificate that is believed is not yet a principal: what its
//! name may do is decided elsewhere.
//!
//! The life of a revocation: (1) the authority's new list takes the place of the old file; (2) within [`FOLLOW_INTERVAL`], or at once on
//! SIGHUP, the files are read again, and what changed is checked whole; (3) new handshakes are judged by it; (4) the generation counts on,
//! so that the next call on every open connection has its certificate judged anew, and is refused. If we stop after (1) or (2), the start
//! reads the list. A file that cannot be used changes nothing: what was believed before goes on, loudly.
//!
//! TLS sessions are never resumed. A resumed session brings the certificate of the first handshake along and has it judged by nobody
//! (RFC 8446, section 2.2), so a revoked client could come back with it.

mod crls;
mod error;
mod files;
mod follow;
mod identity;
mod name;
mod peer;
mod refused;
mod trust;
mod verifier;

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};

use crate::config;
pub use error::TlsError;
pub use follow::{FOLLOW_INTERVAL, Following};
use identity::ServerIdentity;
pub use name::UnfitCertificate;
pub use peer::PeerCertificate;
pub use refused::CertificateRefused;
pub use trust::ClientTrust;

/// What HTTP/2 is called in a handshake (RFC 9113, section 3.2).
const ALPN_H2: &[u8] = b"h2";

/// All that a handshake needs.
pub struct Tls {
    identity: Arc<ServerIdentity>,
    trust: Arc<ClientTrust>,
    /// For the next handshake.
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads and checks the files of the configuration. Blocks.
    pub fn load(places: &config::Tls) -> Result<Self, TlsError> {
        let identity = Arc::new(ServerIdentity::load(places)?);
        let trust = Arc::new(ClientTrust::load(places)?);
        let config = RwLock::new(server_config(identity.clone(), trust.verifier())?);
        Ok(Self { identity, trust, config })
    }

    /// Which client certificates are believed.
    pub fn trust(&self) -> &Arc<ClientTrust> {
        &self.trust
    }

    /// What the next handshake goes by.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the server's certificate and key over from their files. Blocks.
    pub fn renew_identity(&self, places: &config::Tls) -> Result<(), TlsError> {
        self.identity.replace(places)
    }

    /// Takes the authorities and lists over from the files of `places`, or of before where there are none. `true` if anything changed. Blocks.
    pub fn refresh_trust(&self, places: Option<&config::Tls>) -> Result<bool, TlsError> {
        let is_changed = self.trust.refresh(places)?;
        if is_changed {
            // Locked before the verifier is read, so that of two changes at once the last one is written last.
            let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
            *config = server_config(self.identity.clone(), self.trust.verifier())?;
        }
        Ok(is_changed)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn server_config(
    identity: Arc<ServerIdentity>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(TlsError::Setup)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(identity);
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
