//! Authorities, certificates and revocation lists made for one test, and the folder in which a server finds them.
#![allow(dead_code, reason = "each test file uses another part of it")]

pub mod service;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oubliette::config::{ClientCertificates, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// Every certificate gets a serial of its own.
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1_000);

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, then those above it but the root's.
    chain: Vec<CertificateDer<'static>>,
    pub pem: String,
    pub serial: u64,
}

/// Seconds from now, which may be before.
#[derive(Clone, Copy)]
pub struct FromNow(pub i64);

/// What a leaf is like. The default is a good client's.
pub struct Leaf {
    pub subject: &'static [(DnType, &'static str)],
    pub names: Vec<SanType>,
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    pub usages: Vec<KeyUsagePurpose>,
    pub from: FromNow,
    pub until: FromNow,
}

impl Default for Leaf {
    fn default() -> Self {
        Self {
            subject: &[(DnType::OrganizationName, "Example"), (DnType::CommonName, "billing")],
            names: Vec::new(),
            purposes: vec![ExtendedKeyUsagePurpose::ClientAuth],
            usages: vec![KeyUsagePurpose::DigitalSignature],
            from: FromNow(-3_600),
            until: FromNow(3_600),
        }
    }
}

impl Leaf {
    pub fn spiffe(id: &str) -> Self {
        Self { names: vec![uri(id)], ..Self::default() }
    }
}

pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A leaf with its key and chain.
pub struct Holder {
    pub chain: Vec<CertificateDer<'static>>,
    pub key_pem: String,
    pub pem: String,
    pub serial: u64,
    key: Vec<u8>,
}

impl Holder {
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

/// The instant so many seconds from now. A macro, as rcgen does not export the type.
macro_rules! from_now {
    ($away:expr) => {{
        let FromNow(away) = $away;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs());
        let distance = Duration::from_secs(away.unsigned_abs());
        if away < 0 { now - distance } else { now + distance }
    }};
}

impl Authority {
    pub fn root(name: &str) -> Self {
        let (params, key, serial) = Self::params(name);
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), chain: Vec::new(), pem: certificate.pem(), serial }
    }

    /// An authority that this one has made.
    pub fn under(&self, name: &str) -> Self {
        let (params, key, serial) = Self::params(name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        chain.extend_from_slice(&self.chain);
        Self { issuer: Issuer::new(params, key), chain, pem: certificate.pem(), serial }
    }

    pub fn issue(&self, leaf: Leaf) -> Holder {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in leaf.subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = leaf.names;
        params.extended_key_usages = leaf.purposes;
        params.key_usages = leaf.usages;
        (params.not_before, params.not_after) = (from_now!(leaf.from), from_now!(leaf.until));
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        chain.extend_from_slice(&self.chain);
        Holder {
            pem: pem("CERTIFICATE", &chain),
            chain,
            key_pem: key.serialize_pem(),
            serial,
            key: key.serialize_der(),
        }
    }

    /// A certificate for the server `localhost`.
    pub fn server(&self) -> Holder {
        self.issue(Leaf {
            names: vec![SanType::DnsName("localhost".try_into().unwrap())],
            purposes: vec![ExtendedKeyUsagePurpose::ServerAuth],
            ..Leaf::default()
        })
    }

    /// A revocation list of now, for an hour, as DER.
    pub fn list(&self, revoked: &[u64]) -> Vec<u8> {
        self.list_of(revoked, FromNow(-60), FromNow(3_600))
    }

    pub fn list_of(&self, revoked: &[u64], this: FromNow, next: FromNow) -> Vec<u8> {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: from_now!(this),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: from_now!(this),
            next_update: from_now!(next),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    fn params(name: &str) -> (CertificateParams, KeyPair, u64) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        (params, KeyPair::generate().unwrap(), serial)
    }
}

/// PEM (RFC 7468) of DER.
pub fn pem(label: &str, all: &[impl AsRef<[u8]>]) -> String {
    let mut text = String::new();
    for der in all {
        text.push_str(&format!("-----BEGIN {label}-----\n"));
        for line in base64(der.as_ref()).as_bytes().chunks(64) {
            text.push_str(std::str::from_utf8(line).unwrap());
            text.push('\n');
        }
        text.push_str(&format!("-----END {label}-----\n"));
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0, |word: u32, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { digit as char } else { '=' });
        }
    }
    text
}

/// The folder with the files of `[listen.tls]`.
pub struct Folder {
    dir: TempDir,
    pub places: Tls,
}

impl Folder {
    /// With a server's certificate, and one authority for clients.
    pub fn new(authority: &Authority) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let places = Tls {
            certificate: at("server.pem"),
            key: at("server.key"),
            client_ca: vec![at("ca.pem")],
            client_crls: Vec::new(),
            client_certificates: ClientCertificates::Optional,
        };
        let folder = Self { dir, places };
        let server = authority.server();
        folder.write("server.pem", &server.pem);
        folder.write("server.key", &server.key_pem);
        folder.write("ca.pem", &authority.pem);
        folder
    }

    pub fn required(mut self) -> Self {
        self.places.client_certificates = ClientCertificates::Required;
        self
    }

    /// With a revocation list, which may be PEM or DER.
    pub fn with_list(mut self, name: &str, list: impl AsRef<[u8]>) -> Self {
        self.write(name, list);
        self.places.client_crls.push(self.path(name));
        self
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::join(self.dir.path(), name)
    }
}
