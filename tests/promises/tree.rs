//! The key tree forgets. Against a plain map it finds what was put in and not taken out; and after each epoch no key that ever stood
//! on the way to an erased customer opens a page of now, while all other pages stay as they were, byte for byte.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use oubliette::crypto::Key;
use oubliette::domain::ids::{Handle, Pseudonym, TenantId};
use oubliette::keys::{Draft, LEAF_LIMIT, NodeId, PageSource, PageWrite, SourceError, View, reach};

use crate::chance::Chance;
use crate::tell;

const TENANTS: usize = 4;
/// Of the customers that are there, and of those that are gone, about so many are looked up one by one after each step.
const LOOKED_UP: usize = 25;

#[test]
fn with_leaves_that_split_above_two_the_tree_agrees_with_a_map_and_forgets() {
    Scene::new("tree, leaves of 2", 2).play(80, 4);
}

#[test]
fn with_leaves_as_in_service_the_tree_agrees_with_a_map_and_forgets() {
    Scene::new("tree, leaves of 48", LEAF_LIMIT).play(24, 60);
}

#[test]
fn a_hoarder_of_all_old_pages_gets_nothing_of_the_erased_with_the_top_key_of_now() {
    let mut scene = Scene::new("tree, hoarder", 2);
    let mut hoard = Vec::new();
    for _ in 0..25 {
        scene.insert(3);
        hoard.push(scene.pages.clone());
        scene.erase(2);
        hoard.push(scene.pages.clone());
        let copies: Vec<&dyn PageSource> = hoard.iter().map(|pages| pages as &dyn PageSource).collect();
        scene.assert_forgotten(&copies);
    }
    tell(&format!("tree, hoarder: {} copies, {} erased", hoard.len(), scene.gone.len()));
}

/// A plan that was made from pages which others have changed since is void, and one that is not void harms nobody.
#[test]
fn a_plan_from_stale_pages_is_void_or_harmless() {
    let mut scene = Scene::new("tree, stale plans", 2);
    scene.insert(12);
    let (mut void, mut harmless) = (0, 0);
    for _ in 0..80 {
        let (stale_pages, stale_top) = (scene.pages.clone(), scene.top.duplicate());
        let is_erasure = scene.chance.percent(50) && scene.count() > 4;
        let late = scene.new_customer();
        let mut draft = Draft::open(&stale_pages, &stale_top, 2).unwrap();
        let key = draft.add_customer(scene.tenants[late.tenant], late.pseudonym, late.handle).unwrap();
        let plan = draft.into_inserts();
        let epoch = Draft::open(&stale_pages, &stale_top, 2).unwrap().into_epoch();

        if is_erasure {
            scene.erase(1)
        } else {
            scene.insert(1)
        }

        // The top page is in every epoch: of two, the later is void; after an insert alone it may still come.
        let before = scene.pages.clone();
        let applied = scene.pages.apply(epoch.writes);
        assert_eq!(applied, !is_erasure, "an epoch planned before another one");
        if applied {
            scene.top = epoch.top;
        } else {
            assert!(scene.pages == before, "a void plan wrote something");
        }
        let before = scene.pages.clone();
        if scene.pages.apply(plan.writes) {
            scene.customers.insert(late, *key.expose());
            harmless += 1;
        } else {
            assert!(scene.pages == before, "a void plan wrote something");
            void += 1;
        }
        scene.assert_agrees();
        let now = scene.pages.clone();
        scene.assert_forgotten(&[&now]);
    }
    tell(&format!("tree, stale plans: {void} void, {harmless} harmless"));
    assert!(void > 0 && harmless > 0);
}

/// Stored pages, as a database has them.
#[derive(Clone, Default, PartialEq)]
struct Pages(HashMap<NodeId, Vec<u8>>);

impl PageSource for Pages {
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(&id).cloned())
    }
}

impl Pages {
    /// Writes all pages of a plan, or none where one is not as it was read.
    fn apply(&mut self, writes: Vec<PageWrite>) -> bool {
        if writes.iter().any(|write| self.0.get(&write.id) != write.as_read.as_ref()) {
            return false;
        }
        for write in writes {
            match write.sealed {
                Some(sealed) => drop(self.0.insert(write.id, sealed)),
                None => drop(self.0.remove(&write.id)),
            }
        }
        true
    }
}

/// Pages that note which of them were read.
struct Traced<'a>(&'a Pages, RefCell<BTreeSet<NodeId>>);

impl PageSource for Traced<'_> {
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
        self.1.borrow_mut().insert(id);
        self.0.page(id)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Customer {
    tenant: usize,
    pseudonym: Pseudonym,
    handle: Handle,
}

/// The tree, and what it must be.
struct Scene {
    chance: Chance,
    leaf_limit: usize,
    pages: Pages,
    top: Key,
    tenants: Vec<TenantId>,
    customers: BTreeMap<Customer, [u8; 32]>,
    gone: BTreeMap<Customer, [u8; 32]>,
}

impl Scene {
    fn new(name: &str, leaf_limit: usize) -> Self {
        let mut chance = Chance::of_test(name);
        let mut pages = Pages::default();
        let nothing = Pages::default();
        let mut draft = Draft::create(&nothing, leaf_limit);
        let tenants: Vec<_> = (0..TENANTS).map(|_| TenantId(chance.id())).collect();
        tenants.iter().for_each(|tenant| draft.add_tenant(*tenant).unwrap());
        let plan = draft.into_epoch();
        assert!(pages.apply(plan.writes));
        let (customers, gone) = (BTreeMap::new(), BTreeMap::new());
        Self { chance, leaf_limit, pages, top: plan.top, tenants, customers, gone }
    }

    fn play(mut self, steps: usize, most_at_once: usize) {
        let (mut inserts, mut epochs) = (0, 0);
        for _ in 0..steps {
            let some = 1 + self.chance.below(most_at_once);
            // Grows first, then shrinks to nothing, then grows again.
            if self.count() == 0 || self.chance.percent(if epochs < steps / 4 { 65 } else { 40 }) {
                self.insert(some);
                inserts += 1;
            } else {
                self.erase(some);
                epochs += 1;
            }
            self.assert_agrees();
        }
        let all = self.count();
        if all > 0 {
            self.erase(all);
        }
        self.assert_agrees();
        self.insert(most_at_once);
        self.assert_agrees();
        tell(&format!(
            "tree, leaves of {}: {inserts} inserts and {epochs} epochs, {} customers erased, {} pages at the end",
            self.leaf_limit,
            self.gone.len(),
            self.pages.0.len()
        ));
    }

    fn count(&self) -> usize {
        self.customers.len()
    }

    /// Half of the customers are neighbours: their labels begin alike, so that the tries grow deep.
    fn new_customer(&mut self) -> Customer {
        let (mut pseudonym, mut handle) = (self.chance.id(), self.chance.id());
        if self.chance.percent(50) {
            pseudonym[..3].fill(0x77);
            handle[..2].fill(0x11);
        }
        let tenant = self.chance.below(TENANTS);
        Customer { tenant, pseudonym: Pseudonym(pseudonym), handle: Handle(handle) }
    }

    fn insert(&mut self, some: usize) {
        let old = self.pages.clone();
        let new: Vec<Customer> = (0..some).map(|_| self.new_customer()).collect();
        let mut draft = Draft::open(&old, &self.top, self.leaf_limit).unwrap();
        for customer in new {
            let tenant = self.tenants[customer.tenant];
            let key = draft.add_customer(tenant, customer.pseudonym, customer.handle).unwrap();
            assert!(draft.add_customer(tenant, customer.pseudonym, customer.handle).is_err(), "added twice");
            self.customers.insert(customer, *key.expose());
        }
        assert!(self.pages.apply(draft.into_inserts().writes));
        // That the walk of `assert_path_is_rekeyed` would find an old key that opens a new page: after inserts they all do.
        let rewritten = changed(&old, &self.pages);
        assert!(opened_with_old_keys(&self.top, &old, &only(&self.pages, &rewritten)) > 0, "the walk sees nothing");
    }

    /// Erases some customers, and a page of the tree with all the rest of them, in one epoch.
    fn erase(&mut self, some: usize) {
        let (old, old_top) = (self.pages.clone(), self.top.duplicate());
        let mut erased = BTreeSet::new();
        let mut draft = Draft::open(&old, &old_top, self.leaf_limit).unwrap();
        let all: Vec<Customer> = self.customers.keys().copied().collect();
        for _ in 0..some {
            let customer = *self.chance.one_of(&all);
            let erase = draft.erase_customer(self.tenants[customer.tenant], customer.pseudonym, customer.handle);
            assert_eq!(erase.is_ok(), erased.insert(customer), "erased twice, or not at all");
        }
        let path: BTreeSet<NodeId> = erased.iter().flat_map(|customer| self.path(&old, *customer)).collect();
        let plan = draft.into_epoch();
        assert!(self.pages.apply(plan.writes));
        self.top = plan.top;
        for customer in erased {
            self.gone.insert(customer, self.customers.remove(&customer).unwrap());
        }
        self.assert_path_is_rekeyed(&old, &old_top, &path);
        let now = self.pages.clone();
        self.assert_forgotten(&[&old, &now]);
    }

    /// The pages from the top to both leaves of a customer: those that looking the customer up reads.
    fn path(&self, pages: &Pages, customer: Customer) -> BTreeSet<NodeId> {
        let traced = Traced(pages, RefCell::default());
        let view = View::new(&traced, &self.top);
        let tenant = view.tenant(self.tenants[customer.tenant]).unwrap().unwrap();
        assert_eq!(view.handle(&tenant, customer.pseudonym).unwrap(), Some(customer.handle));
        assert!(view.customer(&tenant, customer.handle).unwrap().is_some());
        traced.1.into_inner()
    }

    /// The keys of before open no page of the path as it stands now; every other page is what it was.
    fn assert_path_is_rekeyed(&self, old: &Pages, old_top: &Key, path: &BTreeSet<NodeId>) {
        assert!(path.contains(&NodeId::TOP));
        for (id, page) in &old.0 {
            let now = self.pages.0.get(id);
            if path.contains(id) {
                assert_ne!(now, Some(page), "{id:?} on the path was not written");
            } else {
                assert_eq!(now, Some(page), "{id:?} off the path was touched");
            }
        }
        assert!(self.pages.0.keys().all(|id| old.0.contains_key(id)), "an epoch without inserts has new pages");
        assert!(reach(vec![old_top.duplicate()], &[&self.pages]).unwrap().pages_opened == 0, "the old top key opens");
        assert_eq!(opened_with_old_keys(old_top, old, &only(&self.pages, path)), 0, "an old key opens a page of now");
    }

    /// The tree finds all that must be there, and nothing else.
    fn assert_agrees(&self) {
        let view = View::new(&self.pages, &self.top);
        let mut found = BTreeMap::new();
        let mut tenants = BTreeSet::new();
        view.each_tenant(&mut |id, keys| {
            tenants.insert(id);
            let mut links = HashMap::new();
            view.each_link(&keys, &mut |pseudonym, handle| assert!(links.insert(handle, pseudonym).is_none())).unwrap();
            let tenant = self.tenants.iter().position(|tenant| *tenant == id).unwrap();
            view.each_customer(&keys, &mut |handle, key| {
                let pseudonym = links.remove(&handle).unwrap();
                found.insert(Customer { tenant, pseudonym, handle }, *key.expose());
            })
            .unwrap();
            assert!(links.is_empty(), "links to customers without a key");
        })
        .unwrap();
        assert_eq!(tenants, self.tenants.iter().copied().collect());
        assert!(found == self.customers, "{} found, {} expected", found.len(), self.customers.len());
        self.assert_lookups_agree(&view);
    }

    /// Looking one customer up finds what walking over all of them found; for some customers of each kind.
    fn assert_lookups_agree(&self, view: &View<'_>) {
        let tenants: Vec<_> = self.tenants.iter().map(|tenant| view.tenant(*tenant).unwrap().unwrap()).collect();
        let some = |of: &BTreeMap<Customer, [u8; 32]>| -> Vec<_> {
            let step = (of.len() / LOOKED_UP).max(1);
            of.iter().map(|(customer, key)| (*customer, *key)).step_by(step).collect()
        };
        for (customer, key) in some(&self.customers).into_iter().chain(some(&self.gone)) {
            let tenant = &tenants[customer.tenant];
            let is_there = self.customers.contains_key(&customer);
            let handle = view.handle(tenant, customer.pseudonym).unwrap();
            assert_eq!(handle, is_there.then_some(customer.handle));
            let looked_up = view.customer(tenant, customer.handle).unwrap().map(|key| *key.expose());
            assert!(looked_up == is_there.then_some(key), "the key of {:?}", customer.handle);
        }
    }

    /// From the top key of now, over all these copies, no key, handle or link of an erased customer can be reached.
    fn assert_forgotten(&self, copies: &[&dyn PageSource]) {
        let reached = reach(vec![self.top.duplicate()], copies).unwrap();
        let gone_keys: BTreeSet<&[u8; 32]> = self.gone.values().collect();
        let gone: BTreeSet<(Pseudonym, Handle)> = self.gone.keys().map(|gone| (gone.pseudonym, gone.handle)).collect();
        let gone_handles: BTreeSet<Handle> = gone.iter().map(|gone| gone.1).collect();
        for (handle, key) in &reached.customers {
            assert!(!gone_handles.contains(handle) && !gone_keys.contains(key.expose()), "an erased key is in reach");
        }
        assert!(reached.links.iter().all(|link| !gone.contains(link)), "an erased link is in reach");
        let reached: BTreeSet<Handle> = reached.customers.iter().map(|(handle, _)| *handle).collect();
        assert!(self.customers.keys().all(|customer| reached.contains(&customer.handle)), "the walk is not whole");
    }
}

/// The pages that are not what they were.
fn changed(old: &Pages, new: &Pages) -> BTreeSet<NodeId> {
    new.0.iter().filter(|(id, page)| old.0.get(id) != Some(page)).map(|(id, _)| *id).collect()
}

fn only(pages: &Pages, ids: &BTreeSet<NodeId>) -> Pages {
    Pages(pages.0.iter().filter(|(id, _)| ids.contains(id)).map(|(id, page)| (*id, page.clone())).collect())
}

/// How many of the `new` pages open with a key that can be reached from the old top key in the old pages.
fn opened_with_old_keys(old_top: &Key, old: &Pages, new: &Pages) -> usize {
    let without = reach(vec![old_top.duplicate()], &[old]).unwrap();
    let with = reach(vec![old_top.duplicate()], &[old, new]).unwrap();
    assert_eq!(without.pages_closed, 0);
    assert!(with.pages_opened + with.pages_closed >= without.pages_opened + new.0.len(), "not all were tried");
    with.pages_opened - without.pages_opened
}
