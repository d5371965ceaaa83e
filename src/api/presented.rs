//! What a call presents of who calls: its headers and where it comes from. Kept by open streams, which are asked again; wiped with them.

use std::net::IpAddr;
use std::sync::Arc;

use tonic::Request;
use tonic::metadata::MetadataMap;
use zeroize::Zeroizing;

use super::listener::Peer;
use crate::tls::PeerCertificate;

/// The header by which a platform that calls for its agent passes the agent's own token, beside the platform's.
const ON_BEHALF_OF: &str = "on-behalf-of";

/// What a call presents.
pub(super) struct Presented {
    /// The value of `authorization`.
    pub authorization: Option<Zeroizing<String>>,
    /// The value of `on-behalf-of`.
    pub on_behalf_of: Option<Zeroizing<String>>,
    /// The client's certificate, of the connection.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Where it comes from.
    pub source: Option<IpAddr>,
}

impl Presented {
    /// By this call.
    pub fn of<M>(request: &Request<M>) -> Self {
        let peer = request.extensions().get::<Peer>();
        Self {
            authorization: header(request.metadata(), "authorization"),
            on_behalf_of: header(request.metadata(), ON_BEHALF_OF),
            certificate: peer.and_then(|peer| peer.certificate.clone()),
            source: peer.and_then(|peer| peer.address).map(|address| address.ip()),
        }
    }
}

/// A header that is there and cannot be read counts as an empty one: it is refused, and not passed over.
fn header(metadata: &MetadataMap, name: &str) -> Option<Zeroizing<String>> {
    metadata.get(name).map(|value| Zeroizing::new(value.to_str().unwrap_or_default().to_owned()))
}
