//! From a client's certificate to its name: the SPIFFE ID where there is one, else the subject. It reads DER strictly and decides nothing of
//! trust: whoever asks has had the certificate verified.
//!
//! A certificate that claims to be an X509-SVID must be a whole one; it never falls back to its subject. Both kinds must be a leaf's: one
//! that may sign certificates or lists names nobody (X509-SVID, section 5.2).

use rustls::pki_types::CertificateDer;
use x509_cert::TbsCertificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Any, Ia5StringRef, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{self, Decode as _, Tag, Tagged as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};
use x509_cert::name::Name;

use crate::domain::certificate_name::{Attribute, BadName, CertificateName};

/// Why a certificate, though verified, names no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitCertificate {
    /// Not DER as RFC 5280 has it, or with a name of a kind that we cannot read.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(#[from] der::Error),
    /// One that may sign others.
    #[error("the certificate may sign certificates or revocation lists; issue the client one that may not")]
    Signs,
    /// One that may not sign a handshake.
    #[error("the certificate's keyUsage lacks digitalSignature; issue the client one that has it")]
    MayNotSignHandshakes,
    /// A SPIFFE ID beside another URI.
    #[error("the certificate has a SPIFFE ID and another URI; issue the client one with exactly one URI")]
    SeveralUris,
    /// An X509-SVID without a keyUsage.
    #[error("the certificate has a SPIFFE ID and no keyUsage; issue the client one that has it")]
    NoKeyUsage,
    /// A subject in which two attributes stand in one place.
    #[error("the subject has a relative name of several attributes; issue the client a certificate with one in each")]
    MultiValued,
    /// A value whose characters can be read in more than one way.
    #[error("the subject has a value that is not UTF8String, PrintableString or IA5String; issue it with UTF8String")]
    StringType,
    /// The name is none of ours.
    #[error(transparent)]
    Name(#[from] BadName),
}

/// The name of a client by its certificate.
pub(super) fn name_of(certificate: &CertificateDer<'_>) -> Result<CertificateName, UnfitCertificate> {
    let certificate = x509_cert::Certificate::from_der(certificate)?;
    let certificate = certificate.tbs_certificate();
    let has_key_usage = check_is_leaf(certificate)?;
    match spiffe_id(certificate)? {
        Some(_) if !has_key_usage => Err(UnfitCertificate::NoKeyUsage),
        Some(name) => Ok(name),
        None => subject(certificate.subject()),
    }
}

/// RFC 5280, section 4.2.1.3, and RFC 8446, section 4.4.2.4. `true` where the certificate has a keyUsage at all.
fn check_is_leaf(certificate: &TbsCertificate) -> Result<bool, UnfitCertificate> {
    let constraints = certificate.get_extension::<BasicConstraints>()?;
    let usage = certificate.get_extension::<KeyUsage>()?.map(|(_, usage)| usage);
    let signs = |usage: &KeyUsage| usage.key_cert_sign() || usage.crl_sign();
    if constraints.is_some_and(|(_, constraints)| constraints.ca) || usage.as_ref().is_some_and(signs) {
        return Err(UnfitCertificate::Signs);
    }
    if usage.as_ref().is_some_and(|usage| !usage.digital_signature()) {
        return Err(UnfitCertificate::MayNotSignHandshakes);
    }
    Ok(usage.is_some())
}

/// The SPIFFE ID: the only URI of the subjectAltName (X509-SVID, section 2). URIs none of which claims to be one are no names of ours.
fn spiffe_id(certificate: &TbsCertificate) -> Result<Option<CertificateName>, UnfitCertificate> {
    let Some((_, SubjectAltName(names))) = certificate.get_extension::<SubjectAltName>()? else { return Ok(None) };
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str()),
        _ => None,
    });
    let uris: Vec<&str> = uris.collect();
    match uris[..] {
        _ if !uris.iter().any(|uri| CertificateName::claims_spiffe(uri)) => Ok(None),
        [uri] => Ok(Some(CertificateName::spiffe(uri)?)),
        _ => Err(UnfitCertificate::SeveralUris),
    }
}

fn subject(subject: &Name) -> Result<CertificateName, UnfitCertificate> {
    let mut attributes = Vec::with_capacity(subject.len());
    for relative in subject.iter_rdn() {
        let mut all = relative.iter();
        match (all.next(), all.next()) {
            (Some(AttributeTypeAndValue { oid, value }), None) => {
                attributes.push((Attribute::of_oid(&oid.to_string())?, text(value)?));
            }
            _ => return Err(UnfitCertificate::MultiValued),
        }
    }
    Ok(CertificateName::subject(attributes.into_iter())?)
}

/// Only strings whose bytes are UTF-8 as they stand: what TeletexString means depends on who reads it.
fn text(value: &Any) -> Result<&str, UnfitCertificate> {
    Ok(match value.tag() {
        Tag::Utf8String => Utf8StringRef::try_from(value)?.as_str(),
        Tag::PrintableString => PrintableStringRef::try_from(value)?.as_str(),
        Tag::Ia5String => Ia5StringRef::try_from(value)?.as_str(),
        _ => return Err(UnfitCertificate::StringType),
    })
}
