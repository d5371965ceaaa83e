//! The root key in a file, 0600, outside the data directory.
//!
//! The file is text: a line that names the format, then one line a key: `key <id> <epoch> <key>`, in hexadecimal. Every change
//! writes a new file beside it (`.new`), fsyncs it, exchanges the two, fsyncs the folder, and overwrites the old file, which now has the
//! name `.new`, before letting go of it. So the old bytes have a name until they are gone: whatever stands at `.new` after a crash or a
//! failure is never the key that counts, and is overwritten by the next change. What the disk under it keeps in spite of that, only the
//! disk knows: see the manual.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use zeroize::{Zeroize as _, Zeroizing};

use super::{HeldKey, MediumClass, RootKey, RootKeyError, RootKeyId};
use crate::crypto::key_wrap;
use crate::crypto::secret::{Key, random_bytes};
use crate::domain::codec;

const FORMAT: &str = "oubliette-root-key 1";
/// Longer files are not ours: two keys take about 300 bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// A root key in a file.
pub struct FileRootKey {
    path: PathBuf,
    /// Changes of the file are made one at a time.
    changing: Mutex<()>,
}

struct StoredKey {
    held: HeldKey,
    key: Key,
}

impl FileRootKey {
    /// Writes the first root key to a file that must not exist, for epoch 1.
    pub fn create(path: &Path) -> Result<(Self, RootKeyId), RootKeyError> {
        if path.exists() {
            return Err(RootKeyError::Exists { path: path.to_owned() });
        }
        let provider = Self::at(path);
        let first = StoredKey::fresh(1);
        let id = first.held.id;
        // Twice: the second time the file is exchanged, and a file system that cannot do so is found now and not by the first erasure.
        let keys = [first];
        provider.write(&keys).and_then(|()| provider.write(&keys))?;
        Ok((provider, id))
    }

    /// Opens an existing one; changes nothing, so that it may be opened before it is known whether another process uses it.
    pub fn open(path: &Path) -> Result<Self, RootKeyError> {
        let provider = Self::at(path);
        provider.read()?;
        Ok(provider)
    }

    fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), changing: Mutex::new(()) }
    }

    fn successor(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        PathBuf::from(name)
    }

    fn find(&self, id: RootKeyId) -> Result<Key, RootKeyError> {
        let found = self.read()?.into_iter().find(|stored| stored.held.id == id);
        found.map(|stored| stored.key).ok_or(RootKeyError::NoSuchKey { id })
    }

    fn read(&self) -> Result<Vec<StoredKey>, RootKeyError> {
        let path = || self.path.clone();
        let mut file = File::open(&self.path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => RootKeyError::Missing { path: path() },
            _ => self.io("opening it", source),
        })?;
        let metadata = file.metadata().map_err(|source| self.io("looking at it", source))?;
        if metadata.mode() & 0o077 != 0 {
            return Err(RootKeyError::TooOpen { path: path() });
        }
        if metadata.len() > MAX_FILE_BYTES || !metadata.is_file() {
            return Err(RootKeyError::Malformed { path: path() });
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
        file.read_to_string(&mut text).map_err(|_| RootKeyError::Malformed { path: path() })?;
        parse(&text).ok_or(RootKeyError::Malformed { path: path() })
    }

    /// Puts a file with these keys in the place of the present one. When it returns, that is durable and the old bytes are gone.
    fn write(&self, keys: &[StoredKey]) -> Result<(), RootKeyError> {
        let successor = self.successor();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&successor)
            .map_err(|source| self.io("writing its successor", source))?;
        file.write_all(render(keys).as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| self.take_place(&successor))
            .and_then(|()| self.sync_folder())
            .map_err(|source| self.io("replacing it", source))?;
        self.wipe_leftover()
    }

    /// Gives the successor its place; what stood there gets the successor's name.
    fn take_place(&self, successor: &Path) -> std::io::Result<()> {
        match renameat_with(CWD, successor, CWD, &self.path, RenameFlags::EXCHANGE) {
            // There is no key yet.
            Err(Errno::NOENT) => fs::rename(successor, &self.path),
            exchanged => exchanged.map_err(std::io::Error::from),
        }
    }

    /// Overwrites and removes what stands beside the key: a successor that did not take its place, or the one whose place was taken.
    fn wipe_leftover(&self) -> Result<(), RootKeyError> {
        let failed = |source| self.io("wiping the old file", source);
        let leftover = self.successor();
        let file = match OpenOptions::new().write(true).open(&leftover) {
            Ok(file) => file,
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(failed(source)),
        };
        wipe(&file).and_then(|()| fs::remove_file(&leftover)).and_then(|()| self.sync_folder()).map_err(failed)
    }

    fn sync_folder(&self) -> std::io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn io(&self, action: &'static str, source: std::io::Error) -> RootKeyError {
        RootKeyError::Io { path: self.path.clone(), action, source }
    }

    /// Changes the keys, after what an earlier change left was wiped.
    fn change(&self, change: impl FnOnce(&mut Vec<StoredKey>)) -> Result<(), RootKeyError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.wipe_leftover()?;
        let mut keys = self.read()?;
        let before = keys.len();
        change(&mut keys);
        if keys.len() == before { Ok(()) } else { self.write(&keys) }
    }
}

impl RootKey for FileRootKey {
    fn name(&self) -> &'static str {
        "file"
    }

    fn medium(&self) -> MediumClass {
        MediumClass::File
    }

    fn held(&self) -> Result<Vec<HeldKey>, RootKeyError> {
        Ok(self.read()?.into_iter().map(|stored| stored.held).collect())
    }

    fn stage(&self, epoch: u64) -> Result<RootKeyId, RootKeyError> {
        let fresh = StoredKey::fresh(epoch);
        let id = fresh.held.id;
        self.change(|keys| keys.push(fresh))?;
        Ok(id)
    }

    fn wrap(&self, id: RootKeyId, associated_data: &[u8], top: &Key) -> Result<Vec<u8>, RootKeyError> {
        Ok(key_wrap::wrap(&self.find(id)?, associated_data, top).to_vec())
    }

    fn unwrap(&self, id: RootKeyId, associated_data: &[u8], wrapped: &[u8]) -> Result<Key, RootKeyError> {
        let root = self.find(id)?;
        key_wrap::unwrap(&root, associated_data, wrapped).map_err(|_| RootKeyError::CannotUnwrap { id })
    }

    fn keep_only(&self, id: RootKeyId) -> Result<(), RootKeyError> {
        self.find(id)?;
        self.change(|keys| keys.retain(|stored| stored.held.id == id))
    }
}

impl StoredKey {
    fn fresh(epoch: u64) -> Self {
        Self { held: HeldKey { id: RootKeyId(random_bytes()), epoch }, key: Key::random() }
    }
}

fn render(keys: &[StoredKey]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
    text.push_str(FORMAT);
    text.push('\n');
    for stored in keys {
        let secret = Zeroizing::new(codec::hex(stored.key.expose()));
        text.push_str("key ");
        text.push_str(&stored.held.id.to_string());
        text.push(' ');
        text.push_str(&stored.held.epoch.to_string());
        text.push(' ');
        text.push_str(&secret);
        text.push('\n');
    }
    text
}

fn parse(text: &str) -> Option<Vec<StoredKey>> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    (lines.next()? == FORMAT).then_some(())?;
    let keys = lines.map(parse_key).collect::<Option<Vec<_>>>()?;
    (!keys.is_empty()).then_some(keys)
}

fn parse_key(line: &str) -> Option<StoredKey> {
    let mut words = line.split(' ');
    (words.next()? == "key").then_some(())?;
    let id = RootKeyId(codec::unhex(words.next()?)?);
    let epoch = words.next()?.parse().ok()?;
    let mut bytes: [u8; 32] = codec::unhex(words.next()?)?;
    let key = Key::copy_of(&bytes);
    bytes.zeroize();
    words.next().is_none().then_some(StoredKey { held: HeldKey { id, epoch }, key })
}

/// Overwrites a file's bytes in place and waits for the disk.
fn wipe(mut file: &File) -> std::io::Result<()> {
    let length = usize::try_from(file.metadata()?.len().min(MAX_FILE_BYTES)).unwrap_or(0);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&vec![0; length])?;
    file.sync_all()
}
