//! Rows that say what a principal may do beyond its ceilings; stored sealed under a key of the tenant. Nothing in them is about a customer.

use zeroize::Zeroizing;

use crate::domain::approval::{ApprovalGround, Raise, Wanted};
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::{BlindIndex, PrincipalName};

const VERSION: u8 = 1;
const WHAT: &str = "an approval";

/// What was asked for, and who gave it.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct ApprovalRow {
    pub requested_by: PrincipalName,
    /// Who called for that one.
    pub actor: Option<BlindIndex>,
    pub requested: Timestamp,
    pub wanted: Wanted,
    pub given: Option<Given>,
}

/// Who gave it.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Given {
    pub by: PrincipalName,
    pub alias: BlindIndex,
}

impl ApprovalRow {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let Self { requested_by, actor, requested, wanted: Wanted { raise, ground, expires }, given } = self;
        Writer::versioned(VERSION)
            .text(requested_by.as_str())
            .option(*actor, |w, actor| w.fixed(&actor.0))
            .u64(requested.as_ms())
            .u32(raise.erasures)
            .u32(raise.reads)
            .u32(raise.customers)
            .u8(*ground as u8)
            .u64(expires.as_ms())
            .option(given.as_ref(), |w, given| w.text(given.by.as_str()).fixed(&given.alias.0))
            .finish()
    }

    pub fn decode(plain: &[u8]) -> Result<Self, Decode> {
        let (mut r, _) = Reader::versioned(WHAT, plain, VERSION)?;
        let name = |r: &mut Reader<'_>| {
            let damaged = r.damaged();
            PrincipalName::parse(r.text()?).map_err(|_| damaged)
        };
        let instant = |r: &mut Reader<'_>| {
            let damaged = r.damaged();
            Timestamp::from_ms(r.u64()?).ok_or(damaged)
        };
        let damaged = r.damaged();
        let row = Self {
            requested_by: name(&mut r)?,
            actor: r.option(|r| Ok(BlindIndex(r.array()?)))?,
            requested: instant(&mut r)?,
            wanted: Wanted {
                raise: Raise { erasures: r.u32()?, reads: r.u32()?, customers: r.u32()? },
                ground: ApprovalGround::from_code(r.u8()?).ok_or(damaged)?,
                expires: instant(&mut r)?,
            },
            given: r.option(|r| Ok(Given { by: name(r)?, alias: BlindIndex(r.array()?) }))?,
        };
        r.end()?;
        Ok(row)
    }
}
