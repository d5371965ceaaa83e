//! The erasure of a whole tenant: one admin asks for it, a delay passes, another admin approves it. Then it goes the way of every erasure.

use std::sync::Arc;

use crate::access::permit::{Permit, TenantScope};
use crate::audit::{Caller, Event};
use crate::crypto::key_wrap;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, TenantId, TenantName};
use crate::keys::{NodeId, TreeError, View};
use crate::store::{Batch, rows};
use crate::vault::core::{Core, entry};
use crate::vault::format::{ReclaimPagesRow, TenantErasureRow, TenantErasureState};
use crate::vault::{Vault, VaultError};

/// Ids of pages in one row of those to reclaim.
const PAGES_IN_A_ROW: usize = 250;
/// Rows of them in one batch.
const ROWS_IN_A_BATCH: usize = 1024;

impl Vault {
    /// Asks for the erasure of the permit's tenant; returns when it can be approved by another admin.
    pub async fn request_tenant_erasure(&self, permit: Permit<TenantScope>) -> Result<Timestamp, VaultError> {
        let ask = move |core: &Arc<Core>| {
            let tenant = permit.resource().tenant;
            core.tenant_keys(tenant)?;
            if let Some(asked) = core.tenant_erasure(tenant)? {
                return match asked.state {
                    TenantErasureState::Requested => Ok(asked.not_before),
                    _ => Err(VaultError::NotFound),
                };
            }
            let delay_ms = u64::try_from(core.limits.tenant_erasure_delay.as_millis()).unwrap_or(u64::MAX);
            let row = TenantErasureRow {
                requested_by: permit.principal().alias,
                requested_in: Some(permit.principal().tenant),
                actor: permit.principal().actor,
                not_before: Timestamp::now().plus_ms(delay_ms),
                state: TenantErasureState::Requested,
            };
            let mut batch = Batch::new();
            batch.require_absent(rows::tenant_erasure(tenant));
            core.put_tenant_erasure(&mut batch, tenant, &row);
            batch.append(administered(&permit, tenant));
            core.committer.commit_blocking(batch)?;
            Ok(row.not_before)
        };
        self.core.blocking(ask).await
    }

    /// Takes such a request back, for whoever may make one.
    pub async fn cancel_tenant_erasure(&self, permit: Permit<TenantScope>) -> Result<(), VaultError> {
        let cancel = move |core: &Arc<Core>| {
            let tenant = permit.resource().tenant;
            let asked = core.tenant_erasure(tenant)?.ok_or(VaultError::NotFound)?;
            if asked.state != TenantErasureState::Requested {
                return Err(VaultError::NotFound);
            }
            let key = rows::tenant_erasure(tenant);
            let stored = core.db.get(&key)?.ok_or(VaultError::NotFound)?;
            let mut batch = Batch::new();
            batch.require_value(key.clone(), stored);
            batch.delete(key);
            batch.append(administered(&permit, tenant));
            core.committer.commit_blocking(batch)?;
            Ok(())
        };
        self.core.blocking(cancel).await
    }
}

fn administered(permit: &Permit<TenantScope>, subject: TenantId) -> Vec<u8> {
    let event = Event::Administered { action: permit.action(), subject, principal: None, roles: None };
    entry(permit.principal(), permit.principal().tenant, event).encode().to_vec()
}

impl Core {
    /// What was asked for or done about the erasure of a tenant.
    pub fn tenant_erasure(&self, tenant: TenantId) -> Result<Option<TenantErasureRow>, VaultError> {
        let key = rows::tenant_erasure(tenant);
        let Some(sealed) = self.db.get(&key)? else { return Ok(None) };
        let top = self.tree.top();
        let plain = key_wrap::open(&top.system.settings, &key, &sealed);
        let plain = plain.map_err(|_| VaultError::damaged("the erasure of a tenant"))?;
        Ok(Some(TenantErasureRow::decode(&plain)?))
    }

    /// Sealed, so that nobody who can write to the disk slips in a request that has waited long enough.
    pub fn put_tenant_erasure(&self, batch: &mut Batch, tenant: TenantId, row: &TenantErasureRow) {
        let key = rows::tenant_erasure(tenant);
        let sealed = key_wrap::seal(&self.tree.top().system.settings, &key, &row.encode());
        batch.put(key, sealed);
    }

    /// The tenant of this name, if its erasure may be carried out now, on the word of `approver` of the tenant `of`; and who asked for it.
    ///
    /// Two people are two if neither the names under which they call nor those of the accounts that call for them are the same. Names of
    /// different tenants cannot be compared, so both must be of one.
    pub(in super::super) fn approved_tenant(
        &self,
        name: &TenantName,
        (approver, of): (Caller, TenantId),
    ) -> Result<(TenantId, BlindIndex), VaultError> {
        let tenant = self.tree.tenant_id(name);
        let asked = self.tenant_erasure(tenant)?.ok_or(VaultError::NotFound)?;
        if asked.state != TenantErasureState::Requested {
            return Err(VaultError::NotFound);
        }
        let asking = [Some(asked.requested_by), asked.actor];
        let is_same = |one: &BlindIndex| asking.contains(&Some(*one));
        if [Some(approver.alias), approver.actor].iter().flatten().any(is_same)
            || asked.requested_in.is_some_and(|requested_in| requested_in != of)
        {
            return Err(VaultError::SecondPerson);
        }
        if Timestamp::now() < asked.not_before {
            return Err(VaultError::TooEarly { not_before: asked.not_before });
        }
        Ok((tenant, asked.requested_by))
    }

    /// Writes down which pages an erased tenant leaves: afterwards nobody could tell. What does not open is reported: pages below it stay.
    pub(super) fn list_pages_to_reclaim(&self, tenant: TenantId) -> Result<(), VaultError> {
        let mut closed = Vec::new();
        let pages = match self.tenant_keys(tenant) {
            Ok(keys) => {
                let top = self.tree.top();
                View::new(self.tree.pages(), &top.key).pages_of(tenant, &keys, &mut closed)?
            }
            Err(error) if error.is_damage() => {
                closed.push(NodeId(tenant.0));
                vec![NodeId(tenant.0)]
            }
            Err(error) => return Err(error),
        };
        self.report_closed(&closed);
        let rows = (0..).zip(pages.chunks(PAGES_IN_A_ROW));
        let job = |(number, ids): (u32, &[NodeId])| {
            let key = rows::reclaim_pages(tenant, number);
            let row = ReclaimPagesRow { pages: ids.iter().map(|id| id.0).collect() };
            let job = self.jobs.signed(&key, row.encode());
            (key, job)
        };
        let rows: Vec<_> = rows.map(job).collect();
        for some in rows.chunks(ROWS_IN_A_BATCH) {
            let mut batch = Batch::new();
            some.iter().for_each(|(key, job)| batch.put(key.clone(), job.clone()));
            self.committer.commit_blocking(batch)?;
        }
        Ok(())
    }

    /// Reports pages of the key tree that do not open.
    pub(super) fn report_closed(&self, pages: &[NodeId]) {
        for page in pages {
            let error = TreeError::CannotOpen(*page).into();
            self.damage.met("a page of the key tree", &rows::page(&page.0), &error);
        }
    }
}
