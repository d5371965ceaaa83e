//! Planning changes: a working copy of the pages that a change touches.
//!
//! Inserts rewrite leaf pages under their own keys. An erasure marks every page on the leaf's paths; [`Draft::into_epoch`] then
//! gives each marked page a fresh key, from the leaves up to the top, in one go for any number of erasures.

#[cfg(test)]
mod faults;
mod renew;

use std::collections::HashMap;

pub use renew::RenewMark;

use super::answers::answer_key;
use super::page::{Child, Entry, Kind, Label, NO_PAGE, Page, nibble};
use super::view::{MAX_DEPTH, handle_of, tenant_slot, top_slot};
use super::{NodeId, PageSource, TreeError};
use crate::crypto::kdf;
use crate::crypto::secret::{Key, random_bytes};
use crate::domain::ids::{Handle, Pseudonym, TenantId};

/// A page to store, sealed, and what must be stored under its id at that moment.
pub struct PageWrite {
    /// The page's name.
    pub id: NodeId,
    /// The bytes that were read; `None` for a new page. If something else stands there by then, the plan is void.
    pub as_read: Option<Vec<u8>>,
    /// The bytes to store; `None` to remove the page.
    pub sealed: Option<Vec<u8>>,
}

/// Pages to store that add leaves.
pub struct InsertPlan {
    /// To be stored all or none.
    pub writes: Vec<PageWrite>,
}

/// Pages to store that end an epoch: every page on the path of an erased leaf under a fresh key, the top page among them.
pub struct EpochPlan {
    /// To be stored all or none, together with the wrapped [`EpochPlan::top`].
    pub writes: Vec<PageWrite>,
    /// The fresh top key; to be wrapped by a fresh root key.
    pub top: Key,
}

/// A working copy of the tree.
pub struct Draft<'a> {
    source: &'a dyn PageSource,
    leaf_limit: usize,
    pub(super) nodes: HashMap<NodeId, Node>,
    erases: bool,
    /// Pages that [`Draft::renew_some`] met, and that do not open.
    closed: Vec<NodeId>,
}

pub(super) struct Node {
    pub kind: Kind,
    pub key: Key,
    pub page: Page,
    as_read: Option<Vec<u8>>,
    pub change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    None,
    Rewritten,
    Rekeyed,
    Removed,
}

impl<'a> Draft<'a> {
    /// A working copy of the tree in `source` under `top`. Leaf pages split above `leaf_limit` entries.
    pub fn open(source: &'a dyn PageSource, top: &Key, leaf_limit: usize) -> Result<Self, TreeError> {
        let mut draft = Self { source, leaf_limit, nodes: HashMap::new(), erases: false, closed: Vec::new() };
        draft.load(Kind::Top, NodeId::TOP, top)?;
        Ok(draft)
    }

    /// A new, empty tree. Its plan is an epoch: the first.
    pub fn create(source: &'a dyn PageSource, leaf_limit: usize) -> Self {
        let mut draft = Self { source, leaf_limit, nodes: HashMap::new(), erases: false, closed: Vec::new() };
        let tenants = draft.add_node(Kind::Tenants, NodeId(random_bytes()), Page::empty_leaf());
        let top = Page::Inner(vec![
            lone_key(top_slot::SYSTEM_INDEX),
            lone_key(top_slot::SYSTEM_SETTINGS),
            draft.child_of(top_slot::TENANTS, tenants),
        ]);
        draft.add_node(Kind::Top, NodeId::TOP, top);
        draft
    }

    /// Adds a tenant with fresh keys and no customers.
    pub fn add_tenant(&mut self, id: TenantId) -> Result<(), TreeError> {
        let directory = self.add_node(Kind::Directory, NodeId(random_bytes()), Page::empty_leaf());
        let customers = self.add_node(Kind::Customers, NodeId(random_bytes()), Page::empty_leaf());
        let page = Page::Inner(vec![
            lone_key(tenant_slot::INDEX),
            lone_key(tenant_slot::SETTINGS),
            self.child_of(tenant_slot::DIRECTORY, directory),
            self.child_of(tenant_slot::CUSTOMERS, customers),
            answer_key(tenant_slot::ANSWERS, 0),
            answer_key(tenant_slot::EARLIER_ANSWERS, 0),
        ]);
        let node = self.add_node(Kind::Tenant, NodeId(id.0), page);
        let key = self.nodes[&node].key.duplicate();
        let tenants = self.slot(NodeId::TOP, top_slot::TENANTS)?;
        self.insert(Kind::Tenants, tenants, id.0, key)
    }

    /// The handle of a customer, as far as this draft knows.
    pub fn handle(&mut self, tenant: TenantId, pseudonym: Pseudonym) -> Result<Option<Handle>, TreeError> {
        let node = self.tenant_path(tenant)?.last().copied().ok_or(TreeError::NoSuchLeaf)?;
        let root = self.slot(node, tenant_slot::DIRECTORY)?;
        let path = self.descend(Kind::Directory, root, &pseudonym.0)?;
        let leaf = path.last().and_then(|id| self.nodes[id].page.entry(&pseudonym.0));
        Ok(leaf.map(|entry| handle_of(&entry.payload)))
    }

    /// The handle for a customer who is to be added: a keyed hash of the pseudonym, under the key of the last page on her way through the
    /// directory. To whom that key is gone it is as good as random, and her erasure replaces it.
    ///
    /// It is not random for the sake of what is lost: an insert that a power cut or the loss of a disk took back may stand in an image all the
    /// same. Whoever is added again gets the same handle and so the same path, and her erasure gives fresh keys to the pages that held the
    /// lost key too. (Unless her page of the directory got a fresh key, or was split by another insert that was lost, in between.)
    pub fn new_handle(&mut self, tenant: TenantId, pseudonym: Pseudonym) -> Result<Handle, TreeError> {
        let node = self.tenant_path(tenant)?.last().copied().ok_or(TreeError::NoSuchLeaf)?;
        let directory = self.slot(node, tenant_slot::DIRECTORY)?;
        let path = self.descend(Kind::Directory, directory, &pseudonym.0)?;
        let key = &self.nodes[&path[path.len() - 1]].key;
        Ok(handle_of(&kdf::derive(key, "oubliette handle", &[&tenant.0, &pseudonym.0])))
    }

    /// Adds a customer: a link in the directory and a fresh key, which is returned.
    pub fn add_customer(&mut self, tenant: TenantId, pseudonym: Pseudonym, handle: Handle) -> Result<Key, TreeError> {
        let node = self.tenant_path(tenant)?.last().copied().ok_or(TreeError::NoSuchLeaf)?;
        let directory = self.slot(node, tenant_slot::DIRECTORY)?;
        let customers = self.slot(node, tenant_slot::CUSTOMERS)?;
        // Both ways are walked before anything is changed: a page that does not open leaves the draft as it was.
        self.descend(Kind::Directory, directory, &pseudonym.0)?;
        self.descend(Kind::Customers, customers, &handle.0)?;
        let link = Key::fill_with(|payload| payload[..16].copy_from_slice(&handle.0));
        self.insert(Kind::Directory, directory, pseudonym.0, link)?;
        let key = Key::random();
        self.insert(Kind::Customers, customers, handle.0, key.duplicate())?;
        Ok(key)
    }

    /// Erases a customer: the link and the key go, every page on both paths will get a fresh key.
    pub fn erase_customer(&mut self, tenant: TenantId, pseudonym: Pseudonym, handle: Handle) -> Result<(), TreeError> {
        let path = self.tenant_path(tenant)?;
        let node = *path.last().ok_or(TreeError::NoSuchLeaf)?;
        let directory = self.slot(node, tenant_slot::DIRECTORY)?;
        let customers = self.slot(node, tenant_slot::CUSTOMERS)?;
        // Both leaves are found before anything is changed: a page that does not open leaves the draft as it was.
        for (kind, root, label) in [(Kind::Directory, directory, &pseudonym.0), (Kind::Customers, customers, &handle.0)]
        {
            let way = self.descend(kind, root, label)?;
            let leaf = way.last().and_then(|id| self.nodes[id].page.entry(label));
            leaf.ok_or(TreeError::NoSuchLeaf)?;
        }
        self.remove(Kind::Directory, directory, &pseudonym.0)?;
        self.remove(Kind::Customers, customers, &handle.0)?;
        self.rekey(&path);
        Ok(())
    }

    /// Erases a tenant: its page's key goes, and with it the way to every page below.
    pub fn erase_tenant(&mut self, tenant: TenantId) -> Result<(), TreeError> {
        let root = self.slot(NodeId::TOP, top_slot::TENANTS)?;
        self.remove(Kind::Tenants, root, &tenant.0)?;
        self.rekey(&[NodeId::TOP]);
        Ok(())
    }

    /// Gives a customer a fresh key; every page on the path to it will get one too. Returns the key that goes and the one that comes.
    pub fn rekey_customer(&mut self, tenant: TenantId, handle: Handle) -> Result<(Key, Key), TreeError> {
        let tenant_path = self.tenant_path(tenant)?;
        let node = *tenant_path.last().ok_or(TreeError::NoSuchLeaf)?;
        let root = self.slot(node, tenant_slot::CUSTOMERS)?;
        let path = self.descend(Kind::Customers, root, &handle.0)?;
        let leaf = self.node(path[path.len() - 1]);
        let Page::Leaf(entries) = &mut leaf.page else { return Err(TreeError::NoSuchLeaf) };
        let place = entries.binary_search_by(|e| e.label.cmp(&handle.0)).map_err(|_| TreeError::NoSuchLeaf)?;
        let fresh = Key::random();
        let old = std::mem::replace(&mut entries[place].payload, fresh.duplicate());
        self.rekey(&path);
        self.rekey(&tenant_path);
        Ok((old, fresh))
    }

    /// The plan of a draft that only added.
    pub fn into_inserts(self) -> InsertPlan {
        assert!(!self.erases, "erasures end an epoch");
        InsertPlan { writes: self.seal() }
    }

    /// The plan of a draft that ends an epoch. The top gets a fresh key even where nothing was erased.
    pub fn into_epoch(mut self) -> EpochPlan {
        self.rekey(&[NodeId::TOP]);
        self.refresh_keys();
        let top = self.nodes[&NodeId::TOP].key.duplicate();
        EpochPlan { writes: self.seal(), top }
    }

    /// The nodes from the top to the page of a tenant, all loaded; the last is the tenant's page.
    pub(super) fn tenant_path(&mut self, tenant: TenantId) -> Result<Vec<NodeId>, TreeError> {
        let root = self.slot(NodeId::TOP, top_slot::TENANTS)?;
        let mut path = self.descend(Kind::Tenants, root, &tenant.0)?;
        path.insert(0, NodeId::TOP);
        let entry = path.last().and_then(|leaf| self.nodes[leaf].page.entry(&tenant.0));
        let key = entry.ok_or(TreeError::NoSuchLeaf)?.payload.duplicate();
        path.push(self.load(Kind::Tenant, NodeId(tenant.0), &key)?);
        Ok(path)
    }

    /// The page named in `slot` of the inner page `node`, loaded.
    pub(super) fn slot(&mut self, node: NodeId, slot: u8) -> Result<NodeId, TreeError> {
        let kind = match (self.nodes[&node].kind, slot) {
            (Kind::Top, _) => Kind::Tenants,
            (_, tenant_slot::DIRECTORY) => Kind::Directory,
            _ => Kind::Customers,
        };
        let child = self.nodes[&node].page.child(slot).ok_or(TreeError::CannotOpen(node))?;
        let (id, key) = (child.id, child.key.duplicate());
        self.load(kind, id, &key)
    }

    /// The nodes of a trie from its root towards `label`, all loaded. The last is a leaf page, or an inner page without a child for it.
    fn descend(&mut self, kind: Kind, root: NodeId, label: &Label) -> Result<Vec<NodeId>, TreeError> {
        let mut path = vec![root];
        for depth in 0..MAX_DEPTH {
            let at = path[depth];
            let Some(child) = self.nodes[&at].page.child(nibble(label, depth)) else { break };
            let (id, key) = (child.id, child.key.duplicate());
            path.push(self.load(kind, id, &key)?);
        }
        Ok(path)
    }

    fn insert(&mut self, kind: Kind, root: NodeId, label: Label, payload: Key) -> Result<(), TreeError> {
        let path = self.descend(kind, root, &label)?;
        let (at, depth) = (path[path.len() - 1], path.len() - 1);
        let slot = nibble(&label, depth);
        if let Page::Inner(_) = self.nodes[&at].page {
            let leaf = self.add_node(kind, NodeId(random_bytes()), Page::Leaf(vec![Entry { label, payload }]));
            let child = self.child_of(slot, leaf);
            let parent = self.node(at);
            if let Page::Inner(children) = &mut parent.page {
                let place = children.partition_point(|c| c.slot < slot);
                children.insert(place, child);
            }
            parent.change = parent.change.max(Change::Rewritten);
            return Ok(());
        }
        let leaf_limit = self.leaf_limit;
        let leaf = self.node(at);
        let Page::Leaf(entries) = &mut leaf.page else { unreachable!("inner pages were handled above") };
        match entries.binary_search_by(|e| e.label.cmp(&label)) {
            Ok(_) => return Err(TreeError::LeafExists),
            Err(place) => entries.insert(place, Entry { label, payload }),
        }
        let is_over = entries.len() > leaf_limit;
        leaf.change = leaf.change.max(Change::Rewritten);
        if is_over {
            self.split(kind, at, depth);
        }
        Ok(())
    }

    /// Turns a leaf page into an inner page over fresh leaf pages. It keeps its name and key: the path of its entries only
    /// becomes longer.
    fn split(&mut self, kind: Kind, at: NodeId, depth: usize) {
        let Page::Leaf(entries) = std::mem::replace(&mut self.node(at).page, Page::Inner(Vec::new())) else {
            unreachable!("only leaf pages split")
        };
        let mut by_slot: Vec<(u8, Vec<Entry>)> = Vec::new();
        for entry in entries {
            let slot = nibble(&entry.label, depth);
            match by_slot.last_mut() {
                Some((last, group)) if *last == slot => group.push(entry),
                _ => by_slot.push((slot, vec![entry])),
            }
        }
        let mut children = Vec::with_capacity(by_slot.len());
        for (slot, group) in by_slot {
            let is_over = group.len() > self.leaf_limit;
            let child = self.add_node(kind, NodeId(random_bytes()), Page::Leaf(group));
            if is_over {
                self.split(kind, child, depth + 1);
            }
            children.push(self.child_of(slot, child));
        }
        self.node(at).page = Page::Inner(children);
    }

    /// Takes a leaf out of a trie and marks its path for fresh keys. Pages that become empty go, but for the trie's root.
    fn remove(&mut self, kind: Kind, root: NodeId, label: &Label) -> Result<(), TreeError> {
        let path = self.descend(kind, root, label)?;
        let leaf = self.node(path[path.len() - 1]);
        let Page::Leaf(entries) = &mut leaf.page else { return Err(TreeError::NoSuchLeaf) };
        let place = entries.binary_search_by(|e| e.label.cmp(label)).map_err(|_| TreeError::NoSuchLeaf)?;
        entries.remove(place);
        self.rekey(&path);
        for depth in (1..path.len()).rev() {
            if !self.nodes[&path[depth]].page.is_empty() {
                break;
            }
            self.node(path[depth]).change = Change::Removed;
            if let Page::Inner(children) = &mut self.node(path[depth - 1]).page {
                children.retain(|child| child.slot != nibble(label, depth - 1));
            }
        }
        if self.nodes[&root].page.is_empty() {
            self.node(root).page = Page::empty_leaf();
        }
        Ok(())
    }

    pub(super) fn rekey(&mut self, path: &[NodeId]) {
        self.erases = true;
        for id in path {
            let node = self.node(*id);
            node.change = node.change.max(Change::Rekeyed);
        }
    }

    /// Gives every marked page a fresh key, and tells its parent.
    fn refresh_keys(&mut self) {
        let marked = |node: &&mut Node| node.change == Change::Rekeyed;
        self.nodes.values_mut().filter(marked).for_each(|node| node.key = Key::random());
        let fresh: HashMap<NodeId, Key> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.change == Change::Rekeyed)
            .map(|(id, node)| (*id, node.key.duplicate()))
            .collect();
        for node in self.nodes.values_mut().filter(|node| node.change == Change::Rekeyed) {
            match (&mut node.page, node.kind) {
                (Page::Inner(children), _) => {
                    children.iter_mut().for_each(|child| renew(&mut child.key, &fresh, child.id));
                }
                (Page::Leaf(tenants), Kind::Tenants) => {
                    tenants.iter_mut().for_each(|entry| renew(&mut entry.payload, &fresh, NodeId(entry.label)));
                }
                (Page::Leaf(_), _) => {}
            }
        }
    }

    fn seal(self) -> Vec<PageWrite> {
        let changed = self.nodes.into_iter().filter(|(_, node)| node.change > Change::None);
        changed
            .map(|(id, node)| {
                let stays = node.change != Change::Removed;
                let sealed = stays.then(|| node.page.seal(node.kind, id, &node.key));
                PageWrite { id, as_read: node.as_read, sealed }
            })
            .filter(|write| write.as_read.is_some() || write.sealed.is_some())
            .collect()
    }

    pub(super) fn load(&mut self, kind: Kind, id: NodeId, key: &Key) -> Result<NodeId, TreeError> {
        if !self.nodes.contains_key(&id) {
            let stored = self.source.page(id)?.ok_or(TreeError::MissingPage(id))?;
            let page = Page::open(kind, id, key, &stored)?;
            let node = Node { kind, key: key.duplicate(), page, as_read: Some(stored), change: Change::None };
            self.nodes.insert(id, node);
        }
        Ok(id)
    }

    fn add_node(&mut self, kind: Kind, id: NodeId, page: Page) -> NodeId {
        let node = Node { kind, key: Key::random(), page, as_read: None, change: Change::Rewritten };
        self.nodes.insert(id, node);
        id
    }

    fn child_of(&self, slot: u8, id: NodeId) -> Child {
        Child { slot, id, key: self.nodes[&id].key.duplicate() }
    }

    pub(super) fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node is loaded before it is changed")
    }
}

fn renew(key: &mut Key, fresh: &HashMap<NodeId, Key>, child: NodeId) {
    if let Some(new) = fresh.get(&child) {
        *key = new.duplicate();
    }
}

fn lone_key(slot: u8) -> Child {
    Child { slot, id: NO_PAGE, key: Key::random() }
}
