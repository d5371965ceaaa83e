//! Tenants: their settings, whether they are suspended or frozen, and what they use.

use super::core::Core;
use super::format::{decode_tenant, encode_tenant};
use super::people::{administered, open_row};
use super::{Vault, VaultError};
use crate::access::permit::{Permit, TenantScope};
use crate::crypto::key_wrap;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{TenantId, TenantName};
use crate::domain::tenant::{Quotas, RuleSet, TenantEntry, TenantSettings, Usage};
use crate::domain::{Invalid, Problem};
use crate::store::{Batch, MAX_VALUE_BYTES, rows};

/// The most pieces of a tenant's sealed settings: 64 purposes and 256 teams of 64 bytes take about 22 KB.
const TENANT_PIECES: u8 = 8;
/// Tenants looked at in one go.
const TENANTS_AT_ONCE: usize = 256;

/// Tenants with what they use, and where the next page begins.
pub type TenantsPage = (Vec<(TenantEntry, Usage)>, Option<TenantId>);

impl Vault {
    /// The id of the tenant of this name, whether there is one or not.
    pub async fn tenant_id(&self, name: TenantName) -> Result<TenantId, VaultError> {
        self.core.blocking(move |core| Ok(core.tree.tenant_id(&name))).await
    }

    /// Creates a tenant.
    pub async fn create_tenant(
        &self,
        permit: Permit<TenantScope>,
        name: TenantName,
        settings: TenantSettings,
    ) -> Result<TenantEntry, VaultError> {
        let tenant = self.tenant_id(name.clone()).await?;
        let created = TenantEntry { name, settings, suspended: false, frozen: false, created: Timestamp::now() };
        let mut batch = Batch::new();
        administered(&mut batch, &permit, tenant, None, None);
        self.add_tenant(tenant, created, batch).await
    }

    /// A tenant and what it uses.
    pub async fn get_tenant(&self, permit: Permit<TenantScope>) -> Result<(TenantEntry, Usage), VaultError> {
        let tenant = permit.resource().tenant;
        self.note(&permit).await?;
        self.core.blocking(move |core| Ok((core.tenant_entry(tenant)?, core.usage(tenant)?))).await
    }

    /// Up to `limit` tenants behind the one named, in order of their ids; and where the next page begins.
    pub async fn list_tenants(
        &self,
        permit: Permit<TenantScope>,
        behind: Option<TenantId>,
        limit: usize,
    ) -> Result<TenantsPage, VaultError> {
        self.note(&permit).await?;
        self.core
            .blocking(move |core| {
                core.tenants_behind(behind, limit, &|_, key, error| core.damage.met("a tenant", key, error))
            })
            .await
    }

    /// Changes a tenant. What `change` returns is stored.
    pub async fn change_tenant(
        &self,
        permit: Permit<TenantScope>,
        change: impl FnOnce(TenantEntry) -> Result<TenantEntry, VaultError> + Send + 'static,
    ) -> Result<(TenantEntry, Usage), VaultError> {
        let _alone = self.administering.lock().await;
        self.change_tenant_alone(permit, change).await
    }

    async fn change_tenant_alone(
        &self,
        permit: Permit<TenantScope>,
        change: impl FnOnce(TenantEntry) -> Result<TenantEntry, VaultError> + Send + 'static,
    ) -> Result<(TenantEntry, Usage), VaultError> {
        let tenant = permit.resource().tenant;
        let mut batch = Batch::new();
        administered(&mut batch, &permit, tenant, None, None);
        let (batch, changed) = self
            .core
            .blocking(move |core| {
                let pieces = core.tenant_pieces(tenant)?;
                let before = core.open_tenant(tenant, &pieces)?;
                let purposes = before.settings.purposes.clone();
                let after = change(before)?;
                if !after.settings.purposes.starts_with(&purposes) {
                    let expected = "all present purposes, in their order, then new ones";
                    return Err(Invalid::new("settings.purposes", Problem::Malformed { expected }).into());
                }
                for (piece, sealed) in pieces {
                    batch.require_value(rows::tenant_piece(tenant, piece), sealed);
                }
                core.put_tenant(&mut batch, tenant, &after)?;
                Ok((batch, after))
            })
            .await?;
        self.core.committer.commit(batch).await?;
        let usage = self.core.blocking(move |core| core.usage(tenant)).await?;
        Ok((changed, usage))
    }

    /// Freezes a tenant, or unfreezes it. It is frozen before that is stored, and unfrozen after, so that a failure leaves it frozen. Frozen it is
    /// at once, whatever else is being changed; and again in its turn, as what came before it may have been an unfreezing.
    pub async fn freeze_tenant(
        &self,
        permit: Permit<TenantScope>,
        frozen: bool,
    ) -> Result<(TenantEntry, Usage), VaultError> {
        let tenant = permit.resource().tenant;
        // Of a tenant that is not there, nothing is remembered.
        self.core.blocking(move |core| core.tenant_entry(tenant).map(drop)).await?;
        if frozen {
            self.core.fences.freeze(tenant);
        }
        let _alone = self.administering.lock().await;
        if frozen {
            self.core.fences.freeze(tenant);
        }
        let changed = self.change_tenant_alone(permit, move |entry| Ok(TenantEntry { frozen, ..entry })).await?;
        if !frozen {
            self.core.fences.unfreeze(tenant);
        }
        Ok(changed)
    }

    /// Gives a new vault the tenant whose admins run it.
    pub(super) async fn create_system_tenant(&self) -> Result<(), VaultError> {
        let settings = TenantSettings {
            purposes: Vec::new(),
            retention_default_days: None,
            rule_set: RuleSet::Gdpr,
            teams: Vec::new(),
            quotas: Quotas::default(),
        };
        let name = TenantName::system();
        let tenant = self.tenant_id(name.clone()).await?;
        let system = TenantEntry { name, settings, suspended: false, frozen: false, created: Timestamp::now() };
        self.add_tenant(tenant, system, Batch::new()).await.map(|_| ())
    }

    /// Adds a tenant to the tree, then its row. A crash between them leaves a tenant without a row, which the next try completes.
    async fn add_tenant(
        &self,
        tenant: TenantId,
        created: TenantEntry,
        mut batch: Batch,
    ) -> Result<TenantEntry, VaultError> {
        if self.core.blocking(move |core| Ok(core.tenant_erasure(tenant)?.is_some())).await? {
            return Err(VaultError::TenantExists);
        }
        match self.writer.add_tenant(tenant).await {
            Ok(()) | Err(VaultError::TenantExists) => {}
            Err(error) => return Err(error),
        }
        let (batch, created) = self
            .core
            .blocking(move |core| {
                if !core.tenant_pieces(tenant)?.is_empty() {
                    return Err(VaultError::TenantExists);
                }
                batch.require_absent(rows::tenant_piece(tenant, 0));
                core.put_tenant(&mut batch, tenant, &created)?;
                Ok((batch, created))
            })
            .await?;
        self.core.committer.commit(batch).await?;
        Ok(created)
    }
}

impl Core {
    /// A tenant that must be there.
    pub fn tenant_entry(&self, tenant: TenantId) -> Result<TenantEntry, VaultError> {
        self.open_tenant(tenant, &self.tenant_pieces(tenant)?)
    }

    fn open_tenant(&self, tenant: TenantId, pieces: &[(u8, Vec<u8>)]) -> Result<TenantEntry, VaultError> {
        if pieces.is_empty() {
            return Err(VaultError::NotFound);
        }
        let sealed: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece).copied().collect();
        let keys = self.tenant_keys(tenant)?;
        let plain = open_row(&keys.settings, &rows::tenant_piece(tenant, 0), &sealed, "a tenant")?;
        Ok(decode_tenant(&plain)?)
    }

    fn tenant_pieces(&self, tenant: TenantId) -> Result<Vec<(u8, Vec<u8>)>, VaultError> {
        let (from, to) = (rows::tenant_piece(tenant, 0), rows::tenant_piece(tenant, TENANT_PIECES));
        let stored = self.db.range(&from, &to, usize::from(TENANT_PIECES))?;
        Ok((0..).zip(stored.into_iter().map(|(_, value)| value)).collect())
    }

    fn put_tenant(&self, batch: &mut Batch, tenant: TenantId, entry: &TenantEntry) -> Result<(), VaultError> {
        let keys = self.tenant_keys(tenant)?;
        let sealed = key_wrap::seal(&keys.settings, &rows::tenant_piece(tenant, 0), &encode_tenant(entry));
        let mut pieces = sealed.chunks(MAX_VALUE_BYTES);
        for piece in 0..TENANT_PIECES {
            match pieces.next() {
                Some(value) => batch.put(rows::tenant_piece(tenant, piece), value),
                None => batch.delete(rows::tenant_piece(tenant, piece)),
            }
        }
        if pieces.next().is_some() {
            let limit_bytes = MAX_VALUE_BYTES as u64 * u64::from(TENANT_PIECES);
            return Err(Invalid::new("settings", Problem::TooLong { limit_bytes }).into());
        }
        Ok(())
    }

    /// Some tenants behind one. `damaged` gets those that do not open.
    fn tenants_behind(
        &self,
        behind: Option<TenantId>,
        limit: usize,
        damaged: &dyn Fn(TenantId, &[u8], &VaultError),
    ) -> Result<TenantsPage, VaultError> {
        let (mut from, to) = rows::all(rows::Kind::Tenant);
        if let Some(behind) = behind {
            from = rows::tenant_piece(behind, TENANT_PIECES);
        }
        let mut tenants = Vec::new();
        let mut last = None;
        while tenants.len() < limit {
            let Some((key, _)) = self.db.range(&from, &to, 1)?.pop() else { return Ok((tenants, None)) };
            let (id, _) = rows::parse_tenant_piece(&key).ok_or(VaultError::damaged("a tenant's key"))?;
            match self.tenant_entry(id) {
                Ok(entry) => tenants.push((entry, self.usage(id)?)),
                // Erased, and its rows not yet removed.
                Err(VaultError::NotFound) => {}
                Err(error) if error.is_damage() => damaged(id, &key, &error),
                Err(error) => return Err(error),
            }
            from = rows::tenant_piece(id, TENANT_PIECES);
            last = Some(id);
        }
        Ok((tenants, last))
    }

    /// Freezes the tenants that were frozen when the service last ran.
    pub fn freeze_as_stored(&self) -> Result<(), VaultError> {
        let mut behind = None;
        loop {
            // Whether it is frozen cannot be told of one that does not open: it is, until it is whole again.
            let damaged = |tenant, key: &[u8], error: &VaultError| {
                self.damage.met("a tenant", key, error);
                self.fences.freeze(tenant);
            };
            let (tenants, next) = self.tenants_behind(behind, TENANTS_AT_ONCE, &damaged)?;
            for (entry, _) in tenants {
                if entry.frozen {
                    self.fences.freeze(self.tree.tenant_id(&entry.name));
                }
            }
            if next.is_none() {
                return Ok(());
            }
            behind = next;
        }
    }
}
