//! How many erasures one person may ask for alone in a day. Beyond that, each is one that a second person has approved, and its receipt says who.

use std::collections::HashMap;
use std::sync::Arc;

use crate::access::permit::{Permit, TenantScope};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, CustomerId, TenantId};
use crate::domain::principal::Principal;
use crate::store::{Batch, rows};
use crate::vault::core::Core;
use crate::vault::insiders::day_of;
use crate::vault::{Vault, VaultError};

/// What is asked for in one round, by who asks. Only the tree's writer counts, so the rows are read once a round.
#[derive(Default)]
pub(super) struct Alone {
    counted: HashMap<(TenantId, BlindIndex), u64>,
}

impl Alone {
    /// Who approved one more erasure of this principal; `None` where nobody has to. `limit`: so many a day need nobody, 0 for all.
    pub fn approver(
        &mut self,
        core: &Core,
        (tenant, alias): (TenantId, BlindIndex),
        limit: u32,
    ) -> Result<Option<BlindIndex>, VaultError> {
        if limit == 0 {
            return Ok(None);
        }
        let now = Timestamp::now();
        let counted = match self.counted.get(&(tenant, alias)) {
            Some(counted) => *counted,
            None => core.erased_by(tenant, alias, now)?,
        };
        self.counted.insert((tenant, alias), counted);
        core.approver_of(tenant, alias, limit, counted + 1, now)
    }

    /// One more is asked for.
    pub fn count(&mut self, batch: &mut Batch, (tenant, alias): (TenantId, BlindIndex)) {
        if let Some(counted) = self.counted.get_mut(&(tenant, alias)) {
            *counted += 1;
            batch.add(rows::erased_by(tenant, day_of(Timestamp::now()), alias), 1);
        }
    }
}

impl Core {
    /// How many erasures somebody has asked for today.
    fn erased_by(&self, tenant: TenantId, alias: BlindIndex, now: Timestamp) -> Result<u64, VaultError> {
        let counted = self.db.get(&rows::erased_by(tenant, day_of(now), alias))?;
        Ok(counted.and_then(|count| count.try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    /// Who approved that somebody asks for so many erasures in a day; `None` where nobody has to.
    fn approver_of(
        &self,
        tenant: TenantId,
        alias: BlindIndex,
        limit: u32,
        count: u64,
        now: Timestamp,
    ) -> Result<Option<BlindIndex>, VaultError> {
        let mut room = u64::from(limit);
        if count <= room {
            return Ok(None);
        }
        for (raise, by) in self.raised(tenant, alias, now)? {
            room += u64::from(raise.erasures);
            if count <= room {
                return Ok(Some(by));
            }
        }
        Err(VaultError::ApprovalNeeded { limit })
    }
}

impl Vault {
    /// How many erasures a day the caller may ask for without a second person; 0 for all.
    pub(super) fn alone(&self, principal: &Principal) -> u32 {
        self.core.limits.ceilings.of(&principal.roles).erasures_per_day
    }

    /// Refuses a list as a whole that needs a second person: before anything of it is asked for. Whoever is erased already, or was never there,
    /// counts nothing. The writer counts again.
    pub(super) async fn refuse_a_list_alone(
        &self,
        permit: &Permit<TenantScope>,
        customers: &[CustomerId],
    ) -> Result<(), VaultError> {
        let (tenant, alias, limit) =
            (permit.resource().tenant, permit.principal().alias, self.alone(permit.principal()));
        if limit == 0 {
            return Ok(());
        }
        let customers = customers.to_vec();
        let look = move |core: &Arc<Core>| {
            let now = Timestamp::now();
            let mut count = core.erased_by(tenant, alias, now)?;
            for customer in &customers {
                let is_there = core.known_customer(tenant, customer)?;
                count += u64::from(is_there.is_some_and(|handle| !core.fences.is_closed(handle)));
            }
            core.approver_of(tenant, alias, limit, count, now).map(drop)
        };
        self.core.blocking(look).await
    }

    /// Enters that an erasure needed a second person, if it did.
    pub(super) async fn told_of<T>(
        &self,
        permit: &Permit<TenantScope>,
        outcome: Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        if let Err(VaultError::ApprovalNeeded { .. }) = &outcome {
            self.enter_erasure_refused(permit).await?;
        }
        outcome
    }
}
