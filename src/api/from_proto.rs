//! The door in: messages of `oubliette.v1` become domain types, or an [`Invalid`] with the exact path of the field.
//!
//! Whoever holds what comes out of here need not check it again, but for what only a tenant's settings know (which purposes and
//! teams there are). Nothing is looked up and nothing is stored here. What a message held as plain text is wiped.

mod admin;
mod approvals;
mod audit;
mod details;
mod grants;
mod sensitive;

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use bytes::Bytes;
use prost_types::Timestamp as WireTimestamp;
use zeroize::Zeroizing;

use super::v1;
use crate::domain::clock::{CLOCK_SKEW_MS, Timestamp};
use crate::domain::erasure::Part;
use crate::domain::grant::Why;
use crate::domain::ids::{CaseId, CustomerId, PrincipalName, Purpose, ReceiptId, RecordId, RequestId, Revision};
use crate::domain::record::{
    ByteSpan, FindBy, NewRecording, NewTranscript, RecordFilter, Speaker, TranscriptLimits, Turn,
};
use crate::domain::sensitive::TextSpan;
use crate::domain::{Invalid, Problem};

pub use grants::{assign_case, break_glass, explain_access, list_case_assignments, unassign_case};

pub use admin::{
    TokenRequest, approve_tenant_erasure, bind_certificate, create_tenant, create_token, revoke_token, set_principal,
    tenant_name, tenant_or_own, update_settings,
};
pub use approvals::{approval_id, request_approval};
pub use audit::{consistency, inclusion, list_entries, report_exposure};

/// The most items on a page of a list.
pub const MAX_PAGE_SIZE: usize = 200;
/// The items on a page where the caller does not say.
pub const DEFAULT_PAGE_SIZE: usize = 50;
/// The longest page token that can be one of ours.
pub const MAX_PAGE_TOKEN_BYTES: usize = 1024;

/// The most customers of one list of erasures.
pub const MAX_ERASED_CUSTOMERS: usize = 1_000;

/// Which page of a list is asked for. The token is opaque here; whoever wrote it checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items at most, 1 to [`MAX_PAGE_SIZE`].
    pub size: usize,
    /// The token of the page before; `None` for the first page.
    pub token: Option<String>,
}

/// What a list of records is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// Why it is read.
    pub why: Why,
    /// Which records.
    pub filter: RecordFilter,
    /// Which page.
    pub page: PageRequest,
}

/// Which bytes of a recording are asked for, before its length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RangeRequest {
    /// The first byte.
    pub offset: u64,
    /// How many; `None` up to the end.
    pub length: Option<NonZeroU64>,
}

impl RangeRequest {
    /// The span in a recording of `size_bytes`; `None` when it begins behind the last byte or reaches over the end. The whole
    /// of an empty recording is an empty span.
    pub fn within(self, size_bytes: u64) -> Option<ByteSpan> {
        let rest = size_bytes.checked_sub(self.offset)?;
        if rest == 0 && self.offset > 0 {
            return None;
        }
        let length = self.length.map_or(rest, NonZeroU64::get);
        (length <= rest).then_some(ByteSpan { offset: self.offset, length })
    }
}

/// A chat to be stored.
pub fn create_transcript(
    message: v1::CreateTranscriptRequest,
    now: Timestamp,
) -> Result<(RequestId, NewTranscript), Invalid> {
    let request_id = RequestId::parse(&message.request_id)?;
    let (customer, details) = details::details("details", message.details, now)?;
    let (turns, marked) = turns(message.turns, now)?;
    Ok((request_id, NewTranscript { customer, details, turns, marked }))
}

/// A new revision of a chat: of which record, behind which revision, and what it is.
pub fn revise_transcript(
    message: v1::ReviseTranscriptRequest,
    now: Timestamp,
) -> Result<(RequestId, (RecordId, Revision), NewTranscript), Invalid> {
    let v1::ReviseTranscriptRequest { request_id, record_id, base_revision, details, turns } = message;
    let (request_id, new) = create_transcript(v1::CreateTranscriptRequest { request_id, details, turns }, now)?;
    let base = revision(base_revision).ok_or_else(|| Invalid::new("base_revision", Problem::Missing))?;
    Ok((request_id, (RecordId::parse(&record_id)?, base), new))
}

/// Which revision is meant; `None` where it is not said.
pub fn revision(number: u32) -> Option<Revision> {
    (number > 0).then_some(Revision(number))
}

/// The metadata of an upload: what its first message must carry.
pub fn upload_metadata(
    message: Option<v1::UploadRecordingRequest>,
    now: Timestamp,
) -> Result<(RequestId, NewRecording), Invalid> {
    let Some(message) = message else { return Err(Invalid::new("metadata", Problem::Missing)) };
    match message.payload {
        Some(v1::upload_recording_request::Payload::Metadata(metadata)) => {
            recording(metadata, now).map_err(|invalid| invalid.within("metadata"))
        }
        Some(v1::upload_recording_request::Payload::Chunk(_)) => {
            Err(Invalid::new("chunk", Problem::OutOfOrder { expected: "the first message carries metadata" }))
        }
        None => Err(Invalid::new("payload", Problem::Missing)),
    }
}

/// A chunk of an upload: what every message but the first must carry.
pub fn upload_chunk(message: v1::UploadRecordingRequest) -> Result<Bytes, Invalid> {
    match message.payload {
        Some(v1::upload_recording_request::Payload::Chunk(chunk)) if chunk.is_empty() => {
            Err(Invalid::new("chunk", Problem::TooShort { limit_bytes: 1 }))
        }
        Some(v1::upload_recording_request::Payload::Chunk(chunk)) => Ok(chunk),
        Some(v1::upload_recording_request::Payload::Metadata(_)) => {
            Err(Invalid::new("metadata", Problem::OutOfOrder { expected: "only the first message carries metadata" }))
        }
        None => Err(Invalid::new("payload", Problem::Missing)),
    }
}

/// The record, and why it is read: what every read of one record states.
pub fn read(record_id: &str, purpose: &str, reader_case_id: String) -> Result<(RecordId, Why), Invalid> {
    Ok((RecordId::parse(record_id)?, why(purpose, reader_case_id)?))
}

/// Why something is read.
fn why(purpose: &str, reader_case_id: String) -> Result<Why, Invalid> {
    let case = Zeroizing::new(reader_case_id);
    let case = match case.as_str() {
        "" => None,
        case => Some(named("reader_case_id", CaseId::parse(case))?),
    };
    Ok(Why { purpose: Purpose::parse(purpose)?, case })
}

/// Which bytes of which recording, and why.
pub fn download(message: v1::DownloadRecordingRequest) -> Result<(RecordId, Why, RangeRequest), Invalid> {
    let (record, why) = read(&message.record_id, &message.purpose, message.reader_case_id)?;
    let range = message.range.as_ref().map_or_else(RangeRequest::default, |range| RangeRequest {
        offset: range.offset,
        length: NonZeroU64::new(range.length),
    });
    Ok((record, why, range))
}

/// Which records are listed.
pub fn list_records(message: v1::ListRecordsRequest) -> Result<ListRequest, Invalid> {
    let customer_id = Zeroizing::new(message.customer_id);
    let case_id = Zeroizing::new(message.case_id);
    let agent = Zeroizing::new(message.agent);
    let why = why(&message.purpose, message.reader_case_id)?;
    let by = match (customer_id.as_str(), case_id.as_str(), agent.as_str()) {
        ("", "", "") => FindBy::Tenant,
        (customer, "", "") => FindBy::Customer(CustomerId::parse(customer)?),
        ("", "", agent) => FindBy::Agent(named("agent", PrincipalName::parse(agent))?),
        ("", _, _) => return Err(Invalid::new("customer_id", Problem::Missing)),
        (customer, case, "") => FindBy::Case(CustomerId::parse(customer)?, CaseId::parse(case)?),
        (_, _, _) => return Err(Invalid::new("agent", Problem::Conflicts { other: "customer_id" })),
    };
    let before = ("started_before", message.started_before);
    let (started_from, started_before) = time_span("started_from", message.started_from, before)?;
    let page = page(message.page_size, message.page_token)?;
    Ok(ListRequest { why, filter: RecordFilter { by, started_from, started_before }, page })
}

/// From when on, and before when.
pub fn time_span(
    from_field: &str,
    from: Option<WireTimestamp>,
    (before_field, before): (&str, Option<WireTimestamp>),
) -> Result<(Option<Timestamp>, Option<Timestamp>), Invalid> {
    let (from, before) = (optional_timestamp(from_field, from)?, optional_timestamp(before_field, before)?);
    match (from, before) {
        (Some(from), Some(before)) if from >= before => {
            Err(Invalid::new(before_field, Problem::OutOfRange { allowed: "it must be after the time from which on" }))
        }
        span => Ok(span),
    }
}

/// Which customer is erased.
pub fn erase_customer(message: v1::EraseCustomerRequest) -> Result<(RequestId, CustomerId), Invalid> {
    let customer_id = Zeroizing::new(message.customer_id);
    Ok((RequestId::parse(&message.request_id)?, CustomerId::parse(&customer_id)?))
}

/// The record to erase, or the revision of it.
pub fn erase_record(message: v1::EraseRecordRequest) -> Result<(RequestId, Part), Invalid> {
    let (request, record) = (RequestId::parse(&message.request_id)?, RecordId::parse(&message.record_id)?);
    let all = Part::Record(record);
    Ok((request, revision(message.revision).map_or(all, |revision| Part::Revision(record, revision))))
}

/// The customers to erase.
pub fn erase_customers(message: v1::EraseCustomersRequest) -> Result<(RequestId, Vec<CustomerId>), Invalid> {
    const FIELD: &str = "customer_ids";
    let ids = Zeroizing::new(message.customer_ids);
    let request = RequestId::parse(&message.request_id)?;
    match ids.len() {
        0 => return Err(Invalid::new(FIELD, Problem::Missing)),
        1..=MAX_ERASED_CUSTOMERS => {}
        _ => return Err(Invalid::new(FIELD, Problem::TooMany { limit: MAX_ERASED_CUSTOMERS as u64 })),
    }
    let parse = |(place, id): (usize, &String)| {
        CustomerId::parse(id).map_err(|invalid| Invalid { field: format!("{FIELD}[{place}]"), ..invalid })
    };
    let customers = ids.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
    let mut seen = BTreeSet::new();
    match customers.iter().position(|customer| !seen.insert(customer)) {
        Some(place) => Err(Invalid::new(format!("{FIELD}[{place}]"), Problem::Duplicate)),
        None => Ok((request, customers)),
    }
}

/// The receipt that is asked for.
pub fn receipt_id(text: &str) -> Result<ReceiptId, Invalid> {
    match text {
        "" => Err(Invalid::new("receipt_id", Problem::Missing)),
        text => ReceiptId::parse(text).ok_or_else(|| {
            Invalid::new("receipt_id", Problem::Malformed { expected: "32 digits of lower-case hexadecimal" })
        }),
    }
}

/// Which page of a list.
pub fn page(size: i32, token: String) -> Result<PageRequest, Invalid> {
    let size = match usize::try_from(size) {
        Ok(0) => DEFAULT_PAGE_SIZE,
        Ok(size @ 1..=MAX_PAGE_SIZE) => size,
        _ => return Err(Invalid::new("page_size", Problem::OutOfRange { allowed: "1 to 200, or 0 for 50" })),
    };
    if token.len() > MAX_PAGE_TOKEN_BYTES {
        let problem = Problem::TooLong { limit_bytes: MAX_PAGE_TOKEN_BYTES as u64 };
        return Err(Invalid::new("page_token", problem));
    }
    Ok(PageRequest { size, token: Some(token).filter(|token| !token.is_empty()) })
}

fn recording(metadata: v1::RecordingMetadata, now: Timestamp) -> Result<(RequestId, NewRecording), Invalid> {
    let request_id = RequestId::parse(&metadata.request_id)?;
    let (customer, details) = details::details("details", metadata.details, now)?;
    let media_type = details::media_type(metadata.media_type)?;
    let expected_sha256 = match metadata.content_sha256.as_ref() {
        [] => None,
        hash => Some(hash.try_into().map_err(|_| {
            Invalid::new("content_sha256", Problem::Malformed { expected: "the 32 bytes of a SHA-256, or nothing" })
        })?),
    };
    let spoken = sensitive::spoken(&metadata.sensitive)?;
    Ok((request_id, NewRecording { customer, details, media_type, spoken, expected_sha256 }))
}

fn turns(messages: Vec<v1::Turn>, now: Timestamp) -> Result<(Vec<Turn>, Vec<TextSpan>), Invalid> {
    // First into texts that wipe themselves, so that a refused chat is wiped as well.
    let wiped: Vec<_> = messages
        .into_iter()
        .map(|turn| (turn.speaker, turn.said_at, turn.sensitive, Zeroizing::new(turn.text)))
        .collect();
    if wiped.is_empty() {
        return Err(Invalid::new("turns", Problem::Missing));
    }
    if wiped.len() > TranscriptLimits::MAX_TURNS {
        return Err(Invalid::new("turns", Problem::TooMany { limit: TranscriptLimits::MAX_TURNS as u64 }));
    }
    if wiped.iter().map(|(.., text)| text.len()).sum::<usize>() > TranscriptLimits::MAX_TEXT_BYTES {
        return Err(Invalid::new("turns", Problem::TooLong { limit_bytes: TranscriptLimits::MAX_TEXT_BYTES as u64 }));
    }
    let (mut turns, mut marked) = (Vec::with_capacity(wiped.len()), Vec::new());
    for (index, (speaker, said_at, spans, text)) in (0..).zip(wiped) {
        let within = |invalid: Invalid| invalid.within(format_args!("turns[{index}]"));
        marked.extend(sensitive::marked(index, &text, &spans).map_err(within)?);
        turns.push(turn(speaker, said_at, text, now).map_err(within)?);
    }
    Ok((turns, marked))
}

fn turn(
    speaker: i32,
    said_at: Option<WireTimestamp>,
    text: Zeroizing<String>,
    now: Timestamp,
) -> Result<Turn, Invalid> {
    let speaker = from_number("speaker", speaker, Speaker::from_code)?;
    let said = optional_timestamp("said_at", said_at)?.map(|said| not_in_future("said_at", said, now)).transpose()?;
    if text.len() > TranscriptLimits::MAX_TURN_BYTES {
        return Err(Invalid::new("text", Problem::TooLong { limit_bytes: TranscriptLimits::MAX_TURN_BYTES as u64 }));
    }
    Ok(Turn { speaker, said, text })
}

/// A value of an enum whose numbers in the API are those of the domain; 0, "unspecified", is none.
fn from_number<T>(field: &str, number: i32, from_code: impl FnOnce(u8) -> Option<T>) -> Result<T, Invalid> {
    let known = u8::try_from(number).ok().and_then(from_code);
    known.ok_or_else(|| Invalid::new(field, Problem::UnknownValue))
}

/// The parsed name, or the complaint about it under the name that the field has here.
fn named<T>(field: impl Into<String>, parsed: Result<T, Invalid>) -> Result<T, Invalid> {
    parsed.map_err(|invalid| Invalid { field: field.into(), ..invalid })
}

fn optional_timestamp(field: &str, wire: Option<WireTimestamp>) -> Result<Option<Timestamp>, Invalid> {
    wire.map(|wire| timestamp(field, wire)).transpose()
}

/// An instant. What is finer than a millisecond is cut off.
fn timestamp(field: &str, wire: WireTimestamp) -> Result<Timestamp, Invalid> {
    let instant = || {
        let nanos = u64::try_from(wire.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        let seconds_ms = u64::try_from(wire.seconds).ok()?.checked_mul(1_000)?;
        Timestamp::from_ms(seconds_ms.checked_add(nanos / 1_000_000)?)
    };
    let allowed = "years 1970 to 9999, nanos 0 to 999,999,999";
    instant().ok_or_else(|| Invalid::new(field, Problem::OutOfRange { allowed }))
}

fn not_in_future(field: &str, instant: Timestamp, now: Timestamp) -> Result<Timestamp, Invalid> {
    if instant > now.plus_ms(CLOCK_SKEW_MS) {
        return Err(Invalid::new(field, Problem::InFuture));
    }
    Ok(instant)
}

#[cfg(test)]
mod tests;
