//! Which client certificates are believed, now: by authorities and revocation lists that are read again while the service runs. It judges a
//! certificate in its handshake and again on the open connection; it never gives a certificate the benefit of a doubt.
//!
//! What it believes is replaced whole or not at all, and each time gets a new number, its generation. A verdict is worth what its generation
//! is: after a replacement the next call on every connection has its certificate verified again, which costs a few signatures, and the calls
//! after that only compare numbers.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::BasicConstraints;

use super::crls::{Authority, Lists};
use super::files::Read;
use super::verifier::NamedClients;
use super::{CertificateRefused, PeerCertificate, TlsError};
use crate::config;
use crate::crypto::hash::{SHA256_BYTES, Sha256};
use crate::domain::clock::Timestamp;

/// Which client certificates are believed.
pub struct ClientTrust {
    beliefs: RwLock<Arc<Beliefs>>,
    /// Of the beliefs, or one behind for a moment.
    generation: AtomicU64,
    /// Held while files are read, so that what was read first never replaces what was read last.
    refreshing: Mutex<()>,
}

/// What is believed in one generation.
struct Beliefs {
    generation: u64,
    places: config::Tls,
    /// The hash of all that was read.
    hash: [u8; SHA256_BYTES],
    /// `None` where there are no authorities: then no certificate is asked for, and none believed.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    lists: Lists,
}

impl ClientTrust {
    /// Reads and checks the files of the configuration. Blocks.
    pub fn load(places: &config::Tls) -> Result<Self, TlsError> {
        let beliefs = Files::read(places)?.check(places)?;
        Ok(Self { beliefs: RwLock::new(Arc::new(beliefs)), generation: AtomicU64::new(0), refreshing: Mutex::new(()) })
    }

    /// Whether the certificate of an open connection is still believed: verified anew with the whole chain if anything changed or some seconds
    /// have passed since, else as before.
    pub fn still_trusted(&self, peer: &PeerCertificate, now: Timestamp) -> Result<(), CertificateRefused> {
        if let Some(verdict) = peer.verdict(self.generation.load(Ordering::Acquire), now) {
            return verdict;
        }
        let beliefs = self.beliefs();
        let verdict = beliefs.judge(peer, now);
        peer.remember(beliefs.generation, now, verdict);
        verdict
    }

    /// How often what is believed has been replaced.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The files of revocation lists that have expired: no certificate that they cover is believed.
    pub fn expired_lists(&self, now: Timestamp) -> Vec<PathBuf> {
        self.beliefs().lists.expired(now)
    }

    /// How many revocation lists are in use.
    pub fn lists(&self) -> usize {
        self.beliefs().lists.len()
    }

    /// For new handshakes.
    pub(super) fn verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.beliefs().verifier.clone()
    }

    /// Takes over what stands in the files of `places`, or in those of before where there are none. `true` if anything changed; if anything
    /// is of no use, nothing changes. Blocks.
    pub(super) fn refresh(&self, places: Option<&config::Tls>) -> Result<bool, TlsError> {
        let _refreshing = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.beliefs();
        let places = places.unwrap_or(&before.places);
        let files = Files::read(places)?;
        if files.hash == before.hash && *places == before.places {
            return Ok(false);
        }
        let mut beliefs = files.check(places)?;
        beliefs.lists.check_follow(&before.lists)?;
        beliefs.generation = before.generation + 1;
        let generation = beliefs.generation;
        *self.beliefs.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(beliefs);
        self.generation.store(generation, Ordering::Release);
        Ok(true)
    }

    fn beliefs(&self) -> Arc<Beliefs> {
        self.beliefs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Beliefs {
    fn judge(&self, peer: &PeerCertificate, now: Timestamp) -> Result<(), CertificateRefused> {
        let verifier = self.verifier.as_ref().ok_or(CertificateRefused::UnknownIssuer)?;
        let (own, others) = peer.parts();
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.as_ms()));
        match verifier.verify_client_cert(own, others, now) {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "a client's certificate is not believed any more");
                Err(CertificateRefused::of(&error).unwrap_or(CertificateRefused::Invalid))
            }
        }
    }
}

/// The files as they were read, not yet checked.
struct Files {
    authorities: Vec<Read>,
    lists: Vec<Read>,
    hash: [u8; SHA256_BYTES],
}

impl Files {
    /// All of them, every time: a time stamp and a length can stay as they were when the content does not.
    fn read(places: &config::Tls) -> Result<Self, TlsError> {
        let (authorities, lists) = (Read::all(&places.client_ca)?, Read::all(&places.client_crls)?);
        let mut hash = Sha256::new();
        for files in [&authorities, &lists] {
            hash.update(&(files.len() as u64).to_be_bytes());
            for file in files {
                hash.update(&(file.bytes.len() as u64).to_be_bytes());
                hash.update(&file.bytes);
            }
        }
        Ok(Self { authorities, lists, hash: hash.finish() })
    }

    fn check(self, places: &config::Tls) -> Result<Beliefs, TlsError> {
        let (mut anchors, mut authorities) = (RootCertStore::empty(), Vec::new());
        for file in &self.authorities {
            for certificate in file.items::<CertificateDer<'static>>("certificate")? {
                let authority = authority(file, &certificate)?;
                // rustls-webpki looks at the first list of an issuer's name, whoever signed it: the clients of the other would all be refused.
                if !self.lists.is_empty() && authorities.iter().any(|other| authority.is_namesake_of(other)) {
                    return Err(TlsError::Namesake { path: file.path.clone() });
                }
                authorities.push(authority);
                let added = anchors.add(certificate);
                added.map_err(|source| TlsError::Anchor { path: file.path.clone(), source })?;
            }
        }
        let lists = Lists::read(&self.lists, &authorities)?;
        let verifier: Option<Arc<dyn ClientCertVerifier>> = if anchors.is_empty() {
            None
        } else {
            let verifier = NamedClients::new(anchors, lists.to_der(), places.client_certificates);
            Some(Arc::new(verifier.map_err(TlsError::Lists)?))
        };
        Ok(Beliefs { generation: 0, places: places.clone(), hash: self.hash, verifier, lists })
    }
}

/// An anchor may issue whatever its certificate says (RFC 5280, section 6.1.1), so a client's own among them would make the client an authority.
fn authority(file: &Read, der: &CertificateDer<'_>) -> Result<Authority, TlsError> {
    let path = || file.path.clone();
    let unreadable = |source| TlsError::Authority { path: path(), source };
    let certificate = x509_cert::Certificate::from_der(der).map_err(unreadable)?;
    let certificate = certificate.tbs_certificate();
    let constraints = certificate.get_extension::<BasicConstraints>().map_err(unreadable)?;
    if !constraints.is_some_and(|(_, constraints)| constraints.ca) {
        return Err(TlsError::NotAnAuthority { path: path() });
    }
    Ok(Authority { subject: certificate.subject().clone(), key: certificate.subject_public_key_info().clone() })
}
