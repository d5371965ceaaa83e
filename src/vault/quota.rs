//! How much a tenant may use: bytes, records, calls a second; and how full the disk may be.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::core::Core;
use super::{QuotaKind, Vault, VaultError};
use crate::domain::ids::TenantId;
use crate::domain::tenant::Usage;
use crate::store::{disk, rows};

/// What is being written, and not yet in the counters.
#[derive(Default)]
pub(super) struct Reservations(Mutex<HashMap<TenantId, Usage>>);

/// A tenant's calls a second, as long as its quota stays what it is.
#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<TenantId, (NonZeroU32, Arc<DefaultDirectRateLimiter>)>>);

/// Room for a record or a revision that is being written. Given back when dropped: by then the counters have it, or it was not written.
pub(super) struct Reservation {
    core: Arc<Core>,
    tenant: TenantId,
    bytes: u64,
    records: u64,
}

impl Reservation {
    /// Takes room for more bytes.
    pub fn grow(&mut self, bytes: u64) -> Result<(), VaultError> {
        self.core.reserve_bytes(self.tenant, bytes, 0)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut pending = self.core.reservations.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = pending.get_mut(&self.tenant) {
            usage.content_bytes -= self.bytes;
            usage.records -= self.records;
            if *usage == Usage::default() {
                pending.remove(&self.tenant);
            }
        }
    }
}

impl Vault {
    /// Takes room for one record of so many sealed bytes.
    pub(super) async fn reserve(&self, tenant: TenantId, bytes: u64) -> Result<Reservation, VaultError> {
        self.core.blocking(move |core| core.reserve(tenant, bytes, 1)).await
    }

    /// Counts one call of a tenant that may make `allowed` calls a second; refused when it makes more.
    pub fn count_call(&self, tenant: TenantId, allowed: Option<u32>) -> Result<(), VaultError> {
        let Some(allowed) = allowed.and_then(NonZeroU32::new) else { return Ok(()) };
        let limiter = {
            let mut rates = self.core.rates.0.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || (allowed, Arc::new(RateLimiter::direct(Quota::per_second(allowed))));
            let rate = rates.entry(tenant).or_insert_with(fresh);
            if rate.0 != allowed {
                *rate = fresh();
            }
            Arc::clone(&rate.1)
        };
        let exceeded = VaultError::TooManyCalls { limit_per_second: allowed.get() };
        limiter.check().map_err(|_| exceeded)
    }
}

impl Core {
    /// What a tenant uses now, by the counters.
    pub fn usage(&self, tenant: TenantId) -> Result<Usage, VaultError> {
        let counter = |counter| -> Result<u64, VaultError> {
            let stored = self.db.get(&rows::usage(tenant, counter))?;
            let bytes = stored.map(|stored| stored.try_into().map_err(|_| VaultError::damaged("a counter")));
            Ok(bytes.transpose()?.map_or(0, u64::from_be_bytes))
        };
        Ok(Usage { content_bytes: counter(rows::Counter::ContentBytes)?, records: counter(rows::Counter::Records)? })
    }

    /// Takes room for so many sealed bytes, of one record or of a revision, which is none. Blocks.
    pub fn reserve(self: &Arc<Self>, tenant: TenantId, bytes: u64, records: u64) -> Result<Reservation, VaultError> {
        self.reserve_bytes(tenant, bytes, records)?;
        Ok(Reservation { core: Arc::clone(self), tenant, bytes, records })
    }

    fn reserve_bytes(&self, tenant: TenantId, bytes: u64, records: u64) -> Result<(), VaultError> {
        if disk::free_bytes(&self.data)? < self.limits.disk_reserve_bytes.saturating_add(bytes) {
            return Err(VaultError::DiskReserve);
        }
        let quotas = self.tenant_entry(tenant)?.settings.quotas;
        let mut pending = self.reservations.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = self.usage(tenant)?;
        let mine = pending.entry(tenant).or_default();
        let wanted = Usage {
            content_bytes: used.content_bytes.saturating_add(mine.content_bytes).saturating_add(bytes),
            records: used.records.saturating_add(mine.records).saturating_add(records),
        };
        // Only what is asked for is held against its quota: a write that has its place keeps it. While a batch is being applied, its
        // record may count twice, which can refuse another for that moment, and never admits one too many.
        let over = |which, asked: u64, wanted: u64, limit: Option<u64>| {
            let limit = limit.filter(|limit| asked > 0 && wanted > *limit)?;
            Some(VaultError::QuotaExceeded { which, limit })
        };
        let refused = over(QuotaKind::ContentBytes, bytes, wanted.content_bytes, quotas.content_bytes)
            .or_else(|| over(QuotaKind::Records, records, wanted.records, quotas.records));
        if let Some(refused) = refused {
            if *mine == Usage::default() {
                pending.remove(&tenant);
            }
            return Err(refused);
        }
        mine.content_bytes += bytes;
        mine.records += records;
        Ok(())
    }
}
