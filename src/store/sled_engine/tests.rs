use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const AT_ONCE: Opening = Opening { patience: Duration::from_millis(100), cache_bytes: DEFAULT_CACHE_BYTES };

fn put(key: &[u8], value: &[u8]) -> Write {
    Write::Put { key: key.to_vec(), value: value.to_vec() }
}

/// Opens the engine with `rows` rows in it, and closes it again. The second opening makes sled write a snapshot.
fn filled(dir: &Path, rows: u32) {
    let engine = SledEngine::open(dir).unwrap();
    let writes: Vec<_> = (0..rows).map(|n| put(&n.to_be_bytes(), &[7; 1000])).collect();
    engine.apply(&writes).unwrap();
    engine.sync().unwrap();
    drop(engine);
    drop(SledEngine::open(dir).unwrap());
}

fn count(engine: &SledEngine) -> usize {
    engine.range(&[0], &[0xff], MAX_RANGE_ROWS).unwrap().len()
}

fn whole_snapshots(dir: &Path) -> Vec<PathBuf> {
    let found = snapshots(dir).unwrap();
    assert!(!found.is_empty(), "sled is expected to have written a snapshot");
    found
}

#[test]
fn rows_come_back_in_order_and_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(dir.path()).unwrap();
    engine.apply(&[put(b"b", b"2"), put(b"a", b"1"), put(b"c", b"3"), put(b"d", b"4")]).unwrap();
    engine.apply(&[Write::Delete { key: b"c".to_vec() }, Write::Delete { key: b"nothing".to_vec() }]).unwrap();
    let row = |k: &[u8], v: &[u8]| (k.to_vec(), v.to_vec());
    assert_eq!(engine.range(b"a", b"d", 10).unwrap(), [row(b"a", b"1"), row(b"b", b"2")]);
    assert_eq!(engine.range(b"a", b"z", 1).unwrap(), [row(b"a", b"1")]);
    assert_eq!(engine.last(b"a", b"d").unwrap(), Some(row(b"b", b"2")));
    assert_eq!(engine.last(b"e", b"z").unwrap(), None);
    assert!(engine.range(b"z", b"a", 10).unwrap().is_empty() && engine.last(b"z", b"a").unwrap().is_none());
    assert_eq!(engine.get(b"c").unwrap(), None);
    assert!(matches!(engine.range(b"a", b"z", MAX_RANGE_ROWS + 1), Err(StoreError::TooMuch { .. })));
}

#[test]
fn a_half_written_snapshot_does_not_stop_it_from_opening() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 500);
    let leftover = dir.path().join("snap.FFFFFFFFFFFFFFF0.generating");
    fs::write(&leftover, [0; 40]).unwrap();
    let engine = SledEngine::open(dir.path()).unwrap();
    assert_eq!(count(&engine), 500);
    assert!(!leftover.exists());
}

/// Where the replay finds nothing, which is sled's and happens now and then, nothing is lost for it: with the snapshots whole again, all rows
/// are there.
#[test]
fn a_damaged_snapshot_is_set_aside_and_the_log_replayed_or_all_is_left_as_it_was() {
    let (mut replayed, mut left) = (0, 0);
    for _ in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 500);
        for (round, damage) in [&b""[..], b"short", &[0xa5; 200]].into_iter().enumerate() {
            let whole: Vec<_> = whole_snapshots(dir.path()).into_iter().map(|p| (fs::read(&p).unwrap(), p)).collect();
            whole.iter().for_each(|(_, path)| fs::write(path, damage).unwrap());
            let log = fs::read(dir.path().join(DATA_FILE)).unwrap();
            match SledEngine::open(dir.path()) {
                Ok(engine) => {
                    assert_eq!(count(&engine), 500, "round {round}");
                    let aside = dir.path().join(format!("set-aside-{}", round + 1));
                    assert!(fs::read(aside.join(DATA_FILE)).unwrap() == log, "no copy of the log as it was");
                    replayed += 1;
                }
                Err(refused) => {
                    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
                    assert!(fs::read(dir.path().join(DATA_FILE)).unwrap() == log, "round {round}: the log was changed");
                    whole.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
                    assert_eq!(count(&SledEngine::open(dir.path()).unwrap()), 500, "round {round}");
                    left += 1;
                    break;
                }
            }
        }
    }
    assert!(replayed > left, "{replayed} replays, {left} refusals");
}

#[test]
fn a_lost_log_is_an_error_and_not_an_empty_database() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 500);
    whole_snapshots(dir.path());
    fs::write(dir.path().join("db"), b"").unwrap();
    assert!(matches!(SledEngine::open(dir.path()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_directory_in_use_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(dir.path()).unwrap();
    let refused = SledEngine::open_as(dir.path(), AT_ONCE).err().unwrap();
    assert!(matches!(&refused, StoreError::InUse { path } if path == dir.path()), "{refused}");
    drop(engine);
    SledEngine::open(dir.path()).unwrap();

    let other = tempfile::tempdir().unwrap();
    let _plain_sled = sled::open(other.path()).unwrap();
    assert!(matches!(SledEngine::open_as(other.path(), AT_ONCE), Err(StoreError::InUse { .. })));
    assert!(snapshots(other.path()).unwrap().is_empty() && !other.path().join("set-aside-1").exists());
}

#[test]
fn files_of_another_version_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 10);
    let conf = fs::read_to_string(dir.path().join("conf").as_path());
    let conf =
        conf.unwrap_or_else(|_| String::from_utf8_lossy(&fs::read(dir.path().join("conf")).unwrap()).into_owned());
    assert!(conf.contains("version: 0.34"), "sled's settings file has another form: {conf:?}");
    let mut bytes = fs::read(dir.path().join("conf")).unwrap();
    let at = bytes.windows(4).position(|w| w == b"0.34").unwrap();
    bytes[at..at + 4].copy_from_slice(b"0.99");
    fs::write(dir.path().join("conf"), bytes).unwrap();
    assert!(matches!(SledEngine::open(dir.path()), Err(StoreError::NewerFormat { .. })));
}

#[test]
fn a_range_sees_each_batch_whole() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(SledEngine::open(dir.path()).unwrap());
    let generation = |n: u32| (0..200_u32).map(|k| put(&k.to_be_bytes(), &n.to_be_bytes())).collect::<Vec<_>>();
    engine.apply(&generation(0)).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let (engine, done) = (engine.clone(), done.clone());
        move || {
            while !done.load(Ordering::Acquire) {
                let rows = engine.range(&[0], &[0xff], MAX_RANGE_ROWS).unwrap();
                assert!(rows.iter().all(|(_, value)| *value == rows[0].1), "half a batch was seen");
            }
        }
    });
    (1..200).for_each(|n| engine.apply(&generation(n)).unwrap());
    done.store(true, Ordering::Release);
    reader.join().unwrap();
}
