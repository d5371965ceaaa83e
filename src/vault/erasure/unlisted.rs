//! A customer whom an erasure does not find in the key tree, though rows of the customer are stored. That must never be answered with
//! "not found": the records may open all the same.
//!
//! A page that was changed past the service is noticed when it is read. This is the second line: it notices a tree that verifies and is
//! still wrong, by a fault of the program or by something nobody thought of. It can tell as long as the customer's page of the directory
//! has the key that it had when the customer was stored, because the handle follows from that key and the pseudonym.

use super::ask::What;
use crate::domain::ids::{Pseudonym, TenantId};
use crate::keys::{Draft, View};
use crate::store::rows;
use crate::vault::VaultError;
use crate::vault::core::Core;

/// The error for a customer whom the directory names and who has no key; any other error as it is.
pub(super) fn if_it_has_no_key(core: &Core, what: What, error: VaultError) -> VaultError {
    match (error, what) {
        (VaultError::NotFound, What::Customer(_)) => not_in_tree(core),
        (error, _) => error,
    }
}

/// Raises the alarm.
fn not_in_tree(core: &Core) -> VaultError {
    core.tree.pages().raise_alarm();
    let error = VaultError::CustomerNotInTree;
    tracing::error!(%error, "an erasure did not find a customer whose rows are stored");
    error
}

/// Why a customer who has no link in the directory cannot be erased: `NotFound`, or `CustomerNotInTree` if rows of the customer are stored.
pub(super) fn why_not_found(core: &Core, tenant: TenantId, pseudonym: Pseudonym) -> Result<VaultError, VaultError> {
    let handle = {
        let top = core.tree.top();
        let mut draft = Draft::open(core.tree.pages(), &top.key, core.limits.leaf_entries)?;
        draft.new_handle(tenant, pseudonym)?
    };
    let has_rows = core.db.get(&rows::profile(handle))?.is_some() || {
        let (from, to) = rows::customer_secrets(handle);
        !core.db.range(&from, &to, 1)?.is_empty()
    };
    let has_key = || -> Result<bool, VaultError> {
        let keys = core.tenant_keys(tenant)?;
        let top = core.tree.top();
        Ok(View::new(core.tree.pages(), &top.key).customer(&keys, handle)?.is_some())
    };
    Ok(if has_rows || has_key()? { not_in_tree(core) } else { VaultError::NotFound })
}
