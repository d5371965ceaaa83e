//! The leash of a long stream: whoever opened it is asked again, every few seconds, what was asked at the door. A token that was revoked, a
//! role that was taken, a case that ended, a policy that changed: the stream ends with it, and not only the next call.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::status::ApiError;

/// Held by a stream for as long as it runs.
pub(super) struct Leash {
    pulled: CancellationToken,
    why: Arc<OnceLock<ApiError>>,
    asking: AbortHandle,
}

impl Leash {
    /// Asks `still` again every `interval`, until it says no.
    pub fn new<F>(interval: Duration, mut still: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), ApiError>> + Send,
    {
        let (pulled, why) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        let (pull, tell) = (pulled.clone(), Arc::clone(&why));
        let asking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                if let Err(error) = still().await {
                    // The first and only one: the loop ends here.
                    let _ = tell.set(error);
                    return pull.cancel();
                }
            }
        });
        Self { pulled, why, asking: asking.abort_handle() }
    }

    /// Fires when the stream must end.
    pub fn pulled(&self) -> CancellationToken {
        self.pulled.clone()
    }

    /// Why it must end, once it must.
    pub fn why(&self) -> Option<ApiError> {
        if self.pulled.is_cancelled() { self.why.get().cloned() } else { None }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.asking.abort();
    }
}
