//! `oubliette.v1.PrivacyService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::gate::Gate;
use super::status::ApiError;
use super::v1::privacy_service_server::PrivacyService;
use super::{from_proto, to_proto, v1};
use crate::domain::action::Action;

/// The service.
pub(super) struct Privacy {
    gate: Arc<Gate>,
}

impl Privacy {
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    async fn erase(&self, request: Request<v1::EraseCustomerRequest>) -> Result<v1::EraseCustomerResponse, ApiError> {
        let caller = self.gate.caller(request.metadata()).await?;
        let (_, customer) = from_proto::erase_customer(request.into_inner())?;
        let permit = self.gate.door(&caller, Action::EraseCustomer, None, None).await?;
        let receipt = self.gate.vault.erase_customer(permit, customer).await?;
        self.gate.metrics.erasures.inc();
        // Rows and objects are noise by now; giving their space back is not waited for.
        let vault = Arc::clone(&self.gate.vault);
        tokio::spawn(async move {
            if let Err(error) = vault.reclaim().await {
                tracing::warn!(%error, "space of an erased customer was not given back; tried again at the next erasure");
            }
        });
        Ok(v1::EraseCustomerResponse { receipt: Some(to_proto::receipt(&receipt, &caller.tenant_name)) })
    }
}

#[tonic::async_trait]
impl PrivacyService for Privacy {
    async fn erase_customer(
        &self,
        request: Request<v1::EraseCustomerRequest>,
    ) -> Result<Response<v1::EraseCustomerResponse>, Status> {
        Ok(Response::new(self.erase(request).await?))
    }
}
