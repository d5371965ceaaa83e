//! Certificate revocation lists (RFC 5280, section 5), as the files have them: read for what rustls does not look at, before it gets them.
//! Whether a certificate is revoked is decided by rustls, never here.
//!
//! rustls-webpki asks the first list that fits a certificate and no other, whatever the list's age. So of several lists of one issuer only
//! the newest is handed on; and a reload never goes back to an older one, which would make good what was revoked since.

use std::path::PathBuf;

use rustls::pki_types::CertificateRevocationListDer;
use x509_cert::crl::TbsCertList;
use x509_cert::der::asn1::{AnyRef, BitString};
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::der::{self, Decode as _, Encode, Reader as _, SliceReader};
use x509_cert::ext::pkix::IssuingDistributionPoint;
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::files::Read;
use super::{TlsError, provider};
use crate::domain::clock::Timestamp;

/// An authority: the name it issues under, and its key.
pub(super) struct Authority {
    pub subject: Name,
    pub key: SubjectPublicKeyInfoOwned,
}

impl Authority {
    /// Whether it has the name of `other`, and another key.
    pub fn is_namesake_of(&self, other: &Self) -> bool {
        self.subject == other.subject && self.key != other.key
    }
}

/// The lists in use, one for each issuer and scope.
pub(super) struct Lists(Vec<List>);

struct List {
    path: PathBuf,
    der: CertificateRevocationListDer<'static>,
    issuer: Name,
    /// The issuingDistributionPoint, which says what part of the issuer's certificates a list is about.
    scope: Option<Vec<u8>>,
    this_update_s: u64,
    next_update_s: Option<u64>,
}

impl Lists {
    /// The newest list of each issuer and scope. Those of `authorities` must be signed by them; who signed the others is known only when a
    /// client shows its chain, and is checked then.
    pub fn read(files: &[Read], authorities: &[Authority]) -> Result<Self, TlsError> {
        let mut lists = Vec::new();
        for file in files {
            for der in file.items("revocation list")? {
                lists.push(List::read(file, der, authorities)?);
            }
        }
        lists.sort_by_key(|list| std::cmp::Reverse(list.this_update_s));
        let mut newest: Vec<List> = Vec::with_capacity(lists.len());
        for list in lists {
            if !newest.iter().any(|newer| newer.covers_the_same_as(&list)) {
                newest.push(list);
            }
        }
        Ok(Self(newest))
    }

    /// Refuses lists one of which is older than the one of `before` that it would replace.
    pub fn check_follow(&self, before: &Self) -> Result<(), TlsError> {
        let is_older = |list: &&List| {
            before.0.iter().any(|old| old.covers_the_same_as(list) && list.this_update_s < old.this_update_s)
        };
        match self.0.iter().find(is_older) {
            Some(list) => Err(TlsError::ListTurnedBack { path: list.path.clone() }),
            None => Ok(()),
        }
    }

    /// The files of the lists that have expired.
    pub fn expired(&self, now: Timestamp) -> Vec<PathBuf> {
        let now_s = now.as_ms() / 1_000;
        let is_expired = |list: &&List| list.next_update_s.is_none_or(|end_s| end_s <= now_s);
        self.0.iter().filter(is_expired).map(|list| list.path.clone()).collect()
    }

    /// For rustls.
    pub fn to_der(&self) -> Vec<CertificateRevocationListDer<'static>> {
        self.0.iter().map(|list| list.der.clone()).collect()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl List {
    fn read(
        file: &Read,
        der: CertificateRevocationListDer<'static>,
        authorities: &[Authority],
    ) -> Result<Self, TlsError> {
        let path = file.path.clone();
        let unreadable = |source| TlsError::List { path: file.path.clone(), source };
        let signed = Signed::read(&der).map_err(unreadable)?;
        let list = <TbsCertList>::from_der(signed.tbs).map_err(unreadable)?;
        let namesakes: Vec<_> = authorities.iter().filter(|authority| authority.subject == list.issuer).collect();
        if !namesakes.is_empty() && !namesakes.iter().any(|authority| signed.is_by(&authority.key)) {
            return Err(TlsError::ListSignature { path });
        }
        let scope = list.crl_extensions.iter().flatten().find(|one| one.extn_id == IssuingDistributionPoint::OID);
        let scope = scope.map(|extension| extension.extn_value.as_bytes().to_vec());
        let this_update_s = list.this_update.to_unix_duration().as_secs();
        let next_update_s = list.next_update.map(|time| time.to_unix_duration().as_secs());
        Ok(Self { path, der, issuer: list.issuer, scope, this_update_s, next_update_s })
    }

    fn covers_the_same_as(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.scope == other.scope
    }
}

/// `SIGNED{..}` (X.509): what is signed as the bytes that are signed, how, and the signature.
struct Signed<'a> {
    tbs: &'a [u8],
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

impl<'a> Signed<'a> {
    fn read(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let signed = reader.sequence(|inner| {
            let tbs = inner.tlv_bytes()?;
            Ok::<_, der::Error>(Self { tbs, algorithm: inner.decode()?, signature: inner.decode()? })
        })?;
        reader.finish()?;
        Ok(signed)
    }

    /// Whether `key` made the signature, by one of the algorithms that rustls takes.
    fn is_by(&self, key: &SubjectPublicKeyInfoOwned) -> bool {
        let algorithms = provider().signature_verification_algorithms.all;
        let (Ok(signs_by), Ok(key_is_for)) = (content(&self.algorithm), content(&key.algorithm)) else { return false };
        algorithms.iter().any(|algorithm| {
            algorithm.signature_alg_id().as_ref() == signs_by
                && algorithm.public_key_alg_id().as_ref() == key_is_for
                && algorithm
                    .verify_signature(key.subject_public_key.raw_bytes(), self.tbs, self.signature.raw_bytes())
                    .is_ok()
        })
    }
}

/// What stands in the outermost sequence.
fn content(value: &impl Encode) -> der::Result<Vec<u8>> {
    let bytes = value.to_der()?;
    Ok(AnyRef::from_der(&bytes)?.value().to_vec())
}
