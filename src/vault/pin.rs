//! The pin: what the root key's provider remembers of the log, so that an older or another database is noticed at start.

use std::os::unix::fs::MetadataExt as _;
use std::sync::PoisonError;
use std::time::Duration;

use super::core::Core;
use super::start::{FIRST_EPOCH, StartError};
use super::{Vault, VaultError};
use crate::audit::merkle;
use crate::root_key::{Pin, RootKey};
use crate::store::{Database, LogTree, ledger_size};

/// How long a pin waits for the mirrors; the next one comes in seconds.
const PIN_PATIENCE: Duration = Duration::from_secs(1);

impl Vault {
    /// Has the provider remember the log as it stands, if it grew. To be called every few seconds.
    pub async fn keep_pin(&self) -> Result<(), VaultError> {
        self.core.blocking(|core| core.keep_pin()).await
    }
}

/// The pin of `provider`, which a database of epoch `epoch` must contain: otherwise it is an older one or another one, and refused. There is
/// a pin from the end of the first epoch on.
pub(super) fn pinned(provider: &dyn RootKey, db: &dyn Database, of_database: u64) -> Result<Option<Pin>, StartError> {
    let found = ledger_size(db)?;
    let Some(pin) = provider.pin()? else {
        return if of_database > FIRST_EPOCH { Err(StartError::NoPin { epoch: of_database }) } else { Ok(None) };
    };
    let Pin { epoch, size, root } = pin;
    let contains = found >= size && of_database >= epoch && merkle::root(&LogTree::new(db), size)? == root;
    if contains { Ok(Some(pin)) } else { Err(StartError::RolledBack { found, pinned: size, epoch }) }
}

impl Core {
    /// Has the provider remember the log as it is durable.
    pub fn keep_pin(&self) -> Result<(), VaultError> {
        let mut pinned = self.pinning.lock().unwrap_or_else(PoisonError::into_inner);
        // The epoch first: the log of an epoch contains what began it.
        let epoch = self.tree.top().row.top.epoch;
        // What a mirror does not have can be lost with the disk, and must not be missed then.
        let (Ok(()), Some(log)) = (self.committer.mirrors().wait_for(PIN_PATIENCE), self.committer.settled_log())
        else {
            return Ok(());
        };
        if log.size() == *pinned {
            return Ok(());
        }
        self.provider.set_pin(&Pin { epoch, size: log.size(), root: log.root() })?;
        *pinned = log.size();
        Ok(())
    }

    /// Whether an entry of the log is durable here and on all mirrors, so that something outside may hold on to it.
    pub fn is_settled(&self, position: u64) -> bool {
        // Who pinned it had waited for them.
        let pinned = *self.pinning.lock().unwrap_or_else(PoisonError::into_inner);
        position < pinned || self.committer.settled_log().is_some_and(|log| position < log.size())
    }

    /// Whether one image of the data's device would hold a root key too.
    pub fn shares_device(&self) -> bool {
        let data = self.data.metadata().ok().map(|about| about.dev());
        data.is_some_and(|data| self.provider.devices().contains(&data))
    }
}
