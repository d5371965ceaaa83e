//! The keys outside the data directory: the one root key, which wraps exactly one key, the top key of the key tree; and the key that signs
//! the log, which wraps nothing.
//!
//! A provider holds one root key, and during an epoch two: the current one and the staged next one. It never decides which of them
//! counts: the database names it. A staged key is used for one epoch or destroyed; it is never used again.

mod file;
mod pkcs11;
mod private_file;
mod signing_key;

use std::fmt;
use std::path::PathBuf;

pub use file::{FileRootKey, ReplicaStatus};
#[cfg(test)]
pub(crate) use pkcs11::softhsm;
pub use pkcs11::{Pkcs11Place, Pkcs11RootKey};
pub use private_file::{Holds, KeyFileError};
pub use signing_key::SigningKeyFile;

use crate::crypto::secret::Key;
use crate::domain::clock::Timestamp;
use crate::domain::codec;
pub use crate::domain::erasure::MediumClass;

/// The name of a root key: random, shown in messages and receipts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootKeyId(pub [u8; 16]);

impl fmt::Display for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&codec::hex(&self.0))
    }
}

impl fmt::Debug for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKeyId({self})")
    }
}

/// A key that a provider holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldKey {
    /// Its name.
    pub id: RootKeyId,
    /// The epoch for which it was staged.
    pub epoch: u64,
}

/// What a provider remembers of the log, outside of the data: a database that does not contain it is an older one, or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// The epoch.
    pub epoch: u64,
    /// How many entries the log has.
    pub size: u64,
    /// The root of their Merkle tree.
    pub root: [u8; 32],
}

/// As providers write it: epoch, entries, root.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.epoch, self.size, codec::hex(&self.root))
    }
}

impl Pin {
    /// Reads what `Display` writes; `None` for anything else.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (epoch, size) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let root = codec::unhex(words.next()?)?;
        words.next().is_none().then_some(Self { epoch, size, root })
    }
}

/// Holds the root key.
pub trait RootKey: Send + Sync {
    /// The provider's name, for receipts.
    fn name(&self) -> &'static str;

    /// Of which class its medium is.
    fn medium(&self) -> MediumClass;

    /// From when on a key that was destroyed at `destroyed` cannot come back any more.
    fn final_at(&self, destroyed: Timestamp) -> Timestamp;

    /// The keys that it holds, after opening the medium afresh.
    fn held(&self) -> Result<Vec<HeldKey>, RootKeyError>;

    /// Makes a fresh key for `epoch` under a random name, durably.
    fn stage(&self, epoch: u64) -> Result<RootKeyId, RootKeyError>;

    /// Wraps a top key, bound to `associated_data`.
    fn wrap(&self, id: RootKeyId, associated_data: &[u8], top: &Key) -> Result<Vec<u8>, RootKeyError>;

    /// Unwraps a top key.
    fn unwrap(&self, id: RootKeyId, associated_data: &[u8], wrapped: &[u8]) -> Result<Key, RootKeyError>;

    /// Whether any key at the medium opens this, whatever its name: a copy under another name is not among those that are held, and so what
    /// is asked by name is no proof that a key is gone.
    fn opens(&self, associated_data: &[u8], wrapped: &[u8]) -> Result<bool, RootKeyError>;

    /// Destroys for good every key but this one, which must be there, and whatever an earlier destruction left undone. Held keys are
    /// looked at afterwards with [`RootKey::held`]; this alone is no proof.
    fn keep_only(&self, id: RootKeyId) -> Result<(), RootKeyError>;

    /// The newest pin; `None` if there never was one.
    fn pin(&self) -> Result<Option<Pin>, RootKeyError>;

    /// Remembers a pin, durably.
    fn set_pin(&self, pin: &Pin) -> Result<(), RootKeyError>;

    /// The devices of this machine on which keys stand, `None` for one that cannot be told; none at all where the medium is no device of it.
    fn devices(&self) -> Vec<Option<u64>>;

    /// How many copies of root keys were lost, so that nobody can say that they are destroyed.
    fn lost_replicas(&self) -> Result<u32, RootKeyError>;
}

/// What can go wrong with a root key. Says what to do; never shows a key.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The key that is asked for is not there.
    #[error("the root key {id} is not at the provider")]
    NoSuchKey {
        /// The key that is asked for.
        id: RootKeyId,
    },
    /// A staged key is there already.
    #[error("the provider holds a staged key already; it is destroyed before another is made")]
    StagedAlready,
    /// More replicas than are allowed, none, or one twice.
    #[error("a root key stands in 1 to {limit} different files: change root_key.path and root_key.replicas")]
    TooManyReplicas {
        /// How many there may be.
        limit: usize,
    },
    /// A replica is not there.
    #[error(
        "the replica {path} of the root key cannot be used, and no erasure is final without it: put it back, or retire it by name (oubliette root-key status, oubliette root-key retire)"
    )]
    ReplicaMissing {
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot be used.
        source: Box<KeyFileError>,
    },
    /// A replica is known and not configured.
    #[error(
        "the root key has a replica, made at {path}, that root_key.replicas does not name: name it, or retire it (oubliette root-key status, oubliette root-key retire)"
    )]
    ReplicaNotConfigured {
        /// Where it was made.
        path: PathBuf,
    },
    /// A replica does not belong to the others.
    #[error(
        "{path} is no replica of this root key, or an older copy of one: put the right file there, or remove it and make one with `oubliette root-key add`"
    )]
    ReplicaOfOthers {
        /// Where it is.
        path: PathBuf,
    },
    /// A replica has not the key that counts.
    #[error(
        "the replica {path} does not have the root key {id}: it is an older copy; remove it, retire it, and make another with `oubliette root-key add`"
    )]
    ReplicaStale {
        /// Where it is.
        path: PathBuf,
        /// The key that counts.
        id: RootKeyId,
    },
    /// No replica has this name.
    #[error("no replica of the root key has the id {id}: `oubliette root-key status` lists them")]
    NoSuchReplica {
        /// What was named.
        id: String,
    },
    /// A replica that is there cannot be retired as if it were lost.
    #[error("the replica {id} is at hand: take it out of root_key.replicas first, and destroy its medium")]
    ReplicaAtHand {
        /// Which one.
        id: String,
    },
    /// The file system would keep destroyed keys.
    #[error(
        "the root key {path} would stand on {file_system}, which never overwrites in place: every key that is destroyed would stay on that disk, and no erasure would hold against who gets it; put it on another file system (ext4, XFS, FAT) or in a security module, or accept that (root_key.may_share_device, init --may-share-device)"
    )]
    KeepsOverwritten {
        /// Where it would be.
        path: PathBuf,
        /// On what.
        file_system: &'static str,
    },
    /// The token has a root key under this label.
    #[error(
        "the token has a root key labelled {label:?} already: a root key is never made where one is; choose another label"
    )]
    TokenHasKey {
        /// The label.
        label: String,
    },
    /// The token has no root key under this label.
    #[error(
        "the token {token:?} has no root key labelled {label:?}: name the right token and label, or restore the token from its own backup; without it nothing can be read"
    )]
    TokenHasNoKey {
        /// The label.
        label: String,
        /// The token.
        token: String,
    },
    /// There is no such token.
    #[error("the security module has no token {token:?}: connect it, or name the right one in root_key.token")]
    NoSuchToken {
        /// The token.
        token: String,
    },
    /// More objects than could be ours.
    #[error("the token has more than {limit} objects under our label: nothing was touched; find out who makes them")]
    TooManyObjects {
        /// How many are looked at.
        limit: usize,
    },
    /// More keys of the token than are tried.
    #[error(
        "the token {token:?} has more than {limit} AES keys, too many to try each on what the old root key wrapped, so no erasure is called final: give the vault a token of its own"
    )]
    TooManyKeys {
        /// The token.
        token: String,
        /// How many are tried.
        limit: usize,
    },
    /// A key is or was outside of the module.
    #[error(
        "the root key {id} in token {token:?} is not {lacks}: somebody may have a copy of it, and its destruction would prove nothing; find out who put it there, and remove it if the database does not name it (a vault that was made on it is made anew)"
    )]
    KeyKnownOutside {
        /// Which key.
        id: RootKeyId,
        /// The token.
        token: String,
        /// What the module does not say of it.
        lacks: &'static str,
    },
    /// The token refuses the PIN.
    #[error(
        "the token {token:?} refuses the PIN in {pin_file}; it is not tried again until that file changes, because tokens lock themselves after some wrong ones: put the right PIN there"
    )]
    WrongPin {
        /// The token.
        token: String,
        /// Where the PIN is.
        pin_file: PathBuf,
    },
    /// The token has locked itself.
    #[error(
        "the token {token:?} is locked after too many wrong PINs: have its security officer set a new one, and put it into {pin_file} (or run `touch` on it, if it is the same); until then it is left alone"
    )]
    PinLocked {
        /// The token.
        token: String,
        /// Where the PIN is.
        pin_file: PathBuf,
    },
    /// The security module failed.
    #[error("the security module failed for token {token:?}: {doing}")]
    Module {
        /// The token.
        token: String,
        /// Doing what.
        doing: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The top key does not open.
    #[error(
        "the root key {id} does not open the top key: the database was changed past the service, or belongs to another root key; keep a copy for whoever examines it, and put the newest data back or restore from a mirror (oubliette restore); nothing was changed"
    )]
    CannotUnwrap {
        /// The key that was used.
        id: RootKeyId,
    },
}

impl RootKeyError {
    /// Whether one of several replicas is the matter: then there is a key to read with, and no way to destroy it.
    pub fn is_of_a_replica(&self) -> bool {
        matches!(
            self,
            Self::ReplicaMissing { .. }
                | Self::ReplicaNotConfigured { .. }
                | Self::ReplicaOfOthers { .. }
                | Self::ReplicaStale { .. }
        )
    }
}
