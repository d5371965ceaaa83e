//! An operator is never left guessing: what exists is not touched, what cannot be served is refused with words that say what and
//! how, and a service that is told to stop ends its calls first.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Output;

use oubliette::api::v1;
use oubliette::cli::client::CHUNK_BYTES;
use oubliette::crypto::hash::sha256;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::fixture::{PURPOSES, Server, files_below, oubliette, words};
use crate::wire::{Caller, assert_refused, chat};

/// Every file below a folder, by its hash.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, [u8; 32]> {
    files_below(folder).into_iter().map(|path| (path.clone(), sha256(&fs::read(path).unwrap()))).collect()
}

fn init(dir: &Path, root_key: &Path, more: &[&str]) -> Output {
    oubliette(&["init", "--may-share-device"])
        .arg("--dir")
        .arg(dir)
        .arg("--root-key")
        .arg(root_key)
        .args(more)
        .output()
        .unwrap()
}

fn serve(server: &Server) -> Output {
    server.serve_command().output().unwrap()
}

/// That a command was refused, and that its words have all of `expected` in them.
fn refused(output: &Output, expected: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{}", words(output));
    for expected in expected {
        assert!(words(output).contains(expected), "not `{expected}` in: {}", words(output));
    }
}

#[test]
fn init_makes_a_vault_for_its_owner_only_and_shows_the_token_once() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, root_key) = (folder.path().join("vault"), folder.path().join("root.key"));
    let made = init(&dir, &root_key, &["--name", "vault.example"]);
    assert!(made.status.success(), "{}", words(&made));
    let shown = String::from_utf8(made.stdout).unwrap();
    let token = shown.lines().find(|line| line.starts_with("obl_")).expect("the token is shown");
    assert!(
        shown.contains("the root key is on the same device") && shown.contains("oubliette serve --config"),
        "{shown}"
    );

    let secret = token.rsplit('_').next().unwrap();
    for path in files_below(folder.path()) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o177, 0, "{} has mode {mode:o}", path.display());
        let content = fs::read(&path).unwrap();
        assert!(!content.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", path.display());
    }
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);

    let before = snapshot(folder.path());
    let again = init(&dir, &root_key, &[]);
    refused(&again, &["nothing was written", "oubliette.toml", "data", "tls", "root.key", "choose other paths"]);
    assert_eq!(snapshot(folder.path()), before);
}

#[test]
fn init_writes_nothing_where_one_thing_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, root_key) = (folder.path().join("vault"), folder.path().join("root.key"));
    for in_the_way in
        ["root.key", "admin.token", "vault/oubliette.toml", "vault/profile.toml", "vault/data", "vault/tls"]
    {
        let path = folder.path().join(in_the_way);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "mine").unwrap();
        let token_file = folder.path().join("admin.token");
        refused(
            &init(&dir, &root_key, &["--token-file", token_file.to_str().unwrap()]),
            &["nothing was written", in_the_way],
        );
        assert_eq!(files_below(folder.path()), std::slice::from_ref(&path));
        fs::remove_file(path).unwrap();
    }
    let inside = dir.join("data/root.key");
    refused(&init(&dir, &inside, &[]), &["nothing was written", "data directory", "another device"]);
    refused(&init(&dir, &folder.path().join("none/root.key"), &[]), &["none/root.key", "make the folder first"]);
    refused(&init(&dir, &dir.join("oubliette.toml"), &[]), &["named for two things"]);
    refused(&init(&dir, &root_key, &["--name", "two words"]), &["two words", "--name"]);
    assert!(files_below(folder.path()).is_empty());

    let strict = oubliette(&["init"]).arg("--dir").arg(&dir).arg("--root-key").arg(&root_key).output().unwrap();
    refused(&strict, &["nothing was written", "on the device of the data", "--may-share-device"]);
    assert!(files_below(folder.path()).is_empty());

    // Something that no look beforehand finds: the root key cannot be written.
    let full = Path::new("/proc/self/root.key");
    let half_way = init(&dir, full, &[]);
    refused(&half_way, &["making it", "written until then: ", "vault/oubliette.toml", "vault/tls; remove"]);
    assert!(!words(&half_way).contains("vault/data"), "it names what was not written: {}", words(&half_way));
}

#[tokio::test]
async fn a_start_without_its_own_root_key_is_refused_until_it_is_back() {
    let mut server = Server::make(&[]);
    let root_key = server.root_key();
    let mine = fs::read(&root_key).unwrap();
    let at_rest = snapshot(&server.data_dir());
    let name = root_key.to_str().unwrap();

    fs::remove_file(&root_key).unwrap();
    refused(&serve(&server), &["there is no root key", name, "put the file back"]);
    assert!(!root_key.exists(), "a root key was made where data exists");

    fs::write(&root_key, "something else").unwrap();
    fs::set_permissions(&root_key, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&serve(&server), &["others than its owner", name, "chmod 600"]);
    owner_only(&root_key);
    refused(&serve(&server), &[name, "is not a root key file", "put the right file back"]);
    assert_eq!(snapshot(&server.data_dir()), at_rest);

    let other = Server::make(&[]);
    fs::copy(other.root_key(), &root_key).unwrap();
    refused(&serve(&server), &["the root key at hand is key", name, "put the newest root key file back"]);
    assert_eq!(fs::read(&root_key).unwrap(), fs::read(other.root_key()).unwrap());

    let inside = server.data_dir().join("root.key");
    fs::write(&inside, &mine).unwrap();
    owner_only(&inside);
    server.set("root_key.path", &format!("{inside:?}"));
    refused(&serve(&server), &[inside.to_str().unwrap(), "lies in the data directory", "put it elsewhere"]);

    fs::rename(&inside, &root_key).unwrap();
    server.set("root_key.path", &format!("{root_key:?}"));
    server.restart().await;
    assert_eq!(server.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_root_key_from_before_an_erasure_is_refused() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let metadata = recording();
    let customer_id = metadata.details.as_ref().unwrap().customer_id.clone();
    let ingest = server.client(&people.ingest).await;
    ingest.upload_recording(metadata, &b"hello"[..], CHUNK_BYTES, |_| ()).await.unwrap();
    let older = fs::read(server.root_key()).unwrap();
    let request = v1::EraseCustomerRequest { request_id: "an-erasure".to_owned(), customer_id };
    server.client(&people.privacy_officer).await.erase_customer(request).await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));

    let newest = fs::read(server.root_key()).unwrap();
    fs::write(server.root_key(), older).unwrap();
    let (name, words) = (server.root_key(), ["of epoch 1", "of epoch 2", "put the newest root key file back"]);
    refused(&serve(&server), &[name.to_str().unwrap(), words[0], words[1], words[2]]);
    fs::write(server.root_key(), newest).unwrap();
    server.restart().await;
}

#[tokio::test]
async fn a_lost_replica_of_the_root_key_stops_erasures_and_nothing_else_until_it_is_retired() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    assert_eq!(server.stop().await.code(), Some(0));
    let second = server.root_key().with_file_name("second.key");
    let config = server.config();
    let root_key = |arguments: &[&str]| {
        let output = oubliette(&["root-key"]).args(arguments).arg("--json").arg("--config").arg(&config).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["replicas"].clone()
    };
    let listed = root_key(&["add", second.to_str().unwrap()]);
    assert_eq!(listed[1]["problem"], "it is not in the configuration");
    server.set("root_key.replicas", &format!("[{second:?}]"));
    let listed = root_key(&["status"]);
    assert!(listed[0]["problem"].is_null() && listed[1]["problem"].is_null(), "{listed}");
    let lost = listed[1]["id"].as_str().unwrap().to_owned();

    server.restart().await;
    let (ingest, officer) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.privacy_officer).await);
    for (number, customer) in ["ada", "bob", "cleo"].into_iter().enumerate() {
        ingest.store_chat(chat(&format!("chat-{number:04}"), customer)).await.unwrap();
    }
    assert_eq!(officer.erase("erase-0001", "ada").await.unwrap().lost_replicas, 0);
    let of_cleo = ingest.store_chat(chat("chat-0009", "cleo")).await.unwrap();
    fs::remove_file(&second).unwrap();
    assert_refused(officer.erase("erase-0002", "bob").await, Code::Unavailable, "ERASURE_NOT_FINAL");
    assert_eq!(server.stop().await.code(), Some(0));

    // Also after a restart: whom it concerns stays refused, the others go on.
    server.restart().await;
    let (ingest, supervisor) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.supervisor).await);
    supervisor.chat(&of_cleo.record_id, PURPOSES[0]).await.unwrap();
    ingest.store_chat(chat("chat-0010", "cleo")).await.unwrap();
    let again = ingest.store_chat(chat("chat-0011", "bob")).await;
    assert_refused(again, Code::FailedPrecondition, "CUSTOMER_ERASED");
    assert_eq!(server.stop().await.code(), Some(0));

    server.set("root_key.replicas", "[]");
    root_key(&["retire", &lost]);
    server.restart().await;
    let officer = Caller::of(&server, &people.privacy_officer).await;
    let receipt = officer.erase("erase-0002", "bob").await.unwrap();
    assert_eq!(receipt.lost_replicas, 1, "a key that may live on is not told of");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in files_below(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

fn owner_only(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_bad_configuration_is_refused_with_its_line() {
    let server = Server::make(&[]);
    let config = server.config();
    let good = fs::read_to_string(&config).unwrap();
    let name = config.to_str().unwrap().to_owned();
    fs::write(&config, good.replace("[metrics]", "[metrics]\nadress = \"127.0.0.1:1\"")).unwrap();
    refused(&serve(&server), &[&name, "line ", "adress"]);
    fs::write(&config, &good).unwrap();

    server.set("log.level", "\"loud=very\"");
    refused(&serve(&server), &["log.level", "use error, warn"]);
    fs::write(&config, &good).unwrap();

    let policy = server.dir().join("policy.cedar");
    fs::write(&policy, "permit (principal").unwrap();
    server.set("policy.file", &format!("{policy:?}"));
    refused(&serve(&server), &["policy.cedar", "cannot be read", "correct"]);
    fs::write(&config, &good).unwrap();

    fs::write(server.dir().join("tls/server.key"), "no key").unwrap();
    refused(&serve(&server), &["listen.tls", "PEM"]);
    fs::remove_file(&config).unwrap();
    refused(&serve(&server), &[&name, "oubliette init"]);
    refused(
        &oubliette(&["serve", "--config", "/nowhere.toml"]).output().unwrap(),
        &["/nowhere.toml", "check the path"],
    );
}

#[tokio::test]
async fn a_second_service_on_the_same_data_is_refused() {
    let server = Server::start().await;
    // As if the first one were in the middle of an epoch: a staged key stands on the second page.
    let mut key = fs::read(server.root_key()).unwrap();
    key[2 * 4096..2 * 4096 + 5].copy_from_slice(b"a key");
    fs::write(server.root_key(), &key).unwrap();
    refused(&serve(&server), &[server.data_dir().to_str().unwrap(), "in use by another process", "stop that one"]);
    assert_eq!(fs::read(server.root_key()).unwrap()[..3 * 4096], key[..3 * 4096], "it touched what is the first one's");
}

#[tokio::test]
async fn a_database_older_than_the_log_that_is_remembered_is_refused_and_the_newest_is_taken() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.store_chat(chat("chat-0001", "ada")).await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));
    let (data, older, newest) = (server.data_dir(), server.dir().join("older"), server.dir().join("newest"));
    copy_folder(&data, &older);
    server.restart().await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let record = ingest.store_chat(chat("chat-0002", "bob")).await.unwrap();
    // No epoch came between, so the root key opens both.
    assert_eq!(server.stop().await.code(), Some(0));
    fs::rename(&data, &newest).unwrap();
    copy_folder(&older, &data);
    refused(&serve(&server), &["an older copy", "root key's medium remembers", "put the newest data back"]);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&newest, &data).unwrap();
    server.restart().await;
    Caller::of(&server, &people.supervisor).await.chat(&record.record_id, PURPOSES[0]).await.unwrap();
}

#[tokio::test]
async fn a_root_key_on_the_device_of_the_data_is_refused_unless_that_is_accepted() {
    let mut server = Server::make(&[]);
    server.set("root_key.may_share_device", "false");
    refused(&serve(&server), &["stands on the device of the data", "root_key.may_share_device"]);
    server.set("root_key.may_share_device", "true");
    server.restart().await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.store_chat(chat("chat-0001", "ada")).await.unwrap();
    let receipt = Caller::of(&server, &people.privacy_officer).await.erase("erase-0001", "ada").await.unwrap();
    assert!(receipt.shares_device, "the receipt does not say so");
}

#[tokio::test]
async fn a_root_key_that_is_a_link_into_the_data_is_refused() {
    let server = Server::make(&[]);
    let inside = server.data_dir().join("key");
    fs::rename(server.root_key(), &inside).unwrap();
    std::os::unix::fs::symlink(&inside, server.root_key()).unwrap();
    refused(&serve(&server), &["lies in the data directory", "put it elsewhere"]);
}

#[tokio::test]
async fn an_erasure_whose_old_root_key_cannot_be_destroyed_says_so_until_it_can() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let officer = Caller::of(&server, &people.privacy_officer).await;
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let of_ada = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap();
    let of_bob = ingest.store_chat(chat("chat-0002", "bob")).await.unwrap();
    // The medium of the root key is gone for a while.
    let away = server.root_key().with_file_name("away");
    fs::rename(server.root_key(), &away).unwrap();
    for _ in 0..2 {
        let refused = officer.erase("erase-0001", "ada").await;
        assert_refused(refused, Code::Unavailable, "ERASURE_NOT_FINAL");
    }
    let told = server.command(&people.privacy_officer, &["customer", "erase", "ada", "--yes"]).output().unwrap();
    assert_eq!(told.status.code(), Some(5), "{}", words(&told));
    assert!(words(&told).contains("not final"), "{}", words(&told));
    // What was asked to be erased is refused from the first moment on; nobody else notices.
    let refused = supervisor.chat(&of_ada.record_id, PURPOSES[0]).await;
    assert_refused(refused, Code::NotFound, "NOT_FOUND");
    supervisor.chat(&of_bob.record_id, PURPOSES[0]).await.unwrap();
    ingest.store_chat(chat("chat-0003", "bob")).await.unwrap();

    fs::rename(&away, server.root_key()).unwrap();
    officer.erase("erase-0001", "ada").await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));
    server.restart().await;
    let supervisor = Caller::of(&server, &people.supervisor).await;
    supervisor.chat(&of_bob.record_id, PURPOSES[0]).await.unwrap();
    let refused = supervisor.chat(&of_ada.record_id, PURPOSES[0]).await;
    assert_refused(refused, Code::NotFound, "NOT_FOUND");
}

/// The lines of the README under "Deploy it", run as they stand but for places and names that a test cannot have.
#[test]
fn the_deployment_in_the_readme_works_as_it_stands() {
    let readme = include_str!("../../README.md");
    let (_, behind) = readme.split_once("## Deploy it").unwrap();
    let block = behind.split("```").nth(1).unwrap().strip_prefix("sh\n").unwrap();
    let lines: Vec<_> = block.lines().collect();
    assert!((8..=12).contains(&lines.len()), "it promises to be short");
    let folder = tempfile::tempdir().unwrap();
    // The key's device is another, where this machine has one.
    let other_device = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_ne!(device(other_device.path()), device(folder.path()), "this machine has no second device for the key");
    let mnt = other_device.path().to_str().unwrap();
    fs::create_dir_all(folder.path().join("srv")).unwrap();
    fs::create_dir_all(other_device.path().join("keys")).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let here = folder.path().to_str().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_oubliette"), folder.path().join("oubliette")).unwrap();
    let mut script = format!("cd {here}\nPATH={here}:$PATH\n");
    for line in lines {
        let line = line
            .replace("/srv/", &format!("{here}/srv/"))
            .replace("/mnt/", &format!("{mnt}/"))
            .replace("0.0.0.0:7743", &format!("127.0.0.1:{port}"))
            .replace("vault.example.org", "localhost");
        script += match &line {
            line if line.starts_with("cargo install") => "",
            line => line,
        };
        if line.ends_with(" &") {
            script += "\nservice=$!\ntrap 'kill $service' EXIT\n";
            script += &format!(
                "for i in $(seq 100); do (: </dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; sleep 0.1; done"
            );
        }
        script += "\n";
    }
    let output = std::process::Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env_remove("OUBLIETTE_PROFILE")
        .env_remove("OUBLIETTE_TOKEN")
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}\n{}", words(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown.matches("obl_").count(), 2, "one token for platform, one for alice: {shown}");
    assert!(shown.contains("alice"), "{shown}");
}

#[tokio::test]
async fn a_service_is_healthy_over_tls_until_it_is_told_to_stop() {
    let mut server = Server::start_with(&[("metrics.address", "\"127.0.0.1:0\"")]).await;
    let ca = Certificate::from_pem(fs::read(server.dir().join("tls/ca.pem")).unwrap());
    let endpoint = Endpoint::from_shared(server.endpoint()).unwrap();
    let channel = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(ca)).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    for service in ["", "oubliette.v1.RecordService"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
    }
    let stranger = endpoint_without_ca(&server).connect().await;
    assert!(stranger.is_err(), "a client that does not know the CA was connected");

    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core_dumps = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core_dumps.split_whitespace().nth(4), Some("0"), "{core_dumps}");

    assert_eq!(server.stop().await.code(), Some(0));
    let log = fs::read_to_string(server.log_file()).unwrap();
    assert!(log.contains("listening") && log.contains("stopped"), "{log}");
    server.restart().await;
    server.signal(Signal::INT);
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_was_being_stored_when_the_service_was_told_to_stop_is_stored() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let content: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut mouth, ear) = tokio::io::duplex(64 * 1024);
    let ingest = server.client(&people.ingest).await;
    let upload = tokio::spawn(async move { ingest.upload_recording(recording(), ear, CHUNK_BYTES, |_| ()).await });
    // More than all buffers and windows on the way hold: the service has begun to store it.
    let (first, rest) = content.split_at(3_000_000);
    mouth.write_all(first).await.unwrap();

    server.signal(Signal::TERM);
    server.log_says("told to stop").await;
    // Where the upload was cut, its own words tell more than those of the pipe.
    let _ = mouth.write_all(rest).await;
    drop(mouth);
    let stored = upload.await.unwrap().unwrap().record;
    assert_eq!(server.ended().await.code(), Some(0));

    server.restart().await;
    let mut read = Vec::new();
    let purpose = PURPOSES[0].to_owned();
    let request = v1::DownloadRecordingRequest { record_id: stored.record_id, purpose, ..Default::default() };
    server.client(&people.supervisor).await.download_recording(request, &mut read, |_, _| ()).await.unwrap();
    assert!(read == content, "{} bytes came back of {}", read.len(), content.len());
}

fn recording() -> v1::RecordingMetadata {
    let details = v1::RecordDetails {
        customer_id: "customer-1".to_owned(),
        channel: v1::Channel::Voice.into(),
        started_at: Some("2026-01-01T10:00:00Z".parse().unwrap()),
        purposes: vec![PURPOSES[0].to_owned()],
        legal_basis: v1::LegalBasis::Contract.into(),
        ..Default::default()
    };
    let (request_id, media_type) = ("drained-upload".to_owned(), "audio/wav".to_owned());
    v1::RecordingMetadata { request_id, details: Some(details), media_type, ..Default::default() }
}

fn endpoint_without_ca(server: &Server) -> Endpoint {
    Endpoint::from_shared(server.endpoint()).unwrap().tls_config(ClientTlsConfig::new()).unwrap()
}

#[tokio::test]
async fn the_first_admin_sets_up_a_tenant_whose_people_each_come_in_with_a_token() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let shown = server.command(&server.admin_token(), &["tenant", "show", "acme", "--json"]).output().unwrap();
    assert!(
        shown.status.success() && String::from_utf8_lossy(&shown.stdout).contains("first-line"),
        "{}",
        words(&shown)
    );
    server.kill9();
    server.restart().await;
    for token in [&people.ingest, &people.agent, &people.supervisor, &people.privacy_officer] {
        let show = server.command(token, &["tenant", "show", &people.tenant]).output().unwrap();
        assert_eq!(show.status.code(), Some(3), "only admins may: {}", words(&show));
    }
    let forged = format!("obl_{}_{}", "0".repeat(32), "0".repeat(64));
    let stranger = server.command(&forged, &["tenant", "show"]).output().unwrap();
    assert_eq!(stranger.status.code(), Some(3), "{}", words(&stranger));
}
