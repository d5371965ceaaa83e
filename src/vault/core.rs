//! What all rooms of the vault share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::{RwLock, watch};

use super::damage::Damage;
use super::fence::Fences;
use super::insiders::Insiders;
use super::jobs::Jobs;
use super::log::Log;
use super::quota::{Rates, Reservations};
use super::tree::Tree;
use super::whole::Checked;
use super::{VaultError, VaultLimits};
use crate::audit::{Caller, Entry, Event};
use crate::crypto::pseudonym::blind;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, TenantId};
use crate::domain::principal::Principal;
use crate::keys::TenantKeys;
use crate::root_key::RootKey;
use crate::store::{Batch, Committer, Database, Objects};

/// What all rooms of the vault share.
pub(super) struct Core {
    pub db: Arc<dyn Database>,
    pub committer: Committer,
    pub objects: Objects,
    pub provider: Arc<dyn RootKey>,
    pub tree: Tree,
    pub log: Log,
    /// The size of the log that is pinned; pins are set one at a time.
    pub pinning: Mutex<u64>,
    pub fences: Arc<Fences>,
    /// Held for reading by whoever wraps a secret under a customer's key, until it stands in the database; for writing by the epoch that
    /// replaces such a key.
    pub wrapping: Arc<RwLock<()>>,
    /// How many batches of erasures became final since the start.
    pub erasures: watch::Sender<u64>,
    pub reservations: Reservations,
    pub rates: Rates,
    pub insiders: Insiders,
    pub checked: Checked,
    pub jobs: Jobs,
    pub damage: Damage,
    pub limits: VaultLimits,
    pub data: PathBuf,
}

impl Core {
    /// The keys of a tenant that must be there, because a permit names it.
    pub fn tenant_keys(&self, tenant: TenantId) -> Result<Arc<TenantKeys>, VaultError> {
        self.tree.tenant(tenant)?.ok_or(VaultError::NotFound)
    }

    /// Runs blocking work on a thread for it.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let core = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&core)).await;
        done.unwrap_or(Err(VaultError::Stopping))
    }

    /// Makes one entry of the ledger durable, and with it all that was seen before.
    pub async fn record(&self, entry: Entry) -> Result<(), VaultError> {
        let mut batch = Batch::new();
        batch.append(entry.encode().to_vec());
        self.committer.commit(batch).await?;
        Ok(())
    }
}

/// An entry about what `principal` does in `tenant` now.
pub(super) fn entry(principal: &Principal, tenant: TenantId, event: Event) -> Entry {
    let caller = Some(caller(principal));
    Entry { at: Timestamp::now(), tenant, caller, event }
}

/// Who calls, as the ledger names it.
pub(super) fn caller(principal: &Principal) -> Caller {
    let Principal { alias, token, actor, actor_token, .. } = *principal;
    Caller { alias, token, actor, actor_token }
}

/// A keyed hash under a tenant's index key.
pub(super) fn blinded(tenant: &TenantKeys, field: &str, value: &str) -> BlindIndex {
    BlindIndex(blind(&tenant.index, field, &[value.as_bytes()]))
}
