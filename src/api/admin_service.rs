//! `oubliette.v1.AdminService`.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};

use super::gate::Gate;
use super::presented::Presented;
use super::status::ApiError;
use super::v1::admin_service_server::AdminService;
use super::{from_proto, page_token, to_proto, v1};
use crate::access::identity::BearerToken;
use crate::access::permit::{Permit, TenantScope};
use crate::crypto::hash::sha256;
use crate::crypto::secret::random_bytes;
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::codec::hex;
use crate::domain::ids::{TenantId, TenantName, TokenId};
use crate::domain::tenant::TenantEntry;
use crate::vault::{NewToken, VERIFY_MARK, VaultError, VerifyMark, foreign_page};

/// The service.
pub(super) struct Admin {
    gate: Arc<Gate>,
}

/// Length of the keys of rows that hold a principal or find a token.
const ROW_KEY: usize = 33;
/// How long one step of a verification takes, about.
const VERIFY_STEP: Duration = Duration::from_secs(2);

impl Admin {
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    /// Who calls, and the door of the tenant that the call names.
    async fn door<M>(
        &self,
        request: Request<M>,
        action: Action,
        tenant: impl FnOnce(&M) -> Result<Option<TenantName>, crate::domain::Invalid>,
    ) -> Result<(Permit<TenantScope>, M), ApiError> {
        let caller = self.gate.caller(&Presented::of(&request)).await?;
        let message = request.into_inner();
        let tenant = tenant(&message)?;
        Ok((self.gate.door(&caller, action, tenant, None).await?, message))
    }

    async fn create_tenant(&self, request: Request<v1::CreateTenantRequest>) -> Result<v1::Tenant, ApiError> {
        let (permit, message) = self.door(request, Action::CreateTenant, |_| Ok(None)).await?;
        let (name, settings) = from_proto::create_tenant(message)?;
        let created = self.gate.vault.create_tenant(permit, name, settings).await?;
        Ok(to_proto::tenant(created, Default::default()))
    }

    async fn change(
        &self,
        permit: Permit<TenantScope>,
        change: impl FnOnce(TenantEntry) -> Result<TenantEntry, VaultError> + Send + 'static,
    ) -> Result<v1::Tenant, ApiError> {
        let (caller, action) = (permit.principal().clone(), permit.action());
        let changed = self.gate.vault.change_tenant(permit, change).await;
        if let Err(VaultError::QuotasNotYours) = changed {
            self.gate.vault.note_refusal(&caller, action, None).await?;
        }
        let (entry, usage) = changed?;
        Ok(to_proto::tenant(entry, usage))
    }

    async fn update(&self, request: Request<v1::UpdateTenantSettingsRequest>) -> Result<v1::Tenant, ApiError> {
        let named = |m: &v1::UpdateTenantSettingsRequest| from_proto::tenant_or_own("name", &m.name);
        let (permit, message) = self.door(request, Action::UpdateTenantSettings, named).await?;
        let leaves_quotas_out = message.settings.as_ref().is_none_or(|settings| settings.quotas.is_none());
        let (_, mut settings) = from_proto::update_settings(message)?;
        let may_set_quotas = permit.principal().is_of_system();
        self.change(permit, move |entry| {
            if !may_set_quotas && leaves_quotas_out {
                settings.quotas = entry.settings.quotas;
            }
            if !may_set_quotas && settings.quotas != entry.settings.quotas {
                return Err(VaultError::QuotasNotYours);
            }
            Ok(TenantEntry { settings, ..entry })
        })
        .await
    }

    async fn suspend(&self, permit: Permit<TenantScope>, suspended: bool) -> Result<v1::Tenant, ApiError> {
        self.change(permit, move |entry| Ok(TenantEntry { suspended, ..entry })).await
    }

    async fn freeze(&self, permit: Permit<TenantScope>, frozen: bool) -> Result<v1::Tenant, ApiError> {
        let (entry, usage) = self.gate.vault.freeze_tenant(permit, frozen).await?;
        Ok(to_proto::tenant(entry, usage))
    }

    async fn request_erasure(
        &self,
        request: Request<v1::RequestTenantErasureRequest>,
    ) -> Result<v1::RequestTenantErasureResponse, ApiError> {
        let named = |m: &v1::RequestTenantErasureRequest| from_proto::tenant_name(&m.name).map(Some);
        let (permit, _) = self.door(request, Action::RequestTenantErasure, named).await?;
        let approvable = self.gate.vault.request_tenant_erasure(permit).await?;
        Ok(v1::RequestTenantErasureResponse { approvable_at: Some(to_proto::timestamp(approvable)) })
    }

    async fn approve_erasure(
        &self,
        request: Request<v1::ApproveTenantErasureRequest>,
    ) -> Result<v1::ApproveTenantErasureResponse, ApiError> {
        let named = |m: &v1::ApproveTenantErasureRequest| from_proto::tenant_name(&m.name).map(Some);
        let (permit, message) = self.door(request, Action::ApproveTenantErasure, named).await?;
        let (request, name) = from_proto::approve_tenant_erasure(&message)?;
        let system = permit.principal().tenant_name.clone();
        let erasure = self.gate.vault.erase_tenant(permit, name, request).await?;
        self.gate.metrics.erasures.inc();
        self.gate.reclaim();
        let opening = hex(&*erasure.opening);
        Ok(v1::ApproveTenantErasureResponse { receipt: Some(to_proto::receipt(erasure.receipt, &system)), opening })
    }

    async fn verify(&self, request: Request<v1::VerifyRecordsRequest>) -> Result<v1::VerifyRecordsResponse, ApiError> {
        let (permit, message) = self.door(request, Action::VerifyRecords, |_| Ok(None)).await?;
        let mark = match message.page_token.as_str() {
            "" => VerifyMark::begin(),
            token => VerifyMark::decode(&page_token::read::<VERIFY_MARK>(token)?).ok_or_else(foreign_page)?,
        };
        let (verified, next) = self.gate.vault.verify_some(permit, mark, VERIFY_STEP).await?;
        let next = next.map(|mark| page_token::write(&mark.encode()));
        Ok(to_proto::verified(verified, next.unwrap_or_default()))
    }

    async fn tenants(&self, request: Request<v1::ListTenantsRequest>) -> Result<v1::ListTenantsResponse, ApiError> {
        let (permit, message) = self.door(request, Action::ListTenants, |_| Ok(None)).await?;
        let page = from_proto::page(message.page_size, message.page_token)?;
        let behind = page.token.as_deref().map(page_token::read).transpose()?.map(TenantId);
        let (tenants, next) = self.gate.vault.list_tenants(permit, behind, page.size).await?;
        Ok(v1::ListTenantsResponse {
            tenants: tenants.into_iter().map(|(entry, usage)| to_proto::tenant(entry, usage)).collect(),
            next_page_token: next.map(|next| page_token::write(&next.0)).unwrap_or_default(),
        })
    }

    async fn principals(
        &self,
        request: Request<v1::ListPrincipalsRequest>,
    ) -> Result<v1::ListPrincipalsResponse, ApiError> {
        let named = |m: &v1::ListPrincipalsRequest| from_proto::tenant_or_own("tenant", &m.tenant);
        let (permit, message) = self.door(request, Action::ListPrincipals, named).await?;
        let page = from_proto::page(message.page_size, message.page_token)?;
        let behind = page.token.as_deref().map(page_token::read::<ROW_KEY>).transpose()?;
        let (principals, next) =
            self.gate.vault.list_principals(permit, behind.map(|key| key.to_vec()), page.size).await?;
        Ok(v1::ListPrincipalsResponse {
            principals: principals.into_iter().map(to_proto::principal).collect(),
            next_page_token: next.map(|next| page_token::write(&next)).unwrap_or_default(),
        })
    }

    async fn tokens(&self, request: Request<v1::ListTokensRequest>) -> Result<v1::ListTokensResponse, ApiError> {
        let named = |m: &v1::ListTokensRequest| from_proto::tenant_or_own("tenant", &m.tenant);
        let (permit, message) = self.door(request, Action::ListTokens, named).await?;
        let page = from_proto::page(message.page_size, message.page_token)?;
        let behind = page.token.as_deref().map(page_token::read::<ROW_KEY>).transpose()?;
        let (tokens, next) = self.gate.vault.list_tokens(permit, behind.map(|key| key.to_vec()), page.size).await?;
        Ok(v1::ListTokensResponse {
            tokens: tokens.iter().map(to_proto::token).collect(),
            next_page_token: next.map(|next| page_token::write(&next)).unwrap_or_default(),
        })
    }

    async fn new_token(&self, request: Request<v1::CreateTokenRequest>) -> Result<v1::CreateTokenResponse, ApiError> {
        let named = |m: &v1::CreateTokenRequest| from_proto::tenant_or_own("tenant", &m.tenant);
        let (permit, message) = self.door(request, Action::CreateToken, named).await?;
        let asked = from_proto::create_token(message, Timestamp::now())?;
        let bearer = BearerToken::mint(TokenId(random_bytes()), random_bytes());
        let new = NewToken {
            id: bearer.id(),
            secret_hash: sha256(bearer.secret()),
            principal: asked.principal,
            expires: asked.expires,
        };
        let token = self.gate.vault.create_token(permit, new).await?;
        let bearer = bearer.reveal().as_str().to_owned();
        Ok(v1::CreateTokenResponse { token: Some(to_proto::token(&token)), bearer })
    }

    async fn bind(
        &self,
        request: Request<v1::BindCertificateRequest>,
    ) -> Result<v1::BindCertificateResponse, ApiError> {
        let named = |m: &v1::BindCertificateRequest| from_proto::tenant_or_own("tenant", &m.tenant);
        let (permit, message) = self.door(request, Action::BindCertificate, named).await?;
        let (asked, name) = from_proto::bind_certificate(message, Timestamp::now())?;
        let token = self.gate.vault.bind_certificate(permit, name, asked.principal, asked.expires).await?;
        Ok(v1::BindCertificateResponse { token: Some(to_proto::token(&token)) })
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_tenant(
        &self,
        request: Request<v1::CreateTenantRequest>,
    ) -> Result<Response<v1::CreateTenantResponse>, Status> {
        let tenant = Some(Self::create_tenant(self, request).await?);
        Ok(Response::new(v1::CreateTenantResponse { tenant }))
    }

    async fn get_tenant(
        &self,
        request: Request<v1::GetTenantRequest>,
    ) -> Result<Response<v1::GetTenantResponse>, Status> {
        let named = |m: &v1::GetTenantRequest| from_proto::tenant_or_own("name", &m.name);
        let (permit, _) = self.door(request, Action::GetTenant, named).await?;
        let (entry, usage) = self.gate.vault.get_tenant(permit).await.map_err(ApiError::from)?;
        Ok(Response::new(v1::GetTenantResponse { tenant: Some(to_proto::tenant(entry, usage)) }))
    }

    async fn list_tenants(
        &self,
        request: Request<v1::ListTenantsRequest>,
    ) -> Result<Response<v1::ListTenantsResponse>, Status> {
        Ok(Response::new(self.tenants(request).await?))
    }

    async fn update_tenant_settings(
        &self,
        request: Request<v1::UpdateTenantSettingsRequest>,
    ) -> Result<Response<v1::UpdateTenantSettingsResponse>, Status> {
        let tenant = Some(self.update(request).await?);
        Ok(Response::new(v1::UpdateTenantSettingsResponse { tenant }))
    }

    async fn request_tenant_erasure(
        &self,
        request: Request<v1::RequestTenantErasureRequest>,
    ) -> Result<Response<v1::RequestTenantErasureResponse>, Status> {
        Ok(Response::new(self.request_erasure(request).await?))
    }

    async fn cancel_tenant_erasure(
        &self,
        request: Request<v1::CancelTenantErasureRequest>,
    ) -> Result<Response<v1::CancelTenantErasureResponse>, Status> {
        let named = |m: &v1::CancelTenantErasureRequest| from_proto::tenant_name(&m.name).map(Some);
        let (permit, _) = self.door(request, Action::CancelTenantErasure, named).await?;
        self.gate.vault.cancel_tenant_erasure(permit).await.map_err(ApiError::from)?;
        Ok(Response::new(v1::CancelTenantErasureResponse {}))
    }

    async fn approve_tenant_erasure(
        &self,
        request: Request<v1::ApproveTenantErasureRequest>,
    ) -> Result<Response<v1::ApproveTenantErasureResponse>, Status> {
        Ok(Response::new(self.approve_erasure(request).await?))
    }

    async fn suspend_tenant(
        &self,
        request: Request<v1::SuspendTenantRequest>,
    ) -> Result<Response<v1::SuspendTenantResponse>, Status> {
        let named = |m: &v1::SuspendTenantRequest| from_proto::tenant_name(&m.name).map(Some);
        let (permit, _) = self.door(request, Action::SuspendTenant, named).await?;
        let tenant = Some(self.suspend(permit, true).await?);
        Ok(Response::new(v1::SuspendTenantResponse { tenant }))
    }

    async fn resume_tenant(
        &self,
        request: Request<v1::ResumeTenantRequest>,
    ) -> Result<Response<v1::ResumeTenantResponse>, Status> {
        let named = |m: &v1::ResumeTenantRequest| from_proto::tenant_name(&m.name).map(Some);
        let (permit, _) = self.door(request, Action::ResumeTenant, named).await?;
        let tenant = Some(self.suspend(permit, false).await?);
        Ok(Response::new(v1::ResumeTenantResponse { tenant }))
    }

    async fn freeze_tenant(
        &self,
        request: Request<v1::FreezeTenantRequest>,
    ) -> Result<Response<v1::FreezeTenantResponse>, Status> {
        let named = |m: &v1::FreezeTenantRequest| from_proto::tenant_or_own("name", &m.name);
        let (permit, _) = self.door(request, Action::FreezeTenant, named).await?;
        let tenant = Some(self.freeze(permit, true).await?);
        Ok(Response::new(v1::FreezeTenantResponse { tenant }))
    }

    async fn unfreeze_tenant(
        &self,
        request: Request<v1::UnfreezeTenantRequest>,
    ) -> Result<Response<v1::UnfreezeTenantResponse>, Status> {
        let named = |m: &v1::UnfreezeTenantRequest| from_proto::tenant_or_own("name", &m.name);
        let (permit, _) = self.door(request, Action::UnfreezeTenant, named).await?;
        let tenant = Some(self.freeze(permit, false).await?);
        Ok(Response::new(v1::UnfreezeTenantResponse { tenant }))
    }

    async fn set_principal(
        &self,
        request: Request<v1::SetPrincipalRequest>,
    ) -> Result<Response<v1::SetPrincipalResponse>, Status> {
        let named = |m: &v1::SetPrincipalRequest| from_proto::tenant_or_own("tenant", &m.tenant);
        let (permit, message) = self.door(request, Action::SetPrincipal, named).await?;
        let (_, entry) = from_proto::set_principal(message).map_err(ApiError::from)?;
        let entry = self.gate.vault.set_principal(permit, entry).await.map_err(ApiError::from)?;
        Ok(Response::new(v1::SetPrincipalResponse { principal: Some(to_proto::principal(entry)) }))
    }

    async fn list_principals(
        &self,
        request: Request<v1::ListPrincipalsRequest>,
    ) -> Result<Response<v1::ListPrincipalsResponse>, Status> {
        Ok(Response::new(self.principals(request).await?))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        Ok(Response::new(self.new_token(request).await?))
    }

    async fn bind_certificate(
        &self,
        request: Request<v1::BindCertificateRequest>,
    ) -> Result<Response<v1::BindCertificateResponse>, Status> {
        Ok(Response::new(self.bind(request).await?))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let named = |m: &v1::RevokeTokenRequest| from_proto::revoke_token(m).map(|(tenant, ..)| tenant);
        let (permit, message) = self.door(request, Action::RevokeToken, named).await?;
        let (_, id, issued_to) = from_proto::revoke_token(&message).map_err(ApiError::from)?;
        let token = self.gate.vault.revoke_token(permit, id, issued_to).await.map_err(ApiError::from)?;
        Ok(Response::new(v1::RevokeTokenResponse { token: Some(to_proto::token(&token)) }))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        Ok(Response::new(self.tokens(request).await?))
    }

    async fn verify_records(
        &self,
        request: Request<v1::VerifyRecordsRequest>,
    ) -> Result<Response<v1::VerifyRecordsResponse>, Status> {
        Ok(Response::new(self.verify(request).await?))
    }
}
