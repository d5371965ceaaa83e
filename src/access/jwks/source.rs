//! Where the keys of an issuer are read: a file, or an `https` address; plain `http` on this machine only. One request at a time,
//! bounded in bytes. It never follows a redirect, uses no proxy, and sends no credentials.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt as _;

use super::Source;
use crate::access::jwt::keys::{BadSet, MAX_SET_BYTES};

/// The place that the configuration names.
pub enum JwksSource {
    /// A file.
    File(PathBuf),
    /// An address.
    Address(Box<Address>),
}

/// An address that may be asked, and the means to ask it.
pub struct Address {
    address: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// A place that cannot be asked. Found when the service starts.
#[derive(Debug, thiserror::Error)]
pub enum BadSource {
    /// Not an address that is taken.
    #[error("the keys' address must be https://..., or http://... on a loopback address, without user or password")]
    Address,
    /// The file of authorities cannot be read.
    #[error("the file of certificate authorities cannot be read")]
    AuthoritiesFile(#[source] pem::Error),
    /// The file of authorities has none that can be used.
    #[error("the file of certificate authorities has no usable certificate")]
    NoAuthorities,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// A set that was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum Unfetched {
    /// It took too long.
    #[error("the key set did not come within {} s", super::FETCH_TIMEOUT.as_secs())]
    TimedOut,
    /// The file cannot be read.
    #[error("the key set cannot be read")]
    File(#[from] io::Error),
    /// Nobody answered, or not in HTTP or TLS.
    #[error("the address of the key set cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    /// The answer broke off.
    #[error("the answer with the key set broke off")]
    BrokenOff(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An answer that is not 200; redirects are not followed.
    #[error("the address of the key set answered {0}, and only 200 is taken")]
    Status(StatusCode),
    /// What came is no set to be taken.
    #[error(transparent)]
    Set(#[from] BadSet),
}

impl JwksSource {
    /// The set at `address`. Certificates are checked against the authorities in the PEM file `authorities`; without one, against
    /// Mozilla's.
    pub fn address(address: &str, authorities: Option<&Path>) -> Result<Self, BadSource> {
        let address: Uri = address.parse().map_err(|_| BadSource::Address)?;
        check(&address)?;
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(authorities)?)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // One request in minutes: a connection that is kept would only be found dead.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self::Address(Box::new(Address { address, client })))
    }
}

impl Source for JwksSource {
    async fn fetch(&self) -> Result<Bytes, Unfetched> {
        match self {
            Self::File(path) => read(path).await,
            Self::Address(address) => address.fetch().await,
        }
    }
}

impl Address {
    async fn fetch(&self) -> Result<Bytes, Unfetched> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.address.clone();
        request.headers_mut().insert(ACCEPT, ACCEPTED);
        let response = self.client.request(request).await.map_err(Unfetched::Unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(Unfetched::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_SET_BYTES).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| match error.is::<LengthLimitError>() {
            true => BadSet::TooLong.into(),
            false => Unfetched::BrokenOff(error),
        })
    }
}

/// RFC 7517, section 8.5.
const ACCEPTED: hyper::header::HeaderValue =
    hyper::header::HeaderValue::from_static("application/jwk-set+json, application/json");

async fn read(path: &Path) -> Result<Bytes, Unfetched> {
    let file = tokio::fs::File::open(path).await?;
    let mut bytes = Vec::new();
    // One byte more than the limit shows that there are more.
    file.take(MAX_SET_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes.into())
}

fn check(address: &Uri) -> Result<(), BadSource> {
    let host = address.host().unwrap_or_default();
    let is_safe = match address.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_loopback(host),
        _ => false,
    };
    let has_user = address.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if is_safe && !has_user { Ok(()) } else { Err(BadSource::Address) }
}

/// Whether plain HTTP stays on this machine. Names are not taken, since whoever answers for them decides where they lead.
fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn roots(authorities: Option<&Path>) -> Result<RootCertStore, BadSource> {
    let Some(path) = authorities else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(BadSource::AuthoritiesFile);
    let mut roots = RootCertStore::empty();
    let (taken, _left_out) = roots.add_parsable_certificates(certificates?);
    if taken == 0 { Err(BadSource::NoAuthorities) } else { Ok(roots) }
}

#[cfg(test)]
mod tests;
