//! Faults, planted by tests that must see the hoarder win, or an alarm.

use std::collections::HashMap;

use super::{Change, Draft, renew};
use crate::crypto::secret::Key;
use crate::domain::ids::{Handle, Pseudonym, TenantId};
use crate::keys::page::{Kind, Label, Page};
use crate::keys::view::tenant_slot;
use crate::keys::{NodeId, TreeError};

impl Draft<'_> {
    /// Adds a customer under a key that another one has.
    pub fn add_customer_with(
        &mut self,
        tenant: TenantId,
        pseudonym: Pseudonym,
        handle: Handle,
        key: Key,
    ) -> Result<(), TreeError> {
        self.add_customer(tenant, pseudonym, handle)?;
        for node in self.nodes.values_mut().filter(|node| node.kind == Kind::Customers) {
            if let Page::Leaf(entries) = &mut node.page {
                let entry = entries.iter_mut().find(|entry| entry.label == handle.0);
                entry.into_iter().for_each(|entry| entry.payload = key.duplicate());
            }
        }
        Ok(())
    }

    /// Takes a leaf out of whichever trie of a tenant has it, and out of no other: what no code should ever do.
    pub fn lose(&mut self, tenant: TenantId, label: Label) -> Result<(), TreeError> {
        let node = self.tenant_path(tenant)?.last().copied().ok_or(TreeError::NoSuchLeaf)?;
        for (slot, kind) in [(tenant_slot::DIRECTORY, Kind::Directory), (tenant_slot::CUSTOMERS, Kind::Customers)] {
            let root = self.slot(node, slot)?;
            let path = self.descend(kind, root, &label)?;
            let leaf = self.node(path[path.len() - 1]);
            if let Page::Leaf(entries) = &mut leaf.page {
                entries.retain(|entry| entry.label != label);
                leaf.change = leaf.change.max(Change::Rewritten);
            }
        }
        Ok(())
    }

    /// Gives every page that is loaded, but the top, the key that it has in `keys`, and tells its parent.
    pub fn use_keys_again(&mut self, keys: &HashMap<NodeId, Key>) {
        let again: HashMap<NodeId, Key> = self
            .nodes
            .keys()
            .filter(|id| **id != NodeId::TOP)
            .filter_map(|id| Some((*id, keys.get(id)?.duplicate())))
            .collect();
        for (id, node) in &mut self.nodes {
            node.change = node.change.max(Change::Rewritten);
            renew(&mut node.key, &again, *id);
            match (&mut node.page, node.kind) {
                (Page::Inner(children), _) => {
                    children.iter_mut().for_each(|child| renew(&mut child.key, &again, child.id));
                }
                (Page::Leaf(tenants), Kind::Tenants) => {
                    tenants.iter_mut().for_each(|entry| renew(&mut entry.payload, &again, NodeId(entry.label)));
                }
                (Page::Leaf(_), _) => {}
            }
        }
    }
}
