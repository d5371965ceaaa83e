//! Tenants, principals and tokens.

use super::core::{Core, blinded, entry};
use super::format::{decode_principal, decode_tenant, decode_token, encode_principal, encode_tenant, encode_token};
use super::{Vault, VaultError, foreign_page};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::Event;
use crate::crypto::key_wrap;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BlindIndex, PrincipalName, TenantId, TenantName, TokenId};
use crate::domain::principal::{PrincipalEntry, Role, StoredIdentity, TokenEntry};
use crate::domain::tenant::{Quotas, RuleSet, TenantEntry, TenantSettings, Usage};
use crate::domain::{Invalid, Problem};
use crate::keys::TenantKeys;
use crate::store::{Batch, MAX_VALUE_BYTES, rows};

/// The most pieces of a tenant's sealed settings: 64 purposes and 256 teams of 64 bytes take about 22 KB.
const TENANT_PIECES: u8 = 8;

/// A token to be stored.
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// For whom.
    pub principal: PrincipalName,
    /// Until when.
    pub expires: Timestamp,
}

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
        let created = TenantEntry { name, settings, suspended: false, created: Timestamp::now() };
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
        self.core.blocking(move |core| core.tenants_behind(behind, limit)).await
    }

    /// Changes a tenant. What `change` returns is stored.
    pub async fn change_tenant(
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
                let before = core.tenant_entry(tenant)?;
                let purposes = before.settings.purposes.clone();
                let after = change(before)?;
                if !after.settings.purposes.starts_with(&purposes) {
                    let expected = "all present purposes, in their order, then new ones";
                    return Err(Invalid::new("settings.purposes", Problem::Malformed { expected }).into());
                }
                for (piece, sealed) in core.tenant_pieces(tenant)? {
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

    /// Creates a principal, or replaces its roles and teams.
    pub async fn set_principal(
        &self,
        permit: Permit<TenantScope>,
        principal: PrincipalEntry,
    ) -> Result<PrincipalEntry, VaultError> {
        let tenant = permit.resource().tenant;
        let keys = self.core.blocking(move |core| core.tenant_keys(tenant)).await?;
        let alias = alias_of(&keys, &principal.name);
        let mut batch = Batch::new();
        administered(&mut batch, &permit, tenant, Some(alias), Some(Role::bits(&principal.roles)));
        self.put_principal(tenant, principal, batch).await
    }

    /// Up to `limit` principals of a tenant behind a place, and the place where the next page begins.
    pub async fn list_principals(
        &self,
        permit: Permit<TenantScope>,
        behind: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<(Vec<PrincipalEntry>, Option<Vec<u8>>), VaultError> {
        let tenant = permit.resource().tenant;
        self.note(&permit).await?;
        self.core
            .blocking(move |core| {
                let keys = core.tenant_keys(tenant)?;
                let page = core.page(rows::principals(tenant), behind, limit)?;
                let open = |(key, sealed): &(Vec<u8>, Vec<u8>)| {
                    let plain = open_row(&keys.settings, key, sealed, "a principal")?;
                    Ok(decode_principal(&plain)?)
                };
                let next = next_of(&page, limit);
                Ok((page.iter().map(open).collect::<Result<_, VaultError>>()?, next))
            })
            .await
    }

    /// Stores a token for a principal, which must exist.
    pub async fn create_token(&self, permit: Permit<TenantScope>, new: NewToken) -> Result<TokenEntry, VaultError> {
        let tenant = permit.resource().tenant;
        let keys = self.core.blocking(move |core| core.tenant_keys(tenant)).await?;
        let mut batch = Batch::new();
        administered(&mut batch, &permit, tenant, Some(alias_of(&keys, &new.principal)), None);
        self.put_token(tenant, new, batch).await
    }

    /// Revokes a token of a tenant. Works for the next call made with it.
    pub async fn revoke_token(&self, permit: Permit<TenantScope>, id: TokenId) -> Result<TokenEntry, VaultError> {
        let tenant = permit.resource().tenant;
        let (batch, token) = self
            .core
            .blocking(move |core| {
                let (of, mut token) = core.token(id)?.ok_or(VaultError::NotFound)?;
                if of != tenant {
                    return Err(VaultError::NotFound);
                }
                let alias = alias_of(&*core.tenant_keys(tenant)?, &token.principal);
                let mut batch = Batch::new();
                administered(&mut batch, &permit, tenant, Some(alias), None);
                token.revoked = true;
                core.seal_token(&mut batch, tenant, &token);
                Ok((batch, token))
            })
            .await?;
        self.core.committer.commit(batch).await?;
        Ok(token)
    }

    /// Up to `limit` tokens of a tenant behind a place, and the place where the next page begins.
    pub async fn list_tokens(
        &self,
        permit: Permit<TenantScope>,
        behind: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<(Vec<TokenEntry>, Option<Vec<u8>>), VaultError> {
        let tenant = permit.resource().tenant;
        self.note(&permit).await?;
        self.core
            .blocking(move |core| {
                let page = core.page(rows::tokens_of(tenant), behind, limit)?;
                let open = |(key, _): &(Vec<u8>, Vec<u8>)| {
                    let id = rows::parse_token_of(key).ok_or(VaultError::damaged("a token's key"))?;
                    core.token(id)?.map(|(_, token)| token).ok_or(VaultError::damaged("a token"))
                };
                let next = next_of(&page, limit);
                Ok((page.iter().map(open).collect::<Result<_, VaultError>>()?, next))
            })
            .await
    }

    /// What stands behind a token, for the one who checks identities, and how many calls a second its tenant may make (no limit:
    /// `None`). Whether the token is worth anything is decided there.
    pub async fn identity(&self, token: TokenId) -> Result<Option<(StoredIdentity, Option<u32>)>, VaultError> {
        self.core.blocking(move |core| core.identity(token)).await
    }

    /// Gives a new vault its first admin. Refused once the tenant `system` has a principal.
    pub async fn first_admin(&self, principal: PrincipalEntry, token: NewToken) -> Result<(), VaultError> {
        let tenant = self.tenant_id(TenantName::system()).await?;
        let has_none = self.core.blocking(move |core| Ok(core.page(rows::principals(tenant), None, 1)?.is_empty()));
        if !has_none.await? {
            return Err(VaultError::TenantExists);
        }
        self.put_principal(tenant, principal, Batch::new()).await?;
        self.put_token(tenant, token, Batch::new()).await.map(|_| ())
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
        let system = TenantEntry { name, settings, suspended: false, created: Timestamp::now() };
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

    async fn put_principal(
        &self,
        tenant: TenantId,
        principal: PrincipalEntry,
        mut batch: Batch,
    ) -> Result<PrincipalEntry, VaultError> {
        let (batch, principal) = self
            .core
            .blocking(move |core| {
                let teams = core.tenant_entry(tenant)?.settings.teams;
                if !principal.teams.iter().all(|team| teams.contains(team)) {
                    return Err(Invalid::new("principal.teams", Problem::NotConfigured).into());
                }
                let keys = core.tenant_keys(tenant)?;
                let key = rows::principal(tenant, blinded(&keys, "principal", principal.name.as_str()));
                let sealed = key_wrap::seal(&keys.settings, &key, &encode_principal(&principal));
                if sealed.len() > MAX_VALUE_BYTES {
                    let limit_bytes = MAX_VALUE_BYTES as u64;
                    return Err(Invalid::new("principal.teams", Problem::TooLong { limit_bytes }).into());
                }
                batch.put(key, sealed);
                Ok((batch, principal))
            })
            .await?;
        self.core.committer.commit(batch).await?;
        Ok(principal)
    }

    async fn put_token(&self, tenant: TenantId, new: NewToken, mut batch: Batch) -> Result<TokenEntry, VaultError> {
        let (batch, token) = self
            .core
            .blocking(move |core| {
                let NewToken { id, secret_hash, principal, expires } = new;
                core.principal(tenant, &principal)?.ok_or(VaultError::NotFound)?;
                let created = Timestamp::now();
                let token = TokenEntry { id, secret_hash, principal, created, expires, revoked: false };
                batch.require_absent(rows::token(id));
                batch.put(rows::token_of(tenant, id), Vec::new());
                core.seal_token(&mut batch, tenant, &token);
                Ok((batch, token))
            })
            .await?;
        self.core.committer.commit(batch).await?;
        Ok(token)
    }

    /// Enters into the ledger that something of a tenant is looked at.
    pub(super) async fn note(&self, permit: &Permit<TenantScope>) -> Result<(), VaultError> {
        let tenant = permit.resource().tenant;
        let event = Event::Administered { action: permit.action(), subject: tenant, principal: None, roles: None };
        self.core.record(entry(permit.principal(), permit.principal().tenant, event)).await
    }
}

fn administered(
    batch: &mut Batch,
    permit: &Permit<TenantScope>,
    subject: TenantId,
    principal: Option<BlindIndex>,
    roles: Option<u16>,
) {
    let event = Event::Administered { action: permit.action(), subject, principal, roles };
    batch.append(entry(permit.principal(), permit.principal().tenant, event).encode().to_vec());
}

/// What stands for a principal in the ledger.
fn alias_of(keys: &TenantKeys, name: &PrincipalName) -> BlindIndex {
    blinded(keys, "alias", name.as_str())
}

/// Tenants with what they use, and where the next page begins.
pub type TenantsPage = (Vec<(TenantEntry, Usage)>, Option<TenantId>);

type Page = Vec<(Vec<u8>, Vec<u8>)>;

/// Where the next page begins, if this one is full.
pub(super) fn next_of(page: &Page, limit: usize) -> Option<Vec<u8>> {
    page.last().filter(|_| page.len() == limit).map(|(key, _)| key.clone())
}

fn open_row(
    key: &crate::crypto::secret::Key,
    row: &[u8],
    sealed: &[u8],
    what: &'static str,
) -> Result<zeroize::Zeroizing<Vec<u8>>, VaultError> {
    key_wrap::open(key, row, sealed).map_err(|_| VaultError::damaged(what))
}

impl Core {
    /// A tenant that must be there.
    pub fn tenant_entry(&self, tenant: TenantId) -> Result<TenantEntry, VaultError> {
        let pieces = self.tenant_pieces(tenant)?;
        if pieces.is_empty() {
            return Err(VaultError::NotFound);
        }
        let sealed: Vec<u8> = pieces.into_iter().flat_map(|(_, piece)| piece).collect();
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

    fn tenants_behind(&self, behind: Option<TenantId>, limit: usize) -> Result<TenantsPage, VaultError> {
        let (mut from, to) = rows::all(rows::Kind::Tenant);
        if let Some(behind) = behind {
            from = rows::tenant_piece(behind, TENANT_PIECES);
        }
        let mut tenants = Vec::new();
        let mut last = None;
        while tenants.len() < limit {
            let Some((key, _)) = self.db.range(&from, &to, 1)?.pop() else { return Ok((tenants, None)) };
            let (id, _) = rows::parse_tenant_piece(&key).ok_or(VaultError::damaged("a tenant's key"))?;
            tenants.push((self.tenant_entry(id)?, self.usage(id)?));
            from = rows::tenant_piece(id, TENANT_PIECES);
            last = Some(id);
        }
        Ok((tenants, last))
    }

    /// Up to `limit` rows of a span behind a key.
    pub(super) fn page(
        &self,
        (from, to): (Vec<u8>, Vec<u8>),
        behind: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Page, VaultError> {
        let from = match behind {
            None => from,
            Some(key) if (&from..&to).contains(&&key) => rows::behind(key),
            Some(_) => return Err(foreign_page().into()),
        };
        Ok(self.db.range(&from, &to, limit)?)
    }

    fn principal(&self, tenant: TenantId, name: &PrincipalName) -> Result<Option<PrincipalEntry>, VaultError> {
        let keys = self.tenant_keys(tenant)?;
        let key = rows::principal(tenant, blinded(&keys, "principal", name.as_str()));
        let Some(sealed) = self.db.get(&key)? else { return Ok(None) };
        let plain = open_row(&keys.settings, &key, &sealed, "a principal")?;
        Ok(Some(decode_principal(&plain)?))
    }

    fn token(&self, id: TokenId) -> Result<Option<(TenantId, TokenEntry)>, VaultError> {
        let key = rows::token(id);
        let Some(stored) = self.db.get(&key)? else { return Ok(None) };
        let damaged = || VaultError::damaged("a token");
        let (tenant, sealed) = stored.split_at_checked(16).ok_or_else(damaged)?;
        let tenant = TenantId(tenant.try_into().map_err(|_| damaged())?);
        let plain = {
            let top = self.tree.top();
            open_row(&top.system.settings, &token_context(tenant, &key), sealed, "a token")?
        };
        Ok(Some((tenant, decode_token(id, &plain)?)))
    }

    fn seal_token(&self, batch: &mut Batch, tenant: TenantId, token: &TokenEntry) {
        let key = rows::token(token.id);
        let context = token_context(tenant, &key);
        let mut value = tenant.0.to_vec();
        value.extend_from_slice(&key_wrap::seal(&self.tree.top().system.settings, &context, &encode_token(token)));
        batch.put(key, value);
    }

    fn identity(&self, id: TokenId) -> Result<Option<(StoredIdentity, Option<u32>)>, VaultError> {
        let Some((tenant, token)) = self.token(id)? else { return Ok(None) };
        // The tenant may be erased, and its tokens not yet removed.
        if self.tree.tenant(tenant)?.is_none() || self.fences.is_closed(tenant) {
            return Ok(None);
        }
        let Some(principal) = self.principal(tenant, &token.principal)? else { return Ok(None) };
        let entry = self.tenant_entry(tenant)?;
        let alias = alias_of(&*self.tenant_keys(tenant)?, &principal.name);
        let calls_per_second = entry.settings.quotas.requests_per_second;
        let (tenant_name, suspended) = (entry.name, entry.suspended);
        let identity = StoredIdentity { token, principal, tenant, tenant_name, alias, suspended };
        Ok(Some((identity, calls_per_second)))
    }
}

fn token_context(tenant: TenantId, row: &[u8]) -> Vec<u8> {
    [&tenant.0[..], row].concat()
}
