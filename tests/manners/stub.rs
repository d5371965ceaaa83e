//! The real server with a stub behind it that knows nothing of a vault.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oubliette::api::manners::amend;
use oubliette::api::server::{self, ServeError, ServerSettings};
use oubliette::api::v1;
use oubliette::api::v1::record_service_client::RecordServiceClient;
use oubliette::api::v1::record_service_server::{RecordService, RecordServiceServer};
use oubliette::api::v1::upload_recording_request::Payload;
use oubliette::config::{ClientCertificates, Config, Limits, Listen, Tls};
use oubliette::telemetry::metrics::Metrics;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::Stream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::service::Routes;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Response, Status, Streaming};

/// The most bytes of a message to the stub.
pub const MESSAGE_BYTES: usize = 64 * 1024;

pub struct Server {
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    certificate: Option<String>,
    seen: mpsc::Receiver<Seen>,
    stop: Option<oneshot::Sender<()>>,
    erasures: watch::Sender<u64>,
    task: tokio::task::JoinHandle<Result<(), ServeError>>,
}

/// What the stub saw of an upload.
enum Seen {
    FirstChunk,
    End(Result<usize, Status>),
}

impl Server {
    pub async fn start(limits: Limits) -> Self {
        Self::begin(limits, None, None).await
    }

    pub async fn start_with_tls(limits: Limits) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let tls = Tls {
            certificate,
            key,
            client_ca: Vec::new(),
            client_crls: Vec::new(),
            client_certificates: ClientCertificates::Optional,
        };
        Self::begin(limits, Some(tls), Some(made.cert.pem())).await
    }

    async fn begin(limits: Limits, tls: Option<Tls>, certificate: Option<String>) -> Self {
        let address = "127.0.0.1:0".parse().unwrap();
        let config = Config {
            identity: Default::default(),
            ceilings: Default::default(),
            data: oubliette::config::Data { dir: Path::new("unused").to_owned() },
            root_key: oubliette::config::RootKey {
                provider: oubliette::config::Provider::File,
                path: Path::new("unused").to_owned(),
                replicas: Vec::new(),
                may_share_device: false,
                module: Path::new("unused").to_owned(),
                token: String::new(),
                pin_file: Path::new("unused").to_owned(),
                label: String::new(),
                epoch_window_ms: None,
            },
            signing: oubliette::config::Signing { key: Path::new("unused").to_owned() },
            listen: Listen { address, plaintext_on_loopback: tls.is_none(), tls },
            limits,
            log: oubliette::config::Log::default(),
            metrics: oubliette::config::Metrics::default(),
            mirrors: oubliette::config::MirrorDirectories::default(),
            policy: oubliette::config::Policy::default(),
        };
        let erasures = watch::Sender::new(0);
        let settings = ServerSettings::from_config(&config).unwrap().closing_after(erasures.subscribe());
        let listener = server::bind(address).await.unwrap();
        let address = listener.address();
        let metrics = Arc::new(Metrics::default());
        let (tell, seen) = mpsc::channel(16);
        let (stop, stopped) = oneshot::channel();
        let stub = RecordServiceServer::new(Stub { tell }).max_decoding_message_size(MESSAGE_BYTES);
        let shutdown = async {
            let _ = stopped.await;
        };
        let serve = server::run(settings, Routes::new(stub), listener, metrics.clone(), shutdown);
        let task = tokio::spawn(serve);
        Self { address, metrics, certificate, seen, stop: Some(stop), erasures, task }
    }

    pub async fn channel(&self) -> Channel {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        let uri = format!("{scheme}://localhost:{}", self.address.port());
        let mut endpoint = Endpoint::from_shared(uri).unwrap().connect_timeout(Duration::from_secs(5));
        if let Some(pem) = &self.certificate {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)).domain_name("localhost");
            endpoint = endpoint.tls_config(tls).unwrap();
        }
        endpoint.connect().await.unwrap()
    }

    pub async fn records(&self) -> RecordServiceClient<Channel> {
        RecordServiceClient::new(self.channel().await)
    }

    /// Sends an empty message with a header that tonic's client would not set.
    pub async fn with_header(&self, path: &'static str, name: &'static str, value: &'static str) -> Status {
        let set = tower::ServiceBuilder::new().map_request(
            move |mut request: tonic::codegen::http::Request<tonic::body::Body>| {
                request.headers_mut().insert(name, value.parse().unwrap());
                request
            },
        );
        let mut client = tonic::client::Grpc::new(set.service(self.channel().await));
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<v1::GetRecordRequest, v1::Record>::default();
        let request = Request::new(v1::GetRecordRequest::default());
        client.unary(request, PathAndQuery::from_static(path), codec).await.err().unwrap()
    }

    pub async fn first_chunk_arrived(&mut self) {
        let seen = tokio::time::timeout(Duration::from_secs(5), self.seen.recv()).await;
        assert!(matches!(seen.unwrap(), Some(Seen::FirstChunk)));
    }

    /// How the last upload ended: with so many bytes, or broken.
    pub async fn upload_ended(&mut self) -> Result<usize, Status> {
        loop {
            let seen = tokio::time::timeout(Duration::from_secs(5), self.seen.recv()).await;
            if let Seen::End(end) = seen.expect("an upload ended").expect("the stub lives") {
                return end;
            }
        }
    }

    /// Tells the server that an erasure has become final.
    pub fn erase(&self) {
        self.erasures.send_modify(|count| *count += 1);
    }

    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub async fn ended(&mut self) -> Result<(), ServeError> {
        (&mut self.task).await.unwrap()
    }
}

pub fn metadata() -> v1::UploadRecordingRequest {
    v1::UploadRecordingRequest { payload: Some(Payload::Metadata(v1::RecordingMetadata::default())) }
}

pub fn chunk(bytes: usize) -> v1::UploadRecordingRequest {
    v1::UploadRecordingRequest { payload: Some(Payload::Chunk(Bytes::from(vec![7; bytes]))) }
}

/// Answers, but for `GetTranscript`, which never does, and `DownloadRecording`, which never ends.
struct Stub {
    tell: mpsc::Sender<Seen>,
}

#[tonic::async_trait]
impl RecordService for Stub {
    async fn create_transcript(
        &self,
        _: Request<v1::CreateTranscriptRequest>,
    ) -> Result<Response<v1::CreateTranscriptResponse>, Status> {
        Ok(Response::new(v1::CreateTranscriptResponse::default()))
    }

    /// Reads in a task of its own, which goes on when the call is dropped: that is how a half upload could be taken for whole.
    async fn upload_recording(
        &self,
        request: Request<Streaming<v1::UploadRecordingRequest>>,
    ) -> Result<Response<v1::UploadRecordingResponse>, Status> {
        let tell = self.tell.clone();
        let reading = tokio::spawn(async move {
            let end = read_all(request.into_inner(), &tell).await;
            tell.send(Seen::End(end.clone())).await.unwrap();
            end
        });
        reading.await.unwrap()?;
        Ok(Response::new(v1::UploadRecordingResponse::default()))
    }

    async fn revise_transcript(
        &self,
        _: Request<v1::ReviseTranscriptRequest>,
    ) -> Result<Response<v1::ReviseTranscriptResponse>, Status> {
        std::future::pending().await
    }

    async fn get_transcript(
        &self,
        _: Request<v1::GetTranscriptRequest>,
    ) -> Result<Response<v1::GetTranscriptResponse>, Status> {
        std::future::pending().await
    }

    type DownloadRecordingStream = Pin<Box<dyn Stream<Item = Result<v1::DownloadRecordingResponse, Status>> + Send>>;

    async fn download_recording(
        &self,
        _: Request<v1::DownloadRecordingRequest>,
    ) -> Result<Response<Self::DownloadRecordingStream>, Status> {
        let ticks = tokio_stream::StreamExt::throttle(
            tokio_stream::iter(std::iter::repeat_with(|| Ok(v1::DownloadRecordingResponse::default()))),
            Duration::from_millis(10),
        );
        Ok(Response::new(Box::pin(ticks)))
    }

    async fn get_record(&self, _: Request<v1::GetRecordRequest>) -> Result<Response<v1::GetRecordResponse>, Status> {
        Ok(Response::new(v1::GetRecordResponse::default()))
    }

    async fn list_records(
        &self,
        _: Request<v1::ListRecordsRequest>,
    ) -> Result<Response<v1::ListRecordsResponse>, Status> {
        Ok(Response::new(v1::ListRecordsResponse::default()))
    }
}

async fn read_all(
    mut stream: Streaming<v1::UploadRecordingRequest>,
    tell: &mpsc::Sender<Seen>,
) -> Result<usize, Status> {
    let mut bytes = 0;
    while let Some(message) = stream.message().await.map_err(amend)? {
        if let Some(Payload::Chunk(chunk)) = message.payload {
            if bytes == 0 {
                tell.send(Seen::FirstChunk).await.unwrap();
            }
            bytes += chunk.len();
        }
    }
    Ok(bytes)
}
