//! Nobody gets past the gate, and what a caller may not see looks, to the last byte, like what is not there.

use std::collections::BTreeSet;
use std::time::Duration;

use oubliette::api::v1;
use tonic::Code;

use crate::chance::Chance;
use crate::fixture::{AGENT, PURPOSES, Server, TEAMS, token_for};
use crate::wire::{Caller, assert_refused, at, chat, connect, details, first, from_now, metadata, seen, until};

const PURPOSE: &str = PURPOSES[0];

fn asked() -> v1::ListRecordsRequest {
    v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn whoever_has_two_roles_one_of_which_must_not_read_reads_nothing() {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let record = Caller::of(&server, &people.ingest).await.store_chat(chat("chat-0001", "ada")).await.unwrap();
    let mut system = Caller::of(&server, &server.admin_token()).await.admin;
    for other in [v1::Role::Admin, v1::Role::Auditor] {
        let roles = vec![v1::Role::Supervisor.into(), other.into()];
        let principal = Some(v1::Principal { name: "max".to_owned(), roles, teams: Vec::new(), ..Default::default() });
        system.set_principal(v1::SetPrincipalRequest { tenant: "acme".to_owned(), principal }).await.unwrap();
        let create =
            v1::CreateTokenRequest { tenant: "acme".to_owned(), principal: "max".to_owned(), expires_at: None };
        let token = system.create_token(create).await.unwrap().into_inner().bearer;
        let both = Caller::of(&server, &token).await;
        for read in [
            both.chat(&record.record_id, PURPOSE).await.map(drop),
            both.record(&record.record_id, PURPOSE).await.map(drop),
            both.list(asked()).await.map(drop),
        ] {
            assert_refused(read, Code::PermissionDenied, "PERMISSION_DENIED");
        }
    }
}

#[tokio::test]
async fn what_may_not_be_seen_looks_like_what_is_not_there() {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let strangers = server.tenant_with_people("globex").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let elsewhere = Caller::of(&server, &strangers.ingest).await;
    let officer = Caller::of(&server, &people.privacy_officer).await;
    // Two records each, a chat and a call, that this agent may not see, each for a reason of its own.
    let mut hidden = Vec::new();
    for (name, change) in HIDDEN {
        let (mut new_chat, mut new_call) =
            (chat(&format!("{name}-chat"), name), metadata(&format!("{name}-call"), name));
        new_chat.details.as_mut().map(change).unwrap();
        new_call.details.as_mut().map(change).unwrap();
        let store = if *name == "other-tenant" { &elsewhere } else { &ingest };
        let ids = (
            store.store_chat(new_chat).await.unwrap().record_id,
            store.store_call(new_call, &[1; 9]).await.unwrap().record_id,
        );
        hidden.push((*name, ids));
    }
    for (name, _) in HIDDEN.iter().filter(|(name, _)| *name != "unassigned") {
        let (case, principal) = match *name {
            "other-case" => ("case-9", AGENT),
            "of-another" => ("case-7", "bert"),
            _ => ("case-7", AGENT),
        };
        ingest.assign(case, name, principal, if *name == "expired" { 2 } else { 3_600 }).await.unwrap();
    }
    ingest.unassign("case-7", "taken-back", AGENT).await.unwrap();
    assert_refused(ingest.unassign("case-7", "taken-back", AGENT).await, Code::NotFound, "NOT_FOUND");
    officer.erase("erase-0001", "erased").await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let agent = Caller::of(&server, &people.agent).await.working_on("case-7");
    let absent = "01890a5d-ac96-774b-bcce-b302099a8057";
    let nothing = seen(&assert_refused(agent.record(absent, PURPOSE).await, Code::NotFound, "NOT_FOUND"));

    // Twice, since an erased record's rows go some time after the erasure.
    for round in ["before", "after"] {
        for (name, (chat, call)) in &hidden {
            let refusals = [
                agent.chat(chat, PURPOSE).await.map(drop),
                agent.record(chat, PURPOSE).await.map(drop),
                agent.call(call, PURPOSE, None).await.map(drop),
                agent.call(call, PURPOSE, Some((0, 1))).await.map(drop),
                // Not even whether a range would be too long, or what kind of record it is.
                agent.call(call, PURPOSE, Some((5, 100))).await.map(drop),
                agent.call(chat, PURPOSE, None).await.map(drop),
                agent.chat(call, PURPOSE).await.map(drop),
                agent.record(call, PURPOSE).await.map(drop),
                agent.chat(absent, PURPOSE).await.map(drop),
                agent.call(absent, PURPOSE, None).await.map(drop),
            ];
            for (place, refusal) in refusals.into_iter().enumerate() {
                let status = refusal.expect_err("an agent saw what it may not");
                assert!(seen(&status) == nothing, "{name}, read {place}, {round} reclaim: {status:?}");
            }
        }
        let records = agent.list(asked()).await.unwrap();
        assert!(records.is_empty(), "a list shows what may not be seen");
        until("the erased customer's objects are gone", async || {
            crate::wire::objects(&server).len() == HIDDEN.len() - 1
        })
        .await;
    }

    // Those who may see it do; so the above was not nothing at all.
    let supervisor = Caller::of(&server, &people.supervisor).await;
    supervisor.chat(&hidden[0].1.0, PURPOSE).await.unwrap();
    supervisor.call(&hidden[0].1.1, PURPOSE, None).await.unwrap();
    supervisor.record(&hidden[7].1.0, PURPOSES[1]).await.unwrap();
    let status = supervisor.record(&hidden[0].1.0, "unknown").await.err().unwrap();
    assert!(seen(&status) == nothing, "a purpose that nobody knows: {status:?}");
}

type Hide = fn(&mut v1::RecordDetails);

const HIDDEN: &[(&str, Hide)] = &[
    ("other-team", |details| {
        details.agent = "bert".to_owned();
        details.team = TEAMS[1].to_owned();
        details.case_id = "case-8".to_owned();
    }),
    // The agent's team, the agent's own, and of the stated case; but nobody gave the case to the agent, or not this one, or not any more.
    ("unassigned", |_| ()),
    ("other-case", |_| ()),
    ("of-another", |_| ()),
    ("expired", |_| ()),
    ("taken-back", |_| ()),
    ("other-tenant", |_| ()),
    ("other-purpose", |details| details.purposes = vec![PURPOSES[1].to_owned()]),
    ("erased", |_| ()),
];

#[tokio::test]
async fn no_token_that_is_not_valid_can_be_told_from_another() {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let mut admin = Caller::of(&server, &server.admin_token()).await.admin;
    let mut token = async |expires_at| {
        let create = v1::CreateTokenRequest { tenant: "acme".to_owned(), principal: AGENT.to_owned(), expires_at };
        let created = admin.create_token(create).await.unwrap().into_inner();
        (created.token.unwrap().token_id, created.bearer)
    };
    let (_, expired) = token(Some(from_now(2))).await;
    let (revoked_id, revoked) = token(None).await;
    for works in [&expired, &revoked] {
        Caller::of(&server, works).await.list(asked()).await.unwrap();
    }
    let reused = Caller::of(&server, &revoked).await;
    let revoke =
        v1::RevokeTokenRequest { tenant: "acme".to_owned(), token_id: revoked_id.clone(), issued_to: String::new() };
    assert!(admin.revoke_token(revoke).await.unwrap().into_inner().token.unwrap().revoked);
    // At once, also on a connection that is open.
    assert_refused(reused.list(asked()).await, Code::Unauthenticated, "UNAUTHENTICATED");
    tokio::time::sleep(Duration::from_millis(2_500)).await;

    let good = people.agent.trim();
    let wrong_secret = format!("{}{}", &good[..good.len() - 1], if good.ends_with('0') { '1' } else { '0' });
    let headers = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some(good.to_owned()),
        Some(format!("Basic {good}")),
        Some(format!("Bearer  {good}")),
        Some(format!("Bearer {}", &good[..good.len() - 1])),
        Some(format!("Bearer {good}0")),
        Some(format!("Bearer {}", good.to_uppercase())),
        Some(format!("Bearer obl_{}_{}", "0".repeat(32), "0".repeat(64))),
        Some(format!("Bearer obl_{revoked_id}_{}", "0".repeat(64))),
        Some(format!("Bearer {wrong_secret}")),
        Some(format!("Bearer {revoked}")),
        Some(format!("Bearer {expired}")),
        Some(format!("Bearer {}", "x".repeat(4_000))),
    ];
    let channel = connect(&server, |endpoint| endpoint).await;
    let mut alike = BTreeSet::new();
    for header in &headers {
        let caller = Caller::over(channel.clone(), header.as_deref());
        let some = "01890a5d-ac96-774b-bcce-b302099a8057";
        for refusal in [
            caller.list(asked()).await.map(drop),
            caller.chat(some, PURPOSE).await.map(drop),
            caller.store_chat(chat("chat-0001", "ada")).await.map(drop),
            caller.upload(vec![first(metadata("call-0001", "ada"))]).await.map(drop),
            caller.erase("erase-0001", "ada").await.map(drop),
            caller.tenant("acme").await.map(drop),
        ] {
            let status = assert_refused(refusal, Code::Unauthenticated, "UNAUTHENTICATED");
            let (_, message, details) = seen(&status);
            alike.insert((message, details));
        }
    }
    assert_eq!(alike.len(), 1, "refusals differ: {alike:?}");
    Caller::over(channel, Some(&format!("Bearer {good}"))).list(asked()).await.unwrap();
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_until_it_is_resumed() {
    let mut server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let others = server.tenant_with_people("globex").await;
    let stored = Caller::of(&server, &people.ingest).await.store_chat(chat("chat-0001", "ada")).await.unwrap();
    let own_admin = token_for(&server.admin_client().await, "acme", "boss", v1::Role::Admin, &[]).await;
    let mut admin = Caller::of(&server, &server.admin_token()).await.admin;
    let suspend = v1::SuspendTenantRequest { name: "acme".to_owned() };
    assert!(admin.suspend_tenant(suspend).await.unwrap().into_inner().tenant.unwrap().suspended);
    for after_restart in [false, true] {
        if after_restart {
            server.kill9();
            server.restart().await;
        }
        let refusals = [
            Caller::of(&server, &people.ingest).await.store_chat(chat("chat-0002", "bob")).await.map(drop),
            Caller::of(&server, &people.agent).await.chat(&stored.record_id, PURPOSE).await.map(drop),
            Caller::of(&server, &people.supervisor).await.list(asked()).await.map(drop),
            Caller::of(&server, &people.privacy_officer).await.erase("erase-0001", "ada").await.map(drop),
            Caller::of(&server, &own_admin).await.tenant("").await.map(drop),
        ];
        for refusal in refusals {
            assert_refused(refusal, Code::PermissionDenied, "TENANT_SUSPENDED");
        }
        // Whoever has no valid token of the tenant does not learn of it.
        let forged = format!("{}{}", &people.agent[..people.agent.len() - 4], "0000");
        let forged = Caller::of(&server, &forged).await.list(asked()).await;
        assert_refused(forged, Code::Unauthenticated, "UNAUTHENTICATED");
        Caller::of(&server, &others.ingest).await.store_chat(chat("chat-0001", "ada")).await.unwrap();
    }
    let mut admin = Caller::of(&server, &server.admin_token()).await.admin;
    let resume = v1::ResumeTenantRequest { name: "acme".to_owned() };
    assert!(!admin.resume_tenant(resume).await.unwrap().into_inner().tenant.unwrap().suspended);
    let supervisor = Caller::of(&server, &people.supervisor).await;
    assert!(supervisor.list(asked()).await.unwrap() == std::slice::from_ref(&stored));
    supervisor.assign("case-7", "ada", AGENT, 60).await.unwrap();
    let agent = Caller::of(&server, &people.agent).await.working_on("case-7");
    agent.chat(&stored.record_id, PURPOSE).await.unwrap();
}

/// The customers whose case the agent works on.
const ON_CASE: [&str; 2] = ["ada", "cyd"];

/// Stores records of three customers, cases, agents and both teams, at different times; gives them in the order of their ids.
async fn many(ingest: &Caller, seeded: &mut Chance) -> Vec<v1::Record> {
    let mut records = Vec::new();
    for number in 0..60 {
        let pick = |names: [&str; 3], at: u64| names[usize::try_from(at % 3).unwrap()].to_owned();
        let told = v1::RecordDetails {
            case_id: pick(["", "case-1", "case-2"], seeded.next()),
            agent: pick([AGENT, "bert", "cleo"], seeded.next()),
            team: pick(["", TEAMS[0], TEAMS[1]], seeded.next()),
            started_at: Some(at(1_700_000_000 + i64::try_from(seeded.below_u64(1_000)).unwrap())),
            ended_at: None,
            purposes: PURPOSES[..1 + seeded.below(2)].iter().map(|p| (*p).to_owned()).collect(),
            ..details(&pick(["ada", "bob", "cyd"], seeded.next()))
        };
        let new = v1::CreateTranscriptRequest { details: Some(told), ..chat(&format!("chat-{number:04}"), "any") };
        records.push(ingest.store_chat(new).await.unwrap());
    }
    records.sort_by(|one, other| one.record_id.cmp(&other.record_id));
    records
}

#[tokio::test]
async fn lists_show_all_that_may_be_seen_once_and_nothing_else() {
    let server = Server::start_with(&[("limits.list_scan_rows", "200")]).await;
    let people = server.tenant_with_people("acme").await;
    let strangers = server.tenant_with_people("globex").await;
    Caller::of(&server, &strangers.ingest).await.store_chat(chat("chat-0001", "ada")).await.unwrap();
    let mut seeded = Chance::of_test("gate, 31");
    let all = many(&Caller::of(&server, &people.ingest).await, &mut seeded).await;
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let agent = Caller::of(&server, &people.agent).await.working_on("case-1");
    for customer in ON_CASE {
        supervisor.assign("case-1", customer, AGENT, 3_600).await.unwrap();
    }

    let named = |customer_id: &str, case_id: &str, agent: &str| v1::ListRecordsRequest {
        customer_id: customer_id.to_owned(),
        case_id: case_id.to_owned(),
        agent: agent.to_owned(),
        ..asked()
    };
    let mut questions = vec![
        asked(),
        named("ada", "", ""),
        named("cyd", "", ""),
        named("nobody", "", ""),
        named("ada", "case-1", ""),
        named("bob", "case-2", ""),
        named("ada", "case-9", ""),
        named("nobody", "case-1", ""),
        named("", "", AGENT),
        named("", "", "bert"),
        named("", "", "ann"),
    ];
    for question in questions.clone() {
        let (from, before) = (Some(at(1_700_000_300)), Some(at(1_700_000_700)));
        questions.push(v1::ListRecordsRequest { started_from: from, ..question.clone() });
        questions.push(v1::ListRecordsRequest { started_before: before, ..question.clone() });
        questions.push(v1::ListRecordsRequest { started_from: from, started_before: before, ..question.clone() });
        questions.push(v1::ListRecordsRequest { purpose: PURPOSES[1].to_owned(), ..question });
    }
    for question in questions {
        for (caller, is_agent) in [(&supervisor, false), (&agent, true)] {
            let expected: Vec<_> = all.iter().filter(|record| fits(record, &question, is_agent)).collect();
            for page_size in [0, 1, 7, 200] {
                let found = caller.list(v1::ListRecordsRequest { page_size, ..question.clone() }).await.unwrap();
                let ids = |records: &[&v1::Record]| -> Vec<String> {
                    records.iter().map(|record| record.record_id.clone()).collect()
                };
                let found: Vec<_> = found.iter().collect();
                assert_eq!(ids(&found), ids(&expected), "agent: {is_agent}, pages of {page_size}");
                assert!(found == expected);
            }
        }
    }
}

/// Pages of a list tell nothing of what the caller may not see: not how much of it there is, nor its ids.
#[tokio::test]
async fn the_pages_of_a_list_tell_nothing_of_what_is_hidden() {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    let ingest = Caller::of(&server, &people.ingest).await;
    let mut seen_by_agent = Vec::new();
    for number in 0..24 {
        let mut one = chat(&format!("chat-{number:04}"), "ada");
        let is_hidden = number % 4 != 3;
        let details = one.details.as_mut().unwrap();
        details.team = TEAMS[usize::from(is_hidden)].to_owned();
        details.agent = "somebody".to_owned();
        details.case_id = "case-8".to_owned();
        let stored = ingest.store_chat(one).await.unwrap();
        if !is_hidden {
            seen_by_agent.push(stored.record_id);
        }
    }
    ingest.assign("case-7", "ada", AGENT, 3_600).await.unwrap();
    let agent = Caller::of(&server, &people.agent).await.working_on("case-7");
    let supervisor = Caller::of(&server, &people.supervisor).await;
    let by_customer = v1::ListRecordsRequest { customer_id: "ada".to_owned(), ..asked() };
    for mut question in [asked(), by_customer] {
        question.page_size = 2;
        question.reader_case_id = "case-7".to_owned();
        let mut listed = Vec::new();
        for page in 0..3 {
            let answer = agent.records.clone().list_records(question.clone()).await.unwrap().into_inner();
            // Three of four records are hidden; the page is full all the same.
            assert_eq!(answer.records.len(), 2, "page {page}");
            listed.extend(answer.records.into_iter().map(|record| record.record_id));
            let token = answer.next_page_token;
            assert!(listed.iter().all(|id| !token.contains(&id.replace('-', ""))), "the token holds a record's id");
            // It is this caller's for this question, and of no use to another.
            let next = v1::ListRecordsRequest { page_token: token, ..question.clone() };
            let stolen = supervisor.records.clone().list_records(next.clone()).await;
            assert_refused(stolen, Code::InvalidArgument, "MALFORMED");
            let other = v1::ListRecordsRequest { purpose: PURPOSES[1].to_owned(), ..next.clone() };
            assert_refused(agent.records.clone().list_records(other).await, Code::InvalidArgument, "MALFORMED");
            question = next;
        }
        assert_eq!(listed, seen_by_agent);
        let answer = agent.records.clone().list_records(question).await.unwrap().into_inner();
        assert!(answer.records.is_empty() && answer.next_page_token.is_empty());
    }
}

/// Whether a list must show a record, told from the question and the rules alone.
fn fits(record: &v1::Record, question: &v1::ListRecordsRequest, is_agent: bool) -> bool {
    let told = record.details.as_ref().unwrap();
    let started = told.started_at.unwrap().seconds;
    let is_asked = |name: &String, value: &String| name.is_empty() || name == value;
    told.purposes.contains(&question.purpose)
        && is_asked(&question.customer_id, &told.customer_id)
        && is_asked(&question.case_id, &told.case_id)
        && is_asked(&question.agent, &told.agent)
        && question.started_from.is_none_or(|from| started >= from.seconds)
        && question.started_before.is_none_or(|before| started < before.seconds)
        && (!is_agent
            || (ON_CASE.contains(&told.customer_id.as_str())
                && (told.case_id == "case-1" || told.agent == AGENT || told.team == TEAMS[0])))
}
