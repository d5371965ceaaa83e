//! What answers a repeated request ends with the customer, with the record, or after two days.

use super::*;
use crate::domain::ids::Handle;
use crate::vault::tree::pseudonym;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl House {
    /// So many days later the keys for answers are replaced, if they were not on that day.
    async fn days_later(&self, vault: &Vault, days: u64) {
        let now = Timestamp::now().plus_ms(days * DAY_MS);
        vault.writer.renew(std::time::Instant::now(), now).await.unwrap();
    }

    fn handle(&self, vault: &Vault, of: &str) -> Option<Handle> {
        let keys = vault.core.tenant_keys(self.tenant).unwrap();
        vault.core.tree.handle(self.tenant, pseudonym(&keys, &customer(of))).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeat_of_a_write_is_told_what_was_erased_since() {
    let house = House::build().await;
    let vault = house.open().await;
    let id = house.store(&vault, "ada", 40).await.unwrap();
    assert_eq!(house.store(&vault, "ada", 40).await.unwrap(), id, "a repeat gets the record that is there");
    // The same id for another customer, known or not.
    house.store(&vault, "bob", 40).await.unwrap();
    for of in ["bob", "eve"] {
        let permit = house.permit(Action::CreateTranscript);
        let other = vault.create_transcript(permit, chat(of, 40), request("ada")).await.map(drop);
        assert!(matches!(other, Err(VaultError::RequestIdReused)), "{of}: {other:?}");
    }
    house.erase_part(&vault, Part::Record(id)).await.unwrap();
    for reclaimed in [false, true] {
        let repeated = house.store(&vault, "ada", 40).await;
        assert!(matches!(repeated, Err(VaultError::RecordErased)), "reclaimed: {reclaimed}: {repeated:?}");
        vault.reclaim().await.unwrap();
    }
    house.erase(&vault, "ada").await.unwrap();
    let repeated = house.store(&vault, "ada", 40).await;
    assert!(matches!(repeated, Err(VaultError::CustomerErased)), "{repeated:?}");
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeat_of_an_erasure_gets_its_receipt_for_two_days() {
    let house = House::build().await;
    let vault = house.open().await;
    house.days_later(&vault, 0).await;
    let id = house.store(&vault, "ada", 40).await.unwrap();
    house.store(&vault, "bob", 40).await.unwrap();
    let of_record = house.erase_part(&vault, Part::Record(id)).await.unwrap();
    let of_customer = house.erase(&vault, "bob").await.unwrap();
    vault.reclaim().await.unwrap();
    for days in [0, 1] {
        house.days_later(&vault, days).await;
        let again = house.erase_part(&vault, Part::Record(id)).await.unwrap();
        assert_eq!(again.erased, of_record.erased, "{days} days later");
        let again = house.erase(&vault, "bob").await.unwrap();
        assert_eq!(again.erased, of_customer.erased, "{days} days later");
    }
    // The id belongs to that record: another one under it is refused, as is a customer.
    let other = house.store(&vault, "ada2", 40).await.unwrap();
    let name = format!("{id}.0");
    for target in [Target::Part(Part::Record(other)), Target::Customer(customer("ada"))] {
        let reused = vault.erase(house.permit(Action::EraseRecord), target, erasure_of(&name)).await.map(drop);
        assert!(matches!(reused, Err(VaultError::RequestIdReused)), "{reused:?}");
    }
    house.days_later(&vault, 2).await;
    let late = house.erase(&vault, "bob").await;
    assert!(matches!(late, Err(VaultError::CustomerErased)), "{late:?}");
    let late = house.erase_part(&vault, Part::Record(id)).await;
    assert!(matches!(late, Err(VaultError::NotFound | VaultError::RecordErased)), "{late:?}");
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_to_a_record_erasure_ends_with_the_customer() {
    let house = House::build().await;
    let vault = house.open().await;
    let id = house.store(&vault, "ada", 40).await.unwrap();
    house.erase_part(&vault, Part::Record(id)).await.unwrap();
    house.erase(&vault, "ada").await.unwrap();
    let again = house.erase_part(&vault, Part::Record(id)).await;
    assert!(matches!(again, Err(VaultError::RecordErased)), "{again:?}");
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_and_customer_erased_in_one_epoch_both_get_receipts() {
    let house = House::with(VaultLimits { epoch_window: Duration::from_millis(300), ..limits() }).await;
    let vault = house.open().await;
    house.store(&vault, "first", 40).await.unwrap();
    house.erase(&vault, "first").await.unwrap();
    let id = house.store(&vault, "ada", 40).await.unwrap();
    let part = house.erase_part(&vault, Part::Record(id));
    let (part, whole) = tokio::join!(part, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        house.erase(&vault, "ada").await
    });
    let (part, whole) = (part.unwrap(), whole.unwrap());
    assert_eq!(part.erased.epoch, whole.erased.epoch, "the window did not bring both into one epoch");
    assert_ne!(part.erased.receipt, whole.erased.receipt);
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_requests_are_forgotten_by_their_day_and_others_stay() {
    let house = House::build().await;
    let vault = house.open().await;
    house.store(&vault, "ada", 40).await.unwrap();
    house.store(&vault, "bob", 40).await.unwrap();
    house.erase(&vault, "bob").await.unwrap();
    let count = |kind| {
        let (from, to) = rows::all(kind);
        vault.core.db.range(&from, &to, 1024).unwrap().len()
    };
    vault.forget_requests(Timestamp::now()).await.unwrap();
    assert_eq!((count(rows::Kind::Request), count(rows::Kind::ErasureRequest)), (2, 1), "today is not over");
    vault.forget_requests(Timestamp::now().plus_ms(DAY_MS)).await.unwrap();
    assert_eq!((count(rows::Kind::Request), count(rows::Kind::ErasureRequest)), (0, 0));
    assert!(house.handle(&vault, "ada").is_some());
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_matrix_of_replacing_answer_keys() {
    let mut met = 0;
    for (after, blow) in every_fault() {
        let house = House::build().await;
        let vault = house.open().await;
        let living = house.store(&vault, "ada", 40).await.unwrap();
        house.store(&vault, "bob", 40).await.unwrap();
        let receipt = house.erase(&vault, "bob").await.unwrap();
        let tomorrow = Timestamp::now().plus_ms(DAY_MS);
        house.fault.strike(after, blow);
        let replaced = vault.writer.renew(std::time::Instant::now(), tomorrow).await;
        if house.fault.was_missed() {
            replaced.unwrap();
            break;
        }
        met += 1;
        let place = format!("operation {after}, {blow:?}");
        let vault = house.open_after(vault, blow).await;
        vault.writer.renew(std::time::Instant::now(), tomorrow).await.unwrap();
        assert_eq!(vault.core.tenant_keys(house.tenant).unwrap().answers.earlier_day, 0, "{place}: replaced twice");
        assert_eq!(house.erase(&vault, "bob").await.unwrap().erased, receipt.erased, "{place}");
        assert!(house.read(&vault, living).await.is_some(), "{place}");
        vault.close().await;
    }
    assert!((4..MANY * Blow::EVERY.len()).contains(&met), "{met} faults were met");
}
