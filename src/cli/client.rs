//! The client of the service: one connection, one caller, every call bounded in time and size.
//!
//! It keeps no record and retries nothing: writes carry a request id, so the caller can repeat one safely.

use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::{Interceptor, interceptor::InterceptedService};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};

use super::errors::{CliError, chain};
use super::settings::Settings;
use crate::api::v1;
use crate::api::v1::access_service_client::AccessServiceClient;
use crate::api::v1::admin_service_client::AdminServiceClient;
use crate::api::v1::audit_service_client::AuditServiceClient;
use crate::api::v1::privacy_service_client::PrivacyServiceClient;
use crate::api::v1::record_service_client::RecordServiceClient;

mod transfer;

pub use transfer::{CHUNK_BYTES, Downloaded, MAX_CHUNK_BYTES, Uploaded};

/// The largest message in either direction: the service's own limit.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// How long a connection may take to come about, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stream may stand still.
const STREAM_IDLE: Duration = Duration::from_secs(60);
/// How often a silent connection is probed, and how long an answer to that may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// Opens connections.
pub struct Connection;

impl Connection {
    /// Connects, so that a wrong address or certificate shows here and not in the first call.
    pub async fn open(settings: &Settings) -> Result<Client, CliError> {
        let failed = |reason| CliError::Connect { endpoint: settings.endpoint.to_string(), reason };
        let endpoint = prepare(settings).map_err(|error| failed(chain(&error)))?;
        // tonic's own time-out ends with the TCP connection: the TLS handshake needs this one.
        let channel = match tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await {
            Ok(connected) => connected.map_err(|error| failed(chain(&error)))?,
            Err(_) => return Err(failed(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))),
        };
        Ok(Client::over(channel, settings))
    }
}

fn prepare(settings: &Settings) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from(settings.endpoint.clone())
        .user_agent(concat!("oubliette-cli/", env!("CARGO_PKG_VERSION")))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1);
    let Some(pem) = &settings.ca_pem else { return Ok(endpoint) };
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
    let tls = match &settings.identity {
        Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key.as_slice())),
        None => tls,
    };
    endpoint.tls_config(match &settings.server_name {
        Some(name) => tls.domain_name(name),
        None => tls,
    })
}

/// Adds the caller's token to every call, where it has one.
#[derive(Clone)]
struct Authorize(Option<Arc<MetadataValue<Ascii>>>);

impl Interceptor for Authorize {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", MetadataValue::clone(header));
        }
        Ok(request)
    }
}

type Authorized = InterceptedService<Channel, Authorize>;

/// A connected caller. Clones share the connection.
#[derive(Clone)]
pub struct Client {
    records: RecordServiceClient<Authorized>,
    privacy: PrivacyServiceClient<Authorized>,
    access: AccessServiceClient<Authorized>,
    audit: AuditServiceClient<Authorized>,
    admin: AdminServiceClient<Authorized>,
    call_timeout: Duration,
}

/// Sets the same limits on each generated client.
macro_rules! limited {
    ($client:ident, $service:expr) => {
        $client::new($service).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)
    };
}

impl Client {
    fn over(channel: Channel, settings: &Settings) -> Self {
        let service =
            InterceptedService::new(channel, Authorize(settings.token.as_ref().map(|token| Arc::new(token.header()))));
        Self {
            records: limited!(RecordServiceClient, service.clone()),
            privacy: limited!(PrivacyServiceClient, service.clone()),
            access: limited!(AccessServiceClient, service.clone()),
            audit: limited!(AuditServiceClient, service.clone()),
            admin: limited!(AdminServiceClient, service),
            call_timeout: settings.call_timeout,
        }
    }

    /// A unary request; the service learns the deadline and can stop working for nobody.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.call_timeout);
        request
    }

    /// Waits for an answer, at most for the caller's time-out.
    async fn answer<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, CliError> {
        match tokio::time::timeout(self.call_timeout, call).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(CliError::Deadline { waited: self.call_timeout }),
        }
    }
}

/// Defines the unary calls: request in, the one field of the response that matters out. With `whole`, the response itself.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($client:ident, $request:ident) -> $answer:ident . $field:ident;)+) => {
        impl Client {
            $($(#[$doc])*
            pub async fn $name(&self, request: v1::$request) -> Result<v1::$answer, CliError> {
                let mut client = self.$client.clone();
                let answer = self.answer(client.$name(self.request(request))).await?;
                answer.$field.ok_or(CliError::Protocol { what: concat!("no `", stringify!($field), "` in it") })
            })+
        }
    };
    (whole: $($(#[$doc:meta])* $name:ident($client:ident, $request:ident) -> $answer:ident;)+) => {
        impl Client {
            $($(#[$doc])*
            pub async fn $name(&self, request: v1::$request) -> Result<v1::$answer, CliError> {
                let mut client = self.$client.clone();
                self.answer(client.$name(self.request(request))).await
            })+
        }
    };
}

calls! {
    /// Stores a chat.
    create_transcript(records, CreateTranscriptRequest) -> Record.record;
    /// Stores a chat in the place of one that was wrong.
    revise_transcript(records, ReviseTranscriptRequest) -> Record.record;
    /// Reads what is known about a record.
    get_record(records, GetRecordRequest) -> Record.record;
    /// Gets a receipt.
    get_receipt(privacy, GetReceiptRequest) -> ErasureReceipt.receipt;
    /// Creates a tenant.
    create_tenant(admin, CreateTenantRequest) -> Tenant.tenant;
    /// Reads a tenant's settings and usage.
    get_tenant(admin, GetTenantRequest) -> Tenant.tenant;
    /// Replaces a tenant's settings.
    update_tenant_settings(admin, UpdateTenantSettingsRequest) -> Tenant.tenant;
    /// Suspends a tenant.
    suspend_tenant(admin, SuspendTenantRequest) -> Tenant.tenant;
    /// Resumes a tenant.
    resume_tenant(admin, ResumeTenantRequest) -> Tenant.tenant;
    /// Stops all reading of a tenant's content.
    freeze_tenant(admin, FreezeTenantRequest) -> Tenant.tenant;
    /// Lets it go on.
    unfreeze_tenant(admin, UnfreezeTenantRequest) -> Tenant.tenant;
    /// Assigns a case.
    assign_case(access, AssignCaseRequest) -> CaseAssignment.assignment;
    /// Creates a principal or replaces what it may do.
    set_principal(admin, SetPrincipalRequest) -> Principal.principal;
    /// Lets a client's certificate stand for a principal.
    bind_certificate(admin, BindCertificateRequest) -> Token.token;
    /// Revokes a token.
    revoke_token(admin, RevokeTokenRequest) -> Token.token;
}

impl Client {
    /// Hands each entry of the ledger to `each` as it comes, for as long as the stream lasts.
    pub async fn watch_entries(
        &self,
        request: v1::WatchEntriesRequest,
        mut each: impl FnMut(v1::LogEntry) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut audit = self.audit.clone();
        let mut stream = self.answer(audit.watch_entries(Request::new(request))).await?;
        while let Some(seen) = stream.message().await? {
            each(seen.entry.ok_or(CliError::Protocol { what: "no `entry` in it" })?)?;
        }
        Ok(())
    }

    /// The pieces of a report.
    pub async fn report_exposure(
        &self,
        request: v1::ReportExposureRequest,
    ) -> Result<tonic::Streaming<v1::ReportExposureResponse>, CliError> {
        let mut audit = self.audit.clone();
        self.answer(audit.report_exposure(Request::new(request))).await
    }
}

calls! { whole:
    /// Reads a page of the ledger.
    list_entries(audit, ListEntriesRequest) -> ListEntriesResponse;
    /// Gets the log as it stands, signed.
    get_checkpoint(audit, GetCheckpointRequest) -> GetCheckpointResponse;
    /// Gets the proof that an entry is in the log.
    get_inclusion_proof(audit, GetInclusionProofRequest) -> GetInclusionProofResponse;
    /// Gets the proof that the log was only continued.
    get_consistency_proof(audit, GetConsistencyProofRequest) -> GetConsistencyProofResponse;
    /// Takes a case back.
    unassign_case(access, UnassignCaseRequest) -> UnassignCaseResponse;
    /// Reads a page of who works on a customer's cases.
    list_case_assignments(access, ListCaseAssignmentsRequest) -> ListCaseAssignmentsResponse;
    /// Tells by which rules somebody may do something.
    explain_access(access, ExplainAccessRequest) -> ExplainAccessResponse;
    /// Asks for more than one person may do alone.
    request_approval(access, RequestApprovalRequest) -> RequestApprovalResponse;
    /// Approves it, as a second person.
    give_approval(access, GiveApprovalRequest) -> GiveApprovalResponse;
    /// Takes it back.
    withdraw_approval(access, WithdrawApprovalRequest) -> WithdrawApprovalResponse;
    /// Reads a page of what is asked for and approved.
    list_approvals(access, ListApprovalsRequest) -> ListApprovalsResponse;
    /// Takes the right to read a customer's records for a short time.
    break_glass(access, BreakGlassRequest) -> BreakGlassResponse;
    /// Erases a customer for good. The answer holds the opening of the receipt, and no other does.
    erase_customer(privacy, EraseCustomerRequest) -> EraseCustomerResponse;
    /// Erases a record or a revision for good. The answer holds the opening of the receipt, and no other does.
    erase_record(privacy, EraseRecordRequest) -> EraseRecordResponse;
    /// Erases a list of customers for good.
    erase_customers(privacy, EraseCustomersRequest) -> EraseCustomersResponse;
    /// Lets an erased person become a customer again.
    readmit_customer(privacy, ReadmitCustomerRequest) -> ReadmitCustomerResponse;
    /// Asks for the erasure of a tenant.
    request_tenant_erasure(admin, RequestTenantErasureRequest) -> RequestTenantErasureResponse;
    /// Takes that back.
    cancel_tenant_erasure(admin, CancelTenantErasureRequest) -> CancelTenantErasureResponse;
    /// Approves it, and has it carried out.
    approve_tenant_erasure(admin, ApproveTenantErasureRequest) -> ApproveTenantErasureResponse;
    /// Reads a page of receipts.
    list_receipts(privacy, ListReceiptsRequest) -> ListReceiptsResponse;
    /// Reads the public keys that have signed the log.
    list_log_keys(privacy, ListLogKeysRequest) -> ListLogKeysResponse;
    /// Reads a chat.
    get_transcript(records, GetTranscriptRequest) -> GetTranscriptResponse;
    /// Reads a page of records.
    list_records(records, ListRecordsRequest) -> ListRecordsResponse;
    /// Reads a page of tenants.
    list_tenants(admin, ListTenantsRequest) -> ListTenantsResponse;
    /// Reads a page of principals.
    list_principals(admin, ListPrincipalsRequest) -> ListPrincipalsResponse;
    /// Creates a token. The answer holds the token itself, and no later one does.
    create_token(admin, CreateTokenRequest) -> CreateTokenResponse;
    /// Reads a page of tokens.
    list_tokens(admin, ListTokensRequest) -> ListTokensResponse;
    /// Opens some records.
    verify_records(admin, VerifyRecordsRequest) -> VerifyRecordsResponse;
}
