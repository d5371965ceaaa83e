//! The log as others see it: the ledger under its Merkle tree, signed. Which key signs it, the ledger itself says.

use std::path::Path;
use std::sync::{PoisonError, RwLock};

use super::core::Core;
use super::start::StartError;
use super::{Vault, VaultError};
use crate::audit::note::{Origin, VerifierKey};
use crate::audit::{Entry, Event, NO_TENANT};
use crate::crypto::sign::SigningKey;
use crate::domain::clock::Timestamp;
use crate::root_key::SigningKeyFile;
use crate::store::{Batch, Committer, Database, StoreError, rows};

/// The most keys that are told; the eldest are left out.
const MAX_KEYS: usize = 256;

impl Vault {
    /// Enters into the ledger which policy decides from now on (the SHA-256 of its text), or that one was refused.
    pub async fn note_policy(&self, text_sha256: [u8; 32], is_accepted: bool) -> Result<(), VaultError> {
        let event = Event::Policy { text_sha256, is_accepted };
        self.core.record(Entry { at: Timestamp::now(), tenant: NO_TENANT, caller: None, event }).await
    }
}

impl Vault {
    /// Enters into the ledger how many calls came without a valid login, by reason.
    pub async fn note_failed_logins(&self, reasons: Vec<(&'static str, u32)>, sources: u32) -> Result<(), VaultError> {
        let mut batch = Batch::new();
        for (reason, count) in reasons {
            let event = Event::AuthenticationFailed { reason: reason.to_owned(), count, sources };
            let entry = Entry { at: Timestamp::now(), tenant: NO_TENANT, caller: None, event };
            batch.append(entry.encode().to_vec());
        }
        self.core.committer.commit(batch).await?;
        Ok(())
    }
}

/// What signs the log.
pub(super) struct Log {
    pub origin: Origin,
    file: SigningKeyFile,
    key: RwLock<SigningKey>,
}

/// A key that the ledger names.
struct NamedKey {
    position: u64,
    key: VerifierKey,
    previous: Option<u64>,
}

impl Log {
    /// Adds the entry that names the first key of a new log to `batch`.
    pub fn begin(batch: &mut Batch, name: Origin, file: &SigningKeyFile) -> Result<(), VaultError> {
        let key = VerifierKey { name, public: newest(file)? };
        add_key(batch, &key, None);
        Ok(())
    }

    /// Takes the key that the ledger names, and destroys what a rotation that was interrupted left beside it.
    pub fn open(file: SigningKeyFile, db: &dyn Database) -> Result<Self, StartError> {
        let VerifierKey { name: origin, public } = NamedKey::newest(db)?.key;
        let mut keys = file.keys()?;
        let Some(at) = keys.iter().position(|key| *key.public() == public) else {
            let named = VerifierKey { name: origin, public }.to_string();
            return Err(StartError::WrongSigningKey { named });
        };
        let key = keys.swap_remove(at);
        file.keep_only(&public)?;
        Ok(Self { origin, file, key: RwLock::new(key) })
    }

    /// The file with the key that is to be named in the place of a lost one: a new file, or the one that an interrupted attempt left, whose key the
    /// log has never named. `None` where the log names its key already. Refused where it holds a key that the log has given up.
    pub fn file_to_replace(db: &dyn Database, path: &Path) -> Result<Option<SigningKeyFile>, VaultError> {
        if !path.exists() {
            return Ok(Some(SigningKeyFile::create(path)?));
        }
        let file = SigningKeyFile::open(path)?;
        let found = newest(&file)?;
        let named = named_keys(db)?;
        match named.iter().position(|key| key.public == found) {
            Some(0) => Ok(None),
            None => Ok(Some(file)),
            // An older key, from a copy: it is not signed with again. The same words as before: the file is in the way.
            Some(_) => Ok(Some(SigningKeyFile::create(path)?)),
        }
    }

    /// Names the newest key in `file` instead of one that is lost.
    pub fn replace(committer: &Committer, db: &dyn Database, file: &SigningKeyFile) -> Result<(), VaultError> {
        let lost = NamedKey::newest(db)?;
        let mut batch = Batch::new();
        batch.require_value(rows::log_key(), lost.position.to_be_bytes());
        add_key(&mut batch, &VerifierKey { name: lost.key.name, public: newest(file)? }, Some(lost.position));
        committer.commit_blocking(batch)?;
        Ok(())
    }

    /// Makes use of the key that signs now.
    pub fn with_key<T>(&self, make_use: impl FnOnce(&SigningKey) -> T) -> T {
        make_use(&self.key.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Core {
    /// The public keys that have signed the log, the newest first.
    pub fn log_keys(&self) -> Result<Vec<VerifierKey>, VaultError> {
        named_keys(self.db.as_ref())
    }

    /// Has the log signed by a fresh key from now on; the old one is destroyed. Whatever it signed still verifies under its public key.
    pub fn rotate_log_key(&self) -> Result<(), VaultError> {
        let named = NamedKey::newest(self.db.as_ref())?;
        let mut signs = self.log.key.write().unwrap_or_else(PoisonError::into_inner);
        // What an attempt that failed left.
        self.log.file.keep_only(&named.key.public)?;
        let fresh = self.log.file.stage()?;
        let mut batch = Batch::new();
        batch.require_value(rows::log_key(), named.position.to_be_bytes());
        let key = VerifierKey { name: named.key.name, public: *fresh.public() };
        add_key(&mut batch, &key, Some(named.position));
        self.committer.commit_blocking(batch)?;
        *signs = fresh;
        Ok(self.log.file.keep_only(&key.public)?)
    }
}

/// The keys that the log has named, the newest first.
fn named_keys(db: &dyn Database) -> Result<Vec<VerifierKey>, VaultError> {
    let NamedKey { key, mut previous, .. } = NamedKey::newest(db)?;
    let mut keys = vec![key];
    while let Some(position) = previous.filter(|_| keys.len() < MAX_KEYS) {
        let named = NamedKey::at(db, position)?;
        keys.push(named.key);
        previous = named.previous;
    }
    Ok(keys)
}

fn newest(file: &SigningKeyFile) -> Result<[u8; 32], VaultError> {
    let keys = file.keys()?;
    keys.last().map(|key| *key.public()).ok_or(VaultError::damaged("the signing key's file"))
}

fn add_key(batch: &mut Batch, key: &VerifierKey, previous: Option<u64>) {
    let event = Event::LogKey { origin: key.name.as_str().to_owned(), public: key.public, previous };
    let entry = Entry { at: Timestamp::now(), tenant: NO_TENANT, caller: None, event };
    batch.append_named(rows::log_key(), entry.encode().to_vec());
}

impl NamedKey {
    /// The key that signs the log.
    fn newest(db: &dyn Database) -> Result<Self, VaultError> {
        let position = db.get(&rows::log_key())?.and_then(|at| at.try_into().ok()).map(u64::from_be_bytes);
        Self::at(db, position.ok_or(StoreError::Damaged { what: "the name of the signing key" })?)
    }

    /// The key that the entry at `position` names.
    fn at(db: &dyn Database, position: u64) -> Result<Self, VaultError> {
        let damaged = || VaultError::damaged("the entry that names a signing key");
        let entry = db.get(&rows::ledger(position))?.ok_or_else(damaged)?;
        let Event::LogKey { origin, public, previous } = Entry::decode(&entry)?.event else { return Err(damaged()) };
        if previous.is_some_and(|before| before >= position) {
            return Err(damaged());
        }
        let name = Origin::parse(&origin).ok_or_else(damaged)?;
        Ok(Self { position, key: VerifierKey { name, public }, previous })
    }
}
