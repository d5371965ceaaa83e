//! Replicas of the root key: how they are, one more, one less. For whoever has the vault in his hands; nobody serves it meanwhile.

use std::path::PathBuf;
use std::sync::Arc;

use super::core::Core;
use super::start::StartError;
use super::{RootKeyPlace, Vault, VaultError};
use crate::audit::{Entry, Event, NO_TENANT};
use crate::domain::clock::Timestamp;
use crate::root_key::{FileRootKey, ReplicaStatus};

impl Vault {
    /// How the replicas of a root key are. Changes nothing.
    pub async fn replicas(place: RootKeyPlace) -> Result<Vec<ReplicaStatus>, StartError> {
        let RootKeyPlace::File { paths, .. } = place else { return Ok(Vec::new()) };
        let look = move || Ok(FileRootKey::open(&paths)?.status());
        tokio::task::spawn_blocking(look).await.unwrap_or(Err(StartError::Vault(VaultError::Stopping)))
    }

    /// Makes one more replica of the root key, in a file that must not exist. A repeat finishes what was interrupted, and changes nothing where it
    /// was not.
    pub async fn add_replica(&self, place: RootKeyPlace, path: PathBuf) -> Result<(), VaultError> {
        let RootKeyPlace::File { paths, may_share_device } = place else { return Err(VaultError::NoReplicas) };
        let (files, new) = (paths.clone(), path.clone());
        let is_added =
            move |core: &Arc<Core>| Ok(FileRootKey::open(&files)?.is_added(&new, core.tree.top().row.top.root_key));
        if self.core.blocking(is_added).await? {
            return Ok(());
        }
        self.core.record(entry(Event::Replica { is_added: true, was_destroyed: false })).await?;
        let add = move |provider: &FileRootKey, current| provider.add(&path, current, may_share_device);
        self.core.blocking(move |core| Ok(add(&FileRootKey::open(&paths)?, core.tree.top().row.top.root_key)?)).await
    }

    /// Takes a replica that is not at hand any more off the list. The ledger knows of it before it happens. A repeat
    /// finishes what was interrupted, and changes nothing where it was not.
    pub async fn retire_replica(&self, place: RootKeyPlace, id: String, was_destroyed: bool) -> Result<(), VaultError> {
        let RootKeyPlace::File { paths, .. } = place else { return Err(VaultError::NoReplicas) };
        let (files, wanted) = (paths.clone(), id.clone());
        if self.core.blocking(move |_| Ok(FileRootKey::open(&files)?.is_retired(&wanted))).await? {
            return Ok(());
        }
        self.core.record(entry(Event::Replica { is_added: false, was_destroyed })).await?;
        self.core.blocking(move |_| Ok(FileRootKey::open(&paths)?.retire(&id, was_destroyed)?)).await
    }
}

fn entry(event: Event) -> Entry {
    Entry { at: Timestamp::now(), tenant: NO_TENANT, caller: None, event }
}
