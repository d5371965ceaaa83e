//! Insiders: how much each principal reads, held against its ceilings, before anything is given out. What is counted a day stands in the
//! database, so that a restart forgets nothing; what is counted a minute stands in memory. Whoever comes half the way to a ceiling of the day,
//! or meets one, stands in the ledger as an alert, once a day each.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::core::{Core, entry};
use super::{Vault, VaultError};
use crate::audit::{AlertSort, Event};
use crate::domain::ceiling::{Ceiling, CeilingKind};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, Handle, TenantId};
use crate::domain::principal::Principal;
use crate::store::{Batch, MAX_RANGE_ROWS, rows};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const MINUTE_MS: u64 = 60_000;
/// The most principals that are remembered at once; of further ones it is read anew what they did today.
const MAX_REMEMBERED: usize = 100_000;
/// Days whose rows are kept, today among them.
const KEPT_DAYS: u32 = 2;
/// Rows removed in one go.
const AT_ONCE: usize = 1_024;

/// What each principal read today.
#[derive(Default)]
pub(super) struct Insiders {
    today: Mutex<HashMap<(TenantId, BlindIndex), Today>>,
    /// Alerts since the start, for the metrics.
    unusual: AtomicU64,
    met: AtomicU64,
}

struct Today {
    day: u32,
    reads: u64,
    customers: HashSet<Handle>,
    minute: u64,
    reads_in_minute: u64,
    told_half: bool,
    told_met: HashSet<CeilingKind>,
}

impl Insiders {
    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, BlindIndex), Today>> {
        self.today.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vault {
    /// How many alerts of each sort insiders have caused since the start.
    pub fn alerts_of_insiders(&self) -> [(&'static str, u64); 2] {
        let Insiders { unusual, met, .. } = &self.core.insiders;
        [(AlertSort::UnusualReading, unusual), (AlertSort::CeilingMet, met)]
            .map(|(sort, count)| (sort.name(), count.load(Ordering::Relaxed)))
    }

    /// Removes what was counted on days that are over.
    pub async fn forget_days(&self, now: Timestamp) -> Result<(), VaultError> {
        self.core.blocking(move |core| core.forget_days(now)).await
    }
}

impl Core {
    /// Counts that `principal` reads something of these customers, and adds what must be durable for it to `batch`; refused where a ceiling is
    /// met. The refusal is an entry of its own.
    pub fn count_reads(
        &self,
        batch: &mut Batch,
        principal: &Principal,
        tenant: TenantId,
        customers: &[Handle],
    ) -> Result<(), VaultError> {
        let ceiling = self.limits.ceilings.of(&principal.roles);
        if ceiling == Ceiling::default() || customers.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        let (day, minute) = (day_of(now), now.as_ms() / MINUTE_MS);
        let key = (tenant, principal.alias);
        let mut today = self.insiders.lock();
        if today.len() >= MAX_REMEMBERED && !today.contains_key(&key) {
            today.clear();
        }
        let one = match today.entry(key) {
            std::collections::hash_map::Entry::Occupied(known) if known.get().day == day => known.into_mut(),
            other => {
                let fresh = self.today(tenant, principal.alias, day)?;
                match other {
                    std::collections::hash_map::Entry::Occupied(mut old) => {
                        old.insert(fresh);
                        old.into_mut()
                    }
                    std::collections::hash_map::Entry::Vacant(place) => place.insert(fresh),
                }
            }
        };
        if one.minute != minute {
            (one.minute, one.reads_in_minute) = (minute, 0);
        }
        let reads = customers.len() as u64;
        let new: HashSet<Handle> =
            customers.iter().copied().filter(|customer| !one.customers.contains(customer)).collect();
        if let Some((kind, limit, retry_ms)) = one.met(ceiling, reads, new.len() as u64, now) {
            let is_first = one.told_met.insert(kind);
            drop(today);
            if is_first {
                self.insiders.met.fetch_add(1, Ordering::Relaxed);
                let event = Event::Alert { sort: AlertSort::CeilingMet, about: principal.alias };
                let mut batch = Batch::new();
                batch.append(entry(principal, tenant, event).encode().to_vec());
                self.committer.commit_blocking(batch)?;
            }
            return Err(VaultError::ReadCeiling { kind, limit, retry_ms });
        }
        one.reads += reads;
        one.reads_in_minute += reads;
        batch.add(rows::reads(tenant, day, principal.alias), i64::try_from(reads).unwrap_or(i64::MAX));
        for customer in new {
            batch.put(rows::seen(tenant, day, principal.alias, customer), Vec::new());
            one.customers.insert(customer);
        }
        if !one.told_half && one.is_half_way(ceiling) {
            one.told_half = true;
            self.insiders.unusual.fetch_add(1, Ordering::Relaxed);
            let event = Event::Alert { sort: AlertSort::UnusualReading, about: principal.alias };
            batch.append(entry(principal, tenant, event).encode().to_vec());
        }
        Ok(())
    }

    /// What the database says that somebody did today.
    fn today(&self, tenant: TenantId, alias: BlindIndex, day: u32) -> Result<Today, VaultError> {
        let counted = self.db.get(&rows::reads(tenant, day, alias))?;
        let reads = counted.and_then(|count| count.try_into().ok()).map_or(0, u64::from_be_bytes);
        let (mut from, to) = rows::seen_by(tenant, day, alias);
        let mut customers = HashSet::new();
        loop {
            let some = self.db.range(&from, &to, MAX_RANGE_ROWS)?;
            let Some((last, _)) = some.last() else { break };
            from = rows::behind(last.clone());
            customers.extend(some.iter().filter_map(|(key, _)| rows::parse_seen(key)));
        }
        let (told_half, told_met) = (false, HashSet::new());
        Ok(Today { day, reads, customers, minute: 0, reads_in_minute: 0, told_half, told_met })
    }

    fn forget_days(&self, now: Timestamp) -> Result<(), VaultError> {
        let kept_from = day_of(now).saturating_sub(KEPT_DAYS - 1);
        for kind in [rows::Kind::Seen, rows::Kind::Reads] {
            let (mut from, to) = rows::all(kind);
            loop {
                let some = self.db.range(&from, &to, AT_ONCE)?;
                let Some((last, _)) = some.last() else { break };
                from = rows::behind(last.clone());
                let mut batch = Batch::new();
                let is_over = |key: &[u8]| rows::parse_day(key).is_some_and(|day| day < kept_from);
                some.into_iter().filter(|(key, _)| is_over(key)).for_each(|(key, _)| batch.delete(key));
                if !batch.is_empty() {
                    self.committer.commit_blocking(batch)?;
                }
            }
        }
        Ok(())
    }
}

impl Today {
    /// The ceiling that so many more would pass, how high it is, and when to try again.
    fn met(&self, ceiling: Ceiling, reads: u64, customers: u64, now: Timestamp) -> Option<(CeilingKind, u32, u64)> {
        let of_minute = MINUTE_MS - now.as_ms() % MINUTE_MS;
        let of_day = DAY_MS - now.as_ms() % DAY_MS;
        let all = [
            (CeilingKind::ReadsPerMinute, ceiling.reads_per_minute, self.reads_in_minute + reads, of_minute),
            (CeilingKind::ReadsPerDay, ceiling.reads_per_day, self.reads + reads, of_day),
            (CeilingKind::CustomersPerDay, ceiling.customers_per_day, self.customers.len() as u64 + customers, of_day),
        ];
        let met = all.into_iter().find(|(_, limit, would_be, _)| *limit > 0 && *would_be > u64::from(*limit));
        met.map(|(kind, limit, _, retry_ms)| (kind, limit, retry_ms))
    }

    fn is_half_way(&self, ceiling: Ceiling) -> bool {
        let is_past_half = |limit: u32, count: u64| limit > 0 && 2 * count > u64::from(limit);
        is_past_half(ceiling.reads_per_day, self.reads)
            || is_past_half(ceiling.customers_per_day, self.customers.len() as u64)
    }
}

/// Days since 1970-01-01, UTC.
pub(super) fn day_of(now: Timestamp) -> u32 {
    u32::try_from(now.as_ms() / DAY_MS).unwrap_or(u32::MAX)
}
