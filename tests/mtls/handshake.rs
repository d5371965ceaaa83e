//! Who is let in by a handshake, and who is not: through the front door, with a handler that says who called.

use crate::house::service::{Service, call, client_config, wait_for};
use crate::house::{Authority, Folder, FromNow, Holder, Leaf, pem, uri};
use oubliette::config::Limits;
use oubliette::tls::CertificateRefused as Refused;
use rcgen::{DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_certificate_with_a_spiffe_id_arrives_in_the_handler_by_that_name() {
    let authority = Authority::root("clients");
    let service = Service::start(&Folder::new(&authority).required()).await;
    let client = authority.issue(Leaf::spiffe("spiffe://example.org/ns/prod/billing"));
    let (name, fingerprint) = service.call(&authority, Some(&client)).await.unwrap().unwrap();
    assert_eq!(name, "spiffe://example.org/ns/prod/billing");
    assert_eq!(fingerprint, &oubliette::crypto::hash::sha256(&client.chain[0])[..4]);
}

#[tokio::test]
async fn a_certificate_without_one_arrives_by_its_subject() {
    let authority = Authority::root("clients");
    let service = Service::start(&Folder::new(&authority).required()).await;
    let client =
        authority.issue(Leaf { names: vec![uri("urn:uuid:1"), uri("https://example.org")], ..Leaf::default() });
    assert_eq!(service.call(&authority, Some(&client)).await.unwrap().unwrap().0, "CN=billing,O=Example");
}

#[tokio::test]
async fn without_a_certificate_one_gets_in_only_where_it_is_optional() {
    let authority = Authority::root("clients");
    let optional = Service::start(&Folder::new(&authority)).await;
    assert_eq!(optional.call(&authority, None).await, Ok(None));
    let required = Service::start(&Folder::new(&authority).required()).await;
    assert!(required.call(&authority, None).await.is_err());
    required.wait_for_failures("certificate_missing", 1).await;
    assert_eq!(required.calls(), 0);
}

#[tokio::test]
async fn where_no_authority_is_named_no_certificate_is_asked_for() {
    let authority = Authority::root("clients");
    let mut folder = Folder::new(&authority);
    folder.places.client_ca.clear();
    let service = Service::start(&folder).await;
    let client = authority.issue(Leaf::default());
    assert_eq!(service.call(&authority, Some(&client)).await, Ok(None), "the client was not asked");
}

/// A client is refused for `reason`, where certificates are optional as where they are required: one that is shown must be good.
async fn is_refused(folder: Folder, authority: &Authority, client: &Holder, reason: Refused) {
    is_refused_by(&folder, authority, client, reason).await;
    is_refused_by(&folder.required(), authority, client, reason).await;
}

async fn is_refused_by(folder: &Folder, authority: &Authority, client: &Holder, reason: Refused) {
    let service = Service::start(folder).await;
    assert!(service.call(authority, Some(client)).await.is_err(), "{reason:?}");
    service.wait_for_failures(reason.name(), 1).await;
    assert_eq!(service.calls(), 0);
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_is_refused_also_one_of_the_same_name() {
    let (authority, namesake) = (Authority::root("clients"), Authority::root("clients"));
    is_refused(
        Folder::new(&authority),
        &authority,
        &Authority::root("x").issue(Leaf::default()),
        Refused::UnknownIssuer,
    )
    .await;
    is_refused(Folder::new(&authority), &authority, &namesake.issue(Leaf::default()), Refused::Invalid).await;
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    let authority = Authority::root("clients");
    let old = authority.issue(Leaf { until: FromNow(-5), ..Leaf::default() });
    is_refused(Folder::new(&authority), &authority, &old, Refused::Expired).await;
    let early = authority.issue(Leaf { from: FromNow(600), ..Leaf::default() });
    is_refused(Folder::new(&authority), &authority, &early, Refused::NotYetValid).await;
}

#[tokio::test]
async fn a_certificate_for_servers_only_is_refused() {
    let authority = Authority::root("clients");
    let client = authority.issue(Leaf { purposes: vec![ExtendedKeyUsagePurpose::ServerAuth], ..Leaf::default() });
    is_refused(Folder::new(&authority), &authority, &client, Refused::WrongPurpose).await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_another_one_of_its_issuer_is_not() {
    let authority = Authority::root("clients");
    let (bad, good) = (authority.issue(Leaf::default()), authority.issue(Leaf::default()));
    let list = authority.list(&[bad.serial]);
    let service = Service::start(&Folder::new(&authority).with_list("a.crl", pem("X509 CRL", &[&list]))).await;
    assert!(service.call(&authority, Some(&good)).await.unwrap().is_some());
    assert_eq!(service.call(&authority, None).await, Ok(None));
    is_refused(Folder::new(&authority).with_list("a.crl", &list), &authority, &bad, Refused::Revoked).await;
}

#[tokio::test]
async fn with_the_list_of_another_issuer_only_nothing_is_known_and_so_nobody_gets_in() {
    let (authority, other) = (Authority::root("clients"), Authority::root("other"));
    let client = authority.issue(Leaf::default());
    is_refused(
        Folder::new(&authority).with_list("o.crl", other.list(&[])),
        &authority,
        &client,
        Refused::StatusUnknown,
    )
    .await;
}

#[tokio::test]
async fn an_expired_list_says_nothing_and_so_nobody_gets_in() {
    let authority = Authority::root("clients");
    let list = authority.list_of(&[], FromNow(-600), FromNow(-5));
    let client = authority.issue(Leaf::default());
    is_refused(Folder::new(&authority).with_list("a.crl", list), &authority, &client, Refused::ListExpired).await;
}

#[tokio::test]
async fn of_two_lists_of_one_issuer_the_newest_counts_whatever_their_order() {
    let authority = Authority::root("clients");
    let bad = authority.issue(Leaf::default());
    let (old, new) = (authority.list_of(&[], FromNow(-600), FromNow(600)), authority.list(&[bad.serial]));
    let folder = || Folder::new(&authority);
    is_refused(folder().with_list("1.crl", &old).with_list("2.crl", &new), &authority, &bad, Refused::Revoked).await;
    is_refused(folder().with_list("1.crl", pem("X509 CRL", &[&old, &new])), &authority, &bad, Refused::Revoked).await;
}

#[tokio::test]
async fn the_whole_chain_is_looked_up() {
    let root = Authority::root("root");
    let between = root.under("between");
    let client = between.issue(Leaf::spiffe("spiffe://example.org/deep"));
    let both = |revoked: &[u64]| {
        Folder::new(&root).with_list("root.crl", root.list(revoked)).with_list("between.crl", between.list(&[]))
    };
    let service = Service::start(&both(&[])).await;
    assert_eq!(service.call(&root, Some(&client)).await.unwrap().unwrap().0, "spiffe://example.org/deep");
    is_refused(both(&[between.serial]), &root, &client, Refused::Revoked).await;
    let only_the_roots = Folder::new(&root).with_list("root.crl", root.list(&[]));
    is_refused(only_the_roots, &root, &client, Refused::StatusUnknown).await;
    let only_the_lower = Folder::new(&root).with_list("between.crl", between.list(&[]));
    is_refused(only_the_lower, &root, &client, Refused::StatusUnknown).await;
    let forged = Authority::root("between").list(&[]);
    let with_a_forged_list = Folder::new(&root).with_list("root.crl", root.list(&[])).with_list("between.crl", forged);
    is_refused(with_a_forged_list, &root, &client, Refused::ListUnusable).await;
}

#[tokio::test]
async fn a_good_certificate_that_names_nobody_is_refused_in_the_handshake() {
    let authority = Authority::root("clients");
    let two = Leaf { names: vec![uri("spiffe://a.org/x"), uri("spiffe://a.org/y")], ..Leaf::default() };
    let nul = Leaf { subject: &[(DnType::CommonName, "bank.example\0.evil.example")], ..Leaf::default() };
    let empty = Leaf { subject: &[], ..Leaf::default() };
    let signs =
        Leaf { usages: vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign], ..Leaf::default() };
    for leaf in [two, nul, empty, signs] {
        let client = authority.issue(leaf);
        is_refused(Folder::new(&authority), &authority, &client, Refused::Unfit).await;
        // In TLS 1.2 the client has no handshake before the server's last word: so it is told by TLS.
        let service = Service::start(&Folder::new(&authority)).await;
        let told = service.shake(client_config(&authority, Some(&client), &[&TLS12], &["h2"])).await.unwrap_err();
        assert!(told.to_string().contains("received fatal alert"), "{told}");
    }
}

#[tokio::test]
async fn a_session_is_never_resumed() {
    let authority = Authority::root("clients");
    let service = Service::start(&Folder::new(&authority).required()).await;
    let client = authority.issue(Leaf::default());
    for version in [&TLS12, &TLS13] {
        let config = client_config(&authority, Some(&client), &[version], &["h2"]);
        for _ in 0..3 {
            let mut stream = service.shake(config.clone()).await.unwrap();
            // What would carry a ticket is read.
            let mut first = [0; 9];
            stream.write_all(PREFACE).await.unwrap();
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
        }
    }
}

/// The beginning of an HTTP/2 connection: the preface and empty SETTINGS (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The type of a SETTINGS frame.
const SETTINGS: u8 = 4;

#[tokio::test]
async fn a_client_that_names_no_protocol_is_served_and_one_that_names_another_is_not() {
    let authority = Authority::root("clients");
    let service = Service::start(&Folder::new(&authority).required()).await;
    let client = authority.issue(Leaf::default());
    for version in [&TLS12, &TLS13] {
        let config = client_config(&authority, Some(&client), &[version], &[]);
        let mut stream = service.shake(config).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.unwrap();
        assert_eq!((frame[3], stream.get_ref().1.alpn_protocol()), (SETTINGS, None));
    }
    let config = client_config(&authority, Some(&client), &[&TLS13], &["http/1.1"]);
    assert!(service.shake(config).await.is_err());
    service.wait_for_failures("not_our_tls", 1).await;
}

#[tokio::test]
async fn on_loopback_in_the_clear_there_is_a_peer_and_no_certificate() {
    let service = Service::start_with(None, Limits::default()).await;
    call(&mut service.client_in_the_clear()).await.unwrap();
    assert_eq!(service.last_caller(), None);
    wait_for(|| service.metrics.open_connections.get() == 0, "the end of the connection").await;
    assert!(service.metrics.bytes_in.get() > 0 && service.metrics.bytes_out.get() > 0);
}
