//! Copies of logs that are whole, and every kind of change to one.

mod rewritten;
mod shelf;
mod tampered;

use shelf::{entries, exported, log_key, sign, trusting, verified};

use super::*;
use crate::audit::copy::TileNodes;
use crate::audit::merkle;

/// Around the edges of tiles of each level that a test can fill.
const SIZES: [u64; 10] = [0, 1, 2, 255, 256, 257, 511, 512, 65_536, 65_537];

#[test]
fn a_copy_of_each_size_is_whole_and_continues_each_earlier_one() {
    let all = entries(65_537);
    let notes: Vec<String> = SIZES.iter().map(|size| sign(&all[..*size as usize], 1)).collect();
    for size in SIZES {
        let copy = exported(&all[..size as usize]);
        let earlier: Vec<&str> = SIZES.iter().zip(&notes).filter(|(of, _)| **of <= size).map(|(_, n)| &**n).collect();
        let (keys, mut told) = ([log_key(1)], Vec::new());
        let trusted = Trusted { earlier: &earlier, ..trusting(&keys) };
        let report = verify(&copy, &trusted, |checked| told.push(checked)).unwrap();
        let Checkpoint { size: found, root, .. } = report.signed.checkpoint;
        assert_eq!((found, told.last().copied().unwrap_or(0)), (size, size));
        assert_eq!(merkle::root(&TileNodes::new(&copy, size), size).unwrap(), root);
        assert_eq!((report.times.first.is_some(), report.times.set_back), (size > 0, 0));
        for larger in SIZES.iter().zip(&notes).filter(|(of, _)| **of > size) {
            let refused = verify(&copy, &Trusted { earlier: &[larger.1], ..trusting(&keys) }, |_| ());
            assert_eq!(refused, Err(NotVerified::Shortened { size, earlier: *larger.0 }));
        }
    }
}

#[test]
fn times_are_reported_and_clocks_that_were_set_back_are_counted() {
    let at = [1_000, 5_000, 4_000, 4_999, 9_000, 1_500, 9_000, 8_999];
    let all: Vec<_> = at.iter().map(|ms| shelf::entry_at(*ms)).collect();
    let copy = exported(&all);
    let times = |tolerance_ms| {
        let report = verify(&copy, &Trusted { tolerance_ms, ..trusting(&[log_key(1)]) }, |_| ());
        report.unwrap().times
    };
    let ms = |ms| Timestamp::from_ms(ms);
    let furthest = Some(SetBack { entry: 5, by_ms: 7_500 });
    let expected = Times { first: ms(1_000), last: ms(8_999), latest: ms(9_000), set_back: 4, furthest };
    assert_eq!(times(0), expected);
    assert_eq!(times(1), Times { set_back: 2, ..expected.clone() });
    assert_eq!(times(1_000), Times { set_back: 1, ..expected.clone() });
    assert_eq!(times(7_500), Times { set_back: 0, furthest: None, ..expected });
}

#[test]
fn an_entry_that_is_in_the_log_and_cannot_be_read_is_named() {
    let mut all = entries(300);
    all[270] = b"no entry".to_vec();
    let refused = verified(&exported(&all)).unwrap_err();
    assert!(matches!(refused, NotVerified::Unreadable { entry: 270, .. }), "{refused}");
}
