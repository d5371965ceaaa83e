//! What becomes of mirrors and backups when something else than the whole disk is lost: they give nothing up that somebody may still need.

use std::collections::BTreeSet;

use super::*;
use crate::domain::codec::hex;
use crate::vault::{RestoreFrom, RestoreStep, backup, create_mirror, mirror_content};

impl House {
    fn objects_of(&self, folder: &std::path::Path) -> Vec<PathBuf> {
        let mut folders = vec![folder.join("objects")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => files.push(entry.path()),
                }
            }
        }
        // What is only staged does not count.
        files.retain(|file| !file.to_string_lossy().contains('#'));
        files.sort();
        files
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_are_lost_here_stay_on_the_mirrors_and_in_backups_and_are_told() {
    let house = House::mirrored(limits()).await;
    let vault = house.open().await;
    let long = house.store(&vault, "ada", 150_000).await.unwrap();
    house.store(&vault, "bob", 150_000).await.unwrap();
    restore_drill::mirrored(&vault).await;
    let backup_dir = house.back_up("backup").await;
    let mirror = house.mirror(Sort::Whole);
    let on_the_mirror = house.objects_of(&mirror);
    assert_eq!((on_the_mirror.len(), house.objects_of(&backup_dir).len()), (4, 4));
    vault.close().await;
    drop(vault);
    // The directory is gone: it is not served from an empty one.
    let (objects, away) = (house.paths().data.join("objects"), house.folder.path().join("away"));
    std::fs::rename(&objects, &away).unwrap();
    let refused = Vault::open(house.paths(), house.limits.clone()).await.map(drop);
    assert!(matches!(refused, Err(StartError::NoObjects(_))), "{refused:?}");
    // The mount point of its disk.
    std::fs::create_dir(&objects).unwrap();
    let vault = house.open().await;
    until("it is not told", || vault.mirrors()[0].problem.as_deref().is_some_and(|why| why.contains("4 objects")))
        .await;
    // Whoever is erased is removed from the mirror all the same.
    house.erase(&vault, "bob").await.unwrap();
    vault.reclaim().await.unwrap();
    until("what was erased stays", || house.objects_of(&mirror).len() == 2).await;
    backup(&mirror, &backup_dir, false, |_| {}).await.unwrap();
    assert_eq!(house.objects_of(&backup_dir).len(), 4, "a backup gives up nothing by itself");
    backup(&mirror, &backup_dir, true, |_| {}).await.unwrap();
    assert_eq!(house.objects_of(&backup_dir).len(), 2, "what was erased is pruned");
    vault.close().await;
    drop(vault);
    std::fs::remove_dir(&objects).ok();
    std::fs::remove_dir_all(&objects).ok();
    std::fs::rename(&away, &objects).unwrap();
    let vault = house.open().await;
    assert_eq!(house.read(&vault, long).await, Some(text(150_000)));
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_object_that_cannot_be_copied_keeps_no_other_from_the_mirror_and_is_told() {
    let house = House::mirrored(limits()).await;
    let vault = house.open().await;
    for of in ["ada", "bob", "cleo"] {
        house.store(&vault, of, 150_000).await.unwrap();
    }
    restore_drill::mirrored(&vault).await;
    vault.close().await;
    drop(vault);
    let mirror = house.mirror(Sort::Whole);
    std::fs::remove_dir_all(mirror.join("objects")).unwrap();
    // Where the first one is to stand, something is in the way.
    let first = house.objects_of(&house.paths().data).remove(0);
    let in_the_way = mirror.join(first.strip_prefix(house.paths().data).unwrap());
    std::fs::create_dir_all(in_the_way.join("a folder with a folder in it")).unwrap();
    let vault = house.open().await;
    until("the others are not copied", || house.objects_of(&mirror).len() == 5).await;
    until("it is not told", || vault.mirrors().iter().any(|mirror| mirror.problem.is_some())).await;
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_vaults_mirror_that_is_mounted_in_the_place_of_ours_keeps_its_objects() {
    let (one, other) = (House::mirrored(limits()).await, House::mirrored(limits()).await);
    let vault = other.open().await;
    other.store(&vault, "ada", 150_000).await.unwrap();
    restore_drill::mirrored(&vault).await;
    vault.close().await;
    drop(vault);
    // Nothing is there when the service starts; then the wrong disk.
    let (ours, theirs) = (one.mirror(Sort::Whole), other.mirror(Sort::Whole));
    std::fs::remove_dir_all(&ours).unwrap();
    let vault = one.open().await;
    until("it is not told", || vault.mirrors()[0].problem.is_some()).await;
    std::fs::rename(&theirs, &ours).unwrap();
    until("it is not told", || vault.mirrors()[0].problem.as_deref().is_some_and(|why| why.contains("another vault")))
        .await;
    one.store(&vault, "bob", 150_000).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(one.objects_of(&ours).len(), 2, "another vault's objects were touched");
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_changes_nothing_but_the_data_and_can_be_made_again_after_it_was_interrupted() {
    let house = House::mirrored(limits()).await;
    let vault = house.open().await;
    let (ada, bob) =
        (house.store(&vault, "ada", 150_000).await.unwrap(), house.store(&vault, "bob", 60).await.unwrap());
    restore_drill::mirrored(&vault).await;
    // An erasure that is asked for and on the mirrors, and not carried out.
    house.lie.tell(Says::Destroyed);
    house.erase(&vault, "ada").await.unwrap_err();
    vault.close().await;
    drop(vault);
    house.lie.tell(Says::TheTruth);
    let keys = || house.provider().held().unwrap().into_iter().map(|held| held.id).collect::<Vec<_>>();
    let pin = || house.provider().pin().unwrap();
    let before = (keys(), pin());
    assert_eq!(before.0.len(), 2, "nothing is owed");
    // A host that does not have the mirrors in its configuration; and a data directory that is a disk of its own.
    let paths = VaultPaths { mirrors: Vec::new(), ..house.paths() };
    let from = RestoreFrom { mirror: house.mirror(Sort::Whole), backup: None };
    let restore = async || Vault::restore(paths.clone(), house.limits.clone(), from.clone(), |_: RestoreStep| {}).await;
    for attempt in 0..3 {
        house.lose_the_disk();
        std::fs::create_dir_all(paths.data.join("lost+found")).unwrap();
        match attempt {
            // Stopped while it copied; stopped between the two that take their places.
            1 => std::fs::create_dir_all(paths.data.join("restoring").join("db")).unwrap(),
            2 => {
                std::fs::create_dir_all(paths.data.join("restoring").join("db")).unwrap();
                std::fs::create_dir_all(paths.data.join("objects").join("half")).unwrap();
            }
            _ => {}
        }
        let restored = restore().await.unwrap_or_else(|error| panic!("attempt {attempt}: {error}"));
        assert!(restored.verified.is_whole(), "{:?}", restored.verified);
        assert_eq!((keys(), pin()), before, "attempt {attempt}: a restore changed the root key's medium");
        assert!(!paths.data.join("restoring").exists() && !paths.data.join("objects").join("half").exists());
    }
    let something = Vault::restore(paths.clone(), house.limits.clone(), from.clone(), |_: RestoreStep| {}).await;
    assert!(matches!(something, Err(StartError::Exists(_))), "{something:?}");
    let vault = house.open().await;
    assert_eq!((house.read(&vault, ada).await, house.read(&vault, bob).await), (None, Some(text(60))));
    assert_eq!(house.final_erasures(&vault), 1);
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_restored_from_less_while_a_mirror_of_everything_may_have_more() {
    let house = House::mirrored(limits()).await;
    let vault = house.open().await;
    house.store(&vault, "ada", 60).await.unwrap();
    restore_drill::mirrored(&vault).await;
    let backup_dir = house.back_up("backup").await;
    house.store(&vault, "bob", 60).await.unwrap();
    restore_drill::mirrored(&vault).await;
    vault.close().await;
    drop(vault);
    house.lose_the_disk();
    let refused = house.restore(Sort::Keys, Some(backup_dir.clone())).await;
    assert!(matches!(refused, Err(StartError::MirrorHasMore(_))), "{refused:?}");
    // Its disk is not mounted: nobody knows what it has.
    let (dir, away) = (house.mirror(Sort::Whole), house.folder.path().join("away"));
    std::fs::rename(&dir, &away).unwrap();
    let refused = house.restore(Sort::Keys, Some(backup_dir.clone())).await;
    assert!(matches!(refused, Err(StartError::MirrorNotThere(_))), "{refused:?}");
    assert!(!house.paths().data.exists());
    create_mirror(&dir).unwrap();
    let restored = house.restore(Sort::Keys, Some(backup_dir)).await.unwrap();
    assert_eq!((restored.verified.opened, restored.verified.missing), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_says_it_has_all_objects_has_them_in_every_image() {
    let house = House::mirrored(limits()).await;
    let vault = house.open().await;
    let (mirror, copy) = (house.mirror(Sort::Whole), house.folder.path().join("image"));
    let (mut images, mut complete) = (0, 0);
    let mut number = 0;
    while (images < 24 || complete == 0) && images < 200 {
        // Uploads and an erasure beside the image, which takes rows, mark and objects in this order.
        let upload = |at: usize| {
            let (house, vault) = (&house, &vault);
            async move { house.store(vault, &format!("customer-{at}"), 150_000).await.unwrap() }
        };
        let uploads = async { (upload(number).await, upload(number + 1).await, upload(number + 2).await) };
        let imaged = async {
            let (from, to) = (mirror.clone(), copy.clone());
            tokio::task::spawn_blocking(move || restore_drill::copy_mirror(&from, &to)).await.unwrap();
        };
        tokio::join!(uploads, imaged);
        if number % 4 == 0 {
            house.erase(&vault, &format!("customer-{number}")).await.unwrap();
            vault.reclaim().await.unwrap();
        }
        number += 3;
        images += 1;
        // Now and then there is time to have everything.
        if images % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        let Some(content) = mirror_content(&copy).unwrap() else { panic!("the image holds no mirror") };
        if content.has_all_objects() {
            complete += 1;
            assert_restores_all(&house, &copy).await;
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
    eprintln!("{complete} of {images} images said that they have all objects");
    assert!(complete > 0, "none said so, and nothing was tried");
    vault.close().await;
    drop(vault);
    // Stopped in order, it has everything, and says so.
    assert!(mirror_content(&mirror).unwrap().unwrap().has_all_objects());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mark_of_a_mirror_whose_copies_lag_never_runs_ahead_of_its_objects() {
    // So many objects that their copies, which come one after the other, take longer than it takes to store them.
    let limits = VaultLimits { part_bytes: 1 << 10, ..limits() };
    let house = Arc::new(House::mirrored(limits).await);
    let vault = house.open().await;
    let mirror = house.mirror(Sort::Whole);
    let mut storing = tokio::task::JoinSet::new();
    for number in 0..48 {
        let (house, vault) = (Arc::clone(&house), Arc::clone(&vault));
        storing.spawn(async move { house.store(&vault, &format!("customer-{number}"), 200_000).await.unwrap() });
    }
    let (mut behind, mut marked, mut records) = (0, BTreeSet::new(), Vec::new());
    loop {
        // What is acknowledged by now is named by rows up to here.
        let is_over = storing.is_empty();
        while let Some(record) = storing.try_join_next() {
            records.push(hex(record.unwrap().as_bytes()));
        }
        let is_named = |file: &PathBuf| records.iter().any(|record| file.to_string_lossy().contains(record));
        let objects = house.objects_of(&vault.core.data).into_iter().filter(is_named);
        let named: Vec<_> = objects.map(|file| on(&mirror, &file, &vault)).collect();
        assert!(records.is_empty() || !named.is_empty(), "no object has the name of its record");
        let stored = vault.core.committer.mirrors().newest().sequence;
        let Some(until) = mirror_content(&mirror).unwrap().and_then(|content| content.objects_until) else { continue };
        let missing = named.iter().filter(|object| !object.exists()).count();
        behind += usize::from(missing > 0);
        marked.insert(until);
        assert!(until < stored || missing == 0, "marked up to {until} of {stored}, and {missing} objects are missing");
        if is_over && until >= stored {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    eprintln!("marks: {} of them, the copies behind in {behind} looks", marked.len());
    assert!(behind > 0, "the copies were never behind");
    vault.close().await;
}

/// Where an object of the vault stands on a mirror.
fn on(mirror: &std::path::Path, object: &std::path::Path, vault: &Vault) -> PathBuf {
    mirror.join(object.strip_prefix(&vault.core.data).unwrap())
}

/// Restores the image of a mirror on another host, as if the disk were lost, and finds nothing missing.
async fn assert_restores_all(house: &House, image: &std::path::Path) {
    let data = house.folder.path().join("restored");
    let paths = VaultPaths { data: data.clone(), mirrors: Vec::new(), ..house.paths() };
    let from = RestoreFrom { mirror: image.to_owned(), backup: None };
    match Vault::restore(paths, house.limits.clone(), from, |_: RestoreStep| {}).await {
        Ok(restored) => {
            assert!(restored.had_all_objects);
            assert!(restored.verified.is_whole(), "{:?}", restored.verified);
        }
        // An erasure since has replaced the root key: this image opens no more.
        Err(StartError::WrongRootKey { .. } | StartError::RolledBack { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    drop(std::fs::remove_dir_all(&data));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_lost_before_a_mirror_was_added_keep_it_incomplete() {
    let mut house = House::with(limits()).await;
    let vault = house.open().await;
    house.store(&vault, "ada", 150_000).await.unwrap();
    let of_bob = house.store(&vault, "bob", 150_000).await.unwrap();
    vault.close().await;
    drop(vault);
    std::fs::remove_file(house.objects_of(&house.paths().data).remove(0)).unwrap();
    let place = MirrorPlace { directory: house.folder.path().join("late"), sort: Sort::Whole };
    create_mirror(&place.directory).unwrap();
    house.mirrors = vec![place.clone()];
    let vault = house.open().await;
    until("it is not told", || {
        vault.mirrors()[0].problem.as_deref().is_some_and(|why| why.contains("1 records are missing"))
    })
    .await;
    house.store(&vault, "cleo", 150_000).await.unwrap();
    until("the others are not copied", || house.objects_of(&place.directory).len() == 5).await;
    assert!(!mirror_content(&place.directory).unwrap().unwrap().has_all_objects());
    let to = house.folder.path().join("backup");
    let refused = backup(&place.directory, &to, false, |_| {}).await;
    assert!(matches!(refused, Err(StoreError::MirrorIncomplete { .. })), "{refused:?}");
    // Once what is lost is erased, the mirror lacks nothing that anybody may need.
    for of in ["ada", "bob"] {
        house.erase(&vault, of).await.unwrap();
    }
    vault.reclaim().await.unwrap();
    assert_eq!(house.read(&vault, of_bob).await, None);
    vault.close().await;
    drop(vault);
    let vault = house.open().await;
    until("it is not complete", || {
        mirror_content(&place.directory).unwrap().is_some_and(|content| content.has_all_objects())
    })
    .await;
    backup(&place.directory, &to, false, |_| {}).await.unwrap();
    assert!(mirror_content(&to).unwrap().unwrap().has_all_objects());
    vault.close().await;
}
