//! What the platform says about a record.

use zeroize::Zeroizing;

use super::{from_number, named, not_in_future, optional_timestamp};
use crate::api::v1;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{CaseId, CustomerId, PrincipalName, Purpose, Tag, TeamName};
use crate::domain::record::{Channel, Details, LegalBasis};
use crate::domain::{Invalid, Problem};

/// The customer and the details that stand in `field`.
pub(super) fn details(
    field: &str,
    message: Option<v1::RecordDetails>,
    now: Timestamp,
) -> Result<(CustomerId, Details), Invalid> {
    let message = message.ok_or_else(|| Invalid::new(field, Problem::Missing))?;
    parts(message, now).map_err(|invalid| invalid.within(field))
}

/// `type/subtype` with optional parameters (RFC 9110, 8.3.1), without looking into the parameters.
pub(super) fn media_type(text: String) -> Result<String, Invalid> {
    let refuse = |problem| Err(Invalid::new("media_type", problem));
    if text.is_empty() {
        return refuse(Problem::Missing);
    }
    if text.len() > Details::MAX_MEDIA_TYPE_BYTES {
        return refuse(Problem::TooLong { limit_bytes: Details::MAX_MEDIA_TYPE_BYTES as u64 });
    }
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let is_type = essence.trim_end().split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    if is_type && parameters.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(text);
    }
    refuse(Problem::Malformed { expected: "a media type in ASCII, such as audio/wav" })
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

fn parts(message: v1::RecordDetails, now: Timestamp) -> Result<(CustomerId, Details), Invalid> {
    // All into texts that wipe themselves, before any of them can be refused.
    let customer_id = Zeroizing::new(message.customer_id);
    let agent = Zeroizing::new(message.agent);
    let case_id = Zeroizing::new(message.case_id);
    let team = Zeroizing::new(message.team);
    let tags = Zeroizing::new(message.tags);

    let customer = CustomerId::parse(&customer_id)?;
    let (started, ended) = times(message.started_at, message.ended_at, now)?;
    let details = Details {
        channel: from_number("channel", message.channel, Channel::from_code)?,
        language: language(message.language)?,
        agent: optional(&agent, |text| named("agent", PrincipalName::parse(text)))?,
        case_id: optional(&case_id, CaseId::parse)?,
        team: optional(&team, TeamName::parse)?,
        started,
        ended,
        purposes: purposes(&message.purposes)?,
        legal_basis: from_number("legal_basis", message.legal_basis, LegalBasis::from_code)?,
        tags: parse_tags(&tags)?,
    };
    Ok((customer, details))
}

fn times(
    started: Option<prost_types::Timestamp>,
    ended: Option<prost_types::Timestamp>,
    now: Timestamp,
) -> Result<(Timestamp, Option<Timestamp>), Invalid> {
    let started = optional_timestamp("started_at", started)?;
    let started = started.ok_or_else(|| Invalid::new("started_at", Problem::Missing))?;
    let started = not_in_future("started_at", started, now)?;
    let ended =
        optional_timestamp("ended_at", ended)?.map(|ended| not_in_future("ended_at", ended, now)).transpose()?;
    if ended.is_some_and(|ended| ended < started) {
        return Err(Invalid::new("ended_at", Problem::OutOfRange { allowed: "it must not be before started_at" }));
    }
    Ok((started, ended))
}

fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Result<Option<T>, Invalid> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// The form of a language tag (RFC 5646, 2.1): subtags of 1 to 8 letters and digits, the first of letters. Whether a subtag
/// is registered is not looked up.
fn language(text: String) -> Result<Option<String>, Invalid> {
    let refuse = |problem| Err(Invalid::new("language", problem));
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > Details::MAX_LANGUAGE_BYTES {
        return refuse(Problem::TooLong { limit_bytes: Details::MAX_LANGUAGE_BYTES as u64 });
    }
    let is_subtag = |tag: &str| matches!(tag.len(), 1..=8) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let first = text.split('-').next().unwrap_or_default();
    if text.split('-').all(is_subtag) && first.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(Some(text));
    }
    refuse(Problem::Malformed { expected: "a BCP 47 language tag, such as en or pt-BR" })
}

fn purposes(names: &[String]) -> Result<Vec<Purpose>, Invalid> {
    if names.is_empty() {
        return Err(Invalid::new("purposes", Problem::Missing));
    }
    distinct("purposes", names, Details::MAX_PURPOSES, Purpose::parse)
}

fn parse_tags(names: &[String]) -> Result<Vec<Tag>, Invalid> {
    distinct("tags", names, Details::MAX_TAGS, Tag::parse)
}

/// A bounded list of names, none of them twice.
pub(super) fn distinct<T: Ord>(
    field: &str,
    names: &[String],
    most: usize,
    parse: impl Fn(&str) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    if names.len() > most {
        return Err(Invalid::new(field, Problem::TooMany { limit: most as u64 }));
    }
    let mut seen: Vec<T> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let path = format!("{field}[{index}]");
        let name = named(path.clone(), parse(name))?;
        if seen.contains(&name) {
            return Err(Invalid::new(path, Problem::Duplicate));
        }
        seen.push(name);
    }
    Ok(seen)
}
