//! A disk and a root key provider that do what they are told and fail where they are told to.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::hoarder::Hoard;
use crate::crypto::key_wrap;
use crate::crypto::secret::Key;
use crate::domain::clock::Timestamp;
use crate::root_key::{
    FileRootKey, HeldKey, Holds, KeyFileError, MediumClass, Pin, Pkcs11RootKey, RootKey, RootKeyError, RootKeyId,
};
use crate::store::{Database, Row, SledEngine, StoreError, Write};

/// One operation that fails: the one after `left` others, before its effect or behind it.
#[derive(Default)]
pub(super) struct Fault {
    left: AtomicUsize,
    is_armed: AtomicBool,
    behind: AtomicBool,
    /// What happens then instead: the operation meets it as it is.
    event: Mutex<Option<Event>>,
}

type Event = Box<dyn Fn() + Send>;

impl Fault {
    pub fn arm(&self, after: usize, behind: bool) {
        self.left.store(after, Ordering::SeqCst);
        self.behind.store(behind, Ordering::SeqCst);
        self.is_armed.store(true, Ordering::SeqCst);
    }

    /// Has something happen before the operation after so many others.
    pub fn arm_with(&self, after: usize, event: impl Fn() + Send + 'static) {
        *self.event.lock().unwrap() = Some(Box::new(event));
        self.arm(after, false);
    }

    /// Whether it was not met; it is not armed any more.
    pub fn was_missed(&self) -> bool {
        self.is_armed.swap(false, Ordering::SeqCst)
    }

    fn meet<T, E>(&self, error: impl FnOnce() -> E, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if !self.is_armed.load(Ordering::SeqCst) || self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return act();
        }
        self.is_armed.store(false, Ordering::SeqCst);
        if let Some(event) = self.event.lock().unwrap().take() {
            event();
            return act();
        }
        if self.behind.load(Ordering::SeqCst) {
            drop(act());
        }
        Err(error())
    }
}

/// A disk that fails where it is told to, and of which the hoarder keeps all that it was ever handed.
pub(super) struct FaultyDisk(pub SledEngine, pub Arc<Fault>, pub Arc<Hoard>);

impl FaultyDisk {
    fn meet(&self, act: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let broken = || StoreError::Io { doing: "writing in this test", source: std::io::Error::other("broken") };
        self.1.meet(broken, act)
    }
}

impl Database for FaultyDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.0.range(from, to, limit)
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        self.0.last(from, to)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.2.keep(writes);
        self.meet(|| self.0.apply(writes))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.meet(|| self.0.sync())
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
pub(super) struct FaultyKey(pub Provider, pub Arc<Fault>, pub Arc<Lie>);

/// What a provider says of the destruction of a key, and is not so.
#[derive(Default)]
pub(super) struct Lie {
    told: AtomicU8,
    /// What it kept in secret: the keys that it said it destroyed.
    kept: Mutex<Vec<(RootKeyId, Key)>>,
}

impl Lie {
    /// From now on: 0 the truth; 1 nothing is destroyed; 2 nothing is destroyed, and it is not listed any more; 3 keys that are made can be
    /// copied.
    pub fn tell(&self, lie: u8) {
        self.told.store(lie, Ordering::SeqCst);
    }

    fn is(&self, lie: u8) -> bool {
        self.told.load(Ordering::SeqCst) == lie
    }
}

impl FaultyKey {
    fn meet<T>(&self, act: impl FnOnce() -> Result<T, RootKeyError>) -> Result<T, RootKeyError> {
        let source = std::io::Error::other("broken");
        static OF: Holds = Holds { what: "key of this test", without: "nothing works" };
        self.1.meet(
            || KeyFileError::Io { of: &OF, path: PathBuf::new(), action: "working in this test", source }.into(),
            act,
        )
    }
}

impl RootKey for FaultyKey {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn medium(&self) -> MediumClass {
        self.0.medium()
    }

    fn final_at(&self, destroyed: Timestamp) -> Timestamp {
        self.0.final_at(destroyed)
    }

    fn held(&self) -> Result<Vec<HeldKey>, RootKeyError> {
        self.meet(|| self.0.held())
    }

    fn stage(&self, epoch: u64) -> Result<RootKeyId, RootKeyError> {
        if self.2.is(3) {
            let Provider::Hsm(module) = &self.0 else { panic!("only a security module copies keys") };
            return module.stage_copyable(epoch);
        }
        self.meet(|| self.0.stage(epoch))
    }

    fn wrap(&self, id: RootKeyId, associated_data: &[u8], top: &Key) -> Result<Vec<u8>, RootKeyError> {
        self.meet(|| self.0.wrap(id, associated_data, top))
    }

    fn unwrap(&self, id: RootKeyId, associated_data: &[u8], wrapped: &[u8]) -> Result<Key, RootKeyError> {
        self.meet(|| self.0.unwrap(id, associated_data, wrapped))
    }

    fn opens(&self, associated_data: &[u8], wrapped: &[u8]) -> Result<bool, RootKeyError> {
        let kept = self.2.kept.lock().unwrap();
        let opens = |(_, root): &(RootKeyId, Key)| key_wrap::unwrap(root, associated_data, wrapped).is_ok();
        if self.2.is(2) && kept.iter().any(opens) {
            return Ok(true);
        }
        self.meet(|| self.0.opens(associated_data, wrapped))
    }

    fn keep_only(&self, id: RootKeyId) -> Result<(), RootKeyError> {
        if self.2.is(1) {
            return Ok(());
        }
        if self.2.is(2) {
            let others = self.0.held()?.into_iter().filter(|held| held.id != id);
            let Provider::File(file) = &self.0 else { panic!("no key comes out of a security module") };
            let kept = others.map(|held| Ok((held.id, file.key(held.id)?)));
            self.2.kept.lock().unwrap().extend(kept.collect::<Result<Vec<_>, RootKeyError>>()?);
        }
        self.meet(|| self.0.keep_only(id))
    }

    fn pin(&self) -> Result<Option<Pin>, RootKeyError> {
        self.meet(|| self.0.pin())
    }

    fn set_pin(&self, pin: &Pin) -> Result<(), RootKeyError> {
        self.meet(|| self.0.set_pin(pin))
    }

    fn devices(&self) -> Vec<Option<u64>> {
        self.0.devices()
    }

    fn lost_replicas(&self) -> Result<u32, RootKeyError> {
        self.meet(|| self.0.lost_replicas())
    }
}
