//! One replica of the root key: a file of five pages of 4,096 bytes, each a text of its own, filled up with spaces.
//!
//! | page | what |
//! |---|---|
//! | 0 | format, the replica's own id, all replicas with the paths they were made at, how many were lost |
//! | 1, 2 | a key each, or nothing |
//! | 3, 4 | the pin: the newer of the two counts |
//!
//! A page is overwritten in place and synced, so a destroyed key is overwritten where it stood, and no copy of it lies in a file that has
//! no name any more. A power cut while a page is written spoils that page and no other: a key or a pin that was cut does not match
//! its check sum, and counts as not there; the key that counts is never on the page that is written.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::{Zeroize as _, Zeroizing};

use crate::crypto::hash::sha256;
use crate::crypto::secret::Key;
use crate::domain::codec::{hex, unhex};
use crate::root_key::private_file::{Holds, KeyFileError};
use crate::root_key::{HeldKey, Pin, RootKeyId};

const FORMAT: &str = "oubliette-root-key 2";
const PAGE_BYTES: usize = 4096;
const PAGES: usize = 5;
const FIRST_KEY: usize = 1;
const FIRST_PIN: usize = 3;
/// The most replicas.
pub(super) const MAX_REPLICAS: usize = 8;

static ROOT_KEY: Holds = Holds { what: "root key", without: "nothing can be read" };

/// The name of a replica.
pub(super) type ReplicaId = [u8; 16];

/// What every replica knows of all of them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Family {
    /// Each with the path at which it was made.
    pub members: Vec<(ReplicaId, PathBuf)>,
    /// How many were retired that nobody saw destroyed.
    pub lost: u32,
}

/// A key as it stands in a file.
pub(super) struct StoredKey {
    pub held: HeldKey,
    pub key: Key,
}

/// What stands in a replica.
pub(super) struct Content {
    pub id: ReplicaId,
    pub family: Family,
    /// What stands on the two pages for keys: a page with anything on it is not free.
    pub keys: [Option<StoredKey>; 2],
    pub is_free: [bool; 2],
    pub pins: [Option<Pin>; 2],
}

/// A replica.
pub(super) struct Replica {
    pub path: PathBuf,
}

impl Replica {
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Writes a new file, which must not exist.
    pub fn create(&self, id: ReplicaId, family: &Family, key: &StoredKey) -> Result<(), KeyFileError> {
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        let file = opened.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => KeyFileError::Exists { of: &ROOT_KEY, path: self.path.clone() },
            _ => self.io("making it", source),
        })?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = |page: usize, text: &str| file.write_all_at(&filled(text), (page * PAGE_BYTES) as u64);
        (0..PAGES)
            .try_for_each(|page| write(page, ""))
            .and_then(|()| write(0, &render_head(id, family)))
            .and_then(|()| write(FIRST_KEY, &render_key(key)))
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|source| self.io("writing it", source))
    }

    /// Reads it, after opening it afresh.
    pub fn read(&self) -> Result<Content, KeyFileError> {
        let path = || self.path.clone();
        let mut file = File::open(&self.path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => KeyFileError::Missing { of: &ROOT_KEY, path: path() },
            _ => self.io("opening it", source),
        })?;
        let about = file.metadata().map_err(|source| self.io("looking at it", source))?;
        if about.mode() & 0o077 != 0 {
            return Err(KeyFileError::TooOpen { path: path() });
        }
        if !about.is_file() || about.len() != (PAGES * PAGE_BYTES) as u64 {
            return Err(self.malformed());
        }
        let mut bytes = Zeroizing::new(vec![0; PAGES * PAGE_BYTES]);
        file.read_exact(&mut bytes).map_err(|source| self.io("reading it", source))?;
        // A page that was cut need not be text; it is then as one whose check sum does not match.
        let page = |number: usize| {
            let text = std::str::from_utf8(&bytes[number * PAGE_BYTES..(number + 1) * PAGE_BYTES]);
            text.unwrap_or("?").trim_end()
        };
        let (id, family) = parse_head(page(0)).ok_or_else(|| self.malformed())?;
        Ok(Content {
            id,
            family,
            keys: [0, 1].map(|slot| parse_key(page(FIRST_KEY + slot))),
            is_free: [0, 1].map(|slot| page(FIRST_KEY + slot).is_empty()),
            pins: [0, 1].map(|slot| parse_pin(page(FIRST_PIN + slot))),
        })
    }

    /// Overwrites what every replica knows of all of them.
    pub fn write_family(&self, id: ReplicaId, family: &Family) -> Result<(), KeyFileError> {
        self.write_page(0, &render_head(id, family), "changing the list of replicas")
    }

    /// Writes a key onto one of the two pages.
    pub fn write_key(&self, slot: usize, key: &StoredKey) -> Result<(), KeyFileError> {
        self.write_page(FIRST_KEY + slot, &render_key(key), "writing the new key")
    }

    /// Overwrites the key on one of the two pages.
    pub fn wipe_key(&self, slot: usize) -> Result<(), KeyFileError> {
        self.write_page(FIRST_KEY + slot, "", "overwriting the old key")
    }

    /// Writes a pin onto one of the two pages.
    pub fn write_pin(&self, slot: usize, pin: &Pin) -> Result<(), KeyFileError> {
        self.write_page(FIRST_PIN + slot, &render_pin(pin), "writing the pin")
    }

    fn write_page(&self, page: usize, text: &str, action: &'static str) -> Result<(), KeyFileError> {
        // Only a file that is there: a medium that is gone must not come back as a file of its own.
        let file = OpenOptions::new().write(true).open(&self.path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => KeyFileError::Missing { of: &ROOT_KEY, path: self.path.clone() },
            _ => self.io(action, source),
        })?;
        let written = file.write_all_at(&filled(text), (page * PAGE_BYTES) as u64);
        written.and_then(|()| file.sync_data()).map_err(|source| self.io(action, source))
    }

    fn malformed(&self) -> KeyFileError {
        KeyFileError::Malformed { of: &ROOT_KEY, path: self.path.clone() }
    }

    fn io(&self, action: &'static str, source: std::io::Error) -> KeyFileError {
        KeyFileError::Io { of: &ROOT_KEY, path: self.path.clone(), action, source }
    }
}

/// A page with `text` on it, and nothing of what stood there.
fn filled(text: &str) -> Zeroizing<Vec<u8>> {
    let mut page = Zeroizing::new(vec![b' '; PAGE_BYTES]);
    page[..text.len()].copy_from_slice(text.as_bytes());
    page[PAGE_BYTES - 1] = b'\n';
    page
}

/// The first eight digits of a hash of `text`: tells a page that was cut.
fn check_sum(text: &str) -> String {
    hex(&sha256(text.as_bytes())[..4])
}

fn render_head(id: ReplicaId, family: &Family) -> String {
    let mut text = format!("{FORMAT}\nthis {}\nlost {}\n", hex(&id), family.lost);
    for (id, path) in &family.members {
        text.push_str(&format!("replica {} {}\n", hex(id), path.display()));
    }
    text
}

fn parse_head(text: &str) -> Option<(ReplicaId, Family)> {
    let mut lines = text.lines();
    (lines.next()? == FORMAT).then_some(())?;
    let id = unhex(lines.next()?.strip_prefix("this ")?)?;
    let lost = lines.next()?.strip_prefix("lost ")?.parse().ok()?;
    let member = |line: &str| {
        let (id, path) = line.strip_prefix("replica ")?.split_once(' ')?;
        Some((unhex(id)?, PathBuf::from(path)))
    };
    let members = lines.map(member).collect::<Option<Vec<_>>>()?;
    let is_one_of_them = members.iter().any(|(member, _)| *member == id) && members.len() <= MAX_REPLICAS;
    is_one_of_them.then_some((id, Family { members, lost }))
}

fn render_key(stored: &StoredKey) -> Zeroizing<String> {
    let secret = Zeroizing::new(hex(stored.key.expose()));
    let mut said = Zeroizing::new(String::with_capacity(256));
    for word in [&stored.held.id.to_string(), " ", &stored.held.epoch.to_string(), " ", &secret] {
        said.push_str(word);
    }
    let mut line = Zeroizing::new(String::with_capacity(256));
    for word in ["key ", &check_sum(&said), " ", &said] {
        line.push_str(word);
    }
    line
}

fn parse_key(line: &str) -> Option<StoredKey> {
    let said = checked(line, "key ")?;
    let mut words = said.split(' ');
    let id = RootKeyId(unhex(words.next()?)?);
    let epoch = words.next()?.parse().ok()?;
    let mut bytes: [u8; 32] = unhex(words.next()?)?;
    let key = Key::copy_of(&bytes);
    bytes.zeroize();
    words.next().is_none().then_some(StoredKey { held: HeldKey { id, epoch }, key })
}

fn render_pin(pin: &Pin) -> String {
    format!("pin {} {pin}", check_sum(&pin.to_string()))
}

fn parse_pin(line: &str) -> Option<Pin> {
    Pin::parse(checked(line, "pin ")?)
}

/// What stands behind the check sum, if it matches.
fn checked<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    let (sum, said) = line.strip_prefix(begin)?.split_once(' ')?;
    (check_sum(said) == sum).then_some(said)
}
