//! Files and servers that answer as they should not. The servers are real, on a loopback address.

use std::net::SocketAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const BODY: &str = r#"{"keys":[]}"#;

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn answer_one(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    // Until the other side has gone: what it has not read yet would be lost.
    let _ = stream.read(&mut request).await;
}

/// A server that gives this answer to everyone.
async fn server(answer: Vec<u8>, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, tls) = (answer.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => answer_one(stream, &answer).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            answer_one(stream, &answer).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn fetch_from(answer: Vec<u8>) -> Result<Bytes, Unfetched> {
    let address = server(answer, None).await;
    JwksSource::address(&format!("http://{address}/jwks"), None).unwrap().fetch().await
}

#[test]
fn only_https_and_plain_http_on_this_machine_are_asked() {
    let taken = |address: &str| JwksSource::address(address, None).is_ok();
    for good in [
        "https://id.example.com/jwks",
        "https://10.0.0.1:8443/a?b=c",
        "http://127.0.0.1:80/",
        "http://[::1]:8080/jwks",
        "http://127.8.0.1/",
    ] {
        assert!(taken(good), "{good}");
    }
    for bad in [
        "",
        "/jwks",
        "id.example.com",
        "http://id.example.com/jwks",
        "http://localhost/jwks",
        "http://127.0.0.1.example.com/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://[::]/",
        "http://[::ffff:8.8.8.8]/",
        "https://user:password@id.example.com/",
        "http://127.0.0.1@evil.example/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://",
    ] {
        assert!(!taken(bad), "{bad}");
    }
}

#[tokio::test]
async fn a_good_answer_is_read_and_no_other() {
    assert_eq!(fetch_from(answer("200 OK", "", BODY)).await.unwrap(), BODY);
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"key\r\n6\r\ns\":[]}\r\n0\r\n\r\n";
    assert_eq!(fetch_from(chunked.into()).await.unwrap(), BODY);
    for status in
        ["201 Created", "204 No Content", "301 Moved", "304 Not Modified", "403 Forbidden", "500 Oops", "503 Busy"]
    {
        let refused = fetch_from(answer(status, "", if status.starts_with("2") { "" } else { BODY })).await;
        assert!(matches!(refused, Err(Unfetched::Status(_))), "{status}");
    }
    for broken in ["", "SSH-2.0\r\n", "HTTP/1.1 200 OK\r\n"] {
        assert!(matches!(fetch_from(broken.into()).await, Err(Unfetched::Unreachable(_))), "{broken}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let aim = server(answer("200 OK", "", BODY), None).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let redirect = answer(status, &format!("location: http://{aim}/jwks\r\n"), "");
        assert!(matches!(fetch_from(redirect).await, Err(Unfetched::Status(_))), "{status}");
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    let exact = "x".repeat(MAX_SET_BYTES);
    assert_eq!(fetch_from(answer("200 OK", "", &exact)).await.unwrap().len(), MAX_SET_BYTES);
    let more = "x".repeat(MAX_SET_BYTES + 1);
    assert!(matches!(fetch_from(answer("200 OK", "", &more)).await, Err(Unfetched::Set(BadSet::TooLong))));
    let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(4 << 20));
    assert!(matches!(fetch_from(endless.into()).await, Err(Unfetched::Set(BadSet::TooLong))));
}

#[tokio::test]
async fn a_file_is_read_up_to_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let fetch = || async { JwksSource::File(path.clone()).fetch().await };
    assert!(matches!(fetch().await, Err(Unfetched::File(_))));
    std::fs::write(&path, BODY).unwrap();
    assert_eq!(fetch().await.unwrap(), BODY);
    std::fs::write(&path, vec![b' '; MAX_SET_BYTES * 4]).unwrap();
    assert_eq!(fetch().await.unwrap().len(), MAX_SET_BYTES + 1, "one byte more, so that it is seen to be too long");
    assert!(matches!(JwksSource::File(folder.path().to_owned()).fetch().await, Err(Unfetched::File(_))));
}

/// An authority of our own and a server for `name` under it.
fn tls(name: &str) -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private).unwrap();
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_server_is_trusted_under_the_authorities_that_were_named_and_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (pem, acceptor) = tls("127.0.0.1");
    let (other_pem, _) = tls("127.0.0.1");
    let (ours, others) = (file("ours.pem", &pem), file("others.pem", &other_pem));
    let address = format!("https://{}/jwks", server(answer("200 OK", "", BODY), Some(acceptor)).await);
    let fetch = |authorities: Option<PathBuf>| {
        let source = JwksSource::address(&address, authorities.as_deref()).unwrap();
        async move { source.fetch().await }
    };
    assert_eq!(fetch(Some(ours.clone())).await.unwrap(), BODY);
    for authorities in [None, Some(others)] {
        assert!(matches!(fetch(authorities).await, Err(Unfetched::Unreachable(_))));
    }
    let (pem, acceptor) = tls("id.example.com");
    let address = format!("https://{}/jwks", server(answer("200 OK", "", BODY), Some(acceptor)).await);
    let source = JwksSource::address(&address, Some(&file("named.pem", &pem))).unwrap();
    assert!(matches!(source.fetch().await, Err(Unfetched::Unreachable(_))), "the certificate is another's");
    for (name, text) in
        [("none.pem", ""), ("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        let refused = JwksSource::address(&address, Some(&file(name, text)));
        assert!(matches!(refused.err(), Some(BadSource::NoAuthorities)), "{name}");
    }
    let missing = JwksSource::address(&address, Some(&folder.path().join("missing.pem")));
    assert!(matches!(missing.err(), Some(BadSource::AuthoritiesFile(_))));
    // TLS where none is spoken, and none where TLS is.
    let plain = server(answer("200 OK", "", BODY), None).await;
    let source = JwksSource::address(&format!("https://{plain}/jwks"), Some(&ours)).unwrap();
    assert!(matches!(source.fetch().await, Err(Unfetched::Unreachable(_))));
}
