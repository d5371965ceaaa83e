//! The ledger's entries: who did what to which record, and what came of it.
//!
//! An entry names tenants, customers and records by ids that are random or keyed hashes, and principals by an alias: nothing in it is
//! personal. An entry about an erasure names no customer at all. This room is pure: it writes and reads the bytes of
//! entries. Their order and durability are the committer's work. The bytes of one entry are one leaf of the Merkle tree (RFC 6962) that
//! stands over the ledger, so an entry's bytes never change once stored. [`note`] signs that tree, [`proof`] proves entries of it,
//! [`receipt`] checks the proofs of erasures. [`tile`] lays the whole log out as files, [`verify`] checks such a copy offline, and a
//! [`witness`] cosigns what the log signed, so that it cannot tell another history to somebody else.

mod alert;
mod approved;
pub mod copy;
pub mod cosignature;
mod erased;
pub mod merkle;
pub mod multiset;
pub mod note;
pub mod proof;
pub mod receipt;
pub mod report;
#[cfg(test)]
mod tests;
pub mod tile;
pub mod verify;
pub mod witness;

pub use alert::AlertSort;
use zeroize::Zeroizing;

use crate::crypto::sign::PUBLIC_KEY_BYTES;
use crate::domain::action::Action;
use crate::domain::approval::Approved;
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::erasure::Erased;
use crate::domain::grant::{Granted, Grants};
use crate::domain::ids::{BlindIndex, Handle, ReceiptId, RecordId, Revision, TenantId, TokenId};

/// Since version 2 an entry can name who called for the caller, since version 3 with what; without such, it is written as before.
const VERSION: u8 = 3;
const WHAT: &str = "an entry of the ledger";

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// In which tenant.
    pub tenant: TenantId,
    /// Who; the service itself where absent.
    pub caller: Option<Caller>,
    /// What.
    pub event: Event,
}

/// What stands in front of every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// When.
    pub at: Timestamp,
    /// In which tenant.
    pub tenant: TenantId,
    /// Who.
    pub caller: Option<Caller>,
}

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The keyed hash of the principal's name.
    pub alias: BlindIndex,
    /// What it came with: a token's id, or what stands for an issuer's token.
    pub token: TokenId,
    /// Who called for it: the keyed hash of that one's name.
    pub actor: Option<BlindIndex>,
    /// What that one came with.
    pub actor_token: Option<TokenId>,
}

impl Caller {
    /// Whether it is this one, or this one called for it.
    pub fn is(&self, alias: BlindIndex) -> bool {
        self.alias == alias || self.actor == Some(alias)
    }

    /// Whether it came with this, or whoever called for it.
    pub fn has(&self, token: TokenId) -> bool {
        self.token == token || self.actor_token == Some(token)
    }
}

/// What happened. The first byte of its stored form tells which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A record was stored.
    Stored {
        /// By which operation.
        action: Action,
        /// The customer.
        handle: Handle,
        /// The record.
        record: RecordId,
        /// Its revision.
        revision: Revision,
    },
    /// A record is about to be read.
    Read {
        /// By which operation.
        action: Action,
        /// The customer.
        handle: Handle,
        /// The record.
        record: RecordId,
        /// Its revision.
        revision: Revision,
        /// The place of the purpose in the tenant's list.
        purpose: u8,
        /// What let the caller read beyond a role.
        grants: Grants,
    },
    /// A list of records is about to be given.
    Listed {
        /// The customer, where the list was of one.
        handle: Option<Handle>,
        /// Those that it may show, with their customers: at most [`MAX_SHOWN`], so a long list has several entries. In entries of before the list
        /// was named: how many.
        shown: Shown,
        /// The place of the purpose in the tenant's list.
        purpose: u8,
    },
    /// A call was refused.
    Refused {
        /// Which operation.
        action: Action,
        /// The record that was named.
        record: Option<RecordId>,
    },
    /// Rows that decide have changed; this commits to all of them as they are from then on.
    Deciding {
        /// The commitment.
        commitment: [u8; 32],
    },
    /// An erasure was asked for.
    ErasureAsked {
        /// The receipt that will answer it.
        receipt: ReceiptId,
    },
    /// An erasure is final: the old root key is destroyed and was probed to be gone.
    ErasureFinal(Box<Erased>),
    /// Something was administered.
    Administered {
        /// Which operation.
        action: Action,
        /// The tenant that it was done to.
        subject: TenantId,
        /// The principal that it was done to, or whose token: the keyed hash of its name.
        principal: Option<BlindIndex>,
        /// The roles that a principal has from then on, as bits by their numbers.
        roles: Option<u16>,
    },
    /// A write was repeated, and is about to be answered with the record that it stored before.
    Repeated {
        /// By which operation.
        action: Action,
        /// The customer.
        handle: Handle,
        /// The record.
        record: RecordId,
    },
    /// From here on the log is signed by another key.
    LogKey {
        /// The name under which it signs: always the same.
        origin: String,
        /// The public key.
        public: [u8; PUBLIC_KEY_BYTES],
        /// Where the entry of the key before it stands.
        previous: Option<u64>,
    },
    /// A case was assigned or taken back, or a glass broken.
    Granted {
        /// By which operation.
        action: Action,
        /// What.
        granted: Granted,
    },
    /// The cases of a customer are about to be listed, with who works on them.
    CasesListed {
        /// The customer.
        handle: Handle,
    },
    /// More than one person may do alone was asked for, given, or taken back.
    Approval {
        /// By which operation.
        action: Action,
        /// What.
        approved: Approved,
    },
    /// A policy decides from now on; or one was to, and cannot.
    Policy {
        /// SHA-256 of its text; zeros where it could not be read.
        text_sha256: [u8; 32],
        /// Whether it decides.
        is_accepted: bool,
    },
    /// Calls came without a valid login, within a minute or so: of one reason, from all sources together.
    AuthenticationFailed {
        /// Why, as a word.
        reason: String,
        /// How many.
        count: u32,
        /// From how many sources, of all reasons.
        sources: u32,
    },
    /// Something that somebody should look at.
    Alert {
        /// What.
        sort: AlertSort,
        /// About whom: the keyed hash of the name.
        about: BlindIndex,
    },
    /// The fence of an erased customer was taken away: the person may become a customer again. Of whom, it does not say.
    Readmitted,
    /// A replica of the root key is about to be made, or given up.
    Replica {
        /// Whether it is a new one.
        is_added: bool,
        /// Whether somebody saw the medium of the one that is given up destroyed.
        was_destroyed: bool,
    },
}

/// What a list may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// These records.
    Records(Vec<(Handle, RecordId)>),
    /// So many, which ones is not told.
    Count(u32),
}

/// The tenant of entries that are about none.
pub const NO_TENANT: TenantId = TenantId([0; 16]);

/// The most records that one entry names: an entry stands in one row.
pub const MAX_SHOWN: usize = 100;

impl Entry {
    /// The bytes to store.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let actor = self.caller.and_then(|caller| caller.actor);
        let actor_token = self.caller.and_then(|caller| caller.actor_token);
        let version = if actor_token.is_some() { 3 } else { 1 + u8::from(actor.is_some()) };
        let head = Writer::versioned(version)
            .u64(self.at.as_ms())
            .fixed(&self.tenant.0)
            .option(self.caller, |w, caller| w.fixed(&caller.alias.0).fixed(&caller.token.0));
        let head = if version > 1 { head.option(actor, |w, actor| w.fixed(&actor.0)) } else { head };
        let head = if version > 2 { head.option(actor_token, |w, token| w.fixed(&token.0)) } else { head };
        self.event.encode(head).finish()
    }

    /// What stands in front of every entry, read without the rest; `None` where it cannot be.
    pub fn peek(stored: &[u8]) -> Option<Head> {
        let (mut reader, version) = Reader::versioned(WHAT, stored, VERSION).ok()?;
        Head::read(&mut reader, version).ok()
    }

    /// Reads stored bytes.
    pub fn decode(stored: &[u8]) -> Result<Self, Decode> {
        let (mut reader, version) = Reader::versioned(WHAT, stored, VERSION)?;
        let Head { at, tenant, caller } = Head::read(&mut reader, version)?;
        let entry = Self { at, tenant, caller, event: Event::decode(&mut reader)? };
        reader.end()?;
        Ok(entry)
    }
}

impl Head {
    fn read(reader: &mut Reader<'_>, version: u8) -> Result<Self, Decode> {
        let damaged = reader.damaged();
        let at = Timestamp::from_ms(reader.u64()?).ok_or(damaged)?;
        let tenant = TenantId(reader.array()?);
        let caller = reader.option(|r| Ok((BlindIndex(r.array()?), TokenId(r.array()?))))?;
        let actor = if version < 2 { None } else { reader.option(|r| Ok(BlindIndex(r.array()?)))? };
        let actor_token = if version < 3 { None } else { reader.option(|r| Ok(TokenId(r.array()?)))? };
        Ok(Self { at, tenant, caller: caller.map(|(alias, token)| Caller { alias, token, actor, actor_token }) })
    }
}

impl Event {
    /// The word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stored { .. } => "stored",
            Self::Read { .. } => "read",
            Self::Listed { .. } => "listed",
            Self::Refused { .. } => "refused",
            Self::Deciding { .. } => "deciding",
            Self::ErasureAsked { .. } => "erasure_asked",
            Self::ErasureFinal(_) => "erasure_final",
            Self::Administered { .. } => "administered",
            Self::Repeated { .. } => "repeated",
            Self::LogKey { .. } => "log_key",
            Self::Granted { .. } => "granted",
            Self::Approval { .. } => "approval",
            Self::CasesListed { .. } => "cases_listed",
            Self::Policy { .. } => "policy",
            Self::AuthenticationFailed { .. } => "authentication_failed",
            Self::Alert { .. } => "alert",
            Self::Readmitted => "readmitted",
            Self::Replica { .. } => "replica",
        }
    }

    /// By which operation it came about, where it says so.
    pub fn action(&self) -> Option<Action> {
        match self {
            Self::Stored { action, .. }
            | Self::Read { action, .. }
            | Self::Refused { action, .. }
            | Self::Administered { action, .. }
            | Self::Repeated { action, .. }
            | Self::Granted { action, .. }
            | Self::Approval { action, .. } => Some(*action),
            Self::Listed { .. } => Some(Action::ListRecords),
            Self::CasesListed { .. } => Some(Action::ListCaseAssignments),
            _ => None,
        }
    }

    fn encode(&self, w: Writer) -> Writer {
        match self {
            Self::Stored { action, handle, record, revision: Revision::FIRST } => {
                w.u8(1).u8(action.code()).fixed(&handle.0).fixed(record.as_bytes())
            }
            Self::Stored { action, handle, record, revision } => {
                w.u8(13).u8(action.code()).fixed(&handle.0).fixed(record.as_bytes()).u32(revision.0)
            }
            Self::Read { action, handle, record, revision, purpose, grants } => {
                let w = w.u8(15).u8(action.code()).fixed(&handle.0).fixed(record.as_bytes());
                w.u32(revision.0).u8(*purpose).u8(grant_bits(*grants))
            }
            Self::Listed { handle, shown: Shown::Count(count), purpose } => {
                w.u8(3).option(*handle, |w, handle| w.fixed(&handle.0)).u32(*count).u8(*purpose)
            }
            Self::Listed { handle, shown: Shown::Records(records), purpose } => w
                .u8(18)
                .option(*handle, |w, handle| w.fixed(&handle.0))
                .list(records.iter(), |w, (handle, record)| w.fixed(&handle.0).fixed(record.as_bytes()))
                .u8(*purpose),
            Self::Refused { action, record } => {
                w.u8(4).u8(action.code()).option(*record, |w, record| w.fixed(record.as_bytes()))
            }
            Self::ErasureAsked { receipt } => w.u8(5).fixed(&receipt.0),
            Self::ErasureFinal(erased) => erased::encode(w.u8(6), erased),
            Self::Administered { action, subject, principal, roles } => w
                .u8(7)
                .u8(action.code())
                .fixed(&subject.0)
                .option(*principal, |w, principal| w.fixed(&principal.0))
                .option(*roles, |w, roles| w.u16(roles)),
            Self::Repeated { action, handle, record } => {
                w.u8(8).u8(action.code()).fixed(&handle.0).fixed(record.as_bytes())
            }
            Self::LogKey { origin, public, previous } => {
                w.u8(9).text(origin).fixed(public).option(*previous, Writer::u64)
            }
            Self::Readmitted => w.u8(11),
            Self::Granted { action, granted: Granted { handle, to, until } } => {
                w.u8(16).u8(action.code()).fixed(&handle.0).fixed(&to.0).option(*until, |w, until| w.u64(until.as_ms()))
            }
            Self::CasesListed { handle } => w.u8(22).fixed(&handle.0),
            Self::Approval { action, approved } => approved::encode(w.u8(21).u8(action.code()), approved),
            Self::Policy { text_sha256, is_accepted } => w.u8(19).fixed(text_sha256).u8(u8::from(*is_accepted)),
            Self::AuthenticationFailed { reason, count, sources } => w.u8(20).text(reason).u32(*count).u32(*sources),
            Self::Alert { sort, about } => w.u8(17).u8(*sort as u8).fixed(&about.0),
            Self::Deciding { commitment } => w.u8(12).fixed(commitment),
            Self::Replica { is_added, was_destroyed } => w.u8(10).u8(u8::from(*is_added)).u8(u8::from(*was_destroyed)),
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Decode> {
        Ok(match r.u8()? {
            code @ (1 | 13) => Self::Stored {
                action: action(r)?,
                handle: Handle(r.array()?),
                record: record(r)?,
                revision: if code == 1 { Revision::FIRST } else { Revision(r.u32()?) },
            },
            code @ (2 | 14 | 15) => Self::Read {
                action: action(r)?,
                handle: Handle(r.array()?),
                record: record(r)?,
                revision: if code == 2 { Revision::FIRST } else { Revision(r.u32()?) },
                purpose: r.u8()?,
                grants: if code == 15 { grants_of(r)? } else { Grants::default() },
            },
            code @ (3 | 18) => Self::Listed {
                handle: r.option(|r| Ok(Handle(r.array()?)))?,
                shown: match code {
                    3 => Shown::Count(r.u32()?),
                    _ => Shown::Records(r.list(|r| Ok((Handle(r.array()?), record(r)?)))?),
                },
                purpose: r.u8()?,
            },
            4 => Self::Refused { action: action(r)?, record: r.option(record)? },
            5 => Self::ErasureAsked { receipt: ReceiptId(r.array()?) },
            6 => Self::ErasureFinal(Box::new(erased::decode(r)?)),
            7 => Self::Administered {
                action: action(r)?,
                subject: TenantId(r.array()?),
                principal: r.option(|r| Ok(BlindIndex(r.array()?)))?,
                roles: r.option(Reader::u16)?,
            },
            8 => Self::Repeated { action: action(r)?, handle: Handle(r.array()?), record: record(r)? },
            9 => Self::LogKey { origin: r.text()?.to_owned(), public: r.array()?, previous: r.option(Reader::u64)? },
            11 => Self::Readmitted,
            20 => Self::AuthenticationFailed { reason: r.text()?.to_owned(), count: r.u32()?, sources: r.u32()? },
            19 => Self::Policy { text_sha256: r.array()?, is_accepted: flag(r)? },
            16 => Self::Granted {
                action: action(r)?,
                granted: Granted {
                    handle: Handle(r.array()?),
                    to: BlindIndex(r.array()?),
                    until: r.option(|r| Timestamp::from_ms(r.u64()?).ok_or(r.damaged()))?,
                },
            },
            22 => Self::CasesListed { handle: Handle(r.array()?) },
            21 => Self::Approval { action: action(r)?, approved: approved::decode(r)? },
            17 => {
                let damaged = r.damaged();
                Self::Alert { sort: AlertSort::from_code(r.u8()?).ok_or(damaged)?, about: BlindIndex(r.array()?) }
            }
            12 => Self::Deciding { commitment: r.array()? },
            10 => Self::Replica { is_added: flag(r)?, was_destroyed: flag(r)? },
            _ => return Err(r.damaged()),
        })
    }
}

fn grant_bits(grants: Grants) -> u8 {
    u8::from(grants.case_is_assigned) | u8::from(grants.glass_is_broken) << 1
}

fn grants_of(r: &mut Reader<'_>) -> Result<Grants, Decode> {
    match r.u8()? {
        bits @ 0..4 => Ok(Grants { case_is_assigned: bits & 1 == 1, glass_is_broken: bits & 2 == 2 }),
        _ => Err(r.damaged()),
    }
}

fn flag(r: &mut Reader<'_>) -> Result<bool, Decode> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(r.damaged()),
    }
}

fn action(r: &mut Reader<'_>) -> Result<Action, Decode> {
    let damaged = r.damaged();
    Action::from_code(r.u8()?).ok_or(damaged)
}

fn record(r: &mut Reader<'_>) -> Result<RecordId, Decode> {
    Ok(RecordId::from_bytes(r.array()?))
}
