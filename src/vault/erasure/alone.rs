//! How many erasures one person may ask for alone in a day. Beyond that, each is one that a second person has approved, and its receipt says who.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::access::permit::{Permit, TenantScope};
use crate::domain::approval::ApprovalId;
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
    counted: HashMap<(TenantId, BlindIndex), Counted>,
}

/// What somebody has asked for: alone today, and by each approval that was used in this round.
#[derive(Default)]
struct Counted {
    alone: u64,
    used: HashMap<ApprovalId, u64>,
}

/// On whose word an erasure is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// On the caller's own. `false`: there is no ceiling, and nothing to count.
    Own(bool),
    /// By an approval, and who gave it.
    Approved(ApprovalId, BlindIndex),
}

impl Alone {
    /// On whose word this principal asks for one more erasure. `limit`: so many a day need nobody else, 0 for all.
    pub fn word(
        &mut self,
        core: &Core,
        (tenant, alias): (TenantId, BlindIndex),
        limit: u32,
    ) -> Result<Word, VaultError> {
        if limit == 0 {
            return Ok(Word::Own(false));
        }
        let now = Timestamp::now();
        let counted = match self.counted.entry((tenant, alias)) {
            Entry::Occupied(counted) => counted.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Counted { alone: core.erased_alone(tenant, alias, now)?, used: HashMap::new() })
            }
        };
        if counted.alone < u64::from(limit) {
            return Ok(Word::Own(true));
        }
        for (id, raise, by) in core.given(tenant, alias, now)? {
            let used = core.used(tenant, id)?.saturating_add(counted.used.get(&id).copied().unwrap_or(0));
            if used < u64::from(raise.erasures) {
                return Ok(Word::Approved(id, by));
            }
        }
        Err(VaultError::ApprovalNeeded { limit })
    }

    /// One more is asked for, on this word.
    pub fn count(&mut self, batch: &mut Batch, (tenant, alias): (TenantId, BlindIndex), word: Word) {
        let Some(counted) = self.counted.get_mut(&(tenant, alias)) else { return };
        match word {
            Word::Own(false) => {}
            Word::Own(true) => {
                counted.alone = counted.alone.saturating_add(1);
                batch.add(rows::erased_by(tenant, day_of(Timestamp::now()), alias), 1);
            }
            Word::Approved(id, _) => {
                *counted.used.entry(id).or_default() += 1;
                batch.add(rows::approved(tenant, id), 1);
            }
        }
    }
}

impl Core {
    /// How many erasures somebody has asked for alone today.
    fn erased_alone(&self, tenant: TenantId, alias: BlindIndex, now: Timestamp) -> Result<u64, VaultError> {
        let row = rows::erased_by(tenant, day_of(now), alias);
        let count = self.counter(&row)?;
        // More than a ceiling can be set to.
        if count > u64::from(u32::MAX) {
            self.damage.met("a counter", &row, &VaultError::damaged("a counter"));
            return Ok(0);
        }
        Ok(count)
    }

    /// How many erasures an approval was used for.
    fn used(&self, tenant: TenantId, id: ApprovalId) -> Result<u64, VaultError> {
        self.counter(&rows::approved(tenant, id))
    }

    fn counter(&self, row: &[u8]) -> Result<u64, VaultError> {
        let counted = self.db.get(row)?;
        Ok(counted.and_then(|count| count.try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    /// How many erasures more somebody may ask for now, alone and by what was approved.
    fn room_for_erasures(&self, tenant: TenantId, alias: BlindIndex, limit: u32) -> Result<u64, VaultError> {
        let now = Timestamp::now();
        let mut room = u64::from(limit).saturating_sub(self.erased_alone(tenant, alias, now)?);
        for (id, raise, _) in self.given(tenant, alias, now)? {
            room += u64::from(raise.erasures).saturating_sub(self.used(tenant, id)?);
        }
        Ok(room)
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
            let mut count = 0;
            for customer in &customers {
                let is_there = core.known_customer(tenant, customer)?;
                count += u64::from(is_there.is_some_and(|handle| !core.fences.is_closed(handle)));
            }
            let room = core.room_for_erasures(tenant, alias, limit)?;
            if count > room { Err(VaultError::ApprovalNeeded { limit }) } else { Ok(()) }
        };
        self.core.blocking(look).await
    }
}
