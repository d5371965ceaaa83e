//! Many erasures at once: lists that come together while a round waits for its epoch.

use super::*;
use crate::vault::fence::Ground;

const LISTS: usize = 5;
const OF_ONE: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_lists_of_a_thousand_at_once_are_all_erased() {
    let limits = VaultLimits { epoch_window: Duration::from_secs(1), erasures_per_hour: 100_000, ..limits() };
    let house = House::with(limits).await;
    let vault = house.open().await;
    let name = |number: usize| format!("customer-{number}");
    let mut coming = tokio::task::JoinSet::new();
    for number in 0..LISTS * OF_ONE {
        let (vault, tenant) = (Arc::clone(&vault), house.tenant);
        coming.spawn(async move { vault.writer.ensure_customer(tenant, customer(&name(number))).await });
    }
    let handles: Vec<_> = coming.join_all().await.into_iter().map(Result::unwrap).collect();
    let stays = house.store(&vault, "stays", 60).await.unwrap();
    // From here on a round waits for the window to end, so that all lists come into one.
    house.store(&vault, "first", 60).await.unwrap();
    house.erase(&vault, "first").await.unwrap();
    let mut lists = tokio::task::JoinSet::new();
    for list in 0..LISTS {
        let (vault, permit) = (Arc::clone(&vault), house.permit(Action::EraseCustomers));
        let customers = (list * OF_ONE..(list + 1) * OF_ONE).map(|number| customer(&name(number))).collect();
        let request = RequestId::parse(&format!("list-number-{list}")).unwrap();
        lists.spawn(async move { vault.erase_customers(permit, customers, request).await.unwrap() });
    }
    let answers: Vec<_> = lists.join_all().await.into_iter().flatten().collect();
    let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), answers.len(), failed.first());
    assert_eq!(house.receipts(&vault), LISTS * OF_ONE + 1);
    let (from, to) = rows::all(rows::Kind::Erasing);
    assert!(vault.core.db.range(&from, &to, 1).unwrap().is_empty(), "erasures are pending");
    let closed = handles.into_iter().filter(|handle| vault.core.fences.is_closed(Ground::from(*handle))).count();
    assert_eq!(closed, 0, "fences stay closed");
    assert_eq!(house.read(&vault, stays).await, Some(text(60)));
    vault.close().await;
}

/// More than one reading of what is pending takes, with half of them.
const PEOPLE: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_reading_takes_of_records_and_their_customers_pending_at_once_are_all_erased() {
    for is_crash in [false, true] {
        erase_all_at_once(is_crash).await;
    }
}

/// Erases many records and their customers in one round, or at the start behind a crash that left all of them pending.
async fn erase_all_at_once(is_crash: bool) {
    let limits = VaultLimits { epoch_window: Duration::from_secs(60), erasures_per_hour: 100_000, ..limits() };
    let house = Arc::new(House::with(limits).await);
    let vault = house.open().await;
    let name = |number: usize| format!("customer-{number}");
    let mut coming = tokio::task::JoinSet::new();
    for number in 0..PEOPLE {
        let (house, vault) = (Arc::clone(&house), Arc::clone(&vault));
        coming.spawn(async move { house.store(&vault, &name(number), 60).await.unwrap() });
    }
    let records = coming.join_all().await;
    // From here on a round waits for the window to end, so that all come into one.
    house.store(&vault, "first", 60).await.unwrap();
    house.erase(&vault, "first").await.unwrap();
    let mut parts = tokio::task::JoinSet::new();
    for record in records {
        let (house, vault) = (Arc::clone(&house), Arc::clone(&vault));
        parts.spawn(async move { house.erase_part(&vault, Part::Record(record)).await });
    }
    let pending = || {
        let (from, to) = rows::all(rows::Kind::Erasing);
        vault.core.db.range(&from, &to, 4096).unwrap().len()
    };
    while pending() < PEOPLE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let customers: Vec<_> = (0..PEOPLE).map(|number| customer(&name(number))).collect();
    let request = RequestId::parse("list-of-all-of-them").unwrap();
    let list = vault.erase_customers(house.permit(Action::EraseCustomers), customers, request);
    let most = async {
        // The list comes in one batch, and its epochs begin at once: with this many it is there, and few are carried out.
        while pending() < 2 * PEOPLE - 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if is_crash {
            house.fault.strike(0, Blow { behind: false, then: Then::Stops });
        }
    };
    let (list, ()) = tokio::join!(list, most);
    let list = list.unwrap().into_iter().filter_map(|erased| erased.err().map(|error| error.to_string()));
    let parts = parts.join_all().await.into_iter().filter_map(|erased| erased.err().map(|error| error.to_string()));
    let failed: Vec<_> = list.chain(parts).collect();
    let expected = if is_crash { 2 * PEOPLE } else { 0 };
    assert_eq!(failed.len(), expected, "{:?}", failed.first());
    if !is_crash {
        vault.close().await;
    }
    let mut vault = vault;
    // Each start compares all control rows with what the log commits to.
    for _ in 0..2 {
        drop(vault);
        vault = house.open().await;
        let (from, to) = rows::all(rows::Kind::Erasing);
        let pending = vault.core.db.range(&from, &to, 4096).unwrap().len();
        assert_eq!((pending, house.receipts(&vault)), (0, 2 * PEOPLE + 1), "crash: {is_crash}");
        vault.close().await;
    }
}

impl House {
    /// The receipts that there are.
    pub(super) fn receipts(&self, vault: &Vault) -> usize {
        let (mut from, to) = rows::receipts(self.tenant);
        let mut count = 0;
        loop {
            let some = vault.core.db.range(&from, &to, 4096).unwrap();
            let Some((last, _)) = some.last() else { return count };
            from = rows::behind(last.clone());
            count += some.len();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_could_not_be_asked_for_leaves_no_fence() {
    let mut met = 0;
    for whole in [true, false] {
        for after in 0..MANY {
            let house = House::build().await;
            let vault = house.open().await;
            let record = house.store(&vault, "ada", 60).await.unwrap();
            let handle = vault.core.known_customer(house.tenant, &customer("ada")).unwrap().unwrap();
            house.fault.arm(after, false);
            let erased = match whole {
                true => house.erase(&vault, "ada").await,
                false => house.erase_part(&vault, Part::Record(record)).await,
            };
            let was_missed = house.fault.was_missed();
            let (from, to) = rows::all(rows::Kind::Erasing);
            let is_pending = !vault.core.db.range(&from, &to, 1).unwrap().is_empty();
            if was_missed || is_pending {
                break;
            }
            assert!(erased.is_err(), "operation {after}");
            let ground = if whole { Ground::from(handle) } else { Part::Record(record).into() };
            assert!(!vault.core.fences.is_closed(ground), "operation {after}, whole: {whole}: it stays fenced off");
            met += 1;
            vault.close().await;
        }
    }
    assert!(met >= 2, "{met} faults were met before the request was durable");
}
