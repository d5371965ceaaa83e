//! Finding records: by customer, case or agent, or all of a tenant's; in the order in which they were stored.
//!
//! Finding and showing are two steps. [`Vault::find`] gives facts, which open no key; those that `access` permits are shown by
//! [`Vault::show`].

use super::core::{Core, blinded, entry};
use super::format::Head;
use super::record_rows::agent_index;
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::Event;
use crate::domain::ids::{Handle, RecordId, TenantId};
use crate::domain::principal::Principal;
use crate::domain::record::{FindBy, Record, RecordFacts, RecordFilter};
use crate::store::rows;

/// Rows read in one go.
const ROWS_AT_ONCE: usize = 256;

/// Where the next page begins: behind this record.
pub type ListCursor = RecordId;

/// What one step of a list finds.
pub struct Candidates {
    /// The records, with what is known without opening them.
    pub facts: Vec<RecordFacts>,
    /// The customer, where the list is of one.
    pub handle: Option<Handle>,
    /// Where the next step begins; `None` at the end.
    pub next: Option<ListCursor>,
}

impl Vault {
    /// Finds up to `limit` records behind `cursor`, looking at no more rows than the limits allow.
    pub async fn find(
        &self,
        door: &Permit<TenantScope>,
        filter: &RecordFilter,
        cursor: Option<ListCursor>,
        limit: usize,
    ) -> Result<Candidates, VaultError> {
        let tenant = door.resource().tenant;
        let principal = door.principal().clone();
        let by = filter.by.clone();
        self.core.blocking(move |core| core.find(&principal, tenant, &by, cursor, limit)).await
    }

    /// Shows records, leaving out those that began outside the filter's time. One entry in the ledger is durable before.
    pub async fn show(
        &self,
        door: &Permit<TenantScope>,
        filter: &RecordFilter,
        handle: Option<Handle>,
        permits: Vec<Permit<RecordFacts>>,
    ) -> Result<Vec<Record>, VaultError> {
        let tenant = door.resource().tenant;
        let purpose = door.purpose().cloned();
        let purpose = self.core.blocking(move |core| core.purpose_place(tenant, purpose.as_ref())).await?;
        let count = u32::try_from(permits.len()).unwrap_or(u32::MAX);
        self.core.record(entry(door.principal(), tenant, Event::Listed { handle, count, purpose })).await?;
        let (from, before) = (filter.started_from, filter.started_before);
        self.core
            .blocking(move |core| {
                let mut shown = Vec::with_capacity(permits.len());
                for permit in &permits {
                    let facts = permit.resource();
                    // Erased since it was found: left out.
                    let Ok(_inside) = core.fences.enter(facts.handle) else { continue };
                    let record = match core.open_record(facts) {
                        Ok(opened) => opened.record,
                        Err(VaultError::NotFound) => continue,
                        Err(error) => return Err(error),
                    };
                    let started = record.details.started;
                    if from.is_none_or(|from| started >= from) && before.is_none_or(|before| started < before) {
                        shown.push(record);
                    }
                }
                Ok(shown)
            })
            .await
    }
}

impl Core {
    fn find(
        &self,
        principal: &Principal,
        tenant: TenantId,
        by: &FindBy,
        cursor: Option<ListCursor>,
        limit: usize,
    ) -> Result<Candidates, VaultError> {
        let keys = self.tenant_keys(tenant)?;
        let mut found = Candidates { facts: Vec::new(), handle: None, next: None };
        let ids: Box<Ids<'_>> = match by {
            FindBy::Tenant => Box::new(|cursor| self.ids_of_tenant(tenant, cursor)),
            FindBy::Case(case) => {
                let index = blinded(&keys, "case", case.as_str());
                Box::new(move |cursor| self.ids_in(rows::index_span(tenant, index), 33, cursor, rows::parse_index))
            }
            FindBy::Agent(agent) => {
                let index = agent_index(&keys, agent);
                Box::new(move |cursor| self.ids_in(rows::index_span(tenant, index), 33, cursor, rows::parse_index))
            }
            FindBy::Customer(customer) => {
                let pseudonym = super::tree::pseudonym(&keys, customer);
                let Some(handle) = self.tree.handle(tenant, pseudonym)? else { return Ok(found) };
                found.handle = Some(handle);
                let parse = |key: &[u8]| rows::parse_secret(key).map(|(_, record, _)| record);
                Box::new(move |cursor| self.ids_in(rows::customer_secrets(handle), 17, cursor, parse))
            }
        };
        let mut cursor = cursor;
        let mut looked_at = 0;
        while looked_at < self.limits.list_scan_rows {
            let step = ids(cursor)?;
            let is_last = step.len() < ROWS_AT_ONCE;
            for id in step {
                looked_at += 1;
                cursor = Some(id);
                // A customer's own secrets and uploads that are not finished have no record.
                found.facts.extend(self.facts(principal, tenant, id)?);
                if found.facts.len() == limit {
                    found.next = cursor;
                    return Ok(found);
                }
            }
            if is_last {
                return Ok(found);
            }
        }
        found.next = cursor;
        Ok(found)
    }

    /// Ids behind `cursor` from keys that end with the id, after a prefix of `prefix` bytes.
    fn ids_in(
        &self,
        (from, to): (Vec<u8>, Vec<u8>),
        prefix: usize,
        cursor: Option<ListCursor>,
        parse: impl Fn(&[u8]) -> Option<RecordId>,
    ) -> Result<Vec<RecordId>, VaultError> {
        let from = match cursor {
            None => from,
            Some(id) => {
                let mut key = from[..prefix.min(from.len())].to_vec();
                key.extend_from_slice(id.as_bytes());
                rows::span_of(key).1
            }
        };
        if from >= to {
            return Ok(Vec::new());
        }
        let found = self.db.range(&from, &to, ROWS_AT_ONCE)?;
        found.iter().map(|(key, _)| parse(key).ok_or(VaultError::damaged("an index row's key"))).collect()
    }

    /// Ids of all records of a tenant: each may take several rows, so the scan jumps from record to record.
    fn ids_of_tenant(&self, tenant: TenantId, cursor: Option<ListCursor>) -> Result<Vec<RecordId>, VaultError> {
        let (mut from, to) = rows::tenant_records(tenant);
        if let Some(id) = cursor {
            from = rows::record_span(tenant, id).1;
        }
        let mut ids: Vec<RecordId> = Vec::new();
        while ids.len() < ROWS_AT_ONCE && from < to {
            let step = self.db.range(&from, &to, ROWS_AT_ONCE - ids.len())?;
            let Some((last, _)) = step.last() else { break };
            from = rows::behind(last.clone());
            for (key, value) in &step {
                let (id, _, piece) = rows::parse_record_piece(key).ok_or(VaultError::damaged("a record's key"))?;
                if piece == 0 && ids.last() != Some(&id) {
                    Head::decode(value)?;
                    ids.push(id);
                }
            }
        }
        Ok(ids)
    }
}

type Ids<'a> = dyn Fn(Option<ListCursor>) -> Result<Vec<RecordId>, VaultError> + 'a;
