//! Opening a record from stolen rows with a stolen key: for the demo's attacker and for tests that attack. It goes round every
//! check by design: it takes no permit, looks at no fence and writes no ledger. No method of the service calls it, and it
//! opens nothing that the right key would not open.

use zeroize::Zeroizing;

use super::customer;
use super::format::{ContentForm, Head, Manifest, Place, Use, decode_transcript, use_key};
use super::tree::{RootRow, WrappedTop};
use crate::crypto::content;
use crate::crypto::hash::Sha256;
use crate::crypto::secret::Key;
use crate::domain::codec::Decode;
use crate::domain::ids::{Handle, RecordId, Revision, TenantId};
use crate::domain::record::{RecordKind, Turn};
use crate::root_key::{RootKey, RootKeyError, RootKeyId};
use crate::store::{ObjectName, rows};

/// Why a stolen record stays closed.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// The key does not open it.
    #[error("the key does not open it")]
    Sealed,
    /// A part of it was not stolen with it.
    #[error("a part of its content is not in the copy")]
    PartMissing,
    /// It cannot be read as what it should be.
    #[error(transparent)]
    Decode(#[from] Decode),
}

/// The root row of a stolen database.
pub struct StolenRoot(RootRow);

impl StolenRoot {
    /// Reads the row.
    pub fn read(row: &[u8]) -> Result<Self, Decode> {
        RootRow::decode(row).map(Self)
    }

    /// The epoch of the copy.
    pub fn epoch(&self) -> u64 {
        self.0.top.epoch
    }

    /// The root key that the copy wants.
    pub fn root_key(&self) -> RootKeyId {
        self.0.top.root_key
    }

    /// The top key, under whichever of the held root keys opens it; `None` if none does.
    pub fn top_key(&self, provider: &dyn RootKey) -> Result<Option<Key>, RootKeyError> {
        Ok(self.top_keys(provider)?.into_iter().next())
    }

    /// All top keys in the row, that of the epoch before included, which any of the held root keys opens.
    pub fn top_keys(&self, provider: &dyn RootKey) -> Result<Vec<Key>, RootKeyError> {
        let held = provider.held()?;
        let tops = std::iter::once(&self.0.top).chain(&self.0.previous);
        // Whatever root key the row names for it, each that is held is tried: as the one that is named, and as what it calls itself.
        let tried = tops.flat_map(|top| held.iter().map(move |key| (top, key.id)));
        let opened = tried.flat_map(|(top, key)| {
            let renamed = WrappedTop { root_key: key, ..top.clone() };
            [
                top.unwrap_with(provider, key).ok(),
                (key != top.root_key).then(|| renamed.unwrap(provider).ok()).flatten(),
            ]
        });
        Ok(opened.flatten().collect())
    }
}

/// Unwraps the secret of any place with the key of its customer or of its segment.
pub fn unwrap_secret(
    tenant: TenantId,
    handle: Handle,
    record: RecordId,
    revision: Revision,
    key: &Key,
    wrapped: &[u8],
) -> Result<Key, Closed> {
    customer::unwrap_secret(key, &Place { tenant, handle, record, revision }, wrapped).map_err(|_| Closed::Sealed)
}

/// Unwraps the key of a segment of a customer's secrets.
pub fn unwrap_segment(
    tenant: TenantId,
    handle: Handle,
    first: RecordId,
    customer_key: &Key,
    wrapped: &[u8],
) -> Result<Key, Closed> {
    customer::unwrap_segment((tenant, handle, customer_key), first, wrapped).map_err(|_| Closed::Sealed)
}

/// A record as it stands in a stolen database.
pub struct StolenRecord {
    place: Place,
    head: Head,
    head_bytes: usize,
    row: Vec<u8>,
}

/// What was in it.
pub enum Plaintext {
    /// A chat.
    Chat(Vec<Turn>),
    /// A recording.
    Recording {
        /// How long it is.
        bytes: u64,
        /// SHA-256 of its octets.
        sha256: [u8; 32],
    },
}

impl StolenRecord {
    /// Reads the head of a record; `row` is all its pieces, joined.
    pub fn read(tenant: TenantId, record: RecordId, revision: Revision, row: Vec<u8>) -> Result<Self, Decode> {
        let (head, head_bytes) = Head::decode(&row)?;
        Ok(Self { place: Place { tenant, handle: head.handle, record, revision }, head, head_bytes, row })
    }

    /// The handle of its customer.
    pub fn handle(&self) -> Handle {
        self.place.handle
    }

    /// Its id.
    pub fn id(&self) -> RecordId {
        self.place.record
    }

    /// The key of the row in which its wrapped secret stands.
    pub fn secret_row(&self) -> Vec<u8> {
        rows::secret(self.place.handle, self.place.record, self.place.revision)
    }

    /// Unwraps its secret with a customer key.
    pub fn secret(&self, customer_key: &Key, wrapped: &[u8]) -> Result<Key, Closed> {
        let Place { tenant, handle, record, revision } = self.place;
        unwrap_secret(tenant, handle, record, revision, customer_key, wrapped)
    }

    /// Opens its metadata and content with its secret. `object` gives the stolen bytes of an object.
    pub fn open(
        &self,
        secret: &Key,
        object: &mut dyn FnMut(ObjectName) -> Option<Vec<u8>>,
    ) -> Result<Plaintext, Closed> {
        let (head, sealed) = self.row.split_at(self.head_bytes);
        let (metadata, sealed) = sealed.split_at_checked(self.head.metadata_bytes as usize).ok_or(Closed::Sealed)?;
        self.unseal(secret, Use::Metadata, head, metadata)?;
        let packed = match self.head.form {
            ContentForm::Inline => self.unseal(secret, Use::Content, b"", sealed)?,
            ContentForm::Parts => {
                let manifest = Manifest::decode(&self.unseal(secret, Use::Manifest, b"", sealed)?)?;
                return self.open_parts(secret, &manifest, object);
            }
        };
        Ok(Plaintext::Chat(decode_transcript(&packed)?.0))
    }

    fn open_parts(
        &self,
        secret: &Key,
        manifest: &Manifest,
        object: &mut dyn FnMut(ObjectName) -> Option<Vec<u8>>,
    ) -> Result<Plaintext, Closed> {
        let is_chat = self.head.kind == RecordKind::Transcript;
        let mut hash = Sha256::new();
        let mut chat = Zeroizing::new(Vec::new());
        for (number, part) in (0u32..).zip(&manifest.parts) {
            let name = ObjectName::new(self.place.handle, self.place.record, part.object);
            let sealed = object(name).ok_or(Closed::PartMissing)?;
            let plain = self.unseal(secret, Use::Part, &number.to_be_bytes(), &sealed)?;
            hash.update(&plain);
            if is_chat {
                chat.extend_from_slice(&plain);
            }
        }
        if is_chat {
            return Ok(Plaintext::Chat(decode_transcript(&chat)?.0));
        }
        Ok(Plaintext::Recording { bytes: manifest.plain_bytes(), sha256: hash.finish() })
    }

    fn unseal(&self, secret: &Key, r#use: Use, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Closed> {
        content::open(&use_key(secret, r#use, &self.place), context, sealed).map_err(|_| Closed::Sealed)
    }
}
