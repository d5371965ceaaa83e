//! A page of the key tree that was changed past the service is noticed when it is read, is named, and costs the customers of that page
//! only. No erasure answers for such a customer as if there were none.

use std::collections::BTreeMap;

use super::deciding::{Image, image, write};
use super::*;
use crate::keys::{Draft, TreeError};
use crate::store::{Batch, MAX_RANGE_ROWS, Write, page_digest};
use crate::vault::tree::pseudonym;
use crate::vault::writer::add_pages;

const EARLY: usize = 6;
const ALL: usize = 12;

fn small_pages() -> VaultLimits {
    VaultLimits { leaf_entries: 2, ..limits() }
}

fn name(number: usize) -> String {
    format!("customer-{number:02}")
}

/// That every page has the digest of its bytes, and no digest is without its page.
pub(super) fn assert_digests(vault: &Vault) {
    let all = |kind| {
        let (from, to) = rows::all(kind);
        let found = vault.core.db.range(&from, &to, MAX_RANGE_ROWS).unwrap();
        assert!(found.len() < MAX_RANGE_ROWS, "the tree of this test is too large");
        found
    };
    let digest =
        |(key, page): Row| (rows::page_digest(&rows::parse_page(&key).unwrap()), page_digest(&key, &page).to_vec());
    let expected: BTreeMap<_, _> = all(rows::Kind::Page).into_iter().map(digest).collect();
    assert!(!expected.is_empty() && all(rows::Kind::PageDigest).into_iter().collect::<BTreeMap<_, _>>() == expected);
}

impl House {
    async fn reads(&self, vault: &Vault, id: RecordId) -> Result<bool, VaultError> {
        let door = self.permit(Action::GetTranscript);
        let Some(facts) = vault.facts(&door, id, None).await? else { return Ok(false) };
        vault.get_transcript(self.access.record(&door, facts).unwrap()).await.map(|_| true)
    }

    fn has_link(&self, vault: &Vault, of: &str) -> Result<bool, VaultError> {
        let keys = vault.core.tenant_keys(self.tenant)?;
        Ok(vault.core.tree.handle(self.tenant, pseudonym(&keys, &customer(of)))?.is_some())
    }
}

/// What was tried, and what came of it.
#[derive(Debug, Default)]
struct Coverage {
    older: usize,
    removed: usize,
    changed: usize,
    of_another_page: usize,
    starts_refused: usize,
    customers_refused: usize,
    customers_served: usize,
}

/// The changes of one page: an older version of the same epoch, none, one bit, another page's bytes.
fn changes(key: &[u8], page: &[u8], before: &Image, other: &[u8], coverage: &mut Coverage) -> Vec<Write> {
    let put = |value: Vec<u8>| Write::Put { key: key.to_vec(), value };
    let mut bit = page.to_vec();
    bit[page.len() / 2] ^= 1;
    let mut changes = vec![Write::Delete { key: key.to_vec() }, put(bit), put(other.to_vec())];
    (coverage.removed, coverage.changed, coverage.of_another_page) =
        (coverage.removed + 1, coverage.changed + 1, coverage.of_another_page + 1);
    if let Some((_, older)) = before.iter().find(|(of, older)| of == key && older != page) {
        coverage.older += 1;
        changes.push(put(older.clone()));
    }
    changes
}

/// Whoever is not found because of the page is refused with words, and asked for an erasure as well; all others are served.
async fn assert_only_its_customers_suffer(house: &House, vault: &Vault, ids: &[RecordId], coverage: &mut Coverage) {
    for (number, id) in ids.iter().enumerate() {
        let of = name(number);
        let (read, link) = (house.reads(vault, *id).await, house.has_link(vault, &of));
        if let (Ok(true), Ok(true)) = (&read, &link) {
            coverage.customers_served += 1;
            continue;
        }
        coverage.customers_refused += 1;
        for error in [read.as_ref().err(), link.as_ref().err()].into_iter().flatten() {
            assert!(error.is_of_the_key_tree(), "{of}: {error}");
        }
        assert!(read.is_err() || link.is_err(), "{of}: the customer is missing, and nothing was noticed");
        let erased = house.erase(vault, &of).await.map(drop);
        assert!(erased.as_ref().is_err_and(VaultError::is_of_the_key_tree), "{of}: {erased:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_page_is_named_and_costs_only_its_customers() {
    let house = House::with(small_pages()).await;
    let mut ids = Vec::new();
    let mut images = Vec::new();
    for numbers in [0..EARLY, EARLY..ALL] {
        let vault = house.open().await;
        for number in numbers {
            ids.push(house.store(&vault, &name(number), 40).await.unwrap());
        }
        vault.close().await;
        drop(vault);
        images.push(image(&house));
    }
    let [before, now] = images.try_into().unwrap();
    let mut coverage = Coverage::default();
    let pages: Vec<_> = now.iter().filter(|(key, _)| key[0] == rows::Kind::Page as u8).collect();
    for (place, (key, page)) in pages.iter().enumerate() {
        let other = &pages[(place + 1) % pages.len()].1;
        for wrong in changes(key, page, &before, other, &mut coverage) {
            write(&house, std::slice::from_ref(&wrong));
            match Vault::open(house.paths(), house.limits.clone()).await {
                Ok(vault) => {
                    assert_only_its_customers_suffer(&house, &vault, &ids, &mut coverage).await;
                    vault.close().await;
                }
                // Without the pages that lead to every tenant there is nothing to serve.
                Err(StartError::Vault(error)) if error.is_of_the_key_tree() => coverage.starts_refused += 1,
                Err(error) => panic!("{wrong:?}: {error}"),
            }
            write(&house, &[Write::Put { key: key.clone(), value: page.clone() }]);
        }
        // The page together with its digest of that time: the log does not know of that digest any more.
        if let Some((_, older)) = before.iter().find(|(of, older)| of == key && older != page) {
            let digest = rows::page_digest(&rows::parse_page(key).unwrap());
            let row = |image: &Image| image.iter().find(|(key, _)| *key == digest).unwrap().1.clone();
            let put = |key: &[u8], value: Vec<u8>| Write::Put { key: key.to_vec(), value };
            write(&house, &[put(key, older.clone()), put(&digest, row(&before))]);
            let refused = Vault::open(house.paths(), house.limits.clone()).await.map(drop);
            assert!(
                matches!(&refused, Err(StartError::NotAsLogged))
                    || matches!(&refused, Err(StartError::Vault(error)) if error.is_of_the_key_tree()),
                "{refused:?}"
            );
            write(&house, &[put(key, page.clone()), put(&digest, row(&now))]);
        }
    }
    eprintln!("pages: {} of them, {coverage:?}", pages.len());
    let Coverage { older, removed, changed, of_another_page, starts_refused, customers_refused, customers_served } =
        coverage;
    for tried in [older, removed, changed, of_another_page, starts_refused, customers_refused, customers_served] {
        assert!(tried > 0, "something was not tried, or never happened");
    }
    let vault = house.open().await;
    assert_digests(&vault);
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_rolled_back_page_others_are_erased_and_verify_names_it() {
    let house = House::with(small_pages()).await;
    let vault = house.open().await;
    let mut ids = Vec::new();
    for number in 0..ALL {
        ids.push(house.store(&vault, &name(number), 40).await.unwrap());
    }
    let core = &vault.core;
    let handle = |number: usize| {
        let keys = core.tenant_keys(house.tenant).unwrap();
        core.tree.handle(house.tenant, pseudonym(&keys, &customer(&name(number)))).unwrap()
    };
    // An inner or leaf page whose loss costs at least one customer and not all.
    let (from, to) = rows::all(rows::Kind::Page);
    let pages = core.db.range(&from, &to, MAX_RANGE_ROWS).unwrap();
    let mut found = None;
    for (key, page) in pages {
        core.db.apply(&[Write::Delete { key: key.clone() }]).unwrap();
        let mut lost = Vec::new();
        for (number, id) in ids.iter().enumerate() {
            if house.reads(&vault, *id).await.is_err() {
                lost.push(number);
            }
        }
        if (1..ALL).contains(&lost.len()) {
            found = Some(lost);
            break;
        }
        core.db.apply(&[Write::Put { key, value: page }]).unwrap();
    }
    let lost = found.unwrap();
    let other = (0..ALL).find(|number| !lost.contains(number) && handle(*number).is_some()).unwrap();
    house.erase(&vault, &name(other)).await.unwrap();
    assert_eq!(house.read(&vault, ids[other]).await, None);
    let refused = house.erase(&vault, &name(lost[0])).await.unwrap_err();
    assert!(refused.is_of_the_key_tree() && refused.to_string().contains("integrity check failed"), "{refused}");
    let verified = vault.core.verify(|_| {}).await.unwrap();
    assert_eq!(verified.damaged, u64::try_from(lost.len()).unwrap());
    let named: Vec<_> = verified.named.iter().map(|(id, _)| *id).collect();
    assert!(lost.iter().all(|number| named.contains(&ids[*number])), "{named:?}");
    vault.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_whose_rows_are_there_is_never_just_not_found() {
    let house = House::build().await;
    for loses_key in [false, true] {
        let of = format!("customer-{loses_key}");
        let vault = house.open().await;
        house.store(&vault, &of, 40).await.unwrap();
        // A tree that the service itself wrote, so that all digests are right, and that lost a leaf all the same.
        let core = Arc::clone(&vault.core);
        let (tenant, customer) = (house.tenant, customer(&of));
        let plant = move || {
            let pseudonym = pseudonym(&core.tenant_keys(tenant).unwrap(), &customer);
            let top = core.tree.top();
            let mut draft = Draft::open(core.tree.pages(), &top.key, core.limits.leaf_entries).unwrap();
            let handle = draft.handle(tenant, pseudonym).unwrap().unwrap();
            draft.lose(tenant, if loses_key { handle.0 } else { pseudonym.0 }).unwrap();
            let mut batch = Batch::new();
            add_pages(&mut batch, draft.into_inserts().writes);
            drop(top);
            core.committer.commit_blocking(batch).unwrap();
        };
        tokio::task::spawn_blocking(plant).await.unwrap();
        let refused = house.erase(&vault, &of).await.unwrap_err();
        assert!(matches!(refused, VaultError::CustomerNotInTree), "{loses_key}: {refused}");
        let unknown = house.erase(&vault, "nobody").await.unwrap_err();
        assert!(matches!(unknown, VaultError::NotFound), "{unknown}");
        vault.close().await;
    }
}

#[test]
fn errors_of_the_tree_are_told_from_other_faults() {
    let damaged = VaultError::Tree(TreeError::MissingPage(crate::keys::NodeId([7; 16])));
    assert!(damaged.is_of_the_key_tree() && VaultError::Shared(Arc::new(damaged)).is_of_the_key_tree());
    assert!(
        !VaultError::Tree(TreeError::NoSuchLeaf).is_of_the_key_tree() && !VaultError::NotFound.is_of_the_key_tree()
    );
}
