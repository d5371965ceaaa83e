use std::collections::BTreeMap;
use std::convert::Infallible;

use super::*;
use crate::audit::merkle::{Frontier, check_consistency, check_inclusion, consistency, inclusion, leaf, root};
use crate::audit::tile::{grown, hashes};

/// A copy in memory.
struct Shelf(BTreeMap<String, Vec<u8>>);

impl Files for Shelf {
    type Error = Infallible;

    fn read(&self, path: &str, at_most: usize) -> Result<Option<Vec<u8>>, Infallible> {
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

fn kept(size: u64) -> Kept {
    let (mut kept, mut frontier) = (Kept(BTreeMap::new()), Frontier::EMPTY);
    (0..size).for_each(|number| kept.0.extend(frontier.push(leaf(&number.to_be_bytes()))));
    kept
}

fn shelf(kept: &Kept, size: u64) -> Shelf {
    let tiles = grown(0, size).filter(|tile| tile.kind != Kind::Entries);
    Shelf(tiles.map(|tile| (tile.to_string(), hashes(kept, tile).unwrap())).collect())
}

#[test]
fn roots_and_proofs_from_tiles_are_those_of_the_log() {
    let kept = kept(66_000);
    for size in [1, 2, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 66_000] {
        let shelf = shelf(&kept, size);
        let tiles = TileNodes::new(&shelf, size);
        let now = root(&kept, size).unwrap();
        assert_eq!(root(&tiles, size).unwrap(), now, "{size}");
        for index in [0, 1, size / 3, size / 2, size.saturating_sub(2), size - 1] {
            let index = index.min(size - 1);
            let proof = inclusion(&tiles, index, size).unwrap();
            assert_eq!(proof, inclusion(&kept, index, size).unwrap());
            check_inclusion(&leaf(&index.to_be_bytes()), index, size, &proof, &now).unwrap();
            let (before, proof) = (root(&tiles, index).unwrap(), consistency(&tiles, index, size).unwrap());
            check_consistency((index, &before), (size, &now), &proof).unwrap();
        }
    }
}

#[test]
fn a_tile_that_is_missing_or_has_another_size_is_refused_by_name() {
    let kept = kept(600);
    let whole = shelf(&kept, 600);
    for path in whole.0.keys() {
        let (mut without, mut shorter, mut longer) = (shelf(&kept, 600), shelf(&kept, 600), shelf(&kept, 600));
        without.0.remove(path);
        shorter.0.get_mut(path).unwrap().pop();
        longer.0.get_mut(path).unwrap().push(0);
        let first = Tile::parse(path).unwrap().nodes().next().unwrap();
        let asked = |shelf: &Shelf| TileNodes::new(shelf, 600).hash(first).unwrap_err();
        assert_eq!(asked(&without).to_string(), format!("{path} is missing"));
        for other in [shorter, longer] {
            assert!(matches!(asked(&other), CopyError::Size { path: named, .. } if named == *path));
        }
    }
    let tiles = TileNodes::new(&whole, 600);
    let outside = [(0, 600), (1, 300), (3, 75), (8, 2), (9, 1), (16, 0), (63, 0), (64, 0), (255, 0), (0, u64::MAX)];
    for (level, index) in outside.into_iter().chain([(7, u64::MAX), (63, u64::MAX)]) {
        let outcome = tiles.hash(Node { level, index });
        assert_eq!(outcome, Err(CopyError::Outside { size: 600, level, index }));
    }
}
