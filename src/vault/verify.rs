//! Opening everything: every record with the keys of today, down to the last chunk, then every other row that can be looked at, and what does
//! not open is named.

mod stored;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::Core;
use super::customer::Customer;
use super::format::{Head, Use, use_key};
use super::record_rows::Sealed;
use super::{Vault, VaultError, download};
use crate::access::permit::{Permit, TenantScope};
use crate::crypto::content;
use crate::domain::codec::hex;
use crate::domain::grant::Grants;
use crate::domain::ids::{Handle, RecordId, Revision, TenantId};
use crate::domain::record::RecordFacts;
use crate::store::{StoreError, rows};

/// Rows looked at in one go.
const AT_ONCE: usize = 256;
/// What is said of a record whose secret is gone though its customer lives.
const NO_SECRET: &str = "its customer lives, and its secret or the customer's profile is gone";
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
    /// How many other rows do not open, or are not what the service wrote.
    pub damaged_rows: u64,
    /// Those rows, up to 1,000 of them.
    pub named_rows: Vec<DamagedRow>,
}

/// A row that is not as it should be, and is no record's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRow {
    /// Its kind.
    pub kind: rows::Kind,
    /// Its key.
    pub key: Vec<u8>,
    /// What is the matter.
    pub why: String,
}

impl DamagedRow {
    /// Its kind and its key.
    pub fn name(&self) -> String {
        format!("{:?} {}", self.kind, hex(self.key.get(1..).unwrap_or_default()))
    }
}

impl Verified {
    /// Whether everything is as it should be.
    pub fn is_whole(&self) -> bool {
        self.damaged == 0 && self.missing == 0 && self.damaged_rows == 0
    }

    fn looked_at(&self) -> u64 {
        self.opened + self.erased + self.damaged + self.missing + self.frozen
    }

    fn name_row(&mut self, kind: rows::Kind, key: &[u8], why: String) {
        self.damaged_rows += 1;
        if self.named_rows.len() < MAX_NAMED {
            self.named_rows.push(DamagedRow { kind, key: key.to_vec(), why });
        }
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
    /// The place of the kind of rows that is looked at.
    step: u8,
    /// The key of the row.
    from: Vec<u8>,
}

/// What is looked at, in this order: all records, then those that have a key and nothing else, then all else.
const STEPS: [rows::Kind; 23] = [
    rows::Kind::Record,
    rows::Kind::Secret,
    rows::Kind::Page,
    rows::Kind::Segment,
    rows::Kind::Profile,
    rows::Kind::Upload,
    rows::Kind::Index,
    rows::Kind::Assignment,
    rows::Kind::Glass,
    rows::Kind::Tombstone,
    rows::Kind::Erasing,
    rows::Kind::Duty,
    rows::Kind::Receipt,
    rows::Kind::Reclaim,
    rows::Kind::ReclaimRecord,
    rows::Kind::ReclaimPages,
    rows::Kind::TenantErasure,
    rows::Kind::Tenant,
    rows::Kind::Principal,
    rows::Kind::Token,
    rows::Kind::Approval,
    rows::Kind::LogKey,
    rows::Kind::Ledger,
];

/// Bytes of a mark: which step, the key's length, the key.
pub const VERIFY_MARK: usize = 2 + MARK_KEY;
/// No key of a row that is looked at is longer.
const MARK_KEY: usize = 80;

impl VerifyMark {
    /// The beginning.
    pub fn begin() -> Self {
        Self::of_step(0)
    }

    fn of_step(step: u8) -> Self {
        Self { step, from: rows::all(STEPS[usize::from(step)]).0 }
    }

    /// The beginning of the next step; `None` behind the last.
    fn next_step(&self) -> Option<Self> {
        let step = self.step + 1;
        (usize::from(step) < STEPS.len()).then(|| Self::of_step(step))
    }

    /// Goes on behind a row. A key that is too long is none of ours: whatever begins as it does is left out.
    fn go_behind(&mut self, key: Vec<u8>) {
        self.from = match key.len() < MARK_KEY {
            true => rows::behind(key),
            false => rows::span_of(key[..MARK_KEY - 1].to_vec()).1,
        };
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; VERIFY_MARK] {
        let mut bytes = [0; VERIFY_MARK];
        bytes[0] = self.step;
        bytes[1] = u8::try_from(self.from.len()).expect("a mark's key has at most MARK_KEY bytes");
        bytes[2..2 + self.from.len()].copy_from_slice(&self.from);
        bytes
    }

    /// Reads them; `None` for what no mark gives.
    pub fn decode(bytes: &[u8; VERIFY_MARK]) -> Option<Self> {
        let kind = STEPS.get(usize::from(bytes[0]))?;
        let mark = Self { step: bytes[0], from: bytes[2..].get(..usize::from(bytes[1]))?.to_vec() };
        let (from, to) = rows::all(*kind);
        (mark.encode() == *bytes && (from..=to).contains(&mark.from)).then_some(mark)
    }

    fn kind(&self) -> rows::Kind {
        STEPS[usize::from(self.step)]
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
            if page.is_empty() {
                match mark.next_step() {
                    Some(next) => mark = next,
                    None => return Ok(None),
                }
            }
            for (key, row) in page {
                match kind {
                    rows::Kind::Record => self.verify_record(&key, &row, verified).await?,
                    rows::Kind::Secret => self.verify_secret(&key, verified).await?,
                    _ => self.verify_row(kind, &key, row, verified).await?,
                }
                progress(verified.looked_at());
                mark.go_behind(key);
                if Instant::now() >= end || verified.named.len() + verified.named_rows.len() >= MAX_NAMED {
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
        let tenant = key.get(1..17).and_then(|tenant| tenant.try_into().ok()).map(TenantId);
        let (Some((record, revision, piece)), Some(tenant)) = (rows::parse_record_piece(key), tenant) else {
            verified.name_row(rows::Kind::Record, key, "its key is none of a record".to_owned());
            return Ok(());
        };
        if piece > 0 {
            return Ok(());
        }
        if self.fences.is_frozen(tenant) {
            verified.frozen += 1;
            return Ok(());
        }
        let outcome = match Head::decode(row) {
            Ok((head, _)) => match self.open_whole(facts(tenant, record, revision, &head)).await {
                Err(VaultError::NotFound) => self.lost_or_erased(tenant, head.handle, (record, revision)).await,
                outcome => outcome,
            },
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(()) => verified.opened += 1,
            Err(VaultError::NotFound) => verified.erased += 1,
            Err(VaultError::Damaged { what: NO_SECRET }) => {
                verified.missing += 1;
                verified.name(record, NO_SECRET);
            }
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

    /// Why a record is without keys: it was erased, or its secret or its customer's profile was removed though the customer lives.
    async fn lost_or_erased(
        self: &Arc<Self>,
        tenant: TenantId,
        handle: Handle,
        (record, revision): (RecordId, Revision),
    ) -> Result<(), VaultError> {
        self.blocking(move |core| {
            core.customer(tenant, handle)?;
            let jobs = [rows::reclaim_record(record, None), rows::reclaim_record(record, Some(revision))];
            for job in jobs {
                if core.db.get(&job)?.is_some() {
                    return Err(VaultError::NotFound);
                }
            }
            // Read again: what was erased and removed meanwhile is no loss.
            match core.db.get(&rows::record_piece(tenant, record, revision, 0))? {
                Some(_) => Err(VaultError::damaged(NO_SECRET)),
                None => Err(VaultError::NotFound),
            }
        })
        .await
    }

    /// Names a record that has a key, and of which nothing else is there; and a secret of a living customer that does not open.
    async fn verify_secret(self: &Arc<Self>, key: &[u8], verified: &mut Verified) -> Result<(), VaultError> {
        let row = key.to_vec();
        match self.blocking(move |core| core.is_without_content(&row)).await {
            Ok(Some(record)) => {
                verified.missing += 1;
                verified.name(record, "it has a key and no content");
            }
            Ok(None) => {}
            Err(error) if error.is_damage() => verified.name_row(rows::Kind::Secret, key, error.to_string()),
            Err(error) => return Err(error),
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
        let Some(customer) = self.customer_of_profile(handle)? else { return Ok(None) };
        match self.secret(&customer, &customer.place(record, revision)) {
            Ok(_) => {}
            // Erased meanwhile.
            Err(VaultError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        }
        if record == RecordId::PROFILE {
            return Ok(None);
        }
        let (from, to) = rows::revision_span(customer.tenant, record, revision);
        let is_there = !self.db.range(&from, &to, 1)?.is_empty();
        let is_arriving = self.db.get(&rows::upload(customer.tenant, record))?.is_some();
        Ok((!is_there && !is_arriving).then_some(record))
    }

    /// The customer of a handle, if she has a key; by the tenant that stands in front of the profile.
    fn customer_of_profile(&self, handle: Handle) -> Result<Option<Customer>, VaultError> {
        let profile = self.db.get(&rows::profile(handle))?;
        let Some(tenant) = profile.and_then(|profile| Some(TenantId(*profile.first_chunk()?))) else { return Ok(None) };
        match self.customer(tenant, handle) {
            Ok(customer) => Ok(Some(customer)),
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
