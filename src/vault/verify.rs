//! Opening everything: every record with the keys of today, down to the last chunk, and what does not open is named.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::format::{Head, Use, use_key};
use super::record_rows::Sealed;
use super::{Vault, VaultError, download};
use crate::access::permit::{Permit, TenantScope};
use crate::crypto::content;
use crate::domain::grant::Grants;
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
    /// Records of tenants that are frozen: they are not opened.
    pub frozen: u64,
    /// The damaged and the missing, up to 1,000 of them.
    pub named: Vec<(RecordId, &'static str)>,
}

impl Verified {
    /// Whether everything is as it should be.
    pub fn is_whole(&self) -> bool {
        self.damaged == 0 && self.missing == 0
    }

    fn looked_at(&self) -> u64 {
        self.opened + self.erased + self.damaged + self.missing + self.frozen
    }

    fn name(&mut self, record: RecordId, why: &'static str) {
        if self.named.len() < MAX_NAMED {
            self.named.push((record, why));
        }
    }
}

/// Where one step of a verification begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyMark {
    /// Whether all records were opened, and those that have a key and nothing else are looked for.
    is_of_secrets: bool,
    /// The key of the row.
    from: Vec<u8>,
}

/// Bytes of a mark: which step, the key's length, the key.
pub const VERIFY_MARK: usize = 2 + MARK_KEY;
/// No key of a record or secret is longer.
const MARK_KEY: usize = 64;

impl VerifyMark {
    /// The beginning.
    pub fn begin() -> Self {
        Self { is_of_secrets: false, from: rows::all(rows::Kind::Record).0 }
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; VERIFY_MARK] {
        let mut bytes = [0; VERIFY_MARK];
        bytes[0] = u8::from(self.is_of_secrets);
        bytes[1] = u8::try_from(self.from.len()).expect("the keys of records and secrets are short");
        bytes[2..2 + self.from.len()].copy_from_slice(&self.from);
        bytes
    }

    /// Reads them; `None` for what no mark gives.
    pub fn decode(bytes: &[u8; VERIFY_MARK]) -> Option<Self> {
        let mark = Self { is_of_secrets: bytes[0] == 1, from: bytes[2..].get(..usize::from(bytes[1]))?.to_vec() };
        let (from, to) = rows::all(mark.kind());
        (mark.encode() == *bytes && (from..=to).contains(&mark.from)).then_some(mark)
    }

    fn kind(&self) -> rows::Kind {
        if self.is_of_secrets { rows::Kind::Secret } else { rows::Kind::Record }
    }
}

impl Vault {
    /// Opens records for about `budget`, from `mark` on; returns what came of them, and where the next step begins, `None` at the end. Writes
    /// nothing but its entry in the ledger, and gives out no content.
    pub async fn verify_some(
        &self,
        permit: Permit<TenantScope>,
        mark: VerifyMark,
        budget: Duration,
    ) -> Result<(Verified, Option<VerifyMark>), VaultError> {
        self.note(&permit).await?;
        let mut verified = Verified::default();
        let next = self.core.verify_until(Instant::now() + budget, mark, &mut verified, &mut |_| {}).await?;
        Ok((verified, next))
    }
}

impl Core {
    /// Opens every record; `progress` gets how many were looked at.
    pub async fn verify(self: &Arc<Self>, mut progress: impl FnMut(u64)) -> Result<Verified, VaultError> {
        let (mut verified, mut mark) = (Verified::default(), Some(VerifyMark::begin()));
        while let Some(from) = mark {
            let end = Instant::now() + Duration::from_secs(60);
            mark = self.verify_until(end, from, &mut verified, &mut progress).await?;
        }
        Ok(verified)
    }

    async fn verify_until(
        self: &Arc<Self>,
        end: Instant,
        mut mark: VerifyMark,
        verified: &mut Verified,
        progress: &mut impl FnMut(u64),
    ) -> Result<Option<VerifyMark>, VaultError> {
        loop {
            let (span, kind) = ((mark.from.clone(), rows::all(mark.kind()).1), mark.kind());
            let page = self.blocking(move |core| Ok(core.db.range(&span.0, &span.1, AT_ONCE)?)).await?;
            if page.is_empty() && kind == rows::Kind::Secret {
                return Ok(None);
            }
            if page.is_empty() {
                mark = VerifyMark { is_of_secrets: true, from: rows::all(rows::Kind::Secret).0 };
            }
            for (key, row) in page {
                match kind {
                    rows::Kind::Record => self.verify_record(&key, &row, verified).await?,
                    _ => self.verify_secret(&key, verified).await?,
                }
                progress(verified.looked_at());
                mark.from = rows::behind(key);
                if Instant::now() >= end || verified.named.len() >= MAX_NAMED {
                    return Ok(Some(mark));
                }
            }
        }
    }

    async fn verify_record(
        self: &Arc<Self>,
        key: &[u8],
        row: &[u8],
        verified: &mut Verified,
    ) -> Result<(), VaultError> {
        let (record, revision, piece) = rows::parse_record_piece(key).ok_or(VaultError::damaged("a key"))?;
        if piece > 0 {
            return Ok(());
        }
        let tenant = TenantId(key[1..17].try_into().map_err(|_| VaultError::damaged("a key"))?);
        if self.fences.is_frozen(tenant) {
            verified.frozen += 1;
            return Ok(());
        }
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
        Ok(())
    }

    /// Names a record that has a key, and of which nothing else is there.
    async fn verify_secret(self: &Arc<Self>, key: &[u8], verified: &mut Verified) -> Result<(), VaultError> {
        let key = key.to_vec();
        if let Some(record) = self.blocking(move |core| core.is_without_content(&key)).await? {
            verified.missing += 1;
            verified.name(record, "it has a key and no content");
        }
        Ok(())
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
        is_of_stated_case: false,
        grants: Grants::default(),
        purposes: Vec::new(),
    }
}
