//! Giving back the space of erased customers: rows and objects under a handle, after the erasure was acknowledged. All of it is noise by
//! then; nothing here is needed for the erasure to hold.

use super::core::Core;
use super::format::{Head, ReclaimRecordRow, ReclaimRow, TenantErasureRow, TenantErasureState};
use super::{Vault, VaultError};
use crate::domain::ids::{BlindIndex, Handle, RecordId, Revision, TenantId};
use crate::store::{Batch, rows};

/// Jobs or secrets looked at in one go.
const AT_ONCE: usize = 64;
/// Rows of a customer removed in one go, about: with those of one more record they fit one batch.
const WRITES_AT_ONCE: usize = 256;
/// Pieces of one record removed in one go.
const PIECES_AT_ONCE: usize = 2048;

impl Vault {
    /// Removes what erased customers, records and tenants left, until nothing is left to remove. One at a time; a second call waits.
    pub async fn reclaim(&self) -> Result<(), VaultError> {
        let _one_at_a_time = self.reclaiming.lock().await;
        self.reclaim_customers().await?;
        self.reclaim_records().await?;
        self.reclaim_tenants().await
    }

    async fn reclaim_customers(&self) -> Result<(), VaultError> {
        loop {
            let (from, to) = rows::all(rows::Kind::Reclaim);
            let jobs = self.core.blocking(move |core| Ok(core.db.range(&from, &to, AT_ONCE)?)).await?;
            if jobs.is_empty() {
                return Ok(());
            }
            for (key, row) in jobs {
                let handle = key.get(1..).and_then(|handle| handle.try_into().ok()).map(Handle);
                let handle = handle.ok_or(VaultError::damaged("a reclaim job"))?;
                let ReclaimRow { tenant } = ReclaimRow::decode(&row)?;
                self.core.objects.delete_prefix(handle, None).await?;
                self.core.blocking(move |core| core.reclaim_rows(tenant, handle)).await?;
            }
        }
    }

    async fn reclaim_tenants(&self) -> Result<(), VaultError> {
        let (mut from, to) = rows::all(rows::Kind::TenantErasure);
        loop {
            let span = (from.clone(), to.clone());
            let page = self.core.blocking(move |core| Ok(core.db.range(&span.0, &span.1, AT_ONCE)?)).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = rows::behind(last.clone());
            for (key, _) in page {
                let tenant = key.get(1..).and_then(|id| id.try_into().ok()).map(TenantId);
                let tenant = tenant.ok_or(VaultError::damaged("the erasure of a tenant"))?;
                let row = self.core.blocking(move |core| core.tenant_erasure(tenant)).await?;
                if let Some(row) = row.filter(|row| row.state == TenantErasureState::Erased) {
                    self.reclaim_tenant(tenant, row).await?;
                }
            }
        }
    }

    async fn reclaim_tenant(&self, tenant: TenantId, row: TenantErasureRow) -> Result<(), VaultError> {
        let (mut from, to) = rows::all(rows::Kind::Profile);
        loop {
            let span = (from.clone(), to.clone());
            let page = self.core.blocking(move |core| Ok(core.db.range(&span.0, &span.1, AT_ONCE)?)).await?;
            let Some((last, _)) = page.last() else { break };
            from = rows::behind(last.clone());
            for (key, _) in page.iter().filter(|(_, profile)| profile.starts_with(&tenant.0)) {
                let handle = rows::parse_profile(key).ok_or(VaultError::damaged("a customer's profile"))?;
                self.core.objects.delete_prefix(handle, None).await?;
                self.core.blocking(move |core| core.reclaim_rows(tenant, handle)).await?;
            }
        }
        self.core.blocking(move |core| core.reclaim_rows_of_tenant(tenant, &row)).await
    }

    async fn reclaim_records(&self) -> Result<(), VaultError> {
        loop {
            let (from, to) = rows::all(rows::Kind::ReclaimRecord);
            let jobs = self.core.blocking(move |core| Ok(core.db.range(&from, &to, AT_ONCE)?)).await?;
            if jobs.is_empty() {
                return Ok(());
            }
            for (key, row) in jobs {
                let parsed = rows::parse_reclaim_record(&key);
                let (record, revision) = parsed.ok_or(VaultError::damaged("a reclaim job"))?;
                let ReclaimRecordRow { tenant, handle } = ReclaimRecordRow::decode(&row)?;
                if revision.is_none_or(|revision| revision == Revision::FIRST) {
                    self.core.objects.delete_prefix(handle, Some(record)).await?;
                }
                self.core.blocking(move |core| core.reclaim_revisions(tenant, record, revision, key)).await?;
            }
        }
    }
}

impl Core {
    /// Removes the rows of a customer; the job itself goes last.
    fn reclaim_rows(&self, tenant: TenantId, handle: Handle) -> Result<(), VaultError> {
        let (from, to) = rows::customer_secrets(handle);
        loop {
            let secrets = self.db.range(&from, &to, AT_ONCE)?;
            if secrets.is_empty() {
                break;
            }
            let (mut batch, mut last) = (Batch::new(), None);
            for (key, _) in secrets {
                let (_, record, revision) = rows::parse_secret(&key).ok_or(VaultError::damaged("a record's secret"))?;
                // Whether a revision is the last one of its record is read from the database: those before it must be gone from there.
                let is_another_revision = last.replace(record) == Some(record);
                if is_another_revision || batch.writes() >= WRITES_AT_ONCE {
                    self.committer.commit_blocking(std::mem::take(&mut batch))?;
                }
                self.reclaim_record(&mut batch, tenant, (record, revision))?;
                batch.delete(key);
            }
            self.committer.commit_blocking(batch)?;
        }
        for span in [rows::segments(handle), rows::assignments(handle), rows::glasses(handle)] {
            self.remove_all(span, |_, _, _| {})?;
        }
        let mut batch = Batch::new();
        batch.delete(rows::profile(handle));
        batch.delete(rows::reclaim(handle));
        self.committer.commit_blocking(batch)?;
        Ok(())
    }

    /// Removes what stands under an erased tenant, but for its receipts; what says that it is erased stays.
    fn reclaim_rows_of_tenant(&self, tenant: TenantId, erased: &TenantErasureRow) -> Result<(), VaultError> {
        const KINDS: [rows::Kind; 15] = [
            rows::Kind::Record,
            rows::Kind::Index,
            rows::Kind::Request,
            rows::Kind::Tombstone,
            rows::Kind::ErasureRequest,
            rows::Kind::Erasures,
            rows::Kind::Upload,
            rows::Kind::Principal,
            rows::Kind::Tenant,
            rows::Kind::Usage,
            rows::Kind::Seen,
            rows::Kind::Reads,
            rows::Kind::ErasedBy,
            rows::Kind::Approval,
            rows::Kind::Approved,
        ];
        self.remove_all(rows::tokens_of(tenant), |batch, key, _| {
            let token = rows::parse_token_of(key).map(rows::token);
            // A certificate's name may be bound to another tenant's principal by now.
            let is_own = |row: &Vec<u8>| matches!(self.db.get(row), Ok(Some(stored)) if stored.starts_with(&tenant.0));
            token.filter(is_own).into_iter().for_each(|row| batch.delete(row));
        })?;
        for kind in KINDS {
            self.remove_all(rows::of_tenant(kind, tenant), |_, _, _| {})?;
        }
        self.remove_all(rows::reclaim_pages_of(tenant), |batch, _, pages| {
            pages.as_chunks::<16>().0.iter().for_each(|id| batch.delete(rows::page(id)));
        })?;
        let mut batch = Batch::new();
        let gone = TenantErasureRow { state: TenantErasureState::Gone, ..erased.clone() };
        self.put_tenant_erasure(&mut batch, tenant, &gone);
        self.committer.commit_blocking(batch)?;
        Ok(())
    }

    /// Removes all rows of a span, and with each what `beside` adds.
    fn remove_all(
        &self,
        (from, to): (Vec<u8>, Vec<u8>),
        beside: impl Fn(&mut Batch, &[u8], &[u8]),
    ) -> Result<(), VaultError> {
        loop {
            // A row of pages takes 250 others with it.
            let some = self.db.range(&from, &to, AT_ONCE / 2)?;
            if some.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new();
            for (key, value) in some {
                beside(&mut batch, &key, &value);
                batch.delete(key);
            }
            self.committer.commit_blocking(batch)?;
        }
    }

    /// Removes the rows of one record, or of one revision; the job itself goes last.
    fn reclaim_revisions(
        &self,
        tenant: TenantId,
        record: RecordId,
        revision: Option<Revision>,
        job: Vec<u8>,
    ) -> Result<(), VaultError> {
        let all = || rows::record_span(tenant, record);
        let (from, to) = revision.map_or_else(all, |revision| rows::revision_span(tenant, record, revision));
        while let Some((key, _)) = self.db.last(&from, &to)? {
            let (_, revision, _) = rows::parse_record_piece(&key).ok_or(VaultError::damaged("a record's key"))?;
            let mut batch = Batch::new();
            self.reclaim_record(&mut batch, tenant, (record, revision))?;
            self.committer.commit_blocking(batch)?;
        }
        let mut batch = Batch::new();
        batch.delete(job);
        self.committer.commit_blocking(batch)?;
        Ok(())
    }

    /// Has `batch` remove the rows of one revision of a record.
    fn reclaim_record(
        &self,
        batch: &mut Batch,
        tenant: TenantId,
        (record, revision): (RecordId, Revision),
    ) -> Result<(), VaultError> {
        let (from, to) = rows::revision_span(tenant, record, revision);
        let pieces = self.db.range(&from, &to, PIECES_AT_ONCE)?;
        if let Some((_, first)) = pieces.first() {
            let (head, _) = Head::decode(first)?;
            let left = self.newest_but(tenant, record, revision)?.map(|(_, head)| head);
            let finds_it =
                |by: &BlindIndex| left.as_ref().is_some_and(|left| left.found_by().any(|other| other == *by));
            for by in head.found_by().filter(|by| !finds_it(by)) {
                batch.delete(rows::index(tenant, by, record));
            }
            let counted = i64::try_from(head.stored_bytes).unwrap_or(i64::MAX);
            batch.add(rows::usage(tenant, rows::Counter::ContentBytes), -counted);
            if left.is_none() {
                batch.add(rows::usage(tenant, rows::Counter::Records), -1);
            }
        }
        pieces.into_iter().for_each(|(key, _)| batch.delete(key));
        batch.delete(rows::upload(tenant, record));
        Ok(())
    }
}
