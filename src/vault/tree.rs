//! The key tree as it stands: the opened top key, and looking keys up from it.
//!
//! Lookups hold the lock for reading; the moment in which an epoch's pages replace the old ones holds it for writing. So a
//! lookup sees the pages of one epoch. Of opened keys only the tenants' are kept, and they go with their epoch; customer keys
//! and record secrets are never kept.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::format::Layout;
use super::{Vault, VaultError};
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::Key;
use crate::domain::codec::{Decode, Reader, Writer, hex};
use crate::domain::ids::{CustomerId, Handle, Pseudonym, TenantId, TenantName};
use crate::keys::{NodeId, PageSource, SourceError, SystemKeys, TenantKeys, View};
use crate::root_key::{RootKey, RootKeyError, RootKeyId};
use crate::store::{Database, page_digest, rows};

const ROOT_VERSION: u8 = 1;
/// The most tenants whose keys are kept opened; above it all are dropped and opened anew.
const MAX_OPEN_TENANTS: usize = 1024;
/// How often a page is read again that is replaced while it is read.
const MAX_READS: usize = 100;
/// The most damaged pages that are reported in the log, once each.
const MAX_REPORTED: usize = 1024;

/// The root row: which root key wraps the top key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RootRow {
    pub top: WrappedTop,
    /// That of the epoch before: what the probe tries, to see that the old root key opens nothing any more.
    pub previous: Option<WrappedTop>,
}

/// A top key under a root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrappedTop {
    pub epoch: u64,
    pub root_key: RootKeyId,
    pub wrapped: Vec<u8>,
}

impl WrappedTop {
    /// Wraps `top` under a root key.
    pub fn wrap(provider: &dyn RootKey, root_key: RootKeyId, epoch: u64, top: &Key) -> Result<Self, VaultError> {
        let wrapped = provider.wrap(root_key, &root_associated_data(epoch, root_key), top)?;
        Ok(Self { epoch, root_key, wrapped })
    }

    pub fn unwrap(&self, provider: &dyn RootKey) -> Result<Key, RootKeyError> {
        self.unwrap_with(provider, self.root_key)
    }

    /// The same with another key than the row names: what a thief tries.
    pub fn unwrap_with(&self, provider: &dyn RootKey, held: RootKeyId) -> Result<Key, RootKeyError> {
        provider.unwrap(held, &root_associated_data(self.epoch, self.root_key), &self.wrapped)
    }

    /// Whether any key at the provider still opens it, whatever its name.
    pub fn is_opened_by(&self, provider: &dyn RootKey) -> Result<bool, RootKeyError> {
        provider.opens(&root_associated_data(self.epoch, self.root_key), &self.wrapped)
    }

    fn encode(&self, w: Writer) -> Writer {
        w.u64(self.epoch).fixed(&self.root_key.0).framed(&self.wrapped)
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Decode> {
        Ok(Self { epoch: r.u64()?, root_key: RootKeyId(r.array()?), wrapped: r.framed()?.to_vec() })
    }
}

impl RootRow {
    pub fn encode(&self) -> Vec<u8> {
        let row = self.top.encode(Writer::versioned(ROOT_VERSION));
        row.option(self.previous.as_ref(), |w, previous| previous.encode(w)).finish().to_vec()
    }

    pub fn decode(stored: &[u8]) -> Result<Self, Decode> {
        let (mut reader, _) = Reader::versioned("the root of the key tree", stored, ROOT_VERSION)?;
        let row = Self { top: WrappedTop::decode(&mut reader)?, previous: reader.option(WrappedTop::decode)? };
        reader.end()?;
        Ok(row)
    }
}

/// What the wrapped top key is bound to.
fn root_associated_data(epoch: u64, root_key: RootKeyId) -> Vec<u8> {
    Writer::default().text("oubliette top key").u64(epoch).fixed(&root_key.0).finish().to_vec()
}

/// The opened top of one epoch.
pub(super) struct Top {
    pub row: RootRow,
    pub key: Key,
    pub system: SystemKeys,
    tenants: Mutex<HashMap<TenantId, Arc<TenantKeys>>>,
}

impl Top {
    /// Opens the top page under `key`.
    pub fn open(row: RootRow, key: Key, pages: &Pages) -> Result<Self, VaultError> {
        let system = View::new(pages, &key).system()?;
        Ok(Self { row, key, system, tenants: Mutex::new(HashMap::new()) })
    }
}

/// Pages from the database, each compared with its digest, which the audit log vouches for. A page that does not match is an error of
/// that page alone: whoever needs another page does not notice.
pub(super) struct Pages {
    db: Arc<dyn Database>,
    /// Whether a page without a digest counts: as long as a database of layout 1 is not upgraded.
    accepts_undigested: AtomicBool,
    /// Pages that were reported in the log, up to [`MAX_REPORTED`].
    reported: Mutex<HashSet<NodeId>>,
    /// Damaged pages, once each, and customers who are stored and not in the tree.
    alarms: AtomicU64,
}

impl Pages {
    pub fn new(db: Arc<dyn Database>, layout: Layout) -> Self {
        let accepts_undigested = AtomicBool::new(layout < Layout::PageDigests);
        Self { db, accepts_undigested, reported: Mutex::default(), alarms: AtomicU64::new(0) }
    }

    /// From now on every page has a digest.
    pub fn require_digests(&self) {
        self.accepts_undigested.store(false, Ordering::Release);
    }

    /// How often the tree was found to be wrong since the start, for the alert.
    pub fn alarms(&self) -> u64 {
        self.alarms.load(Ordering::Relaxed)
    }

    /// Counts something that is wrong with the tree.
    pub fn raise_alarm(&self) {
        self.alarms.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        self.db.get(key).map_err(|error| SourceError::Unreadable(Box::new(error)))
    }

    fn report(&self, node: NodeId, expected: Option<&[u8]>, found: Option<&[u8]>) -> SourceError {
        let words = |digest: Option<&[u8]>| digest.map_or_else(|| "none".to_owned(), hex);
        let error = SourceError::NotAsLogged { node, expected: words(expected), found: words(found) };
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() < MAX_REPORTED && reported.insert(node) {
            self.raise_alarm();
            tracing::error!(%error, "a page of the key tree was changed past the service: the customers of this page cannot be found");
        }
        error
    }
}

impl PageSource for Pages {
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
        let (page_row, digest_row) = (rows::page(&id.0), rows::page_digest(&id.0));
        let mut expected = self.get(&digest_row)?;
        let mut reads_left = MAX_READS;
        loop {
            let page = self.get(&page_row)?;
            let found = page.as_ref().map(|page| page_digest(&page_row, page));
            let found = found.as_ref().map(<[u8; 32]>::as_slice);
            let is_undigested = expected.is_none() && self.accepts_undigested.load(Ordering::Acquire);
            if found == expected.as_deref() || is_undigested {
                return Ok(page);
            }
            // A page and its digest change together. If another digest is there by now, the page was replaced between the two reads, and
            // each turn of this loop stands for one more durable write of this page.
            let now = self.get(&digest_row)?;
            reads_left -= 1;
            if now == expected || reads_left == 0 {
                return Err(self.report(id, expected.as_deref(), found));
            }
            expected = now;
        }
    }
}

/// The key tree as it stands.
pub(super) struct Tree {
    pages: Pages,
    top: RwLock<Top>,
}

impl Tree {
    pub fn new(pages: Pages, top: Top) -> Self {
        Self { pages, top: RwLock::new(top) }
    }

    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// The top of the present epoch; no epoch ends while it is held.
    pub fn top(&self) -> RwLockReadGuard<'_, Top> {
        self.top.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The top, to be replaced; no lookup runs while it is held.
    pub fn top_to_replace(&self) -> RwLockWriteGuard<'_, Top> {
        self.top.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of the tenant of this name, whether there is one or not.
    pub fn tenant_id(&self, name: &TenantName) -> TenantId {
        TenantId(blind(&self.top().system.index, "tenant", &[name.as_str().as_bytes()]))
    }

    /// The keys of a tenant.
    pub fn tenant(&self, id: TenantId) -> Result<Option<Arc<TenantKeys>>, VaultError> {
        self.tenant_at(&self.top(), id)
    }

    /// The handle of a customer.
    pub fn handle(&self, id: TenantId, pseudonym: Pseudonym) -> Result<Option<Handle>, VaultError> {
        let top = self.top();
        let Some(tenant) = self.tenant_at(&top, id)? else { return Ok(None) };
        Ok(View::new(&self.pages, &top.key).handle(&tenant, pseudonym)?)
    }

    /// The key of a customer.
    pub fn customer_key(&self, id: TenantId, handle: Handle) -> Result<Option<Key>, VaultError> {
        let top = self.top();
        let Some(tenant) = self.tenant_at(&top, id)? else { return Ok(None) };
        Ok(View::new(&self.pages, &top.key).customer(&tenant, handle)?)
    }

    /// Opens the keys of tenants afresh when they are next asked for.
    pub fn forget_tenants(&self) {
        self.top().tenants.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn tenant_at(&self, top: &Top, id: TenantId) -> Result<Option<Arc<TenantKeys>>, VaultError> {
        let mut opened = top.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = opened.get(&id) {
            return Ok(Some(Arc::clone(tenant)));
        }
        let Some(tenant) = View::new(&self.pages, &top.key).tenant(id)?.map(Arc::new) else { return Ok(None) };
        if opened.len() >= MAX_OPEN_TENANTS {
            opened.clear();
        }
        opened.insert(id, Arc::clone(&tenant));
        Ok(Some(tenant))
    }
}

impl Vault {
    /// How often the key tree was found to be wrong since the start: pages that are not those of the audit log, and customers whose rows are
    /// stored and whom the tree does not name.
    pub fn key_tree_alarms(&self) -> u64 {
        self.core.tree.pages().alarms()
    }
}

/// The pseudonym of a customer in a tenant.
pub(super) fn pseudonym(tenant: &TenantKeys, customer: &CustomerId) -> Pseudonym {
    Pseudonym(blind(&tenant.index, "customer", &[customer.as_str().as_bytes()]))
}
