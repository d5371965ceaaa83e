//! What is stored in the demo, and the hash by which it is known again.

use std::path::PathBuf;

use bytes::Bytes;

use crate::api::v1;
use crate::crypto::hash::Sha256;

/// One chat of a customer.
pub(super) struct Chat {
    pub customer: String,
    /// The platform's name of it; makes the request id.
    pub name: String,
    pub turns: Vec<v1::Turn>,
}

/// One call of a customer.
pub(super) struct Call {
    pub customer: String,
    pub name: String,
    pub sound: Sound,
}

/// The octets of a call.
pub(super) enum Sound {
    Made(Bytes),
    File { path: PathBuf, bytes: u64 },
}

impl Sound {
    /// How many octets.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Made(sound) => sound.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }
}

/// SHA-256 over what was said.
pub(super) type ContentHash = [u8; 32];

/// The hash of a chat: over each turn's speaker (its number), the length of its text, and its text.
pub(super) fn hash_of_turns<'a>(turns: impl Iterator<Item = (i32, &'a str)>) -> ContentHash {
    let mut hash = Sha256::new();
    for (speaker, text) in turns {
        hash.update(&speaker.to_be_bytes());
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finish()
}

/// The hash of a chat as it goes over the wire.
pub(super) fn hash_of_chat(turns: &[v1::Turn]) -> ContentHash {
    hash_of_turns(turns.iter().map(|turn| (turn.speaker, turn.text.as_str())))
}

/// Something that was stored, as the platform remembers it.
pub(super) struct Stored {
    pub record_id: String,
    pub customer: String,
    pub hash: ContentHash,
    /// Of the texts, or of the octets.
    pub bytes: u64,
}
