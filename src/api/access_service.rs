//! `oubliette.v1.AccessService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::gate::Gate;
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
    ) -> Result<v1::ListCaseAssignmentsResponse, ApiError> {
        let (permit, message) = self.door(request, Action::ListCaseAssignments).await?;
        let (customer, page) = from_proto::list_case_assignments(message)?;
        let behind = page.token.as_deref().map(page_token::read::<ROW_KEY>).transpose()?.map(|key| key.to_vec());
        let (found, next) = self.gate.vault.list_case_assignments(permit, customer, behind, page.size).await?;
        Ok(v1::ListCaseAssignmentsResponse {
            assignments: found.iter().map(to_proto::case_assignment).collect(),
            next_page_token: next.map(|next| page_token::write(&next)).unwrap_or_default(),
        })
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
        Ok(Response::new(self.list(request).await?))
    }

    async fn break_glass(
        &self,
        request: Request<v1::BreakGlassRequest>,
    ) -> Result<Response<v1::BreakGlassResponse>, Status> {
        Ok(Response::new(self.break_it(request).await?))
    }

    async fn explain_access(
        &self,
        request: Request<v1::ExplainAccessRequest>,
    ) -> Result<Response<v1::ExplainAccessResponse>, Status> {
        Ok(Response::new(self.explain(request).await?))
    }
}
