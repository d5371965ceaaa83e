//! Fences around customers: whoever reads or writes for a customer stands inside, and an erasure closes the fence and waits
//! until nobody is left.
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
    closed: CancellationToken,
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
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut fences = self.fences.lock();
        if let Some(fence) = fences.get_mut(&self.handle) {
            fence.inside -= 1;
            if fence.inside == 0 && !fence.closed.is_cancelled() {
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
            if fence.inside == 0 {
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
