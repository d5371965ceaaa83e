//! The small rows: fences, duties, receipts, requests, uploads, index entries, profiles.

use zeroize::Zeroizing;

use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::erasure::{Part, Subject};
use crate::domain::ids::{
    BlindIndex, CustomerId, Handle, Pseudonym, ReceiptId, RecordId, RequestId, Revision, TenantId,
};
use crate::domain::record::RecordKind;

const VERSION: u8 = 1;
/// Since this version, the row of a job ends with a tag ([`Jobs`](super::super::jobs::Jobs)), which is checked before the rest is read.
const JOB_VERSION: u8 = 2;

fn begin<'a>(what: &'static str, stored: &'a [u8]) -> Result<Reader<'a>, Decode> {
    Reader::versioned(what, stored, VERSION).map(|(reader, _)| reader)
}

/// The same for a job without its tag. One of before jobs had tags is none.
fn begin_job<'a>(what: &'static str, body: &'a [u8]) -> Result<Reader<'a>, Decode> {
    match Reader::versioned(what, body, JOB_VERSION)? {
        (reader, JOB_VERSION) => Ok(reader),
        (reader, _) => Err(reader.damaged()),
    }
}

fn instant(r: &mut Reader<'_>) -> Result<Timestamp, Decode> {
    let damaged = r.damaged();
    Timestamp::from_ms(r.u64()?).ok_or(damaged)
}

/// The profile of a customer; stored sealed.
pub(in super::super) fn encode_profile(customer: &CustomerId) -> Zeroizing<Vec<u8>> {
    Writer::versioned(VERSION).text(customer.as_str()).finish()
}

pub(in super::super) fn decode_profile(plain: &[u8]) -> Result<CustomerId, Decode> {
    let mut r = begin("a customer's profile", plain)?;
    let customer = CustomerId::parse(r.text()?).map_err(|_| r.damaged())?;
    r.end()?;
    Ok(customer)
}

/// What a row that finds a record says about it; stored sealed behind the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct IndexEntry {
    pub kind: RecordKind,
    pub revision: Revision,
    pub started: Timestamp,
}

impl IndexEntry {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Writer::versioned(VERSION).u8(self.kind as u8).u32(self.revision.0).u64(self.started.as_ms()).finish()
    }
}

/// An upload in progress: whose parts to remove if it never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct UploadRow {
    pub handle: Handle,
    pub created: Timestamp,
}

impl UploadRow {
    pub fn encode(&self) -> Vec<u8> {
        Writer::versioned(JOB_VERSION).fixed(&self.handle.0).u64(self.created.as_ms()).finish().to_vec()
    }

    pub fn decode(body: &[u8]) -> Result<Self, Decode> {
        let mut r = begin_job("an upload", body)?;
        let row = Self { handle: Handle(r.array()?), created: instant(&mut r)? };
        r.end()?;
        Ok(row)
    }
}

/// The fence of an erased customer, as it is sealed under the tenant's settings key. It says nothing but that it is one: no time, no handle,
/// no receipt. So who has today's keys and a person's id gets to the tombstone, and no further.
pub(in super::super) fn encode_tombstone() -> Zeroizing<Vec<u8>> {
    Writer::versioned(VERSION).text("erased").finish()
}

/// What an erasure is about, as far as it stands in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum ErasingWhat {
    /// The pseudonym, as in the tombstone; no handle.
    Customer(Pseudonym),
    /// A record or a revision of one, and the handle that its own rows show.
    Part(Handle, Part),
    /// A whole tenant.
    Tenant(TenantId),
}

impl ErasingWhat {
    /// What sort of thing it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Customer(_) => Subject::Customer,
            Self::Part(_, Part::Record(_)) => Subject::Record,
            Self::Part(_, Part::Revision(..)) => Subject::Revision,
            Self::Tenant(_) => Subject::Tenant,
        }
    }
}

/// An erasure that is asked for. In the clear only what other rows show too; the rest is sealed under a key that ends with what is
/// erased.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct ErasingRow {
    pub tenant: TenantId,
    pub what: ErasingWhat,
    pub sealed: Vec<u8>,
}

impl ErasingRow {
    pub fn encode(&self) -> Vec<u8> {
        let row = Writer::versioned(VERSION).fixed(&self.tenant.0);
        let row = match &self.what {
            ErasingWhat::Customer(pseudonym) => row.u8(Subject::Customer as u8).fixed(&pseudonym.0),
            ErasingWhat::Part(handle, Part::Record(record)) => {
                row.u8(Subject::Record as u8).fixed(&handle.0).fixed(record.as_bytes())
            }
            ErasingWhat::Part(handle, Part::Revision(record, revision)) => {
                row.u8(Subject::Revision as u8).fixed(&handle.0).fixed(record.as_bytes()).u32(revision.0)
            }
            ErasingWhat::Tenant(tenant) => row.u8(Subject::Tenant as u8).fixed(&tenant.0),
        };
        row.framed(&self.sealed).finish().to_vec()
    }

    pub fn decode(stored: &[u8]) -> Result<Self, Decode> {
        let mut r = begin("a pending erasure", stored)?;
        let row = Self {
            tenant: TenantId(r.array()?),
            what: match Subject::from_code(r.u8()?) {
                Some(Subject::Customer) => ErasingWhat::Customer(Pseudonym(r.array()?)),
                Some(Subject::Record) => {
                    ErasingWhat::Part(Handle(r.array()?), Part::Record(RecordId::from_bytes(r.array()?)))
                }
                Some(Subject::Revision) => ErasingWhat::Part(
                    Handle(r.array()?),
                    Part::Revision(RecordId::from_bytes(r.array()?), Revision(r.u32()?)),
                ),
                Some(Subject::Tenant) => ErasingWhat::Tenant(TenantId(r.array()?)),
                None => return Err(r.damaged()),
            },
            sealed: r.framed()?.to_vec(),
        };
        r.end()?;
        Ok(row)
    }
}

/// Rows and objects of one record, or of one revision, that are to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct ReclaimRecordRow {
    pub tenant: TenantId,
    pub handle: Handle,
}

impl ReclaimRecordRow {
    pub fn encode(&self) -> Vec<u8> {
        Writer::versioned(JOB_VERSION).fixed(&self.tenant.0).fixed(&self.handle.0).finish().to_vec()
    }

    pub fn decode(body: &[u8]) -> Result<Self, Decode> {
        let mut r = begin_job("a reclaim job", body)?;
        let row = Self { tenant: TenantId(r.array()?), handle: Handle(r.array()?) };
        r.end()?;
        Ok(row)
    }
}

/// Rows and objects of a handle that are to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct ReclaimRow {
    pub tenant: TenantId,
}

impl ReclaimRow {
    pub fn encode(&self) -> Vec<u8> {
        Writer::versioned(JOB_VERSION).fixed(&self.tenant.0).finish().to_vec()
    }

    pub fn decode(body: &[u8]) -> Result<Self, Decode> {
        let mut r = begin_job("a reclaim job", body)?;
        let row = Self { tenant: TenantId(r.array()?) };
        r.end()?;
        Ok(row)
    }
}

/// Pages of an erased tenant that are to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct ReclaimPagesRow {
    pub pages: Vec<[u8; 16]>,
}

impl ReclaimPagesRow {
    pub fn encode(&self) -> Vec<u8> {
        Writer::versioned(JOB_VERSION).list(self.pages.iter(), |w, page| w.fixed(page)).finish().to_vec()
    }

    pub fn decode(body: &[u8]) -> Result<Self, Decode> {
        let mut r = begin_job("pages to remove", body)?;
        let pages = r.list(|r| r.array())?;
        r.end()?;
        Ok(Self { pages })
    }
}

/// A receipt that is owed since an epoch was written, until the old root key is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct DutyRow {
    pub tenant: TenantId,
    pub subject: Subject,
    pub commitment: [u8; 32],
    /// Who asked.
    pub caller: BlindIndex,
    /// Who approved it, where a second person had to.
    pub approved_by: Option<BlindIndex>,
    pub epoch: u64,
}

impl DutyRow {
    pub fn encode(&self) -> Vec<u8> {
        let row = Writer::versioned(VERSION).fixed(&self.tenant.0).u8(self.subject as u8).fixed(&self.commitment);
        let row = row.fixed(&self.caller.0).option(self.approved_by, |w, by| w.fixed(&by.0));
        row.u64(self.epoch).finish().to_vec()
    }

    pub fn decode(stored: &[u8]) -> Result<Self, Decode> {
        let mut r = begin("a receipt that is owed", stored)?;
        let damaged = r.damaged();
        let row = Self {
            tenant: TenantId(r.array()?),
            subject: Subject::from_code(r.u8()?).ok_or(damaged)?,
            commitment: r.array()?,
            caller: BlindIndex(r.array()?),
            approved_by: r.option(|r| Ok(BlindIndex(r.array()?)))?,
            epoch: r.u64()?,
        };
        r.end()?;
        Ok(row)
    }
}

/// Since this version, the erasure of a tenant names the tenant in which it was asked for, and who called for the one who asked.
const TENANT_ERASURE_VERSION: u8 = 2;

/// How far the erasure of a tenant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in super::super) enum TenantErasureState {
    /// Asked for; it waits for the delay and for a second person.
    Requested = 1,
    /// Erased; its rows are still to be removed.
    Erased = 2,
    /// Erased, and nothing is left. The row stays, so that the name is never given again.
    Gone = 3,
}

/// The erasure of a tenant; stored sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct TenantErasureRow {
    /// Who asked, in which tenant, and who called for that one. The last two are there since version 2.
    pub requested_by: BlindIndex,
    pub requested_in: Option<TenantId>,
    pub actor: Option<BlindIndex>,
    pub not_before: Timestamp,
    pub state: TenantErasureState,
}

impl TenantErasureRow {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let row = Writer::versioned(TENANT_ERASURE_VERSION).fixed(&self.requested_by.0).u64(self.not_before.as_ms());
        let row = row.u8(self.state as u8).option(self.requested_in, |w, tenant| w.fixed(&tenant.0));
        row.option(self.actor, |w, actor| w.fixed(&actor.0)).finish()
    }

    pub fn decode(plain: &[u8]) -> Result<Self, Decode> {
        let (mut r, version) = Reader::versioned("the erasure of a tenant", plain, TENANT_ERASURE_VERSION)?;
        let (requested_by, not_before) = (BlindIndex(r.array()?), instant(&mut r)?);
        let state = match r.u8()? {
            1 => TenantErasureState::Requested,
            2 => TenantErasureState::Erased,
            3 => TenantErasureState::Gone,
            _ => return Err(r.damaged()),
        };
        let (mut requested_in, mut actor) = (None, None);
        if version == TENANT_ERASURE_VERSION {
            requested_in = r.option(|r| Ok(TenantId(r.array()?)))?;
            actor = r.option(|r| Ok(BlindIndex(r.array()?)))?;
        }
        let row = Self { requested_by, requested_in, actor, not_before, state };
        r.end()?;
        Ok(row)
    }
}

/// Opens the commitment of a receipt. Whoever has it can show whom the receipt is about.
pub type Opening = Zeroizing<[u8; 32]>;

/// What is sealed in an [`ErasingRow`].
pub(in super::super) struct Pending {
    /// The customer; of the erasure of a tenant, the tenant's name. `None` for a record whose customer's profile does not open.
    pub customer: Option<CustomerId>,
    pub request: RequestId,
    /// Whether it is one of a list under that request.
    pub is_of_list: bool,
    pub receipt: ReceiptId,
    pub opening: Opening,
    pub caller: BlindIndex,
    /// Who asked for what the caller approved.
    pub requested_by: Option<BlindIndex>,
    /// Who approved what the caller asked for, where a second person had to.
    pub approved_by: Option<BlindIndex>,
}

/// Since this version, a pending erasure names who approved it.
const PENDING_VERSION: u8 = 2;

impl Pending {
    /// Whom the receipt names; empty where that is not known.
    pub fn name(&self) -> &str {
        self.customer.as_ref().map(CustomerId::as_str).unwrap_or_default()
    }

    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let plain = Writer::versioned(PENDING_VERSION).text(self.name()).text(self.request.as_str());
        let plain = plain.u8(u8::from(self.is_of_list));
        let plain = plain.fixed(&self.receipt.0).fixed(&*self.opening).fixed(&self.caller.0);
        let plain = plain.option(self.requested_by, |w, by| w.fixed(&by.0));
        plain.option(self.approved_by, |w, by| w.fixed(&by.0)).finish()
    }

    pub fn decode(plain: &[u8]) -> Result<Self, Decode> {
        let (mut r, version) = Reader::versioned("a pending erasure", plain, PENDING_VERSION)?;
        let by = |r: &mut Reader<'_>| r.option(|r| Ok(BlindIndex(r.array()?)));
        let pending = Self {
            customer: match r.text()? {
                "" => None,
                id => Some(CustomerId::parse(id).map_err(|_| r.damaged())?),
            },
            request: RequestId::parse(r.text()?).map_err(|_| r.damaged())?,
            is_of_list: r.u8()? == 1,
            receipt: ReceiptId(r.array()?),
            opening: Zeroizing::new(r.array()?),
            caller: BlindIndex(r.array()?),
            requested_by: by(&mut r)?,
            approved_by: if version < PENDING_VERSION { None } else { by(&mut r)? },
        };
        r.end()?;
        Ok(pending)
    }
}
