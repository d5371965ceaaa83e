//! Rows that would have data removed, written into the database by somebody who has no key: nothing that lives is removed, here or on a mirror.

use super::*;
use crate::audit::AlertSort;
use crate::domain::codec::Writer;
use crate::domain::ids::Handle;
use crate::store::{Batch, Write};
use crate::vault::format::Layout;
use crate::vault::tests::restore_drill::mirrored;

/// A row to write into a stopped database, and what it is.
struct Planted {
    what: &'static str,
    kind: rows::Kind,
    row: Row,
}

fn plant(house: &House, planted: &[Planted]) {
    let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
    let put = |one: &Planted| Write::Put { key: one.row.0.clone(), value: one.row.1.clone() };
    let writes: Vec<_> = planted.iter().map(put).collect();
    crate::store::Database::apply(&db, &writes).unwrap();
    crate::store::Database::sync(&db).unwrap();
}

/// Who lives: a short chat with two revisions, and a long one in objects.
struct Living {
    handle: Handle,
    short: RecordId,
    long: RecordId,
}

async fn living(house: &House, vault: &Arc<Vault>) -> Living {
    let long = house.store(vault, "ada", 150_000).await.unwrap();
    let permit = house.permit(Action::CreateTranscript);
    let short = vault.create_transcript(permit, chat("ada", 60), request("ada-short")).await.unwrap().content.id;
    house.revise(vault, (short, Revision::FIRST), "ada", 70).await.unwrap();
    let handle = vault.core.known_customer(house.tenant, &customer("ada")).unwrap().unwrap();
    Living { handle, short, long }
}

impl Living {
    async fn assert_there(&self, house: &House, vault: &Arc<Vault>, place: &str) {
        assert_eq!(house.read(vault, self.short).await, Some(text(70)), "{place}: the short chat");
        assert_eq!(
            house.read_revision(vault, self.short, Some(1)).await,
            Some(text(60)),
            "{place}: its first revision"
        );
        assert_eq!(house.read(vault, self.long).await, Some(text(150_000)), "{place}: the long chat");
    }

    /// Where each job about what lives would stand, and what it would say: as the release before tags wrote it.
    fn jobs(&self, house: &House, vault: &Vault) -> Vec<(rows::Kind, Vec<u8>, Vec<u8>)> {
        let tenant = house.tenant;
        let old = || Writer::versioned(1);
        let (from, to) = rows::all(rows::Kind::Page);
        let pages = vault.core.db.range(&from, &to, 200).unwrap();
        let of_record = |record, revision| {
            let value = old().fixed(&tenant.0).fixed(&self.handle.0).finish().to_vec();
            (rows::Kind::ReclaimRecord, rows::reclaim_record(record, revision), value)
        };
        vec![
            (rows::Kind::Reclaim, rows::reclaim(self.handle), old().fixed(&tenant.0).finish().to_vec()),
            of_record(self.long, None),
            of_record(self.short, None),
            of_record(self.short, Some(Revision::FIRST)),
            (
                rows::Kind::Upload,
                rows::upload(tenant, self.long),
                old().fixed(&self.handle.0).u64(Timestamp::now().as_ms()).finish().to_vec(),
            ),
            (
                rows::Kind::ReclaimPages,
                rows::reclaim_pages(tenant, 0),
                pages.iter().flat_map(|(key, _)| key[1..].to_vec()).collect(),
            ),
        ]
    }
}

/// The same in today's form: the version of today, and a tag of zeros, or the one that a job of ours has.
fn in_form_of_today(kind: rows::Kind, old: &[u8], tag: &[u8; 32]) -> Vec<u8> {
    let body = match kind {
        rows::Kind::ReclaimPages => {
            Writer::versioned(2).list(old.chunks(16), |w, page| w.fixed(page)).finish().to_vec()
        }
        _ => [&[2], &old[1..]].concat(),
    };
    [&body[..], tag].concat()
}

fn alerts_of_refused(vault: &Vault) -> usize {
    let (from, to) = rows::all(rows::Kind::Ledger);
    let entries = vault.core.db.range(&from, &to, 4096).unwrap();
    let is_it = |(_, entry): &&Row| {
        matches!(Entry::decode(entry).unwrap().event, Event::Alert { sort: AlertSort::JobRefused, .. })
    };
    entries.iter().filter(is_it).count()
}

fn refused(vault: &Vault) -> Vec<Row> {
    let (from, to) = rows::all(rows::Kind::RefusedJob);
    vault.core.db.range(&from, &to, 100).unwrap()
}

/// All that could be planted about `living`: each job in the form of before, in today's with no tag, and with the tag of another job.
fn forms(house: &House, living: &Living, vault: &Vault) -> Vec<Vec<Planted>> {
    let genuine = house.hoard.of(rows::Kind::Reclaim);
    let (_, versions) = genuine.first().expect("somebody was erased");
    let tag_of_another = *versions[0].last_chunk::<32>().unwrap();
    let jobs = living.jobs(house, vault);
    let all = |what, value: &dyn Fn(rows::Kind, &[u8]) -> Vec<u8>| {
        let planted = |(kind, key, old): &(rows::Kind, Vec<u8>, Vec<u8>)| {
            let row = (key.clone(), value(*kind, old));
            Planted { what, kind: *kind, row }
        };
        jobs.iter().map(planted).collect::<Vec<_>>()
    };
    vec![
        all("in the form of before", &|_, old| old.to_vec()),
        all("without a tag", &|kind, old| in_form_of_today(kind, old, &[0; 32])),
        all("with the tag of another job", &|kind, old| in_form_of_today(kind, old, &tag_of_another)),
        all("too short for a tag", &|_, _| vec![2]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_job_removes_nothing_here_or_on_a_mirror() {
    let house = House::mirrored(limits()).await;
    let mut vault = house.open().await;
    let ada = living(&house, &vault).await;
    house.store(&vault, "gone", 60).await.unwrap();
    house.erase(&vault, "gone").await.unwrap();
    vault.reclaim().await.unwrap();
    mirrored(&vault).await;
    let forms = forms(&house, &ada, &vault);
    let objects = house.objects();
    assert!(objects > 0);
    let (mut tried, mut seen) = (std::collections::BTreeMap::<String, usize>::new(), 0);
    for planted in forms {
        vault.close().await;
        drop(vault);
        plant(&house, &planted);
        vault = house.open().await;
        let what = planted[0].what;
        // Nothing hides what lives, not even before the job was looked at.
        ada.assert_there(&house, &vault, &format!("{what}, at once")).await;
        vault.reclaim().await.unwrap();
        mirrored(&vault).await;
        ada.assert_there(&house, &vault, what).await;
        assert_eq!(house.objects(), objects, "{what}: objects");
        for one in &planted {
            *tried.entry(format!("{:?}", one.kind)).or_default() += 1;
            // Pages are looked at with their tenant, once that is erased.
            if one.kind == rows::Kind::ReclaimPages {
                continue;
            }
            let kept = refused(&vault);
            assert!(kept.contains(&(rows::refused_job(&one.row.0), one.row.1.clone())), "{what}: {:?}", one.kind);
            assert!(vault.core.db.get(&one.row.0).unwrap().is_none(), "{what}: {:?} is tried again", one.kind);
            seen += 1;
        }
        assert_eq!(alerts_of_refused(&vault), seen, "{what}: not told");
        assert_eq!(vault.alerts_of_storage()[0], ("job_refused", 5), "{what}");
    }
    println!("planted jobs: {tried:?}");
    assert_eq!(tried.len(), 4);
    house.revise(&vault, (ada.short, Revision(2)), "ada", 70).await.unwrap();
    vault.close().await;
    drop(vault);
    house.lose_the_disk();
    let restored = house.restore(Sort::Whole, None).await.unwrap();
    assert!(restored.verified.is_whole(), "{:?}", restored.verified);
    let vault = house.open().await;
    ada.assert_there(&house, &vault, "from the mirror").await;
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_another_tenant_are_not_removed_with_an_erased_one() {
    let house = House::with(VaultLimits { tenant_erasure_delay: Duration::ZERO, leaf_entries: 2, ..limits() }).await;
    let vault = house.open().await;
    let system = vault.tenant_id(TenantName::system()).await.unwrap();
    let (other, of_other) = tenants::neighbour(&house, &vault, system).await;
    house.store(&vault, "ada", 60).await.unwrap();
    vault.request_tenant_erasure(house.admin(system, 1, Action::RequestTenantErasure, house.tenant)).await.unwrap();
    let approval = house.admin(system, 2, Action::ApproveTenantErasure, house.tenant);
    vault.erase_tenant(approval, TenantName::parse("acme").unwrap(), erasure_of("acme")).await.unwrap();
    let (from, to) = rows::all(rows::Kind::Page);
    let pages: Vec<[u8; 16]> =
        vault.core.db.range(&from, &to, 200).unwrap().iter().map(|(key, _)| key[1..].try_into().unwrap()).collect();
    let profile = vault.core.db.get(&rows::profile(handle_of(&vault, other))).unwrap().unwrap();
    // A list that nobody wrote; one that is ours, at the wrong time; and the tenant in front of a living customer's profile.
    let (planted, ours) = (rows::reclaim_pages(house.tenant, 7_000), rows::reclaim_pages(house.tenant, 8_000));
    let body = format::ReclaimPagesRow { pages }.encode();
    let signed = vault.core.jobs.signed(&ours, body.clone());
    let edited = [&house.tenant.0[..], &profile[16..]].concat();
    let handle = handle_of(&vault, other);
    vault.close().await;
    drop(vault);
    let rows_of = [
        (rows::Kind::ReclaimPages, (planted, [&body[..], &[0; 32]].concat())),
        (rows::Kind::ReclaimPages, (ours, signed)),
        (rows::Kind::Profile, (rows::profile(handle), edited.clone())),
    ];
    plant(&house, &rows_of.map(|(kind, row)| Planted { what: "pages", kind, row }));
    let vault = house.open().await;
    vault.reclaim().await.unwrap();
    assert_eq!(refused(&vault).len(), 2);
    let key = vault.core.tree.customer_key(other, handle).unwrap();
    assert!(key.is_some(), "the other tenant's customer has no key any more");
    let back = [&other.0[..], &edited[16..]].concat();
    let mut batch = Batch::new();
    batch.put(rows::profile(handle), back);
    vault.core.committer.commit(batch).await.unwrap();
    let verified = vault.core.verify(|_| {}).await.unwrap();
    assert_eq!((verified.opened, verified.damaged, verified.missing), (1, 0, 0), "{of_other}: {verified:?}");
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_row_of_an_upload_removes_nothing_though_the_record_was_taken_out() {
    let house = House::mirrored(limits()).await;
    let mut vault = house.open().await;
    let ada = living(&house, &vault).await;
    // So many entries since that the log is read in several goes.
    for _ in 0..300 {
        house.read(&vault, ada.short).await.unwrap();
    }
    mirrored(&vault).await;
    vault.close().await;
    drop(vault);
    let upload = rows::upload(house.tenant, ada.long);
    let versions = house.hoard.of(rows::Kind::Upload).into_iter().find(|(key, _)| *key == upload).unwrap().1;
    let objects = house.objects();
    {
        let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
        let db: &dyn crate::store::Database = &db;
        let (from, to) = rows::record_span(house.tenant, ada.long);
        let pieces = db.range(&from, &to, 100).unwrap();
        let mut writes: Vec<_> = pieces.into_iter().map(|(key, _)| Write::Delete { key }).collect();
        writes.push(Write::Put { key: upload.clone(), value: versions[0].clone() });
        db.apply(&writes).unwrap();
        db.sync().unwrap();
    }
    vault = house.open().await;
    let secret = rows::secret(ada.handle, ada.long, Revision::FIRST);
    assert!(vault.core.db.get(&secret).unwrap().is_some(), "the secret of a stored record was removed");
    assert_eq!(house.objects(), objects, "objects of a stored record were removed");
    assert_eq!(refused(&vault), [(rows::refused_job(&upload), versions[0].clone())]);
    mirrored(&vault).await;
    vault.close().await;
    drop(vault);
    // What was taken out comes back with the mirror.
    house.lose_the_disk();
    assert!(house.restore(Sort::Whole, None).await.unwrap().verified.is_whole());
    let vault = house.open().await;
    ada.assert_there(&house, &vault, "from the mirror").await;
    vault.close().await;
}

/// The only customer of a tenant.
fn handle_of(vault: &Vault, tenant: TenantId) -> Handle {
    let (from, to) = rows::all(rows::Kind::Profile);
    let profiles = vault.core.db.range(&from, &to, 100).unwrap();
    let own = profiles.iter().find(|(_, profile)| profile.starts_with(&tenant.0)).unwrap();
    rows::parse_profile(&own.0).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_ours_removes_nothing_that_a_key_still_opens() {
    let house = House::mirrored(limits()).await;
    let vault = house.open().await;
    let ada = living(&house, &vault).await;
    mirrored(&vault).await;
    // Each as the service itself would write it, were it wrong; and the row of the upload as it did write it.
    let upload = rows::upload(house.tenant, ada.long);
    let versions = house.hoard.of(rows::Kind::Upload).into_iter().find(|(key, _)| *key == upload).unwrap().1;
    let mut jobs = vec![(upload, versions[0].clone())];
    for (kind, key, old) in ada.jobs(&house, &vault) {
        if matches!(kind, rows::Kind::Reclaim | rows::Kind::ReclaimRecord) {
            let signed = vault.core.jobs.signed(&key, [&[2], &old[1..]].concat());
            jobs.push((key, signed));
        }
    }
    assert_eq!(jobs.len(), 5);
    for (key, value) in jobs {
        let mut batch = Batch::new();
        batch.put(key.clone(), value);
        vault.core.committer.commit(batch).await.unwrap();
        vault.reclaim().await.unwrap();
        vault.sweep_uploads().await.unwrap();
        ada.assert_there(&house, &vault, &format!("kind {:#x}", key[0])).await;
        assert!(vault.core.db.get(&key).unwrap().is_none(), "kind {:#x} is not put aside", key[0]);
    }
    assert_eq!(refused(&vault).len(), 5);
    mirrored(&vault).await;
    vault.close().await;
    drop(vault);
    house.lose_the_disk();
    assert!(house.restore(Sort::Whole, None).await.unwrap().verified.is_whole());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_not_removed_with_an_erased_customer_it_does_not_name() {
    let house = House::build().await;
    let vault = house.open().await;
    let ada = living(&house, &vault).await;
    house.store(&vault, "gone", 60).await.unwrap();
    let gone = vault.core.known_customer(house.tenant, &customer("gone")).unwrap().unwrap();
    house.erase(&vault, "gone").await.unwrap();
    vault.close().await;
    drop(vault);
    // Under the secrets of her who is gone, and whose job waits, stands the name of a record that lives.
    let row = |record, revision| (rows::secret(gone, record, revision), vec![1; 61]);
    let planted = [row(ada.short, Revision::FIRST), row(ada.short, Revision(2)), row(ada.long, Revision::FIRST)];
    plant(&house, &planted.map(|row| Planted { what: "a secret", kind: rows::Kind::Secret, row }));
    let vault = house.open().await;
    vault.reclaim().await.unwrap();
    ada.assert_there(&house, &vault, "with a planted secret").await;
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_layout_1_is_executed_once_the_database_is_upgraded() {
    let house = House::build().await;
    let vault = house.open().await;
    let part = house.store(&vault, "ada", 60).await.unwrap();
    house.store(&vault, "gone", 60).await.unwrap();
    house.erase(&vault, "gone").await.unwrap();
    house.erase_part(&vault, Part::Record(part)).await.unwrap();
    let upload = house.begin_upload(&vault, "ada").await;
    let jobs = || -> Vec<Row> {
        let of = |kind| {
            let (from, to) = rows::all(kind);
            vault.core.db.range(&from, &to, 8).unwrap()
        };
        [rows::Kind::Reclaim, rows::Kind::ReclaimRecord, rows::Kind::Upload].into_iter().flat_map(of).collect()
    };
    let mut batch = Batch::new();
    for (key, value) in jobs() {
        // Without a tag, and of version 1.
        let body = vault.core.jobs.open(&key, &value).unwrap();
        batch.put(key, [&[1], &body[1..]].concat());
    }
    batch.put(rows::format(), Writer::versioned(Layout::First as u8).text("oubliette").finish().to_vec());
    vault.core.committer.commit(batch).await.unwrap();
    vault.core.blocking(|core| crate::vault::upgrade::run(core)).await.unwrap();
    assert_eq!(jobs().len(), 3);
    assert!(jobs().iter().all(|(key, value)| vault.core.jobs.open(key, value).is_some()), "a job has no tag");
    upload.abort().await;
    vault.reclaim().await.unwrap();
    assert_eq!((jobs(), refused(&vault)), (vec![], vec![]));
    vault.close().await;
}
