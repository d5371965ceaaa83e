//! A disk is lost, and nothing else: what was acknowledged comes back from a mirror, who was erased does not; by the commands that an
//! operator has.

use std::fs;
use std::path::Path;

use oubliette::api::v1;
use serde_json::Value;
use tonic::Code;

use crate::fixture::{PURPOSES, Server, files_below, oubliette, token_for, words};
use crate::tell;
use crate::wire::{Caller, assert_refused, chat, metadata, until};

/// Runs a command of the operator, and returns what it says as JSON.
fn told(server: &Server, arguments: &[&str]) -> Value {
    let output = oubliette(arguments).arg("--json").arg("--config").arg(server.config()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(server: &Server, arguments: &[&str], expected: &[&str]) {
    let output = oubliette(arguments).arg("--config").arg(server.config()).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}: {}", words(&output));
    for expected in expected {
        assert!(words(&output).contains(expected), "not `{expected}` in: {}", words(&output));
    }
}

/// Waits until a whole copy stands in a mirror.
async fn first_copy(server: &Server) {
    until("whole copies", async || {
        let mirrors = told(server, &["mirror", "status"])["mirrors"].clone();
        mirrors.as_array().unwrap().iter().all(|mirror| mirror["problem"].is_null())
    })
    .await;
}

fn size(folder: &Path) -> u64 {
    files_below(folder).iter().map(|file| file.metadata().unwrap().len()).sum()
}

/// A supervisor with two tokens. One is revoked after the backup, and then the role is taken away: neither comes back with it.
struct Max {
    revoked: String,
    of_another_role: String,
}

impl Max {
    async fn with_rights(server: &Server) -> Self {
        let admin = server.admin_client().await;
        let token = || token_for(&admin, "acme", "max", v1::Role::Supervisor, &[]);
        Self { revoked: token().await, of_another_role: token().await }
    }

    async fn take_rights(&self, server: &Server) {
        let mut admin = Caller::of(server, &server.admin_token()).await.admin;
        // `obl_<id>_<secret>`
        let token_id = self.revoked.split('_').nth(1).unwrap().to_owned();
        admin
            .revoke_token(v1::RevokeTokenRequest { tenant: "acme".to_owned(), token_id, issued_to: String::new() })
            .await
            .unwrap();
        let roles = vec![v1::Role::Auditor.into()];
        let principal = Some(v1::Principal { name: "max".to_owned(), roles, teams: Vec::new(), ..Default::default() });
        admin.set_principal(v1::SetPrincipalRequest { tenant: "acme".to_owned(), principal }).await.unwrap();
    }

    async fn assert_none_came_back(&self, server: &Server, record: &str) {
        let read = async |token: &str| Caller::of(server, token).await.chat(record, PURPOSES[0]).await;
        assert_refused(read(&self.revoked).await, Code::Unauthenticated, "UNAUTHENTICATED");
        assert_refused(read(&self.of_another_role).await, Code::PermissionDenied, "PERMISSION_DENIED");
    }
}

async fn assert_all_is_as_before(
    server: &Server,
    (token, max): (&str, &Max),
    of_bob: &v1::Record,
    call: &v1::Record,
    content: &[u8],
) {
    max.assert_none_came_back(server, &of_bob.record_id).await;
    let reader = Caller::of(server, token).await;
    reader.chat(&of_bob.record_id, PURPOSES[0]).await.unwrap();
    let (_, read) = reader.call(&call.record_id, PURPOSES[0], None).await.unwrap();
    assert!(read == content, "a recording came back with other bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_is_restored_from_a_mirror_or_from_a_backup_and_the_newest_keys_and_the_erased_stay_erased() {
    let mut server = Server::start_with(&[("limits.part_bytes", "65536")]).await;
    let people = server.tenant_with_people("acme").await;
    let (whole, keys, backup) = (server.dir().join("whole"), server.dir().join("keys"), server.dir().join("backup"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let before = fs::read_to_string(server.config()).unwrap();
    told(&server, &["mirror", "add", &path(&whole)]);
    let listed = told(&server, &["mirror", "add", "--keys-only", &path(&keys)])["mirrors"].clone();
    assert_eq!((listed[0]["keys_only"].as_bool(), listed[1]["keys_only"].as_bool()), (Some(false), Some(true)));
    let after = fs::read_to_string(server.config()).unwrap();
    let comments = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
    assert_eq!(comments(&after), comments(&before), "a comment of the configuration is lost");
    refused(&server, &["mirror", "remove", "/nowhere"], &["not among the mirrors"]);
    refused(&server, &["mirror", "add", &path(&server.data_dir().join("x"))], &["must not lie in data.dir"]);
    server.hang_up();
    server.log_says("the mirrors of the configuration are followed").await;
    first_copy(&server).await;

    let ingest = Caller::of(&server, &people.ingest).await;
    let officer = Caller::of(&server, &people.privacy_officer).await;
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let of_ada = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap();
    let of_bob = ingest.store_chat(chat("chat-0002", "bob")).await.unwrap();
    let call = ingest.store_call(metadata("call-0001", "bob"), &content).await.unwrap();
    ingest.store_chat(chat("chat-0003", "cleo")).await.unwrap();
    officer.erase("erase-0001", "cleo").await.unwrap();
    let max = Max::with_rights(&server).await;
    // While it serves; and again, where only what is new is copied.
    told(&server, &["backup", "--to", &path(&backup)]);
    let at_first = size(&backup);
    let of_ada_later = ingest.store_chat(chat("chat-0004", "ada")).await.unwrap();
    told(&server, &["backup", "--to", &path(&backup)]);
    assert!(size(&backup) > at_first);
    max.take_rights(&server).await;
    let receipt = officer.erase("erase-0002", "ada").await.unwrap();

    server.kill9();
    fs::remove_dir_all(server.data_dir()).unwrap();
    let restored = told(&server, &["restore", "--from-mirror", &path(&whole)]);
    assert_eq!((restored["damaged"].as_u64(), restored["missing"].as_u64()), (Some(0), Some(0)), "{restored}");
    refused(&server, &["restore", "--from-mirror", &path(&whole)], &["holds a vault already"]);
    server.restart().await;
    first_copy(&server).await;
    assert_all_is_as_before(&server, (&people.supervisor, &max), &of_bob, &call, &content).await;
    let (ingest, officer) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.privacy_officer).await);
    for (request, customer) in [("chat-0011", "ada"), ("chat-0012", "cleo")] {
        assert_refused(ingest.store_chat(chat(request, customer)).await, Code::FailedPrecondition, "CUSTOMER_ERASED");
    }
    assert_eq!(officer.receipt(&receipt.receipt_id).await.unwrap().receipt_id, receipt.receipt_id);
    let of_dora = ingest.store_chat(chat("chat-0013", "dora")).await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));

    // The mirror of everything is lost too. The backup has ada's records, and the keys do not.
    fs::remove_dir_all(server.data_dir()).unwrap();
    fs::remove_dir_all(&whole).unwrap();
    // As long as it may only be unmounted, nothing is restored from less.
    let from_backup = ["restore", "--from", &path(&backup), "--mirror", &path(&keys)];
    refused(&server, &from_backup, &["mount its disk", "mirror remove"]);
    told(&server, &["mirror", "remove", &path(&whole)]);
    refused(&server, &["restore", "--from", &path(&backup), "--mirror", &path(&backup)], &["put the newest root key"]);
    refused(&server, &["restore", "--from-mirror", &path(&whole)], &["holds no whole mirror"]);
    assert!(!server.data_dir().exists());
    let (code, restored, said) = ended(&server, &from_backup);
    assert_eq!((code, &restored["damaged"]), (7, &Value::from(0)), "{restored}: {said}");
    // What was stored after the backup could not come back, and is named; that is no success.
    assert_eq!(
        (restored["missing"].as_u64(), &restored["named"][0]["record_id"]),
        (Some(1), &Value::from(of_dora.record_id))
    );
    // A new disk in the place of the lost one.
    told(&server, &["mirror", "add", &path(&whole)]);
    server.restart().await;
    first_copy(&server).await;
    assert_all_is_as_before(&server, (&people.supervisor, &max), &of_bob, &call, &content).await;
    let reader = Caller::of(&server, &people.supervisor).await;
    for gone in [&of_ada, &of_ada_later] {
        assert_refused(reader.chat(&gone.record_id, PURPOSES[0]).await, Code::NotFound, "NOT_FOUND");
    }
    let again = Caller::of(&server, &people.ingest).await.store_chat(chat("chat-0021", "ada")).await;
    assert_refused(again, Code::FailedPrecondition, "CUSTOMER_ERASED");
    assert_eq!(server.stop().await.code(), Some(0));

    told(&server, &["mirror", "remove", &path(&keys)]);
    assert_eq!(told(&server, &["mirror", "status"])["mirrors"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_died_is_given_up_while_the_service_goes_on_and_a_bad_configuration_changes_nothing() {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.privacy_officer).await);
    let dir = server.dir().join("mirror");
    told(&server, &["mirror", "add", dir.to_str().unwrap()]);
    server.hang_up();
    server.log_says("the mirrors of the configuration are followed").await;
    first_copy(&server).await;
    ingest.store_chat(chat("chat-0001", "ada")).await.unwrap();
    officer.erase("erase-0001", "ada").await.unwrap();
    fs::remove_dir_all(&dir).unwrap();
    ingest.store_chat(chat("chat-0002", "bob")).await.unwrap();
    assert_refused(officer.erase("erase-0002", "bob").await, Code::Unavailable, "NOT_MIRRORED");
    let good = fs::read_to_string(server.config()).unwrap();
    fs::write(server.config(), good.replace("directories = [", "directories = [[")).unwrap();
    server.hang_up();
    server.log_says("the configuration is not taken over").await;
    let still = officer.erase("erase-0002", "bob").await;
    assert!(still.is_err(), "a configuration that cannot be read counted");
    fs::write(server.config(), good).unwrap();
    told(&server, &["mirror", "remove", dir.to_str().unwrap()]);
    server.hang_up();
    until("the erasure is final", async || officer.erase("erase-0002", "bob").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_names_what_is_damaged_and_compact_gives_space_back() {
    let mut server = Server::start_with(&[("limits.part_bytes", "65536")]).await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.privacy_officer).await);
    let mut living = Vec::new();
    for number in 0..60 {
        let stored = ingest.store_chat(chat(&format!("chat-{number:04}"), &format!("person-{number}"))).await.unwrap();
        living.push(stored.record_id);
    }
    let people_to_erase: Vec<String> = (20..60).map(|number| format!("person-{number}")).collect();
    let ids: Vec<&str> = people_to_erase.iter().map(String::as_str).collect();
    officer.erase_list("erase-0001", &ids).await.unwrap();
    let call = ingest.store_call(metadata("call-0001", "person-1"), &[7; 150_000]).await.unwrap();
    // While it serves, by an admin of `system`, and by nobody else.
    let verify = |token: &str| server.command(token, &["verify", "--json"]).output().unwrap();
    for other in [&people.supervisor, &people.privacy_officer, &people.ingest] {
        assert_eq!(verify(other).status.code(), Some(3), "{}", words(&verify(other)));
    }
    let said = |output: std::process::Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    until("what was erased is removed", async || said(verify(&server.admin_token()))["erased"] == 0).await;
    let whole = said(verify(&server.admin_token()));
    assert_eq!(
        (whole["opened"].as_u64(), whole["damaged"].as_u64(), whole["missing"].as_u64()),
        (Some(21), Some(0), Some(0)),
        "{whole}"
    );
    assert_eq!(server.stop().await.code(), Some(0));
    let compacted = told(&server, &["compact"]);
    let (from, to) = (compacted["bytes_before"].as_u64().unwrap(), compacted["bytes_after"].as_u64().unwrap());
    assert!(to < from, "{compacted}");
    tell(&format!("compact: {from} bytes before, {to} afterwards"));
    server.restart().await;
    let verify = |token: &str| server.command(token, &["verify", "--json"]).output().unwrap();
    assert_eq!(said(verify(&server.admin_token())), whole, "a record is lost");

    let part = files_below(&server.data_dir().join("objects")).pop().unwrap();
    let mut bytes = fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&part, bytes).unwrap();
    let output = verify(&server.admin_token());
    assert!(!output.status.success(), "{}", words(&output));
    let said = said(output);
    assert_eq!((said["damaged"].as_u64(), &said["named"][0]["record_id"]), (Some(1), &Value::from(call.record_id)));
    Caller::of(&server, &people.supervisor).await.chat(&living[0], PURPOSES[0]).await.unwrap();
}

/// Runs a command of the operator, and returns its exit code and what it says as JSON.
fn ended(server: &Server, arguments: &[&str]) -> (i32, Value, String) {
    let output = oubliette(arguments).arg("--json").arg("--config").arg(server.config()).output().unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), said, words(&output))
}

/// What a metric of a mirror says.
fn of_mirror(port: u16, metric: &str, mirror: &Path) -> Option<i64> {
    let name = format!("oubliette_{metric}{{mirror=\"{}\"}} ", mirror.display());
    let text = crate::fixture::metrics_at(port);
    text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_all_objects_never_passes_as_complete() {
    let port = crate::fixture::free_port();
    let metrics = format!("\"127.0.0.1:{port}\"");
    let mut server = Server::start_with(&[("limits.part_bytes", "65536"), ("metrics.address", &metrics)]).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let (first, second) = (server.dir().join("first"), server.dir().join("second"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    told(&server, &["mirror", "add", &path(&first)]);
    server.hang_up();
    first_copy(&server).await;
    let mut calls = Vec::new();
    for number in 0..6 {
        let call = ingest.store_call(metadata(&format!("call-{number:04}"), "ada"), &[number; 150_000]).await.unwrap();
        calls.push(call.record_id);
    }
    first_copy(&server).await;
    // The copy of the objects to the second mirror takes as long as something is in the way of one: its rows are whole long before.
    let part = files_below(&server.data_dir().join("objects")).pop().unwrap();
    let in_the_way = second.join(part.strip_prefix(server.data_dir()).unwrap());
    told(&server, &["mirror", "add", &path(&second)]);
    assert_eq!(ended(&server, &["mirror", "add", &path(&second)]).0, 0, "a repeat is refused");
    fs::create_dir_all(in_the_way.join("a folder").join("in a folder")).unwrap();
    server.hang_up();
    let second_of = |server: &Server| told(server, &["mirror", "status"])["mirrors"][1].clone();
    until("its rows are whole", async || second_of(&server)["groups"].is_u64()).await;
    until("it is seen in the metrics", async || of_mirror(port, "mirror_objects_behind", &second) >= Some(1)).await;
    assert_eq!(of_mirror(port, "mirror_objects_complete", &second), Some(0));
    assert_eq!(of_mirror(port, "mirror_objects_behind", &first), Some(0));
    let status = second_of(&server);
    assert_eq!(status["complete"], false, "{status}");
    assert!(status["problem"].as_str().unwrap().contains("lacks objects"), "{status}");
    until("its progress is told", async || second_of(&server)["objects"]["total"].as_u64() >= Some(18)).await;
    let backup = server.dir().join("backup");
    let to_backup = ["backup", "--to", &path(&backup), "--from-mirror", &path(&second)];
    let (code, _, words) = ended(&server, &to_backup);
    assert!(code == 7 && words.contains("does not have every object") && !backup.exists(), "{code}: {words}");
    let (code, _, words) = ended(&server, &["mirror", "remove", &path(&first)]);
    assert!(code == 7 && words.contains("the last mirror with every object"), "{code}: {words}");
    assert_eq!(told(&server, &["mirror", "status"])["mirrors"].as_array().unwrap().len(), 2);
    let (code, said, words) = ended(&server, &[&to_backup[..], &["--allow-incomplete"]].concat());
    assert_eq!((code, &said["complete"]), (0, &Value::from(false)), "{words}");
    assert_eq!(told(&server, &["backup", "--to", &path(&server.dir().join("whole"))])["complete"], true);

    // The disk is lost now. From the second alone a recording is missing, and that is no success; with the first at hand nothing is.
    server.kill9();
    fs::remove_dir_all(server.data_dir()).unwrap();
    let from_second = ["restore", "--from-mirror", &path(&second)];
    let with_first = told(&server, &from_second);
    assert_eq!((with_first["opened"].as_u64(), with_first["missing"].as_u64()), (Some(6), Some(0)), "{with_first}");
    fs::remove_dir_all(server.data_dir()).unwrap();
    assert_eq!(ended(&server, &["mirror", "remove", "--force", &path(&first)]).0, 0);
    let (code, said, words) = ended(&server, &from_second);
    assert!(code == 7 && words.contains("--allow-missing"), "{code}: {words}");
    assert_eq!((said["opened"].as_u64(), said["missing"].as_u64()), (Some(5), Some(1)), "{said}");
    assert_eq!((&said["restored"]["had_all_objects"], said["named"].as_array().unwrap().len()), (&false.into(), 1));
    fs::remove_dir_all(server.data_dir()).unwrap();
    let (code, said, _) = ended(&server, &[&from_second[..], &["--allow-missing"]].concat());
    assert_eq!((code, said["missing"].as_u64()), (0, Some(1)));
    // The first comes back, and has it.
    fs::remove_dir_all(server.data_dir()).unwrap();
    told(&server, &["mirror", "add", &path(&first)]);
    fs::remove_dir_all(&in_the_way).unwrap();
    assert_eq!(ended(&server, &from_second).0, 0);
    server.restart().await;
    until("both are complete", async || {
        let mirrors = told(&server, &["mirror", "status"])["mirrors"].clone();
        mirrors.as_array().unwrap().iter().all(|mirror| mirror["complete"] == true)
    })
    .await;
    until("the metrics say so", async || of_mirror(port, "mirror_objects_complete", &second) == Some(1)).await;
    assert_eq!(ended(&server, &["mirror", "remove", &path(&first)]).0, 0);
    told(&server, &to_backup);
    assert_eq!(server.stop().await.code(), Some(0));
    assert_eq!(
        told(&server, &["mirror", "status"])["mirrors"][0]["complete"],
        true,
        "stopped in order, and not complete"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn quick_uploads_that_a_mirror_does_not_have_yet_are_seen() {
    let port = crate::fixture::free_port();
    let metrics = format!("\"127.0.0.1:{port}\"");
    let server = Server::start_with(&[("limits.part_bytes", "65536"), ("metrics.address", &metrics)]).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let mirror = server.dir().join("mirror");
    told(&server, &["mirror", "add", mirror.to_str().unwrap()]);
    server.hang_up();
    first_copy(&server).await;
    // Its disk stands still for objects: nothing can be made where they go.
    let (objects, away) = (mirror.join("objects"), mirror.join("away"));
    fs::rename(&objects, &away).unwrap();
    fs::write(&objects, b"in the way").unwrap();
    for number in 0..10 {
        ingest.store_call(metadata(&format!("call-{number:04}"), "ada"), &[number; 150_000]).await.unwrap();
    }
    until("the lag is seen", async || of_mirror(port, "mirror_objects_behind", &mirror) >= Some(10)).await;
    let status = told(&server, &["mirror", "status"])["mirrors"][0].clone();
    assert_eq!(status["complete"], false, "{status}");
    fs::remove_file(&objects).unwrap();
    fs::rename(&away, &objects).unwrap();
    until("it has caught up", async || {
        of_mirror(port, "mirror_objects_behind", &mirror) == Some(0)
            && told(&server, &["mirror", "status"])["mirrors"][0]["complete"] == true
    })
    .await;
}
