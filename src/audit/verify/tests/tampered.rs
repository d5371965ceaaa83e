//! Changes by somebody who has the files and no key.

use super::shelf::{Shelf, bundle, entries, exported, verified};
use super::*;

/// A full and a partial tile of level 0, and one of level 1.
const SIZE: u64 = 259;

fn refused(copy: &Shelf, what: &str) -> NotVerified<std::convert::Infallible> {
    match verified(copy) {
        Ok(_) => panic!("not found: {what}"),
        Err(error) => error,
    }
}

/// The copy with one file changed.
fn with(copy: &Shelf, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> Shelf {
    let mut changed = copy.clone();
    change(changed.0.get_mut(path).unwrap());
    changed
}

/// The copy with other entries in its bundles, and all else as it was.
fn with_entries(copy: &Shelf, entries: &[Vec<u8>]) -> Shelf {
    let mut changed = copy.clone();
    for tile in tile::grown(0, entries.len() as u64).filter(|tile| tile.kind == Kind::Entries) {
        changed.0.insert(tile.to_string(), bundle(entries, tile));
    }
    changed
}

/// A copy of other entries, tiles and all, under the checkpoint of this one.
fn redone(copy: &Shelf, entries: &[Vec<u8>]) -> Shelf {
    let mut redone = exported(entries);
    redone.0.insert(CHECKPOINT.to_owned(), copy.0[CHECKPOINT].clone());
    redone
}

#[test]
fn every_bit_of_a_small_copy_counts_and_so_does_every_byte_too_many_or_too_few() {
    for size in [1, 3] {
        let copy = exported(&entries(size));
        for (path, bytes) in &copy.0 {
            for place in 0..bytes.len() {
                for bit in 0..8 {
                    refused(&with(&copy, path, |b| b[place] ^= 1 << bit), &format!("bit {bit} of {place} of {path}"));
                }
                refused(&with(&copy, path, |b| b.truncate(place)), &format!("{path} cut at {place}"));
                refused(&with(&copy, path, |b| drop(b.drain(place..=place))), &format!("{path} without {place}"));
                refused(&with(&copy, path, |b| b.insert(place, b[place])), &format!("{path} with {place} twice"));
            }
            for more in [0, b'\n', b'x'] {
                refused(&with(&copy, path, |b| b.push(more)), &format!("{path} with {more} behind it"));
            }
        }
    }
}

#[test]
fn every_byte_of_a_copy_with_full_and_partial_tiles_counts_and_the_words_say_where() {
    let copy = exported(&entries(SIZE));
    let found = |path: &str, place: usize| {
        let what = format!("byte {place} of {path}");
        refused(&with(&copy, path, |bytes| bytes[place] ^= 0x40), &what)
    };
    for (path, bytes) in &copy.0 {
        for place in 0..bytes.len() {
            let error = found(path, place);
            let is_named = match &error {
                NotVerified::Checkpoint(_) => path == CHECKPOINT,
                NotVerified::Bundle { path: named, .. } | NotVerified::Tile { path: named, .. } => named == path,
                NotVerified::Entry { path: named, entry } => {
                    let in_tile = named == path && *entry % 256 == place as u64 / 32;
                    in_tile || *path == named.replace("tile/0", "tile/entries")
                }
                _ => false,
            };
            assert!(is_named, "byte {place} of {path}: {error}");
        }
    }
    let words = [
        (
            found("tile/0/001.p/3", 64),
            "entry 258 is not the one whose hash stands in tile/0/001.p/3: one of them was changed",
        ),
        (found("tile/1/000.p/1", 0), "hash 0 of tile/1/000.p/1 does not follow from the entries: the tile was changed"),
        (
            found("tile/entries/000", 0),
            "tile/entries/000 is not the bundle of 256 entries that it must be: it ends within its entry 0, counted from 0",
        ),
    ];
    for (error, expected) in words {
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_file_that_is_missing_or_stands_in_the_place_of_another_is_found() {
    let copy = exported(&entries(700));
    for path in copy.0.keys() {
        let mut without = copy.clone();
        without.0.remove(path);
        assert_eq!(refused(&without, path).to_string(), format!("{path} is missing"));
        for other in copy.0.keys().filter(|other| copy.0[*other] != copy.0[path]) {
            let (mut swapped, mut copied) = (copy.clone(), copy.clone());
            swapped.0.insert(path.clone(), copy.0[other].clone());
            swapped.0.insert(other.clone(), copy.0[path].clone());
            refused(&swapped, &format!("{path} and {other} swapped"));
            copied.0.insert(path.clone(), copy.0[other].clone());
            refused(&copied, &format!("{other} in the place of {path}"));
        }
    }
}

#[test]
fn entries_that_are_dropped_added_doubled_edited_or_moved_are_found_even_if_all_tiles_are_made_anew() {
    let all = entries(SIZE);
    let copy = exported(&all);
    // The seed says which places; it is told with what was not found.
    for seed in 0..40_u64 {
        let place =
            |nth: u64| (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20 * nth as u32 + 7) % SIZE) as usize;
        let (one, other) = (place(0), place(1));
        let mut edits: Vec<(&str, Vec<Vec<u8>>)> = vec![("dropped", all.clone()), ("doubled", all.clone())];
        edits[0].1.remove(one);
        edits[1].1.insert(one, all[one].clone());
        edits.push(("added", [&all[..], &entries(SIZE + 1)[SIZE as usize..]].concat()));
        edits.push(("cut", all[..one].to_vec()));
        edits.push(("edited", all.clone()));
        edits[4].1[one] = shelf::entry_at(5);
        if one != other {
            edits.push(("swapped", all.clone()));
            edits[5].1.swap(one, other);
            edits.push(("moved", all.clone()));
            let moved = edits[6].1.remove(one);
            edits[6].1.insert(other, moved);
            edits.push(("overwritten", all.clone()));
            edits[7].1[one] = all[other].clone();
        }
        for (what, edited) in edits {
            let what = format!("{what}, seed {seed}: {one} and {other}");
            refused(&redone(&copy, &edited), &what);
            // An entry behind the log's end is none of it while the bundles of the log are as they were.
            if edited[..SIZE.min(edited.len() as u64) as usize] != all[..] {
                let clumsy = with_entries(&copy, &edited);
                let is_untouched =
                    tile::grown(0, SIZE).all(|tile| clumsy.0[&tile.to_string()] == copy.0[&tile.to_string()]);
                assert!(is_untouched || verified(&clumsy).is_err(), "{what}");
            }
        }
    }
}

#[test]
fn a_whole_log_that_was_replaced_does_not_fit_its_checkpoint() {
    let copy = exported(&entries(SIZE));
    let mut other = entries(SIZE);
    other[0] = shelf::entry_at(1);
    assert_eq!(refused(&redone(&copy, &other), "another log"), NotVerified::Root { size: SIZE });
    // One with no entries has nothing but its root.
    let empty = exported(&[]);
    let wrong = with(&empty, CHECKPOINT, |note| *note = String::from_utf8_lossy(note).replace("47DE", "47DF").into());
    assert_eq!(refused(&wrong, "the root of nothing"), NotVerified::Checkpoint(NoteError::NotSigned));
}
