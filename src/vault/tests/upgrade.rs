//! An upgrade that is interrupted at any operation goes on at the next start, and loses nothing.

use super::golden::{contents, unpack};
use super::pages::assert_digests;
use super::*;
use crate::vault::format::{Layout, decode_format};

impl House {
    /// Over the data directory that the release of layout 1 wrote; not opened yet.
    fn of_layout_1() -> Self {
        let folder = tempfile::tempdir().unwrap();
        unpack("v1", folder.path());
        let access = Access::new(Policies::default_policy());
        let (fault, lie, hoard) = (Arc::default(), Arc::default(), Arc::default());
        let limits = VaultLimits { part_bytes: 64 << 10, inline_content_bytes: 32 << 10, ..limits() };
        let (mirrors, tenant) = (Vec::new(), TenantId([0; 16]));
        Self { folder, access, fault, lie, hoard, limits, mirrors, hsm: None, replicas: 1, tenant }
    }

    /// Opens it as [`House::open`] does, and fails where that panics.
    async fn try_open(&self) -> Result<Arc<Vault>, StartError> {
        let (paths, limits, provider) = (self.paths(), self.limits.clone(), self.provider());
        let (fault, lie, hoard) = (Arc::clone(&self.fault), Arc::clone(&self.lie), Arc::clone(&self.hoard));
        let open = move || {
            let db = SledEngine::open(&start::database_folder(&paths.data)).unwrap();
            let life = Arc::<Life>::default();
            let db = FaultyDisk::new(db, Arc::clone(&fault), hoard, Arc::clone(&life));
            let provider = FaultyKey::new(provider, fault, lie, life);
            let signing_key = SigningKeyFile::open(&paths.signing_key).unwrap();
            start::assemble(&paths, limits, Arc::new(db), Arc::new(provider), signing_key)
        };
        Vault::over(tokio::task::spawn_blocking(open).await.unwrap()?).await
    }
}

async fn assert_upgraded(house: &mut House, vault: &Vault, place: &str) {
    let format = vault.core.db.get(&rows::format()).unwrap().unwrap();
    assert_eq!(decode_format(&format).unwrap(), Layout::NEWEST, "{place}");
    assert_digests(vault);
    let verified = vault.core.verify(|_| {}).await.unwrap();
    assert_eq!((verified.opened, verified.damaged, verified.missing), (67, 0, 0), "{place}: {verified:?}");
    house.tenant = vault.tenant_id(TenantName::parse("acme").unwrap()).await.unwrap();
    let records = contents("v1")["records"].clone();
    let of = |number: usize| {
        records[number]["record_id"]
            .as_str()
            .unwrap()
            .parse::<uuid::Uuid>()
            .map(|id| RecordId::from_bytes(id.into_bytes()))
            .unwrap()
    };
    assert_eq!(house.read(vault, of(0)).await.as_deref(), Some("My card was charged twice."), "{place}");
    let again = vault.core.tree.tenant_id(&TenantName::parse("acme").unwrap());
    assert_eq!(again, house.tenant, "{place}");
    // Its answers to erasures have keys of their own, which are replaced every day.
    let answers = || vault.core.tenant_keys(house.tenant).unwrap().answers.current.duplicate();
    let (before, tomorrow) = (answers(), Timestamp::now().plus_ms(24 * 60 * 60 * 1000));
    vault.writer.renew(std::time::Instant::now(), tomorrow).await.unwrap();
    assert!(!answers().same_as(&before), "{place}: the key for answers stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_fails_anywhere_continues_at_the_next_start() {
    let (mut met, mut half_way) = (0, 0);
    for (after, blow) in every_fault() {
        let mut house = House::of_layout_1();
        let place = format!("operation {after}, {blow:?}");
        house.fault.strike(after, blow);
        let opened = house.try_open().await;
        if house.fault.was_missed() {
            assert_upgraded(&mut house, &opened.unwrap(), &place).await;
            break;
        }
        met += 1;
        if let Ok(vault) = opened {
            vault.close().await;
        }
        half_way += usize::from(house.is_half_way());
        let vault = house.open().await;
        assert_upgraded(&mut house, &vault, &place).await;
        house.erase(&vault, "person-11").await.unwrap();
        vault.close().await;
    }
    eprintln!("upgrade: {met} faults met, {half_way} of them left it half-way");
    assert!(met > 20 && half_way > 6, "{met} faults were met, {half_way} half-way");
}

impl House {
    /// Whether some pages have digests, and the layout's row is the old one.
    fn is_half_way(&self) -> bool {
        let db = SledEngine::open(&start::database_folder(&self.paths().data)).unwrap();
        let (from, to) = rows::all(rows::Kind::PageDigest);
        let format = crate::store::Database::get(&db, &rows::format()).unwrap().unwrap();
        let has_digests = !crate::store::Database::range(&db, &from, &to, 1).unwrap().is_empty();
        has_digests && decode_format(&format).unwrap() == Layout::First
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_changed_between_two_starts_of_an_upgrade_is_noticed() {
    let mut house = House::of_layout_1();
    // Behind the first batch of digests, and behind its sync.
    house.fault.strike(3, Blow { behind: true, then: Then::Stops });
    drop(house.try_open().await);
    house.fault.was_missed();
    assert!(house.is_half_way());
    let changed = {
        let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
        let db: &dyn crate::store::Database = &db;
        let (from, to) = rows::all(rows::Kind::PageDigest);
        let digests = db.range(&from, &to, 64).unwrap();
        let mut nodes = digests.iter().filter_map(|(key, _)| rows::parse_page(key));
        let node = nodes.rfind(|node| *node != [0; 16]).unwrap();
        let mut page = db.get(&rows::page(&node)).unwrap().unwrap();
        page[40] ^= 1;
        db.apply(&[crate::store::Write::Put { key: rows::page(&node), value: page }]).unwrap();
        db.sync().unwrap();
        node
    };
    let opened = house.try_open().await;
    let found = match &opened {
        Ok(vault) => {
            let read = crate::keys::PageSource::page(vault.core.tree.pages(), crate::keys::NodeId(changed));
            read.map(drop).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    assert!(found.as_ref().is_err_and(|words| words.contains("integrity check failed")), "{found:?}");
    house.tenant = TenantId([0; 16]);
}

#[tokio::test]
async fn a_layout_of_a_newer_program_is_refused_with_words() {
    let house = House::of_layout_1();
    let newer = crate::domain::codec::Writer::versioned(Layout::NEWEST as u8 + 1).text("oubliette").finish().to_vec();
    deciding::write(&house, &[crate::store::Write::Put { key: rows::format(), value: newer }]);
    let refused = house.try_open().await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("use the newer program that wrote it"), "{refused}");
}
