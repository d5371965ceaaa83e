//! Permits: the checked right of one principal to do one thing to one resource. Only this room makes them; a function that acts
//! takes one and reads from it what it acts upon. A permit is never copied, so that one check allows one act.

use std::sync::Arc;

use crate::domain::action::Action;
use crate::domain::grant::Why;
use crate::domain::ids::TenantId;
use crate::domain::principal::Principal;

/// The right to do [`Permit::action`] to [`Permit::resource`].
#[derive(Debug)]
pub struct Permit<R> {
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
    pub(super) fn through_door(principal: &Principal, action: Action, tenant: TenantId, why: Option<Why>) -> Self {
        Self { principal: Arc::new(principal.clone()), action, why, resource: TenantScope { tenant } }
    }
}

impl<R> Permit<R> {
    /// The same right, narrowed to one thing of the resource.
    pub(super) fn narrowed<N>(&self, resource: N) -> Permit<N> {
        Permit { principal: Arc::clone(&self.principal), action: self.action, why: self.why.clone(), resource }
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
