//! Looking keys up.

use super::answers::AnswerKeys;
use super::page::{Kind, Label, Page, nibble};
use super::{NodeId, PageSource, SourceError, TreeError};
use crate::crypto::secret::Key;
use crate::domain::ids::{Handle, Pseudonym, TenantId};

/// Places of the keys in the top page.
pub(super) mod top_slot {
    pub const SYSTEM_INDEX: u8 = 0;
    pub const SYSTEM_SETTINGS: u8 = 1;
    pub const TENANTS: u8 = 2;
}

/// Places of the keys in a tenant's page.
pub(super) mod tenant_slot {
    pub const INDEX: u8 = 0;
    pub const SETTINGS: u8 = 1;
    pub const DIRECTORY: u8 = 2;
    pub const CUSTOMERS: u8 = 3;
    pub const ANSWERS: u8 = 4;
    pub const EARLIER_ANSWERS: u8 = 5;
}

/// The most levels of a trie: a label has 32 times four bits.
pub(super) const MAX_DEPTH: usize = 32;

/// The keys of the service itself.
pub struct SystemKeys {
    /// Hashes tenants' names.
    pub index: Key,
    /// Seals tokens.
    pub settings: Key,
}

/// The keys of a tenant, and the roots of its two tries.
pub struct TenantKeys {
    /// Hashes customer ids, cases, agents, teams, request ids.
    pub index: Key,
    /// Seals the tenant's settings, principals and tombstones.
    pub settings: Key,
    /// Seal the answers to erasures; replaced every day.
    pub answers: AnswerKeys,
    directory: (NodeId, Key),
    customers: (NodeId, Key),
}

/// The tree as it stands, seen from the top key.
pub struct View<'a> {
    source: &'a dyn PageSource,
    top: &'a Key,
}

impl<'a> View<'a> {
    /// Looks at the pages of `source` from `top`.
    pub fn new(source: &'a dyn PageSource, top: &'a Key) -> Self {
        Self { source, top }
    }

    /// The keys of the service itself.
    pub fn system(&self) -> Result<SystemKeys, TreeError> {
        let top = self.open(Kind::Top, NodeId::TOP, self.top)?;
        Ok(SystemKeys {
            index: key_in(&top, top_slot::SYSTEM_INDEX, NodeId::TOP)?,
            settings: key_in(&top, top_slot::SYSTEM_SETTINGS, NodeId::TOP)?,
        })
    }

    /// The keys of a tenant; `None` if there is none.
    pub fn tenant(&self, id: TenantId) -> Result<Option<TenantKeys>, TreeError> {
        let top = self.open(Kind::Top, NodeId::TOP, self.top)?;
        let tenants = root_in(&top, top_slot::TENANTS, NodeId::TOP)?;
        match self.find(Kind::Tenants, &tenants, &id.0)? {
            None => Ok(None),
            Some(key) => self.open_tenant(id, &key).map(Some),
        }
    }

    /// The handle of a customer; `None` if there is none.
    pub fn handle(&self, tenant: &TenantKeys, pseudonym: Pseudonym) -> Result<Option<Handle>, TreeError> {
        let payload = self.find(Kind::Directory, &tenant.directory, &pseudonym.0)?;
        Ok(payload.map(|payload| handle_of(&payload)))
    }

    /// The key of a customer; `None` if there is none.
    pub fn customer(&self, tenant: &TenantKeys, handle: Handle) -> Result<Option<Key>, TreeError> {
        self.find(Kind::Customers, &tenant.customers, &handle.0)
    }

    /// All tenants of the tree; their own pages are not opened.
    pub fn tenants(&self) -> Result<Vec<TenantId>, TreeError> {
        let top = self.open(Kind::Top, NodeId::TOP, self.top)?;
        let root = root_in(&top, top_slot::TENANTS, NodeId::TOP)?;
        let mut tenants = Vec::new();
        self.each_leaf(Kind::Tenants, &root, 0, &mut |label, _| {
            tenants.push(TenantId(label));
            Ok(())
        })?;
        Ok(tenants)
    }

    /// Calls `visit` with every tenant of the tree.
    pub fn each_tenant(&self, visit: &mut dyn FnMut(TenantId, TenantKeys)) -> Result<(), TreeError> {
        let top = self.open(Kind::Top, NodeId::TOP, self.top)?;
        let tenants = root_in(&top, top_slot::TENANTS, NodeId::TOP)?;
        self.each_leaf(Kind::Tenants, &tenants, 0, &mut |label, key| {
            visit(TenantId(label), self.open_tenant(TenantId(label), key)?);
            Ok(())
        })
    }

    /// Calls `visit` with every customer of a tenant.
    pub fn each_customer(&self, tenant: &TenantKeys, visit: &mut dyn FnMut(Handle, &Key)) -> Result<(), TreeError> {
        self.each_leaf(Kind::Customers, &tenant.customers, 0, &mut |label, key| {
            visit(Handle(label), key);
            Ok(())
        })
    }

    /// Calls `visit` with every link from a person to a handle that a tenant's directory holds.
    pub fn each_link(&self, tenant: &TenantKeys, visit: &mut dyn FnMut(Pseudonym, Handle)) -> Result<(), TreeError> {
        self.each_leaf(Kind::Directory, &tenant.directory, 0, &mut |label, payload| {
            visit(Pseudonym(label), handle_of(payload));
            Ok(())
        })
    }

    /// The names of all pages of a tenant: its own, and those of its tries. Of one that does not open only the name is known: `closed` gets it,
    /// and what stands below it is left out.
    pub fn pages_of(
        &self,
        id: TenantId,
        tenant: &TenantKeys,
        closed: &mut Vec<NodeId>,
    ) -> Result<Vec<NodeId>, TreeError> {
        let mut pages = vec![NodeId(id.0)];
        for (kind, root) in [(Kind::Directory, &tenant.directory), (Kind::Customers, &tenant.customers)] {
            let mut to_open = vec![(root.0, root.1.duplicate())];
            while let Some((page, key)) = to_open.pop() {
                pages.push(page);
                match self.open(kind, page, &key) {
                    Ok(Page::Inner(children)) => {
                        to_open.extend(children.into_iter().map(|child| (child.id, child.key)));
                    }
                    Ok(Page::Leaf(_)) => {}
                    Err(error @ TreeError::Source(SourceError::Unreadable(_))) => return Err(error),
                    Err(_) => closed.push(page),
                }
            }
        }
        Ok(pages)
    }

    fn open_tenant(&self, id: TenantId, key: &Key) -> Result<TenantKeys, TreeError> {
        let node = NodeId(id.0);
        let page = self.open(Kind::Tenant, node, key)?;
        Ok(TenantKeys {
            index: key_in(&page, tenant_slot::INDEX, node)?,
            settings: key_in(&page, tenant_slot::SETTINGS, node)?,
            answers: AnswerKeys::of(&page, node)?,
            directory: root_in(&page, tenant_slot::DIRECTORY, node)?,
            customers: root_in(&page, tenant_slot::CUSTOMERS, node)?,
        })
    }

    fn find(&self, kind: Kind, root: &(NodeId, Key), label: &Label) -> Result<Option<Key>, TreeError> {
        let mut page = self.open(kind, root.0, &root.1)?;
        for depth in 0..MAX_DEPTH {
            if let Page::Leaf(_) = page {
                break;
            }
            page = match page.child(nibble(label, depth)) {
                None => return Ok(None),
                Some(child) => self.open(kind, child.id, &child.key)?,
            };
        }
        Ok(page.entry(label).map(|entry| entry.payload.duplicate()))
    }

    fn each_leaf(
        &self,
        kind: Kind,
        root: &(NodeId, Key),
        depth: usize,
        visit: &mut dyn FnMut(Label, &Key) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            return Err(TreeError::CannotOpen(root.0));
        }
        match self.open(kind, root.0, &root.1)? {
            Page::Leaf(entries) => entries.iter().try_for_each(|entry| visit(entry.label, &entry.payload)),
            Page::Inner(children) => children
                .into_iter()
                .try_for_each(|child| self.each_leaf(kind, &(child.id, child.key), depth + 1, visit)),
        }
    }

    fn open(&self, kind: Kind, id: NodeId, key: &Key) -> Result<Page, TreeError> {
        let stored = self.source.page(id)?.ok_or(TreeError::MissingPage(id))?;
        Page::open(kind, id, key, &stored)
    }
}

/// The handle in a payload of the directory: its first 16 bytes.
pub(super) fn handle_of(payload: &Key) -> Handle {
    let mut handle = [0; 16];
    handle.copy_from_slice(&payload.expose()[..16]);
    Handle(handle)
}

pub(super) fn key_in(page: &Page, slot: u8, of: NodeId) -> Result<Key, TreeError> {
    root_in(page, slot, of).map(|(_, key)| key)
}

fn root_in(page: &Page, slot: u8, of: NodeId) -> Result<(NodeId, Key), TreeError> {
    let child = page.child(slot).ok_or(TreeError::CannotOpen(of))?;
    Ok((child.id, child.key.duplicate()))
}
