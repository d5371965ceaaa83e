//! Fences around customers and records: whoever reads or writes stands inside, and an erasure closes the fence and waits until nobody is
//! left. What was read inside and is on its way out carries a [`Watch`]: an erasure does not wait for it, and nothing of it leaves any more
//! once the fence is closed. The fence of a record's revision stands inside that of the record, it inside that of the customer, and that inside
//! the one of the tenant: closing an outer one closes the inner ones too. Whoever reads is told as well when the tenant is frozen; whoever
//! writes is not.
//!
//! A fence lives in memory only. What outlives the process is the tombstone, and what is pending in the database; see `erasure`.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::VaultError;
use crate::crypto::hash::sha256;
use crate::domain::erasure::Part;
use crate::domain::ids::{Handle, TenantId};
use crate::domain::record::RecordFacts;

/// Around whom or what a fence stands. Each is random or a hash, so that one never is the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ground([u8; 16]);

impl From<Handle> for Ground {
    fn from(handle: Handle) -> Self {
        Self(handle.0)
    }
}

impl From<TenantId> for Ground {
    fn from(tenant: TenantId) -> Self {
        Self(tenant.0)
    }
}

impl From<Part> for Ground {
    fn from(part: Part) -> Self {
        match part {
            Part::Record(record) => Self(*record.as_bytes()),
            Part::Revision(record, revision) => {
                let name = sha256(&[&record.as_bytes()[..], &revision.0.to_be_bytes()].concat());
                Self(*name.first_chunk().expect("a hash of SHA-256 has 32 bytes"))
            }
        }
    }
}

/// All fences with somebody inside, or closed.
#[derive(Default)]
pub(super) struct Fences {
    fences: Mutex<HashMap<Ground, Fence>>,
    left: Condvar,
    /// Tenants of which something is read, or that are frozen. There are as many as tenants at most.
    reading: Mutex<HashMap<TenantId, CancellationToken>>,
}

#[derive(Default)]
struct Fence {
    inside: usize,
    /// While somebody watches, the fence is kept, so that a later erasure closes the one that is watched.
    watching: usize,
    closed: CancellationToken,
    /// Whether it was closed itself, and not only with the one around it.
    is_shut: bool,
    /// The fence around this one.
    outer: Option<Ground>,
}

impl Fence {
    fn is_needed(&self) -> bool {
        self.inside > 0 || self.watching > 0 || self.closed.is_cancelled()
    }
}

/// What was read of customers, on its way out.
pub struct Fenced<T> {
    /// What was read.
    pub content: T,
    /// The customers' fences. Once one of them is closed, nothing of the content may leave any more.
    pub watches: Vec<Watch>,
}

/// Sees when a customer or record is being erased. An erasure does not wait for it.
pub struct Watch {
    fences: Arc<Fences>,
    grounds: Grounds,
    closed: CancellationToken,
    frozen: Option<CancellationToken>,
}

/// Why nothing more may leave of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is being erased, or is erased.
    Erased,
    /// The tenant is frozen.
    Frozen,
}

/// The tenant, the customer, and the record and its revision where it is one.
type Grounds = [Option<Ground>; 4];

/// From the outermost to the innermost.
fn grounds_of(facts: &RecordFacts) -> [Ground; 4] {
    let (record, revision) = (Part::Record(facts.id), Part::Revision(facts.id, facts.revision));
    [facts.tenant.into(), facts.handle.into(), record.into(), revision.into()]
}

impl Watch {
    /// Why nothing more may leave; `None` while it may.
    pub fn ended(&self) -> Option<Ended> {
        match &self.frozen {
            _ if self.closed.is_cancelled() => Some(Ended::Erased),
            Some(frozen) if frozen.is_cancelled() => Some(Ended::Frozen),
            _ => None,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // After an erasure the fence was forgotten, and another may stand here, of whom nothing can be read: so nothing is lost if its
        // watches are counted too low.
        self.fences.change(self.grounds, |fence| fence.watching = fence.watching.saturating_sub(1));
    }
}

/// Being inside a customer's fence, and inside that of a record. Work that lasts watches [`Inside::closed`] and ends when it fires.
pub(super) struct Inside {
    fences: Arc<Fences>,
    grounds: Grounds,
    closed: CancellationToken,
    frozen: Option<CancellationToken>,
}

impl Inside {
    /// Fires when the customer or the record is being erased.
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Fires when the tenant is frozen; never for a write.
    pub fn frozen(&self) -> CancellationToken {
        self.frozen.clone().unwrap_or_default()
    }

    /// A watch of this fence that lasts longer than being inside.
    pub fn watch(&self) -> Watch {
        self.fences.change(self.grounds, |fence| fence.watching += 1);
        Watch {
            fences: Arc::clone(&self.fences),
            grounds: self.grounds,
            closed: self.closed.clone(),
            frozen: self.frozen.clone(),
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.fences.change(self.grounds, |fence| fence.inside = fence.inside.saturating_sub(1));
        self.fences.left.notify_all();
    }
}

impl Fences {
    /// Goes inside the fences of a tenant and a customer; refused once one of them is closed.
    pub fn enter(self: &Arc<Self>, tenant: TenantId, handle: Handle) -> Result<Inside, VaultError> {
        self.go_inside([Some(tenant.into()), Some(handle.into()), None, None])
    }

    /// Goes inside the fences of a tenant, a customer, a record and the revision that is meant, to write; refused once one of them is closed.
    pub fn enter_record(self: &Arc<Self>, facts: &RecordFacts) -> Result<Inside, VaultError> {
        self.go_inside(grounds_of(facts).map(Some))
    }

    /// The same, to read; refused while the tenant is frozen, too.
    pub fn enter_to_read(self: &Arc<Self>, facts: &RecordFacts) -> Result<Inside, VaultError> {
        self.reading_in(facts.tenant, || self.enter_record(facts))
    }

    /// Goes inside the fences of a tenant and a customer to read what belongs to no record; refused while the tenant is frozen.
    pub fn enter_customer_to_read(self: &Arc<Self>, tenant: TenantId, handle: Handle) -> Result<Inside, VaultError> {
        self.reading_in(tenant, || self.enter(tenant, handle))
    }

    fn reading_in(
        &self,
        tenant: TenantId,
        enter: impl FnOnce() -> Result<Inside, VaultError>,
    ) -> Result<Inside, VaultError> {
        let frozen = self.frozen(tenant);
        if frozen.is_cancelled() {
            return Err(VaultError::TenantFrozen);
        }
        let mut inside = enter()?;
        inside.frozen = Some(frozen);
        Ok(inside)
    }

    /// Fires when a tenant is frozen; fired, if it is.
    pub fn frozen(&self, tenant: TenantId) -> CancellationToken {
        self.reading().entry(tenant).or_default().clone()
    }

    /// Stops all reading of a tenant.
    pub fn freeze(&self, tenant: TenantId) {
        self.reading().entry(tenant).or_default().cancel();
    }

    /// Lets it go on. Where it was not stopped, whoever reads stays with what a later freeze fires.
    pub fn unfreeze(&self, tenant: TenantId) {
        let mut reading = self.reading();
        if reading.get(&tenant).is_some_and(CancellationToken::is_cancelled) {
            reading.remove(&tenant);
        }
    }

    /// Whether a tenant is frozen.
    pub fn is_frozen(&self, tenant: TenantId) -> bool {
        self.reading().get(&tenant).is_some_and(CancellationToken::is_cancelled)
    }

    fn reading(&self) -> MutexGuard<'_, HashMap<TenantId, CancellationToken>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn go_inside(self: &Arc<Self>, grounds: Grounds) -> Result<Inside, VaultError> {
        let mut fences = self.lock();
        let mut closed = CancellationToken::new();
        let mut entered = [None; 4];
        let mut around = None;
        for (depth, ground) in grounds.into_iter().enumerate().filter_map(|(depth, ground)| Some((depth, ground?))) {
            let outer = closed.clone();
            let fence = fences.entry(ground);
            let fence = fence.or_insert_with(|| Fence { closed: outer.child_token(), ..Fence::default() });
            fence.inside += 1;
            fence.outer = around.replace(ground);
            entered[depth] = Some(ground);
            closed = fence.closed.clone();
            if closed.is_cancelled() {
                drop(fences);
                // Dropped here, it leaves all that it entered.
                drop(Inside { fences: Arc::clone(self), grounds: entered, closed, frozen: None });
                return Err(match depth {
                    0 => VaultError::NotFound,
                    1 => VaultError::CustomerErased,
                    _ => VaultError::RecordErased,
                });
            }
        }
        Ok(Inside { fences: Arc::clone(self), grounds: entered, closed, frozen: None })
    }

    /// Whether a fence is closed.
    pub fn is_closed(&self, ground: impl Into<Ground>) -> bool {
        self.lock().get(&ground.into()).is_some_and(|fence| fence.closed.is_cancelled())
    }

    /// Whether the fence of a record's tenant, customer, record or revision is closed.
    pub fn is_closed_around(&self, facts: &RecordFacts) -> bool {
        let fences = self.lock();
        let is_closed = |ground| fences.get(&ground).is_some_and(|fence| fence.closed.is_cancelled());
        // All are looked at, whichever of them is closed.
        grounds_of(facts).into_iter().fold(false, |closed, ground| closed | is_closed(ground))
    }

    /// Closes a fence: nobody gets in any more, and those inside are told to leave.
    pub fn close(&self, ground: impl Into<Ground>) {
        let mut fences = self.lock();
        let fence = fences.entry(ground.into()).or_default();
        fence.is_shut = true;
        fence.closed.cancel();
    }

    /// Opens a fence again, after an erasure that could not begin; and those inside it that were closed only with it.
    pub fn reopen(&self, ground: impl Into<Ground>) {
        let mut fences = self.lock();
        let ground = ground.into();
        if let Some(fence) = fences.get_mut(&ground) {
            fence.is_shut = false;
            open_again(&mut fences, ground);
        }
    }

    /// Waits until nobody is inside a closed fence; `false` if somebody still is after `patience`.
    pub fn wait_until_empty(&self, ground: impl Into<Ground>, patience: Duration) -> bool {
        let ground = ground.into();
        let is_used = |fences: &mut HashMap<Ground, Fence>| fences.get(&ground).is_some_and(|fence| fence.inside > 0);
        let waited = self.left.wait_timeout_while(self.lock(), patience, is_used);
        let (_fences, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }

    /// Forgets a closed fence and those inside it, once the key is gone.
    pub fn forget(&self, ground: impl Into<Ground>) {
        let mut fences = self.lock();
        let mut gone = vec![ground.into()];
        while let Some(ground) = gone.pop() {
            gone.extend(inside_of(&fences, ground));
            fences.remove(&ground);
        }
    }

    /// Changes the fences of these grounds, as far as they stand, and takes down what nobody needs any more.
    fn change(&self, grounds: Grounds, change: impl Fn(&mut Fence)) {
        let mut fences = self.lock();
        for ground in grounds.into_iter().flatten() {
            if let Some(fence) = fences.get_mut(&ground) {
                change(fence);
                if !fence.is_needed() {
                    fences.remove(&ground);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ground, Fence>> {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fences that stand right inside another.
fn inside_of(fences: &HashMap<Ground, Fence>, outer: Ground) -> Vec<Ground> {
    fences.iter().filter(|(_, fence)| fence.outer == Some(outer)).map(|(ground, _)| *ground).collect()
}

/// Opens a fence that was closed, and all inside it that were not closed themselves. Of one that is not needed any more nothing is kept.
fn open_again(fences: &mut HashMap<Ground, Fence>, ground: Ground) {
    let around = fences.get(&ground).and_then(|fence| fence.outer);
    let around = around.and_then(|outer| fences.get(&outer)).map(|outer| outer.closed.clone());
    let Some(fence) = fences.get_mut(&ground) else { return };
    if fence.is_shut || !fence.closed.is_cancelled() {
        return;
    }
    fence.closed = around.map_or_else(CancellationToken::new, |outer| outer.child_token());
    let is_needed = fence.is_needed();
    for inner in inside_of(fences, ground) {
        open_again(fences, inner);
    }
    if !is_needed {
        fences.remove(&ground);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::Grants;
    use crate::domain::ids::{RecordId, Revision};
    use crate::domain::record::RecordKind;

    fn facts(record: u8) -> RecordFacts {
        RecordFacts {
            tenant: TenantId([1; 16]),
            id: RecordId::from_bytes([record; 16]),
            revision: Revision::FIRST,
            kind: RecordKind::Transcript,
            handle: Handle([2; 16]),
            callers_team: None,
            handled_by_caller: false,
            is_of_stated_case: false,
            grants: Grants::default(),
            purposes: Vec::new(),
        }
    }

    #[test]
    fn a_fence_that_opens_again_opens_what_was_closed_with_it() {
        let fences = Arc::new(Fences::default());
        let (read, erased) = (facts(7), facts(8));
        let inside = fences.enter_to_read(&read).unwrap();
        let watch = inside.watch();
        drop(fences.enter_to_read(&erased).unwrap());
        fences.close(Part::Record(erased.id));
        fences.close(read.handle);
        assert!(inside.closed().is_cancelled() && watch.ended().is_some());
        assert!(fences.enter_to_read(&read).is_err());
        fences.reopen(read.handle);
        drop(fences.enter_to_read(&read).expect("the record's fence stays closed"));
        assert!(!fences.is_closed_around(&read));
        // A record whose own erasure was asked for stays closed.
        assert!(fences.enter_to_read(&erased).is_err());
        // Who was told to leave is not told to stay.
        assert!(inside.closed().is_cancelled());
        drop((inside, watch));
        fences.close(read.handle);
        fences.forget(read.handle);
        fences.reopen(Part::Record(erased.id));
        assert!(fences.lock().is_empty(), "fences are left behind");
    }
}
