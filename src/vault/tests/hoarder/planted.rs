//! Faults of a provider that let the hoarder win, so that his attack is known to see them; and what a power cut took, which must not let
//! him win.

use super::*;

/// A house of which the hoarder has everything from the beginning on.
async fn watched() -> House {
    let house = House::build().await;
    house.hoard.keep_all(&SledEngine::open(&start::database_folder(&house.paths().data)).unwrap());
    house
}

/// Somebody is stored and erased with this lie told, after an epoch that a blow struck. Gives whether the hoarder reaches her, and whether
/// the blow was met.
async fn is_reached(lie: Says, strike: Option<(usize, Blow)>) -> (bool, bool) {
    let house = watched().await;
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
    let attack = attack(&house.hoard, &*house.provider());
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
