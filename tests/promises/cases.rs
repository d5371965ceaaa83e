//! An agent reads on a case that was assigned, in an emergency behind broken glass, and nobody reads while a tenant is frozen.

use std::time::Duration;

use oubliette::api::v1;
use oubliette::api::v1::download_recording_response::Payload;
use tonic::Code;

use crate::audit::{auditor, entries};
use crate::fixture::{AGENT, PURPOSES, People, Server, TEAMS, free_port, metrics_at, token_for};
use crate::wire::{Caller, assert_refused, chat, connect, info, metadata, seen};

const PURPOSE: &str = PURPOSES[0];
const REASON: &str = "an ambulance asks for the address";

/// A chat of another team and agent, under another case.
fn far(request: &str, customer: &str) -> v1::CreateTranscriptRequest {
    let mut far = chat(request, customer);
    let details = far.details.as_mut().unwrap();
    (details.agent, details.team, details.case_id) = ("bert".to_owned(), TEAMS[1].to_owned(), "case-8".to_owned());
    far
}

/// The value of a metric's line.
fn metric(port: u16, line: &str) -> u64 {
    let text = metrics_at(port);
    let value = text.lines().find_map(|one| one.strip_prefix(line));
    value.map_or(0, |value| value.trim().parse().unwrap())
}

async fn start() -> (Server, People) {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    (server, people)
}

#[tokio::test]
async fn an_agent_reads_on_an_assigned_case_and_only_for_as_long_as_it_is() {
    let (mut server, people) = start().await;
    let ingest = Caller::of(&server, &people.ingest).await;
    // Before the first record of the customer: the case comes first.
    ingest.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    let near = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    let far_one = ingest.store_chat(far("chat-0002", "ada")).await.unwrap().record_id;
    let bobs = ingest.store_chat(chat("chat-0003", "bob")).await.unwrap().record_id;
    for after_restart in [false, true] {
        if after_restart {
            server.kill9();
            server.restart().await;
        }
        let agent = Caller::of(&server, &people.agent).await;
        let on_case = agent.clone().working_on("case-7");
        on_case.chat(&near, PURPOSE).await.unwrap();
        on_case.record(&near, PURPOSE).await.unwrap();
        for refusal in [
            agent.chat(&near, PURPOSE).await,
            agent.clone().working_on("case-70").chat(&near, PURPOSE).await,
            on_case.chat(&far_one, PURPOSE).await,
            on_case.chat(&bobs, PURPOSE).await,
        ] {
            assert_refused(refusal, Code::NotFound, "NOT_FOUND");
        }
    }
    let ingest = Caller::of(&server, &people.ingest).await;
    // Another case of the same customer shows what belongs to it, and still not what is far from both.
    ingest.assign("case-8", "ada", AGENT, 3_600).await.unwrap();
    let on_other = Caller::of(&server, &people.agent).await.working_on("case-8");
    on_other.chat(&far_one, PURPOSE).await.unwrap();
    let mut assigned: Vec<_> = ingest.assignments("ada").await.unwrap().into_iter().map(|one| one.case_id).collect();
    assigned.sort();
    assert_eq!(assigned, ["case-7", "case-8"]);
    ingest.unassign("case-8", "ada", AGENT).await.unwrap();
    assert_refused(on_other.chat(&far_one, PURPOSE).await, Code::NotFound, "NOT_FOUND");
    // Assigned again, the newer time counts.
    ingest.assign("case-7", "ada", AGENT, 2).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    let on_case = Caller::of(&server, &people.agent).await.working_on("case-7");
    assert_refused(on_case.chat(&near, PURPOSE).await, Code::NotFound, "NOT_FOUND");
    assert!(ingest.assignments("ada").await.unwrap().is_empty(), "an expired assignment is listed");
}

#[tokio::test]
async fn an_erased_customer_gets_no_case_and_a_bad_assignment_is_told_by_its_field() {
    let (server, people) = start().await;
    let ingest = Caller::of(&server, &people.ingest).await;
    ingest.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    let record = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    Caller::of(&server, &people.privacy_officer).await.erase("erase-0001", "ada").await.unwrap();
    let on_case = Caller::of(&server, &people.agent).await.working_on("case-7");
    assert_refused(on_case.chat(&record, PURPOSE).await, Code::NotFound, "NOT_FOUND");
    let again = ingest.assign("case-7", "ada", AGENT, 3_600).await;
    assert_refused(again, Code::FailedPrecondition, "CUSTOMER_ERASED");
    assert!(ingest.assignments("ada").await.unwrap().is_empty());
    for (case, customer, principal, seconds, field, why) in [
        ("", "bob", AGENT, 60, "assignment.case_id", "MISSING"),
        ("case-7", "", AGENT, 60, "assignment.customer_id", "MISSING"),
        ("case-7", "bob", "", 60, "assignment.principal", "MISSING"),
        ("case-7", "bob", AGENT, -5, "assignment.expires_at", "OUT_OF_RANGE"),
        ("case-7", "bob", AGENT, 91 * 24 * 3_600, "assignment.expires_at", "OUT_OF_RANGE"),
    ] {
        let refused = ingest.assign(case, customer, principal, seconds).await;
        let status = assert_refused(refused, Code::InvalidArgument, why);
        assert_eq!(info(&status, "field").as_deref(), Some(field));
    }
}

#[tokio::test]
async fn broken_glass_shows_one_customer_for_a_short_time_and_is_told() {
    let port = free_port();
    let server = Server::start_with(&[("metrics.address", &format!("\"127.0.0.1:{port}\""))]).await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let record = ingest.store_chat(far("chat-0001", "ada")).await.unwrap().record_id;
    let bobs = ingest.store_chat(far("chat-0002", "bob")).await.unwrap().record_id;
    let agent = Caller::of(&server, &people.agent).await;
    assert_refused(agent.chat(&record, PURPOSE).await, Code::NotFound, "NOT_FOUND");
    for (reason, seconds, field) in [("", 5, "reason"), ("too short", 5, "reason"), (REASON, 3_601, "seconds")] {
        let refused = agent.break_glass("ada", reason, seconds).await;
        assert_eq!(info(&refused.err().unwrap(), "field").as_deref(), Some(field));
    }
    let alerts = "oubliette_alerts_total{sort=\"glass_broken\"} ";
    let before = metric(port, alerts);
    agent.break_glass("ada", REASON, 3).await.unwrap();
    agent.chat(&record, PURPOSE).await.unwrap();
    // Of this customer only, and for a purpose that the record allows.
    assert_refused(agent.chat(&bobs, PURPOSE).await, Code::NotFound, "NOT_FOUND");
    assert_refused(agent.chat(&record, "unknown").await, Code::NotFound, "NOT_FOUND");
    // Whether there is such a customer is not told.
    let (there, absent) = (agent.break_glass("bob", REASON, 1).await, agent.break_glass("nobody", REASON, 1).await);
    assert!(there.unwrap().expires_at.is_some() && absent.unwrap().expires_at.is_some());
    assert_eq!(metric(port, alerts) - before, 3);
    // Not even by how much is written.
    let seen = entries(&auditor(&server, "acme").await).await;
    let of_glass = |event: &str| {
        let is = |entry: &&v1::LogEntry| entry.event == event && entry.fields.contains_key("until_ms");
        seen.iter().filter(|entry| entry.action == "BreakGlass").filter(is).count()
    };
    assert_eq!(of_glass("granted"), 3);
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    assert_refused(agent.chat(&record, PURPOSE).await, Code::NotFound, "NOT_FOUND");
}

#[tokio::test]
async fn nothing_of_a_frozen_tenant_is_read_and_it_can_be_unfrozen() {
    let (mut server, people) = start().await;
    let others = server.tenant_with_people("globex").await;
    let boss = token_for(&server.admin_client().await, "acme", "boss", v1::Role::Admin, &[]).await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let stored = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap().record_id;
    ingest.store_chat(chat("chat-0002", "bob")).await.unwrap();
    let call = ingest.store_call(metadata("call-0001", "ada"), &vec![7; 4 << 20]).await.unwrap().record_id;
    let small = |endpoint: tonic::transport::Endpoint| {
        endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535)
    };
    let header = format!("Bearer {}", people.supervisor);
    let slow = Caller::over(connect(&server, small).await, Some(&header));
    let request = v1::DownloadRecordingRequest { record_id: call, purpose: PURPOSE.to_owned(), ..Default::default() };
    let mut open = slow.records.clone().download_recording(request).await.unwrap().into_inner();
    assert!(matches!(open.message().await.unwrap().unwrap().payload, Some(Payload::Header(_))));

    let officer = Caller::of(&server, &people.privacy_officer).await;
    // What is not frozen and unfrozen all the same does not let the open download get away.
    let admin = Caller::of(&server, &boss).await;
    admin.admin.clone().unfreeze_tenant(v1::UnfreezeTenantRequest::default()).await.unwrap();
    let freeze = v1::FreezeTenantRequest::default();
    assert!(officer.admin.clone().freeze_tenant(freeze).await.unwrap().into_inner().tenant.unwrap().frozen);
    let ended = loop {
        match open.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the download ran to its end"),
            Err(status) => break status,
        }
    };
    assert_refused::<()>(Err(ended), Code::FailedPrecondition, "TENANT_FROZEN");
    for after_restart in [false, true] {
        if after_restart {
            server.kill9();
            server.restart().await;
        }
        let supervisor = Caller::of(&server, &people.supervisor).await;
        let list = v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), ..Default::default() };
        for refusal in [
            supervisor.chat(&stored, PURPOSE).await.map(drop),
            supervisor.record(&stored, PURPOSE).await.map(drop),
            supervisor.list(list.clone()).await.map(drop),
        ] {
            assert_refused(refusal, Code::FailedPrecondition, "TENANT_FROZEN");
        }
        let ingest = Caller::of(&server, &people.ingest).await;
        assert_refused(ingest.assignments("ada").await, Code::FailedPrecondition, "TENANT_FROZEN");
        // Not even to see whether it opens.
        let system = Caller::of(&server, &server.admin_token()).await;
        let verified = system.admin.clone().verify_records(v1::VerifyRecordsRequest::default()).await.unwrap();
        let v1::VerifyRecordsResponse { opened, erased, frozen, .. } = verified.into_inner();
        assert!(opened == 0 && frozen + erased > 2, "{opened} opened, {frozen} of a frozen tenant, {erased} erased");
        // Nothing is lost meanwhile, and rights are carried out.
        ingest.store_chat(chat(&format!("chat-1{after_restart}"), "cyd")).await.unwrap();
        let officer = Caller::of(&server, &people.privacy_officer).await;
        if !after_restart {
            officer.erase("erase-0001", "bob").await.unwrap();
        }
        // It is no other's matter, and whoever froze it does not unfreeze it.
        Caller::of(&server, &others.supervisor).await.list(list).await.unwrap();
        let unfreeze = officer.admin.clone().unfreeze_tenant(v1::UnfreezeTenantRequest::default()).await;
        assert_refused(unfreeze, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    let boss = Caller::of(&server, &boss).await;
    let unfreeze = boss.admin.clone().unfreeze_tenant(v1::UnfreezeTenantRequest::default()).await;
    assert!(!unfreeze.unwrap().into_inner().tenant.unwrap().frozen);
    let supervisor = Caller::of(&server, &people.supervisor).await;
    supervisor.chat(&stored, PURPOSE).await.unwrap();
    let absent = supervisor.chat("01890a5d-ac96-774b-bcce-b302099a8057", PURPOSE).await.err().unwrap();
    assert_eq!(seen(&absent).0, Code::NotFound);
}
