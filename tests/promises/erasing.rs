//! What can be erased, and what it does to the rest: one record, a list of customers; how many an hour; and coming back.

use std::collections::BTreeSet;
use std::fs;

use tonic::Code;

use crate::fixture::{PURPOSES, Server, oubliette, words};
use crate::wire::{Caller, asked_of, assert_refused, chat, info, metadata, objects, until};

const PURPOSE: &str = PURPOSES[0];

#[tokio::test]
async fn one_record_is_erased_and_its_customers_other_records_stay() {
    let mut server = Server::start_with(&[("limits.part_bytes", "65536")]).await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer, supervisor) = callers(&server, &people).await;
    let mut chats = Vec::new();
    for number in 0..4 {
        chats.push(ingest.store_chat(chat(&format!("chat-{number:04}"), "ada")).await.unwrap().record_id);
    }
    let content = vec![7; 200_000];
    let kept_call = ingest.store_call(metadata("call-0001", "ada"), &content).await.unwrap().record_id;
    let kept_objects = objects(&server).len();
    let call = ingest.store_call(metadata("call-0002", "ada"), &content).await.unwrap().record_id;

    let (receipt, opening) = officer.erase_record("erase-0001", &chats[1], 0).await.unwrap();
    assert_eq!(receipt.subject, i32::from(oubliette::api::v1::ErasureSubject::Record));
    let (second, _) = officer.erase_record("erase-0002", &call, 0).await.unwrap();
    assert!(second.epoch > receipt.epoch);
    assert!(officer.erase_record("erase-0001", &chats[1], 0).await.unwrap().0 == receipt, "a repeat of the request");
    let again = officer.erase_record("erase-0003", &chats[1], 0).await;
    assert!(matches!(again.as_ref().map_err(|status| status.code()), Err(Code::FailedPrecondition | Code::NotFound)));
    let absent = officer.erase_record("erase-0004", "01939c5e-7a1c-7b40-8f3e-0242ac120002", 0).await;
    assert_refused(absent, Code::NotFound, "NOT_FOUND");
    let reused = officer.erase_record("erase-0001", &chats[0], 0).await;
    assert_refused(reused, Code::AlreadyExists, "REQUEST_ID_REUSED");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receipt");
    fs::write(&file, &receipt.proof).unwrap();
    let key = officer.log_keys().await.unwrap().remove(0);
    let verify = |record: &str| {
        let file = file.to_str().unwrap();
        let arguments = ["receipt", "verify", file, "--key", &key, "--customer", "ada", "--opening", &opening];
        let output = oubliette(&arguments).args(["--record", record]).output().unwrap();
        (output.status.code(), words(&output))
    };
    assert_eq!(verify(&chats[1]).0, Some(0), "{}", verify(&chats[1]).1);
    assert_eq!(verify(&chats[0]).0, Some(6));

    until("the parts of the erased call are gone", async || objects(&server).len() == kept_objects).await;
    for restart in [false, true] {
        if restart {
            server.kill9();
            server.restart().await;
        }
        let (ingest, _, supervisor_again) = callers(&server, &people).await;
        let supervisor = if restart { &supervisor_again } else { &supervisor };
        let listed: BTreeSet<_> =
            supervisor.list(asked_of("ada")).await.unwrap().into_iter().map(|record| record.record_id).collect();
        assert!(!listed.contains(&chats[1]) && !listed.contains(&call));
        assert_refused(supervisor.chat(&chats[1], PURPOSE).await, Code::NotFound, "NOT_FOUND");
        assert_refused(supervisor.call(&call, PURPOSE, None).await.map(drop), Code::NotFound, "NOT_FOUND");
        for kept in [&chats[0], &chats[2], &chats[3]] {
            supervisor.chat(kept, PURPOSE).await.unwrap();
            assert!(listed.contains(kept));
        }
        assert_eq!(supervisor.call(&kept_call, PURPOSE, None).await.unwrap().1, content);
        let repeat = ingest.store_chat(chat("chat-0001", "ada")).await;
        assert_refused(repeat, Code::FailedPrecondition, "RECORD_ERASED");
        ingest.store_chat(chat(&format!("chat-new-{restart}"), "ada")).await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_chat_is_replaced_and_its_first_revision_erased_with_a_receipt_that_says_so() {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer, supervisor) = callers(&server, &people).await;
    let id = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    let mut right = chat("chat-0002", "ada");
    right.turns[0].text = "My card was charged three times.".to_owned();
    let revised = ingest.revise(&id, 1, right.clone()).await.unwrap();
    assert_eq!((revised.revision, revised.record_id.as_str()), (2, id.as_str()));
    let outdated = ingest.revise(&id, 1, chat("chat-0003", "ada")).await;
    let status = assert_refused(outdated, Code::FailedPrecondition, "REVISION_OUTDATED");
    assert_eq!(info(&status, "limit").as_deref(), Some("2"));
    for refused in [
        ingest.revise(&id, 2, chat("chat-0004", "eve")).await,
        ingest.revise("01939c5e-7a1c-7b40-8f3e-0242ac120002", 1, chat("chat-0005", "ada")).await,
    ] {
        assert_refused(refused, Code::NotFound, "NOT_FOUND");
    }
    assert_refused(ingest.revise(&id, 0, chat("chat-0006", "ada")).await, Code::InvalidArgument, "MISSING");
    assert_eq!(supervisor.chat(&id, PURPOSE).await.unwrap().turns[0].text, right.turns[0].text);

    let newest = officer.erase_record("erase-0001", &id, 2).await;
    assert_refused(newest, Code::FailedPrecondition, "REVISION_IS_NEWEST");
    let (receipt, opening) = officer.erase_record("erase-0002", &id, 1).await.unwrap();
    assert_eq!(receipt.subject, i32::from(oubliette::api::v1::ErasureSubject::Revision));
    assert_eq!(supervisor.chat(&id, PURPOSE).await.unwrap().turns[0].text, right.turns[0].text);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receipt");
    fs::write(&file, &receipt.proof).unwrap();
    let (file, key) = (file.to_str().unwrap(), officer.log_keys().await.unwrap().remove(0));
    let about = ["--customer", "ada", "--opening", &opening, "--record", &id];
    for (revision, code) in [(Some("1"), Some(0)), (Some("2"), Some(6)), (None, Some(6))] {
        let which: Vec<&str> = revision.into_iter().flat_map(|number| ["--revision", number]).collect();
        let output = oubliette(&["receipt", "verify", file, "--key", &key]).args(about).args(which).output().unwrap();
        assert_eq!(output.status.code(), code, "{revision:?}: {}", words(&output));
    }
    for (revision, code) in [("1", Some(0)), ("2", Some(1))] {
        let arguments = [file, &key, "ada", &opening, &id, revision];
        if let Some(output) = crate::elsewhere::run("verify_receipt.py", &arguments) {
            assert_eq!(output.status.code(), code, "revision {revision}: {}", words(&output));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_stored_while_others_of_the_customer_are_erased_are_not_lost() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer, _) = callers(&server, &people).await;
    let mut to_erase = Vec::new();
    for number in 0..30 {
        to_erase.push(ingest.store_chat(chat(&format!("early-{number:04}"), "ada")).await.unwrap().record_id);
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let ingest = Caller::of(&server, &people.ingest).await;
        writers.spawn(async move {
            let mut stored = Vec::new();
            for number in 0..40 {
                stored.push(
                    ingest.store_chat(chat(&format!("late-{writer}-{number:04}"), "ada")).await.unwrap().record_id,
                );
            }
            stored
        });
    }
    for (number, record) in to_erase.iter().enumerate() {
        officer.erase_record(&format!("erase-{number:04}"), record, 0).await.unwrap();
    }
    let stored: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    assert_eq!(stored.len(), 160);
    for restart in [false, true] {
        if restart {
            server.kill9();
            server.restart().await;
        }
        let (_, _, supervisor) = callers(&server, &people).await;
        for record in &stored {
            supervisor.chat(record, PURPOSE).await.unwrap();
        }
        for record in &to_erase {
            assert_refused(supervisor.chat(record, PURPOSE).await, Code::NotFound, "NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn of_a_list_each_customer_is_erased_or_refused_for_itself() {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer, supervisor) = callers(&server, &people).await;
    let mut records = Vec::new();
    for number in 0..6 {
        let stored = ingest.store_chat(chat(&format!("chat-{number:04}"), &format!("customer-{number}"))).await;
        records.push(stored.unwrap().record_id);
    }
    officer.erase("erase-0001", "customer-0").await.unwrap();
    let list = ["customer-0", "customer-1", "nobody", "customer-2", "customer-3"];
    let erasures = officer.erase_list("erase-list", &list).await.unwrap();
    let reasons: Vec<_> = erasures.iter().map(|one| (one.customer_id.as_str(), one.reason.as_str())).collect();
    let expected = ["CUSTOMER_ERASED", "", "NOT_FOUND", "", ""];
    assert_eq!(reasons, list.into_iter().zip(expected).collect::<Vec<_>>());
    let receipts: Vec<_> = erasures.iter().filter_map(|one| one.receipt.as_ref()).collect();
    let ids: BTreeSet<_> = receipts.iter().map(|receipt| &receipt.receipt_id).collect();
    let epochs: BTreeSet<_> = receipts.iter().map(|receipt| receipt.epoch).collect();
    assert_eq!((ids.len(), epochs.len()), (3, 1), "a receipt each, one epoch for all");
    for (one, receipt) in erasures.iter().filter(|one| one.receipt.is_some()).zip(&receipts) {
        assert!(one.opening.len() == 64 && !officer.receipt(&receipt.receipt_id).await.unwrap().proof.is_empty());
    }
    let again = officer.erase_list("erase-list", &list).await.unwrap();
    assert!(again == erasures, "a repeat of the list");
    for (number, record) in records.iter().enumerate() {
        assert_eq!(supervisor.chat(record, PURPOSE).await.is_ok(), number > 3, "customer-{number}");
    }
    for (list, reason) in [(&[][..], "MISSING"), (&["a", "b", "a"], "DUPLICATE"), (&["a", ""], "MISSING")] {
        assert_refused(officer.erase_list("erase-bad", list).await, Code::InvalidArgument, reason);
    }
    let many: Vec<String> = (0..1001).map(|number| format!("c-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = assert_refused(officer.erase_list("erase-many", &many).await, Code::InvalidArgument, "TOO_MANY");
    assert_eq!(info(&refused, "limit").as_deref(), Some("1000"));
}

#[tokio::test]
async fn erasures_within_an_hour_have_a_ceiling_which_single_ones_and_lists_share_also_after_a_restart() {
    let mut server = Server::start_with(&[("limits.erasures_per_hour", "5")]).await;
    let people = server.tenant_with_people("acme").await;
    let others = server.tenant_with_people("globex").await;
    let (ingest, officer, supervisor) = callers(&server, &people).await;
    let mut records = Vec::new();
    for number in 0..8 {
        let stored = ingest.store_chat(chat(&format!("chat-{number:04}"), &format!("customer-{number}"))).await;
        records.push(stored.unwrap().record_id);
    }
    officer.erase("erase-0000", "customer-0").await.unwrap();
    officer.erase_record("erase-0001", &records[1], 0).await.unwrap();
    let list = ["customer-2", "customer-3", "customer-4", "customer-5"];
    let erasures = officer.erase_list("erase-list", &list).await.unwrap();
    let refused: Vec<_> = erasures.iter().filter(|one| one.reason == "ERASURE_CEILING").collect();
    assert_eq!(refused.len(), 1, "{:?}", erasures.iter().map(|one| &one.reason).collect::<Vec<_>>());
    let status = officer.erase("erase-0006", "customer-6").await;
    let status = assert_refused(status, Code::ResourceExhausted, "ERASURE_CEILING");
    assert_eq!(info(&status, "limit").as_deref(), Some("5"));
    // Who is refused loses nothing, and who is erased can be asked for again.
    supervisor.chat(&records[6], PURPOSE).await.unwrap();
    officer.erase("erase-0000", "customer-0").await.unwrap();
    assert_eq!(server.stop().await.code(), Some(0));
    server.restart().await;
    let (_, officer, _) = callers(&server, &people).await;
    assert_refused(officer.erase("erase-0006", "customer-6").await, Code::ResourceExhausted, "ERASURE_CEILING");
    let (ingest, officer, _) = callers(&server, &others).await;
    ingest.store_chat(chat("chat-0001", "ada")).await.unwrap();
    officer.erase("erase-0001", "ada").await.unwrap();
}

#[tokio::test]
async fn an_erased_person_comes_back_only_when_readmitted_and_as_a_new_customer() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let (ingest, officer, supervisor) = callers(&server, &people).await;
    let old = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    assert_refused(officer.readmit("ada").await, Code::FailedPrecondition, "NOT_ERASED");
    assert_refused(officer.readmit("nobody").await, Code::FailedPrecondition, "NOT_ERASED");
    officer.erase("erase-0001", "ada").await.unwrap();
    let refused = ingest.store_chat(chat("chat-0002", "ada")).await;
    assert_refused(refused, Code::FailedPrecondition, "CUSTOMER_ERASED");
    officer.readmit("ada").await.unwrap();
    assert_refused(officer.readmit("ada").await, Code::FailedPrecondition, "NOT_ERASED");
    let new = ingest.store_chat(chat("chat-0003", "ada")).await.unwrap().record_id;
    // A repeat of the request that erased her before is about another customer now: it must not look as if this one were erased.
    assert_refused(officer.erase("erase-0001", "ada").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    supervisor.chat(&new, PURPOSE).await.unwrap();
    server.kill9();
    server.restart().await;
    let (_, officer, supervisor_again) = callers(&server, &people).await;
    assert_refused(supervisor_again.chat(&old, PURPOSE).await, Code::NotFound, "NOT_FOUND");
    supervisor_again.chat(&new, PURPOSE).await.unwrap();
    let listed = supervisor_again.list(asked_of("ada")).await.unwrap();
    assert_eq!(listed.iter().map(|record| &record.record_id).collect::<Vec<_>>(), [&new]);
    // She can be erased again, and stays erased then.
    officer.erase("erase-0002", "ada").await.unwrap();
    assert_refused(supervisor_again.chat(&new, PURPOSE).await, Code::NotFound, "NOT_FOUND");
}

/// Who stores, who erases, who reads.
async fn callers(server: &Server, people: &crate::fixture::People) -> (Caller, Caller, Caller) {
    (
        Caller::of(server, &people.ingest).await,
        Caller::of(server, &people.privacy_officer).await,
        Caller::of(server, &people.supervisor).await,
    )
}
