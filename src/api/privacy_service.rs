//! `oubliette.v1.PrivacyService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::gate::Gate;
use super::presented::Presented;
use super::status::ApiError;
use super::v1::privacy_service_server::PrivacyService;
use super::{from_proto, page_token, to_proto, v1};
use crate::access::permit::{Permit, TenantScope};
use crate::domain::action::Action;
use crate::domain::codec::hex;
use crate::domain::ids::{CustomerId, RequestId};
use crate::vault::Target;

/// The service.
pub(super) struct Privacy {
    gate: Arc<Gate>,
}

/// Length of the keys of rows that find a receipt.
const ROW_KEY: usize = 33;

impl Privacy {
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    /// The door of the caller's own tenant.
    async fn door<M>(&self, request: Request<M>, action: Action) -> Result<(Permit<TenantScope>, M), ApiError> {
        let caller = self.gate.caller(&Presented::of(&request)).await?;
        Ok((self.gate.door(&caller, action, None, None).await?, request.into_inner()))
    }

    async fn erase(&self, request: Request<v1::EraseCustomerRequest>) -> Result<v1::EraseCustomerResponse, ApiError> {
        let (permit, message) = self.door(request, Action::EraseCustomer).await?;
        let (request, customer) = from_proto::erase_customer(message)?;
        let (receipt, opening) = self.carry_out(permit, Target::Customer(customer), request).await?;
        Ok(v1::EraseCustomerResponse { receipt, opening })
    }

    async fn erase_one(&self, request: Request<v1::EraseRecordRequest>) -> Result<v1::EraseRecordResponse, ApiError> {
        let (permit, message) = self.door(request, Action::EraseRecord).await?;
        let (request, part) = from_proto::erase_record(message)?;
        let (receipt, opening) = self.carry_out(permit, Target::Part(part), request).await?;
        Ok(v1::EraseRecordResponse { receipt, opening })
    }

    async fn carry_out(
        &self,
        permit: Permit<TenantScope>,
        target: Target,
        request: RequestId,
    ) -> Result<(Option<v1::ErasureReceipt>, String), ApiError> {
        let tenant = permit.principal().tenant_name.clone();
        let erasure = self.gate.vault.erase(permit, target, request).await?;
        self.gate.metrics.erasures.inc();
        self.gate.reclaim();
        Ok((Some(to_proto::receipt(erasure.receipt, &tenant)), hex(&*erasure.opening)))
    }

    async fn erase_list(
        &self,
        request: Request<v1::EraseCustomersRequest>,
    ) -> Result<v1::EraseCustomersResponse, ApiError> {
        let (permit, message) = self.door(request, Action::EraseCustomers).await?;
        let (request, customers) = from_proto::erase_customers(message)?;
        let tenant = permit.principal().tenant_name.clone();
        let erased = self.gate.vault.erase_customers(permit, customers.clone(), request).await?;
        let erasures = customers.iter().zip(erased).map(|(customer, outcome)| {
            let customer_id = customer.as_str().to_owned();
            match outcome {
                Ok(erasure) => {
                    self.gate.metrics.erasures.inc();
                    let receipt = to_proto::receipt(erasure.receipt, &tenant);
                    let opening = hex(&*erasure.opening);
                    v1::CustomerErasure { customer_id, receipt: Some(receipt), opening, ..Default::default() }
                }
                Err(error) => {
                    let error = ApiError::from(error);
                    let (reason, message) = (error.kind().1.as_str().to_owned(), error.to_string());
                    v1::CustomerErasure { customer_id, reason, message, ..Default::default() }
                }
            }
        });
        let erasures = erasures.collect();
        self.gate.reclaim();
        Ok(v1::EraseCustomersResponse { erasures })
    }

    async fn readmit(
        &self,
        request: Request<v1::ReadmitCustomerRequest>,
    ) -> Result<v1::ReadmitCustomerResponse, ApiError> {
        let (permit, message) = self.door(request, Action::ReadmitCustomer).await?;
        self.gate.vault.readmit(permit, CustomerId::parse(&message.customer_id)?).await?;
        Ok(v1::ReadmitCustomerResponse {})
    }

    async fn receipt(&self, request: Request<v1::GetReceiptRequest>) -> Result<v1::GetReceiptResponse, ApiError> {
        let (permit, message) = self.door(request, Action::GetReceipt).await?;
        let id = from_proto::receipt_id(&message.receipt_id)?;
        let tenant = permit.principal().tenant_name.clone();
        let receipt = self.gate.vault.get_receipt(permit, id).await?;
        Ok(v1::GetReceiptResponse { receipt: Some(to_proto::receipt(receipt, &tenant)) })
    }

    async fn receipts(&self, request: Request<v1::ListReceiptsRequest>) -> Result<v1::ListReceiptsResponse, ApiError> {
        let (permit, message) = self.door(request, Action::ListReceipts).await?;
        let asked = from_proto::time_span("asked_from", message.asked_from, ("asked_before", message.asked_before))?;
        let page = from_proto::page(message.page_size, message.page_token)?;
        let behind = page.token.as_deref().map(page_token::read::<ROW_KEY>).transpose()?;
        let tenant = permit.principal().tenant_name.clone();
        let (receipts, next) =
            self.gate.vault.list_receipts(permit, asked, behind.map(|key| key.to_vec()), page.size).await?;
        Ok(v1::ListReceiptsResponse {
            receipts: receipts.into_iter().map(|receipt| to_proto::receipt(receipt, &tenant)).collect(),
            next_page_token: next.map(|next| page_token::write(&next)).unwrap_or_default(),
        })
    }

    async fn log_keys(&self, request: Request<v1::ListLogKeysRequest>) -> Result<v1::ListLogKeysResponse, ApiError> {
        let (permit, _) = self.door(request, Action::ListLogKeys).await?;
        let keys = self.gate.vault.log_keys(permit).await?;
        Ok(v1::ListLogKeysResponse { keys: keys.iter().map(ToString::to_string).collect() })
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

    async fn erase_record(
        &self,
        request: Request<v1::EraseRecordRequest>,
    ) -> Result<Response<v1::EraseRecordResponse>, Status> {
        Ok(Response::new(self.erase_one(request).await?))
    }

    async fn erase_customers(
        &self,
        request: Request<v1::EraseCustomersRequest>,
    ) -> Result<Response<v1::EraseCustomersResponse>, Status> {
        Ok(Response::new(self.erase_list(request).await?))
    }

    async fn readmit_customer(
        &self,
        request: Request<v1::ReadmitCustomerRequest>,
    ) -> Result<Response<v1::ReadmitCustomerResponse>, Status> {
        Ok(Response::new(self.readmit(request).await?))
    }

    async fn get_receipt(
        &self,
        request: Request<v1::GetReceiptRequest>,
    ) -> Result<Response<v1::GetReceiptResponse>, Status> {
        Ok(Response::new(self.receipt(request).await?))
    }

    async fn list_receipts(
        &self,
        request: Request<v1::ListReceiptsRequest>,
    ) -> Result<Response<v1::ListReceiptsResponse>, Status> {
        Ok(Response::new(self.receipts(request).await?))
    }

    async fn list_log_keys(
        &self,
        request: Request<v1::ListLogKeysRequest>,
    ) -> Result<Response<v1::ListLogKeysResponse>, Status> {
        Ok(Response::new(self.log_keys(request).await?))
    }
}
