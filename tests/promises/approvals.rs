//! Nobody erases or reads many customers alone: a second person approves, for a time, and each erasure's receipt says who.

use oubliette::api::v1;
use tonic::{Code, Status};

use crate::audit::{auditor, entries};
use crate::fixture::{AGENT, PURPOSES, Server, token_for, words};
use crate::wire::{Caller, assert_refused, chat, info};

const PURPOSE: &str = PURPOSES[0];
const OFFICER: &str = "petra";

fn asked(erasures: u32, reads: u32, customers: u32) -> v1::RequestApprovalRequest {
    let ground = v1::ApprovalGround::RetentionOver.into();
    v1::RequestApprovalRequest { erasures, reads, customers, ground, seconds: 600 }
}

async fn ask(caller: &Caller, asked: v1::RequestApprovalRequest) -> Result<v1::Approval, Status> {
    Ok(caller.access.clone().request_approval(asked).await?.into_inner().approval.unwrap())
}

async fn give(caller: &Caller, id: &str) -> Result<v1::Approval, Status> {
    let request = v1::GiveApprovalRequest { approval_id: id.to_owned() };
    Ok(caller.access.clone().give_approval(request).await?.into_inner().approval.unwrap())
}

async fn withdraw(caller: &Caller, id: &str) -> Result<(), Status> {
    let request = v1::WithdrawApprovalRequest { approval_id: id.to_owned() };
    caller.access.clone().withdraw_approval(request).await.map(drop)
}

/// All of them, one a page.
async fn list(caller: &Caller) -> Vec<v1::Approval> {
    let mut found = Vec::new();
    let mut asked = v1::ListApprovalsRequest { page_size: 1, ..Default::default() };
    loop {
        let page = caller.access.clone().list_approvals(asked.clone()).await.unwrap().into_inner();
        found.extend(page.approvals);
        if page.next_page_token.is_empty() {
            return found;
        }
        asked.page_token = page.next_page_token;
    }
}

fn assert_needed<T>(outcome: Result<T, Status>, limit: &str) {
    let refused = assert_refused(outcome, Code::FailedPrecondition, "APPROVAL_NEEDED");
    assert_eq!(info(&refused, "limit").as_deref(), Some(limit));
}

#[tokio::test]
async fn many_erasures_need_a_second_person_whether_by_a_list_or_one_by_one_and_the_receipts_name_both() {
    let mut server = Server::start_with(&[("ceilings.privacy_officer.erasures_per_day", "3")]).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    for number in 0..12 {
        ingest.store_chat(chat(&format!("chat-{number:05}"), &format!("customer-{number}"))).await.unwrap();
    }
    let list_of = |from: usize, to: usize| (from..to).map(|number| format!("customer-{number}")).collect::<Vec<_>>();
    let second = token_for(&server.admin_client().await, "acme", "otto", v1::Role::PrivacyOfficer, &[]).await;
    let officer = Caller::of(&server, &people.privacy_officer).await;
    let other = Caller::of(&server, &second).await;

    // As a list it is refused as a whole: nobody of it is erased.
    let four = list_of(0, 4);
    let four: Vec<&str> = four.iter().map(String::as_str).collect();
    assert_needed(officer.erase_list("list-0001", &four).await, "3");
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let all = v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), page_size: 200, ..Default::default() };
    assert_eq!(supervisor.list(all.clone()).await.unwrap().len(), 12);
    // One by one it ends at the same place. Nobody who is not there counts, and no repeat.
    for (number, customer) in four.iter().take(3).enumerate() {
        assert_refused(officer.erase(&format!("nobody-{number}"), "nobody").await, Code::NotFound, "NOT_FOUND");
        let alone = officer.erase(&format!("erase-{number:04}"), customer).await.unwrap();
        assert_eq!(alone.approved_by, "");
        officer.erase(&format!("erase-{number:04}"), customer).await.unwrap();
    }
    assert_needed(officer.erase("erase-0003", four[3]).await, "3");
    // The other has ceilings of its own, and its approvals are its own.
    other.erase("erase-0011", "customer-11").await.unwrap();

    let approval = ask(&officer, asked(5, 0, 0)).await.unwrap();
    assert_eq!((approval.requested_by.as_str(), approval.erasures, approval.approved_by.as_str()), (OFFICER, 5, ""));
    assert_needed(officer.erase("erase-0003", four[3]).await, "3");
    assert_refused(give(&officer, &approval.approval_id).await, Code::PermissionDenied, "SECOND_PERSON");
    assert_needed(officer.erase("erase-0003", four[3]).await, "3");
    let given = give(&other, &approval.approval_id).await.unwrap();
    assert_eq!(given.approved_by, "otto");
    // Given again by somebody else, the first word stays.
    let admin = token_for(&server.admin_client().await, "acme", "adele", v1::Role::Admin, &[]).await;
    assert_eq!(give(&Caller::of(&server, &admin).await, &approval.approval_id).await.unwrap().approved_by, "otto");
    assert!(list(&officer).await == [given.clone()]);

    let many = list_of(3, 7);
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let erased = officer.erase_list("list-0002", &many).await.unwrap();
    let receipts: Vec<_> = erased.into_iter().map(|one| one.receipt.unwrap()).collect();
    let approver = &receipts[0].approved_by;
    assert!(!approver.is_empty() && receipts.iter().all(|receipt| receipt.approved_by == *approver));
    // What was counted is not forgotten with the process: one is left.
    server.kill9();
    server.restart().await;
    let officer = Caller::of(&server, &people.privacy_officer).await;
    // A repeat of the list counts nothing, and gets the same.
    let again = officer.erase_list("list-0002", &many).await.unwrap();
    assert!(again.iter().zip(&receipts).all(|(one, before)| one.receipt.as_ref() == Some(before)));
    officer.erase("erase-0007", "customer-7").await.unwrap();
    assert_needed(officer.erase("erase-0008", "customer-8").await, "3");

    let seen = entries(&auditor(&server, "acme").await).await;
    let of = |action: &str| seen.iter().filter(|entry| entry.event == "approval" && entry.action == action).count();
    assert_eq!((of("RequestApproval"), of("GiveApproval")), (1, 1));
    let gave = seen.iter().find(|entry| entry.action == "GiveApproval" && entry.event == "approval").unwrap();
    assert_eq!((gave.principal.as_str(), gave.fields["erasures"].as_str()), ("otto", "5"));
    assert_eq!((gave.fields["ground"].as_str(), &gave.fields["approval"]), ("retention_over", &given.approval_id));
    assert_eq!(&gave.principal_alias, approver);
    let alerts = seen.iter().filter(|entry| entry.event == "alert" && entry.fields["sort"] == "ceiling_met");
    let alerts: Vec<_> = alerts.map(|entry| entry.principal.as_str()).collect();
    assert!(!alerts.is_empty() && alerts.len() <= 2 && alerts.iter().all(|name| *name == OFFICER), "{alerts:?}");
    let refused = |entry: &&v1::LogEntry| entry.event == "refused" && entry.action.starts_with("EraseCustomer");
    assert_eq!(seen.iter().filter(refused).count(), 5);
}

#[tokio::test]
async fn reading_in_bulk_needs_a_second_person_and_ends_when_it_is_taken_back() {
    let settings = [("ceilings.agent.customers_per_day", "2"), ("ceilings.agent.reads_per_day", "100")];
    let server = Server::start_with(&settings).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let mut records = Vec::new();
    for number in 0..6 {
        let customer = format!("customer-{number}");
        ingest.assign("case-7", &customer, AGENT, 3_600).await.unwrap();
        records.push(ingest.store_chat(chat(&format!("chat-{number:05}"), &customer)).await.unwrap().record_id);
    }
    let agent = Caller::of(&server, &people.agent).await.working_on("case-7");
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let refused = async |record: &str| {
        assert_refused(agent.chat(record, PURPOSE).await, Code::ResourceExhausted, "READ_CEILING");
    };
    for record in &records[..2] {
        agent.chat(record, PURPOSE).await.unwrap();
    }
    refused(&records[2]).await;
    // More erasures, or more reads, are not more customers.
    for asked in [asked(9, 0, 0), asked(0, 9, 0)] {
        let approval = ask(&agent, asked).await.unwrap();
        give(&supervisor, &approval.approval_id).await.unwrap();
        refused(&records[2]).await;
    }
    let approval = ask(&agent, asked(0, 0, 2)).await.unwrap();
    refused(&records[2]).await;
    // Somebody of another tenant finds nothing under its id.
    let globex = server.tenant_with_people("globex").await;
    let stranger = Caller::of(&server, &globex.privacy_officer).await;
    assert_refused(give(&stranger, &approval.approval_id).await, Code::NotFound, "NOT_FOUND");
    assert_refused(withdraw(&stranger, &approval.approval_id).await, Code::NotFound, "NOT_FOUND");
    assert_refused(give(&agent, &approval.approval_id).await, Code::PermissionDenied, "PERMISSION_DENIED");
    give(&supervisor, &approval.approval_id).await.unwrap();
    for record in &records[2..4] {
        agent.chat(record, PURPOSE).await.unwrap();
    }
    refused(&records[4]).await;
    let more = ask(&agent, asked(0, 0, 50)).await.unwrap();
    give(&supervisor, &more.approval_id).await.unwrap();
    agent.chat(&records[4], PURPOSE).await.unwrap();
    withdraw(&supervisor, &more.approval_id).await.unwrap();
    refused(&records[5]).await;
    assert_refused(give(&supervisor, &more.approval_id).await, Code::NotFound, "NOT_FOUND");
}

#[tokio::test]
async fn what_asks_for_nothing_or_for_too_long_is_refused_and_the_command_line_does_it_all() {
    let server = Server::start_with(&[("ceilings.privacy_officer.erasures_per_day", "1")]).await;
    let people = server.tenant_with_people("acme").await;
    let officer = Caller::of(&server, &people.privacy_officer).await;
    let with = |change: &dyn Fn(&mut v1::RequestApprovalRequest)| {
        let mut asked = asked(1, 0, 0);
        change(&mut asked);
        asked
    };
    for (asked, field, reason) in [
        (with(&|asked| asked.erasures = 0), "erasures", "MISSING"),
        (with(&|asked| asked.erasures = 1_000_001), "erasures", "OUT_OF_RANGE"),
        (with(&|asked| asked.reads = u32::MAX), "reads", "OUT_OF_RANGE"),
        (with(&|asked| asked.customers = 1_000_001), "customers", "OUT_OF_RANGE"),
        (with(&|asked| asked.ground = 0), "ground", "MISSING"),
        (with(&|asked| asked.ground = 7), "ground", "UNKNOWN_VALUE"),
        (with(&|asked| asked.ground = -1), "ground", "UNKNOWN_VALUE"),
        (with(&|asked| asked.seconds = 86_401), "seconds", "OUT_OF_RANGE"),
    ] {
        let refused = assert_refused(ask(&officer, asked).await, Code::InvalidArgument, reason);
        assert_eq!(info(&refused, "field").as_deref(), Some(field));
    }
    for (id, reason) in [("", "MISSING"), ("7", "MALFORMED"), (&"G".repeat(48), "MALFORMED")] {
        assert_refused(give(&officer, id).await, Code::InvalidArgument, reason);
        assert_refused(withdraw(&officer, id).await, Code::InvalidArgument, reason);
    }
    assert_refused(give(&officer, &"0".repeat(48)).await, Code::NotFound, "NOT_FOUND");

    let run = |token: &str, args: &[&str]| {
        let done = server.command(token, args).arg("--json").output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", words(&done));
        serde_json::from_slice::<serde_json::Value>(&done.stdout).unwrap()
    };
    let officer = people.privacy_officer.as_str();
    let asked = run(officer, &["approval", "request", "--erasures", "400", "--ground", "customers_asked"]);
    let id = asked["approval_id"].as_str().unwrap();
    let listed = run(&people.supervisor, &["approval", "list"]);
    assert_eq!(listed["approvals"][0]["approval_id"], asked["approval_id"]);
    assert_eq!(run(&people.supervisor, &["approval", "give", id])["approved_by"], "sam");
    run(&people.supervisor, &["approval", "withdraw", id]);
    assert_eq!(run(officer, &["approval", "list"])["approvals"], serde_json::json!([]));
}
