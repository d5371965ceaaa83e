//! Every place of the API that takes an identifier, and who would put one there.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oubliette::api::v1;
use prost::Message as _;
use tonic::Status;

use crate::fixture::PURPOSES;
use crate::wire::{Caller, chat, first, from_now, metadata};

/// Who calls: all of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Ingest,
    Agent,
    Supervisor,
    Officer,
    Auditor,
    Admin,
}

/// What a call needs besides the identifier: things of the caller's own, all good.
pub struct Own {
    pub record: String,
    pub settings: v1::TenantSettings,
    /// A record of the other tenant.
    pub foreign: String,
    requests: AtomicUsize,
}

impl Own {
    pub fn new(record: String, settings: v1::TenantSettings, foreign: String) -> Self {
        Self { record, settings, foreign, requests: AtomicUsize::new(0) }
    }

    /// A request id that nobody used.
    pub fn request(&self) -> String {
        format!("own-request-{}", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// A chat of a customer of its own.
    fn chat(&self, change: impl FnOnce(&mut v1::RecordDetails)) -> v1::CreateTranscriptRequest {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut chat = chat(&format!("own-request-{number}"), &format!("home-{}", number % 40));
        chat.details.as_mut().map(change).unwrap();
        chat
    }
}

/// The encoded answer, or the refusal.
pub type Outcome = Result<Vec<u8>, Status>;
type Asking = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// No identifier of the list gets through, but for the empty one, where that means "not stated".
    Refused,
    /// A legal name gets through, and finds what is the caller's own, or nothing.
    OwnOnly,
    /// A legal name gets through, and something is stored under it. These are tried last.
    Stored,
}

/// One place.
pub struct Place {
    pub method: &'static str,
    pub field: &'static str,
    pub who: &'static [Who],
    pub then: Then,
    pub ask: fn(Caller, String, Arc<Own>) -> Asking,
}

macro_rules! place {
    ($service:ident.$method:ident, $field:literal, $who:expr, $then:ident, |$id:pat_param, $own:pat_param| $message:expr) => {
        Place {
            method: stringify!($method),
            field: $field,
            who: $who,
            then: Then::$then,
            ask: |mut caller, $id, $own| {
                Box::pin(async move { Ok(caller.$service.$method($message).await?.into_inner().encode_to_vec()) })
            },
        }
    };
}

const READERS: &[Who] = &[Who::Supervisor, Who::Agent, Who::Officer];
const INGEST: &[Who] = &[Who::Ingest];
const OFFICER: &[Who] = &[Who::Officer];
const AUDITOR: &[Who] = &[Who::Auditor];
const ADMIN: &[Who] = &[Who::Admin];
const SUPERVISOR: &[Who] = &[Who::Supervisor];
const AGENT: &[Who] = &[Who::Agent];

fn purpose() -> String {
    PURPOSES[0].to_owned()
}

/// The case that the caller works on.
const CASE: &str = "case-9";

fn listed() -> v1::ListRecordsRequest {
    v1::ListRecordsRequest { purpose: purpose(), reader_case_id: CASE.to_owned(), ..Default::default() }
}

fn read(record_id: String) -> v1::GetRecordRequest {
    v1::GetRecordRequest { record_id, purpose: purpose(), reader_case_id: CASE.to_owned() }
}

/// All places.
pub fn places() -> Vec<Place> {
    [reading(), storing(), erasing(), cases(), tenants(), people()].into_iter().flatten().collect()
}

fn reading() -> Vec<Place> {
    vec![
        place!(records.get_record, "record_id", READERS, Refused, |id, _| read(id)),
        place!(records.get_transcript, "record_id", READERS, Refused, |id, _| {
            let v1::GetRecordRequest { record_id, purpose, reader_case_id } = read(id);
            v1::GetTranscriptRequest { record_id, purpose, reader_case_id, revision: 0 }
        }),
        Place {
            method: "download_recording",
            field: "record_id",
            who: READERS,
            then: Then::Refused,
            ask: |caller, id, _| Box::pin(download(caller, id)),
        },
        place!(records.get_record, "purpose", SUPERVISOR, Refused, |purpose, own| {
            v1::GetRecordRequest { purpose, ..read(own.record.clone()) }
        }),
        place!(records.get_record, "reader_case_id", AGENT, Refused, |reader_case_id, own| {
            v1::GetRecordRequest { reader_case_id, ..read(own.record.clone()) }
        }),
        place!(records.get_record, "reader_case_id", AGENT, Refused, |reader_case_id, own| {
            v1::GetRecordRequest { reader_case_id, ..read(own.foreign.clone()) }
        }),
        place!(records.list_records, "purpose", SUPERVISOR, OwnOnly, |purpose, _| {
            v1::ListRecordsRequest { purpose, ..listed() }
        }),
        place!(records.list_records, "reader_case_id", AGENT, OwnOnly, |reader_case_id, _| {
            v1::ListRecordsRequest { reader_case_id, ..listed() }
        }),
        place!(records.list_records, "customer_id", SUPERVISOR, OwnOnly, |customer_id, _| {
            v1::ListRecordsRequest { customer_id, ..listed() }
        }),
        place!(records.list_records, "case_id", SUPERVISOR, OwnOnly, |case_id, _| v1::ListRecordsRequest {
            case_id,
            customer_id: "vera".to_owned(),
            ..listed()
        }),
        place!(records.list_records, "agent", SUPERVISOR, OwnOnly, |agent, _| v1::ListRecordsRequest {
            agent,
            ..listed()
        }),
        place!(records.list_records, "page_token", SUPERVISOR, Refused, |page_token, _| {
            v1::ListRecordsRequest { page_token, ..listed() }
        }),
    ]
}

async fn report(mut caller: Caller, asked: v1::ReportExposureRequest) -> Outcome {
    let mut pieces = caller.audit.report_exposure(asked).await?.into_inner();
    let mut all = Vec::new();
    while let Some(piece) = pieces.message().await? {
        all.extend(piece.encode_to_vec());
    }
    Ok(all)
}

async fn download(mut caller: Caller, record_id: String) -> Outcome {
    let v1::GetRecordRequest { record_id, purpose, reader_case_id } = read(record_id);
    let asked = v1::DownloadRecordingRequest { record_id, purpose, reader_case_id, range: None };
    let mut stream = caller.records.download_recording(asked).await?.into_inner();
    let mut all = Vec::new();
    while let Some(message) = stream.message().await? {
        all.extend(message.encode_to_vec());
    }
    Ok(all)
}

fn storing() -> Vec<Place> {
    vec![
        place!(records.create_transcript, "request_id", INGEST, Stored, |request_id, own| {
            v1::CreateTranscriptRequest { request_id, ..own.chat(|_| ()) }
        }),
        place!(records.create_transcript, "details.customer_id", INGEST, Stored, |id, own| own
            .chat(|to| to.customer_id = id)),
        place!(records.create_transcript, "details.case_id", INGEST, Stored, |id, own| own.chat(|to| to.case_id = id)),
        place!(records.create_transcript, "details.agent", INGEST, Stored, |id, own| own.chat(|to| to.agent = id)),
        place!(records.create_transcript, "details.tags", INGEST, Stored, |id, own| own.chat(|to| to.tags = vec![id])),
        place!(records.create_transcript, "details.team", INGEST, Refused, |id, own| own.chat(|to| to.team = id)),
        place!(records.create_transcript, "details.purposes", INGEST, Refused, |id, own| own
            .chat(|to| to.purposes = vec![id])),
        Place {
            method: "upload_recording",
            field: "metadata.details.customer_id",
            who: INGEST,
            then: Then::Stored,
            ask: |mut caller, id, own| {
                Box::pin(async move {
                    let messages = [first(metadata(&own.request(), &id)), crate::wire::chunk(b"some sound")];
                    let answer = caller.records.upload_recording(tokio_stream::iter(messages)).await?;
                    Ok(answer.into_inner().encode_to_vec())
                })
            },
        },
        place!(records.revise_transcript, "record_id", INGEST, Refused, |record_id, own| {
            let v1::CreateTranscriptRequest { request_id, details, turns } = own.chat(|_| ());
            v1::ReviseTranscriptRequest { request_id, record_id, base_revision: 1, details, turns }
        }),
    ]
}

fn erasing() -> Vec<Place> {
    vec![
        place!(privacy.erase_customer, "customer_id", OFFICER, Refused, |customer_id, own| {
            v1::EraseCustomerRequest { request_id: own.request(), customer_id }
        }),
        place!(privacy.erase_customer, "request_id", OFFICER, Refused, |request_id, _| {
            v1::EraseCustomerRequest { request_id, customer_id: "nobody at all".to_owned() }
        }),
        place!(privacy.erase_customers, "customer_ids", OFFICER, OwnOnly, |id, own| {
            v1::EraseCustomersRequest { request_id: own.request(), customer_ids: vec![id] }
        }),
        place!(privacy.erase_record, "record_id", OFFICER, Refused, |record_id, own| {
            v1::EraseRecordRequest { request_id: own.request(), record_id, revision: 0 }
        }),
        place!(privacy.readmit_customer, "customer_id", OFFICER, Refused, |customer_id, _| {
            v1::ReadmitCustomerRequest { customer_id }
        }),
        place!(privacy.get_receipt, "receipt_id", &[Who::Officer, Who::Auditor], Refused, |receipt_id, _| {
            v1::GetReceiptRequest { receipt_id }
        }),
        place!(privacy.list_receipts, "page_token", &[Who::Officer, Who::Auditor], Refused, |page_token, _| {
            v1::ListReceiptsRequest { page_token, ..Default::default() }
        }),
    ]
}

fn assigned(change: impl FnOnce(&mut v1::CaseAssignment)) -> v1::AssignCaseRequest {
    let mut assignment = v1::CaseAssignment {
        customer_id: "home-1".to_owned(),
        case_id: "case-1".to_owned(),
        principal: "bert".to_owned(),
        expires_at: Some(from_now(60)),
    };
    change(&mut assignment);
    v1::AssignCaseRequest { assignment: Some(assignment) }
}

fn unassigned(change: impl FnOnce(&mut v1::UnassignCaseRequest)) -> v1::UnassignCaseRequest {
    let (customer_id, case_id, principal) = ("vera".to_owned(), CASE.to_owned(), crate::fixture::AGENT.to_owned());
    let mut taken_back = v1::UnassignCaseRequest { customer_id, case_id, principal };
    change(&mut taken_back);
    taken_back
}

fn explained(change: impl FnOnce(&mut v1::ExplainAccessRequest)) -> v1::ExplainAccessRequest {
    let (principal, action) = (crate::fixture::AGENT.to_owned(), "GetRecord".to_owned());
    let mut asked = v1::ExplainAccessRequest { principal, action, purpose: purpose(), ..Default::default() };
    change(&mut asked);
    asked
}

fn cases() -> Vec<Place> {
    vec![
        place!(
            access.assign_case,
            "assignment.customer_id",
            INGEST,
            Stored,
            |id, _| assigned(|to| to.customer_id = id)
        ),
        place!(access.assign_case, "assignment.case_id", INGEST, Stored, |id, _| assigned(|to| to.case_id = id)),
        place!(access.assign_case, "assignment.principal", INGEST, Stored, |id, _| assigned(|to| to.principal = id)),
        place!(access.unassign_case, "customer_id", INGEST, Refused, |id, _| unassigned(|of| of.customer_id = id)),
        place!(access.unassign_case, "case_id", INGEST, Refused, |id, _| unassigned(|of| of.case_id = id)),
        place!(access.unassign_case, "principal", INGEST, Refused, |id, _| unassigned(|of| of.principal = id)),
        place!(access.list_case_assignments, "customer_id", INGEST, OwnOnly, |customer_id, _| {
            v1::ListCaseAssignmentsRequest { customer_id, ..Default::default() }
        }),
        place!(access.list_case_assignments, "page_token", INGEST, Refused, |page_token, _| {
            v1::ListCaseAssignmentsRequest { customer_id: "vera".to_owned(), page_token, ..Default::default() }
        }),
        place!(access.break_glass, "customer_id", AGENT, OwnOnly, |customer_id, _| {
            v1::BreakGlassRequest { customer_id, reason: "an ambulance asks".to_owned(), seconds: 600 }
        }),
        place!(access.give_approval, "approval_id", OFFICER, Refused, |approval_id, _| v1::GiveApprovalRequest {
            approval_id
        }),
        place!(access.withdraw_approval, "approval_id", OFFICER, Refused, |approval_id, _| {
            v1::WithdrawApprovalRequest { approval_id }
        }),
        place!(access.list_approvals, "page_token", OFFICER, Refused, |page_token, _| v1::ListApprovalsRequest {
            page_token,
            ..Default::default()
        }),
        place!(access.explain_access, "principal", ADMIN, Refused, |id, _| explained(|of| of.principal = id)),
        place!(access.explain_access, "action", ADMIN, Refused, |id, _| explained(|of| of.action = id)),
        place!(access.explain_access, "record_id", ADMIN, Refused, |id, _| explained(|of| of.record_id = id)),
        place!(access.explain_access, "purpose", ADMIN, OwnOnly, |id, own| explained(|of| {
            (of.record_id, of.purpose) = (own.record.clone(), id);
        })),
        place!(access.explain_access, "reader_case_id", ADMIN, OwnOnly, |id, own| explained(|of| {
            (of.record_id, of.reader_case_id) = (own.record.clone(), id);
        })),
    ]
}

/// Admins of one tenant name another, or what they think is its name.
fn tenants() -> Vec<Place> {
    vec![
        place!(admin.get_tenant, "name", ADMIN, Refused, |name, _| v1::GetTenantRequest { name }),
        place!(admin.create_tenant, "name", ADMIN, Refused, |name, own| {
            v1::CreateTenantRequest { name, settings: Some(own.settings.clone()) }
        }),
        place!(admin.update_tenant_settings, "name", ADMIN, Refused, |name, own| {
            v1::UpdateTenantSettingsRequest { name, settings: Some(own.settings.clone()) }
        }),
        place!(admin.suspend_tenant, "name", ADMIN, Refused, |name, _| v1::SuspendTenantRequest { name }),
        place!(admin.resume_tenant, "name", ADMIN, Refused, |name, _| v1::ResumeTenantRequest { name }),
        place!(admin.freeze_tenant, "name", &[Who::Admin, Who::Officer], Refused, |name, _| {
            // The empty name is the caller's own tenant, which is needed.
            v1::FreezeTenantRequest { name: if name.is_empty() { "globex".to_owned() } else { name } }
        }),
        place!(admin.unfreeze_tenant, "name", ADMIN, Refused, |name, _| v1::UnfreezeTenantRequest { name }),
        place!(admin.request_tenant_erasure, "name", ADMIN, Refused, |name, _| v1::RequestTenantErasureRequest {
            name
        }),
        place!(admin.cancel_tenant_erasure, "name", ADMIN, Refused, |name, _| v1::CancelTenantErasureRequest { name }),
        place!(admin.approve_tenant_erasure, "name", ADMIN, Refused, |name, own| {
            v1::ApproveTenantErasureRequest { request_id: own.request(), name }
        }),
        place!(admin.list_tenants, "page_token", ADMIN, Refused, |page_token, _| {
            v1::ListTenantsRequest { page_token, ..Default::default() }
        }),
        place!(admin.verify_records, "page_token", ADMIN, Refused, |page_token, _| v1::VerifyRecordsRequest {
            page_token
        }),
    ]
}

fn principal(change: impl FnOnce(&mut v1::Principal)) -> v1::SetPrincipalRequest {
    let mut principal = v1::Principal {
        name: "bert".to_owned(),
        roles: vec![v1::Role::Agent.into()],
        teams: Vec::new(),
        ..Default::default()
    };
    change(&mut principal);
    v1::SetPrincipalRequest { tenant: String::new(), principal: Some(principal) }
}

fn people() -> Vec<Place> {
    vec![
        place!(admin.set_principal, "tenant", ADMIN, Refused, |tenant, _| v1::SetPrincipalRequest {
            tenant,
            ..principal(|_| ())
        }),
        place!(admin.set_principal, "principal.name", ADMIN, Stored, |id, _| principal(|to| to.name = id)),
        place!(admin.set_principal, "principal.teams", ADMIN, Refused, |id, _| principal(|to| to.teams = vec![id])),
        place!(admin.list_principals, "tenant", ADMIN, Refused, |tenant, _| {
            v1::ListPrincipalsRequest { tenant, ..Default::default() }
        }),
        place!(admin.list_principals, "page_token", ADMIN, Refused, |page_token, _| {
            v1::ListPrincipalsRequest { page_token, ..Default::default() }
        }),
        place!(admin.create_token, "tenant", ADMIN, Refused, |tenant, _| {
            v1::CreateTokenRequest { tenant, principal: crate::fixture::AGENT.to_owned(), expires_at: None }
        }),
        place!(admin.create_token, "principal", ADMIN, Refused, |principal, _| {
            v1::CreateTokenRequest { tenant: String::new(), principal, expires_at: None }
        }),
        place!(admin.revoke_token, "tenant", ADMIN, Refused, |tenant, _| {
            v1::RevokeTokenRequest { tenant, token_id: "0".repeat(32), issued_to: String::new() }
        }),
        place!(admin.revoke_token, "token_id", ADMIN, Refused, |token_id, _| {
            v1::RevokeTokenRequest { tenant: String::new(), token_id, issued_to: String::new() }
        }),
        place!(admin.list_tokens, "tenant", ADMIN, Refused, |tenant, _| v1::ListTokensRequest {
            tenant,
            ..Default::default()
        }),
        place!(admin.list_tokens, "page_token", ADMIN, Refused, |page_token, _| {
            v1::ListTokensRequest { page_token, ..Default::default() }
        }),
        place!(audit.list_entries, "principal", AUDITOR, OwnOnly, |principal, _| v1::ListEntriesRequest {
            principal,
            ..Default::default()
        }),
        place!(audit.list_entries, "page_token", AUDITOR, Refused, |page_token, _| v1::ListEntriesRequest {
            page_token,
            ..Default::default()
        }),
        Place {
            method: "report_exposure",
            field: "principal",
            who: OFFICER,
            then: Then::OwnOnly,
            ask: |caller, principal, _| {
                Box::pin(report(caller, v1::ReportExposureRequest { principal, ..Default::default() }))
            },
        },
        Place {
            method: "report_exposure",
            field: "token_id",
            who: OFFICER,
            then: Then::OwnOnly,
            ask: |caller, token_id, _| {
                let principal = crate::fixture::AGENT.to_owned();
                Box::pin(report(caller, v1::ReportExposureRequest { token_id, principal, ..Default::default() }))
            },
        },
    ]
}
