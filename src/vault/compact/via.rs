//! Compacting where the data's disk has no room for a second database: the copy is made on another disk and then takes the old one's place.
//!
//! | step | durable effect | if we crash right after |
//! |---|---|---|
//! | 1 all rows are copied to the other disk, synced, and compared | a copy | the vault is as it was; a repeat begins again |
//! | 2 `db.via` names the copy | the copy counts; no start opens the vault | a repeat goes on here |
//! | 3 the old database is renamed to `db.old` and removed | room | a repeat goes on here |
//! | 4 the copy's files are copied to `db.compact`, synced, renamed to `db` | the vault is there | a repeat does 3 and 4 again, from the same copy |
//! | 5 `db.via` is removed, then the copy | the vault opens | the copy is left over on the other disk |

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::store::{
    Compacted, Database, MAX_RANGE_ROWS, SledEngine, StoreError, Write, bytes_of, free_bytes, refuse_without_room,
    remove_copy, rows,
};
use crate::vault::start::{StartError, database_folder};

/// Says in the data directory that a copy elsewhere counts.
const VIA_FILE: &str = "db.via";
/// The old database on its way out.
const OLD_FOLDER: &str = "db.old";
/// The copy, in the directory that is named.
const COPY_FOLDER: &str = "oubliette-compact";
/// The copy's copy, before it is renamed.
const NEW_FOLDER: &str = "db.compact";
/// A copy takes about so many percent of the bytes of its rows.
const COPY_PERCENT: u64 = 160;
/// Rows copied in one go.
const AT_ONCE: usize = MAX_RANGE_ROWS / 4;

/// Refuses to open a vault whose database counts elsewhere.
pub(in crate::vault) fn refuse_interrupted(data: &Path) -> Result<(), StartError> {
    match named(data)? {
        Some(copy) => Err(StartError::CompactionInterrupted(folder_of(&copy).display().to_string())),
        None => Ok(()),
    }
}

pub(super) fn compact_via(data: &Path, via: &Path, progress: &impl Fn(u64)) -> Result<Compacted, StartError> {
    let via = std::path::absolute(via).map_err(|e| failed("finding the other disk", e))?;
    let (before, rows) = match named(data)? {
        // Of an attempt that was interrupted behind step 2.
        Some(copy) if folder_of(&copy) != via => {
            return Err(StartError::CompactionInterrupted(folder_of(&copy).display().to_string()));
        }
        Some(copy) => (bytes_of(&copy)?, 0),
        None => copy_rows(data, &via, progress)?,
    };
    take_place(data, &via.join(COPY_FOLDER)).map_err(|e| failed("putting the compacted database in its place", e))?;
    Ok(Compacted { before, after: bytes_of(&database_folder(data))?, rows, longest_pause: std::time::Duration::ZERO })
}

/// Steps 1 and 2; returns how many bytes the database took, and how many rows there are.
fn copy_rows(data: &Path, via: &Path, progress: &impl Fn(u64)) -> Result<(u64, u64), StartError> {
    let folder = database_folder(data);
    if !folder.is_dir() {
        return Err(StartError::NoVault(data.display().to_string()));
    }
    let from = SledEngine::open(&folder)?;
    remove_copy(data)?;
    let copy = via.join(COPY_FOLDER);
    remove(&copy).map_err(|e| failed("removing an earlier copy", e))?;
    let (before, mut live) = (bytes_of(&folder)?, 0_u64);
    each(&from, |some| {
        live += some.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
        Ok(())
    })?;
    refuse_without_room(via, live.saturating_mul(COPY_PERCENT) / 100)?;
    let to = SledEngine::open(&copy)?;
    let mut count = 0;
    each(&from, |some| {
        count += some.len() as u64;
        progress(count);
        let writes: Vec<_> = some.into_iter().map(|(key, value)| Write::Put { key, value }).collect();
        to.apply(&writes)
    })?;
    to.sync()?;
    drop(to);
    // Read back from the disk, since the old one goes.
    let to = SledEngine::open(&copy)?;
    let mut compared = 0;
    each(&to, |some| {
        for (key, value) in some {
            compared += 1;
            if from.get(&key)?.as_ref() != Some(&value) {
                return Err(StoreError::Damaged { what: "the copy of the database" });
            }
        }
        Ok(())
    })?;
    drop(to);
    if compared != count {
        return Err(StoreError::Damaged { what: "the copy of the database" }.into());
    }
    let (needed, room) = (bytes_of(&copy)?, before.saturating_add(free_bytes(data)?));
    if needed > room {
        return Err(StoreError::NoRoomToCompact { path: data.to_owned(), needed, free: room }.into());
    }
    write_named(data, &copy).map_err(|e| failed("naming the copy of the database", e))?;
    Ok((before, count))
}

/// Steps 3 to 5.
fn take_place(data: &Path, copy: &Path) -> std::io::Result<()> {
    let sync = || File::open(data)?.sync_all();
    let (folder, old, new) = (database_folder(data), data.join(OLD_FOLDER), data.join(NEW_FOLDER));
    remove(&old)?;
    if folder.exists() {
        fs::rename(&folder, &old)?;
        sync()?;
    }
    remove(&old)?;
    remove(&new)?;
    copy_folder(copy, &new)?;
    fs::rename(&new, &folder)?;
    sync()?;
    fs::remove_file(data.join(VIA_FILE))?;
    sync()?;
    remove(copy)
}

/// Calls `some` with all rows in order, some at a time.
fn each(
    db: &SledEngine,
    mut some: impl FnMut(Vec<crate::store::Row>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut next = Vec::new();
    loop {
        let page = db.range(&next, &[0xff; 16], AT_ONCE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        next = rows::behind(last.clone());
        some(page)?;
    }
}

/// The copy that counts, if one does.
fn named(data: &Path) -> Result<Option<PathBuf>, StartError> {
    match fs::read_to_string(data.join(VIA_FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => Ok(Some(PathBuf::from(read.map_err(|e| failed("looking for a copy of the database", e))?))),
    }
}

fn write_named(data: &Path, copy: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    let text = copy.to_str().ok_or_else(|| std::io::Error::other("the path is not UTF-8"))?;
    let new = data.join("db.via.new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, data.join(VIA_FILE))?;
    File::open(data)?.sync_all()
}

fn folder_of(copy: &Path) -> PathBuf {
    copy.parent().map(Path::to_owned).unwrap_or_default()
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a folder with its folders, durably.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), &place)?;
            File::open(&place)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

fn failed(doing: &'static str, source: std::io::Error) -> StartError {
    StoreError::Io { doing, source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data directory with a database of some rows.
    fn data_with(rows: u8) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let db = SledEngine::open(&database_folder(folder.path())).unwrap();
        let puts: Vec<_> = (0..rows).map(|n| Write::Put { key: vec![0x10, n], value: vec![n; 300] }).collect();
        db.apply(&puts).unwrap();
        db.sync().unwrap();
        folder
    }

    fn rows_of(data: &Path) -> usize {
        let db = SledEngine::open(&database_folder(data)).unwrap();
        db.range(&[0x10], &[0x11], AT_ONCE).unwrap().len()
    }

    #[test]
    fn a_compaction_via_another_disk_is_finished_from_any_step() {
        for stopped_at in 0..6 {
            let (data, via) = (data_with(200), tempfile::tempdir().unwrap());
            let (data, via, copy) = (data.path(), via.path(), via.path().join(COPY_FOLDER));
            copy_rows(data, via, &|_| {}).unwrap();
            let (db, old, new) = (database_folder(data), data.join(OLD_FOLDER), data.join(NEW_FOLDER));
            let steps: [&dyn Fn(); 5] = [
                &|| fs::rename(&db, &old).unwrap(),
                &|| fs::remove_file(old.join("db")).unwrap(),
                &|| remove(&old).unwrap(),
                &|| copy_folder(&copy, &new).unwrap(),
                &|| fs::rename(&new, &db).unwrap(),
            ];
            steps[..stopped_at].iter().for_each(|step| step());
            assert!(matches!(refuse_interrupted(data), Err(StartError::CompactionInterrupted(_))), "{stopped_at}");
            compact_via(data, via, &|_| {}).unwrap();
            refuse_interrupted(data).unwrap();
            assert_eq!(rows_of(data), 200, "stopped at step {stopped_at}");
            assert!(!copy.exists() && !old.exists() && !new.exists(), "something is left over");
            compact_via(data, via, &|_| {}).unwrap();
            assert_eq!(rows_of(data), 200);
        }
    }
}
