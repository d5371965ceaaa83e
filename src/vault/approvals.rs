//! What one person may not do alone. Somebody asks for ceilings of a day to be raised, somebody else gives it, and for a time they are.
//!
//! An approval is of whoever asked for it and of nobody else. It is looked up where a ceiling is met, so whoever stays below pays nothing for it;
//! it is worth nothing before it is given, after its time, and once it is taken back.

use std::sync::Arc;

use super::core::{Core, entry};
use super::format::{ApprovalRow, Given};
use super::people::{next_of, open_row};
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::Event;
use crate::crypto::key_wrap;
use crate::crypto::secret::random_bytes;
use crate::domain::approval::{Approval, ApprovalId, Approved, Raise, Wanted};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, TenantId};
use crate::store::{Batch, rows};

/// How much one principal may have asked for and not lost again.
const MAX_OF_ONE: usize = 8;
/// Rows looked at in one go: more than [`MAX_OF_ONE`] of a principal are never there, but for those of before it asked last.
const AT_ONCE: usize = 256;
const WHAT: &str = "an approval";

/// One page of approvals, and where the next one begins.
pub type ApprovalsPage = (Vec<Approval>, Option<Vec<u8>>);

impl Vault {
    /// Asks for more than the caller may do alone.
    pub async fn request_approval(&self, permit: Permit<TenantScope>, wanted: Wanted) -> Result<Approval, VaultError> {
        let tenant = permit.resource().tenant;
        let ask = move |core: &Arc<Core>| {
            let (principal, now) = (permit.principal(), Timestamp::now());
            let id = ApprovalId { of: principal.alias, number: random_bytes() };
            let mut batch = Batch::new();
            let mut live = 0;
            for (id, row, stored) in core.approvals_of(tenant, principal.alias)? {
                if row.wanted.expires > now {
                    live += 1;
                } else {
                    forget(&mut batch, tenant, id, stored);
                }
            }
            if live >= MAX_OF_ONE {
                return Err(VaultError::TooManyApprovals { limit: MAX_OF_ONE as u64 });
            }
            let (requested_by, actor) = (principal.name.clone(), principal.actor);
            let row = ApprovalRow { requested_by, actor, requested: now, wanted, given: None };
            batch.require_absent(rows::approval(tenant, id));
            core.put_approval(&mut batch, &permit, id, &row)?;
            core.committer.commit_blocking(batch)?;
            Ok(shown(id, row))
        };
        self.core.blocking(ask).await
    }

    /// Gives it: for somebody who is not the one who asked, by name or by what calls for both. What is given already stays as it is.
    pub async fn give_approval(&self, permit: Permit<TenantScope>, id: ApprovalId) -> Result<Approval, VaultError> {
        let tenant = permit.resource().tenant;
        let permit = Arc::new(permit);
        let by = Arc::clone(&permit);
        let give = move |core: &Arc<Core>| {
            let principal = permit.principal();
            let (mut row, stored) = core.live_approval(tenant, id)?.ok_or(VaultError::NotFound)?;
            let asked = [Some(id.of), row.actor];
            if [Some(principal.alias), principal.actor].iter().flatten().any(|one| asked.contains(&Some(*one))) {
                return Err(VaultError::SecondPerson);
            }
            if row.given.is_none() {
                row.given = Some(Given { by: principal.name.clone(), alias: principal.alias });
                let mut batch = Batch::new();
                batch.require_value(rows::approval(tenant, id), stored);
                core.put_approval(&mut batch, &permit, id, &row)?;
                core.committer.commit_blocking(batch)?;
            }
            Ok(shown(id, row))
        };
        self.noting_refusal(&by, self.core.blocking(give).await).await
    }

    /// Takes it back, given or not.
    pub async fn withdraw_approval(&self, permit: Permit<TenantScope>, id: ApprovalId) -> Result<(), VaultError> {
        let tenant = permit.resource().tenant;
        let withdraw = move |core: &Arc<Core>| {
            let (row, stored) = core.live_approval(tenant, id)?.ok_or(VaultError::NotFound)?;
            let mut batch = Batch::new();
            forget(&mut batch, tenant, id, stored);
            tell(&mut batch, &permit, Approved { id, wanted: row.wanted });
            core.committer.commit_blocking(batch)?;
            Ok(())
        };
        self.core.blocking(withdraw).await
    }

    /// What is asked for and given in the tenant, as far as it is not expired: up to `limit` behind a place.
    pub async fn list_approvals(
        &self,
        permit: Permit<TenantScope>,
        behind: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<ApprovalsPage, VaultError> {
        let tenant = permit.resource().tenant;
        self.note(&permit).await?;
        let list = move |core: &Arc<Core>| {
            let page = core.page(rows::approvals(tenant), behind, limit)?;
            let now = Timestamp::now();
            let mut approvals = Vec::with_capacity(page.len());
            for (id, row) in core.those_that_open(WHAT, &page, |(key, sealed)| core.open_approval(key, sealed))? {
                if row.wanted.expires > now {
                    approvals.push(shown(id, row));
                }
            }
            Ok((approvals, next_of(&page, limit)))
        };
        self.core.blocking(list).await
    }

    /// Removes what is expired.
    pub async fn forget_approvals(&self, now: Timestamp) -> Result<(), VaultError> {
        let forget = move |core: &Arc<Core>| {
            let (mut from, to) = rows::all(rows::Kind::Approval);
            loop {
                let some = core.db.range(&from, &to, AT_ONCE)?;
                let Some((last, _)) = some.last() else { return Ok(()) };
                from = rows::behind(last.clone());
                let mut batch = Batch::new();
                for (key, sealed) in some {
                    let is_over = match core.open_approval(&key, &sealed) {
                        Ok((_, row)) => row.wanted.expires <= now,
                        // Of an erased tenant: reclaimed with it.
                        Err(VaultError::NotFound) => false,
                        Err(error) => {
                            core.unless_damaged(WHAT, &key, Err(error))?;
                            false
                        }
                    };
                    if let Some((tenant, id)) = rows::parse_approval(&key).filter(|_| is_over) {
                        forget(&mut batch, tenant, id, sealed);
                    }
                }
                if !batch.is_empty() {
                    core.committer.commit_blocking(batch)?;
                }
            }
        };
        self.core.blocking(forget).await
    }
}

impl Core {
    /// What a principal was given and what is not over, and by whom: first what was asked for first.
    pub fn given(
        &self,
        tenant: TenantId,
        alias: BlindIndex,
        now: Timestamp,
    ) -> Result<Vec<(ApprovalId, Raise, BlindIndex)>, VaultError> {
        let mut all = self.approvals_of(tenant, alias)?;
        all.retain(|(_, row, _)| row.wanted.expires > now);
        all.sort_by_key(|(id, row, _)| (row.requested, *id));
        Ok(all.into_iter().filter_map(|(id, row, _)| Some((id, row.wanted.raise, row.given?.alias))).collect())
    }

    /// All that a principal has asked for, with the rows as they are stored.
    fn approvals_of(
        &self,
        tenant: TenantId,
        alias: BlindIndex,
    ) -> Result<Vec<(ApprovalId, ApprovalRow, Vec<u8>)>, VaultError> {
        let (from, to) = rows::approvals_of(tenant, alias);
        let stored = self.db.range(&from, &to, AT_ONCE)?;
        // One that does not open approves nothing.
        self.those_that_open(WHAT, &stored, |(key, sealed)| {
            let (id, row) = self.open_approval(key, sealed)?;
            Ok((id, row, sealed.clone()))
        })
    }

    /// Whether an approval's row opens.
    pub(super) fn check_approval(&self, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
        self.open_approval(key, row).map(drop)
    }

    /// What stands under an id and is not expired, and the row as it is stored.
    fn live_approval(&self, tenant: TenantId, id: ApprovalId) -> Result<Option<(ApprovalRow, Vec<u8>)>, VaultError> {
        let key = rows::approval(tenant, id);
        let Some(sealed) = self.db.get(&key)? else { return Ok(None) };
        let (_, row) = self.open_approval(&key, &sealed)?;
        Ok((row.wanted.expires > Timestamp::now()).then_some((row, sealed)))
    }

    fn open_approval(&self, key: &[u8], sealed: &[u8]) -> Result<(ApprovalId, ApprovalRow), VaultError> {
        let (tenant, id) = rows::parse_approval(key).ok_or(VaultError::damaged(WHAT))?;
        let plain = open_row(&self.tenant_keys(tenant)?.settings, key, sealed, WHAT)?;
        Ok((id, ApprovalRow::decode(&plain)?))
    }

    /// Puts it, and the ledger's entry that tells of it.
    fn put_approval(
        &self,
        batch: &mut Batch,
        permit: &Permit<TenantScope>,
        id: ApprovalId,
        row: &ApprovalRow,
    ) -> Result<(), VaultError> {
        let tenant = permit.resource().tenant;
        let key = rows::approval(tenant, id);
        batch.put(key.clone(), key_wrap::seal(&self.tenant_keys(tenant)?.settings, &key, &row.encode()));
        tell(batch, permit, Approved { id, wanted: row.wanted });
        Ok(())
    }
}

/// Removes it, and how often it was used.
fn forget(batch: &mut Batch, tenant: TenantId, id: ApprovalId, stored: Vec<u8>) {
    let key = rows::approval(tenant, id);
    batch.require_value(key.clone(), stored);
    batch.delete(key);
    batch.delete(rows::approved(tenant, id));
}

fn tell(batch: &mut Batch, permit: &Permit<TenantScope>, approved: Approved) {
    let event = Event::Approval { action: permit.action(), approved };
    batch.append(entry(permit.principal(), permit.resource().tenant, event).encode().to_vec());
}

fn shown(id: ApprovalId, row: ApprovalRow) -> Approval {
    let ApprovalRow { requested_by, requested, wanted, given, .. } = row;
    Approval { id, requested_by, requested, wanted, given_by: given.map(|given| given.by) }
}
