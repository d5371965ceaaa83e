//! The keys of what is counted of those who read, by day.

use super::{Kind, key, span_of};
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

/// The day in the key of either.
pub fn parse_day(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(17..21)?.try_into().ok()?))
}
