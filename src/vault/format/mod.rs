//! The stored formats of the vault, written by hand, each with a version. A newer version is refused with words.
//!
//! Every sealed thing is sealed under a key derived for one use ([`use_key`]) from one secret, in one place.

mod approval;
mod content;
mod grant;
mod head;
mod layout;
mod metadata;
mod people;
mod request;
mod small;

pub(super) use approval::{ApprovalRow, Given};
pub(super) use content::{Manifest, Part, decode_transcript, encode_transcript, text_bytes};
pub(super) use grant::{GrantRow, Term, decode_words, encode_words};
pub(super) use head::{CaseMark, ContentForm, Head};
pub(super) use layout::{Layout, decode_format, encode_format};
pub(super) use metadata::Metadata;
pub(super) use people::{decode_principal, decode_tenant, decode_token, encode_principal, encode_tenant, encode_token};
pub(super) use request::{
    ErasureAnswer, ErasureRequestRow, PartAnswer, RequestRow, RequestRowInClear, SealedAnswer, SealedDay, StoredRecord,
};
pub use small::Opening;
pub(super) use small::{
    DutyRow, ErasingRow, ErasingWhat, IndexEntry, Pending, ReclaimPagesRow, ReclaimRecordRow, ReclaimRow,
    TenantErasureRow, TenantErasureState, UploadRow, decode_profile, encode_profile, encode_tombstone,
};

use crate::crypto::kdf;
use crate::crypto::secret::Key;
use crate::domain::codec::Writer;
use crate::domain::ids::{Handle, RecordId, Revision, TenantId};

/// Where a secret belongs: the context of everything that is sealed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub tenant: TenantId,
    pub handle: Handle,
    pub record: RecordId,
    pub revision: Revision,
}

/// For what a key derived from a record secret is used.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    Metadata,
    Content,
    Manifest,
    Part,
    Profile,
    Index,
    Pending,
    Request,
    ErasureAnswer,
    Grant,
    Case,
}

impl Use {
    pub fn label(self) -> &'static str {
        match self {
            Self::Metadata => "oubliette metadata",
            Self::Content => "oubliette content",
            Self::Manifest => "oubliette manifest",
            Self::Part => "oubliette part",
            Self::Profile => "oubliette profile",
            Self::Index => "oubliette index",
            Self::Pending => "oubliette pending",
            Self::Request => "oubliette request",
            Self::ErasureAnswer => "oubliette erasure answer",
            Self::Grant => "oubliette grant",
            Self::Case => "oubliette case",
        }
    }
}

/// The key for one use: HKDF of the secret, with tenant, handle, record and revision in the info.
pub(super) fn use_key(secret: &Key, r#use: Use, place: &Place) -> Key {
    let parts: [&[u8]; 4] =
        [&place.tenant.0, &place.handle.0, place.record.as_bytes(), &place.revision.0.to_be_bytes()];
    kdf::derive(secret, r#use.label(), &parts)
}

/// What a wrapped record secret is bound to.
pub(super) fn secret_context(place: &Place) -> Vec<u8> {
    let context = Writer::default().text("oubliette secret").fixed(&place.tenant.0).fixed(&place.handle.0);
    context.fixed(place.record.as_bytes()).u32(place.revision.0).finish().to_vec()
}

/// What the wrapped key of a segment of a customer's secrets is bound to.
pub(super) fn segment_context(tenant: TenantId, handle: Handle, first: RecordId) -> Vec<u8> {
    let context = Writer::default().text("oubliette segment").fixed(&tenant.0).fixed(&handle.0);
    context.fixed(first.as_bytes()).finish().to_vec()
}
