//! The hash of each control row as it was checked at the start, or as this process wrote it since.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::audit::merkle::{self, Hash};

/// The most rows whose hash is kept: about 25 MB. Of a further one, what stands in the database counts.
const MAX_KNOWN: usize = 1 << 18;
/// Bytes of a hash of a row's key: no two rows have the same.
const NAME_BYTES: usize = 16;

/// A row, and its hash as it goes into the sum; `None` for a row that is not there.
pub struct Known {
    name: [u8; NAME_BYTES],
    hash: Option<Hash>,
}

impl Known {
    /// Of the row with this key.
    pub fn new(key: &[u8], hash: Option<Hash>) -> Self {
        Self { name: name(key), hash }
    }
}

fn name(key: &[u8]) -> [u8; NAME_BYTES] {
    *merkle::leaf(key).first_chunk().expect("a hash is longer than a name")
}

/// The hashes of rows.
#[derive(Default)]
pub struct KnownRows {
    hashes: HashMap<[u8; NAME_BYTES], Hash>,
    /// Whether a row that is not among them does not exist.
    has_all: bool,
}

impl KnownRows {
    /// Of no rows, to which every one is added.
    pub fn all() -> Self {
        Self { has_all: true, ..Self::default() }
    }

    /// The hash of a row. Where it is not known, that of what is stored.
    pub fn hash(&self, key: &[u8], stored: Option<Hash>) -> Option<Hash> {
        match self.hashes.get(&name(key)) {
            None if !self.has_all => stored,
            known => known.copied(),
        }
    }

    /// Follows a row.
    pub fn set(&mut self, Known { name, hash }: Known) {
        let has_room = self.hashes.len() < MAX_KNOWN;
        match (self.hashes.entry(name), hash) {
            (Entry::Occupied(mut known), Some(hash)) => *known.get_mut() = hash,
            (Entry::Occupied(known), None) => drop(known.remove()),
            (Entry::Vacant(place), Some(hash)) if has_room => drop(place.insert(hash)),
            (Entry::Vacant(_), Some(_)) => self.has_all = false,
            (Entry::Vacant(_), None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_did_not_fit_counts_as_it_is_stored_and_the_others_as_they_are_known() {
        let (key, hash) = (|number: usize| number.to_be_bytes(), |number: usize| [number as u8; 32]);
        let mut known = KnownRows::all();
        assert_eq!(known.hash(&key(1), Some(hash(1))), None, "nobody wrote it");
        (0..MAX_KNOWN).for_each(|number| known.set(Known::new(&key(number), Some(hash(number)))));
        assert_eq!(known.hash(&key(MAX_KNOWN), Some(hash(7))), None);
        known.set(Known::new(&key(MAX_KNOWN), Some(hash(9))));
        assert_eq!(known.hash(&key(MAX_KNOWN), Some(hash(7))), Some(hash(7)));
        known.set(Known::new(&key(5), Some(hash(6))));
        assert_eq!(known.hash(&key(5), Some(hash(5))), Some(hash(6)));
        known.set(Known::new(&key(5), None));
        assert_eq!(known.hash(&key(5), None), None);
        assert_eq!(known.hashes.len(), MAX_KNOWN - 1);
    }
}
