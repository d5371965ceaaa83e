//! What becomes of mirrors and backups when something else than the whole disk is lost: they give nothing up that somebody may still need.

use super::*;
use crate::vault::{RestoreFrom, RestoreStep, backup, create_mirror};

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
