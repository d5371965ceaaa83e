//! Insiders: how much each principal reads, held against its ceilings, before anything is given out. What is counted a day stands in the
//! database, so that a restart forgets nothing; what is counted a minute stands in memory. Whoever comes half the way to a ceiling of the day,
//! or meets one, stands in the ledger as an alert, once a day each.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::core::{Core, entry};
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::{AlertSort, Entry, Event};
use crate::domain::action::Action;
use crate::domain::ceiling::{Ceiling, CeilingKind};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, Handle, RecordId, TenantId};
use crate::domain::principal::Principal;
use crate::store::{Batch, MAX_RANGE_ROWS, StoreError, rows};

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

    /// Adds the alert that somebody met a ceiling.
    fn tell_met(&self, batch: &mut Batch, principal: &Principal, tenant: TenantId) {
        self.met.fetch_add(1, Ordering::Relaxed);
        let event = Event::Alert { sort: AlertSort::CeilingMet, about: principal.alias };
        batch.append(entry(principal, tenant, event).encode().to_vec());
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

impl Vault {
    /// Counts that somebody reads something of these customers, and makes that and the entries about it durable; refused where a ceiling is
    /// met. Each refusal is an entry of its own.
    pub(super) async fn enter_reads(&self, reading: Reading, entries: Vec<Entry>) -> Result<(), VaultError> {
        let core = Arc::clone(&self.core);
        // On a task of its own: a caller who goes away cannot part what is counted in memory from what is durable.
        let entering = tokio::spawn(async move {
            let (tenant, alias) = (reading.tenant, reading.principal.alias);
            let count = move |core: &Arc<Core>| {
                let mut batch = Batch::new();
                let counted = core.count_reads(&mut batch, &reading);
                let entries = if counted.is_ok() { entries } else { vec![reading.refused()] };
                entries.iter().for_each(|entry| batch.append(entry.encode().to_vec()));
                Ok((counted, batch))
            };
            let (counted, batch) = core.blocking(count).await?;
            if let Err(error) = core.committer.commit(batch).await {
                // What is durable counts: it is read anew.
                core.insiders.lock().remove(&(tenant, alias));
                return Err(error.into());
            }
            counted
        });
        entering.await.unwrap_or(Err(StoreError::Stopping.into()))
    }

    /// Enters that somebody would have erased more than one person may alone.
    pub(super) async fn enter_erasure_refused(&self, permit: &Permit<TenantScope>) -> Result<(), VaultError> {
        let (principal, tenant, action) = (permit.principal().clone(), permit.resource().tenant, permit.action());
        let refused = move |core: &Arc<Core>| core.erasure_refused(&principal, tenant, action);
        let batch = self.core.blocking(refused).await?;
        self.core.committer.commit(batch).await?;
        Ok(())
    }
}

/// What somebody is about to read.
pub(super) struct Reading {
    pub principal: Principal,
    pub tenant: TenantId,
    pub action: Action,
    /// The record, where it is one.
    pub record: Option<RecordId>,
    /// Whose records, each as often as there are some.
    pub customers: Vec<Handle>,
}

impl Reading {
    fn refused(&self) -> Entry {
        entry(&self.principal, self.tenant, Event::Refused { action: self.action, record: self.record })
    }
}

impl Core {
    /// Counts it, and adds what must be durable for that to `batch`; where a ceiling is met, only what tells of it.
    fn count_reads(&self, batch: &mut Batch, reading: &Reading) -> Result<(), VaultError> {
        let Reading { principal, tenant, customers, .. } = reading;
        let tenant = *tenant;
        let ceiling = self.limits.ceilings.of(&principal.roles);
        if ceiling.lets_read_all() || customers.is_empty() {
            return Ok(());
        }
        let mut today = self.insiders.lock();
        // Behind the lock: whoever comes later has the later time.
        let now = Timestamp::now();
        let (day, minute) = (day_of(now), now.as_ms() / MINUTE_MS);
        let one = self.of_today(&mut today, (tenant, principal.alias), day, ceiling)?;
        if one.minute < minute {
            (one.minute, one.reads_in_minute) = (minute, 0);
        }
        let reads = customers.len() as u64;
        let new: HashSet<Handle> =
            customers.iter().copied().filter(|customer| !one.customers.contains(customer)).collect();
        let mut met = one.met(ceiling, reads, new.len() as u64, now);
        if met.is_some() {
            let given = self.given(tenant, principal.alias, now)?;
            let raised = given.into_iter().fold(ceiling, |ceiling, (_, raise, _)| raise.of(ceiling));
            met = one.met(raised, reads, new.len() as u64, now);
        }
        if let Some((kind, limit, retry_ms)) = met {
            if one.told_met.insert(kind) {
                self.insiders.tell_met(batch, principal, tenant);
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

    /// What somebody did today, as it is remembered, or read anew.
    fn of_today<'a>(
        &self,
        today: &'a mut HashMap<(TenantId, BlindIndex), Today>,
        key: (TenantId, BlindIndex),
        day: u32,
        ceiling: Ceiling,
    ) -> Result<&'a mut Today, VaultError> {
        if today.len() >= MAX_REMEMBERED && !today.contains_key(&key) {
            today.retain(|_, one| one.day == day);
            if today.len() >= MAX_REMEMBERED {
                today.clear();
            }
        }
        if today.get(&key).is_none_or(|known| known.day < day) {
            let fresh = self.today(key.0, key.1, day, ceiling)?;
            today.insert(key, fresh);
        }
        Ok(today.get_mut(&key).expect("it was put there if it was not"))
    }

    /// The entries about an erasure that needed a second person.
    fn erasure_refused(&self, principal: &Principal, tenant: TenantId, action: Action) -> Result<Batch, VaultError> {
        let mut batch = Batch::new();
        batch.append(entry(principal, tenant, Event::Refused { action, record: None }).encode().to_vec());
        let ceiling = self.limits.ceilings.of(&principal.roles);
        let mut today = self.insiders.lock();
        let one = self.of_today(&mut today, (tenant, principal.alias), day_of(Timestamp::now()), ceiling)?;
        if one.told_met.insert(CeilingKind::ErasuresPerDay) {
            self.insiders.tell_met(&mut batch, principal, tenant);
        }
        Ok(batch)
    }

    /// What the database says that somebody did today.
    fn today(&self, tenant: TenantId, alias: BlindIndex, day: u32, ceiling: Ceiling) -> Result<Today, VaultError> {
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
        let mut today = Today { day, reads, customers, minute: 0, reads_in_minute: 0, told_half, told_met };
        // Who is past that was told of.
        today.told_half = today.is_half_way(ceiling);
        Ok(today)
    }

    fn forget_days(&self, now: Timestamp) -> Result<(), VaultError> {
        let kept_from = day_of(now).saturating_sub(KEPT_DAYS - 1);
        self.insiders.lock().retain(|_, one| one.day >= kept_from);
        for kind in [rows::Kind::Seen, rows::Kind::Reads, rows::Kind::ErasedBy] {
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
