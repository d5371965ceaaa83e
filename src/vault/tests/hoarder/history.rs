//! A random history of everything that can happen to a vault, with a hoarder beside it.

mod misfortunes;

use std::collections::{BTreeMap, BTreeSet};

use super::attack::{Attack, Hoard, Kept, attack, records};
use super::*;
use crate::domain::ids::Handle;
use crate::vault::tests::approvals::erasing_alone;
use crate::vault::tree::pseudonym;

/// What a history has had in it. A zero is a failure: then the attack proves less than it says.
#[derive(Debug, Default)]
pub struct Coverage {
    pub living: usize,
    pub erased: usize,
    pub single_records: usize,
    pub revisions: usize,
    pub revisions_erased_alone: usize,
    pub segments: usize,
    pub tenants: usize,
    pub recordings: usize,
    pub long_chats: usize,
    pub reads: usize,
    /// Cases assigned, and glass broken.
    pub grants: usize,
    pub shared_epochs: usize,
    /// Those in which a root key was staged before something failed.
    pub aborted_epochs: usize,
    pub crashes: usize,
    /// Writes that a crash took: they may be there, unseen by who wrote them.
    pub unacknowledged: usize,
    pub restarts: usize,
    pub restores: usize,
    pub restores_from_backups: usize,
    pub compactions: usize,
    pub rows_of_mirrors: usize,
    pub objects: usize,
    pub pages_that_came_and_went: usize,
    /// Pages of tries that had split, among those of now.
    pub inner_pages: usize,
}

/// What a record is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Short,
    /// A chat that goes to objects.
    Long,
    /// A recording, of two parts.
    Call,
}

/// A record about to be stored.
struct Put {
    of: String,
    request: String,
    shape: Shape,
}

/// What the hoarder must reach, and what he must not.
#[derive(Default)]
pub struct Truth {
    pub living: BTreeSet<Kept>,
    pub erased: BTreeSet<Kept>,
    /// Names and handles of customers.
    pub people: BTreeMap<String, Handle>,
    pub erased_people: BTreeMap<String, Handle>,
    /// Records with objects.
    pub in_objects: BTreeSet<RecordId>,
    /// Customers of whom somebody got a case, or for whom a glass was broken.
    pub granted: BTreeSet<Handle>,
}

/// A history, and the hoard of it.
pub struct History {
    pub house: House,
    vault: Option<Arc<Vault>>,
    pub hoard: Arc<Hoard>,
    /// What stood in the files of mirrors and backups, alone.
    copies: Hoard,
    pub chance: Chance,
    pub living: BTreeMap<String, Vec<Kept>>,
    pub erased: BTreeMap<String, Vec<Kept>>,
    pub coverage: Coverage,
    pub next: usize,
    pub truth: Truth,
    calls: BTreeSet<RecordId>,
}

/// Customers who come in one go at the beginning: more than a leaf page holds at either limit, so that its page splits.
const NEWCOMERS: usize = 60;
const CALL_BYTES: usize = 6_000;

/// Numbers from a seed (splitmix64).
pub struct Chance(u64);

impl Chance {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

impl History {
    pub async fn begin(seed: u64, leaf_entries: usize) -> Self {
        let house = House::mirrored(VaultLimits {
            leaf_entries,
            segment_secrets: 3,
            part_bytes: 4_096,
            tenant_erasure_delay: Duration::ZERO,
            // All but one a day need a second person.
            ..erasing_alone(1)
        })
        .await;
        let hoard = Arc::clone(&house.hoard);
        let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
        hoard.keep_all(&db);
        drop(db);
        let vault = house.open().await;
        // Whatever befalls the vault, it stands: without it nothing more is erased.
        house.approve(&vault, 1_000_000).await;
        let vault = Some(vault);
        let copies = Hoard::default();
        let (chance, coverage) = (Chance(seed), Coverage::default());
        let (living, erased) = (BTreeMap::new(), BTreeMap::new());
        let (truth, calls) = (Truth::default(), BTreeSet::new());
        Self { house, vault, hoard, copies, chance, living, erased, coverage, next: 0, truth, calls }
    }

    /// Many new customers at once.
    async fn people_come(&mut self) {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..NEWCOMERS {
            let (vault, permit) = (Arc::clone(self.vault()), self.house.permit(Action::CreateTranscript));
            let of = format!("newcomer-{number:03}");
            tasks.spawn(async move {
                let stored = vault.create_transcript(permit, chat(&of, 40), request(&of)).await;
                let id = stored.unwrap().content.id;
                (of, id)
            });
        }
        for (of, id) in tasks.join_all().await {
            self.is_stored(&of, id, Shape::Short);
        }
    }

    /// A hundred and sixty steps of it.
    pub async fn go_on(&mut self) {
        self.people_come().await;
        for step in 0..160 {
            // Once at least, whatever chance says.
            match step {
                60 => self.compact().await,
                50 | 110 | 130 => self.crash().await,
                40 | 90 => {
                    self.grant().await;
                    self.read().await;
                }
                80 => self.lose_the_disk(None).await,
                100 => self.erase_a_tenant().await,
                70 | 140 => {
                    self.revise().await;
                    self.erase_a_revision().await;
                }
                120 => self.lose_all_but_a_backup().await,
                150 => {
                    for _ in 0..8 {
                        if self.coverage.aborted_epochs == 0 {
                            self.erase_with_a_fault().await;
                        }
                    }
                }
                _ => {}
            }
            match self.chance.below(40) {
                _ if step < 10 => self.put().await,
                0 => self.erase(1).await,
                1 => self.erase(3).await,
                2 => self.erase_with_a_fault().await,
                3 => self.restart(true).await,
                4 | 5 => self.erase_records().await,
                6 if step % 2 == 0 => self.lose_the_disk(None).await,
                6 => self.compact().await,
                7 => self.lose_all_but_a_backup().await,
                8..12 => self.revise().await,
                12 => self.erase_a_revision().await,
                13 => self.crash().await,
                14..16 => self.grant().await,
                16..21 => self.read().await,
                _ => self.put().await,
            }
            self.hoard.keep_objects(&self.house.paths().data.join("objects"));
        }
    }

    pub fn vault(&self) -> &Arc<Vault> {
        self.vault.as_ref().unwrap()
    }

    pub async fn put(&mut self) {
        let put = self.next_put();
        let id = self.store(&put).await.unwrap();
        self.is_stored(&put.of, id, put.shape);
    }

    fn next_put(&mut self) -> Put {
        let known: Vec<_> = self.living.keys().cloned().collect();
        let of = match self.chance.below(3) {
            0 | 1 if !known.is_empty() => known[self.chance.below(known.len())].clone(),
            _ => format!("customer-{:04}", self.next),
        };
        self.next += 1;
        let shape = match self.chance.below(8) {
            0 => Shape::Long,
            1 => Shape::Call,
            _ => Shape::Short,
        };
        Put { of, request: format!("{}", self.next), shape }
    }

    async fn store(&self, put: &Put) -> Result<RecordId, VaultError> {
        let (vault, length) = (self.vault(), if put.shape == Shape::Long { 5_000 } else { 40 });
        if put.shape != Shape::Call {
            let permit = self.house.permit(Action::CreateTranscript);
            let stored = vault.create_transcript(permit, chat(&put.of, length), request(&put.request)).await;
            return stored.map(|stored| stored.content.id);
        }
        let new = NewRecording {
            customer: customer(&put.of),
            details: details(),
            media_type: "audio/wav".to_owned(),
            spoken: Vec::new(),
            expected_sha256: None,
        };
        match vault.begin_upload(self.house.permit(Action::UploadRecording), new, request(&put.request)).await? {
            Begun::Done(stored) => Ok(stored.content.id),
            Begun::Started(mut upload) => {
                upload.push(bytes::Bytes::from(text(CALL_BYTES))).await?;
                Ok(upload.finish().await?.content.id)
            }
        }
    }

    fn is_stored(&mut self, of: &str, id: RecordId, shape: Shape) {
        let keys = self.vault().core.tenant_keys(self.house.tenant).unwrap();
        let handle = self.vault().core.tree.handle(self.house.tenant, pseudonym(&keys, &customer(of)));
        self.truth.people.insert(of.to_owned(), handle.unwrap().unwrap());
        self.living.entry(of.to_owned()).or_default().push((id, Revision::FIRST));
        self.coverage.long_chats += usize::from(shape == Shape::Long);
        self.coverage.recordings += usize::from(shape == Shape::Call);
        if shape != Shape::Short {
            self.truth.in_objects.insert(id);
        }
        if shape == Shape::Call {
            self.calls.insert(id);
        }
    }

    /// Whoever is erased as a whole.
    fn is_erased(&mut self, of: String, records: Vec<Kept>) {
        let handle = self.truth.people.remove(&of).unwrap();
        self.truth.erased_people.insert(of.clone(), handle);
        self.erased.insert(of, records);
    }

    /// Reads what is there, and looks for what is not.
    async fn read(&mut self) {
        let calls = self.calls.clone();
        let Some((_, (id, revision))) = self.some_record(|_, (id, _)| !calls.contains(&id)) else { return };
        assert!(self.house.read_revision(self.vault(), id, Some(revision.0)).await.is_some());
        if let Some((id, revision)) = self.erased.values().flatten().find(|(id, _)| !calls.contains(id)) {
            assert_eq!(self.house.read_revision(self.vault(), *id, Some(revision.0)).await, None);
        }
        self.coverage.reads += 1;
    }

    /// A customer, and a record of hers that `fits`, by its newest revision.
    pub fn some_record(&mut self, fits: impl Fn(&[Kept], Kept) -> bool) -> Option<(String, Kept)> {
        let newest =
            |all: &[Kept], (id, one): Kept| all.iter().all(|(other, revision)| *other != id || *revision <= one);
        let all = self.living.iter().flat_map(|(of, kept)| kept.iter().map(move |one| (of, kept, *one)));
        let fit = all.filter(|(_, kept, one)| newest(kept, *one) && fits(kept, *one));
        let fit: Vec<_> = fit.map(|(of, _, one)| (of.clone(), one)).collect();
        if fit.is_empty() { None } else { Some(fit[self.chance.below(fit.len())].clone()) }
    }

    /// Assigns a case of a customer, and breaks the glass.
    async fn grant(&mut self) {
        let Some((of, _)) = self.some_record(|_, _| true) else { return };
        self.house.assign(self.vault(), &of).await.unwrap();
        self.house.break_glass(self.vault(), &of).await.unwrap();
        self.truth.granted.insert(self.truth.people[&of]);
        self.coverage.grants += 1;
    }

    pub async fn revise(&mut self) {
        let calls = self.calls.clone();
        let Some((of, (id, base))) = self.some_record(|_, (id, _)| !calls.contains(&id)) else { return };
        let revision = self.house.revise(self.vault(), (id, base), &of, 50).await.unwrap();
        self.living.get_mut(&of).unwrap().push((id, revision));
        self.coverage.revisions += 1;
    }

    /// Erases a revision that is not the newest of its record.
    pub async fn erase_a_revision(&mut self) {
        let has_older = |kept: &[Kept], (id, newest): Kept| kept.iter().any(|one| one.0 == id && one.1 < newest);
        let Some((of, (id, newest))) = self.some_record(has_older) else { return };
        let kept = self.living.get_mut(&of).unwrap();
        let at = kept.iter().position(|one| one.0 == id && one.1 < newest).unwrap();
        let (id, revision) = kept.swap_remove(at);
        self.house.erase_part(self.vault(), Part::Revision(id, revision)).await.unwrap();
        self.erased.entry(format!("{of} in part")).or_default().push((id, revision));
        self.coverage.revisions_erased_alone += 1;
    }

    /// A new customer with a record of every shape.
    pub async fn somebody_with_everything(&mut self) -> String {
        let of = format!("everything-{:04}", self.next);
        for shape in [Shape::Short, Shape::Long, Shape::Call] {
            self.next += 1;
            let put = Put { of: of.clone(), request: format!("{}", self.next), shape };
            let id = self.store(&put).await.unwrap();
            self.is_stored(&of, id, shape);
        }
        self.house.assign(self.vault(), &of).await.unwrap();
        self.truth.granted.insert(self.truth.people[&of]);
        self.hoard.keep_objects(&self.house.paths().data.join("objects"));
        of
    }

    /// Erases up to `count` customers at once: one of them may go first, the others share an epoch.
    pub async fn erase(&mut self, count: usize) {
        let mut names: Vec<String> = self.living.keys().cloned().collect();
        let count = count.min(names.len().saturating_sub(1));
        let chosen = (0..count).map(|_| names.swap_remove(self.chance.below(names.len())));
        let chosen = chosen.collect();
        self.erase_these(chosen).await;
    }

    pub async fn erase_these(&mut self, names: Vec<String>) {
        let chosen: Vec<_> = names.into_iter().map(|of| self.living.remove_entry(&of).unwrap()).collect();
        let mut tasks = tokio::task::JoinSet::new();
        for (of, _) in &chosen {
            let (vault, permit, of) =
                (Arc::clone(self.vault()), self.house.permit(Action::EraseCustomer), customer(of));
            let request = erasure_of(of.as_str());
            self.hoard.know_erasure(request.clone(), None);
            tasks.spawn(async move {
                vault.erase(permit, Target::Customer(of), request).await.unwrap().receipt.erased.epoch
            });
        }
        let epochs = tasks.join_all().await;
        let distinct: BTreeSet<_> = epochs.iter().collect();
        self.coverage.shared_epochs += epochs.len() - distinct.len();
        chosen.into_iter().for_each(|(of, records)| self.is_erased(of, records));
    }

    /// Erases up to two records of customers who stay, at once.
    pub async fn erase_records(&mut self) {
        let mut chosen = Vec::new();
        for _ in 0..2 {
            let has_others = |kept: &[Kept], (id, _): Kept| kept.iter().any(|(other, _)| *other != id);
            let Some((of, (id, _))) = self.some_record(has_others) else { break };
            let kept = self.living.get_mut(&of).unwrap();
            let revisions: Vec<Kept> = kept.extract_if(.., |(other, _)| *other == id).collect();
            chosen.push((of, id, revisions));
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (_, record, _) in &chosen {
            let (vault, permit, record) = (Arc::clone(self.vault()), self.house.permit(Action::EraseRecord), *record);
            let request = erasure_of(&record.to_string());
            self.hoard.know_erasure(request.clone(), Some(Part::Record(record)));
            tasks.spawn(async move {
                vault.erase(permit, Target::Part(Part::Record(record)), request).await.map(drop).unwrap()
            });
        }
        tasks.join_all().await;
        self.coverage.single_records += chosen.len();
        for (of, _, revisions) in chosen {
            self.erased.entry(format!("{of} in part")).or_default().extend(revisions);
        }
    }

    /// Two more days: the keys for answers are replaced on each.
    pub async fn days_pass(&mut self) {
        for days in 1..=2 {
            let now = Timestamp::now().plus_ms(days * 24 * 60 * 60 * 1000);
            self.vault().writer.renew(std::time::Instant::now(), now).await.unwrap();
        }
    }

    /// Makes a second tenant with a record, and erases it as a whole.
    pub async fn erase_a_tenant(&mut self) {
        let vault = Arc::clone(self.vault());
        let system = vault.tenant_id(TenantName::system()).await.unwrap();
        let (tenant, record) = tenants::neighbour(&self.house, &vault, system).await;
        let keys = vault.core.tenant_keys(tenant).unwrap();
        let handle = vault.core.tree.handle(tenant, pseudonym(&keys, &customer("nora"))).unwrap().unwrap();
        let admin = |of, action| self.house.admin(system, of, action, tenant);
        vault.request_tenant_erasure(admin(1, Action::RequestTenantErasure)).await.unwrap();
        let (name, request) = (TenantName::parse("globex").unwrap(), erasure_of("globex"));
        vault.erase_tenant(admin(2, Action::ApproveTenantErasure), name, request).await.unwrap();
        drop(vault);
        self.coverage.tenants += 1;
        self.truth.people.insert("nora".to_owned(), handle);
        self.is_erased("nora".to_owned(), vec![(record, Revision::FIRST)]);
    }

    /// The attack, after everything else; it needs the provider of now, and no service.
    pub async fn attack(mut self) -> (Attack, Truth, Coverage) {
        let vault = self.vault.take().unwrap();
        let keys = vault.core.tenant_keys(self.house.tenant).unwrap();
        let erased_people: Vec<_> = self.truth.erased_people.keys().map(|of| pseudonym(&keys, &customer(of))).collect();
        vault.close().await;
        drop(vault);
        self.keep_copies(None);
        let provider = self.house.provider();
        assert_eq!(provider.held().unwrap().len(), 1);
        let with_copies = records(&self.copies, &*provider);
        let attack = attack(&self.hoard, &*provider);
        for person in &erased_people {
            assert!(!attack.links.contains(person), "a page that opens links an erased person to a handle");
        }
        let ids = |of: &BTreeMap<String, Vec<Kept>>| of.values().flatten().copied().collect::<BTreeSet<_>>();
        let mut truth = self.truth;
        (truth.living, truth.erased) = (ids(&self.living), ids(&self.erased));
        let missing: Vec<_> = truth.living.difference(&with_copies).collect();
        assert!(missing.is_empty(), "the mirrors do not hold {missing:?}");
        self.coverage.living = truth.living.len();
        self.coverage.erased = truth.erased.len();
        self.coverage.objects = attack.objects.len();
        self.coverage.pages_that_came_and_went = attack.pages_closed;
        self.coverage.inner_pages = attack.inner_pages;
        self.coverage.segments = attack.segment_keys;
        (attack, truth, self.coverage)
    }
}
