//! Drill: somebody who can write to the disk, and has no key, edits, drops, duplicates and rolls back a row of each kind: in the database,
//! and in a mirror that is restored, whose frames get right hashes. Each is detected and named, or it is harmless for a reason that stands
//! in a table here.

use std::collections::BTreeMap;
use std::path::Path;

use super::deciding::{Image, image, write};
use super::restore_drill::{copy_folder, mirrored};
use super::tenants::neighbour;
use super::*;
use crate::domain::codec::Writer;
use crate::domain::ids::Handle;
use crate::store::Write;

/// What is done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edit {
    Changed,
    Dropped,
    Duplicated,
    RolledBack,
}

const EDITS: [Edit; 4] = [Edit::Changed, Edit::Dropped, Edit::Duplicated, Edit::RolledBack];

/// What may pass without a word, and why that is harmless or where its detection is.
const HARMLESS: &[(rows::Kind, &[Edit], &str)] = &[
    (rows::Kind::Page, &EDITS, "a page that no page names any more, or under a name that none has: it is never read"),
    (rows::Kind::Position, &EDITS, "it says only which copies continue which: mirrors begin again with a whole copy"),
    (
        rows::Kind::Record,
        &[Edit::Changed, Edit::Dropped, Edit::Duplicated],
        "of an erased record, which is noise, or under a name that none has. Of a living one `verify` names it",
    ),
    (
        rows::Kind::Secret,
        &[Edit::Duplicated],
        "under a name that no record has: it is bound to its own and does not open",
    ),
    (rows::Kind::Profile, &[Edit::Duplicated], "under a handle that no customer has: it is bound to its own"),
    (rows::Kind::Segment, &[Edit::Duplicated], "behind all records that the customer has: nothing is sealed under it"),
    (
        rows::Kind::Index,
        &EDITS,
        "it only finds; what it finds is checked against the record. A list by agent can be incomplete; a list of the customer and an erasure do not use it",
    ),
    (
        rows::Kind::Request,
        &EDITS,
        "without it a repeat stores a second record, under a name of its own, as after the retention of request ids",
    ),
    (
        rows::Kind::Subtree,
        &[Edit::Duplicated],
        "of a block that the log does not have yet: it is written when there is one",
    ),
    (rows::Kind::Reclaim, &EDITS, "space stays taken; what a planted one may remove is the damage matrix's subject"),
    (
        rows::Kind::ReclaimRecord,
        &EDITS,
        "space stays taken; what a planted one may remove is the damage matrix's subject",
    ),
    (
        rows::Kind::ReclaimPages,
        &EDITS,
        "pages of an erased tenant, which are noise, stay; a page's removal is noticed as such",
    ),
    (
        rows::Kind::Receipt,
        &EDITS,
        "it only finds an entry of the log: with it the receipt is not found by its name, and the log, which is checked, has it still",
    ),
    (
        rows::Kind::ErasureRequest,
        &EDITS,
        "it answers repeats only: without it a repeat is told that the customer is erased",
    ),
    (rows::Kind::Erasures, &EDITS, "a counter of a ceiling: it can be set back, and the log has every erasure"),
    (rows::Kind::Usage, &EDITS, "a counter of a quota: it can be set back, and nothing is found or opened by it"),
    (rows::Kind::TokenOf, &EDITS, "it only finds tokens for a list; the token itself is a control row"),
    (rows::Kind::Seen, &EDITS, "a counter of a ceiling: it can be set back, and the log has every read"),
    (rows::Kind::Reads, &EDITS, "a counter of a ceiling: it can be set back, and the log has every read"),
    (rows::Kind::ErasedBy, &EDITS, "a counter of a ceiling: it can be set back, and the log has every erasure"),
    (rows::Kind::RefusedJob, &EDITS, "it is kept for whoever examines it and never acted on; the log has the alert"),
];
/// Of these no row stands in the drill, and why.
const ELSEWHERE: [(rows::Kind, &str); 2] = [
    (rows::Kind::Erasing, "a start carries out what is pending: `deciding` edits it while it cannot be carried out"),
    (rows::Kind::Approved, "a counter of a ceiling, as those above: the log has every erasure"),
];
/// Of these a row that goes or changes must at least be told by `verify`, never be taken for an erasure.
const NEVER_SILENT: [rows::Kind; 2] = [rows::Kind::Secret, rows::Kind::Profile];

/// What came of an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// An error said so, or `verify` named it.
    Named(String),
    /// Something is not as it was, and nothing said so.
    Differs(&'static str),
    /// Nothing is different.
    Nothing,
}

/// What must be found.
#[derive(Clone)]
struct Truth {
    records: BTreeMap<RecordId, usize>,
    lists: Vec<(&'static str, usize)>,
    of_case: usize,
    receipt: crate::domain::ids::ReceiptId,
    stored_first: RecordId,
}

struct World {
    house: House,
    /// Rows before the last half of what happened, and after all.
    early: Image,
    now: Image,
    truth: Truth,
    /// The handles of customers who are erased, and whose rows are still there: they are noise.
    gone: Vec<Handle>,
}

/// Until there are so many entries that a block of them is complete, and its hash is stored.
async fn fill_a_block_of_the_log(house: &House, vault: &Arc<Vault>, read: RecordId) {
    while vault.core.committer.log().size() < 260 {
        house.read(vault, read).await.unwrap();
    }
}

async fn erase_globex(house: &House, vault: &Arc<Vault>, system: TenantId) {
    let globex = || TenantName::parse("globex").unwrap();
    let other = vault.tenant_id(globex()).await.unwrap();
    vault.request_tenant_erasure(house.admin(system, 1, Action::RequestTenantErasure, other)).await.unwrap();
    let permit = house.admin(system, 2, Action::ApproveTenantErasure, other);
    vault.erase_tenant(permit, globex(), RequestId::parse("erase-globex").unwrap()).await.unwrap();
}

impl World {
    async fn build() -> Self {
        let delay = Duration::ZERO;
        let house = House::mirrored(VaultLimits {
            leaf_entries: 2,
            segment_secrets: 3,
            tenant_erasure_delay: delay,
            ..approvals::erasing_alone(50)
        })
        .await;
        let mut records = BTreeMap::new();
        let vault = house.open().await;
        let system = vault.tenant_id(TenantName::system()).await.unwrap();
        let (of_globex, of_nora) = neighbour(&house, &vault, system).await;
        let stored_first = house.store(&vault, "bob", 60).await.unwrap();
        records.insert(stored_first, 80);
        for (of, length) in [("cleo", 61), ("dora", 62), ("long", 150_000)] {
            records.insert(house.store(&vault, of, length).await.unwrap(), length);
        }
        for number in 0..5 {
            let new = chat("busy", 70 + number);
            let permit = house.permit(Action::CreateTranscript);
            let stored = vault.create_transcript(permit, new, request(&format!("busy-{number}"))).await.unwrap();
            records.insert(stored.content.id, 70 + number);
        }
        let gone = house.store(&vault, "ada", 63).await.unwrap();
        let handle = |tenant, of| vault.core.known_customer(tenant, &customer(of)).unwrap().unwrap();
        let gone_handles = vec![handle(house.tenant, "ada"), handle(house.tenant, "dora"), handle(of_globex, "nora")];
        house.new_token(&vault, system).await;
        house.assign(&vault, "bob").await.unwrap();
        house.break_glass(&vault, "bob").await.unwrap();
        house.approve(&vault, 5).await;
        fill_a_block_of_the_log(&house, &vault, stored_first).await;
        mirrored(&vault).await;
        vault.close().await;
        drop(vault);
        let early = image(&house);

        // A job that nobody here wrote is put aside.
        write(&house, &[Write::Put { key: rows::reclaim(Handle([9; 16])), value: vec![2; 60] }]);
        let vault = house.open().await;
        vault.reclaim().await.unwrap();
        // What is there by now in another version: of pages, counters, rows of tenants and tokens, and the log.
        house.revise(&vault, (stored_first, Revision::FIRST), "bob", 80).await.unwrap();
        let permit = house.admin(system, 1, Action::RevokeToken, house.tenant);
        vault.revoke_token(permit, TokenId([8; 16]), None).await.unwrap();
        for of in ["eve", "frank", "grace"] {
            records.insert(house.store(&vault, of, 64).await.unwrap(), 64);
        }
        let part = records.iter().find(|(_, length)| **length == 72).map(|(id, _)| *id).unwrap();
        house.erase_part(&vault, Part::Record(part)).await.unwrap();
        records.remove(&part);
        let receipt = house.erase(&vault, "ada").await.unwrap().erased.receipt;
        assert_eq!(house.read(&vault, gone).await, None);
        erase_globex(&house, &vault, system).await;
        assert!(house.read(&vault, of_nora).await.is_none());
        house.read(&vault, stored_first).await.unwrap();
        // The provider does not destroy: a receipt stays owed.
        house.lie.tell(Says::Destroyed);
        house.erase(&vault, "dora").await.unwrap_err();
        records.retain(|_, length| *length != 62);
        let upload = house.begin_upload(&vault, "cleo").await;
        mirrored(&vault).await;
        vault.close().await;
        drop((vault, upload));
        let now = image(&house);
        let lists = vec![("bob", 1), ("cleo", 1), ("busy", 4), ("long", 1), ("frank", 1)];
        let truth = Truth { records, lists, of_case: 0, receipt, stored_first };
        Self { house, early, now, truth, gone: gone_handles }
    }

    /// A copy of all of it, in a folder of its own.
    fn copy(&self) -> House {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(self.house.folder.path(), folder.path());
        let of = |mirror: &MirrorPlace| MirrorPlace {
            directory: folder.path().join(mirror.directory.file_name().unwrap()),
            sort: mirror.sort,
        };
        let mirrors = self.house.mirrors.iter().map(of).collect();
        let (access, limits) = (Access::new(Policies::default_policy()), self.house.limits.clone());
        let (fault, lie, hoard) = (Arc::default(), Arc::default(), Arc::default());
        House { folder, access, fault, lie, hoard, limits, mirrors, hsm: None, replicas: 1, tenant: self.house.tenant }
    }

    /// What an edit of this row comes to; `None` where there is no such edit of it.
    fn writes(&self, edit: Edit, (key, value): &Row) -> Option<Vec<Write>> {
        let put = |key: &[u8], value: &[u8]| Write::Put { key: key.to_vec(), value: value.to_vec() };
        match edit {
            Edit::Changed => {
                let mut changed = value.clone();
                *changed.last_mut()? ^= 1;
                Some(vec![put(key, &changed)])
            }
            Edit::Dropped => Some(vec![Write::Delete { key: key.clone() }]),
            Edit::Duplicated => {
                let mut other = key.clone();
                *other.last_mut().filter(|_| key.len() > 1)? ^= 1;
                let is_free = !self.now.iter().any(|(key, _)| *key == other);
                is_free.then(|| vec![put(&other, value)])
            }
            Edit::RolledBack => {
                let (_, before) = self.early.iter().find(|(of, before)| of == key && before != value)?;
                Some(vec![put(key, before)])
            }
        }
    }

    /// The first, middle and last row of a kind on which an edit is possible. Of those that an edit must always be told of, such as are no noise.
    fn targets(&self, kind: u8, edit: Edit) -> Vec<(Row, Vec<Write>)> {
        let is_noise = |key: &[u8]| {
            NEVER_SILENT.iter().any(|one| *one as u8 == kind) && self.gone.iter().any(|handle| key[1..17] == handle.0)
        };
        let of_kind = self.now.iter().filter(|(key, _)| key[0] == kind && !is_noise(key));
        let mut all: Vec<_> = of_kind.filter_map(|row| Some((row.clone(), self.writes(edit, row)?))).collect();
        let places = [0, all.len() / 2, all.len().saturating_sub(1)];
        let mut chosen = Vec::new();
        for place in places.into_iter().rev().collect::<std::collections::BTreeSet<_>>().into_iter().rev() {
            if place < all.len() {
                chosen.push(all.swap_remove(place));
            }
        }
        chosen
    }
}

/// Appends a group of writes to the newest file of a mirror, with a right hash, behind the last one.
fn write_to_mirror(mirror: &Path, now: &Image, writes: &[Write]) {
    let position = &now.iter().find(|(key, _)| *key == rows::position()).unwrap().1;
    let sequence = u64::from_be_bytes(position[1..9].try_into().unwrap()) + 1;
    let body = Writer::default().u8(2).u64(sequence).fixed(&position[9..25]);
    let body = body.list(writes.iter(), |w, write| match write {
        Write::Put { key, value } => w.framed(key).option(Some(value), |w, value| w.framed(value)),
        Write::Delete { key } => w.framed(key).option(None::<()>, |w, ()| w),
    });
    let body = body.finish();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let frame = [&length[..], &crate::audit::merkle::leaf(&body), &body].concat();
    let rows = std::fs::read_dir(mirror.join("rows")).unwrap().map(|entry| entry.unwrap().path());
    let files = rows.filter(|path| !path.to_string_lossy().ends_with("complete"));
    let newest = files.max().unwrap();
    let mut content = std::fs::read(&newest).unwrap();
    content.extend(frame);
    std::fs::write(newest, content).unwrap();
}

/// Opens what is there, and uses it as callers would.
async fn outcome(house: &House, truth: &Truth) -> Outcome {
    let paths = VaultPaths { mirrors: Vec::new(), ..house.paths() };
    let vault = match Vault::open(paths, house.limits.clone()).await {
        Err(error) => return Outcome::Named(format!("start: {error}")),
        Ok(vault) => vault,
    };
    let outcome = used(house, &vault, truth).await;
    vault.close().await;
    match outcome {
        Ok(None) => Outcome::Nothing,
        Ok(Some(what)) => Outcome::Differs(what),
        Err(error) => Outcome::Named(error),
    }
}

/// An error that names something, or what is different without one.
async fn used(house: &House, vault: &Arc<Vault>, truth: &Truth) -> Result<Option<&'static str>, String> {
    let words = |error: VaultError| error.to_string();
    vault.check_log(|| false).await.map_err(words)?;
    let verified = vault.core.verify(|_| {}).await.map_err(words)?;
    if !verified.is_whole() {
        return Err(format!("verify: {:?}", verified.named));
    }
    vault.reclaim().await.map_err(words)?;
    let door = house.permit(Action::GetTranscript);
    for (id, length) in &truth.records {
        let Some(facts) = vault.facts(&door, *id, None).await.map_err(words)? else { return Ok(Some("a record")) };
        match vault.get_transcript(house.access.record(&door, facts).unwrap()).await {
            Ok(read) if read.content.1[0].turn.text.len() == *length => {}
            Ok(_) => return Ok(Some("a text")),
            Err(VaultError::NotFound) => return Ok(Some("a record")),
            Err(error) => return Err(words(error)),
        }
    }
    for (of, count) in &truth.lists {
        let (found, expected) = (found(house, vault, FindBy::Customer(customer(of))).await.map_err(words)?, *count);
        if found != expected {
            return Ok(Some("a list of a customer"));
        }
    }
    let by_agent = FindBy::Agent(PrincipalName::parse("one").unwrap());
    if found(house, vault, by_agent).await.map_err(words)? != truth.of_case {
        return Ok(Some("a list of an agent"));
    }
    let officer = principal(house.tenant, TenantName::parse("acme").unwrap(), &[Role::PrivacyOfficer]);
    let permit = house.access.door(&officer, Action::GetReceipt, house.tenant, None).unwrap();
    match vault.get_receipt(permit, truth.receipt).await {
        Ok(_) => {}
        Err(VaultError::NotFound) => return Ok(Some("a receipt")),
        Err(error) => return Err(words(error)),
    }
    match house.store(vault, "bob", 60).await {
        Ok(id) if id == truth.stored_first => {}
        Ok(_) => return Ok(Some("a request's answer")),
        Err(error) => return Err(words(error)),
    }
    for of in ["ada", "dora"] {
        let again =
            vault.create_transcript(house.permit(Action::CreateTranscript), chat(of, 5), request("other")).await;
        match again {
            Err(VaultError::CustomerErased) => {}
            Err(error) => return Err(words(error)),
            Ok(_) => return Ok(Some("an erased customer")),
        }
    }
    for of in ["bob", "busy", "cleo"] {
        match house.erase(vault, of).await {
            Ok(_) => {}
            Err(VaultError::NotFound) => return Ok(Some("an erasure finds nobody")),
            Err(error) => return Err(words(error)),
        }
    }
    if vault.alerts_of_storage()[0].1 > 0 {
        return Err("a job was refused, and an alert is in the log".to_owned());
    }
    let left = house.read(vault, truth.stored_first).await;
    Ok(left.map(|_| "an erased record opens"))
}

async fn found(house: &House, vault: &Vault, by: FindBy) -> Result<usize, VaultError> {
    let door = Arc::new(house.permit(Action::ListRecords));
    let filter = RecordFilter { by, started_from: None, started_before: None };
    let page = Page { question: [0; 32], mark: None, size: 100 };
    let (access, through) = (Access::new(Policies::default_policy()), Arc::clone(&door));
    let found = vault.find(&door, &filter, page, move |facts| access.record(&through, facts).ok()).await?;
    Ok(vault.show(&door, &filter, found.handle, found.permits).await?.content.len())
}

/// What a row's kind is called in what the drill prints.
fn name(kind: u8) -> String {
    format!("{kind:02x}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drill_every_kind_of_row_edited_on_disk_or_mirror_is_named() {
    let mut world = World::build().await;
    {
        let house = world.copy();
        let vault = house.open().await;
        let by_agent = FindBy::Agent(PrincipalName::parse("one").unwrap());
        world.truth.of_case = found(&house, &vault, by_agent).await.unwrap();
        vault.close().await;
    }
    assert_eq!(outcome(&world.copy(), &world.truth).await, Outcome::Nothing, "the drill itself changes something");
    let kinds: std::collections::BTreeSet<u8> = world.now.iter().map(|(key, _)| key[0]).collect();
    let is_tried = |kind: rows::Kind| kinds.contains(&(kind as u8)) || ELSEWHERE.iter().any(|(one, _)| *one == kind);
    let missing: Vec<_> = rows::Kind::ALL.into_iter().filter(|kind| !is_tried(*kind)).collect();
    assert!(missing.is_empty(), "no row of these kinds is tried: {missing:?}");
    let (mut coverage, mut unexplained) = (BTreeMap::<(String, Edit), [usize; 3]>::new(), Vec::new());
    for kind in kinds {
        for edit in EDITS {
            for (place, (row, writes)) in world.targets(kind, edit).into_iter().enumerate() {
                // A restore takes its time, and one row of a kind shows whether its content is checked.
                for on_mirror in [false, true].into_iter().filter(|on_mirror| !on_mirror || place == 0) {
                    let house = world.copy();
                    let outcome = if on_mirror {
                        write_to_mirror(&house.mirror(Sort::Whole), &world.now, &writes);
                        house.lose_the_disk();
                        match house.restore(Sort::Whole, None).await {
                            Err(error) => Outcome::Named(format!("restore: {error}")),
                            Ok(restored) if !restored.verified.is_whole() => Outcome::Named("restore".to_owned()),
                            Ok(_) => outcome(&house, &world.truth).await,
                        }
                    } else {
                        write(&house, &writes);
                        outcome(&house, &world.truth).await
                    };
                    let came_of_it =
                        usize::from(outcome != Outcome::Nothing) + usize::from(matches!(outcome, Outcome::Named(_)));
                    coverage.entry((name(kind), edit)).or_default()[came_of_it] += 1;
                    let why = HARMLESS.iter().find(|(of, edits, _)| *of as u8 == kind && edits.contains(&edit));
                    if !matches!(outcome, Outcome::Named(_)) && why.is_none() {
                        unexplained.push(format!(
                            "kind {kind:02x}, {edit:?}, mirror {on_mirror}, key {}: {outcome:?}",
                            crate::domain::codec::hex(&row.0)
                        ));
                    }
                }
            }
        }
    }
    for ((kind, edit), [nothing, differs, named]) in &coverage {
        eprintln!("drill: kind {kind}, {edit:?}: {named} named, {differs} different, {nothing} without effect");
    }
    let edits = |edit: Edit| coverage.keys().filter(|(_, of)| *of == edit).count();
    eprintln!("drill: {} kinds and edits", coverage.len());
    assert!(EDITS.into_iter().all(|edit| edits(edit) > 5), "an edit was hardly tried");
    for kind in NEVER_SILENT {
        let dropped = coverage[&(name(kind as u8), Edit::Dropped)];
        assert!(dropped[0] + dropped[1] == 0 && dropped[2] > 0, "{kind:?} dropped: {dropped:?}");
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}
