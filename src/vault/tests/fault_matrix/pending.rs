//! What is pending, and what it needs, is damaged before it is carried out.

use super::*;
use crate::store::Write;

impl World {
    /// Has the erasure of ada, or of one of her records, asked for and not carried out, for a fault on the way.
    async fn leave_pending(record: Option<usize>) -> Self {
        for after in 0..MANY {
            let world = Self::build().await;
            world.house.fault.arm(after, false);
            let erased = match record {
                None => world.house.erase(&world.vault, "ada").await,
                Some(number) => world.house.erase_part(&world.vault, Part::Record(world.records[number])).await,
            };
            assert!(!world.house.fault.was_missed(), "no fault leaves it pending");
            let is_pending = world.first(Kind::Erasing).is_some();
            if erased.is_err() && is_pending && world.vault.core.committer.is_open() {
                return world;
            }
            world.vault.close().await;
        }
        panic!("no fault leaves it pending");
    }

    fn has_key(&self, customer_id: &str) -> bool {
        let tree = &self.vault.core.tree;
        let keys = self.vault.core.tenant_keys(self.house.tenant).unwrap();
        let person = tree::pseudonym(&keys, &customer(customer_id));
        tree.handle(self.house.tenant, person).unwrap().is_some()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_erasure_whose_page_was_damaged_meanwhile_keeps_no_other_back() {
    let world = World::leave_pending(None).await;
    let page = world.page_of_ada();
    let whole = world.vault.core.db.get(&page).unwrap().unwrap();
    world.damage((page.clone(), whole.clone()), whole.len() / 2);
    world.house.erase(&world.vault, &world.cleo).await.unwrap();
    assert!(!world.has_key(&world.cleo), "another customer has still a key");
    assert!(world.first(Kind::Erasing).is_some(), "the erasure that could not be carried out is forgotten");
    // Once the page is back, the next round carries it out.
    world.vault.core.db.apply(&[Write::Put { key: page, value: whole }]).unwrap();
    world.house.erase(&world.vault, &world.late).await.unwrap();
    assert!(world.first(Kind::Erasing).is_none() && !world.has_key("ada"), "it was not carried out");
    world.vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_erasure_of_a_record_waits_for_the_secret_of_the_profile_and_does_not_lose_it() {
    let world = World::leave_pending(Some(3)).await;
    let secret = |record| rows::secret(world.ada, record, Revision::FIRST);
    let profile = secret(RecordId::PROFILE);
    let whole = world.vault.core.db.get(&profile).unwrap().unwrap();
    world.damage((profile.clone(), whole.clone()), whole.len() / 2);
    world.house.erase(&world.vault, &world.cleo).await.unwrap();
    assert!(!world.has_key(&world.cleo), "another customer has still a key");
    assert!(world.first(Kind::Erasing).is_some(), "the erasure that could not be carried out is forgotten");
    world.vault.core.db.apply(&[Write::Put { key: profile, value: whole }]).unwrap();
    world.house.erase(&world.vault, &world.late).await.unwrap();
    assert!(world.first(Kind::Erasing).is_none(), "it was not carried out");
    world.vault.reclaim().await.unwrap();
    assert!(world.vault.core.db.get(&secret(world.records[3])).unwrap().is_none(), "the record has still a secret");
    assert_eq!(world.house.read(&world.vault, world.records[2]).await, Some(text(60)));
    assert_eq!(world.house.list(&world.vault, "ada").await, 5, "the customer is not found any more");
    world.vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_erasure_of_a_record_whose_secret_was_damaged_is_carried_out_without_a_receipt() {
    let world = World::leave_pending(Some(3)).await;
    let secret = rows::secret(world.ada, world.records[3], Revision::FIRST);
    let whole = world.vault.core.db.get(&secret).unwrap().unwrap();
    let receipts = world.house.receipts(&world.vault);
    world.damage((secret.clone(), whole.clone()), whole.len() / 2);
    // Who asked is known in memory only.
    let world = world.close().await.open().await.unwrap();
    assert!(world.first(Kind::Erasing).is_none(), "it was not carried out");
    assert_eq!(world.house.receipts(&world.vault), receipts);
    let customer = world.vault.core.customer(world.house.tenant, world.ada).unwrap();
    let place = customer.place(world.records[3], Revision::FIRST);
    let _ = world.vault.core.db.apply(&[Write::Put { key: secret, value: whole }]);
    assert!(world.vault.core.secret(&customer, &place).is_err(), "what an older image has still opens");
    assert_eq!(world.house.read(&world.vault, world.records[2]).await, Some(text(60)));
    world.vault.close().await;
}
