//! Replacing the keys for answers once a day, by epochs: what was answered two days ago opens to nobody any more.

use super::epoch::{Extra, run_epoch};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{TenantId, TenantName};
use crate::vault::VaultError;
use crate::vault::core::Core;
use crate::vault::insiders::day_of;

/// Tenants whose answer keys are replaced in one epoch: their pages, with all above them, fit one batch.
const TENANTS_AT_ONCE: usize = 2_000;

/// Replaces the answer keys of all tenants, unless that was done on the day of `now` or later; says whether it did.
///
/// The tenant `system` comes last: its page says on which day all of them were replaced, also after an interruption.
pub(super) fn replace_answer_keys(core: &Core, now: Timestamp) -> Result<bool, VaultError> {
    let day = day_of(now);
    let system = core.tree.tenant_id(&TenantName::system());
    // A vault that is being made has no tenants yet.
    let Some(keys) = core.tree.tenant(system)? else { return Ok(false) };
    if keys.answers.day >= day {
        return Ok(false);
    }
    let mut tenants = core.living_tenants()?;
    tenants.sort_by_key(|tenant| *tenant == system);
    replace(core, &tenants, day)?;
    Ok(true)
}

fn replace(core: &Core, tenants: &[TenantId], day: u32) -> Result<(), VaultError> {
    for some in tenants.chunks(TENANTS_AT_ONCE) {
        run_epoch(core, &[], Extra::AnswerKeys(some, day))?;
    }
    Ok(())
}
