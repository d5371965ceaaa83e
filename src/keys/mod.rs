//! The key tree: all keys but the root key, each sealed in its parent's page.
//!
//! ```text
//! root key ─ top page ─┬─ system keys (index, settings)
//!                      └─ tenants trie ─ tenant page ─┬─ index key, settings key, answer keys
//!                                                     ├─ directory trie: pseudonym -> handle
//!                                                     └─ customers trie: handle -> customer key
//! ```
//!
//! This room is pure: it takes pages as stored, and gives back pages to store. It never reads or writes a disk, never sees a root
//! key, and never decides whether something may be erased. Three doors: [`View`] looks up, [`Draft`] plans inserts
//! ([`Draft::into_inserts`]) and erasures ([`Draft::into_epoch`]).
//!
//! The invariant on which erasure rests: a key only ever stands in pages of nodes on its own path from the top, and an
//! erasure gives **every** node of that path a fresh key. So no page that can be opened afterwards ever held the erased key, at
//! any time. Hence keys never move between paths.
//!
//! Reardon, Ritzdorf, Basin, Capkun: *Secure Data Deletion from Persistent Media*, CCS 2013.

mod answers;
mod draft;
mod page;
mod reach;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;

pub use answers::AnswerKeys;
pub use draft::{Draft, EpochPlan, InsertPlan, PageWrite, RenewMark};
#[cfg(test)]
pub(crate) use reach::reach_by_force;
pub use reach::{Reached, reach};
pub use view::{SystemKeys, TenantKeys, View};

use crate::domain::codec::{self, Decode};

/// The most entries in a leaf page before it splits: 48 entries of 48 bytes fit the page's size class of 2,560 bytes.
pub const LEAF_LIMIT: usize = 48;

/// The name of a page: random, but for the top page (all zero) and a tenant's page (the tenant's id, a keyed hash).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 16]);

impl NodeId {
    /// The top page.
    pub const TOP: Self = Self([0; 16]);
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", codec::hex(&self.0))
    }
}

/// Where pages come from.
pub trait PageSource {
    /// The stored bytes of a page; `None` if there is none.
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError>;
}

/// The source of pages has no page to give that may be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It could not answer.
    #[error("a page of the key tree could not be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It has another page than the audit log vouches for.
    #[error(
        "integrity check failed: page {node:?} of the key tree has digest {found}, and the audit log vouches for {expected}: it was changed, removed or replaced by an older one past the service; keep a copy of the data directory, and restore from a mirror (oubliette restore)"
    )]
    NotAsLogged {
        /// The page's name.
        node: NodeId,
        /// The digest that its page must have; `none` for a page that must not be there.
        expected: String,
        /// The digest of the page that is there; `none` where there is none.
        found: String,
    },
}

/// Why the key tree could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A page that another page names is not there.
    #[error("the key tree is damaged: page {0:?} is missing; restore it from a mirror")]
    MissingPage(NodeId),
    /// A page does not open under the key that its parent holds.
    #[error("the key tree is damaged: page {0:?} does not open; restore it from a mirror")]
    CannotOpen(NodeId),
    /// A page opens, but is not what it should be.
    #[error("the key tree is damaged: {0}")]
    Decode(#[from] Decode),
    /// A leaf that is to be added is there already.
    #[error("the key tree has this leaf already")]
    LeafExists,
    /// A leaf that is to be erased is not there.
    #[error("the key tree has no such leaf")]
    NoSuchLeaf,
    /// The source failed, or has another page than the audit log vouches for.
    #[error(transparent)]
    Source(#[from] SourceError),
}
