//! What somebody has seen: every customer and record that a principal, a token or a span of time touched, out of the ledger, as a signed file.
//!
//! The ledger is gone through once, by the bytes at the beginning of each entry; only entries that fit are read whole. Real ids of customers
//! are told where they still are customers: whoever must be notified can be, and of those who are erased nothing is left to tell.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::fence::{Fenced, Watch};
use super::people::alias_of;
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::{Caller, Entry, Event, Shown, report};
use crate::crypto::hash::Sha256;
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, CustomerId, Handle, PrincipalName, RecordId, TenantId, TokenId};
use crate::domain::principal::Principal;

/// The most records that one report names: about 150 bytes each in memory.
pub const MAX_EXPOSED_RECORDS: usize = 2_000_000;
/// Records in one line.
const RECORDS_IN_LINE: usize = 50;
/// A piece is as long as its last line makes it, from here on: about one frame of HTTP/2.
const PIECE_BYTES: usize = 8 * 1024;

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
    /// Reports such as this one, that were made then: each named customers.
    reports: u64,
    /// Lists of before their records were entered: nobody can tell which they were.
    nameless_lists: u64,
    /// Entries that do not say with which token a platform called, where a token is asked about.
    unsaid: u64,
}

/// A report that is being made, piece by piece: no more customers are named at once than one piece holds.
pub struct Report {
    core: Arc<Core>,
    /// `None` once it came to its end, or failed.
    rest: Option<Box<Rest>>,
}

/// What is not told yet.
struct Rest {
    tenant: TenantId,
    head: Option<serde_json::Value>,
    customers: btree_map::IntoIter<Handle, BTreeMap<RecordId, Touched>>,
    /// Whose records are told of in more than one line.
    current: Option<Current>,
    /// Fires when the tenant is frozen. `None`: it was when the report began, and nobody is named.
    names_until: Option<CancellationToken>,
    hash: Sha256,
    lines: u64,
}

struct Current {
    handle: Handle,
    customer: Option<CustomerId>,
    is_erased: Option<bool>,
    records: btree_map::IntoIter<RecordId, Touched>,
}

impl Vault {
    /// Begins the report about the permit's tenant: the bytes of a file, JSON lines and a signed note. Nobody reports about oneself. Of a tenant
    /// that is frozen it names handles only: whose they are is not opened. `room` is held until nothing of the report is in memory any more,
    /// whether its caller waits for it or not.
    pub async fn report_exposure<G: Send + 'static>(
        &self,
        permit: Permit<TenantScope>,
        about: Suspicion,
        room: G,
    ) -> Result<(Report, G), VaultError> {
        let (tenant, principal) = (permit.resource().tenant, permit.principal().clone());
        let asked = about.clone();
        let is_own = move |core: &Arc<Core>| core.is_own(&principal, &asked);
        if self.core.blocking(is_own).await? {
            return self.noting_refusal(&permit, Err(VaultError::SecondPerson)).await;
        }
        self.note(&permit).await?;
        let gone = CancellationToken::new();
        let _gone_with_the_caller = gone.clone().drop_guard();
        let make = move |core: &Arc<Core>| Ok((core.exposure(tenant, &about, &|| gone.is_cancelled())?, room));
        let (rest, room) = self.core.blocking(make).await?;
        Ok((Report { core: Arc::clone(&self.core), rest: Some(Box::new(rest)) }, room))
    }
}

impl Report {
    /// The next piece, which must not leave once one of its watches says so; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Fenced<Vec<u8>>>, VaultError> {
        let Some(mut rest) = self.rest.take() else { return Ok(None) };
        let step = move |core: &Arc<Core>| {
            let (piece, is_last) = rest.piece(core)?;
            Ok((piece, (!is_last).then_some(rest)))
        };
        let (piece, rest) = self.core.blocking(step).await?;
        self.rest = rest;
        Ok(Some(piece))
    }
}

impl Rest {
    /// The next piece, and whether it is the last.
    fn piece(&mut self, core: &Arc<Core>) -> Result<(Fenced<Vec<u8>>, bool), VaultError> {
        if self.names_until.as_ref().is_some_and(CancellationToken::is_cancelled) {
            return Err(VaultError::TenantFrozen);
        }
        let (mut content, mut watches) = (Vec::new(), Vec::new());
        if let Some(head) = self.head.take() {
            self.line(&mut content, &head);
        }
        while content.len() < PIECE_BYTES {
            let Some(mut current) =
                self.current.take().map_or_else(|| self.next_customer(core), |one| Ok(Some(one)))?
            else {
                let hash = std::mem::take(&mut self.hash).finish();
                let note = core.log.with_key(|key| report::sign(self.lines, &hash, &core.log.origin, key));
                content.extend_from_slice(note.as_bytes());
                return Ok((Fenced { content, watches }, true));
            };
            watches.extend(self.watch(core, &mut current)?);
            let told = |(record, touched): (RecordId, Touched)| {
                json!({
                    "record_id": record.to_string(),
                    "first_ms": touched.first.as_ms(),
                    "last_ms": touched.last.as_ms(),
                    "times": touched.times,
                })
            };
            let records: Vec<_> = current.records.by_ref().take(RECORDS_IN_LINE).map(told).collect();
            let line = json!({
                "customer_id": current.customer.as_ref().map(|id| id.as_str()),
                "is_erased": current.is_erased,
                "handle": current.handle.to_string(),
                "records": records,
            });
            self.line(&mut content, &line);
            self.current = (current.records.len() > 0).then_some(current);
        }
        Ok((Fenced { content, watches }, false))
    }

    fn next_customer(&mut self, core: &Arc<Core>) -> Result<Option<Current>, VaultError> {
        let Some((handle, records)) = self.customers.next() else { return Ok(None) };
        let mut current = Current { handle, customer: None, is_erased: None, records: records.into_iter() };
        if self.names_until.is_none() {
            return Ok(Some(current));
        }
        let inside = core.fences.enter_customer_to_read(self.tenant, handle);
        let customer = inside.and_then(|_inside| core.customer_id(&core.customer(self.tenant, handle)?));
        current.is_erased = Some(customer.is_err());
        match customer {
            Ok(customer) => current.customer = Some(customer),
            Err(VaultError::NotFound | VaultError::CustomerErased) => {}
            Err(error) => return Err(error),
        }
        Ok(Some(current))
    }

    /// A watch of whoever is named in the next line; nobody is named who is being erased. Inside her fence nobody stays: a reader who takes
    /// nothing must not hold an erasure up.
    fn watch(&self, core: &Arc<Core>, current: &mut Current) -> Result<Option<Watch>, VaultError> {
        if current.customer.is_none() {
            return Ok(None);
        }
        match core.fences.enter_customer_to_read(self.tenant, current.handle) {
            Ok(inside) => Ok(Some(inside.watch())),
            Err(VaultError::NotFound | VaultError::CustomerErased) => {
                (current.customer, current.is_erased) = (None, Some(true));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn line(&mut self, content: &mut Vec<u8>, value: &serde_json::Value) {
        let begin = content.len();
        content.extend_from_slice(value.to_string().as_bytes());
        content.push(b'\n');
        self.hash.update(&content[begin..]);
        self.lines += 1;
    }
}

impl Core {
    /// Whether somebody is asked about by himself: by name, by what he comes with now, or by another token of his.
    fn is_own(&self, principal: &Principal, about: &Suspicion) -> Result<bool, VaultError> {
        let by_name = about.principal.as_ref() == Some(&principal.name);
        let by_token = about.token.is_some() && [Some(principal.token), principal.actor_token].contains(&about.token);
        let of_token = about.token.map(|token| self.token(token)).transpose()?.flatten();
        let by_other =
            of_token.is_some_and(|(of, token)| (of, &token.principal) == (principal.tenant, &principal.name));
        Ok(by_name || by_token || by_other)
    }

    fn exposure(&self, tenant: TenantId, about: &Suspicion, is_over: &dyn Fn() -> bool) -> Result<Rest, VaultError> {
        let keys = self.tenant_keys(tenant)?;
        let alias = about.principal.as_ref().map(|name| alias_of(&keys, name));
        let log = self.committer.log();
        let found = self.touched(tenant, about, alias, is_over)?;
        let names_until = Some(self.fences.frozen(tenant)).filter(|frozen| !frozen.is_cancelled());
        let time = |instant: Option<Timestamp>| instant.map(Timestamp::as_ms);
        let head = json!({
            "report": "oubliette exposure v1",
            "tenant": self.tenant_entry(tenant)?.name.as_str(),
            "principal": about.principal.as_ref().map(PrincipalName::as_str),
            "token": about.token.map(|token| token.to_string()),
            "from_ms": time(about.from),
            "before_ms": time(about.before),
            "made_ms": Timestamp::now().as_ms(),
            "log_size": log.size(),
            "names_customers": names_until.is_some(),
            "entries": found.entries,
            "reports": found.reports,
            "nameless_lists": found.nameless_lists,
            "unsaid_credentials": found.unsaid,
            "customers": found.customers.len(),
            "records": found.records,
        });
        let (head, customers) = (Some(head), found.customers.into_iter());
        Ok(Rest { tenant, head, customers, current: None, names_until, hash: Sha256::new(), lines: 0 })
    }

    fn touched(
        &self,
        tenant: TenantId,
        about: &Suspicion,
        alias: Option<BlindIndex>,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Found, VaultError> {
        let mut found = Found::default();
        let by_whom = alias.is_some() || about.token.is_some();
        self.walk_ledger(is_over, |bytes| {
            let Some(head) = Entry::peek(bytes) else { return Err(VaultError::damaged("the ledger")) };
            let is_asked = head.tenant == tenant
                && about.from.is_none_or(|from| head.at >= from)
                && about.before.is_none_or(|before| head.at < before)
                && head.caller.is_some_and(|caller: Caller| {
                    alias.is_none_or(|alias| caller.is(alias)) && about.token.is_none_or(|token| caller.has(token))
                });
            // Of before an entry said with what a platform came.
            let is_unsaid = |caller: Caller| caller.actor.is_some() && caller.actor_token.is_none();
            if head.tenant == tenant && about.token.is_some() && head.caller.is_some_and(is_unsaid) {
                found.unsaid += 1;
            }
            if is_asked {
                found.add(&Entry::decode(bytes)?, by_whom);
            }
            match found.records > MAX_EXPOSED_RECORDS {
                true => Err(VaultError::ExposureTooLarge { limit: MAX_EXPOSED_RECORDS as u64 }),
                false => Ok(()),
            }
        })?;
        // What was not read to its end is no report.
        if is_over() { Err(VaultError::Stopping) } else { Ok(found) }
    }
}

impl Found {
    /// Whatever an answer told of a record counts: its content, what is known of it, its place in a list, and the record of a write that was
    /// repeated; and whose cases were listed. Where it is asked what somebody did, what that one stored counts as well.
    fn add(&mut self, entry: &Entry, by_whom: bool) {
        match &entry.event {
            Event::Read { handle, record, .. } | Event::Repeated { handle, record, .. } => {
                self.entries += 1;
                self.touch(entry.at, *handle, *record);
            }
            Event::Stored { handle, record, .. } if by_whom => {
                self.entries += 1;
                self.touch(entry.at, *handle, *record);
            }
            // Of a glass it is not known whether there was such a customer.
            Event::Granted { action: Action::AssignCase | Action::UnassignCase, granted } if by_whom => {
                self.entries += 1;
                self.customers.entry(granted.handle).or_default();
            }
            Event::CasesListed { handle } => {
                self.entries += 1;
                self.customers.entry(*handle).or_default();
            }
            Event::Listed { shown: Shown::Count(_), .. } => self.nameless_lists += 1,
            Event::Listed { shown: Shown::Records(records), .. } => {
                self.entries += 1;
                records.iter().for_each(|(handle, record)| self.touch(entry.at, *handle, *record));
            }
            Event::Administered { action: Action::ReportExposure, .. } => self.reports += 1,
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
