//! The key that signs the log, in a file: see `private_file` for how it is replaced.
//!
//! The file is text: a line that names the format, then one line a key: `key <seed>`, in hexadecimal. There are two while
//! one replaces the other; which of them counts, the log says.

use std::path::Path;
use std::sync::Mutex;

use zeroize::{Zeroize as _, Zeroizing};

use super::private_file::{Holds, KeyFileError, MAX_FILE_BYTES, PrivateFile};
use crate::crypto::secret::Key;
use crate::crypto::sign::{PUBLIC_KEY_BYTES, SigningKey};
use crate::domain::codec;

const FORMAT: &str = "oubliette-signing-key 1";
static SIGNING_KEY: Holds = Holds { what: "signing key", without: "no receipt can be given" };

/// A file with the key that signs the log.
pub struct SigningKeyFile {
    file: PrivateFile,
    /// Changes of the file are made one at a time.
    changing: Mutex<()>,
}

impl SigningKeyFile {
    /// Writes a first key to a file that must not exist.
    pub fn create(path: &Path) -> Result<Self, KeyFileError> {
        let file = Self::at(path);
        file.file.create(&render(&[Key::random()]))?;
        Ok(file)
    }

    /// Opens an existing one; changes nothing.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        let file = Self::at(path);
        file.read()?;
        Ok(file)
    }

    /// The keys in it.
    pub fn keys(&self) -> Result<Vec<SigningKey>, KeyFileError> {
        Ok(self.read()?.iter().map(SigningKey::from_seed).collect())
    }

    /// Adds a fresh key, durably.
    pub fn stage(&self) -> Result<SigningKey, KeyFileError> {
        let seed = Key::random();
        let key = SigningKey::from_seed(&seed);
        self.change(|seeds| seeds.push(seed))?;
        Ok(key)
    }

    /// Destroys every key but the one with this public key, which must be there.
    pub fn keep_only(&self, public: &[u8; PUBLIC_KEY_BYTES]) -> Result<(), KeyFileError> {
        self.change(|seeds| seeds.retain(|seed| SigningKey::from_seed(seed).public() == public))
    }

    fn at(path: &Path) -> Self {
        Self { file: PrivateFile::at(path, &SIGNING_KEY), changing: Mutex::new(()) }
    }

    fn read(&self) -> Result<Vec<Key>, KeyFileError> {
        parse(&self.file.read()?).ok_or_else(|| self.file.malformed())
    }

    /// Changes the keys, after what an earlier change left was wiped.
    fn change(&self, change: impl FnOnce(&mut Vec<Key>)) -> Result<(), KeyFileError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.file.wipe_leftover()?;
        let mut seeds = self.read()?;
        let before = seeds.len();
        change(&mut seeds);
        if seeds.len() == before || seeds.is_empty() {
            return Ok(());
        }
        self.file.write(&render(&seeds))
    }
}

fn render(seeds: &[Key]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
    text.push_str(FORMAT);
    text.push('\n');
    for seed in seeds {
        let seed = Zeroizing::new(codec::hex(seed.expose()));
        text.push_str("key ");
        text.push_str(&seed);
        text.push('\n');
    }
    text
}

fn parse(text: &str) -> Option<Vec<Key>> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    (lines.next()? == FORMAT).then_some(())?;
    let seeds = lines.map(parse_seed).collect::<Option<Vec<_>>>()?;
    (!seeds.is_empty()).then_some(seeds)
}

fn parse_seed(line: &str) -> Option<Key> {
    let mut bytes: [u8; 32] = codec::unhex(line.strip_prefix("key ")?)?;
    let key = Key::copy_of(&bytes);
    bytes.zeroize();
    Some(key)
}
