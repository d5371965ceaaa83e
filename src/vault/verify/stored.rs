//! Rows that are no record's: whether each opens, and is what the service wrote. A row about somebody who is erased is noise, and is right.

use std::sync::Arc;

use super::Verified;
use crate::audit::{Entry, Event};
use crate::crypto::key_wrap;
use crate::domain::ids::{Handle, TenantId};
use crate::keys::View;
use crate::store::Batch;
use crate::store::rows::{self, Kind};
use crate::vault::VaultError;
use crate::vault::core::Core;
use crate::vault::customer::unwrap_segment;
use crate::vault::format::{DutyRow, ErasingRow, Use, encode_tombstone, use_key};

/// How often a control row is looked at that is written meanwhile.
const MOST_LOOKS: usize = 4;

impl Core {
    /// Names a row that does not open.
    pub(super) async fn verify_row(
        self: &Arc<Self>,
        kind: Kind,
        key: &[u8],
        row: Vec<u8>,
        verified: &mut Verified,
    ) -> Result<(), VaultError> {
        let at = key.to_vec();
        match self.blocking(move |core| core.check_row(kind, &at, &row)).await {
            // It is about somebody or something that is erased.
            Ok(()) | Err(VaultError::NotFound) => Ok(()),
            Err(error) if error.is_damage() => {
                verified.name_row(kind, key, error.to_string());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn check_row(&self, kind: Kind, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
        let damaged = |what| Err(VaultError::damaged(what));
        if rows::CONTROL.contains(&(kind as u8)) {
            self.check_logged(key, row)?;
        }
        match kind {
            Kind::Page => self.check_page(key),
            Kind::Segment => self.check_segment(key, row),
            Kind::Profile => self.check_profile(key, row),
            Kind::Index => self.check_index(key, row),
            Kind::Assignment | Kind::Glass => self.check_grant(key, row),
            Kind::Upload | Kind::Reclaim | Kind::ReclaimRecord | Kind::ReclaimPages => match self.jobs.open(key, row) {
                Some(_) => Ok(()),
                None => damaged("a job: it carries no valid tag"),
            },
            Kind::Tombstone => {
                let keys = self.tenant_keys(tenant_in(key)?)?;
                match key_wrap::open(&keys.settings, key, row) {
                    Ok(plain) if plain == encode_tombstone() => Ok(()),
                    _ => damaged("a tombstone"),
                }
            }
            Kind::Erasing => Ok(ErasingRow::decode(row).map(drop)?),
            Kind::Duty => Ok(DutyRow::decode(row).map(drop)?),
            Kind::Receipt => self.check_receipt(key, row),
            Kind::TenantErasure => self.tenant_erasure(tenant_in(key)?).map(drop),
            Kind::Tenant => self.tenant_entry(tenant_in(key)?).map(drop),
            Kind::Principal => self.check_principal(tenant_in(key)?, key, row),
            Kind::Token => self.token(token_in(key)?).map(drop),
            Kind::Approval => self.check_approval(key, row),
            Kind::LogKey => self.log_keys().map(drop),
            Kind::Ledger => {
                let position = rows::parse_ledger(key).ok_or(VaultError::damaged("the ledger"))?;
                self.check_ledger(position, position + 1)
            }
            _ => Ok(()),
        }
    }

    /// Whether a control row is what the log vouches for. One that is being written is looked at again once it is there.
    fn check_logged(&self, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
        let mut stored = row.to_vec();
        for _ in 0..MOST_LOOKS {
            if self.refuse_unless_logged(key, &stored).is_ok() || !self.committer.is_open() {
                break;
            }
            self.committer.commit_here(Batch::new())?;
            match self.db.get(key)? {
                Some(now) => stored = now,
                None => return Ok(()),
            }
        }
        self.refuse_unless_logged(key, &stored)
    }

    /// A page opens only under the key that stands in the page above it: of each tenant's page all below it are looked at.
    fn check_page(&self, key: &[u8]) -> Result<(), VaultError> {
        let id = tenant_in(key)?;
        let top = self.tree.top();
        let view = View::new(self.tree.pages(), &top.key);
        let is_tenant = view.tenants()?.contains(&id);
        drop(top);
        if !is_tenant {
            return Ok(());
        }
        let keys = self.tenant_keys(id)?;
        let top = self.tree.top();
        let mut closed = Vec::new();
        View::new(self.tree.pages(), &top.key).pages_of(id, &keys, &mut closed)?;
        match closed.first() {
            None => Ok(()),
            Some(page) => Err(crate::keys::TreeError::CannotOpen(*page).into()),
        }
    }

    fn check_segment(&self, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
        let damaged = VaultError::damaged("a segment of a customer's secrets");
        let (Some(first), Ok(handle)) = (rows::parse_segment(key), handle_in(key)) else { return Err(damaged) };
        match self.customer_of_profile(handle)? {
            Some(customer) => unwrap_segment((customer.tenant, handle, customer.key()), first, row).map(drop),
            None => Ok(()),
        }
    }

    fn check_profile(&self, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
        let damaged = || VaultError::damaged("a customer's profile");
        let handle = rows::parse_profile(key).ok_or_else(damaged)?;
        let tenant = TenantId(*row.first_chunk().ok_or_else(damaged)?);
        if let Some(customer) = self.customer_of_profile(handle)? {
            return self.customer_id(&customer).map(drop);
        }
        // She is erased; or the tenant in front is not hers.
        let is_known = self.tree.tenant(tenant)?.is_some() || self.tenant_erasure(tenant)?.is_some();
        if is_known && !self.has_key_anywhere(&self.living_tenants()?, handle)? { Ok(()) } else { Err(damaged()) }
    }

    fn check_index(&self, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
        let damaged = || VaultError::damaged("a row that finds a record");
        let (tenant, record) = (tenant_in(key)?, rows::parse_index(key).ok_or_else(damaged)?);
        // A record that does not open is named itself.
        let Ok(Some((revision, head))) = self.newest(tenant, record) else { return Ok(()) };
        let (handle, sealed) = row.split_at_checked(16).ok_or_else(damaged)?;
        let customer = self.customer(tenant, head.handle)?;
        let place = customer.place(record, revision);
        let Ok(secret) = self.secret(&customer, &place) else { return Ok(()) };
        let opened = key_wrap::open(&use_key(&secret, Use::Index, &place), key, sealed);
        if opened.is_ok() && handle == head.handle.0 { Ok(()) } else { Err(damaged()) }
    }

    fn check_receipt(&self, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
        let damaged = || VaultError::damaged("a receipt");
        let position = u64::from_be_bytes(row.try_into().map_err(|_| damaged())?);
        let entry = self.db.get(&rows::ledger(position))?.ok_or_else(damaged)?;
        match Entry::decode(&entry)?.event {
            Event::ErasureFinal(erased) if rows::parse_receipt(key) == Some(erased.receipt) => Ok(()),
            _ => Err(damaged()),
        }
    }
}

/// The first id in a key: of most rows the tenant.
fn tenant_in(key: &[u8]) -> Result<TenantId, VaultError> {
    key.get(1..17).and_then(|id| id.try_into().ok()).map(TenantId).ok_or(VaultError::damaged("the key of a row"))
}

fn handle_in(key: &[u8]) -> Result<Handle, VaultError> {
    tenant_in(key).map(|id| Handle(id.0))
}

fn token_in(key: &[u8]) -> Result<crate::domain::ids::TokenId, VaultError> {
    tenant_in(key).map(|id| crate::domain::ids::TokenId(id.0))
}
