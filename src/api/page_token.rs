//! Page tokens: where the next page begins. What would tell something comes sealed from the vault, tied to caller and question.

use prost::Message as _;
use zeroize::Zeroizing;

use super::v1;
use crate::crypto::hash::sha256;
use crate::domain::Invalid;
use crate::domain::codec::{hex, unhex};
use crate::vault::foreign_page;

/// A hash of all that a list of records was asked, but for its page.
pub(super) fn question(message: &v1::ListRecordsRequest) -> [u8; 32] {
    let asked = v1::ListRecordsRequest { page_token: String::new(), page_size: 0, ..message.clone() };
    sha256(&Zeroizing::new(asked.encode_to_vec()))
}

/// The token of a page.
pub(super) fn write(place: &[u8]) -> String {
    hex(place)
}

/// The place where a page begins, of exactly `N` bytes.
pub(super) fn read<const N: usize>(token: &str) -> Result<[u8; N], Invalid> {
    unhex(token).ok_or_else(foreign_page)
}
