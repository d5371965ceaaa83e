//! A receipt can be checked by anyone, offline: with the command, with a program that is not ours, after the key was changed; and no
//! edited one passes.

use std::fs;
use std::process::Output;
use std::time::Duration;

use oubliette::api::v1;
use oubliette::domain::codec::hex;
use serde_json::Value;
use tonic::Code;

use crate::fixture::{Server, oubliette, token_for, words};
use crate::wire::{Caller, assert_refused, chat, reason};
use crate::{elsewhere, paper};

const CUSTOMER: &str = "Frau Müller, +43 1 58858";

fn verify(arguments: &[&str]) -> Output {
    // No profile, no endpoint, no token: it is offline.
    oubliette(&["receipt", "verify"]).args(arguments).env_clear().output().unwrap()
}

fn verified(arguments: &[&str]) -> Value {
    let output = verify(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_receipt_is_checked_offline_by_our_program_and_another_and_no_edited_one_passes() {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.privacy_officer).await);
    for (number, customer) in [CUSTOMER, "eve", "bob"].into_iter().enumerate() {
        ingest.store_chat(chat(&format!("chat-{number:04}"), customer)).await.unwrap();
    }
    let request = |name: &str| v1::EraseCustomerRequest {
        request_id: format!("erasure-{name}"),
        customer_id: CUSTOMER.to_owned(),
    };
    let answer = officer.privacy.clone().erase_customer(request("0001")).await.unwrap().into_inner();
    let (receipt, opening) = (answer.receipt.unwrap(), answer.opening);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receipt.tlog-proof");
    fs::write(&file, &receipt.proof).unwrap();
    let keys = officer.log_keys().await.unwrap();
    assert_eq!(keys.len(), 1);
    let (file_name, key) = (file.to_str().unwrap(), keys[0].as_str());

    let stated = verified(&[file_name, "--key", key, "--customer", CUSTOMER, "--opening", &opening]);
    assert_eq!((&stated["receipt_id"], &stated["epoch"]), (&receipt.receipt_id.clone().into(), &receipt.epoch.into()));
    assert_eq!((&stated["about_the_customer"], &stated["partial"]), (&true.into(), &false.into()));
    let to_others: &[&[&str]] = &[
        &[file_name, "--key", key, "--customer", "eve", "--opening", &opening],
        &[file_name, "--key", key, "--customer", CUSTOMER, "--opening", &"0".repeat(64)],
        &[file_name, "--key", "vault.example+00000000+AQ=="],
    ];
    for arguments in to_others {
        assert_eq!(verify(arguments).status.code(), Some(6), "{arguments:?}");
    }
    if let Some(output) = elsewhere::run("verify_receipt.py", &[file_name, key, CUSTOMER, &opening]) {
        assert!(output.status.success(), "{}", words(&output));
        let other: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&other["receipt"], &other["epoch"]), (&stated["receipt_id"], &stated["epoch"]));
        assert_eq!((&other["log_index"], &other["log_size"]), (&stated["log_index"], &stated["log_size"]));
        assert_eq!((&other["tenant"], &other["requested_by"]), (&stated["tenant_id"], &stated["requested_by"]));
    }
    // Every byte is tried inside, in the unit tests; here a few through the doors, each by both programs.
    let edited_file = folder.path().join("edited.tlog-proof");
    for place in (0..receipt.proof.len()).step_by(97) {
        let mut edited = receipt.proof.clone().into_bytes();
        edited[place] ^= 1;
        fs::write(&edited_file, edited).unwrap();
        let arguments = [edited_file.to_str().unwrap(), "--key", key];
        assert_eq!(verify(&arguments).status.code(), Some(6), "byte {place}");
        if let Some(output) = elsewhere::run("verify_receipt.py", &[arguments[0], key]) {
            assert_eq!(output.status.code(), Some(1), "byte {place}: {}", words(&output));
        }
    }
    // It names nobody: not even hashed, but for who has the opening.
    assert!(!receipt.proof.contains("M\u{fc}ller") && !receipt.proof.contains(&hex(CUSTOMER.as_bytes())));
}

/// The time at which an erasure was asked for stands in front of the receipt's id.
async fn assert_listed_by_time(officer: &Caller, receipts: &[v1::ErasureReceipt]) {
    let asked_ms = |receipt: &v1::ErasureReceipt| i64::from_str_radix(&receipt.receipt_id[..12], 16).unwrap();
    let at = |ms: i64| {
        let nanos = i32::try_from(ms % 1_000 * 1_000_000).unwrap();
        Some(prost_types::Timestamp { seconds: ms / 1_000, nanos })
    };
    let third = asked_ms(&receipts[2]);
    let listed = async |asked_from, asked_before| {
        let request = v1::ListReceiptsRequest { page_size: 200, asked_from, asked_before, ..Default::default() };
        officer.privacy.clone().list_receipts(request).await.map(|answer| answer.into_inner().receipts)
    };
    let from_the_third: Vec<_> = receipts.iter().filter(|one| asked_ms(one) >= third).cloned().collect();
    let before_it: Vec<_> = receipts.iter().filter(|one| asked_ms(one) < third).cloned().collect();
    assert!(listed(at(third), None).await.unwrap() == from_the_third);
    assert!(listed(None, at(third)).await.unwrap() == before_it);
    assert!(listed(at(third + 3_600_000), None).await.unwrap().is_empty());
    assert_refused(listed(at(third), at(third)).await, Code::InvalidArgument, "OUT_OF_RANGE");
}

/// What our program states of a receipt about `of`, after both accepted it as that and refused it as one about each of `others`. The
/// other program must state the same subject and the same people.
fn checked_by_both(file: &str, key: &str, of: &[&str], others: &[&[&str]]) -> Value {
    let ours = |of: &[&str]| {
        let names = ["--customer", "--opening", "--record", "--revision"];
        let named = names.into_iter().zip(of).flat_map(|(name, value)| [name, *value]);
        verify(&[file, "--key", key, "--json"].into_iter().chain(named).collect::<Vec<_>>())
    };
    let theirs = |of: &[&str]| elsewhere::run("verify_receipt.py", &[&[file, key], of].concat());
    for other in others {
        assert_eq!(ours(other).status.code(), Some(6), "{other:?} passes as {of:?}");
        if let Some(output) = theirs(other) {
            assert_eq!(output.status.code(), Some(1), "{other:?} passes as {of:?}: {}", words(&output));
        }
    }
    let output = ours(of);
    assert!(output.status.success(), "{of:?}: {}", words(&output));
    let stated: Value = serde_json::from_slice(&output.stdout).unwrap();
    if let Some(output) = theirs(of) {
        assert!(output.status.success(), "{of:?}: {}", words(&output));
        let other: Value = serde_json::from_slice(&output.stdout).unwrap();
        for what in ["requested_by", "approved_by", "epoch", "log_index", "log_size"] {
            assert_eq!(other[what], stated[what], "{what} of {of:?}");
        }
        let (subject, ours) = (other["subject"].as_str().unwrap(), stated["subject"].as_str().unwrap());
        assert!(ours.contains(subject), "{subject} is {ours} to our program");
    }
    stated
}

#[tokio::test]
async fn receipts_of_a_record_a_revision_and_a_tenant_with_its_approver_are_checked_by_our_program_and_another() {
    // The least delay that may be set; the rest is shown while it passes.
    let server = Server::start_with(&[("limits.tenant_erasure_delay_minutes", "1")]).await;
    let (people, gone) = (server.tenant_with_people("acme").await, server.tenant_with_people("globex").await);
    let admin = server.admin_client().await;
    let second = token_for(&admin, "system", "second", v1::Role::Admin, &[]).await;
    let second = Caller::of(&server, &second).await;
    let request = v1::RequestTenantErasureRequest { name: gone.tenant.clone() };
    let first = Caller::of(&server, &server.admin_token()).await;
    first.admin.clone().request_tenant_erasure(request).await.unwrap();
    let asked = std::time::Instant::now();

    let (ingest, officer) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.privacy_officer).await);
    let record = ingest.store_chat(chat("chat-0001", CUSTOMER)).await.unwrap().record_id;
    let revised = ingest.store_chat(chat("chat-0002", CUSTOMER)).await.unwrap().record_id;
    ingest.revise(&revised, 1, chat("chat-0003", CUSTOMER)).await.unwrap();
    let key = officer.log_keys().await.unwrap().remove(0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receipt.tlog-proof");
    let name = file.to_str().unwrap();

    let (receipt, opening) = officer.erase_record("erase-0001", &record, 0).await.unwrap();
    fs::write(&file, &receipt.proof).unwrap();
    let others: &[&[&str]] =
        &[&[CUSTOMER, &opening], &[CUSTOMER, &opening, &revised], &[CUSTOMER, &opening, &record, "1"]];
    let stated = checked_by_both(name, &key, &[CUSTOMER, &opening, &record], others);
    assert_eq!((receipt.subject, &stated["approved_by"]), (v1::ErasureSubject::Record.into(), &Value::Null));

    let (receipt, opening) = officer.erase_record("erase-0002", &revised, 1).await.unwrap();
    fs::write(&file, &receipt.proof).unwrap();
    let others: &[&[&str]] =
        &[&[CUSTOMER, &opening, &revised], &[CUSTOMER, &opening, &revised, "2"], &["eve", &opening, &revised, "1"]];
    checked_by_both(name, &key, &[CUSTOMER, &opening, &revised, "1"], others);
    assert_eq!(receipt.subject, i32::from(v1::ErasureSubject::Revision));

    let (receipt, opening) = loop {
        let approval = v1::ApproveTenantErasureRequest { request_id: "erase-it".into(), name: gone.tenant.clone() };
        match second.admin.clone().approve_tenant_erasure(approval).await.map(tonic::Response::into_inner) {
            Ok(answer) => break (answer.receipt.unwrap(), answer.opening),
            Err(status) => {
                let waited = asked.elapsed();
                assert!(waited < Duration::from_secs(90), "after {waited:?}: {status:?}");
                assert_eq!(reason(&status), "TOO_EARLY");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    };
    assert!(asked.elapsed() >= Duration::from_secs(59), "nothing waited for the second person");
    fs::write(&file, &receipt.proof).unwrap();
    let others: &[&[&str]] = &[&[&people.tenant, &opening], &[&gone.tenant, &"0".repeat(64)]];
    let stated = checked_by_both(name, &key, &[&gone.tenant, &opening], others);
    assert_eq!(receipt.subject, i32::from(v1::ErasureSubject::Tenant));
    assert!(!receipt.approved_by.is_empty() && receipt.approved_by != receipt.requested_by);
    assert_eq!(stated["approved_by"], receipt.approved_by);
    assert_eq!(stated["requested_by"], receipt.requested_by);
}

#[tokio::test]
async fn receipts_are_got_again_and_listed_and_the_ones_of_an_older_key_still_check() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let others = server.tenant_with_people("globex").await;
    let (ingest, officer) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.privacy_officer).await);
    let mut receipts = Vec::new();
    for number in 0..5 {
        let customer = format!("customer-{number}");
        ingest.store_chat(chat(&format!("chat-{number:04}"), &customer)).await.unwrap();
        receipts.push(officer.erase(&format!("erasure-{number}"), &customer).await.unwrap());
    }
    assert!(receipts == officer.receipts(2).await.unwrap(), "listed in the order in which they were asked for");
    assert_listed_by_time(&officer, &receipts).await;
    for receipt in &receipts {
        assert!(officer.receipt(&receipt.receipt_id).await.unwrap() == *receipt);
    }
    let stranger = Caller::of(&server, &others.privacy_officer).await;
    assert_refused(stranger.receipt(&receipts[0].receipt_id).await, Code::NotFound, "NOT_FOUND");
    assert!(stranger.receipts(50).await.unwrap().is_empty());

    let old_keys = officer.log_keys().await.unwrap();
    let old_file = fs::read_to_string(server.signing_key()).unwrap();
    assert_eq!(server.stop().await.code(), Some(0));
    let change = |what: &str| {
        let output = oubliette(&["signing-key", what, "--json", "--config"]).arg(server.config()).output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        let keys: Value = serde_json::from_slice(&output.stdout).unwrap();
        keys["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let rotated = change("rotate");
    assert_eq!((rotated.len(), &rotated[1..]), (2, old_keys.as_slice()));
    assert!(!server.signing_key().with_extension("key.new").exists());
    let newest_file = fs::read_to_string(server.signing_key()).unwrap();
    assert_ne!(newest_file, old_file);

    // A key that the log does not name any more is refused; a lost one is replaced.
    fs::write(server.signing_key(), &old_file).unwrap();
    let refused = oubliette(&["serve", "--config"]).arg(server.config()).output().unwrap();
    assert!(!refused.status.success());
    assert!(words(&refused).contains("signing-key replace"), "{}", words(&refused));
    fs::remove_file(server.signing_key()).unwrap();
    let replaced = change("replace");
    assert_eq!((replaced.len(), &replaced[1..]), (3, rotated.as_slice()));

    server.restart().await;
    let (ingest, officer) =
        (Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.privacy_officer).await);
    assert_eq!(officer.log_keys().await.unwrap(), replaced);
    ingest.store_chat(chat("chat-last", "the last")).await.unwrap();
    let last = officer.erase("erasure-last", "the last").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (keys, file) = (folder.path().join("log.keys"), folder.path().join("receipt"));
    fs::write(&keys, format!("# the newest first\n{}\n", replaced.join("\n"))).unwrap();
    let (keys, name) = (keys.to_str().unwrap(), file.to_str().unwrap());
    for receipt in receipts.iter().chain([&last]) {
        fs::write(&file, &receipt.proof).unwrap();
        assert_eq!(verified(&[name, "--key", keys])["receipt_id"], receipt.receipt_id);
    }
    fs::write(&file, &receipts[0].proof).unwrap();
    assert_eq!(
        verify(&[name, "--key", &replaced[0]]).status.code(),
        Some(6),
        "an old receipt under the newest key alone"
    );
    // Given again, it is signed anew, and states the same.
    let again = officer.receipt(&receipts[0].receipt_id).await.unwrap();
    fs::write(&file, &again.proof).unwrap();
    assert_eq!(verified(&[name, "--key", &replaced[0]])["receipt_id"], receipts[0].receipt_id);
    let code = paper::code(server.client(&people.supervisor).await.list_log_keys(Default::default()).await);
    assert_eq!(code, Code::PermissionDenied);
}
