//! The crash matrix with the root key in a security module, SoftHSM2: faults before and behind every operation of disk and module, the
//! module going away in the middle of an epoch and coming back; and old keys that cannot be destroyed, that come back, or that have a copy.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::root_key::softhsm::SoftHsm;

/// A vault whose root key stands in the token, under a label of its own.
async fn house(hsm: &SoftHsm) -> House {
    House::on(limits(), Some(hsm.place())).await
}

impl House {
    /// What the user of the token can do past the vault.
    fn in_module<T>(&self, act: impl FnOnce(&Pkcs11RootKey) -> T) -> T {
        match self.provider() {
            Provider::Hsm(provider) => act(&provider),
            Provider::File(_) => panic!("the root key is in no module"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_matrix_on_softhsm2_an_erasure_is_not_begun_or_final_and_the_module_may_go_away_and_come_back() {
    const THIS: &str =
        "crash_matrix_on_softhsm2_an_erasure_is_not_begun_or_final_and_the_module_may_go_away_and_come_back";
    let Some(hsm) = SoftHsm::of_test(module_path!(), THIS) else { return };
    crash_matrix::a_fault_at_every_operation(async || house(&hsm).await).await;
    the_module_goes_away(&hsm).await;
}

/// Before every operation, as a cable would; the service goes on when it is back, without a restart or after one.
async fn the_module_goes_away(hsm: &SoftHsm) {
    let mut refused = 0;
    for after in 0..MANY {
        for restart in [false, true] {
            let house = house(hsm).await;
            let mut vault = house.open().await;
            let ada = house.store(&vault, "ada", 100).await.unwrap();
            let bob = house.store(&vault, "bob", 100).await.unwrap();
            let same = SoftHsm { folder: hsm.folder.clone() };
            house.fault.arm_with(after, move || same.unplug());
            let answer = house.erase(&vault, "ada").await;
            if house.fault.was_missed() {
                answer.unwrap();
                assert!(refused > 4, "the module was missed {refused} times");
                return;
            }
            let place = format!("operation {after}, restart: {restart}");
            refused += usize::from(answer.is_err());
            assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100, "{place}: reads stop");
            hsm.plug_in();
            if restart {
                vault.close().await;
                drop(vault);
                vault = house.open().await;
            }
            house.erase(&vault, "ada").await.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(house.final_erasures(&vault), 1, "{place}");
            assert_eq!(vault.core.provider.held().unwrap().len(), 1, "{place}");
            assert_eq!(house.read(&vault, ada).await, None, "{place}");
            assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100, "{place}");
            vault.close().await;
        }
    }
    panic!("an erasure has more operations than {MANY}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_root_key_that_has_a_copy_under_another_label_keeps_an_erasure_from_being_final() {
    const THIS: &str = "an_old_root_key_that_has_a_copy_under_another_label_keeps_an_erasure_from_being_final";
    let Some(hsm) = SoftHsm::of_test(module_path!(), THIS) else { return };
    let house = house(&hsm).await;
    let mut vault = house.open().await;
    let ada = house.store(&vault, "ada", 100).await.unwrap();
    let bob = house.store(&vault, "bob", 100).await.unwrap();
    // A token that knows no keys which must not be copied.
    house.lie.tell(Says::NotToBeCopied);
    vault.renew_root_key(Duration::ZERO).await.unwrap();
    house.lie.tell(Says::TheTruth);
    let old = vault.core.provider.held().unwrap()[0].id;
    house.in_module(|module| module.copy_key(old, "spare")).unwrap();
    for restarted in [false, true] {
        if restarted {
            vault.close().await;
            drop(vault);
            vault = house.open().await;
        }
        let VaultError::Shared(refused) = house.erase(&vault, "ada").await.unwrap_err() else {
            panic!("shared by all")
        };
        assert!(matches!(*refused, VaultError::ErasureNotFinal { .. }), "{refused}");
        assert_eq!(house.final_erasures(&vault), 0);
        assert_eq!(vault.core.provider.held().unwrap().len(), 1, "the copy is none of ours");
        assert_eq!(house.read(&vault, ada).await, None);
        assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100, "reads stop");
    }
    assert_eq!(house.in_module(|module| module.destroy_labelled("spare")), 1);
    house.erase(&vault, "ada").await.unwrap();
    assert_eq!(house.final_erasures(&vault), 1);
    assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100);
    vault.close().await;
}

/// SoftHSM2 has been seen to have objects that come back after they were destroyed (its issue 903).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_root_key_whose_file_comes_back_at_any_moment_is_destroyed_before_anything_is_final() {
    const THIS: &str = "an_old_root_key_whose_file_comes_back_at_any_moment_is_destroyed_before_anything_is_final";
    let Some(hsm) = SoftHsm::of_test(module_path!(), THIS) else { return };
    let (mut caught, mut begun) = (0, false);
    for after in 0..MANY {
        let house = house(&hsm).await;
        let mut vault = house.open().await;
        house.store(&vault, "ada", 100).await.unwrap();
        house.store(&vault, "carol", 100).await.unwrap();
        let bob = house.store(&vault, "bob", 100).await.unwrap();
        let old = vault.core.provider.held().unwrap()[0].id;
        let path = house.in_module(|module| module.file_of(old, &hsm));
        let file = std::fs::read(&path).unwrap();
        let put_back = move || std::fs::write(&path, &file).unwrap();
        house.fault.arm_with(after, put_back.clone());
        let answer = house.erase(&vault, "ada").await;
        let is_last = house.fault.was_missed();
        let place = format!("operation {after}");
        let is_back = || house.provider().held().unwrap().iter().any(|held| held.id == old);
        if let Err(refused) = &answer {
            // It was back between its destruction and the look whether it is gone.
            assert!(is_back(), "{place}: {refused}");
            assert_eq!(house.final_erasures(&vault), 0, "{place}");
            caught += 1;
        }
        begun |= answer.is_ok() && is_back();
        house.erase(&vault, "ada").await.unwrap_or_else(|error| panic!("{place}: {error}"));
        // Live: it is destroyed again before the next erasure is final. And at a start.
        put_back();
        assert!(is_back(), "{place}");
        house.erase(&vault, "carol").await.unwrap();
        assert!(!is_back(), "{place}");
        put_back();
        assert!(is_back(), "{place}");
        vault.close().await;
        drop(vault);
        vault = house.open().await;
        assert!(!is_back(), "{place}");
        assert_eq!(vault.core.provider.held().unwrap().len(), 1, "{place}");
        assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100, "{place}");
        vault.close().await;
        if is_last {
            assert!(caught >= 2, "it came back unseen: {caught}");
            assert!(begun, "it never came back behind the last look");
            return;
        }
    }
    panic!("an erasure has more operations than {MANY}");
}

/// Makes a file unremovable, also for root, or undoes that. `false` where the file system does not do so.
fn set_immutable(path: &Path, is_immutable: bool) -> bool {
    let how = if is_immutable { "+i" } else { "-i" };
    Command::new("chattr").arg(how).arg(path).output().is_ok_and(|done| done.status.success())
}

/// Undoes it, so that the folder of a test that failed can be removed.
struct Immutable(PathBuf);

impl Drop for Immutable {
    fn drop(&mut self) {
        set_immutable(&self.0, false);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_root_key_that_the_module_cannot_destroy_keeps_an_erasure_from_being_final() {
    const THIS: &str = "an_old_root_key_that_the_module_cannot_destroy_keeps_an_erasure_from_being_final";
    let Some(hsm) = SoftHsm::of_test(module_path!(), THIS) else { return };
    let (house, token) = (house(&hsm).await, hsm.token());
    let vault = house.open().await;
    let ada = house.store(&vault, "ada", 100).await.unwrap();
    let bob = house.store(&vault, "bob", 100).await.unwrap();
    let old = vault.core.provider.held().unwrap()[0].id;
    let file = house.in_module(|module| module.file_of(old, &hsm));
    let stays = Immutable(file.clone());
    if !set_immutable(&file, true) {
        println!(
            "SKIPPED: files in {} cannot be made immutable here (root, ext4), so {THIS} is not run",
            token.display()
        );
        return;
    }
    for _ in 0..2 {
        let refused = house.erase(&vault, "ada").await;
        assert!(refused.is_err(), "final, and the old key's file is there");
        assert!(file.exists() && house.final_erasures(&vault) == 0);
        assert_eq!(house.read(&vault, ada).await, None);
        assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100);
    }
    drop(stays);
    house.erase(&vault, "ada").await.unwrap();
    assert!(!file.exists());
    assert_eq!((house.final_erasures(&vault), vault.core.provider.held().unwrap().len()), (1, 1));
    vault.close().await;
}
