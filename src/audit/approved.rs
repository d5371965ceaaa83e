//! What was asked for or approved beyond somebody's ceilings, as an entry states it.

use crate::domain::approval::{ApprovalGround, ApprovalId, Approved, Raise, Wanted};
use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::ids::BlindIndex;

/// Writes it behind `w`.
pub(super) fn encode(w: Writer, approved: &Approved) -> Writer {
    let Approved { id, wanted: Wanted { raise, ground, expires } } = approved;
    let w = w.fixed(&id.of.0).fixed(&id.number).u32(raise.erasures).u32(raise.reads).u32(raise.customers);
    w.u8(*ground as u8).u64(expires.as_ms())
}

/// Reads it.
pub(super) fn decode(r: &mut Reader<'_>) -> Result<Approved, Decode> {
    let damaged = r.damaged();
    let known = || damaged.clone();
    Ok(Approved {
        id: ApprovalId { of: BlindIndex(r.array()?), number: r.array()? },
        wanted: Wanted {
            raise: Raise { erasures: r.u32()?, reads: r.u32()?, customers: r.u32()? },
            ground: ApprovalGround::from_code(r.u8()?).ok_or_else(known)?,
            expires: Timestamp::from_ms(r.u64()?).ok_or_else(known)?,
        },
    })
}
