//! The sum over the control rows is hidden: from any number of images, nobody without keys gets the hash of a row or a sum, so there is
//! nothing to compute a set of rows from that would pass for another.

use std::collections::HashSet;

use super::deciding::{Image, image, write};
use super::*;
use crate::audit::multiset::Multiset;
use crate::crypto::pseudonym::tag;
use crate::crypto::secret::Key;
use crate::crypto::{kdf, key_wrap};
use crate::domain::codec::Writer;
use crate::store::Write;

/// The keys that the service derives for it; no attacker has them.
struct Keys {
    hashes: Key,
    sums: Key,
    of_layout_1: Key,
}

impl Keys {
    fn of(vault: &Vault) -> Self {
        let top = vault.core.tree.top();
        let derived = |label| kdf::derive(&top.system.settings, label, &[]);
        Self {
            hashes: derived("oubliette control rows"),
            sums: derived("oubliette sum of control rows"),
            of_layout_1: derived("oubliette deciding rows"),
        }
    }

    fn hashes(&self, image: &Image) -> Vec<[u8; 32]> {
        let control = image.iter().filter(|(key, _)| rows::CONTROL.contains(&key[0]));
        control.map(|(key, value)| tag(&self.hashes, "control row", &[key, value])).collect()
    }

    fn sum(&self, image: &Image) -> Multiset {
        let mut sum = Multiset::EMPTY;
        self.hashes(image).iter().for_each(|hash| sum.add(hash));
        sum
    }

    /// The sum that is stored, opened.
    fn stored_sum(&self, image: &Image) -> Multiset {
        let row = tie(image);
        let (position, salt, sealed) = (&row[1..9], &row[9..41], &row[45..]);
        let key = kdf::derive(&self.sums, "one sum", &[position, salt]);
        let sum = key_wrap::open(&key, b"oubliette sum of control rows", sealed).unwrap();
        Multiset::decode(sum.as_slice().try_into().unwrap())
    }
}

/// The row that ties the control rows to the ledger.
fn tie(image: &Image) -> Vec<u8> {
    image.iter().find(|(key, _)| *key == rows::deciding()).unwrap().1.clone()
}

/// Every run of 32 bytes in a value.
fn runs(value: &[u8]) -> impl Iterator<Item = [u8; 32]> {
    value.windows(32).map(|run| run.try_into().unwrap())
}

fn difference(of: &[u8; 32], and: &[u8; 32]) -> [u8; 32] {
    let mut difference = Multiset::decode(of);
    difference.remove(and);
    difference.encode()
}

/// A vault, and images of it with one or a few changed control rows between each two.
async fn images(house: &House) -> (Keys, Vec<Image>) {
    let mut images = Vec::new();
    let mut keys = None;
    for number in 0..6 {
        let vault = house.open().await;
        let system = vault.tenant_id(TenantName::system()).await.unwrap();
        match number {
            0 => drop(house.new_token(&vault, system).await),
            1 => drop(house.store(&vault, "ada", 40).await.unwrap()),
            2 => drop(house.store(&vault, "bob", 40).await.unwrap()),
            3 => drop(house.erase(&vault, "ada").await.unwrap()),
            4 => {
                let permit = house.admin(system, 1, Action::RevokeToken, house.tenant);
                vault.revoke_token(permit, TokenId([8; 16]), None).await.unwrap();
            }
            _ => drop(house.erase(&vault, "bob").await.unwrap()),
        }
        keys = Some(Keys::of(&vault));
        vault.close().await;
        drop(vault);
        images.push(image(house));
    }
    (keys.unwrap(), images)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_images_show_a_sum_or_the_hash_of_a_control_row() {
    let house = House::build().await;
    let (keys, images) = images(&house).await;
    let sums: Vec<[u8; 32]> = images.iter().map(|image| keys.sum(image).encode()).collect();
    // What must not be seen: hashes, sums, and what is between two sums.
    let mut hidden: HashSet<[u8; 32]> = images.iter().flat_map(|image| keys.hashes(image)).collect();
    hidden.extend(&sums);
    let between = |two: &[[u8; 32]]| [difference(&two[1], &two[0]), difference(&two[0], &two[1])];
    hidden.extend(sums.windows(2).flat_map(between));
    let mut tried = 0_usize;
    for (key, value) in images.iter().flatten() {
        for run in runs(value) {
            tried += 1;
            assert!(!hidden.contains(&run), "a row of kind {:02x} shows a sum or a hash", key[0]);
        }
    }
    // The attack of old: the differences between what ties the rows in two images, wherever in the row.
    for (later, image) in images.iter().enumerate() {
        for earlier in &images[..later] {
            for (now, before) in runs(&tie(image)).zip(runs(&tie(earlier))) {
                tried += 1;
                let seen = [difference(&now, &before), difference(&before, &now)];
                assert!(seen.iter().all(|seen| !hidden.contains(seen)), "two images show the hash of a row");
            }
        }
    }
    eprintln!("sums: {} images, {} things hidden, {tried} places looked at", images.len(), hidden.len());
    assert!(hidden.len() > 40 && tried > 10_000);
    for image in &images {
        assert_eq!(keys.stored_sum(image), keys.sum(image), "this test sums other rows than the service");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_in_the_form_of_layout_1_is_refused() {
    let house = House::build().await;
    let (keys, images) = images(&house).await;
    let now = images.last().unwrap();
    let position: [u8; 8] = tie(now)[1..9].try_into().unwrap();
    // Made with the keys of the vault, as no attacker could: right in everything but its age.
    let mut sum = Multiset::EMPTY;
    let newer = [rows::Kind::Format as u8, rows::Kind::PageDigest as u8];
    let control = now.iter().filter(|(key, _)| rows::CONTROL.contains(&key[0]) && !newer.contains(&key[0]));
    control.for_each(|(key, value)| sum.add(&tag(&keys.of_layout_1, "deciding row", &[key, value])));
    let row = Writer::versioned(2).fixed(&position).fixed(&[7; 32]).fixed(&sum.encode()).finish().to_vec();
    let put = |key: Vec<u8>, value: Vec<u8>| Write::Put { key, value };
    let of_layout_1 = Writer::versioned(1).text("oubliette").finish().to_vec();
    let format = now.iter().find(|(key, _)| *key == rows::format()).unwrap().1.clone();
    for (what, wrong) in [
        ("the row", vec![put(rows::deciding(), row.clone())]),
        ("the layout", vec![put(rows::format(), of_layout_1.clone())]),
        ("both", vec![put(rows::deciding(), row), put(rows::format(), of_layout_1)]),
    ] {
        write(&house, &wrong);
        let refused = Vault::open(house.paths(), house.limits.clone()).await.map(drop);
        assert!(matches!(refused, Err(StartError::NotAsLogged)), "{what}: {refused:?}");
        write(&house, &[put(rows::deciding(), tie(now)), put(rows::format(), format.clone())]);
    }
    house.open().await.close().await;
}
