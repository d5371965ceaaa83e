//! Who calls, and what they may do: from a bearer token to a principal, from a principal to a permit.
//!
//! A call is checked at the door (may this principal do this in this tenant at all?), and a read once more for each record that
//! it would show. The rules are Cedar policies that a privacy officer can read. This room stores nothing and reads nothing but an
//! issuer's public keys ([`jwks::source`]), and its refusals never tell whether a tenant, a customer or a record exists.

pub mod identity;
pub mod jwks;
pub mod jwt;
pub mod permit;
pub mod policy;
#[cfg(test)]
mod policy_matrix;
mod question;

use std::sync::{Arc, PoisonError, RwLock};

use identity::Unauthenticated;
use permit::{Permit, TenantScope};
use policy::{Policies, Verdict};

use crate::domain::action::Action;
use crate::domain::grant::Why;
use crate::domain::ids::TenantId;
use crate::domain::principal::Principal;
use crate::domain::record::RecordFacts;

/// Mints permits by the policies it was made with.
pub struct Access {
    policies: RwLock<Arc<Policies>>,
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
        Self { policies: RwLock::new(Arc::new(policies)) }
    }

    /// Access by other policies from now on. Permits that were given stay; streams that are open ask again within seconds.
    pub fn replace(&self, policies: Policies) {
        *self.policies.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policies);
    }

    fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The door: may `principal` do `action` in `tenant` at all? For actions that need no purpose, `why` is ignored.
    pub fn door(
        &self,
        principal: &Principal,
        action: Action,
        tenant: TenantId,
        why: Option<Why>,
    ) -> Result<Permit<TenantScope>, Refused> {
        let why = why.filter(|_| action.needs_purpose());
        if action.needs_purpose() && why.is_none() {
            return Err(Refused::NoPurpose);
        }
        if !may_cross(principal, action, tenant) {
            return Err(Refused::NotAllowed);
        }
        let policies = self.policies();
        let permit = Permit::through_door(&policies, principal, action, tenant, why);
        if policies.allow(&permit) { Ok(permit) } else { Err(Refused::NotAllowed) }
    }

    /// What decides whether `principal` may do `action` in its own tenant, to a record where its facts are given. Gives no permit.
    pub fn explain(
        &self,
        principal: &Principal,
        action: Action,
        why: Option<Why>,
        facts: Option<RecordFacts>,
    ) -> Result<Explanation, Refused> {
        let why = why.filter(|_| action.needs_purpose());
        if action.needs_purpose() && why.is_none() {
            return Err(Refused::NoPurpose);
        }
        let policies = self.policies();
        let door = Permit::through_door(&policies, principal, action, principal.tenant, why);
        let record = facts.filter(|_| action.needs_purpose()).map(|facts| policies.explain(&door.narrowed(facts)));
        Ok(Explanation { door: policies.explain(&door), record })
    }

    /// The record: may whoever came through `door` with a read see this record?
    pub fn record(&self, door: &Permit<TenantScope>, facts: RecordFacts) -> Result<Permit<RecordFacts>, Refused> {
        let is_read = door.action().needs_purpose() && door.why().is_some();
        if !is_read || facts.tenant != door.resource().tenant {
            return Err(Refused::NotThisRecord);
        }
        // By the policies of now, which may be others than those of the door.
        let policies = self.policies();
        let permit = door.narrowed(facts).under(&policies);
        if policies.allow(&permit) { Ok(permit) } else { Err(Refused::NotThisRecord) }
    }
}

/// What decides about an action: at the door, and for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// At the door.
    pub door: Verdict,
    /// For the record, where one is named.
    pub record: Option<Verdict>,
}

impl Explanation {
    /// Whether it may be done.
    pub fn allowed(&self) -> bool {
        self.door.allowed && self.record.as_ref().is_none_or(|record| record.allowed)
    }
}

/// What no policy can allow: to touch another tenant's records or, unless one runs the service, another tenant.
fn may_cross(principal: &Principal, action: Action, tenant: TenantId) -> bool {
    principal.tenant == tenant || (principal.is_of_system() && !action.touches_records())
}
