//! What an earlier release wrote opens: its data directory is upgraded at the first start, every record is there, what it erased stays
//! erased, its receipts verify, and erasures go on. The same for its mirror, after the disk was lost.

use std::fs;

use oubliette::api::v1;
use oubliette::crypto::hash::sha256;
use oubliette::domain::codec::hex;
use serde_json::Value;
use tonic::Code;

use crate::fixture::{PURPOSES, Server, files_below, oubliette, words};
use crate::golden_files::{contents, unpack};
use crate::wire::{Caller, asked_of, assert_refused, chat, metadata};

/// The bearer token of somebody in the directory.
fn token(contents: &Value, tenant: &str, principal: &str) -> String {
    let tokens = contents["tokens"].as_array().unwrap();
    let is_it = |token: &&Value| token["tenant"] == tenant && (principal.is_empty() || token["principal"] == principal);
    tokens.iter().find(is_it).unwrap()["token"].as_str().unwrap().to_owned()
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap()
}

/// A service over the directory of layout 1, not started. Certificates and configuration are of today.
fn server_of_layout_1() -> Server {
    let server = Server::make(&[("limits.part_bytes", "65536")]);
    let golden = server.dir().join("golden");
    unpack("v1", &golden);
    fs::remove_dir_all(server.data_dir()).unwrap();
    fs::rename(golden.join("data"), server.data_dir()).unwrap();
    fs::copy(golden.join("root.key"), server.root_key()).unwrap();
    fs::copy(golden.join("signing.key"), server.signing_key()).unwrap();
    server
}

/// Every record opens, and what is erased does not.
async fn assert_all_there(server: &Server, contents: &Value) {
    let reader = Caller::of(server, &token(contents, "acme", "petra")).await;
    let of_globex = Caller::of(server, &token(contents, "globex", "petra")).await;
    let records = contents["records"].as_array().unwrap();
    assert_eq!(records.len(), 64);
    for record in records {
        let reader = if record["tenant"] == "acme" { &reader } else { &of_globex };
        let read = reader.chat(text(record, "record_id"), PURPOSES[0]).await.unwrap();
        assert_eq!(read.turns[0].text, "My card was charged twice.");
        assert_eq!(read.record.unwrap().details.unwrap().customer_id, text(record, "customer"));
    }
    let revised = &contents["revised"];
    let read = reader.record(text(revised, "record_id"), PURPOSES[0]).await.unwrap();
    assert_eq!(Some(u64::from(read.revision)), revised["revision"].as_u64());
    let call = &contents["call"];
    let (_, content) = reader.call(text(call, "record_id"), PURPOSES[0], None).await.unwrap();
    assert_eq!(hex(&sha256(&content)), text(call, "sha256"));
    let of_dora = &contents["of_dora"];
    reader.chat(text(of_dora, "record_id"), PURPOSES[0]).await.unwrap();
    assert_refused(reader.chat(text(of_dora, "erased_record_id"), PURPOSES[0]).await, Code::NotFound, "NOT_FOUND");
    assert_eq!(reader.list(asked_of("ada")).await.unwrap().len(), 2);
    let again =
        Caller::of(server, &token(contents, "acme", "loader")).await.store_chat(chat("chat-0001", "cleo")).await;
    assert_refused(again, Code::FailedPrecondition, "CUSTOMER_ERASED");
    let revoked = Caller::of(server, text(contents, "revoked_token")).await.chat("r", PURPOSES[0]).await;
    assert_refused(revoked, Code::Unauthenticated, "UNAUTHENTICATED");
}

/// Requests of the earlier release that stored something are answered as then. Its answers to erasures named customers under keys that
/// outlive them, so the upgrade removed them: a repeat is told that it is erased. Its receipts are there, and verify offline.
async fn assert_requests_and_receipts(server: &Server, contents: &Value) {
    let (ingest, officer) = (token(contents, "acme", "loader"), token(contents, "acme", "petra"));
    let (ingest, officer) = (Caller::of(server, &ingest).await, Caller::of(server, &officer).await);
    for record in contents["records"].as_array().unwrap().iter().filter(|record| record["tenant"] == "acme").take(3) {
        let repeated = ingest.store_chat(chat(text(record, "request_id"), text(record, "customer"))).await.unwrap();
        assert_eq!(repeated.record_id, text(record, "record_id"));
        let reused = ingest.store_chat(chat(text(record, "request_id"), "another")).await;
        assert_refused(reused, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    let call = &contents["call"];
    let repeated = ingest.store_call(metadata(text(call, "request_id"), text(call, "customer")), &[]).await.unwrap();
    assert_eq!(repeated.record_id, text(call, "record_id"));
    let (erased, of_dora) = (&contents["erased"], &contents["of_dora"]);
    let customer = text(erased, "customer").to_owned();
    let request_id = text(erased, "request_id").to_owned();
    let request = v1::EraseCustomerRequest { request_id, customer_id: customer.clone() };
    assert_refused(officer.privacy.clone().erase_customer(request).await, Code::FailedPrecondition, "CUSTOMER_ERASED");
    let (request, record) = (text(of_dora, "erasure_request_id"), text(of_dora, "erased_record_id"));
    assert_refused(officer.erase_record(request, record, 0).await, Code::NotFound, "NOT_FOUND");
    officer.receipt(text(of_dora, "receipt_id")).await.unwrap();
    let proof = server.dir().join("receipt");
    let key = contents["log_keys"][0].as_str().unwrap();
    let fetched = officer.receipt(text(erased, "receipt_id")).await.unwrap().proof;
    for receipt in [fetched, text(erased, "proof").to_owned()] {
        fs::write(&proof, receipt).unwrap();
        let arguments = ["receipt", "verify", proof.to_str().unwrap(), "--key", key, "--customer", &customer];
        let verified = oubliette(&arguments).args(["--opening", text(erased, "opening")]).output().unwrap();
        assert!(verified.status.success(), "{}", words(&verified));
    }
}

fn verify(server: &Server, admin: &str) -> Value {
    let output = server.command(admin, &["verify", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_of_layout_1_is_upgraded_and_works() {
    let mut server = server_of_layout_1();
    let contents = contents("v1");
    let admin = token(&contents, "system", "");
    server.restart().await;
    server.log_says("the database is upgraded").await;
    assert_all_there(&server, &contents).await;
    assert_requests_and_receipts(&server, &contents).await;
    let verified = verify(&server, &admin);
    assert_eq!((verified["opened"].as_u64(), verified["damaged"].as_u64()), (Some(67), Some(0)), "{verified}");
    let officer = Caller::of(&server, &token(&contents, "acme", "petra")).await;
    officer.erase("erasure-of-person-07", "person-07").await.unwrap();
    assert_refused(officer.erase("erasure-of-nobody", "nobody").await, Code::NotFound, "NOT_FOUND");
    let ingest = Caller::of(&server, &token(&contents, "acme", "loader")).await;
    ingest.store_chat(chat("chat-of-frank-1", "frank")).await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));

    // It is done once; the second start finds nothing to do.
    let before = fs::read_to_string(server.log_file()).unwrap().matches("is upgraded to a new layout").count();
    server.restart().await;
    let after = fs::read_to_string(server.log_file()).unwrap().matches("is upgraded to a new layout").count();
    assert_eq!((before, after), (1, 1));
    let officer = Caller::of(&server, &token(&contents, "acme", "petra")).await;
    assert!(officer.list(asked_of("person-07")).await.unwrap().is_empty());
    assert_eq!(officer.list(asked_of("frank")).await.unwrap().len(), 1);
    assert_eq!(verify(&server, &admin)["damaged"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_layout_1_is_restored_and_then_upgraded() {
    let mut server = server_of_layout_1();
    let contents = contents("v1");
    fs::remove_dir_all(server.data_dir()).unwrap();
    let mirror = server.dir().join("golden/mirror");
    let before = files_below(&mirror).len();
    let arguments = ["restore", "--json", "--from-mirror", mirror.to_str().unwrap(), "--config"];
    let restored = oubliette(&arguments).arg(server.config()).output().unwrap();
    assert!(restored.status.success(), "{}", words(&restored));
    let said: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!((said["damaged"].as_u64(), said["missing"].as_u64()), (Some(0), Some(0)), "{said}");
    assert_eq!(files_below(&mirror).len(), before, "the mirror was changed");
    server.restart().await;
    server.log_says("the database is upgraded").await;
    assert_all_there(&server, &contents).await;
    assert_requests_and_receipts(&server, &contents).await;
    assert_eq!(verify(&server, &token(&contents, "system", ""))["damaged"], 0);
}
