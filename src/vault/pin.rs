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

    /// Whether one image of the device of the data, or of a mirror, would hold a root key too.
    pub fn shares_device(&self) -> bool {
        let mirrors = self.committer.mirrors().status();
        let copies = std::iter::once(&self.data).chain(mirrors.iter().map(|mirror| &mirror.place.directory));
        let copies = copies.map(|path| path.metadata().ok().map(|about| about.dev()));
        is_shared(&self.provider.devices(), copies)
    }
}

/// Whether keys and copies of the data stand on one device. What cannot be told counts as if they did: a receipt must not promise more than
/// was seen.
fn is_shared(keys: &[Option<u64>], mut copies: impl Iterator<Item = Option<u64>>) -> bool {
    !keys.is_empty() && (keys.contains(&None) || copies.any(|copy| copy.is_none() || keys.contains(&copy)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_cannot_be_told_counts_as_shared_and_one_of_a_mirror_as_one_of_the_data() {
        for (keys, copies, expected) in [
            (&[Some(1)][..], &[Some(2)][..], false),
            (&[Some(1), Some(2)], &[Some(2)], true),
            (&[Some(1)], &[Some(2), Some(1)], true),
            (&[Some(1)], &[None], true),
            (&[Some(1), None], &[Some(2)], true),
            // In a security module, which is no device of this machine.
            (&[], &[None, Some(1)], false),
        ] {
            assert_eq!(is_shared(keys, copies.iter().copied()), expected, "{keys:?}, {copies:?}");
        }
    }
}
