//! Looking at the files again while the service runs, and saying what came of it. What cannot be used changes nothing and is told as an error
//! each time, for as long as it stands there: until it is mended, revocations are not followed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Tls, TlsError};
use crate::config;
use crate::domain::clock::Timestamp;
use crate::telemetry::metrics::Metrics;

/// How often the files are looked at. A revocation counts after this, and the time in which an open stream asks again.
pub const FOLLOW_INTERVAL: Duration = Duration::from_secs(15);

/// Follows the files of a [`Tls`].
pub struct Following {
    tls: Arc<Tls>,
    metrics: Arc<Metrics>,
    /// The expired lists that were told of.
    told: Mutex<Vec<PathBuf>>,
}

impl Following {
    /// From now on.
    pub fn new(tls: Arc<Tls>, metrics: Arc<Metrics>) -> Self {
        Self { tls, metrics, told: Mutex::default() }
    }

    /// Looks at the files now and every [`FOLLOW_INTERVAL`], until `ended`.
    pub async fn follow(&self, ended: CancellationToken) {
        let mut ticks = tokio::time::interval(FOLLOW_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = ended.cancelled() => return,
            }
            self.look(None).await;
        }
    }

    /// Looks at the files: the authorities' and the lists. With `places`, as SIGHUP brings them, those; and the server's certificate too.
    pub async fn look(&self, places: Option<config::Tls>) {
        let tls = self.tls.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let renewed = places.as_ref().map(|places| tls.renew_identity(places));
            (renewed, tls.refresh_trust(places.as_ref()))
        });
        // Nobody cancels the task, so without an outcome it has panicked, and so does this.
        let (renewed, refreshed) = looked.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()));
        self.tell_of_identity(renewed);
        self.tell_of_trust(refreshed);
        self.tell_of_expired_lists();
    }

    fn tell_of_identity(&self, renewed: Option<Result<(), TlsError>>) {
        match renewed {
            None => {}
            Some(Ok(())) => tracing::info!("the server's certificate is read again; new connections get it"),
            Some(Err(error)) => {
                self.metrics.alert("tls_certificate_refused");
                tracing::error!(%error, "the server's certificate is not taken over; the one of before stays");
            }
        }
    }

    fn tell_of_trust(&self, refreshed: Result<bool, TlsError>) {
        match refreshed {
            Ok(false) => {}
            Ok(true) => {
                let (generation, lists) = (self.tls.trust().generation(), self.tls.trust().lists());
                tracing::info!(
                    generation,
                    lists,
                    "client certificates are judged by the authorities and revocation lists as they are now"
                );
            }
            Err(error) => {
                self.metrics.alert("client_trust_refused");
                tracing::error!(%error, "authorities and revocation lists are not taken over; those of before go on deciding");
            }
        }
    }

    /// Once for each list, until it is replaced.
    fn tell_of_expired_lists(&self) {
        let expired = self.tls.trust().expired_lists(Timestamp::now());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for path in expired.iter().filter(|path| !told.contains(path)) {
            self.metrics.alert("client_crl_expired");
            let path = path.display();
            tracing::error!(%path, "this revocation list has expired: no client certificate of its issuer is accepted until a new one is there");
        }
        *told = expired;
    }
}
