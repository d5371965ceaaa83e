//! What one person may not do alone.

use crate::api::v1;
use crate::domain::approval::{ApprovalGround, ApprovalId, Raise, Wanted};
use crate::domain::clock::Timestamp;
use crate::domain::{Invalid, Problem};

/// What is asked for.
pub fn request_approval(message: v1::RequestApprovalRequest, now: Timestamp) -> Result<Wanted, Invalid> {
    let v1::RequestApprovalRequest { erasures, reads, customers, ground, seconds } = message;
    for (field, number) in [("erasures", erasures), ("reads", reads), ("customers", customers)] {
        if number > Raise::MAX {
            return Err(Invalid::new(field, Problem::OutOfRange { allowed: "0 to 1,000,000" }));
        }
    }
    let raise = Raise { erasures, reads, customers };
    if raise == Raise::default() {
        return Err(Invalid::new("erasures", Problem::Missing));
    }
    let ground = match u8::try_from(ground) {
        Ok(0) => return Err(Invalid::new("ground", Problem::Missing)),
        Ok(code) => ApprovalGround::from_code(code),
        Err(_) => None,
    };
    let lasts_ms = match u64::from(seconds) * 1_000 {
        0 => Wanted::DEFAULT_MS,
        ms @ ..=Wanted::MAX_MS => ms,
        _ => return Err(Invalid::new("seconds", Problem::OutOfRange { allowed: "1 to 86,400, or 0 for 28,800" })),
    };
    let ground = ground.ok_or_else(|| Invalid::new("ground", Problem::UnknownValue))?;
    Ok(Wanted { raise, ground, expires: now.plus_ms(lasts_ms) })
}

/// Which approval.
pub fn approval_id(text: &str) -> Result<ApprovalId, Invalid> {
    let problem = match text {
        "" => Problem::Missing,
        text => match ApprovalId::parse(text) {
            Some(id) => return Ok(id),
            None => Problem::Malformed { expected: "48 digits of lower-case hexadecimal" },
        },
    };
    Err(Invalid::new("approval_id", problem))
}
