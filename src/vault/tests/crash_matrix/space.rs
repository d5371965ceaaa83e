//! Faults while space is given back, and while objects cannot be reached: a repeat finishes it, the counters are right, and nobody else
//! loses anything.

use super::*;
use crate::domain::tenant::Usage;

/// Records of a customer of every sort: short, long, revised.
async fn fill(house: &House, vault: &Arc<Vault>, of: &str) -> Vec<(RecordId, usize)> {
    let mut records = Vec::new();
    for (number, length) in [100, 150_000, 90].into_iter().enumerate() {
        let name = request(&format!("{of}-{number}"));
        let stored = vault.create_transcript(house.permit(Action::CreateTranscript), chat(of, length), name);
        records.push((stored.await.unwrap().content.id, length));
    }
    let revised = records[2].0;
    house.revise(vault, (revised, Revision::FIRST), of, 120).await.unwrap();
    records[2].1 = 120;
    records
}

fn used(vault: &Vault, house: &House) -> Usage {
    vault.core.usage(house.tenant).unwrap()
}

/// Rows that stand under a customer who is gone, or await being removed.
fn left_over(vault: &Vault) -> usize {
    let count = |kind| {
        let (from, to) = rows::all(kind);
        vault.core.db.range(&from, &to, 4096).unwrap().len()
    };
    count(rows::Kind::Reclaim) + count(rows::Kind::ReclaimRecord)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_matrix_whatever_fails_while_space_is_given_back_a_repeat_finishes_it_and_the_counters_are_right() {
    let mut met = 0;
    for (after, blow) in every_fault() {
        let house = House::build().await;
        let vault = house.open().await;
        let kept = fill(&house, &vault, "bob").await;
        let (before, objects) = (used(&vault, &house), house.objects());
        let ada = fill(&house, &vault, "ada").await;
        let alone = house.store(&vault, "cleo", 100).await.unwrap();
        house.erase(&vault, "ada").await.unwrap();
        house.erase_part(&vault, Part::Record(alone)).await.unwrap();
        house.fault.strike(after, blow);
        let answer = vault.reclaim().await;
        if house.fault.was_missed() {
            answer.unwrap();
            break;
        }
        met += 1;
        let place = format!("operation {after}, {blow:?}");
        assert!(answer.is_err(), "{place}: done although something failed");
        let vault = house.open_after(vault, blow).await;
        vault.reclaim().await.unwrap();
        vault.reclaim().await.unwrap();
        assert_eq!((left_over(&vault), house.objects()), (0, objects), "{place}");
        let now = used(&vault, &house);
        assert_eq!((now.records, now.content_bytes), (before.records, before.content_bytes), "{place}");
        for (record, length) in &kept {
            assert_eq!(house.read(&vault, *record).await, Some(text(*length)), "{place}");
        }
        for (record, _) in &ada {
            assert_eq!(house.read(&vault, *record).await, None, "{place}");
        }
        assert_eq!((house.list(&vault, "bob").await, house.final_erasures(&vault)), (kept.len(), 2), "{place}");
        vault.close().await;
    }
    assert!((10..MANY * Blow::EVERY.len()).contains(&met), "{met} faults were met");
}

/// Puts a file where the directory of objects is, so that nothing in it is reached; gives what puts it back.
fn take_objects_away(house: &House) -> (impl Fn() + Send + use<>, impl Fn() + use<>) {
    let (here, away) = (house.paths().data.join("objects"), house.folder.path().join("objects-away"));
    let (there, back) = (here.clone(), away.clone());
    let take = move || {
        std::fs::rename(&here, &away).unwrap();
        std::fs::write(&here, "").unwrap();
    };
    let put_back = move || {
        std::fs::remove_file(&there).unwrap();
        std::fs::rename(&back, &there).unwrap();
    };
    (take, put_back)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_chat_whose_objects_cannot_be_written_from_some_operation_on_is_stored_once_when_they_can() {
    let (mut met, mut failed) = (0, 0);
    for after in 0..MANY {
        let house = House::build().await;
        let vault = house.open().await;
        let kept = house.store(&vault, "bob", 150_000).await.unwrap();
        let objects = house.objects();
        let (take, put_back) = take_objects_away(&house);
        house.fault.arm_with(after, take);
        let answer = house.store(&vault, "ada", 150_000).await;
        if house.fault.was_missed() {
            answer.unwrap();
            break;
        }
        (met, failed) = (met + 1, failed + usize::from(answer.is_err()));
        put_back();
        vault.close().await;
        drop(vault);
        let vault = house.open().await;
        let ada = house.store(&vault, "ada", 150_000).await.unwrap();
        for record in [kept, ada] {
            assert_eq!(house.read(&vault, record).await, Some(text(150_000)), "operation {after}");
        }
        assert_eq!(house.objects(), objects * 2, "operation {after}");
        vault.close().await;
    }
    assert!(met > 4 && failed > 0, "{met} operations, {failed} failures");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_cannot_be_reached_while_space_is_given_back_are_given_back_later() {
    let house = House::build().await;
    let vault = house.open().await;
    let kept = house.store(&vault, "bob", 150_000).await.unwrap();
    let objects = house.objects();
    house.store(&vault, "ada", 150_000).await.unwrap();
    house.erase(&vault, "ada").await.unwrap();
    let (take, put_back) = take_objects_away(&house);
    take();
    let answer = vault.reclaim().await;
    put_back();
    assert!(answer.is_err(), "what it did not see, it took for gone");
    vault.reclaim().await.unwrap();
    assert_eq!((left_over(&vault), house.objects()), (0, objects));
    assert_eq!(house.read(&vault, kept).await, Some(text(150_000)));
    vault.close().await;
}
