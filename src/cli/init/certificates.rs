//! A private certificate authority and one server certificate under it. It only makes them; nothing is written here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use zeroize::Zeroizing;

use crate::domain::clock::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the authority is good for: ten years.
const CA_DAYS: u32 = 3652;
/// How long the server's certificate is good for: the longest that all clients take (825 days, as Apple's platforms enforce),
/// with the day before today counted.
const SERVER_DAYS: u32 = 824;

/// PEM of an authority and of a server's certificate.
pub struct Certificates {
    /// The authority's certificate, for clients.
    pub ca: String,
    /// The authority's key, for the next server certificate.
    pub ca_key: Zeroizing<String>,
    /// The server's certificate.
    pub server: String,
    /// The server's key.
    pub server_key: Zeroizing<String>,
}

/// Makes a fresh authority, and a certificate for the names and addresses by which clients reach the server. Those of the
/// machine itself are always among them.
pub fn make(names: &[String], address: IpAddr) -> Result<Certificates, rcgen::Error> {
    let ca_key = Zeroizing::new(KeyPair::generate()?);
    let ca_params = authority()?;
    let ca = ca_params.self_signed(&*ca_key)?;
    let server_key = Zeroizing::new(KeyPair::generate()?);
    let server = server_params(names, address)?.signed_by(&*server_key, &Issuer::from_params(&ca_params, &*ca_key))?;
    Ok(Certificates {
        ca: ca.pem(),
        ca_key: Zeroizing::new(ca_key.serialize_pem()),
        server: server.pem(),
        server_key: Zeroizing::new(server_key.serialize_pem()),
    })
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Oubliette private CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, CA_DAYS);
    Ok(params)
}

fn server_params(names: &[String], address: IpAddr) -> Result<CertificateParams, rcgen::Error> {
    let local = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
    let mut all = Vec::from(local);
    all.extend((!address.is_unspecified()).then(|| address.to_string()));
    all.extend_from_slice(names);
    let mut seen = std::collections::HashSet::new();
    all.retain(|name| seen.insert(name.clone()));
    let mut params = CertificateParams::new(all)?;
    params.distinguished_name.push(DnType::CommonName, "Oubliette");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid_for(&mut params, SERVER_DAYS);
    Ok(params)
}

/// From yesterday on, so that a client whose clock is a little behind takes it already.
fn valid_for(params: &mut CertificateParams, days: u32) {
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(Timestamp::now().as_ms());
    params.not_before = now - DAY;
    params.not_after = now + DAY * days;
}
