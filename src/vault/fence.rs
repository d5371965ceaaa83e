//! Fences around customers: whoever reads or writes for a customer stands inside, and an erasure closes the fence and waits
//! until nobody is left. What was read inside and is on its way out carries a [`Watch`]: an erasure does not wait for it, and nothing of
//! it leaves any more once the fence is closed.
//!
//! A fence lives in memory only. What outlives the process is the tombstone; see `erasure`.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::VaultError;
use crate::domain::ids::Handle;

/// All fences with somebody inside, or closed.
#[derive(Default)]
pub(super) struct Fences {
    fences: Mutex<HashMap<Handle, Fence>>,
    left: Condvar,
}

#[derive(Default)]
struct Fence {
    inside: usize,
    /// While somebody watches, the fence is kept, so that a later erasure closes the one that is watched.
    watching: usize,
    closed: CancellationToken,
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

/// Sees when a customer is being erased. An erasure does not wait for it.
pub struct Watch {
    fences: Arc<Fences>,
    handle: Handle,
    closed: CancellationToken,
}

impl Watch {
    /// Whether the customer is being erased, or is erased.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut fences = self.fences.lock();
        if let Some(fence) = fences.get_mut(&self.handle) {
            // After an erasure the fence was forgotten, and another may stand here, of whom nothing can be read: so nothing is lost
            // if its watches are counted too low.
            fence.watching = fence.watching.saturating_sub(1);
            if !fence.is_needed() {
                fences.remove(&self.handle);
            }
        }
    }
}

/// Being inside a customer's fence. Work that lasts watches [`Inside::closed`] and ends when it fires.
pub(super) struct Inside {
    fences: Arc<Fences>,
    handle: Handle,
    closed: CancellationToken,
}

impl Inside {
    /// Fires when the customer is being erased.
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// A watch of this fence that lasts longer than being inside.
    pub fn watch(&self) -> Watch {
        if let Some(fence) = self.fences.lock().get_mut(&self.handle) {
            fence.watching += 1;
        }
        Watch { fences: Arc::clone(&self.fences), handle: self.handle, closed: self.closed.clone() }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut fences = self.fences.lock();
        if let Some(fence) = fences.get_mut(&self.handle) {
            fence.inside -= 1;
            if !fence.is_needed() {
                fences.remove(&self.handle);
            }
        }
        self.fences.left.notify_all();
    }
}

impl Fences {
    /// Goes inside; refused once the fence is closed.
    pub fn enter(self: &Arc<Self>, handle: Handle) -> Result<Inside, VaultError> {
        let mut fences = self.lock();
        let fence = fences.entry(handle).or_default();
        if fence.closed.is_cancelled() {
            return Err(VaultError::CustomerErased);
        }
        fence.inside += 1;
        Ok(Inside { fences: Arc::clone(self), handle, closed: fence.closed.clone() })
    }

    /// Closes a fence: nobody gets in any more, and those inside are told to leave.
    pub fn close(&self, handle: Handle) {
        self.lock().entry(handle).or_default().closed.cancel();
    }

    /// Opens a fence again, after an erasure that could not begin.
    pub fn reopen(&self, handle: Handle) {
        let mut fences = self.lock();
        if let Some(fence) = fences.get_mut(&handle) {
            fence.closed = CancellationToken::new();
            if !fence.is_needed() {
                fences.remove(&handle);
            }
        }
    }

    /// Waits until nobody is inside a closed fence; `false` if somebody still is after `patience`.
    pub fn wait_until_empty(&self, handle: Handle, patience: Duration) -> bool {
        let is_used = |fences: &mut HashMap<Handle, Fence>| fences.get(&handle).is_some_and(|fence| fence.inside > 0);
        let waited = self.left.wait_timeout_while(self.lock(), patience, is_used);
        let (_fences, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }

    /// Forgets a closed fence, once the customer's key is gone.
    pub fn forget(&self, handle: Handle) {
        self.lock().remove(&handle);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Handle, Fence>> {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
