//! What is asked of the ledger.

use super::{PageRequest, named, page, time_span};
use crate::api::page_token;
use crate::api::status::ApiError;
use crate::api::v1;
use crate::domain::ids::{PrincipalName, TokenId};
use crate::domain::{Invalid, Problem};
use crate::vault::{LogFilter, Suspicion};

/// The longest word for an event.
const MAX_EVENT_BYTES: usize = 64;

/// Which entries, from which position on, and how many.
pub fn list_entries(message: v1::ListEntriesRequest) -> Result<(LogFilter, u64, usize), ApiError> {
    let principal = match message.principal.as_str() {
        "" => None,
        name => Some(named("principal", PrincipalName::parse(name))?),
    };
    if message.event.len() > MAX_EVENT_BYTES {
        return Err(Invalid::new("event", Problem::TooLong { limit_bytes: MAX_EVENT_BYTES as u64 }).into());
    }
    let event = Some(message.event).filter(|event| !event.is_empty());
    let PageRequest { size, token } = page(message.page_size, message.page_token)?;
    let from = match token {
        None => message.from_position,
        Some(token) => u64::from_be_bytes(page_token::read(&token)?),
    };
    Ok((LogFilter { principal, event }, from, size))
}

/// Which entry in which log.
pub fn inclusion(message: &v1::GetInclusionProofRequest) -> Result<(u64, u64), Invalid> {
    match message.tree_size {
        0 => Err(Invalid::new("tree_size", Problem::Missing)),
        size => Ok((message.position, size)),
    }
}

/// Which log continues which.
pub fn consistency(message: &v1::GetConsistencyProofRequest) -> Result<(u64, u64), Invalid> {
    match message.to_size {
        0 => Err(Invalid::new("to_size", Problem::Missing)),
        size => Ok((message.from_size, size)),
    }
}

/// What a report is about.
pub fn report_exposure(message: v1::ReportExposureRequest) -> Result<Suspicion, Invalid> {
    let principal = match message.principal.as_str() {
        "" => None,
        name => Some(named("principal", PrincipalName::parse(name))?),
    };
    let expected = "32 digits of lower-case hexadecimal";
    let token = match message.token_id.as_str() {
        "" => None,
        id => Some(TokenId::parse(id).ok_or_else(|| Invalid::new("token_id", Problem::Malformed { expected }))?),
    };
    let (from, before) = time_span("from", message.from, ("before", message.before))?;
    if principal.is_none() && token.is_none() && from.is_none() && before.is_none() {
        return Err(Invalid::new("principal", Problem::Missing));
    }
    Ok(Suspicion { principal, token, from, before })
}
