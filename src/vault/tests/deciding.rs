//! Who can write to the disk, and has every key, cannot make the service forget or believe what the log does not know.

use super::*;
use crate::store::{Database, MAX_RANGE_ROWS, Write};

type Image = Vec<Row>;

fn image(house: &House) -> Image {
    let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
    let rows = db.range(&[0], &[0xff; 16], MAX_RANGE_ROWS).unwrap();
    assert!(rows.len() < MAX_RANGE_ROWS);
    rows
}

fn write(house: &House, writes: &[Write]) {
    let db = SledEngine::open(&start::database_folder(&house.paths().data)).unwrap();
    db.apply(writes).unwrap();
    db.sync().unwrap();
}

/// Makes the rows in spans of `kinds` what they are in `image`.
fn put_back(house: &House, image: &Image, kinds: &[rows::Kind]) {
    let is_of = |key: &[u8]| kinds.iter().any(|kind| key.first() == Some(&(*kind as u8)));
    let gone = self::image(house).into_iter().filter(|(key, _)| is_of(key)).map(|(key, _)| Write::Delete { key });
    let mut writes: Vec<_> = gone.collect();
    let back = image.iter().filter(|(key, _)| is_of(key)).cloned();
    writes.extend(back.map(|(key, value)| Write::Put { key, value }));
    write(house, &writes);
}

async fn opens(house: &House) -> Result<(), StartError> {
    let vault = Vault::open(house.paths(), house.limits.clone()).await?;
    vault.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_decides_and_that_the_log_does_not_know_is_refused_at_start() {
    let house = House::build().await;
    let vault = house.open().await;
    house.store(&vault, "ada", 60).await.unwrap();
    house.store(&vault, "bob", 60).await.unwrap();
    house.erase(&vault, "ada").await.unwrap();
    vault.close().await;
    drop(vault);
    let before = image(&house);
    let vault = house.open().await;
    house.erase(&vault, "bob").await.unwrap();
    let (name, roles) = (PrincipalName::parse("eve").unwrap(), [Role::Supervisor].into());
    let entry = crate::domain::principal::PrincipalEntry { name, roles, teams: Default::default() };
    let system = vault.tenant_id(TenantName::system()).await.unwrap();
    vault.set_principal(house.admin(system, 1, Action::SetPrincipal, house.tenant), entry).await.unwrap();
    vault.close().await;
    drop(vault);
    let now = image(&house);
    opens(&house).await.unwrap();
    let now_deciding = rows::Kind::Deciding;
    let mut met = 0;
    // Each row that decides: taken out, changed, copied to another key.
    for kind in [rows::Kind::Tombstone, rows::Kind::Tenant, rows::Kind::Principal, rows::Kind::LogKey, now_deciding] {
        for (key, value) in now.iter().filter(|(key, _)| key[0] == kind as u8) {
            let mut other = key.clone();
            *other.last_mut().unwrap() ^= 1;
            let mut changed = value.clone();
            *changed.last_mut().unwrap() ^= 1;
            let (key, value) = (|| key.clone(), |value: &Vec<u8>| value.clone());
            let original = now.iter().find(|(k, _)| *k == key()).unwrap().1.clone();
            let mut wrongs = vec![
                (Write::Delete { key: key() }, Write::Put { key: key(), value: value(&original) }),
                (Write::Put { key: key(), value: changed }, Write::Put { key: key(), value: value(&original) }),
            ];
            if kind != rows::Kind::LogKey && kind != now_deciding {
                wrongs.push((Write::Put { key: other.clone(), value: value(&original) }, Write::Delete { key: other }));
            }
            for (wrong, right) in wrongs {
                write(&house, std::slice::from_ref(&wrong));
                let refused = opens(&house).await;
                let is_told = match &refused {
                    Err(StartError::NotAsLogged) => true,
                    Err(StartError::Vault(_)) => kind == rows::Kind::LogKey,
                    _ => false,
                };
                assert!(is_told, "{kind:?}: {wrong:?}: {refused:?}");
                write(&house, &[right]);
                met += 1;
            }
        }
    }
    assert!(met > 10, "{met} rows were tried");
    // All of a kind as they were, and what ties them to the log as it was then, too.
    for kinds in [
        &[rows::Kind::Tombstone][..],
        &[rows::Kind::Principal],
        &[rows::Kind::Tombstone, now_deciding],
        &[rows::Kind::Tombstone, rows::Kind::Principal, rows::Kind::Tenant, rows::Kind::Root, now_deciding],
    ] {
        put_back(&house, &before, kinds);
        let refused = opens(&house).await;
        assert!(matches!(refused, Err(StartError::NotAsLogged)), "{kinds:?}: {refused:?}");
        put_back(&house, &now, kinds);
    }
    opens(&house).await.unwrap();
}
