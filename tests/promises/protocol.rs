//! The protocol of an erasure as a model, checked in all its states in small: requests, the committer, the provider of root keys, a mirror,
//! crashes, the loss of the disk or the mirror, and the restore from what is left. The hoarder is part of it: he keeps every image of disk
//! and mirror, and has whatever keys the provider holds.
//!
//! The steps are those of the manual's chapter on erasure, with the mirror that is to come in step 4. What a crash forgets is which step came next: start-up goes on from what the
//! database names and the provider holds, as the service does. With a wrong order of steps planted, the model finds the broken promise.

use stateright::{Checker as _, Model, Property};

use crate::tell;

/// So many customers, as bits.
const CUSTOMERS: u8 = 2;
/// So many root keys there ever are; the first is there at the beginning.
const KEYS: usize = 4;
/// So many losses of a disk there are at most.
const LOSSES: u8 = 2;

/// What stands durably on the disk, and in the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Database {
    /// The root key that it names.
    root: usize,
    /// Whose keys are in the tree.
    customers: u8,
    /// Who is fenced off.
    tombstones: u8,
    /// Whose erasure was asked for and is not carried out.
    pending: u8,
    /// To whom a receipt is owed.
    owed: u8,
    /// Who has one.
    receipts: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    disk: Option<Database>,
    mirror: Option<Database>,
    /// The keys that the provider holds, as bits.
    held: u8,
    /// The next key that it would make.
    next_key: usize,
    /// The key that was staged for the epoch that runs; forgotten by a crash.
    staged: Option<usize>,
    /// What the hoarder gets under each root key: the customers in every image that it opens.
    images: [u8; KEYS],
    /// Stored, acknowledged, and in the mirror.
    safe: u8,
    /// Whose erasure was asked for: from then on everybody is refused.
    asked: u8,
    /// Whose erasure was acknowledged.
    erased: u8,
    losses: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Store(u8),
    Ask(u8),
    Stage,
    Write,
    Mirror,
    Destroy,
    Receipt,
    Crash,
    LoseDisk,
    LoseMirror,
    Restore,
    NewMirror,
}

/// What is done wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Right,
    DestroyBeforeTheMirrorHasIt,
    DestroyBeforeItIsWritten,
    ReceiptBeforeTheDestruction,
    StagedKeyUsedAgain,
    TombstoneNotMirroredFirst,
}

struct Protocol(Order);

fn bit(key: usize) -> u8 {
    1 << key
}

impl Database {
    fn seen(&self, images: &mut [u8; KEYS]) {
        images[self.root] |= self.customers;
    }
}

impl Protocol {
    fn may_destroy(&self, state: &State, disk: &Database) -> bool {
        let is_mirrored = state.mirror.is_some_and(|mirror| mirror.root == disk.root);
        let mirrored_or_wrong = is_mirrored || self.0 == Order::DestroyBeforeTheMirrorHasIt;
        match (self.0, state.staged) {
            // Keeps the staged key, which no database names yet.
            (Order::DestroyBeforeItIsWritten, Some(staged)) => state.held != bit(staged),
            _ => state.held != bit(disk.root) && mirrored_or_wrong && state.staged.is_none(),
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let new = Database { root: 0, customers: 0, tombstones: 0, pending: 0, owed: 0, receipts: 0 };
        vec![State {
            disk: Some(new),
            mirror: Some(new),
            held: bit(0),
            next_key: 1,
            staged: None,
            images: [0; KEYS],
            safe: 0,
            asked: 0,
            erased: 0,
            losses: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        use Action::*;
        if state.losses < LOSSES {
            actions.extend(state.disk.and(state.mirror).map(|_| LoseDisk));
            actions.extend(state.mirror.and(state.disk).map(|_| LoseMirror));
        }
        let Some(disk) = state.disk else {
            actions.extend(state.mirror.map(|_| Restore));
            return;
        };
        for customer in (0..CUSTOMERS).map(|customer| 1 << customer) {
            if disk.customers & customer == 0 && disk.tombstones & customer == 0 {
                actions.push(Store(customer));
            }
            if disk.customers & customer != 0 && disk.tombstones & customer == 0 && state.mirror.is_some() {
                actions.push(Ask(customer));
            }
        }
        let has_one_key = state.held == bit(disk.root) || self.0 == Order::StagedKeyUsedAgain;
        if disk.pending != 0 && disk.owed == 0 && state.staged.is_none() && has_one_key && state.next_key < KEYS {
            actions.push(Stage);
        }
        actions.extend(state.staged.map(|_| Write));
        match state.mirror {
            None => actions.push(NewMirror),
            Some(mirror) if mirror != disk => actions.push(Mirror),
            Some(_) => {}
        }
        if self.may_destroy(state, &disk) {
            actions.push(Destroy);
        }
        let is_destroyed = state.held == bit(disk.root) || self.0 == Order::ReceiptBeforeTheDestruction;
        if disk.owed != 0 && is_destroyed && state.staged.is_none() {
            actions.push(Receipt);
        }
        actions.extend(state.staged.map(|_| Crash));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        if let (Action::Restore, Some(mirror)) = (action, last.mirror) {
            state.disk = Some(mirror);
            return Some(state);
        }
        let disk = state.disk.as_mut()?;
        match action {
            Action::Store(customer) => disk.customers |= customer,
            Action::Ask(customer) => {
                disk.tombstones |= customer;
                disk.pending |= customer;
                state.asked |= customer;
                // A deciding row is in the mirror before it is acknowledged.
                if let (Some(mirror), true) = (&mut state.mirror, self.0 != Order::TombstoneNotMirroredFirst) {
                    mirror.tombstones |= customer;
                    mirror.pending |= mirror.customers & customer;
                }
            }
            Action::Stage => {
                // A key that was left unnamed is never used again, unless that is what is done wrongly.
                let left = (0..KEYS).find(|key| state.held & bit(*key) != 0 && *key != disk.root);
                let key = left.filter(|_| self.0 == Order::StagedKeyUsedAgain).unwrap_or(state.next_key);
                state.next_key = state.next_key.max(key + 1);
                state.held |= bit(key);
                state.staged = Some(key);
            }
            Action::Write => {
                disk.root = state.staged.take()?;
                disk.customers &= !disk.pending;
                disk.owed |= disk.pending;
                disk.pending = 0;
            }
            Action::Mirror | Action::NewMirror => {
                state.mirror = Some(*disk);
                state.safe |= disk.customers;
            }
            Action::Destroy => {
                let kept = match (self.0, state.staged) {
                    (Order::DestroyBeforeItIsWritten, Some(staged)) => staged,
                    _ => disk.root,
                };
                state.held = bit(kept);
            }
            Action::Receipt => {
                disk.receipts |= disk.owed;
                state.erased |= disk.owed;
                state.safe &= !disk.owed;
                disk.owed = 0;
            }
            Action::Crash => state.staged = None,
            Action::LoseDisk => {
                state.disk = None;
                state.staged = None;
                state.losses += 1;
            }
            Action::LoseMirror => {
                state.mirror = None;
                state.losses += 1;
            }
            Action::Restore => return None,
        }
        for image in [state.disk, state.mirror].into_iter().flatten() {
            image.seen(&mut state.images);
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a root key opens what is left", |_, state: &State| {
                let left = state.disk.or(state.mirror);
                left.is_some_and(|left| state.held & bit(left.root) != 0)
            }),
            Property::always("an erasure that was acknowledged holds against every image", |_, state: &State| {
                let reached = (0..KEYS).filter(|key| state.held & bit(*key) != 0);
                reached.fold(0, |all, key| all | state.images[key]) & state.erased == 0
            }),
            Property::always("nothing brings back who is erased", |_, state: &State| {
                state.disk.is_none_or(|disk| disk.customers & state.erased == 0)
            }),
            Property::always("who was asked to be erased stays fenced off", |_, state: &State| {
                state.disk.or(state.mirror).is_some_and(|left| left.tombstones & state.asked == state.asked)
            }),
            Property::always("nobody else is lost", |_, state: &State| {
                let left = state.disk.or(state.mirror);
                // Who was asked to be erased may go; all others who were in the mirror are there.
                left.is_some_and(|left| state.safe & !left.tombstones & !left.customers == 0)
            }),
            Property::sometimes("an erasure is acknowledged after a disk was lost", |_, state: &State| {
                state.erased != 0 && state.losses == LOSSES
            }),
            Property::sometimes("all are erased", |_, state: &State| state.erased == (1 << CUSTOMERS) - 1),
        ]
    }
}

#[test]
fn the_protocol_keeps_its_promises_in_every_state() {
    let checked = Protocol(Order::Right).checker().threads(2).spawn_bfs().join();
    tell(&format!("protocol: {} states, {} of them distinct", checked.state_count(), checked.unique_state_count()));
    checked.assert_properties();
    assert!(checked.unique_state_count() > 1_000, "{} states are too few", checked.unique_state_count());
}

#[test]
fn a_wrong_order_of_steps_is_found() {
    for (order, promise) in [
        (Order::DestroyBeforeTheMirrorHasIt, "a root key opens what is left"),
        (Order::DestroyBeforeItIsWritten, "a root key opens what is left"),
        (Order::ReceiptBeforeTheDestruction, "an erasure that was acknowledged holds against every image"),
        (Order::StagedKeyUsedAgain, "an erasure that was acknowledged holds against every image"),
        (Order::TombstoneNotMirroredFirst, "who was asked to be erased stays fenced off"),
    ] {
        let checked = Protocol(order).checker().threads(2).spawn_bfs().join();
        let found = checked.discoveries();
        assert!(found.contains_key(promise), "{order:?}: found {:?}", found.keys().collect::<Vec<_>>());
    }
}
