//! The keys outside the data directory: the one root key, which wraps exactly one key, the top key of the key tree; and the key that signs
//! the log, which wraps nothing.
//!
//! A provider holds one root key, and during an epoch two: the current one and the staged next one. It never decides which of them
//! counts: the database names it. A staged key is used for one epoch or destroyed; it is never used again.

mod file;
mod private_file;
mod signing_key;

use std::fmt;

pub use file::FileRootKey;
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

    /// Destroys for good every key but this one, which must be there, and whatever an earlier destruction left undone. Held keys are
    /// looked at afterwards with [`RootKey::held`]; this alone is no proof.
    fn keep_only(&self, id: RootKeyId) -> Result<(), RootKeyError>;
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
    /// The top key does not open.
    #[error("the root key {id} does not open the top key: the database was changed, or belongs to another root key")]
    CannotUnwrap {
        /// The key that was used.
        id: RootKeyId,
    },
}
