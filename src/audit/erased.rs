//! An erasure that is final, as an entry states it.

use crate::domain::clock::Timestamp;
use crate::domain::codec::{Decode, Reader, Writer};
use crate::domain::erasure::{Erased, Ground, MediumClass, Subject};
use crate::domain::ids::{BlindIndex, ReceiptId};

/// Writes it behind `w`.
pub(super) fn encode(w: Writer, erased: &Erased) -> Writer {
    w.fixed(&erased.receipt.0)
        .u8(erased.subject as u8)
        .fixed(&erased.commitment)
        .u64(erased.epoch)
        .fixed(&erased.requested_by.0)
        .option(erased.approved_by, |w, by| w.fixed(&by.0))
        .text(&erased.provider)
        .u8(erased.medium as u8)
        .u8(u8::from(erased.shares_device))
        .u32(erased.lost_replicas)
        .u64(erased.final_at.as_ms())
        .list(erased.kept_under.iter(), |w, ground| w.u8(*ground as u8))
}

/// Reads it.
pub(super) fn decode(r: &mut Reader<'_>) -> Result<Erased, Decode> {
    let damaged = r.damaged();
    let known = || damaged.clone();
    Ok(Erased {
        receipt: ReceiptId(r.array()?),
        subject: Subject::from_code(r.u8()?).ok_or_else(known)?,
        commitment: r.array()?,
        epoch: r.u64()?,
        requested_by: BlindIndex(r.array()?),
        approved_by: r.option(|r| Ok(BlindIndex(r.array()?)))?,
        provider: r.text()?.to_owned(),
        medium: MediumClass::from_code(r.u8()?).ok_or_else(known)?,
        shares_device: super::flag(r)?,
        lost_replicas: r.u32()?,
        final_at: Timestamp::from_ms(r.u64()?).ok_or_else(known)?,
        kept_under: r.list(|r| Ground::from_code(r.u8()?).ok_or_else(known))?,
    })
}
