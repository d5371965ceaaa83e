//! The hoarder over the bare tree: every version of every page ever written, and the top key of now. Exhaustively for small histories;
//! and with faults planted, each of which must let him win, so that the attack is known to see them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::draft::EpochPlan;
use super::page::{Kind, Page};
use super::view::tenant_slot;
use super::*;
use crate::crypto::secret::Key;
use crate::domain::ids::{Handle, Pseudonym, TenantId};

const TENANT: TenantId = TenantId([7; 16]);
/// So few entries in a leaf that every history splits pages.
const LEAF_LIMIT: usize = 2;

#[derive(Clone, Default)]
struct Image(BTreeMap<NodeId, Vec<u8>>);

impl PageSource for Image {
    fn page(&self, id: NodeId) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(&id).cloned())
    }
}

impl Image {
    fn take(&mut self, writes: Vec<PageWrite>) {
        for write in writes {
            match write.sealed {
                Some(sealed) => self.0.insert(write.id, sealed),
                None => self.0.remove(&write.id),
            };
        }
    }
}

/// A tree that somebody kept an image of after every write.
struct House {
    now: Image,
    images: Vec<Image>,
    top: Key,
    /// The keys that customers had, each once.
    keys: HashMap<u8, Vec<Key>>,
    living: BTreeSet<u8>,
    splits: usize,
    label: fn(u8) -> [u8; 16],
    /// The tree and who lived, before each insert since the last epoch: what a restore can go back to.
    before: Vec<(Image, BTreeSet<u8>)>,
    /// Keys of inserts that a restore lost.
    lost: HashMap<u8, Vec<Key>>,
}

/// A name whose first four bits differ from customer to customer by chance, as real ones do.
fn apart(customer: u8) -> [u8; 16] {
    [customer.wrapping_mul(0x9d); 16]
}

/// A name that has its first eight bits in common with two others, and its first four with one more: so a page that splits splits again at
/// once, and a path is as long as four pages.
fn close(customer: u8) -> [u8; 16] {
    let mut label = [0; 16];
    label[..2].copy_from_slice(&[[0x00, 0x00], [0x00, 0x10], [0x0f, 0x20], [0x00, 0x20]][usize::from(customer % 4)]);
    label[15] = customer;
    label
}

impl House {
    fn new() -> Self {
        Self::of(apart)
    }

    fn of(label: fn(u8) -> [u8; 16]) -> Self {
        let empty = Image::default();
        let mut draft = Draft::create(&empty, LEAF_LIMIT);
        draft.add_tenant(TENANT).unwrap();
        let EpochPlan { writes, top } = draft.into_epoch();
        let mut house = Self {
            now: Image::default(),
            images: Vec::new(),
            top,
            keys: HashMap::new(),
            living: BTreeSet::new(),
            splits: 0,
            label,
            before: Vec::new(),
            lost: HashMap::new(),
        };
        house.write(writes);
        house
    }

    fn write(&mut self, writes: Vec<PageWrite>) {
        self.now.take(writes);
        self.images.push(self.now.clone());
    }

    fn add(&mut self, customer: u8) {
        let (before, label) = (self.now.0.len(), self.label);
        let source = self.now.clone();
        self.before.push((source.clone(), self.living.clone()));
        let mut draft = Draft::open(&source, &self.top, LEAF_LIMIT).unwrap();
        let key = draft.add_customer(TENANT, Pseudonym(label(customer)), Handle(label(customer))).unwrap();
        self.write(draft.into_inserts().writes);
        self.splits += usize::from(self.now.0.len() > before);
        self.keys.entry(customer).or_default().push(key);
        self.living.insert(customer);
    }

    /// Erases these in one epoch; `keep` is a fault: which top key stays.
    fn erase(&mut self, customers: &[u8], keep: Option<&Key>) {
        let (source, label) = (self.now.clone(), self.label);
        let mut draft = Draft::open(&source, &self.top, LEAF_LIMIT).unwrap();
        for customer in customers {
            draft.erase_customer(TENANT, Pseudonym(label(*customer)), Handle(label(*customer))).unwrap();
            self.living.remove(customer);
            // Also the keys that she had in inserts that were lost go with her.
            let lost = self.lost.remove(customer).unwrap_or_default();
            self.keys.get_mut(customer).unwrap().splice(0..0, lost);
        }
        let EpochPlan { mut writes, top } = draft.into_epoch();
        self.top = top;
        if let Some(old) = keep {
            let sealed = writes.iter_mut().find(|write| write.id == NodeId::TOP).unwrap();
            let page = Page::open(Kind::Top, NodeId::TOP, &self.top, sealed.sealed.as_ref().unwrap()).unwrap();
            sealed.sealed = Some(page.seal(Kind::Top, NodeId::TOP, old));
            self.top = old.duplicate();
        }
        self.before.clear();
        self.write(writes);
    }

    /// An epoch that is planned, comes to the disk, and does not count in the end: its root key is destroyed, and the one before stays.
    fn abort(&mut self, customer: u8) {
        let (source, label) = (self.now.clone(), (self.label)(customer));
        let mut draft = Draft::open(&source, &self.top, LEAF_LIMIT).unwrap();
        draft.erase_customer(TENANT, Pseudonym(label), Handle(label)).unwrap();
        let mut never = self.now.clone();
        never.take(draft.into_epoch().writes);
        self.images.push(never);
    }

    /// The disk is lost, and what comes back does not have the last insert: the page that it wrote is with the hoarder, beside the one of
    /// before, which counts again under the same keys.
    fn restore(&mut self) {
        let (image, living) = self.before.pop().unwrap();
        for lost in self.living.difference(&living) {
            let key = self.keys.get_mut(lost).and_then(Vec::pop).unwrap();
            self.lost.entry(*lost).or_default().push(key);
        }
        (self.now, self.living) = (image, living);
    }

    /// How many pages lie between the tenant's and the deepest customer key of now.
    fn depth(&self) -> usize {
        let reached = reach(vec![self.top.duplicate()], &[&self.now]).unwrap();
        let keys: HashMap<NodeId, Key> = reached.pages.into_iter().collect();
        let open = |kind, id: NodeId| Page::open(kind, id, &keys[&id], &self.now.0[&id]).unwrap();
        let tenant = open(Kind::Tenant, NodeId(TENANT.0));
        let (mut level, mut depth) = (vec![tenant.child(tenant_slot::CUSTOMERS).unwrap().id], 0);
        while !level.is_empty() {
            depth += 1;
            let pages = level.iter().map(|id| open(Kind::Customers, *id));
            let below = pages.flat_map(|page| match page {
                Page::Inner(children) => children.into_iter().map(|child| child.id).collect(),
                Page::Leaf(_) => Vec::new(),
            });
            level = below.collect();
        }
        depth
    }

    /// Gives a customer a fresh key, as the erasure of one of her records does.
    fn rekey(&mut self, customer: u8) {
        let source = self.now.clone();
        let mut draft = Draft::open(&source, &self.top, LEAF_LIMIT).unwrap();
        let (old, fresh) = draft.rekey_customer(TENANT, Handle((self.label)(customer))).unwrap();
        assert!(self.keys[&customer].last().unwrap().same_as(&old));
        self.keys.get_mut(&customer).unwrap().push(fresh);
        let EpochPlan { writes, top } = draft.into_epoch();
        self.top = top;
        self.before.clear();
        self.write(writes);
    }

    /// The customers' keys that the hoarder reaches, each with whether it is one that still counts.
    fn attack(&self) -> (BTreeSet<u8>, BTreeSet<u8>) {
        let copies: Vec<&dyn PageSource> = self.images.iter().map(|image| image as &dyn PageSource).collect();
        let reached = reach(vec![self.top.duplicate()], &copies).unwrap();
        let (mut living, mut dead) = (BTreeSet::new(), BTreeSet::new());
        for (customer, keys) in &self.keys {
            for (at, key) in keys.iter().enumerate() {
                let counts = self.living.contains(customer) && at + 1 == keys.len();
                if reached.customers.iter().any(|(_, found)| found.same_as(key)) {
                    if counts {
                        living.insert(*customer)
                    } else {
                        dead.insert(*customer)
                    };
                }
            }
        }
        (living, dead)
    }

    fn assert_holds(&self, history: &[Step]) {
        let (living, dead) = self.attack();
        assert!(dead.is_empty(), "{history:?}: keys of {dead:?} are reached");
        assert_eq!(living, self.living, "{history:?}: the attack does not reach who lives");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Add(u8),
    Erase(u8),
    EraseBoth(u8, u8),
    Rekey(u8),
    Abort(u8),
    Restore,
}

impl House {
    fn take(&mut self, step: Step) {
        match step {
            Step::Add(customer) => self.add(customer),
            Step::Erase(customer) => self.erase(&[customer], None),
            Step::EraseBoth(one, other) => self.erase(&[one, other], None),
            Step::Rekey(customer) => self.rekey(customer),
            Step::Abort(customer) => self.abort(customer),
            Step::Restore => self.restore(),
        }
    }

    fn possible(&self, most: u8) -> Vec<Step> {
        let living: Vec<u8> = self.living.iter().copied().collect();
        // Of those who were never there it is all the same who comes next.
        let known = self.keys.keys().copied().max().map_or(0, |last| last + 1);
        let newcomers = (0..known.saturating_add(1).min(most)).filter(|customer| !self.living.contains(customer));
        let mut steps: Vec<Step> = newcomers.map(Step::Add).collect();
        let alone = |customer: &u8| [Step::Erase(*customer), Step::Rekey(*customer), Step::Abort(*customer)];
        steps.extend(living.iter().flat_map(alone));
        let pairs =
            living.iter().enumerate().flat_map(|(at, one)| living[at + 1..].iter().map(move |other| (one, other)));
        steps.extend(pairs.map(|(one, other)| Step::EraseBoth(*one, *other)));
        steps.extend((!self.before.is_empty()).then_some(Step::Restore));
        steps
    }
}

/// How often what was in all histories together.
#[derive(Debug, Default)]
struct Coverage {
    histories: usize,
    splits: usize,
    shared_epochs: usize,
    erased_alone: usize,
    aborted_epochs: usize,
    restores: usize,
    deepest: usize,
}

/// All histories of up to so many steps with up to 4 customers; the states of the house are rebuilt step by step.
fn every_history(label: fn(u8) -> [u8; 16], most_steps: usize) -> Coverage {
    const CUSTOMERS: u8 = 4;
    let mut covered = Coverage::default();
    let mut to_try: Vec<Vec<Step>> = vec![Vec::new()];
    while let Some(history) = to_try.pop() {
        let mut house = House::of(label);
        history.iter().for_each(|step| house.take(*step));
        house.assert_holds(&history);
        let count = |is: fn(&Step) -> bool| history.iter().filter(|step| is(step)).count();
        covered.histories += 1;
        covered.splits += house.splits;
        covered.shared_epochs += count(|step| matches!(step, Step::EraseBoth(..)));
        covered.erased_alone += count(|step| matches!(step, Step::Erase(_)));
        covered.aborted_epochs += count(|step| matches!(step, Step::Abort(_)));
        covered.restores += count(|step| matches!(step, Step::Restore));
        if matches!(history.last(), Some(Step::Add(_))) {
            covered.deepest = covered.deepest.max(house.depth());
        }
        if history.len() < most_steps {
            to_try.extend(house.possible(CUSTOMERS).into_iter().map(|step| [&history[..], &[step]].concat()));
        }
    }
    covered
}

#[test]
fn the_hoarder_of_every_small_history_reaches_nothing_of_the_erased_and_all_of_the_living() {
    for (names, label, deepest) in [("apart", apart as fn(u8) -> [u8; 16], 2), ("close", close, 4)] {
        let covered = every_history(label, 6);
        println!("hoarder, small histories, names {names}: {covered:?}");
        let Coverage { histories, splits, shared_epochs, erased_alone, aborted_epochs, restores, .. } = covered;
        assert!(histories > 1_000, "{covered:?}");
        let counts = [splits, shared_epochs, erased_alone, aborted_epochs, restores];
        assert!(counts.into_iter().all(|count| count > 0), "{covered:?}");
        assert_eq!(covered.deepest, deepest, "names {names}: pages on the longest path");
    }
}

fn six() -> House {
    let mut house = House::new();
    (0..6).for_each(|customer| house.add(customer));
    house
}

#[test]
fn the_hoarder_wins_if_the_root_key_is_not_replaced() {
    let mut house = six();
    let old = house.top.duplicate();
    house.erase(&[3], Some(&old));
    assert_eq!(house.attack().1, BTreeSet::from([3]));
}

#[test]
fn the_hoarder_wins_if_a_staged_key_is_used_again_after_a_restore() {
    let mut house = six();
    let (before, top_before) = (house.now.clone(), house.top.duplicate());
    house.erase(&[0], None);
    let staged = house.top.duplicate();
    house.assert_holds(&[]);
    // The disk is lost, and an image of before the epoch restored; the epoch is repeated, for another, with the key that was staged.
    (house.now, house.top) = (before, top_before);
    house.living.insert(0);
    house.erase(&[3], Some(&staged));
    assert!(house.attack().1.contains(&3), "{:?}", house.attack());
}

#[test]
fn the_hoarder_wins_if_a_key_moves_to_another_customer() {
    let mut house = six();
    let moved = house.keys[&3][0].duplicate();
    let source = house.now.clone();
    let mut draft = Draft::open(&source, &house.top, LEAF_LIMIT).unwrap();
    draft.add_customer_with(TENANT, Pseudonym(apart(9)), Handle(apart(9)), moved.duplicate()).unwrap();
    house.write(draft.into_inserts().writes);
    house.erase(&[3], None);
    assert_eq!(house.attack().1, BTreeSet::from([3]));
}

#[test]
fn the_hoarder_wins_if_an_insert_uses_an_old_page_key_again() {
    let mut house = six();
    let old_pages = house.images.clone();
    let old_top = house.top.duplicate();
    house.erase(&[3], None);
    house.assert_holds(&[]);
    // Every page that an insert writes now gets the key that the page of that name had before the epoch.
    let source = house.now.clone();
    let mut draft = Draft::open(&source, &house.top, LEAF_LIMIT).unwrap();
    draft.add_customer(TENANT, Pseudonym(apart(9)), Handle(apart(9))).unwrap();
    let copies: Vec<&dyn PageSource> = old_pages.iter().map(|image| image as &dyn PageSource).collect();
    let old_keys: HashMap<NodeId, Key> = reach(vec![old_top], &copies).unwrap().pages.into_iter().collect();
    draft.use_keys_again(&old_keys);
    house.write(draft.into_inserts().writes);
    assert!(house.attack().1.contains(&3), "{:?}", house.attack());
}
