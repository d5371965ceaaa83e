//! What somebody has seen: every customer and record that a principal, a token or a span of time touched, out of the ledger, as a signed file.
//!
//! The ledger is gone through once, by the bytes at the beginning of each entry; only entries that fit are read whole. Real ids of customers
//! are told where they still are customers: whoever must be notified can be, and of those who are erased nothing is left to tell.

use std::collections::BTreeMap;

use serde_json::json;

use super::core::Core;
use super::people::alias_of;
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::{Caller, Entry, Event, Shown, report};
use crate::crypto::hash::Sha256;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, Handle, PrincipalName, RecordId, TenantId, TokenId};
use crate::store::{MAX_RANGE_ROWS, rows};

/// The most records that one report names: about 150 bytes each in memory.
pub const MAX_EXPOSED_RECORDS: usize = 2_000_000;
/// Records in one line.
const RECORDS_IN_LINE: usize = 1_000;

/// What is asked: about whom, with what, and when. At least one is given.
#[derive(Debug, Clone, Default)]
pub struct Suspicion {
    /// Whoever has this name.
    pub principal: Option<PrincipalName>,
    /// Whoever came with this token.
    pub token: Option<TokenId>,
    /// From when on.
    pub from: Option<Timestamp>,
    /// Before when.
    pub before: Option<Timestamp>,
}

/// When, and how often, something was touched.
#[derive(Debug, Clone, Copy)]
struct Touched {
    first: Timestamp,
    last: Timestamp,
    times: u32,
}

/// What was found.
#[derive(Default)]
struct Found {
    customers: BTreeMap<Handle, BTreeMap<RecordId, Touched>>,
    records: usize,
    entries: u64,
}

impl Vault {
    /// The report about the permit's tenant, as the bytes of its file: JSON lines, and a signed note. One at a time.
    pub async fn report_exposure(
        &self,
        permit: Permit<TenantScope>,
        about: Suspicion,
    ) -> Result<Vec<Vec<u8>>, VaultError> {
        let tenant = permit.resource().tenant;
        self.note(&permit).await?;
        let _one_at_a_time = self.reporting.lock().await;
        self.core.blocking(move |core| core.exposure(tenant, &about)).await
    }
}

impl Core {
    fn exposure(&self, tenant: TenantId, about: &Suspicion) -> Result<Vec<Vec<u8>>, VaultError> {
        let keys = self.tenant_keys(tenant)?;
        let alias = about.principal.as_ref().map(|name| alias_of(&keys, name));
        let log = self.committer.log();
        let found = self.touched(tenant, about, alias, log.size())?;
        let mut file = File { chunks: Vec::new(), hash: Sha256::new(), lines: 0 };
        let time = |instant: Option<Timestamp>| instant.map(Timestamp::as_ms);
        file.line(&json!({
            "report": "oubliette exposure v1",
            "tenant": self.tenant_entry(tenant)?.name.as_str(),
            "principal": about.principal.as_ref().map(PrincipalName::as_str),
            "token": about.token.map(|token| token.to_string()),
            "from_ms": time(about.from),
            "before_ms": time(about.before),
            "made_ms": Timestamp::now().as_ms(),
            "log_size": log.size(),
            "entries": found.entries,
            "customers": found.customers.len(),
            "records": found.records,
        }));
        for (handle, records) in &found.customers {
            let customer = match self.customer(tenant, *handle).and_then(|customer| self.customer_id(&customer)) {
                Ok(id) => Some(id),
                Err(VaultError::NotFound) => None,
                Err(error) => return Err(error),
            };
            let records: Vec<_> = records.iter().collect();
            for some in records.chunks(RECORDS_IN_LINE) {
                let told = |(record, touched): &(&RecordId, &Touched)| {
                    json!({
                        "record_id": record.to_string(),
                        "first_ms": touched.first.as_ms(),
                        "last_ms": touched.last.as_ms(),
                        "times": touched.times,
                    })
                };
                file.line(&json!({
                    "customer_id": customer.as_ref().map(|id| id.as_str()),
                    "is_erased": customer.is_none(),
                    "handle": handle.to_string(),
                    "records": some.iter().map(told).collect::<Vec<_>>(),
                }));
            }
        }
        let (lines, hash) = (file.lines, file.hash.finish());
        let note = self.log.with_key(|key| report::sign(lines, &hash, &self.log.origin, key));
        file.chunks.push(note.into_bytes());
        Ok(file.chunks)
    }

    fn touched(
        &self,
        tenant: TenantId,
        about: &Suspicion,
        alias: Option<BlindIndex>,
        end: u64,
    ) -> Result<Found, VaultError> {
        let mut found = Found::default();
        let (mut from, to) = (rows::ledger(0), rows::ledger(end));
        loop {
            let some = self.db.range(&from, &to, MAX_RANGE_ROWS)?;
            let Some((last, _)) = some.last() else { return Ok(found) };
            from = rows::behind(last.clone());
            for (_, bytes) in &some {
                let Some(head) = Entry::peek(bytes) else { return Err(VaultError::damaged("the ledger")) };
                let is_asked = head.tenant == tenant
                    && about.from.is_none_or(|from| head.at >= from)
                    && about.before.is_none_or(|before| head.at < before)
                    && head.caller.is_some_and(|caller: Caller| {
                        alias.is_none_or(|alias| caller.alias == alias)
                            && about.token.is_none_or(|token| caller.token == token)
                    });
                if is_asked {
                    found.add(&Entry::decode(bytes)?);
                }
                if found.records > MAX_EXPOSED_RECORDS {
                    return Err(VaultError::ExposureTooLarge { limit: MAX_EXPOSED_RECORDS as u64 });
                }
            }
        }
    }
}

impl Found {
    /// Whatever an answer told of a record counts: its content, what is known of it, its place in a list, and the record of a write that was
    /// repeated.
    fn add(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Read { handle, record, .. } | Event::Repeated { handle, record, .. } => {
                self.entries += 1;
                self.touch(entry.at, *handle, *record);
            }
            Event::Listed { shown: Shown::Records(records), .. } => {
                self.entries += 1;
                records.iter().for_each(|(handle, record)| self.touch(entry.at, *handle, *record));
            }
            _ => {}
        }
    }

    fn touch(&mut self, at: Timestamp, handle: Handle, record: RecordId) {
        let records = self.customers.entry(handle).or_default();
        let before = records.len();
        let touched = records.entry(record).or_insert(Touched { first: at, last: at, times: 0 });
        (touched.first, touched.last) = (touched.first.min(at), touched.last.max(at));
        touched.times = touched.times.saturating_add(1);
        self.records += records.len() - before;
    }
}

/// A file that is being written.
struct File {
    chunks: Vec<Vec<u8>>,
    hash: Sha256,
    lines: u64,
}

impl File {
    fn line(&mut self, value: &serde_json::Value) {
        let mut line = value.to_string().into_bytes();
        line.push(b'\n');
        self.hash.update(&line);
        self.lines += 1;
        match self.chunks.last_mut().filter(|chunk| chunk.len() + line.len() <= CHUNK_BYTES) {
            Some(chunk) => chunk.extend_from_slice(&line),
            None => self.chunks.push(line),
        }
    }
}

/// About so many bytes are sent at once.
const CHUNK_BYTES: usize = 256 * 1024;
