//! A repeat never does a thing twice: whoever did not hear an answer asks again with the same request id and gets it. And first
//! writers of one new customer never end up with two.

use std::collections::{BTreeMap, BTreeSet};

use oubliette::api::v1;
use tonic::{Code, Status};

use crate::chance::Chance;
use crate::fixture::{PURPOSES, People, Server};
use crate::wire::{Caller, assert_refused, chat, first, info, metadata, objects, until};

const WRITERS: usize = 32;

struct Callers {
    ingest: Caller,
    supervisor: Caller,
    officer: Caller,
    admin: Caller,
    tenant: String,
}

impl Callers {
    async fn of(server: &Server, people: &People) -> Self {
        Self {
            ingest: Caller::of(server, &people.ingest).await,
            supervisor: Caller::of(server, &people.supervisor).await,
            officer: Caller::of(server, &people.privacy_officer).await,
            admin: Caller::of(server, &server.admin_token()).await,
            tenant: people.tenant.clone(),
        }
    }

    async fn stored(&self) -> Vec<v1::Record> {
        let asked = v1::ListRecordsRequest { purpose: PURPOSES[0].to_owned(), page_size: 7, ..Default::default() };
        let records = self.supervisor.list(asked).await.unwrap();
        let used = self.admin.tenant(&self.tenant).await.unwrap().used_records;
        assert_eq!(used, records.len() as u64, "the counter of records and the list differ");
        records
    }
}

async fn start() -> (Server, People, Callers) {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let callers = Callers::of(&server, &people).await;
    (server, people, callers)
}

#[tokio::test]
async fn a_repeated_write_gets_the_first_answer_also_after_a_crash() {
    let (mut server, people, callers) = start().await;
    let mut asked = chat("chat-0001", "ada");
    // In another order than the tenant's: the answer must not depend on who is asked, the write or a read.
    asked.details.as_mut().unwrap().purposes.reverse();
    let content = Chance::of_test("idempotency, 11").bytes(300_000);
    let stored = callers.ingest.store_chat(asked.clone()).await.unwrap();
    let call = callers.ingest.store_call(metadata("call-0001", "ada"), &content).await.unwrap();
    let before = objects(&server);

    assert!(callers.ingest.store_chat(asked.clone()).await.unwrap() == stored, "the repeat of a chat");
    assert!(callers.ingest.store_call(metadata("call-0001", "ada"), &content).await.unwrap() == call, "of a call");
    server.kill9();
    server.restart().await;
    let callers = Callers::of(&server, &people).await;
    assert!(callers.ingest.store_chat(asked).await.unwrap() == stored, "the repeat of a chat after a crash");
    assert!(callers.ingest.store_call(metadata("call-0001", "ada"), &content).await.unwrap() == call, "of a call");

    assert!(callers.stored().await == [stored, call], "a list tells the same");
    assert_eq!(objects(&server), before);
}

#[tokio::test]
async fn a_request_id_is_not_taken_for_other_content() {
    let (server, people, callers) = start().await;
    let stored = callers.ingest.store_chat(chat("request-1", "ada")).await.unwrap();
    let mut other_text = chat("request-1", "ada");
    other_text.turns[0].text.push('!');
    for other in [chat("request-1", "bob"), other_text] {
        let status = assert_refused(callers.ingest.store_chat(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert_eq!(info(&status, "field").as_deref(), Some("request_id"));
    }
    assert_refused(callers.officer.erase("erase-bob", "bob").await, Code::NotFound, "NOT_FOUND");

    // An id belongs to one caller and one kind of request.
    let call = callers.ingest.store_call(metadata("request-1", "ada"), b"a call").await.unwrap();
    let mut with_hash = metadata("request-1", "ada");
    with_hash.content_sha256 = vec![7; 32].into();
    let mut other_type = metadata("request-1", "ada");
    other_type.media_type = "audio/ogg".to_owned();
    for other in [metadata("request-1", "bob"), with_hash, other_type] {
        assert_refused(callers.ingest.store_call(other, b"a call").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    let admin = server.admin_client().await;
    let second = crate::fixture::token_for(&admin, &people.tenant, "loader-2", v1::Role::Ingest, &[]).await;
    let second = Caller::of(&server, &second).await.store_chat(chat("request-1", "bob")).await.unwrap();
    assert!(callers.stored().await == [stored, call, second]);
}

#[tokio::test]
async fn duplicates_at_the_same_time_store_one() {
    let (server, people, callers) = start().await;
    let callers_of_one = [Caller::of(&server, &people.ingest).await, callers.ingest.clone()];
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let caller = callers_of_one[writer % 2].clone();
        tasks.spawn(async move {
            match writer % 4 {
                0 | 1 => caller.store_chat(chat("chat-0001", "ada")).await,
                _ => caller.store_call(metadata("call-0001", "ada"), &[9; 100_000]).await,
            }
        });
    }
    let mut seen = BTreeMap::<i32, BTreeSet<String>>::new();
    for outcome in tasks.join_all().await {
        match outcome {
            Ok(record) => {
                seen.entry(record.kind).or_default().insert(record.record_id);
            }
            // Whoever comes while the first is at work is told to come again.
            refused => {
                assert_refused(refused, Code::Aborted, "REQUEST_IN_PROGRESS");
            }
        }
    }
    let stored = callers.stored().await;
    assert_eq!(stored.len(), 2);
    for (kind, ids) in &seen {
        assert_eq!(ids.len(), 1, "kind {kind} was stored more than once");
    }
    let acknowledged: BTreeSet<_> = seen.into_values().flatten().collect();
    assert_eq!(acknowledged, stored.into_iter().map(|record| record.record_id).collect());
    assert_eq!(objects(&server).len(), 1);
}

#[tokio::test]
async fn first_writers_of_one_customer_at_the_same_time_find_one_customer() {
    let (server, people, callers) = start().await;
    let connections = [Caller::of(&server, &people.ingest).await, Caller::of(&server, &people.ingest).await];
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let caller = connections[writer % 2].clone();
        tasks.spawn(async move {
            let (request, is_chat) = (format!("writer-{writer:04}"), writer % 4 != 0);
            match is_chat {
                true => caller.store_chat(chat(&request, "ada")).await,
                false => caller.store_call(metadata(&request, "ada"), &[9; 1_000]).await,
            }
        });
    }
    let written: Vec<_> = tasks.join_all().await.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert_eq!(callers.stored().await.len(), WRITERS);
    let asked =
        v1::ListRecordsRequest { purpose: PURPOSES[0].to_owned(), customer_id: "ada".to_owned(), ..Default::default() };
    assert_eq!(callers.supervisor.list(asked).await.unwrap().len(), WRITERS, "not all are this customer's");
    for record in &written {
        read(&callers.supervisor, record).await.unwrap();
    }

    // If there were two customers, one would outlive this.
    callers.officer.erase("erase-ada", "ada").await.unwrap();
    for record in &written {
        assert_refused(read(&callers.supervisor, record).await, Code::NotFound, "NOT_FOUND");
    }
    assert!(objects_go(&server).await);
}

async fn read(caller: &Caller, record: &v1::Record) -> Result<(), Status> {
    if record.kind() == v1::RecordKind::Transcript {
        let answer = caller.chat(&record.record_id, PURPOSES[0]).await?;
        assert!(answer.turns == chat("any", "ada").turns && answer.record.as_ref() == Some(record));
    } else {
        let (header, content) = caller.call(&record.record_id, PURPOSES[0], None).await?;
        assert!(header.record.as_ref() == Some(record) && content == [9; 1_000]);
    }
    Ok(())
}

async fn objects_go(server: &Server) -> bool {
    until("the objects of the erased customer are gone", async || objects(server).is_empty()).await;
    true
}

#[tokio::test]
async fn an_erasure_is_done_once_and_each_repeat_of_its_request_gets_the_same_receipt() {
    let (mut server, people, callers) = start().await;
    for customer in ["ada", "bob", "cleo"] {
        callers.ingest.store_chat(chat(&format!("chat-of-{customer}"), customer)).await.unwrap();
    }
    assert_refused(callers.officer.erase("erase-eve", "eve").await, Code::NotFound, "NOT_FOUND");
    let (one, same) =
        tokio::join!(callers.officer.erase("erase-0001", "ada"), callers.officer.erase("erase-0001", "ada"));
    let receipt = one.unwrap();
    assert!(receipt == same.unwrap());
    // From the person nothing leads to the receipt: only the request does, and only with whoever made it.
    assert_refused(callers.officer.erase("erase-0003", "ada").await, Code::FailedPrecondition, "CUSTOMER_ERASED");
    assert!(callers.officer.erase("erase-0001", "ada").await.unwrap() == receipt);
    let (one, other) =
        tokio::join!(callers.officer.erase("erase-000x", "cleo"), callers.officer.erase("erase-000y", "cleo"));
    let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
    assert!(won.unwrap().receipt_id != receipt.receipt_id);
    assert_refused(lost, Code::FailedPrecondition, "CUSTOMER_ERASED");
    let reused = callers.officer.erase("erase-0001", "bob").await;
    assert_refused(reused, Code::AlreadyExists, "REQUEST_ID_REUSED");

    server.kill9();
    server.restart().await;
    let callers = Callers::of(&server, &people).await;
    assert!(callers.officer.erase("erase-0001", "ada").await.unwrap() == receipt);
    assert_refused(callers.officer.erase("erase-0004", "ada").await, Code::FailedPrecondition, "CUSTOMER_ERASED");
    assert_refused(callers.officer.erase("erase-eve", "eve").await, Code::NotFound, "NOT_FOUND");
    let next = callers.officer.erase("erase-0005", "bob").await.unwrap();
    assert!(next.epoch > receipt.epoch && next.receipt_id != receipt.receipt_id);

    // The repeat of a write from before the erasure brings nothing back, nor does a new one.
    for request_id in ["chat-of-ada", "chat-anew"] {
        let refused = callers.ingest.store_chat(chat(request_id, "ada")).await;
        assert_refused(refused, Code::FailedPrecondition, "CUSTOMER_ERASED");
    }
    let upload = callers.ingest.upload(vec![first(metadata("call-anew", "ada"))]).await;
    assert_refused(upload, Code::FailedPrecondition, "CUSTOMER_ERASED");
    until("the counters are back", async || callers.admin.tenant("acme").await.unwrap().used_records == 0).await;
    assert_eq!(callers.admin.tenant("acme").await.unwrap().used_content_bytes, 0);
}
