//! Copies in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::super::*;
use crate::audit::merkle::{Hash, Node, Nodes};
use crate::audit::note::Origin;
use crate::audit::{Entry, Event};
use crate::crypto::secret::Key;
use crate::crypto::sign::SigningKey;
use crate::domain::ids::TenantId;

/// The files of a copy, by their paths.
#[derive(Clone)]
pub struct Shelf(pub BTreeMap<String, Vec<u8>>);

impl Files for Shelf {
    type Error = Infallible;

    fn read(&self, path: &str, at_most: usize) -> Result<Option<Vec<u8>>, Infallible> {
        assert!(at_most <= tile::longest_bundle(FULL) + 1, "{path}: memory is bounded");
        Ok(self.0.get(path).map(|bytes| bytes[..at_most.min(bytes.len())].to_vec()))
    }
}

struct Kept(BTreeMap<Node, Hash>);

impl Nodes for Kept {
    type Error = Infallible;

    fn hash(&self, node: Node) -> Result<Hash, Infallible> {
        Ok(self.0[&node])
    }
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Key::copy_of(&[seed; 32]))
}

fn origin() -> Origin {
    Origin::parse("vault.example/log").unwrap()
}

pub fn log_key(seed: u8) -> VerifierKey {
    VerifierKey { name: origin(), public: *key(seed).public() }
}

pub fn trusting(keys: &[VerifierKey]) -> Trusted<'_> {
    Trusted { keys, witnesses: &[], earlier: &[], tolerance_ms: 0 }
}

/// What comes of checking a copy with the log's key alone.
pub fn verified(copy: &Shelf) -> Result<Report, NotVerified<Infallible>> {
    verify(copy, &trusting(&[log_key(1)]), |_| ())
}

pub fn entry_at(ms: u64) -> Vec<u8> {
    let at = Timestamp::from_ms(ms).unwrap();
    Entry { at, tenant: TenantId([1; 16]), caller: None, event: Event::Readmitted }.encode().to_vec()
}

/// The first entries of the log, each another.
pub fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| entry_at(1_700_000_000_000 + number)).collect()
}

/// The log's checkpoint with these entries, signed by the key with this seed.
pub fn sign(entries: &[Vec<u8>], seed: u8) -> String {
    let mut frontier = Frontier::EMPTY;
    entries.iter().for_each(|entry| drop(frontier.push(leaf(entry))));
    Checkpoint { origin: origin(), size: frontier.size(), root: frontier.root() }.sign(&key(seed))
}

/// A copy of the log with these entries.
pub fn exported(entries: &[Vec<u8>]) -> Shelf {
    let (mut kept, mut frontier) = (Kept(BTreeMap::new()), Frontier::EMPTY);
    entries.iter().for_each(|entry| kept.0.extend(frontier.push(leaf(entry))));
    let mut files = BTreeMap::from([(CHECKPOINT.to_owned(), sign(entries, 1).into_bytes())]);
    for tile in tile::grown(0, frontier.size()) {
        let bytes = match tile.kind {
            Kind::Entries => bundle(entries, tile),
            Kind::Hashes { .. } => tile::hashes(&kept, tile).unwrap(),
        };
        files.insert(tile.to_string(), bytes);
    }
    Shelf(files)
}

pub fn bundle(entries: &[Vec<u8>], of: Tile) -> Vec<u8> {
    let first = of.first() as usize;
    tile::bundle(entries[first..first + usize::from(of.width)].iter().map(Vec::as_slice)).unwrap()
}
