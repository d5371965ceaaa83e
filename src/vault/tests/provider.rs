//! A provider that fails, lies or is slow.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_fails_once_delays_an_erasure_until_it_is_asked_for_again() {
    let mut delayed = 0;
    for after in 0..MANY {
        let house = House::build().await;
        let vault = house.open().await;
        let ada = house.store(&vault, "ada", 100).await.unwrap();
        house.fault.arm(after, false);
        let answer = house.erase(&vault, "ada").await;
        if house.fault.was_missed() {
            break;
        }
        if vault.core.committer.is_open() {
            delayed += 1;
            assert!(matches!(answer, Err(VaultError::Shared(_))), "{answer:?}");
            assert_eq!(
                house.read(&vault, ada).await,
                None,
                "operation {after}: readable after it was asked to be erased"
            );
            house.erase(&vault, "ada").await.unwrap();
            assert_eq!(house.final_erasures(&vault), 1);
        }
        vault.close().await;
    }
    assert!(delayed >= 4, "only {delayed} operations of the provider failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_lies_about_a_destruction_is_caught_and_the_erasure_is_not_called_final() {
    for lie in [1, 2] {
        for restart in [false, true] {
            let house = House::build().await;
            let mut vault = house.open().await;
            let ada = house.store(&vault, "ada", 100).await.unwrap();
            let bob = house.store(&vault, "bob", 100).await.unwrap();
            house.lie.tell(lie);
            for _ in 0..2 {
                let refused = house.erase(&vault, "ada").await;
                assert!(refused.is_err(), "lie {lie}: {refused:?}");
            }
            assert_eq!(house.final_erasures(&vault), 0, "lie {lie}");
            assert_eq!(house.read(&vault, ada).await, None);
            house.lie.tell(0);
            if restart {
                vault.close().await;
                drop(vault);
                vault = house.open().await;
            }
            house.erase(&vault, "ada").await.unwrap();
            assert_eq!((house.final_erasures(&vault), house.provider().held().unwrap().len()), (1, 1));
            assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100);
            vault.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_root_key_that_comes_back_is_destroyed_again_before_anything_else_is_final() {
    let house = House::build().await;
    let vault = house.open().await;
    house.store(&vault, "ada", 100).await.unwrap();
    let bob = house.store(&vault, "bob", 100).await.unwrap();
    let old = std::fs::read(house.root_key()).unwrap();
    house.erase(&vault, "ada").await.unwrap();
    vault.close().await;
    drop(vault);
    // The page of the old key as it was, beside that of the key that counts.
    let mut file = std::fs::read(house.root_key()).unwrap();
    file[4096..8192].copy_from_slice(&old[4096..8192]);
    std::fs::write(house.root_key(), file).unwrap();
    assert_eq!(house.provider().held().unwrap().len(), 2, "the old key is not back");
    let vault = house.open().await;
    assert_eq!(house.provider().held().unwrap().len(), 1);
    assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100);
    vault.renew_root_key(Duration::ZERO).await.unwrap();
    assert_eq!(house.provider().held().unwrap()[0].epoch, 3, "an epoch without erasures");
    assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100);
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_the_window_erasures_wait_for_one_epoch_and_writes_do_not_wait() {
    let house = House::with(VaultLimits { epoch_window: Duration::from_millis(400), ..limits() }).await;
    let vault = house.open().await;
    let people = ["ada", "bob", "cleo"];
    for of in people {
        house.store(&vault, of, 100).await.unwrap();
    }
    let first = house.erase(&vault, "ada").await.unwrap();
    let begun = std::time::Instant::now();
    let (one, other, stored) = tokio::join!(house.erase(&vault, "bob"), house.erase(&vault, "cleo"), async {
        let stored = house.store(&vault, "dora", 100).await;
        (stored, begun.elapsed())
    });
    let (one, other) = (one.unwrap().erased.epoch, other.unwrap().erased.epoch);
    assert_eq!((one, other), (first.erased.epoch + 1, first.erased.epoch + 1));
    assert!(begun.elapsed() >= Duration::from_millis(300), "they did not wait");
    stored.0.unwrap();
    assert!(stored.1 < begun.elapsed(), "a write waited for the window");
    vault.close().await;
}
