//! Mirrors through the committer: what is acknowledged is on them, whatever happens to them on the way.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::store::{Batch, CommitError, Committer, Row, SledEngine};

struct House {
    folder: tempfile::TempDir,
    places: Vec<MirrorPlace>,
}

impl House {
    fn new() -> Self {
        Self::of(0)
    }

    /// A database whose log begins with this number.
    fn of(vault: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = vec![
            MirrorPlace { directory: folder.path().join("whole"), sort: Sort::Whole },
            MirrorPlace { directory: folder.path().join("keys"), sort: Sort::Keys },
        ];
        places.iter().for_each(|place| create(&place.directory).unwrap());
        let house = Self { folder, places };
        let db = open_db(&house);
        let rows = crate::store::unkeyed_control_rows(&*db);
        let committer = Committer::start(db, Mirrors::none(), rows).unwrap();
        committer.commit_blocking(batch(vault)).unwrap();
        committer.close();
        house
    }

    fn open(&self) -> (Arc<dyn Database>, Committer) {
        let db: Arc<dyn Database> = Arc::new(SledEngine::open(&self.folder.path().join("db")).unwrap());
        let mirrors = Mirrors::start(self.places.clone(), &db).unwrap();
        let committer = Committer::start(Arc::clone(&db), mirrors, crate::store::unkeyed_control_rows(&*db)).unwrap();
        (db, committer)
    }

    /// The rows of a mirror, read back.
    fn rows(&self, of: usize) -> Result<Vec<Row>, StoreError> {
        let fresh = tempfile::tempdir().unwrap();
        let db = SledEngine::open(fresh.path()).unwrap();
        read_back(&self.places[of].directory, &db, |_| {})?;
        Ok(all(&db))
    }

    /// That the mirror is the database after the next deciding row.
    fn follows(&self) {
        let (db, committer) = self.open();
        committer.commit_blocking(deciding()).unwrap();
        assert_eq!(self.rows(0).unwrap(), all(&*db));
        committer.close();
    }

    /// The newest row file of a mirror.
    fn newest_file(&self, of: usize) -> PathBuf {
        let rows = self.places[of].directory.join("rows");
        let files = fs::read_dir(rows).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| !path.to_string_lossy().ends_with("complete")).max().unwrap()
    }
}

fn all(db: &dyn Database) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut from = Vec::new();
    loop {
        let some = db.range(&from, &[0xff; 16], 1024).unwrap();
        let Some((last, _)) = some.last() else { return rows };
        from = rows::behind(last.clone());
        rows.extend(some);
    }
}

fn without_content(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().filter(|(key, _)| Sort::Keys.takes(key)).collect()
}

/// A row that is content, one that decides, one of the ledger.
fn batch(number: u32) -> Batch {
    let mut batch = Batch::new();
    let key = |kind: rows::Kind| [&[kind as u8][..], &number.to_be_bytes()].concat();
    batch.put(key(rows::Kind::Record), vec![7; 500]);
    batch.put(key(rows::Kind::Secret), number.to_be_bytes());
    batch.append(number.to_be_bytes());
    if number.is_multiple_of(3) {
        batch.delete(key(rows::Kind::Record));
    }
    batch
}

fn deciding() -> Batch {
    let mut batch = Batch::new();
    batch.put([rows::Kind::Tombstone as u8, 1], [1]);
    batch
}

#[test]
fn a_mirror_read_back_is_the_database_and_one_of_keys_has_all_but_content() {
    let house = House::new();
    for run in 0..4 {
        let (db, committer) = house.open();
        // More rows than one go of the base takes, and groups while it is copied.
        for number in 0..700 {
            committer.commit_blocking(batch(run * 1_000 + number)).unwrap();
        }
        committer.mirrors().wait().unwrap();
        assert_eq!(committer.settled_log().unwrap().size(), committer.log().size());
        assert_eq!(house.rows(0).unwrap(), all(&*db), "run {run}");
        assert_eq!(house.rows(1).unwrap(), without_content(all(&*db)), "run {run}");
        committer.close();
    }
    let generation = |of| house.newest_file(of).file_name().unwrap().to_string_lossy()[..8].to_owned();
    assert_eq!((generation(0), generation(1)), ("00000001".to_owned(), "00000001".to_owned()), "begun anew in vain");
}

#[test]
fn a_mirror_that_missed_something_or_is_of_another_history_begins_anew() {
    let house = House::new();
    let (db, committer) = house.open();
    committer.commit_blocking(batch(1)).unwrap();
    committer.mirrors().wait().unwrap();
    committer.close();
    drop(db);
    // Written while nothing was mirrored.
    let db: Arc<dyn Database> = Arc::new(SledEngine::open(&house.folder.path().join("db")).unwrap());
    let committer =
        Committer::start(Arc::clone(&db), Mirrors::none(), crate::store::unkeyed_control_rows(&*db)).unwrap();
    committer.commit_blocking(batch(2)).unwrap();
    committer.close();
    drop(db);
    house.follows();
    // Another database with as many groups.
    fs::rename(house.folder.path().join("db"), house.folder.path().join("old")).unwrap();
    let db: Arc<dyn Database> = Arc::new(SledEngine::open(&house.folder.path().join("db")).unwrap());
    let committer =
        Committer::start(Arc::clone(&db), Mirrors::none(), crate::store::unkeyed_control_rows(&*db)).unwrap();
    (0..4).for_each(|number| drop(committer.commit_blocking(batch(number)).unwrap()));
    committer.close();
    drop(db);
    house.follows();
}

#[test]
fn the_mirror_of_another_vault_is_not_touched() {
    let (one, other) = (House::of(1), House::of(2));
    let (_db, committer) = one.open();
    committer.commit_blocking(deciding()).unwrap();
    committer.close();
    let before = one.rows(0).unwrap();
    let refused = Mirrors::start(one.places.clone(), &(open_db(&other) as Arc<dyn Database>)).err().unwrap();
    assert!(matches!(refused, StoreError::MirrorOfOther { .. }), "{refused}");
    assert_eq!(one.rows(0).unwrap(), before);
}

#[test]
fn a_database_that_is_older_than_a_mirror_is_refused() {
    let house = House::new();
    let (db, committer) = house.open();
    committer.commit_blocking(batch(3)).unwrap();
    committer.close();
    drop(db);
    fs::remove_dir_all(house.folder.path().join("db")).unwrap();
    let db: Arc<dyn Database> = Arc::new(SledEngine::open(&house.folder.path().join("db")).unwrap());
    db.apply(&[Write::Put { key: rows::ledger(0), value: 0_u32.to_be_bytes().to_vec() }]).unwrap();
    let refused = Mirrors::start(house.places.clone(), &db).err().unwrap();
    assert!(matches!(refused, StoreError::MirrorIsNewer { .. }), "{refused}");
}

#[test]
fn where_a_crash_cut_a_mirror_it_goes_on_and_where_the_disk_damaged_it_nothing_is_read_back() {
    let house = House::new();
    let (db, committer) = house.open();
    for number in 0..20 {
        committer.commit_blocking(batch(number)).unwrap();
        committer.mirrors().wait().unwrap();
    }
    committer.close();
    drop(db);
    let file = house.newest_file(0);
    let whole = fs::read(&file).unwrap();
    // A frame that was cut is not there; the mirror trails, and begins anew, as it has missed it.
    fs::write(&file, &whole[..whole.len() - 7]).unwrap();
    assert!(house.rows(0).unwrap().len() < all(&*open_db(&house)).len());
    // A frame that was begun behind the last whole one is overwritten.
    fs::write(&file, [&whole[..], &[0, 0, 1, 0, 9, 9]].concat()).unwrap();
    let (db, committer) = house.open();
    committer.commit_blocking(deciding()).unwrap();
    assert_eq!(house.rows(0).unwrap(), all(&*db));
    assert_eq!(house.newest_file(0), file, "begun anew in vain");
    committer.close();
    drop(db);
    // A byte in the middle: what stands behind it is lost, and the log would be shorter than the pinned one.
    let mut damaged = fs::read(&file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&file, &damaged).unwrap();
    assert!(house.rows(0).map_or(true, |rows| rows.len() < all(&*open_db(&house)).len()));
    fs::remove_dir_all(house.places[0].directory.join("rows")).unwrap();
    assert!(matches!(house.rows(0), Err(StoreError::NoMirror { .. })));
}

fn open_db(house: &House) -> Arc<SledEngine> {
    Arc::new(SledEngine::open(&house.folder.path().join("db")).unwrap())
}

#[test]
fn a_dead_mirror_stops_what_decides_and_nothing_else_and_follows_again_when_it_is_back() {
    let house = House::new();
    let (db, committer) = house.open();
    committer.commit_blocking(deciding()).unwrap();
    // An empty directory where it was: the mount point of a disk that was unmounted. Nothing may be written into it.
    let (dir, away) = (&house.places[0].directory, house.folder.path().join("away"));
    fs::rename(dir, &away).unwrap();
    fs::create_dir(dir).unwrap();
    committer.commit_blocking(batch(1)).unwrap();
    let refused = committer.commit_blocking(deciding()).unwrap_err();
    let CommitError::NotMirrored(why) = &refused else { panic!("{refused}") };
    assert!(why.directory.ends_with("whole"), "{why}");
    assert!(committer.mirrors().status()[0].problem.is_some());
    for number in 0..50 {
        committer.commit_blocking(batch(10_000 + number)).unwrap();
    }
    assert!(committer.settled_log().unwrap().size() < committer.log().size());
    fs::remove_dir(dir).unwrap();
    fs::rename(&away, dir).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while committer.commit_blocking(deciding()).is_err() {
        assert!(Instant::now() < end, "it does not follow again");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(house.rows(0).unwrap(), all(&*db));
    assert_eq!(committer.settled_log().unwrap().size(), committer.log().size());
    assert!(house.newest_file(0).ends_with("00000001-w-00000000"), "begun anew in vain");
    committer.close();
}

#[test]
fn what_a_mirror_shows_and_was_never_made_durable_is_written_again() {
    let house = House::new();
    let (db, committer) = house.open();
    committer.commit_blocking(deciding()).unwrap();
    let (file, dir) = (house.newest_file(0), &house.places[0].directory);
    // A group that the system shows, and that never reached the disk, as after a failed sync: here one of other rows, so that it can be told.
    let at = Position::of(&*db).unwrap().next();
    let shown = frames::group(at, [Write::Put { key: vec![rows::Kind::Record as u8, 9], value: vec![9] }].iter());
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, [&bytes[..], &shown].concat()).unwrap();
    let away = house.folder.path().join("away");
    fs::rename(dir, &away).unwrap();
    committer.commit_blocking(batch(1)).unwrap();
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until("it does not fail", &|| committer.mirrors().status()[0].problem.is_some());
    fs::rename(&away, dir).unwrap();
    until("it does not follow again", &|| {
        committer.commit_blocking(batch(2)).is_ok() && committer.mirrors().wait().is_ok()
    });
    assert_eq!(house.rows(0).unwrap(), all(&*db));
    assert_eq!(house.newest_file(0), file, "begun anew in vain");
    // A file that is shorter than what was written to it is not filled up with zeros.
    fs::rename(dir, &away).unwrap();
    committer.commit_blocking(batch(3)).unwrap();
    until("it does not fail", &|| committer.mirrors().status()[0].problem.is_some());
    let moved = away.join("rows").join(file.file_name().unwrap());
    fs::write(&moved, &bytes[..bytes.len() - 9]).unwrap();
    fs::rename(&away, dir).unwrap();
    until("it does not follow again", &|| committer.mirrors().wait().is_ok());
    assert_eq!(house.rows(0).unwrap(), all(&*db));
    committer.close();
}

#[test]
fn a_mark_that_a_crash_cut_leaves_the_generation_before_it_as_it_is() {
    let house = House::new();
    let (db, committer) = house.open();
    committer.commit_blocking(deciding()).unwrap();
    committer.close();
    drop(db);
    let rows_dir = house.places[0].directory.join("rows");
    for mark in [&b""[..], &[2, 7, 7]] {
        fs::write(rows_dir.join("00000002-w-00000000"), b"a base that was being copied").unwrap();
        fs::write(rows_dir.join("00000002-w-complete"), mark).unwrap();
        assert_eq!(house.rows(0).unwrap(), all(&*open_db(&house)), "{mark:?}");
        house.follows();
        assert!(!rows_dir.join("00000002-w-complete").exists(), "what was half done stays");
    }
}

#[test]
fn a_backup_of_one_mirror_and_then_of_another_is_that_of_the_other() {
    let house = House::new();
    let (db, committer) = house.open();
    (0..40).for_each(|number| drop(committer.commit_blocking(batch(number)).unwrap()));
    committer.mirrors().wait().unwrap();
    let (one, to) = (&house.places[0].directory, house.folder.path().join("backup"));
    Backup::begin(one, &to).unwrap().copy_rows(|_, _| {}).unwrap();
    // Another disk in its place: its first generation has the same number, and other files.
    let other = MirrorPlace { directory: house.folder.path().join("other"), sort: Sort::Whole };
    create(&other.directory).unwrap();
    committer.mirrors().change(vec![other.clone(), house.places[1].clone()], &db).unwrap();
    (40..60).for_each(|number| drop(committer.commit_blocking(batch(number)).unwrap()));
    committer.mirrors().wait().unwrap();
    assert!(content(&other.directory).unwrap().is_some());
    let of_keys = Backup::begin(&house.places[1].directory, &to).map(drop);
    assert!(matches!(of_keys, Err(StoreError::NoMirror { .. })), "a backup of everything from a mirror of keys");
    for more in 0..3 {
        Backup::begin(&other.directory, &to).unwrap().copy_rows(|_, _| {}).unwrap();
        let fresh = SledEngine::open(tempfile::tempdir().unwrap().path()).unwrap();
        read_back(&to, &fresh, |_| {}).unwrap();
        assert_eq!(all(&fresh), all(&*db), "after {more} more");
        committer.commit_blocking(batch(100 + more)).unwrap();
        committer.mirrors().wait().unwrap();
    }
    let names: Vec<_> = fs::read_dir(to.join("rows")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "what it had of the first mirror stays: {names:?}");
    committer.close();
}

#[test]
fn mirrors_come_and_go_while_everything_goes_on() {
    let house = House::new();
    let (db, committer) = house.open();
    let third = MirrorPlace { directory: house.folder.path().join("third"), sort: Sort::Whole };
    create(&third.directory).unwrap();
    let writer = committer.clone();
    let writing = std::thread::spawn(move || (0..600).for_each(|n| drop(writer.commit_blocking(batch(n)).unwrap())));
    committer.mirrors().change(vec![house.places[0].clone(), third.clone()], &db).unwrap();
    writing.join().unwrap();
    committer.commit_blocking(deciding()).unwrap();
    let read = |place: &MirrorPlace| {
        let fresh = SledEngine::open(tempfile::tempdir().unwrap().path()).unwrap();
        read_back(&place.directory, &fresh, |_| {}).map(|_| all(&fresh))
    };
    assert_eq!(read(&third).unwrap(), all(&*db));
    let places: Vec<_> = committer.mirrors().status().into_iter().map(|status| status.place).collect();
    assert_eq!(places, [house.places[0].clone(), third.clone()]);
    // A mirror that is given up stops nothing any more, whatever became of it.
    fs::remove_dir_all(&third.directory).unwrap();
    committer.commit_blocking(batch(7_000)).unwrap();
    committer.mirrors().change(vec![house.places[0].clone()], &db).unwrap();
    let mut another = Batch::new();
    another.put([rows::Kind::Tombstone as u8, 2], [2]);
    committer.commit_blocking(another).unwrap();
    assert_eq!(house.rows(0).unwrap(), all(&*db));
    let other = House::of(9);
    let (_db, of_another) = other.open();
    of_another.commit_blocking(deciding()).unwrap();
    of_another.close();
    let refused = committer.mirrors().change(vec![house.places[0].clone(), other.places[0].clone()], &db);
    assert!(matches!(refused, Err(StoreError::MirrorOfOther { .. })), "{refused:?}");
    assert_eq!(committer.mirrors().status().len(), 1);
    committer.close();
}
