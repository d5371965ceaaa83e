//! What fails: a disk or a root key provider at any of its operations, before or behind its effect, and callers who go away at any
//! moment. These doors are inside, because no client can make a disk fail.

mod approvals;
mod crash_matrix;
mod deciding;
mod drill;
mod fault_matrix;
mod faulty;
#[path = "../../tests/golden/mod.rs"]
mod golden;
mod grants;
mod hoarder;
mod insiders;
mod linking;
mod lists;
mod mirrors;
mod pages;
mod planted_jobs;
mod reading;
mod requests;
mod restore_drill;
mod revisions;
mod row_kinds;
mod softhsm;
mod sums;
mod tenants;
mod upgrade;
mod uploads;

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use faulty::{Blow, Fault, FaultyDisk, FaultyKey, Lie, Life, Provider, Says, Then};
use hoarder::Hoard;
use zeroize::Zeroizing;

use super::*;
use crate::access::permit::{Permit, TenantScope};
use crate::access::{Access, policy::Policies};
use crate::audit::note::Origin;
use crate::audit::{Entry, Event};
use crate::domain::action::Action;
use crate::domain::ceiling::{Ceiling, Ceilings};
use crate::domain::clock::Timestamp;
use crate::domain::erasure::Part;
use crate::domain::grant::Why;
use crate::domain::ids::{
    CustomerId, PrincipalName, Purpose, RecordId, RequestId, Revision, TenantId, TenantName, TokenId,
};
use crate::domain::principal::{Principal, Role};
use crate::domain::record::{
    Channel, Details, FindBy, LegalBasis, NewRecording, NewTranscript, RecordFilter, Speaker, Turn,
};
use crate::domain::tenant::{Quotas, RuleSet, TenantSettings};
use crate::root_key::{FileRootKey, Pkcs11RootKey, SigningKeyFile};
use crate::store::{Row, SledEngine, rows};

/// Operations that an erasure or a write makes at most; more would mean that the fault is never met.
const MANY: usize = 60;

/// Every fault that can strike: each operation in turn, by every blow. Whoever meets none any more breaks off.
fn every_fault() -> impl Iterator<Item = (usize, Blow)> {
    (0..MANY).flat_map(|after| Blow::EVERY.map(|blow| (after, blow)))
}

/// A vault with one tenant.
struct House {
    folder: tempfile::TempDir,
    access: Access,
    fault: Arc<Fault>,
    lie: Arc<Lie>,
    hoard: Arc<Hoard>,
    limits: VaultLimits,
    mirrors: Vec<MirrorPlace>,
    /// Where the root key is, if in a security module.
    hsm: Option<Pkcs11Place>,
    /// How many files the root key is in else.
    replicas: usize,
    tenant: TenantId,
}

impl House {
    async fn build() -> Self {
        Self::with(limits()).await
    }

    async fn with(limits: VaultLimits) -> Self {
        Self::on(limits, None).await
    }

    async fn on(limits: VaultLimits, hsm: Option<Pkcs11Place>) -> Self {
        Self::furnished(limits, hsm, 1).await
    }

    /// With a root key in two files.
    async fn replicated() -> Self {
        Self::furnished(limits(), None, 2).await
    }

    async fn furnished(limits: VaultLimits, hsm: Option<Pkcs11Place>, replicas: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::new(Policies::default_policy());
        let (fault, lie, hoard) = (Arc::default(), Arc::default(), Arc::default());
        let mirrors = Vec::new();
        let tenant = TenantId([0; 16]);
        let mut house = Self { folder, access, fault, lie, hoard, limits, mirrors, hsm, replicas, tenant };
        let vault = Vault::create(house.paths(), house.limits.clone(), origin()).await.unwrap();
        let system = vault.tenant_id(TenantName::system()).await.unwrap();
        let admin = principal(system, TenantName::system(), &[Role::Admin]);
        let permit = house.access.door(&admin, Action::CreateTenant, system, None).unwrap();
        let name = TenantName::parse("acme").unwrap();
        vault.create_tenant(permit, name.clone(), settings()).await.unwrap();
        house.tenant = vault.tenant_id(name).await.unwrap();
        vault.close().await;
        house
    }

    fn root_key(&self) -> PathBuf {
        self.folder.path().join("root.key")
    }

    fn root_keys(&self) -> Vec<PathBuf> {
        let others = (1..self.replicas).map(|number| self.folder.path().join(format!("replica-{number}.key")));
        std::iter::once(self.root_key()).chain(others).collect()
    }

    fn provider(&self) -> Provider {
        match &self.hsm {
            None => Provider::File(FileRootKey::open(&self.root_keys()).unwrap()),
            Some(place) => Provider::Hsm(Pkcs11RootKey::open(place.clone()).unwrap()),
        }
    }

    fn paths(&self) -> VaultPaths {
        let at = |name: &str| self.folder.path().join(name);
        let root_key = match &self.hsm {
            None => RootKeyPlace::File { paths: self.root_keys(), may_share_device: true },
            Some(place) => RootKeyPlace::Pkcs11(place.clone()),
        };
        VaultPaths { data: at("data"), root_key, signing_key: at("signing.key"), mirrors: self.mirrors.clone() }
    }

    async fn open(&self) -> Arc<Vault> {
        let (paths, limits, provider) = (self.paths(), self.limits.clone(), self.provider());
        let (fault, lie, hoard) = (Arc::clone(&self.fault), Arc::clone(&self.lie), Arc::clone(&self.hoard));
        let open = move || {
            let db = SledEngine::open(&start::database_folder(&paths.data)).unwrap();
            let life = Arc::<Life>::default();
            let db = FaultyDisk::new(db, Arc::clone(&fault), hoard, Arc::clone(&life));
            let provider = FaultyKey::new(provider, fault, lie, life);
            let signing_key = SigningKeyFile::open(&paths.signing_key).unwrap();
            start::assemble(&paths, limits, Arc::new(db), Arc::new(provider), signing_key).unwrap()
        };
        Vault::over(tokio::task::spawn_blocking(open).await.unwrap()).await.unwrap()
    }

    /// After a blow: the process ends in order, or it is gone as it stands. Then it starts again.
    async fn open_after(&self, vault: Arc<Vault>, blow: Blow) -> Arc<Vault> {
        if !blow.is_crash() {
            vault.close().await;
        }
        drop(vault);
        self.open().await
    }

    fn permit(&self, action: Action) -> Permit<TenantScope> {
        let roles = [Role::Ingest, Role::Supervisor, Role::PrivacyOfficer];
        let caller = principal(self.tenant, TenantName::parse("acme").unwrap(), &roles);
        self.access.door(&caller, action, self.tenant, Some(why())).unwrap()
    }

    async fn store(&self, vault: &Arc<Vault>, of: &str, length: usize) -> Result<RecordId, VaultError> {
        let stored =
            vault.create_transcript(self.permit(Action::CreateTranscript), chat(of, length), request(of)).await;
        stored.map(|stored| stored.content.id)
    }

    /// Stores the revision behind `base`, with a text of this length.
    async fn revise(
        &self,
        vault: &Arc<Vault>,
        (id, base): (RecordId, Revision),
        of: &str,
        length: usize,
    ) -> Result<Revision, VaultError> {
        let (permit, new) = (self.permit(Action::ReviseTranscript), chat(of, length));
        let revised = vault.revise_transcript(permit, (id, base), new, request(&format!("{id}.{}", base.0))).await;
        revised.map(|revised| revised.content.revision)
    }

    async fn erase_part(&self, vault: &Vault, part: Part) -> Result<Receipt, VaultError> {
        let name = format!("{}.{}", part.record(), part.revision().map_or(0, |revision| revision.0));
        let erased = vault.erase(self.permit(Action::EraseRecord), Target::Part(part), erasure_of(&name)).await;
        erased.map(|erasure| erasure.receipt)
    }

    async fn erase(&self, vault: &Vault, of: &str) -> Result<Receipt, VaultError> {
        let erased =
            vault.erase(self.permit(Action::EraseCustomer), Target::Customer(customer(of)), erasure_of(of)).await;
        erased.map(|erasure| erasure.receipt)
    }

    /// The text of a chat; `None` where a caller sees no such record.
    async fn read(&self, vault: &Vault, id: RecordId) -> Option<String> {
        self.read_revision(vault, id, None).await
    }

    async fn read_revision(&self, vault: &Vault, id: RecordId, revision: Option<u32>) -> Option<String> {
        let door = self.permit(Action::GetTranscript);
        let facts = vault.facts(&door, id, revision.map(Revision)).await.unwrap()?;
        match vault.get_transcript(self.access.record(&door, facts).unwrap()).await {
            Ok(read) => Some(read.content.1[0].turn.text.to_string()),
            Err(VaultError::NotFound) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn list(&self, vault: &Vault, of: &str) -> usize {
        let door = Arc::new(self.permit(Action::ListRecords));
        let by = FindBy::Customer(customer(of));
        let filter = RecordFilter { by, started_from: None, started_before: None };
        let page = Page { question: [0; 32], mark: None, size: 100 };
        let access = Access::new(Policies::default_policy());
        let through = Arc::clone(&door);
        let found = vault.find(&door, &filter, page, move |facts| access.record(&through, facts).ok()).await.unwrap();
        vault.show(&door, &filter, found.handle, found.permits).await.unwrap().content.len()
    }

    fn objects(&self) -> usize {
        let mut folders = vec![self.paths().data.join("objects")];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => files += 1,
                }
            }
        }
        files
    }

    /// The erasures that the ledger calls final.
    fn final_erasures(&self, vault: &Vault) -> usize {
        let (from, to) = rows::all(rows::Kind::Ledger);
        let entries = vault.core.db.range(&from, &to, 4096).unwrap();
        let is_final = |(_, entry): &&Row| matches!(Entry::decode(entry).unwrap().event, Event::ErasureFinal { .. });
        entries.iter().filter(is_final).count()
    }
}

fn limits() -> VaultLimits {
    // Counted, and never met.
    let most = Ceiling {
        reads_per_minute: u32::MAX,
        reads_per_day: u32::MAX,
        customers_per_day: u32::MAX,
        erasures_per_day: u32::MAX,
    };
    let ceilings = Ceilings { agent: most, supervisor: most, privacy_officer: most };
    let (inline_content_bytes, part_bytes) = (2048, 64 << 10);
    VaultLimits { inline_content_bytes, part_bytes, disk_reserve_bytes: 0, ceilings, ..VaultLimits::default() }
}

fn why() -> Why {
    Why { purpose: purpose(), case: None }
}

fn purpose() -> Purpose {
    Purpose::parse("support").unwrap()
}

fn customer(name: &str) -> CustomerId {
    CustomerId::parse(name).unwrap()
}

fn settings() -> TenantSettings {
    TenantSettings {
        purposes: vec![purpose()],
        retention_default_days: None,
        rule_set: RuleSet::Gdpr,
        teams: Vec::new(),
        quotas: Quotas::default(),
    }
}

fn principal(tenant: TenantId, tenant_name: TenantName, roles: &[Role]) -> Principal {
    let name = PrincipalName::parse("one").unwrap();
    let roles = roles.iter().copied().collect();
    let (alias, token) = (BlindIndex([7; 16]), TokenId([9; 16]));
    let teams = Default::default();
    Principal { tenant, tenant_name, name, alias, roles, teams, token, actor: None, actor_token: None }
}

fn origin() -> Origin {
    Origin::parse("vault.example/tests").unwrap()
}

fn erasure_of(name: &str) -> RequestId {
    RequestId::parse(&format!("erasure-of-{name}")).unwrap()
}

fn request(name: &str) -> RequestKey {
    RequestKey { id: RequestId::parse(&format!("request-of-{name}")).unwrap(), hash: [0; 32] }
}

fn details() -> Details {
    Details {
        channel: Channel::Chat,
        language: None,
        agent: Some(PrincipalName::parse("one").unwrap()),
        case_id: None,
        team: None,
        started: Timestamp::now(),
        ended: None,
        purposes: vec![purpose()],
        legal_basis: LegalBasis::Contract,
        tags: Vec::new(),
    }
}

/// Text that does not pack well: letters alone, so that nothing in it looks like a number of somebody's.
fn text(length: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let letter = (state >> 33) as u8 % 52;
        char::from(if letter < 26 { b'a' + letter } else { b'A' + letter - 26 })
    };
    (0..length).map(|_| next()).collect()
}

fn chat(of: &str, length: usize) -> NewTranscript {
    let turn = Turn { speaker: Speaker::Customer, said: None, text: Zeroizing::new(text(length)) };
    NewTranscript { customer: customer(of), details: details(), turns: vec![turn], marked: Vec::new() }
}

/// Polls a future so many times at most, then drops it.
async fn give_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future: Pin<Box<F>> = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Repeats what is refused only because its first try still goes on.
async fn once_free<T>(mut attempt: impl AsyncFnMut() -> Result<T, VaultError>) -> Result<T, VaultError> {
    for _ in 0..500 {
        match attempt().await {
            Err(VaultError::RequestInProgress) => tokio::time::sleep(Duration::from_millis(10)).await,
            outcome => return outcome,
        }
    }
    panic!("the first try never ends");
}

async fn until_equal(what: &str, mut found: impl FnMut() -> usize, expected: usize) {
    for _ in 0..500 {
        if found() == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {} instead of {expected}", found());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_goes_away_at_any_moment_leaves_a_whole_record_or_nothing() {
    let house = House::build().await;
    let vault = house.open().await;
    for (length, parts) in [(100, 0), (150_000, 2)] {
        for polls in 1..MANY {
            let of = format!("customer-{length}-{polls}");
            let before = house.objects();
            let ended = give_up_after(polls, house.store(&vault, &of, length)).await.is_some();
            let id = once_free(async || house.store(&vault, &of, length).await).await.unwrap();
            assert_eq!(house.read(&vault, id).await, Some(text(length)), "{of}");
            assert_eq!(house.list(&vault, &of).await, 1, "{of}");
            until_equal("parts", || house.objects(), before + parts).await;
            if ended {
                break;
            }
        }
    }
    for polls in 1..MANY {
        let of = format!("caller-{polls}");
        let content = bytes::Bytes::from(text(150_000));
        let upload = async || {
            let new = NewRecording {
                customer: customer(&of),
                details: details(),
                media_type: "audio/wav".to_owned(),
                spoken: Vec::new(),
                expected_sha256: None,
            };
            match vault.begin_upload(house.permit(Action::UploadRecording), new, request(&of)).await? {
                Begun::Done(stored) => Ok(stored.content.id),
                Begun::Started(mut upload) => {
                    upload.push(content.clone()).await?;
                    Ok(upload.finish().await?.content.id)
                }
            }
        };
        let before = house.objects();
        let ended = give_up_after(polls, upload()).await.is_some();
        once_free(upload).await.unwrap();
        assert_eq!(house.list(&vault, &of).await, 1, "{of}");
        until_equal("parts", || house.objects(), before + 3).await;
        if ended {
            break;
        }
    }
    for polls in 1..MANY {
        let of = format!("leaver-{polls}");
        let id = house.store(&vault, &of, 100).await.unwrap();
        let ended = give_up_after(polls, house.erase(&vault, &of)).await.is_some();
        house.erase(&vault, &of).await.unwrap();
        assert_eq!(house.read(&vault, id).await, None, "{of}");
        if ended {
            break;
        }
    }
    vault.close().await;
}
