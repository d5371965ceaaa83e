//! Somebody who may read every one of a platform's customers, and reads them one after the other, is stopped and told; and a report names exactly
//! those who were read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oubliette::api::v1;
use tonic::Code;

use crate::audit::{auditor, entries, told};
use crate::fixture::{AGENT, PURPOSES, Server, words};
use crate::wire::{Caller, assert_refused, chat, info};

const PURPOSE: &str = PURPOSES[0];
const CASE: &str = "case-7";
/// What the template says of agents.
const CUSTOMERS_A_DAY: u64 = 150;
/// What the insider would like.
const WISHED: usize = 400;

#[tokio::test]
async fn an_insider_who_opens_400_customers_a_day_is_stopped_and_reported_and_the_report_lists_exactly_those() {
    let ceiling = CUSTOMERS_A_DAY.to_string();
    let settings = [("ceilings.agent.customers_per_day", ceiling.as_str())];
    let mut server = Server::start_with(&settings).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let mut customers = Vec::new();
    for number in 0..WISHED {
        let customer = format!("customer-{number:04}");
        let record = ingest.store_chat(chat(&format!("chat-{number:05}"), &customer)).await.unwrap().record_id;
        // Even with a case of everybody's.
        ingest.assign(CASE, &customer, AGENT, 3_600).await.unwrap();
        customers.push((customer, record));
    }
    // Midnight in between would let as many through again.
    let day = today();
    let mut agent = Caller::of(&server, &people.agent).await.working_on(CASE);
    let mut opened: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
    for (number, (customer, record)) in customers.iter().enumerate() {
        if number == 100 {
            // What was counted is not forgotten with the process.
            server.kill9();
            server.restart().await;
            agent = Caller::of(&server, &people.agent).await.working_on(CASE);
        }
        match agent.chat(record, PURPOSE).await {
            Ok(_) => {
                opened.entry(Some(customer.clone())).or_default().insert(record.clone());
            }
            Err(refused) => {
                let refused = assert_refused::<()>(Err(refused), Code::ResourceExhausted, "READ_CEILING");
                assert_eq!(info(&refused, "limit").as_ref(), Some(&ceiling));
            }
        }
    }
    assert_eq!(today(), day, "it was midnight while this ran; it has to run again");
    assert_eq!(opened.len() as u64, CUSTOMERS_A_DAY);
    // Whom the insider knows already can be worked on, and nothing that tells of others gets around it.
    agent.chat(&customers[0].1, PURPOSE).await.unwrap();
    let list = v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), page_size: 200, ..Default::default() };
    assert_refused(agent.list(list).await, Code::ResourceExhausted, "READ_CEILING");
    assert_refused(agent.record(&customers[399].1, PURPOSE).await, Code::ResourceExhausted, "READ_CEILING");
    // Others are not held up by it.
    Caller::of(&server, &people.supervisor).await.chat(&customers[399].1, PURPOSE).await.unwrap();

    // Told once on the way and once at the ceiling, and once more of each by the process that began anew at most.
    let seen = entries(&auditor(&server, "acme").await).await;
    let alerts = |sort: &str| {
        let of = |entry: &&v1::LogEntry| entry.event == "alert" && entry.fields["sort"] == sort;
        seen.iter().filter(of).map(|entry| entry.principal.clone()).collect::<Vec<_>>()
    };
    assert_eq!(alerts("ceiling_met"), [AGENT]);
    let unusual = alerts("unusual_reading");
    assert!((1..=2).contains(&unusual.len()) && unusual.iter().all(|name| name == AGENT), "{unusual:?}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ana.exposure");
    let at = path.display().to_string();
    let asked = ["audit", "exposure", "--principal", AGENT, "-o", &at];
    let made = server.command(&people.privacy_officer, &asked).output().unwrap();
    assert!(made.status.success(), "{}", words(&made));
    assert_eq!(told(&path), opened);
}

#[tokio::test]
async fn reads_a_minute_and_a_day_are_counted_a_list_with_all_it_shows_and_a_new_minute_begins_anew() {
    let settings = [("ceilings.supervisor.reads_per_minute", "6"), ("ceilings.supervisor.reads_per_day", "9")];
    let server = Server::start_with(&settings).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let mut records = Vec::new();
    for number in 0..4 {
        records.push(ingest.store_chat(chat(&format!("chat-{number:05}"), "ada")).await.unwrap().record_id);
    }
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let list = || v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), ..Default::default() };
    // All in one minute.
    if seconds() % 60 > 45 {
        next_minute().await;
    }
    supervisor.list(list()).await.unwrap();
    assert_refused(supervisor.list(list()).await, Code::ResourceExhausted, "READ_CEILING");
    for _ in 0..2 {
        supervisor.chat(&records[0], PURPOSE).await.unwrap();
    }
    let refused = assert_refused(supervisor.chat(&records[0], PURPOSE).await, Code::ResourceExhausted, "READ_CEILING");
    assert!(refused.message().contains("reads_per_minute"), "{}", refused.message());
    next_minute().await;
    supervisor.chat(&records[0], PURPOSE).await.unwrap();
    // That was the seventh of the day.
    let refused = assert_refused(supervisor.list(list()).await, Code::ResourceExhausted, "READ_CEILING");
    assert!(refused.message().contains("reads_per_day"), "{}", refused.message());
    for _ in 0..2 {
        supervisor.chat(&records[1], PURPOSE).await.unwrap();
    }
    let refused = assert_refused(supervisor.chat(&records[1], PURPOSE).await, Code::ResourceExhausted, "READ_CEILING");
    assert!(refused.message().contains("reads_per_day"), "{}", refused.message());
}

#[tokio::test]
async fn a_page_is_no_longer_than_may_be_read_in_a_minute_and_each_refusal_is_entered() {
    let settings = [("ceilings.supervisor.reads_per_minute", "3"), ("ceilings.supervisor.reads_per_day", "5")];
    let server = Server::start_with(&settings).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    for number in 0..8 {
        ingest.store_chat(chat(&format!("chat-{number:05}"), "ada")).await.unwrap();
    }
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let list = v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), page_size: 200, ..Default::default() };
    let page = supervisor.records.clone().list_records(list.clone()).await.unwrap().into_inner();
    assert!(page.records.len() == 3 && !page.next_page_token.is_empty());
    // Three of the five of a day are used up: whatever the minute, three more are refused.
    const REFUSED: usize = 4;
    for _ in 0..REFUSED {
        let outcome = supervisor.records.clone().list_records(list.clone()).await;
        assert_refused(outcome, Code::ResourceExhausted, "READ_CEILING");
    }
    let seen = entries(&auditor(&server, "acme").await).await;
    let of = |event: &str| seen.iter().filter(|entry| entry.event == event && entry.principal == "sam").count();
    assert_eq!(of("refused"), REFUSED);
    assert!((1..=2).contains(
        &seen.iter().filter(|entry| entry.fields.get("sort").is_some_and(|sort| sort == "ceiling_met")).count()
    ));
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn today() -> u64 {
    seconds() / 86_400
}

async fn next_minute() {
    tokio::time::sleep(Duration::from_secs(61 - seconds() % 60)).await;
}
