//! The hoarder: keeps the bytes of every row and every file that were ever durable, and has everything that the service has today.
//! He reaches nothing of whoever was erased, and everything of everybody else, with the same attack.
//!
//! What he keeps is more than any images could show: every version of every row that was ever handed to the disk, also of batches that
//! failed; what stands in the files of mirrors and backups, whatever counts of it; and what a restore or a compaction wrote. He knows no index and trusts none: every key that he reaches is tried on every wrapped secret.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use super::*;
use crate::crypto::secret::{Key, random_bytes};
use crate::domain::ids::{Handle, Pseudonym};
use crate::keys::{NodeId, PageSource, SourceError, reach};
use crate::root_key::RootKey;
use crate::store::{Database, Write};
use crate::vault::forensics::{Plaintext, StolenRecord, StolenRoot, unwrap_secret, unwrap_segment};
use crate::vault::tree::pseudonym;

/// All versions of all rows.
#[derive(Default)]
pub(super) struct Hoard(Mutex<BTreeMap<Vec<u8>, Vec<Vec<u8>>>>);

impl Hoard {
    pub fn keep(&self, writes: &[Write]) {
        let mut rows = self.0.lock().unwrap();
        for write in writes {
            if let Write::Put { key, value } = write {
                let versions = rows.entry(key.clone()).or_default();
                if !versions.contains(value) {
                    versions.push(value.clone());
                }
            }
        }
    }

    /// All that was kept before this process began: what stands on the disk.
    fn keep_all(&self, db: &dyn Database) {
        let mut from = vec![0];
        loop {
            let some = db.range(&from, &[0xff; 64], 1024).unwrap();
            let Some((last, _)) = some.last() else { return };
            from = rows::behind(last.clone());
            let puts: Vec<_> = some.into_iter().map(|(key, value)| Write::Put { key, value }).collect();
            self.keep(&puts);
        }
    }

    pub fn of(&self, kind: rows::Kind) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        let (from, to) = rows::all(kind);
        self.0.lock().unwrap().range(from..to).map(|(key, versions)| (key.clone(), versions.clone())).collect()
    }
}

/// The pages as one image of many: the `n`-th version of each.
struct Image<'a>(&'a HashMap<NodeId, Vec<Vec<u8>>>, usize);

impl PageSource for Image<'_> {
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(&id).and_then(|versions| versions.get(self.1)).cloned())
    }
}

/// What an attack came to.
struct Attack {
    links: Vec<Pseudonym>,
    opened: BTreeSet<RecordId>,
    segment_keys: usize,
    tops: usize,
    pages_opened: usize,
    pages_closed: usize,
}

/// Everything that the hoard gives under the keys that `provider` holds.
fn attack(hoard: &Hoard, provider: &dyn RootKey) -> Attack {
    let roots = hoard.of(rows::Kind::Root).into_iter().flat_map(|(_, versions)| versions);
    let tops: Vec<Key> = roots.flat_map(|row| StolenRoot::read(&row).unwrap().top_keys(provider).unwrap()).collect();
    let pages: HashMap<NodeId, Vec<Vec<u8>>> = hoard
        .of(rows::Kind::Page)
        .into_iter()
        .map(|(key, versions)| (NodeId(key[1..17].try_into().unwrap()), versions))
        .collect();
    let most = pages.values().map(Vec::len).max().unwrap_or(0);
    let images: Vec<_> = (0..most).map(|version| Image(&pages, version)).collect();
    let images: Vec<&dyn PageSource> = images.iter().map(|image| image as &dyn PageSource).collect();
    let tops_reached = tops.len();
    let reached = reach(tops, &images).unwrap();

    // Any key that was reached may be a customer's, whatever the pages say; and any that one of them opens may be a segment's.
    let mut keys: Vec<&Key> = reached.customers.iter().map(|(_, key)| key).collect();
    keys.extend(reached.pages.iter().map(|(_, key)| key));
    let segments = segments(hoard, &reached.tenants, &keys);
    let segment_keys = segments.len();
    keys.extend(&segments);
    let mut secrets: HashMap<Vec<u8>, Vec<Key>> = HashMap::new();
    for (row, versions) in hoard.of(rows::Kind::Secret) {
        let (handle, record, revision) = rows::parse_secret(&row).unwrap();
        for wrapped in &versions {
            let tried = reached.tenants.iter().flat_map(|tenant| keys.iter().map(move |key| (*tenant, *key)));
            let found =
                tried.filter_map(|(tenant, key)| unwrap_secret(tenant, handle, record, revision, key, wrapped).ok());
            secrets.entry(row.clone()).or_default().extend(found);
        }
    }
    let mut opened = BTreeSet::new();
    for (key, versions) in hoard.of(rows::Kind::Record) {
        let (record, revision, piece) = rows::parse_record_piece(&key).unwrap();
        // All records here are short: their rows have one piece.
        assert_eq!(piece, 0);
        for row in versions {
            let tenant = TenantId(key[1..17].try_into().unwrap());
            let stolen = StolenRecord::read(tenant, record, revision, row).unwrap();
            let tried = secrets.get(&stolen.secret_row()).into_iter().flatten();
            let found = tried.filter(|secret| matches!(stolen.open(secret, &mut |_| None), Ok(Plaintext::Chat(_))));
            opened.extend(found.map(|_| record));
        }
    }
    Attack {
        links: reached.links.iter().map(|(person, _)| *person).collect(),
        opened,
        segment_keys,
        tops: tops_reached,
        pages_opened: reached.pages_opened,
        pages_closed: reached.pages_closed,
    }
}

/// All keys of segments that any of `keys` opens.
fn segments(hoard: &Hoard, tenants: &[TenantId], keys: &[&Key]) -> Vec<Key> {
    let mut found: Vec<Key> = Vec::new();
    for (row, versions) in hoard.of(rows::Kind::Segment) {
        let handle = Handle(row[1..17].try_into().unwrap());
        let first = rows::parse_segment(&row).unwrap();
        for wrapped in &versions {
            let tried = tenants.iter().flat_map(|tenant| keys.iter().map(move |key| (*tenant, *key)));
            let opened = tried.filter_map(|(tenant, key)| unwrap_segment(tenant, handle, first, key, wrapped).ok());
            for key in opened.collect::<Vec<_>>() {
                if !found.iter().any(|known| known.same_as(&key)) {
                    found.push(key);
                }
            }
        }
    }
    found
}

/// What a history has had in it. A zero is a failure: then the attack proves less than it says.
#[derive(Debug, Default)]
struct Coverage {
    living: usize,
    erased: usize,
    single_records: usize,
    segments: usize,
    tenants: usize,
    shared_epochs: usize,
    aborted_epochs: usize,
    restarts: usize,
    restores: usize,
    restores_from_backups: usize,
    compactions: usize,
    rows_of_mirrors: usize,
    pages_that_came_and_went: usize,
}

/// A history, and the hoard of it.
struct History {
    house: House,
    vault: Option<Arc<Vault>>,
    hoard: Arc<Hoard>,
    /// What stood in the files of mirrors and backups, alone.
    copies: Hoard,
    chance: Chance,
    living: BTreeMap<String, Vec<RecordId>>,
    erased: BTreeMap<String, Vec<RecordId>>,
    coverage: Coverage,
    next: usize,
}

/// Numbers from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

impl History {
    async fn begin(seed: u64, leaf_entries: usize) -> Self {
        let house = House::mirrored(VaultLimits {
            leaf_entries,
            segment_secrets: 3,
            tenant_erasure_delay: Duration::ZERO,
            ..limits()
        })
        .await;
        let hoard = Arc::clone(&house.hoard);
        let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
        hoard.keep_all(&db);
        drop(db);
        let vault = Some(house.open().await);
        let copies = Hoard::default();
        let (chance, coverage) = (Chance(seed), Coverage::default());
        let (living, erased) = (BTreeMap::new(), BTreeMap::new());
        Self { house, vault, hoard, copies, chance, living, erased, coverage, next: 0 }
    }

    fn vault(&self) -> &Arc<Vault> {
        self.vault.as_ref().unwrap()
    }

    async fn put(&mut self) {
        let known: Vec<_> = self.living.keys().cloned().collect();
        let of = match self.chance.below(3) {
            0 | 1 if !known.is_empty() => known[self.chance.below(known.len())].clone(),
            _ => format!("customer-{:04}", self.next),
        };
        self.next += 1;
        let request = request(&format!("{}", self.next));
        let stored =
            self.vault().create_transcript(self.house.permit(Action::CreateTranscript), chat(&of, 40), request);
        let id = stored.await.unwrap().content.id;
        self.living.entry(of).or_default().push(id);
    }

    /// Erases up to `count` customers at once: one of them may go first, the others share an epoch.
    async fn erase(&mut self, count: usize) {
        let mut chosen = Vec::new();
        for _ in 0..count.min(self.living.len().saturating_sub(1)) {
            let at = self.chance.below(self.living.len());
            let of = self.living.keys().nth(at).unwrap().clone();
            let records = self.living.remove(&of).unwrap();
            chosen.push((of, records));
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (of, _) in &chosen {
            let (vault, permit, of) =
                (Arc::clone(self.vault()), self.house.permit(Action::EraseCustomer), customer(of));
            let request = erasure_of(of.as_str());
            tasks.spawn(async move {
                vault.erase(permit, Target::Customer(of), request).await.unwrap().receipt.erased.epoch
            });
        }
        let epochs = tasks.join_all().await;
        let distinct: BTreeSet<_> = epochs.iter().collect();
        self.coverage.shared_epochs += epochs.len() - distinct.len();
        self.erased.extend(chosen);
    }

    /// Erases up to two records of customers who stay, at once.
    async fn erase_records(&mut self) {
        let mut chosen = Vec::new();
        for _ in 0..2 {
            let people: Vec<_> =
                self.living.iter().filter(|(_, records)| records.len() > 1).map(|(of, _)| of.clone()).collect();
            if people.is_empty() {
                break;
            }
            let of = people[self.chance.below(people.len())].clone();
            let records = self.living.get_mut(&of).unwrap();
            let record = records.swap_remove(self.chance.below(records.len()));
            chosen.push((of, record));
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (_, record) in &chosen {
            let (vault, permit, record) = (Arc::clone(self.vault()), self.house.permit(Action::EraseRecord), *record);
            let request = erasure_of(&record.to_string());
            tasks.spawn(async move { vault.erase(permit, Target::Record(record), request).await.map(drop).unwrap() });
        }
        tasks.join_all().await;
        self.coverage.single_records += chosen.len();
        for (of, record) in chosen {
            self.erased.entry(format!("{of} in part")).or_default().push(record);
        }
    }

    /// Makes a second tenant with a record, and erases it as a whole.
    async fn erase_a_tenant(&mut self) {
        let vault = Arc::clone(self.vault());
        let system = vault.tenant_id(TenantName::system()).await.unwrap();
        let (tenant, record) = tenants::neighbour(&self.house, &vault, system).await;
        let admin = |of, action| self.house.admin(system, of, action, tenant);
        vault.request_tenant_erasure(admin(1, Action::RequestTenantErasure)).await.unwrap();
        let (name, request) = (TenantName::parse("globex").unwrap(), erasure_of("globex"));
        vault.erase_tenant(admin(2, Action::ApproveTenantErasure), name, request).await.unwrap();
        drop(vault);
        self.coverage.tenants += 1;
        self.erased.insert("nora in part".to_owned(), vec![record]);
    }

    /// An erasure that fails somewhere, a restart, and the erasure again.
    async fn erase_with_a_fault(&mut self) {
        if self.living.len() < 2 {
            return;
        }
        let at = self.chance.below(self.living.len());
        let of = self.living.keys().nth(at).unwrap().clone();
        let (after, behind) = (self.chance.below(12), self.chance.below(2) == 0);
        self.house.fault.arm(after, behind);
        let answer = self.house.erase(self.vault(), &of).await;
        self.coverage.aborted_epochs += usize::from(!self.house.fault.was_missed() && answer.is_err());
        match self.chance.below(2) {
            0 => self.restart(false).await,
            _ => self.lose_the_disk(None).await,
        }
        self.house.erase(self.vault(), &of).await.unwrap();
        let records = self.living.remove(&of).unwrap();
        self.erased.insert(of, records);
    }

    async fn restart(&mut self, in_order: bool) {
        let vault = self.vault.take().unwrap();
        if in_order {
            vault.reclaim().await.unwrap();
        }
        vault.close().await;
        drop(vault);
        self.vault = Some(self.house.open().await);
        self.coverage.restarts += 1;
    }

    /// Keeps what stands in the files of the mirrors and of a backup.
    fn keep_copies(&mut self, backup: Option<&PathBuf>) {
        let mirrors = [Sort::Whole, Sort::Keys].map(|sort| self.house.mirror(sort));
        for directory in mirrors.iter().chain(backup) {
            let writes = crate::store::mirror::every_write(directory).unwrap();
            self.coverage.rows_of_mirrors += writes.len();
            self.copies.keep(&writes);
            self.hoard.keep(&writes);
        }
    }

    /// The disk is lost, and the data restored: from the mirror of everything, or from that of the keys and a backup.
    async fn lose_the_disk(&mut self, backup: Option<PathBuf>) {
        let vault = self.vault.take().unwrap();
        vault.close().await;
        drop(vault);
        self.keep_copies(backup.as_ref());
        self.house.lose_the_disk();
        if backup.is_some() {
            // Nobody restores from less while the mirror of everything is there: it is lost too, and another disk takes its place.
            std::fs::remove_dir_all(self.house.mirror(Sort::Whole)).unwrap();
            create_mirror(&self.house.mirror(Sort::Whole)).unwrap();
        }
        self.coverage.restores += 1;
        self.coverage.restores_from_backups += usize::from(backup.is_some());
        let from = if backup.is_some() { Sort::Keys } else { Sort::Whole };
        let restored = self.house.restore(from, backup).await.unwrap();
        assert_eq!((restored.verified.damaged, restored.verified.missing), (0, 0));
        self.open().await;
    }

    /// A backup, an erasure after it, and the loss of all but the backup and the keys.
    async fn lose_all_but_a_backup(&mut self) {
        restore_drill::mirrored(self.vault()).await;
        let backup = self.house.back_up(&format!("backup-{}", self.coverage.restores)).await;
        self.erase(1).await;
        self.lose_the_disk(Some(backup)).await;
    }

    /// The database is written anew.
    async fn compact(&mut self) {
        let vault = self.vault.take().unwrap();
        vault.close().await;
        drop(vault);
        Vault::compact(self.house.paths(), |_| {}).await.unwrap();
        self.coverage.compactions += 1;
        self.open().await;
    }

    /// Opens the vault on a database that something else than the service has written.
    async fn open(&mut self) {
        let db = SledEngine::open(&start::database_folder(&self.house.paths().data)).unwrap();
        self.hoard.keep_all(&db);
        drop(db);
        self.vault = Some(self.house.open().await);
    }

    /// The attack, after everything else; it needs the provider of now, and no service.
    async fn attack(mut self) -> (Attack, BTreeSet<RecordId>, BTreeSet<RecordId>, Coverage) {
        let vault = self.vault.take().unwrap();
        let keys = vault.core.tenant_keys(self.house.tenant).unwrap();
        let whole = self.erased.keys().filter(|of| !of.ends_with("in part"));
        let erased_people: Vec<_> = whole.map(|of| pseudonym(&keys, &customer(of))).collect();
        vault.close().await;
        drop(vault);
        self.keep_copies(None);
        let provider = self.house.provider();
        assert_eq!(provider.held().unwrap().len(), 1);
        let with_copies = attack(&self.copies, &*provider).opened;
        let attack = attack(&self.hoard, &*provider);
        assert_eq!(with_copies, attack.opened, "the mirrors do not hold what the disks held");
        for person in &erased_people {
            assert!(!attack.links.contains(person), "a page that opens links an erased person to a handle");
        }
        let ids = |of: &BTreeMap<String, Vec<RecordId>>| of.values().flatten().copied().collect::<BTreeSet<_>>();
        let (living, erased) = (ids(&self.living), ids(&self.erased));
        self.coverage.living = living.len();
        self.coverage.erased = erased.len();
        self.coverage.pages_that_came_and_went = attack.pages_closed;
        self.coverage.segments = attack.segment_keys;
        (attack, living, erased, self.coverage)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hoarder_of_every_write_reaches_nothing_of_the_erased_and_all_of_the_living() {
    let seed = std::env::var("OUBLIETTE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from_be_bytes(random_bytes()));
    for leaf_entries in [2, 48] {
        let place = format!("leaves of {leaf_entries}, OUBLIETTE_SEED={seed}");
        let mut history = History::begin(seed, leaf_entries).await;
        for step in 0..200 {
            // Once at least, whatever chance says.
            match step {
                60 => history.compact().await,
                80 => history.lose_the_disk(None).await,
                100 => history.erase_a_tenant().await,
                120 => history.lose_all_but_a_backup().await,
                _ => {}
            }
            match history.chance.below(32) {
                _ if step < 20 => history.put().await,
                0 => history.erase(1).await,
                1 => history.erase(3).await,
                2 => history.erase_with_a_fault().await,
                3 => history.restart(true).await,
                4 | 5 => history.erase_records().await,
                6 if step % 2 == 0 => history.lose_the_disk(None).await,
                6 => history.compact().await,
                7 => history.lose_all_but_a_backup().await,
                _ => history.put().await,
            }
        }
        // Whoever kept one old root key, of before the last erasure, wins with the same attack: so the attack is real, and it is the
        // destruction of that key that stands against it, and nothing else.
        while history.living.len() < 4 {
            history.put().await;
        }
        let (pocket, before) = (tempfile::tempdir().unwrap(), history.erased.len());
        let kept = pocket.path().join("root.key");
        std::fs::copy(history.house.root_key(), &kept).unwrap();
        history.erase(2).await;
        assert!(history.erased.len() > before, "{place}: nobody was left to erase");
        let hoard = Arc::clone(&history.hoard);
        let (now, living, erased, coverage) = history.attack().await;
        println!("hoarder, {place}: {coverage:?}; {} pages opened", now.pages_opened);
        let with_an_old_key = attack(&hoard, &FileRootKey::open(&[kept]).unwrap());
        assert!(!with_an_old_key.opened.is_disjoint(&erased), "{place}: the attack is not real");
        assert!(now.opened.is_disjoint(&erased), "{place}: erased records open");
        assert_eq!(now.opened, living, "{place}: living records do not open");
        assert_eq!(now.tops, 1, "{place}: the root row of an older epoch opens");
        for (what, count) in [
            ("living", coverage.living),
            ("erased", coverage.erased),
            ("records erased alone", coverage.single_records),
            ("segments", coverage.segments),
            ("tenants erased", coverage.tenants),
            ("erasures that shared an epoch", coverage.shared_epochs),
            ("aborted epochs", coverage.aborted_epochs),
            ("restarts", coverage.restarts),
            ("restores", coverage.restores),
            ("restores from backups", coverage.restores_from_backups),
            ("compactions", coverage.compactions),
            ("rows of mirrors", coverage.rows_of_mirrors),
            ("pages that stay closed", coverage.pages_that_came_and_went),
        ] {
            assert!(count > 0, "{place}: the history had no {what}");
        }
    }
}
