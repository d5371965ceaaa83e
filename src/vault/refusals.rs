//! What is refused stands in the ledger before whoever called hears of it.

use super::core::entry;
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::Event;
use crate::domain::action::Action;
use crate::domain::ids::RecordId;
use crate::domain::principal::Principal;

impl Vault {
    /// Enters what the vault refuses by itself, whatever the policy says: for want of a second person, or because the tenant is frozen.
    pub(super) async fn noting_refusal<T>(
        &self,
        permit: &Permit<TenantScope>,
        outcome: Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        match &outcome {
            Err(VaultError::SecondPerson | VaultError::TenantFrozen) => {
                self.note_refusal(permit.principal(), permit.action(), None).await?;
            }
            Err(VaultError::ApprovalNeeded { .. }) => self.enter_erasure_refused(permit).await?,
            _ => {}
        }
        outcome
    }

    /// Enters a refusal into the ledger; durable when it returns.
    pub async fn note_refusal(
        &self,
        principal: &Principal,
        action: Action,
        record: Option<RecordId>,
    ) -> Result<(), VaultError> {
        self.core.record(entry(principal, principal.tenant, Event::Refused { action, record })).await
    }
}
