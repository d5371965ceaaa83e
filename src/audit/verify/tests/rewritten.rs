//! Changes by who has the log's key: only what was kept elsewhere tells.

use super::shelf::{Shelf, entries, exported, key, log_key, sign, trusting};
use super::*;
use crate::audit::Event;
use crate::audit::note::Origin;
use crate::audit::witness::{AddCheckpoint, Witness};
use crate::domain::ids::TenantId;

fn outcome(copy: &Shelf, earlier: &[&str]) -> Result<(), NotVerified<std::convert::Infallible>> {
    verify(copy, &Trusted { earlier, ..trusting(&[log_key(1)]) }, |_| ()).map(drop)
}

#[test]
fn a_rewritten_or_shortened_history_is_found_by_any_checkpoint_from_before() {
    let all = entries(600);
    for place in [0, 1, 100, 255, 256, 300, 511, 599] {
        let mut other = all.clone();
        other[place as usize] = shelf::entry_at(7);
        let rewritten = exported(&other);
        assert_eq!(outcome(&rewritten, &[]), Ok(()), "signed anew, it is whole in itself");
        for size in [0, 1, 101, 256, 257, 512, 600] {
            let kept = sign(&all[..size as usize], 1);
            let expected = if place < size { Err(NotVerified::Forked { size }) } else { Ok(()) };
            assert_eq!(outcome(&rewritten, &[&kept]), expected, "entry {place}, checkpoint of {size}");
            // Among others, the first one that does not fit is told.
            let ahead = sign(&other[..600], 1);
            assert_eq!(outcome(&rewritten, &[&ahead, &kept]), expected);
        }
    }
    // One that was signed over no entries at all is held against the copy, too.
    let nothing = Checkpoint { origin: log_key(1).name, size: 0, root: [0; 32] }.sign(&key(1));
    assert_eq!(outcome(&exported(&all), &[&nothing]), Err(NotVerified::Forked { size: 0 }));
    let shortened = exported(&all[..599]);
    let expected = NotVerified::Shortened { size: 599, earlier: 600 };
    assert_eq!(outcome(&shortened, &[&sign(&all, 1)]), Err(expected));
}

#[test]
fn two_checkpoints_of_one_size_cannot_both_be_continued() {
    let (all, mut other) = (entries(300), entries(300));
    other[10] = shelf::entry_at(7);
    let (kept, of_other) = (sign(&all[..50], 1), sign(&other[..50], 1));
    let copy = exported(&all);
    assert_eq!(outcome(&copy, &[&kept, &kept]), Ok(()));
    for both in [[&*kept, &of_other], [&of_other, &kept]] {
        assert_eq!(outcome(&copy, &both), Err(NotVerified::Forked { size: 50 }));
    }
}

#[test]
fn a_changed_entry_is_told_before_the_fork_that_it_makes() {
    let all = entries(300);
    let mut copy = exported(&all);
    copy.0.get_mut("tile/entries/000").unwrap()[200] ^= 1;
    let error = outcome(&copy, &[&sign(&all[..150], 1)]).unwrap_err();
    assert!(matches!(error, NotVerified::Entry { .. }), "{error}");
}

#[test]
fn an_earlier_checkpoint_that_is_not_the_logs_proves_nothing() {
    let all = entries(20);
    let copy = exported(&all);
    let refused = |number, source| Err(NotVerified::Earlier { number, source });
    let (good, by_another) = (sign(&all[..10], 1), sign(&all[..10], 2));
    assert_eq!(outcome(&copy, &[&good, &by_another]), refused(2, NoteError::NotSigned));
    assert_eq!(outcome(&copy, &["no note"]), refused(1, NoteError::Malformed));
    // The same key signs another log.
    let elsewhere = VerifierKey { name: Origin::parse("other.example").unwrap(), public: log_key(1).public };
    let of_it = Checkpoint { origin: elsewhere.name.clone(), size: 3, root: [0; 32] }.sign(&key(1));
    let keys = [log_key(1), elsewhere];
    let found = verify(&copy, &Trusted { earlier: &[&of_it], ..trusting(&keys) }, |_| ());
    assert_eq!(found.map(drop), refused(1, NoteError::NotSigned));
    // One by an older key is the log's, as long as that key is trusted.
    let keys = [log_key(1), log_key(2)];
    let trusted = Trusted { earlier: &[&by_another], ..trusting(&keys) };
    assert_eq!(verify(&copy, &trusted, |_| ()).unwrap().signed.signed_by, [log_key(1)]);
}

#[test]
fn witnesses_are_named_and_one_that_did_not_cosign_is_not() {
    let all = entries(300);
    let mut copy = exported(&all);
    let mut witness = Witness::new(Origin::parse("witness.example").unwrap(), key(9));
    witness.watch(log_key(1).name, vec![log_key(1)], None).unwrap();
    let note = sign(&all, 1);
    let request = AddCheckpoint { old_size: 0, proof: vec![], note: &note };
    let cosigned = witness.add_checkpoint(&request, Timestamp::from_ms(5_000).unwrap()).unwrap().note;
    copy.0.insert(CHECKPOINT.to_owned(), cosigned.into_bytes());
    let other = WitnessKey { name: Origin::parse("other.example").unwrap(), public: *key(8).public() };
    let (keys, known) = ([log_key(1)], [other.clone(), witness.public()]);
    let report = verify(&copy, &Trusted { witnesses: &known, ..trusting(&keys) }, |_| ()).unwrap();
    let [found] = &report.signed.cosignatures[..] else { panic!("{report:?}") };
    assert_eq!((found.witness.as_str(), found.at.as_ms()), ("witness.example", 5_000));
    let report = verify(&copy, &Trusted { witnesses: &[other], ..trusting(&keys) }, |_| ()).unwrap();
    assert_eq!(report.signed.cosignatures, []);
}

#[test]
fn a_key_that_was_replaced_signs_nothing_behind_the_entry_that_says_so() {
    let mut all = entries(400);
    let names = |place: usize, seed: u8, all: &mut Vec<Vec<u8>>| {
        let previous = None;
        let event = Event::LogKey { origin: "vault.example/log".to_owned(), public: *key(seed).public(), previous };
        let at = Timestamp::from_ms(1_700_000_000_000 + place as u64).unwrap();
        all[place] = Entry { at, tenant: TenantId([0; 16]), caller: None, event }.encode().to_vec();
    };
    names(0, 1, &mut all);
    names(300, 2, &mut all);
    let keys = [log_key(1), log_key(2)];
    for (size, seed, is_right) in
        [(300, 1, true), (300, 2, false), (301, 1, false), (301, 2, true), (400, 1, false), (400, 2, true)]
    {
        let mut copy = exported(&all[..size]);
        copy.0.insert(CHECKPOINT.to_owned(), sign(&all[..size], seed).into_bytes());
        let outcome = verify(&copy, &trusting(&keys), |_| ()).map(drop);
        let entry = if size > 300 { 300 } else { 0 };
        let expected = if is_right { Ok(()) } else { Err(NotVerified::Replaced { entry }) };
        assert_eq!(outcome, expected, "{size} entries, key {seed}");
    }
}
