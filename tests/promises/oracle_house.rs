//! A service in this process, over loopback and without TLS, that holds one record of each kind that a caller must not be able to tell from
//! one that is not there. Here the vault is in our hands, so that what passes by stands still: an erasure that waits for its epoch, and one
//! whose rows are not reclaimed. `benches/access.rs` measures the same house.
#![allow(dead_code, reason = "the test and the benchmark use another part of it each")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oubliette::access::Access;
use oubliette::access::identity::{BearerToken, SECRET_BYTES};
use oubliette::access::jwt::Issuers;
use oubliette::access::permit::{Permit, TenantScope};
use oubliette::access::policy::Policies;
use oubliette::api::v1::{self, record_service_client::RecordServiceClient};
use oubliette::api::{server, service};
use oubliette::audit::note::Origin;
use oubliette::config::CeilingsConfig;
use oubliette::config::Config;
use oubliette::crypto::hash::sha256;
use oubliette::domain::action::Action;
use oubliette::domain::clock::Timestamp;
use oubliette::domain::erasure::Part;
use oubliette::domain::grant::{CaseAssignment, Why};
use oubliette::domain::ids::{
    BlindIndex, CaseId, CustomerId, PrincipalName, Purpose, RecordId, RequestId, TenantId, TenantName, TokenId,
};
use oubliette::domain::principal::{Principal, PrincipalEntry, Role};
use oubliette::domain::record::{Channel, Details, LegalBasis, NewRecording, NewTranscript, Speaker, Turn};
use oubliette::domain::tenant::{Quotas, RuleSet, TenantSettings};
use oubliette::telemetry::metrics::Metrics;
use oubliette::vault::{Begun, NewToken, RequestKey, RootKeyPlace, Target, Vault, VaultLimits, VaultPaths};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::{Interceptor, interceptor::InterceptedService};
use tonic::transport::{Channel as Connection, Endpoint};
use tonic::{Request, Status};
use zeroize::Zeroizing;

/// Records of each kind, so that no single one is warmer than the others.
pub const EACH: usize = 12;
/// Why they are read.
pub const PURPOSE: &str = "support";
/// What one of them is not to be read for.
const OTHER_PURPOSE: &str = "quality";
/// The case that the agent states with every read, and works on.
const CASE: &str = "case-7";
const AGENT: &str = "ana";

/// The ways to ask for one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    Record,
    Transcript,
    Recording,
}

impl Read {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Record, Self::Transcript, Self::Recording];
}

/// Records that a caller may not see, all for the same reason.
pub struct Class {
    pub name: &'static str,
    /// Which class of this house is not there at all, to the same caller.
    pub absent: usize,
    is_for_agent: bool,
    ids: Vec<Ids>,
}

/// A chat and a recording.
#[derive(Debug, Clone)]
pub struct Ids {
    pub chat: String,
    pub call: String,
}

/// The house.
pub struct House {
    pub vault: Arc<Vault>,
    pub access: Arc<Access>,
    pub tenant: TenantId,
    pub classes: Vec<Class>,
    /// What the supervisor, and on the case the agent, may see.
    pub seen: Vec<Ids>,
    supervisor: Reader,
    agent: Reader,
    _stop: tokio::sync::oneshot::Sender<()>,
    _folder: TempDir,
}

type Reader = RecordServiceClient<InterceptedService<Connection, Bearer>>;

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A principal as the gate would find it.
pub fn principal(tenant: TenantId, of: &str, name: &str, role: Role) -> Principal {
    Principal {
        tenant,
        tenant_name: TenantName::parse(of).unwrap(),
        name: PrincipalName::parse(name).unwrap(),
        alias: BlindIndex([7; 16]),
        roles: BTreeSet::from([role]),
        teams: BTreeSet::new(),
        token: TokenId([9; 16]),
        actor: None,
        actor_token: None,
    }
}

/// Why the readers read.
pub fn why() -> Option<Why> {
    Some(Why { purpose: Purpose::parse(PURPOSE).unwrap(), case: None })
}

impl House {
    /// Builds it.
    pub async fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::new(Policies::default_policy()));
        // Counted, and never met.
        let ceilings = CeilingsConfig::out_of_reach().ceilings();
        let limits =
            VaultLimits { disk_reserve_bytes: 0, erasures_per_hour: u64::MAX, ceilings, ..VaultLimits::default() };
        let origin = Origin::parse("here").unwrap();
        let vault = Vault::create(paths(folder.path()), limits.clone(), origin).await.unwrap();
        let builder = Builder { vault, access: access.clone() };
        let [tenant, other] = [builder.tenant("acme").await, builder.tenant("globex").await];
        let seen = builder.store((tenant, "acme"), "near", PURPOSE).await;
        builder.assign(tenant, "near-0").await;
        let absent = absent();
        let foreign = builder.store((other, "globex"), "foreign", PURPOSE).await;
        let gone = builder.store((tenant, "acme"), "gone", PURPOSE).await;
        let fresh = builder.store((tenant, "acme"), "fresh", PURPOSE).await;
        let alone = builder.store((tenant, "acme"), "alone", PURPOSE).await;
        let pending = builder.store((tenant, "acme"), "pending", PURPOSE).await;
        let purpose = builder.store((tenant, "acme"), "purpose", OTHER_PURPOSE).await;
        builder.store((tenant, "acme"), "dummy", PURPOSE).await;
        builder.erase(tenant, "gone").await;
        builder.vault.reclaim().await.unwrap();
        builder.erase(tenant, "fresh").await;
        builder.erase_records(tenant, &alone).await;
        let tokens = [
            builder.person(tenant, "sam", Role::Supervisor, 1).await,
            builder.person(tenant, AGENT, Role::Agent, 2).await,
        ];
        builder.vault.close().await;
        drop(builder);
        // From now on an epoch waits for an hour behind the one before: what is asked for then stays under way.
        let limits = VaultLimits { epoch_window: Duration::from_secs(3_600), ..limits };
        let vault = Vault::open(paths(folder.path()), limits).await.unwrap();
        let builder = Builder { vault: vault.clone(), access: access.clone() };
        builder.erase(tenant, "dummy").await;
        builder.begin_to_erase(tenant, "pending").await;
        let (channel, stop) = serve(folder.path(), vault.clone(), access.clone()).await;
        let [supervisor, agent] = tokens.map(|token| {
            RecordServiceClient::new(InterceptedService::new(channel.clone(), Bearer(token.parse().unwrap())))
        });
        let to_supervisor = |name, ids| Class { name, absent: 0, is_for_agent: false, ids };
        let classes = vec![
            to_supervisor("absent", absent.clone()),
            to_supervisor("another tenant's", foreign),
            to_supervisor("erased, rows reclaimed", gone),
            to_supervisor("erased, rows still there", fresh),
            to_supervisor("record erased alone, rows still there", alone),
            to_supervisor("erasure under way", pending),
            to_supervisor("of another purpose", purpose.clone()),
            Class { name: "absent, asked for by an agent", absent: 7, is_for_agent: true, ids: absent },
            Class { name: "not of the agent's case", absent: 7, is_for_agent: true, ids: seen[1..].to_vec() },
            Class { name: "of another purpose, asked for by an agent", absent: 7, is_for_agent: true, ids: purpose },
        ];
        Self { vault, access, tenant, classes, seen, supervisor, agent, _stop: stop, _folder: folder }
    }

    /// Asks for one record of a class, the `pick`th, and gives what was refused.
    pub async fn refusal(&self, class: &Class, read: Read, pick: usize) -> Status {
        let ids = &class.ids[pick % class.ids.len()];
        let reader = if class.is_for_agent { &self.agent } else { &self.supervisor };
        let outcome = ask(reader.clone(), read, ids).await;
        outcome.err().unwrap_or_else(|| panic!("{}: it was let through", class.name))
    }

    /// Reads what both may see, so that what is refused is not simply everything.
    pub async fn assert_open(&self) {
        for read in Read::ALL {
            ask(self.supervisor.clone(), read, &self.seen[3]).await.unwrap();
            ask(self.agent.clone(), read, &self.seen[0]).await.unwrap();
        }
    }

    /// Ends it; what was under way is carried out.
    pub async fn close(self) {
        self.vault.close().await;
    }

    /// Reads a chat that the supervisor may see.
    pub async fn read_chat(&self, pick: usize) {
        ask(self.supervisor.clone(), Read::Transcript, &self.seen[pick % EACH]).await.unwrap();
    }
}

async fn ask(mut reader: Reader, read: Read, ids: &Ids) -> Result<(), Status> {
    let (purpose, reader_case_id) = (PURPOSE.to_owned(), CASE.to_owned());
    match read {
        Read::Record => {
            let record_id = ids.chat.clone();
            reader.get_record(v1::GetRecordRequest { record_id, purpose, reader_case_id }).await.map(drop)
        }
        Read::Transcript => {
            let record_id = ids.chat.clone();
            let asked = v1::GetTranscriptRequest { record_id, purpose, reader_case_id, revision: 0 };
            reader.get_transcript(asked).await.map(drop)
        }
        Read::Recording => {
            let record_id = ids.call.clone();
            let asked = v1::DownloadRecordingRequest { record_id, purpose, reader_case_id, range: None };
            let mut stream = reader.download_recording(asked).await?.into_inner();
            while stream.message().await?.is_some() {}
            Ok(())
        }
    }
}

fn paths(folder: &Path) -> VaultPaths {
    let root_key = RootKeyPlace::File { paths: vec![folder.join("root.key")], may_share_device: true };
    VaultPaths { data: folder.join("data"), root_key, signing_key: folder.join("signing.key"), mirrors: Vec::new() }
}

/// Ids that no record has, of the time of those that some have.
fn absent() -> Vec<Ids> {
    let id = || RecordId::new(Timestamp::now(), oubliette::crypto::random_bytes()).to_string();
    (0..EACH).map(|_| Ids { chat: id(), call: id() }).collect()
}

async fn serve(
    folder: &Path,
    vault: Arc<Vault>,
    access: Arc<Access>,
) -> (Connection, tokio::sync::oneshot::Sender<()>) {
    let text = format!(
        "data.dir = {:?}\nroot_key.path = {:?}\nsigning.key = {:?}\n[listen]\naddress = \"127.0.0.1:0\"\nplaintext_on_loopback = true\n",
        folder.join("data"),
        folder.join("root.key"),
        folder.join("signing.key")
    );
    fs::write(folder.join("config.toml"), text).unwrap();
    let config = Config::load(&folder.join("config.toml")).unwrap();
    let listener = server::bind(config.listen.address).await.unwrap();
    let address = listener.address();
    let metrics = Arc::new(Metrics::default());
    let routes = service::routes(
        vault,
        (access, Issuers::new(Vec::new()), None),
        &config.limits,
        metrics.clone(),
        CancellationToken::new(),
    );
    let settings = server::ServerSettings::from_config(&config).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    tokio::spawn(server::run(settings, routes, listener, metrics, async move { drop(stopped.await) }));
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    (channel, stop)
}

/// Fills the vault through its own doors.
struct Builder {
    vault: Arc<Vault>,
    access: Arc<Access>,
}

impl Builder {
    fn permit(&self, tenant: TenantId, of: &str, role: Role, action: Action) -> Permit<TenantScope> {
        self.access.door(&principal(tenant, of, "builder", role), action, tenant, why()).unwrap()
    }

    async fn of_system(&self, action: Action, tenant: TenantId) -> Permit<TenantScope> {
        let system = self.vault.tenant_id(TenantName::system()).await.unwrap();
        self.access.door(&principal(system, TenantName::SYSTEM, "root", Role::Admin), action, tenant, None).unwrap()
    }

    async fn tenant(&self, name: &str) -> TenantId {
        let name = TenantName::parse(name).unwrap();
        let settings = TenantSettings {
            purposes: [PURPOSE, OTHER_PURPOSE].map(|purpose| Purpose::parse(purpose).unwrap()).to_vec(),
            retention_default_days: None,
            rule_set: RuleSet::Gdpr,
            teams: Vec::new(),
            quotas: Quotas::default(),
        };
        let tenant = self.vault.tenant_id(name.clone()).await.unwrap();
        let permit = self.of_system(Action::CreateTenant, tenant).await;
        self.vault.create_tenant(permit, name, settings).await.unwrap();
        tenant
    }

    /// The header of a new person.
    async fn person(&self, tenant: TenantId, name: &str, role: Role, number: u8) -> String {
        let name = PrincipalName::parse(name).unwrap();
        let entry = PrincipalEntry {
            name: name.clone(),
            roles: BTreeSet::from([role]),
            teams: BTreeSet::new(),
            blocked: false,
        };
        let permit = self.of_system(Action::SetPrincipal, tenant).await;
        self.vault.set_principal(permit, entry).await.unwrap();
        let bearer = BearerToken::mint(TokenId([number; 16]), [number; SECRET_BYTES]);
        let expires = Timestamp::now().plus_ms(3_600_000);
        let new = NewToken { id: bearer.id(), secret_hash: sha256(bearer.secret()), principal: name, expires };
        let permit = self.of_system(Action::CreateToken, tenant).await;
        self.vault.create_token(permit, new).await.unwrap();
        format!("Bearer {}", *bearer.reveal())
    }

    async fn assign(&self, tenant: TenantId, customer: &str) {
        let new = CaseAssignment {
            customer: CustomerId::parse(customer).unwrap(),
            case: CaseId::parse(CASE).unwrap(),
            assignee: PrincipalName::parse(AGENT).unwrap(),
            expires: Timestamp::now().plus_ms(3_600_000),
        };
        let permit = self.permit(tenant, "acme", Role::Ingest, Action::AssignCase);
        self.vault.assign_case(permit, new).await.unwrap();
    }

    /// A chat and a recording for each of some customers.
    async fn store(&self, (tenant, of): (TenantId, &str), name: &str, purpose: &str) -> Vec<Ids> {
        let mut ids = Vec::new();
        for number in 0..EACH {
            let NewTranscript { customer, details, turns, marked } = chat(&format!("{name}-{number}"), purpose);
            let new = NewRecording {
                customer: customer.clone(),
                details: details.clone(),
                media_type: "audio/ogg".to_owned(),
                spoken: Vec::new(),
                expected_sha256: None,
            };
            let permit = self.permit(tenant, of, Role::Ingest, Action::UploadRecording);
            let begun = self.vault.begin_upload(permit, new, request(&format!("call-{name}-{number}"))).await.unwrap();
            let Begun::Started(mut upload) = begun else { panic!("it is new") };
            upload.push(vec![7; 100_000].into()).await.unwrap();
            let call = upload.finish().await.unwrap().content.id.to_string();
            let permit = self.permit(tenant, of, Role::Ingest, Action::CreateTranscript);
            let new = NewTranscript { customer, details, turns, marked };
            let stored = self.vault.create_transcript(permit, new, request(&format!("chat-{name}-{number}"))).await;
            ids.push(Ids { chat: stored.unwrap().content.id.to_string(), call });
        }
        ids
    }

    async fn erase(&self, tenant: TenantId, name: &str) {
        let permit = self.permit(tenant, "acme", Role::PrivacyOfficer, Action::EraseCustomers);
        let erased = self.vault.erase_customers(permit, customers(name), request(&format!("erase-{name}")).id).await;
        assert!(erased.unwrap().iter().all(Result::is_ok));
    }

    async fn erase_records(&self, tenant: TenantId, ids: &[Ids]) {
        for (number, id) in ids.iter().flat_map(|ids| [&ids.chat, &ids.call]).enumerate() {
            let permit = self.permit(tenant, "acme", Role::PrivacyOfficer, Action::EraseRecord);
            let target = Target::Part(Part::Record(RecordId::parse(id).unwrap()));
            self.vault.erase(permit, target, request(&format!("erase-record-{number}")).id).await.unwrap();
        }
    }

    /// Asks for an erasure that waits for its epoch. Returns when nothing of it is shown any more.
    async fn begin_to_erase(&self, tenant: TenantId, name: &str) {
        let permit = self.permit(tenant, "acme", Role::PrivacyOfficer, Action::EraseCustomers);
        let (vault, all, request) = (self.vault.clone(), customers(name), request(&format!("erase-{name}")).id);
        tokio::spawn(async move { vault.erase_customers(permit, all, request).await });
        // The first step is durable within milliseconds; the epoch does not come within the hour.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn customers(name: &str) -> Vec<CustomerId> {
    (0..EACH).map(|number| CustomerId::parse(&format!("{name}-{number}")).unwrap()).collect()
}

fn request(id: &str) -> RequestKey {
    RequestKey { id: RequestId::parse(id).unwrap(), hash: [0; 32] }
}

fn chat(customer: &str, purpose: &str) -> NewTranscript {
    let said = |speaker, text: &str| Turn { speaker, said: None, text: Zeroizing::new(text.to_owned()) };
    let turns = vec![
        said(Speaker::Customer, "Good morning, my parcel has not arrived yet, and you can call me on 020 7946 0000."),
        said(Speaker::Agent, "Let me look that up for you; which e-mail address is it under?"),
    ];
    let details = Details {
        channel: Channel::Chat,
        language: None,
        agent: Some(PrincipalName::parse("bert").unwrap()),
        case_id: Some(CaseId::parse(CASE).unwrap()),
        team: None,
        started: Timestamp::now(),
        ended: None,
        purposes: vec![Purpose::parse(purpose).unwrap()],
        legal_basis: LegalBasis::Contract,
        tags: Vec::new(),
    };
    NewTranscript { customer: CustomerId::parse(customer).unwrap(), details, turns, marked: Vec::new() }
}
