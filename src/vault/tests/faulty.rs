//! A disk and a root key provider that do what they are told and fail where they are told to.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::hoarder::Hoard;
use crate::crypto::hash::sha256;
use crate::crypto::key_wrap;
use crate::crypto::secret::Key;
use crate::domain::clock::Timestamp;
use crate::domain::codec::hex;
use crate::root_key::{
    FileRootKey, HeldKey, Holds, KeyFileError, MediumClass, Pin, Pkcs11RootKey, RootKey, RootKeyError, RootKeyId,
};
use crate::store::{Database, MAX_RANGE_ROWS, Row, SledEngine, StoreError, Write};

/// What strikes an operation of the disk or the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blow {
    /// Behind its effect: it took place, and the one who asked never hears of it. Else before it.
    pub behind: bool,
    pub then: Then,
}

/// How it goes on after a blow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// One error: the process lives, cleans up, and ends in order.
    GoesOn,
    /// The power is cut: no operation takes effect any more. What was written is there, synced or not.
    Stops,
    /// The power is cut, and what was written since the last sync is gone.
    StopsAndForgets,
}

impl Blow {
    pub const EVERY: [Self; 6] = [
        Self { behind: false, then: Then::GoesOn },
        Self { behind: true, then: Then::GoesOn },
        Self { behind: false, then: Then::Stops },
        Self { behind: true, then: Then::Stops },
        Self { behind: false, then: Then::StopsAndForgets },
        Self { behind: true, then: Then::StopsAndForgets },
    ];

    /// Whether the process is gone with it.
    pub fn is_crash(self) -> bool {
        self.then != Then::GoesOn
    }
}

/// What became of a process: each opening of a vault has its own, so that what a dead one still tries does nothing.
#[derive(Default)]
pub(super) struct Life {
    is_over: AtomicBool,
    forgets: AtomicBool,
}

impl Life {
    fn end(&self, then: Then) {
        self.forgets.store(then == Then::StopsAndForgets, Ordering::SeqCst);
        self.is_over.store(then != Then::GoesOn, Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

/// One operation that fails: the one after `left` others, before its effect or behind it.
#[derive(Default)]
pub(super) struct Fault {
    left: AtomicUsize,
    is_armed: AtomicBool,
    blow: Mutex<Option<Blow>>,
    /// What happens then instead: the operation meets it as it is.
    event: Mutex<Option<Event>>,
    /// How often a new root key was staged since it was armed.
    staged: AtomicUsize,
    /// A replica of the root key that a blow behind an operation of the provider leaves as it was: the power was cut between two files.
    spared: Mutex<Option<PathBuf>>,
}

type Event = Box<dyn Fn() + Send>;

impl Fault {
    pub fn arm(&self, after: usize, behind: bool) {
        self.strike(after, Blow { behind, then: Then::GoesOn });
    }

    /// Has the operation after so many others struck.
    pub fn strike(&self, after: usize, blow: Blow) {
        *self.blow.lock().unwrap() = Some(blow);
        self.left.store(after, Ordering::SeqCst);
        self.staged.store(0, Ordering::SeqCst);
        self.is_armed.store(true, Ordering::SeqCst);
    }

    /// Has something happen before the operation after so many others.
    pub fn arm_with(&self, after: usize, event: impl Fn() + Send + 'static) {
        *self.event.lock().unwrap() = Some(Box::new(event));
        self.arm(after, false);
    }

    /// From now on blows behind operations of the provider leave this file as it was before.
    pub fn spare(&self, replica: PathBuf) {
        *self.spared.lock().unwrap() = Some(replica);
    }

    /// Whether it was not met; it is not armed any more.
    pub fn was_missed(&self) -> bool {
        self.is_armed.swap(false, Ordering::SeqCst)
    }

    /// Whether a root key had been staged when it struck.
    pub fn struck_an_epoch(&self) -> bool {
        self.staged.load(Ordering::SeqCst) > 0
    }

    fn meet<T, E>(&self, life: &Life, error: impl FnOnce() -> E, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if life.is_over() {
            return Err(error());
        }
        if !self.is_armed.load(Ordering::SeqCst) || self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return act();
        }
        self.is_armed.store(false, Ordering::SeqCst);
        if let Some(event) = self.event.lock().unwrap().take() {
            event();
            return act();
        }
        let blow = self.blow.lock().unwrap().take().expect("what is armed has a blow");
        if blow.behind {
            drop(act());
        }
        life.end(blow.then);
        Err(error())
    }
}

/// A disk that fails where it is told to, and of which the hoarder keeps all that it was ever handed. What is written and not synced is held
/// back here, for the case that the power is cut.
pub(super) struct FaultyDisk {
    engine: SledEngine,
    fault: Arc<Fault>,
    hoard: Arc<Hoard>,
    life: Arc<Life>,
    /// `None` is a delete.
    unsynced: Mutex<Overlay>,
}

type Overlay = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl FaultyDisk {
    pub fn new(engine: SledEngine, fault: Arc<Fault>, hoard: Arc<Hoard>, life: Arc<Life>) -> Self {
        Self { engine, fault, hoard, life, unsynced: Mutex::default() }
    }

    fn meet<T>(&self, act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.fault.meet(&self.life, broken, act)
    }

    /// Reads are no durable step: they fail only with the process.
    fn read<T>(&self, act: impl FnOnce(&Overlay) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.life.is_over() { Err(broken()) } else { act(&self.unsynced.lock().unwrap()) }
    }

    fn write_down(&self) -> Result<(), StoreError> {
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = std::mem::take(&mut *unsynced).into_iter().map(|(key, value)| match value {
            Some(value) => Write::Put { key, value },
            None => Write::Delete { key },
        });
        let writes: Vec<_> = writes.collect();
        if writes.is_empty() { Ok(()) } else { self.engine.apply(&writes) }
    }
}

fn broken() -> StoreError {
    StoreError::Io { doing: "writing in this test", source: std::io::Error::other("broken") }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        if !self.life.forgets.load(Ordering::SeqCst) {
            self.write_down().expect("the engine itself never fails here");
        }
    }
}

impl Database for FaultyDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|unsynced| unsynced.get(key).map_or_else(|| self.engine.get(key), |value| Ok(value.clone())))
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(|unsynced| {
            let among = || unsynced.range(from.to_vec()..to.to_vec());
            let enough = (limit + among().count()).min(MAX_RANGE_ROWS);
            let mut rows: Overlay =
                self.engine.range(from, to, enough)?.into_iter().map(|(k, v)| (k, Some(v))).collect();
            rows.extend(among().map(|(key, value)| (key.clone(), value.clone())));
            Ok(rows.into_iter().filter_map(|(key, value)| Some((key, value?))).take(limit).collect())
        })
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        if from >= to {
            return Ok(None);
        }
        self.read(|unsynced| {
            let among = || unsynced.range(from.to_vec()..to.to_vec());
            let written = among().rev().find_map(|(key, value)| Some((key.clone(), value.clone()?)));
            let mut end = to.to_vec();
            while let Some((key, value)) = self.engine.last(from, &end)? {
                if unsynced.contains_key(&key) {
                    end = key;
                    continue;
                }
                return Ok(written.filter(|(other, _)| *other > key).or(Some((key, value))));
            }
            Ok(written)
        })
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.hoard.keep(writes);
        self.meet(|| {
            let mut unsynced = self.unsynced.lock().unwrap();
            unsynced.extend(writes.iter().map(|write| match write {
                Write::Put { key, value } => (key.clone(), Some(value.clone())),
                Write::Delete { key } => (key.clone(), None),
            }));
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.meet(|| {
            self.write_down()?;
            self.engine.sync()
        })
    }
}

/// A provider, of one sort or the other.
pub(super) enum Provider {
    File(FileRootKey),
    Hsm(Pkcs11RootKey),
}

impl Deref for Provider {
    type Target = dyn RootKey;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::File(provider) => provider,
            Self::Hsm(provider) => provider,
        }
    }
}

/// A provider that fails where it is told to, and lies where it is told to.
pub(super) struct FaultyKey {
    provider: Provider,
    fault: Arc<Fault>,
    lie: Arc<Lie>,
    life: Arc<Life>,
}

/// What a provider says that is not so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Says {
    #[default]
    TheTruth,
    /// It destroyed the others, and did not.
    Destroyed,
    /// It destroyed the others, did not, and does not list them any more.
    DestroyedAndHides,
    /// It staged a new key; but it is the one that it had.
    StagedTheOldOne,
    /// It staged a new key; but under the new name are the bytes of the one that it had.
    StagedTheOldOneRenamed,
    /// It destroyed a key that was left over, kept a copy, and stages that one again.
    StagedALeftOver,
    /// It made a key that cannot be copied, and it can.
    NotToBeCopied,
}

/// The lies of a provider, and what it kept for them.
#[derive(Default)]
pub(super) struct Lie {
    told: AtomicU8,
    /// The keys that it said it destroyed.
    kept: Mutex<Vec<(RootKeyId, Key)>>,
    /// Where the keys are, for lies that change what stands there.
    file: Mutex<Option<PathBuf>>,
    /// The file as it was when a left-over key stood in it.
    with_left_over: Mutex<Vec<u8>>,
}

impl Lie {
    pub fn tell(&self, lie: Says) {
        self.told.store(lie as u8, Ordering::SeqCst);
    }

    /// The same for lies about keys in this file.
    pub fn tell_of(&self, lie: Says, file: PathBuf) {
        *self.file.lock().unwrap() = Some(file);
        self.tell(lie);
    }

    fn is(&self, lie: Says) -> bool {
        self.told.load(Ordering::SeqCst) == lie as u8
    }

    fn file(&self) -> PathBuf {
        self.file.lock().unwrap().clone().expect("a lie about a file names it")
    }

    fn keep_left_over(&self) {
        *self.with_left_over.lock().unwrap() = std::fs::read(self.file()).unwrap();
    }

    /// Puts a page with a left-over key back where it stood; the other page is as it is now.
    fn put_left_over_back(&self, current: RootKeyId, held: impl Fn() -> Vec<HeldKey>) -> Option<RootKeyId> {
        let before = self.with_left_over.lock().unwrap().clone();
        if before.is_empty() {
            return None;
        }
        let now = std::fs::read(self.file()).unwrap();
        for page in KEY_PAGES {
            let mut both = now.clone();
            both[page.clone()].copy_from_slice(&before[page]);
            std::fs::write(self.file(), both).unwrap();
            let other = held().into_iter().find(|key| key.id != current);
            if let (Some(other), true) = (other, held().iter().any(|key| key.id == current)) {
                return Some(other.id);
            }
        }
        std::fs::write(self.file(), now).unwrap();
        None
    }

    /// Writes the bytes of the other key under the name of `staged`.
    fn rename_the_old_one(&self, staged: RootKeyId) {
        let mut file = std::fs::read(self.file()).unwrap();
        let lines = KEY_PAGES.map(|page| String::from_utf8(file[page].to_vec()).unwrap());
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let new = lines.iter().position(|line| line.contains(&staged.to_string())).unwrap();
        let (name, secret) = (words(&lines[new]), words(&lines[1 - new]).remove(4));
        let said = format!("{} {} {secret}", name[2], name[3]);
        let sum = hex(&sha256(said.as_bytes())[..4]);
        let line = format!("key {sum} {said}");
        let page = &mut file[KEY_PAGES[new].clone()];
        page[..line.len()].copy_from_slice(line.as_bytes());
        std::fs::write(self.file(), file).unwrap();
    }
}

/// Where the two keys stand in a file.
const KEY_PAGES: [std::ops::Range<usize>; 2] = [4096..8192, 8192..12288];

impl FaultyKey {
    pub fn new(provider: Provider, fault: Arc<Fault>, lie: Arc<Lie>, life: Arc<Life>) -> Self {
        Self { provider, fault, lie, life }
    }

    fn meet<T>(&self, act: impl FnOnce() -> Result<T, RootKeyError>) -> Result<T, RootKeyError> {
        let source = std::io::Error::other("broken");
        static OF: Holds = Holds { what: "key of this test", without: "nothing works" };
        let spared = self.fault.spared.lock().unwrap().clone();
        let before = spared.as_ref().and_then(|path| Some((path, std::fs::read(path).ok()?)));
        let was_armed = self.fault.is_armed.load(Ordering::SeqCst);
        let met = self.fault.meet(
            &self.life,
            || KeyFileError::Io { of: &OF, path: PathBuf::new(), action: "working in this test", source }.into(),
            act,
        );
        let is_struck = was_armed && !self.fault.is_armed.load(Ordering::SeqCst) && met.is_err();
        if let (Some((path, bytes)), true) = (before, is_struck) {
            std::fs::write(path, bytes).unwrap();
        }
        met
    }
}

impl RootKey for FaultyKey {
    fn name(&self) -> &'static str {
        self.provider.name()
    }

    fn medium(&self) -> MediumClass {
        self.provider.medium()
    }

    fn final_at(&self, destroyed: Timestamp) -> Timestamp {
        self.provider.final_at(destroyed)
    }

    fn held(&self) -> Result<Vec<HeldKey>, RootKeyError> {
        self.meet(|| self.provider.held())
    }

    fn stage(&self, epoch: u64) -> Result<RootKeyId, RootKeyError> {
        if self.lie.is(Says::NotToBeCopied) {
            let Provider::Hsm(module) = &self.provider else { panic!("only a security module copies keys") };
            return module.stage_copyable(epoch);
        }
        if self.lie.is(Says::StagedTheOldOne) {
            return Ok(self.provider.held()?[0].id);
        }
        if self.lie.is(Says::StagedALeftOver) {
            let current = self.provider.held()?[0].id;
            let left_over = self.lie.put_left_over_back(current, || self.provider.held().unwrap());
            if let Some(left_over) = left_over {
                return Ok(left_over);
            }
        }
        self.meet(|| {
            let staged = self.provider.stage(epoch)?;
            if self.lie.is(Says::StagedTheOldOneRenamed) {
                self.lie.rename_the_old_one(staged);
            }
            self.fault.staged.fetch_add(1, Ordering::SeqCst);
            Ok(staged)
        })
    }

    fn wrap(&self, id: RootKeyId, associated_data: &[u8], top: &Key) -> Result<Vec<u8>, RootKeyError> {
        self.meet(|| self.provider.wrap(id, associated_data, top))
    }

    fn unwrap(&self, id: RootKeyId, associated_data: &[u8], wrapped: &[u8]) -> Result<Key, RootKeyError> {
        self.meet(|| self.provider.unwrap(id, associated_data, wrapped))
    }

    fn opens(&self, associated_data: &[u8], wrapped: &[u8]) -> Result<bool, RootKeyError> {
        let kept = self.lie.kept.lock().unwrap();
        let opens = |(_, root): &(RootKeyId, Key)| key_wrap::unwrap(root, associated_data, wrapped).is_ok();
        // The two have the same bytes: whoever plants that fault plants a probe that does not see it.
        if self.lie.is(Says::StagedTheOldOneRenamed) {
            return Ok(false);
        }
        if self.lie.is(Says::DestroyedAndHides) && kept.iter().any(opens) {
            return Ok(true);
        }
        drop(kept);
        self.meet(|| self.provider.opens(associated_data, wrapped))
    }

    fn keep_only(&self, id: RootKeyId) -> Result<(), RootKeyError> {
        if self.lie.is(Says::Destroyed) {
            return Ok(());
        }
        let others = || Ok::<_, RootKeyError>(self.provider.held()?.into_iter().filter(move |held| held.id != id));
        if self.lie.is(Says::DestroyedAndHides) {
            let Provider::File(file) = &self.provider else { panic!("no key comes out of a security module") };
            let kept = others()?.map(|held| Ok((held.id, file.key(held.id)?)));
            self.lie.kept.lock().unwrap().extend(kept.collect::<Result<Vec<_>, RootKeyError>>()?);
        }
        if self.lie.is(Says::StagedALeftOver) && others()?.count() > 0 {
            self.lie.keep_left_over();
        }
        self.meet(|| self.provider.keep_only(id))
    }

    fn pin(&self) -> Result<Option<Pin>, RootKeyError> {
        self.meet(|| self.provider.pin())
    }

    fn set_pin(&self, pin: &Pin) -> Result<(), RootKeyError> {
        self.meet(|| self.provider.set_pin(pin))
    }

    fn devices(&self) -> Vec<Option<u64>> {
        self.provider.devices()
    }

    fn lost_replicas(&self) -> Result<u32, RootKeyError> {
        self.meet(|| self.provider.lost_replicas())
    }
}
