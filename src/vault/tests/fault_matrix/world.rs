//! A vault with something of every kind, whose rows are damaged past the service.

use super::*;
use crate::keys::View;
use crate::store::{Batch, Write};

/// A house with something of every kind.
pub(super) struct World {
    pub house: House,
    pub vault: Arc<Vault>,
    pub system: TenantId,
    pub other: TenantId,
    pub of_other: RecordId,
    pub ada: Handle,
    pub records: Vec<RecordId>,
    /// A record of another customer.
    pub bob: RecordId,
    /// Customers who are erased while something is damaged, and after a restart.
    pub cleo: String,
    pub late: String,
}

impl World {
    pub async fn build() -> Self {
        let limits =
            VaultLimits { tenant_erasure_delay: Duration::ZERO, segment_secrets: 3, leaf_entries: 2, ..limits() };
        let house = House::mirrored(limits).await;
        let vault = house.open().await;
        let system = vault.tenant_id(TenantName::system()).await.unwrap();
        let (other, of_other) = tenants::neighbour(&house, &vault, system).await;
        let mut records = vec![house.store(&vault, "ada", 60).await.unwrap()];
        for number in 1..6 {
            let (permit, new) = (house.permit(Action::CreateTranscript), chat("ada", 60));
            let stored = vault.create_transcript(permit, new, request(&format!("ada-{number}"))).await.unwrap();
            records.push(stored.content.id);
        }
        let ada = vault.core.known_customer(house.tenant, &customer("ada")).unwrap().unwrap();
        // Enough others that some stand on other pages than she does.
        let mut others = Vec::new();
        for number in 0..12 {
            let of = format!("customer-{number}");
            let record = house.store(&vault, &of, 60).await.unwrap();
            let handle = vault.core.known_customer(house.tenant, &customer(&of)).unwrap().unwrap();
            if handle.0[0] >> 4 != ada.0[0] >> 4 {
                others.push((of, record));
            }
        }
        house.store(&vault, "gone", 60).await.unwrap();
        house.store(&vault, "long", 150_000).await.unwrap();
        let bob = others.pop().unwrap().1;
        house.assign(&vault, "ada").await.unwrap();
        house.break_glass(&vault, "ada").await.unwrap();
        house.new_token(&vault, system).await;
        house.approve(&vault, 5).await;
        house.read(&vault, bob).await.unwrap();
        house.erase(&vault, "gone").await.unwrap();
        let part = house.store(&vault, "part", 60).await.unwrap();
        house.erase_part(&vault, Part::Record(part)).await.unwrap();
        let [(cleo, _), (late, _)] = [others.pop().unwrap(), others.pop().unwrap()];
        let world = Self { house, vault, system, other, of_other, ada, records, bob, cleo, late };
        world.erase_a_third_tenant().await;
        // So many entries that a block of them is complete.
        while world.vault.core.committer.log().size() < 300 {
            world.house.read(&world.vault, bob).await.unwrap();
        }
        world
    }

    async fn erase_a_third_tenant(&self) {
        let name = || TenantName::parse("initech").unwrap();
        let permit = self.house.admin(self.system, 1, Action::CreateTenant, self.system);
        self.vault.create_tenant(permit, name(), settings()).await.unwrap();
        let third = self.vault.tenant_id(name()).await.unwrap();
        let asked = self.house.admin(self.system, 1, Action::RequestTenantErasure, third);
        self.vault.request_tenant_erasure(asked).await.unwrap();
        let approval = self.house.admin(self.system, 2, Action::ApproveTenantErasure, third);
        self.vault.erase_tenant(approval, name(), erasure_of("initech")).await.unwrap();
    }

    pub async fn erase_tenant(&self) -> Result<(), VaultError> {
        let asked = self.house.admin(self.system, 1, Action::RequestTenantErasure, self.house.tenant);
        self.vault.request_tenant_erasure(asked).await?;
        let approval = self.house.admin(self.system, 2, Action::ApproveTenantErasure, self.house.tenant);
        let name = TenantName::parse("acme").unwrap();
        self.vault.erase_tenant(approval, name, erasure_of("acme")).await.map(drop)
    }

    pub fn first(&self, kind: Kind) -> Option<Row> {
        let (from, to) = rows::all(kind);
        self.vault.core.db.range(&from, &to, 1).unwrap().pop()
    }

    async fn put(&self, key: Vec<u8>, value: Vec<u8>) {
        let mut batch = Batch::new();
        batch.put(key, value);
        self.vault.core.committer.commit(batch).await.unwrap();
    }

    /// The row of a kind that is damaged. What there is none of now, once there was: it is as the service wrote it.
    pub async fn target(&self, Case { kind, what, .. }: &Case) -> Row {
        let (tenant, ada, kind) = (self.house.tenant, self.ada, *kind);
        let key = match kind {
            Kind::Secret if *what == OF_PROFILE => Some(rows::secret(ada, RecordId::PROFILE, Revision::FIRST)),
            Kind::Secret => Some(rows::secret(ada, self.records[0], Revision::FIRST)),
            Kind::Segment => Some(rows::segments(ada).0),
            Kind::Record => Some(rows::record_piece(tenant, self.records[1], Revision::FIRST, 0)),
            Kind::Profile => Some(rows::profile(ada)),
            Kind::Page => Some(self.page_of_ada()),
            Kind::PageDigest => Some(rows::page_digest(&rows::parse_page(&self.page_of_ada()).unwrap())),
            Kind::Tenant => Some(rows::tenant_piece(self.other, 0)),
            Kind::Ledger => Some(rows::ledger(280)),
            _ => None,
        };
        if let Some(key) = key {
            let (_, to) = rows::all(kind);
            return self.vault.core.db.range(&key, &to, 1).unwrap().pop().unwrap();
        }
        if let Some(row) = self.first(kind) {
            return row;
        }
        let versions = self.house.hoard.of(kind);
        let row = match kind {
            Kind::RefusedJob => (rows::refused_job(&rows::reclaim(ada)), vec![1, 2, 3]),
            // Only there where an approval was used.
            Kind::Approved => {
                let (key, _) = self.first(Kind::Approval).unwrap();
                ([&[Kind::Approved as u8], &key[1..]].concat(), 1_u64.to_be_bytes().to_vec())
            }
            _ => {
                let (key, values) = versions.into_iter().next().unwrap_or_else(|| panic!("no row of {kind:?}"));
                (key, values[0].clone())
            }
        };
        self.put(row.0.clone(), row.1.clone()).await;
        row
    }

    /// The leaf page with ada's key.
    pub fn page_of_ada(&self) -> Vec<u8> {
        let core = &self.vault.core;
        let keys = core.tenant_keys(self.house.tenant).unwrap();
        let top = core.tree.top();
        let view = View::new(core.tree.pages(), &top.key);
        let pages = view.pages_of(self.house.tenant, &keys, &mut Vec::new()).unwrap();
        let is_on_the_way = |page: &crate::keys::NodeId| {
            let (key, hidden) = (rows::page(&page.0), HiddenPage { pages: core.tree.pages(), page: *page });
            let found = View::new(&hidden, &top.key).customer(&keys, self.ada);
            found.is_err().then_some(key)
        };
        // Those that come later stand below those before.
        pages.iter().rev().find_map(is_on_the_way).unwrap()
    }

    /// Flips a bit of a row, and writes it past the service; returns what stands there now.
    pub fn damage(&self, (key, mut value): Row, at: usize) -> Row {
        match value.get_mut(at) {
            Some(byte) => *byte ^= 0x10,
            None => value.push(1),
        }
        self.vault.core.db.apply(&[Write::Put { key: key.clone(), value: value.clone() }]).unwrap();
        self.vault.core.db.sync().unwrap();
        (key, value)
    }

    pub async fn close(self) -> Stopped {
        let Self { house, vault, system, other, of_other, ada, records, bob, cleo, late } = self;
        vault.close().await;
        drop(vault);
        let with = move |house, vault| Self { house, vault, system, other, of_other, ada, records, bob, cleo, late };
        Stopped { house, with: Box::new(with) }
    }

    pub async fn reads_other_tenant(&self) -> bool {
        let caller = principal(self.other, TenantName::parse("globex").unwrap(), &[Role::Supervisor]);
        let door = self.house.access.door(&caller, Action::GetTranscript, self.other, Some(why())).unwrap();
        let Ok(Some(facts)) = self.vault.facts(&door, self.of_other, None).await else { return false };
        self.vault.get_transcript(self.house.access.record(&door, facts).unwrap()).await.is_ok()
    }
}

/// A world whose service has stopped.
pub(super) struct Stopped {
    pub house: House,
    with: Box<dyn FnOnce(House, Arc<Vault>) -> World>,
}

impl Stopped {
    pub async fn open(self) -> Result<World, String> {
        match Vault::open(self.house.paths(), self.house.limits.clone()).await {
            Ok(vault) => Ok((self.with)(self.house, vault)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// All pages but one.
struct HiddenPage<'a> {
    pages: &'a tree::Pages,
    page: crate::keys::NodeId,
}

impl crate::keys::PageSource for HiddenPage<'_> {
    fn page(&self, id: crate::keys::NodeId) -> Result<Option<Vec<u8>>, crate::keys::SourceError> {
        if id == self.page { Ok(None) } else { self.pages.page(id) }
    }
}
