//! Faults of a provider that let the hoarder win, so that his attack is known to see them; and what a power cut took, which must not let
//! him win.

use super::*;
use crate::vault::tree::pseudonym;

/// A house of which the hoarder has everything from the beginning on.
async fn watched(limits: VaultLimits) -> House {
    let house = House::with(limits).await;
    house.hoard.keep_all(&SledEngine::open(&start::database_folder(&house.paths().data)).unwrap());
    house
}

/// What he reaches who has all that was ever handed to the disk, and the root key of now.
fn attack_now(house: &House) -> Attack {
    attack(&house.hoard, &*house.provider())
}

/// Somebody is stored and erased with this lie told, after an epoch that a blow struck. Gives whether the hoarder reaches her, and whether
/// the blow was met.
async fn is_reached(lie: Says, strike: Option<(usize, Blow)>) -> (bool, bool) {
    let house = watched(limits()).await;
    let vault = house.open().await;
    let ada = house.store(&vault, "ada", 100).await.unwrap();
    let bob = house.store(&vault, "bob", 100).await.unwrap();
    house.lie.tell_of(lie, house.root_key());
    let (mut vault, mut met) = (vault, false);
    if let Some((after, blow)) = strike {
        house.fault.strike(after, blow);
        let renewed = vault.renew_root_key(Duration::ZERO).await;
        met = !house.fault.was_missed();
        assert!(!met || renewed.is_err());
        vault = house.open_after(vault, blow).await;
    }
    house.erase(&vault, "ada").await.unwrap();
    assert_eq!(house.read(&vault, ada).await, None);
    vault.close().await;
    drop(vault);
    let attack = attack_now(&house);
    assert!(attack.opened.contains(&(bob, Revision::FIRST)), "{lie:?}: the attack does not reach who lives");
    let by_record = attack.opened.contains(&(ada, Revision::FIRST));
    assert_eq!(by_record, attack.profiles.contains("ada"), "{lie:?}: the record or the real id, and not both");
    (by_record, met)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hoarder_wins_at_the_vault_if_the_root_key_is_replaced_in_name_only() {
    assert_eq!(is_reached(Says::StagedTheOldOneRenamed, None).await, (true, false));
    assert_eq!(is_reached(Says::TheTruth, None).await, (false, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hoarder_wins_at_the_vault_if_a_left_over_staged_key_is_used_again_after_a_restart() {
    let mut won = 0;
    for after in 0..MANY {
        let blow = Blow { behind: false, then: Then::StopsAndForgets };
        let (reached, met) = is_reached(Says::StagedALeftOver, Some((after, blow))).await;
        if !met {
            break;
        }
        won += usize::from(reached);
        let (reached, _) = is_reached(Says::TheTruth, Some((after, blow))).await;
        assert!(!reached, "operation {after}: an honest provider, and she is reached");
    }
    assert!(won > 0, "the fault was planted, and he never won");
}

/// What is handed to the disk may stand on it somewhere, whatever the database says after the power cut. So the customer who was being made
/// then and who is made again must take all of it along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_whose_first_write_a_power_cut_took_leaves_nothing_of_it_when_erased() {
    const OTHERS: usize = 10;
    let mut met = 0;
    for after in 0..MANY {
        for blow in Blow::EVERY.into_iter().filter(|blow| blow.is_crash()) {
            let house = watched(VaultLimits { leaf_entries: 2, ..limits() }).await;
            let vault = house.open().await;
            // So many that two handles seldom share a leaf page.
            for number in 0..OTHERS {
                house.store(&vault, &format!("other-{number}"), 40).await.unwrap();
            }
            house.fault.strike(after, blow);
            let first = house.store(&vault, "ada", 100).await;
            if house.fault.was_missed() {
                first.unwrap();
                assert!(met > 4, "{met} power cuts");
                return;
            }
            met += 1;
            let vault = house.open_after(vault, blow).await;
            let ada = house.store(&vault, "ada", 100).await.unwrap();
            house.erase(&vault, "ada").await.unwrap();
            vault.close().await;
            drop(vault);
            let attack = attack_now(&house);
            assert!(!attack.opened.contains(&(ada, Revision::FIRST)), "operation {after}, {blow:?}");
            assert_eq!((attack.handles.len(), attack.opened.len()), (OTHERS, OTHERS), "operation {after}, {blow:?}");
            assert!(!attack.profiles.contains("ada"), "operation {after}, {blow:?}: her real id is there still");
        }
    }
    panic!("a write has more operations than {MANY}");
}

/// Four people who each have a subtree of the directory of their own, in which somebody is already; and one of those who are there who
/// shares it with none of them.
fn apart(vault: &Vault, tenant: TenantId, others: &[String]) -> (Vec<String>, String) {
    let keys = vault.core.tenant_keys(tenant).unwrap();
    let place = |of: &str| pseudonym(&keys, &customer(of)).0[0] >> 4;
    let mut places: BTreeSet<u8> = others.iter().map(|of| place(of)).collect();
    let mut newcomers = (0..).map(|number| format!("newcomer-{number}"));
    let chosen = (0..4).map(|_| newcomers.find(|of| places.remove(&place(of))).unwrap()).collect();
    let other = others.iter().find(|of| places.contains(&place(of))).unwrap();
    (chosen, other.clone())
}

/// The same with records that were acknowledged: content trails on the mirrors, and what trailed is lost with the disk. Whoever has the broken
/// disk has it still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_who_came_within_the_mirrors_lag_and_again_after_the_restore_leaves_nothing_when_erased() {
    let house = House::mirrored(VaultLimits { leaf_entries: 2, ..limits() }).await;
    house.hoard.keep_all(&SledEngine::open(&start::database_folder(&house.paths().data)).unwrap());
    let vault = house.open().await;
    // So many that every newcomer's place in the tree is on a page that stands already.
    let others: Vec<String> = (0..40).map(|number| format!("other-{number}")).collect();
    for of in &others {
        house.store(&vault, of, 40).await.unwrap();
    }
    let (newcomers, leaver) = apart(&vault, house.tenant, &others);
    restore_drill::mirrored(&vault).await;
    let mirrors = [Sort::Whole, Sort::Keys].map(|sort| (house.mirror(sort), house.mirror(sort).with_extension("away")));
    for (here, away) in &mirrors {
        std::fs::rename(here, away).unwrap();
        std::fs::create_dir(here).unwrap();
    }
    // The next write still finds the open files, and then that they have lost their names.
    house.store(&vault, &others[0], 40).await.unwrap();
    let with_problem = || vault.mirrors().iter().filter(|mirror| mirror.problem.is_some()).count();
    until_equal("mirrors that are gone", with_problem, mirrors.len()).await;
    let mut lost = Vec::new();
    for of in &newcomers {
        lost.push(house.store(&vault, of, 40).await.unwrap());
    }
    vault.close().await;
    drop(vault);
    house.lose_the_disk();
    for (here, away) in &mirrors {
        std::fs::remove_dir_all(here).unwrap();
        std::fs::rename(away, here).unwrap();
    }
    house.restore(Sort::Whole, None).await.unwrap();
    house.hoard.keep_all(&SledEngine::open(&start::database_folder(&house.paths().data)).unwrap());
    let vault = house.open().await;
    // The start gave every page a fresh key, so what was lost is noise before anybody is stored again or erased.
    vault.close().await;
    drop(vault);
    let attack = attack_now(&house);
    assert_eq!(attack.profiles.len(), others.len(), "{:?}", attack.profiles);
    assert!(
        lost.iter().all(|record| !attack.opened.contains(&(*record, Revision::FIRST))),
        "lost records open after the start"
    );
    let vault = house.open().await;
    // Epochs go on meanwhile.
    house.erase(&vault, &leaver).await.unwrap();
    for (of, record) in newcomers.iter().zip(&lost) {
        assert_eq!(house.read(&vault, *record).await, None, "it was on the mirror: nothing trailed");
        house.store(&vault, of, 40).await.unwrap();
    }
    for of in &newcomers {
        house.erase(&vault, of).await.unwrap();
    }
    vault.close().await;
    drop(vault);
    let attack = attack_now(&house);
    assert_eq!(attack.profiles.len(), others.len() - 1, "{:?}", attack.profiles);
    assert!(lost.iter().all(|record| !attack.opened.contains(&(*record, Revision::FIRST))), "lost records open");
}
