//! The matrix of roles, methods and resources, over the wire: each role may do what the committed table says and nothing else.

use oubliette::api::v1;
use oubliette::domain::action::Action;
use tonic::{Code, Status};

use crate::fixture::{AGENT, PURPOSES, Server, TEAMS, token_for};
use crate::wire::{Caller, chat, metadata, reason};

const PURPOSE: &str = PURPOSES[0];
const MATRIX: &str = include_str!("../../src/access/policy/matrix.txt");
const ROLES: [v1::Role; 6] = [
    v1::Role::Ingest,
    v1::Role::Agent,
    v1::Role::Supervisor,
    v1::Role::PrivacyOfficer,
    v1::Role::Auditor,
    v1::Role::Admin,
];

/// No record has this id.
const ABSENT: &str = "01939c5e-7a1c-7b40-8f3e-0242ac120002";

/// Makes one call of an action in a tenant; whether the gate let it through, whatever came then.
async fn passes(caller: &Caller, action: Action, tenant: &str, record: &v1::Record, number: usize) -> bool {
    let request = format!("matrix-{number:06}");
    let outcome = if action.touches_records() {
        of_customers(caller, action, &record.record_id, &request).await
    } else {
        of_tenants(caller, action, tenant, &request).await
    };
    let Err(status) = outcome else { return true };
    let is_denied = status.code() == Code::PermissionDenied;
    assert_eq!(is_denied, reason(&status) == "PERMISSION_DENIED", "{action:?}: {status:?}");
    assert_ne!(status.code(), Code::Internal, "{action:?}: {status:?}");
    !is_denied
}

async fn of_customers(caller: &Caller, action: Action, id: &str, request: &str) -> Result<(), Status> {
    let list = || v1::ListRecordsRequest { purpose: PURPOSE.to_owned(), ..Default::default() };
    match action {
        Action::CreateTranscript => caller.store_chat(chat(request, "eve")).await.map(drop),
        // Behind the gate: refused by the vault, as the record has no such revision.
        Action::ReviseTranscript => caller.revise(id, 9, chat(request, "ada")).await.map(drop),
        Action::UploadRecording => caller.store_call(metadata(request, "eve"), b"a call").await.map(drop),
        Action::GetTranscript => caller.chat(id, PURPOSE).await.map(drop),
        Action::DownloadRecording => caller.call(id, PURPOSE, None).await.map(drop),
        Action::GetRecord => caller.record(id, PURPOSE).await.map(drop),
        Action::ListRecords => caller.list(list()).await.map(drop),
        Action::EraseCustomer => caller.erase(request, "nobody").await.map(drop),
        Action::EraseCustomers => caller.erase_list(request, &["nobody"]).await.map(drop),
        Action::EraseRecord => caller.erase_record(request, ABSENT, 0).await.map(drop),
        Action::ReadmitCustomer => caller.readmit("nobody").await.map(drop),
        Action::AssignCase => caller.assign("case-1", "eve", AGENT, 60).await,
        Action::UnassignCase => caller.unassign("case-9", "eve", AGENT).await,
        Action::ListCaseAssignments => caller.assignments("eve").await.map(drop),
        Action::ReportExposure => {
            let asked = v1::ReportExposureRequest { principal: "nobody".to_owned(), ..Default::default() };
            caller.audit.clone().report_exposure(asked).await.map(drop)
        }
        Action::BreakGlass => caller.break_glass("nobody", "the matrix is tried out", 1).await.map(drop),
        Action::RequestApproval => {
            let ground = v1::ApprovalGround::Review.into();
            // Refused behind the gate: it asks for nothing.
            let asked = v1::RequestApprovalRequest { ground, ..Default::default() };
            caller.access.clone().request_approval(asked).await.map(drop)
        }
        Action::GiveApproval => {
            let asked = v1::GiveApprovalRequest { approval_id: "0".repeat(48) };
            caller.access.clone().give_approval(asked).await.map(drop)
        }
        Action::WithdrawApproval => {
            let asked = v1::WithdrawApprovalRequest { approval_id: "0".repeat(48) };
            caller.access.clone().withdraw_approval(asked).await.map(drop)
        }
        Action::ListApprovals => {
            caller.access.clone().list_approvals(v1::ListApprovalsRequest::default()).await.map(drop)
        }
        other => panic!("{other:?} does not touch records"),
    }
}

async fn of_tenants(caller: &Caller, action: Action, tenant: &str, request: &str) -> Result<(), Status> {
    let (mut admin, name) = (caller.admin.clone(), tenant.to_owned());
    let settings = |purposes: &[&str]| v1::TenantSettings {
        purposes: purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
        rule_set: "gdpr".to_owned(),
        teams: TEAMS.map(str::to_owned).to_vec(),
        ..Default::default()
    };
    match action {
        Action::GetReceipt => caller.receipt(&"0".repeat(32)).await.map(drop),
        Action::ListReceipts => caller.receipts(50).await.map(drop),
        Action::ListLogKeys => caller.log_keys().await.map(drop),
        Action::CreateTenant => {
            let create = v1::CreateTenantRequest { name: request.to_owned(), settings: Some(settings(&["p"])) };
            admin.create_tenant(create).await.map(drop)
        }
        Action::GetTenant => caller.tenant(tenant).await.map(drop),
        Action::ListTenants => admin.list_tenants(v1::ListTenantsRequest::default()).await.map(drop),
        Action::UpdateTenantSettings => {
            // Refused by the vault, behind the gate: a purpose is missing.
            let settings = Some(settings(&["another"]));
            admin.update_tenant_settings(v1::UpdateTenantSettingsRequest { name, settings }).await.map(drop)
        }
        Action::SuspendTenant => admin.suspend_tenant(v1::SuspendTenantRequest { name }).await.map(drop),
        Action::ResumeTenant => admin.resume_tenant(v1::ResumeTenantRequest { name }).await.map(drop),
        Action::FreezeTenant => admin.freeze_tenant(v1::FreezeTenantRequest { name }).await.map(drop),
        Action::UnfreezeTenant => admin.unfreeze_tenant(v1::UnfreezeTenantRequest { name }).await.map(drop),
        Action::RequestTenantErasure => {
            admin.request_tenant_erasure(v1::RequestTenantErasureRequest { name }).await.map(drop)
        }
        Action::CancelTenantErasure => {
            admin.cancel_tenant_erasure(v1::CancelTenantErasureRequest { name }).await.map(drop)
        }
        Action::ApproveTenantErasure => {
            let asked = v1::ApproveTenantErasureRequest { request_id: request.to_owned(), name };
            let outcome = admin.approve_tenant_erasure(asked).await.map(drop);
            // Behind the gate: whoever asked cannot approve. That is refused by the vault, not by the policy.
            let is_of_vault = |status: &Status| reason(status) == "SECOND_PERSON";
            if outcome.as_ref().is_err_and(is_of_vault) { Ok(()) } else { outcome }
        }
        Action::SetPrincipal => {
            let principal = Some(v1::Principal {
                name: request.to_owned(),
                roles: vec![1],
                teams: Vec::new(),
                ..Default::default()
            });
            admin.set_principal(v1::SetPrincipalRequest { tenant: name, principal }).await.map(drop)
        }
        Action::ListPrincipals => {
            admin.list_principals(v1::ListPrincipalsRequest { tenant: name, ..Default::default() }).await.map(drop)
        }
        Action::CreateToken => {
            let asked = v1::CreateTokenRequest { tenant: name, principal: "nobody".to_owned(), expires_at: None };
            admin.create_token(asked).await.map(drop)
        }
        Action::BindCertificate => {
            let certificate_name = format!("spiffe://example.org/{request}");
            let principal = "nobody".to_owned();
            let asked = v1::BindCertificateRequest { tenant: name, principal, certificate_name, expires_at: None };
            admin.bind_certificate(asked).await.map(drop)
        }
        Action::RevokeToken => admin
            .revoke_token(v1::RevokeTokenRequest { tenant: name, token_id: "0".repeat(32), issued_to: String::new() })
            .await
            .map(drop),
        Action::VerifyRecords => admin.verify_records(v1::VerifyRecordsRequest::default()).await.map(drop),
        Action::ListEntries => caller.audit.clone().list_entries(v1::ListEntriesRequest::default()).await.map(drop),
        Action::WatchEntries => caller.audit.clone().watch_entries(v1::WatchEntriesRequest::default()).await.map(drop),
        Action::GetCheckpoint => caller.audit.clone().get_checkpoint(v1::GetCheckpointRequest {}).await.map(drop),
        Action::GetInclusionProof => {
            let asked = v1::GetInclusionProofRequest { position: 0, tree_size: 1 };
            caller.audit.clone().get_inclusion_proof(asked).await.map(drop)
        }
        Action::GetConsistencyProof => {
            let asked = v1::GetConsistencyProofRequest { from_size: 1, to_size: 1 };
            caller.audit.clone().get_consistency_proof(asked).await.map(drop)
        }
        Action::ExplainAccess => caller.explain("nobody", "EraseCustomer").await.map(drop),
        Action::ListTokens => {
            admin.list_tokens(v1::ListTokensRequest { tenant: name, ..Default::default() }).await.map(drop)
        }
        other => panic!("{other:?} touches records"),
    }
}

/// What the committed table says of an action, role by role.
fn cells(section: &str, action: Action) -> Vec<&'static str> {
    let from = MATRIX.lines().skip_while(|line| !line.starts_with(section));
    let row =
        from.take_while(|line| !line.is_empty()).find(|line| line.split_whitespace().next() == Some(action.name()));
    row.unwrap_or_else(|| panic!("no {} in the table", action.name())).split_whitespace().skip(1).collect()
}

fn names_a_tenant(action: Action) -> bool {
    use Action::{CreateTenant, ExplainAccess, GetCheckpoint, GetConsistencyProof, GetInclusionProof, GetReceipt};
    use Action::{ListEntries, ListLogKeys, ListReceipts, ListTenants, VerifyRecords, WatchEntries};
    let of_the_ledger = [ListEntries, WatchEntries, GetCheckpoint, GetInclusionProof, GetConsistencyProof];
    let others = [CreateTenant, ExplainAccess, ListTenants, VerifyRecords, GetReceipt, ListReceipts, ListLogKeys];
    let names_none = [&of_the_ledger[..], &others[..]].concat();
    !action.touches_records() && !names_none.contains(&action)
}

#[tokio::test]
async fn each_role_may_do_over_the_wire_what_the_table_says() {
    let server = Server::start().await;
    let people = server.tenant_with_people("acme").await;
    server.tenant_with_people("globex").await;
    let admin = server.admin_client().await;
    let record = Caller::of(&server, &people.ingest).await.store_chat(chat("chat-0001", "ada")).await.unwrap();
    // Whoever may freeze may not always unfreeze.
    let boss = Caller::of(&server, &server.admin_token()).await;
    let mut number = 0;
    for (section, own) in [("a principal of a tenant", "acme"), ("a principal of `system`", "system")] {
        for (place, role) in ROLES.into_iter().enumerate() {
            let teams = if own == "acme" { &TEAMS[..1] } else { &[] };
            let token = token_for(&admin, own, &format!("one-{place}"), role, teams).await;
            let caller = Caller::of(&server, &token).await;
            for action in Action::ALL {
                let cell = cells(section, action)[place];
                let targets = if names_a_tenant(action) { &[own, "globex"][..] } else { &[own][..] };
                for target in targets {
                    number += 1;
                    let expected = match (cell, *target == own) {
                        ("all", _) | ("own", true) | ("others", false) => true,
                        ("-" | "own" | "others", _) => false,
                        other => panic!("the table says {other:?}"),
                    };
                    let passed = passes(&caller, action, target, &record, number).await;
                    assert_eq!(passed, expected, "{} of {own}, {} in {target}", role.as_str_name(), action.name());
                    if passed && action == Action::SuspendTenant {
                        assert!(passes(&caller, Action::ResumeTenant, target, &record, number).await);
                    }
                    if passed && action == Action::FreezeTenant {
                        assert!(passes(&boss, Action::UnfreezeTenant, target, &record, number).await);
                    }
                }
            }
        }
    }
}
