//! Permits: the checked right of one principal to do one thing to one resource. Only this room makes them; a function that acts
//! takes one and reads from it what it acts upon. A permit is never copied, so that one check allows one act.

use std::sync::Arc;

use super::policy::Policies;
use super::question::Asked;
use crate::domain::action::Action;
use crate::domain::grant::Why;
use crate::domain::ids::TenantId;
use crate::domain::principal::Principal;
use crate::domain::record::RecordFacts;
use crate::domain::sensitive::SensitiveKind;

/// The right to do [`Permit::action`] to [`Permit::resource`].
#[derive(Debug)]
pub struct Permit<R> {
    // By these it was given; they say, too, what of a record its holder sees.
    policies: Arc<Policies>,
    // Shared, because a page of a list has a permit for each of its records.
    principal: Arc<Principal>,
    action: Action,
    why: Option<Why>,
    resource: R,
}

/// The tenant acted upon: the principal's own or, for the admins of `system`, another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantScope {
    /// The tenant.
    pub tenant: TenantId,
}

impl Permit<TenantScope> {
    pub(super) fn through_door(
        policies: &Arc<Policies>,
        principal: &Principal,
        action: Action,
        tenant: TenantId,
        why: Option<Why>,
    ) -> Self {
        let policies = Arc::clone(policies);
        Self { policies, principal: Arc::new(principal.clone()), action, why, resource: TenantScope { tenant } }
    }
}

impl Permit<RecordFacts> {
    /// Whether its holder sees or hears what is sensitive in the record and of this kind.
    pub fn sees(&self, kind: SensitiveKind) -> bool {
        self.policies.shows(self, kind)
    }
}

impl<R> Permit<R> {
    /// The same right, narrowed to one thing of the resource.
    pub(super) fn narrowed<N>(&self, resource: N) -> Permit<N> {
        let policies = Arc::clone(&self.policies);
        Permit {
            policies,
            principal: Arc::clone(&self.principal),
            action: self.action,
            why: self.why.clone(),
            resource,
        }
    }

    /// The same, to be asked of these policies.
    pub(super) fn under(self, policies: &Arc<Policies>) -> Self {
        Self { policies: Arc::clone(policies), ..self }
    }

    /// What it says, as a question to the policy.
    pub(super) fn asked(&self) -> Asked<'_, R> {
        let Self { principal, action, why, resource, .. } = self;
        Asked { principal, action: *action, why: why.as_ref(), resource }
    }

    /// Who may.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What.
    pub fn action(&self) -> Action {
        self.action
    }

    /// To what.
    pub fn resource(&self) -> &R {
        &self.resource
    }

    /// Why: there for every action that needs a purpose.
    pub fn why(&self) -> Option<&Why> {
        self.why.as_ref()
    }
}
