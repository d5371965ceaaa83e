//! The ledger's entries: who did what to which record, and what came of it.
//!
//! An entry names tenants, customers and records by ids that are random or keyed hashes, and principals by an alias: nothing in it is
//! personal. An entry about an erasure names no customer at all. This room is pure: it writes and reads the bytes of
//! entries. Their order and durability are the committer's work. The bytes of one entry are one leaf of the Merkle tree (RFC 6962) that
//! will stand over the ledger, so an entry's bytes never change once stored.

pub mod merkle;

use zeroize::Zeroizing;

use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::{BlindIndex, Handle, ReceiptId, RecordId, TenantId, TokenId};

const VERSION: u8 = 1;
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

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The keyed hash of the principal's name.
    pub alias: BlindIndex,
    /// The token it came with.
    pub token: TokenId,
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
    },
    /// A record is about to be read.
    Read {
        /// By which operation.
        action: Action,
        /// The customer.
        handle: Handle,
        /// The record.
        record: RecordId,
        /// The place of the purpose in the tenant's list.
        purpose: u8,
    },
    /// A list of records is about to be given.
    Listed {
        /// The customer, where the list was of one.
        handle: Option<Handle>,
        /// How many records.
        count: u32,
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
    /// An erasure was asked for.
    ErasureAsked {
        /// The receipt that will answer it.
        receipt: ReceiptId,
    },
    /// An erasure is final: the old root key is destroyed and was probed to be gone.
    ErasureFinal {
        /// The receipt.
        receipt: ReceiptId,
        /// The epoch that began with it.
        epoch: u64,
    },
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
}

impl Entry {
    /// The bytes to store.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let head = Writer::versioned(VERSION)
            .u64(self.at.as_ms())
            .fixed(&self.tenant.0)
            .option(self.caller, |w, caller| w.fixed(&caller.alias.0).fixed(&caller.token.0));
        self.event.encode(head).finish()
    }

    /// Reads stored bytes.
    pub fn decode(stored: &[u8]) -> Result<Self, Decode> {
        let (mut reader, _) = Reader::versioned(WHAT, stored, VERSION)?;
        let damaged = reader.damaged();
        let entry = Self {
            at: Timestamp::from_ms(reader.u64()?).ok_or(damaged)?,
            tenant: TenantId(reader.array()?),
            caller: reader.option(|r| Ok(Caller { alias: BlindIndex(r.array()?), token: TokenId(r.array()?) }))?,
            event: Event::decode(&mut reader)?,
        };
        reader.end()?;
        Ok(entry)
    }
}

impl Event {
    fn encode(&self, w: Writer) -> Writer {
        match self {
            Self::Stored { action, handle, record } => {
                w.u8(1).u8(action.code()).fixed(&handle.0).fixed(record.as_bytes())
            }
            Self::Read { action, handle, record, purpose } => {
                w.u8(2).u8(action.code()).fixed(&handle.0).fixed(record.as_bytes()).u8(*purpose)
            }
            Self::Listed { handle, count, purpose } => {
                w.u8(3).option(*handle, |w, handle| w.fixed(&handle.0)).u32(*count).u8(*purpose)
            }
            Self::Refused { action, record } => {
                w.u8(4).u8(action.code()).option(*record, |w, record| w.fixed(record.as_bytes()))
            }
            Self::ErasureAsked { receipt } => w.u8(5).fixed(&receipt.0),
            Self::ErasureFinal { receipt, epoch } => w.u8(6).fixed(&receipt.0).u64(*epoch),
            Self::Administered { action, subject, principal, roles } => w
                .u8(7)
                .u8(action.code())
                .fixed(&subject.0)
                .option(*principal, |w, principal| w.fixed(&principal.0))
                .option(*roles, |w, roles| w.u16(roles)),
            Self::Repeated { action, handle, record } => {
                w.u8(8).u8(action.code()).fixed(&handle.0).fixed(record.as_bytes())
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Decode> {
        Ok(match r.u8()? {
            1 => Self::Stored { action: action(r)?, handle: Handle(r.array()?), record: record(r)? },
            2 => Self::Read { action: action(r)?, handle: Handle(r.array()?), record: record(r)?, purpose: r.u8()? },
            3 => Self::Listed { handle: r.option(|r| Ok(Handle(r.array()?)))?, count: r.u32()?, purpose: r.u8()? },
            4 => Self::Refused { action: action(r)?, record: r.option(record)? },
            5 => Self::ErasureAsked { receipt: ReceiptId(r.array()?) },
            6 => Self::ErasureFinal { receipt: ReceiptId(r.array()?), epoch: r.u64()? },
            7 => Self::Administered {
                action: action(r)?,
                subject: TenantId(r.array()?),
                principal: r.option(|r| Ok(BlindIndex(r.array()?)))?,
                roles: r.option(Reader::u16)?,
            },
            8 => Self::Repeated { action: action(r)?, handle: Handle(r.array()?), record: record(r)? },
            _ => return Err(r.damaged()),
        })
    }
}

fn action(r: &mut Reader<'_>) -> Result<Action, Decode> {
    let damaged = r.damaged();
    Action::from_code(r.u8()?).ok_or(damaged)
}

fn record(r: &mut Reader<'_>) -> Result<RecordId, Decode> {
    Ok(RecordId::from_bytes(r.array()?))
}
