//! Rows that let somebody read a customer's records beyond a role: a case that is assigned, a glass that is broken.
//!
//! What decides stands apart from what tells: until when it holds is sealed under a key of the tenant, so that it is read before any key of
//! the customer is; the words are sealed under a key that ends with the customer.

use zeroize::Zeroizing;

use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::{BlindIndex, TenantId};

const VERSION: u8 = 1;
const WHAT: &str = "what lets somebody read";

/// The row, under the customer's handle.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct GrantRow {
    pub tenant: TenantId,
    /// A [`Term`], sealed.
    pub term: Vec<u8>,
    /// Words, sealed.
    pub words: Vec<u8>,
}

impl GrantRow {
    pub fn encode(&self) -> Vec<u8> {
        let row = Writer::versioned(VERSION).fixed(&self.tenant.0);
        row.framed(&self.term).framed(&self.words).finish().to_vec()
    }

    pub fn decode(stored: &[u8]) -> Result<Self, Decode> {
        let (mut r, _) = Reader::versioned(WHAT, stored, VERSION)?;
        let row = Self { tenant: TenantId(r.array()?), term: r.framed()?.to_vec(), words: r.framed()?.to_vec() };
        r.end()?;
        Ok(row)
    }
}

/// Until when it holds, and who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Term {
    pub expires: Timestamp,
    pub by: BlindIndex,
}

impl Term {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Writer::versioned(VERSION).u64(self.expires.as_ms()).fixed(&self.by.0).finish()
    }

    pub fn decode(plain: &[u8]) -> Result<Self, Decode> {
        let (mut r, _) = Reader::versioned(WHAT, plain, VERSION)?;
        let damaged = r.damaged();
        let term = Self { expires: Timestamp::from_ms(r.u64()?).ok_or(damaged)?, by: BlindIndex(r.array()?) };
        r.end()?;
        Ok(term)
    }
}

/// What a grant says in words: the case and who works on it, or whose hand broke the glass and why.
pub(in super::super) fn encode_words(words: &[&str]) -> Zeroizing<Vec<u8>> {
    Writer::versioned(VERSION).list(words.iter(), |w, text| w.text(text)).finish()
}

pub(in super::super) fn decode_words<const N: usize>(plain: &[u8]) -> Result<[Zeroizing<String>; N], Decode> {
    let (mut r, _) = Reader::versioned(WHAT, plain, VERSION)?;
    let damaged = r.damaged();
    let words = r.list(|r| Ok(Zeroizing::new(r.text()?.to_owned())))?;
    r.end()?;
    words.try_into().map_err(|_| damaged)
}
