//! The root key in a file: see `private_file` for how it is replaced.
//!
//! The file is text: a line that names the format, then one line a key: `key <id> <epoch> <key>`, in hexadecimal.

use std::path::Path;
use std::sync::Mutex;

use zeroize::{Zeroize as _, Zeroizing};

use super::private_file::{Holds, MAX_FILE_BYTES, PrivateFile};
use super::{HeldKey, MediumClass, RootKey, RootKeyError, RootKeyId};
use crate::crypto::key_wrap;
use crate::crypto::secret::{Key, random_bytes};
use crate::domain::clock::Timestamp;
use crate::domain::codec;

const FORMAT: &str = "oubliette-root-key 1";
static ROOT_KEY: Holds = Holds { what: "root key", without: "nothing can be read" };

/// A root key in a file.
pub struct FileRootKey {
    file: PrivateFile,
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
        let provider = Self::at(path);
        let first = StoredKey::fresh(1);
        let id = first.held.id;
        provider.file.create(&render(&[first]))?;
        Ok((provider, id))
    }

    /// Opens an existing one; changes nothing, so that it may be opened before it is known whether another process uses it.
    pub fn open(path: &Path) -> Result<Self, RootKeyError> {
        let provider = Self::at(path);
        provider.read()?;
        Ok(provider)
    }

    fn at(path: &Path) -> Self {
        Self { file: PrivateFile::at(path, &ROOT_KEY), changing: Mutex::new(()) }
    }

    fn find(&self, id: RootKeyId) -> Result<Key, RootKeyError> {
        let found = self.read()?.into_iter().find(|stored| stored.held.id == id);
        found.map(|stored| stored.key).ok_or(RootKeyError::NoSuchKey { id })
    }

    fn read(&self) -> Result<Vec<StoredKey>, RootKeyError> {
        Ok(parse(&self.file.read()?).ok_or_else(|| self.file.malformed())?)
    }

    /// Changes the keys, after what an earlier change left was wiped.
    fn change(&self, change: impl FnOnce(&mut Vec<StoredKey>)) -> Result<(), RootKeyError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.file.wipe_leftover()?;
        let mut keys = self.read()?;
        let before = keys.len();
        change(&mut keys);
        if keys.len() == before { Ok(()) } else { Ok(self.file.write(&render(&keys))?) }
    }
}

impl RootKey for FileRootKey {
    fn name(&self) -> &'static str {
        "file"
    }

    fn medium(&self) -> MediumClass {
        MediumClass::File
    }

    /// At once: the bytes are overwritten when the destruction returns.
    fn final_at(&self, destroyed: Timestamp) -> Timestamp {
        destroyed
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
