//! Keys of rows that have other rows and objects removed.

use super::{Kind, key, span_of};
use crate::domain::ids::{Handle, RecordId, Revision, TenantId};

/// Rows and objects of a handle to remove.
pub fn reclaim(handle: Handle) -> Vec<u8> {
    key(Kind::Reclaim, &[&handle.0])
}

/// Rows and objects of one record to remove, or of one revision of it.
pub fn reclaim_record(record: RecordId, revision: Option<Revision>) -> Vec<u8> {
    match revision {
        None => key(Kind::ReclaimRecord, &[record.as_bytes()]),
        Some(revision) => key(Kind::ReclaimRecord, &[record.as_bytes(), &revision.0.to_be_bytes()]),
    }
}

/// The record and the revision in the key of such a job.
pub fn parse_reclaim_record(key: &[u8]) -> Option<(RecordId, Option<Revision>)> {
    let record = RecordId::from_bytes(key.get(1..17)?.try_into().ok()?);
    match key.get(17..)? {
        [] => Some((record, None)),
        revision => Some((record, Some(Revision(u32::from_be_bytes(revision.try_into().ok()?))))),
    }
}

/// Some pages of an erased tenant to remove.
pub fn reclaim_pages(tenant: TenantId, number: u32) -> Vec<u8> {
    key(Kind::ReclaimPages, &[&tenant.0, &number.to_be_bytes()])
}

/// All pages of an erased tenant to remove.
pub fn reclaim_pages_of(tenant: TenantId) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::ReclaimPages, &[&tenant.0]))
}

/// A job that was refused; `job` is the key under which it stood.
pub fn refused_job(job: &[u8]) -> Vec<u8> {
    key(Kind::RefusedJob, &[job])
}

/// The tenant in the key of a row of pages to remove.
pub fn parse_reclaim_pages(key: &[u8]) -> Option<TenantId> {
    Some(TenantId(key.get(1..17)?.try_into().ok()?))
}
