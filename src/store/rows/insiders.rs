//! The keys of what is counted of those who read and erase, by day; and of what lets them do more.

use super::{Kind, key, span_of};
use crate::domain::approval::ApprovalId;
use crate::domain::ids::{BlindIndex, Handle, TenantId};

/// That a principal read something of a customer on a day, which are counted from 1970 on.
pub fn seen(tenant: TenantId, day: u32, alias: BlindIndex, handle: Handle) -> Vec<u8> {
    key(Kind::Seen, &[&tenant.0, &day.to_be_bytes(), &alias.0, &handle.0])
}

/// All customers of whom a principal read something on a day.
pub fn seen_by(tenant: TenantId, day: u32, alias: BlindIndex) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Seen, &[&tenant.0, &day.to_be_bytes(), &alias.0]))
}

/// The customer in the key of such a row.
pub fn parse_seen(key: &[u8]) -> Option<Handle> {
    Some(Handle(key.get(37..)?.try_into().ok()?))
}

/// How often a principal read something on a day.
pub fn reads(tenant: TenantId, day: u32, alias: BlindIndex) -> Vec<u8> {
    key(Kind::Reads, &[&tenant.0, &day.to_be_bytes(), &alias.0])
}

/// How many erasures a principal asked for on a day.
pub fn erased_by(tenant: TenantId, day: u32, alias: BlindIndex) -> Vec<u8> {
    key(Kind::ErasedBy, &[&tenant.0, &day.to_be_bytes(), &alias.0])
}

/// The day in the key of each of these.
pub fn parse_day(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(17..21)?.try_into().ok()?))
}

/// What a principal may do beyond its ceilings.
pub fn approval(tenant: TenantId, id: ApprovalId) -> Vec<u8> {
    key(Kind::Approval, &[&tenant.0, &id.of.0, &id.number])
}

/// How many erasures such an approval was used for.
pub fn approved(tenant: TenantId, id: ApprovalId) -> Vec<u8> {
    key(Kind::Approved, &[&tenant.0, &id.of.0, &id.number])
}

/// All that a principal has asked for.
pub fn approvals_of(tenant: TenantId, alias: BlindIndex) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Approval, &[&tenant.0, &alias.0]))
}

/// All that was asked for in a tenant.
pub fn approvals(tenant: TenantId) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Approval, &[&tenant.0]))
}

/// The tenant and the id in the key of such a row.
pub fn parse_approval(key: &[u8]) -> Option<(TenantId, ApprovalId)> {
    let tenant = TenantId(key.get(1..17)?.try_into().ok()?);
    let of = BlindIndex(key.get(17..33)?.try_into().ok()?);
    Some((tenant, ApprovalId { of, number: key.get(33..)?.try_into().ok()? }))
}

/// How many erasures a tenant asked for in five minutes, which are counted from 1970 on.
pub fn erasures(tenant: TenantId, five_minutes: u64) -> Vec<u8> {
    key(Kind::Erasures, &[&tenant.0, &five_minutes.to_be_bytes()])
}

/// All such counts of a tenant.
pub fn erasures_of(tenant: TenantId) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Erasures, &[&tenant.0]))
}
