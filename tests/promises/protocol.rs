//! The protocol of an erasure as a model, checked in all its states in small: requests, the committer (what is written, what is synced, what is
//! on the mirror), the provider of root keys and its faults, crashes, the loss of the disk, of the mirror or of what it has of content, and
//! restores from what is left, also with a backup grafted. The hoarder is part of it: he keeps every image of what was ever handed to disk and
//! mirror, and has whatever keys the provider holds.
//!
//! The steps are those of the manual's chapter on erasure. What a crash forgets is which step came next: start-up goes on from what the
//! database names and the provider holds, as the service does. With a wrong order of steps planted, the model finds the broken promise.

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::tell;

/// So many customers, as bits.
const CUSTOMERS: u8 = 2;
/// So many root keys there ever are; the first is there at the beginning.
const KEYS: usize = 4;
/// So many losses of a disk, a mirror or its content there are at most.
const LOSSES: u8 = 2;
/// So many faults of the provider.
const FAULTS: u8 = 1;

/// What stands on the disk, in the mirror, or in a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Database {
    /// The root key that it names.
    root: usize,
    /// Whose keys are in the tree.
    customers: u8,
    /// Whose records are there.
    content: u8,
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
    /// What is synced.
    disk: Option<Database>,
    /// What is written and not synced: a crash keeps it or not.
    unsynced: Option<Database>,
    mirror: Option<Database>,
    backup: Option<Database>,
    /// The keys that the provider holds, as bits.
    held: u8,
    /// The next key that it would make.
    next_key: usize,
    /// The key that was staged for the epoch that runs; forgotten by a crash.
    staged: Option<usize>,
    /// Whether the provider said that the old key is destroyed; forgotten by a crash.
    told: bool,
    /// What the hoarder gets under each root key: the customers in every image that it opens.
    images: [u8; KEYS],
    /// Stored, acknowledged, and in the mirror.
    safe: u8,
    /// Whose erasure was asked for, durably: from then on everybody is refused.
    asked: u8,
    /// Whose erasure was acknowledged.
    erased: u8,
    losses: u8,
    faults: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Store(u8),
    Ask(u8),
    Stage,
    Write,
    Receipt,
    /// The committer's sync: what was written is durable.
    Sync,
    Mirror,
    Destroy,
    Answer,
    /// The provider says that it destroyed the old key, and did not.
    Lie,
    /// It staged a key, or destroyed one, and nobody heard of it.
    StageReplyLost,
    DestroyReplyLost,
    /// A destroyed key is there again. Once a receipt says that it is gone, nobody looks any more: that it stays gone then is the medium's part.
    KeyReappears(usize),
    /// The process is gone; what was not synced is there all the same, or not.
    CrashKeeps,
    CrashForgets,
    BackUp,
    LoseDisk,
    LoseMirror,
    /// Of the mirrors only that of the keys is left.
    LoseContent,
    Restore,
    /// Keys and what decides from the mirror, content from the backup.
    Graft,
    NewMirror,
}

/// What is done wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Right,
    DestroyBeforeTheMirrorHasIt,
    DestroyBeforeItIsWritten,
    DestroyBeforeItIsSynced,
    ReceiptBeforeTheDestruction,
    ReceiptOnTheWordOfTheProvider,
    AnswerBeforeTheReceiptIsSynced,
    StagedKeyUsedAgain,
    TombstoneWithTheReceipt,
    GraftWithTheKeysOfTheBackup,
}

struct Protocol(Order);

fn bit(key: usize) -> u8 {
    1 << key
}

impl Protocol {
    /// What the process that runs does next; `disk` is what it sees of it.
    fn steps(&self, state: &State, disk: &Database, actions: &mut Vec<Action>) {
        use Action::*;
        let is_mirrored = state.mirror == Some(*disk);
        let mirrored_or_wrong = is_mirrored || self.0 == Order::DestroyBeforeTheMirrorHasIt;
        let has_one_key = state.held == bit(disk.root);
        for customer in (0..CUSTOMERS).map(|customer| 1 << customer) {
            if disk.customers & customer == 0 && disk.tombstones & customer == 0 {
                actions.push(Store(customer));
            }
            if disk.customers & customer != 0 && (disk.tombstones | disk.pending) & customer == 0 {
                actions.push(Ask(customer));
            }
        }
        let may_stage = has_one_key || self.0 == Order::StagedKeyUsedAgain;
        let is_asked = disk.pending != 0 && disk.owed == 0 && state.staged.is_none();
        if is_asked && may_stage && mirrored_or_wrong && state.next_key < KEYS {
            actions.push(Stage);
            actions.extend((state.faults < FAULTS).then_some(StageReplyLost));
        }
        actions.extend(state.staged.map(|_| Write));
        let may_destroy = match (self.0, state.staged) {
            // Keeps the staged key, which no database names yet.
            (Order::DestroyBeforeItIsWritten, Some(staged)) => state.held != bit(staged),
            _ => !has_one_key && mirrored_or_wrong && state.staged.is_none(),
        };
        if may_destroy {
            actions.push(Destroy);
            actions.extend((state.faults < FAULTS).then_some([Lie, DestroyReplyLost]).into_iter().flatten());
        }
        let is_destroyed = match self.0 {
            Order::ReceiptBeforeTheDestruction => true,
            Order::ReceiptOnTheWordOfTheProvider => state.told,
            _ => has_one_key,
        };
        if disk.owed != 0 && is_destroyed && mirrored_or_wrong && state.staged.is_none() {
            actions.push(Receipt);
        }
        let has_both = state.mirror.map_or(0, |mirror| disk.receipts & mirror.receipts);
        actions.extend((has_both & !state.erased != 0).then_some(Answer));
    }

    /// What happens to it.
    fn misfortunes(state: &State, disk: &Database, actions: &mut Vec<Action>) {
        use Action::*;
        if state.unsynced.is_some() || state.staged.is_some() || state.told {
            actions.push(CrashForgets);
            actions.extend(state.unsynced.map(|_| CrashKeeps));
        }
        if state.losses < LOSSES {
            actions.extend(state.mirror.map(|_| LoseDisk));
            actions.extend(state.mirror.map(|_| LoseMirror));
            actions.extend(state.mirror.filter(|mirror| mirror.content != 0).map(|_| LoseContent));
        }
        let receipts = disk.receipts | state.unsynced.map_or(0, |unsynced| unsynced.receipts);
        if state.faults < FAULTS {
            let gone = (0..state.next_key).filter(|key| state.held & bit(*key) == 0);
            actions.extend(gone.filter(|key| state.images[*key] & (state.erased | receipts) == 0).map(KeyReappears));
        }
    }

    fn stage(&self, state: &mut State, root: usize) -> usize {
        // A key that was left unnamed is never used again, unless that is what is done wrongly.
        let left = (0..KEYS).find(|key| state.held & bit(*key) != 0 && *key != root);
        let key = left.filter(|_| self.0 == Order::StagedKeyUsedAgain).unwrap_or(state.next_key);
        state.next_key = state.next_key.max(key + 1);
        state.held |= bit(key);
        key
    }

    /// What the process does; gives what it writes, if it writes something.
    fn act(&self, state: &mut State, action: Action, mut disk: Database) -> Option<Database> {
        match action {
            Action::Store(customer) => {
                disk.customers |= customer;
                disk.content |= customer;
            }
            Action::Ask(customer) => {
                disk.pending |= customer;
                disk.tombstones |= if self.0 == Order::TombstoneWithTheReceipt { 0 } else { customer };
            }
            Action::Write => {
                disk.root = state.staged?;
                disk.customers &= !disk.pending;
                disk.owed |= disk.pending;
                disk.pending = 0;
            }
            Action::Receipt => {
                disk.receipts |= disk.owed;
                disk.tombstones |= disk.owed;
                disk.owed = 0;
                if self.0 == Order::AnswerBeforeTheReceiptIsSynced {
                    state.erased |= disk.receipts;
                }
            }
            Action::Stage => state.staged = Some(self.stage(state, disk.root)),
            Action::StageReplyLost => {
                self.stage(state, disk.root);
                state.faults += 1;
            }
            Action::Destroy | Action::DestroyReplyLost => {
                let kept = match (self.0, state.staged) {
                    (Order::DestroyBeforeItIsWritten, Some(staged)) => staged,
                    _ => state.unsynced.map_or(disk.root, |unsynced| unsynced.root),
                };
                state.held = bit(kept);
                state.told = action == Action::Destroy;
                state.faults += u8::from(action == Action::DestroyReplyLost);
            }
            Action::Lie => {
                state.told = true;
                state.faults += 1;
            }
            Action::Answer => {
                state.erased |= disk.receipts & state.mirror?.receipts;
                state.safe &= !state.erased;
            }
            _ => {}
        }
        matches!(action, Action::Store(_) | Action::Ask(_) | Action::Write | Action::Receipt).then_some(disk)
    }

    /// What is durable by then, and what is lost.
    fn befall(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Sync | Action::CrashKeeps => {
                let synced = state.unsynced.take()?;
                state.disk = Some(synced);
                state.asked |= synced.tombstones | synced.pending;
                state.told &= action == Action::Sync;
                state.staged = None;
            }
            Action::CrashForgets => (state.unsynced, state.staged, state.told) = (None, None, false),
            Action::Mirror | Action::NewMirror => {
                let disk = state.disk?;
                state.mirror = Some(disk);
                state.safe |= disk.customers & disk.content & !state.erased;
            }
            Action::BackUp => state.backup = state.mirror,
            Action::KeyReappears(key) => {
                state.held |= bit(key);
                state.faults += 1;
            }
            Action::LoseDisk => {
                let mirror = state.mirror?;
                (state.disk, state.unsynced, state.staged, state.told) = (None, None, None, false);
                // Whose asking had not reached the mirror was not answered, and asks again.
                state.asked &= mirror.tombstones | state.erased;
                state.safe &= mirror.content | state.backup.map_or(0, |backup| backup.content);
                state.losses += 1;
            }
            Action::LoseMirror => {
                state.mirror = None;
                state.losses += 1;
            }
            Action::LoseContent => {
                state.mirror.as_mut()?.content = 0;
                state.losses += 1;
            }
            Action::Restore => state.disk = state.mirror,
            Action::Graft => {
                let (mirror, backup) = (state.mirror?, state.backup?);
                let content = mirror.content | backup.content & mirror.customers;
                let grafted = Database { content, ..mirror };
                state.disk = Some(if self.0 == Order::GraftWithTheKeysOfTheBackup { backup } else { grafted });
            }
            _ => {}
        }
        Some(())
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let new = Database { root: 0, customers: 0, content: 0, tombstones: 0, pending: 0, owed: 0, receipts: 0 };
        vec![State {
            disk: Some(new),
            unsynced: None,
            mirror: Some(new),
            backup: None,
            held: bit(0),
            next_key: 1,
            staged: None,
            told: false,
            images: [0; KEYS],
            safe: 0,
            asked: 0,
            erased: 0,
            losses: 0,
            faults: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        use Action::*;
        let Some(disk) = state.disk else {
            actions.extend(state.mirror.map(|_| if state.backup.is_some() { Graft } else { Restore }));
            return;
        };
        Self::misfortunes(state, &disk, actions);
        match state.mirror {
            None => actions.push(NewMirror),
            Some(mirror) if mirror != disk => actions.push(Mirror),
            Some(mirror) => actions.extend((state.backup.is_none() && mirror.content != 0).then_some(BackUp)),
        }
        match state.unsynced {
            None => self.steps(state, &disk, actions),
            Some(unsynced) => {
                actions.push(Sync);
                let is_early = self.0 == Order::DestroyBeforeItIsSynced && state.held != bit(unsynced.root);
                actions.extend(is_early.then_some(Destroy));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.befall(&mut state, action)?;
        if let Some(disk) = state.disk {
            let written = self.act(&mut state, action, disk);
            state.unsynced = written.or(state.unsynced);
        }
        for image in [state.disk, state.unsynced, state.mirror].into_iter().flatten() {
            state.images[image.root] |= image.customers;
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
            Property::always("whose erasure was acknowledged has a receipt", |_, state: &State| {
                let left = state.disk.or(state.mirror);
                left.is_some_and(|left| left.receipts & state.erased == state.erased)
            }),
            Property::always("nobody else is lost", |_, state: &State| {
                let in_backup = state.backup.filter(|_| state.disk.is_none()).map_or(0, |backup| backup.content);
                // Who was asked to be erased may go; all others who were in the mirror are there, with their content.
                let is_there = |left: Database| left.customers & (left.content | in_backup);
                let left = state.disk.or(state.mirror);
                left.is_some_and(|left| state.safe & !left.tombstones & !is_there(left) == 0)
            }),
            Property::sometimes("an erasure is acknowledged after a disk was lost", |_, state: &State| {
                state.erased != 0 && state.losses == LOSSES
            }),
            Property::sometimes("an erasure is acknowledged after the provider failed", |_, state: &State| {
                state.erased != 0 && state.faults == FAULTS
            }),
            Property::sometimes(
                "content comes back from a backup when an erasure was acknowledged",
                |_, state: &State| {
                    let grafted = state.backup.zip(state.disk).filter(|(_, disk)| state.mirror != Some(*disk));
                    grafted.is_some_and(|(backup, disk)| {
                        backup.content & disk.content & !state.erased != 0 && state.erased != 0
                    })
                },
            ),
            Property::sometimes("all are erased", |_, state: &State| state.erased == (1 << CUSTOMERS) - 1),
        ]
    }
}

#[test]
fn the_protocol_keeps_its_promises_in_every_state() {
    let checked = Protocol(Order::Right).checker().threads(2).spawn_bfs().join();
    tell(&format!("protocol: {} states, {} of them distinct", checked.state_count(), checked.unique_state_count()));
    checked.assert_properties();
    assert!(checked.unique_state_count() > 10_000, "{} states are too few", checked.unique_state_count());
}

#[test]
fn a_wrong_order_of_steps_is_found() {
    const OPENS: &str = "a root key opens what is left";
    const HOLDS: &str = "an erasure that was acknowledged holds against every image";
    for (order, promise) in [
        (Order::DestroyBeforeTheMirrorHasIt, OPENS),
        (Order::DestroyBeforeItIsWritten, OPENS),
        (Order::DestroyBeforeItIsSynced, OPENS),
        (Order::ReceiptBeforeTheDestruction, HOLDS),
        (Order::ReceiptOnTheWordOfTheProvider, HOLDS),
        (Order::StagedKeyUsedAgain, HOLDS),
        (Order::AnswerBeforeTheReceiptIsSynced, "whose erasure was acknowledged has a receipt"),
        (Order::TombstoneWithTheReceipt, "who was asked to be erased stays fenced off"),
        (Order::GraftWithTheKeysOfTheBackup, OPENS),
    ] {
        // It need not go on behind what it is to find.
        let finished = HasDiscoveries::AnyOf([promise].into());
        let checked = Protocol(order).checker().threads(2).finish_when(finished).spawn_bfs().join();
        let found = checked.discoveries();
        assert!(found.contains_key(promise), "{order:?}: found {:?}", found.keys().collect::<Vec<_>>());
    }
}
