//! Who calls, and what they may do: from a bearer token to a principal, from a principal to a permit.
//!
//! A call is checked at the door (may this principal do this in this tenant at all?), and a read once more for each record that
//! it would show. The rules are Cedar policies that a privacy officer can read. This room never reads or stores anything itself,
//! and its refusals never tell whether a tenant, a customer or a record exists.

pub mod identity;
#[cfg(test)]
mod matrix;
pub mod permit;
pub mod policy;
mod question;

use identity::Unauthenticated;
use permit::{Permit, TenantScope};
use policy::Policies;

use crate::domain::action::Action;
use crate::domain::ids::{Purpose, TenantId};
use crate::domain::principal::Principal;
use crate::domain::record::RecordFacts;

/// Mints permits by the policies it was made with.
pub struct Access {
    policies: Policies,
}

/// A caller is not let through. The text goes to the caller, and says nothing of what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody we know.
    #[error(transparent)]
    Unauthenticated(#[from] Unauthenticated),
    /// The caller's tenant is suspended.
    #[error("the tenant is suspended; ask those who run the service to resume it")]
    Suspended,
    /// The action needs a purpose.
    #[error("this call needs a purpose; name one of the tenant's purposes")]
    NoPurpose,
    /// The principal may not do this, or not in this tenant.
    #[error("the principal may not do this; ask an admin of the tenant for a role that may")]
    NotAllowed,
    /// The principal may not see this record, or not for this purpose: answer exactly as for a record that is not there.
    #[error("there is no such record, or it may not be read by this principal for this purpose")]
    NotThisRecord,
}

impl Access {
    /// Access by these policies.
    pub fn new(policies: Policies) -> Self {
        Self { policies }
    }

    /// The door: may `principal` do `action` in `tenant` at all? For actions that need no purpose, `purpose` is ignored.
    pub fn door(
        &self,
        principal: &Principal,
        action: Action,
        tenant: TenantId,
        purpose: Option<Purpose>,
    ) -> Result<Permit<TenantScope>, Refused> {
        let purpose = purpose.filter(|_| action.needs_purpose());
        if action.needs_purpose() && purpose.is_none() {
            return Err(Refused::NoPurpose);
        }
        if !may_cross(principal, action, tenant) {
            return Err(Refused::NotAllowed);
        }
        let permit = Permit::through_door(principal, action, tenant, purpose);
        if self.policies.allow(&permit) { Ok(permit) } else { Err(Refused::NotAllowed) }
    }

    /// The record: may whoever came through `door` with a read see this record?
    pub fn record(&self, door: &Permit<TenantScope>, facts: RecordFacts) -> Result<Permit<RecordFacts>, Refused> {
        let is_read = door.action().needs_purpose() && door.purpose().is_some();
        if !is_read || facts.tenant != door.resource().tenant {
            return Err(Refused::NotThisRecord);
        }
        let permit = door.narrowed(facts);
        if self.policies.allow(&permit) { Ok(permit) } else { Err(Refused::NotThisRecord) }
    }
}

/// What no policy can allow: to touch another tenant's records or, unless one runs the service, another tenant.
fn may_cross(principal: &Principal, action: Action, tenant: TenantId) -> bool {
    principal.tenant == tenant || (principal.is_of_system() && !action.touches_records())
}
