//! The layout of the database: one table of what stands under which key. All keys are a byte for the kind and ids of fixed length;
//! nothing in a key is personal.
//!
//! | kind | key after it | value |
//! |---|---|---|
//! | format | | version of the layout |
//! | root | | epoch, root key id, wrapped top key |
//! | page | node id | a sealed page of the key tree |
//! | page digest | node id | the hash of a page of the key tree |
//! | deciding | | what ties the control rows to the ledger |
//! | position | | the number of the last group, and which run of a service wrote it |
//! | record | tenant, record, revision, piece | header, sealed metadata, sealed content, in pieces |
//! | secret | handle, record, revision | a record secret wrapped under the customer key, or under that of its segment |
//! | segment | handle, first record | the key of a customer's secrets from that record on, wrapped under the customer key |
//! | profile | handle | the sealed customer id |
//! | upload | tenant, record | an upload in progress |
//! | assignment | handle, blind index | who works on a case of the customer, sealed |
//! | glass | handle, blind index | who broke the glass for the customer, sealed |
//! | index | tenant, blind index, record | finds records by case or agent |
//! | request | tenant, blind index | the record that a request stored, sealed |
//! | tombstone | tenant, pseudonym | the fence that keeps an erased customer erased |
//! | erasing | random id | an erasure that is asked for and not yet carried out |
//! | reclaim | handle | rows and objects to remove |
//! | reclaim record | record, or record and revision | rows and objects of one record, or of one revision, to remove |
//! | erasures | tenant, five minutes | how many were asked for in these |
//! | reclaim pages | tenant, number | pages of an erased tenant to remove |
//! | refused job | the key of a job | the job, which was not carried out |
//! | tenant erasure | tenant | that the erasure of a tenant was asked for, or that it is erased |
//! | duty | receipt | a receipt that is owed |
//! | receipt | tenant, receipt | the position of its entry in the ledger |
//! | erasure request | tenant, blind index | what answers a repeat, sealed under an answer key and the request's id |
//! | token | token id | a sealed token |
//! | token of | tenant, token id | finds a tenant's tokens |
//! | principal | tenant, blind index | a sealed principal |
//! | tenant | tenant, piece | a sealed tenant, in pieces |
//! | usage | tenant, which | a counter |
//! | seen | tenant, day, alias, handle | that a principal read something of a customer on that day |
//! | reads | tenant, day, alias | how often a principal read something on that day |
//! | erased by | tenant, day, alias | how many erasures a principal asked for on that day |
//! | approved | tenant, alias, number | how many erasures an approval was used for |
//! | approval | tenant, alias, number | what a principal may do beyond its ceilings, sealed; it is worth something once it is given |
//! | ledger | position | an entry |
//! | log key | | the position of the entry that names the key that signs the log |
//! | subtree | level, index | the hash of a complete subtree over the ledger |

mod insiders;
mod jobs;
mod key_tree;
mod kinds;

pub use insiders::{
    approval, approvals, approvals_of, approved, erased_by, erasures, erasures_of, parse_approval, parse_day,
    parse_seen, reads, seen, seen_by,
};
pub use jobs::{
    parse_reclaim_pages, parse_reclaim_record, reclaim, reclaim_pages, reclaim_pages_of, reclaim_record, refused_job,
};
pub(super) use key_tree::waits_for_mirrors;
pub(crate) use key_tree::{CONTROL, MANY};
pub use key_tree::{page, page_digest, parse_page};

use crate::domain::ids::{BlindIndex, Handle, Pseudonym, ReceiptId, RecordId, Revision, TenantId, TokenId};

/// The kind of a row: the first byte of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Version of the layout.
    Format = 0x01,
    /// The root of the key tree.
    Root = 0x02,
    /// A page of the key tree.
    Page = 0x03,
    /// Where the database stands.
    Position = 0x04,
    /// What ties the control rows to the ledger.
    Deciding = 0x05,
    /// The hash of a page of the key tree.
    PageDigest = 0x06,
    /// A piece of a record.
    Record = 0x10,
    /// A wrapped record secret.
    Secret = 0x11,
    /// A customer's profile.
    Profile = 0x12,
    /// An upload in progress.
    Upload = 0x13,
    /// The key of a segment of a customer's secrets.
    Segment = 0x14,
    /// Who works on a customer's case.
    Assignment = 0x15,
    /// Who broke the glass for a customer.
    Glass = 0x16,
    /// Finds records.
    Index = 0x20,
    /// A request that stored a record.
    Request = 0x30,
    /// An erased customer's fence.
    Tombstone = 0x40,
    /// An erasure not yet carried out.
    Erasing = 0x41,
    /// Rows and objects to remove.
    Reclaim = 0x42,
    /// A receipt that is owed.
    Duty = 0x43,
    /// A receipt.
    Receipt = 0x44,
    /// The request of an erasure.
    ErasureRequest = 0x45,
    /// Rows and objects of one record to remove.
    ReclaimRecord = 0x46,
    /// How many erasures were asked for.
    Erasures = 0x47,
    /// Pages of an erased tenant to remove.
    ReclaimPages = 0x48,
    /// The erasure of a tenant.
    TenantErasure = 0x49,
    /// A job that was refused.
    RefusedJob = 0x4a,
    /// The ledger.
    Ledger = 0x50,
    /// The hash of a complete subtree over the ledger.
    Subtree = 0x51,
    /// Finds the key that signs the log.
    LogKey = 0x52,
    /// A token.
    Token = 0x60,
    /// A principal.
    Principal = 0x61,
    /// A tenant.
    Tenant = 0x62,
    /// What a tenant uses.
    Usage = 0x63,
    /// Finds a tenant's tokens.
    TokenOf = 0x64,
    /// Whose records a principal read on a day.
    Seen = 0x65,
    /// How often a principal read on a day.
    Reads = 0x66,
    /// How many erasures a principal asked for on a day.
    ErasedBy = 0x67,
    /// What a principal may do beyond its ceilings.
    Approval = 0x68,
    /// How many erasures an approval was used for.
    Approved = 0x69,
}

/// Rows of content and what finds it. A mirror of keys goes without them.
pub const CONTENT: [Kind; 3] = [Kind::Record, Kind::Upload, Kind::Index];

/// A counter of what a tenant uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    /// Bytes of sealed content.
    ContentBytes = 1,
    /// Records.
    Records = 2,
}

fn key(kind: Kind, parts: &[&[u8]]) -> Vec<u8> {
    let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut key = Vec::with_capacity(length);
    key.push(kind as u8);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// The keys that begin with `prefix`, as a span: from the first, up to but not including the second.
pub fn span_of(prefix: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.clone();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    (prefix, end)
}

/// All rows of a kind, as a span.
pub fn all(kind: Kind) -> (Vec<u8>, Vec<u8>) {
    span_of(vec![kind as u8])
}

/// The least key behind `key`.
pub fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// The version of the layout.
pub fn format() -> Vec<u8> {
    key(Kind::Format, &[])
}

/// The root of the key tree.
pub fn root() -> Vec<u8> {
    key(Kind::Root, &[])
}

/// Where the database stands.
pub fn position() -> Vec<u8> {
    key(Kind::Position, &[])
}

/// What ties the control rows to the ledger.
pub fn deciding() -> Vec<u8> {
    key(Kind::Deciding, &[])
}

/// A piece of a record.
pub fn record_piece(tenant: TenantId, record: RecordId, revision: Revision, piece: u16) -> Vec<u8> {
    key(Kind::Record, &[&tenant.0, record.as_bytes(), &revision.0.to_be_bytes(), &piece.to_be_bytes()])
}

/// All pieces of all revisions of a record.
pub fn record_span(tenant: TenantId, record: RecordId) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Record, &[&tenant.0, record.as_bytes()]))
}

/// All pieces of one revision of a record.
pub fn revision_span(tenant: TenantId, record: RecordId, revision: Revision) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Record, &[&tenant.0, record.as_bytes(), &revision.0.to_be_bytes()]))
}

/// All records of a tenant.
pub fn tenant_records(tenant: TenantId) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Record, &[&tenant.0]))
}

/// The record, revision and piece in the key of a record's piece.
pub fn parse_record_piece(key: &[u8]) -> Option<(RecordId, Revision, u16)> {
    let rest = key.get(17..)?;
    let record = RecordId::from_bytes(rest.get(..16)?.try_into().ok()?);
    let revision = Revision(u32::from_be_bytes(rest.get(16..20)?.try_into().ok()?));
    let piece = u16::from_be_bytes(rest.get(20..)?.try_into().ok()?);
    Some((record, revision, piece))
}

/// A wrapped record secret.
pub fn secret(handle: Handle, record: RecordId, revision: Revision) -> Vec<u8> {
    key(Kind::Secret, &[&handle.0, record.as_bytes(), &revision.0.to_be_bytes()])
}

/// All secrets of a customer.
pub fn customer_secrets(handle: Handle) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Secret, &[&handle.0]))
}

/// A customer's secrets from a record on.
pub fn customer_secrets_from(handle: Handle, first: RecordId) -> (Vec<u8>, Vec<u8>) {
    (key(Kind::Secret, &[&handle.0, first.as_bytes()]), customer_secrets(handle).1)
}

/// All secrets of a record.
pub fn record_secrets(handle: Handle, record: RecordId) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Secret, &[&handle.0, record.as_bytes()]))
}

/// The key of a customer's secrets from a record on.
pub fn segment(handle: Handle, first: RecordId) -> Vec<u8> {
    key(Kind::Segment, &[&handle.0, first.as_bytes()])
}

/// All segments of a customer.
pub fn segments(handle: Handle) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Segment, &[&handle.0]))
}

/// The first record in the key of a segment.
pub fn parse_segment(key: &[u8]) -> Option<RecordId> {
    Some(RecordId::from_bytes(key.get(17..)?.try_into().ok()?))
}

/// The record and revision in the key of a secret.
pub fn parse_secret(key: &[u8]) -> Option<(Handle, RecordId, Revision)> {
    let handle = Handle(key.get(1..17)?.try_into().ok()?);
    let record = RecordId::from_bytes(key.get(17..33)?.try_into().ok()?);
    let revision = Revision(u32::from_be_bytes(key.get(33..)?.try_into().ok()?));
    Some((handle, record, revision))
}

/// Who works on a case of a customer.
pub fn assignment(handle: Handle, by: BlindIndex) -> Vec<u8> {
    key(Kind::Assignment, &[&handle.0, &by.0])
}

/// All who work on cases of a customer.
pub fn assignments(handle: Handle) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Assignment, &[&handle.0]))
}

/// Who broke the glass for a customer.
pub fn glass(handle: Handle, by: BlindIndex) -> Vec<u8> {
    key(Kind::Glass, &[&handle.0, &by.0])
}

/// All who broke the glass for a customer.
pub fn glasses(handle: Handle) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Glass, &[&handle.0]))
}

/// A customer's profile.
pub fn profile(handle: Handle) -> Vec<u8> {
    key(Kind::Profile, &[&handle.0])
}

/// An upload in progress.
pub fn upload(tenant: TenantId, record: RecordId) -> Vec<u8> {
    key(Kind::Upload, &[&tenant.0, record.as_bytes()])
}

/// The tenant and record in the key of an upload.
pub fn parse_upload(key: &[u8]) -> Option<(TenantId, RecordId)> {
    let tenant = TenantId(key.get(1..17)?.try_into().ok()?);
    Some((tenant, RecordId::from_bytes(key.get(17..)?.try_into().ok()?)))
}

/// Finds a record by something that was blinded.
pub fn index(tenant: TenantId, by: BlindIndex, record: RecordId) -> Vec<u8> {
    key(Kind::Index, &[&tenant.0, &by.0, record.as_bytes()])
}

/// All records that are found by something.
pub fn index_span(tenant: TenantId, by: BlindIndex) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Index, &[&tenant.0, &by.0]))
}

/// The record in the key of an index row.
pub fn parse_index(key: &[u8]) -> Option<RecordId> {
    Some(RecordId::from_bytes(key.get(33..)?.try_into().ok()?))
}

/// A request that stored a record.
pub fn request(tenant: TenantId, request: BlindIndex) -> Vec<u8> {
    key(Kind::Request, &[&tenant.0, &request.0])
}

/// An erased customer's fence.
pub fn tombstone(tenant: TenantId, pseudonym: Pseudonym) -> Vec<u8> {
    key(Kind::Tombstone, &[&tenant.0, &pseudonym.0])
}

/// An erasure not yet carried out.
pub fn erasing(id: [u8; 16]) -> Vec<u8> {
    key(Kind::Erasing, &[&id])
}

/// The erasure of a tenant.
pub fn tenant_erasure(tenant: TenantId) -> Vec<u8> {
    key(Kind::TenantErasure, &[&tenant.0])
}

/// All rows of a kind that stand under a tenant.
pub fn of_tenant(kind: Kind, tenant: TenantId) -> (Vec<u8>, Vec<u8>) {
    span_of(key(kind, &[&tenant.0]))
}

/// The handle in the key of a profile.
pub fn parse_profile(key: &[u8]) -> Option<Handle> {
    Some(Handle(key.get(1..)?.try_into().ok()?))
}

/// A receipt that is owed.
pub fn duty(receipt: ReceiptId) -> Vec<u8> {
    key(Kind::Duty, &[&receipt.0])
}

/// A receipt.
pub fn receipt(tenant: TenantId, receipt: ReceiptId) -> Vec<u8> {
    key(Kind::Receipt, &[&tenant.0, &receipt.0])
}

/// All receipts of a tenant.
pub fn receipts(tenant: TenantId) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Receipt, &[&tenant.0]))
}

/// The receipt in the key of its row.
pub fn parse_receipt(key: &[u8]) -> Option<ReceiptId> {
    Some(ReceiptId(key.get(17..)?.try_into().ok()?))
}

/// The request of an erasure.
pub fn erasure_request(tenant: TenantId, request: BlindIndex) -> Vec<u8> {
    key(Kind::ErasureRequest, &[&tenant.0, &request.0])
}

/// Finds the key that signs the log.
pub fn log_key() -> Vec<u8> {
    key(Kind::LogKey, &[])
}

/// A token.
pub fn token(token: TokenId) -> Vec<u8> {
    key(Kind::Token, &[&token.0])
}

/// Finds a token of a tenant.
pub fn token_of(tenant: TenantId, token: TokenId) -> Vec<u8> {
    key(Kind::TokenOf, &[&tenant.0, &token.0])
}

/// All tokens of a tenant.
pub fn tokens_of(tenant: TenantId) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::TokenOf, &[&tenant.0]))
}

/// The token in the key of a row that finds it.
pub fn parse_token_of(key: &[u8]) -> Option<TokenId> {
    Some(TokenId(key.get(17..)?.try_into().ok()?))
}

/// A principal.
pub fn principal(tenant: TenantId, name: BlindIndex) -> Vec<u8> {
    key(Kind::Principal, &[&tenant.0, &name.0])
}

/// All principals of a tenant.
pub fn principals(tenant: TenantId) -> (Vec<u8>, Vec<u8>) {
    span_of(key(Kind::Principal, &[&tenant.0]))
}

/// A piece of a tenant's sealed settings.
pub fn tenant_piece(tenant: TenantId, piece: u8) -> Vec<u8> {
    key(Kind::Tenant, &[&tenant.0, &[piece]])
}

/// The tenant and piece in the key of a tenant's row.
pub fn parse_tenant_piece(key: &[u8]) -> Option<(TenantId, u8)> {
    Some((TenantId(key.get(1..17)?.try_into().ok()?), *key.get(17)?))
}

/// What a tenant uses.
pub fn usage(tenant: TenantId, counter: Counter) -> Vec<u8> {
    key(Kind::Usage, &[&tenant.0, &[counter as u8]])
}

/// The hash of the `index`-th subtree with 2^`level` entries.
pub fn subtree(level: u8, index: u64) -> Vec<u8> {
    key(Kind::Subtree, &[&[level], &index.to_be_bytes()])
}

/// The position in the key of an entry of the ledger.
pub fn parse_ledger(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

/// An entry of the ledger.
pub fn ledger(position: u64) -> Vec<u8> {
    key(Kind::Ledger, &[&position.to_be_bytes()])
}
