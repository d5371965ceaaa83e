//! Why the files of `[listen.tls]` cannot be used: which file, what is wrong, what to do. Never a byte of what stands in them.

use std::path::PathBuf;

use rustls::pki_types::pem;
use rustls::server::VerifierBuilderError;
use x509_cert::der;

use super::files::MAX_FILE_BYTES;

/// Why TLS cannot be set up as the configuration says.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; check listen.tls, and that the service's user may read the file", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is far larger than it can be.
    #[error("{path} has more than {MAX_FILE_BYTES} bytes; check listen.tls, and shorten or split what is that long", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file is not PEM.
    #[error("{path} of listen.tls is not whole PEM: {source}; write the file again", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file does not have what it should.
    #[error("{path} has no {what} in it; check listen.tls", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// The server's certificate or key is of no use.
    #[error("the certificate or key in listen.tls cannot be used: {0}; both must be PEM and belong together")]
    Identity(#[source] rustls::Error),
    /// What should be a client authority's certificate is none.
    #[error("{path} has a certificate that cannot be read: {source}; write the file again", path = path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        source: der::Error,
    },
    /// A certificate that may not issue others.
    #[error(
        "{path} has the certificate of no authority (basicConstraints does not say CA); listen.tls.client_ca takes those that issue clients' certificates, never a client's own", path = path.display()
    )]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
    },
    /// Two authorities of one name and different keys, and lists.
    #[error(
        "{path} has an authority of the same name as another one in listen.tls.client_ca, but not of the same key: revocation lists are found by that name, so only one of them could have one; give the new authority a name of its own", path = path.display()
    )]
    Namesake {
        /// The file.
        path: PathBuf,
    },
    /// An authority whose certificate cannot be an anchor.
    #[error("{path} has a certificate that cannot be used: {source}; take it out of listen.tls.client_ca", path = path.display())]
    Anchor {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A list that cannot be read.
    #[error("{path} has a revocation list that cannot be read: {source}; have the authority write it again", path = path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// Why.
        source: der::Error,
    },
    /// A list that its authority has not signed.
    #[error(
        "{path} has a revocation list that the authority of its issuer's name in listen.tls.client_ca has not signed; get both from the authority anew", path = path.display()
    )]
    ListSignature {
        /// The file.
        path: PathBuf,
    },
    /// A list older than the one it would replace.
    #[error(
        "{path} has an older revocation list than the one in use: what was revoked since would count again; put the newest one there, or restart the service if this one is meant", path = path.display()
    )]
    ListTurnedBack {
        /// The file.
        path: PathBuf,
    },
    /// rustls cannot work with the lists.
    #[error(
        "the lists in listen.tls.client_crls cannot be used: {0}; they must be whole lists of version 2 with a nextUpdate (RFC 5280, section 5), not deltas"
    )]
    Lists(#[source] VerifierBuilderError),
    /// The cipher suites and versions do not fit together.
    #[error("TLS cannot be set up: {0}; this build is broken, use another")]
    Setup(#[source] rustls::Error),
}
