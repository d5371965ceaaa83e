//! What changes while the service runs: revocations reach open connections, and what cannot be used changes nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::house::service::{Service, call, client_config, wait_for};
use crate::house::{Authority, Folder, FromNow, Leaf, pem};
use oubliette::domain::clock::Timestamp;
use oubliette::tls::{CertificateRefused as Refused, FOLLOW_INTERVAL, Following, PeerCertificate, Tls, TlsError};
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_revocation_ends_what_an_open_connection_may_do() {
    let authority = Authority::root("clients");
    let (bad, good) = (authority.issue(Leaf::default()), authority.issue(Leaf::default()));
    let folder = Folder::new(&authority).with_list("a.crl", authority.list(&[]));
    let service = Service::start(&folder).await;
    let (mut of_bad, mut of_good) = (service.client(&authority, Some(&bad)), service.client(&authority, Some(&good)));
    call(&mut of_bad).await.unwrap();
    call(&mut of_good).await.unwrap();
    folder.write("a.crl", authority.list(&[bad.serial]));
    call(&mut of_bad).await.expect("nobody has looked at the file yet");
    assert!(service.tls().refresh_trust(None).unwrap());
    assert_eq!(call(&mut of_bad).await, Err("Unauthenticated: certificate_revoked".to_owned()));
    assert_eq!(service.metrics.open_connections.get(), 2, "it was the connection of before");
    call(&mut of_good).await.unwrap();
    assert!(service.call(&authority, Some(&bad)).await.is_err());
    service.wait_for_failures(Refused::Revoked.name(), 1).await;
}

#[tokio::test]
async fn a_look_at_the_files_finds_what_was_revoked_and_one_on_sighup_the_renewed_certificate_too() {
    let authority = Authority::root("clients");
    let client = authority.issue(Leaf::default());
    let folder = Folder::new(&authority).with_list("a.crl", authority.list(&[]));
    let service = Service::start(&folder).await;
    let peer = PeerCertificate::read(&client.chain).unwrap();
    let judge = || service.tls().trust().still_trusted(&peer, Timestamp::now());
    let following = Following::new(service.tls().clone(), service.metrics.clone());
    following.look(None).await;
    assert_eq!((judge(), service.tls().trust().generation()), (Ok(()), 0));
    let renewed = authority.server();
    folder.write("server.pem", &renewed.pem);
    folder.write("server.key", &renewed.key_pem);
    folder.write("a.crl", authority.list(&[client.serial]));
    following.look(None).await;
    assert_eq!((judge(), service.tls().trust().generation()), (Err(Refused::Revoked), 1));
    let config = client_config(&authority, None, &[&TLS13], &["h2"]);
    let shown =
        async || service.shake(config.clone()).await.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_ne!(shown().await, renewed.chain[0]);
    following.look(Some(folder.places.clone())).await;
    assert_eq!(shown().await, renewed.chain[0]);
    // A revocation that comes, and what is wrong and what has expired, is told once a look and once in all.
    folder.write("server.key", "no key");
    folder.write("a.crl", authority.list_of(&[], FromNow(-30), FromNow(-20)));
    following.look(Some(folder.places.clone())).await;
    folder.write("ca.pem", "no certificate");
    following.look(None).await;
    following.look(None).await;
    let alerts = ["tls_certificate_refused", "client_crl_expired", "client_trust_refused"];
    assert_eq!(alerts.map(|sort| service.alerts(sort)), [1, 1, 2]);
    assert!(FOLLOW_INTERVAL <= Duration::from_secs(15), "a revocation counts within a minute");
}

#[tokio::test]
async fn files_are_followed_until_the_service_ends() {
    let authority = Authority::root("clients");
    let folder = Folder::new(&authority);
    let tls = Arc::new(Tls::load(&folder.places).unwrap());
    folder.write("ca.pem", Authority::root("other").pem);
    let (following, ended) = (Following::new(tls.clone(), Arc::default()), CancellationToken::new());
    let task = tokio::spawn({
        let ended = ended.clone();
        async move { following.follow(ended).await }
    });
    wait_for(|| tls.trust().generation() == 1, "the first look").await;
    ended.cancel();
    task.await.unwrap();
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let authority = Authority::root("clients");
    let (bad, good) = (authority.issue(Leaf::default()), authority.issue(Leaf::default()));
    let list = authority.list(&[bad.serial]);
    let folder = Folder::new(&authority).with_list("a.crl", &list);
    let tls = Tls::load(&folder.places).unwrap();
    let peers = [&good, &bad].map(|one| PeerCertificate::read(&one.chain).unwrap());
    let pem_list = pem("X509 CRL", &[&list]);
    let mut flipped = list.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let elsewhere = authority.list_of(&[], FromNow(-600), FromNow(3_600));
    type IsExpected = fn(&TlsError) -> bool;
    let broken: [(&str, &[u8], IsExpected); 8] = [
        ("a.crl", &list[..list.len() - 1], |error| matches!(error, TlsError::List { .. })),
        ("a.crl", &pem_list.as_bytes()[..pem_list.len() / 2], |error| matches!(error, TlsError::Pem { .. })),
        ("a.crl", b"", |error| matches!(error, TlsError::Empty { .. })),
        ("a.crl", &[0x30, 0x82, 0xff, 0xff, 0], |error| matches!(error, TlsError::List { .. })),
        ("a.crl", &flipped, |error| matches!(error, TlsError::ListSignature { .. })),
        ("a.crl", &elsewhere, |error| matches!(error, TlsError::ListTurnedBack { .. })),
        ("ca.pem", b"", |error| matches!(error, TlsError::Empty { .. })),
        ("ca.pem", good.pem.as_bytes(), |error| matches!(error, TlsError::NotAnAuthority { .. })),
    ];
    for (name, bytes, is_expected) in broken {
        let whole = std::fs::read(folder.path(name)).unwrap();
        folder.write(name, bytes);
        let error = tls.refresh_trust(None).unwrap_err();
        assert!(is_expected(&error), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(tls.trust().generation(), 0);
        let now = Timestamp::now();
        assert_eq!(peers.each_ref().map(|peer| tls.trust().still_trusted(peer, now)), [Ok(()), Err(Refused::Revoked)]);
        folder.write(name, whole);
        assert!(!tls.refresh_trust(None).unwrap(), "it is as it was");
    }
    std::fs::remove_file(folder.path("a.crl")).unwrap();
    assert!(matches!(tls.refresh_trust(None), Err(TlsError::Unreadable { .. })));
}

#[test]
fn with_lists_two_authorities_of_one_name_are_refused_unless_they_are_one() {
    let (authority, namesake) = (Authority::root("clients"), Authority::root("clients"));
    let folder = Folder::new(&authority).with_list("a.crl", authority.list(&[]));
    folder.write("ca.pem", format!("{}{}", authority.pem, namesake.pem));
    let refused = Tls::load(&folder.places).err().unwrap();
    assert!(matches!(refused, TlsError::Namesake { .. }), "{refused:?}");
    folder.write("ca.pem", format!("{0}{0}", authority.pem));
    assert!(Tls::load(&folder.places).is_ok());
    let without_lists = Folder::new(&authority);
    without_lists.write("ca.pem", format!("{}{}", authority.pem, namesake.pem));
    assert!(Tls::load(&without_lists.places).is_ok());
}

/// A start is not bound to what was before it, so that an operator who means it can go back.
#[test]
fn a_start_takes_an_older_list_and_what_cannot_be_used_it_refuses() {
    let authority = Authority::root("clients");
    let folder = Folder::new(&authority).with_list("a.crl", authority.list_of(&[], FromNow(-600), FromNow(3_600)));
    assert!(Tls::load(&folder.places).is_ok());
    folder.write("a.crl", "nothing");
    assert!(matches!(Tls::load(&folder.places), Err(TlsError::Empty { .. })));
}

/// A bit of every byte changed, in a list whose issuer is known only by its clients' chains, so that its signature does not keep it from being read.
#[test]
fn no_list_makes_it_panic() {
    let (authority, other) = (Authority::root("clients"), Authority::root("other"));
    let folder = Folder::new(&authority).with_list("a.crl", "");
    let whole = other.list(&[1, 2, 3]);
    let (mut taken, mut refused) = (0, 0);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        folder.write("a.crl", changed);
        match Tls::load(&folder.places) {
            Ok(_) => taken += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 0 && refused > 0);
}

/// The length and the time of the file stay as they were.
#[test]
fn a_change_is_seen_by_its_content_alone() {
    let authority = Authority::root("clients");
    let (one, other) = (authority.issue(Leaf::default()), authority.issue(Leaf::default()));
    // The signature's length varies; so two lists of one length are looked for.
    let of_one = authority.list(&[one.serial]);
    let of_other = std::iter::repeat_with(|| authority.list(&[other.serial])).find(|list| list.len() == of_one.len());
    let folder = Folder::new(&authority).with_list("a.crl", of_one);
    let path = folder.path("a.crl");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let tls = Tls::load(&folder.places).unwrap();
    folder.write("a.crl", of_other.unwrap());
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert!(tls.refresh_trust(None).unwrap());
}

#[test]
fn a_verdict_is_asked_again_when_a_certificate_or_a_list_may_have_expired() {
    let authority = Authority::root("clients");
    let client = authority.issue(Leaf { until: FromNow(100), ..Leaf::default() });
    let folder = Folder::new(&authority).with_list("a.crl", authority.list_of(&[], FromNow(-60), FromNow(50)));
    let tls = Tls::load(&folder.places).unwrap();
    let peer = PeerCertificate::read(&client.chain).unwrap();
    let now = Timestamp::now();
    let judge = |seconds: u64| tls.trust().still_trusted(&peer, now.plus_ms(seconds * 1_000));
    assert_eq!((judge(0), judge(40)), (Ok(()), Ok(())));
    assert_eq!(judge(54), Ok(()), "a verdict holds for some seconds");
    assert_eq!(judge(56), Err(Refused::ListExpired));
    assert_eq!(judge(101), Err(Refused::Expired));
    assert_eq!(judge(0), Ok(()), "the clock was turned back");
    assert_eq!(tls.trust().expired_lists(now), Vec::<std::path::PathBuf>::new());
    assert_eq!(tls.trust().expired_lists(now.plus_ms(51_000)), [folder.path("a.crl")]);
}

#[test]
fn an_authority_that_is_taken_away_takes_its_clients_along() {
    let (authority, other) = (Authority::root("clients"), Authority::root("other"));
    let mut folder = Folder::new(&authority);
    let tls = Tls::load(&folder.places).unwrap();
    let peer = PeerCertificate::read(&authority.issue(Leaf::default()).chain).unwrap();
    let judge = || tls.trust().still_trusted(&peer, Timestamp::now());
    assert_eq!(judge(), Ok(()));
    folder.write("ca.pem", &other.pem);
    assert!(tls.refresh_trust(None).unwrap());
    assert_eq!(judge(), Err(Refused::UnknownIssuer));
    folder.write("ca.pem", format!("{}{}", other.pem, authority.pem));
    assert!(tls.refresh_trust(None).unwrap());
    assert_eq!((judge(), tls.trust().generation()), (Ok(()), 2));
    folder.places.client_ca.clear();
    assert!(tls.refresh_trust(Some(&folder.places)).unwrap());
    assert_eq!(judge(), Err(Refused::UnknownIssuer));
    assert!(!tls.refresh_trust(None).unwrap(), "the new places are the ones that are followed");
}

#[test]
fn the_places_that_sighup_brings_are_followed_also_where_the_same_stands_in_them() {
    let authority = Authority::root("clients");
    let client = authority.issue(Leaf::default());
    let mut folder = Folder::new(&authority).with_list("a.crl", authority.list(&[]));
    let tls = Tls::load(&folder.places).unwrap();
    folder.write("b.crl", std::fs::read(folder.path("a.crl")).unwrap());
    folder.places.client_crls = vec![folder.path("b.crl")];
    assert!(tls.refresh_trust(Some(&folder.places)).unwrap());
    folder.write("b.crl", authority.list(&[client.serial]));
    assert!(tls.refresh_trust(None).unwrap());
    let peer = PeerCertificate::read(&client.chain).unwrap();
    assert_eq!(tls.trust().still_trusted(&peer, Timestamp::now()), Err(Refused::Revoked));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections_and_a_broken_one_is_not() {
    let authority = Authority::root("clients");
    let folder = Folder::new(&authority);
    let service = Service::start(&folder).await;
    let config = client_config(&authority, None, &[&TLS13], &["h2"]);
    let shown = async || {
        let stream = service.shake(config.clone()).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let is_in_use = async |pem: &str| shown().await == first(pem);
    let old = std::fs::read_to_string(folder.path("server.pem")).unwrap();
    assert!(is_in_use(&old).await);
    let renewed = authority.server();
    folder.write("server.pem", &renewed.pem);
    let mismatch = service.tls().renew_identity(&folder.places).unwrap_err();
    assert!(mismatch.to_string().contains("belong together"), "{mismatch}");
    assert!(is_in_use(&old).await);
    folder.write("server.key", &renewed.key_pem);
    service.tls().renew_identity(&folder.places).unwrap();
    assert!(is_in_use(&renewed.pem).await);
    folder.write("server.key", "no key");
    assert!(service.tls().renew_identity(&folder.places).is_err());
    assert!(is_in_use(&renewed.pem).await);
}

fn first(pem: &str) -> CertificateDer<'static> {
    rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap()
}
