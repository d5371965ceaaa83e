use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::store::{Batch, Committer, Mirrors};

const CACHE_BYTES: u64 = 8 * 1024 * 1024;

struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> CompactingEngine {
        open(self.folder.path())
    }
}

fn open(data: &Path) -> CompactingEngine {
    CompactingEngine::open(data, &data.join("db"), CACHE_BYTES).unwrap()
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn all(db: &dyn Database) -> Model {
    let (mut rows, mut from) = (Model::new(), Vec::new());
    loop {
        let some = db.range(&from, &[0xff; 16], 1024).unwrap();
        let Some((last, _)) = some.last() else { return rows };
        from = rows::behind(last.clone());
        rows.extend(some);
    }
}

fn key(number: u32) -> Vec<u8> {
    [&[0x10][..], &number.to_be_bytes()].concat()
}

/// Some puts and deletes among `keys` keys, on the database and on the model.
fn write_some(db: &CompactingEngine, model: &mut Model, random: &mut Random, keys: u32) {
    let mut writes = Vec::new();
    for _ in 0..1 + random.below(19) {
        let key = key(random.below(keys));
        if writes.iter().any(|write: &Write| write.key() == key) {
            continue;
        }
        if random.below(3) == 0 {
            model.remove(&key);
            writes.push(Write::Delete { key });
        } else {
            let value = vec![random.below(256) as u8; 1 + random.below(600) as usize];
            model.insert(key.clone(), value.clone());
            writes.push(Write::Put { key, value });
        }
    }
    db.apply(&writes).unwrap();
    db.sync().unwrap();
}

/// The data directory as a crash would leave it now, as far as the system shows it.
fn image(data: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(data).unwrap().flatten() {
        let place = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => image(&entry.path(), &place),
            false => drop(fs::copy(entry.path(), place).unwrap()),
        }
    }
}

/// Chance that can be repeated.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = std::env::var("OUBLIETTE_SEED").map_or(now.subsec_nanos().into(), |seed| seed.parse().unwrap());
        eprintln!("seed {seed}: repeat with OUBLIETTE_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % limit
    }
}

#[test]
fn a_crash_at_any_step_of_a_compaction_loses_no_row() {
    const KEYS: u32 = 700;
    let mut random = Random::new();
    let mut images = 0;
    for _ in 0..6 {
        let disk = Disk::new();
        let db = disk.open();
        let mut model = Model::new();
        (0..60).for_each(|_| write_some(&db, &mut model, &mut random, KEYS));
        let compacted = db.compact(&mut |_| {
            // Between two goes of the copy anything is written, in front of the copy and behind it, and then the machine stops.
            (0..random.below(4)).for_each(|_| write_some(&db, &mut model, &mut random, KEYS));
            let crashed = tempfile::tempdir().unwrap();
            image(disk.folder.path(), crashed.path());
            assert!(all(&open(crashed.path())) == model, "a row is lost or back in image {images}");
            assert!(!crashed.path().join(COPY_FOLDER).exists(), "a copy is left over");
            images += 1;
            true
        });
        let compacted = compacted.unwrap().expect("it is not told to stop");
        assert!(all(&db) == model, "a row is lost or back");
        write_some(&db, &mut model, &mut random, KEYS);
        assert!(compacted.rows > 0 && !disk.folder.path().join(COPY_FOLDER).exists());
        drop(db);
        assert!(all(&disk.open()) == model, "a row is lost or back after a restart");
    }
    assert!(images > 30, "{images} images");
}

#[test]
fn a_compaction_that_is_stopped_or_fails_leaves_the_database_as_it_was() {
    let mut random = Random::new();
    let disk = Disk::new();
    let db = disk.open();
    let mut model = Model::new();
    (0..80).for_each(|_| write_some(&db, &mut model, &mut random, 900));
    let copy = disk.folder.path().join(COPY_FOLDER);
    for stop_after in 0..6 {
        let mut left = stop_after;
        let stopped = db.compact(&mut |_| {
            write_some(&db, &mut model, &mut random, 900);
            left -= 1;
            left >= 0
        });
        assert_eq!(stopped.unwrap(), None, "stopped after {stop_after}");
        assert!(!copy.exists());
        write_some(&db, &mut model, &mut random, 900);
        assert!(all(&db) == model, "a row is lost or back");
    }
    // The copy is taken away under it, so that there is nothing to exchange for.
    let failed = db.compact(&mut |_| {
        drop(fs::remove_dir_all(&copy));
        true
    });
    assert!(failed.is_err(), "{failed:?}");
    // Something that is no folder is in its place.
    fs::write(&copy, b"in the way").unwrap();
    assert!(db.compact(&mut |_| true).is_err());
    fs::remove_file(&copy).unwrap();
    assert!(!db.has_failed());
    write_some(&db, &mut model, &mut random, 900);
    assert!(all(&db) == model, "a row is lost or back");
    assert!(db.compact(&mut |_| true).unwrap().is_some());
    drop(db);
    assert!(all(&disk.open()) == model, "a row is lost or back");
}

const VALUE_BYTES: usize = 700;
/// One of so many customers' rows stays.
const ONE_OF: u32 = 10;

/// Fills a database with rows, and removes nine of ten.
fn fill(committer: &Committer, rows: u32) {
    for number in 0..rows {
        let mut batch = Batch::new();
        batch.put(key(number), vec![1; VALUE_BYTES]);
        committer.commit_blocking(batch).unwrap();
    }
    for number in (0..rows).filter(|number| !number.is_multiple_of(ONE_OF)) {
        let mut batch = Batch::new();
        batch.delete(key(number));
        committer.commit_blocking(batch).unwrap();
    }
}

/// Writes a row after the other and reads it and others back, until it is over; returns how many, and the longest write.
fn work(committer: &Committer, db: &dyn Database, first: u32, old_rows: u32, is_over: &AtomicBool) -> (u32, Duration) {
    let mut longest = Duration::ZERO;
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return (number, longest);
        }
        let row = key(first + number);
        let mut batch = Batch::new();
        batch.put(row.clone(), number.to_be_bytes());
        let began = Instant::now();
        committer.commit_blocking(batch).unwrap();
        longest = longest.max(began.elapsed());
        assert_eq!(db.get(&row).unwrap().unwrap(), number.to_be_bytes());
        let old = key(ONE_OF * (number % (old_rows / ONE_OF)));
        assert_eq!(db.get(&old).unwrap(), Some(vec![1; VALUE_BYTES]));
    }
    (0, longest)
}

#[test]
fn writers_and_readers_go_on_beside_compactions_that_give_space_back() {
    const ROWS: u32 = 12_000;
    let disk = Disk::new();
    let engine = Arc::new(disk.open());
    let db: Arc<dyn Database> = Arc::clone(&engine) as Arc<dyn Database>;
    let committer =
        Committer::start(Arc::clone(&db), Mirrors::none(), crate::store::unkeyed_control_rows(&*db)).unwrap();
    fill(&committer, ROWS);
    let before = disk_use(&*db, &mut |_| true).unwrap().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let first_of = |worker: u32| 100_000 * (worker + 1);
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let (committer, db, is_over) = (committer.clone(), Arc::clone(&db), Arc::clone(&is_over));
            std::thread::spawn(move || work(&committer, &*db, first_of(worker), ROWS, &is_over))
        })
        .collect();
    let mut longest_pause = Duration::ZERO;
    for round in 0..4 {
        let done = engine.compact(&mut |_| true).unwrap().unwrap();
        longest_pause = longest_pause.max(done.longest_pause);
        assert!(round > 0 || done.after < before.file_bytes / 2, "{before:?}, {done:?}");
    }
    is_over.store(true, Ordering::Relaxed);
    let done: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    let after = disk_use(&*db, &mut |_| true).unwrap().unwrap();
    let (written, longest) = done.iter().fold((0, Duration::ZERO), |(sum, most), (n, it)| (sum + n, most.max(*it)));
    eprintln!(
        "compaction: {before:?} became {after:?}; 4 rounds beside {written} writes, the longest pause {longest_pause:?}, the longest write {longest:?}"
    );
    committer.close();
    drop((db, engine));
    let rows = all(&disk.open());
    for (first, (count, _)) in (0..3).map(first_of).zip(done) {
        for number in 0..count {
            let found = rows.get(&key(first + number)).map(Vec::as_slice);
            assert_eq!(found, Some(&number.to_be_bytes()[..]), "lost: {first}, {number}");
        }
    }
}

#[test]
fn a_compaction_without_room_says_what_it_needs_and_what_there_is() {
    let disk = Disk::new();
    let refused = refuse_without_room(disk.folder.path(), u64::MAX / 2).unwrap_err();
    let StoreError::NoRoomToCompact { needed, free, .. } = &refused else { panic!("{refused}") };
    assert!(needed > free);
    let words = refused.to_string();
    assert!(words.contains(&needed.to_string()) && words.contains(&free.to_string()), "{words}");
    refuse_without_room(disk.folder.path(), 1).unwrap();
}
