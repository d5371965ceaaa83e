//! One replica of the root key: a file of six pages of 4,096 bytes, each a text of its own, filled up with spaces.
//!
//! | page | what |
//! |---|---|
//! | 0, 5 | the head, twice: format, the replica's own id, all replicas with the paths they were made at, how many were lost; the newer counts |
//! | 1, 2 | a key each, or nothing |
//! | 3, 4 | the pin: the newer of the two counts |
//!
//! A page is overwritten in place and synced, so a destroyed key is overwritten where it stood, and no copy of it lies in a file that has
//! no name any more. A power cut while a page is written spoils that page and no other: what was cut does not match its check sum, and
//! counts as not there; neither the key nor the head that counts is ever on the page that is written.
//!
//! The format before had one head, without a check sum, and no page 5. It is read, and gets its second head with its next change. Once a
//! replica was retired, the head names it too (format 4), so that a repeat of the command is known as one.

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

const FORMAT: &str = "oubliette-root-key 3";
/// The format of a head that names retired replicas.
const WITH_RETIRED: &str = "oubliette-root-key 4";
/// The format before this one.
const ONE_HEAD: &str = "oubliette-root-key 2";
const PAGE_BYTES: usize = 4096;
const PAGES: usize = 6;
const PAGES_WITH_ONE_HEAD: usize = 5;
/// The newer head is never on the page that is written.
const HEADS: [usize; 2] = [0, 5];
const FIRST_KEY: usize = 1;
const FIRST_PIN: usize = 3;
/// The most replicas.
pub(super) const MAX_REPLICAS: usize = 8;
/// The most retired replicas that are remembered; the eldest are forgotten.
pub(super) const MAX_RETIRED: usize = 8;

static ROOT_KEY: Holds = Holds { what: "root key", without: "nothing can be read" };

/// The name of a replica.
pub(super) type ReplicaId = [u8; 16];

/// What every replica knows of all of them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Family {
    /// How often it was changed: of two that differ, the higher is newer.
    pub serial: u64,
    /// Each with the path at which it was made.
    pub members: Vec<(ReplicaId, PathBuf)>,
    /// How many were retired that nobody saw destroyed.
    pub lost: u32,
    /// Those that were retired last, the newest at the end.
    pub retired: Vec<ReplicaId>,
}

impl Family {
    pub fn has(&self, id: ReplicaId) -> bool {
        self.members.iter().any(|(member, _)| *member == id)
    }
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
    /// The pages of the head, the one that may be overwritten first.
    heads: [usize; 2],
}

/// A replica.
pub(super) struct Replica {
    pub path: PathBuf,
}

impl Replica {
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Whether the file was reserved and nothing was written into it yet.
    pub fn is_blank(&self) -> bool {
        let blank = (0..PAGES).flat_map(|_| filled("").to_vec()).collect::<Vec<_>>();
        let is_as_long = self.path.metadata().is_ok_and(|about| about.is_file() && about.len() == blank.len() as u64);
        is_as_long && std::fs::read(&self.path).is_ok_and(|bytes| bytes == blank)
    }

    /// Removes a reserved file, durably.
    pub fn release(&self) -> Result<(), KeyFileError> {
        let removed = std::fs::remove_file(&self.path).and_then(|()| File::open(self.folder())?.sync_all());
        removed.map_err(|source| self.io("removing what an interrupted command left", source))
    }

    /// Writes a new file, which must not exist.
    pub fn create(&self, id: ReplicaId, family: &Family, key: &StoredKey) -> Result<(), KeyFileError> {
        self.reserve()?;
        self.fill(id, family, key)
    }

    /// Takes the name with a file of the full length and nothing in it: what may be in the way of making it is met before anything hangs
    /// on it.
    pub fn reserve(&self) -> Result<(), KeyFileError> {
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        let file = opened.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => KeyFileError::Exists { of: &ROOT_KEY, path: self.path.clone() },
            _ => self.io("making it", source),
        })?;
        let written = (0..PAGES)
            .try_for_each(|page| file.write_all_at(&filled(""), (page * PAGE_BYTES) as u64))
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(self.folder())?.sync_all());
        written.map_err(|source| {
            // There is no key in it; and what is in the way is said by the error that is returned.
            let _ = std::fs::remove_file(&self.path);
            self.io("writing it", source)
        })
    }

    /// Writes what a reserved file is for; the key last.
    pub fn fill(&self, id: ReplicaId, family: &Family, key: &StoredKey) -> Result<(), KeyFileError> {
        self.write_heads(HEADS, id, family)?;
        self.write_key(0, key)
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
        // In between where the power was cut while the second head was added.
        let length = usize::try_from(about.len()).unwrap_or(usize::MAX);
        if !about.is_file() || !(PAGES_WITH_ONE_HEAD * PAGE_BYTES..=PAGES * PAGE_BYTES).contains(&length) {
            return Err(self.malformed());
        }
        let mut bytes = Zeroizing::new(vec![b' '; PAGES * PAGE_BYTES]);
        file.read_exact(&mut bytes[..length]).map_err(|source| self.io("reading it", source))?;
        // A page that was cut need not be text; it is then as one whose check sum does not match.
        let page = |number: usize| {
            let text = std::str::from_utf8(&bytes[number * PAGE_BYTES..(number + 1) * PAGE_BYTES]);
            text.unwrap_or("?").trim_end()
        };
        let [first, second] = HEADS.map(|number| parse_head(page(number)));
        let serial = |head: &Option<(ReplicaId, Family)>| head.as_ref().map(|(_, family)| family.serial);
        let second_is_newer = serial(&second) > serial(&first);
        let newer = if second_is_newer { second } else { first };
        let (id, family) = newer.ok_or_else(|| self.malformed())?;
        Ok(Content {
            id,
            family,
            heads: if second_is_newer { HEADS } else { [HEADS[1], HEADS[0]] },
            keys: [0, 1].map(|slot| parse_key(page(FIRST_KEY + slot))),
            is_free: [0, 1].map(|slot| page(FIRST_KEY + slot).is_empty()),
            pins: [0, 1].map(|slot| parse_pin(page(FIRST_PIN + slot))),
        })
    }

    /// Overwrites what every replica knows of all of them.
    pub fn write_family(&self, content: &Content, family: &Family) -> Result<(), KeyFileError> {
        self.write_heads(content.heads, content.id, family)
    }

    /// Both, so that either of them can be lost later on.
    fn write_heads(&self, pages: [usize; 2], id: ReplicaId, family: &Family) -> Result<(), KeyFileError> {
        let head = render_head(id, family);
        pages.into_iter().try_for_each(|page| self.write_page(page, &head, "changing the list of replicas"))
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

    /// In which it stands.
    pub fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
    let mut said = format!("serial {}\nthis {}\nlost {}", family.serial, hex(&id), family.lost);
    for id in &family.retired {
        said.push_str(&format!("\nretired {}", hex(id)));
    }
    for (id, path) in &family.members {
        said.push_str(&format!("\nreplica {} {}", hex(id), path.display()));
    }
    let format = if family.retired.is_empty() { FORMAT } else { WITH_RETIRED };
    format!("{format}\nhead {} {said}", check_sum(&said))
}

fn parse_head(text: &str) -> Option<(ReplicaId, Family)> {
    let (format, rest) = text.split_once('\n')?;
    let (serial, rest) = match format {
        FORMAT | WITH_RETIRED => {
            let (serial, rest) = checked(rest, "head ")?.split_once('\n')?;
            (serial.strip_prefix("serial ")?.parse().ok()?, rest)
        }
        ONE_HEAD => (0, rest),
        _ => return None,
    };
    let mut lines = rest.lines().peekable();
    let id = unhex(lines.next()?.strip_prefix("this ")?)?;
    let lost = lines.next()?.strip_prefix("lost ")?.parse().ok()?;
    let mut retired = Vec::new();
    while let Some(line) = lines.next_if(|line| format == WITH_RETIRED && line.starts_with("retired ")) {
        retired.push(unhex(line.strip_prefix("retired ")?)?);
    }
    let member = |line: &str| {
        let (id, path) = line.strip_prefix("replica ")?.split_once(' ')?;
        Some((unhex(id)?, PathBuf::from(path)))
    };
    let members = lines.map(member).collect::<Option<Vec<_>>>()?;
    let family = Family { serial, members, lost, retired };
    (family.has(id) && family.members.len() <= MAX_REPLICAS && family.retired.len() <= MAX_RETIRED)
        .then_some((id, family))
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
