//! Making a vault, and opening one: what start-up checks, and what it finishes.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::compact::via::refuse_interrupted;
use super::core::Core;
use super::format::{Layout, decode_format, encode_format};
use super::insiders::Insiders;
use super::jobs::Jobs;
use super::log::Log;
use super::pin::pinned;
use super::quota::{Rates, Reservations};
use super::row_mac::{CONTROL_ROWS, CONTROL_ROWS_OF_LAYOUT_1, row_mac};
use super::tree::{Pages, RootRow, Top, Tree, WrappedTop};
use super::writer::{TreeWriter, add_pages};
use super::{RootKeyPlace, Vault, VaultError, VaultLimits, VaultPaths, erasure, upgrade};
use crate::audit::note::Origin;
use crate::domain::codec::Decode;
use crate::keys::{Draft, EpochPlan, NodeId, PageSource, PageWrite, SourceError, View};
use crate::root_key::{
    FileRootKey, KeyFileError, Pin, Pkcs11RootKey, RootKey, RootKeyError, RootKeyId, SigningKeyFile,
};
use crate::store::{
    Batch, CommitError, Committer, CompactingEngine, ControlRows, Database, Mirrors, NotAsLogged, Objects, SledEngine,
    StoreError, check_control_rows, rows,
};

pub(super) const FIRST_EPOCH: u64 = 1;
/// The objects' directory, in that of the data and in a mirror.
pub(super) const OBJECTS: &str = "objects";

/// Why a vault cannot be made or opened. Says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key would stand in the data directory, or in a mirror.
    #[error(
        "the {what} {path} lies in {place} {data}: whoever gets the disk would get the key; put it elsewhere, best on another device"
    )]
    KeyInside {
        /// Which key.
        what: &'static str,
        /// Its path.
        path: String,
        /// In what.
        place: &'static str,
        /// Where that is.
        data: String,
    },
    /// The signing key is not the one that the log names.
    #[error(
        "the signing key at hand is not {named}, which the log names: put the newest signing key file back; if it is lost, run `oubliette signing-key replace`"
    )]
    WrongSigningKey {
        /// The key that the log names, as verifiers know it.
        named: String,
    },
    /// A root key would stand on the device of the data.
    #[error(
        "the root key {path} stands on the device of the data directory {data}: one image of that device would hold both, and no erasure would hold against it; put the key on another device, or accept that (root_key.may_share_device, init --may-share-device), and every receipt says so"
    )]
    SharesDevice {
        /// The key's path.
        path: String,
        /// The data directory.
        data: String,
    },
    /// The database does not contain the log that is remembered.
    #[error(
        "this database is an older copy, or was changed: its log has {found} entries, and does not contain the {pinned} of epoch {epoch} that the root key's medium remembers; put the newest data back; nothing was changed"
    )]
    RolledBack {
        /// How many entries it has.
        found: u64,
        /// How many it must have.
        pinned: u64,
        /// Of which epoch.
        epoch: u64,
    },
    /// The root key's medium remembers no log, though there were epochs.
    #[error(
        "the root key's medium remembers no log, and this database is of epoch {epoch}: the medium was written to past the service, or is not the one of this vault; put the right one back; nothing was changed"
    )]
    NoPin {
        /// The database's epoch.
        epoch: u64,
    },
    /// Control rows are not those that the log commits to.
    #[error(
        "integrity check failed: control rows (who was erased or is to be, roles, tokens, tenants, the digests of the key tree's pages, the root of the keys) do not match the audit log: a row was changed, added or removed past the service; keep a copy of the data directory, and restore from a mirror (oubliette restore); nothing was changed"
    )]
    NotAsLogged,
    /// The row of the root of the keys cannot be read.
    #[error(
        "damaged: the root of the key tree cannot be read; keep a copy of the data directory, and restore from a mirror (oubliette restore); nothing was changed"
    )]
    RootDamaged,
    /// The objects are not where they were.
    #[error(
        "{0}, where the content of recordings stands, is not there: mount its disk; if it is lost, restore from a mirror (oubliette restore), or copy the directory `objects` of a mirror there; nothing was changed"
    )]
    NoObjects(String),
    /// A restore would make a mirror of everything begin anew.
    #[error(
        "the mirror {0} has more than what is restored from, and would begin anew with less: restore from it alone (--from-mirror), or take it out of the configuration first (oubliette mirror remove); nothing was changed"
    )]
    MirrorHasMore(String),
    /// A mirror of everything cannot be looked at.
    #[error(
        "the mirror {0} is not there, and may have more than what is restored from: mount its disk, or take it out of the configuration first (oubliette mirror remove); nothing was changed"
    )]
    MirrorNotThere(String),
    /// There is a vault already.
    #[error("{0} holds a vault already: nothing was touched; choose another directory, or serve this one")]
    Exists(String),
    /// A compaction by way of another disk was interrupted.
    #[error(
        "a compaction by way of {0} was interrupted, and the database counts there: mount its disk, and run `oubliette compact --via {0}` again; it goes on where it was"
    )]
    CompactionInterrupted(String),
    /// There is no vault.
    #[error("{0} holds no vault: run `oubliette init` first, or name the right directory")]
    NoVault(String),
    /// The root key is not the one that the database names.
    #[error(
        "the root key at hand is {held_words}, the database was last sealed with key {named} of epoch {epoch}: put the newest root key file back (an older copy opens nothing)"
    )]
    WrongRootKey {
        /// What the provider holds.
        held_words: String,
        /// What the database names.
        named: RootKeyId,
        /// The database's epoch.
        epoch: u64,
    },
    /// Anything else.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<RootKeyError> for StartError {
    fn from(error: RootKeyError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<KeyFileError> for StartError {
    fn from(error: KeyFileError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Vault(error.into())
    }
}

impl StartError {
    /// Whether the store closed, for a write that failed, while it started: that may be over in a while.
    pub fn is_of_the_disk(&self) -> bool {
        let store = match self {
            Self::Vault(VaultError::Store(error) | VaultError::Commit(CommitError::Store(error))) => error,
            _ => return false,
        };
        matches!(store, StoreError::Full | StoreError::Closed)
    }
}

impl Vault {
    /// Makes a new vault: a root key where none is, a data directory where none is, the first epoch, the tenant `system`; and a log that is
    /// signed under the name `origin`.
    pub async fn create(paths: VaultPaths, limits: VaultLimits, origin: Origin) -> Result<Arc<Self>, StartError> {
        let (new_paths, new_limits) = (paths.clone(), limits.clone());
        on_a_thread(move || create(&new_paths, &new_limits, &origin)).await?;
        let vault = Self::open(paths, limits).await?;
        vault.create_system_tenant().await?;
        Ok(vault)
    }

    /// Opens a vault, and finishes what a crash interrupted: erasures first, before anything is served.
    pub async fn open(paths: VaultPaths, limits: VaultLimits) -> Result<Arc<Self>, StartError> {
        let core = on_a_thread(move || open(&paths, limits)).await?;
        Self::over(core).await
    }

    /// Has the log signed by a new key in the place of one that is lost. The vault must not be open. A repeat finishes what was interrupted.
    pub async fn replace_signing_key(paths: VaultPaths) -> Result<(), StartError> {
        on_a_thread(move || {
            refuse_keys_inside(&paths)?;
            refuse_interrupted(&paths.data)?;
            if !database_folder(&paths.data).is_dir() {
                return Err(StartError::NoVault(paths.data.display().to_string()));
            }
            let provider = open_provider(&paths.root_key)?;
            let db: Arc<dyn Database> = Arc::new(SledEngine::open(&database_folder(&paths.data))?);
            let Opened { control_rows, .. } = open_top(&paths, &db, provider.as_ref())?;
            let Some(file) = Log::file_to_replace(db.as_ref(), &paths.signing_key)? else { return Ok(()) };
            let committer = Committer::start(Arc::clone(&db), Mirrors::none(), control_rows)?;
            Log::replace(&committer, db.as_ref(), &file)?;
            committer.close();
            Ok(())
        })
        .await
    }

    /// The vault over an opened core.
    pub(super) async fn over(core: Arc<Core>) -> Result<Arc<Self>, StartError> {
        core.objects.sweep_staged().await?;
        core.copy_objects();
        let frozen = Arc::clone(&core);
        on_a_thread(move || Ok(frozen.freeze_as_stored()?)).await?;
        let writer = TreeWriter::start(Arc::clone(&core))?;
        let vault = Self {
            core,
            writer,
            in_flight: Arc::default(),
            reclaiming: Default::default(),
            publishing: Default::default(),
            administering: Default::default(),
            mended: Default::default(),
        };
        vault.sweep_uploads().await?;
        Ok(Arc::new(vault))
    }

    /// Whether writes are taken. After a failed one none are, and so nothing is read, until the vault is opened anew.
    pub fn takes_writes(&self) -> bool {
        self.core.committer.is_open() && !self.core.db.has_failed()
    }

    /// Waits until everything acknowledged is durable, and refuses writes from then on.
    pub async fn close(&self) {
        if let Err(error) = self.keep_pin().await {
            tracing::warn!(%error, "the end of the log was not remembered beside the root key");
        }
        self.core.wait_for_copies().await;
        let committer = self.core.committer.clone();
        // The thread is gone only if the whole runtime is.
        drop(tokio::task::spawn_blocking(move || committer.close()).await);
        self.core.mark_copies().await;
    }
}

pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StartError::Vault(VaultError::Stopping)))
}

fn create(paths: &VaultPaths, limits: &VaultLimits, origin: &Origin) -> Result<(), StartError> {
    refuse_keys_inside(paths)?;
    refuse_shared_device(paths)?;
    let data = paths.data.display().to_string();
    if std::fs::read_dir(&paths.data).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(StartError::Exists(data));
    }
    let (provider, root_key) = create_provider(paths)?;
    let signing_key = SigningKeyFile::create(&paths.signing_key)?;
    let db: Arc<dyn Database> = Arc::new(SledEngine::open(&database_folder(&paths.data))?);
    let pages = Pages::new(Arc::clone(&db), Layout::NEWEST);
    let EpochPlan { writes, top } = Draft::create(&pages, limits.leaf_entries).into_epoch();
    let system = View::new(&Planned(&writes), &top).system().map_err(VaultError::from)?;
    let control_rows = ControlRows::unchecked(db.as_ref(), row_mac(&system, CONTROL_ROWS))?;
    let committer = Committer::start(db, Mirrors::none(), control_rows)?;
    let mut batch = Batch::new();
    batch.put(rows::format(), encode_format());
    let top = WrappedTop::wrap(provider.as_ref(), root_key, FIRST_EPOCH, &top)?;
    batch.put(rows::root(), RootRow { top, previous: None }.encode());
    add_pages(&mut batch, writes);
    Objects::open(&paths.data.join(OBJECTS))?;
    Log::begin(&mut batch, origin.clone(), &signing_key)?;
    committer.commit_blocking(batch).map_err(VaultError::from)?;
    committer.close();
    Ok(())
}

fn open(paths: &VaultPaths, limits: VaultLimits) -> Result<Arc<Core>, StartError> {
    refuse_keys_inside(paths)?;
    refuse_interrupted(&paths.data)?;
    if !database_folder(&paths.data).is_dir() {
        return Err(StartError::NoVault(paths.data.display().to_string()));
    }
    refuse_shared_device(paths)?;
    let provider = open_provider(&paths.root_key)?;
    let signing_key = SigningKeyFile::open(&paths.signing_key)?;
    // From here on no other process has the data, nor what a crash left beside the root key.
    let db = CompactingEngine::open(&paths.data, &database_folder(&paths.data), limits.database_cache_bytes)?;
    let db = Arc::new(db);
    assemble(paths, limits, db, provider, signing_key)
}

/// Opens the tree in `db` under the root key, upgrades an earlier layout, and finishes erasures.
pub(super) fn assemble(
    paths: &VaultPaths,
    limits: VaultLimits,
    db: Arc<dyn Database>,
    provider: Arc<dyn RootKey>,
    signing_key: SigningKeyFile,
) -> Result<Arc<Core>, StartError> {
    let core = core_over(paths, limits, db, provider, signing_key)?;
    upgrade::run(&core)?;
    erasure::recover(&core)?;
    Ok(core)
}

/// Opens a vault to look at it, and changes nothing: no layout is upgraded, no erasure is finished, no pin is set, no mirror is written to.
pub(super) fn inspect(paths: &VaultPaths, limits: VaultLimits) -> Result<Arc<Core>, StartError> {
    let paths = VaultPaths { mirrors: Vec::new(), ..paths.clone() };
    let provider = open_provider(&paths.root_key)?;
    let signing_key = SigningKeyFile::open(&paths.signing_key)?;
    let db = Arc::new(SledEngine::open(&database_folder(&paths.data))?);
    core_over(&paths, limits, db, provider, signing_key)
}

fn core_over(
    paths: &VaultPaths,
    limits: VaultLimits,
    db: Arc<dyn Database>,
    provider: Arc<dyn RootKey>,
    signing_key: SigningKeyFile,
) -> Result<Arc<Core>, StartError> {
    let Opened { top, pin, pages, control_rows } = open_top(paths, &db, provider.as_ref())?;
    let log = Log::open(signing_key, db.as_ref())?;
    let mirrors = Mirrors::start(paths.mirrors.clone(), &db)?;
    let jobs = Jobs::new(&top.system);
    Ok(Arc::new(Core {
        committer: Committer::start(Arc::clone(&db), mirrors, control_rows)?,
        objects: open_objects(&paths.data)?,
        provider,
        tree: Tree::new(pages, top),
        log,
        pinning: Mutex::new(pin.map_or(0, |pin| pin.size)),
        fences: Arc::default(),
        wrapping: Arc::default(),
        erasures: tokio::sync::watch::Sender::new(0),
        reservations: Reservations::default(),
        rates: Rates::default(),
        insiders: Insiders::default(),
        checked: Default::default(),
        jobs,
        damage: Default::default(),
        limits,
        data: paths.data.clone(),
        db,
    }))
}

/// The objects of a vault that is there. A directory that is not is no empty one: its disk may not be mounted.
fn open_objects(data: &Path) -> Result<Objects, StartError> {
    let dir = data.join(OBJECTS);
    if dir.is_dir() { Ok(Objects::open(&dir)?) } else { Err(StartError::NoObjects(dir.display().to_string())) }
}

/// What [`open_top`] opens.
struct Opened {
    top: Top,
    pin: Option<Pin>,
    pages: Pages,
    control_rows: ControlRows,
}

/// Opens the top of the tree in `db`, after everything was checked that can be before anything is written, here or to a mirror: the root key,
/// the pinned log, and the control rows.
fn open_top(paths: &VaultPaths, db: &Arc<dyn Database>, provider: &dyn RootKey) -> Result<Opened, StartError> {
    let no_vault = || StartError::NoVault(paths.data.display().to_string());
    let layout = decode_format(&db.get(&rows::format())?.ok_or_else(no_vault)?).map_err(|error| match error {
        Decode::Damaged { .. } => {
            StoreError::Damaged { what: "the row with the version of the database's layout" }.into()
        }
        newer => VaultError::from(newer),
    })?;
    let row = db.get(&rows::root())?.ok_or_else(no_vault)?;
    let row = RootRow::decode(&row).map_err(|_| StartError::RootDamaged)?;
    refuse_wrong_root_key(provider, &row.top)?;
    let pin = pinned(provider, db.as_ref(), row.top.epoch)?;
    let key = row.top.unwrap(provider)?;
    let pages = Pages::new(Arc::clone(db), layout);
    let top = Top::open(row, key, &pages)?;
    let mac = row_mac(&top.system, CONTROL_ROWS);
    let of_layout_1 = (layout == Layout::First).then(|| row_mac(&top.system, CONTROL_ROWS_OF_LAYOUT_1));
    let pinned = pin.map(|pin| (pin.size, pin.root));
    let checked = check_control_rows(db.as_ref(), &mac, of_layout_1.as_ref(), pinned)?;
    let control_rows = checked.map_err(|NotAsLogged| StartError::NotAsLogged)?;
    Ok(Opened { top, pin, pages, control_rows })
}

/// The pages of a plan, before they stand anywhere.
struct Planned<'a>(&'a [PageWrite]);

impl PageSource for Planned<'_> {
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.iter().find(|write| write.id == id).and_then(|write| write.sealed.clone()))
    }
}

pub(super) fn database_folder(data: &Path) -> PathBuf {
    data.join("db")
}

fn create_provider(paths: &VaultPaths) -> Result<(Arc<dyn RootKey>, RootKeyId), StartError> {
    Ok(match &paths.root_key {
        RootKeyPlace::File { paths, may_share_device } => {
            let (provider, first) = FileRootKey::create(paths, *may_share_device)?;
            (Arc::new(provider), first)
        }
        RootKeyPlace::Pkcs11(place) => {
            let (provider, first) = Pkcs11RootKey::create(place.clone())?;
            (Arc::new(provider), first)
        }
    })
}

fn open_provider(place: &RootKeyPlace) -> Result<Arc<dyn RootKey>, StartError> {
    Ok(match place {
        RootKeyPlace::File { paths, .. } => Arc::new(FileRootKey::open(paths)?),
        RootKeyPlace::Pkcs11(place) => Arc::new(Pkcs11RootKey::open(place.clone())?),
    })
}

/// The files of keys, each with what it holds.
fn key_files(paths: &VaultPaths) -> Vec<(&'static str, &Path)> {
    let mut files = vec![("signing key", paths.signing_key.as_path())];
    match &paths.root_key {
        RootKeyPlace::File { paths, .. } => files.extend(paths.iter().map(|path| ("root key", path.as_path()))),
        RootKeyPlace::Pkcs11(place) => files.push(("PIN of the security module", &place.pin_file)),
    }
    files
}

/// Refuses a key in the data directory or in a mirror. Compares the real paths, so that neither `..` nor a symbolic link hides one.
pub(super) fn refuse_keys_inside(paths: &VaultPaths) -> Result<(), StartError> {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    let mirrors = || paths.mirrors.iter().map(|mirror| ("the mirror", &mirror.directory));
    for (what, path) in key_files(paths) {
        // The folder, where the key is replaced; and the key itself, which may be a link into the data.
        let places = [real(folder_of(path)), real(path)];
        let holds_it =
            |data: &PathBuf| real(data).is_ok_and(|data| places.iter().flatten().any(|place| place.starts_with(&data)));
        let mut copied = std::iter::once(("the data directory", &paths.data)).chain(mirrors());
        if let Some((place, data)) = copied.find(|(_, data)| holds_it(data)) {
            let (path, data) = (path.display().to_string(), data.display().to_string());
            return Err(StartError::KeyInside { what, path, place, data });
        }
    }
    Ok(())
}

impl VaultPaths {
    /// A root key's file on the device of the data, so that one image would hold both. Where nothing stands yet, the folder above tells the
    /// device.
    pub fn root_key_beside_data(&self) -> Option<&Path> {
        let RootKeyPlace::File { paths, .. } = &self.root_key else { return None };
        let data = device_of(&self.data);
        paths.iter().find(|path| device_of(path) == data).map(PathBuf::as_path)
    }
}

/// Refuses a root key on the device of the data, unless that was accepted.
fn refuse_shared_device(paths: &VaultPaths) -> Result<(), StartError> {
    match (&paths.root_key, paths.root_key_beside_data()) {
        (RootKeyPlace::File { may_share_device: false, .. }, Some(path)) => {
            let (path, data) = (path.display().to_string(), paths.data.display().to_string());
            Err(StartError::SharesDevice { path, data })
        }
        _ => Ok(()),
    }
}

/// The device of the nearest thing that exists on the way up from `path`.
fn device_of(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find_map(|place| place.metadata().ok()).map(|about| about.dev())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refuse_wrong_root_key(provider: &dyn RootKey, row: &WrappedTop) -> Result<(), StartError> {
    let held = provider.held()?;
    if held.iter().any(|key| key.id == row.root_key) {
        return Ok(());
    }
    let words = held.iter().map(|key| format!("key {} of epoch {}", key.id, key.epoch)).collect::<Vec<_>>();
    Err(StartError::WrongRootKey { held_words: words.join(" and "), named: row.root_key, epoch: row.epoch })
}
