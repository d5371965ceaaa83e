//! Principals and their tokens.

use std::sync::Arc;

use super::core::{Core, blinded, entry};
use super::format::{decode_principal, decode_token, encode_principal, encode_token};
use super::grants::Asker;
use super::{Vault, VaultError, foreign_page};
use crate::access::permit::{Permit, TenantScope};
use crate::audit::Event;
use crate::crypto::key_wrap;
use crate::domain::certificate_name::CertificateName;
use crate::domain::clock::Timestamp;
use crate::domain::grant::Why;
use crate::domain::ids::{BlindIndex, PrincipalName, RecordId, TenantId, TenantName, TokenId};
use crate::domain::principal::{Outsider, Principal, PrincipalEntry, Role, StoredIdentity, TokenEntry};
use crate::domain::record::RecordFacts;
use crate::domain::{Invalid, Problem};
use crate::keys::TenantKeys;
use crate::store::{Batch, MAX_VALUE_BYTES, rows};

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
                Ok((core.those_that_open("a principal", &page, open)?, next))
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

    /// Lets the name of a client's certificate stand for a principal, which must exist, until `expires`. Refused while it stands for another.
    pub async fn bind_certificate(
        &self,
        permit: Permit<TenantScope>,
        name: CertificateName,
        principal: PrincipalName,
        expires: Timestamp,
    ) -> Result<TokenEntry, VaultError> {
        let tenant = permit.resource().tenant;
        let bind = move |core: &Arc<Core>| {
            core.principal(tenant, &principal)?.ok_or(VaultError::NotFound)?;
            let (id, created) = (core.certificate_id(&name)?, Timestamp::now());
            let key = rows::token(id);
            let mut batch = Batch::new();
            core.require_tenant(&mut batch, tenant)?;
            administered(&mut batch, &permit, tenant, Some(alias_of(&*core.tenant_keys(tenant)?, &principal)), None);
            match (core.db.get(&key)?, core.token(id)?) {
                (Some(stored), Some((of, before))) => {
                    let is_there = core.tree.tenant(of)?.is_some() && !core.fences.is_closed(of);
                    let is_worth_something = is_there && !before.revoked && before.expires > created;
                    if is_worth_something && (of, &before.principal) != (tenant, &principal) {
                        return Err(VaultError::CertificateBound);
                    }
                    batch.require_value(key, stored);
                    batch.delete(rows::token_of(of, id));
                }
                _ => {
                    batch.require_absent(key);
                }
            }
            batch.put(rows::token_of(tenant, id), Vec::new());
            let (secret_hash, certificate) = ([0; 32], Some(name));
            let token = TokenEntry { id, secret_hash, principal, created, expires, revoked: false, certificate };
            core.seal_token(&mut batch, tenant, &token);
            Ok((batch, token))
        };
        let (batch, token) = self.core.blocking(bind).await?;
        self.core.committer.commit(batch).await?;
        Ok(token)
    }

    /// What stands behind a certificate's name; as [`Vault::identity`].
    pub async fn certified(&self, name: CertificateName) -> Result<Option<(StoredIdentity, Option<u32>)>, VaultError> {
        self.core.blocking(move |core| core.identity(core.certificate_id(&name)?)).await
    }

    /// Revokes a token of a tenant. Works for the next call made with it.
    /// One of an issuer is not stored here: of that it is stored that it is revoked, where `issued_to` says whose it is.
    pub async fn revoke_token(
        &self,
        permit: Permit<TenantScope>,
        id: TokenId,
        issued_to: Option<PrincipalName>,
    ) -> Result<TokenEntry, VaultError> {
        let tenant = permit.resource().tenant;
        let (batch, token) = self
            .core
            .blocking(move |core| {
                let keys = core.tenant_keys(tenant)?;
                // Whatever another tenant has under this id is its own.
                let id = if issued_to.is_some() { revoked_id(&keys, id) } else { id };
                let stored = core.db.get(&rows::token(id))?;
                let mut batch = Batch::new();
                let mut token = match (core.token(id)?, issued_to) {
                    (Some((of, token)), _) if of == tenant => token,
                    (None, Some(principal)) => issued(id, principal),
                    _ => return Err(VaultError::NotFound),
                };
                let alias = alias_of(&keys, &token.principal);
                administered(&mut batch, &permit, tenant, Some(alias), None);
                token.revoked = true;
                // A certificate's name may be bound anew meanwhile.
                match stored {
                    Some(stored) => batch.require_value(rows::token(id), stored),
                    None => batch.require_absent(rows::token(id)),
                };
                batch.put(rows::token_of(tenant, id), Vec::new());
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
                    // A certificate's name that is bound elsewhere meanwhile is none of this tenant's.
                    Ok(core.token(id)?.filter(|(of, _)| *of == tenant).map(|(_, token)| token))
                };
                let next = next_of(&page, limit);
                let tokens: Vec<Option<TokenEntry>> = core.those_that_open("a token", &page, open)?;
                Ok((tokens.into_iter().flatten().collect(), next))
            })
            .await
    }

    /// What stands behind a token, for the one who checks identities, and how many calls a second its tenant may make (no limit:
    /// `None`). Whether the token is worth anything is decided there.
    pub async fn identity(&self, token: TokenId) -> Result<Option<(StoredIdentity, Option<u32>)>, VaultError> {
        self.core.blocking(move |core| core.identity(token)).await
    }

    /// What is known of somebody whom an issuer names, of who calls for that one, and of the token; `None` where there is no such tenant.
    pub async fn outsider(
        &self,
        tenant: TenantName,
        (name, actor): (PrincipalName, Option<PrincipalName>),
        credential: TokenId,
    ) -> Result<Option<Outsider>, VaultError> {
        let look = move |core: &Arc<Core>| {
            let tenant = core.tree.tenant_id(&tenant);
            let Some(keys) = core.tree.tenant(tenant)?.filter(|_| !core.fences.is_closed(tenant)) else {
                return Ok(None);
            };
            let entry = match core.tenant_entry(tenant) {
                Err(VaultError::NotFound) => return Ok(None),
                entry => entry?,
            };
            let stored = core.principal(tenant, &name)?;
            let behind = actor.as_ref().map(|actor| core.principal(tenant, actor)).transpose()?.flatten();
            let blocked = stored.iter().chain(&behind).any(|stored| stored.blocked);
            let revoked = core.token(revoked_id(&keys, credential))?;
            let revoked = revoked.is_some_and(|(of, token)| of == tenant && token.revoked);
            Ok(Some(Outsider {
                tenant,
                alias: alias_of(&keys, &name),
                actor: actor.as_ref().map(|actor| alias_of(&keys, actor)),
                suspended: entry.suspended,
                blocked,
                revoked,
                roles: stored.map(|stored| stored.roles),
                calls_per_second: entry.settings.quotas.requests_per_second,
            }))
        };
        self.core.blocking(look).await
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
                let token =
                    TokenEntry { id, secret_hash, principal, created, expires, revoked: false, certificate: None };
                batch.require_absent(rows::token(id));
                core.require_tenant(&mut batch, tenant)?;
                batch.put(rows::token_of(tenant, id), Vec::new());
                core.seal_token(&mut batch, tenant, &token);
                Ok((batch, token))
            })
            .await?;
        self.core.committer.commit(batch).await?;
        Ok(token)
    }

    /// How a record, where one is named, stands to a principal of the caller's tenant, who would state `why`.
    pub async fn stands_to(
        &self,
        permit: Permit<TenantScope>,
        name: PrincipalName,
        why: Option<Why>,
        record: Option<RecordId>,
    ) -> Result<(Principal, Option<RecordFacts>), VaultError> {
        let tenant = permit.resource().tenant;
        self.note(&permit).await?;
        let look = move |core: &Arc<Core>| {
            let entry = core.principal(tenant, &name)?.ok_or(VaultError::NotFound)?;
            let alias = alias_of(&*core.tenant_keys(tenant)?, &name);
            let tenant_name = core.tenant_entry(tenant)?.name;
            let PrincipalEntry { name, roles, teams, .. } = entry;
            let token = TokenId([0; 16]);
            let principal =
                Principal { tenant, tenant_name, name, alias, roles, teams, token, actor: None, actor_token: None };
            let asker = Asker { principal: principal.clone(), case: why.and_then(|why| why.case) };
            let facts = record.map(|record| core.facts(&asker, tenant, record, None)?.ok_or(VaultError::NotFound));
            Ok((principal, facts.transpose()?))
        };
        self.core.blocking(look).await
    }

    /// Enters into the ledger that something of a tenant is looked at.
    pub(super) async fn note(&self, permit: &Permit<TenantScope>) -> Result<(), VaultError> {
        let tenant = permit.resource().tenant;
        let event = Event::Administered { action: permit.action(), subject: tenant, principal: None, roles: None };
        self.core.record(entry(permit.principal(), permit.principal().tenant, event)).await
    }
}

pub(super) fn administered(
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
pub(super) fn alias_of(keys: &TenantKeys, name: &PrincipalName) -> BlindIndex {
    blinded(keys, "alias", name.as_str())
}

type Page = Vec<(Vec<u8>, Vec<u8>)>;

/// Where the next page begins, if this one is full.
pub(super) fn next_of(page: &Page, limit: usize) -> Option<Vec<u8>> {
    page.last().filter(|_| page.len() == limit).map(|(key, _)| key.clone())
}

pub(super) fn open_row(
    key: &crate::crypto::secret::Key,
    row: &[u8],
    sealed: &[u8],
    what: &'static str,
) -> Result<zeroize::Zeroizing<Vec<u8>>, VaultError> {
    key_wrap::open(key, row, sealed).map_err(|_| VaultError::damaged(what))
}

impl Core {
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

    pub(super) fn principal(
        &self,
        tenant: TenantId,
        name: &PrincipalName,
    ) -> Result<Option<PrincipalEntry>, VaultError> {
        let keys = self.tenant_keys(tenant)?;
        let key = rows::principal(tenant, blinded(&keys, "principal", name.as_str()));
        let Some(sealed) = self.db.get(&key)? else { return Ok(None) };
        let plain = open_row(&keys.settings, &key, &sealed, "a principal")?;
        Ok(Some(decode_principal(&plain)?))
    }

    /// Whether a principal's row opens.
    pub(super) fn check_principal(&self, tenant: TenantId, key: &[u8], row: &[u8]) -> Result<(), VaultError> {
        let keys = self.tenant_keys(tenant)?;
        Ok(decode_principal(&open_row(&keys.settings, key, row, "a principal")?).map(drop)?)
    }

    /// Nothing is added to a tenant whose rows were removed meanwhile: it would stay for ever.
    fn require_tenant(&self, batch: &mut Batch, tenant: TenantId) -> Result<(), VaultError> {
        let key = rows::tenant_piece(tenant, 0);
        let stored = self.db.get(&key)?.ok_or(VaultError::NotFound)?;
        batch.require_value(key, stored);
        Ok(())
    }

    /// What stands for a certificate's name: a keyed hash.
    fn certificate_id(&self, name: &CertificateName) -> Result<TokenId, VaultError> {
        let keys = self.tenant_keys(self.tree.tenant_id(&TenantName::system()))?;
        Ok(TokenId(blinded(&keys, "certificate", name.as_str()).0))
    }

    pub(super) fn token(&self, id: TokenId) -> Result<Option<(TenantId, TokenEntry)>, VaultError> {
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

/// Under which id it stands that a tenant has revoked an issuer's token: another for each tenant.
fn revoked_id(keys: &TenantKeys, credential: TokenId) -> TokenId {
    TokenId(blinded(keys, "revoked credential", &credential.to_string()).0)
}

/// What is stored of an issuer's token when it is revoked. By the end of it no such token is taken any more: none lives longer.
fn issued(id: TokenId, principal: PrincipalName) -> TokenEntry {
    let created = Timestamp::now();
    let expires = created.plus_ms(31 * 24 * 60 * 60 * 1_000);
    TokenEntry { id, secret_hash: [0; 32], principal, created, expires, revoked: true, certificate: None }
}

fn token_context(tenant: TenantId, row: &[u8]) -> Vec<u8> {
    [&tenant.0[..], row].concat()
}
