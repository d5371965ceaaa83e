//! Getting the data back from a mirror, and content from a backup.
//!
//! What decides, and all keys, come from the mirror, which has everything that was acknowledged: so nobody erased comes back, no revoked
//! token, and no shorter log. A backup gives content only, and of it only what the mirror's keys still open. The restored data is
//! opened like any other before it takes its place: a log that is not the pinned one, or a top key that does not open, refuses it.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_stream::StreamExt as _;

use super::format::Head;
use super::start::{OBJECTS, StartError, database_folder, inspect, on_a_thread, refuse_keys_inside};
use super::verify::Verified;
use super::{Sort, Vault, VaultLimits, VaultPaths, erasure};
use crate::domain::ids::{Handle, TenantId};
use crate::store::mirror::{self, Backup, MirrorContent};
use crate::store::{Database, Objects, SledEngine, StoreError, Write, rows};

/// Where the data is restored, in the data directory, before it takes its place.
const RESTORING: &str = "restoring";
/// Rows taken over in one go.
const AT_ONCE: usize = 1024;
/// How long a backup waits until the mirror has the objects of the last groups.
const MARK_PATIENCE: Duration = Duration::from_secs(10);

/// Where the data is restored from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreFrom {
    /// The newest mirror.
    pub mirror: PathBuf,
    /// A backup, for the content that the mirror does not have.
    pub backup: Option<PathBuf>,
}

/// What a restore does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreStep {
    /// Rows are read; so many bytes by now.
    Rows(u64),
    /// Objects are copied; so many by now.
    Objects(u64),
    /// Records are opened; so many by now.
    Records(u64),
}

/// What a restore brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The epoch of the keys.
    pub epoch: u64,
    /// The entries of the log.
    pub log_entries: u64,
    /// Rows of content that came from the backup.
    pub rows_of_backup: u64,
    /// Whether the mirror or backup with the content says that it has every object that its rows name.
    pub had_all_objects: bool,
    /// What opens, and what could not be brought back.
    pub verified: Verified,
}

/// What a backup does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupStep {
    /// Objects are compared and copied; so many by now.
    Objects(u64),
    /// Of the rows so many bytes are there, of so many.
    Rows {
        /// Bytes that are there.
        done: u64,
        /// Bytes that there are to be.
        all: u64,
    },
}

/// What a backup holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// Objects.
    pub objects: u64,
    /// Bytes of rows.
    pub row_bytes: u64,
    /// Whether it has every object that its rows name.
    pub is_complete: bool,
}

/// Brings the backup in `to` up to the mirror in `from`, while the mirror is written to. Nothing is touched before both were looked at. Objects
/// that the mirror does not have any more, because they were erased, stay in the backup unless it `prunes`: a mirror whose objects are lost
/// must not empty a backup. Refused where the mirror does not have every object that its rows name.
pub async fn backup(
    from: &Path,
    to: &Path,
    prunes: bool,
    progress: impl Fn(BackupStep) + Clone + Send + 'static,
) -> Result<BackedUp, StoreError> {
    backup_as(from, to, BackupRules { prunes, allows_incomplete: false }, progress).await
}

/// What a backup may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackupRules {
    /// Whether objects that the mirror does not have are removed from the backup.
    pub prunes: bool,
    /// Whether a mirror is copied that does not have every object that its rows name.
    pub allows_incomplete: bool,
}

/// As [`backup`], by these rules.
pub async fn backup_as(
    from: &Path,
    to: &Path,
    rules: BackupRules,
    progress: impl Fn(BackupStep) + Clone + Send + 'static,
) -> Result<BackedUp, StoreError> {
    let mut done = BackedUp::default();
    let is_whole = |content: &MirrorContent| content.sort == Sort::Whole;
    let content = mirror::content(from)?.filter(is_whole);
    let begun = content.ok_or_else(|| StoreError::NoMirror { path: from.to_owned() })?.groups;
    let complete = async |group: u64| {
        let mirror = from.to_owned();
        let is_complete = on_blocking(move || mirror::wait_for_objects(&mirror, group, MARK_PATIENCE)).await?;
        let incomplete = || StoreError::MirrorIncomplete { path: from.to_owned() };
        if is_complete || rules.allows_incomplete { Ok(is_complete) } else { Err(incomplete()) }
    };
    complete(begun).await?;
    let mut rows = Backup::begin(from, to)?;
    // Objects first: a record's row comes after its objects, so that what the rows name is there.
    let (objects, copies) = (Objects::open_existing(&from.join(OBJECTS))?, Objects::open(&to.join(OBJECTS))?);
    let copied = objects.copy_all(&copies, |_| {
        done.objects += 1;
        progress(BackupStep::Objects(done.objects));
    });
    copied.await?;
    if rules.prunes {
        objects.delete_missing(&copies, |_| std::future::ready(Ok(false))).await?;
    }
    let told = progress.clone();
    let copy = move || {
        let mut row_bytes = 0;
        let until = rows.copy_rows(|bytes, all| {
            row_bytes = bytes;
            told(BackupStep::Rows { done: bytes, all });
        })?;
        Ok((rows, until, row_bytes))
    };
    let (rows, until, row_bytes) = on_blocking(copy).await?;
    done.row_bytes = row_bytes;
    // Rows that came meanwhile name objects that came meanwhile.
    done.is_complete = complete(until).await?;
    objects.copy_all(&copies, |_| {}).await?;
    if done.is_complete {
        on_blocking(move || rows.mark_objects()).await?;
    }
    Ok(done)
}

async fn on_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Stopping))
}

impl Vault {
    /// Restores the data directory, which must be empty or not there, and opens every record once. Nothing takes its place before it was
    /// opened under the root key and found to contain the pinned log. Nothing is changed elsewhere: what erasures are still owed is done
    /// at the next start.
    pub async fn restore(
        paths: VaultPaths,
        limits: VaultLimits,
        from: RestoreFrom,
        progress: impl Fn(RestoreStep) + Clone + Send + 'static,
    ) -> Result<Restored, StartError> {
        refuse_keys_inside(&paths)?;
        refuse_what_is_there(&paths.data)?;
        refuse_to_lose_a_mirror(&paths, &from)?;
        let was_there = paths.data.is_dir();
        let inside = paths.data.join(RESTORING);
        remove(&inside)?;
        let restored = restore_inside(&paths, &inside, limits, &from, &progress).await;
        let data = paths.data.clone();
        on_a_thread(move || {
            let done = match restored {
                Ok(restored) => place(&inside, &data).map(|()| restored).map_err(StartError::from),
                Err(error) => Err(error),
            };
            if done.is_err() && !database_folder(&data).is_dir() {
                remove(&inside)?;
                if !was_there {
                    remove(&data)?;
                }
            }
            done
        })
        .await
    }
}

/// Refuses to restore where something is. What an earlier restore left that was interrupted is in the way of nothing.
fn refuse_what_is_there(data: &Path) -> Result<(), StartError> {
    let is_interrupted = data.join(RESTORING).is_dir() && !database_folder(data).exists();
    let in_the_way = |name: &OsStr| {
        let left = is_interrupted && (name == OBJECTS || name == RESTORING || erasure::is_mark(name));
        !left && name != "lost+found"
    };
    let entries = match std::fs::read_dir(data) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|source| StoreError::Io { doing: "looking at the data directory", source })?,
    };
    for entry in entries {
        let entry = entry.map_err(|source| StoreError::Io { doing: "looking at the data directory", source })?;
        if in_the_way(&entry.file_name()) {
            return Err(StartError::Exists(data.display().to_string()));
        }
    }
    Ok(())
}

/// Puts what was restored in its place: the objects first, since the database's folder says that there is a vault. Within the directory, which
/// may be a disk of its own.
fn place(inside: &Path, data: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Io { doing: "moving the restored data to its place", source };
    remove(&data.join(OBJECTS))?;
    erasure::mark_restored(data)?;
    for (from, to) in [(inside.join(OBJECTS), data.join(OBJECTS)), (database_folder(inside), database_folder(data))] {
        std::fs::rename(from, to).and_then(|()| std::fs::File::open(data)?.sync_all()).map_err(failed)?;
    }
    remove(inside)
}

/// What is restored can have less content than a mirror of everything has, which then would begin anew with it. Rows are compared by their
/// groups. Objects need no comparison: whatever another mirror of everything has more of them is restored too (`restore_objects`), so a mirror
/// whose objects are not complete loses nothing that another one holds.
fn refuse_to_lose_a_mirror(paths: &VaultPaths, from: &RestoreFrom) -> Result<(), StartError> {
    let source = mirror::content(&from.mirror)?.filter(|content| content.sort == Sort::Whole);
    let source = source.filter(|_| from.backup.is_none());
    let whole = paths.mirrors.iter().filter(|mirror| mirror.sort == Sort::Whole);
    for other in whole.filter(|mirror| source.is_none() || mirror.directory != from.mirror) {
        let name = || other.directory.display().to_string();
        if !mirror::is_made(&other.directory) {
            return Err(StartError::MirrorNotThere(name()));
        }
        let has = mirror::content(&other.directory)?.filter(|content| content.sort == Sort::Whole);
        if has.is_some_and(|has| source.is_none_or(|source| has.groups > source.groups)) {
            return Err(StartError::MirrorHasMore(name()));
        }
    }
    Ok(())
}

async fn restore_inside(
    paths: &VaultPaths,
    inside: &Path,
    limits: VaultLimits,
    from: &RestoreFrom,
    progress: &(impl Fn(RestoreStep) + Clone + Send + 'static),
) -> Result<Restored, StartError> {
    let (folder, source, told) = (inside.to_owned(), from.clone(), progress.clone());
    let mirrors: Vec<PathBuf> = paths.mirrors.iter().map(|mirror| mirror.directory.clone()).collect();
    let rows = move || restore_rows(&folder, &source, &mirrors, &told).map_err(StartError::from);
    let rows_of_backup = on_a_thread(rows).await?;
    let has_all_objects = restore_objects(paths, inside, from, progress).await?;
    let restored = look_and_verify(paths, inside, limits, rows_of_backup, progress).await?;
    Ok(Restored { had_all_objects: has_all_objects, ..restored })
}

fn remove(folder: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(StoreError::Io { doing: "removing what an earlier restore left", source: error })
        }
        _ => Ok(()),
    }
}

/// All rows of the mirror, and those of content that only the backup has; returns how many of these.
fn restore_rows(
    folder: &Path,
    from: &RestoreFrom,
    mirrors: &[PathBuf],
    progress: &impl Fn(RestoreStep),
) -> Result<u64, StoreError> {
    let db = SledEngine::open(&database_folder(folder))?;
    let (sort, at) = mirror::read_back(&from.mirror, &db, |bytes| progress(RestoreStep::Rows(bytes)))?;
    let mut taken = 0;
    if let Some(backup) = &from.backup {
        let scratch = folder.join("backup");
        let older = SledEngine::open(&scratch)?;
        mirror::read_back(backup, &older, |bytes| progress(RestoreStep::Rows(bytes)))?;
        for kind in rows::CONTENT {
            taken += take_over(&older, &db, kind)?;
        }
        drop(older);
        remove(&scratch)?;
    }
    // Others may have got something of the last moments that this one did not.
    let groups = || mirrors.iter().filter_map(|mirror| mirror::content(mirror).ok()?).map(|content| content.groups);
    if taken > 0 || sort == Sort::Keys || groups().any(|groups| groups > at.sequence) {
        // What stands here now no mirror has: they begin anew.
        let here = at.behind_all(groups());
        db.apply(&[Write::Put { key: rows::position(), value: here.encode() }])?;
    }
    db.sync()?;
    Ok(taken)
}

/// The rows of a kind that are in `from`, not in `to`, and of a record whose key `to` has.
fn take_over(from: &dyn Database, to: &dyn Database, kind: rows::Kind) -> Result<u64, StoreError> {
    let (mut next, end) = rows::all(kind);
    let mut taken = 0;
    loop {
        let some = from.range(&next, &end, AT_ONCE)?;
        let Some((last, _)) = some.last() else { return Ok(taken) };
        next = rows::behind(last.clone());
        let mut writes = Vec::new();
        for (key, value) in some {
            if to.get(&key)?.is_none() && has_key(from, to, kind, &key)? {
                writes.push(Write::Put { key, value });
            }
        }
        taken += writes.len() as u64;
        to.apply(&writes)?;
    }
}

/// Whether the revision that a row belongs to has a key still, or any of the record that it finds. Uploads that were not complete are not taken over.
fn has_key(from: &dyn Database, to: &dyn Database, kind: rows::Kind, key: &[u8]) -> Result<bool, StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged { what: "a row of the backup" };
    let tenant = key.get(1..17).and_then(|id| id.try_into().ok()).map(TenantId).ok_or(DAMAGED)?;
    match kind {
        rows::Kind::Record => {
            let (record, revision, _) = rows::parse_record_piece(key).ok_or(DAMAGED)?;
            let first = from.get(&rows::record_piece(tenant, record, revision, 0))?;
            let Some(first) = first else { return Ok(false) };
            let (head, _) = Head::decode(&first).map_err(|_| DAMAGED)?;
            Ok(to.get(&rows::secret(head.handle, record, revision))?.is_some())
        }
        // Behind its key stands the handle.
        rows::Kind::Index => {
            let record = rows::parse_index(key).ok_or(DAMAGED)?;
            let handle = from.get(key)?.and_then(|row| row.first_chunk().copied()).map(Handle).ok_or(DAMAGED)?;
            let (begin, end) = rows::record_secrets(handle, record);
            Ok(!to.range(&begin, &end, 1)?.is_empty())
        }
        _ => Ok(false),
    }
}

/// The objects of records whose keys are there: from the mirror, and what it does not have from the backup and from the other mirrors of
/// everything in the configuration. Their names are random and their content is sealed, so a foreign object restores nothing. Returns whether
/// the copy with the content says that it has all.
async fn restore_objects(
    paths: &VaultPaths,
    folder: &Path,
    from: &RestoreFrom,
    progress: &impl Fn(RestoreStep),
) -> Result<bool, StartError> {
    let path = database_folder(folder);
    let db = on_a_thread(move || Ok(Arc::new(SledEngine::open(&path)?))).await?;
    let to = Objects::open(&folder.join(OBJECTS))?;
    let mut count = 0;
    let others = paths.mirrors.iter().filter(|other| other.sort == Sort::Whole && other.directory != from.mirror);
    let named = std::iter::once(&from.mirror).chain(&from.backup).map(|source| (source, true));
    for (source, is_named) in named.chain(others.map(|other| (&other.directory, false))) {
        let source = source.join(OBJECTS);
        if !source.is_dir() {
            continue;
        }
        let source = Objects::open(&source)?;
        let mut objects = source.list_all();
        while let Some(listed) = objects.next().await {
            let (name, _) = listed?;
            let (first, end) = rows::record_secrets(name.handle(), name.record());
            if !db.range(&first, &end, 1)?.is_empty() {
                match source.copy(&to, name).await {
                    // What it was to add is named as missing, if it is.
                    Err(error) if !is_named => tracing::warn!(%error, "another mirror's object was not copied"),
                    copied => copied?,
                }
            }
            count += 1;
            progress(RestoreStep::Objects(count));
        }
    }
    let content = from.backup.clone().unwrap_or_else(|| from.mirror.clone());
    on_a_thread(move || {
        let content = mirror::content(&content)?;
        Ok(content.is_some_and(|content| content.sort == Sort::Whole && content.has_all_objects()))
    })
    .await
}

async fn look_and_verify(
    paths: &VaultPaths,
    folder: &Path,
    limits: VaultLimits,
    rows_of_backup: u64,
    progress: &impl Fn(RestoreStep),
) -> Result<Restored, StartError> {
    let paths = VaultPaths { data: folder.to_owned(), ..paths.clone() };
    let core = on_a_thread(move || inspect(&paths, limits)).await?;
    let verified = core.verify(|records| progress(RestoreStep::Records(records))).await;
    let (epoch, log_entries) = (core.tree.top().row.top.epoch, core.committer.log().size());
    let committer = core.committer.clone();
    drop(core);
    on_a_thread(move || {
        committer.close();
        Ok(())
    })
    .await?;
    Ok(Restored { epoch, log_entries, rows_of_backup, had_all_objects: false, verified: verified? })
}
