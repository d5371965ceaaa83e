//! Opening everything: every record with the keys of today, down to the last chunk, and what does not open is named.

use std::sync::Arc;

use super::core::Core;
use super::format::{Head, Use, use_key};
use super::record_rows::Sealed;
use super::{Vault, VaultError, download};
use crate::crypto::content;
use crate::domain::ids::{RecordId, Revision, TenantId};
use crate::domain::record::RecordFacts;
use crate::store::{StoreError, rows};

/// Rows looked at in one go.
const AT_ONCE: usize = 256;
/// The most records that are named.
const MAX_NAMED: usize = 1_000;

/// What opened and what did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records that open, to the last chunk.
    pub opened: u64,
    /// Rows of records whose keys are destroyed; they are noise, and are removed in time.
    pub erased: u64,
    /// How many records do not open though their keys are there.
    pub damaged: u64,
    /// How many records have a key and no content.
    pub missing: u64,
    /// Those two, up to 1,000 of them.
    pub named: Vec<(RecordId, &'static str)>,
}

impl Verified {
    /// Whether everything is as it should be.
    pub fn is_whole(&self) -> bool {
        self.damaged == 0 && self.missing == 0
    }

    fn name(&mut self, record: RecordId, why: &'static str) {
        if self.named.len() < MAX_NAMED {
            self.named.push((record, why));
        }
    }
}

impl Vault {
    /// Opens every record; `progress` gets how many were looked at. Writes nothing, and gives out no content.
    pub async fn verify(&self, progress: impl FnMut(u64)) -> Result<Verified, VaultError> {
        self.core.verify(progress).await
    }
}

impl Core {
    /// The same, for a vault that is only looked at.
    pub async fn verify(self: &Arc<Self>, mut progress: impl FnMut(u64)) -> Result<Verified, VaultError> {
        let mut verified = Verified::default();
        let (mut from, to) = rows::all(rows::Kind::Record);
        let mut looked_at = 0;
        loop {
            let span = (from.clone(), to.clone());
            let page = self.blocking(move |core| Ok(core.db.range(&span.0, &span.1, AT_ONCE)?)).await?;
            let Some((last, _)) = page.last() else { break };
            from = rows::behind(last.clone());
            for (key, row) in &page {
                let (record, revision, piece) = rows::parse_record_piece(key).ok_or(VaultError::damaged("a key"))?;
                if piece > 0 {
                    continue;
                }
                let tenant = TenantId(key[1..17].try_into().map_err(|_| VaultError::damaged("a key"))?);
                let outcome = match Head::decode(row) {
                    Ok((head, _)) => self.open_whole(facts(tenant, record, revision, &head)).await,
                    Err(error) => Err(error.into()),
                };
                match outcome {
                    Ok(()) => verified.opened += 1,
                    Err(VaultError::NotFound) => verified.erased += 1,
                    Err(VaultError::Store(StoreError::ObjectMissing { .. })) => {
                        verified.missing += 1;
                        verified.name(record, "a part of its content is not there");
                    }
                    Err(_) => {
                        verified.damaged += 1;
                        verified.name(record, "it does not open");
                    }
                }
                looked_at += 1;
                progress(looked_at);
            }
        }
        self.find_missing(&mut verified).await?;
        Ok(verified)
    }

    async fn open_whole(self: &Arc<Self>, facts: RecordFacts) -> Result<(), VaultError> {
        let opened = self.blocking(move |core| core.open_record(&facts)).await?;
        match opened.content {
            Sealed::Inline(content) => {
                let key = use_key(&opened.secret, Use::Content, &opened.place);
                content::open(&key, b"", &content).map(drop).map_err(|_| VaultError::damaged("a transcript"))
            }
            Sealed::Parts { manifest, .. } => {
                download::open_all(self, &opened.place, &opened.secret, &manifest, &mut drop).await
            }
        }
    }

    /// Records that have a key, and of which nothing else is there.
    async fn find_missing(self: &Arc<Self>, verified: &mut Verified) -> Result<(), VaultError> {
        let (mut from, to) = rows::all(rows::Kind::Secret);
        loop {
            let span = (from.clone(), to.clone());
            let find = move |core: &Arc<Core>| {
                let page = core.db.range(&span.0, &span.1, AT_ONCE)?;
                let next = page.last().map(|(key, _)| rows::behind(key.clone()));
                let mut missing = Vec::new();
                for (key, _) in page {
                    if let Some(record) = core.is_without_content(&key)? {
                        missing.push(record);
                    }
                }
                Ok((next, missing))
            };
            let (next, missing) = self.blocking(find).await?;
            for record in missing {
                verified.missing += 1;
                verified.name(record, "it has a key and no content");
            }
            match next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    /// The record of a secret's row, if the customer lives and nothing but the secret is there. An upload that is not complete is none.
    fn is_without_content(&self, key: &[u8]) -> Result<Option<RecordId>, VaultError> {
        let (handle, record, revision) = rows::parse_secret(key).ok_or(VaultError::damaged("a record's secret"))?;
        if record == RecordId::PROFILE {
            return Ok(None);
        }
        // In front of the profile stands the tenant.
        let profile = self.db.get(&rows::profile(handle))?;
        let Some(tenant) = profile.and_then(|profile| Some(TenantId(*profile.first_chunk()?))) else { return Ok(None) };
        let (from, to) = rows::revision_span(tenant, record, revision);
        let is_there = !self.db.range(&from, &to, 1)?.is_empty();
        if is_there || self.db.get(&rows::upload(tenant, record))?.is_some() {
            return Ok(None);
        }
        match self.customer(tenant, handle) {
            Ok(_) => Ok(Some(record)),
            Err(VaultError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn facts(tenant: TenantId, id: RecordId, revision: Revision, head: &Head) -> RecordFacts {
    RecordFacts {
        tenant,
        id,
        revision,
        kind: head.kind,
        handle: head.handle,
        callers_team: None,
        handled_by_caller: false,
        purposes: Vec::new(),
    }
}
