//! Tenants stand apart: each has its own settings, people and limits, its admins rule nothing else, and only those who run the
//! service give more.

use std::time::Duration;

use oubliette::api::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::chance::Chance;
use crate::fixture::{PURPOSES, People, Server, TEAMS, token_for};
use crate::wire::{Caller, assert_refused, chat, chunk, first, from_now, info, metadata, objects, seen, until};

struct House {
    server: Server,
    people: People,
    system: Caller,
    /// An admin of `acme`.
    boss: Caller,
}

impl House {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let server = Server::start_with(settings).await;
        let people = server.tenant_with_people("acme").await;
        let boss = token_for(&server.admin_client().await, "acme", "boss", v1::Role::Admin, &[]).await;
        let boss = Caller::of(&server, &boss).await;
        let system = Caller::of(&server, &server.admin_token()).await;
        Self { server, people, system, boss }
    }

    /// Sets the quotas of `acme`, as those who run the service may.
    async fn set_quotas(&self, quotas: v1::Quotas) {
        let mut settings = self.system.tenant("acme").await.unwrap().settings.unwrap();
        settings.quotas = Some(quotas);
        update(&self.system, "acme", settings).await.unwrap();
    }
}

async fn update(caller: &Caller, name: &str, settings: v1::TenantSettings) -> Result<v1::TenantSettings, Status> {
    let request = v1::UpdateTenantSettingsRequest { name: name.to_owned(), settings: Some(settings) };
    let answer = caller.admin.clone().update_tenant_settings(request).await?;
    Ok(answer.into_inner().tenant.unwrap().settings.unwrap())
}

#[tokio::test]
async fn a_tenants_purposes_only_grow() {
    let house = House::start(&[]).await;
    let ingest = Caller::of(&house.server, &house.people.ingest).await;
    let stored = ingest.store_chat(chat("chat-0001", "ada")).await.unwrap();
    let before = house.boss.tenant("").await.unwrap().settings.unwrap();
    let with = |purposes: &[&str]| v1::TenantSettings {
        purposes: purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
        ..before.clone()
    };
    for fewer in [&PURPOSES[..1], &PURPOSES[1..], &["quality", "support"], &["support", "other", "quality"], &["new"]] {
        for caller in [&house.boss, &house.system] {
            let refused = update(caller, "acme", with(fewer)).await;
            let status = assert_refused(refused, Code::InvalidArgument, "MALFORMED");
            assert_eq!(info(&status, "field").as_deref(), Some("settings.purposes"));
        }
    }
    assert!(house.boss.tenant("acme").await.unwrap().settings.unwrap() == before);

    let mut more = with(&["support", "quality", "training"]);
    more.teams = vec![TEAMS[0].to_owned(), "night".to_owned()];
    more.retention_default_days = 30;
    more.rule_set = "ccpa".to_owned();
    // Absent quotas and "no limit" are told alike.
    more.quotas = before.quotas;
    assert!(update(&house.boss, "", more.clone()).await.unwrap() == more);
    assert!(house.boss.tenant("").await.unwrap().settings.unwrap() == more);
    let supervisor = Caller::of(&house.server, &house.people.supervisor).await;
    // What was stored is read for what it was stored for, as before, and for nothing that came later.
    assert!(supervisor.record(&stored.record_id, "quality").await.unwrap() == stored);
    assert_refused(supervisor.record(&stored.record_id, "training").await, Code::NotFound, "NOT_FOUND");
    let mut for_training = chat("chat-0002", "ada");
    for_training.details.as_mut().unwrap().purposes = vec!["training".to_owned()];
    let for_training = ingest.store_chat(for_training).await.unwrap();
    supervisor.record(&for_training.record_id, "training").await.unwrap();
}

#[tokio::test]
async fn an_admin_of_a_tenant_rules_that_tenant_and_no_other() {
    let house = House::start(&[]).await;
    let strangers = house.server.tenant_with_people("globex").await;
    let mut theirs = house.system.admin.clone();
    let listed = v1::ListTokensRequest { tenant: "globex".to_owned(), ..Default::default() };
    let their_token = theirs.list_tokens(listed).await.unwrap().into_inner().tokens.remove(0).token_id;
    let settings = house.boss.tenant("").await.unwrap().settings.unwrap();

    let mut first_time = None;
    for name in ["globex", "system", "nosuch"] {
        let tenant = name.to_owned();
        let mut boss = house.boss.admin.clone();
        let principal =
            Some(v1::Principal { name: "mole".to_owned(), roles: vec![6], teams: Vec::new(), ..Default::default() });
        let mole = v1::CreateTokenRequest { tenant: tenant.clone(), principal: "sam".to_owned(), expires_at: None };
        let revoke =
            v1::RevokeTokenRequest { tenant: tenant.clone(), token_id: their_token.clone(), issued_to: String::new() };
        let refusals = [
            house.boss.tenant(name).await.map(drop),
            update(&house.boss, name, settings.clone()).await.map(drop),
            boss.suspend_tenant(v1::SuspendTenantRequest { name: tenant.clone() }).await.map(drop),
            boss.resume_tenant(v1::ResumeTenantRequest { name: tenant.clone() }).await.map(drop),
            boss.set_principal(v1::SetPrincipalRequest { tenant: tenant.clone(), principal }).await.map(drop),
            boss.list_principals(v1::ListPrincipalsRequest { tenant: tenant.clone(), ..Default::default() })
                .await
                .map(drop),
            boss.create_token(mole).await.map(drop),
            boss.revoke_token(revoke).await.map(drop),
            boss.list_tokens(v1::ListTokensRequest { tenant, ..Default::default() }).await.map(drop),
            boss.create_tenant(v1::CreateTenantRequest { name: format!("{name}-2"), settings: Some(settings.clone()) })
                .await
                .map(drop),
            boss.list_tenants(v1::ListTenantsRequest::default()).await.map(drop),
        ];
        for (place, refusal) in refusals.into_iter().enumerate() {
            let status = assert_refused(refusal, Code::PermissionDenied, "PERMISSION_DENIED");
            // Whether there is such a tenant is not told.
            let refused = first_time.get_or_insert_with(|| seen(&status));
            assert!(*refused == seen(&status), "call {place} on {name}: {status:?}");
        }
    }

    // Through the own tenant's door, another's token is one that is not there.
    let mut boss = house.boss.admin.clone();
    let mut revoke = async |token_id: &str| {
        let request =
            v1::RevokeTokenRequest { tenant: String::new(), token_id: token_id.to_owned(), issued_to: String::new() };
        assert_refused(boss.revoke_token(request).await.map(drop), Code::NotFound, "NOT_FOUND")
    };
    assert_eq!(seen(&revoke(&their_token).await), seen(&revoke(&"0".repeat(32)).await));
    for token in [&strangers.ingest, &strangers.agent, &strangers.supervisor, &strangers.privacy_officer] {
        let refused = Caller::of(&house.server, token).await.tenant("").await;
        assert_refused(refused, Code::PermissionDenied, "PERMISSION_DENIED");
    }
    let name = |tenant: v1::Tenant| tenant.name;
    let tenants = theirs.list_tenants(v1::ListTenantsRequest::default()).await.unwrap().into_inner().tenants;
    let mut names: Vec<_> = tenants.into_iter().map(name).collect();
    names.sort();
    assert_eq!(names, ["acme", "globex", "system"]);
}

#[tokio::test]
async fn an_admin_of_a_tenant_cannot_raise_its_quotas() {
    let house = House::start(&[]).await;
    let quotas = v1::Quotas { content_bytes: 1_000_000, records: 1, requests_per_second: 500 };
    house.set_quotas(quotas).await;
    let settings = house.boss.tenant("").await.unwrap().settings.unwrap();
    for raised in [v1::Quotas::default(), v1::Quotas { records: 1_000_000, ..quotas }] {
        let raised = v1::TenantSettings { quotas: Some(raised), ..settings.clone() };
        let status =
            assert_refused(update(&house.boss, "acme", raised).await, Code::PermissionDenied, "PERMISSION_DENIED");
        assert_eq!(info(&status, "field").as_deref(), Some("settings.quotas"));
    }
    for kept in [None, Some(quotas)] {
        let kept = v1::TenantSettings { quotas: kept, ..settings.clone() };
        assert!(update(&house.boss, "acme", kept).await.unwrap().quotas == Some(quotas));
    }
    let ingest = Caller::of(&house.server, &house.people.ingest).await;
    ingest.store_chat(chat("chat-0001", "ada")).await.unwrap();
    let refused = ingest.store_chat(chat("chat-0002", "ada")).await;
    assert_refused(refused, Code::ResourceExhausted, "QUOTA_EXCEEDED");
    house.set_quotas(v1::Quotas { records: 2, ..quotas }).await;
    ingest.store_chat(chat("chat-0002", "ada")).await.unwrap();
}

#[tokio::test]
async fn a_quota_of_records_holds_also_against_many_at_once() {
    let house = House::start(&[]).await;
    house.set_quotas(v1::Quotas { records: 3, ..Default::default() }).await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let ingest = Caller::of(&house.server, &house.people.ingest).await;
        tasks.spawn(async move {
            let customer = format!("customer-{writer}");
            match writer % 2 {
                0 => ingest.store_chat(chat(&format!("chat-{writer:04}"), &customer)).await,
                _ => ingest.store_call(metadata(&format!("call-{writer:04}"), &customer), b"a call").await,
            }
        });
    }
    let outcomes = tasks.join_all().await;
    let stored: Vec<_> = outcomes.iter().flatten().cloned().collect();
    assert_eq!(stored.len(), 3);
    for refused in outcomes.into_iter().filter(Result::is_err) {
        let status = assert_refused(refused, Code::ResourceExhausted, "QUOTA_EXCEEDED");
        assert_eq!(info(&status, "quota").as_deref(), Some("records"));
        assert_eq!(info(&status, "limit").as_deref(), Some("3"));
        assert!(status.get_error_details().quota_failure().is_some());
    }
    assert_eq!(house.system.tenant("acme").await.unwrap().used_records, 3);

    // Reads go on, and an erasure makes room. Whoever was refused was not made a customer.
    let supervisor = Caller::of(&house.server, &house.people.supervisor).await;
    let officer = Caller::of(&house.server, &house.people.privacy_officer).await;
    let customer = |record: &v1::Record| record.details.as_ref().unwrap().customer_id.clone();
    for record in &stored {
        supervisor.record(&record.record_id, PURPOSES[0]).await.unwrap();
    }
    let refused =
        (0..16).map(|writer| format!("customer-{writer}")).find(|one| !stored.iter().any(|r| customer(r) == *one));
    assert_refused(officer.erase("erase-0001", &refused.unwrap()).await, Code::NotFound, "NOT_FOUND");
    officer.erase("erase-0002", &customer(&stored[0])).await.unwrap();
    until("the erased record is not counted", async || house.system.tenant("acme").await.unwrap().used_records == 2)
        .await;
    let ingest = Caller::of(&house.server, &house.people.ingest).await;
    ingest.store_chat(chat("chat-anew", "new")).await.unwrap();
}

#[tokio::test]
async fn a_quota_of_bytes_holds_and_a_refused_upload_leaves_nothing() {
    let house = House::start(&[("limits.part_bytes", "65536")]).await;
    house.set_quotas(v1::Quotas { content_bytes: 300_000, ..Default::default() }).await;
    let ingest = Caller::of(&house.server, &house.people.ingest).await;
    let mut seeded = Chance::of_test("admin, 41");
    let content = seeded.bytes(150_000);
    let stored = ingest.store_call(metadata("call-0001", "ada"), &content).await.unwrap();
    let before = (objects(&house.server), house.system.tenant("acme").await.unwrap());
    assert!((150_000..160_000).contains(&before.1.used_content_bytes), "{}", before.1.used_content_bytes);

    let large = std::iter::once(first(metadata("call-0002", "ada"))).chain(content.chunks(10_000).map(chunk));
    let mut large_chat = chat("chat-0001", "bob");
    large_chat.turns =
        (0..5).map(|_| v1::Turn { speaker: 1, text: seeded.text(60_000), ..Default::default() }).collect();
    for refused in [ingest.upload(large.collect()).await, ingest.store_chat(large_chat).await] {
        let status = assert_refused(refused, Code::ResourceExhausted, "QUOTA_EXCEEDED");
        assert_eq!(info(&status, "quota").as_deref(), Some("content_bytes"));
        assert_eq!(info(&status, "limit").as_deref(), Some("300000"));
    }
    assert_eq!(objects(&house.server), before.0);
    assert!(house.system.tenant("acme").await.unwrap() == before.1);
    // A repeat asks for nothing more; and what a refused upload had taken is given back.
    assert!(ingest.store_call(metadata("call-0001", "ada"), &content).await.unwrap() == stored);
    ingest.store_call(metadata("call-0003", "ada"), &content[..60_000]).await.unwrap();
}

#[tokio::test]
async fn a_tenant_that_calls_too_often_is_told_to_wait_and_the_others_are_not() {
    let house = House::start(&[]).await;
    let others = house.server.tenant_with_people("globex").await;
    house.set_quotas(v1::Quotas { requests_per_second: 5, ..Default::default() }).await;
    let ask = v1::ListRecordsRequest { purpose: PURPOSES[0].to_owned(), ..Default::default() };
    // One limit for all of the tenant's principals and connections.
    let supervisor = Caller::of(&house.server, &house.people.supervisor).await;
    let agent = Caller::of(&house.server, &house.people.agent).await;
    let calls = (0..40).map(|call| {
        let (caller, ask) = (if call % 2 == 0 { supervisor.clone() } else { agent.clone() }, ask.clone());
        async move { caller.list(ask).await.map(drop) }
    });
    let begun = std::time::Instant::now();
    let outcomes = calls.collect::<tokio::task::JoinSet<_>>().join_all().await;
    let most = 5 + 5 * usize::try_from(begun.elapsed().as_secs() + 1).unwrap();
    let passed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!((5..=most).contains(&passed), "{passed} calls passed in {:?}", begun.elapsed());
    for refused in outcomes.into_iter().filter(Result::is_err) {
        let status = assert_refused(refused, Code::ResourceExhausted, "RATE_LIMITED");
        assert_eq!(info(&status, "limit").as_deref(), Some("5"));
        assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some());
    }
    let theirs = Caller::of(&house.server, &others.supervisor).await;
    for _ in 0..20 {
        theirs.list(ask.clone()).await.unwrap();
        house.system.tenant("acme").await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    supervisor.list(ask).await.unwrap();
}

#[tokio::test]
async fn tenants_principals_and_tokens_are_listed_page_by_page() {
    let house = House::start(&[]).await;
    let settings =
        v1::TenantSettings { purposes: vec!["support".to_owned()], rule_set: "gdpr".to_owned(), ..Default::default() };
    let mut system = house.system.admin.clone();
    let mut boss = house.boss.admin.clone();
    for number in 0..7 {
        let request = v1::CreateTenantRequest { name: format!("tenant-{number}"), settings: Some(settings.clone()) };
        system.create_tenant(request.clone()).await.unwrap();
        assert_refused(system.create_tenant(request).await, Code::AlreadyExists, "ALREADY_EXISTS");
        let principal = Some(v1::Principal { name: format!("agent-{number}"), roles: vec![2], ..Default::default() });
        boss.set_principal(v1::SetPrincipalRequest { tenant: String::new(), principal }).await.unwrap();
        let token = v1::CreateTokenRequest {
            principal: format!("agent-{number}"),
            expires_at: Some(from_now(3_600)),
            ..Default::default()
        };
        boss.create_token(token).await.unwrap();
    }
    for page_size in [1, 3, 200] {
        let (mut tenants, mut principals, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        let mut page_token = String::new();
        loop {
            let page =
                system.list_tenants(v1::ListTenantsRequest { page_size, page_token }).await.unwrap().into_inner();
            tenants.extend(page.tenants.into_iter().map(|tenant| tenant.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        loop {
            let asked = v1::ListPrincipalsRequest { tenant: String::new(), page_size, page_token };
            let page = boss.list_principals(asked).await.unwrap().into_inner();
            principals.extend(page.principals.into_iter().map(|principal| principal.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        loop {
            let asked = v1::ListTokensRequest { tenant: String::new(), page_size, page_token };
            let page = boss.list_tokens(asked).await.unwrap().into_inner();
            tokens.extend(page.tokens.into_iter().map(|token| token.principal));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let mut people: Vec<_> = (0..7).map(|number| format!("agent-{number}")).collect();
        people.extend(["ana", "boss", "loader", "petra", "sam"].map(str::to_owned));
        people.sort();
        principals.sort();
        tokens.sort();
        tenants.sort();
        assert_eq!(principals, people);
        assert_eq!(tokens, people);
        let mut names: Vec<_> = (0..7).map(|number| format!("tenant-{number}")).collect();
        names.extend(["acme", "system"].map(str::to_owned));
        names.sort();
        assert_eq!(tenants, names);
    }
}
