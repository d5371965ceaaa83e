//! The version of the database's layout as a whole.

use crate::domain::codec::{Decode, Reader, Writer};

/// The layouts that there were, the newest last. An older one is upgraded when the vault is opened ([`upgrade`](crate::vault::upgrade)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(in super::super) enum Layout {
    /// The first one.
    First = 1,
    /// Each page of the key tree has a digest, and the sum of the control rows is sealed.
    PageDigests = 2,
}

impl Layout {
    /// The one that this program writes.
    pub const NEWEST: Self = Self::PageDigests;
}

pub(in super::super) fn encode_format() -> Vec<u8> {
    Writer::versioned(Layout::NEWEST as u8).text("oubliette").finish().to_vec()
}

pub(in super::super) fn decode_format(stored: &[u8]) -> Result<Layout, Decode> {
    let (mut r, version) = Reader::versioned("the database", stored, Layout::NEWEST as u8)?;
    if r.text()? != "oubliette" {
        return Err(r.damaged());
    }
    r.end()?;
    Ok(if version < Layout::NEWEST as u8 { Layout::First } else { Layout::NEWEST })
}
