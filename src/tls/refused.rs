//! Why a client's certificate is not believed, as a closed list: for metrics, for the ledger, and small enough to be remembered beside a
//! connection. It holds nothing of the certificate.

use rustls::CertificateError;

use super::UnfitCertificate;

/// Why a client's certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CertificateRefused {
    /// Its time is over.
    #[error("the client's certificate has expired; renew it")]
    Expired,
    /// Its time has not come.
    #[error("the client's certificate is not valid yet; check the clocks of the client, the server and the authority")]
    NotYetValid,
    /// It, or one of the authorities above it, was revoked.
    #[error("the client's certificate, or one of the authorities above it, is revoked; have a new one issued")]
    Revoked,
    /// None of the lists covers it, or one of the authorities above it.
    #[error(
        "no revocation list covers the client's certificate or an authority above it; add its issuer's to listen.tls.client_crls"
    )]
    StatusUnknown,
    /// The list that covers it is too old to say anything.
    #[error(
        "the revocation list that covers the client's certificate has expired; put a new one in its place in listen.tls.client_crls"
    )]
    ListExpired,
    /// The list that covers it is not its issuer's.
    #[error(
        "the revocation list that covers the client's certificate is not signed by its issuer, or by one who may not sign lists; get a new one"
    )]
    ListUnusable,
    /// None of the authorities issued it.
    #[error("the client's certificate was issued by none of the authorities in listen.tls.client_ca")]
    UnknownIssuer,
    /// It is not for clients.
    #[error("the client's certificate is not for clients; issue one whose extendedKeyUsage has clientAuth")]
    WrongPurpose,
    /// It names nobody.
    #[error("the client's certificate has no name that can be used; see the log at level debug")]
    Unfit,
    /// Anything else: malformed, wrongly signed, too long a chain.
    #[error("the client's certificate, or its chain, is not valid; see the log at level debug")]
    Invalid,
}

impl CertificateRefused {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::StatusUnknown,
        Self::ListExpired,
        Self::ListUnusable,
        Self::UnknownIssuer,
        Self::WrongPurpose,
        Self::Unfit,
        Self::Invalid,
    ];

    /// A word for metrics and the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "certificate_expired",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::Revoked => "certificate_revoked",
            Self::StatusUnknown => "certificate_status_unknown",
            Self::ListExpired => "revocation_list_expired",
            Self::ListUnusable => "revocation_list_unusable",
            Self::UnknownIssuer => "certificate_of_unknown_issuer",
            Self::WrongPurpose => "certificate_not_for_clients",
            Self::Unfit => "certificate_unfit",
            Self::Invalid => "certificate_invalid",
        }
    }

    /// What an error of a handshake or a verification says about the certificate; `None` where it says nothing.
    pub fn of(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidCertificate(problem) => Some(Self::of_problem(problem)),
            rustls::Error::InvalidCertRevocationList(_) => Some(Self::ListUnusable),
            _ => None,
        }
    }

    fn of_problem(problem: &CertificateError) -> Self {
        match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus => Self::StatusUnknown,
            CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
                Self::ListExpired
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Self::WrongPurpose,
            CertificateError::Other(other) if other.0.is::<UnfitCertificate>() => Self::Unfit,
            _ => Self::Invalid,
        }
    }
}
