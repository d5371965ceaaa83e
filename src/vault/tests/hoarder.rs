//! The hoarder: keeps the bytes of every row, every object and every file that were ever durable, and has everything that the service has
//! today. He reaches nothing of whoever was erased, and everything of everybody else, with the same attack.
//!
//! What he keeps is more than any images could show: every version of every row that was ever handed to the disk, also of batches that
//! failed or that a power cut took; what stands in the files of mirrors and backups, whatever counts of it; and what a restore or a compaction
//! wrote. He knows no index and trusts none: every key that he reaches is tried on every page and every wrapped secret, every secret on
//! everything that is sealed.

mod attack;
mod history;
mod planted;

pub(super) use attack::Hoard;
use std::collections::BTreeSet;

use attack::{Attack, attack};
use history::{Coverage, History, Truth};

use super::*;
use crate::crypto::secret::random_bytes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hoarder_of_every_write_reaches_nothing_of_the_erased_and_all_of_the_living() {
    let seed = std::env::var("OUBLIETTE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from_be_bytes(random_bytes()));
    for leaf_entries in [2, 48] {
        let place = format!("leaves of {leaf_entries}, OUBLIETTE_SEED={seed}");
        let mut history = History::begin(seed, leaf_entries).await;
        history.go_on().await;
        // Whoever kept one old root key, of before the last erasure, wins with the same attack: so the attack is real, and it is the
        // destruction of that key that stands against it, and nothing else.
        let last = history.somebody_with_everything().await;
        let pocket = tempfile::tempdir().unwrap();
        let kept = pocket.path().join("root.key");
        std::fs::copy(history.house.root_key(), &kept).unwrap();
        history.erase_these(vec![last]).await;
        history.days_pass().await;
        let hoard = Arc::clone(&history.hoard);
        let (now, truth, coverage) = history.attack().await;
        println!("hoarder, {place}: {coverage:?}; {} pages opened, {} tries", now.pages_opened, now.tries);
        assert_real(&attack(&hoard, &FileRootKey::open(&[kept]).unwrap()), &truth, &place);
        assert_holds(&now, &truth, coverage.unacknowledged, &place);
        assert_eq!(now.answers_by_id, 0, "{place}: answers to erasures of days ago open with the request's id");
        assert_eq!(now.tops, 1, "{place}: the root row of an older epoch opens");
        assert_covered(&coverage, &place);
    }
}

/// That with an old root key the same attack reaches some of everything that it must not reach without.
fn assert_real(attack: &Attack, truth: &Truth, place: &str) {
    let of_erased = |record: &RecordId| truth.erased.iter().any(|(erased, _)| erased == record);
    let handles: BTreeSet<_> = truth.erased_people.values().copied().collect();
    let reached = [
        ("records", !attack.opened.is_disjoint(&truth.erased)),
        ("secrets", attack.secrets.iter().any(|(handle, ..)| handles.contains(handle))),
        ("real ids", attack.profiles.iter().any(|name| truth.erased_people.contains_key(name))),
        ("objects", attack.objects.iter().any(of_erased)),
        ("index rows", attack.indexed.iter().any(of_erased)),
        ("words of grants", !attack.granted.is_disjoint(&handles)),
        ("requests", attack.requests.iter().any(|(handle, ..)| handles.contains(handle))),
        ("fingerprints of requests", !attack.fingerprints.is_disjoint(&truth.erased)),
        ("answers by the ids of requests", attack.answers_by_id > 0),
        ("pending erasures", attack.pending.iter().any(|name| truth.erased_people.contains_key(name))),
    ];
    for (what, is_reached) in reached {
        assert!(is_reached, "{place}: the attack is not real: an old root key gives no {what}");
    }
}

/// Nothing of the erased, and all of the living.
fn assert_holds(attack: &Attack, truth: &Truth, unacknowledged: usize, place: &str) {
    let of_erased: BTreeSet<_> = truth.erased_people.values().copied().collect();
    let of_living: BTreeSet<_> = truth.people.values().copied().collect();
    assert!(attack.opened.is_disjoint(&truth.erased), "{place}: erased records open");
    for (handle, record, revision) in &attack.secrets {
        assert!(!of_erased.contains(handle), "{place}: a secret of an erased customer unwraps, of record {record}");
        assert!(!truth.erased.contains(&(*record, *revision)), "{place}: the secret of an erased record unwraps");
    }
    let names: BTreeSet<String> = truth.people.keys().cloned().collect();
    assert_eq!(attack.profiles, names, "{place}: the real ids that open are not those of the living");
    let granted: BTreeSet<_> = truth.granted.intersection(&of_living).copied().collect();
    assert_eq!(attack.granted, granted, "{place}: the words of grants that open are not those of the living");
    assert!(attack.pending.is_empty(), "{place}: a pending erasure names {:?}", attack.pending);
    assert!(!attack.approvals.is_empty(), "{place}: the attack opens no approval, which it should");
    let says = |needle: &[u8]| attack.approvals.iter().any(|plain| plain.windows(needle.len()).any(|at| at == needle));
    let named =
        truth.people.iter().chain(&truth.erased_people).find(|(name, handle)| says(name.as_bytes()) || says(&handle.0));
    assert!(named.is_none(), "{place}: an approval names {named:?}");
    for (handle, record, _) in &attack.requests {
        assert!(
            !of_erased.contains(handle),
            "{place}: a request's row leads to the erased customer of record {record}"
        );
    }
    assert!(attack.fingerprints.is_disjoint(&truth.erased), "{place}: guesses of erased content are confirmed");
    let unconfirmed: Vec<_> = truth.living.difference(&attack.fingerprints).collect();
    assert!(unconfirmed.is_empty(), "{place}: the rows of living requests do not open: {unconfirmed:?}");
    assert_eq!(attack.answers, 0, "{place}: answers to erasures open without the request's id");

    let missing: Vec<_> = truth.living.difference(&attack.opened).collect();
    assert!(missing.is_empty(), "{place}: living records do not open: {missing:?}");
    // What a crash took may stand somewhere, with the customer who is still there.
    let others = attack.opened.difference(&truth.living).count();
    assert!(others <= unacknowledged, "{place}: {others} more records open than there are");
    assert!(attack.handles.is_subset(&of_living), "{place}: something under the handle of nobody opens");
    let unwrapped: BTreeSet<_> = attack.secrets.iter().map(|(_, record, revision)| (*record, *revision)).collect();
    assert!(unwrapped.is_superset(&truth.living), "{place}: secrets of living records do not unwrap");
    let records: BTreeSet<_> = attack.opened.iter().map(|(record, _)| *record).collect();
    let stored = truth.living.iter().map(|(record, revision)| (*record, *revision == Revision::FIRST));
    let in_objects: BTreeSet<_> = stored
        .filter(|(record, is_first)| *is_first && truth.in_objects.contains(record))
        .map(|(record, _)| record)
        .collect();
    assert!(attack.objects.is_superset(&in_objects), "{place}: objects of living records do not open");
    // A write that a crash cut may have objects and no record, or index rows and a record without its objects.
    for (what, of) in [("objects", &attack.objects), ("index rows", &attack.indexed)] {
        let others = of.difference(&records).count();
        assert!(others <= unacknowledged, "{place}: {what} of {others} more records open than there are");
    }
}

fn assert_covered(coverage: &Coverage, place: &str) {
    for (what, count) in [
        ("living", coverage.living),
        ("erased", coverage.erased),
        ("records erased alone", coverage.single_records),
        ("revisions", coverage.revisions),
        ("revisions erased alone", coverage.revisions_erased_alone),
        ("segments", coverage.segments),
        ("tenants erased", coverage.tenants),
        ("recordings", coverage.recordings),
        ("long chats", coverage.long_chats),
        ("reads", coverage.reads),
        ("grants", coverage.grants),
        ("erasures that shared an epoch", coverage.shared_epochs),
        ("aborted epochs", coverage.aborted_epochs),
        ("crashes", coverage.crashes),
        ("restarts", coverage.restarts),
        ("restores", coverage.restores),
        ("restores from backups", coverage.restores_from_backups),
        ("compactions", coverage.compactions),
        ("rows of mirrors", coverage.rows_of_mirrors),
        ("objects", coverage.objects),
        ("pages that stay closed", coverage.pages_that_came_and_went),
        ("pages that had split", coverage.inner_pages),
    ] {
        assert!(count > 0, "{place}: the history had no {what}");
    }
}
