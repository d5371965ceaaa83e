//! Cases that are assigned, and glass that is broken.

use zeroize::Zeroizing;

use super::{PageRequest, named, page, timestamp, why};
use crate::api::v1;
use crate::domain::action::Action;
use crate::domain::clock::Timestamp;
use crate::domain::grant::{BrokenGlass, CaseAssignment, Why};
use crate::domain::ids::{CaseId, CustomerId, PrincipalName, RecordId, WrittenReason};
use crate::domain::{Invalid, Problem};

/// A reason shorter than this says nothing.
const MIN_REASON_BYTES: usize = 10;

/// A case of a customer, and a principal.
type Which = (CustomerId, CaseId, PrincipalName);

/// The case to be assigned.
pub fn assign_case(message: v1::AssignCaseRequest, now: Timestamp) -> Result<CaseAssignment, Invalid> {
    let message = message.assignment.ok_or_else(|| Invalid::new("assignment", Problem::Missing))?;
    assignment(message, now).map_err(|invalid| invalid.within("assignment"))
}

fn assignment(message: v1::CaseAssignment, now: Timestamp) -> Result<CaseAssignment, Invalid> {
    let expires = message.expires_at.ok_or_else(|| Invalid::new("expires_at", Problem::Missing))?;
    let (customer, case, assignee) = which(message.customer_id, message.case_id, &message.principal)?;
    let expires = timestamp("expires_at", expires)?;
    if expires <= now || expires > now.plus_ms(CaseAssignment::MAX_MS) {
        let allowed = "it must lie in the future, at most 90 days from now";
        return Err(Invalid::new("expires_at", Problem::OutOfRange { allowed }));
    }
    Ok(CaseAssignment { customer, case, assignee, expires })
}

/// The case to be taken back.
pub fn unassign_case(message: v1::UnassignCaseRequest) -> Result<Which, Invalid> {
    which(message.customer_id, message.case_id, &message.principal)
}

fn which(customer_id: String, case_id: String, principal: &str) -> Result<Which, Invalid> {
    let (customer_id, case_id) = (Zeroizing::new(customer_id), Zeroizing::new(case_id));
    let principal = named("principal", PrincipalName::parse(principal))?;
    Ok((CustomerId::parse(&customer_id)?, CaseId::parse(&case_id)?, principal))
}

/// Whose assignments are listed.
pub fn list_case_assignments(message: v1::ListCaseAssignmentsRequest) -> Result<(CustomerId, PageRequest), Invalid> {
    let customer_id = Zeroizing::new(message.customer_id);
    Ok((CustomerId::parse(&customer_id)?, page(message.page_size, message.page_token)?))
}

/// What is to be explained: about whom, which action, why, and which record.
pub fn explain_access(
    message: v1::ExplainAccessRequest,
) -> Result<(PrincipalName, Action, Option<Why>, Option<RecordId>), Invalid> {
    let principal = named("principal", PrincipalName::parse(&message.principal))?;
    let action = match message.action.as_str() {
        "" => return Err(Invalid::new("action", Problem::Missing)),
        name => Action::from_name(name).ok_or_else(|| Invalid::new("action", Problem::UnknownValue))?,
    };
    let states_why = action.needs_purpose() || !message.purpose.is_empty();
    let why = states_why.then(|| why(&message.purpose, message.reader_case_id)).transpose()?;
    let record = (!message.record_id.is_empty()).then(|| RecordId::parse(&message.record_id)).transpose()?;
    Ok((principal, action, why, record))
}

/// For whom, why and for how long the glass is broken.
pub fn break_glass(message: v1::BreakGlassRequest, now: Timestamp) -> Result<BrokenGlass, Invalid> {
    let (customer_id, reason) = (Zeroizing::new(message.customer_id), Zeroizing::new(message.reason));
    let customer = CustomerId::parse(&customer_id)?;
    let reason_text = reason.trim();
    if !reason_text.is_empty() && reason_text.len() < MIN_REASON_BYTES {
        return Err(Invalid::new("reason", Problem::TooShort { limit_bytes: MIN_REASON_BYTES as u64 }));
    }
    let lasts_ms = match u64::from(message.seconds) * 1_000 {
        0 => BrokenGlass::DEFAULT_MS,
        ms @ ..=BrokenGlass::MAX_MS => ms,
        _ => return Err(Invalid::new("seconds", Problem::OutOfRange { allowed: "1 to 3,600, or 0 for 900" })),
    };
    Ok(BrokenGlass { customer, reason: WrittenReason::parse(reason_text)?, expires: now.plus_ms(lasts_ms) })
}
