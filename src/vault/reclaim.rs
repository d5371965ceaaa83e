//! Giving back the space of erased customers: rows and objects under a handle, after the erasure was acknowledged. All of it is noise by
//! then; nothing here is needed for the erasure to hold.
//!
//! Each job is looked at before anything is removed ([`jobs`](super::jobs)). One that is refused, or that cannot be told, keeps no other back.

use std::collections::HashSet;
use std::sync::Arc;

use super::core::Core;
use super::format::{Head, TenantErasureRow, TenantErasureState};
use super::jobs::RecordJob;
use super::{Vault, VaultError};
use crate::domain::ids::{BlindIndex, Handle, RecordId, Revision, TenantId};
use crate::keys::View;
use crate::store::{Batch, Row, rows};

/// Jobs or secrets looked at in one go.
const AT_ONCE: usize = 64;
/// Rows of a customer removed in one go, about: with those of one more record they fit one batch.
const WRITES_AT_ONCE: usize = 256;
/// Pieces of one record removed in one go.
const PIECES_AT_ONCE: usize = 2048;

impl Vault {
    /// Removes what erased customers, records and tenants left. One at a time; a second call waits. What cannot be removed now, because
    /// something is damaged, is reported and stays.
    pub async fn reclaim(&self) -> Result<(), VaultError> {
        let _one_at_a_time = self.reclaiming.lock().await;
        self.reclaim_customers().await?;
        self.reclaim_records().await?;
        self.reclaim_tenants().await
    }

    /// Some rows of a span, and moves its beginning behind them.
    async fn next_rows(&self, (from, to): (&mut Vec<u8>, &[u8])) -> Result<Vec<Row>, VaultError> {
        let span = (from.clone(), to.to_vec());
        let page = self.core.blocking(move |core| Ok(core.db.range(&span.0, &span.1, AT_ONCE)?)).await?;
        if let Some((last, _)) = page.last() {
            *from = rows::behind(last.clone());
        }
        Ok(page)
    }

    async fn reclaim_customers(&self) -> Result<(), VaultError> {
        let (mut from, to) = rows::all(rows::Kind::Reclaim);
        loop {
            let jobs = self.next_rows((&mut from, &to)).await?;
            if jobs.is_empty() {
                return Ok(());
            }
            for (key, row) in jobs {
                let look = move |core: &Arc<Core>| core.accepted(&key, &row, core.customer_job(&key, &row));
                let Some((tenant, handle)) = self.core.blocking(look).await? else { continue };
                self.core.objects.delete_prefix(handle, None).await?;
                let removed = self.core.blocking(move |core| core.reclaim_rows(tenant, handle)).await;
                self.core.unless_damaged("what is left of a customer", &rows::reclaim(handle), removed)?;
            }
        }
    }

    async fn reclaim_tenants(&self) -> Result<(), VaultError> {
        let (mut from, to) = rows::all(rows::Kind::TenantErasure);
        loop {
            let page = self.next_rows((&mut from, &to)).await?;
            if page.is_empty() {
                return Ok(());
            }
            for (key, _) in page {
                let Some(tenant) = key.get(1..).and_then(|id| id.try_into().ok()).map(TenantId) else { continue };
                let due = self.core.blocking(move |core| core.tenant_to_reclaim(tenant)).await;
                match due {
                    Ok(None) => {}
                    Ok(Some((row, living))) => {
                        let removed = self.reclaim_tenant(tenant, row, Arc::new(living)).await;
                        self.core.unless_damaged("what is left of a tenant", &key, removed)?;
                    }
                    Err(error) => self.core.unless_damaged("the erasure of a tenant", &key, Err(error))?,
                }
            }
        }
    }

    async fn reclaim_tenant(
        &self,
        tenant: TenantId,
        row: TenantErasureRow,
        living: Arc<Vec<TenantId>>,
    ) -> Result<(), VaultError> {
        let (mut from, to) = rows::all(rows::Kind::Profile);
        loop {
            let page = self.next_rows((&mut from, &to)).await?;
            if page.is_empty() {
                break;
            }
            for (key, _) in page.iter().filter(|(_, profile)| profile.starts_with(&tenant.0)) {
                let Some(handle) = rows::parse_profile(key) else { continue };
                // The tenant in front of a profile is not sealed: somebody may have written this one's there.
                let tenants = Arc::clone(&living);
                let has_key = self.core.blocking(move |core| core.has_key_anywhere(&tenants, handle)).await?;
                if has_key {
                    let error = VaultError::damaged("a customer's profile");
                    self.core.damage.met("the profile of a living customer names an erased tenant", key, &error);
                    continue;
                }
                self.core.objects.delete_prefix(handle, None).await?;
                self.core.blocking(move |core| core.reclaim_rows(tenant, handle)).await?;
            }
        }
        self.core.blocking(move |core| core.reclaim_rows_of_tenant(tenant, &row)).await
    }

    async fn reclaim_records(&self) -> Result<(), VaultError> {
        let (mut from, to) = rows::all(rows::Kind::ReclaimRecord);
        loop {
            let jobs = self.next_rows((&mut from, &to)).await?;
            if jobs.is_empty() {
                return Ok(());
            }
            for (key, row) in jobs {
                let (at, stored) = (key.clone(), row);
                let look = move |core: &Arc<Core>| core.accepted(&at, &stored, core.record_job(&at, &stored));
                let Some(job) = self.core.blocking(look).await? else { continue };
                if job.revision.is_none_or(|revision| revision == Revision::FIRST) {
                    self.core.objects.delete_prefix(job.handle, Some(job.record)).await?;
                }
                let at = key.clone();
                let removed = self.core.blocking(move |core| core.reclaim_revisions(&job, at)).await;
                self.core.unless_damaged("what is left of a record", &key, removed)?;
            }
        }
    }
}

impl Core {
    /// The erasure of a tenant whose rows are to be removed, and the tenants that are left.
    fn tenant_to_reclaim(&self, tenant: TenantId) -> Result<Option<(TenantErasureRow, Vec<TenantId>)>, VaultError> {
        let row = self.tenant_erasure(tenant)?.filter(|row| row.state == TenantErasureState::Erased);
        let Some(row) = row else { return Ok(None) };
        let living = self.living_tenants()?;
        // Its keys are gone with the epoch that wrote this row; looked up all the same before anything is removed.
        if living.contains(&tenant) {
            return Err(VaultError::damaged("the erasure of a tenant that has keys"));
        }
        Ok(Some((row, living)))
    }

    /// The pages of all tenants that have keys, as far as they open.
    fn pages_in_use(&self) -> Result<HashSet<[u8; 16]>, VaultError> {
        let mut used = HashSet::new();
        for tenant in self.living_tenants()? {
            let mut closed = Vec::new();
            let mut pages = || {
                let keys = self.tenant_keys(tenant)?;
                let top = self.tree.top();
                Ok(View::new(self.tree.pages(), &top.key).pages_of(tenant, &keys, &mut closed)?)
            };
            match pages() {
                Ok(pages) => used.extend(pages.into_iter().map(|page| page.0)),
                Err(error) => self.unless_damaged("pages of a tenant", &rows::page(&tenant.0), Err(error))?,
            }
        }
        Ok(used)
    }

    /// Removes the pages that an erased tenant left, as they were written down.
    fn reclaim_pages(&self, tenant: TenantId) -> Result<(), VaultError> {
        let (mut from, to) = rows::reclaim_pages_of(tenant);
        let mut used = None;
        loop {
            // A row of pages takes 250 others with it.
            let some = self.db.range(&from, &to, AT_ONCE / 2)?;
            let Some((last, _)) = some.last() else { return Ok(()) };
            from = rows::behind(last.clone());
            let used = match &mut used {
                Some(used) => used,
                none => none.insert(self.pages_in_use()?),
            };
            let mut batch = Batch::new();
            for (key, value) in some {
                let Some(pages) = self.accepted(&key, &value, self.pages_job(&key, &value, used))? else { continue };
                pages.iter().for_each(|id| batch.delete(rows::page(id)));
                batch.delete(key);
            }
            self.committer.commit_blocking(batch)?;
        }
    }

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
                let Some((_, record, revision)) = rows::parse_secret(&key) else {
                    batch.delete(key);
                    continue;
                };
                // Whether a revision is the last one of its record is read from the database: those before it must be gone from there.
                let is_another_revision = last.replace(record) == Some(record);
                if is_another_revision || batch.writes() >= WRITES_AT_ONCE {
                    self.committer.commit_blocking(std::mem::take(&mut batch))?;
                }
                self.reclaim_record(&mut batch, &Whose::Found(tenant, handle), (record, revision))?;
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
        self.reclaim_pages(tenant)?;
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
            let some = self.db.range(&from, &to, AT_ONCE)?;
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
    fn reclaim_revisions(&self, job: &RecordJob, row: Vec<u8>) -> Result<(), VaultError> {
        let RecordJob { tenant, record, revision, .. } = *job;
        let all = || rows::record_span(tenant, record);
        let (from, to) = revision.map_or_else(all, |revision| rows::revision_span(tenant, record, revision));
        while let Some((key, _)) = self.db.last(&from, &to)? {
            let mut batch = Batch::new();
            match rows::parse_record_piece(&key) {
                Some((_, revision, _)) => {
                    self.reclaim_record(&mut batch, &Whose::Named(tenant), (record, revision))?;
                }
                None => batch.delete(key),
            }
            self.committer.commit_blocking(batch)?;
        }
        let mut batch = Batch::new();
        batch.delete(row);
        self.committer.commit_blocking(batch)?;
        Ok(())
    }

    /// Has `batch` remove the rows of one revision of a record.
    fn reclaim_record(
        &self,
        batch: &mut Batch,
        whose: &Whose,
        (record, revision): (RecordId, Revision),
    ) -> Result<(), VaultError> {
        let tenant = whose.tenant();
        let (from, to) = rows::revision_span(tenant, record, revision);
        let pieces = self.db.range(&from, &to, PIECES_AT_ONCE)?;
        if let Some((row, first)) = pieces.first() {
            let head = Head::decode(first).map(|(head, _)| head);
            match (&head, whose) {
                (Ok(head), Whose::Found(_, handle)) if head.handle != *handle => {
                    self.damage.met("a record", row, &VaultError::damaged("the head of a record"));
                    return Ok(());
                }
                (Err(error), Whose::Found(..)) => {
                    self.damage.met("a record", row, &(*error).clone().into());
                    return Ok(());
                }
                (Ok(head), _) => self.forget_record(batch, tenant, (record, revision), head)?,
                (Err(_), Whose::Named(_)) => {}
            }
        }
        pieces.into_iter().for_each(|(key, _)| batch.delete(key));
        Ok(())
    }

    /// Has `batch` remove what finds a revision, and what counts it.
    fn forget_record(
        &self,
        batch: &mut Batch,
        tenant: TenantId,
        (record, revision): (RecordId, Revision),
        head: &Head,
    ) -> Result<(), VaultError> {
        let counted = i64::try_from(head.stored_bytes).unwrap_or(i64::MAX);
        batch.add(rows::usage(tenant, rows::Counter::ContentBytes), -counted);
        let left = match self.newest_but(tenant, record, revision) {
            Ok(left) => left.map(|(_, head)| head),
            // What finds it may find the one that is left, too.
            Err(error) if error.is_damage() => return Ok(()),
            Err(error) => return Err(error),
        };
        let finds_it = |by: &BlindIndex| left.as_ref().is_some_and(|left| left.found_by().any(|other| other == *by));
        for by in head.found_by().filter(|by| !finds_it(by)) {
            batch.delete(rows::index(tenant, by, record));
        }
        if left.is_none() {
            batch.add(rows::usage(tenant, rows::Counter::Records), -1);
            let upload = rows::upload(tenant, record);
            // One that was planted is refused by the sweep, and reported.
            if self.db.get(&upload)?.is_some_and(|value| self.jobs.open(&upload, &value).is_some()) {
                batch.delete(upload);
            }
        }
        Ok(())
    }
}

/// Whose a record is that is to be removed.
enum Whose {
    /// A job of ours names the record.
    Named(TenantId),
    /// It was found under the secrets of a customer who is gone. Nobody vouches for what stands there: the record must name her, too.
    Found(TenantId, Handle),
}

impl Whose {
    fn tenant(&self) -> TenantId {
        match self {
            Self::Named(tenant) | Self::Found(tenant, _) => *tenant,
        }
    }
}
