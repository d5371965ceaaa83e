//! What an erasure costs: alone and in batches of 1,000, with few and many customers in the tree, of customers with one record and with
//! 10,000, one among those with one; and what a mirror adds to all that and to storing; and how long a start takes then. What is left of
//! the erased is removed in between, as the service does meanwhile. In one process, through the vault's own doors; what gRPC adds, `oubliette bench` shows. Receipt, ledger and
//! pin are included.
//!
//! ```text
//! cargo bench --bench erasure                                     1,000 and 100,000 customers
//! OUBLIETTE_BENCH_CUSTOMERS=1000,1000000 OUBLIETTE_BENCH_MIRRORS=0 cargo bench --bench erasure
//! OUBLIETTE_BENCH_CACHE_MIB=1024                                  with more of the database in memory than by default
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should stop and say where"
)]

use std::alloc::System;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oubliette::access::Access;
use oubliette::access::permit::{Permit, TenantScope};
use oubliette::access::policy::Policies;
use oubliette::audit::note::Origin;
use oubliette::domain::action::Action;
use oubliette::domain::clock::Timestamp;
use oubliette::domain::grant::Why;
use oubliette::domain::ids::{
    BlindIndex, CustomerId, PrincipalName, Purpose, RequestId, TenantId, TenantName, TokenId,
};
use oubliette::domain::principal::{Principal, Role};
use oubliette::domain::record::{Channel, Details, LegalBasis, NewRecording, NewTranscript, Speaker, Turn};
use oubliette::domain::tenant::{Quotas, RuleSet, TenantSettings};
use oubliette::vault::{
    Begun, MirrorPlace, RequestKey, RootKeyPlace, Sort, Target, Vault, VaultLimits, VaultPaths, create_mirror,
};
use zeroize::Zeroizing;
use zeroizing_alloc::ZeroAlloc;

/// The allocator of the program, so that its cost is measured.
#[global_allocator]
static WIPING_ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

const WRITERS: usize = 64;
const ALONE: usize = 300;
const BATCH: usize = 1_000;
const BATCHES: usize = 3;
const STARTS: usize = 5;
const MANY_RECORDS: usize = 10_000;
const WITH_MANY: usize = 10;
const READERS: usize = 32;
const PIECE_BYTES: usize = 1 << 20;
const RECORDING_BYTES: usize = 64 << 20;

struct House {
    vault: Arc<Vault>,
    access: Access,
    tenant: TenantId,
    paths: VaultPaths,
    limits: VaultLimits,
    _folder: tempfile::TempDir,
}

fn principal(tenant: TenantId, name: TenantName, roles: &[Role]) -> Principal {
    Principal {
        tenant,
        tenant_name: name,
        name: PrincipalName::parse("one").unwrap(),
        alias: BlindIndex([7; 16]),
        roles: roles.iter().copied().collect(),
        teams: BTreeSet::new(),
        token: TokenId([9; 16]),
        actor: None,
        actor_token: None,
    }
}

fn purpose() -> Purpose {
    Purpose::parse("support").unwrap()
}

impl House {
    async fn build(mirrors: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let root_key = RootKeyPlace::File { paths: vec![at("root.key")], may_share_device: true };
        let paths = VaultPaths { data: at("data"), root_key, signing_key: at("signing.key"), mirrors: Vec::new() };
        let mirror = |number| MirrorPlace { directory: at(&format!("mirror-{number}")), sort: Sort::Whole };
        (0..mirrors).for_each(|number| create_mirror(&mirror(number).directory).unwrap());
        let paths = VaultPaths { mirrors: (0..mirrors).map(mirror).collect(), ..paths };
        let mut limits = VaultLimits { erasures_per_hour: u64::MAX, disk_reserve_bytes: 0, ..VaultLimits::default() };
        if let Ok(mib) = std::env::var("OUBLIETTE_BENCH_CACHE_MIB") {
            limits.database_cache_bytes = mib.parse::<u64>().unwrap() << 20;
        }
        let vault = Vault::create(paths.clone(), limits.clone(), Origin::parse("bench").unwrap()).await.unwrap();
        let access = Access::new(Policies::default_policy());
        let system = vault.tenant_id(TenantName::system()).await.unwrap();
        let admin = principal(system, TenantName::system(), &[Role::Admin]);
        let permit = access.door(&admin, Action::CreateTenant, system, None).unwrap();
        let (name, purposes) = (TenantName::parse("acme").unwrap(), vec![purpose()]);
        let settings = TenantSettings {
            purposes,
            retention_default_days: None,
            rule_set: RuleSet::Gdpr,
            teams: Vec::new(),
            quotas: Quotas::default(),
        };
        vault.create_tenant(permit, name.clone(), settings).await.unwrap();
        let tenant = vault.tenant_id(name).await.unwrap();
        Self { vault, access, tenant, paths, limits, _folder: folder }
    }

    fn permit(&self, action: Action) -> Permit<TenantScope> {
        let caller = principal(self.tenant, TenantName::parse("acme").unwrap(), &[Role::Ingest, Role::PrivacyOfficer]);
        self.access.door(&caller, action, self.tenant, Some(Why { purpose: purpose(), case: None })).unwrap()
    }

    fn supervisor(&self, action: Action) -> Permit<TenantScope> {
        let caller = principal(self.tenant, TenantName::parse("acme").unwrap(), &[Role::Supervisor]);
        self.access.door(&caller, action, self.tenant, Some(Why { purpose: purpose(), case: None })).unwrap()
    }

    /// Stores a chat for each of these customers, many at once.
    async fn fill(self: &Arc<Self>, name: &'static str, count: usize, customer: fn(usize) -> String) {
        let began = Instant::now();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let house = Arc::clone(self);
            writers.spawn(async move {
                for number in (writer..count).step_by(WRITERS) {
                    let request = RequestId::parse(&format!("{name}-{number:09}")).unwrap();
                    let request = RequestKey { id: request, hash: [0; 32] };
                    let permit = house.permit(Action::CreateTranscript);
                    let stored = house.vault.create_transcript(permit, chat(&customer(number)), request).await;
                    drop(stored.unwrap());
                }
            });
        }
        writers.join_all().await;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        println!("  stored {count} chats, {rate:.0}/s");
    }

    async fn erase(&self, customer: &str) -> Duration {
        let request = RequestId::parse(&format!("erase-{customer}")).unwrap();
        let (permit, target) = (self.permit(Action::EraseCustomer), Target::Customer(id(customer)));
        let began = Instant::now();
        self.vault.erase(permit, target, request).await.unwrap();
        let took = began.elapsed();
        self.reclaim().await;
        took
    }

    /// As the service does after each erasure: what is left is removed. It is not counted, as nobody waits for it.
    async fn reclaim(&self) {
        self.vault.reclaim().await.unwrap();
    }

    async fn erase_batch(&self, customers: Vec<CustomerId>, number: usize) -> f64 {
        let count = customers.len();
        let request = RequestId::parse(&format!("batch-{number:06}")).unwrap();
        let began = Instant::now();
        let erased = self.vault.erase_customers(self.permit(Action::EraseCustomers), customers, request).await;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        assert!(erased.unwrap().iter().all(Result::is_ok));
        self.reclaim().await;
        rate
    }
}

fn id(customer: &str) -> CustomerId {
    CustomerId::parse(customer).unwrap()
}

fn chat(customer: &str) -> NewTranscript {
    let text = Zeroizing::new("Good morning, my parcel has not arrived yet.".to_owned());
    let details = Details {
        channel: Channel::Chat,
        language: None,
        agent: None,
        case_id: None,
        team: None,
        started: Timestamp::now(),
        ended: None,
        purposes: vec![purpose()],
        legal_basis: LegalBasis::Contract,
        tags: Vec::new(),
    };
    NewTranscript {
        customer: id(customer),
        details,
        turns: vec![Turn { speaker: Speaker::Customer, said: None, text }],
        marked: Vec::new(),
    }
}

fn told(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!("  {what:<42} p50 {:6.2} ms   p99 {:6.2} ms   ({} of them)", at(0.5), at(0.99), took.len());
}

fn person(number: usize) -> String {
    format!("person-{number:08}")
}

/// How long readers of a customer's recording go on after her erasure was asked for: those who take what they get, one piece after the
/// other. What gRPC and the network had taken by then comes on top.
async fn measure_readers() {
    println!("open downloads of the erased customer: {READERS}");
    let house = Arc::new(House::build(0).await);
    let NewTranscript { customer, details, .. } = chat("reader");
    let media_type = "audio/wav".to_owned();
    let new = NewRecording { customer, details, media_type, spoken: Vec::new(), expected_sha256: None };
    let request = RequestKey { id: RequestId::parse("recording-0001").unwrap(), hash: [0; 32] };
    let begun = house.vault.begin_upload(house.permit(Action::UploadRecording), new, request).await.unwrap();
    let Begun::Started(mut upload) = begun else { panic!("it is new") };
    for _ in 0..RECORDING_BYTES / PIECE_BYTES {
        upload.push(vec![7; PIECE_BYTES].into()).await.unwrap();
    }
    let record = upload.finish().await.unwrap().content.id;
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..READERS {
        let door = house.supervisor(Action::DownloadRecording);
        let facts = house.vault.facts(&door, record, None).await.unwrap().unwrap();
        let mut download = house.vault.open_recording(house.access.record(&door, facts).unwrap(), None).await.unwrap();
        readers.spawn(async move {
            while let Ok(Some(_)) = download.next().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            assert!(download.erased().is_cancelled(), "it was read to its end before the erasure");
            Instant::now()
        });
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let asked = Instant::now();
    let until_final = house.erase("reader").await;
    told(
        "from the request to the end of a download",
        readers.join_all().await.iter().map(|end| *end - asked).collect(),
    );
    told("from the request to the receipt", vec![until_final]);
    house.vault.close().await;
}

async fn measure(customers: usize, mirrors: usize) {
    println!("{customers} customers, mirrors: {mirrors}");
    let house = Arc::new(House::build(mirrors).await);
    house.fill("chat", customers, person).await;
    house.fill("many", MANY_RECORDS * WITH_MANY, |number| format!("busy-{:04}", number % WITH_MANY)).await;
    let alone = ALONE.min(customers / 3);
    let (mut with_one, mut with_many) = (Vec::new(), Vec::new());
    for number in 0..alone {
        with_one.push(house.erase(&person(number)).await);
        if number % (alone / WITH_MANY) == 0 && with_many.len() < WITH_MANY {
            with_many.push(house.erase(&format!("busy-{:04}", with_many.len())).await);
        }
    }
    told("one customer with 1 record, alone", with_one);
    told("one customer with 10,000 records, alone", with_many);
    let batch = BATCH.min(customers / 3);
    let mut rates: Vec<f64> = Vec::new();
    for number in 0..BATCHES {
        let first = alone + number * batch;
        if first + batch > customers {
            break;
        }
        rates.push(house.erase_batch((first..first + batch).map(|n| id(&person(n))).collect(), number).await);
    }
    rates.sort_by(f64::total_cmp);
    if let Some(median) = rates.get(rates.len() / 2) {
        println!("  {:<42} {median:6.0} customers/s", format!("batches of {batch}"));
    }
    house.vault.close().await;
    measure_start(Arc::into_inner(house).expect("all writers have ended")).await;
}

/// How long a start takes, from an opened process to a vault that answers; the engine's own opening of its log is part of it.
async fn measure_start(House { vault, paths, limits, _folder, .. }: House) {
    drop(vault);
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let began = Instant::now();
        let vault = Vault::open(paths.clone(), limits.clone()).await.unwrap();
        took.push(began.elapsed());
        vault.close().await;
    }
    told("start", took);
}

fn main() {
    let sizes = std::env::var("OUBLIETTE_BENCH_CUSTOMERS").unwrap_or_else(|_| "1000,100000".to_owned());
    let mirrors = std::env::var("OUBLIETTE_BENCH_MIRRORS").unwrap_or_else(|_| "0,1".to_owned());
    let numbers = |text: &str| text.split(',').map(|number| number.trim().parse().unwrap()).collect::<Vec<usize>>();
    let (sizes, mirrors) = (numbers(&sizes), numbers(&mirrors));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        measure_readers().await;
        for size in sizes {
            for mirrors in &mirrors {
                measure(size, *mirrors).await;
            }
        }
    });
}
