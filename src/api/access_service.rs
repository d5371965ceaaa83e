//! `oubliette.v1.AccessService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::gate::Gate;
use super::leaving::leaving;
use super::presented::Presented;
use super::status::ApiError;
use super::v1::access_service_server::AccessService;
use super::{from_proto, page_token, to_proto, v1};
use crate::access::permit::{Permit, TenantScope};
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;

/// The service.
pub(super) struct Cases {
    gate: Arc<Gate>,
}

/// Length of the keys of rows that hold an assignment.
const ROW_KEY: usize = 33;
/// Length of the keys of rows that hold an approval.
const APPROVAL_KEY: usize = 41;

impl Cases {
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    /// The door of the caller's own tenant.
    async fn door<M>(&self, request: Request<M>, action: Action) -> Result<(Permit<TenantScope>, M), ApiError> {
        let caller = self.gate.caller(&Presented::of(&request)).await?;
        Ok((self.gate.door(&caller, action, None, None).await?, request.into_inner()))
    }

    async fn assign(&self, request: Request<v1::AssignCaseRequest>) -> Result<v1::AssignCaseResponse, ApiError> {
        let (permit, message) = self.door(request, Action::AssignCase).await?;
        let assignment = from_proto::assign_case(message, Timestamp::now())?;
        self.gate.vault.assign_case(permit, assignment.clone()).await?;
        Ok(v1::AssignCaseResponse { assignment: Some(to_proto::case_assignment(&assignment)) })
    }

    async fn unassign(&self, request: Request<v1::UnassignCaseRequest>) -> Result<v1::UnassignCaseResponse, ApiError> {
        let (permit, message) = self.door(request, Action::UnassignCase).await?;
        self.gate.vault.unassign_case(permit, from_proto::unassign_case(message)?).await?;
        Ok(v1::UnassignCaseResponse {})
    }

    async fn list(
        &self,
        request: Request<v1::ListCaseAssignmentsRequest>,
    ) -> Result<Response<v1::ListCaseAssignmentsResponse>, ApiError> {
        let (permit, message) = self.door(request, Action::ListCaseAssignments).await?;
        let (customer, page) = from_proto::list_case_assignments(message)?;
        let behind = page.token.as_deref().map(page_token::read::<ROW_KEY>).transpose()?.map(|key| key.to_vec());
        let page = self.gate.vault.list_case_assignments(permit, customer, behind, page.size).await?;
        Ok(leaving(page, |(found, next)| v1::ListCaseAssignmentsResponse {
            assignments: found.iter().map(to_proto::case_assignment).collect(),
            next_page_token: next.map(|next| page_token::write(&next)).unwrap_or_default(),
        }))
    }

    async fn break_it(&self, request: Request<v1::BreakGlassRequest>) -> Result<v1::BreakGlassResponse, ApiError> {
        let (permit, message) = self.door(request, Action::BreakGlass).await?;
        let glass = from_proto::break_glass(message, Timestamp::now())?;
        let expires_at = Some(to_proto::timestamp(glass.expires));
        self.gate.vault.break_glass(permit, glass).await?;
        self.gate.metrics.alert("glass_broken");
        Ok(v1::BreakGlassResponse { expires_at })
    }
}

impl Cases {
    async fn request_more(
        &self,
        request: Request<v1::RequestApprovalRequest>,
    ) -> Result<v1::RequestApprovalResponse, ApiError> {
        let (permit, message) = self.door(request, Action::RequestApproval).await?;
        let wanted = from_proto::request_approval(message, Timestamp::now())?;
        let approval = self.gate.vault.request_approval(permit, wanted).await?;
        Ok(v1::RequestApprovalResponse { approval: Some(to_proto::approval(&approval)) })
    }

    async fn give(&self, request: Request<v1::GiveApprovalRequest>) -> Result<v1::GiveApprovalResponse, ApiError> {
        let (permit, message) = self.door(request, Action::GiveApproval).await?;
        let id = from_proto::approval_id(&message.approval_id)?;
        let approval = self.gate.vault.give_approval(permit, id).await?;
        Ok(v1::GiveApprovalResponse { approval: Some(to_proto::approval(&approval)) })
    }

    async fn withdraw(
        &self,
        request: Request<v1::WithdrawApprovalRequest>,
    ) -> Result<v1::WithdrawApprovalResponse, ApiError> {
        let (permit, message) = self.door(request, Action::WithdrawApproval).await?;
        self.gate.vault.withdraw_approval(permit, from_proto::approval_id(&message.approval_id)?).await?;
        Ok(v1::WithdrawApprovalResponse {})
    }

    async fn approvals(
        &self,
        request: Request<v1::ListApprovalsRequest>,
    ) -> Result<v1::ListApprovalsResponse, ApiError> {
        let (permit, message) = self.door(request, Action::ListApprovals).await?;
        let page = from_proto::page(message.page_size, message.page_token)?;
        let behind = page.token.as_deref().map(page_token::read::<APPROVAL_KEY>).transpose()?.map(|key| key.to_vec());
        let (found, next) = self.gate.vault.list_approvals(permit, behind, page.size).await?;
        Ok(v1::ListApprovalsResponse {
            approvals: found.iter().map(to_proto::approval).collect(),
            next_page_token: next.map(|next| page_token::write(&next)).unwrap_or_default(),
        })
    }

    async fn explain(&self, request: Request<v1::ExplainAccessRequest>) -> Result<v1::ExplainAccessResponse, ApiError> {
        let (permit, message) = self.door(request, Action::ExplainAccess).await?;
        let (name, action, why, record) = from_proto::explain_access(message)?;
        let (principal, facts) = self.gate.vault.stands_to(permit, name, why.clone(), record).await?;
        let relation = facts.as_ref().map(to_proto::relation);
        Ok(to_proto::explanation(self.gate.explain(&principal, action, why, facts)?, relation))
    }
}

#[tonic::async_trait]
impl AccessService for Cases {
    async fn assign_case(
        &self,
        request: Request<v1::AssignCaseRequest>,
    ) -> Result<Response<v1::AssignCaseResponse>, Status> {
        Ok(Response::new(self.assign(request).await?))
    }

    async fn unassign_case(
        &self,
        request: Request<v1::UnassignCaseRequest>,
    ) -> Result<Response<v1::UnassignCaseResponse>, Status> {
        Ok(Response::new(self.unassign(request).await?))
    }

    async fn list_case_assignments(
        &self,
        request: Request<v1::ListCaseAssignmentsRequest>,
    ) -> Result<Response<v1::ListCaseAssignmentsResponse>, Status> {
        Ok(self.list(request).await?)
    }

    async fn break_glass(
        &self,
        request: Request<v1::BreakGlassRequest>,
    ) -> Result<Response<v1::BreakGlassResponse>, Status> {
        Ok(Response::new(self.break_it(request).await?))
    }

    async fn request_approval(
        &self,
        request: Request<v1::RequestApprovalRequest>,
    ) -> Result<Response<v1::RequestApprovalResponse>, Status> {
        Ok(Response::new(self.request_more(request).await?))
    }

    async fn give_approval(
        &self,
        request: Request<v1::GiveApprovalRequest>,
    ) -> Result<Response<v1::GiveApprovalResponse>, Status> {
        Ok(Response::new(self.give(request).await?))
    }

    async fn withdraw_approval(
        &self,
        request: Request<v1::WithdrawApprovalRequest>,
    ) -> Result<Response<v1::WithdrawApprovalResponse>, Status> {
        Ok(Response::new(self.withdraw(request).await?))
    }

    async fn list_approvals(
        &self,
        request: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        Ok(Response::new(self.approvals(request).await?))
    }

    async fn explain_access(
        &self,
        request: Request<v1::ExplainAccessRequest>,
    ) -> Result<Response<v1::ExplainAccessResponse>, Status> {
        Ok(Response::new(self.explain(request).await?))
    }
}
