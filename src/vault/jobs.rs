//! Jobs: rows that have other rows and objects removed, here and on every mirror.
//!
//! A job is executed only if two things hold. It carries a tag under a key of the key tree, so that nobody makes one who can only write to the
//! disk. And no key of today opens what it would remove: that is looked up before anything goes, so even a job that is real and comes at the
//! wrong time (an older row, put back) removes nothing that is still needed. A job for which one of the two does not hold is put aside under
//! [`rows::refused_job`] and reported, and changes nothing. A job for which it cannot be told, because something on the way is damaged, stays.
//!
//! The tag's key derives from the system's settings key. It must not end with the customer (the job comes after her) nor with an epoch, and
//! it must come back with a restore: that key stays the same for as long as the vault exists, and every mirror has the pages that hold it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::VaultError;
use super::core::Core;
use super::customer::Customer;
use super::format::{Place, ReclaimPagesRow, ReclaimRecordRow, ReclaimRow, TenantErasureState, UploadRow};
use crate::audit::{AlertSort, Entry, Event, NO_TENANT};
use crate::crypto::hash::same;
use crate::crypto::kdf;
use crate::crypto::pseudonym::{TAG_BYTES, tag};
use crate::crypto::secret::Key;
use crate::domain::clock::Timestamp;
use crate::domain::codec::hex;
use crate::domain::ids::{BlindIndex, Handle, RecordId, Revision, TenantId};
use crate::keys::{SystemKeys, View};
use crate::store::{Batch, MAX_KEY_BYTES, MAX_RANGE_ROWS, MAX_VALUE_BYTES, StoreError, rows};

/// The most refused jobs that are kept; of further ones only the log line stays.
const MAX_REFUSED: usize = 1_024;
const NOT_OURS: &str = "it carries no valid tag: the service did not write it";
const HAS_KEY: &str = "a key of today opens what it would remove";

/// Makes jobs, and tells those of this vault from others.
pub(super) struct Jobs {
    key: Key,
    /// How many were refused since the start.
    refused: AtomicU64,
}

/// What was found out about a job.
pub(super) enum Verdict<T> {
    /// It is ours, and no key opens what it removes.
    Proven(T),
    /// It is not to be executed.
    Refused(&'static str),
    /// It cannot be told now: something that would tell is damaged.
    Unknown(VaultError),
}

/// A record, or one revision of it, whose rows and objects are to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordJob {
    pub tenant: TenantId,
    pub handle: Handle,
    pub record: RecordId,
    pub revision: Option<Revision>,
}

impl Jobs {
    pub fn new(system: &SystemKeys) -> Self {
        Self { key: kdf::derive(&system.settings, "oubliette job", &[]), refused: AtomicU64::new(0) }
    }

    /// The value of a job's row: what it says, and the tag.
    pub fn signed(&self, row: &[u8], mut body: Vec<u8>) -> Vec<u8> {
        let tag = self.tag(row, &body);
        body.extend_from_slice(&tag);
        body
    }

    /// What a job says; `None` if the tag is not ours.
    pub fn open<'a>(&self, row: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
        let (body, found) = value.split_at_checked(value.len().checked_sub(TAG_BYTES)?)?;
        same(&self.tag(row, body), found).then_some(body)
    }

    fn tag(&self, row: &[u8], body: &[u8]) -> [u8; TAG_BYTES] {
        tag(&self.key, "job", &[row, body])
    }

    /// How many jobs were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Core {
    /// Whether a job of ours stands under this key, and is about this customer.
    pub fn has_job(&self, row: &[u8], tenant: TenantId, handle: Handle) -> Result<bool, VaultError> {
        let stored = self.db.get(row)?;
        // Where there is none, a tag is looked at all the same: it takes as long.
        let value = stored.as_deref().unwrap_or(&[0; 1 + 16 + 16 + TAG_BYTES]);
        let Some(body) = self.jobs.open(row, value) else { return Ok(false) };
        let is_about_it = match row.first() {
            Some(kind) if *kind == rows::Kind::Reclaim as u8 => ReclaimRow::decode(body)?.tenant == tenant,
            _ => ReclaimRecordRow::decode(body)? == ReclaimRecordRow { tenant, handle },
        };
        Ok(is_about_it)
    }

    /// Looks at a job that removes what is left of a customer.
    pub fn customer_job(&self, row: &[u8], value: &[u8]) -> Verdict<(TenantId, Handle)> {
        let handle = row.get(1..).and_then(|handle| handle.try_into().ok()).map(Handle);
        let (Some(handle), Some(body)) = (handle, self.jobs.open(row, value)) else {
            return Verdict::Refused(NOT_OURS);
        };
        match ReclaimRow::decode(body) {
            Ok(ReclaimRow { tenant }) => self.keyless(tenant, handle).map((tenant, handle)),
            Err(error) => Verdict::Unknown(error.into()),
        }
    }

    /// Looks at a job that removes what is left of a record or of a revision.
    pub fn record_job(&self, row: &[u8], value: &[u8]) -> Verdict<RecordJob> {
        let (Some((record, revision)), Some(body)) = (rows::parse_reclaim_record(row), self.jobs.open(row, value))
        else {
            return Verdict::Refused(NOT_OURS);
        };
        let ReclaimRecordRow { tenant, handle } = match ReclaimRecordRow::decode(body) {
            Ok(row) => row,
            Err(error) => return Verdict::Unknown(error.into()),
        };
        let job = RecordJob { tenant, handle, record, revision };
        match self.has_secret_that_opens(&job) {
            Ok(true) => Verdict::Refused(HAS_KEY),
            Ok(false) => Verdict::Proven(job),
            Err(error) => Verdict::Unknown(error),
        }
    }

    /// Looks at the row of an upload that no process goes on with.
    pub fn upload_job(&self, row: &[u8], value: &[u8]) -> Verdict<Place> {
        let (Some((tenant, record)), Some(body)) = (rows::parse_upload(row), self.jobs.open(row, value)) else {
            return Verdict::Refused(NOT_OURS);
        };
        let UploadRow { handle, created } = match UploadRow::decode(body) {
            Ok(row) => row,
            Err(error) => return Verdict::Unknown(error.into()),
        };
        let (from, to) = rows::record_span(tenant, record);
        // What stores the record takes the upload's row away in the same batch, and says so in the log. The log counts too: whoever put
        // an old row back may have taken those of the record away.
        let is_stored = match self.db.range(&from, &to, 1) {
            Ok(stored) if stored.is_empty() => self.was_stored(record, created),
            Ok(_) => Ok(true),
            Err(error) => Err(error.into()),
        };
        match is_stored {
            Ok(false) => Verdict::Proven(Place { tenant, handle, record, revision: Revision::FIRST }),
            Ok(true) => Verdict::Refused("the record that it would remove is stored"),
            Err(error) => Verdict::Unknown(error),
        }
    }

    /// Whether the log says that a record was stored, looked for from its end back to a little before `begun`. Clocks that were set back in
    /// between only make the way longer: it ends behind many entries that are older, not at the first.
    fn was_stored(&self, record: RecordId, begun: Timestamp) -> Result<bool, VaultError> {
        let mut end = self.committer.log().size();
        while end > 0 {
            let start = end.saturating_sub(MAX_RANGE_ROWS as u64);
            let some = self.db.range(&rows::ledger(start), &rows::ledger(end), MAX_RANGE_ROWS)?;
            let mut is_older = true;
            for (_, row) in &some {
                let entry = Entry::decode(row).map_err(|_| VaultError::damaged("the ledger"))?;
                if matches!(entry.event, Event::Stored { record: stored, .. } if stored == record) {
                    return Ok(true);
                }
                is_older &= entry.at < begun;
            }
            if is_older {
                return Ok(false);
            }
            end = start;
        }
        Ok(false)
    }

    /// Looks at a job that removes pages of an erased tenant. `reachable`: pages that are in use, of all tenants.
    pub fn pages_job(&self, row: &[u8], value: &[u8], reachable: &HashSet<[u8; 16]>) -> Verdict<Vec<[u8; 16]>> {
        let (Some(_), Some(body)) = (rows::parse_reclaim_pages(row), self.jobs.open(row, value)) else {
            return Verdict::Refused(NOT_OURS);
        };
        match ReclaimPagesRow::decode(body) {
            Ok(ReclaimPagesRow { pages }) if pages.iter().any(|page| reachable.contains(page)) => {
                Verdict::Refused("a page that it would remove is in use")
            }
            Ok(ReclaimPagesRow { pages }) => Verdict::Proven(pages),
            Err(error) => Verdict::Unknown(error.into()),
        }
    }

    /// Whether a customer of a tenant that lives, or is known to be erased, has no key.
    fn keyless(&self, tenant: TenantId, handle: Handle) -> Verdict<()> {
        let look = || {
            if self.tree.tenant(tenant)?.is_some() {
                return Ok(match self.tree.customer_key(tenant, handle)? {
                    Some(_) => Verdict::Refused(HAS_KEY),
                    None => Verdict::Proven(()),
                });
            }
            Ok(match self.tenant_erasure(tenant)?.map(|erasure| erasure.state) {
                Some(TenantErasureState::Erased | TenantErasureState::Gone) => Verdict::Proven(()),
                _ => Verdict::Refused("it names a tenant that there never was"),
            })
        };
        look().unwrap_or_else(Verdict::Unknown)
    }

    /// Whether any secret of a record, or of one revision, opens under a key of today.
    fn has_secret_that_opens(&self, job: &RecordJob) -> Result<bool, VaultError> {
        let customer: Customer = match self.customer(job.tenant, job.handle) {
            Ok(customer) => customer,
            Err(VaultError::NotFound) => return Ok(false),
            Err(error) => return Err(error),
        };
        let (from, to) = rows::record_secrets(job.handle, job.record);
        for (key, _) in self.db.range(&from, &to, MAX_RANGE_ROWS)? {
            let Some((_, record, revision)) = rows::parse_secret(&key) else { continue };
            if job.revision.is_some_and(|only| only != revision) {
                continue;
            }
            match self.secret(&customer, &customer.place(record, revision)) {
                Ok(_) => return Ok(true),
                // What does not open is noise; and what an epoch took away meanwhile is gone.
                Err(error) if error.is_damage() || matches!(error, VaultError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Whether any tenant of today has a key for this handle: for what names no tenant that could be trusted.
    pub fn has_key_anywhere(&self, tenants: &[TenantId], handle: Handle) -> Result<bool, VaultError> {
        for tenant in tenants {
            if self.tree.customer_key(*tenant, handle)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a record may need objects that a mirror has and the data directory has not: a secret of it is there, and no job of ours
    /// is to remove it.
    pub fn needs_objects(&self, handle: Handle, record: RecordId) -> Result<bool, StoreError> {
        let (of_customer, of_record) = (rows::reclaim(handle), rows::reclaim_record(record, None));
        if let Some(value) = self.db.get(&of_customer)?
            && let Verdict::Proven(_) = self.customer_job(&of_customer, &value)
        {
            return Ok(false);
        }
        if let Some(value) = self.db.get(&of_record)?
            && let Verdict::Proven(job) = self.record_job(&of_record, &value)
            && job.handle == handle
        {
            return Ok(false);
        }
        let (from, to) = rows::record_secrets(handle, record);
        Ok(!self.db.range(&from, &to, 1)?.is_empty())
    }

    /// All tenants that have keys.
    pub fn living_tenants(&self) -> Result<Vec<TenantId>, VaultError> {
        let top = self.tree.top();
        Ok(View::new(self.tree.pages(), &top.key).tenants()?)
    }

    /// Puts a job aside that must not be executed, and reports it.
    pub fn refuse_job(&self, row: &[u8], value: &[u8], why: &'static str) -> Result<(), VaultError> {
        tracing::error!(
            row = hex(row),
            why,
            "a row that would have data removed was refused and put aside: somebody or something wrote to the database past the service; keep a copy for whoever examines it"
        );
        self.jobs.refused.fetch_add(1, Ordering::Relaxed);
        if row.len() >= MAX_KEY_BYTES {
            // No batch takes such a key. It stays where it is, and is refused again.
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.require_value(row, value);
        batch.delete(row);
        let (from, to) = rows::all(rows::Kind::RefusedJob);
        if self.db.range(&from, &to, MAX_REFUSED)?.len() < MAX_REFUSED {
            batch.put(rows::refused_job(row), &value[..value.len().min(MAX_VALUE_BYTES)]);
        }
        let event = Event::Alert { sort: AlertSort::JobRefused, about: BlindIndex([0; 16]) };
        let entry = Entry { at: Timestamp::now(), tenant: NO_TENANT, caller: None, event };
        batch.append(entry.encode().to_vec());
        self.committer.commit_blocking(batch)?;
        Ok(())
    }

    /// What to do with a job, if anything. A job that is refused is put aside; one about which nothing can be told stays, and is reported.
    pub fn accepted<T>(&self, row: &[u8], value: &[u8], verdict: Verdict<T>) -> Result<Option<T>, VaultError> {
        match verdict {
            Verdict::Proven(job) => Ok(Some(job)),
            Verdict::Refused(why) => self.refuse_job(row, value, why).map(|()| None),
            Verdict::Unknown(error) if error.is_damage() => {
                self.damage.met("a job", row, &error);
                Ok(None)
            }
            Verdict::Unknown(error) => Err(error),
        }
    }
}

impl<T> Verdict<T> {
    fn map<U>(self, job: U) -> Verdict<U> {
        match self {
            Self::Proven(_) => Verdict::Proven(job),
            Self::Refused(why) => Verdict::Refused(why),
            Self::Unknown(error) => Verdict::Unknown(error),
        }
    }
}
