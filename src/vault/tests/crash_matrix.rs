//! The crash matrix: a fault or a crash at every operation of disk and provider, before its effect and behind it, with and without what was not
//! yet synced, and inserts that race each of them. After a restart there is a root key that opens what is left, nothing is called final that is not, and nobody else is lost.

mod races;
mod space;

use super::*;
use crate::root_key::RootKey as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_an_erasure_is_not_begun_or_final_after_a_restart_and_harms_nobody_else() {
    a_fault_at_every_operation(House::build).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_root_key_in_two_files_the_same_holds_also_if_the_power_is_cut_between_them() {
    a_fault_at_every_operation(House::replicated).await;
    let spared = async || {
        let house = House::replicated().await;
        house.fault.spare(house.root_keys().remove(1));
        house
    };
    a_fault_at_every_operation(spared).await;
}

/// On houses that `build` makes.
pub(super) async fn a_fault_at_every_operation(build: impl AsyncFn() -> House) {
    let mut met = 0;
    for (after, blow) in every_fault() {
        let house = build().await;
        let vault = house.open().await;
        let ada = house.store(&vault, "ada", 100).await.unwrap();
        let bob = house.store(&vault, "bob", 100).await.unwrap();
        house.fault.strike(after, blow);
        let answer = house.erase(&vault, "ada").await;
        if house.fault.was_missed() {
            answer.unwrap();
            break;
        }
        met += 1;
        let place = format!("operation {after}, {blow:?}");
        assert!(answer.is_err(), "{place}: an erasure is final although something failed");
        let vault = house.open_after(vault, blow).await;
        let text = house.read(&vault, ada).await;
        let (receipts, asked) = (house.final_erasures(&vault), text.is_none());
        assert_eq!(
            receipts,
            usize::from(asked),
            "{place}: asked for and not final after a restart, or final and readable"
        );
        assert_eq!(vault.core.provider.held().unwrap().len(), 1, "{place}");
        for replica in house.root_keys().into_iter().filter(|_| house.hsm.is_none()) {
            let held = FileRootKey::open(&[replica]).unwrap().held().unwrap();
            assert_eq!(held.len(), 1, "{place}: one of the replicas has more than the key that counts");
        }
        let receipt = house.erase(&vault, "ada").await.unwrap();
        assert_eq!(house.erase(&vault, "ada").await.unwrap(), receipt, "{place}");
        assert_eq!(house.final_erasures(&vault), 1, "{place}");
        assert_eq!(house.read(&vault, ada).await, None, "{place}");
        let again = vault
            .create_transcript(house.permit(Action::CreateTranscript), chat("ada", 50), request("other"))
            .await
            .map(|stored| stored.content.id);
        assert!(matches!(again, Err(VaultError::CustomerErased)), "{place}: {again:?}");
        assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100, "{place}");
        pages::assert_digests(&vault);
        vault.close().await;
    }
    // At least: the tombstone, the staged key, its wrapping, the epoch, the destruction, the probe, the receipt.
    assert!((14..MANY * Blow::EVERY.len()).contains(&met), "{met} faults were met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_when_a_record_is_erased_it_goes_alone_or_not_at_all() {
    let mut met = 0;
    for (after, blow) in every_fault() {
        let house = House::with(VaultLimits { segment_secrets: 3, ..limits() }).await;
        let vault = house.open().await;
        let mut records = Vec::new();
        for number in 0..7 {
            let new = vault.create_transcript(
                house.permit(Action::CreateTranscript),
                chat("ada", 100),
                request(&format!("{number}")),
            );
            records.push(new.await.unwrap().content.id);
        }
        let erase = async |vault: &Vault| {
            let target = Target::Part(Part::Record(records[4]));
            let erased = vault.erase(house.permit(Action::EraseRecord), target, erasure_of("record")).await;
            erased.map(|erasure| erasure.receipt)
        };
        house.fault.strike(after, blow);
        let answer = erase(&vault).await;
        if house.fault.was_missed() {
            answer.unwrap();
            break;
        }
        met += 1;
        let place = format!("operation {after}, {blow:?}");
        assert!(answer.is_err(), "{place}: an erasure is final although something failed");
        let vault = house.open_after(vault, blow).await;
        let asked = house.read(&vault, records[4]).await.is_none();
        assert_eq!(house.final_erasures(&vault), usize::from(asked), "{place}");
        let receipt = erase(&vault).await.unwrap();
        assert_eq!(erase(&vault).await.unwrap(), receipt, "{place}");
        for (number, record) in records.iter().enumerate() {
            assert_eq!(house.read(&vault, *record).await.is_some(), number != 4, "{place}: record {number}");
        }
        vault.reclaim().await.unwrap();
        assert_eq!(house.list(&vault, "ada").await, 6, "{place}");
        pages::assert_digests(&vault);
        vault.close().await;
    }
    assert!((14..MANY * Blow::EVERY.len()).contains(&met), "{met} faults were met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_when_a_chat_is_revised_or_a_revision_erased_its_repeat_does_it_once() {
    for erases in [false, true] {
        let mut met = 0;
        for (after, blow) in every_fault() {
            let house = House::build().await;
            let vault = house.open().await;
            let ada = house.store(&vault, "ada", 100).await.unwrap();
            if erases {
                house.revise(&vault, (ada, Revision::FIRST), "ada", 80).await.unwrap();
            }
            let act = async |vault: &Arc<Vault>| match erases {
                false => house.revise(vault, (ada, Revision::FIRST), "ada", 80).await.map(drop),
                true => house.erase_part(vault, Part::Revision(ada, Revision::FIRST)).await.map(drop),
            };
            house.fault.strike(after, blow);
            let answer = act(&vault).await;
            if house.fault.was_missed() {
                answer.unwrap();
                break;
            }
            met += 1;
            let place = format!("erases: {erases}, operation {after}, {blow:?}");
            assert!(answer.is_err(), "{place}: acknowledged although something failed");
            let vault = house.open_after(vault, blow).await;
            let first = house.read_revision(&vault, ada, Some(1)).await.is_some();
            assert_eq!(house.final_erasures(&vault), usize::from(!first), "{place}");
            act(&vault).await.unwrap();
            act(&vault).await.unwrap();
            let lengths = [1, 2, 3]
                .map(async |number| house.read_revision(&vault, ada, Some(number)).await.map(|text| text.len()));
            let [one, two, three] = lengths;
            let found = (one.await, two.await, three.await);
            assert_eq!(found, ((!erases).then_some(100), Some(80), None), "{place}");
            assert_eq!(house.final_erasures(&vault), usize::from(erases), "{place}");
            vault.close().await;
        }
        assert!((4..MANY * Blow::EVERY.len()).contains(&met), "{met} faults were met");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_in_a_write_its_repeat_after_a_restart_stores_it_once() {
    for (length, parts) in [(100, 0), (150_000, 2)] {
        let mut met = 0;
        for (after, blow) in every_fault() {
            let house = House::build().await;
            let vault = house.open().await;
            house.fault.strike(after, blow);
            let answer = house.store(&vault, "ada", length).await;
            if house.fault.was_missed() {
                answer.unwrap();
                break;
            }
            met += 1;
            let place = format!("{length} bytes, operation {after}, {blow:?}");
            assert!(answer.is_err(), "{place}: acknowledged although something failed");
            let vault = house.open_after(vault, blow).await;
            let id = house.store(&vault, "ada", length).await.unwrap();
            assert_eq!(house.read(&vault, id).await, Some(text(length)), "{place}");
            assert_eq!((house.list(&vault, "ada").await, house.objects()), (1, parts), "{place}");
            vault.close().await;
        }
        assert!((4..MANY * Blow::EVERY.len()).contains(&met), "{met} faults were met");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inserts_that_race_an_erasure_which_fails_somewhere_are_lost_nowhere() {
    let (mut met, mut stored, mut met_before) = (0, 0, 1);
    for after in 0..MANY {
        if std::mem::replace(&mut met_before, met) == met {
            break;
        }
        for blow in Blow::EVERY {
            let house = House::with(VaultLimits { leaf_entries: 2, ..limits() }).await;
            let vault = house.open().await;
            let ada = house.store(&vault, "ada", 100).await.unwrap();
            let bob = house.store(&vault, "bob", 100).await.unwrap();
            house.fault.strike(after, blow);
            let (erased, of_bob, of_carol) = tokio::join!(
                house.erase(&vault, "ada"),
                vault.create_transcript(house.permit(Action::CreateTranscript), chat("bob", 70), request("bob-again")),
                house.store(&vault, "carol", 80),
            );
            met += usize::from(!house.fault.was_missed());
            let (of_bob, erased) = (of_bob.map(|record| record.content.id), erased.is_ok());
            let vault = house.open_after(vault, blow).await;
            let place = format!("operation {after}, {blow:?}");
            assert_eq!(house.read(&vault, bob).await.map(|text| text.len()), Some(100), "{place}");
            for (record, length) in [(of_bob, 70), (of_carol, 80)] {
                if let Ok(record) = record {
                    assert_eq!(house.read(&vault, record).await.map(|text| text.len()), Some(length), "{place}");
                    stored += 1;
                }
            }
            let is_gone = house.read(&vault, ada).await.is_none();
            assert!(is_gone || !erased, "{place}: acknowledged and readable");
            assert_eq!(house.final_erasures(&vault), usize::from(is_gone), "{place}");
            assert_eq!(house.provider().held().unwrap().len(), 1, "{place}");
            vault.close().await;
        }
    }
    assert!(met > MANY / 2 && stored > MANY, "{met} faults, {stored} inserts");
}

/// Whatever a provider says, with the reply lost or the effect, is read from what it holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_fails_once_delays_an_erasure_until_it_is_asked_for_again() {
    let mut delayed = [0, 0];
    for (behind, delayed) in [false, true].into_iter().zip(&mut delayed) {
        for after in 0..MANY {
            let house = House::build().await;
            let vault = house.open().await;
            let ada = house.store(&vault, "ada", 100).await.unwrap();
            house.fault.arm(after, behind);
            let answer = house.erase(&vault, "ada").await;
            if house.fault.was_missed() {
                break;
            }
            if vault.core.committer.is_open() {
                *delayed += 1;
                let place = format!("operation {after}, behind: {behind}");
                assert!(matches!(answer, Err(VaultError::Shared(_))), "{place}: {answer:?}");
                assert_eq!(house.read(&vault, ada).await, None, "{place}: readable after it was asked to be erased");
                house.erase(&vault, "ada").await.unwrap();
                assert_eq!(house.final_erasures(&vault), 1, "{place}");
                assert_eq!(house.provider().held().unwrap().len(), 1, "{place}");
            }
            vault.close().await;
        }
    }
    assert!(delayed.into_iter().all(|delayed| delayed >= 4), "{delayed:?} operations of the provider failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_vanishes_in_the_middle_of_an_epoch_stops_it_until_it_is_back() {
    let mut refused = 0;
    for after in 0..MANY {
        for restart in [false, true] {
            let house = House::replicated().await;
            let mut vault = house.open().await;
            let ada = house.store(&vault, "ada", 100).await.unwrap();
            let bob = house.store(&vault, "bob", 100).await.unwrap();
            let (here, away) = (house.root_keys().remove(1), house.folder.path().join("away"));
            let (from, to) = (here.clone(), away.clone());
            house.fault.arm_with(after, move || std::fs::rename(&from, &to).unwrap());
            let answer = house.erase(&vault, "ada").await;
            if house.fault.was_missed() {
                answer.unwrap();
                assert!(refused > 4, "the replica was missed {refused} times");
                return;
            }
            let place = format!("operation {after}, restart: {restart}");
            refused += usize::from(answer.is_err());
            if restart {
                vault.close().await;
                drop(vault);
                vault = house.open().await;
                // Final only if the old key was gone from both before the second one vanished.
                let with_it = FileRootKey::open(std::slice::from_ref(&away)).unwrap().held().unwrap();
                let is_final = house.final_erasures(&vault) > 0;
                assert!(!is_final || with_it.len() == 1, "{place}: final, and the replica has the old key");
                assert!(is_final || answer.is_err(), "{place}");
            }
            assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100, "{place}: reads stop");
            std::fs::rename(&away, &here).unwrap();
            house.erase(&vault, "ada").await.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(house.final_erasures(&vault), 1, "{place}");
            for replica in house.root_keys() {
                assert_eq!(FileRootKey::open(&[replica]).unwrap().held().unwrap().len(), 1, "{place}");
            }
            assert_eq!(house.read(&vault, ada).await, None, "{place}");
            assert_eq!(house.read(&vault, bob).await.unwrap().len(), 100, "{place}");
            vault.close().await;
        }
    }
    panic!("an erasure has more operations than {MANY}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_lies_about_a_destruction_is_caught_and_the_erasure_is_not_called_final() {
    for lie in [Says::Destroyed, Says::DestroyedAndHides, Says::StagedTheOldOne] {
        for restart in [false, true] {
            let house = House::build().await;
            let mut vault = house.open().await;
            let ada = house.store(&vault, "ada", 100).await.unwrap();
            let bob = house.store(&vault, "bob", 100).await.unwrap();
            house.lie.tell(lie);
            for _ in 0..2 {
                let refused = house.erase(&vault, "ada").await;
                assert!(refused.is_err(), "{lie:?}: {refused:?}");
            }
            assert_eq!(house.final_erasures(&vault), 0, "{lie:?}");
            assert_eq!(house.read(&vault, ada).await, None);
            house.lie.tell(Says::TheTruth);
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
async fn an_epoch_without_erasures_that_fails_is_not_put_off_for_a_day() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let mut failed = 0;
    for after in 0..MANY {
        let house = House::build().await;
        let vault = house.open().await;
        house.fault.arm(after, false);
        let renewed = vault.renew_root_key(DAY).await;
        let is_missed = house.fault.was_missed();
        if vault.core.committer.is_open() {
            failed += usize::from(renewed.is_err());
            vault.renew_root_key(DAY).await.unwrap();
            let reached = house.provider().held().unwrap()[0].epoch;
            assert!(reached >= 2, "operation {after}: put off");
            vault.renew_root_key(DAY).await.unwrap();
            let later = house.provider().held().unwrap()[0].epoch;
            assert_eq!(later, reached, "operation {after}: one more within the day");
        }
        vault.close().await;
        if is_missed {
            assert!(failed >= 5, "only {failed} operations of the provider failed");
            return;
        }
    }
    panic!("an epoch has more operations than {MANY}");
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
