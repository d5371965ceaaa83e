//! A server behind the listener, with one handler that says who called, and clients of several kinds.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oubliette::api::listener::{Listener, Peer};
use oubliette::api::server::{self, ServerSettings};
use oubliette::api::v1;
use oubliette::api::v1::access_service_client::AccessServiceClient;
use oubliette::api::v1::access_service_server::{AccessService, AccessServiceServer};
use oubliette::config::Limits;
use oubliette::domain::clock::Timestamp;
use oubliette::telemetry::metrics::Metrics;
use oubliette::tls::Tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};

use super::{Authority, Folder, Holder};

/// How long a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who called: the name of the certificate, where there was one, and the first bytes of its fingerprint.
pub type Caller = Option<(String, Vec<u8>)>;

pub struct Service {
    pub address: SocketAddr,
    pub tls: Option<Arc<Tls>>,
    pub metrics: Arc<Metrics>,
    callers: Arc<Mutex<Vec<Caller>>>,
    stop: CancellationToken,
}

impl Service {
    pub async fn start(folder: &Folder) -> Self {
        Self::start_with(Some(folder), Limits::default()).await
    }

    pub async fn start_with(folder: Option<&Folder>, limits: Limits) -> Self {
        let tls = folder.map(|folder| Arc::new(Tls::load(&folder.places).unwrap()));
        let (metrics, stop) = (Arc::new(Metrics::default()), CancellationToken::new());
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = listener.address();
        let callers = Arc::new(Mutex::new(Vec::new()));
        let routes = Routes::new(AccessServiceServer::new(WhoCalls { tls: tls.clone(), callers: callers.clone() }));
        let (its_tls, its_metrics, its_stop) = (tls.clone(), metrics.clone(), stop.clone());
        let settings = ServerSettings::new(limits, its_tls);
        let shutdown = async move { its_stop.cancelled().await };
        tokio::spawn(async move { server::run(settings, routes, listener, its_metrics, shutdown).await.unwrap() });
        Self { address, tls, metrics, callers, stop }
    }

    pub fn tls(&self) -> &Arc<Tls> {
        self.tls.as_ref().unwrap()
    }

    /// What the handler saw of the last call.
    pub fn last_caller(&self) -> Caller {
        self.callers.lock().unwrap().last().cloned().expect("a handler was called")
    }

    pub fn calls(&self) -> usize {
        self.callers.lock().unwrap().len()
    }

    /// One call over a connection of its own.
    pub async fn call(&self, authority: &Authority, client: Option<&Holder>) -> Result<Caller, String> {
        call(&mut self.client(authority, client)).await?;
        Ok(self.last_caller())
    }

    /// A client whose calls share a connection. It connects with its first call.
    pub fn client(&self, authority: &Authority, client: Option<&Holder>) -> AccessServiceClient<Channel> {
        let tls = ClientTlsConfig::new().domain_name("localhost").ca_certificate(Certificate::from_pem(&authority.pem));
        let tls = match client {
            Some(client) => tls.identity(Identity::from_pem(&client.pem, &client.key_pem)),
            None => tls,
        };
        let endpoint = Endpoint::from_shared(format!("https://localhost:{}", self.address.port())).unwrap();
        AccessServiceClient::new(endpoint.tls_config(tls).unwrap().connect_lazy())
    }

    pub fn client_in_the_clear(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy())
    }

    /// A handshake alone.
    pub async fn shake(&self, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let wire = TcpStream::connect(self.address).await?;
        TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), wire).await
    }

    /// How many handshakes have failed for this reason.
    pub fn failures(&self, reason: &str) -> u64 {
        self.shown(&format!("oubliette_handshake_failures_total{{reason=\"{reason}\"}} "))
    }

    /// How many alerts of this sort there were.
    pub fn alerts(&self, sort: &str) -> u64 {
        self.shown(&format!("oubliette_alerts_total{{sort=\"{sort}\"}} "))
    }

    fn shown(&self, metric: &str) -> u64 {
        let all = self.metrics.encode();
        all.lines().find_map(|line| line.strip_prefix(metric)?.parse().ok()).unwrap_or(0)
    }

    /// Waits until a handshake has failed for this reason, `times` in all.
    pub async fn wait_for_failures(&self, reason: &'static str, times: u64) {
        wait_for(|| self.failures(reason) >= times, reason).await;
        assert_eq!(self.failures(reason), times, "{reason}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn wait_for(is_so: impl Fn() -> bool, what: &str) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

pub async fn call(client: &mut AccessServiceClient<Channel>) -> Result<(), String> {
    let answering = client.list_case_assignments(v1::ListCaseAssignmentsRequest::default());
    let answer = tokio::time::timeout(PATIENCE, answering).await.expect("the server answers, or hangs up");
    answer.map(drop).map_err(|status| format!("{:?}: {}", status.code(), status.message()))
}

/// What a client speaks: these versions and protocols.
pub fn client_config(
    authority: &Authority,
    client: Option<&Holder>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let mut pem = authority.pem.as_bytes();
    for certificate in
        <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::pem_reader_iter(&mut pem)
    {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match client {
        Some(client) => builder.with_client_auth_cert(client.chain.clone(), client.key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Does what the product's gate will do: finds the peer, and asks whether it is still believed.
struct WhoCalls {
    tls: Option<Arc<Tls>>,
    callers: Arc<Mutex<Vec<Caller>>>,
}

#[tonic::async_trait]
impl AccessService for WhoCalls {
    async fn list_case_assignments(
        &self,
        request: Request<v1::ListCaseAssignmentsRequest>,
    ) -> Result<Response<v1::ListCaseAssignmentsResponse>, Status> {
        let peer = request.extensions().get::<Peer>().ok_or_else(|| Status::internal("no peer"))?;
        assert!(peer.address.is_some());
        if let (Some(certificate), Some(tls)) = (&peer.certificate, &self.tls) {
            let believed = tls.trust().still_trusted(certificate, Timestamp::now());
            believed.map_err(|refused| Status::unauthenticated(refused.name()))?;
        }
        let caller = peer.certificate.as_ref();
        let caller = caller.map(|one| (one.name().as_str().to_owned(), one.fingerprint()[..4].to_vec()));
        self.callers.lock().unwrap().push(caller);
        Ok(Response::new(v1::ListCaseAssignmentsResponse::default()))
    }

    async fn assign_case(&self, _: Request<v1::AssignCaseRequest>) -> Result<Response<v1::AssignCaseResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn unassign_case(
        &self,
        _: Request<v1::UnassignCaseRequest>,
    ) -> Result<Response<v1::UnassignCaseResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn break_glass(&self, _: Request<v1::BreakGlassRequest>) -> Result<Response<v1::BreakGlassResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn request_approval(
        &self,
        _: Request<v1::RequestApprovalRequest>,
    ) -> Result<Response<v1::RequestApprovalResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn give_approval(
        &self,
        _: Request<v1::GiveApprovalRequest>,
    ) -> Result<Response<v1::GiveApprovalResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn withdraw_approval(
        &self,
        _: Request<v1::WithdrawApprovalRequest>,
    ) -> Result<Response<v1::WithdrawApprovalResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn list_approvals(
        &self,
        _: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn explain_access(
        &self,
        _: Request<v1::ExplainAccessRequest>,
    ) -> Result<Response<v1::ExplainAccessResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}
