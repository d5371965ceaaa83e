use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;
use crate::store::{Row, Write};

const LEDGER: u8 = rows::Kind::Ledger as u8;

/// A database in memory that counts, waits and fails on command.
#[derive(Default)]
struct Fake {
    rows: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    applies: AtomicUsize,
    syncs: AtomicUsize,
    fail_apply: AtomicBool,
    fail_sync: AtomicBool,
    panic_in_sync: AtomicBool,
    /// If set, each `apply` says on the first that it has begun and waits for a word on the second.
    gate: Mutex<Option<(SyncSender<()>, Receiver<()>)>>,
}

impl Database for Fake {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.lock().unwrap().get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows.lock().unwrap();
        Ok(rows.range(from.to_vec()..to.to_vec()).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        Ok(self.range(from, to, usize::MAX)?.pop())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        if let Some((begun, go)) = &*self.gate.lock().unwrap() {
            // Errors say that the test has dropped its ends: the gate stays open.
            let _ = begun.send(());
            let _ = go.recv();
        }
        self.applies.fetch_add(1, Ordering::SeqCst);
        if self.fail_apply.load(Ordering::SeqCst) {
            return Err(StoreError::Damaged { what: "the disk of this test" });
        }
        let mut rows = self.rows.lock().unwrap();
        for write in writes.iter().cloned() {
            match write {
                Write::Put { key, value } => rows.insert(key, value),
                Write::Delete { key } => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panic_in_sync.load(Ordering::SeqCst), "the engine of this test panics");
        if self.fail_sync.load(Ordering::SeqCst) { Err(StoreError::Full) } else { Ok(()) }
    }
}

/// A gate that holds back every `apply` of `db`: wait on the first for one to begin, send on the second to let it go on.
fn hold_back(db: &Fake) -> (Receiver<()>, SyncSender<()>) {
    let (begun, see_begun) = sync_channel(1);
    let (go, wait_go) = sync_channel(1);
    *db.gate.lock().unwrap() = Some((begun, wait_go));
    (see_begun, go)
}

fn start() -> (Arc<Fake>, Committer) {
    let db = Arc::new(Fake::default());
    let committer = Committer::start(db.clone(), Mirrors::none(), crate::store::unkeyed_control_rows(&*db)).unwrap();
    (db, committer)
}

fn batch(build: impl FnOnce(&mut Batch)) -> Batch {
    let mut batch = Batch::new();
    build(&mut batch);
    batch
}

fn put(key: &str) -> Batch {
    batch(|b| b.put(key, "v"))
}

/// Polls once.
fn is_pending<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> bool {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Commits the batches in one group, in this order; returns the answers.
fn commit_as_one_group(db: &Fake, committer: &Committer, batches: Vec<Batch>) -> Vec<Answer> {
    let (begun, go) = hold_back(db);
    let plug = put("plug");
    thread::scope(|scope| {
        let plug = scope.spawn(|| committer.commit_blocking(plug));
        begun.recv().unwrap();
        let mut waiting: Vec<_> = batches.into_iter().map(|b| Box::pin(committer.commit(b))).collect();
        // Polled once, each is in the queue.
        assert!(waiting.iter_mut().all(is_pending));
        go.send(()).unwrap();
        drop((begun, go));
        plug.join().unwrap().unwrap();
        waiting.into_iter().map(block_on).collect()
    })
}

#[test]
fn batches_that_wait_share_one_sync_and_see_those_before_them() {
    let (db, committer) = start();
    let lock = |owner: &str| {
        batch(|b| {
            b.require_absent("lock");
            b.put("lock", owner);
            b.append(owner);
            b.add("count", 1);
        })
    };
    let release = batch(|b| {
        b.require_absent("unrelated");
        b.require_value("lock", "first");
        b.delete("lock");
        b.append("release");
    });
    let stale = batch(|b| {
        b.require_absent("unrelated");
        b.require_value("lock", "first");
    });
    let batches = vec![lock("first"), lock("second"), release, stale, lock("third")];
    let answers = commit_as_one_group(&db, &committer, batches);
    let positions: Vec<_> = answers.iter().map(|a| a.as_ref().ok().map(|c| c.ledger_positions.clone())).collect();
    assert_eq!(positions, [Some(vec![0]), None, Some(vec![1]), None, Some(vec![2])]);
    assert!(matches!(answers[1], Err(CommitError::Conflict { precondition: 0 })));
    assert!(matches!(answers[3], Err(CommitError::Conflict { precondition: 1 })));
    assert_eq!(db.get(b"lock").unwrap().unwrap(), b"third");
    assert_eq!(db.get(b"count").unwrap().unwrap(), 2_u64.to_be_bytes());
    let counted = (db.applies.load(Ordering::SeqCst), db.syncs.load(Ordering::SeqCst));
    assert_eq!(counted, (2, 2), "the plug, then the group");
}

#[test]
fn sixty_four_writers_lose_no_count_and_leave_no_gap_in_the_ledger() {
    let (db, committer) = start();
    let mut owners = HashMap::new();
    thread::scope(|scope| {
        let write = |writer: u8| {
            let mut positions = Vec::new();
            for _ in 0..50 {
                let committed = committer.commit_blocking(batch(|b| {
                    b.add("count", 3);
                    b.add("count", -1);
                    b.append([writer]);
                    b.append([writer]);
                }));
                positions.extend(committed.unwrap().ledger_positions);
            }
            (writer, positions)
        };
        let writers: Vec<_> = (0..64).map(|writer| scope.spawn(move || write(writer))).collect();
        for (writer, positions) in writers.into_iter().map(|w| w.join().unwrap()) {
            assert!(positions.is_sorted());
            positions.into_iter().for_each(|p| assert!(owners.insert(p, writer).is_none(), "position {p} given twice"));
        }
    });
    assert_eq!(db.get(b"count").unwrap().unwrap(), (64 * 50 * 2_u64).to_be_bytes());
    let ledger = db.range(&[LEDGER], &[LEDGER + 1], usize::MAX).unwrap();
    assert_eq!(ledger.len(), 64 * 50 * 2);
    for (expected, (key, value)) in (0_u64..).zip(ledger) {
        assert_eq!(key, [&[LEDGER][..], &expected.to_be_bytes()].concat());
        assert_eq!(value, [owners[&expected]]);
    }
    let tree = committer.log();
    committer.close();
    let again = Committer::start(db.clone(), Mirrors::none(), crate::store::unkeyed_control_rows(&*db)).unwrap();
    assert_eq!(again.log(), tree, "the tree over the ledger is not the one that grew");
    let next = again.commit_blocking(batch(|b| b.append("x"))).unwrap();
    assert_eq!(next.ledger_positions, [64 * 50 * 2], "a restart goes on where the ledger ends");
}

#[test]
fn counters_stay_in_their_bounds_and_a_damaged_one_harms_only_its_batch() {
    let (db, committer) = start();
    committer.commit_blocking(batch(|b| b.add("low", -5))).unwrap();
    assert_eq!(db.get(b"low").unwrap().unwrap(), 0_u64.to_be_bytes());
    committer.commit_blocking(batch(|b| b.put("top", (u64::MAX - 1).to_be_bytes()))).unwrap();
    committer.commit_blocking(batch(|b| b.add("top", 9))).unwrap();
    assert_eq!(db.get(b"top").unwrap().unwrap(), u64::MAX.to_be_bytes());
    committer.commit_blocking(batch(|b| b.put("odd", "123"))).unwrap();
    let damaged = committer.commit_blocking(batch(|b| {
        b.put("beside", "v");
        b.append("v");
        b.add("odd", 1);
    }));
    assert!(matches!(damaged, Err(CommitError::Store(StoreError::Damaged { .. }))));
    assert_eq!(db.get(b"beside").unwrap(), None);
    let next = committer.commit_blocking(batch(|b| b.append("v"))).unwrap();
    assert_eq!(next.ledger_positions, [0], "a refused batch takes no position");
}

#[test]
fn after_a_failed_write_it_is_closed_and_nothing_is_tried_again() {
    for fail_at_sync in [false, true] {
        let (db, committer) = start();
        committer.commit_blocking(put("before")).unwrap();
        let failing = if fail_at_sync { &db.fail_sync } else { &db.fail_apply };
        failing.store(true, Ordering::SeqCst);
        let first = committer.commit_blocking(put("first")).unwrap_err();
        match first {
            CommitError::Store(StoreError::Full) => assert!(fail_at_sync),
            CommitError::Store(StoreError::Closed) => assert!(!fail_at_sync),
            other => panic!("{other}"),
        }
        failing.store(false, Ordering::SeqCst);
        let tried = (db.applies.load(Ordering::SeqCst), db.syncs.load(Ordering::SeqCst));
        for _ in 0..3 {
            let later = committer.clone().commit_blocking(put("later"));
            assert!(matches!(later, Err(CommitError::Store(StoreError::Closed))));
        }
        assert_eq!(tried, (db.applies.load(Ordering::SeqCst), db.syncs.load(Ordering::SeqCst)));
        assert!(!committer.is_open());
        assert_eq!(db.get(b"before").unwrap().unwrap(), b"v", "reads go on");
        committer.close();
    }
}

#[test]
fn all_that_wait_are_answered_when_a_write_fails_or_panics() {
    for panics in [false, true] {
        let (db, committer) = start();
        let failing = if panics { &db.panic_in_sync } else { &db.fail_apply };
        let (begun, go) = hold_back(&db);
        thread::scope(|scope| {
            let first = scope.spawn(|| committer.commit_blocking(put("first")));
            begun.recv().unwrap();
            failing.store(true, Ordering::SeqCst);
            let rest: Vec<_> = (0..8).map(|_| scope.spawn(|| committer.commit_blocking(put("rest")))).collect();
            go.send(()).unwrap();
            for answer in std::iter::once(first).chain(rest) {
                assert!(matches!(answer.join().unwrap(), Err(CommitError::Store(StoreError::Closed))));
            }
        });
        assert_eq!(db.applies.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_caller_that_gives_up_does_not_take_its_batch_back() {
    let (db, committer) = start();
    let (begun, go) = hold_back(&db);
    let mut abandoned = Box::pin(committer.commit(put("abandoned")));
    assert!(is_pending(&mut abandoned));
    begun.recv().unwrap();
    drop(abandoned);
    go.send(()).unwrap();
    drop((begun, go));
    committer.close();
    assert_eq!(db.get(b"abandoned").unwrap().unwrap(), b"v");
}

#[test]
fn closing_writes_what_waits_and_refuses_the_rest() {
    let (db, committer) = start();
    let (begun, go) = hold_back(&db);
    let late = committer.clone();
    thread::scope(|scope| {
        let first = scope.spawn(|| late.commit_blocking(put("first")));
        begun.recv().unwrap();
        let mut waiting = Box::pin(late.commit(put("waiting")));
        assert!(is_pending(&mut waiting));
        let closing = scope.spawn(|| committer.close());
        go.send(()).unwrap();
        drop((begun, go));
        closing.join().unwrap();
        first.join().unwrap().unwrap();
        block_on(waiting).unwrap();
    });
    assert!(db.get(b"waiting").unwrap().is_some());
    assert!(matches!(late.commit_blocking(put("late")), Err(CommitError::Store(StoreError::Stopping))));
}

#[test]
fn a_fence_writes_nothing_and_limits_are_checked() {
    let (db, committer) = start();
    assert_eq!(committer.commit_blocking(Batch::new()).unwrap().ledger_positions, [0_u64; 0]);
    assert_eq!(db.syncs.load(Ordering::SeqCst), 0);
    let invalid = |b: Batch| match committer.commit_blocking(b) {
        Err(CommitError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    };
    let long = vec![1; super::super::MAX_VALUE_BYTES + 1];
    assert_eq!(invalid(batch(|b| b.put("k", &long[..]))), BatchError::ValueTooLong { bytes: 4097 });
    assert_eq!(invalid(batch(|b| b.append(&long[..]))), BatchError::ValueTooLong { bytes: 4097 });
    assert_eq!(invalid(batch(|b| b.delete([0; 129]))), BatchError::KeyTooLong { bytes: 129 });
    assert_eq!(invalid(batch(|b| b.add("", 1))), BatchError::KeyEmpty);
    assert_eq!(invalid(batch(|b| b.put([LEDGER, 0], "v"))), BatchError::LedgerRow);
    let many = batch(|b| (0..16_385_u32).for_each(|n| b.delete(n.to_be_bytes())));
    assert_eq!(invalid(many), BatchError::TooManyOps { count: 16_385 });
}
