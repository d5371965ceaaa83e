//! The disk is lost, and the data comes back from a mirror; or what decides from a mirror, and content from a backup.

use super::*;
use crate::vault::{RestoreFrom, RestoreStep, Restored, backup, create_mirror};

impl House {
    /// A house with a mirror of everything and one of the keys.
    pub(super) async fn mirrored(limits: VaultLimits) -> Self {
        let mut house = Self::with(limits).await;
        house.mirrors = [("whole", Sort::Whole), ("keys", Sort::Keys)]
            .map(|(name, sort)| MirrorPlace { directory: house.folder.path().join(name), sort })
            .to_vec();
        house.mirrors.iter().for_each(|mirror| create_mirror(&mirror.directory).unwrap());
        house
    }

    pub(super) fn mirror(&self, of: Sort) -> PathBuf {
        self.mirrors.iter().find(|mirror| mirror.sort == of).unwrap().directory.clone()
    }

    pub(super) fn lose_the_disk(&self) {
        std::fs::remove_dir_all(self.paths().data).unwrap();
    }

    pub(super) async fn restore(&self, from: Sort, backup: Option<PathBuf>) -> Result<Restored, StartError> {
        let from = RestoreFrom { mirror: self.mirror(from), backup };
        Vault::restore(self.paths(), self.limits.clone(), from, |_: RestoreStep| {}).await
    }

    pub(super) async fn back_up(&self, name: &str) -> PathBuf {
        let to = self.folder.path().join(name);
        backup(&self.mirror(Sort::Whole), &to, false, |_| {}).await.unwrap();
        to
    }
}

/// What is outside the data directory at some moment: the root key's medium, and the mirrors as far as they are. Were the disk lost then, this
/// would be left; nothing that a service in its last minutes still writes is in it.
struct Moment(PathBuf);

impl House {
    /// The root key first: a mirror may be ahead of it, never behind.
    fn moment(&self, name: &str) -> Moment {
        let moment = Moment(self.folder.path().join(name));
        std::fs::create_dir(&moment.0).unwrap();
        std::fs::copy(self.root_key(), moment.0.join("root.key")).unwrap();
        for mirror in &self.mirrors {
            copy_folder(&mirror.directory, &moment.0.join(mirror.directory.file_name().unwrap()));
        }
        moment
    }

    /// The disk is lost, and everything else is as it was then.
    fn lose_the_disk_at(&self, moment: &Moment) {
        self.lose_the_disk();
        std::fs::copy(moment.0.join("root.key"), self.root_key()).unwrap();
        for mirror in &self.mirrors {
            std::fs::remove_dir_all(&mirror.directory).unwrap();
            copy_folder(&moment.0.join(mirror.directory.file_name().unwrap()), &mirror.directory);
        }
    }
}

/// Copies a mirror while it is written to: rows, then the mark of the objects, then the objects, as a disk that is cut off could show them.
pub(super) fn copy_mirror(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    copy_folder(&from.join("rows"), &to.join("rows"));
    for file in ["oubliette.lock", "objects-complete"] {
        drop(std::fs::copy(from.join(file), to.join(file)));
    }
    copy_folder(&from.join("objects"), &to.join("objects"));
}

/// Files that come and go meanwhile may be in the copy or not.
pub(super) fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => copy_folder(&entry.path(), &to),
            _ => drop(std::fs::copy(entry.path(), to)),
        }
    }
}

/// Waits until the mirrors have all: what is acknowledged before is up to their lag by then.
pub(super) async fn mirrored(vault: &Arc<Vault>) {
    let wait = |core: &Arc<Core>| Ok(core.committer.mirrors().wait().map_err(CommitError::from)?);
    vault.core.blocking(wait).await.unwrap();
    until_equal("objects to copy", || usize::try_from(vault.core.objects_behind()).unwrap(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restore_drill_the_disk_is_lost_at_every_step_of_an_epoch_and_all_that_was_acknowledged_is_there() {
    let mut met = 0;
    'operations: for after in 0..MANY {
        for behind in [false, true] {
            let house = House::mirrored(limits()).await;
            let vault = house.open().await;
            let ada = house.store(&vault, "ada", 60).await.unwrap();
            let bert = house.store(&vault, "bert", 60).await.unwrap();
            let long = house.store(&vault, "long", 150_000).await.unwrap();
            let cara = house.store(&vault, "cara", 60).await.unwrap();
            let receipt_of_cara = house.erase(&vault, "cara").await.unwrap();
            mirrored(&vault).await;
            house.fault.arm(after, behind);
            let answer = house.erase(&vault, "ada").await;
            if house.fault.was_missed() {
                answer.unwrap();
                break 'operations;
            }
            met += 1;
            let place = format!("operation {after}, behind: {behind}");
            let moment = house.moment("moment");
            vault.close().await;
            drop(vault);
            house.lose_the_disk_at(&moment);

            let restored = house.restore(Sort::Whole, None).await.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(restored.verified.is_whole(), "{place}: {:?}", restored.verified);
            let vault = house.open().await;
            assert_eq!(house.provider().held().unwrap().len(), 1, "{place}");
            assert_eq!(house.read(&vault, bert).await, Some(text(60)), "{place}");
            assert_eq!(house.read(&vault, long).await, Some(text(150_000)), "{place}");
            assert_eq!(house.read(&vault, cara).await, None, "{place}: an erased customer is back");
            let permit = house.permit(Action::CreateTranscript);
            let again = vault.create_transcript(permit, chat("cara", 60), request("cara-again")).await.map(drop);
            assert!(matches!(again, Err(VaultError::CustomerErased)), "{place}: {again:?}");
            assert_eq!(house.erase(&vault, "cara").await.unwrap().erased, receipt_of_cara.erased, "{place}");
            let is_there = house.read(&vault, ada).await.is_some();
            if let Ok(receipt) = answer {
                assert!(!is_there, "{place}: it was acknowledged as erased");
                assert_eq!(house.erase(&vault, "ada").await.unwrap().erased, receipt.erased, "{place}");
            }
            house.erase(&vault, "ada").await.unwrap();
            assert_eq!(house.read(&vault, ada).await, None, "{place}");
            let dora = house.store(&vault, "dora", 60).await.unwrap();
            assert_eq!(house.read(&vault, dora).await, Some(text(60)), "{place}");
            vault.close().await;
        }
    }
    assert!((14..MANY * 2).contains(&met), "{met} faults were met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restore_drill_what_was_acknowledged_a_moment_before_the_disk_was_lost_is_there() {
    let house = House::mirrored(limits()).await;
    let mut erased = Vec::new();
    for round in 0..12 {
        let vault = house.open().await;
        let of = format!("customer-{round}");
        let id = house.store(&vault, &of, 60).await.unwrap();
        mirrored(&vault).await;
        // Others write all the while, so that the mirrors always have something to catch up with.
        let busy = Arc::clone(&vault);
        let permits: Vec<_> = (0..40).map(|_| house.permit(Action::CreateTranscript)).collect();
        let writing = tokio::spawn(async move {
            for (number, permit) in permits.into_iter().enumerate() {
                let new = busy.create_transcript(permit, chat("busy", 60), request(&format!("{round}.{number}")));
                drop(new.await);
            }
        });
        let receipt = house.erase(&vault, &of).await.unwrap();
        let moment = house.moment(&format!("moment-{round}"));
        erased.push((of, id, receipt));
        writing.await.unwrap();
        vault.close().await;
        drop(vault);
        house.lose_the_disk_at(&moment);
        let restored = house.restore(Sort::Whole, None).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!((restored.verified.damaged, restored.verified.missing), (0, 0), "round {round}");
        let vault = house.open().await;
        for (of, id, receipt) in &erased {
            assert_eq!(house.read(&vault, *id).await, None, "round {round}: {of} is back");
            assert_eq!(house.erase(&vault, of).await.unwrap().erased, receipt.erased, "round {round}: {of}");
        }
        vault.close().await;
        drop(vault);
    }
}

/// What a house holds over many epochs, and what it held.
#[derive(Default)]
struct Held {
    living: Vec<(String, RecordId)>,
    /// Other records that stay, with the lengths of their texts.
    kept: Vec<(RecordId, usize)>,
    /// The only one of its customer's records that goes.
    lost_alone: Option<RecordId>,
    /// A chat whose first revision goes.
    revised: Option<RecordId>,
    erased: Vec<(String, RecordId)>,
}

impl Held {
    async fn fill(house: &House, vault: &Arc<Vault>, customers: usize) -> Self {
        let mut held = Self::default();
        for number in 0..customers {
            let of = format!("customer-{number}");
            let id = house.store(vault, &of, 60).await.unwrap();
            held.living.push((of, id));
        }
        held.kept.push((house.store(vault, "long", 150_000).await.unwrap(), 150_000));
        for name in ["first", "second", "third"] {
            let (permit, new) = (house.permit(Action::CreateTranscript), chat("three records", 60));
            held.kept.push((vault.create_transcript(permit, new, request(name)).await.unwrap().content.id, 60));
        }
        held.lost_alone = Some(held.kept.remove(2).0);
        let revised = house.store(vault, "revised", 60).await.unwrap();
        house.revise(vault, (revised, Revision::FIRST), "revised", 70).await.unwrap();
        held.kept.push((revised, 70));
        held.revised = Some(revised);
        held
    }

    /// One more epoch; some lose more than a customer.
    async fn go_on(&mut self, house: &House, vault: &Arc<Vault>, epoch: usize) {
        let part = match epoch {
            20 => self.revised.map(|id| Part::Revision(id, Revision::FIRST)),
            30 => self.lost_alone.map(Part::Record),
            _ => None,
        };
        if let Some(part) = part {
            house.erase_part(vault, part).await.unwrap();
        }
        let (of, record) = self.living.remove(0);
        house.erase(vault, &of).await.unwrap();
        self.erased.push((of, record));
    }

    async fn assert_there(&self, house: &House, vault: &Arc<Vault>, place: &str) {
        let living = self.living.iter().map(|(_, id)| (*id, 60));
        for (record, length) in living.chain(self.kept.iter().copied()) {
            assert_eq!(house.read(vault, record).await, Some(text(length)), "{place}");
        }
        assert_eq!(house.read(vault, self.lost_alone.unwrap()).await, None, "{place}");
        assert_eq!(house.read_revision(vault, self.revised.unwrap(), Some(1)).await, None, "{place}");
        for (of, record) in &self.erased {
            assert_eq!(house.read(vault, *record).await, None, "{place}: {of} is back");
            let stored = house.store(vault, of, 60).await;
            assert!(matches!(stored, Err(VaultError::CustomerErased)), "{place}: {of}: {stored:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restore_drill_backups_of_every_age_give_content_and_the_newest_keys_decide() {
    const EPOCHS: usize = 50;
    let house = House::mirrored(VaultLimits { leaf_entries: 2, segment_secrets: 2, ..limits() }).await;
    let mut vault = house.open().await;
    let mut held = Held::fill(&house, &vault, EPOCHS + 10).await;
    let mut backups = Vec::new();
    for epoch in 0..EPOCHS {
        if [0, 1, 25, 49].contains(&epoch) {
            mirrored(&vault).await;
            backups.push((epoch, house.back_up(&format!("backup-{epoch}")).await));
        }
        held.go_on(&house, &vault, epoch).await;
    }
    vault.reclaim().await.unwrap();
    mirrored(&vault).await;
    backups.push((EPOCHS, house.back_up("backup-now").await));
    vault.close().await;
    drop(vault);
    // Only the keys are left, and one of the backups. Each time the mirrors begin anew, of what was restored.
    for (epoch, backup) in backups {
        let place = format!("backup of epoch {epoch}");
        house.lose_the_disk();
        std::fs::remove_dir_all(house.mirror(Sort::Whole)).unwrap();
        create_mirror(&house.mirror(Sort::Whole)).unwrap();
        let restored = house.restore(Sort::Keys, Some(backup)).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert!(restored.verified.is_whole(), "{place}: {:?}", restored.verified);
        assert_eq!(restored.verified.opened as usize, held.living.len() + held.kept.len(), "{place}");
        vault = house.open().await;
        held.assert_there(&house, &vault, &place).await;
        mirrored(&vault).await;
        vault.close().await;
        drop(vault);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restore_drill_without_the_newest_mirror_it_is_refused_and_nothing_is_changed() {
    let house = House::mirrored(limits()).await;
    let vault = house.open().await;
    house.store(&vault, "ada", 60).await.unwrap();
    house.store(&vault, "bert", 60).await.unwrap();
    mirrored(&vault).await;
    let old = house.back_up("old").await;
    house.erase(&vault, "ada").await.unwrap();
    mirrored(&vault).await;
    let of_this_epoch = house.back_up("of-this-epoch").await;
    house.store(&vault, "cara", 60).await.unwrap();
    vault.close().await;
    drop(vault);
    let data = house.paths().data;
    assert!(matches!(house.restore(Sort::Whole, None).await, Err(StartError::Exists(_))), "data is there");
    house.lose_the_disk();
    let attempt = async |mirror: &std::path::Path| {
        let from = RestoreFrom { mirror: mirror.to_owned(), backup: None };
        let paths = VaultPaths { mirrors: Vec::new(), ..house.paths() };
        Vault::restore(paths, house.limits.clone(), from, |_: RestoreStep| {}).await
    };
    let before_the_erasure = attempt(&old).await;
    assert!(matches!(before_the_erasure, Err(StartError::WrongRootKey { .. })), "{before_the_erasure:?}");
    let before_the_pin = attempt(&of_this_epoch).await;
    assert!(matches!(before_the_pin, Err(StartError::RolledBack { .. })), "{before_the_pin:?}");
    let nothing = attempt(&house.folder.path().join("nothing")).await;
    assert!(matches!(nothing, Err(StartError::Vault(VaultError::Store(StoreError::NoMirror { .. })))), "{nothing:?}");
    assert!(!data.exists() && !data.join("restoring").exists());
    assert!(house.restore(Sort::Whole, None).await.unwrap().verified.is_whole());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_mirror_is_dead_no_erasure_is_final_and_everything_else_goes_on() {
    let house = House::mirrored(limits()).await;
    let vault = house.open().await;
    let ada = house.store(&vault, "ada", 60).await.unwrap();
    mirrored(&vault).await;
    let (dir, away) = (house.mirror(Sort::Whole), house.folder.path().join("away"));
    std::fs::rename(&dir, &away).unwrap();
    std::fs::create_dir(&dir).unwrap();
    house.store(&vault, "bert", 60).await.unwrap();
    let refused = house.erase(&vault, "ada").await.unwrap_err();
    let words = refused.to_string();
    assert!(words.contains("whole") && words.contains("not acknowledged"), "{words}");
    assert_eq!(house.provider().held().unwrap().len(), 1, "it was refused before a key was staged");
    assert_eq!(house.read(&vault, ada).await, None, "it is refused to everybody from the moment it was asked for");
    let cara = house.store(&vault, "cara", 60).await.unwrap();
    assert_eq!(house.read(&vault, cara).await, Some(text(60)));
    // A start finds it as it is, and does not wait.
    vault.close().await;
    drop(vault);
    let vault = house.open().await;
    assert_eq!(house.final_erasures(&vault), 0);
    assert_eq!(house.read(&vault, cara).await, Some(text(60)));
    std::fs::remove_dir(&dir).unwrap();
    std::fs::rename(&away, &dir).unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while let Err(error) = house.erase(&vault, "ada").await {
        assert!(std::time::Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(house.final_erasures(&vault), 1);
    vault.close().await;
    drop(vault);
    house.lose_the_disk();
    assert!(house.restore(Sort::Whole, None).await.unwrap().verified.is_whole());
    let vault = house.open().await;
    assert_eq!(house.read(&vault, ada).await, None);
    assert_eq!(house.read(&vault, cara).await, Some(text(60)));
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restore_drill_a_pending_part_survives_a_mirror_of_keys() {
    let mut done = Vec::new();
    for what in ["record", "revised record", "revision"] {
        let mut met = false;
        // Which operation is the first of the epoch depends on how many there are before it.
        for skip in 0..MANY {
            let mut house = House::mirrored(limits()).await;
            let vault = house.open().await;
            let goes = house.store(&vault, "ada", 60).await.unwrap();
            if what != "record" {
                house.revise(&vault, (goes, Revision::FIRST), "ada", 70).await.unwrap();
            }
            let permit = house.permit(Action::CreateTranscript);
            let stays = vault.create_transcript(permit, chat("ada", 60), request("stays")).await.unwrap().content.id;
            mirrored(&vault).await;
            let part = match what {
                "revision" => Part::Revision(goes, Revision::FIRST),
                _ => Part::Record(goes),
            };
            house.fault.arm(skip, false);
            let failed = house.erase_part(&vault, part).await.is_err();
            assert!(!house.fault.was_missed(), "{what}: no operation of the epoch was met");
            let (from, to) = rows::all(rows::Kind::Erasing);
            let is_pending = vault.takes_writes() && !vault.core.db.range(&from, &to, 1).unwrap().is_empty();
            if !failed || !is_pending {
                vault.close().await;
                continue;
            }
            met = true;
            mirrored(&vault).await;
            let handle = vault.core.known_customer(house.tenant, &customer("ada")).unwrap().unwrap();
            vault.close().await;
            drop(vault);
            house.lose_the_disk();
            house.mirrors.retain(|mirror| mirror.sort == Sort::Keys);
            house.restore(Sort::Keys, None).await.unwrap();
            let vault = house.open().await;
            let secrets = |record| {
                let (from, to) = rows::record_secrets(handle, record);
                vault.core.db.range(&from, &to, 100).unwrap().len()
            };
            let left = if what == "revision" { 1 } else { 0 };
            assert_eq!((secrets(goes), secrets(stays)), (left, 1), "{what}");
            assert_eq!(house.final_erasures(&vault), 1, "{what}: no receipt");
            let receipt = house.erase_part(&vault, part).await.unwrap();
            assert_eq!(receipt.erased.subject, part_subject(part), "{what}");
            vault.close().await;
            break;
        }
        assert!(met, "{what}: never pending");
        done.push(what);
    }
    println!("pending parts over a restore from a mirror of keys: {done:?}");
}

fn part_subject(part: Part) -> crate::domain::erasure::Subject {
    match part {
        Part::Record(_) => crate::domain::erasure::Subject::Record,
        Part::Revision(..) => crate::domain::erasure::Subject::Revision,
    }
}
