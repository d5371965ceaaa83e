//! From certificates to names, also from certificates that no decent authority would issue: their subjects and extensions are put together
//! byte by byte. (Nothing here is verified; that comes before a name is read, in the handshake.)

use crate::house::{Authority, Leaf, uri};
use oubliette::domain::certificate_name::BadName;
use oubliette::tls::{PeerCertificate, UnfitCertificate};
use rcgen::{KeyUsagePurpose, SanType};
use rustls::pki_types::CertificateDer;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Encode as _, Reader as _, SliceReader};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
const BMP: u8 = 0x1e;

const CN: &str = "2.5.4.3";
const O: &str = "2.5.4.10";
const DC: &str = "0.9.2342.19200300.100.1.25";

/// A tag, a length, a value (X.690, section 8.1).
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let mut bytes = vec![tag];
    match length {
        0..0x80 => bytes.push(length as u8),
        0x80..0x100 => bytes.extend([0x81, length as u8]),
        _ => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    bytes.extend_from_slice(value);
    bytes
}

fn attribute(oid: &str, tag: u8, value: &[u8]) -> Vec<u8> {
    let oid = ObjectIdentifier::new(oid).unwrap().to_der().unwrap();
    tlv(SEQUENCE, &[oid, tlv(tag, value)].concat())
}

/// A subject of relative names, each of some attributes.
fn subject(relative_names: &[&[Vec<u8>]]) -> Vec<u8> {
    tlv(SEQUENCE, &relative_names.iter().map(|attributes| tlv(SET, &attributes.concat())).collect::<Vec<_>>().concat())
}

/// The certificate of a leaf, with another subject.
fn with_subject(subject: &[u8]) -> CertificateDer<'static> {
    const AT: usize = 5; // Behind version, serial number, signature, issuer and validity.
    let certificate = Authority::root("clients").issue(Leaf::default()).chain.remove(0);
    let parts = parts(&certificate);
    let mut of_tbs: Vec<_> = self::parts(parts[0]).into_iter().map(<[u8]>::to_vec).collect();
    of_tbs[AT] = subject.to_vec();
    let tbs = tlv(SEQUENCE, &of_tbs.concat());
    CertificateDer::from(tlv(SEQUENCE, &[&tbs, parts[1], parts[2]].concat()))
}

/// What stands in a sequence.
fn parts(sequence: &[u8]) -> Vec<&[u8]> {
    let mut reader = SliceReader::new(sequence).unwrap();
    let parts = reader.sequence(|inner| {
        let mut parts = Vec::new();
        while !inner.is_finished() {
            parts.push(inner.tlv_bytes()?);
        }
        Ok::<_, x509_cert::der::Error>(parts)
    });
    parts.unwrap()
}

fn name_of(certificate: &CertificateDer<'_>) -> Result<String, UnfitCertificate> {
    PeerCertificate::read(std::slice::from_ref(certificate)).map(|peer| peer.name().as_str().to_owned())
}

fn name_of_subject(relative_names: &[&[Vec<u8>]]) -> Result<String, UnfitCertificate> {
    name_of(&with_subject(&subject(relative_names)))
}

fn name_of_leaf(leaf: Leaf) -> Result<String, UnfitCertificate> {
    name_of(&Authority::root("clients").issue(leaf).chain[0])
}

#[test]
fn a_subject_is_named_as_rfc_4514_writes_it_whatever_its_kind_of_string() {
    let names = [
        &[attribute(DC, IA5, b"org")][..],
        &[attribute(DC, IA5, b"example")],
        &[attribute(O, UTF8, "Müller, Söhne".as_bytes())],
        &[attribute(CN, PRINTABLE, b"billing")],
    ];
    assert_eq!(name_of_subject(&names).unwrap(), "CN=billing,O=Müller\\, Söhne,DC=example,DC=org");
    let in_utf8 = name_of_subject(&[&[attribute(CN, UTF8, b"billing")]]);
    assert_eq!(in_utf8, name_of_subject(&[&[attribute(CN, PRINTABLE, b"billing")]]));
}

#[test]
fn a_subject_that_can_be_read_in_two_ways_names_nobody() {
    let refused = |names: &[&[Vec<u8>]]| name_of_subject(names).unwrap_err();
    let cn = |value: &[u8]| attribute(CN, UTF8, value);
    let name = |problem: BadName| UnfitCertificate::Name(problem);
    assert_eq!(refused(&[]), name(BadName::Empty));
    assert_eq!(refused(&[&[cn(b"a"), attribute(O, UTF8, b"b")]]), UnfitCertificate::MultiValued);
    assert_eq!(refused(&[&[cn(b"a")], &[cn(b"b")]]), name(BadName::Repeated));
    assert_eq!(refused(&[&[cn(b"")]]), name(BadName::EmptyValue));
    assert_eq!(refused(&[&[cn(b"a")], &[attribute("1.2.840.113549.1.9.1", IA5, b"a@b.c")]]), name(BadName::Attribute));
    // CVE-2009-2408, in every kind of string that takes it.
    for tag in [UTF8, IA5] {
        assert_eq!(refused(&[&[attribute(CN, tag, b"bank.example\0.evil.example")]]), name(BadName::Character));
    }
    assert_eq!(refused(&[&[attribute(CN, TELETEX, b"billing")]]), UnfitCertificate::StringType);
    assert_eq!(refused(&[&[attribute(CN, BMP, &[0, b'a', 0, b'b'])]]), UnfitCertificate::StringType);
    let not_utf8: [&[u8]; 4] = [b"a\xff", b"\xc0\xafa", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"];
    for value in not_utf8 {
        assert!(matches!(refused(&[&[cn(value)]]), UnfitCertificate::Unreadable(_)), "{value:?}");
    }
    assert!(matches!(refused(&[&[attribute(CN, PRINTABLE, b"a@b")]]), UnfitCertificate::Unreadable(_)));
    assert!(matches!(refused(&[&[attribute(CN, IA5, b"\xe4")]]), UnfitCertificate::Unreadable(_)));
    assert!(matches!(refused(&[&[]]), UnfitCertificate::MultiValued | UnfitCertificate::Unreadable(_)));
    assert_eq!(refused(&[&[cn(&[b'a'; 3_000])]]), name(BadName::TooLong));
}

#[test]
fn one_spiffe_id_and_no_other_uri_makes_an_svid_and_what_claims_to_be_one_has_no_subject() {
    let id = "spiffe://example.org/billing";
    let email = SanType::Rfc822Name("a@example.org".try_into().unwrap());
    let beside_others =
        Leaf { names: vec![email, uri(id), SanType::DnsName("x.org".try_into().unwrap())], ..Leaf::default() };
    assert_eq!(name_of_leaf(beside_others).as_deref(), Ok(id));
    let without_subject = Leaf { subject: &[], ..Leaf::spiffe(id) };
    assert_eq!(name_of_leaf(without_subject).as_deref(), Ok(id));
    let with_uris =
        |uris: &[&str]| name_of_leaf(Leaf { names: uris.iter().map(|one| uri(one)).collect(), ..Leaf::default() });
    assert_eq!(with_uris(&[id, "spiffe://example.org/other"]), Err(UnfitCertificate::SeveralUris));
    assert_eq!(with_uris(&[id, id]), Err(UnfitCertificate::SeveralUris));
    assert_eq!(with_uris(&["https://example.org", id]), Err(UnfitCertificate::SeveralUris));
    for bad in [
        "spiffe://example.org",
        "SPIFFE://example.org/a",
        "spiffe:example",
        "spiffe://example.org/a\0",
        "spiffe://example.org/%61",
    ] {
        assert_eq!(with_uris(&[bad]), Err(UnfitCertificate::Name(BadName::Spiffe)), "{bad:?}");
    }
    assert_eq!(with_uris(&["https://example.org/spiffe://a/b"]).as_deref(), Ok("CN=billing,O=Example"));
}

#[test]
fn only_a_leaf_that_signs_handshakes_names_a_client() {
    let with = |usages: &[KeyUsagePurpose]| name_of_leaf(Leaf { usages: usages.to_vec(), ..Leaf::default() });
    assert!(with(&[]).is_ok(), "RFC 5280 has keyUsage as optional");
    assert!(with(&[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement]).is_ok());
    assert_eq!(with(&[KeyUsagePurpose::KeyEncipherment]), Err(UnfitCertificate::MayNotSignHandshakes));
    for signs in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
        assert_eq!(with(&[KeyUsagePurpose::DigitalSignature, signs]), Err(UnfitCertificate::Signs));
    }
    let svid = Leaf { usages: Vec::new(), ..Leaf::spiffe("spiffe://example.org/a") };
    assert_eq!(name_of_leaf(svid), Err(UnfitCertificate::NoKeyUsage));
    let pem = Authority::root("an authority").pem;
    let authority = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
    assert_eq!(name_of(&authority), Err(UnfitCertificate::Signs));
    assert!(PeerCertificate::read(&[]).is_err());
}

/// Every byte changed to every value, and every length.
#[test]
fn no_certificate_makes_it_panic() {
    let leaf = Leaf::spiffe("spiffe://example.org/billing");
    let whole = Authority::root("clients").issue(leaf).chain.remove(0);
    let (mut read, mut refused) = (0, 0);
    for at in 0..whole.len() {
        for value in 0..=u8::MAX {
            let mut changed = whole.to_vec();
            changed[at] = value;
            match name_of(&CertificateDer::from(changed)) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(name_of(&CertificateDer::from(&whole[..at])).is_err());
    }
    assert!(read > 0 && refused > 0);
}
