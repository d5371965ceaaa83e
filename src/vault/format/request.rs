//! The rows that answer a repeated request: those of requests that stored a record, and those of erasures.
//!
//! Both outlive the request, and so may outlive the customer: nothing in them is in the clear, and what leads to a record,
//! a receipt or a customer is sealed under a key that ends with the customer or with the record. The day of the request is
//! sealed under the tenant's settings key: it tells when the row may go, and nothing else.

use zeroize::Zeroizing;

use super::small::Opening;
use crate::crypto::key_wrap;
use crate::crypto::secret::Key;
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::{Handle, ReceiptId, RecordId, Revision};

/// Version 3 seals all of the row. Version 1 and 2 named the record and a fingerprint in the clear.
const REQUEST_VERSION: u8 = 3;
/// Version 2 seals the day, and the answer to the erasure of a record under a key of the customer.
const ERASURE_REQUEST_VERSION: u8 = 2;
const VERSION: u8 = 1;
const WHAT: &str = "a request";
const WHAT_ERASURE: &str = "the request of an erasure";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The UTC day of a request, sealed under the tenant's settings key and bound to the key of its row.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct SealedDay(Vec<u8>);

impl SealedDay {
    /// Seals the day of an instant.
    pub fn of(instant: Timestamp, settings: &Key, row: &[u8]) -> Self {
        let day = u32::try_from(instant.as_ms() / DAY_MS).unwrap_or(u32::MAX);
        Self(key_wrap::seal(settings, row, &day.to_be_bytes()))
    }

    /// The day, counted from 1970; `None` if it does not open.
    pub fn open(&self, settings: &Key, row: &[u8]) -> Option<u32> {
        let plain = key_wrap::open(settings, row, &self.0).ok()?;
        Some(u32::from_be_bytes(plain.as_slice().try_into().ok()?))
    }

    /// Whether the request was made before an instant, by its whole day.
    pub fn is_before(&self, instant: Timestamp, settings: &Key, row: &[u8]) -> bool {
        self.open(settings, row).is_some_and(|day| (u64::from(day) + 1).saturating_mul(DAY_MS) <= instant.as_ms())
    }
}

/// The row of a request that stored a record.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct RequestRow {
    pub day: SealedDay,
    /// What the request stored; `None` where an upgrade found it erased.
    pub answer: Option<SealedAnswer>,
}

/// What a request stored, sealed in two layers.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct SealedAnswer {
    /// The [`StoredRecord`], under a key derived from the customer's profile secret.
    pub target: Vec<u8>,
    /// The keyed hash of all that was asked, under a key derived from the secret of the record's revision.
    pub fingerprint: Vec<u8>,
}

impl RequestRow {
    pub fn encode(&self) -> Vec<u8> {
        let row = Writer::versioned(REQUEST_VERSION).framed(&self.day.0);
        let row = row.option(self.answer.as_ref(), |w, answer| w.framed(&answer.target).framed(&answer.fingerprint));
        row.finish().to_vec()
    }

    pub fn decode(stored: &[u8]) -> Result<Self, Decode> {
        let (mut r, version) = Reader::versioned(WHAT, stored, REQUEST_VERSION)?;
        if version < REQUEST_VERSION {
            return Err(r.damaged());
        }
        let day = SealedDay(r.framed()?.to_vec());
        let answer =
            r.option(|r| Ok(SealedAnswer { target: r.framed()?.to_vec(), fingerprint: r.framed()?.to_vec() }))?;
        r.end()?;
        Ok(Self { day, answer })
    }
}

/// The record that a request stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct StoredRecord {
    pub record: RecordId,
    pub revision: Revision,
}

impl StoredRecord {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Writer::versioned(VERSION).fixed(self.record.as_bytes()).u32(self.revision.0).finish()
    }

    pub fn decode(plain: &[u8]) -> Result<Self, Decode> {
        let (mut r, _) = Reader::versioned(WHAT, plain, VERSION)?;
        let stored = Self { record: RecordId::from_bytes(r.array()?), revision: Revision(r.u32()?) };
        r.end()?;
        Ok(stored)
    }
}

/// A request's row of layout 1: all of it in the clear. Read by the upgrade alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct RequestRowInClear {
    pub stored: StoredRecord,
    pub created: Timestamp,
    pub fingerprint: [u8; 16],
}

impl RequestRowInClear {
    pub fn decode(stored: &[u8]) -> Result<Self, Decode> {
        const LAST: u8 = 2;
        let (mut r, version) = Reader::versioned(WHAT, stored, LAST)?;
        let record = RecordId::from_bytes(r.array()?);
        let revision = if version < LAST { Revision::FIRST } else { Revision(r.u32()?) };
        let damaged = r.damaged();
        let created = Timestamp::from_ms(r.u64()?).ok_or(damaged)?;
        let row = Self { stored: StoredRecord { record, revision }, created, fingerprint: r.array()? };
        r.end()?;
        Ok(row)
    }
}

/// What answers a repeat of an erasure's request. The answer is sealed under a key that the request leads to and that lasts two
/// days at most.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct ErasureRequestRow {
    pub day: SealedDay,
    pub sealed: Vec<u8>,
}

impl ErasureRequestRow {
    pub fn encode(&self) -> Vec<u8> {
        let row = Writer::versioned(ERASURE_REQUEST_VERSION).framed(&self.day.0);
        row.framed(&self.sealed).finish().to_vec()
    }

    pub fn decode(stored: &[u8]) -> Result<Self, Decode> {
        let (mut r, version) = Reader::versioned(WHAT_ERASURE, stored, ERASURE_REQUEST_VERSION)?;
        if version < ERASURE_REQUEST_VERSION {
            return Err(r.damaged());
        }
        let row = Self { day: SealedDay(r.framed()?.to_vec()), sealed: r.framed()?.to_vec() };
        r.end()?;
        Ok(row)
    }
}

/// The receipt of an erasure, and what opens its commitment.
pub(in super::super) struct ErasureAnswer {
    pub receipt: ReceiptId,
    pub opening: Opening,
}

impl ErasureAnswer {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Writer::versioned(VERSION).fixed(&self.receipt.0).fixed(&*self.opening).finish()
    }

    pub fn decode(plain: &[u8]) -> Result<Self, Decode> {
        let (mut r, _) = Reader::versioned(WHAT_ERASURE, plain, VERSION)?;
        let answer = Self { receipt: ReceiptId(r.array()?), opening: Zeroizing::new(r.array()?) };
        r.end()?;
        Ok(answer)
    }
}

/// The answer to the erasure of a record or of a revision: the customer whose it was, and the answer under a key derived from
/// that customer's profile secret.
pub(in super::super) struct PartAnswer {
    pub handle: Handle,
    pub sealed: Vec<u8>,
}

impl PartAnswer {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Writer::versioned(VERSION).fixed(&self.handle.0).framed(&self.sealed).finish()
    }

    pub fn decode(plain: &[u8]) -> Result<Self, Decode> {
        let (mut r, _) = Reader::versioned(WHAT_ERASURE, plain, VERSION)?;
        let answer = Self { handle: Handle(r.array()?), sealed: r.framed()?.to_vec() };
        r.end()?;
        Ok(answer)
    }
}
