//! Who the server is: its certificate chain and its private key, which can be renewed while connections are open. The key's bytes are wiped as
//! soon as aws-lc has taken them over; it wipes its own copy when the last handshake is done with it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::TlsError;
use super::files::Read;
use crate::config;

/// The server's certificate and key, for whoever shakes hands next.
pub(super) struct ServerIdentity {
    current: RwLock<Arc<CertifiedKey>>,
}

impl ServerIdentity {
    pub fn load(places: &config::Tls) -> Result<Self, TlsError> {
        Ok(Self { current: RwLock::new(read(places)?) })
    }

    /// Takes over what stands in the files now; if it is of no use, nothing changes.
    pub fn replace(&self, places: &config::Tls) -> Result<(), TlsError> {
        let renewed = read(places)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerIdentity(..)")
    }
}

fn read(places: &config::Tls) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = Read::from(&places.certificate)?.items::<CertificateDer<'static>>("certificate")?;
    let file = Read::from(&places.key)?;
    let key = PrivateKeyDer::from_pem_slice(&file.bytes).map(Zeroizing::new);
    let key = key.map_err(|source| TlsError::Pem { path: file.path.clone(), source })?;
    let identity = CertifiedKey::new(chain, any_supported_type(&key).map_err(TlsError::Identity)?);
    identity.keys_match().map_err(TlsError::Identity)?;
    Ok(Arc::new(identity))
}
