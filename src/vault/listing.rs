//! Finding records: a customer's, those of a customer's case, an agent's, or all of a tenant's; in the order in which they were stored.
//!
//! No row finds the records of a case: it would lead from the case's id to the customer's handle under a key that outlives the customer. So
//! who asks for a case names the customer too, and each of the customer's records tells whether it is of that case.
//!
//! Finding and showing are two steps. [`Vault::find`] opens no content, and gives what `access` permits; that is shown by [`Vault::show`]. What the caller may not see counts for nothing on the way, so that no page tells of it.

use std::sync::Arc;

use super::core::{Core, entry};
use super::fence::Fenced;
use super::format::Place;
use super::grants::Asker;
use super::insiders::Reading;
use super::record_rows::agent_index;
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::{Event, MAX_SHOWN, Shown};
use crate::crypto::key_wrap;
use crate::domain::ids::{Handle, RecordId, Revision, TenantId};
use crate::domain::principal::Principal;
use crate::domain::record::{FindBy, Record, RecordFacts, RecordFilter};
use crate::domain::{Invalid, Problem};
use crate::keys::TenantKeys;
use crate::store::rows;

/// Rows read in one go.
const ROWS_AT_ONCE: usize = 256;

/// The bytes of a page's mark, sealed: the id of a record, nonce and tag.
pub const PAGE_MARK: usize = 16 + key_wrap::OVERHEAD;

/// Where a page of a list begins: behind a record, which may be one that the caller may not see; so it is sealed, for this caller and this
/// question.
pub type PageMark = [u8; PAGE_MARK];

/// Which page of a list is asked for.
pub struct Page {
    /// A hash of all else that is asked.
    pub question: [u8; 32],
    /// The page's beginning; absent for the first.
    pub mark: Option<PageMark>,
    /// The most records on it.
    pub size: usize,
}

/// What one step of a list finds.
pub struct Candidates {
    /// The records that the caller may see.
    pub permits: Vec<Permit<RecordFacts>>,
    /// The customer, where the list is of one.
    pub handle: Option<Handle>,
    /// Where the next step begins; `None` at the end.
    pub next: Option<PageMark>,
}

impl Vault {
    /// Finds records that `visible` permits, a page of them, looking at no more rows than the limits allow: where much is hidden
    /// from the caller, a page can be short and not the last.
    pub async fn find(
        &self,
        door: &Permit<TenantScope>,
        filter: &RecordFilter,
        page: Page,
        visible: impl Fn(RecordFacts) -> Option<Permit<RecordFacts>> + Send + 'static,
    ) -> Result<Candidates, VaultError> {
        let tenant = door.resource().tenant;
        let asker = Asker::of(door);
        let by = filter.by.clone();
        // No longer than may be read in a minute: a longer one would be refused whenever it is asked for.
        let in_a_minute = self.core.limits.ceilings.of(&asker.principal.roles).reads_per_minute;
        let size = if in_a_minute == 0 { page.size } else { page.size.min(in_a_minute as usize) };
        let find = move |core: &Arc<Core>| {
            let context = mark_context(&asker.principal, &page.question);
            let keys = core.tenant_keys(tenant)?;
            let cursor = page.mark.map(|mark| open_mark(&keys, &context, &mark)).transpose()?;
            let asked = Asked { asker: &asker, tenant, cursor, size };
            let (permits, handle, next) = core.find(&keys, &by, &asked, &visible)?;
            Ok(Candidates { permits, handle, next: next.map(|id| seal_mark(&keys, &context, id)) })
        };
        self.core.blocking(find).await
    }

    /// Shows records, leaving out those that began outside the filter's time. What it may show stands in the ledger before.
    pub async fn show(
        &self,
        door: &Permit<TenantScope>,
        filter: &RecordFilter,
        handle: Option<Handle>,
        permits: Vec<Permit<RecordFacts>>,
    ) -> Result<Fenced<Vec<Record>>, VaultError> {
        let tenant = door.resource().tenant;
        let frozen = if self.core.fences.is_frozen(tenant) { Err(VaultError::TenantFrozen) } else { Ok(()) };
        self.noting_refusal(door, frozen).await?;
        let why = door.why().cloned();
        let purpose = self.core.blocking(move |core| core.purpose_place(tenant, why.as_ref())).await?;
        let shown: Vec<_> = permits.iter().map(|permit| (permit.resource().handle, permit.resource().id)).collect();
        let (principal, action) = (door.principal().clone(), door.action());
        // Of an empty list, too.
        let parts = shown.chunks(MAX_SHOWN).chain(shown.is_empty().then_some(&[][..]));
        let told = parts.map(|some| Event::Listed { handle, shown: Shown::Records(some.to_vec()), purpose });
        let entries = told.map(|event| entry(&principal, tenant, event)).collect();
        let customers = shown.iter().map(|(handle, _)| *handle).collect();
        self.enter_reads(Reading { principal, tenant, action, record: None, customers }, entries).await?;
        let (from, before) = (filter.started_from, filter.started_before);
        self.core
            .blocking(move |core| {
                let mut shown = Fenced { content: Vec::with_capacity(permits.len()), watches: Vec::new() };
                for permit in &permits {
                    let facts = permit.resource();
                    // Erased since it was found: left out.
                    let inside = match core.fences.enter_to_read(facts) {
                        Ok(inside) => inside,
                        Err(VaultError::TenantFrozen) => return Err(VaultError::TenantFrozen),
                        Err(_) => continue,
                    };
                    let record = match core.open_record(facts) {
                        Ok(opened) => opened.record,
                        Err(VaultError::NotFound) => continue,
                        Err(error) => {
                            let row = rows::record_piece(facts.tenant, facts.id, facts.revision, 0);
                            core.unless_damaged("a record", &row, Err(error))?;
                            continue;
                        }
                    };
                    let started = record.details.started;
                    if from.is_none_or(|from| started >= from) && before.is_none_or(|before| started < before) {
                        shown.content.push(record);
                        shown.watches.push(inside.watch());
                    }
                }
                Ok(shown)
            })
            .await
    }
}

/// What a page of a list is looked for with.
struct Asked<'a> {
    asker: &'a Asker,
    tenant: TenantId,
    cursor: Option<RecordId>,
    size: usize,
}

/// Not the key of any row: those begin with the number of their kind.
fn mark_context(principal: &Principal, question: &[u8; 32]) -> Vec<u8> {
    [b"page of records", &principal.alias.0[..], question].concat()
}

fn seal_mark(keys: &TenantKeys, context: &[u8], behind: RecordId) -> PageMark {
    let sealed = key_wrap::seal(&keys.settings, context, behind.as_bytes());
    sealed.try_into().expect("what is sealed is as long as what it seals and the overhead")
}

fn open_mark(keys: &TenantKeys, context: &[u8], mark: &PageMark) -> Result<RecordId, Invalid> {
    let plain = key_wrap::open(&keys.settings, context, mark).map_err(|_| foreign_page())?;
    plain.as_slice().try_into().map(RecordId::from_bytes).map_err(|_| foreign_page())
}

/// A page is asked for by what no page before gave for this question.
pub fn foreign_page() -> Invalid {
    let expected = "next_page_token of the page before, with all other fields as they were";
    Invalid::new("page_token", Problem::Malformed { expected })
}

type Found = (Vec<Permit<RecordFacts>>, Option<Handle>, Option<RecordId>);

impl Core {
    fn find(
        &self,
        keys: &TenantKeys,
        by: &FindBy,
        asked: &Asked<'_>,
        visible: &dyn Fn(RecordFacts) -> Option<Permit<RecordFacts>>,
    ) -> Result<Found, VaultError> {
        let tenant = asked.tenant;
        let mut of = None;
        let ids: Box<Ids<'_>> = match by {
            FindBy::Tenant => Box::new(|cursor| self.ids_of_tenant(tenant, cursor)),
            FindBy::Agent(agent) => {
                let index = agent_index(keys, agent);
                Box::new(move |cursor| self.ids_in(rows::index_span(tenant, index), 33, cursor, rows::parse_index))
            }
            FindBy::Customer(customer) | FindBy::Case(customer, _) => {
                let pseudonym = super::tree::pseudonym(keys, customer);
                let Some(handle) = self.tree.handle(tenant, pseudonym)? else { return Ok((Vec::new(), None, None)) };
                of = Some(handle);
                let parse = |key: &[u8]| rows::parse_secret(key).map(|(_, record, _)| record);
                Box::new(move |cursor| self.ids_in(rows::customer_secrets(handle), 17, cursor, parse))
            }
        };
        let (mut permits, mut cursor, mut looked_at) = (Vec::new(), asked.cursor, 0);
        while looked_at < self.limits.list_scan_rows {
            let step = ids(cursor)?;
            let is_last = step.len() < ROWS_AT_ONCE;
            for id in step {
                looked_at += 1;
                // Revisions of one record stand together.
                if cursor.replace(id) == Some(id) {
                    continue;
                }
                // A customer's own secrets and uploads that are not finished have no record.
                let facts = self.facts(asked.asker, tenant, id, None).and_then(|facts| self.of_case(by, facts));
                match facts {
                    Ok(facts) => permits.extend(facts.and_then(visible)),
                    Err(error) => {
                        let row = rows::record_piece(tenant, id, Revision::FIRST, 0);
                        self.unless_damaged("a record", &row, Err(error))?;
                    }
                }
                if permits.len() == asked.size {
                    return Ok((permits, of, cursor));
                }
            }
            if is_last {
                return Ok((permits, of, None));
            }
        }
        Ok((permits, of, cursor))
    }

    /// A record, unless only those of a case are asked for, and it is of none or of another.
    fn of_case(&self, by: &FindBy, facts: Option<RecordFacts>) -> Result<Option<RecordFacts>, VaultError> {
        let (FindBy::Case(_, case), Some(found)) = (by, &facts) else { return Ok(facts) };
        let RecordFacts { tenant, handle, id: record, revision, .. } = *found;
        let is_of_it = self.is_of_case(&Place { tenant, handle, record, revision }, case)?;
        Ok(facts.filter(|_| is_of_it))
    }

    /// Ids behind `cursor` from keys that end with the id, after a prefix of `prefix` bytes.
    fn ids_in(
        &self,
        (from, to): (Vec<u8>, Vec<u8>),
        prefix: usize,
        cursor: Option<RecordId>,
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
    fn ids_of_tenant(&self, tenant: TenantId, cursor: Option<RecordId>) -> Result<Vec<RecordId>, VaultError> {
        let (mut from, to) = rows::tenant_records(tenant);
        if let Some(id) = cursor {
            from = rows::record_span(tenant, id).1;
        }
        let mut ids: Vec<RecordId> = Vec::new();
        while ids.len() < ROWS_AT_ONCE && from < to {
            let step = self.db.range(&from, &to, ROWS_AT_ONCE - ids.len())?;
            let Some((last, _)) = step.last() else { break };
            from = rows::behind(last.clone());
            for (key, _) in &step {
                let (id, _, piece) = rows::parse_record_piece(key).ok_or(VaultError::damaged("a record's key"))?;
                if piece == 0 && ids.last() != Some(&id) {
                    ids.push(id);
                }
            }
        }
        Ok(ids)
    }
}

type Ids<'a> = dyn Fn(Option<RecordId>) -> Result<Vec<RecordId>, VaultError> + 'a;
