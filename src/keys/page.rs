//! One page: the wrapped children of one node, sealed as a whole under the node's own key.
//!
//! Stored form: AES-256-GCM (nonce, ciphertext, tag) over
//! `version (1) ‖ shape (1) ‖ count (2) ‖ entries ‖ zeros up to the size class`, with the node's kind and id as associated data, so
//! that a page passes neither for another one nor for one of another kind.

use zeroize::Zeroizing;

use super::{NodeId, TreeError};
use crate::crypto::key_wrap;
use crate::crypto::secret::Key;
use crate::domain::codec::{Decode, Reader, Writer};

const VERSION: u8 = 1;
const WHAT: &str = "a page of the key tree";
const SHAPE_INNER: u8 = 1;
const SHAPE_LEAF: u8 = 2;
/// Pages are padded to one of these lengths, so that a page shows little of how many entries it has.
const SIZE_CLASSES: [usize; 4] = [512, 1024, 2560, 3584];

/// What a page belongs to; part of its associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Top = 1,
    Tenants = 2,
    Tenant = 3,
    Directory = 4,
    Customers = 5,
}

/// The name of a leaf in a trie: a keyed hash, of a person or for a handle, so labels are uniformly distributed.
pub(super) type Label = [u8; 16];

/// A child of an inner page.
pub(super) struct Child {
    /// In a trie the next four bits of the label; in the top and tenant pages the place of the key.
    pub slot: u8,
    /// The child's page; [`NO_PAGE`] for a key that seals no page.
    pub id: NodeId,
    pub key: Key,
}

/// Stands in a [`Child`] whose key seals no page.
pub(super) const NO_PAGE: NodeId = NodeId([0xff; 16]);

/// A leaf entry: of the directory, the handle and 16 zero bytes; of the others a key.
pub(super) struct Entry {
    pub label: Label,
    pub payload: Key,
}

/// An opened page.
pub(super) enum Page {
    /// At most one child a slot, in order of the slots.
    Inner(Vec<Child>),
    /// In order of the labels.
    Leaf(Vec<Entry>),
}

impl Page {
    pub fn empty_leaf() -> Self {
        Self::Leaf(Vec::new())
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Self::Inner(children) => children.is_empty(),
            Self::Leaf(entries) => entries.is_empty(),
        }
    }

    /// The child in `slot` of an inner page.
    pub fn child(&self, slot: u8) -> Option<&Child> {
        match self {
            Self::Inner(children) => children.iter().find(|child| child.slot == slot),
            Self::Leaf(_) => None,
        }
    }

    /// The entry of a leaf page with this label.
    pub fn entry(&self, label: &Label) -> Option<&Entry> {
        match self {
            Self::Leaf(entries) => entries.binary_search_by(|e| e.label.cmp(label)).ok().map(|at| &entries[at]),
            Self::Inner(_) => None,
        }
    }

    /// Seals the page for storing.
    pub fn seal(&self, kind: Kind, id: NodeId, key: &Key) -> Vec<u8> {
        key_wrap::seal(key, &associated_data(kind, id), &self.encode())
    }

    /// Opens a stored page.
    pub fn open(kind: Kind, id: NodeId, key: &Key, stored: &[u8]) -> Result<Self, TreeError> {
        let plain = key_wrap::open(key, &associated_data(kind, id), stored).map_err(|_| TreeError::CannotOpen(id))?;
        Ok(Self::decode(&plain)?)
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let largest = SIZE_CLASSES[SIZE_CLASSES.len() - 1];
        let header = Writer::with_capacity(largest).u8(VERSION);
        let count = |n: usize| u16::try_from(n).expect("a page has at most a few dozen entries");
        let mut bytes = match self {
            Self::Inner(children) => {
                children.iter().fold(header.u8(SHAPE_INNER).u16(count(children.len())), |page, child| {
                    page.u8(child.slot).fixed(&child.id.0).fixed(child.key.expose())
                })
            }
            Self::Leaf(entries) => {
                entries.iter().fold(header.u8(SHAPE_LEAF).u16(count(entries.len())), |page, entry| {
                    page.fixed(&entry.label).fixed(entry.payload.expose())
                })
            }
        }
        .finish();
        let class = SIZE_CLASSES.into_iter().find(|class| bytes.len() <= *class);
        bytes.resize(class.expect("LEAF_LIMIT and the fan-out keep pages below the largest size class"), 0);
        bytes
    }

    fn decode(plain: &[u8]) -> Result<Self, Decode> {
        let (mut reader, _) = Reader::versioned(WHAT, plain, VERSION)?;
        let shape = reader.u8()?;
        let count = reader.u16()?;
        let page = match shape {
            SHAPE_INNER => Self::Inner((0..count).map(|_| decode_child(&mut reader)).collect::<Result<_, _>>()?),
            SHAPE_LEAF => Self::Leaf((0..count).map(|_| decode_entry(&mut reader)).collect::<Result<_, _>>()?),
            _ => return Err(reader.damaged()),
        };
        let damaged = reader.damaged();
        if reader.rest().iter().all(|byte| *byte == 0) { Ok(page) } else { Err(damaged) }
    }
}

fn decode_child(reader: &mut Reader<'_>) -> Result<Child, Decode> {
    Ok(Child { slot: reader.u8()?, id: NodeId(reader.array()?), key: decode_key(reader)? })
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<Entry, Decode> {
    Ok(Entry { label: reader.array()?, payload: decode_key(reader)? })
}

fn decode_key(reader: &mut Reader<'_>) -> Result<Key, Decode> {
    let bytes = reader.take(32)?;
    Ok(Key::fill_with(|key| key.copy_from_slice(bytes)))
}

fn associated_data(kind: Kind, id: NodeId) -> Vec<u8> {
    Writer::default().text("oubliette page").u8(kind as u8).fixed(&id.0).finish().to_vec()
}

/// The slot that `label` takes in an inner trie page at `depth`: its `depth`-th four bits.
pub(super) fn nibble(label: &Label, depth: usize) -> u8 {
    let byte = label[depth / 2];
    if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f }
}
