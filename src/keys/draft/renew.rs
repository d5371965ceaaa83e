//! Giving all pages of a tenant fresh keys, in as many epochs as it takes.

use super::{Draft, NodeId, Page, TreeError, tenant_slot};
use crate::domain::ids::TenantId;
use crate::keys::SourceError;
use crate::keys::page::Kind;

/// Where giving all pages of a tenant fresh keys goes on: in which trie, and behind which leaf page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewMark {
    trie: u8,
    behind: Option<Vec<u8>>,
}

impl RenewMark {
    /// The beginning.
    pub fn begin() -> Self {
        Self { trie: tenant_slot::DIRECTORY, behind: None }
    }
}

impl Draft<'_> {
    /// Marks pages of a tenant for fresh keys, in the order of their labels from `mark` on, some `most` leaf pages with all that stand above
    /// them; returns where to go on, `None` once all were marked.
    pub fn renew_some(
        &mut self,
        tenant: TenantId,
        mut mark: RenewMark,
        most: usize,
    ) -> Result<Option<RenewMark>, TreeError> {
        let tenant_path = self.tenant_path(tenant)?;
        let node = *tenant_path.last().ok_or(TreeError::NoSuchLeaf)?;
        self.rekey(&tenant_path);
        let mut left = most;
        for (slot, kind) in [(tenant_slot::DIRECTORY, Kind::Directory), (tenant_slot::CUSTOMERS, Kind::Customers)] {
            if slot < mark.trie {
                continue;
            }
            let root = self.slot(node, slot)?;
            let behind = if slot == mark.trie { std::mem::take(&mut mark.behind) } else { None };
            if let Some(last) =
                self.renew_under(kind, &mut vec![root], &mut Vec::new(), behind.as_deref(), &mut left)?
            {
                return Ok(Some(RenewMark { trie: slot, behind: Some(last) }));
            }
        }
        Ok(None)
    }

    /// The pages that [`Draft::renew_some`] left out because they do not open.
    pub fn take_closed(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.closed)
    }

    /// The same below the last of `nodes`, which stands at `place`; returns the place of the last leaf page, if there was no room for all.
    fn renew_under(
        &mut self,
        kind: Kind,
        nodes: &mut Vec<NodeId>,
        place: &mut Vec<u8>,
        behind: Option<&[u8]>,
        left: &mut usize,
    ) -> Result<Option<Vec<u8>>, TreeError> {
        let at = nodes[nodes.len() - 1];
        let Page::Inner(children) = &self.nodes[&at].page else {
            if behind.is_some_and(|behind| place.as_slice() <= behind) {
                return Ok(None);
            }
            self.rekey(nodes);
            *left = left.saturating_sub(1);
            return Ok((*left == 0).then(|| place.clone()));
        };
        let children: Vec<_> = children.iter().map(|child| (child.slot, child.id, child.key.duplicate())).collect();
        for (slot, id, key) in children {
            place.push(slot);
            // No leaf page has a place that is the beginning of another leaf page's place.
            if behind.is_none_or(|behind| place.as_slice() >= &behind[..place.len().min(behind.len())]) {
                match self.load(kind, id, &key) {
                    Ok(child) => nodes.push(child),
                    Err(error @ TreeError::Source(SourceError::Unreadable(_))) => return Err(error),
                    // Nothing below it can be reached; the others go on.
                    Err(_) => {
                        self.closed.push(id);
                        place.pop();
                        continue;
                    }
                }
                let full = self.renew_under(kind, nodes, place, behind, left)?;
                nodes.pop();
                if full.is_some() {
                    return Ok(full);
                }
            }
            place.pop();
        }
        Ok(None)
    }
}
