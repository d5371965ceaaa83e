//! What lets somebody read a customer's records beyond a role: cases that the platform assigns, and glass that is broken in an emergency.
//!
//! A grant stands under the customer's handle and goes with the customer. It is looked up before any content is opened, and is worth nothing
//! once its time is over, whether its row is still there or not. Whoever asks for the glass of a customer who is not there gets the same
//! answer: nothing can be learnt from it.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::core::{Core, entry};
use super::customer::{Customer, ToCompare};
use super::fence::Fenced;
use super::format::{GrantRow, Place, Term, Use, decode_words, encode_words, use_key};
use super::people::{alias_of, next_of};
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::{AlertSort, Event};
use crate::crypto::key_wrap;
use crate::crypto::pseudonym::blind;
use crate::crypto::secret::{Key, random_bytes};
use crate::domain::clock::Timestamp;
use crate::domain::grant::{BrokenGlass, CaseAssignment, Granted};
use crate::domain::ids::{BlindIndex, CaseId, CustomerId, Handle, PrincipalName, RecordId, Revision, TenantId};
use crate::domain::principal::Principal;
use crate::keys::TenantKeys;
use crate::store::{Batch, Row, rows};

/// Rows looked at in one go.
const AT_ONCE: usize = 256;
const WHAT: &str = "what lets somebody read";

/// Who asks, and the case that is stated.
#[derive(Clone)]
pub(super) struct Asker {
    pub principal: Principal,
    pub case: Option<CaseId>,
}

impl Asker {
    /// Who came through this door.
    pub fn of<R>(permit: &Permit<R>) -> Self {
        let case = permit.why().and_then(|why| why.case.clone());
        Self { principal: permit.principal().clone(), case }
    }
}

/// One page of the cases of a customer, and where the next one begins.
pub type AssignmentsPage = (Vec<CaseAssignment>, Option<Vec<u8>>);

impl Vault {
    /// Assigns a case. The customer is created if unknown: a case may come before its first record. What was assigned before is replaced.
    pub async fn assign_case(&self, permit: Permit<TenantScope>, new: CaseAssignment) -> Result<(), VaultError> {
        let tenant = permit.resource().tenant;
        let handle = self.customer_handle(tenant, &new.customer).await?;
        let inside = self.core.fences.enter(tenant, handle)?;
        let build = move |core: &Arc<Core>| {
            let keys = core.tenant_keys(tenant)?;
            let customer = core.customer(tenant, handle)?;
            let row = assignment_row(&core.assignments_key(&customer)?, handle, &new.case, &new.assignee);
            let words = [new.case.as_str(), new.assignee.as_str()];
            let mut batch = grant((&keys, &core.grants_key(&customer)?), &permit, row, new.expires, &words);
            let to = alias_of(&keys, &new.assignee);
            granted(&mut batch, &permit, Granted { handle, to, until: Some(new.expires) });
            batch.require_absent(rows::tombstone(tenant, super::tree::pseudonym(&keys, &new.customer)));
            Ok(batch)
        };
        let batch = self.core.blocking(build).await?;
        self.core.committer.commit(batch).await?;
        drop(inside);
        Ok(())
    }

    /// Takes a case back; `NotFound` where it is not assigned.
    pub async fn unassign_case(
        &self,
        permit: Permit<TenantScope>,
        (customer, case, assignee): (CustomerId, CaseId, PrincipalName),
    ) -> Result<(), VaultError> {
        let tenant = permit.resource().tenant;
        let build = move |core: &Arc<Core>| {
            let keys = core.tenant_keys(tenant)?;
            let handle = core.known_customer(tenant, &customer)?.ok_or(VaultError::NotFound)?;
            let key = core.assignments_key(&core.customer(tenant, handle)?)?;
            let row = assignment_row(&key, handle, &case, &assignee);
            core.db.get(&row)?.ok_or(VaultError::NotFound)?;
            let mut batch = Batch::new();
            batch.delete(row);
            granted(&mut batch, &permit, Granted { handle, to: alias_of(&keys, &assignee), until: None });
            Ok(batch)
        };
        let batch = self.core.blocking(build).await?;
        self.core.committer.commit(batch).await?;
        Ok(())
    }

    /// Who works on which cases of a customer, as far as they are not expired: up to `limit` behind a place.
    pub async fn list_case_assignments(
        &self,
        permit: Permit<TenantScope>,
        customer: CustomerId,
        behind: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Fenced<AssignmentsPage>, VaultError> {
        let tenant = permit.resource().tenant;
        let principal = permit.principal().clone();
        let find = move |core: &Arc<Core>| {
            if core.fences.is_frozen(tenant) {
                return Err(VaultError::TenantFrozen);
            }
            let Some(handle) = core.known_customer(tenant, &customer)? else { return Ok(None) };
            match core.fences.enter_customer_to_read(tenant, handle) {
                Err(VaultError::CustomerErased) => Ok(None),
                inside => Ok(Some((customer, handle, inside?))),
            }
        };
        let found = self.core.blocking(find).await;
        let Some((customer, handle, inside)) = self.noting_refusal(&permit, found).await? else {
            self.note(&permit).await?;
            return Ok(Fenced { content: (Vec::new(), None), watches: Vec::new() });
        };
        self.core.record(entry(&principal, tenant, Event::CasesListed { handle })).await?;
        let list = move |core: &Arc<Core>| {
            let keys = core.tenant_keys(tenant)?;
            let key = core.grants_key(&core.customer(tenant, handle)?)?;
            let page = core.page(rows::assignments(handle), behind, limit)?;
            let open = |(row, value): &Row| {
                let (grant, term) = open_term(&keys, tenant, row, value)?;
                if term.expires <= Timestamp::now() {
                    return Ok(None);
                }
                let words = key_wrap::open(&key, row, &grant.words).map_err(|_| VaultError::damaged(WHAT))?;
                let [case, assignee]: [Zeroizing<String>; 2] = decode_words(&words)?;
                Ok(Some(CaseAssignment {
                    customer: customer.clone(),
                    case: CaseId::parse(&case)?,
                    assignee: PrincipalName::parse(&assignee)?,
                    expires: term.expires,
                }))
            };
            let assignments = core.those_that_open(WHAT, &page, open)?.into_iter().flatten().collect();
            Ok(Fenced { content: (assignments, next_of(&page, limit)), watches: vec![inside.watch()] })
        };
        self.core.blocking(list).await
    }

    /// Lets the caller read a customer's records for a short time. The reason is kept for as long as the customer is; that it was done, and
    /// by whom, for ever. Where there is no such customer the answer is the same.
    pub async fn break_glass(&self, permit: Permit<TenantScope>, new: BrokenGlass) -> Result<(), VaultError> {
        let tenant = permit.resource().tenant;
        let build = move |core: &Arc<Core>| {
            let keys = core.tenant_keys(tenant)?;
            let principal = permit.principal();
            let known = core.known_customer(tenant, &new.customer)?;
            let inside = known.map(|handle| core.fences.enter(tenant, handle)).and_then(Result::ok);
            // Where there is no such customer the same is written, for a handle of nobody: that takes as long, and waits for the same mirrors.
            let (handle, key) = match (known, &inside) {
                (Some(handle), Some(_)) => (handle, core.grants_key(&core.customer(tenant, handle)?)?),
                _ => core.key_of_nobody(tenant)?,
            };
            let row = glass_row(&keys, handle, &principal.name);
            let words = [principal.name.as_str(), new.reason.as_str()];
            let mut batch = grant((&keys, &key), &permit, row, new.expires, &words);
            granted(&mut batch, &permit, Granted { handle, to: principal.alias, until: Some(new.expires) });
            batch.hold(inside);
            let event = Event::Alert { sort: AlertSort::GlassBroken, about: principal.alias };
            batch.append(entry(principal, tenant, event).encode().to_vec());
            Ok(batch)
        };
        let batch = self.core.blocking(build).await?;
        self.core.committer.commit(batch).await?;
        Ok(())
    }

    /// Removes what is expired.
    pub async fn forget_grants(&self, now: Timestamp) -> Result<(), VaultError> {
        for kind in [rows::Kind::Assignment, rows::Kind::Glass] {
            let (mut from, to) = rows::all(kind);
            loop {
                let span = (from.clone(), to.clone());
                let expired = move |core: &Arc<Core>| core.expired_grants(span, now);
                let Some((batch, last)) = self.core.blocking(expired).await? else { break };
                from = rows::behind(last);
                if !batch.is_empty() {
                    self.core.committer.commit(batch).await?;
                }
            }
        }
        Ok(())
    }
}

impl Core {
    /// Whether a case of this customer is assigned to somebody now.
    pub fn case_is_assigned(
        &self,
        customer: &ToCompare,
        case: &CaseId,
        assignee: &PrincipalName,
    ) -> Result<bool, VaultError> {
        let (key, place) = self.assignments_to_compare(customer)?;
        self.holds(place.tenant, &assignment_row(&key, place.handle, case, assignee))
    }

    /// Whether somebody has broken the glass of this customer, and may still read.
    pub fn glass_is_broken(&self, tenant: TenantId, handle: Handle, name: &PrincipalName) -> Result<bool, VaultError> {
        self.holds(tenant, &glass_row(&*self.tenant_keys(tenant)?, handle, name))
    }

    /// Whether a grant is there, and is not expired.
    fn holds(&self, tenant: TenantId, row: &[u8]) -> Result<bool, VaultError> {
        let Some(value) = self.db.get(row)? else { return Ok(false) };
        match open_term(&*self.tenant_keys(tenant)?, tenant, row, &value) {
            Ok((_, term)) => Ok(term.expires > Timestamp::now()),
            // One that does not open lets nobody in, and keeps nobody out who needs none.
            Err(error) => self.unless_damaged(WHAT, row, Err(error)).map(|()| false),
        }
    }

    /// A handle of nobody, and a key for it; looked for as those of a customer are, so that it takes about as long.
    fn key_of_nobody(&self, tenant: TenantId) -> Result<(Handle, Key), VaultError> {
        let handle = Handle(random_bytes());
        match self.customer(tenant, handle) {
            Ok(_) | Err(VaultError::NotFound) => {}
            Err(error) => return Err(error),
        }
        self.db.get(&rows::secret(handle, RecordId::PROFILE, Revision::FIRST))?;
        let place = Place { tenant, handle, record: RecordId::PROFILE, revision: Revision::FIRST };
        Ok((handle, use_key(&Key::random(), Use::Grant, &place)))
    }

    /// The key under which words about a customer's grants are sealed. It comes of the profile's secret, which stays when records are erased.
    pub(super) fn grants_key(&self, customer: &Customer) -> Result<Key, VaultError> {
        let (secret, place) = self.profile_secret(customer)?;
        Ok(use_key(&secret, Use::Grant, &place))
    }

    /// Names the assignments of a span as this layout does: those of layout 1 stood under a key that outlives the customer. Adds what is to be
    /// written to `batch`. What does not open stays as it is, and lets nobody in.
    pub(super) fn rename_assignments(&self, batch: &mut Batch, page: &[Row]) -> Result<(), VaultError> {
        for (row, value) in page {
            let renamed = self.renamed_assignment(row, value).map(|renamed| {
                if let Some((fresh, grant)) = renamed {
                    batch.require_value(row.clone(), value.clone());
                    batch.delete(row.clone());
                    batch.put(fresh, grant);
                }
            });
            match renamed {
                // Of a customer who is erased: it is removed with what else is left.
                Err(VaultError::NotFound) => {}
                renamed => self.unless_damaged(WHAT, row, renamed)?,
            }
        }
        Ok(())
    }

    /// The row that an assignment becomes; `None` where it is that already.
    fn renamed_assignment(&self, row: &[u8], value: &[u8]) -> Result<Option<Row>, VaultError> {
        let tenant = GrantRow::decode(value)?.tenant;
        let handle = row.get(1..17).and_then(|handle| handle.try_into().ok()).map(Handle);
        let customer = self.customer(tenant, handle.ok_or(VaultError::damaged(WHAT))?)?;
        let (keys, key) = (self.tenant_keys(tenant)?, self.grants_key(&customer)?);
        let (grant, term) = open_term(&keys, tenant, row, value)?;
        let words = key_wrap::open(&key, row, &grant.words).map_err(|_| VaultError::damaged(WHAT))?;
        let [case, assignee]: [Zeroizing<String>; 2] = decode_words(&words)?;
        let (case, assignee) = (CaseId::parse(&case)?, PrincipalName::parse(&assignee)?);
        let fresh = assignment_row(&self.assignments_key(&customer)?, customer.handle, &case, &assignee);
        let term = key_wrap::seal(&keys.settings, &fresh, &term.encode());
        let words = key_wrap::seal(&key, &fresh, &words);
        Ok((fresh != row).then(|| (fresh, GrantRow { tenant, term, words }.encode())))
    }

    /// The batch that removes what is expired among some rows of a span, and the last of them; `None` at the end.
    fn expired_grants(
        &self,
        (from, to): (Vec<u8>, Vec<u8>),
        now: Timestamp,
    ) -> Result<Option<(Batch, Vec<u8>)>, VaultError> {
        let page = self.db.range(&from, &to, AT_ONCE)?;
        let Some((last, _)) = page.last().cloned() else { return Ok(None) };
        let mut batch = Batch::new();
        for (row, value) in page {
            match self.is_expired(&row, &value, now) {
                Ok(true) => {
                    batch.require_value(row.clone(), value);
                    batch.delete(row);
                }
                Ok(false) => {}
                Err(error) => self.unless_damaged(WHAT, &row, Err(error))?,
            }
        }
        Ok(Some((batch, last)))
    }

    fn is_expired(&self, row: &[u8], value: &[u8], now: Timestamp) -> Result<bool, VaultError> {
        let tenant = GrantRow::decode(value)?.tenant;
        // Of an erased tenant: reclaimed with its customers.
        let Some(keys) = self.tree.tenant(tenant)? else { return Ok(false) };
        Ok(open_term(&keys, tenant, row, value)?.1.expires <= now)
    }

    /// Whether a grant's row opens: until when, and the words.
    pub(super) fn check_grant(&self, row: &[u8], value: &[u8]) -> Result<(), VaultError> {
        let tenant = GrantRow::decode(value)?.tenant;
        let handle = row.get(1..17).and_then(|handle| handle.try_into().ok()).map(Handle);
        let customer = self.customer(tenant, handle.ok_or(VaultError::damaged(WHAT))?)?;
        let (grant, _) = open_term(&*self.tenant_keys(tenant)?, tenant, row, value)?;
        let words = key_wrap::open(&self.grants_key(&customer)?, row, &grant.words);
        words.map(drop).map_err(|_| VaultError::damaged(WHAT))
    }
}

/// The batch that puts a grant; its words are sealed under `key`.
fn grant(
    (keys, key): (&TenantKeys, &Key),
    permit: &Permit<TenantScope>,
    row: Vec<u8>,
    expires: Timestamp,
    words: &[&str],
) -> Batch {
    let term = Term { expires, by: permit.principal().alias }.encode();
    let term = key_wrap::seal(&keys.settings, &row, &term);
    let words = key_wrap::seal(key, &row, &encode_words(words));
    let mut batch = Batch::new();
    batch.put(row, GrantRow { tenant: permit.resource().tenant, term, words }.encode());
    batch
}

/// Where an assignment stands. The key ends with the customer: who knows the case's id finds nothing by it then.
fn assignment_row(key: &Key, handle: Handle, case: &CaseId, assignee: &PrincipalName) -> Vec<u8> {
    let parts = [case.as_str().as_bytes(), assignee.as_str().as_bytes()];
    rows::assignment(handle, BlindIndex(blind(key, "assignment", &parts)))
}

fn glass_row(keys: &TenantKeys, handle: Handle, name: &PrincipalName) -> Vec<u8> {
    rows::glass(handle, BlindIndex(blind(&keys.index, "glass", &[name.as_str().as_bytes()])))
}

fn open_term(keys: &TenantKeys, tenant: TenantId, row: &[u8], value: &[u8]) -> Result<(GrantRow, Term), VaultError> {
    let grant = GrantRow::decode(value)?;
    let plain = key_wrap::open(&keys.settings, row, &grant.term).map_err(|_| VaultError::damaged(WHAT))?;
    if grant.tenant != tenant {
        return Err(VaultError::damaged(WHAT));
    }
    Ok((grant, Term::decode(&plain)?))
}

fn granted(batch: &mut Batch, permit: &Permit<TenantScope>, granted: Granted) {
    let event = Event::Granted { action: permit.action(), granted };
    batch.append(entry(permit.principal(), permit.resource().tenant, event).encode().to_vec());
}
