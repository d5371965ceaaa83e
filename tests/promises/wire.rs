//! Callers without the manners of the real client: they send whatever they are told to, also bytes that are no message, and hand
//! back the bare status.
#![allow(dead_code, reason = "each promise uses another part of it")]

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, BufMut as _};
use oubliette::api::v1;
use oubliette::api::v1::access_service_client::AccessServiceClient;
use oubliette::api::v1::admin_service_client::AdminServiceClient;
use oubliette::api::v1::audit_service_client::AuditServiceClient;
use oubliette::api::v1::privacy_service_client::PrivacyServiceClient;
use oubliette::api::v1::record_service_client::RecordServiceClient;
use oubliette::api::v1::{download_recording_response as down, upload_recording_request as up};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::{Interceptor, interceptor::InterceptedService};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{AGENT, PURPOSES, Server, TEAMS, files_below};

/// Patience with what happens behind an answer.
pub const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// Puts a header into every call, or none.
#[derive(Clone)]
pub struct Header(Option<MetadataValue<Ascii>>);

impl Interceptor for Header {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Header>;

/// A connected caller.
#[derive(Clone)]
pub struct Caller {
    pub records: RecordServiceClient<Service>,
    pub privacy: PrivacyServiceClient<Service>,
    pub access: AccessServiceClient<Service>,
    pub audit: AuditServiceClient<Service>,
    pub admin: AdminServiceClient<Service>,
    service: Service,
    /// The case that it states with every read.
    case: String,
}

impl Caller {
    /// One with a bearer token.
    pub async fn of(server: &Server, token: &str) -> Self {
        Self::over(connect(server, |endpoint| endpoint).await, Some(&format!("Bearer {}", token.trim())))
    }

    /// One on this connection with this `authorization` header.
    pub fn over(channel: Channel, header: Option<&str>) -> Self {
        let header = Header(header.map(|value| MetadataValue::try_from(value).unwrap()));
        let service = InterceptedService::new(channel, header);
        Self {
            records: RecordServiceClient::new(service.clone()).max_encoding_message_size(usize::MAX),
            privacy: PrivacyServiceClient::new(service.clone()).max_encoding_message_size(usize::MAX),
            admin: AdminServiceClient::new(service.clone()).max_encoding_message_size(usize::MAX),
            audit: AuditServiceClient::new(service.clone()).max_encoding_message_size(usize::MAX),
            access: AccessServiceClient::new(service.clone()).max_encoding_message_size(usize::MAX),
            service,
            case: String::new(),
        }
    }

    /// The same caller, who states this case with every read.
    pub fn working_on(self, case: &str) -> Self {
        Self { case: case.to_owned(), ..self }
    }

    /// Assigns a case of a customer for so many seconds.
    pub async fn assign(&self, case: &str, customer: &str, principal: &str, seconds: i64) -> Result<(), Status> {
        let assignment = v1::CaseAssignment {
            customer_id: customer.to_owned(),
            case_id: case.to_owned(),
            principal: principal.to_owned(),
            expires_at: Some(from_now(seconds)),
        };
        let request = v1::AssignCaseRequest { assignment: Some(assignment) };
        self.access.clone().assign_case(request).await.map(drop)
    }

    /// Takes it back.
    pub async fn unassign(&self, case: &str, customer: &str, principal: &str) -> Result<(), Status> {
        let request = v1::UnassignCaseRequest {
            customer_id: customer.to_owned(),
            case_id: case.to_owned(),
            principal: principal.to_owned(),
        };
        self.access.clone().unassign_case(request).await.map(drop)
    }

    /// Who works on the cases of a customer: all pages of them, one at a time.
    pub async fn assignments(&self, customer: &str) -> Result<Vec<v1::CaseAssignment>, Status> {
        let mut asked = v1::ListCaseAssignmentsRequest {
            customer_id: customer.to_owned(),
            page_size: 1,
            page_token: String::new(),
        };
        let mut found = Vec::new();
        loop {
            let page = self.access.clone().list_case_assignments(asked.clone()).await?.into_inner();
            found.extend(page.assignments);
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            asked.page_token = page.next_page_token;
        }
    }

    /// What decides whether a principal may do something.
    pub async fn explain(&self, principal: &str, action: &str) -> Result<v1::ExplainAccessResponse, Status> {
        let (principal, action) = (principal.to_owned(), action.to_owned());
        let request = v1::ExplainAccessRequest { principal, action, ..Default::default() };
        Ok(self.access.clone().explain_access(request).await?.into_inner())
    }

    /// Breaks the glass for so many seconds.
    pub async fn break_glass(
        &self,
        customer: &str,
        reason: &str,
        seconds: u32,
    ) -> Result<v1::BreakGlassResponse, Status> {
        let (customer_id, reason) = (customer.to_owned(), reason.to_owned());
        let request = v1::BreakGlassRequest { customer_id, reason, seconds };
        Ok(self.access.clone().break_glass(request).await?.into_inner())
    }

    /// Sends bytes as the one message of a call.
    pub async fn raw(&self, path: &str, message: Vec<u8>) -> Result<(), Status> {
        let mut client = tonic::client::Grpc::new(self.service.clone()).max_encoding_message_size(usize::MAX);
        client.ready().await.unwrap();
        let request = Request::new(tokio_stream::once(message));
        client.client_streaming(request, PathAndQuery::try_from(path).unwrap(), Bare).await.map(|_| ())
    }

    /// Sends a chat to be stored and does not end the request: the service holds the message in memory until the call is dropped.
    pub fn hold_chat(&self, chat: v1::CreateTranscriptRequest) -> JoinSet<()> {
        let mut client = tonic::client::Grpc::new(self.service.clone());
        let mut held = JoinSet::new();
        held.spawn(async move {
            client.ready().await.unwrap();
            let request = Request::new(tokio_stream::once(chat).chain(tokio_stream::pending()));
            let path = PathAndQuery::from_static("/oubliette.v1.RecordService/CreateTranscript");
            let codec = tonic_prost::ProstCodec::<_, v1::CreateTranscriptResponse>::default();
            let answer = client.client_streaming(request, path, codec).await;
            panic!("a request that has not ended was answered: {:?}", answer.err());
        });
        held
    }

    /// Uploads these messages.
    pub async fn upload(&self, messages: Vec<v1::UploadRecordingRequest>) -> Result<v1::Record, Status> {
        let answer = self.records.clone().upload_recording(tokio_stream::iter(messages)).await?;
        Ok(answer.into_inner().record.unwrap())
    }

    /// Uploads content in chunks of 60,000 bytes, which fit no border of the vault's.
    pub async fn store_call(&self, metadata: v1::RecordingMetadata, content: &[u8]) -> Result<v1::Record, Status> {
        let chunks = content.chunks(60_000).map(chunk);
        self.upload(std::iter::once(first(metadata)).chain(chunks).collect()).await
    }

    /// Stores a chat.
    pub async fn store_chat(&self, chat: v1::CreateTranscriptRequest) -> Result<v1::Record, Status> {
        Ok(self.records.clone().create_transcript(chat).await?.into_inner().record.unwrap())
    }

    /// Stores a chat as the revision behind `base`.
    pub async fn revise(
        &self,
        record_id: &str,
        base: u32,
        chat: v1::CreateTranscriptRequest,
    ) -> Result<v1::Record, Status> {
        let v1::CreateTranscriptRequest { request_id, details, turns } = chat;
        let (record_id, base_revision) = (record_id.to_owned(), base);
        let request = v1::ReviseTranscriptRequest { request_id, record_id, base_revision, details, turns };
        Ok(self.records.clone().revise_transcript(request).await?.into_inner().record.unwrap())
    }

    /// Reads a chat.
    pub async fn chat(&self, record_id: &str, purpose: &str) -> Result<v1::GetTranscriptResponse, Status> {
        let (record_id, purpose) = (record_id.to_owned(), purpose.to_owned());
        let request = v1::GetTranscriptRequest { record_id, purpose, revision: 0, reader_case_id: self.case.clone() };
        Ok(self.records.clone().get_transcript(request).await?.into_inner())
    }

    /// Asks for a chat, and reads nothing of the answer yet.
    pub async fn begin_chat(
        &self,
        record_id: &str,
        purpose: &str,
    ) -> Result<tonic::Streaming<v1::GetTranscriptResponse>, Status> {
        let request = v1::GetTranscriptRequest {
            record_id: record_id.to_owned(),
            purpose: purpose.to_owned(),
            reader_case_id: self.case.clone(),
            ..Default::default()
        };
        let mut client = tonic::client::Grpc::new(self.service.clone());
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/oubliette.v1.RecordService/GetTranscript");
        let codec = tonic_prost::ProstCodec::<v1::GetTranscriptRequest, v1::GetTranscriptResponse>::default();
        Ok(client.server_streaming(Request::new(request), path, codec).await?.into_inner())
    }

    /// Reads what is known about a record.
    pub async fn record(&self, record_id: &str, purpose: &str) -> Result<v1::Record, Status> {
        let (record_id, purpose) = (record_id.to_owned(), purpose.to_owned());
        let request = v1::GetRecordRequest { record_id, purpose, reader_case_id: self.case.clone() };
        Ok(self.records.clone().get_record(request).await?.into_inner().record.unwrap())
    }

    /// Reads a recording, or a range of it.
    pub async fn call(
        &self,
        record_id: &str,
        purpose: &str,
        range: Option<(u64, u64)>,
    ) -> Result<(v1::DownloadHeader, Vec<u8>), Status> {
        let range = range.map(|(offset, length)| v1::ByteRange { offset, length });
        let request = v1::DownloadRecordingRequest {
            record_id: record_id.to_owned(),
            purpose: purpose.to_owned(),
            range,
            reader_case_id: self.case.clone(),
        };
        let mut stream = self.records.clone().download_recording(request).await?.into_inner();
        let Some(down::Payload::Header(header)) = stream.message().await?.and_then(|message| message.payload) else {
            panic!("a download begins with its header");
        };
        let mut content = Vec::new();
        while let Some(message) = stream.message().await? {
            content.extend_from_slice(&chunk_of(message));
        }
        Ok((header, content))
    }

    /// All records of a list, a page of `page_size` at a time.
    pub async fn list(&self, asked: v1::ListRecordsRequest) -> Result<Vec<v1::Record>, Status> {
        let mut asked = v1::ListRecordsRequest { reader_case_id: self.case.clone(), ..asked };
        let mut records = Vec::new();
        for _ in 0..10_000 {
            let page = self.records.clone().list_records(asked.clone()).await?.into_inner();
            assert!(asked.page_size == 0 || page.records.len() <= usize::try_from(asked.page_size).unwrap());
            records.extend(page.records);
            if page.next_page_token.is_empty() {
                return Ok(records);
            }
            asked.page_token = page.next_page_token;
        }
        panic!("the list never ends");
    }

    /// Erases a customer.
    pub async fn erase(&self, request_id: &str, customer_id: &str) -> Result<v1::ErasureReceipt, Status> {
        let (request_id, customer_id) = (request_id.to_owned(), customer_id.to_owned());
        let request = v1::EraseCustomerRequest { request_id, customer_id };
        Ok(self.privacy.clone().erase_customer(request).await?.into_inner().receipt.unwrap())
    }

    /// Erases a record; gives its receipt and the opening.
    pub async fn erase_record(
        &self,
        request_id: &str,
        record_id: &str,
        revision: u32,
    ) -> Result<(v1::ErasureReceipt, String), Status> {
        let (request_id, record_id) = (request_id.to_owned(), record_id.to_owned());
        let request = v1::EraseRecordRequest { request_id, record_id, revision };
        let answer = self.privacy.clone().erase_record(request).await?.into_inner();
        Ok((answer.receipt.unwrap(), answer.opening))
    }

    /// Erases a list of customers.
    pub async fn erase_list(&self, request_id: &str, ids: &[&str]) -> Result<Vec<v1::CustomerErasure>, Status> {
        let customer_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let request = v1::EraseCustomersRequest { request_id: request_id.to_owned(), customer_ids };
        Ok(self.privacy.clone().erase_customers(request).await?.into_inner().erasures)
    }

    /// Lets an erased person become a customer again.
    pub async fn readmit(&self, customer_id: &str) -> Result<(), Status> {
        let request = v1::ReadmitCustomerRequest { customer_id: customer_id.to_owned() };
        self.privacy.clone().readmit_customer(request).await.map(drop)
    }

    /// A receipt.
    pub async fn receipt(&self, receipt_id: &str) -> Result<v1::ErasureReceipt, Status> {
        let request = v1::GetReceiptRequest { receipt_id: receipt_id.to_owned() };
        Ok(self.privacy.clone().get_receipt(request).await?.into_inner().receipt.unwrap())
    }

    /// All receipts, so many on a page.
    pub async fn receipts(&self, page_size: i32) -> Result<Vec<v1::ErasureReceipt>, Status> {
        let (mut receipts, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListReceiptsRequest { page_size, page_token, ..Default::default() };
            let page = self.privacy.clone().list_receipts(request).await?.into_inner();
            receipts.extend(page.receipts);
            if page.next_page_token.is_empty() {
                return Ok(receipts);
            }
            page_token = page.next_page_token;
        }
    }

    /// The public keys of the log.
    pub async fn log_keys(&self) -> Result<Vec<String>, Status> {
        Ok(self.privacy.clone().list_log_keys(v1::ListLogKeysRequest {}).await?.into_inner().keys)
    }

    /// A tenant's settings and usage.
    pub async fn tenant(&self, name: &str) -> Result<v1::Tenant, Status> {
        let request = v1::GetTenantRequest { name: name.to_owned() };
        Ok(self.admin.clone().get_tenant(request).await?.into_inner().tenant.unwrap())
    }
}

/// A connection of its own.
pub async fn connect(server: &Server, set: impl FnOnce(Endpoint) -> Endpoint) -> Channel {
    let ca = Certificate::from_pem(fs::read(server.dir().join("tls/ca.pem")).unwrap());
    let endpoint = Endpoint::from_shared(server.endpoint()).unwrap();
    set(endpoint.tls_config(ClientTlsConfig::new().ca_certificate(ca)).unwrap()).connect().await.unwrap()
}

/// Messages that are bytes, and answers that nobody reads.
struct Bare;

impl Codec for Bare {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bare {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bare {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

/// The `reason` of a refusal.
#[track_caller]
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "oubliette", "{status:?}");
    assert!(status.message().len() > 20, "no words in {status:?}");
    info.reason.clone()
}

/// Something that `ErrorInfo` says besides, such as `field` or `limit`.
pub fn info(status: &Status, key: &str) -> Option<String> {
    status.get_error_details().error_info()?.metadata.get(key).cloned()
}

/// That a call was refused with this code and reason.
#[track_caller]
pub fn assert_refused<T>(outcome: Result<T, Status>, code: Code, expected: &str) -> Status {
    let Err(status) = outcome else { panic!("it was let through; expected {code:?} {expected}") };
    assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{status:?}");
    status
}

/// All of a refusal that a caller sees.
pub fn seen(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < give_up, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// The files of the object store.
pub fn objects(server: &Server) -> Vec<std::path::PathBuf> {
    files_below(&server.data_dir().join("objects"))
}

/// What the platform says about a contact of a customer: all that can be said, for all purposes.
pub fn details(customer: &str) -> v1::RecordDetails {
    v1::RecordDetails {
        customer_id: customer.to_owned(),
        channel: v1::Channel::Chat.into(),
        language: "en".to_owned(),
        agent: AGENT.to_owned(),
        case_id: "case-7".to_owned(),
        team: TEAMS[0].to_owned(),
        started_at: Some(at(1_700_000_000)),
        ended_at: Some(at(1_700_000_600)),
        purposes: PURPOSES.map(str::to_owned).to_vec(),
        legal_basis: v1::LegalBasis::Contract.into(),
        tags: vec!["refund".to_owned()],
    }
}

/// A small chat.
pub fn chat(request_id: &str, customer: &str) -> v1::CreateTranscriptRequest {
    let turn = |speaker: v1::Speaker, text: &str| v1::Turn {
        speaker: speaker.into(),
        said_at: Some(at(1_700_000_010)),
        text: text.to_owned(),
        ..Default::default()
    };
    v1::CreateTranscriptRequest {
        request_id: request_id.to_owned(),
        details: Some(details(customer)),
        turns: vec![
            turn(v1::Speaker::Customer, "My card was charged twice."),
            turn(v1::Speaker::Agent, "I am looking at it now."),
        ],
    }
}

/// The metadata of a call.
pub fn metadata(request_id: &str, customer: &str) -> v1::RecordingMetadata {
    v1::RecordingMetadata {
        request_id: request_id.to_owned(),
        details: Some(v1::RecordDetails { channel: v1::Channel::Voice.into(), ..details(customer) }),
        media_type: "audio/wav".to_owned(),
        ..Default::default()
    }
}

/// The first message of an upload.
pub fn first(metadata: v1::RecordingMetadata) -> v1::UploadRecordingRequest {
    v1::UploadRecordingRequest { payload: Some(up::Payload::Metadata(metadata)) }
}

/// Any other message of an upload.
pub fn chunk(content: &[u8]) -> v1::UploadRecordingRequest {
    v1::UploadRecordingRequest { payload: Some(up::Payload::Chunk(content.to_vec().into())) }
}

/// The bytes of a download's message.
pub fn chunk_of(message: v1::DownloadRecordingResponse) -> bytes::Bytes {
    let Some(down::Payload::Chunk(chunk)) = message.payload else { panic!("no chunk behind the header") };
    chunk
}

/// An instant of so many seconds.
pub fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

/// So many seconds from now.
pub fn from_now(seconds: i64) -> prost_types::Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    at(i64::try_from(now).unwrap() + seconds)
}

/// The list of a customer's records.
pub fn asked_of(customer: &str) -> v1::ListRecordsRequest {
    let purpose = PURPOSES[0].to_owned();
    v1::ListRecordsRequest { purpose, customer_id: customer.to_owned(), ..Default::default() }
}
