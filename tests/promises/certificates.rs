//! A client with a certificate is who an admin of `system` says it is, for as long as the certificate is believed and that stands: on connections
//! that are open, and in streams, too.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use oubliette::api::v1;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use crate::audit::{auditor, entries};
use crate::authorities::{Authority, Holder, Leaf};
use crate::fixture::{AGENT, PURPOSES, Server};
use crate::wire::{Caller, assert_refused, chat, from_now, metadata, reason};

const PURPOSE: &str = PURPOSES[0];
const PLATFORM: &str = "spiffe://example.org/platform";
/// What is promised of a right's end.
const A_MINUTE: Duration = Duration::from_secs(60);

/// A service that believes an authority, and where it finds that one's list.
struct House {
    server: Server,
    authority: Authority,
    list: PathBuf,
    _folder: tempfile::TempDir,
}

impl House {
    async fn start() -> Self {
        let (authority, folder) = (Authority::root("clients"), tempfile::tempdir().unwrap());
        let (ca, list) = (folder.path().join("ca.pem"), folder.path().join("clients.crl"));
        std::fs::write(&ca, &authority.pem).unwrap();
        std::fs::write(&list, authority.list(&[])).unwrap();
        let quoted = |path: &PathBuf| format!("[{:?}]", path.display().to_string());
        let (ca, crls) = (quoted(&ca), quoted(&list));
        let server = Server::start_with(&[("listen.tls.client_ca", &ca), ("listen.tls.client_crls", &crls)]).await;
        Self { server, authority, list, _folder: folder }
    }

    async fn channel(&self, client: &Holder, set: impl FnOnce(Endpoint) -> Endpoint) -> Channel {
        let ca = Certificate::from_pem(std::fs::read(self.server.dir().join("tls/ca.pem")).unwrap());
        let identity = Identity::from_pem(&client.pem, &client.key_pem);
        let tls = ClientTlsConfig::new().ca_certificate(ca).identity(identity);
        let endpoint = Endpoint::from_shared(self.server.endpoint()).unwrap().tls_config(tls).unwrap();
        set(endpoint).connect().await.unwrap()
    }

    /// Calls over a connection with a certificate, and with a token or none.
    async fn caller(&self, client: &Holder, token: Option<&str>) -> Caller {
        let header = token.map(|token| format!("Bearer {}", token.trim()));
        Caller::over(self.channel(client, |endpoint| endpoint).await, header.as_deref())
    }

    async fn bind(&self, tenant: &str, principal: &str, name: &str, seconds: i64) -> Result<v1::Token, Status> {
        let mut admin = Caller::of(&self.server, &self.server.admin_token()).await.admin;
        let (tenant, principal, certificate_name) = (tenant.to_owned(), principal.to_owned(), name.to_owned());
        let expires_at = Some(from_now(seconds));
        let asked = v1::BindCertificateRequest { tenant, principal, certificate_name, expires_at };
        Ok(admin.bind_certificate(asked).await?.into_inner().token.unwrap())
    }

    async fn revoke(&self, tenant: &str, token_id: String) {
        let mut admin = Caller::of(&self.server, &self.server.admin_token()).await.admin;
        admin
            .revoke_token(v1::RevokeTokenRequest { tenant: tenant.to_owned(), token_id, issued_to: String::new() })
            .await
            .unwrap();
    }

    async fn ingest(&self, tenant: &str) -> String {
        let mut admin = Caller::of(&self.server, &self.server.admin_token()).await.admin;
        let listed = v1::ListPrincipalsRequest { tenant: tenant.to_owned(), ..Default::default() };
        let people = admin.list_principals(listed).await.unwrap().into_inner().principals;
        people.into_iter().find(|one| one.roles == [v1::Role::Ingest as i32]).unwrap().name
    }
}

fn unauthenticated<T>(outcome: Result<T, Status>) {
    assert_refused(outcome, Code::Unauthenticated, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_certificate_stands_for_whom_it_was_bound_to_and_for_nobody_before_and_after() {
    let house = House::start().await;
    let people = house.server.tenant_with_people("acme").await;
    let strangers = house.server.tenant_with_people("globex").await;
    let ingest = house.ingest("acme").await;
    let platform = house.authority.issue(Leaf::spiffe(PLATFORM));
    let client = house.caller(&platform, None).await;
    unauthenticated(client.store_chat(chat("chat-0001", "ada")).await);

    let bound = house.bind("acme", &ingest, PLATFORM, 3_600).await.unwrap();
    assert_eq!((bound.certificate_name.as_str(), bound.revoked), (PLATFORM, false));
    // On the connection that is open.
    let stored = client.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    // Another certificate of the same authority is somebody else, or nobody.
    let other = house.authority.issue(Leaf::spiffe("spiffe://example.org/platform2"));
    unauthenticated(house.caller(&other, None).await.store_chat(chat("chat-0002", "ada")).await);

    // The name is taken; and no tenant can claim one.
    assert_refused(house.bind("globex", "sam", PLATFORM, 60).await, Code::AlreadyExists, "CERTIFICATE_BOUND");
    for bad in ["", "platform", "spiffe://example.org/../x", "SPIFFE://example.org/platform"] {
        let refused = house.bind("acme", &ingest, bad, 60).await.err().unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad:?}");
    }
    let admin =
        crate::fixture::token_for(&house.server.admin_client().await, "acme", "adam", v1::Role::Admin, &[]).await;
    let mut own = Caller::of(&house.server, &admin).await.admin;
    let asked = v1::BindCertificateRequest {
        principal: ingest.clone(),
        certificate_name: "spiffe://example.org/new".to_owned(),
        ..Default::default()
    };
    assert_refused(own.bind_certificate(asked).await, Code::PermissionDenied, "PERMISSION_DENIED");

    // With a token beside it the token's right counts, and both are told.
    Caller::of(&house.server, &people.ingest).await.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    let agent = house.caller(&platform, Some(&people.agent)).await.working_on("case-7");
    agent.chat(&stored, PURPOSE).await.unwrap();
    let seen = entries(&auditor(&house.server, "acme").await).await;
    let read = seen.iter().find(|entry| entry.event == "read").unwrap();
    assert_eq!((read.principal.as_str(), read.fields["actor"].as_str()), (AGENT, ingest.as_str()));
    // A certificate that stands for nobody adds nothing and takes nothing; one of another tenant does not go together with the token.
    house.caller(&other, Some(&people.agent)).await.working_on("case-7").chat(&stored, PURPOSE).await.unwrap();
    unauthenticated(house.caller(&platform, Some(&strangers.agent)).await.chat(&stored, PURPOSE).await);

    house.revoke("acme", bound.token_id.clone()).await;
    unauthenticated(client.store_chat(chat("chat-0003", "ada")).await);
    // Then it is free, also for another tenant; and it ends by itself.
    let again = house.bind("globex", "sam", PLATFORM, 2).await.unwrap();
    assert_eq!(again.token_id, bound.token_id);
    let ended = tokio::time::Instant::now() + Duration::from_secs(3);
    assert_refused(client.chat(&stored, PURPOSE).await, Code::NotFound, "NOT_FOUND");
    tokio::time::sleep_until(ended).await;
    unauthenticated(client.chat(&stored, PURPOSE).await);
    // A token does not end with it, even one of another tenant than it was bound to.
    agent.chat(&stored, PURPOSE).await.unwrap();
}

#[tokio::test]
async fn a_revoked_certificate_ends_calls_and_downloads_within_a_minute_also_where_a_token_comes_with_it() {
    let house = House::start().await;
    let people = house.server.tenant_with_people("acme").await;
    let ingest = Caller::of(&house.server, &people.ingest).await;
    let call = ingest.store_call(metadata("call-0001", "ada"), &vec![7; 48 << 20]).await.unwrap().record_id;
    let name = "CN=billing,O=Example";
    house.bind("acme", "sam", name, 3_600).await.unwrap();
    let holder = house.authority.issue(Leaf::default());
    let small = |endpoint: Endpoint| endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let slow = Caller::over(house.channel(&holder, small).await, None);
    let request =
        v1::DownloadRecordingRequest { record_id: call.clone(), purpose: PURPOSE.to_owned(), ..Default::default() };
    let mut stream = slow.records.clone().download_recording(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let client = house.caller(&holder, None).await;
    let with_token = house.caller(&holder, Some(&people.supervisor)).await;
    client.record(&call, PURPOSE).await.unwrap();
    with_token.record(&call, PURPOSE).await.unwrap();

    std::fs::write(&house.list, house.authority.list(&[holder.serial])).unwrap();
    let revoked = Instant::now();
    let ended = loop {
        match tokio::time::timeout(A_MINUTE, stream.message()).await.expect("the download stands still") {
            Ok(Some(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
            Ok(None) => panic!("the download came to its end"),
            Err(status) => break status,
        }
        assert!(revoked.elapsed() < A_MINUTE, "the download runs on");
    };
    assert_eq!(reason(&ended), "UNAUTHENTICATED");
    crate::tell(&format!("a download ended {:?} after its certificate was revoked", revoked.elapsed()));
    unauthenticated(client.record(&call, PURPOSE).await);
    unauthenticated(with_token.record(&call, PURPOSE).await);
    // The token alone is as good as it was.
    Caller::of(&house.server, &people.supervisor).await.record(&call, PURPOSE).await.unwrap();
    let handshake = Endpoint::from_shared(house.server.endpoint()).unwrap();
    let ca = Certificate::from_pem(std::fs::read(house.server.dir().join("tls/ca.pem")).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(ca).identity(Identity::from_pem(&holder.pem, &holder.key_pem));
    let anew = handshake.tls_config(tls).unwrap().connect_lazy();
    assert!(Caller::over(anew, None).record(&call, PURPOSE).await.is_err(), "a revoked certificate shakes hands");
}

#[tokio::test]
async fn the_command_line_comes_with_a_certificate_and_needs_no_token_then() {
    let house = House::start().await;
    house.server.tenant_with_people("acme").await;
    let platform = house.authority.issue(Leaf::spiffe(PLATFORM));
    let at = |name: &str| house.list.with_file_name(name);
    let (certificate, key, profile) = (at("own.pem"), at("own.key"), at("profile.toml"));
    let ca = house.server.dir().join("tls/ca.pem").display().to_string();
    std::fs::write(&profile, format!("endpoint = {:?}\nca = {ca:?}\n", house.server.endpoint())).unwrap();
    std::fs::write(&certificate, &platform.pem).unwrap();
    std::fs::write(&key, &platform.key_pem).unwrap();
    let run = || {
        let mut command = crate::fixture::oubliette(&["case", "list", "--customer", "ada", "--json"]);
        command.env("OUBLIETTE_PROFILE", &profile).env_remove("OUBLIETTE_TOKEN").env_remove("OUBLIETTE_TOKEN_FILE");
        command.env("OUBLIETTE_CLIENT_CERTIFICATE", &certificate).arg("--client-key").arg(&key);
        command.output().unwrap()
    };
    assert_eq!(run().status.code(), Some(3), "it is bound to nobody");
    house.bind("acme", &house.ingest("acme").await, PLATFORM, 3_600).await.unwrap();
    let done = run();
    assert!(done.status.success(), "{}", crate::fixture::words(&done));
}
