//! Page tokens: where the next page begins, tied to the question that was asked. They hold nothing secret and nothing personal.

use prost::Message as _;
use zeroize::Zeroizing;

use super::v1;
use crate::crypto::hash::sha256;
use crate::domain::codec::{hex, unhex};
use crate::domain::ids::RecordId;
use crate::domain::{Invalid, Problem};

/// A hash of all that a list was asked, but for its page.
pub(super) struct Question([u8; 8]);

/// What a list of records was asked.
pub(super) fn question(message: &v1::ListRecordsRequest) -> Question {
    let asked = v1::ListRecordsRequest { page_token: String::new(), page_size: 0, ..message.clone() };
    let hash = sha256(&Zeroizing::new(asked.encode_to_vec()));
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    Question(first)
}

/// The token of a page that begins behind `record`.
pub(super) fn write(record: RecordId, question: &Question) -> String {
    hex(&[&record.as_bytes()[..], &question.0].concat())
}

/// Where the page begins.
pub(super) fn read(token: &str, question: &Question) -> Result<RecordId, Invalid> {
    let bytes = unhex::<24>(token).filter(|bytes| bytes[16..] == question.0);
    let record = bytes.and_then(|bytes| bytes[..16].try_into().ok()).map(RecordId::from_bytes);
    let expected = "next_page_token of the page before, with all other fields as they were";
    record.ok_or_else(|| Invalid::new("page_token", Problem::Malformed { expected }))
}

/// The token of a page that begins behind a stored key.
pub(super) fn write_key(key: &[u8]) -> String {
    hex(key)
}

/// The stored key of exactly `N` bytes behind which a page begins.
pub(super) fn read_key<const N: usize>(token: &str) -> Result<[u8; N], Invalid> {
    let expected = "next_page_token of the page before, with all other fields as they were";
    unhex(token).ok_or_else(|| Invalid::new("page_token", Problem::Malformed { expected }))
}
