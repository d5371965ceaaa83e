use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::audit::merkle::{Frontier, Hash, leaf};

struct Kept(BTreeMap<Node, Hash>);

impl Nodes for Kept {
    type Error = Node;

    fn hash(&self, node: Node) -> Result<Hash, Node> {
        self.0.get(&node).copied().ok_or(node)
    }
}

fn paths(before: u64, size: u64) -> Vec<String> {
    grown(before, size).map(|tile| tile.to_string()).collect()
}

/// The examples of the specification.
#[test]
fn paths_are_written_as_the_specification_writes_them() {
    let tile = |level, index, width| Tile { kind: Kind::Hashes { level }, index, width };
    assert_eq!(tile(0, 1_234_067, FULL).to_string(), "tile/0/x001/x234/067");
    assert_eq!(tile(7, 0, 1).to_string(), "tile/7/000.p/1");
    assert_eq!(Tile { kind: Kind::Entries, index: 1_000, width: 255 }.to_string(), "tile/entries/x001/000.p/255");
    // A tree with 70,000 entries, and one with 256.
    let of_70_000: Vec<Tile> = grown(0, 70_000).filter(|tile| tile.kind != Kind::Entries).collect();
    let full = |level| of_70_000.iter().filter(|t| t.kind == Kind::Hashes { level } && t.width == FULL).count();
    let partial: Vec<Tile> = of_70_000.iter().copied().filter(|tile| tile.width < FULL).collect();
    assert_eq!((full(0), full(1), full(2)), (273, 1, 0));
    assert_eq!(partial, [tile(0, 273, 112), tile(1, 1, 17), tile(2, 0, 1)]);
    assert_eq!(paths(0, 256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
}

#[test]
fn every_path_is_read_back_and_nothing_else_is() {
    for index in [0, 1, 9, 10, 999, 1_000, 1_001, 999_999, 1_000_000, 1_234_067, u64::MAX / 256] {
        for kind in [Kind::Entries, Kind::Hashes { level: 0 }, Kind::Hashes { level: 7 }] {
            for width in [1, 2, 17, 255, FULL] {
                let tile = Tile { kind, index, width };
                assert_eq!(Tile::parse(&tile.to_string()), Some(tile), "{tile}");
            }
        }
    }
    let others = [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/1000",
        "tile/00/000",
        "tile/8/000",
        "tile/63/000",
        "tile/-1/000",
        "tile/+0/000",
        "tile/entry/000",
        "Tile/0/000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0//000",
        "tile/0/x000/067",
        "tile/0/x000",
        "tile/0/x001",
        "tile/0/001/067",
        "tile/0/x01/067",
        "tile/0/x001/x067",
        "tile/0/x001/067 ",
        "tile/0/xx01/067",
        "tile/0/+01",
        "tile/0/x001/\u{0661}\u{0661}\u{0661}",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/+1",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/.p/1",
        "tile/0/../000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x072/x057/x594/x037/x927/936",
        "tile/entries/000.P/1",
        "tile/entries/data/000",
    ];
    for path in others {
        assert_eq!(Tile::parse(path), None, "{path}");
    }
}

/// The tiles of each size, by the definition: the hashes of each level, cut into pieces of 256.
fn by_definition(size: u64) -> BTreeSet<Tile> {
    let mut tiles = BTreeSet::new();
    let kinds = [(Kind::Entries, size), (Kind::Hashes { level: 0 }, size), (Kind::Hashes { level: 1 }, size / 256)];
    for (kind, count) in kinds.into_iter().chain([(Kind::Hashes { level: 2 }, size / 65_536)]) {
        let full = (0..count / 256).map(|index| Tile { kind, index, width: FULL });
        let partial = Tile { kind, index: count / 256, width: (count % 256) as u16 };
        tiles.extend(full.chain((partial.width > 0).then_some(partial)));
    }
    tiles
}

#[test]
fn a_log_that_grows_writes_each_tile_that_is_new_or_wider_and_no_other() {
    let sizes = [0, 1, 2, 255, 256, 257, 511, 512, 513, 1_000, 65_535, 65_536, 65_537, 65_792, 70_000, 131_072];
    for before in sizes {
        for size in sizes {
            let written: Vec<Tile> = grown(before, size).collect();
            let distinct: BTreeSet<Tile> = written.iter().copied().collect();
            assert_eq!(distinct.len(), written.len());
            let new = if before < size { &by_definition(size) - &by_definition(before) } else { BTreeSet::new() };
            assert_eq!(distinct, new, "{before} to {size}");
        }
    }
    // The largest log there could be has all levels, and can be asked for one tile without the others.
    let last = Tile { kind: Kind::Hashes { level: 7 }, index: 0, width: 255 };
    assert_eq!(Tile::of(last.kind, 0, u64::MAX), Some(last));
    assert_eq!(grown(u64::MAX - 1, u64::MAX).count(), 2);
}

#[test]
fn a_tile_holds_the_hashes_of_its_subtrees() {
    let (mut kept, mut frontier) = (Kept(BTreeMap::new()), Frontier::EMPTY);
    for number in 0..65_793_u32 {
        kept.0.extend(frontier.push(leaf(&number.to_be_bytes())));
    }
    let hashes_of = |path: &str| hashes(&kept, Tile::parse(path).unwrap()).unwrap();
    assert_eq!(hashes_of("tile/0/001.p/2"), [leaf(&256_u32.to_be_bytes()), leaf(&257_u32.to_be_bytes())].concat());
    assert_eq!(hashes_of("tile/entries/001.p/2"), hashes_of("tile/0/001.p/2"));
    assert_eq!(hashes_of("tile/0/255").len(), 8_192);
    assert_eq!(hashes_of("tile/1/001.p/1"), kept.0[&Node { level: 8, index: 256 }]);
    assert_eq!(hashes_of("tile/2/000.p/1"), kept.0[&Node { level: 16, index: 0 }]);
    let missing = Node { level: 8, index: 257 };
    assert_eq!(hashes(&kept, Tile::parse("tile/1/001.p/2").unwrap()), Err(missing));
}

#[test]
fn a_bundle_gives_back_its_entries_and_no_shorter_or_longer_one_is_read() {
    let longest = vec![7; usize::from(u16::MAX)];
    let entries: [&[u8]; 5] = [b"one", b"", &[0, 0], &longest, b"x"];
    let bytes = bundle(entries).unwrap();
    assert_eq!(bytes[..7], *b"\0\x03one\0\0");
    assert_eq!(unbundle(&bytes, 5).unwrap(), entries);
    assert_eq!(unbundle(&[], 0), Ok(vec![]));
    assert_eq!(unbundle(&bytes, 4), Err(NotABundle::RunsOn(3)));
    assert_eq!(unbundle(&bytes, 6), Err(NotABundle::EndsIn(5)));
    for length in (0..30).chain(bytes.len() - 30..bytes.len()) {
        assert!(matches!(unbundle(&bytes[..length], 5), Err(NotABundle::EndsIn(_))), "{length}");
    }
    assert_eq!(bundle([&vec![0; 65_536][..]]), Err(TooLong(65_536)));
    assert!(bytes.len() < longest_bundle(5));
}
