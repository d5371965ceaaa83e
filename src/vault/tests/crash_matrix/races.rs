//! Inserts that begin at each operation of an epoch, from another thread: each is there afterwards, or was refused in words.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use super::*;

/// How long an operation of the epoch waits for the inserts that it raced with. Those that wait for the epoch itself go on behind it.
const HEAD_START: Duration = Duration::from_millis(30);

type Inserted = Vec<(&'static str, Result<RecordId, VaultError>)>;

/// Has inserts begin when the operation after so many others does. Gives what became of them, once the vault did all.
fn insert_at(house: &House, vault: &Arc<Vault>, after: usize) -> Receiver<Inserted> {
    let (done, outcomes) = channel();
    let (begun, waiting) = channel::<()>();
    let (vault, runtime) = (Arc::clone(vault), tokio::runtime::Handle::current());
    let people = ["ada", "bob", "new"];
    let permits = people.map(|_| house.permit(Action::CreateTranscript));
    std::thread::spawn(move || {
        // It hangs up where the operation is never met.
        if waiting.recv().is_err() {
            return;
        }
        let tasks = people.into_iter().zip(permits).map(|(of, permit)| {
            let vault = Arc::clone(&vault);
            let stored = async move {
                let stored = vault.create_transcript(permit, chat(of, 70), request(&format!("{of}-racing"))).await;
                (of, stored.map(|stored| stored.content.id))
            };
            runtime.spawn(stored)
        });
        let tasks: Vec<_> = tasks.collect();
        let outcomes = tasks.into_iter().map(|task| runtime.block_on(task).unwrap());
        drop(done.send(outcomes.collect()));
    });
    house.fault.arm_with(after, move || {
        let _ = begun.send(());
        std::thread::sleep(HEAD_START);
    });
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_insert_that_begins_at_any_operation_of_an_epoch_is_there_afterwards_or_was_refused_in_words() {
    let (mut before, mut refused) = (0, 0);
    for after in 0..MANY {
        let house = House::with(VaultLimits { leaf_entries: 2, ..limits() }).await;
        let vault = house.open().await;
        let ada = house.store(&vault, "ada", 100).await.unwrap();
        let bob = house.store(&vault, "bob", 100).await.unwrap();
        let outcomes = insert_at(&house, &vault, after);
        house.erase(&vault, "ada").await.unwrap();
        if house.fault.was_missed() {
            assert!(refused > 4 && before + refused == after, "{before} before the erasure, {refused} refused");
            return;
        }
        let inserted = loop {
            match outcomes.recv_timeout(Duration::from_millis(1)) {
                Ok(inserted) => break inserted,
                Err(RecvTimeoutError::Timeout) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(RecvTimeoutError::Disconnected) => panic!("operation {after}: the inserts never ended"),
            }
        };
        vault.close().await;
        drop(vault);
        let vault = house.open().await;
        assert_eq!(house.read(&vault, ada).await, None, "operation {after}");
        assert_eq!(house.read(&vault, bob).await.map(|text| text.len()), Some(100), "operation {after}");
        for (of, stored) in inserted {
            match (of, stored) {
                // What was stored for her before she was fenced off goes with her.
                ("ada", Ok(record)) => {
                    before += 1;
                    assert_eq!(house.read(&vault, record).await, None, "operation {after}: outlived its customer");
                }
                ("ada", Err(VaultError::CustomerErased)) => refused += 1,
                (of, Ok(record)) => {
                    let read = house.read(&vault, record).await.map(|text| text.len());
                    assert_eq!(read, Some(70), "operation {after}: a record of {of} is lost");
                }
                (of, Err(error)) => panic!("operation {after}: a record of {of} was refused: {error:?}"),
            }
        }
        vault.close().await;
    }
    panic!("an erasure has more operations than {MANY}");
}
