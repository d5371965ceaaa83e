//! Every key that a thief could reach: from top keys, down over any number of stolen copies of the pages. A lookup trusts one
//! copy; a thief tries them all. For the demo's attacker and for tests that attack; the service never walks like this.

use std::collections::HashMap;

use super::page::{Kind, Page};
use super::view::{handle_of, tenant_slot, top_slot};
use super::{NodeId, PageSource, SourceError};
use crate::crypto::secret::Key;
use crate::domain::ids::{Handle, Pseudonym, TenantId};

/// What could be reached.
#[derive(Default)]
pub struct Reached {
    /// Customer keys. One customer may have several, of different copies.
    pub customers: Vec<(Handle, Key)>,
    /// Links from a person to a handle.
    pub links: Vec<(Pseudonym, Handle)>,
    /// Tenants whose page opened.
    pub tenants: Vec<TenantId>,
    /// The keys of pages that opened; a page of several copies may have several.
    pub pages: Vec<(NodeId, Key)>,
    /// Pages that opened, over all copies.
    pub pages_opened: usize,
    /// Pages that stayed closed under every key that was known for them.
    pub pages_closed: usize,
}

/// Walks from `tops`. At each page every copy of it is tried, so that a key of one copy opens what it can in another.
pub fn reach(tops: Vec<Key>, copies: &[&dyn PageSource]) -> Result<Reached, SourceError> {
    let mut reached = Reached::default();
    let mut tried: HashMap<NodeId, Vec<Key>> = HashMap::new();
    let mut to_try: Vec<Step> = tops.into_iter().map(|key| (Kind::Top, NodeId::TOP, key)).collect();
    while let Some((kind, id, key)) = to_try.pop() {
        let known = tried.entry(id).or_default();
        if known.iter().any(|earlier| earlier.same_as(&key)) {
            continue;
        }
        known.push(key.duplicate());
        for stored in versions(id, copies)? {
            match Page::open(kind, id, &key, &stored) {
                Ok(page) => {
                    reached.pages.push((id, key.duplicate()));
                    reached.take(kind, id, page, &mut to_try);
                }
                Err(_) => reached.pages_closed += 1,
            }
        }
    }
    Ok(reached)
}

type Step = (Kind, NodeId, Key);

/// The different bytes that stand under `id` in the copies.
fn versions(id: NodeId, copies: &[&dyn PageSource]) -> Result<Vec<Vec<u8>>, SourceError> {
    let mut versions = Vec::with_capacity(copies.len());
    for copy in copies {
        versions.extend(copy.page(id)?);
    }
    versions.dedup();
    Ok(versions)
}

impl Reached {
    fn take(&mut self, kind: Kind, id: NodeId, page: Page, to_try: &mut Vec<Step>) {
        self.pages_opened += 1;
        if kind == Kind::Tenant {
            self.tenants.push(TenantId(id.0));
        }
        match page {
            Page::Inner(children) => {
                let below =
                    children.into_iter().filter_map(|child| Some((below(kind, child.slot)?, child.id, child.key)));
                to_try.extend(below);
            }
            Page::Leaf(entries) => {
                for entry in entries {
                    match kind {
                        Kind::Tenants => to_try.push((Kind::Tenant, NodeId(entry.label), entry.payload)),
                        Kind::Directory => self.links.push((Pseudonym(entry.label), handle_of(&entry.payload))),
                        Kind::Customers => self.customers.push((Handle(entry.label), entry.payload)),
                        Kind::Top | Kind::Tenant => {}
                    }
                }
            }
        }
    }
}

/// The kind of the page behind a slot; `None` for a key that seals no page.
fn below(kind: Kind, slot: u8) -> Option<Kind> {
    match (kind, slot) {
        (Kind::Top, top_slot::TENANTS) => Some(Kind::Tenants),
        (Kind::Tenant, tenant_slot::DIRECTORY) => Some(Kind::Directory),
        (Kind::Tenant, tenant_slot::CUSTOMERS) => Some(Kind::Customers),
        (Kind::Top | Kind::Tenant, _) => None,
        (trie, _) => Some(trie),
    }
}

/// What is reached by force.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Forced {
    /// Every key that stood in a page that opened, whatever it is for, and the top keys.
    pub keys: Vec<Key>,
    /// Links from a person to a handle.
    pub links: Vec<(Pseudonym, Handle)>,
    /// Versions of pages that opened.
    pub pages_opened: usize,
    /// And those that did not.
    pub pages_closed: usize,
    /// Of those that opened, the pages of tries that had split.
    pub inner_pages: usize,
    /// How often a key was tried on a page.
    pub tries: usize,
}

/// Tries every key that is reached on every version of every page, as a page of every kind, whatever says for which page it is. For tests
/// that attack small trees.
#[cfg(test)]
pub(crate) fn reach_by_force(tops: Vec<Key>, pages: &[(NodeId, Vec<u8>)]) -> Forced {
    const KINDS: [Kind; 5] = [Kind::Top, Kind::Tenants, Kind::Tenant, Kind::Directory, Kind::Customers];
    let mut forced = Forced::default();
    let mut closed: Vec<&(NodeId, Vec<u8>)> = pages.iter().collect();
    let mut known = std::collections::HashSet::new();
    let mut to_try = tops;
    while let Some(key) = to_try.pop() {
        if !known.insert(*key.expose()) {
            continue;
        }
        forced.tries += closed.len() * KINDS.len();
        closed.retain(|(id, stored)| {
            let opened = KINDS.into_iter().find_map(|kind| Some((kind, Page::open(kind, *id, &key, stored).ok()?)));
            let stays = opened.is_none();
            if let Some((kind, page)) = opened {
                forced.take(kind, page, &mut to_try);
            }
            stays
        });
        forced.keys.push(key);
    }
    forced.pages_closed = closed.len();
    forced
}

#[cfg(test)]
impl Forced {
    fn take(&mut self, kind: Kind, page: Page, to_try: &mut Vec<Key>) {
        self.pages_opened += 1;
        match (page, kind) {
            (Page::Inner(children), _) => {
                self.inner_pages += usize::from(!matches!(kind, Kind::Top | Kind::Tenant));
                to_try.extend(children.into_iter().map(|child| child.key));
            }
            (Page::Leaf(entries), Kind::Directory) => {
                self.links.extend(entries.iter().map(|entry| (Pseudonym(entry.label), handle_of(&entry.payload))));
            }
            (Page::Leaf(entries), _) => to_try.extend(entries.into_iter().map(|entry| entry.payload)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Draft, PageWrite};

    #[derive(Clone, Default)]
    struct Copy(HashMap<NodeId, Vec<u8>>);

    impl PageSource for Copy {
        fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
            Ok(self.0.get(&id).cloned())
        }
    }

    impl Copy {
        fn store(&mut self, writes: Vec<PageWrite>) {
            for write in writes {
                match write.sealed {
                    Some(sealed) => self.0.insert(write.id, sealed),
                    None => self.0.remove(&write.id),
                };
            }
        }
    }

    fn customers(tops: Vec<Key>, copies: &[&dyn PageSource]) -> Vec<u8> {
        let reached = reach(tops, copies).unwrap();
        let mut numbers: Vec<u8> = reached.customers.iter().map(|(handle, _)| handle.0[0]).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    #[test]
    fn from_the_top_of_now_everyone_is_reached_but_the_erased_and_from_the_old_top_all() {
        const LEAF_LIMIT: usize = 2;
        let tenant = TenantId([7; 16]);
        let mut before = Copy::default();
        let mut draft = Draft::create(&before, LEAF_LIMIT);
        draft.add_tenant(tenant).unwrap();
        for number in 0..20 {
            draft.add_customer(tenant, Pseudonym([number; 16]), Handle([number; 16])).unwrap();
        }
        let plan = draft.into_epoch();
        before.store(plan.writes);
        let mut now = before.clone();
        let mut draft = Draft::open(&before, &plan.top, LEAF_LIMIT).unwrap();
        draft.erase_customer(tenant, Pseudonym([5; 16]), Handle([5; 16])).unwrap();
        let epoch = draft.into_epoch();
        now.store(epoch.writes);

        let all: Vec<u8> = (0..20).collect();
        let others: Vec<u8> = all.iter().copied().filter(|number| *number != 5).collect();
        assert_eq!(customers(vec![plan.top], &[&before]), all);
        assert_eq!(customers(vec![epoch.top.duplicate()], &[&before]), Vec::<u8>::new());
        assert_eq!(customers(vec![epoch.top.duplicate()], &[&before, &now]), others);
        assert_eq!(reach(vec![epoch.top], &[&before, &now]).unwrap().links.len(), others.len());
    }
}
