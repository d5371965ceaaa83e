//! What is stored in the demo, and the hash by which it is known again.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::error::DemoError;
use crate::api::v1;
use crate::cli::client::CHUNK_BYTES;
use crate::cli::errors::CliError;
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

    /// The octets from the first on.
    pub async fn open(&self) -> Result<Box<dyn AsyncRead + Unpin + Send>, DemoError> {
        Ok(match self {
            Self::Made(bytes) => Box::new(io::Cursor::new(bytes.clone())),
            Self::File { path, .. } => Box::new(File::open(path).await.map_err(DemoError::io("read", path))?),
        })
    }

    /// SHA-256 of all octets.
    pub async fn hash(&self) -> Result<ContentHash, CliError> {
        let mut content = self.open().await?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = content.read(&mut chunk).await.map_err(|source| CliError::Content { source })?;
            if length == 0 {
                return Ok(hash.finish());
            }
            hash.update(&chunk[..length]);
        }
    }

    /// The octets of a range, which lies within them.
    pub async fn span(&self, range: &v1::ByteRange) -> Result<Vec<u8>, CliError> {
        let mut content = self.open().await?;
        let read = async {
            tokio::io::copy(&mut (&mut content).take(range.offset), &mut tokio::io::sink()).await?;
            let mut bytes = Vec::new();
            content.take(range.length).read_to_end(&mut bytes).await.map(|_| bytes)
        };
        read.await.map_err(|source| CliError::Content { source })
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
