//! The hoarder: keeps the bytes of every row and every file that were ever durable, and has everything that the service has today.
//! He reaches nothing of whoever was erased, and everything of everybody else, with the same attack.
//!
//! What he keeps is more than any images could show: every version of every row that was ever handed to the disk, also of batches that
//! failed; what stands in the files of mirrors and backups, whatever counts of it; and what a restore or a compaction wrote. He knows no index and trusts none: every key that he reaches is tried on every wrapped secret.

mod attack;
mod history;

pub(super) use attack::Hoard;
use attack::attack;
use history::History;

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
        while history.living.len() < 4 {
            history.put().await;
        }
        let (pocket, before) = (tempfile::tempdir().unwrap(), history.erased.len());
        let kept = pocket.path().join("root.key");
        std::fs::copy(history.house.root_key(), &kept).unwrap();
        history.erase(2).await;
        assert!(history.erased.len() > before, "{place}: nobody was left to erase");
        let hoard = Arc::clone(&history.hoard);
        let (now, living, erased, coverage) = history.attack().await;
        println!("hoarder, {place}: {coverage:?}; {} pages opened", now.pages_opened);
        let with_an_old_key = attack(&hoard, &FileRootKey::open(&[kept]).unwrap());
        assert!(!with_an_old_key.opened.is_disjoint(&erased), "{place}: the attack is not real");
        assert!(now.opened.is_disjoint(&erased), "{place}: erased records open");
        assert_eq!(now.opened, living, "{place}: living records do not open");
        assert_eq!(now.tops, 1, "{place}: the root row of an older epoch opens");
        for (what, count) in [
            ("living", coverage.living),
            ("erased", coverage.erased),
            ("records erased alone", coverage.single_records),
            ("revisions", coverage.revisions),
            ("revisions erased alone", coverage.revisions_erased_alone),
            ("segments", coverage.segments),
            ("tenants erased", coverage.tenants),
            ("erasures that shared an epoch", coverage.shared_epochs),
            ("aborted epochs", coverage.aborted_epochs),
            ("restarts", coverage.restarts),
            ("restores", coverage.restores),
            ("restores from backups", coverage.restores_from_backups),
            ("compactions", coverage.compactions),
            ("rows of mirrors", coverage.rows_of_mirrors),
            ("pages that stay closed", coverage.pages_that_came_and_went),
        ] {
            assert!(count > 0, "{place}: the history had no {what}");
        }
    }
}
