//! Verifies a client's certificate in a handshake: rustls's own verifier, and after it that the certificate names somebody. So one that names
//! nobody is told to its owner as TLS tells it, and no connection is ever open for it.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::name::name_of;
use super::provider;
use crate::config::ClientCertificates;

/// A verifier of certificates that name clients.
#[derive(Debug)]
pub(super) struct NamedClients {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl NamedClients {
    /// By these anchors and lists. The whole chain is looked up in the lists, if there are any; a certificate that none of them covers is
    /// refused, and so is one whose list has expired (RFC 5280, section 6.3).
    pub fn new(
        anchors: RootCertStore,
        lists: Vec<CertificateRevocationListDer<'static>>,
        certificates: ClientCertificates,
    ) -> Result<Self, VerifierBuilderError> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider())
            .with_crls(lists)
            .enforce_revocation_expiration();
        let builder = match certificates {
            ClientCertificates::Required => builder,
            ClientCertificates::Optional => builder.allow_unauthenticated(),
        };
        Ok(Self { verifier: builder.build()? })
    }
}

impl ClientCertVerifier for NamedClients {
    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now)?;
        match name_of(end_entity) {
            Ok(_) => Ok(verified),
            Err(unfit) => Err(CertificateError::Other(OtherError(Arc::new(unfit))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
